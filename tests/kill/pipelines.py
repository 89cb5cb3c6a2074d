"""The reference pipelines: each step says when it starts and when it ends, and gives the same every time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from penstock import Flow, RetryPolicy, RunOptions, each, gather, use, wiring
from penstock.core.context import Context
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Condition, Need, Node, RunStatus
from penstock.core.returned import Written
from tests.kill.effects import LOG

RUN = "run-1"
AT_ONCE = RetryPolicy(max_attempts=4, initial_delay=0.0, jitter="none")

Ended = tuple[str, Any]
"""How a run has ended, and with which outputs."""


class Pipeline(NamedTuple):
    """One of them.

    Attributes:
        name: Its name.
        graph: What runs.
        go: Lets its run begin, or go on, in a store; and answers its gates.
    """

    name: str
    graph: Callable[[], Graph]
    go: Callable[[Any, RunOptions | None], Ended]


def noted(ctx: Context, value: Any) -> Any:
    """A step's effects around its value."""
    LOG.note("start", ctx.path, ctx.attempt)
    LOG.note("end", ctx.path, ctx.attempt)
    return value


def of_flow(name: str, flow: Flow, runner: str | None = None, **inputs: Any) -> Pipeline:
    def go(store: Any, options: RunOptions | None) -> Ended:
        result = flow.run(store=store, run_id=RUN, runner=runner, options=options, **inputs)
        return result.status.value, dict(result.outputs)

    return Pipeline(name, flow.graph, go)


def chain() -> Pipeline:
    flow = Flow("chain")

    def first(ctx: Context, n: int) -> int:
        return int(noted(ctx, n))

    def then(x: int, ctx: Context) -> int:
        return int(noted(ctx, x * 3 % 1009 + 1))

    step: Any = flow.add(first, name="s0")
    for number in range(1, 15):
        step = flow.add(then, name=f"s{number}", x=use(step))
    return of_flow("chain", flow, n=7)


def diamond() -> Pipeline:
    flow = Flow("diamond")

    @flow.step
    def top(ctx: Context) -> list[int]:
        return list(noted(ctx, [1, 2, 3]))

    @flow.step
    def left(ctx: Context, x: list[int] = use(top)) -> int:
        return int(noted(ctx, x[0]))

    @flow.step
    def middle(ctx: Context, x: list[int] = use(top)) -> int:
        return int(noted(ctx, x[1] * 10))

    @flow.step
    def right(ctx: Context, x: list[int] = use(top)) -> int:
        return int(noted(ctx, x[2] * 100))

    @flow.step
    def low(ctx: Context, a: int = use(left), b: int = use(right)) -> int:
        return int(noted(ctx, a + b))

    @flow.step
    def bottom(ctx: Context, a: int = use(low), b: int = use(middle)) -> dict[str, int]:
        return dict(noted(ctx, {"sum": a + b}))

    return of_flow("diamond", flow, runner="threads")


def map_of_50() -> Pipeline:
    flow = Flow("map")

    @flow.step
    def source(ctx: Context) -> list[int]:
        return list(noted(ctx, list(range(50))))

    @flow.step
    def square(ctx: Context, x: int = each(source)) -> int:
        return int(noted(ctx, x * x))

    @flow.step
    def total(ctx: Context, xs: list[int] = gather(square)) -> int:
        return int(noted(ctx, sum(xs)))

    return of_flow("map", flow)


def retries() -> Pipeline:
    flow = Flow("retries")

    def shaky(ctx: Context, x: int, good: int) -> int:
        LOG.note("start", ctx.path, ctx.attempt)
        if ctx.attempt < good:
            LOG.note("fail", ctx.path, ctx.attempt)
            raise ConnectionError(f"attempt {ctx.attempt}")
        LOG.note("end", ctx.path, ctx.attempt)
        return x + ctx.attempt

    @flow.step(retry=AT_ONCE)
    def first(ctx: Context) -> int:
        return shaky(ctx, 10, 3)

    @flow.step(retry=AT_ONCE)
    def second(ctx: Context, x: int = use(first)) -> list[int]:
        return [shaky(ctx, x, 2), 20, 30, 40, 50]

    @flow.step(retry=AT_ONCE)
    def item(ctx: Context, x: int = each(second)) -> int:
        return shaky(ctx, x, 1 + x // 10 % 4)

    @flow.step(retry=AT_ONCE)
    def last(ctx: Context, xs: list[int] = gather(item)) -> int:
        return shaky(ctx, sum(xs), 4)

    return of_flow("retries", flow)


def map_of_maps() -> Pipeline:
    flow = Flow("nested")

    @flow.step
    async def books(ctx: Context) -> list[str]:
        return list(noted(ctx, ["a", "bb", "ccc", "dddd"]))

    @flow.step
    async def pages(ctx: Context, book: str = each(books)) -> list[int]:
        return list(noted(ctx, list(range(len(book)))))

    @flow.step
    async def page(ctx: Context, number: int = each(pages)) -> int:
        return int(noted(ctx, number * 7))

    @flow.step
    async def bound(ctx: Context, numbers: list[int] = gather(page)) -> int:
        return int(noted(ctx, sum(numbers)))

    @flow.step
    async def shelf(ctx: Context, sums: list[int] = gather(bound)) -> list[int]:
        return list(noted(ctx, sums))

    return of_flow("nested", flow)


def stream() -> Pipeline:
    flow = Flow("stream")

    @flow.step
    def rows(ctx: Context) -> Iterator[dict[str, int]]:
        LOG.note("start", ctx.path, ctx.attempt)
        for number in range(12):
            LOG.note("yield", f"rows.{number}")
            yield {"n": number}
        LOG.note("end", ctx.path, ctx.attempt)

    @flow.step
    def row(ctx: Context, one: dict[str, int] = each(rows)) -> int:
        return int(noted(ctx, one["n"] + 1))

    @flow.step
    def total(ctx: Context, xs: list[int] = gather(row)) -> int:
        return int(noted(ctx, sum(xs)))

    return of_flow("stream", flow)


def gates() -> Pipeline:
    flow = Flow("gates")

    @flow.step
    def draft(ctx: Context) -> str:
        return str(noted(ctx, "text"))

    agreed = flow.gate("agreed", prompt="Is it good?", text=use(draft))
    grade = flow.gate("grade", type=int)

    @flow.step
    def beside(ctx: Context, x: str = use(draft)) -> int:
        return int(noted(ctx, len(x)))

    @flow.step
    def print_it(ctx: Context, ok: bool = use(agreed), text: str = use(draft)) -> str:
        return str(noted(ctx, f"{text}: {ok}"))

    @flow.step
    def after(ctx: Context, grade: int = use(grade), x: str = use(print_it), n: int = use(beside)) -> str:
        return str(noted(ctx, f"{x}, {grade}, {n}"))

    answers = {"agreed": "true", "grade": "3"}

    def go(store: Any, options: RunOptions | None) -> Ended:
        while True:
            result = flow.run(store=store, run_id=RUN, options=options)
            if result.status is not RunStatus.WAITING:
                return result.status.value, dict(result.outputs)
            entry = store.find(RUN)
            assert entry.status == "waiting", entry
            assert entry.owner is None, entry
            open_ = [gate for gate in answers if result.nodes[gate].status.value == "waiting"]
            there = {letter.node for letter in store.letters(RUN)}
            assert open_, result
            assert open_[0] not in there, "the run was put down with an answer that it has not read"
            store.post(RUN, "answer", open_[0], answers[open_[0]])

    return Pipeline("gates", flow.graph, go)


# The documents' own trap: a step sets what the run shares, and a later condition reads it.


def _detect(ctx: Context, shared: Any) -> Written:
    return Written(noted(ctx, "checked"), {"has_lyrics": True, "language": ["de", "en"]})


def _has_lyrics(shared: Any) -> bool:
    LOG.note("ask", "lyrics")
    return bool(shared.get("has_lyrics"))


def _has_none(shared: Any) -> bool:
    LOG.note("ask", "instrumental")
    return not shared.get("has_lyrics")


def _lyrics(ctx: Context, shared: Any) -> Written:
    return Written(noted(ctx, f"lyrics in {shared['language'][0]}"), {"words": 3})


def _instrumental(ctx: Context) -> str:
    return str(noted(ctx, "instrumental"))


async def _is_wordy(shared: Any) -> bool:
    LOG.note("ask", "publish")
    await asyncio.sleep(0)  # what it is about is recorded by now, and its answer is not
    return int(shared["words"]) == 3


def _publish(ctx: Context, shared: Any) -> Written:
    return Written(noted(ctx, sorted(shared)), {"published": True})


def _settle(ctx: Context, shared: Any, upper: Any) -> Any:
    return noted(ctx, [upper, bool(shared["published"])])


def conditions() -> Pipeline:
    def after(id: str, **more: Any) -> Need:
        return Need(id, "after", None, **more)

    own: dict[str, Any] = {"context": "ctx", "shared": "shared"}
    graph = Graph(
        "conditions",
        [
            Node("detect", _detect, **own),
            Node("lyrics", _lyrics, (after("detect"),), when=Condition(_has_lyrics, shared="shared"), **own),
            Node(
                "instrumental",
                _instrumental,
                (after("detect"),),
                context="ctx",
                when=Condition(_has_none, shared="shared"),
            ),
            Node(
                "publish",
                _publish,
                (after("lyrics"), after("instrumental", accepts=Accepts.CONDITION)),
                when=Condition(_is_wordy, shared="shared", is_async=True),
                **own,
            ),
            Node("settle", _settle, (Need("publish", "use", "upper"),), **own),
        ],
    )

    def go(store: Any, options: RunOptions | None) -> Ended:
        shared: dict[str, Any] = {}
        result = wiring.run(graph, {}, store=store, run_id=RUN, options=options, shared=shared)
        return result.status.value, {**result.outputs, "shared": dict(shared)}

    return Pipeline("conditions", lambda: graph, go)


# Two that die by themselves.


def deadly() -> Pipeline:
    """One of its steps ends its process whenever it runs."""
    flow = Flow("deadly")

    @flow.step
    def before(ctx: Context) -> int:
        return int(noted(ctx, 1))

    @flow.step
    def killer(ctx: Context, x: int = use(before)) -> int:
        LOG.note("start", ctx.path, ctx.attempt)
        os.kill(os.getpid(), 9)
        return x

    return of_flow("deadly", flow)


def fickle() -> Pipeline:
    """Its condition answers otherwise when it is asked again."""
    flow = Flow("fickle")

    def first_time() -> bool:
        LOG.note("ask", "maybe")
        return LOG.asked() == 1

    @flow.step
    def before(ctx: Context) -> int:
        return int(noted(ctx, 1))

    @flow.step(when=first_time, after=[before])
    def maybe(ctx: Context) -> str:
        return str(noted(ctx, "yes"))

    @flow.step(after=[maybe])
    def last(ctx: Context) -> str:
        return str(noted(ctx, "end"))

    return of_flow("fickle", flow)


def waiting() -> Pipeline:
    """It fails once, and then waits for 100 s."""
    flow = Flow("waiting")

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=100.0, max_delay=1000.0, jitter="none"))
    def shaky(ctx: Context) -> int:
        LOG.note("start", ctx.path, ctx.attempt)
        if ctx.attempt == 1:
            raise ConnectionError("once")
        LOG.note("end", ctx.path, ctx.attempt)
        return ctx.attempt

    return of_flow("waiting", flow)


MAKERS: dict[str, Callable[[], Pipeline]] = {
    "chain": chain,
    "diamond": diamond,
    "map": map_of_50,
    "retries": retries,
    "nested": map_of_maps,
    "conditions": conditions,
    "gates": gates,
    "stream": stream,
    "deadly": deadly,
    "fickle": fickle,
    "waiting": waiting,
}
EIGHT = ("chain", "diamond", "map", "retries", "nested", "conditions", "gates", "stream")
