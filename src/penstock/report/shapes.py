"""What is drawn in a row of the timeline. Bars are thick lines: a line takes half the room of a rectangle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from .axis import WIDE, Axis
from .text import Html
from .tracks import KINDS, Bar, Track

CHART: Final = 44
"""Height of a chart beneath the timeline."""

THICK: Final = {"wait": 0.5, "queue": 0.5, "pause": 0.17, "gate": 0.66}
"""What is thinner than the work itself, as a share of that."""

_ROW = 24
_PACKED = 56
_LEAST = 12
"""Units of the axis that work has at least: it was there, so it is seen."""

_DROPPED = 4
"""Units below which time in which nothing ran is not drawn."""


_MARKS = {
    "wait": (5, 6, '<circle {} cx="1.5" cy="1.5" r=".9"/><circle {} cx="4" cy="4.5" r=".9"/>'),
    "queue": (5, 5, '<path {} d="M-1 6L6-1M-1 1L1-1M4 6L6 4"/>'),
    "failed": (6, 6, '<path {} d="M0 0L6 6M6 0L0 6"/>'),
    "stopped": (6, 6, '<path {} d="M0 3H6"/>'),
    "gate": (5, 6, '<path {} d="M2.5 0V6"/>'),
    "undone": (4, 4, '<circle {} cx="2" cy="2" r=".9"/>'),
}
"""Of each patterned kind: width and height of a tile, and what is drawn in it."""


def patterns() -> Html:
    """What tells the kinds of time apart where colours do not. The script sets right how it is stretched."""
    made = "".join(
        f'<pattern id="p-{kind}" width="{wide}" height="{high}" patternUnits="userSpaceOnUse" '
        f'patternTransform="scale(10 1)"><rect class="b-{kind}" width="{wide}" height="{high}"/>'
        + mark.replace("{}", f'class="m-{kind}"')
        + "</pattern>"
        for kind, (wide, high, mark) in _MARKS.items()
    )
    return f'<svg class="defs" width="0" height="0" aria-hidden="true"><defs>{made}</defs></svg>'


def pitch(track: Track) -> float:
    """From one lane to the next; 0 if the lanes are not drawn one by one."""
    if track.packed:
        return 0.0
    return 12 if track.lanes <= 3 else 8 if track.lanes <= 8 else 5 if track.lanes <= 20 else 3


def height(track: Track) -> int:
    """Of the row."""
    if track.packed:
        return _PACKED
    return max(_ROW, round(track.lanes * pitch(track)) + 10) if track.band else _ROW


def seen(bar: Bar, axis: Axis) -> bool:
    """Whether it is wide enough to be drawn."""
    return bar.kind not in THICK or axis(bar.ended) - axis(bar.began) >= _DROPPED


def bars(track: Track, axis: Axis) -> Html:
    """The bars of a row, one path for each kind."""
    if track.packed:
        return _packed(track, axis)
    step = pitch(track)
    thick = 12.0 if not track.band else step - (2 if step >= 8 else 1 if step >= 5 else 0.5)
    top = (height(track) - track.lanes * step) / 2 + thick / 2 if track.band else _ROW / 2 - 1
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for one in track.bars:
        if seen(one, axis):
            paths[one.kind].append(_line(axis(one.began), axis(one.ended), top + one.lane * step))
    return "".join(
        f'<path class="s-{kind}" stroke-width="{max(thick * THICK.get(kind, 1.0), 1.5):.3g}" '
        f'd="{"".join(paths[kind])}"/>'
        for kind in KINDS
        if paths[kind]
    )


def critical(track: Track, axis: Axis, times: Sequence[tuple[float, float]]) -> Html:
    """A line under the bars where the critical path runs through the row."""
    if not times:
        return ""
    at = height(track) - (2 if track.band else 4)
    return (
        f'<path class="crit" d="{"".join(_line(axis(began), axis(ended), at) for began, ended in times)}"/>'
    )


def area(points: Iterable[tuple[int, int]], peak: int, floor: float, room: float) -> str:
    """A filled step function.

    Args:
        points: Pairs (place, count): from there on.
        peak: The count that takes all the room.
        floor: Where nothing is.
        room: From there up.
    """
    path: list[str] = []
    last = 0
    for at, count in points:
        top = f"V{floor - room * count / max(peak, 1):.1f}".replace(".0", "")
        path.append(f"H{at}{top}" if path else f"M{at} {floor:g}{top}")
        last = at
    return f"{''.join(path)}H{last}V{floor:g}Z" if path else ""


def _packed(track: Track, axis: Axis) -> Html:
    """How many of a band ran at a time, and, above, where attempts failed."""
    running = [bar for bar in track.bars if bar.kind not in ("queue", "pause", "wait")]
    steps: defaultdict[int, int] = defaultdict(int)
    for bar in running:
        left = axis(bar.began)
        steps[left] += 1
        steps[max(axis(bar.ended), left + 1)] -= 1
    points: list[tuple[int, int]] = []
    count, peak = 0, 1
    for at in sorted(steps):
        count += steps[at]
        peak = max(peak, count)
        points.append((at, count))
    bad = "".join(
        _line(axis(bar.ended) - 10, axis(bar.ended) + 10, 5) for bar in running if bar.kind == "failed"
    )
    shape = f'<path class="k-run" d="{area(points, peak, _PACKED - 6, _PACKED - 14)}"/>'
    return shape + (f'<path class="s-failed" stroke-width="6" d="{bad}"/>' if bad else "")


def _line(left: int, right: int, at: float) -> str:
    wide = max(right - left, _LEAST)
    return f"M{min(left, WIDE - wide)} {at:.4g}h{wide}"
