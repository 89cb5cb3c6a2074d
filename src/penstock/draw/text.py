"""A graph as text: one row a step, lines on the left for where values go, words on the right for how."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import get_args

from penstock.core.model import NOTHING, Input
from penstock.core.outline import Outline, OutlineNode

from .lanes import ROUGH, by_definition, by_depth, lay
from .layers import ranks

MOST_LANES = 16
NEEDS = 6
NAMES = 40

_SIGNS = {
    "step": ("●", "*", "step"),
    "map": ("◆", "#", "once per item"),
    "when": ("?", "?", "has a condition"),
    "gate": ("◔", "%", "waits for an answer"),
}


class _Drawn:
    """An outline with what of it is asked again and again.

    Args:
        outline: What is drawn.
        taken: By the id of a step the names of the flow's inputs that it takes.
        rough: Use no signs beyond ASCII.
    """

    def __init__(self, outline: Outline, taken: Mapping[str, Sequence[str]], rough: bool) -> None:
        self.outline, self.nodes, self.taken, self.rough = outline, outline.nodes, taken, rough
        index = {node.id: position for position, node in enumerate(outline.nodes)}
        needs = [(index[id], position, 0) for position, node in enumerate(self.nodes) for _, id in node.needs]
        self.parents: list[list[int]] = [[] for _ in self.nodes]
        self.dependents: list[list[int]] = [[] for _ in self.nodes]
        for source, target, _ in dict.fromkeys(ranks(len(self.nodes), needs)[1]):
            self.parents[target].append(source)
            self.dependents[source].append(target)
        self.order = by_definition(self.parents, self.dependents)

    def levels(self) -> list[list[int]]:
        """The steps by their distance from the start."""
        level = [0] * len(self.nodes)
        for position in self.order:
            level[position] = 1 + max((level[parent] for parent in self.parents[position]), default=-1)
        rows: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
        for position, row in enumerate(level):
            rows[row].append(position)
        return rows


def text(
    outline: Outline,
    *,
    inputs: Sequence[Input] = (),
    taken: Mapping[str, Sequence[str]] = MappingProxyType({}),
    rough: bool = False,
) -> str:
    """The drawing.

    Few lines at a time are drawn as lines; where more than MOST_LANES values would run side by side, steps
    stand below the number of their level instead.

    Args:
        outline: What is drawn.
        inputs: The inputs of the flow.
        taken: By the id of a step the names of the inputs that it takes.
        rough: Use no signs beyond ASCII (names stay as they are).
    """
    graph = _Drawn(outline, taken, rough)
    rows = lay(graph.order, graph.parents, graph.dependents)
    if max((row.wide for row in rows), default=0) > MOST_LANES:
        rows = lay(by_depth(graph.parents, graph.dependents), graph.parents, graph.dependents)
    names = min(NAMES, max((_cells(node.id) for node in graph.nodes), default=0))
    lines = [_head(graph)]
    if inputs:
        lines += ["", "inputs", *_inputs(inputs)]
    lines += ["", "steps"] if inputs else [""]
    wide = max((row.wide for row in rows), default=0)
    if wide > MOST_LANES:
        lines += _levels(graph, names)
    else:
        signs = ROUGH if rough else {}
        for row in rows:
            drawn = "".join(signs.get(sign, sign) for sign in row.row)
            at = 2 * row.column
            drawn = drawn[:at] + _sign(graph, row.node) + drawn[at + 1 :]
            lines.append(f"{drawn:<{2 * wide}} {_label(graph, row.node, names)}".rstrip())
    lines += _legend(graph)
    return "\n".join(map(_seen, lines)) + "\n"


def _head(graph: _Drawn) -> str:
    count, levels = len(graph.nodes), len(graph.levels())
    dot = "|" if graph.rough else "·"
    return (
        f"{graph.outline.name} {dot} {count:,} {'step' if count == 1 else 'steps'} "
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


def _levels(graph: _Drawn, names: int) -> Iterator[str]:
    for number, steps in enumerate(graph.levels(), 1):
        if number > 1:
            yield ""
        yield f"level {number} ({len(steps):,})"
        for at in steps:
            yield f"  {_sign(graph, at)} {_label(graph, at, names)}".rstrip()


def _kind(graph: _Drawn, position: int) -> str:
    node = graph.nodes[position]
    if node.kind == "gate":
        return "gate"
    return "map" if node.scope else "step"


def _sign(graph: _Drawn, position: int) -> str:
    return _SIGNS[_kind(graph, position)][graph.rough]


def _label(graph: _Drawn, position: int, names: int) -> str:
    node = graph.nodes[position]
    name = _seen(node.id)
    name = name if _cells(name) <= names else name[: names - 1] + ("~" if graph.rough else "…")
    name += " ?" if node.conditional else ""
    space = " " * max(names + 2 - _cells(name), 0)
    return f"{name}{space}  {_words(graph, node)}".rstrip()


def _words(graph: _Drawn, node: OutlineNode) -> str:
    grouped: dict[str, list[str]] = {}
    for how, id in node.needs:
        grouped.setdefault(how, []).append(_seen(id))
    parts = []
    for how, ids in grouped.items():
        more = f" and {len(ids) - NEEDS:,} more" if len(ids) > NEEDS else ""
        parts.append(f"{how} {', '.join(ids[:NEEDS])}{more}")
    if taken := graph.taken.get(node.id):
        parts.append(f"input {', '.join(taken[:NEEDS])}")
    found = f"{'; '.join(parts)}"
    special = ", ".join(node.traits)
    if graph.rough:
        special = special.replace("×", "x")
    return f"{found}  [{special}]".strip() if special else found


def _legend(graph: _Drawn) -> list[str]:
    used = {_kind(graph, position) for position in range(len(graph.nodes))}
    if any(node.conditional for node in graph.nodes):
        used.add("when")
    if used <= {"step"}:
        return []
    return ["", "   ".join(f"{sign[graph.rough]} {sign[2]}" for word, sign in _SIGNS.items() if word in used)]


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
