"""The runner that makes its attempts in threads."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import Flow, each, param, use
from penstock.core import commands as c
from penstock.core.errors import InputError
from penstock.core.model import NodeStatus, RunOptions
from penstock.runners.threads import ThreadRunner
from penstock.testing.stream_contract import StreamContract
from penstock.testing.stream_steps import count_to
from penstock.wiring.runners import executor
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract, context_of


class ThreadRig(Rig):
    runner: ThreadRunner

    def __init__(self, size: int | None = None, lender: ThreadPoolExecutor | None = None) -> None:
        super().__init__(ThreadRunner(size, lender))
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.mailbox.bell = lambda: self._bell.put(None)

    def until(self, done: Callable[[], bool]) -> None:
        while True:
            self.mailbox.sleeping = True
            if done():
                return
            try:
                self._bell.get(timeout=PATIENCE)
            except Empty:
                pytest.fail("nothing came")


def wait(flag: threading.Event) -> None:
    assert flag.wait(PATIENCE)


def allow(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """As a system that lets so many threads of the pool live, and no more."""
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        nonlocal many
        if thread.name.startswith("penstock-"):
            if not many:
                raise RuntimeError("can't start new thread")
            many -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


def hold(inside: threading.Event, release: threading.Event, result: str = "") -> str:
    inside.set()
    wait(release)
    return result


class TestThreads(StreamContract, RunnerContract):
    parks_streams = False  # each has a thread of its own

    def make(self, size: int | None = 1) -> ThreadRig:
        return ThreadRig(size)

    def park(self, rig: Rig) -> Callable[[], None]:
        inside, release = threading.Event(), threading.Event()
        rig.submit(lambda: hold(inside, release))
        wait(inside)
        return release.set

    @pytest.fixture
    def pool(self):
        rig = self.make(8)
        rig.open()
        yield rig
        rig.close()

    def test_attempts_are_made_elsewhere(self, rig):
        result, ident = rig.run(threading.get_ident)
        assert result == c.OK
        assert ident != threading.get_ident()

    def test_as_many_at_a_time_as_it_is_large(self, pool):
        meet = threading.Barrier(8)
        many = [pool.submit(meet.wait, timeout=PATIENCE) for _ in range(8)]
        assert {pool.end(node)[3] for node in many} == {c.OK}

    def test_it_grows_whenever_all_its_threads_are_taken(self, pool):
        """Each waits for the one submitted last: a thread too few and none of them ends."""
        for _ in range(100):
            flags = [threading.Event() for _ in range(7)]
            many = [pool.submit(wait, flag=flag) for flag in flags]
            last = pool.submit(lambda flags=flags: [flag.set() for flag in flags])
            assert [pool.end(node)[3] for node in [*many, last]] == [c.OK] * 8

    def test_a_small_load_makes_few_threads(self, pool):
        before = threading.active_count()
        for _ in range(100):
            pool.run(steps.nothing)
        assert threading.active_count() - before <= 2

    def test_closing_leaves_no_thread(self):
        before = set(threading.enumerate())
        rig = self.make(8)
        rig.open()
        meet = threading.Barrier(8)
        for node in [rig.submit(meet.wait, timeout=PATIENCE) for _ in range(8)]:
            rig.end(node)
        rig.close()
        assert set(threading.enumerate()) <= before

    def test_a_running_step_is_told_by_its_context(self, rig):
        inside, told = threading.Event(), threading.Event()
        context = context_of()

        def step() -> bool:
            inside.set()
            wait(told)
            return context.cancelled

        node = rig.submit(step, context=context)
        wait(inside)
        rig.stop(node)
        assert context.cancelled
        told.set()
        assert rig.end(node)[3:5] == (c.OK, True)

    def test_a_running_step_without_a_context_goes_on(self, rig):
        inside, release = threading.Event(), threading.Event()
        node = rig.submit(lambda: hold(inside, release, "done"))
        wait(inside)
        rig.stop(node)
        release.set()
        assert rig.end(node)[3:5] == (c.OK, "done")

    def test_s10_s11_at_its_timeout_a_thread_is_left_behind_and_its_result_thrown_away(self, rig):
        inside, release = threading.Event(), threading.Event()
        node = rig.submit(lambda: hold(inside, release, "late"), timed=True)
        wait(inside)
        rig.stop(node, timeout=True)
        result, (name, stack) = rig.end(node)[3:5]
        assert result == c.CANCELLED
        assert name.startswith("penstock-")
        assert "in hold\n    wait(release)\n" in stack
        assert "_serve" not in stack
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2), "another thread has taken its place"
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        assert rig.of(node, c.GONE) == [(c.GONE, node, node + 1)]
        assert len(rig.of(node, c.ENDED)) == 1

    def test_abandoned_after_the_grace(self, rig):
        inside, release = threading.Event(), threading.Event()
        node = rig.submit(lambda: hold(inside, release))
        wait(inside)
        rig.stop(node)
        assert rig.of(node, c.ENDED) == []
        rig.abandon(node)
        assert rig.end(node)[3] == c.CANCELLED
        rig.abandon(node)
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        assert len(rig.of(node, c.ENDED)) == 1

    def test_closing_does_not_wait_for_what_was_abandoned(self):
        rig = self.make()
        rig.open()
        inside, release = threading.Event(), threading.Event()
        node = rig.submit(lambda: hold(inside, release))
        wait(inside)
        rig.abandon(node)
        rig.close()
        assert rig.of(node, c.GONE) == []
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))

    def test_a_stop_in_the_moment_of_the_end_gives_one_end(self, pool):
        """Whichever comes first, the attempt ends once, and GONE is said only of what was abandoned."""
        for _ in range(300):
            go = threading.Event()
            node = pool.submit(go.wait, timeout=PATIENCE)
            go.set()
            pool.stop(node, timeout=True)
            result = pool.end(node)[3]
            assert result in (c.OK, c.CANCELLED, c.RETURNED)
            if result == c.CANCELLED:
                pool.until(lambda node=node: bool(pool.of(node, c.GONE)))
        pool.take()
        assert len([reply for reply in pool.replies if reply[0] == c.ENDED]) == 300

    def test_s10_abandoned_threads_are_told_apart(self, rig):
        release, names = threading.Event(), []
        for _ in range(5):
            inside = threading.Event()
            node = rig.submit(lambda inside=inside: hold(inside, release))
            wait(inside)
            rig.abandon(node)
            names.append(rig.end(node)[4][0])
        release.set()
        assert len(set(names)) == 5

    def test_closing_after_a_fault_asks_and_does_not_wait(self):
        rig = self.make()
        rig.open()
        inside, release, context = threading.Event(), threading.Event(), context_of()
        node = rig.submit(lambda: hold(inside, release), context=context)
        wait(inside)
        rig.close()
        assert context.cancelled
        assert rig.of(node, c.ENDED) == []
        release.set()
        rig.end(node)

    def test_a_thread_that_does_not_end_is_named(self, monkeypatch):
        release = threading.Event()
        warned: list[str] = []
        resources = SimpleNamespace(close_worker=lambda: release.wait(PATIENCE) and [])
        monkeypatch.setitem(sys.modules, "penstock.core.resources", resources)
        rig = self.make()
        rig.open()
        rig.runner.patience = 0.01
        rig.runner.warn = warned.append
        rig.run(steps.nothing)
        rig.close()
        release.set()
        assert warned == ["thread penstock-1 has not ended in 0.01 s and is left behind"]

    def test_what_lives_as_long_as_a_thread_is_closed_in_it(self, monkeypatch):
        ended: SimpleQueue[str] = SimpleQueue()
        warned: SimpleQueue[str] = SimpleQueue()

        def close_worker():
            ended.put(threading.current_thread().name)
            return ["it broke"]

        resources = SimpleNamespace(close_worker=close_worker)
        monkeypatch.setitem(sys.modules, "penstock.core.resources", resources)
        rig = self.make()
        rig.open()
        rig.runner.warn = warned.put
        inside, release = threading.Event(), threading.Event()
        node = rig.submit(lambda: hold(inside, release))
        wait(inside)
        rig.abandon(node)
        rig.run(steps.nothing)
        assert ended.empty()
        release.set()
        assert ended.get(timeout=PATIENCE) == "penstock-1", "the abandoned one, at its end"
        rig.close()
        assert ended.get(timeout=PATIENCE) == "penstock-2"
        assert [warned.get(timeout=PATIENCE) for _ in range(2)] == ["it broke"] * 2

    # Streams

    def test_a_stream_stays_in_its_thread(self, rig):
        def stream():
            while True:
                yield threading.get_ident()

        node = self.begin(rig, stream)
        for upto in range(1, 20):
            self.go_on(rig, node, upto)
            self.wait_for(rig, node, upto)
        rig.stop(node)
        assert rig.end(node)[3] == c.CANCELLED
        assert len(set(self.elements(rig, node))) == 1

    def test_an_element_is_told_though_the_next_one_is_not_in_sight(self, rig):
        release = threading.Event()

        def stream():
            yield from range(3)
            wait(release)
            yield 3

        node = self.begin(rig, stream, upto=100)
        rig.until(lambda: self.elements(rig, node) == [0, 1, 2])
        release.set()
        assert rig.end(node)[3] == c.OK

    def test_the_threads_of_streams_leave_with_them(self, rig):
        for _ in range(3):
            streams = [self.begin(rig, count_to, upto=1, many=1) for _ in range(20)]
            rig.until(lambda streams=streams: all(self.elements(rig, node) for node in streams))
            for node in streams:
                self.go_on(rig, node, 5)
            assert [rig.end(node)[3] for node in streams] == [c.OK] * 20
            assert len(rig.runner._threads) <= 1
        meet = threading.Barrier(2)
        pair = [rig.submit(meet.wait, timeout=0.02) for _ in range(2)]
        assert [rig.end(node)[3] for node in pair] == [c.FAILED] * 2, "only one at a time"

    def test_s18_a_stream_that_works_is_told_and_closed_at_its_next_element(self, rig):
        inside, told, seen = threading.Event(), threading.Event(), []
        context = context_of()

        def stream():
            try:
                yield 0
                inside.set()
                wait(told)
                yield context.cancelled
            finally:
                seen.append(context.cancelled)

        node = self.begin(rig, stream, upto=10, context=context)
        wait(inside)
        rig.stop(node)
        told.set()
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert self.elements(rig, node) == [0]
        assert seen == [True]

    def test_a_stream_that_is_stopped_and_ends_is_not_complete(self, rig):
        inside, told = threading.Event(), threading.Event()
        context = context_of()

        def stream():
            yield 0
            inside.set()
            wait(told)
            if not context.cancelled:
                yield 1

        node = self.begin(rig, stream, upto=10, context=context)
        wait(inside)
        rig.stop(node)
        told.set()
        assert rig.end(node)[3:5] == (c.CANCELLED, None)

    def test_s10_s11_s18_a_stream_that_works_past_its_time_is_left_behind(self, rig):
        inside, release, closed = threading.Event(), threading.Event(), threading.Event()

        def stream():
            try:
                yield 0
                hold(inside, release)
                yield 1
            finally:
                closed.set()

        node = self.begin(rig, stream, upto=10, timed=True)
        wait(inside)
        rig.stop(node, timeout=True)
        result, (name, stack) = rig.end(node)[3:5]
        assert result == c.CANCELLED
        assert name.startswith("penstock-")
        assert "in stream\n    hold(inside, release)\n" in stack
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        wait(closed)
        assert self.elements(rig, node) == [0]

    def test_an_abandoned_stream_gives_nothing_more(self, rig):
        inside, release = threading.Event(), threading.Event()

        def stream():
            hold(inside, release)
            yield from range(5)

        node = self.begin(rig, stream, upto=10)
        wait(inside)
        rig.abandon(node)
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))
        assert self.elements(rig, node) == []

    def test_s10_a_stream_whose_closing_hangs_is_left_behind(self, rig):
        inside, release = threading.Event(), threading.Event()

        def stream():
            try:
                yield 0
                yield 1
            finally:
                hold(inside, release)

        node = self.begin(rig, stream, upto=1)
        self.wait_for(rig, node, 1)
        rig.stop(node, timeout=True)
        wait(inside)
        assert rig.of(node, c.ENDED) == []
        rig.abandon(node)
        assert rig.end(node)[4][0].startswith("penstock-")
        release.set()
        rig.until(lambda: bool(rig.of(node, c.GONE)))

    def test_a_stop_in_any_moment_of_a_stream_gives_one_end(self, pool):
        """And no element after it, nor a thread that waits for ever."""
        for i in range(300):
            node = self.begin(pool, count_to, upto=1 + i % 5, many=5)
            pool.until(lambda node=node: bool(self.elements(pool, node)))
            self.go_on(pool, node, 7)
            pool.stop(node, timeout=i % 3 == 0)
            result, payload = pool.end(node)[3:5]
            assert result in (c.OK, c.CANCELLED)
            if payload is not None:
                pool.until(lambda node=node: bool(pool.of(node, c.GONE)))
        pool.take()
        assert len([reply for reply in pool.replies if reply[0] == c.ENDED]) == 300

    def test_room_that_comes_one_by_one_is_never_missed(self, pool):
        node = self.begin(pool, count_to, many=3_000)
        for upto in range(1, 3_002):
            self.go_on(pool, node, upto)
            if upto % 7 == 0:
                pool.until(lambda upto=upto: len(pool.mailbox.replies) + self.kept(pool) >= upto)
        assert pool.end(node)[3] == c.OK
        assert self.elements(pool, node) == list(range(3_000))

    @staticmethod
    def kept(rig: Rig) -> int:
        rig.take()
        return len(rig.replies)

    def test_no_more_threads_than_the_system_allows(self, monkeypatch):
        """Those that there are take what waits."""
        rig = ThreadRig(8)
        warned: list[str] = []
        rig.runner.warn = warned.append
        rig.open()
        allow(monkeypatch, 2)
        nodes = [rig.submit(steps.add, x=1, y=node) for node in range(20)]
        assert [rig.end(node)[3:5] for node in nodes] == [(c.OK, 1 + y) for y in range(20)]
        monkeypatch.undo()
        rig.close()
        assert warned == ["no more than 2 threads could be started: can't start new thread"]

    @pytest.mark.parametrize(("retry_on", "retryable"), [(None, False), ((RuntimeError,), True)])
    def test_where_no_thread_can_be_started_attempts_fail_and_say_so(self, monkeypatch, retry_on, retryable):
        rig = ThreadRig(8)
        rig.open()
        allow(monkeypatch, 0)
        node = rig.submit(steps.add, retry_on=retry_on, x=1, y=1)
        failure = rig.end(node)[4]
        assert (failure.type, failure.retryable, failure.trace) == ("RuntimeError", retryable, "")
        assert failure.text.startswith("can't start new thread: the system allows no more of them (ulimit -u")
        monkeypatch.undo()
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        rig.close()

    def test_a_lone_thread_that_a_stream_keeps_is_none_for_the_others(self, monkeypatch):
        """The stream may wait for what they do."""
        rig = ThreadRig(8)
        rig.open()
        allow(monkeypatch, 1)
        stream = self.begin(rig, count_to, upto=1, many=3)
        rig.until(lambda: self.elements(rig, stream) == [0])
        failure = rig.end(rig.submit(steps.add, x=1, y=1))[4]
        assert "can't start new thread" in failure.text
        self.go_on(rig, stream, 9)
        assert rig.end(stream)[3] == c.OK
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        rig.close()

    def test_what_waits_behind_a_stream_that_takes_the_last_thread_fails(self, monkeypatch):
        rig = ThreadRig(8)
        rig.open()
        allow(monkeypatch, 1)
        inside, release = threading.Event(), threading.Event()
        first = rig.submit(lambda: hold(inside, release))
        wait(inside)
        stream = self.begin(rig, count_to, many=1)
        behind = rig.submit(steps.add, x=1, y=1)
        release.set()
        assert rig.end(first)[3] == c.OK
        assert "can't start new thread" in rig.end(behind)[4].text
        self.go_on(rig, stream, 9)
        assert rig.end(stream)[3] == c.OK
        rig.close()

    def test_a_size_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            ThreadRunner(0)


# Threads that an executor lends


class TestLentThreads(StreamContract, RunnerContract):
    parks_streams = False

    @pytest.fixture(autouse=True)
    def _lender(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as self.lender:
            yield

    def make(self) -> ThreadRig:
        return ThreadRig(1, self.lender)

    def park(self, rig: Rig) -> Callable[[], None]:
        inside, release = threading.Event(), threading.Event()
        rig.submit(lambda: hold(inside, release))
        wait(inside)
        return release.set


@pytest.fixture
def lender():
    with ThreadPoolExecutor(2, thread_name_prefix="lent") as lender:
        yield lender


def lending(threads: int, **how: Any) -> Any:
    """An executor; its type is no matter here."""
    return ThreadPoolExecutor(threads, **how)


def who() -> str:
    return threading.current_thread().name


def lent_flow(call: Callable[..., Any], **how: Any) -> Flow:
    flow = Flow("one")
    flow.add(call, name="step", **how)
    return flow


@pytest.mark.parametrize("lend", [executor, lambda lender: lender])
def test_a_run_borrows_the_threads_of_an_executor_and_gives_them_back(lender, lend):
    flow = Flow("map")
    many = flow.add(lambda: list(range(50)), name="many")
    flow.add(lambda x: who(), name="names", x=each(many))
    for _ in range(2):
        names = set(flow.run(runner=lend(lender)).items("names"))
        assert {name[:4] for name in names} == {"lent"}
        at_work = [threading.Event(), threading.Event()]
        both = [lender.submit(hold, one, other) for one, other in (at_work, at_work[::-1])]
        for future in both:  # both threads are there for others, at the same time
            assert future.result(PATIENCE) == ""


def test_values_stay_what_they_are_and_functions_need_no_name(lender):
    value = object()
    flow = Flow("by reference")
    first = flow.add(lambda: value, name="first", volatile=True)
    flow.add(lambda x: x is value, name="same", x=use(first))
    assert flow.run(runner=lender)["same"] is True


def test_a_step_that_hangs_in_a_lent_thread_is_abandoned_and_named(lender):
    release = threading.Event()
    flow = Flow("hangs")
    flow.add(lambda: wait(release), name="hangs", timeout=0.1, optional=True)
    flow.add(lambda: 1, name="other")
    result = flow.run(runner=lender, options=RunOptions(grace=0.05))
    release.set()
    assert result["other"] == 1
    (abandoned,) = result.abandoned
    assert "lent_" in str(abandoned)
    assert lender.submit(who).result(PATIENCE).startswith("lent")


def test_a_stream_and_its_consumer_with_one_lent_thread():
    flow = Flow("stream")
    numbers = flow.add(count_to, name="numbers", many=500)
    flow.add(lambda x: x + 1, name="more", x=each(numbers))
    with lending(1) as lender:
        assert flow.run(runner=lender).items("more") == list(range(1, 501))


def test_an_executor_that_was_shut_down_lends_nothing_and_that_is_said():
    lender = lending(1)
    lender.shutdown()
    flow = Flow("two")
    first = flow.add(lambda: 1, name="step", optional=True)
    flow.add(lambda: 2, name="other", after=[first], optional=True)
    result = flow.run(runner=lender)
    failure = result.nodes["step"].failure
    assert failure is not None
    assert "cannot schedule new futures after shutdown: the executor lends none" in failure.text


@pytest.mark.parametrize("cancels", [False, True])
def test_an_executor_that_is_shut_down_amid_a_run_keeps_what_it_has_lent(cancels):
    """What it had not begun is dropped; a thread that serves the run serves it to its end."""
    inside, release, busy = threading.Event(), threading.Event(), threading.Event()
    lender = lending(2)
    lender.submit(wait, busy)  # so that only one can be lent
    flow = Flow("many")
    first = flow.add(lambda: hold(inside, release, "fine"), name="first")
    flow.add(lambda x: x, name="same", x=each(param("items", list[int])))
    flow.add(lambda x: x, name="last", x=use(first))
    run = flow.start(runner=lender, items=list(range(20)))
    wait(inside)
    lender.shutdown(wait=False, cancel_futures=cancels)
    release.set()
    result = run.result(PATIENCE)
    busy.set()
    assert result["last"] == "fine"
    assert result.items("same") == list(range(20))
    lender.shutdown()


def test_an_executor_that_drops_what_it_had_not_begun_fails_what_waits_for_it():
    busy, inside = threading.Event(), threading.Event()
    lender = lending(1)
    lender.submit(hold, inside, busy)
    wait(inside)
    run = lent_flow(lambda: 1).start(runner=lender)
    until(lambda: lender._work_queue.qsize() == 1)
    lender.shutdown(wait=False, cancel_futures=True)
    failure = run.result(PATIENCE).nodes["step"].failure
    busy.set()
    assert failure is not None
    assert "has dropped what it had not begun" in failure.text
    lender.shutdown()


def test_a_run_does_not_wait_at_its_end_for_threads_that_have_not_come_yet():
    busy, inside = threading.Event(), threading.Event()
    with lending(1) as lender:
        lender.submit(hold, inside, busy)
        wait(inside)
        run = lent_flow(lambda: 1).start(runner=lender)
        until(lambda: lender._work_queue.qsize() == 1)
        run.cancel("enough")
        result = run.result(PATIENCE)
        assert result.nodes["step"].status is NodeStatus.SKIPPED
        assert result.warnings == ()
        busy.set()


def test_a_run_in_a_thread_of_the_executor_that_it_is_lent_is_refused():
    """It would wait for a thread that waits for it."""
    flow = lent_flow(lambda: 1)
    with lending(1) as lender:
        future = lender.submit(flow.run, runner=lender)
        with pytest.raises(InputError, match="lend it another one, or say runner='threads'"):
            future.result(PATIENCE)
        assert lender.submit(flow.run).result(PATIENCE)["step"] == 1


def test_an_executor_whose_threads_cannot_begin_fails_what_waits():
    def broken() -> None:
        raise OSError("no such luck")

    logging.getLogger("concurrent.futures").disabled = True
    try:
        with lending(1, initializer=broken) as lender:
            failure = lent_flow(lambda: 1).run(runner=lender).nodes["step"].failure
    finally:
        logging.getLogger("concurrent.futures").disabled = False
    assert failure is not None


def test_fewer_threads_than_there_are_may_be_borrowed(lender):
    flow = Flow("map")
    flow.add(lambda x: who(), name="names", x=each(param("items", list[int])))
    with executor(lender, size=1) as pool:
        assert len(set(flow.run(runner=pool, items=[1] * 50).items("names"))) == 1


def until(done: Callable[[], bool]) -> None:
    """Waits for something that is about to come."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.002)
