"""Which lines are shown where there is room for some only, and what is said of maps."""

from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, NodeStatus
from penstock.observers.entries import figure
from penstock.observers.frames import Frames
from tests.cli.plays import P, begin, broken, call, fail, mapped, start, succeed, tally

S = NodeStatus


def five_kinds() -> tuple[Graph, list[Any]]:
    kinds = ("fetch", "align", "call", "check", "report")
    graph = Graph("kinds", [Node(f"{kind}_{n:03}", call) for kind in kinds for n in range(100)])
    play: list[Any] = [begin(graph)]
    for n in range(100):
        play += [start(P(f"fetch_{n:03}"), 0), succeed(P(f"fetch_{n:03}"), n)]
    for n in range(30):
        play += [start(P(f"align_{n:03}"), 100), fail(P(f"align_{n:03}"), 100 + n, f"no {n}")]
    play += [start(P(f"call_{n:03}"), 130 - n) for n in range(12)]
    play += [e.NodeRetrying(P("call_003"), 1, broken("again"), 140, 128, 131)]
    return graph, play


@pytest.mark.parametrize("room", [1, 2, 5, 8, 11, 20, 37, 57, 200, 499])
def test_there_are_no_more_lines_than_room_and_the_latest_failure_is_among_them(room):
    graph, play = five_kinds()
    entries = Frames(tally(graph, play)).at(135.0, room).entries
    assert 0 < len(entries) <= room
    if room > 1:
        assert any(entry.name == "align_029" for entry in entries)
    if room >= 11:
        assert {"fetch_*", "align_*", "call_*", "check_*", "report_*"} <= {entry.name for entry in entries}


def test_what_is_not_shown_is_counted():
    graph, play = five_kinds()
    entries = Frames(tally(graph, play)).at(135.0, 20).entries
    notes = [note for entry in entries for note in entry.notes]
    assert ("dim", "and 26 more failed") in notes
    named = [
        entry.name for entry in entries if entry.status in (S.RUNNING, S.RETRYING) and "*" not in entry.name
    ]
    assert named[0] == "call_003"
    assert named[1] == "call_011"  # it runs for the longest time
    (more,) = [note[1] for note in notes if note[1].endswith("more running")]
    assert int(more.split()[1]) + len(named) == 12


def test_steps_that_are_over_at_once_are_only_counted():
    """A list of names that is another one in each frame cannot be read."""
    graph, play = five_kinds()
    frames = Frames(tally(graph, [*play, *(start(P(f"check_{n:03}"), 134.9) for n in range(5))]))
    names = [entry.name for entry in frames.at(135.0, 40).entries]
    assert not [name for name in names if name.startswith("check_0")]
    assert [
        note for entry in frames.at(135.0, 40).entries if entry.name == "check_*" for note in entry.notes
    ] == [("busy", "5 running")]
    assert "check_004" in [entry.name for entry in frames.at(136.0, 40).entries]


def test_groups_follow_what_happens():
    graph, play = five_kinds()
    found = tally(graph, play)
    frames = Frames(found)
    frames.at(135.0, 20)
    found(succeed(P("call_000"), 136))
    (group,) = [entry for entry in frames.at(136.0, 20).entries if entry.name == "call_*"]
    assert group.figures == "1 of 100"
    assert ("busy", "10 running") in group.notes
    assert ("warn", "1 retrying") in group.notes


def opened(size: int, done: int, at: float) -> list[Any]:
    play: list[Any] = [
        begin(mapped()),
        start(P("files"), 0),
        succeed(P("files"), 0),
        e.NodeExpanded(P("parse"), size),
    ]
    for item in range(done):
        path = P("parse", (item,))
        play += [start(path, at * item / done), succeed(path, at * (item + 1) / done)]
    return play


def test_a_map_says_how_fast_it_is_and_how_long_it_takes():
    frames = Frames(tally(mapped(), [*opened(1000, 200, 20.0), start(P("parse", (200,)), 20.0)]))
    parse = frames.at(20.0, 20).entries[1]
    assert parse.figures == "200 of 1,000 items"
    assert ("dim", "10/s") in parse.notes
    assert ("", "1.5 min left") in parse.notes
    assert frames.at(20.0, 20).left == "at least 1.5 min left"


def test_the_items_that_run_for_the_longest_time_are_below_their_map():
    play = opened(1000, 10, 1.0)
    play += [start(P("parse", (item,)), 1.0 + item) for item in range(10, 20)]
    play += [e.Progressed(P("parse", (11,)), 5, 10, "half"), e.Logged(P("parse", (10,)), 1, "hello", {})]
    below = [entry for entry in Frames(tally(mapped(), play)).at(60.0, 20).entries if entry.deep]
    assert [entry.name for entry in below] == ["[10]", "[11]", "[12]"]
    assert below[0].notes == (("dim", "hello"),)
    assert below[1].figures == "5 of 10"
    assert below[1].notes[-1] == ("dim", "half")


def test_quick_items_have_no_line_of_their_own():
    play = [*opened(1000, 10, 1.0), start(P("parse", (10,)), 1.0)]
    assert not [entry for entry in Frames(tally(mapped(), play)).at(1.5, 20).entries if entry.deep]


def test_the_latest_failure_of_a_map_keeps_its_line():
    play = opened(1000, 10, 1.0)
    play += [start(P("parse", (item,)), 1.0) for item in range(10, 20)]
    play += [fail(P("parse", (19,)), 5.0, "broken")]
    below = [entry for entry in Frames(tally(mapped(), play)).at(60.0, 20).entries if entry.deep]
    assert [entry.name for entry in below] == ["[10]", "[11]", "[19]"]
    assert below[2].notes == (("bad", "ValueError: broken"),)


def test_a_stream_has_no_end_that_could_be_foreseen():
    play: list[Any] = [begin(mapped()), start(P("files"), 0), e.NodeExpanded(P("parse"), None)]
    for item in range(100):
        play += [e.NodeYielded(P("files"), 1, item, None), start(P("parse", (item,)), item / 10)]
        play += [succeed(P("parse", (item,)), item / 10 + 0.1)]
    play += [e.NodeYielded(P("files"), 1, 100, None)]
    parse = Frames(tally(mapped(), play)).at(10.0, 20).entries[1]
    assert parse.figures == "100 of 101 so far"
    assert not [note for _, note in parse.notes if note.endswith("left")]


def test_how_long_it_usually_takes_is_said_where_that_is_known():
    graph = Graph("one", [Node("a", call), Node("b", call, (Need("a"),))])
    found = tally(graph, [begin(graph), start(P("a"), 0.0)])
    frames = Frames(found, {"a": 60.0, "b": 30.0, "": 90.0})
    frame = frames.at(20.0, 20)
    assert frame.entries[0].notes == (("", "40 s left"),)
    assert frame.left == "about 1 min left"
    assert frame.bar.good == pytest.approx(2 * 20 / 90)
    assert frames.at(70.0, 20).entries[0].notes == (("dim", "usually 1 min"),)


def test_a_gate_says_what_it_asks_and_a_sleep_when_it_is_over():
    graph = Graph("gates", [Node("ask", call), Node("sleep", call)])
    play: list[Any] = [begin(graph), e.NodeWaiting(P("ask"), 1, 0.0, None, "Really?", "bool")]
    play += [e.NodeWaiting(P("sleep"), 1, 0.0, 30.0)]
    asks, sleeps = Frames(tally(graph, play)).at(10.0, 20).entries
    assert asks.notes == (("warn", "asks: Really?"),)
    assert sleeps.notes == (("dim", "goes on in 20 s"),)


@pytest.mark.parametrize(
    ("number", "text"),
    [(3, "3"), (3.0, "3"), (1204, "1,204"), (0.25, "0.25"), (31_000_000, "31.0 M"), (8.4e10, "84.0 G")],
)
def test_figures(number, text):
    assert figure(number) == text


def test_a_run_that_is_being_cancelled_has_no_pace():
    """What is skipped then goes by quickly, and says nothing of what still runs."""
    graph = mapped()
    found = tally(graph, [begin(graph), start(P("files"), 0), succeed(P("files"), 1)])
    found(e.NodeExpanded(P("parse"), 100))
    frames = Frames(found)
    for n in range(20):
        found(start(P("parse", (n,)), 1 + n))
        found(succeed(P("parse", (n,)), 2 + n))
        frames.at(2.0 + n, 20)

    def said(now: float) -> str:
        frame = frames.at(now, 20)
        return repr((frame.left, [entry.notes for entry in frame.entries]))

    assert "left" in said(21.0)
    assert "/s" in said(21.0)
    found(e.CancelAsked("", 21.5))
    assert "left" not in said(22.0)
    assert "/s" not in said(22.0)
