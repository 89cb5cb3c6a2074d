"""Workflows in use: runners, options, event loops, threads, one object run again and again."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import threading
from dataclasses import asdict
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.workflow import (
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    chain,
    fan_out_fan_in,
)

from .parts_bound import BOUND, Alike, bounded, failing, raising
from .parts_workflow import QUICK, flow_of, forever, nothing, results_of, states, task

# ----------------------------------------------------------------------------------------------------------
# Runners
# ----------------------------------------------------------------------------------------------------------


def six() -> int:
    return 6


async def add(a: int, more: int = 0) -> int:
    await asyncio.sleep(0)
    return a + more


def is_large(results: dict[str, TaskResult]) -> bool:
    return results["a"].value > 100


def fails() -> None:
    raise ValueError("why")


def process() -> int:
    return os.getpid()


def values(_task_results: dict[str, TaskResult]) -> dict[str, Any]:
    return {name: result.value for name, result in _task_results.items() if name in ("a", "b", "no")}


@pytest.mark.parametrize("runner", [None, "threads", "inline", "aio", "processes"])
def test_every_runner_gives_the_same_results(runner: str | None) -> None:
    tasks = [
        task("a", six),
        task("b", add, "a", kwargs={"more": 1}, transform_result=str),
        task("no", six, "a", condition=is_large),
        task("bad", fails, "a", retry_policy=QUICK),
        task("last", values, "b"),
        task("where", process, "a"),
    ]
    flow = flow_of(*tasks, fail_fast=False)
    results = bounded(lambda: flow.run(runner=runner))
    assert (results["a"].value, results["b"].value) == (6, "7")
    assert (results["bad"].error, results["bad"].attempts, results["no"].error) == (
        "why",
        3,
        "condition_false",
    )
    assert {"a": 6, "b": "7"}.items() <= results["last"].value.items()
    assert (results["where"].value == os.getpid()) is (runner != "processes")


def test_helpers_run_in_processes_too() -> None:
    assert fan_out_fan_in([six, six], sum).run(runner="processes")["sum"].value == 12
    assert [result.value for result in chain(six, str, len).run(runner="processes").values()] == [6, "6", 1]


# ----------------------------------------------------------------------------------------------------------
# Options
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meddle",
    [lambda a: a.append(2), lambda _task_results: _task_results["a"].value.append(2)],
    ids=["parameter", "_task_results"],
)
def test_values_copied_gives_every_task_its_own_copy(meddle: Any) -> None:
    tasks = task("a", lambda: [1]), task("b", meddle, "a"), task("c", lambda a: a, "a", "b")
    results = results_of(*tasks, options=RunOptions(values="copied"))
    assert (results["a"].value, results["c"].value) == ([1], [1])
    shared = results_of(
        task("a", lambda: [1]), task("b", lambda a: a.append(2), "a"), task("c", lambda a: a, "a", "b")
    )
    assert shared["c"].value == [1, 2]


@pytest.mark.parametrize("on_failure", ["stop", "drain", "continue"])
@pytest.mark.parametrize("fail_fast", [True, False])
def test_fail_fast_stands_above_on_failure_of_the_options(on_failure: Any, fail_fast: bool) -> None:
    flow = flow_of(task("a", fails), task("b"), fail_fast=fail_fast, max_concurrent=1)
    flow.run(options=RunOptions(on_failure=on_failure))
    assert states(flow)["b"] == ("PENDING" if fail_fast else "COMPLETED")


def test_the_options_deadline_acts_as_the_workflow_s_timeout() -> None:
    flow = flow_of(task("a", forever), task("b", nothing, "a"))
    with pytest.raises(WorkflowError, match=r"^Workflow timeout after 0\.05s$"):
        bounded(lambda: flow.run(options=RunOptions(deadline=0.05)))
    assert states(flow) == {"a": "FAILED", "b": "PENDING"}


@pytest.mark.parametrize(
    ("own", "given", "most"), [(None, 1, 1), (1, None, 1), (3, 1, 1), (1, 3, 1), (2, 5, 2)]
)
def test_of_two_bounds_of_concurrency_the_smaller_one_holds(
    own: int | None, given: int | None, most: int
) -> None:
    now, peak = [0], [0]

    async def act() -> None:
        now[0] += 1
        peak[0] = max(peak[0], now[0])
        for _ in range(50):  # whoever may come in meanwhile does
            await asyncio.sleep(0)
        now[0] -= 1

    flow = flow_of(*(task(f"t{at}", act) for at in range(6)), max_concurrent=own)
    results = bounded(lambda: flow.run(options=RunOptions(max_concurrency=given)))
    assert all(result.success for result in results.values())
    assert peak == [most]


def test_an_observer_that_raises_is_harmless() -> None:
    options = RunOptions(observers=[raising(ValueError)])
    assert results_of(task("a"), task("b", nothing, "a"), options=options)["b"].success


# ----------------------------------------------------------------------------------------------------------
# Event loops and threads
# ----------------------------------------------------------------------------------------------------------


def test_run_and_arun_inside_a_running_loop_leave_the_loop_as_it_was() -> None:
    async def main() -> list[Any]:
        flow = flow_of(task("a", six), task("b", add, "a", kwargs={"more": 1}))
        found = [flow.run()["b"].value, (await flow.arun())["b"].value]
        others = [flow_of(task("a", six), task("b", add, "a")) for _ in range(3)]
        found += [results["b"].value for results in await asyncio.gather(*(each.arun() for each in others))]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    assert bounded(lambda: asyncio.run(main())) == [7, 7, 6, 6, 6]


def test_an_arun_that_is_cancelled_before_it_begins_runs_nothing_and_does_not_hold_the_workflow() -> None:
    ran: list[int] = []
    flow = flow_of(task("a", lambda: ran.append(1)))

    async def main() -> None:
        caller = asyncio.create_task(flow.arun())
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    bounded(lambda: asyncio.run(main()))
    assert (ran, states(flow)) == ([], {"a": "PENDING"})
    assert flow.run()["a"].success


def test_a_cancelled_arun_leaves_nothing_running_and_every_task_with_a_result() -> None:
    ended: list[str] = []

    async def main() -> Workflow:
        running = asyncio.Event()

        async def hang() -> None:
            running.set()
            try:
                await asyncio.sleep(BOUND)
            finally:
                ended.append("hang")

        flow = flow_of(task("a", hang), task("b", lambda: ended.append("b"), "a"), fail_fast=False)
        caller = asyncio.create_task(flow.arun())
        await running.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return flow

    flow = bounded(lambda: asyncio.run(main()))
    assert (ended, states(flow), list(flow.task_results)) == (
        ["hang"],
        {"a": "FAILED", "b": "PENDING"},
        ["a", "b"],
    )


def test_a_second_run_from_another_thread_is_refused_and_disturbs_nothing() -> None:
    started, go = threading.Event(), threading.Event()

    def hold() -> int:
        started.set()
        go.wait(BOUND)
        return 1

    flow = flow_of(task("a", hold), task("b", nothing, "a"))
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(flow.run()), daemon=True)
    thread.start()
    assert started.wait(BOUND)
    for call in (flow.run, lambda: asyncio.run(flow.arun())):
        with pytest.raises(WorkflowError, match="already running"):
            bounded(call)
    assert states(flow) == {"a": "RUNNING", "b": "PENDING"}
    go.set()
    thread.join(BOUND)
    assert [result.value for result in first[0].values()] == [1, 1]
    assert flow.run()["b"].success


def test_many_workflows_from_many_threads_at_a_time() -> None:
    meeting = threading.Barrier(8)
    found: dict[int, Any] = {}

    def go(n: int) -> None:
        flow = flow_of(task("a", lambda: meeting.wait(BOUND) >= 0), task("b", lambda a: n, "a"))
        found[n] = flow.run()["b"].value

    threads = [threading.Thread(target=go, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert found == {n: n for n in range(8)}


def test_cancel_from_another_thread_ends_a_running_workflow() -> None:
    flow = Workflow("w", fail_fast=False)

    async def hang() -> None:
        threading.Thread(target=flow.cancel).start()
        await asyncio.sleep(BOUND)

    flow.add_task("a", hang).add_task("b", nothing, dependencies=["a"])
    results = bounded(flow.run)
    assert (results["a"].error, states(flow)["b"]) == ("Task 'a' was cancelled", "PENDING")


@pytest.mark.parametrize("runner", [None, "threads", "inline"])
def test_a_task_may_run_another_workflow(runner: str | None) -> None:
    def now(x: int) -> Any:
        return chain(lambda: x, lambda value: value + 1).run()["task_2"].value

    async def awaited(x: int) -> Any:
        return (await chain(lambda: x, lambda value: value + 1).arun())["task_2"].value

    results = results_of(task("a", now, args=[3]), task("b", awaited, args=[4]), runner=runner)
    assert [result.value for result in results.values()] == [4, 5]


# ----------------------------------------------------------------------------------------------------------
# One object, run again: every run is fresh, and what was changed in between takes effect
# ----------------------------------------------------------------------------------------------------------


def test_a_second_run_is_as_fresh_as_the_first_and_results_that_were_given_stay() -> None:
    flow = flow_of(task("a", failing(2, 7)), task("b", lambda a: a, "a"), fail_fast=False)
    first, second, third = flow.run(), flow.run(), flow.run()
    assert [results["a"].success for results in (first, second, third)] == [False, False, True]
    assert (first["b"].error, third["b"]) == (
        "dependency_failed",
        TaskResult(True, 7, None, third["b"].execution_time, 1),
    )
    assert (states(flow), flow.task_results) == ({"a": "COMPLETED", "b": "COMPLETED"}, third)
    assert flow.tasks["a"].error is None


def test_states_are_fresh_from_the_start_of_a_run_on() -> None:
    during: list[Any] = []
    flow = flow_of(task("a"), task("b", six, "a"))
    flow.tasks["a"].action = lambda: during.append((states(flow)["b"], flow.get_task_result("b")))
    flow.run()
    flow.run()
    assert during == [("PENDING", None)] * 2


def test_tasks_added_and_removed_between_runs() -> None:
    flow = flow_of(task("a", six))
    assert list(flow.run()) == ["a"]
    flow.add_task("b", lambda a: a + 1, dependencies=["a"])
    assert flow.run()["b"].value == 7
    del flow.tasks["a"]
    with pytest.raises(WorkflowError, match="depends on unknown task 'a'"):
        flow.run()
    flow.tasks["b"].dependencies = []
    flow.tasks["b"].args = [1]
    assert {name: result.value for name, result in flow.run().items()} == {"b": 2}
    assert list(flow.task_results) == ["b"]


def test_tasks_added_during_a_run_wait_for_the_next() -> None:
    flow = Workflow("w")

    def adds() -> None:
        if "late" not in flow.tasks:
            flow.add_task("late", six)

    flow.add_task("a", adds).add_task("b", nothing, dependencies=["a"])
    assert list(bounded(flow.run)) == ["a", "b"]
    assert list(bounded(flow.run)) == ["a", "b", "late"]


def test_what_is_changed_in_a_task_between_runs_takes_effect() -> None:
    flow = flow_of(task("a", six), task("b", lambda a: a, "a"))
    b = flow.tasks["b"]

    def outcome() -> Any:
        result = flow.run()["b"]
        return result.value if result.success else result.error

    assert outcome() == 6
    b.action = lambda a: a * 2
    assert outcome() == 12
    b.transform_result = str
    assert outcome() == "12"
    b.condition = lambda results: False
    assert outcome() == "condition_false"
    b.condition, b.transform_result = None, None
    b.dependencies, b.kwargs = [], {"a": 1}
    assert outcome() == 2
    b.action, b.args = (lambda x, a: (x, a)), ["x"]
    assert outcome() == ("x", 1)
    b.args, b.kwargs, b.action = [], {}, failing(1, "second")
    assert outcome() == "0 more"
    b.action, b.retry_policy = failing(1, "second"), QUICK
    assert outcome() == "second"


def test_functions_of_a_task_are_replaced_by_some_that_equal_them() -> None:
    flow = flow_of(task("a", Alike(6), condition=Alike(True), transform_result=Alike("first")))
    a = flow.tasks["a"]

    def outcome() -> Any:
        result = flow.run()["a"]
        return result.value if result.success else result.error

    assert outcome() == "first"
    a.transform_result = Alike("second")
    assert outcome() == "second"
    a.condition = Alike(False)
    assert outcome() == "condition_false"
    a.condition, a.transform_result = None, None
    assert outcome() == 6
    a.action = Alike(7)
    assert outcome() == 7


def test_options_of_the_workflow_changed_between_runs_take_effect() -> None:
    seen: list[str] = []
    flow = flow_of(task("a", forever, timeout=0.02), task("b", six, "a"), task("c", six))
    flow.run(options=RunOptions(max_concurrency=1))
    assert states(flow)["b"] == "PENDING"
    flow.fail_fast = False
    flow.progress_callback = lambda name, status, details: seen.append(status)
    flow.run()
    assert states(flow) == {"a": "FAILED", "b": "SKIPPED", "c": "COMPLETED"}
    assert "skipped" in seen
    flow.tasks["a"].timeout, flow.timeout = None, 0.02
    with pytest.raises(WorkflowError, match="Workflow timeout"):
        bounded(flow.run)
    flow.tasks["a"].action, flow.timeout = six, None
    assert all(result.success for result in flow.run().values())


def test_a_task_that_was_given_another_name_runs_under_one_of_them_or_is_refused() -> None:
    ran: list[int] = []
    flow = flow_of(task("a", lambda: ran.append(1)))
    flow.tasks["a"].name = "renamed"
    try:
        results = bounded(flow.run)
    except (WorkflowError, ValueError):
        assert ran == []
    else:
        assert [result.success for result in results.values()] == [bool(ran)]


def test_one_task_in_two_workflows_shows_the_last_run() -> None:
    shared = task("a", failing(1, 5))
    first, second = flow_of(shared), flow_of(shared)
    assert (first.run()["a"].success, second.run()["a"].success) == (False, True)
    assert shared.status is TaskStatus.COMPLETED
    assert (first.task_results["a"].success, second.task_results["a"].success) == (False, True)


# ----------------------------------------------------------------------------------------------------------
# Results as values
# ----------------------------------------------------------------------------------------------------------


def test_results_are_plain_values_that_can_be_pickled_copied_and_written_as_json() -> None:
    flow = flow_of(task("a", six), task("b", fails, "a"), task("c", six, "b"), fail_fast=False)
    results = flow.run()
    for found in (results, flow.task_results):
        assert type(found) is dict
        assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == results
        assert (
            json.loads(json.dumps({name: asdict(result) for name, result in found.items()}))["c"]["attempts"]
            == 0
        )
    assert json.loads(json.dumps(flow.get_summary()))["failed"] == 1


def test_task_results_that_a_task_kept_are_a_plain_dict_where_they_are_pickled() -> None:
    kept = results_of(task("a", six), task("b", lambda _task_results: _task_results, "a"))["b"].value
    again = pickle.loads(pickle.dumps(kept))
    assert (type(again), again["a"].value) == (dict, 6)


def test_a_task_can_be_pickled_before_and_after_a_run() -> None:
    made = Task("a", six, retry_policy=QUICK, condition=is_large, metadata={"k": 1})
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.action, again.retry_policy, again.metadata) == ("a", six, QUICK, {"k": 1})
    again.condition = None
    flow_of(again).run()
    assert pickle.loads(pickle.dumps(again)).get_result() == again.get_result()
