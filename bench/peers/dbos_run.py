"""DBOS on SQLite: `python -m bench.peers.dbos_run chain|wide|map|sleeping functions|coroutines STEPS PATH`.

It has no graph: a workflow is a function that calls steps, and each call is recorded. Where a graph would let
steps run side by side, the workflow starts them so.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dbos import DBOS

from bench import graphs
from bench.peers.apart import WARM_UP, asked, report

JOB = asked()

DBOS(
    config={
        "name": "bench",
        "system_database_url": f"sqlite:///{JOB.path}",
        "log_level": "ERROR",
        "enable_otlp": False,
    }
)


@DBOS.step()
def first() -> int:
    return 1


@DBOS.step()
def one(x: int) -> int:
    return x + 1


@DBOS.workflow()
def chain(steps: int) -> int:
    value = first()
    for _ in range(steps - 1):
        value = one(value)
    return value


@DBOS.step()
async def first_later() -> int:
    return 1


@DBOS.step()
async def one_later(x: int) -> int:
    return x + 1


@DBOS.step()
async def numbers(n: int) -> list[int]:
    return graphs.numbers(n)


@DBOS.step()
async def total(values: list[int]) -> int:
    return sum(values)


@DBOS.step()
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@DBOS.workflow()
async def chain_later(steps: int) -> int:
    value = await first_later()
    for _ in range(steps - 1):
        value = await one_later(value)
    return value


@DBOS.workflow()
async def wide(steps: int) -> int:
    value = await first_later()
    return await total(list(await asyncio.gather(*[one_later(value) for _ in range(steps - 2)])))


@DBOS.workflow()
async def mapped(items: int) -> int:
    values = await numbers(items)
    return await total(list(await asyncio.gather(*[one_later(value) for value in values])))


@DBOS.workflow()
async def sleeping(steps: int) -> float:
    """A task for each step, which waits for the tasks that it needs."""
    durations, needs = graphs.irregular()
    tasks: dict[str, asyncio.Task[float]] = {}

    async def wait(step: str) -> float:
        for need in needs[step]:
            await tasks[need]
        return await sleep(durations[step])

    for step in needs:
        tasks[step] = asyncio.create_task(wait(step))
    values = dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))
    return float(graphs.outcome(needs, values))


def run(steps: int) -> Any:
    if (JOB.shape, JOB.how) == ("chain", "functions"):
        return chain(steps)
    workflow = {"chain": chain_later, "wide": wide, "map": mapped, "sleeping": sleeping}[JOB.shape]
    return asyncio.run(workflow(steps))


DBOS.launch()
try:
    run(WARM_UP)
    report(JOB, lambda: run(JOB.steps), ("dbos",))
finally:
    DBOS.destroy()
