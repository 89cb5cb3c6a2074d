"""Folds: the items of a map, taken one by one in input order, in slices as they end (semantics.md §2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .commands import ENDED, FOLDED, OK, Reply
from .machine.judge import takes
from .machine.state import SUCCEEDED, State
from .returned import Written

_MOST = 10_000  # items of one slice: a fold can be stopped between two


def fold_slice(function: Callable[[Any, Any], Any], so_far: Any, items: Sequence[Any]) -> Any:
    """What an attempt of a fold calls.

    Raises:
        TypeError: The function hands back writes. What became of them would depend on the slices.
    """
    for item in items:
        so_far = function(so_far, item)
        if type(so_far) is Written:
            raise TypeError("a fold writes nothing into what the steps share; let it give a plain value")
    return so_far


class Folds:
    """What the folds of one run have so far. It is kept nowhere else: a fold starts over from the items.

    Args:
        state: The run's state; read only.
    """

    __slots__ = ("_slices", "_so_far", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._so_far: dict[int, Any] = {}
        self._slices: dict[int, tuple[int, int, bool]] = {}  # by number: token, its end, is it the last

    def arguments(self, i: int, token: int, of: Any) -> dict[str, Any]:
        """The arguments of `fold_slice` for the items that have ended and are not taken yet."""
        s = self._state
        fan, place = s.folding(i)
        upto = at = s.folded.get(i, 0)
        items = []
        for row in fan.rows[at : at + _MOST]:
            item = row + place
            if not takes(s, i, item):
                break
            if s.status[item] == SUCCEEDED:
                items.append(s.value[item])
            upto += 1
        self._slices[i] = (token, upto, not s.waits[i] and upto == len(fan.rows))
        from copy import deepcopy

        so_far = self._so_far.get(i) if at else deepcopy((of.bound or {}).get("initial"))
        return {"function": of.call, "so_far": so_far, "items": items}

    def heard(self, reply: Reply) -> Reply:
        """The ending of a slice: that of the whole fold, or of no more than the slice."""
        if reply[0] != ENDED or reply[1] not in self._slices or self._slices[reply[1]][0] != reply[2]:
            return reply
        i = reply[1]
        token, upto, last = self._slices.pop(i)
        if reply[3] != OK or last:
            return reply
        self._so_far[i] = reply[4]
        return (FOLDED, i, token, upto, reply[6], reply[7])

    def __bool__(self) -> bool:
        return bool(self._slices)
