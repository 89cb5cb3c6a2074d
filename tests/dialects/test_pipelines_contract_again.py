"""Pipelines in use: one object run again and again, results as values, and times."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any, ClassVar

import pytest

from penstock import testing
from penstock.core.errors import GraphError
from penstock.dialects.pipelines import (
    ConditionalStage,
    FunctionStage,
    ParallelStage,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageResult,
    StageStatus,
)

from .parts_bound import BOUND, Alike, doing, failing, raising
from .parts_pipelines import Context, by_id, fails, fn, forever, later, of, one, run, seen, statuses

# ----------------------------------------------------------------------------------------------------------
# One object, run again: every run is fresh, and what was changed in between takes effect
# ----------------------------------------------------------------------------------------------------------


def test_a_second_run_is_as_fresh_as_the_first() -> None:
    flaky = failing(2, 7)
    pipeline = of(fn("a", flaky), fn("b", seen, "a"))
    first, second, third = pipeline.run(), pipeline.run(), pipeline.run()
    assert [result.status.name for result in (first, second, third)] == ["FAILED", "FAILED", "SUCCESS"]
    assert pipeline.status is PipelineStatus.SUCCESS
    assert statuses(first) == {"a": "FAILED", "b": "SKIPPED"}  # what was handed out stays as it was
    assert by_id(third)["b"].output == {"stage_a_output": 7}
    assert (by_id(third)["a"].error, by_id(third)["b"].error) == (None, None)


def test_stages_added_and_removed_between_runs() -> None:
    pipeline = of(fn("a"))
    assert list(by_id(pipeline.run())) == ["a"]
    pipeline.add_stage(fn("b", seen, "a"))
    assert by_id(pipeline.run())["b"].output == {"stage_a_output": 1}
    pipeline.stages.pop(0)
    with pytest.raises(GraphError, match="Stage 'b' depends on unknown stage 'a'"):
        pipeline.run()
    pipeline.stages[0].depends_on = []
    assert list(by_id(pipeline.run())) == ["b"]


def test_what_is_changed_in_a_stage_between_runs_takes_effect() -> None:
    a, b = fn("a"), fn("b", lambda context: context.get("stage_a_output"), "a")
    asked = ConditionalStage("c", lambda context: False, fn("in"))
    pipeline = of(a, b, asked)

    def outputs() -> dict[str, Any]:
        return {id: stage.output for id, stage in by_id(pipeline.run()).items()}

    assert outputs() == {"a": 1, "b": 1, "c": None}
    a.func = lambda context: 2
    assert outputs() == {"a": 2, "b": 2, "c": None}
    asked.condition = one
    assert outputs()["c"] == 1
    asked.stage = fn("other", lambda context: "other")
    assert outputs()["c"] == "other"
    a.func = failing(1, 3)
    assert statuses(pipeline.run())["a"] == "FAILED"
    a.func, a.retry_count = failing(1, 3), 1
    assert outputs()["a"] == 3
    a.stage_id, b.depends_on = "new", ["new"]
    b.func = lambda context: context["stage_new_output"]
    assert outputs() == {"new": 3, "b": 3, "c": "other"}


def test_a_function_is_replaced_by_one_that_equals_it() -> None:
    stage, inner = fn("a", Alike(1)), fn("in", Alike(1))
    pipeline = of(stage, ConditionalStage("b", one, inner))
    assert [each.output for each in pipeline.run().stages] == [1, 1]
    stage.func, inner.func = Alike(2), Alike(3)
    assert [each.output for each in pipeline.run().stages] == [2, 3]


def test_a_condition_is_replaced_by_one_that_equals_it() -> None:
    stage = ConditionalStage("a", Alike(True), fn("in"))
    pipeline = of(stage)
    assert statuses(pipeline.run()) == {"a": "SUCCESS"}
    stage.condition = Alike(False)
    assert statuses(pipeline.run()) == {"a": "SKIPPED"}


def test_what_is_changed_in_children_and_inner_stages_between_runs_takes_effect() -> None:
    child, inner = fn("x"), fn("in")
    parallel, asked = ParallelStage("p", [child]), ConditionalStage("c", one, inner)
    pipeline = of(parallel, asked)

    def outputs() -> list[Any]:
        return [stage.output for stage in pipeline.run().stages]

    assert outputs() == [{"x": 1}, 1]
    child.func = inner.func = lambda context: 2
    assert outputs() == [{"x": 2}, 2]
    parallel.stages.append(fn("y", lambda context: 3, "x"))
    assert outputs() == [{"x": 2, "y": 3}, 2]
    child.func = inner.func = failing(1, 4)
    child.retry_count = inner.retry_count = 1
    assert outputs() == [{"x": 4, "y": 3}, 4]
    child.retry_count, child.func, parallel.allow_failures = 0, raising(ValueError("why")), True
    assert outputs() == [{"x": {"error": "why"}, "y": {"error": "Dependencies not satisfied"}}, 4]
    parallel.stages = []
    inner.depends_on.append("p")
    inner.func = seen
    assert outputs() == [{}, {"stage_p_output": {}}]


def test_options_of_the_pipeline_changed_between_runs_take_effect() -> None:
    slow, other = fn("a", forever, timeout_s=0.02), fn("b")
    pipeline = of(slow, other)
    assert statuses(pipeline.run()) == {"a": "FAILED", "b": "CANCELLED"}
    pipeline.fail_fast = False
    assert statuses(pipeline.run()) == {"a": "FAILED", "b": "SUCCESS"}
    both = threading.Barrier(2)
    slow.timeout_s, pipeline.max_workers = None, 2
    slow.func = other.func = lambda context: both.wait(BOUND) >= 0
    assert pipeline.run().successful_stages == 2


def test_hooks_and_execute_changed_between_runs_take_effect() -> None:
    class Own(Stage):
        def execute(self, context: Context) -> str:
            return "class"

    stage: Any = Own("a")
    pipeline = of(stage)
    assert pipeline.run().stages[0].output == "class"
    stage.execute = lambda context: "object"
    assert pipeline.run().stages[0].output == "object"
    told: list[Any] = []
    stage.on_success = lambda result, context: told.append(result.output)
    pipeline.run()
    assert told == ["object"]


def test_what_is_changed_in_the_class_of_a_stage_between_runs_takes_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(Stage):
        def execute(self, context: Context) -> Any:
            return "first"

    told: list[Any] = []
    pipeline = of(Own("a"), ConditionalStage("b", one, Own("in"), depends_on=["a"]))
    assert [stage.output for stage in pipeline.run().stages] == ["first", "first"]
    monkeypatch.setattr(Own, "execute", lambda self, context: "second")
    monkeypatch.setattr(Own, "on_success", lambda self, result, context: told.append(result.stage_id))
    assert [stage.output for stage in pipeline.run().stages] == ["second", "second"]
    assert told == ["a", "in"]

    async def awaited(self: Stage, context: Context) -> str:
        return "third"

    monkeypatch.setattr(Own, "execute", awaited)
    assert [stage.output for stage in pipeline.run().stages] == ["third", "third"]


class Computed(Stage):
    """Its options are what somebody says now."""

    above: ClassVar[list[str]] = []
    count = 0

    def execute(self, context: Context) -> Any:
        return dict(context)

    @property
    def depends_on(self) -> list[str]:
        return self.above

    @depends_on.setter
    def depends_on(self, given: list[str]) -> None: ...

    @property
    def retry_count(self) -> int:
        return self.count

    @retry_count.setter
    def retry_count(self, given: int) -> None: ...


def test_options_that_a_stage_computes_are_read_anew_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = of(fn("a"), Computed("b"))
    monkeypatch.setattr(Computed, "above", ["a"])
    assert by_id(pipeline.run())["b"].output == {"stage_a_output": 1}
    monkeypatch.setattr(Computed, "above", ["z"])
    with pytest.raises(GraphError, match="unknown stage 'z'"):
        pipeline.run()
    monkeypatch.setattr(Computed, "above", [])
    monkeypatch.setattr(Computed, "count", 1)
    flaky = failing(1, "done")
    monkeypatch.setattr(Computed, "execute", lambda self, context: flaky())
    assert by_id(pipeline.run())["b"].output == "done"


@pytest.mark.parametrize(
    "stage",
    [fn("a"), ConditionalStage("a", one, fn("in")), ParallelStage("a", [])],
    ids=lambda stage: type(stage).__name__,
)
def test_an_execute_that_is_put_in_the_place_of_ours_is_the_one_that_runs(stage: Any) -> None:
    stage.execute = lambda context: "mine"
    assert run(stage).stages[0].output == "mine"


class Louder(FunctionStage):
    def execute(self, context: Context) -> str:
        return f"{super().execute(context)}!"


class Watched(ConditionalStage):
    def execute(self, context: Context) -> list[Any]:
        return [super().execute(context)]


class Counted(ParallelStage):
    def execute(self, context: Context) -> dict[str, Any]:
        return {**super().execute(context), "count": len(self.stages)}


def test_subclasses_of_our_stages_run_their_own_execute() -> None:
    stages = (
        Louder("a", one),
        Watched("b", lambda context: False, fn("in")),
        Counted("c", [fn("x"), fn("y", later)]),
    )
    result = run(*stages)
    assert [stage.output for stage in result.stages] == ["1!", [None], {"x": 1, "y": "later", "count": 2}]


# ----------------------------------------------------------------------------------------------------------
# Results as values
# ----------------------------------------------------------------------------------------------------------


def mixed() -> PipelineResult:
    stages = [
        fn("a"),
        ConditionalStage("b", lambda context: False, fn("in")),
        fn("c", fails, "a"),
        fn("d", one, "c"),
        ParallelStage("e", [fn("x")]),
    ]
    return run(*stages, fail_fast=False)


def test_stage_results_can_be_pickled_and_copied() -> None:
    stages = mixed().stages
    assert pickle.loads(pickle.dumps(stages)) == stages
    assert copy.deepcopy(stages) == stages
    assert StageResult("a", StageStatus.SKIPPED) == StageResult("a", StageStatus.SKIPPED)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_a_pipeline_result_can_be_pickled_and_copied(way: Any) -> None:
    result = mixed()
    again = way(result)
    assert (again, again.duration_ms) == (result, result.duration_ms)


# ----------------------------------------------------------------------------------------------------------
# Times
# ----------------------------------------------------------------------------------------------------------


def test_times_cover_retries_and_waits_and_what_never_started_has_none() -> None:
    clock = testing.FakeClock(1_000_000.0)
    pipeline: Any = of(
        fn("a", failing(2), retry_count=3),  # waits 0.1 and 0.2
        fn("b", lambda context: clock.sleep(5), "a"),
        fn("c", doing(lambda context: clock.sleep(1), raising(ValueError)), "b", retry_count=1),
        fn("d", one, "c"),
        ConditionalStage("e", lambda context: False, fn("in")),
        ConditionalStage("f", raising(ValueError), fn("in")),
    )
    pipeline.fail_fast = False
    result: Any = testing.run(pipeline, clock=clock)
    found = by_id(result)
    assert {id: round(stage.duration_ms, 3) for id, stage in found.items()} == {
        "a": 300.0,
        "b": 5000.0,
        "c": 2100.0,
        "d": 0.0,
        "e": 0.0,
        "f": 0.0,
    }
    assert {id for id, stage in found.items() if stage.start_time is None} == {"d", "e", "f"}
    assert {id for id, stage in found.items() if stage.end_time is None} == {"d", "e", "f"}
    assert round(result.duration_ms, 3) == 7400.0
    assert result.start_time.timestamp() == 1_000_000.0
    for before, after in (("a", "b"), ("b", "c")):
        assert found[before].end_time <= found[after].start_time


@pytest.mark.parametrize("runner", [None, "inline", "processes"])
def test_times_have_a_zone_and_are_in_order(runner: str | None) -> None:
    stages = (
        fn("a", one),
        ParallelStage("b", [fn("x", one)], depends_on=["a"]),
        fn("c", fails, "b"),
        fn("d", one),
    )
    result = run(*stages, runner=runner, fail_fast=False)
    everything: list[Any] = [result, *result.stages]
    for timed in everything:
        for time in (timed.start_time, timed.end_time):
            assert time is not None
            assert time.utcoffset() is not None
    for stage in result.stages:
        assert result.start_time <= stage.start_time <= stage.end_time <= result.end_time  # type: ignore[operator]
        assert stage.duration_ms >= 0


def test_times_of_what_a_fail_fast_or_a_cancel_kept_from_starting_are_none() -> None:
    stages = fn("a", raising(ValueError)), fn("a2", one, "a"), fn("b")
    for result in (run(*stages), run(fn("a", raising(KeyboardInterrupt)), *stages[1:], runner="inline")):
        first, *others = result.stages
        assert first.start_time is not None
        assert first.end_time is not None
        assert [(stage.start_time, stage.end_time, stage.duration_ms) for stage in others] == [
            (None, None, 0.0)
        ] * 2
