"""What follows when something has ended: needs are fewer, groups close, nodes are ready, values may go.

All of it follows from the facts without a choice, so a replay of the facts does the same. What needs a
choice, or the user's code, is left in `arrived` and `maps` for `decide`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..model import NOTHING
from ..plan import ALWAYS, FOLD, GATE, GROUP, JUDGED, STREAM, WIDE
from ..rules import CONDITION, FAILURE, RUN
from .judge import cause_of, ended_as, first_failed, quorum_holds, takes, verdict
from .queues import enqueue
from .state import DRAINING, GOING, PENDING, READY, STOPPING, SUCCEEDED, Fan, State


def end(s: State, i: int, *, clean: bool) -> None:
    """A node or item has ended: those that need it wait for one less, and so does its group.

    A group that closes has ended too, hence the loop.
    """
    plan = s.plan
    while True:
        site = s.site[i]
        flags = plan.flags[site]
        if flags & STREAM:
            _end_stream(s, i, clean)
        for step in plan.down[site]:
            lessen(s, i + step, clean)
        if flags & WIDE:
            _end_wide(s, i, site, clean)
        for step in plan.reads[site]:
            j = i + step
            s.uses[j] -= 1
            if not s.uses[j]:
                release(s, j)
        if i < s.total:
            s.open -= 1
            return
        i = s.fans[i - s.total].outer + plan.up[site]
        if not clean:
            s.hold[i] = 1
        s.waits[i] -= 1
        if s.waits[i]:
            return
        s.status[i] = SUCCEEDED
        clean = not s.hold[i]


def _end_wide(s: State, i: int, site: int, clean: bool) -> None:
    """What hangs on an end beyond the edges of its own row."""
    plan = s.plan
    if site in plan.casts:
        for j in _cast(s, i, site):
            lessen(s, j, clean)
    for scope in plan.opens.get(site, ()):
        s.maps.append((scope, s.row(i)))
    if i < s.total or plan.flags[site] & GROUP:
        return
    fan = s.fans[i - s.total]
    if site in plan.quorums and not clean:
        _count_loss(s, i, fan)
    if site in plan.sheds and isinstance(fan.elements, list):
        fan.elements[s.element[i - s.total]] = NOTHING
    for position in plan.folds.get(site, ()):
        if s.element[i - s.total] == s.folded.get(fan.outer + position, 0):
            fold_on(s, fan.outer + position)


def _count_loss(s: State, i: int, fan: Fan) -> None:
    """An item ended without success, and a quorum is asked of its map."""
    came = ended_as(s, i)
    counts = s.left_out if came == CONDITION else s.lost if came == FAILURE else s.cut
    site = s.site[i]
    group = fan.outer + s.plan.up[site]
    counts[group] = counts.get(group, 0) + 1
    if fan.sealed:
        _check_quorums(s, group, site, fan, i)


def lose(s: State, group: int, count: int) -> None:
    """So many items of a map are skipped at once, because the run was stopped."""
    fan = s.fan_of_group(group)
    assert fan is not None
    s.hold[group] = 1
    s.cut[group] = s.cut.get(group, 0) + count
    s.waits[group] -= count
    if not s.waits[group]:
        s.status[group] = SUCCEEDED
        end(s, group, clean=False)


def lose_map(s: State, group: int, by: int, depth: int) -> None:
    """A map inside others will never open: where that is for a failure, it is one item that failed.

    Args:
        s: The state.
        group: The map, or the one around it.
        by: The node that kept it from opening.
        depth: How many maps lie around it.
    """
    plan = s.plan
    site = s.site[group]
    while plan.flags[site] & GROUP:
        level = plan.levels[plan.inner[site]]
        site = level.base + level.position[plan.node[site]]
    seen_from = plan.graph.scopes[plan.level[site]].depth
    if ended_as(s, by) == FAILURE and any(
        quorum.of(1) and depth > seen_from - levels for quorum, levels in plan.quorums.get(site, ())
    ):
        s.broken.add(group)
        fail_run(s, cause_of(s, by))


def _check_quorums(s: State, group: int, site: int, fan: Fan, i: int | None) -> None:
    """Fails the run as soon as a quorum cannot be reached any more."""
    if group in s.broken or all(quorum_holds(s, group, fan, one) for one, _ in s.plan.quorums[site]):
        return
    s.broken.add(group)
    s.hold[group] = 1
    if i is None or ended_as(s, i) != FAILURE:
        i = first_failed(s, group)
    fail_run(s, group if i is None else cause_of(s, i))


def fail_run(s: State, culprit: int, level: int | None = None) -> None:
    """Something has failed that is not let pass; the run is stopped as far as it says itself, or `level`."""
    s.failed = s.failed or s.cancelled is None
    if level is None:
        level = {"stop": STOPPING, "drain": DRAINING}.get(s.on_failure, GOING)
    if level > s.stopping and s.culprit is None and not s.expired:
        s.culprit = culprit
    halt(s, level)


def halt(s: State, level: int) -> None:
    """Stops the run as far as `level` says, if it is not already. A fold waits for the end of its map again:
    it starts no further slice."""
    if level <= s.stopping:
        return
    s.stopping = level
    s.sweep = True
    for j in s.folded:
        if s.status[j] == READY and s.waits[j]:
            s.status[j] = PENDING


def fold_on(s: State, j: int) -> None:
    """Readies a fold for one more slice, if the next item has ended and more are to come."""
    if s.status[j] != PENDING or not s.waits[j] or s.stopping:
        return
    fan, place = s.folding(j)
    at = s.folded.setdefault(j, 0)
    if at < len(fan.rows) and takes(s, j, fan.rows[at] + place):
        s.status[j] = READY
        s.slices.append(j)


def lessen(s: State, j: int, clean: bool) -> None:
    """Node `j` waits for one need less."""
    if not clean:
        s.hold[j] = 1
    s.waits[j] -= 1
    if not s.waits[j]:
        arrive(s, j)


def arrive(s: State, j: int) -> None:
    """All needs of node `j` have ended."""
    flags = s.plan.flags[s.site[j]]
    if flags & GROUP:
        return  # a group is opened by its head's source, never by an edge
    if flags & FOLD and s.status[j] != PENDING:
        if s.status[j] != READY:
            return  # a slice is under way; what follows it will look again
        s.status[j] = PENDING
    if not s.stopping and not s.hold[j] and not flags & (JUDGED | GATE):
        s.status[j] = READY
        enqueue(s, j)
    else:
        consider(s, j)


def consider(s: State, j: int) -> None:
    """Makes a node ready if nothing more is to be asked or told; leaves all else to `decide`."""
    flags = s.plan.flags[s.site[j]]
    if verdict(s, j).move == RUN and not flags & GATE and (not s.stopping or flags & ALWAYS):
        s.status[j] = READY
        enqueue(s, j)
    else:
        s.arrived.append(j)


def release(s: State, i: int) -> None:
    """Drops a value whose last consumer has ended, unless it is one of the run's outputs."""
    plan = s.plan
    if not plan.flags[s.site[i]] & (GROUP | WIDE):
        if s.status[i] == SUCCEEDED and not plan.keeps[plan.node[s.site[i]]]:
            s.value[i] = NOTHING
        return
    todo = [i]
    while todo:
        i = todo.pop()
        site = s.site[i]
        if plan.keeps[plan.node[site]]:
            continue
        if not plan.flags[site] & GROUP:
            if s.status[i] == SUCCEEDED:
                s.value[i] = NOTHING
            s.streams.pop(i, None)
            for scope in plan.opens.get(site, ()):
                fan = s.opened.get((scope, s.row(i)))
                if fan is not None:
                    fan.elements = ()
            continue
        fan = s.fan_of_group(i)
        if fan is not None:
            todo += _unread(s, fan, plan.levels[fan.scope].position[plan.node[site]])


def _unread(s: State, fan: Fan, place: int) -> list[int]:
    """The items of a map that lose their last reader with this one; plain ones are let go at once."""
    rows, level = fan.rows, s.plan.levels[fan.scope]
    if rows and rows[-1] - rows[0] == (len(rows) - 1) * level.width:
        column = slice(rows[0] + place, rows[-1] + place + 1, level.width)
        site = level.base + place
        plain = not s.plan.flags[site] & GROUP and site not in s.plan.opens
        if plain and s.uses[column].count(1) == len(rows):
            s.uses[column] = [0] * len(rows)
            s.value[column] = [NOTHING] * len(rows)
            return []
    items = [row + place for row in rows]
    for i in items:
        s.uses[i] -= 1
    return [i for i in items if not s.uses[i]]


def _cast(s: State, i: int, site: int) -> Iterator[int]:
    """The nodes of inner rows, as far as they exist, that need this one."""
    plan = s.plan
    here = plan.level[site]
    for scope, place in plan.casts[site]:
        chain = [scope]
        while plan.levels[chain[-1]].parent != here:
            chain.append(plan.levels[chain[-1]].parent)
        rows = [s.row(i)]
        for inner in reversed(chain):
            rows = [new for row in rows if (fan := s.opened.get((inner, row))) for new in fan.rows]
        yield from [row + place for row in rows]


def seal(s: State, fan: Fan) -> None:
    """No element will come any more: each group of the map waits for its items alone."""
    fan.sealed = True
    plan = s.plan
    outer = plan.levels[plan.levels[fan.scope].parent]
    for node in plan.levels[fan.scope].position:
        group = fan.outer + outer.position[node]
        site = plan.levels[fan.scope].base + plan.levels[fan.scope].position[node]
        if site in plan.quorums and not plan.flags[site] & GROUP:
            if fan.broken is not None:
                counts = s.lost if ended_as(s, fan.broken) == FAILURE else s.cut
                counts[group] = counts.get(group, 0) + 1
            _check_quorums(s, group, site, fan, fan.broken)
        elif plan.quorums and fan.broken is not None:
            lose_map(s, group, fan.broken, plan.graph.scopes[fan.scope].depth)
        s.waits[group] -= 1
        if not s.waits[group]:
            s.status[group] = SUCCEEDED
            end(s, group, clean=not s.hold[group])


def _end_stream(s: State, i: int, clean: bool) -> None:
    for scope in s.plan.opens.get(s.site[i], ()):
        fan = s.opened.get((scope, s.row(i)))
        if fan is not None and not fan.sealed:
            if not clean:
                fan.broken = i
                outer = s.plan.levels[s.plan.levels[scope].parent]
                for node in s.plan.levels[scope].position:
                    s.hold[fan.outer + outer.position[node]] = 1
            seal(s, fan)
