"""Workflows: odd input. Async for sync and the reverse, whatever is raised or returned, and sizes."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from penstock.dialects import workflow as dialect
from penstock.dialects.workflow import (
    CycleError,
    RetryPolicy,
    Task,
    TaskResult,
    Workflow,
    chain,
    fan_out_fan_in,
    parallel,
)
from penstock.testing import stand_ins

from .parts_bound import Answer, NoBool, Odd, bounded, failing, raising
from .parts_workflow import flow_of, nothing, results_of, states, task

untyped: Any = dialect  # for what a type checker would refuse

# ----------------------------------------------------------------------------------------------------------
# Sync where async is usual, and the reverse
# ----------------------------------------------------------------------------------------------------------


async def five(*_: Any) -> int:
    return 5


async def no(*_: Any) -> bool:
    return False


class Five:
    async def __call__(self, *_: Any) -> int:
        return 5

    async def method(self, *_: Any) -> int:
        return 5


class No:
    async def __call__(self, *_: Any) -> bool:
        return False


ASYNC = [
    five,
    functools.partial(five),
    Five(),
    functools.partial(Five()),
    Five().method,
    AsyncMock(return_value=5),
]


@pytest.mark.parametrize("function", ASYNC)
@pytest.mark.parametrize("is_async", [False, True])
def test_async_functions_of_every_kind_are_actions_and_conditions(function: Any, is_async: bool) -> None:
    flow = flow_of(task("a", function), task("b", function, "a", condition=function))
    results = bounded(lambda: asyncio.run(flow.arun()) if is_async else flow.run())
    assert [result.value for result in results.values()] == [5, 5]
    assert chain(function, name="c").run().popitem()[1].value == 5


@pytest.mark.parametrize(
    "condition", [no, functools.partial(no), No(), functools.partial(No()), lambda results: 0]
)
def test_async_conditions_of_every_kind_may_say_no(condition: Any) -> None:
    ran: list[int] = []
    assert results_of(task("a", lambda: ran.append(1), condition=condition))["a"].error == "condition_false"
    assert ran == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: task("a", lambda: five()),
        lambda: task("a", transform_result=five),
        lambda: task("a", transform_result=lambda value: five()),
        lambda: task("a", five, transform_result=lambda value: five()),
    ],
    ids=["action", "async transform", "transform", "transform of async"],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_bad_input_a_plain_function_that_gives_a_coroutine_fails_and_asks_for_await(
    make: Any, is_async: bool
) -> None:
    flow = flow_of(make(), task("b", nothing, "a"))
    bounded(lambda: asyncio.run(flow.arun()) if is_async else flow.run())
    assert states(flow) == {"a": "FAILED", "b": "PENDING"}
    assert "did you forget await?" in str(flow.tasks["a"].error)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", ["coroutine", "future", "object"])
def test_bad_input_a_plain_condition_that_gives_something_to_await_is_no_yes(
    kind: str, is_async: bool
) -> None:
    ran: list[int] = []

    def give(results: dict[str, TaskResult]) -> Any:
        if kind == "coroutine":
            return no()
        if kind == "object":
            return Answer()
        answer = asyncio.new_event_loop().create_future()
        answer.get_loop().close()
        return answer

    flow = flow_of(task("a", lambda: ran.append(1), condition=give))
    result = bounded(lambda: asyncio.run(flow.arun()) if is_async else flow.run())["a"]
    assert (ran, result.success, flow.tasks["a"].status.name in ("FAILED", "SKIPPED")) == ([], False, True)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("condition", [no, functools.partial(no), No(), lambda results: no()])
def test_bad_input_should_run_does_not_take_an_async_condition_for_a_yes(condition: Any) -> None:
    try:
        assert Task("a", nothing, condition=condition).should_run({}) is False
    except TypeError:
        pass  # that it cannot be asked here is as good an answer


@pytest.mark.parametrize("callback", ASYNC)
def test_bad_input_an_async_callback_of_every_kind_is_refused(callback: Any) -> None:
    with pytest.raises(TypeError, match="called, and never awaited"):
        Workflow("w", progress_callback=callback)


@pytest.mark.parametrize("mock", [Mock, MagicMock])
def test_mocks_are_actions_conditions_and_callbacks(mock: Any) -> None:
    callback, yes, says_no = mock(), mock(return_value=True), mock(return_value=False)
    tasks = task("a", mock(return_value=3), condition=yes), task("b", mock(), "a", condition=says_no)
    results = results_of(*tasks, progress_callback=callback)
    assert [result.value for result in results.values()] == [3, None]
    assert (yes.call_count, says_no.call_count, callback.call_count) == (1, 1, 5)


# ----------------------------------------------------------------------------------------------------------
# Conditions, callbacks, actions and transformations that raise, and odd answers
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("why"), SystemExit("why"), GeneratorExit("why"), Odd("why"), None]
)
def test_bad_input_a_condition_that_raises_fails_its_task_and_is_asked_once(
    error: Any, is_async: bool
) -> None:
    asked: list[int] = []

    def now(results: dict[str, TaskResult]) -> Any:
        asked.append(1)
        if error is not None:
            raise error
        return NoBool()

    async def later(results: dict[str, TaskResult]) -> Any:
        return now(results)

    policy = RetryPolicy(initial_delay=0.0)
    tasks = (
        task("a", condition=later if is_async else now, retry_policy=policy),
        task("b", nothing, "a"),
        task("c"),
    )
    flow = flow_of(*tasks, fail_fast=False)
    results = bounded(flow.run)
    assert states(flow) == {"a": "FAILED", "b": "SKIPPED", "c": "COMPLETED"}
    assert (results["a"].attempts, asked) == (0, [1])
    assert "condition of task 'a'" in str(results["a"].error)
    assert ("ambiguous" if error is None else "why") in str(results["a"].error)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit


ERRORS: list[tuple[BaseException, str]] = [
    (Mute(), "its text cannot be had"),
    (Exits(), "its text cannot be had"),
    (ValueError(), "ValueError"),
    (ValueError("x" * 100_000), "xxx"),
    (ValueError("\ud800"), "\ud800"),
    (ExceptionGroup("several", [ValueError("in it")]), "several"),
    *((error, "why") for error in (SystemExit("why"), GeneratorExit("why"), Odd("why"))),
]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("where", ["action", "async", "transform_result", "condition"])
def test_bad_input_whatever_is_raised_fails_the_task_with_a_text(error: Any, text: str, where: str) -> None:
    async def later() -> None:
        raise error

    made = {
        "action": lambda: task("a", raising(error)),
        "async": lambda: task("a", later),
        "transform_result": lambda: task("a", transform_result=raising(error)),
        "condition": lambda: task("a", condition=raising(error)),
    }[where]()
    seen: list[Any] = []
    flow = flow_of(
        made,
        task("b", nothing, "a"),
        task("c"),
        fail_fast=False,
        progress_callback=lambda *said: seen.append(said),
    )
    results = bounded(flow.run)
    assert states(flow) == {"a": "FAILED", "b": "SKIPPED", "c": "COMPLETED"}
    assert text in str(results["a"].error)
    assert ("a", "failed", {"error": results["a"].error}) in seen


@pytest.mark.parametrize("error", [GeneratorExit, Odd, asyncio.CancelledError])
@pytest.mark.parametrize("status", ["started", "running", "retrying", "completed", "failed", "skipped"])
def test_bad_input_whatever_the_callback_raises_and_whenever_it_is_logged_and_harmless(
    error: type[BaseException], status: str, caplog: pytest.LogCaptureFixture
) -> None:
    def look(name: str, said: str, details: dict[str, Any]) -> None:
        if said == status:
            raise error("from the callback")

    tasks = (
        task("good", failing(1), retry_policy=RetryPolicy(initial_delay=0.0)),
        task("bad", raising(ValueError("own"))),
        task("no", condition=lambda results: False),
    )
    flow = flow_of(*tasks, fail_fast=False, progress_callback=look)
    with caplog.at_level(logging.ERROR, logger="penstock.dialects.workflow"):
        results = bounded(flow.run)
    assert states(flow) == {"good": "COMPLETED", "bad": "FAILED", "no": "SKIPPED"}
    assert (results["good"].value, results["bad"].error) == ("done", "own")
    assert caplog.records


def test_bad_input_a_callback_that_takes_too_little_is_logged_and_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callback: Any = lambda name: None  # noqa: E731
    assert results_of(task("a"), progress_callback=callback)["a"].success
    assert len(caplog.records) == 4


@pytest.mark.parametrize(("kwargs", "args"), [({"no": 1}, []), ({1: 2}, []), ({}, [1, 2, 3])])
def test_bad_input_arguments_that_do_not_fit_fail_the_task(kwargs: Any, args: Any) -> None:
    result = results_of(task("a", lambda x=0: x, args=args, kwargs=kwargs))["a"]
    assert (result.success, bool(result.error)) == (False, True)


@pytest.mark.parametrize(
    "value",
    [
        ValueError("a value"),
        NotImplemented,
        math.nan,
        Ellipsis,
        type,
        b"x" * 5_000_000,
        NoBool(),
        TaskResult(False),
        iter(()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_object_may_be_a_value(value: Any) -> None:
    results = results_of(
        task("a", lambda: value),
        task("b", lambda a: a, "a"),
        task("c", lambda _task_results: _task_results["a"].value, "b"),
    )
    assert all(result.value is value for result in results.values())


def test_what_a_generator_function_gives_is_a_value_like_another() -> None:
    def numbers() -> Any:
        yield from (1, 2)

    assert results_of(task("a", numbers), task("b", lambda a: list(a), "a"))["b"].value == [1, 2]


# ----------------------------------------------------------------------------------------------------------
# Helpers
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 3, "ab", {"a": nothing}, {nothing: "a"}, nothing, task("a")])
def test_bad_input_a_non_list_into_a_fan_out(value: Any) -> None:
    with pytest.raises(TypeError, match="fan_out_fan_in takes a list of actions, not"):
        untyped.fan_out_fan_in(value, sum)


@pytest.mark.parametrize("value", [None, 3, "ab", [nothing], Workflow("w")])
def test_bad_input_what_is_neither_function_nor_task_into_a_helper(value: Any) -> None:
    for make in (
        lambda: untyped.chain(nothing, value),
        lambda: untyped.parallel(nothing, value),
        lambda: untyped.fan_out_fan_in([nothing, value], sum),
        lambda: untyped.fan_out_fan_in([nothing], value),
    ):
        with pytest.raises(TypeError, match="takes functions and Tasks, not"):
            make()


# ----------------------------------------------------------------------------------------------------------
# Sizes
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_a_thousand_tasks_in_a_chain_in_any_order(backwards: bool) -> None:
    tasks = [
        task(f"t{at}", lambda _task_results: len(_task_results), *[f"t{at - 1}"][:at]) for at in range(1000)
    ]
    results = results_of(*(tasks[::-1] if backwards else tasks))
    assert [results[f"t{at}"].value for at in range(1000)] == list(range(1000))


def test_a_thousand_tasks_side_by_side_and_a_chain_of_a_thousand() -> None:
    assert fan_out_fan_in([lambda at=at: at for at in range(1000)], sum).run()["sum"].value == sum(
        range(1000)
    )
    assert list(chain(lambda: 0, *[lambda value: value + 1] * 1000).run().values())[-1].value == 1000
    assert sum(result.value for result in parallel(*[nothing] * 1000).run().values()) == 1000


def test_a_failure_at_the_head_of_a_thousand_tasks() -> None:
    for fail_fast, wanted in ((True, "PENDING"), (False, "SKIPPED")):
        tasks = [
            task(f"t{at}", nothing if at else raising(ValueError), *[f"t{at - 1}"][:at]) for at in range(1000)
        ]
        flow = flow_of(*tasks, fail_fast=fail_fast)
        flow.run()
        assert list(states(flow).values()) == ["FAILED"] + [wanted] * 999


def test_a_circle_of_a_thousand_tasks_is_written_out() -> None:
    flow = flow_of(*(task(f"t{at}", nothing, f"t{(at + 1) % 1000}") for at in range(1000)))
    with pytest.raises(CycleError) as caught:
        flow.validate()
    assert len(caught.value.cycle) == 1001
    assert str(caught.value).count(" -> ") == 1000


def test_no_tasks() -> None:
    seen: list[Any] = []
    flow = Workflow("w", progress_callback=lambda *said: seen.append(said[:2]))
    assert (flow.run(), flow.task_results, flow.get_summary()["total_tasks"]) == ({}, {}, 0)
    assert seen == [("workflow", "started"), ("workflow", "completed")]
    flow.validate()


def test_retries_without_end_are_bounded_by_the_timeout_of_the_workflow() -> None:
    policy = RetryPolicy(max_attempts=10**9, initial_delay=1.0, max_delay=1.0)
    flow = flow_of(task("a", raising(ValueError("why")), retry_policy=policy), timeout=100.0)
    with stand_ins() as clock:
        result = flow.run()["a"]  # another attempt would be too late, which is known before the time is over
        assert clock() <= 100.0
    assert (result.success, result.attempts) == (False, 100)
    assert str(result.error).startswith("why (not tried again")
