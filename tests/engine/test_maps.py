"""Maps that really run: what may be mapped over, order, failures, maps of maps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest

from penstock.core.model import Failure, Limit, Ok, RunOptions, RunStatus, Timeout
from penstock.flow import Flow, each, gather, param, use
from tests.engine.tools import GO_ON, SAFETY


class Sized:
    """Looks like a list, and is none."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, at: int) -> int:
        return [7][at]


@pytest.mark.parametrize(
    "value",
    ["text", "", b"bytes", bytearray(b"x"), {"a": 1}, {}, {1, 2}, set(), frozenset({1}), None, 5, iter([1]),
     range(3), (n for n in [1]), Sized(), {"a": 1}.keys()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_f01_what_cannot_be_mapped_over_fails_the_step_that_returned_it(value, runner):
    async def later():
        return value

    flow = Flow("flow")
    flow.add(later if runner == "aio" else lambda: value, name="source", runner=runner)
    flow.add(lambda n: n, name="item", n=each(flow.steps["source"]))
    flow.add(lambda items: items, name="all", items=gather(flow.steps["item"]))
    result = flow.run(options=GO_ON)
    failure = result.nodes["source"].failure
    assert failure is not None
    assert (failure.type, failure.retryable) == ("TypeError", False)
    assert failure.text.startswith(
        f"'item' maps over the value of source, which is of type {type(value).__name__}; "
    )
    way_out = "Iterator[...]" if isinstance(value, Iterator) else "return a list or a tuple"
    assert way_out in failure.text
    assert [result.nodes[id].status.value for id in ("item", "all")] == ["skipped", "skipped"]


@pytest.mark.parametrize("value", [[1, 2], (1, 2)])
def test_f01_lists_and_tuples_are_mapped_over(value):
    flow = Flow("flow")
    flow.add(lambda: value, name="source")
    flow.add(lambda n: n, name="item", n=each(flow.steps["source"]))
    assert flow.run().items("item") == [1, 2]


def test_f02_an_empty_list_gives_an_empty_list():
    flow = Flow("flow")
    flow.add(lambda: [], name="source")
    flow.add(lambda n: n, name="item", n=each(flow.steps["source"]))
    flow.add(lambda n: n, name="deeper", n=use(flow.steps["item"]))
    flow.add(lambda items: items, name="all", items=gather(flow.steps["deeper"]))
    result = flow.run()
    assert (result.status, result["all"]) == (RunStatus.SUCCEEDED, [])


def test_f03_of_many_items_few_are_in_flight():
    """Of 20,000 items, never more run than there are slots, and no task exists for one that waits."""
    most = tasks = running = 0

    async def item(n: int):
        nonlocal most, tasks, running
        running += 1
        most = max(most, running)
        if n % 1000 == 0:
            tasks = max(tasks, len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        running -= 1
        return n

    flow = Flow("flow")
    flow.add(lambda: list(range(20_000)), name="source")
    flow.add(item, name="item", n=each(flow.steps["source"]))
    flow.add(lambda items: sum(items), name="all", items=gather(flow.steps["item"]))
    assert flow.run(options=RunOptions(max_concurrency=50))["all"] == sum(range(20_000))
    assert most <= 50
    assert tasks <= 2 * 50 + 20  # workers that rest or are on their way, and those of the run itself


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("failures", ["raise", "drop", "keep"])
def test_f04_f07_failed_items_go_by_the_policy_and_order_is_kept(seed, failures):
    dice = Random(seed)
    given = [dice.randrange(4) for _ in range(dice.randrange(12))]  # duplicates are items of their own
    bad = {n for n in range(4) if dice.random() < 0.25}
    calls: list[int] = []

    async def item(n: int):
        for _ in range(Random(n * 7 + seed).randrange(4)):
            await asyncio.sleep(0)
        calls.append(n)
        if n in bad:
            raise LookupError(str(n))
        return -n

    flow = Flow("flow")
    flow.add(lambda: given, name="source")
    flow.add(item, name="item", n=each(flow.steps["source"]), keep=True)
    flow.add(lambda items: items, name="all", items=gather(flow.steps["item"], failures=failures))
    result = flow.run(options=GO_ON)
    assert sorted(calls) == sorted(given)
    some_bad = any(n in bad for n in given)
    if failures == "raise" and some_bad:
        assert result.status is RunStatus.FAILED
        assert result.nodes["all"].skip is not None
    else:
        assert result.status is RunStatus.SUCCEEDED
        shown: list[Any] = [
            one.value if isinstance(one, Ok) else one.text if isinstance(one, Failure) else one
            for one in result["all"]
        ]
        expected: list[Any] = [-n if n not in bad else str(n) for n in given]
        assert shown == (expected if failures != "drop" else [-n for n in given if n not in bad])
        tolerated = [f"item[{at}]" for at, n in enumerate(given) if n in bad]
        assert sorted(result.tolerated) == sorted(tolerated)
    if not some_bad or failures != "raise":
        assert result.items("item") == [-n for n in given if n not in bad]


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_f09_maps_inside_maps_inside_maps(runner):
    flow = Flow("flow")
    flow.add(lambda: [1, 2, 3], name="a")
    flow.add(lambda n: list(range(n)), name="b", n=each(flow.steps["a"]), runner=runner)
    flow.add(lambda n: [n] * n, name="c", n=each(flow.steps["b"]), runner=runner)
    flow.add(lambda n: n + 1, name="d", n=each(flow.steps["c"]), runner=runner)
    flow.add(lambda x: x, name="one", x=gather(flow.steps["d"]))
    flow.add(lambda x: x, name="two", x=gather(gather(flow.steps["d"])))
    flow.add(lambda x: x, name="three", x=gather(gather(gather(flow.steps["d"]))))
    result = flow.run()
    assert result["three"] == [[[]], [[], [2]], [[], [2], [3, 3]]]
    assert result.items("two") == [[[]], [[], [2]], [[], [2], [3, 3]]]
    items = result.nodes["d"].items
    assert items is not None
    assert [item.path for item in items] == ["d[1,1,0]", "d[2,1,0]", "d[2,2,0]", "d[2,2,1]"]


def test_r09_a_stream_that_waits_for_its_consumers_lends_them_its_limit_of_the_process():
    """Both take the only permit there is: each goes on while the other waits."""
    one = Limit("one", 1, scope="process")
    flow = Flow("flow")

    @flow.step(limits=[one])
    def numbers() -> Iterator[int]:
        yield from range(200)

    @flow.step(limits=[one])
    def double(number: int = each(numbers)) -> int:
        return 2 * number

    @flow.step
    def total(doubled: list[int] = gather(double)) -> int:
        return sum(doubled)

    assert flow.run(options=RunOptions(deadline=SAFETY))[total] == 39_800


@pytest.mark.parametrize("runner", ["threads", "aio"])
def test_a_stream_without_a_context_shows_signs_of_life_by_its_elements_alone(runner, flags):
    def dries_up() -> Iterator[int]:
        yield 1
        flags.never.wait(SAFETY)
        yield 2

    async def dries_up_later() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()
        yield 2

    flow = Flow("flow")
    source: Any = dries_up if runner == "threads" else dries_up_later
    stream = flow.add(source, name="stream", timeout=Timeout(idle=0.1))
    item = flow.add(lambda n: n, name="item", n=each(stream), runner="inline")
    flow.add(lambda items: items, name="all", items=gather(item, failures="drop"))
    result = flow.run(options=GO_ON)
    failure = result.nodes["stream"].failure
    assert failure is not None
    assert failure.text == "no sign of life for 0.1 s"
    assert result["all"] == [1]


@pytest.mark.parametrize(
    "most",
    [
        {"max_concurrency": 2},
        {"limits": [Limit("two", capacity=2)]},
        {"limits": [Limit("five", capacity=5).take(2)]},
    ],
)
def test_a_stream_is_ahead_by_twice_what_its_consumer_may_do_at_a_time(most):
    """Its runner could take hundreds."""
    given = ended = ahead = 0

    def numbers() -> Iterator[int]:
        nonlocal given
        while given < 300:
            given += 1
            yield given

    async def slowly(n: int) -> int:
        nonlocal ended, ahead
        for _ in range(20):
            await asyncio.sleep(0)
        ended += 1
        ahead = max(ahead, given - ended)
        return n

    flow = Flow("flow")
    stream = flow.add(numbers, name="stream")
    item = flow.add(slowly, name="item", n=each(stream), **most)
    flow.add(lambda items: sum(items), name="total", items=gather(item))
    assert flow.run()["total"] == sum(range(1, 301))
    assert ahead <= 2 + 2 * 2 + 1  # two at work, four that wait, and one that is not yet counted


@pytest.mark.parametrize("value", [5, {"a": 1}, "ab"])
def test_f01_an_input_that_is_no_list_is_to_be_given_otherwise(value):
    flow = Flow("flow")
    flow.add(lambda n: n, name="item", n=each(param("numbers")))
    failure = flow.run(numbers=value).nodes["numbers"].failure
    assert failure is not None
    assert failure.text == (
        f"'item' maps over the input 'numbers', which is of type {type(value).__name__}; "
        "give it a list or a tuple"
    )
