"""Plain lines: whole texts of plays."""

from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.model import RunStatus, SkipCause
from penstock.core.visible import one_line
from penstock.observers import lines as module
from penstock.observers.page import cut, duration, fill, width
from penstock.observers.words import first
from tests.cli.plays import (
    P,
    begin,
    broken,
    cancelled,
    chain,
    fail,
    finish,
    lines,
    mapped,
    retry,
    skip,
    start,
    succeed,
)  # fmt: skip


def told(graph, *play):
    return "\n".join(lines(graph, play))


def test_a_step_has_a_line_for_its_start_its_end_and_each_retry():
    load, parse, save = P("load"), P("parse"), P("save")
    assert (
        told(
            chain(),
            begin(chain()),
            start(load, 0.0),
            retry(load, 1.0, 3.5),
            start(load, 3.5, 2),
            succeed(load, 4.0, 2),
            start(parse, 4.0),
            e.Logged(parse, 1, "half\nway", {"rows": 7}),
            fail(parse, 64.0, "bad \x1b[31m row\nsecond line"),
            skip(save, because=parse),
            finish(RunStatus.FAILED, 64.5),
        )
        == """\
00:00:00  run r1 of chain: 3 steps
00:00:00  load   started
00:00:01  load   attempt 1 failed: ValueError: try again; the next in 2.5 s
00:00:03  load   started, attempt 2
00:00:04  load   succeeded in 4.0 s
00:00:04  parse  started
00:00:04  parse  half\\nway rows=7
00:01:04  parse  failed after 1 min 00 s: ValueError: bad \\x1b[31m row
00:01:04  save   skipped: parse failed
00:01:04  run r1 failed in 1 min 04 s"""
    )


def test_skips_cancellations_and_overrides():
    load, parse, save = P("load"), P("parse"), P("save")
    assert (
        told(
            chain(),
            begin(chain()),
            succeed(load, 0.0, 0, "override"),
            start(parse, 0.0),
            e.CancelAsked("interrupted", 1.0),
            cancelled(parse, 2.0, "penstock-1"),
            skip(save, SkipCause.STOPPED),
            finish(RunStatus.CANCELLED, 2.0),
        )
        == """\
00:00:00  run r1 of chain: 3 steps
00:00:00  load   succeeded in < 1 ms (override)
00:00:00  parse  started
00:00:01  cancelling: waiting for what runs; once more ends it at once
00:00:02  parse  cancelled; penstock-1 goes on by itself
00:00:02  save   skipped: the run was cancelled
00:00:02  run r1 cancelled in 2.0 s"""
    )


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (skip(P("save"), SkipCause.CONDITION, P("save")), "its condition said no"),
        (skip(P("save"), SkipCause.CONDITION, P("load")), "the condition of load said no"),
        (skip(P("save"), SkipCause.UPSTREAM, P("load")), "load failed"),
        (skip(P("save"), SkipCause.STOPPED, P("load")), "the run stopped: load failed"),
        (skip(P("save"), SkipCause.STOPPED), "the run was cancelled"),
    ],
)
def test_reasons_of_skips(event, reason):
    assert lines(chain(), [begin(chain()), event])[-1] == f"00:00:00  save   skipped: {reason}"


def test_a_mapped_step_has_a_running_count_once_a_second():
    play: list[Any] = [
        begin(mapped()),
        start(P("files"), 0),
        succeed(P("files"), 1),
        e.NodeExpanded(P("parse"), 40),
    ]
    for item in range(40):
        at = 1 + item / 10
        play.append(start(P("parse", (item,)), at))
        play.append(fail(P("parse", (item,)), at) if item == 7 else succeed(P("parse", (item,)), at))
    for item in range(40):
        check = P("check", (item,))
        skipped = skip(check, because=P("parse", (7,)))
        play += [skipped] if item == 7 else [start(check, 5.5), succeed(check, 5.75)]
    play += [start(P("report"), 6), succeed(P("report"), 6), finish(at=6)]
    assert (
        told(mapped(), *play)
        == """\
00:00:00  run r1 of mapped: 4 steps
00:00:00  files   started
00:00:01  files   succeeded in 1.0 s
00:00:01  parse   started, 40 items
00:00:01  parse   parse[7] failed: ValueError: no
00:00:02  parse   11 of 40 items, 1 failed
00:00:03  parse   21 of 40 items, 1 failed
00:00:04  parse   31 of 40 items, 1 failed
00:00:04  parse   ended in 3.9 s: 40 items, 1 failed
00:00:05  check   started, 40 items
00:00:05  check   ended in 250 ms: 40 items, 1 skipped
00:00:06  report  started
00:00:06  report  succeeded in < 1 ms
00:00:06  run r1 succeeded in 6.0 s"""
    )


def test_a_map_of_nothing_says_so():
    play: list[Any] = [
        begin(mapped()),
        start(P("files"), 0),
        succeed(P("files"), 1),
        e.NodeExpanded(P("parse"), 0),
    ]
    assert lines(mapped(), play)[-2:] == [
        "00:00:01  parse   ended: 0 items",
        "00:00:01  check   ended: 0 items",
    ]


def test_further_failures_of_a_map_are_counted_only():
    play: list[Any] = [begin(mapped()), succeed(P("files"), 0), e.NodeExpanded(P("parse"), 100)]
    play += [fail(P("parse", (item,)), 0.5) for item in range(99)]
    said = lines(mapped(), play)
    assert len(said) == 2 + 5
    assert said[-1] == (
        "00:00:00  parse   parse[4] failed: ValueError: no; further failures are only counted"
    )


def test_more_than_can_be_read_is_cut_to_what_went_wrong():
    load = P("load")
    play: list[Any] = [begin(chain())]
    for number in range(module.MOST):
        play += [start(load, 1), retry(load, 2, 2)] if number == 3 else [start(load, 1), succeed(load, 2)]
    assert (
        told(chain(), *play)
        == f"""\
00:00:00  run r1 of chain: 3 steps
00:00:02  load   attempt 1 failed: ValueError: try again; the next in < 1 ms
00:00:02  and {2 * module.MOST - 1} more events of which none went wrong"""
    )


def test_names_are_aligned_by_what_a_terminal_shows():
    assert width("中文") == 4
    assert width("e\u0301") == 1
    assert fill("中文", 6) == "中文  "
    assert cut("中文名字", 5) == "中文…"
    assert cut("abcdef", 4) == "abc…"
    assert cut("abc", 3) == "abc"


def test_l06_nothing_that_moves_the_cursor_is_shown():
    assert one_line("a\x1b[2Jb\rc\x07\u202ed\u2028e\tf") == "a\\x1b[2Jb\\rc\\x07\\u202ed\\u2028e    f"
    assert one_line("é 中 😀") == "é 中 😀"
    assert first(broken("\n\n  x\x07  \ny")) == "ValueError:"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "< 1 ms"), (0.0004, "< 1 ms"), (0.0123, "12 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"),
        (59.94, "59.9 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (3599.6, "1 h 00 min"),
        (3_723, "1 h 02 min"), (360_000, "100 h 00 min"), (36_000_000, "10,000 h 00 min"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
