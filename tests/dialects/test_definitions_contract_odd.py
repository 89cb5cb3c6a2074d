"""Dialect B and odd stages, names and values: a result that says what is wrong, and never a hang."""

import asyncio
import logging
import math
import threading
from collections import namedtuple
from functools import partial, wraps
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    RetryConfig,
    StageDefinition,
    StageResult,
)

from .parts import NoText, NoTruth, NotText, bounded
from .parts_definitions import FAN_OUT, Raw, Stage, error_of, execute, fails, forever, raises, same, stage

LOOSE_RESULT: Any = StageResult


# Sync where async is usual, and the reverse


async def succeeds(input, context):
    return StageResult.success(input)


def wrapped(function):
    @wraps(function)
    def call(*args):
        return function(*args)

    return call


class ClassMethod:
    @classmethod
    async def execute(cls, input, context):
        return StageResult.success(input)


class StaticMethod:
    @staticmethod
    async def execute(input, context):
        return StageResult.success(input)


class Decorated:
    @wrapped
    async def execute(self, input, context):
        return StageResult.success(input)


@pytest.mark.parametrize(
    "one",
    [
        Raw(succeeds),
        Raw(partial(succeeds)),
        Raw(partial(partial(succeeds))),
        Raw(wrapped(succeeds)),
        Raw(lambda input, context: StageResult.success(input)),
        Raw(partial(lambda context, input: StageResult.success(input), None)),
        ClassMethod(),
        ClassMethod,
        StaticMethod(),
        Decorated(),
    ],
)
@pytest.mark.parametrize("pattern", [ExecutionPattern.SEQUENTIAL, FAN_OUT])
def test_execute_may_be_any_callable(one, pattern):
    """Bad input: a plain `execute`, partials and wrappers of async functions."""
    if isinstance(one.execute, partial) and one.execute.args:
        one = Raw(partial(lambda context, i, c: StageResult.success(i), None))
    assert execute(stage("a", one, pattern=pattern), input=[1]).outputs == {"a": [1]}


class CallsAsync:
    async def __call__(self, input, context):
        return StageResult.success(input)


@pytest.mark.parametrize("call", [CallsAsync(), partial(CallsAsync()), lambda i, c: succeeds(i, c)])
def test_an_awaitable_from_a_plain_execute_is_awaited_or_refused_with_the_way_out(call):
    """Bad input: sync where async is usual; an object with an async `__call__`."""
    result = execute(stage("a", Raw(call)), input=1)
    if not result.success:
        assert error_of(result) == "stage 'a' returned an awaitable; write 'async def execute'"


def test_an_awaitable_from_an_async_execute_is_refused():
    """Bad input: a stage that returns an awaitable."""

    async def twice(input, context):
        return succeeds(input, context)

    assert "returned an awaitable" in error_of(execute(stage("a", Raw(twice))))


def test_generators_are_no_results():
    """Bad input: a stage that yields."""

    def plain(input, context):
        yield 1

    async def later(input, context):
        yield 1

    assert "returned generator, not a StageResult" in error_of(execute(stage("a", Raw(plain))))
    assert "returned async_generator, not a StageResult" in error_of(execute(stage("a", Raw(later))))


def test_an_execute_of_other_parameters_fails_its_stage():
    """Bad input: a class in place of its instance, and an `execute` of one parameter."""
    assert "missing 1 required positional argument" in error_of(execute(stage("a", Stage)))
    assert "takes 0 positional arguments" in error_of(execute(stage("a", Raw(lambda: 1))))


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("kind", ["def", "async def", "partial", "object", "awaitable"])
def test_a_condition_may_be_any_callable(kind, answer):
    """Bad input: an async condition, a partial of one, an object with an async `__call__`."""

    async def later(context):
        return answer

    class Asks:
        async def __call__(self, context):
            return answer

    kinds = {
        "def": lambda context: answer,
        "async def": later,
        "partial": partial(later),
        "object": Asks(),
        "awaitable": lambda context: later(context),
    }
    one = Stage(same)
    assert execute(stage("a", one, condition=kinds[kind])).success
    assert len(one.inputs) == answer


@pytest.mark.parametrize(
    ("answer", "runs"), [(None, False), ([], False), (0, False), ("no", True), ([0], True)]
)
def test_a_condition_may_answer_with_what_is_true_or_false(answer, runs):
    """Bad input: a condition that returns no bool."""
    one = Stage(same)
    assert execute(stage("a", one, condition=lambda context: answer)).success
    assert len(one.inputs) == runs


# What raises


@pytest.mark.parametrize("kind", ["raises", "no truth", "async no truth", "wrong arity", "exits", "no text"])
@pytest.mark.parametrize("pattern", [ExecutionPattern.CONDITIONAL, FAN_OUT])
def test_a_condition_that_raises_is_a_failure_of_its_stage(kind, pattern):
    """Bad input: a condition that raises, or whose answer raises when asked for its truth."""

    def raising(error):
        def condition(context):
            raise error

        return condition

    async def later(context):
        return NoTruth()

    kinds: dict[str, Any] = {
        "raises": (raising(KeyError("lyrics")), "KeyError"),
        "no truth": (lambda context: NoTruth(), "no truth"),
        "async no truth": (later, "no truth"),
        "wrong arity": (lambda: True, "positional argument"),
        "exits": (raising(SystemExit(3)), "SystemExit"),
        "no text": (raising(NoText()), "NoText"),
    }
    condition, says = kinds[kind]
    one, above = Stage(same), stage("above", lambda i, c: [1])
    retry = RetryConfig(3, 0)
    options: dict[str, Any] = {"pattern": pattern, "condition": condition, "retry_config": retry}
    result = execute(above, stage("a", one, "above", **options), stage("b", same, "a"))
    assert "condition" in error_of(result)
    assert says in error_of(result)
    assert (one.inputs, result.outputs) == ([], {"above": [1]})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoText(), "NoText: <its text cannot be had"),
        (NotText(), "NotText: <its text cannot be had"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (StopIteration(3), "StopIteration"),
        (ExceptionGroup("both", [ValueError(1), KeyError(2)]), "both (2 sub-exceptions)"),
        (StageResult, "exceptions must derive from BaseException"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("pattern", [ExecutionPattern.SEQUENTIAL, FAN_OUT])
def test_whatever_a_stage_raises_is_in_the_result(error, says, plain, pattern):
    """Bad input: odd exceptions, of plain stages too; row: a task failure never raises from run."""
    one = Raw(raises(error)) if plain else Stage(raises(error))
    result = execute(stage("a", one, pattern=pattern), stage("b", same, "a"), input=[1])
    assert says in error_of(result)


@pytest.mark.parametrize(("words", "calls"), [(["notext"], 3), (["zzz"], 1), (None, 3)])
def test_an_exception_without_a_text_is_retried_by_its_name(words, calls):
    """Bad input: `retryable_errors` and an exception whose text cannot be had."""
    one = Stage(raises(NoText()))
    execute(stage("a", one, retry_config=RetryConfig(3, 0, retryable_errors=words)))
    assert len(one.inputs) == calls


def boom(_):
    raise RuntimeError("boom")


def test_an_execute_that_cannot_be_had_is_not_valid():
    """Row: an invalid pipeline does not raise; here the attribute itself does."""
    result = execute(StageDefinition("a", type("Odd", (Stage,), {"execute": property(boom)})(same)))
    assert (result.success, result.failed_stages) == (False, ["validation"])


def test_a_name_that_cannot_be_had_gives_way_to_the_id():
    """Row: `name`, if the stage has one (else the id serves); no failure of a stage is raised."""
    result = execute(stage("a", type("Odd", (Stage,), {"name": property(boom)})(same)), input=1)
    assert result.outputs == {"a": 1}
    assert result.stage_results["a"].stage_name == "a"
    assert "stage_name='a'" in repr(result)


def test_an_observer_that_raises_hurts_nobody():
    """Bad input: an observer that raises is named in the warnings."""
    seen: list[Any] = []

    def observer(event):
        seen.append(event)
        raise RuntimeError("observer")

    context = PipelineContext()
    result = execute(
        stage("a", lambda i, c: c.set_state("k", 1)),
        stage("b", lambda i, c: c.get_state("k"), "a"),
        context=context,
        options=RunOptions(observers=[observer]),
    )
    assert (result.success, result.outputs["b"], context.state, len(seen)) == (True, 1, {"k": 1}, 1)
    assert any("observer" in one for one in result.metadata["warnings"])


class Token:
    """A cancel token that raises from the given look on."""

    def __init__(self, good: int) -> None:
        self.good = good

    def is_cancelled(self):
        self.good -= 1
        if self.good < 0:
            raise RuntimeError("token")
        return False


def test_a_cancel_token_that_raises_at_once_is_an_error_and_nothing_runs():
    """Bad input: a cancel token that raises, as it is first looked at."""
    one = Stage(same)
    try:
        said = str(execute(stage("a", one), context=PipelineContext(cancel_token=Token(0))).metadata)
    except RuntimeError as error:
        said = str(error)
    assert "token" in said
    assert one.inputs == []


@pytest.mark.parametrize("good", [1, 2, 3, 4, 5])
def test_a_cancel_token_that_raises_later_loses_no_output(good):
    """Bad input: a cancel token that raises while the pipeline runs: all that is done is in the result."""
    context = PipelineContext(cancel_token=Token(good))
    result = execute(
        stage("a", lambda i, c: c.set_state("a", 1)),
        stage("b", lambda i, c: c.set_state("b", 1), "a"),
        stage("c", lambda i, c: c.get_state("b"), "b"),
        context=context,
    )
    assert "token" in str(result.metadata)
    if result.success:
        assert (result.outputs, context.state) == ({"a": None, "b": None, "c": 1}, {"a": 1, "b": 1})


def test_metrics_that_do_not_add_up_lose_no_output():
    """Bad input: one stage sets a metric to a text while another one adds to it: both are in the result."""
    context = PipelineContext()
    result = execute(
        stage("a", lambda i, c: c.add_metric("n", "text")),
        stage("b", lambda i, c: c.increment_metric("n")),
        stage("c", lambda i, c: c.set_state("c", 1), "a", "b"),
        context=context,
    )
    if result.success:
        assert set(result.outputs) == {"a", "b", "c"}
        assert context.state == {"c": 1}
    assert "'n'" in " ".join(result.metadata["warnings"])


# Fan-outs of no list

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize("value", [None, 5, "text", b"bytes", {"a": 1}, {1, 2}, range(3), (n for n in [1])])
@pytest.mark.parametrize("above", [True, False])
def test_a_fan_out_over_no_list_is_a_clear_failure(value, above):
    """Row: FAN_OUT: the input must be a list or tuple; bad input: a non-list into a FAN_OUT."""
    each, after = Stage(same), Stage(same)
    if above:
        stages = [stage("list", lambda i, c: value), stage("a", each, "list", pattern=FAN_OUT)]
    else:
        stages = [stage("a", each, pattern=FAN_OUT)]
    retry = RetryConfig(3, 0)
    result = execute(*stages, stage("b", after, "a", retry_config=retry), input=value)
    assert error_of(result) == f"FAN_OUT stage 'a' needs a list or tuple, not {type(value).__name__}"
    assert each.inputs == after.inputs == []


def test_a_fan_out_over_several_inputs_or_a_skipped_one_is_a_clear_failure():
    """Row: FAN_OUT; several inputs are a dict, a skipped one is None."""
    both = execute(stage("x"), stage("y"), stage("a", same, "x", "y", pattern=FAN_OUT), input=[1])
    assert error_of(both) == "FAN_OUT stage 'a' needs a list or tuple, not dict"
    skipped = execute(stage("x", condition=lambda c: False), stage("a", same, "x", pattern=FAN_OUT))
    assert error_of(skipped) == "FAN_OUT stage 'a' needs a list or tuple, not NoneType"


@pytest.mark.parametrize(
    "value", [Pair(1, 2), type("Rows", (list,), {})([1, 2]), [None, [], {}], [[1], (2,)]]
)
def test_a_fan_out_takes_every_kind_of_list(value):
    """Row: FAN_OUT."""
    assert execute(stage("a", pattern=FAN_OUT), input=value).outputs == {"a": list(value)}


# Names, sizes, values


@pytest.mark.parametrize(
    "id",
    [
        "a b", "mère → ✓", "日本", "🙂", "x" * 200, "a/b", "a.b-c:d", "None", "input", "value", "value0",
        "results", "attempt", "store", "options", "runner", "self", "class", "pipeline", "validation",
    ],
)  # fmt: skip
def test_a_stage_may_be_called(id):
    """Adversarial: names with spaces, of any script, very long, and words of our own."""
    first = stage(id, lambda i, c: [c.set_state("k", id), [i]][1], condition=lambda c: True)
    result = execute(
        first, stage("each", same, id, pattern=FAN_OUT), stage("both", same, id, "each"), input=1
    )
    assert (result.outputs[id], result.outputs["both"]) == ([1], {id: [1], "each": [1]})
    fan = execute(stage(id, pattern=FAN_OUT), stage("after", same, id), input=[1])
    assert fan.outputs == {id: [1], "after": [1]}
    assert PipelineDefinition("p", [first]).to_mermaid()


def test_ids_that_look_like_those_of_a_fan_out():
    """Adversarial: ids that collide with FAN_OUT's inner ids."""
    ids = ["x", "x/items", "x/item", "x/items'", "x/item'", "x/items/items", "x/items/item"]
    for fans in ({"x"}, {"x", "x/items"}, set(ids)):
        stages = [stage(id, lambda i, c: i, **({"pattern": FAN_OUT} if id in fans else {})) for id in ids]
        result = execute(*stages, stage("all", same, *ids), input=[1, 2])
        assert result.outputs["all"] == {id: [1, 2] for id in ids}
        assert set(result.stage_results) == {*ids, "all"}
        bad = [*stages[:-1], stage(ids[-1], fails, pattern=FAN_OUT)]
        assert execute(*bad, input=[1]).failed_stages == [ids[-1]]


def test_a_thousand_stages_beside_each_other_and_one_after_the_other():
    """Adversarial: 1,000 stages, a deep chain, and all of them into one."""
    wide = [stage(f"w{n}", lambda i, c, n=n: n) for n in range(1000)]
    result = execute(*wide, stage("all", lambda i, c: sum(i.values()), *[one.id for one in wide]))
    assert result.outputs["all"] == sum(range(1000))

    def more(input, context):
        context.increment_metric("n")
        return input + 1

    context = PipelineContext()
    deep = [
        stage(f"d{n}", more, *([f"d{n - 1}"] if n else []), condition=lambda c: True) for n in range(1000)
    ]
    result = execute(*reversed(deep), input=0, context=context)
    assert (result.outputs["d999"], context.metrics) == (1000, {"n": 1000})


def test_a_thousand_items_and_a_cycle_of_a_thousand():
    """Adversarial: a wide fan-out, and a cycle too long for recursion."""
    assert execute(stage("a", pattern=FAN_OUT), input=[*range(1000)]).outputs["a"] == [*range(1000)]
    circle = [stage(f"s{n}", same, f"s{(n - 1) % 1000}") for n in range(1000)]
    errors = execute(*circle).metadata["validation_errors"]
    assert any("s999" in one and " -> " in one for one in errors)


def test_no_stages_is_not_valid():
    """Adversarial: 0 stages; row: no entry point."""
    assert execute().metadata["validation_errors"] == ["No entry point: there are no stages"]


@pytest.mark.parametrize(
    "value",
    [ValueError("value"), math.nan, ..., NotImplemented, NoTruth(), type, Exception, threading.Lock()],
)
def test_values_of_odd_kinds_are_passed_on_as_they_are(value):
    """Adversarial: exceptions and others as values."""
    result = execute(stage("a"), stage("b", same, "a"), stage("c", lambda i, c: [i], "b"), input=value)
    assert result.success
    assert result.outputs["b"] is value
    assert result.outputs["c"][0] is value
    assert execute(stage("a", pattern=FAN_OUT), input=[value]).outputs["a"][0] is value


def test_a_generator_is_passed_on_unread():
    """Adversarial: generators as values."""
    result = execute(
        stage("a", lambda i, c: (n for n in i)), stage("b", lambda i, c: [*i], "a"), input=[1, 2]
    )
    assert result.outputs["b"] == [1, 2]


def test_a_stage_result_as_an_output_is_an_output():
    """Adversarial: the output of a stage is itself a failed result."""
    inner = StageResult.failure("inner")
    result = execute(stage("a", lambda i, c: StageResult.success(inner)), stage("b", lambda i, c: 1, "a"))
    assert (result.success, result.outputs["a"]) == (True, inner)


def test_an_input_that_equals_nothing_is_the_same_only_if_it_is_that_very_object():
    """Adversarial: NaN, and what raises when compared, as the input of an execution that is done again."""

    class Odd:
        def __eq__(self, other):
            raise RuntimeError("no comparison")

    for make in (lambda: float("nan"), Odd):
        one, value = Stage(same), make()
        pipeline = PipelineDefinition("p", [stage("a", one), stage("b", fails, "a")])

        async def main(value=value, pipeline=pipeline, make=make):
            executor = PipelineExecutor()
            for given in (value, value, make(), value):
                await executor.execute(pipeline, given)

        bounded(main())
        assert len(one.inputs) == 2


def test_nothing_is_logged_by_a_run_that_goes_well(caplog):
    """Adversarial: no noise."""
    with caplog.at_level(logging.WARNING):
        assert execute(stage("a"), stage("b", pattern=FAN_OUT), input=[1]).success
        assert not execute(stage("a", forever, timeout_ms=1)).success
    assert caplog.records == []
