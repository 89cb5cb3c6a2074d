"""The row about waiting: 60 sleeping steps of an irregular graph, against its critical path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

from bench import floors
from bench.floors import Dag
from bench.measure import Line, Scale, alternate, median, spread
from penstock import Flow, use
from penstock.runners.threads import ThreadRunner

STEPS = 60
THREADS = 32


def sleeping(scale: Scale) -> Iterator[Line]:
    """Coroutines that sleep, and threads that do."""
    durations, needs = irregular()
    critical = critical_path(durations, needs)
    barrier = level_barrier(durations, needs)
    dag, flow = _both(durations, needs, _nap_by_position, _nap)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        yield _makespan(
            f"coroutines (critical path {critical:.3f} s; a level barrier takes {barrier / critical:.2f} ×)",
            lambda: loop.run_until_complete(floors.tasks(dag)),
            lambda: loop.run_until_complete(flow.arun()),
            critical,
            scale.rounds,
        )
    dag, flow = _both(durations, needs, _block_by_position, _block)
    yield _makespan(
        f"threads ({THREADS} of them on both sides)",
        lambda: floors.threads(dag, THREADS),
        lambda: flow.run(runner=ThreadRunner(THREADS)),
        critical,
        scale.rounds,
    )


def _makespan(
    work: str, floor: Callable[[], Any], own: Callable[[], Any], critical: float, rounds: int
) -> Line:
    found = alternate(floor, own, rounds)
    times = [wall / critical for wall, _ in found.second]
    return Line(
        "60 sleeping steps",
        work,
        f"{median([wall / critical for wall, _ in found.first]):.3f} ×",
        f"{median(times):.3f} ×",
        spread(times),
        must=1.06,
        aim=1.045,
    )


async def _nap(seconds: float, **values: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def _nap_by_position(seconds: float, *values: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def _block(seconds: float, **values: float) -> float:
    time.sleep(seconds)
    return seconds


def _block_by_position(seconds: float, *values: float) -> float:
    time.sleep(seconds)
    return seconds


def irregular() -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """Seconds and needs of 60 steps, the same each time: mostly short ones, a few long ones anywhere."""
    dice = Random(20)
    durations: dict[str, float] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for at in range(STEPS):
        durations[f"s{at}"] = dice.choice((0.01, 0.02, 0.03, 0.05, 0.15))
        before = range(max(0, at - 16), max(0, at - 3))
        needs[f"s{at}"] = tuple(
            [f"s{one}" for one in dice.sample(before, min(len(before), dice.randint(1, 3)))]
        )
    return durations, needs


def critical_path(durations: dict[str, float], needs: dict[str, tuple[str, ...]]) -> float:
    """Seconds of the longest path; the steps are in a topological order."""
    end: dict[str, float] = {}
    for step, seconds in durations.items():
        end[step] = seconds + max((end[need] for need in needs[step]), default=0.0)
    return max(end.values(), default=0.0)


def level_barrier(durations: dict[str, float], needs: dict[str, tuple[str, ...]]) -> float:
    """Seconds with any number of workers, if each level waits for the whole level before."""
    level: dict[str, int] = {}
    longest: dict[int, float] = {}
    for step, seconds in durations.items():
        mine = level[step] = 1 + max((level[need] for need in needs[step]), default=-1)
        longest[mine] = max(longest.get(mine, 0.0), seconds)
    return sum(longest.values())


def _both(
    durations: dict[str, float],
    needs: dict[str, tuple[str, ...]],
    by_position: Callable[..., Any],
    by_name: Callable[..., Any],
) -> tuple[Dag, Flow]:
    calls: dict[str, Callable[..., Any]] = {
        step: partial(by_position, seconds) for step, seconds in durations.items()
    }
    flow = Flow("sleeping")
    steps: dict[str, Any] = {}
    for step, seconds in durations.items():
        wires: dict[str, Any] = {f"v{at}": use(steps[need]) for at, need in enumerate(needs[step])}
        steps[step] = flow.add(by_name, name=step, seconds=seconds, **wires)
    return Dag(calls, needs), flow
