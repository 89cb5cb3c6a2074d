"""What all drawings say of a node, in words."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.core.graph import Graph
from penstock.core.model import Condition, Need, Node


def edges(node: Node) -> list[tuple[str, str]]:
    """Pairs (how, id) of its needs, the same pair once: two parameters may take one step's value."""
    return list(dict.fromkeys((need.how, need.node) for need in node.needs if _drawn(need, node)))


def _drawn(need: Need, node: Node) -> bool:
    """A need that only a condition reads is an edge like any other, unless a parameter has the same one."""
    return need.param is not None or not any(
        other.node == need.node and other.param is not None for other in node.needs
    )


def traits(node: Node) -> Iterator[str]:
    """What is special about it: ``retry 3``, ``timeout 30 s``, ``optional``."""
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


def scope_tree(graph: Graph) -> tuple[list[list[int]], list[list[int]]]:
    """For each map level (0 is the graph itself): the levels directly inside it, and its own nodes."""
    inner: list[list[int]] = [[] for _ in graph.scopes]
    for number, scope in enumerate(graph.scopes):
        if scope.parent >= 0:
            inner[scope.parent].append(number)
    nodes: list[list[int]] = [[] for _ in graph.scopes]
    for position, number in enumerate(graph.scope_of):
        nodes[number].append(position)
    return inner, nodes
