"""Plays of rows skipped as one: when that is done, when it is not, and that nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from penstock.core.binding import Binder
from penstock.core.events import NodePath, RestSkipped
from penstock.core.invariants import check
from penstock.core.machine import decide
from penstock.core.machine.state import RUNNING
from penstock.core.model import Accepts, Limit, Quorum, SkipCause
from penstock.core.views import result_of
from tests.core.play import (
    CANCEL,
    OWN_TRIGGER,
    Play,
    after,
    each,
    fails,
    fold,
    folds,
    gather,
    keyed,
    node,
    ok,
    outcome,
    returned,
    says,
    stopped,
    yields,
)

NEVER = 1 << 60


@pytest.fixture
def least(monkeypatch) -> Callable[[int], None]:
    """Sets how many rows are worth it."""
    return lambda rows: monkeypatch.setattr(decide, "BULK", rows)


def bulks(play: Play) -> list[str]:
    return [line for line in play.story() if "skipped" in line and " from " in line]


def mapped(size: int = 40, *more, **how) -> Play:
    """A map of which two items run, with a step behind each, a gather, and one step besides."""
    play = Play(
        node("s"), node("m", each("s"), runner="right"), node("n", "m"), node("g", gather("n")), node("f"),
        *more, capacities={"right": 2}, **how,
    )  # fmt: skip
    play.step(ok("s", list(range(size))))
    return play


class TestWhen:
    def test_the_rows_nothing_has_begun_in_are_one_event(self):
        play = mapped()
        play.step(fails("f"))
        assert play.told == ["f failed #1 by error", "n+m skipped 38 from 2, stopped: f"]
        (event,) = [event for event in play.events if isinstance(event, RestSkipped)]
        assert event == RestSkipped(NodePath("m"), ("n", "m"), 2, 38, SkipCause.STOPPED, NodePath("f"))

    def test_so_they_are_after_a_cancel_and_a_deadline(self):
        play = mapped()
        play.step(CANCEL)
        assert bulks(play) == ["n+m skipped 38 from 2, stopped: None"]
        play = mapped(deadline=10)
        play.step(at=10)
        assert bulks(play) == ["n+m skipped 38 from 2, stopped: None"]

    def test_and_after_a_drain(self):
        play = mapped(on_failure="drain")
        play.step(fails("f"))
        assert bulks(play) == ["n+m skipped 38 from 2, stopped: f"]
        play.step(ok("m[0]"), ok("m[1]"))
        assert play.finished == "failed"

    def test_only_from_behind_the_last_row_that_was_begun(self):
        play = mapped()
        play.step(ok("m[0]"), ok("m[1]"))
        play.step(ok("m[3]"))
        play.step(CANCEL)
        assert bulks(play) == ["n+m skipped 35 from 5, stopped: None"]

    def test_a_row_that_was_given_back_is_among_them(self):
        play = mapped()
        play.step(returned("m[1]"), CANCEL)
        assert bulks(play) == ["n+m skipped 39 from 1, stopped: None"]

    def test_with_a_condition_that_has_not_been_answered(self):
        play = Play(node("s"), node("m", each("s"), when=True), node("x"))
        play.step(ok("s", list(range(20))))
        play.step(CANCEL)
        assert bulks(play) == ["m skipped 20 from 0, stopped: None"]
        assert play.step(*[says(f"m[{at}]", "when", True) for at in range(20)]) == []
        play.step(stopped("x"))
        assert play.finished == "cancelled"

    def test_with_limits_that_are_waited_for(self):
        play = Play(node("s"), node("m", each("s"), limits=[Limit("api", 1)]), node("x"))
        play.step(ok("s", list(range(20))))
        play.step(CANCEL)
        assert bulks(play) == ["m skipped 19 from 1, stopped: None"]
        play.step(stopped("m[0]"), stopped("x"))
        assert play.finished == "cancelled"

    def test_all_of_a_map(self):
        play = Play(
            node("hog", runner="right"), node("s"), node("m", each("s"), runner="right"),
            node("g", gather("m")), capacities={"right": 1},
        )  # fmt: skip
        play.step(ok("s", list(range(20))))
        play.step(CANCEL)
        assert play.told == ["cancel asked", "m skipped 20 from 0, stopped: None", "g skipped, stopped: None"]
        assert play.status("m") == "succeeded", "a group that has closed"


class TestWhenNot:
    def test_for_a_few(self):
        play = mapped(decide.BULK + 1)
        play.step(CANCEL)
        assert bulks(play) == []
        assert play.status("m[9]") == "skipped"

    @pytest.mark.parametrize("trigger", ["always"])
    def test_where_something_cleans_up_in_each_row(self, trigger):
        play = mapped(40, node("z", outcome("m"), trigger=trigger))
        play.step(CANCEL)
        assert bulks(play) == []
        assert play.status("z[39]") in ("ready", "running")

    def test_where_a_row_needs_something_outside(self):
        """It may have failed, and then the cause is another."""
        play = Play(
            node("s"), node("o"), node("m", each("s")), node("n", "m", "o"), node("x"), max_concurrency=3
        )
        play.step(ok("s", list(range(40))))
        play.step(fails("o"))
        assert bulks(play) == []
        assert play.machine.state.skip(play.number("m[39]")) == (2, play.number("o"))
        assert play.machine.state.skip(play.number("n[39]")) == (1, play.number("o"))

    def test_where_a_map_lies_inside(self):
        play = Play(node("s"), node("m", each("s")), node("k", each("m")), node("x"), max_concurrency=2)
        play.step(ok("s", list(range(40))))
        play.step(CANCEL)
        assert bulks(play) == []
        assert play.status("k[39]") == "skipped"

    def test_nor_inside_another_map(self):
        play = Play(node("s"), node("m", each("s")), node("k", each("m")), node("x"), max_concurrency=2)
        play.step(ok("s", [1]))
        play.step(ok("m[0]", list(range(40))))
        play.step(CANCEL)
        assert bulks(play) == []
        assert play.status("k[0,39]") == "skipped"

    def test_where_two_streams_have_grown_side_by_side(self):
        play = Play(
            node("s", stream=True), node("t", stream=True), node("m", each("s")), node("k", each("t")),
            max_concurrency=2,
        )  # fmt: skip
        play.step(*[one for at in range(20) for one in (yields("s", at), yields("t", at))])
        play.step(CANCEL)
        assert bulks(play) == []
        assert play.status("m[19]") == play.status("k[19]") == "skipped"


class TestStreams:
    def test_rows_that_come_later_have_a_cause_of_their_own(self):
        play = Play(
            node("s", stream=True), node("m", each("s"), runner="right"), node("f"), node("a", after("s")),
            capacities={"right": 20}, on_failure="drain",
        )  # fmt: skip
        play.step(*[yields("s", at) for at in range(40)])
        play.step(fails("f"))
        assert bulks(play) == ["m skipped 20 from 20, stopped: f"]
        play.step(*[yields("s", at) for at in range(40, 43)])
        assert play.told[-3:] == [f"m[{at}] skipped, stopped: f" for at in range(40, 43)]
        assert {play.machine.state.skip(play.number(f"m[{at}]")) for at in range(20, 43)} == {
            (2, play.number("f"))
        }
        for upto in range(len(play.events)):
            machine = play.fresh()
            for event in play.events[:upto]:
                machine.apply(event)
            found = [text for text in check(machine.state) if not text.endswith("is idle")]
            assert found == [], play.events[upto]

    def test_many_that_come_with_a_second_stop(self):
        """The rows skipped before keep the cause that they have."""
        play = Play(
            node("s", stream=True), node("m", each("s"), runner="right"), node("f"),
            capacities={"right": 2}, on_failure="drain",
        )  # fmt: skip
        for at in range(40):
            play.step(yields("s", at))
        play.step(fails("f"))
        assert bulks(play) == ["m skipped 38 from 2, stopped: f"]
        play.step(*[yields("s", at) for at in range(40, 80)], CANCEL)
        play.step(stopped("s"), stopped("m[0]"), stopped("m[1]"))
        assert play.finished == "failed"
        result = result_of(play.machine.state, "run", now=0.0)
        reasons = [item.reason for item in result.nodes["m"].items or ()][2:]
        assert reasons[:38] == ["the run stopped: f failed"] * 38
        assert set(reasons[38:]) <= {"the run stopped: f failed", "the run was cancelled"}
        for upto in play.turns:
            machine = play.fresh()
            for event in play.events[:upto]:
                machine.apply(event)
            machine.recover(9.0)
            machine.step([], 9.0)


# Nobody can tell


def seen(play: Play) -> dict[str, Any]:
    """All that anybody can see of a run."""
    result = result_of(play.machine.state, "run", now=play.now)
    binder = Binder(play.machine.state, {})
    nodes: dict[str, Any] = {}
    for id, of in result.nodes.items():
        found = [of, *(of.items or ())]
        nodes[id] = [
            (one.path, one.status, one.skip, one.reason, one.value, one.attempts, one.source, one.duration)
            for one in found
        ]
    kept = {
        path: binder.arguments(play.number(path)) for path in ("z",)
        if path in result.nodes and play.status(path) in ("running", "succeeded")
    }  # fmt: skip
    return {
        "status": result.status, "outputs": result.outputs, "tolerated": result.tolerated,
        "nodes": nodes, "kept": kept, "commands": play.commands,
    }  # fmt: skip


Z = node(
    "z", gather("n", "keep")._replace(accepts=Accepts.ANYTHING, default="nothing at all"), trigger="always"
)

PLAYS: dict[str, Callable[[], list[dict[str, Any]]]] = {}


def scene(function: Callable[[], Play]) -> Callable[[], Play]:
    PLAYS[function.__name__] = function  # type: ignore[assignment]
    return function


@scene
def stopped_by_a_failure() -> Play:
    play = mapped(6, Z)
    play.step(ok("m[0]"), ok("m[1]"))
    play.step(fails("n[0]"))
    play.step(*[stopped(path) for path in ("m[2]", "m[3]", "n[1]", "f")])
    return play


@scene
def cancelled() -> Play:
    play = mapped(6, Z)
    play.step(ok("m[0]"))
    play.step(CANCEL)
    play.step(stopped("m[1]"), ok("m[2]"), stopped("n[0]"), stopped("f"))
    return play


@scene
def drained() -> Play:
    play = mapped(6, Z, on_failure="drain")
    play.step(fails("f"))
    play.step(ok("m[0]"), fails("m[1]"))
    return play


@scene
def past_the_deadline() -> Play:
    play = mapped(6, Z, deadline=5)
    play.step(at=5)
    play.step(stopped("m[0]"), stopped("f"), ok("m[1]"))
    return play


@scene
def drained_and_past_the_deadline() -> Play:
    play = mapped(6, Z, deadline=5, on_failure="drain")
    play.step(fails("f"))
    play.step(at=5)
    play.step(stopped("m[0]"), ok("m[1]"))
    return play


@scene
def with_names() -> Play:
    play = Play(node("s"), node("m", each("s", keyed=True)), node("n", "m"), Z, max_concurrency=2)
    play.step(keyed("s", "m", *"dcba"), ok("s", [1, 2, 3, 4]))
    play.step(CANCEL)
    play.step(stopped("m[d]"), ok("m[c]"))
    return play


@scene
def with_a_quorum_and_a_fold() -> Play:
    play = mapped(6, Z, node("q", gather("n", Quorum(2))), fold("o", "m", "drop"))
    play.step(ok("m[0]"))
    play.step(fails("f"))
    play.step(stopped("m[1]"), stopped("m[2]"), stopped("n[0]"), stopped("o"))
    return play


@scene
def with_conditions() -> Play:
    play = Play(
        node("s"), node("m", each("s"), when=True), node("n", outcome("m"), trigger=OWN_TRIGGER), Z, node("f")
    )
    play.step(ok("s", list(range(5))))
    play.step(says("m[1]", "when", False), says("m[2]", "when", True))
    play.step(says("n[1]", "trigger", True))
    play.step(fails("f"))
    play.step(stopped("m[2]"), stopped("n[1]"), *[says(f"m[{at}]", "when", True) for at in (0, 3, 4)])
    return play


@scene
def before_anything_began() -> Play:
    play = Play(
        node("hog", runner="right"), node("s"), node("m", each("s"), runner="right"), node("n", "m"),
        node("g", gather("n")), Z, capacities={"right": 1},
    )  # fmt: skip
    play.step(ok("s", list(range(5))))
    play.step(CANCEL)
    play.step(stopped("hog"))
    return play


@scene
def while_they_are_tried_again() -> Play:
    play = Play(
        node("s"), node("m", each("s"), attempts=2, delay=9, runner="right"), node("n", "m"), Z, node("f"),
        capacities={"right": 1},
    )  # fmt: skip
    play.step(ok("s", list(range(5))))
    play.step(fails("m[0]"))
    play.step(fails("f"))
    play.step(stopped("m[1]"))
    return play


@scene
def of_a_stream() -> Play:
    play = Play(
        node("s", stream=True), node("m", each("s"), runner="right"), node("n", "m"), Z, node("f"),
        capacities={"right": 1},
    )  # fmt: skip
    for at in range(4):
        play.step(yields("s", at))
    play.step(fails("f"))
    play.step(yields("s", 4), stopped("s"), stopped("m[0]"))
    return play


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_nobody_can_tell(play, least):
    least(1)
    together = play()
    assert any(isinstance(event, RestSkipped) for event in together.events), "it was not tried at all"
    least(NEVER)
    one_by_one = play()
    assert not bulks(one_by_one)
    assert seen(together) == seen(one_by_one)
    together.step(*[ok("z")] * (together.status("z") == "running"))
    one_by_one.step(*[ok("z")] * (one_by_one.status("z") == "running"))
    assert together.finished is not None
    assert seen(together) == seen(one_by_one)


def random_play(seed: int) -> Play:
    """A map with all that may stand in a row, played at random, stopped some time and played to its end."""
    dice = Random(seed)
    conditions: dict[str, Any] = {
        "when": dice.random() < 0.3,
        "attempts": dice.choice((1, 1, 3)),
        "delay": dice.choice((0, 1)),
    }
    play = Play(
        node("s", stream=dice.random() < 0.3, runner="right"),
        node("m", each("s"), limits=[Limit("api", 2)] if dice.random() < 0.2 else (), **conditions),
        node(
            "n", outcome("m"), trigger=dice.choice(("all_done", "all_failed", OWN_TRIGGER, "all_succeeded"))
        ),
        node("g", gather("n", dice.choice(("raise", "drop", "keep", Quorum(0.5), Quorum(3))))),
        fold("o", "m", dice.choice(("raise", "drop"))),
        Z,
        node("f", runner="right"),
        on_failure=dice.choice(("stop", "drain", "continue")),
        deadline=dice.choice((None, 20)),
        capacities={"left": dice.choice((1, 2, 4)), "right": 2},
    )
    size = dice.randrange(12)
    ends = dice.randrange(2, 25)
    given = 0
    for turn in range(400):
        if play.finished:
            return play
        state = play.machine.state
        running = sorted(str(state.path(i)) for i, status in enumerate(state.status) if status == RUNNING)
        asked = sorted(str(state.path(i)) for i in state.asked)
        said: list[Any] = [fails("f") if "f" in running and dice.random() < 0.5 else CANCEL] * (turn == ends)
        if asked:
            path = dice.choice(asked)
            said.append(says(path, "when" if path[0] == "m" else "trigger", dice.choice((True, True, False))))
        for path in running[: dice.randrange(3)]:
            if path == "s" and play.plan.has_streams and given < size:
                given += 1
                said.append(yields("s", given))
            elif path[0] == "o":
                said.append(slice_of(play, path, dice))
            elif path == "f" and turn < ends:
                continue
            else:
                value = list(range(size)) if path == "s" else None
                how = dice.choice((ok, ok, ok, fails, stopped if state.stopping else ok))
                said.append(how(path, value) if how is ok else how(path))
        alarm = play.alarm
        wait = dice.random() < 0.3 or not (running or asked)
        play.step(*said, at=alarm if wait and alarm is not None and alarm > play.now else None)
    raise AssertionError("it does not end")


def slice_of(play: Play, path: str, dice: Random) -> tuple[Any, ...]:
    """What the fold says next, as its slice ends."""
    state = play.machine.state
    i = play.number(path)
    fan, _ = state.folding(i)
    if not state.waits[i]:
        return ok(path)
    return dice.choice((folds(path, min(state.folded.get(i, 0) + 1, len(fan.rows))), fails(path)))


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_nobody_can_tell_however_it_is_played(first, least):
    tried = 0
    for seed in range(first, first + 100):
        least(1)
        together = random_play(seed)
        tried += any(isinstance(event, RestSkipped) for event in together.events)
        least(NEVER)
        assert seen(together) == seen(random_play(seed)), f"seed {seed}"
    assert tried > 20
