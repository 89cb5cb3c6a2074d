"""Hamilton: `python -m bench.peers.hamilton_run SHAPE HOW STEPS PATH`.

How is ``driver``, ``threads`` (its adapter that hands each function to a pool), ``async`` (its driver of
coroutines) or ``cache`` (its driver that keeps what every function gave). A map is its dynamic execution, in
its pool of threads. The many like functions of a graph are one function with `@parameterize`, as its
documentation has it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any

from hamilton import ad_hoc_utils, async_driver, driver
from hamilton.execution.executors import MultiThreadingExecutor, SynchronousLocalTaskExecutor
from hamilton.htypes import Collect, Parallelizable
from hamilton.plugins.h_threadpool import FutureAdapter

from bench import graphs
from bench.floors import Dag
from bench.peers.apart import SLEEPERS, WARM_UP, Asked, asked, report


def numbers(n: int) -> Parallelizable[int]:
    yield from graphs.numbers(n)


def item(numbers: int) -> int:
    return numbers + 1


def total(item: Collect[int]) -> int:
    return sum(item)


def module(dag: Dag, later: bool) -> ModuleType:
    """The functions of a graph, named like its steps, with parameters that are named like their needs."""
    made = ModuleType(f"graph_of_{len(dag.calls)}")
    sys.modules[made.__name__] = made
    for step, needs in dag.needs.items():
        function = (_later if later else _now)(dag.calls[step])
        function.__name__, function.__module__ = step, made.__name__
        function.__annotations__ = {**dict.fromkeys(needs, float), "return": float}
        parameters = [Parameter(need, Parameter.KEYWORD_ONLY, annotation=float) for need in needs]
        function.__signature__ = Signature(parameters, return_annotation=float)
        setattr(made, step, function)
    return made


def _now(call: Callable[..., Any]) -> Any:
    def function(**needs: float) -> Any:
        return call(*needs.values())

    return function


def _later(call: Callable[..., Any]) -> Any:
    async def function(**needs: float) -> Any:
        return await call(*needs.values())

    return function


def of_graph(job: Asked, steps: int, runner: asyncio.Runner) -> Callable[[], Any]:
    """What runs a graph whose steps are known beforehand."""
    dag = graphs.dag(job.shape, steps, graphs.COROUTINE if job.how == "async" else graphs.SYNC)
    last = graphs.sinks(dag.needs)
    functions = module(dag, job.how == "async")
    if job.how == "async":
        later = runner.run(async_driver.Builder().with_modules(functions).build())
        return lambda: graphs.outcome(dag.needs, runner.run(later.execute(last)))
    builder = driver.Builder().with_modules(functions)
    if job.how == "cache":
        builder = builder.with_cache(path=str(job.path.parent))
    if job.how == "threads":
        builder = builder.with_adapters(FutureAdapter(SLEEPERS if job.shape == "sleeping" else None))
    built = builder.build()
    return lambda: graphs.outcome(dag.needs, built.execute(last))


def of_map(items: int) -> Callable[[], Any]:
    """What runs a map."""
    built = (
        driver.Builder()
        .enable_dynamic_execution(allow_experimental_mode=True)
        .with_modules(ad_hoc_utils.create_temporary_module(numbers, item, total))
        .with_local_executor(SynchronousLocalTaskExecutor())
        .with_remote_executor(MultiThreadingExecutor(max_tasks=4))
        .build()
    )
    return lambda: built.execute(["total"], inputs={"n": items})["total"]


def main() -> None:
    job = asked()
    sys.setrecursionlimit(20_000)  # its driver asks for what it needs by calling itself
    with asyncio.Runner() as runner:

        def make(steps: int) -> Callable[[], Any]:
            return of_map(steps) if job.shape == "map" else of_graph(job, steps, runner)

        make(WARM_UP)()
        report(job, make(job.steps), ("sf-hamilton",))


if __name__ == "__main__":
    main()
