"""Plays of single nodes: the order in which they start, slots, attempts, retries and timeouts."""

from __future__ import annotations

import pytest

from penstock.core.model import NOTHING, Limit, RetryPolicy
from tests.core.play import (
    Play,
    after,
    began,
    each,
    fails,
    gather,
    heard_late,
    node,
    ok,
    optional,
    returned,
    stopped,
)


class TestOrder:
    def test_what_is_ready_starts_in_order_of_definition(self):
        play = Play(node("c"), node("a"), node("b"))
        assert play.commands == ["start c#1", "start a#1", "start b#1"]

    def test_the_longest_remaining_path_goes_first(self):
        play = Play(node("short"), node("long"), node("l1", "long"), node("l2", "l1"), node("s1", "short"))
        assert play.commands == ["start long#1", "start short#1"]
        assert play.step(ok("short"), ok("long")) == ["start l1#1", "start s1#1"]

    def test_rank_holds_when_slots_are_few(self):
        play = Play(node("short"), node("long"), node("next", "long"), max_concurrency=1)
        assert play.commands == ["start long#1"]
        assert play.step(ok("long")) == ["start short#1"]  # as long as `next`, and defined before it

    def test_rank_holds_between_what_takes_a_limit_and_what_does_not(self):
        api = Limit("api", 5)
        play = Play(node("long"), node("next", "long"), node("short", limits=[api]))
        assert play.commands == ["start long#1", "start short#1"]

    def test_a_step_starts_only_when_all_its_needs_have_ended(self):
        play = Play(node("a"), node("b"), node("c", "a", "b"))
        assert play.step(ok("b")) == []
        assert play.status("c") == "pending"
        assert play.step(ok("a")) == ["start c#1"]

    def test_two_needs_on_one_step_count_as_two(self):
        play = Play(node("a"), node("b", "a", "a", after("a")))
        assert play.step(ok("a", 7)) == ["start b#1"]

    def test_a_whole_run(self):
        play = Play(node("a"), node("b", "a"))
        play.step(ok("a", 1))
        play.step(ok("b", 2))
        assert play.story() == [
            "a started #1", "a succeeded #1", "b started #1", "b succeeded #1", "run succeeded",
        ]  # fmt: skip
        assert (play.value("a"), play.value("b")) == (1, 2)

    def test_g05_an_empty_run_succeeds_at_once(self):
        play = Play()
        assert (play.commands, play.told, play.finished) == ([], ["run succeeded"], "succeeded")

    def test_nothing_follows_the_end_of_a_run(self):
        play = Play(node("a"))
        play.step(ok("a"))
        assert play.step(ok("a"), fails("a"), at=5) == []
        assert play.told == []


class TestSlots:
    def test_max_concurrency_binds_over_all_runners(self):
        play = Play(node("a"), node("b", runner="right"), node("c"), max_concurrency=2)
        assert play.commands == ["start a#1", "start b#1"]
        assert play.step(ok("b")) == ["start c#1"]

    def test_a_runner_takes_as_many_as_it_announces(self):
        play = Play(node("a"), node("b"), node("x", runner="right"), node("y", runner="right"),
                    capacities={"left": 1, "right": 2})  # fmt: skip
        assert play.commands == ["start a#1", "start x#1", "start y#1"]
        assert play.step(ok("x")) == []
        assert play.step(ok("a")) == ["start b#1"]

    def test_a_full_runner_does_not_hold_up_the_other(self):
        play = Play(
            node("a"), node("b"), node("x", runner="right"), capacities={"left": 1}, max_concurrency=2
        )
        assert play.commands == ["start a#1", "start x#1"]

    def test_r10_a_slot_is_for_what_is_ready(self):
        play = Play(*[node(f"n{i}", *([f"n{i - 1}"] if i else [])) for i in range(5)], max_concurrency=1)
        for i in range(5):
            assert play.commands == [f"start n{i}#1"]
            play.step(ok(f"n{i}"))
        assert play.finished == "succeeded"

    def test_a_retry_in_its_back_off_holds_no_slot(self):
        play = Play(node("a", attempts=2, delay=5), node("b"), max_concurrency=1)
        assert play.step(fails("a")) == ["start b#1"]
        assert play.step(at=5) == []
        assert play.step(ok("b")) == ["start a#2"]


class TestRetries:
    def test_r02_attempts_are_one_and_the_retries(self):
        play = Play(node("a", attempts=3, delay=2))
        assert play.step(fails("a"), at=1) == []
        assert (play.told, play.alarm) == (["a retrying #1 at 3"], 3)
        assert play.step(at=3) == ["start a#2"]
        play.step(fails("a"))
        assert play.step(at=5) == ["start a#3"]
        assert play.step(fails("a")) == []
        assert play.told == ["a failed #3 by error", "run failed"]
        assert [one.attempt for one in play.machine.state.failures[0]] == [1, 2, 3]

    def test_a_retry_is_not_due_before_its_time(self):
        play = Play(node("a", attempts=2, delay=3), node("b"))
        play.step(fails("a"))
        assert play.step(ok("b"), at=2.999) == []
        assert play.status("a") == "retrying"
        assert play.step(at=3) == ["start a#2"]

    def test_delays_grow_up_to_their_cap(self):
        policy = RetryPolicy(5, 1.0, 4.0, 2.0, jitter="none")
        play = Play(node("a")._replace(retry=policy))
        dues = []
        for _ in range(4):
            play.step(fails("a"))
            assert play.alarm is not None
            dues.append(play.alarm - play.now)
            play.step(at=play.alarm)
        assert dues == [1, 2, 4, 4]

    def test_jitter_is_the_same_for_one_seed_and_differs_between_attempts_and_seeds(self):
        def dues(seed: int) -> list[float]:
            play = Play(node("a")._replace(retry=RetryPolicy(4, 8.0, 8.0, 1.0, jitter="full")), seed=seed)
            found = []
            for _ in range(3):
                play.step(fails("a"))
                assert play.alarm is not None
                found.append(play.alarm - play.now)
                play.step(at=play.alarm)
            return found

        assert dues(1) == dues(1)
        assert dues(1) != dues(2)
        assert len(set(dues(1))) == 3
        assert all(0 < due <= 8 for seed in range(50) for due in dues(seed))

    def test_r07_the_step_may_ask_for_a_longer_delay_but_not_a_shorter_one(self):
        play = Play(node("a", attempts=3, delay=2))
        play.step(fails("a", retry_after=100))
        assert play.alarm == 100
        play.step(at=100)
        play.step(fails("a", retry_after=0.5))
        assert play.alarm == 102

    def test_r03_what_is_not_retryable_fails_at_once(self):
        play = Play(node("a", attempts=3))
        assert play.step(fails("a", retryable=False)) == []
        assert play.told == ["a failed #1 by error", "run failed"]

    def test_a_step_without_a_policy_fails_at_once(self):
        play = Play(node("a"))
        play.step(fails("a"))
        assert play.finished == "failed"

    def test_success_after_retries_keeps_the_history(self):
        play = Play(node("a", attempts=3), node("b", "a"))
        play.step(fails("a"))
        assert play.commands == ["start a#2"]
        assert play.step(ok("a", 5)) == ["start b#1"]
        assert len(play.machine.state.failures[0]) == 1

    def test_dependants_wait_through_the_retries(self):
        play = Play(node("a", attempts=2, delay=1), node("b", optional("a")))
        play.step(fails("a"))
        assert play.status("b") == "pending"
        play.step(at=1)
        assert play.step(fails("a")) == ["start b#1"]


class TestTokens:
    """A late reply of an old attempt counts for nothing."""

    def test_s11_the_old_attempts_result_is_not_taken_for_the_new_ones(self):
        play = Play(node("a", attempts=2, timeout=5), node("b", "a"))
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a", left="thread"))
        assert play.told == ["a retrying #1 at 5", "a started #2"]
        assert play.step(ok("a", "old", token=1)) == []
        assert (play.told, play.status("a")) == ([], "running")
        assert play.step(ok("a", "new", token=2)) == ["start b#1"]
        assert play.value("a") == "new"

    @pytest.mark.parametrize("late", [fails("a", token=1), stopped("a", token=1), returned("a", token=1)])
    def test_no_late_end_disturbs_the_new_attempt(self, late):
        play = Play(node("a", attempts=3))
        play.step(fails("a"))
        assert play.commands == ["start a#2"]
        assert play.step(late) == []
        assert (play.told, play.status("a")) == ([], "running")

    def test_a_late_began_arms_nothing(self):
        play = Play(node("a", attempts=2, timeout=5))
        play.step(fails("a"))
        assert play.commands == ["start a#2"]
        play.step(began("a", token=1))
        assert play.alarm is None

    @pytest.mark.parametrize("twice", [ok("a", 2), fails("a"), returned("a")])
    def test_an_attempt_ends_once(self, twice):
        play = Play(node("a", attempts=2), node("b", "a"))
        play.step(ok("a", 1))
        assert play.step(twice) == []
        assert (play.told, play.value("a")) == ([], 1)

    def test_an_attempt_ends_once_within_one_step(self):
        play = Play(node("a"), node("b", "a"))
        play.step(fails("a"), ok("a"))
        assert play.told == ["a failed #1 by error", "b skipped, upstream: a", "run failed"]

    def test_a_token_of_the_future_is_no_token(self):
        play = Play(node("a"))
        assert play.step(ok("a", token=2)) == []
        assert play.status("a") == "running"

    def test_the_token_counts_hand_outs_and_not_retries(self):
        play = Play(node("a", attempts=2))
        assert play.step(returned("a")) == ["start a#2"]
        assert play.step(returned("a")) == ["start a#3"]
        assert play.step(fails("a")) == ["start a#4"]
        play.step(fails("a"))
        assert play.told == ["a failed #4 by error", "run failed"]
        assert [one.attempt for one in play.machine.state.failures[0]] == [1, 2]

    def test_more_hand_outs_than_a_byte_counts(self):
        play = Play(node("a", attempts=1))
        for token in range(1, 300):
            assert play.commands == [f"start a#{token}"]
            play.step(returned("a"))
        play.step(ok("a"))
        assert play.finished == "succeeded"


class TestTimeouts:
    def test_the_clock_of_an_attempt_starts_when_it_began(self):
        play = Play(node("a", timeout=5))
        assert play.alarm is None
        play.step(began("a"), at=3)
        assert play.alarm == 8
        assert play.step(at=7.5) == []
        assert play.step(at=8) == ["stop a#1 late"]

    def test_a_timeout_is_a_failure_of_its_own_kind_and_is_retried(self):
        play = Play(node("a", timeout=5, attempts=2, delay=1))
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a"))
        assert play.told == ["a retrying #1 at 6"]
        play.step(at=6)
        play.step(began("a"))
        play.step(at=11)
        play.step(stopped("a"))
        assert play.told == ["a failed #2 by timeout", "run failed"]

    def test_s15_a_reply_before_the_alarm_in_one_step_is_the_outcome(self):
        play = Play(node("a", timeout=5), node("b", "a"))
        play.step(began("a"))
        assert play.step(ok("a", 1), at=5) == ["start b#1"]
        assert play.step(at=6) == []
        assert play.status("a") == "succeeded"

    def test_s15_a_reply_after_the_alarm_is_too_late(self):
        play = Play(node("a", timeout=5), node("b", "a"))
        play.step(began("a"))
        assert play.step(at=5) == ["stop a#1 late"]
        play.step(ok("a", 1))
        assert play.told == ["a failed #1 by timeout", "b skipped, upstream: a", "run failed"]

    def test_s15_a_failure_after_the_alarm_is_a_timeout_as_well(self):
        play = Play(node("a", timeout=5))
        play.step(began("a"))
        play.step(at=5)
        play.step(fails("a"), ok("a"))
        assert play.told == ["a failed #1 by timeout", "run failed"]

    @pytest.mark.parametrize(("ended", "status"), [(4.9, "succeeded"), (5, "failed"), (5.1, "failed")])
    def test_s15_what_counts_is_when_it_ended_and_not_when_that_was_heard(self, ended, status):
        """Attempts that travel together are answered together, which may be long after they ended."""
        play = Play(node("a", timeout=5), node("b", "a"))
        play.step(began("a"))
        assert play.step(at=5) == ["stop a#1 late"]
        play.step(heard_late(ok("a", 1), ended), at=6)
        assert play.status("a") == status
        assert play.step(at=20) == []

    def test_s15_a_failure_in_time_that_is_heard_late_is_that_failure(self):
        play = Play(node("a", timeout=5, attempts=2, delay=1))
        play.step(began("a"))
        play.step(at=5)
        play.step(heard_late(fails("a"), 3), at=6)
        assert play.told == ["a retrying #1 at 7"]
        play.step(at=7)
        play.step(began("a"))
        play.step(ok("a"), at=8)
        assert play.finished == "succeeded"

    def test_s15_the_stop_is_said_once(self):
        play = Play(node("a", timeout=5), grace=10)
        play.step(began("a"), began("a"))
        assert play.step(at=5) == ["stop a#1 late"]
        assert play.step(at=6) == []

    def test_s13_what_does_not_end_in_its_grace_is_abandoned(self):
        play = Play(node("a", timeout=5), grace=10)
        play.step(began("a"))
        play.step(at=5)
        assert play.alarm == 15
        assert play.step(at=15) == ["abandon a#1"]
        play.step(stopped("a", left="task of a"))
        left = play.machine.state.failures[0][-1].abandoned
        assert left is not None
        assert (left.name, left.path) == ("task of a", "a")
        assert play.finished == "failed"

    def test_the_alarm_of_an_attempt_that_has_ended_wakes_nobody(self):
        play = Play(node("a", timeout=5), node("b", timeout=50))
        play.step(began("a"), began("b"))
        play.step(ok("a"))
        assert play.alarm == 50

    def test_the_next_attempt_has_its_time_for_itself(self):
        play = Play(node("a", timeout=5, attempts=2))
        play.step(began("a"))
        play.step(fails("a"), at=4)
        assert play.commands == ["start a#2"]
        play.step(began("a"), at=4)
        assert play.step(at=5) == []
        assert play.alarm == 9

    def test_what_is_given_back_after_its_alarm_is_not_charged(self):
        play = Play(node("a", timeout=5))
        play.step(began("a"))
        play.step(at=5)
        assert play.step(returned("a")) == ["start a#2"]
        play.step(began("a"))
        assert play.step(ok("a"), at=6) == []
        assert play.finished == "succeeded"


class TestSharedState:
    def test_r05_writes_travel_with_success_only(self):
        play = Play(node("a", attempts=2), node("b"))
        play.step(fails("a"))
        assert play.machine.state.shared == {}
        play.step(ok("a", 1, writes={"x": 1}))
        assert play.machine.state.shared == {"x": 1}

    def test_writes_merge_in_the_order_of_their_commits(self):
        play = Play(node("a"), node("b"), node("c"))
        play.step(ok("b", writes={"x": "b", "y": "b"}), ok("a", writes={"x": "a"}))
        play.step(ok("c", writes={"y": "c"}))
        assert play.machine.state.shared == {"x": "a", "y": "c"}

    def test_a_write_after_the_timeout_is_dropped(self):
        play = Play(node("a", timeout=5))
        play.step(began("a"))
        play.step(at=5)
        play.step(ok("a", writes={"x": 1}))
        assert play.machine.state.shared == {}


class TestValues:
    """A value goes when its last consumer has ended, and not before."""

    def test_a_value_stays_for_every_consumer(self):
        play = Play(node("a"), node("b", "a"), node("c", "a"), keep_all=False)
        play.step(ok("a", "value"))
        play.step(ok("b"))
        assert play.value("a") == "value"
        play.step(ok("c"))
        assert play.value("a") is NOTHING

    def test_a_value_stays_for_a_retry(self):
        play = Play(node("a"), node("b", "a", attempts=2), keep_all=False)
        play.step(ok("a", "value"))
        play.step(fails("b"))
        assert play.value("a") == "value"
        play.step(ok("b"))
        assert play.value("a") is NOTHING

    def test_a_failed_or_skipped_consumer_lets_it_go_too(self):
        play = Play(
            node("a"), node("b", "a"), node("x"), node("c", "a", "x"), keep_all=False, on_failure="continue"
        )
        play.step(ok("a", "value"), fails("x"))
        assert play.value("a") == "value"
        play.step(fails("b"))
        assert play.value("a") is NOTHING

    def test_a_sink_and_a_kept_step_keep_theirs(self):
        play = Play(node("a", keep=True), node("b", "a"), keep_all=False)
        play.step(ok("a", 1))
        play.step(ok("b", 2))
        assert (play.value("a"), play.value("b")) == (1, 2)

    def test_order_alone_holds_no_value(self):
        play = Play(node("a"), node("b", "a"), node("c", after("a")), keep_all=False)
        play.step(ok("a", 1))
        play.step(ok("b"))
        assert play.value("a") is NOTHING

    def test_the_items_of_a_map_go_one_by_one(self):
        play = Play(node("s"), node("m", each("s")), node("n", "m"), node("g", gather("n")), keep_all=False)
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", "m0"), ok("m[1]", "m1"))
        play.step(ok("n[0]", "n0"))
        assert (play.value("m[0]"), play.value("m[1]")) == (NOTHING, "m1")
        play.step(ok("n[1]", "n1"))
        assert [play.value("n[0]"), play.value("n[1]")] == ["n0", "n1"]
        play.step(ok("g", "g"))
        assert [play.value(id) for id in ("n[0]", "n[1]", "g")] == [NOTHING, NOTHING, "g"]


class TestOverrides:
    def test_an_overridden_step_has_succeeded_from_the_start(self):
        play = Play(node("a"), node("b", "a"), override={"a": 42})
        assert play.commands == ["start b#1"]
        assert play.told == ["a succeeded #0", "b started #1"]
        assert (play.value("a"), play.source("a"), play.source("b")) == (42, "override", "run")
