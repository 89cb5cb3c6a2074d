"""`penstock.progress()`: an observer that shows the runs it is given to."""

import asyncio
import gc
import io
import threading
import weakref

import pytest

from penstock import Flow, RunOptions, RunStatus, each, gather, progress
from penstock.core.ports import Upcoming
from penstock.observers.face import Shown
from penstock.observers.live import screen
from tests.cli.plays import P, begin, chain, start


def flow_of(name: str = "shown") -> Flow:
    flow = Flow(name)

    @flow.step
    def numbers() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def double(n: int = each(numbers)) -> int:
        if n == 2:
            raise ValueError("not this one")
        return 2 * n

    @flow.step
    def total(ns: list[int] = gather(double, failures="drop")) -> int:
        return sum(ns)

    return flow


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "penstock-progress"]


def test_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    result = flow_of().run(options=RunOptions(observers=[progress(stream)]))
    assert result.status is RunStatus.SUCCEEDED
    assert result.warnings == ()
    said = stream.getvalue()
    assert "numbers  succeeded in" in said
    assert "double   double[1] failed: ValueError: not this one" in said
    assert said.splitlines()[-1].split("  ")[1].startswith(f"run {result.run_id} succeeded in")


def test_the_outcome_stays_on_a_terminal():
    stream = Terminal()
    result = flow_of().run(options=RunOptions(observers=[progress(stream)]))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("✓ shown succeeded in ")
    assert result.run_id in lines[0]
    assert lines[1] == "  double[1] (tolerated): ValueError: not this one"
    assert threads() == []


def test_one_may_follow_several_runs_at_once():
    """Each run waits in its step until the other one has begun."""
    stream = io.StringIO()
    shown = progress(stream)
    both = threading.Barrier(2, timeout=30)
    flows = []
    for name in ("one", "two"):
        flow = Flow(name)
        flow.add(lambda: both.wait() >= 0, name="meet")
        flows.append(flow)
    handles = [flow.start(options=RunOptions(observers=[shown])) for flow in flows]
    assert [handle.result().warnings for handle in handles] == [(), ()]
    said = stream.getvalue()
    for handle, flow in zip(handles, flows, strict=True):
        assert f"run {handle.run_id} of {flow.name}: 1 step" in said
        assert f"run {handle.run_id} succeeded" in said
    assert said.count("meet  succeeded") == 2


def test_a_run_on_an_event_loop():
    stream = Terminal()
    flow = flow_of("looped")

    async def main() -> None:
        await flow.arun(options=RunOptions(observers=[progress(stream)]))

    asyncio.run(main())
    assert stream.getvalue().startswith("✓ looped succeeded in ")
    assert threads() == []


def test_a_run_that_goes_on_counts_what_was_before(tmp_path):
    where = tmp_path / "runs.db"
    fails = [True]
    flow = Flow("again")

    @flow.step
    def one() -> int:
        return 1

    @flow.step
    def two(one: int) -> int:
        if fails:
            raise ValueError("not yet")
        return 2

    first = flow.run(store=where)
    fails.clear()
    stream = io.StringIO()
    flow.run(store=where, run_id=first.run_id, options=RunOptions(observers=[progress(stream)]))
    assert "goes on: 1 step done before" in stream.getvalue()
    terminal = Terminal()
    fails.append(True)
    second = flow.run(store=where)
    fails.clear()
    flow.run(store=where, run_id=second.run_id, options=RunOptions(observers=[progress(terminal)]))
    assert "2 of 2 steps" in terminal.getvalue()


def test_a_gate_that_puts_a_run_down_ends_the_show(tmp_path):
    flow = Flow("gated")
    flow.gate("ok", prompt="publish?")
    terminal = Terminal()
    result = flow.run(store=tmp_path / "runs.db", options=RunOptions(observers=[progress(terminal)]))
    assert result.status is RunStatus.WAITING
    assert threads() == []


def test_a_run_that_is_cut_off_ends_when_nobody_holds_it():
    stream = Terminal()
    follower = Shown(stream).for_run(Upcoming("r", chain()))
    follower(begin(chain()))
    follower(start(P("load"), 0.0))
    assert threads() == ["penstock-progress"]
    gone = weakref.ref(follower)
    del follower
    gc.collect()
    assert gone() is None
    assert threads() == []


def test_told_without_a_graph_it_shows_what_it_can():
    stream = io.StringIO()
    shown = Shown(stream)
    for event in (begin(chain()), start(P("load"), 0.0)):
        shown(event)
    assert shown._last is not None
    shown._last.end_of_run()
    assert "load   started" in stream.getvalue()


@pytest.mark.parametrize("live", [True, False])
def test_l05_a_screen_that_takes_nothing_holds_up_no_run(monkeypatch, live):
    """The stream blocks in its first write: the run ends all the same, and does not write there again."""
    monkeypatch.setattr("penstock.observers.progress.BRIEFLY", 0.05)
    monkeypatch.setattr("penstock.observers.live.BRIEFLY", 0.05)
    monkeypatch.setattr("penstock.observers.live.PATIENCE", 0.0)
    let_go, stuck = threading.Event(), threading.Event()
    writes = []

    class Stuck(Terminal):
        def write(self, text: str, /) -> int:
            writes.append(text)
            stuck.set()
            let_go.wait(60)
            return len(text)

    flow = Flow("stuck")
    flow.add(lambda: stuck.wait(60), name="one")
    stream = Stuck()
    result = flow.run(options=RunOptions(observers=[progress(stream, live=live)], grace=60))
    assert result.outputs == {"one": True}
    assert result.warnings == ()
    assert len(writes) == 1
    let_go.set()


def test_a_terminal_has_one_screen():
    stream = Terminal()
    assert screen(stream) is screen(stream)
    assert screen(Terminal()) is not screen(stream)
