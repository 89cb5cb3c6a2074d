"""What the needs of a node have come to, read from the state, and what that means for it. Reads only."""

from __future__ import annotations

from .. import rules
from ..commands import TRIGGER, WHEN
from ..plan import ALWAYS, RAISE, SiteNeed
from ..rules import ASK_WHEN, CONDITION, FAILURE, RUN, SELF, SKIP_CONDITION, STOPPED, SUCCESS, Verdict
from .state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, State

_RUN = Verdict(RUN)
_ASK_WHEN = Verdict(ASK_WHEN)
_REFUSED = Verdict(SKIP_CONDITION)


def need_number(s: State, i: int, need: SiteNeed) -> int:
    """The number of the node or group that a need of node `i` means."""
    return s.climb(i, need.climb) + need.position


def came_to(s: State, number: int, need: SiteNeed) -> int:
    """What a need that has ended came to, as one of the four of `rules`."""
    if need.element:
        return SUCCESS
    if s.status[number] == SUCCEEDED:
        if not need.group or need.failures != RAISE or not s.hold[number]:
            return SUCCESS
        return _group_came_to(s, number)
    return _ended_as(s, number)


def _ended_as(s: State, number: int) -> int:
    status = s.status[number]
    if status == FAILED:
        return FAILURE
    if status == CANCELLED:
        return STOPPED  # only a stopped run cancels, and its reason is the stop
    if status == SKIPPED:
        return s.skips[number][0] + 1  # the causes of a skip come in the order of `rules`, after SUCCESS
    return SUCCESS


def _group_came_to(s: State, group: int) -> int:
    """A gather that raises fails with any failed item; items left out by a condition do not count."""
    worst = SUCCESS
    for item in s.items(group):
        came = _ended_as(s, item)
        if came == FAILURE:
            return FAILURE
        if came == STOPPED:
            worst = STOPPED
    fan = s.fan_of_group(group)
    if fan is not None and fan.broken is not None:
        return max(worst, _ended_as(s, fan.broken), key=(SUCCESS, CONDITION, STOPPED, FAILURE).index)
    return worst


def root_cause(s: State, number: int, need: SiteNeed) -> int | None:
    """The node that a need's non-success goes back to."""
    if need.group and s.status[number] == SUCCEEDED:
        for item in s.items(number):
            if _ended_as(s, item) == FAILURE:
                return s.skips[item][1] if s.status[item] == SKIPPED else item
        fan = s.fan_of_group(number)
        return fan.broken if fan is not None else None
    return s.skips[number][1] if s.status[number] == SKIPPED else number


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
        return None if s.cancelled else s.culprit
    if found.need == SELF:
        return i
    need = s.plan.needs_of(s.plan.node[s.site[i]])[found.need]
    return root_cause(s, need_number(s, i, need), need)
