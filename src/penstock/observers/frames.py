"""What is shown of a run at a moment, in as many lines as there are: chosen here, drawn elsewhere.

A frame costs what it shows, not what the run is made of. Where there is no line for each step, those that
have failed come first, then those that run, and all are counted in groups of names that look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from penstock.core.model import NodeStatus

from .entries import OLD, Bar, Entries, Entry, seconds
from .forecast import Expected, Forecast
from .groups import grouped
from .marks import style_of
from .pace import about
from .page import Span, many
from .rows import Group, Row
from .tally import BUSY, Tally

INNER = 3
"""Lines below a map, at most."""

S = NodeStatus


GAP = Entry(None, "", "")
"""An empty line."""


class Frame(NamedTuple):
    """All that is shown.

    Attributes:
        flow, run_id: What runs.
        took: For how long.
        alert: What is to be said of it before all else.
        bar: How much of it is done.
        figures: The same in figures.
        notes: How many steps are in which state.
        left: How long it will take.
        entries: The steps.
    """

    flow: str
    run_id: str
    took: str
    alert: str
    bar: Bar
    figures: str
    notes: tuple[Span, ...]
    left: str
    entries: list[Entry]


class Frames:
    """The frames of one run. One thread at a time asks for them.

    Args:
        tally: What is known of it.
        expected: How long its steps took before; see `Forecast`.
    """

    def __init__(self, tally: Tally, expected: Expected | Callable[[], Expected] | None = None) -> None:
        self._tally = tally
        self._forecast = Forecast(tally, expected)
        self._entries = Entries(tally, self._forecast)
        self._groups: list[Group] = []
        self._most = 0

    def at(self, now: float, room: int) -> Frame:
        """The frame of this moment.

        Args:
            now: The run's clock.
            room: Lines for the steps.
        """
        tally = self._tally
        counts = tally.counts()
        room = max(room, 1)
        entries = self._each(now, room) if len(tally.rows) <= room else self._folded(now, room)
        over = sum(count for status, count in counts.items() if status.ended)
        began = tally.began if tally.began is not None else now
        until = tally.ended if tally.ended is not None else now
        left = self._said(self._forecast.left(now, lambda row: self._entries.left(row, now)), now)
        steps = len(tally.rows)
        share = self._forecast.share(now) * steps
        failed, skipped = counts.get(S.FAILED, 0), counts.get(S.SKIPPED, 0)
        alert = "" if tally.cancelling is None else "cancelling; Ctrl-C again ends it at once"
        return Frame(
            tally.flow,
            tally.run_id,
            seconds(until - began),
            "" if tally.is_over else alert,
            Bar(steps, max(0.0, share - failed - skipped), skipped, failed),
            f"{over:,} of {many(steps, 'step')}",
            tuple(
                (self._style(status), f"{counts[status]:,} {status.value}")
                for status in (*BUSY, S.FAILED, S.CANCELLED, S.SKIPPED)
                if status in counts
            ),
            left,
            entries,
        )

    def _style(self, status: NodeStatus) -> str:
        partly = status is S.FAILED and all(row.succeeded for row in self._tally.broken.values())
        return "warn" if partly else style_of(status)

    def _said(self, left: float | None, now: float) -> str:
        if self._tally.cancelling is not None:
            return ""
        if left is not None:
            return f"about {about(left)} left"
        maps = [self._entries.left(row, now) for row in self._tally.busy.values() if row.is_map]
        known = [one for one in maps if one is not None]
        return f"at least {about(max(known))} left" if known and len(known) == len(maps) else ""

    # --- which lines --------------------------------------------------------------------------------------

    def _each(self, now: float, room: int) -> list[Entry]:
        """Every step, and below them what belongs to them as far as there is room."""
        spare = room - len(self._tally.rows)
        entries: list[Entry] = []
        for row in self._tally.rows.values():
            entries.append(self._entries.of(row, now))
            if spare and row.is_map:
                below = list(self._entries.below(row, now, min(spare, INNER)))
                entries += below
                spare -= len(below)
        return entries

    def _folded(self, now: float, room: int) -> list[Entry]:
        """What has failed, what runs, and all of them in groups."""
        tally = self._tally
        busy, broken = list(tally.busy.values()), list(tally.broken.values())
        groups = self._grouped(max(room // 2, 1)) if room >= 8 else []
        groups = [group for group in groups if group.only is None or group.status not in (*BUSY, S.FAILED)]
        if groups:  # they count what ends too soon to be read
            busy = [row for row in busy if row.is_map or not row.quiet or _age(row, now) >= OLD]
        failures = min(len(broken), max(1, room // 4, room - len(groups) - len(busy)))
        for_busy = min(len(busy), max(room - failures - len(groups), 1 if room > failures else 0))
        entries = list(self._some(broken[::-1], failures, "failed", now))
        busy.sort(key=lambda row: (not row.is_map, not row.retrying, -_age(row, now)))
        entries += self._some(busy, for_busy, "running", now)
        spare = room - len(entries) - len(groups)
        if spare > 0:
            entries = self._with_below(entries, now, spare)
        shown = [_of_group(group) for group in groups[: max(room - len(entries), 0)]]
        gap = [GAP] if entries and shown and len(entries) + len(shown) < room else []
        return [*entries, *gap, *shown]

    def _some(self, rows: list[Row], most: int, word: str, now: float) -> Iterator[Entry]:
        if most <= 0:
            return
        told = rows if len(rows) <= most else rows[: max(1, most - 1)]
        for row in told:
            yield self._entries.of(row, now)
        if len(told) < min(len(rows), most):
            yield Entry(None, "", "", notes=(("dim", f"and {len(rows) - len(told):,} more {word}"),))

    def _with_below(self, entries: list[Entry], now: float, spare: int) -> list[Entry]:
        found: list[Entry] = []
        for entry in entries:
            found.append(entry)
            row = self._tally.rows.get(entry.name)
            if row is not None and row.is_map and spare > 0:
                below = list(self._entries.below(row, now, min(spare, INNER)))
                found += below
                spare -= len(below)
        return found

    def _grouped(self, most: int) -> list[Group]:
        if most != self._most:
            self._most = most
            self._groups = grouped(self._tally.rows.values(), most)
            self._tally.moved = _move
        return self._groups


def _age(row: Row, now: float) -> float:
    return 0.0 if row.began is None else now - row.began


def _move(row: Row, was: NodeStatus) -> None:
    if row.group is not None:
        row.group.move(was, row.known)


def _of_group(group: Group) -> Entry:
    status = group.status
    style = style_of(status)
    failed, skipped = group.count(S.FAILED), group.count(S.SKIPPED, S.CANCELLED)
    if status is S.FAILED and group.count(S.SUCCEEDED):
        style = "warn"
    if group.only is not None:
        return Entry(status, style, group.name)
    notes: list[Span] = [("bad", f"{failed:,} failed")] if failed else []
    for status_, style_ in (
        (S.RETRYING, "warn"),
        (S.WAITING, "warn"),
        (S.RUNNING, "busy"),
        (S.SKIPPED, "dim"),
    ):
        if count := group.count(status_):
            notes.append((style_, f"{count:,} {status_.value}"))
    return Entry(
        status,
        style,
        group.name,
        bar=Bar(group.size, group.count(S.SUCCEEDED), skipped, failed),
        figures=f"{group.done:,} of {group.size:,}" if group.done < group.size else many(group.size, "step"),
        notes=tuple(notes),
    )
