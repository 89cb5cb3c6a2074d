"""What `penstock.progress` gives: an observer that shows every run it is told of, wherever that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO
from weakref import finalize

from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.outline import Outline, from_data
from penstock.core.ports import Upcoming

from .forecast import Expected
from .frames import Frames
from .live import Drawing, Live
from .marks import Signs
from .notebook import Cells, in_notebook
from .page import Line
from .progress import Progress
from .streams import wide_of

if TYPE_CHECKING:
    from penstock.core.resume import Story

FAILURES = 5
"""Failures that are told when a run is over."""


class Shown:
    """An observer that shows runs: ``RunOptions(observers=[penstock.progress()])``.

    In a notebook it is a table below the cell; on a terminal with rich a table that is drawn in place, and of
    which the outcome stays; anywhere else it is lines. One may observe as many runs as one likes, and several
    at once. It never makes a run wait.

    Args:
        stream: Where it is shown; None for standard error, or the notebook.
        live: A table instead of lines; None chooses by where it is.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        self._stream = stream
        self._live = live
        self._last: Follower | None = None

    def for_run(self, run: Upcoming, /) -> Follower:
        """What is to be told of one run."""
        return self._follower(run.graph, run.expected, run.story)

    def _follower(
        self, graph: Graph | Outline, expected: Callable[[], Expected] | None, story: Story | None
    ) -> Follower:
        on = None
        if self._stream is None and self._live is not False and in_notebook():
            on = Cells()
        stream = self._stream or sys.stderr
        return Follower(
            Progress(graph, stream, live=self._live, expected=expected, on=on, here=True), stream, story
        )

    def __call__(self, event: Any) -> None:
        """Told of a run by somebody who knows nothing of `for_run`, and so of one run at a time."""
        if isinstance(event, events.RunStarted):
            self._last = self._follower(from_data(event.flow, event.shape, {}), None, None)
        if self._last is not None:
            self._last(event)


class Follower:
    """Shows one run from its first event to its last; of one that is cut off, until nobody holds this.

    Args:
        progress: The run.
        stream: Where it is shown.
        story: The run as it was before, if it goes on.
    """

    def __init__(self, progress: Progress, stream: TextIO, story: Story | None = None) -> None:
        self._progress = progress
        self._observer = progress.observer
        self._stream = stream
        self._story = story
        self._end: Callable[[], Any] | None = None

    def __call__(self, event: Any) -> None:
        if self._end is None and isinstance(event, events.RunStarted):
            self._end = finalize(self, _close, self._progress, self._stream)
            self._progress.__enter__()
        elif isinstance(event, events.RunResumed) and self._story is not None:
            from penstock.core.history import counting

            self._progress.tally.recall(counting(self._story, event))
        self._observer(event)
        if isinstance(event, events.RunFinished):
            self.end_of_run()

    def end_of_run(self) -> None:
        """The run is over, or has been put down, or nobody drives it any more."""
        end, self._end = self._end, None
        if end is not None:
            end()


def _close(progress: Progress, stream: TextIO) -> None:
    """Shows it no longer; on a terminal the outcome stays."""
    words: list[Line] = []
    if isinstance(progress.screen, Live) and progress.tally.is_over:
        frame = Frames(progress.tally).at(time.time(), 1)
        words = Drawing(Signs(stream.encoding)).outcome(frame, progress.tally, wide_of(stream), FAILURES)
    progress.close(words)
