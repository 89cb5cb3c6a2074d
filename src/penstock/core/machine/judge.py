"""What the needs of a node have come to, read from the state, and what that means for it. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

from .. import rules
from ..commands import TRIGGER, WHEN
from ..model import Quorum
from ..plan import ALWAYS, DROP, GROUP, QUORUM, RAISE, SiteNeed
from ..rules import ASK_WHEN, CONDITION, FAILURE, RUN, SELF, SKIP_CONDITION, STOPPED, SUCCESS, Verdict
from .state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, Fan, State

_RUN = Verdict(RUN)
_ASK_WHEN = Verdict(ASK_WHEN)
_REFUSED = Verdict(SKIP_CONDITION)
_WORST = (SUCCESS, CONDITION, STOPPED, FAILURE)  # the later one counts


def need_number(s: State, i: int, need: SiteNeed) -> int:
    """The number of the node or group that a need of node `i` means."""
    return s.climb(i, need.climb) + need.position


def came_to(s: State, number: int, need: SiteNeed) -> int:
    """What a need that has ended came to, as one of the four of `rules`."""
    if need.element:
        return SUCCESS
    if s.status[number] == SUCCEEDED:
        if need.group and need.failures == QUORUM:
            return _quorum_came_to(s, number, need)
        if not need.group or need.failures != RAISE or not s.hold[number]:
            return SUCCESS
        return _group_came_to(s, number)
    return ended_as(s, number)


def _skip(s: State, number: int) -> tuple[int, int | None]:
    found = s.skip(number)
    assert found is not None
    return found


def ended_as(s: State, number: int) -> int:
    status = s.status[number]
    if status == FAILED:
        return FAILURE
    if status == CANCELLED:
        return STOPPED  # only a stopped run cancels, and its reason is the stop
    if status == SKIPPED:
        return _skip(s, number)[0] + 1  # the causes of a skip come in the order of `rules`, after SUCCESS
    return SUCCESS


def _lost_inside(s: State, group: int) -> Iterator[int]:
    """What of a group did not succeed, in input order: items, inner maps that never opened, and streams that
    broke, each after the elements it gave. Of rows that were skipped as one the first speaks for all."""
    plan, status, hold = s.plan, s.status, s.hold
    node = plan.node[s.site[group]]
    todo = [group]
    while todo:
        number = todo.pop()
        fan = s.fan_of_group(number) if plan.flags[s.site[number]] & GROUP else None
        if fan is not None:
            place = plan.levels[fan.scope].position[node]
            todo += [] if fan.broken is None else [fan.broken]
            first, after = (len(fan.rows), len(fan.rows)) if fan.rest is None else fan.rest[:2]
            rows = (*fan.rows[: first + 1], *fan.rows[after:])
            todo += [i for row in reversed(rows) if status[i := row + place] != SUCCEEDED or hold[i]]
        elif number != group:
            yield number


def _group_came_to(s: State, group: int) -> int:
    """A gather that raises fails with any failed item; items left out by a condition do not count."""
    worst = SUCCESS
    for item in _lost_inside(s, group):
        came = ended_as(s, item)
        if came == FAILURE:
            return FAILURE
        if came == STOPPED:
            worst = STOPPED
    return worst


def first_failed(s: State, group: int) -> int | None:
    """The first item of a map that failed, in input order."""
    return next((item for item in _lost_inside(s, group) if ended_as(s, item) == FAILURE), None)


def cause_of(s: State, number: int) -> int:
    """The node that the non-success of this one goes back to."""
    because = _skip(s, number)[1] if s.status[number] == SKIPPED else None
    return number if because is None else because


def quorum_holds(s: State, group: int, fan: Fan, quorum: Quorum, *, whole: bool = False) -> bool:
    """Whether the items of a map that have ended leave a quorum within reach.

    Args:
        s: The state.
        group, fan: The map.
        quorum: What is asked.
        whole: What the stop of the run has kept from success counts as lost.
    """
    broken = SUCCESS if fan.broken is None else ended_as(s, fan.broken)
    if broken == STOPPED and not whole:
        return True  # nobody knows how many there would have been
    items = len(fan.rows) + (broken != SUCCESS) - s.left_out.get(group, 0)
    lost = s.lost.get(group, 0) + (s.cut.get(group, 0) if whole else 0)
    return items - lost >= quorum.of(items)


def _quorum_came_to(s: State, group: int, need: SiteNeed) -> int:
    """A quorum that holds is a success; one that does not fails as a gather that raises, for each innermost
    map by itself. One that only a stop has made impossible is stopped."""
    return max((came for _, came in _maps_of(s, group, need)), default=SUCCESS, key=_WORST.index)


def _maps_of(s: State, group: int, need: SiteNeed) -> Iterator[tuple[int, int]]:
    """The innermost maps of a gather, in input order, and what its quorum has come to in each."""
    assert need.quorum is not None
    todo = [(group, need.levels)]
    while todo:
        number, levels = todo.pop()
        fan = s.fan_of_group(number) if levels else None
        if fan is None:
            came = ended_as(s, number)
            yield number, came if came != CONDITION and need.quorum.of(1) else SUCCESS
        elif levels > 1:
            place = s.plan.levels[fan.scope].position[s.plan.node[s.site[number]]]
            if fan.broken is not None and need.quorum.of(1):
                todo.append((fan.broken, 0))
            todo += [(row + place, levels - 1) for row in reversed(fan.rows)]
        elif not quorum_holds(s, number, fan, need.quorum):
            yield number, FAILURE
        else:
            yield number, SUCCESS if quorum_holds(s, number, fan, need.quorum, whole=True) else STOPPED


def tolerated(s: State, i: int) -> bool:
    """Whether the failure of a node or item is let pass, as far as its run has come."""
    node = s.plan.node[s.site[i]]
    if not s.plan.judges[node]:
        return False
    if not s.broken:
        return True
    asked = s.plan.quorate.get(node, ())
    mine = s.path(i).items
    for group in s.broken:
        theirs = s.path(group)
        short = min(len(mine), len(theirs.items))
        if s.plan.node[s.site[group]] in asked and mine[:short] == theirs.items[:short]:
            return False
    return True


def takes(s: State, fold: int, item: int) -> bool:
    """Whether a fold may go past this item: it succeeded, or is left out."""
    status = s.status[item]
    if status == SUCCEEDED:
        return True
    if status == SKIPPED and _skip(s, item)[0] == 0:
        return True
    need = s.plan.needs_of(s.plan.node[s.site[fold]])[0]
    return need.failures == DROP and status > SUCCEEDED


def root_cause(s: State, number: int, need: SiteNeed) -> int | None:
    """The node that a need's non-success goes back to."""
    if not need.group or s.status[number] != SUCCEEDED:
        return _skip(s, number)[1] if s.status[number] == SKIPPED else number
    if need.failures != QUORUM:
        item = first_failed(s, number)
        return None if item is None else cause_of(s, item)
    missed = next(inner for inner, came in _maps_of(s, number, need) if came == FAILURE)
    item = first_failed(s, missed) if s.status[missed] == SUCCEEDED else missed
    return missed if item is None else cause_of(s, item)


def verdict(s: State, i: int) -> Verdict:
    """What node `i`, whose needs have all ended, does now; its `when` included."""
    plan, site = s.plan, s.site[i]
    node = plan.node[site]
    if not s.hold[i] and not s.stopping and node not in plan.trigger:
        if plan.nodes[node].when is None:
            return _RUN
        answer = s.answers.get((i, WHEN))
        return _ASK_WHEN if answer is None else _RUN if answer else _REFUSED
    if False in (s.answers.get((i, TRIGGER)), s.answers.get((i, WHEN))):
        return _REFUSED  # a recorded answer stands, whatever else has happened since
    needs = [(came_to(s, need_number(s, i, need), need), need.accepts) for need in plan.needs_of(node)]
    stopping = bool(s.stopping) and not plan.flags[site] & ALWAYS
    trigger = plan.trigger.get(node, rules.ALL_SUCCEEDED)
    found = rules.judge(trigger, needs, stopping, s.answers.get((i, TRIGGER)))
    if found.move != RUN or plan.nodes[node].when is None:
        return found
    return found if s.answers.get((i, WHEN)) else _ASK_WHEN


def because(s: State, i: int, found: Verdict) -> int | None:
    """The node to name as the cause of a skip."""
    if found.move == rules.SKIP_STOPPED:
        return s.culprit if s.cancelled is None else None
    if found.need == SELF:
        return i
    need = s.plan.needs_of(s.plan.node[s.site[i]])[found.need]
    return root_cause(s, need_number(s, i, need), need)
