"""Hands ready nodes their slots: highest rank first, within capacity, named limits all or none."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from ..commands import ACQUIRE, Command
from ..plan import GROUP, LIMITED
from ..queue import Queue, peek, pop, sort_all
from . import facts
from .alarms import RATE, RUN_GRACE
from .apply import start_plain, started
from .facts import Fact
from .queues import enqueue, order_key
from .state import READY, RETRYING, STOPPING, State


def dispatch(s: State, now: float, log: list[Fact], out: list[Command]) -> None:
    """Starts what is ready and has room, in order. Nothing is ready, free and idle afterwards."""
    while s.free_total > 0:
        runners = [r for r, queue in enumerate(s.ready) if queue and s.free[r] > 0]
        if not runners:
            return
        if s.slots_total >= sum(s.slots):  # the runners' own slots are all that binds: no need to interleave
            for runner in runners:
                fill(s, runner, s.free[runner], now, log, out)
            return
        runner = min(runners, key=lambda r: peek(s.ready[r]))
        fill(s, runner, 1, now, log, out)


def fill(s: State, runner: int, room: int, now: float, log: list[Fact], out: list[Command]) -> None:
    """Starts up to `room` nodes of one runner."""
    queue = s.ready[runner]
    status, flags = s.status, s.plan.flags
    plain: list[int] = []
    mapped = len(s.plan.levels) > 1
    waiting = len(queue.heap)
    if 1 < waiting <= room - len(queue.front):
        sort_all(queue)  # all of it will start: sorting once is cheaper than popping a heap
    while room > 0:
        front, heap = queue.front, queue.heap
        if front and not heap:
            i = front.pop()
        elif front or len(heap) > 1:
            i = pop(queue)
        elif heap:
            i = heap.pop()
        else:
            break
        if status[i] == READY:
            if not flags[i] & (LIMITED | GROUP):
                if not plain or plain[-1] != i:  # a replay leaves twins behind
                    plain.append(i)
                    room -= 1
            elif _fits(s, i, now, out):
                start_plain(s, plain, runner, now, log, out)  # they come first
                plain = []
                _start(s, i, now, log, out)
                room -= 1
        elif mapped and flags[i] & GROUP:
            start_plain(s, plain, runner, now, log, out)
            plain = []
            room = _fill_map(s, i, runner, room, now, log, out)
        elif _retries(s, i, now) and (not flags[i] & LIMITED or _fits(s, i, now, out)):
            start_plain(s, plain, runner, now, log, out)
            plain = []
            _start(s, i, now, log, out)
            room -= 1
    if plain:
        start_plain(s, plain, runner, now, log, out)


def start_slices(s: State, now: float, log: list[Fact], out: list[Command]) -> None:
    """Folds go first: what they have taken of their map can be let go, before more of it is made."""
    waiting, s.slices = s.slices, []
    for j in waiting:
        if s.status[j] != READY or not s.waits[j]:
            continue
        if s.free_total <= 0 or s.free[s.plan.runner_of[s.site[j]]] <= 0:
            s.slices.append(j)
        elif not s.plan.flags[s.site[j]] & LIMITED or _fits(s, j, now, out):
            _start(s, j, now, log, out)


def fill_one(s: State, heap: list[int], now: float, log: list[Fact], out: list[Command]) -> None:
    """As `fill`, for the one runner and the one node that a chain has at a time."""
    i = heap[0]
    if s.status[i] == READY and not s.plan.flags[i] & (LIMITED | GROUP):
        start_plain(s, heap, 0, now, log, out)
        heap.clear()
    else:
        fill(s, 0, min(s.free[0], s.free_total), now, log, out)


def _start(s: State, i: int, now: float, log: list[Fact], out: list[Command]) -> None:
    if s.granted:
        s.granted.discard(i)
    fact = (facts.STARTED, i, s.token[i] + 1, now)
    log.append(fact)
    started(s, fact)
    out.append(fact)


def _fill_map(
    s: State, head: int, runner: int, room: int, now: float, log: list[Fact], out: list[Command]
) -> int:
    """Starts items of the map with this outermost head; gives back the room that is left."""
    scope = s.plan.inner[head]
    top = s.opened[scope, 0]
    queue: Queue = top.queues[runner]
    status, site, flags = s.status, s.site, s.plan.flags
    plain: list[int] = []
    while room > 0 and (queue.front or queue.heap):
        key: Any = pop(queue)
        i = key if isinstance(key, int) else key[2]
        if status[i] == READY:
            if not flags[site[i]] & LIMITED:
                if not plain or plain[-1] != i:
                    plain.append(i)
                    room -= 1
                continue
        elif not _retries(s, i, now):
            continue
        if not flags[site[i]] & LIMITED or _fits(s, i, now, out):
            start_plain(s, plain, runner, now, log, out)
            plain = []
            _start(s, i, now, log, out)
            room -= 1
    start_plain(s, plain, runner, now, log, out)
    if queue:
        heappush(s.ready[runner].heap, head)
    else:
        top.listed[runner] = 0
    return room


def _retries(s: State, i: int, now: float) -> bool:
    return s.status[i] == RETRYING and s.due[i] <= now and s.stopping < STOPPING


def _fits(s: State, i: int, now: float, out: list[Command]) -> bool:
    """Whether all limits of a node are to be had; if not, it is parked at the first that is not.

    Nobody overtakes a node that is parked before it, or one that takes much would never start. One that is
    parked behind it is overtaken, but not for ever; see `Gauges`. Limits wider than the run are asked for
    first, and the node comes back when they are granted.
    """
    if s.plan.wide and not permitted(s, i, out):
        return False
    node = s.plan.node[s.site[i]]
    limits = s.plan.limits[node]
    for at, (name, weight) in enumerate(limits):
        gauge = s.gauges[name]
        key: Any = order_key(s, i)
        parked: list[Any] = gauge.parked
        while parked and not may_start(s, parked[0][2], now):
            heappop(parked)
        if gauge.fits(weight, now) and not (parked and parked[0] < key) and not s.gauges.keeps(name):
            continue
        heappush(parked, key)
        if node not in s.plan.wide:  # of what other runs hold nothing can be kept for it
            s.gauges.wait(i, name, limits)
        when = gauge.next_time(weight)
        if when is not None and parked[0] == key:  # those behind it are woken after it
            heappush(s.alarms, (when, RATE, s.names.index(name), 0))
        for earlier, _ in limits[:at]:  # it waits there no more: who waited behind it may go
            if s.gauges[earlier].parked:
                unpark(s, earlier, now)
        return False
    s.gauges.pass_by(i, limits)
    return True


def start_owed(s: State, i: int, now: float, log: list[Fact], out: list[Command]) -> None:
    """Starts the node that is owed its turn, if what is kept for it is enough by now."""
    if may_start(s, i, now):
        if s.free[s.plan.runner_of[s.site[i]]] <= 0 or not s.gauges.enough(now):
            return
        _start(s, i, now, log, out)
    for name in s.gauges.settle():
        unpark(s, name, now)


def permitted(s: State, i: int, out: list[Command]) -> bool:
    """Whether a node holds the limits wider than the run that it takes; if not, they are asked for."""
    if s.plan.node[s.site[i]] not in s.plan.wide or i in s.granted:
        return True
    if i not in s.acquiring:
        s.acquiring.add(i)
        out.append((ACQUIRE, i))
    return False


def may_start(s: State, i: int, now: float) -> bool:
    """Whether a node only waits for slots and limits."""
    return s.status[i] == READY or _retries(s, i, now)


def unpark(s: State, name: str, now: float) -> None:
    """Puts back in their queues as many parked nodes as a limit has room for."""
    if s.gauges.keeps(name):
        return
    gauge = s.gauges[name]
    parked: list[Any] = gauge.parked
    room = gauge.room(now)
    while parked:
        i = parked[0][2]
        if may_start(s, i, now):
            weight = dict(s.plan.limits[s.plan.node[s.site[i]]])[name]
            if weight > room:
                if gauge.count:  # it parks again at once, and then it is known when its time comes
                    heappop(parked)
                    enqueue(s, i)
                return
            room -= weight
            enqueue(s, i)
        heappop(parked)


def give_grace(s: State, now: float) -> None:
    """What runs after a stop, clean-up that starts later too, gets the grace and then is given up."""
    if s.grace_ends is None:
        s.grace_ends = now + s.grace
        heappush(s.alarms, (s.grace_ends, RUN_GRACE, 0, 0))
