"""The runner that makes its attempts in the engine's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context

from penstock.core import commands as c
from penstock.runners.inline import InlineRunner
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


class TestInline(RunnerContract):
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

    def test_closing_drops_what_has_not_begun(self):
        rig = self.make()
        rig.open()
        rig.submit(steps.exit_now)
        rig.close()
        assert not rig.runner.pump()  # type: ignore[attr-defined]
