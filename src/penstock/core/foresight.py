"""What can be said of a run before it starts: whose failure is let pass, which stream may not be held."""

from __future__ import annotations

from collections.abc import Sequence

from .model import Accepts, Need, Node, Quorum
from .scopes import Scope, encloses, scope_of_need


def tolerance(
    nodes: Sequence[Node],
    parents: Sequence[tuple[int, ...]],
    scope_of: Sequence[int],
    scopes: Sequence[Scope],
) -> tuple[bytearray, dict[int, set[int]]]:
    """By node: whether a failure of it neither stops nor fails the run (semantics.md §3).

    An unmapped node's is tolerated if it is optional, or if something takes its value and every taker accepts
    failure. The failure of an item is judged where its map ends: by the gathers that the chain of its
    dependents inside the map reaches, and by the needs in it that accept failure. That of a stream counts as
    one item more of each map that it feeds. By node, too: the gathered nodes whose quorum may say otherwise.
    """
    found = bytearray(node.optional for node in nodes)
    quorate: dict[int, set[int]] = {}
    if len(scopes) == 1 and not any(need.accepts for node in nodes for need in node.needs):
        return found, quorate
    takers: dict[int, list[tuple[Need, int, int]]] = {}
    for node, mine in enumerate(parents):
        for need, parent in zip(nodes[node].needs, mine, strict=True):
            if need.how != "after":
                at = scope_of_need(scopes, need, scope_of[parent])
                takers.setdefault(parent, []).append((need, node, at))
    for node in takers:
        if found[node]:
            continue
        good = bad = False
        todo, seen = [(node, scope_of[node])], {node}
        while todo and not bad:
            here, scope = todo.pop()
            for need, taker, at in takers.get(here, ()):
                if need.accepts & Accepts.FAILED:
                    good = True
                elif need.how == "each" and here == node and nodes[node].stream:
                    todo.append((taker, scope_of[taker]))  # a stream that fails is one item more that failed
                    seen.add(taker)
                elif not scope:
                    bad = True
                elif encloses(scopes, scope, at):
                    if taker not in seen:
                        seen.add(taker)
                        todo.append((taker, scope))
                elif need.failures == "raise":
                    bad = True
                else:
                    good = True
                    if isinstance(need.failures, Quorum):  # it judges for itself, as the items end
                        quorate.setdefault(node, set()).add(here)
        found[node] = good and not bad
    return found, quorate


def unbounded(
    nodes: Sequence[Node],
    parents: Sequence[tuple[int, ...]],
    scope_of: Sequence[int],
    scopes: Sequence[Scope],
    sources: Sequence[int],
) -> frozenset[int]:
    """Streams whose producer must not wait for its consumers.

    A stream that is held back ends only when its items have gone on; so whatever the items wait for besides
    must not, in turn, wait for the end of that stream. Each such wait is an edge "other needs of the map's
    nodes → end of the stream"; where these edges close a circle, the stream is let run free.

    Args:
        nodes, parents, scope_of: By number.
        scopes: All map levels.
        sources: By scope, the node that is mapped over.
    """
    after: dict[int, set[int]] = {node: set() for node, of in enumerate(nodes) if of.stream}
    for node, scope in enumerate(scope_of if after else ()):
        while scope:
            if sources[scope] in after:
                after[sources[scope]] |= {
                    parent
                    for need, parent in zip(nodes[node].needs, parents[node], strict=True)
                    if need.how != "each" and not encloses(scopes, scope, scope_of[parent])
                }
            scope = scopes[scope].parent
    free: set[int] = set()
    for stream, waits in after.items():
        todo, seen = list(waits), set(waits)
        while todo:
            node = todo.pop()
            above = set(parents[node])
            if node in after and node not in free:
                above |= after[node]
            todo += above - seen
            seen |= above
        if stream in seen:
            free.add(stream)
    return frozenset(free)
