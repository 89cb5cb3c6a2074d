"""Runs inside loops and threads, big graphs, and what a run leaves behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import warnings
import weakref
from typing import Any

import pytest

from penstock.core.graph import Graph
from penstock.core.model import Need, Node, RunOptions
from penstock.flow import Context, Flow, each, gather, use
from tests.engine.tools import GO_ON, SAFETY, run_nodes, statuses

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


# S20: run() inside a running loop


def test_s20_run_inside_a_running_loop_with_async_steps():
    async def later(x: int = 1):
        await asyncio.sleep(0)
        return VARIABLE.get()

    flow = Flow("flow")
    flow.add(later, name="a")

    async def main():
        VARIABLE.set("of the caller")
        return flow.run()["a"]

    assert asyncio.run(main()) == "of the caller"


@pytest.mark.parametrize("runner", ["threads", None])
def test_s20_a_plain_step_may_run_a_loop_of_its_own(runner):
    """Also where the flow has async steps, so that the run itself lives on a loop."""

    async def later():
        await asyncio.sleep(0)
        return 1

    flow = Flow("flow")
    flow.add(later, name="a")
    flow.add(lambda a: asyncio.run(later()) + a, name="b", **({"runner": runner} if runner else {}))
    flow.add(lambda b: asyncio.run(later()) + b, name="c")
    assert flow.run()["c"] == 3
    assert asyncio.run(flow.arun())["c"] == 3


def test_s20_a_lone_plain_step_too():
    flow = Flow("flow")
    flow.add(lambda: asyncio.run(asyncio.sleep(0, 1)), name="a")
    assert flow.run()["a"] == 1


@pytest.mark.parametrize("call", ["run", "arun"])
def test_s20_r13_runs_inside_steps_inside_runs(call):
    """Five deep with one slot each: a step that waits for its own run holds no slot of that run."""
    inner = Flow("inner")
    inner.add(lambda: 1, name="a")
    for _ in range(5):
        outer = Flow("outer")

        def plain(inner: Flow = inner) -> int:
            return 1 + int(inner.run(options=RunOptions(max_concurrency=1)).outputs["a"])

        async def later(inner: Flow = inner) -> int:
            return 1 + int((await inner.arun(options=RunOptions(max_concurrency=1))).outputs["a"])

        outer.add(plain if call == "run" else later, name="a", bind={"inner": inner})
        inner = outer
    assert inner.run(options=RunOptions(max_concurrency=1))["a"] == 6


def test_r13_ten_times_the_pool_of_runs_inside_steps():
    inner = Flow("inner")
    inner.add(lambda: [1, 2], name="source")
    inner.add(lambda n: n, name="item", n=each(inner.steps["source"]), runner="threads")
    inner.add(lambda items: sum(items), name="total", items=gather(inner.steps["item"]))
    outer = Flow("outer")
    outer.add(lambda: list(range(100)), name="source")
    outer.add(
        lambda n: n + inner.run()["total"], name="item", n=each(outer.steps["source"]), runner="threads"
    )
    assert outer.run().items("item") == [n + 3 for n in range(100)]


# S24: context variables


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_s24_variables_of_the_caller_are_seen_and_changes_are_not(runner):
    def plain():
        seen = VARIABLE.get()
        VARIABLE.set("changed by a step")
        return seen

    async def later():
        seen = plain()
        await asyncio.sleep(0)
        return seen if VARIABLE.get() == "changed by a step" else "lost its own"

    flow, last = Flow("flow"), None
    for at in range(20):
        after: list[Any] = [last] if last is not None and at % 2 else []
        last = flow.add(later if runner == "aio" else plain, name=f"s{at}", runner=runner, after=after)
    token = VARIABLE.set("of the caller")
    try:
        assert set(flow.run(options=GO_ON).outputs.values()) == {"of the caller"}
        assert VARIABLE.get() == "of the caller"
    finally:
        VARIABLE.reset(token)


# S25, S26: big graphs


@pytest.mark.slow
@pytest.mark.parametrize("color", ["sync", "async"])
def test_s25_a_chain_of_100_000_steps(color):
    def plus(before: int = 0) -> int:
        return before + 1

    async def later(before: int = 0) -> int:
        return before + 1

    flow = Flow("chain")
    step: Any = plus if color == "sync" else later
    last = flow.add(step, name="s0")
    for at in range(1, 100_000):
        last = flow.add(step, name=f"s{at}", before=use(last))
    assert flow.run()["s99999"] == 100_000


@pytest.mark.slow
def test_s25_a_failure_at_its_head_skips_all_of_it():
    flow = Flow("chain")
    last: Any = flow.add(lambda: 1 / 0, name="s0")
    for at in range(1, 100_000):
        last = flow.add(lambda before: before, name=f"s{at}", before=use(last))
    result = flow.run(options=GO_ON)
    found = list(statuses(result).values())
    assert (found.count("failed"), found.count("skipped")) == (1, 99_999)
    assert repr(result)
    assert repr(result.nodes)
    skip = result.nodes["s99999"].skip
    assert skip is not None
    assert skip.because == "s0"


@pytest.mark.slow
@pytest.mark.parametrize("color", ["sync", "async"])
def test_s26_a_star_of_100_000_steps_leaves_the_loop_its_turns(color):
    """A probe counts the iterations of the loop: a run that hogged it would let it have next to none."""

    async def later(root):
        return None

    nodes = [Node("root", lambda: 1, runner="threads")]
    call: Any = later if color == "async" else lambda root: None
    runner = "aio" if color == "async" else "inline"
    nodes += [
        Node(f"s{at}", call, (Need("root", "use", "root"),), is_async=color == "async", runner=runner)
        for at in range(100_000)
    ]
    graph = Graph("star", nodes)

    async def main():
        turns, over = 0, False

        async def probe():
            nonlocal turns
            while not over:
                turns += 1
                await asyncio.sleep(0)

        from penstock import wiring

        task = asyncio.create_task(probe())
        result = await wiring.arun(graph, {})
        over = True
        await task
        return result, turns

    result, turns = asyncio.run(main())
    assert result.status.value == "succeeded"
    assert turns >= 20, "about 2 µs a step and 1 ms a slice give a hundred or more"


# S27, S18: nothing is collected too early, nothing stays


def test_s27_the_collector_during_a_run_takes_nothing_away():
    async def later(n: int):
        await asyncio.sleep(0)
        gc.collect(0)
        await asyncio.sleep(0)
        if n % 50 == 0:
            gc.collect()
        return n

    async def ask():
        await asyncio.sleep(0)
        gc.collect()
        return True

    flow = Flow("flow")
    flow.add(lambda: list(range(300)), name="source", when=ask)
    flow.add(later, name="item", n=each(flow.steps["source"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.run().items("item") == list(range(300))
        assert asyncio.run(flow.arun()).items("item") == list(range(300))
        gc.collect()


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_a_run_leaves_no_threads_and_no_tasks(runner):
    async def later():
        await asyncio.sleep(0)

    flow = Flow("flow")
    for at in range(20):
        flow.add(later if runner == "aio" else lambda: None, name=f"s{at}", runner=runner)
    before = set(threading.enumerate())
    flow.run()
    assert set(threading.enumerate()) == before

    async def main():
        await flow.arun()
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_a_run_that_nobody_holds_is_freed():
    class Value:
        pass

    flow = Flow("flow")
    flow.add(Value, name="a")
    flow.add(lambda a: a, name="b")
    result = flow.run()
    value = weakref.ref(result["b"])
    del result
    gc.collect()
    assert value() is None


# Contexts


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_words_of_a_step_arrive_in_order_and_in_one_thread(runner):
    seen: list[Any] = []

    def plain(n: int, ctx: Context):
        for at in range(20):
            ctx.progress(at, 20, f"{n}")
            ctx.log("at", n=n, at=at)
        return (ctx.path, ctx.node, ctx.key, ctx.attempt, ctx.idempotency_key)

    async def later(n: int, ctx: Context):
        await asyncio.sleep(0)
        return plain(n, ctx)

    flow = Flow("flow")
    flow.add(lambda: [0, 1, 2, 3], name="source")
    call: Any = later if runner == "aio" else plain
    flow.add(call, name="item", n=each(flow.steps["source"]), runner=runner)

    def on_event(event):
        seen.append((threading.get_ident(), event))

    result = flow.run(options=RunOptions(observers=[on_event]))
    assert len({thread for thread, _ in seen}) == 1
    for n in range(4):
        logged = [e.fields["at"] for _, e in seen if type(e).__name__ == "Logged" and e.fields["n"] == n]
        done = [e.done for _, e in seen if type(e).__name__ == "Progressed" and e.text == str(n)]
        assert logged == done == list(range(20))
        key = f"{result.run_id}/item[{n}]"
        assert result.items("item")[n] == (f"item[{n}]", "item", (n,), 1, key)


def test_the_lag_of_observers_does_not_lose_words(flags):
    """What is said while the engine sleeps wakes it: nobody waits for the step's end to hear it."""
    heard = threading.Event()

    def step(ctx: Context):
        ctx.log("hear me")
        assert heard.wait(SAFETY)

    flow = Flow("flow")
    flow.add(step, name="a", runner="threads")

    def on_event(event):
        if type(event).__name__ == "Logged":
            heard.set()

    assert flow.start(options=RunOptions(observers=[on_event])).result(SAFETY).status.value == "succeeded"


def test_a_node_that_nothing_is_known_of_but_its_call_runs():
    assert run_nodes(Node("a", lambda: 1)).outputs == {"a": 1}
