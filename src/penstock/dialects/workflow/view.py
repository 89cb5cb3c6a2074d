"""One run of a workflow, seen as what becomes of its tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from penstock.core import events
from penstock.core.model import Failure, NodeStatus, SkipCause
from penstock.core.result import NodeResult
from penstock.core.views import Ended

from .tasks import Results, Seen, Task, TaskResult, TaskStatus

Progress = Callable[[str, str, dict[str, Any]], object]

LOGGER = "penstock.dialects.workflow"

FALSE, SKIPPED_ABOVE, FAILED_ABOVE = "condition_false", "dependency_skipped", "dependency_failed"
"""Why a task was skipped."""

_STATUS = {NodeStatus.RUNNING: TaskStatus.RUNNING, NodeStatus.RETRYING: TaskStatus.RETRYING}
"""Of what has not ended; all else is pending."""

_DONE, _SUCCEEDED = TaskStatus.COMPLETED, NodeStatus.SUCCEEDED
_OPEN = (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RETRYING)


class View:
    """What becomes of the tasks of one run.

    Args:
        tasks: By name.
        fail_fast: What a failure keeps from starting stays pending, and is not skipped.

    Attributes:
        nodes: Of the run, once it is prepared.
        ended: Those that have ended, as they come.
        deadline: Seconds that the run has, for the text.
        is_late: Whether the run's time is over.
    """

    def __init__(self, tasks: Mapping[str, Task], *, fail_fast: bool) -> None:
        self.nodes: Mapping[str, NodeResult] = {}
        self.ended: Ended | None = None
        self.deadline: float | None = None
        self.is_late: Callable[[], bool] = bool
        self._tasks = tasks
        self._fail_fast = fail_fast

    def too_late(self) -> str:
        """What to say of a run whose time is over."""
        return f"Workflow timeout after {self.deadline}s"

    def task(self, name: str) -> Seen:
        """How a task stands."""
        try:
            node = self.nodes[name]
        except KeyError:  # it is not part of this run
            return TaskStatus.PENDING, TaskResult(False, attempts=0)
        return self.of(node)

    def of(self, node: NodeResult) -> Seen:
        """The task of a node."""
        name, status, _, value, failure, _, skip, attempts, duration, _, _, _, _ = node
        if status is _SUCCEEDED:
            return _DONE, TaskResult(True, value, None, duration or 0.0, attempts)
        if failure is not None:
            error = self.error(self._tasks[name], failure)
            return TaskStatus.FAILED, TaskResult(False, None, error, duration or 0.0, attempts)
        if status is NodeStatus.CANCELLED:
            error = f"Task {name!r} was cancelled"
            return TaskStatus.FAILED, TaskResult(False, None, error, duration or 0.0, attempts)
        reason = None if skip is None else self.reason(skip.cause, skip.because == name)
        if reason is not None:
            return TaskStatus.SKIPPED, TaskResult(False, None, reason, 0.0, attempts)
        return _STATUS.get(status, TaskStatus.PENDING), TaskResult(False, attempts=attempts)

    def reason(self, cause: SkipCause, own: bool) -> str | None:
        """Why a task was skipped; None if it only never started."""
        if cause is SkipCause.CONDITION:
            return FALSE if own else SKIPPED_ABOVE
        return FAILED_ABOVE if cause is SkipCause.UPSTREAM and not self._fail_fast else None

    def error(self, task: Task, failure: Failure) -> str:
        """What to say of a failure."""
        if failure.kind == "timeout":
            return (
                self.too_late() if self.is_late() else f"Task {task.name!r} timed out after {task.timeout}s"
            )
        if failure.kind == "condition":
            return f"the condition of task {task.name!r} failed: {failure}"
        said = failure.text or failure.type
        return f"{said} ({failure.note})" if failure.note else said


class ResultsSoFar(Results):
    """The results of the tasks that have ended, each made when somebody looks at it.

    They come while others read, so whoever goes through them goes through a copy.
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._known: Results = {}  # the same, for a copy to be one act whatever other threads do

    def __missing__(self, name: str) -> TaskResult:
        status, result = self._view.of(self._view.nodes[name])
        if status is not _DONE and status in _OPEN:
            raise KeyError(name)
        self[name] = self._known[name] = result
        return result

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def copy(self) -> Results:
        if self._view.ended is not None:
            self._view.ended.take(self._know)
        return self._known.copy()

    def _know(self, node: NodeResult) -> None:
        status, result = self._view.of(node)
        if status not in _OPEN:
            self[node.path] = self._known[node.path] = result

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self.copy())

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def keys(self) -> Any:
        return self.copy().keys()

    def values(self) -> Any:
        return self.copy().values()

    def items(self) -> Any:
        return self.copy().items()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)


class Teller:
    """An observer that tells somebody of progress.

    Args:
        name: Of the workflow.
        tasks: By name.
        view: Of the run.
        progress: Who is told, at once.
    """

    def __init__(self, name: str, tasks: Mapping[str, Task], view: View, progress: Progress) -> None:
        self._name = name
        self._tasks = tasks
        self._view = view
        self._progress = progress
        self._start = 0.0
        self._heard: dict[type[Any], Callable[[Any], None]] = {
            events.RunStarted: self._run_started,
            events.NodeStarted: self._started,
            events.NodeRetrying: self._retrying,
            events.NodeSucceeded: self._succeeded,
            events.NodeFailed: self._failed,
            events.NodeCancelled: self._failed,
            events.NodeSkipped: self._skipped,
            events.RunFinished: self._run_finished,
        }

    def __call__(self, event: Any) -> None:
        heard = self._heard.get(type(event))
        if heard is not None:
            heard(event)

    def _tell(self, name: str, status: str, details: dict[str, Any]) -> None:
        try:
            self._progress(name, status, details)
        except BaseException:  # as of any observer: nothing that only looks on may change a run
            logging.getLogger(LOGGER).exception(
                "progress_callback of workflow %r raised: %s %s", self._name, name, status
            )

    def _run_started(self, event: events.RunStarted) -> None:
        self._start = event.at
        self._tell("workflow", "started", {"total_tasks": len(self._tasks)})

    def _started(self, event: events.NodeStarted) -> None:
        self._tell(event.path.node, "running", {})

    def _retrying(self, event: events.NodeRetrying) -> None:
        task, failure = self._tasks[event.path.node], event.failure
        policy = task.retry_policy
        delay = event.due - event.ended
        if policy is not None and policy.jitter != "full":
            delay = max(policy.get_delay(failure.attempt), failure.retry_after or 0.0)
        error = self._view.error(task, failure)
        self._tell(task.name, "retrying", {"attempt": failure.attempt, "delay": delay, "error": error})

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        result = self._view.task(event.path.node)[1]
        details = {"execution_time": result.execution_time, "attempts": result.attempts}
        self._tell(event.path.node, "completed", details)

    def _failed(self, event: events.NodeFailed | events.NodeCancelled) -> None:
        self._tell(event.path.node, "failed", {"error": self._view.task(event.path.node)[1].error})

    def _skipped(self, event: events.NodeSkipped) -> None:
        reason = self._view.reason(event.cause, event.because == event.path)
        if reason is not None:
            self._tell(event.path.node, "skipped", {"reason": reason})

    def _run_finished(self, event: events.RunFinished) -> None:
        statuses = [self._view.task(name)[0] for name in self._tasks]
        ended = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED)
        counts = {status.value: statuses.count(status) for status in ended}
        self._tell("workflow", "completed", {**counts, "elapsed": event.at - self._start})
