"""What the tests of dialect B share: stages made of functions, executions, work for processes."""

import asyncio
import os
from typing import Any

from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    PipelineResult,
    StageDefinition,
    StageResult,
)

from .parts import BOUND, bounded

FAN_OUT = ExecutionPattern.FAN_OUT


class Stage:
    """A stage that calls a function of (input, context), async or not; it notes its inputs."""

    def __init__(self, call) -> None:
        self.call = call
        self.inputs: list[Any] = []

    async def execute(self, input, context):
        self.inputs.append(input)
        value = self.call(input, context)
        if hasattr(value, "__await__"):
            value = await value
        return value if isinstance(value, StageResult) else StageResult.success(value)


class Raw:
    """An object with just that `execute`."""

    def __init__(self, execute) -> None:
        self.execute = execute


class Switch:
    """A stage that fails until somebody sets `up`; then it gives its input."""

    up = False

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    async def execute(self, input, context):
        self.inputs.append(input)
        return StageResult.success(input) if self.up else StageResult.failure("down")


def same(input, context):
    return input


def fails(input, context):
    raise ValueError("boom")


def raises(error):
    def call(input, context):
        raise error

    return call


def error_of(result, id="a"):
    assert not result.success
    assert result.failed_stages == [id]
    assert id not in result.outputs
    return str(result.stage_results[id].error)


async def forever(input, context):
    await asyncio.Event().wait()


def stage(id, call=same, *inputs, **options) -> StageDefinition:
    return StageDefinition(id, call if hasattr(call, "execute") else Stage(call), inputs=inputs, **options)


def execute(*stages, input=None, context=None, executor=None, **how) -> PipelineResult:
    """One execution of these stages."""
    runs = executor or PipelineExecutor()
    return bounded(runs.execute(PipelineDefinition("p", stages), input, context, **how))


def meeting(size):
    """A function whose calls go on once `size` of them are under way, and the most that ever were."""
    now, most = [0], [0]
    here = asyncio.Event()

    async def call(input, context):
        now[0] += 1
        most[0] = max(most[0], now[0])
        if now[0] == size:
            here.set()
        await asyncio.wait_for(here.wait(), BOUND)
        now[0] -= 1
        return input

    return call, most


# What worker processes find by its name


class Plain:
    """A stage that is not async, and says where it ran."""

    def execute(self, input, context):
        context.set_state(f"seen {input}", True)
        context.increment_metric("calls")
        return StageResult.success((input, os.getpid()))


class ReturnsFailure:
    def execute(self, input, context):
        context.set_state("failed", True)
        return StageResult.failure("Rate-limit reached", "limited", {"status": 429})


class Raises:
    def execute(self, input, context):
        raise ConnectionError("refused")


class Where:
    """An async stage that says where it ran."""

    async def execute(self, input, context: PipelineContext):
        return StageResult.success((input, os.getpid()))
