"""R: retries, rates, limits and fair shares."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Any

import pytest

from penstock import (
    Context,
    Flow,
    Limit,
    Rate,
    RetryPolicy,
    RunOptions,
    RunStatus,
    Timeout,
    each,
    use,
)
from penstock.testing import Faults, run
from tests.engine.tools import statuses


def dues_of(many: int, seed: int, fake_clock: Any) -> list[float]:
    """When each of so many steps that all fail at 0 s is tried again; the usual jitter."""
    dues: list[float] = []

    def on_event(event: Any) -> None:
        if type(event).__name__ == "NodeRetrying":
            assert event.ended == 0.0
            dues.append(event.due)

    flow = Flow("flow")
    source = flow.add(lambda: list(range(many)), name="source")
    flow.add(lambda n: n, name="item", n=each(source), retry=RetryPolicy(2, 10.0))
    faults = Faults().fail("item", times=1)
    options = RunOptions(observers=[on_event], seed=seed)
    result = run(flow, clock=fake_clock, faults=faults, options=options)
    assert result.status is RunStatus.SUCCEEDED
    return sorted(dues)


@pytest.mark.parametrize("seed", range(3))
def test_r01_a_thousand_that_fail_at_once_are_not_tried_again_at_once(seed, fake_clock):
    """In any 100 ms at most three times as many as on the average."""
    dues = dues_of(1_000, seed, fake_clock)
    assert len(dues) == 1_000
    assert dues[0] > 0
    assert dues[-1] <= 10.0
    mean = 1_000 * 0.1 / 10.0
    for at, due in enumerate(dues):
        assert sum(1 for later in dues[at:] if later < due + 0.1) <= 3 * mean


@pytest.mark.parametrize("budget", [0, 1, 7, 100])
def test_r01_a_budget_bounds_the_retries_of_the_whole_run(budget, fake_clock):
    flow = Flow("flow")
    source = flow.add(lambda: list(range(50)), name="source")
    flow.add(lambda n: n, name="item", n=each(source), retry=RetryPolicy(4, 1.0))
    faults = Faults().fail("item")
    options = RunOptions(on_failure="continue", retry_budget=budget)
    run(flow, clock=fake_clock, faults=faults, options=options)
    attempts = Counter(faults.struck())
    assert sum(attempts.values()) == 50 + budget
    assert max(attempts.values()) <= 4


@pytest.mark.slow
def test_r08_ten_thousand_wait_for_one_permit_and_nobody_overtakes():
    began: list[int] = []

    async def item(n: int) -> None:
        began.append(n)
        for _ in range(Random(n).randrange(3)):
            await asyncio.sleep(0)

    flow = Flow("flow")
    source = flow.add(lambda: list(range(10_000)), name="source")
    flow.add(item, name="item", n=each(source), limits=[Limit("api", 1)])
    assert flow.run().status is RunStatus.SUCCEEDED
    assert began == list(range(10_000))


def crossed(seed: int, fake_clock: Any) -> None:
    """Steps that take two limits, named in either order, for a time that the dice say."""
    dice = Random(seed)
    most = {"one": dice.randint(1, 2), "two": dice.randint(1, 2)}
    one, two = (Limit(name, capacity) for name, capacity in most.items())
    held = Counter[str]()

    def step_of(seconds: float, names: list[str]) -> Any:
        async def step() -> None:
            for name in names:
                held[name] += 1
                assert held[name] <= most[name]
            await fake_clock.asleep(seconds)
            for name in names:
                held[name] -= 1

        return step

    flow = Flow("flow")
    for at in range(20):
        uses = dice.sample([one, two], dice.randint(0, 2))
        call = step_of(dice.randint(0, 3), [use.name for use in uses])
        flow.add(call, name=f"s{at}", limits=uses)
    result = run(flow, clock=fake_clock)
    assert set(statuses(result).values()) == {"succeeded"}


def test_r12_two_limits_in_either_order_never_block_each_other(fake_clock):
    for seed in range(50):
        crossed(seed, fake_clock)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 1_000))
def test_r12_in_ten_thousand_runs(first, fake_clock):
    for seed in range(first, first + 1_000):
        crossed(seed, fake_clock)


def beside_a_map(many: int, **of_map: Any) -> list[str]:
    """The order in which a map and two steps beside it begin, four at a time.

    Both wait for the source of the map, but one begins a longer path than any item does.
    """
    order: list[str] = []

    async def item(n: int) -> None:
        order.append("item")
        await asyncio.sleep(0)

    async def beside(name: str) -> None:
        order.append(name)

    flow = Flow("flow")
    source = flow.add(lambda: list(range(many)), name="source")
    flow.add(item, name="item", n=each(source), **of_map)
    flow.add(beside, name="alone", bind={"name": "alone"}, after=[source])
    flow.add(beside, name="long", bind={"name": "long"}, after=[source])
    flow.add(beside, name="end", bind={"name": "end"}, after=[flow.steps["long"]])
    assert flow.run(options=RunOptions(max_concurrency=4)).status is RunStatus.SUCCEEDED
    return order


@pytest.mark.parametrize("many", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_r14_who_goes_first_is_said_and_a_map_can_be_told_to_leave_room(many):
    """The longest path first, then the order of definition. A map that may take three of four slots leaves
    the fourth to all others."""
    plain = beside_a_map(many)
    assert plain.index("long") == 0, "the longest path first"
    assert plain.index("alone") >= many, "of equals the map is defined first, and takes every slot it may"
    polite = beside_a_map(many, max_concurrency=3)
    assert polite.index("alone") < 20
    assert polite.index("end") < 20


@pytest.mark.parametrize("jump", [3_600.0, 86_400.0, 1e9])
def test_r15_after_a_leap_of_the_clock_no_more_start_than_a_window_allows(jump, fake_clock):
    """The machine sleeps for a day between two starts: what was not used meanwhile is not saved up."""
    starts: list[float] = []

    def on_event(event: Any) -> None:
        if type(event).__name__ == "NodeStarted" and event.path.node == "item":
            starts.append(event.at)

    async def item(n: int) -> None:
        if n == 4:
            fake_clock.advance(jump)

    flow = Flow("flow")
    source = flow.add(lambda: list(range(20)), name="source")
    flow.add(item, name="item", n=each(source), limits=[Limit("api", rate=Rate(3, per=1.0))])
    options = RunOptions(observers=[on_event])
    assert run(flow, clock=fake_clock, options=options).status is RunStatus.SUCCEEDED
    assert len(starts) == 20
    assert starts[-1] > jump
    for at, begun in enumerate(starts):
        assert sum(1 for later in starts[at:] if later < begun + 1.0) <= 3


def test_r06_an_attempt_is_counted_from_its_start_and_the_total_with_its_back_off(fake_clock):
    """The wait for a slot is in neither; the back-off, and the attempts before, are in the total."""
    began: dict[str, list[float]] = {}

    async def step(ctx: Context) -> str:
        began.setdefault(ctx.node, []).append(fake_clock())
        await fake_clock.asleep(50.0)
        if ctx.node == "fails":
            raise LookupError
        return ctx.node

    flow, one = Flow("flow"), Limit("one", 1)
    for name in ("first", "second", "third"):
        flow.add(step, name=name, timeout=Timeout(attempt=60.0, total=60.0), limits=[one])
    retry = RetryPolicy(5, 20.0, exponential_base=1.0, jitter="none")
    flow.add(step, name="fails", timeout=Timeout(attempt=60.0, total=130.0), retry=retry)
    result = run(flow, clock=fake_clock, options=RunOptions(on_failure="continue"))
    assert [began[name] for name in ("first", "second", "third")] == [[0.0], [50.0], [100.0]]
    assert [result[name] for name in ("first", "second", "third")] == ["first", "second", "third"]
    failure = result.nodes["fails"].failure
    assert failure is not None
    assert began["fails"] == [0.0, 70.0], "the third would begin at 140 s, after the total of 130 s"
    assert failure.kind == "retry_past_deadline"


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_r06_r15_a_jump_of_the_wall_clock_changes_nothing(jump, monkeypatch):
    """The clock of a run goes on from where it began, whatever becomes of the time of day."""
    real = time.time
    seen: list[Any] = []

    def first() -> int:
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        return 1

    flow = Flow("flow")
    one = flow.add(first, name="first", timeout=3_600, limits=[Limit("api", rate=Rate(1, per=0.01))])
    flow.add(
        lambda x: x,
        name="second",
        x=use(one),
        timeout=3_600,
        retry=RetryPolicy(2, 0.01),
        limits=[Limit("api", rate=Rate(1, per=0.01))],
    )
    result = flow.run(options=RunOptions(deadline=3_600, observers=[seen.append]))
    assert result["second"] == 1
    assert 0 <= result.duration < 3_600
    starts = [event.at for event in seen if type(event).__name__ == "NodeStarted"]
    assert starts == sorted(starts)
    assert starts[-1] - starts[0] < 3_600
