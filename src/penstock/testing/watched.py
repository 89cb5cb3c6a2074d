"""A runner of a run on a fake clock: it says what is under way, and lets faults strike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.core.commands import BEGAN, CANCELLED, ENDED, FAILED, PURE, TIMED
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work

from .faults import Decision, Faults, die
from .glue import is_glue, node_of
from .timeline import FLIGHT, Flight, Pace, Sleeper

_HERE = ("threads", "aio", "inline")  # their attempts are made in this process, and can be told of the clock


class _Held:
    """An attempt that is not made yet, or never will be."""

    def __init__(self, work: Work, decision: Decision) -> None:
        self.work = work
        self.decision = decision
        self.sleeper: Sleeper | None = None
        self.upto: int | None = None


class Watched:
    """Another runner, watched. What it does not know itself it leaves to that one.

    Attributes:
        pace: Of the run; given before the first attempt.
    """

    __slots__ = ("_faults", "_held", "_inner", "_mailbox", "pace")

    pace: Pace

    def __init__(self, inner: Any, faults: Faults | None) -> None:
        for name, value in (("_inner", inner), ("_faults", faults), ("_held", {})):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Watched.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._inner, name, value)

    @property
    def capacity(self) -> int:
        """Without the reserve of a pool of threads: an attempt that waits for a thread does not rest."""
        inner = self._inner
        capacity: int = inner.size if inner.name == "threads" and hasattr(inner, "size") else inner.capacity
        return capacity

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self.pace.begin()
        self._inner.open(mailbox, clock)

    def close(self) -> None:
        self.pace.end()
        self._held.clear()
        self._inner.close()

    def submit(self, work: Work) -> None:
        node, token = work[:2]
        flight = self.pace.take_off(node, token)
        decision = self._decide(node)
        if not decision.delay:
            self._go(work, decision, flight)
            return
        held = self._held[node, token] = _Held(work, decision)
        if work[6] & TIMED:
            self._mailbox.post((BEGAN, node, token, self.pace()))
        held.sleeper = self.pace.timeline.sleep(decision.delay, flight, lambda: self._due(held, flight))

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        if self._end_held(node, token):
            return
        self._inner.stop(node, token, timeout=timeout)
        flight = self.pace.flights.get((node, token))
        if flight is not None and flight.asleep and self._inner.name == "aio":
            flight.stir(asyncio.get_running_loop())  # it was cancelled, and will hear of it in a moment

    def abandon(self, node: int, token: int) -> None:
        if not self._end_held(node, token):
            self._inner.abandon(node, token)

    def go_on(self, node: int, token: int, upto: int) -> None:
        held = self._held.get((node, token))
        if held is not None:
            held.upto = upto
        else:
            self._inner.go_on(node, token, upto)

    def _decide(self, node: int) -> Decision:
        if self._faults is None:
            return Decision()
        state = self.pace.engine.machine.state
        path = state.path(node)
        attempt = len(state.failures.get(node, ())) + 1
        glue = is_glue(node_of(self.pace.engine, node))
        decision: Decision = self._faults.decide(path.node, str(path), attempt, glue=glue)
        return decision

    def _due(self, held: _Held, flight: Flight) -> None:
        """A delay is over. Whoever says so is in any thread; the run goes on in its own."""

        def go() -> None:
            node, token = held.work[:2]
            if self._held.pop((node, token), None) is None:
                return
            work = held.work
            self._go((*work[:6], work[6] & ~TIMED, *work[7:]), held.decision, flight)
            if held.upto is not None:
                self._inner.go_on(node, token, held.upto)

        if not held.sleeper or not held.sleeper.over:
            self.pace.released.append(go)
            self.pace.ring()

    def _go(self, work: Any, decision: Decision, flight: Flight) -> None:
        node, token, call, _, retry_on, _, kind = work[:7]
        if decision.error is not None:
            now = self.pace()
            failure = failure_of(decision.error, retry_on)
            self._mailbox.post((ENDED, node, token, FAILED, failure, None, now, now))
            return
        if decision.dies:
            work = (node, token, die, {}, retry_on, None, kind, *work[7:])
        elif self._inner.name in _HERE:
            work = (node, token, _in_flight(flight, call), *work[3:6], kind & ~PURE, *work[7:])
        self._inner.submit(work)

    def _end_held(self, node: int, token: int) -> bool:
        held = self._held.pop((node, token), None)
        if held is None:
            return False
        if held.sleeper is not None:
            self.pace.timeline.forget(held.sleeper)
        now = self.pace()
        self._mailbox.post((ENDED, node, token, CANCELLED, None, None, now, now))
        return True


def _in_flight(flight: Flight, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, during which the clock knows whose it is."""

    def call_in_flight(**arguments: Any) -> Any:
        FLIGHT.set(flight)
        try:
            return call(**arguments)
        finally:
            flight.left = True

    return call_in_flight
