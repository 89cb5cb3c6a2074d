"""The part of a graph that a run with targets or overrides needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import GraphError, InputError, nearest
from .folds import fold_slice
from .graph import Graph
from .model import Need, Node


def restrict(graph: Graph, targets: Sequence[str] | None, override: Mapping[str, Any] | None) -> Graph:
    """The graph without what nobody needs.

    A node with an overriding value needs nothing any more; what only it needed is left out. Of mapped steps
    whole maps are taken, and the override of one is its whole list.

    Args:
        graph: The whole graph.
        targets: Ids of the nodes that are wanted; None for all.
        override: Values by id.

    Raises:
        InputError: An id is unknown, or a value does not fit where it must go.
    """
    if targets is None and not override:
        return graph
    override = override or {}
    for id in (*(targets or ()), *override):
        if id not in graph.index:
            raise InputError(f"there is no step called {id!r}{nearest(id, graph.index)}")
    depth = {id: graph.scopes[graph.scope_of[graph.index[id]]].depth for id in override}
    _check_lists(graph, override, depth)
    nodes = [_given(node) if node.id in override else _taking(node, override, depth) for node in graph.nodes]
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
        kind="step", needs=(), inputs=(), bound=None, when=None, trigger="all_succeeded", limits=(),
        timeout=None, resources=(),
    )  # fmt: skip


def _check_lists(graph: Graph, override: Mapping[str, Any], depth: Mapping[str, int]) -> None:
    """What is mapped, or mapped over, must be given as a list."""
    sources = {graph.nodes[scope.source].id for scope in graph.scopes[1:]}
    for id, value in override.items():
        if (depth[id] or id in sources) and not isinstance(value, (list, tuple)):
            what = "mapped: give the list of its items" if depth[id] else "mapped over: give a list"
            raise InputError(f"override of {id!r}: the step is {what}, not {type(value).__name__}")


def _taking(node: Node, override: Mapping[str, Any], depth: Mapping[str, int]) -> Node:
    """A node that takes an overridden map as the one list it is now."""
    if not any(depth.get(need.node) for need in node.needs):
        return node
    needs = []
    for need in node.needs:
        levels = depth.get(need.node, 0)
        if not levels or need.how == "after":
            needs.append(need)
        elif need.how == "gather" and need.levels == levels and need.failures != "keep":
            needs.append(need._replace(how="use", failures="raise", levels=1))
        elif need.how == "use" and levels == 1 and not need.accepts and need.part is None:
            needs.append(need._replace(how="each"))
        else:
            raise InputError(
                f"override of {need.node!r}: {node.id!r} takes single items, or outcomes, of it; "
                f"override {node.id!r} as well, or the step that {need.node!r} maps over"
            )
    if node.kind == "gather":
        return _folding_list(node, needs[0])
    return node._replace(needs=tuple(needs))


def _folding_list(node: Node, need: Need) -> Node:
    """A fold of an overridden map: it takes the whole list at once."""
    from copy import deepcopy

    begin = deepcopy((node.bound or {}).get("initial"))
    bound = {"function": node.call, "initial": begin}
    return node._replace(kind="step", call=_fold, needs=(need._replace(param="items"),), bound=bound)


def _fold(function: Callable[[Any, Any], Any], initial: Any, items: Sequence[Any]) -> Any:
    return fold_slice(function, initial, items)


def _inputs(node: Node) -> list[tuple[str, str]]:
    found = list(node.inputs)
    if node.resources:
        from .bags import inputs_of

        found += [("", name) for name in inputs_of(node.resources)]
    for condition in (node.when, node.trigger):
        if condition is not None and not isinstance(condition, str):
            found += condition.inputs
    return found
