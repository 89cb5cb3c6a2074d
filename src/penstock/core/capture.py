"""What steps print, and log by `logging`, becomes events of their run.

Whose it is, `inside.INSIDE` says: so two steps in two threads that print at a time are told apart. What is
printed goes where it went before as well. Threads that a step starts by itself are nobody's.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from .events import LEVELS, Logged
from .inside import INSIDE, Inside
from .secrets import masked

_LONGEST: Final = 16_384
"""Characters of one message; the rest of a longer one is left out, and said to be."""

_lock = threading.Lock()
_users = 0
_kept: deque[Tee] = deque(maxlen=16)  # the `print` of another thread may be at work with one, and hold none


def line(text: str) -> str:
    """A message as it is kept: without secrets, and not endless."""
    text = masked(text)
    left = len(text) - _LONGEST
    return text if left <= 0 else f"{text[:_LONGEST]}… ({left:,} more characters)"


class Handler(logging.Handler):
    """Makes events of log records, of the attempt in whose step they were made."""

    def emit(self, record: logging.LogRecord) -> None:
        inside = INSIDE.get()
        if inside is None:
            return
        try:
            said = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                said += "\n" + _formatter.formatException(record.exc_info)
            inside.tell(
                Logged(
                    inside.path, inside.attempt, line(said), {}, _level(record.levelno), record.name,
                    record.created,
                )
            )  # fmt: skip
        except Exception:
            self.handleError(record)
        if not _is_handled(record.name):
            _as_ever(record)


def _is_handled(name: str) -> bool:
    """Whether somebody else hears the records of a logger."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(one is not _handler for one in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _as_ever(record: logging.LogRecord) -> None:
    """What `logging` does with records that nobody hears: that somebody captures them changes nothing."""
    last = logging.lastResort
    if last is not None and record.levelno >= last.level:
        inside = INSIDE.set(None)  # it is printed for people, and no second line of the step
        try:
            last.handle(record)
        finally:
            INSIDE.reset(inside)


_formatter = logging.Formatter()
_handler = Handler()


class StampFilter(logging.Filter):
    """Stamps log records with the attempt in whose step they were made: ``run_id``, ``step`` and ``attempt``,
    which are empty texts elsewhere.

        handler.addFilter(penstock.StampFilter())
        handler.setFormatter(logging.Formatter("%(run_id)s %(step)s#%(attempt)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, with its stamp."""
        inside = INSIDE.get()
        record.run_id = "" if inside is None else inside.run_id
        record.step = "" if inside is None else str(inside.path)
        record.attempt = "" if inside is None else inside.attempt
        return True


def _level(number: int) -> str:
    return LEVELS[min(max(number // 10 - 1, 0), len(LEVELS) - 1)]


class Tee:
    """Stands in place of a text stream: what is written goes there, and what a step writes to its run too.

    Args:
        name: ``stdout`` or ``stderr``.
        stream: What it stands for.
    """

    def __init__(self, name: str, stream: Any) -> None:
        self._name = name
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stream)

    def write(self, text: str) -> int:
        """Writes."""
        inside = INSIDE.get()
        if inside is None:
            return int(self.stream.write(text))
        token = INSIDE.set(None)  # there may be another one of these behind the stream
        try:
            written: int = self.stream.write(text)
        finally:
            INSIDE.reset(token)
        if isinstance(text, str):
            _take(inside, self._name, text)
        return written

    def writelines(self, lines: Any) -> None:
        """Writes all of them."""
        for one in lines:
            self.write(one)


def _take(inside: Inside, name: str, text: str) -> None:
    """Says the lines that are complete now."""
    if inside.lines is None:
        inside.lines = {}
    if "\n" not in text and len(text) < _LONGEST:
        inside.lines[name] = inside.lines.get(name, "")[-_LONGEST:] + text
        return
    *whole, rest = (inside.lines.get(name, "") + text).split("\n")
    inside.lines[name] = rest
    for one in whole:
        _say(inside, name, one)


def _say(inside: Inside, name: str, text: str) -> None:
    text = text.removesuffix("\r").rpartition("\r")[2]  # of a bar that is drawn over and over, the last state
    if text:
        inside.tell(Logged(inside.path, inside.attempt, line(text), {}, "info", name, time.time()))


def finish(inside: Inside) -> None:
    """An attempt is over: says what it has printed without an end of line."""
    lines, inside.lines = inside.lines, None
    for name, text in (lines or {}).items():
        _say(inside, name, text)


def begin() -> None:
    """Begins to capture, unless somebody does so already."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            logging.getLogger().addHandler(_handler)
            _settle()


def end() -> None:
    """Captures no more, unless somebody else still does."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            logging.getLogger().removeHandler(_handler)
            _settle()


def stay() -> None:
    """Captures from now on: in a worker process, which does nothing else."""
    if not _users:
        begin()


def settle() -> None:
    """To be called by whoever has put a stream in place of standard output, or has taken it away again: what
    steps print still goes through here as long as anybody captures, and never twice."""
    with _lock:
        _settle()


def _settle() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if _users and stream is not None and not isinstance(stream, Tee):
            tee = Tee(name, stream)
            _kept.append(tee)
            setattr(sys, name, tee)
        elif not _users and isinstance(
            stream, Tee
        ):  # otherwise somebody has put theirs there, ours behind it
            setattr(sys, name, stream.stream)


def _forked() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it, and is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
