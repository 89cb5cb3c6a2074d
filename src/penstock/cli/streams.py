"""Standard output and error that never raise: closed, full or of a poor encoding, a run goes on.

What could not be written to a full disk is told, and the program's exit code says so. A reader that went away
has seen enough, and an output that was closed from the start was not wanted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_lost = _gone = False


def lost() -> bool:
    """Whether something that was asked for could not be written."""
    return _lost


def lose(text: str) -> None:
    """Something that was asked for could not be written: it is told, and the exit code says so."""
    global _lost
    _lost = True
    complain(text)


def gone() -> bool:
    """Whether the reader of standard output went away: it has seen enough."""
    return _gone


def _leave() -> None:
    global _gone
    _gone = True


def _lose(error: OSError) -> None:
    if not _lost:
        lose(f"standard output cannot be written any more: {error.strerror or error}")


class _Steady(io.FileIO):
    """A file descriptor to write to. When nobody takes what is written any more, it goes nowhere.

    Args:
        number: The descriptor.
        closefd: Whether closing this closes it.
        matters: What cannot be written there is told.
    """

    def __init__(self, number: int, *, closefd: bool, matters: bool) -> None:
        super().__init__(number, "wb", closefd=closefd)
        self._matters = matters

    def write(self, data: Any, /) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            self._give_up(error)
            return len(data)

    def _give_up(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if self._matters:
            _leave() if isinstance(error, BrokenPipeError) else _lose(error)


def make_steady() -> None:
    """Makes `sys.stdout` and `sys.stderr` of this process such files.

    A descriptor that was closed from the start is opened to nowhere, so that no file of the run can come to
    stand in its place.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _occupy(number)
        elif not isinstance(stream, io.TextIOWrapper) or stream is not getattr(sys, f"__{name}__"):
            continue
        setattr(sys, name, _steady(number, stream))


def _occupy(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere == number:
        os.set_inheritable(number, True)  # subprocesses write there too
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _steady(number: int, old: io.TextIOWrapper | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Steady(number, closefd=False, matters=number == 1)),
        encoding=old.encoding if old is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or (old is not None and old.line_buffering),
        write_through=old is not None and old.write_through,
    )


@contextmanager
def kept_clean() -> Iterator[TextIO]:
    """Standard output for one thing only: what others print, subprocesses too, goes to standard error.

    Yields:
        The real standard output.
    """
    stdout = sys.stdout
    if not _is_descriptor(stdout, 1):
        sys.stdout = sys.stderr
        try:
            yield stdout
        finally:
            sys.stdout = stdout
        return
    stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    real = io.TextIOWrapper(
        io.BufferedWriter(_Steady(kept, closefd=True, matters=True)),
        encoding=stdout.encoding,
        errors="backslashreplace",
    )
    try:
        yield real
    finally:
        real.flush()
        stdout.flush()
        os.dup2(kept, 1)
        real.close()


def complain(message: str) -> None:
    """Writes a line to standard error, if there is one."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"penstock: {message}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def show(text: str, stream: TextIO | None = None) -> None:
    """Writes text to standard output, or another stream, and flushes it."""
    stream = sys.stdout if stream is None else stream
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        if stream is not sys.stderr:
            _leave()
    except OSError as error:
        if stream is not sys.stderr:
            _lose(error)
    except ValueError:  # it is closed
        pass


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False
