"""What the runners share about streams: what counts as one, and how one is ended before it is exhausted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

from .returned import refuse_awaitable
from .visible import a_kind


def iterator_of(value: Any) -> Iterator[Any]:
    """What a streaming step returned, as an iterator.

    Only iterators pass. A list would do as well, but a step that returns one has all its elements already,
    and is annotated wrongly.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, Iterator):
        return value
    _refuse(value, "an iterator")


def async_iterator_of(value: Any) -> AsyncIterator[Any]:
    """What a streaming step returned, as an async iterator.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, AsyncIterator):
        return value
    _refuse(value, "an async iterator")


def close(elements: Iterator[Any]) -> None:
    """Ends an iterator for good, if it can be ended: the ``finally`` of a generator runs now."""
    ending = getattr(elements, "close", None)
    if ending is not None:
        ending()


def close_after_failure(elements: Iterator[Any]) -> None:
    """The same for one that has raised: what it raises now would only hide the reason."""
    try:
        close(elements)
    except BaseException:
        pass


def _refuse(value: Any, wanted: str) -> NoReturn:
    if hasattr(type(value), "__await__"):
        refuse_awaitable(value)
    raise TypeError(
        f"a step that streams returned {a_kind(value)}, not {wanted}; yield its elements one by one"
    )
