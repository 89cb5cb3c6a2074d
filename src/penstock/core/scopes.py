"""Map levels: which nodes run once per element of which other node's value (semantics.md §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .errors import GraphError
from .model import Need, Node


class Scope(NamedTuple):
    """One level of a map: the nodes that run once per element of it.

    Scope 0 is the graph itself. Each step with an ``each`` need opens a scope of its own; several take
    parts of the elements of one source.

    Attributes:
        parent: Index of the enclosing scope; -1 for scope 0.
        depth: How many maps enclose its nodes.
        head: Position of the node with the ``each`` need; -1 for scope 0.
        source: Position of the node whose value is mapped over; -1 for scope 0.
    """

    parent: int
    depth: int
    head: int
    source: int


ROOT = Scope(-1, 0, -1, -1)


def encloses(scopes: Sequence[Scope], outer: int, inner: int) -> bool:
    """Whether `outer` is `inner` or one of the scopes around it."""
    while scopes[inner].depth > scopes[outer].depth:
        inner = scopes[inner].parent
    return inner == outer


def common(scopes: Sequence[Scope], one: int, other: int) -> int:
    """The innermost scope around both."""
    while one != other:
        if scopes[one].depth < scopes[other].depth:
            other = scopes[other].parent
        else:
            one = scopes[one].parent
    return one


def scope_of_need(scopes: Sequence[Scope], need: Need, scope: int) -> int:
    """The scope in which a need, on a node of `scope`, is one single thing: a gather lies further out."""
    if need.how == "gather":
        for _ in range(need.levels):
            scope = scopes[scope].parent
    return scope


def _check_gather(scopes: Sequence[Scope], node: Node, need: Need, scope: int) -> None:
    depth = scopes[scope].depth
    if need.how == "gather" and need.levels > depth:
        mapped = f"is mapped {depth} deep only" if depth else "is not mapped"
        word = "fold" if node.kind == "gather" else "gather"
        raise GraphError(
            f"step {node.id!r}: {word} takes a mapped step, and {need.node!r} {mapped}; "
            f"take its value with use({need.node})"
        )


def place(
    node: Node, position: int, parents: tuple[int, ...], scopes: list[Scope], scope_of: list[int]
) -> None:
    """Finds the scope of a node whose needs have theirs; opens one where the node has an ``each``.

    Order alone never makes calls: an ``after`` on a mapped step waits for all of its items, unless the node
    is of that map anyway.

    Raises:
        GraphError: Two ``each`` that are not parts of one element, or needs from maps of which neither
            encloses the other.
    """
    deepest, why, source = 0, "", -1
    for need, parent in zip(node.needs, parents, strict=True):
        if need.how == "after":
            continue
        if need.how == "each":
            if source >= 0 and (source != parent or need.part is None):
                raise GraphError(f"step {node.id!r}: it has two each(); map over one and use() the other")
            source = parent
        _check_gather(scopes, node, need, scope_of[parent])
        scope = scope_of_need(scopes, need, scope_of[parent])
        if encloses(scopes, scope, deepest):
            continue
        if not encloses(scopes, deepest, scope):
            raise GraphError(
                f"step {node.id!r}: {why!r} and {need.node!r} belong to different maps, "
                "so their items do not pair; gather() one of them"
            )
        deepest, why = scope, need.node
    if source < 0:
        scope_of[position] = deepest
        return
    if deepest != scope_of[source]:
        raise GraphError(
            f"step {node.id!r}: it maps over {node.needs[parents.index(source)].node!r} and also uses "
            f"{why!r} of another map; gather() that one"
        )
    scope_of[position] = len(scopes)
    scopes.append(Scope(deepest, scopes[deepest].depth + 1, position, source))
