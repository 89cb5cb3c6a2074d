"""Dialect D in use: runners, options, adding steps meanwhile, cancelling, and running again."""

import asyncio
import contextvars
import os
import threading
from typing import Any

import pytest

from penstock import RunOptions
from penstock.core import events
from penstock.dialects.steps import StepStatus

from .parts import BOUND, bounded
from .parts_steps import add, fails, forever, made, one, refused, run, told, ways, where

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


# Runners


@ways
def test_plain_functions_run_in_processes(way):
    """Head: `runner="processes"`; async functions stay on the loop."""
    executor = made().add_step("one", one).add_step("add", add, ["one"]).add_step("here", where)
    executor.add_step("by position", add, ["one", "here"])
    results = run(executor, way, runner="processes")
    assert {str(step.status) for step in results.values()} == {"success"}
    assert results["add"].output[0] == 2
    assert results["add"].output[1] != os.getpid()
    assert results["by position"].output[0] == 1 + os.getpid()
    assert results["here"].output == os.getpid()
    assert results["one"].finished_at <= results["add"].started_at


@ways
def test_failures_in_processes_are_retried_and_told(way):
    """Head: `runner="processes"`; row: `on_failure(exc)`, which at least names the exception."""
    heard: list[Any] = []
    executor = made().add_step("bad", refused, retries=2, retry_delay=0.0, on_failure=heard.append)
    executor.add_step("below", one, ["bad"])
    results = run(executor, way, runner="processes")
    assert told(results) == {"bad": ("failed", "refused"), "below": ("failed", "Dependency 'bad' failed")}
    assert (results["bad"].retries, len(heard)) == (2, 3)
    assert all(isinstance(error, Exception) and "refused" in str(error) for error in heard)
    assert all("ConnectionError" in repr(error) for error in heard)


@ways
def test_what_cannot_travel_to_a_process_is_refused_before_anything_starts(way):
    """Head: `runner="processes"`; a function that cannot be sent."""
    lock, ran = threading.Lock(), []
    executor = made().add_step("first", lambda: ran.append(1)).add_step("a", lambda: lock)
    with pytest.raises(ValueError, match=r"step 'a': .* cannot travel to a process"):
        run(executor, way, runner="processes")
    assert ran == []
    assert run(executor, way)["a"].output is lock


@ways
@pytest.mark.parametrize("runner", ["threads", "inline", "aio", None])
def test_each_call_takes_a_runner(way, runner):
    """Head: each run call takes `runner=`."""
    executor = made().add_step("one", one).add_step("add", add, ["one"]).add_step("here", where)
    executor.add_step("bad", fails, ["add"], retries=1, retry_delay=0.0)
    results = run(executor, way, runner=runner)
    assert [step.output for step in results.values()] == [1, (2, os.getpid()), os.getpid(), None]
    assert results["bad"].retries == 1
    assert all(step.started_at <= step.finished_at for step in results.values())
    assert results["one"].finished_at <= results["add"].started_at


def test_a_timeout_cannot_be_kept_inline_and_that_is_said_at_once():
    """Head: `runner=`."""
    executor = made().add_step("a", one, timeout=1.0)
    with pytest.raises(ValueError, match=r"'a' has a timeout.*inline"):
        run(executor, runner="inline")
    assert run(executor)["a"].output == 1


# Options


@ways
def test_copied_values_are_each_steps_own(way):
    """Head: `options=RunOptions(values="copied")`."""

    def append(given):
        given.append(2)
        return given

    executor = made().add_step("a", lambda: [1]).add_step("b", append, ["a"]).add_step("c", append, ["a"])
    results = run(executor, way, options=RunOptions(values="copied"))
    assert [step.output for step in results.values()] == [[1], [1, 2], [1, 2]]


@ways
def test_a_value_that_cannot_be_copied_fails_whoever_wants_it(way):
    """Head: `options=RunOptions(values="copied")`."""
    executor = made().add_step("a", threading.Lock).add_step("b", lambda a: a, ["a"])
    results = run(executor, way, options=RunOptions(values="copied"))
    assert [str(step.status) for step in results.values()] == ["success", "failed"]
    assert "copied" in str(results["b"].error)


@ways
def test_a_deadline_ends_the_run_and_says_so(way):
    """Head: `options.deadline`; nothing is raised, and all steps are in the results."""
    executor = made().add_step("a", one).add_step("stuck", forever, ["a"]).add_step("b", one, ["stuck"])
    executor.add_step("waits", fails, retries=1, retry_delay=3600)
    results = run(executor, way, options=RunOptions(deadline=0.2))
    assert [str(step.status) for step in results.values()] == ["success", "failed", "failed", "failed"]
    assert "deadline" in str(results["stuck"].error)
    assert results["b"].error == "Dependency 'stuck' failed"
    assert str(results["waits"].error).startswith("boom")


def test_the_failure_policy_is_that_of_the_configuration():
    """Row: `stop_on_first_failure`; `options.on_failure` does not change it."""
    executor = made(max_concurrent=1).add_step("bad", fails).add_step("a", one)
    for policy in ("stop", "drain", "continue"):
        results = run(executor, options=RunOptions(on_failure=policy))
        assert told(results) == {"bad": ("failed", "boom"), "a": ("success", None)}
    stops = made(max_concurrent=1, stop_on_first_failure=True).add_step("bad", fails).add_step("a", one)
    results = run(stops, options=RunOptions(on_failure="continue"))
    assert told(results)["a"] == ("skipped", "Skipped because the run stopped: bad failed")


@ways
def test_observers_are_told_in_order_with_the_names_of_steps(way):
    """Head: `options.observers`."""
    seen: list[Any] = []
    executor = made().add_step("a", one).add_step("bad", fails, ["a"], retries=1, retry_delay=0.0)
    run(executor, way, options=RunOptions(observers=[seen.append]))
    found = [(type(event), str(event.path)) for event in seen if hasattr(event, "path")]
    assert found == [
        (events.NodeStarted, "a"),
        (events.NodeSucceeded, "a"),
        (events.NodeStarted, "bad"),
        (events.NodeRetrying, "bad"),
        (events.NodeStarted, "bad"),
        (events.NodeFailed, "bad"),
    ]


@ways
def test_steps_see_the_callers_context_variables(way):
    """Head: everything the engine has."""

    async def later():
        return VARIABLE.get()

    def main():
        VARIABLE.set("mine")
        executor = made().add_step("a", lambda: VARIABLE.get()).add_step("b", later)
        return [step.output for step in run(executor, way).values()]

    assert contextvars.copy_context().run(main) == ["mine", "mine"]


# Again, and meanwhile


@ways
def test_a_run_knows_nothing_of_the_one_before(way):
    """The same executor run twice: calls, retries and times are of the run."""
    executor, calls = made(), []

    def flaky():
        calls.append(1)
        if len(calls) in (1, 2, 4):
            fails()
        return len(calls)

    executor.add_step("a", flaky, retries=2, retry_delay=0.0)
    first, second = run(executor, way)["a"], run(executor, way)["a"]
    assert (first.output, first.retries, second.output, second.retries) == (3, 2, 5, 1)
    assert first.finished_at <= second.started_at
    third = run(executor, way)["a"]
    assert (third.output, third.retries) == (6, 0)


@ways
def test_steps_may_be_added_after_a_run(way):
    """Adding steps after a run: the results stay, and the next run has them."""
    executor = made().add_step("a", one)
    run(executor, way)
    executor.add_step("b", lambda a: a + 1, ["a"])
    assert list(executor.get_results()) == ["a"]
    assert executor.visualize().endswith("  - a [success]\nLevel 1:\n  - b <- [a] [pending]")
    assert [step.output for step in run(executor, way).values()] == [1, 2]


@ways
def test_a_step_added_by_a_step_belongs_to_the_next_run(way):
    """Adding steps while a run goes on."""
    executor = made()

    @executor.step
    def a():
        if "b" not in executor.visualize():
            executor.add_step("b", lambda x: x, ["a"])
        return 1

    assert list(run(executor, way)) == ["a"]
    assert list(run(executor, way)) == ["a", "b"]


def test_a_pipeline_can_run_again_after_a_graph_error_is_mended():
    """Bad input: an unknown dependency; adding the step mends it."""
    executor = made().add_step("a", lambda x: x, ["b"])
    with pytest.raises(ValueError, match="unknown step 'b'"):
        run(executor)
    executor.add_step("b", one)
    assert [step.output for step in run(executor).values()] == [1, 1]


@pytest.mark.parametrize("hook", [True, False])
def test_a_cancelled_run_cancels_its_steps_and_can_run_again(hook):
    """Head, run: `await run()` cancelled by its caller: FAILED `Step cancelled`, and nothing left behind."""
    executor = made()
    ended: list[Any] = []

    async def main():
        begun = asyncio.Event()

        @executor.step(on_failure=ended.append if hook else None)
        async def busy():
            begun.set()
            try:
                await asyncio.sleep(0 if ended else BOUND)
            finally:
                ended.append(1)

        executor.add_step("a", one)
        executor.add_step("next", lambda _: 1, ["busy"])
        running = asyncio.ensure_future(executor.run())
        await begun.wait()
        while executor.get_results()["a"].status is not StepStatus.SUCCESS:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [1]
        cancelled = told(executor.get_results())
        return cancelled, told(await executor.run())

    cancelled, again = bounded(main())
    assert cancelled == {
        "busy": ("failed", "Step cancelled"),
        "a": ("success", None),
        "next": ("skipped", "Skipped because the run was cancelled"),
    }
    assert {status for status, _ in again.values()} == {"success"}


def test_run_sync_inside_a_running_loop_does_not_touch_it():
    """Head, run: `run_sync()` in a running loop: the steps have a loop of their own."""

    async def main():
        loops = [asyncio.get_running_loop()]

        async def step():
            loops.append(asyncio.get_running_loop())
            await asyncio.sleep(0)
            return len(loops)

        executor = made().add_step("a", step).add_step("b", step, ["a"])
        results = executor.run_sync()
        assert asyncio.get_running_loop() is loops[0]
        return results["b"].output, loops

    output, loops = bounded(main())
    assert output == 3
    assert loops[0] not in loops[1:]


@ways
def test_the_results_of_a_run_in_another_thread_are_seen(way):
    """Row: `get_results()` of a run that goes on, from any thread."""
    executor = made()
    begun, go = threading.Event(), threading.Event()
    seen: list[Any] = []

    def a():
        return 1

    def b(a):
        begun.set()
        assert go.wait(BOUND)

    executor.add_step("a", a).add_step("b", b, ["a"]).add_step("c", lambda b: 1, ["b"])

    def looks():
        assert begun.wait(BOUND)
        seen.append({name: str(step.status) for name, step in executor.get_results().items()})
        go.set()

    thread = threading.Thread(target=looks)
    thread.start()
    run(executor, way)
    thread.join(BOUND)
    assert seen == [{"a": "success", "b": "running", "c": "pending"}]
