"""Graphs as Mermaid: whole sources, and names that would break one."""

import re

import pytest

from penstock.core.outline import outline_of
from penstock.draw.mermaid import mermaid, quoted
from tests.draw.corpus import NAMES
from tests.draw.graphs import named, nested, orders

HARMLESS = re.compile(r"(?:[^\W_]|[ _,()=/:'→]|#\d+;)*")
LINE = re.compile(
    r'flowchart TD|    n\d+\["[^"]*"\]|    n\d+ --> n\d+|    subgraph m\d+\["[^"]*"\]|    end|    classDef .*'
)


def test_edges_conditions_and_a_map():
    assert (
        mermaid(outline_of(orders()))
        == """\
flowchart TD
    n0["extract"]
    n3["total<br>runner inline"]
    n4{{"publish<br>optional"}}
    n5["report<br>always"]
    subgraph m1["each of extract"]
        n1["enrich<br>3 attempts<br>timeout 30 s"]
        n2["price<br>limit api #215; 2"]
    end
    n0 ==>|each| n1
    n1 --> n2
    n2 ==>|gather| n3
    n3 --> n4
    n3 -->|outcome| n5
    n4 -.-> n5
    classDef map fill:#8883,stroke:#8888,stroke-dasharray:4
    class m1 map
"""
    )


def test_a_map_in_a_map_is_a_subgraph_in_a_subgraph():
    assert """\
    subgraph m1["each of folders"]
        n1["files"]
        n3["count"]
        subgraph m2["each of files"]
            n2["lines"]
        end
    end
""" in mermaid(outline_of(nested()))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_g07_evil_names_are_numbers_in_quotes(name):
    label = quoted(name)
    assert label[0] == label[-1] == '"'
    assert HARMLESS.fullmatch(label[1:-1])
    decoded = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label[1:-1])
    assert len(decoded) == len(name)
    assert all(one == other or one == "\ufffd" for one, other in zip(decoded, name, strict=True))


def test_g07_evil_names_change_no_line():
    lines = mermaid(outline_of(named(NAMES))).splitlines()
    assert len(lines) == 2 * len(NAMES)
    assert all(LINE.fullmatch(line) for line in lines)
