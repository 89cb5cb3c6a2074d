"""The floors: schedulers as an expert writes them by hand for one graph, with nothing that is not needed.

They keep order and pass values along edges. They do not retry, time out, limit, observe, record or explain.
`bench` holds Penstock against them; change one only to make it faster.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import Any, NamedTuple


class Dag(NamedTuple):
    """What a floor runs.

    Attributes:
        calls: The function of each step, by id; it takes the values of the step's needs by position.
        needs: Ids of the steps whose values each step takes.
    """

    calls: dict[str, Callable[..., Any]]
    needs: dict[str, tuple[str, ...]]


def loop(dag: Dag) -> dict[str, Any]:
    """Plain functions, one after another."""
    calls, needs = dag
    values: dict[str, Any] = {}
    for step in TopologicalSorter(needs).static_order():
        values[step] = calls[step](*[values[need] for need in needs[step]])
    return values


async def tasks(dag: Dag) -> dict[str, Any]:
    """Coroutines: a task for each step, made the moment its last need has ended."""
    calls, needs = dag
    values: dict[str, Any] = {}
    sorter = TopologicalSorter(needs)
    sorter.prepare()

    async def work(step: str) -> None:
        values[step] = await calls[step](*[values[need] for need in needs[step]])
        sorter.done(step)
        for ready in sorter.get_ready():
            group.create_task(work(ready))

    async with asyncio.TaskGroup() as group:
        for ready in sorter.get_ready():
            group.create_task(work(ready))
    return values


async def capped_tasks(dag: Dag, most: int) -> dict[str, Any]:
    """The same with at most so many tasks at a time: counted, which costs less than a semaphore."""
    calls, needs = dag
    values: dict[str, Any] = {}
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    waiting: deque[str] = deque()
    free = most

    async def work(step: str) -> None:
        nonlocal free
        values[step] = await calls[step](*[values[need] for need in needs[step]])
        sorter.done(step)
        free += 1
        start()

    def start() -> None:
        nonlocal free
        waiting.extend(sorter.get_ready())
        while free and waiting:
            free -= 1
            group.create_task(work(waiting.popleft()))

    async with asyncio.TaskGroup() as group:
        start()
    return values


def threads(dag: Dag, size: int = 4) -> dict[str, Any]:
    """Plain functions in a pool of threads."""
    with ThreadPoolExecutor(size) as pool:
        return pooled(dag, pool)


def pooled(dag: Dag, pool: Executor) -> dict[str, Any]:
    """Plain functions, each submitted to a pool the moment its last need has ended."""
    calls, needs = dag
    values: dict[str, Any] = {}
    running: dict[Future[Any], str] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    while sorter.is_active():
        for step in sorter.get_ready():
            future = pool.submit(calls[step], *[values[need] for need in needs[step]])
            running[future] = step
            future.add_done_callback(ended.put)
        future = ended.get()
        step = running.pop(future)
        values[step] = future.result()
        sorter.done(step)
    return values
