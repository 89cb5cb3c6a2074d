"""Observers stand aside: whatever they do, the run goes on, ends, and says which of them was left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from penstock import Context, Flow, RunOptions, RunStatus, each, events, param
from penstock.core import aside
from penstock.core.aside import Aside
from penstock.core.model import NodePath
from penstock.core.ports import AtOnce
from penstock.testing import run
from tests.engine.tools import other

WAIT = 30
RUNNERS = [None, "inline", "threads", "aio"]


def squares() -> Flow:
    flow = Flow("squares")

    @flow.step
    def square(context: Context, n: int = each(param("ns", list[int]))) -> int:
        context.log("squared", n=n)
        return n * n

    return flow


class Stuck:
    """An observer that does not come back before it is let go; `begun` says that it has been called."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.seen: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.begun.set()
        assert self.go_on.wait(WAIT)
        self.seen.append(event)


@pytest.fixture
def stuck() -> Any:
    made = Stuck()
    yield made
    made.go_on.set()


@pytest.mark.parametrize("runner", RUNNERS)
def test_observers_are_told_everything_in_order_in_one_thread_of_their_own(runner):
    seen: list[Any] = []
    threads: set[threading.Thread] = set()

    def one(event: Any) -> None:
        threads.add(threading.current_thread())
        seen.append(("one", event))

    def two(event: Any) -> None:
        threads.add(threading.current_thread())
        seen.append(("two", event))

    result = squares().run(ns=[1, 2, 3], runner=runner, options=RunOptions(observers=[one, two]))
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert not thread.is_alive()  # the run has waited for it
    assert result.warnings == ()
    told = [event for who, event in seen if who == "one"]
    assert seen == [(who, event) for event in told for who in ("one", "two")]
    assert (type(told[0]), type(told[-1])) == (events.RunStarted, events.RunFinished)
    assert sum(isinstance(event, events.Logged) for event in told) == 3


def test_a_run_without_observers_has_no_thread_for_them():
    before = set(threading.enumerate())
    found: set[threading.Thread] = set()
    flow = Flow("flow")
    flow.add(lambda: found.update(threading.enumerate()), name="look", runner="inline")
    flow.run()
    assert not [one for one in found - before if "observers" in one.name]


def test_observers_see_the_context_of_the_caller_and_keep_theirs():
    word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="unset")
    seen: list[str] = []

    def observe(event: Any) -> None:
        seen.append(word.get())
        word.set("changed")

    word.set("given")
    squares().run(ns=[1], options=RunOptions(observers=[observe]))
    assert (seen[0], seen[1], word.get()) == ("given", "changed", "given")


@pytest.mark.parametrize("runner", RUNNERS)
def test_s02_an_observer_that_blocks_does_not_hold_up_the_run(stuck, runner):
    flow = Flow("flow")
    # The step waits until the observer is stuck: so the run cannot have been over before.
    flow.add(lambda: stuck.begun.wait(WAIT), name="a")
    options = RunOptions(observers=[stuck], grace=0.01)
    result = flow.run(runner=runner, options=options)
    assert (result.status, result["a"]) == (RunStatus.SUCCEEDED, True)
    (warning,) = result.warnings
    assert warning == (
        "observer Stuck had not taken 4 events 0.01 s after the end of the run; it was left behind"
    )


def test_s02_an_observer_that_blocks_does_not_hold_up_a_run_on_a_loop(stuck):
    async def main() -> Any:
        turns = 0

        async def beside() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(beside())
        result = await squares().arun(ns=[1], options=RunOptions(observers=[stuck], grace=0.05))
        task.cancel()
        return result, turns

    result, turns = asyncio.run(main())
    assert result.status is RunStatus.SUCCEEDED
    assert turns > 10
    assert "it was left behind" in result.warnings[0]


def test_a_run_waits_for_a_slow_observer_on_a_loop_too(stuck):
    seen: list[Any] = []

    def slow(event: Any) -> None:
        if isinstance(event, events.RunFinished):
            loops[0].call_soon_threadsafe(stuck.go_on.set)  # the loop goes on while the run waits
            assert stuck.go_on.wait(WAIT)
        seen.append(event)

    async def main() -> Any:
        loops.append(asyncio.get_running_loop())
        return await squares().arun(ns=[1], options=RunOptions(observers=[slow], grace=WAIT))

    loops: list[asyncio.AbstractEventLoop] = []
    assert asyncio.run(main()).warnings == ()
    assert isinstance(seen[-1], events.RunFinished)


def test_who_is_held_up_by_another_is_named_with_it(stuck):
    def before(event: Any) -> None: ...
    def after(event: Any) -> None: ...

    options = RunOptions(observers=[before, stuck, after], grace=0.01)
    flow = Flow("flow")
    flow.add(lambda: stuck.begun.wait(WAIT), name="a")
    warnings = flow.run(options=options).warnings
    assert [text.split("; ")[0].partition("<locals>.")[2] or text.split("; ")[0] for text in warnings] == [
        "before had not taken 3 events 0.01 s after the end of the run, held up by Stuck",
        "observer Stuck had not taken 4 events 0.01 s after the end of the run",
        "after had not taken 4 events 0.01 s after the end of the run, held up by Stuck",
    ]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("runner", RUNNERS)
def test_s02_an_observer_that_raises_is_named_and_told_nothing_more(runner, error):
    seen: list[Any] = []
    calls: list[Any] = []

    def clumsy(event: Any) -> None:
        calls.append(event)
        raise error

    options = RunOptions(observers=[clumsy, seen.append])
    result = squares().run(ns=[2], runner=runner, options=options)
    without = squares().run(ns=[2], runner=runner)
    assert (result.status, result.outputs) == (without.status, without.outputs)
    assert len(calls) == 1
    assert isinstance(seen[-1], events.RunFinished)
    (warning,) = result.warnings
    assert warning.startswith("observer ")
    assert f"clumsy raised {type(error).__name__}" in warning
    assert warning.endswith("it is told nothing more")


def test_an_observer_that_raises_at_the_very_end_is_still_named():
    def last(event: Any) -> None:
        if isinstance(event, events.RunFinished):
            raise ValueError("no")

    (warning,) = squares().run(ns=[1], options=RunOptions(observers=[last])).warnings
    assert warning.endswith("last raised ValueError: no; it is told nothing more")


def test_an_observer_may_cancel_its_run():
    flow = Flow("flow")
    go_on = threading.Event()
    flow.add(lambda: go_on.wait(WAIT), name="a", runner="threads")
    flow.add(lambda a: a, name="b")

    def observe(event: Any) -> None:
        if isinstance(event, events.NodeStarted):
            box[0].cancel("seen enough")
            go_on.set()

    ready = threading.Event()
    box: list[Any] = []

    def patient(event: Any) -> None:
        assert ready.wait(WAIT)
        observe(event)

    box.append(flow.start(options=RunOptions(observers=[patient])))
    ready.set()
    assert box[0].result(WAIT).reason == "seen enough"


def facts(count: int) -> list[events.NodeStarted]:
    return [events.NodeStarted(NodePath("a", (number,)), 1, 0.0) for number in range(count)]


def test_one_that_is_too_far_behind_is_told_nothing_more_and_the_others_everything(stuck, monkeypatch):
    monkeypatch.setattr(aside, "MOST", 1000)
    before: list[Any] = []
    after: list[Any] = []
    made = Aside([before.append, stuck, after.append], "r")
    told = facts(3000)
    made.hear(told[0])
    assert stuck.begun.wait(WAIT)
    old: Any = made._thread
    for event in told[1:]:
        made.hear(event)
    made.finish(WAIT)
    assert made.warnings == ["observer Stuck was more than 1,000 events behind; it is told nothing more"]
    assert before == after == told  # all of them, once each, in order
    assert stuck.seen == []
    stuck.go_on.set()
    old.join(WAIT)
    assert (stuck.seen, after) == (told[:1], told)  # it comes back, and that is all


def test_the_only_one_that_is_too_far_behind_is_not_waited_for(stuck, monkeypatch):
    monkeypatch.setattr(aside, "MOST", 1000)
    made = Aside([stuck], "r")
    first, *others = facts(3000)
    made.hear(first)
    assert stuck.begun.wait(WAIT)
    thread: Any = made._thread
    for event in others:
        made.hear(event)
    made.finish(1e9)
    assert thread.is_alive()
    assert len(made.warnings) == 1


def test_progress_alone_never_makes_one_fall_behind(stuck, monkeypatch):
    monkeypatch.setattr(aside, "MOST", 2000)
    made = Aside([stuck], "r")
    for number in range(10_000):
        made.hear(events.Progressed(NodePath("a"), number, None, ""))
    stuck.go_on.set()
    made.finish(WAIT)
    assert made.warnings == []
    assert stuck.seen[-1].done == 9999
    assert len(stuck.seen) < 2000


def test_an_observer_of_a_face_is_told_at_once_in_the_thread_of_the_engine():
    threads: list[threading.Thread] = []
    observe = AtOnce(lambda event: threads.append(threading.current_thread()))
    squares().run(ns=[1], runner="inline", options=RunOptions(observers=[observe]))
    assert set(threads) == {threading.current_thread()}


def test_on_a_fake_clock_observers_are_told_at_once():
    threads: list[threading.Thread] = []
    options = RunOptions(observers=[lambda event: threads.append(threading.current_thread())])
    run(squares(), ns=[1], runner="inline", options=options)
    assert set(threads) == {threading.current_thread()}


def test_observers_have_heard_everything_when_a_run_breaks_off():
    """Of its store, say: whoever observes knows the run's id then, to say how it goes on."""
    from penstock.core.errors import StoreError
    from penstock.stores.memory import MemoryStore

    class Full(MemoryStore):
        def append(self, *args: Any, **named: Any) -> Any:
            raise StoreError("full")

    seen: list[Any] = []
    with pytest.raises(StoreError, match="full"):
        squares().run(ns=[1], store=Full(), options=RunOptions(observers=[seen.append]))
    assert not [one for one in threading.enumerate() if "penstock-observers" in one.name]


FORKS = """
import os
from penstock import Flow, RunOptions, events

children = []

def observe(event):
    if isinstance(event, events.NodeStarted):
        child = os.fork()
        if child:
            children.append(child)

def step():
    child = os.fork()
    if child:
        children.append(child)
    return os.getpid()

flow = Flow("flow")
flow.add(step, name="a", runner="RUNNER")
me = os.getpid()
result = flow.run(options=RunOptions(observers=[observe]))
assert os.getpid() == me and result["a"] == me, "a child came back"
print(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("runner", ["inline", "threads"])
def test_s22_what_an_observer_forks_does_not_come_back_into_the_run(runner):
    with other(FORKS.replace("RUNNER", runner)) as process:
        assert process.end() == (0, ["[70, 70]"]), process.errors
