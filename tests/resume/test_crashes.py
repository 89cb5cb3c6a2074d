"""A run whose process died goes on: what was written down is not done again, and what was not, is."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.errors import StoreError
from penstock.core.model import Limit, Rate, RetryPolicy, RunOptions, Timeout
from penstock.core.returned import Written
from penstock.flow import Flow, each, fold, gather, outcome, use
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults_store import FaultyStore

from .mortal import Killed, MortalStore
from .tools import BAD, CALLS, called, cut, does, fix, go


def chain() -> Flow:
    flow = Flow("chain")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step
    def b(a: int) -> int:
        return does("b", a + 1)

    @flow.step
    def c(b: int) -> int:
        return does("c", b + 1)

    return flow


def test_p1_p2_only_what_was_in_flight_starts_again(store):
    cut(chain(), store, '["start","b"')
    assert called() == ["a"], "nothing follows from what was not told to be recorded"
    assert go(chain(), store)["c"] == 3
    assert called() == ["b", "c"]


def test_j04_nothing_starts_that_is_not_written_down(store):
    """The death comes before the commit of a's success: b cannot have seen it."""
    cut(chain(), store, '["ok","a"', after=False)
    assert called() == ["a"]
    assert go(chain(), store)["c"] == 3
    assert called() == ["a", "b", "c"], "a was in flight, and is repeated"


@pytest.mark.parametrize("after", [False, True])
def test_every_commit_of_a_chain(store, after):
    for commit in range(6):
        fresh = MortalStore()
        fresh.die(commit, after=after)
        try:
            go(chain(), fresh)
        except Killed:
            fresh.bury()
            assert go(chain(), fresh)["c"] == 3
        else:
            assert commit == 5, "create, a, b, c, the end"
        counts = {name: CALLS.count(name) for name in "abc"}
        assert sum(counts.values()) <= 4, counts
        CALLS.clear()


def test_j02_a_crash_loop_goes_forward_and_ends(store):
    """Each life gets one commit further; `max_recoveries` ends what does not."""
    flow, seen = chain(), 0
    for _ in range(3):
        store.die(1, after=True)
        with pytest.raises(Killed):
            go(flow, store)
        store.bury()
        assert store.length("r") > seen
        seen = store.length("r")
    assert go(flow, store)["c"] == 3


def test_j02_a_step_that_kills_its_process_is_given_up(store):
    flow = chain()
    for _ in range(4):
        cut(flow, store, '["start","b"', options=RunOptions(max_recoveries=3))
    result = go(flow, store, options=RunOptions(max_recoveries=3))
    assert result.status.value == "failed"
    failure = result.nodes["b"].failure
    assert failure is not None
    assert failure.kind == "recoveries"
    assert "max_recoveries=3" in failure.text
    assert called() == ["a"]
    assert go(flow, store)["c"] == 3, "and it can be tried again by hand"


def test_f06_items_that_are_done_are_not_done_again(store):
    flow = Flow("map")

    @flow.step
    def items() -> list[int]:
        return does("items", [10, 20, 30, 40])

    @flow.step(runner="inline")
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x + 1)

    @flow.step
    def total(xs: list[int] = gather(work)) -> int:
        return does("total", sum(xs))

    cut(flow, store, '["ok",["work",1]', options=RunOptions(max_concurrency=1))
    assert called() == ["items", "work 10", "work 20"]
    assert go(flow, store, options=RunOptions(max_concurrency=1))["total"] == 104
    assert called() == ["total", "work 30", "work 40"]


def test_f08_j34_the_list_that_was_written_down_wins(store):
    flow = Flow("source")

    @flow.step
    def items() -> list[float]:
        return [time.perf_counter(), time.perf_counter()]

    @flow.step
    def work(x: float = each(items)) -> float:
        return x

    @flow.step
    def all_of(xs: list[float] = gather(work), whole: list[float] = use(items)) -> bool:
        return xs == whole

    cut(flow, store, '"open"')
    assert go(flow, store)["all_of"] is True


def test_maps_of_maps(store):
    flow = Flow("nested")

    @flow.step
    def outer() -> list[list[int]]:
        return does("outer", [[1, 2], [], [3]])

    @flow.step
    def inner(xs: list[int] = each(outer)) -> list[int]:
        return does(f"inner {xs}", xs)

    @flow.step
    def leaf(x: int = each(inner)) -> int:
        return does(f"leaf {x}", x)

    @flow.step
    def back(xs: list[list[int]] = gather(gather(leaf))) -> list[list[int]]:
        return does("back", xs)

    cut(flow, store, '["ok",["leaf",0,0]', options=RunOptions(max_concurrency=1))
    before = called()
    assert go(flow, store)["back"] == [[1, 2], [], [3]]
    assert not set(before) & set(called())


def test_f06_keyed_items_keep_their_names(store):
    flow = Flow("keyed")

    @flow.step
    def items() -> list[str]:
        return ["ann", "bob", "cid"]

    @flow.step(runner="inline")
    def work(x: str = each(items, key=str)) -> str:
        return does(x, x.upper())

    @flow.step
    def all_of(xs: list[str] = gather(work)) -> list[str]:
        return xs

    cut(flow, store, '["ok",["work","ann"]', options=RunOptions(max_concurrency=1))
    assert called() == ["ann"]
    assert go(flow, store)["all_of"] == ["ANN", "BOB", "CID"]
    assert called() == ["bob", "cid"]


def test_j06_a_condition_is_not_asked_twice(store):
    flow = Flow("asks")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step(when=lambda a: does("when", True))
    def b(a: int) -> int:
        return does("b", a)

    cut(flow, store, '"decide"')
    assert called() == ["a", "when"]
    BAD.add("when")
    assert go(flow, store)["b"] == 1
    assert called() == ["b"]


def test_j06_an_answer_that_was_not_written_down_is_asked_for_again(store):
    flow = Flow("asks")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step(when=lambda a: does("when", True))
    def b(a: int) -> int:
        return does("b", a)

    cut(flow, store, '"decide"', after=False)
    assert called() == ["a", "when"]
    assert go(flow, store)["b"] == 1
    assert called() == ["a", "b", "when"]


def test_j03_attempts_used_are_remembered_and_the_one_cut_off_is_not_charged(store):
    flow = Flow("retries")

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.001))
    def flaky() -> int:
        return does("flaky", 1)

    BAD.add("flaky")
    cut(flow, store, '["retry","flaky",1')
    assert called() == ["flaky"]
    cut(flow, store, '["start","flaky",2')
    assert called() == [], "it was recorded as started, and never was"
    result = go(flow, store)
    assert called() == ["flaky", "flaky"], "the two attempts that were left"
    failure = result.nodes["flaky"].failure
    assert failure is not None
    assert failure.attempt == 3


def test_j03_a_retry_is_due_when_it_was_due(store):
    """It was due long ago when the run goes on, so it waits no longer."""
    flow = Flow("retries")

    @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.3, jitter="none"))
    def flaky() -> int:
        return does("flaky", 1)

    BAD.add("flaky")
    cut(flow, store, '"retry"')
    fix()
    row = next(row for row in store.rows("r") if '"retry"' in row)
    assert go(flow, store)["flaky"] == 1
    started = [row for row in store.rows("r") if '["start","flaky",2' in row]
    import json

    due = next(entry[4] for entry in json.loads(row) if entry[0] == "retry")
    at = next(entry[3] for entry in json.loads(started[0]) if entry[0] == "start")
    assert at >= due


def test_j05_what_steps_share_comes_back_with_the_journal(store):
    from penstock.core.graph import Graph
    from penstock.core.model import Condition, Node

    def writes() -> Any:
        return Written(does("a", 1), {"has": True})

    def asks(state: Any) -> bool:
        return bool(state.get("has"))

    def step(state: Any) -> bool:
        return does("b", dict(state))

    from penstock import wiring
    from penstock.core.model import Need

    graph = Graph(
        "shared",
        [
            Node("a", writes, keep=True),
            Node(
                "b",
                step,
                (Need("a", "after"),),
                when=Condition(asks, shared="state"),
                shared="state",
                keep=True,
            ),
        ],
    )
    store.die_when('["ok","a"', after=True)
    with pytest.raises(Killed):
        wiring.run(graph, {}, store=store, run_id="r")
    store.bury()
    assert wiring.run(graph, {}, store=store, run_id="r").outputs["b"] == {"has": True}
    assert called() == ["a", "b"]


ONE = Limit("one", 1)
"""Holds a stream back until its readers have come."""


class TestStreams:
    def flow(self) -> Flow:
        flow = Flow("stream")

        @flow.step(runner="inline")
        def numbers() -> Iterator[int]:
            for i in range(4):
                yield does(f"yield {i}", i if "other" not in BAD else i + 100)

        @flow.step(runner="inline", limits=[ONE])
        def work(x: int = each(numbers)) -> int:
            return does(f"work {x}", x * 10)

        @flow.step(runner="inline")
        def total(xs: list[int] = gather(work)) -> int:
            return does("total", sum(xs))

        return flow

    def test_it_starts_over_and_nothing_is_made_twice(self, store):
        cut(self.flow(), store, '["ok",["work",0]')
        before = called()
        assert go(self.flow(), store)["total"] == 60
        after = called()
        assert "yield 0" in after
        assert not {name for name in before if "work" in name} & set(after)
        assert sorted(name for name in [*before, *after] if "work" in name) == [f"work {i}" for i in range(4)]

    def test_its_first_elements_must_be_the_same(self, store):
        cut(self.flow(), store, '["ok",["work",0]')
        BAD.add("other")
        result = go(self.flow(), store)
        failure = result.nodes["numbers"].failure
        assert failure is not None
        assert failure.type == "StreamChanged"
        assert "element 0" in failure.text

    def test_nor_may_it_be_shorter(self, store):
        flow = Flow("shorter")

        @flow.step(runner="inline")
        def numbers() -> Iterator[int]:
            yield from range(1 if "short" in BAD else 4)

        @flow.step(runner="inline", limits=[ONE])
        def work(x: int = each(numbers)) -> int:
            return does(f"work {x}", x)

        @flow.step
        def total(xs: list[int] = gather(work)) -> int:
            return sum(xs)

        cut(flow, store, '["ok",["work",0]')
        BAD.add("short")
        result = go(flow, store)
        failure = result.nodes["numbers"].failure
        assert failure is not None
        assert failure.type == "StreamChanged"
        assert "gave 1 elements, and 2 before" in failure.text

    def test_keyed(self, store):
        flow = Flow("keyed stream")

        @flow.step(runner="inline")
        def names() -> Iterator[str]:
            yield from ("ann", "bob", "cid")

        @flow.step(runner="inline", limits=[ONE])
        def work(x: str = each(names, key=str)) -> str:
            return does(x, x)

        @flow.step
        def all_of(xs: list[str] = gather(work)) -> list[str]:
            return xs

        cut(flow, store, '["ok",["work","ann"]')
        before = called()
        assert go(flow, store)["all_of"] == ["ann", "bob", "cid"]
        assert not set(before) & set(called())


def test_folds_start_over_from_the_items(store):
    flow = Flow("fold")

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3, 4]

    @flow.step(runner="inline")
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def whole(total: int = fold(work, _minus, 100)) -> int:
        return does("whole", total)

    cut(flow, store, '["ok",["work",2]', options=RunOptions(max_concurrency=1))
    before = called()
    assert "fold 1" in before
    assert go(flow, store, options=RunOptions(max_concurrency=1))["whole"] == 90
    after = called()
    assert not [name for name in before if name in after and "work" in name]
    assert "fold 1" in after


def _minus(so_far: int, item: int) -> int:
    return does(f"fold {item}", so_far - item)


def test_limits_and_rates_hold_after_a_resume(store):
    """Two starts in any half second, those before the crash among them."""
    api = Limit("api", capacity=1, rate=Rate(2, per=0.3))
    flow = Flow("limited")

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3]

    @flow.step(limits=[api])
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def total(xs: list[int] = gather(work)) -> int:
        return sum(xs)

    cut(flow, store, '["start",["work",1]')
    assert go(flow, store)["total"] == 6
    import json

    starts = [
        entry[3]
        for row in store.rows("r")
        for entry in json.loads(row)
        if entry[0] == "start" and isinstance(entry[1], list)
    ]
    assert all(later >= first + 0.3 for first, later in zip(starts, starts[2:], strict=False))


def test_a_deadline_counts_running_time_and_not_the_time_away(store):
    flow = chain()
    cut(flow, store, '["ok","a"', options=RunOptions(deadline=5.0))
    _move_back(store, 1000.0)
    assert go(flow, store, options=RunOptions(deadline=5.0)).status.value == "succeeded"


def test_a_total_timeout_counts_running_time_and_not_the_time_away(store):
    flow = Flow("total")

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.001), timeout=Timeout(total=5.0))
    def flaky() -> int:
        return does("flaky", 1)

    BAD.add("flaky")
    cut(flow, store, '"retry"')
    fix()
    _move_back(store, 1000.0)
    assert go(flow, store)["flaky"] == 1


def _move_back(store: Any, seconds: float) -> None:
    """Makes a journal as if it had been written so long ago."""
    import json

    at = {
        "start": (3,), "ok": (4, 5), "retry": (4, 5, 6), "fail": (4, 5), "wait": (3, 4), "cancel": (2,),
        "deadline": (1,), "end": (2,), "again": (1,), "cancelled": (4, 5),
    }  # fmt: skip
    rows = store._rows["r"]
    for number, row in enumerate(rows):
        entries = json.loads(row)
        for entry in entries:
            if entry[0] == "run":
                entry[1]["at"] -= seconds
            for place in at.get(entry[0], ()):
                if isinstance(entry[place], float):
                    entry[place] -= seconds
        rows[number] = json.dumps(entries)


def test_abandoned_attempts_died_with_their_process(store):
    """Limits that they held are free."""
    flow = Flow("lingers")
    gpu = Limit("gpu", 1)

    @flow.step(limits=[gpu])
    def a() -> int:
        return does("a", 1)

    @flow.step(limits=[gpu])
    def b(a: int) -> int:
        return does("b", 1)

    cut(flow, store, '["start","b"')
    assert go(flow, store)["b"] == 1


class TestVolatile:
    def flow(self) -> Flow:
        flow = Flow("volatile")

        @flow.step(volatile=True)
        def connection() -> Any:
            return does("connection", lambda: 42)

        @flow.step
        def first(connection: Any) -> int:
            return does("first", connection())

        @flow.step
        def second(connection: Any, first: int) -> int:
            return does("second", connection() + first)

        @flow.step
        def third(second: int) -> int:
            return does("third", second)

        return flow

    def test_a_producer_runs_again_only_if_a_pending_step_needs_it(self, store):
        cut(self.flow(), store, '["start","second"')
        called()
        assert go(self.flow(), store)["third"] == 84
        assert called() == ["connection", "second", "third"]

    def test_else_it_does_not(self, store):
        cut(self.flow(), store, '["start","third"')
        called()
        assert go(self.flow(), store)["third"] == 84
        assert called() == ["third"]

    def test_inside_a_map_all_that_follows_runs_again(self, store):
        flow = Flow("volatile items")

        @flow.step
        def items() -> list[int]:
            return does("items", [1, 2])

        @flow.step(volatile=True, runner="inline")
        def opened(x: int = each(items)) -> Any:
            return does(f"open {x}", lambda: x)

        @flow.step(runner="inline")
        def read(opened: Any = use(opened)) -> int:
            return does("read", opened())

        @flow.step
        def total(xs: list[int] = gather(read)) -> int:
            return does("total", sum(xs))

        cut(flow, store, '["ok",["read",0]', options=RunOptions(max_concurrency=1))
        called()
        assert go(flow, store)["total"] == 3
        assert "items" not in called()

    def mapped(self) -> Flow:
        flow = Flow("volatile list")

        @flow.step(volatile=True, runner="inline")
        def readers() -> list[Any]:
            return does("readers", [lambda i=i: i for i in range(3)])

        @flow.step(runner="inline")
        def read(reader: Any = each(readers)) -> int:
            return does(f"read {reader()}", reader())

        @flow.step
        def total(xs: list[int] = gather(read)) -> int:
            return does("total", sum(xs))

        @flow.step
        def last(total: int) -> int:
            return does("last", total)

        return flow

    def test_a_list_that_is_mapped_over_takes_its_map_with_it(self, store):
        cut(self.mapped(), store, '["ok",["read",0]', options=RunOptions(max_concurrency=1))
        called()
        assert go(self.mapped(), store)["last"] == 3
        assert called() == ["last", "read 0", "read 1", "read 2", "readers", "total"]

    def test_but_not_when_its_map_is_done(self, store):
        cut(self.mapped(), store, '["ok","total"')
        called()
        assert go(self.mapped(), store)["last"] == 3
        assert called() == ["last"]


def test_a_list_that_was_lost_and_is_mapped_over(store):
    flow = Flow("lost list")

    @flow.step
    def items() -> list[str]:
        return does("items", ["x" * 50_000, "y" * 50_000])

    @flow.step(runner="inline")
    def work(x: str = each(items)) -> int:
        return does(f"work {x[0]}", len(x))

    @flow.step
    def total(xs: list[int] = gather(work)) -> int:
        return does("total", sum(xs))

    cut(flow, store, '["ok",["work",0]', options=RunOptions(max_concurrency=1))
    called()
    store._values.clear()
    assert go(flow, store)["total"] == 100_000
    assert called() == ["items", "total", "work x", "work y"]


def test_a_value_that_was_lost_is_made_again(store):
    flow = Flow("large")

    @flow.step
    def large() -> bytes:
        return does("large", b"x" * 200_000)

    @flow.step
    def small(large: bytes) -> int:
        return does("small", len(large))

    @flow.step
    def last(small: int, large: bytes) -> int:
        return does("last", small + len(large))

    cut(flow, store, '["start","last"')
    called()
    assert store._values
    store._values.clear()
    assert go(flow, store)["last"] == 400_000
    assert called() == ["large", "last"]


def test_d14_none_skipped_and_failed_stay_three_things(store):
    flow = Flow("nothing")

    @flow.step
    def none() -> None:
        return does("none")

    @flow.step(when=lambda: False)
    def skipped() -> int:
        return does("skipped", 1)

    @flow.step(optional=True)
    def failed() -> int:
        return does("failed", 1)

    @flow.step(trigger="all_done")
    def last(a: Any = outcome(none), b: Any = outcome(skipped), c: Any = outcome(failed)) -> list[str]:
        return does("last", [type(one).__name__ for one in (a, b, c)])

    BAD.add("failed")
    cut(flow, store, '["start","last"')
    assert go(flow, store)["last"] == ["Ok", "Skip", "Failure"]


def test_overrides_and_targets_are_kept(store):
    flow = chain()
    cut(flow, store, '["start","b"', targets=["b"], override={"a": 10})
    result = go(flow, store)
    assert result["b"] == 11
    assert "c" not in result.nodes
    assert result.nodes["a"].source == "override"
    assert called() == ["b"]


def test_an_override_of_what_a_keyed_map_is_made_of(store):
    flow = Flow("keyed override")

    @flow.step
    def items() -> list[str]:
        return does("items", ["ann"])

    @flow.step
    def work(x: str = each(items, key=str)) -> str:
        return does(x, x)

    @flow.step
    def all_of(xs: list[str] = gather(work)) -> list[str]:
        return xs

    cut(flow, store, '["start",["work","bob"]', override={"items": ["bob", "cid"]})
    assert go(flow, store)["all_of"] == ["bob", "cid"]


def test_an_override_beside_items_that_have_succeeded(store):
    flow = Flow("override and items")
    items = flow.add(lambda: does("items", [1]), name="items")

    @flow.step
    def work(x: int = each(items)) -> int:
        return does("work", x)

    cut(flow, store, '["ok",["work",0]', override={"items": [1, 2]}, options=RunOptions(max_concurrency=1))
    assert go(flow, store).items("work") == [1, 2]
    assert called() == ["work", "work"]


def test_compiled_parts_go_on_like_any_step(store):
    """A loop, a switch and a sub-flow are steps and conditions by the time they are recorded."""
    sub = Flow("sub")

    @sub.step
    def one(x: int) -> int:
        return does("one", x + 1)

    @sub.step
    def two(one: int) -> int:
        return does("two", one * 2)

    flow = Flow("parts")

    @flow.step
    def a() -> int:
        return does("a", 1)

    part = flow.add(sub, name="part", x=use(a))

    @flow.step
    def last(x: int = use(part[two])) -> int:
        return does("last", x)

    cut(flow, store, '["start","part/two"')
    called()
    assert go(flow, store)["last"] == 4
    assert called() == ["last", "two"]


def test_letters_that_cannot_be_read_leave_no_runner_open(store):
    """What was answered meanwhile is read before the run goes on: if that fails, nothing has been opened."""
    opened: list[str] = []

    class Watched(ThreadRunner):
        def open(self, mailbox: Any, clock: Any) -> None:
            opened.append("opened")
            super().open(mailbox, clock)

    cut(chain(), store, '["ok","a"')
    faulty = FaultyStore(store, at=1, times=None, only=["letters"])
    with pytest.raises(StoreError):
        chain().run(store=faulty, run_id="r", runner=Watched())
    assert opened == []
    assert go(chain(), store, runner=Watched())["c"] == 3
    assert opened
