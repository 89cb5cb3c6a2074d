"""The axis of time that the timeline and what lies beneath it share.

Time in which nothing ran is folded where it is long, so that a night of waiting leaves room for the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from .data import Report
from .text import seconds

WIDE: Final = 10_000
"""Units of the axis from left to right."""

_FOLD = 450
_LONG = 0.12
"""Share of the active time from which on time without work is folded."""

_STEPS = (
    *(base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)), 10.0, 15.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0, 21600.0, 43200.0, 86400.0,
)  # fmt: skip
_TICKS = 8


class Piece(NamedTuple):
    """A stretch of time that is drawn to one scale.

    Attributes:
        began, ended: From when to when, in seconds since 1970.
        left, right: Where it is on the axis.
        folded: It takes less room than it would have to.
    """

    began: float
    ended: float
    left: float
    right: float
    folded: bool


class Gap(NamedTuple):
    """Time in which nothing ran.

    Attributes:
        began, ended: From when to when.
        away: Nobody drove the run; otherwise it waited.
        crashed: Its process had been cut off.
    """

    began: float
    ended: float
    away: bool
    crashed: bool = False


class Axis:
    """Maps times of a run to places from 0 to `WIDE`.

    Args:
        report: The run.

    Attributes:
        began, ended: What it spans.
        gaps: Time in which nobody drove the run, and other time without work that is folded.
        pieces: Its stretches, from left to right.
    """

    def __init__(self, report: Report) -> None:
        self.began = report.began
        self.ended = max(report.ended, report.began + 1e-6)
        found = sorted(_gaps(report, self.began, self.ended))
        busy = max(self.ended - self.began - sum(gap.ended - gap.began for gap in found), 1e-6)
        folded = [gap for gap in found if gap.ended - gap.began > busy * _LONG]
        self.gaps = [gap for gap in found if gap.away or gap in folded]
        self.pieces = self._laid(folded)

    def __call__(self, at: float) -> int:
        """Where a moment is."""
        for piece in self.pieces:
            if at <= piece.ended:
                share = (at - piece.began) / max(piece.ended - piece.began, 1e-9)
                return round(piece.left + max(share, 0.0) * (piece.right - piece.left))
        return WIDE

    def ticks(self) -> Iterator[tuple[int, str]]:
        """Round times since the beginning, and where they are; none in what is folded."""
        plain = [piece for piece in self.pieces if not piece.folded]
        busy = sum(piece.ended - piece.began for piece in plain)
        step = next((one for one in _STEPS if busy / one <= _TICKS), None)
        if step is None:
            step = 86_400.0 * max(1, round(busy / _TICKS / 86_400.0))
        for piece in plain:
            number = -(-(piece.began - self.began) // step)
            while (at := self.began + number * step) <= piece.ended:
                yield self(at), _label(number * step, step)
                number += 1

    def _laid(self, folded: list[Gap]) -> list[Piece]:
        fold = min(_FOLD, WIDE * 0.4 / len(folded)) if folded else 0.0
        marks = [self.began, *(one for gap in folded for one in (gap.began, gap.ended)), self.ended]
        spans = list(pairwise(marks))
        busy = sum(ended - began for began, ended in spans[::2])
        scale = (WIDE - fold * len(folded)) / max(busy, 1e-9)
        pieces, left = [], 0.0
        for number, (began, ended) in enumerate(spans):
            right = left + (fold if number % 2 else (ended - began) * scale)
            pieces.append(Piece(began, ended, left, right, bool(number % 2)))
            left = right
        return pieces


def _gaps(report: Report, began: float, ended: float) -> Iterator[Gap]:
    """Where nothing ran, without overlaps."""
    away = [
        Gap(max(before.ended, began), min(life.began, ended), True, life.crashed)
        for before, life in pairwise(report.lives)
    ]
    away = [gap for gap in away if gap.ended > gap.began]
    yield from away
    for level, following in pairwise(report.levels):
        if level.running or level.queued:
            continue
        start, end = max(level.at, began), min(following.at, ended)
        for gap in away:
            if gap.began < end and gap.ended > start:
                if gap.began > start:
                    yield Gap(start, gap.began, False)
                start = min(max(start, gap.ended), end)
        if end > start:
            yield Gap(start, end, False)


def _label(at: float, step: float) -> str:
    """A tick's time, as short as can be: ``250 ms``, ``12 s``, ``1:30 min``, ``2:15 h``, ``3 d``."""
    if not at:
        return "0"
    if step < 1:
        return f"{at * 1000:.4g} ms" if at < 1 else f"{at:.4g} s"
    whole = round(at)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min" if step < 60 else f"{whole // 60} min"
    if whole < 86_400:
        short = f"{whole // 3600}:{whole % 3600 // 60:02}"
        return f"{short}:{whole % 60:02} h" if step < 60 else f"{short} h"
    return f"{whole // 86_400} d" + (f" {whole % 86_400 // 3600} h" if whole % 86_400 else "")


def told(gap: Gap) -> str:
    """A gap in words."""
    if gap.away:
        return f"{'cut off' if gap.crashed else 'put down'}, {seconds(gap.ended - gap.began)} away"
    return f"nothing ran for {seconds(gap.ended - gap.began)}"
