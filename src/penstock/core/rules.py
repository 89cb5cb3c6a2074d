"""The one rule for what did not succeed: what a node does once all its needs have ended (semantics.md §3).

Pure functions over small integers; nothing here knows how a run is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .model import Accepts

# What a need has come to.
SUCCESS: Final = 0
CONDITION: Final = 1  # skipped by a condition
FAILURE: Final = 2  # failed, cancelled, or skipped below a failure
STOPPED: Final = 3  # never started because the run stopped

# What a node does now.
RUN: Final = 0
ASK_TRIGGER: Final = 1
ASK_WHEN: Final = 2
SKIP_CONDITION: Final = 3
SKIP_UPSTREAM: Final = 4
SKIP_STOPPED: Final = 5

# Triggers as the plan knows them.
ALL_SUCCEEDED: Final = 0
ALL_DONE: Final = 1
NONE_FAILED: Final = 2
ANY_SUCCEEDED: Final = 3
ALL_FAILED: Final = 4
ALWAYS: Final = 5
CALLABLE: Final = 6

_TAKES: Final = (
    Accepts.NOTHING.value,
    Accepts.CONDITION.value,
    Accepts.UPSTREAM.value | Accepts.FAILED.value,
    Accepts.NOTHING.value,
)
"""By what a need has come to: the bits of `Accepts` that make it acceptable."""

SELF: Final = -1
"""In a `Verdict`: the node itself is the cause."""


class Verdict(NamedTuple):
    """What a node does, and which of its needs is the reason (`SELF` for none of them)."""

    move: int
    need: int = SELF


_RUN = Verdict(RUN)


def accepted(came_to: int, accepts: int) -> bool:
    """Whether a need that came to this lets the node go on under the default trigger."""
    return came_to == SUCCESS or bool(_TAKES[came_to] & accepts)


def judge(trigger: int, needs: Sequence[tuple[int, int]], stopping: bool, answer: bool | None) -> Verdict:
    """Decides for a node whose needs have all ended, before its `when`.

    Args:
        trigger: One of the seven above.
        needs: (what it came to, bits of `Accepts`) in the order of definition. The order names the cause:
            the first failure, else the first condition.
        stopping: Nothing new starts any more.
        answer: What a trigger of the user's own said, None as long as it was not asked.
    """
    failure = refused = condition = SELF
    succeeded = failures = 0
    for position, (came_to, accepts) in enumerate(needs):
        if came_to == SUCCESS:
            succeeded += 1
            continue
        if came_to == FAILURE:
            failures += 1
            if failure == SELF:
                failure = position
            if refused == SELF and not _TAKES[FAILURE] & accepts:
                refused = position
        elif came_to == CONDITION and condition == SELF and not _TAKES[CONDITION] & accepts:
            condition = position
    if trigger == ALWAYS:
        return _RUN
    if stopping:
        return Verdict(SKIP_UPSTREAM, refused) if refused != SELF else Verdict(SKIP_STOPPED)
    if trigger == ALL_SUCCEEDED:
        if refused != SELF:
            return Verdict(SKIP_UPSTREAM, refused)
        return _RUN if condition == SELF else Verdict(SKIP_CONDITION, condition)
    if trigger == ALL_DONE:
        return _RUN
    if trigger == NONE_FAILED:
        return _RUN if failure == SELF else Verdict(SKIP_UPSTREAM, failure)
    if trigger == ANY_SUCCEEDED:
        if succeeded:
            return _RUN
        return Verdict(SKIP_UPSTREAM, failure) if failure != SELF else Verdict(SKIP_CONDITION, 0)
    if trigger == ALL_FAILED:
        return _RUN if failures == len(needs) else Verdict(SKIP_CONDITION)
    if answer is None:
        return Verdict(ASK_TRIGGER)
    return _RUN if answer else Verdict(SKIP_CONDITION)
