"""Workflows: the rows of the contract on what tasks are given, time, progress, errors and helpers."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from penstock import RunOptions
from penstock.core.errors import PenstockError
from penstock.dialects.workflow import (
    CycleError,
    RetryPolicy,
    TaskFailedError,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    chain,
    fan_out_fan_in,
    parallel,
)
from penstock.testing import FakeClock, stand_ins

from .parts_bound import BOUND, bounded, doing, failing, raising
from .parts_workflow import QUICK, Seen, flow_of, forever, nothing, results_of, states, task

# ----------------------------------------------------------------------------------------------------------
# "A parameter named like a dependency gets its value; _task_results …; otherwise only args/kwargs"
# ----------------------------------------------------------------------------------------------------------


class Holder:
    def method(self, a: Any) -> Any:
        return a

    @staticmethod
    def static(a: Any) -> Any:
        return a

    @classmethod
    def of_class(cls, a: Any) -> Any:
        return a

    def __call__(self, a: Any) -> Any:
        return a


class Made:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return self.a == other

    __hash__ = None  # type: ignore[assignment]


def plain(a: Any) -> Any:
    return a


@functools.wraps(plain)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return plain(*args, **kwargs)


async def awaited(a: Any) -> Any:
    return a


def only_by_position(a: Any, /) -> Any:
    return a


TAKERS: list[Any] = [
    *(plain, wrapped, awaited, Holder().method, Holder.static, Holder.of_class, Holder(), Made),
    *(lambda *, a: a, lambda a="default": a, lambda x=0, *, a="default": a),
    *(
        functools.partial(lambda x, a: a, 0),
        functools.partial(lambda a, x: a, x=0),
        functools.partial(awaited),
    ),
    pytest.param(only_by_position),
]


@pytest.mark.parametrize("action", TAKERS)
@pytest.mark.parametrize("runner", [None, "inline"])
def test_row_result_passing_by_name_to_every_kind_of_action(action: Any, runner: str | None) -> None:
    results = results_of(task("a", lambda: 4), task("b", action, "a"), runner=runner)
    assert (results["b"].error, results["b"].value == 4) == (None, True)


@pytest.mark.parametrize("value", [None, ValueError("a value"), NotImplemented, TaskResult(False), {"a": 1}])
def test_row_result_passing_hands_on_any_value_as_it_is(value: Any) -> None:
    assert results_of(task("a", lambda: value), task("b", plain, "a"))["b"].value is value


def test_row_result_passing_a_name_that_is_no_dependency_gets_nothing() -> None:
    tasks = task("a", lambda: 4), task("b", nothing, "a"), task("c", lambda b, a="mine": (a, b), "b")
    assert results_of(*tasks)["c"].value == ("mine", 1)
    for action in (
        lambda **kwargs: kwargs,
        lambda *args: args,
        Mock(return_value=()),
        AsyncMock(return_value=()),
    ):
        assert not results_of(task("a"), task("b", action, "a"))["b"].value


@pytest.mark.parametrize(
    "action", [lambda _task_results: _task_results, lambda x=0, *, _task_results: _task_results]
)
def test_row_result_passing_task_results_holds_what_has_ended_so_far(action: Any) -> None:
    tasks = task("a"), task("no", condition=lambda results: False), task("bad", raising(ValueError("why")))
    results = results_of(*tasks, task("last", action, "a"), fail_fast=False, max_concurrent=1)
    found = results["last"].value
    assert isinstance(found, dict)
    assert found["a"] == results["a"] == TaskResult(True, 1, None, results["a"].execution_time, 1)
    assert {name: result for name, result in found.items() if name != "last"}.items() <= results.items()


def test_row_result_passing_what_a_task_does_to_task_results_is_its_own_affair() -> None:
    def meddle(_task_results: dict[str, TaskResult]) -> None:
        _task_results["a"].value, _task_results["a"].success = "changed", False
        _task_results.clear()

    def ask(results: dict[str, TaskResult]) -> bool:
        found = results["a"].value == 1
        results.clear()
        return found

    tasks = task("a"), task("b", meddle, "a"), task("c", plain, "a", "b", condition=ask)
    results = results_of(*tasks, task("d", lambda _task_results: sorted(_task_results), "c"))
    assert (results["a"].value, results["a"].success, results["c"].value) == (1, True, 1)
    assert results["d"].value == ["a", "b", "c"]


# ----------------------------------------------------------------------------------------------------------
# "condition(results) …; false -> SKIPPED, and dependants are SKIPPED …; transitively. No deadlock error"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_fast", [True, False])
def test_row_skipped_reasons_are_told_once_per_task_and_are_the_error_of_the_result(fail_fast: bool) -> None:
    seen = Seen()
    tasks = [task("no", condition=lambda results: False)]
    tasks += [task(f"t{at}", nothing, f"t{at - 1}" if at else "no") for at in range(30)]
    results = results_of(*tasks, progress_callback=seen, fail_fast=fail_fast)
    reasons = {name: result.error for name, result in results.items()}
    assert reasons == {"no": "condition_false"} | {f"t{at}": "dependency_skipped" for at in range(30)}
    assert [seen.of(name) for name in results] == [
        [("skipped", {"reason": reason})] for reason in reasons.values()
    ]


def test_row_a_condition_gets_a_dict_of_task_results_of_all_that_ended() -> None:
    asked: list[dict[str, TaskResult]] = []
    tasks = (
        task("a"),
        task("bad", raising(ValueError("why")), "a"),
        task("b", nothing, "a"),
        task("c", nothing, "b"),
    )
    tasks[3].condition = doing(lambda results: asked.append(dict(results)), lambda results: True)
    results = results_of(*tasks, fail_fast=False, max_concurrent=1)
    assert isinstance(asked[0], dict)
    assert asked[0]["a"] == results["a"]
    assert asked[0].items() <= results.items()
    assert len(asked) == 1


# ----------------------------------------------------------------------------------------------------------
# "Timeout text …; the workflow's own timeout interrupts a running batch and raises WorkflowError(…)"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "text"), [(0.05, "0.05s"), (1, "1s"), (2.50, "2.5s")])
def test_row_timeout_texts_name_the_seconds_as_they_were_given(seconds: float, text: str) -> None:
    clock = FakeClock(patience=0.0)

    async def slow() -> None:
        await clock.asleep(100)

    with stand_ins(clock=clock):
        flow = flow_of(task("a", slow, timeout=seconds))
        assert flow.run()["a"].error == f"Task 'a' timed out after {text}"
        with pytest.raises(WorkflowError) as caught:
            flow_of(task("a", slow), timeout=seconds).run()
    assert str(caught.value) == f"Workflow timeout after {text}"


@pytest.mark.parametrize("is_async", [False, True])
def test_row_workflow_timeout_ends_a_wait_for_a_retry_and_leaves_the_rest_pending(is_async: bool) -> None:
    policy = RetryPolicy(initial_delay=10 * BOUND, max_delay=10 * BOUND)
    tasks = (
        task("a", forever),
        task("b", nothing, "a"),
        task("done"),
        task("again", raising(ValueError), retry_policy=policy),
    )
    flow = flow_of(*tasks, timeout=0.2, fail_fast=False)
    with pytest.raises(WorkflowError, match=r"^Workflow timeout after 0\.2s$"):
        bounded(lambda: asyncio.run(flow.arun()) if is_async else flow.run())
    assert {name: state for name, state in states(flow).items() if name in ("a", "done")} == {
        "a": "FAILED",
        "done": "COMPLETED",
    }
    assert flow.tasks["again"].status is TaskStatus.FAILED
    assert flow.task_results["done"].value == 1
    assert list(flow.task_results) == ["a", "b", "done", "again"]
    assert "RUNNING" not in states(flow).values()


def test_row_workflow_timeout_runs_anew_in_every_run() -> None:
    flow = flow_of(task("a", forever), timeout=0.05)
    for _ in range(2):
        with pytest.raises(WorkflowError, match="Workflow timeout"):
            bounded(flow.run)
    flow.tasks["a"].action = nothing
    flow.timeout = BOUND
    assert bounded(flow.run)["a"].value == 1


# ----------------------------------------------------------------------------------------------------------
# "progress_callback(task_name, status, details) …"
# ----------------------------------------------------------------------------------------------------------


def test_row_progress_details_of_every_status() -> None:
    seen = Seen()
    tasks = [
        task("good", failing(1), retry_policy=QUICK),
        task("bad", raising(ValueError("why"))),
        task("no", condition=lambda results: False),
        task("below", nothing, "bad"),
    ]
    flow = flow_of(*tasks, fail_fast=False, progress_callback=seen)
    flow.run()
    assert [status for status, _ in seen.of("good")] == ["running", "retrying", "running", "completed"]
    assert set(seen.of("good")[1][1]) == {"attempt", "delay", "error"}
    assert set(seen.of("good")[3][1]) == {"execution_time", "attempts"}
    assert seen.of("bad") == [("running", {}), ("failed", {"error": "why"})]
    assert seen.of("no") == [("skipped", {"reason": "condition_false"})]
    assert seen.of("below") == [("skipped", {"reason": "dependency_failed"})]
    (started, ended) = seen.of("workflow")
    assert started == ("started", {"total_tasks": 4})
    assert {key: value for key, value in ended[1].items() if key != "elapsed"} == {
        "completed": 1,
        "failed": 1,
        "skipped": 2,
    }
    assert 0 <= ended[1]["elapsed"] <= flow.get_summary()["elapsed"]
    assert (seen[0][0], seen[-1][0]) == ("workflow", "workflow")


@pytest.mark.parametrize("status", ["failed", "completed", "retrying", "skipped", "running"])
def test_row_progress_is_told_at_once_while_another_task_still_runs(status: str) -> None:
    told = threading.Event()

    def look(name: str, said: str, details: dict[str, Any]) -> None:
        if (name, said) == ("quick", status):
            told.set()

    quick = {
        "failed": lambda: task("quick", raising(ValueError)),
        "completed": lambda: task("quick"),
        "retrying": lambda: task("quick", failing(1), retry_policy=QUICK),
        "skipped": lambda: task("quick", condition=lambda results: False),
        "running": lambda: task("quick", told.wait, args=[BOUND]),
    }[status]()
    flow = flow_of(quick, task("slow", told.wait, args=[BOUND]), progress_callback=look)
    assert bounded(flow.run)["slow"].value is True


def test_row_progress_of_a_workflow_that_ends_badly_still_ends_with_completed() -> None:
    seen = Seen()
    flow = flow_of(task("a", forever), progress_callback=seen, timeout=0.02)
    with pytest.raises(WorkflowError):
        flow.run()
    assert [status for status, _ in seen.of("a")] == ["running", "failed"]
    assert seen[-1][:2] == ("workflow", "completed")
    seen.clear()
    Workflow("w", progress_callback=seen).run()
    assert [each[1] for each in seen] == ["started", "completed"]


def test_row_progress_a_callback_may_cancel_and_look_and_cannot_change_what_is_told(caplog: Any) -> None:
    def look(name: str, status: str, details: dict[str, Any]) -> None:
        flow.get_summary()
        flow.validate()
        details.clear()
        if (name, status) == ("a", "completed"):
            flow.cancel()

    tasks = task("a"), *(task(f"b{at}", nothing, f"b{at - 1}" if at else "a") for at in range(50))
    flow = flow_of(*tasks, progress_callback=look)
    with caplog.at_level(logging.ERROR):
        results = bounded(flow.run)
    assert (flow.tasks["a"].status, flow.tasks["b49"].status) == (TaskStatus.COMPLETED, TaskStatus.PENDING)
    assert (results["a"].attempts, caplog.records) == (1, [])


# ----------------------------------------------------------------------------------------------------------
# "WorkflowError is the base; …"
# ----------------------------------------------------------------------------------------------------------


def test_row_errors_have_workflow_error_for_their_base() -> None:
    assert issubclass(CycleError, WorkflowError)
    assert issubclass(TaskFailedError, WorkflowError)
    assert issubclass(WorkflowError, PenstockError)
    flow = flow_of(task("a"))
    for call in (
        lambda: flow.add(task("a")),
        lambda: flow.get_task_result("b"),
        lambda: parallel(flow.tasks["a"], task("a")),
    ):
        with pytest.raises(WorkflowError):
            call()


@pytest.mark.parametrize("how", ["validate", "run", "arun"])
def test_row_errors_of_the_graph_are_raised_by_validate_run_and_arun_and_nothing_starts(how: str) -> None:
    ran: list[int] = []
    calls: dict[str, Any] = {
        "validate": lambda flow: flow.validate(),
        "run": lambda flow: flow.run(),
        "arun": lambda flow: asyncio.run(flow.arun()),
    }
    seen = Seen()
    for tasks, text in (
        ([task("a", nothing, "z")], "Task 'a' depends on unknown task 'z'"),
        ([task("a", nothing, "b"), task("b", nothing, "a")], "Circular dependency detected: a -> b -> a"),
        ([task("a", nothing, "a")], "Circular dependency detected: a -> a"),
    ):
        flow = flow_of(task("fine", lambda: ran.append(1)), *tasks, progress_callback=seen)
        with pytest.raises(WorkflowError) as caught:
            bounded(functools.partial(calls[how], flow))
        assert str(caught.value) == text
        assert set(states(flow).values()) == {"PENDING"}
    assert (ran, seen) == ([], [])


# ----------------------------------------------------------------------------------------------------------
# "chain(*actions, name=…), parallel(…), fan_out_fan_in(actions, collect, name=…) take callables or Tasks"
# ----------------------------------------------------------------------------------------------------------


def test_row_helpers_signatures_and_what_they_give() -> None:
    assert [
        inspect.signature(helper).parameters["name"].default for helper in (chain, parallel, fan_out_fan_in)
    ] == [
        "chain",
        "parallel",
        "fan_out_fan_in",
    ]
    for made in (
        chain(nothing, name="n"),
        parallel(nothing, name="n"),
        fan_out_fan_in([nothing], sum, name="n"),
    ):
        assert (type(made), made.name) == (Workflow, "n")
    assert [made.run() for made in (chain(), parallel())] == [{}, {}]


def test_row_helpers_take_tasks_with_all_their_options() -> None:
    first = task("first", failing(1, 5), retry_policy=QUICK, transform_result=str)
    maybe = task("maybe", lambda first: first + "!", condition=lambda results: results["first"].value == "5")
    assert chain(first, maybe).run()["maybe"].value == "5!"
    fan = fan_out_fan_in([task("x", lambda: 1), lambda: 2], task("y", lambda x, task_2: (x, task_2)))
    assert fan.run()["y"].value == (1, 2)
    assert (first.status, list(maybe.dependencies)) == (TaskStatus.PENDING, [])


@pytest.mark.parametrize(
    "actions",
    [
        [nothing, nothing],
        (nothing, nothing),
        (each for each in (nothing, nothing)),
        {1: nothing, 2: nothing}.values(),
    ],
)
def test_row_helpers_fan_out_takes_every_iterable_of_actions(actions: Any) -> None:
    assert fan_out_fan_in(actions, sum).run()["sum"].value == 2


@pytest.mark.parametrize("collect", [sum, len, lambda values: len(values), AsyncMock(return_value=0)])
def test_row_helpers_an_async_or_plain_collect_gets_the_list(collect: Any) -> None:
    flow = fan_out_fan_in([nothing, nothing], collect)
    assert list(flow.run().values())[-1].success


@pytest.mark.parametrize("collect", [len, sum, lambda values: len(values)])
def test_row_helpers_a_fan_of_no_actions_collects_the_empty_list(collect: Any) -> None:
    (result,) = fan_out_fan_in([], collect).run().values()
    assert (result.error, result.value) == (None, 0)


def test_row_helpers_a_failure_in_a_fan_is_that_of_its_task() -> None:
    flow = fan_out_fan_in([nothing, raising(ValueError("why"))], sum)
    results = flow.run()
    assert [result.error for result in results.values()] == [None, "why", None]
    assert list(states(flow).values()) == ["COMPLETED", "FAILED", "PENDING"]


# ----------------------------------------------------------------------------------------------------------
# "Runner = the engine; Discovery = penstock.discovery …; Config = penstock.config …"
# ----------------------------------------------------------------------------------------------------------


def test_row_the_runner_is_the_engine_its_options_count_and_its_events_are_seen() -> None:
    told: list[str] = []
    options = RunOptions(observers=[lambda event: told.append(type(event).__name__)])
    results_of(task("a"), task("b", nothing, "a"), options=options)
    assert (told[0], told[-1], told.count("NodeSucceeded")) == ("RunStarted", "RunFinished", 2)
