"""The vocabulary of pipelines and stages: each test names the row of the contract that it shows."""

import asyncio
import copy
import enum
import functools
import itertools
import json
import logging
import threading
from typing import Any

import pytest

from penstock import testing
from penstock.core.errors import CycleError, GraphError, InputError
from penstock.core.model import RunOptions
from penstock.dialects import pipelines
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

untyped: Any = pipelines

BOUND = 30.0  # seconds: what waits so long waits for ever


def one(context: dict[str, Any]) -> int:
    return 1


def boom(context: dict[str, Any]) -> None:
    context["left"] = "behind"
    raise ValueError("boom")


def seen(context: dict[str, Any]) -> dict[str, Any]:
    return dict(context)


def by_id(result: PipelineResult) -> dict[str, StageResult]:
    return {stage.stage_id: stage for stage in result.stages}


def statuses(result: PipelineResult) -> dict[str, str]:
    return {stage.stage_id: stage.status.name for stage in result.stages}


def run(*stages: Stage, **how: Any) -> PipelineResult:
    pipeline = Pipeline("p", **how)
    for stage in stages:
        pipeline.add_stage(stage)
    return pipeline.run()


def fn(id: str, func: Any = one, *above: str, **kw: Any) -> FunctionStage:
    return FunctionStage(id, func, depends_on=list(above), **kw)


class Hooked(FunctionStage):
    def on_success(self, result: StageResult, context: dict[str, Any]) -> None:
        context.setdefault("told", [])
        context["told"] = [*context["told"], ("success", result.stage_id, result.output)]

    def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
        context["told"] = [*context.get("told", []), ("failure", result.stage_id, result.error)]


# ----------------------------------------------------------------------------------------------------------
# Words
# ----------------------------------------------------------------------------------------------------------


def test_exports_exactly_ten_names() -> None:
    wanted = "StageStatus PipelineStatus StageResult PipelineResult Stage FunctionStage ConditionalStage"
    assert sorted(pipelines.__all__) == sorted(f"{wanted} ParallelStage Pipeline PipelineBuilder".split())


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (StageStatus, "PENDING RUNNING SUCCESS FAILED SKIPPED CANCELLED"),
        (PipelineStatus, "CREATED RUNNING SUCCESS FAILED CANCELLED"),
    ],
)
def test_values_of_statuses_are_the_lower_case_names(kind: type[enum.Enum], names: str) -> None:
    assert [each.name for each in kind] == names.split()
    assert all(each.value == each.name.lower() for each in kind)


def test_stage_result_has_duration_ms_and_is_success() -> None:
    empty = StageResult("a", StageStatus.PENDING)
    assert (empty.duration_ms, empty.is_success, empty.output, empty.error) == (0.0, False, None, None)
    ran = by_id(run(fn("a")))["a"]
    assert ran.is_success
    assert ran.start_time is not None
    assert ran.end_time is not None
    assert ran.start_time.tzinfo is not None
    assert ran.duration_ms == (ran.end_time - ran.start_time).total_seconds() * 1000


def test_pipeline_result_counts_stages() -> None:
    result = run(fn("a"), fn("b", boom), fn("c", one, "b"), fail_fast=False)
    assert (result.successful_stages, result.failed_stages, result.pipeline_id) == (1, 1, "p")
    assert result.duration_ms > 0
    assert PipelineResult("x", PipelineStatus.CREATED).duration_ms == 0.0


def test_pipeline_id_falls_back_to_8_characters_and_the_name_to_it() -> None:
    pipeline = Pipeline()
    assert len(pipeline.pipeline_id) == 8
    assert pipeline.name == pipeline.pipeline_id != Pipeline().pipeline_id
    assert Pipeline("id").name == "id"
    assert pipeline.status is PipelineStatus.CREATED


def test_stages_come_after_those_they_depend_on() -> None:
    result = run(fn("c", one, "b"), fn("b", one, "a"), fn("a"))
    assert [stage.stage_id for stage in result.stages] == ["a", "b", "c"]


# ----------------------------------------------------------------------------------------------------------
# Context
# ----------------------------------------------------------------------------------------------------------


def test_a_dependency_s_output_is_put_in_as_stage_id_output() -> None:
    result = run(fn("a", lambda c: 5), fn("b", lambda c: c["stage_a_output"] + 1, "a"), fn("c", seen, "b"))
    assert by_id(result)["c"].output == {"stage_a_output": 5, "stage_b_output": 6}


def test_initial_context_wins_and_the_caller_s_dict_is_never_changed() -> None:
    mine = {"x": 2}
    pipeline = Pipeline("p").set_context("x", 1).set_context("y", 1).add_stage(fn("a", seen))
    pipeline.add_stage(fn("b", lambda c: c.update(x=3), "a"))
    assert by_id(pipeline.run(mine))["a"].output == {"x": 2, "y": 1}
    assert mine == {"x": 2}
    assert pipeline.context == {"x": 1, "y": 1}


def test_what_a_stage_writes_is_visible_to_later_stages() -> None:
    def write(c: dict[str, Any]) -> None:
        c["a"] = 1
        c.update(b=2)
        c.setdefault("c", 3)
        c |= {"d": 4}
        del c["gone"]
        c.pop("gone too")

    pipeline = Pipeline("p").add_stage(fn("w", write)).add_stage(fn("r", seen, "w"))
    found = by_id(pipeline.run({"gone": 1, "gone too": 1, "kept": 1}))["r"].output
    assert found == {"a": 1, "b": 2, "c": 3, "d": 4, "kept": 1, "stage_w_output": None}


def test_what_is_cleared_and_popped_is_gone_for_later_stages() -> None:
    result = Pipeline("p").add_stage(fn("w", lambda c: c.clear())).add_stage(fn("r", seen, "w")).run({"x": 1})
    assert by_id(result)["r"].output == {"stage_w_output": None}
    result = (
        Pipeline("p").add_stage(fn("w", lambda c: c.popitem())).add_stage(fn("r", seen, "w")).run({"x": 1})
    )
    assert by_id(result)["r"].output == {"stage_w_output": ("x", 1)}


def test_writes_of_a_failed_attempt_are_dropped() -> None:
    calls: list[int] = []

    def second(c: dict[str, Any]) -> bool:
        calls.append(1)
        there = "left" in c
        c["left"] = 1
        if len(calls) == 1:
            raise ValueError
        return there

    result = run(fn("a", boom), fn("b", second, retry_count=1), fn("c", seen, "b"), fail_fast=False)
    assert by_id(result)["b"].output is False
    assert by_id(result)["c"].output["left"] == 1


def test_writes_of_an_attempt_past_its_time_are_dropped() -> None:
    given_up, go, done = threading.Event(), threading.Event(), threading.Event()

    class Late(FunctionStage):
        def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
            given_up.set()

    def late(c: dict[str, Any]) -> None:
        go.wait(BOUND)
        c["late"] = True
        done.set()

    def wait(c: dict[str, Any]) -> bool:
        given_up.wait(BOUND)
        go.set()
        return done.wait(BOUND)

    stages = [Late("a", late, timeout_s=0.02), fn("b", wait), fn("c", seen, "b")]
    result = run(*stages, fail_fast=False, max_workers=2)
    assert statuses(result) == {"a": "FAILED", "b": "SUCCESS", "c": "SUCCESS"}
    assert by_id(result)["c"].output == {"stage_b_output": True}


def test_the_context_is_a_dict_for_whoever_reads_dicts_from_c() -> None:
    def check(c: dict[str, Any]) -> list[Any]:
        both = copy.copy(c), copy.deepcopy(c)
        return [json.loads(json.dumps(c)), {**c}, *map(type, both), isinstance(c, dict), dict(c)]

    result = Pipeline("p").add_stage(fn("a", check)).run({"x": 1})
    assert by_id(result)["a"].output == [{"x": 1}, {"x": 1}, dict, dict, True, {"x": 1}]


def test_a_key_written_by_two_unordered_stages_is_a_warning() -> None:
    stages = [fn(id, lambda c: c.update(k=1)) for id in "ab"]
    result = run(*stages)
    assert result.run is not None
    assert result.run.warnings == (
        "context['k'] was written by 'a' and by 'b', and neither depends on the other: which of them counts "
        "is a matter of time",
    )
    ordered = run(fn("a", lambda c: c.update(k=1)), fn("m", one, "a"), fn("b", lambda c: c.update(k=2), "m"))
    assert ordered.run is not None
    assert ordered.run.warnings == ()


# ----------------------------------------------------------------------------------------------------------
# Hooks
# ----------------------------------------------------------------------------------------------------------


def test_hooks_are_called_once_and_what_they_write_belongs_to_the_stage() -> None:
    stages = [Hooked("a", lambda c: 7), Hooked("b", boom, depends_on=["a"], retry_count=1)]
    result = run(*stages, fn("c", seen, "a"), fail_fast=False, max_workers=1)
    assert statuses(result) == {"a": "SUCCESS", "b": "FAILED", "c": "SUCCESS"}
    told: list[Any] = []

    class Last(Hooked):
        def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
            told.append((result.status, result.error, result.is_success, "left" in context, context["told"]))

    run(Hooked("a", lambda c: 7), Last("b", boom, depends_on=["a"], retry_count=1))
    assert told == [(StageStatus.FAILED, "boom", False, False, [("success", "a", 7)])]


def test_what_on_failure_writes_is_seen_by_later_stages() -> None:
    result = run(Hooked("a", boom), fn("b", seen), fail_fast=False)  # one after the other
    assert by_id(result)["b"].output["told"] == [("failure", "a", "boom")]


def test_on_failure_is_called_after_a_timeout_too() -> None:
    go = threading.Event()
    told: list[str | None] = []

    class Told(FunctionStage):
        def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
            told.append(result.error)
            go.set()

    result = run(Told("a", lambda c: go.wait(BOUND), timeout_s=0.02))
    assert result.status is PipelineStatus.FAILED
    assert told == [by_id(result)["a"].error]
    assert "0.02 s" in str(told[0])


@pytest.mark.parametrize("func", [one, boom])
def test_an_exception_in_a_hook_is_logged_and_never_changes_the_outcome(func: Any, caplog: Any) -> None:
    class Bad(FunctionStage):
        def on_success(self, result: StageResult, context: dict[str, Any]) -> None:
            raise KeyError("hook")

        on_failure = on_success

    with caplog.at_level(logging.ERROR):
        result = run(Bad("a", func))
    assert by_id(result)["a"].error == (None if func is one else "boom")
    assert "of stage 'a' raised" in caplog.text
    assert "KeyError" in caplog.text


def test_an_async_hook_is_refused() -> None:
    class Bad(FunctionStage):
        async def on_success(self, result: StageResult, context: dict[str, Any]) -> None:  # type: ignore[override]
            pass

    with pytest.raises(GraphError, match="Stage 'a': on_success is async, and hooks are plain functions"):
        run(Bad("a", one))


# ----------------------------------------------------------------------------------------------------------
# Order, failures, time
# ----------------------------------------------------------------------------------------------------------


class Gauge:
    """Counts how many of its calls run at the same time."""

    def __init__(self, together: int) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.barrier = threading.Barrier(together)

    def __call__(self, context: dict[str, Any]) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.barrier.wait(BOUND)
        with self.lock:
            self.now -= 1


def test_stages_run_one_after_another_unless_max_workers_is_more() -> None:
    gauge = Gauge(1)
    assert run(*[fn(f"s{i}", gauge) for i in range(6)]).status is PipelineStatus.SUCCESS
    assert gauge.most == 1
    gauge = Gauge(2)
    assert run(*[fn(f"s{i}", gauge) for i in range(6)], max_workers=2).status is PipelineStatus.SUCCESS
    assert gauge.most == 2


def test_max_workers_may_be_more_than_the_usual_threads() -> None:
    assert run(*[fn(f"s{i}", Gauge(1)) for i in range(3)], max_workers=200).status is PipelineStatus.SUCCESS
    gauge = Gauge(48)
    result = run(ParallelStage("p", [fn(f"s{i}", gauge) for i in range(48)], max_workers=48))
    assert (result.status, gauge.most) == (PipelineStatus.SUCCESS, 48)


def test_fail_fast_dependants_are_skipped_and_the_others_cancelled() -> None:
    result = run(fn("a", boom), fn("b", one, "a"), fn("c", one, "b"), fn("d"), fn("e", one, "d"))
    assert statuses(result) == {
        "a": "FAILED",
        "b": "SKIPPED",
        "c": "SKIPPED",
        "d": "CANCELLED",
        "e": "CANCELLED",
    }
    assert {by_id(result)[id].error for id in "bc"} == {"Dependencies not satisfied"}
    assert (by_id(result)["a"].error, result.status) == ("boom", PipelineStatus.FAILED)
    assert by_id(result)["d"].duration_ms == 0.0


def test_running_siblings_at_a_failure_finish() -> None:
    started, failed = threading.Event(), threading.Event()

    def fail(c: dict[str, Any]) -> None:
        started.wait(BOUND)
        raise ValueError

    async def sibling(c: dict[str, Any]) -> str:
        started.set()
        while not failed.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)  # a stop would have arrived by now
        return "finished"

    def watch(event: Any) -> None:
        if type(event).__name__ == "NodeFailed":
            failed.set()

    pipeline = Pipeline("p", max_workers=2).add_stage(fn("a", fail)).add_stage(fn("b", sibling))
    result = pipeline.run(options=RunOptions(observers=[watch]))
    assert by_id(result)["b"].output == "finished"
    assert result.status is PipelineStatus.FAILED


def test_without_fail_fast_independent_stages_run() -> None:
    result = run(fn("a", boom), fn("b", one, "a"), fn("c", one, "b"), fn("d"), fail_fast=False)
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED", "d": "SUCCESS"}
    assert {by_id(result)[id].error for id in "bc"} == {"Dependencies not satisfied"}
    assert result.status is PipelineStatus.FAILED


def test_retry_count_is_extra_calls_with_waits_of_tenths_of_a_second_doubling() -> None:
    clock = testing.FakeClock()
    times: list[float] = []

    def fail(c: dict[str, Any]) -> None:
        times.append(round(clock(), 6))
        raise ValueError("no")

    pipeline: Any = Pipeline("p").add_stage(fn("a", fail, retry_count=12))
    result = testing.run(pipeline, clock=clock)
    waits = [round(b - a, 6) for a, b in itertools.pairwise(times)]
    assert waits == [round(0.1 * 2**n, 6) for n in range(12)]
    assert by_id(result)["a"].duration_ms == pytest.approx(1000 * sum(waits))


def test_jitter_is_off_unless_asked_for() -> None:
    node = Pipeline("p").add_stage(fn("a", retry_count=1)).graph().nodes[0]
    assert node.retry is not None
    assert node.retry.jitter == "none"
    node = Pipeline("p", jitter=True).add_stage(fn("a", retry_count=1)).graph().nodes[0]
    assert node.retry is not None
    assert node.retry.jitter == "full"


def test_timeout_s_is_enforced_and_retried() -> None:
    calls: list[int] = []

    async def slow(c: dict[str, Any]) -> int:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(BOUND)
        return len(calls)

    result = run(fn("a", slow, timeout_s=0.05, retry_count=1))
    assert by_id(result)["a"].output == 2


def test_cancelled_while_running_is_cancelled() -> None:
    async def main() -> tuple[Pipeline, list[str]]:
        running = asyncio.Event()
        ended: list[str] = []

        async def hang(c: dict[str, Any]) -> None:
            running.set()
            try:
                await asyncio.sleep(BOUND)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        pipeline = Pipeline("p").add_stage(ParallelStage("par", [fn("a", hang)]))
        task = asyncio.create_task(pipeline.arun())
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pipeline, ended

    pipeline, ended = asyncio.run(main())
    assert pipeline.status is PipelineStatus.CANCELLED
    assert ended == ["cancelled"]


def test_a_stage_that_is_cut_off_by_a_stop_is_cancelled() -> None:
    def stop(c: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    result = run(fn("a", stop), fn("b", one, "a"), fn("c"))
    assert result.status is PipelineStatus.CANCELLED
    assert statuses(result)["c"] == "CANCELLED"


# ----------------------------------------------------------------------------------------------------------
# Conditions
# ----------------------------------------------------------------------------------------------------------


def test_condition_false_the_stage_is_skipped_and_dependants_see_none() -> None:
    result = run(
        fn("a", lambda c: c.update(go=0)),
        ConditionalStage("b", lambda c: c["go"], fn("inner", boom), depends_on=["a"]),
        fn("c", seen, "b"),
    )
    assert statuses(result) == {"a": "SUCCESS", "b": "SKIPPED", "c": "SUCCESS"}
    assert (by_id(result)["b"].output, by_id(result)["b"].error) == (None, None)
    assert by_id(result)["c"].output["stage_b_output"] is None
    assert result.status is PipelineStatus.SUCCESS


async def agrees(context: dict[str, Any]) -> bool:
    return context["stage_a_output"] == 1


@pytest.mark.parametrize("condition", [lambda c: c["stage_a_output"], agrees, functools.partial(agrees)])
def test_condition_true_the_inner_stage_runs_with_its_retries_and_hooks(condition: Any) -> None:
    calls: list[int] = []

    def twice(c: dict[str, Any]) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return 9

    inner = Hooked("inner", twice, retry_count=1)
    result = run(fn("a"), ConditionalStage("b", condition, inner, depends_on=["a"]), fn("c", seen, "b"))
    assert by_id(result)["b"].output == 9
    assert by_id(result)["c"].output["told"] == [("success", "inner", 9)]


@pytest.mark.parametrize(("outer", "inner"), [(True, True), (True, False), (False, True)])
def test_a_condition_within_a_condition(outer: bool, inner: bool) -> None:
    stage = ConditionalStage("b", lambda c: inner, fn("in", lambda c: 4))
    result = run(ConditionalStage("a", lambda c: outer, stage))
    assert by_id(result)["a"].output == (4 if outer and inner else None)


def test_a_condition_that_raises_fails_its_stage() -> None:
    result = run(ConditionalStage("a", lambda c: c["nothing"], fn("in")), fn("b", one, "a"))
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED"}
    assert "nothing" in str(by_id(result)["a"].error)


def test_conditional_execute_returns_none_when_called_directly() -> None:
    assert ConditionalStage("a", lambda c: False, fn("in")).execute({}) is None
    assert ConditionalStage("a", lambda c: True, fn("in")).execute({}) == 1


# ----------------------------------------------------------------------------------------------------------
# Parallel stages
# ----------------------------------------------------------------------------------------------------------


def test_parallel_children_run_together_and_the_output_is_by_child() -> None:
    gauge = Gauge(4)
    result = run(fn("a"), ParallelStage("p", [fn(f"k{i}", gauge) for i in range(8)], depends_on=["a"]))
    assert by_id(result)["p"].output == {f"k{i}": None for i in range(8)}
    assert gauge.most == 4
    assert len(result.stages) == 2


def test_parallel_children_see_and_write_the_context_and_their_own_options_count() -> None:
    calls: list[int] = []

    def twice(c: dict[str, Any]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return c["stage_a_output"]

    async def wrote(c: dict[str, Any]) -> None:
        c["k2"] = True

    children: list[Stage] = [
        Hooked("k1", twice, retry_count=1),
        fn("k2", wrote),
        ConditionalStage("k3", agrees, fn("x")),
    ]
    result = run(fn("a"), ParallelStage("p", children, depends_on=["a"]), fn("b", seen, "p"))
    assert by_id(result)["p"].output == {"k1": 1, "k2": None, "k3": 1}
    found = by_id(result)["b"].output
    assert (found["told"], found["k2"]) == ([("success", "k1", 1)], True)
    assert not {"stage_k1_output", "stage_k2_output"} & found.keys()


def test_a_failing_child_fails_the_stage_naming_it() -> None:
    result = run(ParallelStage("p", [fn("ok"), fn("bad", boom)]), fn("after", seen), fail_fast=False)
    assert by_id(result)["p"].error == "parallel stage 'p': stage 'bad' failed: ValueError: boom"
    assert "left" not in by_id(result)["after"].output


def test_allow_failures_keeps_the_error_in_its_place() -> None:
    stage = ParallelStage("p", [fn("ok"), fn("bad", boom), fn("below", one, "bad")], allow_failures=True)
    output = by_id(run(stage))["p"].output
    assert output == {"ok": 1, "bad": {"error": "boom"}, "below": {"error": "Dependencies not satisfied"}}


def test_a_child_s_timeout_is_enforced_and_that_of_the_stage_too() -> None:
    async def hang(c: dict[str, Any]) -> None:
        await asyncio.sleep(BOUND)

    inner = run(ParallelStage("p", [fn("a", hang, timeout_s=0.02)]))
    assert "stage 'a' failed: " in str(by_id(inner)["p"].error)
    outer = run(ParallelStage("p", [fn("a", hang)], timeout_s=0.02))
    assert "0.02 s" in str(by_id(outer)["p"].error)


def test_parallel_execute_runs_the_children_when_called_directly() -> None:
    context: dict[str, Any] = {}
    stage = ParallelStage("p", [fn("a", lambda c: c.update(x=1)), fn("b")])
    assert stage.execute(context) == {"a": None, "b": 1}
    assert context == {"x": 1}
    with pytest.raises(RuntimeError, match="stage 'bad' failed: ValueError: boom"):
        ParallelStage("p", [fn("bad", boom)]).execute({})


def test_a_parallel_stage_within_another_and_within_a_condition() -> None:
    inner = ParallelStage("in", [fn("a"), fn("b")])
    stage = ConditionalStage("c", lambda c: True, ParallelStage("out", [inner, fn("d")]))
    assert by_id(run(stage))["c"].output == {"in": {"a": 1, "b": 1}, "d": 1}


def test_an_empty_parallel_stage_gives_an_empty_dict() -> None:
    assert by_id(run(ParallelStage("p", [])))["p"].output == {}


# ----------------------------------------------------------------------------------------------------------
# Sync and async, options
# ----------------------------------------------------------------------------------------------------------


class Late(Stage):
    async def execute(self, context: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        context["late"] = True
        return "late"


@pytest.mark.parametrize("how", ["run", "arun", "run in a loop"])
def test_async_functions_are_stages_in_run_and_arun_and_inside_a_loop(how: str) -> None:
    async def twice(c: dict[str, Any]) -> int:
        return 2

    pipeline = Pipeline("p").add_stage(Late("a")).add_stage(fn("b", twice, "a")).add_stage(fn("c", seen, "b"))

    async def inside() -> PipelineResult:
        return pipeline.run() if how == "run in a loop" else await pipeline.arun()

    result = pipeline.run() if how == "run" else asyncio.run(inside())
    assert by_id(result)["c"].output == {"late": True, "stage_a_output": "late", "stage_b_output": 2}
    assert pipeline.status is PipelineStatus.SUCCESS


def test_a_plain_function_that_gives_a_coroutine_fails_clearly() -> None:
    result = run(fn("a", lambda c: agrees(c)))
    assert "did you forget await?" in str(by_id(result)["a"].error)


def test_runner_and_options_are_taken_as_flow_run_takes_them() -> None:
    events: list[Any] = []
    pipeline = Pipeline("p").add_stage(fn("a", lambda c: threading.current_thread().name))
    options = RunOptions(observers=[events.append], tags={"x": "y"}, on_failure="stop")
    assert by_id(pipeline.run(runner="inline", options=options))["a"].is_success
    assert type(events[0]).__name__ == "RunStarted"
    with pytest.raises(InputError, match="there is no runner 'thread'"):
        pipeline.run(runner="thread")
    with pytest.raises(InputError, match="options takes RunOptions"):
        pipeline.run(options={"grace": 1})  # type: ignore[arg-type]


def test_an_argument_that_no_run_takes_is_refused_with_the_near_miss() -> None:
    with pytest.raises(TypeError, match="a run takes no 'runer'; did you mean 'runner'"):
        Pipeline("p").run(runer="x")  # type: ignore[call-arg]


def test_a_pipeline_runs_again_and_twice_at_a_time() -> None:
    gauge = Gauge(2)
    pipeline = Pipeline("p").add_stage(fn("a", gauge)).add_stage(fn("b", seen, "a"))
    results: list[PipelineResult] = []
    threads = [threading.Thread(target=lambda n=n: results.append(pipeline.run({"n": n}))) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert sorted(by_id(result)["b"].output["n"] for result in results) == [1, 2]


def test_an_empty_pipeline_succeeds() -> None:
    result = Pipeline("p").run()
    assert (result.status, result.stages) == (PipelineStatus.SUCCESS, [])


# ----------------------------------------------------------------------------------------------------------
# The builder
# ----------------------------------------------------------------------------------------------------------


def test_the_builder_makes_what_it_is_told() -> None:
    pipeline = (
        PipelineBuilder("etl")
        .context("rate", 2)
        .stage("load", lambda c: 3, timeout_s=5, retry_count=1)
        .parallel(
            "both", [fn("x", lambda c: c["rate"] * c["stage_load_output"]), fn("y")], ["load"], max_workers=2
        )
        .conditional("maybe", lambda c: False, one, ["both"])
        .conditional("surely", lambda c: True, fn("inner"), ["both"])
        .stage("save", seen, depends_on=["maybe", "surely"])
        .build()
    )
    assert isinstance(pipeline, Pipeline)
    assert pipeline.name == "etl"
    result = pipeline.run()
    assert by_id(result)["save"].output == {
        "rate": 2, "stage_load_output": 3, "stage_both_output": {"x": 6, "y": 1}, "stage_maybe_output": None,
        "stage_surely_output": 1,
    }  # fmt: skip
    load, both = pipeline.stages[:2]
    assert (load.timeout_s, load.retry_count) == (5, 1)
    assert isinstance(both, ParallelStage)
    assert both.max_workers == 2


def test_the_builder_takes_the_options_of_the_pipeline() -> None:
    pipeline = PipelineBuilder("p", fail_fast=False, max_workers=3).build()
    assert (pipeline.fail_fast, pipeline.max_workers) == (False, 3)


# ----------------------------------------------------------------------------------------------------------
# Bad input
# ----------------------------------------------------------------------------------------------------------

CALLS: list[str] = []


def called(context: dict[str, Any]) -> None:
    CALLS.append("called")


class Nameless(Stage):
    def __init__(self) -> None:
        pass

    def execute(self, context: dict[str, Any]) -> None:
        pass


WRONG: list[tuple[list[Any], type[Exception], str]] = [
    (
        [fn("load", called), fn("b", one, "lod")],
        GraphError,
        "Stage 'b' depends on unknown stage 'lod'; did you mean 'load'",
    ),
    ([fn("x", called), fn("a", one, "b"), fn("b", one, "a")], CycleError, "a -> b -> a|b -> a -> b"),
    ([fn("a", called), fn("a", one)], GraphError, "there are two stages called 'a'"),
    ([fn("a", one, "a")], GraphError, "needs itself"),
    ([fn("", called)], GraphError, "the name of a stage is empty"),
    ([FunctionStage(None, called)], GraphError, "the name of a stage must be a str, not NoneType"),  # type: ignore[arg-type]
    ([Nameless()], GraphError, "a Nameless has no stage_id"),
]


@pytest.mark.parametrize(("stages", "kind", "text"), WRONG)
def test_a_bad_graph_is_refused_at_run_and_nothing_is_started(stages: Any, kind: Any, text: str) -> None:
    CALLS.clear()
    with pytest.raises(kind, match=text) as caught:
        run(*stages)
    assert isinstance(caught.value, ValueError)
    assert CALLS == []


def test_a_bad_graph_is_refused_at_build() -> None:
    with pytest.raises(GraphError, match="Stage 'b' depends on unknown stage 'z'"):
        PipelineBuilder("p").stage("b", one, ["z"]).build()
    with pytest.raises(GraphError, match="two stages called 'a'"):
        PipelineBuilder("p").stage("a", one).stage("a", one).build()
    with pytest.raises(CycleError):
        PipelineBuilder("p").stage("a", one, ["b"]).stage("b", one, ["a"]).build()


def test_a_bad_graph_of_children_is_refused_like_any_other() -> None:
    with pytest.raises(GraphError, match="there are two stages called 'a'"):
        run(ParallelStage("p", [fn("a"), fn("a")]))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: untyped.Pipeline("p").add_stage(one), "takes a Stage, not .*; wrap it in a FunctionStage"),
        (
            lambda: untyped.FunctionStage("a", 3),
            "FunctionStage 'a': func is a function of the context, not 3",
        ),
        (lambda: untyped.ConditionalStage("a", 3, fn("b")), "condition is a function of the context, not 3"),
        (lambda: untyped.ConditionalStage("a", one, one), "takes a Stage, not"),
        (lambda: untyped.ParallelStage("a", 3), "stages is a list of stages, not 3"),
        (lambda: untyped.ParallelStage("a", [3]), "takes a Stage, not 3"),
        (
            lambda: untyped.FunctionStage("a", one, depends_on="b"),
            r"depends_on is a list of stage ids.*say \['b'\]",
        ),
        (lambda: untyped.FunctionStage("a", one, depend_on=["b"]), "depend_on"),
        (lambda: untyped.Stage("a"), "abstract"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused(make: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fn("a", retry_count=-1), "FunctionStage 'a': retry_count counts the calls after the first"),
        (lambda: fn("a", retry_count=1.5), "not 1.5"),
        (lambda: fn("a", timeout_s=0), "timeout_s must be more than 0 s"),
        (lambda: fn("a", timeout_s="5"), "say timeout_s=5"),
        (lambda: untyped.Pipeline("p", max_workers=0), "max_workers counts stages"),
        (lambda: untyped.PipelineBuilder("p", max_workers=0), "max_workers counts stages"),
        (lambda: untyped.ParallelStage("p", [], max_workers=0), "max_workers counts stages"),
        (lambda: untyped.Pipeline("p").run([1]), "initial_context is a dict"),
    ],
)
def test_a_value_out_of_range_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
