"""Plays of streams: elements that come one by one, and producers that wait for their consumers."""

from __future__ import annotations

import pytest

from penstock.core.binding import Binder
from penstock.core.model import NOTHING, Failure, Limit, Ok, Quorum, Rate
from penstock.core.views import result_of
from tests.core.play import CANCEL, Play, each, fails, gather, node, ok, optional, returned, stopped, yields


def stream(id: str = "s", *needs: str, **how):
    return node(id, *needs, stream=True, **how)


class TestFlowing:
    def test_an_item_starts_as_soon_as_its_element_comes(self):
        play = Play(stream(), node("m", each("s")))
        assert play.told == ["s started #1", "m opened"]
        assert play.step(yields("s", "x")) == ["start m[0]#1"]
        assert play.step(yields("s", "y"), yields("s", "z")) == ["start m[1]#1", "start m[2]#1"]

    def test_the_map_closes_with_its_stream_and_its_last_item(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m")))
        play.step(yields("s", 1))
        play.step(ok("m[0]"))
        assert play.status("m") == "pending"
        assert play.step(ok("s")) == ["start g#1"]
        assert play.value("s") == [1]

    def test_the_items_may_outlive_the_stream(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m")))
        play.step(yields("s", 1), ok("s"))
        assert play.status("g") == "pending"
        assert play.step(ok("m[0]")) == ["start g#1"]

    def test_use_waits_for_the_end_and_gets_the_list(self):
        play = Play(stream(), node("u", "s"))
        assert play.step(yields("s", 1), yields("s", 2)) == []
        assert play.step(ok("s")) == ["start u#1"]
        assert play.value("s") == [1, 2]

    def test_an_empty_stream(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m")))
        assert play.step(ok("s")) == ["start g#1"]
        assert play.value("s") == []

    def test_chained_streams_grow_together(self):
        play = Play(stream(), node("m", each("s")), node("n", "m"), node("g", gather("n")))
        play.step(yields("s", 1))
        assert play.step(ok("m[0]")) == ["start n[0]#1"]
        play.step(yields("s", 2), ok("n[0]"), ok("s"))
        assert play.step(ok("m[1]")) == ["start n[1]#1"]
        assert play.step(ok("n[1]")) == ["start g#1"]

    def test_two_maps_over_one_stream(self):
        play = Play(stream(), node("m", each("s")), node("n", each("s")), node("g", gather("m"), gather("n")))
        assert play.step(yields("s", 1)) == ["start m[0]#1", "start n[0]#1"]
        play.step(ok("m[0]"), ok("s"))
        assert play.step(ok("n[0]")) == ["start g#1"]

    def test_a_stream_inside_a_map(self):
        play = Play(
            node("a"), stream("s", "m"), node("m", each("a")), node("k", each("s")), node("g", gather("k"))
        )
        play.step(ok("a", [1, 2]))
        play.step(ok("m[0]"))
        assert play.commands == ["start s[0]#1"]
        assert play.step(yields("s[0]", 5)) == ["start k[0,0]#1"]
        play.step(ok("s[0]"))
        assert play.step(ok("k[0,0]")) == ["start g[0]#1"]

    def test_elements_of_an_old_attempt_count_for_nothing(self):
        play = Play(stream(attempts=2), node("m", each("s")))
        play.step(fails("s"))
        assert play.commands == ["start s#2"]
        assert play.step(yields("s", 1, token=1)) == []
        assert play.told == []


class TestFailing:
    def test_what_came_before_the_failure_stays_and_the_gather_has_one_failure_more(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m")), on_failure="continue")
        play.step(yields("s", 1))
        play.step(fails("s"))
        assert play.told == ["s failed #1 by error"]
        play.step(ok("m[0]"))
        assert play.told == ["m[0] succeeded #1", "g skipped, upstream: s", "run failed"]
        assert play.status("m[0]") == "succeeded"

    @pytest.mark.parametrize("policy", ["drop", "keep"])
    def test_a_gather_may_let_it_pass(self, policy):
        play = Play(stream(optional=True), node("m", each("s")), node("g", gather("m", policy)))
        play.step(yields("s", 1))
        play.step(ok("m[0]"))
        assert play.step(fails("s")) == ["start g#1"]

    def test_a_retry_drops_what_it_gave_before(self):
        play = Play(stream(attempts=2, delay=1), node("m", each("s")), node("g", gather("m")))
        play.step(yields("s", 1), yields("s", 2))
        play.step(fails("s"))
        assert play.step(at=1) == ["start s#2"]
        assert play.step(yields("s", 1)) == []
        assert play.told == []
        assert play.step(yields("s", 2), yields("s", 3)) == ["start m[2]#1"]
        assert play.told == ["s yielded 2", "m[2] started #1"]
        play.step(ok("s"), ok("m[0]"), ok("m[1]"))
        assert play.step(ok("m[2]")) == ["start g#1"]
        assert play.value("s") == [1, 2, 3]

    def test_items_go_on_while_their_stream_waits_for_its_retry(self):
        play = Play(stream(attempts=2, delay=9), node("m", each("s")), node("n", "m"))
        play.step(yields("s", 1))
        play.step(fails("s"))
        assert play.step(ok("m[0]")) == ["start n[0]#1"]

    def test_a_stream_that_never_began_leaves_its_map_unopened(self):
        play = Play(
            node("a"), stream("s", "a"), node("m", each("s")), node("g", gather("m")), on_failure="continue"
        )
        play.step(fails("a"))
        assert play.told == [
            "a failed #1 by error", "s skipped, upstream: a", "m skipped, upstream: a",
            "g skipped, upstream: a",
            "run failed",
        ]  # fmt: skip

    def test_a_cancel_reaches_the_stream_and_its_items(self):
        play = Play(stream(), node("m", each("s")))
        play.step(yields("s", 1))
        assert play.step(CANCEL) == ["stop s#1", "stop m[0]#1"]
        assert play.step(yields("s", 2)) == []
        play.step(stopped("s"), stopped("m[0]"))
        assert play.finished == "cancelled"
        assert play.status("m[1]") == "skipped"

    def test_behind_a_cancelled_stream_nothing_has_failed(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m")), node("u", "s"))
        play.step(CANCEL)
        play.step(stopped("s"))
        assert play.told == [
            "s cancelled #1", "g skipped, stopped: None", "u skipped, stopped: None", "run cancelled",
        ]  # fmt: skip

    def test_an_overridden_stream_has_the_elements_given(self):
        play = Play(stream(), node("m", each("s")), override={"s": [1, 2]})
        assert play.commands == ["start m[0]#1", "start m[1]#1"]


class TestTolerated:
    """A stream that fails is one item more that failed, of each map that it feeds."""

    def broken(self, *more, **how) -> Play:
        play = Play(stream(), node("m", each("s")), *more, **how)
        play.step(yields("s", 1))
        play.step(ok("m[0]", 10))
        play.step(fails("s"))
        return play

    def tolerated(self, play: Play) -> tuple[str, ...]:
        return result_of(play.machine.state, "run", now=play.now).tolerated

    def test_raise_does_not(self):
        play = self.broken(node("g", gather("m")))
        assert play.told == ["s failed #1 by error", "g skipped, upstream: s", "run failed"]
        assert self.tolerated(play) == ()

    def test_nor_does_a_map_that_nobody_gathers(self):
        assert self.broken().finished == "failed"

    @pytest.mark.parametrize("policy", ["drop", Quorum(1), Quorum(0.5)], ids=str)
    def test_drop_and_a_quorum_do(self, policy):
        play = self.broken(node("g", gather("m", policy)))
        assert play.commands == ["start g#1"]
        assert Binder(play.machine.state, {}).arguments(play.number("g")) == {"n0": [10]}
        play.step(ok("g"))
        assert play.finished == "succeeded"
        assert self.tolerated(play) == ("s",)

    def test_keep_shows_it_as_the_last_outcome(self):
        play = self.broken(node("g", gather("m", "keep")))
        (values,) = Binder(play.machine.state, {}).arguments(play.number("g")).values()
        assert values[0] == Ok(10)
        assert isinstance(values[1], Failure)
        play.step(ok("g"))
        assert self.tolerated(play) == ("s",)

    def test_through_a_chain_of_the_map(self):
        play = Play(stream(), node("m", each("s")), node("n", "m"), node("g", gather("n", "drop")))
        play.step(yields("s", 1))
        play.step(fails("s"), ok("m[0]"))
        assert play.step(ok("n[0]")) == ["start g#1"]

    def test_each_map_that_it_feeds_must_let_it_pass(self):
        play = self.broken(node("k", each("s")), node("g", gather("m", "drop")), node("h", gather("k")))
        assert play.machine.state.failed

    def test_and_so_must_whoever_takes_the_whole(self):
        play = self.broken(node("g", gather("m", "drop")), node("u", "s"))
        assert play.machine.state.failed
        play = self.broken(node("g", gather("m", "drop")), node("u", optional("s")))
        assert not play.machine.state.failed

    def test_an_item_of_a_stream_is_let_pass_like_any_other(self):
        play = Play(stream(), node("m", each("s")), node("g", gather("m", "drop")))
        play.step(yields("s", 1), yields("s", 2))
        assert play.step(fails("m[0]")) == []
        play.step(ok("s"))
        assert play.step(ok("m[1]")) == ["start g#1"]

    def test_inside_a_map_it_is_one_of_its_inner_map(self):
        play = Play(
            node("a"), node("m", each("a")), stream("s", "m"), node("k", each("s")),
            node("e", gather("k", "drop")), node("f", gather("e")),
        )  # fmt: skip
        play.step(ok("a", [1, 2]))
        play.step(ok("m[0]"), ok("m[1]"))
        play.step(yields("s[0]", 1))
        assert play.step(fails("s[0]"), ok("k[0,0]")) == ["start e[0]#1"]
        assert play.step(ok("s[1]")) == ["start e[1]#1"]
        assert play.step(ok("e[0]"), ok("e[1]")) == ["start f#1"]
        play.step(ok("f"))
        assert self.tolerated(play) == ("s[0]",)

    def test_a_gather_of_two_levels_sees_an_inner_stream_that_broke(self):
        play = Play(
            node("a"), node("m", each("a")), stream("s", "m"), node("k", each("s")),
            node("e", gather("k", levels=2)), on_failure="continue",
        )  # fmt: skip
        play.step(ok("a", [1]))
        play.step(ok("m[0]"))
        play.step(yields("s[0]", 1))
        play.step(ok("k[0,0]"), fails("s[0]"))
        assert play.told[-2:] == ["e skipped, upstream: s[0]", "run failed"]


class TestShedding:
    """Elements that nobody but the head of their map takes leave memory as its items end."""

    def elements(self, play: Play) -> list:
        fan = play.machine.state.fan_of_group(play.number("m"))
        assert fan is not None
        return list(fan.elements)

    def poured(self, *more, how=None, **options) -> Play:
        s = stream("s", **(how or {}))
        play = Play(s, node("m", each("s"), attempts=2, delay=5), node("g", gather("m")), *more, **options)
        play.step(yields("s", "a"), yields("s", "b"))
        return play

    def test_an_element_goes_when_its_item_has_ended(self):
        play = self.poured(keep_all=False)
        play.step(ok("m[1]"))
        assert self.elements(play) == ["a", NOTHING]

    def test_not_while_its_item_may_be_tried_again(self):
        play = self.poured(keep_all=False)
        play.step(fails("m[0]"))
        assert self.elements(play) == ["a", "b"]
        play.step(at=5)
        play.step(returned("m[0]"))
        assert self.elements(play) == ["a", "b"]
        play.step(ok("m[0]"))
        assert self.elements(play) == [NOTHING, "b"]

    def test_after_the_end_of_the_stream_too(self):
        play = self.poured(keep_all=False)
        play.step(ok("m[0]"), ok("s"))
        play.step(ok("m[1]"))
        assert play.commands == ["start g#1"]
        assert self.elements(play) == []

    @pytest.mark.parametrize(
        ("more", "how", "keep_all"),
        [
            ((node("u", "s"),), {}, False),
            ((node("k", each("s")),), {}, False),
            ((), {"keep": True}, False),
            ((), {}, True),
        ],
        ids=["used", "mapped twice", "kept", "all kept"],
    )
    def test_whoever_wants_them_besides_gets_them(self, more, how, keep_all):
        play = self.poured(*more, how=how, keep_all=keep_all)
        play.step(ok("m[0]"), ok("m[1]"))
        assert self.elements(play) == ["a", "b"]

    def test_a_list_is_never_shed(self):
        play = Play(node("s"), node("m", each("s")), node("g", gather("m")), keep_all=False)
        play.step(ok("s", ["a", "b"]))
        play.step(ok("m[0]"))
        assert self.elements(play) == ["a", "b"]

    def test_a_stream_that_starts_over_finds_its_elements_counted(self):
        play = self.poured(how={"attempts": 2}, keep_all=False)
        play.step(ok("m[0]"), ok("m[1]"))
        play.step(fails("s"))
        assert play.step(yields("s", "a"), yields("s", "b"), yields("s", "c")) == ["start m[2]#1"]
        assert self.elements(play) == [NOTHING, NOTHING, "c"]


class TestBackPressure:
    """A stream may be ahead of its slowest consumer by twice the consumer's slots."""

    def full(self, **how) -> Play:
        play = Play(
            stream(),
            node("m", each("s"), runner="right"),
            node("other"),
            capacities={"left": 1, "right": 1},
            **how,
        )
        assert play.commands == ["start s#1"]
        assert play.step(yields("s", 0)) == ["start m[0]#1"]
        assert play.step(yields("s", 1)) == []
        return play

    def test_it_is_paused_when_it_is_too_far_ahead(self):
        play = self.full()
        play.step(yields("s", 2))
        assert "s paused" in play.told

    def test_a_paused_stream_gives_its_slot_to_another_step(self):
        play = self.full()
        assert play.step(yields("s", 2)) == ["start other#1"]

    def test_it_goes_on_when_its_consumer_has_caught_up_and_a_slot_is_free(self):
        play = self.full()
        play.step(yields("s", 2))
        assert play.commands == ["start other#1"]
        assert play.step(ok("m[0]")) == ["start m[1]#1"], "caught up, but `other` has the slot"
        assert play.step(ok("other")) == ["go on s#1"]
        assert play.told == ["other succeeded #1", "s resumed"]

    def test_paused_it_may_still_end_and_hold_nothing(self):
        play = self.full()
        play.step(yields("s", 2))
        play.step(ok("s"))
        assert play.machine.state.paused == {}
        assert play.machine.state.free == [0, 0]
        play.step(ok("other"), ok("m[0]"))
        play.step(ok("m[1]"))
        play.step(ok("m[2]"))
        assert play.finished == "succeeded"
        assert play.machine.state.free == [1, 1]

    def test_paused_it_may_fail(self):
        play = self.full(on_failure="continue")
        play.step(yields("s", 2))
        play.step(fails("s"))
        play.step(ok("other"), ok("m[0]"))
        assert play.machine.state.free == [1, 0]

    def test_paused_it_can_be_cancelled(self):
        play = self.full()
        play.step(yields("s", 2))
        assert play.step(CANCEL) == ["stop s#1", "stop other#1", "stop m[0]#1"]
        play.step(stopped("s"), stopped("m[0]"), stopped("other"))
        assert play.finished == "cancelled"
        assert play.machine.state.free == [1, 1]

    def test_it_is_paused_at_twice_the_slots_and_goes_on_at_half_of_that(self):
        play = Play(stream(), node("m", each("s"), runner="right"), capacities={"left": 1, "right": 2})
        for at in range(5):
            play.step(yields("s", at))
        assert "s paused" not in play.story(), "two run, three wait"
        play.step(yields("s", 5))
        assert play.told == ["s yielded 5", "s paused"]
        play.step(ok("m[0]"))
        assert play.told == ["m[0] succeeded #1", "m[2] started #1"]
        assert play.step(ok("m[1]")) == ["start m[3]#1"]
        assert play.step() == ["go on s#1"]

    def test_how_far_it_may_go(self):
        play = Play(stream(), node("m", each("s"), runner="right"), capacities={"left": 1, "right": 2})
        s = play.number("s")
        assert play.machine.allowance(s) == 4
        play.step(yields("s", 0), yields("s", 1), yields("s", 2))
        assert play.machine.allowance(s) is None, "6 would be: not worth telling while one is left"
        play.step(yields("s", 3))
        assert play.machine.allowance(s) == 6, "two wait"
        play.step(yields("s", 4), yields("s", 5))
        assert play.machine.allowance(s) is None, "paused"

    def test_max_concurrency_counts_as_its_consumers_slots(self):
        play = Play(stream(), node("m", each("s"), runner="right"), max_concurrency=2)
        assert play.machine.allowance(play.number("s")) == 4

    def test_the_slowest_of_its_consumers_holds_it_back(self):
        play = Play(
            stream(), node("m", each("s")), node("k", each("s"), runner="right"), capacities={"right": 1}
        )
        play.step(yields("s", 0))
        play.step(yields("s", 1))
        assert "s paused" not in play.story()
        play.step(yields("s", 2))
        assert "s paused" in play.told

    def test_a_stopped_run_lets_nobody_go_on(self):
        play = self.full()
        play.step(yields("s", 2))
        play.step(ok("other"), ok("m[0]"))
        play = self.full()
        play.step(yields("s", 2))
        assert play.step(CANCEL, ok("other")) == ["stop s#1", "stop m[0]#1"]
        assert "s resumed" not in play.told

    def test_what_cleans_up_may_go_on_after_the_stop(self):
        play = Play(
            stream("s", trigger="always"), node("m", each("s"), runner="right"), capacities={"right": 1}
        )
        play.step(*[yields("s", at) for at in range(3)])
        assert "s paused" in play.story()
        assert play.step(CANCEL) == ["stop m[0]#1", "go on s#1"]

    def test_a_drained_run_lets_it_go_on_to_its_end(self):
        play = Play(
            stream(), node("m", each("s"), runner="right"), node("f"), capacities={"right": 1},
            on_failure="drain",
        )  # fmt: skip
        play.step(*[yields("s", at) for at in range(3)])
        assert "s paused" in play.story()
        assert play.step(fails("f")) == ["go on s#1"]
        play.step(ok("s"), ok("m[0]"))
        assert play.finished == "failed"

    def test_given_back_while_it_was_paused_it_holds_nothing(self):
        play = self.full()
        play.step(yields("s", 2))
        play.step(returned("s"))
        assert play.machine.state.paused == {}
        assert play.machine.state.free == [0, 0]

    def test_it_gives_back_its_limits_and_a_resume_charges_no_rate(self):
        api = Limit("api", 1, Rate(2, 100.0))
        play = Play(
            stream(limits=[api]), node("m", each("s"), runner="right"), node("other", limits=[api]),
            capacities={"right": 1, "left": 2},
        )  # fmt: skip
        assert play.commands == ["start s#1"]
        play.step(yields("s", 0))
        play.step(yields("s", 1))
        assert play.step(yields("s", 2)) == ["start other#1"]
        assert play.step(ok("m[0]")) == ["start m[1]#1"], "`other` has the permit"
        assert play.step(ok("other")) == ["go on s#1"]
        assert len(play.machine.state.gauges["api"].stamps) == 2

    def test_a_stream_nobody_maps_over_is_never_paused(self):
        play = Play(stream(), node("u", "s"), capacities={"left": 1})
        play.step(*[yields("s", i) for i in range(100)])
        assert "s paused" not in play.told

    def test_a_stream_that_would_close_a_circle_is_never_paused(self):
        """The items wait for `end`, which waits for the end of the stream: held back, neither would end."""
        play = Play(
            stream(), node("end", "s"), node("m", each("s"), "end"), capacities={"left": 1}, max_concurrency=1
        )
        assert play.plan.unbounded == {play.plan.index["s"]}
        play.step(*[yields("s", i) for i in range(50)])
        assert "s paused" not in play.told
        assert play.step(ok("s")) == ["start end#1"]
        assert play.step(ok("end")) == ["start m[0]#1"]

    def test_two_streams_that_would_wait_for_each_other(self):
        play = Play(
            stream("s"),
            stream("t"),
            node("m", each("s"), "t"),
            node("n", each("t"), "s"),
            capacities={"left": 2},
        )
        assert len(play.plan.unbounded) >= 1
        play.step(*[yields("s", i) for i in range(9)], *[yields("t", i) for i in range(9)])
        assert play.told.count("s paused") + play.told.count("t paused") <= 1
        while play.finished is None:
            before = len(play.events)
            running = [
                id
                for id in "st"
                if play.status(id) == "running" and play.number(id) not in play.machine.state.paused
            ]
            items = [
                path for path in [f"{id}[{i}]" for id in "mn" for i in range(9)]
                if path_exists(play, path) and play.status(path) == "running"
            ]  # fmt: skip
            play.step(*[ok(path) for path in [*running, *items]])
            assert len(play.events) > before, "nothing moves"

    def test_a_circle_through_a_gather_is_seen(self):
        """`end` gathers the map of `s`, and the items of the other map of `s` wait for `end`."""
        play = Play(
            stream(), node("k", each("s")), node("end", gather("k")), node("m", each("s"), "end"),
            capacities={"left": 2},
        )  # fmt: skip
        assert play.plan.unbounded == {play.plan.index["s"]}
        play.step(*[yields("s", at) for at in range(20)])
        assert "s paused" not in play.story()

    def test_what_waits_for_another_step_closes_no_circle(self):
        play = Play(stream(), node("o"), node("m", each("s"), "o"), capacities={"left": 2})
        assert play.plan.unbounded == frozenset()
        play.step(*[yields("s", at) for at in range(4)])
        assert "s paused" in play.story()
        assert play.step(ok("o")) == ["start m[0]#1", "start m[1]#1"]


def path_exists(play: Play, path: str) -> bool:
    try:
        play.number(path)
    except KeyError:
        return False
    return True
