"""Runs by hand: nothing happens but what the test says, in the order in which it says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import (
    Context,
    Flow,
    Limit,
    RetryPolicy,
    RunOptions,
    RunStatus,
    each,
    gather,
    param,
    use,
)
from penstock.core.events import Logged
from penstock.core.graph import Graph
from penstock.core.model import Node
from penstock.testing import FakeClock, ManualRunner, NotWaiting
from penstock.testing import manual as begin


def orders() -> Flow:
    flow = Flow("orders")

    @flow.step
    def load(path: str) -> list[int]:
        return [1, 2, 3]

    @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=10.0, jitter="none"), timeout=30)
    async def parse(order: int = each(load)) -> int:
        return order * 2

    @flow.step
    def total(orders: list[int] = gather(parse, failures="drop")) -> int:
        return sum(orders)

    return flow


class TestAnswers:
    def test_attempts_wait_in_the_order_of_their_start(self, manual):
        run = manual(orders(), path="x")
        assert run.started == ["load"]
        run.finish("load", [1, 2, 3])
        assert run.started == ["parse[0]", "parse[1]", "parse[2]"]
        assert [run.status(step) for step in ("load", "parse[1]")] == ["succeeded", "running"]
        assert run.status("total") == "pending"

    def test_the_result_is_the_flows_own(self, manual):
        flow = orders()
        run = manual(flow, path="x")
        run.finish(flow.steps["load"], [])
        run.finish("total", 7)
        assert run.done
        assert run.result.status is RunStatus.SUCCEEDED
        assert run.result[flow.steps["total"]] == 7

    def test_arguments_are_those_of_the_call(self, manual):
        run = manual(orders(), path="x")
        assert run.arguments("load") == {"path": "x"}
        run.finish("load", [5, 6])
        assert run.arguments("parse[1]") == {"order": 6}

    def test_a_failure_is_retried_when_it_is_due(self, manual):
        run = manual(orders(), path="x")
        run.finish("load", [1])
        run.fail("parse[0]", ConnectionError("down"))
        assert (run.started, run.status("parse[0]")) == ([], "retrying")
        run.advance(9.5)
        assert run.started == []
        run.advance(0.5)
        assert run.started == ["parse[0]"]
        run.fail("parse[0]")
        run.call("total")
        item = run.result.nodes["parse"].items[0]
        assert [one.text for one in (*item.history, item.failure)] == ["down", "the test says so"]
        assert run.result["total"] == 0

    def test_time_out_passes_as_much_time_as_it_takes(self, manual):
        run = manual(orders(), path="x")
        run.finish("load", [1])
        run.time_out("parse[0]")
        assert (run.clock(), run.status("parse[0]")) == (30.0, "retrying")
        run.advance(10)
        run.time_out("parse[0]")
        assert run.clock() == 70.0
        assert run.started == ["total"]

    def test_a_deadline_is_a_timeout_too(self, manual):
        flow = Flow("flow")
        flow.add(lambda: None, name="a")
        run = manual(flow, options=RunOptions(deadline=20))
        run.time_out("a")
        assert (run.result.status, run.result.duration) == (RunStatus.FAILED, 20.0)

    def test_call_makes_the_attempt_here(self, manual):
        me = threading.get_ident()
        flow = Flow("flow")
        flow.add(lambda: threading.get_ident() == me, name="plain")

        @flow.step
        async def awaited():
            await asyncio.sleep(0)
            return 5

        flow.add(lambda: 1 / 0, name="broken", optional=True)
        run = manual(flow)
        for step in list(run.started):
            run.call(step)
        assert (run.result["plain"], run.result["awaited"]) == (True, 5)
        assert run.result.nodes["broken"].failure.type == "ZeroDivisionError"

    def test_what_a_step_would_log_can_be_logged(self, manual):
        flow = Flow("flow")
        events: list[Any] = []

        @flow.step
        def talks(ctx: Context) -> None: ...

        flow.add(lambda: None, name="silent")
        run = manual(flow, options=RunOptions(observers=[events.append]))
        run.context("talks").log("half way")
        assert run.context("silent") is None
        assert [event.message for event in events if isinstance(event, Logged)] == ["half way"]

    def test_a_stream_gives_what_the_test_says(self, manual):
        flow = Flow("flow")

        @flow.step
        def lines() -> Iterator[int]:
            yield 0

        @flow.step
        def parse(line: int = each(lines)) -> int:
            return line

        run = manual(flow, runner=ManualRunner(2))
        run.yield_(lines, 10, 11)
        assert run.started == ["lines", "parse[0]"], "the stream has the other slot"
        assert run.arguments("parse[0]") == {"line": 10}
        with pytest.raises(NotWaiting, match=r"the stream 'lines' is held back after \d+ elements"):
            run.yield_(lines, *range(100))
        with pytest.raises(NotWaiting, match=r"'parse\[0\]' is no stream"):
            run.yield_("parse[0]", 1)
        with pytest.raises(TypeError, match="is a stream; give its elements by yield_"):
            run.call(lines)

    def test_room_is_what_the_runner_has(self, manual):
        flow = Flow("flow")
        flow.add(lambda n: n, name="a", n=each(param("ns", list[int])))
        run = manual(flow, runner=ManualRunner(capacity=2), ns=[1, 2, 3])
        assert run.started == ["a[0]", "a[1]"]
        run.finish("a[1]")
        assert run.started == ["a[0]", "a[2]"]

    def test_limits_are_kept(self, manual):
        flow, one = Flow("flow"), Limit("one", capacity=1)
        for name in "ab":
            flow.add(lambda: None, name=name, limits=[one])
        run = manual(flow)
        assert run.started == ["a"]
        run.finish("a")
        assert run.started == ["b"]

    def test_conditions_are_asked(self, manual):
        flow = Flow("flow")
        a = flow.add(lambda: 1, name="a")

        async def enough(x):
            return x > 1

        flow.add(lambda x: x, name="b", x=use(a), when=lambda x: x > 1)
        flow.add(lambda x: x, name="c", x=use(a), when=enough)
        run = manual(flow)
        run.finish("a", 1)
        assert {id: node.status.value for id, node in run.result.nodes.items()} == {
            "a": "succeeded",
            "b": "skipped",
            "c": "skipped",
        }

    def test_a_graph_runs_too(self):
        with begin(Graph("graph", [Node("a", lambda: 1)])) as run:
            run.finish("a", 5)
            assert run.result.outputs == {"a": 5}

    def test_it_works_inside_a_running_loop(self, manual):
        flow = Flow("flow")

        @flow.step
        async def a():
            return 5

        async def main():
            run = manual(flow)
            run.call("a")
            return run.result["a"]

        assert asyncio.run(main()) == 5

    def test_resources_are_opened_for_a_call_and_closed_with_the_run(self, manual):
        flow, story = Flow("flow"), list[str]()

        @flow.resource
        def database():
            story.append("open")
            yield 5
            story.append("close")

        @flow.resource
        async def session():
            loop = asyncio.get_running_loop()
            yield loop
            story.append("the same loop" if loop is asyncio.get_running_loop() else "another loop")

        @flow.step
        def a(database):
            return database

        @flow.step
        async def b(session):
            return session is asyncio.get_running_loop()

        with begin(flow) as run:
            run.call("a")
            run.call("b")
            assert (run.result["a"], run.result["b"]) == (5, True)
        assert sorted(story) == ["close", "open", "the same loop"]

    def test_its_time_ends_with_it(self, manual):
        run = manual(orders(), path="x")
        run.advance(5)
        run.cancel()
        run.advance(100)
        assert run.result.duration == 5.0

    def test_two_runs_at_a_time(self, manual):
        clock = FakeClock()
        one, two = manual(orders(), path="1", clock=clock), manual(orders(), path="2", clock=clock)
        one.finish("load", [1])
        assert (one.started, two.started) == (["parse[0]"], ["load"])


class TestStops:
    def test_cancel_ends_what_waits(self, manual):
        run = manual(orders(), path="x")
        run.cancel("enough")
        assert run.done
        assert run.result.status is RunStatus.CANCELLED
        assert run.result.nodes["load"].status.value == "cancelled"

    def test_a_failure_stops_the_others(self, manual):
        flow = Flow("flow")
        for name in "ab":
            flow.add(lambda: None, name=name)
        run = manual(flow)
        run.fail("a", ValueError)
        assert run.result.status is RunStatus.FAILED
        assert run.result.nodes["b"].status.value == "cancelled"

    def test_a_stubborn_attempt_is_given_up_after_the_grace(self, manual):
        run = manual(orders(), path="x", runner=ManualRunner(stubborn=["load"]))
        run.cancel()
        assert (run.started, run.stopping, run.done) == (["load"], ["load"], False)
        run.advance(9.9)
        assert not run.done
        run.advance(0.1)
        assert run.done
        assert [one.path for one in run.result.abandoned] == ["load"]

    def test_a_stubborn_attempt_that_succeeds_counts(self, manual):
        run = manual(orders(), path="x", runner=ManualRunner(stubborn="load"))
        run.cancel()
        run.finish("load", [1])
        assert run.result.nodes["load"].status.value == "succeeded"
        assert run.result.status is RunStatus.CANCELLED

    def test_hurry_gives_up_at_once(self, manual):
        run = manual(orders(), path="x", runner=ManualRunner(stubborn=["load"]))
        run.cancel()
        run.hurry()
        assert (run.done, run.clock()) == (True, 0.0)

    def test_a_test_that_fails_leaves_nothing_behind(self, penstock_no_leaks):
        with pytest.raises(KeyError, match="mine"), begin(orders(), path="x"):
            raise KeyError("mine")


class TestMistakes:
    def test_an_attempt_that_does_not_wait(self, manual):
        run = manual(orders(), path="x")
        with pytest.raises(NotWaiting) as caught:
            run.finish("total")
        assert str(caught.value) == (
            "no attempt of 'total' waits for an answer, it is pending; these wait: load"
        )

    def test_a_step_that_is_not_there(self, manual):
        run = manual(orders(), path="x")
        with pytest.raises(NotWaiting, match="no step or item 'laod'; did you mean 'load'"):
            run.finish("laod")
        with pytest.raises(NotWaiting, match=r"no step or item 'parse\[7\]'"):
            run.finish("parse[7]")
        with pytest.raises(TypeError, match="a step, its id, or the path of an item"):
            run.finish(7)

    def test_a_result_before_the_end(self, manual):
        run = manual(orders(), path="x")
        with pytest.raises(NotWaiting, match="the run has not ended: these wait: load"):
            run.result  # noqa: B018

    def test_an_answer_after_the_end(self, manual):
        run = manual(orders(), path="x")
        run.cancel()
        with pytest.raises(NotWaiting, match="it is cancelled; it has ended as cancelled"):
            run.finish("load")

    def test_no_timeout(self, manual):
        run = manual(orders(), path="x")
        with pytest.raises(NotWaiting, match="'load' has no timeout"):
            run.time_out("load")

    @pytest.mark.parametrize(
        ("error", "shown"),
        [("text", "'text'; say RuntimeError('text')"), (3, "3"), (int, "<class 'int'>"), (None, "None")],
    )
    def test_no_error(self, manual, error, shown):
        run = manual(orders(), path="x")
        with pytest.raises(TypeError) as refused:
            run.fail("load", error)
        assert str(refused.value) == f"fail: error is an exception or a class of them, not {shown}"
        assert run.started == ["load"]

    def test_a_closed_run_says_so(self):
        run = begin(orders(), path="x")
        run.close()
        closed = "the run was closed before its end, and goes on no more"
        assert repr(run) == f"<manual run of 'orders': {closed}>"
        for answer in (run.finish, run.fail, run.call):
            with pytest.raises(NotWaiting) as refused:
                answer("load")
            assert str(refused.value) == f"no attempt of 'load' waits for an answer: {closed}"
        for act in (run.cancel, run.hurry, lambda: run.advance(1), lambda: run.result):
            with pytest.raises(NotWaiting, match="was closed before its end"):
                act()

    def test_time_never_runs_backwards(self, manual):
        run = manual(orders(), path="x")
        for seconds in (-1, "3", float("nan"), float("inf")):
            with pytest.raises(ValueError, match="a clock is advanced by 0 s or more, not "):
                run.advance(seconds)
        run.advance(0)
        assert run.clock() == 0

    def test_no_gate(self, manual):
        run = manual(orders(), path="x")
        with pytest.raises(NotWaiting, match="'load' does not wait for an answer, it is running"):
            run.answer("load", True)

    def test_inputs_are_checked_as_ever(self):
        with pytest.raises(ValueError, match="needs the input 'path'"):
            begin(orders())

    def test_what_is_no_flow(self):
        class Other:
            def run(self, **how):
                return None

        with pytest.raises(TypeError, match="without the wiring"):
            begin(Other())

    def test_no_room(self):
        with pytest.raises(ValueError, match="capacity is an int of at least 1"):
            ManualRunner(0)


def test_a_run_shows_what_waits(manual):
    run = manual(orders(), path="x")
    assert repr(run) == "<manual run of 'orders': these wait: load>"
    run.finish("load", list(range(12)))
    assert repr(run).endswith("parse[9] and 2 more>")


def test_a_gate_is_answered():
    graph = Graph("graph", [Node("gate", lambda: None, kind="gate")])
    with begin(graph) as run:
        assert (run.started, run.status("gate")) == ([], "waiting")
        run.answer("gate", "yes")
        assert run.result.outputs == {"gate": "yes"}
