"""Spans put together from the parts of the SDK.

A step has two spans, and when it began is told only when it ends; but its ids must be known before, for they
are the parents of whatever the step's own code records. The SDK's tracer wants to know the time first, and
takes some 45 µs for a span. What is made here are the SDK's own readable spans: decided upon by its sampler,
with ids of its generator, handed to its processors, at an eighth of the cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Tracer
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, StaticSampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags

from penstock.core.failures import failure_of

from .spans import MOST, SCOPE, Story, exception_of, nanoseconds

_BY_TRACE = (ParentBased, StaticSampler, TraceIdRatioBased)
"""Samplers that say the same of all spans of a trace, below one of our own."""


class OwnSpans:
    """Makes spans for a tracer of the SDK.

    Args:
        tracer: Whose spans they are.
        version: Of this library.
    """

    def __init__(self, tracer: Tracer, version: str) -> None:
        self._resource = tracer.resource
        self._sampler = tracer.sampler
        self._ids = tracer.id_generator
        self._new_id = tracer.id_generator.generate_span_id
        self._scope = InstrumentationScope(SCOPE, version)
        self._same = isinstance(tracer.sampler, _BY_TRACE)
        self._on_start, self._on_end = tracer.span_processor.on_start, tracer.span_processor.on_end

    def root(self, name: str, around: Context) -> Span:
        above = trace.get_current_span(around).get_span_context()
        if above.is_valid:
            return self._asked(name, above.trace_id, around, above)
        return self._asked(name, self._ids.generate_trace_id(), around, None)

    def open(self, name: str, parent: Span) -> Span:
        above = parent.get_span_context()
        if not self._same:
            return self._asked(name, above.trace_id, trace.set_span_in_context(parent, Context()), above)
        if not parent.is_recording():
            return parent
        context = SpanContext(above.trace_id, self._new_id(), False, above.trace_flags, above.trace_state)
        return OwnSpan(name, context, above, self._resource, instrumentation_scope=self._scope)

    def _asked(self, name: str, trace_id: int, around: Context, above: SpanContext | None) -> Span:
        """A span, if the sampler wants it."""
        said = self._sampler.should_sample(around, trace_id, name)
        flags = TraceFlags.SAMPLED if said.decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        context = SpanContext(trace_id, self._new_id(), False, TraceFlags(flags), said.trace_state)
        if said.decision is Decision.DROP:
            return NonRecordingSpan(context)
        return OwnSpan(
            name, context, above, self._resource, said.attributes, instrumentation_scope=self._scope
        )

    def close(self, span: Span, story: Story) -> None:
        if isinstance(span, OwnSpan) and span.is_recording():
            span.tell(story)
            self._on_start(span)  # type: ignore[arg-type]  # it is all that they ask of one
            span.over = True
            self._on_end(span)


class OwnSpan(ReadableSpan, Span):
    """A span whose story is told when it is over. Until then whoever runs inside of it may add to it.

    Attributes:
        over: Nothing may be added any more.
    """

    over = False
    _added: BoundedAttributes | None = None

    def is_recording(self) -> bool:
        return not self.over

    def get_span_context(self) -> SpanContext:
        return self._context  # type: ignore[return-value]  # it is always made with one

    def tell(self, story: Story) -> None:
        """Takes what is known of it, besides what was added already."""
        self._start_time = nanoseconds(story.began)
        self._end_time = nanoseconds(story.ended)
        sampled, added = self._attributes, self._added
        self._attributes = {**sampled, **story.attributes} if sampled else story.attributes
        if added is not None:
            self._attributes = {**added, **self._attributes}
        if story.links:
            self._links = (*self._links, *story.links)
        if story.moments:
            told = [Event(name, attributes, nanoseconds(at)) for name, at, attributes in story.moments]
            self._events = (*self._events, *told)
        if story.error:
            self._status = Status(StatusCode.ERROR, story.error)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_attribute(self, key: str, value: Any) -> None:
        if self.over:
            return
        if self._end_time is not None:  # a processor adds to it, at the last moment
            self._attributes = {**(self._attributes or {}), key: value}
            return
        if self._added is None:
            self._added = BoundedAttributes(MOST, immutable=False)
        self._added[key] = value

    def add_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None:
        if not self.over and len(self._events) < MOST:
            known = BoundedAttributes(MOST, attributes) if attributes else None
            self._events = (*self._events, Event(name, known, timestamp or time.time_ns()))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        if not self.over and len(self._links) < MOST:
            self._links = (*self._links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        if not self.over:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if not self.over:
            self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        failure = failure_of(exception)
        self.add_event("exception", {**exception_of(failure), **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """Does nothing: it ends with its attempt, not when somebody inside says so."""
