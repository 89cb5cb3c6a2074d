"""Exceptions as data. What is kept is text: a live traceback would hold every value of every frame."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Literal

from .errors import RetryAfter
from .model import Failure

RetryOn = tuple[type[BaseException], ...] | Callable[[BaseException], bool] | None

_MAX_TEXT = 20_000
_PACKAGE = __name__.partition(".")[0]


def failure_of(
    error: BaseException, retry_on: RetryOn = None, kind: Literal["error", "condition"] = "error"
) -> Failure:
    """What is kept of an exception; never raises, whatever the exception does.

    Args:
        error: As it left the user's code.
        retry_on: Of the retry policy; None says that there is none.
        kind: What failed.
    """
    delay = error.seconds if isinstance(error, RetryAfter) else None
    return Failure(
        kind,
        type(error).__qualname__,
        _text(error),
        _trace(error),
        delay is not None or _retryable(error, retry_on),
        retry_after=delay,
    )


def _retryable(error: BaseException, retry_on: RetryOn) -> bool:
    if retry_on is None or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return False
    if isinstance(retry_on, tuple):
        return isinstance(error, retry_on)
    try:
        return retry_on(error) is True
    except Exception:  # a predicate that fails says no; the step's own error is what counts
        return False


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as worse:
        text = f"<its text cannot be had: {type(worse).__name__}>"
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _trace(error: BaseException) -> str:
    import traceback

    try:
        text = "".join(traceback.format_exception(type(error), error, _users(error.__traceback__)))
    except Exception:
        try:
            text = "".join(traceback.format_tb(_users(error.__traceback__)))
        except Exception:
            return ""
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _users(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's first frame on: ours say nothing about their error."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").split(".")[0] == _PACKAGE:
        trace = trace.tb_next
    return trace
