"""Plays, and what is to be read of them: when nodes began and ended, and what a looker-on finds meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.machine.state import CANCELLED, FAILED, SKIPPED, SUCCEEDED
from penstock.core.model import RunStatus
from penstock.core.plan import GROUP
from penstock.core.result import NodeResult, RunResult
from penstock.core.views import node_result, result_of
from tests.core.play import (
    CANCEL,
    Play,
    answers,
    began,
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
    yields,
)  # fmt: skip


def of(play: Play, path: str) -> NodeResult:
    return node_result(play.machine.state, play.number(path))


def result(play: Play) -> RunResult:
    return result_of(play.machine.state, "run", now=play.now)


def times(play: Play, path: str) -> tuple[Any, Any, Any]:
    """When it began and ended, and how long it took; the same wherever it is asked for."""
    found = of(play, path)
    if "[" not in path:
        nodes = result(play).nodes
        again = dict(zip(nodes, nodes.values(), strict=True))[path]
        assert (again.began, again.ended, again.duration) == (found.began, found.ended, found.duration)
        assert (again.status, again.source, again.value) == (found.status, found.source, found.value)
        assert (again.attempts, again.path) == (found.attempts, found.path)
        assert nodes[path].ended == found.ended
    return found.began, found.ended, found.duration


NEVER = (None, None, None)


class TestTimes:
    """A play begins at 0. An attempt that runs has begun when it was handed out, as far as anybody knows; one
    that has ended, when it says it did, which here is what `began` has said."""

    def test_one_that_succeeded(self):
        play = Play(node("a"), node("b", "a"))
        assert times(play, "a") == (0, None, None)
        assert times(play, "b") == NEVER
        play.step(ok("a"), at=3)
        assert times(play, "b") == (3, None, None), "handed out"
        play.step(began("b"), at=4)
        play.step(ok("b"), at=6)
        assert times(play, "b") == (4, 6, 2), "and begun a little later"

    def test_what_began_at_zero_has_begun(self):
        play = Play(node("a"), node("s"), node("m", each("s"), runner="right"))
        play.step(began("a"), began("s"))
        play.step(ok("s", [1, 2]))
        play.step(began("m[0]"), began("m[1]"))
        play.step(ok("m[0]"), at=2)
        assert times(play, "m") == (0, None, 2)
        play.step(ok("m[1]"), ok("a"), at=5)
        assert times(play, "a") == (0, 5, 5)
        assert times(play, "m") == (0, 5, 7)

    @pytest.mark.parametrize("many", [1, 9])
    def test_many_that_end_in_one_turn(self, many):
        play = Play(*[node(f"n{i}") for i in range(many)])
        for i in range(many):
            play.step(began(f"n{i}"), at=i)
        play.step(*[ok(f"n{i}") for i in range(many)], at=20)
        assert [times(play, f"n{i}") for i in range(many)] == [(i, 20, 20 - i) for i in range(many)]

    @pytest.mark.parametrize("end", [ok, fails])
    def test_from_the_first_attempt_to_the_last(self, end):
        play = Play(node("a", attempts=3, delay=10))
        play.step(began("a"), at=1)
        play.step(fails("a"), at=3)
        assert times(play, "a") == (1, None, None), "it waits"
        play.step(at=13)
        play.step(began("a"), at=14)
        assert times(play, "a") == (1, None, None), "it runs again"
        play.step(fails("a"), at=15)
        play.step(at=25)
        play.step(began("a"), at=26)
        play.step(end("a"), at=28)
        assert times(play, "a") == (1, 28, 27)
        assert of(play, "a").attempts == 3

    def test_others_beside_one_that_was_retried(self):
        play = Play(node("a", attempts=2), node("b"), node("c"))
        play.step(began("a"), began("c"))
        play.step(began("b"), at=1)
        play.step(fails("a"), at=2)
        play.step(ok("a"), ok("b"), at=4)
        play.step(ok("c"), at=5)
        assert [times(play, id) for id in "abc"] == [(0, 4, 4), (1, 4, 3), (0, 5, 5)]

    def test_one_that_failed_and_what_was_skipped_for_it(self):
        play = Play(node("a"), node("b", "a"), on_failure="continue")
        play.step(began("a"), at=1)
        play.step(fails("a"), at=2)
        assert times(play, "a") == (1, 2, 1)
        assert times(play, "b") == NEVER

    def test_a_timeout_ends_with_the_attempt(self):
        play = Play(node("a", timeout=5))
        play.step(began("a"), at=1)
        play.step(at=6)
        assert times(play, "a") == (0, None, None)
        play.step(stopped("a"), at=7)
        assert times(play, "a") == (1, 7, 6)

    def test_one_that_was_cancelled_running(self):
        play = Play(node("a"), node("b", "a"))
        play.step(began("a"), at=1)
        play.step(CANCEL, at=2)
        assert times(play, "a") == (0, None, None)
        play.step(stopped("a"), at=3)
        assert (play.status("a"), times(play, "a")) == ("cancelled", (1, 3, 2))
        assert times(play, "b") == NEVER

    def test_one_that_was_cancelled_waiting_for_its_next_attempt(self):
        play = Play(node("a", attempts=2, delay=10))
        play.step(began("a"), at=1)
        play.step(fails("a"), at=2)
        play.step(CANCEL, at=5)
        assert (play.status("a"), times(play, "a")) == ("cancelled", (1, 5, 4))

    def test_one_that_its_condition_left_out(self):
        play = Play(node("a", when=True), node("b", default("a")))
        play.step(says("a", "when", False), at=1)
        assert (play.status("a"), times(play, "a")) == ("skipped", NEVER)

    def test_one_whose_condition_failed_never_began(self):
        play = Play(node("a", when=True))
        play.step(says("a", "when", None), at=1)
        assert (play.status("a"), times(play, "a")) == ("failed", NEVER)

    def test_one_that_was_overridden(self):
        play = Play(node("a"), node("b", "a"), override={"a": 1})
        play.step(began("b"))
        play.step(ok("b"), at=2)
        assert (of(play, "a").source, times(play, "a")) == ("override", NEVER)
        assert times(play, "b") == (0, 2, 2)

    def test_one_that_was_given_back_begins_when_it_is_handed_out_again(self):
        play = Play(node("a"), node("b"), max_concurrency=1)
        play.step(returned("a"), at=1)
        assert (play.status("a"), times(play, "a")) == ("running", (1, None, None))
        play.step(began("a"))
        play.step(ok("a"), at=4)
        assert (times(play, "a"), of(play, "a").attempts) == ((1, 4, 3), 1)

    def test_one_that_was_given_back_and_skipped_has_neither_begun_nor_ended(self):
        play = Play(node("a"), node("b"), node("m"))
        play.step(CANCEL, at=2)
        play.step(returned("a"), at=3)
        assert (play.status("a"), of(play, "a").attempts) == ("skipped", 0)
        assert times(play, "a") == NEVER

    def test_one_that_was_skipped_after_a_failed_attempt_has_begun(self):
        play = Play(node("a", attempts=2), node("b"))
        play.step(began("a"), at=1)
        play.step(fails("a"), at=2)
        play.step(CANCEL, at=3)
        play.step(returned("a"), at=4)
        assert (play.status("a"), of(play, "a").attempts) == ("skipped", 1)
        assert times(play, "a") == (1, None, None)

    def test_items_of_which_some_were_given_back_and_skipped(self):
        play = Play(node("s"), node("m", each("s")))
        play.step(ok("s", [1, 2, 3]), at=1)
        play.step(began("m[2]"))
        play.step(began("m[0]"), at=2)
        play.step(ok("m[0]"), at=4)
        play.step(CANCEL)
        play.step(returned("m[1]"), stopped("m[2]"), at=6)
        assert [times(play, f"m[{i}]") for i in range(3)] == [(2, 4, 2), NEVER, (1, 6, 5)]
        assert times(play, "m") == (1, 6, 7)

    def test_a_gate(self):
        play = Play(node("g", kind="gate"), node("a", "g"))
        assert times(play, "g") == NEVER
        play.step(answers("g", 1), at=5)
        assert times(play, "g") == (0, 5, 5)

    def test_a_map_from_its_first_item_to_its_last(self):
        play = Play(node("s"), node("m", each("s"), attempts=2), node("g", gather("m")))
        assert times(play, "m") == NEVER
        play.step(ok("s", [1, 2]), at=1)
        assert times(play, "m") == (1, None, 0)
        play.step(began("m[0]"), at=2)
        play.step(began("m[1]"), at=3)
        play.step(fails("m[0]"), at=4)
        play.step(ok("m[0]"), at=6)
        assert times(play, "m") == (1, None, 4)
        play.step(ok("m[1]"), at=9)
        assert [times(play, path) for path in ("m[0]", "m[1]", "m")] == [(2, 6, 4), (3, 9, 6), (2, 9, 10)]

    def test_a_map_that_never_opened_and_one_of_nothing(self):
        play = Play(node("s"), node("m", each("s")), node("t"), node("n", each("t")), on_failure="continue")
        play.step(fails("s"), ok("t", []), at=1)
        assert (play.status("m"), times(play, "m")) == ("skipped", NEVER)
        assert (play.status("n"), times(play, "n")) == ("succeeded", NEVER)

    def test_a_stream_from_its_start_to_its_end(self):
        play = Play(node("s", stream=True), node("m", each("s"), runner="right"))
        play.step(began("s"), at=1)
        play.step(yields("s", "a"), at=2)
        assert times(play, "s") == (0, None, None)
        play.step(began("m[0]"))
        play.step(ok("m[0]"), at=3)
        play.step(ok("s"), at=6)
        assert times(play, "s") == (1, 6, 5)
        assert times(play, "m") == (2, 3, 1)

    def test_a_run_from_its_first_event(self):
        play = Play(node("a"))
        assert (result(play).status, result(play).began, result(play).duration) == (RunStatus.RUNNING, 0, 0)
        play.step(ok("a"), at=4)
        assert (result(play).status, result(play).began, result(play).duration) == (RunStatus.SUCCEEDED, 0, 4)

    def test_a_replay_knows_the_same_times(self):
        play = Play(node("a", attempts=2), node("s"), node("m", each("s")), on_failure="continue")
        play.step(began("a"), at=1)
        play.step(fails("a"), ok("s", [1, 2]), at=2)
        play.step(ok("m[1]"), fails("m[0]"), at=3)
        play.step(ok("a"), at=4)
        machine = play.fresh()
        for event in play.events:
            machine.apply(event)
        again = result_of(machine.state, "run", now=play.now)
        assert [repr(one) for one in again.nodes.values()] == [
            repr(one) for one in result(play).nodes.values()
        ]
        assert [one[:9] + one[10:] for one in again.nodes.values()] == [
            one[:9] + one[10:] for one in result(play).nodes.values()
        ]


class Statuses(bytearray):
    """The statuses of a run, with somebody who looks on: whenever a node has ended, at that very moment."""

    seen: dict[int, NodeResult]
    state: Any

    def __setitem__(self, at: Any, status: Any) -> None:
        super().__setitem__(at, status)
        if isinstance(at, slice) or status not in (SUCCEEDED, FAILED, SKIPPED, CANCELLED):
            return
        if not self.state.plan.flags[self.state.site[at]] & GROUP:
            assert at not in self.seen, "a node ends once"
            self.seen[at] = node_result(self.state, at)
            list(result_of(self.state, "run", now=0.0).tolerated)


def watched(*nodes: Any, **how: Any) -> tuple[Play, dict[int, NodeResult]]:
    play = Play(*nodes, checked=False, **how)
    state = play.machine.state
    statuses = Statuses(state.status)
    statuses.seen, statuses.state = {}, state
    state.status = statuses
    return play, statuses.seen


class TestLookingOn:
    """Another thread may read a run at any moment. A status is set last, so what belongs to it is there."""

    def same(self, play: Play, seen: dict[int, NodeResult]) -> None:
        state = play.machine.state
        nodes = [i for i in range(len(state.status)) if not state.plan.flags[state.site[i]] & GROUP]
        assert sorted(seen) == nodes
        assert {i: seen[i] for i in nodes} == {i: node_result(state, i) for i in nodes}

    @pytest.mark.parametrize("beside", [0, 9])
    def test_plain_nodes(self, beside):
        play, seen = watched(node("a"), node("b", "a"), *[node(f"n{i}") for i in range(beside)])
        play.step(ok("a", 1), *[ok(f"n{i}", i) for i in range(beside)], at=2)
        play.step(ok("b", 2), at=3)
        self.same(play, seen)

    def test_all_kinds_of_ends(self):
        play, seen = watched(
            node("a", attempts=2), node("b", outcome("x")), node("x"), node("y", "x"), node("w", when=True),
            node("g", kind="gate"), node("c"), on_failure="continue",
        )  # fmt: skip
        play.step(fails("a"), fails("x"), says("w", "when", False), at=1)
        play.step(ok("a", 1), ok("b", 2), answers("g", 3), at=2)
        play.step(CANCEL, at=3)
        play.step(stopped("c"), at=4)
        self.same(play, seen)
        assert {one.status.value for one in seen.values()} == {"succeeded", "failed", "skipped", "cancelled"}

    def test_items_and_their_source(self):
        play, seen = watched(node("s"), node("m", each("s"), attempts=2), node("n", optional("m")))
        play.step(ok("s", ["x", "y"]), at=1)
        play.step(fails("m[0]"), ok("m[1]", 1), at=2)
        play.step(fails("m[0]"), ok("n[1]", 1), at=3)
        play.step(ok("n[0]", 0), at=4)
        self.same(play, seen)

    def test_a_stream_has_its_elements(self):
        play, seen = watched(node("s", stream=True, keep=True), node("m", each("s"), runner="right"))
        play.step(yields("s", "a"), at=1)
        play.step(ok("m[0]", 0), at=2)
        play.step(ok("s"), at=3)
        assert seen[play.number("s")].value == ["a"]
        self.same(play, seen)

    def test_a_value_that_was_given_is_told_from_one_that_was_made(self, monkeypatch):
        from penstock.core.machine import state as of_state

        made: list[Any] = []

        def with_a_looker_on(self: Any, *given: Any) -> None:
            begin(self, *given)
            self.status = Statuses(self.status)
            self.status.seen, self.status.state = {}, self
            made.append(self)

        begin = of_state.State.__init__
        monkeypatch.setattr(of_state.State, "__init__", with_a_looker_on)
        play = Play(node("a"), node("b", "a"), override={"a": 1}, checked=False)
        monkeypatch.undo()
        assert made[0].status.seen[play.number("a")].source == "override"

    def test_what_it_wrote_is_there(self):
        """For every way that a success takes through the machine."""
        play = Play(
            node("a"), node("s"), node("m", each("s")), *[node(f"n{i}") for i in range(9)], checked=False
        )
        state, found = play.machine.state, list[bool]()

        class Looks(bytearray):
            def __setitem__(self, at: Any, status: Any) -> None:
                super().__setitem__(at, status)
                if status == SUCCEEDED and not state.plan.flags[state.site[at]] & GROUP:
                    found.append(str(state.path(at)) in state.shared)

        state.status = Looks(state.status)
        play.step(ok("a", writes={"a": 1}), ok("s", [1], writes={"s": 1}))
        play.step(ok("m[0]", writes={"m[0]": 1}), *[ok(f"n{i}", writes={f"n{i}": 1}) for i in range(9)])
        assert found == [True] * 12
