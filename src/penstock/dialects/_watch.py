"""What observers see of a run, told as what becomes of its tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from penstock.core import events
from penstock.core.model import Failure, SkipCause

from ._tasks import Results, Task, TaskStatus

Progress = Callable[[str, str, dict[str, Any]], object]

LOGGER = "penstock.dialects.workflow"

FALSE, SKIPPED_ABOVE, FAILED_ABOVE = "condition_false", "dependency_skipped", "dependency_failed"
"""Why a task was skipped."""


class ResultsSoFar(Results):
    """They come while others read, so whoever goes through them goes through a copy."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(dict.keys(self)))

    def copy(self) -> Results:
        return {name: self[name] for name in self}

    def keys(self) -> Any:
        return self.copy().keys()

    def values(self) -> Any:
        return self.copy().values()

    def items(self) -> Any:
        return self.copy().items()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)


class Watch:
    """The observer of one run.

    Args:
        name: Of the workflow.
        tasks: By name; they are changed as things happen.
        progress: Told of everything at once.
        fail_fast: What a failure keeps from starting stays pending, and is not skipped.

    Attributes:
        results: Of the tasks that have ended, by name.
        deadline: Seconds that the run has, for the text.
        late: The run's time is over.
        elapsed: Seconds that the run took.
    """

    def __init__(
        self, name: str, tasks: Mapping[str, Task], progress: Progress | None, *, fail_fast: bool
    ) -> None:
        self.results = ResultsSoFar()
        self.deadline: float | None = None
        self.late = False
        self.elapsed = 0.0
        self._name = name
        self._tasks = tasks
        self._progress = progress
        self._fail_fast = fail_fast
        self._began: dict[str, float] = {}
        self._start = 0.0
        self._heard: dict[type[Any], Callable[[Any], None]] = {
            events.RunStarted: self._run_started,
            events.NodeStarted: self._started,
            events.NodeInterrupted: self._given_back,
            events.NodeRetrying: self._retrying,
            events.NodeSucceeded: self._succeeded,
            events.NodeFailed: self._failed,
            events.NodeCancelled: self._cancelled,
            events.NodeSkipped: self._skipped,
            events.DeadlineReached: self._deadline_reached,
            events.RunFinished: self._run_finished,
        }

    def too_late(self) -> str:
        """What to say of a run whose time is over."""
        return f"Workflow timeout after {self.deadline}s"

    def __call__(self, event: Any) -> None:
        heard = self._heard.get(type(event))
        if heard is not None:
            heard(event)

    def _tell(self, name: str, status: str, details: dict[str, Any]) -> None:
        callback = self._progress
        if callback is None:
            return
        try:
            callback(name, status, details)
        except BaseException:  # as of any observer: nothing that only looks on may change a run
            logging.getLogger(LOGGER).exception(
                "progress_callback of workflow %r raised: %s %s", self._name, name, status
            )

    def _run_started(self, event: events.RunStarted) -> None:
        self._start = event.at
        self._tell("workflow", "started", {"total_tasks": len(self._tasks)})

    def _started(self, event: events.NodeStarted) -> None:
        task = self._tasks[event.path.node]
        task.status = TaskStatus.RUNNING
        task.attempts += 1
        self._tell(task.name, "running", {})

    def _given_back(self, event: events.NodeInterrupted) -> None:
        task = self._tasks[event.path.node]
        task.status = TaskStatus.PENDING
        task.attempts -= 1

    def _retrying(self, event: events.NodeRetrying) -> None:
        task, failure = self._tasks[event.path.node], event.failure
        self._began.setdefault(task.name, event.began)
        task.status = TaskStatus.RETRYING
        policy = task.retry_policy
        delay = event.due - event.ended
        if policy is not None and policy.jitter != "full":
            delay = max(policy.get_delay(failure.attempt), failure.retry_after or 0.0)
        error = self._error(task, failure)
        self._tell(task.name, "retrying", {"attempt": failure.attempt, "delay": delay, "error": error})

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        task = self._timed(event)
        self.results[task.name] = task._end(TaskStatus.COMPLETED, event.value)
        if self._progress is not None:
            details = {"execution_time": task.execution_time, "attempts": task.attempts}
            self._tell(task.name, "completed", details)

    def _failed(self, event: events.NodeFailed) -> None:
        task = self._timed(event)
        self._has_failed(task, self._error(task, event.failure))

    def _cancelled(self, event: events.NodeCancelled) -> None:
        task = self._timed(event)
        self._has_failed(task, f"Task {task.name!r} was cancelled")

    def _has_failed(self, task: Task, error: str) -> None:
        self.results[task.name] = task._end(TaskStatus.FAILED, None, error)
        self._tell(task.name, "failed", {"error": error})

    def _skipped(self, event: events.NodeSkipped) -> None:
        if event.cause is SkipCause.STOPPED:
            return
        if event.cause is SkipCause.UPSTREAM:
            if self._fail_fast:
                return
            reason = FAILED_ABOVE
        else:
            reason = FALSE if event.because == event.path else SKIPPED_ABOVE
        task = self._tasks[event.path.node]
        self.results[task.name] = task._end(TaskStatus.SKIPPED, None, reason)
        self._tell(task.name, "skipped", {"reason": reason})

    def _deadline_reached(self, _: events.DeadlineReached) -> None:
        self.late = True

    def _run_finished(self, event: events.RunFinished) -> None:
        self.elapsed = event.at - self._start
        statuses = [task.status for task in self._tasks.values()]
        ended = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED)
        counts = {status.value: statuses.count(status) for status in ended}
        self._tell("workflow", "completed", {**counts, "elapsed": self.elapsed})

    def _timed(self, event: events.NodeSucceeded | events.NodeFailed | events.NodeCancelled) -> Task:
        task = self._tasks[event.path.node]
        began = self._began.get(task.name, event.began) if self._began else event.began
        task.execution_time = max(0.0, event.ended - began)
        return task

    def _error(self, task: Task, failure: Failure) -> str:
        if failure.kind == "timeout":
            return self.too_late() if self.late else f"Task {task.name!r} timed out after {task.timeout}s"
        if failure.kind == "condition":
            return f"the condition of task {task.name!r} failed: {failure}"
        said = failure.text or failure.type
        return f"{said} ({failure.note})" if failure.note else said
