"""Values that need not come to this process: only steps of the engine that has them take them."""

from __future__ import annotations

from collections.abc import Collection

from .commands import STAYS
from .model import Condition, Need, Node
from .plan import Plan


def staying(plan: Plan, holders: Collection[str]) -> bytes | bytearray:
    """`plan.kind`, with `STAYS` for each node whose value may stay away.

    Args:
        plan: What runs, without a store: a journal would need the values.
        holders: Names of the runners at which values can stay.
    """
    at = [plan.runners[code] for code in plan.runner]
    free = [at[i] in holders and _makes_one(node) and not plan.keeps[i] for i, node in enumerate(plan.nodes)]
    for i, node in enumerate(plan.nodes):
        asked = _asked(node)
        for position, need in enumerate(node.needs):
            source = plan.index[need.node]
            if need.how != "after" and not (
                at[i] == at[source] and _takes_whole(node, need) and position not in asked
            ):
                free[source] = False
    if not any(free):
        return plan.kind
    return bytearray(kind | STAYS if may else kind for kind, may in zip(plan.kind, free, strict=True))


def _makes_one(node: Node) -> bool:
    return node.kind == "step" and not node.stream and node.shared is None


def _takes_whole(node: Node, need: Need) -> bool:
    """Whether nothing but the call itself looks at the value."""
    if node.kind != "step" or need.param is None or need.part is not None:
        return False
    return need.how == "use" or (need.how == "gather" and need.failures in ("raise", "drop"))


def _asked(node: Node) -> set[int]:
    """The needs that a condition of the node takes."""
    conditions = [one for one in (node.when, node.trigger) if isinstance(one, Condition)]
    return {index for one in conditions for _, index in one.needs}
