"""One line of what is shown: of a step, of an item of a map, of a map as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from penstock.core import events
from penstock.core.model import Failure, NodeStatus

from .forecast import Forecast
from .marks import style_of
from .pace import Pace, about, per
from .page import Span, duration, many
from .rows import Items, Row, oldest
from .tally import Tally
from .words import asked, first, spoken, why

OLD = 1.0
"""Seconds after which one of many is worth a line of its own: of quick ones nobody could read it."""

SLOW = 2.0
"""Seconds that a step must usually take for it to be said how long it will."""

S = NodeStatus


class Bar(NamedTuple):
    """How much of something is done.

    Attributes:
        total: All of it.
        good, skipped, bad: What has ended, and how.
    """

    total: float
    good: float
    skipped: float = 0.0
    bad: float = 0.0


class Entry(NamedTuple):
    """One line.

    Attributes:
        status: What its sign shows; None for one without a sign.
        style: Of the sign.
        name: Of the step, the item or the group.
        took: For how long it runs, or ran.
        bar: How much of it is done.
        figures: The same in figures.
        notes: What else is to be said of it, in styles.
        deep: 1 for a line that belongs to the one above.
    """

    status: NodeStatus | None
    style: str
    name: str
    took: str = ""
    bar: Bar | None = None
    figures: str = ""
    notes: tuple[Span, ...] = ()
    deep: int = 0


class Entries:
    """Makes the lines of one run.

    Args:
        tally: What is known of it.
        forecast: How long it will take.
    """

    def __init__(self, tally: Tally, forecast: Forecast) -> None:
        self._tally = tally
        self._forecast = forecast
        self._paces: dict[tuple[str, Items | None], Pace] = {}

    def below(self, row: Row, now: float, most: int) -> Iterator[Entry]:
        """The items of a map that run for the longest time, and its latest failure."""
        if not row.known.ended:
            shown = [one for one in oldest(row.running, most) if now - one[1] >= OLD]
            again = oldest(row.retrying, most - len(shown)) if len(shown) < most else []
            failed = row.last_failed
            if failed is not None and len(shown) + len(again) >= most:
                shown = shown[: most - 1 - len(again)] if again else shown[: most - 1]
            for items, at in shown:
                yield self._item(row, items, now - at, now)
            for items, event in again[: most - len(shown) - (failed is not None)]:
                yield Entry(S.RETRYING, "warn", keys(items), notes=_again(event, now), deep=1)
            if failed is not None:
                yield Entry(S.FAILED, "bad", keys(failed[0]), notes=(("bad", first(failed[1])),), deep=1)

    # --- one line -----------------------------------------------------------------------------------------

    def of(self, row: Row, now: float) -> Entry:
        status = row.known
        if status is S.RUNNING and row.retrying and not row.running:
            status = S.RETRYING
        style = style_of(status)
        if status is S.FAILED and row.succeeded:
            style = "warn"  # some items only: the run may well go on without them
        took = ""
        if row.began is not None:
            over = row.known.ended and row.ended is not None
            took = duration(row.ended - row.began) if over and row.ended else seconds(now - row.began)
        if row.is_map:
            return self._map(row, Entry(status, style, row.id, took), now)
        return self._step(row, Entry(status, style, row.id, took), now)

    def _map(self, row: Row, entry: Entry, now: float) -> Entry:
        total = row.total
        if total is None:
            return entry
        notes: list[Span] = []
        if row.failed:
            notes.append(("bad", f"{row.failed:,} failed"))
        if row.retrying:
            notes.append(("warn", f"{len(row.retrying):,} retrying"))
        if row.waiting:
            notes.append(("warn", f"{len(row.waiting):,} waiting"))
        left = self.left(row, now)
        if left is not None:
            notes.append(("", f"{about(left)} left"))
        if not row.known.ended and row.done and self._tally.cancelling is None:  # skips are no pace
            pace = self._pace(row, None, row.began if row.began is not None else now)
            pace.look(now, row.done)
            rate = pace.rate(now, row.done)
            if rate is not None:
                notes.append(("dim", per(rate)))
        if row.running:
            notes.append(("busy", f"{len(row.running):,} running"))
        for number, word in ((row.cancelled, "cancelled"), (row.skipped, "skipped")):
            if number:
                notes.append(("dim", f"{number:,} {word}"))
        if row.known.ended:
            count = many(total, "item")
        elif row.is_growing:
            count = f"{row.done:,} of {total:,} so far"
        else:
            count = f"{row.done:,} of {many(total, 'item')}"
        bar = Bar(total, row.succeeded, row.skipped + row.cancelled, row.failed)
        return entry._replace(bar=bar, figures=count, notes=tuple(notes))

    def _step(self, row: Row, entry: Entry, now: float) -> Entry:
        status, trouble = entry.status, row.trouble
        if status is S.FAILED and trouble is not None:
            tries: tuple[Span, ...] = ()
            if row.attempts > 1:
                tries = (("dim", many(row.attempts, "attempt")),)
            return entry._replace(notes=(("bad", first(trouble)), *tries))
        if status is S.SKIPPED and row.skip is not None:
            return entry._replace(notes=(("dim", why(row.skip, self._tally)),))
        if status is S.RETRYING:
            for _, event in oldest(row.retrying, 1):
                return entry._replace(notes=_again(event, now))
        if status is S.WAITING:
            for _, open_gate in oldest(row.waiting, 1):
                return entry._replace(notes=_asks(open_gate, now))
        if status is S.RUNNING and () in row.running:
            return self._speaks(row, (), entry, now)
        if status is S.SUCCEEDED and row.attempts > 1:
            return entry._replace(notes=(("dim", many(row.attempts, "attempt")),))
        return entry

    def _item(self, row: Row, items: Items, took: float, now: float) -> Entry:
        return self._speaks(row, items, Entry(S.RUNNING, "busy", keys(items), seconds(took), deep=1), now)

    def _speaks(self, row: Row, items: Items, entry: Entry, now: float) -> Entry:
        """What something says that runs: how far it is, why it is tried again, what it logged last."""
        notes: list[Span] = []
        told, said = row.told.get(items), row.said.get(items)
        if told is not None:
            entry, left = self._told(row, items, told, entry, now)
        else:
            left = self.left(row, now) if not items else None
        if left is not None:
            notes.append(("", f"{about(left)} left"))
        elif told is None and not items and (usual := self._forecast.expected.get(row.id, 0.0)) >= SLOW:
            notes.append(("dim", f"usually {about(usual)}"))
        if not items and row.attempts > 1:
            notes.append(_tried(row.attempts, row.trouble))
        if told is not None and told.text:
            notes.append(("dim", told.text))
        if said is not None:
            notes.append(_logged(said))
        return entry._replace(notes=tuple(notes))

    def _told(
        self, row: Row, items: Items, told: events.Progressed, entry: Entry, now: float
    ) -> tuple[Entry, float | None]:
        began = row.running.get(items, now)
        pace = self._pace(row, items, began)
        pace.look(now, told.done)
        if not told.total:
            return entry._replace(figures=f"{figure(told.done)}" if told.done else ""), None
        left = pace.left(now, told.done, told.total, told.total / 50)
        return entry._replace(
            bar=Bar(told.total, min(told.done, told.total)),
            figures=f"{figure(told.done)} of {figure(told.total)}",
        ), left

    # --- how long -----------------------------------------------------------------------------------------

    def left(self, row: Row, now: float) -> float | None:
        """Seconds that a step which runs will still take, if that can be told."""
        if row.known.ended or row.began is None or self._tally.cancelling is not None:
            return None
        if row.is_map:
            total = row.total
            if total is not None and not row.is_growing and row.done:
                left = self._pace(row, None, row.began).left(now, row.done, total)
                if left is not None:
                    return left
        elif (told := row.told.get(())) is not None and told.total:
            pace = self._paces.get((row.id, ()))
            return None if pace is None else pace.left(now, told.done, told.total, told.total / 50)
        usual = self._forecast.expected.get(row.id)
        if usual is None or usual < SLOW or now - row.began >= usual:
            return None
        return usual - (now - row.began)

    def _pace(self, row: Row, items: Items | None, began: float) -> Pace:
        key = (row.id, items)
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) > 1_000:  # items come and go
                self._paces = {key: pace for key, pace in self._paces.items() if key[1] is None}
            pace = self._paces[key] = Pace(began)
        return pace


def _again(event: events.NodeRetrying, now: float) -> tuple[Span, ...]:
    wait = event.due - now
    when = f" in {seconds(wait)}" if wait > 0.05 else ""
    return (("warn", f"attempt {event.failure.attempt + 1}{when} after {first(event.failure)}"),)


def _tried(attempts: int, trouble: Failure | None) -> Span:
    after = f" after {first(trouble)}" if trouble is not None else ""
    return ("warn" if after else "dim", f"attempt {attempts}{after}")


def _asks(event: events.NodeWaiting, now: float) -> tuple[Span, ...]:
    if event.due is not None and not event.takes:
        return (("dim", f"goes on in {seconds(event.due - now)}"),)
    return (("warn", asked(event)),)


_LOUD = {"warning": "warn", "error": "bad", "critical": "bad"}


def _logged(said: events.Logged) -> Span:
    level = _LOUD.get(said.level)
    return (level or "dim", f"{said.level + ': ' if level else ''}{spoken(said)}")


def keys(items: Items) -> str:
    """Which item: ``[3]``, ``[north,3]``."""
    return f"[{','.join(map(str, items))}]"


def figure(number: float) -> str:
    """A number that counts something, as short as one reads it: ``1,204``, ``3.5``, ``12.4 M``."""
    if abs(number) >= 10_000_000:
        for size, word in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
            if abs(number) >= size:
                return f"{number / size:.1f} {word}"
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 100 else f"{number:.3g}"


def seconds(number: float) -> str:
    """As `duration`, without digits that would flicker."""
    return (
        f"{max(number, 0.0):.1f} s" if number < 9.95 else duration(float(round(number))).replace(".0 s", " s")
    )
