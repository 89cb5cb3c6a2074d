"""A graph without its code: what drawings need to know, of one at hand and of one that a journal tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .graph import Graph
from .model import Condition, Need, Node


class OutlineNode(NamedTuple):
    """One step.

    Attributes:
        id: Its id.
        kind: ``step``, ``gather`` (a fold) or ``gate``.
        needs: Pairs (how, id), how being ``use``, ``each``, ``gather``, ``outcome`` or ``after``.
        scope: The map that it is in, an index into `Outline.scopes`; 0 is outside of all.
        conditional: It has a condition of its own.
        traits: What is special about it, in words: ``3 attempts``, ``timeout 30 s``, ``optional``.
    """

    id: str
    kind: str = "step"
    needs: tuple[tuple[str, str], ...] = ()
    scope: int = 0
    conditional: bool = False
    traits: tuple[str, ...] = ()


class OutlineScope(NamedTuple):
    """One map; number 0 is the graph itself.

    Attributes:
        parent: The map that it is in; -1 of the graph itself.
        source: The step whose items it maps over; empty for the graph itself.
    """

    parent: int
    source: str


class Outline(NamedTuple):
    """A graph without its code.

    Attributes:
        name: Of the graph.
        nodes: Its steps, in the order of definition.
        scopes: Its maps; the first is the graph itself.
    """

    name: str
    nodes: tuple[OutlineNode, ...]
    scopes: tuple[OutlineScope, ...] = (OutlineScope(-1, ""),)


class NodeStanding(NamedTuple):
    """How one node stands, for drawings.

    Attributes:
        status: A word of `NodeStatus`.
        counts: Of a mapped node how many items have each status; empty otherwise.
        note: Why it stands so, in a few words.
    """

    status: str
    counts: Mapping[str, int] = {}
    note: str = ""


def outline_of(graph: Graph) -> Outline:
    """The outline of a graph."""
    nodes = [
        OutlineNode(
            node.id, node.kind, tuple(_edges(node)), scope, node.when is not None, tuple(_traits(node))
        )
        for node, scope in zip(graph.nodes, graph.scope_of, strict=True)
    ]
    scopes = [
        OutlineScope(scope.parent, graph.nodes[scope.source].id if number else "")
        for number, scope in enumerate(graph.scopes)
    ]
    return Outline(graph.name, tuple(nodes), tuple(scopes))


def by_scope(outline: Outline) -> tuple[list[list[int]], list[list[int]]]:
    """For each map: the maps directly inside it, and the positions of its own nodes."""
    inner: list[list[int]] = [[] for _ in outline.scopes]
    for number, scope in enumerate(outline.scopes):
        if scope.parent >= 0:
            inner[scope.parent].append(number)
    nodes: list[list[int]] = [[] for _ in outline.scopes]
    for position, node in enumerate(outline.nodes):
        nodes[node.scope].append(position)
    return inner, nodes


def _edges(node: Node) -> Iterator[tuple[str, str]]:
    """Its needs, the same pair once: two parameters may take one step's value."""
    return iter(dict.fromkeys((need.how, need.node) for need in node.needs if _drawn(need, node)))


def _drawn(need: Need, node: Node) -> bool:
    """A need that only a condition reads is an edge like any other, unless a parameter has the same one."""
    return need.param is not None or not any(
        other.node == need.node and other.param is not None for other in node.needs
    )


def _traits(node: Node) -> Iterator[str]:
    if node.kind == "gate":
        yield "waits for an answer"
    if node.kind == "gather":
        yield "fold"
    if node.stream:
        yield "stream"
    if isinstance(node.trigger, Condition):
        yield "own trigger"
    elif node.trigger != "all_succeeded":
        yield node.trigger
    if node.retry is not None and node.retry.max_attempts > 1:
        yield f"{node.retry.max_attempts} attempts"
    if node.timeout is not None:
        for word in ("attempt", "total", "idle"):
            seconds = getattr(node.timeout, word)
            if seconds is not None:
                yield f"timeout {seconds:g} s" + ("" if word == "attempt" else f" {word}")
    for use in node.limits:
        yield f"limit {use.limit.name}" + (f" × {use.weight}" if use.weight != 1 else "")
    if node.optional:
        yield "optional"
    if node.volatile:
        yield "volatile"
    if node.runner is not None:
        yield f"runner {node.runner}"


# --- in a journal -----------------------------------------------------------------------------------------


def data_of(outline: Outline) -> dict[str, Any]:
    """What an outline says beyond the graph's shape, as JSON has it; empty for a graph of plain steps."""
    odd: dict[str, Any] = {}
    for node in outline.nodes:
        hows = [how for how, _ in node.needs]
        said: dict[str, Any] = {}
        if node.kind != "step":
            said["kind"] = node.kind
        if any(how != "use" for how in hows):
            said["needs"] = [list(pair) for pair in node.needs]
        if node.scope:
            said["scope"] = node.scope
        if node.conditional:
            said["when"] = True
        if node.traits:
            said["traits"] = list(node.traits)
        if said:
            odd[node.id] = said
    if not odd:
        return {}
    return {"nodes": odd, "scopes": [list(scope) for scope in outline.scopes]}


def from_data(name: str, shape: Sequence[Sequence[Any]], data: Mapping[str, Any]) -> Outline:
    """The outline that a journal tells of. What makes no sense in it is left out: a journal is data.

    Args:
        name: Of the graph.
        shape: Pairs (id, ids of its needs).
        data: As of `data_of`; may be empty.
    """
    known = {str(id) for id, _ in shape}
    scopes = _scopes(data.get("scopes"), known)
    odd = data.get("nodes")
    odd = odd if isinstance(odd, Mapping) else {}
    nodes = [_node(str(id), needs, odd.get(id), known, len(scopes)) for id, needs in shape]
    return Outline(name, tuple(nodes), scopes)


_HOWS = frozenset(("use", "each", "gather", "outcome", "after"))
_KINDS = frozenset(("step", "gather", "gate"))


def _scopes(data: Any, known: set[str]) -> tuple[OutlineScope, ...]:
    root = OutlineScope(-1, "")
    if not isinstance(data, list) or not data:
        return (root,)
    scopes = [root]
    for number, pair in enumerate(data[1:], 1):
        match pair:
            case [int(parent), str(source)] if 0 <= parent < number and source in known:
                scopes.append(OutlineScope(parent, source))
            case _:
                return (root,)
    return tuple(scopes)


def _node(id: str, needs: Sequence[Any], said: Any, known: set[str], scopes: int) -> OutlineNode:
    said = said if isinstance(said, Mapping) else {}
    pairs = [("use", str(need)) for need in needs]
    if isinstance(said.get("needs"), list):
        pairs = [tuple(pair) for pair in said["needs"] if isinstance(pair, list) and len(pair) == 2]
    scope, kind, traits = said.get("scope"), said.get("kind"), said.get("traits")
    return OutlineNode(
        id,
        kind if kind in _KINDS else "step",
        tuple((how, need) for how, need in dict.fromkeys(pairs) if how in _HOWS and need in known),
        scope if isinstance(scope, int) and 0 <= scope < scopes else 0,
        said.get("when") is True,
        tuple(map(str, traits)) if isinstance(traits, list) else (),
    )
