"""Attempts, back-off, limits and slots, on real runners."""

from __future__ import annotations

import asyncio
import threading
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import GraphError, RetryAfter
from penstock.core.model import Limit, LimitUse, Need, Node, Rate, RetryPolicy, RunOptions, RunStatus
from penstock.flow import Context, Flow, each, gather, use
from penstock.testing import Faults, run
from tests.engine.tools import GO_ON, run_nodes, statuses


def policy(attempts: int, **more: Any) -> RetryPolicy:
    return RetryPolicy(attempts, 0.0, jitter="none", **more)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 6), st.sampled_from(["threads", "inline", "aio"]))
def test_r02_attempts_are_all_calls_and_none_follows_the_last(attempts, failures, runner):
    calls: list[int] = []

    def plain(ctx: Context):
        calls.append(ctx.attempt)
        if len(calls) <= failures:
            raise LookupError(f"number {len(calls)}")
        return "good"

    async def later(ctx: Context):
        await asyncio.sleep(0)
        return plain(ctx)

    seen: list[str] = []
    flow = Flow("flow")
    flow.add(later if runner == "aio" else plain, name="a", runner=runner, retry=policy(attempts))
    result = flow.run(options=RunOptions(observers=[lambda event: seen.append(type(event).__name__)]))
    made = min(attempts, failures + 1)
    assert calls == list(range(1, made + 1))
    node = result.nodes["a"]
    assert node.attempts == made
    assert seen.count("NodeRetrying") == made - 1
    if failures >= attempts:
        assert node.failure is not None
        assert (node.failure.text, node.failure.attempt) == (f"number {made}", made)
        assert [one.text for one in node.history] == [f"number {n}" for n in range(1, made)]
    else:
        assert result["a"] == "good"


class Ours(LookupError):
    pass


@pytest.mark.parametrize(
    ("raised", "retry_on", "again"),
    [
        (LookupError("x"), (Exception,), True),
        (Ours("x"), (LookupError,), True),
        (LookupError("x"), (Ours,), False),
        (ValueError("LookupError"), (LookupError,), False),
        (KeyboardInterrupt(), (BaseException,), False),
        (SystemExit(1), (BaseException,), False),
        (GeneratorExit(), (BaseException,), False),
        (asyncio.CancelledError(), (BaseException,), False),
        (LookupError("x"), lambda error: True, True),
        (LookupError("x"), lambda error: False, False),
        (LookupError("x"), lambda error: 1, False),
        (LookupError("x"), lambda error: 1 / 0, False),
        (SystemExit(1), lambda error: True, False),
        (RetryAfter(0), (Ours,), True),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("runner", ["threads", "aio"])
def test_r03_r04_what_is_tried_again_is_said_by_type_or_predicate(raised, retry_on, again, runner):
    calls: list[int] = []

    def plain():
        calls.append(1)
        raise raised

    async def later():
        plain()

    flow = Flow("flow")
    retry = policy(3, retry_on=retry_on)
    flow.add(later if runner == "aio" else plain, name="a", runner=runner, retry=retry)
    failure = flow.run().nodes["a"].failure
    if runner == "threads" and isinstance(raised, asyncio.CancelledError):
        assert len(calls) == 3, "in a thread it is an exception like any other"
        return
    assert len(calls) == (3 if again else 1)
    assert failure is not None
    assert failure.type == type(raised).__name__


def test_r03_a_forgotten_await_and_bad_arguments_are_errors_like_others():
    flow = Flow("flow")
    flow.add(lambda: {"x": 1}, name="source")
    flow.add(lambda part: part, name="part", part=use(flow.steps["source"], "y"), retry=policy(3))
    node = flow.run().nodes["part"]
    assert node.failure is not None
    assert node.failure.type == "KeyError"


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_r05_each_attempt_starts_from_the_committed_values(runner):
    """Its arguments are made anew: what the last attempt bound or deleted of them is forgotten."""
    seen: list[Any] = []

    def plain(x, **more):
        seen.append((x, dict(more)))
        more["left"] = "behind"
        del x
        raise LookupError

    async def later(x, **more):
        return plain(x, **more)

    nodes = [
        Node("source", lambda: 5),
        Node(
            "a", later if runner == "aio" else plain, (Need("source", "use", "x"),),
            is_async=runner == "aio", runner=runner, retry=policy(3), bound={"y": 1},
        ),
    ]  # fmt: skip
    run_nodes(*nodes)
    assert seen == [(5, {"y": 1})] * 3


def test_the_jitter_of_one_seed_is_the_same_each_time_and_differs_by_step_and_seed():
    """All first attempts end at 0 s, so what an event says is due is the delay itself."""

    def dues(seed: int) -> dict[str, float]:
        flow, found = Flow("flow"), dict[str, float]()

        def on_event(event):
            if type(event).__name__ == "NodeRetrying":
                assert event.ended == 0.0
                found[str(event.path)] = event.due

        for at in range(10):
            flow.add(lambda: 1, name=f"s{at}", retry=RetryPolicy(2, 2.0))
        faults = Faults().seeded("all", rate=1.0)
        run(flow, faults=faults, options=RunOptions(on_failure="continue", seed=seed, observers=[on_event]))
        return found

    first = dues(1)
    assert all(0 < delay <= 2 for delay in first.values())
    assert len(set(first.values())) == 10
    assert dues(1) == first
    assert dues(2).keys() == first.keys()
    assert set(dues(2).values()).isdisjoint(first.values())


# Limits and slots


class Gauge:
    """Counts who is inside at a time; in any thread."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def enter(self, weight: int = 1) -> None:
        with self._lock:
            self.now += weight
            self.most = max(self.most, self.now)

    def leave(self, weight: int = 1) -> None:
        with self._lock:
            self.now -= weight


def test_r08_who_waits_longest_for_a_limit_goes_first():
    began: list[int] = []

    async def step(n: int):
        began.append(n)
        for _ in range(Random(n).randrange(3)):
            await asyncio.sleep(0)

    flow = Flow("flow")
    api = Limit("api", 1)
    flow.add(lambda: list(range(2_000)), name="source")
    flow.add(step, name="item", n=each(flow.steps["source"]), limits=[api])
    assert flow.run().status is RunStatus.SUCCEEDED
    assert began == list(range(2_000))


@pytest.mark.parametrize(
    "limit", [Limit("api", 2), Limit("api", rate=Rate(2, 1.0)), Limit("api", 5, Rate(2))]
)
def test_r08_more_than_there_is_is_refused_at_build(limit):
    flow = Flow("flow")
    flow.add(lambda: 1, name="a", limits=[limit.take(3)])
    with pytest.raises(GraphError, match=r"^step 'a': takes 3 of limit 'api', which has only 2$"):
        flow.graph()


def test_r10_a_slot_is_only_taken_by_what_is_ready():
    """One slot, and a chain defined backwards."""
    nodes = [
        Node(f"s{at}", lambda before=0: before + 1, (Need(f"s{at - 1}", "use", "before"),) if at else ())
        for at in reversed(range(5))
    ]
    result = run_nodes(*nodes, options=RunOptions(max_concurrency=1))
    assert result.outputs == {"s4": 5}


def taker(uses: list[LimitUse], gauges: dict[str, Gauge], bad: bool, turns: int, *, later: bool) -> Any:
    """A step that notes what it holds."""

    def enter() -> None:
        for limit, weight in uses:
            gauges[limit.name].enter(weight)

    def leave() -> None:
        for limit, weight in uses:
            gauges[limit.name].leave(weight)
        if bad:
            raise LookupError

    async def step() -> None:
        enter()
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            leave()

    def plain() -> None:
        enter()
        leave()

    return step if later else plain


@pytest.mark.parametrize("seed", range(40))
def test_r11_r12_two_limits_never_overfull_never_stuck_and_all_given_back(seed):
    """Steps that take two limits in either order, fail, retry, or are cancelled."""
    dice = Random(seed)
    one, two = Limit("one", dice.randint(1, 3)), Limit("two", dice.randint(1, 3))
    gauges = {"one": Gauge(), "two": Gauge()}
    flow = Flow("flow")
    for at in range(dice.randint(2, 100)):
        uses = [
            limit.take(dice.randint(1, limit.capacity or 1)) for limit in (one, two) if dice.random() < 0.8
        ]
        dice.shuffle(uses)
        bad = dice.random() < 0.1

        call = taker(uses, gauges, bad, dice.randrange(3), later=dice.random() < 0.7)
        flow.add(call, name=f"s{at}", limits=uses, retry=policy(2))
    how: Any = dice.choice(("stop", "drain", "continue"))
    handle = flow.start(options=RunOptions(on_failure=how, max_concurrency=dice.choice((None, 1, 4))))
    if dice.random() < 0.3:
        handle.cancel()
    result = handle.result(30)
    assert {"pending", "ready", "running", "retrying"}.isdisjoint(statuses(result).values())
    for limit in (one, two):
        assert gauges[limit.name].most <= (limit.capacity or 0)
        assert gauges[limit.name].now == 0
        gauge = handle._handle._engine.machine.state.gauges.get(limit.name)
        assert gauge is None or gauge.free == gauge.capacity


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("runner", ["threads", "aio"])
def test_never_more_at_a_time_than_allowed(most, runner):
    gauge = Gauge()

    def plain(n: int):
        gauge.enter()
        gauge.leave()

    async def later(n: int):
        gauge.enter()
        await asyncio.sleep(0)
        gauge.leave()

    flow = Flow("flow")
    flow.add(lambda: list(range(100)), name="source")
    flow.add(later if runner == "aio" else plain, name="item", n=each(flow.steps["source"]), runner=runner)
    flow.run(options=RunOptions(max_concurrency=most))
    assert gauge.most <= most


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seed", range(15))
def test_r09_maps_finish_with_few_slots(most, seed):
    """A parent holds no slot while its children run, however they are nested."""
    dice = Random(seed)
    flow = Flow("flow")
    last: Any = flow.add(lambda: [1, 2], name="s0")
    depth = dice.randint(1, 3)
    for at in range(1, depth + 1):
        runner = dice.choice(("threads", "inline"))
        last = flow.add(lambda n: [n, n], name=f"s{at}", n=each(last), runner=runner)
    marker: Any = last
    for _ in range(depth):
        marker = gather(marker)
    flow.add(lambda x: x, name="all", x=marker)
    flow.add(lambda: 1, name="beside", runner="threads")
    result = flow.run(options=RunOptions(max_concurrency=most, on_failure=GO_ON.on_failure))
    assert result.status is RunStatus.SUCCEEDED
