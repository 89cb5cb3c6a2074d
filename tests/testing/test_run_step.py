"""One step by itself: called as a run would call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock import (
    Context,
    Flow,
    InputError,
    Ok,
    Outcome,
    RetryPolicy,
    each,
    gather,
    optional,
    outcome,
    param,
    use,
)
from penstock.core.graph import Graph
from penstock.core.model import Node
from penstock.testing import FakeContext, arun_step, run_step

flow = Flow("orders")


@flow.step
def load(path: str, limit: int = 3) -> list[int]:
    return list(range(limit))


@flow.step(retry=RetryPolicy(5))
async def parse(ctx: Context, order: int = each(load), factor: int = 2) -> int:
    ctx.log("parsing", order=order)
    ctx.progress(1, 2, "half")
    ctx.heartbeat()
    return order * factor * ctx.attempt


@flow.step
def total(
    orders: list[int] = gather(parse, failures="drop"),
    how: Outcome = outcome(load),
    name: object = optional(load, "none"),
) -> tuple[int, Outcome, object]:
    return sum(orders), how, name


@flow.step
def show(total, unit="EUR"):
    return total, unit


class TestValues:
    def test_by_step_or_id(self):
        assert run_step(flow, load, path="x") == [0, 1, 2]
        assert run_step(flow, "load", path="x", limit=1) == [0]

    def test_a_coroutine_is_awaited(self):
        assert run_step(flow, parse, order=3) == 6

    def test_on_a_running_loop(self):
        async def main():
            return (
                await arun_step(flow, parse, order=3),
                run_step(flow, parse, order=4),
                await arun_step(flow, load, path="x"),
            )

        assert asyncio.run(main()) == (6, 8, [0, 1, 2])

    def test_what_has_a_default_in_a_run_can_be_left_out(self):
        assert run_step(flow, total, orders=[1, 2], how=Ok(1)) == (3, Ok(1), "none")
        assert run_step(flow, total, orders=[], how=Ok(1), name="n")[2] == "n"
        assert run_step(flow, show, total=5) == (5, "EUR")

    def test_constants_of_the_flow_can_be_replaced(self):
        more = Flow("more")
        more.add(lambda x, y: (x, y), name="a", x=1, y=use(param("y", default=7)))
        assert run_step(more, "a") == (1, 7)
        assert run_step(more, "a", x=2, y=3) == (2, 3)

    def test_a_stream_is_listed(self):
        streams = Flow("streams")

        @streams.step
        def lines(path: str) -> Iterator[str]:
            yield from path

        @streams.step
        async def later(path: str) -> AsyncIterator[str]:
            for sign in path:
                yield sign

        assert run_step(streams, lines, path="ab") == ["a", "b"]
        assert run_step(streams, later, path="ab") == ["a", "b"]
        assert asyncio.run(arun_step(streams, later, path="ab")) == ["a", "b"]

    def test_nothing_is_retried(self):
        tries = []
        once = Flow("once")

        @once.step(retry=RetryPolicy(5))
        def fails():
            tries.append(1)
            raise ConnectionError("down")

        with pytest.raises(ConnectionError, match="down"):
            run_step(once, fails)
        assert tries == [1]

    def test_of_a_graph(self):
        graph = Graph("graph", [Node("a", lambda x: x, bound={"x": 5})])
        assert run_step(graph, "a") == 5


class TestMistakes:
    @pytest.mark.parametrize(
        ("step", "fakes", "says"),
        [
            ("totl", {}, "'orders' has no step 'totl'; did you mean 'total'?"),
            ("load", {}, "step 'load' needs 'path' (the input 'path'); give run_step a value for each"),
            ("total", {}, "step 'total' needs 'orders' (gather of 'parse'), 'how' (outcome of 'load')"),
            ("parse", {}, "step 'parse' needs 'order' (each of 'load')"),
            ("load", {"pth": 1}, "step 'load' takes no 'pth'; did you mean 'path'? (it takes path, limit)"),
        ],
    )
    def test_the_error_names_it(self, step, fakes, says):
        with pytest.raises(InputError) as caught:
            run_step(flow, step, **fakes)
        assert says in str(caught.value)

    def test_a_gate_calls_nothing(self):
        graph = Graph("graph", [Node("gate", lambda: None, kind="gate")])
        with pytest.raises(InputError, match="'gate' is a gate"):
            run_step(graph, "gate")


def test_a_step_that_is_not_there_is_said_with_those_that_are():
    other = Flow("other")
    for name in ("load", "parse"):
        other.add(lambda: 1, name=name)
    for asked, rest in (("lod", "; did you mean 'load'?"), ("c", " (it has load, parse)")):
        with pytest.raises(InputError) as refused:
            run_step(other, asked)
        assert str(refused.value) == f"'other' has no step {asked!r}{rest}"
    with pytest.raises(InputError, match="'empty' has no step 'c'; it has none"):
        run_step(Flow("empty"), "c")
    for number in range(9):
        other.add(lambda: 1, name=f"n{number}")
    with pytest.raises(InputError, match=r"n4, n5 …\)$"):
        run_step(other, "zzz")


class TestFakeContext:
    def test_it_remembers(self):
        context = FakeContext(attempt=3)
        assert run_step(flow, parse, order=1, ctx=context) == 6
        assert context.logs == [("parsing", {"order": 1})]
        assert context.progressed == [(1, 2, "half")]
        assert context.heartbeats == 3

    def test_it_is_what_the_test_says(self, tmp_path):
        context = FakeContext(path="parse[3,eu]", run_id="r", cancelled=True, workdir=tmp_path)
        assert (context.path, context.node, context.key) == ("parse[3,eu]", "parse", (3, "eu"))
        assert (context.cancelled, context.idempotency_key) == (True, "r/parse[3,'eu']")
        assert context.workdir == context.published == tmp_path

    def test_it_is_not_cancelled_and_has_no_folder_unless_one_is_given(self):
        context = FakeContext()
        assert (context.path, context.key, context.attempt, context.cancelled) == ("step", (), 1, False)
        for look in (lambda: context.workdir, lambda: context.published):
            with pytest.raises(RuntimeError) as no_folder:
                look()
            assert str(no_folder.value) == (
                "<Context step, attempt 1 of run test> has no folder; give the step one with "
                "FakeContext(workdir=tmp_path), as the argument for its Context"
            )
        context.ask_to_stop()
        assert context.cancelled


def test_a_need_by_name_and_a_bound_step():
    other = Flow("other")
    a = other.add(lambda: 1, name="a")
    b = other.add(lambda x: x + 1, name="b", x=use(a))
    assert run_step(other, b, x=5) == 6
