"""How a trace goes on in a worker process. Loaded there too, where OpenTelemetry may be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

ARRIVES = f"{__name__}:arrived"
"""What is called on the other side; see `core.attendance.Door`."""


def packed(context: Any) -> Mapping[str, str]:
    """A context of OpenTelemetry as texts: the span and the baggage."""
    carrier: dict[str, str] = {}
    for one in _propagators():
        one.inject(carrier, context)
    return carrier


@contextmanager
def arrived(inside: Any) -> Iterator[None]:
    """Makes what was packed the current context, around an attempt that has come from another process."""
    try:
        from opentelemetry.context import attach, detach
    except ImportError:
        yield
        return
    context = None
    for one in _propagators():
        context = one.extract(inside.carried, context)
    assert context is not None
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


@cache
def _propagators() -> tuple[Any, ...]:
    """W3C's, whatever else is set up in either process: both ends are ours."""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return (TraceContextTextMapPropagator(), W3CBaggagePropagator())
