"""The live table: pictures of plays, that rich draws it on a terminal, and that it never disturbs a run."""

import io
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core import capture
from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, RunOptions, RunStatus
from penstock.flow import Flow
from penstock.observers.frames import Frames
from penstock.observers.live import Drawing, Live, picture
from penstock.observers.marks import Signs
from penstock.observers.page import coloured, plain, width
from penstock.observers.progress import Progress
from penstock.observers.streams import has_colours, is_live
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
━━━━━━━━━────────────────  1 of 4 steps  at least 10 s left  1 running

✓ files     1.2 s
● parse      12 s  ━━━━━━━━────────  601 of 1,200 items  1 failed  10 s left  50/s  1 running
  ● [601]    10 s
  ✗ [600]          ValueError: no
○ check            ────────────────  0 of 1,200 items
○ report"""
    )


def test_l06_a_picture_in_ascii():
    shown = drawn(tally(mapped(), busy()), 14.0, signs=Signs("ascii"))
    assert shown.isascii()
    assert (
        shown
        == """\
mapped  r1  14 s
#########----------------  1 of 4 steps  at least 10 s left  1 running

+ files     1.2 s
> parse      12 s  ########--------  601 of 1,200 items  1 failed  10 s left  50/s  1 running
  > [601]    10 s
  x [600]          ValueError: no
. check            ----------------  0 of 1,200 items
. report"""
    )


def test_a_picture_of_what_goes_wrong():
    load, parse, save = P("load"), P("parse"), P("save")
    play: list[Any] = [begin(chain()), start(load, 0), retry(load, 1, 5)]
    assert (
        drawn(tally(chain(), play), 2.0)
        == """\
chain  r1  2.0 s
─────────────────────────  0 of 3 steps  1 retrying

↻ load    2.0 s  attempt 2 in 3.0 s after ValueError: try again
○ parse
○ save"""
    )
    play += [start(load, 5, 2), e.Progressed(load, 3, 4, "copying")]
    running = (
        "● load    6.0 s  ━━━━━━━━━━━━────  3 of 4  1 s left  attempt 2 after ValueError: try again  copying"
    )
    assert running in drawn(tally(chain(), play), 6.0)
    play += [succeed(load, 7, 2), start(parse, 7), fail(parse, 8), skip(save, because=parse)]
    play += [e.CancelAsked("interrupted", 8.5)]
    assert (
        drawn(tally(chain(), play), 9.0)
        == """\
chain  r1  9.0 s  cancelling; Ctrl-C again ends it at once
━━━━━━━━━━━━━━━━━━━━━━━━━  3 of 3 steps  1 failed  1 skipped

✓ load    7.0 s  2 attempts
✗ parse   1.0 s  ValueError: no
– save           parse failed"""
    )


def test_a_thousand_steps_show_what_failed_what_runs_and_groups():
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
            "━━━━━━━━━━━━╸────────────  501 of 1,000 steps  1 failed  about 3 s left  20 running",
            "",
            "✗ n500   1.0 s  ValueError: no",
            *(f"● n{number}   1.0 s" for number in range(600, 609)),
            "  and 11 more running",
            "● n*            ━━━━━━━━────────  501 of 1,000  1 failed  20 running",
        ]
    )
    assert len(picture_of_it.splitlines()) < 16


@pytest.mark.parametrize(("wide", "high"), [(60, 15), (80, 24), (120, 40), (200, 60), (20, 5), (1, 1)])
def test_a_picture_fits_every_screen(wide, high):
    names = ["中文" * 20, "x" * 190, *(f"part_{number}" for number in range(100))]
    graph = Graph("wide" * 25, [Node(name, call) for name in names])
    play: list[Any] = [begin(graph), *(start(P(name), 0) for name in names[:40])]
    play += [fail(P(name), 1, "what " * 50) for name in names[:4]]
    play += [e.Logged(P(names[5]), 1, "said " * 50, {}), e.Progressed(P(names[6]), 1, 2, "text " * 50)]
    lines = picture(tally(graph, play), 2.0, wide, high, Signs())
    assert len(lines) <= max(high, 4)
    assert max(width(plain(line)) for line in lines) <= max(wide - 1, 0)


def test_l06_what_a_step_logs_cannot_move_the_cursor():
    play: list[Any] = [begin(chain()), start(P("load"), 0)]
    play.append(e.Logged(P("load"), 1, "\x1b[2J\rgone\nnext", {"k": "\x07"}, "warning"))
    shown = drawn(tally(chain(), play), 1.0)
    assert "warning: \\x1b[2J\\rgone\\nnext k='\\x07'" in shown


def test_the_last_word_of_a_step_goes_with_its_end():
    play: list[Any] = [begin(chain()), start(P("load"), 0), e.Logged(P("load"), 1, "half way", {"n": 3})]
    assert "● load    1.0 s  half way n=3" in drawn(tally(chain(), play), 1.0)
    play.append(succeed(P("load"), 2))
    play.append(e.Logged(P("load"), 1, "too late", {}))
    shown = drawn(tally(chain(), play), 2.0)
    assert "half way" not in shown
    assert "too late" not in shown


def test_colours_are_sixteen_and_end_with_their_span():
    line = picture(tally(mapped(), busy()), 14.0, 100, 40, Signs())[4]
    assert coloured(line) == (
        "\x1b[36m●\x1b[0m parse  \x1b[2m    12 s  \x1b[0m"
        "\x1b[32m━━━━━━━\x1b[0m\x1b[31m━\x1b[0m\x1b[2m────────\x1b[0m  601 of 1,200 items"
        "  \x1b[31m1 failed\x1b[0m  10 s left  \x1b[2m50/s\x1b[0m  \x1b[36m1 running\x1b[0m"
    )


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 80 by 24, on which tables are drawn at once."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setattr("penstock.observers.live.PATIENCE", 0.0)
    return iter(())


class Drawn(Terminal):
    """A terminal that says when it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Semaphore(0)

    def flush(self) -> None:
        self.written.release()


def test_rich_draws_the_table_and_takes_it_away(screen):
    terminal = Drawn()
    live = Live(terminal)
    frames = Frames(tally(chain(), [begin(chain()), start(P("load"), 0)]))
    live.join(frames)
    assert terminal.written.acquire(timeout=30)
    live.draw()
    shown = terminal.getvalue()
    assert shown.count("parse") >= 1
    assert "\x1b[?25l" in shown
    live.leave(frames, [[("good", "over")]])
    live.leave(frames)
    assert "\x1b[2K" in terminal.getvalue()
    assert "\x1b[?25h" in terminal.getvalue()
    assert plain([("", terminal.getvalue().splitlines()[-1])]).endswith("over\x1b[0m")


def test_what_steps_print_is_captured_beneath_the_table_too(screen):
    """rich puts streams of its own in place of the standard ones, and takes them away again."""
    live, before = Live(Drawn()), sys.stderr
    frames = Frames(tally(chain(), [begin(chain()), start(P("load"), 0)]))
    capture.begin()
    live.join(frames)
    live.draw()
    assert isinstance(sys.stderr, capture.Tee)
    assert type(sys.stderr.stream).__module__.startswith("rich")
    live.leave(frames)
    assert isinstance(sys.stderr, capture.Tee)
    capture.end()
    assert sys.stderr is before


def test_several_runs_share_a_terminal(screen):
    terminal = Drawn()
    live = Live(terminal)
    runs = [Frames(tally(chain(), [begin(chain())._replace(run_id=f"run-{n}")])) for n in range(9)]
    for run in runs:
        live.join(run)
    lines = [plain(line) for line in live._lines(80, 24)]
    assert len(lines) < 24
    assert [line.split()[1] for line in lines if line.startswith("chain")] == [f"run-{n}" for n in range(4)]
    assert lines[-1] == "and 5 more runs"
    for run in runs:
        live.leave(run)
    assert "\x1b[?25h" in terminal.getvalue() or "\x1b[?25l" not in terminal.getvalue()


def test_what_did_not_change_is_not_drawn_again(screen, monkeypatch):
    monkeypatch.setattr("penstock.observers.live.time.time", lambda: 5.0)
    terminal = Drawn()
    live = Live(terminal)
    live._shown[1] = (Frames(tally(chain(), [begin(chain())])), Drawing(Signs()))
    live.draw()
    before = terminal.getvalue()
    live.draw()
    assert terminal.getvalue() == before
    live._shown.clear()
    live._close()


def test_a_narrower_terminal_is_wiped_before_it_is_drawn_on(screen):
    terminal = Drawn()
    live = Live(terminal)
    live._shown[1] = (Frames(tally(chain(), [begin(chain()), start(P("load"), 0)])), Drawing(Signs()))
    live.draw()
    before = len(terminal.getvalue())
    live._live.console.width = 30
    live.draw()
    assert terminal.getvalue()[before:].startswith("\r\x1b[")
    assert "\x1b[J" in terminal.getvalue()[before:]
    live._shown.clear()
    live._close()


def test_a_terminal_without_rich_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert is_live(Terminal())
    assert not is_live(io.StringIO())
    monkeypatch.setattr("penstock.observers.streams.find_spec", lambda name: None)
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
