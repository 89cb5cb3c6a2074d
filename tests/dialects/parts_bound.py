"""What the tests of the contracts of pipelines and workflows share: runs that cannot hang, and odd values."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

BOUND = 30.0
"""Seconds: what waits so long waits for ever."""

Value = TypeVar("Value")


def bounded(call: Callable[[], Value]) -> Value:
    """What the call gives or raises; it runs in a thread that may be left behind.

    Raises:
        AssertionError: It does not end.
    """
    values: list[Value] = []
    errors: list[BaseException] = []

    def go() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]
    return values[0]


def raising(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    """A function that raises it, whatever it is called with."""

    def act(*_: Any, **__: Any) -> Any:
        raise error

    return act


def failing(times: int, value: Any = "done") -> Callable[..., Any]:
    """A function that raises so many times first."""
    left = [times]

    def act(*_: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise ValueError(f"{left[0]} more")
        return value

    return act


def doing(*acts: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls these, one after the other, and gives what the last one gives."""

    def act(*args: Any) -> Any:
        value = None
        for each in acts:
            value = each(*args)
        return value

    return act


class Alike:
    """A function that equals every other one of its kind, whatever it gives."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *_: Any) -> Any:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 1


class Odd(BaseException):
    """Neither an Exception nor one of those that Python itself makes."""


class NoBool:
    """An answer that is neither yes nor no, as an array has it."""

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")


class Answer:
    """Something to await that is no coroutine; it gives False."""

    def __await__(self) -> Any:
        yield from ()
        return False
