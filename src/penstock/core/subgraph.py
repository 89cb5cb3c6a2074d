"""The part of a graph that a run with targets or overrides needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import GraphError, InputError, nearest
from .graph import Graph
from .model import Node


def restrict(graph: Graph, targets: Sequence[str] | None, override: Mapping[str, Any] | None) -> Graph:
    """The graph without what nobody needs.

    A node with an overriding value needs nothing any more; what only it needed is left out. Of mapped steps
    whole maps are taken.

    Args:
        graph: The whole graph.
        targets: Ids of the nodes that are wanted; None for all.
        override: Values by id.

    Raises:
        InputError: An id is unknown, or belongs to a mapped step that cannot be overridden.
    """
    if targets is None and not override:
        return graph
    override = override or {}
    for id in (*(targets or ()), *override):
        if id not in graph.index:
            raise InputError(f"there is no step called {id!r}{nearest(id, graph.index)}")
    for id in override:
        if graph.scope_of[graph.index[id]]:
            raise InputError(
                f"step {id!r} is mapped and cannot be overridden yet; override the step it maps over, "
                f"or the one that gathers it"
            )
    nodes = [_given(node) if node.id in override else node for node in graph.nodes]
    if targets is None:
        sinks = [node.id for node, users in zip(graph.nodes, graph.dependents(), strict=True) if not users]
        targets = [*sinks, *override]
    parents: dict[str, list[str]] = {node.id: [need.node for need in node.needs] for node in nodes}
    wanted = set(targets)
    todo = list(wanted)
    while todo:
        new = set(parents[todo.pop()]) - wanted
        wanted |= new
        todo += new
    kept = [node for node in nodes if node.id in wanted]
    used = {name for node in kept for _, name in _inputs(node)}
    try:
        return Graph(graph.name, kept, [each for each in graph.inputs.values() if each.name in used])
    except GraphError as error:
        raise InputError(f"with these targets and overrides: {error}") from error


def _given(node: Node) -> Node:
    return node._replace(
        needs=(), inputs=(), bound=None, when=None, trigger="all_succeeded", limits=(), timeout=None
    )


def _inputs(node: Node) -> list[tuple[str, str]]:
    found = list(node.inputs)
    for condition in (node.when, node.trigger):
        if condition is not None and not isinstance(condition, str):
            found += condition.inputs
    return found
