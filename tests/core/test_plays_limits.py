"""Plays of named limits: permits, rates, who waits and who goes first."""

from __future__ import annotations

import pytest

from penstock.core.model import Limit, LimitUse, Node, Rate
from tests.core.play import (
    CANCEL,
    Play,
    after,
    began,
    each,
    fails,
    gone,
    node,
    ok,
    returned,
    stopped,
)


def running(play: Play) -> list[str]:
    return [id for id, status in play.statuses().items() if status == "running"]


def two_chains(length: int, limit: Limit) -> list[Node]:
    """Steps that take one each, two of them at a time."""
    return [
        node(f"{name}{at}", *([f"{name}{at - 1}"] if at else []), limits=[limit])
        for at in range(length)
        for name in "ab"
    ]


class TestCapacity:
    def test_as_many_as_there_are_permits(self):
        api = Limit("api", 2)
        play = Play(node("a", limits=[api]), node("b", limits=[api]), node("c", limits=[api]), node("free"))
        assert play.commands == ["start a#1", "start b#1", "start free#1"]
        assert play.step(ok("b")) == ["start c#1"]

    @pytest.mark.parametrize("end", [ok("a"), fails("a"), stopped("a")])
    def test_r11_every_end_gives_the_permit_back(self, end):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api], optional=True), node("b", limits=[api]))
        assert play.commands == ["start a#1"]
        assert play.step(end) == ["start b#1"]

    def test_what_is_given_back_gives_its_permit_back(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api]), node("b", limits=[api]))
        assert play.step(returned("a")) == ["start a#2"]

    def test_back_off_holds_no_permit(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api], attempts=2, delay=5), node("b", limits=[api]))
        assert play.step(fails("a")) == ["start b#1"]
        assert play.step(at=5) == []
        assert play.step(ok("b")) == ["start a#2"]

    def test_a_step_that_waits_for_a_limit_holds_no_slot(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api]), node("b", limits=[api]), node("c"), max_concurrency=2)
        assert play.commands == ["start a#1", "start c#1"]

    def test_r08_nobody_overtakes_one_that_takes_much(self):
        gpu = Limit("gpu", 2)
        play = Play(node("a", limits=[gpu]), node("big", limits=[gpu.take(2)]), node("c", limits=[gpu]))
        assert play.commands == ["start a#1"], "one permit is free, but `big` waits before `c`"
        assert play.step(ok("a")) == ["start big#1"]
        assert play.step(ok("big")) == ["start c#1"]

    @pytest.mark.parametrize("more", [0, 1])
    def test_r08_those_who_rank_higher_and_take_less_go_first_but_not_for_ever(self, more):
        memory, gpu = Limit("memory", 4), Limit("gpu", 1)
        takes: list[Limit | LimitUse] = [memory.take(4), *[gpu] * more]
        play = Play(*two_chains(20, memory), node("big", limits=takes), node("other", limits=[gpu]))
        assert sorted(play.commands) == ["start a0#1", "start b0#1", "start other#1"], "of four two are free"
        for turn in range(4):
            (started,) = play.step(ok("ab"[turn % 2] + str(turn // 2)))
            assert started[6] in "ab", "a longer way is before them"
        assert play.step(ok("a2")) == [], "what becomes free is kept for it"
        if more:
            assert play.step(ok("b2")) == [], "so long as it waits for something else"
            assert play.step(ok("other")) == ["start big#1"]
        else:
            assert play.step(ok("b2")) == ["start big#1"]
        assert play.step(ok("big")) == ["start a3#1", "start b3#1"]
        while play.finished is None:
            play.step(*[ok(id) for id in running(play)])
        assert play.finished == "succeeded"

    def test_r08_it_gets_the_next_slot_and_no_more_than_there_are(self):
        memory = Limit("memory", 4)
        plain = [node("p0"), node("p1"), node("p2", "b2")]
        play = Play(*two_chains(3, memory), node("big", limits=[memory.take(4)]), *plain, max_concurrency=3)
        for turn in range(4):
            play.step(ok("ab"[turn % 2] + str(turn // 2)))
        assert play.step(ok("a2")) == ["start p1#1"]
        assert play.step(ok("b2")) == ["start big#1"], "and not `p2`, for which there is no slot"
        assert running(play) == ["big", "p0", "p1"]

    @pytest.mark.parametrize("end", ["big", "drain"])
    def test_r08_what_is_kept_for_one_that_does_not_come_is_for_the_others(self, end):
        memory = Limit("memory", 4)
        play = Play(
            *two_chains(20, memory),
            node("bad", optional=end == "big"),
            node("z", limits=[memory], trigger="always"),
            node("big", limits=[memory.take(4)]),
            on_failure="drain",
        )
        for turn in range(4):
            play.step(ok("ab"[turn % 2] + str(turn // 2)))
        assert play.step(ok("a2")) == []
        play.step(fails("bad"))
        play.step(ok("b2"))
        while play.finished is None:
            play.step(*[ok(id) for id in running(play)])
        assert play.status("z") == "succeeded"
        assert play.status("big") == ("succeeded" if end == "big" else "skipped")
        assert play.machine.state.gauges["memory"].free == 4

    def test_who_waits_goes_in_order_of_rank_and_not_of_arrival(self):
        api = Limit("api", 1)
        play = Play(node("x"), node("a", "x", limits=[api]), node("a2", "a"), node("h", limits=[api]),
                    node("late", limits=[api]))  # fmt: skip
        assert sorted(play.commands) == ["start h#1", "start x#1"]
        play.step(ok("x"))
        assert play.step(ok("h")) == ["start a#1"], "`a` has more behind it than `late`"
        assert sorted(play.step(ok("a"))) == ["start a2#1", "start late#1"]

    def test_r12_two_limits_are_taken_all_or_none(self):
        a, b = Limit("a", 1), Limit("b", 1)
        play = Play(node("holds b", limits=[b]), node("both", limits=[b, a]), node("wants a", limits=[a]))
        assert play.commands == ["start holds b#1", "start wants a#1"], "`both` takes nothing while it waits"
        assert play.step(ok("wants a")) == []
        assert play.step(ok("holds b")) == ["start both#1"]

    def test_a_permit_does_not_lie_idle_because_of_one_that_waits_for_another_limit(self):
        a, b = Limit("a", 1), Limit("b", 1)
        play = Play(node("holds a", limits=[a]), node("holds b", limits=[b]), node("both", limits=[a, b]),
                    node("wants a", limits=[a]))  # fmt: skip
        assert play.commands == ["start holds a#1", "start holds b#1"]
        assert play.step(ok("holds a")) == ["start wants a#1"]

    def test_items_of_a_map_share_a_limit_in_their_order(self):
        api = Limit("api", 1)
        play = Play(node("s"), node("m", each("s"), limits=[api]), node("n", "m", limits=[api]))
        play.step(ok("s", [1, 2]))
        seen = []
        while play.finished is None:
            assert len(play.commands) == 1
            seen.append(play.commands[0].split()[1])
            play.step(ok(seen[-1].split("#")[0]))
        assert seen == ["m[0]#1", "n[0]#1", "m[1]#1", "n[1]#1"]

    def test_who_waits_is_skipped_by_a_stop_and_lets_the_others_go(self):
        api = Limit("api", 1)
        play = Play(
            node("a", limits=[api]), node("b", limits=[api]), node("z", limits=[api], trigger="always")
        )
        assert play.commands == ["start a#1"]
        assert play.step(CANCEL) == ["stop a#1"]
        assert play.step(stopped("a")) == ["start z#1"]
        play.step(ok("z"))
        assert play.finished == "cancelled"
        assert play.machine.state.gauges["api"].free == 1

    def test_s17_a_thousand_cancels_leave_the_permits_as_they_were(self):
        api = Limit("api", 1)
        for cancelled in range(100):
            play = Play(*[node(f"n{i}", limits=[api]) for i in range(10)], checked=cancelled == 0)
            for done in range(cancelled % 10):
                play.step(ok(f"n{done}"))
            play.step(CANCEL)
            play.step(*[stopped(id) for id in running(play)])
            assert play.finished == "cancelled"
            assert play.machine.state.gauges["api"].free == 1


class TestAbandoned:
    def test_an_abandoned_attempt_holds_its_permit_until_it_is_gone(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api], timeout=5, optional=True), node("b", limits=[api]))
        play.step(began("a"))
        play.step(at=5)
        assert play.step(stopped("a", left="thread")) == []
        assert play.status("b") == "ready"
        assert play.step(gone("a", 1)) == ["start b#1"]
        assert play.told == ["a released #1", "b started #1"]

    def test_it_holds_it_against_its_own_retry(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api], timeout=5, attempts=2))
        play.step(began("a"))
        play.step(at=5)
        play.step(stopped("a", left="thread"))
        assert play.told == ["a retrying #1 at 5"]
        assert play.step(at=6) == []
        assert play.step(gone("a", 1)) == ["start a#2"]

    def test_two_abandoned_attempts_of_one_step_are_released_one_by_one(self):
        api = Limit("api", 2)
        play = Play(node("a", limits=[api], timeout=5, attempts=2, optional=True))
        for due in (5, 10):
            play.step(began("a"))
            play.step(at=due)
            play.step(stopped("a", left="thread"))
            play.step()
        assert play.machine.state.gauges["api"].free == 0

    def test_what_is_cancelled_and_abandoned_holds_its_permit(self):
        api = Limit("api", 1)
        play = Play(node("a", limits=[api]), node("z", after("a"), limits=[api], trigger="always"), grace=1)
        play.step(CANCEL)
        assert play.step(at=1) == ["abandon a#1"]
        assert play.step(stopped("a", left="thread")) == []
        assert play.step(gone("a", 1)) == ["start z#1"]


class TestRate:
    def test_the_window_slides_with_each_start(self):
        api = Limit("api", rate=Rate(2, 10.0))
        play = Play(*[node(id, limits=[api]) for id in "abcd"], capacities={"left": 4})
        assert play.commands == ["start a#1", "start b#1"]
        assert play.alarm == 10
        assert play.step(ok("a"), ok("b"), at=9.99) == []
        assert play.step(at=10) == ["start c#1", "start d#1"]

    def test_starts_and_not_ends_are_counted(self):
        api = Limit("api", rate=Rate(1, 10.0))
        play = Play(node("a", limits=[api]), node("b", limits=[api]))
        assert play.step(at=10) == ["start b#1"], "although `a` still runs"

    def test_a_window_that_begins_between_two_starts_is_exact(self):
        api = Limit("api", rate=Rate(2, 10.0))
        late = [node(id, "wait", limits=[api]) for id in "bcd"]
        play = Play(node("a", limits=[api]), node("wait"), *late)
        assert play.step(ok("wait"), at=9) == ["start b#1"]
        assert play.step(at=10) == ["start c#1"]
        assert play.step(at=18.99) == []
        assert play.step(at=19) == ["start d#1"]

    @pytest.mark.parametrize("per", [0.1, 0.3, 1 / 3, 0.7, 1e-3, 123.456])
    @pytest.mark.parametrize("begin", [0.0, 0.1, 1e9 + 0.1, 1_700_000_000.123456])
    def test_the_alarm_rings_at_the_very_time_at_which_the_start_is_allowed(self, per, begin):
        """Computed by another expression the two differ in the last bit: then the alarm rings for ever."""
        api = Limit("api", rate=Rate(1, per))
        play = Play(node("wait"), node("a", "wait", limits=[api]), node("b", "wait", limits=[api]))
        assert play.step(ok("wait"), at=begin) == ["start a#1"]
        assert play.alarm is not None
        assert play.step(at=play.alarm) == ["start b#1"]

    def test_weight_counts_as_starts(self):
        api = Limit("api", rate=Rate(3, 10.0))
        play = Play(node("a", limits=[api.take(2)]), node("b", limits=[api.take(2)]), node("c", limits=[api]))
        assert play.commands == ["start a#1"], "nobody overtakes `b`"
        assert play.step(at=10) == ["start b#1", "start c#1"]

    def test_tokens_are_not_returned(self):
        api = Limit("api", rate=Rate(1, 10.0))
        play = Play(node("a", limits=[api], attempts=2))
        assert play.step(fails("a"), at=1) == []
        assert play.alarm == 10
        assert play.step(at=10) == ["start a#2"]
        assert play.step(returned("a")) == []
        assert play.step(at=20) == ["start a#3"]

    def test_a_rate_and_a_capacity_bind_together(self):
        api = Limit("api", 1, Rate(2, 10.0))
        play = Play(*[node(id, limits=[api]) for id in "abc"])
        assert play.commands == ["start a#1"]
        assert play.step(ok("a"), at=1) == ["start b#1"]
        assert play.step(ok("b"), at=2) == []
        assert play.step(at=10) == ["start c#1"]

    def test_a_stop_silences_the_alarm(self):
        api = Limit("api", rate=Rate(1, 10.0))
        play = Play(node("a", limits=[api]), node("b", limits=[api]))
        play.step(CANCEL)
        assert play.step(stopped("a")) == []
        assert play.finished == "cancelled"
        assert play.told[-1] == "run cancelled"

    def test_while_stopping_no_alarm_rings_for_what_will_never_start(self):
        api = Limit("api", rate=Rate(1, 1.0))
        play = Play(node("a", limits=[api]), node("b", limits=[api]), grace=100)
        play.step(CANCEL)
        assert play.alarm == 100

    def test_many_that_wait_for_a_rate_do_not_all_wake_at_each_start(self):
        """Each alarm looks at few of those that wait, or n of them cost n²."""
        api = Limit("api", rate=Rate(1, 1.0))
        many = 300
        play = Play(*[node(f"n{i:03}", limits=[api]) for i in range(many)], checked=False)
        looked = 0
        gauge = play.machine.state.gauges["api"]
        fits = type(gauge).fits

        def counting(self, weight, now):
            nonlocal looked
            looked += 1
            return fits(self, weight, now)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(gauge), "fits", counting)
            while play.finished is None:
                ids = [command.split()[1].split("#")[0] for command in play.commands]
                play.step(*[ok(id) for id in ids], at=play.now if ids else play.alarm)
        assert looked < 10 * many
