"""What the steps of a run share: written with a success, handed to whoever asks, by every runner alike."""

from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import wiring
from penstock.core.context import Context
from penstock.core.errors import GraphError
from penstock.core.events import NodeSucceeded
from penstock.core.graph import Graph
from penstock.core.hooks import Hook
from penstock.core.invariants import differences
from penstock.core.machine import Machine
from penstock.core.model import Accepts, Condition, Need, Node, RetryPolicy, RunOptions, RunStatus, Timeout
from penstock.core.result import RunResult
from penstock.core.returned import Written
from penstock.flow import Flow, each, fold, gather, use
from penstock.runners.processes import ProcessPool
from penstock.runners.threads import ThreadRunner
from penstock.testing import FakeClock, ManualRunner, manual, run_step
from penstock.testing import run as run_on_clock
from tests.engine.tools import GO_ON, SAFETY, Flags, met, statuses

HOWS = ("usual", "threads", "inline", "aio", "processes")
HERE = HOWS[:-1]
COPIED = RunOptions(values="copied")
AGAIN = RetryPolicy(3, 0.0, jitter="none")


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with wiring.processes(2) as pool:
        assert isinstance(pool, ProcessPool)
        yield pool


def step(how: str, id: str, call: Callable[..., Any], *needs: Need, **more: Any) -> Node:
    """A node in the form that a runner takes."""
    if how != "aio":
        return Node(id, call, needs, **more)

    async def later(**given: Any) -> Any:
        await asyncio.sleep(0)
        return call(**given)

    return Node(id, later, needs, is_async=True, **more)


def go(how: str, pool: Any, *nodes: Node, **more: Any) -> RunResult:
    runner = {"threads": ThreadRunner, "processes": lambda: pool, "inline": lambda: "inline"}.get(how)
    return wiring.run(Graph("shared", nodes), {}, runner=runner() if runner is not None else None, **more)


def takes(id: str, param: str | None = "x", how: str = "use", **more: Any) -> Need:
    return Need(id, how, param, **more)  # type: ignore[arg-type]


DROPPED = takes("m", "x", "gather", failures="drop", accepts=Accepts.FAILED)


# Steps, at module level so that they can be carried to processes


def write(key: Any, value: Any = 1) -> Written:
    return Written(value, {key: value})


def look(shared: Any, **needed: Any) -> dict[Any, Any]:
    return dict(shared)


def write_all(values: Any = (), **needed: Any) -> Written:
    return Written([*values], {value: value for value in values})


def write_item(x: Any, **more: Any) -> Written:
    return Written(x * 10, {("item", x): x})


def count_up(shared: Any, **needed: Any) -> Written:
    """Reads what was committed, and writes one more."""
    return Written(None, {"count": shared.get("count", 0) + 1})


def change(shared: Any, **needed: Any) -> int:
    shared["changed"] = True
    shared["list"].append(2)
    return len(shared["list"])


def write_lock() -> Written:
    return Written(1, {"fine": 1, "lock": threading.Lock()})


def give_lock() -> Written:
    return Written(threading.Lock(), {"fine": 1})


def fail_after(writes: Any) -> Written:
    made = Written(1, writes)
    raise ValueError(f"not handed back: {sorted(made.writes)}")


def bound(**values: Any) -> dict[str, Any]:
    return values


class TestWhoeverFollows:
    @pytest.mark.parametrize("how", HOWS)
    def test_finds_what_was_written_before_it(self, how, pool):
        shared: dict[Any, Any] = {"before": 0}
        result = go(
            how, pool,
            step(how, "a", write, bound=bound(key="a", value=[1])),
            step(how, "b", look, takes("a"), shared="shared"),
            step(how, "c", write, takes("b", "key", "after"), bound=bound(key="c")),
            step(how, "d", look, takes("c"), takes("b", "y"), shared="shared"),
            shared=shared, options=RunOptions(), targets=["a", "b", "c", "d"],
        )  # fmt: skip
        result.raise_for_failure()
        assert (result.outputs["a"], result.outputs["c"]) == ([1], 1), "the value is the value alone"
        assert result.outputs["b"] == {"before": 0, "a": [1]}
        assert result.outputs["d"] == {"before": 0, "a": [1], "c": 1}
        assert shared == {"before": 0, "a": [1], "c": 1}

    @pytest.mark.parametrize("how", HOWS)
    def test_finds_what_many_wrote_side_by_side(self, how, pool):
        many = [step(how, f"n{i}", write, bound=bound(key=f"n{i}", value=i)) for i in range(40)]
        needs = [takes(f"n{i}", f"x{i}") for i in range(40)]
        result = go(how, pool, *many, step(how, "all", look, *needs, shared="shared"))
        result.raise_for_failure()
        assert result.outputs["all"] == {f"n{i}": i for i in range(40)}

    @pytest.mark.parametrize("how", HOWS)
    def test_a_chain_counts(self, how, pool):
        nodes = [step(how, "n0", count_up, shared="shared")]
        nodes += [step(how, f"n{i}", count_up, takes(f"n{i - 1}"), shared="shared") for i in range(1, 25)]
        shared: dict[Any, Any] = {}
        go(how, pool, *nodes, shared=shared).raise_for_failure()
        assert shared == {"count": 25}

    @pytest.mark.parametrize("how", HOWS)
    def test_the_parameter_is_called_as_the_node_says(self, how, pool):
        result = go(how, pool, step(how, "a", look, shared="shared"), shared={"x": 1})
        assert result.outputs["a"] == {"x": 1}
        failure = go(how, pool, step(how, "a", count_up, shared="elsewhere")).nodes["a"].failure
        assert failure is not None
        assert "missing 1 required positional argument: 'shared'" in failure.text

    @pytest.mark.parametrize("how", HERE)
    def test_it_is_the_runs_own_object(self, how, pool):
        shared, seen = dict[Any, Any](), list[Any]()
        call: Any = lambda sh, **_: seen.append(sh)  # noqa: E731
        nodes = [step(how, "a", call, shared="sh"), step(how, "b", call, takes("a"), shared="sh")]
        go(how, pool, *nodes, shared=shared).raise_for_failure()
        assert [one is shared for one in seen] == [True, True]

    @pytest.mark.parametrize("how", HOWS)
    def test_each_run_begins_with_its_own(self, how, pool):
        first, second = step(how, "a", count_up, shared="sh"), step(how, "b", look, takes("a"), shared="sh")
        graph = Graph("twice", [first._replace(shared="shared"), second._replace(shared="shared")])
        runner = {"processes": pool, "inline": "inline"}.get(how)
        for _ in range(2):
            assert wiring.run(graph, {}, runner=runner).outputs["b"] == {"count": 1}

    def test_a_mapping_of_the_callers_own_is_filled(self):
        class Mine(UserDict[Any, Any]):
            pass

        mine = Mine(before=1)
        nodes = [Node("a", write, bound=bound(key="x")), Node("b", look, (takes("a"),), shared="shared")]
        result = go("usual", None, *nodes, shared=mine)
        assert result.outputs["b"] == {"before": 1, "x": 1}
        assert mine == {"before": 1, "x": 1}

    @pytest.mark.parametrize("how", HOWS)
    def test_a_need_that_failed_and_one_that_did_not(self, how, pool):
        """By the lone step of a run too, where the one need nothing of the engine's and the other does."""
        shared: dict[Any, Any] = {}
        good = takes("a", "x", accepts=Accepts.ANYTHING, default="default")
        bad = takes("f", "x", accepts=Accepts.ANYTHING, default="default")
        result = go(
            how, pool,
            step(how, "a", write, bound=bound(key="a")),
            step(how, "f", fail_after, takes("a", "y", "after"), bound=bound(writes={"f": 1}), optional=True),
            step(how, "good", write_good, good, takes("f", None, "after", accepts=Accepts.ANYTHING),
                 shared="shared", trigger="all_done"),
            step(how, "bad", write_good, bad, takes("good", None, "after"), shared="shared"),
            shared=shared, options=GO_ON,
        )  # fmt: skip
        assert statuses(result) == {"a": "succeeded", "f": "failed", "good": "succeeded", "bad": "succeeded"}
        assert result.outputs["good"] == (1, ["a"])
        assert result.outputs["bad"] == ("default", ["a", 1])


def write_good(x: Any, shared: Any) -> Written:
    return Written((x, list(shared)), {x: x})


class TestOrder:
    @pytest.mark.parametrize("how", HOWS)
    def test_it_is_that_of_the_successes(self, how, pool):
        """What the events say, in their order, is what there is in the end."""
        seen: list[Any] = []
        shared: dict[Any, Any] = {}
        nodes = [step(how, f"n{i}", write_last, bound=bound(id=i)) for i in range(30)]
        go(how, pool, *nodes, shared=shared, options=RunOptions(observers=[seen.append])).raise_for_failure()
        told = [event.writes or {} for event in seen if isinstance(event, NodeSucceeded)]
        folded: dict[Any, Any] = {}
        for writes in told:
            folded.update(writes)
        assert list(shared.items()) == list(folded.items())
        assert len(folded) == 31
        assert shared["last"] == told[-1]["last"]

    def test_the_last_to_end_wins_whoever_began_first(self, flags: Flags):
        shared: dict[Any, Any] = {}

        def slow(sh: Any) -> Written:
            met(flags.quick)
            return Written(None, {"x": "slow"})

        def note(event: Any) -> None:
            if isinstance(event, NodeSucceeded):
                flags.quick.set()

        nodes = [Node("slow", slow, shared="sh"), Node("quick", write, bound=bound(key="x", value="quick"))]
        go("threads", None, *nodes, shared=shared, options=RunOptions(observers=[note])).raise_for_failure()
        assert shared == {"x": "slow"}


def write_last(id: int) -> Written:
    return Written(id, {id: id, "last": id})


class TestWhatIsDropped:
    @pytest.mark.parametrize("how", HOWS)
    def test_r05_of_an_attempt_that_failed(self, how, pool):
        shared: dict[Any, Any] = {}
        nodes = [step(how, "a", fail_after, bound=bound(writes={"x": 1}), retry=AGAIN)]
        nodes += [step(how, "b", write, bound=bound(key="b"))]
        result = go(how, pool, *nodes, shared=shared, options=GO_ON)
        assert (statuses(result)["a"], result.nodes["a"].attempts) == ("failed", 3)
        assert shared == {"b": 1}

    @pytest.mark.parametrize("how", HERE)
    def test_r05_each_attempt_finds_what_was_committed_and_nothing_of_the_one_before(self, how, pool):
        seen: list[Any] = []

        def flaky(shared: Any, **_: Any) -> Written:
            seen.append(dict(shared))
            made = Written("good", {"x": len(seen)})
            if len(seen) < 3:
                raise ValueError("not yet")
            return made

        shared: dict[Any, Any] = {}
        nodes = [step(how, "a", write, bound=bound(key="a"))]
        nodes += [step(how, "b", flaky, takes("a"), retry=AGAIN, shared="shared")]
        assert go(how, pool, *nodes, shared=shared).outputs["b"] == "good"
        assert seen == [{"a": 1}] * 3
        assert shared == {"a": 1, "x": 3}

    def test_of_a_thread_that_was_left_behind(self, flags: Flags):
        shared, ended = dict[Any, Any](), list[threading.Thread]()

        def hangs() -> Written:
            ended.append(threading.current_thread())
            met(flags.go)
            return Written(1, {"late": 1})

        nodes = [
            Node("a", hangs, timeout=Timeout(0.05), optional=True),
            Node("b", look, (takes("a", "x", "outcome", accepts=Accepts.ANYTHING),), shared="shared"),
        ]
        result = go("usual", None, *nodes, shared=shared)
        flags.go.set()
        ended[0].join(SAFETY)
        assert not ended[0].is_alive()
        assert (len(result.abandoned), result.outputs["b"], shared) == (1, {}, {})

    def test_of_a_coroutine_that_returns_after_its_time_all_the_same(self):
        async def deaf() -> Written:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass
            return Written(1, {"late": 1})

        shared: dict[Any, Any] = {}
        nodes = [Node("a", deaf, is_async=True, timeout=Timeout(0.02), optional=True)]
        result = go("usual", None, *nodes, shared=shared)
        failure = result.nodes["a"].failure
        assert failure is not None
        assert (failure.kind, shared) == ("timeout", {})

    @pytest.mark.parametrize("how", HOWS)
    @pytest.mark.parametrize("returns", ["text", "twins"])
    def test_of_a_value_that_cannot_be_mapped_over(self, how, returns, pool):
        shared: dict[Any, Any] = {}
        value: Any = "ab" if returns == "text" else [1, 1]
        nodes = [
            step(how, "a", write, bound=bound(key="a", value=value)),
            step(how, "m", write_item, takes("a", "x", "each", key=str)),
        ]
        result = go(how, pool, *nodes, shared=shared)
        assert statuses(result) == {"a": "failed", "m": "skipped"}
        assert shared == {}

    def test_of_an_attempt_whose_folder_cannot_be_published(self, tmp_path, monkeypatch):
        from penstock.core.workdir import Workdir

        def full(self: Any) -> bool:
            raise OSError("no space left")

        def draws(ctx: Context) -> Written:
            (ctx.workdir / "x").write_text("x")
            return Written(1, {"x": 1})

        monkeypatch.setattr(Workdir, "publish", full)
        shared: dict[Any, Any] = {}
        node = Node("a", draws, context="ctx")
        result = go("usual", None, node, shared=shared, options=RunOptions(workdir=tmp_path))
        failure = result.nodes["a"].failure
        assert failure is not None
        assert (failure.type, shared) == ("OSError", {})

    def test_of_what_a_cancel_ends(self):
        shared: dict[Any, Any] = {}
        began = threading.Event()

        async def waits() -> Written:
            began.set()
            await asyncio.get_running_loop().create_future()
            return Written(1, {"x": 1})

        handle = wiring.start(Graph("g", [Node("a", waits, is_async=True)]), {}, shared=shared)
        assert began.wait(SAFETY)
        handle.cancel()
        assert (handle.result(SAFETY).status, shared) == (RunStatus.CANCELLED, {})


class TestConditions:
    @pytest.mark.parametrize("how", HOWS)
    @pytest.mark.parametrize("beside", [0, 8])
    def test_one_finds_what_its_step_would_find(self, how, beside, pool):
        seen: list[Any] = []

        def when(sh: Any) -> bool:
            seen.append(dict(sh))
            return bool(sh["go"])

        others = [step(how, f"n{i}", write, bound=bound(key=i)) for i in range(beside)]
        nodes = [
            step(how, "yes", write, bound=bound(key="go", value=True)),
            step(how, "a", look, takes("yes"), when=Condition(when, shared="sh"), shared="shared"),
            *others,
        ]
        result = go(how, pool, *nodes)
        assert statuses(result)["a"] == "succeeded"
        assert seen[0]["go"] is True
        assert seen[0].items() <= result.outputs["a"].items()

    @pytest.mark.parametrize("how", HOWS)
    def test_one_that_says_no(self, how, pool):
        when = Condition(lambda sh: "other" in sh, shared="sh")
        nodes = [step(how, "a", write, bound=bound(key="a")), step(how, "b", look, takes("a"), when=when)]
        assert statuses(go(how, pool, *nodes)) == {"a": "succeeded", "b": "skipped"}

    def test_a_trigger(self):
        seen: list[Any] = []

        def trigger(x: Any, sh: Any) -> bool:
            seen.append((x.value, dict(sh)))
            return True

        needs = (takes("a", "x", "outcome", accepts=Accepts.ANYTHING),)
        condition = Condition(trigger, (("x", 0),), shared="sh")
        nodes = [Node("a", write, bound=bound(key="a")), Node("b", lambda x: 1, needs, trigger=condition)]
        assert statuses(go("usual", None, *nodes)) == {"a": "succeeded", "b": "succeeded"}
        assert seen == [(1, {"a": 1})]

    def test_an_async_one(self):
        async def when(sh: Any) -> bool:
            await asyncio.sleep(0)
            return dict(sh) == {"a": 1}

        condition = Condition(when, is_async=True, shared="sh")
        nodes = [
            step("aio", "a", write, bound=bound(key="a")),
            step("aio", "b", look, takes("a"), when=condition, shared="shared"),
        ]
        assert go("aio", None, *nodes).outputs["b"] == {"a": 1}

    def test_those_of_items_are_asked_before_any_item_has_written(self):
        """They are asked as the map opens, so it finds nothing of them."""
        when = Condition(lambda x, sh: ("item", x - 1) in sh or x == 0, (("x", 0),), shared="sh")
        nodes = [
            Node("s", lambda: [0, 1, 5, 2]),
            Node("m", write_item, (takes("s", "x", "each"),), when=when, shared="sh"),
            Node("g", lambda x: x, (takes("m", "x", "gather"),)),
        ]
        result = go("inline", None, *nodes, options=RunOptions(max_concurrency=1))
        assert result.outputs["g"] == [0]


class TestMaps:
    @pytest.mark.parametrize("how", HOWS)
    def test_items_write_and_whoever_gathers_them_finds_it(self, how, pool):
        nodes = [
            step(how, "s", write_all, bound=bound(values=[1, 2, 3])),
            step(how, "m", write_item, takes("s", "x", "each")),
            step(how, "seen", look, takes("m", "x"), shared="shared"),
            step(how, "g", look, takes("m", "x", "gather"), shared="shared"),
        ]
        result = go(how, pool, *nodes, targets=["g", "seen", "m"])
        result.raise_for_failure()
        assert result.outputs["m"] == [10, 20, 30]
        assert result.outputs["g"] == {1: 1, 2: 2, 3: 3} | {("item", i): i for i in (1, 2, 3)}
        for i, seen in zip((1, 2, 3), result.outputs["seen"], strict=True):
            assert {1: 1, 2: 2, 3: 3, ("item", i): i}.items() <= seen.items()

    @pytest.mark.parametrize("how", HOWS)
    def test_items_that_fail_write_nothing(self, how, pool):
        shared: dict[Any, Any] = {}
        nodes = [
            step(how, "s", write_all, bound=bound(values=[1, 2, 3])),
            step(how, "m", write_odd, takes("s", "x", "each")),
            step(how, "g", give, DROPPED),
        ]
        assert go(how, pool, *nodes, shared=shared).outputs["g"] == [1, 3]
        assert shared == {1: 1, 2: 2, 3: 3, "odd 1": 1, "odd 3": 3}

    @pytest.mark.parametrize("how", HERE)
    def test_an_element_of_a_stream_is_a_value_like_any_other(self, how, pool):
        shared: dict[Any, Any] = {}
        given = Written("value", {"x": 1})

        def stream() -> Iterator[Any]:
            yield given
            yield 2

        async def later() -> Any:
            for element in stream():
                yield element

        made: Any = later if how == "aio" else stream
        nodes = [
            Node("s", made, stream=True, is_async=how == "aio", keep=True),
            step(how, "m", lambda x: [x], takes("s", "x", "each")),
        ]
        result = go(how, pool, *nodes, shared=shared)
        assert result.outputs["s"] == [given, 2]
        assert result.outputs["m"] == [[given], [2]]
        assert shared == {}

    def test_what_a_generator_returns_is_nobodys(self):
        shared: dict[Any, Any] = {}

        def stream() -> Any:
            yield 1
            return Written(1, {"x": 1})

        result = go("usual", None, Node("s", stream, stream=True), shared=shared)
        assert (result.outputs["s"], shared) == ([1], {})

    def test_a_stream_may_look(self):
        def stream(sh: Any, x: Any) -> Iterator[Any]:
            yield dict(sh)

        nodes = [
            Node("a", write, bound=bound(key="a")),
            Node("s", stream, (takes("a"),), stream=True, shared="sh"),
            Node("m", lambda x: x, (takes("s", "x", "each"),)),
        ]
        assert go("usual", None, *nodes).outputs["m"] == [{"a": 1}]

    @pytest.mark.parametrize("how", ["threads", "inline"])
    @pytest.mark.parametrize("items", [1, 2, 5])
    def test_a_fold_that_writes_is_refused_however_its_slices_fall(self, how, items):
        shared: dict[Any, Any] = {}
        nodes = [
            Node("s", lambda: list(range(items))),
            Node("m", lambda x: x, (takes("s", "x", "each"),)),
            Node("f", lambda so_far, x: Written(x, {x: x}), (takes("m", "x", "gather"),), kind="gather",
                 bound={"initial": 0}),
        ]  # fmt: skip
        for how_many in (1, None):
            result = go(how, None, *nodes, shared=shared, options=RunOptions(max_concurrency=how_many))
            failure = result.nodes["f"].failure
            assert failure is not None
            assert failure.text.startswith("a fold writes nothing into what the steps share; ")
            assert shared == {}

    def test_a_fold_of_an_override_refuses_it_too(self):
        flow = Flow("flow")
        many = flow.add(lambda x: x, name="m", x=each(flow.add(lambda: [1], name="s")))
        writes: Any = lambda so_far, x: Written(x, {x: x})  # noqa: E731
        flow.add(lambda x: x, name="f", x=fold(many, writes, 0))
        failures = [node.failure for node in flow.run(override={many: [1, 2]}).nodes.values()]
        (text,) = [failure.text for failure in failures if failure is not None]
        assert text.startswith("a fold writes nothing into what the steps share; ")

    def test_a_fold_that_asks_for_it_is_refused_before_the_run(self):
        nodes = [Node("s", list), Node("m", len, (takes("s", "x", "each"),))]
        fold_node = Node("f", max, (takes("m", "x", "gather"),), kind="gather", shared="sh")
        with pytest.raises(GraphError, match="step 'f': a fold sees nothing of what the run's steps share"):
            Graph("g", [*nodes, fold_node])

    def test_a_fold_goes_on_beside_those_who_write(self):
        shared: dict[Any, Any] = {}
        nodes = [
            Node("s", write_all, bound=bound(values=[1, 2, 3])),
            Node("m", write_item, (takes("s", "x", "each"),)),
            Node("f", lambda so_far, x: so_far + x, (takes("m", "x", "gather"),), kind="gather",
                 bound={"initial": 0}),
        ]  # fmt: skip
        assert go("usual", None, *nodes, shared=shared).outputs["f"] == 60
        assert len(shared) == 6


def write_odd(x: int) -> Written:
    made = Written(x, {f"odd {x}": x})
    if x % 2 == 0:
        raise ValueError("even")
    return made


def give(x: Any) -> Any:
    return x


class TestElsewhere:
    def test_steps_of_a_sub_flow_write_into_the_same(self):
        inner = Flow("inner")
        inner.add(write, name="w", key="inner", value=use(inner.add(lambda: 7, name="seven")))
        outer = Flow("outer")
        first = outer.add(lambda: Written(3, {"outer": 3}), name="first")
        outer.add(inner, name="sub", after=[first])
        shared: dict[Any, Any] = {}
        result = wiring.run(outer.graph(), {}, shared=shared)
        result.raise_for_failure()
        assert list(shared.items()) == [("outer", 3), ("inner", 7)]
        assert result.outputs["sub/w"] == 7

    def test_a_run_inside_a_step_has_its_own(self):
        nodes = [Node("w", write, bound=bound(key="inner")), Node("l", look, (takes("w"),), shared="shared")]
        inner = Graph("inner", nodes)

        def runs(shared: Any) -> Written:
            found = wiring.run(inner, {}).outputs["l"]
            return Written(found, {"outer": sorted(shared)})

        shared: dict[Any, Any] = {"mine": 1}
        result = wiring.run(Graph("outer", [Node("a", runs, shared="shared")]), {}, shared=shared)
        assert (result.outputs["a"], shared) == ({"inner": 1}, {"mine": 1, "outer": ["mine"]})

    def test_hooks_get_values_and_find_all_of_it_written(self):
        shared, seen = dict[Any, Any](), list[Any]()
        hook = Hook(lambda result: seen.append((result.outputs["a"], dict(shared))))
        go("usual", None, Node("a", write, bound=bound(key="a")), shared=shared, hooks=[hook])
        assert seen == [(1, {"a": 1})]

    def test_an_override_is_a_value_and_writes_nothing(self):
        shared: dict[Any, Any] = {}
        nodes = [Node("a", write, bound=bound(key="a"))]
        nodes += [Node("b", lambda x, sh: [x], (takes("a"),), shared="sh")]
        result = go("usual", None, *nodes, shared=shared, override={"a": 5})
        assert (result.outputs["b"], shared) == ([5], {})

    def test_an_override_takes_what_is_handed_over_as_it_is(self):
        shared: dict[Any, Any] = {}
        given = Written(5, {"x": 1})
        nodes = [Node("a", write, bound=bound(key="a")), Node("b", lambda x: [x], (takes("a"),))]
        result = go("usual", None, *nodes, shared=shared, override={"a": given})
        assert (result.outputs["b"], shared) == ([given], {})

    @pytest.mark.parametrize("how", HOWS)
    def test_the_events_say_what_was_written(self, how, pool):
        seen: list[Any] = []
        nodes = [step(how, "a", write, bound=bound(key="x")), step(how, "b", give, takes("a"))]
        go(how, pool, *nodes, options=RunOptions(observers=[seen.append]))
        told = [(str(one.path), one.value, one.writes) for one in seen if isinstance(one, NodeSucceeded)]
        assert told == [("a", 1, {"x": 1}), ("b", 1, None)]

    @pytest.mark.parametrize("how", HOWS)
    def test_a_replay_of_the_events_gives_the_state_of_the_run(self, how, pool):
        seen: list[Any] = []
        nodes = [
            step(how, "s", write_all, bound=bound(values=[1, 2, 3])),
            step(how, "m", write_odd, takes("s", "x", "each"), retry=AGAIN),
            step(how, "g", look, DROPPED, shared="shared"),
            *[step(how, f"n{i}", write_last, bound=bound(id=f"n{i}")) for i in range(8)],
        ]  # fmt: skip
        graph = Graph("g", nodes)
        prepared = wiring.Prepared(
            graph, {}, shared={"before": 0}, options=RunOptions(observers=[seen.append]),
            runner={"processes": pool, "inline": "inline", "threads": ThreadRunner()}.get(how),
        )  # fmt: skip
        wiring.run_prepared(prepared).raise_for_failure()
        live = prepared.engine.machine.state
        again = Machine(prepared.engine.plan, prepared.engine.options, {
            name: runner.capacity for name, runner in prepared.runners.items()
        })  # fmt: skip
        again.state.shared = {"before": 0}
        for event in seen:
            again.apply(event)
        assert again.state.shared == live.shared
        assert len(live.shared) == 15
        assert differences(live, again.state) == []


class TestCopies:
    """With values='copied' nobody changes what others see but by writing."""

    @pytest.mark.parametrize("how", HERE)
    def test_d04_what_a_step_does_to_its_copy_stays_there(self, how, pool):
        shared: dict[Any, Any] = {"list": [1]}
        nodes = [
            step(how, "a", change, shared="shared"),
            step(how, "b", change, takes("a"), shared="shared"),
            step(how, "c", look, takes("b"), shared="shared"),
        ]
        result = go(how, pool, *nodes, shared=shared, options=COPIED, targets=["a", "b", "c"])
        assert (result.outputs["a"], result.outputs["b"], result.outputs["c"]) == (2, 2, {"list": [1]})
        assert shared == {"list": [1]}

    def test_d04_without_it_documented_whoever_changes_it_changes_it_for_all(self):
        shared: dict[Any, Any] = {"list": [1]}
        nodes = [Node("a", change, shared="shared"), Node("b", change, (takes("a"),), shared="shared")]
        assert go("usual", None, *nodes, shared=shared).outputs["b"] == 3
        assert shared == {"list": [1, 2, 2], "changed": True}

    @pytest.mark.parametrize("how", HOWS)
    def test_what_was_written_is_handed_on(self, how, pool):
        nodes = [
            step(how, "a", write, bound=bound(key="a", value=[1])),
            step(how, "b", look, takes("a"), shared="shared"),
        ]
        shared: dict[Any, Any] = {}
        assert go(how, pool, *nodes, shared=shared, options=COPIED).outputs["b"] == {"a": [1]}
        assert shared == {"a": [1]}

    def test_d04_a_condition_has_its_own_too(self):
        shared: dict[Any, Any] = {"list": [1]}

        def when(sh: Any) -> bool:
            return change(sh) == 2

        def trigger(x: Any, sh: Any) -> bool:
            return change(sh) == 2

        needs = (takes("a", "x", "outcome", accepts=Accepts.ANYTHING),)
        nodes = [
            Node("a", lambda: 1, when=Condition(when, shared="sh")),
            Node("b", lambda x: 1, needs, trigger=Condition(trigger, (("x", 0),), shared="sh")),
        ]
        result = go("usual", None, *nodes, shared=shared, options=COPIED)
        assert statuses(result) == {"a": "succeeded", "b": "succeeded"}
        assert shared == {"list": [1]}

    def test_d04_what_cannot_be_copied_fails_whoever_asks_and_nobody_else(self):
        shared: dict[Any, Any] = {}
        nodes = [
            Node("a", write_lock),
            Node("b", look, (takes("a"),), shared="shared"),
            Node("c", give, (takes("a"),), when=Condition(lambda sh: True, shared="sh")),
            Node("d", give, (takes("a"),)),
        ]
        result = go("usual", None, *nodes, shared=shared, options=RunOptions("continue", values="copied"))
        assert statuses(result) == {"a": "succeeded", "b": "failed", "c": "failed", "d": "succeeded"}
        failures = [result.nodes[id].failure for id in "bc"]
        for failure, param in zip(failures, ("shared", "sh"), strict=True):
            assert failure is not None
            assert failure.text.startswith(f"values='copied', and the value for {param!r} cannot be copied: ")


class TestProcesses:
    def test_a_process_has_its_own_copy(self, pool):
        shared: dict[Any, Any] = {"list": [1]}
        nodes = [Node("a", change, shared="shared"), Node("b", change, (takes("a"),), shared="shared")]
        assert go("processes", pool, *nodes, shared=shared).outputs["b"] == 2
        assert shared == {"list": [1]}

    def test_d02_what_cannot_travel_there_is_named(self, pool):
        nodes = [Node("a", look, shared="shared"), Node("b", give, bound=bound(x=1))]
        result = go("processes", pool, *nodes, shared={"lock": threading.Lock()}, options=GO_ON)
        assert statuses(result) == {"a": "failed", "b": "succeeded"}
        failure = result.nodes["a"].failure
        assert failure is not None
        assert failure.text.startswith("argument 'shared' (of type dict) cannot travel to a process: ")

    @pytest.mark.parametrize(
        ("call", "what"),
        [
            (write_lock, "what the step wrote for 'lock' (of type lock) cannot travel back"),
            (give_lock, "the result (of type lock) cannot travel back"),
        ],
    )
    def test_d02_what_cannot_travel_back_is_named_and_nothing_is_written(self, pool, call, what):
        shared: dict[Any, Any] = {}
        nodes = [Node("a", call), Node("b", give, bound=bound(x=1))]
        result = go("processes", pool, *nodes, shared=shared, options=GO_ON)
        failure = result.nodes["a"].failure
        assert failure is not None
        assert failure.text.startswith(what)
        assert (result.outputs["b"], shared) == (1, {})

    def test_steps_here_and_there_share(self, pool):
        nodes = [
            Node("a", write, bound=bound(key="here"), runner="threads"),
            Node("b", write_good, (takes("a"),), shared="shared"),
            Node("c", look, (takes("b"),), shared="shared", runner="inline"),
        ]
        assert go("processes", pool, *nodes).outputs["c"] == {"here": 1, 1: 1}


class TestOnAFakeClock:
    """The stand-ins of `penstock.testing` hand back what attempts write as the runners do."""

    @pytest.mark.parametrize("how", ["usual", "inline", "aio"])
    def test_a_run(self, how):
        calls: list[int] = []

        def flaky(**_: Any) -> Written:
            calls.append(1)
            if len(calls) < 3:
                raise ValueError("not yet")
            return Written(len(calls), {"flaky": len(calls)})

        slow = RetryPolicy(3, 10.0, exponential_base=1.0, jitter="none")
        nodes = [
            step(how, "a", write, bound=bound(key="a")),
            step(how, "b", flaky, takes("a"), retry=slow),
            step(how, "c", look, takes("b"), shared="shared"),
        ]
        clock = FakeClock()
        result = run_on_clock(Graph("g", nodes), clock=clock, runner="inline" if how == "inline" else None)
        assert result.outputs["c"] == {"a": 1, "flaky": 3}
        assert (result.nodes["b"].began, result.nodes["b"].ended, result.nodes["b"].duration) == (0, 20, 20)
        assert (result.nodes["c"].began, result.nodes["c"].ended) == (20, 20)

    def graph(self) -> Graph:
        async def later(x: Any) -> Written:
            return write("b", x)

        return Graph("g", [
            Node("a", write, bound=bound(key="a", value=[1, 2])),
            Node("b", later, (takes("a"),), is_async=True),
            Node("m", write_item, (takes("a", "x", "each"),)),
            Node("c", look, (takes("b", None, "after"), takes("m", "x", "gather")), shared="shared"),
        ])  # fmt: skip

    def test_attempts_that_are_really_made(self):
        with manual(self.graph()) as run:
            for path in ("a", "b", "m[0]", "m[1]"):
                run.call(path)
            assert run.arguments("c")["shared"] == {
                "a": [1, 2], "b": [1, 2], ("item", 1): 1, ("item", 2): 2,
            }  # fmt: skip
            run.call("c")
            assert run.result.outputs["c"] == {"a": [1, 2], "b": [1, 2], ("item", 1): 1, ("item", 2): 2}

    def test_attempts_that_the_test_answers(self):
        with manual(self.graph()) as run:
            run.finish("a", Written([7], {"x": 1}))
            run.finish("m[0]", 70)
            run.fail("b", ValueError)
            assert run.result.status is RunStatus.FAILED
            assert [run.result.nodes[id].status.value for id in "abmc"] == [
                "succeeded", "failed", "succeeded", "skipped",
            ]  # fmt: skip

    def test_what_is_answered_is_found(self):
        with manual(self.graph(), runner=ManualRunner()) as run:
            run.finish("a", Written([7], {"x": 1}))
            run.finish("m[0]", Written(70, {"y": 2}))
            run.finish("b")
            assert run.arguments("c") == {"x": [70], "shared": {"x": 1, "y": 2}}

    def test_d16_a_call_that_forgot_to_await_beside_its_writes_fails(self):
        async def later() -> int:
            return 1

        with manual(Graph("g", [Node("a", lambda: Written(later(), {}))])) as run:
            run.call("a")
            failure = run.result.nodes["a"].failure
            assert failure is not None
            assert "did you forget await?" in failure.text

    def test_an_answer_that_is_no_answer_is_refused_and_may_be_given_again(self):
        with manual(self.graph()) as run:
            with pytest.raises(TypeError, match="a mapping, not an int"):
                run.finish("a", Written([7], 5))  # type: ignore[arg-type]
            run.finish("a", [7])
            assert run.status("a") == "succeeded"

    def test_a_step_by_itself_is_given_what_it_shares(self):
        from penstock.core.errors import InputError

        assert run_step(self.graph(), "c", x=[], shared={"a": 1}) == {"a": 1}
        assert run_step(self.graph(), "b", x=3) == Written(3, {"b": 3})
        with pytest.raises(InputError, match=r"step 'c' needs 'shared' \(what the run's steps share\)"):
            run_step(self.graph(), "c", x=[])


def test_p4_the_same_outputs_whatever_the_schedule(pool):
    """Steps that write under keys of their own, and read those of what they need alone."""
    found = []
    for how in HOWS:
        for most in (1, 3, None):
            nodes = [
                step(how, "s", write_all, bound=bound(values=[3, 1, 2])),
                step(how, "m", write_item, takes("s", "x", "each")),
                step(how, "g", look_at_items, takes("m", "x", "gather"), shared="shared"),
                *[step(how, f"n{i}", write, bound=bound(key=f"n{i}", value=i)) for i in range(6)],
                step(how, "all", look_at_items, takes("g"), *[takes(f"n{i}", f"x{i}") for i in range(6)],
                     shared="shared"),
            ]  # fmt: skip
            shared: dict[Any, Any] = {}
            result = go(how, pool, *nodes, shared=shared, options=RunOptions(max_concurrency=most))
            result.raise_for_failure()
            found.append((dict(result.outputs), shared))
    assert all(one == found[0] for one in found)
    assert len(found[0][1]) == 12


def look_at_items(shared: Any, **needed: Any) -> list[Any]:
    keys = list(shared)  # at once: others write meanwhile
    return sorted((key for key in keys if isinstance(key, tuple)), key=str)


def test_gather_is_told_of_nothing_by_the_native_api():
    """Its steps have no hidden state: what a value is, is a value."""
    flow = Flow("flow")
    many = flow.add(lambda x: {"x": x}, name="m", x=each(flow.add(lambda: [1, 2], name="s")))
    flow.add(lambda x: x, name="g", x=gather(many))
    prepared = wiring.Prepared(flow.graph(), {})
    assert prepared.run().outputs["g"] == [{"x": 1}, {"x": 2}]
    assert prepared.engine.machine.state.shared == {}
