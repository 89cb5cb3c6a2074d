"""Dialect B in use: executions beside each other, and again after a failure."""

import asyncio
import threading
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    StageResult,
)

from .parts import bounded
from .parts_definitions import (
    FAN_OUT,
    Stage,
    Switch,
    execute,
    fails,
    meeting,
    same,
    stage,
)

BOTH = [ExecutionPattern.SEQUENTIAL, FAN_OUT]


# Again, and at the same time


def test_two_executions_at_a_time_do_not_meet():
    """Two executes at a time of one executor and of one definition."""

    async def main():
        call, _ = meeting(2)

        def keeps(input, context):
            context.set_state("input", input)
            context.increment_metric("n")
            return [input, context.get_state("input")]

        pipeline = PipelineDefinition("p", [stage("a", call), stage("b", keeps, "a"), stage("c", same, "b")])
        executor, contexts = PipelineExecutor(), [PipelineContext(), PipelineContext()]
        runs = [executor.execute(pipeline, n, context) for n, context in enumerate(contexts)]
        return await asyncio.gather(*runs), contexts

    results, contexts = bounded(main())
    assert [one.outputs["c"] for one in results] == [[0, 0], [1, 1]]
    assert [one.state for one in contexts] == [{"input": 0}, {"input": 1}]
    assert [one.metrics for one in contexts] == [{"n": 1}, {"n": 1}]
    assert results[0].metadata["run_id"] != results[1].metadata["run_id"]


def test_two_executions_at_a_time_may_share_a_context():
    """Two executes at a time, of two executors with one context: increments add up."""

    async def main():
        call, _ = meeting(2)

        async def counts(input, context):
            await call(input, context)
            context.increment_metric("n", input)

        pipeline, context = PipelineDefinition("p", [stage("a", counts)]), PipelineContext()
        runs = [PipelineExecutor().execute(pipeline, n, context) for n in (1, 20)]
        await asyncio.gather(*runs)
        return context.metrics

    assert bounded(main()) == {"n": 21}


def test_an_executor_serves_several_loops_and_definitions():
    """The same executor run twice, on loops of their own, after a success as after nothing."""
    executor, one = PipelineExecutor(), Stage(same)
    for n in (1, 1, 2):
        assert execute(stage("a", one), input=n, executor=executor).outputs == {"a": n}
    assert one.inputs == [1, 1, 2]


def restarted(*, fresh, between=lambda executor: None, pattern=ExecutionPattern.SEQUENTIAL):
    """A pipeline that fails, and is executed again once the error is resolved."""

    def writes(input, context):
        context.set_state(f"done {input}", True)
        context.increment_metric("n")
        return input

    first, last = Stage(writes), Switch()
    asked = []

    def condition(context):
        asked.append(dict(context.state))
        return True

    pipeline = PipelineDefinition(
        "p",
        [
            stage("a", first, pattern=pattern),
            stage("soft", lambda i, c: StageResult.soft_fail("best", "budget"), "a"),
            stage("left", fails, "a", condition=lambda context: False),
            stage("b", last, "a", "soft", "left", condition=condition),
        ],
    )

    async def main():
        executor, context = PipelineExecutor(), PipelineContext()
        failed = await executor.execute(pipeline, [1, 2], context)
        assert (failed.success, failed.failed_stages) == (False, ["b"])
        assert "b" not in failed.outputs
        last.up = True
        between(executor)
        context = PipelineContext() if fresh else context
        return await executor.execute(pipeline, [1, 2], context), context

    result, context = bounded(main())
    return result, context, first, asked


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("pattern", BOTH)
def test_a_restart_reuses_what_has_succeeded_with_its_writes(fresh, pattern):
    """Row: restart: an executor keeps the successful results; state writes of reused stages are there."""
    result, context, first, asked = restarted(fresh=fresh, pattern=pattern)
    assert result.success
    assert result.outputs["b"] == {"a": [1, 2], "soft": "best", "left": None}
    assert result.stage_results["soft"].metadata["soft_fail"] == "budget"
    assert result.stage_results["left"].metadata["skipped"] is True
    assert result.metadata["skipped_critical"] == ["left"]
    assert len(first.inputs) == (2 if pattern is FAN_OUT else 1)
    state = {"done 1": True, "done 2": True} if pattern is FAN_OUT else {"done [1, 2]": True}
    assert (context.state, context.metrics) == (state, {"n": 2 if pattern is FAN_OUT else 1})
    assert asked == [state, state]


def test_forget_lets_go_of_everything():
    """Row: restart: for the executor's own lifetime, or until `forget()`."""
    result, context, first, _ = restarted(fresh=True, between=PipelineExecutor.forget)
    assert (result.success, len(first.inputs), context.metrics) == (True, 2, {"n": 1})


def test_another_executor_another_definition_or_another_input_reuses_nothing():
    """Row: restart: the same definition and input, of the same executor."""
    first, last = Stage(same), Switch()
    pipeline = PipelineDefinition("p", [stage("a", first), stage("b", last, "a")])
    other = PipelineDefinition("p", [stage("a", first), stage("b", last, "a", timeout_ms=9999)])

    async def main():
        executor = PipelineExecutor()
        await executor.execute(pipeline, [1])
        last.up = True
        for one, definition, input in [
            (PipelineExecutor(), pipeline, [1]),
            (executor, other, [1]),
            (executor, pipeline, [2]),
            (executor, pipeline, (1,)),
        ]:
            count = len(first.inputs)
            assert (await one.execute(definition, input)).success
            assert len(first.inputs) == count + 1
        assert (await executor.execute(pipeline, [1])).outputs == {"a": [1], "b": [1]}

    bounded(main())
    assert len(first.inputs) == 5


def test_failures_one_after_the_other_go_on_from_the_last_one():
    """Row: restart, more than once, each time a stage further; failed outputs are never kept."""
    stages = [Switch(), Switch(), Switch()]
    pipeline = PipelineDefinition(
        "p", [stage("a", stages[0]), stage("b", stages[1], "a"), stage("c", stages[2], "b")]
    )

    async def main():
        executor = PipelineExecutor()
        for number in range(3):
            result = await executor.execute(pipeline, 1)
            assert result.failed_stages == ["abc"[number]]
            assert list(result.outputs) == list("abc"[:number])
            stages[number].up = True
        return await executor.execute(pipeline, 1)

    assert bounded(main()).outputs == {"a": 1, "b": 1, "c": 1}
    assert [len(one.inputs) for one in stages] == [2, 2, 2]


def test_a_cancelled_pipeline_goes_on_where_it_was():
    """Row: restart, after a cancel token has stopped it."""
    first, token = Stage(same), threading.Event()
    calls: list[int] = []

    async def waits(input, context):
        calls.append(1)
        if len(calls) == 1:
            token.set()
            await asyncio.Event().wait()
        return input

    pipeline = PipelineDefinition("p", [stage("a", first), stage("b", waits, "a")])

    async def main():
        executor = PipelineExecutor()
        assert not (await executor.execute(pipeline, 1, PipelineContext(cancel_token=token))).success
        return await executor.execute(pipeline, 1)

    assert bounded(main()).outputs == {"a": 1, "b": 1}
    assert first.inputs == [1]


def test_an_input_that_was_changed_meanwhile_is_another_input():
    """Row: restart: the same definition and *input*."""
    last = Switch()
    pipeline = PipelineDefinition("p", [stage("a", lambda i, c: [*i]), stage("b", last, "a")])

    async def main():
        executor, given = PipelineExecutor(), [1]
        await executor.execute(pipeline, given)
        given.append(2)
        last.up = True
        return await executor.execute(pipeline, given)

    assert bounded(main()).outputs["b"] == [1, 2]


@pytest.mark.parametrize("why", ["a wrong runner", "wrong options", "its caller cancelled it"])
def test_what_is_kept_outlives_an_execution_that_came_to_nothing(why):
    """Row: restart: an executor keeps the successful results for its own lifetime."""
    first, last = Stage(same), Switch()
    pipeline = PipelineDefinition("p", [stage("a", first), stage("b", last, "a")])

    async def main():
        executor = PipelineExecutor()
        await executor.execute(pipeline, 1)
        if why == "its caller cancelled it":
            running = asyncio.ensure_future(executor.execute(pipeline, 1))
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            how: Any = {"runner": 5} if why == "a wrong runner" else {"options": RunOptions("continue")}
            with pytest.raises(ValueError, match=r"not 5|on_failure"):
                await executor.execute(pipeline, 1, **how)
        last.up = True
        return await executor.execute(pipeline, 1)

    assert bounded(main()).success
    assert first.inputs == [1]


def test_writes_come_along_from_one_restart_to_the_next():
    """Row: restart, with a fresh context each time: what was written two executions ago is there too."""
    stages = [Switch(), Switch()]

    def writes(key):
        return lambda i, c: c.set_state(key, True)

    pipeline = PipelineDefinition(
        "p",
        [
            stage("a", writes("a")),
            stage("b", stages[0], "a"),
            stage("c", writes("c"), "b"),
            stage("d", stages[1], "c"),
            stage("e", lambda i, c: dict(c.state), "d"),
        ],
    )

    async def main():
        executor, contexts, results = PipelineExecutor(), [], []
        for number in range(3):
            if number:
                stages[number - 1].up = True
            contexts.append(PipelineContext())
            results.append(await executor.execute(pipeline, 1, contexts[-1]))
        return results[-1], [context.state for context in contexts]

    result, states = bounded(main())
    assert states == [{"a": True}, {"a": True, "c": True}, {"a": True, "c": True}]
    assert result.outputs["e"] == {"a": True, "c": True}
