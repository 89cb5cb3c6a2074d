"""A row about drawings: what the layout of a large graph costs beside the drawing of a finished one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.measure import Line, Scale, alternate, number, spread
from penstock.core.outline import Outline, OutlineNode
from penstock.draw import boxes, chart, svg
from penstock.draw.layout import Layout, layout

STEPS = 2_000
_WIDE = 50


def layered(steps: int) -> Outline:
    """Rows of 50 steps; each needs two steps of the row above, and every tenth one of the row above that."""
    nodes = []
    for at in range(steps):
        row, column = divmod(at, _WIDE)
        above = [at - _WIDE, (row - 1) * _WIDE + (column + 1) % _WIDE] if row else []
        above += [at - 2 * _WIDE] if row > 1 and at % 10 == 0 else []
        nodes.append(
            OutlineNode(
                f"step {row}.{column}", needs=tuple(("use", f"step {a // _WIDE}.{a % _WIDE}") for a in above)
            )
        )
    return Outline("layered", tuple(nodes))


def by_hand(outline: Outline) -> dict[str, int]:
    """The floor's half of the work: the row of each step, the longest way from a start, as one writes it."""
    takers: dict[str, list[str]] = {node.id: [] for node in outline.nodes}
    waits = {node.id: len(node.needs) for node in outline.nodes}
    for node in outline.nodes:
        for _, need in node.needs:
            takers[need].append(node.id)
    rows = dict.fromkeys(takers, 0)
    ready = [id for id, count in waits.items() if not count]
    for id in ready:
        for taker in takers[id]:
            rows[taker] = max(rows[taker], rows[id] + 1)
            waits[taker] -= 1
            if not waits[taker]:
                ready.append(taker)
    return rows


def layouts(scale: Scale) -> Iterator[Line]:
    """A picture of 2,000 steps, each of them a box. Both sides measure the texts and write the same SVG."""
    outline = layered(STEPS)

    def sized() -> tuple[chart.Chart, list[boxes.Card]]:
        shown = chart.chart(outline, None, False)
        return shown, [boxes.card(box) for box in shown.boxes]

    def laid_out(shown: chart.Chart, cards: list[boxes.Card]) -> Layout:
        return layout([(card.width, card.height) for card in cards], shown.edges)

    finished = laid_out(*sized())

    def floor() -> Any:
        by_hand(outline)
        shown, cards = sized()
        return [*svg.wires(shown, finished), *svg.boxes(shown, cards, finished)]

    def own() -> Any:
        shown, cards = sized()
        laid = laid_out(shown, cards)
        return [*svg.wires(shown, laid), *svg.boxes(shown, cards, laid)]

    if floor() != own() or len(set(by_hand(outline).values())) != STEPS // _WIDE:
        raise AssertionError("the floor and Penstock do not draw the same")
    found = alternate(floor, own, scale.pairs)
    first, second = (spread([cpu * 1e3 for _, cpu in side]).median for side in found)
    yield Line(
        "Drawings",
        f"lay out and draw {STEPS:,} steps; the floor sorts them by longest path and draws a finished layout",
        f"{number(first)} ms",
        f"{number(second)} ms",
        found.ratio("cpu"),
        must=3.0,
        aim=2.0,
    )
