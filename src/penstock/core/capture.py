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
from collections.abc import Callable, Iterator
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


def _made(*given: Any, **named: Any) -> logging.LogRecord:
    """Makes a log record as ever, and an event of it if it is made in a step.

    No handler of ours would do: one at the root keeps `logging.basicConfig` from doing anything, and the
    warnings that nobody hears from being printed.
    """
    record: logging.LogRecord = _before(*given, **named)
    inside = INSIDE.get()
    if inside is not None and _users and record.name:
        try:
            said = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                said += "\n" + _formatter.formatException(record.exc_info)
            level = _level(record.levelno)
            inside.tell(
                Logged(inside.path, inside.attempt, line(said), {}, level, record.name, record.created)
            )
        except Exception:  # whoever handles the record says what is wrong with it
            pass
    return record


class _LastResort(logging.Handler):
    """Prints what nobody handles, as `logging` does: for people, so it is no second line of the step."""

    def __init__(self, usual: logging.Handler) -> None:
        super().__init__(usual.level)
        self.usual = usual

    def handle(self, record: logging.LogRecord) -> bool:
        inside = INSIDE.set(None)
        try:
            return bool(self.usual.handle(record))
        finally:
            INSIDE.reset(inside)


_formatter = logging.Formatter()
_before: Callable[..., logging.LogRecord] = logging.LogRecord
_placed = False  # ours makes the records, or stands behind one that does


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
            _place()
            _settle()


def end() -> None:
    """Captures no more, unless somebody else still does."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            _unplace()
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


def _place() -> None:
    global _before, _placed
    if not _placed:
        _before, _placed = logging.getLogRecordFactory(), True
        logging.setLogRecordFactory(_made)
    if logging.lastResort is not None and not isinstance(logging.lastResort, _LastResort):
        logging.lastResort = _LastResort(logging.lastResort)


def _unplace() -> None:
    global _placed
    if logging.getLogRecordFactory() is _made:  # if not, somebody else's calls ours
        logging.setLogRecordFactory(_before)
        _placed = False
    if isinstance(logging.lastResort, _LastResort):
        logging.lastResort = logging.lastResort.usual


def _settle() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if _users and stream is not None and not isinstance(stream, Tee):
            tee = Tee(name, stream)
            _kept.append(tee)
            setattr(sys, name, tee)
        elif not _users and isinstance(stream, Tee):  # if not, somebody has put theirs before it
            setattr(sys, name, stream.stream)


def _forked() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it, and is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
