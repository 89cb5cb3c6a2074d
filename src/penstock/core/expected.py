"""How long the steps of a flow have taken so far: what is known of a run before it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from .model import RunStatus
from .resume import parsed
from .storage import RunEntry, Store

RUNS: Final = 5
"""Earlier runs that are asked."""

_ROWS: Final = 5_000
_LENGTH: Final = 4_000_000
"""Rows of a journal, and characters, beyond which it is not read: it is not worth the time."""

_SHARE: Final = 0.01
_LONGEST: Final = 0.25
"""What the order of a run may cost: so much of the time that a run takes, and so many seconds."""

_EACH: Final = 20e-6
"""Seconds that it takes to read what a step has taken, and to rank it, by and large."""

_TIMES: Final = {"ok": (4, 5), "fail": (4, 5), "retry": (5, 6)}
"""Where an entry says when an attempt began and ended."""

_SOURCE: Final = 7
"""Where an entry says whence a value came, if the step was not run for it."""

_Clock = Callable[[], float]
_Times = dict[tuple[Any, ...], tuple[float, float]]
"""By id and items: when the first attempt began, and the last one ended."""


def expected(
    store: Store, flow: str, *, within: float = 0.05, clock: _Clock = time.perf_counter
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
        found.setdefault("", []).append(_took(entry))
    return {id: _median(times) for id, times in found.items()}


def durations(store: Store, flow: str, steps: int, *, clock: _Clock = time.perf_counter) -> dict[str, float]:
    """Seconds that a call of each step took in the last few runs that succeeded: what a run is ranked by.

    To look back must not cost more than a better order could save: it may take a hundredth of the time that
    the runs took, so nobody looks back at steps that are over at once.

    Args:
        store: Where the runs are.
        flow: Name of the flow.
        steps: How many it has now.
        clock: Measures what it costs.

    Returns:
        By the step's id: the median of the runs; of a mapped step, the median of its items in each of them.
        Empty if there was no such run, or if it is not worth the time.

    Raises:
        StoreError: The store cannot be read.
    """
    began = clock()
    until = float("inf")

    def is_late() -> bool:
        return clock() >= until

    found: dict[str, list[float]] = {}
    for entry in _latest(store, flow):
        until = min(until, began + _LONGEST, began + _SHARE * _took(entry))
        if clock() + steps * _EACH >= until:
            break
        times = _times(store, entry, is_late)
        if times is None:
            continue
        items: dict[str, list[float]] = {}
        for path, (first, last) in times.items():
            items.setdefault(path[0], []).append(max(0.0, last - first))
        for id, seconds in items.items():
            found.setdefault(id, []).append(_median(seconds))
    return {id: _median(seconds) for id, seconds in found.items()}


def _latest(store: Store, flow: str) -> Iterator[RunEntry]:
    """The last few runs that succeeded, one at a time: most often the first one says that it is enough."""
    before: int | None = None
    for _ in range(RUNS):
        page = store.runs(flow=flow, status=RunStatus.SUCCEEDED.value, before=before, limit=1)
        yield from page
        if not page:
            break
        before = page[0].number


def _median(values: list[float]) -> float:
    """As of `statistics`, whose import takes longer than many a run."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _took(entry: RunEntry) -> float:
    return max(0.0, entry.updated - entry.created)


def _spans(store: Store, entry: RunEntry, is_late: Callable[[], bool]) -> dict[str, float] | None:
    """Those of one run, by step; None as for `_times`, or if its journal is too long."""
    if entry.rows > _ROWS:
        return None
    times = _times(store, entry, is_late, rows=_ROWS, length=_LENGTH)
    if times is None:
        return None
    spans: dict[str, tuple[float, float]] = {}
    for path, (first, last) in times.items():
        began, ended = spans.get(path[0], (first, last))
        spans[path[0]] = min(first, began), max(last, ended)
    return {id: max(0.0, ended - began) for id, (began, ended) in spans.items()}


def _times(
    store: Store,
    entry: RunEntry,
    is_late: Callable[[], bool],
    *,
    rows: float = float("inf"),
    length: float = float("inf"),
) -> _Times | None:
    """Those of one run; None if it went on after a pause, which nobody could expect, or is too long."""
    found: _Times = {}
    for number, text in enumerate(store.rows(entry.run_id), 1):
        length -= len(text)
        if length < 0 or number > rows or is_late():
            return None
        for one in parsed(text, entry.run_id, number):
            if one[0] == "again":
                return None
            where = _TIMES.get(one[0])
            if where is None or (one[0] == "ok" and len(one) > _SOURCE and one[_SOURCE] != "run"):
                continue
            path = (one[1],) if isinstance(one[1], str) else tuple(one[1])
            first, last = one[where[0]], one[where[1]]
            began, ended = found.get(path, (first, last))
            found[path] = min(first, began), max(last, ended)
    return found
