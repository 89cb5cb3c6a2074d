"""Something that is dear to make, kept as long as what it was made of stays the same.

A graph, for faces whose objects may be changed between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Makes it when it is first asked for, and again when something has changed. Safe in any thread."""

    def __init__(self) -> None:
        self._last: tuple[list[Any], list[Any], T] | None = None  # one value: two threads may ask at a time

    def of(self, values: list[Any], objects: list[Any], make: Callable[[], T]) -> T:
        """The thing.

        Args:
            values: What it is made of, where an equal value would do.
            objects: The rest: these very objects. Somebody's function may equal another one, and do its work
                elsewhere.
            make: Makes it.
        """
        last = self._last
        if last is not None and _same(values, last[0], objects, last[1]):
            return last[2]
        made = make()
        self._last = values, objects, made
        return made


def _same(values: list[Any], others: list[Any], objects: list[Any], other_objects: list[Any]) -> bool:
    if len(objects) != len(other_objects) or not all(map(is_, objects, other_objects)):
        return False
    try:
        return values == others
    except Exception:  # somebody's own type, which cannot be compared
        return False
