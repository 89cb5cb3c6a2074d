"""Dialect D, row by row: what the other tests of it leave open. Each test says which row it holds to."""

import asyncio
import inspect
import threading
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.dialects import steps
from penstock.dialects.steps import StepResult, StepStatus

from .parts import BOUND, bounded
from .parts_steps import fails, forever, made, run, told, ways

# The head of the table


def test_the_names_of_the_dialect():
    """Row: the names."""
    names = {"PipelineExecutor", "PipelineConfig", "StepConfig", "StepResult", "StepStatus"}
    assert set(steps.__all__) == names


def test_run_is_awaited_and_run_sync_is_not():
    """Head, run: `await run()`; `run_sync()`."""
    executor = made().add_step("a", lambda: 1)
    coroutine = executor.run()
    assert inspect.iscoroutine(coroutine)
    assert bounded(coroutine)["a"].output == 1
    assert executor.run_sync()["a"].output == 1


@ways
def test_a_failure_is_never_raised_and_by_default_the_rest_goes_on(way):
    """Head: default on failure is to continue; a task failure never raises from run."""
    executor = made().add_step("bad", fails)
    for number in range(5):
        executor.add_step(f"s{number}", lambda *_: 1, [f"s{number - 1}"] if number else [])
    results = run(executor, way)
    assert told(results)["bad"] == ("failed", "boom")
    assert [one.output for one in results.values()] == [None, 1, 1, 1, 1, 1]


@ways
def test_all_outputs_are_kept(way):
    """Head: all outputs are kept, the very objects, whoever has consumed them."""
    value = object()
    executor = made()
    executor.add_step("a", lambda: value)
    executor.add_step("b", lambda a: a, ["a"])
    executor.add_step("c", lambda b: b, ["b"])
    executor.add_step("bad", fails, ["c"])
    results = run(executor, way)
    assert all(results[name].output is value for name in "abc")


@ways
def test_the_endings_of_the_table(way):
    """Head, statuses: cancelled: FAILED `Step cancelled`; never started: SKIPPED with the reason; need did
    not succeed: FAILED or, by flag, SKIPPED. With the first failure stopping the run, retries too."""
    executor = made(stop_on_first_failure=True, max_concurrent=None)
    begun: list[Any] = []
    both = threading.Event()

    def begin(name):
        begun.append(name)
        if len(begun) == 2:
            both.set()

    @executor.step
    async def busy():
        begin("busy")
        await forever()

    @executor.step(retries=3, retry_delay=3600)
    async def retrying():
        begin("retrying")
        fails()

    @executor.step
    def bad():
        assert both.wait(BOUND)
        while str(executor.get_results()["retrying"].status) != "retrying":
            both.wait(0.001)
        fails()

    executor.add_step("below", lambda bad: 1, ["bad"])
    executor.add_step("flagged", lambda bad: 1, ["bad"], skip_on_error=True)
    executor.add_step("below flagged", lambda x: 1, ["flagged"])
    executor.add_step("next", lambda busy: 1, ["busy"], skip_on_error=True)
    results = run(executor, way)
    assert told(results) == {
        "busy": ("failed", "Step cancelled"),
        "retrying": ("failed", "Step cancelled"),
        "bad": ("failed", "boom"),
        "below": ("failed", "Dependency 'bad' failed"),
        "flagged": ("skipped", "Skipped due to failed dependency 'bad'"),
        "below flagged": ("skipped", "Skipped due to skipped dependency 'flagged'"),
        "next": ("skipped", "Skipped because the run stopped: bad failed"),
    }
    assert all(one.started_at <= one.finished_at for one in results.values())


def test_a_failed_attempt_with_retries_left_stops_nothing():
    """Row: `stop_on_first_failure`: the failure of a step, not of an attempt."""
    executor, calls = made(stop_on_first_failure=True), []

    @executor.step(retries=2, retry_delay=0.0)
    async def flaky():
        calls.append(1)
        if len(calls) < 3:
            fails()

    executor.add_step("after", lambda _: 1, ["flaky"])
    assert {str(one.status) for one in run(executor).values()} == {"success"}


# Results


def test_a_step_result_has_these_members_in_this_order():
    """Row: `StepResult(step_name, status, output, error, started_at, finished_at, duration_ms, retries)`."""
    names = ["step_name", "status", "output", "error", "started_at", "finished_at", "duration_ms", "retries"]
    assert [field.name for field in fields(StepResult)] == names
    now = datetime.now(UTC)
    values = ("a", StepStatus.SUCCESS, 1, None, now, now, 0.0, 2)
    one = StepResult(*values)
    assert tuple(getattr(one, name) for name in names) == values


def test_statuses_are_their_lower_case_names():
    """Row: `StepStatus`."""
    assert {one.name: one.value for one in StepStatus} == {
        name: name.lower() for name in ("PENDING", "RUNNING", "SUCCESS", "FAILED", "SKIPPED", "RETRYING")
    }
    assert StepStatus("success") is StepStatus.SUCCESS
    assert str(StepStatus.RETRYING) == f"{StepStatus.RETRYING}" == "retrying"


@ways
@pytest.mark.parametrize("stop", [True, False])
def test_the_times_of_ended_steps_are_set_aware_and_ordered(way, stop):
    """Row: the times are timezone-aware and always set for an ended step, whatever its end was."""
    executor = made(stop_on_first_failure=stop)
    executor.add_step("a", lambda: 1)
    executor.add_step("b", lambda a: a, ["a"], retries=1)
    executor.add_step("late", forever, ["b"], timeout=0.02)
    executor.add_step("below", lambda x: 1, ["late"])
    executor.add_step("flagged", lambda x: 1, ["late"], skip_on_error=True)
    executor.add_step("skipped", lambda x: 1, ["flagged"])
    before = datetime.now(UTC) - timedelta(seconds=1)
    results = run(executor, way)
    after = datetime.now(UTC) + timedelta(seconds=1)
    for one in results.values():
        assert one.started_at.tzinfo is UTC
        assert one.finished_at.tzinfo is UTC
        assert before < one.started_at <= one.finished_at < after
        spent = (one.finished_at - one.started_at).total_seconds() * 1000
        assert one.duration_ms == pytest.approx(spent, abs=0.01)
        assert "None" not in f"{one.step_name}: {one.status} ({one.duration_ms}ms)"
    for first, then in [("a", "b"), ("b", "late"), ("late", "below"), ("late", "flagged")]:
        assert results[first].finished_at <= results[then].started_at
    assert results["flagged"].finished_at <= results["skipped"].started_at


@ways
@pytest.mark.parametrize("plain", [True, False])
def test_the_duration_covers_retries_and_waits(way, plain):
    """Row: from the start of the first attempt to the end of the last one, waits included."""
    executor, calls = made(), []

    def flaky():
        calls.append(datetime.now(UTC))
        if len(calls) < 3:
            fails()
        return 1

    async def flaky_async():
        return flaky()

    executor.add_step("a", flaky if plain else flaky_async, retries=2, retry_delay=0.02)
    one = run(executor, way)["a"]
    slack = timedelta(milliseconds=5)  # two clocks
    assert one.started_at <= calls[0] + slack
    assert calls[2] - slack <= one.finished_at
    assert one.duration_ms >= 59  # 20 + 40 of waits alone
    assert one.retries == 2


@ways
@pytest.mark.parametrize(("succeeds_at", "used"), [(1, 0), (2, 1), (4, 3), (9, 3)])
def test_retries_of_a_result_are_those_that_were_used(way, succeeds_at, used):
    """Row: `retries` in the result is the number of retries used; `retries` asks for *extra* calls."""
    executor, calls = made(), []

    def flaky():
        calls.append(1)
        if len(calls) < succeeds_at:
            fails()

    executor.add_step("a", flaky, retries=3, retry_delay=0.0)
    one = run(executor, way)["a"]
    assert (one.retries, len(calls)) == (used, used + 1)
    assert one.status is (StepStatus.FAILED if succeeds_at > 4 else StepStatus.SUCCESS)


def test_timeouts_are_retried_and_counted_for_plain_functions_too():
    """Row: timeout is per attempt and retried: `Step timed out after 0.02s`."""
    go, calls, heard = threading.Event(), [], []

    def stuck():
        calls.append(1)
        go.wait(BOUND)

    executor = made().add_step(
        "a", stuck, timeout=0.02, retries=1, retry_delay=0.0, on_failure=lambda error: heard.append(error)
    )
    try:
        one = run(executor)["a"]
    finally:
        go.set()
    assert (one.error, one.retries, len(calls)) == ("Step timed out after 0.02s", 1, 2)
    assert [(type(error), str(error)) for error in heard] == [
        (TimeoutError, "Step timed out after 0.02s")
    ] * 2


@pytest.mark.parametrize("timeout", [0.02, 0.0123456789, 1 / 30])
def test_the_text_of_a_timeout_has_the_number_that_was_given(timeout):
    """Row: `Step timed out after 0.02s`."""
    executor = made().add_step("a", forever, timeout=timeout)
    assert run(executor)["a"].error == f"Step timed out after {timeout}s"


def test_a_timeout_error_of_ones_own_keeps_its_text():
    """Row: timeouts are those of the run."""
    executor = made(name="p")

    def own():
        raise TimeoutError("the server took too long")

    assert run(executor.add_step("a", own, timeout=30))["a"].error == "the server took too long"


# Definition


def test_every_option_of_a_step_counts_with_the_decorator_and_without():
    """Row: `@executor.step(name, depends_on, retries, …)`; `add_step(name=…, func=…, …)` the same."""
    for decorated in (True, False):
        executor = made()
        heard: list[Any] = []
        calls: list[Any] = []

        def step(*_, calls=calls):
            calls.append(1)
            fails()

        options: Any = {"retries": 2, "retry_delay": 0.0, "timeout": 30.0, "on_failure": heard.append}
        executor.add_step("first", fails).add_step("second", lambda: 1)
        if decorated:
            assert executor.step("a", depends_on=["second"], **options)(step) is step
            executor.step(name="b", depends_on=["first"], skip_on_error=True)(step)
        else:
            executor.add_step(name="a", func=step, depends_on=["second"], **options)
            executor.add_step(name="b", func=step, depends_on=["first"], skip_on_error=True)
        results = run(executor)
        assert (results["a"].error, results["a"].retries) == ("boom", 2)
        assert (len(calls), len(heard)) == (3, 3)
        assert results["b"].status is StepStatus.SKIPPED
        (node,) = [node for node in executor.graph().nodes if node.id == "a"]
        assert node.timeout is not None
        assert (node.timeout.attempt, [need.node for need in node.needs]) == (30.0, ["second"])


def test_the_parameters_of_step_are_those_of_the_contract():
    """Row: `step(name, depends_on=None, retries=0, retry_delay=1.0, timeout=None, skip_on_error=False,
    on_failure=None)`."""
    parameters = list(inspect.signature(made().step).parameters.values())
    assert [(one.name, one.default) for one in parameters][1:] == [
        ("depends_on", None),
        ("retries", 0),
        ("retry_delay", 1.0),
        ("timeout", None),
        ("skip_on_error", False),
        ("on_failure", None),
    ]


def test_a_decorated_function_is_called_as_before():
    """Row: returns the function unchanged."""
    executor = made()

    @executor.step("a")
    async def a(more=1):
        return more + 1

    assert bounded(a(more=4)) == 5
    assert run(executor)["a"].output == 2
    assert inspect.iscoroutinefunction(a)
    assert a.__name__ == "a"


def test_one_function_may_be_several_steps():
    """Row: `add_step`; each name stands for itself."""
    executor = made()

    def add(*given):
        return sum(given) + 1

    executor.add_step("a", add).add_step("b", add, ["a"]).add_step("c", add, ["a", "b"])
    assert [one.output for one in run(executor).values()] == [1, 2, 4]


def test_the_rest_of_the_parameters_take_the_rest_of_the_dependencies_in_order():
    """Row: when names do not match, unmatched positionals take the unmatched `depends_on` in order."""
    executor = made()
    for name in ("a", "b", "c"):
        executor.add_step(name, lambda name=name: name)

    def first(x, b, y):
        return x, b, y

    def strangers(one, two=2, three=3):
        return one, two, three

    def named_like_a_step(c):
        return c

    def only_by_name(x, *, b, more="more"):
        return x, b, more

    class Holder:
        async def method(self, previous_data):
            return previous_data

    executor.add_step("first", first, ["c", "b", "a"])
    executor.add_step("strangers", strangers, ["b", "a"])
    executor.add_step("named", named_like_a_step, ["a"])
    executor.add_step("by name", only_by_name, ["b", "a"])
    executor.add_step("method", Holder().method, ["b"])
    found = run(executor)
    assert {name: one.output for name, one in found.items() if len(name) > 1} == {
        "first": ("c", "b", "a"),
        "strangers": ("b", "a", 3),
        "named": "a",
        "by name": ("a", "b", "more"),
        "method": "b",
    }


def test_plain_functions_leave_the_loop_free():
    """Row: sync functions are accepted and run in threads: two of them at a time, and the loop beside."""
    gate, here = threading.Barrier(2), []

    def meets():
        gate.wait(BOUND)
        here.append(threading.get_ident())

    executor = made().add_step("a", meets).add_step("b", meets)
    assert {str(one.status) for one in run(executor).values()} == {"success"}
    assert threading.get_ident() not in here
    assert len(set(here)) == 2


# Runs


@ways
def test_the_named_steps_run_with_what_they_depend_on(way):
    """Row: `run(steps=None)` adds dependencies of the named steps, all of them, and nothing else."""
    executor, ran = made(), []
    for name, needs in {"a": [], "b": ["a"], "c": ["b"], "d": ["a"], "e": []}.items():
        executor.add_step(name, lambda *_, name=name: ran.append(name), needs)
    assert list(run(executor, way, ["c"])) == ["a", "b", "c"]
    assert ran == ["a", "b", "c"]
    assert set(executor.get_results()) == {"a", "b", "c"}
    assert list(run(executor, way, steps=("e", "d", "e"))) == ["a", "d", "e"]
    assert run(executor, way, []) == {}
    with pytest.raises(ValueError, match="no step 'zz'"):
        run(executor, way, ["a", "zz"])
    assert set(run(executor, way)) == set("abcde")


@ways
def test_a_second_run_meanwhile_is_refused_and_the_first_one_goes_on(way):
    """Row: a second concurrent `run()`: RuntimeError "Pipeline is already running"."""
    executor = made()
    inside, go = threading.Event(), threading.Event()
    found: list[Any] = []

    @executor.step
    def a():
        inside.set()
        assert go.wait(BOUND)
        return 1

    thread = threading.Thread(target=lambda: found.append(executor.run_sync()))
    thread.start()
    try:
        assert inside.wait(BOUND)
        with pytest.raises(RuntimeError, match=r"^Pipeline is already running$"):
            run(executor, way)
        with pytest.raises(RuntimeError, match=r"^Pipeline is already running$"):
            executor.reset()
        assert executor.get_results()["a"].status is StepStatus.RUNNING
        assert executor.visualize().endswith("  - a [running]")
    finally:
        go.set()
        thread.join(BOUND)
    assert found[0]["a"].output == 1
    assert run(executor, way)["a"].output == 1


def test_executors_run_beside_each_other_and_within_each_other():
    """Row: one run at a time is of one executor."""

    async def main():
        here, executors = [asyncio.Event(), asyncio.Event()], [made(), made()]
        for number, executor in enumerate(executors):

            async def meets(number=number):
                here[number].set()
                await here[1 - number].wait()
                return number

            executor.add_step("a", meets)
        return await asyncio.gather(*[executor.run() for executor in executors])

    assert [one["a"].output for one in bounded(main())] == [0, 1]
    inner = made().add_step("a", lambda: 1)
    outer = made().add_step("plain", lambda: inner.run_sync()["a"].output)

    async def later(plain):
        return (await inner.run())["a"].output + plain

    outer.add_step("later", later, ["plain"])
    assert [one.output for one in run(outer).values()] == [1, 2]
