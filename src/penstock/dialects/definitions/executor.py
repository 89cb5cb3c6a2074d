"""The executor: it runs definitions, and goes on with what has succeeded of one that failed."""

from __future__ import annotations

from os import PathLike
from typing import Any

from penstock.core.errors import InputError
from penstock.core.model import RunOptions
from penstock.core.result import RunResult
from penstock.core.storage import StoreWord

from .context import PipelineContext
from .definition import PipelineDefinition
from .execution import Execution
from .restart import Asked, Restarts
from .stages import PipelineResult


class PipelineExecutor:
    """Runs pipelines.

    It keeps what has succeeded of an execution that failed: when the same pipeline is executed again with an
    equal input, that is not done again. With a store it does so across processes: there a pipeline is known
    by its name, and stages whose code has changed meanwhile are run again.

    Args:
        store: Where executions are kept, as of `Flow.run`; None for this object's lifetime.
    """

    def __init__(self, store: StoreWord = None) -> None:
        self._restarts = Restarts(store)
        self._running: list[Execution] = []
        self._last: RunResult | None = None

    async def execute(
        self,
        pipeline: PipelineDefinition,
        input: Any = None,
        context: PipelineContext | None = None,
        *,
        store: StoreWord = None,
        run_id: str | None = None,
        runner: Any = None,
        options: RunOptions | None = None,
    ) -> PipelineResult:
        """Runs a pipeline to its end. Failures are in the result; nothing that a stage does is raised.

        Args:
            pipeline: What runs. If it is not valid nothing does, and the result says why.
            input: Of the stages that name no inputs.
            context: What stages are given; what they write is merged into it as they succeed.
            store: As of `Flow.run`; that of the executor by default.
            run_id: As of `Flow.run`: this run goes on, or is begun. Without it the executor looks for one
                to go on with.
            runner: As of `Flow.run`.
            options: The same. `on_failure` stays ``stop``.

        Raises:
            TypeError: The pipeline or the context is something else.
            InputError: The options ask for another `on_failure`, or the input cannot be stored.
            StoreError: The store cannot be used; the run was cut off, and can be resumed.
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
        asked = Asked(pipeline, input, context, runner, options, store, run_id)
        with self._restarts.begin(asked) as execution:
            self._running.append(execution)
            try:
                self._last = ended = await execution.arun()
                result = execution.finished(ended)
            finally:
                self._running.remove(execution)
            self._restarts.ended(asked, execution, result)
        return result

    def answer(self, stage_id: str, value: Any) -> None:
        """Answers the `Gate` of an execution that is under way; from any thread. It may not be open yet.

        Raises:
            InputError: There is none, or it takes another kind of answer.
        """
        found = [one for one in list(self._running) if stage_id in one.made.ids]
        if not found:
            raise InputError(f"no execution with a stage {stage_id!r} is under way here")
        for one in found:
            one.prepared.engine.answer(stage_id, value)

    def report(self, path: str | PathLike[str]) -> None:
        """Writes the run report of the execution that ended last: one HTML file that needs nothing else.

        Raises:
            OSError: It cannot be written.
            RuntimeError: None has ended yet.
            StoreError: The run's store cannot be read.
        """
        if self._last is None:
            raise RuntimeError("there is nothing to report yet: no execution has ended")
        self._last.report(path)

    def forget(self) -> None:
        """Lets go of all that is kept: the next execution begins at the beginning. In a store it stays.

        Raises:
            StoreError: The store cannot be used.
        """
        self._restarts.forget()
