"""A graph as Mermaid source. Ids are numbers of ours; names stand in quotes, encoded."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.core.graph import Graph
from penstock.core.model import Node

from .parts import edges, scope_tree, traits

_ARROWS = {
    "use": "-->",
    "each": "==>|each|",
    "gather": "==>|gather|",
    "outcome": "-->|outcome|",
    "after": "-.->",
}
_SAFE = frozenset(" _,()=/:'→")


def mermaid(graph: Graph) -> str:
    """The source of a flow chart, top down; a map is a subgraph around the steps that run once per item."""
    inner, nodes = scope_tree(graph)
    lines = ["flowchart TD"]

    def level(number: int, indent: str) -> None:
        for position in nodes[number]:
            lines.append(f"{indent}n{position}{_shape(graph.nodes[position])}")
        for scope in inner[number]:
            title = quoted("each of " + graph.nodes[graph.scopes[scope].source].id)
            lines.append(f"{indent}subgraph m{scope}[{title}]")
            level(scope, indent + "    ")
            lines.append(f"{indent}end")

    level(0, "    ")
    lines += _edges(graph)
    lines += ["    classDef map fill:#8883,stroke:#8888,stroke-dasharray:4"] if inner[0] else []
    lines += [f"    class m{number} map" for number in range(1, len(graph.scopes))]
    return "\n".join(lines) + "\n"


def _shape(node: Node) -> str:
    label = quoted(node.id, *traits(node))
    if node.kind == "gate":
        return f"([{label}])"
    return f"{{{{{label}}}}}" if node.when is not None else f"[{label}]"


def _edges(graph: Graph) -> Iterator[str]:
    for position, node in enumerate(graph.nodes):
        for how, id in edges(node):
            yield f"    n{graph.index[id]} {_ARROWS[how]} n{position}"


def quoted(text: str, *more: str) -> str:
    """A label: letters, digits and harmless signs as they are, every other character by its number.

    Mermaid reads labels as Markdown and as HTML, and gives a meaning to some of either: so a full stop, which
    makes a list of ``1. x``, and a dash, which makes one of ``- x``, are numbers too.
    """
    parts = ["".join(_coded(character) for character in part) for part in (text, *more)]
    return '"' + "<br>".join(parts) + '"'


def _coded(character: str) -> str:
    if character.isalnum() or character in _SAFE:
        return character
    if "\ud800" <= character <= "\udfff" or not character.isprintable():
        character = "\ufffd"
    return f"#{ord(character)};"
