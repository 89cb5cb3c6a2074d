"""A step as a node of a graph: how its function is given the outputs of others."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any, Literal

from penstock.core.errors import GraphError
from penstock.core.gate import Gate
from penstock.core.model import Failure, Need, Node, RetryPolicy, Timeout

from .config import StepConfig


class Step:
    """A step and what it takes to call it.

    Attributes:
        config: Its definition.
        raised: What its last attempt raised, for `on_failure`; the run itself keeps failures as text only.
        telling: The async `on_failure` of its last attempt; the next one, if it is async too, waits for it.
    """

    def __init__(self, config: StepConfig) -> None:
        self.config = config
        self._is_async = _is_async(config.func)
        if isinstance(config.func, Gate):
            self._needs = tuple([Need(name, "use", name) for name in config.depends_on])
            self._positions: tuple[tuple[str, Any], ...] = ()
        else:
            self._needs, self._positions = _binding(config)
        self.reset()

    def reset(self) -> None:
        """Forgets the last run."""
        self.raised: Exception | None = None
        self.telling: asyncio.Task[None] | None = None

    def node(self, jitter: Literal["full", "none"]) -> Node:
        """Its node in a graph."""
        config = self.config
        call: Callable[..., Any] = config.func
        if isinstance(call, Gate):
            return call.node(config.name, self._needs)
        if self._positions:
            call = partial(_by_position, call, self._positions)
        if config.on_failure is not None:
            call = self._noting(call)
        retry = None
        if config.retries:
            retry = RetryPolicy(config.retries + 1, config.retry_delay, inf, 2.0, jitter=jitter)
        timeout = None if config.timeout is None else Timeout(config.timeout)
        how: Any = {"is_async": self._is_async, "retry": retry, "timeout": timeout, "keep": True}
        return Node(config.name, call, self._needs, **how)

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call; the step notes what it raises."""

        def noting(**outputs: Any) -> Any:
            try:
                return call(**outputs)
            except Exception as error:
                self.raised = error
                raise

        async def noting_async(**outputs: Any) -> Any:
            if self.telling is not None and self.config.timeout is None:  # a timeout would run out meanwhile
                await asyncio.wait([self.telling])
            try:
                return await call(**outputs)
            except Exception as error:
                self.raised = error
                raise

        return noting_async if self._is_async else noting

    def text_of(self, failure: Failure) -> str:
        """The failure of an attempt in the words of this dialect."""
        text = failure.text or failure.type
        if self.config.timeout is not None and text == f"no result after {self.config.timeout:g} s":
            text = f"Step timed out after {self.config.timeout}s"
        return f"{text} ({failure.note})" if failure.note else text


def _binding(step: StepConfig) -> tuple[tuple[Need, ...], tuple[tuple[str, Any], ...]]:
    """The needs, with their parameters, and what is passed by position: its key and its default.

    A parameter named like a dependency takes its output; of the rest, those that can be passed by position
    take what is left, in order. Then ``**kwargs`` takes all that is still left, or else ``*args``.

    Raises:
        ValueError: A parameter without a default would get nothing.
    """
    try:
        params = list(inspect.signature(step.func).parameters.values())
    except (TypeError, ValueError):  # built in, without a signature
        params = [inspect.Parameter("outputs", inspect.Parameter.VAR_POSITIONAL)]
    kinds = {param.kind for param in params}
    plain = [p for p in params if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    taken = {p.name: p.name for p in plain if p.name in step.depends_on}  # by dependency
    left = [name for name in step.depends_on if name not in taken]
    for p in plain:
        if p.name not in taken and p.kind is not p.KEYWORD_ONLY and left:
            taken[left.pop(0)] = p.name
    filled = set(taken.values())
    for p in plain:
        if p.name not in filled and p.default is p.empty:
            text = f"Step {step.name!r} takes {p.name!r}, and none of its dependencies is left to give it"
            raise GraphError(f"{text} (depends_on={list(step.depends_on)})")
    rest = left if kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL} else []
    taken.update({name: name for name in rest})
    if inspect.Parameter.VAR_KEYWORD in kinds:
        rest = []
    placed = [p for p in plain if p.kind is p.POSITIONAL_ONLY or (rest and p.kind is not p.KEYWORD_ONLY)]
    needs = [Need(name, "use" if name in taken else "after", taken.get(name)) for name in step.depends_on]
    return tuple(needs), (*((p.name, p.default) for p in placed), *((name, None) for name in rest))


def _by_position(call: Callable[..., Any], positions: Iterable[tuple[str, Any]], /, **outputs: Any) -> Any:
    return call(*[outputs.pop(name, default) for name, default in positions], **outputs)


def _is_async(call: Callable[..., Any]) -> bool:
    """Whether what it returns is to be awaited, of an object too that is called like a function."""
    own = call if isinstance(call, type) else type(call).__call__
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(own)
