"""Four flows of 20 steps each, some of which take a while; all say when they start."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from penstock import Flow, each, gather, use
from penstock.core.context import Context

STEPS = 20


class Start(NamedTuple):
    """A step that was started.

    Attributes:
        at: When; in nanoseconds of the clock that all processes of a machine share.
        run: Of which run.
        path: Which.
    """

    at: int
    run: str
    path: str


def starts(log: Path) -> list[Start]:
    """All of them."""
    found = []
    for line in log.read_text().splitlines():
        at, run, path = line.split(" ")
        found.append(Start(int(at), run, path))
    return found


def note(log: str, ctx: Context, number: int) -> None:
    """Says that a step starts, and takes its time: every fourth 50 to 200 ms."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{time.monotonic_ns()} {ctx.run_id} {ctx.path}\n".encode())
    finally:
        os.close(file)
    if number % 4 == 0:
        time.sleep(0.05 + number * 37 % 150 / 1000)


def first(ctx: Context, log: str) -> int:
    note(log, ctx, 0)
    return 7


def then(x: int, ctx: Context, log: str) -> int:
    note(log, ctx, x)
    return x * 3 % 1009 + 1


def both(x: int, y: int, ctx: Context, log: str) -> int:
    note(log, ctx, x + y)
    return (x * 5 + y) % 1009


def some(ctx: Context, log: str) -> list[int]:
    note(log, ctx, 1)
    return list(range(STEPS - 2))


def total(xs: list[int], ctx: Context, log: str) -> int:
    note(log, ctx, 1)
    return sum(xs)


def ends(ctx: Context, log: str, **xs: int) -> int:
    note(log, ctx, 1)
    return sum(xs.values())


def chain() -> Flow:
    flow = Flow("chain")
    step: Any = flow.add(first, name="s0")
    for number in range(1, STEPS):
        step = flow.add(then, name=f"s{number}", x=use(step))
    return flow


def wide() -> Flow:
    flow = Flow("wide")
    source: Any = flow.add(first, name="source")
    middle: dict[str, Any] = {}
    for number in range(STEPS - 2):
        middle[f"m{number}"] = flow.add(both, name=f"m{number}", x=use(source), y=number)
    flow.add(ends, name="ends", **{name: use(step) for name, step in middle.items()})
    return flow


def mapped() -> Flow:
    flow = Flow("map")
    source: Any = flow.add(some, name="source")
    item: Any = flow.add(then, name="item", x=each(source))
    flow.add(total, name="total", xs=gather(item))
    return flow


def joins() -> Flow:
    """Five layers of four, each step of which takes two of the layer before."""
    flow = Flow("joins")
    layer: list[Any] = [flow.add(both, name=f"l0n{at}", x=at, y=at + 1) for at in range(4)]
    for depth in range(1, 5):
        layer = [
            flow.add(both, name=f"l{depth}n{at}", x=use(layer[at]), y=use(layer[(at + 1) % 4]))
            for at in range(4)
        ]
    return flow


class Shape(NamedTuple):
    """A flow, and what comes of it.

    Attributes:
        name: Its name.
        flow: Makes it.
        outputs: What it must give.
    """

    name: str
    flow: Callable[[], Flow]
    outputs: dict[str, Any]


def _shape(make: Callable[[], Flow]) -> Shape:
    flow = make()
    result = flow.run(runner="inline", log=os.devnull)
    return Shape(flow.name, make, dict(result.outputs))


SHAPES = tuple(map(_shape, (chain, wide, mapped, joins)))
