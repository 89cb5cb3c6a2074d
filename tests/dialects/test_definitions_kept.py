"""Definitions that are executed with a store: restarts across processes, and state that is there again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import InputError, RunBusy, RunExists, RunOptions, StoreError
from penstock.core.owners import here
from penstock.core.storage import Store
from penstock.dialects.definitions import (
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    PipelineResult,
    RetryConfig,
    StageDefinition,
    StageResult,
)
from penstock.stores.memory import MemoryStore
from penstock.stores.sqlite import SqliteStore
from penstock.testing.faults_store import FaultyStore, full

from .parts import bounded
from .parts_definitions import FAN_OUT, Raw, Stage, Switch, same, stage
from .parts_kept import Process, cut_off, finished


def execute(
    pipeline: PipelineDefinition,
    input: Any = None,
    context: PipelineContext | None = None,
    *,
    executor: PipelineExecutor | None = None,
    **how: Any,
) -> PipelineResult:
    """One execution, by an executor of its own as another process would have."""
    executor = executor or PipelineExecutor(how.pop("at", None))
    result: PipelineResult = bounded(executor.execute(pipeline, input, context, **how))
    return result


def definition(*stages: StageDefinition, name: str = "p") -> PipelineDefinition:
    return PipelineDefinition(name, stages)


# ----------------------------------------------------------------------------------------------------------
# Cut off anywhere
# ----------------------------------------------------------------------------------------------------------


class Job:
    """A definition of all kinds of stages, and what it has called."""

    def __init__(self, failures: int = 1) -> None:
        self.calls: Counter[str] = Counter()
        self.failures = failures

    def did(self, name: str) -> None:
        self.calls[name] += 1

    def load(self, input: Any, context: PipelineContext) -> list[int]:
        self.did("load")
        context.set_state("rows", ["load"])
        context.set_state("old", 1)
        context.add_metric("size", 3)
        context.increment_metric("steps")
        return [1, 2, 3]

    def item(self, input: int, context: PipelineContext) -> int:
        self.did(f"item {input}")
        context.increment_metric("items", 0.5)
        context.set_state(f"item {input}", {"square": input * input})
        return input * input

    def flaky(self, input: list[int], context: PipelineContext) -> Any:
        self.did("flaky")
        context.increment_metric("steps")
        if self.failures:
            self.failures -= 1
            return StageResult.failure("rate limit")
        context.get_state("rows").append("flaky")  # in place
        del context.state["old"]
        return StageResult.soft_fail(sum(input), "near enough", metadata={"by": ("flaky", 1)})

    def asked(self, context: PipelineContext) -> bool:
        self.did("asked")
        return bool(context.get_state("rows")[-1] == "flaky")

    def plain(self, input: Any, context: PipelineContext) -> Any:
        self.did("plain")
        context.increment_metric("steps")
        return StageResult[int].success(7)

    def definition(self) -> PipelineDefinition:
        def never(context: PipelineContext) -> bool:
            return context.get_state("rows") == ["load"]

        retry = RetryConfig(max_attempts=2, initial_delay_ms=1)
        return definition(
            stage("load", self.load),
            stage("each", self.item, "load", pattern=FAN_OUT),
            stage("flaky", self.flaky, "each", retry_config=retry),
            stage("asked", same, "flaky", condition=self.asked),
            stage("never", self.plain, "flaky", condition=never),
            StageDefinition("plain", Raw(self.plain), inputs=["asked", "never"]),
            stage("end", lambda i, c: [i, dict(c.state), dict(c.metrics)], "plain", "each"),
        )

    def execute(self, store: Store, context: PipelineContext | None = None) -> PipelineResult:
        return execute(self.definition(), {"n": 1}, context, store=store, run_id="r")


def seen(result: PipelineResult, context: PipelineContext) -> Any:
    results = {id: one.model_dump() for id, one in result.stage_results.items()}
    return result.success, result.outputs, results, context.state, context.metrics


def test_cut_off_at_any_commit_it_ends_as_if_it_had_not():
    """Outputs, results, state and metrics; in a fresh context, and in the one of the first life."""
    context = PipelineContext()
    wanted = seen(Job().execute(MemoryStore(), context), context)
    in_memory = PipelineContext()
    assert seen(execute(Job().definition(), {"n": 1}, in_memory), in_memory) == wanted
    assert context.metrics == {"size": 3, "steps": 3, "items": 1.5}
    assert context.state["rows"] == ["load", "flaky"]
    lives = 0
    for fresh in (True, False):
        contexts: list[PipelineContext] = []

        def life(store: Store, contexts: list[PipelineContext] = contexts) -> None:
            contexts.append(PipelineContext())
            Job().execute(store, contexts[-1])

        for store, commit in cut_off(life):
            lives += 1
            done = finished(store, "r")
            job, context = Job(0), PipelineContext() if fresh else contexts[-1]
            assert seen(job.execute(store, context), context) == wanted, (fresh, commit)
            assert not job.calls.keys() & done, "a stage was done again"
    assert lives > 12


def test_the_recorded_result_of_a_success_is_given_and_nothing_is_called():
    """Row: `store=`, `run_id=`. State and metrics come with it, once for each context."""
    store, job, context = MemoryStore(), Job(), PipelineContext()
    first = seen(job.execute(store, context), context)
    before = job.calls.copy()
    assert seen(job.execute(store, context), context) == first
    fresh = PipelineContext()
    assert seen(job.execute(store, fresh), fresh) == first
    assert job.calls == before


def test_the_input_of_a_run_that_goes_on_is_what_it_was():
    store, last = MemoryStore(), Switch()
    pipeline = definition(stage("a", same), stage("b", last, "a"))
    execute(pipeline, {"day": "monday"}, store=store, run_id="r")
    with pytest.raises(RunExists, match="was given other inputs"):
        execute(pipeline, {"day": "sunday"}, store=store, run_id="r")
    last.up = True
    assert execute(pipeline, store=store, run_id="r").outputs["b"] == {"day": "monday"}
    assert execute(pipeline, store=store, run_id="new").outputs["b"] is None


def test_what_cannot_be_stored_is_refused_or_fails_and_is_named():
    pipeline = definition(stage("a", lambda i, c: c.set_state("conn", object())))
    error = execute(pipeline, store=MemoryStore()).stage_results["a"].error
    assert error is not None
    assert ".a.state.conn" in error
    output = execute(definition(stage("a", lambda i, c: {"conn": object()})), store=MemoryStore())
    assert "output.conn" in str(output.stage_results["a"].error)
    with pytest.raises(InputError, match="the input 'input' cannot be stored"):
        execute(pipeline, object(), store=MemoryStore())
    with pytest.raises(InputError, match="run_id names a run of a store"):
        execute(pipeline, run_id="r")


def test_an_error_of_the_store_is_raised_and_the_execution_can_go_on():
    store = FaultyStore(MemoryStore(), at=3, times=None, error=full, only=["append"])
    pipeline = definition(stage("a"), stage("b", same, "a"), stage("c", same, "b"))
    with pytest.raises(StoreError, match="planned fault"):
        execute(pipeline, 1, store=store, run_id="r")
    store.mend()
    assert execute(pipeline, 1, store=store, run_id="r").outputs == {"a": 1, "b": 1, "c": 1}


class Report(BaseModel):
    pages: int


class Scored(StageResult[int], frozen=True):
    score: float = 0.0


class Writes:
    async def execute(self, input: Any, context: PipelineContext) -> StageResult[Report]:
        return StageResult[Report].success(Report(pages=3))


class Scores:
    async def execute(self, input: Any, context: PipelineContext) -> Scored:
        return Scored(output=1, score=0.5, stage_name="scores")


def test_models_and_results_of_ones_own_come_back_as_they_were():
    """What the annotation of `execute` names can be stored."""
    store, last = MemoryStore(), Switch()
    pipeline = definition(
        StageDefinition("a", Writes()), StageDefinition("s", Scores()), stage("b", last, "a", "s")
    )
    execute(pipeline, store=store, run_id="r")
    last.up = True
    result = execute(pipeline, store=store, run_id="r")
    assert result.outputs["b"] == {"a": Report(pages=3), "s": 1}
    assert result.stage_results["s"] == Scored(output=1, score=0.5, stage_name="scores")


# ----------------------------------------------------------------------------------------------------------
# Restarts
# ----------------------------------------------------------------------------------------------------------


def switched(name: str = "p") -> tuple[PipelineDefinition, Stage, Switch]:
    first, last = Stage(same), Switch()
    return definition(stage("a", first), stage("b", last, "a"), name=name), first, last


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_restart_in_another_executor_reuses_what_has_succeeded(kind: str, tmp_path: Path):
    """Row: `PipelineExecutor(store=…)` does so across processes: nothing but the store tells of it."""
    store: Any = MemoryStore() if kind == "memory" else tmp_path / "runs.db"

    def writes(input: Any, context: PipelineContext) -> list[int]:
        context.set_state("seen", [input])
        context.increment_metric("n", 2)
        return [1, 2]

    first, item, last = Stage(writes), Stage(lambda i, c: c.increment_metric("n") or i), Switch()
    pipeline = definition(stage("a", first), stage("f", item, "a", pattern=FAN_OUT), stage("b", last, "f"))
    failed = execute(pipeline, {"x": 1}, at=store)
    assert (failed.success, failed.failed_stages) == (False, ["b"])
    last.up = True
    context = PipelineContext()
    result = execute(pipeline, {"x": 1}, context, at=store)
    assert result.outputs == {"a": [1, 2], "f": [1, 2], "b": [1, 2]}
    assert result.metadata["run_id"] == failed.metadata["run_id"]
    assert (len(first.inputs), len(item.inputs), len(last.inputs)) == (1, 2, 2)
    assert (context.state, context.metrics) == ({"seen": [{"x": 1}]}, {"n": 4})


def test_after_a_success_it_begins_at_the_beginning():
    pipeline, first, last = switched()
    last.up = True
    store = MemoryStore()
    ids = {execute(pipeline, 1, at=store).metadata["run_id"] for _ in range(3)}
    assert (len(ids), first.inputs) == (3, [1, 1, 1])
    last.up = False
    assert not execute(pipeline, 1, at=store).success
    last.up = True
    assert execute(pipeline, 1, at=store).success
    assert first.inputs == [1] * 4
    assert execute(pipeline, 1, at=store).success
    assert first.inputs == [1] * 5


@pytest.mark.parametrize(
    ("given", "other"),
    [(1, True), (1, 1.0), ([1], (1,)), ({"a": 1}, {"a": 2}), (None, []), ("1", 1)],
)
def test_another_input_another_name_or_another_store_reuses_nothing(given: Any, other: Any):
    pipeline, first, last = switched()
    store = MemoryStore()
    execute(pipeline, given, at=store)
    last.up = True
    namesake, *_ = switched("q")
    for definition, input, place in ((pipeline, other, store), (pipeline, given, MemoryStore())):
        before = len(first.inputs)
        assert execute(definition, input, at=place).success
        assert len(first.inputs) == before + 1
    assert not execute(namesake, given, at=store).success
    before = len(first.inputs)
    assert execute(pipeline, given, at=store).success
    assert len(first.inputs) == before, "the first one is still there to go on with"


def test_an_equal_input_is_the_same_whatever_its_order():
    pipeline, first, last = switched()
    store = MemoryStore()
    execute(pipeline, {"a": 1, "b": [2]}, at=store)
    last.up = True
    assert execute(pipeline, {"b": [2], "a": 1}, at=store).success
    assert len(first.inputs) == 1


def test_what_another_process_drives_is_left_alone():
    pipeline, first, last = switched()
    store = MemoryStore()
    run_id = execute(pipeline, 1, at=store).metadata["run_id"]
    store.claim(run_id, here(), 100.0)
    last.up = True
    result = execute(pipeline, 1, at=store)
    assert result.success
    assert (result.metadata["run_id"] != run_id, first.inputs) == (True, [1, 1])
    with pytest.raises(RunBusy):
        execute(pipeline, 1, at=store, run_id=run_id)


def test_a_store_in_memory_lives_as_long_as_its_executor():
    pipeline, first, last = switched()
    executor = PipelineExecutor("memory:")
    execute(pipeline, 1, executor=executor)
    last.up = True
    assert execute(pipeline, 1, executor=executor).success
    assert first.inputs == [1]


def test_forget_begins_at_the_beginning_and_what_is_stored_stays():
    pipeline, first, last = switched()
    store = MemoryStore()
    executor = PipelineExecutor(store)
    execute(pipeline, 1, executor=executor)
    executor.forget()
    last.up = True
    execute(pipeline, 1, executor=executor)
    assert (first.inputs, len(store.runs())) == ([1, 1], 2)


def test_a_store_of_one_call_is_known_to_that_executor_only():
    """As of `Flow.run`: without a run_id a new run, unless this executor has seen this very thing fail."""
    pipeline, first, last = switched()
    store, executor = MemoryStore(), PipelineExecutor()
    execute(pipeline, 1, executor=executor, store=store)
    execute(pipeline, 1, store=store)
    assert (first.inputs, len(store.runs())) == ([1, 1], 2)
    last.up = True
    assert execute(pipeline, 1, executor=executor, store=store).success
    assert (first.inputs, len(store.runs())) == ([1, 1], 2)


def test_what_was_kept_in_a_store_is_reused_without_one_too():
    pipeline, first, last = switched()
    executor = PipelineExecutor()
    execute(pipeline, 1, executor=executor, store=MemoryStore())
    last.up = True
    assert execute(pipeline, 1, executor=executor).success
    assert first.inputs == [1]


def test_runs_carry_the_tags_of_the_options_too():
    pipeline, _, _ = switched()
    store = MemoryStore()
    execute(pipeline, 1, at=store, options=RunOptions(tags={"who": "me"}))
    (entry,) = store.runs(tags={"who": "me"})
    assert entry.tags.keys() == {"who", "penstock.input"}


def test_failed_outputs_are_never_committed():
    """Row: neither the failure that is returned nor what is raised, nor what was written on the way there."""

    def fails(input: Any, context: PipelineContext) -> Any:
        context.set_state("half", "done")
        context.increment_metric("tries")
        return StageResult(output="half an output", error="no", metadata={"more": "half"})

    store, context = MemoryStore(), PipelineContext()
    retry = RetryConfig(max_attempts=2, initial_delay_ms=1)
    pipeline = definition(stage("a", same), stage("b", fails, "a", retry_config=retry))
    result = execute(pipeline, 1, context, store=store, run_id="r")
    assert (result.failed_stages, context.state, context.metrics) == (["b"], {}, {})
    rows = "".join(store.rows("r"))
    assert "half" not in rows
    assert "tries" not in rows
    assert '"fail","b"' in rows
    fresh = PipelineContext()
    execute(pipeline, 1, fresh, store=store, run_id="r")
    assert (fresh.state, fresh.metrics) == ({}, {})


def test_a_cancelled_execution_goes_on_where_it_was():
    first, token = Stage(same), asyncio.Event()

    async def waits(input: Any, context: PipelineContext) -> None:
        token.set()
        await asyncio.Event().wait()

    store = MemoryStore()
    context = PipelineContext(cancel_token=token)
    pipeline = definition(stage("a", first), stage("b", waits, "a"))
    assert not execute(pipeline, 1, context, at=store).success
    again = definition(stage("a", first), stage("b", same, "a"))
    assert execute(again, 1, at=store).success
    assert first.inputs == [1]


KILLED = """
    import asyncio
    from penstock.dialects.definitions import *

    class Set:
        async def execute(self, input, context):
            say("set")
            context.set_state("mode", "full")
            context.set_state("rows", [])
            context.increment_metric("n")
            return StageResult.success([1, 2])

    class Item:
        async def execute(self, input, context):
            say(f"item{input}")
            context.increment_metric("n", input)
            return StageResult.success(helper(input))

    def helper(item):
        return item

    class Between:
        async def execute(self, input, context):
            context.get_state("rows").append("in place")
            return StageResult.success(None)

    class Dies:
        async def execute(self, input, context):
            die()
            return StageResult.success(None)

    class Full:
        async def execute(self, input, context):
            say("full")
            return StageResult.success([input, context.get_state("rows")])

    pipeline = PipelineDefinition("trap", [
        StageDefinition("set", Set()),
        StageDefinition("items", Item(), ExecutionPattern.FAN_OUT, inputs=["set"]),
        StageDefinition("between", Between(), inputs=["items"]),
        StageDefinition("dies", Dies(), inputs=["between"]),
        StageDefinition("full", Full(), inputs=["dies"], condition=lambda c: c.get_state("mode") == "full"),
        StageDefinition("rest", Full(), inputs=["dies"], condition=lambda c: c.get_state("mode") != "full"),
    ])

    if __name__ == "__main__":
        context = PipelineContext()
        result = asyncio.run(PipelineExecutor(store="runs.db").execute(pipeline, 5, context))
        print(result.outputs, context.state, context.metrics)
"""


def test_killed_between_the_state_and_its_condition_it_decides_as_before(tmp_path: Path):
    """SIGKILL, and another process: the same definition and input, executed again."""
    process = Process(tmp_path, KILLED)
    process.live(killed=True)
    assert process.said == ["set", "item1", "item2"]
    outputs = "'full': [None, ['in place']], 'rest': None}"
    context = "{'mode': 'full', 'rows': ['in place']} {'n': 4}"
    assert process.live().endswith(f"{outputs} {context}\n")
    assert process.said == ["set", "item1", "item2", "full"]


def test_a_restart_runs_again_what_has_changed_and_what_follows(tmp_path: Path):
    """Nobody has asked for that very run: what does not fit any more is not used."""
    process = Process(tmp_path, KILLED)
    process.live(killed=True)
    process.edit("return item\n", "return 10 * item\n")
    assert "'items': [10, 20]" in process.live()
    assert process.said == ["set", "item1", "item2", "item1", "item2", "full"]


def test_a_restart_of_another_pipeline_of_that_name_begins_at_the_beginning():
    store = MemoryStore()
    execute(definition(stage("a"), stage("b", Switch(), "a")), 1, at=store)
    other = definition(stage("x"), stage("b", same, "x"))
    assert execute(other, 1, at=store).outputs == {"x": 1, "b": 1}


def test_the_file_is_closed_after_each_execution(tmp_path: Path):
    pipeline, _, last = switched()
    last.up = True
    executor = PipelineExecutor(tmp_path / "runs.db")
    for _ in range(2):
        assert execute(pipeline, 1, executor=executor).success
    with SqliteStore(tmp_path / "runs.db") as store:
        assert [entry.status for entry in store.runs()] == ["succeeded", "succeeded"]
