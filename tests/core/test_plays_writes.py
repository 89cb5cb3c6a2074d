"""Plays of what attempts write into the state that the run's steps share: when it counts, in what order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from penstock.core import commands as c
from penstock.core import events
from penstock.core.invariants import differences
from penstock.core.machine import Machine
from penstock.core.model import Limit
from tests.core.play import (
    CANCEL,
    HURRY,
    OWN_TRIGGER,
    Play,
    answers,
    began,
    each,
    fails,
    fold,
    folds,
    gather,
    gone,
    node,
    ok,
    optional,
    outcome,
    returned,
    says,
    stopped,
    yields,
)  # fmt: skip


def shared(play: Play) -> dict[Any, Any]:
    return dict(play.machine.state.shared)


def written(play: Play) -> list[tuple[str, Any]]:
    """What the events say was written, in their order."""
    return [(str(one.path), one.writes) for one in play.events if isinstance(one, events.NodeSucceeded)]


def replayed(play: Play) -> Machine:
    machine = play.fresh()
    for event in play.events:
        machine.apply(event)
    return machine


class TestOrder:
    def test_the_last_commit_wins_whoever_started_first(self):
        for order in (["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]):
            play = Play(node("a"), node("b"), node("c"))
            for id in order:
                play.step(ok(id, writes={"last": id, id: 1}))
            assert shared(play) == {"last": order[-1], "a": 1, "b": 1, "c": 1}
            assert list(shared(play)) == ["last", *order]

    @pytest.mark.parametrize("many", [2, 3, 5, 50])
    def test_what_ends_in_one_turn_counts_in_the_order_in_which_it_came(self, many):
        """Few replies go one way through the machine, many go another."""
        ids = [f"n{i}" for i in range(many)]
        Random(many).shuffle(ids)
        play = Play(*[node(id) for id in sorted(ids)])
        play.step(*[ok(id, writes={"last": id, id: 1}) for id in ids])
        assert shared(play) == {"last": ids[-1], **dict.fromkeys(ids, 1)}
        assert list(shared(play)) == ["last", *ids]
        assert [id for id, _ in written(play)] == ids

    def test_a_write_takes_nothing_else_away(self):
        play = Play(node("a"), node("b", "a"))
        play.step(ok("a", writes={"x": {"deep": 1}, "y": 1}))
        play.step(ok("b", writes={"x": {"other": 2}}))
        assert shared(play) == {"x": {"other": 2}, "y": 1}, "keys are replaced, and never merged inside"

    @pytest.mark.parametrize("writes", [None, {}])
    def test_an_attempt_that_writes_nothing_changes_nothing(self, writes):
        play = Play(node("a"), *[node(f"n{i}") for i in range(9)])
        play.step(ok("a", writes={"x": 1}))
        play.step(*[ok(f"n{i}", writes=writes) for i in range(9)])
        assert shared(play) == {"x": 1}

    def test_writers_and_others_in_one_turn(self):
        """The quick way through many replies neither stops at writes nor loses them."""
        play = Play(*[node(f"n{i}") for i in range(20)])
        play.step(*[ok(f"n{i}", writes={i: i} if i % 3 else None) for i in range(20)])
        assert shared(play) == {i: i for i in range(20) if i % 3}
        assert play.finished == "succeeded"

    def test_keys_are_whatever_can_be_one(self):
        play = Play(node("a"))
        play.step(ok("a", writes={1: "int", None: "none", ("a", 2): "pair", "": "empty"}))
        assert shared(play) == {1: "int", None: "none", ("a", 2): "pair", "": "empty"}


class TestBeforeAnythingThatFollows:
    def test_whoever_starts_finds_the_writes_of_what_it_needs(self):
        play = Play(node("a"), node("b", "a"))
        assert play.step(ok("a", writes={"x": 1})) == ["start b#1"]
        assert shared(play) == {"x": 1}

    @pytest.mark.parametrize("beside", [0, 9])
    def test_a_condition_is_asked_when_all_of_one_turn_has_been_written(self, beside):
        """The engine answers it inside the turn, and reads the state then."""
        others = [node(f"n{i}") for i in range(beside)]
        play = Play(node("a"), node("b", "a", when=True), *others)
        asked = play.step(ok("a", writes={"x": 1}), *[ok(f"n{i}", writes={i: i}) for i in range(beside)])
        assert asked == ["ask when of b"]
        assert shared(play) == {"x": 1} | {i: i for i in range(beside)}
        assert play.step(says("b", "when", True)) == ["start b#1"]

    def test_a_trigger_too(self):
        play = Play(node("a"), node("b", outcome("a"), trigger=OWN_TRIGGER))
        assert play.step(ok("a", writes={"x": 1})) == ["ask trigger of b"]
        assert shared(play) == {"x": 1}

    def test_the_items_of_a_map_find_what_was_written_with_its_list(self):
        play = Play(node("s"), node("m", each("s")))
        assert play.step(ok("s", [1, 2], writes={"x": 1})) == ["start m[0]#1", "start m[1]#1"]
        assert shared(play) == {"x": 1}

    @pytest.mark.parametrize("seed", range(30))
    def test_at_every_start_all_that_lies_above_has_been_written(self, seed):
        """A graph at random, ended in any order, several at a time, with retries and failures between."""
        dice = Random(seed)
        ids = [f"n{i}" for i in range(14)]
        above: dict[str, set[str]] = {}
        nodes = []
        for at, id in enumerate(ids):
            needs = dice.sample(ids[:at], min(at, dice.randrange(3)))
            above[id] = set(needs).union(*[above[need] for need in needs])
            nodes.append(node(id, *needs, attempts=dice.choice([1, 3])))
        play = Play(*nodes, on_failure="continue")
        running, wrote = _started(play.commands), dict[str, int]()
        while running:
            ending = dice.sample(sorted(running), dice.randint(1, len(running)))
            said = []
            for id in ending:
                if dice.random() < 0.2:
                    said.append(fails(id))
                else:
                    wrote[id] = len(wrote)
                    said.append(ok(id, writes={id: wrote[id], "last": id}))
            new = _started(play.step(*said))
            for id in new:
                assert above[id] <= shared(play).keys(), f"{id} started before what it needs was written"
            running = running - set(ending) | new
        assert play.finished is not None
        assert [(key, value) for key, value in shared(play).items() if key != "last"] == list(wrote.items())
        assert shared(play).get("last") == (list(wrote)[-1] if wrote else None)
        assert differences(play.machine.state, replayed(play).state) == []


def _started(said: list[str]) -> set[str]:
    return {line.removeprefix("start ").partition("#")[0] for line in said if line.startswith("start ")}


class TestWhatIsDropped:
    """Nothing counts but with a success; the machine does not rely on runners for that."""

    @pytest.mark.parametrize("beside", [0, 9])
    def test_r05_of_an_attempt_that_failed(self, beside):
        play = Play(node("a"), *[node(f"n{i}") for i in range(beside)], on_failure="continue")
        play.step(with_writes(fails("a")), *[ok(f"n{i}", writes={i: i}) for i in range(beside)])
        assert play.status("a") == "failed"
        assert shared(play) == {i: i for i in range(beside)}

    def test_r05_of_one_that_is_tried_again_and_the_next_one_counts(self):
        play = Play(node("a", attempts=3))
        play.step(with_writes(fails("a"), {"x": 1, "only once": 1}))
        play.step(with_writes(fails("a"), {"x": 2}))
        assert shared(play) == {}
        play.step(ok("a", writes={"x": 3}))
        assert shared(play) == {"x": 3}
        assert written(play) == [("a", {"x": 3})]

    def test_of_an_earlier_attempt_that_ends_after_all(self):
        play = Play(node("a", attempts=2, timeout=5))
        play.step(began("a"))
        assert play.step(at=5) == ["stop a#1 late"]
        assert play.step(stopped("a", left="thread")) == ["start a#2"]
        play.step(ok("a", writes={"x": "late"}, token=1))
        assert shared(play) == {}
        play.step(ok("a", writes={"x": "good"}))
        play.step(ok("a", writes={"x": "later still"}, token=1), ok("a", writes={"x": "twice"}, token=2))
        assert shared(play) == {"x": "good"}

    def test_of_an_abandoned_attempt_that_is_gone_at_last(self):
        play = Play(node("a", timeout=5, limits=[Limit("l", 1)]), node("b"), on_failure="continue")
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a", left="thread"))
        play.step(ok("a", writes={"x": 1}), gone("a", 1))
        assert play.status("a") == "failed"
        assert shared(play) == {}

    def test_of_a_success_that_comes_after_its_alarm(self):
        play = Play(node("a", timeout=5))
        play.step(began("a"))
        play.step(at=5)
        play.step(ok("a", writes={"x": 1}))
        assert play.told[0] == "a failed #1 by timeout"
        assert shared(play) == {}

    def test_of_an_attempt_that_a_stop_has_ended(self):
        play = Play(node("a"), node("b"))
        assert play.step(fails("a")) == ["stop b#1"]
        play.step(with_writes(stopped("b")))
        assert play.status("b") == "cancelled"
        assert shared(play) == {}

    @pytest.mark.parametrize("how", ["cancelled", "given up"])
    def test_of_an_attempt_that_a_cancel_has_ended(self, how):
        play = Play(node("a"))
        play.step(CANCEL)
        play.step(HURRY)
        play.step(with_writes(stopped("a", left="thread" if how == "given up" else None)))
        play.step(ok("a", writes={"x": 1}))
        assert play.finished == "cancelled"
        assert shared(play) == {}

    def test_of_what_was_given_back(self):
        play = Play(node("a"))
        assert play.step(with_writes(returned("a"))) == ["start a#2"]
        assert shared(play) == {}

    def test_of_a_slice_of_a_fold(self):
        play = Play(node("s"), node("m", each("s")), fold("f", "m"))
        play.step(ok("s", [1, 2]))
        assert play.step(ok("m[0]")) == ["start f#1"]
        play.step(folds("f", 1))
        play.step(ok("m[1]"))
        play.step(ok("f"))
        assert play.finished == "succeeded"
        assert shared(play) == {}


def with_writes(said: Any, writes: Any = None) -> Any:
    """A bad ending that brings writes, which no runner of ours does."""
    assert said[0] == c.ENDED
    return (*said[:5], {"bad": 1} if writes is None else writes)


class TestWhatCounts:
    def test_a_success_that_a_stop_did_not_reach(self):
        """As its value does."""
        play = Play(node("a"), node("b"), node("c", "b"))
        play.step(fails("a"))
        play.step(ok("b", 1, writes={"x": 1}))
        assert (play.status("b"), play.value("b"), shared(play)) == ("succeeded", 1, {"x": 1})

    def test_a_success_in_the_turn_of_the_failure(self):
        for first in (True, False):
            play = Play(node("a"), node("b"))
            both = [fails("a"), ok("b", writes={"x": 1})]
            play.step(*(both if first else both[::-1]))
            assert shared(play) == {"x": 1}

    def test_what_runs_on_in_a_drain(self):
        play = Play(node("a"), node("b", attempts=2), on_failure="drain")
        play.step(fails("a"))
        play.step(with_writes(fails("b")))
        play.step(ok("b", writes={"x": 1}))
        assert (play.finished, shared(play)) == ("failed", {"x": 1})

    def test_clean_up_after_a_stop(self):
        play = Play(node("a"), node("end", outcome("a"), trigger="always"))
        assert play.step(fails("a")) == ["start end#1"]
        play.step(ok("end", writes={"x": 1}))
        assert shared(play) == {"x": 1}

    def test_an_optional_step_that_fails_writes_nothing_and_its_stand_in_does(self):
        play = Play(node("a", optional=True), node("b", optional("a")))
        assert play.step(with_writes(fails("a"))) == ["start b#1"]
        play.step(ok("b", writes={"x": 1}))
        assert (play.finished, shared(play)) == ("succeeded", {"x": 1})

    def test_items_of_a_map_in_the_order_of_their_commits(self):
        play = Play(node("s"), node("m", each("s"), attempts=2), node("g", gather("m")))
        play.step(ok("s", [1, 2, 3]))
        play.step(ok("m[2]", writes={"last": 2, 2: 2}), with_writes(fails("m[1]")))
        assert play.step(ok("m[0]", writes={"last": 0, 0: 0})) == []
        assert play.step(ok("m[1]", writes={"last": 1, 1: 1})) == ["start g#1"]
        assert shared(play) == {"last": 1, 2: 2, 0: 0, 1: 1}
        assert list(shared(play)) == ["last", 2, 0, 1]

    def test_a_stream_when_it_ends(self):
        play = Play(node("s", stream=True), node("m", each("s"), runner="right"))
        play.step(yields("s", "a"))
        assert shared(play) == {}
        play.step(ok("m[0]", writes={"item": 0}))
        play.step(ok("s", writes={"stream": 1}))
        assert shared(play) == {"item": 0, "stream": 1}

    def test_a_step_with_limits_and_one_that_was_retried(self):
        """These go a way of their own through the machine."""
        play = Play(
            node("a", limits=[Limit("l", 1)]), node("b", limits=[Limit("l", 1)]), node("c", attempts=2)
        )
        play.step(fails("c"), ok("a", writes={"a": 1}))
        play.step(ok("c", writes={"c": 1}), ok("b", writes={"b": 1}))
        assert list(shared(play).items()) == [("a", 1), ("c", 1), ("b", 1)]

    def test_an_override_and_an_answer_write_nothing(self):
        play = Play(node("a"), node("b", "a"), node("g", kind="gate"), override={"a": {"x": 1}})
        play.step(answers("g", {"y": 1}))
        play.step(ok("b"))
        assert (play.finished, shared(play)) == ("succeeded", {})


class TestEvents:
    def test_a_success_says_what_it_wrote(self):
        play = Play(node("a"), node("b"))
        play.step(ok("b", writes={"x": 1}), ok("a"))
        assert written(play) == [("b", {"x": 1}), ("a", None)]

    def test_a_replay_of_the_facts_gives_the_same_state(self):
        play = _busy()
        assert dict(replayed(play).state.shared) == shared(play) != {}
        assert differences(play.machine.state, replayed(play).state) == []

    def test_a_replay_up_to_any_turn_gives_what_was_there_then(self):
        play = _busy()
        seen = []
        for upto in play.turns:
            machine = play.fresh()
            for event in play.events[:upto]:
                machine.apply(event)
            writes = [one.writes for one in play.events[:upto] if isinstance(one, events.NodeSucceeded)]
            folded: dict[Any, Any] = {}
            for one in writes:
                folded.update(one or {})
            assert dict(machine.state.shared) == folded
            seen.append(len(folded))
        assert seen == sorted(seen)
        assert len(set(seen)) > 3

    def test_a_replay_keeps_what_there_was_before_the_run(self):
        """Whoever gave it gives it again."""
        play = Play(node("a"))
        machine = play.fresh()
        machine.state.shared = {"before": 1, "x": 0}
        play.step(ok("a", writes={"x": 1}))
        for event in play.events:
            machine.apply(event)
        assert machine.state.shared == {"before": 1, "x": 1}

    def test_a_run_that_was_cut_off_goes_on_from_what_was_written(self):
        play = Play(node("a"), node("b", "a"), node("c"))
        play.step(ok("a", writes={"x": 1}))
        machine = replayed(play)
        machine.recover(9.0)
        machine.step([], 9.0)
        assert machine.state.shared == {"x": 1}
        i = machine.state.find(events.NodePath("b"))
        late = (c.ENDED, i, 1, c.OK, None, {"x": "of the process that died"}, 9.0, 9.0)
        machine.step([late], 9.0)
        assert machine.state.shared == {"x": 1}
        machine.step([(c.ENDED, i, 2, c.OK, None, {"y": 2}, 9.0, 9.0)], 9.0)
        assert machine.state.shared == {"x": 1, "y": 2}


def _busy() -> Play:
    """A run with something of everything that writes."""
    play = Play(
        node("s", attempts=2), node("m", each("s"), attempts=2), node("g", gather("m")),
        node("x", optional=True), node("y", optional("x")), node("st", stream=True), node("i", each("st")),
        *[node(f"n{i}") for i in range(6)], on_failure="continue",
    )  # fmt: skip
    play.step(with_writes(fails("s")), *[ok(f"n{i}", writes={"n": i, f"n{i}": 1}) for i in range(6)])
    play.step(ok("s", [1, 2], writes={"s": 1, "n": "s"}), with_writes(fails("x")), yields("st", 1))
    play.step(ok("m[1]", writes={"m": 1}), with_writes(fails("m[0]")), ok("y", writes={"y": 1}))
    play.step(ok("i[0]", writes={"i": 0}), ok("st", writes={"st": 1}))
    play.step(ok("m[0]", writes={"m": 0}))
    play.step(ok("g", writes={"g": 1, "s": "again"}))
    assert play.finished == "succeeded"
    return play
