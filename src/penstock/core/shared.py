"""Limits of scope ``process``: shared by all runs of this process, taken before a run's own.

A request takes all that it asks for or nothing. At each limit it waits in a queue, and nobody overtakes.

What is asked for inside an attempt that holds something (by a run that a step has started) is another matter:
the attempt cannot end before its inner run does, so whoever works for it goes first, and may use what it
holds itself. That is counted once: the attempt only waits meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextvars import ContextVar
from functools import update_wrapper
from types import MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from .errors import InputError
from .limits import Gauge
from .model import Limit, LimitUse

LOOK_AROUND: Final = 0.5
"""Seconds between two looks for runs that cannot say any more that they are over."""

WAITING: Final = 0
HELD: Final = 1
OVER: Final = 2

HOLDING: ContextVar[Lease | None] = ContextVar("penstock_lease", default=None)
"""What the attempt around holds; see `Lease.around`."""


def _nothing() -> None:
    return None


def registry_of(clock: Callable[[], float] | None = None) -> Registry:
    """The limits shared by all runs of this process; or, of runs on a clock of their own, by all on that one.

    Args:
        clock: Seconds, as a test replaces them; None for the time that passes.
    """
    if clock is None:
        return _PROCESS
    if isinstance(clock, MethodType):  # each look at a method is another object: nothing to keep beside it
        return Registry(clock)
    known = _OTHERS.get(clock)
    if known is None:
        seen = ref(clock)  # the registry must not keep alive what it is kept beside

        def read() -> float:
            found = seen()
            assert found is not None  # whoever asks is a run, and has it
            return found()

        known = _OTHERS[clock] = Registry(read)
    return known


class Registry:
    """Limits by name, and who holds them and waits for them. For any thread.

    Args:
        clock: Seconds; one for all runs, for the rates to be theirs together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Begins anew: in a forked child the runs, and what they hold, are the parent's."""
        self._lock = threading.Lock()
        self._gauges: dict[str, _Shared] = {}
        self._inner: dict[tuple[Member, tuple[LimitUse, ...]], deque[Lease]] = {}
        self._left: set[Member] = set()  # runs that are over, while attempts of theirs go on
        self._abandoned: set[Lease] = set()
        self._looked = -LOOK_AROUND

    def join(
        self,
        limits: Iterable[Limit],
        wake: Callable[[], None] = _nothing,
        look: Callable[[], None] = _nothing,
    ) -> Member:
        """Begins a run that takes these limits; to be called where the run is, in the context of its caller.

        Args:
            limits: All that its nodes take of the process; others are passed over.
            wake: Called, in whatever thread, when `Member.delay` may say something else.
            look: Called, in whatever thread, for the run to see whether it can still go on.

        Raises:
            InputError: Another run that is going on knows one of them by other values.
        """
        member = Member(self, HOLDING.get(), wake, look)
        with self._lock:
            mine = [limit for limit in limits if limit.scope == "process"]
            for limit in mine:
                known = self._gauges.get(limit.name)
                if known is not None and known.limit != limit and known.members:
                    raise InputError(
                        f"two runs at the same time have a limit called {limit.name!r} of scope 'process', "
                        f"and they differ: {known.limit} and {limit}; give both one value, or two names"
                    )
            for limit in mine:
                known = self._gauges.get(limit.name)
                if known is None:
                    known = self._gauges[limit.name] = _Shared(limit)
                elif known.limit != limit:
                    known.change(limit)
                known.members.add(member)
        return member

    def poll(self) -> None:
        """Grants what has become free without a word: by the passing of time, or with a run that is lost."""
        now = time.monotonic()
        if now >= self._looked + LOOK_AROUND:
            self._looked = now
            with self._lock:
                members = self._left.union(*(shared.members for shared in self._gauges.values()))
            _look(members)
        with self._lock:
            granted = self._settle([*self._gauges])
        _tell(granted)

    @property
    def now(self) -> float:
        return self._clock()

    # What follows is for `Member` and `Lease`.

    def _acquire(self, member: Member, uses: Sequence[LimitUse], granted: Callable[[], None]) -> Lease:
        if self._left:
            with self._lock:
                members = [*self._left]
            _look(members)
        wanted = tuple(sorted((use for use in uses if use.limit.scope == "process"), key=_name))
        with self._lock:
            shares = [_Share(self._gauges[use.limit.name], use.weight) for use in wanted]
            lease = Lease(member, shares, granted)
            member.leases.add(lease)
            if not shares:
                lease.state = HELD
                return lease
            if member.inside is not None:
                for share in shares:
                    share.lender = _lender(member.inside, share.shared)
                self._inner.setdefault((member, wanted), deque()).append(lease)
            else:
                for share in shares:
                    share.shared.queue.append(lease)
            for share in shares:
                member.waits[share.shared] = member.waits.get(share.shared, 0) + 1
            told = self._settle([share.shared.limit.name for share in shares])
        _tell(one for one in told if one is not lease)
        return lease

    def _end(self, leases: Iterable[Lease]) -> None:
        with self._lock:
            names = []
            for lease in leases:
                if lease.state == HELD:
                    for share in lease.shares:
                        share.give_back()
                elif lease.state == WAITING:
                    lease.waits_no_more()
                names += [share.shared.limit.name for share in lease.shares]
                lease.state = OVER
                lease.member.leases.discard(lease)
                self._abandoned.discard(lease)
                if lease.member in self._left and not lease.member.leases:
                    self._left.discard(lease.member)
            told = self._settle(names)
            self._drop(names)
        _tell(told)

    def _leave(self, member: Member, keep: Collection[Lease]) -> None:
        self._end([lease for lease in member.leases if lease not in keep])
        with self._lock:
            if member.leases:
                self._left.add(member)
            for shared in self._gauges.values():
                shared.members.discard(member)
            self._drop([*self._gauges])

    def _drop(self, names: Iterable[str]) -> None:
        """Forgets limits that nobody uses, and that have nothing to remember."""
        for name in names:
            shared = self._gauges.get(name)
            if shared is not None and not (shared.members or shared.rate or shared.taken):
                del self._gauges[name]

    def _abandon(self, lease: Lease, who: str) -> None:
        with self._lock:
            if lease.state == HELD:
                lease.abandoned = who
                self._abandoned.add(lease)

    def _held_up(self, lease: Lease) -> str:
        if not self._abandoned or lease.state != WAITING:
            return ""
        with self._lock:
            for share in lease.shares:
                limit = share.shared.limit
                if limit.capacity is None or share.may_borrow():
                    continue
                held = [
                    (other.abandoned, part.weight)
                    for other in self._abandoned
                    for part in other.shares
                    if part.shared is share.shared and not part.borrowed
                ]
                if share.weight + sum(weight for _, weight in held) > limit.capacity:
                    who = ", ".join(sorted(name for name, _ in held))
                    return f"limit {limit.name!r} is held by what was abandoned and does not end: {who}"
        return ""

    def _delay(self, member: Member) -> float | None:
        if not member.waits:
            return None
        with self._lock:
            now = self._clock()
            heads = {_head(waiting) for (owner, _), waiting in self._inner.items() if owner is member}
            heads.update(_head(shared.queue) for shared in member.waits)
            times = [when for lease in heads if lease and (when := lease.due(now)) is not None]
            return max(0.0, min(times) - now) if times else None

    def _settle(self, names: Iterable[str]) -> list[Lease]:
        """Grants all that can be, of these limits and of what inner runs wait for."""
        now = self._clock()
        told: list[Lease] = []
        for key, waiting in [*self._inner.items()]:
            while (lease := _head(waiting)) is not None and lease.take(now):
                told.append(lease)
            if not waiting:
                del self._inner[key]
        todo = dict.fromkeys(names)
        while todo:
            shared = self._gauges.get(todo.popitem()[0])
            lease = _head(shared.queue) if shared is not None else None
            if lease is None:
                continue
            if lease.first() and lease.take(now):
                told.append(lease)
                todo.update(dict.fromkeys(share.shared.limit.name for share in lease.shares))
            elif lease.due(now) is not None:
                told.append(lease)  # now only time is in its way: its run must know, to look again then
        return told


class Member:
    """One run's part in a registry.

    Attributes:
        inside: What the attempt holds in which the run was started, if it holds anything.
        wake, look: See `Registry.join`.
        leases: What the run holds and waits for.
        waits: At which limits it waits, and how many times.
    """

    def __init__(
        self, registry: Registry, inside: Lease | None, wake: Callable[[], None], look: Callable[[], None]
    ) -> None:
        self.inside = inside
        self.wake = wake
        self.look = look
        self.leases: set[Lease] = set()
        self.waits: dict[_Shared, int] = {}
        self._registry = registry

    def acquire(self, uses: Sequence[LimitUse], granted: Callable[[], None]) -> Lease:
        """Asks for what one attempt takes, all or nothing; limits of a run's own are passed over.

        Args:
            uses: What the attempt takes.
            granted: Called when it is held, in whatever thread, unless that is so at once: see `Lease.held`.
        """
        return self._registry._acquire(self, uses, granted)

    def delay(self) -> float | None:
        """Seconds after which time alone may grant the run something, and `Registry.poll` does; None if
        nothing of it waits for time: then somebody gives something back, and tells."""
        return self._registry._delay(self)

    def leave(self, keep: Collection[Lease] = (), look: Callable[[], None] = _nothing) -> None:
        """Ends the run: it waits for nothing any more and holds nothing, but for what is still in use.

        Args:
            keep: Of attempts that go on: released when they end.
            look: See `Registry.join`; from now on.
        """
        self.wake, self.look = _nothing, look
        self._registry._leave(self, keep)


class Lease:
    """What one attempt holds, or waits for.

    Attributes:
        member: Whose attempt it is.
        shares: What it takes of each limit, in the order of their names.
        state: WAITING, HELD or OVER.
        abandoned: Who holds it, if that was abandoned and goes on by itself; otherwise empty.
    """

    __slots__ = ("__weakref__", "_granted", "abandoned", "member", "shares", "state")

    def __init__(self, member: Member, shares: list[_Share], granted: Callable[[], None]) -> None:
        self.member = member
        self.shares = shares
        self.state: int = WAITING
        self.abandoned = ""
        self._granted = granted

    @property
    def held(self) -> bool:
        """Whether it is held now."""
        return self.state == HELD

    def release(self) -> None:
        """Gives everything back, or stops waiting for it; a second time nothing happens. An inner run that
        still uses something of it goes on doing so: that much is given back by its end."""
        if self.state != OVER:
            self.member._registry._end((self,))

    withdraw = release

    def abandon(self, who: str) -> None:
        """Whose it is was abandoned: it may be held for ever, and others are to know by whom."""
        self.member._registry._abandon(self, who)

    def held_up(self) -> str:
        """By whom it will not be granted, if that is for what was abandoned alone; otherwise empty."""
        return self.member._registry._held_up(self)

    def around(
        self, call: Callable[..., Any], is_async: bool = False, stream: bool = False
    ) -> Callable[..., Any]:
        """The call of the attempt, for runs that are started in it to know what it holds.

        Args:
            call: What an attempt calls.
            is_async: It is awaited.
            stream: It gives an iterator, or an async iterator.
        """

        def plain(**arguments: Any) -> Any:
            HOLDING.set(self)
            return call(**arguments)

        async def coroutine(**arguments: Any) -> Any:
            HOLDING.set(self)
            return await call(**arguments)

        async def elements(**arguments: Any) -> AsyncIterator[Any]:
            HOLDING.set(self)
            made = call(**arguments)
            try:
                async for element in made:
                    yield element
            finally:
                close = getattr(made, "aclose", None)
                if close is not None:
                    await close()

        wrapper: Callable[..., Any] = elements if stream else coroutine
        return update_wrapper(wrapper if is_async else plain, call)

    def first(self) -> bool:
        """Whether nobody is before it at any of its limits."""
        return all(_head(share.shared.queue) is self for share in self.shares)

    def take(self, now: float) -> bool:
        """Takes everything, if it is all to be had now."""
        if not all(share.fits(now) for share in self.shares):
            return False
        for share in self.shares:
            share.take(now)
        self.waits_no_more()
        self.state = HELD
        return True

    def waits_no_more(self) -> None:
        """Takes it off what its run waits for."""
        waits = self.member.waits
        for share in self.shares:
            waits[share.shared] -= 1
            if not waits[share.shared]:
                del waits[share.shared]

    def due(self, now: float) -> float | None:
        """When the rates allow it; None if anything else is in its way."""
        if self.member.inside is None and not self.first():
            return None
        when = now
        for share in self.shares:
            if not share.has_permits(now):
                return None
            if share.shared.rate is not None:
                when = max(when, share.shared.rate.next_time(share.weight) or now)
        return when

    def tell(self) -> None:
        """Says that it is held now, or will be when its time has come."""
        if self.state == HELD:
            self._granted()
        else:
            self.member.wake()


class _Shared:
    """One limit: permits and starts, and who waits for them."""

    __slots__ = ("limit", "members", "permits", "queue", "rate", "taken")

    def __init__(self, limit: Limit) -> None:
        self.members: set[Member] = set()
        self.queue: deque[Lease] = deque()  # who waits, and some who do not any more: see `_head`
        self.taken = 0  # weight that is held, that of inner runs not counted
        self.rate: Gauge | None = None
        self.change(limit)

    def change(self, limit: Limit) -> None:
        """Takes on a value. It does not undo what has happened, nor what attempts still hold."""
        stamps = self.rate.stamps if self.rate is not None else ()
        self.limit = limit
        self.permits = Gauge(Limit(limit.name, limit.capacity)) if limit.capacity is not None else None
        self.rate = Gauge(Limit(limit.name, rate=limit.rate)) if limit.rate is not None else None
        if self.permits is not None:
            self.permits.free -= self.taken
        if self.rate is not None:
            self.rate.stamps.extend(stamps)


class _Share:
    """What one lease takes of one limit.

    Attributes:
        shared: The limit.
        weight: How much.
        lender: The share of an attempt around that may be used for it.
        borrowed: It was.
        lent: How much of it inner runs use.
        over: It is to be given back, as soon as nothing of it is lent.
    """

    __slots__ = ("borrowed", "lender", "lent", "over", "shared", "weight")

    def __init__(self, shared: _Shared, weight: int) -> None:
        self.shared = shared
        self.weight = weight
        self.lender: _Share | None = None
        self.borrowed = False
        self.lent = 0
        self.over = False

    def fits(self, now: float) -> bool:
        rate = self.shared.rate
        return self.has_permits(now) and (rate is None or rate.fits(self.weight, now))

    def has_permits(self, now: float) -> bool:
        permits = self.shared.permits
        return permits is None or self.may_borrow() or permits.fits(self.weight, now)

    def take(self, now: float) -> None:
        if self.shared.rate is not None:
            self.shared.rate.take(self.weight, now)
        self.borrowed = self.may_borrow()
        if self.borrowed and self.lender is not None:
            self.lender.lent += self.weight
            return
        self.shared.taken += self.weight
        if self.shared.permits is not None:
            self.shared.permits.take(self.weight, now)

    def give_back(self) -> None:
        self.over = True
        if self.lent:
            return
        if not self.borrowed:
            self.shared.taken -= self.weight
            if self.shared.permits is not None:
                self.shared.permits.give_back(self.weight)
        elif self.lender is not None:
            self.lender.lent -= self.weight
            if self.lender.over:
                self.lender.give_back()

    def may_borrow(self) -> bool:
        """An inner attempt that takes more than the one around holds goes alone: or it would never go."""
        lender = self.lender
        if lender is None or lender.over:
            return False
        return not lender.lent or lender.lent + self.weight <= lender.weight


def _lender(lease: Lease | None, shared: _Shared) -> _Share | None:
    """The nearest share of a limit around an attempt."""
    while lease is not None:
        for share in lease.shares:
            if share.shared is shared and lease.state == HELD:
                return share
        lease = lease.member.inside
    return None


def _head(queue: deque[Lease]) -> Lease | None:
    """Who is first in a queue; whoever does not wait any more is dropped here, not where it ended."""
    while queue and queue[0].state != WAITING:
        queue.popleft()
    return queue[0] if queue else None


def _name(use: LimitUse) -> str:
    return use.limit.name


def _tell(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.tell()


def _look(members: Iterable[Member]) -> None:
    for member in members:
        member.look()


_PROCESS = Registry()
_OTHERS: WeakKeyDictionary[Callable[[], float], Registry] = WeakKeyDictionary()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.forget)
