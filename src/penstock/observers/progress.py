"""One run as people follow it: counted always, shown as a live table or as lines, summed up at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

from penstock.core.graph import Graph
from penstock.core.outline import Outline
from penstock.core.result import RunResult

from .forecast import Expected
from .frames import Frames
from .lines import Lines
from .live import screen
from .marks import Signs
from .page import Line, coloured, plain
from .streams import has_colours, is_live, wide_of
from .summary import summary
from .tally import Tally
from .ticker import BRIEFLY, Ticker

BEAT = 5.0
"""Seconds after which lines are looked at even if nothing happens."""


class Screen(Protocol):
    """Where frames are drawn, in a thread of its own."""

    def join(self, frames: Frames) -> None:
        """One more run is drawn."""

    def leave(self, frames: Frames, words: Sequence[Line] = ()) -> None:
        """A run is not drawn any more; these words of it stay."""


class Progress:
    """Follows one run and shows it while it goes on.

    Args:
        graph: What runs, or its outline.
        stream: Where it is shown; None shows nothing.
        live: A table drawn in place instead of lines; None chooses by the stream.
        expected: Seconds that each step took in earlier runs, by id, and under the empty id those of a whole
            run; or what finds that out, which is called in the thread that draws.
        on: What it is drawn on instead.
        here: See `Lines`.

    Attributes:
        tally: The counts.
        observer: To be told of every event.
        screen: What draws it; None where it is lines, or nothing.
    """

    def __init__(
        self,
        graph: Graph | Outline,
        stream: TextIO | None,
        *,
        live: bool | None = None,
        expected: Expected | Callable[[], Expected] | None = None,
        on: Screen | None = None,
        here: bool = False,
    ) -> None:
        self.tally = Tally(graph)
        self.observer: Callable[[Any], None] = self.tally
        self._stream = stream
        self._lines: Lines | None = None
        self._frames: Frames | None = None
        self.screen = on
        self._ticker: Ticker | None = None
        if on is None:
            if stream is None:
                return
            if is_live(stream) if live is None else live:
                self.screen = screen(stream)
        if self.screen is not None:
            self._frames = Frames(self.tally, expected)
            return
        lines = self._lines = Lines(self.tally, here=here)
        ticker = self._ticker = Ticker(self._tick, beat=BEAT, last=self._write)
        self.observer = _Waking(lines, ticker)

    def __enter__(self) -> Progress:
        if self._ticker is not None:
            self._ticker.start()
        if self.screen is not None and self._frames is not None:
            self.screen.join(self._frames)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self, words: Sequence[Line] = ()) -> None:
        """Shows it no longer, after the last that is to be said. It waits for that, but only briefly.

        Args:
            words: What stays on the screen.
        """
        if self._ticker is not None:
            self._ticker.stop(BRIEFLY)
        if self.screen is not None and self._frames is not None:
            self.screen.leave(self._frames, words)

    def summary(self, result: RunResult, stream: TextIO) -> str:
        """The closing words, as that stream can show them."""
        wide = wide_of(stream)
        lines = summary(self.tally, result, wide, Signs(stream.encoding))
        show = coloured if has_colours(stream) else plain
        return "".join(show(line) + "\n" for line in lines)

    def _tick(self) -> None:
        assert self._lines is not None
        self._lines.pulse(time.time())
        self._write()

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
