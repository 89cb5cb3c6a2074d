"""Steps of an executor whose runs are kept in a store: no step is done twice, and results come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from penstock import InputError, StoreError
from penstock.core.storage import Store
from penstock.dialects.steps import PipelineConfig, PipelineExecutor, StepResult, StepStatus
from penstock.stores.memory import MemoryStore
from penstock.testing.faults_store import FaultyStore, full

from .parts import bounded
from .parts_kept import Process, cut_off, finished


class Job:
    """An executor with all kinds of steps, and what it has called."""

    def __init__(self, failures: int = 1, told: list[str] | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.failures = failures
        self.told = told

    def did(self, name: str, value: Any = None) -> Any:
        self.calls[name] += 1
        return value

    async def flaky(self, previous: list[int]) -> tuple[int, ...]:
        self.did("flaky")
        if self.failures:
            self.failures -= 1
            raise ConnectionError("not yet")
        return (*previous, 3)

    def broken(self, load: list[int]) -> None:
        self.did("broken")
        raise ValueError("never")

    def hook(self, error: Exception) -> None:
        if self.told is not None:
            self.told.append(str(error))

    def executor(self) -> PipelineExecutor:
        made = PipelineExecutor(PipelineConfig("job"))
        hook = None if self.told is None else self.hook
        made.add_step("load", lambda: self.did("load", [1, 2]))
        made.add_step("flaky", self.flaky, ["load"], retries=2, retry_delay=0.001, on_failure=hook)
        made.add_step("broken", self.broken, ["load"], on_failure=hook)
        made.add_step("below", print, ["broken"])
        made.add_step("skipped", print, ["broken"], skip_on_error=True)
        return made.add_step("end", lambda load, flaky: self.did("end", [load, flaky]), ["load", "flaky"])


def seen(results: dict[str, StepResult]) -> Any:
    return {name: (one.status, one.output, one.error, one.retries) for name, one in results.items()}


@pytest.mark.parametrize("way", ["run", "run_sync"])
@pytest.mark.parametrize("told", [False, True])
def test_cut_off_at_any_commit_it_ends_as_if_it_had_not(way: str, told: bool) -> None:
    """Row (head): `store=` and `run_id=`: outputs, errors, statuses and retries are what they would have
    been; `on_failure` is told of what fails now."""

    def life(job: Job, store: Store | None) -> dict[str, StepResult]:
        executor = job.executor()
        how: Any = {} if store is None else {"store": store, "run_id": "r"}
        if way == "run":
            results: dict[str, StepResult] = bounded(executor.run(**how))
            return results
        return executor.run_sync(**how)

    def job(failures: int = 1) -> Job:
        return Job(failures, [] if told else None)

    wanted = seen(life(job(), MemoryStore()))
    assert seen(life(job(), None)) == wanted
    assert wanted["flaky"] == (StepStatus.SUCCESS, (1, 2, 3), None, 1)
    assert wanted["below"][2] == "Dependency 'broken' failed"
    lives = 0
    for store, commit in cut_off(lambda store: life(job(), store)):
        lives += 1
        rows = "".join(store.rows("r"))
        done = finished(store, "r") | ({"broken"} if '"fail","broken"' in rows else set())
        second = job(0 if '"retry","flaky"' in rows else 1)
        assert seen(life(second, store)) == wanted, commit
        assert not second.calls.keys() & done
        if told:
            assert second.told is not None
            assert Counter(second.told)["never"] == int("broken" not in done)
    assert lives > 5


def test_times_of_what_is_not_done_again_come_from_the_journal() -> None:
    store, up = MemoryStore(), list[int]()

    def last(a: int) -> int:
        return a if up else 1 // 0

    def executor() -> PipelineExecutor:
        return PipelineExecutor().add_step("a", lambda: 5).add_step("last", last, ["a"])

    first = executor().run_sync(store=store, run_id="r")
    up.append(1)
    again = executor()
    results = again.run_sync(store=store, run_id="r")
    assert results["a"] == first["a"]
    assert (results["last"].output, again.get_results()["last"].output) == (5, 5)
    assert executor().run_sync(store=store, run_id="r") == results
    assert "[success]" in again.visualize()


def test_named_steps_of_a_run_that_goes_on_are_those_it_was_begun_with() -> None:
    store, calls = MemoryStore(), Counter[str]()

    def executor() -> PipelineExecutor:
        def counts(name: str) -> Any:
            return lambda **_: calls.update([name])

        made = PipelineExecutor()
        for name in "abc":
            made.add_step(name, counts(name), ["a"] if name > "a" else None)
        return made

    assert [*executor().run_sync(["b"], store=store, run_id="r")] == ["a", "b"]
    assert [*executor().run_sync(store=store, run_id="r")] == ["a", "b"]
    with pytest.raises(InputError, match=r"begun with targets=\['b'\]"):
        executor().run_sync(["c"], store=store, run_id="r")
    assert calls == {"a": 1, "b": 1}


def test_an_error_of_the_store_is_raised_and_the_executor_can_go_on() -> None:
    store = FaultyStore(MemoryStore(), at=2, times=None, error=full, only=["append"])
    executor = PipelineExecutor().add_step("a", lambda: 1)
    for call in (executor.run_sync, lambda **how: asyncio.run(executor.run(**how))):
        with pytest.raises(StoreError, match="planned fault"):
            call(store=store, run_id="r")
    store.mend()
    assert executor.run_sync(store=store, run_id="r")["a"].output == 1
    with pytest.raises(InputError, match="run_id names a run of a store"):
        executor.run_sync(run_id="r")


def test_what_cannot_be_stored_fails_its_step() -> None:
    executor = PipelineExecutor().add_step("a", lambda: [object()])
    result = executor.run_sync(store=MemoryStore())["a"]
    assert result.status is StepStatus.FAILED
    assert "$[0]" in str(result.error)


KILLED = """
    from penstock import GraphChanged, RunOptions
    from penstock.dialects.steps import PipelineExecutor

    executor = PipelineExecutor()

    def rows():
        return [1, 2]

    @executor.step("extract")
    async def extract():
        say("extract")
        return rows()

    @executor.step("dies", depends_on=["extract"])
    def dies(previous):
        die()

    @executor.step("load", depends_on=["extract", "dies"])
    def load(extract, dies):
        say("load")
        return sum(extract)

    if __name__ == "__main__":
        try:
            options = RunOptions(on_change=sys.argv[1])
            results = executor.run_sync(store="runs.db", run_id="r", options=options)
        except GraphChanged as error:
            print(error)
        else:
            print({name: result.output for name, result in results.items()})
"""


def test_killed_in_the_middle_it_goes_on_there(tmp_path: Path) -> None:
    process = Process(tmp_path, KILLED)
    process.live("refuse", killed=True)
    assert process.said == ["extract"]
    wanted = "{'extract': [1, 2], 'dies': None, 'load': 3}\n"
    assert process.live("refuse") == wanted
    assert process.live("refuse") == wanted
    assert process.said == ["extract", "load"]


def test_a_change_of_a_step_s_code_is_noticed(tmp_path: Path) -> None:
    process = Process(tmp_path, KILLED)
    process.live("refuse", killed=True)
    process.edit("return [1, 2]", "return [1, 2, 3]")
    assert "step 'extract' has other code" in process.live("refuse")
    assert process.live("rerun") == "{'extract': [1, 2, 3], 'dies': None, 'load': 6}\n"
    assert process.said == ["extract", "extract", "load"]
