"""How a pipeline runs, and what a step is: what people say, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.model import RetryPolicy
from penstock.core.names import normal_id


@dataclass(frozen=True)
class PipelineConfig:
    """How a pipeline runs.

    Attributes:
        name: What people call it.
        max_concurrent: Steps that run at the same time, at most; None for no bound.
        stop_on_first_failure: The first failure ends the run: running steps are cancelled, others skipped.
        jitter: ``full`` spreads the waits before retries, ``none`` keeps them exact.

    Raises:
        TypeError: A flag is none.
        ValueError: A value is out of range; the message names it.
    """

    name: str = "pipeline"
    max_concurrent: int | None = 5
    stop_on_first_failure: bool = False
    jitter: Literal["full", "none"] = "none"

    def __post_init__(self) -> None:
        normal_id(self.name, "pipeline")
        most = self.max_concurrent
        if most is not None and not (is_whole(most) and most > 0):
            raise ValueError(f"PipelineConfig: max_concurrent is an int from 1, or None, not {shown(most)}")
        if not isinstance(stop := self.stop_on_first_failure, bool):
            raise TypeError(f"PipelineConfig: stop_on_first_failure is True or False, not {shown(stop)}")
        RetryPolicy(jitter=self.jitter)  # says what is wrong with it


@dataclass(frozen=True)
class StepConfig:
    """One step, defined.

    Attributes:
        name: Unique in its pipeline.
        func: What is called, async or not.
        depends_on: The steps it waits for.
        retries: Extra calls after the first one failed.
        retry_delay: Seconds before the first retry, twice as many before the next, and so on.
        timeout: Seconds for one attempt; None for no bound.
        skip_on_error: When a dependency fails it is skipped, where otherwise it fails too.
        on_failure: Called with the exception after each attempt that failed; may be async.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: A value is out of range, or a parameter of the function that nothing would fill.
    """

    name: str
    func: Callable[..., Any]
    depends_on: tuple[str, ...] = ()
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None
    skip_on_error: bool = False
    on_failure: Callable[[Exception], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normal_id(self.name))
        where = f"Step {self.name!r}"
        if not callable(self.func):
            raise TypeError(f"{where}: func is a function, not {shown(self.func)}")
        if inspect.isgeneratorfunction(self.func) or inspect.isasyncgenfunction(self.func):
            raise TypeError(f"{where}: a step returns its output, and this function yields; return a list")
        object.__setattr__(self, "depends_on", step_names(self.depends_on, where, "depends_on"))
        if not is_whole(self.retries) or self.retries < 0:
            raise ValueError(f"{where}: retries counts the extra calls, from 0, not {shown(self.retries)}")
        check_seconds(where, "retry_delay", self.retry_delay)
        if self.timeout is not None:
            check_seconds(where, "timeout", self.timeout, above=True)
        if not isinstance(self.skip_on_error, bool):
            raise TypeError(f"{where}: skip_on_error is True or False, not {shown(self.skip_on_error)}")
        if self.on_failure is not None and not callable(self.on_failure):
            raise TypeError(
                f"{where}: on_failure takes a function of the error, not {shown(self.on_failure)}"
            )


class StepOptions(TypedDict, total=False):
    retries: int
    retry_delay: float
    timeout: float | None
    skip_on_error: bool
    on_failure: Callable[[Exception], Any] | None


def step_names(given: Any, where: str, what: str) -> tuple[str, ...]:
    """A list of step names, each once.

    Raises:
        TypeError: It is none.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        hint = f"; say {what}=[{given!r}]" if isinstance(given, str) else ""
        raise TypeError(f"{where}: {what} is a list of step names, not {shown(given)}{hint}")
    for name in (names := tuple(given)):
        if not isinstance(name, str):
            raise TypeError(f"{where}: {what} is a list of step names, and {shown(name)} is none")
    return tuple(dict.fromkeys([normal_id(name) for name in names]))
