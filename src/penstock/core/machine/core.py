"""The machine itself: replies in, facts written down, commands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from ..commands import Command, Reply
from ..model import RunOptions, RunStarted, RunStatus
from ..plan import Plan
from . import facts
from .alarms import DEADLINE, stale
from .apply import apply
from .decide import emit, listen, open_streams, pace_streams, ring, settle, watch_blocked
from .dispatch import dispatch, fill, fill_one, give_grace, start_owed, start_slices
from .facts import Fact
from .pace import allowance
from .recover import recover
from .state import STOPPING, State

if TYPE_CHECKING:
    from ..events import Event, RunResumed

_DEFAULTS = RunOptions()


class Machine:
    """One run of one plan, as rules without hands.

    Args:
        plan: What runs.
        options: How it runs; observers, values and context variables do not matter here.
        capacities: By runner: attempts that it takes at a time; a runner not named takes any number.

    Attributes:
        state: Where the run stands. Only `apply` changes it.
        log: Facts since the last `drain`.
    """

    __slots__ = ("_limited", "_single", "_streams", "log", "state")

    def __init__(
        self,
        plan: Plan,
        options: RunOptions = _DEFAULTS,
        capacities: Mapping[str, int] | None = None,
    ) -> None:
        self.state = State(plan, options, capacities)
        self.log: list[Fact] = []
        self._single = len(plan.runners) == 1
        self._streams = plan.has_streams
        self._limited = bool(plan.limits)

    def begin(self, event: RunStarted, override: Mapping[str, Any] | None = None) -> None:
        """Starts the run; nodes in `override` succeed at once with the value given."""
        emit(self.state, self.log, facts.BEGUN, event)
        if self.state.deadline is not None:
            heappush(self.state.alarms, (event.at + self.state.deadline, DEADLINE, 0, 0))
        for id, value in (override or {}).items():
            node = self.state.plan.index[id]
            source = facts.SOURCES.index("override")
            emit(self.state, self.log, facts.SUCCEEDED, node, 0, source, value, None, event.at, event.at)

    def step(self, replies: Sequence[Reply], now: float) -> list[Command]:
        """Takes in what has happened, records what follows, and says what is to be done.

        Args:
            replies: In the order in which they came.
            now: The run's clock, in seconds.
        """
        s, log = self.state, self.log
        out: list[Command] = []
        if replies:
            listen(s, replies, now, log, out)
        if s.arrived or s.maps or s.sweep:
            settle(s, now, log, out)
        if s.alarms and s.alarms[0][0] <= now:
            ring(s, now, log, out)
            settle(s, now, log, out)
        if self._streams and s.paused:
            pace_streams(s, now, log, out)
        if s.open:
            if s.free_total > 0:
                first = len(out)
                if s.slices:
                    start_slices(s, now, log, out)
                if self._limited and s.gauges.owed is not None:
                    start_owed(s, s.gauges.owed, now, log, out)
                if self._single:
                    queue = s.ready[0]
                    if queue.front or len(queue.heap) > 1:
                        room = s.free[0]
                        fill(s, 0, room if room < s.free_total else s.free_total, now, log, out)
                    elif queue.heap and s.free[0] > 0 and s.free_total > 0:
                        fill_one(s, queue.heap, now, log, out)
                else:
                    dispatch(s, now, log, out)
                if self._streams:
                    open_streams(s, out[first:], log)
                if s.stopping >= STOPPING and len(out) > first:
                    give_grace(s, now)
            if s.lingering:
                watch_blocked(s, now)
            else:
                s.blocked = False
        elif s.finished is None and s.begun is not None:
            ended = RunStatus.SUCCEEDED if s.cancelled is None else RunStatus.CANCELLED
            status = RunStatus.FAILED if s.failed else ended
            emit(s, log, facts.FINISHED, status.value, now)
        return out

    def allowance(self, stream: int) -> int | None:
        """The position up to which a running stream may produce now; None if that is no news to it."""
        return allowance(self.state, stream)

    def next_alarm(self) -> float | None:
        """When the machine wants to be stepped again even if nothing happens; None if it does not."""
        alarms = self.state.alarms
        while alarms and stale(self.state, alarms[0]):
            heappop(alarms)
        return alarms[0][0] if alarms else None

    def drain(self) -> list[Fact]:
        """The facts recorded since the last drain."""
        log = self.log
        self.log = []
        return log

    def event(self, fact: Fact) -> Event:
        """A fact in public words."""
        from .words import to_event

        return to_event(self.state, fact)

    def apply(self, event: Event) -> None:
        """Folds one event: replay, resume and a live run are this same path."""
        from .words import from_event

        apply(self.state, from_event(self.state, event))

    def recover(self, now: float, give_up: str = "") -> None:
        """Makes the machine live again after a replay; see `recover`."""
        recover(self.state, now, self.log, give_up)

    def resume(self, event: RunResumed) -> None:
        """Records that a replayed run goes on; `recover` comes next."""
        emit(self.state, self.log, facts.AGAIN, event)
