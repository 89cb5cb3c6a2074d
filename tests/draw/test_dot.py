"""Graphs as DOT: whole sources, and what Graphviz itself makes of names that would break one."""

import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from penstock.core.graph import Graph
from penstock.core.outline import outline_of
from penstock.draw.dot import dot
from tests.draw.corpus import NAMES
from tests.draw.graphs import named, nested, orders
from tests.payloads import PAYLOADS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="session")
def program() -> str:
    found = shutil.which("dot")
    if found is None:
        pytest.skip("program missing: dot")
    return found


def titles_and_texts(program: str, graph: Graph) -> list[tuple[str, str, list[str]]]:
    """Of each thing in the picture that Graphviz makes: its class, its title and its lines of text."""
    done = subprocess.run(
        [program, "-Tsvg"], input=dot(outline_of(graph)).encode(), capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    root = ElementTree.fromstring(done.stdout)
    return [
        (
            group.get("class", ""),
            group.findtext(f"{SVG}title", ""),
            [(text.text or "").replace("\xa0", " ") for text in group.findall(f".//{SVG}text")],
        )
        for group in root.iter(f"{SVG}g")
        if group.get("class") != "graph"
    ]


def test_edges_conditions_and_a_map():
    assert (
        dot(outline_of(orders()))
        == """\
digraph "orders" {
    graph [fontname="Helvetica", rankdir=TB];
    node [fontname="Helvetica", fontsize=11, shape=box, style=rounded];
    edge [fontname="Helvetica", fontsize=9];
    n0 [label="extract"];
    n3 [label="total\\nrunner inline"];
    n4 [label="publish\\noptional", shape=hexagon, style=""];
    n5 [label="report\\nalways"];
    subgraph cluster_1 {
        label="each of extract"; style="rounded,dashed"; fontsize=9;
        n1 [label="enrich\\n3 attempts\\ntimeout 30 s"];
        n2 [label="price\\nlimit api × 2"];
    }
    n0 -> n1 [label=" each", style=bold, arrowhead=crow];
    n1 -> n2;
    n2 -> n3 [label=" gather", style=bold, dir=both, arrowtail=crow];
    n3 -> n4;
    n3 -> n5 [label=" outcome"];
    n4 -> n5 [style=dashed];
}
"""
    )


@pytest.mark.parametrize("make", [orders, nested])
def test_graphviz_draws_every_node_and_edge(program, make):
    graph = make()
    drawn = titles_and_texts(program, graph)
    nodes = {title: texts[0] for kind, title, texts in drawn if kind == "node"}
    assert nodes == {f"n{number}": node.id for number, node in enumerate(graph.nodes)}
    edges = {title for kind, title, _ in drawn if kind == "edge"}
    assert edges == {f"n{parent}->n{number}" for number, mine in enumerate(graph.parents) for parent in mine}
    assert sum(kind == "cluster" for kind, _, _ in drawn) == len(graph.scopes) - 1


def test_g07_graphviz_shows_evil_names_as_they_are(program):
    names = [name for name in NAMES if len(name) < 300]
    drawn = titles_and_texts(program, named(names))
    shown = {title: texts for kind, title, texts in drawn if kind == "node"}
    for number, name in enumerate(names):
        wanted = "".join(one if one.isprintable() else "\ufffd" for one in name)
        assert "".join(shown[f"n{number}"]).strip() == wanted.strip(), ascii(name)
    assert len(shown) == len(names)


def test_u07_graphviz_takes_what_would_run_elsewhere_as_text(program):
    drawn = titles_and_texts(program, named([text for text in PAYLOADS if "\0" not in text]))
    assert sum(kind == "node" for kind, _, _ in drawn) == len([text for text in PAYLOADS if "\0" not in text])
