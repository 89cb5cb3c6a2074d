"""Workflows that are kept in a store: no task is done twice, and results come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock import RunExists, StoreError
from penstock.core.storage import Store
from penstock.dialects.workflow import (
    RetryPolicy,
    Task,
    TaskResult,
    TaskStatus,
    Workflow,
    WorkflowError,
    chain,
)
from penstock.stores.memory import MemoryStore
from penstock.testing.faults_store import FaultyStore, full

from .parts_kept import Process, cut_off, finished

QUICK = RetryPolicy(max_attempts=3, initial_delay=0.001)


class Job:
    """A workflow of all kinds of tasks, and what it has called."""

    def __init__(self, failures: int = 1) -> None:
        self.calls: Counter[str] = Counter()
        self.failures = failures

    def did(self, name: str, value: Any) -> Any:
        self.calls[name] += 1
        return value

    def load(self) -> list[int]:
        return list(self.did("load", [1, 2]))

    async def flaky(self, load: list[int]) -> tuple[int, ...]:
        self.did("flaky", None)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("not yet")
        return (*load, 3)

    def condition(self, results: dict[str, TaskResult]) -> bool:
        return bool(self.did("condition", results["flaky"].value == (1, 2, 3)))

    def everything(self, _task_results: dict[str, TaskResult]) -> dict[str, Any]:
        return dict(self.did("everything", {name: one.value for name, one in _task_results.items()}))

    def workflow(self, **how: Any) -> Workflow:
        flow = Workflow("w", **how)
        flow.add_task("load", self.load)
        flow.add_task("flaky", self.flaky, dependencies=["load"], retry_policy=QUICK)
        flow.add_task("yes", lambda: self.did("yes", "yes"), dependencies=["flaky"], condition=self.condition)
        flow.add_task(
            "no", print, dependencies=["flaky"], condition=lambda results: results["load"].value == 5
        )
        flow.add_task("after no", print, dependencies=["no"])
        flow.add_task(
            "twice", lambda load: self.did("twice", load), dependencies=["load"], transform_result=len
        )
        return flow.add_task("all", self.everything, dependencies=["yes", "twice"])


def seen(flow: Workflow, results: dict[str, TaskResult]) -> Any:
    return {
        name: (flow.tasks[name].status, one.success, one.value, one.error, one.attempts)
        for name, one in results.items()
    }


def test_cut_off_at_any_commit_it_ends_as_if_it_had_not() -> None:
    """Row: `store=` and `run_id=`: values, errors, statuses and attempts are what they would have been."""
    flow = Job().workflow()
    wanted = seen(flow, flow.run(store=MemoryStore(), run_id="r"))
    plain = Job().workflow()
    assert seen(plain, plain.run()) == wanted
    assert wanted["flaky"] == (TaskStatus.COMPLETED, True, (1, 2, 3), None, 2)
    assert wanted["all"][2] == {"load": [1, 2], "flaky": (1, 2, 3), "yes": "yes", "twice": 2, "no": None,
                                "after no": None}  # fmt: skip
    lives = 0
    for store, commit in cut_off(lambda store: Job().workflow().run(store=store, run_id="r")):
        lives += 1
        done = finished(store, "r")
        retried = any('"retry","flaky"' in row for row in store.rows("r"))
        job = Job(0 if retried else 1)
        flow = job.workflow()
        again = seen(flow, flow.run(store=store, run_id="r"))
        if not retried:  # an attempt that was cut off is not charged: the first one fails once more
            assert again == wanted, commit
        else:
            assert {**again, "flaky": wanted["flaky"]} == wanted, commit
        assert again["flaky"][-1] == 2
        assert not job.calls.keys() & done
    assert lives > 6


def test_times_and_attempts_of_what_is_not_done_again_come_from_the_journal() -> None:
    store, up = MemoryStore(), list[int]()

    def last(a: int) -> int:
        return a if up else 1 // 0

    def flow() -> Workflow:
        return Workflow("w").add_task("a", lambda: 5).add_task("last", last, dependencies=["a"])

    first = flow().run(store=store, run_id="r")
    up.append(1)
    again = flow()
    results = again.run(store=store, run_id="r")
    assert results["a"] == first["a"] == again.get_task_result("a")
    assert results["a"].execution_time > 0
    assert (results["last"].value, results["last"].attempts) == (5, 1)  # what failed begins again
    assert again.get_summary()["completed"] == 2
    recorded = flow().run(store=store, run_id="r")
    assert recorded == results


def test_arun_is_kept_too_and_run_within_a_loop() -> None:
    store, calls = MemoryStore(), []

    def flow() -> Workflow:
        return Workflow("w").add_task("a", lambda: calls.append(1))

    async def main() -> None:
        await flow().arun(store=store, run_id="r")
        flow().run(store=store, run_id="r")
        flow().run(store=store, run_id="s")

    asyncio.run(main())
    assert len(calls) == 2


@dataclass
class Order:
    number: int


def orders() -> list[Order]:
    return [Order(1)]


def count(orders: list[Order]) -> int:
    if type(orders[0]) is not Order:
        raise TypeError
    return len(orders)


def test_chains_and_classes_that_annotations_name() -> None:
    for store, _ in cut_off(lambda store: chain(orders, count, str).run(store=store, run_id="r")):
        assert chain(orders, count, str).run(store=store, run_id="r")["str"].value == "1"


def test_progress_of_a_run_that_goes_on_tells_only_what_happens_now() -> None:
    told: list[tuple[str, str]] = []
    store, up = MemoryStore(), list[int]()

    def flow() -> Workflow:
        made = Workflow("w", progress_callback=lambda name, status, details: told.append((name, status)))
        made.add_task("a", lambda: 1)
        return made.add_task("b", lambda a: a if up else 1 // 0, dependencies=["a"])

    flow().run(store=store, run_id="r")
    told.clear()
    up.append(1)
    flow().run(store=store, run_id="r")
    assert told == [("workflow", "started"), ("b", "running"), ("b", "completed"), ("workflow", "completed")]


def test_an_error_of_the_store_is_raised_and_the_workflow_can_go_on() -> None:
    store = FaultyStore(MemoryStore(), at=2, times=None, error=full, only=["append"])
    flow = Workflow("w").add_task("a", lambda: 1)
    with pytest.raises(StoreError, match="planned fault"):
        flow.run(store=store, run_id="r")
    store.mend()
    assert flow.run(store=store, run_id="r")["a"].value == 1


def test_a_workflow_that_runs_takes_no_run_away_from_itself() -> None:
    """It is refused before the store is asked."""
    store = MemoryStore()
    flow = Workflow("w")

    def again() -> None:
        with pytest.raises(WorkflowError, match="already running"):
            flow.run(store=store, run_id="other")

    flow.add_task("a", again)
    assert flow.run(store=store, run_id="r")["a"].success
    assert [entry.run_id for entry in store.runs()] == ["r"]


def test_a_run_of_another_workflow_is_refused() -> None:
    store = MemoryStore()
    Workflow("w").add(Task("a", int)).run(store=store, run_id="r")
    with pytest.raises(RunExists, match="one of flow 'w', not of 'v'"):
        Workflow("v").add(Task("a", int)).run(store=store, run_id="r")


KILLED = """
    from penstock import GraphChanged, RunOptions
    from penstock.dialects.workflow import Workflow

    def set():
        say("set")
        return mode()

    def mode():
        return "full"

    def between(set):
        die()

    def full():
        say("full")
        return "all of it"

    workflow = Workflow("trap")
    workflow.add_task("set", set).add_task("between", between, dependencies=["set"])
    workflow.add_task("full", full, dependencies=["between"], condition=lambda r: r["set"].value == "full")
    workflow.add_task("rest", full, dependencies=["between"], condition=lambda r: r["set"].value != "full")

    if __name__ == "__main__":
        try:
            results = workflow.run(store="runs.db", run_id="r", options=RunOptions(on_change=sys.argv[1]))
        except GraphChanged as error:
            print(error)
        else:
            print({name: (task.status.value, results[name].value) for name, task in workflow.tasks.items()})
"""


def test_killed_between_a_result_and_its_condition_it_decides_as_before(tmp_path: Path) -> None:
    process = Process(tmp_path, KILLED)
    process.live("refuse", killed=True)
    assert process.said == ["set"]
    wanted = "'full': ('completed', 'all of it'), 'rest': ('skipped', None)}"
    assert wanted in process.live("refuse")
    assert wanted in process.live("refuse")
    assert process.said == ["set", "full"]


def test_a_change_of_a_task_s_code_is_noticed(tmp_path: Path) -> None:
    process = Process(tmp_path, KILLED)
    process.live("refuse", killed=True)
    process.edit('return "full"', 'return "half"')
    assert "step 'set' has other code" in process.live("refuse")
    assert "'full': ('skipped', None), 'rest': ('completed'" in process.live("rerun")
    assert process.said == ["set", "set", "full"]


def test_what_a_changed_task_made_may_be_kept(tmp_path: Path) -> None:
    process = Process(tmp_path, KILLED)
    process.live("refuse", killed=True)
    process.edit('return "full"', 'return "half"')
    assert "'full': ('completed', 'all of it')" in process.live("keep")
    assert process.said == ["set", "full"]


def test_what_cannot_be_stored_fails_its_task(tmp_path: Path) -> None:
    flow = Workflow("w").add_task("a", lambda: [object()])
    error = flow.run(store=MemoryStore())["a"].error
    assert error is not None
    assert "$[0]" in error


def store_of(flow: Workflow) -> Store:
    store = MemoryStore()
    flow.run(store=store, run_id="r")
    return store


def test_the_order_of_results_is_that_of_the_tasks() -> None:
    flow = Workflow("w").add_task("b", lambda a: a, dependencies=["a"]).add_task("a", lambda: 1)
    store = store_of(flow)
    again = Workflow("w").add_task("b", lambda a: a, dependencies=["a"]).add_task("a", lambda: 1)
    assert list(again.run(store=store, run_id="r", options=None)) == ["b", "a"]
