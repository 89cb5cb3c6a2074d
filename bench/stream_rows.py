"""Rows about streams: a generator that feeds a map element by element, with a bounded buffer between them."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from bench.measure import Line, Scale, compare
from penstock import Flow, each, gather
from penstock.runners.threads import ThreadRunner

TASKS = 64
THREADS = 8
SECTION = "Streams"
MUST, AIM = 3.0, 2.0
"""Bounds of our own: the budget has none for streams. A bounded queue knows of no item after it."""


def numbers(many: int) -> Iterator[int]:
    """A generator as quick as one can be."""
    yield from range(many)


async def numbers_async(many: int) -> AsyncIterator[int]:
    """The same for the event loop."""
    for number in range(many):
        yield number


def increased(x: int) -> int:
    return x + 1


async def increased_async(x: int) -> int:
    return x + 1


def kept(values: list[int]) -> list[int]:
    return values


def streams(scale: Scale) -> Iterator[Line]:
    """A stream into coroutine steps and into steps in threads."""
    many, pairs = scale.items, max(scale.large_pairs, scale.pairs // 2)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        for source, words in ((numbers_async, "an async generator"), (numbers, "a generator in a thread")):
            flow = stream_flow(source, increased_async)
            yield compare(
                SECTION,
                f"{words} of {many:,} into coroutines",
                lambda: loop.run_until_complete(queued_tasks(many)),
                lambda flow=flow: loop.run_until_complete(flow.arun(many=many)),  # type: ignore[misc]
                steps=many,
                pairs=pairs,
                clock="cpu",
                must=MUST,
                aim=AIM,
                agree=same,
            )
    flow = stream_flow(numbers, increased)
    yield compare(
        SECTION,
        f"a generator of {many:,} into {THREADS} threads",
        lambda: queued_threads(many),
        lambda: flow.run(runner=ThreadRunner(THREADS), many=many),
        steps=many,
        pairs=pairs,
        clock="wall",
        must=MUST,
        aim=AIM,
        agree=same,
    )


def stream_flow(source: Callable[..., Any], call: Callable[..., Any]) -> Flow:
    """A stream, one call for each of its elements, and all that came of them."""
    flow = Flow("stream")
    elements: Any = flow.add(source, name="source")
    items: Any = flow.add(call, name="items", x=each(elements))
    flow.add(kept, name="kept", values=gather(items), runner="inline")
    return flow


def same(floor: list[int], result: Any) -> bool:
    """Whether both have made the same of every element, in order."""
    return bool(result.outputs["kept"] == floor)


async def queued_tasks(many: int) -> list[int]:
    """The floor: a queue with a bound, one task that fills it and others that empty it."""
    values = [0] * many
    waiting: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue(2 * TASKS)

    async def fill() -> None:
        position = 0
        async for element in numbers_async(many):
            await waiting.put((position, element))
            position += 1
        for _ in range(TASKS):
            await waiting.put(None)

    async def work() -> None:
        while (found := await waiting.get()) is not None:
            position, element = found
            values[position] = await increased_async(element)

    async with asyncio.TaskGroup() as group:
        group.create_task(fill())
        for _ in range(TASKS):
            group.create_task(work())
    return values


def queued_threads(many: int) -> list[int]:
    """The floor: the same with threads."""
    values = [0] * many
    waiting: queue.Queue[tuple[int, int] | None] = queue.Queue(2 * THREADS)

    def fill() -> None:
        for position, element in enumerate(numbers(many)):
            waiting.put((position, element))
        for _ in range(THREADS):
            waiting.put(None)

    def work() -> None:
        while (found := waiting.get()) is not None:
            position, element = found
            values[position] = increased(element)

    threads = [threading.Thread(target=call) for call in (fill, *[work] * THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return values
