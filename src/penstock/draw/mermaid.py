"""A graph as Mermaid source. Ids are numbers of ours; names stand in quotes, encoded."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.core.outline import Outline, OutlineNode, by_scope

_ARROWS = {
    "use": "-->",
    "each": "==>|each|",
    "gather": "==>|gather|",
    "outcome": "-->|outcome|",
    "after": "-.->",
}
_SAFE = frozenset(" _,()=/:'→")


def mermaid(outline: Outline) -> str:
    """The source of a flow chart, top down; a map is a subgraph around the steps that run once per item."""
    inner, nodes = by_scope(outline)
    lines = ["flowchart TD"]

    def level(number: int, indent: str) -> None:
        for position in nodes[number]:
            lines.append(f"{indent}n{position}{_shape(outline.nodes[position])}")
        for scope in inner[number]:
            title = quoted("each of " + outline.scopes[scope].source)
            lines.append(f"{indent}subgraph m{scope}[{title}]")
            level(scope, indent + "    ")
            lines.append(f"{indent}end")

    level(0, "    ")
    lines += _edges(outline)
    lines += ["    classDef map fill:#8883,stroke:#8888,stroke-dasharray:4"] if inner[0] else []
    lines += [f"    class m{number} map" for number in range(1, len(outline.scopes))]
    return "\n".join(lines) + "\n"


def _shape(node: OutlineNode) -> str:
    label = quoted(node.id or " ", *node.traits)  # Mermaid has no empty label
    if node.kind == "gate":
        return f"([{label}])"
    return f"{{{{{label}}}}}" if node.conditional else f"[{label}]"


def _edges(outline: Outline) -> Iterator[str]:
    index = {node.id: position for position, node in enumerate(outline.nodes)}
    for position, node in enumerate(outline.nodes):
        for how, id in node.needs:
            yield f"    n{index[id]} {_ARROWS[how]} n{position}"


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
