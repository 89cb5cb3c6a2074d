"""Pipelines: what of the attempts of stages gets into the context, and which of two writes counts."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from penstock import testing
from penstock.dialects.pipelines import (
    ConditionalStage,
    ParallelStage,
    Stage,
)

from .parts_bound import doing, raising
from .parts_pipelines import Context, by_id, fn, of, one, run, seen, some

# ----------------------------------------------------------------------------------------------------------
# Failed attempts' writes are never seen; a retry begins from the committed context
# ----------------------------------------------------------------------------------------------------------


def test_row_context_a_retry_begins_from_the_committed_context() -> None:
    tries: list[Context] = []
    other = threading.Event()

    def act(context: Context) -> None:
        tries.append(dict(context))
        context.pop("base")
        context.update(junk=len(tries), value="mine")
        if len(tries) < 3:
            raise ValueError

    stages = [
        fn("a", act, retry_count=2),
        fn("b", doing(some(sibling=1), lambda context: other.set())),
        fn("z", seen, "a", "b"),
    ]
    pipeline: Any = of(*stages).set_context("base", 0)
    result = by_id(testing.run(pipeline))
    assert other.is_set()
    assert [set(each) - {"sibling", "stage_b_output"} for each in tries] == [{"base"}] * 3
    assert "sibling" in tries[2]  # committed meanwhile
    assert (result["z"].output["junk"], result["z"].output["value"]) == (3, "mine")
    assert "base" not in result["z"].output


@pytest.mark.parametrize(
    "make",
    [
        lambda act: fn("a", act),
        lambda act: fn("a", act, retry_count=1),
        lambda act: ConditionalStage("a", one, fn("in", act)),
        lambda act: ParallelStage("a", [fn("fine", some(fine=1)), fn("x", act, "fine")]),
        lambda act: ParallelStage("a", [fn("x", act)], allow_failures=True),
    ],
)
def test_row_context_failed_attempts_writes_are_never_seen(make: Any) -> None:
    def act(context: Context) -> None:
        context["left"] = "behind"
        del context["base"]
        raise ValueError

    # "b" has no dependency on it and comes after it: stages run one at a time, and the longest path first
    stage = make(act)
    stages = [stage, fn("below", one, "a"), fn("b", seen)]
    pipeline: Any = of(*stages, fail_fast=False).set_context("base", 0)
    found = by_id(testing.run(pipeline))["b"].output
    assert found.pop("stage_a_output", None) in (None, {"x": {"error": "ValueError"}})
    found.pop("stage_below_output", None)
    assert found == {"base": 0}


# ----------------------------------------------------------------------------------------------------------
# "a key written by two unordered steps is a warning"
# ----------------------------------------------------------------------------------------------------------


def warnings_of(*stages: Stage, **kw: Any) -> tuple[str, ...]:
    result = run(*stages, fail_fast=False, **kw)
    assert result.run is not None
    return result.run.warnings


def put(context: Context) -> None:
    context["k"] = 1


@pytest.mark.parametrize(
    "other",
    [
        fn("b", put),
        fn("b", lambda c: c.pop("k")),
        ConditionalStage("b", one, fn("in", put)),
        ParallelStage("b", [fn("x", put)]),
    ],
    ids=["write", "delete", "condition", "child"],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_row_a_key_written_by_two_unordered_stages_is_a_warning_whatever_they_are(
    other: Stage, workers: int
) -> None:
    context = {"k": 0}
    (warning,) = warnings_of(fn("a", put), other, context=context, max_workers=workers)
    for word in ("'k'", "'a'", "'b'"):
        assert word in warning


@pytest.mark.parametrize(
    "stages",
    [
        [fn("a", put), fn("b", one, "a"), fn("c", one, "a"), fn("d", put, "b", "c")],
        [fn("a", put), fn("b", lambda context: context.get("k"))],
        [fn("a", put), fn("b", doing(put, raising(ValueError)))],
        [fn("a", put), ConditionalStage("b", lambda context: False, fn("in", put))],
        [fn("a", put), fn("b", lambda context: context.update(other=1))],
        [fn("a"), fn("b")],
    ],
    ids=["ordered", "read only", "failed", "skipped", "other key", "outputs"],
)
def test_row_no_warning_where_nothing_is_a_matter_of_time(stages: list[Stage]) -> None:
    assert warnings_of(*stages) == ()


def test_row_a_key_written_by_two_unordered_children_is_a_warning() -> None:
    (warning,) = warnings_of(ParallelStage("p", [fn("x", put), fn("y", put)]))
    assert "'k'" in warning
