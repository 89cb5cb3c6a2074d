"""Pipelines of stages that share one context, a dict: stage classes, hooks, conditions, and a builder.

A translator and nothing else: a pipeline becomes a `Graph`, the engine runs it, and what came of it is read
back as a `PipelineResult`. The context is one dict for the run. Each attempt works on a copy of it that
notes what is written; the engine's word that the attempt counts is what brings the writes into the run's own,
so nothing of a failed, cut off or late attempt is ever seen by others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import is_
from typing import Any, NamedTuple, TypedDict, Unpack, cast
from uuid import uuid4

from penstock import wiring
from penstock.core.amounts import is_whole, shown
from penstock.core.errors import GraphError, InputError, nearest
from penstock.core.events import NodeFailed
from penstock.core.graph import Graph
from penstock.core.model import (
    Accepts,
    Condition,
    Failure,
    Input,
    Need,
    Node,
    NodeStatus,
    RetryPolicy,
    RunOptions,
    RunStatus,
    SkipCause,
    Timeout,
)  # fmt: skip
from penstock.core.ports import Pool, Runner
from penstock.core.result import NodeResult, RunResult

from ._context import Hooked, Noting, Outputs, Shared, StageCalls, output_key, write
from ._stages import (
    ConditionalStage,
    Function,
    FunctionStage,
    Given,
    Options,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageResult,
    StageStatus,
    awaits,
    checked,
    id_of,
    is_plain,
    moment,
)  # fmt: skip

__all__ = [
    "ConditionalStage", "FunctionStage", "ParallelStage", "Pipeline", "PipelineBuilder", "PipelineResult",
    "PipelineStatus", "Stage", "StageResult", "StageStatus",
]  # fmt: skip

_FIRST_WAIT = 0.1
_NO_CAP = 1e9  # seconds: the waits of this vocabulary only grow


class RunHow(TypedDict, total=False):
    """What a run takes besides its context; `store` and `run_id` come with the journal."""

    runner: str | Runner | Pool | None
    options: RunOptions | None
    store: Any
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
        self.max_workers = _workers(where, max_workers)
        self.allow_failures = allow_failures
        self._built = _Built()

    def execute(self, context: dict[str, Any]) -> dict[str, Any]:
        """Runs the children and waits for them.

        Raises:
            RuntimeError: A child has failed.
        """
        inner = self._inner(context, None)
        return self._outputs(inner, inner.run(), context)

    async def _aexecute(self, context: Noting) -> dict[str, Any]:
        inner = self._inner(context, None if context.run is None else context.run.settings)
        return self._outputs(inner, await inner.arun(), context)

    def _inner(self, context: Given, outer: _Settings | None) -> _Run:
        mine = (self.max_workers, not self.allow_failures)
        settings = _Settings(*mine) if outer is None else outer.for_children(*mine)
        return self._built.run(self.stage_id, self.stages, dict(context), settings)

    def _outputs(self, inner: _Run, result: RunResult, context: Given) -> dict[str, Any]:
        write(context, inner.context.writes)
        outputs: dict[str, Any] = {}
        for node in result.nodes.values():
            ended = _stage_result(node)
            if ended.is_success or _left_out(node):
                outputs[node.path] = ended.output
            elif not self.allow_failures:
                bad = next(result.failed(), node)
                why = f"stage {bad.path!r} failed: {bad.failure or ended.error}"
                raise RuntimeError(f"parallel stage {self.stage_id!r}: {why}")
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
        self.fail_fast = fail_fast
        self.max_workers = _workers(f"Pipeline {self.name!r}", max_workers)
        self.jitter = jitter
        self.stages: list[Stage] = []
        self.context: Given = {}
        self._built = _Built()
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

    def graph(self) -> Graph:
        """The graph that a run would run.

        Raises:
            GraphError: An id is wrong or there twice, a dependency unknown, or they run in a circle.
        """
        return self._built.graph(self.name, self.stages, self.jitter)

    def inputs(self) -> Sequence[Input]:
        """The inputs of a run: entries of the context, of any name; those that are set have a default."""
        known = [Input(key, None, value) for key, value in self.context.items() if isinstance(key, str)]
        return [*known, Input("**", default=None)]

    def run(self, initial_context: dict[str, Any] | None = None, **how: Unpack[RunHow]) -> PipelineResult:
        """Runs the pipeline to its end and waits for it, inside a running event loop too.

        Args:
            initial_context: Added to the pipeline's context, over it; it is not changed.
            how: `runner` and `options` as of `Flow.run`; `fail_fast` stands above the options' `on_failure`.

        Returns:
            How it ended. A stage that fails raises nothing here.

        Raises:
            GraphError: See `graph`; nothing has started.
            InputError: An argument is of the wrong kind; nothing has started.
        """
        run = self._begin(initial_context, how)
        result = None
        try:
            result = run.run()
        finally:
            self.status = _status_of(result)
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
            self.status = _status_of(result)
        return self._result(run, result)

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """Runs it for the command line; the inputs are added to the context."""
        run = self._begin(inputs, {"runner": runner, "options": options})
        result = None
        try:
            result = run.run(targets)
        finally:
            self.status = _status_of(result)
        result.warnings += tuple(run.context.warnings)
        return result

    def _begin(self, initial: Mapping[str, Any] | None, how: RunHow) -> _Run:
        if initial is not None and not isinstance(initial, Mapping):
            raise InputError(f"initial_context is a dict, not {shown(initial)}")
        for word in {"store", "run_id"} & {word for word in how if how.get(word) is not None}:
            raise NotImplementedError(f"{word}= comes with the journal")
        for word in how.keys() - RunHow.__annotations__.keys():
            raise TypeError(f"a run takes no {word!r}{nearest(word, RunHow.__annotations__)}")
        settings = _Settings(
            self.max_workers, self.fail_fast, self.jitter, how.get("runner"), how.get("options")
        )
        run = self._built.run(self.name, self.stages, {**self.context, **(initial or {})}, settings)
        self.status = PipelineStatus.RUNNING
        return run

    def _result(self, run: _Run, result: RunResult) -> PipelineResult:
        stages = _stage_results(list(result.nodes.values()), run.graph.order)
        times = moment(result.began), moment(result.began + result.duration)
        result.warnings += tuple(run.context.warnings)
        return PipelineResult(self.pipeline_id, self.status, stages, *times, result)


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


# --- to a graph -------------------------------------------------------------------------------------------


class _Built:
    """The graph of some stages, kept as long as they stay what they are; it knows of no run."""

    def __init__(self) -> None:
        self._known: list[Any] = []
        self._graph: Graph | None = None
        self._hooked: dict[str, StageCalls] = {}
        self._ids: dict[str, str] = {}

    def graph(self, name: str, stages: Sequence[Stage], jitter: bool) -> Graph:
        """The graph.

        Raises:
            GraphError: The stages make none.
        """
        known = [name, jitter, *_facts(stages)]
        same = len(known) == len(self._known) and all(map(is_, known, self._known))
        if self._graph is None or not same:
            calls = _calls(stages)
            self._graph = Graph(name, [_node(*one, jitter) for one in calls.values()])
            self._known = known
            self._ids = {output_key(id): id for id in calls}
            self._hooked = {id: call for id, (_, call) in calls.items() if call.hooked}
        return self._graph

    def run(self, name: str, stages: Sequence[Stage], context: Given, settings: _Settings) -> _Run:
        """One run of it."""
        graph = self.graph(name, stages, settings.jitter)
        return _Run(graph, Shared(context, self._ids, graph, settings), settings, self._hooked)


def _facts(stages: Sequence[Stage]) -> list[Any]:
    """All that a graph of stages is made of: as long as these are the same objects, so is the graph."""
    found: list[Any] = []
    for stage in stages:
        for one in (stage,) if type(stage) is FunctionStage else _chain(stage):
            own = one.__dict__
            found.append(one)
            found += own.values()
            found += own.get("depends_on", ())  # a list, and may change
    return found


def _chain(stage: Stage) -> list[Stage]:
    """A stage; if it is conditional, followed by what it stands around."""
    chain = [stage]
    while is_plain(chain[-1], ConditionalStage):
        chain.append(cast(ConditionalStage, chain[-1]).stage)
    return chain


def _calls(stages: Sequence[Stage]) -> dict[str, tuple[list[Stage], StageCalls]]:
    """What the node of each stage calls, and the stage.

    Raises:
        GraphError: An id is wrong or there twice, or a dependency unknown.
    """
    chains = [_chain(stage) for stage in stages]
    ids = [id_of(stage) for stage in stages]
    known = dict.fromkeys(ids)
    if len(known) < len(ids):
        double = next(id for at, id in enumerate(ids) if id in ids[:at])
        raise GraphError(f"there are two stages called {double!r}; give one another id")
    found = {}
    for id, chain in zip(ids, chains, strict=True):
        above = _above(chain)
        for one in above:
            if one not in known:
                raise GraphError(f"Stage {id!r} depends on unknown stage {one!r}{nearest(str(one), known)}")
        found[id] = chain, StageCalls(chain)
    return found


def _above(chain: list[Stage]) -> list[str]:
    return list(dict.fromkeys([one for each in chain for one in each.depends_on]))


def _node(chain: list[Stage], calls: StageCalls, jitter: bool) -> Node:
    stage, above = chain[0], _above(chain)
    if is_plain(chain[-1], ParallelStage):
        calls.execute = cast(Function, cast(ParallelStage, chain[-1])._aexecute)
    is_async = awaits(calls.execute)
    retry = None
    if calls.retry_count:
        retry = RetryPolicy(calls.retry_count + 1, _FIRST_WAIT, _NO_CAP, jitter="none")
        retry = retry.spread() if jitter else retry
    when = None
    if len(chain) > 1:
        asked = [cast(ConditionalStage, one).condition for one in chain[:-1]]
        later = any(map(awaits, asked))
        ask = partial(calls.aquestion if later else calls.question, asked)
        needs = tuple([(output_key(one), at) for at, one in enumerate(above)])
        when = Condition(ask, needs, is_async=later, shared="context")
    return Node(
        stage.stage_id,
        calls.acall if is_async else calls.call,
        tuple([Need(one, "use", output_key(one), Accepts.CONDITION) for one in above]),
        is_async=is_async,
        retry=retry,
        timeout=None if calls.timeout_s is None else Timeout(attempt=calls.timeout_s),
        when=when,
        keep=True,
        doc="" if stage.name == stage.stage_id else stage.name,
        shared="context",
    )


# --- one run ----------------------------------------------------------------------------------------------


class _Settings(NamedTuple):
    """How a run goes.

    Attributes:
        workers: How many stages run at the same time.
        fail_fast: Whether it stops at a failure.
        jitter: Whether waits are spread.
        runner, options: As of `Flow.run`.
    """

    workers: int
    fail_fast: bool
    jitter: bool = False
    runner: str | Runner | Pool | None = None
    options: RunOptions | None = None

    def for_children(self, workers: int, fail_fast: bool) -> _Settings:
        """The same for a run inside a stage."""
        runner = None if isinstance(self.runner, Runner) else self.runner
        options = self.options and _but(self.options, observers=(), deadline=None)
        return _Settings(workers, fail_fast, self.jitter, runner, options)


class _Run:
    """One run.

    Attributes:
        graph: What runs.
        context: What its stages share.
    """

    def __init__(
        self, graph: Graph, context: Shared, settings: _Settings, hooked: Mapping[str, StageCalls]
    ) -> None:
        self.graph = graph
        self.context = context
        self.context.hooked = {id: Hooked() for id in hooked}
        self._settings = settings
        self._hooked = hooked

    def run(self, targets: Sequence[str] | None = None) -> RunResult:
        """Runs to the end."""
        return wiring.run_prepared(self._prepared(targets))

    async def arun(self) -> RunResult:
        """The same on the running loop."""
        return await self._prepared(None).arun()

    def _prepared(self, targets: Sequence[str] | None) -> wiring.Prepared:
        workers, fail_fast, _, runner, options = self._settings
        if runner is None or runner == "threads":
            runner = wiring.threads(workers) if workers > 1 else runner
        if options is None:
            options = RunOptions()
        if isinstance(options, RunOptions):  # anything else is refused by wiring
            observers = (self.observe, *options.observers) if self._hooked else options.observers
            at_once = min(workers, options.max_concurrency or workers)
            on_failure = "drain" if fail_fast else "continue"
            options = _but(options, on_failure=on_failure, observers=observers, max_concurrency=at_once)
        prepared = wiring.Prepared(
            self.graph, {}, targets=targets, runner=runner, options=options, shared=cast(Any, self.context)
        )
        if isinstance(self.context.outputs, Outputs):
            self.context.outputs.nodes = prepared.result().nodes
        return prepared

    def observe(self, event: Any) -> None:
        """Calls the hooks of a stage whose last attempt did not come back to call them itself."""
        if type(event) is NodeFailed and event.path.node in self._hooked:
            id = event.path.node
            self._hooked[id].give_up(self.context, _text(event.failure))
            self.context.take(id, self.context.hooked[id].last_words)


def _stage_results(nodes: Sequence[NodeResult], order: Sequence[int]) -> list[StageResult]:
    """How stages ended, in this order."""
    found: list[StageResult] = []
    good, at, tz = StageStatus.SUCCESS, datetime.fromtimestamp, UTC
    end, over = at(0, tz), None
    for i in order:
        id, status, _, value, _, _, _, _, _, _, _, began, ended = nodes[i]
        if status is NodeStatus.SUCCEEDED and began is not None and ended is not None:
            start = end if began == over else at(began, tz)  # many a stage follows another at once
            over, end = ended, at(ended, tz)
            found.append(StageResult(id, good, value, None, start, end))
        else:
            found.append(_stage_result(nodes[i]))
    return found


def _stage_result(node: NodeResult) -> StageResult:
    """How a stage ended, in the words of this vocabulary."""
    id, status, _, value, failure, _, skip, _, _, _, reason, began, ended = node
    if status is NodeStatus.SUCCEEDED:
        return StageResult(id, StageStatus.SUCCESS, value, None, moment(began), moment(ended))
    error, shown_as = None, _STAGE[status]
    if skip is not None:
        if skip.cause is SkipCause.UPSTREAM:
            error = "Dependencies not satisfied"
        elif skip.cause is SkipCause.STOPPED:
            shown_as, error = StageStatus.CANCELLED, reason
    elif failure is not None:
        error = _text(failure)
    elif shown_as is StageStatus.CANCELLED:
        error = reason or "cancelled while it ran"
    return StageResult(id, shown_as, None, error, moment(began), moment(ended))


_STAGE = dict.fromkeys(NodeStatus, StageStatus.PENDING)  # READY and WAITING too
_STAGE |= {each: StageStatus[each.name] for each in NodeStatus if each.name in StageStatus.__members__}
_STAGE |= {NodeStatus.SUCCEEDED: StageStatus.SUCCESS, NodeStatus.RETRYING: StageStatus.RUNNING}

_PIPELINE = {
    RunStatus.SUCCEEDED: PipelineStatus.SUCCESS,
    RunStatus.FAILED: PipelineStatus.FAILED,
    RunStatus.CANCELLED: PipelineStatus.CANCELLED,
}


def _status_of(result: RunResult | None) -> PipelineStatus:
    return (
        PipelineStatus.CANCELLED if result is None else _PIPELINE.get(result.status, PipelineStatus.RUNNING)
    )


def _but(options: RunOptions, **changes: Any) -> RunOptions:
    return RunOptions(**{name: getattr(options, name) for name in RunOptions._fields} | changes)


def _left_out(node: NodeResult) -> bool:
    """Whether a condition said no."""
    return node.skip is not None and node.skip.cause is SkipCause.CONDITION


def _text(failure: Failure) -> str:
    return failure.text or failure.type


def _workers(where: str, given: int) -> int:
    if not is_whole(given) or given < 1:
        raise ValueError(
            f"{where}: max_workers counts stages, so it is an int of at least 1, not {shown(given)}"
        )
    return given
