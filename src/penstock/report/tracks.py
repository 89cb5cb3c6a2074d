"""The rows of the timeline: which steps share one, and where each segment of time is drawn in it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from .data import Attempt, Report, Step, segments

_FAMILY = 8
"""Steps of one family (``align_1``, ``align_2``, …) that share a row, where there are many rows."""

_MANY_ROWS = 60
_MOST_ROWS = 90
_QUIET = 12
"""Steps without an attempt that have rows of their own."""

_LANES = 48
"""Lanes of a band that are drawn one by one; beyond, the band shows how many attempts ran."""

KINDS: Final = ("wait", "queue", "run", "failed", "stopped", "pause", "gate", "undone", "running")
"""What a bar shows; the page's script knows them by their position."""


class Bar(NamedTuple):
    """A segment of time of one attempt.

    Attributes:
        number: The row of the table that tells of its step.
        lane: Counted from the top.
        kind: One of `KINDS`.
        began, ended: From when to when, in seconds since 1970.
        attempt: Which attempt.
    """

    number: int
    lane: int
    kind: str
    began: float
    ended: float
    attempt: int


class Track(NamedTuple):
    """A row of the timeline.

    Attributes:
        label: What it is called.
        steps: Pairs (row of the table, step): one, or those that share the band.
        head: Row of the table that tells of all of them; None if none does.
        status: How they stand.
        bars: What is drawn.
        lanes: How many lanes there are.
        counts: How many of them have each status; empty of a single step.
    """

    label: str
    steps: tuple[tuple[int, Step], ...]
    head: int | None
    status: str
    bars: tuple[Bar, ...] = ()
    lanes: int = 1
    counts: Mapping[str, int] = {}

    @property
    def band(self) -> bool:
        """Whether many share it."""
        return bool(self.counts)

    @property
    def packed(self) -> bool:
        """Whether it has too many lanes for each to be drawn."""
        return self.lanes > _LANES


def tracks(report: Report) -> list[Track]:
    """The rows, in the order in which their first bars begin; what never began comes last."""
    made: list[Track] = []
    number = 0
    for step in report.steps:
        own, number = number, number + 1
        items = tuple(enumerate(step.items, number))
        number += len(items)
        if step.mapped:
            made.append(_band(step.path, items, own, step.status, dict(step.counts), report.ended))
        else:
            bars = tuple(_bars(own, step, report.ended, waits=True))
            made.append(Track(step.path, ((own, step),), own, step.status, bars))
    if len(made) > _MANY_ROWS:
        made = _families(made, report)
    if len(made) > _MOST_ROWS:
        made = _fewer(made, report)
    begun = [track for track in made if track.bars]
    quiet = [track for track in made if not track.bars]
    begun.sort(key=lambda track: min(bar.began for bar in track.bars))
    if len(quiet) > _QUIET:
        quiet = [_merged("never began", quiet, report)]
    return begun + quiet


def _bars(number: int, step: Step, until: float, *, waits: bool) -> Iterator[Bar]:
    for attempt in step.attempts:
        for segment in segments(attempt, until):
            if segment.doing == "wait" and not waits:
                continue  # in a map all that is left waits for a slot: the chart beneath shows how many do
            kind = _kind(attempt) if segment.doing == "run" else segment.doing
            yield Bar(number, 0, kind, segment.began, segment.ended, attempt.number)


def _kind(attempt: Attempt) -> str:
    if attempt.outcome == "running":
        return "running"
    if attempt.outcome == "failed":
        return "failed"
    if attempt.outcome in ("cancelled", "interrupted", "returned"):
        return "stopped"
    return "run" if attempt.counts else "undone"


def _band(
    label: str,
    steps: Sequence[tuple[int, Step]],
    head: int | None,
    status: str,
    counts: dict[str, int],
    until: float,
) -> Track:
    """Many steps in one row: each in the first lane that is free."""
    each = [list(_bars(number, step, until, waits=False)) for number, step in steps]
    each = sorted((bars for bars in each if bars), key=lambda bars: bars[0].began)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes, laid = 0, []
    for bars in each:
        while busy and busy[0][0] <= bars[0].began:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane, lanes = lanes, lanes + 1
        heappush(busy, (max(bar.ended for bar in bars), lane))
        laid += [bar._replace(lane=lane) for bar in bars]
    return Track(label, tuple(steps), head, status, tuple(laid), max(lanes, 1), counts)


def _families(made: list[Track], report: Report) -> list[Track]:
    """The same with one row for steps whose names differ only in a number at the end."""
    found: defaultdict[str, list[Track]] = defaultdict(list)
    for track in made:
        if not track.band and track.bars:
            found[_stem(track.label)].append(track)
    folded: set[int] = set()
    for stem, members in found.items():
        if stem and len(members) >= _FAMILY:
            folded.update(map(id, members))
            made = [*made, _merged(f"{stem}… × {len(members):,}", members, report)]
    return [track for track in made if id(track) not in folded]


def _stem(name: str) -> str:
    return re.sub(r"\d+$", "", name) if name[-1:].isdigit() else ""


def _fewer(made: list[Track], report: Report) -> list[Track]:
    """The rows that matter most: what failed, what the run waited for, what took longest."""
    begun = [track for track in made if track.bars]
    if len(begun) <= _MOST_ROWS:
        return made
    begun.sort(key=_weight, reverse=True)
    rest = [track for track in begun[_MOST_ROWS - 1 :] if not track.band]
    gone = set(map(id, rest))
    kept = [track for track in made if id(track) not in gone]
    return [*kept, _merged(f"{len(rest):,} shorter steps", rest, report)] if rest else kept


def _weight(track: Track) -> tuple[bool, bool, bool, float]:
    steps = [step for _, step in track.steps]
    return (
        track.band,
        any(step.status not in ("succeeded", "skipped") for step in steps),
        any(step.critical for step in steps),
        sum(bar.ended - bar.began for bar in track.bars),
    )


def _merged(label: str, members: Iterable[Track], report: Report) -> Track:
    steps = [pair for track in members for pair in track.steps]
    counts: defaultdict[str, int] = defaultdict(int)
    for _, step in steps:
        counts[step.status] += 1
    worst = next((status for status in ("failed", "running", "cancelled") if counts[status]), "")
    status = worst or max(counts, key=lambda one: counts[one])
    return _band(label, steps, None, status, {one: n for one, n in counts.items() if n}, report.ended)
