"""Where every parameter comes from, as a table for people: a view of a graph, never a source of truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Condition, Input, Need, Node

from .markers import Marker
from .words import short

WIDTH = 100
_Row = tuple[str, str, str]


def table(graph: Graph, steps: Mapping[str, Any]) -> str:
    """The wiring of a graph, a line for each parameter.

    Args:
        graph: What to show.
        steps: The steps it was built of, by id; nodes of inputs have none.
    """
    rows: list[_Row] = [("step", "parameter", "takes")]
    for node in graph.nodes:
        mine = list(_rows(node, graph.inputs, steps.get(node.id))) or [("", "", "nothing")]
        rows.append((node.id, *mine[0][1:]))
        rows += mine[1:]
    first = min(max(len(row[0]) for row in rows), 32)
    second = min(max(len(row[1]) for row in rows), 24)
    third = WIDTH - first - second - 4
    names = ", ".join(graph.inputs) or "none"
    lines = [
        _cut(
            f"flow {graph.name!r}: {len(graph)} {'step' if len(graph) == 1 else 'steps'}; inputs: {names}",
            WIDTH,
        ),
        "",
    ]
    for row in rows:
        lines.append(
            f"{_cut(row[0], first):{first}}  {_cut(row[1], second):{second}}  {_cut(row[2], third)}".rstrip()
        )
    return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _rows(node: Node, inputs: Mapping[str, Input], step: Any) -> Iterator[_Row]:
    """One row for each parameter in the order of the signature, then what only conditions and order want."""
    found: dict[str, str] = {}
    for need in node.needs:
        if need.param is not None:
            found[need.param] = _need(need) + ("  (by name)" if _by_name(step, need.param) else "")
    for param, name in node.inputs:
        found[param] = _input(inputs[name])
    for param, value in (node.bound or {}).items():
        found[param] = f"{value!r}  (bound)"
    if node.context is not None:
        found[node.context] = "the Context of the attempt"
    if step is not None:
        for param in step.facts.params:
            if param.name in found or param.fixed:
                yield "", param.name, found.pop(param.name, f"{param.default!r}  (of the partial)")
    for name, takes in found.items():
        yield "", name, takes
    after = [need.node for need in node.needs if need.how == "after"]
    if after:
        yield "", "(after)", ", ".join(after)
    for word, asked in (("(when)", node.when), ("(trigger)", node.trigger)):
        if isinstance(asked, Condition):
            parts = [f"{param} of {_need(node.needs[index])}" for param, index in asked.needs]
            parts += [f"{param} of input {name}" for param, name in asked.inputs]
            yield "", word, ", ".join(parts) or "nothing"
        elif asked is not None and asked != "all_succeeded":
            yield "", word, asked


def _by_name(step: Any, param: str) -> bool:
    if step is None or param in step.bindings:
        return False
    found = next((one for one in step.facts.params if one.name == param), None)
    return found is not None and not isinstance(found.default, Marker)


def _need(need: Need) -> str:
    """A need in the words of the markers."""
    if need.how == "gather":
        policy = "" if need.failures == "raise" else f", failures={need.failures!r}"
        return "gather(" * need.levels + need.node + policy + ")" * need.levels
    if need.how == "use" and need.default is not NOTHING:
        return f"optional({need.node}, {need.default!r})"
    if need.part is not None:
        return f"use({need.node}, {need.part!r})"
    default = ", or its default if that was skipped" if need.how == "use" and need.accepts else ""
    return f"{need.how}({need.node}){default}"


def _input(asked: Input) -> str:
    type_ = f": {short(asked.type)}" if asked.type is not None else ""
    default = "" if asked.default is NOTHING else f" = {asked.default!r}"
    return f"input {asked.name}{type_}{default}"
