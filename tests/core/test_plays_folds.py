"""Plays of folds: the items of a map taken in slices, in input order, as they end."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core import commands as c
from penstock.core.folds import Folds, fold_slice
from penstock.core.invariants import check, differences
from penstock.core.model import NOTHING
from tests.core.play import (
    CANCEL,
    Play,
    each,
    fails,
    fold,
    folds,
    gather,
    node,
    ok,
    returned,
    says,
    stopped,
    yields,
)


def folding(size: int = 3, *more, failures: str = "raise", when: bool = False, **how) -> Play:
    """A map of so many items and a fold over it."""
    play = Play(node("s"), node("m", each("s"), when=when), fold("f", "m", failures), *more, **how)
    play.step(ok("s", list(range(size))))
    return play


class TestSlices:
    def test_it_starts_with_the_first_item_and_not_before(self):
        play = folding()
        assert play.step(ok("m[1]")) == []
        assert play.step(ok("m[0]")) == ["start f#1"]

    def test_after_a_slice_it_waits_for_the_next_item_in_order(self):
        play = folding()
        play.step(ok("m[0]"))
        assert play.step(folds("f", 1)) == []
        assert play.told == ["f folded 1 #1"]
        assert play.status("f") == "pending"
        assert play.step(ok("m[2]")) == []
        assert play.step(ok("m[1]")) == ["start f#2"]

    def test_what_has_ended_meanwhile_starts_the_next_slice_at_once(self):
        play = folding()
        play.step(ok("m[0]"))
        assert play.step(ok("m[1]")) == []
        assert play.step(folds("f", 1)) == ["start f#2"]

    def test_the_last_slice_ends_it(self):
        play = folding(2, node("x", "f"))
        play.step(ok("m[0]"))
        play.step(folds("f", 1), ok("m[1]"))
        assert play.commands == ["start f#2"]
        assert play.step(ok("f", 10)) == ["start x#1"]
        assert play.value("f") == 10

    def test_a_map_that_closes_while_a_slice_is_under_way_brings_one_more(self):
        play = folding(2)
        play.step(ok("m[0]"))
        assert play.step(ok("m[1]")) == []
        assert play.status("m") == "succeeded"
        assert play.step(folds("f", 1)) == ["start f#2"]

    def test_even_where_that_one_has_nothing_to_do(self):
        """The slice did not know that it was the last."""
        play = folding(1)
        play.step(ok("m[0]"))
        assert play.step(folds("f", 1)) == ["start f#2"]

    def test_an_empty_map_is_one_slice(self):
        play = folding(0)
        assert play.commands == ["start f#1"]
        play.step(ok("f", 0))
        assert play.finished == "succeeded"

    def test_it_gives_its_slot_back_between_slices(self):
        play = folding(3, max_concurrency=1)
        order = []
        while play.finished is None:
            path = play.commands[0].split()[1].split("#")[0]
            order.append(path)
            waits = play.machine.state.waits[play.number("f")]
            taken = sum(play.status(f"m[{at}]") == "succeeded" for at in range(3))
            play.step(folds("f", taken) if path == "f" and waits else ok(path))
        assert order == ["m[0]", "f", "m[1]", "f", "m[2]", "f"], "what it has taken can be let go first"

    def test_slices_are_no_attempts_of_their_own(self):
        play = folding(3)
        for at in range(2):
            play.step(ok(f"m[{at}]"))
            play.step(folds("f", at + 1))
        play.step(ok("m[2]"))
        play.step(ok("f", 1))
        from penstock.core.views import node_result

        assert node_result(play.machine.state, play.number("f")).attempts == 1
        assert play.machine.state.token[play.number("f")] == 3

    def test_of_two_folds_each_goes_its_own_way(self):
        play = folding(2, fold("h", "m"))
        assert play.step(ok("m[0]")) == ["start f#1", "start h#1"]
        play.step(folds("f", 1))
        assert play.step(ok("m[1]")) == ["start f#2"]
        assert play.step(folds("h", 1)) == ["start h#2"]

    def test_a_late_slice_of_another_attempt_counts_for_nothing(self):
        play = folding(3)
        play.step(ok("m[0]"))
        play.step(returned("f"))
        assert play.commands == ["start f#2"]
        assert play.step(folds("f", 1, token=1)) == []
        assert play.told == []

    def test_in_the_middle_of_a_chain(self):
        play = Play(node("s"), node("m", each("s")), node("n", "m"), fold("f", "n"))
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]"))
        assert play.step(ok("n[0]")) == ["start f#1"]


class TestValues:
    def test_taken_values_go_at_once_where_nobody_else_wants_them(self):
        play = folding(3, keep_all=False)
        play.step(ok("m[0]", "a"), ok("m[1]", "b"))
        play.step(folds("f", 1))
        assert [play.value("m[0]"), play.value("m[1]")] == [NOTHING, "b"]

    def test_they_stay_for_a_step_of_the_map(self):
        play = folding(2, node("n", "m"), keep_all=False)
        play.step(ok("m[0]", "a"))
        play.step(folds("f", 1))
        assert play.value("m[0]") == "a"
        play.step(ok("n[0]"))
        play.step(ok("m[1]", "b"))
        play.step(ok("n[1]"), ok("f", 1))
        assert [play.value("m[0]"), play.value("m[1]")] == [NOTHING, NOTHING]

    def test_and_for_a_gather_beside_it(self):
        play = folding(2, node("g", gather("m")), keep_all=False)
        play.step(ok("m[0]", "a"), ok("m[1]", "b"))
        play.step(folds("f", 1))
        assert play.value("m[0]") == "a"
        play.step(ok("f", 1), ok("g"))
        assert play.value("m[0]") is NOTHING

    def test_and_for_a_second_fold(self):
        play = folding(2, fold("h", "m"), keep_all=False)
        play.step(ok("m[0]", "a"))
        play.step(folds("f", 1))
        assert play.value("m[0]") == "a"
        play.step(folds("h", 1), ok("m[1]"))
        play.step(ok("f"), ok("h"))
        assert play.value("m[0]") is NOTHING

    def test_and_in_a_map_that_is_kept(self):
        play = Play(node("s"), node("m", each("s"), keep=True), fold("f", "m"), keep_all=False)
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", "a"))
        play.step(folds("f", 1))
        assert play.value("m[0]") == "a"


class TestFailingItems:
    def test_raise_does_not_go_past_a_failed_item(self):
        play = folding(3, on_failure="continue")
        play.step(fails("m[0]"))
        assert play.step(ok("m[1]")) == []
        play.step(ok("m[2]"))
        assert play.told == ["m[2] succeeded #1", "f skipped, upstream: m[0]", "run failed"]

    def test_nor_past_one_that_fails_later(self):
        play = folding(3, on_failure="continue")
        play.step(ok("m[0]"))
        play.step(folds("f", 1), fails("m[1]"), ok("m[2]"))
        assert play.told[-2:] == ["f skipped, upstream: m[1]", "run failed"]

    def test_a_slice_under_way_when_its_map_closes_with_a_failure_ends_first(self):
        play = folding(2, on_failure="continue")
        play.step(ok("m[0]"))
        play.step(fails("m[1]"))
        assert play.told == ["m[1] failed #1 by error"]
        play.step(folds("f", 1))
        assert play.told == ["f folded 1 #1", "f skipped, upstream: m[1]", "run failed"]

    def test_drop_goes_past_it(self):
        play = folding(3, failures="drop")
        assert play.step(fails("m[0]")) == ["start f#1"]
        play.step(folds("f", 1))
        assert play.step(ok("m[1]")) == ["start f#2"]
        play.step(folds("f", 2), ok("m[2]"))
        play.step(ok("f", 1))
        assert play.finished == "succeeded"

    def test_it_goes_past_what_a_condition_left_out(self):
        play = folding(3, when=True)
        play.step(*[says(f"m[{at}]", "when", at > 0) for at in range(3)])
        assert "start f#1" in play.commands
        play.step(folds("f", 1))
        assert play.step(ok("m[1]")) == ["start f#2"]

    def test_an_item_below_a_failure_is_as_good_as_failed(self):
        play = Play(node("s"), node("m", each("s")), node("n", "m"), fold("f", "n"), on_failure="continue")
        play.step(ok("s", [1, 2]))
        play.step(fails("m[0]"), ok("m[1]"))
        assert play.step(ok("n[1]")) == []
        assert play.told[-2:] == ["f skipped, upstream: m[0]", "run failed"]


class TestItsOwnEnd:
    def test_a_function_that_raises_fails_it_and_stops_the_run(self):
        play = folding(3, node("x", "f"))
        play.step(ok("m[0]"))
        assert play.step(fails("f")) == ["stop m[1]#1", "stop m[2]#1"]
        play.step(stopped("m[1]"), stopped("m[2]"))
        assert play.story()[-3:] == ["m[1] cancelled #1", "m[2] cancelled #1", "run failed"]
        assert play.status("x") == "skipped"

    def test_with_continue_the_map_goes_on_without_it(self):
        play = folding(2, node("g", gather("m")), on_failure="continue")
        play.step(ok("m[0]"))
        play.step(fails("f"))
        assert play.step(ok("m[1]")) == ["start g#1"]
        play.step(ok("g"))
        assert play.finished == "failed"

    def test_a_slice_that_was_given_back_is_made_again(self):
        play = folding(3)
        play.step(ok("m[0]"))
        assert play.step(returned("f")) == ["start f#2"]
        play.step(folds("f", 1))
        assert play.told == ["f folded 1 #2"]

    def test_cancelled_in_a_slice(self):
        play = folding(3)
        play.step(ok("m[0]"))
        assert sorted(play.step(CANCEL)) == ["stop f#1", "stop m[1]#1", "stop m[2]#1"]
        play.step(stopped("f"), stopped("m[1]"), stopped("m[2]"))
        assert play.status("f") == "cancelled"
        assert play.finished == "cancelled"

    def test_cancelled_between_two_slices(self):
        play = folding(2)
        play.step(ok("m[0]"))
        play.step(folds("f", 1))
        play.step(CANCEL)
        play.step(stopped("m[1]"))
        assert play.told == ["m[1] cancelled #1", "f skipped, stopped: None", "run cancelled"]

    def test_a_slice_that_ends_after_the_stop_starts_no_other(self):
        play = folding(3, node("x"))
        play.step(ok("m[0]"), ok("m[1]"))
        play.step(fails("x"))
        assert play.step(folds("f", 1)) == []
        play.step(stopped("m[2]"))
        assert play.told == ["m[2] cancelled #1", "f skipped, stopped: x", "run failed"]

    def test_stopped_while_it_was_ready_early(self):
        play = Play(
            node("s", runner="right"), node("m", each("s"), runner="right"), fold("f", "m"), node("x"),
            capacities={"left": 1, "right": 1},
        )  # fmt: skip
        play.step(ok("s", [0, 1]))
        play.step(ok("m[0]"))
        assert play.commands == ["start m[1]#1"]
        assert play.status("f") == "ready"
        play.step(fails("x"))
        assert play.status("f") == "pending"
        play.step(stopped("m[1]"))
        assert play.told == ["m[1] cancelled #1", "f skipped, stopped: x", "run failed"]

    def test_stopped_while_it_was_ready_with_all_items(self):
        play = folding(1, node("x", runner="right"), max_concurrency=2, capacities={"left": 1})
        play.step(ok("m[0]"))
        play.step(returned("f"), CANCEL)
        assert play.told == ["f given back #1", "cancel asked", "f skipped, stopped: None"]

    def test_a_drain_lets_the_slice_end_and_starts_no_other(self):
        play = folding(2, node("x"), on_failure="drain")
        play.step(ok("m[0]"))
        assert play.step(fails("x")) == []
        assert play.step(folds("f", 1)) == []
        assert play.step(ok("m[1]")) == []
        assert play.told == ["m[1] succeeded #1", "f skipped, stopped: x", "run failed"]


class TestShapes:
    def test_a_fold_per_outer_item(self):
        play = Play(node("s"), node("m", each("s")), node("k", each("m")), fold("f", "k"), fold("t", "f"))
        play.step(ok("s", [1, 2]))
        play.step(ok("m[0]", [1, 2]), ok("m[1]", []))
        assert "start f[1]#1" in play.commands
        assert play.step(ok("k[0,0]")) == ["start f[0]#1"]
        play.step(ok("f[1]", 0), folds("f[0]", 1))
        assert play.step(ok("k[0,1]")) == ["start f[0]#2"]
        assert play.step(ok("f[0]", 3)) == ["start t#1"]
        play.step(ok("t", 3))
        assert play.finished == "succeeded"

    def test_over_a_stream(self):
        play = Play(node("s", stream=True), node("m", each("s")), fold("f", "m"))
        play.step(yields("s", 1))
        assert play.step(ok("m[0]")) == ["start f#1"]
        assert play.step(folds("f", 1)) == []
        play.step(yields("s", 2))
        assert play.step(ok("m[1]")) == ["start f#2"]
        play.step(folds("f", 2))
        assert play.step(ok("s")) == ["start f#3"]
        play.step(ok("f", 1))
        assert play.finished == "succeeded"

    def test_over_a_stream_that_breaks_between_two_slices(self):
        play = Play(node("s", stream=True), node("m", each("s")), fold("f", "m"), on_failure="continue")
        play.step(yields("s", 1))
        play.step(ok("m[0]"))
        play.step(folds("f", 1))
        play.step(fails("s"))
        assert play.told == ["s failed #1 by error", "f skipped, upstream: s", "run failed"]

    def test_over_a_stream_that_breaks_and_is_dropped(self):
        play = Play(node("s", stream=True), node("m", each("s")), fold("f", "m", "drop"))
        play.step(yields("s", 1))
        play.step(ok("m[0]"))
        assert play.step(folds("f", 1)) == []
        assert play.step(fails("s")) == ["start f#2"]
        play.step(ok("f", 1))
        assert play.finished == "succeeded"

    def test_behind_a_map_that_never_opens(self):
        play = folding_failed_source()
        assert play.told == [
            "s failed #1 by error", "m skipped, upstream: s", "f skipped, upstream: s", "run failed",
        ]  # fmt: skip


def folding_failed_source() -> Play:
    play = Play(node("s"), node("m", each("s")), fold("f", "m"), on_failure="continue")
    play.step(fails("s"))
    return play


# As the engine plays it: the slices that `Folds` makes, and what it makes of their ends


def join(so_far: list[Any], item: Any) -> list[Any]:
    return [*so_far, item]


class Engine:
    """Makes the slices of one fold as an engine would."""

    def __init__(self, play: Play, initial: Any = ()) -> None:
        self.play = play
        self.folds = Folds(play.machine.state)
        self.of = play.plan.nodes[play.plan.index["f"]]._replace(call=join, bound={"initial": initial})
        self.slices: list[list[Any]] = []

    def start(self, path: str = "f") -> dict[str, Any]:
        i = self.play.number(path)
        return self.folds.arguments(i, self.play.machine.state.token[i], self.of)

    def end(self, arguments: dict[str, Any], path: str = "f") -> c.Reply:
        i = self.play.number(path)
        self.slices.append(arguments["items"])
        value = fold_slice(**arguments)
        return self.folds.heard((c.ENDED, i, self.play.machine.state.token[i], c.OK, value, None, 0.0, 0.0))

    def run(self, path: str = "f") -> c.Reply:
        return self.end(self.start(path), path)

    def say(self, reply: c.Reply) -> None:
        if reply[0] == c.FOLDED:
            self.play.step(folds(str(self.play.machine.state.path(reply[1])), reply[3]))
        else:
            self.play.step(ok(str(self.play.machine.state.path(reply[1])), reply[4]))


class TestAsTheEngineDoesIt:
    def test_slice_by_slice(self):
        play = folding(4, keep_all=False)
        engine = Engine(play, initial=[])
        play.step(ok("m[2]", "c"), ok("m[0]", "a"))
        engine.say(engine.run())
        assert play.status("f") == "pending"
        play.step(ok("m[1]", "b"))
        slice_ = engine.start()
        play.step(ok("m[3]", "d"))
        engine.say(engine.end(slice_))
        engine.say(engine.run())
        assert engine.slices == [["a"], ["b", "c"], ["d"]]
        assert play.value("f") == ["a", "b", "c", "d"]

    def test_what_it_begins_with_is_not_shared_between_runs(self):
        initial: list[Any] = []
        play = folding(0)
        engine = Engine(play, initial)
        assert engine.start()["so_far"] is not initial

    def test_a_slice_given_back_is_made_again_from_where_it_was(self):
        play = folding(3)
        engine = Engine(play, initial=[])
        play.step(ok("m[0]", "a"))
        engine.say(engine.run())
        play.step(ok("m[1]", "b"))
        engine.start()
        play.step(returned("f"))
        play.step(ok("m[2]", "c"))
        engine.say(engine.run())
        assert engine.slices == [["a"], ["b", "c"]]
        assert play.value("f") == ["a", "b", "c"]

    def test_left_out_and_dropped_items_are_not_in_it(self):
        play = folding(4, failures="drop", when=True)
        engine = Engine(play, initial=[])
        play.step(*[says(f"m[{at}]", "when", at != 1) for at in range(4)])
        play.step(ok("m[0]", "a"), fails("m[2]"), ok("m[3]", "d"))
        assert play.commands == ["start f#1"]
        engine.say(engine.run())
        assert play.value("f") == ["a", "d"]

    def test_a_failure_is_passed_on_and_so_is_what_is_no_fold(self):
        play = folding(2)
        engine = Engine(play)
        play.step(ok("m[0]"))
        engine.start()
        failed = (c.ENDED, play.number("f"), 1, c.FAILED, None, None, 0.0, 0.0)
        other = (c.ENDED, play.number("m[1]"), 1, c.OK, 1, None, 0.0, 0.0)
        stale = (c.ENDED, play.number("f"), 7, c.OK, 1, None, 0.0, 0.0)
        assert bool(engine.folds)
        assert engine.folds.heard(other) is other
        assert engine.folds.heard(stale) is stale
        assert engine.folds.heard(failed) is failed
        assert not engine.folds

    @pytest.mark.parametrize("policy", ["raise", "drop"])
    def test_a_stream_that_breaks_while_the_fold_waits_for_a_slot(self, policy):
        """All its items are there, but the map has one failure more."""
        play = Play(
            node("s", stream=True, runner="right"), node("m", each("s"), runner="right"),
            fold("f", "m", policy), node("x"), capacities={"left": 1}, on_failure="continue",
        )  # fmt: skip
        engine = Engine(play, initial=[])
        play.step(yields("s", 1), yields("s", 2))
        play.step(ok("m[0]", "a"))
        assert (play.status("f"), play.status("m[1]")) == ("ready", "running")
        play.step(ok("x"), ok("m[1]", "b"), fails("s"))
        if policy == "raise":
            assert play.told[-2:] == ["f skipped, upstream: s", "run failed"]
        else:
            engine.say(engine.run())
            assert play.value("f") == ["a", "b"]

    def test_a_stream_that_breaks_in_a_slice_with_all_its_items(self):
        play = Play(node("s", stream=True), node("m", each("s")), fold("f", "m"), on_failure="continue")
        engine = Engine(play, initial=[])
        play.step(yields("s", 1))
        play.step(ok("m[0]", "a"))
        slice_ = engine.start()
        play.step(fails("s"))
        engine.say(engine.end(slice_))
        assert play.told[-2:] == ["f skipped, upstream: s", "run failed"]

    def test_a_slice_is_bounded(self, monkeypatch):
        monkeypatch.setattr("penstock.core.folds._MOST", 2)
        play = folding(5)
        engine = Engine(play, initial=[])
        play.step(*[ok(f"m[{at}]", at) for at in range(5)])
        while play.finished is None:
            engine.say(engine.run())
        assert engine.slices == [[0, 1], [2, 3], [4]]
        assert play.value("f") == [0, 1, 2, 3, 4]


def whole_play() -> Play:
    play = Play(node("s"), node("m", each("s")), fold("f", "m", "drop"), node("x", "f"), max_concurrency=2)
    play.step(ok("s", [1, 2, 3, 4]))
    play.step(ok("m[0]"), ok("m[1]"))
    engine = Engine(play, initial=[])
    while play.finished is None:
        todo = [f"m[{at}]" for at in range(4) if play.status(f"m[{at}]") == "running"]
        if play.status("f") == "running":
            engine.say(engine.run())
        elif play.status("x") == "running":
            play.step(ok("x"))
        else:
            play.step(fails(todo[0]) if todo[0] == "m[2]" else ok(todo[0]))
    return play


@pytest.mark.parametrize("then", ["run", "crash"])
def test_a_replay_of_every_prefix_is_sound_and_goes_on_to_the_end(then):
    """A fold that was cut off has nothing of its own any more: it starts over from the items."""
    play = whole_play()
    assert play.finished == "succeeded"
    for upto in play.turns:
        machine = play.fresh()
        for event in play.events[:upto]:
            machine.apply(event)
        assert differences(machine.state, machine.state) == []
        assert [text for text in check(machine.state) if not text.endswith("is idle")] == []
        if then == "crash" and machine.state.finished is None:
            machine.recover(100.0)
            assert go_on(play, machine) == "succeeded"


def go_on(play: Play, machine: Any) -> str:
    of = play.plan.nodes[play.plan.index["f"]]._replace(call=join, bound={"initial": []})
    made = Folds(machine.state)
    replies: list[c.Reply] = []
    for _ in range(50):
        todo = machine.step(replies, 100.0)
        if machine.state.finished is not None:
            break
        replies = []
        for _, i, token, _ in todo:
            path = str(machine.state.path(i))
            value: Any = [1, 2, 3, 4] if path == "s" else None
            if path == "f":
                value = fold_slice(**made.arguments(i, token, of))
            replies.append(made.heard((c.ENDED, i, token, c.OK, value, None, 100.0, 100.0)))
    return machine.state.finished


class TestHoldingBack:
    """A fold that is behind holds back the stream whose items it takes."""

    def behind(self, *, failures: str = "raise", allowed: bool = False, **how) -> Play:
        """Two items may be made at a time, and the fold works on the first."""
        play = Play(
            node("s", stream=True, runner="left"),
            node("m", each("s"), runner="right"),
            fold("f", "m", failures, runner="left"),
            capacities={"left": 2, "right": 2},
            **how,
        )
        if allowed:
            assert play.machine.allowance(play.number("s")) == 4
        play.step(yields("s", 0))
        play.step(ok("m[0]"))
        assert play.told == ["m[0] succeeded #1", "f started #1"]
        for at in (1, 2, 3):
            play.step(yields("s", at))
            play.step(ok(f"m[{at}]"))
        return play

    def test_f10_it_waits_where_four_items_could_be_folded(self):
        play = self.behind()
        play.step(yields("s", 4))
        assert play.told == ["s yielded 4", "s paused", "m[4] started #1"]

    def test_f10_it_goes_on_when_half_of_them_have_been(self):
        play = self.behind()
        play.step(yields("s", 4))
        play.step(ok("m[4]"))
        assert play.step(folds("f", 2)) == ["start f#2"], "three are left"
        assert play.step(folds("f", 3)) == ["go on s#1", "start f#3"]

    def test_what_it_was_allowed_it_may_use_up(self):
        play = self.behind(allowed=True)
        play.machine.state.allowed[play.number("s"), 1] = 6
        play.step(yields("s", 4))
        assert play.told == ["s yielded 4", "m[4] started #1"]
        assert play.machine.allowance(play.number("s")) is None
        play.step(yields("s", 5))
        assert "s paused" in play.told

    def test_an_item_that_the_fold_cannot_take_yet_holds_up_nobody(self):
        play = Play(
            node("s", stream=True),
            node("m", each("s"), runner="right"),
            fold("f", "m"),
            capacities={"right": 2},
        )
        play.step(yields("s", 0))
        for at in range(1, 8):
            play.step(yields("s", at))
            play.step(ok(f"m[{at}]"))
        assert "s paused" not in play.story()

    def test_nor_does_a_fold_that_is_lost(self):
        play = self.behind(on_failure="continue")
        play.step(fails("f", retryable=False))
        for at in (4, 5, 6):
            play.step(yields("s", at))
            play.step(ok(f"m[{at}]"))
        assert "s paused" not in play.story()
