"""The recorder: a turn is one transaction, and what cannot be stored is a failure."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.core import commands as c
from penstock.core.answers import Answer
from penstock.core.codec import Codec
from penstock.core.errors import ClaimLost, StoreBusy, StoreFull
from penstock.core.machine import facts
from penstock.core.machine.words import from_event
from penstock.core.model import NodePath
from penstock.core.owners import here
from penstock.core.recorder import Recorder
from penstock.core.storage import Page, RunEntry
from penstock.stores.memory import MemoryStore
from tests.core.play import Play, each, node, ok


class Rig:
    """A recorder of a play, and its store."""

    def __init__(self, *nodes: Any) -> None:
        self.play = Play(*nodes, checked=False)
        machine = self.play.machine
        machine.log = [from_event(machine.state, event) for event in self.play.events]
        self.store = MemoryStore()
        entry = RunEntry("r", "play", "running", 1.0, 1.0, {})
        self.claim = self.store.create(entry, here(), 30.0, Page(1, ("[]",)))
        self.pauses: list[float] = []
        self.recorder = Recorder(
            self.store, self.claim, Codec(self.store), self.play.machine.state, level="process", row=2
        )
        self.recorder._pause = self.pauses.append
        self.stopped: list[tuple[int, int]] = []

    def heard(self, *replies: Any) -> list[Any]:
        return self.recorder.heard(replies, lambda *one: self.stopped.append(one))

    def ended(self, id: str, value: Any, writes: Any = None) -> Any:
        i = self.play.number(id)
        return (c.ENDED, i, self.play.machine.state.token[i], c.OK, value, writes, 0.0, 1.0)

    def yielded(self, id: str, element: Any) -> Any:
        i = self.play.number(id)
        return (c.YIELDED, i, self.play.machine.state.token[i], element, None)

    def record(self) -> Page | None:
        page = self.recorder.page(self.play.machine.drain())
        if page is not None:
            self.recorder.commit(page)
        return page


def test_what_a_step_brings_is_encoded_when_it_is_heard_of():
    rig = Rig(node("a"))
    value = [1]
    (reply,) = rig.heard(rig.ended("a", value))
    value.append(2)
    rig.play.machine.step([reply], 1.0)
    page = rig.record()
    assert page is not None
    assert '["ok","a",1,[1],0.0,1.0]' in page.rows[0]


def test_what_cannot_be_stored_is_a_failure_that_is_not_retried():
    rig = Rig(node("a"))
    (reply,) = rig.heard(rig.ended("a", {"x": [object()]}))
    assert reply[3] == c.FAILED
    assert reply[4].kind == "not_storable"
    assert "$.x[0]" in reply[4].text
    assert not reply[4].retryable


def test_nor_what_it_writes():
    rig = Rig(node("a"))
    (reply,) = rig.heard(rig.ended("a", 1, {"k": object()}))
    assert reply[4].kind == "not_storable"


def test_of_what_comes_late_nothing_is_encoded():
    rig = Rig(node("a"))
    late = (c.ENDED, rig.play.number("a"), 7, c.OK, object(), None, 0.0, 1.0)
    assert rig.heard(late) == [late], "the machine will take no notice of it"


def test_an_element_that_cannot_be_stored_ends_its_stream():
    rig = Rig(node("s", stream=True), node("i", each("s")))
    first, failed = rig.heard(rig.yielded("s", 1), rig.yielded("s", object()), rig.yielded("s", 3))
    assert first[3] == 1
    assert failed[3] == c.FAILED
    assert failed[4].kind == "not_storable"
    assert rig.stopped == [(rig.play.number("s"), 1)]


@pytest.mark.parametrize(
    ("elements", "said"), [([1, 9], "element 1 of s"), ([1], "gave 1 elements, and 2 before")]
)
def test_a_stream_that_starts_over_must_give_the_same(elements, said):
    rig = Rig(node("s", stream=True), node("i", each("s")))
    rig.recorder.know(rig.play.number("s"), ["1", "2"])
    out = rig.heard(*[rig.yielded("s", one) for one in elements], rig.ended("s", None))
    failure = next(reply[4] for reply in out if reply[0] == c.ENDED and reply[3] == c.FAILED)
    assert failure.type == "StreamChanged"
    assert said in failure.text
    assert not failure.retryable


def test_one_that_gives_the_same_and_more_goes_on():
    rig = Rig(node("s", stream=True), node("i", each("s")))
    rig.recorder.know(rig.play.number("s"), ["1"])
    out = rig.heard(rig.yielded("s", 1), rig.yielded("s", 2), rig.ended("s", None))
    assert [reply[3] for reply in out] == [1, 2, c.OK]


def test_a_turn_without_facts_is_no_page():
    rig = Rig(node("a"))
    rig.record()
    assert rig.record() is None


def test_rows_are_numbered_and_the_last_one_says_how_many_there_are():
    rig = Rig(node("a"))
    first = rig.record()
    rig.play.machine.step(rig.heard(rig.ended("a", 1)), 1.0)
    last = rig.record()
    assert first is not None
    assert last is not None
    assert (first.first, last.first) == (2, 3)
    assert json.loads(last.rows[-1])[-1] == ["end", "succeeded", 1.0, 3]
    assert (last.status, last.level) == ("succeeded", "power")
    entry = rig.store.find("r")
    assert entry is not None
    assert (entry.status, entry.owner) == ("succeeded", None)


def test_a_turn_with_much_to_say_takes_several_rows():
    rig = Rig(*[node(f"n{i}") for i in range(20)])
    rig.record()
    rig.play.machine.step(rig.heard(*[rig.ended(f"n{i}", "x" * 30_000) for i in range(20)]), 1.0)
    page = rig.record()
    assert page is not None
    assert len(page.rows) > 1
    assert json.loads(page.rows[-1])[-1][3] == 1 + 1 + len(page.rows)
    assert all(len(row) < 400_000 for row in page.rows)


def test_a_resumed_run_runs_from_its_first_page_on():
    from penstock.core.events import RunResumed

    rig = Rig(node("a"))
    page = rig.recorder.page([(facts.AGAIN, RunResumed(1.0, 0.0))])
    assert page is not None
    assert (page.status, page.level) == ("running", "process")


def test_a_busy_store_is_asked_again_a_full_one_is_not():
    rig = Rig(node("a"))
    append, errors = rig.store.append, [StoreBusy("locked"), StoreBusy("locked")]

    def busy(claim: Any, page: Any) -> None:
        if errors:
            raise errors.pop()
        append(claim, page)

    rig.store.append = busy  # type: ignore[method-assign]
    rig.record()
    assert len(list(rig.store.rows("r"))) == 2

    def full(claim: Any, page: Any) -> None:
        errors.append(StoreBusy("asked"))
        raise StoreFull("no space")

    rig.store.append = full  # type: ignore[method-assign]
    rig.play.machine.step(rig.heard(rig.ended("a", 1)), 1.0)
    with pytest.raises(StoreFull):
        rig.record()
    assert len(errors) == 1


def test_a_commit_of_which_nobody_was_told_is_made_once():
    rig = Rig(node("a"))
    append, calls = rig.store.append, []

    def deaf(claim: Any, page: Any) -> None:
        append(claim, page)
        calls.append(page)
        if len(calls) == 1:
            raise StoreBusy("no answer")

    rig.store.append = deaf  # type: ignore[method-assign]
    rig.record()
    assert len(calls) == 2
    assert len(list(rig.store.rows("r"))) == 2


def test_somebody_elses_run_is_let_be():
    rig = Rig(node("a"))
    rig.recorder.lost = ClaimLost("another has it")
    with pytest.raises(ClaimLost):
        rig.recorder.page(rig.play.machine.drain())


def test_the_letter_of_an_answer_goes_with_it():
    rig = Rig(node("g", kind="gate"))
    rig.record()
    letter = rig.store.post("r", "answer", "g", "1")
    i = rig.play.number("g")
    rig.recorder.answered(i, Answer("g", 1, letter))
    rig.play.machine.step([(c.ANSWERED, i, 1)], 1.0)
    page = rig.record()
    assert page is not None
    assert page.read == [letter]
    assert rig.store.letters("r") == []


def test_large_values_are_named_by_the_page_that_speaks_of_them():
    rig = Rig(node("a"), node("b"))
    rig.record()
    rig.play.machine.step(rig.heard(rig.ended("a", "x" * 100_000)), 1.0)
    page = rig.record()
    assert page is not None
    assert len(page.blobs) == 1
    assert rig.store.get(page.blobs[0])


def test_a_run_is_put_down_without_a_row():
    rig = Rig(node("g", kind="gate"))
    rig.record()
    before = len(list(rig.store.rows("r")))
    rig.recorder.park()
    entry = rig.store.find("r")
    assert entry is not None
    assert (entry.status, entry.owner, len(list(rig.store.rows("r")))) == ("waiting", None, before)


def test_paths_are_written_once_for_nodes():
    rig = Rig(node("a"))
    assert rig.recorder._scribe.path(0) is rig.recorder._scribe.path(0)
    assert NodePath("a") == rig.play.machine.state.path(0)
    rig.play.step(ok("a"))
