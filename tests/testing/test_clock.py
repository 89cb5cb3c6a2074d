"""The fake clock: nobody waits, and everything happens at its time and in its order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Context, Flow, Limit, Rate, RetryPolicy, RunOptions, RunStatus, Timeout, each, param, use
from penstock.core.events import NodeRetrying, NodeStarted
from penstock.core.graph import Graph
from penstock.core.model import Node
from penstock.testing import FakeClock, Faults, RunOver, RunStuck, arun, run, stand_ins

SAFETY = 30.0
HOUR = 3600.0


class TestTheClockByItself:
    def test_it_shows_its_start_and_moves_by_hand(self):
        clock = FakeClock(100.0)
        assert clock() == 100.0
        clock.advance(2.5)
        assert clock() == 102.5
        assert repr(clock) == "<fake clock at 102.5 s>"

    @pytest.mark.parametrize("seconds", [-1, float("nan")])
    def test_it_never_runs_backwards(self, seconds):
        with pytest.raises(ValueError, match="0 s or more"):
            FakeClock().advance(seconds)

    def test_without_a_run_a_sleep_only_moves_it(self):
        clock = FakeClock()
        clock.sleep(HOUR)
        clock.sleep(-1)
        asyncio.run(clock.asleep(HOUR))
        asyncio.run(clock.asleep(0))
        assert clock() == 2 * HOUR

    def test_who_sleeps_outside_a_run_sleeps_with_it(self):
        clock, flow = FakeClock(), Flow("flow")
        woken = []

        def outside():
            clock.sleep(5)
            woken.append(clock())

        thread = threading.Thread(target=outside)

        @flow.step
        def a():
            thread.start()
            clock.sleep(10)

        run(flow, clock=clock)
        thread.join(SAFETY)
        assert woken in ([5.0], [10.0]), "it may have gone to sleep when the run was already on its way"


class TestARun:
    def test_it_starts_at_the_clock_and_moves_it(self):
        clock, flow = FakeClock(50.0), Flow("flow")
        flow.add(lambda: clock.sleep(7), name="a")
        assert run(flow, clock=clock).duration == 7.0
        assert clock() == 57.0

    def test_steps_finish_in_the_order_of_their_sleep(self):
        for _ in range(50):
            clock, flow = FakeClock(), Flow("flow")
            ended: list[Any] = []

            def sleeper(seconds, clock=clock, ended=ended):
                clock.sleep(seconds)
                ended.append((seconds, clock()))

            for seconds in (5, 3, 4):
                flow.add(sleeper, name=f"s{seconds}", seconds=seconds)
            assert run(flow, clock=clock).duration == 5.0
            assert ended == [(3, 3.0), (4, 4.0), (5, 5.0)]

    def test_of_equal_sleeps_the_first_to_start_ends_first(self):
        for _ in range(50):
            clock, flow = FakeClock(), Flow("flow")
            ended: list[Any] = []

            def sleeper(me, clock=clock, ended=ended):
                clock.sleep(1)
                ended.append(me)

            for name in "abcd":
                flow.add(sleeper, name=name, me=name)
            run(flow, clock=clock)
            assert ended == ["a", "b", "c", "d"]

    def test_threads_and_coroutines_share_it(self):
        clock, flow = FakeClock(), Flow("flow")
        ended: list[Any] = []

        def thread(seconds):
            clock.sleep(seconds)
            ended.append(seconds)

        async def coroutine(seconds):
            await clock.asleep(seconds)
            ended.append(seconds)

        for seconds in range(1, 9):
            flow.add(thread if seconds % 2 else coroutine, name=f"s{seconds}", seconds=seconds)
        assert run(flow, clock=clock).duration == 8.0
        assert ended == list(range(1, 9))

    def test_a_step_may_sleep_many_times(self):
        clock, flow = FakeClock(), Flow("flow")
        seen: list[Any] = []

        def worker(pause):
            for _ in range(3):
                clock.sleep(pause)
                seen.append((clock(), pause))

        flow.add(worker, name="a", pause=2)
        flow.add(worker, name="b", pause=3)
        run(flow, clock=clock)
        assert seen == [(2, 2), (3, 3), (4, 2), (6, 2), (6, 3), (9, 3)]

    def test_more_sleepers_than_threads(self):
        clock, flow = FakeClock(), Flow("flow")

        @flow.step
        def nap(n: int = each(param("ns", list[int]))) -> float:
            clock.sleep(HOUR)
            return clock()

        result = run(flow, clock=clock, ns=list(range(100)))
        size = sum(one == HOUR for one in result.items(nap))
        assert 1 < size < 100
        assert result.items(nap) == [HOUR * (1 + n // size) for n in range(100)]

    def test_retries_wait_for_nothing(self):
        flow = Flow("flow")
        events: list[Any] = []

        @flow.step(retry=RetryPolicy(max_attempts=4, initial_delay=HOUR, max_delay=9 * HOUR, jitter="none"))
        def flaky():
            raise ConnectionError

        result = run(flow, options=RunOptions(observers=[events.append]))
        assert result.status is RunStatus.FAILED
        dues = [HOUR, 3 * HOUR, 7 * HOUR]
        assert [event.due for event in events if isinstance(event, NodeRetrying)] == dues
        assert [event.at for event in events if isinstance(event, NodeStarted)] == [0.0, *dues]

    def test_the_seed_is_fixed_unless_one_is_given(self):
        def duration(**options):
            flow = Flow("flow")
            flow.add(lambda: 1 / 0, name="a", retry=RetryPolicy(max_attempts=5, initial_delay=1.0))
            return run(flow, options=RunOptions(**options)).duration

        assert duration() == duration() == duration(seed=0)
        assert duration(seed=1) != duration()

    def test_a_timeout_ends_a_sleep(self):
        clock, flow = FakeClock(), Flow("flow")
        flow.add(lambda: clock.sleep(HOUR), name="thread", timeout=5, optional=True)

        @flow.step(timeout=6, optional=True)
        async def task():
            await clock.asleep(HOUR)

        result = run(flow, clock=clock)
        assert result.duration == 6.0
        assert [one.failure.kind for one in result.failed() if one.failure] == ["timeout", "timeout"]

    def test_a_step_may_do_several_things_at_once(self):
        clock, flow = FakeClock(), Flow("flow")
        ended: list[Any] = []

        async def nap(seconds):
            await clock.asleep(seconds)
            await clock.asleep(seconds)
            ended.append((clock(), seconds))

        @flow.step
        async def both():
            await asyncio.gather(nap(HOUR), nap(2 * HOUR), asyncio.shield(nap(HOUR / 2)))

        assert run(flow, clock=clock).duration == 4 * HOUR
        assert ended == [(HOUR, HOUR / 2), (2 * HOUR, HOUR), (4 * HOUR, 2 * HOUR)]

    def test_a_step_that_will_not_be_cancelled_is_given_up(self):
        clock, flow = FakeClock(), Flow("flow")

        @flow.step(timeout=5)
        async def stubborn():
            while True:
                try:
                    await clock.asleep(HOUR)
                except asyncio.CancelledError:
                    continue

        result = run(flow, clock=clock)
        assert (result.duration, [one.path for one in result.abandoned]) == (15.0, ["stubborn"])

    def test_who_takes_exactly_its_timeout_is_late_always(self):
        for _ in range(50):
            clock, flow = FakeClock(), Flow("flow")
            flow.add(lambda clock=clock: clock.sleep(5), name="a", timeout=5)
            assert run(flow, clock=clock).status is RunStatus.FAILED

            @flow.step(name="a2", timeout=5)
            async def a2(clock=clock):
                await clock.asleep(5)

            assert run(flow, clock=clock, targets="a2").status is RunStatus.FAILED

    def test_a_rate_is_kept_and_not_waited_for(self):
        clock, flow = FakeClock(), Flow("flow")

        @flow.step(limits=[Limit("api", rate=Rate(2, per=60.0))])
        def call(n: int = each(param("ns", list[int]))) -> float:
            return clock()

        result = run(flow, clock=clock, ns=[1, 2, 3, 4, 5])
        assert result.items(call) == [0.0, 0.0, 60.0, 60.0, 120.0]

    def test_what_really_runs_is_waited_for(self):
        """The clock does not jump to the retry while somebody works."""
        clock, flow, go = FakeClock(), Flow("flow"), threading.Event()
        seen = []

        @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=10.0, jitter="none"))
        def flaky():
            seen.append(clock())
            if len(seen) == 1:
                threading.Timer(0.1, go.set).start()
                raise ConnectionError

        @flow.step
        def works():
            assert go.wait(SAFETY)
            return clock()

        result = run(flow, clock=clock)
        assert result[works] == 0.0
        assert seen == [0.0, 10.0]

    def test_what_really_hangs_has_its_timeout_all_the_same(self):
        flow, go = Flow("flow"), threading.Event()
        flow.add(lambda: go.wait(SAFETY), name="hangs", timeout=0.05)
        result = run(flow, clock=FakeClock(patience=0.0))
        go.set()
        assert result.nodes["hangs"].failure is not None
        assert result.nodes["hangs"].failure.kind == "timeout"

    def test_what_really_runs_has_the_patience_of_the_clock(self):
        """A retry due in a moment is not started while somebody works who takes a little longer."""
        clock, flow = FakeClock(patience=SAFETY), Flow("flow")
        order: list[str] = []

        @flow.step(retry=RetryPolicy(2, 0.001, jitter="none"))
        def flaky(ctx: Context):
            order.append(f"attempt {ctx.attempt}")
            if ctx.attempt == 1:
                raise ConnectionError

        @flow.step
        def works():
            threading.Event().wait(0.2)
            order.append("worked")

        run(flow, clock=clock)
        assert order == ["attempt 1", "worked", "attempt 2"]

    def test_a_step_may_move_it(self):
        clock, flow = FakeClock(), Flow("flow")
        flow.add(lambda: clock.advance(HOUR), name="a")
        assert run(flow, clock=clock).duration == HOUR

    def test_an_inline_step_moves_it_itself(self):
        clock, flow = FakeClock(), Flow("flow")
        ended: list[Any] = []

        def nap(seconds):
            clock.sleep(seconds)
            ended.append((seconds, clock()))

        flow.add(nap, name="here", seconds=5, runner="inline")
        flow.add(nap, name="there", seconds=3, runner="threads")
        assert run(flow, clock=clock).duration >= 5.0
        assert sorted(ended)[1] == (5, 5.0)

    def test_a_run_within_a_step_shares_it(self):
        clock, inner, outer = FakeClock(), Flow("inner"), Flow("outer")
        inner.add(lambda: clock.sleep(3 * HOUR), name="a")
        inner.add(lambda: clock.sleep(4 * HOUR), name="b")
        outer.add(lambda: inner.run().duration, name="runs")
        outer.add(lambda: clock.sleep(10 * HOUR), name="sleeps")
        result = run(outer, clock=clock)
        assert (result["runs"], result.duration) == (4 * HOUR, 10 * HOUR)

    def test_limits_of_the_process_are_shared_by_the_runs_on_it(self):
        clock, api = FakeClock(), Limit("api", rate=Rate(1, per=HOUR), scope="process")
        flow = Flow("flow")
        flow.add(lambda: clock(), name="a", limits=[api])
        assert [run(flow, clock=clock)["a"] for _ in range(3)] == [0.0, HOUR, 2 * HOUR]

    def test_an_idle_timeout_is_one_of_this_clock(self):
        clock, flow = FakeClock(), Flow("flow")

        @flow.step(timeout=Timeout(idle=60))
        def quiet(ctx: Context):
            clock.sleep(50)
            ctx.heartbeat()
            clock.sleep(HOUR)

        result = run(flow, clock=clock)
        assert result.nodes["quiet"].failure is not None
        assert (result.nodes["quiet"].failure.kind, result.duration) == ("timeout", 110.0)

    def test_a_stream_may_sleep(self):
        clock, flow = FakeClock(), Flow("flow")

        @flow.step
        def ticks() -> Iterator[float]:
            for _ in range(3):
                clock.sleep(10)
                yield clock()

        @flow.step(keep=True)
        async def late(tick: float = each(ticks)) -> float:
            await clock.asleep(5)
            return clock() - tick

        result = run(flow, clock=clock)
        assert (result.items(late), result.duration) == ([5.0, 5.0, 5.0], 35.0)

    def test_a_graph_runs_too(self):
        clock = FakeClock()
        graph = Graph("graph", [Node("a", lambda: clock.sleep(9))])
        assert run(graph, clock=clock).duration == 9.0

    def test_targets_and_overrides_are_handed_on(self):
        flow = Flow("flow")
        a = flow.add(lambda: 1, name="a")
        b = flow.add(lambda x: x + 1, name="b", x=use(a))
        flow.add(lambda: 1 / 0, name="c")
        assert run(flow, targets=[b], override={a: 5})[b] == 6

    def test_who_still_sleeps_when_the_run_is_over_sleeps_no_more(self, penstock_no_leaks):
        clock, flow, go = FakeClock(patience=0.0), Flow("flow"), threading.Event()
        threads: list[threading.Thread] = []
        seen: list[Any] = []

        def sleeps(really: float):
            threads.append(threading.current_thread())
            if really:
                assert go.wait(SAFETY)
            try:
                clock.sleep(HOUR)
            except RunOver:
                seen.append("over")
                raise
            seen.append("woken")

        flow.add(sleeps, name="asleep", really=False, timeout=0.05, optional=True)
        flow.add(sleeps, name="awake", really=True, timeout=0.05, optional=True)
        result = run(flow, clock=clock)
        go.set()
        for thread in threads:
            thread.join(SAFETY)
        assert sorted(one.path for one in result.abandoned) == ["asleep", "awake"]
        assert seen == ["over", "over"]
        assert clock() == 0.05

    def test_alarms_come_before_those_who_wake_at_the_same_time(self):
        for _ in range(50):
            clock, flow = FakeClock(), Flow("flow")
            order: list[str] = []

            def flaky(ctx: Context, order=order):
                order.append(f"attempt {ctx.attempt}")
                if ctx.attempt == 1:
                    raise ConnectionError

            def sleeps(order=order, clock=clock):
                clock.sleep(10)
                order.append("woken")

            flow.add(flaky, name="flaky", retry=RetryPolicy(2, 10.0, jitter="none"))
            flow.add(sleeps, name="sleeps")
            run(flow, clock=clock)
            assert order == ["attempt 1", "attempt 2", "woken"]

    def test_what_was_left_behind_and_wakes_is_waited_for(self):
        """It gives back its limit at its own time, not at some later one."""
        for _ in range(20):
            clock, flow, gpu = FakeClock(), Flow("flow"), Limit("gpu", 1)

            def long(clock=clock):
                clock.sleep(10)
                threading.Event().wait(0.01)

            flow.add(long, name="long", limits=[gpu], timeout=5)
            flow.add(lambda clock=clock: clock(), name="waits", limits=[gpu])
            result = run(flow, clock=clock, options=RunOptions(on_failure="continue", grace=60))
            assert result["waits"] == 10.0


class TestARunThatWouldNeverEnd:
    def test_a_sleep_for_ever_is_named(self, penstock_no_leaks):
        clock, flow = FakeClock(), Flow("night")
        flow.add(lambda: clock.sleep(float("inf")), name="sleeps")
        with pytest.raises(RunStuck, match="'night' waits for ever: 'sleeps' will never end by itself"):
            run(flow, clock=clock)

    def test_so_it_is_on_a_loop(self):
        clock, flow = FakeClock(), Flow("night")

        @flow.step
        async def sleeps():
            await clock.asleep(float("inf"))

        with pytest.raises(RunStuck, match="'sleeps'"):
            run(flow, clock=clock)
        with pytest.raises(RunStuck, match="'sleeps'"):
            asyncio.run(arun(flow, clock=clock))

    def test_a_deadline_ends_it(self):
        flow = Flow("flow")
        flow.add(lambda: None, name="a")
        result = run(flow, faults=Faults().hang("a"), options=RunOptions(deadline=60))
        assert (result.status, result.duration) == (RunStatus.FAILED, 60.0)


class TestARunOnTheCallersLoop:
    def test_it_gives_the_same(self):
        clock, flow = FakeClock(), Flow("flow")

        async def nap(seconds):
            await clock.asleep(seconds)
            return clock()

        flow.add(nap, name="a", seconds=HOUR)
        flow.add(lambda: clock.sleep(2 * HOUR), name="b")
        result = asyncio.run(arun(flow, clock=clock))
        assert (result["a"], result.duration) == (HOUR, 2 * HOUR)

    def test_two_at_a_time_share_the_clock(self):
        clock = FakeClock()
        ended = []

        def flow(pause):
            made = Flow(f"every {pause}")

            async def nap():
                for _ in range(3):
                    await clock.asleep(pause)
                    ended.append((clock(), pause))

            made.add(nap, name="nap")
            return made

        async def both():
            await asyncio.gather(*[arun(flow(pause), clock=clock) for pause in (2, 3)])

        asyncio.run(both())
        assert ended[:4] == [(2, 2), (3, 3), (4, 2), (6, 2)]
        assert sorted(ended[4:]) == [(6, 3), (9, 3)]

    def test_a_graph_runs_too(self):
        graph = Graph("graph", [Node("a", lambda: 5)])
        assert asyncio.run(arun(graph)).outputs == {"a": 5}

    def test_a_cancelled_caller_cancels_the_run(self):
        clock, flow, begun = FakeClock(), Flow("flow"), asyncio.Event()

        @flow.step
        async def really():
            begun.set()
            await asyncio.Event().wait()

        async def main():
            task = asyncio.create_task(arun(flow, clock=clock))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(asyncio.wait_for(main(), SAFETY))


class TestStandIns:
    def test_runs_that_somebody_else_begins_are_on_the_clock(self):
        flow = Flow("flow")
        flow.add(lambda: 1, name="a", retry=RetryPolicy(3, HOUR, max_delay=HOUR, jitter="none"))

        def main():
            return flow.run().duration, flow.start().result(SAFETY).duration

        faults = Faults().fail("a", times=1)
        with stand_ins(faults=faults) as clock:
            assert main() == (HOUR, 0.0)
        assert clock() == HOUR

    def test_afterwards_time_is_real_again(self):
        flow = Flow("flow")
        flow.add(lambda: 1, name="a")
        with stand_ins():
            pass
        assert flow.run().duration < SAFETY
        events: list[Any] = []
        before = time.time()
        flow.run(options=RunOptions(observers=[events.append]))
        assert before - 1 < events[0].at

    def test_a_background_run_is_advanced_by_hand_or_jumps(self):
        clock, flow = FakeClock(), Flow("flow")
        flow.add(lambda: clock.sleep(HOUR), name="a")
        with stand_ins(clock=clock):
            handle = flow.start()
            clock.sleep(2 * HOUR)
            assert handle.result(SAFETY).status is RunStatus.SUCCEEDED
        assert clock() >= 2 * HOUR
