"""Rows about what watches a run: all of it at a time, against the same run watched by nobody."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import penstock
from bench import shapes
from bench.durable_rows import Side, alternate, line, open_store
from bench.measure import Call, Line, Scale
from bench.shapes import COROUTINE, SYNC, Family
from penstock import Flow, RunOptions

SECTION = "Watched runs"
IN_FLIGHT = 64


async def _sleep(x: int) -> int:
    await asyncio.sleep(0.001)
    return x


SLEEPING = COROUTINE._replace(name="sleep(0.001)", one=_sleep)


class Terminal(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self) -> bool:
        return True


def watchers() -> list[Any]:
    """Everything that can follow a run: a live table, traces and metrics, and a plain callable."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(InMemorySpanExporter(), max_queue_size=1 << 20))
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    traced = penstock.tracing(tracer_provider=spans, meter_provider=meters)
    return [penstock.progress(Terminal(), live=True), traced, [].append]


def side(flow: Flow, *, watched: bool, kept: bool, most: int | None) -> Side:
    """A run, kept or not, watched by everything or by nothing."""

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        given: dict[str, Any] = {"max_concurrency": most, "capture": watched, "profile": watched}
        if watched:
            given["observers"] = watchers()
        options = RunOptions(**given)
        if not kept:
            yield lambda: flow.run(options=options)
            return
        with open_store(folder / "own.db") as store:
            yield lambda: flow.run(store=store, options=options)

    return ready


def watched(scale: Scale) -> Iterator[Line]:
    """All observers on, against none."""
    cases: tuple[tuple[str, Family, bool, int | None], ...] = (
        ("coroutines that sleep 1 ms, 64 at a time", SLEEPING, False, IN_FLIGHT),
        ("plain functions, kept in a store", SYNC, True, None),
        ("plain functions, in memory", SYNC, False, None),
        ("coroutines that do nothing, in memory", COROUTINE, False, None),
    )
    for name, family, kept, most in cases:
        flow = shapes.flow_of(shapes.wide(scale.items), family)
        found = alternate(
            side(flow, watched=False, kept=kept, most=most),
            side(flow, watched=True, kept=kept, most=most),
            scale.pairs,
        )
        work = f"{scale.items:,} {name}: with all observers, and with none"
        yield line(SECTION, work, found, scale.items, must=2.0, clock="wall")
