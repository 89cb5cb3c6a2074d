"""How the steps of a run stand, for drawings of it: of a run in memory, and of one in a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from .model import NodeStatus
from .outline import NodeStanding
from .result import NodeResult
from .stored import StoredNode

_COUNTED = 1_000_000
"""Items of one map that are looked at one by one, where nobody has counted them."""


def standings(nodes: Mapping[str, NodeResult | StoredNode]) -> dict[str, NodeStanding]:
    """By the id of a step how it stands.

    Args:
        nodes: `RunResult.nodes` or `StoredRun.nodes`.
    """
    return {id: standing(node) for id, node in nodes.items()}


def standing(node: NodeResult | StoredNode) -> NodeStanding:
    """How one step stands."""
    counts: Mapping[NodeStatus, int] | None = getattr(node, "counts", None)
    items: Iterable[Any] | None = node.items
    if counts is None and items is not None:
        counts = Counter(item.status for item in islice(items, _COUNTED))
    by_name = {status.value: counts[status] for status in NodeStatus if counts.get(status)} if counts else {}
    return NodeStanding(node.status.value, by_name, _note(node))


def _note(node: NodeResult | StoredNode) -> str:
    """Why it did not succeed, or how often it was tried; of a map that failed why its first item did."""
    if node.reason:
        return node.reason
    if node.items is not None and node.status is NodeStatus.FAILED:
        items: Iterable[Any] = node.items
        first = next((one for one in islice(items, _COUNTED) if one.status is NodeStatus.FAILED), None)
        return f"{first.reason} ({first.path})" if first is not None else ""
    tries = len(node.history) + 1
    return f"attempt {tries}" if node.history and node.items is None else ""
