"""Plays of maps whose items have names: in paths, in a replay, and never in the order of things."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.events import NodeExpanded, NodePath, NodeYielded
from penstock.core.views import result_of
from tests.core.play import (
    CANCEL,
    Play,
    each,
    fails,
    fold,
    folds,
    gather,
    keyed,
    node,
    ok,
    stopped,
    yields,
)


def named(*keys: int | str, **how) -> Play:
    play = Play(node("s"), node("m", each("s", keyed=True)), node("n", "m"), node("g", gather("n")), **how)
    play.step(keyed("s", "m", *keys), ok("s", list(range(len(keys)))))
    return play


class TestPaths:
    def test_an_item_is_called_by_its_key(self):
        play = named("b", "a")
        assert play.commands == ["start m[b]#1", "start m[a]#1"]
        assert play.step(ok("m[a]")) == ["start n[a]#1"]

    def test_the_map_tells_its_keys_when_it_opens(self):
        play = named("b", "a")
        (opened,) = [event for event in play.events if isinstance(event, NodeExpanded)]
        assert opened == NodeExpanded(NodePath("m"), 2, ("b", "a"))

    def test_they_are_found_by_key_and_by_nothing_else(self):
        state = named("b", 7).machine.state
        assert state.path(state.find(NodePath("m", ("b",)))) == NodePath("m", ("b",))
        assert state.element[state.find(NodePath("m", (7,))) - state.total] == 1
        wrongs: list[Any] = ["c", 0, 1, "7", None]
        for wrong in wrongs:
            with pytest.raises(KeyError):
                state.find(NodePath("m", (wrong,)))

    def test_a_number_as_a_key_is_no_position(self):
        play = named(1, 0)
        play.step(ok("m[0]", "second"))
        items = result_of(play.machine.state, "r", now=0.0).nodes["m"].items or ()
        assert [item.path for item in items] == ["m[1]", "m[0]"]
        assert play.status("m[1]") == "running"

    def test_an_index_is_found_as_a_number_only(self):
        play = Play(node("s"), node("m", each("s")))
        play.step(ok("s", [1, 2]))
        wrongs: list[Any] = ["0", 2, None]
        for wrong in wrongs:
            with pytest.raises(KeyError):
                play.machine.state.find(NodePath("m", (wrong,)))

    def test_an_empty_map(self):
        play = named()
        assert play.commands == ["start g#1"]
        assert play.told == ["s succeeded #1", "m opened with 0", "g started #1"]

    def test_in_skips_and_failures(self):
        play = named("b", "a", on_failure="continue")
        play.step(fails("m[a]"))
        assert play.told == ["m[a] failed #1 by error", "n[a] skipped, upstream: m[a]"]
        play.step(ok("m[b]"))
        play.step(ok("n[b]"))
        assert play.told[-2:] == ["g skipped, upstream: m[a]", "run failed"]

    def test_two_maps_over_one_source_each_with_its_own(self):
        play = Play(
            node("s"),
            node("m", each("s", keyed=True)),
            node("k", each("s", keyed=True)),
            node("i", each("s")),
        )
        play.step(keyed("s", "m", "a", "b"), keyed("s", "k", "x", "y"), ok("s", [1, 2]))
        assert sorted(play.commands) == [
            "start i[0]#1", "start i[1]#1", "start k[x]#1", "start k[y]#1", "start m[a]#1", "start m[b]#1",
        ]  # fmt: skip


class TestOrder:
    def test_it_is_that_of_the_input_and_not_of_the_keys(self):
        play = named("c", "a", "b", max_concurrency=1)
        order = []
        while play.finished is None:
            path = play.commands[0].split()[1].split("#")[0]
            order.append(path)
            play.step(ok(path))
        assert order == ["m[c]", "n[c]", "m[a]", "n[a]", "m[b]", "n[b]", "g"]

    def test_nested(self):
        play = Play(
            node("s"), node("m", each("s", keyed=True)), node("k", each("m", keyed=True)),
            node("e", gather("k")), max_concurrency=1,
        )  # fmt: skip
        play.step(keyed("s", "m", "z", "y"), ok("s", [1, 2]))
        order = []
        while play.finished is None:
            path = play.commands[0].split()[1].split("#")[0]
            order.append(path)
            if path.startswith("m"):
                play.step(keyed(path, "k", "q", 3), ok(path, [1, 2]))
            else:
                play.step(ok(path))
        assert order == ["m[z]", "k[z,q]", "k[z,3]", "e[z]", "m[y]", "k[y,q]", "k[y,3]", "e[y]"]

    def test_keys_outside_and_numbers_inside(self):
        play = Play(node("s"), node("m", each("s", keyed=True)), node("k", each("m")))
        play.step(keyed("s", "m", "z"), ok("s", [1]))
        assert play.step(ok("m[z]", [1, 2])) == ["start k[z,0]#1", "start k[z,1]#1"]


class TestStreams:
    def poured(self, **how) -> Play:
        return Play(node("s", stream=True), node("m", each("s", keyed=True)), node("g", gather("m")), **how)

    def test_each_element_brings_its_key(self):
        play = self.poured()
        assert play.step(yields("s", 1, keys=("b",))) == ["start m[b]#1"]
        assert play.step(yields("s", 2, keys=("a",))) == ["start m[a]#1"]
        assert [event.keys for event in play.events if isinstance(event, NodeYielded)] == [("b",), ("a",)]
        play.step(ok("s"), ok("m[a]"))
        assert play.step(ok("m[b]")) == ["start g#1"]

    def test_two_maps_of_which_one_has_none(self):
        play = Play(node("s", stream=True), node("m", each("s")), node("k", each("s", keyed=True)))
        assert play.step(yields("s", 1, keys=(None, "a"))) == ["start m[0]#1", "start k[a]#1"]

    def test_a_stream_that_starts_over_does_not_name_its_elements_again(self):
        play = Play(node("s", stream=True, attempts=2), node("m", each("s", keyed=True)))
        play.step(yields("s", 1, keys=("b",)))
        play.step(fails("s"))
        assert play.step(yields("s", 1, keys=(None,))) == []
        assert play.step(yields("s", 2, keys=("a",))) == ["start m[a]#1"]


class TestOther:
    def test_a_fold_goes_by_the_order_of_the_input(self):
        play = Play(node("s"), node("m", each("s", keyed=True)), fold("f", "m"))
        play.step(keyed("s", "m", "b", "a"), ok("s", [1, 2]))
        assert play.step(ok("m[a]")) == []
        assert play.step(ok("m[b]")) == ["start f#1"]
        play.step(folds("f", 1))
        assert play.commands == ["start f#2"]

    def test_keys_of_an_attempt_that_failed_after_all_are_replaced(self):
        play = Play(node("s", attempts=2, timeout=5), node("m", each("s", keyed=True)))
        play.step(keyed("s", "m", "old"), fails("s"))
        play.step(keyed("s", "m", "new", "er"), ok("s", [1, 2]))
        assert play.commands == ["start m[new]#1", "start m[er]#1"]

    def test_a_map_that_opens_after_the_stop(self):
        play = Play(node("s"), node("f"), node("m", each("s", keyed=True)))
        play.step(fails("f"))
        play.step(keyed("s", "m", "a"), ok("s", [1]))
        assert play.told == [
            "s succeeded #1", "m opened with 1", "m[a] skipped, stopped: f", "run failed",
        ]  # fmt: skip

    def test_a_fresh_machine_finds_every_item_again_at_every_cut(self):
        play = Play(
            node("s"),
            node("m", each("s", keyed=True)),
            node("k", each("m", keyed=True)),
            node("e", gather("k")),
        )
        play.step(keyed("s", "m", "z", 5), ok("s", [1, 2]))
        play.step(keyed("m[z]", "k", "q"), ok("m[z]", [1]))
        play.step(keyed("m[5]", "k", "q", 1), ok("m[5]", [1, 2]))
        play.step(ok("k[5,1]"), ok("k[z,q]"))
        play.step(CANCEL)
        play.step(stopped("k[5,q]"), stopped("e[z]"))
        for upto in play.turns:
            machine = play.fresh()
            for event in play.events[:upto]:
                machine.apply(event)
            for i in range(len(machine.state.status)):
                assert machine.state.find(machine.state.path(i)) == i
            machine.recover(9.0)
            machine.step([], 9.0)
        assert play.finished == "cancelled"
