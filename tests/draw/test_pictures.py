"""Pictures as a browser shows them: no box on another, no text cut off, no line through a box."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.core.outline import NodeStanding, Outline, OutlineNode, OutlineScope, outline_of
from penstock.draw.svg import svg
from tests.draw.browser import opened
from tests.draw.corpus import allowed
from tests.draw.graphs import nested, orders, wide

TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "workflows"

# What is wrong with the picture in the page, in words.
LOOK = """
() => {
  const wrong = [], svg = document.querySelector('svg.pk');
  const at = (one) => one.getBBox();
  const boxes = [...svg.querySelectorAll('.pk-k')].map(group => {
    const parts = [...group.querySelectorAll(':scope > .pk-b')].map(at);
    const x = Math.min(...parts.map(p => p.x)), y = Math.min(...parts.map(p => p.y));
    const right = Math.max(...parts.map(p => p.x + p.width));
    const low = Math.max(...parts.map(p => p.y + p.height));
    const name = group.querySelector('.pk-n').textContent;
    for (const text of group.querySelectorAll('text')) {
      const t = at(text), main = parts[parts.length - 1];
      if (t.x < main.x + 3 || t.x + t.width > main.x + main.width - 3
          || t.y < main.y || t.y + t.height > main.y + main.height)
        wrong.push(`the text ${text.textContent} is not within its box`);
    }
    const texts = [...group.querySelectorAll('text')].map(at);
    texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {
      if (a.x < b.x + b.width && b.x < a.x + a.width && a.y + 2 < b.y + b.height && b.y + 2 < a.y + a.height)
        wrong.push(`two texts of ${name} overlap`);
    }));
    return {x, y, right, low, name};
  });
  const apart = (a, b, gap) =>
    a.right + gap <= b.x || b.right + gap <= a.x || a.low + gap <= b.y || b.low + gap <= a.y;
  boxes.sort((a, b) => a.y - b.y);
  boxes.forEach((a, i) => {
    for (let k = i + 1; k < boxes.length && boxes[k].y < a.low + 8; k++)
      if (!apart(a, boxes[k], 8)) wrong.push(`${a.name} is on or too near to ${boxes[k].name}`);
  });
  const frames = [...svg.querySelectorAll('.pk-m')].map(group => {
    const r = at(group.querySelector('rect')), t = at(group.querySelector('text'));
    if (t.x < r.x + 3 || t.x + t.width > r.x + r.width - 3) wrong.push('a title is wider than its frame');
    return {x: r.x, y: r.y, right: r.x + r.width, low: r.y + r.height,
            title: {x: t.x, y: t.y, right: t.x + t.width, low: t.y + t.height}};
  });
  for (const frame of frames) for (const box of boxes) {
    const inside = frame.x < box.x && box.right < frame.right && frame.y < box.y && box.low < frame.low;
    if (!inside && !apart(frame, box, 4)) wrong.push(`${box.name} is on the border of a frame`);
    if (!apart(frame.title, box, 0)) wrong.push(`${box.name} is on the title of a frame`);
  }
  frames.forEach((a, i) => frames.slice(i + 1).forEach(b => {
    const [o, n] = (a.right - a.x) * (a.low - a.y) > (b.right - b.x) * (b.low - b.y) ? [a, b] : [b, a];
    const inside = o.x < n.x && n.right < o.right && o.y < n.y && n.low < o.low;
    if (!inside && !apart(a, b, 4)) wrong.push('two frames overlap');
  }));
  const points = (d) => {
    const found = [];
    let x = 0, y = 0;
    for (const [, letter, rest] of d.matchAll(/([MVCLv])([^MVCLv]*)/g)) {
      const n = (rest.match(/-?[\\d.]+/g) || []).map(Number);
      const from = [x, y];
      if (letter === 'M' || letter === 'L') [x, y] = n;
      if (letter === 'V') y = n[0];
      if (letter === 'v') y += n[0];
      if (letter === 'C') [x, y] = n.slice(4);
      if (letter === 'M') continue;
      const steps = Math.min(200, Math.ceil((Math.abs(x - from[0]) + Math.abs(y - from[1])) / 4) + 2);
      for (let i = 0; i <= steps; i++) {
        const t = i / steps, u = 1 - t;
        found.push(letter !== 'C' ? [from[0] + t * (x - from[0]), from[1] + t * (y - from[1])]
          : [0, 1].map(k => u ** 3 * from[k] + 3 * u * u * t * n[k] + 3 * u * t * t * n[2 + k]
              + t ** 3 * n[4 + k]));
      }
    }
    return found;
  };
  for (const path of svg.querySelectorAll('.pk-l > path:first-child')) {
    const all = points(path.getAttribute('d'));
    const left = Math.min(...all.map(p => p[0])), right = Math.max(...all.map(p => p[0]));
    const near = boxes.filter(box => box.x < right && left < box.right);
    for (const [x, y] of all) {
      for (const box of near)
        if (box.x + 1.5 < x && x < box.right - 1.5 && box.y + 1.5 < y && y < box.low - 1.5)
          wrong.push(`a line runs through ${box.name}`);
      for (const {title} of frames)
        if (title.x < x && x < title.right && title.y < y && y < title.low)
          wrong.push('a line runs through the title of a frame');
    }
  }
  const view = svg.viewBox.baseVal;
  const all = at(svg);
  if (all.x < view.x - 1 || all.y < view.y - 1 || all.x + all.width > view.x + view.width + 1
      || all.y + all.height > view.y + view.height + 1) wrong.push('something is outside of the picture');
  return [boxes.length, [...new Set(wrong)].slice(0, 10)];
}
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with opened() as page:
        yield page


def looked_at(page: Any, outline: Outline, **how: Any) -> int:
    """How many boxes a picture has, in which nothing is wrong."""
    page.set_content(f"<!doctype html><meta charset=utf-8><body>{svg(outline, **how)}")
    boxes, wrong = page.evaluate(LOOK)
    assert wrong == []
    assert page.left == []
    return int(boxes)


# --- graphs -----------------------------------------------------------------------------------------------

HOWS = ("use", "use", "use", "each", "gather", "after", "outcome")


def layered(seed: int, steps: int, names: list[str] | None = None) -> Outline:
    """Steps that need steps of the rows above, mostly of the last ones."""
    draw = random.Random(seed)
    nodes: list[OutlineNode] = []
    for number in range(steps):
        most = min(number, draw.choice((1, 1, 2, 3)))
        back = draw.choice((3, 10, steps))
        needs = draw.sample(range(max(0, number - back), number), min(most, number, back))
        nodes.append(
            OutlineNode(
                names[number]
                if names
                else f"{draw.choice(('load', 'clean the', 'x', 'SUMMARIZE_ALL_OF'))}_{number}",
                draw.choice(("step", "step", "gather", "gate")),
                tuple((draw.choice(HOWS), nodes[need].id) for need in needs),
                0,
                draw.random() < 0.2,
                draw.choice(
                    ((), (), ("3 attempts",), ("timeout 30 s", "limit api × 2", "optional", "stream"))
                ),
            )
        )
    return Outline(f"layered {seed}", tuple(nodes))


def mapped(seed: int, steps: int) -> Outline:
    """Steps in maps in maps, some of which go on with what was gathered from them."""
    draw = random.Random(seed)
    scopes = [OutlineScope(-1, "")]
    nodes: list[OutlineNode] = [OutlineNode("s0")]
    for number in range(1, steps):
        needs = draw.sample(nodes[-8:], min(len(nodes), draw.choice((1, 2))))
        scope = draw.choice([one.scope for one in needs])
        if draw.random() < 0.3 and len(scopes) < 8:
            scopes.append(OutlineScope(scope, needs[0].id))
            scope = len(scopes) - 1
        elif scope and draw.random() < 0.4:
            scope = scopes[scope].parent
        nodes.append(
            OutlineNode(f"s{number}", "step", tuple((draw.choice(HOWS), one.id) for one in needs), scope)
        )
    return Outline(f"mapped {seed}", tuple(nodes), tuple(scopes))


def standings(outline: Outline, seed: int) -> dict[str, NodeStanding]:
    draw = random.Random(seed)
    words = (
        "succeeded",
        "succeeded",
        "failed",
        "running",
        "pending",
        "skipped",
        "retrying",
        "waiting",
        "cancelled",
    )
    found = {}
    for node in outline.nodes:
        counts = {word: draw.choice((0, 1, 12, 1_790)) for word in words} if draw.random() < 0.3 else {}
        note = "ValueError: " + "no such thing " * draw.choice((0, 1, 9)) if draw.random() < 0.3 else ""
        found[node.id] = NodeStanding(draw.choice(words), counts, note)
    return found


def trace(path: Path) -> Outline:
    """A workflow that somebody ran."""
    data = json.loads(path.read_text("utf-8"))
    return Outline(
        data["name"],
        tuple(
            OutlineNode(task["id"], needs=tuple(("use", parent) for parent in task["parents"]))
            for task in data["tasks"]
        ),
    )


# --- looks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("steps", [5, 50])
def test_random_graphs_are_drawn_well(page, seed, steps):
    outline = layered(seed, steps)
    assert looked_at(page, outline, group=False) == steps
    looked_at(page, outline, statuses=standings(outline, seed))


@pytest.mark.parametrize("seed", range(16))
def test_maps_in_maps_are_drawn_well(page, seed):
    outline = mapped(seed, 30)
    assert looked_at(page, outline, group=False) == 30
    looked_at(page, outline, statuses=standings(outline, seed), group=False)
    looked_at(page, outline, group=True)


@pytest.mark.parametrize("steps", [500, 2_000])
def test_large_graphs_are_drawn_as_few_boxes(page, steps):
    outline = layered(steps, steps)
    assert looked_at(page, outline, statuses=standings(outline, 1)) <= 60


def test_every_step_of_a_large_graph_can_be_drawn(page):
    assert looked_at(page, layered(3, 300), group=False) == 300


@pytest.mark.parametrize("make", [orders, nested, lambda: wide(9)], ids=["orders", "nested", "wide"])
def test_graphs_of_flows_are_drawn_well(page, make):
    looked_at(page, outline_of(make()))
    looked_at(page, outline_of(make()), group=True)


def test_names_of_all_scripts_fit(page):
    names = allowed()
    for start in range(0, len(names), 40):
        part = names[start : start + 40]
        looked_at(page, layered(start, len(part), part), group=False)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the traces are not here")
@pytest.mark.parametrize("path", sorted(TRACES.glob("*.json")), ids=lambda path: path.stem)
def test_workflows_that_somebody_ran_are_drawn_well(page, path):
    outline = trace(path)
    assert looked_at(page, outline) <= 60
    looked_at(page, outline, statuses=standings(outline, 2))
