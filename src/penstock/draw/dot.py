"""A graph as DOT source. Ids are numbers of ours; names stand in quotes, escaped."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.core.outline import Outline, OutlineNode, by_scope

_STYLES = {
    "use": "",
    "each": ' [label=" each", style=bold, arrowhead=crow]',
    "gather": ' [label=" gather", style=bold, dir=both, arrowtail=crow]',
    "outcome": ' [label=" outcome"]',
    "after": " [style=dashed]",
}


def dot(outline: Outline) -> str:
    """The source of a digraph, top down; a map is a cluster around the steps that run once per item."""
    inner, nodes = by_scope(outline)
    lines = [
        f"digraph {quoted(outline.name)} {{",
        '    graph [fontname="Helvetica", rankdir=TB];',
        '    node [fontname="Helvetica", fontsize=11, shape=box, style=rounded];',
        '    edge [fontname="Helvetica", fontsize=9];',
    ]

    def level(number: int, indent: str) -> None:
        for position in nodes[number]:
            lines.append(f"{indent}n{position} [{_look(outline.nodes[position])}];")
        for scope in inner[number]:
            title = quoted("each of " + outline.scopes[scope].source)
            lines.append(f"{indent}subgraph cluster_{scope} {{")
            lines.append(f'{indent}    label={title}; style="rounded,dashed"; fontsize=9;')
            level(scope, indent + "    ")
            lines.append(f"{indent}}}")

    level(0, "    ")
    return "\n".join([*lines, *_edges(outline), "}"]) + "\n"


def _look(node: OutlineNode) -> str:
    label = f"label={quoted(node.id, *node.traits)}"
    if node.kind == "gate":
        return f"{label}, shape=oval"
    return f'{label}, shape=hexagon, style=""' if node.conditional else label


def _edges(outline: Outline) -> Iterator[str]:
    index = {node.id: position for position, node in enumerate(outline.nodes)}
    for position, node in enumerate(outline.nodes):
        for how, id in node.needs:
            yield f"    n{index[id]} -> n{position}{_STYLES[how]};"


def quoted(text: str, *more: str) -> str:
    """A string of DOT. In labels a backslash begins an escape and an ampersand an entity, too."""
    return '"' + "\\n".join(_escaped(part) for part in (text, *more)) + '"'


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    return character if character.isprintable() else "\ufffd"
