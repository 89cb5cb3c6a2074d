"""Plays of limits wider than the run: asked for before a start, all at once, and never held in vain."""

from __future__ import annotations

import pytest

from penstock.core.model import Limit, Rate
from tests.core.play import (
    CANCEL,
    Play,
    after,
    began,
    each,
    fails,
    gone,
    granted,
    node,
    ok,
    returned,
    stopped,
    yields,
)

WIDE = Limit("wide", 2, scope="process")
OWN = Limit("own", 1)


def state(play: Play) -> tuple[set[str], set[str]]:
    s = play.machine.state
    return {str(s.path(i)) for i in s.acquiring}, {str(s.path(i)) for i in s.granted}


class TestAsking:
    def test_nothing_starts_without_them(self):
        play = Play(node("a", limits=[WIDE]))
        assert play.commands == ["acquire for a"]
        assert (play.told, play.status("a")) == ([], "ready")
        assert play.step(at=100) == []
        assert play.step(granted("a")) == ["start a#1"]

    def test_they_are_asked_for_once(self):
        play = Play(node("a", limits=[WIDE]), node("b"), node("c"), max_concurrency=1)
        assert play.commands == ["acquire for a", "start b#1"]
        assert play.step(ok("b")) == ["start c#1"]
        assert play.step(ok("c")) == []

    def test_several_of_one_step_are_one_question(self):
        other = Limit("other", rate=Rate(1, 1.0), scope="process")
        play = Play(node("a", limits=[WIDE, other.take(1)]))
        assert play.commands == ["acquire for a"]
        assert [use.limit.name for use in play.plan.wide[play.number("a")]] == ["other", "wide"]

    def test_who_waits_for_them_holds_no_slot(self):
        play = Play(node("a", limits=[WIDE]), node("b"), max_concurrency=1)
        assert play.commands == ["acquire for a", "start b#1"]
        assert play.machine.state.free_total == 0
        assert play.step(granted("a")) == []
        assert play.step(ok("b")) == ["start a#1"]

    def test_nothing_is_asked_while_there_is_no_slot(self):
        play = Play(node("b"), node("a", limits=[WIDE]), max_concurrency=1)
        assert play.commands == ["start b#1"]
        assert play.step(ok("b")) == ["acquire for a"]

    def test_granted_it_takes_its_place_by_rank(self):
        play = Play(node("long", limits=[WIDE]), node("l2", "long"), node("a"), node("b"), max_concurrency=1)
        assert play.commands == ["acquire for long", "start a#1"]
        play.step(granted("long"))
        assert play.step(ok("a")) == ["start long#1"]

    def test_a_grant_that_nobody_asked_for_starts_what_is_ready(self):
        play = Play(node("a", limits=[WIDE]))
        assert play.step(granted("a"), granted("a")) == ["start a#1"]
        assert play.step(granted("a")) == []
        assert state(play) == (set(), set())

    def test_each_item_asks_for_itself(self):
        play = Play(node("s"), node("m", each("s"), limits=[WIDE]))
        assert play.step(ok("s", [1, 2])) == ["acquire for m[0]", "acquire for m[1]"]
        assert play.step(granted("m[1]")) == ["start m[1]#1"]
        assert play.step(granted("m[0]")) == ["start m[0]#1"]


class TestGivingBack:
    def test_each_attempt_asks_anew_and_back_off_holds_none(self):
        play = Play(node("a", limits=[WIDE], attempts=2, delay=5))
        play.step(granted("a"))
        play.step(fails("a"))
        assert state(play) == (set(), set())
        assert play.step(at=4) == []
        assert play.step(at=5) == ["acquire for a"]
        assert play.status("a") == "retrying"
        assert play.step(granted("a"), at=6) == ["start a#2"]

    def test_what_was_given_back_asks_anew(self):
        play = Play(node("a", limits=[WIDE]))
        play.step(granted("a"))
        assert play.step(returned("a")) == ["acquire for a"]
        assert play.step(granted("a")) == ["start a#2"]

    def test_an_ended_step_is_granted_nothing(self):
        play = Play(node("a", limits=[WIDE]), node("b", "a"))
        play.step(granted("a"))
        play.step(ok("a"))
        assert play.step(granted("a")) == []
        assert state(play) == (set(), set())


class TestStopping:
    def test_cancelled_while_it_waits_it_is_skipped(self):
        play = Play(node("a", limits=[WIDE]))
        assert play.step(CANCEL) == []
        assert play.told == ["cancel asked", "a skipped, stopped: None", "run cancelled"]

    def test_a_grant_after_the_run_has_stopped_starts_nothing(self):
        play = Play(node("a", limits=[WIDE]), node("f"), node("x"))
        play.step(fails("f"))
        assert play.step(granted("a")) == []
        assert state(play) == (set(), set())
        play.step(stopped("x"))
        assert play.finished == "failed"

    def test_nor_after_a_drain(self):
        play = Play(node("a", limits=[WIDE]), node("f"), node("x"), on_failure="drain")
        play.step(fails("f"))
        assert play.step(granted("a")) == []

    def test_a_drain_lets_a_retry_ask_and_start(self):
        play = Play(node("a", limits=[WIDE], attempts=2, delay=5), node("f"), on_failure="drain")
        play.step(granted("a"))
        play.step(fails("a"))
        play.step(fails("f"))
        assert play.step(at=5) == ["acquire for a"]
        assert play.step(granted("a")) == ["start a#2"]

    def test_a_retry_that_waits_for_them_is_cancelled(self):
        play = Play(node("a", limits=[WIDE], attempts=2, delay=5), node("x"))
        play.step(granted("a"))
        play.step(fails("a"))
        play.step(at=5)
        assert play.step(CANCEL) == ["stop x#1"]
        assert play.told == ["cancel asked", "a cancelled #1"]
        assert play.step(granted("a")) == []

    def test_clean_up_still_asks_and_starts(self):
        play = Play(node("a"), node("z", after("a"), trigger="always", limits=[WIDE]))
        play.step(CANCEL)
        assert play.step(stopped("a")) == ["acquire for z"]
        assert play.step(granted("z")) == ["start z#1"]
        play.step(ok("z"))
        assert play.finished == "cancelled"

    def test_clean_up_that_waits_when_the_run_stops_goes_on_waiting(self):
        play = Play(node("z", trigger="always", limits=[WIDE]), node("x"))
        assert play.commands == ["acquire for z", "start x#1"]
        assert play.step(CANCEL) == ["stop x#1"]
        assert play.step(granted("z")) == ["start z#1"]


class TestWithLimitsOfTheRun:
    def test_the_wide_ones_are_asked_for_first_and_the_others_taken_at_the_start(self):
        play = Play(node("a", limits=[WIDE, OWN]), node("b", limits=[OWN]))
        assert play.commands == ["acquire for a", "start b#1"]
        assert play.step(granted("a")) == []
        assert play.machine.state.gauges["own"].free == 0
        assert play.step(ok("b")) == ["start a#1"]

    def test_who_waits_for_the_wide_ones_holds_none_of_the_run(self):
        play = Play(node("a", limits=[WIDE, OWN]))
        assert play.machine.state.gauges["own"].free == 1
        play.step(granted("a"))
        assert play.machine.state.gauges["own"].free == 0

    def test_cancelled_with_the_wide_ones_in_hand(self):
        play = Play(node("b", limits=[OWN]), node("a", limits=[WIDE, OWN]))
        assert play.commands == ["start b#1", "acquire for a"]
        play.step(granted("a"))
        assert play.step(CANCEL) == ["stop b#1"]
        play.step(stopped("b"))
        assert play.story()[-3:] == ["a skipped, stopped: None", "b cancelled #1", "run cancelled"]
        assert play.machine.state.gauges["own"].free == 1

    @pytest.mark.parametrize("limits", [[WIDE], [WIDE, OWN]])
    def test_a_retry_of_what_was_abandoned_asks_again(self, limits):
        play = Play(node("a", limits=limits, timeout=1, attempts=2, delay=1), grace=10)
        play.step(granted("a"))
        play.step(began("a"))
        play.step(at=1)
        play.step(stopped("a", left="thread 1"))
        play.step(gone("a", 1), at=1.5)
        assert play.step(at=2) == ["acquire for a"]
        assert play.step(granted("a")) == ["start a#2"]


class TestStreams:
    def test_a_stream_opens_its_maps_when_it_starts_and_not_when_it_asks(self):
        play = Play(node("s", stream=True, limits=[WIDE]), node("m", each("s")))
        assert (play.commands, play.told) == (["acquire for s"], [])
        play.step(granted("s"))
        assert play.told == ["s started #1", "m opened"]
        assert play.step(yields("s", 1)) == ["start m[0]#1"]

    def test_one_that_never_starts_leaves_its_map_unopened(self):
        play = Play(node("s", stream=True, limits=[WIDE]), node("m", each("s")))
        play.step(CANCEL)
        assert play.told == [
            "cancel asked", "s skipped, stopped: None", "m skipped, stopped: None", "run cancelled",
        ]  # fmt: skip

    def test_a_paused_stream_gives_them_back_and_asks_anew(self):
        """Its consumer may wait for the very permit that it holds, and then neither goes on."""
        one = Limit("one", 1, scope="process")
        play = Play(
            node("s", stream=True, limits=[one]), node("m", each("s"), limits=[one], runner="right"),
            capacities={"right": 1},
        )  # fmt: skip
        play.step(granted("s"))
        play.step(yields("s", 0), yields("s", 1))
        assert play.told[-1] == "s paused"
        play.step(granted("m[0]"))
        assert play.step(ok("m[0]")) == ["acquire for s"]
        assert play.step(granted("s")) == ["go on s#1"]


class TestReplay:
    def test_after_a_cut_they_are_asked_for_again(self):
        play = Play(node("a", limits=[WIDE]), node("b", limits=[WIDE]))
        play.step(granted("a"))
        machine = play.fresh()
        for event in play.events:
            machine.apply(event)
        machine.recover(5.0)
        asked = [play._text(command) for command in machine.step([], 5.0)]
        assert sorted(asked) == ["acquire for a", "acquire for b"]
