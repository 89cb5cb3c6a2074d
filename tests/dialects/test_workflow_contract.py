"""Workflows: the rows of the contract on what is there and how a run ends.

Each part names its row in the contract's own words. The other rows have files beside this one, by topic;
`test_workflow.py` has what is not repeated here.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
from typing import Any

import pytest

import penstock
from penstock.dialects.workflow import (
    RetryPolicy,
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
)
from penstock.testing import FakeClock, stand_ins

from .parts_bound import BOUND, bounded, failing, raising
from .parts_workflow import QUICK, flow_of, forever, nothing, results_of, states, task

# ----------------------------------------------------------------------------------------------------------
# The table
# ----------------------------------------------------------------------------------------------------------


def test_row_run_run_blocks_and_arun_is_awaited() -> None:
    flow = flow_of(task("a"))
    assert inspect.iscoroutinefunction(Workflow.arun)
    assert flow.run()["a"].value == asyncio.run(flow.arun())["a"].value == 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_row_retry_number_means_max_attempts_total_calls(count: int) -> None:
    policy = RetryPolicy(max_attempts=count, initial_delay=0.0)
    enough = results_of(task("a", failing(count - 1), retry_policy=policy))["a"]
    short = results_of(task("a", failing(count), retry_policy=policy))["a"]
    assert (enough.success, enough.attempts) == (True, count)
    assert (short.success, short.attempts) == (False, count)


def test_row_waits_initial_delay_times_base_to_the_n_capped_at_max_delay() -> None:
    clock, times = FakeClock(), []

    def act() -> None:
        times.append(clock())
        raise ValueError

    policy = RetryPolicy(max_attempts=6, initial_delay=0.5, exponential_base=3.0, max_delay=10.0)
    with stand_ins(clock=clock):
        flow_of(task("a", act, retry_policy=policy)).run()
    waits = [round(after - before, 6) for before, after in itertools.pairwise(times)]
    assert waits == [0.5, 1.5, 4.5, 10.0, 10.0] == [policy.get_delay(n) for n in range(1, 6)]


def test_row_default_on_failure_is_to_stop() -> None:
    flow = flow_of(task("a", raising(ValueError)), task("b"), task("below a", nothing, "a"), max_concurrent=1)
    flow.run()
    assert flow.fail_fast is True
    assert states(flow) == {"a": "FAILED", "b": "PENDING", "below a": "PENDING"}


FAILING: dict[str, Any] = {
    "action": lambda: task("a", raising(ValueError("why"))),
    "condition": lambda: task("a", condition=raising(ValueError("why"))),
    "transform_result": lambda: task("a", transform_result=raising(ValueError("why"))),
    "timeout": lambda: task("a", forever, timeout=0.02),
    "arguments": lambda: task("a", args=[1, 2, 3]),
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("is_async", [False, True])
def test_row_a_task_failure_does_not_raise_from_run(kind: str, is_async: bool) -> None:
    flow = flow_of(FAILING[kind](), task("b", nothing, "a"))
    results = bounded(lambda: asyncio.run(flow.arun()) if is_async else flow.run())
    assert states(flow) == {"a": "FAILED", "b": "PENDING"}
    assert (results["a"].success, results["a"].value) == (False, None)
    assert results["a"].error


def test_row_running_siblings_at_a_failure_finish_with_the_retries_they_have_left() -> None:
    waiting = threading.Event()

    def watch(name: str, status: str, details: dict[str, Any]) -> None:
        if status == "retrying":
            waiting.set()

    def fail() -> None:
        assert waiting.wait(BOUND)
        raise ValueError

    tasks = task("bad", fail), task("good", failing(1), retry_policy=QUICK), task("below", nothing, "good")
    flow = flow_of(*tasks, progress_callback=watch)
    assert bounded(flow.run)["good"].value == "done"
    assert states(flow) == {"bad": "FAILED", "good": "COMPLETED", "below": "PENDING"}


# ----------------------------------------------------------------------------------------------------------
# Engine status -> dialect status
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_fast", [True, False])
def test_row_cancelled_while_running_is_failed_and_never_started_is_pending(fail_fast: bool) -> None:
    flow = Workflow("w", fail_fast=fail_fast)

    async def cancels() -> None:
        flow.cancel()
        await forever()

    flow.add_task("a", cancels).add_task("b", nothing, dependencies=["a"])
    results = bounded(flow.run)
    assert states(flow) == {"a": "FAILED", "b": "PENDING"}
    assert results["a"].error == "Task 'a' was cancelled"
    assert results["b"] == TaskResult(False, None, None, 0.0, 0)


@pytest.mark.parametrize(("fail_fast", "wanted"), [(False, "SKIPPED"), (True, "PENDING")])
def test_row_need_did_not_succeed_is_skipped_or_with_fail_fast_pending(fail_fast: bool, wanted: str) -> None:
    tasks = task("a", raising(ValueError)), task("b", nothing, "a"), task("c", nothing, "b")
    flow = flow_of(*tasks, fail_fast=fail_fast)
    flow.run()
    assert states(flow) == {"a": "FAILED", "b": wanted, "c": wanted}


def test_row_all_outputs_are_kept() -> None:
    tasks = [task(f"t{at}", lambda at=at: [at], *[f"t{at - 1}"][:at]) for at in range(50)]
    assert [result.value for result in results_of(*tasks).values()] == [[at] for at in range(50)]


# ----------------------------------------------------------------------------------------------------------
# "TaskStatus …; the document's state diagram holds, RETRYING -> RUNNING included"
# ----------------------------------------------------------------------------------------------------------

DIAGRAM = {
    ("PENDING", "RUNNING"),
    ("RUNNING", "COMPLETED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "RETRYING"),
    ("RETRYING", "RUNNING"),
    ("RETRYING", "FAILED"),
    ("PENDING", "SKIPPED"),
}


def test_row_state_diagram_every_change_of_status_is_an_arrow_of_it_and_every_arrow_is_taken() -> None:
    taken: set[tuple[str, str]] = set()

    def ran(*tasks: Task, **kw: Any) -> None:
        flow = flow_of(*tasks, fail_fast=False, **kw)
        last = dict.fromkeys(flow.tasks, "PENDING")

        def look(name: str, status: str, details: dict[str, Any]) -> None:
            if status == "retrying" and details["delay"] > BOUND:
                flow.cancel()
            for each, state in states(flow).items():
                if state != last[each]:
                    taken.add((last[each], state))
                last[each] = state

        flow.progress_callback = look
        bounded(flow.run)
        assert last == states(flow)

    ran(
        task("a", failing(2), retry_policy=QUICK),
        task("b", raising(ValueError), "a", retry_policy=QUICK),
        task("c", nothing, "b"),
        task("d", nothing, "a", condition=lambda results: False),
        task("e", nothing, "d"),
        task("f", raising(ValueError), "a"),
    )
    ran(task("a", failing(1), retry_policy=RetryPolicy(initial_delay=10 * BOUND, max_delay=10 * BOUND)))
    assert taken == DIAGRAM


# ----------------------------------------------------------------------------------------------------------
# "RetryPolicy … is the core's class; get_delay(attempt) (attempt from 1; get_delay(0) <= get_delay(1)) …"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(),
        RetryPolicy(initial_delay=0.0),
        RetryPolicy(exponential_base=1.0),
        RetryPolicy(initial_delay=90.0),
        RetryPolicy(initial_delay=1e300, max_delay=1e308, exponential_base=1e10),
        penstock.RetryPolicy(3, 2.0, 5.0, 7.0),
    ],
)
def test_row_get_delay_never_shrinks_and_never_passes_max_delay(policy: RetryPolicy) -> None:
    delays = [policy.get_delay(attempt) for attempt in range(2000)]
    assert delays == sorted(delays)
    assert delays[1] == min(policy.initial_delay, policy.max_delay)
    assert max(delays) <= policy.max_delay


# ----------------------------------------------------------------------------------------------------------
# "TaskResult(…)"; "Task(…) with run-time fields …, should_run(results), get_result()"
# ----------------------------------------------------------------------------------------------------------


def test_row_task_has_its_run_time_fields_during_and_after_a_run() -> None:
    during: list[Any] = []

    def act() -> int:
        during.append((a.status, a.attempts, a.result, a.error))
        if len(during) < 2:
            raise ValueError("why")
        return 5

    a = task("a", act, retry_policy=QUICK)
    b = task("b", raising(ValueError("why")), "a")
    results = results_of(a, b, max_concurrent=1)
    assert during == [(TaskStatus.RUNNING, 1, None, None), (TaskStatus.RUNNING, 2, None, None)]
    assert (a.status, a.result, a.error, a.attempts) == (TaskStatus.COMPLETED, 5, None, 2)
    assert (b.status, b.result, b.error, b.attempts) == (TaskStatus.FAILED, None, "why", 1)
    assert a.execution_time > 0
    assert [a.get_result(), b.get_result()] == [results["a"], results["b"]]


def test_row_execution_time_covers_retries_and_waits_and_is_zero_of_what_never_started() -> None:
    clock = FakeClock()

    def act() -> None:
        clock.sleep(2)
        raise ValueError

    policy = RetryPolicy(max_attempts=3, initial_delay=10.0)
    flow = flow_of(
        task("a", act, retry_policy=policy), task("b", nothing, "a"), task("c", condition=lambda _: False)
    )
    with stand_ins(clock=clock):
        results = flow.run()
    assert {name: round(result.execution_time, 3) for name, result in results.items()} == {
        "a": 36.0,
        "b": 0.0,
        "c": 0.0,
    }
    assert round(flow.get_summary()["elapsed"], 3) == 36.0


def test_row_task_fields_by_position() -> None:
    def yes(results: dict[str, TaskResult]) -> bool:
        return True

    made = Task("a", nothing, [1], {"k": 2}, ["b"], 3.0, QUICK, yes, str, ["tag"], {"m": 4})
    assert (made.name, made.action, list(made.args), made.kwargs) == ("a", nothing, [1], {"k": 2})
    assert (list(made.dependencies), made.timeout, made.retry_policy) == (["b"], 3.0, QUICK)
    assert (made.condition, made.transform_result, list(made.tags), made.metadata) == (
        yes,
        str,
        ["tag"],
        {"m": 4},
    )


def test_row_task_the_caller_s_lists_and_dicts_stay_the_caller_s() -> None:
    lists: list[list[Any]] = [[1], ["z"], ["t"]]
    dicts: list[dict[str, Any]] = [{"k": 1}, {"m": 1}]
    made = Task("a", nothing, lists[0], dicts[0], lists[1], tags=lists[2], metadata=dicts[1])
    for mine in lists:
        mine.append("more")
    for named in dicts:
        named["more"] = 1
    assert (list(made.args), made.kwargs, list(made.dependencies)) == ([1], {"k": 1}, ["z"])
    assert (list(made.tags), made.metadata) == (["t"], {"m": 1})


@pytest.mark.parametrize(("answer", "wanted"), [(1, True), ("", False), (None, False), ([0], True)])
def test_row_should_run_gives_a_bool(answer: Any, wanted: bool) -> None:
    assert Task("a", nothing, condition=lambda results: answer).should_run({}) is wanted


# ----------------------------------------------------------------------------------------------------------
# "Workflow(…); add_task(…) returns self …; add(task); validate cancel get_task_result get_summary; …"
# ----------------------------------------------------------------------------------------------------------


def test_row_add_task_takes_everything_that_a_task_takes() -> None:
    options = [*inspect.signature(Task).parameters]
    flow = Workflow("w")
    given: Any = {"args": [1], "kwargs": {}, "dependencies": [], "timeout": 1.0, "retry_policy": QUICK}
    given |= {"condition": lambda results: True, "transform_result": str, "tags": ["t"], "metadata": {"m": 1}}
    assert [*given, "name", "action"].sort() == options.sort()
    assert flow.add_task(name="a", action=abs, **given) is flow
    made = flow.tasks["a"]
    assert {word: getattr(made, word) for word in given} == given
    assert flow.run()["a"].value == "1"


def test_row_tasks_task_results_get_task_result_and_get_summary_agree() -> None:
    flow = flow_of(
        task("a"), task("b", raising(ValueError("why")), "a"), task("c", nothing, "b"), fail_fast=False
    )
    assert (flow.task_results, flow.get_task_result("a")) == ({}, None)
    results = flow.run()
    assert list(flow.tasks) == list(results) == list(flow.task_results) == ["a", "b", "c"]
    summary = flow.get_summary()
    for name, result in results.items():
        assert (
            result == flow.task_results[name] == flow.get_task_result(name) == flow.tasks[name].get_result()
        )
        assert summary["tasks"][name]["status"] == flow.tasks[name].status.value
        assert summary["tasks"][name]["error"] == result.error
    assert [summary[status.value] for status in TaskStatus] == [0, 0, 1, 1, 1, 0]


def test_row_validate_raises_nothing_and_starts_nothing_where_all_is_well() -> None:
    ran: list[int] = []
    flow = flow_of(task("a", lambda: ran.append(1)), task("b", nothing, "a"))
    flow.validate()
    assert (ran, states(flow)) == ([], {"a": "PENDING", "b": "PENDING"})
