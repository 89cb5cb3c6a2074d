"""What one box stands for: a large graph in few boxes that are still a graph."""

import json
import re
from pathlib import Path

import pytest

import penstock
from penstock import Flow, RunOptions, each
from penstock.core.outline import NodeStanding, Outline, OutlineNode, OutlineScope
from penstock.core.standings import standings
from penstock.draw.blocks import in_circles, phases
from penstock.draw.boxes import card
from penstock.draw.chart import Chart, chart, pattern, together
from penstock.draw.groups import MOST, WIDEST, grouped
from penstock.draw.svg import svg
from penstock.draw.widths import cut, cut_short, width
from tests.draw.test_pictures import layered, mapped


def branches(count: int) -> Outline:
    nodes = [OutlineNode("split")]
    nodes += [OutlineNode(f"align_{number}", needs=(("use", "split"),)) for number in range(1, count + 1)]
    nodes += [OutlineNode("merge", needs=tuple(("use", f"align_{number}") for number in range(1, count + 1)))]
    return Outline("branches", tuple(nodes))


def true_picture(outline: Outline, shown: Chart) -> None:
    """Every step is in one box, arrows stand for needs, all needs have one, and nothing runs in a circle."""
    assert sorted(node for box in shown.boxes for node in box.nodes) == list(range(len(outline.nodes)))
    of = {outline.nodes[node].id: at for at, box in enumerate(shown.boxes) for node in box.nodes}
    needs = {
        (of[id], of[node.id], how)
        for node in outline.nodes
        for how, id in node.needs
        if of[id] != of[node.id]
    }
    assert {(one, other, shown.kinds[kind]) for one, other, kind in shown.edges} == needs
    assert in_circles(range(len(shown.boxes)), [(one, other) for one, other, _ in shown.edges]) == set()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("group", [None, True, False])
def test_a_grouped_picture_is_true(seed, group):
    for outline in (layered(seed, 150), mapped(seed, 150)):
        true_picture(outline, chart(outline, None, group))


@pytest.mark.parametrize("seed", range(6))
def test_any_graph_comes_down_to_few_boxes(seed):
    assert len(grouped(layered(seed, 700)).all) <= MOST
    assert len(grouped(mapped(seed, 700)).all) <= MOST


def test_branches_that_are_alike_are_one_box():
    shown = chart(branches(400))
    assert [box.name for box in shown.boxes] == ["split", "align_… × 400", "merge"]


def test_a_short_row_is_drawn_as_it_is():
    assert len(chart(branches(WIDEST)).boxes) == WIDEST + 2
    assert len(chart(branches(WIDEST + 1)).boxes) == 3


def test_steps_that_differ_in_what_they_need_are_not_alike():
    nodes = list(branches(20).nodes)
    nodes[3] = nodes[3]._replace(needs=(("after", "split"),), conditional=True)
    shown = chart(Outline("x", tuple(nodes)))
    assert [box.name for box in shown.boxes] == ["split", "align_… × 19", "align_3", "merge"]


def test_a_sub_flow_is_one_box_with_its_head():
    nodes = (
        OutlineNode("start"),
        OutlineNode("sub", needs=(("use", "start"),)),
        OutlineNode("sub/load", needs=(("use", "sub"),)),
        OutlineNode("sub/rows", needs=(("each", "sub/load"),), scope=1),
        OutlineNode("end", needs=(("gather", "sub/rows"),)),
    )
    outline = Outline("x", nodes, (OutlineScope(-1, ""), OutlineScope(0, "sub/load")))
    assert [(box.name, box.small) for box in chart(outline, None, True).boxes] == [
        ("start", ""),
        ("sub", "3 steps"),
        ("end", ""),
    ]


def test_what_would_need_itself_is_two_boxes():
    links = [(0, 1), (1, 2)]
    assert phases([0, 1, 2], links, [0, 2]) == [[0], [2]]
    assert phases([0, 1, 2], links, [0, 1]) == [[0, 1]]


def test_a_map_that_goes_on_after_a_gather_has_two_frames():
    nodes = (
        OutlineNode("files"),
        OutlineNode("parse", needs=(("each", "files"),), scope=1),
        OutlineNode("mean", needs=(("gather", "parse"),)),
        OutlineNode("scale", needs=(("use", "parse"), ("use", "mean")), scope=1),
    )
    outline = Outline("x", nodes, (OutlineScope(-1, ""), OutlineScope(0, "files")))
    shown = chart(outline)
    assert [frame.text for frame in shown.frames] == ["", "each of files", "each of files"]
    assert shown.inside == [0, 1, 0, 2]


def test_no_failure_hides_in_a_box():
    outline = branches(400)
    found = {node.id: NodeStanding("succeeded") for node in outline.nodes}
    found["align_17"] = found["align_203"] = found["align_9"] = NodeStanding("failed", note="no")
    box = chart(outline, found).boxes[1]
    assert box.standing == NodeStanding("failed", {"succeeded": 397, "failed": 3})
    assert card(box).failures == "failed: align_9, align_17 and 1 more"
    assert "397" in svg(outline, statuses=found)


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        (["succeeded", "succeeded"], "succeeded"),
        (["succeeded", "pending"], "running"),
        (["pending", "ready"], "ready"),
        (["skipped", "succeeded"], "succeeded"),
        (["running", "failed", "succeeded"], "failed"),
        (["waiting", "running"], "running"),
        ([], "pending"),
    ],
)
def test_how_several_steps_stand(statuses, whole):
    assert together([NodeStanding(one) for one in statuses]).status == whole


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["align_1", "align_20"], "align_…"),
        (["s_1_of_3", "s_2_of_3"], "s_…_of_3"),
        (["s_1_2", "s_2_1"], "s_…"),
        (["v2 a 7", "v2 a 8"], "v2 a …"),
    ],
)
def test_what_names_have_in_common(names, shown):
    assert pattern(names) == shown


def test_a_prefix_that_all_names_have_is_said_once():
    outline = Outline("x", tuple(OutlineNode(f"NF.CORE.{name}") for name in ("A.x", "B.y", "C.z")))
    shown = chart(outline)
    assert [box.name for box in shown.boxes] == ["A.x", "B.y", "C.z"]
    assert shown.common == "NF.CORE."
    assert "all in NF.CORE<" in svg(outline)


def test_long_names_are_cut_in_the_middle():
    name = "the_name_of_a_step_that_goes_on_and_on_until_its_end_7"
    short = cut(name, 13, 190)
    head, tail = short.split("…")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert tail.endswith("_7")
    assert 160 < width(short, 13) <= 190
    assert cut_short("ValueError: " + "no " * 99, 11, 100).startswith("ValueError: no")
    assert cut("short", 13, 190) == "short"


def test_standings_of_a_result_and_of_a_stored_run_are_the_same(tmp_path: Path):
    flow = Flow("x")
    many = flow.add(lambda: [1, 0, 2], name="many")
    flow.add(lambda x: 1 / x, name="halves", x=each(many))
    store = str(tmp_path / "runs.db")
    result = flow.run(store=store, options=RunOptions(on_failure="continue"))
    found = standings(result.nodes)
    assert found["many"] == NodeStanding("succeeded")
    assert found["halves"].status == "failed"
    assert found["halves"].counts == {"succeeded": 2, "failed": 1}
    assert re.fullmatch(r"ZeroDivisionError: .* \(halves\[1\]\)", found["halves"].note)
    with penstock.open(store) as history:
        assert standings(history.run(result.run_id).nodes) == found


def test_the_prefix_of_ids_is_in_front_of_every_id():
    picture = svg(branches(3), ids_prefix="left-")
    assert set(re.findall(r' id="([^"]+)"', picture)) == {"left-pk-title", "left-pk-desc"}
    assert json.dumps(picture).isascii()
