"""One run's permits of limits that are wider than the run: asked for, held, and given back in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .commands import CANCELLED, ENDED, GONE, GRANTED, Reply
from .machine.state import READY, RETRYING, RUNNING, State
from .mailbox import Mailbox, silent
from .model import Node
from .ports import LOCAL
from .shared import Lease, Member, Registry

LOOK_AROUND = 1.0
"""Seconds after which a run that waits looks whether those who hold what it waits for can still let go."""


class LimitHeld(Exception):
    """What an attempt waits for is held by what was abandoned."""


class Permits:
    """What the attempts of one run hold, and wait for, of limits that all runs of the process share.

    Args:
        state: The run's state; read only.
        mailbox: Where grants are posted.
        registry: The limits.

    Raises:
        InputError: Another run knows one of the limits by other values.
    """

    __slots__ = (
        "_closed", "_leases", "_mailbox", "_member", "_refused", "_registry", "_since", "_state", "_tokens"
    )  # fmt: skip

    def __init__(self, state: State, mailbox: Mailbox, registry: Registry) -> None:
        self._state = state
        self._mailbox = mailbox
        self._registry = registry
        self._member: Member = registry.join(state.plan.graph.limits.values(), mailbox.ring, self._look)
        self._leases: dict[int, Lease] = {}  # by number: waited for, or held by an attempt not begun yet
        self._tokens: dict[tuple[int, int], Lease] = {}  # by attempt
        self._refused: dict[int, str] = {}  # by number: why it is not granted after all
        self._since: float | None = None  # when nothing was left to wait for but what was abandoned
        self._closed = False

    def acquire(self, i: int) -> None:
        """Asks for all that an attempt takes; the answer is a reply."""
        plan = self._state.plan
        self._refused.pop(i, None)
        granted = partial(self._mailbox.post, (GRANTED, i))
        lease = self._member.acquire(plan.wide[plan.node[self._state.site[i]]], granted)
        self._leases[i] = lease
        if lease.held:
            self._mailbox.replies.append((GRANTED, i))

    def lend(self, i: int, token: int, of: Node, call: Callable[..., Any], runner: str) -> Callable[..., Any]:
        """An attempt begins with what was granted to it; gives what its runner is to call.

        Raises:
            LimitHeld: Nothing was granted, and it is told so.
        """
        if i in self._refused:
            raise LimitHeld(self._refused.pop(i))
        lease = self._tokens[i, token] = self._leases.pop(i)
        if runner not in LOCAL:
            return call
        return lease.around(call, is_async=of.is_async, stream=of.stream)

    def resume(self, i: int, token: int) -> None:
        """A stream goes on, with what was granted to it since it paused."""
        if i in self._leases:
            self._tokens[i, token] = self._leases.pop(i)

    def tidy(self) -> None:
        """Gives back what ended and paused attempts held, and what was asked for in vain."""
        s = self._state
        for i, lease in list(self._leases.items()):
            if s.status[i] not in (READY, RETRYING) and i not in s.paused:
                del self._leases[i]
                lease.release()
        for (i, token), lease in list(self._tokens.items()):
            if (i, token) in s.lingering:
                if not lease.abandoned:
                    lease.abandon(self._name(i, token))
            elif not self._runs(i, token):
                del self._tokens[i, token]
                lease.release()

    def poll(self) -> None:
        """Takes what has become free, and gives up waiting for what never will."""
        if self._leases:
            self._registry.poll()
            self._give_up_waiting()

    def delay(self) -> float | None:
        """Seconds after which `poll` may bring something."""
        if not self._leases:
            return None
        delay = self._member.delay()
        if self._since is None:
            return delay
        left = max(0.0, self._since + self._state.grace - self._registry.now)
        return left if delay is None else min(delay, left)

    @property
    def waiting(self) -> bool:
        """Whether anything is waited for."""
        return bool(self._leases)

    def close(self) -> None:
        """The run is over, or lost. What goes on by itself keeps what it holds until it really ends."""
        if self._closed:
            return
        self._closed = True
        plan, site = self._state.plan, self._state.site
        late: dict[tuple[int, int], tuple[Lease, bool]] = {}
        for (i, token), lease in self._tokens.items():
            if (i, token) in self._state.lingering or self._runs(i, token):
                lease.abandon(self._name(i, token))
                late[i, token] = lease, plan.nodes[plan.node[site[i]]].is_async
        hear = Late(self._mailbox, late).hear if late else silent
        self._member.leave([lease for lease, _ in late.values()], hear)
        hear()

    def _runs(self, i: int, token: int) -> bool:
        s = self._state
        return s.status[i] == RUNNING and s.token[i] == token and i not in s.paused

    def _name(self, i: int, token: int) -> str:
        """How others are told of an attempt that goes on by itself."""
        s = self._state
        who = s.lingering.get((i, token)) or f"step {s.path(i)}"
        return f"{who} of run {s.begun.run_id}" if s.begun else str(who)

    def _look(self) -> None:
        """Has the run given up if it is lost."""
        if self._mailbox.lost():
            self._mailbox.bell()

    def _give_up_waiting(self) -> None:
        """As the machine does for limits of the run: if nothing goes on, and what was abandoned alone holds
        what is waited for, it gets the grace, and then those who wait are told."""
        s = self._state
        held: dict[int, str] = {}
        if s.free_total == s.slots_total and not s.asked:
            held = {
                i: who for i, lease in self._leases.items() if (who := lease.held_up()) and i not in s.paused
            }
        if not held:
            self._since = None
        elif self._since is None:
            self._since = self._registry.now
        elif self._registry.now >= self._since + s.grace:
            for i in held:
                self._leases.pop(i).release()
            self._since = None
            self._refused.update(held)
            self._mailbox.replies.extend((GRANTED, i) for i in held)


class Late:
    """Attempts that go on although their run is over, and what they hold until they end.

    Args:
        mailbox: The run's, at which nobody else listens any more.
        leases: By attempt: what it holds, and whether it is a task of the run's event loop.
    """

    __slots__ = ("_leases", "_mailbox")

    def __init__(self, mailbox: Mailbox, leases: dict[tuple[int, int], tuple[Lease, bool]]) -> None:
        self._mailbox = mailbox
        self._leases = leases
        mailbox.bell = self.hear

    def hear(self) -> None:
        """Gives back what belonged to those that have ended meanwhile; in any thread."""
        mailbox = self._mailbox
        mailbox.sleeping = True
        while mailbox.replies:
            try:
                reply = mailbox.replies.popleft()
            except IndexError:  # another thread was quicker
                break
            if _is_end(reply):
                self._release(reply[1], reply[2])
        if mailbox.lost():  # no task of it goes on
            for key, (_, is_async) in [*self._leases.items()]:
                if is_async:
                    self._release(*key)

    def _release(self, i: int, token: int) -> None:
        lease, _ = self._leases.pop((i, token), (None, False))
        if lease is not None:
            lease.release()


def _is_end(reply: Reply) -> bool:
    """Whether an attempt has really ended: it has not if it was only abandoned."""
    return reply[0] == GONE or (reply[0] == ENDED and not (reply[3] == CANCELLED and reply[4] is not None))
