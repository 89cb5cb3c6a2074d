"""Steps to nodes, nodes to a graph.

Beside that it words what the graph alone could not: names of mapped steps, and the parameters that make a
circle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core.errors import CycleError, GraphError
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Condition, Need, Node

from .conditions import bind_condition
from .step import AnyStep, FlowLike
from .wires import Wires, fast
from .words import slot


def build(name: str, flow: FlowLike, steps: Sequence[AnyStep]) -> Graph:
    """The graph of these steps.

    Args:
        name: Of the graph.
        flow: The flow they belong to; a marker of another one is an error.
        steps: In the order of definition.

    Raises:
        GraphError: They do not fit together.
    """
    wires = Wires(name, flow, steps)
    nodes = wires.nodes
    for step in steps:
        needs, inputs, bound, context = wires.of(step)
        if step.options:
            nodes.append(_with_options(wires, step, needs, inputs, bound, context))
            continue
        facts = step.facts
        fields = (  # in the order that `_with_options` spells out by name
            step.id, step.function, tuple(needs), "step", inputs, bound, context, facts.is_async,
            False, None, None, "all_succeeded", None, False, None, (), False, facts.doc, facts.origin,
        )  # fmt: skip
        nodes.append(fast(Node, fields))
    _check_names(wires)
    try:
        return Graph(name, nodes, wires.inputs.finished())
    except CycleError as error:
        error.args = (_explain_cycle(error, wires),)
        raise


def _with_options(
    wires: Wires,
    step: AnyStep,
    needs: list[Need],
    inputs: tuple[tuple[str, str], ...],
    bound: Mapping[str, Any] | None,
    context: str | None,
) -> Node:
    options, facts = step.options, step.facts
    asked: dict[str, Condition] = {}
    for word in ("when", "trigger"):
        if callable(options.get(word)):
            asked[word] = bind_condition(wires, step, word, options[word], needs, (inputs, bound, context))
    for source in options.get("after", ()):
        if source.flow is not wires.flow:
            raise wires.foreign(step, "after", source)
        needs.append(Need(source.id, "after", None, Accepts.NOTHING))
    return Node(
        id=step.id,
        call=step.function,
        needs=tuple(needs),
        kind="step",
        inputs=inputs,
        bound=bound,
        context=context,
        is_async=facts.is_async,
        stream=False,
        retry=options.get("retry"),
        timeout=options.get("timeout"),
        trigger=asked.get("trigger") or options.get("trigger", "all_succeeded"),
        when=asked.get("when"),
        optional=options.get("optional", False),
        runner=options.get("runner"),
        limits=options.get("limits", ()),
        keep=options.get("keep", False),
        doc=facts.doc,
        origin=facts.origin,
    )


def _check_names(wires: Wires) -> None:
    """Refuses parameters that are named like a mapped step: a name never changes the number of calls.

    Raises:
        GraphError: There is one.
    """
    if not wires.mapped or not wires.by_name:
        return
    depth = _depths(wires.nodes)
    for step, param, source, word in wires.by_name:
        if depth.get(source):
            raise GraphError(
                f"{slot(step, param, word)} is named like a mapped step, and a name makes no calls;\n"
                f"say {param}=gather({source}) for the list of all its items, "
                f"or {param}=use({source}) for one call per item"
            )


def _depths(nodes: Sequence[Node]) -> dict[str, int]:
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


def _explain_cycle(error: CycleError, wires: Wires) -> str:
    """The circle, and the parameter that makes each of its edges, for as many as fit a line."""
    nodes = {node.id: node for node in wires.nodes}
    named = {(step.id, param) for step, param, *_ in wires.by_name}
    parts, mend = [], ""
    for source, taker in zip(error.cycle, error.cycle[1:], strict=False):
        need = next(need for need in nodes[taker].needs if need.node == source)
        asks = "after" if need.how == "after" else need.param or "a condition"
        parts.append(f"{taker!r} asks {source!r} ({asks})")
        if (taker, need.param) in named and not mend:
            mend = f"\n{need.param!r} of {taker!r} is wired by its name alone; rename it if an input is meant"
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"{error.args[0]}\n{'; '.join(parts[:3])}{more}{mend}"
