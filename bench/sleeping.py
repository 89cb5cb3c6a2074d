"""The row about waiting: 60 sleeping steps of an irregular graph, against its critical path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from bench import floors, graphs
from bench.floors import Dag
from bench.graphs import COROUTINE, STEPS, SYNC, critical_path, irregular, level_barrier
from bench.measure import Line, Scale, alternate, median, spread
from penstock import Flow, use
from penstock.runners.threads import ThreadRunner

THREADS = 32


def sleeping(scale: Scale) -> Iterator[Line]:
    """Coroutines that sleep, and threads that do."""
    durations, needs = irregular()
    critical = critical_path(durations, needs)
    barrier = level_barrier(durations, needs)
    dag, flow = sleepers("coroutines")
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        yield _makespan(
            f"coroutines (critical path {critical:.3f} s; a level barrier takes {barrier / critical:.2f} ×)",
            lambda: loop.run_until_complete(floors.tasks(dag)),
            lambda: loop.run_until_complete(flow.arun()),
            critical,
            scale.rounds,
        )
    dag, flow = sleepers("threads")
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


def _block(seconds: float, **values: float) -> float:
    time.sleep(seconds)
    return seconds


def sleepers(colour: Literal["coroutines", "threads"]) -> tuple[Dag, Flow]:
    """The graph for both sides, of steps that sleep in the event loop or block a thread."""
    dag = graphs.dag("sleeping", STEPS, COROUTINE if colour == "coroutines" else SYNC)
    call: Any = _nap if colour == "coroutines" else _block
    flow = Flow("sleeping")
    steps: dict[str, Any] = {}
    for step, seconds in irregular()[0].items():
        wires: dict[str, Any] = {f"v{at}": use(steps[need]) for at, need in enumerate(dag.needs[step])}
        steps[step] = flow.add(call, name=step, seconds=seconds, **wires)
    return dag, flow
