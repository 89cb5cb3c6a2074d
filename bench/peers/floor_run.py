"""The floors, by hand: `python -m bench.peers.floor_run SHAPE HOW STEPS PATH`.

How is ``inline``, ``threads``, ``coroutines`` or ``processes``, as Penstock is told.
The shape ``rows`` is the floor of durable runs, a row and a commit a step; how is then its level, ``process``
or ``power``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bench import durable_floors, floors, graphs
from bench.floors import Dag
from bench.graphs import COROUTINE, SYNC, outcome
from bench.peers.apart import SLEEPERS, WARM_UP, WORKERS, Asked, asked, report


def main() -> None:
    job = asked()
    if job.shape == "rows":
        rows(job)
    elif job.how == "processes":
        with ProcessPoolExecutor(WORKERS) as pool:
            time(job, SYNC, lambda dag: floors.pooled(dag, pool))
    elif job.how == "threads":
        time(job, SYNC, lambda dag: floors.threads(dag, SLEEPERS if job.shape == "sleeping" else 4))
    elif job.how == "coroutines":
        with asyncio.Runner() as runner:
            time(job, COROUTINE, lambda dag: runner.run(floors.tasks(dag)))
    else:
        time(job, SYNC, floors.loop)


def time(job: Asked, family: graphs.Family, run: Callable[[Dag], dict[str, Any]]) -> None:
    """Once to warm up, and once that counts."""
    run(graphs.dag(job.shape, WARM_UP, family))
    dag = graphs.dag(job.shape, job.steps, family)
    report(job, lambda: outcome(dag.needs, run(dag)), ())


def rows(job: Asked) -> None:
    raw = durable_floors.Raw(job.path, "power" if job.how == "power" else "process")
    bodies = durable_floors.bodies(job.steps)
    try:
        report(job, lambda: durable_floors.commit_each(raw, bodies), ())
    finally:
        raw.close()


if __name__ == "__main__":
    main()
