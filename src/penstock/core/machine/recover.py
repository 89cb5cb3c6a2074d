"""After a replay: what was cut off is set right, and the run goes on by the same path as any other."""

from __future__ import annotations

from heapq import heappush

from ..model import Failure
from . import facts
from .alarms import DEADLINE, DUE
from .decide import Log, emit
from .state import PENDING, READY, RETRYING, RUNNING, WAITING, State


def recover(s: State, now: float, log: Log, give_up: str = "") -> None:
    """Makes a replayed state live again.

    Attempts that ran are interrupted, which is not charged to them. What was retrying stays so, but waits no
    longer than its policy could make it from now, and no start counts as later than now: the clock of another
    boot may be far off. A fold starts over. Limits that abandoned attempts held are free, for those attempts
    died with their process. A gate keeps its token, so that an answer given before the crash counts. An open
    condition, a map not yet opened and a stop not yet carried out are in the worklists that the replay has
    filled.

    Args:
        s: The state, after its events were folded.
        now: The run's clock, in seconds.
        log: Receives the facts.
        give_up: Why what was cut off is not tried again, but fails; empty where it is.
    """
    if s.finished is not None:
        return
    for i, status in enumerate(s.status):
        if status == RUNNING:
            if give_up:
                failure = Failure(
                    "recoveries", "CutOff", give_up, retryable=False, attempt=len(s.failures.get(i, ())) + 1
                )
                emit(s, log, facts.FAILED, i, s.token[i], failure, s.began[i], now)
            else:
                emit(s, log, facts.INTERRUPTED, i, s.token[i])
        elif status == WAITING and i in s.due:
            heappush(s.alarms, (s.due[i], DUE, i, 0))
        elif status == RETRYING:
            policy = s.plan.retry[s.plan.node[s.site[i]]]
            failure = s.failures[i][-1]
            most = max(policy.max_delay, failure.retry_after or 0.0)
            s.due[i] = min(s.due[i], now + most)
            heappush(s.alarms, (s.due[i], DUE, i, 0))
    for i, upto in s.folded.items():
        if upto and s.status[i] in (PENDING, READY):
            emit(s, log, facts.FOLDED, i, s.token[i], 0)
    if s.deadline is not None and s.begun is not None:
        heappush(s.alarms, (s.begun.at + s.away + s.deadline, DEADLINE, 0, 0))
    for gauge in s.gauges.values():
        stamps = [min(stamp, now) for stamp in gauge.stamps]
        gauge.stamps.clear()
        gauge.stamps.extend(stamps)
    for i, token in list(s.lingering):
        emit(s, log, facts.RELEASED, i, token)
