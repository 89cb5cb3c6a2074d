"""Rows about runs: what the run call costs on a flow that is already defined, and has run once before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from bench import floors, shapes
from bench.floors import Dag
from bench.measure import Line, Scale, compare
from bench.shapes import COROUTINE, NAPPING, SHAPES, SYNC, WAITING, Count, Options, Shape
from penstock import Flow, RunOptions, use

CAP = 64


def _sizes(scale: Scale) -> Iterator[tuple[Shape, int, str]]:
    """All shapes, small and large: shape, pairs, and what the row is called."""
    for steps, pairs in ((scale.small, scale.pairs), (scale.large, scale.large_pairs)):
        for make in SHAPES:
            shape = make(steps)
            yield shape, pairs, f"{shape.name}, {len(shape.needs):,}"


def coroutines(scale: Scale) -> Iterator[Line]:
    """Coroutine steps that never suspend, with the defaults."""
    for shape, pairs, work in _sizes(scale):
        yield on_loop(
            "Coroutine steps, defaults",
            work,
            shapes.dag_of(shape, COROUTINE),
            shapes.flow_of(shape, COROUTINE),
            pairs=pairs,
            must=0.45,
            aim=0.3,
        )


def coroutines_options(scale: Scale) -> Iterator[Line]:
    """The same with every option used."""
    for make in SHAPES:
        shape = make(scale.small)
        yield on_loop(
            "Coroutine steps, every option used",
            f"{shape.name}, {len(shape.needs):,}",
            shapes.dag_of(shape, COROUTINE),
            shapes.flow_of(shape, COROUTINE, Options()),
            pairs=scale.pairs,
            observed=True,
            must=0.8,
            aim=0.6,
        )


def suspending(scale: Scale) -> Iterator[Line]:
    """Coroutine steps that suspend once."""
    for family, how in ((NAPPING, "`sleep(0)`"), (WAITING, "a future")):
        for make in SHAPES:
            shape = make(scale.small)
            dag, flow = shapes.dag_of(shape, family), shapes.flow_of(shape, family)
            work = f"{shape.name}, {len(shape.needs):,}, {how}"
            capped = shape.name != "chain"  # of which only one runs at a time anyway
            section = "Coroutine steps that suspend"
            if capped:
                yield on_loop(
                    section,
                    f"{work}, capped at {CAP}",
                    dag,
                    flow,
                    pairs=scale.pairs,
                    cap=CAP,
                    must=0.9,
                    aim=0.75,
                )
            yield on_loop(section, f"{work}, uncapped", dag, flow, pairs=scale.pairs, must=1.3, aim=1.1)


def inline(scale: Scale) -> Iterator[Line]:
    """Plain functions in the caller's thread, with the defaults."""
    for shape, pairs, work in _sizes(scale):
        lone = shape.name == "chain"
        yield in_line(
            "Plain steps inline, defaults",
            work,
            shapes.dag_of(shape, SYNC),
            shapes.flow_of(shape, SYNC),
            pairs=pairs,
            must=1.6 if lone else 1.0,
            aim=1.2 if lone else 0.65,
        )


def inline_options(scale: Scale) -> Iterator[Line]:
    """The same with every option used but the timeout, which this runner refuses."""
    for make in SHAPES:
        shape = make(scale.small)
        yield in_line(
            "Plain steps inline, every option used",
            f"{shape.name}, {len(shape.needs):,}",
            shapes.dag_of(shape, SYNC),
            shapes.flow_of(shape, SYNC, Options(timeout=False)),
            pairs=scale.pairs,
            observed=True,
            must=3.0,
            aim=2.0,
        )


def threads(scale: Scale) -> Iterator[Line]:
    """Plain functions in threads: what a flow does with them by default."""
    for make, must, aim in (
        (shapes.chain, 0.4, 0.15),
        (shapes.wide, 0.8, 0.35),
        (shapes.layered, None, None),
    ):
        shape = make(scale.small)
        dag, flow = shapes.dag_of(shape, SYNC), shapes.flow_of(shape, SYNC)
        yield compare(
            "Plain steps in threads",
            f"{shape.name}, {len(shape.needs):,}",
            lambda dag=dag: floors.threads(dag),  # type: ignore[misc]
            flow.run,
            steps=len(dag.needs),
            pairs=scale.pairs,
            clock="wall",
            must=must,
            aim=aim,
        )


def maps(scale: Scale) -> Iterator[Line]:
    """One mapped step, and a map inside a map."""
    pairs = max(scale.large_pairs, scale.pairs // 2)
    side = round(scale.items**0.5)
    work, nested = f"map of {scale.items:,} items", f"map of {side} maps of {side} items"
    section = "Maps"
    flat = shapes.map_dag(scale.items, COROUTINE), shapes.map_flow(scale.items, COROUTINE)
    deep = shapes.nested_dag(side, COROUTINE), shapes.nested_flow(side, COROUTINE)
    yield on_loop(section, f"{work}, coroutine", *flat, pairs=pairs, must=0.5, aim=0.35)
    yield on_loop(section, f"{nested}, coroutine", *deep, pairs=pairs)
    flat = shapes.map_dag(scale.items, SYNC), shapes.map_flow(scale.items, SYNC)
    deep = shapes.nested_dag(side, SYNC), shapes.nested_flow(side, SYNC)
    yield in_line(section, f"{work}, inline", *flat, pairs=pairs)
    yield in_line(section, f"{nested}, inline", *deep, pairs=pairs)


async def _handed_on(x: bytes) -> bytes:
    return x


def values(scale: Scale) -> Iterator[Line]:
    """One value handed through a chain: by reference, so its size must not matter."""
    shape = shapes.chain(scale.small)
    for size in (100, 10_000, 1_000_000, 10_000_000):
        payload = bytes(size)

        async def first(payload: bytes = payload) -> bytes:
            return payload

        calls: dict[str, Any] = dict.fromkeys(shape.needs, _handed_on)
        calls["s0"] = first
        flow = Flow("values")
        last: Any = flow.add(first, name="s0", payload=payload)
        for step in list(shape.needs)[1:]:
            last = flow.add(_handed_on, name=step, x=use(last))

        def same(floor: dict[str, Any], result: Any, payload: bytes = payload) -> bool:
            return all(value is payload for value in (*floor.values(), *result.outputs.values()))

        words = f"{size:,} bytes" if size < 1_000_000 else f"{size // 1_000_000} MB"
        yield on_loop(
            "Values by reference",
            f"chain, {scale.small:,}, {words}",
            Dag(calls, shape.needs),
            flow,
            pairs=max(1, scale.pairs // 2),
            agree=same,
        )


def on_loop(
    section: str,
    work: str,
    dag: Dag,
    flow: Flow,
    *,
    pairs: int,
    cap: int | None = None,
    observed: bool = False,
    must: float | None = None,
    aim: float | None = None,
    agree: Any = None,
) -> Line:
    """Coroutine steps: both sides on one loop that is already there."""
    options = _options(cap, observed)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def floor() -> Any:
            return loop.run_until_complete(floors.capped_tasks(dag, cap) if cap else floors.tasks(dag))

        def own() -> Any:
            return loop.run_until_complete(flow.arun(options=options))

        return compare(
            section,
            work,
            floor,
            own,
            steps=len(dag.needs),
            pairs=pairs,
            clock="cpu",
            must=must,
            aim=aim,
            agree=agree,
        )


def in_line(
    section: str,
    work: str,
    dag: Dag,
    flow: Flow,
    *,
    pairs: int,
    observed: bool = False,
    must: float | None = None,
    aim: float | None = None,
) -> Line:
    """Plain steps in the caller's thread."""
    options = _options(None, observed)
    return compare(
        section,
        work,
        lambda: floors.loop(dag),
        lambda: flow.run(runner="inline", options=options),
        steps=len(dag.needs),
        pairs=pairs,
        clock="cpu",
        must=must,
        aim=aim,
    )


def _options(cap: int | None, observed: bool) -> RunOptions:
    return RunOptions(max_concurrency=cap, observers=(Count(),) if observed else ())
