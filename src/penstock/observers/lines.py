"""A run as plain lines with the time in front: for pipes, files and terminals without rich.

A step has a line for its start, its end and each retry; a mapped step a running count once a second, and less
and less often as it goes on. Of a run of very many steps there is one such count for all of them, and a line
for what goes wrong. So a log stays short enough to be read, however long a run is. Makes text only; it must
never write, for it is called in the run's own thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from penstock.core import events
from penstock.core.model import NodeStatus
from penstock.core.visible import one_line

from .pace import Pace, about, per
from .page import cut, duration, fill, many, width
from .rows import KEPT_FAILURES, Row
from .tally import Tally
from .words import asked, first, spoken, why

MOST = 500
"""Lines in one go; of more than that only what went wrong is shown."""

NAMES = 32
"""Cells for the names of the steps, at most."""

MANY = 200
"""Steps outside of maps; of more than that, starts and good ends are only counted."""

SELDOM = 30.0
"""Seconds between two counts of the same thing, at most."""

SILENCE = 60.0
"""Seconds after which it is said what goes on, if nothing else is: whoever waits shall know that it lives."""

_LOUD = ("warning", "error", "critical")

_Said = tuple[float, str, str, bool]


class Lines:
    """An observer that puts a run into lines.

    Args:
        tally: Folds the same events; it is called first.
        clock: Turns the run's time into a time of day; replaced in tests.
        pause: Seconds between two counts of one mapped step, at first.
        here: The run goes on in this process, where what its steps print and log is to be seen anyway.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        clock: Callable[[float], time.struct_time] = time.localtime,
        pause: float = 1.0,
        here: bool = False,
    ) -> None:
        self.tally = tally
        self._here = here
        self._clock = clock
        self._pause = pause
        self._said: deque[_Said] = deque()
        self._counted: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}
        self._many = sum(row.fan is None for row in tally.rows.values()) > MANY
        self._last = float("inf")  # when anything was said
        self._closed: set[str] = set()
        self._names = min(NAMES, max(map(width, tally.rows), default=0))
        self._tells: dict[type[Any], Callable[[Any], None]] = {
            events.RunStarted: self._run_started,
            events.RunResumed: self._run_resumed,
            events.NodeStarted: self._started,
            events.NodeExpanded: self._expanded,
            events.NodeSucceeded: self._ended,
            events.NodeFailed: self._failed,
            events.NodeRetrying: self._retrying,
            events.NodeSkipped: self._skipped,
            events.NodeCancelled: self._ended,
            events.NodeWaiting: self._waiting,
            events.Progressed: self._progressed,
            events.Logged: self._logged,
            events.CancelAsked: self._cancel_asked,
            events.RunFinished: self._run_finished,
        }
        self._now = 0.0

    def __call__(self, event: Any) -> None:
        self.tally(event)
        tell = self._tells.get(event.__class__)
        if tell is not None:
            tell(event)

    @property
    def pending(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._said)

    def pulse(self, now: float) -> None:
        """Says what goes on if nothing has been said for long; from the thread that shows the lines."""
        if now - self._last < SILENCE:
            return
        self.tally.look()
        busy = list(self.tally.busy.values())
        running = sorted((row.began, row.id) for row in busy if row.began is not None)
        if not running or self.tally.is_over:
            return
        told = [f"{id} ({duration(now - began)})" for began, id in running[:3]]
        more = f" and {len(running) - 3:,} more" if len(running) > 3 else ""
        self._say(now, "", f"still at {', '.join(told)}{more}")

    def drain(self) -> list[str]:
        """The lines since the last look."""
        said: list[_Said] = []
        while self._said:
            said.append(self._said.popleft())
        if len(said) > MOST:
            told = [one for one in said if one[3]][:MOST]
            rest = len(said) - len(told)
            said = [
                *told,
                (said[-1][0], "", f"and {many(rest, 'more event')} of which none went wrong", False),
            ]
        return [self._line(at, name, text) for at, name, text, _ in said]

    def _line(self, at: float, name: str, text: str) -> str:
        when, text = time.strftime("%H:%M:%S", self._clock(at)), one_line(text)
        if not name:
            return f"{when}  {text}"
        return f"{when}  {fill(cut(name, self._names), self._names)}  {text}"

    def _say(self, at: float, name: str, text: str, loud: bool = False) -> None:
        self._now = self._last = at
        self._said.append((at, name, text, loud))

    def _run_started(self, event: events.RunStarted) -> None:
        self._names = min(NAMES, max(map(width, self.tally.rows), default=0))
        self._say(event.at, "", f"run {event.run_id} of {event.flow}: {many(len(event.shape), 'step')}", True)

    def _run_resumed(self, event: events.RunResumed) -> None:
        done = [row for row in self.tally.rows.values() if row.finished]
        self._closed.update(row.id for row in done if row.fan is not None)
        word = "taken over from a process that died" if event.crashed else "goes on"
        self._say(event.at, "", f"{word}: {many(len(done), 'step')} done before", True)

    def _started(self, event: events.NodeStarted) -> None:
        row = self.tally.rows[event.path.node]
        if row.fan is None:
            if not self._many:
                more = "" if row.attempts == 1 else f", attempt {row.attempts}"
                self._say(event.at, row.id, f"started{more}")
        elif row.attempts == 1:
            self._counted[row.id] = event.at
            self._say(event.at, row.id, f"started, {_items(row)}")

    def _expanded(self, event: events.NodeExpanded) -> None:
        """A map that opens empty has no event of its own to end with."""
        fan = self.tally.rows[event.path.node].fan
        if not event.size:
            for row in self.tally.rows.values():
                if row.fan is fan and row.finished:
                    self._close(row, fan.source.ended or self._now if fan is not None else self._now)

    def _ended(self, event: events.NodeSucceeded | events.NodeCancelled) -> None:
        row = self.tally.rows[event.path.node]
        if row.fan is not None:
            self._count(row, event.ended)
        elif isinstance(event, events.NodeCancelled):
            left = f"; {event.abandoned.name} goes on by itself" if event.abandoned else ""
            self._say(event.ended, row.id, f"cancelled{left}", True)
        else:
            if self._many:
                self._count_all(event.ended)
                return
            how = "" if event.source == "run" else f" ({event.source})"
            took = event.ended - (row.began if row.began is not None else event.began)
            self._say(event.ended, row.id, f"succeeded in {duration(took)}{how}")

    def _failed(self, event: events.NodeFailed) -> None:
        row = self.tally.rows[event.path.node]
        if row.fan is None:
            took = duration(event.ended - (row.began if row.began is not None else event.began))
            self._say(event.ended, row.id, f"failed after {took}: {first(event.failure)}", True)
            return
        if row.failed <= KEPT_FAILURES:
            more = "; further failures are only counted" if row.failed == KEPT_FAILURES else ""
            self._say(event.ended, row.id, f"{event.path} failed: {first(event.failure)}{more}", True)
        self._count(row, event.ended)

    def _retrying(self, event: events.NodeRetrying) -> None:
        row = self.tally.rows[event.path.node]
        if row.fan is not None:
            self._count(row, event.ended)
            return
        failure, wait = event.failure, max(0.0, event.due - event.ended)
        text = f"attempt {failure.attempt} failed: {first(failure)}; the next in {duration(wait)}"
        self._say(event.ended, row.id, text, True)

    def _skipped(self, event: events.NodeSkipped) -> None:
        row = self.tally.rows[event.path.node]
        if self._many and row.fan is None:
            self._count_all(self._now)
        elif row.whole is NodeStatus.SKIPPED or row.fan is None:
            self._say(self._now, row.id, f"skipped: {why(event, self.tally)}")
        else:
            self._count(row, self._now)

    def _waiting(self, event: events.NodeWaiting) -> None:
        self._say(event.at, event.path.node, f"{event.path} {asked(event)}", True)

    def _progressed(self, event: events.Progressed) -> None:
        """Now and then how far a step is; of an item the map's count tells enough."""
        row = self.tally.rows[event.path.node]
        began = row.running.get(())
        if event.path.items or began is None:
            return
        now = time.time()
        if self._is_due(row.id, now, began):
            of = f" of {event.total:,g}" if event.total else ""
            text = f"  {event.text}" if event.text else ""
            self._say(now, row.id, f"{event.done:,g}{of}{text}")

    def _logged(self, event: events.Logged) -> None:
        if event.level == "debug" or (self._here and event.origin):
            return
        items = event.path.items
        whose = f"[{','.join(map(str, items))}] " if items else ""
        loud = event.level in _LOUD
        level = f"{event.level}: " if loud else ""
        self._say(event.at or self._now, event.path.node, f"{one_line(whose)}{level}{spoken(event)}", loud)

    def _cancel_asked(self, event: events.CancelAsked) -> None:
        reason = f" ({event.reason})" if event.reason not in ("", "interrupted") else ""
        self._say(event.at, "", f"cancelling{reason}: waiting for what runs; once more ends it at once", True)

    def _run_finished(self, event: events.RunFinished) -> None:
        for row in self.tally.rows.values():
            if row.fan is not None and row.done:
                self._close(row, event.at)
        took = event.at - (self.tally.began if self.tally.began is not None else event.at)
        self._say(event.at, "", f"run {self.tally.run_id} {event.status.value} in {duration(took)}", True)

    def _count(self, row: Row, at: float) -> None:
        self._now = at
        if row.finished:
            self._close(row, at)
        elif self._is_due(row.id, at, row.began):
            self._say(at, row.id, counted(row) + self._outlook(row, at))

    def _count_all(self, at: float) -> None:
        """How a run of very many steps stands."""
        self._now = at
        began = self.tally.began
        if not self._is_due("", at, began):
            return
        counts = self.tally.counts()
        done = sum(count for status, count in counts.items() if status.ended)
        text = f"{done:,} of {many(len(self.tally.rows), 'step')}"
        for status in (NodeStatus.FAILED, NodeStatus.SKIPPED, NodeStatus.RUNNING):
            if status in counts:
                text += f", {counts[status]:,} {status.value}"
        pace = self._paces.setdefault("", Pace(began if began is not None else at))
        pace.look(at, done)
        left = pace.left(at, done, len(self.tally.rows))
        self._say(at, "", text + (f", about {about(left)} left" if left is not None and left >= 10 else ""))

    def _is_due(self, name: str, at: float, began: float | None) -> bool:
        """Whether something is to be counted again: the longer it goes on, the more seldom."""
        pause = min(SELDOM, max(self._pause, 0.1 * (at - began if began is not None else 0.0)))
        if at - self._counted.setdefault(name, at) < pause:
            return False
        self._counted[name] = at
        return True

    def _outlook(self, row: Row, at: float) -> str:
        total = row.total
        pace = self._paces.setdefault(row.id, Pace(row.began if row.began is not None else at))
        pace.look(at, row.done)
        left = None if total is None or row.is_growing else pace.left(at, row.done, total)
        rate = pace.rate(at, row.done)
        if left is None or left < 10 or rate is None:
            return ""
        return f", {per(rate)}, about {about(left)} left"

    def _close(self, row: Row, at: float) -> None:
        if row.id not in self._closed:
            self._closed.add(row.id)
            took = f" in {duration(at - row.began)}" if row.began is not None else ""
            self._say(at, row.id, f"ended{took}: {counted(row)}")


def counted(row: Row) -> str:
    """``1,204 of 5,000 items, 5 failed, 2 skipped``; of a map that is over ``5,000 items, 5 failed``."""
    total = row.total
    if row.finished or total is None:
        text = many(row.done, "item")
    else:
        text = f"{row.done:,} of {many(total, 'item')}"
    for count, word in ((row.failed, "failed"), (row.skipped, "skipped"), (row.cancelled, "cancelled")):
        if count:
            text += f", {count:,} {word}"
    return text


def _items(row: Row) -> str:
    return many(row.total, "item") if row.total is not None else "its items as they come"
