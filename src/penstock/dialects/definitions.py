"""Pipelines as definitions: stages that name their inputs, an executor, and results instead of exceptions.

A `PipelineDefinition` lists stages, objects with ``async execute(input, context)``; a `PipelineExecutor` runs
it. Every stage gives a `StageResult`. A failure stops the pipeline, always. What stages write into the
context's state and metrics counts once they have succeeded.

It must never run, wait or retry anything itself: a definition becomes a graph, made anew for each execution.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from penstock import wiring
from penstock.core.context import Context
from penstock.core.errors import CycleError, GraphError, nearest
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
from penstock.core.record import Record
from penstock.core.result import NodeResult, RunResult

from ._definitions_context import Overlay, PipelineContext
from ._definitions_run import Done, Run, check
from ._definitions_stages import ExecutionPattern, PipelineResult, PipelineStage, RetryConfig, StageDefinition
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


class PipelineDefinition(Record):
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
        return _graph(self, Run(self.stages, PipelineContext()))

    def to_mermaid(self) -> str:
        """Its graph as Mermaid source.

        Raises:
            GraphError: It is not valid.
        """
        return wiring.drawing(self.graph(), "mermaid")


# --- to a graph -------------------------------------------------------------------------------------------


def _reader(stage: StageDefinition) -> _Read:
    inputs = stage.inputs
    if not inputs:
        return _given
    return _only if len(inputs) == 1 else partial(_all, inputs)


def _given(given: Mapping[str, Any]) -> Any:
    return given["value"]


def _only(given: Mapping[str, Any]) -> Any:
    done = given["value0"]
    return None if done is None else done.result.output


def _all(inputs: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    found = [(id, given[f"value{at}"]) for at, id in enumerate(inputs)]
    return {id: None if done is None else done.result.output for id, done in found}


def _graph(pipeline: PipelineDefinition, run: Run) -> Graph:
    taken = {stage.id for stage in pipeline.stages}
    may_skip = {stage.id for stage in pipeline.stages if stage.condition is not None}
    nodes: list[Node] = []
    for stage in pipeline.stages:
        needs = [
            Need(id, "use", f"value{at}", Accepts.CONDITION if id in may_skip else Accepts.NOTHING)
            for at, id in enumerate(stage.inputs)
        ]
        head = _Head(tuple(needs), () if needs else (("value", "input"),), _condition(stage, run))
        if stage.pattern is ExecutionPattern.FAN_OUT:
            made = _fan_out(stage, run, head, taken)
            run.ids[stage.id] = tuple([node.id for node in made])
            nodes += made
        else:
            run.ids[stage.id] = (stage.id,)
            nodes.append(_work(stage, run, stage.id, head, _reader(stage)))
    return Graph(pipeline.name, nodes, [Input("input", users=tuple(taken))])


class _Head(NamedTuple):
    """What a node takes, and whether it is asked first; fields of `Node`."""

    needs: tuple[Need, ...]
    inputs: tuple[tuple[str, str], ...] = ()
    when: Condition | None = None


def _condition(stage: StageDefinition, run: Run) -> Condition | None:
    asked = stage.condition
    if asked is None:
        return None
    inputs = stage.inputs

    def ask(**given: Done | None) -> Any:
        # It is asked in the very turn in which the stages above it end: before observers are told.
        for at, id in enumerate(inputs):
            done = given[f"value{at}"]
            if done is not None:
                run.commit(id, done)
        answer = asked(run.view())
        return _truth(answer) if hasattr(answer, "__await__") else bool(answer)

    needs = tuple([(f"value{at}", at) for at in range(len(inputs))])
    return Condition(ask, needs, is_async=inspect.iscoroutinefunction(asked))


async def _truth(answer: Any) -> bool:
    return bool(await answer)


def _work(stage: StageDefinition, run: Run, id: str, head: _Head, read: _Read) -> Node:
    """A node that calls the stage itself."""
    execute: Any = stage.stage.execute
    is_async, retry = _is_async(execute), stage.retry_config
    if stage.input_type is not None:
        read = partial(_checked, stage, read)
    fans = stage.pattern is ExecutionPattern.FAN_OUT
    limit = Limit(f"fan-out of {stage.id}", stage.max_concurrent_fan_out) if fans else None
    return Node(
        id,
        (_later if is_async else _at_once)(stage, run, execute, read),
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
    )


def _is_async(execute: Any) -> bool:
    code = getattr(getattr(execute, "__func__", None), "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:  # far cheaper than to ask `inspect`
        return True
    return inspect.iscoroutinefunction(execute) or inspect.iscoroutinefunction(inspect.unwrap(execute))


def _checked(stage: StageDefinition, read: _Read, given: Mapping[str, Any]) -> Any:
    value = read(given)
    if value is not None:
        check(stage, "was given", value, stage.input_type)
    return value


def _later(stage: StageDefinition, run: Run, execute: Any, read: _Read) -> Callable[..., Any]:
    async def attempt(**given: Any) -> Done:
        context = run.view()
        return run.ended(stage, await execute(read(given), context), context)

    return attempt


def _at_once(stage: StageDefinition, run: Run, execute: Any, read: _Read) -> Callable[..., Any]:
    def attempt(attempt: Context, **given: Any) -> Done:
        context = run.view(attempt)
        return run.ended(stage, execute(read(given), context), context)

    return attempt


def _fan_out(stage: StageDefinition, run: Run, head: _Head, taken: set[str]) -> list[Node]:
    """Three nodes: one takes the list apart, one works on each item, one puts the results together."""
    read, mark = _reader(stage), ""
    while {f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"} & taken:
        mark += "'"

    def split(**given: Any) -> list[Any] | tuple[Any, ...]:
        value = read(given)
        if not isinstance(value, (list, tuple)):
            raise Misused(f"FAN_OUT stage '{stage.id}' needs a list or tuple, not {type(value).__name__}")
        return value

    def join(results: list[Done]) -> Done:
        outputs = [done.result.output for done in results]
        metadata: dict[str, Any] = {"items": len(results)}
        said = [(at, done.result.metadata.get("soft_fail")) for at, done in enumerate(results)]
        if any(reason is not None for _, reason in said):
            metadata["soft_fail"] = "; ".join(f"[{at}] {why}" for at, why in said if why is not None)
        made: StageResult[Any] = StageResult(output=outputs, metadata=metadata)
        return Done(made, _joined(stage, run, results))

    items, item = f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"
    return [
        Node(items, split, head.needs, inputs=head.inputs, when=head.when, runner="inline", keep=True),
        _work(stage, run, item, _Head((Need(items, "each", "value"),)), _given),
        Node(stage.id, join, (Need(item, "gather", "results"),), runner="inline", keep=True),
    ]


def _joined(stage: StageDefinition, run: Run, results: Sequence[Done]) -> tuple[Overlay, Overlay] | None:
    """What all items of a fan-out have written, in their order; it counts when all of them have succeeded."""
    whole = Overlay(run.context.state), Overlay(run.context.metrics)
    written = [done.writes for done in results if done.writes is not None]
    for writes in written:
        for what, overlay, mine in zip(("state", "metrics"), whole, writes, strict=True):
            if mine is not None:
                for key in overlay.own.keys() & mine.own.keys():
                    run.warn_of_two(what, key, f"items of stage '{stage.id}'")
                mine.apply(overlay)
    return whole if written else None


# --- and back ---------------------------------------------------------------------------------------------


def _finished(pipeline: PipelineDefinition, run: Run, ended: RunResult) -> PipelineResult:
    failures: dict[str, StageResult[Any]] = {}
    results: dict[str, StageResult[Any]] = {}
    cancelled: list[str] = []
    for stage in pipeline.stages:
        id = stage.id
        if id not in run.done:
            nodes = [ended.nodes[one] for one in run.ids[id]]
            failed = next((node for node in nodes if node.status is NodeStatus.FAILED), None)
            skip = nodes[-1].skip
            if skip is not None and skip.cause is SkipCause.CONDITION:
                run.done[id] = Done(StageResult.skipped("its condition was false"))
            elif failed is not None:
                failures[id] = _failure(stage, failed, run)
            else:
                cancelled += [id] if any(node.status is NodeStatus.CANCELLED for node in nodes) else []
        done = run.done.get(id)
        one = failures.get(id) if done is None else done.result
        if one is not None:
            named = one.stage_name or not stage.name
            results[id] = one if named else type(one)(**{**one.__dict__, "stage_name": stage.name})
    critical = [stage.id for stage in pipeline.stages if stage.critical and stage.id in results]
    warnings = [*run.warnings, *ended.warnings]
    metadata: dict[str, Any] = {
        "run_id": ended.run_id,
        "stage_durations_ms": {
            id: 1000 * sum(run.took.get(one, 0.0) for one in ids) for id, ids in run.ids.items()
        },
        "cancelled": cancelled,
        "skipped_critical": [id for id in critical if results[id].metadata.get("skipped") is True],
        **({"reason": ended.reason} if ended.reason else {}),
        **({"warnings": warnings} if warnings else {}),
    }
    outputs = {id: one.output for id, one in results.items() if id in run.done}
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
        self._kept: list[tuple[PipelineDefinition, Any, PipelineContext, dict[str, Done]]] = []

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
            ValueError: The options ask for another `on_failure`.
        """
        if not isinstance(pipeline, PipelineDefinition):
            raise TypeError(f"execute takes a PipelineDefinition, not {type(pipeline).__name__}")
        if context is None:
            context = PipelineContext()
        elif not isinstance(context, PipelineContext):
            raise TypeError(f"context is a PipelineContext, not {type(context).__name__}")
        run = Run(pipeline.stages, context)
        try:
            wrong = pipeline._wrong() and pipeline.validate()
            graph = None if wrong else _graph(pipeline, run)
        except GraphError:
            wrong, graph = pipeline.validate(), None
        if graph is None:
            return PipelineResult(False, {}, {}, ["validation"], 0.0, {"validation_errors": wrong})
        kept = self._take(pipeline, input, run)
        run.done.update(kept)
        prepared = wiring.Prepared(
            graph, {"input": input}, override=kept or None, runner=runner, options=_options(options, run)
        )
        run.cancel = prepared.engine.cancel
        run.look()
        watch = None if context.cancel_token is None else asyncio.ensure_future(_watch(run))
        try:
            ended = await prepared.arun()
        finally:
            if watch is not None:
                watch.cancel()
        result = _finished(pipeline, run, ended)
        if not result.success:
            self._kept.append((pipeline, input, context, run.done))
        return result

    def forget(self) -> None:
        """Lets go of all that is kept: the next execution begins at the beginning."""
        self._kept.clear()

    def _take(self, pipeline: PipelineDefinition, input: Any, run: Run) -> dict[str, Done]:
        """What is kept of the same execution; what it has written is in the context then."""
        for at, (known, given, context, done) in enumerate(self._kept):
            if known is pipeline and _same(given, input):
                del self._kept[at]
                run.restore(done, anew=context is not run.context)
                return done
        return {}


async def _watch(run: Run) -> None:
    while True:
        run.look()
        await asyncio.sleep(_LOOK)


def _options(options: RunOptions | None, run: Run) -> RunOptions:
    if options is None:
        return RunOptions(observers=(run.observe,))
    if options.on_failure != "stop":
        raise ValueError(
            f"on_failure={options.on_failure!r}: a pipeline of this kind stops at a failure, always"
        )
    fields: dict[str, Any] = {name: getattr(options, name) for name in options.__match_args__}
    return RunOptions(**{**fields, "observers": (run.observe, *options.observers)})


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # arrays compare to arrays, and anything may raise
        return False
