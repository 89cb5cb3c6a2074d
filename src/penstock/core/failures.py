"""Exceptions as data. What is kept is text: a live traceback would hold every value of every frame."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from .errors import RetryAfter
from .model import Failure

RetryOn = tuple[type[BaseException], ...] | Callable[[BaseException], bool] | None

hide: Callable[[str], str] = str
"""What every text of an exception goes through; `secrets` puts its own here, once there is a secret."""

_MAX_TEXT = 20_000
_PACKAGE = __name__.partition(".")[0]


def failure_of(
    error: BaseException,
    retry_on: RetryOn = None,
    kind: Literal["error", "condition"] = "error",
    *,
    traced: bool = True,
) -> Failure:
    """What is kept of an exception; never raises, whatever the exception does.

    Args:
        error: As it left the user's code.
        retry_on: Of the retry policy; None says that there is none.
        kind: What failed.
        traced: With its traceback, as text.
    """
    try:
        delay = _seconds(error) if isinstance(error, RetryAfter) else None
        name = str(type(error).__qualname__)
        retryable = delay is not None or _retryable(error, retry_on)
        text = text_of(error)
        trace = _trace(error) if traced else ""
        return Failure(kind, name, text, trace, retryable, retry_after=delay)
    except BaseException:  # a class made to hide: all that is sure is that it was raised
        return Failure(kind, "Exception", "<nothing of it can be had>", retryable=False)


def _seconds(error: RetryAfter) -> float:
    seconds = getattr(error, "seconds", 0.0)  # a subclass may not have called ours
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def _retryable(error: BaseException, retry_on: RetryOn) -> bool:
    if retry_on is None or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return False
    if isinstance(retry_on, tuple):
        return isinstance(error, retry_on)
    try:
        return retry_on(error) is True
    except BaseException:  # a predicate that fails says no; the step's own error is what counts
        return False


def text_of(error: BaseException) -> str:
    """The text of an exception; never raises, whatever the exception does."""
    try:
        text = str(error)
    except BaseException as worse:
        text = f"<its text cannot be had: {type(worse).__name__}>"
    text = hide(text)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def said_by(error: BaseException) -> str:
    """An exception in a word or two: its type, and its text if it has one."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trace(error: BaseException) -> str:
    """The traceback as text, without the marks under each line.

    To place those marks Python parses the line again, and CPython 3.11 fails if two threads parse at a time
    (gh-106905): a failure here would break a step that parses there.
    """
    import traceback

    try:
        whole = traceback.TracebackException(type(error), error, _users(error.__traceback__))
        todo = [whole]
        for part in todo:  # grows while it is read: causes, contexts, the members of groups
            frames = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in part.stack]
            part.stack = traceback.StackSummary.from_list(frames)
            more = (part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ()))
            todo += [one for one in more if one is not None]
        text = hide("".join(whole.format()))
    except BaseException:  # its text is made again here, and may raise anything
        text = ""
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _users(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's first frame on: ours say nothing about their error."""
    while trace is not None and _is_ours(trace.tb_frame.f_globals):
        trace = trace.tb_next
    return trace


def _is_ours(names: dict[str, Any]) -> bool:
    """Whether code with these globals is of this package, and not what the test kit has in a user's place."""
    return names.get("__name__", "").split(".")[0] == _PACKAGE and "STANDS_FOR_USERS" not in names
