"""A graph as text: one row a step, lines on the left for where values go, words on the right for how."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import get_args

from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Input, Node

from .lanes import ROUGH, by_definition, by_depth, lay
from .parts import edges, traits

MOST_LANES = 16
NEEDS = 6
NAMES = 40

_SIGNS = {
    "step": ("●", "*", "step"),
    "map": ("◆", "#", "once per item"),
    "when": ("?", "?", "has a condition"),
    "gate": ("◔", "%", "waits for an answer"),
}


def text(graph: Graph, *, rough: bool = False) -> str:
    """The drawing.

    Few lines at a time are drawn as lines; where more than MOST_LANES values would run side by side, steps
    stand below the number of their level instead.

    Args:
        graph: What is drawn.
        rough: Use no signs beyond ASCII (names stay as they are).
    """
    dependents = graph.dependents()
    rows = lay(by_definition(graph.parents, dependents), graph.parents, dependents)
    if max((row.wide for row in rows), default=0) > MOST_LANES:
        rows = lay(by_depth(graph.parents, dependents), graph.parents, dependents)
    names = min(NAMES, max((_cells(node.id) for node in graph.nodes), default=0))
    lines = [_head(graph, rough)]
    if graph.inputs:
        lines += ["", "inputs", *_inputs(tuple(graph.inputs.values()))]
    lines += ["", "steps"] if graph.inputs else [""]
    wide = max((row.wide for row in rows), default=0)
    if wide > MOST_LANES:
        lines += _levels(graph, names, rough)
    else:
        signs = ROUGH if rough else {}
        for row in rows:
            drawn = "".join(signs.get(sign, sign) for sign in row.row)
            at = 2 * row.column
            drawn = drawn[:at] + _sign(graph, row.node, rough) + drawn[at + 1 :]
            lines.append(f"{drawn:<{2 * wide}} {_label(graph, row.node, names, rough)}".rstrip())
    lines += _legend(graph, rough)
    return "\n".join(map(_seen, lines)) + "\n"


def _head(graph: Graph, rough: bool) -> str:
    count, levels = len(graph.nodes), len(graph.levels())
    dot = "|" if rough else "·"
    return (
        f"{graph.name} {dot} {count:,} {'step' if count == 1 else 'steps'} "
        f"{dot} {levels:,} {'level' if levels == 1 else 'levels'}"
    )


def _inputs(inputs: Sequence[Input]) -> Iterator[str]:
    names = max(_cells(one.name) for one in inputs)
    for one in inputs:
        kind = "" if one.type is None else _type(one.type)
        default = "" if one.default is NOTHING else f"= {_brief(one.default)}"
        name = one.name + " " * (names - _cells(one.name))
        yield f"  {name}  {f'{kind} {default}'.strip()}".rstrip()


def _brief(value: object) -> str:
    try:
        text = str(value) if isinstance(value, PurePath) else repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 60 else text[:59] + "…"


def _type(type_: object) -> str:
    if isinstance(type_, type) and not get_args(type_):
        return type_.__name__
    return re.sub(r"\b[A-Za-z_][\w.]*\.(?=\w)", "", str(type_))


def _levels(graph: Graph, names: int, rough: bool) -> Iterator[str]:
    for number, ids in enumerate(graph.levels(), 1):
        if number > 1:
            yield ""
        yield f"level {number} ({len(ids):,})"
        for id in ids:
            at = graph.index[id]
            yield f"  {_sign(graph, at, rough)} {_label(graph, at, names, rough)}".rstrip()


def _kind(graph: Graph, position: int) -> str:
    node = graph.nodes[position]
    if node.kind == "gate":
        return "gate"
    return "map" if graph.scope_of[position] else "step"


def _sign(graph: Graph, position: int, rough: bool) -> str:
    return _SIGNS[_kind(graph, position)][rough]


def _label(graph: Graph, position: int, names: int, rough: bool) -> str:
    node = graph.nodes[position]
    name = _seen(node.id)
    name = name if _cells(name) <= names else name[: names - 1] + ("~" if rough else "…")
    name += " ?" if node.when is not None else ""
    space = " " * max(names + 2 - _cells(name), 0)
    return f"{name}{space}  {_words(node, rough)}".rstrip()


def _words(node: Node, rough: bool) -> str:
    grouped: dict[str, list[str]] = {}
    for how, id in edges(node):
        grouped.setdefault(how, []).append(_seen(id))
    parts = []
    for how, ids in grouped.items():
        more = f" and {len(ids) - NEEDS:,} more" if len(ids) > NEEDS else ""
        parts.append(f"{how} {', '.join(ids[:NEEDS])}{more}")
    if taken := list(dict.fromkeys(name for _, name in node.inputs)):
        parts.append(f"input {', '.join(taken[:NEEDS])}")
    found = f"{'; '.join(parts)}"
    special = ", ".join(traits(node))
    if rough:
        special = special.replace("×", "x")
    return f"{found}  [{special}]".strip() if special else found


def _legend(graph: Graph, rough: bool) -> list[str]:
    used = {_kind(graph, position) for position in range(len(graph.nodes))}
    if any(node.when is not None for node in graph.nodes):
        used.add("when")
    if used <= {"step"}:
        return []
    return ["", "   ".join(f"{sign[rough]} {sign[2]}" for word, sign in _SIGNS.items() if word in used)]


def _seen(name: str) -> str:
    """The name without anything that could move the cursor or turn the reading direction."""
    return "".join(one if one.isprintable() else "\ufffd" for one in name)


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(one) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )
