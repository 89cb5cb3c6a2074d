"""Pipelines: the rows of the contract on hooks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock import RetryAfter, testing
from penstock.core.errors import GraphError
from penstock.dialects.pipelines import (
    ConditionalStage,
    FunctionStage,
    ParallelStage,
    PipelineBuilder,
    PipelineResult,
    PipelineStatus,
    StageResult,
    StageStatus,
)

from .parts_bound import BOUND, Odd, doing, failing, raising
from .parts_pipelines import Context, Told, by_id, fn, forever, of, one, run, seen, some, statuses

# ----------------------------------------------------------------------------------------------------------
# Hooks: "once, at the end of the last attempt, before its commit, so that what they write into the context
# belongs to the stage"
# ----------------------------------------------------------------------------------------------------------


def test_row_hooks_on_success_is_told_the_result_and_sees_what_the_stage_wrote() -> None:
    told: list[Any] = []

    class Own(FunctionStage):
        def on_success(self, result: StageResult, context: Context) -> None:
            told.append((result, dict(context)))
            context["hook"] = context.pop("wrote") + result.output

    found = by_id(run(Own("a", lambda c: c.update(wrote=1) or 5), fn("b", seen, "a")))
    ((result, context),) = told
    assert (result.stage_id, result.status, result.output, result.error) == (
        "a",
        StageStatus.SUCCESS,
        5,
        None,
    )
    assert result.start_time.tzinfo is not None
    assert result.end_time >= result.start_time
    assert context == {"wrote": 1}
    assert found["b"].output == {"hook": 6, "stage_a_output": 5}


def test_row_hooks_on_failure_is_told_the_result_and_does_not_see_what_the_attempt_wrote() -> None:
    stage = Told("a", doing(some(wrote=1), raising(ValueError("why"))), retry_count=2)
    pipeline: Any = of(stage)
    testing.run(pipeline)
    ((word, result),) = stage.calls
    assert (word, result.stage_id, result.status) == ("failure", "a", StageStatus.FAILED)
    assert (result.output, result.error, result.is_success) == (None, "why", False)
    assert result.end_time >= result.start_time


@pytest.mark.parametrize("count", [0, 1, 2])
def test_row_hooks_are_called_once_however_many_attempts_there_were(count: int) -> None:
    good, bad = Told("a", failing(count), retry_count=count), Told("b", failing(count + 1), retry_count=count)
    pipeline: Any = of(good, bad, fail_fast=False)
    testing.run(pipeline)
    assert (good.words, bad.words) == (["success"], ["failure"])


@pytest.mark.parametrize("error", [RetryAfter(5.0), SystemExit(3), GeneratorExit("g"), Odd("odd")])
def test_row_hooks_on_failure_once_after_the_last_of_whatever_was_raised(error: BaseException) -> None:
    stage = Told("a", raising(error), retry_count=1)
    pipeline: Any = of(stage)
    assert testing.run(pipeline).status is PipelineStatus.FAILED
    assert stage.words == ["failure"]


def test_row_hooks_a_stage_that_never_started_has_none() -> None:
    never, below = Told("never"), Told("below", depends_on=["a"])
    run(fn("a", raising(ValueError)), fn("a2", one, "a"), below, never)
    assert (never.words, below.words) == ([], [])


def test_row_hooks_of_both_stages_of_a_condition_the_inner_one_first() -> None:
    order: list[str] = []

    class Outer(ConditionalStage):
        def on_success(self, result: StageResult, context: Context) -> None:
            order.append(f"{result.stage_id} {result.output} {context['inner']}")

    class Inner(FunctionStage):
        def on_success(self, result: StageResult, context: Context) -> None:
            order.append(f"{result.stage_id} {result.output}")
            context["inner"] = True

    run(Outer("out", one, Inner("in", lambda context: 7)))
    assert order == ["in 7", "out 7 True"]


def test_row_hooks_of_a_parallel_stage() -> None:
    told: list[Any] = []

    class Hooked(ParallelStage):
        def on_success(self, result: StageResult, context: Context) -> None:
            told.append(result.output)
            context["hook"] = sorted(context)

        def on_failure(self, result: StageResult, context: Context) -> None:
            told.append(result.error)

    found = by_id(run(Hooked("p", [fn("x", some(wrote=1))]), fn("r", seen, "p")))["r"].output
    assert (told, found["hook"]) == ([{"x": None}], ["wrote"])
    told.clear()
    run(Hooked("p", [fn("x", raising(ValueError("why")))]))
    assert len(told) == 1
    assert "why" in told[0]


def test_row_hooks_set_on_the_object_count_like_those_of_its_class() -> None:
    stage: Any = fn("a")
    stage.on_success = lambda result, context: context.update(hook=result.output)
    assert by_id(run(stage, fn("b", seen, "a")))["b"].output == {"hook": 1, "stage_a_output": 1}


# "an exception in a hook is logged and never changes the outcome"


class Raising(FunctionStage):
    error: BaseException = ValueError("from the hook")

    def on_success(self, result: StageResult, context: Context) -> None:
        context["hook"] = "wrote before it raised"
        raise self.error

    on_failure = on_success


def raising_hooks(func: Any, error: BaseException) -> Raising:
    stage = Raising("a", func)
    stage.error = error
    return stage


HOOK_ERRORS = [
    ValueError("hook"),
    *(
        pytest.param(error)
        for error in (SystemExit(3), GeneratorExit("g"), asyncio.CancelledError(), Odd("o"))
    ),
]


@pytest.mark.parametrize("error", HOOK_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("func", [one, raising(ValueError("own"))], ids=["success", "failure"])
def test_row_hooks_whatever_a_hook_raises_is_logged_and_changes_nothing(
    error: BaseException, func: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stages = raising_hooks(func, error), fn("b", one, "a"), fn("c", seen)
    with caplog.at_level(logging.ERROR, logger="penstock.dialects.pipelines"):
        result = run(*stages, fail_fast=False)
    found = by_id(result)
    if func is one:
        assert statuses(result) == {"a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS"}
    else:
        assert statuses(result) == {"a": "FAILED", "b": "SKIPPED", "c": "SUCCESS"}
        assert found["a"].error == "own"
    assert result.run is not None
    assert result.run.warnings == ()
    assert len(caplog.records) == 1


def test_row_hooks_an_on_failure_that_exits_after_a_timeout_loses_nothing_of_other_stages() -> None:
    class Exits(FunctionStage):
        def on_failure(self, result: StageResult, context: Context) -> None:
            raise SystemExit(3)

    told = Told("d", forever, timeout_s=0.02, depends_on=["c"])
    stages = (
        Exits("a", forever, timeout_s=0.02),
        fn("a2", one, "a"),
        fn("b", some(k=1)),
        fn("c", seen, "b"),
        told,
    )
    result = run(*stages, fail_fast=False)
    assert by_id(result)["c"].output == {"k": 1, "stage_b_output": None}
    assert told.words == ["failure"]
    assert result.run is not None
    assert result.run.warnings == ()


def test_row_hooks_what_a_hook_does_to_the_result_it_is_told_changes_nothing() -> None:
    class Meddles(FunctionStage):
        def on_success(self, result: StageResult, context: Context) -> None:
            result.output, result.status, result.error = "changed", StageStatus.FAILED, "changed"

    found = by_id(run(Meddles("a", one), fn("b", seen, "a")))
    assert (found["a"].status, found["a"].output, found["a"].error) == (StageStatus.SUCCESS, 1, None)
    assert found["b"].output == {"stage_a_output": 1}


# Attempts that go on after their time: what they do then is not the end of the last attempt


def test_row_hooks_an_attempt_that_ends_after_its_time_calls_no_on_success() -> None:
    given_up = threading.Event()
    threads: list[threading.Thread] = []

    class Late(Told):
        def on_failure(self, result: StageResult, context: Context) -> None:
            super().on_failure(result, context)
            given_up.set()

    def late(context: Context) -> None:
        threads.append(threading.current_thread())
        assert given_up.wait(BOUND)

    stage = Late("a", late, timeout_s=0.02)
    assert statuses(run(stage)) == {"a": "FAILED"}
    threads[0].join(BOUND)
    assert stage.words == ["failure"]


def late_then_second(end: Callable[[], Any]) -> tuple[Told, PipelineResult]:
    """Two attempts of a stage: the first ends, in its way, after its time, and while the second one runs."""
    second = threading.Event()
    threads: list[threading.Thread] = []

    def act(context: Context) -> str:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            assert second.wait(BOUND)
            return end()
        second.set()
        threads[0].join(BOUND)
        return "second"

    stage = Told("a", act, timeout_s=0.5, retry_count=1)
    return stage, run(stage, max_workers=2)


@pytest.mark.parametrize("end", [lambda: "first", raising(ValueError("first"))], ids=["returns", "raises"])
def test_row_hooks_of_the_attempt_that_counts_are_the_only_ones(end: Callable[[], Any]) -> None:
    stage, result = late_then_second(end)
    assert by_id(result)["a"].output == "second"
    assert [(word, told.output) for word, told in stage.calls] == [("success", "second")]


# Processes


class OnFile(FunctionStage):
    """Writes what its hooks are told to a file, which it finds in the context."""

    def note(self, word: str, context: Context) -> None:
        with Path(context["file"]).open("a", encoding="utf-8") as file:
            file.write(f"{word}\n")

    def on_success(self, result: StageResult, context: Context) -> None:
        self.note("success", context)
        context["hook"] = result.output

    def on_failure(self, result: StageResult, context: Context) -> None:
        self.note("failure", context)
        context["hook"] = result.error


def no_value(context: Context) -> int:
    raise ValueError("why")


@pytest.mark.parametrize(
    ("func", "word", "value"),
    [(one, "success", 1), (no_value, "failure", "why")],
)
@pytest.mark.parametrize("count", [0, 1])
def test_row_hooks_in_processes_are_called_once_too(
    tmp_path: Path, func: Any, word: str, value: Any, count: int
) -> None:
    file = tmp_path / "told"
    stage = OnFile("a", func, retry_count=count)
    context = {"file": str(file)}
    run(stage, runner="processes", context=context)
    assert file.read_text("utf-8").split() == [word]


@pytest.mark.parametrize(("func", "value"), [(one, 1), (no_value, "why")])
def test_row_hooks_in_processes_what_they_write_belongs_to_the_stage(
    tmp_path: Path, func: Any, value: Any
) -> None:
    stages = OnFile("a", func), fn("a2", one, "a"), fn("b", seen)
    result = run(*stages, runner="processes", fail_fast=False, context={"file": str(tmp_path / "told")})
    assert by_id(result)["b"].output["hook"] == value


# Async hooks: they would have to be awaited, and nobody does


class Awaited:
    async def __call__(self, result: StageResult, context: Context) -> None: ...


class AsyncHook(FunctionStage):
    async def on_failure(self, result: StageResult, context: Context) -> None: ...  # type: ignore[override]


class AsyncObject(FunctionStage):
    on_success = Awaited()  # type: ignore[assignment]


@pytest.mark.parametrize(("kind", "word"), [(AsyncHook, "on_failure"), (AsyncObject, "on_success")])
def test_bad_input_an_async_hook_is_refused_whichever_it_is_and_wherever_it_stands(
    kind: Any, word: str
) -> None:
    ran: list[int] = []
    for stage in (kind("x", one), ConditionalStage("c", one, kind("x", one))):
        with pytest.raises(GraphError, match=f"Stage 'x': {word} is async"):
            of(fn("a", lambda context: ran.append(1)), stage).run()
    with pytest.raises(GraphError, match=f"Stage 'x': {word} is async"):
        PipelineBuilder("p").conditional("c", one, kind("x", one)).build()
    assert ran == []


class NotCallable(FunctionStage):
    on_success = on_failure = 3  # type: ignore[assignment]


class NoRoom(FunctionStage):
    def on_success(self) -> None: ...  # type: ignore[override]

    on_failure = on_success  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [NotCallable, NoRoom])
@pytest.mark.parametrize("func", [one, raising(ValueError("own"))])
def test_bad_input_a_hook_that_cannot_be_called_is_logged(kind: Any, func: Any, caplog: Any) -> None:
    (stage,) = run(kind("a", func)).stages
    assert stage.error == (None if func is one else "own")
    assert "stage 'a'" in caplog.text
