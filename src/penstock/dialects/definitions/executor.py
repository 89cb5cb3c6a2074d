"""The executor: it runs definitions, and keeps what has succeeded of one that failed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from penstock.core.model import NOTHING, RunOptions

from .context import PipelineContext
from .definition import PipelineDefinition
from .execution import Execution
from .stages import PipelineResult


class PipelineExecutor:
    """Runs pipelines.

    It keeps what has succeeded of an execution that failed: when the same pipeline is executed again with an
    equal input, that is not done again.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    async def execute(
        self,
        pipeline: PipelineDefinition,
        input: Any = None,
        context: PipelineContext | None = None,
        *,
        runner: Any = None,
        options: RunOptions | None = None,
    ) -> PipelineResult:
        """Runs a pipeline to its end. Failures are in the result; nothing that a stage does is raised.

        Args:
            pipeline: What runs. If it is not valid nothing does, and the result says why.
            input: Of the stages that name no inputs.
            context: What stages are given; what they write is merged into it as they succeed.
            runner: As of `Flow.run`.
            options: The same. `on_failure` stays ``stop``.

        Raises:
            TypeError: The pipeline or the context is something else.
            InputError: The options ask for another `on_failure`.
        """
        if not isinstance(pipeline, PipelineDefinition):
            raise TypeError(f"execute takes a PipelineDefinition, not {type(pipeline).__name__}")
        if context is None:
            context = PipelineContext()
        elif not isinstance(context, PipelineContext):
            raise TypeError(f"context is a PipelineContext, not {type(context).__name__}")
        wrong = pipeline.validate()
        if wrong:
            return PipelineResult(False, {}, {}, ["validation"], 0.0, {"validation_errors": wrong})
        kept = next((one for one in self._kept if one.is_of(pipeline, input)), None)
        execution = Execution(pipeline.stages, pipeline._graph(), input, context)
        execution.prepare({} if kept is None else kept.execution.done, runner, options)
        if kept is not None:
            execution.shared.take_over(kept.execution.shared)
        result = execution.finished(await execution.arun())
        if kept in self._kept:
            self._kept.remove(kept)
        if not result.success:
            self._kept.append(_Kept(pipeline, input, _copied(input), execution))
        return result

    def forget(self) -> None:
        """Lets go of all that is kept: the next execution begins at the beginning."""
        self._kept.clear()


class _Kept(NamedTuple):
    """An execution that failed.

    Attributes:
        pipeline, input: What it was of.
        copy: The input as it was then; `NOTHING` if no copy of it can be had.
        execution: It.
    """

    pipeline: PipelineDefinition
    input: Any
    copy: Any
    execution: Execution

    def is_of(self, pipeline: PipelineDefinition, input: Any) -> bool:
        """Whether the execution of a pipeline with this input would do the same."""
        if self.pipeline is not pipeline:
            return False
        same = self.input is input
        if self.copy is NOTHING:
            return same
        try:
            if type(self.copy) is type(input) and self.copy == input:
                return True
            return same and not bool(input == input)  # some equal nothing, not even themselves
        except Exception:  # arrays compare to arrays, and anything may raise
            return same


def _copied(input: Any) -> Any:
    try:
        return deepcopy(input)
    except Exception:
        return NOTHING
