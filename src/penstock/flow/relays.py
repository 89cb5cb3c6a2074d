"""What goes through nodes that only hand a value on, such as those in which a loop and a switch end.

Where whoever takes the value accepts a failure, the failure of a call or of a branch must not stop the run,
although the node between them does not accept it. And a value that cannot leave the process cannot leave it
behind such a node either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from penstock.core.model import Accepts, Need, Node


def let_pass(nodes: list[Node], relays: Mapping[str, Collection[str]]) -> None:
    """Makes optional what only relays take of which every taker accepts a failure.

    Args:
        nodes: All nodes; those that change are replaced.
        relays: By node that hands on, the nodes whose values it hands on.
    """
    takers: dict[str, list[tuple[Need, str]]] = {}
    for node in nodes:
        for need in node.needs:
            if need.how != "after":
                takers.setdefault(need.node, []).append((need, node.id))
    good = set(relays)

    def passes(id: str) -> bool:
        mine = takers.get(id, ())
        return bool(mine) and all(
            need.accepts & Accepts.FAILED or (taker in good and id in relays[taker]) for need, taker in mine
        )

    while bad := {relay for relay in good if not passes(relay)}:
        good -= bad
    bearable = {id for relay in good for id in relays[relay] if passes(id)}
    for at, node in enumerate(nodes if bearable else ()):
        if node.id in bearable:
            nodes[at] = node._replace(optional=True)


def stay(nodes: list[Node], hands_on: Collection[str]) -> None:
    """Makes volatile what hands on a volatile value.

    Args:
        nodes: All nodes; those that change are replaced.
        hands_on: The nodes that hand a value on, or make a list of several.
    """
    volatile = {node.id for node in nodes if node.volatile}
    before = 0
    while len(volatile) > before:
        before = len(volatile)
        volatile |= {
            node.id
            for node in nodes
            if node.id in hands_on
            and any(need.node in volatile and need.how != "after" for need in node.needs)
        }
    for at, node in enumerate(nodes):
        if node.id in volatile and not node.volatile:
            nodes[at] = node._replace(volatile=True)
