"""How long the steps of a flow have taken so far: what is known of a run before it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Final

from .entries import path_of
from .model import RunStatus
from .resume import parsed
from .storage import RunEntry, Store

RUNS: Final = 5
"""Earlier runs that are asked."""

_ROWS: Final = 5_000
_LENGTH: Final = 4_000_000
"""Rows of a journal, and characters, beyond which it is not read: it is not worth the time."""

_TIMES: Final = {"ok": (4, 5), "fail": (4, 5), "retry": (5, 6)}
"""Where an entry says when an attempt began and ended."""

_Spans = dict[str, float]


def expected(
    store: Store,
    flow: str,
    *,
    within: float = 0.05,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds that each step took, from the start of its first attempt to the end of its last one: the median
    of the last few runs that succeeded, as many as can be read in time.

    Args:
        store: Where the runs are.
        flow: Name of the flow.
        within: Seconds that it may take.
        clock: Measures them.

    Returns:
        By the step's id; of a mapped step over all its items. Under the empty id that of a whole run. Empty
        if there was no such run.

    Raises:
        StoreError: The store cannot be read.
    """
    until = clock() + within
    found: dict[str, list[float]] = {}
    for entry in store.runs(flow=flow, status=RunStatus.SUCCEEDED.value, limit=RUNS):
        if clock() >= until:
            break
        spans = _spans(store, entry, lambda: clock() >= until)
        if spans is None:
            continue
        for id, seconds in spans.items():
            found.setdefault(id, []).append(seconds)
        found.setdefault("", []).append(max(0.0, entry.updated - entry.created))
    return {id: median(times) for id, times in found.items()}


def _spans(store: Store, entry: RunEntry, is_late: Callable[[], bool]) -> _Spans | None:
    """Those of one run; None if it went on after a pause, which nobody could expect, or is too long."""
    if entry.rows > _ROWS:
        return None
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    length = 0
    for number, text in enumerate(store.rows(entry.run_id), 1):
        length += len(text)
        if length > _LENGTH or number > _ROWS or is_late():
            return None
        for one in parsed(text, entry.run_id, number):
            if one[0] == "again":
                return None
            where = _TIMES.get(one[0])
            if where is None:
                continue
            id = path_of(one[1]).node
            first, last = one[where[0]], one[where[1]]
            began[id] = min(first, began.get(id, first))
            ended[id] = max(last, ended.get(id, last))
    return {id: max(0.0, ended[id] - at) for id, at in began.items()}
