"""Pipelines, their builder, and the stage that runs others at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from penstock import wiring
from penstock.core.amounts import is_whole, shown
from penstock.core.errors import InputError, nearest
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Input, RunOptions
from penstock.core.ports import RunsOn
from penstock.core.result import RunResult
from penstock.core.storage import StoreWord

from .context import Noting, write
from .gates import GateStage
from .graph import StageGraph, has_gate
from .kept import Keeping
from .run import Run, Settings, left_out, stage_result, stage_results, status_of
from .stages import (
    ConditionalStage,
    Function,
    FunctionStage,
    Given,
    Options,
    PipelineResult,
    PipelineStatus,
    Stage,
    checked,
    flag,
    is_plain,
    moment,
)  # fmt: skip


class RunHow(TypedDict, total=False):
    """What a run takes besides its context; see `Flow.run`."""

    runner: RunsOn
    options: RunOptions | None
    store: StoreWord
    run_id: str | None


class ParallelStage(Stage):
    """A stage whose children run at the same time; its output is ``{child_id: output}``.

    The children are run by the engine: their own `retry_count`, `timeout_s`, hooks and dependencies on each
    other count.

    Args:
        stage_id: Its id.
        stages: The children.
        max_workers: How many of them run at the same time.
        allow_failures: A child that fails leaves ``{"error": ...}`` in its place; otherwise it fails the
            whole stage.
        kw: See `Stage`.

    Raises:
        TypeError: The children are no list of stages.
        ValueError: A number is out of range.
    """

    def __init__(
        self, stage_id: str, stages: list[Stage], max_workers: int = 4, *, allow_failures: bool = False,
        **kw: Unpack[Options],
    ) -> None:  # fmt: skip
        super().__init__(stage_id, **kw)
        where = f"ParallelStage {stage_id!r}"
        if not isinstance(stages, (list, tuple)):
            raise TypeError(f"{where}: stages is a list of stages, not {shown(stages)}")
        self.stages = [checked(where, stage) for stage in stages]
        for stage in self.stages:
            if has_gate(stage):
                raise TypeError(
                    f"{where}: a gate stands in the pipeline itself, before the stage or after it"
                )
        self.max_workers = _workers(where, max_workers)
        self.allow_failures = flag(where, "allow_failures", allow_failures)
        self._made = StageGraph()

    __penstock_options__ = (*Stage.__penstock_options__, "max_workers", "allow_failures")

    def __penstock_code__(self) -> list[Any]:
        return [*self.stages, *super().__penstock_code__()]

    def execute(self, context: dict[str, Any]) -> dict[str, Any]:
        """Runs the children and waits for them.

        Raises:
            RuntimeError: A child has failed.
        """
        inner = self._inner(context, None)
        return self._outputs(inner, inner.run(), context)

    def _check(self, jitter: bool) -> None:
        self._made.of(self.stage_id, self.stages, jitter)

    def _call(self) -> Any:
        return self._aexecute if is_plain(self, ParallelStage) else self.execute

    async def _aexecute(self, context: Noting) -> dict[str, Any]:
        inner = self._inner(context, None if context.run is None else context.run.settings)
        return self._outputs(inner, await inner.arun(), context)

    def _inner(self, context: Given, outer: Settings | None) -> Run:
        mine = (self.max_workers, not self.allow_failures)
        settings = Settings(*mine) if outer is None else outer.for_children(*mine)
        made = self._made.of(self.stage_id, self.stages, settings.jitter)
        return Run(made, dict(context), settings)

    def _outputs(self, inner: Run, result: RunResult, context: Given) -> dict[str, Any]:
        write(context, inner.context.writes)
        if isinstance(context, Noting) and context.run is not None:
            context.run.warnings |= inner.context.warnings
        outputs: dict[str, Any] = {}
        for node in result.nodes.values():
            ended = stage_result(node)
            if ended.is_success or left_out(node):
                outputs[node.path] = ended.output
            elif not self.allow_failures:
                bad = next(result.failed(), node)
                why = f"stage {bad.path!r} failed: {bad.failure or ended.error}"
                error = RuntimeError(f"parallel stage {self.stage_id!r}: {why}")
                if bad.failure is not None and bad.failure.trace:
                    error.add_note(bad.failure.trace)  # that has the line of the user's code
                raise error
            else:
                outputs[node.path] = {"error": ended.error}
        return outputs


class Pipeline:
    """Stages, run in the order of their dependencies.

    Args:
        pipeline_id: Its id; by default 8 characters drawn at random.
        name: What people call it; by default its id.
        fail_fast: After a failure nothing new starts; otherwise all that does not depend on it still runs.
        max_workers: How many stages run at the same time.
        jitter: Spread the waits before retries evenly over (0, wait].

    Attributes:
        stages: The stages, in the order in which they were added.
        context: What every run's context begins with.
        status: Of its last run.

    Raises:
        ValueError: `max_workers` is no int of at least 1.
    """

    def __init__(
        self, pipeline_id: str | None = None, name: str | None = None, fail_fast: bool = True,
        max_workers: int = 1, *, jitter: bool = False,
    ) -> None:  # fmt: skip
        self.pipeline_id = pipeline_id or uuid4().hex[:8]
        self.name = name or self.pipeline_id
        self.fail_fast = flag(f"Pipeline {self.name!r}", "fail_fast", fail_fast)
        self.max_workers = _workers(f"Pipeline {self.name!r}", max_workers)
        self.jitter = flag(f"Pipeline {self.name!r}", "jitter", jitter)
        self.stages: list[Stage] = []
        self.context: Given = {}
        self._made = StageGraph()
        self._runs: list[Run] = []  # that are under way
        self.status = PipelineStatus.CREATED

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r}: {len(self.stages)} stages>"

    def add_stage(self, stage: Stage) -> Pipeline:
        """Adds a stage.

        Raises:
            TypeError: It is none.
        """
        self.stages.append(checked("add_stage", stage))
        return self

    def set_context(self, key: str, value: Any) -> Pipeline:
        """Sets what the context of every later run begins with."""
        self.context[key] = value
        return self

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        return wiring.pictured(self, self.graph)

    def graph(self) -> Graph:
        """The graph that a run would run.

        Raises:
            GraphError: An id is wrong or there twice, a dependency unknown, or they run in a circle.
        """
        return self._made.of(self.name, self.stages, self.jitter).graph

    def inputs(self) -> Sequence[Input]:
        """The inputs of a run: entries of the context, of any name; those that are set have a default."""
        known = [Input(key, None, value) for key, value in self.context.items() if isinstance(key, str)]
        return [*known, Input("**", default=None)]

    def run(self, initial_context: dict[str, Any] | None = None, **how: Unpack[RunHow]) -> PipelineResult:
        """Runs the pipeline to its end and waits for it, inside a running event loop too.

        Args:
            initial_context: Added to the pipeline's context, over it; it is not changed.
            how: `runner`, `options`, `store` and `run_id` as of `Flow.run`; `fail_fast` stands above
                `on_failure` of the options. The context is part of the inputs of a run that is kept: of one
                that goes on, what is not given is what it was.

        Returns:
            How it ended; or that it waits for an answer: then its status is RUNNING. A stage that fails
            raises nothing here.

        Raises:
            GraphError: See `graph`; nothing has started.
            InputError: An argument is of the wrong kind; nothing has started.
            StoreError: The store cannot be used; the run was cut off, and can be resumed.
        """
        run = self._begin(initial_context, how)
        result = None
        try:
            result = run.run()
        finally:
            self._end(run, result)
        return self._result(run, result)

    async def arun(
        self, initial_context: dict[str, Any] | None = None, **how: Unpack[RunHow]
    ) -> PipelineResult:
        """As `run`, on the running event loop. A cancelled caller cancels the run, and waits for its end."""
        run = self._begin(initial_context, how)
        result = None
        try:
            result = await run.arun()
        finally:
            self._end(run, result)
        return self._result(run, result)

    def answer(self, stage_id: str, value: Any) -> None:
        """Answers a `GateStage` of the run that is under way; from any thread. It may not be open yet.

        Raises:
            InputError: No run is under way, there is no such gate, or it takes another kind of answer.
        """
        runs = list(self._runs)
        if not runs:
            raise InputError(
                f"pipeline {self.name!r} does not run; penstock approve answers a run that is put down"
            )
        for run in runs:
            run.answer(stage_id, value)

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **kept: Any,
    ) -> RunResult:
        """Runs it for the command line; the inputs are added to the context."""
        how: Any = {"runner": runner, "options": options, **kept}
        target = how.pop("target", None)
        run = self._begin(inputs, how, target)
        result = None
        try:
            result = run.run(targets)
        finally:
            self._end(run, result)
        result.warnings += tuple(run.context.warnings)
        return result

    def _begin(self, initial: Mapping[str, Any] | None, how: RunHow, target: str | None = None) -> Run:
        if initial is not None and not isinstance(initial, Mapping):
            raise InputError(f"initial_context is a dict, not {shown(initial)}")
        for word in how.keys() - RunHow.__annotations__.keys():
            raise TypeError(f"a run takes no {word!r}{nearest(word, RunHow.__annotations__)}")
        given, store, run_id = initial or {}, how.get("store"), how.get("run_id")
        keeping = None
        if store is not None or run_id is not None:
            keeping = Keeping(store, run_id, target, given, self.context.copy())
        settings = Settings(
            self.max_workers, self.fail_fast, self.jitter, how.get("runner"), how.get("options"), keeping
        )
        made = self._made.of(self.name, self.stages, self.jitter)
        run = Run(made, {**self.context, **given}, settings)
        self.status = PipelineStatus.RUNNING
        self._runs.append(run)
        return run

    def _end(self, run: Run, result: RunResult | None) -> None:
        self._runs.remove(run)
        self.status = status_of(result)

    def _result(self, run: Run, result: RunResult) -> PipelineResult:
        stages = stage_results(result.nodes.values())
        if not run.is_in_order:
            stages = [stages[i] for i in run.graph.order]
        status, began = status_of(result), moment(result.began)
        waits = status is PipelineStatus.RUNNING
        ended = None if waits else moment(result.began + result.duration)
        result.warnings += tuple(run.context.warnings)
        return PipelineResult(self.pipeline_id, status, stages, began, ended, result)


class PipelineBuilder:
    """Makes a pipeline in one expression: ``PipelineBuilder("etl").stage("load", load).build()``.

    Args:
        name: Of the pipeline.
        options: `fail_fast`, `max_workers`, `jitter` and `pipeline_id` of it.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self._pipeline = partial(Pipeline, name=name, **options)
        self._pipeline()  # whatever is wrong with the options is said here
        self._stages: list[Stage] = []
        self._context: Given = {}

    def stage(
        self, stage_id: str, func: Function, depends_on: list[str] | None = None, retry_count: int = 0,
        timeout_s: float | None = None,
    ) -> PipelineBuilder:  # fmt: skip
        """Adds a `FunctionStage`."""
        kw = Options(depends_on=depends_on, retry_count=retry_count, timeout_s=timeout_s)
        self._stages.append(FunctionStage(stage_id, func, **kw))
        return self

    def parallel(
        self, stage_id: str, stages: list[Stage], depends_on: list[str] | None = None, max_workers: int = 4,
        *, allow_failures: bool = False,
    ) -> PipelineBuilder:  # fmt: skip
        """Adds a `ParallelStage`."""
        kw = Options(depends_on=depends_on)
        self._stages.append(ParallelStage(stage_id, stages, max_workers, allow_failures=allow_failures, **kw))
        return self

    def conditional(
        self, stage_id: str, condition: Function, stage: Stage | Function,
        depends_on: list[str] | None = None, retry_count: int = 0, timeout_s: float | None = None,
    ) -> PipelineBuilder:  # fmt: skip
        """Adds a `ConditionalStage`, around a stage or a function of the context."""
        inner = stage if isinstance(stage, Stage) else FunctionStage(stage_id, stage)
        kw = Options(depends_on=depends_on, retry_count=retry_count, timeout_s=timeout_s)
        self._stages.append(ConditionalStage(stage_id, condition, inner, **kw))
        return self

    def gate(
        self, stage_id: str, prompt: str = "", depends_on: list[str] | None = None, *, type: Any = bool,
        timeout_s: float | None = None, default: Any = NOTHING,
    ) -> PipelineBuilder:  # fmt: skip
        """Adds a `GateStage`: it waits for an answer from outside."""
        self._stages.append(GateStage(stage_id, prompt, type, timeout_s, default, depends_on=depends_on))
        return self

    def context(self, key: str, value: Any) -> PipelineBuilder:
        """Sets what the context of every run begins with."""
        self._context[key] = value
        return self

    def build(self) -> Pipeline:
        """The pipeline.

        Raises:
            GraphError: As of `Pipeline.graph`.
        """
        pipeline = self._pipeline()
        pipeline.stages += self._stages
        pipeline.context.update(self._context)
        pipeline.graph()
        return pipeline


def _workers(where: str, given: int) -> int:
    if not is_whole(given) or given < 1:
        raise ValueError(
            f"{where}: max_workers counts stages, so it is an int of at least 1, not {shown(given)}"
        )
    return given
