"""Plays of conditions and of triggers of the user's own."""

from __future__ import annotations

from tests.core.play import OWN_TRIGGER, Play, after, default, fails, node, ok, outcome, returned, says


class TestConditions:
    def test_a_condition_is_asked_when_all_needs_have_ended(self):
        play = Play(node("a"), node("b", "a", when=True))
        assert play.commands == ["start a#1"]
        assert play.step(ok("a")) == ["ask when of b"]
        assert play.step(says("b", "when", True)) == ["start b#1"]
        assert play.told == ["b when said yes", "b started #1"]

    def test_no_is_a_skip_and_passes_down_with_its_cause(self):
        play = Play(node("a", when=True), node("b", "a"), node("c", "b"))
        assert play.commands == ["ask when of a"]
        play.step(says("a", "when", False))
        assert play.told == [
            "a when said no", "a skipped, condition: a", "b skipped, condition: a", "c skipped, condition: a",
            "run succeeded",
        ]  # fmt: skip

    def test_a_parameter_with_a_default_takes_the_skip(self):
        play = Play(node("a", when=True), node("b", default("a")))
        assert play.step(says("a", "when", False)) == ["start b#1"]

    def test_s04_a_condition_that_raises_fails_the_step_and_is_not_retried(self):
        play = Play(node("a", when=True, attempts=3), node("b", "a"))
        play.step(says("a", "when", None))
        assert play.told == ["a failed #0 by condition", "b skipped, upstream: a", "run failed"]

    def test_it_is_asked_once_although_the_step_is_tried_again(self):
        play = Play(node("a", when=True, attempts=3))
        play.step(says("a", "when", True))
        assert play.step(fails("a")) == ["start a#2"]
        assert play.step(returned("a")) == ["start a#3"]

    def test_it_is_asked_once_while_the_answer_is_on_its_way(self):
        play = Play(node("a", when=True), node("b"), node("c"))
        assert play.commands == ["ask when of a", "start b#1", "start c#1"]
        assert play.step(ok("b")) == []
        assert play.step(says("a", "when", True)) == ["start a#1"]

    def test_a_second_answer_counts_for_nothing(self):
        play = Play(node("a", when=True))
        assert play.step(says("a", "when", True), says("a", "when", False)) == ["start a#1"]
        assert play.step(says("a", "when", False)) == []
        assert play.status("a") == "running"

    def test_an_answer_nobody_asked_for_counts_for_nothing(self):
        play = Play(node("a"), node("b", "a", when=True))
        assert play.step(says("b", "when", True)) == []
        assert play.told == []
        assert play.step(ok("a")) == ["ask when of b"]

    def test_the_trigger_is_asked_before_the_condition(self):
        play = Play(node("a"), node("b", outcome("a"), trigger=OWN_TRIGGER, when=True))
        assert play.step(fails("a")) == ["ask trigger of b"]
        assert play.step(says("b", "trigger", True)) == ["ask when of b"]
        assert play.step(says("b", "when", True)) == ["start b#1"]

    def test_no_condition_is_asked_of_what_is_skipped_anyway(self):
        play = Play(node("a"), node("b", "a", when=True), on_failure="continue")
        assert play.step(fails("a")) == []
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a", "run failed"]

    def test_an_answer_after_the_stop_matters_no_more(self):
        play = Play(node("a"), node("b", when=True))
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "b skipped, stopped: a", "run failed"]
        assert play.step(says("b", "when", True)) == []
        assert play.told == []

    def test_an_answer_in_the_step_of_the_stop_matters_no_more(self):
        play = Play(node("a"), node("b", when=True))
        assert play.step(fails("a"), says("b", "when", True)) == []
        assert play.told == ["a failed #1 by error", "b skipped, stopped: a", "run failed"]

    def test_a_failed_condition_stops_the_run_and_the_questions_not_yet_asked(self):
        play = Play(node("a", when=True), node("b", when=True), node("c"))
        assert play.commands == ["ask when of a", "ask when of b", "start c#1"]
        assert play.step(says("a", "when", None), says("b", "when", True)) == ["stop c#1"]
        assert play.told == ["a failed #0 by condition", "b skipped, stopped: a"]

    def test_an_always_step_is_asked_after_the_stop_as_well(self):
        play = Play(node("a"), node("z", after("a"), trigger="always", when=True))
        assert play.step(fails("a")) == ["ask when of z"]
        assert play.step(says("z", "when", True)) == ["start z#1"]
