"""A graph, valid by construction: whoever holds one need not check it again.

It must never know how it is run: the compiled form is `plan.py`'s, the state `machine`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .checks import check_node, check_volatile, find_cycle
from .errors import CycleError, GraphError, nearest
from .model import Input, Limit, Node
from .names import RESERVED, normal_id
from .scopes import ROOT, Scope, place


class Graph:
    """Nodes, their edges and the inputs they take together.

    Args:
        name: What people call it.
        nodes: In the order of definition, which breaks ties wherever an order must be chosen.
        inputs: The inputs that its nodes name.

    Attributes:
        name, nodes, inputs: As given; `inputs` by name.
        index: Position of each node by id.
        parents: For each node, the positions of its needs, in their order.
        order: Positions in a topological order.
        limits: All limits that its nodes take, by name.
        compiled: Plans made of it, kept with it, by whoever made them.
        scopes: All map levels; scope 0 is the graph itself.
        scope_of: For each node, the index of its scope.

    Raises:
        GraphError: A bad or double name, an unknown need, a circle (`CycleError`), maps or options that do
            not fit. All unknown needs are named at once.
    """

    __slots__ = (
        "__weakref__", "_shape", "compiled", "index", "inputs", "limits", "name", "nodes", "order",
        "parents", "scope_of", "scopes",
    )  # fmt: skip

    def __init__(self, name: str, nodes: Iterable[Node], inputs: Iterable[Input] = ()) -> None:
        self.name = normal_id(name, "flow")
        self.nodes: tuple[Node, ...] = tuple(nodes)
        self.inputs: dict[str, Input] = {each.name: each for each in inputs}
        for word in RESERVED & self.inputs.keys():
            raise GraphError(
                f"step {self.inputs[word].users[0] if self.inputs[word].users else '?'!r}: "
                f"no input can be called {word!r}, a parameter of the run call; rename it"
            )
        self.compiled: dict[Any, Any] = {}
        self._shape: tuple[tuple[str, tuple[str, ...]], ...] | None = None
        self.index: dict[str, int] = {}
        for position, node in enumerate(self.nodes):
            if normal_id(node.id) != node.id:
                raise GraphError(f"step {node.id!a}: the name is not in its normal form (NFC)")
            if self.index.setdefault(node.id, position) != position:
                raise GraphError(f"there are two steps called {node.id!r}; give one another name")
        self.parents = self._resolve()
        self.order = self._sort()
        self.limits: dict[str, Limit] = {}
        for node in self.nodes:
            check_node(node, self.limits)
        if any(node.volatile for node in self.nodes):
            check_volatile(self.nodes, self.parents, lambda node: node.runner)
        self.scopes: list[Scope] = [ROOT]
        self.scope_of: list[int] = [0] * len(self.nodes)
        mapped = any(need.how in ("each", "gather") for node in self.nodes for need in node.needs)
        for position in self.order if mapped else ():
            if self.parents[position]:
                place(self.nodes[position], position, self.parents[position], self.scopes, self.scope_of)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self.nodes)} nodes>"

    def __len__(self) -> int:
        return len(self.nodes)

    def _resolve(self) -> list[tuple[int, ...]]:
        index = self.index
        parents: list[tuple[int, ...]] = []
        unknown: list[str] = []
        for node in self.nodes:
            if not node.needs:
                parents.append(())
                continue
            try:
                mine = tuple([index[need.node] for need in node.needs])
            except KeyError:
                unknown += [
                    f"{node.id!r} needs {need.node!r}, which no step is called{nearest(need.node, index)}"
                    for need in node.needs
                    if need.node not in index
                ]
                continue
            if index[node.id] in mine:
                raise GraphError(f"step {node.id!r} needs itself")
            parents.append(mine)
        if unknown:
            more = f" (and {len(unknown) - 3} more)" if len(unknown) > 3 else ""
            raise GraphError("\n".join(unknown[:3]) + more)
        return parents

    def _sort(self) -> list[int]:
        waits = [len(mine) for mine in self.parents]
        dependents = self.dependents()
        order = [position for position, count in enumerate(waits) if not count]
        for position in order:  # grows while it is read: Kahn's algorithm
            for dependent in dependents[position]:
                waits[dependent] -= 1
                if not waits[dependent]:
                    order.append(dependent)
        if len(order) < len(self.nodes):
            left = {position for position, count in enumerate(waits) if count}
            raise CycleError(self.nodes[position].id for position in find_cycle(left, self.parents))
        return order

    def dependents(self) -> list[list[int]]:
        """For each node the positions of those that need it, once per edge."""
        above: list[list[int]] = [[] for _ in self.nodes]
        for position, mine in enumerate(self.parents):
            for parent in mine:
                above[parent].append(position)
        return above

    def shape(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Pairs (id, ids of its needs): the graph without the code. Made once."""
        if self._shape is None:
            self._shape = tuple((node.id, tuple([need.node for need in node.needs])) for node in self.nodes)
        return self._shape

    def levels(self) -> list[list[str]]:
        """Ids by distance from the start: a way to look at a graph, never the way it is run."""
        level = [0] * len(self.nodes)
        rows: list[list[str]] = []
        for position in self.order:
            level[position] = 1 + max((level[parent] for parent in self.parents[position]), default=-1)
        for position, row in enumerate(level):
            while len(rows) <= row:
                rows.append([])
            rows[row].append(self.nodes[position].id)
        return rows

    def ancestors(self, ids: Sequence[str]) -> set[int]:
        """Positions of these nodes and of everything above them.

        Raises:
            GraphError: An id is unknown.
        """
        for unknown in (id for id in ids if id not in self.index):
            raise GraphError(f"there is no step called {unknown!r}{nearest(unknown, self.index)}")
        found = {self.index[id] for id in ids}
        todo = list(found)
        while todo:
            new = set(self.parents[todo.pop()]) - found
            found |= new
            todo += new
        return found
