"""`rules.judge`, for every trigger and every way in which up to three needs can end, against an oracle."""

from __future__ import annotations

import itertools

import pytest

from penstock.core import rules
from penstock.core.model import Accepts

TRIGGERS = {
    rules.ALL_SUCCEEDED: "all_succeeded",
    rules.ALL_DONE: "all_done",
    rules.NONE_FAILED: "none_failed",
    rules.ANY_SUCCEEDED: "any_succeeded",
    rules.ALL_FAILED: "all_failed",
    rules.ALWAYS: "always",
    rules.CALLABLE: "callable",
}
ENDS = {rules.SUCCESS: "S", rules.CONDITION: "C", rules.FAILURE: "F", rules.STOPPED: "X"}
MOVES = {
    rules.RUN: "run",
    rules.ASK_TRIGGER: "ask",
    rules.SKIP_CONDITION: "condition",
    rules.SKIP_UPSTREAM: "upstream",
    rules.SKIP_STOPPED: "stopped",
}
TAKES = (Accepts.NOTHING, Accepts.CONDITION, Accepts.UPSTREAM | Accepts.FAILED, Accepts.ANYTHING)


def content(end: str, takes: Accepts) -> bool:
    """Whether a need is content with what became of it; a stop is no reason that a need could accept."""
    if end == "C":
        return Accepts.CONDITION in takes
    if end == "F":
        return Accepts.FAILED in takes
    return end == "S"


def expected(
    trigger: str, needs: list[tuple[str, Accepts]], stopping: bool, answer: bool | None
) -> tuple[str, int]:
    """The rules of the semantics, said again in the plainest way: what it does, and the need to blame."""
    ends = [end for end, _ in needs]
    unwanted = [(at, end) for at, (end, takes) in enumerate(needs) if not content(end, takes)]
    failed = [at for at, end in unwanted if end == "F"]
    if trigger == "always":
        return "run", -1
    if stopping:
        return ("upstream", failed[0]) if failed else ("stopped", -1)
    if trigger == "all_done":
        return "run", -1
    if trigger == "callable":
        return ({None: "ask", True: "run", False: "condition"}[answer], -1)
    if trigger == "all_failed":
        return ("run" if set(ends) <= {"F"} else "condition"), -1
    if trigger == "none_failed":
        return ("upstream", ends.index("F")) if "F" in ends else ("run", -1)
    if trigger == "any_succeeded":
        if "S" in ends:
            return "run", -1
        return ("upstream", ends.index("F")) if "F" in ends else ("condition", 0)
    refused = [at for at, end in unwanted if end == "C"]
    if failed:
        return "upstream", failed[0]
    return ("condition", refused[0]) if refused else ("run", -1)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=TRIGGERS.get)
@pytest.mark.parametrize("many", [0, 1, 2, 3])
def test_g12_every_case_there_is(trigger, many):
    """Without a stop no need comes to STOPPED; two of the triggers are refused where none is needed."""
    name = TRIGGERS[trigger]
    if not many and name in ("any_succeeded", "all_failed"):
        return
    for stopping in (False, True):
        classes = [end for end in ENDS if stopping or end != rules.STOPPED]
        for needs in itertools.product(itertools.product(classes, TAKES), repeat=many):
            for answer in (None, False, True) if name == "callable" else (None,):
                found = rules.judge(trigger, [(end, takes.value) for end, takes in needs], stopping, answer)
                wanted = expected(name, [(ENDS[end], takes) for end, takes in needs], stopping, answer)
                assert (MOVES[found.move], found.need) == wanted, (needs, stopping, answer)


@pytest.mark.parametrize("came_to", ENDS, ids=ENDS.get)
@pytest.mark.parametrize("takes", TAKES, ids=str)
def test_accepted(came_to, takes):
    assert rules.accepted(came_to, takes.value) == content(ENDS[came_to], takes)


def test_nothing_but_always_starts_after_a_stop():
    for trigger, name in TRIGGERS.items():
        for end, takes in itertools.product(ENDS, TAKES):
            found = rules.judge(trigger, [(end, takes.value)], True, True)
            assert (found.move == rules.RUN) == (name == "always")
