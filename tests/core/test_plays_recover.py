"""A run goes on from its events: with streams, gates, open conditions, and what had been abandoned."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.model import Limit
from tests.core.play import (
    CANCEL,
    HURRY,
    Play,
    after,
    answers,
    began,
    each,
    fails,
    gather,
    gone,
    node,
    ok,
    returned,
    says,
    stopped,
    text_of,
    yields,
)  # fmt: skip


def cut(play: Play, at: float) -> tuple[Any, list[str]]:
    """A fresh machine that knows the events of a play; what recovering told, and the commands after it."""
    machine = play.fresh()
    for event in play.events:
        machine.apply(event)
    machine.recover(at)
    told = [text_of(machine.event(fact)) for fact in machine.drain()]
    commands = machine.step([], at)
    told += [text_of(machine.event(fact)) for fact in machine.drain()]
    return machine, [*told, *[play._text(command) for command in commands]]


class TestStreams:
    def test_a_stream_that_was_cut_off_starts_over_and_repeats_nothing(self):
        play = Play(node("s", stream=True), node("i", each("s"), runner="right"))
        play.step(yields("s", "a"))
        play.step(yields("s", "b"))
        play.step(ok("i[0]"))
        machine, told = cut(play, 5)
        assert told == [
            "s given back #1", "i[1] given back #1", "s started #2", "i[1] started #2", "start s#2",
            "start i[1]#2",
        ]  # fmt: skip
        i = play.number("s")
        new = _step(play, machine, [(5, i, 2, "a"), (5, i, 2, "b"), (5, i, 2, "c")])
        assert new == ["s yielded 2", "i[2] started #1"], "the first two were had before"

    def test_a_paused_stream_does_not_stay_paused_for_ever(self):
        play = Play(node("s", stream=True), node("i", each("s"), runner="right"), capacities={"right": 1})
        for at in range(4):
            play.step(yields("s", at))
        assert "s paused" in play.story()
        machine, told = cut(play, 5)
        assert "s given back #1" in told
        assert "start s#2" in told
        assert machine.state.paused == {}


def _step(play: Play, machine: Any, yielded: list[tuple[int, int, int, Any]]) -> list[str]:
    from penstock.core import commands as c

    machine.step([(c.YIELDED, i, token, element, None) for _, i, token, element in yielded], play.now + 5)
    return [text_of(machine.event(fact)) for fact in machine.drain()]


class TestGates:
    def test_a_gate_keeps_its_token_and_takes_the_answer(self):
        play = Play(node("g", kind="gate"), node("a", "g"))
        assert play.told == ["g waiting #1"]
        machine, told = cut(play, 5)
        assert told == []
        from penstock.core import commands as c

        machine.step([(c.ANSWERED, play.number("g"), "yes")], 6.0)
        told = [text_of(machine.event(fact)) for fact in machine.drain()]
        assert told == ["g succeeded #1", "a started #1"]

    def test_an_answer_before_the_cut_counts(self):
        play = Play(node("g", kind="gate"), node("a", "g"))
        play.step(answers("g", "yes"))
        assert cut(play, 5)[1] == ["a given back #1", "a started #2", "start a#2"]


class TestConditions:
    def test_an_open_question_is_asked_again_an_answered_one_is_not(self):
        play = Play(node("a", when=True))
        assert cut(play, 5)[1] == ["ask when of a"]
        play.step(says("a", "when", True))
        assert cut(play, 5)[1] == ["a given back #1", "a started #2", "start a#2"]


class TestLingering:
    def test_what_was_abandoned_died_with_its_process_and_its_limits_are_free(self):
        gpu = Limit("gpu", 1)
        play = Play(node("a", timeout=1, limits=[gpu]), node("b", limits=[gpu]), on_failure="continue")
        play.step(began("a"))
        play.step(at=1)
        assert play.step(stopped("a", left="thread 1")) == []
        machine, told = cut(play, 5)
        assert told == ["a released #1", "b started #1", "start b#1"]
        assert machine.state.lingering == {}

    def test_while_it_lingers_who_waits_is_given_up_after_the_grace(self):
        """There is an alarm for it: nothing else would ever wake the engine."""
        gpu = Limit("gpu", 1)
        play = Play(
            node("a", timeout=1, limits=[gpu]),
            node("b", limits=[gpu]),
            on_failure="continue",
            grace=10,
        )
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        assert play.alarm == 11
        play.step(at=11)
        assert play.told == ["b failed #0 by error", "run failed"]

    def test_unless_it_ends_before(self):
        gpu = Limit("gpu", 1)
        play = Play(
            node("a", timeout=1, limits=[gpu]), node("b", limits=[gpu]), on_failure="continue", grace=10
        )
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        assert play.step(gone("a", 1), at=2) == ["start b#1"]


class TestQuestions:
    def test_a_question_is_put_once_however_often_its_step_is_looked_at(self):
        """A stop looks again at all that is asked; what cleans up stays asked and is not asked anew."""
        play = Play(node("a"), node("c", after("a"), trigger="always", when=True), node("x"))
        assert play.step(ok("a")) == ["ask when of c"]
        assert play.step(CANCEL) == ["stop x#1"]
        assert play.step(stopped("x")) == []
        assert play.step(says("c", "when", True)) == ["start c#1"]

    def test_nor_when_the_step_is_named_twice_among_the_arrived(self):
        play = Play(node("a", when=True), node("b"))
        state = play.machine.state
        assert play.commands == ["ask when of a", "start b#1"]
        state.arrived += [play.number("a")] * 2
        assert play.step() == []

    def test_after_a_replay_too(self):
        """Folding the events lists the step as arrived, and so does the one who goes on."""
        play = Play(node("z"), node("a", "z", when=True))
        play.step(ok("z"))
        machine, told = cut(play, 5)
        assert told == ["ask when of a"]
        machine.state.arrived.append(play.number("a"))
        assert machine.step([], 6.0) == []


class TestGivenBack:
    def test_a_retry_that_was_given_back_is_not_charged_and_starts_at_once(self):
        play = Play(node("a", attempts=2, delay=5.0))
        play.step(fails("a"))
        play.step(at=5)
        assert play.step(returned("a")) == ["start a#3"]
        play.step(fails("a"))
        assert play.told[-2:] == ["a failed #3 by error", "run failed"]


@pytest.mark.parametrize("policy", ["raise", "drop"])
def test_a_run_that_was_cut_between_items_goes_on_with_the_rest(policy):
    play = Play(
        node("s"), node("i", each("s")), node("g", gather("i", policy)), max_concurrency=1,
        on_failure="continue",
    )  # fmt: skip
    play.step(ok("s", [1, 2, 3]))
    play.step(ok("i[0]"))
    assert cut(play, 5)[1] == ["i[1] given back #1", "i[1] started #2", "start i[1]#2"]


@pytest.mark.parametrize("then", [CANCEL, HURRY], ids=["cancel", "hurry"])
def test_s16_a_cancel_in_one_batch_with_the_success_before_it(then):
    play = Play(*[node(f"n{at}") for at in range(20)], node("last"))
    play.step(*[ok(f"n{at}") for at in range(20)], then)
    assert {play.status(f"n{at}") for at in range(20)} == {"succeeded"}
