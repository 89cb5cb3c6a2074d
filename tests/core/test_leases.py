"""The helper beside a run: it renews the claim, reads letters, and says when the run is somebody else's."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import threading
from typing import Any

from penstock.core.errors import StoreBusy, StoreError
from penstock.core.leases import Helper, give_back, give_back_left
from penstock.core.owners import here
from penstock.core.storage import Page, RunEntry
from penstock.stores.memory import MemoryStore


class Rig:
    """A claimed run with a helper beside it."""

    def __init__(self, *, lasts: float = 30.0) -> None:
        self.store = MemoryStore()
        self.claim = self.store.create(
            RunEntry("r", "f", "running", 1.0, 1.0, {}), here(), 30.0, Page(1, ("[]",))
        )
        self.letters: list[Any] = []
        self.lost: list[StoreError] = []
        self.seen = threading.Event()
        self.helper = Helper(self.store, self.claim, self._deliver, self._lose, lasts=lasts, look=0.002)

    def _deliver(self, letters: list[Any]) -> None:
        self.letters += letters
        self.seen.set()

    def _lose(self, error: StoreError) -> None:
        self.lost.append(error)
        self.seen.set()


def test_letters_are_delivered_once():
    rig = Rig()
    rig.helper.start()
    first = rig.store.post("r", "cancel", "", "enough")
    assert rig.seen.wait(10)
    rig.seen.clear()
    second = rig.store.post("r", "answer", "g", "1")
    assert rig.seen.wait(10)
    rig.helper.stop()
    assert [letter.id for letter in rig.letters] == [first, second]


def test_they_can_be_asked_for_at_once():
    rig = Rig()
    assert rig.helper.read() is False
    rig.store.post("r", "answer", "g", "1")
    assert rig.helper.read() is True
    assert rig.helper.read() is False
    assert len(rig.letters) == 1


def test_the_claim_is_renewed():
    rig = Rig(lasts=0.01)
    renewed = threading.Event()
    renew = rig.store.renew

    def noting(claim: Any, lasts: float) -> None:
        renew(claim, lasts)
        renewed.set()

    rig.store.renew = noting  # type: ignore[method-assign]
    rig.helper.start()
    assert renewed.wait(10)
    rig.helper.stop()
    assert rig.lost == []


def test_a_claim_that_somebody_else_has_is_lost_and_that_is_said_once():
    rig = Rig(lasts=0.01)
    rig.store._runs["r"] = rig.store._runs["r"]._replace(epoch=9)
    rig.helper.start()
    assert rig.seen.wait(10)
    rig.helper._thread.join(10)
    assert not rig.helper._thread.is_alive()
    assert len(rig.lost) == 1
    rig.helper.stop()


def test_a_store_that_is_busy_for_a_while_is_no_matter():
    rig = Rig(lasts=0.01)
    letters, renew, tries = rig.store.letters, rig.store.renew, []

    def busy(*_: Any) -> Any:
        tries.append(1)
        raise StoreBusy("locked")

    rig.store.letters = rig.store.renew = busy  # type: ignore[assignment,method-assign]
    rig.helper.start()
    while len(tries) < 5:
        assert rig.helper._thread.is_alive()
    rig.store.letters, rig.store.renew = letters, renew  # type: ignore[method-assign]
    rig.store.post("r", "cancel")
    assert rig.seen.wait(10)
    rig.helper.stop()
    assert rig.lost == []


def test_it_can_be_stopped_before_it_began_and_twice():
    rig = Rig()
    rig.helper.stop()
    rig.helper.stop()


class Lasting(MemoryStore):
    durable = True
    url = "lasting:"


def test_what_could_not_be_given_back_is_before_the_run_is_claimed_again():
    """Its owner is this process, which lives on: nobody else would find it dead."""
    store = Lasting()
    claim = store.create(RunEntry("r", "f", "running", 1.0, 1.0, {}), here(), 30.0, Page(1, ("[]",)))
    release = store.release

    def busy(_: Any) -> None:
        raise StoreBusy("locked")

    store.release = busy  # type: ignore[assignment,method-assign]
    assert isinstance(give_back(store, claim), StoreBusy)
    store.release = release  # type: ignore[method-assign]
    give_back_left(store, "r")
    entry = store.find("r")
    assert entry is not None
    assert entry.owner is None
    give_back_left(store, "r")
