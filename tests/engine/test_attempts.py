"""Attempts, whatever makes them: their times, the lone one in the engine's thread, coroutine methods."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from penstock import wiring
from penstock.core.events import NodeStarted
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Need, Node, RunOptions, RunStatus
from penstock.core.plan import Plan
from penstock.core.returned import Written
from penstock.runners.processes import ProcessPool
from penstock.runners.threads import ThreadRunner
from tests.engine.test_shared_state import (
    AGAIN,
    HERE,
    HOWS,
    bound,
    fail_after,
    give,
    go,
    step,
    takes,
    write,
    write_item,
)
from tests.engine.tools import GO_ON, SAFETY, Flags, met, statuses


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with wiring.processes(2) as pool:
        assert isinstance(pool, ProcessPool)
        yield pool


class TestTimes:
    """When nodes began and ended, whatever made their attempts; the plays say how it is in each case."""

    @pytest.mark.parametrize("how", HOWS)
    def test_what_ran_has_begun_and_ended_and_what_did_not_has_not(self, how, pool):
        nodes = [
            step(how, "a", write, bound=bound(key="a", value=[1, 2])),
            step(how, "bad", fail_after, takes("a", "y", "after"), bound=bound(writes={}), retry=AGAIN),
            step(how, "no", give, takes("bad")),
            step(how, "m", write_item, takes("a", "x", "each")),
        ]
        nodes[1] = nodes[1]._replace(needs=(Need("a", "after"),))
        result = go(how, pool, *nodes, options=GO_ON, override=None)
        assert statuses(result) == {"a": "succeeded", "bad": "failed", "no": "skipped", "m": "succeeded"}
        for one in [*result.nodes.values(), *(result.nodes["m"].items or ())]:
            if one.path == "no":
                assert (one.began, one.ended, one.duration) == (None, None, None)
                continue
            assert one.began is not None
            assert one.ended is not None
            assert one.began <= one.ended
            if one.items is None:
                assert one.duration == one.ended - one.began
        items = result.nodes["m"].items
        assert items is not None
        assert result.nodes["m"].began == min(one.began for one in items if one.began is not None)
        assert result.nodes["m"].ended == max(one.ended for one in items if one.ended is not None)

    @pytest.mark.parametrize("how", HERE)
    def test_one_begins_after_what_it_needs_has_ended_and_all_within_the_run(self, how, pool):
        nodes = [step(how, "n0", give, bound=bound(x=1))]
        nodes += [step(how, f"n{i}", give, takes(f"n{i - 1}")) for i in range(1, 10)]
        result = go(how, pool, *nodes)
        ends: list[Any] = [result.began]
        for one in result.nodes.values():
            ends += [one.began, one.ended]
        ends.append(result.began + result.duration + 1e-6)  # a sum may miss it by the last bit
        assert ends == sorted(ends)

    def test_one_that_was_overridden_has_not_run(self):
        nodes = [Node("a", write, bound=bound(key="a")), Node("b", give, (takes("a"),))]
        result = go("usual", None, *nodes, override={"a": 1})
        one = result.nodes["a"]
        assert (one.source, one.began, one.ended, one.duration) == ("override", None, None, None)
        assert result.nodes["b"].ended is not None

    def test_one_that_runs_is_looked_at_from_another_thread(self, flags: Flags):
        def waits(x: Any) -> int:
            met(flags.go)
            return 1

        def note(event: Any) -> None:
            if isinstance(event, NodeStarted) and str(event.path) == "b":
                flags.begun.set()

        graph = Graph("g", [Node("a", lambda: 0, keep=True), Node("b", waits, (takes("a"),))])
        options = RunOptions(observers=[note])
        prepared = wiring.Prepared(graph, {}, runner=ThreadRunner(1), options=options)
        thread = threading.Thread(target=prepared.run)
        thread.start()
        met(flags.begun)
        result = prepared.result()
        a, b = result.nodes["a"], result.nodes["b"]
        flags.go.set()
        thread.join(SAFETY)
        assert result.status is RunStatus.RUNNING
        assert (a.status.value, a.value, b.status.value, b.value) == ("succeeded", 0, "running", None)
        assert a.ended is not None
        assert b.began is not None
        assert (b.began >= a.ended, b.ended, b.duration) == (True, None, None)
        after = prepared.result().nodes["b"]
        assert (after.status.value, after.value, after.ended is None) == ("succeeded", 1, False)


class TestLone:
    """A step that is alone runs in the engine's thread, where the runner is the usual one."""

    def where(self, runner: Any, **more: Any) -> Any:
        nodes = [
            Node("a", write, bound=bound(key="a")),
            Node("f", fail_after, bound=bound(writes={}), optional=True, **more),
            Node("b", lambda x, sh: (threading.current_thread(), x, dict(sh)), (
                takes("a", accepts=Accepts.ANYTHING, default="default"),
                takes("f", None, "after"),
            ), shared="sh", trigger="all_done"),
        ]  # fmt: skip
        return wiring.run(Graph("g", nodes), {}, runner=runner, options=GO_ON).outputs["b"]

    @pytest.mark.parametrize("size", [1, 64])
    def test_one_of_so_many_threads_is_the_usual_one(self, size):
        runner = wiring.threads(size)
        assert isinstance(runner, ThreadRunner)
        assert runner.size >= size
        assert self.where(runner) == (threading.current_thread(), 1, {"a": 1})

    def test_one_that_somebody_made_is_not(self):
        assert self.where(ThreadRunner(2))[0] is not threading.current_thread()

    def test_a_lenient_need_that_failed_gives_its_default_and_one_that_did_not_its_value(self):
        seen: list[Any] = []

        def see(x: Any, y: Any, sh: Any) -> None:
            seen.append((threading.current_thread(), x, y, dict(sh)))

        lenient = bound(accepts=Accepts.ANYTHING, default="default")
        for bad in (False, True):
            first = Node("a", write, bound=bound(key="a"), optional=True)
            if bad:
                first = first._replace(call=fail_after, bound=bound(writes={}))
            behind = (takes("a", None, "after", accepts=Accepts.ANYTHING),)
            second = Node("b", write, behind, bound=bound(key="b"), trigger="all_done")
            third = Node("c", see, (takes("a", **lenient), takes("b", "y", **lenient)), shared="sh")
            wiring.run(Graph("g", [first, second, third]), {}, options=GO_ON)
        main = threading.current_thread()
        assert seen == [(main, 1, 1, {"a": 1, "b": 1}), (main, "default", 1, {"b": 1})]


MARK: ContextVar[str] = ContextVar("MARK", default="unset")


class Bound:
    """Its methods are coroutine functions: calling one runs nothing of the user's."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def method(self, **_: Any) -> str:
        self.seen.append(MARK.get())
        MARK.set("the step's")
        await asyncio.sleep(0)
        return MARK.get()

    @classmethod
    async def of_class(cls, **_: Any) -> str:
        return cls.__name__

    @staticmethod
    async def of_none(**_: Any) -> str:
        return "static"

    def plain(self, **_: Any) -> Any:
        """Makes a coroutine, and runs code of the user's before."""
        self.seen.append("before " + MARK.get())
        return self.method()


class TestBoundMethods:
    def test_they_are_called_as_coroutine_functions_are(self):
        from penstock.core.commands import PURE

        mine = Bound()
        calls: list[Any] = [mine.method, mine.of_class, Bound.of_class, mine.of_none, mine.plain]
        nodes = [Node(f"n{i}", call, is_async=True) for i, call in enumerate(calls)]
        plan = Plan(Graph("g", nodes))
        pure = [bool(plan.kind[plan.index[f"n{i}"]] & PURE) for i in range(5)]
        assert pure == [True, True, True, True, False]

    def test_s24_and_see_nothing_of_each_other(self):
        mine = Bound()
        nodes = [Node("n0", mine.method, is_async=True)]
        nodes += [Node(f"n{i}", mine.method, (takes(f"n{i - 1}"),), is_async=True) for i in range(1, 6)]
        nodes += [Node("p", mine.plain, (takes("n5"),), is_async=True)]
        nodes += [Node("q", mine.of_class, (takes("p"),), is_async=True)]
        result = wiring.run(Graph("g", nodes), {}, targets=[node.id for node in nodes])
        assert [result.outputs[f"n{i}"] for i in range(6)] == ["the step's"] * 6
        assert mine.seen == ["unset"] * 6 + ["before unset", "unset"]
        assert (result.outputs["q"], MARK.get()) == ("Bound", "unset")

    def test_arguments_that_do_not_fit_fail_the_step(self):
        async def strict(self: Any) -> None: ...

        class Strict:
            method = strict

        result = wiring.run(Graph("g", [Node("a", Strict().method, is_async=True, bound=bound(x=1))]), {})
        failure = result.nodes["a"].failure
        assert failure is not None
        assert failure.type == "TypeError"

    def test_d16_one_that_gives_a_coroutine_beside_its_writes_is_told_so(self):
        class Forgets:
            async def method(self) -> Written:
                return Written(Bound.of_none(), {"x": 1})

        shared: dict[Any, Any] = {}
        result = wiring.run(Graph("g", [Node("a", Forgets().method, is_async=True)]), {}, shared=shared)
        failure = result.nodes["a"].failure
        assert failure is not None
        assert "the step returned a coroutine, not its result; did you forget await?" in failure.text
        assert shared == {}
