"""The input ``context``, made by a function of the user: for what no text on a command line can tell."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core.model import Input

from .exits import Misuse
from .given import CONTEXT, OTHERS, fits, listed
from .target import Target, users_trace, value_of
from .types import name_of

HELP = "call this without arguments for the input 'context'; FACTORY is a function in a file or module"


def context(words: str, target: Target, known: Sequence[Input], given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, with what the factory gives.

    That is the input ``context``. Where there is none of that name, but any is taken, it is a dict of inputs,
    over which those that were given win.

    Args:
        words: ``module:factory`` or ``file.py:factory``, or the same of the object itself.
        target: What takes it.
        known: Its inputs.
        given: Those that were given.

    Raises:
        Misuse: There is no such thing, or it cannot be called, or raises, or gives something else; or the
            target takes no context.
    """
    by_name = {one.name: one for one in known}
    wanted = by_name.get(CONTEXT) or (Input(CONTEXT, dict) if OTHERS in by_name else None)
    if wanted is None:
        where = f"{target.where}:{target.name}"
        raise Misuse(f"--context: {where} takes no input {CONTEXT!r}; it takes {listed(by_name)}")
    if CONTEXT in by_name and CONTEXT in given:
        raise Misuse(f"the input {CONTEXT!r} is given twice")
    value = _made(words, wanted)
    return {**given, CONTEXT: value} if CONTEXT in by_name else {**value, **given}


def _made(words: str, wanted: Input) -> Any:
    found = value_of(words)
    if not callable(found) or (isinstance(wanted.type, type) and isinstance(found, wanted.type)):
        if not fits(found, wanted):
            raise Misuse(f"{words} is of type {_kind(found)}, neither a function nor {name_of(wanted.type)}")
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise Misuse(f"{words} is called without arguments: {error}") from None
    except ValueError:  # built in, without a signature
        pass
    try:
        value = found()
    except (Exception, SystemExit) as error:
        raise Misuse(f"{words} raised", trace=users_trace(error)) from None
    if inspect.isawaitable(value):
        getattr(value, "close", bool)()  # or Python warns of it later
        raise Misuse(f"{words} is async, and no event loop runs yet; give a plain function")
    if not fits(value, wanted):
        raise Misuse(f"{words} gave {_kind(value)}, not {name_of(wanted.type)}")
    return value


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
