"""Dask in threads: `python -m bench.peers.dask_run SHAPE get|delayed STEPS PATH`.

``get`` hands a graph that is written out to `dask.threaded.get`; ``delayed`` makes the same graph of
`dask.delayed` calls. Neither learns at run time how many items a map has: the graph has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import dask
import dask.threaded

from bench import graphs
from bench.floors import Dag
from bench.peers.apart import SLEEPERS, WARM_UP, asked, report


def summed(values: list[Any]) -> Any:
    return sum(values)


def get(dag: Dag) -> Callable[[], Any]:
    graph: dict[str, Any] = {step: (dag.calls[step], *needs) for step, needs in dag.needs.items()}
    graph["outcome"] = (summed, graphs.sinks(dag.needs))
    return lambda: dask.threaded.get(graph, "outcome")


def delayed(dag: Dag) -> Callable[[], Any]:
    made: dict[str, Any] = {}
    for step, needs in dag.needs.items():
        made[step] = dask.delayed(dag.calls[step], pure=False)(*[made[need] for need in needs])
    last = dask.delayed(summed)([made[step] for step in graphs.sinks(dag.needs)])
    return lambda: last.compute(scheduler="threads")


def main() -> None:
    job = asked()
    make = {"get": get, "delayed": delayed}[job.how]
    with ExitStack() as stack:
        if job.shape == "sleeping":  # else as many threads as there are processors, as it makes them itself
            stack.enter_context(dask.config.set(pool=stack.enter_context(ThreadPoolExecutor(SLEEPERS))))
        make(graphs.dag(job.shape, WARM_UP))()
        report(job, make(graphs.dag(job.shape, job.steps)), ("dask",))


if __name__ == "__main__":
    main()
