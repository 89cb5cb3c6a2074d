"""The runner that makes its attempts in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import pytest

from penstock.core import commands as c
from penstock.runners.threads import ThreadRunner
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract, context_of


class ThreadRig(Rig):
    def __init__(self, size: int | None = None) -> None:
        super().__init__(ThreadRunner(size))
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


def hold(inside: threading.Event, release: threading.Event, result: str = "") -> str:
    inside.set()
    wait(release)
    return result


class TestThreads(RunnerContract):
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
        result, name = rig.end(node)[3:5]
        assert result == c.CANCELLED
        assert name.startswith("penstock-")
        assert name.startswith("penstock-")
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

    def test_a_size_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            ThreadRunner(0)
