"""How far a stream may be ahead of those who take its elements. Writes nothing but its own place."""

from __future__ import annotations

from .judge import takes
from .state import PENDING, READY, SUCCEEDED, State

_AHEAD = 2  # a stream may be ahead of its consumers by this many times their slots
_AT_ONCE = 16  # a stream is told of more room only if it is worth telling, or it has none left


def backlog(s: State, i: int) -> int:
    """Elements of a stream whose first step has not begun, for its slowest consumer."""
    most = 0
    for scope in s.plan.opens.get(s.site[i], ()):
        fan, head = s.opened[scope, s.row(i)], s.plan.levels[scope].head
        while fan.low < len(fan.rows) and s.status[fan.rows[fan.low] + head] not in (PENDING, READY):
            fan.low += 1
        most = max(most, len(fan.rows) - fan.low)
    return most


def unfolded(s: State, i: int) -> int:
    """Items of a stream that a fold could take and has not, for its slowest fold.

    What the fold cannot take yet, or never will, holds up nobody: else a stream could wait for ever. In a run
    that is stopping it takes nothing before the end of the map.
    """
    most, folds = 0, s.plan.folds
    for scope in s.plan.opens.get(s.site[i], ()) if folds and not s.stopping else ():
        fan, level = s.opened[scope, s.row(i)], s.plan.levels[scope]
        for place in range(level.width):
            for position in folds.get(level.base + place, ()):
                fold = fan.outer + position
                ripe = s.ripe.get(fold, 0)
                while ripe < len(fan.rows) and takes(s, fold, fan.rows[ripe] + place):
                    ripe += 1
                s.ripe[fold] = ripe
                if s.status[fold] < SUCCEEDED:
                    most = max(most, ripe - s.folded.get(fold, 0))
    return most


def most_ahead(s: State, i: int) -> int:
    """How far a stream may be ahead of its slowest consumer."""
    plan = s.plan
    if plan.node[s.site[i]] in plan.unbounded or s.site[i] not in plan.opens:
        return 1 << 60
    slots = s.slots_total
    for scope in plan.opens[s.site[i]]:
        head = plan.node[plan.levels[scope].base + plan.levels[scope].head]
        limits = [limit.capacity // weight for limit, weight in plan.nodes[head].limits if limit.capacity]
        slots = min(slots, s.slots[plan.runner[head]], *limits)
    return _AHEAD * slots


def too_far(s: State, i: int) -> bool:
    """Whether a stream has to wait. For a fold only where it stands: it may use up what it was allowed."""
    most, allowed = most_ahead(s, i), s.allowed.get((i, s.token[i]), 0)
    return backlog(s, i) >= most or (len(s.streams.get(i, ())) >= allowed and unfolded(s, i) >= most)


def caught_up(s: State, i: int) -> bool:
    """Whether a stream that waits may go on. Not for a place or two: each wait costs its slot."""
    half = most_ahead(s, i) // 2
    return backlog(s, i) <= half and unfolded(s, i) <= half


def allowance(s: State, i: int) -> int | None:
    """The position up to which a running stream may produce; None if that is no news to it."""
    had, allowed, most = len(s.streams.get(i, ())), s.allowed.get((i, s.token[i]), 0), most_ahead(s, i)
    if i in s.paused or (had < allowed and unfolded(s, i) >= most):
        return None
    upto = had + max(0, most - backlog(s, i))
    if upto <= allowed or (upto - allowed < _AT_ONCE and had < allowed):
        return None
    s.allowed[i, s.token[i]] = upto
    return upto
