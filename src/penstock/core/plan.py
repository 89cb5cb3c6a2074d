"""The graph compiled to integer-indexed lists: what the machine runs.

Nodes are renumbered in the order in which they should start: longest remaining path first, then order of
definition. That order is topological too, so "the lowest number that is ready" is all there is to scheduling.

A *site* is a place in a row of state. Scope 0 is one row with a site for every node; each element of a map
makes one row of the map's scope, with a site for every node inside it. A node that is mapped deeper than the
row stands there as a *group*: the one thing that has ended when all its items have. So an edge always joins
two sites of one row, or casts down from an outer row into inner ones, and a gather is an ordinary edge from
a group. Edges are kept as differences of position: a long chain holds one tuple, not one per node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple

from . import commands, rules
from .foresight import tolerance, unbounded
from .graph import Graph
from .model import Condition, LimitUse, Need, Node, NodePath, Quorum, RetryPolicy
from .scopes import common, encloses, scope_of_need

# Flags of a site; 0 is the plain node that the fast paths are made for.
GROUP: Final = 1  # stands for the items of a deeper map
JUDGED: Final = 2  # has a condition, or a trigger other than the default
LIMITED: Final = 4  # takes named limits
FOLD: Final = 8  # is called with each item of a map, as they end
WIDE: Final = 16  # more hangs on its end than the edges of its row: maps, casts, folds, quorums
STREAM: Final = 32  # its value comes element by element
GATE: Final = 64  # waits for an answer instead of running
ALWAYS: Final = 128  # runs after a stop as well

_TRIGGERS: Final[dict[object, int]] = {
    "all_succeeded": rules.ALL_SUCCEEDED,
    "all_done": rules.ALL_DONE,
    "none_failed": rules.NONE_FAILED,
    "any_succeeded": rules.ANY_SUCCEEDED,
    "all_failed": rules.ALL_FAILED,
    "always": rules.ALWAYS,
}

RAISE: Final = 0
DROP: Final = 1
KEEP: Final = 2
QUORUM: Final = 3
_FAILURES: Final = {"raise": RAISE, "drop": DROP, "keep": KEEP}


class SiteNeed(NamedTuple):
    """One need of a node, seen from its own row.

    Attributes:
        climb: How many rows out it lies.
        position: Its position in that row.
        accepts: Bits of `Accepts`.
        failures: What a gather makes of failed items: RAISE, DROP, KEEP or QUORUM.
        levels: How many map levels a gather removes.
        group: The site there stands for a map.
        element: It is the element that the row was made for; it never fails.
        quorum: How many items a gather asks for, if it is one of QUORUM.
    """

    climb: int
    position: int
    accepts: int
    failures: int
    levels: int
    group: bool
    element: bool
    quorum: Quorum | None


class Level(NamedTuple):
    """One scope's row.

    Attributes:
        parent: Index of the enclosing scope, -1 for scope 0.
        base: Number of the first site.
        width: Sites of a row.
        position: Position in the row by node.
        head: Position of the node whose ``each`` opens the rows.
        flat: No map lies inside it, and none but scope 0 around it.
    """

    parent: int
    base: int
    width: int
    position: Mapping[int, int]
    head: int
    flat: bool


class Plan:
    """A graph, compiled.

    Attributes:
        nodes: The nodes in starting order; `index` finds them by id.
        levels: Rows by scope.
        node: By site: the node.
        place: By site: its position in its row.
        level: By site: the scope of its row.
        flags: By site: the flags above.
        down: By site: differences to the sites of the same row that need it, one per edge.
        reads: By site: differences to the sites of the same row whose values it, or its items, consume.
        uses: By site: how many sites consume its value, through `reads`.
        casts: By site, where any: (scope, position) of nodes in inner rows that need it.
        opens: By site, where any: scopes whose rows are made from its value.
        keys: By scope, where any: what tells its elements from each other, and the part of them it sees.
        folds: By site of an item, where any: positions, in the row around, of the folds that take it.
        quorums: By site of an item, where any: the quorums asked of its map, and the levels of their gathers.
        sheds: Sites whose end frees their element: nobody but they takes what their stream gives.
        inner: By group site: the next scope towards its node.
        up: By site of an inner row: position of the same node in the row around.
        outer: By scope: (position, climb, position there) of needs that lie outside its rows.
        waits: By site: needs of a node; 1 for a group, until it is opened.
        wires: By node: (parameter, difference) of the needs that are simply a value of the same row.
        kind: By node: how an attempt is to be called, as bits of `commands`.
        simple: By node: its wires and its element are all that a call takes: 1 always, 2 if no need failed.
        shares: By node, where any: the parameter that receives what the run's steps share.
        elements: By node, where one parameter receives the whole element of its map: that parameter.
        lenient: By node: a need among its wires accepts non-success.
        partial: By node: it has other data needs too, which `needs_of` tells of.
        runners: Names of the runners; `runner` gives, by node, an index into it, `runner_of` by site.
        has_streams: Some node is a stream.
        attended: Some node asks for what the engine has to see to between replies and machine.
        needs_loop: Some call, or condition, must be awaited.
        retries_timeout: Nodes whose policy does not exclude `TimeoutError`.
        roots: Nodes that need nothing.
        retry, trigger, limits: By node, where any; limits are those of the run alone.
        wide: By node, where any: its limits that are wider than the run.
        outputs: Nodes that are kept, in the order of definition.
        keeps: By node: its value stays to the end.
        judges: By node: a failure of it is tolerated.
        quorate: By node, where any: the mapped nodes whose quorum, if it breaks, says otherwise.
        unbounded: Nodes whose stream must not be held back, because that would close a circle.
    """

    __slots__ = (
        "_needs", "attended", "casts", "down", "elements", "flags", "folds", "graph", "has_streams", "index",
        "inner", "judges", "keeps", "keys", "kind", "lenient", "level", "levels", "limits", "needs_loop",
        "node", "nodes", "opens", "outer", "outputs", "partial", "paths", "place", "quorate", "quorums",
        "reads", "retries_timeout", "retry", "roots", "runner", "runner_of", "runners", "shares", "sheds",
        "simple", "trigger", "unbounded", "up", "uses", "waits", "wide", "wires",
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        *,
        runner: str | None = None,
        awaiting: Collection[str] = ("aio",),
        durations: Mapping[str, float] | None = None,
        keep_all: bool = False,
        targets: Sequence[str] = (),
    ) -> None:
        self.graph = graph
        rank = _ranks(graph, durations or {})
        order = sorted(range(len(graph.nodes)), key=rank.__getitem__, reverse=True)
        number = [0] * len(order)
        for new, old in enumerate(order):
            number[old] = new
        self.nodes: list[Node] = [graph.nodes[old] for old in order]
        self.index: dict[str, int] = {node.id: new for new, node in enumerate(self.nodes)}
        parents = [tuple([number[parent] for parent in graph.parents[old]]) for old in order]
        scope_of = [graph.scope_of[old] for old in order]
        self.paths: list[NodePath] | None = None
        self._needs: dict[int, tuple[SiteNeed, ...]] = {}
        self._make_rows(scope_of, number)
        self._make_edges(parents, scope_of)
        self.shares = {i: node.shared for i, node in enumerate(self.nodes) if node.shared is not None}
        self._make_options(runner, awaiting)
        wanted = set(targets)
        consumed = {node for node, uses in zip(self.node, self.uses, strict=True) if uses}
        self.keeps = bytearray(
            keep_all or node.keep or new not in consumed or node.id in wanted
            for new, node in enumerate(self.nodes)
        )
        self.sheds = frozenset(self._shedding())
        for site in self.sheds:
            self.flags[site] |= WIDE
        self.roots = [new for new, mine in enumerate(parents) if not mine]
        self.outputs = [new for new in number if self.keeps[new]]
        self.judges, self.quorate = tolerance(self.nodes, parents, scope_of, graph.scopes)
        self.unbounded: frozenset[int] = frozenset()
        if len(self.levels) > 1:
            sources = [self.index[graph.nodes[scope.source].id] for scope in graph.scopes[1:]]
            self.unbounded = unbounded(self.nodes, parents, scope_of, graph.scopes, [-1, *sources])

    def _make_rows(self, scope_of: list[int], number: list[int]) -> None:
        scopes = self.graph.scopes
        total = len(self.nodes)
        members: list[list[int]] = [[] for _ in scopes]
        if len(scopes) > 1:
            for node in range(total - 1, -1, -1):  # deepest step first within an element
                at = scope_of[node]
                while at > 0:
                    members[at].append(node)
                    at = scopes[at].parent
        self.levels = [Level(-1, 0, total, _Same(), -1, len(scopes) == 1)]
        self.node = list(self.index.values())
        self.place = self.node
        self.level: Sequence[int] = bytes(total)
        if len(scopes) == 1:
            return
        self.node, self.place, self.level = list(self.node), list(self.node), [0] * total
        for index, scope in enumerate(scopes[1:], 1):
            row = members[index]
            position = {node: place for place, node in enumerate(row)}
            flat = scope.parent == 0 and all(scope_of[node] == index for node in row)
            head = position[number[scope.head]]
            self.levels.append(Level(scope.parent, len(self.node), len(row), position, head, flat))
            self.node += row
            self.place += range(len(row))
            self.level += [index] * len(row)

    def _make_edges(self, parents: list[tuple[int, ...]], scope_of: list[int]) -> None:
        sites, total = len(self.node), len(self.nodes)
        down: list[list[int]] = [[] for _ in range(sites)]
        self.reads: list[tuple[int, ...]] = [()] * sites
        self.uses = [0] * sites
        self.flags = bytearray(sites)
        self.waits = [1] * sites
        self.casts: dict[int, list[tuple[int, int]]] = {}
        self.opens: dict[int, list[int]] = {}
        self.wires: list[tuple[tuple[str, int], ...]] = [()] * total
        self.partial = bytearray(total)
        self.lenient = bytearray(total)
        self.elements: dict[int, str] = {}
        self.keys: dict[int, tuple[Callable[[Any], Any], str | int | None]] = {}
        self.folds: dict[int, list[int]] = {}
        self.quorums: dict[int, list[tuple[Quorum, int]]] = {}
        same: dict[Any, Any] = {}  # equal tuples are kept once
        for node, mine in enumerate(parents):
            if scope_of[node]:
                self._edges_of_item(node, mine, scope_of, down)
                continue
            self.waits[node] = len(mine)
            if not mine:
                continue
            reads, wires = [], []
            for need, parent in zip(self.nodes[node].needs, mine, strict=True):
                _, how, param, accepts, _, part, _, _, _ = need
                down[parent].append(node - parent)
                if how == "after":
                    continue
                if how == "gather":
                    self._gathers(node, need, scope_of[parent], parent)
                reads.append(parent - node)
                self.uses[parent] += 1
                if param is None:
                    continue
                if how == "use" and part is None:
                    wires.append((param, parent - node))
                    if accepts:
                        self.lenient[node] = 1
                else:
                    self.partial[node] = 1
            key = tuple(reads)
            self.reads[node] = same.setdefault(key, key)
            pairs = tuple(wires)
            self.wires[node] = same.setdefault(pairs, pairs)
        self._make_groups(scope_of)
        self.down: list[tuple[int, ...]] = [same.setdefault(key, key) for key in map(tuple, down)]
        for scopes in self.opens.values():
            scopes.sort()  # a journal holds the keys of elements in this order, and the ranks may change
        for site in {*self.casts, *self.opens, *self.folds, *self.quorums}:
            self.flags[site] |= WIDE

    def _edges_of_item(
        self, node: int, parents: tuple[int, ...], scope_of: list[int], down: list[list[int]]
    ) -> None:
        scope = scope_of[node]
        level = self.levels[scope]
        mine = level.base + level.position[node]
        self.waits[mine] = len(parents)
        for need, parent in zip(self.nodes[node].needs, parents, strict=True):
            at = self._scope_of_edge(need, scope, scope_of[parent])
            source = self._site(at, parent)
            if need.param is not None and need.how != "after":
                if need.how == "use" and at == scope and need.part is None:
                    self.wires[node] += ((need.param, source - mine),)
                    self.lenient[node] |= bool(need.accepts)
                elif need.how == "each" and need.part is None and node not in self.elements:
                    self.elements[node] = need.param
                else:
                    self.partial[node] = 1
            if need.how == "gather":
                self._gathers(node, need, scope_of[parent], parent)
            if need.how == "each":
                opened = self.opens.setdefault(source, [])
                if scope not in opened:
                    opened.append(scope)
                if need.key is not None:
                    self.keys.setdefault(scope, (need.key, need.part))
                self.waits[mine] -= 1
            elif at == scope:
                down[source].append(mine - source)
            else:
                self.casts.setdefault(source, []).append((scope, level.position[node]))
            if need.how != "after":
                reader = self._site(at, node)
                self.reads[reader] += (source - reader,)
                self.uses[source] += 1

    def _gathers(self, node: int, need: Need, scope: int, parent: int) -> None:
        """Notes, for the items of a map, who takes them as more than an edge of a row."""
        item = self._site(scope, parent)
        if self.nodes[node].kind == "gather":
            around = self.levels[self.levels[scope].parent]
            self.folds.setdefault(item, []).append(around.position[node])
        if isinstance(need.failures, Quorum):
            self.quorums.setdefault(item, []).append((need.failures, need.levels))

    def _shedding(self) -> Iterator[int]:
        """Heads of maps over a stream that nobody else takes anything of: an element is theirs alone."""
        for source, scopes in self.opens.items():
            level = self.levels[scopes[0]]
            head = self.nodes[self.node[level.base + level.head]]
            takes = sum(need.how == "each" for need in head.needs)
            node = self.node[source]
            alone = len(scopes) == 1 and self.uses[source] == takes and not self.keeps[node]
            if alone and self.nodes[node].stream:
                yield level.base + level.head

    def _make_groups(self, scope_of: list[int]) -> None:
        """Links each group to the rows inside it, and what an inner row needs from outside."""
        scopes = self.graph.scopes
        self.inner: dict[int, int] = {}
        self.up = [0] * len(self.node) if len(scopes) > 1 else []
        self.outer: list[list[tuple[int, int, int]]] = [[] for _ in scopes]
        for scope in range(1, len(scopes)):
            level = self.levels[scope]
            for node, place in level.position.items():
                group = self._site(level.parent, node)
                self.flags[group] |= GROUP
                self.inner[group] = scope
                self.up[level.base + place] = self.levels[level.parent].position[node]
                if self.uses[group]:
                    self.uses[level.base + place] += 1  # whoever takes the group takes each of its items
                if scope_of[node] == scope:
                    self.outer[scope] += [
                        (place, need.climb, need.position)
                        for need in self.needs_of(node)
                        if need.climb and not need.element
                    ]

    def _scope_of_edge(self, need: Need, scope: int, other: int) -> int:
        """The scope whose row holds the thing that the need waits for."""
        scopes = self.graph.scopes
        other = scope_of_need(scopes, need, other)
        return other if encloses(scopes, other, scope) else common(scopes, other, scope)

    def _site(self, scope: int, node: int) -> int:
        return self.levels[scope].base + self.levels[scope].position[node]

    def _make_options(self, default: str | None, awaiting: Collection[str]) -> None:
        self.runners: list[str] = []
        self.runner = bytearray(len(self.nodes))
        self.simple = bytearray(len(self.nodes))
        self.kind = bytearray(len(self.nodes))
        self.retry: dict[int, RetryPolicy] = {}
        self.trigger: dict[int, int] = {}
        self.limits: dict[int, tuple[tuple[str, int], ...]] = {}
        self.wide: dict[int, tuple[LimitUse, ...]] = {}
        self.attended = bool(self.opens)
        retries_timeout = set()
        codes: dict[str, int] = {}
        scope_of = self.graph.scope_of
        for number, node in enumerate(self.nodes):
            name = node.runner or runner_for(node, default, awaiting)
            code = codes.setdefault(name, len(codes))
            self.runner[number] = code
            idle = node.timeout is not None and node.timeout.idle is not None
            if node.is_async or node.timeout is not None or node.stream:
                self.kind[number] = _kind(node)
                if node.stream or idle:
                    self.attended = True
            more = (
                self.partial[number] or node.context or node.inputs or node.bound or node.resources
                or node.kind == "gather" or idle
            )  # fmt: skip
            self.simple[number] = 0 if more else 2 if self.lenient[number] else 1
            if more and (node.context or node.kind == "gather"):
                self.attended = True
            flags = 0
            if node.retry is not None and node.retry.max_attempts > 1:
                self.retry[number] = node.retry
                if node.timeout is not None and node.retry.retries(TimeoutError()):
                    retries_timeout.add(number)
            if node.kind == "gather":
                flags |= FOLD
            if node.when is not None:
                flags |= JUDGED
            if node.trigger != "all_succeeded":
                flags |= JUDGED
                custom = isinstance(node.trigger, Condition)
                self.trigger[number] = rules.CALLABLE if custom else _TRIGGERS[node.trigger]
                if node.trigger == "always":
                    flags |= ALWAYS
            if node.limits:
                flags |= LIMITED
                self._sort_limits(number, node)
            if node.stream:
                flags |= STREAM
            if node.kind == "gate":
                flags |= GATE
            if flags:
                self.flags[self._site(scope_of[self.graph.index[node.id]], number)] |= flags
        self.runners = list(codes)
        self.retries_timeout = frozenset(retries_timeout)
        self.has_streams = any(node.stream for node in self.nodes)
        self.needs_loop = any(_awaits(node) for node in self.nodes)
        self.runner_of = self.runner
        if len(self.levels) > 1:
            self.runner_of = bytearray(self.runner[node] for node in self.node)

    def _sort_limits(self, number: int, node: Node) -> None:
        """Tells the limits of the run from those that are wider."""
        self.limits[number] = tuple(
            sorted((limit.name, weight) for limit, weight in node.limits if limit.scope == "run")
        )
        wide = [use for use in node.limits if use.limit.scope != "run"]
        if wide:
            self.simple[number] = 0
            self.attended = True
            self.wide[number] = tuple(sorted(wide, key=lambda use: use.limit.name))

    def make_paths(self) -> list[NodePath]:
        """The paths of the nodes themselves: made for the first event, kept for all."""
        self.paths = [NodePath(of.id) for of in self.nodes]
        return self.paths

    def needs_of(self, node: int) -> tuple[SiteNeed, ...]:
        """The needs of a node as seen from its row, in the order of definition."""
        known = self._needs.get(node)
        if known is not None:
            return known
        graph = self.graph
        scope = graph.scope_of[graph.index[self.nodes[node].id]]
        found = []
        for need in self.nodes[node].needs:
            parent = self.index[need.node]
            other = graph.scope_of[graph.index[need.node]]
            at = self._scope_of_edge(need, scope, other)
            found.append(
                SiteNeed(
                    graph.scopes[scope].depth - graph.scopes[at].depth,
                    self.levels[at].position[parent],
                    need.accepts.value,
                    QUORUM if isinstance(need.failures, Quorum) else _FAILURES[need.failures],
                    need.levels,
                    at != other,
                    need.how == "each",
                    need.failures if isinstance(need.failures, Quorum) else None,
                )
            )
        self._needs[node] = tuple(found)
        return self._needs[node]


class _Same(dict[int, int]):
    """The positions of scope 0: every node stands at its own number."""

    def __missing__(self, node: int) -> int:
        return node


def runner_for(node: Node, default: str | None, awaiting: Collection[str] = ("aio",)) -> str:
    """The runner of a node that names none: coroutines need one that awaits, others the run's default."""
    if node.kind == "gather":  # what it has so far should not travel for every slice
        return "inline" if default == "inline" else "threads"
    if node.is_async:
        return default if default is not None and default in awaiting else "aio"
    return "threads" if default is None or default == "aio" else default


_COROUTINE = 0x80  # of a code object: calling it only makes a coroutine

_INSTANT = 1e-6
"""Seconds that a step takes at least, so that no node ranks as high as one that it needs."""


def _kind(node: Node) -> int:
    """How an attempt of a node is to be called."""
    kind = commands.TIMED if node.timeout is not None else 0
    if node.stream:
        return kind | commands.STREAM
    function = node.call.__func__ if isinstance(node.call, MethodType) else node.call
    if isinstance(function, FunctionType) and function.__code__.co_flags & _COROUTINE:
        kind |= commands.PURE
    return kind


def _awaits(node: Node) -> bool:
    if node.is_async:
        return True
    return any(isinstance(asked, Condition) and asked.is_async for asked in (node.when, node.trigger))


def _ranks(graph: Graph, durations: Mapping[str, float]) -> list[float]:
    """For each node the longest path from it to the end, by earlier durations where there are any; of a node
    without one it is supposed that it takes as long as the others do."""
    rank = [0.0] * len(graph.nodes)
    known = [seconds for of in graph.nodes if (seconds := durations.get(of.id)) is not None]
    usual = sorted(known)[len(known) // 2] if known else 1.0
    for node in reversed(graph.order):
        seconds = durations.get(graph.nodes[node].id, usual) if known else usual
        mine = rank[node] = rank[node] + max(seconds, _INSTANT)
        for parent in graph.parents[node]:
            if rank[parent] < mine:
                rank[parent] = mine
    return rank
