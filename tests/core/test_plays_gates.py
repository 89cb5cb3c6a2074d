"""Gates, told to the machine line by line: they wait for an answer or for a time, and call nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from penstock.core import commands as c
from penstock.core.model import Need, Node, Timeout
from tests.core.play import CANCEL, Play, after, answers, each, fails, gather, node, ok, says, text_of
from tests.core.test_plays_recover import cut


def gate(id: str, *needs: str | Need, **more: Any) -> Node:
    return node(id, *needs, kind="gate", **more)


class TestAnswers:
    def test_a_gate_waits_and_takes_no_slot(self):
        play = Play(gate("g"), node("a"), max_concurrency=1)
        assert play.told == ["g waiting #1", "a started #1"]
        assert play.status("g") == "waiting"
        assert play.alarm is None

    def test_its_answer_is_its_value(self):
        play = Play(gate("g"), node("a", "g"))
        assert play.step(answers("g", "yes")) == ["start a#1"]
        assert play.value("g") == "yes"

    def test_only_the_first_one_counts(self):
        play = Play(gate("g"), node("a", "g"))
        play.step(answers("g", "yes"), answers("g", "no"))
        assert play.value("g") == "yes"
        play.step(answers("g", "no"))
        assert play.value("g") == "yes"

    def test_one_to_a_gate_that_is_not_open_is_nothing_to_the_machine(self):
        """Whoever drives it keeps it until then."""
        play = Play(node("a"), gate("g", "a"))
        play.step(answers("g", "early"))
        assert play.status("g") == "pending"
        play.step(ok("a"))
        assert play.status("g") == "waiting"

    def test_it_opens_when_its_needs_have_ended(self):
        play = Play(node("a"), node("b"), gate("g", "a", after("b")))
        play.step(ok("a"))
        assert play.status("g") == "pending"
        play.step(ok("b"))
        assert play.status("g") == "waiting"

    def test_it_is_skipped_below_a_failure(self):
        play = Play(node("a"), gate("g", "a"), node("b", "g"), on_failure="continue")
        play.step(fails("a"))
        assert play.told[1:3] == ["g skipped, upstream: a", "b skipped, upstream: a"]

    def test_under_a_condition(self):
        play = Play(gate("g", when=True), gate("h", when=True), node("a", "g"), node("b", "h"))
        assert play.commands == ["ask when of g", "ask when of h"]
        play.step(says("g", "when", True), says("h", "when", False))
        assert play.status("g") == "waiting"
        assert play.status("b") == "skipped"

    def test_one_for_each_item(self):
        play = Play(node("s"), gate("g", each("s")), node("i", "g"), node("t", gather("i")))
        play.step(ok("s", [1, 2, 3]))
        assert play.told[-3:] == [f"g[{i}] waiting #1" for i in range(3)]
        assert play.step(answers("g[1]", "yes")) == ["start i[1]#1"]
        play.step(answers("g[0]", "no"), answers("g[2]", "no"))
        play.step(*[ok(f"i[{i}]") for i in range(3)])
        assert play.status("t") == "running"

    def test_on_the_elements_of_a_stream(self):
        from tests.core.play import yields

        play = Play(node("s", stream=True), gate("g", each("s")), node("t", gather("g")))
        play.step(yields("s", "a"))
        assert play.status("g[0]") == "waiting"
        play.step(yields("s", "b"))
        assert play.status("g[1]") == "waiting", "who waits holds no stream back"


class TestTimes:
    def test_without_an_answer_it_fails(self):
        play = Play(gate("g", timeout=10), node("a", "g"))
        assert play.alarm == 10
        play.step(at=10)
        assert play.told == ["g failed #1 by timeout", "a skipped, upstream: g", "run failed"]
        failure = play.machine.state.failures[play.number("g")][-1]
        assert failure.text == "no answer after 10 s"
        assert not failure.retryable

    def test_an_answer_in_time_ends_the_wait(self):
        play = Play(gate("g", timeout=10), node("a", "g"))
        play.step(answers("g", "yes"), at=9)
        assert play.alarm is None
        play.step(at=11)
        assert play.status("g") == "succeeded"

    def test_an_answer_in_the_very_moment_counts(self):
        play = Play(gate("g", timeout=10))
        play.step(answers("g", "yes"), at=10)
        assert play.value("g") == "yes"

    def test_a_default_is_the_answer(self):
        play = Play(gate("g", timeout=10, bound={"default": False}), node("a", "g"))
        play.step(at=10)
        assert play.told == ["g succeeded #1", "a started #1"]
        assert play.value("g") is False

    def test_the_time_begins_when_it_opens(self):
        play = Play(node("a"), gate("g", "a", timeout=10))
        play.step(ok("a"), at=5)
        assert play.alarm == 15

    def test_it_lets_pass_what_it_may(self):
        play = Play(gate("g", timeout=10, optional=True), node("a"))
        play.step(ok("a"))
        play.step(at=10)
        assert play.finished == "succeeded"


class TestSleep:
    def test_for_a_time(self):
        play = Play(
            node("a"), gate("s", after("a"), bound={"until": timedelta(seconds=30)}), node("b", after("s"))
        )
        play.step(ok("a"), at=5)
        assert play.alarm == 35
        play.step(at=35)
        assert play.told == ["s succeeded #1", "b started #1"]
        assert play.value("s") is None

    def test_until_a_moment(self):
        play = Play(gate("s", bound={"until": datetime.fromtimestamp(50)}))
        assert play.alarm == 50

    def test_until_one_that_is_past(self):
        play = Play(node("a"), gate("s", after("a"), bound={"until": datetime.fromtimestamp(1)}))
        play.step(ok("a"), at=5)
        play.step(at=5)
        assert play.status("s") == "succeeded"

    def test_until_what_a_step_says(self):
        play = Play(node("a"), gate("s", Need("a", "use")._replace(param="until")))
        assert play.plan.nodes[play.plan.index["s"]].needs[0].param == "n0", "plays name them by place"
        made = node("s", "a", kind="gate")
        made = made._replace(needs=(made.needs[0]._replace(param="until"),))
        play = Play(node("a"), made)
        play.step(ok("a", timedelta(seconds=3)), at=4)
        assert play.alarm == 7

    def test_what_a_step_says_must_be_a_time(self):
        made = node("s", "a", kind="gate")
        made = made._replace(needs=(made.needs[0]._replace(param="until"),))
        play = Play(node("a"), made)
        play.step(ok("a", "tomorrow"))
        assert play.told[1:] == ["s failed #0 by error", "run failed"]


class TestStops:
    def test_a_cancel_ends_the_wait(self):
        play = Play(gate("g"), node("a", "g"))
        play.step(CANCEL)
        assert play.told == ["cancel asked", "g cancelled #1", "a skipped, stopped: None", "run cancelled"]

    @pytest.mark.parametrize("how", ["stop", "drain"])
    def test_a_failure_elsewhere_ends_the_wait(self, how):
        play = Play(gate("g"), node("x"), on_failure=how)
        play.step(fails("x"))
        assert play.told == ["x failed #1 by error", "g cancelled #1", "run failed"]

    def test_with_continue_it_waits_on(self):
        play = Play(gate("g"), node("x"), on_failure="continue")
        play.step(fails("x"))
        assert play.status("g") == "waiting"
        play.step(answers("g", 1))
        assert play.finished == "failed"

    def test_an_answer_that_comes_too_late(self):
        play = Play(gate("g"), node("x"), on_failure="stop")
        play.step(fails("x"))
        play.step(answers("g", 1))
        assert play.status("g") == "cancelled"

    def test_the_deadline_of_the_run_ends_the_wait(self):
        play = Play(gate("g"), deadline=5)
        play.step(at=5)
        assert play.finished == "failed"
        assert play.status("g") in ("cancelled", "failed")


class TestResume:
    def test_the_timeout_of_a_gate_is_judged_when_the_run_goes_on(self):
        play = Play(gate("g", timeout=10), node("a", "g"))
        assert cut(play, 20)[1] == ["g failed #1 by timeout", "a skipped, upstream: g", "run failed"]

    def test_before_its_time_it_waits_on(self):
        play = Play(gate("g", timeout=10), node("a", "g"))
        machine, told = cut(play, 5)
        assert told == []
        assert machine.next_alarm() == 10

    def test_an_answer_that_has_come_before_is_judged_first(self):
        play = Play(gate("g", timeout=10), node("a", "g"))
        machine = play.fresh()
        for event in play.events:
            machine.apply(event)
        machine.recover(20)
        machine.step([(c.ANSWERED, play.number("g"), "yes")], 20)
        told = [text_of(machine.event(fact)) for fact in machine.drain()]
        assert told == ["g succeeded #1", "a started #1"]

    def test_a_sleep_is_over_when_it_was_to_be(self):
        play = Play(gate("s", bound={"until": timedelta(seconds=30)}), node("b", after("s")))
        machine, told = cut(play, 10)
        assert told == []
        assert machine.next_alarm() == 30
        assert cut(play, 31)[1] == ["s succeeded #1", "b started #1", "start b#1"]

    def test_nobody_is_asked_again(self):
        play = Play(gate("g", when=True), node("a", "g"))
        play.step(says("g", "when", True))
        assert cut(play, 5)[1] == []
        play.step(answers("g", "yes"))
        assert cut(play, 5)[1] == ["a given back #1", "a started #2", "start a#2"]

    def test_those_of_items(self):
        play = Play(node("s"), gate("g", each("s")), node("t", gather("g")))
        play.step(ok("s", [1, 2]))
        play.step(answers("g[0]", "yes"))
        machine, told = cut(play, 5)
        assert told == []
        machine.step([(c.ANSWERED, play.number("g[1]"), "no")], 6)
        assert machine.state.value[play.number("g[1]")] == "no"


def test_the_timeout_of_a_gate_is_no_timeout_of_an_attempt():
    play = Play(gate("g", timeout=Timeout(attempt=3)))
    assert play.alarm == 3
    assert play.commands == [], "nothing is stopped, for nothing runs"
