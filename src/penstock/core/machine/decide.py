"""The choices: replies and the time come in, facts and commands go out. Writes only through `apply`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
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
    FOLDED,
    GO_ON,
    GONE,
    GRANTED,
    HURRIED,
    IDLED,
    KEYED,
    OK,
    RETURNED,
    ROOM,
    START,
    STOP,
    STOP_RUN,
    STOP_TIMEOUT,
    TRIGGER,
    WHEN,
    YIELDED,
    Command,
    Reply,
)
from ..model import Abandoned, Failure, RetryPolicy
from ..plan import ALWAYS, GATE, JUDGED, LIMITED, STREAM
from . import facts, state
from .alarms import BLOCKED, DEADLINE, DUE, GRACE, RATE, RUN_GRACE, TIMEOUT, TOTAL, stale
from .apply import apply, pour, succeed_many, succeeded
from .dispatch import give_grace, may_start, permitted, unpark
from .facts import Fact
from .gates import opened, over
from .judge import because, verdict
from .pace import caught_up, too_far
from .queues import enqueue
from .state import CANCELLING, PENDING, READY, RETRYING, RUNNING, STOPPING, WAITING, Fan, State

Log = list[Fact]
_MANY = 4  # replies worth having everything at hand for
BULK = 16  # rows worth skipping as one


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
        if reply[0] != ENDED:
            if reply[0] == YIELDED:
                at = _pour(s, replies, at, now, log)
                continue
            at += 1
            _HEAR[reply[0]](s, reply, now, log, out)
            continue
        at += 1
        i = reply[1]
        if token[i] != reply[2] or status[i] != RUNNING:
            continue  # late: another attempt, or the end of the run, has overtaken it
        if reply[3] == OK and not (late and i in late and not _in_time(s, reply, late[i])):
            late.pop(i, None)
            log.append(reply)
            succeeded(s, reply)
        else:
            _ended_badly(s, reply, now, log)
        if limited and flags[site[i]] & LIMITED:
            _freed(s, i, now)


def _in_time(s: State, reply: Reply, late: str) -> bool:
    """Whether an attempt had ended before its time was over, and only the news of it came late."""
    i, began, ended = reply[1], reply[6], reply[7]
    timeout = s.plan.nodes[s.plan.node[s.site[i]]].timeout
    if timeout is None or late == "idle" or reply[3] == CANCELLED:
        return False
    if timeout.attempt is not None and ended >= began + timeout.attempt:
        return False
    total = timeout.total
    return total is None or bool(ended < s.first.get(i, float(began)) + total)


def _ended_badly(s: State, reply: Reply, now: float, log: Log) -> None:
    _, i, token, result, payload, _writes, began, ended = reply
    late = s.late.pop(i, None)
    if late is not None and _in_time(s, reply, late):
        late = None
    if result == RETURNED:
        emit(s, log, facts.INTERRUPTED, i, token)
        return
    gone = None
    if result == CANCELLED and payload is not None:
        gone = Abandoned(payload[0], str(s.path(i)), payload[1])
    if late is not None:
        failure = _timed_out(s, i, late, gone)
    elif result != CANCELLED:
        failure = payload
    elif s.stopping < STOPPING:
        text = "the step was cancelled, and not by this run"
        failure = Failure("cancelled", "CancelledError", text, retryable=False)
    elif s.expired and not s.plan.flags[s.site[i]] & ALWAYS:
        text = f"the run's deadline of {s.deadline:g} s passed"
        failure = Failure("timeout", "TimeoutError", text, retryable=False, abandoned=gone)
    else:
        emit(s, log, facts.CANCELLED, i, token, gone, began, ended)
        return
    attempt = len(s.failures.get(i, ())) + 1
    if failure.attempt != attempt:
        failure = failure.but(attempt=attempt)
    policy = s.plan.retry.get(s.plan.node[s.site[i]])
    if policy is None or not failure.retryable or attempt >= policy.max_attempts or s.stopping >= STOPPING:
        emit(s, log, facts.FAILED, i, token, failure, began, ended)
        return
    if s.retry_budget is not None and s.retried >= s.retry_budget:
        note = f"not tried again: the run's retry budget of {s.retry_budget} is used up"
        emit(s, log, facts.FAILED, i, token, failure.but(note=note), began, ended)
        return
    due = now + _delay(s, i, policy, attempt, failure)
    end, of = _last_moment(s, i, began)
    if due >= end:
        kind = "timeout" if late == "total" else "retry_past_deadline"
        note = f"not tried again: in {due - now:g} s the time of the {of} is over"
        emit(s, log, facts.FAILED, i, token, failure.but(kind=kind, note=note), began, ended)
        return
    emit(s, log, facts.RETRYING, i, token, failure, due, began, ended)
    heappush(s.alarms, (due, DUE, i, 0))


def _timed_out(s: State, i: int, late: str, gone: Abandoned | None) -> Failure:
    """The failure of an attempt that was stopped because of a `Timeout`."""
    node = s.plan.node[s.site[i]]
    seconds = getattr(s.plan.nodes[node].timeout, late)
    text = {
        "attempt": f"no result after {seconds:g} s",
        "total": f"no result after {seconds:g} s in all attempts",
        "idle": f"no sign of life for {seconds:g} s",
    }[late]
    again = node in s.plan.retries_timeout
    return Failure("timeout", "TimeoutError", text, retryable=again, abandoned=gone)


def _last_moment(s: State, i: int, began: float) -> tuple[float, str]:
    """When a node, and its run, must be done at the latest, and which of them that is."""
    end, of = math.inf, "run"
    if s.deadline is not None and s.begun is not None:
        end = s.begun.at + s.away + s.deadline
    timeout = s.plan.nodes[s.plan.node[s.site[i]]].timeout
    if timeout is not None and timeout.total is not None:
        total = s.first.get(i, began) + timeout.total
        if total < end:
            end, of = total, "step"
    return end, of


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
    if timeout is None or s.token[i] != token or s.status[i] != RUNNING:
        return
    if timeout.attempt is not None:
        heappush(s.alarms, (at + timeout.attempt, TIMEOUT, i, token))
    if timeout.total is not None:
        heappush(s.alarms, (s.first.get(i, float(at)) + timeout.total, TOTAL, i, token))


def _idled(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token = reply
    if s.token[i] == token and s.status[i] == RUNNING:
        _overdue(s, i, token, "idle", now, out)


def _overdue(s: State, i: int, token: int, late: str, now: float, out: list[Command]) -> None:
    """An attempt has had its time: it is told to end, and given up after the grace."""
    if i not in s.late:
        s.late[i] = late
        out.append((STOP, i, token, STOP_TIMEOUT))
        heappush(s.alarms, (now + s.grace, GRACE, i, token))


def _pour(s: State, replies: Sequence[Reply], at: int, now: float, log: Log) -> int:
    """Takes the elements that a stream gave one after another; gives the position of what comes then."""
    _, i, token, _, _ = replies[at]
    end = at + 1
    while end < len(replies) and replies[end][:3] == (YIELDED, i, token):
        end += 1
    if s.token[i] != token or s.status[i] != RUNNING:
        return end
    of, seen = s.counts.get(i, (token, 0))
    seen = seen if of == token else 0
    s.counts[i] = (token, seen + end - at)
    had = len(s.streams.get(i, ()))
    fresh = replies[at + max(0, had - seen) : end]  # a stream that starts over drops what was had before
    log += [(facts.YIELDED, i, token, had + n, reply[3], reply[4]) for n, reply in enumerate(fresh)]
    if fresh:
        pour(s, i, [reply[3] for reply in fresh], [reply[4] for reply in fresh])
    elif s.counts[i][1] < had:
        return end  # it will give more of what was had
    if i not in s.paused and too_far(s, i):
        emit(s, log, facts.PAUSED, i, token)
        _freed(s, i, now)
    return end


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
        emit(s, log, facts.SUCCEEDED, i, s.token[i], OK, value, None, s.began[i], now)


def _cancel_asked(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    if s.cancelled is None and s.finished is None:
        emit(s, log, facts.CANCEL, reply[1], now)


def _gone(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token = reply
    if (i, token) in s.lingering:
        emit(s, log, facts.RELEASED, i, token)
        _freed(s, i, now)


def _hurried(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    if s.stopping >= STOPPING:
        heappush(s.alarms, (now, RUN_GRACE, 0, 0))


def _granted(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    i = reply[1]
    s.acquiring.discard(i)
    if i in s.paused:
        s.granted.add(i)
    elif may_start(s, i, now):
        s.granted.add(i)
        enqueue(s, i)


def _folded(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, token, upto, _began, _ended = reply
    if s.token[i] == token and s.status[i] == RUNNING:
        emit(s, log, facts.FOLDED, i, token, upto)


def _keyed(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    _, i, scope, keys = reply
    s.keyed[scope, i] = keys


def _roomier(s: State, reply: Reply, now: float, log: Log, out: list[Command]) -> None:
    """What runs already stays where it is, should there be more of it than the runner would take now."""
    _, name, slots = reply
    runner = s.plan.runners.index(name)
    if slots < s.slots[runner]:
        s.shrunk.add(runner)
    s.free[runner] += slots - s.slots[runner]
    s.slots[runner] = slots


_HEAR: dict[int, Callable[[State, Reply, float, Log, list[Command]], None]] = {
    BEGAN: _began,
    DECIDED: _decided,
    ANSWERED: _answered,
    ASKED: _cancel_asked,
    GONE: _gone,
    HURRIED: _hurried,
    GRANTED: _granted,
    IDLED: _idled,
    FOLDED: _folded,
    KEYED: _keyed,
    ROOM: _roomier,
}


def ring(s: State, now: float, log: Log, out: list[Command]) -> None:
    """Sees to the alarms that are due."""
    while s.alarms and s.alarms[0][0] <= now:
        alarm = heappop(s.alarms)
        if stale(s, alarm):
            continue
        _, what, i, token = alarm
        if what == DUE and s.status[i] == WAITING:
            emit(s, log, *over(s, i, now))
        elif what == DUE:
            enqueue(s, i)
        elif what in (TIMEOUT, TOTAL):
            _overdue(s, i, token, "attempt" if what == TIMEOUT else "total", now, out)
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
        elif what == DEADLINE:
            emit(s, log, facts.EXPIRED, now)


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
    nodes, held = s.plan.nodes, dict[str, int]()
    for i, _ in s.lingering:
        for limit, weight in nodes[s.plan.node[s.site[i]]].limits:
            held[limit.name] = held.get(limit.name, 0) + weight
    who = ", ".join(map(str, s.lingering.values()))
    for i in [*_all(s, READY), *_all(s, RETRYING)]:
        for limit, weight in nodes[s.plan.node[s.site[i]]].limits:
            if limit.capacity is None or weight + held.get(limit.name, 0) <= limit.capacity:
                continue  # it waits for something else
            if may_start(s, i, now):
                text = f"limit {limit.name!r} is held by what was abandoned and does not end: {who}"
                attempt = len(s.failures.get(i, ())) + 1
                failure = Failure("error", "LimitHeld", text, retryable=False, attempt=attempt)
                emit(s, log, facts.FAILED, i, 0, failure, now, now)
    for name, gauge in s.gauges.items():
        if gauge.parked:  # who waited behind one of them may go
            unpark(s, name, now)


def sweep(s: State, now: float, log: Log, out: list[Command]) -> None:
    """The run was just stopped: tells what runs, and ends what does not."""
    s.sweep = False
    flags = s.plan.flags
    for fan in list(s.opened.values()) if len(s.plan.levels) > 1 else ():
        _skip_rest(s, fan, log)
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


def _skip_rest(s: State, fan: Fan, log: Log) -> None:
    """The rows of a map that nothing has begun in are skipped as one: there may be a million.

    Only where each of them would be skipped for the same reason, and nothing inside hangs on it.
    """
    plan, level = s.plan, s.plan.levels[fan.scope]
    rows = fan.rows
    if not level.flat or plan.outer[fan.scope] or len(rows) < BULK or fan.rest is not None:
        return
    if any(plan.flags[site] & ALWAYS for site in range(level.base, level.base + level.width)):
        return
    if rows[-1] - rows[0] != (len(rows) - 1) * level.width:
        return  # rows of two streams have grown side by side
    heads = s.status[rows[0] + level.head : rows[-1] + level.head + 1 : level.width]
    first = len(heads.rstrip(bytes((PENDING, READY))))
    if plan.flags[level.base + level.head] & JUDGED:  # an answer that was recorded stands
        asked = {i for i, _ in s.answers}
        first = max(
            (at + 1 for at in range(first, len(rows)) if rows[at] + level.head in asked), default=first
        )
    if len(rows) - first >= BULK:
        group = fan.outer + plan.levels[level.parent].position[plan.node[level.base + level.head]]
        because = s.culprit if s.cancelled is None else None
        emit(s, log, facts.REST_SKIPPED, group, first, rules.SKIP_STOPPED - rules.SKIP_CONDITION, because)


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
            gauge.parked = [key for key in gauge.parked if may_start(s, key[2], now)]
            heapify(gauge.parked)
            if gauge.parked:
                unpark(s, name, now)


def _settle(s: State, i: int, now: float, log: Log, out: list[Command]) -> None:
    flags = s.plan.flags[s.site[i]]
    if s.status[i] == READY:
        if not s.stopping or flags & ALWAYS or s.waits[i]:
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
        emit(s, log, *opened(s, i, now))
        if i in s.due:
            heappush(s.alarms, (s.due[i], DUE, i, 0))
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
        keys = s.keyed.pop((scope, source), None)
        emit(s, log, facts.EXPANDED, head, len(s.streams[source]), None if keys is None else tuple(keys))
        return
    cause, root = s.skip(source) or (1, source)
    if s.status[source] == state.CANCELLED or (s.stopping and cause != 1):
        cause, root = 2, None if s.stopping == CANCELLING else s.culprit
    for node in sorted(level.position):
        if s.status[row + outer.position[node]] == PENDING:  # a crash may have come between two of them
            emit(s, log, facts.SKIPPED, row + outer.position[node], cause, root)


def pace_streams(s: State, now: float, log: Log, out: list[Command]) -> None:
    """Lets paused streams go on whose consumers have caught up, as far as there are slots."""
    for i, token in list(s.paused.items()):
        node = s.plan.node[s.site[i]]
        if s.status[i] != RUNNING or (s.stopping >= STOPPING and not s.plan.flags[s.site[i]] & ALWAYS):
            continue  # it was told to end
        if not caught_up(s, i):
            continue
        if s.free_total <= 0 or s.free[s.plan.runner[node]] <= 0:
            continue
        fits = all(
            not s.gauges.keeps(name) and (s.gauges[name].capacity is None or s.gauges[name].free >= weight)
            for name, weight in s.plan.limits.get(node, ())
        )
        if fits and permitted(s, i, out):
            s.granted.discard(i)
            emit(s, log, facts.RESUMED, i, token, now)
            out.append((GO_ON, i, token))


def open_streams(s: State, fresh: list[Command], log: Log) -> None:
    """A stream that has just started opens its maps, which will grow with it."""
    for command in fresh:
        i = command[1]
        if command[0] == START and s.plan.flags[s.site[i]] & STREAM:
            row = s.row(i)
            for scope in s.plan.opens.get(s.site[i], ()):
                if (scope, row) not in s.opened:
                    level = s.plan.levels[scope]
                    head = s.plan.node[level.base + level.head]
                    emit(s, log, facts.EXPANDED, row + s.plan.levels[level.parent].position[head], None, None)
