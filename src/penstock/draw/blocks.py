"""Steps of a graph taken together, so that what is drawn is still a graph without circles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.core.outline import Outline

from .layers import Edge, ranks

_TRIED = 100  # sets that are looked at one by one


class Block(NamedTuple):
    """Steps that one box stands for.

    Attributes:
        nodes: Their positions.
        why: What they have in common: ``step`` (it is only one), ``alike``, ``part`` (of a sub-flow),
            ``map``, ``chain`` or ``row``.
        scope: The map that all are in.
        about: What it is of: the name of a sub-flow, the number of a map, or the shape of their names.
    """

    nodes: tuple[int, ...]
    why: str
    scope: int
    about: str = ""


class Blocks:
    """A partition of a graph's steps.

    Attributes:
        all: The blocks.
        edges: The needs of the graph's steps, as triples of positions and the kind of the need.
        kinds: The kinds of needs.
    """

    def __init__(self, outline: Outline) -> None:
        index = {node.id: position for position, node in enumerate(outline.nodes)}
        hows: dict[str, int] = {}
        needs: list[Edge] = [
            (index[id], position, hows.setdefault(how, len(hows)))
            for position, node in enumerate(outline.nodes)
            for how, id in node.needs
        ]
        self.outline = outline
        self.kinds = list(hows)
        self.rank, self.edges = ranks(len(outline.nodes), needs)
        self.all = [Block((number,), "step", node.scope) for number, node in enumerate(outline.nodes)]
        self._links: set[tuple[int, int]] | None = None

    def of(self) -> list[int]:
        """The number of the block of each step."""
        found = [0] * len(self.outline.nodes)
        for number, block in enumerate(self.all):
            for node in block.nodes:
                found[node] = number
        return found

    def links(self) -> set[tuple[int, int]]:
        """Pairs of blocks, one of which needs the other."""
        if self._links is None:
            of = self.of()
            self._links = {(of[source], of[target]) for source, target, _ in self.edges}
            self._links = {(one, other) for one, other in self._links if one != other}
        return self._links

    def near(self) -> tuple[list[list[int]], list[list[int]]]:
        """For each block those that it needs, and those that need it."""
        return neighbours(len(self.all), self.links())

    def merge(self, sets: Iterable[tuple[Sequence[int], str, int, str]]) -> bool:
        """Makes one block of each set, or a few where one alone would need itself; whether any was made.

        Args:
            sets: Numbers of blocks, no block in two sets; and what else a `Block` has.
        """
        asked = [one for one in sets if len(one[0]) > 1 or (one[1] == "map" and one[0])]
        if not asked:
            return False
        links = self.links()
        to = list(range(len(self.all)))
        for members, *_ in asked:
            for member in members:
                to[member] = members[0]
        circled = in_circles(to, links)
        sure = [one for one in asked if one[0][0] not in circled]
        unsure = [one for one in asked if one[0][0] in circled]
        if unsure:
            to = list(range(len(self.all)))
            for members, *_ in sure:
                for member in members:
                    to[member] = members[0]
            for members, why, scope, about in unsure[:_TRIED]:
                for part in phases(to, links, members):
                    if len(part) > 1:
                        sure.append((part, why, scope, about))
                        for member in part:
                            to[member] = part[0]
        self._replace(sure)
        return bool(sure)

    def _replace(self, sets: Sequence[tuple[Sequence[int], str, int, str]]) -> None:
        gone: set[int] = set()
        made: dict[int, Block] = {}
        for members, why, scope, about in sets:
            nodes = sorted(node for member in members for node in self.all[member].nodes)
            made[min(members)] = Block(tuple(nodes), why, scope, about)
            gone.update(members)
        self.all = [
            made.get(number, block)
            for number, block in enumerate(self.all)
            if number in made or number not in gone
        ]
        self._links = None


def neighbours(count: int, links: Iterable[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    """For each of `count` things those before it and those after it."""
    up: list[list[int]] = [[] for _ in range(count)]
    down: list[list[int]] = [[] for _ in range(count)]
    for before, after in sorted(links):
        down[before].append(after)
        up[after].append(before)
    return up, down


def in_circles(to: Sequence[int], links: Iterable[tuple[int, int]]) -> set[int]:
    """What would lie in a circle, or between two, if each thing were taken for the one that `to` says."""
    joined = {(to[before], to[after]) for before, after in links if to[before] != to[after]}
    up, down = neighbours(len(to), joined)
    left = set(to)
    for near, far in ((up, down), (down, up)):
        waits = {one: sum(other in left for other in near[one]) for one in left}
        free = [one for one, count in waits.items() if not count]
        for one in free:
            left.discard(one)
            for other in far[one]:
                if other in left:
                    waits[other] -= 1
                    if not waits[other]:
                        free.append(other)
    return left


def phases(to: Sequence[int], links: Iterable[tuple[int, int]], members: Sequence[int]) -> list[list[int]]:
    """Parts of a set, each of which can be one thing: what needs something outside that needs the set is in a
    later one.

    Args:
        to: What each thing is taken for; makes no circle.
        links: What needs what.
        members: The set.
    """
    inside = {to[member] for member in members}
    joined = {(to[before], to[after]) for before, after in links if to[before] != to[after]}
    up, down = neighbours(len(to), joined)
    waits = [len(mine) for mine in up]
    order = [one for one in sorted(set(to)) if not waits[one]]
    phase = dict.fromkeys(order, 0)
    for one in order:
        for other in down[one]:
            step = one in inside and other not in inside
            phase[other] = max(phase.get(other, 0), phase[one] + step)
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    parts: dict[int, list[int]] = {}
    for member in members:
        parts.setdefault(phase.get(to[member], 0), []).append(member)
    return [parts[number] for number in sorted(parts)]
