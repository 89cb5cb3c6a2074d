"""Graphs as text: whole drawings, and that a drawing can be read back."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.graph import Graph
from penstock.core.model import Input, Node
from penstock.draw.lanes import Laid, by_definition, by_depth, lay
from penstock.wiring import drawing
from tests.draw.corpus import NAMES, allowed
from tests.draw.graphs import named, nested, orders, wide, yes


def test_a_drawing_tells_of_everything():
    assert (
        drawing(orders())
        == """\
orders · 6 steps · 6 levels

inputs
  path   str
  limit  int = 3

steps
●    extract    input path
◆    enrich     each extract  [3 attempts, timeout 30 s]
◆    price      use enrich  [limit api × 2]
●    total      gather price  [runner inline]
├─●  publish ?  use total  [optional]
●─╯  report     outcome total; after publish  [always]

● step   ◆ once per item   ? has a condition
"""
    )


def test_l06_a_rough_drawing_is_ascii():
    assert (
        drawing(orders(), rough=True)
        == """\
orders | 6 steps | 6 levels

inputs
  path   str
  limit  int = 3

steps
*    extract    input path
#    enrich     each extract  [3 attempts, timeout 30 s]
#    price      use enrich  [limit api x 2]
*    total      gather price  [runner inline]
+-*  publish ?  use total  [optional]
*-'  report     outcome total; after publish  [always]

* step   # once per item   ? has a condition
"""
    )


def test_maps_of_maps():
    assert (
        drawing(nested())
        == """\
nested · 5 steps · 5 levels

●  folders
◆  files      each folders
◆  lines      each files
◆  count      gather lines
●  sum        gather count

● step   ◆ once per item
"""
    )


def test_lines_that_run_side_by_side():
    assert (
        drawing(wide(4))
        == """\
wide · 9 steps · 3 levels

●        s0
│ ●      s1
│ │ ●    s2
│ │ │ ●  s3
● │ │ │  t0     use s0
│ ● │ │  t1     use s1
│ │ ● │  t2     use s2
│ │ │ ●  t3     use s3
●─┴─┴─╯  end    after t0, t1, t2, t3
"""
    )


def test_too_many_lines_are_not_drawn():
    drawn = drawing(wide(17))
    assert "│" not in drawn
    assert "level 1 (17)\n  ● s0\n" in drawn
    assert "\nlevel 3 (1)\n  ● end    after t0, t1, t2, t3, t4, t5 and 11 more\n" in drawn


def test_steps_that_have_nothing_to_do_with_each_other_do_not_touch():
    graph = Graph("x", [Node("a", yes), Node("b", yes), Node("c", yes)])
    assert drawing(graph) == "x · 3 steps · 1 level\n\n●    a\n  ●  b\n●    c\n"


def test_no_step_at_all():
    assert drawing(Graph("empty", [])) == "empty · 0 steps · 0 levels\n\n"


def test_defaults_that_cannot_be_shown():
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

    inputs = [Input("a", list[Path], Odd()), Input("long", None, "x" * 100), Input("escape", str, "\x1b[31m")]
    drawn = drawing(Graph("x", [Node("a", yes)], inputs)).splitlines()
    assert drawn[3:6] == [
        "  a       list[Path] = <Odd>",
        "  long    = '" + "x" * 58 + "…",
        "  escape  str = '\\x1b[31m'",
    ]


def test_g07_evil_names_stay_in_their_line():
    names = list(dict.fromkeys(name for name in NAMES if name))
    lines = drawing(named(names)).split("\n")[2:-1]
    assert len(lines) == len(names)
    assert all(line.isprintable() and line.startswith("●") for line in lines)


def test_g07_allowed_names_are_shown_as_they_are():
    names = [name for name in allowed() if len(name) < 40]
    for name, line in zip(names, drawing(named(names)).split("\n")[2:-1], strict=True):
        assert line.startswith(f"●  {name}")


@st.composite
def parents_of(draw):
    count = draw(st.integers(1, 12))
    return [
        sorted(draw(st.sets(st.integers(0, node - 1), max_size=4))) if node else [] for node in range(count)
    ]


def dependents_of(parents):
    return [[child for child, mine in enumerate(parents) if node in mine] for node in range(len(parents))]


def read_back(rows: list[Laid]) -> set[tuple[int, int]]:
    """The edges of a drawing, from its signs alone."""
    lanes: dict[int, int] = {}
    edges = set()
    for row in rows:
        if row.column in lanes:
            edges.add((lanes.pop(row.column), row.node))
        for column in range(row.wide):
            sign = row.row[2 * column]
            assert (column in lanes) == (sign in "│├┤╯┴┼") or column == row.column
            if sign in "├┤╯┴┼" and column != row.column:
                edges.add((lanes[column], row.node))
                if sign in "╯┴":
                    del lanes[column]
        lanes[row.column] = row.node
        following = rows[rows.index(row) + 1] if row is not rows[-1] else None
        if following is None or not _goes_on(following, row.column):
            del lanes[row.column]
    assert not lanes
    return edges


def _goes_on(row: Laid, column: int) -> bool:
    """Whether something comes from above into this column."""
    if column == row.column:
        return True
    return column < row.wide and row.row[2 * column] in "│├┤╯┴┼"


@given(parents_of())
def test_a_drawing_can_be_read_back(parents):
    dependents = dependents_of(parents)
    wanted = {(parent, node) for node, mine in enumerate(parents) for parent in mine}
    for order in (by_definition(parents, dependents), by_depth(parents, dependents)):
        assert sorted(order) == list(range(len(parents)))
        assert all(order.index(parent) < order.index(node) for parent, node in wanted)
        assert read_back(lay(order, parents, dependents)) == wanted
