"""What one box stands for. A large graph is drawn as fewer boxes, not as smaller ones.

Each way of taking steps together is tried in turn, the one that says most first, until few enough are left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from penstock.core.outline import Outline

from .blocks import Block, Blocks
from .layers import ranks

MOST = 60  # boxes of a picture in which nothing need be taken together
WIDEST = 12  # boxes of one of its rows
_AIM = 40  # boxes of a picture in which something is
_AIM_WIDE = 10
_BENDS = 30_000  # of all lines, up to which every step is drawn on request
_BRANCHES = 3  # so many that are alike are one box
_LONG_ROW = 6
_ROUNDS = 6

_JOINS = re.compile(r"(?<=.)[./](?=.)")  # between the parts of the name of a step of a sub-flow

Set = tuple[Sequence[int], str, int, str]


def grouped(outline: Outline, group: bool | None = None) -> Blocks:
    """The blocks that are drawn.

    Args:
        outline: The graph.
        group: True takes together all that is alike, every sub-flow and every map; False nothing, as long as
            the lines do not bend tens of thousands of times; None as
            much as it takes to draw no more than MOST boxes, and rows no longer than WIDEST where their steps
            are alike.
    """
    blocks = Blocks(outline)
    if group is False and _tangled(blocks):
        group = None
    if group is None and (len(blocks.all) > MOST or _widest(blocks) > WIDEST):
        for way in _WAYS:
            way(blocks)
            if _readable(blocks):
                break
    elif group:
        _branches(blocks)
        _parts(blocks, wholly=True)
        _maps(blocks, wholly=True)
    return blocks


def shape(name: str) -> str:
    """A name without its numbers."""
    return re.sub(r"\d+", "\0", name)


def _widest(blocks: Blocks) -> int:
    return max(Counter(_rows_of(blocks)).values(), default=0)


def _readable(blocks: Blocks) -> bool:
    return len(blocks.all) <= _AIM and _widest(blocks) <= _AIM_WIDE


def _rows_of(blocks: Blocks) -> list[int]:
    links = blocks.links()
    return ranks(len(blocks.all), [(one, other, 0) for one, other in links])[0]


# --- ways -------------------------------------------------------------------------------------------------


def _branches(blocks: Blocks) -> None:
    """Steps of one row that are alike, need what is alike, and are needed by what is alike."""
    nodes = blocks.outline.nodes
    color = _numbered(
        [
            (blocks.rank[at], node.scope, shape(node.id), node.kind, node.conditional, node.traits)
            for at, node in enumerate(nodes)
        ]
    )
    up, down = blocks.near()
    for _ in range(_ROUNDS):
        finer = _numbered(
            [
                (
                    color[at],
                    frozenset([color[one] for one in up[at]]),
                    frozenset([color[one] for one in down[at]]),
                )
                for at in range(len(nodes))
            ]
        )
        settled = max(finer, default=0) == max(color, default=0)
        color = finer
        if settled:
            break
    blocks.merge(_sets(blocks, color, "alike", _BRANCHES))


def _alike_in_row(blocks: Blocks) -> None:
    """Steps of one row whose names differ by numbers only."""
    rows = _rows_of(blocks)
    keys = [(row, one.scope, _shape(blocks, one)) for row, one in zip(rows, blocks.all, strict=True)]
    blocks.merge(_sets(blocks, keys))


def _alike(blocks: Blocks) -> None:
    """Steps whose names differ by numbers only."""
    blocks.merge(_sets(blocks, [(one.scope, _shape(blocks, one)) for one in blocks.all]))


def _parts(blocks: Blocks, wholly: bool = False) -> None:
    """The steps of a sub-flow, the innermost first."""
    nodes = blocks.outline.nodes
    depth = max((len(_JOINS.findall(node.id)) for node in nodes), default=0)
    for length in range(depth, 0, -1):
        if not wholly and _readable(blocks):
            return
        found: dict[str, list[int]] = {}
        for number, block in enumerate(blocks.all):
            prefixes = {prefix(nodes[node].id, length) for node in block.nodes}
            if len(prefixes) == 1 and (one := prefixes.pop()):
                found.setdefault(one, []).append(number)
        for number, block in enumerate(blocks.all):  # the head of a sub-flow has its name
            if len(block.nodes) == 1 and nodes[block.nodes[0]].id in found:
                found[nodes[block.nodes[0]].id].append(number)
        blocks.merge(
            (*_whole_maps(blocks, members), name)
            for name, members in found.items()
            if len(members) < len(blocks.all)
        )


def prefix(id: str, length: int) -> str:
    """The first parts of an id; empty if it has no more than those."""
    joins = [found.start() for found in _JOINS.finditer(id)]
    return id[: joins[length - 1]] if len(joins) >= length else ""


def _whole_maps(blocks: Blocks, members: Sequence[int]) -> tuple[list[int], str, int]:
    """The largest part of a set that lies in one map; of a map within it all or nothing."""
    scopes = blocks.outline.scopes
    chosen = set(members)
    outer = _common([blocks.all[one].scope for one in members], blocks.outline)
    torn = set()
    for number, block in enumerate(blocks.all):
        if number not in chosen:
            scope = block.scope
            while scope > 0:
                torn.add(scope)
                scope = scopes[scope].parent
    whole = []
    for one in members:
        scope = blocks.all[one].scope
        while scope > 0 and scopes[scope].parent != outer and scope != outer:
            scope = scopes[scope].parent
        if scope == outer or scope not in torn:
            whole.append(one)
    return whole, "part", outer


def _common(found: Sequence[int], outline: Outline) -> int:
    """The innermost map that all of these maps lie in."""
    common = found[0]
    for scope in found[1:]:
        while common != scope:
            if common > scope:
                common = outline.scopes[common].parent
            else:
                scope = outline.scopes[scope].parent
    return common


def _maps(blocks: Blocks, wholly: bool = False) -> None:
    """All steps of a map, the innermost first."""
    scopes = blocks.outline.scopes
    for number in range(len(scopes) - 1, 0, -1):
        if not wholly and _readable(blocks):
            return
        members = [at for at, block in enumerate(blocks.all) if block.scope == number]
        blocks.merge([(members, "map", scopes[number].parent, str(number))])


def _chains(blocks: Blocks) -> None:
    """Steps that follow one another and nothing else."""
    up, down = blocks.near()
    scope = [block.scope for block in blocks.all]

    def follows(one: int) -> bool:
        return len(up[one]) == 1 and len(down[up[one][0]]) == 1 and scope[one] == scope[up[one][0]]

    sets = []
    for start in range(len(blocks.all)):
        if not follows(start):
            chain = [start]
            while len(down[chain[-1]]) == 1 and follows(down[chain[-1]][0]):
                chain.append(down[chain[-1]][0])
            if len(chain) > 2:
                sets.append((chain, "chain", scope[start], ""))
    blocks.merge(sets)


def _same_place(blocks: Blocks) -> None:
    """Steps that need the same and are needed by the same."""
    up, down = blocks.near()
    keys = [(one.scope, tuple(up[at]), tuple(down[at])) for at, one in enumerate(blocks.all)]
    blocks.merge(_sets(blocks, keys, "row", _BRANCHES))


def _rows(blocks: Blocks, least: int = _LONG_ROW) -> None:
    """Long rows, whatever stands in them."""
    keys = [(row, one.scope) for row, one in zip(_rows_of(blocks), blocks.all, strict=True)]
    blocks.merge(_sets(blocks, keys, "row", least))


def _all_rows(blocks: Blocks) -> None:
    _rows(blocks, 2)


def _bands(blocks: Blocks) -> None:
    """Several rows at a time, so that any graph comes to an end."""
    rows = _rows_of(blocks)
    most = max(rows, default=0) + 1
    if most > _AIM // 2:
        keys = [(row * _AIM // (2 * most), one.scope) for row, one in zip(rows, blocks.all, strict=True)]
        blocks.merge(_sets(blocks, keys, "row"))


def _tangled(blocks: Blocks) -> bool:
    """Whether the lines of single steps would bend too often for anyone to follow, or for us to draw."""
    longest: dict[tuple[int, int], int] = {}
    for source, target, kind in blocks.edges:
        lane = source, kind
        longest[lane] = max(longest.get(lane, 0), blocks.rank[target] - blocks.rank[source] - 1)
    return sum(longest.values()) > _BENDS


_WAYS: tuple[Callable[[Blocks], None], ...] = (
    _branches, _alike_in_row, _alike, _parts, _maps, _same_place, _chains, _rows, _all_rows, _chains, _bands,
)  # fmt: skip


# --- sets -------------------------------------------------------------------------------------------------


def _sets(blocks: Blocks, keys: Sequence[object], why: str = "alike", least: int = 2) -> Iterator[Set]:
    """Blocks with the same key."""
    found: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    for members in found.values():
        if len(members) >= least:
            first = blocks.all[members[0]]
            yield members, why, first.scope, ""


def _numbered(keys: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _shape(blocks: Blocks, block: Block) -> object:
    """The shape of the names of a block whose steps are alike; of any other one nothing that is another's."""
    if block.why not in ("step", "alike"):
        return block.nodes
    node = blocks.outline.nodes[block.nodes[0]]
    return shape(node.id), node.kind
