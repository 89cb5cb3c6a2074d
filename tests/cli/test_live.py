"""The live table: pictures of plays, that rich draws it on a terminal, and that it never disturbs a run."""

import io
import threading
from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, RunOptions, RunStatus
from penstock.flow import Flow
from penstock.observers.live import Live, picture
from penstock.observers.marks import Signs
from penstock.observers.page import coloured, plain
from penstock.observers.progress import Progress, has_colours, is_live
from penstock.observers.ticker import Ticker
from tests.cli.plays import P, begin, call, chain, fail, mapped, retry, skip, start, succeed, tally


def drawn(found, now, wide=100, high=40, signs=None):
    lines = picture(found, now, wide, high, signs or Signs())
    return "\n".join(plain(line) for line in lines)


def busy() -> list[Any]:
    play: list[Any] = [
        begin(mapped()),
        start(P("files"), 0),
        succeed(P("files"), 1.25),
        e.NodeExpanded(P("parse"), 1200),
    ]
    for item in range(600):
        play += [start(P("parse", (item,)), 2), succeed(P("parse", (item,)), 3)]
    play += [start(P("parse", (600,)), 3), fail(P("parse", (600,)), 4), start(P("parse", (601,)), 4)]
    return play


def test_a_picture_of_a_map():
    assert (
        drawn(tally(mapped(), busy()), 14.0)
        == """\
mapped  r1  14 s

  ✓ files       1.2 s
  ● parse        12 s  ━━━━━━━━━━──────────  601 of 1,200 items, 1 failed
  ○ check              ────────────────────  0 of 1,200 items
  ○ report

  1 of 4 steps  1 running"""
    )


def test_l06_a_picture_in_ascii():
    assert (
        drawn(tally(mapped(), busy()), 14.0, signs=Signs("ascii"))
        == """\
mapped  r1  14 s

  + files       1.2 s
  > parse        12 s  ##########----------  601 of 1,200 items, 1 failed
  . check              --------------------  0 of 1,200 items
  . report

  1 of 4 steps  1 running"""
    )


def test_a_picture_of_what_goes_wrong():
    load, parse, save = P("load"), P("parse"), P("save")
    play: list[Any] = [begin(chain()), start(load, 0), retry(load, 1, 5)]
    assert (
        drawn(tally(chain(), play), 2.0)
        == """\
chain  r1  2.0 s

  ↻ load       2.0 s  attempt 2 after ValueError: try again
  ○ parse
  ○ save

  0 of 3 steps  1 retrying"""
    )
    play += [start(load, 5, 2), e.Progressed(load, 3, 4, "copying")]
    assert "  ● load       6.0 s  ━━━━━━━━━━━━━━━─────  3 of 4  copying" in drawn(tally(chain(), play), 6.0)
    play += [succeed(load, 7, 2), start(parse, 7), fail(parse, 8), skip(save, because=parse)]
    play += [e.CancelAsked("interrupted", 8.5)]
    assert (
        drawn(tally(chain(), play), 9.0)
        == """\
chain  r1  9.0 s  cancelling; Ctrl-C again ends it at once

  ✓ load       7.0 s  2 attempts
  ✗ parse      1.0 s  ValueError: no
  – save              parse failed

  3 of 3 steps  1 failed"""
    )


def test_a_thousand_steps_show_what_runs_the_last_failure_and_a_total():
    graph = Graph("thousand", [Node(f"n{number:03}", call) for number in range(1000)])
    play: list[Any] = [begin(graph)]
    for number in range(500):
        play += [start(P(f"n{number:03}"), 0), succeed(P(f"n{number:03}"), 1)]
    play += [
        start(P("n500"), 1),
        fail(P("n500"), 2),
        *(start(P(f"n{number}"), 2) for number in range(600, 620)),
    ]
    picture_of_it = drawn(tally(graph, play), 3.0, high=16)
    assert picture_of_it == "\n".join(
        [
            "thousand  r1  3.0 s",
            "",
            "  ✗ n500      1.0 s  ValueError: no",
            *(f"  ● n{number}      1.0 s" for number in range(600, 610)),
            "",
            "  501 of 1,000 steps  20 running  1 failed",
        ]
    )
    assert len(picture_of_it.splitlines()) < 16


def test_lines_are_no_wider_than_the_screen():
    play: list[Any] = [begin(chain()), start(P("load"), 0), fail(P("load"), 1, "x" * 500)]
    lines = drawn(tally(chain(), play), 2.0, wide=40).splitlines()
    assert max(map(len, lines)) == 39
    assert "…" in drawn(tally(chain(), play), 2.0, wide=40)


def test_colours_are_sixteen_and_end_with_their_span():
    line = picture(tally(mapped(), busy()), 14.0, 100, 40, Signs())[3]
    assert coloured(line) == (
        "  \x1b[36m●\x1b[0m parse \x1b[2m       12 s  \x1b[0m"
        "\x1b[32m━━━━━━━━━\x1b[0m\x1b[31m━\x1b[0m\x1b[2m──────────\x1b[0m  601 of 1,200 items, 1 failed"
    )


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_rich_draws_the_table_and_takes_it_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    live = Live(tally(chain(), [begin(chain()), start(P("load"), 0)]), terminal)
    live.draw()
    live.draw()
    shown = terminal.getvalue()
    assert shown.count("load") == 2
    assert "\x1b[?25l" in shown
    live.close()
    live.close()
    assert terminal.getvalue().endswith("\x1b[2K")
    assert "\x1b[?25h" in terminal.getvalue()[len(shown) :]


def test_a_terminal_without_rich_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert is_live(Terminal())
    assert not is_live(io.StringIO())
    monkeypatch.setattr("penstock.observers.progress.find_spec", lambda name: None)
    assert not is_live(Terminal())
    monkeypatch.undo()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_live(Terminal())
    assert not has_colours(Terminal())


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert has_colours(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colours(Terminal())


class Gone(io.StringIO):
    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise OSError("gone")


@pytest.mark.parametrize("live", [True, False])
def test_l05_a_screen_that_is_gone_changes_nothing(live):
    flow = Flow("x")
    flow.add(lambda: 1, name="one")
    progress = Progress(flow.graph(), Gone(), live=live)
    with progress:
        result = flow.run(options=RunOptions(observers=(progress.observer,)))
    assert result.status is RunStatus.SUCCEEDED
    assert result.warnings == ()


def test_lines_are_written_as_they_come():
    """The first line is on the stream while the run waits for it to be there."""
    written = threading.Event()

    class Stream(io.StringIO):
        encoding = "utf-8"

        def flush(self) -> None:
            written.set()

    flow = Flow("x")
    flow.add(lambda: written.wait(30), name="one")
    stream = Stream()
    progress = Progress(flow.graph(), stream, live=False)
    with progress:
        result = flow.run(options=RunOptions(observers=(progress.observer,)))
    assert result.outputs == {"one": True}
    assert len(stream.getvalue().splitlines()) == 4


def test_a_run_that_is_over_soon_needs_no_table():
    terminal = Terminal()
    graph = Graph("x", [Node("one", call), Node("two", call, (Need("one"),))])
    progress = Progress(graph, terminal, live=True)
    with progress:
        progress.observer(begin(graph))
    assert terminal.getvalue() == ""


def test_a_tick_that_raises_ends_the_ticking():
    ticked = threading.Semaphore(0)

    def tick() -> None:
        ticked.release()
        raise ValueError

    ticker = Ticker(tick)
    ticker.start()
    ticker.wake()
    assert ticked.acquire(timeout=30)
    ticker.stop()
    assert not ticked.acquire(blocking=False)
