"""What the machine wakes up for. Alarms are a derived heap: a stale one rings for nothing."""

from __future__ import annotations

from typing import Final

from .state import RETRYING, RUNNING, STOPPING, WAITING, State

DUE: Final = 0  # a retry may start, or a gate waits no longer
TIMEOUT: Final = 1  # an attempt is past its timeout
GRACE: Final = 2  # an attempt past its timeout did not end in its grace
RATE: Final = 3  # a rate limit has room again; the number is the limit's
RUN_GRACE: Final = 4  # what was told to stop did not end in its grace
BLOCKED: Final = 5  # nothing goes on but what was abandoned, and it holds limits
TOTAL: Final = 6  # a node is past the time for all its attempts
DEADLINE: Final = 7  # the run is past its time


def stale(s: State, alarm: tuple[float, int, int, int]) -> bool:
    """Whether an alarm has nothing to say any more, so that nobody wakes for it."""
    when, what, number, token = alarm
    if what == DUE:
        return s.status[number] not in (RETRYING, WAITING) or s.due.get(number) != when
    if what in (TIMEOUT, TOTAL, GRACE):
        return s.status[number] != RUNNING or s.token[number] != token
    if what == RATE:
        return not s.gauges[s.names[number]].parked
    if what == BLOCKED:
        return not s.lingering
    if what == DEADLINE:
        return s.stopping >= STOPPING or not s.open
    return not s.stopping or s.finished is not None
