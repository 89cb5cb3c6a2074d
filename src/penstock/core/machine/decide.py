"""The choices: replies and the time come in, facts and commands go out. Writes only through `apply`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any
from zlib import crc32

from .. import rules
from ..commands import (
    ABANDON,
    ANSWERED,
    ASKED,
    BEGAN,
    CANCELLED,
    DECIDE,
    DECIDED,
    ENDED,
    GO_ON,
    GONE,
    HURRIED,
    OK,
    RETURNED,
    STOP,
    STOP_RUN,
    STOP_TIMEOUT,
    TRIGGER,
    WHEN,
    YIELDED,
    Command,
    Reply,
)
from ..model import Failure, RetryPolicy
from ..plan import ALWAYS, GATE, LIMITED, STREAM
from . import facts, state
from .alarms import BLOCKED, DUE, GRACE, RATE, RUN_GRACE, TIMEOUT, stale
from .apply import apply, succeed_many, succeeded
from .dispatch import give_grace, unpark
from .facts import Fact
from .judge import because, verdict
from .queues import enqueue
from .state import CANCELLING, PENDING, READY, RETRYING, RUNNING, STOPPING, WAITING, State

Log = list[Fact]
_MANY = 4  # replies worth having everything at hand for
_BACKLOG = 2  # a stream may be ahead of its consumers by this many times their slots


def emit(s: State, log: Log, *fact: Any) -> None:
    """Records a fact and folds it."""
    log.append(fact)
    apply(s, fact)


def listen(s: State, replies: Sequence[Reply], now: float, log: Log, out: list[Command]) -> None:
    """Turns replies into facts, in their order."""
    token, status, late, limited = s.token, s.status, s.late, s.plan.limits
    flags, site, total = s.plan.flags, s.site, s.total
    at, many = 0, len(replies)
    while at < many:
        reply = replies[at]
        if (
            many - at > _MANY
            and reply[0] == ENDED
            and reply[1] < total
            and not (late or s.first or s.stopping)
        ):
            upto = succeed_many(s, replies, at, log)
            if upto > at:
                at = upto
                continue
        at += 1
        if reply[0] != ENDED:
            _HEAR[reply[0]](s, reply, now, log, out)
            continue
        i = reply[1]
        if token[i] != reply[2] or status[i] != RUNNING:
            continue  # late: another attempt, or the end of the run, has overtaken it
        if reply[3] == OK and not (late and i in late):
            log.append(reply)
            succeeded(s, reply)
        else:
            _ended_badly(s, reply, now, log)
        if limited and flags[site[i]] & LIMITED:
            _freed(s, i, now)


def _ended_badly(s: State, reply: Reply, now: float, log: Log) -> None:
    _, i, token, result, payload, _writes, began, ended = reply
    late = s.late.pop(i, None)
    if result == RETURNED:
        emit(s, log, facts.INTERRUPTED, i, token)
        return
    if late is not None:
        seconds = s.plan.nodes[s.plan.node[s.site[i]]].timeout
        limit = seconds.attempt if seconds is not None else 0.0
        again = s.plan.node[s.site[i]] in s.plan.retries_timeout
        gone = payload if result == CANCELLED else None
        failure = Failure(
            "timeout", "TimeoutError", f"no result after {limit:g} s", retryable=again, abandoned=gone
        )
    elif result == CANCELLED:
        if s.stopping >= STOPPING:
            emit(s, log, facts.CANCELLED, i, token, payload, began, ended)
            return
        failure = Failure(
            "cancelled", "CancelledError", "the step was cancelled, and not by this run", retryable=False
        )
    else:
        failure = payload
    attempt = len(s.failures.get(i, ())) + 1
    if failure.attempt != attempt:
        failure = failure.numbered(attempt)
    policy = s.plan.retry.get(s.plan.node[s.site[i]])
    if policy is None or not failure.retryable or attempt >= policy.max_attempts or s.stopping >= STOPPING:
        emit(s, log, facts.FAILED, i, token, failure, began, ended)
        return
    due = now + _delay(s, i, policy, attempt, failure)
    emit(s, log, facts.RETRYING, i, token, failure, due, began, ended)
    heappush(s.alarms, (due, DUE, i, 0))


def _delay(s: State, i: int, policy: RetryPolicy, attempt: int, failure: Failure) -> float:
    """Seconds to the next attempt. Jitter is a hash of (seed, path, attempt), so a replay waits as long."""
    delay = policy.get_delay(attempt)
    if policy.jitter == "full" and s.begun is not None:
        spread = crc32(f"{s.begun.seed}|{s.path(i)}|{attempt}".encode()) + 1
        delay *= spread / 2**32
    return max(delay, failure.retry_after or 0.0)


def _freed(s: State, i: int, now: float) -> None:
    for name, _ in s.plan.limits.get(s.plan.node[s.site[i]], ()):
        if s.gauges[name].parked:
            unpark(s, name, now)


def _began(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token, at = reply
    timeout = s.plan.nodes[s.plan.node[s.site[i]]].timeout
    if timeout is not None and s.token[i] == token and s.status[i] == RUNNING:
        heappush(s.alarms, (at + timeout.attempt, TIMEOUT, i, token))


def _yielded(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token, element = reply
    if s.token[i] != token or s.status[i] != RUNNING:
        return
    of, seen = s.counts.get(i, (token, 0))
    seen = seen if of == token else 0
    s.counts[i] = (token, seen + 1)
    if seen < len(s.streams.get(i, ())):
        return  # a stream that starts over drops what was had before
    emit(s, log, facts.YIELDED, i, token, seen, element)
    if i not in s.paused and backlog(s, i) >= _most_ahead(s, i):
        emit(s, log, facts.PAUSED, i, token)
        _freed(s, i, now)


def backlog(s: State, i: int) -> int:
    """Elements of a stream whose first step has not begun, for its slowest consumer."""
    most = 0
    for scope in s.plan.opens.get(s.site[i], ()):
        fan = s.opened[scope, s.row(i)]
        head = s.plan.levels[scope].head
        while fan.low < len(fan.rows) and s.status[fan.rows[fan.low] + head] not in (PENDING, READY):
            fan.low += 1
        most = max(most, len(fan.rows) - fan.low)
    return most


def _most_ahead(s: State, i: int) -> int:
    plan = s.plan
    if plan.node[s.site[i]] in plan.unbounded or s.site[i] not in plan.opens:
        return 1 << 60
    slots = 1 << 60
    for scope in plan.opens[s.site[i]]:
        head = plan.node[plan.levels[scope].base + plan.levels[scope].head]
        slots = min(slots, s.slots[plan.runner[head]], s.slots_total)
    return _BACKLOG * slots


def _decided(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, what, answer = reply
    if i not in s.asked:
        return
    s.asked.discard(i)
    if s.status[i] != PENDING or (i, what) in s.answers:
        return
    if s.stopping and not s.plan.flags[s.site[i]] & ALWAYS:
        s.arrived.append(i)  # the answer came too late to matter
    elif isinstance(answer, Failure):
        emit(s, log, facts.FAILED, i, 0, answer, now, now)
    else:
        emit(s, log, facts.DECIDED, i, what, answer)


def _answered(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, value = reply
    if s.status[i] == WAITING:
        emit(s, log, facts.SUCCEEDED, i, s.token[i], OK, value, None, now, now)


def _cancel_asked(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    if not s.cancelled and s.finished is None:
        emit(s, log, facts.CANCEL, reply[1], now)


def _gone(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token = reply
    if (i, token) in s.lingering:
        emit(s, log, facts.RELEASED, i, token)
        _freed(s, i, now)


def _hurried(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    if s.stopping >= STOPPING:
        heappush(s.alarms, (now, RUN_GRACE, 0, 0))


_HEAR: dict[int, Callable[[State, Reply, float, Log, list[Command]], None]] = {
    BEGAN: _began,
    YIELDED: _yielded,
    DECIDED: _decided,
    ANSWERED: _answered,
    ASKED: _cancel_asked,
    GONE: _gone,
    HURRIED: _hurried,
}


def ring(s: State, now: float, log: Log, out: list[Command]) -> None:
    """Sees to the alarms that are due."""
    while s.alarms and s.alarms[0][0] <= now:
        alarm = heappop(s.alarms)
        if stale(s, alarm):
            continue
        _, what, i, token = alarm
        if what == DUE:
            enqueue(s, i)
        elif what == TIMEOUT:
            if i not in s.late:
                s.late[i] = token
                out.append((STOP, i, token, STOP_TIMEOUT))
                heappush(s.alarms, (now + s.grace, GRACE, i, token))
        elif what == GRACE:
            out.append((ABANDON, i, token))
        elif what == RATE:
            unpark(s, s.names[i], now)
        elif what == BLOCKED:
            s.blocked = False
            _give_up_waiting(s, now, log)
        elif what == RUN_GRACE:
            s.grace_ends = None
            out += [(ABANDON, j, s.token[j]) for j in _all(s, RUNNING)]


def watch_blocked(s: State, now: float) -> None:
    """Abandoned attempts may hold limits for ever: if nothing else goes on, what waits for them is given up.

    They get the grace first, for most end a little after their time.
    """
    if s.free_total == s.slots_total and not (s.asked or s.blocked) and s.finished is None:
        s.blocked = True
        heappush(s.alarms, (now + s.grace, BLOCKED, 0, 0))


def _give_up_waiting(s: State, now: float, log: Log) -> None:
    if s.free_total < s.slots_total:
        return
    held = {name for i, _ in s.lingering for name, _ in s.plan.limits[s.plan.node[s.site[i]]]}
    who = ", ".join(s.lingering.values())
    for i in _all(s, READY):
        names = [name for name, _ in s.plan.limits.get(s.plan.node[s.site[i]], ()) if name in held]
        if names and s.status[i] == READY:
            text = f"limit {names[0]!r} is held by what was abandoned and does not end: {who}"
            failure = Failure("error", "LimitHeld", text, retryable=False)
            emit(s, log, facts.FAILED, i, 0, failure, now, now)


def sweep(s: State, now: float, log: Log, out: list[Command]) -> None:
    """The run was just stopped: tells what runs, and ends what does not."""
    s.sweep = False
    flags = s.plan.flags
    if s.stopping >= STOPPING:
        running = [i for i in _all(s, RUNNING) if not flags[s.site[i]] & ALWAYS]
        out += [(STOP, i, s.token[i], STOP_RUN) for i in running if i not in s.late]
        for i in _all(s, RETRYING):
            emit(s, log, facts.CANCELLED, i, s.token[i], None, now, now)
        give_grace(s, now)
    for i in _all(s, WAITING):
        emit(s, log, facts.CANCELLED, i, s.token[i], None, now, now)
    s.arrived += [i for i in _all(s, READY) if not flags[s.site[i]] & ALWAYS]
    s.arrived += [i for i in s.asked if not flags[s.site[i]] & ALWAYS]


def _all(s: State, status: int) -> list[int]:
    found, at = [], s.status.find(status)
    while at >= 0:
        found.append(at)
        at = s.status.find(status, at + 1)
    return found


def settle(s: State, now: float, log: Log, out: list[Command]) -> None:
    """Says what became of every node that needs more than a slot, until nothing follows any more."""
    swept = False
    while s.sweep or s.arrived or s.maps:
        if s.sweep:
            sweep(s, now, log, out)
            swept = True
        elif s.arrived:
            arrived, s.arrived = s.arrived, []
            for i in arrived:
                if s.sweep:
                    s.arrived.append(i)  # a failed condition has stopped the run meanwhile
                else:
                    _settle(s, i, now, log, out)
        else:
            maps, s.maps = s.maps, []
            for scope, row in maps:
                _open_map(s, scope, row, log)
    if swept:  # who was parked behind a node that is skipped now has nobody else to let it go
        for name, gauge in s.gauges.items():
            if gauge.parked:
                unpark(s, name, now)


def _settle(s: State, i: int, now: float, log: Log, out: list[Command]) -> None:
    flags = s.plan.flags[s.site[i]]
    if s.status[i] == READY:
        if not s.stopping or flags & ALWAYS:
            return
    elif s.status[i] != PENDING or s.waits[i]:
        return
    found = verdict(s, i)
    if found.move >= rules.SKIP_CONDITION:
        emit(s, log, facts.SKIPPED, i, found.move - rules.SKIP_CONDITION, because(s, i, found))
    elif found.move != rules.RUN:
        if i not in s.asked:
            s.asked.add(i)
            out.append((DECIDE, i, TRIGGER if found.move == rules.ASK_TRIGGER else WHEN))
    elif flags & GATE:
        emit(s, log, facts.WAITING, i, s.token[i] + 1, now)
    elif s.status[i] == PENDING:
        raise AssertionError(f"{s.path(i)} should be ready by itself")


def _open_map(s: State, scope: int, row: int, log: Log) -> None:
    """The source of a map has ended: its items are made, or all of its steps are skipped."""
    plan = s.plan
    level = plan.levels[scope]
    outer = plan.levels[level.parent]
    if (scope, row) in s.opened:
        return
    scopes = plan.graph.scopes
    source = row + outer.position[plan.index[plan.graph.nodes[scopes[scope].source].id]]
    if s.status[source] == state.SUCCEEDED:
        head = row + outer.position[plan.node[level.base + level.head]]
        emit(s, log, facts.EXPANDED, head, len(s.streams[source]))
        return
    cause, root = s.skips.get(source, (1, source))
    if s.status[source] == state.CANCELLED or (s.stopping and cause != 1):
        cause, root = 2, None if s.stopping == CANCELLING else s.culprit
    for node in sorted(level.position):
        if s.status[row + outer.position[node]] == PENDING:  # a crash may have come between two of them
            emit(s, log, facts.SKIPPED, row + outer.position[node], cause, root)


def pace_streams(s: State, now: float, log: Log, out: list[Command]) -> None:
    """Lets paused streams go on whose consumers have caught up, as far as there are slots."""
    for i, token in list(s.paused.items()):
        node = s.plan.node[s.site[i]]
        if s.status[i] != RUNNING or backlog(s, i) >= _most_ahead(s, i):
            continue
        if s.free_total <= 0 or s.free[s.plan.runner[node]] <= 0:
            continue
        fits = all(
            s.gauges[name].capacity is None or s.gauges[name].free >= weight
            for name, weight in s.plan.limits.get(node, ())
        )
        if fits:
            emit(s, log, facts.RESUMED, i, token, now)
            out.append((GO_ON, i, token))


def open_streams(s: State, fresh: list[Command], log: Log) -> None:
    """A stream that has just started opens its maps, which will grow with it."""
    for command in fresh:
        i = command[1]
        if s.plan.flags[s.site[i]] & STREAM:
            row = s.row(i)
            for scope in s.plan.opens.get(s.site[i], ()):
                if (scope, row) not in s.opened:
                    level = s.plan.levels[scope]
                    head = s.plan.node[level.base + level.head]
                    emit(s, log, facts.EXPANDED, row + s.plan.levels[level.parent].position[head], None)
