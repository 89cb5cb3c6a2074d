"""Pipelines as definitions: stages that name their inputs, an executor, and results instead of exceptions.

A `PipelineDefinition` lists stages, objects with ``async execute(input, context)``; a `PipelineExecutor` runs
it. Every stage gives a `StageResult`. A failure stops the pipeline, always. What stages write into the
context's state and metrics counts once they have succeeded.

It must never run, wait or retry anything itself: a definition becomes a graph, made once, which knows of no
execution; what the stages of one execution share comes to them as the engine hands it out.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from penstock import wiring
from penstock.core.context import Context
from penstock.core.errors import CycleError, GraphError, InputError, nearest
from penstock.core.graph import Graph
from penstock.core.model import (
    Accepts,
    Condition,
    Failure,
    Input,
    Limit,
    LimitUse,
    Need,
    Node,
    NodeStatus,
    RunOptions,
    RunStatus,
    SkipCause,
)
from penstock.core.ports import Pool, Runner
from penstock.core.record import Record
from penstock.core.result import NodeResult, RunResult

from ._definitions_context import PipelineContext
from ._definitions_run import Run, check, ended, item_ended, joined
from ._definitions_stages import (
    ExecutionPattern,
    Named,
    PipelineResult,
    PipelineStage,
    RetryConfig,
    StageDefinition,
)
from ._review import Misused, ReviewLoop, StageFailed, StageResult, Verdict, resolve_typed_input

__all__ = [
    "ExecutionPattern",
    "PipelineContext",
    "PipelineDefinition",
    "PipelineExecutor",
    "PipelineResult",
    "PipelineStage",
    "RetryConfig",
    "ReviewLoop",
    "StageDefinition",
    "StageResult",
    "Verdict",
    "resolve_typed_input",
]

_Read = Callable[[Mapping[str, Any]], Any]
"""Makes the input of a stage of what its node is given."""

_LOOK = 0.05
"""Seconds between two looks at a cancel token while no stage begins or ends."""


class _Kept:
    """A place for the graph of a definition."""

    __slots__ = ("_made",)
    _made: _Made


class PipelineDefinition(_Kept, Record):
    """A pipeline: a name and stages. It is only run by a `PipelineExecutor`.

    Attributes:
        name: What people call it.
        stages: In any order.
        description: One line for people.
        fail_fast: There is no other way; False is a message of `validate`.
    """

    name: str
    stages: Sequence[StageDefinition]
    description: str | None = None
    fail_fast: bool = True

    def __post_init__(self) -> None:
        stages = self.stages
        if isinstance(stages, Mapping) or not all(isinstance(one, StageDefinition) for one in stages):
            raise TypeError(f"pipeline {self.name!r}: stages is a list of StageDefinition, not {stages!r}")
        self._settle("stages", tuple(stages))

    def validate(self) -> list[str]:
        """What is wrong with it, a message each; empty if it can run."""
        found = self._wrong()
        known: dict[str, StageDefinition] = {}
        for stage in self.stages:
            known.setdefault(stage.id, stage)
        edges = {
            id: tuple([Need(one) for one in dict.fromkeys(stage.inputs) if one in known and one != id])
            for id, stage in known.items()
        }
        try:
            Graph(self.name, [Node(id, bool, needs) for id, needs in edges.items()])
        except CycleError as error:
            found.append(f"Circular dependency detected: {' -> '.join(error.cycle)}")
        except GraphError as error:
            found.append(str(error))
        if self.stages and all(stage.inputs for stage in self.stages):
            found.append("No entry point: every stage has inputs")
        return found

    def _wrong(self) -> list[str]:
        """What can be told of each stage by itself."""
        ids = [stage.id for stage in self.stages]
        known = set(ids)
        found = [] if ids else ["No entry point: there are no stages"]
        twice = [id for id in dict.fromkeys(ids) if ids.count(id) > 1] if len(known) < len(ids) else []
        found += [f"Duplicate stage id '{id}'" for id in twice]
        for stage in self.stages:
            for one in stage.inputs:
                if one not in known:
                    near = nearest(one, known)
                    found.append(f"Stage '{stage.id}' depends on unknown stage '{one}'{near}")
            if stage.id in stage.inputs:
                found.append(f"Circular dependency detected: {stage.id} -> {stage.id}")
            if len(set(stage.inputs)) < len(stage.inputs):
                found.append(f"Stage '{stage.id}' names one of its inputs twice")
            if not callable(getattr(stage.stage, "execute", None)):
                found.append(f"Stage '{stage.id}' has no method execute(input, context): {stage.stage!r}")
        if not self.fail_fast:
            found.append(
                "fail_fast=False: a pipeline always stops at a failure, so that nothing is half done"
            )
        return found

    def graph(self) -> Graph:
        """Its graph, to look at.

        Raises:
            GraphError: It is not valid.
        """
        wrong = self._wrong()
        if wrong:
            raise GraphError("\n".join(wrong))
        return self._graph().graph

    def _graph(self) -> _Made:
        """Its graph, made once.

        Raises:
            GraphError: It has none.
        """
        if not hasattr(self, "_made"):
            self._settle("_made", _made_of(self))
        return self._made

    def to_mermaid(self) -> str:
        """Its graph as Mermaid source.

        Raises:
            GraphError: It is not valid.
        """
        return wiring.drawing(self.graph(), "mermaid")

    def inputs(self) -> Sequence[Input]:
        """The inputs of a run by the command line: ``input``, and ``context``, a `PipelineContext`."""
        return [Input("input", default=None), Input("context", PipelineContext, None)]

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """Runs it for the command line.

        Raises:
            InputError: There is no such input, or it is of the wrong type.
        """
        for name in inputs:
            if name not in ("input", "context"):
                raise InputError(f"pipeline {self.name!r} takes no input {name!r}; it takes input, context")
        context = inputs.get("context")
        if context is not None and not isinstance(context, PipelineContext):
            raise InputError(f"context is a PipelineContext, not {type(context).__name__}")
        self.graph()
        execution = _Execution(self, inputs.get("input"), context or PipelineContext())
        execution.prepare({}, runner, options, targets)
        return execution.run()


# --- to a graph -------------------------------------------------------------------------------------------


class _Made(NamedTuple):
    """The graph of a definition.

    Attributes:
        graph: It.
        ids: Of the nodes of each stage; the last one gives its value.
    """

    graph: Graph
    ids: dict[str, tuple[str, ...]]


def _made_of(pipeline: PipelineDefinition) -> _Made:
    taken = {stage.id for stage in pipeline.stages}
    may_skip = {stage.id for stage in pipeline.stages if stage.condition is not None}
    nodes: list[Node] = []
    ids: dict[str, tuple[str, ...]] = {}
    for stage in pipeline.stages:
        needs = [
            Need(id, "use", f"value{at}", Accepts.CONDITION if id in may_skip else Accepts.NOTHING)
            for at, id in enumerate(stage.inputs)
        ]
        head = _Head(tuple(needs), () if needs else (("value", "input"),), _condition(stage))
        if stage.pattern is ExecutionPattern.FAN_OUT:
            made = _fan_out(stage, head, taken)
            ids[stage.id] = tuple([node.id for node in made])
            nodes += made
        else:
            ids[stage.id] = (stage.id,)
            nodes.append(_work(stage, stage.id, head, _reader(stage)))
    return _Made(Graph(pipeline.name, nodes, [Input("input", users=tuple(taken))]), ids)


def _reader(stage: StageDefinition) -> _Read:
    inputs = stage.inputs
    if not inputs:
        return _given
    return _only if len(inputs) == 1 else partial(_all, inputs)


def _given(given: Mapping[str, Any]) -> Any:
    return given["value"]


def _only(given: Mapping[str, Any]) -> Any:
    result = given["value0"]
    return None if result is None else result.output


def _all(inputs: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    found = [(id, given[f"value{at}"]) for at, id in enumerate(inputs)]
    return {id: None if result is None else result.output for id, result in found}


class _Head(NamedTuple):
    """What a node takes, and whether it is asked first; fields of `Node`."""

    needs: tuple[Need, ...]
    inputs: tuple[tuple[str, str], ...] = ()
    when: Condition | None = None


def _condition(stage: StageDefinition) -> Condition | None:
    asked = stage.condition
    if asked is None:
        return None
    return Condition(partial(_ask, asked), is_async=inspect.iscoroutinefunction(asked), shared="run")


def _ask(asked: Callable[[PipelineContext], Any], run: Run) -> Any:
    answer = asked(run.view())
    return _truth(answer) if hasattr(answer, "__await__") else bool(answer)


async def _truth(answer: Any) -> bool:
    return bool(await answer)


def _work(stage: StageDefinition, id: str, head: _Head, read: _Read) -> Node:
    """A node that calls the stage itself."""
    execute: Any = stage.stage.execute
    is_async, retry = _is_async(execute), stage.retry_config
    if stage.input_type is not None:
        read = partial(_checked, stage, read)
    fans = stage.pattern is ExecutionPattern.FAN_OUT
    limit = Limit(f"fan-out of {stage.id}", stage.max_concurrent_fan_out) if fans else None
    attempt = _Attempt(stage, execute, read, item_ended if fans else ended)
    return Node(
        id,
        attempt.later if is_async else attempt.at_once,
        head.needs,
        inputs=head.inputs,
        context=None if is_async else "attempt",
        is_async=is_async,
        retry=None if retry is None else retry.policy(),
        timeout=stage.timeout(),
        when=head.when,
        limits=(LimitUse(limit),) if limit is not None else (),
        keep=True,
        doc=stage.description or "",
        shared="run",
    )


def _is_async(execute: Any) -> bool:
    return inspect.iscoroutinefunction(execute) or inspect.iscoroutinefunction(inspect.unwrap(execute))


def _checked(stage: StageDefinition, read: _Read, given: Mapping[str, Any]) -> Any:
    value = read(given)
    if value is not None:
        check(stage, "was given", value, stage.input_type)
    return value


class _Attempt(NamedTuple):
    """What the node of a stage calls.

    Attributes:
        stage: The stage.
        execute: Its method.
        read: Makes its input.
        ended: Makes what the node hands back of what the method returned.
    """

    stage: StageDefinition
    execute: Callable[..., Any]
    read: _Read
    ended: Callable[[StageDefinition, Run, Any, PipelineContext], Any]

    async def later(self, run: Run, **given: Any) -> Any:
        """One attempt of a stage as it should be."""
        context = run.view()
        return self.ended(self.stage, run, await self.execute(self.read(given), context), context)

    def at_once(self, run: Run, attempt: Context, **given: Any) -> Any:
        """One attempt of a stage whose method is a plain one."""
        context = run.view(attempt)
        return self.ended(self.stage, run, self.execute(self.read(given), context), context)


def _fan_out(stage: StageDefinition, head: _Head, taken: set[str]) -> list[Node]:
    """Three nodes: one takes the list apart, one works on each item, one puts the results together."""
    mark = ""
    while {f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"} & taken:
        mark += "'"
    items, item = f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"
    split, join = partial(_split, stage, _reader(stage)), partial(joined, stage)
    return [
        Node(items, split, head.needs, inputs=head.inputs, when=head.when, runner="inline", keep=True),
        _work(stage, item, _Head((Need(items, "each", "value"),)), _given),
        Node(stage.id, join, (Need(item, "gather", "results"),), runner="inline", keep=True, shared="run"),
    ]


def _split(stage: StageDefinition, read: _Read, **given: Any) -> list[Any] | tuple[Any, ...]:
    value = read(given)
    if not isinstance(value, (list, tuple)):
        raise Misused(f"FAN_OUT stage '{stage.id}' needs a list or tuple, not {type(value).__name__}")
    return value


# --- one execution, and back ------------------------------------------------------------------------------


class _Execution:
    """One execution of a pipeline.

    Attributes:
        shared: What its stages share.
        done: The results of those that succeeded or were skipped by a condition, by id, once it has ended.
        prepared: The engine's part of it.
    """

    prepared: wiring.Prepared

    def __init__(self, pipeline: PipelineDefinition, input: Any, context: PipelineContext) -> None:
        self.pipeline = pipeline
        self.input = input
        self.shared = Run(pipeline.stages, context)
        self.done: dict[str, StageResult[Any]] = {}

    def prepare(
        self, kept: Mapping[str, Any], runner: Any, options: RunOptions | None, targets: Any = None
    ) -> None:
        """Makes it ready to run.

        Args:
            kept: Results, by stage, of what need not run again.
            runner, options, targets: As of `Flow.run`.
        """
        token = self.shared.context.cancel_token
        observers = () if token is None else (self.shared.look,)
        self.prepared = wiring.Prepared(
            self.pipeline._graph().graph,
            {"input": self.input},
            targets=targets,
            override=kept or None,
            runner=runner,
            options=_options(options, observers),
            shared=cast(Any, self.shared),
        )
        self.shared.cancel = self.prepared.engine.cancel
        self.shared.look()

    async def arun(self) -> RunResult:
        """Runs it on the running loop."""
        watched = self.shared.context.cancel_token is not None
        watch = asyncio.ensure_future(_watch(self.shared)) if watched else None
        try:
            return await self.prepared.arun()
        finally:
            if watch is not None:
                watch.cancel()

    def run(self) -> RunResult:
        """Runs it, and waits for the end."""
        result = wiring.run_prepared(self.prepared)
        result.warnings += tuple(self.shared.warnings)
        return result

    def finished(self, ended: RunResult) -> PipelineResult:
        """What it has come to, in the words of this vocabulary."""
        ids, nodes = self.pipeline._graph().ids, {node.path: node for node in ended.nodes.values()}
        took: dict[str, float] = {}
        others: list[StageDefinition] = []
        for stage in self.pipeline.stages:
            id, node = stage.id, nodes[stage.id]
            took[id] = 1000 * (node.duration or 0.0)
            if node.status is NodeStatus.SUCCEEDED:
                self.done[id] = node.value
            else:
                others.append(stage)
        for id, mine in ids.items() if len(ids) < len(nodes) else ():
            took[id] = 1000 * sum(nodes[one].duration or 0.0 for one in mine)
        failures: dict[str, StageResult[Any]] = {}
        cancelled = []
        for stage in others:
            own = [nodes[one] for one in ids[stage.id]]
            bad = next((node for node in own if node.status is NodeStatus.FAILED), None)
            skip = own[-1].skip
            if skip is not None and skip.cause is SkipCause.CONDITION:
                self.done[stage.id] = StageResult.skipped("its condition was false")
            elif bad is not None:
                failures[stage.id] = _failure(stage, bad, self.shared)
            elif any(node.status is NodeStatus.CANCELLED for node in own):
                cancelled.append(stage.id)
        if others:
            known = self.done
            self.done = {stage.id: known[stage.id] for stage in self.pipeline.stages if stage.id in known}
        results = Named(self.pipeline.stages, {**self.done, **failures})
        warnings = [*self.shared.warnings, *ended.warnings]
        metadata: dict[str, Any] = {
            "run_id": ended.run_id,
            "stage_durations_ms": took,
            "cancelled": cancelled,
            "skipped_critical": results.skipped_critical(),
            **({"reason": ended.reason} if ended.reason else {}),
            **({"warnings": warnings} if warnings else {}),
        }
        outputs = {id: one.output for id, one in self.done.items()}
        success = ended.status is RunStatus.SUCCEEDED
        return PipelineResult(success, outputs, results, [*failures], 1000 * ended.duration, metadata)


def _failure(stage: StageDefinition, node: NodeResult, run: Run) -> StageResult[Any]:
    if node.items is not None:
        bad = [(one.path[len(node.path) :], one.failure) for one in node.items if one.failure is not None]
        said = "; ".join(f"{at} {_said(failure)}" for at, failure in bad)
        text = f"{len(bad)} of {len(node.items)} items failed: {said}"
        return StageResult.failure(text, metadata={"failed_items": [int(at[1:-1]) for at, _ in bad]})
    failure = node.failure
    assert failure is not None  # its status says so
    if failure.type == StageFailed.__name__ and stage.id in run.failed:
        return run.failed[stage.id]
    text = f"its condition failed: {failure}" if failure.kind == "condition" else _said(failure)
    return StageResult.failure(text, metadata={"error_type": failure.type, "attempts": node.attempts})


def _said(failure: Failure) -> str:
    return failure.text if failure.type in (StageFailed.__name__, Misused.__name__) else str(failure)


class PipelineExecutor:
    """Runs pipelines.

    It keeps what has succeeded of an execution that failed: when the same pipeline is executed again with an
    equal input, that is not done again.
    """

    def __init__(self) -> None:
        self._kept: list[_Execution] = []

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
        wrong = [] if hasattr(pipeline, "_made") else pipeline.validate()
        if wrong:
            return PipelineResult(False, {}, {}, ["validation"], 0.0, {"validation_errors": wrong})
        execution = _Execution(pipeline, input, context)
        execution.prepare(self._take(execution), runner, options)
        ended = await execution.arun()
        result = execution.finished(ended)
        if not result.success:
            self._kept.append(execution)
        return result

    def forget(self) -> None:
        """Lets go of all that is kept: the next execution begins at the beginning."""
        self._kept.clear()

    def _take(self, new: _Execution) -> dict[str, StageResult[Any]]:
        """What is kept of the same execution; what it has written is in the context then."""
        for at, old in enumerate(self._kept):
            if old.pipeline is new.pipeline and _same(old.input, new.input):
                del self._kept[at]
                if old.shared.context is new.shared.context:
                    new.shared.writes.update(old.shared.writes)
                else:
                    new.shared.update(old.shared.writes)
                return old.done
        return {}


async def _watch(run: Run) -> None:
    while True:
        run.look()
        await asyncio.sleep(_LOOK)


def _options(options: RunOptions | None, observers: tuple[Any, ...]) -> Any:
    if not isinstance(options, RunOptions):
        return RunOptions(observers=observers) if options is None else options
    if options.on_failure != "stop":
        raise InputError(
            f"on_failure={options.on_failure!r}: a pipeline of this kind stops at a failure, always"
        )
    fields: dict[str, Any] = {name: getattr(options, name) for name in options.__match_args__}
    return RunOptions(**{**fields, "observers": (*observers, *options.observers)})


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # arrays compare to arrays, and anything may raise
        return False
