"""The timeline: what each step did when, and beneath it, on the same axis, how busy the run was.

Bars are pictures that are stretched to the width there is; every letter is outside of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import shapes
from .axis import WIDE, Axis, told
from .data import Level, Report
from .signs import in_order, look, proportions
from .text import Html, cut, escape, many, seconds
from .tracks import KINDS, Track, tracks

_LABEL = 60
_NARROW = 520
"""Pixels that the axis has at least."""

_LETTER = 6.6
"""Pixels of a letter of its labels."""

_KEYS = ("run", "failed", "stopped", "running", "undone", "queue", "wait", "pause", "gate")

_WORDS = {
    "run": "ran", "failed": "failed", "stopped": "cut off or cancelled", "running": "still runs",
    "undone": "done again later", "wait": "waited for a slot or limit", "queue": "waited in its runner",
    "pause": "pause before a retry", "gate": "gate open",
}  # fmt: skip


class Drawn(NamedTuple):
    """The timeline.

    Attributes:
        html: As markup.
        data: What the page's script needs to tell what is under the pointer.
    """

    html: Html
    data: dict[str, Any]


def timeline(report: Report) -> Drawn:
    """Draws it."""
    axis = Axis(report)
    rows = tracks(report)
    critical = _critical(report, rows)
    body = [_row(track, axis, critical[number]) for number, track in enumerate(rows)]
    ticks = list(axis.ticks())
    marks = "".join(f'<span style="left:{_left(at)}">{escape(label)}</span>' for at, label in _spaced(ticks))
    flags = _flags(axis)
    gaps = "".join(
        f'<div class="gap{" away" if gap.away else ""}" style="left:{_left(axis(gap.began))};'
        f'width:{max(axis(gap.ended) - axis(gap.began), 20) / 100:g}%"></div>'
        for gap in axis.gaps
    )
    lines = "".join(f'<i style="left:{_left(at)}"></i>' for at, _ in ticks)
    levels = _thinned(report.levels, axis)
    html = (
        f"{_legend(rows, bool(report.critical))}"
        '<div class="tl" tabindex="0" role="region" aria-label="Timeline: scrolls">'
        f'<div class="tl-in{" flagged" if flags else ""}">'
        f'<div class="over" aria-hidden="true">{lines}{gaps}</div>'
        '<div class="axis"><div class="lab" aria-hidden="true">elapsed</div>'
        f'<div class="trk">{flags}<div aria-hidden="true">{marks}</div></div></div>'
        f'<div class="rows">{"".join(body)}</div>{_busy(report, levels)}</div></div>'
    )
    data = {
        "axis": [
            [
                _ms(piece.began - axis.began),
                _ms(piece.ended - axis.began),
                round(piece.left),
                round(piece.right),
            ]
            for piece in axis.pieces
        ],
        "tracks": [_data(track, axis) for track in rows],
        "levels": [one for level in levels for one in level],
        "kinds": [_WORDS[kind] for kind in KINDS],
        "names": KINDS,
    }
    return Drawn(html, data)


# --- rows -------------------------------------------------------------------------------------------------


def _row(track: Track, axis: Axis, critical: Sequence[tuple[float, float]]) -> Html:
    high = shapes.height(track)
    title = f' title="{escape(track.label)}"' if len(track.label) > 24 else ""
    called = f'<b class="{look(track.status)}">{escape(cut(track.label, _LABEL))}</b>'
    number = sum(track.counts.values())
    if number:
        some = f"{len(track.steps):,} of " if len(track.steps) < number else ""
        called += f"<small>{some}{many(number, 'item' if track.head is not None else 'step')}</small>"
        if high > 40:
            called += proportions(track.counts, "Items")
    label = f'<div class="lab"{title}>{called}</div>'
    if track.head is not None:
        label = f'<a class="lab" href="#r{track.head}" data-r="{track.head}"{title}>{called}</a>'
    if track.bars:
        inside = (
            f'<svg viewBox="0 0 {WIDE} {high}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(_spoken(track, axis))}">'
            f"{shapes.bars(track, axis)}{shapes.critical(track, axis, critical)}</svg>"
        )
    else:
        inside = f"<em>{escape(_quiet(track))}</em>"
    return f'<div class="row" style="--h:{high}px">{label}<div class="trk">{inside}</div></div>'


def _quiet(track: Track) -> str:
    """Why nothing is drawn."""
    if track.band:
        return ", ".join(f"{count:,} {status}" for status, count in in_order(track.counts))
    reason = cut(track.steps[0][1].reason, 90)
    return f"{track.status}: {reason}" if reason else track.status


def _spoken(track: Track, axis: Axis) -> str:
    """A row for those who hear the page; its name is read to them before."""
    began = min(bar.began for bar in track.bars)
    ended = max(bar.ended for bar in track.bars)
    times = f"{seconds(began - axis.began)} to {seconds(ended - axis.began)}"
    tries = track.steps[0][1].tries if not track.band else 0
    return f"{track.status}, {times}" + (f", {tries} attempts" if tries > 1 else "")


def _critical(report: Report, rows: Sequence[Track]) -> list[list[tuple[float, float]]]:
    """For each row, when the critical path ran through it."""
    where = {step.path: number for number, track in enumerate(rows) for _, step in track.steps}
    for number, track in enumerate(rows):
        if track.head is not None:
            where.setdefault(track.label, number)
    found: list[list[tuple[float, float]]] = [[] for _ in rows]
    for leg in report.critical:
        if leg.path in where and leg.kind not in ("engine", "away") and leg.ended > leg.began:
            mine = found[where[leg.path]]
            if mine and leg.began - mine[-1][1] <= 0:
                mine[-1] = (mine[-1][0], leg.ended)
            else:
                mine.append((leg.began, leg.ended))
    return found


# --- how busy the run was ---------------------------------------------------------------------------------


def _thinned(levels: Sequence[Level], axis: Axis) -> list[tuple[int, int, int]]:
    """Levels by their place on the axis, one for each place: the busiest."""
    found: dict[int, tuple[int, int]] = {}
    for level in levels:
        at = axis(level.at) // 20 * 20 if len(levels) > 300 else axis(level.at)
        if at in found:
            running, queued = found[at]
            found[at] = (max(running, level.running), max(queued, level.queued))
        else:
            found[at] = (level.running, level.queued)
    if levels:
        found[WIDE] = (levels[-1].running, levels[-1].queued)
    return [(at, running, queued) for at, (running, queued) in sorted(found.items())]


def _busy(report: Report, levels: Sequence[tuple[int, int, int]]) -> Html:
    if not levels:
        return ""
    peak = max(running for _, running, _ in levels)
    queued = max(waiting for _, _, waiting in levels)
    workers = report.efficiency.workers if report.efficiency is not None else 0
    of = f" of {workers}" if workers and report.efficiency is not None and report.efficiency.known else ""
    most = max(peak, workers if of else 0, 1)
    limit = (
        f'<path class="limit" d="M0 {shapes.CHART - 2 - (shapes.CHART - 8) * workers / most:.4g}H{WIDE}"/>'
        if of
        else ""
    )
    charts = [_chart("running", f"peak {peak:,}{of}", "k-run", [(at, n) for at, n, _ in levels], most, limit)]
    if queued:
        charts.append(
            _chart("waiting", f"peak {queued:,}", "k-queue", [(at, n) for at, _, n in levels], queued, "")
        )
    return f'<div class="load">{"".join(charts)}</div>'


def _chart(name: str, note: str, kind: str, points: Sequence[tuple[int, int]], most: int, more: Html) -> Html:
    shape = shapes.area(points, most, shapes.CHART - 2, shapes.CHART - 8)
    return (
        f'<div class="row" style="--h:{shapes.CHART}px">'
        f'<div class="lab"><b>{name}</b><small>{escape(note)}</small></div>'
        f'<div class="trk"><svg viewBox="0 0 {WIDE} {shapes.CHART}" preserveAspectRatio="none" role="img" '
        f'aria-label="Attempts {name} over time: {escape(note)}">'
        f'<path class="{kind}" d="{shape}"/>{more}</svg></div></div>'
    )


# --- around them ------------------------------------------------------------------------------------------


def _legend(rows: Sequence[Track], critical: bool) -> Html:
    found = {bar.kind for track in rows for bar in track.bars}
    parts = [
        _key(f"s-{kind}", _WORDS[kind], 12 * shapes.THICK.get(kind, 1.0)) for kind in _KEYS if kind in found
    ]
    if critical:
        parts.append(_key("crit", "critical path", 2))
    return (
        f'<div class="tl-head"><ul class="legend keys">{"".join(parts)}</ul>'
        '<div class="tools zoom" hidden role="group" aria-label="Zoom of the timeline">'
        '<button type="button" data-zoom="out" aria-label="Zoom out">−</button>'
        '<button type="button" data-zoom="fit">Fit</button>'
        '<button type="button" data-zoom="in" aria-label="Zoom in">+</button></div></div>'
    )


def _key(kind: str, words: str, thick: float) -> Html:
    return (
        '<li><svg viewBox="0 0 240 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="{kind}" stroke-width="{thick:g}" d="M0 6h240"/></svg>{words}</li>'
    )


def _flags(axis: Axis) -> Html:
    """What the gaps are, above them, as far as there is room."""
    found = [((axis(gap.began) + axis(gap.ended)) // 2, told(gap), gap.away) for gap in axis.gaps]
    flags: list[Html] = []
    taken = 0
    for middle, words, away in found:
        left, right, side = _room(middle, words)
        if left >= taken:
            taken = right
            kind = f"flag{' away' if away else ''}{side}"
            flags.append(f'<b class="{kind}" style="left:{_left(middle)}">{escape(words)}</b>')
    return "".join(flags)


def _room(at: int, words: str) -> tuple[int, int, str]:
    """What a label takes on the narrowest axis, and the class of one that would stand over its end."""
    wide = round((len(words) * _LETTER + 8) / _NARROW * WIDE)
    if at < wide / 2:
        return at, at + wide, " l"
    if at > WIDE - wide / 2:
        return at - wide, at, " r"
    return at - wide // 2, at + wide // 2, ""


def _spaced(ticks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those ticks whose labels have room."""
    kept: list[tuple[int, str]] = []
    taken = 0
    for at, label in ticks:
        left, right, side = _room(at, label)
        if left >= taken and side != " r":
            taken = right
            kept.append((at, label))
    return kept


def _left(at: int) -> str:
    return f"{at / 100:g}%"


def _ms(value: float) -> int:
    return round(value * 1000)


def _data(track: Track, axis: Axis) -> dict[str, Any]:
    """A row for the page's script: its measures, and of each bar five numbers: by how much the row of the
    table and the beginning differ from those of the bar before, the lane, kind and attempt, and how long."""
    numbers: list[int] = []
    row = at = 0
    for bar in track.bars:
        if shapes.seen(bar, axis):
            began = _ms(bar.began - axis.began)
            kind = KINDS.index(bar.kind) + len(KINDS) * bar.attempt
            numbers += [bar.number - row, bar.lane, kind, began - at, _ms(bar.ended - axis.began) - began]
            row, at = bar.number, began
    return {"h": shapes.height(track), "p": shapes.pitch(track), "n": track.lanes, "b": numbers}
