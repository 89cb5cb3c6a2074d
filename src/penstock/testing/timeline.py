"""The time of a test: who sleeps until when, which runs wait for it, and when it may move.

It never looks at a real clock but for one rule: what really runs is waited for, but not much longer than the
wait would really take.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from heapq import heapify, heappop, heappush
from typing import Any

from penstock.core.machine.state import RUNNING

_SETTLE = 1.0  # seconds that somebody who was woken gets to sleep again, where a run cannot wait for it
_LOOK_AROUND = 0.05  # seconds
_TURNS = 25  # of an event loop: what was woken has long reached the next thing that it waits for


class RunOver(BaseException):
    """Raised in a step that still sleeps on the clock when its run has ended without it."""


class RunStuck(AssertionError):
    """All that is left of a run waits, and nothing will ever wake it."""


class Flight:
    """One attempt, from the moment it is handed to its runner.

    Attributes:
        pace: Of its run.
        node, token: As the engine calls it.
        number: Its place in the order of starts.
        sleepers: What it sleeps on: several things, if it does them at once; none while it is awake.
        stirring: On its loop something was just done that may wake it, or put it to sleep again.
        woken: It has slept in a thread, which can be left behind.
        left: Its call has returned.
        hosts: Runs that were started within it and have not ended.
    """

    __slots__ = ("hosts", "left", "node", "number", "pace", "sleepers", "stirring", "token", "woken")

    def __init__(self, pace: Pace, node: int, token: int, number: int) -> None:
        self.pace = pace
        self.node = node
        self.token = token
        self.number = number
        self.sleepers: set[Sleeper] = set()
        self.stirring = self.woken = self.left = False
        self.hosts = 0

    @property
    def asleep(self) -> bool:
        """Whether nothing comes of it unless time moves, as far as can be seen."""
        return bool(self.sleepers) and not self.stirring

    def stir(self, loop: Any, turns: int = _TURNS) -> None:
        """Gives the tasks of the attempt some turns of their loop to get on, or to sleep again."""
        self.stirring = turns > 0
        if turns:
            loop.call_soon(self.stir, loop, turns - 1)
        else:
            self.pace.ring()


FLIGHT: ContextVar[Flight | None] = ContextVar("penstock_flight", default=None)


class Sleeper:
    """Somebody who is to be woken at a time.

    Attributes:
        due: When.
        wake: Wakes it; called once, by any thread.
        flight: The attempt that sleeps; None for somebody outside.
        over: It was woken because its run is over.
    """

    __slots__ = ("due", "flight", "order", "over", "wake")

    def __init__(self, due: float, order: int, flight: Flight | None, wake: Callable[[], None]) -> None:
        self.due = due
        self.flight = flight
        self.wake = wake
        self.over = False
        # Of those that are due at once the attempt that was started first is woken first, whoever slept
        # first: two threads that go to sleep do so in any order.
        self.order = (due, math.inf if flight is None else flight.number, order)

    def __lt__(self, other: Sleeper) -> bool:
        return self.order < other.order


class Timeline:
    """What a `FakeClock` shows.

    Attributes:
        now: Seconds.
        patience: Real seconds that what really runs gets at least, before time goes on without it.
        runs: Those that go on in this time.
        moved: By a real clock, when this one last moved.
    """

    def __init__(self, start: float, patience: float) -> None:
        self.now = start
        self.patience = patience
        self.runs: list[Pace] = []
        self.moved = time.monotonic()
        self.changed = threading.Condition(threading.RLock())
        self._sleepers: list[Sleeper] = []
        self._order = 0
        self._flights = 0

    def sleep(self, seconds: float, flight: Flight | None, wake: Callable[[], None]) -> Sleeper | None:
        """Notes that somebody sleeps; None if nobody else is there for whom time would have to move.

        Raises:
            RunOver: The attempt's run has ended.
        """
        with self.changed:
            if flight is not None and flight.pace not in self.runs:
                raise RunOver
            if not self.runs:
                self.move_to(self.now + seconds)
                return None
            self._order += 1
            sleeper = Sleeper(self.now + seconds, self._order, flight, wake)
            heappush(self._sleepers, sleeper)
            if flight is not None:
                flight.sleepers.add(sleeper)
            self.changed.notify_all()
            for pace in [flight.pace] if flight is not None else self.runs:
                pace.ring()
            return sleeper

    def forget(self, sleeper: Sleeper) -> None:
        """Somebody sleeps no more."""
        with self.changed:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapify(self._sleepers)
            if sleeper.flight is not None:
                sleeper.flight.sleepers.discard(sleeper)

    def next_due(self) -> float:
        """When somebody is to be woken, or a run's alarm rings."""
        dues = [pace.due for pace in self.runs if pace.due is not None]
        return min(self._sleepers[0].due if self._sleepers else math.inf, *dues, math.inf)

    def move_to(self, when: float) -> Sleeper | None:
        """Moves to a time, and wakes the first who is due; the others once that one rests again.

        The alarms of runs come first: if they rang while somebody wakes, chance would decide which is heard.
        """
        self.now = max(self.now, when)
        self.moved = time.monotonic()
        due = [pace for pace in self.runs if pace.due is not None and pace.due <= self.now]
        for pace in due:
            pace.ring()
        if not due and self._sleepers and self._sleepers[0].due <= self.now:
            return self._wake(heappop(self._sleepers))
        return None

    def advance_to(self, when: float) -> None:
        """Moves by hand, and wakes all who are due."""
        with self.changed:
            self.move_to(when)
            while self._sleepers and self._sleepers[0].due <= self.now:
                self._wake(heappop(self._sleepers))
            for pace in self.runs:
                pace.ring()

    def advance_here(self, seconds: float, flight: Flight) -> None:
        """Moves while nobody can wait: the attempt that sleeps holds up its own run.

        Those who are due before it are woken in their order, and get a moment to sleep again.
        """
        with self.changed:
            until = self.now + seconds
            while self._sleepers and self._sleepers[0].due <= until < math.inf:
                woken = self.move_to(self._sleepers[0].due)
                other = woken.flight if woken is not None else None
                if other is not None and other.pace.thread != flight.pace.thread:
                    self.changed.wait_for(lambda it=other: it.sleepers or it.left, _SETTLE)  # type: ignore[misc]
            if until == math.inf:
                raise RunStuck("a step sleeps for ever in the thread of its own run")
            self.move_to(until)

    def take_off(self, pace: Pace, node: int, token: int) -> Flight:
        with self.changed:
            self._flights += 1
            return Flight(pace, node, token, self._flights)

    def end(self, pace: Pace) -> None:
        """A run is over: who still sleeps in it is woken to hear so."""
        with self.changed:
            if pace in self.runs:
                self.runs.remove(pace)
            mine = [one for one in self._sleepers if one.flight is not None and one.flight.pace is pace]
            for sleeper in mine:
                self._sleepers.remove(sleeper)
                sleeper.over = True
            heapify(self._sleepers)
            for sleeper in mine:
                self._wake(sleeper)
            if not self.runs:  # nobody is left who would move time for those outside
                self.advance_to(
                    max([one.due for one in self._sleepers if one.due < math.inf], default=self.now)
                )

    def asleep(self, pace: Pace) -> Iterator[Flight]:
        for sleeper in sorted(self._sleepers):
            if sleeper.flight is not None and sleeper.flight.pace is pace:
                yield sleeper.flight

    def _wake(self, sleeper: Sleeper) -> Sleeper:
        if sleeper.flight is not None:
            sleeper.flight.sleepers.discard(sleeper)
        sleeper.wake()
        return sleeper


class Pace:
    """One run in the time of a test: it is the run's clock, and lets time move where the run only waits.

    Args:
        timeline: The time.
        engine: The run, before it begins.
        strict: It is an error if nothing is left that could end it.

    Attributes:
        due: When the run's next alarm rings, as far as it waits for it; None while it does not.
        thread: That of the engine.
    """

    def __init__(self, timeline: Timeline, engine: Any, *, strict: bool) -> None:
        self.timeline = timeline
        self.engine = engine
        self.strict = strict
        self.due: float | None = None
        self.thread = 0
        self.flights: dict[tuple[int, int], Flight] = {}
        self.released: list[Callable[[], None]] = []
        self._host: Flight | None = None
        engine.clock = self
        engine.skip = self.skip
        engine.longest_wait = _LOOK_AROUND

    def __call__(self) -> float:
        if threading.get_ident() == self.thread:
            self.due = None  # the run does something, whatever it waited for before
        return self.timeline.now

    def begin(self) -> None:
        """The run begins, in this thread."""
        if self in self.timeline.runs:
            return
        self.thread = threading.get_ident()
        self.engine.longest_wait = _LOOK_AROUND
        self._host = FLIGHT.get()
        with self.timeline.changed:
            if self._host is not None:
                self._host.hosts += 1
            self.timeline.moved = time.monotonic()
            self.timeline.runs.append(self)

    def end(self) -> None:
        """The run is over."""
        with self.timeline.changed:
            if self._host is not None:
                self._host.hosts -= 1
                self._host = None
            self.timeline.end(self)

    def ring(self) -> None:
        self.engine.mailbox.ring()

    def take_off(self, node: int, token: int) -> Flight:
        """An attempt is handed to its runner."""
        flight = self.flights[node, token] = self.timeline.take_off(self, node, token)
        return flight

    def skip(self, wait: float | None) -> bool:
        """Moves time if all rest; says whether the run has something to do now."""
        timeline = self.timeline
        if self.released:
            released, self.released = self.released, []
            for act in released:
                act()
            return True
        with timeline.changed:
            self.due = self._due(wait)
            if self.due <= timeline.now:
                return True
            due = timeline.next_due()
            if not all(pace.rests() for pace in timeline.runs):
                patience = max(due - timeline.now, timeline.patience)
                if due == math.inf or time.monotonic() - timeline.moved < patience:
                    return False
            elif due == math.inf:
                if self.strict and len(timeline.runs) == 1 and not self.engine.machine.state.acquiring:
                    raise RunStuck(self._stuck())
                return False
            timeline.move_to(due)
            return self.due <= timeline.now or bool(self.released)

    def rests(self) -> bool:
        """Whether nothing happens in the run unless time moves."""
        mailbox, state = self.engine.mailbox, self.engine.machine.state
        if self.due is None or not mailbox.sleeping or mailbox.replies or state.asked or self.released:
            return False
        return not any(self._flies(flight) for flight in list(self.flights.values()))

    def _flies(self, flight: Flight) -> bool:
        """Whether something may come of an attempt though time stands still."""
        state = self.engine.machine.state
        node, token = flight.node, flight.token
        if flight.asleep or flight.hosts:
            return False
        if state.status[node] == RUNNING and state.token[node] == token:
            return node not in state.paused
        if flight.woken and (not flight.left or (node, token) in state.lingering):
            return True  # a thread that was left behind and has something to do once more
        self.flights.pop((node, token), None)
        return False

    def _due(self, wait: float | None) -> float:
        if wait is None:
            return math.inf
        due = self.timeline.now + wait
        alarm = self.engine.machine.next_alarm()
        # the machine's own number, where it is meant: a sum may miss it by the last bit
        return alarm if alarm is not None and math.isclose(alarm, due, abs_tol=1e-9) else due

    def _stuck(self) -> str:
        paths = [str(self.engine.machine.state.path(one.node)) for one in self.timeline.asleep(self)]
        names = ", ".join(map(repr, paths)) or "something"
        return (
            f"run of {self.engine.plan.graph.name!r} waits for ever: {names} will never end by itself, "
            f"and no timeout or deadline ends it"
        )
