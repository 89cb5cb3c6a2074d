"""Pipelines of stages that share one context, a dict: stage classes, hooks, conditions, and a builder.

A translator and nothing else: a pipeline becomes a `Graph`, the engine runs it, and what came of it is read
back as a `PipelineResult`. The context is one dict for the run. Each attempt works on a copy of it that
notes what is written; the engine's word that the attempt counts is what brings the writes into the run's own,
so nothing of a failed, cut off or late attempt is ever seen by others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack, cast
from uuid import uuid4

from penstock import wiring
from penstock.core import events
from penstock.core.amounts import is_whole, shown
from penstock.core.errors import GraphError, InputError, nearest
from penstock.core.failures import AWAITABLES, check_awaited
from penstock.core.graph import Graph
from penstock.core.model import (
    Accepts,
    Condition,
    Failure,
    Limit,
    LimitUse,
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

from ._attempts import Done, Noting, StageCalls, write
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

    def execute(self, context: dict[str, Any]) -> dict[str, Any]:
        """Runs the children and waits for them.

        Raises:
            RuntimeError: A child has failed.
        """
        inner = self._inner(context, None)
        return self._outputs(inner, wiring.run(inner.graph, {}, **inner.how()), context)

    async def _aexecute(self, outer: _Run, context: Given) -> dict[str, Any]:
        inner = self._inner(context, outer)
        return self._outputs(inner, await wiring.arun(inner.graph, {}, **inner.how()), context)

    def _inner(self, context: Given, outer: _Run | None) -> _Run:
        how: RunHow = {"options": RunOptions()} if outer is None else outer.for_children()
        jitter = outer is not None and outer.jitter
        run = _Run(dict(context), self.max_workers, not self.allow_failures, jitter, how)
        return run.of(self.stage_id, self.stages)

    def _outputs(self, inner: _Run, result: RunResult, context: Given) -> dict[str, Any]:
        write(context, inner.writes)
        outputs: dict[str, Any] = {}
        for id, node in result.nodes.items():
            ended = inner.stage_result(id, node)
            if ended.is_success or _left_out(node):
                outputs[id] = ended.output
            elif not self.allow_failures:
                bad = next(result.failed(), node)
                why = f"stage {bad.path!r} failed: {bad.failure or ended.error}"
                raise RuntimeError(f"parallel stage {self.stage_id!r}: {why}")
            else:
                outputs[id] = {"error": ended.error}
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
        return self._begin(None, {}).graph

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
        self.status = PipelineStatus.RUNNING
        result = None
        try:
            result = wiring.run(run.graph, {}, **run.how())
        finally:
            self.status = _status_of(result)
        return self._result(run, result)

    async def arun(
        self, initial_context: dict[str, Any] | None = None, **how: Unpack[RunHow]
    ) -> PipelineResult:
        """As `run`, on the running event loop. A cancelled caller cancels the run, and waits for its end."""
        run = self._begin(initial_context, how)
        self.status = PipelineStatus.RUNNING
        result = None
        try:
            result = await wiring.arun(run.graph, {}, **run.how())
        finally:
            self.status = _status_of(result)
        return self._result(run, result)

    def _begin(self, initial: Given | None, how: RunHow) -> _Run:
        if initial is not None and not isinstance(initial, Mapping):
            raise InputError(f"initial_context is a dict, not {shown(initial)}")
        context = {**self.context, **(initial or {})}
        return _Run(context, self.max_workers, self.fail_fast, self.jitter, how).of(self.name, self.stages)

    def _result(self, run: _Run, result: RunResult) -> PipelineResult:
        nodes = list(result.nodes.values())
        stages = [run.stage_result(nodes[i].path, nodes[i]) for i in run.graph.order]
        times = moment(run.begun), moment(run.ended)
        result.warnings += tuple(run.warnings)
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


class _Run:
    """One run: its graph, its context, and what is noted of it while it goes on.

    Args:
        context: Its context.
        workers: How many stages run at the same time.
        fail_fast: Whether it stops at a failure.
        jitter: Whether waits are spread.
        how: The rest, as it was given.

    Attributes:
        writes: All that its stages wrote, outputs not counted.
        begun, ended: Seconds of the engine's clock.
    """

    def __init__(
        self, context: Given, workers: int, fail_fast: bool, jitter: bool, how: RunHow
    ) -> None:  # fmt: skip
        self.context = context
        self.workers = workers
        self.jitter = jitter
        for word in {"store", "run_id"} & {word for word in how if how.get(word) is not None}:
            raise NotImplementedError(f"{word}= comes with the journal")
        for word in how.keys() - RunHow.__annotations__.keys():
            raise TypeError(f"a run takes no {word!r}{nearest(word, RunHow.__annotations__)}")
        self.runner = how.get("runner")
        self.options: Any = how.get("options")
        if self.options is None:
            self.options = RunOptions()
        if isinstance(self.options, RunOptions):  # anything else is refused by wiring
            observers = (self.observe, *self.options.observers)
            on_failure = "drain" if fail_fast else "continue"
            self.options = _but(self.options, on_failure=on_failure, observers=observers)
        self.writes: Given = {}
        self.begun = self.ended = 0.0
        self.callers: dict[str, StageCalls] = {}
        self.started: dict[str, float] = {}
        self.over: dict[str, float] = {}
        self.writers: dict[str, str] = {}
        self.warnings: dict[str, None] = {}
        self.committed: dict[str, bool] = {}
        self.graph: Graph

    def of(self, name: str, stages: Sequence[Stage]) -> _Run:
        """Takes these stages.

        Raises:
            GraphError: They make no graph.
        """
        ids = [id_of(stage) for stage in stages]
        known = dict.fromkeys(ids)
        if len(known) < len(ids):
            double = next(id for at, id in enumerate(ids) if id in ids[:at])
            raise GraphError(f"there are two stages called {double!r}; give one another id")
        limit = (LimitUse(Limit("max_workers", capacity=self.workers)),)
        nodes = [self._node(stage, known, limit) for stage in stages]
        self.graph = Graph(name, nodes)
        return self

    def _node(self, stage: Stage, known: Mapping[str, None], limits: tuple[LimitUse, ...]) -> Node:
        chain = [stage]
        while is_plain(chain[-1], ConditionalStage):
            chain.append(cast(ConditionalStage, chain[-1]).stage)
        id = stage.stage_id
        above = list(dict.fromkeys(one for each in chain for one in each.depends_on))
        for one in above:
            if one not in known:
                raise GraphError(f"Stage {id!r} depends on unknown stage {one!r}{nearest(str(one), known)}")
        caller = self.callers[id] = StageCalls(self.context, chain)
        if is_plain(chain[-1], ParallelStage):
            caller.execute = partial(cast(ParallelStage, chain[-1])._aexecute, self)
        is_async = awaits(caller.execute)
        retry = None
        if caller.retry_count:
            retry = RetryPolicy(caller.retry_count + 1, _FIRST_WAIT, _NO_CAP, jitter="none")
            retry = retry.spread() if self.jitter else retry
        when = None
        if len(chain) > 1:
            when = self._question([cast(ConditionalStage, one).condition for one in chain[:-1]], above)
        return Node(
            id,
            caller.acall if is_async else caller.call,
            tuple([Need(one, "use", None, Accepts.CONDITION) for one in above]),
            is_async=is_async,
            retry=retry,
            timeout=None if caller.timeout_s is None else Timeout(attempt=caller.timeout_s),
            when=when,
            limits=limits,
            keep=True,
            doc="" if stage.name == id else stage.name,
        )

    def _question(self, asked: list[Function], above: list[str]) -> Condition:
        """The condition of a stage: all of these must hold.

        It is asked in the turn in which the last dependency ended, before observers hear of that.
        """
        needs = tuple([(f"n{at}", at) for at in range(len(above))])

        def see(outputs: Mapping[str, Any]) -> Noting:
            for (param, _), id in zip(needs, above, strict=True):
                self.commit(id, outputs[param])
            return Noting(self.context)

        def holds(**outputs: Any) -> bool:
            context = see(outputs)
            return all(bool(_answer(one(context))) for one in asked)

        async def holds_later(**outputs: Any) -> bool:
            context = see(outputs)
            for one in asked:
                answer = one(context)
                if not (await answer if isinstance(answer, Awaitable) else answer):
                    return False
            return True

        if any(map(awaits, asked)):
            return Condition(holds_later, needs, is_async=True)
        return Condition(holds, needs)

    def how(self) -> dict[str, Any]:
        """What `wiring` is called with besides the graph."""
        runner: Any = self.runner
        if runner is None or runner == "threads":
            usual: Any = wiring.make_runner("threads", RunOptions())
            if self.workers > usual.size:
                runner = type(usual)(self.workers)
        return {"runner": runner, "options": self.options}

    def for_children(self) -> RunHow:
        """The same for a run inside one of its stages."""
        runner = None if isinstance(self.runner, Runner) else self.runner
        return {"runner": runner, "options": _but(self.options, observers=(), deadline=None)}

    def observe(self, event: Any) -> None:
        """Takes in what has happened; in the engine's thread, before anything new starts."""
        kind = type(event)
        if kind is events.NodeStarted:
            self.started.setdefault(event.path.node, event.at)
        elif kind is events.NodeSucceeded:
            self.over[event.path.node] = event.ended
            self.commit(event.path.node, event.value)
        elif kind is events.NodeFailed:
            self.over[event.path.node] = event.ended
            caller = self.callers[event.path.node]
            caller.give_up(_text(event.failure))
            self._take(event.path.node, caller.last_words)
        elif kind is events.NodeCancelled:
            self.over[event.path.node] = event.ended
        elif kind is events.NodeSkipped:
            if event.cause is SkipCause.CONDITION:
                self.commit(event.path.node, None)
        elif kind is events.RunStarted:
            self.begun = self.ended = event.at
        elif kind is events.RunFinished:
            self.ended = event.at

    def commit(self, id: str, value: Any) -> None:
        """Brings a stage's output, and what it wrote, into the context; a second time changes nothing."""
        if self.committed.get(id):
            return
        self.committed[id] = True
        if type(value) is Done:
            self._take(id, value.writes)
            value = value.output
        self.context[f"stage_{id}_output"] = value

    def _take(self, id: str, writes: Given) -> None:
        for key in writes:
            before = self.writers.get(key)
            if before is not None and before != id and not self._follows(id, before):
                self.warnings[
                    f"context[{key!r}] was written by {before!r} and by {id!r}, and neither depends on the "
                    "other: which of them counts is a matter of time"
                ] = None
            self.writers[key] = id
        write(self.context, writes)
        self.writes.update(writes)

    def _follows(self, id: str, other: str) -> bool:
        graph = self.graph
        position = graph.index[other]
        return position in graph.parents[graph.index[id]] or position in graph.ancestors([id])

    def stage_result(self, id: str, node: NodeResult) -> StageResult:
        """How a stage ended, in the words of this vocabulary."""
        status, error, output = _STAGE[node.status], None, node.value
        if node.status is NodeStatus.SKIPPED and node.skip is not None:
            if node.skip.cause is SkipCause.UPSTREAM:
                error = "Dependencies not satisfied"
            elif node.skip.cause is SkipCause.STOPPED:
                status, error = StageStatus.CANCELLED, node.reason
        elif node.failure is not None:
            error = _text(node.failure)
        elif status is StageStatus.CANCELLED:
            error = node.reason or "cancelled while it ran"
        if type(output) is Done:
            output = output.output
        began, over = self.started.get(id), self.over.get(id)
        return StageResult(id, status, output, error, moment(began), None if began is None else moment(over))


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


def _answer(given: Any) -> Any:
    if type(given) in AWAITABLES:
        check_awaited(given)
    return given


def _workers(where: str, given: int) -> int:
    if not is_whole(given) or given < 1:
        raise ValueError(
            f"{where}: max_workers counts stages, so it is an int of at least 1, not {shown(given)}"
        )
    return given
