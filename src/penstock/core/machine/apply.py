"""The only place where the state of a run changes: one function per kind of fact.

Whatever follows from a fact without a choice is done here, or in `ends`, too (a need less, a group closed, a
node ready, a slot free), so that a replay of the facts, and nothing else, gives the same state.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heapify, heappush
from typing import Any

from ..commands import ENDED, Command, Reply
from ..model import NOTHING, Abandoned
from ..plan import FOLD, GATE, GROUP, JUDGED, LIMITED, STREAM, WIDE
from . import facts
from .ends import arrive, consider, end, fail_run, fold_on, halt, lose, lose_map, release, seal
from .facts import STARTED, Fact
from .queues import enqueue, enqueue_row_heads
from .state import (
    CANCELLED,
    CANCELLING,
    FAILED,
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPING,
    SUCCEEDED,
    WAITING,
    Fan,
    State,
)

_SPECIAL = GROUP | WIDE | STREAM | LIMITED | GATE

_CAREFUL = GROUP | JUDGED | GATE


def apply(s: State, fact: Fact) -> None:
    """Folds one fact into the state."""
    _APPLY[fact[0]](s, fact)


def start_plain(
    s: State, nodes: list[int], runner: int, now: float, log: list[Fact], out: list[Command]
) -> None:
    """Records the start of ready nodes of one runner that take no limits: as `started`, for many at once."""
    status, token, began = s.status, s.token, s.began
    for i in nodes:
        number = token[i] + 1
        token[i] = number
        began[i] = now
        status[i] = RUNNING
        fact = (STARTED, i, number, now)
        log.append(fact)
        out.append(fact)
    many = len(nodes)
    s.free_total -= many
    s.free[runner] -= many


def started(s: State, fact: Fact) -> None:
    _, i, token, now = fact
    if s.status[i] == RETRYING:
        s.due.pop(i, None)
    s.began[i] = now
    s.status[i] = RUNNING
    s.token[i] = token
    s.free_total -= 1
    site = s.site[i]
    s.free[s.plan.runner_of[site]] -= 1
    if s.plan.flags[site] & LIMITED:
        for name, weight in s.plan.limits[s.plan.node[site]]:
            s.gauges[name].take(weight, now)


def succeeded(s: State, fact: Fact) -> None:
    _, i, _token, source, value, writes, began, ended = fact
    plan = s.plan
    if i >= s.total or plan.flags[i] & _SPECIAL or s.stopping or source:
        _succeeded_specially(s, fact)
        return
    # The plain node of an unstopped run, which most are: as `end`, without its questions.
    status, flag_of = s.status, plan.flags
    if writes:
        s.shared.update(writes)
    s.value[i] = value
    s.began[i] = s.first.get(i, began) if s.first else began
    s.ended[i] = ended
    status[i] = SUCCEEDED  # last: whoever looks on from another thread finds all of it
    s.free_total += 1
    s.free[plan.runner_of[i]] += 1
    s.open -= 1
    waits, hold = s.waits, s.hold
    for step in plan.down[i]:
        j = i + step
        left = waits[j] - 1
        waits[j] = left
        if not left:
            if hold[j] or flag_of[j] & _CAREFUL:
                arrive(s, j)
            else:
                status[j] = READY
                heappush(s.ready[plan.runner_of[j]].heap, j)
    for step in plan.reads[i]:
        j = i + step
        left = s.uses[j] - 1
        s.uses[j] = left
        if not left and not plan.keeps[j]:
            if flag_of[j] & _SPECIAL:
                release(s, j)
            else:
                s.value[j] = NOTHING


def _snapshot(value: Any) -> Any:
    """What is mapped over, as it is now: the list may change later. Asks nothing of a subclass."""
    kind = list if isinstance(value, list) else tuple
    return kind.__getitem__(value, slice(None))


def succeed_many(s: State, replies: Sequence[Reply], at: int, log: list[Fact]) -> int:
    """Folds the good endings of plain nodes from position `at` on: as `succeeded`, with everything at hand.

    For a run that is not stopping, and in which nothing was retried or is late. Gives the position of the
    first reply that is something else.
    """
    plan, total, ready = s.plan, s.total, s.ready
    token, status, value, waits, hold = s.token, s.status, s.value, s.waits, s.hold
    began, ended = s.began, s.ended
    flags, down, reads, runner_of, keeps = plan.flags, plan.down, plan.reads, plan.runner_of, plan.keeps
    uses, free, done = s.uses, s.free, 0
    end_at = len(replies)
    while at < end_at:
        reply = replies[at]
        if reply[0] != ENDED:
            break
        i = reply[1]
        if reply[3] or i >= total or flags[i] & _SPECIAL:
            break
        if token[i] != reply[2] or status[i] != RUNNING:
            break
        log.append(reply)
        if reply[5]:
            s.shared.update(reply[5])
        value[i] = reply[4]
        began[i] = reply[6]
        ended[i] = reply[7]
        status[i] = SUCCEEDED
        free[runner_of[i]] += 1
        done += 1
        for step in down[i]:
            j = i + step
            left = waits[j] - 1
            waits[j] = left
            if not left:
                if hold[j] or flags[j] & _CAREFUL:
                    arrive(s, j)
                else:
                    status[j] = READY
                    heappush(ready[runner_of[j]].heap, j)
        for step in reads[i]:
            j = i + step
            left = uses[j] - 1
            uses[j] = left
            if not left and not keeps[j]:
                if flags[j] & _SPECIAL:
                    release(s, j)
                else:
                    value[j] = NOTHING
        at += 1
    s.free_total += done
    s.open -= done
    return at


def _succeeded_specially(s: State, fact: Fact) -> None:
    _, i, _token, source, value, writes, began, ended = fact
    if s.status[i] == RUNNING:
        _give_back(s, i, held=True)
    if writes:
        s.shared.update(writes)
    s.due.pop(i, None)
    if source:
        s.sources[i] = facts.SOURCES[source]
    elif s.plan.flags[s.site[i]] & STREAM:
        value = s.streams.pop(i, [])
    s.value[i] = value
    s.began[i] = s.first.get(i, began)
    s.ended[i] = ended
    s.status[i] = SUCCEEDED  # last, as in `succeeded`
    scopes = s.plan.opens.get(s.site[i])
    if scopes:
        level = s.plan.levels[scopes[0]]
        shed = level.base + level.head in s.plan.sheds  # nobody else sees the list, so nobody changes it
        s.streams[i] = [] if value is NOTHING else value if shed else _snapshot(value)
    end(s, i, clean=True)


def retrying(s: State, fact: Fact) -> None:
    _, i, _token, failure, due, began, _ended = fact
    _give_back(s, i, held=failure.abandoned is None)
    if failure.abandoned is not None:
        _linger(s, i, s.token[i], failure.abandoned)
    s.status[i] = RETRYING
    s.retried += 1
    s.failures.setdefault(i, []).append(failure)
    s.first.setdefault(i, began)
    s.due[i] = due


def failed(s: State, fact: Fact) -> None:
    _, i, token, failure, began, ended = fact
    _fall(s, i, token, failure.abandoned)
    s.due.pop(i, None)
    s.failures.setdefault(i, []).append(failure)
    s.began[i] = s.first.get(i, began)
    s.ended[i] = ended
    s.status[i] = FAILED
    if not s.plan.judges[s.plan.node[s.site[i]]]:
        fail_run(s, i)
    end(s, i, clean=False)


def skipped(s: State, fact: Fact) -> None:
    _, i, cause, because = fact
    s.skips[i] = (cause, because)
    s.status[i] = SKIPPED
    s.waits[i] = 0
    if s.plan.quorums and s.plan.flags[s.site[i]] & GROUP:
        lose_map(s, i, i, s.plan.graph.scopes[s.plan.level[s.site[i]]].depth)
    end(s, i, clean=False)


def rest_skipped(s: State, fact: Fact) -> None:
    _, group, first, cause, because = fact
    plan, fan = s.plan, s.fan_of_group(group)
    assert fan is not None
    level = plan.levels[fan.scope]
    count = len(fan.rows) - first
    span = slice(fan.rows[first], fan.rows[first] + count * level.width)
    fan.rest = (first, len(fan.rows), cause, because)
    s.waits[span] = [0] * (count * level.width)
    s.status[span] = bytes((SKIPPED,)) * (count * level.width)
    for queue in fan.top.queues:  # its rows are the last there are
        queue.front = [i for i in queue.front if i < span.start]
        queue.heap = [i for i in queue.heap if i < span.start]
        heapify(queue.heap)
    around = plan.levels[level.parent]
    for node in level.position:
        lose(s, fan.outer + around.position[node], count)


def cancelled(s: State, fact: Fact) -> None:
    _, i, token, abandoned, began, ended = fact
    _fall(s, i, token, abandoned)
    s.due.pop(i, None)
    s.began[i] = s.first.get(i, began)
    s.ended[i] = ended
    s.status[i] = CANCELLED
    end(s, i, clean=False)


def expanded(s: State, fact: Fact) -> None:
    _, group, size, keys = fact
    scope = s.plan.inner[s.site[group]]
    row = s.row(group)
    source = _source(s, scope, row)
    fan = _open(s, scope, row)
    if scope in s.plan.keys:
        fan.add_keys(keys or ())
    if size is None:
        fan.sealed = False
        fan.rows = []
        fan.elements = s.streams.setdefault(source, [])
        return
    fan.elements = s.streams[source]
    _add_rows(s, fan, size)
    seal(s, fan)


def yielded(s: State, fact: Fact) -> None:
    _, i, _token, position, element, keys = fact
    if position == len(s.streams.get(i, ())):
        pour(s, i, [element], [keys])


def pour(s: State, i: int, elements: list[Any], keys: list[Any]) -> None:
    """Folds the next elements of a stream, as `yielded` does one: for many, at little more than its cost."""
    scopes = s.plan.opens.get(s.site[i], ())
    if len(scopes) > 1 and len(elements) > 1:  # their rows grow side by side
        for element, names in zip(elements, keys, strict=True):
            pour(s, i, [element], [names])
        return
    had = s.streams.setdefault(i, [])
    had += elements
    for at, scope in enumerate(scopes):
        fan = s.opened.get((scope, s.row(i)))
        if fan is not None:
            if fan.keys is not None:
                fan.add_keys(names[at] for names in keys)
            _add_rows(s, fan, len(elements))


def decided(s: State, fact: Fact) -> None:
    _, i, what, value = fact
    s.answers[i, what] = value
    if s.status[i] == PENDING:
        consider(s, i)


def waiting(s: State, fact: Fact) -> None:
    _, i, token, now, due = fact
    s.status[i] = WAITING
    s.token[i] = token
    s.began[i] = now
    if due is not None:
        s.due[i] = due


def interrupted(s: State, fact: Fact) -> None:
    _, i, _token = fact
    _give_back(s, i, held=True)
    s.returned[i] = s.returned.get(i, 0) + 1
    if s.plan.flags[s.site[i]] & FOLD:
        _slice_over(s, i)
        return
    if s.waits[i]:  # what it takes is made again, after a crash
        s.status[i] = PENDING
        return
    s.status[i] = READY
    if s.stopping:
        s.arrived.append(i)
    else:
        enqueue(s, i)


def paused(s: State, fact: Fact) -> None:
    _, i, token = fact
    _give_back(s, i, held=True)
    s.paused[i] = token


def resumed(s: State, fact: Fact) -> None:
    _, i, _token, _now = fact  # it does not start again: no rate is charged
    del s.paused[i]
    site = s.site[i]
    node = s.plan.node[site]
    s.free_total -= 1
    s.free[s.plan.runner[node]] -= 1
    for name, weight in s.plan.limits.get(node, ()):
        gauge = s.gauges[name]
        gauge.free -= weight if gauge.capacity is not None else 0


def released(s: State, fact: Fact) -> None:
    _, i, token = fact
    del s.lingering[i, token]
    for name, weight in s.plan.limits.get(s.plan.node[s.site[i]], ()):
        s.gauges[name].give_back(weight)


def cancel(s: State, fact: Fact) -> None:
    s.cancelled = fact[1] or ""
    halt(s, CANCELLING)


def expired(s: State, fact: Fact) -> None:
    s.expired = s.failed = True
    halt(s, STOPPING)


def folded(s: State, fact: Fact) -> None:
    _, i, _token, upto = fact
    if s.status[i] == RUNNING:  # else a run goes on that was cut off: the fold starts over
        _give_back(s, i, held=True)
        s.returned[i] = s.returned.get(i, 0) + 1  # a slice is no attempt of its own
    fan, place = s.folding(i)
    site = s.site[fan.rows[0] + place]
    alone = s.uses[fan.outer + s.plan.up[site]] == 1 and not s.plan.keeps[s.plan.node[site]]
    for row in fan.rows[s.folded[i] : upto] if alone else ():
        item = row + place
        if s.uses[item] == 1 and s.status[item] == SUCCEEDED:
            s.value[item] = NOTHING
    s.folded[i] = upto
    _slice_over(s, i)


def _slice_over(s: State, i: int) -> None:
    s.status[i] = PENDING
    if s.waits[i]:
        fold_on(s, i)
    else:
        arrive(s, i)


def begun(s: State, fact: Fact) -> None:
    s.begun = fact[1]
    for i in s.plan.roots:
        arrive(s, i)


def again(s: State, fact: Fact) -> None:
    """The time in which nobody drove the run counts for nothing. What has ended waits for nothing, though
    something above it may be made again."""
    away = fact[1].away
    s.away += away
    for i in s.first:
        s.first[i] += away if s.status[i] < SUCCEEDED else 0.0
    for i, status in enumerate(s.status):
        if status >= SUCCEEDED and s.waits[i] and not s.plan.flags[s.site[i]] & GROUP:
            s.waits[i] = 0


def finished(s: State, fact: Fact) -> None:
    s.finished = fact[1]


_APPLY: dict[int, Any] = {
    facts.STARTED: started,
    facts.SUCCEEDED: succeeded,
    facts.RETRYING: retrying,
    facts.FAILED: failed,
    facts.SKIPPED: skipped,
    facts.CANCELLED: cancelled,
    facts.EXPANDED: expanded,
    facts.YIELDED: yielded,
    facts.DECIDED: decided,
    facts.WAITING: waiting,
    facts.INTERRUPTED: interrupted,
    facts.PAUSED: paused,
    facts.RESUMED: resumed,
    facts.RELEASED: released,
    facts.CANCEL: cancel,
    facts.EXPIRED: expired,
    facts.FOLDED: folded,
    facts.REST_SKIPPED: rest_skipped,
    facts.BEGUN: begun,
    facts.FINISHED: finished,
    facts.AGAIN: again,
}


def _give_back(s: State, i: int, *, held: bool) -> None:
    """Frees the slot of a running attempt, and its limits unless it was abandoned and still holds them."""
    site = s.site[i]
    s.free_total += 1
    s.free[s.plan.runner_of[site]] += 1
    flags = s.plan.flags[site]
    if flags & (LIMITED | STREAM):
        _leave(s, i, flags, held=held)


def _leave(s: State, i: int, flags: int, *, held: bool) -> None:
    node = s.plan.node[s.site[i]]
    if flags & STREAM and i in s.paused:  # had given all of it back
        del s.paused[i]
        s.free_total -= 1
        s.free[s.plan.runner[node]] -= 1
        return
    if held and flags & LIMITED:
        for name, weight in s.plan.limits[node]:
            s.gauges[name].give_back(weight)


def _fall(s: State, i: int, token: int, abandoned: Abandoned | None) -> None:
    """A node leaves whatever it was in, without success."""
    if s.status[i] == RUNNING:
        _give_back(s, i, held=abandoned is None)
        if abandoned is not None:
            _linger(s, i, token, abandoned)


def _linger(s: State, i: int, token: int, abandoned: Abandoned) -> None:
    """An attempt was abandoned: it still holds its limits, and there may not be too many of them."""
    if s.plan.flags[s.site[i]] & LIMITED:
        s.lingering[i, token] = abandoned
    s.abandoned += 1
    if s.abandoned > s.max_abandoned:
        fail_run(s, i, STOPPING)


def _source(s: State, scope: int, row: int) -> int:
    """The number of the node whose value a map takes its elements from."""
    plan = s.plan
    source = plan.graph.scopes[scope].source
    node = plan.index[plan.graph.nodes[source].id]
    return row + plan.levels[plan.levels[scope].parent].position[node]


def _open(s: State, scope: int, row: int) -> Fan:
    around: Fan | None = s.fans[row - s.total] if row else None
    place = s.element[row - s.total] if row else 0
    fan = s.opened[scope, row] = Fan(scope, row, around, place, len(s.plan.runners))
    return fan


def _add_rows(s: State, fan: Fan, size: int) -> None:
    """Makes the rows of `size` more elements, and readies or hands on their heads."""
    plan = s.plan
    level = plan.levels[fan.scope]
    first, width, begin = len(s.status), level.width, len(fan.rows)
    sites = slice(level.base, level.base + width)
    waits = plan.waits[sites]
    hold = bytearray(width)
    for place, climb, position in plan.outer[fan.scope]:
        need = (fan.outer if climb == 1 else s.climb(fan.outer, climb - 1)) + position
        if s.status[need] >= SUCCEEDED:
            waits[place] -= 1
            if s.status[need] != SUCCEEDED or (s.hold[need] and plan.flags[s.site[need]] & GROUP):
                hold[place] = 1
    status = bytearray(width)
    head = level.head
    judged = plan.flags[level.base + head] & (JUDGED | GATE)
    plain = not waits[head] and not hold[head] and not s.stopping and not judged
    if plain:
        status[head] = READY
    total = size * width
    s.site += list(range(sites.start, sites.stop)) * size
    s.status += status * size
    s.waits += waits * size
    s.hold += hold * size
    s.token += [0] * total
    s.uses += plan.uses[sites] * size
    s.value += [None] * total
    s.began.extend(array("d", bytes(8 * total)))
    s.ended.extend(array("d", bytes(8 * total)))
    s.fans += [fan] * total
    for index in range(begin, begin + size) if width > 1 else ():
        s.element.extend((index,) * width)
    if width == 1:
        s.element.extend(range(begin, begin + size))
    new = range(first, first + total, width)
    if isinstance(fan.rows, list):
        fan.rows += new
    else:
        fan.rows = new
    outer = plan.levels[level.parent]
    for node in level.position:
        s.waits[fan.outer + outer.position[node]] += size
    if plain:
        enqueue_row_heads(s, fan, new, head)
    elif not waits[head]:
        for row in new:
            consider(s, row + head)
