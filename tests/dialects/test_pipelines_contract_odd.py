"""Pipelines: odd input. Async for sync and the reverse, whatever is raised or returned, sizes: never a hang.

Async hooks stand with the hooks, in `test_pipelines_contract_hooks.py`.
"""

from __future__ import annotations

import asyncio
import functools
import math
from typing import Any

import pytest

from penstock import RunOptions, testing
from penstock.dialects.pipelines import (
    ConditionalStage,
    ParallelStage,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    Stage,
    StageStatus,
)

from .parts_bound import Answer, NoBool, Odd, bounded, raising
from .parts_pipelines import RUNS, by_id, fn, of, one, run, seen, statuses

# ----------------------------------------------------------------------------------------------------------
# Sync where async is usual, and the reverse
# ----------------------------------------------------------------------------------------------------------


async def five(context: dict[str, Any]) -> int:
    return 5


async def no(context: dict[str, Any]) -> bool:
    return False


class Five:
    async def __call__(self, context: dict[str, Any]) -> int:
        return 5

    async def method(self, context: dict[str, Any]) -> int:
        return 5


class No:
    async def __call__(self, context: dict[str, Any]) -> bool:
        return False


class AsyncStage(Stage):
    async def execute(self, context: dict[str, Any]) -> int:
        return 5


ASYNC = [five, functools.partial(five), Five(), functools.partial(Five()), Five().method, lambda context: 5]


@pytest.mark.parametrize("func", ASYNC)
@pytest.mark.parametrize("how", RUNS)
def test_async_functions_of_every_kind_are_stages_conditions_and_children(func: Any, how: str) -> None:
    stages = fn("a", func), ConditionalStage("b", func, fn("in", func)), ParallelStage("c", [fn("x", func)])
    result = bounded(lambda: RUNS[how](of(*stages)))
    assert [stage.output for stage in result.stages] == [5, 5, {"x": 5}]


@pytest.mark.parametrize(
    "condition", [no, functools.partial(no), No(), functools.partial(No()), lambda context: 0]
)
def test_async_conditions_of_every_kind_may_say_no(condition: Any) -> None:
    ran: list[int] = []
    result = run(ConditionalStage("a", condition, fn("in", lambda context: ran.append(1))))
    assert (statuses(result), ran) == ({"a": "SKIPPED"}, [])


@pytest.mark.parametrize("inner", [AsyncStage("in"), ParallelStage("in", [AsyncStage("x")])])
def test_async_stages_stand_in_conditions_and_parallel_stages(inner: Stage) -> None:
    output = by_id(run(ConditionalStage("a", one, inner)))["a"].output
    assert output == (5 if isinstance(inner, AsyncStage) else {"x": 5})


class Delegates(Stage):
    def execute(self, context: dict[str, Any]) -> Any:
        return five(context)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fn("a", lambda context: five(context)),
        lambda: Delegates("a"),
        lambda: ConditionalStage("a", lambda context: no(context), fn("in")),
        lambda: ConditionalStage("a", one, fn("in", lambda context: five(context))),
        lambda: ParallelStage("a", [fn("x", lambda context: five(context))]),
    ],
    ids=["function", "class", "condition", "inner", "child"],
)
def test_bad_input_a_plain_function_that_gives_a_coroutine_fails_its_stage_and_asks_for_await(
    make: Any,
) -> None:
    result = run(make(), fn("b", one, "a"))
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED"}
    assert "did you forget await?" in str(by_id(result)["a"].error)


@pytest.mark.parametrize(
    "awaitable",
    ["future", pytest.param("object")],
)
def test_bad_input_a_plain_condition_that_gives_something_to_await_is_no_yes(awaitable: str) -> None:
    ran: list[int] = []

    async def main() -> Any:
        answer: Any = Answer()
        if awaitable == "future":
            answer = asyncio.get_running_loop().create_future()
            answer.set_result(False)
        return await of(
            ConditionalStage("a", lambda context: answer, fn("in", lambda context: ran.append(1)))
        ).arun()

    result = bounded(lambda: asyncio.run(main()))
    assert ran == []
    assert statuses(result)["a"] in ("FAILED", "SKIPPED")


# ----------------------------------------------------------------------------------------------------------
# Conditions
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        (1, True),
        ([0], True),
        ("no", True),
        (math.nan, True),
        (0, False),
        ("", False),
        (None, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_condition_may_answer_with_anything_that_has_a_truth(
    answer: Any, yes: bool, is_async: bool
) -> None:
    async def later(context: dict[str, Any]) -> Any:
        return answer

    condition = later if is_async else lambda context: answer
    assert statuses(run(ConditionalStage("a", condition, fn("in"))))["a"] == ("SUCCESS" if yes else "SKIPPED")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("why"), SystemExit("why"), GeneratorExit("why"), Odd("why"), None]
)
def test_bad_input_a_condition_that_raises_fails_its_stage(
    error: BaseException | None, is_async: bool
) -> None:
    async def later(context: dict[str, Any]) -> Any:
        if error is not None:
            raise error
        return NoBool()

    now = (lambda context: NoBool()) if error is None else raising(error)
    ran: list[int] = []
    stage = ConditionalStage(
        "a", later if is_async else now, fn("in", lambda context: ran.append(1), retry_count=2)
    )
    result = run(stage, fn("b", one, "a"), fn("c"), fail_fast=False)
    assert (statuses(result), ran) == ({"a": "FAILED", "b": "SKIPPED", "c": "SUCCESS"}, [])
    assert ("ambiguous" if error is None else "why") in str(by_id(result)["a"].error)


def test_bad_input_functions_that_take_no_context_fail_their_stage() -> None:
    empty: Any = lambda: 1  # noqa: E731
    for stage in (
        fn("a", empty),
        ConditionalStage("a", empty, fn("in")),
        ParallelStage("a", [fn("x", empty)]),
    ):
        assert "takes 0 positional arguments" in str(by_id(run(stage))["a"].error)


# ----------------------------------------------------------------------------------------------------------
# Exceptions of every kind, and what functions give
# ----------------------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit


class Lies(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value] # noqa: PLE0307


ERRORS: list[tuple[BaseException, str]] = [
    (Mute(), "its text cannot be had"),
    (Exits(), "its text cannot be had"),
    (Lies(), "its text cannot be had"),
    (ValueError(), "ValueError"),
    (ValueError(""), "ValueError"),
    (ValueError("x" * 100_000), "xxx"),
    (ValueError("\ud800"), "\ud800"),
    (KeyError("k"), "'k'"),
    (ExceptionGroup("several", [ValueError("in it")]), "several"),
    *((error, "why") for error in (SystemExit("why"), GeneratorExit("why"), Odd("why"))),
]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("where", ["stage", "child", "condition", "async"])
def test_bad_input_whatever_is_raised_fails_the_stage_with_a_text(error: Any, text: str, where: str) -> None:
    async def later(context: dict[str, Any]) -> None:
        raise error

    stage = {
        "stage": fn("a", raising(error)),
        "child": ParallelStage("a", [fn("x", raising(error))]),
        "condition": ConditionalStage("a", raising(error), fn("in")),
        "async": fn("a", later),
    }[where]
    result = run(stage, fn("b", one, "a"), fn("c"), fail_fast=False)
    assert statuses(result) == {"a": "FAILED", "b": "SKIPPED", "c": "SUCCESS"}
    assert text in str(by_id(result)["a"].error)


@pytest.mark.parametrize("where", ["stage", pytest.param("condition")])
def test_bad_input_a_stray_next_is_told_as_what_it_is(where: str) -> None:
    stray: Any = lambda context: next(iter(()))  # noqa: E731
    stage = fn("a", stray) if where == "stage" else ConditionalStage("a", stray, fn("in"))
    assert by_id(run(stage))["a"].error == "StopIteration"


def test_what_a_generator_function_gives_is_an_output_like_another() -> None:
    def numbers(context: dict[str, Any]) -> Any:
        yield from (1, 2)

    result = run(fn("a", numbers), fn("b", lambda context: list(context["stage_a_output"]), "a"))
    assert by_id(result)["b"].output == [1, 2]


def test_classes_and_other_callables_are_functions_too() -> None:
    result = run(fn("a", dict), fn("b", int), fail_fast=False)
    assert [by_id(result)[id].status for id in "ab"] == [StageStatus.SUCCESS, StageStatus.FAILED]
    assert by_id(run(fn("a", seen), fn("b", functools.partial(dict, k=1))))["b"].output["k"] == 1


# ----------------------------------------------------------------------------------------------------------
# Sizes
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_a_thousand_stages_in_a_chain_in_any_order(backwards: bool) -> None:
    stages = [
        fn(f"s{at}", lambda c, at=at: c.get(f"stage_s{at - 1}_output", 0) + 1, *[f"s{at - 1}"][:at])
        for at in range(1000)
    ]
    result = run(*(stages[::-1] if backwards else stages))
    assert [stage.output for stage in result.stages] == list(range(1, 1001))


def test_a_thousand_stages_side_by_side_and_a_thousand_children() -> None:
    stages: list[Stage] = [fn(f"s{at}", lambda c, at=at: at) for at in range(1000)]
    result = run(
        *stages,
        fn(
            "sum",
            lambda c: sum(c[f"stage_s{at}_output"] for at in range(1000)),
            *[f"s{at}" for at in range(1000)],
        ),
        max_workers=20,
    )
    assert by_id(result)["sum"].output == sum(range(1000))
    assert by_id(run(ParallelStage("p", stages, 20)))["p"].output == {f"s{at}": at for at in range(1000)}


def test_a_failure_at_the_head_of_a_thousand_stages_skips_them_all() -> None:
    stages = [fn(f"s{at}", one if at else raising(ValueError), *[f"s{at - 1}"][:at]) for at in range(1000)]
    for fail_fast in (True, False):
        result = run(*stages, fail_fast=fail_fast)
        assert [stage.status for stage in result.stages[1:]] == [StageStatus.SKIPPED] * 999
        assert {stage.error for stage in result.stages[1:]} == {"Dependencies not satisfied"}


def test_no_stages_and_no_children() -> None:
    for pipeline in (Pipeline(), PipelineBuilder("p").build()):
        result = pipeline.run()
        assert (result.status, result.stages, result.failed_stages) == (PipelineStatus.SUCCESS, [], 0)
        assert result.start_time is not None
        assert result.end_time is not None
    assert ParallelStage("p", []).execute({}) == {}
    assert run(ConditionalStage("a", one, ParallelStage("p", []))).stages[0].output == {}


@pytest.mark.parametrize("depth", [1, 30])
def test_deep_nesting(depth: int) -> None:
    stage: Stage = fn("in", lambda context: "deep")
    for at in range(depth):
        stage = ConditionalStage(f"c{at}", one, ParallelStage(f"p{at}", [stage]))
    output = run(stage).stages[0].output
    for at in reversed(range(depth)):
        assert list(output) == [f"c{at - 1}" if at else "in"]
        (output,) = output.values()
    assert output == "deep"


def test_a_thousand_conditions_within_each_other() -> None:
    stage: Stage = fn("in", lambda context: "deep")
    for at in range(1000):
        stage = ConditionalStage(f"c{at}", one, stage)
    assert run(stage).stages[0].output == "deep"


def test_a_fan_out_whose_children_all_fail_names_the_first_and_keeps_all_errors_if_allowed() -> None:
    children: list[Stage] = [fn(f"k{at}", raising(ValueError(f"no {at}"))) for at in range(100)]
    error = by_id(run(ParallelStage("p", children, 1)))["p"].error
    assert "'k0'" in str(error)
    output = by_id(run(ParallelStage("p", children, 8, allow_failures=True)))["p"].output
    assert output == {f"k{at}": {"error": f"no {at}"} for at in range(100)}


def test_retries_without_end_are_bounded_by_the_deadline() -> None:
    pipeline: Any = of(fn("a", raising(ValueError("why")), retry_count=10**6))
    result = testing.run(pipeline, options=RunOptions(deadline=100.0))
    assert statuses(result) == {"a": "FAILED"}
    assert result.status is PipelineStatus.FAILED
