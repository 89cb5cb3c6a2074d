"""Where every parameter comes from, as a table for people: a view of a graph, never a source of truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Condition, Input, Need, Node, Resource
from penstock.core.visible import one_line

from .loops import Until, last
from .markers import Marker, policy
from .switches import ROUTE, Pick
from .words import brief, call_name, short

WIDTH = 100
LINES = 3
"""What a parameter takes is cut after so many."""

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
    for resource in _resources(graph):
        mine = list(_of_resource(resource, graph.inputs)) or [("", "", "nothing")]
        rows.append((f"{resource.id} (resource)", *mine[0][1:]))
        rows += mine[1:]
    rows = [(one_line(step), one_line(parameter), one_line(takes)) for step, parameter, takes in rows]
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
    for step, parameter, takes in rows:
        left = f"{_cut(step, first):{first}}  {_cut(parameter, second):{second}}  "
        for part in _wrapped(takes, third):
            lines.append(f"{left}{part}".rstrip())
            left = " " * len(left)
    return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    return wrap(
        text, width, subsequent_indent="  ", replace_whitespace=False, break_on_hyphens=False,
        max_lines=LINES, placeholder=" …",
    )  # fmt: skip


def _rows(node: Node, inputs: Mapping[str, Input], step: Any) -> Iterator[_Row]:
    """One row for each parameter in the order of the signature, then what only conditions and order want."""
    if node.kind == "gather":
        yield "", "(fold)", _fold(node)
        return
    if node.call is last:
        calls = " to ".join(dict.fromkeys([node.needs[0].node, node.needs[-1].node]))
        yield "", "(repeat)", f"the last value of {calls}"
        return
    found: dict[str, str] = {}
    for need in node.needs:
        if need.param is not None and isinstance(node.call, Pick) and need.param != ROUTE:
            found[need.param] = f"use({need.node}), if it ran"
        elif need.param is not None:
            found[need.param] = _need(need) + ("  (by name)" if _by_name(step, need.param) else "")
    for param, name in node.inputs:
        found[param] = _input(inputs[name])
    for param, resource in node.resources:
        one = "" if resource.scope == "run" else ", one for each worker"
        found[param] = f"the resource {resource.id}{one}" + ("  (by name)" if _by_name(step, param) else "")
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
    if node.stream:
        yield "", "(stream)", "gives its elements one by one"
    after = [need.node for need in node.needs if need.how == "after"]
    if after:
        yield "", "(after)", ", ".join(after)
    if not isinstance(node.call, Pick):
        yield from _asked(node)


_GUARDS = {
    "route?": ("(switch)", "the branch that {} names"),
    "head?": ("(sub-flow)", "only where {} has a value"),
}
"""What others have put in front of a condition: how it is called, and what it says."""


def _asked(node: Node) -> Iterator[_Row]:
    """What decides whether it starts."""
    for word, asked in (("(when)", node.when), ("(trigger)", node.trigger)):
        if isinstance(asked, Condition):
            takes = [(param, _need(node.needs[index])) for param, index in asked.needs]
            takes += [(param, f"input {name}") for param, name in asked.inputs]
            own = [f"{param} of {source}" for param, source in takes if param not in _GUARDS]
            for param, source in takes:
                if param in _GUARDS:
                    guard, says = _GUARDS[param]
                    yield "", guard, says.format(source)
            if own or len(own) == len(takes):
                until = isinstance(getattr(asked.call, "__self__", asked.call), Until)
                yield "", "(until)" if until else word, ", ".join(own) or "nothing"
        elif asked is not None and asked != "all_succeeded":
            yield "", word, asked


def _resources(graph: Graph) -> list[Resource]:
    """All that its nodes take, and what those are made of, in the order in which they are asked for."""
    todo = list({id(one): one for node in graph.nodes for _, one in node.resources}.values())
    for resource in todo:  # grows while it is read
        todo += [part for _, part in resource.resources if all(part is not known for known in todo)]
    return todo


def _of_resource(resource: Resource, inputs: Mapping[str, Input]) -> Iterator[_Row]:
    for param, name in resource.inputs:
        yield "", param, _input(inputs[name])
    for param, part in resource.resources:
        yield "", param, f"the resource {part.id}"


def _by_name(step: Any, param: str) -> bool:
    if step is None or param in step.bindings:
        return False
    found = next((one for one in step.facts.params if one.name == param), None)
    return found is not None and not isinstance(found.default, Marker)


def _need(need: Need) -> str:
    """A need in the words of the markers."""
    if need.how == "gather":
        return "gather(" * need.levels + need.node + policy(need.failures) + ")" * need.levels
    if need.how == "each":
        part = "" if need.part is None else f", {need.part!r}"
        key = "" if need.key is None else f", key={call_name(need.key)}"
        return f"each({need.node}{part}{key})"
    if need.how == "use" and need.default is not NOTHING:
        return f"optional({need.node}, {need.default!r})"
    if need.part is not None:
        return f"use({need.node}, {need.part!r})"
    default = ", or its default if that was skipped" if need.how == "use" and need.accepts else ""
    return f"{need.how}({need.node}){default}"


def _fold(node: Node) -> str:
    need, bound = node.needs[0], node.bound or {}
    initial = brief(bound.get("initial"))
    return f"fold({need.node}, {call_name(node.call)}, {initial}{policy(need.failures)})"


def _input(asked: Input) -> str:
    type_ = f": {short(asked.type)}" if asked.type is not None else ""
    default = "" if asked.default is NOTHING else f" = {asked.default!r}"
    return f"input {asked.name}{type_}{default}"
