"""The dialect of definitions: every row of its contract, and what it says to wrong input."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Flow, Limit
from penstock.core.model import RunOptions
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
    Verdict,
    resolve_typed_input,
)

FAN_OUT = ExecutionPattern.FAN_OUT


class Stage:
    """A stage that calls a function of (input, context), sync or async; it counts the calls."""

    def __init__(self, call: Callable[[Any, PipelineContext], Any]) -> None:
        self.call = call
        self.inputs: list[Any] = []

    async def execute(self, input: Any, context: PipelineContext) -> StageResult[Any]:
        self.inputs.append(input)
        value = self.call(input, context)
        if hasattr(value, "__await__"):
            value = await value
        return value if isinstance(value, StageResult) else StageResult.success(value)


def same(input: Any, context: PipelineContext) -> Any:
    return input


def fails(input: Any, context: PipelineContext) -> Any:
    raise ValueError("boom")


def stage(id: str, call: Any = same, *inputs: str, **options: Any) -> StageDefinition:
    return StageDefinition(id, call if hasattr(call, "execute") else Stage(call), inputs=inputs, **options)


def run(*stages: StageDefinition, input: Any = None, context: Any = None, **how: Any) -> PipelineResult:
    return asyncio.run(PipelineExecutor().execute(PipelineDefinition("p", stages), input, context, **how))


def sequence(*endings: Any) -> Callable[[Any, PipelineContext], Any]:
    """A stage that raises or returns one of these after the other."""
    left = list(endings)

    def call(input: Any, context: PipelineContext) -> Any:
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return call


# ----------------------------------------------------------------------------------------------------------
# Names and records
# ----------------------------------------------------------------------------------------------------------


def test_all_names_of_the_contract_are_offered() -> None:
    names = (
        "PipelineDefinition StageDefinition PipelineExecutor PipelineContext PipelineStage ExecutionPattern "
        "RetryConfig StageResult PipelineResult resolve_typed_input ReviewLoop"
    )
    assert set(names.split()) <= set(definitions.__all__)


def test_without_pydantic_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("penstock.dialects.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImportError, match=r"penstock\[definitions\]"):
        __import__("penstock.dialects.definitions")


def test_stage_definition_defaults() -> None:
    one = StageDefinition("a", Stage(same))
    assert (one.pattern, one.inputs, one.condition, one.retry_config, one.timeout_ms, one.critical) == (
        ExecutionPattern.SEQUENTIAL,
        (),
        None,
        None,
        None,
        True,
    )
    assert (one.max_concurrent_fan_out, one.description, one.input_type, one.output_type) == (
        4,
        None,
        None,
        None,
    )


def test_retry_config_defaults() -> None:
    one = RetryConfig()
    assert (one.max_attempts, one.initial_delay_ms, one.backoff_multiplier) == (1, 1000.0, 2.0)
    assert (one.max_delay_ms, one.retryable_errors, one.jitter) == (60000.0, None, "none")


def test_retry_waits_are_milliseconds_times_the_multiplier_capped() -> None:
    policy = RetryConfig(5, 100, 3.0, 500).policy()
    assert [policy.get_delay(n) for n in (1, 2, 3)] == pytest.approx([0.1, 0.3, 0.5])
    assert policy.jitter == "none"


@pytest.mark.parametrize(
    ("pattern", "error", "again"),
    [
        ("rate_limit", type("RateLimitError", (Exception,), {})("slow down"), True),
        ("rate_limit", RuntimeError("Rate limit: 429"), True),
        ("timeout", TimeoutError(), True),
        ("Time-Out", RuntimeError("request timeout"), True),
        ("timeout", ValueError("boom"), False),
    ],
)
def test_retryable_errors_match_text_or_class_name(pattern: str, error: Exception, again: bool) -> None:
    one = Stage(sequence(error, "fine"))
    retry = RetryConfig(2, initial_delay_ms=0, retryable_errors=[pattern])
    result = run(stage("a", one, retry_config=retry))
    assert (result.success, len(one.inputs)) == (again, 2 if again else 1)


def test_retryable_errors_match_returned_failures_too() -> None:
    retry = RetryConfig(2, initial_delay_ms=0, retryable_errors=["rate_limit"])
    assert run(stage("a", sequence(StageResult.failure("Rate-Limit!"), 1), retry_config=retry)).success
    assert not run(stage("a", sequence(StageResult.failure("other"), 1), retry_config=retry)).success


def test_max_attempts_counts_all_calls() -> None:
    one = Stage(fails)
    result = run(stage("a", one, retry_config=RetryConfig(3, initial_delay_ms=0)))
    assert len(one.inputs) == 3
    assert result.stage_results["a"].metadata["attempts"] == 3


def test_a_timeout_is_per_attempt_and_matches_timeout() -> None:
    calls: list[int] = []

    async def slow_at_first(input: Any, context: PipelineContext) -> str:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "late"

    retry = RetryConfig(2, initial_delay_ms=0, retryable_errors=["timeout"])
    assert run(stage("a", slow_at_first, timeout_ms=20, retry_config=retry)).outputs == {"a": "late"}


def test_a_timeout_fails_the_stage() -> None:
    async def forever(input: Any, context: PipelineContext) -> None:
        await asyncio.Event().wait()

    result = run(stage("a", forever, timeout_ms=20))
    assert result.failed_stages == ["a"]
    assert result.stage_results["a"].metadata["error_type"] == "TimeoutError"


def test_a_stage_result_is_made_on_the_class_and_asked_on_the_instance() -> None:
    value = object()
    good = StageResult.success(value, stage_name="s", metadata={"k": 1})
    assert (good.output, good.stage_name, good.metadata, good.error) == (value, "s", {"k": 1}, None)
    assert good.success is True
    assert good.output is value
    bad = StageResult.failure("no", stage_name="s")
    assert (bad.success, bad.error, bad.output) == (False, "no", None)
    left_out = StageResult.skipped("nothing to do")
    assert (left_out.success, left_out.output, left_out.metadata["skipped"]) == (True, None, True)
    soft = StageResult.soft_fail("draft", "budget")
    assert (soft.success, soft.output, soft.metadata) == (True, "draft", {"soft_fail": "budget"})


def test_a_stage_result_is_a_frozen_pydantic_model() -> None:
    one = StageResult.success(1)
    assert set(type(one).model_fields) == {"stage_name", "output", "error", "metadata"}
    with pytest.raises(ValueError, match="frozen"):
        one.output = 2  # type: ignore[misc]
    assert StageResult[int].success(1).output == 1
    with pytest.raises(ValueError, match="output"):
        StageResult[int].success("x")


def test_a_pipeline_result_has_the_names_of_the_contract() -> None:
    result = run(stage("a", same), stage("b", same, "a"), input=7)
    assert result.success
    assert result.get_output("b") == 7
    assert result.get_output("z", 0) == 0
    assert result.get_result("a") is result.stage_results["a"]
    assert result.get_result("z") is None
    assert (result.failed_stages, result.total_duration_ms > 0) == ([], True)


def test_each_stage_is_timed() -> None:
    result = run(stage("a", same, pattern=FAN_OUT), stage("b", same, "a"), input=[1])
    took = result.metadata["stage_durations_ms"]
    assert took.keys() == {"a", "b"}
    assert min(took.values()) > 0


# ----------------------------------------------------------------------------------------------------------
# Validation
# ----------------------------------------------------------------------------------------------------------

LOOSE: Any = StageDefinition  # given on purpose what type checkers refuse
LOOSE_RETRY: Any = RetryConfig
LOOSE_LIST: Any = [Stage(same)]

BAD: list[tuple[list[StageDefinition], str]] = [
    ([stage("a"), stage("a")], "Duplicate stage id 'a'"),
    ([stage("a"), stage("b", same, "z")], "Stage 'b' depends on unknown stage 'z'"),
    ([stage("a", same, "b"), stage("b", same, "a")], "a -> b -> a"),
    ([stage("a", same, "a")], "a -> a"),
    ([stage("a", same, "b"), stage("b", same, "a")], "No entry point"),
    ([], "No entry point"),
    ([stage("a"), stage("b", same, "a", "a")], "twice"),
    ([LOOSE("a", None)], "has no method execute"),
    ([stage("a[0]")], "is not allowed"),
]


@pytest.mark.parametrize(("stages", "says"), BAD)
def test_an_invalid_pipeline_does_not_raise(stages: list[StageDefinition], says: str) -> None:
    assert any(says in message for message in PipelineDefinition("p", stages).validate())
    result = run(*stages)
    assert (result.success, result.failed_stages, result.outputs) == (False, ["validation"], {})
    assert any(says in message for message in result.metadata["validation_errors"])


def test_fail_fast_false_is_a_message_of_validate() -> None:
    pipeline = PipelineDefinition("p", [stage("a")], fail_fast=False)
    assert len(pipeline.validate()) == 1
    assert "fail_fast" in pipeline.validate()[0]


def test_a_valid_pipeline_has_no_messages_and_is_frozen() -> None:
    pipeline = PipelineDefinition("p", [stage("a"), stage("b", same, "a")])
    assert pipeline.validate() == []
    with pytest.raises(AttributeError):
        pipeline.name = "q"  # type: ignore[misc]


def test_to_mermaid() -> None:
    drawn = PipelineDefinition("p", [stage("a"), stage("b", same, "a")]).to_mermaid()
    assert drawn.startswith("flowchart TD")
    assert "n0 --> n1" in drawn
    with pytest.raises(ValueError, match="unknown stage 'z'"):
        PipelineDefinition("p", [stage("a", same, "z")]).to_mermaid()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LOOSE("a", Stage(same), inputs="audio"), "inputs is a list"),
        (lambda: LOOSE("a", Stage(same), condition=True), "condition is a function"),
        (lambda: LOOSE("a", Stage(same), retry_config=3), "RetryConfig"),
        (lambda: LOOSE("a", Stage(same), timeout_ms=-1), "timeout_ms"),
        (lambda: LOOSE("a", Stage(same), timeout_ms="5"), "timeout_ms"),
        (lambda: LOOSE("a", Stage(same), max_concurrent_fan_out=0), "max_concurrent_fan_out"),
        (lambda: LOOSE("a", Stage(same), pattern="fanout"), "fanout"),
        (lambda: LOOSE("a", Stage(same), input_type="int"), "input_type is a class"),
        (lambda: PipelineDefinition("p", LOOSE_LIST), "StageDefinition"),
        (lambda: RetryConfig(0), "max_attempts"),
        (lambda: LOOSE_RETRY(initial_delay_ms="1"), "initial_delay_ms"),
        (lambda: RetryConfig(retryable_errors=["_"]), "retryable_errors"),
        (lambda: RetryConfig(retryable_errors="timeout"), "retryable_errors"),
        (lambda: ReviewLoop(lambda i, f, c: 1, same, 0), "at least 1"),
        (lambda: PipelineContext(get_state=1), "get_state"),
        (lambda: run(stage("a"), context={}), "PipelineContext"),
        (lambda: asyncio.run(PipelineExecutor().execute(LOOSE_LIST)), "PipelineDefinition"),
        (lambda: run(stage("a"), options=RunOptions("continue")), "stops at a failure"),
    ],
)
def test_wrong_arguments_are_named(make: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        make()


# ----------------------------------------------------------------------------------------------------------
# Stages and inputs
# ----------------------------------------------------------------------------------------------------------


def test_input_none_one_several_and_skipped() -> None:
    several = Stage(same)
    result = run(
        stage("a", lambda i, c: i + 1),
        stage("b", lambda i, c: i * 10, "a"),
        stage("left", same, "a", condition=lambda ctx: False),
        stage("after", lambda i, c: [i], "left"),
        stage("c", several, "a", "b", "left"),
        input=1,
    )
    assert result.outputs == {
        "a": 2,
        "b": 20,
        "left": None,
        "after": [None],
        "c": {"a": 2, "b": 20, "left": None},
    }


def test_stages_are_given_in_any_order() -> None:
    assert run(stage("b", lambda i, c: i + 1, "a"), stage("a"), input=1).outputs == {"b": 2, "a": 1}


def test_the_protocol_asks_for_execute_only() -> None:
    assert isinstance(Stage(same), PipelineStage)
    assert not isinstance(object(), PipelineStage)


def test_the_name_is_read_if_there_is_one_else_the_id_serves() -> None:
    named = Stage(same)
    named.name = "loud"  # type: ignore[attr-defined]
    result = run(stage("a", named), stage("b"), stage("c", lambda i, c: StageResult.success(1, "own")))
    assert [result.stage_results[id].stage_name for id in "abc"] == ["loud", "b", "own"]


def test_a_bare_value_is_a_failure_that_names_the_stage() -> None:
    class Bare:
        async def execute(self, input: Any, context: PipelineContext) -> Any:
            return 5

    result = run(stage("a", Bare(), retry_config=RetryConfig(3)))
    assert "stage 'a' returned int, not a StageResult" in str(result.stage_results["a"].error)


def test_a_sync_execute_runs_in_a_thread() -> None:
    class Plain:
        def execute(self, input: Any, context: PipelineContext) -> StageResult[int]:
            context.set_state("seen", input)
            return StageResult.success(threading.get_ident())

    context = PipelineContext()
    result = run(stage("a", Plain()), input=4, context=context)
    assert result.outputs["a"] != threading.get_ident()
    assert context.state == {"seen": 4}


def test_a_sync_execute_that_gives_an_awaitable_is_told_of_async_def() -> None:
    class Forgot:
        def execute(self, input: Any, context: PipelineContext) -> Any:
            return Stage(same).execute(input, context)

    assert "async def execute" in str(run(stage("a", Forgot())).stage_results["a"].error)


def test_stages_with_the_same_inputs_run_at_the_same_time() -> None:
    gates = asyncio.Event(), asyncio.Event()

    def meets(mine: int) -> Any:
        async def call(input: Any, context: PipelineContext) -> int:
            gates[mine].set()
            await asyncio.wait_for(gates[1 - mine].wait(), 10)
            return mine

        return call

    result = run(stage("a"), stage("b", meets(0), "a"), stage("c", meets(1), "a"))
    assert (result.outputs["b"], result.outputs["c"]) == (0, 1)


def test_stages_share_a_limit_with_each_other_and_with_flows() -> None:
    one = Limit("model", capacity=1, scope="process")
    inside: list[str] = []
    most: list[int] = []

    class Holding:
        async def execute(self, input: Any, context: PipelineContext) -> StageResult[Any]:
            inside.append("x")
            most.append(len(inside))
            await asyncio.sleep(0)
            inside.pop()
            return StageResult.success(1)

    flow = Flow("beside")

    @flow.step(limits=[one])
    async def native() -> None:
        await Holding().execute(None, PipelineContext())

    class Beside:
        async def execute(self, input: Any, context: PipelineContext) -> StageResult[Any]:
            (await flow.arun()).raise_for_failure()
            return StageResult.success(None)

    stages = [StageDefinition(f"s{at}", Holding(), limits=[one]) for at in range(4)]
    fan = StageDefinition("fan", Holding(), ExecutionPattern.FAN_OUT, limits=[one.take(1)])
    result = run(*stages, fan, StageDefinition("beside", Beside()), input=[1, 2, 3])
    assert result.success
    assert most == [1] * 8
    with pytest.raises(TypeError, match="stage 'a': limits is a list of Limit, not"):
        StageDefinition("a", Holding(), limits=one)  # type: ignore[arg-type]


def test_input_and_output_types_are_checked() -> None:
    wrong_in = run(stage("a", same, input_type=int), input="x")
    assert wrong_in.stage_results["a"].error == "stage 'a' was given str, and its definition says int"
    wrong_out = run(stage("a", same, output_type=int), input="x")
    assert wrong_out.stage_results["a"].error == "stage 'a' gave str, and its definition says int"
    assert run(stage("a", same, input_type=int, output_type=int), input=1).success


# ----------------------------------------------------------------------------------------------------------
# Conditions
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", list(ExecutionPattern))
def test_a_false_condition_skips_whatever_the_pattern(pattern: ExecutionPattern) -> None:
    one = Stage(same)
    result = run(
        stage("list", lambda i, c: [1]),
        stage("a", one, "list", pattern=pattern, condition=lambda ctx: False, critical=False),
        stage("b", lambda i, c: ("after", i), "a"),
    )
    assert one.inputs == []
    assert (result.success, result.outputs["a"], result.outputs["b"]) == (True, None, ("after", None))
    assert result.stage_results["a"].metadata["skipped"] is True
    assert result.metadata["skipped_critical"] == []


def test_a_condition_is_asked_just_before_the_stage_and_sees_the_state() -> None:
    result = run(
        stage("a", lambda i, c: c.set_state("has", True)),
        stage("b", lambda i, c: "ran", "a", condition=lambda ctx: ctx.get_state("has", False)),
    )
    assert result.outputs["b"] == "ran"


def test_an_async_condition() -> None:
    async def no(ctx: PipelineContext) -> bool:
        return False

    assert run(stage("a", same, condition=no)).stage_results["a"].metadata["skipped"] is True
    assert run(stage("a", same, condition=lambda ctx: no(ctx))).outputs == {"a": None}


@pytest.mark.parametrize("pattern", [ExecutionPattern.CONDITIONAL, FAN_OUT])
def test_a_condition_that_raises_is_a_failure(pattern: ExecutionPattern) -> None:
    result = run(stage("a", same, pattern=pattern, condition=lambda ctx: 1 / 0), input=[1])
    assert result.failed_stages == ["a"]
    assert "ZeroDivisionError" in str(result.stage_results["a"].error)


def test_a_skip_of_a_critical_stage_is_named() -> None:
    result = run(
        stage("a", same, condition=lambda ctx: False),
        stage("b", lambda i, c: StageResult.skipped("none")),
        stage("c", same, condition=lambda ctx: False, critical=False),
    )
    assert result.success
    assert result.metadata["skipped_critical"] == ["a", "b"]
    assert result.stage_results["b"].metadata == {"reason": "none", "skipped": True}


def test_a_failure_of_an_uncritical_stage_is_a_failure() -> None:
    assert run(stage("a", fails, critical=False)).failed_stages == ["a"]


# ----------------------------------------------------------------------------------------------------------
# Fan-out
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("input", [[3, 1, 2], (3, 1, 2), []])
def test_fan_out_gives_outputs_in_input_order(input: Any) -> None:
    async def backwards(item: int, context: PipelineContext) -> int:
        for _ in range(5 - item):
            await asyncio.sleep(0)
        return item * 10

    assert run(stage("a", backwards, pattern=FAN_OUT), input=input).outputs == {"a": [10 * n for n in input]}


@pytest.mark.parametrize("input", ["abc", {"a": 1}, None, 5, {1}])
def test_fan_out_over_no_list_is_a_clear_failure(input: Any) -> None:
    result = run(stage("a", same, pattern=FAN_OUT), input=input)
    assert result.failed_stages == ["a"]
    says = f"FAN_OUT stage 'a' needs a list or tuple, not {type(input).__name__}"
    assert result.stage_results["a"].error == says


def test_fan_out_of_fan_out_and_names_that_are_taken() -> None:
    result = run(
        stage("a", same, pattern=FAN_OUT),
        stage("a/items", same, "a", pattern=FAN_OUT),
        stage("end", lambda i, c: sum(i), "a/items"),
        input=[1, 2, 3],
    )
    assert result.outputs["end"] == 6


def test_fan_out_retries_each_item_by_itself() -> None:
    tries: dict[int, int] = {}

    def flaky(item: int, context: PipelineContext) -> int:
        tries[item] = tries.get(item, 0) + 1
        if item == 2 and tries[item] < 3:
            raise ValueError("not yet")
        return item

    retry = RetryConfig(3, initial_delay_ms=0)
    assert run(stage("a", flaky, pattern=FAN_OUT, retry_config=retry), input=[1, 2, 3]).outputs["a"] == [
        1,
        2,
        3,
    ]
    assert tries == {1: 1, 2: 3, 3: 1}


def test_fan_out_times_each_item_by_itself() -> None:
    async def stuck(item: int, context: PipelineContext) -> int:
        if item == 2:
            await asyncio.Event().wait()
        return item

    result = run(stage("a", stuck, pattern=FAN_OUT, timeout_ms=20), input=[1, 2, 3])
    assert result.stage_results["a"].metadata["failed_items"] == [1]


def test_a_failed_item_fails_the_stage_and_is_named() -> None:
    def odd(item: int, context: PipelineContext) -> Any:
        return StageResult.failure("odd") if item % 2 else item

    after = Stage(same)
    result = run(stage("a", odd, pattern=FAN_OUT), stage("b", after, "a"), input=[2, 1])
    assert (result.failed_stages, result.outputs, after.inputs) == (["a"], {}, [])
    assert result.stage_results["a"].error == "1 of 2 items failed: [1] odd"


def test_fan_out_is_limited() -> None:
    now = most = 0

    async def count(item: int, context: PipelineContext) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    run(stage("a", count, pattern=FAN_OUT, max_concurrent_fan_out=2), input=[*range(8)])
    assert most == 2


# ----------------------------------------------------------------------------------------------------------
# Failures
# ----------------------------------------------------------------------------------------------------------


def test_a_failure_cancels_running_siblings_and_leaves_later_stages_out() -> None:
    begun = asyncio.Event()

    async def waits(input: Any, context: PipelineContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def breaks(input: Any, context: PipelineContext) -> StageResult[Any]:
        await asyncio.wait_for(begun.wait(), 10)
        return StageResult.failure("no lyrics", metadata={"why": 1})

    result = run(
        stage("first", lambda i, c: 1),
        stage("sibling", waits, "first"),
        stage("bad", breaks, "first"),
        stage("never", same, "bad"),
    )
    assert not result.success
    assert result.failed_stages == ["bad"]
    assert result.outputs == {"first": 1}
    assert result.metadata["cancelled"] == ["sibling"]
    assert set(result.stage_results) == {"first", "bad"}
    bad = result.stage_results["bad"]
    assert (bad.error, bad.metadata, bad.stage_name) == ("no lyrics", {"why": 1}, "bad")


def test_what_a_stage_raises_is_a_failure_and_not_raised() -> None:
    result = run(stage("a", fails))
    assert result.stage_results["a"].error == "ValueError: boom"
    assert result.stage_results["a"].metadata["error_type"] == "ValueError"


def test_soft_fail_passes_its_output_on() -> None:
    result = run(stage("a", lambda i, c: StageResult.soft_fail("best", "budget")), stage("b", same, "a"))
    assert (result.success, result.outputs["b"]) == (True, "best")
    assert result.stage_results["a"].metadata["soft_fail"] == "budget"


def test_a_cancel_token_stops_the_pipeline() -> None:
    token = threading.Event()

    async def stuck(input: Any, context: PipelineContext) -> None:
        assert not context.is_cancelled()
        token.set()
        assert context.is_cancelled()
        await asyncio.Event().wait()

    result = run(stage("a", stuck), stage("b", same, "a"), context=PipelineContext(cancel_token=token))
    assert (result.success, result.failed_stages, result.outputs) == (False, [], {})
    assert result.metadata["cancelled"] == ["a"]
    assert "cancel token" in result.metadata["reason"]
    before = Stage(same)
    assert not run(stage("a", before), context=PipelineContext(cancel_token=token)).success
    assert before.inputs == []


def test_a_cancelled_caller_cancels_the_stages() -> None:
    ended: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def stuck(input: Any, context: PipelineContext) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("stage")

        pipeline = PipelineDefinition("p", [stage("a", stuck)])
        task = asyncio.ensure_future(PipelineExecutor().execute(pipeline))
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["stage"]


# ----------------------------------------------------------------------------------------------------------
# The context
# ----------------------------------------------------------------------------------------------------------


def test_services_are_attributes_and_a_session_is_read_through() -> None:
    class Session:
        cache = "cached"

    context = PipelineContext("p", "c", {"k": 1}, session=Session(), job_config="j")
    seen = run(
        stage("a", lambda i, c: (c.provider, c.config, c.job_config, c.cache, c.get_state("k"))),
        context=context,
    )
    assert seen.outputs["a"] == ("p", "c", "j", "cached", 1)
    with pytest.raises(AttributeError, match="job_config"):
        context.job_confg  # noqa: B018


def test_state_and_metrics_are_merged_into_the_callers_context() -> None:
    state: dict[str, Any] = {"old": 0, "gone": 1}

    def writes(input: Any, context: PipelineContext) -> None:
        context.set_state("new", 1)
        context.state["direct"] = 2
        del context.state["gone"]
        context.add_metric("ms", 5)
        context.increment_metric("ms")
        context.increment_metric("calls")
        assert (len(context.state), "gone" in context.state, context.metrics["calls"]) == (3, False, 1)

    context = PipelineContext(state=state)
    assert run(stage("a", writes), context=context).success
    assert state == {"old": 0, "new": 1, "direct": 2}
    assert context.metrics == {"ms": 6, "calls": 1}


def test_r05_each_attempt_starts_from_the_committed_state_and_a_failure_leaves_nothing() -> None:
    seen: list[dict[str, Any]] = []

    def flaky(input: Any, context: PipelineContext) -> Any:
        seen.append(dict(context.state))
        context.set_state("mine", len(seen))
        context.increment_metric("n")
        return StageResult.failure("again") if len(seen) < 3 else 1

    context = PipelineContext()
    run(stage("a", flaky, retry_config=RetryConfig(3, initial_delay_ms=0)), context=context)
    assert seen == [{}, {}, {}]
    assert (context.state, context.metrics) == ({"mine": 3}, {"n": 1})
    failed = PipelineContext()
    run(stage("a", lambda i, c: [c.set_state("x", 1), fails(i, c)]), context=failed)
    assert failed.state == {}


def test_a_late_success_after_a_timeout_is_not_committed() -> None:
    async def deaf(input: Any, context: PipelineContext) -> int:
        context.set_state("x", 1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return 1

    context = PipelineContext()
    assert not run(stage("a", deaf, timeout_ms=20), context=context).success
    assert context.state == {}


def test_increments_of_parallel_stages_add_up() -> None:
    def count(input: Any, context: PipelineContext) -> None:
        context.increment_metric("n", 2)

    context = PipelineContext(metrics={"n": 1})
    run(
        stage("a", count),
        stage("b", count),
        stage("c", count, pattern=FAN_OUT),
        input=[1, 2],
        context=context,
    )
    assert context.metrics == {"n": 9}


def test_a_key_written_by_two_unordered_stages_is_a_warning() -> None:
    def writes(input: Any, context: PipelineContext) -> None:
        context.set_state("k", 1)

    assert "'a' and 'b'" in run(stage("a", writes), stage("b", writes)).metadata["warnings"][0]
    assert "warnings" not in run(stage("a", writes), stage("b", writes, "a")).metadata
    items = run(stage("a", writes, pattern=FAN_OUT), input=[1, 2])
    assert "items of stage 'a'" in items.metadata["warnings"][0]


def test_a_fan_out_that_fails_commits_nothing() -> None:
    def writes(item: int, context: PipelineContext) -> Any:
        context.increment_metric("n")
        return StageResult.failure("no") if item == 2 else item

    context = PipelineContext()
    run(stage("a", writes, pattern=FAN_OUT), input=[1, 2, 3], context=context)
    assert context.metrics == {}


# ----------------------------------------------------------------------------------------------------------
# Restart
# ----------------------------------------------------------------------------------------------------------


def test_an_executor_keeps_what_has_succeeded_of_a_failed_execution() -> None:
    def count(input: Any, context: PipelineContext) -> Any:
        context.increment_metric("n")
        return input

    first, skipped = Stage(count), Stage(same)
    second = Stage(sequence(ValueError("down"), "up", "up"))
    pipeline = PipelineDefinition(
        "p",
        [
            stage("a", first),
            stage("s", skipped, "a", condition=lambda ctx: False),
            stage("b", second, "a", "s"),
        ],
    )

    async def main() -> None:
        executor, context = PipelineExecutor(), PipelineContext()
        assert not (await executor.execute(pipeline, [1], context)).success
        again = await executor.execute(pipeline, [1], context)
        assert again.outputs == {"a": [1], "s": None, "b": "up"}
        assert again.stage_results["s"].metadata["skipped"] is True
        assert (len(first.inputs), context.metrics) == (1, {"n": 1})
        await executor.execute(pipeline, [1], context)
        assert len(first.inputs) == 2  # what has succeeded as a whole is not kept

    asyncio.run(main())


def test_what_is_kept_is_written_into_another_context_and_not_used_for_another_input() -> None:
    one = Stage(lambda i, c: c.set_state("k", i))
    pipeline = PipelineDefinition("p", [stage("a", one), stage("b", fails, "a")])

    async def main() -> None:
        executor, other = PipelineExecutor(), PipelineContext()
        await executor.execute(pipeline, 1)
        await executor.execute(pipeline, 1, other)
        assert (len(one.inputs), other.state) == (1, {"k": 1})
        await executor.execute(pipeline, 2)
        assert len(one.inputs) == 2
        executor.forget()
        await executor.execute(pipeline, 2)
        assert len(one.inputs) == 3

    asyncio.run(main())


# ----------------------------------------------------------------------------------------------------------
# Helpers
# ----------------------------------------------------------------------------------------------------------


def review(*verdicts: Verdict, **ceilings: Any) -> StageResult[Any]:
    left, feedbacks = list(verdicts), []

    async def draft(input: Any, feedback: str | None, context: PipelineContext) -> str:
        feedbacks.append(feedback)
        return f"{input}{len(feedbacks)}"

    def judge(draft: str, context: PipelineContext) -> Verdict:
        return left.pop(0)

    result = run(stage("a", ReviewLoop(draft, judge, **ceilings)), input="d").stage_results["a"]
    assert feedbacks == [None, *[one.feedback for one in verdicts]][: len(feedbacks)]
    return result


def test_a_review_loop_ends_when_the_judge_passes() -> None:
    result = review(Verdict(False, "more"), Verdict(True), max_iterations=5)
    assert (result.output, "soft_fail" in result.metadata) == ("d2", False)


def test_a_review_loop_fails_softly_with_the_best_draft() -> None:
    scored = review(Verdict(False, score=0.9), Verdict(False, score=0.1), max_iterations=2)
    assert (scored.success, scored.output) == (True, "d1")
    assert scored.metadata["soft_fail"] == "no draft passed in 2 iterations"
    assert review(Verdict(False), Verdict(False), max_iterations=2).output == "d2"


def test_a_review_loop_stops_at_its_token_budget_after_the_judgement() -> None:
    result = review(Verdict(False, tokens=60), Verdict(False, tokens=60), max_iterations=9, token_budget=100)
    assert (result.output, result.metadata["tokens"]) == ("d2", 120)
    assert "budget" in result.metadata["soft_fail"]
    assert "soft_fail" not in review(Verdict(True, tokens=500), max_iterations=9, token_budget=100).metadata


def test_a_review_loop_hands_on_a_failed_draft_and_refuses_other_verdicts() -> None:
    loop = ReviewLoop(lambda i, f, c: StageResult.failure("no draft"), lambda d, c: Verdict(True), 3)
    assert run(stage("a", loop)).stage_results["a"].error == "no draft"
    loop = ReviewLoop(lambda i, f, c: 1, lambda d, c: True, 3)
    assert "not a Verdict" in str(run(stage("a", loop)).stage_results["a"].error)


def test_resolve_typed_input() -> None:
    assert resolve_typed_input(5, int) == (5, {})
    assert resolve_typed_input({"a": 1, "b": "x"}, int) == (1, {"b": "x"})
    assert resolve_typed_input({"a": 1, "b": 2}, int, "b") == (2, {"a": 1})
    for wrong in [
        ("x", int),
        ({"a": 1, "b": 2}, int),
        ({"a": 1}, int, "z"),
        ({"a": "x"}, int, "a"),
        ({}, int),
    ]:
        with pytest.raises(TypeError):
            resolve_typed_input(*wrong)  # type: ignore[arg-type]
