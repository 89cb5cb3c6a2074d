"""One run's permits of limits that are wider than the run: asked for, held, and given back in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .commands import GRANTED
from .machine.state import READY, RETRYING, RUNNING, State
from .mailbox import Mailbox
from .model import Node
from .shared import Lease, Member, Registry

LOCAL = ("aio", "inline", "threads")
"""Runners whose attempts are made in this process, where a run that a step starts can know what it holds."""


class Permits:
    """What the attempts of one run hold, and wait for, of limits that all runs of the process share.

    Args:
        state: The run's state; read only.
        mailbox: Where grants are posted.
        registry: The limits.

    Raises:
        InputError: Another run knows one of the limits by other values.
    """

    __slots__ = ("_leases", "_mailbox", "_member", "_registry", "_state", "_tokens")

    def __init__(self, state: State, mailbox: Mailbox, registry: Registry) -> None:
        self._state = state
        self._mailbox = mailbox
        self._registry = registry
        self._member: Member = registry.join(state.plan.graph.limits.values(), mailbox.ring)
        self._leases: dict[int, Lease] = {}  # by number: waited for, or held by an attempt not begun yet
        self._tokens: dict[tuple[int, int], Lease] = {}  # by attempt

    def acquire(self, i: int) -> None:
        """Asks for all that an attempt takes; the answer is a reply."""
        plan = self._state.plan
        granted = partial(self._mailbox.post, (GRANTED, i))
        lease = self._member.acquire(plan.wide[plan.node[self._state.site[i]]], granted)
        self._leases[i] = lease
        if lease.held:
            self._mailbox.replies.append((GRANTED, i))

    def lend(self, i: int, token: int, of: Node, call: Callable[..., Any], runner: str) -> Callable[..., Any]:
        """An attempt begins with what was granted to it; gives what its runner is to call."""
        lease = self._tokens[i, token] = self._leases.pop(i)
        if runner not in LOCAL:
            return call
        return lease.around(call, is_async=of.is_async, stream=of.stream)

    def resume(self, i: int, token: int) -> None:
        """A stream goes on, with what was granted to it since it paused."""
        if i in self._leases:
            self._tokens[i, token] = self._leases.pop(i)

    def tidy(self) -> None:
        """Gives back what ended and paused attempts held, and what was was asked for in vain."""
        s = self._state
        for i, lease in list(self._leases.items()):
            if s.status[i] not in (READY, RETRYING) and i not in s.paused:
                del self._leases[i]
                lease.release()
        for (i, token), lease in list(self._tokens.items()):
            runs = s.status[i] == RUNNING and s.token[i] == token and i not in s.paused
            if not runs and (i, token) not in s.lingering:
                del self._tokens[i, token]
                lease.release()

    def poll(self) -> None:
        """Takes what the passing of time has made free."""
        if self._leases:
            self._registry.poll()

    def delay(self) -> float | None:
        """Seconds after which `poll` may bring something."""
        return self._member.delay() if self._leases else None

    @property
    def waiting(self) -> bool:
        """Whether anything is waited for."""
        return bool(self._leases)

    def close(self) -> None:
        """The run is over."""
        self._member.leave()
