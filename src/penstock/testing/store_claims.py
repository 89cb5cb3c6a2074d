"""What every store must do for those who drive runs, and those who write to them: claims, letters, values,
deleting, many threads. A part of `StoreContract`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from penstock.core.errors import ClaimLost, RunBusy, RunExists, RunNotFound, StoreError, ValueLost
from penstock.core.owners import here
from penstock.core.storage import Page, Store

from .store_rig import ELSEWHERE, LASTS, Clock, StoreRig, process

VALUES = {"empty": b"", "one": b"\0", "text": "é".encode() * 50, "large": bytes(range(256)) * 8_192}


class ClaimsContract(StoreRig):
    """One process drives a run; the others find out, write to it, or wait."""

    # Claims

    def test_a_run_that_has_ended_can_be_claimed(self, store: Store, clock: Clock) -> None:
        self.ended(store, status="failed")
        clock.now += 7
        claim, before = store.claim("run", here(), LASTS)
        assert (before.status, before.owner, before.recoveries, before.rows) == ("failed", None, 0, 2)
        now = self.entry(store)
        assert (now.owner, now.expires, now.updated) == (here(), clock.now + LASTS, clock.now)
        assert (now.status, now.recoveries, now.epoch) == ("failed", 0, before.epoch + 1)
        assert (claim.run_id, claim.number, claim.epoch) == ("run", before.number, now.epoch)
        store.append(claim, Page(3, ["3"], status="running"))
        assert list(store.rows("run")) == ["1", "2", "3"]

    def test_a_claim_of_no_run(self, store: Store) -> None:
        with pytest.raises(RunNotFound, match="'run'"):
            store.claim("run", here(), LASTS)

    def test_j13_a_run_that_somebody_drives_is_busy(self, store: Store) -> None:
        claim = self.begin(store, owner=ELSEWHERE)
        with pytest.raises(RunBusy, match=r"process 1 on another-machine.* since 1970-01-01") as caught:
            store.claim("run", here(), LASTS)
        assert caught.value.owner == "process 1 on another-machine"
        assert self.entry(store).owner == ELSEWHERE
        store.append(claim, Page(2, ["2"]))

    def test_j13_a_run_of_this_process_is_busy_too(self, store: Store) -> None:
        self.begin(store)
        with pytest.raises(RunBusy):
            store.claim("run", here(), LASTS)

    def test_j13_a_living_process_keeps_its_run_and_a_dead_one_loses_it_at_once(self, store: Store) -> None:
        with process() as (owner, child):
            stale = self.begin(store, owner=owner)
            with pytest.raises(RunBusy, match=f"process {owner.pid} "):
                store.claim("run", here(), LASTS)
            child.kill()
            child.wait(20)
            claim, before = store.claim("run", here(), LASTS)
        assert (before.owner, before.recoveries) == (owner, 0)
        assert self.entry(store).recoveries == 1
        with pytest.raises(ClaimLost):
            store.append(stale, Page(2, ["stale"]))
        store.append(claim, Page(2, ["2"]))

    def test_j14_a_claim_is_over_at_its_end_and_not_before(self, store: Store, clock: Clock) -> None:
        self.begin(store, owner=ELSEWHERE)
        clock.now += LASTS - 1
        with pytest.raises(RunBusy):
            store.claim("run", here(), LASTS)
        clock.now += 1
        _, before = store.claim("run", here(), LASTS)
        assert before.owner == ELSEWHERE
        assert self.entry(store).recoveries == 1

    def test_a_claim_that_is_renewed_goes_on(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store, owner=ELSEWHERE)
        clock.now += LASTS - 1
        store.renew(claim, LASTS)
        assert self.entry(store).expires == clock.now + LASTS
        clock.now += LASTS - 1
        with pytest.raises(RunBusy):
            store.claim("run", here(), LASTS)

    def test_a_claim_whose_time_is_over_holds_until_somebody_takes_the_run(
        self, store: Store, clock: Clock
    ) -> None:
        claim = self.begin(store, owner=ELSEWHERE)
        clock.now += 10 * LASTS
        store.append(claim, Page(2, ["2"]))
        store.renew(claim, LASTS)
        with pytest.raises(RunBusy):
            store.claim("run", here(), LASTS)

    @pytest.mark.parametrize("rows", [["x"], ["x", "y"]], ids=len)
    @pytest.mark.parametrize("status", [None, "running", "succeeded"])
    def test_j13_a_stale_claim_writes_nothing(
        self, store: Store, clock: Clock, rows: list[str], status: str | None
    ) -> None:
        stale = self.begin(store, owner=ELSEWHERE)
        store.append(stale, Page(2, ["2"]))
        clock.now += LASTS
        claim, _ = store.claim("run", here(), LASTS)
        with pytest.raises(ClaimLost, match="'run'"):
            store.append(stale, Page(3, rows, status=status))
        assert list(store.rows("run")) == ["1", "2"]
        assert self.entry(store).status == "running"
        store.append(claim, Page(3, ["3"]))

    def test_j13_a_stale_claim_is_neither_renewed_nor_released(self, store: Store, clock: Clock) -> None:
        stale = self.begin(store, owner=ELSEWHERE)
        clock.now += LASTS
        store.claim("run", here(), LASTS)
        with pytest.raises(ClaimLost):
            store.renew(stale, LASTS)
        store.release(stale)
        assert self.entry(store).owner == here()

    def test_a_run_that_is_released_can_be_claimed_at_once(self, store: Store) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, ["2"]))
        store.release(claim)
        found = self.entry(store)
        assert (found.owner, found.expires, found.status) == (None, None, "running")
        with pytest.raises(ClaimLost):
            store.append(claim, Page(3, ["x"]))
        again, _ = store.claim("run", here(), LASTS)
        assert self.entry(store).recoveries == 0
        store.append(again, Page(3, ["3"]))
        assert list(store.rows("run")) == ["1", "2", "3"]

    def test_a_claim_can_be_released_twice_and_after_the_run_has_gone(self, store: Store) -> None:
        claim = self.begin(store)
        store.release(claim)
        store.release(claim)
        store.forget(["run"])
        store.release(claim)

    def test_recoveries_are_counted_until_the_run_goes_on_in_order(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store)
        for expected in (1, 2, 3):
            clock.now += LASTS
            claim, before = store.claim("run", here(), LASTS)
            assert before.recoveries == expected - 1
            assert self.entry(store).recoveries == expected
        store.append(claim, Page(2, ["2"], status="running"))
        assert self.entry(store).recoveries == 3
        store.append(claim, Page(3, ["3"], status="waiting"))
        assert self.entry(store).recoveries == 0

    def test_epochs_grow(self, store: Store) -> None:
        claim = self.begin(store)
        epochs = [claim.epoch]
        for number in range(5):
            if number % 2:
                store.append(claim, Page(2, [], status="failed"))
            else:
                store.release(claim)
            claim, _ = store.claim("run", here(), LASTS)
            epochs.append(claim.epoch)
        assert epochs == sorted(set(epochs))

    # Letters

    def test_a_letter_waits_until_it_is_read(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store)
        clock.now += 3
        id = store.post("run", "answer", "gate/é", '{"a":\0"é"}')
        (letter,) = store.letters("run")
        assert letter == (id, "answer", "gate/é", '{"a":\0"é"}', clock.now)
        store.append(claim, Page(2, ["2"], read=[id]))
        assert store.letters("run") == []

    def test_letters_come_the_oldest_first_and_from_anywhere(self, store: Store) -> None:
        self.begin(store)
        ids = [store.post("run", "cancel", body=str(number)) for number in range(5)]
        assert ids == sorted(set(ids))
        assert [letter.id for letter in store.letters("run")] == ids
        assert [letter.body for letter in store.letters("run", ids[2])] == ["3", "4"]
        assert store.letters("run", ids[-1]) == []

    def test_letters_belong_to_a_run(self, store: Store) -> None:
        claim = self.begin(store, "a")
        self.begin(store, "b")
        to_a, to_b = store.post("a", "cancel"), store.post("b", "cancel")
        assert to_a != to_b
        store.append(claim, Page(2, ["2"], read=[to_a, to_b]))
        assert store.letters("a") == []
        assert [letter.id for letter in store.letters("b")] == [to_b]

    def test_letters_need_no_owner_and_a_run_that_has_ended_gets_them_too(self, store: Store) -> None:
        self.ended(store, status="waiting")
        id = store.post("run", "answer", "gate", "1")
        claim, _ = store.claim("run", here(), LASTS)
        assert [letter.id for letter in store.letters("run")] == [id]
        store.append(claim, Page(3, ["3"], status="running", read=[id]))
        assert store.letters("run") == []

    def test_a_letter_to_no_run(self, store: Store) -> None:
        with pytest.raises(RunNotFound, match="'run'"):
            store.post("run", "cancel")
        assert store.letters("run") == []

    def test_a_letter_stays_when_its_page_is_refused(self, store: Store, clock: Clock) -> None:
        stale = self.begin(store, owner=ELSEWHERE)
        id = store.post("run", "cancel")
        clock.now += LASTS
        store.claim("run", here(), LASTS)
        with pytest.raises(ClaimLost):
            store.append(stale, Page(2, ["2"], read=[id]))
        assert [letter.id for letter in store.letters("run")] == [id]

    def test_ids_of_letters_are_not_given_twice(self, store: Store) -> None:
        claim = self.begin(store)
        first = store.post("run", "cancel")
        store.append(claim, Page(2, ["2"], read=[first]))
        assert store.post("run", "cancel") > first

    # Values

    @pytest.mark.parametrize("body", VALUES.values(), ids=VALUES.keys())
    def test_a_value_comes_back(self, store: Store, body: bytes) -> None:
        digest = store.put(body)
        assert digest == hashlib.sha256(body).hexdigest()
        assert store.get(digest) == body
        assert store.put(body) == digest
        assert store.get(digest) == body

    @pytest.mark.parametrize("digest", ["0" * 64, "", "x", "../../etc/passwd", "0" * 63 + "/", "é", "A" * 64])
    def test_a_value_that_is_not_there(self, store: Store, digest: str) -> None:
        with pytest.raises(ValueLost):
            store.get(digest)

    def test_rows_speak_of_values(self, store: Store) -> None:
        digests = [store.put(bytes([number]) * 100) for number in range(3)]
        claim = self.begin(store)
        store.append(claim, Page(2, ["2"], blobs=digests[:2]))
        store.append(claim, Page(3, ["3"], blobs=digests, status="succeeded"))
        assert [store.get(digest)[:1] for digest in digests] == [b"\0", b"\1", b"\2"]
        assert store.check() == []

    # Deleting

    def test_a_run_is_forgotten_whole(self, store: Store) -> None:
        value = store.put(b"v")
        claim = self.begin(store, tags={"a": "b"})
        store.post("run", "cancel")
        store.append(claim, Page(2, ["2"], status="succeeded", blobs=[value]))
        assert store.forget(["run"]) == 1
        assert store.find("run") is None
        assert store.runs() == store.runs(tags={"a": "b"}) == []
        assert store.letters("run") == []
        with pytest.raises(RunNotFound):
            list(store.rows("run"))
        with pytest.raises(ClaimLost):
            store.append(claim, Page(3, ["3"]))
        assert store.check() == []

    def test_only_the_runs_that_are_named_are_forgotten(self, store: Store) -> None:
        value = store.put(b"shared")
        for name in "abcd":
            claim = self.begin(store, name, rows=[name])
            store.append(claim, Page(2, ["2"], status="failed", blobs=[value]))
        assert store.forget(["b", "nobody", "d", "b"]) == 2
        assert [entry.run_id for entry in store.runs()] == ["c", "a"]
        assert list(store.rows("a")) == ["a", "2"]
        assert store.get(value) == b"shared"
        assert store.forget([]) == 0

    def test_a_run_that_somebody_drives_is_not_forgotten(self, store: Store, clock: Clock) -> None:
        claim = self.begin(store)
        self.begin(store, "far", owner=ELSEWHERE)
        assert store.forget(["run", "far"]) == 0
        store.append(claim, Page(2, ["2"]))
        store.release(claim)
        clock.now += LASTS
        assert store.forget(["run", "far"]) == 2

    def test_a_new_run_of_an_old_id_has_nothing_of_it(self, store: Store) -> None:
        stale = self.begin(store, rows=["old"], tags={"a": "b"})
        store.release(stale)
        store.forget(["run"])
        claim = self.begin(store, rows=["new"])
        assert claim.number > stale.number
        with pytest.raises(ClaimLost):
            store.append(stale, Page(2, ["stale"]))
        with pytest.raises(ClaimLost):
            store.renew(stale, LASTS)
        store.release(stale)
        assert (self.entry(store).tags, self.entry(store).owner) == ({}, here())
        assert list(store.rows("run")) == ["new"]

    def test_a_long_run_is_forgotten(self, store: Store) -> None:
        claim = self.begin(store)
        store.append(claim, Page(2, ["x"] * 50_000, status="failed"))
        self.begin(store, "other")
        assert store.forget(["run"]) == 1
        assert [entry.run_id for entry in store.runs()] == ["other"]
        assert store.check() == []

    # The whole

    def test_it_may_be_closed_twice(self, clock: Clock) -> None:
        store = self.make(clock)
        self.begin(store)
        store.close()
        store.close()

    def test_what_was_stored_is_there_when_it_is_opened_again(self, clock: Clock) -> None:
        with self.make(clock) as store:
            value = store.put(b"v" * 1_000)
            claim = self.begin(store, tags={"a": "b"})
            store.append(claim, Page(2, ["2", "3"], blobs=[value]))
            letter = store.post("run", "cancel")
            before = self.entry(store)
        with closing(self.again(store, clock)) as store:
            assert self.entry(store)._replace(rows=0) == before._replace(rows=0)
            assert list(store.rows("run")) == ["1", "2", "3"]
            assert [entry.run_id for entry in store.runs(tags={"a": "b"})] == ["run"]
            assert [one.id for one in store.letters("run")] == [letter]
            assert store.get(value) == b"v" * 1_000
            store.append(claim, Page(4, ["4"]))
            assert store.check() == []

    def test_two_handles_see_the_same(self, store: Store, clock: Clock) -> None:
        with closing(self.again(store, clock)) as other:
            claim = self.begin(store)
            for number in range(2, 20):
                (store if number % 2 else other).append(claim, Page(number, [str(number)]))
            assert list(other.rows("run")) == list(store.rows("run")) == [str(n) for n in range(1, 20)]
        store.append(claim, Page(20, ["20"]))
        assert len(list(store.rows("run"))) == 20

    # Threads

    def test_many_threads_write_to_runs_of_their_own(self, store: Store) -> None:
        rows = [str(number) for number in range(1, 101)]

        def drive(name: str) -> None:
            claim = self.begin(store, name)
            for number in range(2, 100):
                store.append(claim, Page(number, [str(number)]))
            store.append(claim, Page(100, ["100"], status="succeeded"))

        names = [f"run-{number}" for number in range(8)]
        in_threads([lambda name=name: drive(name) for name in names])  # type: ignore[misc]
        assert {entry.run_id for entry in store.runs(status="succeeded")} == set(names)
        for name in names:
            assert list(store.rows(name)) == rows
        assert store.check() == []

    def test_j13_one_of_many_threads_gets_the_run(self, store: Store, clock: Clock) -> None:
        self.begin(store, owner=ELSEWHERE)
        clock.now += LASTS
        got, refused = [], []

        def race() -> None:
            try:
                got.append(store.claim("run", here(), LASTS))
            except RunBusy as error:
                refused.append(error)

        in_threads([race] * 8)
        assert (len(got), len(refused)) == (1, 7)

    def test_one_of_many_threads_creates_the_run(self, store: Store) -> None:
        made, refused = [], []

        def race() -> None:
            try:
                made.append(self.begin(store))
            except RunExists as error:
                refused.append(error)

        in_threads([race] * 8)
        assert (len(made), len(refused)) == (1, 7)
        assert len(store.runs()) == 1

    def test_it_can_be_read_while_it_is_written(self, store: Store) -> None:
        claim = self.begin(store)
        done = threading.Event()

        def write() -> None:
            for number in range(2, 301):
                store.append(claim, Page(number, [str(number)]))
            done.set()

        def read() -> None:
            while not done.is_set():
                rows = list(store.rows("run"))
                assert rows == [str(number) for number in range(1, len(rows) + 1)]
                assert len(store.runs()) == 1

        in_threads([write, read, read])
        assert len(list(store.rows("run"))) == 300

    def test_an_error_leaves_the_store_as_it_was(self, store: Store) -> None:
        claim = self.begin(store)
        with pytest.raises(StoreError):
            store.append(claim, Page(5, ["x", "y"], status="failed"))
        with pytest.raises(RunExists):
            self.begin(store)
        store.append(claim, Page(2, ["2"]))
        assert self.entry(store).status == "running"
        assert store.check() == []


def in_threads(calls: list[Callable[[], object]]) -> None:
    """Makes calls at the same time, each in a thread of its own; the first error is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def guarded(call: Callable[[], object]) -> None:
        try:
            start.wait(20)
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]
