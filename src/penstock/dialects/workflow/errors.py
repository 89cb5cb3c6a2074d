"""What goes wrong with a workflow as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.core import errors
from penstock.core.errors import GraphError, PenstockError

from .tasks import TaskResult


class WorkflowError(PenstockError):
    """Base of all that goes wrong with a workflow as a whole."""


class CycleError(WorkflowError, errors.CycleError):
    """The dependencies of some tasks run in a circle; `cycle` holds the names in order."""

    def __init__(self, cycle: Iterable[str]) -> None:
        super().__init__(cycle)
        self.args = (f"Circular dependency detected: {' -> '.join(self.cycle)}",)


class TaskFailedError(WorkflowError):
    """A task failed; raised by `Workflow.raise_for_failure` only.

    Attributes:
        task_name: Its name.
        result: Its `TaskResult`.
    """

    def __init__(self, task_name: str, result: TaskResult) -> None:
        super().__init__(f"Task {task_name!r} failed: {result.error}")
        self.task_name = task_name
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task_name, self.result)


class InvalidWorkflow(WorkflowError, GraphError):
    """The tasks do not fit together; nothing was started."""
