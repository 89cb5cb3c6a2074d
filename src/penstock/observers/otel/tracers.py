"""From a tracer to what makes spans with it: the SDK's at the least cost, and any other as it wants it."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from .spans import SCOPE, Spans, Story, nanoseconds


def spans_of(provider: trace.TracerProvider, version: str) -> Spans:
    """What makes spans for this provider, at the least cost."""
    tracer = provider.get_tracer(SCOPE, version)
    try:
        from opentelemetry.sdk.trace import Tracer
    except ImportError:
        return AskedSpans(tracer)
    if not isinstance(tracer, Tracer):
        return AskedSpans(tracer)
    from .own import OwnSpans

    return OwnSpans(tracer, version)


class AskedSpans:
    """Spans that a tracer is asked for in the usual way.

    Such a tracer wants to know when a span begins when it is made, so those of attempts begin when they were
    handed out.

    Args:
        tracer: Of whatever make.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def root(self, name: str, around: Context) -> Span:
        return self._tracer.start_span(name, around)

    def open(self, name: str, parent: Span) -> Span:
        return self._tracer.start_span(name, trace.set_span_in_context(parent, Context()))

    def close(self, span: Span, story: Story) -> None:
        if span.is_recording():
            span.set_attributes(story.attributes)
            for moment in story.moments:
                span.add_event(moment.name, moment.attributes, nanoseconds(moment.at))
            for link in story.links:
                span.add_link(link.context)
            if story.error:
                span.set_status(Status(StatusCode.ERROR, story.error))
        span.end(nanoseconds(story.ended))
