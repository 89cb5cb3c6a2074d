"""Dialect B in use: runners, options, concurrency, cancelling, and executing again."""

import asyncio
import os
import threading
from typing import Any

import pytest

from penstock import RunOptions
from penstock.core import events
from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    RetryConfig,
    StageResult,
)

from .parts import bounded
from .parts_definitions import (
    FAN_OUT,
    Plain,
    Raises,
    Raw,
    ReturnsFailure,
    Stage,
    Where,
    error_of,
    execute,
    fails,
    forever,
    meeting,
    same,
    stage,
)

BOTH = [ExecutionPattern.SEQUENTIAL, FAN_OUT]


# Runners


@pytest.mark.parametrize("runner", ["threads", "aio", "inline", None])
@pytest.mark.parametrize("one", [Plain, Where])
@pytest.mark.parametrize("pattern", BOTH)
def test_each_call_takes_a_runner(runner, one, pattern):
    """Head: each run call takes `runner=`; plain and async stages run with every one."""
    result = execute(stage("a", one(), pattern=pattern), stage("b", same, "a"), input=[7], runner=runner)
    given = (7, os.getpid()) if pattern is FAN_OUT else ([7], os.getpid())
    assert result.outputs["b"] == ([given] if pattern is FAN_OUT else given)


def test_plain_stages_stay_in_the_thread_of_the_loop_inline_and_leave_it_otherwise():
    """Head: `runner=`; row: a plain `execute` runs in a thread."""
    mine = threading.get_ident()

    def where(input, context):
        return StageResult.success(threading.get_ident())

    assert execute(stage("a", Raw(where)), runner="inline").outputs["a"] == mine
    assert execute(stage("a", Raw(where))).outputs["a"] != mine


def test_a_timeout_cannot_be_kept_inline_and_that_is_said_at_once():
    """Head: `runner=`: what no run could keep is an error before anything starts."""
    with pytest.raises(ValueError, match=r"'a' has a timeout.*inline"):
        execute(stage("a", Plain(), timeout_ms=1000), runner="inline")


def test_plain_stages_run_in_processes():
    """Head: `runner="processes"`; what they write into the context comes back with them."""
    context = PipelineContext(provider="words")
    result = execute(
        stage("a", Plain()), stage("b", Plain(), "a"), input="x", context=context, runner="processes"
    )
    assert result.outputs["a"][0] == "x"
    assert result.outputs["a"][1] != os.getpid()
    assert (context.state["seen x"], context.metrics["calls"]) == (True, 2)


def test_items_of_plain_stages_run_in_processes():
    """Head: `runner="processes"`, per item."""
    context = PipelineContext()
    result = execute(
        stage("a", Plain(), pattern=FAN_OUT), input=["x", "y"], context=context, runner="processes"
    )
    assert [item for item, _ in result.outputs["a"]] == ["x", "y"]
    assert os.getpid() not in [at for _, at in result.outputs["a"]]
    assert context.metrics == {"calls": 2}


@pytest.mark.parametrize(
    ("one", "says", "word"),
    [
        (ReturnsFailure(), "Rate-limit reached", "rate_limit"),
        (Raises(), "ConnectionError: refused", "refused"),
    ],
)
def test_failures_in_processes_are_those_of_the_stage(one, says, word):
    """Head: `runner="processes"`; row: `retryable_errors`, where the error is."""
    context = PipelineContext()
    retry = RetryConfig(3, 0, retryable_errors=[word])
    result = execute(stage("a", one, retry_config=retry), context=context, runner="processes")
    assert error_of(result) == says
    assert result.stage_results["a"].metadata.get("attempts", 3) == 3
    assert context.state == {}


@pytest.mark.xfail(strict=True, reason="it is made anew of its text: name and metadata are lost")
def test_a_returned_failure_comes_back_from_a_process_as_it_is():
    """Head: `runner="processes"`; row: `.failure(error, stage_name=…, metadata=…)`."""
    result = execute(stage("a", ReturnsFailure()), runner="processes")
    failed = result.stage_results["a"]
    assert (failed.error, failed.stage_name) == ("Rate-limit reached", "limited")
    assert failed.metadata == {"status": 429}


def test_a_service_that_cannot_travel_is_a_clear_failure_of_plain_stages_only():
    """Head: `runner="processes"`: a stage in a process needs services that can be sent there."""
    context = PipelineContext(lock=threading.Lock())
    result = execute(stage("a", Plain()), context=context, runner="processes")
    assert "cannot travel to a process" in error_of(result)
    assert execute(stage("a", Where()), context=context, runner="processes").success


def test_async_stages_stay_on_the_loop_whatever_the_runner():
    """Head: `runner="processes"` leaves coroutines where they are."""
    result = execute(stage("a", Where()), stage("b", Where(), pattern=FAN_OUT), input=[1], runner="processes")
    assert result.outputs == {"a": ([1], os.getpid()), "b": [(1, os.getpid())]}


# Options


def test_copied_values_are_each_stages_own():
    """Head: `options=RunOptions(values="copied")`."""
    given = [1]

    def append(input, context):
        input.append(2)
        return input

    result = execute(
        stage("a", append),
        stage("b", append, "a"),
        stage("c", append, "a"),
        stage("d", append, "c", pattern=FAN_OUT, condition=lambda c: False),
        stage("both", same, "b", "c"),
        input=given,
        options=RunOptions(values="copied"),
    )
    assert given == [1]
    assert result.outputs["both"] == {"b": [1, 2, 2], "c": [1, 2, 2]}


def test_copied_values_are_those_of_stages_and_not_the_state():
    """Head: `values="copied"`; services and state are shared, and need not be copyable."""
    lock = threading.Lock()
    context = PipelineContext(provider=lock)
    result = execute(
        stage("a", lambda i, c: [1]),
        stage("b", lambda i, c: c.provider is lock, "a"),
        context=context,
        options=RunOptions(values="copied"),
    )
    assert result.outputs["b"] is True


@pytest.mark.parametrize("written", [True, False])
def test_a_state_that_cannot_be_copied_is_no_hindrance(written):
    """Head: `values="copied"`: values are copied, what stages share is not."""
    lock = threading.Lock()
    context = PipelineContext(state={} if written else {"lock": lock})
    result = execute(
        stage("a", lambda i, c: c.set_state("lock", lock)),
        stage("b", lambda i, c: c.get_state("lock") is lock, "a"),
        context=context,
        options=RunOptions(values="copied"),
    )
    assert result.outputs == {"a": None, "b": True}


def test_max_concurrency_bounds_the_stages_of_one_execution():
    """Head: `options.max_concurrency`."""

    async def main():
        call, most = meeting(2)
        stages = [stage(f"s{n}", call) for n in range(6)]
        pipeline, options = PipelineDefinition("p", stages), RunOptions(max_concurrency=2)
        return await PipelineExecutor().execute(pipeline, options=options), most

    result, most = bounded(main())
    assert (result.success, most) == (True, [2])


@pytest.mark.parametrize("items", [list(range(12)), tuple(range(12))])
def test_max_concurrent_fan_out_is_kept_and_used(items):
    """Row: FAN_OUT: `max_concurrent_fan_out` items at a time, no more and no fewer; 4 by default."""

    async def main(**how):
        call, most = meeting(how.get("max_concurrent_fan_out", 4))
        pipeline = PipelineDefinition("p", [stage("a", call, pattern=FAN_OUT, **how)])
        return await PipelineExecutor().execute(pipeline, items), most[0]

    for how, size in [({}, 4), ({"max_concurrent_fan_out": 3}, 3), ({"max_concurrent_fan_out": 1}, 1)]:
        result, most = bounded(main(**how))
        assert (result.outputs, most) == ({"a": [*items]}, size)


def test_two_fan_outs_do_not_share_their_bound():
    """Row: `max_concurrent_fan_out` is each stage's own."""

    async def main():
        call, most = meeting(4)
        how: Any = {"pattern": FAN_OUT, "max_concurrent_fan_out": 2}
        pipeline = PipelineDefinition("p", [stage("a", call, **how), stage("b", call, **how)])
        return await PipelineExecutor().execute(pipeline, [1, 2]), most

    result, most = bounded(main())
    assert (result.success, most) == (True, [4])


def test_a_deadline_fails_what_runs_and_says_so():
    """Head: `options.deadline`."""
    result = execute(
        stage("a"), stage("b", forever, "a"), stage("c", same, "b"), options=RunOptions(deadline=0.05)
    )
    assert "deadline of 0.05 s passed" in error_of(result, "b")
    assert (result.outputs, result.metadata["reason"]) == ({"a": None}, "its deadline passed")


def test_the_time_of_a_stage_is_enforced_in_a_fan_out_per_item():
    """Row: FAN_OUT: `retry_config` and `timeout_ms` apply per item; failures name the items."""
    calls: dict[int, int] = {}

    async def call(item, context):
        calls[item] = calls.get(item, 0) + 1
        if item == 3 or (item == 2 and calls[item] < 3):
            await asyncio.Event().wait()
        return item

    retry = RetryConfig(3, 0, retryable_errors=["timeout"])
    result = execute(stage("a", call, pattern=FAN_OUT, timeout_ms=20, retry_config=retry), input=[1, 2, 3])
    assert "1 of 3 items failed: [2] TimeoutError" in error_of(result)
    assert result.stage_results["a"].metadata["failed_items"] == [2]
    assert calls == {1: 1, 2: 3, 3: 3}


def test_a_failed_item_stops_the_pipeline_and_items_that_have_failed_are_named():
    """Row: FAN_OUT: any failed item fails the stage and names the items."""

    async def main():
        call, _ = meeting(3)

        async def odd(item, context):
            await call(item, context)
            return StageResult.failure(f"odd {item}") if item % 2 else item

        stages = [stage("a", odd, pattern=FAN_OUT), stage("b", same, "a")]
        return await PipelineExecutor().execute(PipelineDefinition("p", stages), [1, 2, 3])

    result = bounded(main())
    named = result.stage_results["a"].metadata["failed_items"]
    assert named in ([0], [2], [0, 2])
    for at in named:
        assert f"[{at}] odd {at + 1}" in error_of(result)
    assert error_of(result).startswith(f"{len(named)} of 3 items failed")
    assert result.outputs == {}


def test_observers_are_told_of_each_stage():
    """Head: `options.observers`."""
    seen: list[Any] = []
    options = RunOptions(observers=[seen.append])
    execute(stage("a"), stage("b", fails, "a", retry_config=RetryConfig(2, 0)), options=options)
    kinds = [(type(one), str(one.path)) for one in seen if hasattr(one, "path")]
    assert (events.NodeSucceeded, "a") in kinds
    assert (events.NodeRetrying, "b") in kinds
    assert (events.NodeFailed, "b") in kinds


def test_each_execution_calls_the_method_that_the_stage_has_then():
    """Row: a stage is an object with `execute`, which may be replaced for a while, as tests do."""
    one = Stage(same)
    pipeline = PipelineDefinition("p", [stage("a", one)])

    async def instead(input, context):
        return StageResult.success("instead")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "execute", instead)
        assert bounded(PipelineExecutor().execute(pipeline, 1)).outputs == {"a": "instead"}
    assert bounded(PipelineExecutor().execute(pipeline, 1)).outputs == {"a": 1}
