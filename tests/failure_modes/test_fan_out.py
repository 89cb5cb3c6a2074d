"""F: maps and streams of many items."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import Flow, RunOptions, RunStatus, each, fold, gather
from penstock.testing import Faults, run
from tests.engine.tools import GO_ON, other

MILLION = """
from bench.memory import resident_peak
from penstock import Flow, each, fold, gather

flow = Flow("flow")
source = flow.add(lambda: list(range(1_000_000)), name="source")

async def item(n):
    return n

mapped = flow.add(item, name="item", n=each(source))
flow.add(lambda items: sum(items), name="total", items=gather(mapped))
result = flow.run()
assert result["total"] == sum(range(1_000_000))
print(resident_peak())
"""


@pytest.mark.slow
def test_f03_a_million_items_in_less_than_a_gigabyte():
    with other(MILLION) as process:
        code, said = process.end()
    assert code == 0, process.errors
    assert int(said[0]) < 1_000_000_000


@pytest.mark.parametrize("many", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_f05_of_many_items_one_hangs_and_is_ended_by_its_own_timeout(many, fake_clock):
    flow = Flow("flow")
    source = flow.add(lambda: list(range(many)), name="source")

    async def item(n: int) -> int:
        return n

    mapped = flow.add(item, name="item", n=each(source), timeout=3600)
    flow.add(lambda items: sum(items), name="total", items=gather(mapped, failures="drop"))
    faults = Faults().hang("item[7]")
    result = run(flow, clock=fake_clock, faults=faults, options=RunOptions(max_concurrency=20))
    assert result["total"] == sum(range(many)) - 7
    assert result.tolerated == ("item[7]",)
    items = result.nodes["item"].items
    assert items is not None
    failure = items[7].failure
    assert failure is not None
    assert failure.kind == "timeout"


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_f01_f07_the_items_of_a_list_are_those_it_had_when_it_was_returned(runner):
    """The first item empties the list: nobody loses an item."""
    kept = list(range(100))
    flow = Flow("flow")

    def item(n: int) -> int:
        kept.clear()
        return n

    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return item(n)

    source = flow.add(lambda: kept, name="source")
    flow.add(later if runner == "aio" else item, name="item", n=each(source), runner=runner)
    assert flow.run(options=RunOptions(max_concurrency=2)).items("item") == list(range(100))


class Big:
    """A value of which somebody counts how many there are."""

    alive = most = 0
    all_made: threading.Event | None = None
    """Set by number 1,999."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.weight = bytes(10_000)
        Big.alive += 1
        Big.most = max(Big.most, Big.alive)
        if n == 1_999 and Big.all_made is not None:
            Big.all_made.set()

    def __del__(self) -> None:
        Big.alive -= 1


def most_alive(runner: str, many: int, slots: int, add: Callable[[int, Big], int]) -> int:
    """How many values there were at a time, at most, of a stream that is mapped over and folded."""
    Big.alive = Big.most = 0

    def numbers() -> Iterator[int]:
        yield from range(many)

    async def make_later(n: int) -> Big:
        return Big(n)

    flow = Flow("flow")
    source = flow.add(numbers, name="source")
    make: Any = make_later if runner == "aio" else Big
    item = flow.add(make, name="item", n=each(source), runner=runner)
    flow.add(lambda total: total, name="total", total=fold(item, add, 0))
    assert flow.run(options=RunOptions(max_concurrency=slots))["total"] == sum(range(many))
    return Big.most


def plus(total: int, big: Big) -> int:
    return total + big.n


@pytest.mark.parametrize("runner", ["inline", "aio"])
@pytest.mark.parametrize("many", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_f10_a_fold_over_a_stream_keeps_few_values_however_many_there_are(runner, many):
    assert most_alive(runner, many, 8, plus) < many / 4
    assert Big.alive <= 1


@pytest.mark.parametrize("runner", ["inline", "aio", "threads"])
def test_f10_with_one_slot_a_fold_takes_what_there_is_before_more_is_made(runner):
    assert most_alive(runner, 1_000, 1, plus) < 250


def test_f10_a_fold_that_is_slower_than_its_items_holds_them_up(flags, monkeypatch):
    """It waits for the last item to be made, but not for ever: one that holds up the items never sees it."""

    def add(total: int, big: Big) -> int:
        if big.n == 0:
            flags.all_made.wait(1)
        return plus(total, big)

    monkeypatch.setattr(Big, "all_made", flags.all_made)
    assert most_alive("aio", 2_000, 8, add) < 1_000


@pytest.mark.parametrize("seed", range(10))
def test_f04_which_items_fail_says_the_seed_and_the_rest_is_as_without(seed, fake_clock):
    """Faults in any items; with `keep` each stands in its place."""
    flow = Flow("flow")
    source = flow.add(lambda: list(range(100)), name="source")
    item = flow.add(lambda n: n * n, name="item", n=each(source))
    flow.add(lambda items: items, name="all", items=gather(item, failures="keep"))
    faults = Faults().seeded(seed, rate=0.2)
    result = run(flow, clock=fake_clock, faults=faults, options=GO_ON)
    if result.status is RunStatus.FAILED:
        assert "source" in faults.struck() or "all" in faults.struck()
        return
    struck = {int(path[5:-1]) for path in faults.struck() if path.startswith("item[")}
    for n, outcome in enumerate(result["all"]):
        assert (type(outcome).__name__ == "Failure") == (n in struck)
        if n not in struck:
            assert outcome.value == n * n
    assert set(result.tolerated) == {f"item[{n}]" for n in struck}
