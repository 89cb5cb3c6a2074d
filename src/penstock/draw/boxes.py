"""One box of a picture: how large it is, and its drawing. Every text in a picture passes `escaped`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from penstock.core.visible import one_line

from .chart import Box
from .looks import SIGNS, STATUSES
from .widths import cut, cut_short, width

_NAMES = 225  # the widest name
_SMALL = 225
_NOTES = 290  # the widest word of a failure
_SIDE = 14  # beside the words
_SIGN = 24  # room for the sign of a status
_STACK = 8  # below the box of a group, for the boxes behind it
_LEAST = 64
_LINE = 16
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def escaped(text: str) -> str:
    """A text as it may stand between tags and in attributes; what has no form there becomes visible."""
    if not (text.isascii() and text.isprintable()):
        lines = [one_line(line) for line in text.split("\n")]
        text = "\n".join(lines).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    return text.translate(_ESCAPES)


class Card(NamedTuple):
    """A box with its size and the words that fit in it.

    Attributes:
        width, height: Of all of it.
        name, small: Its words, cut.
        counts: Of a group or a mapped step: how many of each status, in the order of `STATUSES`.
        failures: What to say of those that failed.
    """

    width: int
    height: int
    name: str
    small: str
    counts: tuple[tuple[str, int], ...] = ()
    failures: str = ""


def card(box: Box) -> Card:
    """The size of a box."""
    name, small = box.name, box.small
    if not small and width(name, 13) > _NAMES and (parts := re.fullmatch(r"(.+)[./](.+)", name)):
        small, name = parts.groups()  # the step, and below it the sub-flow that it is of
    name, small = cut(name, 13, _NAMES), cut(small, 11, _SMALL)
    counts = _counts(box.standing.counts) if box.standing is not None else ()
    failures = _failures(box)
    side = _SIDE + (10 if box.shape in ("when", "gate") else 0)
    signs = _SIGN if box.standing is not None else 0
    words = max(
        width(name, 13),
        width(small, 11),
        width(failures, 11),
        sum(_count_width(number) for _, number in counts) - 10 if counts else 0,
    )
    wide = max(_LEAST, words + 2 * side + signs)
    high = 18 + _LINE + 14 * (bool(small) + bool(failures)) + (24 if counts else 0)
    high += _STACK if box.shape == "group" else 0
    return Card(wide + wide % 2, high, name, small, counts, failures)


def _counts(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Counts by the status that is drawn: what is ready has no look of its own."""
    found = dict.fromkeys(STATUSES, 0)
    for status, count in counts.items():
        found[looked(status)] += count
    return tuple((status, count) for status, count in found.items() if count > 0)


def looked(status: str) -> str:
    """The status as which one is drawn."""
    return status if status in SIGNS else "pending"


def _failures(box: Box) -> str:
    if box.failures:
        more = f" and {len(box.failures) - 2:,} more" if len(box.failures) > 2 else ""
        return cut(f"failed: {', '.join(box.failures[:2])}", 11, _SMALL - width(more, 11)) + more
    if box.standing is not None and box.shape != "group" and box.standing.note:
        return cut_short(one_line(box.standing.note.partition("\n")[0]), 11, _NOTES)
    return ""


def _count_width(count: int) -> int:
    return 13 + width(f"{count:,}", 11) + 10


# --- drawing ----------------------------------------------------------------------------------------------


def drawn_box(box: Box, one: Card, x: int, y: int) -> str:
    """The box at its place."""
    wide, high = one.width, one.height
    parts = []
    if box.shape == "group":
        high -= _STACK
        parts = [
            f'<rect class="pk-b" x="{x + inset}" y="{y + down}" width="{wide - 2 * inset}" height="{high}"'
            ' rx="8"/>'
            for inset, down in ((10, 8), (5, 4))
        ]
    parts.append(_outline(box.shape, x, y, wide, high))
    status = None if box.standing is None else looked(box.standing.status)
    left, center = x + _SIDE, status is None
    if status is not None:
        left += 10 if box.shape in ("when", "gate") else 0
        parts.append(signed(status, left + 8, y + 17))
        left += _SIGN
    row = y + 22
    at = f'class="pk-n pk-c" x="{x + wide // 2}"' if center else f'class="pk-n" x="{left}"'
    parts.append(f'<text {at} y="{row}">{escaped(one.name)}</text>')
    for text in (one.small, one.failures):
        if text:
            row += 14
            at = f'class="pk-s pk-c" x="{x + wide // 2}"' if center else f'class="pk-s" x="{left}"'
            parts.append(f'<text {at} y="{row}">{escaped(text)}</text>')
    if one.counts:
        side = left - x
        parts.append(_bar(one.counts, left, row + 7, wide - side - _SIDE))
        for state, count in one.counts:
            parts.append(signed(state, left + 5, row + 21, small=True))
            parts.append(f'<text class="pk-s" x="{left + 13}" y="{row + 25}">{count:,}</text>')
            left += _count_width(count)
    tip = f"<title>{escaped(box.tip)}</title>" if box.tip and box.tip != one.name else ""
    style = "pk-k" if status is None else f"pk-k pk-x pk-{status}"
    node = f' data-node="{box.nodes[0]}"' if len(box.nodes) == 1 and box.shape != "group" else ""
    return f'<g class="{style}"{node}>{tip}{"".join(parts)}</g>'


def _outline(shape: str, x: int, y: int, wide: int, high: int) -> str:
    if shape == "when":
        tip, middle = 10, high / 2
        return (
            f'<path class="pk-b" d="M{x} {y + middle:g}l{tip} {-middle:g}h{wide - 2 * tip}l{tip} {middle:g}'
            f'l{-tip} {middle:g}h{2 * tip - wide}z"/>'
        )
    round = high // 2 if shape == "gate" else 8
    return f'<rect class="pk-b" x="{x}" y="{y}" width="{wide}" height="{high}" rx="{min(round, 22)}"/>'


def signed(status: str, x: int, y: int, *, small: bool = False) -> str:
    """The sign of a status in its colour."""
    scale = " scale(.62)" if small else ""
    return (
        f'<g class="pk-{status}" transform="translate({x} {y}){scale}">'
        f'<circle class="pk-i" r="8"/><path class="pk-g" d="{SIGNS[status]}"/></g>'
    )


def _bar(counts: tuple[tuple[str, int], ...], x: int, y: int, wide: int) -> str:
    """A bar in parts as large as the counts; none is too small to be seen."""
    total = sum(count for _, count in counts)
    least = 3
    rest = wide - least * len(counts)
    parts = []
    at = float(x)
    for status, count in counts:
        part = least + rest * count / total
        parts.append(
            f'<rect class="pk-i pk-{status}" x="{at:.2f}" y="{y}" width="{max(part - 1, 1):.2f}" height="4"'
            ' rx="1.5"/>'
        )
        at += part
    return "".join(parts)
