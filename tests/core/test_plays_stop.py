"""Plays of what a failure, a stop and a cancel do to everything else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.play import (
    CANCEL,
    HURRY,
    OWN_TRIGGER,
    Play,
    after,
    answers,
    began,
    default,
    fails,
    gone,
    node,
    ok,
    optional,
    outcome,
    returned,
    says,
    stopped,
)


class TestFailure:
    def test_s01_dependants_are_skipped_and_name_the_root(self):
        play = Play(node("a"), node("b", "a"), node("c", "b"), on_failure="continue")
        play.step(fails("a"))
        assert play.told == [
            "a failed #1 by error", "b skipped, upstream: a", "c skipped, upstream: a", "run failed",
        ]  # fmt: skip

    def test_the_cause_is_the_first_need_by_definition_whatever_failed_first(self):
        play = Play(node("a"), node("b"), node("c", "a", "b"), on_failure="continue")
        play.step(fails("b"))
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "c skipped, upstream: a", "run failed"]

    def test_a_failure_wins_over_a_condition_defined_before_it(self):
        play = Play(node("a", when=True), node("b"), node("c", "a", "b"), on_failure="continue")
        play.step(says("a", "when", False))
        play.step(fails("b"))
        assert play.told == ["b failed #1 by error", "c skipped, upstream: b", "run failed"]

    def test_a_skip_waits_for_all_needs(self):
        play = Play(node("a"), node("b"), node("c", "a", "b"), on_failure="continue")
        play.step(fails("a"))
        assert play.status("c") == "pending"
        play.step(ok("b"))
        assert play.told == ["b succeeded #1", "c skipped, upstream: a", "run failed"]

    def test_continue_runs_all_that_does_not_depend_on_the_failure(self):
        play = Play(node("a"), node("b"), node("a1", "a"), node("b1", "b"), on_failure="continue")
        assert play.step(fails("a"), ok("b")) == ["start b1#1"]
        play.step(ok("b1"))
        assert play.finished == "failed"

    def test_drain_starts_nothing_new_and_lets_the_rest_finish(self):
        play = Play(node("a"), node("b"), node("b1", "b"), on_failure="drain")
        assert play.step(fails("a")) == []
        assert play.step(ok("b")) == []
        assert play.told == ["b succeeded #1", "b1 skipped, stopped: a", "run failed"]

    def test_drain_lets_retries_go_on(self):
        play = Play(node("a"), node("b", attempts=3, delay=1), on_failure="drain")
        play.step(fails("b"))
        assert play.step(fails("a")) == []
        assert play.step(at=1) == ["start b#2"]
        play.step(fails("b"))
        assert play.step(at=2) == ["start b#3"]
        play.step(ok("b"))
        assert play.finished == "failed"
        assert play.status("b") == "succeeded"

    def test_stop_tells_what_runs_and_cancels_what_retries(self):
        play = Play(node("a"), node("b"), node("c", attempts=2, delay=9), node("b1", "b"))
        play.step(fails("c"))
        assert play.step(fails("a")) == ["stop b#1"]
        assert play.told == ["a failed #1 by error", "c cancelled #1"]
        assert play.step(stopped("b")) == []
        assert play.told == ["b cancelled #1", "b1 skipped, stopped: a", "run failed"]

    def test_a_retry_cancelled_by_the_stop_never_starts(self):
        play = Play(node("a"), node("b", attempts=2, delay=5), node("c"))
        play.step(fails("b"))
        play.step(fails("a"))
        assert play.step(at=5) == []
        assert play.step(stopped("c"), at=6) == []
        assert "b started #2" not in play.story()

    def test_what_succeeds_in_spite_of_the_stop_counts(self):
        play = Play(node("a"), node("b"), node("b1", "b"))
        play.step(fails("a"))
        play.step(ok("b", 1))
        assert play.told == ["b succeeded #1", "b1 skipped, stopped: a", "run failed"]

    def test_what_fails_after_the_stop_is_not_tried_again(self):
        play = Play(node("a"), node("b", attempts=5), node("b1", "b"))
        play.step(fails("a"))
        play.step(fails("b"))
        assert play.told == ["b failed #1 by error", "b1 skipped, upstream: b", "run failed"]

    def test_what_is_given_back_after_the_stop_is_skipped(self):
        play = Play(node("a"), node("b"))
        play.step(fails("a"))
        assert play.step(returned("b")) == []
        assert play.told == ["b given back #1", "b skipped, stopped: a", "run failed"]

    def test_what_waits_for_a_slot_is_skipped(self):
        play = Play(node("a"), node("b"), node("c", "b"), max_concurrency=1)
        assert play.commands == ["start b#1"]
        play.step(fails("b"))
        assert play.told == [
            "b failed #1 by error",
            "c skipped, upstream: b",
            "a skipped, stopped: b",
            "run failed",
        ]

    def test_the_first_failure_is_the_one_that_stopped_the_run(self):
        play = Play(node("a"), node("b"), node("c"), node("d", "c"), max_concurrency=3)
        play.step(fails("b"))
        play.step(fails("a"))
        play.step(ok("c"))
        assert play.told == ["c succeeded #1", "d skipped, stopped: b", "run failed"]

    def test_a_cancelled_attempt_that_nobody_told_to_stop_is_a_failure(self):
        play = Play(node("a", attempts=3))
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by cancelled", "run failed"]


class TestTolerated:
    @pytest.mark.parametrize("need", [optional("a"), outcome("a")])
    def test_a_failure_whose_takers_all_accept_it_lets_the_run_go_on(self, need):
        play = Play(node("a"), node("b", need), node("c"))
        assert play.step(fails("a")) == ["start b#1"]
        play.step(ok("b"), ok("c"))
        assert play.finished == "succeeded"

    def test_one_taker_that_does_not_accept_it_is_enough_to_stop(self):
        play = Play(node("a"), node("b", optional("a")), node("c", "a"), node("d"))
        assert play.step(fails("a")) == ["stop d#1"]
        play.step(stopped("d"))
        assert play.finished == "failed"

    def test_an_optional_step_stops_nothing_and_its_dependants_see_the_failure(self):
        play = Play(node("a", optional=True), node("b", "a"), node("c"))
        assert play.step(fails("a")) == []
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a"]
        play.step(ok("c"))
        assert play.finished == "succeeded"

    def test_a_trigger_alone_tolerates_nothing(self):
        play = Play(node("a"), node("b", after("a"), trigger="all_failed"))
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a", "run failed"]

    def test_order_alone_tolerates_nothing(self):
        play = Play(node("a"), node("b", after("a")), node("c"))
        assert play.step(fails("a")) == ["stop c#1"]

    def test_a_default_accepts_a_condition_and_not_a_failure(self):
        play = Play(node("a"), node("b", default("a")))
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a", "run failed"]


class TestTriggers:
    """Each trigger once in the middle of a run; `test_rules.py` has the whole table."""

    @pytest.mark.parametrize(
        ("trigger", "ends", "starts"),
        [
            ("all_done", "fails both", True),
            ("all_done", "ok both", True),
            ("none_failed", "ok both", True),
            ("none_failed", "fails one", False),
            ("any_succeeded", "fails one", True),
            ("any_succeeded", "fails both", False),
            ("all_failed", "fails both", True),
            ("all_failed", "fails one", False),
            ("always", "fails both", True),
        ],
    )
    def test_trigger(self, trigger, ends, starts):
        play = Play(node("a"), node("b"), node("c", outcome("a"), outcome("b"), trigger=trigger))
        end: tuple[Any, Any] = {"ok both": (ok, ok), "fails one": (ok, fails), "fails both": (fails, fails)}[
            ends
        ]
        play.step(end[0]("a"))
        assert play.status("c") == "pending", "no trigger fires early"
        assert play.step(end[1]("b")) == (["start c#1"] if starts else [])
        if not starts:
            assert play.status("c") == "skipped"

    def test_a_trigger_of_the_users_own_may_say_no(self):
        play = Play(node("a"), node("b", outcome("a"), trigger=OWN_TRIGGER), node("c", "b"))
        play.step(fails("a"))
        play.step(says("b", "trigger", False))
        assert play.told == [
            "b trigger said no", "b skipped, condition: b", "c skipped, condition: b", "run succeeded",
        ]  # fmt: skip


class TestAlways:
    def test_it_runs_after_the_stop(self):
        play = Play(node("a"), node("b", "a"), node("z", after("b"), trigger="always"))
        assert play.step(fails("a")) == ["start z#1"]
        play.step(ok("z"))
        assert play.finished == "failed"

    def test_it_waits_for_what_it_cleans_up_after(self):
        play = Play(node("a"), node("b"), node("z", after("b"), trigger="always"))
        assert play.step(fails("a")) == ["stop b#1"]
        assert play.status("z") == "pending"
        assert play.step(stopped("b")) == ["start z#1"]

    def test_it_is_not_told_to_stop(self):
        play = Play(node("a"), node("z", trigger="always"), node("b"))
        assert play.step(fails("a")) == ["stop b#1"]
        assert play.step(CANCEL) == ["stop b#1"]  # said again: a stop is louder each time
        assert play.status("z") == "running"

    def test_a_chain_of_clean_up(self):
        play = Play(
            node("a"), node("y", after("a"), trigger="always"), node("z", outcome("y"), trigger="always")
        )
        play.step(CANCEL)
        assert play.step(stopped("a")) == ["start y#1"]
        assert play.step(ok("y")) == ["start z#1"]
        play.step(ok("z"))
        assert play.finished == "cancelled"

    def test_one_that_fails_in_a_cancelled_run_leaves_it_cancelled(self):
        play = Play(node("a"), node("z", after("a"), trigger="always"))
        play.step(CANCEL)
        play.step(stopped("a"))
        play.step(fails("z"))
        assert play.told == ["z failed #1 by error", "run cancelled"]

    def test_it_has_the_grace_and_is_then_given_up(self):
        play = Play(node("a"), node("b"), node("z", after("b"), trigger="always"), grace=10)
        play.step(fails("a"))
        play.step(stopped("b"), at=3)
        assert play.commands == ["start z#1"]
        assert play.alarm == 10
        assert play.step(at=10) == ["abandon z#1"]
        play.step(stopped("z", left="thread"))
        assert play.told == ["z cancelled #1", "run failed"]

    def test_it_has_the_grace_although_nothing_ran_at_the_stop(self):
        play = Play(node("a"), node("z", after("a"), trigger="always"), grace=10)
        assert play.step(fails("a")) == ["start z#1"]
        assert play.alarm == 10


class TestCancel:
    def test_before_anything_has_started(self):
        play = Play(node("a", when=True), node("b", "a"))
        assert play.step(CANCEL) == []
        assert play.told == [
            "cancel asked",
            "a skipped, stopped: None",
            "b skipped, stopped: None",
            "run cancelled",
        ]

    def test_while_something_runs(self):
        play = Play(node("a"), node("b", "a"))
        assert play.step(CANCEL) == ["stop a#1"]
        play.step(stopped("a"))
        assert play.told == ["a cancelled #1", "b skipped, stopped: None", "run cancelled"]

    def test_s17_while_something_waits_for_a_slot(self):
        play = Play(node("a"), node("b"), node("c"), max_concurrency=1)
        assert play.step(CANCEL) == ["stop a#1"]
        assert play.told == ["cancel asked", "b skipped, stopped: None", "c skipped, stopped: None"]
        play.step(stopped("a"))
        assert play.machine.state.free_total == 1

    def test_while_something_retries(self):
        play = Play(node("a", attempts=2, delay=5), node("b", "a"))
        play.step(fails("a"))
        assert play.step(CANCEL) == []
        assert play.told == ["cancel asked", "a cancelled #1", "b skipped, stopped: None", "run cancelled"]
        assert play.alarm is None

    def test_while_a_gate_waits(self):
        play = Play(node("g", kind="gate"), node("b", "g"))
        play.step(CANCEL)
        assert play.told == ["cancel asked", "g cancelled #1", "b skipped, stopped: None", "run cancelled"]
        assert play.step(answers("g", 1)) == []
        assert play.told == []

    def test_after_a_failure_the_failed_ancestor_is_still_the_cause(self):
        play = Play(node("a"), node("b", "a"), node("c"), node("d", "b", "c"), on_failure="continue")
        play.step(fails("a"))
        play.step(CANCEL)
        play.step(stopped("c"))
        assert play.told == ["c cancelled #1", "d skipped, upstream: a", "run failed"]

    def test_s16_a_success_that_came_before_the_cancel_counts(self):
        play = Play(node("a"), node("b", "a"))
        assert play.step(ok("a", 1), CANCEL) == []
        assert play.told == ["a succeeded #1", "cancel asked", "b skipped, stopped: None", "run cancelled"]

    def test_s16_a_success_that_comes_after_the_cancel_counts_too(self):
        play = Play(node("a"), node("b", "a"))
        assert play.step(CANCEL, ok("a", 1)) == []
        assert play.told == ["cancel asked", "a succeeded #1", "b skipped, stopped: None", "run cancelled"]

    def test_a_failure_after_the_cancel_leaves_the_run_cancelled(self):
        play = Play(node("a"))
        play.step(CANCEL)
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "run cancelled"]

    def test_a_failure_before_the_cancel_makes_the_run_failed(self):
        play = Play(node("a"), node("b"), on_failure="continue")
        play.step(fails("a"), CANCEL)
        play.step(stopped("b"))
        assert play.finished == "failed"

    def test_a_second_cancel_adds_nothing(self):
        play = Play(node("a"))
        play.step(CANCEL)
        assert play.step(CANCEL) == []
        assert play.told == []

    def test_while_draining(self):
        play = Play(node("a"), node("b"), on_failure="drain")
        assert play.step(fails("a")) == []
        assert play.step(CANCEL) == ["stop b#1"]
        play.step(stopped("b"))
        assert play.finished == "failed"

    def test_after_the_end(self):
        play = Play(node("a"))
        play.step(ok("a"))
        play.step(CANCEL)
        assert play.told == []

    def test_what_does_not_end_in_the_grace_is_abandoned(self):
        play = Play(node("a"), node("b"), grace=10)
        play.step(CANCEL, at=2)
        play.step(stopped("a"), at=4)
        assert play.alarm == 12
        assert play.step(at=12) == ["abandon b#1"]
        play.step(stopped("b", left="thread"))
        assert play.told == ["b cancelled #1", "run cancelled"]

    def test_the_second_ctrl_c_gives_up_at_once(self):
        play = Play(node("a"), grace=10)
        play.step(CANCEL)
        assert play.step(HURRY, at=1) == ["abandon a#1"]

    def test_a_hurry_without_a_stop_is_nothing(self):
        play = Play(node("a"))
        assert play.step(HURRY) == []
        assert play.status("a") == "running"

    def test_what_is_given_up_in_the_step_of_the_cancel_was_told_to_stop_before(self):
        play = Play(node("a"))
        assert play.step(CANCEL, HURRY) == ["stop a#1", "abandon a#1"]

    def test_what_is_late_already_is_not_told_twice(self):
        play = Play(node("a", timeout=5), node("b"))
        play.step(began("a"))
        assert play.step(at=5) == ["stop a#1 late"]
        assert play.step(CANCEL) == ["stop b#1"]
        play.step(stopped("a"), stopped("b"))
        assert play.told == ["a failed #1 by timeout", "b cancelled #1", "run cancelled"]


class TestGates:
    def test_a_gate_waits_and_an_answer_lets_the_rest_go_on(self):
        play = Play(node("a"), node("g", "a", kind="gate"), node("b", "g"))
        play.step(ok("a"))
        assert play.told == ["a succeeded #1", "g waiting #1"]
        assert play.step(answers("g", "yes")) == ["start b#1"]
        assert play.value("g") == "yes"

    def test_a_gate_takes_no_slot(self):
        play = Play(node("g", kind="gate"), node("a"), max_concurrency=1)
        assert play.commands == ["start a#1"]
        assert play.status("g") == "waiting"

    def test_an_answer_before_the_gate_is_open_counts_for_nothing(self):
        play = Play(node("a"), node("g", "a", kind="gate"))
        assert play.step(answers("g", 1)) == []
        play.step(ok("a"))
        assert play.status("g") == "waiting"

    def test_a_second_answer_counts_for_nothing(self):
        play = Play(node("g", kind="gate"), node("b", "g"))
        play.step(answers("g", 1), answers("g", 2))
        play.step(answers("g", 3))
        assert (play.value("g"), play.told) == (1, [])

    @pytest.mark.parametrize("on_failure", ["stop", "drain"])
    def test_a_stop_closes_it(self, on_failure):
        play = Play(node("g", kind="gate"), node("a"), on_failure=on_failure)
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "g cancelled #1", "run failed"]

    def test_a_failure_lets_it_wait_under_continue(self):
        play = Play(node("g", kind="gate"), node("a"), on_failure="continue")
        play.step(fails("a"))
        assert play.status("g") == "waiting"
        play.step(answers("g", 1))
        assert play.finished == "failed"

    def test_a_gate_below_a_failure_never_opens(self):
        play = Play(node("a"), node("g", "a", kind="gate"), on_failure="continue")
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "g skipped, upstream: a", "run failed"]


class TestAbandoned:
    def test_an_abandoned_attempt_gives_back_its_slot_at_once(self):
        play = Play(node("a", timeout=5, optional=True), node("b"), max_concurrency=1)
        play.step(began("a"))
        play.step(at=5)
        assert play.step(stopped("a", left="thread")) == ["start b#1"]

    def test_gone_is_heard_once(self):
        play = Play(node("a", timeout=5, optional=True), node("b"))
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a", left="thread"))
        play.step(gone("a", 1))
        assert play.step(gone("a", 1)) == []
        assert play.told == []
