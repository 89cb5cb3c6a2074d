"""Where the lines of a drawing in text go: a value is a lane from its step to its last taker."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

Lanes = list[int | None]

ROUGH = {"│": "|", "─": "-", "├": "+", "┤": "+", "╯": "'", "┴": "'", "┼": "+"}


class Laid(NamedTuple):
    """One step in its row.

    Attributes:
        node: Position of the step.
        column: The lane it stands in.
        row: What crosses its row, left to right, two characters a lane; a blank for the step itself.
        wide: Lanes of the row.
    """

    node: int
    column: int
    row: str
    wide: int


def by_definition(parents: Sequence[Sequence[int]], dependents: Sequence[Sequence[int]]) -> list[int]:
    """A topological order that keeps to the order of definition as far as it can."""
    waits = [len(mine) for mine in parents]
    ready = [position for position, count in enumerate(waits) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        position = heappop(ready)
        order.append(position)
        for other in dependents[position]:
            waits[other] -= 1
            if not waits[other]:
                heappush(ready, other)
    return order


def by_depth(parents: Sequence[Sequence[int]], dependents: Sequence[Sequence[int]]) -> list[int]:
    """A topological order that goes on with what became ready last, so that few lanes are open at a time."""
    waits = [len(mine) for mine in parents]
    ready = [position for position, count in reversed(list(enumerate(waits))) if not count]
    order: list[int] = []
    while ready:
        position = ready.pop()
        order.append(position)
        new: list[int] = []
        for other in dependents[position]:
            waits[other] -= 1
            if not waits[other]:
                new.append(other)
        ready += reversed(new)
    return order


def lay(
    order: Sequence[int], parents: Sequence[Sequence[int]], dependents: Sequence[Sequence[int]]
) -> list[Laid]:
    """A row for each step, in this order."""
    lanes: Lanes = []
    left = [len(set(users)) for users in dependents]
    rows: list[Laid] = []
    avoided = -1  # a step right below one whose value nobody takes would look like its taker
    for position in order:
        needs = set(parents[position])
        taken = {column for column, node in enumerate(lanes) if node is not None and node in needs}
        ending = set()
        for column in taken:
            node = lanes[column]
            assert node is not None
            left[node] -= 1
            if not left[node]:
                ending.add(column)
        own = min(ending) if ending else _free(lanes, min(taken, default=-1), avoided)
        lanes += [None] * (own + 1 - len(lanes))
        rows.append(Laid(position, own, _row(lanes, own, taken, ending), len(lanes)))
        for column in ending:
            lanes[column] = None
        if left[position]:
            lanes[own] = position
        avoided = own if not left[position] else -1
        while lanes and lanes[-1] is None:
            lanes.pop()
    return rows


def _free(lanes: Lanes, beyond: int, avoided: int) -> int:
    """The first column without a lane, to the right of where the value comes from."""
    column = beyond + 1
    while column == avoided or (column < len(lanes) and lanes[column] is not None):
        column += 1
    return column


def _row(lanes: Lanes, own: int, taken: set[int], ending: set[int]) -> str:
    """The lines of one row. A line that passes behind another is broken: ``─│─``."""
    low, high = min({own, *taken}), max({own, *taken})
    cells: list[str] = []
    for column, node in enumerate(lanes):
        if column == own:
            cells.append(" ")
        elif column in taken:
            cells.append(_joint(column, own, low, high, column in ending))
        elif node is not None:
            cells.append("│")
        else:
            cells.append("─" if low < column < high else " ")
        cells.append("─" if low <= column < high else " ")
    return "".join(cells)


def _joint(column: int, own: int, low: int, high: int, ends: bool) -> str:
    if column == low and column < own:
        return "├"  # it goes on: of those that end the leftmost is the step's own column
    if column == high and column > own:
        return "╯" if ends else "┤"
    return "┴" if ends else "┼"
