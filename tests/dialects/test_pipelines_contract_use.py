"""Pipelines in use: runners, options, event loops and threads."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.pipelines import (
    ConditionalStage,
    ParallelStage,
    Pipeline,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageStatus,
)

from .parts_bound import BOUND, bounded, raising
from .parts_pipelines import Context, by_id, fails, fn, forever, later, of, one, run, seen, statuses

# ----------------------------------------------------------------------------------------------------------
# Runners
# ----------------------------------------------------------------------------------------------------------


def writes(context: Context) -> int:
    context["list"] = [context["base"]]
    context.update(more=2)
    del context["gone"]
    return context["base"] + 1


def is_large(context: Context) -> bool:
    return context["stage_a_output"] > 100


def process(context: Context) -> int:
    return os.getpid()


class Reads(Stage):
    def execute(self, context: Context) -> Context:
        return dict(context)


@pytest.mark.parametrize("runner", [None, "threads", "inline", "aio", "processes"])
def test_every_runner_gives_the_same_results(runner: str | None) -> None:
    stages = [
        fn("a", writes),
        ConditionalStage("b", is_large, fn("in", one), depends_on=["a"]),
        ParallelStage("c", [fn("x", process), fn("y", later), Reads("z")], depends_on=["b"]),
        fn("d", fails, "c"),
        Reads("e", depends_on=["c"]),
    ]
    result = run(*stages, runner=runner, fail_fast=False, context={"base": 1, "gone": 0})
    found = by_id(result)
    assert statuses(result) == {"a": "SUCCESS", "b": "SKIPPED", "c": "SUCCESS", "d": "FAILED", "e": "SUCCESS"}
    inner = {"base": 1, "list": [1], "more": 2, "stage_a_output": 2}
    assert inner.items() <= found["c"].output["z"].items()  # and whatever of its siblings came first
    assert (found["c"].output["y"], found["d"].error) == ("later", "why")
    last = found["e"].output
    last.pop("stage_b_output", None)
    assert last == {**inner, "later": True, "stage_c_output": found["c"].output}
    assert (found["c"].output["x"] == os.getpid()) is (runner != "processes")


def test_processes_run_stages_inner_stages_and_children_and_retries_there() -> None:
    stages = (
        fn("a", process),
        ConditionalStage("b", one, fn("in", process)),
        ParallelStage("c", [fn("x", process)]),
    )
    outputs = [stage.output for stage in run(*stages, runner="processes").stages]
    assert os.getpid() not in [*outputs[:2], outputs[2]["x"]]
    failed = by_id(run(fn("a", fails, retry_count=1), runner="processes"))["a"]
    assert (failed.status, failed.error) == (StageStatus.FAILED, "why")


# ----------------------------------------------------------------------------------------------------------
# Options
# ----------------------------------------------------------------------------------------------------------


def test_values_copied_gives_every_stage_its_own_copy_of_an_output() -> None:
    stages = [
        fn("a", lambda context: [1]),
        fn("b", lambda context: context["stage_a_output"].append(2), "a"),
        fn("c", lambda context: context["stage_a_output"], "b"),
    ]
    found = by_id(run(*stages, options=RunOptions(values="copied")))
    assert (found["a"].output, found["c"].output) == ([1], [1])


def test_values_copied_keeps_what_was_written_over_an_output() -> None:
    def over(context: Context) -> None:
        context["stage_a_output"] = 2

    def without(context: Context) -> None:
        del context["stage_a_output"]

    stages = [
        fn("a"),
        fn("b", over, "a"),
        fn("c", seen, "a", "b"),
        fn("d", without, "c"),
        fn("e", seen, "a", "d"),
    ]
    found = by_id(run(*stages, options=RunOptions(values="copied")))
    assert found["c"].output["stage_a_output"] == 2
    assert "stage_a_output" not in found["e"].output


def test_values_copied_keeps_the_caller_s_own_values_as_they_are() -> None:
    mine: dict[str, Any] = {"list": [1]}
    run(fn("a", lambda context: context["list"].append(2)), context=mine, options=RunOptions(values="copied"))
    assert mine == {"list": [1]}


@pytest.mark.parametrize("is_parallel", [False, True])
def test_a_deadline_fails_what_runs_and_cancels_the_rest(is_parallel: bool) -> None:
    first: Stage = ParallelStage("a", [fn("x", forever)]) if is_parallel else fn("a", forever)
    stages = first, fn("b", one, "a"), fn("c")
    result = run(*stages, options=RunOptions(deadline=0.05))
    assert result.status is PipelineStatus.FAILED
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED", "c": "CANCELLED"}
    assert "deadline" in str(by_id(result)["a"].error)


def test_observers_are_told_of_the_pipeline_s_stages_and_one_that_raises_is_harmless() -> None:
    told: list[str] = []

    def watch(event: Any) -> None:
        told.append(type(event).__name__)

    stages = fn("a"), ParallelStage("b", [fn("x"), fn("y")], depends_on=["a"]), fn("c", seen, "b")
    result = run(*stages, options=RunOptions(observers=[raising(ValueError("watched")), watch]))
    assert by_id(result)["c"].output == {"stage_a_output": 1, "stage_b_output": {"x": 1, "y": 1}}
    assert (told[0], told[-1], told.count("NodeSucceeded")) == ("RunStarted", "RunFinished", 3)
    assert result.run is not None
    assert len(result.run.warnings) == 1


@pytest.mark.parametrize("on_failure", ["stop", "drain", "continue"])
@pytest.mark.parametrize("fail_fast", [True, False])
def test_fail_fast_stands_above_on_failure_of_the_options(on_failure: Any, fail_fast: bool) -> None:
    stages = fn("a", raising(ValueError)), fn("b")
    result = run(*stages, fail_fast=fail_fast, options=RunOptions(on_failure=on_failure))
    assert statuses(result)["b"] == ("CANCELLED" if fail_fast else "SUCCESS")


# ----------------------------------------------------------------------------------------------------------
# Event loops and threads
# ----------------------------------------------------------------------------------------------------------


def test_run_and_arun_inside_a_running_loop_leave_the_loop_as_it_was() -> None:
    async def main() -> list[Any]:
        pipeline = of(fn("a", later), ParallelStage("b", [fn("x", later), fn("y")], depends_on=["a"]))
        results = [
            pipeline.run(),
            await pipeline.arun(),
            *await asyncio.gather(pipeline.arun(), pipeline.arun()),
        ]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return [result.stages[1].output for result in results]

    assert bounded(lambda: asyncio.run(main())) == [{"x": "later", "y": 1}] * 4


def test_an_arun_whose_caller_is_cancelled_is_cancelled_and_leaves_nothing_running() -> None:
    ended: list[str] = []

    async def main() -> Pipeline:
        running = asyncio.Event()

        async def hang(context: Context) -> None:
            running.set()
            try:
                await asyncio.sleep(BOUND)
            finally:
                ended.append("hang")

        pipeline = of(fn("a", hang), fn("b", lambda context: ended.append("b"), "a"))
        caller = asyncio.create_task(pipeline.arun())
        await running.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert pipeline.status is PipelineStatus.CANCELLED
        pipeline.stages[0].func = one  # type: ignore[attr-defined]
        assert (await pipeline.arun()).status is PipelineStatus.SUCCESS
        return pipeline

    assert bounded(lambda: asyncio.run(main())).status is PipelineStatus.SUCCESS
    assert ended == ["hang", "b"]


def test_an_arun_that_is_cancelled_before_it_begins_runs_nothing() -> None:
    ran: list[int] = []

    async def main() -> None:
        caller = asyncio.create_task(of(fn("a", lambda context: ran.append(1))).arun())
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    bounded(lambda: asyncio.run(main()))
    assert ran == []


def test_one_pipeline_run_from_eight_threads_at_a_time_keeps_the_runs_apart() -> None:
    meeting = threading.Barrier(8)

    def meet(context: Context) -> int:
        meeting.wait(BOUND)
        context["mine"] = context["n"]
        return context["n"]

    pipeline = of(fn("a", meet), ParallelStage("p", [fn("x", seen)], depends_on=["a"]), fn("z", seen, "p"))
    results: dict[int, PipelineResult] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: pipeline.run({"n": n})}), daemon=True)
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert sorted(results) == list(range(8))
    for n, result in results.items():
        wanted = {"n": n, "mine": n, "stage_a_output": n}
        assert by_id(result)["z"].output == {**wanted, "stage_p_output": {"x": wanted}}


@pytest.mark.parametrize("runner", [None, "threads", "inline"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_stage_may_run_another_pipeline(runner: str | None, is_async: bool) -> None:
    inner = of(fn("x", lambda context: context["n"] * 2))

    def now(context: Context) -> Any:
        return inner.run({"n": context["n"]}).stages[0].output

    async def awaited(context: Context) -> Any:
        return (await inner.arun({"n": context["n"]})).stages[0].output

    func = awaited if is_async else now
    result = run(fn("a", func), ParallelStage("b", [fn("y", func)]), runner=runner, context={"n": 4})
    assert [stage.output for stage in result.stages] == [8, {"y": 8}]


def test_a_stage_may_run_its_own_pipeline_as_long_as_that_ends() -> None:
    pipeline = Pipeline("p")

    def down(context: Context) -> Any:
        depth = context.get("depth", 0)
        return depth if depth == 3 else pipeline.run({"depth": depth + 1}).stages[0].output

    pipeline.add_stage(fn("a", down))
    assert bounded(pipeline.run).stages[0].output == 3
