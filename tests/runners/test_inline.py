"""The runner that makes its attempts in the engine's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context

from penstock.core import commands as c
from penstock.runners.inline import InlineRunner
from penstock.testing.stream_contract import StreamContract
from penstock.testing.stream_steps import count_to, noted
from tests.runners import steps
from tests.runners.contract import Rig, RunnerContract


class InlineRig(Rig):
    runner: InlineRunner

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            new = self.runner.pump()
            assert new, "nothing is left to be done"
            self.take()
            self.replies += new


class TestInline(StreamContract, RunnerContract):
    interrupts = True
    timed = False  # nothing that takes a timeout comes here

    def make(self) -> Rig:
        return InlineRig(InlineRunner())

    def park(self, rig: Rig) -> Callable[[], None]:
        return lambda: None  # nobody pumps

    def test_s24_variables_are_inherited_and_isolated(self):
        copy_context().run(super().test_s24_variables_are_inherited_and_isolated)

    def test_s24_siblings_see_nothing_of_each_other(self, rig):
        copy_context().run(super().test_s24_siblings_see_nothing_of_each_other, rig)

    def test_attempts_are_made_in_this_very_thread(self, rig):
        assert rig.run(threading.get_ident) == (c.OK, threading.get_ident())

    def test_an_interrupt_ends_the_attempt_and_asks_for_a_cancel(self, rig):
        assert rig.run(steps.raise_named, name="KeyboardInterrupt") == (c.CANCELLED, None)
        assert (c.ASKED, "interrupted") in rig.replies
        assert rig.replies.index((c.ASKED, "interrupted")) < rig.replies.index(rig.end(0))

    def test_it_is_busy_only_while_a_step_runs(self, rig):
        assert rig.run(lambda: rig.runner.busy) == (c.OK, True)
        assert not rig.runner.busy
        rig.failure(steps.raise_value)
        assert not rig.runner.busy
        rig.run(steps.raise_named, name="KeyboardInterrupt")
        assert not rig.runner.busy

    def test_a_pump_ends_after_a_slice(self):
        """So that a thousand quick steps are not one turn."""
        times = iter(x / 4_000 for x in range(10_000))
        runner = InlineRunner()
        rig = InlineRig(runner)
        runner.open(rig.mailbox, lambda: next(times))
        for _ in range(50):
            rig.submit(steps.nothing)
        assert 1 <= len(runner.pump()) < 10

    def test_pumped_dry_it_says_so(self, rig):
        assert not rig.runner.pump()
        rig.submit(steps.nothing)
        assert rig.runner.pump()
        assert not rig.runner.pump()

    def test_a_stream_and_steps_take_turns(self):
        """By the runner's clock each element, and each step, takes a quarter of a slice."""
        times = iter(x / 4_000 for x in range(100_000))
        runner = InlineRunner()
        rig = InlineRig(runner)
        runner.open(rig.mailbox, lambda: next(times))
        stream = self.begin(rig, count_to, upto=10_000, many=1_000)
        many = [rig.submit(steps.nothing) for _ in range(100)]
        rig.end(many[-1])
        assert 10 < len(self.elements(rig, stream)) < 500
        assert rig.end(stream)[3] == c.OK

    def test_pumped_dry_while_streams_wait(self, rig):
        node = self.begin(rig, count_to, upto=2, many=10)
        self.wait_for(rig, node, 2)
        assert not rig.runner.pump()
        self.go_on(rig, node, 3)
        assert rig.runner.pump()
        assert not rig.runner.pump()

    def test_an_interrupt_within_a_stream_closes_it_and_asks_for_a_cancel(self, rig):
        closed = []

        def stream():
            try:
                yield rig.runner.busy
                raise KeyboardInterrupt
            finally:
                closed.append(True)

        node = self.begin(rig, stream, upto=5)
        reply = rig.end(node)
        assert reply[3:5] == (c.CANCELLED, None)
        assert rig.replies.index((c.ASKED, "interrupted")) < rig.replies.index(reply)
        assert self.elements(rig, node) == [True]
        assert closed
        assert not rig.runner.busy

    def test_an_interrupt_between_two_elements_closes_the_stream_too(self, rig):
        """It is raised wherever the thread is, so perhaps in a line of ours."""
        closed = []

        class Interrupts(list):
            def append(self, reply):
                super().append(reply)
                if reply[0] == c.YIELDED:
                    raise KeyboardInterrupt

        def stream():
            try:
                yield from range(5)
            finally:
                closed.append(True)

        elements = stream()  # or it were closed when it is collected
        self.begin(rig, lambda: elements, upto=5)
        runner, done = rig.runner, Interrupts()
        runner._begin(runner._queue.popleft(), done, 0.0)
        runner._go_on_with(runner._going.popleft(), done, 0.0)
        assert [reply[0] for reply in done] == [c.YIELDED, c.ASKED, c.ENDED]
        assert done[-1][3] == c.CANCELLED
        assert closed

    def test_an_abandoned_stream_is_closed_at_once(self, rig, seen):
        node = self.begin(rig, count_to, upto=2, many=10, seen=seen)
        self.wait_for(rig, node, 2)
        rig.stop(node)
        rig.abandon(node)
        (reply,) = rig.of(node, c.ENDED)
        assert reply[3:5] == (c.CANCELLED, None)
        assert noted(seen)[-1] == "end"
        assert not rig.runner.pump()
        assert len(rig.of(node, c.ENDED)) == 1

    def test_s18_closing_does_not_leave_a_stream_to_the_collector(self, seen):
        rig = self.make()
        rig.open()
        elements = count_to(10, seen)
        node = self.begin(rig, lambda: elements, upto=1)
        self.wait_for(rig, node, 1)
        rig.close()
        assert noted(seen) == ["begin", "0", "end"]

    def test_closing_drops_what_has_not_begun(self):
        rig = self.make()
        rig.open()
        rig.submit(steps.exit_now)
        rig.close()
        assert not rig.runner.pump()  # type: ignore[attr-defined]
