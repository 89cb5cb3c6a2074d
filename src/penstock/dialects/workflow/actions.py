"""Functions as tasks call them: what they take, and how they are given what a name cannot bring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from types import FunctionType
from typing import Any, Literal, NamedTuple

Action = Callable[..., Any]
Feed = Literal["one", "list", "all"]


class Call:
    """An action with what names cannot give it: arguments by position, and a transformation of its value.

    Args:
        action: What is called.
        args: By position.
        fed: Keywords that bring values for one more argument by position; None if there is none.
        feed: It takes the last of them (``one``), the ``list`` of them, or ``all``, each by its own position.
        transform: Takes the value of the action.
    """

    __slots__ = ("_action", "_args", "_fed", "_feed", "_transform")

    def __init__(
        self,
        action: Action,
        args: tuple[Any, ...],
        fed: tuple[str, ...] | None,
        feed: Feed,
        transform: Callable[[Any], Any] | None,
    ) -> None:
        self._action, self._args, self._fed = action, args, fed
        self._feed, self._transform = feed, transform

    def __penstock_code__(self) -> list[Any]:
        return [one for one in (self._action, self._transform, *self._args) if callable(one)]

    def __call__(self, **given: Any) -> Any:
        value = self._begin(given)
        return value if self._transform is None else self._transform(value)

    def _begin(self, given: dict[str, Any]) -> Any:
        if self._fed is None:
            return self._action(*self._args, **given)
        values = [given.pop(key) for key in self._fed]
        if self._feed == "all":
            return self._action(*self._args, *values, **given)
        return self._action(*self._args, values if self._feed == "list" else values[-1], **given)


class AsyncCall(Call):
    __slots__ = ()

    async def __call__(self, **given: Any) -> Any:
        value = await self._begin(given)
        return value if self._transform is None else self._transform(value)


class Reading(NamedTuple):
    """What an action takes.

    Attributes:
        names: Parameters that can be given by name, those that position can fill first.
        required: How many parameters can be given by position and must be given.
        hidden: Those that can be given by position only; they come first, and are none of `names`.
        is_async: A call must be awaited.
    """

    names: tuple[str, ...]
    required: int
    hidden: tuple[str, ...]
    is_async: bool

    def wants(self, args: int, bound: Collection[str]) -> bool:
        """Whether the parameter after so many arguments must still be given."""
        if args >= self.required:
            return False
        return args < len(self.hidden) or self.names[args - len(self.hidden)] not in bound


def read(action: Action) -> Reading:
    if type(action) is FunctionType and not action.__dict__:  # a plain one: `inspect` would take far longer
        code = action.__code__
        hidden, several = code.co_posonlyargcount, code.co_argcount
        names = code.co_varnames[hidden : several + code.co_kwonlyargcount]
        is_async = bool(code.co_flags & inspect.CO_COROUTINE)
        required = several - len(action.__defaults__ or ())
        return Reading(names, required, code.co_varnames[:hidden], is_async)
    try:
        parameters = inspect.signature(action).parameters.values()
    except ValueError:  # a built-in that does not say
        return Reading((), 1, ("?",), is_async_function(action))
    only, either, named = (
        [one for one in parameters if one.kind is kind]
        for kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
    )
    required = sum(one.default is one.empty for one in (*only, *either))
    names = tuple([one.name for one in (*either, *named)])
    return Reading(names, required, tuple([one.name for one in only]), is_async_function(action))


def innermost(action: Any) -> Any:
    while isinstance(action, partial):
        action = action.func
    return action


def is_async_function(action: Any) -> bool:
    inner = innermost(action)
    if inspect.iscoroutinefunction(inner):
        return True
    return not isinstance(inner, type) and inspect.iscoroutinefunction(type(inner).__call__)
