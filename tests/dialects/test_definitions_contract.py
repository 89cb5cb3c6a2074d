"""Dialect B, row by row: what the other tests of it leave open. Each test says which row it holds to."""

import asyncio
import inspect
import pickle
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects import definitions
from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    PipelineResult,
    PipelineStage,
    RetryConfig,
    ReviewLoop,
    StageDefinition,
    StageResult,
)

from .parts import bounded
from .parts_definitions import FAN_OUT, Raw, Stage, execute, fails, forever, same, stage

patterns = pytest.mark.parametrize("pattern", list(ExecutionPattern))


# The head of the table


def test_execute_is_awaited_with_a_pipeline_an_input_and_a_context():
    """Head, run: `await execute(pipeline, input, context)`; input and context may be left out."""
    pipeline, context = PipelineDefinition("p", [stage("a")]), PipelineContext()

    async def main():
        executor = PipelineExecutor()
        coroutine = executor.execute(pipeline, 5, context)
        assert inspect.iscoroutine(coroutine)
        return await coroutine, await executor.execute(pipeline)

    result, without = bounded(main())
    assert isinstance(result, PipelineResult)
    assert (result.outputs, without.outputs) == ({"a": 5}, {"a": None})


def test_no_retry_unless_asked_for_and_then_total_calls():
    """Head, retry number: `max_attempts` counts all calls."""
    for retry, calls in ((None, 1), (RetryConfig(), 1), (RetryConfig(4, 0), 4)):
        one = Stage(fails)
        assert execute(stage("a", one, retry_config=retry)).failed_stages == ["a"]
        assert len(one.inputs) == calls


def test_the_waits_are_those_of_the_table():
    """Head, waits: ms, `initial_delay_ms·multiplierⁿ`, capped; jitter is off, and may be asked for."""
    policy = RetryConfig(9, 50, 4.0, 1000).policy()
    assert [policy.get_delay(n) for n in (1, 2, 3, 4, 300)] == [0.05, 0.2, 0.8, 1.0, 1.0]
    assert policy.jitter == "none"
    assert RetryConfig(jitter="full").policy().jitter == "full"


def test_all_outputs_are_kept():
    """Head: all outputs are kept, also those that have been consumed, each of the very object."""
    value = object()
    result = execute(stage("a", lambda i, c: value), stage("b", same, "a"), stage("c", same, "b"))
    assert all(result.outputs[id] is value for id in "abc")


def test_what_was_cancelled_and_what_never_started():
    """Head, statuses: cancelled: not in `outputs`, in `metadata["cancelled"]`; never started: in neither."""

    async def main():
        begun, all_begun = [], asyncio.Event()

        async def waits(input, context):
            begun.append(input)
            if len(begun) == 3:
                all_begun.set()
            await asyncio.Event().wait()

        async def bad(input, context):
            await all_begun.wait()
            return StageResult.failure("no")

        stages = [
            stage("done"),
            stage("waits", waits),
            stage("items", waits, "done", pattern=FAN_OUT),
            stage("bad", bad),
            stage("below", same, "bad"),
            stage("below waits", same, "waits"),
            stage("asked", same, "bad", condition=lambda context: False),
        ]
        return await PipelineExecutor().execute(PipelineDefinition("p", stages), [1, 2])

    result = bounded(main())
    assert (result.outputs, result.failed_stages) == ({"done": [1, 2]}, ["bad"])
    assert result.metadata["cancelled"] == ["waits", "items"]
    assert set(result.stage_results) == {"done", "bad"}
    assert result.metadata["skipped_critical"] == []


# Records


def test_a_stage_definition_takes_its_fields_in_this_order():
    """Row: `StageDefinition(id, stage, pattern, inputs, condition, …)`."""
    one, retry = Stage(same), RetryConfig()
    values: Any = ("a", one, FAN_OUT, ("x",), callable, retry, 5.0, False, 2, "text", int, (str, int))
    names = [
        "id",
        "stage",
        "pattern",
        "inputs",
        "condition",
        "retry_config",
        "timeout_ms",
        "critical",
        "max_concurrent_fan_out",
        "description",
        "input_type",
        "output_type",
    ]
    made = StageDefinition(*values)
    assert tuple(getattr(made, name) for name in names) == values
    assert StageDefinition(**dict[str, Any](zip(names, values, strict=True))) == made
    with pytest.raises(AttributeError):
        made.id = "b"  # type: ignore[misc]


def test_the_other_records_take_their_fields_in_this_order():
    """Rows: `RetryConfig(…)`, `PipelineDefinition(name, stages, description, fail_fast)`, both frozen."""
    retry = RetryConfig(2, 3.0, 4.0, 5.0, ["timeout"])
    assert (retry.max_attempts, retry.initial_delay_ms, retry.backoff_multiplier) == (2, 3.0, 4.0)
    assert (retry.max_delay_ms, list(retry.retryable_errors or ())) == (5.0, ["timeout"])
    with pytest.raises(AttributeError):
        retry.max_attempts = 3  # type: ignore[misc]
    pipeline = PipelineDefinition("p", [stage("a")], "text", True)
    assert (pipeline.name, [one.id for one in pipeline.stages]) == ("p", ["a"])
    assert (pipeline.description, pipeline.fail_fast) == ("text", True)
    assert (PipelineDefinition("p", []).description, PipelineDefinition("p", []).fail_fast) == (None, True)
    with pytest.raises(AttributeError):
        pipeline.stages = []  # type: ignore[misc]


def test_a_definition_does_not_change_with_the_list_it_was_made_of():
    """Row: `PipelineDefinition` frozen."""
    stages = [stage("a")]
    inputs = ["a"]
    stages.append(StageDefinition("b", Stage(same), inputs=inputs))
    pipeline = PipelineDefinition("p", stages)
    stages.clear()
    inputs.append("zz")
    assert bounded(PipelineExecutor().execute(pipeline, 1)).outputs == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("pattern", "text", "again"),
    [
        ("rate_limit", "RATE-LIMIT exceeded", True),
        ("Rate Limit", "rate_limit", True),
        ("429", "HTTP 4.2.9", True),
        ("limit", "delimited", True),
        ("rate_limit", "rate is limited", False),
        ("limit rate", "rate limit", False),
    ],
)
@pytest.mark.parametrize("raised", [True, False])
def test_retryable_errors_are_substrings_without_case_and_signs(pattern, text, again, raised):
    """Row: `retryable_errors`, for returned failures and raised exceptions alike."""

    def call(input, context):
        if raised:
            raise RuntimeError(text)
        return StageResult.failure(text)

    one = Stage(call)
    execute(stage("a", one, retry_config=RetryConfig(2, 0, retryable_errors=["zzz", pattern])))
    assert len(one.inputs) == (2 if again else 1)


def test_retryable_errors_match_the_name_of_the_class_of_what_was_raised_only():
    """Row: or the exception's class name, both lower-cased with all but letters and digits removed."""
    names = {"HTTP_Error_429": True, "Other": False}
    for name, again in names.items():

        def call(input, context, name=name):
            raise type(name, (Exception,), {})("text")

        one = Stage(call)
        execute(stage("a", one, retry_config=RetryConfig(2, 0, retryable_errors=["httperror429"])))
        assert len(one.inputs) == (2 if again else 1)
    returned = Stage(lambda i, c: StageResult.failure("text"))
    execute(stage("a", returned, retry_config=RetryConfig(2, 0, retryable_errors=["failed", "exception"])))
    assert len(returned.inputs) == 1  # it has no class, and none of ours may show


def test_no_retryable_error_is_none():
    """Row: `retryable_errors`: None is every error, an empty list is none."""
    one = Stage(fails)
    execute(stage("a", one, retry_config=RetryConfig(3, 0, retryable_errors=[])))
    assert len(one.inputs) == 1


def test_a_timeout_matches_timeout_for_plain_stages_too():
    """Row: a timeout matches "timeout"; `timeout_ms` is of one attempt."""
    go, calls = threading.Event(), []

    def plain(input, context):
        calls.append(1)
        assert len(calls) > 1 or go.wait(60)
        return StageResult.success("second")

    retry = RetryConfig(2, 0, retryable_errors=["timeout"])
    try:
        result = execute(stage("a", Raw(plain), timeout_ms=50, retry_config=retry))
    finally:
        go.set()
    assert (result.outputs, len(calls)) == ({"a": "second"}, 2)


# Validation


def test_validate_gives_all_messages_at_once_as_text():
    """Row: `validate()` returns a list of messages: duplicates, unknown inputs, the cycle, no entry point."""
    stages = [stage("a", same, "c"), stage("b", same, "a"), stage("c", same, "b"), stage("c", same, "zebra")]
    found = PipelineDefinition("p", stages, fail_fast=False).validate()
    assert all(type(one) is str for one in found)
    assert "Duplicate stage id 'c'" in found
    assert any(one.startswith("Stage 'c' depends on unknown stage 'zebra'") for one in found)
    assert any("fail_fast" in one for one in found)
    assert any("No entry point" in one for one in found)
    cycle = PipelineDefinition("p", stages[:3]).validate()
    assert any("a -> b -> c -> a" in one or "a -> c -> b -> a" in one for one in cycle), cycle


def test_an_unknown_input_names_the_near_miss():
    """Row: `Stage 'b' depends on unknown stage 'z'`."""
    (message,) = PipelineDefinition("p", [stage("audio"), stage("b", same, "audoi")]).validate()
    assert message.startswith("Stage 'b' depends on unknown stage 'audoi'")
    assert "'audio'" in message


def test_nothing_of_an_invalid_pipeline_starts():
    """Row: an invalid pipeline does not raise, and nothing of it runs."""
    good = Stage(same)
    asked: list[Any] = []
    result = execute(
        stage("a", good),
        stage("b", same, condition=asked.append),
        stage("c", same, "zz"),
        context=PipelineContext(state={}),
    )
    assert (good.inputs, asked, result.stage_results) == ([], [], {})
    assert (result.success, result.failed_stages) == (False, ["validation"])


def test_to_mermaid_draws_every_pattern():
    """Row: `to_mermaid()`; drawing runs nothing."""
    one = Stage(same)
    pipeline = PipelineDefinition(
        "p",
        [
            stage("list", one),
            stage("each one", one, "list", pattern=FAN_OUT),
            stage("maybe", one, "each one", condition=fails, pattern=ExecutionPattern.CONDITIONAL),
        ],
    )
    drawn = pipeline.to_mermaid()
    assert all(id in drawn for id in ("list", "each one", "maybe"))
    assert one.inputs == []


# Results


def test_results_are_made_with_names_and_metadata():
    """Row: on the class, `success(output, stage_name=…, metadata=…)`, `failure`, `skipped`, `soft_fail`."""
    how: Any = {"stage_name": "s", "metadata": {"k": 1}}
    made = [
        StageResult.success(1, **how),
        StageResult.failure("no", **how),
        StageResult.skipped("why", **how),
        StageResult.soft_fail(2, "why", **how),
    ]
    assert [one.stage_name for one in made] == ["s"] * 4
    assert [one.metadata["k"] for one in made] == [1] * 4
    assert [one.success for one in made] == [True, False, True, True]
    assert [one.output for one in made] == [1, None, None, 2]
    assert [one.error for one in made] == [None, "no", None, None]
    assert made[2].metadata["skipped"] is True
    assert made[3].metadata["soft_fail"] == "why"


def test_a_skip_says_exactly_true_whatever_the_metadata_says():
    """Row: a skipped stage's own `metadata["skipped"]` is exactly `True`."""
    assert StageResult.skipped("why", metadata={"skipped": "no"}).metadata["skipped"] is True
    result = execute(stage("a", lambda i, c: StageResult.skipped("x")), stage("b", condition=lambda c: 0))
    assert [result.stage_results[id].metadata["skipped"] for id in "ab"] == [True, True]


def test_success_is_a_bool_of_the_instance():
    """Row: on an instance, `result.success` is a bool; an error without a text is an error."""
    assert StageResult.success(None).success is True
    assert StageResult.failure("").success is False
    assert execute(stage("a", lambda i, c: StageResult.failure(""))).failed_stages == ["a"]


def test_a_pipeline_result_has_exactly_these_members():
    """Row: `PipelineResult`; each result names its stage, and the numbers are milliseconds."""
    result = execute(stage("a"), stage("b", lambda i, c: StageResult.failure("no"), "a"), input=3)
    assert (result.success, result.outputs, result.failed_stages) == (False, {"a": 3}, ["b"])
    assert {id: one.stage_name for id, one in result.stage_results.items()} == {"a": "a", "b": "b"}
    assert isinstance(result.total_duration_ms, float)
    assert result.metadata["run_id"]
    assert (result.get_output("a"), result.get_output("b"), result.get_output("b", 7)) == (3, None, 7)
    failed = result.get_result("b")
    assert failed is not None
    assert (failed.error, failed.output) == ("no", None)
    assert result.get_result("zz") is None


def test_a_pipeline_result_can_be_pickled_whatever_the_stages_are():
    """Row: `PipelineResult`: a value of its own, as are its parts."""
    result = execute(stage("a", lambda i, c: 1, condition=lambda context: True))
    again = pickle.loads(pickle.dumps(result))
    assert (again.outputs, dict(again.stage_results)) == ({"a": 1}, dict(result.stage_results))


# Stages and their inputs


def test_the_protocol_is_runtime_checkable_and_needs_no_name():
    """Row: `PipelineStage` is a runtime-checkable Protocol with `execute` only."""
    assert isinstance(Raw(forever), PipelineStage)
    assert isinstance(ReviewLoop(lambda i, f, c: 1, same, 1), PipelineStage)
    assert not isinstance(SimpleNamespace(name="a"), PipelineStage)
    members = {name for name in vars(PipelineStage) if not name.startswith("_")}
    assert members == {"execute"}
    assert inspect.iscoroutinefunction(PipelineStage.execute)


@pytest.mark.parametrize("name", [None, "", 5, ["a"]])
def test_a_name_that_is_no_name_gives_way_to_the_id(name):
    """Row: `name`, if the stage has one, is read with getattr (else the id serves)."""
    one = Stage(same)
    one.name = name  # type: ignore[attr-defined]
    assert execute(stage("a", one)).stage_results["a"].stage_name == "a"


@pytest.mark.parametrize("value", [None, 0, "text", [1], {"output": 1}, ValueError("x"), StageResult])
@patterns
def test_whatever_is_no_stage_result_is_a_failure_naming_the_stage(value, pattern):
    """Row: a stage that returns a bare value instead of a `StageResult` is a failure naming the stage."""

    async def bare(input, context):
        return value

    result = execute(stage("a", Raw(bare), pattern=pattern), input=[1])
    assert (result.success, result.failed_stages, result.outputs) == (False, ["a"], {})
    says = f"stage 'a' returned {type(value).__name__}, not a StageResult"
    assert says in str(result.stage_results["a"].error)


def test_a_skipped_input_is_none_however_it_was_skipped():
    """Row: input: a skipped input → None; dependants run."""
    result = execute(
        stage("by itself", lambda i, c: StageResult.skipped("none today")),
        stage("by condition", same, condition=lambda context: False),
        stage("one", lambda i, c: ("one", i), "by itself"),
        stage("both", same, "by condition", "by itself"),
        input="unseen",
    )
    assert result.outputs["one"] == ("one", None)
    assert result.outputs["both"] == {"by condition": None, "by itself": None}
    assert result.success


def test_several_inputs_come_by_id_in_the_order_named():
    """Row: several → dict by id."""
    ids = ["b", "a", "c d"]
    result = execute(*[stage(id, lambda i, c, id=id: id) for id in ids], stage("z", same, "c d", "a", "b"))
    assert list(result.outputs["z"].items()) == [("c d", "c d"), ("a", "a"), ("b", "b")]


# Conditions


def test_a_condition_sees_what_everything_above_it_has_written():
    """Row: a condition is evaluated just before the stage; it sees the state of all stages above."""
    seen = {}

    def asked(name, answer=True):
        def condition(context):
            seen[name] = dict(context.state)
            return answer

        return condition

    def writes(key, value=None):
        return lambda i, c: [c.set_state(key, 1), value][1]

    execute(
        stage("a", writes("a", [])),
        stage("b", writes("b"), "a", condition=asked("b", False)),
        stage("c", writes("c"), "b", condition=asked("c", False)),
        stage("fan", writes("fan"), "a", pattern=FAN_OUT, condition=asked("fan")),
        stage("d", writes("d"), "c", "fan", condition=asked("d")),
        stage("e", same, "d", condition=asked("e")),
    )
    assert {name: set(state) for name, state in seen.items()} == {
        "b": {"a"},
        "c": {"a"},
        "fan": {"a"},
        "d": {"a"},
        "e": {"a", "d"},
    }


@patterns
def test_a_true_condition_lets_every_pattern_run(pattern):
    """Row: condition, whatever the pattern."""
    result = execute(stage("a", pattern=pattern, condition=lambda context: True), input=[1])
    assert result.outputs == {"a": [1]}


def test_a_condition_of_a_stage_without_inputs_sees_the_callers_context():
    """Row: condition."""
    context = PipelineContext(state={"go": 1}, config={"x": 1})
    result = execute(stage("a", condition=lambda c: c.get_state("go") and c.config["x"]), context=context)
    assert result.outputs == {"a": None}
    assert "skipped" not in result.stage_results["a"].metadata


# Failure


def test_a_failure_stops_always_even_what_is_not_critical():
    """Row: fail-fast, always; `critical=False` never says that a failure is acceptable."""
    after, beside = Stage(same), Stage(same)
    result = execute(
        stage("a"),
        stage("b", fails, "a", critical=False),
        stage("c", after, "b", critical=False),
        stage("d", beside, "a", "c"),
        input=1,
    )
    assert (result.success, result.outputs, result.failed_stages) == (False, {"a": 1}, ["b"])
    assert after.inputs == beside.inputs == []
    with pytest.raises(ValueError, match="stops at a failure"):
        execute(stage("a"), options=RunOptions("drain"))


def test_what_has_failed_is_in_failed_stages_in_order_of_the_definition():
    """Row: `failed_stages` has the failed ones."""

    async def main():
        both = asyncio.Event(), asyncio.Event()

        def breaks(mine):
            async def call(input, context):
                both[mine].set()
                await both[1 - mine].wait()
                return StageResult.failure(f"no {mine}")

            return call

        stages = [stage("x", breaks(0)), stage("y", breaks(1))]
        return await PipelineExecutor().execute(PipelineDefinition("p", stages))

    result = bounded(main())
    assert 1 <= len(result.failed_stages) <= 2  # the first one may have cancelled the other one
    assert set(result.failed_stages) | set(result.metadata["cancelled"]) == {"x", "y"}


def test_soft_failures_are_the_only_tolerated_ones_and_may_stand_in_a_fan_out():
    """Row: `soft_fail`: `success` True, output passed on, `metadata["soft_fail"]` = reason."""

    def call(item, context):
        return StageResult.soft_fail(item * 10, "tokens", metadata={"k": 1}) if item == 2 else item

    result = execute(stage("a", call, pattern=FAN_OUT), stage("b", same, "a"), input=[1, 2, 3])
    assert (result.success, result.outputs["b"]) == (True, [1, 20, 3])
    assert result.stage_results["a"].metadata["soft_fail"] == "[1] tokens"
    whole = execute(stage("a", call), input=2)
    assert whole.stage_results["a"].metadata == {"soft_fail": "tokens", "k": 1}


def test_every_name_of_the_contract_is_offered_and_no_other_besides_verdict():
    """Row: the names."""
    names = (
        "PipelineDefinition StageDefinition PipelineExecutor PipelineContext PipelineStage ExecutionPattern "
        "RetryConfig StageResult PipelineResult resolve_typed_input ReviewLoop Verdict"
    )
    assert set(definitions.__all__) == set(names.split())
