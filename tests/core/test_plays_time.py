"""Plays of time: all attempts together, the run's deadline, its retries, what is left behind, silence."""

from __future__ import annotations

import pytest

from penstock.core.model import Limit, Rate, Timeout
from penstock.core.views import result_of
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
    granted,
    heard_late,
    idles,
    node,
    ok,
    optional,
    returned,
    says,
    stopped,
    yields,
)


def total(seconds: float, attempt: float | None = None, idle: float | None = None) -> Timeout:
    return Timeout(attempt, seconds, idle)


def failure(play: Play, path: str):
    return play.machine.state.failures[play.number(path)][-1]


class TestTotal:
    def test_r06_it_counts_from_the_start_of_the_first_attempt(self):
        play = Play(node("a", timeout=total(10), attempts=3, delay=1))
        play.step(began("a"), at=2)
        assert play.alarm == 12
        play.step(fails("a"), at=5)
        play.step(at=6)
        play.step(began("a"), at=7)
        assert play.alarm == 12

    def test_it_begins_with_the_attempt_and_not_with_its_hand_out(self):
        play = Play(node("a", timeout=total(10)))
        assert play.alarm is None
        assert play.step(at=100) == []

    def test_before_its_moment_nothing_happens_and_at_it_the_attempt_is_stopped(self):
        play = Play(node("a", timeout=total(10)))
        play.step(began("a"))
        assert play.step(at=9.75) == []
        assert play.step(at=10) == ["stop a#1 late"]
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]

    def test_s15_a_result_in_the_same_step_comes_first(self):
        play = Play(node("a", timeout=total(10)))
        play.step(began("a"))
        assert play.step(ok("a"), at=10) == []
        assert play.finished == "succeeded"

    def test_s15_a_result_after_it_is_too_late(self):
        play = Play(node("a", timeout=total(10)))
        play.step(began("a"))
        play.step(at=10)
        play.step(ok("a"), at=11)
        assert play.told == ["a failed #1 by timeout", "run failed"]

    @pytest.mark.parametrize(("ended", "finished"), [(9.9, "succeeded"), (10, "failed")])
    def test_s15_a_result_that_came_in_time_counts_whenever_it_is_heard(self, ended, finished):
        play = Play(node("a", timeout=total(10)))
        play.step(began("a"))
        play.step(at=10)
        play.step(heard_late(ok("a"), ended), at=11)
        assert play.finished == finished

    def test_an_attempt_that_total_ended_is_never_tried_again(self):
        play = Play(node("a", timeout=total(10), attempts=9))
        play.step(began("a"))
        play.step(at=10)
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]
        assert failure(play, "a").text == "no result after 10 s in all attempts"

    @pytest.mark.parametrize(
        ("delay", "becomes"),
        [(4.75, "a retrying #1 at 9.75"), (5, "a failed #1 by retry_past_deadline")],
        ids=["just before", "at"],
    )
    def test_a_delay_that_ends_at_its_moment_or_later_is_not_waited_for(self, delay, becomes):
        play = Play(node("a", timeout=total(10), attempts=9, delay=delay))
        play.step(began("a"))
        play.step(fails("a"), at=5)
        assert play.told[0] == becomes

    def test_what_failed_is_still_named_when_no_retry_fits(self):
        play = Play(node("a", timeout=total(10), attempts=9, delay=50))
        play.step(began("a"))
        play.step(fails("a"), at=5)
        found = failure(play, "a")
        assert (found.kind, found.type, found.text) == ("retry_past_deadline", "Error", "as the play says")
        assert found.note == "not tried again: in 50 s the time of the step is over"

    def test_r07_retry_after_counts_as_the_delay(self):
        play = Play(node("a", timeout=total(10), attempts=9, delay=1))
        play.step(began("a"))
        play.step(fails("a", retry_after=9), at=1)
        assert play.told == ["a failed #1 by retry_past_deadline", "run failed"]

    def test_the_last_attempt_allowed_is_told_by_its_own_failure(self):
        """No retry would follow anyway, so that its time is short is not the reason."""
        play = Play(node("a", timeout=total(10), attempts=2, delay=5))
        play.step(began("a"))
        play.step(fails("a"), at=1)
        play.step(at=6)
        play.step(began("a"))
        play.step(fails("a"), at=7)
        assert play.told == ["a failed #2 by error", "run failed"]

    def test_the_attempts_own_time_may_end_first(self):
        play = Play(node("a", timeout=total(10, attempt=4), attempts=9, delay=1))
        play.step(began("a"))
        assert play.step(at=4) == ["stop a#1 late"]
        play.step(stopped("a"))
        assert play.told == ["a retrying #1 at 5"]
        play.step(at=5)
        play.step(began("a"))
        assert play.alarm == 9
        play.step(at=9)
        play.step(stopped("a"))
        assert play.told == ["a failed #2 by retry_past_deadline", "run failed"]
        assert failure(play, "a").text == "no result after 4 s"

    def test_the_rest_of_total_cuts_the_last_attempt_short(self):
        play = Play(node("a", timeout=total(10, attempt=4), attempts=9))
        for at in (0, 4, 8):
            play.step(began("a"), at=at)
            assert play.alarm == min(at + 4, 10)
            play.step(at=play.alarm)
            play.step(stopped("a"))
        assert play.told == ["a failed #3 by timeout", "run failed"]

    def test_both_at_one_moment_stop_it_once(self):
        play = Play(node("a", timeout=total(4, attempt=4), attempts=9))
        play.step(began("a"))
        assert play.step(at=4) == ["stop a#1 late"]
        play.step(stopped("a"))
        assert play.finished == "failed"

    def test_an_attempt_that_was_given_back_is_not_the_first(self):
        play = Play(node("a", timeout=total(10), attempts=2))
        play.step(began("a"))
        play.step(returned("a"), at=8)
        play.step(began("a"), at=9)
        assert play.alarm == 19

    def test_an_item_has_a_total_of_its_own(self):
        play = Play(
            node("s"), node("m", each("s"), timeout=total(10), attempts=2, delay=1), max_concurrency=1
        )
        play.step(ok("s", [1, 2]))
        play.step(began("m[0]"))
        play.step(ok("m[0]"), at=9)
        play.step(began("m[1]"))
        assert play.alarm == 19

    def test_an_attempt_that_began_only_after_it_is_stopped_at_once(self):
        """Its retry was due in time and then waited for a slot."""
        play = Play(node("a", timeout=total(10), attempts=2, delay=1), node("b"), max_concurrency=1)
        play.step(began("a"))
        assert play.step(fails("a"), at=2) == ["start b#1"]
        assert play.step(ok("b"), at=20) == ["start a#2"]
        assert play.step(began("a")) == ["stop a#2 late"]
        play.step(stopped("a"))
        assert play.told == ["a failed #2 by timeout", "run failed"]

    def test_its_grace_is_the_grace_of_any_timeout(self):
        play = Play(node("a", timeout=total(10)), grace=3)
        play.step(began("a"))
        play.step(at=10)
        assert play.alarm == 13
        assert play.step(at=13) == ["abandon a#1"]


class TestIdle:
    def test_silence_ends_an_attempt_and_is_tried_again(self):
        play = Play(node("a", timeout=Timeout(idle=5), attempts=2, delay=1))
        play.step(began("a"))
        assert play.alarm is None, "who is silent is known to the engine"
        assert play.step(idles("a"), at=7) == ["stop a#1 late"]
        play.step(stopped("a"))
        assert play.told == ["a retrying #1 at 8"]
        assert failure(play, "a").text == "no sign of life for 5 s"

    def test_it_has_the_grace_and_then_is_given_up(self):
        play = Play(node("a", timeout=Timeout(idle=5)), grace=10)
        play.step(began("a"))
        play.step(idles("a"), at=5)
        assert play.alarm == 15
        assert play.step(at=15) == ["abandon a#1"]

    @pytest.mark.parametrize("token", [1, 2, 3])
    def test_only_the_attempt_at_hand_is_meant(self, token):
        play = Play(node("a", timeout=Timeout(idle=5), attempts=3))
        play.step(fails("a"))
        assert play.step(idles("a", token=token)) == (["stop a#2 late"] if token == 2 else [])

    def test_a_success_in_spite_of_it_is_too_late(self):
        play = Play(node("a", timeout=Timeout(idle=5)))
        play.step(idles("a"), ok("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]

    def test_after_its_end_nothing_is_said(self):
        play = Play(node("a", timeout=Timeout(idle=5)), node("b"))
        assert play.step(ok("a"), idles("a")) == []
        assert play.status("a") == "succeeded"

    def test_it_passes_total_as_any_failure_does(self):
        play = Play(node("a", timeout=total(10, idle=5), attempts=5, delay=4))
        play.step(began("a"))
        play.step(idles("a"), at=6)
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by retry_past_deadline", "run failed"]

    def test_who_is_late_already_stays_late_for_that_reason(self):
        play = Play(node("a", timeout=Timeout(3, None, 5)))
        play.step(began("a"))
        play.step(at=3)
        assert play.step(idles("a"), at=5) == []
        play.step(stopped("a"))
        assert failure(play, "a").text == "no result after 3 s"


class TestDeadline:
    def test_before_its_moment_nothing_happens_and_at_it_the_run_stops(self):
        play = Play(node("a"), deadline=10)
        assert play.alarm == 10
        assert play.step(at=9.75) == []
        assert play.step(at=10) == ["stop a#1"]
        assert play.told == ["deadline reached at 10"]
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]
        assert failure(play, "a").text == "the run's deadline of 10 s passed"

    def test_it_counts_from_the_start_of_the_run(self):
        play = Play(node("a"), node("b", "a"), deadline=10)
        play.step(ok("a"), at=9)
        assert play.step(at=10) == ["stop b#1"]

    def test_s15_what_came_in_the_same_step_counts_and_what_follows_it_does_not_start(self):
        play = Play(node("a"), node("b", "a"), deadline=10)
        assert play.step(ok("a"), at=10) == []
        assert play.told == [
            "a succeeded #1", "deadline reached at 10", "b skipped, stopped: None", "run failed",
        ]  # fmt: skip

    @pytest.mark.parametrize("at", [10, 11])
    def test_s15_a_run_that_is_done_in_that_step_has_made_it(self, at):
        play = Play(node("a"), deadline=10)
        play.step(ok("a"), at=at)
        assert play.told == ["a succeeded #1", "run succeeded"]

    def test_a_success_after_it_still_counts_and_the_run_has_failed(self):
        play = Play(node("a"), node("b", "a"), deadline=10)
        play.step(at=10)
        play.step(ok("a", 7), at=11)
        assert play.told == ["a succeeded #1", "b skipped, stopped: None", "run failed"]
        assert play.value("a") == 7

    def test_an_error_after_it_is_that_error(self):
        play = Play(node("a", attempts=3), node("b", "a"), deadline=10)
        play.step(at=10)
        play.step(fails("a"), at=11)
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a", "run failed"]

    def test_below_what_it_ended_the_cause_is_upstream(self):
        play = Play(node("a"), node("b", "a"), node("c", after("b")), deadline=10)
        play.step(at=10)
        play.step(stopped("a"))
        assert play.told == [
            "a failed #1 by timeout", "b skipped, upstream: a", "c skipped, upstream: a", "run failed",
        ]  # fmt: skip

    def test_each_status_ends_in_its_own_way(self):
        play = Play(
            node("retrying", attempts=2, delay=1, runner="right"),
            node("hog", runner="right"),
            node("gate", kind="gate"),
            node("running"),
            node("ready"),
            node("pending", "running"),
            node("asked", when=True),
            node("after-gate", "gate"),
            deadline=10,
            capacities={"left": 1, "right": 1},
        )
        assert play.commands == ["ask when of asked", "start running#1", "start retrying#1"]
        assert play.step(fails("retrying")) == ["start hog#1"]
        assert play.step(at=1) == []
        assert play.statuses() == {
            "retrying": "retrying", "hog": "running", "gate": "waiting", "running": "running",
            "ready": "ready", "pending": "pending", "asked": "pending", "after-gate": "pending",
        }  # fmt: skip
        assert play.step(at=10) == ["stop running#1", "stop hog#1"]
        assert sorted(play.told) == [
            "after-gate skipped, stopped: None", "asked skipped, stopped: None", "deadline reached at 10",
            "gate cancelled #1", "ready skipped, stopped: None", "retrying cancelled #1",
        ]  # fmt: skip
        assert play.step(says("asked", "when", True), answers("gate", 1)) == []
        play.step(stopped("running"), stopped("hog"))
        assert play.told == [
            "running failed #1 by timeout", "hog failed #1 by timeout", "pending skipped, upstream: running",
            "run failed",
        ]  # fmt: skip

    def test_what_is_given_back_after_it_is_skipped(self):
        play = Play(node("a"), deadline=10)
        play.step(at=10)
        assert play.step(returned("a")) == []
        assert play.told == ["a given back #1", "a skipped, stopped: None", "run failed"]

    def test_the_skips_say_why(self):
        play = Play(node("a"), node("b", "a"), deadline=10)
        play.step(at=10)
        play.step(ok("a"))
        result = result_of(play.machine.state, "run", now=play.now)
        assert result.nodes["b"].reason == "the run's deadline passed"

    def test_clean_up_still_runs_and_its_end_is_its_own(self):
        play = Play(
            node("a"), node("z", after("a"), trigger="always"), node("y", trigger="always"), deadline=10
        )
        assert play.commands == ["start a#1", "start y#1"]
        assert play.step(at=10) == ["stop a#1"], "`y` cleans up and is left alone"
        assert play.step(stopped("a")) == ["start z#1"]
        play.step(ok("z"), ok("y"), at=12)
        assert [play.status(id) for id in "zy"] == ["succeeded", "succeeded"]
        assert play.finished == "failed"

    def test_clean_up_gets_the_grace_and_is_cancelled_then_not_timed_out(self):
        play = Play(node("a"), node("z", after("a"), trigger="always"), deadline=10, grace=5)
        play.step(at=10)
        play.step(stopped("a"), at=11)
        assert play.alarm == 15
        assert play.step(at=15) == ["abandon z#1"]
        play.step(stopped("z"))
        assert play.told == ["z cancelled #1", "run failed"]

    def test_what_does_not_end_in_the_grace_is_given_up_and_named(self):
        play = Play(node("a"), deadline=10, grace=5)
        play.step(at=10)
        assert play.step(at=15) == ["abandon a#1"]
        play.step(stopped("a", left="thread 1"))
        assert play.told == ["a failed #1 by timeout", "run failed"]
        assert failure(play, "a").abandoned.name == "thread 1"

    def test_hurry_gives_up_at_once(self):
        play = Play(node("a"), deadline=10)
        play.step(at=10)
        assert play.step(HURRY) == ["abandon a#1"]

    def test_it_stops_a_run_that_drains(self):
        play = Play(node("a"), node("b"), node("c", "b"), deadline=10, on_failure="drain")
        assert play.step(fails("a"), at=1) == []
        assert play.alarm == 10
        assert play.step(at=10) == ["stop b#1"]
        play.step(stopped("b"))
        assert play.told == ["b failed #1 by timeout", "c skipped, upstream: b", "run failed"]

    def test_a_retry_of_a_run_that_drains_is_cancelled_by_it(self):
        play = Play(
            node("b", attempts=2, delay=1), node("c"), node("x", when=True), deadline=10, on_failure="drain",
            max_concurrency=1,
        )  # fmt: skip
        assert play.step(fails("b")) == ["start c#1"]
        play.step(says("x", "when", None))
        assert play.step(at=1) == [], "due, and without a slot"
        assert play.step(at=10) == ["stop c#1"]
        assert play.told == ["deadline reached at 10", "b cancelled #1"]

    def test_with_drain_what_stopped_first_is_named_as_the_cause(self):
        play = Play(node("a"), node("b"), node("c", "b"), deadline=10, on_failure="drain")
        play.step(fails("a"), at=1)
        play.step(at=10)
        play.step(ok("b"))
        assert play.told == ["b succeeded #1", "c skipped, stopped: a", "run failed"]

    def test_a_failure_that_stopped_nothing_is_not_named_as_the_cause(self):
        play = Play(node("a"), node("b"), node("c", "b"), deadline=10, on_failure="continue")
        play.step(fails("a"), at=1)
        play.step(at=10)
        play.step(ok("b"))
        assert play.told == ["b succeeded #1", "c skipped, stopped: None", "run failed"]

    def test_a_run_that_stops_already_takes_no_notice(self):
        play = Play(node("a"), node("b"), deadline=10)
        play.step(fails("a"), at=1)
        assert play.alarm == 11, "the grace, not the deadline"
        assert play.step(at=10) == []
        play.step(stopped("b"))
        assert play.told == ["b cancelled #1", "run failed"]

    def test_nor_does_a_run_that_is_being_cancelled(self):
        play = Play(node("a"), deadline=10)
        play.step(CANCEL, at=9)
        play.step(at=10)
        assert play.told == []
        play.step(stopped("a"))
        assert play.told == ["a cancelled #1", "run cancelled"]

    def test_a_cancel_in_the_same_step_comes_first(self):
        play = Play(node("a"), deadline=10)
        assert play.step(CANCEL, at=10) == ["stop a#1"]
        play.step(stopped("a"))
        assert play.finished == "cancelled"

    def test_a_cancel_after_it_makes_no_success_of_the_failure(self):
        play = Play(node("a"), node("b"), node("c", "b"), deadline=10)
        play.step(at=10)
        play.step(CANCEL, at=11)
        assert "cancel asked" in play.told
        play.step(stopped("a"), ok("b"))
        assert play.told == [
            "a failed #1 by timeout", "b succeeded #1", "c skipped, stopped: None", "run failed",
        ]  # fmt: skip

    def test_an_attempt_that_was_late_already_is_told_once_more_and_fails_by_its_timeout(self):
        play = Play(node("a", timeout=8, attempts=5), deadline=10)
        play.step(began("a"), at=1)
        play.step(at=9)
        assert play.step(at=10) == [], "it was told to end already"
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]
        assert failure(play, "a").text == "no result after 8 s"

    @pytest.mark.parametrize(
        ("delay", "becomes"),
        [(4.75, "a retrying #1 at 9.75"), (5, "a failed #1 by retry_past_deadline")],
        ids=["just before", "at"],
    )
    def test_r07_a_delay_that_passes_it_is_not_waited_for(self, delay, becomes):
        play = Play(node("a", attempts=5, delay=delay), deadline=10)
        play.step(fails("a"), at=5)
        assert play.told[0] == becomes

    def test_the_note_names_whichever_comes_first(self):
        play = Play(node("a", timeout=total(10), attempts=5, delay=9), deadline=10)
        play.step(began("a"), at=1)
        play.step(fails("a"), at=2)
        assert failure(play, "a").note == "not tried again: in 9 s the time of the run is over"

    def test_what_does_not_stop_the_run_and_is_too_late_to_retry_is_tolerated_all_the_same(self):
        play = Play(node("a", attempts=5, delay=9), node("b", optional("a")), deadline=10)
        assert play.step(fails("a"), at=5) == ["start b#1"]
        play.step(ok("b"))
        assert play.finished == "succeeded"

    def test_a_tolerated_attempt_that_it_ended_is_still_tolerated(self):
        play = Play(node("a", optional=True), deadline=10)
        play.step(at=10)
        play.step(stopped("a"))
        assert play.finished == "failed"
        assert result_of(play.machine.state, "run", now=play.now).tolerated == ("a",)

    def test_it_wakes_nobody_once_the_run_has_ended(self):
        play = Play(node("a"), deadline=10)
        play.step(ok("a"), at=1)
        assert play.alarm is None
        assert play.step(at=10) == []

    def test_a_run_of_gates_alone_is_ended_by_it(self):
        play = Play(node("g", kind="gate"), deadline=10)
        assert play.alarm == 10
        play.step(at=10)
        assert play.told == ["deadline reached at 10", "g cancelled #1", "run failed"]

    def test_a_map_that_opens_after_it_starts_nothing(self):
        play = Play(node("s"), node("m", each("s")), node("g", gather("m")), deadline=10)
        play.step(at=10)
        assert play.step(ok("s", [1, 2])) == []
        assert play.told == [
            "s succeeded #1", "m opened with 2", "m[0] skipped, stopped: None", "m[1] skipped, stopped: None",
            "g skipped, stopped: None", "run failed",
        ]  # fmt: skip

    def test_a_stream_that_it_ended_has_failed(self):
        play = Play(node("s", stream=True), node("m", each("s")), node("g", gather("m")), deadline=10)
        play.step(yields("s", 1), at=1)
        assert play.step(at=10) == ["stop s#1", "stop m[0]#1"]
        play.step(stopped("s"), ok("m[0]"))
        assert play.told == [
            "s failed #1 by timeout", "m[0] succeeded #1", "g skipped, upstream: s", "run failed",
        ]  # fmt: skip


class TestRetryBudget:
    def test_when_it_is_used_up_a_failure_is_final(self):
        play = Play(node("a", attempts=9), node("b", attempts=9), retry_budget=2, on_failure="continue")
        play.step(fails("a"))
        play.step(fails("b"))
        play.step(fails("a"))
        assert play.told == ["a failed #2 by error"]
        assert failure(play, "a").note == "not tried again: the run's retry budget of 2 is used up"
        play.step(ok("b"))
        assert play.finished == "failed"

    def test_within_one_step_too(self):
        play = Play(node("a", attempts=9), node("b", attempts=9), retry_budget=1, on_failure="continue")
        play.step(fails("b"), fails("a"))
        assert play.told == ["b retrying #1 at 0", "a failed #1 by error", "b started #2"]

    def test_none_at_all(self):
        play = Play(node("a", attempts=9), retry_budget=0)
        play.step(fails("a"))
        assert play.told == ["a failed #1 by error", "run failed"]

    def test_what_is_given_back_costs_nothing(self):
        play = Play(node("a", attempts=2), retry_budget=1)
        play.step(returned("a"))
        play.step(fails("a"))
        assert play.told == ["a retrying #2 at 0", "a started #3"]

    def test_a_step_out_of_attempts_does_not_name_it(self):
        play = Play(node("a"), retry_budget=0)
        play.step(fails("a"))
        assert failure(play, "a").note == ""

    def test_a_timeout_is_no_exception(self):
        play = Play(node("a", timeout=5, attempts=9), retry_budget=0)
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]


class TestMaxAbandoned:
    def left(self, play: Play, id: str, at: float) -> None:
        play.step(began(id), at=at)
        play.step(at=at + 1)
        play.step(stopped(id, left=f"thread of {id}"))

    def test_s10_one_too_many_fails_the_run_and_stops_it(self):
        play = Play(
            node("a", timeout=1, optional=True), node("b", timeout=1, optional=True), node("c"),
            node("d", "c"), max_abandoned=1,
        )  # fmt: skip
        self.left(play, "a", 0)
        assert play.told == ["a failed #1 by timeout"]
        play.step(began("b"), at=2)
        play.step(at=3)
        assert play.step(stopped("b", left="thread of b")) == ["stop c#1"]
        play.step(ok("c"))
        assert play.told == ["c succeeded #1", "d skipped, stopped: b", "run failed"]

    def test_an_attempt_that_is_tried_again_counts(self):
        play = Play(node("a", timeout=1, attempts=3, delay=5), node("b"), max_abandoned=0)
        self.left(play, "a", 0)
        assert play.told == ["a retrying #1 at 6", "a cancelled #1"]
        assert play.commands == ["stop b#1"]
        play.step(stopped("b"))
        assert play.finished == "failed"

    def test_so_does_one_that_was_cancelled_and_a_cancelled_run_stays_cancelled(self):
        play = Play(node("a"), node("b"), max_abandoned=0, grace=5)
        play.step(CANCEL)
        assert play.step(at=5) == ["abandon a#1", "abandon b#1"]
        play.step(stopped("a", left="one"), stopped("b", left="two"))
        assert play.finished == "cancelled"

    def test_with_continue_too_and_its_step_is_the_cause(self):
        play = Play(
            node("f"), node("a", timeout=1, optional=True), node("c"), node("d", "c"), max_abandoned=0,
            on_failure="continue",
        )  # fmt: skip
        play.step(fails("f"))
        self.left(play, "a", 0)
        assert play.commands == ["stop c#1"]
        play.step(ok("c"))
        assert play.told == ["c succeeded #1", "d skipped, stopped: a", "run failed"]

    def test_a_run_that_drains_stops(self):
        play = Play(
            node("f"), node("a", timeout=1), node("c"), node("d", "c"), max_abandoned=0, on_failure="drain"
        )
        play.step(fails("f"))
        self.left(play, "a", 0)
        assert play.commands == ["stop c#1"]

    def test_one_that_has_ended_at_last_was_left_behind_all_the_same(self):
        gpu = Limit("gpu", 2)
        play = Play(
            node("a", timeout=1, optional=True, limits=[gpu]), node("b", timeout=1, optional=True), node("c"),
            max_abandoned=1,
        )  # fmt: skip
        self.left(play, "a", 0)
        play.step(gone("a", 1))
        assert play.told == ["a released #1"]
        play.step(began("b"), at=2)
        play.step(at=3)
        assert play.step(stopped("b", left="thread of b")) == ["stop c#1"]


class TestLeftBehind:
    def test_s10_an_attempt_without_limits_that_lingers_blocks_nobody(self):
        """Its retry is due long after the grace: nothing runs meanwhile, and nobody is to be given up."""
        play = Play(node("a", timeout=1, attempts=2, delay=60), grace=10)
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        assert play.alarm == 61
        assert play.step(at=61) == ["start a#2"]
        play.step(gone("a", 1))
        assert play.told == []
        play.step(ok("a"))
        assert play.finished == "succeeded"

    def test_its_own_retry_waits_for_the_limit_it_holds(self):
        gpu = Limit("gpu", 1)
        play = Play(node("a", timeout=1, attempts=2, limits=[gpu]), grace=10)
        play.step(began("a"))
        play.step(at=1)
        assert play.step(stopped("a", left="thread 1")) == []
        assert play.told == ["a retrying #1 at 1"]
        assert play.step(gone("a", 1), at=2) == ["start a#2"]

    def test_s10_its_own_retry_is_given_up_after_the_grace(self):
        gpu = Limit("gpu", 1)
        play = Play(node("a", timeout=1, attempts=2, limits=[gpu]), grace=10)
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        play.step(at=11)
        assert play.told == ["a failed #0 by error", "run failed"]
        found = failure(play, "a")
        assert (found.type, found.attempt) == ("LimitHeld", 2)
        assert found.text == "limit 'gpu' is held by what was abandoned and does not end: thread 1 (a)"

    def left_behind(self, *more, limit: Limit, weight: int = 1) -> Play:
        """A step that holds a limit was abandoned at second 1, and nothing else runs."""
        a = node("a", timeout=1, optional=True, limits=[limit.take(weight)])
        play = Play(a, *more, grace=10, on_failure="continue")
        if play.commands[0].startswith("acquire"):
            play.step(granted("a"))
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        return play

    def test_s10_who_waits_for_a_limit_of_the_process_that_it_holds_is_given_up(self):
        wide = Limit("wide", 2, scope="process")
        play = self.left_behind(node("b", limits=[wide.take(2)]), limit=wide)
        assert "b" in {str(play.machine.state.path(i)) for i in play.machine.state.acquiring}
        play.step(at=11)
        assert play.told == ["b failed #0 by error", "run failed"]
        assert play.step(granted("b")) == []

    def test_but_not_one_that_other_runs_keep_from_it(self):
        wide = Limit("wide", 2, scope="process")
        play = self.left_behind(node("b", limits=[wide]), limit=wide)
        play.step(at=11)
        assert (play.told, play.status("b")) == ([], "ready")
        assert play.step(granted("b")) == ["start b#1"]

    @pytest.mark.parametrize("capacity", [None, 2])
    def test_who_waits_for_its_rate_is_not_given_up(self, capacity):
        slow = Limit("slow", capacity, Rate(1, 60.0))
        play = self.left_behind(node("b", limits=[slow]), limit=slow)
        while play.alarm is not None and play.alarm < 60:
            play.step(at=play.alarm)
            assert play.told == []
        assert play.step(at=60) == ["start b#1"]

    def test_who_waits_behind_one_that_is_given_up_may_go(self):
        gpu = Limit("gpu", 2)
        play = self.left_behind(node("b", limits=[gpu.take(2)]), node("c", limits=[gpu]), limit=gpu)
        assert play.status("c") == "ready", "nobody overtakes"
        assert play.step(at=11) == ["start c#1"]
        assert play.told == ["b failed #0 by error", "c started #1"]

    def test_a_retry_that_is_not_due_is_not_given_up(self):
        gpu = Limit("gpu", 1)
        play = Play(node("a", timeout=1, attempts=2, delay=60, limits=[gpu]), grace=10)
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        while play.alarm is not None and play.alarm < 61:
            play.step(at=play.alarm)
            assert play.told == []
        play.step(gone("a", 1), at=60)
        assert play.step(at=61) == ["start a#2"]


class TestReplay:
    def test_the_deadline_holds_after_a_cut_at_every_turn(self):
        play = Play(node("a", attempts=9, delay=1), node("b", "a"), deadline=20)
        for at in (1, 3, 5):
            play.step(fails("a"), at=at)
            play.step(at=at + 1)
        play.step(ok("a"), at=7)
        for upto in play.turns:
            machine = play.fresh()
            for event in play.events[:upto]:
                machine.apply(event)
            machine.recover(8.0)
            machine.step([], 9.0)
            assert machine.next_alarm() == 20
            machine.step([], 20.0)
            assert (machine.state.expired, machine.state.failed) == (True, True)

    def test_total_counts_from_the_first_start_after_a_cut(self):
        play = Play(node("a", timeout=total(10), attempts=9, delay=1))
        play.step(began("a"), at=2)
        play.step(fails("a"), at=3)
        play.step(at=4)
        machine = play.fresh()
        for event in play.events:
            machine.apply(event)
        machine.recover(5.0)
        assert [command[:3] for command in machine.step([], 5.0)] == [(0, 0, 3)]
        machine.step([(0, 0, 3, 5.0)], 5.0)
        assert machine.next_alarm() == 12
