"""A run as a table below a notebook's cell, drawn anew in place.

Needs nothing but the notebook's own IPython, which is there or is not: it is never loaded for this.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from uuid import uuid4

from penstock.core.visible import one_line

from .entries import Bar, Entry
from .frames import Frame, Frames
from .live import Drawing
from .marks import Signs
from .page import Line, Span, plain
from .ticker import BRIEFLY, Ticker

ROOM = 30
"""Lines of the table, at most."""

WIDE = 110
"""Cells of the same table as text, for what shows no HTML."""

PAUSE = 0.25

_COLOURS = {
    "good": "#2e8b57",
    "bad": "#d1342f",
    "busy": "#2f7fc1",
    "warn": "#b7791f",
    "dim": "var(--jp-ui-font-color2, #7d828c)",
    "strong": "inherit",
    "": "inherit",
}  # of a middle brightness: the same are read on white and on black

_CELL = "border:0;padding:1px 14px 1px 0;text-align:{side};white-space:nowrap;background:none"


def in_notebook() -> bool:
    """Whether this is a kernel that shows tables below its cells."""
    shell = _shell()
    return shell is not None and hasattr(shell, "kernel")


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


class Cells:
    """The place below a cell where one run is drawn, at most four times a second. The last picture stays."""

    def __init__(self) -> None:
        self._id = f"penstock-{uuid4().hex}"
        self._drawing = Drawing(Signs())
        self._frames: Frames | None = None
        self._ticker: Ticker | None = None
        self._drawn = ""

    def join(self, frames: Frames) -> None:
        """The run is drawn from now on."""
        self._frames = frames
        self._show(first=True)  # at once and in this thread: so it stands below the cell that runs
        self._ticker = Ticker(self._show, beat=0.5, pause=PAUSE, last=self._show)
        self._ticker.start()

    def leave(self, frames: Frames, words: Sequence[Line] = ()) -> None:
        """The run is drawn once more, and that stays; it needs no words."""
        if self._ticker is not None:
            self._ticker.stop(BRIEFLY)

    def _show(self, first: bool = False) -> None:
        if self._frames is None:
            return
        frame = self._frames.at(time.time(), ROOM)
        html = table(frame)
        if html == self._drawn:
            return
        self._drawn = html
        text = "\n".join(plain(line) for line in self._drawing.lines(frame, WIDE))
        display = sys.modules["IPython"].display
        tell = display.display if first else display.update_display
        tell({"text/html": html, "text/plain": text}, raw=True, display_id=self._id)


def table(frame: Frame) -> str:
    """A frame as HTML, which holds nothing of the run's but escaped text."""
    return "".join(_table(frame))


def _table(frame: Frame) -> Iterator[str]:
    yield (
        '<div style="font-size:13px;line-height:1.5;font-variant-numeric:tabular-nums;margin:4px 0">'
        f"<div><b>{_text(frame.flow)}</b> "
        f'<span style="color:{_COLOURS["dim"]}">{_text(frame.run_id)}&nbsp; {_text(frame.took)}</span>'
    )
    if frame.alert:
        yield f" {_span(('warn', frame.alert))}"
    yield '</div><div style="margin:2px 0 6px">'
    notes = " &nbsp;".join(_span(note) for note in (("", frame.left), *frame.notes) if note[1])
    yield f"{_bar(frame.bar, 260)}&nbsp; <b>{_text(frame.figures)}</b> &nbsp;{notes}</div>"
    yield '<table style="border-collapse:collapse;margin:0;color:inherit;font-size:inherit"><tbody>'
    signs = Signs()
    for entry in frame.entries:
        yield _row(entry, signs)
    yield "</tbody></table></div>"


def _row(entry: Entry, signs: Signs) -> str:
    left, right = _CELL.format(side="left"), _CELL.format(side="right")
    sign = "" if entry.status is None else _span((entry.style, signs.mark(entry.status)[1]))
    quiet = f"color:{_COLOURS['dim']}" if entry.deep or entry.style == "dim" else ""
    inner = [] if entry.bar is None else [_bar(entry.bar, 160) + "&nbsp; "]
    inner += [f"{_text(entry.figures)} &nbsp;"] if entry.figures else []
    inner.append(" &nbsp;".join(map(_span, entry.notes)))
    indent = ";padding-left:18px" if entry.deep else ""
    return (
        f'<tr style="background:none"><td style="{left}{indent}">{sign}&nbsp; '
        f'<span style="{quiet}">{_text(entry.name)}</span></td>'
        f'<td style="{right};color:{_COLOURS["dim"]}">{_text(entry.took)}</td>'
        f'<td style="{left}">{"".join(inner)}</td></tr>'
    )


def _bar(bar: Bar, wide: int) -> str:
    total = bar.total or 1.0
    parts = [("good", bar.good), ("dim", bar.skipped), ("bad", bar.bad)]
    if not bar.total:
        parts = [("good", 1.0)]
    done = min(100.0, 100 * sum(count for _, count in parts) / total)
    spans, left = [], 100.0
    for style, count in parts:
        share = min(left, max(100 * count / total, 1.0 if count else 0.0))
        left -= share
        if share > 0:
            colour = _COLOURS[style]
            spans.append(f'<span style="width:{share:.1f}%;background:{colour}"></span>')
    return (
        f'<span role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done:.0f}" '
        f'style="display:inline-flex;vertical-align:middle;width:{wide}px;height:6px;border-radius:3px;'
        f'overflow:hidden;background:rgba(128,128,128,.25)">{"".join(spans)}</span>'
    )


def _span(span: Span) -> str:
    style, text = span
    return f'<span style="color:{_COLOURS[style]}">{_text(text)}</span>' if style else _text(text)


def _text(text: str) -> str:
    return escape(one_line(text))
