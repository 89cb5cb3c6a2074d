"""Plays of maps: how they open, in what order their items start, and when they close."""

from __future__ import annotations

import pytest

from tests.core.play import (
    CANCEL,
    Play,
    after,
    default,
    each,
    fails,
    gather,
    node,
    ok,
    optional,
    outcome,
    returned,
    says,
    stopped,
)


def source(id: str = "s", *needs: str):
    return node(id, *needs)


class TestOpening:
    def test_a_call_per_element_and_a_gather_behind_them(self):
        play = Play(source(), node("m", each("s")), node("g", gather("m")))
        assert play.step(ok("s", [10, 20, 30])) == ["start m[0]#1", "start m[1]#1", "start m[2]#1"]
        assert play.told[:2] == ["s succeeded #1", "m opened with 3"]
        assert play.step(ok("m[1]"), ok("m[0]")) == []
        assert play.step(ok("m[2]")) == ["start g#1"]

    def test_f02_an_empty_map_closes_at_once_and_its_gather_runs(self):
        play = Play(source(), node("m", each("s")), node("n", "m"), node("g", gather("n")))
        assert play.step(ok("s", [])) == ["start g#1"]
        assert play.told == ["s succeeded #1", "m opened with 0", "g started #1"]
        assert play.status("m") == "succeeded"

    def test_a_run_may_end_with_an_empty_map(self):
        play = Play(source(), node("m", each("s")))
        play.step(ok("s", []))
        assert play.finished == "succeeded"

    def test_a_run_ends_with_the_last_item(self):
        play = Play(source(), node("m", each("s")))
        play.step(ok("s", [1, 2]))
        play.step(ok("m[1]"))
        assert play.finished is None
        play.step(ok("m[0]"))
        assert play.finished == "succeeded"

    def test_two_maps_over_one_source(self):
        play = Play(source(), node("m", each("s")), node("n", each("s")), node("g", gather("m"), gather("n")))
        assert play.step(ok("s", [1])) == ["start m[0]#1", "start n[0]#1"]
        play.step(ok("m[0]"))
        assert play.step(ok("n[0]")) == ["start g#1"]

    def test_a_map_of_an_overridden_source(self):
        play = Play(source(), node("m", each("s")), override={"s": ["x", "y"]})
        assert play.commands == ["start m[0]#1", "start m[1]#1"]

    def test_a_step_of_the_map_sees_its_own_item_and_what_lies_outside(self):
        play = Play(source(), node("o"), node("m", each("s")), node("n", "m", "o"))
        assert play.step(ok("s", [1, 2])) == ["start m[0]#1", "start m[1]#1"]
        assert play.step(ok("m[0]")) == []
        assert play.step(ok("o")) == ["start n[0]#1"]
        assert play.step(ok("m[1]")) == ["start n[1]#1"]

    def test_what_ended_outside_before_the_map_opened_counts(self):
        play = Play(source(), node("o"), node("m", each("s")), node("n", "m", "o"))
        play.step(ok("o"))
        play.step(ok("s", [1]))
        assert play.step(ok("m[0]")) == ["start n[0]#1"]

    def test_the_head_itself_may_need_something_outside(self):
        play = Play(source(), node("o"), node("m", each("s"), "o"))
        assert play.step(ok("s", [1, 2])) == []
        assert play.step(ok("o")) == ["start m[0]#1", "start m[1]#1"]

    def test_order_alone_waits_for_the_whole_map_and_makes_no_calls(self):
        play = Play(source(), node("m", each("s")), node("b", after("m")))
        play.step(ok("s", [1, 2]))
        assert play.step(ok("m[0]")) == []
        assert play.step(ok("m[1]")) == ["start b#1"]


class TestOrder:
    def test_the_lowest_item_first_then_the_deepest_step(self):
        play = Play(source(), node("m", each("s")), node("n", "m"), max_concurrency=1)
        play.step(ok("s", [1, 2, 3]))
        started = []
        while play.finished is None:
            started.append(play.commands[0])
            play.step(ok(play.commands[0].split()[1].split("#")[0]))
        assert started == [
            "start m[0]#1", "start n[0]#1", "start m[1]#1", "start n[1]#1", "start m[2]#1", "start n[2]#1",
        ]  # fmt: skip

    def test_maps_of_maps_run_depth_first(self):
        play = Play(
            source(), node("m", each("s")), node("k", each("m")), node("e", gather("k")), max_concurrency=1
        )
        play.step(ok("s", [1, 2]))
        started = []
        while play.finished is None:
            path = play.commands[0].split()[1].split("#")[0]
            started.append(path)
            play.step(ok(path, [0, 0] if path.startswith("m") else None))
        assert started == ["m[0]", "k[0,0]", "k[0,1]", "e[0]", "m[1]", "k[1,0]", "k[1,1]", "e[1]"]

    def test_a_map_takes_the_rank_of_its_head_among_the_others(self):
        play = Play(
            source(), node("m", each("s")), node("n", "m"), node("p", "n"), node("lone"), node("l2", "lone"),
            max_concurrency=2,
        )  # fmt: skip
        assert play.commands == ["start s#1", "start lone#1"]
        assert play.step(ok("s", [1, 2]), ok("lone")) == ["start m[0]#1", "start m[1]#1"]
        assert play.step(ok("m[0]")) == ["start n[0]#1"], "the map is ahead of l2"

    def test_a_retry_goes_back_to_its_place(self):
        play = Play(source(), node("m", each("s"), attempts=2, delay=1), max_concurrency=1)
        play.step(ok("s", [1, 2, 3]))
        assert play.step(fails("m[0]")) == ["start m[1]#1"]
        assert play.step(at=1) == []
        assert play.step(ok("m[1]")) == ["start m[0]#2"]

    def test_an_item_that_was_given_back_goes_back_to_its_place(self):
        play = Play(source(), node("m", each("s")), max_concurrency=1)
        play.step(ok("s", [1, 2]))
        assert play.step(returned("m[0]")) == ["start m[0]#2"]


class TestNesting:
    def test_a_map_of_maps_is_gathered_level_by_level(self):
        play = Play(
            source(),
            node("m", each("s")),
            node("k", each("m")),
            node("e", gather("k")),
            node("f", gather("e")),
        )
        assert play.step(ok("s", [1, 2])) == ["start m[0]#1", "start m[1]#1"]
        assert play.step(ok("m[1]", [7])) == ["start k[1,0]#1"]
        assert play.step(ok("k[1,0]")) == ["start e[1]#1"]
        assert play.step(ok("m[0]", [])) == ["start e[0]#1"]
        play.step(ok("e[1]"))
        assert play.step(ok("e[0]")) == ["start f#1"]

    def test_two_levels_are_gathered_at_once(self):
        play = Play(source(), node("m", each("s")), node("k", each("m")), node("f", gather("k", levels=2)))
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", [1, 2]), ok("m[1]", []))
        assert play.commands == ["start k[0,0]#1", "start k[0,1]#1"]
        play.step(ok("k[0,0]"))
        assert play.step(ok("k[0,1]")) == ["start f#1"]

    def test_items_are_numbered_by_element_and_not_by_time(self):
        play = Play(source(), node("m", each("s")), node("k", each("m")))
        play.step(ok("s", [1, 2]))
        play.step(ok("m[1]", [1]))
        play.step(ok("m[0]", [1, 2]))
        assert play.commands == ["start k[0,0]#1", "start k[0,1]#1"]
        assert play.number("k[1,0]") < play.number("k[0,0]")

    def test_three_levels(self):
        play = Play(source(), node("a", each("s")), node("b", each("a")), node("c", each("b")))
        play.step(ok("s", [1]))
        play.step(ok("a[0]", [1, 2]))
        play.step(ok("b[0,1]", [1]))
        assert play.commands == ["start c[0,1,0]#1"]
        play.step(ok("c[0,1,0]"), ok("b[0,0]", []))
        assert play.finished == "succeeded"


class TestSourceThatBringsNothing:
    def test_a_failed_source_skips_the_whole_map(self):
        play = Play(
            source(), node("m", each("s")), node("n", "m"), node("g", gather("n")), on_failure="continue"
        )
        play.step(fails("s"))
        assert play.told == [
            "s failed #1 by error", "m skipped, upstream: s", "n skipped, upstream: s",
            "g skipped, upstream: s", "run failed",
        ]  # fmt: skip

    def test_a_source_skipped_by_its_condition(self):
        play = Play(node("s", when=True), node("m", each("s")), node("g", gather("m")))
        play.step(says("s", "when", False))
        assert play.told[-3:] == ["m skipped, condition: s", "g skipped, condition: s", "run succeeded"]

    def test_a_source_below_a_failure_names_the_root(self):
        play = Play(node("a"), source("s", "a"), node("m", each("s")), on_failure="continue")
        play.step(fails("a"))
        assert play.told[-2:] == ["m skipped, upstream: a", "run failed"]

    def test_a_cancelled_source(self):
        play = Play(source(), node("m", each("s")))
        play.step(CANCEL)
        play.step(stopped("s"))
        assert play.told == ["s cancelled #1", "m skipped, stopped: None", "run cancelled"]

    def test_each_source_of_several_maps_fails_for_itself(self):
        play = Play(
            source("s"), source("t"), node("m", each("s")), node("k", each("t")),
            node("g", optional("s"), gather("m", "drop"), gather("k", "drop")), on_failure="continue",
        )  # fmt: skip
        play.step(ok("t", [1]))
        assert play.commands == ["start k[0]#1"]
        play.step(fails("s"))
        assert play.told == ["s failed #1 by error", "m skipped, upstream: s"]
        play.step(ok("k[0]"))
        assert play.told == ["k[0] succeeded #1", "g skipped, upstream: s", "run failed"]

    def test_an_inner_source_that_fails_skips_its_inner_map_alone(self):
        play = Play(
            source(),
            node("m", each("s")),
            node("k", each("m")),
            node("e", gather("k")),
            on_failure="continue",
        )
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"))
        assert play.told == [
            "m[0] failed #1 by error",
            "k[0] skipped, upstream: m[0]",
            "e[0] skipped, upstream: m[0]",
        ]
        assert play.step(ok("m[1]", [1])) == ["start k[1,0]#1"]


class TestItemFailures:
    def test_raise_fails_the_run_and_waits_for_all_items(self):
        play = Play(source(), node("m", each("s")), node("g", gather("m")), on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"))
        assert play.status("g") == "pending"
        play.step(ok("m[1]"))
        assert play.told == ["m[1] succeeded #1", "g skipped, upstream: m[0]", "run failed"]

    def test_raise_names_the_first_failed_item_by_order_of_the_input(self):
        play = Play(source(), node("m", each("s")), node("g", gather("m")), on_failure="continue")
        play.step(ok("s", [1, 2, 3]))
        play.step(fails("m[2]"))
        play.step(fails("m[1]"))
        play.step(ok("m[0]"))
        assert play.told[-2:] == ["g skipped, upstream: m[1]", "run failed"]

    @pytest.mark.parametrize("policy", ["drop", "keep"])
    def test_drop_and_keep_let_it_pass(self, policy):
        play = Play(source(), node("m", each("s")), node("g", gather("m", policy)))
        play.step(ok("s", [1, 2]))
        assert play.step(fails("m[0]")) == []
        assert play.step(ok("m[1]")) == ["start g#1"]
        play.step(ok("g"))
        assert play.finished == "succeeded"

    def test_one_gather_that_raises_is_enough(self):
        play = Play(source(), node("m", each("s")), node("g", gather("m", "drop")), node("h", gather("m")))
        play.step(ok("s", [1, 2]))
        assert play.step(fails("m[0]")) == ["stop m[1]#1"]

    def test_the_policy_holds_for_the_chain_that_leads_to_it(self):
        play = Play(source(), node("m", each("s")), node("n", "m"), node("g", gather("n", "drop")))
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"))
        assert play.told == ["m[0] failed #1 by error", "n[0] skipped, upstream: m[0]"]
        assert play.step(ok("m[1]")) == ["start n[1]#1"]
        assert play.step(ok("n[1]")) == ["start g#1"]

    def test_no_gather_at_all_fails_the_run(self):
        play = Play(source(), node("m", each("s")), on_failure="continue")
        play.step(ok("s", [1]))
        play.step(fails("m[0]"))
        assert play.finished == "failed"

    def test_an_item_left_out_by_its_condition_is_no_failure(self):
        play = Play(source(), node("m", each("s"), when=True), node("g", gather("m")))
        assert play.step(ok("s", [1, 2])) == ["ask when of m[0]", "ask when of m[1]"]
        play.step(says("m[0]", "when", False), says("m[1]", "when", True))
        assert play.step(ok("m[1]")) == ["start g#1"]

    def test_an_outcome_inside_the_map_tolerates_its_items(self):
        play = Play(source(), node("m", each("s")), node("n", outcome("m")), node("g", gather("n")))
        play.step(ok("s", [1, 2]))
        assert play.step(fails("m[0]")) == ["start n[0]#1"]
        play.step(ok("m[1]"), ok("n[0]"))
        assert play.step(ok("n[1]")) == ["start g#1"]
        play.step(ok("g"))
        assert play.finished == "succeeded"

    def test_a_default_takes_an_items_condition(self):
        play = Play(source(), node("m", each("s"), when=True), node("n", default("m")))
        play.step(ok("s", [1]))
        assert play.step(says("m[0]", "when", False)) == ["start n[0]#1"]

    def test_a_failure_of_an_optional_mapped_step_is_tolerated_and_seen(self):
        play = Play(source(), node("m", each("s"), optional=True), node("g", gather("m")))
        play.step(ok("s", [1, 2]))
        assert play.step(fails("m[0]")) == []
        play.step(ok("m[1]"))
        assert play.told == ["m[1] succeeded #1", "g skipped, upstream: m[0]", "run succeeded"]


class TestStopped:
    def test_cancel_ends_every_item_in_its_own_way(self):
        play = Play(source(), node("m", each("s")), node("n", "m"), node("g", gather("n")), max_concurrency=2)
        play.step(ok("s", [1, 2, 3]))
        assert play.step(CANCEL) == ["stop m[0]#1", "stop m[1]#1"]
        play.step(ok("m[0]"), stopped("m[1]"))
        assert play.told == [
            "m[0] succeeded #1", "m[1] cancelled #1", "n[0] skipped, stopped: None",
            "n[1] skipped, stopped: None", "g skipped, stopped: None", "run cancelled",
        ]  # fmt: skip
        assert play.status("m[2]") == "skipped"

    def test_drain_lets_running_items_finish(self):
        play = Play(source(), node("m", each("s")), node("f"), on_failure="drain", max_concurrency=2)
        play.step(ok("s", [1, 2, 3]))
        assert play.step(fails("f")) == []
        assert play.told == ["f failed #1 by error", "m[1] skipped, stopped: f", "m[2] skipped, stopped: f"]
        play.step(ok("m[0]"))
        assert play.finished == "failed"

    def test_a_source_that_ends_after_the_stop_opens_its_map_and_nothing_of_it_starts(self):
        play = Play(source(), node("f"), node("m", each("s")), node("g", gather("m")))
        play.step(fails("f"))
        assert play.step(ok("s", [1, 2])) == []
        assert play.told == [
            "s succeeded #1", "m opened with 2", "m[0] skipped, stopped: f", "m[1] skipped, stopped: f",
            "g skipped, stopped: f", "run failed",
        ]  # fmt: skip

    def test_clean_up_inside_a_map_runs_for_each_item(self):
        play = Play(source(), node("m", each("s")), node("z", after("m"), "m", trigger="all_succeeded"),
                    node("y", outcome("m"), trigger="always"))  # fmt: skip
        play.step(ok("s", [1, 2]))
        assert play.step(CANCEL) == ["stop m[0]#1", "stop m[1]#1"]
        assert play.step(stopped("m[0]")) == ["start y[0]#1"]
        assert play.step(stopped("m[1]")) == ["start y[1]#1"]
        play.step(ok("y[0]"), ok("y[1]"))
        assert play.finished == "cancelled"
