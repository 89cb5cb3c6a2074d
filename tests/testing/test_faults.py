"""Planned faults: they strike whom they name, as often as they say, and nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import (
    Failure,
    Flow,
    InputError,
    RetryAfter,
    RetryPolicy,
    RunOptions,
    RunStatus,
    each,
    gather,
    param,
)
from penstock.core.result import RunResult
from penstock.testing import FakeClock, Faults, arun, contract_steps, run, stand_ins

THREE = RetryPolicy(max_attempts=3, initial_delay=10.0, max_delay=10.0, jitter="none")


def failure_of(result: RunResult, step: str) -> Failure:
    failure = result.nodes[step].failure
    assert failure is not None
    return failure


def orders(**options) -> Flow:
    flow = Flow("orders")

    @flow.step(**options)
    def load() -> list[int]:
        return [1, 2, 3]

    @flow.step(**options)
    async def parse(order: int = each(load)) -> int:
        return order * 2

    @flow.step(keep=True, **options)
    def total(orders: list[int] = gather(parse, failures="drop")) -> int:
        return sum(orders)

    return flow


class TestFail:
    def test_as_often_as_it_says_and_then_no_more(self):
        called = []
        flow = Flow("flow")
        flow.add(lambda: called.append(1), name="a", retry=THREE)
        faults = Faults().fail("a", times=2, error=ConnectionError)
        result = run(flow, faults=faults)
        assert (result.status, result.nodes["a"].attempts, called) == (RunStatus.SUCCEEDED, 3, [1])
        assert [one.text for one in result.nodes["a"].history] == ["a planned fault"] * 2
        assert faults.struck() == ["a", "a"]

    def test_always_without_a_number(self):
        result = run(orders(retry=THREE), faults=Faults().fail("load", error=OSError("no such disk")))
        assert failure_of(result, "load").text == "no such disk"
        assert result.nodes["load"].attempts == 3

    def test_one_item(self):
        flow = orders()
        faults = Faults().fail("parse[1]")
        result = run(flow, faults=faults)
        assert result["total"] == 2 + 6
        assert [one.path for one in result.failed()] == ["parse[1]"]

    def test_every_item_for_itself(self):
        result = run(orders(retry=THREE), faults=Faults().fail("parse", times=1))
        assert [one.attempts for one in result.nodes["parse"].items or ()] == [2, 2, 2]

    def test_whether_it_is_retried_is_the_policys_affair(self):
        flow = orders(retry=RetryPolicy(5, retry_on=(ConnectionError,)))
        assert run(flow, faults=Faults().fail("load", error=KeyError)).nodes["load"].attempts == 1
        assert run(flow, faults=Faults().fail("load", error=ConnectionError)).nodes["load"].attempts == 5

    def test_retry_after_is_listened_to(self):
        result = run(orders(retry=THREE), faults=Faults().fail("load", times=1, error=RetryAfter(99.0)))
        assert result.duration == 99.0

    def test_one_after_the_other(self):
        faults = Faults().fail("load", times=1, error=KeyError).fail("load", times=1, error=OSError)
        history = run(orders(retry=THREE), faults=faults).nodes["load"].history
        assert [one.type for one in history] == ["KeyError", "OSError"]

    def test_a_stream_too(self):
        flow = Flow("flow")

        @flow.step(retry=THREE)
        def lines() -> Iterator[int]:
            yield from range(3)

        flow.add(lambda x: x, name="parse", x=each(lines))
        result = run(flow, faults=Faults().fail("lines", times=2))
        assert result.items("parse") == [0, 1, 2]

    @pytest.mark.parametrize("runner", ["inline", "threads"])
    def test_on_any_runner(self, runner):
        result = run(orders(), runner=runner, faults=Faults().fail("load"))
        assert failure_of(result, "load").type == "ConnectionError"

    def test_on_the_callers_loop(self):
        result = asyncio.run(arun(orders(), faults=Faults().fail("parse[2]")))
        assert result["total"] == 2 + 4


class TestHangAndDelay:
    def test_what_hangs_is_ended_by_its_timeout(self, penstock_no_leaks):
        clock = FakeClock()
        result = run(orders(timeout=30), clock=clock, faults=Faults().hang("load"))
        assert failure_of(result, "load").kind == "timeout"
        assert result.abandoned == ()
        assert clock() == 30.0

    def test_a_second_attempt_may_be_better(self):
        result = run(orders(timeout=30, retry=THREE), faults=Faults().hang("parse", times=1))
        assert result["total"] == 12
        assert result.duration == 40.0

    def test_what_hangs_is_cancelled_with_the_run(self):
        flow = orders()
        flow.add(lambda: 1 / 0, name="breaks")
        result = run(flow, faults=Faults().hang("load"))
        assert result.nodes["load"].status.value == "cancelled"
        assert result.duration == 0.0

    def test_a_delay_comes_before_the_call(self):
        clock, flow = FakeClock(), Flow("flow")
        flow.add(lambda: clock(), name="a")
        flow.add(lambda: clock(), name="b")
        result = run(flow, clock=clock, faults=Faults().delay("a", 5.0))
        assert (result["a"], result["b"]) == (5.0, 0.0)

    def test_a_delay_counts_for_the_timeout(self):
        faults = Faults().delay("load", 5.0)
        assert failure_of(run(orders(timeout=4), faults=faults), "load").kind == "timeout"
        assert run(orders(timeout=6), faults=faults).status is RunStatus.SUCCEEDED

    def test_delays_add_up_and_go_with_a_failure(self):
        faults = Faults().delay("load", 5.0).delay("load", 2.0).fail("load")
        result = run(orders(), faults=faults)
        assert (result.duration, failure_of(result, "load").type) == (7.0, "ConnectionError")

    @pytest.mark.parametrize("runner", ["inline", "threads"])
    def test_on_any_runner(self, runner):
        assert run(orders(), runner=runner, faults=Faults().delay("load", 5.0)).duration == 5.0

    def test_a_stream_is_delayed_and_then_flows(self):
        flow = Flow("flow")

        @flow.step
        def lines() -> Iterator[int]:
            yield from range(100)

        flow.add(lambda x: x, name="parse", x=each(lines))
        result = run(flow, faults=Faults().delay("lines", 3).delay("parse", 1))
        assert result.items("parse") == list(range(100))
        assert result.duration > 3

    def test_delays_of_a_map_finish_in_order(self):
        clock, flow = FakeClock(), Flow("flow")
        ended: list[Any] = []
        flow.add(lambda n: ended.append(n), name="a", n=each(param("ns", list[int])))
        faults = Faults()
        for n in range(5):
            faults.delay(f"a[{n}]", 5 - n)
        run(flow, clock=clock, faults=faults, ns=list(range(5)))
        assert ended == [4, 3, 2, 1, 0]


class TestKill:
    def test_the_process_dies_and_the_next_one_does_it(self, penstock_no_leaks):
        flow = Flow("flow")
        flow.add(contract_steps.add, name="crunch", x=2, y=3, runner="processes", retry=THREE)
        faults = Faults().kill("crunch", times=1).delay("crunch", 5, times=1)
        result = run(flow, faults=faults)
        assert result["crunch"] == 5
        assert [one.kind for one in result.nodes["crunch"].history] == ["lost_worker"]
        assert result.duration == 15.0


class TestSeeded:
    def failed(self, seed: object, **options) -> list[str]:
        flow = Flow("flow")
        flow.add(lambda n: n, name="a", n=each(param("ns", list[int])))
        result = run(
            flow,
            faults=Faults().seeded(seed, rate=0.2),
            options=RunOptions(on_failure="continue", **options),
            ns=list(range(200)),
        )
        return [one.path for one in result.failed()]

    def test_one_seed_strikes_the_same(self):
        assert self.failed(7) == self.failed(7) == self.failed(7, max_concurrency=1)
        assert self.failed(7) != self.failed(8)
        assert 10 < len(self.failed(7)) < 80

    @pytest.mark.parametrize(("rate", "many"), [(0.0, 0), (1.0, 3)])
    def test_none_and_all(self, rate, many):
        flow = Flow("flow")
        flow.add(lambda n: n, name="a", n=each(param("ns", list[int])))
        faults = Faults().seeded(0, rate=rate, error=KeyError)
        result = run(flow, faults=faults, ns=[1, 2, 3], options=RunOptions(on_failure="continue"))
        assert len(list(result.failed())) == many
        assert faults.unused() == ([] if many else ["seeded(0)"])


class TestMistakes:
    def test_a_step_that_is_not_there(self):
        with pytest.raises(InputError) as caught:
            run(orders(), faults=Faults().fail("laod"))
        assert str(caught.value) == "faults: fail('laod') names no step of 'orders'; did you mean 'load'?"

    def test_a_step_that_no_run_had(self):
        with pytest.raises(InputError, match="no run had a step 'laod'; did you mean 'load'"):  # noqa: SIM117
            with stand_ins(faults=Faults().fail("laod")):
                orders().run()

    def test_an_item_of_a_step_that_is_not_there(self):
        with pytest.raises(InputError, match=r"fail\('prase\[1\]'\) names no step"):
            run(orders(), faults=Faults().fail("prase[1]"))

    def test_a_kill_without_a_process(self):
        with pytest.raises(InputError, match="the step runs in 'threads'; give it runner='processes'"):
            run(orders(), faults=Faults().kill("load"))

    @pytest.mark.parametrize(
        "plan",
        [
            lambda: Faults().fail("a", times=0),
            lambda: Faults().delay("a", -1),
            lambda: Faults().seeded(1, rate=1.5),
        ],
    )
    def test_numbers_that_make_no_sense(self, plan):
        with pytest.raises(ValueError, match="faults:"):
            plan()

    def test_an_error_that_is_none(self):
        with pytest.raises(TypeError, match="faults: error is an exception or a class"):
            Faults().fail("a", error="no")  # type: ignore[arg-type]


def test_what_never_happened_can_be_asked_for():
    faults = Faults().fail("parse[7]").hang("load", times=2).delay("total", 1)
    run(orders(timeout=1, optional=True), faults=faults)
    assert faults.unused() == ["fail('parse[7]')"] or "fail('parse[7]')" in faults.unused()


def test_a_plan_shows_itself():
    assert repr(Faults().fail("a", times=2).hang("b")) == "<faults: fail('a', times=2), hang('b')>"
    assert repr(Faults()) == "<faults: none by name>"


def test_a_step_stands_for_its_id():
    flow = orders()
    faults = Faults().fail(flow.steps["load"])
    assert run(flow, faults=faults).status is RunStatus.FAILED


def test_runs_within_a_step_are_not_meant():
    inner, outer = orders(), Flow("outer")
    outer.add(lambda: inner.run()["total"], name="load")
    assert run(outer, faults=Faults().fail("load", times=1)).status is RunStatus.FAILED
    outer2 = Flow("outer")
    outer2.add(lambda: inner.run()["total"], name="other")
    assert run(outer2, faults=Faults().seeded(3, rate=0.0))["other"] == 12


def test_threads_that_really_run_are_counted_too():
    flow, go = Flow("flow"), threading.Event()
    flow.add(lambda: go.wait(30), name="waits")
    flow.add(lambda: go.set(), name="late")
    result = run(flow, clock=FakeClock(patience=0.0), faults=Faults().delay("late", 0.05))
    assert result["waits"] is True
