"""Tasks of a workflow, and what became of them."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from penstock.core.amounts import check_seconds, shown
from penstock.core.model import RetryPolicy
from penstock.core.names import normal_id
from penstock.core.returned import refuse_awaitable

from .actions import Action


class TaskStatus(enum.Enum):
    """Where a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    RETRYING = "retrying"


@dataclass(slots=True)
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

Seen = tuple[TaskStatus, TaskResult]
"""What can be seen of a task at one moment."""

Live = Callable[[str], Seen]
"""The same of a run that goes on, by the task's name."""

NEVER: Seen = (TaskStatus.PENDING, TaskResult(False, attempts=0))


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
    _feed: Literal["one", "list"] | None = field(default=None, init=False, repr=False)
    _seen: Seen = field(default=NEVER, init=False, repr=False)
    _live: Live | None = field(default=None, init=False, repr=False)

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
        self._check()

    def _check(self) -> None:
        """Whether it can run as it is now."""
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
            answer = self.condition(results)
            if hasattr(type(answer), "__await__"):  # only a run can do that
                refuse_awaitable(answer)
            return bool(answer)
        except Exception:
            return False

    @property
    def status(self) -> TaskStatus:
        """Where it stands, in the run that goes on or else in the last one."""
        return self._now()[0]

    @property
    def result(self) -> Any:
        """Its value; None as long as it has not completed."""
        return self._now()[1].value

    @property
    def error(self) -> str | None:
        """Why it did not complete."""
        return self._now()[1].error

    @property
    def attempts(self) -> int:
        """Calls of its action so far."""
        return self._now()[1].attempts

    @property
    def execution_time(self) -> float:
        """Seconds from the start of its first attempt to the end of its last one."""
        return self._now()[1].execution_time

    def get_result(self) -> TaskResult:
        """Its value, error and times as a `TaskResult`."""
        return self._now()[1]

    def _now(self) -> Seen:
        return self._seen if self._live is None else self._live(self.name)

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


class GateOptions(TypedDict, total=False):
    """What `Workflow.add_gate` takes besides; see `Task`."""

    condition: Callable[[Results], bool | Awaitable[bool]] | None
    tags: Collection[str]
    metadata: Mapping[str, Any] | None


class TaskOptions(GateOptions, total=False):
    """What `Workflow.add_task` takes by keyword; see `Task`."""

    timeout: float | None
    retry_policy: RetryPolicy | None
    transform_result: Callable[[Any], Any] | None
