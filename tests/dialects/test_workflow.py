"""The dialect of workflows and tasks: every row of its contract, and what it says to bad input."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import penstock
from penstock import RetryAfter, RunOptions
from penstock.core.graph import Graph
from penstock.dialects import workflow as dialect
from penstock.dialects.workflow import (
    CycleError,
    RetryPolicy,
    Task,
    TaskFailedError,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    chain,
    fan_out_fan_in,
    parallel,
)
from penstock.testing import stand_ins

QUICK = RetryPolicy(max_attempts=3, initial_delay=0.001)
untyped: Any = dialect  # for what a type checker would refuse
LONG = 30.0  # seconds that nothing here takes


class Seen(list[tuple[str, str, dict[str, Any]]]):
    """A progress callback that remembers."""

    def __call__(self, name: str, status: str, details: dict[str, Any]) -> None:
        self.append((name, status, details))

    def of(self, name: str) -> list[str]:
        return [status for task, status, _ in self if task == name]

    def details(self, name: str, status: str) -> dict[str, Any]:
        return next(details for task, at, details in self if (task, at) == (name, status))


def boom(*_: Any, **__: Any) -> Any:
    raise ValueError("boom")


def failing(times: int, value: Any = "done") -> Callable[[], Any]:
    left = [times]

    def act() -> Any:
        if left[0]:
            left[0] -= 1
            raise ValueError(f"failure with {left[0]} to come")
        return value

    return act


def statuses(flow: Workflow) -> dict[str, str]:
    return {name: task.status.value for name, task in flow.tasks.items()}


# --- names ------------------------------------------------------------------------------------------------


def test_exports_are_those_of_the_contract() -> None:
    assert set(dialect.__all__) == {
        *("Workflow", "Task", "TaskResult", "TaskStatus", "RetryPolicy", "WorkflowError", "CycleError"),
        *("TaskFailedError", "chain", "parallel", "fan_out_fan_in"),
    }


def test_task_status_has_six_values_in_lower_case() -> None:
    assert {status.name for status in TaskStatus} == {
        *("PENDING", "RUNNING", "COMPLETED", "FAILED", "SKIPPED", "RETRYING")
    }
    assert all(status.value == status.name.lower() for status in TaskStatus)


def test_retry_policy_is_the_class_of_the_core() -> None:
    assert RetryPolicy is penstock.RetryPolicy
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.initial_delay, policy.max_delay) == (3, 1.0, 60.0)
    assert (policy.exponential_base, policy.retry_on) == (2.0, (Exception,))


def test_get_delay_counts_from_one_and_is_capped() -> None:
    policy = RetryPolicy(initial_delay=1.0, exponential_base=2.0, max_delay=5.0)
    assert [policy.get_delay(attempt) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
    assert policy.get_delay(0) <= policy.get_delay(1)


@pytest.mark.parametrize("number", [0, -1])
def test_max_attempts_below_one_is_a_value_error(number: int) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        RetryPolicy(max_attempts=number)


def test_task_result_fields_and_defaults() -> None:
    assert str(inspect.signature(TaskResult)).startswith("(success: ")
    result = TaskResult(True)
    assert (result.value, result.error, result.execution_time, result.attempts) == (None, None, 0.0, 1)


def test_task_fields_and_what_it_is_before_a_run() -> None:
    assert list(inspect.signature(Task).parameters) == [
        *("name", "action", "args", "kwargs", "dependencies", "timeout", "retry_policy", "condition"),
        *("transform_result", "tags", "metadata"),
    ]
    task = Task("a", boom, tags=["nightly"], metadata={"owner": "ops"})
    assert (task.status, task.result, task.error) == (TaskStatus.PENDING, None, None)
    assert (task.attempts, task.execution_time) == (0, 0.0)
    assert (list(task.tags), task.metadata) == (["nightly"], {"owner": "ops"})
    assert task.get_result() == TaskResult(False, attempts=0)


def test_workflow_signature_is_that_of_the_contract() -> None:
    parameters = inspect.signature(Workflow).parameters
    assert {name: one.default for name, one in parameters.items() if name != "name"} == {
        "timeout": None,
        "fail_fast": True,
        "progress_callback": None,
        "max_concurrent": None,
    }


# --- running ----------------------------------------------------------------------------------------------


def test_run_gives_a_result_for_every_task_in_the_order_of_adding() -> None:
    flow = Workflow("w")
    assert flow.add_task("save", lambda load: load + 1, dependencies=["load"]) is flow
    assert flow.add(Task("load", lambda: 1)) is flow
    results = flow.run()
    assert list(results) == ["save", "load"]
    assert results["save"].value == 2
    assert results["save"].success
    assert flow.task_results == results
    assert flow.get_task_result("save") == results["save"] == flow.tasks["save"].get_result()
    assert flow.tasks["save"].result == 2


def test_a_workflow_without_tasks_runs() -> None:
    assert Workflow("w").run() == {}


def test_run_inside_a_running_loop_and_arun() -> None:
    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    async def main() -> None:
        flow = Workflow("w").add_task("a", slow).add_task("b", lambda a: a + 1, dependencies=["a"])
        assert flow.run()["b"].value == 2
        assert (await flow.arun())["b"].value == 2

    asyncio.run(main())


def test_a_task_failure_does_not_raise_from_run() -> None:
    results = Workflow("w").add_task("a", boom).run()
    assert (results["a"].success, results["a"].error, results["a"].attempts) == (False, "boom", 1)


def test_raise_for_failure_names_the_first_task_that_failed() -> None:
    flow = Workflow("w", fail_fast=False).add_task("a", int).add_task("b", boom).add_task("c", boom)
    flow.run()
    with pytest.raises(TaskFailedError, match=r"Task 'b' failed: boom") as caught:
        flow.raise_for_failure()
    assert isinstance(caught.value, WorkflowError)
    assert caught.value.task_name == "b"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.task_name, again.result) == ("b", caught.value.result)
    done = Workflow("w").add_task("a", int)
    done.run()
    done.raise_for_failure()


def test_a_workflow_can_run_again_and_starts_afresh() -> None:
    act = failing(1)
    flow = Workflow("w").add_task("a", act)
    assert not flow.run()["a"].success
    assert flow.run()["a"] == TaskResult(True, "done", None, flow.tasks["a"].execution_time, 1)


def test_a_second_run_at_the_same_time_is_refused() -> None:
    flow = Workflow("w")
    said = []

    def again() -> None:
        with pytest.raises(WorkflowError, match="already running") as caught:
            flow.run()
        said.append(caught.value)

    flow.add_task("a", again)
    assert flow.run()["a"].success
    assert said
    assert flow.run()["a"].success


def test_max_concurrent_bounds_what_runs_at_a_time() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def act() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1

    flow = Workflow("w", max_concurrent=1)
    for at in range(20):
        flow.add_task(f"t{at}", act)
    assert all(result.success for result in flow.run().values())
    assert most == [1]
    assert flow.run(options=RunOptions(max_concurrency=5))["t0"].success
    assert most == [1]


def test_without_max_concurrent_tasks_run_at_the_same_time() -> None:
    both = threading.Barrier(2)
    flow = Workflow("w")
    for name in ("a", "b"):
        flow.add_task(name, both.wait, [LONG])
    assert all(result.success for result in flow.run().values())


def test_runner_and_options_are_those_of_the_native_run() -> None:
    here: list[int] = []
    flow = Workflow("w").add_task("a", lambda: here.append(threading.get_ident()))
    events: list[Any] = []
    flow.run(runner="inline", options=RunOptions(observers=[events.append], tags={"who": "me"}))
    assert here == [threading.get_ident()]
    assert events[0].tags == {"who": "me"}


def double(x: int, a: int) -> int:
    return x * a


def keep_all(_task_results: dict[str, TaskResult]) -> dict[str, Any]:
    return {name: result.value for name, result in _task_results.items()}


def six() -> int:
    return 6


def test_tasks_run_in_processes_too() -> None:
    flow = Workflow("w").add_task("a", six)
    flow.add_task("b", double, [7], dependencies=["a"], transform_result=str)
    flow.add_task("c", keep_all, dependencies=["b"])
    results = flow.run(runner="processes")
    assert [result.value for result in results.values()] == [6, "42", {"a": 6, "b": "42"}]


# --- result passing ---------------------------------------------------------------------------------------


def test_a_parameter_named_like_a_dependency_gets_its_value() -> None:
    flow = Workflow("w").add_task("a", lambda: 1).add_task("b", lambda: 2)
    flow.add_task("c", lambda b, other=5: (b, other), dependencies=["a", "b"])
    assert flow.run()["c"].value == (2, 5)


def test_a_parameter_named_task_results_gets_the_dict_of_results() -> None:
    def look(_task_results: dict[str, TaskResult]) -> Any:
        assert isinstance(_task_results, dict)
        assert dict(_task_results) == _task_results.copy()
        return sorted(_task_results), _task_results["a"].value, _task_results["b"].success

    flow = Workflow("w", fail_fast=False).add_task("b", boom).add_task("a", lambda: 1)
    flow.add_task("d", lambda a: a, dependencies=["a"])
    flow.add_task("c", look, dependencies=["d"])
    value = flow.run(runner="inline")["c"].value
    assert value == (["a", "b", "d"], 1, False)


def test_otherwise_only_args_and_kwargs_are_passed() -> None:
    def take(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    flow = Workflow("w").add_task("a", lambda: 1)
    flow.add_task("b", take, args=[1, 2], kwargs={"x": 3}, dependencies=["a"])
    flow.add_task("c", lambda y: y, kwargs={"y": 9}, dependencies=["a"])
    results = flow.run()
    assert (results["b"].value, results["c"].value) == (((1, 2), {"x": 3}), 9)


def test_args_and_kwargs_are_not_replaced_by_a_dependency_of_that_name() -> None:
    flow = Workflow("w").add_task("a", lambda: 1)
    flow.add_task("by_position", lambda a: a, ["mine"], dependencies=["a"])
    flow.add_task("by_name", lambda a: a, kwargs={"a": "mine"}, dependencies=["a"])
    flow.add_task("after_position", lambda x, a: (x, a), ["mine"], dependencies=["a"])
    values = [result.value for result in flow.run().values()]
    assert values == [1, "mine", "mine", ("mine", 1)]


def test_sync_and_async_actions_are_alike() -> None:
    async def slow(a: int, x: int = 0) -> int:
        await asyncio.sleep(0)
        return a + x

    class Adds:
        async def __call__(self, a: int) -> int:
            return a + 100

    flow = Workflow("w").add_task("a", lambda: 1)
    flow.add_task("b", slow, dependencies=["a"])
    flow.add_task("c", partial(slow, x=10), dependencies=["a"])
    flow.add_task("d", Adds(), dependencies=["a"])
    flow.add_task("e", slow, [1000], {"x": 1}, transform_result=lambda value: value + 0.5)
    assert [result.value for result in flow.run().values()] == [1, 1, 11, 101, 1001.5]


def test_a_plain_function_that_gives_a_coroutine_is_a_clear_failure() -> None:
    async def slow() -> None: ...

    error = Workflow("w").add_task("a", lambda: slow()).run()["a"].error
    assert error is not None
    assert "await" in error


def test_transform_result_makes_the_value_and_fails_like_the_action() -> None:
    flow = Workflow("w").add_task("a", lambda: 1, transform_result=lambda value: value + 1)
    flow.add_task("b", lambda a: a, dependencies=["a"])
    flow.add_task("c", lambda: 1, transform_result=boom, retry_policy=QUICK)
    results = flow.run()
    assert (results["a"].value, results["b"].value) == (2, 2)
    assert (results["c"].error, results["c"].attempts) == ("boom", 3)


# --- retries ----------------------------------------------------------------------------------------------


def test_no_policy_means_one_call_and_max_attempts_counts_all_calls() -> None:
    flow = Workflow("w", fail_fast=False)
    flow.add_task("once", failing(1))
    flow.add_task("enough", failing(2), retry_policy=QUICK)
    flow.add_task("short", failing(3), retry_policy=QUICK)
    results = flow.run()
    assert {name: (one.success, one.attempts) for name, one in results.items()} == {
        "once": (False, 1),
        "enough": (True, 3),
        "short": (False, 3),
    }


def test_retry_on_decides_what_is_tried_again() -> None:
    policy = RetryPolicy(max_attempts=3, initial_delay=0.0, retry_on=(KeyError,))
    assert Workflow("w").add_task("a", failing(1), retry_policy=policy).run()["a"].attempts == 1


def test_waits_are_exact_without_jitter() -> None:
    seen = Seen()
    policy = RetryPolicy(max_attempts=4, initial_delay=10.0, exponential_base=3.0, max_delay=50.0)
    flow = Workflow("w", progress_callback=seen).add_task("a", failing(3), retry_policy=policy)
    with stand_ins() as clock:
        start = clock()
        assert flow.run()["a"].success
        assert clock() - start == pytest.approx(10 + 30 + 50, abs=0.5)
    assert [details["delay"] for _, status, details in seen if status == "retrying"] == [10.0, 30.0, 50.0]
    assert flow.tasks["a"].execution_time == pytest.approx(90, abs=0.5)


def test_retry_after_shows_in_the_delay_and_jitter_is_an_addition() -> None:
    def busy() -> None:
        raise RetryAfter(100.0)

    seen = Seen()
    flow = Workflow("w", progress_callback=seen)
    flow.add_task("a", busy, retry_policy=RetryPolicy(max_attempts=2))
    with stand_ins():
        flow.run()
    assert seen.details("a", "retrying")["delay"] == 100.0
    seen.clear()
    flow = Workflow("w", progress_callback=seen)
    flow.add_task("a", boom, retry_policy=RetryPolicy(max_attempts=2, initial_delay=8.0, jitter="full"))
    with stand_ins():
        flow.run(options=RunOptions(seed=7))
    assert 0 < seen.details("a", "retrying")["delay"] < 8.0


def test_the_state_diagram_holds_retrying_to_running_included() -> None:
    flow = Workflow("w")
    history: list[TaskStatus] = []

    def look(name: str, status: str, details: dict[str, Any]) -> None:
        if name == "a":
            history.append(flow.tasks["a"].status)

    act = failing(2)
    inside: list[TaskStatus] = []

    def action() -> Any:
        inside.append(flow.tasks["a"].status)
        return act()

    flow.progress_callback = look
    flow.add_task("a", action, retry_policy=QUICK)
    assert flow.tasks["a"].status is TaskStatus.PENDING
    flow.run()
    assert inside == [TaskStatus.RUNNING] * 3
    assert [status.name for status in history] == [
        *("RUNNING", "RETRYING", "RUNNING", "RETRYING", "RUNNING", "COMPLETED")
    ]


# --- failures ---------------------------------------------------------------------------------------------


def test_fail_fast_leaves_all_that_never_started_pending() -> None:
    flow = Workflow("w").add_task("a", boom)
    flow.add_task("b", int, dependencies=["a"]).add_task("c", int, dependencies=["b"])
    results = flow.run()
    assert statuses(flow) == {"a": "failed", "b": "pending", "c": "pending"}
    assert results["c"] == TaskResult(False, attempts=0)


def test_fail_fast_lets_running_siblings_finish() -> None:
    failed = threading.Event()

    def look(name: str, status: str, details: dict[str, Any]) -> None:
        if (name, status) == ("bad", "failed"):
            failed.set()

    flow = Workflow("w", progress_callback=look)

    async def bad() -> None:
        await asyncio.sleep(0)
        raise ValueError("boom")

    async def good() -> bool:
        while not failed.is_set():  # and whoever is cancelled at the failure never gets beyond this
            await asyncio.sleep(0)
        return True

    flow.add_task("bad", bad).add_task("good", good).add_task("later", int, dependencies=["good"])
    results = flow.run()
    assert results["good"].value is True
    assert statuses(flow) == {"bad": "failed", "good": "completed", "later": "pending"}


def test_without_fail_fast_all_goes_on_and_dependants_are_skipped_transitively() -> None:
    seen = Seen()
    flow = Workflow("w", fail_fast=False, progress_callback=seen)
    flow.add_task("a", boom).add_task("b", int, dependencies=["a"]).add_task("c", int, dependencies=["b"])
    flow.add_task("other", lambda: 1)
    results = flow.run()
    assert statuses(flow) == {"a": "failed", "b": "skipped", "c": "skipped", "other": "completed"}
    assert seen.details("b", "skipped") == seen.details("c", "skipped") == {"reason": "dependency_failed"}
    assert (results["c"].success, results["c"].error, results["c"].attempts) == (
        False,
        "dependency_failed",
        0,
    )


def test_timeout_text_and_that_a_timeout_is_tried_again() -> None:
    release = threading.Event()
    seen = Seen()
    flow = Workflow("w", progress_callback=seen)
    policy = RetryPolicy(max_attempts=2, initial_delay=0.0)
    flow.add_task("a", release.wait, [LONG], timeout=0.05, retry_policy=policy)
    result = flow.run()["a"]
    release.set()
    assert (result.error, result.attempts) == ("Task 'a' timed out after 0.05s", 2)
    assert seen.details("a", "retrying")["error"] == "Task 'a' timed out after 0.05s"


def test_timeout_of_an_async_task() -> None:
    cancelled = []

    async def slow() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    result = Workflow("w").add_task("a", slow, timeout=0.05).run()["a"]
    assert result.error == "Task 'a' timed out after 0.05s"
    assert cancelled


@pytest.mark.parametrize("is_async", [False, True])
def test_the_workflow_timeout_interrupts_a_running_batch_and_raises(is_async: bool) -> None:
    release = threading.Event()

    async def slow() -> None:
        await asyncio.sleep(LONG)

    seen = Seen()
    flow = Workflow("w", timeout=0.05, fail_fast=False, progress_callback=seen)
    flow.add_task("a", slow if is_async else release.wait, [] if is_async else [LONG])
    flow.add_task("b", int, dependencies=["a"])
    with pytest.raises(WorkflowError) as caught:
        flow.run()
    release.set()
    assert str(caught.value) == "Workflow timeout after 0.05s"
    assert flow.tasks["a"].status is TaskStatus.FAILED
    assert flow.tasks["a"].execution_time < LONG / 3
    assert list(flow.task_results) == ["a", "b"]
    assert seen[-1][:2] == ("workflow", "completed")


def test_the_smaller_of_timeout_and_deadline_holds() -> None:
    async def slow() -> None:
        await asyncio.sleep(LONG)

    flow = Workflow("w", timeout=LONG).add_task("a", slow)
    with pytest.raises(WorkflowError, match=r"^Workflow timeout after 0\.05s$"):
        flow.run(options=RunOptions(deadline=0.05))


def test_a_workflow_within_its_timeout_does_not_raise() -> None:
    assert Workflow("w", timeout=LONG).add_task("a", int).run()["a"].success


# --- cancel -----------------------------------------------------------------------------------------------


def test_cancel_from_a_task_fails_what_runs_and_leaves_the_rest_pending() -> None:
    seen = Seen()
    flow = Workflow("w", fail_fast=False, progress_callback=seen)

    async def waits() -> None:
        await asyncio.sleep(LONG)

    async def cancels() -> None:
        flow.cancel("enough")
        await asyncio.sleep(LONG)

    flow.add_task("a", waits).add_task("b", cancels).add_task("c", int, dependencies=["a"])
    results = flow.run()
    assert statuses(flow) == {"a": "failed", "b": "failed", "c": "pending"}
    assert results["a"].error == "Task 'a' was cancelled"
    assert seen.details("a", "failed") == {"error": "Task 'a' was cancelled"}


def test_cancel_from_another_thread_ends_a_wait_for_a_retry() -> None:
    flow = Workflow("w")

    def look(name: str, status: str, details: dict[str, Any]) -> None:
        if status == "retrying":
            threading.Thread(target=flow.cancel).start()

    flow.progress_callback = look
    flow.add_task("a", boom, retry_policy=RetryPolicy(initial_delay=LONG))
    assert flow.run()["a"].error == "Task 'a' was cancelled"


def test_cancel_without_a_run_does_nothing() -> None:
    flow = Workflow("w").add_task("a", int)
    flow.cancel()
    assert flow.run()["a"].success
    flow.cancel()


def test_a_cancelled_caller_of_arun_cancels_the_run() -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def slow() -> None:
            started.set()
            await asyncio.sleep(LONG)

        flow = Workflow("w").add_task("a", slow)
        task = asyncio.ensure_future(flow.arun())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert flow.task_results["a"].error == "Task 'a' was cancelled"
        with pytest.raises(WorkflowError):  # it can run again
            flow.run(options=RunOptions(deadline=0.01))

    asyncio.run(main())


# --- conditions -------------------------------------------------------------------------------------------


def test_a_false_condition_skips_the_task_and_its_dependants() -> None:
    seen = Seen()
    flow = Workflow("w", progress_callback=seen).add_task("a", lambda: 1)
    flow.add_task("b", int, dependencies=["a"], condition=lambda results: results["a"].value > 1)
    flow.add_task("c", lambda b=5: b, dependencies=["b"])
    flow.add_task("d", int, dependencies=["c"])
    results = flow.run()
    assert statuses(flow) == {"a": "completed", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert seen.details("b", "skipped") == {"reason": "condition_false"}
    assert seen.details("c", "skipped") == seen.details("d", "skipped") == {"reason": "dependency_skipped"}
    assert (results["b"].success, results["d"].error) == (False, "dependency_skipped")


@pytest.mark.parametrize("runner", ["inline", "threads", None])
def test_a_condition_sees_the_results_so_far(runner: str | None) -> None:
    asked: list[dict[str, TaskResult]] = []

    def ask(results: dict[str, TaskResult]) -> bool:
        asked.append(dict(results))
        return results["b"].success and results["b"].attempts == 2

    flow = Workflow("w").add_task("a", lambda: 1)
    flow.add_task("b", failing(1), dependencies=["a"], retry_policy=QUICK)
    flow.add_task("c", int, dependencies=["b"], condition=ask)
    assert flow.run(runner=runner)["c"].success
    assert {name: one.value for name, one in asked[0].items()} == {"a": 1, "b": "done"}
    assert asked[0]["b"] == flow.task_results["b"]


def test_a_condition_without_dependencies_and_an_async_one() -> None:
    async def ask(results: dict[str, TaskResult]) -> bool:
        await asyncio.sleep(0)
        return "a" in results

    flow = Workflow("w").add_task("a", int, condition=lambda results: results == {})
    flow.add_task("b", int, dependencies=["a"], condition=ask)
    assert all(result.success for result in flow.run().values())


def test_a_truthy_answer_of_a_condition_is_a_yes() -> None:
    flow: Any = Workflow("w").add_task("a", lambda: [1])
    flow.add_task("b", int, dependencies=["a"], condition=lambda results: results["a"].value)
    flow.add_task("c", int, dependencies=["a"], condition=lambda results: results.get("none"))
    flow.run()
    assert statuses(flow) == {"a": "completed", "b": "completed", "c": "skipped"}


def test_should_run_says_no_where_the_condition_raises_and_a_run_fails_the_task() -> None:
    task = Task("a", int, condition=boom)
    assert task.should_run({}) is False
    assert Task("b", int).should_run({}) is True
    assert (
        Task("b", int, condition=lambda results: "x" in results).should_run({"x": TaskResult(True)}) is True
    )
    result = Workflow("w").add(task).run()["a"]
    assert task.status is TaskStatus.FAILED
    assert result.attempts == 0
    assert result.error == "the condition of task 'a' failed: ValueError: boom"


def test_a_failed_and_a_skipped_dependency_count_as_failed_and_nothing_waits_for_ever() -> None:
    seen = Seen()
    flow = Workflow("w", fail_fast=False, progress_callback=seen)
    flow.add_task("bad", boom).add_task("no", int, condition=lambda results: False)
    flow.add_task("both", int, dependencies=["no", "bad"])
    flow.run()
    assert seen.details("both", "skipped") == {"reason": "dependency_failed"}


# --- progress ---------------------------------------------------------------------------------------------


def test_progress_of_a_whole_run() -> None:
    seen = Seen()
    flow = Workflow("w", fail_fast=False, progress_callback=seen)
    flow.add_task("a", failing(1), retry_policy=QUICK)
    flow.add_task("b", boom, dependencies=["a"])
    flow.add_task("c", int, dependencies=["b"])
    flow.run()
    assert [one[:2] for one in seen] == [
        *(("workflow", "started"), ("a", "running"), ("a", "retrying"), ("a", "running")),
        *(("a", "completed"), ("b", "running"), ("b", "failed"), ("c", "skipped"), ("workflow", "completed")),
    ]
    assert seen[0][2] == {"total_tasks": 3}
    assert seen[1][2] == {}
    assert seen[2][2] == {"attempt": 1, "delay": 0.001, "error": "failure with 0 to come"}
    completed = seen.details("a", "completed")
    assert completed == {"execution_time": flow.tasks["a"].execution_time, "attempts": 2}
    assert seen.details("b", "failed") == {"error": "boom"}
    end = seen.details("workflow", "completed")
    assert end.pop("elapsed") >= 0
    assert end == {"completed": 1, "failed": 1, "skipped": 1}


def test_progress_is_told_at_once_when_it_happens() -> None:
    told = threading.Event()

    def look(name: str, status: str, details: dict[str, Any]) -> None:
        if (name, status) == ("quick", "completed"):
            told.set()

    flow = Workflow("w", progress_callback=look)
    flow.add_task("quick", int).add_task("slow", told.wait, [LONG])
    assert flow.run()["slow"].value is True


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_of_the_callback_is_logged_and_harmless(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def look(name: str, status: str, details: dict[str, Any]) -> None:
        raise error("from the callback")

    flow = Workflow("w", progress_callback=look).add_task("a", int).add_task("b", int, dependencies=["a"])
    with caplog.at_level(logging.ERROR, logger="penstock.dialects.workflow"):
        results = flow.run()
    assert all(result.success for result in results.values())
    assert statuses(flow) == {"a": "completed", "b": "completed"}
    assert len(caplog.records) == 6
    assert "progress_callback of workflow 'w' raised" in caplog.text


def test_the_summary_counts_and_names() -> None:
    flow = Workflow("w", fail_fast=False).add_task("a", int).add_task("b", boom)
    flow.add_task("c", int, dependencies=["b"])
    assert flow.get_summary()["pending"] == 3
    flow.run()
    summary = flow.get_summary()
    assert {key: summary[key] for key in ("name", "total_tasks", "completed", "failed", "skipped")} == {
        **{"name": "w", "total_tasks": 3},
        **{"completed": 1, "failed": 1, "skipped": 1},
    }
    assert summary["success"] is False
    assert summary["elapsed"] >= 0
    assert summary["tasks"]["b"]["error"] == "boom"
    done = Workflow("w").add_task("a", int).add_task("b", int, condition=lambda results: False)
    done.run()
    assert done.get_summary()["success"] is True


# --- graphs -----------------------------------------------------------------------------------------------


def test_an_unknown_dependency_is_named_by_validate_and_run_and_nothing_starts() -> None:
    ran: list[int] = []
    flow = Workflow("w").add_task("first", lambda: ran.append(1)).add_task("a", int, dependencies=["z"])
    for call in (flow.validate, flow.run):
        with pytest.raises(WorkflowError) as caught:
            call()
        assert str(caught.value) == "Task 'a' depends on unknown task 'z'"
        assert isinstance(caught.value, ValueError)
    assert not ran
    with pytest.raises(WorkflowError, match="did you mean 'fetch'"):
        Workflow("w").add_task("fetch", int).add_task("b", int, dependencies=["fetsh"]).validate()


def test_a_circle_is_written_out_by_validate_and_run() -> None:
    flow = Workflow("w").add_task("a", int, dependencies=["b"]).add_task("b", int, dependencies=["a"])
    for call in (flow.validate, flow.run):
        with pytest.raises(CycleError) as caught:
            call()
        assert str(caught.value) == "Circular dependency detected: a -> b -> a"
        assert isinstance(caught.value, WorkflowError)
        assert caught.value.cycle == ("a", "b", "a")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(CycleError, match="detected: a -> a"):
        Workflow("w").add_task("a", int, dependencies=["a"]).validate()


def test_a_name_is_there_once() -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow("w").add_task("a", int).add_task("a", int)
    assert str(caught.value) == "Task 'a' already exists in workflow."


def test_a_dependency_may_be_added_later_and_named_twice() -> None:
    flow = Workflow("w").add_task("b", lambda a: a, dependencies=["a", "a"]).add_task("a", lambda: 1)
    flow.validate()
    assert isinstance(flow.graph(), Graph)
    assert flow.graph().shape() == (("b", ("a",)), ("a", ()))
    assert flow.run()["b"].value == 1


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: untyped.Workflow("w").add_task("a", int, timeot=3),
            "no option 'timeot'; did you mean 'timeout'",
        ),
        (lambda: untyped.Task("a", 3), "action must be callable, not 3"),
        (
            lambda: untyped.Task("a", int, dependencies="b"),
            r"dependencies is a list, not 'b'; say dependencies=\['b'\]",
        ),
        (lambda: untyped.Task("a", int, args="xy"), "args is a list"),
        (lambda: untyped.Task("a", int, args=3), "args is a list"),
        (lambda: untyped.Task("a", int, kwargs=[1]), "kwargs is a dict"),
        (lambda: untyped.Task("a", int, metadata=[1]), "metadata is a dict"),
        (lambda: untyped.Task("a", int, retry_policy=3), "retry_policy is a RetryPolicy, not 3"),
        (lambda: untyped.Task("a", int, condition=True), "condition must be callable"),
        (lambda: untyped.Task("a", int, transform_result=1), "transform_result must be callable"),
        (lambda: untyped.Workflow("w").add("a"), "add takes a Task, not 'a'"),
        (lambda: untyped.Workflow("w", progress_callback=3), "progress_callback must be callable"),
        (lambda: untyped.chain(3), "chain takes functions and Tasks, not 3"),
        (lambda: untyped.fan_out_fan_in(int, sum), "fan_out_fan_in takes a list of actions"),
        (lambda: untyped.fan_out_fan_in("ab", sum), "fan_out_fan_in takes a list of actions"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: untyped.Task("", int), "the name of a task is empty"),
        (lambda: untyped.Task(None, int), "the name of a task must be a str"),
        (lambda: untyped.Workflow("w").add_task("", int), "the name of a task is empty"),
        (lambda: untyped.Workflow(""), "the name of a workflow is empty"),
        (lambda: untyped.Task("a", int, timeout=0), "Task 'a': timeout must be more than 0 s"),
        (lambda: untyped.Task("a", int, timeout="3"), "say timeout=3"),
        (lambda: untyped.Workflow("w", timeout=-1), "timeout must be more than 0 s"),
        (lambda: untyped.Workflow("w", max_concurrent=0), "max_concurrent must be an int of at least 1"),
        (lambda: untyped.Workflow("w", max_concurrent=True), "max_concurrent must be an int"),
        (lambda: untyped.Workflow("w").run(options=3), "options takes RunOptions"),
        (lambda: untyped.Workflow("w").add_task("a", int).run(runner="treads"), "did you mean 'threads'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_an_async_callback_is_refused_for_nobody_would_await_it() -> None:
    async def look(name: str, status: str, details: dict[str, Any]) -> None: ...

    with pytest.raises(TypeError, match="called, and never awaited"):
        Workflow("w", progress_callback=look)


def test_an_unknown_task_has_no_result_and_one_that_has_not_run_has_none_yet() -> None:
    flow = Workflow("w").add_task("fetch", int)
    assert flow.get_task_result("fetch") is None
    with pytest.raises(WorkflowError, match="no task 'fetsh' in workflow; did you mean 'fetch'"):
        flow.get_task_result("fetsh")


def test_arguments_that_do_not_fit_fail_the_task() -> None:
    result = Workflow("w").add_task("a", lambda x: x).run()["a"]
    assert result.error is not None
    assert "missing 1 required positional argument: 'x'" in result.error


# --- helpers ----------------------------------------------------------------------------------------------


def load() -> list[int]:
    return [3, 1, 2]


def test_chain_hands_on_by_name_or_to_the_one_argument_that_is_missing() -> None:
    flow = chain(load, lambda load: sorted(load), lambda value, more=1: [*value, more], len)
    results = flow.run()
    assert flow.name == "chain"
    assert list(results) == ["load", "task_2", "task_3", "len"]
    assert [result.value for result in results.values()] == [[3, 1, 2], [1, 2, 3], [1, 2, 3, 1], 4]
    assert flow.graph().shape() == (
        *(("load", ()), ("task_2", ("load",))),
        *(("task_3", ("task_2",)), ("len", ("task_3",))),
    )


def test_chain_of_async_functions_and_of_those_that_ask_for_nothing() -> None:
    async def first() -> int:
        return 1

    async def second(value: int) -> int:
        return value + 1

    results = chain(first, second, load, name="mixed").run()
    assert [result.value for result in results.values()] == [1, 2, [3, 1, 2]]


def test_parallel_has_no_edges_and_gives_every_action_a_name() -> None:
    flow = parallel(load, load, lambda: 1, name="p")
    assert flow.graph().shape() == (("load", ()), ("load_2", ()), ("task_3", ()))
    assert [result.value for result in flow.run().values()] == [[3, 1, 2], [3, 1, 2], 1]


def test_fan_out_fan_in_collects_by_name_by_list_or_from_the_results() -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    assert fan_out_fan_in([one, two], sum).run()["sum"].value == 3
    assert fan_out_fan_in([two, one], lambda values: values).run()["task_3"].value == [2, 1]
    assert fan_out_fan_in([one, two], lambda two, one: (one, two)).run()["task_3"].value == (1, 2)
    flow = fan_out_fan_in([one, two], lambda _task_results: sorted(_task_results))
    assert flow.run()["task_3"].value == ["one", "two"]
    assert flow.graph().shape() == (("one", ()), ("two", ()), ("task_3", ("one", "two")))
    assert fan_out_fan_in([one], lambda values: values).run()["task_2"].value == [1]


def test_helpers_take_tasks_and_leave_them_as_they_are() -> None:
    first = Task("first", lambda: 1)
    last = Task("last", lambda first, extra: first + extra, dependencies=["extra"])
    flow = chain(first, last)
    flow.add_task("extra", lambda: 10)
    assert flow.run()["last"].value == 11
    assert list(last.dependencies) == ["extra"]
    assert chain(last, first).tasks["first"].dependencies == ["last"]
    with pytest.raises(WorkflowError, match="already exists"):
        parallel(first, first)


def test_a_diamond_with_a_condition_and_a_retry() -> None:
    flow = Workflow("diamond").add_task("a", lambda: 1)
    flow.add_task("b", failing(1, 10), dependencies=["a"], retry_policy=QUICK)
    flow.add_task("c", lambda a: a + 20, dependencies=["a"], condition=lambda results: True)
    flow.add_task("d", lambda b, c: b + c, dependencies=["b", "c"])
    assert flow.run()["d"].value == 31
