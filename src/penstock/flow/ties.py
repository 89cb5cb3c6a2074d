"""What ties the steps of a sub-flow to its head, and how deep in maps each node lies.

The head stands for the sub-flow as a whole. Where it is skipped they all are, and where it is mapped they all
are, also those that take nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Need, Node

from .conditions import guarded
from .markers import Each, Marker, Param
from .subflow import Forced, Place

_NEVER_ALONE = ("any_succeeded", "all_failed")
"""Triggers that do not hold where every need was skipped."""

_SKIPPED = Accepts.CONDITION | Accepts.UPSTREAM
"""What a need of the head takes where a condition of the step's own asks whether the head was skipped."""


def depths(nodes: Sequence[Node]) -> dict[str, int]:
    """How many maps are around each node; nodes on a circle, or below one, are left out."""
    waits: dict[str, int] = {}
    dependents: dict[str, list[str]] = {}
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        waits[node.id] = len(node.needs)
        for need in node.needs:
            dependents.setdefault(need.node, []).append(node.id)
    ready = [name for name, count in waits.items() if not count]
    depth: dict[str, int] = {}
    for name in ready:  # grows while it is read
        deepest = 0
        for need in by_id[name].needs:
            if need.how != "after":
                step = 1 if need.how == "each" else -need.levels if need.how == "gather" else 0
                deepest = max(deepest, depth[need.node] + step)
        depth[name] = deepest
        for dependent in dependents.get(name, ()):
            waits[dependent] -= 1
            if not waits[dependent]:
                ready.append(dependent)
    return depth


def base(place: Place | None, depth: Mapping[str, int]) -> int:
    """How many maps are around a flow as a whole where it stands."""
    lead = None if place is None else place.lead()
    return 0 if lead is None or lead.head is None else depth.get(lead.head.id, 0)


def tie(nodes: list[Node], home: Mapping[str, Place]) -> None:
    """Makes the steps of every sub-flow that has a head follow it.

    Args:
        nodes: All nodes; those that change are replaced.
        home: By node of a sub-flow, where it stands.

    Raises:
        GraphError: A trigger cannot tell the head from the rest.
    """
    folds = {node.id: node.needs[0].node for node in nodes if node.kind == "gather"}
    for at, node in enumerate(nodes):
        place = home.get(node.id)
        lead = None if place is None else place.lead()
        if lead is None or lead.head is None or node.id in folds:  # a fold can have no second need
            continue
        inside = [
            need
            for need in node.needs
            if need.how != "after" and _within(folds.get(need.node, need.node), lead, home)
        ]
        if node.trigger == "all_succeeded":
            if not any(need.accepts is Accepts.NOTHING for need in inside):
                gate = Need(lead.head.id, "use", None, Accepts.NOTHING, NOTHING)
                nodes[at] = node._replace(needs=(*node.needs, gate))
        elif node.trigger not in _NEVER_ALONE:
            gate = Need(lead.head.id, "use", None, _SKIPPED, NOTHING)
            needs = [need._replace(accepts=_SKIPPED) if _strict(need, lead) else need for need in node.needs]
            when = guarded(node.when, "head?", lambda value: value is not NOTHING, need=len(needs))
            nodes[at] = node._replace(needs=(*needs, gate), when=when)
        elif any(_strict(need, lead) for need in node.needs):
            raise GraphError(
                f"step {node.id!r}: its trigger {node.trigger!r} counts all that it takes, "
                f"also the element that {lead.head.id!r} is mapped over;\nlet another step take that"
            )
        elif not inside:
            raise GraphError(
                f"step {node.id!r}: its trigger {node.trigger!r} asks for nothing inside of its own flow, "
                f"and {lead.head.id!r} is skipped or mapped as a whole;\nlet it need a step of that flow too"
            )


def _strict(need: Need, lead: Place) -> bool:
    """Whether a need takes the element that a sub-flow is mapped over, and cannot do without."""
    head = lead.head
    return head is not None and need.node == head.id and need.accepts is Accepts.NOTHING


def _within(id: str, lead: Place, home: Mapping[str, Place]) -> bool:
    """Whether a node lies in the sub-flow that a head leads, or is that head."""
    assert lead.head is not None
    if id == lead.head.id:
        return True
    place = home.get(id)
    while place is not None and place is not lead:
        place = place.around
    return place is lead


def lifted(places: Sequence[Place], depth: Mapping[str, int]) -> Forced:
    """The bindings that map a sub-flow, although they are no ``each``: they take items of a mapped step."""
    found = set()
    for place in places:
        assert place.sub is not None
        for name in place.sub.bindings:
            marker = place.binding(name)
            if not isinstance(marker, Marker) or type(marker) is Each or type(marker.source) is Param:
                continue
            deep = depth.get(marker.source.id, 0) - (marker.levels if marker.how == "gather" else 0)
            if deep > base(place, depth):
                found.add((place.prefix, name))
    return frozenset(found)


def check_gathers(nodes: Sequence[Node], home: Mapping[str, Place], depth: Mapping[str, int]) -> None:
    """Refuses a gather in a sub-flow that would end the map of the sub-flow itself.

    Raises:
        GraphError: There is one.
    """
    for node in nodes:
        place = home.get(node.id)
        lead = None if place is None else place.lead()
        if lead is None:
            continue
        for need in node.needs:
            if need.how != "gather" or not _within(need.node, lead, home):
                continue
            if depth.get(need.node, 0) - need.levels < base(lead, depth):
                word = "fold" if node.kind == "gather" else "gather"
                raise GraphError(
                    f"step {node.id!r}: {word} takes a mapped step, and {need.node!r} is not mapped "
                    f"inside {lead.prefix[:-1]!r}; take its value with use({need.node})"
                )
