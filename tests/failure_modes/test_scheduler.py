"""S: what the catalogue asks of scheduling, cancelling and threads, through the public API."""

from __future__ import annotations

import asyncio
import threading
import time
from random import Random
from typing import Any

import pytest

from penstock import Flow, Limit, RetryPolicy, RunOptions, each, gather
from penstock.core.machine import Machine
from penstock.runners.aio import AioRunner
from penstock.testing import FakeClock, run
from tests.engine.tools import other

HOUR = 3600.0


def shape(result: Any) -> Any:
    """Everything about a run that must not depend on who looks on."""
    nodes = [
        (node.path, node.status, node.value, node.skip, str(node.failure))
        for of in result.nodes.values()
        for node in (of, *(of.items or ()))
    ]
    return result.status, result.tolerated, nodes


# S02: hooks


def a_flow_that_fails_a_little() -> Flow:
    flow = Flow("flow")
    numbers = flow.add(lambda: [1, 2, 0], name="numbers")
    item = flow.add(lambda n: 6 // n, name="item", n=each(numbers))
    flow.add(lambda items: sum(items), name="total", items=gather(item, failures="drop"))
    return flow


@pytest.mark.parametrize("error", [ValueError("ouch"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_s02_every_hook_and_observer_raises_and_the_result_is_the_same(error):
    def bad(_: Any) -> None:
        raise error

    async def bad_later(_: Any) -> None:
        raise error

    without = a_flow_that_fails_a_little().run()
    flow = a_flow_that_fails_a_little()
    for hook in (bad, bad_later, bad):
        flow.on_end(hook)
    result = flow.run(options=RunOptions(observers=[bad]))
    assert shape(result) == shape(without)
    assert len(result.warnings) == 4
    assert all(type(error).__name__ in warning for warning in result.warnings)


# S15: a timeout in the same tick as the end


def outcomes(seeds: range) -> None:
    """Of each seed an attempt that ends just before, at, or just after its time, with and without a retry.

    Times of whole seconds, so that "at" is exactly at.
    """
    dice = Random(seeds.start)
    lengths = [dice.choice((59.0, 60.0, 60.0, 60.0, 61.0)) for _ in seeds]
    tries = dice.randint(1, 2)
    clock, ends = FakeClock(), dict[str, list[str]]()

    def on_event(event: Any) -> None:
        name = type(event).__name__
        if name in ("NodeSucceeded", "NodeFailed", "NodeRetrying", "NodeCancelled"):
            ends.setdefault(str(event.path), []).append(name)

    async def item(n: int) -> int:
        await clock.asleep(lengths[n])
        return n

    flow = Flow("flow")
    source = flow.add(lambda: list(range(len(lengths))), name="source")
    retry = RetryPolicy(tries, 0.0, jitter="none")
    flow.add(item, name="item", n=each(source), timeout=60.0, retry=retry)
    result = run(flow, clock=clock, options=RunOptions(on_failure="continue", observers=[on_event]))
    for n, length in enumerate(lengths):
        expected = ["NodeSucceeded"] if length < 60.0 else ["NodeRetrying"] * (tries - 1) + ["NodeFailed"]
        assert ends[f"item[{n}]"] == expected, (n, length)
    assert result.abandoned == ()


@pytest.mark.parametrize("first", range(0, 1_000, 250))
def test_s15_an_attempt_that_ends_at_its_time_has_exactly_one_outcome(first):
    outcomes(range(first, first + 250))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 500))
def test_s15_of_ten_thousand_seeds_each_has_exactly_one_outcome(first):
    outcomes(range(first, first + 500))


def test_s15_in_threads_too_where_nobody_knows_who_is_first(fake_clock):
    """The step moves the clock to its own limit, and returns: it is over, or late, and never both."""
    ends: list[str] = []

    def on_event(event: Any) -> None:
        if type(event).__name__ in ("NodeSucceeded", "NodeFailed"):
            ends.append(str(event.path))

    def item(n: int) -> int:
        fake_clock.advance(60.0)
        return n

    flow = Flow("flow")
    source = flow.add(lambda: list(range(200)), name="source")
    flow.add(item, name="item", n=each(source), timeout=60.0, runner="threads")
    options = RunOptions(on_failure="continue", observers=[on_event], max_abandoned=1_000)
    result = run(flow, clock=fake_clock, options=options)
    assert sorted(ends) == sorted([*(f"item[{n}]" for n in range(200)), "source"])
    items = result.nodes["item"].items
    assert items is not None
    for one in items:
        assert (one.status.value == "succeeded") == (one.failure is None)
        assert one.failure is None or one.failure.kind == "timeout"


# S18: streams that are not exhausted


UNFINISHED = """
import asyncio, gc, warnings
from penstock import Flow, RunOptions, each, gather

closed = []

def numbers():
    try:
        yield from range(1_000_000)
    finally:
        closed.append("plain")

async def more_numbers():
    try:
        for n in range(1_000_000):
            yield n
    finally:
        await asyncio.sleep(0)
        closed.append("async")

def fail(n):
    if n == 3:
        raise LookupError
    return n

def main(how):
    flow = Flow("flow")
    one = flow.add(numbers, name="one", runner=how)
    two = flow.add(more_numbers, name="two")
    flow.add(fail, name="first", n=each(one))
    flow.add(fail, name="second", n=each(two))
    for call in (flow.run, lambda: asyncio.run(flow.arun())):
        closed.clear()
        result = call()
        # whoever is closed is closed before the run returns
        states = {id: result.nodes[id].status.value for id in ("one", "two")}
        assert result.status.value == "failed", result
        assert sorted(closed) == ["async", "plain"] or "skipped" in states.values(), (closed, states)
        gc.collect()

for how in ("threads", "inline"):
    main(how)
print("done")
"""


def test_s18_streams_that_are_cut_off_are_closed_before_the_run_returns_and_nobody_complains():
    """In an interpreter in which every warning is an error, and what nobody closed is told on stderr."""
    with other(UNFINISHED) as process:
        process.until("done")
        assert process.end() == (0, [])
        assert process.errors == ""


# S19: a blocked event loop


@pytest.mark.parametrize("blocks", ["before its first await", "after it"])
def test_s19_a_step_that_blocks_the_event_loop_is_named_in_the_warnings(blocks, monkeypatch):
    monkeypatch.setattr(AioRunner, "blocked_after", 0.05)

    async def rude() -> int:
        if blocks == "after it":
            await asyncio.sleep(0)
        time.sleep(0.06)  # what the step is tried for, not a wait
        return 1

    async def polite() -> int:
        await asyncio.sleep(0)
        return 2

    flow = Flow("flow")
    flow.add(rude, name="rude")
    flow.add(polite, name="polite")
    result = flow.run()
    assert (result["rude"], result["polite"]) == (1, 2)
    (warning,) = [warning for warning in result.warnings if "rude" in warning]
    assert warning.startswith("step rude kept the event loop for 0.")
    assert "asyncio.to_thread" in warning


# S21: runs inside steps


@pytest.mark.parametrize("colour", ["plain", "async"])
@pytest.mark.parametrize("scope", ["run", "process"])
def test_s21_five_deep_with_one_slot_each_and_every_parent_is_linked(colour, scope):
    """With a limit of one permit for the whole process too: a run uses what the step around it holds."""
    ids: list[tuple[str, str | None]] = []
    one = Limit("the only one", capacity=1, scope=scope)

    def on_event(event: Any) -> None:
        if type(event).__name__ == "RunStarted":
            ids.append((event.run_id, event.parent))

    options = RunOptions(max_concurrency=1, observers=[on_event])

    def flow_around(inner: Flow | None) -> Flow:
        def plain() -> int:
            return 1 if inner is None else 1 + int(inner.run(options=options)["a"])

        async def later() -> int:
            return 1 if inner is None else 1 + int((await inner.arun(options=options))["a"])

        flow = Flow("flow")
        flow.add(plain if colour == "plain" else later, name="a", limits=[one])
        return flow

    flow = None
    for _ in range(5):
        flow = flow_around(flow)
    assert flow is not None
    assert flow.run(options=options)["a"] == 5
    assert len({run_id for run_id, _ in ids}) == 5
    assert [parent for _, parent in ids] == [None, *(run_id for run_id, _ in ids[:-1])]


# S22: fork


FORKING = """
import asyncio, os, signal, sys, threading
from penstock import Flow, RunOptions, each

runner, how = sys.argv[1:]
read, write = os.pipe()

def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # if it came back it might wait for ever
        if how == "raise":
            raise LookupError
        if how == "exit":
            sys.exit(0)
        return "from the child"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def fork_at_once():
    return fork()

async def fork_later():
    await asyncio.sleep(0)
    return fork()

def item(n):
    os.write(write, b"x")
    return n

async def item_later(n):
    os.write(write, b"x")
    await asyncio.sleep(0)
    return n

codes = []

def ask():
    codes.append(fork())
    return True

def on_event(event):
    if type(event).__name__ == "NodeSucceeded" and not codes:
        codes.append(fork())

flow = Flow("flow")
place = {"async": "aio", "async later": "aio", "threads": "threads", "alone": None}.get(runner, "inline")
call = {"async": fork_at_once, "async later": fork_later}.get(runner, fork)
if runner in ("condition", "observer"):
    flow.add(lambda: 1, name="fork", when=ask if runner == "condition" else None, runner=place)
else:
    flow.add(call, name="fork", runner=place)
source = flow.add(lambda: list(range(50)), name="source", runner="inline" if place else None)
flow.add(item_later if place == "aio" else item, name="item", n=each(source), runner=place)
result = flow.run(options=RunOptions(observers=[on_event] if runner == "observer" else []))
print("run", result.run_id)
print(result.status.value, *(codes or [result["fork"]]))
os.close(write)
print(len(os.read(read, 1000)), "items made")
"""


@pytest.mark.parametrize("how", ["return", "raise", "exit"])
@pytest.mark.parametrize(
    "runner", ["alone", "inline", "threads", "async", "async later", "condition", "observer"]
)
def test_s22_what_a_step_forks_cannot_come_back_into_the_engine(runner, how):
    """It ends and says why; the parent's run goes on, and nothing is made twice."""
    code = f"import sys; sys.argv = ['', {runner!r}, {how!r}]\n{FORKING}"
    with other(code) as process:
        exit_code, said = process.end()
    assert (exit_code, said[1:]) == (0, ["succeeded 70", "50 items made"])
    assert process.errors.startswith(f"penstock: {said[0]} goes on in the process that has forked this one")
    assert "the engine is not usable after fork; end a forked process with os._exit()" in process.errors
    assert len(process.errors.splitlines()) == 1


IN_THE_CHILD = """
import os, threading
from penstock import Context, Flow

begun, end = threading.Event(), threading.Event()
speaks = []

def step(ctx: Context):
    speaks.append(ctx)
    begun.set()
    assert end.wait(30)
    return "of the parent"

flow = Flow("flow")
flow.add(step, name="a", runner="threads")
small = Flow("small")

async def one():
    return 1

small.add(one, name="one")
small.add(lambda one: one + 1, name="two", runner="threads")

handle = flow.start()
assert begun.wait(30)
child = os.fork()
if child == 0:
    for use in (handle.result, handle.cancel, lambda: next(handle.events()), lambda: speaks[0].log("x")):
        try:
            use()
        except RuntimeError as error:
            assert "the engine is not usable after fork" in str(error), error
        else:
            os._exit(1)
    os._exit(0 if small.run()["two"] == 2 else 2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
end.set()
print(handle.result(30)["a"])

child = os.fork()  # what has ended may be looked at everywhere
if child == 0:
    os._exit(0 if handle.result()["a"] == "of the parent" and list(handle.events()) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_s22_a_forked_process_cannot_use_a_run_of_its_parent_and_may_have_its_own():
    with other(IN_THE_CHILD) as process:
        assert process.end() == (0, ["of the parent", "0"]), process.errors
    assert process.errors == ""


# S23: processes while threads are alive


THOUSAND = """
import os, threading
from pathlib import Path
from penstock import Flow, RunOptions, each, processes
from tests.failure_modes import work

if __name__ == "__main__":
    end = threading.Event()
    busy = [threading.Thread(target=end.wait, daemon=True) for _ in range(8)]
    for thread in busy:
        thread.start()
    flow = Flow("flow")
    source = flow.add(lambda: list(range(1000)), name="source")
    flow.add(work.double, name="item", n=each(source), runner="processes")
    flow.add(lambda n: n, name="beside", n=each(source), runner="threads")
    with processes(2) as pool:
        result = flow.run(options=RunOptions(), runner=pool)
        began = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pool.pids]
    end.set()
    assert result.items("item") == [2 * n for n in range(1000)]
    assert began and all(b"penstock.runners.processes.worker" in line for line in began), began
    print("done")
"""


def test_s23_a_thousand_calls_in_processes_while_threads_are_alive():
    """A worker is an interpreter of its own, and no copy of this process with its locks held."""
    with other(THOUSAND) as process:
        process.until("done")
        assert process.end() == (0, [])


# S27: nothing suspended is collected


def test_s27_a_collector_that_never_rests_takes_no_waiting_step_away():
    import gc

    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            gc.collect()

    async def item(n: int) -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return n

    flow = Flow("flow")
    source = flow.add(lambda: list(range(100)), name="source")
    flow.add(item, name="item", n=each(source))
    collector = threading.Thread(target=collect)
    collector.start()
    try:
        assert flow.run().items("item") == list(range(100))
    finally:
        over.set()
        collector.join()


# S30: what failures leave behind


STORM = """
import gc, os
from penstock import Flow, RunOptions, each

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def fail(n):
    held = bytearray(10_000)
    raise LookupError(f"number {n} of {len(held)}")

async def fail_later(n):
    fail(n)

def storm(many):
    flow = Flow("flow")
    source = flow.add(lambda: list(range(many)), name="source")
    flow.add(fail, name="a", n=each(source), runner="threads")
    flow.add(fail_later, name="b", n=each(source))
    result = flow.run(options=RunOptions(on_failure="continue"))
    assert sum(1 for _ in result.failed()) == 2 * many + 1 or result.status.value == "failed"

for _ in range(2):
    storm({many})
before = resident()
for _ in range(4):
    storm({many})
print(resident() - before)
"""


@pytest.mark.parametrize("many", [500, pytest.param(5_000, marks=pytest.mark.slow)])
def test_s30_memory_is_flat_over_failing_steps(many):
    """Each failure held 10 KB in its frames: four storms that kept them would be 40 MB and more."""
    with other(STORM.replace("{many}", str(many))) as process:
        grown = int(process.line())
        assert process.end()[0] == 0
    assert grown < 15_000_000


# S31: faults of our own


@pytest.mark.parametrize("error", [AssertionError("planted"), ZeroDivisionError("planted"), KeyError("x")])
@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_s31_a_fault_at_any_turn_ends_the_run_and_is_called_a_bug(runner, error, monkeypatch):
    """In the first turn, in the second, and so on, until a run gets through."""

    async def later(n: int = 0) -> int:
        await asyncio.sleep(0)
        return n

    flow = Flow("flow")
    call: Any = later if runner == "aio" else lambda n=0: n
    source = flow.add(lambda: list(range(3)), name="source")
    item = flow.add(call, name="item", n=each(source), runner=runner, retry=RetryPolicy(2, 0.0))
    flow.add(lambda items: items, name="all", items=gather(item), when=lambda: True)
    step, left, result = Machine.step, [0], None

    def broken(self: Machine, replies: Any, now: float) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return step(self, replies, now)

    monkeypatch.setattr(Machine, "step", broken)
    for turn in range(100):
        left[0] = turn
        error.__notes__ = []
        try:
            result = flow.run(options=RunOptions(seed=7))
        except type(error):
            (note,) = error.__notes__
            assert note.startswith("run ")
            assert "(seed 7) broke off here: this is a bug in Penstock" in note
        else:
            break
    assert result is not None
    assert result["all"] == [0, 1, 2]
    assert turn >= 3
