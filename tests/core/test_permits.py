"""Limits of scope process and what outlives its run: closed event loops, abandoned attempts."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from uuid import uuid4

import pytest

from penstock.core.commands import CANCELLED, ENDED, GONE, OK
from penstock.core.mailbox import Mailbox, silent
from penstock.core.model import Limit, LimitUse, RunOptions
from penstock.core.permits import Late
from penstock.core.shared import Registry
from penstock.flow import Flow, each, param

SAFETY = 30.0
SHORT = 0.02
KEEP = RunOptions(on_failure="continue", grace=SHORT)
LONG = RunOptions(on_failure="continue", grace=SAFETY)


@pytest.fixture
def limit():
    """One that no other test has to do with."""
    return Limit(f"limit-{uuid4()}", capacity=1, scope="process")


@pytest.fixture
def gate():
    flag = threading.Event()
    yield flag
    flag.set()


def met(flag):
    assert flag.wait(SAFETY), "nobody set the flag"


def lose(flow, started, **how):
    """Begins a run on an event loop that is closed in its midst."""
    loop = asyncio.new_event_loop()

    async def main():
        task = asyncio.ensure_future(flow.arun(**how))
        await asyncio.to_thread(met, started)
        assert not task.done()
        for one in asyncio.all_tasks():
            one._log_destroy_pending = False  # type: ignore[attr-defined]  # it would be said at some time

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def ended(thread):
    thread.join(SAFETY)
    return not thread.is_alive()


def hog(limit, gate, timeout=SHORT):
    """A run that has ended and left a thread behind, which holds the limit."""
    flow = Flow("hog")
    flow.add(lambda: met(gate), name="hog", runner="threads", timeout=timeout, limits=[limit])
    result = flow.run(options=KEEP)
    (left,) = result.abandoned
    return result, left


def one_step(limit, name="next"):
    flow = Flow(name)
    flow.add(lambda: 1, name="step", limits=[limit], runner="threads")
    return flow


def taker(limit):
    """A run that does not wait for ever, if it is lost: in a thread of its own."""
    return one_step(limit).start(options=LONG)


# --- lost runs --------------------------------------------------------------------------------------------


def test_r11_a_permit_comes_back_when_the_event_loop_of_its_run_is_closed(limit):
    started = threading.Event()
    flow = Flow("lost")

    async def step():
        started.set()
        await asyncio.sleep(SAFETY)

    flow.add(step, name="step", limits=[limit])
    lose(flow, started)
    assert taker(limit).result(SAFETY)["step"] == 1


def test_r11_who_waits_already_gets_the_permit_of_a_run_that_is_lost_then(limit):
    started = threading.Event()
    flow, handles = Flow("lost"), []

    async def step():
        handles.append(taker(limit))
        started.set()
        await asyncio.sleep(SAFETY)

    flow.add(step, name="step", limits=[limit])
    lose(flow, started)
    assert handles[0].result(SAFETY)["step"] == 1


def test_r11_what_a_lost_run_waited_for_goes_to_the_next(limit):
    held, started = threading.Event(), threading.Event()
    holder = Flow("holder")

    def holds():
        held.set()
        met(started)

    holder.add(holds, name="holds", limits=[limit], runner="threads")
    handle = holder.start()
    met(held)
    flow = Flow("lost")

    async def waits():
        return None

    async def other():
        started.set()
        await asyncio.sleep(SAFETY)

    flow.add(waits, name="waits", limits=[limit])
    flow.add(other, name="other")
    lose(flow, started)
    handle.result(SAFETY)
    assert taker(limit).result(SAFETY)["step"] == 1


def test_a_thread_of_a_lost_run_keeps_its_permit_until_it_ends(limit, gate):
    started, order = threading.Event(), []
    flow = Flow("lost")

    def step():
        started.set()
        met(gate)
        order.append("first")

    def then():
        order.append("second")

    flow.add(step, name="step", limits=[limit], runner="threads")
    lose(flow, started)
    after = Flow("after")
    after.add(then, name="then", limits=[limit], runner="threads")
    handle = after.start(options=LONG)
    with pytest.raises(TimeoutError):  # longer than it takes to see that the run is lost
        handle.result(1.5)
    gate.set()
    handle.result(SAFETY)
    assert order == ["first", "second"]


@pytest.mark.parametrize("ends", ["by its step", "by the collector"])
def test_a_thread_that_ends_in_a_run_whose_loop_is_closed_says_nothing(ends, gate, monkeypatch, caplog):
    """The bell of such a run rings for nobody. It must not break what rings it."""
    raised: list[object] = []
    started, threads = threading.Event(), []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    flow = Flow("lost")

    def step():
        threads.append(threading.current_thread())
        started.set()
        met(gate)

    flow.add(step, name="step", runner="threads")
    with caplog.at_level(logging.CRITICAL, "asyncio"):
        lose(flow, started)
        if ends == "by the collector":
            gc.collect()
        gate.set()
        assert ended(threads[0])
        for thread in threading.enumerate():
            if thread.name == "penstock-lost-run":
                assert ended(thread)
        gc.collect()
    assert raised == []


# --- abandoned attempts -----------------------------------------------------------------------------------


def test_r11_an_abandoned_thread_keeps_a_process_limit_beyond_its_run(limit, gate):
    hog(limit, gate)
    began = []
    flow = Flow("next")
    flow.add(lambda: began.append(gate.is_set()), name="step", limits=[limit], runner="threads")
    handle = flow.start(options=LONG)
    with pytest.raises(TimeoutError):
        handle.result(SHORT)
    gate.set()
    assert handle.result(SAFETY).status.value == "succeeded"
    assert began == [True]


def test_s10_who_waits_for_an_abandoned_thread_of_another_run_is_told_by_whom(limit, gate):
    result, left = hog(limit, gate)
    failure = one_step(limit).run(options=KEEP).nodes["step"].failure
    assert failure is not None
    assert (failure.kind, failure.type) == ("error", "LimitHeld")
    assert failure.text == (
        f"limit {limit.name!r} is held by what was abandoned and does not end: {left} of run {result.run_id}"
    )
    gate.set()
    assert taker(limit).result(SAFETY)["step"] == 1


def test_s10_all_items_that_wait_for_it_are_told(limit, gate):
    hog(limit, gate)
    flow = Flow("map")
    flow.add(lambda n: n, name="step", n=each(param("numbers", list[int])), limits=[limit], runner="threads")
    flow.add(lambda: 1, name="free")
    result = flow.run(numbers=[1, 2, 3], options=KEEP)
    assert [item.failure and item.failure.type for item in result.nodes["step"].items or ()] == [
        "LimitHeld"
    ] * 3
    assert result["free"] == 1


def test_s10_who_waits_for_a_thread_abandoned_in_a_run_that_goes_on_is_told(limit, gate):
    """The waiting run began first, and knows of the thread only from the registry."""
    told = threading.Event()
    flow = Flow("goes on")
    flow.add(lambda: met(gate), name="hog", runner="threads", timeout=SHORT, limits=[limit])
    flow.add(lambda: met(told), name="other", runner="threads")
    abandoned = threading.Event()

    def on_event(event):
        if type(event).__name__ == "NodeFailed":
            abandoned.set()

    handle = flow.start(options=RunOptions(on_failure="continue", observers=[on_event]))
    met(abandoned)
    result = one_step(limit).run(options=KEEP)
    told.set()
    handle.result(SAFETY)
    assert result.nodes["step"].failure.type == "LimitHeld"


def test_what_is_abandoned_holds_up_only_those_who_need_its_share(gate):
    wide = Limit(f"limit-{uuid4()}", capacity=2, scope="process")
    hog(wide, gate)
    assert one_step(wide).run(options=KEEP)["step"] == 1


def test_r11_an_abandoned_task_gives_its_permit_back_when_it_ends(limit):
    async def main():
        never = asyncio.Event()

        async def deaf():
            while not never.is_set():
                try:
                    await never.wait()
                except asyncio.CancelledError:
                    pass

        flow = Flow("deaf")
        flow.add(deaf, name="deaf", timeout=SHORT, limits=[limit])
        await flow.arun(options=KEEP)
        failed = await one_step(limit).arun(options=KEEP)
        never.set()
        return failed, await one_step(limit).arun(options=LONG)

    failed, good = asyncio.run(main())
    assert failed.nodes["step"].failure.type == "LimitHeld"
    assert good["step"] == 1


def test_r11_an_abandoned_task_holds_nothing_once_its_loop_is_closed(limit):
    async def deaf():
        while True:
            try:
                await asyncio.sleep(SAFETY)
            except asyncio.CancelledError:
                pass

    flow = Flow("deaf")
    flow.add(deaf, name="deaf", timeout=SHORT, limits=[limit])
    assert len(flow.run(options=KEEP).abandoned) == 1  # whose loop is closed at its end
    assert taker(limit).result(SAFETY)["step"] == 1


def test_an_abandoned_thread_does_not_keep_others_from_another_value_of_the_limit(limit, gate):
    hog(limit, gate)
    more = Limit(limit.name, capacity=2, scope="process")
    assert one_step(more).run(options=KEEP)["step"] == 1
    assert one_step(Limit(limit.name, 1, scope="process")).run(options=KEEP).status.value == "failed"


# --- the parts --------------------------------------------------------------------------------------------


def test_what_is_left_of_a_run_is_forgotten_with_its_last_attempt(limit):
    registry, mailbox = Registry(), Mailbox()
    member = registry.join([limit])
    lease = member.acquire([LimitUse(limit)], silent)
    late = Late(mailbox, {(0, 1): (lease, False)})
    member.leave([lease], late.hear)
    other = registry.join([limit])
    waits = other.acquire([LimitUse(limit)], silent)
    mailbox.post((ENDED, 0, 1, CANCELLED, ("thread", "stack"), None, 0.0, 0.0))  # that it was abandoned
    mailbox.post((GONE, 0, 2))
    assert not waits.held
    mailbox.post((GONE, 0, 1))
    assert waits.held
    waits.release()
    other.leave()
    assert (registry._left, registry._gauges, registry._abandoned) == (set(), {}, set())


def test_an_end_that_came_before_anybody_listened_is_heard(limit):
    registry, mailbox = Registry(), Mailbox()
    member = registry.join([limit])
    lease = member.acquire([LimitUse(limit)], silent)
    mailbox.post((ENDED, 0, 1, OK, None, None, 0.0, 0.0))
    late = Late(mailbox, {(0, 1): (lease, True)})
    member.leave([lease], late.hear)
    late.hear()
    assert not lease.held


def test_nobody_is_held_up_by_what_was_given_back(limit):
    registry = Registry()
    member = registry.join([limit])
    lease, waits = (member.acquire([LimitUse(limit)], silent) for _ in range(2))
    assert waits.held_up() == ""
    lease.abandon("somebody")
    assert waits.held_up().endswith("does not end: somebody")
    lease.release()
    assert (waits.held, waits.held_up()) == (True, "")
