"""A run as a calm table that is drawn anew in place; needs rich. `picture` alone needs nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, TextIO
from weakref import WeakKeyDictionary

from penstock.core import capture
from penstock.core.model import NodeStatus, RunStatus
from penstock.core.visible import one_line

from .entries import Bar, Entry
from .frames import Frame, Frames
from .marks import Signs
from .page import RICH, Line, Span, coloured, cut_line, fill, many, plain, squeeze, width
from .streams import has_colours
from .tally import Tally
from .ticker import BRIEFLY, Ticker
from .words import first

NAMES = 40
"""Cells for the names of the steps, at most; on a narrow screen a third of it."""

COUNTS = 26
"""Cells for their counts, at most."""

SHORT = 24
"""Cells of a remark that is left out rather than cut."""

PATIENCE = 0.25
"""Seconds before a table appears: a run that is over by then needs none."""

_HEAD = 3

_ENDS = {
    RunStatus.SUCCEEDED: ("good", NodeStatus.SUCCEEDED),
    RunStatus.FAILED: ("bad", NodeStatus.FAILED),
    RunStatus.CANCELLED: ("warn", NodeStatus.CANCELLED),
}


def picture(
    tally: Tally, now: float, wide: int, high: int, signs: Signs, frames: Frames | None = None
) -> list[Line]:
    """The table as it stands.

    Args:
        tally: What is known.
        now: The run's clock.
        wide, high: The screen.
        signs: What it can show.
        frames: Those of this run, where more than one is drawn: rates need a look or two.
    """
    frames = frames or Frames(tally)
    return Drawing(signs).lines(frames.at(now, high - _HEAD - 1), wide)


class Drawing:
    """Frames as lines. Columns become wider, never narrower: what one reads stays where it is.

    Args:
        signs: What the screen can show.
    """

    def __init__(self, signs: Signs) -> None:
        self._signs = signs
        self._names = self._counts = self._took = self._wide = 0

    def lines(self, frame: Frame, wide: int) -> list[Line]:
        """One frame, no wider than that."""
        if wide != self._wide:
            self._names = self._counts = 0
            self._took = 6
            self._wide = wide
        own = [width(one_line(entry.name)) + 2 * entry.deep for entry in frame.entries]
        self._names = max(self._names, min(NAMES, wide // 3, max(own, default=0)))
        bars = [entry for entry in frame.entries if entry.bar is not None and not entry.deep]
        counts = [width(self._counted(entry, wide)) for entry in bars]
        self._counts = max(self._counts, min(COUNTS, max(counts, default=0)))
        self._took = max(self._took, max((width(entry.took) for entry in frame.entries), default=0))
        lines = [*self._head(frame, wide), [], *(self._line(entry, wide) for entry in frame.entries)]
        return [cut_line(line, wide - 1, self._signs.more) for line in lines]

    def _head(self, frame: Frame, wide: int) -> Iterable[Line]:
        title: list[Span] = [("strong", frame.flow), ("dim", f"  {frame.run_id}  {frame.took}")]
        if frame.alert:
            title.append(("warn", f"  {frame.alert}"))
        yield title
        second = [*bar(frame.bar, min(40, wide // 4), self._signs), ("strong", f"  {frame.figures}")]
        failed = [note for note in frame.notes if note[1].endswith(NodeStatus.FAILED.value)]
        notes = [*failed, ("", frame.left), *(note for note in frame.notes if note not in failed)]
        yield _with_notes(second, (note for note in notes if note[1]), wide)

    def outcome(self, frame: Frame, tally: Tally, wide: int, most: int) -> list[Line]:
        """How a run has ended, and its failures, as many as that."""
        style, mark = _ENDS.get(tally.status, ("warn", NodeStatus.WAITING))
        let_pass = tally.status is RunStatus.SUCCEEDED
        verdict: list[Span] = [
            (style, f"{self._signs.mark(mark)[1]} {frame.flow} {tally.status.value}"),
            ("", f" in {frame.took}"),
            ("dim", f"  {frame.run_id}  {frame.figures}"),
        ]
        failed = NodeStatus.FAILED.value
        notes = (note for note in frame.notes if not (let_pass and note[1].endswith(failed)))
        lines: list[Line] = [verdict + [span for note in notes for span in (("", "  "), note)]]
        failures = [pair for row in tally.broken.values() for pair in row.failures]
        words = ("warn", " (tolerated)") if let_pass else ("bad", "")
        for path, failure in failures[:most]:
            lines.append([(words[0], f"  {path}{words[1]}: {first(failure)}")])
        if more := sum(row.failed for row in tally.broken.values()) - min(len(failures), most):
            lines.append([("dim", f"  and {many(more, 'more failure')}")])
        return [cut_line(line, wide - 1, self._signs.more) for line in lines]

    def _counted(self, entry: Entry, wide: int) -> str:
        """The figures, shorter where there is less room: 80 cells must hold them and what went wrong."""
        count = entry.figures
        if wide < 100:
            count = count.removesuffix(" items").removesuffix(" item")
        return count.replace(" of ", "/") if wide < 72 else count

    def _line(self, entry: Entry, wide: int) -> Line:
        line: list[Span] = [("", "  " if entry.deep else "")]
        names = self._names - (2 if entry.deep else 0)
        if entry.status is None:
            line += [("", "  ")]
        else:
            line += [(entry.style, self._signs.mark(entry.status)[1]), ("", " ")]
        if entry.name:
            quiet = "dim" if entry.style == "dim" or entry.deep else ""
            name = squeeze(one_line(entry.name), max(names, 8), self._signs.more)
            line += [(quiet, fill(name, names)), ("dim", f"  {fill(entry.took, self._took, right=True)}  ")]
        if entry.bar is not None:
            count = self._counted(entry, wide)
            line += bar(
                entry.bar, 8 if wide < 72 else 12 if wide < 100 else 16 if wide < 120 else 24, self._signs
            )
            line += [("", "  " + (fill(count, self._counts) if entry.notes and not entry.deep else count))]
        elif entry.figures:
            line += [("", entry.figures)]
        gap = "  " if entry.figures or entry.bar is not None else ""
        return _with_notes(line, entry.notes, wide, gap)


def _with_notes(line: list[Span], notes: Iterable[Span], wide: int, gap: str = "  ") -> Line:
    """The line, and behind it the notes for which there is room: of a short one half would tell nothing."""
    left = wide - 1 - sum(width(text) for _, text in line)
    for note in notes:
        cells = width(gap) + width(note[1])
        if cells > left and len(note[1]) <= SHORT:
            break
        line += [("", gap), note]
        left -= cells
        gap = "  "
    return line


def bar(done: Bar, cells: int, signs: Signs) -> list[Span]:
    """A bar in which what failed and what was skipped have their own colours, failures at least one cell."""
    full, half, empty = signs.bar
    total = done.total or 1.0
    filled = cells * min(1.0, (done.good + done.skipped + done.bad) / total) if done.total else float(cells)
    whole = int(filled + 1e-9)
    bad = min(whole, max(1, round(cells * done.bad / total))) if done.bad else 0
    skipped = min(whole - bad, round(cells * done.skipped / total))
    good = whole - bad - skipped
    part = half if half and filled - whole >= 0.5 and whole < cells else ""
    rest = cells - whole - len(part)
    ends = "bad" if bad else "dim" if skipped else "good"
    found = [("good", full * good), ("dim", full * skipped), ("bad", full * bad), (ends, part)]
    return [span for span in (*found, ("dim", empty * rest)) if span[1]]


class Live:
    """A terminal on which runs are drawn one below the other, above which other output scrolls by.

    It is drawn by a thread of its own, from when the first run joins until the last one has left.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._signs = Signs(stream.encoding)
        self._shown: dict[int, tuple[Frames, Drawing]] = {}
        self._lock = RLock()  # a run that is cut off may leave while its own thread draws
        self._ticker: Ticker | None = None
        self._live: Any = None
        self._words: list[Line] = []
        self._drawn: list[Line] = []
        self._wide = 0

    def join(self, frames: Frames) -> None:
        """One more run is drawn."""
        with self._briefly() as is_free:
            if not is_free:
                return
            self._shown[id(frames)] = (frames, Drawing(self._signs))
            if self._ticker is None:
                self._ticker = Ticker(self.draw, beat=0.1, first=PATIENCE, last=self._close)
                self._ticker.start()

    def leave(self, frames: Frames, words: Sequence[Line] = ()) -> None:
        """A run is not drawn any more; the last one takes the picture off the screen.

        Args:
            frames: Of the run.
            words: Lines that stay.
        """
        with self._briefly() as is_free:
            if not is_free or self._shown.pop(id(frames), None) is None:
                return
            self._words += words
            if self._shown:
                return
            ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.stop(BRIEFLY)

    def draw(self) -> None:
        """Draws it anew. rich is loaded at the first time: a run that is over before never pays for it."""
        with self._lock:
            if self._live is None:
                self._live = self._open()
            if self._words:
                words, self._words = self._words, []
                self._live.console.print(_Lines([*words, []]))
            wide, high = self._live.console.size
            lines = self._lines(wide, high)
            if wide == self._wide:
                if lines == self._drawn:
                    return
            elif self._drawn and wide < self._wide:
                self._wipe(wide)
            room = min(len(self._drawn) if wide == self._wide else 0, high - 1)
            lines += [[] for _ in range(room - len(lines))]  # it never shrinks: nothing jumps
            self._drawn, self._wide = lines, wide
            self._live.update(_Lines(lines), refresh=True)

    @contextmanager
    def _briefly(self) -> Iterator[bool]:
        """The lock, and whether it could be had: a terminal that takes nothing holds it for ever."""
        is_free = self._lock.acquire(timeout=BRIEFLY)
        try:
            yield is_free
        finally:
            if is_free:
                self._lock.release()

    def _lines(self, wide: int, high: int) -> list[Line]:
        """All runs, each with its part of the screen."""
        now, lines = time.time(), []
        shown = list(self._shown.values())
        fit = shown[: max(1, high // (_HEAD + 2))]
        left = high - 1 - (len(shown) > len(fit))
        for number, (frames, drawing) in enumerate(fit):
            part = left // (len(fit) - number)
            mine = drawing.lines(frames.at(now, part - _HEAD), wide)
            if number < len(fit) - 1:
                mine.append([])
            left -= len(mine)
            lines += mine
        if len(shown) > len(fit):
            lines.append([("dim", f"and {many(len(shown) - len(fit), 'more run')}")])
        return lines[: high - 1]

    def _close(self) -> None:
        """Takes the picture away and writes the last words, unless another run has joined meanwhile."""
        with self._lock:
            if self._shown:
                return
            if self._live is not None:
                self._live.stop()
                capture.settle()
                self._live = None
                self._drawn = []
            words, self._words = self._words, []
            if words:
                show = coloured if has_colours(self._stream) else plain
                self._stream.write("".join(f"{show(line)}\n" for line in words))
                self._stream.flush()

    def _wipe(self, wide: int) -> None:
        """The terminal is narrower now and has broken the lines anew: they are more than rich knows of."""
        rows = sum(max(1, -(-sum(width(text) for _, text in line) // wide)) for line in self._drawn)
        self._stream.write(f"\r\x1b[{rows - 1}A\x1b[J" if rows > 1 else "\r\x1b[J")
        render = getattr(self._live, "_live_render", None)
        if render is not None:
            render._shape = None

    def _open(self) -> Any:
        import sys

        from rich.console import Console
        from rich.live import Live as Display

        console = Console(file=self._stream, highlight=False, soft_wrap=True)
        display = Display(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        display.start()  # it stands in place of the streams from now on
        capture.settle()
        return display


_screens: WeakKeyDictionary[TextIO, Live] = WeakKeyDictionary()
_screens_lock = RLock()


def screen(stream: TextIO) -> Live:
    """The one that draws on this terminal: two of them would move the cursor under each other's feet."""
    with _screens_lock:
        found = _screens.get(stream)
        if found is None:
            found = _screens[stream] = Live(stream)
        return found


class _Lines:
    """Lines for rich, which need no more looking at: each is as wide as it may be."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.segment import Segment

        styles = {style: console.get_style(word) for style, word in RICH.items()}
        last = len(self._lines) - 1
        for number, line in enumerate(self._lines):
            for style, text in line:
                yield Segment(text, styles.get(style))
            if number != last:
                yield Segment.line()
