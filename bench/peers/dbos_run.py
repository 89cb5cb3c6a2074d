"""DBOS on SQLite: `python -m bench.peers.dbos_run chain|wide functions|coroutines STEPS PATH`.

It has no graph: a workflow is a function that calls steps, and each call is recorded. The wide workflow
starts all of its steps at once.
"""

from __future__ import annotations

import asyncio

from dbos import DBOS

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
async def total(values: list[int]) -> int:
    return sum(values)


@DBOS.workflow()
async def wide(steps: int) -> int:
    value = await first_later()
    values = await asyncio.gather(*[one_later(value) for _ in range(steps - 2)])
    return await total(list(values))


def run(steps: int) -> int:
    if (JOB.shape, JOB.how) == ("chain", "functions"):
        return chain(steps)
    if (JOB.shape, JOB.how) == ("wide", "coroutines"):
        return asyncio.run(wide(steps))
    raise SystemExit(f"no {JOB.shape} of {JOB.how} here")


DBOS.launch()
try:
    run(WARM_UP)
    report(JOB, lambda: run(JOB.steps), ("dbos",))
finally:
    DBOS.destroy()
