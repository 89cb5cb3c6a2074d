"""What a picture shows: boxes with their words, frames, and what joins them; not where they go."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.core.outline import NodeStanding, Outline
from penstock.core.visible import one_line

from .blocks import Block, Blocks, phases
from .groups import grouped
from .layers import Edge

_NAMED = 3  # steps that a box of several names
_LISTED = 30  # that its tooltip does

WORST = ("failed", "retrying", "running", "waiting", "cancelled", "ready", "pending", "succeeded", "skipped")
"""Statuses, the one that counts for a group first."""

_OPEN = frozenset(("ready", "pending"))


class Box(NamedTuple):
    """One box.

    Attributes:
        nodes: Positions of the steps it stands for.
        shape: ``step``, ``gate``, ``when`` (it has a condition) or ``group``.
        name: What stands in it.
        small: What stands below that, in small letters; may be empty.
        standing: How it stands in a run, if that is drawn.
        failures: The names of steps in it that failed, the first few.
        tip: What is said of it beside the picture.
    """

    nodes: tuple[int, ...]
    shape: str
    name: str
    small: str = ""
    standing: NodeStanding | None = None
    failures: tuple[str, ...] = ()
    tip: str = ""


class Around(NamedTuple):
    """A frame: its parent, what stands at its top, and how many items it had in a run, 0 where unknown."""

    parent: int
    text: str
    items: int = 0


class Chart(NamedTuple):
    """What a picture shows.

    Attributes:
        boxes: Its boxes.
        edges: What joins them: from, to and a number of `kinds`.
        kinds: Kinds of edges.
        inside: The frame of each box.
        frames: The frames; the first is the picture.
        common: What the names of all steps begin with, which their boxes leave out.
    """

    boxes: list[Box]
    edges: list[Edge]
    kinds: list[str]
    inside: list[int]
    frames: list[Around]
    common: str


def chart(
    outline: Outline, statuses: Mapping[str, NodeStanding] | None = None, group: bool | None = None
) -> Chart:
    """What the picture of a graph shows.

    Args:
        outline: The graph.
        statuses: How its steps stand in a run; a step that is not in it is left out of the counts.
        group: As of `grouped`.
    """
    blocks = grouped(outline, group)
    of = blocks.of()
    edges = dict.fromkeys((of[source], of[target], kind) for source, target, kind in blocks.edges)
    frames, inside = _frames(blocks, statuses or {})
    common = _common([node.id for node in outline.nodes])
    boxes = [_box(block, outline, statuses) for block in blocks.all]
    if common:
        boxes = [
            box._replace(name=box.name.replace(common, ""), small=box.small.replace(common, ""))
            for box in boxes
        ]
        frames = [frame._replace(text=frame.text.replace(common, "")) for frame in frames]
    return Chart(boxes, [edge for edge in edges if edge[0] != edge[1]], blocks.kinds, inside, frames, common)


def _common(ids: Sequence[str]) -> str:
    """What all ids begin with, up to a full stop: it is said once."""
    if len(ids) < _NAMED:
        return ""
    low, high = min(ids), max(ids)
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return one_line(low[: max(low.rfind(".", 0, same), low.rfind("/", 0, same)) + 1])


# --- frames -----------------------------------------------------------------------------------------------


def _frames(blocks: Blocks, statuses: Mapping[str, NodeStanding]) -> tuple[list[Around], list[int]]:
    """The frames of maps; of a map that goes on with what was gathered from it several, in a row."""
    scopes = blocks.outline.scopes
    inner = [block.scope for block in blocks.all]
    if not any(inner):
        return [Around(-1, "")], inner
    links = blocks.links()
    to = list(range(len(blocks.all)))
    parts: list[tuple[int, list[int]]] = []  # of outer maps before those of inner ones
    for scope in range(len(scopes) - 1, 0, -1):
        members = [at for at, one in enumerate(inner) if _within(one, scope, scopes)]
        mine = phases(to, links, members)
        parts[:0] = [(scope, part) for part in mine]
        for part in mine:
            for member in part:
                to[member] = to[part[0]]
    frames, inside = [Around(-1, "")], [0] * len(inner)
    for scope, part in parts:
        frames.append(Around(inside[part[0]], _mapped(blocks, scope), _items(blocks, part, scope, statuses)))
        for member in part:
            inside[member] = len(frames) - 1
    return frames, inside


def _within(scope: int, outer: int, scopes: Sequence[tuple[int, str]]) -> bool:
    while scope > outer:
        scope = scopes[scope][0]
    return scope == outer


def _mapped(blocks: Blocks, scope: int) -> str:
    return "each of " + one_line(blocks.outline.scopes[scope].source)


def _items(blocks: Blocks, part: Sequence[int], scope: int, statuses: Mapping[str, NodeStanding]) -> int:
    counts = [
        sum(standing.counts.values())
        for one in part
        for node in blocks.all[one].nodes
        if blocks.all[one].scope == scope and (standing := statuses.get(blocks.outline.nodes[node].id))
    ]
    return max(counts, default=0)


# --- boxes ------------------------------------------------------------------------------------------------


def _box(block: Block, outline: Outline, statuses: Mapping[str, NodeStanding] | None) -> Box:
    if len(block.nodes) == 1 and block.why == "step":
        return _step(block.nodes[0], outline, statuses)
    names = [one_line(outline.nodes[node].id) for node in block.nodes]
    count = f"{len(names):,}"
    several = f"{count} {'step' if len(names) == 1 else 'steps'}"
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    match block.why:
        case "alike":
            name, small = f"{pattern(names)} × {count}", _traits(block, outline)
        case "part":
            name, small = one_line(block.about), several
        case "map":
            name, small = f"each of {one_line(outline.scopes[int(block.about)].source)}", f"{several}: {some}"
        case "chain":
            name, small = f"{names[0]} → {names[-1]}", f"{several}, one after another"
        case _:
            name, small = several, some
    tip = "\n".join(
        [name, *names[:_LISTED], *([f"and {len(names) - _LISTED:,} more"] * (len(names) > _LISTED))]
    )
    if statuses is None:
        return Box(block.nodes, "group", name, small, tip=tip)
    found = [statuses.get(outline.nodes[node].id) for node in block.nodes]
    standing = together([one for one in found if one is not None])
    failed = [name for name, one in zip(names, found, strict=True) if one and one.status == "failed"]
    return Box(block.nodes, "group", name, small, standing, tuple(failed), tip)


def _step(position: int, outline: Outline, statuses: Mapping[str, NodeStanding] | None) -> Box:
    node = outline.nodes[position]
    shape = "gate" if node.kind == "gate" else "when" if node.conditional else "step"
    standing = None if statuses is None else statuses.get(node.id)
    name, small = one_line(node.id), ", ".join(map(one_line, node.traits))
    said = [name, small, standing.status if standing else "", one_line(standing.note) if standing else ""]
    return Box((position,), shape, name, small, standing, tip="\n".join(filter(None, said)))


def _traits(block: Block, outline: Outline) -> str:
    """What all steps of a block say of themselves."""
    first, *others = (outline.nodes[node].traits for node in block.nodes)
    return ", ".join(one_line(trait) for trait in first if all(trait in other for other in others))


def together(standings: Sequence[NodeStanding]) -> NodeStanding:
    """How several steps stand as one."""
    counts: Counter[str] = Counter()
    statuses = set()
    for one in standings:
        statuses.add(one.status)
        counts.update(one.counts or {one.status: 1})
    worst = next((status for status in WORST if status in statuses), "pending")
    if worst in _OPEN and statuses - _OPEN:
        worst = "running"
    return NodeStanding(worst, counts)


def pattern(names: Sequence[str]) -> str:
    """What names have in common that differ in their numbers: ``align_…`` of ``align_1`` and ``align_2``."""
    pieces = [re.split(r"(\d+)", name) for name in names]
    if any(len(one) != len(pieces[0]) for one in pieces):
        return names[0]
    joined = []
    for column in zip(*pieces, strict=True):
        joined.append(column[0] if all(piece == column[0] for piece in column) else "…")
    return re.sub(r"…(?:[\W_]?…)+", "…", "".join(joined))
