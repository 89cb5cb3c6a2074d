"""A run that ended without success goes on: what failed goes back, with all that follows; the rest stays."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.errors import InputError
from penstock.core.model import Limit, Quorum, RunOptions
from penstock.flow import Flow, each, gather, optional, outcome, param, use

from .tools import BAD, CALLS, called, cut, does, fix, go

CONTINUE = RunOptions("continue")


def diamond() -> Flow:
    flow = Flow("diamond")

    @flow.step
    def top() -> int:
        return does("top", 1)

    @flow.step
    def left(top: int) -> int:
        return does("left", top + 1)

    @flow.step
    def right(top: int) -> int:
        return does("right", top + 2)

    @flow.step
    def bottom(left: int, right: int) -> int:
        return does("bottom", left + right)

    return flow


def test_only_what_failed_and_what_follows_runs_again(store):
    BAD.add("left")
    assert go(diamond(), store, options=CONTINUE).status.value == "failed"
    assert called() == ["left", "right", "top"]
    fix()
    assert go(diamond(), store)["bottom"] == 5
    assert called() == ["bottom", "left"]


def test_it_may_fail_again_and_again(store):
    BAD.add("left")
    for _ in range(3):
        assert go(diamond(), store, options=CONTINUE).status.value == "failed"
    assert CALLS.count("left") == 3
    assert CALLS.count("top") == 1
    fix()
    assert go(diamond(), store)["bottom"] == 5
    entry = store.find("r")
    assert entry.status == "succeeded"


def test_attempts_are_counted_anew(store):
    from penstock.core.model import RetryPolicy

    flow = Flow("retries")

    @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.001))
    def flaky() -> int:
        return does("flaky", 1)

    BAD.add("flaky")
    go(flow, store)
    assert called() == ["flaky"] * 2
    go(flow, store)
    assert called() == ["flaky"] * 2


def test_a_crash_of_a_run_that_went_on_after_an_end_is_a_crash(store):
    """The catalog says that it runs, and its journal does not end."""
    BAD.add("left")
    go(diamond(), store, options=CONTINUE)
    fix()
    called()
    cut(diamond(), store, '["ok","left"')
    assert store.find("r").status == "running"
    assert go(diamond(), store)["bottom"] == 5
    assert called() == ["bottom", "left"]


def test_successes_on_a_missing_value_go_back(store):
    flow = Flow("missing")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step
    def b(a: int) -> int:
        return does("b", a)

    @flow.step(trigger="all_done")
    def report(a: Any = outcome(a), b: int | None = optional(b, default=None)) -> str:
        return does("report", f"{type(a).__name__} {b}")

    @flow.step
    def strict(a: int) -> int:
        return does("strict", a)

    BAD.add("a")
    result = go(flow, store, options=CONTINUE)
    assert result["report"] == "Failure None"
    fix()
    called()
    assert go(flow, store)["report"] == "Ok 1"
    assert called() == ["a", "b", "report", "strict"]


def test_what_cleaned_up_after_a_stop_cleans_up_again(store):
    """It went without the value of a step that the stop kept from its turn."""
    flow = Flow("cleans")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step
    def b(a: int) -> int:
        return does("b", a)

    @flow.step
    def late(b: int) -> int:
        return does("late", b)

    @flow.step(trigger="always")
    def clean(x: Any = outcome(late)) -> str:
        return does("clean", type(x).__name__)

    BAD.add("b")
    assert go(flow, store)["clean"] == "Skip"
    fix()
    called()
    assert go(flow, store)["clean"] == "Ok"
    assert called() == ["b", "clean", "late"]


def test_even_where_nothing_above_that_step_goes_back(store):
    flow = Flow("cleans")

    @flow.step
    def first() -> int:
        return does("first", 1)

    @flow.step
    def second(first: int) -> int:
        return does("second", first)

    @flow.step
    def third(second: int) -> int:
        return does("third", second)

    @flow.step
    def other() -> int:
        return does("other", 1)

    @flow.step(trigger="always")
    def clean(x: Any = outcome(other)) -> str:
        return does("clean", type(x).__name__)

    BAD.add("first")
    one = RunOptions(max_concurrency=1)
    assert go(flow, store, options=one)["clean"] == "Skip"
    fix()
    assert go(flow, store, options=one)["clean"] == "Ok"


def test_good_items_of_a_partly_failed_map_stay(store):
    flow = Flow("items")

    @flow.step
    def items() -> list[int]:
        return does("items", [1, 2, 3])

    @flow.step
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def more(x: int = use(work)) -> int:
        return does(f"more {x}", x)

    @flow.step
    def total(xs: list[int] = gather(more)) -> int:
        return does("total", sum(xs))

    BAD.add("work 2")
    go(flow, store, options=CONTINUE)
    fix()
    called()
    assert go(flow, store)["total"] == 6
    assert called() == ["more 2", "total", "work 2"]


def test_a_tolerated_failure_stays_and_what_was_built_on_it(store):
    flow = Flow("tolerated")

    @flow.step(optional=True)
    def extra() -> int:
        return does("extra", 1)

    @flow.step
    def main(extra: int = optional(extra, default=0)) -> int:
        return does("main", extra)

    @flow.step
    def broken(main: int) -> int:
        return does("broken", main)

    BAD.update(("extra", "broken"))
    go(flow, store, options=CONTINUE)
    fix()
    called()
    result = go(flow, store)
    assert result["broken"] == 0
    assert result.tolerated == ("extra",)
    assert called() == ["broken"]


def test_rerun_asks_for_it(store):
    flow = Flow("tolerated")

    @flow.step(optional=True)
    def extra() -> int:
        return does("extra", 1)

    @flow.step
    def main(extra: int = optional(extra, default=0)) -> int:
        return does("main", extra)

    @flow.step
    def broken(main: int) -> int:
        return does("broken", main)

    BAD.update(("extra", "broken"))
    go(flow, store, options=CONTINUE)
    fix()
    called()
    assert go(flow, store, options=RunOptions(rerun=["extra"]))["broken"] == 1
    assert called() == ["broken", "extra", "main"]


def test_rerun_of_what_is_not_there(store):
    BAD.add("left")
    go(diamond(), store)
    with pytest.raises(InputError, match="did you mean 'left'"):
        go(diamond(), store, options=RunOptions(rerun=["lefd"]))
    fix()
    assert go(diamond(), store)["bottom"] == 5, "and the run is as it was"


def test_items_let_pass_by_a_quorum_stay(store):
    flow = Flow("quorum")

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def most(xs: list[int] = gather(work, failures=Quorum(2))) -> int:
        return does("most", sum(xs))

    @flow.step
    def broken(most: int) -> int:
        return does("broken", most)

    BAD.update(("work 2", "broken"))
    go(flow, store)
    fix()
    called()
    assert go(flow, store)["broken"] == 4
    assert called() == ["broken"]


def test_items_of_a_missed_quorum_go_back(store):
    flow = Flow("quorum")

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def most(xs: list[int] = gather(work, failures=Quorum(2))) -> int:
        return does("most", sum(xs))

    BAD.update(("work 2", "work 3"))
    assert go(flow, store, options=CONTINUE).status.value == "failed"
    fix()
    called()
    assert go(flow, store)["most"] == 6
    assert called() == ["most", "work 2", "work 3"]


def test_a_cancelled_run_goes_on(store):
    flow, started, done = Flow("cancelled"), STARTED, RELEASED
    started.clear()
    done.clear()

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step
    async def b(a: int) -> int:
        import asyncio

        STARTED.set()
        while not RELEASED.is_set():
            await asyncio.sleep(0.005)
        return does("b", a)

    @flow.step
    def c(b: int) -> int:
        return does("c", b)

    handle = flow.start(store=store, run_id="r")
    assert STARTED.wait(10)
    handle.cancel("enough")
    assert handle.result(10).status.value == "cancelled"
    assert called() == ["a"]
    done.set()
    assert go(flow, store)["c"] == 1
    assert called() == ["b", "c"]


STARTED, RELEASED = threading.Event(), threading.Event()


def test_a_run_that_its_deadline_stopped_goes_on_with_a_longer_one(store):
    flow = Flow("late")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step
    async def b(a: int) -> int:
        import asyncio

        if "slow" in BAD:
            await asyncio.sleep(10)
        return does("b", a)

    BAD.add("slow")
    result = go(flow, store, options=RunOptions(deadline=0.1))
    assert result.status.value == "failed"
    fix()
    called()
    assert go(flow, store, options=RunOptions(deadline=60))["b"] == 1
    assert called() == ["b"]


def test_the_time_of_what_is_dropped_was_running_time(store):
    """With the same deadline there is no time left."""
    flow = Flow("late")

    @flow.step
    async def b() -> int:
        import asyncio

        if "slow" in BAD:
            await asyncio.sleep(10)
        return does("b", 1)

    @flow.step
    async def c(b: int) -> int:
        import asyncio

        await asyncio.sleep(0.05)
        return does("c", 1)

    BAD.add("slow")
    assert go(flow, store, options=RunOptions(deadline=0.1)).status.value == "failed"
    fix()
    assert go(flow, store, options=RunOptions(deadline=0.1)).status.value == "failed"
    assert go(flow, store, options=RunOptions(deadline=60))["c"] == 1


def test_a_condition_that_raised_is_asked_again_one_that_answered_is_not(store):
    flow = Flow("asks")

    @flow.step(when=lambda: does("when a", True))
    def a() -> int:
        return does("a", 1)

    @flow.step(when=lambda: does("when b", True))
    def b() -> int:
        return does("b", 1)

    BAD.update(("when a", "b"))
    assert go(flow, store, options=CONTINUE).status.value == "failed"
    assert called() == ["b", "when a", "when b"]
    fix()
    assert go(flow, store).status.value == "succeeded"
    assert called() == ["a", "b", "when a"]


def test_a_condition_below_what_goes_back_is_asked_again(store):
    """It is about another value now."""
    flow = Flow("below")

    @flow.step
    def a() -> int:
        return does("a", 1)

    @flow.step(when=lambda a: does("when", a is not None))
    def b(a: int | None = optional(a, default=None)) -> int | None:
        return does("b", a)

    @flow.step
    def c(a: int) -> int:
        return does("c", a)

    BAD.add("a")
    go(flow, store, options=CONTINUE)
    assert called() == ["a", "when"]
    fix()
    assert go(flow, store)["b"] == 1
    assert called() == ["a", "b", "c", "when"]


ONE = Limit("one", 1)


class TestStreams:
    def flow(self) -> Flow:
        flow = Flow("stream")

        @flow.step(runner="inline")
        def numbers() -> Iterator[int]:
            for i in range(4):
                yield does(f"yield {i}", i)

        @flow.step(runner="inline", limits=[ONE])
        def work(x: int = each(numbers)) -> int:
            return does(f"work {x}", x)

        @flow.step(runner="inline")
        def kept(xs: list[Any] = gather(work, failures="keep")) -> int:
            return does("kept", len(xs))

        return flow

    def test_elements_of_a_broken_stream_and_their_items_stay(self, store):
        BAD.add("yield 2")
        assert go(self.flow(), store, options=CONTINUE)["kept"] == 3
        assert called() == ["kept", "work 0", "work 1", "yield 0", "yield 1", "yield 2"]
        result = go(self.flow(), store, options=RunOptions("continue", rerun=["numbers"]))
        assert result["kept"] == 3

    def test_what_was_made_of_all_of_them_goes_back(self, store):
        flow = self.flow()

        @flow.step
        def whole(xs: list[int] = use(flow.steps["numbers"])) -> int:
            return does("whole", sum(xs))

        BAD.add("yield 2")
        assert go(flow, store, options=CONTINUE).status.value == "failed"
        fix()
        called()
        result = go(flow, store)
        assert result["kept"] == 4
        assert result["whole"] == 6
        assert called() == [
            "kept", "whole", "work 2", "work 3", "yield 0", "yield 1", "yield 2", "yield 3",
        ]  # fmt: skip

    def test_whose_readers_go_back_too_begins_anew(self, store):
        """Nothing is left of the elements that were given: they are not had before."""
        flow = Flow("both")

        @flow.step
        def other() -> int:
            return does("other", 1)

        @flow.step(runner="inline")
        def numbers() -> Iterator[int]:
            for i in range(3):
                yield does(f"yield {i}", i)

        @flow.step(runner="inline")
        def work(x: int = each(numbers), other: int = use(other)) -> int:
            return does(f"work {x}", x + other)

        @flow.step
        def total(xs: list[int] = gather(work)) -> int:
            return does("total", sum(xs))

        BAD.update(("yield 2", "other"))
        assert go(flow, store, options=CONTINUE).status.value == "failed"
        fix()
        assert go(flow, store)["total"] == 6


def test_a_keyed_map_opens_again_under_its_keys(store):
    """All of it went back, and the list that it is made of did not."""
    flow = Flow("keyed")

    @flow.step
    def items() -> list[str]:
        return does("items", ["ann", "bob"])

    @flow.step
    def other() -> int:
        return does("other", 1)

    @flow.step
    def work(x: str = each(items, key=str), other: int = use(other)) -> str:
        return does(x, x * other)

    @flow.step
    def all_of(xs: list[str] = gather(work)) -> list[str]:
        return does("all", xs)

    BAD.add("other")
    assert go(flow, store, options=CONTINUE).status.value == "failed"
    fix()
    called()
    result = go(flow, store)
    assert result["all_of"] == ["ann", "bob"]
    assert called() == ["all", "ann", "bob", "other"]
    found = result.nodes["work"].items
    assert found is not None
    assert [item.path for item in found] == ["work[ann]", "work[bob]"]


def test_a_map_whose_source_failed_opens_when_it_has_come(store):
    flow = Flow("source")

    @flow.step
    def items() -> list[int]:
        return does("items", [1, 2])

    @flow.step
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def total(xs: list[int] = gather(work)) -> int:
        return does("total", sum(xs))

    BAD.add("items")
    assert go(flow, store).status.value == "failed"
    fix()
    called()
    assert go(flow, store)["total"] == 3
    assert called() == ["items", "total", "work 1", "work 2"]


def test_many_items_that_a_stop_skipped_as_one_run(store):
    flow = Flow("many")
    size = param("size", int)

    @flow.step
    def items(size: int = use(size)) -> list[int]:
        return list(range(size))

    @flow.step(runner="inline")
    def work(x: int = each(items)) -> int:
        return does(f"work {x}", x)

    @flow.step
    def total(xs: list[int] = gather(work)) -> int:
        return sum(xs)

    BAD.add("work 5")
    assert go(flow, store, size=200, options=RunOptions(max_concurrency=1)).status.value == "failed"
    assert any('"rest"' in row for row in store.rows("r"))
    fix()
    called()
    assert go(flow, store)["total"] == sum(range(200))
    assert len(called()) == 195


def test_lost_values_are_made_again(store):
    flow = Flow("lost")

    @flow.step
    def large() -> bytes:
        return does("large", b"x" * 100_000)

    @flow.step
    def used(large: bytes) -> int:
        return does("used", len(large))

    @flow.step
    def broken(large: bytes, used: int) -> int:
        return does("broken", used)

    BAD.add("broken")
    go(flow, store)
    fix()
    called()
    store._values.clear()
    assert go(flow, store)["broken"] == 100_000
    assert called() == ["broken", "large"], "what was made of it before stays"


def test_a_volatile_producer_of_what_goes_back(store):
    flow = Flow("volatile")

    @flow.step(volatile=True)
    def connection() -> Any:
        return does("connection", lambda: 1)

    @flow.step
    def good(connection: Any) -> int:
        return does("good", connection())

    @flow.step
    def broken(connection: Any) -> int:
        return does("broken", connection())

    BAD.add("broken")
    go(flow, store, options=CONTINUE)
    fix()
    called()
    assert go(flow, store)["broken"] == 1
    assert called() == ["broken", "connection"]
