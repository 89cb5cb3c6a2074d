"""The order in which ready nodes start: rank, and inside a map lowest element, then deepest step.

A map stands in the run's queue under the number of its outermost head; its items have a queue of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappush
from typing import Any

from .state import Fan, State


def item_key(s: State, i: int) -> Any:
    """What an item is ordered by inside its outermost map.

    Numbers do where no map lies inside another: rows are made in the order of elements, and a row lists its
    nodes deepest first. Otherwise rows are made as inner maps open, and the path decides.
    """
    fan = s.fans[i - s.total]
    if s.plan.levels[fan.scope].flat:
        return i
    return ((*fan.order, s.element[i - s.total]), s.plan.place[s.site[i]], i)


def order_key(s: State, i: int) -> Any:
    """What any two nodes of a run can be ordered by."""
    if i < s.total:
        return (i, 0, i)
    return (_entry(s, s.fans[i - s.total].top), item_key(s, i), i)


def _entry(s: State, top: Fan) -> int:
    plan = s.plan
    return plan.node[plan.levels[top.scope].base + plan.levels[top.scope].head]


def enqueue(s: State, i: int) -> None:
    """Puts a ready node, or one whose retry is due, in its queue."""
    runner = s.plan.runner[s.plan.node[s.site[i]]]
    if i < s.total:
        heappush(s.ready[runner].heap, i)
        return
    top = s.fans[i - s.total].top
    heappush(top.queues[runner].heap, item_key(s, i))
    _list(s, top, runner)


def enqueue_row_heads(s: State, fan: Fan, rows: Sequence[int], head: int) -> None:
    """Puts the heads of new rows in their queue, all at once."""
    if not rows:
        return
    plan = s.plan
    top = fan.top
    runner = plan.runner[plan.node[plan.levels[fan.scope].base + head]]
    keys = [row + head for row in rows]
    if not plan.levels[fan.scope].flat:
        keys = [item_key(s, i) for i in keys]
    queue = top.queues[runner]
    if not queue.front:
        keys.reverse()
        queue.front = keys
    elif len(keys) * 8 < len(queue.heap) or len(keys) < 8:
        for key in keys:
            heappush(queue.heap, key)
    else:
        queue.heap += keys
        heapify(queue.heap)
    _list(s, top, runner)


def _list(s: State, top: Fan, runner: int) -> None:
    if not top.listed[runner]:
        top.listed[runner] = 1
        heappush(s.ready[runner].heap, _entry(s, top))
