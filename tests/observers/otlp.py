"""A receiver of OTLP over HTTP, on loopback: what a collector of traces would be sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def value(any_value: Any) -> Any:
    """An attribute's value."""
    return getattr(any_value, any_value.WhichOneof("value"))


class Span:
    """One span, as it came.

    Attributes:
        name, id, parent, trace, began, ended: As sent; times in nanoseconds.
        said: Its attributes, without the common beginning of their names.
        error: Its status' text if that is an error, else None.
        links: Ids of the spans that it links to.
        events: Pairs (name, attributes).
    """

    def __init__(self, sent: Any) -> None:
        self.name: str = sent.name
        self.id: bytes = sent.span_id
        self.parent: bytes = sent.parent_span_id
        self.trace: bytes = sent.trace_id
        self.began: int = sent.start_time_unix_nano
        self.ended: int = sent.end_time_unix_nano
        self.said = {one.key.removeprefix("penstock."): value(one.value) for one in sent.attributes}
        self.error: str | None = sent.status.message if sent.status.code == 2 else None
        self.links: list[bytes] = [link.span_id for link in sent.links]
        self.events = [
            (event.name, {one.key: value(one.value) for one in event.attributes}) for event in sent.events
        ]

    def __repr__(self) -> str:
        return f"<{self.name} {self.said}>"


class Receiver:
    """Takes what is posted.

    Args:
        answers: Called before each request is answered; gives the status.

    Attributes:
        url: Where.
        spans: What has come.
        metrics: Names to lists of (attributes, value), of the latest export.
    """

    def __init__(self, answers: Any = None) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = answers() if answers is not None else 200
                if status == 200:
                    receiver.take(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += map(Span, scope.spans)
            return
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    assert kind is not None
                    self.metrics[metric.name] = [
                        (
                            {one.key: value(one.value) for one in point.attributes},
                            (point.count, point.sum) if kind == "histogram" else point.as_int,
                        )
                        for point in getattr(metric, kind).data_points
                    ]

    # --- looking at what has come ---------------------------------------------------------------------------

    def one(self, name: str, **said: Any) -> Span:
        """The only span of this name with these attributes; ``run_id`` stands for ``run.id``."""
        (found,) = self.all(name, **said)
        return found

    def all(self, name: str, **said: Any) -> list[Span]:
        return [span for span in self.spans if span.name == name and said.items() <= span.said.items()]

    def above(self, span: Span) -> Span | None:
        """The parent of a span, which must have come."""
        return next(one for one in self.spans if one.id == span.parent) if span.parent else None

    def linked(self, span: Span) -> list[Span]:
        return [next(one for one in self.spans if one.id == id) for id in span.links]


@contextmanager
def receiving(answers: Any = None) -> Iterator[Receiver]:
    receiver = Receiver(answers)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


@contextmanager
def traced(receiver: Receiver, **how: Any) -> Iterator[TracerProvider]:
    """A provider that sends to the receiver, as an application would set it up; flushed at the end."""
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), shutdown_on_exit=False, **how)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces", timeout=10)))
    try:
        yield provider
        assert provider.force_flush()
    finally:
        provider.shutdown()
