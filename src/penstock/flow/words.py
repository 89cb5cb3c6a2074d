"""Types, values and places in words, as short as they can be said without lying."""

from __future__ import annotations

import sys
import types
from functools import partial
from typing import Any, ForwardRef, TypeVar, Union, get_args, get_origin


def slot(step: Any, name: str, word: str = "") -> str:
    """How error texts name a parameter of a step, or of its `word` (``when``, ``trigger``)."""
    return f"step {step.id!r}: {f'parameter {name!r} of its {word}' if word else f'its parameter {name!r}'}"


def brief(value: Any) -> str:
    """The repr of a value, at most 40 characters of it."""
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def call_name(function: Any) -> str:
    """What texts call a function: its name, or its type where it has none."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else short(type(function))


def short(type_: Any) -> str:
    """``list[Order]`` rather than ``list[app.model.Order]``; at most 60 characters."""
    text = _name(type_, 5)
    return text if len(text) <= 60 else text[:59] + "…"


def _name(type_: Any, deep: int) -> str:
    if type_ is None or type_ is type(None):
        return "None"
    if type_ is ...:
        return "..."
    if deep == 0:
        return "…"
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return _union(get_args(type_), deep)
    if origin is not None:
        return f"{_plain(origin)}[{', '.join(_arg(arg, deep - 1) for arg in get_args(type_))}]"
    return _plain(type_)


def _union(args: tuple[Any, ...], deep: int) -> str:
    names = [_name(arg, deep) for arg in args]
    if len(names) == 3 and names[1:] == ["Failure", "Skip"] and names[0].startswith("Ok["):
        return f"Outcome{names[0][2:]}"
    return " | ".join(names)


def _arg(arg: Any, deep: int) -> str:
    if isinstance(arg, (list, tuple)):  # the parameters of a Callable
        return f"[{', '.join(_name(one, deep) for one in arg)}]"
    if isinstance(arg, (str, int, bytes)) and not isinstance(arg, type):  # the values of a Literal
        return repr(arg)
    return _name(arg, deep)


def _plain(type_: Any) -> str:
    if isinstance(type_, ForwardRef):
        return type_.__forward_arg__
    if isinstance(type_, (TypeVar, str)):
        return str(type_)
    name = getattr(type_, "__qualname__", None) or getattr(type_, "__name__", None)
    if not isinstance(name, str):
        name = str(type_)
    return name.rpartition("<locals>.")[2].removeprefix("typing.")


def in_cell() -> bool:
    """Whether a cell of a notebook, or a prompt, called us: what ran there may well run once more."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    file = frame.f_code.co_filename
    return "get_ipython" in frame.f_globals or file.startswith(("<stdin", "<ipython-input", "<python-input"))


_OURS = __name__.partition(".")[0] + "."
