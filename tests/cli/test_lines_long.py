"""Plain lines of long runs and of large ones: short enough to be read, and never silent for long."""

from itertools import pairwise
from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, SkipCause
from penstock.observers import lines as module
from penstock.observers.lines import Lines
from tests.cli.plays import (
    P,
    begin,
    call,
    chain,
    fail,
    finish,
    lines,
    mapped,
    retry,
    skip,
    start,
    succeed,
    tally,
)  # fmt: skip


def test_a_long_map_is_counted_less_and_less_often():
    """An hour of a map with 36,000 items: a few hundred lines, and in the end one every half minute."""
    play: list[Any] = [begin(mapped()), succeed(P("files"), 0), e.NodeExpanded(P("parse"), 36_000)]
    for item in range(36_000):
        path = P("parse", (item,))
        play += [start(path, item / 10), succeed(path, (item + 1) / 10)]
    said = [line for line in lines(mapped(), play) if " parse " in line]
    assert 100 < len(said) < 250
    assert said[1].split("  ", 1)[1].strip() == "parse   10 of 36,000 items, 10/s, about 1 h left"
    assert said[-1].endswith("ended in 1 h 00 min: 36,000 items")
    times = [int(line[:2]) * 3600 + int(line[3:5]) * 60 + int(line[6:8]) for line in said]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 31


def test_of_very_many_steps_there_are_counts_and_what_goes_wrong():
    graph = Graph("many", [Node(f"n{number:04}", call) for number in range(1000)])
    play: list[Any] = [begin(graph)]
    for number in range(1000):
        path = P(f"n{number:04}")
        play.append(start(path, number / 100))
        if number == 500:
            play.append(retry(path, 5.0, 5.5))
        play.append(fail(path, 7.0) if number == 700 else succeed(path, (number + 1) / 100))
    play += [finish(at=10.0)]
    said = lines(graph, play)
    assert said[0].endswith("run r1 of many: 1,000 steps")
    assert len(said) < 20
    assert "00:00:05  n0500  attempt 1 failed: ValueError: try again; the next in 500 ms" in said
    assert "00:00:07  n0700  failed after < 1 ms: ValueError: no" in said
    counts = [line for line in said if " of 1,000 steps" in line]
    assert len(counts) > 5
    assert not [line for line in said if "started" in line or "succeeded in <" in line]
    assert said[-1].endswith("run r1 succeeded in 10.0 s")


def test_many_steps_that_are_skipped_are_counted_too():
    graph = Graph("many", [Node("root", call), *(Node(f"n{n}", call, (Need("root"),)) for n in range(300))])
    play: list[Any] = [begin(graph), start(P("root"), 0), fail(P("root"), 1)]
    play += [skip(P(f"n{n}"), SkipCause.UPSTREAM, P("root")) for n in range(300)]
    assert len(lines(graph, play)) == 2


def test_a_run_that_says_nothing_for_long_says_what_it_is_at():
    found = Lines(tally(chain(), []))
    for event in (begin(chain()), start(P("load"), 0.0)):
        found(event)
    found.drain()
    found.pulse(module.SILENCE - 1)
    assert not found.pending
    found.pulse(125.0)
    (line,) = found.drain()
    assert line.endswith("still at load (2 min 05 s)")
    found.pulse(126.0)
    assert not found.pending
    found(finish(at=130.0))
    found.drain()
    found.pulse(1000.0)
    assert not found.pending


def test_nothing_that_runs_is_no_reason_to_speak():
    found = Lines(tally(chain(), []))
    found(begin(chain()))
    found.drain()
    found.pulse(1000.0)
    assert not found.pending


@pytest.mark.parametrize(
    ("level", "text"),
    [("info", "rows=7"), ("warning", "warning: "), ("error", "error: "), ("critical", "critical: ")],
)
def test_what_is_logged_says_how_much_it_matters(level, text):
    logged = e.Logged(P("load"), 1, "odd", {"rows": 7}, level, "app", 3.0)
    last = lines(chain(), [begin(chain()), start(P("load"), 0), logged])[-1]
    assert text in last
    assert last.startswith("00:00:03  load ")
    assert last.endswith("odd rows=7")


def test_what_is_logged_for_debugging_is_not_shown():
    play = [begin(chain()), start(P("load"), 0), e.Logged(P("load"), 1, "inner", {}, "debug")]
    assert "inner" not in "".join(lines(chain(), play))


def test_progress_of_a_step_is_told_now_and_then(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("penstock.observers.lines.time.time", lambda: float(next(clock)))
    play: list[Any] = [begin(chain()), start(P("load"), 0)]
    play += [e.Progressed(P("load"), n, 100, "copying") for n in range(100)]
    said = lines(chain(), play)[2:]
    assert 20 < len(said) < 60
    assert said[0] == "00:00:01  load   1 of 100  copying"


def test_l06_what_steps_say_of_themselves_cannot_move_the_cursor():
    evil = "\x1b[2J\r\x07"
    play: list[Any] = [begin(chain()), start(P("load"), 0), e.Logged(P("load"), 1, evil, {}, "error")]
    play.append(e.NodeWaiting(P("parse"), 1, 1.0, None, evil, "bool"))
    for line in lines(chain(), play):
        assert line.isprintable()
