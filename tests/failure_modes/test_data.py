"""D: values in memory and on their way to processes. What a store does with them is not part of this."""

from __future__ import annotations

import asyncio
import sys
import threading
from random import Random
from typing import Any

import pytest

from penstock import Flow, RunOptions, each, gather, processes, use
from tests.engine.tools import GO_ON, met
from tests.failure_modes import work


@pytest.fixture(scope="module")
def pool():
    with processes(1) as made:
        yield made


class NotLoaded:
    """Goes out, and cannot be made on the other side."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_d02_what_cannot_travel_fails_its_step_and_the_pool_goes_on(pool):
    """In each direction; the attempts beside it are not touched."""
    flow = Flow("flow")
    values: list[Any] = [1, threading.Lock(), 2, NotLoaded(), 3]
    source = flow.add(lambda: values, name="source", runner="threads")
    flow.add(work.same, name="item", x=each(source), runner="processes")
    flow.add(work.gives_a_lock, name="back", runner="processes")
    result = flow.run(options=GO_ON, runner=pool)
    items = result.nodes["item"].items
    assert items is not None
    assert [one.status.value for one in items] == ["succeeded", "failed"] * 2 + ["succeeded"]
    texts = [one.failure.text for one in items if one.failure is not None]
    assert [text[:12] for text in texts] == ["argument 'x'", "the argument"]
    back = result.nodes["back"].failure
    assert back is not None
    assert "cannot pickle" in back.text
    again = Flow("again")
    again.add(work.double, name="a", n=use(again.add(lambda: 4, name="four")), runner="processes")
    assert again.run(runner=pool)["a"] == 8


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
ROUND: list[Any] = [1]
ROUND.append(ROUND)


ODD: list[Any] = [
    *(float("inf"), float("-inf"), -0.0, 2**53 + 1, -(2**63) - 1, 10**5_000),
    *("\ud800", "a\0b", "\u202e", "x" * 10**6, b"\xff\0"),
    *({1: "a", "1": "b"}, {1.5: (1, 2), (1,): [1]}, frozenset({1}), (1, [2, (3,)])),
]


def test_odd_values_come_back_from_a_process_as_they_went(pool):
    """Equal, and of the same types all the way down: a tuple is no list, and -0.0 is not 0.0."""
    flow = Flow("flow")
    source = flow.add(lambda: [*ODD, float("nan")], name="source", runner="threads")
    item = flow.add(work.same, name="item", x=each(source), runner="processes")
    flow.add(lambda items: items, name="all", items=gather(item))
    *found, nan = flow.run(runner=pool)["all"]
    assert found == ODD
    assert nan != nan
    sys.set_int_max_str_digits(0)
    try:
        assert [repr(value) for value in found] == [repr(value) for value in ODD]
    finally:
        sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)


@pytest.mark.parametrize("values", ["shared", "copied"])
def test_a_value_in_a_circle_is_handed_on(values, pool):
    flow = Flow("flow")
    source = flow.add(lambda: ROUND, name="source")
    flow.add(lambda x: x[1][1][0], name="here", x=use(source), runner="threads")
    flow.add(work.same, name="there", x=use(source), runner="processes")
    result = flow.run(options=RunOptions(values=values), runner=pool)
    assert result["here"] == 1
    assert result["there"][1] is result["there"]


def test_a_value_100_000_levels_deep_is_handed_on_by_reference_and_fails_its_step_elsewhere(pool):
    flow = Flow("flow")
    source = flow.add(lambda: DEEP, name="source", runner="threads")
    flow.add(lambda x: len(x), name="here", x=use(source), runner="threads")
    flow.add(work.same, name="there", x=use(source), runner="processes")
    result = flow.run(options=GO_ON, runner=pool)
    assert result["here"] == 1
    failure = result.nodes["there"].failure
    assert failure is not None
    assert (failure.type, "'x'" in failure.text) == ("TypeError", True)


def mutators(seed: int) -> None:
    """Two steps change what they are given, at the same time and in turns that the dice say."""
    dice = Random(seed)
    flow = Flow("flow")
    source = flow.add(lambda: {"list": [0], "deep": {"er": [0]}}, name="source", keep=True)
    barrier = threading.Barrier(2, timeout=30)

    def change(x: Any, by: int, times: int) -> Any:
        barrier.wait()
        for _ in range(times):
            x["list"].append(by)
            x["deep"]["er"].append(by)
        return x

    for by in (1, 2):
        bind = {"by": by, "times": dice.randint(1, 20)}
        flow.add(change, name=f"by {by}", x=use(source), runner="threads", bind=bind)
    result = flow.run(options=RunOptions(values="copied"))
    assert result["source"] == {"list": [0], "deep": {"er": [0]}}
    for by in (1, 2):
        changed = result[f"by {by}"]
        assert set(changed["list"][1:]) == set(changed["deep"]["er"][1:]) == {by}


def test_d04_two_mutators_at_a_time_do_not_see_each_other():
    for seed in range(100):
        mutators(seed)


@pytest.mark.slow
def test_d04_two_mutators_at_a_time_in_a_thousand_runs():
    for seed in range(1_000):
        mutators(seed)


@pytest.mark.parametrize("values", ["shared", "copied"])
def test_d05_a_thread_of_the_producer_that_changes_the_value_after_its_return(values, flags):
    """By reference there is one object, and who comes later sees the change. With copies each consumer has
    the value as it was when that consumer began, and for itself."""
    flow = Flow("flow")

    def produce() -> list[int]:
        made = [1]

        def change_later() -> None:
            met(flags.first_has_it)
            made.append(2)
            flags.changed.set()

        threading.Thread(target=change_later, daemon=True).start()
        return made

    def first(x: list[int]) -> list[int]:
        flags.first_has_it.set()
        met(flags.changed)
        return list(x)

    source = flow.add(produce, name="source")
    one = flow.add(first, name="first", x=use(source), runner="threads")
    flow.add(lambda x: list(x), name="last", x=use(source), after=[one])
    result = flow.run(options=RunOptions(values=values))
    assert result["first"] == ([1, 2] if values == "shared" else [1])
    assert result["last"] == [1, 2]


def test_d16_in_a_process_too(pool):
    flow = Flow("flow")
    flow.add(work.forgets_await, name="coroutine", runner="processes")
    flow.add(work.gives_a_future, name="future", runner="processes")
    result = flow.run(options=GO_ON, runner=pool)
    coroutine, future = (result.nodes[id].failure for id in ("coroutine", "future"))
    assert coroutine is not None
    assert (coroutine.type, coroutine.text.endswith("did you forget await?")) == ("TypeError", True)
    assert future is not None
    assert future.text.startswith("the result (of type Future) cannot travel back")


@pytest.mark.parametrize("make", ["task", "future"])
def test_d16_a_plain_step_on_the_loop_too(make):
    """It runs in the thread of the loop, and so it can make a task, and forget it."""

    def step() -> Any:
        loop = asyncio.get_running_loop()
        return loop.create_future() if make == "future" else loop.create_task(asyncio.sleep(0))

    flow = Flow("flow")
    flow.add(step, name="a", runner="inline")
    failure = asyncio.run(flow.arun()).nodes["a"].failure
    assert failure is not None
    assert (failure.type, failure.text.endswith("did you forget await?")) == ("TypeError", True)
