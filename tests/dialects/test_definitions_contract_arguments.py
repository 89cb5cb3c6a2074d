"""Dialect B and arguments of a wrong type: an error that names the argument, before anything runs."""

import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.definitions import (
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    RetryConfig,
    ReviewLoop,
    StageDefinition,
    StageResult,
    Verdict,
    resolve_typed_input,
)

from .parts import bounded
from .parts_definitions import FAN_OUT, Raw, Stage, error_of, execute, same, stage

LOOSE_STAGE: Any = StageDefinition  # given on purpose what type checkers refuse
LOOSE_RETRY: Any = RetryConfig
LOOSE_PIPELINE: Any = PipelineDefinition
LOOSE_CONTEXT: Any = PipelineContext
LOOSE_LOOP: Any = ReviewLoop
LOOSE_RESULT: Any = StageResult


# Arguments of a wrong type


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inputs", None),
        ("inputs", 5),
        ("inputs", "audio"),
        ("inputs", {"audio": 1}),
        ("inputs", {"audio"}),
        ("inputs", [3]),
        ("condition", True),
        ("condition", "has_lyrics"),
        ("retry_config", 3),
        ("retry_config", {"max_attempts": 3}),
        ("timeout_ms", "5"),
        ("timeout_ms", 0),
        ("timeout_ms", -1),
        ("timeout_ms", math.nan),
        pytest.param("timeout_ms", True),
        ("max_concurrent_fan_out", 0),
        ("max_concurrent_fan_out", True),
        ("max_concurrent_fan_out", 1.5),
        ("max_concurrent_fan_out", "4"),
        ("max_concurrent_fan_out", None),
        ("input_type", "int"),
        ("input_type", list[int]),
        ("output_type", 5),
        pytest.param("output_type", (int, "str")),
        pytest.param("critical", "no"),
        pytest.param("description", 5),
        ("patern", FAN_OUT),
    ],
)
def test_a_stage_definition_refuses_a_wrong_type(field, value):
    """Bad input: each argument of `StageDefinition`; the error names the field."""
    with pytest.raises((TypeError, ValueError), match=field):
        LOOSE_STAGE(**{"id": "a", "stage": Stage(same), field: value})


@pytest.mark.parametrize("value", ["fanout", 5, None, FAN_OUT.name])
def test_an_unknown_pattern_is_refused(value):
    """Bad input: `pattern`."""
    with pytest.raises(ValueError, match="is not a valid ExecutionPattern"):
        LOOSE_STAGE("a", Stage(same), value)


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        (" a", "no space at its ends"),
        ("a[0]", "is not allowed"),
        ("a\nb", "is not allowed"),
        ("a//b", "empty or only dots"),
        ("x" * 201, "at most 200 characters"),
        (3, "must be a str, not int"),
        (None, "must be a str, not NoneType"),
        (b"a", "must be a str, not bytes"),
    ],
)
def test_a_stage_without_a_usable_id_is_not_valid(id, says):
    """Bad input: a stage without a name."""
    one = Stage(same)
    result = execute(LOOSE_STAGE(id, one))
    assert (result.failed_stages, one.inputs) == (["validation"], [])
    assert says in result.metadata["validation_errors"][0]


@pytest.mark.parametrize(
    "one", [None, 5, object(), SimpleNamespace(execute=None), SimpleNamespace(execute=5)]
)
def test_an_object_without_execute_is_not_valid(one):
    """Bad input: an object without execute."""
    result = execute(LOOSE_STAGE("a", one))
    assert result.failed_stages == ["validation"]
    assert "Stage 'a' has no method execute(input, context)" in result.metadata["validation_errors"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", "3"),
        ("max_attempts", True),
        ("max_attempts", None),
        ("initial_delay_ms", -1),
        ("initial_delay_ms", "1"),
        ("initial_delay_ms", True),
        ("initial_delay_ms", math.nan),
        ("max_delay_ms", -1),
        ("max_delay_ms", None),
        pytest.param("backoff_multiplier", "2"),
        ("retryable_errors", "timeout"),
        ("retryable_errors", [TimeoutError]),
        ("retryable_errors", ["_"]),
        pytest.param("retryable_errors", 5),
        ("jitter", "some"),
        ("jitter", True),
        ("retries", 3),
    ],
)
def test_a_retry_config_refuses_a_wrong_type(field, value):
    """Bad input: each argument of `RetryConfig`; the error names the field or its word for it."""
    with pytest.raises((TypeError, ValueError), match=field.removesuffix("_ms")):
        LOOSE_RETRY(**{field: value})


@pytest.mark.parametrize(
    "stages",
    [
        "ab",
        {"a": 1},
        [5],
        [Stage(same)],
        pytest.param(None),
        pytest.param(5),
        pytest.param(stage("a")),
    ],
)
def test_a_definition_refuses_what_is_no_list_of_stages(stages):
    """Bad input: `stages`."""
    with pytest.raises(TypeError, match=r"'p'.*list of StageDefinition"):
        LOOSE_PIPELINE("p", stages)


def test_stages_may_come_from_a_generator_or_are_refused():
    """Bad input: `stages`; whatever is done, they are not lost."""
    try:
        pipeline = LOOSE_PIPELINE("p", (stage(id) for id in "ab"))
    except TypeError:
        return
    assert [one.id for one in pipeline.stages] == ["a", "b"]


@pytest.mark.parametrize("name", [None, 5, "", " "])
def test_a_pipeline_without_a_name_is_not_valid(name):
    """Bad input: `name`."""
    pipeline = LOOSE_PIPELINE(name, [stage("a")])
    assert len(pipeline.validate()) == 1
    assert bounded(PipelineExecutor().execute(pipeline)).failed_stages == ["validation"]


@pytest.mark.parametrize("value", [False, None, 0, pytest.param("no")])
def test_whatever_is_not_fail_fast_is_not_valid(value):
    """Bad input: `fail_fast`."""
    assert any("fail_fast" in one for one in LOOSE_PIPELINE("p", [stage("a")], fail_fast=value).validate())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("state", 5),
        pytest.param("state", "text"),
        pytest.param("metrics", 5),
        pytest.param("metrics", []),
        ("get_state", 5),
        ("is_cancelled", threading.Event()),
    ],
)
def test_a_context_refuses_a_wrong_type(field, value):
    """Bad input: each argument of `PipelineContext`."""
    with pytest.raises(TypeError, match=field):
        LOOSE_CONTEXT(**{field: value})


def test_execute_refuses_wrong_arguments_and_runs_nothing():
    """Bad input: each argument of `execute`."""
    one = Stage(same)
    pipeline = PipelineDefinition("p", [stage("a", Raw(lambda i, c: one.inputs.append(i)))])
    run: Any = PipelineExecutor().execute
    cases: Any = [
        ((stage("a"),), {}, TypeError, "PipelineDefinition, not StageDefinition"),
        ((None,), {}, TypeError, "PipelineDefinition, not NoneType"),
        ((PipelineDefinition,), {}, TypeError, "PipelineDefinition, not "),
        ((pipeline, 1, {"k": 1}), {}, TypeError, "PipelineContext, not dict"),
        ((pipeline, 1, PipelineContext), {}, TypeError, "PipelineContext, not type"),
        ((pipeline,), {"runner": "thread"}, ValueError, "there is no runner 'thread'"),
        ((pipeline,), {"runner": 5}, ValueError, "not 5"),
        ((pipeline,), {"options": RunOptions("continue")}, ValueError, "stops at a failure"),
        ((pipeline,), {"fail_fast": False}, TypeError, "fail_fast"),
    ]
    for given, how, error, says in cases:
        with pytest.raises(error, match=says):
            bounded(run(*given, **how))
    assert one.inputs == []


@pytest.mark.parametrize("options", [5, {}, "drain", RunOptions])
def test_options_of_a_wrong_type_are_named(options):
    """Bad input: `options`."""
    with pytest.raises((TypeError, ValueError), match="options takes RunOptions"):
        execute(stage("a"), options=options)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_iterations", 0),
        pytest.param("max_iterations", "3"),
        pytest.param("max_iterations", 1.5),
        pytest.param("max_iterations", True),
        ("token_budget", 0),
        pytest.param("token_budget", "9"),
        pytest.param("draft", 5),
        pytest.param("judge", Verdict(True)),
    ],
)
def test_a_review_loop_refuses_a_wrong_type(field, value):
    """Bad input: each argument of `ReviewLoop`; a loop is expensive, so before it begins."""
    with pytest.raises((TypeError, ValueError), match=field):
        LOOSE_LOOP(**{"draft": same, "judge": same, "max_iterations": 3, field: value})


@pytest.mark.parametrize(
    "given",
    [
        (5, "int"),
        (5, None),
        ({"a": 1}, int, ["a"]),
        ("x", list[int]),
        pytest.param(({1: 1, 2: 2}, int)),
        pytest.param(("x", (int, float))),
        pytest.param(("x", int | float)),
    ],
)
def test_resolve_typed_input_raises_nothing_but_type_errors(given):
    """Bad input: each argument of `resolve_typed_input`; the row knows a TypeError only."""
    resolve: Any = resolve_typed_input
    with pytest.raises(TypeError) as caught:
        resolve(*given)
    assert "sequence item" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        ("failure", 5),
        ("failure", ValueError("x")),
        pytest.param("failure", None),
    ],
)
def test_a_failure_needs_a_text(make, value):
    """Bad input: `StageResult.failure(error)`; never a success."""
    with pytest.raises((TypeError, ValueError)):
        getattr(LOOSE_RESULT, make)(value)


def test_a_result_that_cannot_be_made_is_a_failure_of_its_stage():
    """Bad input: `StageResult` in a stage."""
    result = execute(stage("a", lambda i, c: LOOSE_RESULT.failure(ValueError("x"))))
    assert "takes the error as a text" in error_of(result)
