"""What spans are made of, and what makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span

from penstock.core.model import Failure

SCOPE: Final = "penstock"
"""What instrumentation calls itself."""

MOST: Final = 128
"""Attributes, events and links of one span at most: the SDK's own bounds."""


class Moment(NamedTuple):
    """An event of a span.

    Attributes:
        name: What happened.
        at: When, in seconds since 1970.
        attributes: What is known of it.
    """

    name: str
    at: float
    attributes: Mapping[str, Any]


class Story(NamedTuple):
    """What is known of a span when it is over.

    Attributes:
        began, ended: In seconds since 1970.
        attributes: By name.
        moments: Its events.
        links: To other spans.
        error: Why it failed, in a line; empty if it did not.
    """

    began: float
    ended: float
    attributes: dict[str, Any]
    moments: Sequence[Moment] = ()
    links: Sequence[Link] = ()
    error: str = ""


class Spans(Protocol):
    """Makes spans. From any thread, but that each is closed by one."""

    def root(self, name: str, around: Context) -> Span:
        """The span of a run, below the one of `around`, if there is one."""

    def open(self, name: str, parent: Span) -> Span:
        """A span below another, whose ids are known from now on."""

    def close(self, span: Span, story: Story) -> None:
        """Ends a span, and hands it on to whoever exports it."""


def nanoseconds(at: float) -> int:
    """A time as OpenTelemetry has it."""
    return int(at * 1_000_000_000)


def exception_of(failure: Failure) -> dict[str, str]:
    """The attributes of an exception, as OpenTelemetry names them. Secrets in it are masked already."""
    said = {"exception.type": failure.type, "exception.message": failure.text}
    if failure.trace:
        said["exception.stacktrace"] = failure.trace
    return said
