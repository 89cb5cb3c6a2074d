"""Rows about worker processes: our pool against `concurrent.futures.ProcessPoolExecutor`, both warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any

from bench.measure import Line, Scale, compare
from penstock import Flow, RunOptions, each, param, use
from penstock.core.commands import ENDED, OK, ROOM
from penstock.core.mailbox import Mailbox
from penstock.runners.processes import ProcessPool, processes

WORKERS = 2
PAYLOAD = 100_000
CHUNK = 512  # of a map whose chunks somebody has sized by hand
TINY = 0.5  # of the time of an executor that is given call after call
SECTION = "Worker processes"
START_METHODS = ("spawn", "forkserver")


def increased(x: int) -> int:
    return x + 1


def handed_back(x: bytes) -> bytes:
    return x


def slept(x: float) -> float:
    time.sleep(x)
    return x


def pools(scale: Scale) -> Iterator[Line]:
    """The pool alone, and whole flows on it."""
    many, pairs = scale.items, max(3, scale.large_pairs)
    numbers: list[Any] = list(range(many))
    payloads: list[Any] = [bytes([n % 256]) * PAYLOAD for n in range(max(1, many // 10))]
    for method in START_METHODS:
        with processes(WORKERS) as pool, ProcessPoolExecutor(WORKERS, get_context(method)) as executor:
            beside = f"beside ProcessPoolExecutor ({method})"
            for call, values, what, must in (
                (increased, numbers, f"{many:,} tiny calls", TINY),
                (handed_back, payloads, f"{len(payloads):,} calls with {PAYLOAD // 1000} KB both ways", 1.0),
            ):
                floor, own = _floor(executor, call, values), _alone(pool, call, values)
                yield _row(f"{what}, the pool alone, {beside}", floor, own, len(values), pairs, must)
                own = _mapped(pool, call, values)
                yield _row(f"{what}, a mapped step, {beside}", floor, own, len(values), pairs, must)
            turns = max(1, many // 10)
            floor, own = _floor_chain(executor, turns), _chain(pool, turns)
            yield _row(f"chain of {turns:,}, {beside}", floor, own, turns, pairs)
    yield from _chunks(scale, numbers, pairs)


def _chunks(scale: Scale, numbers: Sequence[Any], pairs: int) -> Iterator[Line]:
    """Items of a map: tiny ones against chunks by hand, of which only the whole has an ending, and longer
    ones, which must not suffer from travelling together."""
    method, seconds = START_METHODS[0], scale.items / 1000
    with processes(WORKERS) as pool, ProcessPoolExecutor(WORKERS, get_context(method)) as executor:
        floor, own = _by_hand(executor, increased, numbers), _mapped(pool, increased, numbers)
        what = f"{len(numbers):,} tiny calls, a mapped step, beside executor.map(chunksize={CHUNK})"
        yield _row(what, floor, own, len(numbers), pairs, None)
        for millis in (1, 10, 100):
            naps = [millis / 1000] * max(2 * WORKERS, int(seconds / millis * 1000 / 4))
            floor, own = _floor(executor, slept, naps), _mapped(pool, slept, naps)
            what = f"{len(naps):,} calls of {millis} ms, a mapped step, beside ProcessPoolExecutor ({method})"
            yield _row(what, floor, own, len(naps), pairs, 1.05)


def _row(
    work: str,
    floor: Callable[[], Any],
    own: Callable[[], Any],
    steps: int,
    pairs: int,
    must: float | None = 1.0,
) -> Line:
    return compare(
        SECTION,
        work,
        floor,
        own,
        steps=steps,
        pairs=pairs,
        clock="wall",
        must=must,
        agree=lambda one, other: bool(one == other),
    )


def _floor(
    executor: ProcessPoolExecutor, call: Callable[..., Any], values: Sequence[Any]
) -> Callable[[], Any]:
    def run() -> list[Any]:
        futures = [executor.submit(call, value) for value in values]
        return [future.result() for future in futures]

    return run


def _by_hand(
    executor: ProcessPoolExecutor, call: Callable[..., Any], values: Sequence[Any]
) -> Callable[[], Any]:
    return lambda: list(executor.map(call, values, chunksize=CHUNK))


def _floor_chain(executor: ProcessPoolExecutor, turns: int) -> Callable[[], Any]:
    def run() -> int:
        value = 0
        for _ in range(turns):
            value = executor.submit(increased, value).result()
        return value

    return run


def _alone(pool: ProcessPool, call: Callable[..., Any], values: Sequence[Any]) -> Callable[[], Any]:
    """The runner without an engine: all attempts handed out at once."""

    def run() -> list[Any]:
        mailbox, bell = Mailbox(), SimpleQueue[None]()
        mailbox.bell = lambda: bell.put(None)
        runner = pool.for_run(RunOptions())
        runner.open(mailbox, time.monotonic)
        for node, value in enumerate(values):
            runner.submit((node, 1, call, {"x": value}, None, None, 0))
        found: list[Any] = [None] * len(values)
        left = len(values)
        while left:
            mailbox.sleeping = True
            if not mailbox.replies:
                bell.get()
            mailbox.sleeping = False
            while mailbox.replies:
                reply = mailbox.replies.popleft()
                if reply[0] == ROOM:  # all was handed out long since
                    continue
                kind, node, _, result, payload, *_ = reply
                assert (kind, result) == (ENDED, OK)
                found[node] = payload
                left -= 1
        runner.close()
        return found

    return run


def _mapped(pool: ProcessPool, call: Callable[..., Any], values: Sequence[Any]) -> Callable[[], Any]:
    flow = Flow("mapped")
    step: Any = flow.add(call, name="step", x=each(param("values", list)))

    def run() -> list[Any]:
        items: list[Any] = flow.run(runner=pool, values=list(values)).items(step)
        return items

    return run


def _chain(pool: ProcessPool, turns: int) -> Callable[[], Any]:
    flow = Flow("chain")
    last: Any = flow.add(increased, name="s0", x=0)
    for turn in range(1, turns):
        last = flow.add(increased, name=f"s{turn}", x=use(last))
    return lambda: flow.run(runner=pool)[last]
