"""Cancelling, timeouts, and what cannot be stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.core.model import Limit, RetryPolicy, RunOptions, RunStatus
from penstock.core.ports import AtOnce
from penstock.flow import Context, Flow, each, outcome
from penstock.testing import run
from tests.engine.tools import GO_ON, SAFETY, met, statuses

SHORT = 0.02  # seconds of a timeout that is meant to be over
HOUR = 3600.0


# Cancelling by the handle


def test_s16_what_succeeded_before_the_cancel_is_applied_counts(flags):
    """The success is told to an observer, which cancels the run at this very moment."""
    flow = Flow("flow")
    flow.add(lambda: met(flags.started), name="a", runner="threads")
    flow.add(lambda a: a, name="b")

    def on_event(event):
        if type(event).__name__ == "NodeSucceeded":
            handle.cancel("now")

    handle = flow.start(options=RunOptions(observers=[AtOnce(on_event)]))
    flags.started.set()
    result = handle.result(SAFETY)
    assert result.status is RunStatus.CANCELLED
    assert statuses(result)["a"] == "succeeded"
    assert "failed" not in statuses(result).values()


def test_a_cancel_before_the_first_turn():
    for _ in range(20):
        flow = Flow("flow")
        flow.add(lambda: 1, name="a")
        handle = flow.start()
        handle.cancel("at once")
        result = handle.result(SAFETY)
        assert result.status.value in ("cancelled", "succeeded")
        assert statuses(result)["a"] in ("cancelled", "skipped", "succeeded")


@pytest.mark.parametrize("phase", ["running", "between", "back-off", "condition", "rate", "clean-up"])
def test_a_cancel_in_each_phase(phase, flags):
    flow = Flow("flow")
    cleaned: list[str] = []
    api = Limit("api", rate=(1, 3600.0))  # type: ignore[arg-type]

    async def step():
        flags.reached.set()
        await asyncio.sleep(SAFETY)

    def on_event(event):
        if type(event).__name__ == "NodeRetrying":
            flags.reached.set()

    async def fail():
        raise LookupError("again")

    async def nothing():
        return None

    async def ask():
        flags.reached.set()
        await asyncio.sleep(SAFETY)
        return True

    async def clean(end):
        cleaned.append(phase)
        if phase == "clean-up":
            flags.reached.set()
            await asyncio.to_thread(met, flags.cancelled)

    if phase == "running":
        flow.add(step, name="a")
    elif phase == "back-off":
        flow.add(fail, name="a", retry=RetryPolicy(2, 3600.0, 3600.0, jitter="none"))
    elif phase == "condition":
        flow.add(nothing, name="a", when=ask)
    elif phase == "rate":
        flow.add(nothing, name="z", limits=[api])
        flow.add(lambda: flags.reached.set(), name="a", after=[flow.steps["z"]], runner="threads")
        flow.add(nothing, name="b", limits=[api], after=[flow.steps["a"]])
    elif phase == "between":
        flow.add(lambda: met(flags.cancelled), name="a", runner="threads")
        flow.add(nothing, name="b", after=[flow.steps["a"]])
        flags.reached.set()
    else:
        flow.add(nothing, name="a")
    last = list(flow.steps.values())[-1]
    flow.add(clean, name="clean", end=outcome(last), trigger="always")
    handle = flow.start(options=RunOptions(grace=SAFETY, observers=[on_event]))
    met(flags.reached)
    handle.cancel("enough")
    flags.cancelled.set()
    result = handle.result(SAFETY)
    assert result.status is RunStatus.CANCELLED
    assert cleaned == [phase]
    expected = {
        "running": {"a": "cancelled"},
        "between": {"b": "skipped"},
        "back-off": {"a": "cancelled"},
        "condition": {"a": "skipped"},
        "rate": {"b": "skipped"},
        "clean-up": {"a": "succeeded", "clean": "succeeded"},
    }[phase]
    assert expected.items() <= statuses(result).items()


def test_a_cancel_after_the_end_changes_nothing():
    flow = Flow("flow")
    flow.add(lambda: 1, name="a")
    handle = flow.start()
    result = handle.result(SAFETY)
    handle.cancel("too late")
    assert handle.result(SAFETY).status is RunStatus.SUCCEEDED
    assert statuses(handle.result()) == statuses(result)
    assert result.status is RunStatus.SUCCEEDED


def test_s17_a_thousand_cancels_while_waiting_for_one_slot(flags):
    """Who waits for a slot leaves its queue, and the state of the limit is as if nobody had come."""
    flow = Flow("flow")
    api = Limit("api", 1)
    begun: list[int] = []

    async def item(n: int):
        begun.append(n)
        flags.begun.set()
        await asyncio.sleep(SAFETY)

    flow.add(lambda: list(range(1000)), name="source")
    flow.add(item, name="item", n=each(flow.steps["source"]), limits=[api])
    handle = flow.start(options=RunOptions(grace=SAFETY))
    met(flags.begun)
    handle.cancel("enough")
    result = handle.result(SAFETY)
    items = result.nodes["item"].items
    assert items is not None
    found = [item.status.value for item in items]
    assert (found.count("cancelled"), found.count("skipped"), begun) == (1, 999, [0])
    gauge = handle._handle._engine.machine.state.gauges["api"]
    assert gauge.free == gauge.capacity == 1


# Cancelling the caller


async def _begun(flag: asyncio.Event) -> None:
    await asyncio.wait_for(flag.wait(), SAFETY)


def test_arun_cancelled_once_lets_the_steps_clean_up_and_is_then_cancelled():
    story: list[str] = []

    async def main():
        begun, clean = asyncio.Event(), asyncio.Event()

        async def step():
            begun.set()
            try:
                await asyncio.sleep(SAFETY)
            finally:
                await _begun(clean)
                story.append("cleaned")

        flow = Flow("flow")
        flow.add(step, name="a")
        seen: list[Any] = []
        task = asyncio.create_task(flow.arun(options=RunOptions(grace=SAFETY, observers=[seen.append])))
        await _begun(begun)
        task.cancel()
        await asyncio.sleep(0)
        clean.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert str(seen[-1].status) == "RunStatus.CANCELLED"

    asyncio.run(main())
    assert story == ["cleaned"]


def test_arun_cancelled_twice_gives_up_at_once():
    async def main():
        begun, told, never = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def step():
            begun.set()
            while not never.is_set():
                try:
                    await never.wait()
                except asyncio.CancelledError:
                    told.set()

        flow, seen = Flow("flow"), list[Any]()
        flow.add(step, name="a")
        task = asyncio.create_task(flow.arun(options=RunOptions(grace=3600, observers=[seen.append])))
        await _begun(begun)
        task.cancel()
        await _begun(told)
        task.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(task), SAFETY)
        finally:
            never.set()
            await asyncio.sleep(0)
        return [type(event).__name__ for event in seen]

    assert asyncio.run(main())[-2:] == ["NodeCancelled", "RunFinished"]


def test_s12_the_timeout_of_a_coroutine_lets_its_finally_run():
    story: list[str] = []

    async def step():
        try:
            await asyncio.sleep(SAFETY)
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            story.append("finally")

    flow = Flow("flow")
    flow.add(step, name="a", timeout=SHORT)
    result = flow.run(options=RunOptions(grace=SAFETY))
    failure = result.nodes["a"].failure
    assert failure is not None
    assert (failure.kind, failure.abandoned, story) == ("timeout", None, ["finally"])
    assert result.abandoned == ()


def test_s13_a_coroutine_that_swallows_its_cancellation_is_abandoned_and_named():
    async def main():
        never = asyncio.Event()

        async def step():
            while not never.is_set():
                try:
                    await never.wait()
                except asyncio.CancelledError:
                    pass

        flow = Flow("flow")
        flow.add(step, name="deaf", timeout=SHORT)

        async def good():
            return 1

        flow.add(good, name="good")
        try:
            return await flow.arun(options=RunOptions(on_failure="continue", grace=SHORT))
        finally:
            never.set()  # or the loop, too, would wait for it
            await asyncio.sleep(0)

    result = asyncio.run(main())
    failure = result.nodes["deaf"].failure
    assert failure is not None
    assert failure.kind == "timeout"
    assert failure.abandoned is not None
    assert result.abandoned == (failure.abandoned,)
    assert (failure.abandoned.name, failure.abandoned.path) == ("task step", "deaf")
    assert "await never.wait()" in failure.abandoned.stack
    assert result["good"] == 1


# Threads that do not return


def test_s10_a_thread_past_its_time_is_abandoned_named_and_its_slot_is_free(flags):
    flow = Flow("flow")
    flow.add(lambda: met(flags.end), name="hangs", runner="threads", timeout=SHORT)
    flow.add(lambda hangs: type(hangs).__name__, name="after", hangs=outcome(flow.steps["hangs"]))
    result = flow.run(options=RunOptions(on_failure="continue", max_concurrency=1))
    failure = result.nodes["hangs"].failure
    assert failure is not None
    assert failure.kind == "timeout"
    assert result.abandoned == (failure.abandoned,)
    assert result.abandoned[0].name.startswith("penstock-")
    assert result.abandoned[0].path == "hangs"
    assert "met(flags.end)" in result.abandoned[0].stack
    assert result["after"] == "Failure"


def test_s11_the_late_result_of_an_abandoned_thread_is_thrown_away(flags, fake_clock):
    """The first attempt ends while the second runs: its value comes first, and counts for nothing."""
    flow, values = Flow("flow"), list[Any]()

    def step(ctx: Context):
        if ctx.attempt == 2:
            flags.second.set()
            met(flags.late)
            return "second"
        fake_clock.advance(2 * HOUR)
        met(flags.second)
        values.append("late")
        flags.late.set()
        return "late"

    retry = RetryPolicy(2, 0.0, jitter="none")
    flow.add(step, name="a", runner="threads", timeout=HOUR, retry=retry)
    flow.add(lambda a: a, name="b")
    result = run(flow, clock=fake_clock, options=RunOptions(observers=[values.append]))
    assert result["b"] == "second"
    assert result.nodes["a"].history[0].kind == "timeout"
    assert "late" in values
    tokens = [event.token for event in values if type(event).__name__ == "NodeSucceeded"]
    assert tokens == [2, 1]


def test_a_limit_held_by_an_abandoned_thread_fails_who_waits_for_it(flags):
    flow = Flow("flow")
    gpu = Limit("gpu", 1)
    flow.add(lambda: met(flags.end), name="hangs", runner="threads", timeout=SHORT, limits=[gpu])
    flow.add(lambda: 1, name="waits", limits=[gpu], after=[flow.add(lambda: 1, name="first")])
    flow.add(lambda: 1, name="free")
    result = flow.run(options=RunOptions(on_failure="continue", grace=SHORT))
    failure = result.nodes["waits"].failure
    assert failure is not None
    assert failure.type == "LimitHeld"
    assert failure.text.startswith("limit 'gpu' is held by what was abandoned and does not end: ")
    assert str(result.abandoned[0]) in failure.text
    assert result["free"] == 1


def test_a_limit_comes_back_when_the_abandoned_thread_ends(flags):
    flow = Flow("flow")
    gpu = Limit("gpu", 1)

    def on_event(event):
        if type(event).__name__ == "NodeFailed":
            flags.end.set()

    flow.add(lambda: met(flags.end), name="hangs", runner="threads", timeout=SHORT, limits=[gpu])
    flow.add(lambda: 1, name="waits", limits=[gpu], after=[flow.add(lambda: 1, name="first")])
    result = flow.run(options=RunOptions(on_failure="continue", grace=SAFETY, observers=[on_event]))
    assert result["waits"] == 1


def test_f05_one_item_that_hangs_holds_up_nobody(fake_clock):
    flow = Flow("flow")
    flow.add(lambda: list(range(200)), name="source")

    def item(n: int):
        if n == 7:
            fake_clock.sleep(2 * HOUR)
        return n

    flow.add(item, name="item", n=each(flow.steps["source"]), runner="threads", timeout=HOUR)
    result = run(flow, clock=fake_clock, options=GO_ON)
    items = result.nodes["item"].items
    assert items is not None
    assert items[7].status.value == "failed"
    others = [one.status.value for at, one in enumerate(items) if at != 7]
    assert set(others) == {"succeeded"}


def test_a_step_in_a_thread_sees_that_it_should_stop(flags):
    flow = Flow("flow")

    def step(ctx: Context):
        flags.begun.set()
        while not ctx.cancelled:
            flags.tick.wait(0.001)
        return "stopped by itself"

    flow.add(step, name="a", runner="threads")
    flow.add(lambda: 1, name="b", after=[flow.steps["a"]])
    handle = flow.start(options=RunOptions(grace=SAFETY))
    met(flags.begun)
    handle.cancel()
    result = handle.result(SAFETY)
    assert (result.status, result.abandoned) == (RunStatus.CANCELLED, ())
    assert statuses(result) == {"a": "succeeded", "b": "skipped"}
