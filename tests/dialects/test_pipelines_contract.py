"""Pipelines: the rows of the contract that say what is there and how a run ends.

Each part names its row in the contract's own words. The other rows have files beside this one, by topic;
`test_pipelines.py` has what is not repeated here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock import RunOptions, testing
from penstock.dialects.pipelines import (
    ConditionalStage,
    FunctionStage,
    ParallelStage,
    Pipeline,
    PipelineBuilder,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageResult,
    StageStatus,
)

from .parts_bound import BOUND, bounded, failing, raising
from .parts_pipelines import by_id, fn, forever, of, one, run, statuses

# ----------------------------------------------------------------------------------------------------------
# The table
# ----------------------------------------------------------------------------------------------------------


def test_row_top_object_the_builder_makes_a_new_pipeline_at_each_build() -> None:
    builder = PipelineBuilder("p").stage("a", one)
    first = builder.build()
    second = builder.stage("b", one).context("k", 1).build()
    assert type(first) is type(second) is Pipeline
    assert first is not second
    assert [len(each.stages) for each in (first, second)] == [1, 2]
    assert (first.context, second.context) == ({}, {"k": 1})
    assert first.pipeline_id != second.pipeline_id


def test_row_run_run_blocks_and_arun_is_awaited() -> None:
    pipeline = of(fn("a"))
    assert isinstance(pipeline.run(), PipelineResult)
    assert inspect.iscoroutinefunction(Pipeline.arun)
    assert isinstance(asyncio.run(pipeline.arun()), PipelineResult)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_row_retry_number_means_retry_count_extra_calls(count: int) -> None:
    enough: Any = of(fn("a", failing(count), retry_count=count))
    assert testing.run(enough).status is PipelineStatus.SUCCESS
    short: Any = of(fn("a", failing(count + 1), retry_count=count))
    assert testing.run(short).status is PipelineStatus.FAILED


def test_row_default_on_failure_is_to_stop() -> None:
    assert Pipeline().fail_fast is True
    assert PipelineBuilder("p").build().fail_fast is True
    assert statuses(run(fn("a", raising(ValueError)), fn("b")))["b"] == "CANCELLED"


FAILING: dict[str, Any] = {
    "stage": lambda: fn("a", raising(ValueError("no"))),
    "condition": lambda: ConditionalStage("a", raising(ValueError("no")), fn("in")),
    "inner stage": lambda: ConditionalStage("a", one, fn("in", raising(ValueError("no")))),
    "child": lambda: ParallelStage("a", [fn("x"), fn("y", raising(ValueError("no")))]),
    "timeout": lambda: fn("a", forever, timeout_s=0.02),
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("is_async", [False, True])
def test_row_a_task_failure_does_not_raise_from_run(kind: str, is_async: bool) -> None:
    pipeline = of(FAILING[kind]())
    result = bounded(lambda: asyncio.run(pipeline.arun()) if is_async else pipeline.run())
    assert (result.status, statuses(result)) == (PipelineStatus.FAILED, {"a": "FAILED"})
    assert pipeline.status is PipelineStatus.FAILED
    assert by_id(result)["a"].error


def test_row_running_siblings_at_a_failure_finish_with_the_retries_they_have_left() -> None:
    waiting = threading.Event()

    def watch(event: Any) -> None:
        if type(event).__name__ == "NodeRetrying":
            waiting.set()

    def fail(context: dict[str, Any]) -> None:
        assert waiting.wait(BOUND)
        raise ValueError("no")

    stages = [fn("a", fail), fn("b", failing(1), retry_count=1), fn("c", one, "b")]
    result = run(*stages, max_workers=2, options=RunOptions(observers=[watch]))
    assert statuses(result) == {"a": "FAILED", "b": "SUCCESS", "c": "CANCELLED"}
    assert by_id(result)["b"].output == "done"


def test_row_running_siblings_at_a_failure_finish_among_the_children_of_a_parallel_stage() -> None:
    started, finished = threading.Event(), threading.Event()

    def fail(context: dict[str, Any]) -> None:
        assert started.wait(BOUND)
        raise ValueError("no")

    async def sibling(context: dict[str, Any]) -> None:
        started.set()
        for _ in range(50):  # a stop would arrive on the way
            await asyncio.sleep(0)
        finished.set()

    result = run(ParallelStage("p", [fn("a", fail), fn("b", sibling)]))
    assert statuses(result) == {"p": "FAILED"}
    assert finished.is_set()


# ----------------------------------------------------------------------------------------------------------
# Engine status -> dialect status
# ----------------------------------------------------------------------------------------------------------


def test_row_cancelled_while_running_is_cancelled_and_so_is_what_never_started() -> None:
    stages = [fn("a", forever), fn("b", raising(KeyboardInterrupt)), fn("c", one, "a"), fn("d")]
    result = run(*stages, max_workers=2, runner="inline")
    assert statuses(result) == dict.fromkeys("abcd", "CANCELLED")
    assert (result.status, result.failed_stages) == (PipelineStatus.CANCELLED, 0)
    for stage in result.stages:
        assert (stage.output, stage.is_success) == (None, False)
        assert stage.error


def test_row_never_started_because_the_run_stopped_is_cancelled_with_the_reason() -> None:
    stages = fn("a", raising(ValueError)), fn("a2", one, "a"), fn("b"), fn("c", one, "b")
    result = run(*stages)
    for id in "bc":
        stage = by_id(result)[id]
        assert (stage.status, stage.output) == (StageStatus.CANCELLED, None)
        assert "a failed" in str(stage.error)


def test_row_a_stage_whose_needs_were_skipped_and_failed_is_skipped_by_the_failure() -> None:
    result = run(
        fn("bad", raising(ValueError)),
        ConditionalStage("no", lambda context: False, fn("in")),
        fn("both", one, "no", "bad"),
        fn("below", one, "both"),
        fn("after no", one, "no"),
        fail_fast=False,
    )
    assert statuses(result) == {
        "bad": "FAILED",
        "no": "SKIPPED",
        "both": "SKIPPED",
        "below": "SKIPPED",
        "after no": "SUCCESS",
    }
    assert [by_id(result)[id].error for id in ("no", "both", "below")] == [
        None,
        "Dependencies not satisfied",
        "Dependencies not satisfied",
    ]


def test_row_all_outputs_are_kept() -> None:
    stages = [fn(f"s{at}", lambda c, at=at: [at], *[f"s{at - 1}"][:at]) for at in range(50)]
    assert [stage.output for stage in run(*stages).stages] == [[at] for at in range(50)]


# ----------------------------------------------------------------------------------------------------------
# "StageResult(…) dataclass; duration_ms (0.0 if unset), is_success", "PipelineResult(…)"
# ----------------------------------------------------------------------------------------------------------


def test_row_stage_result_is_a_dataclass_with_these_fields_in_this_order() -> None:
    assert dataclasses.is_dataclass(StageResult)
    assert [(each.name, each.default) for each in dataclasses.fields(StageResult)][2:] == [
        ("output", None),
        ("error", None),
        ("start_time", None),
        ("end_time", None),
    ]
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    result = StageResult("a", StageStatus.SUCCESS, 5, "text", begin, begin + timedelta(seconds=1.5))
    assert (result.stage_id, result.status, result.output, result.error) == (
        "a",
        StageStatus.SUCCESS,
        5,
        "text",
    )
    assert (result.duration_ms, result.is_success) == (1500.0, True)
    assert StageResult("a", StageStatus.RUNNING, start_time=begin).duration_ms == 0.0
    assert StageResult("a", StageStatus.RUNNING, end_time=begin).duration_ms == 0.0


@pytest.mark.parametrize("status", StageStatus)
def test_row_is_success_is_true_of_success_alone(status: StageStatus) -> None:
    assert StageResult("a", status).is_success is (status is StageStatus.SUCCESS)


def test_row_pipeline_result_has_these_fields_and_counts() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    stages = [StageResult(status.value, status) for status in StageStatus]
    stages.append(StageResult("more", StageStatus.FAILED))
    result = PipelineResult("p", PipelineStatus.FAILED, stages, begin, begin + timedelta(seconds=2))
    assert dataclasses.is_dataclass(result)
    assert (result.pipeline_id, result.status, result.stages) == ("p", PipelineStatus.FAILED, stages)
    assert (result.duration_ms, result.successful_stages, result.failed_stages) == (2000.0, 1, 2)


# ----------------------------------------------------------------------------------------------------------
# "Stage(…) abstract", "FunctionStage", "ConditionalStage", "ParallelStage", "Pipeline", "PipelineBuilder"
# ----------------------------------------------------------------------------------------------------------

SIGNATURES: list[tuple[Any, dict[str, Any]]] = [
    (FunctionStage, {"stage_id": ..., "func": ...}),
    (ConditionalStage, {"stage_id": ..., "condition": ..., "stage": ...}),
    (ParallelStage, {"stage_id": ..., "stages": ..., "max_workers": 4}),
    (Pipeline, {"pipeline_id": None, "name": None, "fail_fast": True, "max_workers": 1}),
]


@pytest.mark.parametrize(("kind", "wanted"), SIGNATURES)
def test_row_signatures_by_position(kind: Any, wanted: dict[str, Any]) -> None:
    found = [
        each
        for each in inspect.signature(kind).parameters.values()
        if each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    assert {each.name: ... if each.default is each.empty else each.default for each in found} == wanted


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: FunctionStage("x", one, **kw),
        lambda **kw: ConditionalStage("x", one, fn("in"), **kw),
        lambda **kw: ParallelStage("x", [], **kw),
    ],
)
def test_row_every_stage_takes_the_options_of_stage(make: Any) -> None:
    stage = make(name="X", depends_on=["a"], retry_count=2, timeout_s=3.0)
    assert isinstance(stage, Stage)
    assert (stage.stage_id, stage.name, stage.depends_on) == ("x", "X", ["a"])
    assert (stage.retry_count, stage.timeout_s) == (2, 3.0)
    bare = make()
    assert (bare.name, bare.depends_on, bare.retry_count, bare.timeout_s) == ("x", [], 0, None)


def test_row_stage_hooks_do_nothing_by_themselves() -> None:
    stage, context = fn("a"), {"k": 1}
    stage.on_success(StageResult("a", StageStatus.SUCCESS), context)
    stage.on_failure(StageResult("a", StageStatus.FAILED), context)
    assert context == {"k": 1}


def test_row_add_stage_and_set_context_return_self_and_so_does_every_word_of_the_builder() -> None:
    pipeline = Pipeline()
    assert pipeline.add_stage(fn("a")) is pipeline
    assert pipeline.set_context("k", 1) is pipeline
    builder = PipelineBuilder("p")
    assert builder.stage("a", one) is builder
    assert builder.parallel("b", []) is builder
    assert builder.conditional("c", one, one) is builder
    assert builder.context("k", 1) is builder


def test_row_pipeline_id_falls_back_to_8_hex_characters() -> None:
    ids = {Pipeline().pipeline_id for _ in range(20)}
    assert len(ids) == 20
    for id in ids:
        assert len(id) == 8
        int(id, 16)
    assert Pipeline("own", "mine").name == "mine"
    assert run(fn("a")).pipeline_id == "p"
