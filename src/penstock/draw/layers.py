"""Layers of a picture: which row each box stands in, and in which order, so that few lines cross.

A line over several rows goes through a *bend* of every row between, a box of no size, so that there is room
for it. All lines of one *lane*, which is a value on its way to its takers, share their bends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import NamedTuple

Edge = tuple[int, int, int]
"""Where from, where to, and the number of its lane."""


class Rows(NamedTuple):
    """Boxes and bends in rows.

    Attributes:
        rows: Their numbers from left to right, of each row; numbers from `boxes` on are bends.
        boxes: How many boxes there are.
        row: The row of each.
        up, down: Numbers of what each is joined with in the row above and in the one below.
        links: Triples (from, to, lane), from one row to the next; each once.
    """

    rows: list[list[int]]
    boxes: int
    row: list[int]
    up: list[list[int]]
    down: list[list[int]]
    links: list[tuple[int, int, int]]


def in_rows(
    boxes: int, edges: Sequence[Edge], top: Collection[int] = (), bottom: Collection[int] = ()
) -> Rows:
    """Boxes in rows, and the lines between rows that are neighbours, in an order with few crossings.

    Args:
        boxes: How many there are.
        edges: What joins them. An edge of a circle, which only a forged journal has, is left out.
        top, bottom: Boxes that have a row of their own above or below all others.
    """
    rank, forward = ranks(boxes, edges, top, bottom)
    found = _joined(boxes, rank, forward)
    _begin(found)
    _uncross(found)
    return found


# --- which row --------------------------------------------------------------------------------------------


def ranks(
    boxes: int, edges: Sequence[Edge], top: Collection[int] = (), bottom: Collection[int] = ()
) -> tuple[list[int], list[Edge]]:
    """The row of each box, as high as its needs allow unless it is nearer to its takers further down."""
    parents: list[list[int]] = [[] for _ in range(boxes)]
    children: list[list[int]] = [[] for _ in range(boxes)]
    for source, target, _ in edges:
        if source != target:
            parents[target].append(source)
            children[source].append(target)
    order = _sorted(parents, children)
    at = [0] * boxes
    for place, box in enumerate(order):
        at[box] = place
    forward = [edge for edge in edges if at[edge[0]] < at[edge[1]]]
    rank = [0] * boxes
    first = 1 if top else 0
    for box in order:
        above = [rank[parent] for parent in parents[box] if at[parent] < at[box]]
        rank[box] = max(above) + 1 if above else first * (box not in top)
    last = max((rank[box] for box in range(boxes) if box not in bottom), default=-1) + 1
    for box in bottom:
        rank[box] = last
    for box in reversed(order):  # what many take and few give stands near its takers
        if len(children[box]) > len(parents[box]) and box not in top and box not in bottom:
            below = [rank[child] for child in children[box] if at[child] > at[box]]
            if below:
                rank[box] = min(below) - 1
    return rank, forward


def _sorted(parents: list[list[int]], children: list[list[int]]) -> list[int]:
    """A topological order; where there is a circle, it is entered at its first box."""
    waits = [len(mine) for mine in parents]
    order = [box for box, count in enumerate(waits) if not count]
    placed = [not count for count in waits]
    done = start = 0
    while len(order) < len(waits) or done < len(order):
        if done == len(order):
            while placed[start]:
                start += 1
            placed[start] = True
            order.append(start)
        for child in children[order[done]]:
            waits[child] -= 1
            if not waits[child] and not placed[child]:
                placed[child] = True
                order.append(child)
        done += 1
    return order


def _joined(boxes: int, rank: Sequence[int], edges: Sequence[Edge]) -> Rows:
    """The lines from row to row, with a bend wherever a lane passes through a row."""
    row = list(rank)
    rows: list[list[int]] = [[] for _ in range(max(row, default=-1) + 1)]
    bends: dict[tuple[int, int], list[int]] = {}
    links: dict[tuple[int, int, int], None] = {}
    for source, target, lane in edges:
        above, before = row[source], source
        if row[target] > above + 1:
            chain = bends.setdefault((source, lane), [])
            needed = row[target] - above - 1
            while len(chain) < needed:
                bend = len(row)
                links[chain[-1] if chain else source, bend, lane] = None
                chain.append(bend)
                row.append(above + len(chain))
            before = chain[needed - 1]
        links[before, target, lane] = None
    for box, number in enumerate(row):
        rows[number].append(box)
    up: list[list[int]] = [[] for _ in row]
    down: list[list[int]] = [[] for _ in row]
    for before, after, _ in links:
        down[before].append(after)
        up[after].append(before)
    return Rows(rows, boxes, row, up, down, list(links))


# --- which order ------------------------------------------------------------------------------------------

_SWEEPS = 24
_WORK = 16_000  # lines that may be looked at, over all sweeps; what is larger is swept less often
_SWAPPED = 400  # boxes up to which neighbours are swapped, too


def _begin(found: Rows) -> None:
    """A first order: depth first from the left, so that what belongs together stands together."""
    seen = [False] * len(found.row)
    order: list[list[int]] = [[] for _ in found.rows]
    stack = [box for row in reversed(found.rows) for box in reversed(row) if not found.up[box]]
    stack.sort(key=lambda box: -box)
    stack.sort(key=lambda box: -found.row[box])
    while stack:
        box = stack.pop()
        if not seen[box]:
            seen[box] = True
            order[found.row[box]].append(box)
            stack += [below for below in reversed(found.down[box]) if not seen[below]]
    found.rows[:] = order


def _uncross(found: Rows) -> None:
    """Sweeps down and up, each row by the mean place of its neighbours; the best order seen is kept."""
    at = [0] * len(found.row)
    for row in found.rows:
        _number(row, at)
    sweeps = max(4, min(_SWEEPS, _WORK // (len(found.links) + 1)))
    best, fewest = [row[:] for row in found.rows], crossings(found, at)
    idle = 0
    for sweep in range(sweeps):
        if not fewest or idle == 6:
            break
        if sweep % 2:
            for row in reversed(found.rows[:-1]):
                _sweep(row, found.down, at, sweep % 4 > 1)
        else:
            for row in found.rows[1:]:
                _sweep(row, found.up, at, sweep % 4 > 1)
        if len(found.row) <= _SWAPPED:
            _swap(found, at)
        count = crossings(found, at)
        idle += 1
        if count < fewest:
            best, fewest, idle = [row[:] for row in found.rows], count, 0
    found.rows[:] = best
    for row in best:
        _number(row, at)
    for joined in (found.up, found.down):
        for mine in joined:
            mine.sort(key=at.__getitem__)


def _number(row: Sequence[int], at: list[int]) -> None:
    for place, box in enumerate(row):
        at[box] = place


def _sweep(row: list[int], joined: list[list[int]], at: list[int], from_right: bool) -> None:
    """Puts a row in order by the mean place of what its boxes are joined with; loose boxes stay."""
    means = {}
    for box in row:
        near = joined[box]
        size = len(near)
        if size == 1:
            means[box] = float(at[near[0]])
        elif size == 2:
            means[box] = (at[near[0]] + at[near[1]]) / 2
        elif size:
            means[box] = sum([at[one] for one in near]) / size
    if from_right:  # ties the other way round
        moved = sorted((box for box in reversed(row) if box in means), key=means.__getitem__)
    else:
        moved = sorted(means, key=means.__getitem__)
    if len(means) < len(row):
        back = iter(moved)
        moved = [next(back) if box in means else box for box in row]
    row[:] = moved
    _number(row, at)


def crossings(found: Rows, at: Sequence[int]) -> int:
    """How many pairs of lines cross."""
    return sum(_crossed(row, found.down, at) for row in found.rows[:-1])


def _crossed(row: Sequence[int], down: Sequence[Sequence[int]], at: Sequence[int]) -> int:
    seen: list[int] = []
    count = 0
    for box in row:
        places = sorted([at[below] for below in down[box]])
        size = len(seen)
        for more, place in enumerate(places):  # those of the same box come before and do not cross
            left = bisect_right(seen, place)
            count += size + more - left
            seen.insert(left, place)
    return count


def _swap(found: Rows, at: list[int]) -> None:
    """Swaps neighbours as long as that makes it better."""
    for _ in range(8):
        better = False
        for row in found.rows:
            for place in range(len(row) - 1):
                left, right = row[place], row[place + 1]
                gain = _gain(found.up[left], found.up[right], at)
                gain += _gain(found.down[left], found.down[right], at)
                if gain > 0:
                    row[place], row[place + 1] = right, left
                    at[left], at[right] = place + 1, place
                    better = True
        if not better:
            return


def _gain(left: Sequence[int], right: Sequence[int], at: Sequence[int]) -> int:
    """By how many crossings there are fewer if the owner of `left` goes to the other side."""
    gain = 0
    for one in left:
        mine = at[one]
        for other in right:
            place = at[other]
            gain += (mine > place) - (mine < place)
    return gain
