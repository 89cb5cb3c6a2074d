"""Plays of quorums: how many items of a map must succeed, and when it is known that they cannot."""

from __future__ import annotations

import pytest

from penstock.core.binding import Binder
from penstock.core.model import NodeStatus, Quorum
from penstock.core.views import result_of
from tests.core.play import (
    CANCEL,
    Play,
    each,
    fails,
    gather,
    node,
    ok,
    optional,
    outcome,
    says,
    stopped,
    yields,
)


def mapped(quorum: float, *more, size: int = 3, when: bool = False, **how) -> Play:
    """A map of so many items, all of them started, gathered with this quorum."""
    play = Play(
        node("s"), node("m", each("s"), when=when), node("g", gather("m", Quorum(quorum))), *more, **how
    )
    play.step(ok("s", list(range(size))))
    return play


def tolerated(play: Play) -> tuple[str, ...]:
    return result_of(play.machine.state, "run", now=play.now).tolerated


def arguments(play: Play, path: str) -> dict:
    return Binder(play.machine.state, {}).arguments(play.number(path))


def test_a_share_is_exact_for_every_part_of_every_whole():
    for items in range(1, 120):
        for good in range(items + 1):
            assert Quorum(good / items).of(items) == good
            if good < items:
                assert Quorum((good + 0.01) / items).of(items) == good + 1
    assert Quorum(0.5).of(0) == Quorum(1.0).of(0) == 0


class TestReached:
    def test_f04_it_waits_for_all_items_and_takes_the_successes(self):
        play = mapped(1)
        assert play.step(ok("m[0]", 10), fails("m[1]")) == []
        assert play.step(ok("m[2]", 12)) == ["start g#1"]
        assert arguments(play, "g") == {"n0": [10, 12]}
        play.step(ok("g"))
        assert play.finished == "succeeded"
        assert tolerated(play) == ("m[1]",)

    @pytest.mark.parametrize(
        ("quorum", "good", "holds"),
        [
            (0, 0, True), (0.0, 0, True), (1, 1, True), (1, 0, False), (10, 10, True), (10, 9, False),
            (0.7, 7, True), (0.7, 6, False), (0.71, 7, False), (0.71, 8, True), (0.01, 1, True),
            (0.01, 0, False), (1.0, 10, True), (1.0, 9, False),
        ],
    )  # fmt: skip
    def test_int_and_share(self, quorum, good, holds):
        play = mapped(quorum, size=10, on_failure="continue")
        play.step(*[ok(f"m[{at}]") for at in range(good)], *[fails(f"m[{at}]") for at in range(good, 10)])
        assert play.commands == (["start g#1"] if holds else [])
        assert play.status("g") == ("running" if holds else "skipped")

    @pytest.mark.parametrize(("quorum", "holds"), [(0, True), (0.9, True), (1.0, True), (1, False)])
    def test_of_an_empty_map(self, quorum, holds):
        play = mapped(quorum, size=0)
        assert play.commands == (["start g#1"] if holds else [])
        if not holds:
            assert play.told == [
                "s succeeded #1", "m opened with 0", "g skipped, upstream: m", "run failed",
            ]  # fmt: skip

    def test_the_map_itself_has_succeeded_where_it_holds(self):
        play = mapped(2)
        play.step(ok("m[0]"), ok("m[1]"), fails("m[2]"))
        result = result_of(play.machine.state, "run", now=0.0)
        assert result.nodes["m"].status is NodeStatus.SUCCEEDED

    def test_and_has_failed_where_it_does_not(self):
        play = mapped(2, on_failure="continue")
        play.step(ok("m[0]"), fails("m[1]"), fails("m[2]"))
        result = result_of(play.machine.state, "run", now=0.0)
        assert result.nodes["m"].status is NodeStatus.FAILED
        assert result.tolerated == ()


class TestLeftOut:
    """Items that a condition left out count on neither side."""

    def answered(self, quorum: float, *answers: bool, **how) -> Play:
        play = mapped(quorum, size=len(answers), when=True, **how)
        play.step(*[says(f"m[{at}]", "when", yes) for at, yes in enumerate(answers)])
        return play

    def test_of_those_that_ran_the_share_is_taken(self):
        play = self.answered(0.5, True, True, False, False, False)
        play.step(ok("m[0]", 1))
        assert play.step(fails("m[1]")) == ["start g#1"]
        assert arguments(play, "g") == {"n0": [1]}

    def test_they_are_no_successes_either(self):
        play = self.answered(2, True, True, False, False)
        play.step(ok("m[0]"))
        play.step(fails("m[1]"))
        assert play.told == ["m[1] failed #1 by error", "g skipped, upstream: m[1]", "run failed"]

    def test_a_number_may_come_out_of_reach_by_them_alone(self):
        play = self.answered(3, True, False, True)
        assert play.told == [
            "m[0] when said yes", "m[1] when said no", "m[2] when said yes", "m[1] skipped, condition: m[1]",
            "m[0] skipped, stopped: m", "m[2] skipped, stopped: m", "g skipped, upstream: m", "run failed",
        ]  # fmt: skip

    def test_all_of_them_left_out_is_a_quorum_of_nothing(self):
        play = self.answered(1.0, False, False)
        assert play.commands == ["start g#1"]
        assert arguments(play, "g") == {"n0": []}

    def test_what_follows_a_condition_is_left_out_as_well(self):
        play = Play(
            node("s"), node("m", each("s"), when=True), node("n", "m"), node("g", gather("n", Quorum(0.6)))
        )
        play.step(ok("s", [1, 2, 3]))
        play.step(says("m[0]", "when", False), says("m[1]", "when", True), says("m[2]", "when", True))
        play.step(ok("m[1]"), ok("m[2]"))
        assert play.step(fails("n[1]")) == ["stop n[2]#1"], "one of two is less than 60 %"
        assert play.machine.state.failed


class TestOutOfReach:
    def test_stop_acts_at_once(self):
        play = mapped(2, size=4)
        assert play.step(fails("m[0]"), fails("m[1]")) == []
        assert play.step(fails("m[2]")) == ["stop m[3]#1"]
        play.step(stopped("m[3]"))
        assert play.told == ["m[3] cancelled #1", "g skipped, upstream: m[0]", "run failed"]

    def test_drain_lets_the_others_end(self):
        play = mapped(2, node("x"), node("y", "x"), size=3, on_failure="drain")
        assert play.step(fails("m[0]"), fails("m[1]")) == []
        assert play.step(ok("x"), ok("m[2]")) == []
        assert play.told == [
            "x succeeded #1", "m[2] succeeded #1", "y skipped, stopped: m[1]", "g skipped, upstream: m[0]",
            "run failed",
        ]  # fmt: skip

    def test_continue_runs_all_the_rest(self):
        play = mapped(2, node("x"), node("y", "x"), size=3, on_failure="continue")
        play.step(fails("m[0]"), fails("m[1]"))
        assert play.step(ok("x"), ok("m[2]")) == ["start y#1"]
        assert play.told[-2:] == ["g skipped, upstream: m[0]", "y started #1"]
        play.step(ok("y"))
        assert play.finished == "failed"

    def test_failures_before_it_were_let_pass_and_are_not_any_more(self):
        play = mapped(2, size=4, on_failure="continue")
        play.step(fails("m[0]"), fails("m[1]"))
        assert tolerated(play) == ("m[0]", "m[1]")
        play.step(fails("m[2]"), ok("m[3]"))
        assert tolerated(play) == ()

    def test_a_failure_above_the_gathered_step_counts(self):
        play = Play(node("s"), node("m", each("s")), node("n", "m"), node("g", gather("n", Quorum(2))))
        play.step(ok("s", [1, 2, 3]))
        assert play.step(fails("m[0]")) == []
        assert play.step(fails("m[1]")) == ["stop m[2]#1"]

    def test_a_cancelled_run_stays_cancelled(self):
        play = mapped(3)
        play.step(CANCEL)
        play.step(ok("m[0]"), stopped("m[1]"), stopped("m[2]"))
        assert play.told == [
            "m[0] succeeded #1", "m[1] cancelled #1", "m[2] cancelled #1", "g skipped, stopped: None",
            "run cancelled",
        ]  # fmt: skip

    def test_a_quorum_that_only_the_stop_made_missed_is_no_failure_of_its_own(self):
        """As with `raise`: nothing above `g` has failed."""
        play = mapped(3, node("f"))
        play.step(fails("f"))
        play.step(ok("m[0]"), stopped("m[1]"), stopped("m[2]"))
        assert play.told[-2:] == ["g skipped, stopped: f", "run failed"]

    def test_unless_it_was_missed_already(self):
        play = mapped(3, node("f"), on_failure="drain")
        play.step(fails("f"))
        play.step(fails("m[0]"))
        play.step(ok("m[1]"), ok("m[2]"))
        assert play.told[-2:] == ["g skipped, upstream: m[0]", "run failed"]

    def test_one_of_two_gathers_may_miss_its_own(self):
        play = mapped(1, node("h", gather("m", Quorum(3))), size=3, on_failure="continue")
        play.step(fails("m[0]"), ok("m[1]"), ok("m[2]"))
        assert play.status("h") == "skipped"
        assert play.status("g") == "running"
        play.step(ok("g"))
        assert play.finished == "failed"

    def test_a_gather_that_raises_beside_it(self):
        play = mapped(1, node("h", gather("m")), size=2)
        assert play.step(fails("m[0]")) == ["stop m[1]#1"]

    def test_one_that_drops_beside_it(self):
        play = mapped(1, node("h", gather("m", "drop")), size=2)
        assert play.step(fails("m[0]")) == []
        assert play.step(ok("m[1]")) == ["start g#1", "start h#1"]

    def test_whoever_takes_the_outcome_of_the_gatherer_sees_the_skip(self):
        play = mapped(1, node("z", outcome("g")), size=1, on_failure="continue")
        assert play.step(fails("m[0]")) == ["start z#1"]


class TestNested:
    def nest(self, quorum: float, levels: int = 1, **how) -> Play:
        takes = gather("k", Quorum(quorum), levels=levels)
        return Play(node("s"), node("m", each("s")), node("k", each("m")), node("e", takes), **how)

    def test_each_inner_map_has_its_own(self):
        play = self.nest(1, on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", [1, 2]), ok("m[1]", [1]))
        assert play.step(fails("k[0,0]"), fails("k[1,0]")) == []
        assert play.told[-1] == "e[1] skipped, upstream: k[1,0]"
        assert play.step(ok("k[0,1]")) == ["start e[0]#1"]
        assert tolerated(play) == ("k[0,0]",)

    def test_over_two_levels_each_innermost_map_is_asked(self):
        play = self.nest(1, levels=2, on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", [1, 2]), ok("m[1]", [1, 2]))
        play.step(ok("k[0,0]"), ok("k[0,1]"), fails("k[1,0]"), fails("k[1,1]"))
        assert play.told[-2:] == ["e skipped, upstream: k[1,0]", "run failed"]

    def test_over_two_levels_it_holds_where_each_holds(self):
        play = self.nest(0.5, levels=2)
        play.step(ok("s", [1, 2, 3]))
        play.step(ok("m[0]", [1, 2]), ok("m[1]", [1, 2]), ok("m[2]", []))
        play.step(ok("k[0,0]", "a"), fails("k[0,1]"), fails("k[1,0]"))
        assert play.step(ok("k[1,1]", "b")) == ["start e#1"]
        assert arguments(play, "e") == {"n0": [["a"], ["b"], []]}
        play.step(ok("e"))
        assert play.finished == "succeeded"
        assert sorted(tolerated(play)) == ["k[0,1]", "k[1,0]"]

    def test_an_empty_inner_map_of_a_number(self):
        play = self.nest(1, on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", []))
        assert play.told[-1] == "e[0] skipped, upstream: k[0]"
        assert play.machine.state.failed

    def test_an_inner_map_that_a_failure_kept_from_opening_fails_the_run(self):
        play = self.nest(0.5, levels=2, on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"), ok("m[1]", []))
        assert play.told[-2:] == ["e skipped, upstream: m[0]", "run failed"]


class TestStreams:
    def poured(self, quorum: float, **how) -> Play:
        s = node("s", stream=True)
        return Play(s, node("m", each("s")), node("g", gather("m", Quorum(quorum))), **how)

    def test_while_more_may_come_nothing_is_out_of_reach(self):
        play = self.poured(2)
        play.step(yields("s", 1))
        assert play.step(fails("m[0]")) == []
        play.step(yields("s", 2), yields("s", 3))
        play.step(ok("m[1]"), ok("m[2]"))
        assert play.step(ok("s")) == ["start g#1"]

    def test_at_its_end_it_is_judged(self):
        play = self.poured(2)
        play.step(yields("s", 1), yields("s", 2))
        play.step(fails("m[0]"))
        assert play.step(ok("s")) == ["stop m[1]#1"]

    def test_a_failure_after_its_end_is_judged_at_once(self):
        play = self.poured(2)
        play.step(yields("s", 1), yields("s", 2), ok("s"))
        assert play.step(fails("m[0]")) == ["stop m[1]#1"]

    def test_one_that_broke_is_one_failed_item_more(self):
        play = self.poured(0.6)
        play.step(yields("s", 1), yields("s", 2))
        play.step(ok("m[0]"), ok("m[1]"))
        assert play.step(fails("s")) == ["start g#1"], "two of three"
        play.step(ok("g"))
        assert play.finished == "succeeded"
        assert tolerated(play) == ("s",)

    def test_and_may_be_one_too_many(self):
        play = self.poured(0.7)
        play.step(yields("s", 1), yields("s", 2))
        play.step(ok("m[0]"), ok("m[1]"))
        play.step(fails("s"))
        assert play.told == ["s failed #1 by error", "g skipped, upstream: s", "run failed"]
        assert tolerated(play) == ()

    def test_one_that_broke_before_it_gave_anything(self):
        play = self.poured(0.5)
        play.step(fails("s"))
        assert play.told == ["s failed #1 by error", "g skipped, upstream: s", "run failed"]

    @pytest.mark.parametrize(("quorum", "holds"), [(1, False), (0.5, False), (0, True)])
    def test_one_around_the_maps_that_broke_is_one_map_of_a_failed_item(self, quorum, holds):
        play = Play(
            node("s", stream=True), node("m", each("s")), node("k", each("m")),
            node("e", gather("k", Quorum(quorum), levels=2)), on_failure="continue",
        )  # fmt: skip
        play.step(yields("s", 1))
        play.step(ok("m[0]", [1]))
        play.step(ok("k[0,0]", "a"))
        play.step(fails("s"))
        if holds:
            assert arguments(play, "e") == {"n0": [["a"]]}
            assert tolerated(play) == ("s",)
        else:
            assert play.told == ["s failed #1 by error", "e skipped, upstream: s", "run failed"]
            assert tolerated(play) == ()

    def test_one_around_that_broke_leaves_the_gathers_of_each_map_alone(self):
        """They take one inner map each, and all of those are whole; who takes them together raises."""
        play = Play(
            node("s", stream=True), node("m", each("s")), node("k", each("m")),
            node("e", gather("k", Quorum(1))), node("d", gather("e", "drop")),
        )  # fmt: skip
        play.step(yields("s", 1))
        play.step(ok("m[0]", [1]))
        assert play.step(ok("k[0,0]")) == ["start e[0]#1"]
        assert play.step(fails("s")) == []
        assert play.step(ok("e[0]")) == ["start d#1"]
        play.step(ok("d"))
        assert play.finished == "succeeded"
        assert tolerated(play) == ("s",)

    def test_an_empty_one(self):
        play = self.poured(0.5)
        assert play.step(ok("s")) == ["start g#1"]


class TestWithOthers:
    def test_an_optional_step_may_fail_as_it_likes_and_the_quorum_still_is_missed(self):
        play = Play(
            node("s"), node("m", each("s"), optional=True), node("g", gather("m", Quorum(2))), node("x")
        )
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"))
        assert play.machine.state.failed

    def test_inside_the_map_an_optional_need_takes_the_failure_and_the_item_goes_on(self):
        play = Play(
            node("s"), node("m", each("s")), node("n", optional("m")), node("g", gather("n", Quorum(2)))
        )
        play.step(ok("s", [1, 2]))
        assert play.step(fails("m[0]")) == ["start n[0]#1"]
        play.step(ok("m[1]"), ok("n[0]"))
        assert play.step(ok("n[1]")) == ["start g#1"]
