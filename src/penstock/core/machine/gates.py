"""Gates: nodes that wait for an answer from outside, or for a time, and call nothing."""

from __future__ import annotations

from typing import Any

from ..model import NOTHING, Failure
from . import facts
from .facts import Fact
from .judge import need_number
from .state import State


def opened(s: State, i: int, now: float) -> Fact:
    """What becomes of a gate whose time has come: it waits."""
    node = s.plan.nodes[s.plan.node[s.site[i]]]
    due = None
    if node.timeout is not None:
        due = now + node.timeout.attempt if node.timeout.attempt is not None else None
    elif (until := _until(s, i)) is not NOTHING:
        due = _moment(until, now)
        if due is None:
            text = f"it sleeps until a datetime, or for a timedelta, and was given {type(until).__name__}"
            return (facts.FAILED, i, 0, Failure("error", "TypeError", text, retryable=False), now, now)
    return (facts.WAITING, i, s.token[i] + 1, now, due)


def over(s: State, i: int, now: float) -> Fact:
    """What becomes of a gate that waits no longer."""
    node = s.plan.nodes[s.plan.node[s.site[i]]]
    given: Any = (node.bound or {}).get("default", None if node.timeout is None else NOTHING)
    if given is not NOTHING:
        return (facts.SUCCEEDED, i, s.token[i], 0, given, None, s.began[i], now)
    text = f"no answer after {now - s.began[i]:g} s"
    failure = Failure("timeout", "TimeoutError", text, retryable=False)
    return (facts.FAILED, i, s.token[i], failure, s.began[i], now)


def _until(s: State, i: int) -> Any:
    """What a gate sleeps until, from wherever that comes; `NOTHING` if it waits for an answer."""
    number = s.plan.node[s.site[i]]
    node = s.plan.nodes[number]
    for need, at in zip(node.needs, s.plan.needs_of(number), strict=True):
        if need.param == "until":
            value = s.value[need_number(s, i, at)]
            return value if need.part is None else value[need.part]
    for param, name in node.inputs:
        if param == "until" and s.begun is not None:
            return s.begun.inputs[name]
    return (node.bound or {}).get("until", NOTHING)


def _moment(until: Any, now: float) -> float | None:
    """The run's time of a datetime, or of a timedelta from now."""
    if hasattr(until, "total_seconds"):
        return float(now + until.total_seconds())
    return float(until.timestamp()) if hasattr(until, "timestamp") else None
