"""One run, and what came of it in the words of this vocabulary."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from penstock.core import events
from penstock.core.model import Failure, NodeStatus, SkipCause
from penstock.core.result import NodeResult, RunResult
from penstock.wiring import Prepared

from .config import StepConfig
from .results import StepResult, StepStatus
from .step import Step

_LOG = logging.getLogger("penstock.dialects.steps")

_WORDS = {"ready": "pending", "waiting": "pending", "succeeded": "success", "cancelled": "failed"}
"""The core's words for statuses, where they are others."""


class Run:
    """One run and its results; where somebody is to be told of failures also an observer of its events.

    Args:
        steps: All steps of the pipeline, by name.

    Attributes:
        steps: As given.
        prepared: What runs; None before it is ready, and after its end.
        last: What it has come to; None before its end.
    """

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self.steps = dict(steps)
        self.prepared: Prepared | None = None
        self.last: RunResult | None = None
        self._results: dict[str, StepResult] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, event: Any) -> None:
        if isinstance(event, (events.NodeFailed, events.NodeRetrying)):
            step = self.steps[event.path.node]
            if step.config.on_failure is not None:
                self._tell(step, step.config.on_failure, event.failure)

    async def arun(self) -> dict[str, StepResult]:
        """Runs to the end on the running loop, and to that of every `on_failure`."""
        assert self.prepared is not None
        try:
            await self.prepared.arun()
        finally:
            if self._telling:
                await asyncio.wait(self._telling)
            self.ended()
        return self.results()

    def ended(self) -> None:
        """Puts down the results, now that it has come to its end."""
        assert self.prepared is not None
        self._results, self.last = self._translated(), self.prepared.result()
        self.prepared = None

    def results(self) -> dict[str, StepResult]:
        """The results as they stand."""
        return dict(self._results) if self.prepared is None else self._translated()

    def _tell(self, step: Step, on_failure: Callable[[Exception], Any], failure: Failure) -> None:
        """Tells somebody of an attempt that failed; what they do or raise changes nothing."""
        error, step.raised = step.raised, None
        if failure.kind == "timeout":
            error = TimeoutError(step.text_of(failure))
        try:
            said = on_failure(error or RuntimeError(str(failure)))
        except BaseException:  # as of any observer: nothing that only looks on may change a run
            _LOG.exception("on_failure of step %r raised", step.config.name)
            return
        if inspect.isawaitable(said):
            step.telling = asyncio.get_running_loop().create_task(_awaited(step.config.name, said))
            self._telling.add(step.telling)

    def _translated(self) -> dict[str, StepResult]:
        assert self.prepared is not None
        nodes, graph = self.prepared.result().nodes, self.prepared.engine.plan.graph
        found: dict[str, StepResult] = {}
        rest: dict[str, NodeResult] = {}
        good, done, at, tz = NodeStatus.SUCCEEDED, StepStatus.SUCCESS, datetime.fromtimestamp, UTC
        end, last = at(0, tz), 0.0
        for node in nodes.values():
            name, status, _, value, _, _, _, attempts, _, _, _, began, ended = node
            if status is good and began is not None and ended is not None:
                start = end if began == last else at(began, tz)  # one that follows another at once
                end, last = at(ended, tz), ended
                took, retries = (ended - began) * 1000.0, attempts - 1
                found[name] = StepResult(name, done, value, None, start, end, took, retries)
            else:
                rest[name] = node
        if not rest:
            return found
        now = self.prepared.engine.clock()
        for position in graph.order:  # whoever speaks of its dependencies comes after them
            name = graph.nodes[position].id
            if name in rest:
                found[name] = self._result(rest[name], now, found)
        return {name: found[name] for name in nodes}

    def _result(self, node: NodeResult, now: float, found: Mapping[str, StepResult]) -> StepResult:
        """The result of a step of which there is more to say than that it succeeded."""
        step, error = self.steps[node.path], None
        status = StepStatus(_WORDS.get(node.status.value, node.status.value))
        if node.failure is not None:
            error = step.text_of(node.failure)
        elif node.status is NodeStatus.CANCELLED:
            error = "Step cancelled"
        elif node.skip is not None:
            status, error = _why_not(step.config, node, found)
            if node.skip.cause is SkipCause.UPSTREAM:
                now = max(found[name].finished_at.timestamp() for name in step.config.depends_on)
        began = node.began or now
        ended = node.ended or max(began, now)
        retries = max(node.attempts - 1, 0)
        return StepResult(node.path, status, node.value, error, *_times(began, ended), retries)


def _times(began: float, ended: float) -> tuple[datetime, datetime, float]:
    at = datetime.fromtimestamp
    return at(began, UTC), at(ended, UTC), (ended - began) * 1000.0


def _why_not(step: StepConfig, node: NodeResult, found: Mapping[str, StepResult]) -> tuple[StepStatus, str]:
    """What a step that was never started shows, and why."""
    if node.skip is not None and node.skip.cause is SkipCause.UPSTREAM:
        first = {found[name].status: name for name in reversed(step.depends_on)}
        if StepStatus.FAILED not in first:
            return StepStatus.SKIPPED, f"Skipped due to skipped dependency {first[StepStatus.SKIPPED]!r}"
        if step.skip_on_error:
            return StepStatus.SKIPPED, f"Skipped due to failed dependency {first[StepStatus.FAILED]!r}"
        return StepStatus.FAILED, f"Dependency {first[StepStatus.FAILED]!r} failed"
    return StepStatus.SKIPPED, f"Skipped because {node.reason or 'the run stopped'}"


async def _awaited(name: str, said: Any) -> None:
    try:
        await said
    except Exception:
        _LOG.exception("on_failure of step %r raised", name)
