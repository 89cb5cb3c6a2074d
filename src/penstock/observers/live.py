"""A run as a calm table that is drawn anew in place; needs rich. `picture` alone needs nothing."""

from __future__ import annotations

import time
from typing import Any, TextIO

from penstock.core.model import NodeStatus

from .lines import counted, first, why
from .marks import Signs, style_of
from .page import RICH, Line, Span, cut, cut_line, duration, fill, many, width
from .tally import Row, Tally

BAR = 20
NAMES = 32
_ORDER = (
    NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.WAITING, NodeStatus.FAILED, NodeStatus.CANCELLED,
    NodeStatus.SUCCEEDED, NodeStatus.SKIPPED, NodeStatus.READY, NodeStatus.PENDING,
)  # fmt: skip


def picture(tally: Tally, now: float, wide: int, high: int, signs: Signs) -> list[Line]:
    """The table as it stands: every step if there is room, otherwise what runs and what went wrong.

    Args:
        tally: What is known.
        now: The run's clock.
        wide, high: The screen.
        signs: What it can show.
    """
    began = tally.began if tally.began is not None else now
    head: list[Span] = [("strong", tally.flow), ("dim", f"  {tally.run_id}  {_seconds(now - began)}")]
    if tally.cancelling is not None:
        head.append(("warn", "  cancelling; Ctrl-C again ends it at once"))
    rows = list(tally.rows.values())
    room = max(high - 5, 1)
    if len(rows) > room:
        rows = _chosen(tally, room)
    names = min(NAMES, max((width(row.id) for row in rows), default=0))
    lines: list[Line] = [head, []]
    lines += [_row(row, tally, now, names, signs) for row in rows]
    lines += [[], _total(tally)]
    return [cut_line(line, wide - 1, signs.more) for line in lines]


def _chosen(tally: Tally, room: int) -> list[Row]:
    """What runs, as far as there is room, and the last failure; in order of definition."""
    rows = list(tally.active())
    if tally.last_failed is not None:
        failed = tally.rows[tally.last_failed[0].partition("[")[0]]
        rows = [failed, *(row for row in rows if row is not failed)]
    chosen = {row.id for row in rows[:room]}
    return [row for row in tally.rows.values() if row.id in chosen]


def _row(row: Row, tally: Tally, now: float, names: int, signs: Signs) -> Line:
    status = row.status
    shown = (
        NodeStatus.RETRYING if status is NodeStatus.RUNNING and row.retrying and not row.running else status
    )
    style, sign = signs.mark(shown)
    if shown is NodeStatus.FAILED and row.succeeded:
        style = "warn"  # some items only: the run may well go on without them
    took = ""
    if row.began is not None:
        over = row.finished and row.ended is not None
        took = (
            duration(row.ended - row.began) if over and row.ended is not None else _seconds(now - row.began)
        )
    quiet = "dim" if status in (NodeStatus.PENDING, NodeStatus.SKIPPED) else ""
    line: list[Span] = [
        ("", "  "),
        (style, sign),
        ("", " "),
        (quiet, fill(cut(row.id, names, signs.more), names)),
        ("dim", "  " + fill(took, 9, right=True) + "  "),
    ]
    return line + _note(row, tally, status, style, signs)


def _note(row: Row, tally: Tally, status: NodeStatus, style: str, signs: Signs) -> list[Span]:
    if row.fan is not None and row.whole is None:
        if row.total is None:
            return []
        return [*_bar(row.done, row.total, row.failed, signs), ("", f"  {counted(row)}")]
    if status is NodeStatus.FAILED and row.trouble is not None:
        return [(style, first(row.trouble))]
    if status is NodeStatus.SKIPPED and row.skip is not None:
        return [("dim", why(row.skip, tally))]
    said = row.progress
    if status is NodeStatus.RUNNING and said is not None:
        told: list[Span] = []
        if said.total:
            told += [*_bar(said.done, said.total, 0, signs), ("", f"  {said.done:,g} of {said.total:,g}  ")]
        elif said.done:
            told.append(("", f"{said.done:,g}  "))
        return [*told, ("dim", said.text)]
    if row.attempts > 1 or status is NodeStatus.RETRYING:
        number = row.attempts + (status is NodeStatus.RETRYING)
        again = (
            f"attempt {number}"
            if status in (NodeStatus.RUNNING, NodeStatus.RETRYING)
            else many(number, "attempt")
        )
        after = f" after {first(row.trouble)}" if row.trouble is not None and not row.finished else ""
        return [("warn" if after else "dim", again + after)]
    return []


def _bar(done: float, total: float, failed: int, signs: Signs) -> list[Span]:
    """A bar in which failures have their own colour, at least one cell of it."""
    filled = BAR if not total else min(BAR, int(BAR * done / total))
    bad = min(filled, max(1, round(BAR * failed / total))) if failed and total and filled else 0
    full, empty = signs.bar
    return [("good", full * (filled - bad)), ("bad", full * bad), ("dim", empty * (BAR - filled))]


def _total(tally: Tally) -> Line:
    counts = tally.counts()
    over = sum(counts.get(status, 0) for status in NodeStatus if status.ended)
    line: list[Span] = [("", "  "), ("strong", f"{over:,} of {many(len(tally.rows), 'step')}")]
    for status in _ORDER[:5]:
        if count := counts.get(status):
            line += [("", "  "), (style_of(status), f"{count:,} {status.value}")]
    return line


def _seconds(seconds: float) -> str:
    """As `duration`, without digits that would flicker."""
    return (
        f"{max(seconds, 0.0):.1f} s"
        if seconds < 9.95
        else duration(float(round(seconds))).replace(".0 s", " s")
    )


class Live:
    """Draws the picture on a terminal, above which other output scrolls by.

    Args:
        tally: What is drawn.
        stream: The terminal.
    """

    def __init__(self, tally: Tally, stream: TextIO) -> None:
        self._tally = tally
        self._stream = stream
        self._signs = Signs(stream.encoding)
        self._live: Any = None

    def draw(self) -> None:
        """Draws it anew. rich is loaded at the first time: a run that is over before never pays for it."""
        if self._live is None:
            self._live = self._open()
        console = self._live.console
        wide, high = console.size
        self._live.update(_rich(picture(self._tally, time.time(), wide, high, self._signs)), refresh=True)

    def close(self) -> None:
        """Takes the picture off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

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
        display.start()
        return display


def _rich(lines: list[Line]) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for line in lines:
        for style, part in line:
            text.append(part, RICH.get(style, ""))
        text.append("\n")
    return text
