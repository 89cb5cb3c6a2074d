"""What the real Mermaid makes of our sources, in a browser. `npm ci` in tests/mermaid gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.core.outline import Outline, OutlineNode, outline_of
from penstock.draw.mermaid import mermaid
from tests.draw.browser import opened
from tests.draw.corpus import NAMES
from tests.draw.graphs import nested, orders
from tests.payloads import PAYLOADS

SCRIPT = Path(__file__).parents[1] / "mermaid" / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"

PAGE = """<!doctype html><meta charset=utf-8><script>
window.hits = []; window.__hit = (number) => { window.hits.push(number); };
</script><body><div id=out></div>"""

DRAW = """
async ([source, loose]) => {
  mermaid.initialize({startOnLoad: false, securityLevel: loose ? 'loose' : 'strict', maxTextSize: 1e6,
                      maxEdges: 5000, suppressErrorRendering: true});
  try {
    const {svg} = await mermaid.render('drawn', source);
    document.getElementById('out').innerHTML = svg;
    const labels = [...document.querySelectorAll('#out .node')].map(one => one.textContent.trim());
    return [labels, document.querySelectorAll('#out path.flowchart-link').length, ''];
  } catch (error) { return [[], 0, String(error)]; }
}
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    if not SCRIPT.exists():
        pytest.skip("program missing: mermaid (npm ci in tests/mermaid)")
    with opened() as page:
        page.set_content(PAGE)
        page.add_script_tag(content=SCRIPT.read_text("utf-8"))
        yield page


def drawn(page: Any, outline: Outline, *, loose: bool = False) -> tuple[list[str], int]:
    """The texts of the nodes and the number of edges in Mermaid's picture."""
    labels, edges, error = page.evaluate(DRAW, [mermaid(outline), loose])
    assert error == ""
    return labels, edges


def chain(names: list[str]) -> Outline:
    return Outline(
        "chain",
        tuple(
            OutlineNode(name, needs=(("use", names[number - 1]),) if number else ())
            for number, name in enumerate(names)
        ),
    )


@pytest.mark.parametrize("make", [orders, nested])
def test_mermaid_draws_every_node_and_edge(page, make):
    outline = outline_of(make())
    labels, edges = drawn(page, outline)
    for node in outline.nodes:
        assert any(label.startswith(node.id) for label in labels), node.id
    assert len(labels) == len(outline.nodes)
    assert edges == sum(len(node.needs) for node in outline.nodes)


def test_g07_mermaid_shows_evil_names_as_they_are(page):
    names = [name for name in dict.fromkeys(NAMES) if len(name) < 300]
    for start in range(0, len(names), 60):
        part = names[start : start + 60]
        labels, edges = drawn(page, chain(part))
        assert edges == len(part) - 1
        seen = {"".join(label.split()) for label in labels}
        for name in part:
            wanted = "".join(one if one.isprintable() else "\ufffd" for one in name)
            assert "".join(wanted.split()) in seen, ascii(name)


@pytest.mark.parametrize("loose", [False, True])
def test_u07_mermaid_runs_nothing_of_ours(page, loose):
    for start in range(0, len(PAYLOADS), 150):
        drawn(page, chain(PAYLOADS[start : start + 150]), loose=loose)
        assert page.evaluate("window.hits") == []
    assert page.left == []
    assert json.loads(page.evaluate("JSON.stringify(window.hits)")) == []
