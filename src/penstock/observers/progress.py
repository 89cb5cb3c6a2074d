"""One run as people follow it: counted always, shown as a live table or as lines, summed up at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TextIO

from penstock.core.graph import Graph
from penstock.core.result import RunResult

from .lines import Lines
from .live import Live
from .marks import Signs
from .page import coloured, plain
from .summary import summary
from .tally import Tally
from .ticker import Ticker

PATIENCE = 0.25
"""Seconds before a live table appears: a run that is over by then needs none."""


class Progress:
    """Follows one run and shows it while it goes on.

    Args:
        graph: What runs.
        stream: Where it is shown; None shows nothing.
        live: A table drawn in place instead of lines; None chooses by the stream.

    Attributes:
        tally: The counts.
        observer: To be told of every event.
    """

    def __init__(self, graph: Graph, stream: TextIO | None, *, live: bool | None = None) -> None:
        self.tally = Tally(graph)
        self.observer: Callable[[Any], None] = self.tally
        self._stream = stream
        self._lines: Lines | None = None
        self._live: Live | None = None
        self._ticker: Ticker | None = None
        if stream is None:
            return
        if is_live(stream) if live is None else live:
            self._live = Live(self.tally, stream)
            self._ticker = Ticker(self._live.draw, beat=0.1, first=PATIENCE)
            return
        lines = self._lines = Lines(self.tally)
        ticker = self._ticker = Ticker(self._write)
        self.observer = _Waking(lines, ticker)

    def __enter__(self) -> Progress:
        if self._ticker is not None:
            self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        try:
            if self._live is not None:
                self._live.close()
            self._write()
        except Exception:  # a stream that is gone must not change how the run ended
            pass

    def summary(self, result: RunResult, stream: TextIO) -> str:
        """The closing words, as that stream can show them."""
        wide = wide_of(stream)
        lines = summary(self.tally, result, wide, Signs(stream.encoding))
        show = coloured if has_colours(stream) else plain
        return "".join(show(line) + "\n" for line in lines)

    def _write(self) -> None:
        if self._lines is not None and self._stream is not None and self._lines.pending:
            self._stream.write("".join(f"{line}\n" for line in self._lines.drain()))
            self._stream.flush()


class _Waking:
    """Tells the lines of an event, and the ticker that there is something to show."""

    __slots__ = ("_lines", "_wake")

    def __init__(self, lines: Lines, ticker: Ticker) -> None:
        self._lines = lines
        self._wake = ticker.wake

    def __call__(self, event: Any) -> None:
        self._lines(event)
        if self._lines.pending:
            self._wake()


def is_live(stream: TextIO) -> bool:
    """Whether a table can be drawn in place there."""
    return _is_terminal(stream) and os.environ.get("TERM") != "dumb" and find_spec("rich") is not None


def has_colours(stream: TextIO) -> bool:
    """Whether colours are wanted there: https://no-color.org."""
    return _is_terminal(stream) and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, OSError):
        return False


def wide_of(stream: TextIO) -> int:
    """Cells of a line: those of the terminal, and no end where there is none."""
    if not _is_terminal(stream):
        return 100_000
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (ValueError, OSError):
        return 80
