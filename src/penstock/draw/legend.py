"""What the signs of a picture mean; only of those that are in it."""

from __future__ import annotations

from collections.abc import Sequence

from .boxes import looked, signed
from .chart import Chart
from .looks import STATUSES
from .widths import width

_SAMPLE = 34
_GAP = 22
_LINE = 22

_EDGES = {
    "use": ("value", '<path class="pk-e" d="M0 0H19"/><path class="pk-a" d="M18-4v8l8-4z"/>'),
    "each": ("each: once per item", '<path class="pk-t" d="M0 0H26M26-6L17 0 26 6"/>'),
    "gather": (
        "gather: all results",
        '<path class="pk-t" d="M0 0H19M0-6L9 0 0 6"/><path class="pk-a" d="M18-4v8l8-4z"/>',
    ),
    "outcome": (
        "outcome: also of a failure",
        '<path class="pk-e pk-o" d="M0 0H19"/><path class="pk-a" d="M18-4v8l8-4z"/>',
    ),
    "after": (
        "after: order only",
        '<path class="pk-e pk-d" d="M0 0H19"/><path class="pk-a" d="M18-4v8l8-4z"/>',
    ),
}
_SHAPES = {
    "when": ("has a condition", '<path class="pk-b" d="M0 0l5-7h16l5 7l-5 7h-16z"/>'),
    "gate": ("waits for an answer", '<rect class="pk-b" x="0" y="-7" width="26" height="14" rx="7"/>'),
    "group": (
        "several steps",
        '<rect class="pk-b" x="3" y="-3" width="20" height="11" rx="3"/>'
        '<rect class="pk-b" x="0" y="-7" width="26" height="12" rx="3"/>',
    ),
}

Entry = tuple[str, str, int]
"""Words, a sample, and how wide that is."""


def entries(shown: Chart) -> list[Entry]:
    """What is to be explained."""
    found: list[Entry] = []
    seen = set()
    for box in shown.boxes:
        if box.standing is not None:
            seen.add(looked(box.standing.status))
            seen.update(looked(status) for status, count in box.standing.counts.items() if count)
    found += [(status, signed(status, 8, 0), 22) for status in STATUSES if status in seen]
    kinds = {shown.kinds[kind] for _, _, kind in shown.edges}
    if kinds - {"use"}:
        found += [(*_EDGES[how], _SAMPLE) for how in _EDGES if how in kinds]
    shapes = {box.shape for box in shown.boxes}
    found += [(*_SHAPES[shape], _SAMPLE) for shape in _SHAPES if shape in shapes]
    return found


def drawn(entries: Sequence[Entry], wide: int) -> tuple[list[str], int]:
    """The legend in lines no wider than this if that can be, and how high it is."""
    x = line = 0
    parts = []
    for words, sample, taken in entries:
        need = taken + width(words, 11)
        if x and x + need > wide:
            x, line = 0, line + 1
        y = line * _LINE + _LINE // 2
        parts.append(
            f'<g transform="translate({x} {y})">{sample}'
            f'<text class="pk-s" x="{taken}" y="4">{words}</text></g>'
        )
        x += need + _GAP
    return parts, (line + 1) * _LINE if parts else 0
