"""Which nodes of a graph are no step of its author's."""

from __future__ import annotations

from typing import Any

from penstock.core.model import Node

_PACKAGE = __name__.partition(".")[0]


def node_of(engine: Any, number: int) -> Node:
    """The node that a number of a run's machine stands for."""
    plan = engine.plan
    node: Node = plan.nodes[plan.node[engine.machine.state.site[number]]]
    return node


def is_glue(node: Node) -> bool:
    """Whether the node only hands values on: an input that is mapped over, a pair of maps, a loop's last
    value, a fold."""
    if node.kind == "gather":
        return True
    module = getattr(node.call, "__module__", None) or type(node.call).__module__
    return str(module).partition(".")[0] == _PACKAGE and not str(module).startswith(f"{_PACKAGE}.testing.")
