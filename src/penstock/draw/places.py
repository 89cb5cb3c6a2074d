"""Where the boxes of a row stand, after Brandes and Köpf: long lines straight, boxes above what follows them.

Four layouts are made, each of which puts boxes in line with the middle one of their neighbours, above or
below, and packs to the left or to the right. Then their columns are drawn towards each other, and the layout
with the shortest lines is the answer. Whole numbers only, so the picture is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Rows

_FOUR = 2_000  # boxes and bends up to which all four layouts are made
_DRAWN_IN = 1_500  # up to which they are then drawn in
_PASSES = 12
_KINK = 16
_STRAIGHT = 40  # what is nearly in line with two others is in line with one of them

GAP = 26  # between two boxes
_BEND_GAP = 16  # beside a bend

Sides = tuple[Sequence[int], Sequence[int]]
"""How far each box and bend reaches to the left of its axis and to the right, with half of the gap."""


def places(rows: Rows, sides: Sequence[tuple[int, int]]) -> list[int]:
    """The axis of each box and bend, from 0 at the left edge of the leftmost.

    Args:
        rows: What stands in which row.
        sides: Of each box how far it reaches to the left of its axis and to the right.
    """
    count, boxes = len(rows.row), rows.boxes
    if not count:
        return []
    bends = [_BEND_GAP // 2] * (count - boxes)
    reach = [left + GAP // 2 for left, _ in sides] + bends, [right + GAP // 2 for _, right in sides] + bends
    marked = _conflicts(rows)
    ways = [(True, False), (False, True), (True, True), (False, False)]
    found = [_packed(rows, reach, *way, marked) for way in (ways if count <= _FOUR else ways[:2])]
    if count <= _DRAWN_IN:
        chains = _chains(rows)
        drawn = [_draw_in(rows, reach, chains, _draw_in(rows, reach, root, xs)) for root, xs in found]
        best = min(drawn, key=lambda xs: _length(rows, xs))
        best = _straightened(rows, reach, chains, best)
    else:
        best = _mean([xs for _, xs in found], reach, [from_right for _, from_right in ways])
    left = min(x - side for x, (side, _) in zip(best, [*sides, *[(0, 0)] * (count - boxes)], strict=True))
    return [x - left for x in best]


def _mean(found: Sequence[list[int]], reach: Sides, from_right: Sequence[bool]) -> list[int]:
    """The mean of two layouts, or of the middle two of four, all moved to an edge of the narrowest."""

    def extent(xs: list[int]) -> int:
        return max(map(int.__add__, xs, reach[1])) - min(map(int.__sub__, xs, reach[0]))

    narrow = min(found, key=extent)
    moved = []
    for xs, right in zip(found, from_right, strict=False):
        shift = max(narrow) - max(xs) if right else min(narrow) - min(xs)
        moved.append([x + shift for x in xs])
    if len(moved) == 4:
        return [(b + c) // 2 for _, b, c, _ in map(sorted, zip(*moved, strict=True))]
    return [(a + b) // 2 for a, b in zip(*moved, strict=True)]


def _length(rows: Rows, xs: Sequence[int]) -> int:
    """How far the lines go sideways, all together."""
    return sum(abs(xs[before] - xs[after]) for before, after, _ in rows.links)


def _chains(rows: Rows) -> list[int]:
    """The first of the bends that each stands in line with; of a box itself."""
    root = list(range(len(rows.row)))
    for bend in range(rows.boxes, len(root)):
        above = rows.up[bend][0]
        if above >= rows.boxes:
            root[bend] = root[above]
    return root


def _draw_in(rows: Rows, reach: Sides, root: Sequence[int], xs: list[int]) -> list[int]:
    """Moves each column to the middle of what it is joined with, as far as its neighbours let it."""
    count = len(xs)
    xs = xs[:]
    columns: list[list[int]] = [[] for _ in range(count)]
    joined: list[list[int]] = [[] for _ in range(count)]
    for one in range(count):
        columns[root[one]].append(one)
    for before, after, _ in rows.links:
        if root[before] != root[after]:
            weight = 1
            if before < rows.boxes and after < rows.boxes:  # what follows one only stands below it
                weight += (len(rows.down[before]) == 1) + (len(rows.up[after]) == 1)
            joined[root[before]] += [after] * weight
            joined[root[after]] += [before] * weight
    beside = _beside(rows, reach)
    order = [one for one in range(count) if joined[one]]
    for number in range(_PASSES):
        moved = False
        order.sort(key=lambda one: xs[one], reverse=bool(number % 2))
        for one in order:
            x = xs[one]
            low, high = -(10**9), 10**9
            for member in columns[one]:
                left, from_left, right, from_right = beside[member]
                if left >= 0 and xs[left] + from_left > low:
                    low = xs[left] + from_left
                if right >= 0 and xs[right] - from_right < high:
                    high = xs[right] - from_right
            wanted = sorted([xs[other] for other in joined[one]])
            size = len(wanted)
            middle, other_middle = wanted[(size - 1) // 2], wanted[size // 2]
            if other_middle - middle > _STRAIGHT:
                middle = (middle + other_middle) // 2
            to = min(max(middle, low), high)
            if to != x and low <= high:  # bends that are not in line may leave it no place
                moved = True
                for member in columns[one]:
                    xs[member] = to
        if not moved:
            break
    return xs


def _straightened(rows: Rows, reach: Sides, root: Sequence[int], xs: list[int]) -> list[int]:
    """Takes out small kinks: what is nearly in line with one that it is joined with moves there."""
    xs = xs[:]
    beside = _beside(rows, reach)
    columns: list[list[int]] = [[] for _ in xs]
    joined: list[list[int]] = [[] for _ in xs]
    for one, first in enumerate(root):
        columns[first].append(one)
    for before, after, _ in rows.links:
        if root[before] != root[after]:
            joined[root[before]].append(after)
            joined[root[after]].append(before)
    for first in sorted((one for one, members in enumerate(columns) if members), key=rows.row.__getitem__):
        away = sorted((abs(xs[other] - xs[first]), xs[other]) for other in joined[first])
        if not away or not 0 < away[0][0] <= _KINK:
            continue
        to = away[0][1]
        if all(_free(xs, beside[member], to) for member in columns[first]):
            for member in columns[first]:
                xs[member] = to
    return xs


def _free(xs: Sequence[int], beside: tuple[int, int, int, int], x: int) -> bool:
    left, from_left, right, from_right = beside
    return (left < 0 or xs[left] + from_left <= x) and (right < 0 or x <= xs[right] - from_right)


def _beside(rows: Rows, reach: Sides) -> list[tuple[int, int, int, int]]:
    """What stands to the left and to the right of each, and how near it may come; -1 where nothing does."""
    found = [(-1, 0, -1, 0)] * len(rows.row)
    for row in rows.rows:
        for place, one in enumerate(row):
            left = row[place - 1] if place else -1
            right = row[place + 1] if place + 1 < len(row) else -1
            found[one] = (
                left,
                reach[1][left] + reach[0][one] if left >= 0 else 0,
                right,
                reach[1][one] + reach[0][right] if right >= 0 else 0,
            )
    return found


def _conflicts(rows: Rows) -> set[tuple[int, int]]:
    """Lines that cross one between two bends: they give way."""
    marked: set[tuple[int, int]] = set()
    boxes, up = rows.boxes, rows.up
    if len(rows.row) == boxes:
        return marked
    at = {box: place for row in rows.rows for place, box in enumerate(row)}
    for above, row in zip(rows.rows, rows.rows[1:], strict=False):
        low = begin = 0
        for place, box in enumerate(row):
            inner = box >= boxes and up[box][0] >= boxes
            if not inner and place < len(row) - 1:
                continue
            high = at[up[box][0]] if inner else len(above) - 1
            for other in row[begin : place + 1]:
                for joined in up[other]:
                    if not low <= at[joined] <= high and not (other >= boxes and joined >= boxes):
                        marked.add((joined, other))
            begin, low = place + 1, high
    return marked


def _packed(
    rows: Rows, reach: Sides, upwards: bool, from_right: bool, marked: set[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """One of the four layouts: the column of each box and bend, and where it is."""
    levels = rows.rows if upwards else rows.rows[::-1]
    near = rows.up if upwards else rows.down
    if from_right:
        levels = [row[::-1] for row in levels]
    root = _in_line(levels, near, from_right, upwards, marked)
    xs = _pack(levels, root, reach[::-1] if from_right else reach)
    return root, [-xs[one] for one in root] if from_right else [xs[one] for one in root]


def _in_line(
    levels: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
    from_right: bool,
    upwards: bool,
    marked: set[tuple[int, int]],
) -> list[int]:
    """The first box of the column in which each stands."""
    count = len(near)
    root, taken, at = list(range(count)), [False] * count, [0] * count
    for place, box in enumerate(levels[0] if levels else ()):
        at[box] = place
    for row in levels[1:]:
        last = -1
        for place, box in enumerate(row):
            at[box] = place
            joined = near[box]
            if not joined:
                continue
            size = len(joined)
            if size == 1:
                middle: Sequence[int] = joined
            else:
                middle = joined[(size - 1) // 2 : size // 2 + 1]
                if from_right:
                    middle = middle[::-1]
            for one in middle:
                if last < at[one] and not taken[one]:
                    if marked and ((one, box) if upwards else (box, one)) in marked:
                        continue
                    taken[one] = True
                    root[box] = root[one]
                    last = at[one]
                    break
    return root


def _pack(levels: Sequence[Sequence[int]], root: Sequence[int], reach: Sequence[Sequence[int]]) -> list[int]:
    """Columns as far to the left as they can be, then each as near to its right neighbour as it can be."""
    count = len(root)
    to_left, to_right = reach
    right: list[dict[int, int]] = [{} for _ in range(count)]
    waits = [0] * count
    for row in levels:
        before, room = -1, 0
        for box in row:
            column = root[box]
            if before >= 0:
                gap = room + to_left[box]
                others = right[before]
                known = others.get(column)
                if known is None:
                    others[column] = gap
                    waits[column] += 1
                elif gap > known:
                    others[column] = gap
            before, room = column, to_right[box]
    order = [column for column in range(count) if root[column] == column and not waits[column]]
    xs = [0] * count
    for column in order:
        x = xs[column]
        for other, gap in right[column].items():
            if x + gap > xs[other]:
                xs[other] = x + gap
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    for column in reversed(order):
        if right[column]:
            xs[column] = max(xs[column], min([xs[other] - gap for other, gap in right[column].items()]))
    return xs
