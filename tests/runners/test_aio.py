"""The runner that makes its attempts on the event loop."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.core import commands as c
from penstock.runners import aio
from penstock.runners.aio import AioRunner
from penstock.testing.stream_contract import StreamContract
from penstock.testing.stream_steps import Breaks, Countdown, count_to
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract


class AioRig(Rig):
    """Has a loop of its own, which turns only inside `until`."""

    runner: AioRunner
    suspends = False

    def __init__(self, capacity: int = 1_000) -> None:
        super().__init__(AioRunner(capacity))
        self.loop = asyncio.new_event_loop()
        self._bell = asyncio.Event()
        self.mailbox.bell = self._bell.set

    def open(self) -> None:
        async def opened() -> None:
            self.runner.open(self.mailbox, self.loop.time)

        self.loop.run_until_complete(opened())

    def step(self, call: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(call):
            return call

        @functools.wraps(call)
        async def step(**arguments: Any) -> Any:
            if self.suspends:
                await asyncio.sleep(0)
            return call(**arguments)

        return step

    def until(self, done: Callable[[], bool]) -> None:
        async def heard() -> None:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._bell.clear()
                    self.mailbox.sleeping = True
                    if done():
                        return
                    await asyncio.sleep(0)

        self.loop.run_until_complete(heard())

    def spin(self, turns: int = 20) -> None:
        """Lets the loop turn a few times."""

        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    def close(self) -> None:
        async def closed() -> None:
            self.runner.close()
            async with asyncio.timeout(PATIENCE):
                await self.runner.closed()

        self.loop.run_until_complete(closed())
        self.loop.close()


class Suspending(AioRig):
    suspends = True


class Async:
    """An async iterator that is no generator."""

    def __init__(self, call: Callable[..., Any], **arguments: Any) -> None:
        self.elements = call(**arguments)
        if hasattr(self.elements, "close"):
            self.aclose = self.close

    def __aiter__(self) -> Async:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.elements)
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self) -> None:
        self.elements.close()


class Hand:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestAio(StreamContract, RunnerContract):
    """Steps that never suspend."""

    suspends = False

    def make(self, capacity: int = 1_000) -> AioRig:
        return AioRig(capacity)

    def park(self, rig: Rig) -> Callable[[], None]:
        return lambda: None  # the loop does not turn meanwhile

    def stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        if call is Countdown or call is Breaks:
            return functools.partial(Async, call)
        if not inspect.isgeneratorfunction(call):
            return call
        suspends = self.suspends

        @functools.wraps(call)
        async def stream(**arguments: Any) -> AsyncIterator[Any]:
            elements = call(**arguments)
            try:
                for element in elements:
                    if suspends:
                        await asyncio.sleep(0)
                    yield element
            finally:
                elements.close()

        return stream

    def test_a_cancelled_error_is_a_cancellation(self, rig):
        async def step() -> None:
            raise asyncio.CancelledError

        assert rig.run(step) == (c.CANCELLED, None)

    def test_attempts_are_made_in_the_loops_thread(self, rig):
        assert rig.run(threading.get_ident) == (c.OK, threading.get_ident())

    def test_s12_a_running_step_is_cancelled_and_its_finally_runs(self, rig):
        seen = []

        async def step() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                seen.append("finally")

        node = rig.submit(step)
        rig.spin()
        rig.stop(node)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert seen == ["finally"]
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_a_step_may_answer_the_cancellation_with_a_result_or_a_failure(self, rig):
        async def step(then: str) -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if then == "result":
                    return then
                raise ValueError(then) from None
            return ""

        nodes = [rig.submit(step, then="result"), rig.submit(step, then="failure")]
        rig.spin()
        for node in nodes:
            rig.stop(node)
        assert rig.end(nodes[0])[3:5] == (c.OK, "result")
        assert rig.end(nodes[1])[4].text == "failure"

    def test_s13_one_that_swallows_its_cancellation_is_abandoned(self, rig):
        release = asyncio.Event()

        async def step() -> str:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return "late"

        node = rig.submit(step)
        rig.spin()
        for _ in range(3):
            rig.stop(node)
            rig.spin()
        assert rig.of(node, c.ENDED) == []
        rig.abandon(node)
        result, (name, stack) = rig.end(node)[3:5]
        assert (result, name) == (c.CANCELLED, "task step")
        assert "in step\n    await release.wait()\n" in stack
        assert "_serve" not in stack
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        assert len(rig.of(node, c.ENDED)) == 1

    def test_closing_does_not_wait_for_what_was_abandoned(self):
        rig = self.make()
        rig.open()
        release = asyncio.Event()

        async def step() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        node = rig.submit(step)
        rig.spin()
        rig.abandon(node)

        async def closed() -> None:
            rig.runner.close()
            async with asyncio.timeout(PATIENCE):
                await rig.runner.closed()

        rig.loop.run_until_complete(closed())
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        rig.loop.close()

    def test_a_step_that_cancels_its_own_task_and_returns_disturbs_nobody(self, rig):
        async def step() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return "done"

        many = [rig.submit(step), *[rig.submit(steps.add, x=1, y=1) for _ in range(5)]]
        assert [rig.end(node)[3] for node in many] == [c.OK] * 6

    def test_closing_ends_what_still_runs(self):
        rig = self.make()
        rig.open()
        rig.submit(asyncio.Event().wait)
        rig.spin()
        rig.close()

    def test_current_task_and_timeouts_mean_what_they_say(self, rig):
        async def step() -> str:
            task = asyncio.current_task()
            assert task is not None
            for _ in range(50):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
                assert task.cancelling() == 0
                assert asyncio.current_task() is task
            async with asyncio.timeout(PATIENCE):
                await asyncio.sleep(0)
            async with asyncio.TaskGroup() as group:
                inner = group.create_task(asyncio.sleep(0, "inner"))
            return inner.result()

        assert rig.run(step) == (c.OK, "inner")

    def test_wait_for_and_shield_work_inside_a_step(self, rig):
        async def step() -> str:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0)
            return await asyncio.shield(asyncio.sleep(0, "shielded"))

        assert rig.run(step) == (c.OK, "shielded")

    def test_a_thousand_that_suspend_at_the_same_time(self, rig):
        waiting, gate = 0, asyncio.Event()

        async def step(i: int) -> int:
            nonlocal waiting
            waiting += 1
            if waiting == 1_000:
                gate.set()
            await gate.wait()
            return i

        many = [rig.submit(step, i=i) for i in range(1_000)]
        assert [rig.end(node)[4] for node in many] == list(range(1_000))

    def test_s24_variables_stay_apart_across_a_suspension(self, rig):
        async def step(text: str) -> bool:
            steps.MARK.set(text)
            for _ in range(3):
                await asyncio.sleep(0)
                if steps.MARK.get() != text:
                    return False
            return True

        many = [rig.submit(step, text=str(i)) for i in range(100)]
        assert all(rig.end(node)[4] for node in many)
        assert rig.run(steps.read_mark) == (c.OK, "unset")

    def test_s27_a_suspended_step_is_not_collected(self, rig):
        async def step() -> str:
            waiter = asyncio.get_running_loop().create_future()
            flags.append(waiter)
            return await waiter

        flags: list[asyncio.Future[str]] = []
        many = [rig.submit(step) for _ in range(50)]
        rig.spin(100)
        for waiter in flags:
            gc.collect(0)
            waiter.set_result("kept")
        del flags[:]
        gc.collect()
        assert [rig.end(node)[4] for node in many] == ["kept"] * 50

    def test_closing_leaves_no_task(self):
        rig = self.make()
        rig.open()

        async def step() -> None:
            await asyncio.sleep(0)

        for node in [rig.submit(step) for _ in range(100)]:
            rig.end(node)

        async def others() -> set[asyncio.Task[Any]]:
            rig.runner.close()
            await rig.runner.closed()
            return asyncio.all_tasks() - {asyncio.current_task()}

        assert rig.loop.run_until_complete(others()) == set()
        rig.loop.close()

    def test_few_workers_stay_when_there_is_nothing_to_do(self, rig):
        async def step() -> None:
            await asyncio.sleep(0)

        for node in [rig.submit(step) for _ in range(500)]:
            rig.end(node)
        rig.spin(5)
        assert len([task for task in asyncio.all_tasks(rig.loop) if not task.done()]) <= 40

    def test_s12_cleaning_up_is_not_broken_off_by_another_cancellation(self, rig, monkeypatch):
        monkeypatch.setattr(aio, "_INSIST", 0.0)  # looks after it at every turn of the loop
        seen = []

        async def tidy() -> None:
            for _ in range(50):
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
            await asyncio.gather(asyncio.sleep(0), asyncio.shield(asyncio.sleep(0)))
            seen.append("tidy")

        async def by_finally() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await tidy()

        async def by_except() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await tidy()
                raise

        async def by_a_context() -> None:
            @asynccontextmanager
            async def resource() -> AsyncIterator[None]:
                try:
                    yield
                finally:
                    await tidy()

            async with resource(), asyncio.TaskGroup() as group:
                group.create_task(by_finally())
                await asyncio.Event().wait()

        for step in (by_finally, by_except, by_a_context):
            node = rig.submit(step)
            rig.spin()
            rig.stop(node)
            assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert seen == ["tidy"] * 4

    def test_s13_one_that_swallows_a_cancellation_is_cancelled_again(self, rig, monkeypatch):
        monkeypatch.setattr(aio, "_INSIST", 0.0)
        swallowed = []

        async def step(times: int) -> None:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    swallowed.append(times)
                    if len(swallowed) > times:
                        raise

        for times in (1, 3, 10):
            swallowed.clear()
            node = rig.submit(step, times=times)
            rig.spin()
            rig.stop(node)
            assert rig.end(node)[3:5] == (c.CANCELLED, None)
            assert len(swallowed) == times + 1
        assert not rig.runner._stopping

    def test_s13_closing_does_not_wait_long_for_one_that_refuses_to_end(self):
        rig = self.make()
        rig.open()
        rig.runner.patience = 0.01
        release = asyncio.Event()

        async def step() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        rig.submit(step)
        rig.spin()

        async def closed() -> None:
            rig.runner.close()
            async with asyncio.timeout(PATIENCE):
                await rig.runner.closed()

        rig.loop.run_until_complete(closed())
        (task,) = asyncio.all_tasks(rig.loop)
        assert task in aio._KEPT
        release.set()
        rig.spin()
        assert task.done()
        rig.loop.close()

    def test_closing_begins_nothing_and_takes_no_turn(self):
        rig = self.make()
        rig.open()
        turns: list[list[c.Reply]] = []
        begun: list[bool] = []

        async def step() -> None:
            begun.append(True)
            await asyncio.sleep(0)

        rig.runner.drive(turns.append)
        rig.submit(asyncio.Event().wait)
        rig.spin()
        turns.clear()
        for _ in range(5):
            rig.submit(step)
        rig.runner.close()
        rig.close()
        assert turns == []
        assert begun == []

    def test_s19_a_step_that_keeps_the_loop_is_told_of(self, monkeypatch):
        rig, clock = self.make(), Hand()
        monkeypatch.setattr(aio, "monotonic", clock)

        async def opened() -> None:
            rig.runner.open(rig.mailbox, clock)

        rig.loop.run_until_complete(opened())
        told: list[tuple[int, int, float]] = []
        rig.runner.slow = lambda *what: told.append(what)

        async def step(before: float, within: float, after: float) -> None:
            clock.now += before
            await asyncio.sleep(0)
            clock.now += within
            await asyncio.sleep(0)
            clock.now += after

        async def direct(seconds: float) -> None:
            clock.now += seconds

        async def fails(seconds: float) -> None:
            clock.now += seconds
            raise ValueError

        def run(call: Callable[..., Any], *seconds: float) -> None:
            told.clear()
            names = ("seconds",) if len(seconds) == 1 else ("before", "within", "after")
            arguments: dict[str, Any] = dict(zip(names, seconds, strict=True))
            rig.end(rig.submit(call, **arguments))

        run(step, 0.5, 0.5, 0.5)
        assert told == []
        for seconds in ((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)):
            run(step, *seconds)
            assert told == [(node := rig._next - 1, node + 1, 2.0)]
        run(direct, 2.0)
        assert told == [(node := rig._next - 1, node + 1, 2.0)]
        run(direct, 0.9)
        assert told == []
        run(fails, 2.0)
        assert told == [(node := rig._next - 1, node + 1, 2.0)]
        rig.close()

    def test_s19_a_slow_turn_is_not_charged_to_the_next_step(self):
        rig, clock = self.make(), Hand()

        async def opened() -> None:
            rig.runner.open(rig.mailbox, clock)

        rig.loop.run_until_complete(opened())
        told: list[tuple[int, int, float]] = []
        rig.runner.slow = lambda *what: told.append(what)
        more = [steps.nothing] * 3

        def turn(batch: list[c.Reply]) -> None:
            rig.replies += batch
            clock.now += 5.0
            if more:
                rig.submit(more.pop())

        rig.runner.drive(turn)
        rig.submit(steps.nothing)
        rig.until(lambda: len(rig.of(3, c.ENDED)) == 1)
        assert told == []
        if not self.suspends:
            assert [reply[7] - reply[6] for reply in rig.replies] == [0.0] * 4
        rig.close()

    # Streams

    def test_a_stream_that_never_suspends_leaves_the_loop_its_turns(self):
        """By the runner's clock each element takes a quarter of a slice."""
        rig = self.make()
        times = iter(x / 4_000 for x in range(1_000_000))

        async def opened() -> None:
            rig.runner.open(rig.mailbox, lambda: next(times))

        rig.loop.run_until_complete(opened())
        node = self.begin(rig, count_to, upto=1_000, many=400)
        turns = 0

        async def watch() -> None:
            nonlocal turns
            while not rig.of(node, c.ENDED):
                turns += 1
                await asyncio.sleep(0)

        rig.loop.run_until_complete(watch())
        assert turns > 20
        rig.close()

    def test_an_element_calls_for_a_turn(self, rig):
        turns: list[list[c.Reply]] = []
        rig.runner.drive(turns.append)

        async def stream() -> AsyncIterator[int]:
            await asyncio.sleep(0)
            rig.mailbox.sleeping = True
            turns.clear()
            yield 0
            await asyncio.Event().wait()

        node = self.begin(rig, stream, upto=100)
        rig.spin()
        assert turns == [[]]
        assert self.elements(rig, node) == [0]

    def test_an_element_is_told_though_the_next_one_is_not_in_sight(self, rig):
        release = asyncio.Event()

        async def stream() -> AsyncIterator[int]:
            for number in range(3):
                yield number
            await release.wait()
            yield 3

        node = self.begin(rig, stream, upto=100)
        rig.until(lambda: self.elements(rig, node) == [0, 1, 2])
        release.set()
        assert rig.end(node)[3] == c.OK

    def test_s18_a_stream_that_awaits_is_cancelled_there_and_closed(self, rig):
        seen = []

        async def stream() -> AsyncIterator[int]:
            try:
                yield 0
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                seen.append("finally")

        node = self.begin(rig, stream, upto=100)
        rig.until(lambda: bool(self.elements(rig, node)))
        rig.spin()
        rig.stop(node)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert seen == ["finally"]

    @pytest.mark.parametrize("then", ["yield", "return"])
    def test_a_stream_that_swallows_its_cancellation_is_not_complete(self, rig, then):
        closed = []

        async def stream() -> AsyncIterator[int]:
            try:
                yield 0
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if then == "return":
                        return
                while True:
                    yield 1
            finally:
                closed.append(True)

        node = self.begin(rig, stream, upto=100)
        rig.until(lambda: bool(self.elements(rig, node)))
        rig.spin()
        rig.stop(node)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert self.elements(rig, node) == [0]
        assert closed

    def test_s13_s18_a_stream_that_refuses_to_end_is_left_behind_and_the_loop_says_nothing(self):
        rig = self.make()
        rig.open()
        release, said = asyncio.Event(), []
        rig.loop.set_exception_handler(lambda loop, context: said.append(context))

        async def inner() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async def stream() -> AsyncIterator[int]:
            yield 0
            await inner()
            yield 1

        node = self.begin(rig, stream, upto=100)
        rig.until(lambda: bool(self.elements(rig, node)))
        rig.spin()
        rig.stop(node, timeout=True)
        rig.spin()
        rig.abandon(node)
        result, (name, stack) = rig.end(node)[3:5]
        assert (result, name) == (c.CANCELLED, "task stream")
        assert "in stream\n    await inner()\n" in stack
        assert "in inner\n    await release.wait()\n" in stack
        rig.loop.run_until_complete(rig.loop.shutdown_asyncgens())
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        assert self.elements(rig, node) == [0]
        rig.close()
        gc.collect()
        assert said == []

    def test_s18_a_stream_is_not_left_to_the_collector(self, rig):
        closed = []

        async def stream() -> AsyncIterator[int]:
            try:
                for number in range(10):
                    yield number
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        for _ in range(20):
            node = self.begin(rig, stream, upto=2)
            self.wait_for(rig, node, 2)
            rig.stop(node)
            rig.end(node)
        assert len(closed) == 20
        assert not rig.runner._streams

    def test_a_coroutine_is_no_stream(self, rig):
        async def stream() -> list[int]:
            return [1]

        node = self.begin(rig, stream, upto=10)
        failure = rig.end(node)[4]
        assert failure.type == "TypeError"
        assert "coroutine" in failure.text

    def test_any_awaitable_will_do(self, rig):
        def step() -> Coroutine[Any, Any, str]:
            return asyncio.sleep(0, "awaited")

        rig.step = lambda call: call
        assert rig.run(step) == (c.OK, "awaited")

        def future() -> asyncio.Future[str]:
            made: asyncio.Future[str] = rig.loop.create_future()
            made.set_result("future")
            return made

        assert rig.run(future) == (c.OK, "future")

    def test_a_capacity_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            AioRunner(0)


class TestAioThatSuspends(TestAio):
    """The same with steps that suspend before they do anything."""

    suspends = True

    def make(self, capacity: int = 1_000) -> AioRig:
        return Suspending(capacity)


def test_a_step_that_never_suspends_leaves_the_loop_its_turns():
    """By the runner's clock each step takes a quarter of a slice."""
    rig = AioRig()
    times = iter(x / 8_000 for x in range(1_000_000))

    async def opened() -> None:
        rig.runner.open(rig.mailbox, lambda: next(times))

    rig.loop.run_until_complete(opened())
    many = [rig.submit(steps.nothing) for _ in range(400)]
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while not rig.of(many[-1], c.ENDED):
            turns += 1
            await asyncio.sleep(0)

    rig.loop.run_until_complete(watch())
    assert turns > 20
    rig.close()
