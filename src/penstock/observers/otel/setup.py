"""What the command line sets up where nothing is set up yet: exporters, as OpenTelemetry's variables say."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import metrics, trace

from penstock.core.errors import InputError

_WITHIN: Final = 5.0
"""Seconds in which what is left is handed over when the run is over."""

_PROTOCOLS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


@contextmanager
def exporting(warn: Callable[[str], object]) -> Iterator[None]:
    """Makes traces, and metrics if ``OTEL_METRICS_EXPORTER`` asks for them, leave this process.

    A program that has set up its own, or was started by ``opentelemetry-instrument``, keeps what it has.

    Args:
        warn: Takes what is to be said to people.

    Raises:
        InputError: There is no such exporter.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ends: list[Callable[[], object]] = []
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": "penstock"})
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in _exporters("traces", os.environ.get("OTEL_TRACES_EXPORTER", "otlp")):
            tracers.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(tracers)
        ends.append(tracers.shutdown)
        wanted = _exporters("metrics", os.environ.get("OTEL_METRICS_EXPORTER", "none"))
        if wanted:
            readers = [PeriodicExportingMetricReader(exporter) for exporter in wanted]
            meters = MeterProvider(readers, resource, shutdown_on_exit=False)
            metrics.set_meter_provider(meters)
            ends.append(meters.shutdown)
    else:
        ends.append(getattr(trace.get_tracer_provider(), "force_flush", bool))
    try:
        yield
    finally:
        _end(ends, warn)


def _end(ends: list[Callable[[], object]], warn: Callable[[str], object]) -> None:
    """Hands over what is left; a receiver that does not take it holds nobody up for long."""
    threads = [threading.Thread(target=end, daemon=True) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WITHIN)
    if any(thread.is_alive() for thread in threads):
        warn(f"not all of the trace was taken within {_WITHIN:g} seconds; the rest is lost")


def _exporters(kind: str, words: str) -> list[Any]:
    """The exporters of these names, as they are installed."""
    found = []
    for word in (one.strip() for one in words.split(",")):
        if word in ("", "none"):
            continue
        name = word
        if word == "otlp":
            variable = f"OTEL_EXPORTER_OTLP_{kind.upper()}_PROTOCOL"
            usual = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            protocol = os.environ.get(variable, usual)
            name = _PROTOCOLS.get(protocol, "")
            if not name:
                raise InputError(
                    f"there is no protocol {protocol!r} (one of {', '.join(_PROTOCOLS)}): see {variable}"
                )
        found.append(_exporter(kind, word, name))
    return found


def _exporter(kind: str, word: str, name: str) -> Any:
    for entry in entry_points(group=f"opentelemetry_{kind}_exporter", name=name):
        return entry.load()()
    package = f"opentelemetry-exporter-{name.replace('_', '-')}"
    raise InputError(f"no exporter of {kind} called {word!r} is installed; say: pip install {package}")
