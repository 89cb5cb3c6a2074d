"""Where things go: rows, their order, and columns, without a browser."""

import random
from itertools import pairwise

import pytest

from penstock.draw.layers import crossings, in_rows, ranks
from penstock.draw.layout import Frame, Layout, layout
from penstock.draw.places import GAP, places


def graph(seed: int, boxes: int) -> list[tuple[int, int, int]]:
    draw = random.Random(seed)
    edges = []
    for box in range(1, boxes):
        for source in draw.sample(range(box), min(box, draw.choice((0, 1, 1, 2, 3)))):
            edges.append((source, box, draw.choice((0, 0, 1))))
    return edges


def sizes(seed: int, boxes: int) -> list[tuple[int, int]]:
    draw = random.Random(seed)
    return [(2 * draw.randint(30, 140), draw.choice((34, 48, 72))) for _ in range(boxes)]


@pytest.mark.parametrize("seed", range(40))
def test_every_line_goes_down_by_one_row(seed):
    edges = graph(seed, 40)
    rows = in_rows(40, edges)
    assert sorted(box for row in rows.rows for box in row) == list(range(len(rows.row)))
    assert all(rows.row[after] == rows.row[before] + 1 for before, after, _ in rows.links)
    for source, target, lane in edges:  # each edge can be walked, within its lane
        at, steps = target, 0
        while at != source:
            at = next(
                before
                for before, after, own in rows.links
                if after == at
                and own == lane
                and (before == source or (before >= 40 and _source(rows, before) == source))
            )
            steps += 1
        assert steps == rows.row[target] - rows.row[source]


def _source(rows, bend):
    while bend >= rows.boxes:
        bend = rows.up[bend][0]
    return bend


def test_a_source_stands_right_above_its_takers():
    rank, _ = ranks(4, [(0, 1, 0), (1, 2, 0), (3, 2, 0)])
    assert rank == [0, 1, 2, 1]


def test_lines_are_uncrossed():
    rows = in_rows(6, [(0, 5, 0), (1, 4, 0), (2, 3, 0)])
    at = [0] * 6
    for row in rows.rows:
        for place, box in enumerate(row):
            at[box] = place
    assert crossings(rows, at) == 0


def test_crossings_are_counted():
    rows = in_rows(4, [(0, 2, 0), (0, 3, 0), (1, 2, 0), (1, 3, 0)])
    assert crossings(rows, [0, 1, 0, 1]) == 1
    rows.rows[0].reverse()
    assert crossings(rows, [1, 0, 0, 1]) == 1


def test_a_circle_of_a_forged_journal_is_drawn_without_one_of_its_edges():
    rank, forward = ranks(3, [(0, 1, 0), (1, 2, 0), (2, 0, 0), (1, 1, 0)])
    assert rank == [0, 1, 2]
    assert forward == [(0, 1, 0), (1, 2, 0)]
    assert len(layout([(40, 20)] * 3, [(0, 1, 0), (1, 2, 0), (2, 0, 0)]).boxes) == 3


@pytest.mark.parametrize("seed", range(40))
def test_boxes_of_a_row_stand_side_by_side(seed):
    wide = [width for width, _ in sizes(seed, 40)]
    rows = in_rows(40, graph(seed, 40))
    xs = places(rows, [(width // 2, width // 2) for width in wide])
    for row in rows.rows:
        for left, right in pairwise(box for box in row if box < 40):
            assert xs[left] + wide[left] // 2 + GAP <= xs[right] - wide[right] // 2
    assert min(x - wide[box] // 2 if box < 40 else x for box, x in enumerate(xs)) == 0


def test_long_lines_are_straight():
    edges = [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0), (0, 4, 1)]
    laid = layout([(80, 34)] * 5, edges)
    between = [wire for wire in laid.wires if wire.lane == (0, 1)]
    assert len({wire.to_x for wire in between[:-1]}) == 1
    assert len({laid.boxes[box].x for box in range(5)}) == 1


def test_the_same_graph_is_laid_out_the_same():
    assert layout(sizes(1, 60), graph(1, 60)) == layout(sizes(1, 60), graph(1, 60))


@pytest.mark.parametrize("boxes", [0, 1])
def test_hardly_anything_to_lay_out(boxes):
    laid = layout([(60, 34)] * boxes, [])
    assert (len(laid.boxes), laid.wires) == (boxes, [])
    assert laid.frames[0].width == 60 * boxes


def framed() -> Layout:
    """A box, two in a frame, of which one is in a frame within, and one after it."""
    edges = [(0, 1, 0), (1, 2, 0), (2, 3, 0), (0, 3, 0)]
    return layout([(80, 34)] * 4, edges, [0, 1, 2, 0], [Frame(-1), Frame(0, (60, 16)), Frame(1, (90, 16))])


def test_frames_hold_what_is_in_them_and_nothing_else():
    laid = framed()

    def holds(frame: int, box: int) -> bool:
        outer, inner = laid.frames[frame], laid.boxes[box]
        return (
            outer.x < inner.x
            and outer.y < inner.y
            and inner.x + inner.width < outer.x + outer.width
            and inner.y + inner.height < outer.y + outer.height
        )

    assert [[holds(frame, box) for box in range(4)] for frame in (1, 2)] == [
        [False, True, True, False],
        [False, False, True, False],
    ]


def test_lines_meet_at_the_border_of_a_frame():
    laid = framed()
    ends = {(wire.to_x, wire.to_y) for wire in laid.wires}
    begins = {(wire.x, wire.y) for wire in laid.wires}
    on_borders = [
        (wire.to_x, wire.to_y)
        for wire in laid.wires
        if wire.target < 0
        and any(wire.to_y in (frame.y, frame.y + frame.height) for frame in laid.frames[1:])
    ]
    assert on_borders
    assert set(on_borders) <= begins
    assert len(ends) == len(laid.wires)


def test_a_line_that_enters_a_frame_goes_straight_down_beside_its_title():
    edges = [(0, 1, 0), (0, 2, 0), (0, 3, 1)]
    laid = layout([(80, 34)] * 4, edges, [0, 1, 1, 1], [Frame(-1), Frame(0, (120, 16))])
    frame, left = laid.frames[1], laid.titles[1]
    entering = [wire for wire in laid.wires if wire.y == frame.y]
    assert len(entering) == 3
    for wire in entering:
        assert wire.leave >= frame.y + 28
        assert not left <= wire.x <= left + 120
