"""Pipelines: the rows of the contract on what runs together, time, graphs and conditions."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from penstock import RunOptions, testing
from penstock.core.errors import CycleError, GraphError
from penstock.dialects.pipelines import (
    ConditionalStage,
    ParallelStage,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    Stage,
    StageStatus,
)

from .parts_bound import BOUND, bounded, failing, raising
from .parts_pipelines import Told, by_id, fn, forever, of, one, run, seen, statuses

# ----------------------------------------------------------------------------------------------------------
# "max_workers is a named limit on top-level stages (not the run's max_concurrency …)"
# ----------------------------------------------------------------------------------------------------------


class Gauge:
    """How many of its calls are under way at the same time, at most; each lets the others come in."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, context: dict[str, Any]) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(50):
            await asyncio.sleep(0)
        self.now -= 1


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_row_max_workers_of_a_parallel_stage_is_its_own_limit(workers: int) -> None:
    first, second = Gauge(), Gauge()
    result = run(
        ParallelStage("p", [fn(f"k{at}", first) for at in range(8)], max_workers=workers),
        ParallelStage("q", [fn(f"k{at}", second) for at in range(8)], max_workers=3),
    )
    assert (statuses(result), first.most, second.most) == ({"p": "SUCCESS", "q": "SUCCESS"}, workers, 3)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_row_max_workers_of_the_pipeline_bounds_its_stages(workers: int) -> None:
    gauge = Gauge()
    assert run(*[fn(f"s{at}", gauge) for at in range(8)], max_workers=workers).successful_stages == 8
    assert gauge.most == workers


def test_row_a_parallel_stage_takes_one_place_of_the_pipeline_s_max_workers() -> None:
    meeting = threading.Barrier(4)

    def meet(context: dict[str, Any]) -> bool:
        return meeting.wait(BOUND) >= 0

    pairs = [ParallelStage(f"p{at}", [fn("x", meet), fn("y", meet)], max_workers=2) for at in range(4)]
    assert run(*pairs, max_workers=2).successful_stages == 4


def test_row_the_run_s_max_concurrency_does_not_starve_a_parallel_stage() -> None:
    gauge = Gauge()
    stages = [ParallelStage("p", [fn(f"k{at}", gauge) for at in range(6)], max_workers=3), fn("a", one, "p")]
    result = run(*stages, max_workers=2, options=RunOptions(max_concurrency=1))
    assert statuses(result) == {"p": "SUCCESS", "a": "SUCCESS"}
    assert gauge.most == 1


def test_row_children_their_own_retry_count_timeout_and_hooks_count() -> None:
    tried, slow = Told("tried", failing(1, 7), retry_count=1), Told("slow", forever, timeout_s=0.02)
    quick = Told("quick", lambda context: 5)
    output = by_id(run(ParallelStage("p", [tried, slow, quick], allow_failures=True)))["p"].output
    assert (output["tried"], output["quick"], list(output["slow"])) == (7, 5, ["error"])
    assert (tried.words, slow.words, quick.words) == (["success"], ["failure"], ["success"])
    assert quick.calls[0][1].output == 5


def test_row_children_a_failing_child_fails_the_stage_naming_it_and_its_own_retries_call_all_again() -> None:
    calls: list[str] = []

    def note(context: dict[str, Any]) -> None:
        calls.append("x")

    stage = ParallelStage("p", [fn("x", note), fn("bad one", failing(1, 3))], retry_count=1)
    pipeline: Any = of(stage)
    assert by_id(testing.run(pipeline))["p"].output == {"x": None, "bad one": 3}
    assert calls == ["x", "x"]
    error = by_id(run(ParallelStage("p", [fn("bad one", raising(ValueError("why")))])))["p"].error
    assert "'bad one'" in str(error)
    assert "why" in str(error)


def test_row_children_a_child_that_is_skipped_by_its_condition_gives_none() -> None:
    children = [ConditionalStage("no", lambda context: False, fn("in")), fn("below", seen, "no")]
    result = run(ParallelStage("p", children))
    assert by_id(result)["p"].output == {"no": None, "below": {"stage_no_output": None}}


# ----------------------------------------------------------------------------------------------------------
# "timeout_s is enforced"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda func: fn("a", func, timeout_s=0.02),
        lambda func: ConditionalStage("a", one, fn("in", func), timeout_s=0.02),
        lambda func: ConditionalStage("a", one, fn("in", func, timeout_s=0.02)),
        lambda func: ParallelStage("a", [fn("x", func)], timeout_s=0.02),
        lambda func: ParallelStage("a", [fn("x", func, timeout_s=0.02)]),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_row_timeout_s_is_enforced_on_every_kind_of_stage(make: Any, is_async: bool) -> None:
    release = threading.Event()

    def block(context: dict[str, Any]) -> bool:
        return release.wait(BOUND)

    stages = make(forever if is_async else block), fn("b", one, "a")
    result = run(*stages, max_workers=2, options=RunOptions(grace=0.02))
    release.set()
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED"}
    assert "0.02 s" in str(by_id(result)["a"].error)


def test_row_timeout_s_a_function_that_never_ends_holds_up_nobody_or_they_fail_naming_it() -> None:
    release = threading.Event()
    stages = fn("stuck", lambda context: release.wait(BOUND), timeout_s=0.02), fn("b")
    result = run(*stages, fail_fast=False, options=RunOptions(grace=0.02))
    release.set()
    stuck, b = by_id(result)["stuck"], by_id(result)["b"]
    assert stuck.status is StageStatus.FAILED
    assert b.is_success or "stuck" in str(b.error)


# ----------------------------------------------------------------------------------------------------------
# "Unknown dependency, cycle, duplicate id: GraphError (a ValueError) at run()/build(), nothing started"
# ----------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[tuple[str, list[str]]], type[Exception]]] = {
    "unknown": ([("ok", []), ("b", ["z"])], GraphError),
    "cycle of two": ([("ok", []), ("a", ["b"]), ("b", ["a"])], CycleError),
    "cycle of one": ([("ok", []), ("a", ["a"])], GraphError),
    "duplicate": ([("ok", []), ("a", []), ("a", ["ok"])], GraphError),
}


@pytest.mark.parametrize("how", ["run", "arun", "build"])
@pytest.mark.parametrize("wrong", WRONG)
def test_row_a_bad_graph_is_a_graph_error_and_nothing_is_started(wrong: str, how: str) -> None:
    started: list[str] = []
    spec, kind = WRONG[wrong]
    builder, pipeline = PipelineBuilder("p"), Pipeline("p")
    for id, above in spec:
        builder.stage(id, lambda context: started.append("x"), depends_on=above)
        pipeline.add_stage(fn(id, lambda context: started.append("x"), *above))
    calls: dict[str, Any] = {
        "run": pipeline.run,
        "arun": lambda: asyncio.run(pipeline.arun()),
        "build": builder.build,
    }
    with pytest.raises(kind) as caught:
        bounded(calls[how])
    assert isinstance(caught.value, GraphError)
    assert isinstance(caught.value, ValueError)
    assert (started, pipeline.status) == ([], PipelineStatus.CREATED)


# Children are part of the pipeline: the row makes no exception for them.
@pytest.mark.parametrize("wrong", WRONG)
def test_row_a_bad_graph_of_children_is_a_graph_error_at_build_too(wrong: str) -> None:
    children: list[Stage] = [fn(id, one, *above) for id, above in WRONG[wrong][0]]
    with pytest.raises(GraphError):
        PipelineBuilder("p").parallel("p", children).build()


# ----------------------------------------------------------------------------------------------------------
# "Condition false: stage SKIPPED, output None, dependants run …"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inner", [fn("in"), ParallelStage("in", [fn("x")]), ConditionalStage("in", one, fn("x"))]
)
def test_row_condition_false_whatever_the_inner_stage_is(inner: Stage) -> None:
    told = Told("b", seen, depends_on=["a"])
    result = run(ConditionalStage("a", lambda context: False, inner), told)
    assert statuses(result) == {"a": "SKIPPED", "b": "SUCCESS"}
    assert (by_id(result)["a"].output, by_id(result)["b"].output) == (None, {"stage_a_output": None})
    assert (result.status, result.failed_stages, result.successful_stages) == (PipelineStatus.SUCCESS, 0, 1)


def test_row_condition_false_the_none_is_seen_by_all_that_come_later() -> None:
    no = ConditionalStage("a", lambda context: False, fn("in"))
    result = run(no, fn("b", one, "a"), fn("c", seen, "b"))
    assert by_id(result)["c"].output == {"stage_a_output": None, "stage_b_output": 1}


def test_row_condition_false_neither_hook_is_called() -> None:
    inner = Told("in")
    run(ConditionalStage("a", lambda context: False, inner))
    assert inner.calls == []


def test_row_conditional_execute_called_directly_gives_what_the_inner_stage_gives() -> None:
    context = {"k": 3}
    stage = ConditionalStage("a", lambda c: c["k"] == 3, fn("in", lambda c: c["k"] + 1))
    assert (stage.execute(context), stage.execute({"k": 4})) == (4, None)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_row_conditional_execute_called_directly_does_not_take_an_async_condition_for_a_yes() -> None:
    async def no(context: dict[str, Any]) -> bool:
        return False

    ran: list[int] = []
    try:
        ConditionalStage("a", no, fn("in", lambda context: ran.append(1))).execute({})
    except TypeError:
        pass  # that it cannot be asked here is as good an answer as None
    assert ran == []
