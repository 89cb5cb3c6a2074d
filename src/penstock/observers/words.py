"""What is said of failures, skips, gates and logs, in a few words and on one line."""

from __future__ import annotations

from penstock.core import events
from penstock.core.model import Failure
from penstock.core.visible import one_line

from .page import cut
from .tally import Tally


def first(failure: Failure) -> str:
    """Type and first line of a failure's text, in one line of at most 200 cells."""
    text = next((line for line in str(failure).splitlines() if line.strip()), failure.type)
    return cut(one_line(text.strip()), 200)


def why(skip: events.NodeSkipped, tally: Tally) -> str:
    """The reason of a skip in a few words."""
    because = skip.because
    if skip.cause.value == "condition":
        return "its condition said no" if because == skip.path else f"the condition of {because} said no"
    if because is None:
        return "the run was cancelled"
    failed = tally.missed(because) or f"{because} failed"
    return failed if skip.cause.value == "upstream" else f"the run stopped: {failed}"


def asked(event: events.NodeWaiting) -> str:
    """What an open gate waits for."""
    return f"asks: {event.prompt}" if event.prompt else "waits for an answer"


def spoken(event: events.Logged) -> str:
    """What a step has logged, with its fields, on one line."""
    fields = "".join(f" {key}={value!r}" for key, value in event.fields.items())
    return cut(one_line(f"{event.message.rstrip()}{fields}"), 500)
