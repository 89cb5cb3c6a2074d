"""Runs as OpenTelemetry sees them: traces and metrics. Needs the extra ``[otel]``, and is loaded only when
somebody asks for it."""

from __future__ import annotations

from typing import Any

from opentelemetry import context, metrics, trace

from penstock.core.events import RunStarted
from penstock.core.ports import Upcoming

from .meters import meters_of
from .traced import TracedRun
from .tracers import spans_of

__all__ = ["TracedRun", "Tracing"]


class Tracing:
    """What `penstock.tracing` gives: an observer for any number of runs, also at the same time.

    Args:
        version: Of this library.
        tracer_provider, meter_provider: Those of OpenTelemetry; None for what is set up for the process
            when a run begins.
    """

    def __init__(
        self,
        version: str,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._version = version
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._latest: TracedRun | None = None

    def __repr__(self) -> str:
        return "<tracing>"

    def for_run(self, run: Upcoming, /) -> TracedRun:
        """The observer of one run; the span that is current where this is called is its parent."""
        return self._traced(run.run_id, run.graph.name)

    def _traced(self, run_id: str, flow: str) -> TracedRun:
        tracers = self._tracer_provider or trace.get_tracer_provider()
        meters = self._meter_provider or metrics.get_meter_provider()
        spans, counts = spans_of(tracers, self._version), meters_of(meters, self._version)
        return TracedRun(run_id, flow, spans, counts, context.get_current())

    def __call__(self, event: Any) -> None:
        """For a run that does not ask for an observer of its own."""
        if type(event) is RunStarted:
            self._latest = self._traced(event.run_id, event.flow)
        if self._latest is not None:
            self._latest(event)
