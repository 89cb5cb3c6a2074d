"""What travels with an attempt: its function once, its arguments each time, and context variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from importlib import import_module
from itertools import count
from pickle import Pickler as PlainPickler
from types import FunctionType
from typing import Any, NamedTuple

from penstock.core.context import CURRENT, Context
from penstock.core.errors import InputError
from penstock.core.failures import RetryOn, text_of
from penstock.core.ports import Work

from . import frames, reference
from .child import Task
from .frames import Parcel

MakePickler = Callable[..., PlainPickler]
Variables = tuple[tuple[str, str, Any], ...]
"""Context variables, each as (module, name, value)."""

_TASKS = 1_000  # that are remembered
_CURRENT_AT = Context.__module__


class Parts(NamedTuple):
    """An attempt, taken apart for its way.

    Attributes:
        flag: As in the work, and whether a context travels.
        arguments: Without the context.
        param: What takes the context; None if the call takes none.
        travelled: What makes the context there; None without one.
    """

    flag: int
    arguments: dict[str, Any]
    param: str | None
    travelled: Any


def parts_of(work: Work) -> Parts:
    """Takes an attempt apart."""
    _, _, _, arguments, _, context, flag = work
    if context is None:
        return Parts(flag, arguments, None, None)
    param = None
    for name, value in arguments.items():
        if value is context:
            param = name
    if param is not None:
        arguments = {name: value for name, value in arguments.items() if name != param}
    return Parts(flag | frames.CONTEXT, arguments, param, context.travel())


class Tasks:
    """How the steps of a pool's runs travel.

    Args:
        pickler: Makes what pickles functions.
    """

    def __init__(self, pickler: MakePickler = reference.Pickler) -> None:
        self.pickler = pickler
        self._known: dict[tuple[int, ...], Task] = {}
        self._numbers = count(1)

    def task(self, call: Any, retry_on: RetryOn, context: str | None, variables: Variables) -> Task:
        """How a step travels.

        Raises:
            ValueError: It cannot; the text says why.
        """
        key = (id(call), id(retry_on), hash(context), id(variables))
        known = self._known.get(key)
        if known is not None and (type(call) is FunctionType or reference.is_lent(call)):
            return known
        parcel = self._pack(call, retry_on, context, variables)
        if known is not None and known.parcel == parcel:  # what is bound to it has not changed since
            return known
        if len(self._known) >= _TASKS:
            self._known.clear()
        task = self._known[key] = Task(next(self._numbers), parcel, (call, retry_on, variables))
        return task

    def forget(self) -> None:
        """Lets go of all of them."""
        self._known.clear()

    def _pack(self, call: Any, retry_on: RetryOn, context: str | None, variables: Variables) -> Parcel:
        try:
            return frames.pack((call, retry_on, context, variables), self.pickler)
        except BaseException as error:
            reference.check_function(call)
            raise ValueError(f"retry_on cannot travel to a process: {text_of(error)}") from None


def pack_arguments(
    arguments: dict[str, Any], travelled: Any, *, thorough: bool, pickler: MakePickler = reference.Pickler
) -> Parcel:
    """The arguments of an attempt, and what makes its context, as they travel.

    Args:
        arguments: By name.
        travelled: See `Parts`.
        thorough: What stands in the main module may be found by nobody else: look at every value.
        pickler: Makes what pickles functions and classes.

    Raises:
        TypeError: One of them cannot be pickled; the text says which.
    """
    if travelled is None and all(map(frames.is_small, arguments.values())):
        return frames.pack_small((arguments, None))
    if not thorough:
        try:
            return frames.pack((arguments, travelled))
        except BaseException:
            pass
    try:
        return frames.pack((arguments, travelled), pickler)
    except BaseException as error:
        raise _named(arguments, error, pickler) from None


def _named(arguments: dict[str, Any], error: BaseException, pickler: MakePickler) -> Exception:
    """An error that says which argument cannot be pickled."""
    for name, value in arguments.items():
        try:
            frames.pack(value, pickler)
        except BaseException as own:
            kind = type(value).__name__
            return TypeError(f"argument {name!r} (of type {kind}) cannot travel to a process: {text_of(own)}")
    return TypeError(f"the arguments cannot travel to a process: {text_of(error)}")


def variables(names: Sequence[str]) -> Variables:
    """The context variables of these names that are set here, with their values; and the run that we are in.

    Raises:
        InputError: There is no such variable, or its value cannot be pickled.
    """
    found = []
    for both in names:
        module, _, name = both.partition(":")
        try:
            variable = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"context_vars: {both!r} cannot be found: {error}") from None
        if not isinstance(variable, ContextVar):
            raise InputError(f"context_vars: {both!r} is a {type(variable).__name__}, not a ContextVar")
        try:
            value = variable.get()
            frames.pack(value, reference.Pickler)
        except LookupError:
            continue
        except Exception as error:
            raise InputError(f"context_vars: the value of {both!r} cannot be pickled: {error}") from None
        found.append((module, name, value))
    here = CURRENT.get()
    if here is not None:
        found.append((_CURRENT_AT, "CURRENT", here))
    return tuple(found)
