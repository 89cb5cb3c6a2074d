"""Tasks of a workflow, and what became of them."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from penstock.core.amounts import check_seconds, shown
from penstock.core.model import RetryPolicy
from penstock.core.names import normal_id

from ._actions import Action


class TaskStatus(enum.Enum):
    """Where a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    RETRYING = "retrying"


@dataclass
class TaskResult:
    """What became of a task.

    Attributes:
        success: Whether it completed.
        value: What its action returned, transformed.
        error: Why it did not complete, as text; None also where it was never started.
        execution_time: Seconds from the start of its first attempt to the end of its last.
        attempts: Calls of its action.
    """

    success: bool
    value: Any = None
    error: str | None = None
    execution_time: float = 0.0
    attempts: int = 1


Results = dict[str, TaskResult]


@dataclass(eq=False)
class Task:
    """One unit of work.

    Attributes:
        name: Unique within its workflow.
        action: A plain or an async function.
        args, kwargs: What it is called with; a dependency never replaces one of them.
        dependencies: Names of the tasks that must complete first.
        timeout: Seconds for one attempt.
        retry_policy: When to try again; None for one call.
        condition: Takes the results so far; false skips the task. May be async.
        transform_result: Makes the task's value of what the action returned, as a part of the attempt.
        tags, metadata: The caller's own.
        status, result, error, attempts, execution_time: How the last run went, as it goes.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: The name or the timeout cannot be used.
    """

    name: str
    action: Action
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    dependencies: Collection[str] = ()
    timeout: float | None = None
    retry_policy: RetryPolicy | None = None
    condition: Callable[[Results], bool | Awaitable[bool]] | None = None
    transform_result: Callable[[Any], Any] | None = None
    tags: Collection[str] = ()
    metadata: Mapping[str, Any] | None = None
    status: TaskStatus = field(default=TaskStatus.PENDING, init=False)
    result: Any = field(default=None, init=False)
    error: str | None = field(default=None, init=False)
    attempts: int = field(default=0, init=False)
    execution_time: float = field(default=0.0, init=False)
    _feed: Literal["one", "list"] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = normal_id(self.name, "task")
        self.args = list(self._several("args"))
        self.dependencies = [normal_id(each, "task") for each in self._several("dependencies")]
        self.tags = list(self._several("tags"))
        for name in ("kwargs", "metadata"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise self._wrong(name, "is a dict", value)
            setattr(self, name, dict(value or ()))
        if not callable(self.action):
            raise self._wrong("action", "must be callable", self.action)
        for name in ("condition", "transform_result"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise self._wrong(name, "must be callable", value)
        if self.timeout is not None:
            check_seconds(f"Task {self.name!r}", "timeout", self.timeout, above=True)
        if self.retry_policy is not None and not isinstance(self.retry_policy, RetryPolicy):
            raise self._wrong("retry_policy", "is a RetryPolicy", self.retry_policy)

    def should_run(self, results: Results) -> bool:
        """Whether its condition holds; a condition that raises says no here, and fails the task in a run."""
        if self.condition is None:
            return True
        try:
            return bool(self.condition(results))
        except Exception:
            return False

    def get_result(self) -> TaskResult:
        """Its status, value, error and times as a `TaskResult`."""
        done = self.status is TaskStatus.COMPLETED
        return TaskResult(done, self.result, self.error, self.execution_time, self.attempts)

    def _several(self, name: str) -> Iterable[Any]:
        value = getattr(self, name)
        if value is None:
            return ()
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            hint = f"; say {name}=[{value!r}]" if isinstance(value, str) else ""
            raise TypeError(f"Task {self.name!r}: {name} is a list, not {shown(value)}{hint}")
        return value

    def _wrong(self, name: str, rule: str, value: object) -> TypeError:
        return TypeError(f"Task {self.name!r}: {name} {rule}, not {shown(value)}")

    def _reset(self) -> None:
        self.status, self.result, self.error = TaskStatus.PENDING, None, None
        self.attempts, self.execution_time = 0, 0.0

    def _end(self, status: TaskStatus, value: Any = None, error: str | None = None) -> TaskResult:
        self.status, self.result, self.error = status, value, error
        return self.get_result()


class TaskOptions(TypedDict, total=False):
    """What `Workflow.add_task` takes by keyword; see `Task`."""

    timeout: float | None
    retry_policy: RetryPolicy | None
    condition: Callable[[Results], bool | Awaitable[bool]] | None
    transform_result: Callable[[Any], Any] | None
    tags: Collection[str]
    metadata: Mapping[str, Any] | None
