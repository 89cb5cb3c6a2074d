"""Whether what a process has loaded is what its files say now: a file may have been edited since.

A step that runs the old code must not be recorded as if it had run the new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from .fingerprint_values import const_text, functions_of, names_of

_MARGIN = 2.0
"""Seconds by which clocks and file systems may differ."""


def is_current(tree: Any, path: str, module: Any) -> bool:
    """Whether the functions of a module are those of its file.

    Args:
        tree: The syntax of the file.
        path: Of the file.
        module: The module, as it is loaded.
    """
    loader = type(names_of(module).get("__loader__")).__name__
    if loader not in ("SourceFileLoader", "NoneType"):
        return True  # it was compiled in a way of somebody's own, as pytest does it
    written: dict[tuple[str, int], list[CodeType]] = {}
    todo = [compile(tree, path, "exec", dont_inherit=True)]
    for code in todo:  # grows while it is read
        written.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
        todo += [one for one in code.co_consts if isinstance(one, CodeType)]
    for function in _functions(module):
        code = function.__code__
        if code.co_filename == path:
            found = written.get((code.co_qualname, code.co_firstlineno), ())
            if not any(_is_same(code, one) for one in found):
                return False
    return True


def may_be_edited(seconds: float) -> bool:
    """Whether a file of this time of change may have been edited after this process had loaded it."""
    return seconds > _start() - _MARGIN


def _functions(module: Any) -> Iterator[FunctionType]:
    for value in [*names_of(module).values()]:
        reached = getattr(type(value), "__penstock_code__", None)
        found = [value] if reached is None else reached(value)
        for one in found:
            if isinstance(one, type):
                yield from functions_of(one)
            while isinstance(one, FunctionType):
                yield one
                one = one.__dict__.get("__wrapped__")


def _is_same(code: CodeType, other: CodeType) -> bool:
    if (code.co_code, code.co_names) != (other.co_code, other.co_names):
        return False
    consts = [*zip(code.co_consts, other.co_consts, strict=False)]
    return len(code.co_consts) == len(other.co_consts) and all(_are_equal(*pair) for pair in consts)


def _are_equal(value: Any, other: Any) -> bool:
    if isinstance(value, CodeType) and isinstance(other, CodeType):
        return _is_same(value, other)
    return const_text(value) == const_text(other)


@lru_cache(maxsize=1)
def _start() -> float:
    """When this process was started; 0.0 where the system does not say, and every file may be edited."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            ticks = float(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="utf-8") as file:
            up = float(file.read().split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
