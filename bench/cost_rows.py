"""Rows about what surrounds a run: defining a graph, compiling it, and how the cost of a step grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from bench import floors, shapes
from bench.measure import Line, Scale, alternate, compare, micros
from bench.shapes import COROUTINE, SHAPES, SYNC, Shape
from penstock import Flow, use
from penstock.core.plan import Plan


def define_chain(steps: int) -> Flow:
    """The loop that a user would write for `shapes.chain`; the next two likewise."""
    flow = Flow("chain")
    last: Any = flow.add(COROUTINE.none, name="s0")
    for at in range(1, steps):
        last = flow.add(COROUTINE.one, name=f"s{at}", x=use(last))
    return flow


def define_wide(steps: int) -> Flow:
    flow = Flow("wide")
    first: Any = flow.add(COROUTINE.none, name="s0")
    middle = [flow.add(COROUTINE.one, name=f"s{at}", x=use(first)) for at in range(1, steps - 1)]
    flow.add(COROUTINE.many, name="end", **{f"v{at}": use(one) for at, one in enumerate(middle)})
    return flow


def define_layered(steps: int, width: int = 50) -> Flow:
    flow = Flow("layered")
    above: list[Any] = [flow.add(COROUTINE.none, name=f"s0_{at}") for at in range(width)]
    for row in range(1, max(2, steps // width)):
        above = [
            flow.add(COROUTINE.two, name=f"s{row}_{at}", x=use(above[at]), y=use(above[(at + 1) % width]))
            for at in range(width)
        ]
    return flow


DEFINERS: tuple[Callable[[int], Flow], ...] = (define_chain, define_wide, define_layered)


def define(scale: Scale) -> Iterator[Line]:
    """`flow.add` in a loop, then `flow.graph()`; and the plan, which the first run of a graph makes."""
    for make, definer in zip(SHAPES, DEFINERS, strict=True):
        shape = make(scale.small)
        yield _beside_run(
            "Definition",
            f"define and validate, {shape.name}, {len(shape.needs):,}",
            shape,
            lambda definer=definer: definer(scale.small).graph(),  # type: ignore[misc]
            scale.pairs,
            must=1.0,
            aim=0.5,
        )
    for make in SHAPES:
        shape = make(scale.small)
        graph = shapes.flow_of(shape, COROUTINE).graph()
        yield _beside_run(
            "Definition",
            f"compile, {shape.name}, {len(shape.needs):,}",
            shape,
            lambda graph=graph: Plan(graph),  # type: ignore[misc]
            scale.pairs,
        )


def _beside_run(
    section: str,
    work: str,
    shape: Shape,
    own: Callable[[], object],
    pairs: int,
    must: float | None = None,
    aim: float | None = None,
) -> Line:
    dag = shapes.dag_of(shape, COROUTINE)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return compare(
            section,
            work,
            lambda: loop.run_until_complete(floors.tasks(dag)),
            own,
            steps=len(dag.needs),
            pairs=pairs,
            clock="cpu",
            must=must,
            aim=aim,
            agree=lambda _values, made: made is not None,
        )


def growth(scale: Scale) -> Iterator[Line]:
    """A step of a large graph against a step of a small one."""
    for make in SHAPES:
        small, large = make(scale.small), make(scale.large)
        flows = shapes.flow_of(small, COROUTINE), shapes.flow_of(large, COROUTINE)
        with asyncio.Runner() as runner:
            loop = runner.get_loop()

            def run(flow: Flow, loop: asyncio.AbstractEventLoop = loop) -> None:
                loop.run_until_complete(flow.arun())

            yield _growth("coroutine", small, large, flows, run, scale.large_pairs)
        flows = shapes.flow_of(small, SYNC), shapes.flow_of(large, SYNC)
        yield _growth(
            "inline", small, large, flows, lambda flow: flow.run(runner="inline"), scale.large_pairs
        )


def _growth(
    how: str, small: Shape, large: Shape, flows: tuple[Flow, Flow], run: Callable[[Flow], object], pairs: int
) -> Line:
    few, many = len(small.needs), len(large.needs)
    for flow in flows:
        run(flow)
    found = alternate(lambda: run(flows[0]), lambda: run(flows[1]), pairs, (max(1, many // few), 1))
    ratio = found.ratio("cpu")
    return Line(
        "Growth",
        f"{small.name}, {how}: a step of {many:,} ÷ a step of {few:,}",
        micros(found.first, few, "cpu"),
        micros(found.second, many, "cpu"),
        type(ratio)(*[one * few / many for one in ratio]),
        must=1.25,
        aim=1.1,
    )
