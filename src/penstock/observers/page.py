"""Lines of styled text, aligned by what a terminal really shows. Knows nothing of runs.

A span is a pair (style, text), a line a sequence of spans. The styles are words; what they look like is
decided here, once, for all that is shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from penstock.core.visible import one_line

Span = tuple[str, str]
Line = Sequence[Span]

ANSI = {"good": "32", "bad": "31", "busy": "36", "warn": "33", "dim": "2", "strong": "1"}
"""Styles as terminal codes: sixteen colours only, so that the user's own theme decides."""

RICH = {"good": "green", "bad": "red", "busy": "cyan", "warn": "yellow", "dim": "dim", "strong": "bold"}
"""The same, as rich calls them."""

_UNSEEN = ("Mn", "Me", "Cf")


def width(text: str) -> int:
    """Cells that a terminal needs for it."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in _UNSEEN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fill(text: str, cells: int, *, right: bool = False) -> str:
    """The text, with spaces up to that width; longer text stays as it is."""
    space = " " * (cells - width(text))
    return space + text if right else text + space


def cut(text: str, cells: int, more: str = "…") -> str:
    """The text, or as much of it as fits, with a sign that there was more."""
    if width(text) <= cells:
        return text
    room, kept = cells - width(more), ""
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + more if cells > width(more) else more[: max(cells, 0)]


def squeeze(text: str, cells: int, more: str = "…") -> str:
    """The same of a name: it is cut in its middle, for the end of a name tells as much as its beginning."""
    if width(text) <= cells:
        return text
    room = cells - width(more)
    if room < 6:
        return cut(text, cells, more)
    head = cut(text, room // 3, "").rstrip()
    room -= width(head)
    tail = ""
    for character in reversed(text):
        room -= _cells(character)
        if room < 0:
            break
        tail = character + tail
    return head + more + tail


def cut_line(line: Line, cells: int, more: str = "…") -> list[Span]:
    """The line as a screen may have it: no wider than that, and nothing in it that does more than show."""
    kept: list[Span] = []
    for style, raw in line:
        if cells <= 0:
            break
        text = one_line(raw)
        shown = cut(text, cells, more)
        kept.append((style, shown))
        if shown != text:
            break
        cells -= width(text)
    return kept


def plain(line: Line) -> str:
    """Without colours."""
    return "".join(text for _, text in line).rstrip()


def coloured(line: Line) -> str:
    """With terminal codes."""
    parts = [f"\x1b[{ANSI[style]}m{text}\x1b[0m" if style and text.strip() else text for style, text in line]
    return "".join(parts).rstrip()


def columns(rows: Iterable[Sequence[str]], right: Sequence[int] = (), gap: str = "  ") -> list[str]:
    """Rows of cells as aligned lines; the columns in `right` are aligned to the right."""
    table = [tuple(row) for row in rows]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    return [
        gap.join(
            fill(cell, widths[number], right=number in right) for number, cell in enumerate(row)
        ).rstrip()
        for row in table
    ]


def duration(seconds: float | None) -> str:
    """``< 1 ms``, ``345 ms``, ``3.2 s``, ``2 min 05 s``, ``1 h 02 min``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def many(count: int, one: str, more: str | None = None) -> str:
    """``1 step``, ``1,204 steps``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
