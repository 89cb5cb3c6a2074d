"""What of a journal still counts: what is left out by name, and what a run that goes on does again."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.core.errors import RunNotFound, StoreDamaged
from penstock.core.machine.state import State
from penstock.core.model import NodePath
from penstock.core.owners import here
from penstock.core.resume import below, story_of, undone, without
from penstock.core.storage import Page, RunEntry
from penstock.stores.memory import MemoryStore
from tests.core.play import (
    CANCEL,
    Play,
    after,
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


def paths(found: Any) -> list[str]:
    return sorted(map(str, found))


def again(play: Play, **how: Any) -> tuple[list[str], list[str]]:
    """What of a play is dropped, and what begins again."""
    found = undone(play.machine.state, **{"over": True, **how})
    return paths(found.drop), paths(found.restart)


class TestWithout:
    ENTRIES = (
        ["start", "a", 1, 0.0], ["ok", "a", 1, 1, 0.0, 1.0], ["open", "m", 2, None],
        ["decide", ["m", 0], "when", True],
        ["start", ["m", 0], 1, 1.0], ["fail", ["m", 0], 1, {}, 1.0, 2.0], ["ok", ["m", 1], 1, 3, 1.0, 2.0],
        ["skip", "z", "stopped", "m"], ["skip", "y", "upstream", ["m", 0]],
        ["rest", "m", ["m"], 1, 9, "stopped", None],
        ["cancel", "", 3.0], ["deadline", 3.0], ["end", "failed", 3.0, 2],
    )  # fmt: skip

    def left(self, *how: Any, over: bool = False) -> list[str]:
        return [
            f"{one[0]} {one[1]}" for one in without([list(entry) for entry in self.ENTRIES], *how, over=over)
        ]

    def test_nothing_is_left_out_where_nothing_is_asked_for(self):
        assert list(without(self.ENTRIES, (), (), over=False)) == list(self.ENTRIES)

    def test_of_a_run_that_had_ended_its_end_counts_no_more(self):
        left = self.left((), (), over=True)
        assert not {"end failed", "cancel ", "deadline 3.0", "rest m", "skip z"} & set(left)
        assert "skip y" in left

    def test_what_is_dropped_and_what_lies_inside(self):
        assert not [one for one in self.left(["m"], ()) if one.split(" ", 1)[1].startswith(("m", "['m'"))]

    def test_one_item(self):
        left = self.left([["m", 0]], ())
        assert "ok ['m', 1]" in left
        assert "fail ['m', 0]" not in left
        assert "decide ['m', 0]" not in left
        assert "open m" in left

    def test_what_begins_again_keeps_its_answers(self):
        left = self.left((), [["m", 0]])
        assert "decide ['m', 0]" in left
        assert "fail ['m', 0]" not in left
        assert "start ['m', 0]" not in left

    def test_a_skip_goes_with_its_cause(self):
        assert "skip y" not in self.left([["m", 0]], ())


class TestUndone:
    def test_what_failed_begins_again_and_what_follows_is_dropped(self):
        play = Play(node("a"), node("b", "a"), node("c", "b"), node("x"), on_failure="continue")
        play.step(ok("a"), ok("x"))
        play.step(fails("b"))
        assert again(play) == (["c"], ["b"])

    def test_successes_on_a_missing_value_too(self):
        play = Play(
            node("a"),
            node("b", optional("a")),
            node("c", outcome("b")),
            node("d", "a"),
            on_failure="continue",
        )
        play.step(fails("a"))
        play.step(ok("b"))
        play.step(ok("c"))
        assert again(play) == (["b", "c", "d"], ["a"])

    def test_what_was_let_pass_stays(self):
        play = Play(node("a", optional=True), node("b", optional("a")), node("c", "a"), on_failure="continue")
        play.step(fails("a"))
        play.step(ok("b"))
        assert play.finished == "succeeded"
        assert again(play) == ([], [])

    def test_rerun_asks_for_it(self):
        play = Play(node("a", optional=True), node("b", optional("a")), on_failure="continue")
        play.step(fails("a"))
        play.step(ok("b"))
        assert again(play, rerun=["a"]) == (["a", "b"], [])

    def test_good_items_stay(self):
        play = Play(
            node("s"), node("i", each("s")), node("j", "i"), node("g", gather("j")), on_failure="continue"
        )
        play.step(ok("s", [1, 2]))
        play.step(ok("i[0]"), fails("i[1]"))
        play.step(ok("j[0]"))
        assert again(play) == (["g", "j[1]"], ["i[1]"])

    def test_cancelled_ones_begin_again(self):
        play = Play(node("a"), node("b", "a"), node("c"))
        play.step(ok("c"), CANCEL)
        play.step(stopped("a"))
        assert again(play) == (["b"], ["a"])

    def test_what_never_began_takes_nothing_with_it_but_what_cleaned_up(self):
        play = Play(node("a"), node("x"), node("b", "a"), node("clean", outcome("b"), trigger="always"))
        play.step(fails("x"))
        play.step(stopped("a"))
        play.step(ok("clean"))
        drop, restart = again(play)
        assert "clean" in drop
        assert restart == ["a", "x"]

    def test_even_where_nothing_above_it_goes_back(self):
        play = Play(
            node("x"), node("x2", "x"), node("x3", "x2"), node("b"),
            node("clean", outcome("b"), trigger="always"), max_concurrency=1,
        )  # fmt: skip
        play.step(fails("x"))
        assert "b skipped, stopped: x" in play.told
        play.step(ok("clean"))
        assert again(play) == (["clean", "x2", "x3"], ["x"])

    def test_a_skip_that_only_the_stop_has_brought_about(self):
        """It takes the failure that is named, and would have had its turn."""
        play = Play(node("a"), node("b", after("a"), outcome("a"), trigger="all_failed", when=True))
        play.step(fails("a"), CANCEL)
        assert play.told[-2] == "b skipped, upstream: a"
        assert again(play) == ([], ["b"])

    def test_a_stream_that_broke_keeps_its_items_and_drops_what_gathers_them(self):
        play = Play(
            node("s", stream=True), node("i", each("s")), node("j", "i"), node("g", gather("j", "keep")),
            node("u", "s"), on_failure="continue",
        )  # fmt: skip
        play.step(yields("s", 1))
        play.step(ok("i[0]"))
        play.step(ok("j[0]"))
        play.step(fails("s"))
        play.step(ok("g"))
        assert again(play) == (["g", "u"], ["s"])

    def test_one_whose_map_goes_back_begins_anew(self):
        play = Play(node("x"), node("s", stream=True), node("i", each("s"), "x"), on_failure="continue")
        play.step(yields("s", 1))
        play.step(fails("x"), fails("s"))
        drop, _ = again(play)
        assert "s" in drop
        assert "i" in drop

    def test_after_a_crash_nothing_goes_back(self):
        play = Play(node("a"), node("b"), on_failure="continue")
        play.step(fails("a"))
        assert again(play, over=False) == ([], [])

    def test_a_value_that_is_gone_is_made_again_where_it_is_needed(self):
        play = Play(node("a"), node("b", "a"), node("c", "a", "b"))
        play.step(ok("a"))
        play.step(ok("b"))
        gone = [NodePath("a"), NodePath("b")]
        assert again(play, over=False, gone=gone) == ([], ["a", "b"])
        play.step(ok("c"))
        assert again(play, over=False, gone=gone) == ([], [])

    def test_inside_a_map_with_all_that_follows(self):
        play = Play(node("s"), node("i", each("s")), node("j", "i"), node("g", gather("j")))
        play.step(ok("s", [1, 2]))
        play.step(ok("i[0]"), ok("i[1]"))
        play.step(ok("j[0]"))
        drop, restart = again(play, over=False, gone=[NodePath("i", (0,)), NodePath("i", (1,))])
        assert restart == []
        assert {"i[0]", "i[1]", "j[0]", "j[1]", "g"} == set(drop)

    def test_conditions_that_were_answered_stand(self):
        play = Play(node("a", when=True), on_failure="continue")
        play.step(says("a", "when", True))
        play.step(fails("a"))
        assert again(play) == ([], ["a"]), "and an answer of what begins again counts; see `without`"


def test_a_retry_waits_no_longer_than_its_policy_could_make_it():
    """The clock of another boot may be far behind."""
    from tests.core.test_plays_recover import cut

    play = Play(node("a", attempts=2, delay=5.0))
    play.step(fails("a"))
    machine, _ = cut(play, -1000.0)
    assert machine.next_alarm() == -940.0


def test_below_is_all_that_follows():
    play = Play(node("a"), node("b", after("a")), node("c", "b"), node("x"))
    assert paths(below(play.plan.graph, ["b"])) == ["b", "c"]


def test_what_has_ended_is_not_woken_by_what_is_made_again():
    """Not by one resumption, and not by the replay of it at the next one."""
    from penstock.core.events import NodeStarted, NodeSucceeded, RunResumed

    play = Play(node("a"), node("b", "a"), node("c", "b"), node("d", "a", "c"))
    play.step(ok("a"))
    play.step(ok("b"))
    for _ in range(2):
        machine = play.fresh()
        for event in play.events:
            if event != NodeSucceeded(NodePath("a"), 1, None, None, "run", 0.0, 0.0) and not (
                isinstance(event, NodeStarted) and event.path.node == "a"
            ):
                machine.apply(event)
        machine.apply(RunResumed(1.0, 0.0, (), (NodePath("a"),)))
        machine.apply(NodeStarted(NodePath("a"), 1, 1.0))
        machine.apply(NodeSucceeded(NodePath("a"), 1, 7, None, "run", 1.0, 2.0))
        state: State = machine.state
        assert state.status[play.number("b")] == 5, "it stays succeeded"


class TestStories:
    def rows(self, *rows: Any, status: str = "running") -> Any:
        store = MemoryStore()
        entry = RunEntry("r", "f", "running", 1.0, 1.0, {})
        claim = store.create(entry, here(), 30.0, Page(1, [json.dumps(row) for row in rows]))
        if status != "running":
            store.append(claim, Page(len(rows) + 1, (), status=status))
        found = store.find("r")
        assert found is not None
        return story_of(store, found)

    RUN = ("run", {"shape": [["a", []]], "code": {"d": ["a"]}})

    def test_a_run_that_has_just_begun(self):
        story = self.rows([self.RUN])
        assert (story.rows, story.ended, story.entries) == (1, "", [])

    def test_a_resumption_leaves_out_what_it_says(self):
        fail = ["fail", "a", 1, {"kind": "error", "type": "E", "text": ""}, 0.0, 1.0]
        more = ["again", 2.0, 1.0, [], ["a"], {"a": "e"}, False]
        story = self.rows([self.RUN], [["start", "a", 1, 0.0], fail, ["end", "failed", 1.0, 2]], [more])
        assert [one[0] for one in story.entries] == ["again"]
        assert story.ended == ""
        assert story.code == {"a": "e"}
        assert story.needs == {"a": ()}

    def test_needs_that_have_changed(self):
        more = ["again", 2.0, 1.0, [], [], {"a": 'e["x","y"]', "b": "f[]"}, False]
        story = self.rows([self.RUN], [more])
        assert story.code == {"a": "e", "b": "f"}
        assert story.needs == {"a": ("x", "y"), "b": ()}

    def test_its_end_must_be_there(self):
        with pytest.raises(StoreDamaged, match="its end is missing"):
            self.rows([self.RUN], status="failed")

    def test_and_at_its_place(self):
        with pytest.raises(StoreDamaged, match="it ends in row 2, not in row 5"):
            self.rows([self.RUN], [["end", "failed", 1.0, 5]])

    def test_it_begins_with_its_beginning(self):
        with pytest.raises(StoreDamaged, match="does not begin"):
            self.rows([["start", "a", 1, 0.0]])

    def test_a_run_without_a_journal(self):
        store = MemoryStore()
        entry = RunEntry("r", "f", "running", 1.0, 1.0, {})
        store.create(entry, here(), 30.0, Page(1, ()))
        with pytest.raises(RunNotFound):
            story_of(store, entry)
