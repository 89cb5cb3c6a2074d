"""Rows about what watches a run: all of it at a time, against the same run watched by nobody."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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


def _work(x: int) -> int:
    until = time.perf_counter() + 0.0002
    while time.perf_counter() < until:
        pass
    return x


SLEEPING = COROUTINE._replace(name="sleep(0.001)", one=_sleep)
WORKING = SYNC._replace(name="0.2 ms", one=_work)


class Case(NamedTuple):
    """A run of 10,000 steps.

    Attributes:
        name: For people.
        family: What the steps call.
        kept: It is kept in a store.
        traces: Traces and metrics are among what watches it.
        most: Steps at a time.
    """

    name: str
    family: Family
    kept: bool
    traces: bool = True
    most: int | None = None


CASES = (
    Case("plain functions that work for 0.2 ms, in memory", WORKING, False),
    Case("plain functions that do nothing, kept in a store", SYNC, True, traces=False),
    Case("plain functions that do nothing, kept in a store", SYNC, True),
    Case("plain functions that do nothing, in memory", SYNC, False),
    Case("coroutines that sleep 1 ms, 64 at a time, in memory", SLEEPING, False, most=IN_FLIGHT),
    Case("coroutines that do nothing, in memory", COROUTINE, False),
)
"""The traces cost most: a span takes OpenTelemetry's own code longer than a whole step takes here."""


class Terminal(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self) -> bool:
        return True


def watchers(traces: bool) -> list[Any]:
    """Everything that can follow a run: a live table, a plain callable, and traces and metrics."""
    if not traces:
        return [penstock.progress(Terminal(), live=True), [].append]
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


def side(flow: Flow, case: Case, *, watched: bool) -> Side:
    """A run, watched by everything or by nothing."""

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        given: dict[str, Any] = {"max_concurrency": case.most, "capture": watched, "profile": watched}
        if watched:
            given["observers"] = watchers(case.traces)
        options = RunOptions(**given)
        if not case.kept:
            yield lambda: flow.run(options=options)
            return
        with open_store(folder / "own.db") as store:
            yield lambda: flow.run(store=store, options=options)

    return ready


def watched(scale: Scale) -> Iterator[Line]:
    """All observers on, against none."""
    for case in CASES:
        flow = shapes.flow_of(shapes.wide(scale.items), case.family)
        sides = side(flow, case, watched=False), side(flow, case, watched=True)
        on = "all observers" if case.traces else "all but traces"
        work = f"{scale.items:,} {case.name}: with {on}, and with none"
        yield line(SECTION, work, alternate(*sides, scale.rounds), scale.items, must=2.0, clock="wall")
