"""One execution of a pipeline, and what came of it in the words of this vocabulary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from penstock import wiring
from penstock.core.errors import InputError
from penstock.core.model import Failure, NodeStatus, RunOptions, RunStatus, SkipCause
from penstock.core.ports import AtOnce
from penstock.core.result import NodeResult, RunResult

from .context import PipelineContext
from .graph import Made
from .results import Misused, StageFailed, StageResult
from .shared import Run
from .stages import Named, PipelineResult, StageDefinition

_LOOK = 0.05
"""Seconds between two looks at a cancel token while no stage begins or ends."""


class Execution:
    """One execution of a pipeline.

    Attributes:
        shared: What its stages share.
        done: The results of those that succeeded or were skipped by a condition, by id, once it has ended.
        prepared: The engine's part of it.
    """

    prepared: wiring.Prepared

    def __init__(
        self, stages: Sequence[StageDefinition], made: Made, input: Any, context: PipelineContext
    ) -> None:
        self.stages = stages
        self.made = made
        self.input = input
        self.shared = Run(stages, context)
        self.done: dict[str, StageResult[Any]] = {}

    def prepare(self, done: Mapping[str, Any], runner: Any, options: RunOptions | None, **kept: Any) -> None:
        """Makes it ready to run.

        Args:
            done: Results, by stage, of what need not run again.
            runner, options: As of `Flow.run`.
            kept: `targets`, `store`, `run_id` and `target`, as of `wiring.prepared`.
        """
        token = self.shared.context.cancel_token
        observers = () if token is None else (AtOnce(self.shared.look),)
        graph, inputs, run_id = self.made.graph, {"input": self.input}, kept.get("run_id")
        if kept.get("store") is not None:
            self.shared.keep(run_id, wiring.texts(graph))
            if run_id is not None and self.input is None:
                inputs, kept["own"] = {}, ({}, inputs)
        self.prepared = wiring.prepared(
            graph,
            inputs,
            override=done or None,
            runner=runner,
            options=_options(options, observers),
            shared=cast(Any, self.shared),
            **kept,
        )
        if self.prepared.engine.durable is not None:
            self.shared.run_id = self.prepared.engine.run_id
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
        """Runs it, and waits for the end. The outputs are what the stages give, not their results."""
        ended = wiring.run_prepared(self.prepared)
        outputs: dict[str, Any] = {}
        warnings = [*ended.warnings, *self.shared.warnings]
        for id, node in ended.nodes.items():
            if id in self.made.ids and node.status is NodeStatus.SUCCEEDED:
                result = _result(node)
                outputs[id], more = result.output, result.metadata
                if "soft_fail" in more:
                    warnings.append(f"stage {id!r} failed softly: {more['soft_fail']}")
                elif more.get("skipped") is True:
                    warnings.append(f"stage {id!r} was skipped: {more.get('reason', 'it says no more')}")
        told = RunResult(ended.run_id, ended.status, ended.nodes, outputs, warnings=tuple(warnings))
        for name in ("began", "duration", "tolerated", "abandoned", "reason", "usage", "stored", "page"):
            setattr(told, name, getattr(ended, name))
        return told

    def finished(self, ended: RunResult) -> PipelineResult:
        """What it has come to, in the words of this vocabulary."""
        ids, nodes = self.made.ids, {node.path: node for node in ended.nodes.values()}
        took: dict[str, float] = {}
        others: list[StageDefinition] = []
        for stage in self.stages:
            id, node = stage.id, nodes[stage.id]
            took[id] = 1000 * (node.duration or 0.0)
            if node.status is NodeStatus.SUCCEEDED:
                self.done[id] = _result(node)
            else:
                others.append(stage)
        for id, mine in ids.items() if len(ids) < len(nodes) else ():
            took[id] = 1000 * sum(nodes[one].duration or 0.0 for one in mine)
        failures: dict[str, StageResult[Any]] = {}
        cancelled: list[str] = []
        waiting: list[str] = []
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
            elif own[-1].status is NodeStatus.WAITING:
                waiting.append(stage.id)
        if others:
            known = self.done
            self.done = {stage.id: known[stage.id] for stage in self.stages if stage.id in known}
        results = Named(self.stages, {**self.done, **failures})
        warnings = [*self.shared.warnings, *ended.warnings]
        metadata: dict[str, Any] = {
            "run_id": ended.run_id,
            "stage_durations_ms": took,
            "cancelled": cancelled,
            "skipped_critical": results.skipped_critical(),
            **({"waiting": waiting} if waiting else {}),
            **({"reason": ended.reason} if ended.reason else {}),
            **({"warnings": warnings} if warnings else {}),
        }
        outputs = {id: one.output for id, one in self.done.items()}
        success = ended.status is RunStatus.SUCCEEDED
        return PipelineResult(success, outputs, results, [*failures], 1000 * ended.duration, metadata)


def _result(node: NodeResult) -> StageResult[Any]:
    """What a stage has given that has succeeded; of a gate that is the answer alone."""
    value = node.value
    return value if isinstance(value, StageResult) else StageResult(output=value)


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
    kind = {} if failure.type == StageFailed.__name__ else {"error_type": failure.type}
    return StageResult.failure(text, metadata={**kind, "attempts": node.attempts})


def _said(failure: Failure) -> str:
    return failure.text if failure.type in (StageFailed.__name__, Misused.__name__) else str(failure)


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
