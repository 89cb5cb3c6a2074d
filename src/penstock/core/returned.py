"""What a call may return that is more, or less, than a value."""

from __future__ import annotations

from collections.abc import Mapping
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn

from .visible import a_kind


class Written(NamedTuple):
    """The value of an attempt that has also written into the state which the run's steps share.

    Only what a call returns is looked at: an element of a stream, or a value that is given in place of an
    attempt, is a value like any other.

    Attributes:
        value: Its value.
        writes: What it has written, by key. It counts with the attempt's success, and only then.
    """

    value: Any
    writes: Mapping[Any, Any]


class Away:
    """Stands for a value that has stayed where it was made. Runners that leave it there have their own."""

    __slots__ = ()


UNUSUAL: set[type[Any]] = {CoroutineType, Written}
"""What is looked at before it is taken for a value: `Written`, and what a step that is not async must not
return. The event loop's runner adds types of its own."""


def taken_apart(returned: Any) -> Written:
    """The value and the writes of something `UNUSUAL`.

    Raises:
        TypeError: It should have been awaited, or its writes are no mapping.
        Exception: Whatever a mapping of the user's own raises.
    """
    if type(returned) is not Written:
        refuse_awaitable(returned)
    value, writes = returned
    if type(value) in UNUSUAL:
        if type(value) is Written:
            raise TypeError("the step returned a Written inside a Written; its writes are one mapping")
        refuse_awaitable(value)
    if type(writes) is dict:
        return returned
    if not isinstance(writes, Mapping):
        raise TypeError(f"the writes of a step are a mapping, not {a_kind(writes)}")
    return Written(value, dict(writes))  # what its methods raise is raised here, in the attempt


def refuse_awaitable(value: Any) -> NoReturn:
    """Closes it and asks for the forgotten ``await``.

    Raises:
        TypeError: Always.
    """
    close = getattr(value, "close", None)
    if close is not None:
        close()  # or Python warns, later and elsewhere, that it was never awaited
    raise TypeError(f"the step returned {a_kind(value)}, not its result; did you forget await?")
