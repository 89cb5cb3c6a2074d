"""What pipelines are made of: statuses, results, and the stages that need no run of their own."""

from __future__ import annotations

import enum
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import Any, TypedDict, Unpack, cast

from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.errors import GraphError
from penstock.core.names import normal_id
from penstock.core.result import RunResult
from penstock.core.returned import refuse_awaitable

Given = dict[str, Any]
"""The context, as stages see it."""

Function = Callable[[Given], Any]
"""A function of the context, plain or async."""


class StageStatus(enum.Enum):
    """Where a stage stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class PipelineStatus(enum.Enum):
    """Where a pipeline stands."""

    CREATED = "created"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class StageResult:
    """How one stage ended.

    Attributes:
        stage_id: Its id.
        status: How it ended.
        output: What it returned; None unless it succeeded.
        error: Why it did not succeed; None where there is nothing to say.
        start_time: When its first attempt began, with its time zone; None if none did.
        end_time: When its last attempt ended.
    """

    stage_id: str
    status: StageStatus
    output: Any = None
    error: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def duration_ms(self) -> float:
        """Milliseconds from start to end, all attempts and the waits between them; 0.0 if it never began."""
        return milliseconds(self.start_time, self.end_time)

    @property
    def is_success(self) -> bool:
        return self.status is StageStatus.SUCCESS


@dataclass
class PipelineResult:
    """How a pipeline ended.

    Attributes:
        pipeline_id: Its id.
        status: How it ended.
        stages: The results of all its stages, each after those it depends on.
        start_time: When the run began.
        end_time: When it ended.
        run: The engine's own account of the run, with attempts, tracebacks and warnings.
    """

    pipeline_id: str
    status: PipelineStatus
    stages: list[StageResult] = field(default_factory=list)
    start_time: datetime | None = None
    end_time: datetime | None = None
    run: RunResult | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # The engine's account holds what runs hold, and stays here.
        return type(self), (self.pipeline_id, self.status, self.stages, self.start_time, self.end_time)

    def report(self, path: str | PathLike[str]) -> None:
        """Writes the run report: one HTML file that needs nothing else.

        Raises:
            OSError: It cannot be written.
            StoreError: The run's store cannot be read.
            TypeError: The result comes from elsewhere, and has no account of the run.
        """
        if self.run is None:
            raise TypeError(f"the result of pipeline {self.pipeline_id!r} has no account of the run")
        self.run.report(path)

    @property
    def duration_ms(self) -> float:
        """Milliseconds from start to end."""
        return milliseconds(self.start_time, self.end_time)

    @property
    def successful_stages(self) -> int:
        """How many stages succeeded."""
        return sum(1 for stage in self.stages if stage.is_success)

    @property
    def failed_stages(self) -> int:
        """How many stages failed."""
        return sum(1 for stage in self.stages if stage.status is StageStatus.FAILED)


class Options(TypedDict, total=False):
    """What every stage takes."""

    name: str | None
    depends_on: list[str] | None
    retry_count: int
    timeout_s: float | None


class Stage(ABC):
    """One stage of a pipeline; write `execute`, as a plain function or an async one.

    Args:
        stage_id: Its id, unique in the pipeline.
        name: What people call it; by default its id.
        depends_on: Ids of the stages that must have ended first.
        retry_count: Calls after the first, when it raises; 0.1 s before the first of them, and each wait
            twice the one before.
        timeout_s: Seconds for one call; None for no bound.

    Raises:
        TypeError: `depends_on` is no list of ids.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        stage_id: str,
        name: str | None = None,
        depends_on: list[str] | None = None,
        retry_count: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        where = f"{type(self).__name__} {stage_id!r}"
        if depends_on is not None and (
            isinstance(depends_on, (str, bytes, Mapping)) or not isinstance(depends_on, Iterable)
        ):
            hint = f"; say [{depends_on!r}]" if isinstance(depends_on, str) else ""
            raise TypeError(f"{where}: depends_on is a list of stage ids, not {shown(depends_on)}{hint}")
        for one in depends_on or ():
            if not isinstance(one, str):
                raise TypeError(f"{where}: depends_on is a list of stage ids, and {shown(one)} is none")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{where}: name is a text, not {shown(name)}")
        if not is_whole(retry_count) or retry_count < 0:
            raise ValueError(
                f"{where}: retry_count counts the calls after the first, so it is an int of 0 or more, "
                f"not {shown(retry_count)}"
            )
        if timeout_s is not None:
            check_seconds(where, "timeout_s", timeout_s, above=True)
        self.stage_id = stage_id
        self.name = name or stage_id
        self.depends_on: list[str] = list(depends_on or ())
        self.retry_count = retry_count
        self.timeout_s = timeout_s

    @abstractmethod
    def execute(self, context: dict[str, Any]) -> Any:
        """Does the work.

        Args:
            context: The run's context. What is written into it is seen by later stages once this one has
                succeeded.

        Returns:
            The stage's output, which others find in the context as ``stage_<id>_output``.
        """

    __penstock_options__: tuple[str, ...] = ("stage_id", "name", "depends_on", "retry_count", "timeout_s")

    def __penstock_code__(self) -> list[Any]:
        return [self._call(), self.on_success, self.on_failure]

    def _call(self) -> Function:
        """What an attempt in a run calls."""
        return self.execute

    def _check(self, jitter: bool) -> None:  # noqa: B027
        """Whether it can run; raises a GraphError if not."""

    def on_success(self, result: StageResult, context: dict[str, Any]) -> None:  # noqa: B027
        """Called once, when it has succeeded; what it writes into the context belongs to the stage."""

    def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:  # noqa: B027
        """Called once, when the last attempt has failed."""


class FunctionStage(Stage):
    """A stage made of a function of the context, plain or async.

    Raises:
        TypeError: `func` cannot be called.
    """

    def __init__(self, stage_id: str, func: Function, **kw: Unpack[Options]) -> None:
        super().__init__(stage_id, **kw)
        self.func = function_of(f"FunctionStage {stage_id!r}", "func", func)

    def execute(self, context: dict[str, Any]) -> Any:
        return self.func(context)

    def _call(self) -> Function:
        return self.func if is_plain(self, FunctionStage) else self.execute


class ConditionalStage(Stage):
    """A stage that runs another one if a condition holds, and otherwise is skipped.

    The dependencies of both count. The `retry_count` and `timeout_s` of the inner stage hold where this one
    has none of its own, and the hooks of both are called, those of the inner one first.

    Args:
        stage_id: Its id.
        condition: Asked once, when everything that the stage depends on has ended. What it writes into the
            context is lost.
        stage: The inner stage.
        kw: See `Stage`.

    Raises:
        TypeError: The condition cannot be called, or the inner stage is none.
    """

    def __init__(self, stage_id: str, condition: Function, stage: Stage, **kw: Unpack[Options]) -> None:
        super().__init__(stage_id, **kw)
        where = f"ConditionalStage {stage_id!r}"
        self.condition = function_of(where, "condition", condition)
        self.stage = checked(where, stage)

    def __penstock_code__(self) -> list[Any]:
        return [self.condition, self.stage, *super().__penstock_code__()]

    def execute(self, context: dict[str, Any]) -> Any:
        """What the inner stage gives, or None if the condition does not hold.

        Raises:
            TypeError: The condition is to be awaited, which only a run can do.
        """
        answer = self.condition(context)
        if hasattr(type(answer), "__await__"):
            refuse_awaitable(answer)
        return self.stage.execute(context) if answer else None


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def milliseconds(start: datetime | None, end: datetime | None) -> float:
    return 0.0 if start is None or end is None else (end - start).total_seconds() * 1000


def awaits(function: Any) -> bool:
    """Whether a call of it must be awaited."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__"):  # an object that can be called
        function = type(function).__call__
    return inspect.iscoroutinefunction(function)


def has_hooks(stage: Stage) -> bool:
    """Whether a stage has hooks of its own.

    Raises:
        GraphError: One of them is async.
    """
    found = False
    for word in ("on_success", "on_failure"):
        hook = getattr(stage, word)
        if getattr(hook, "__func__", None) is not getattr(Stage, word):
            found = True
            if awaits(hook):
                raise GraphError(
                    f"Stage {stage.stage_id!r}: {word} is async, and hooks are plain functions; "
                    "await in execute instead"
                )
    return found


def id_of(stage: Stage) -> str:
    """The id of a stage.

    Raises:
        GraphError: It has none, or one that breaks the rules of names.
    """
    if not isinstance(stage, Stage):
        raise GraphError(f"{shown(stage)} is no stage, and stands among the stages")
    missing = [word for word in ("stage_id", "depends_on", "retry_count") if not hasattr(stage, word)]
    if missing:
        raise GraphError(
            f"a {type(stage).__name__} has no {missing[0]}: its __init__ must call super().__init__(stage_id)"
        )
    id = stage.stage_id
    if normal_id(id, "stage") != id:
        raise GraphError(f"stage {id!a}: the id is not in its normal form (NFC)")
    return id


def flag(where: str, word: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise TypeError(f"{where}: {word} is True or False, not {shown(given)}")
    return given


def checked(where: str, given: Any) -> Stage:
    if not isinstance(given, Stage):
        hint = "; wrap it in a FunctionStage" if callable(given) and not isinstance(given, type) else ""
        raise TypeError(f"{where} takes a Stage, not {shown(given)}{hint}")
    return given


def function_of(where: str, word: str, given: Any) -> Function:
    if not callable(given):
        raise TypeError(f"{where}: {word} is a function of the context, not {shown(given)}")
    return cast("Function", given)


def is_plain(stage: Stage, kind: type[Stage]) -> bool:
    """Whether a stage is one of ours and does what ours does."""
    same = isinstance(stage, kind) and type(stage).execute is kind.execute
    return same and "execute" not in stage.__dict__
