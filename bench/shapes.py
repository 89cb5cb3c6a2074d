"""The graphs that are measured, as data; and each of them as a floor's `Dag` and as a `Flow`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from bench.floors import Dag
from bench.graphs import COROUTINE as COROUTINE
from bench.graphs import SYNC as SYNC
from bench.graphs import Family as Family
from bench.graphs import Shape as Shape
from bench.graphs import chain as chain
from bench.graphs import layered as layered
from bench.graphs import map_dag as map_dag
from bench.graphs import numbers, numbers_later, pick, pick_later, total, total_later
from bench.graphs import wide as wide
from penstock import Flow, Limit, Rate, RetryPolicy, each, gather, use

SHAPES: tuple[Callable[[int], Shape], ...] = (chain, wide, layered)


# --- what the steps call ----------------------------------------------------------------------------------


async def _nap_one(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


async def _nap_two(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return (x + y) & 0xFFFF


async def _wait_one(x: int) -> int:
    await _future()
    return x + 1


async def _wait_two(x: int, y: int) -> int:
    await _future()
    return (x + y) & 0xFFFF


def _future() -> asyncio.Future[None]:
    """A future that the loop's next turn fulfils, as a socket would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_soon(future.set_result, None)
    return future


def _nothing(**values: None) -> None:
    return None


def _nothing_one(x: None) -> None:
    return None


def _nothing_two(x: None, y: None) -> None:
    return None


def _nothing_by_position(*values: None) -> None:
    return None


NAPPING = COROUTINE._replace(name="sleep(0)", one=_nap_one, two=_nap_two)
WAITING = COROUTINE._replace(name="future", one=_wait_one, two=_wait_two)
EMPTY = Family("empty", _nothing, _nothing_one, _nothing_two, _nothing, _nothing_by_position)


# --- the same graph for both sides ------------------------------------------------------------------------


def dag_of(shape: Shape, family: Family) -> Dag:
    """The graph as a floor runs it."""
    return Dag({step: family.by_position(needs) for step, needs in shape.needs.items()}, shape.needs)


def flow_of(shape: Shape, family: Family, options: Options | None = None) -> Flow:
    """The graph as a user of the native API defines it."""
    flow = Flow(shape.name)
    steps: dict[str, Any] = {}
    for at, (step, needs) in enumerate(shape.needs.items()):
        names = _PARAMS[len(needs)] if len(needs) < 3 else [f"v{n}" for n in range(len(needs))]
        wires = {name: use(steps[need]) for name, need in zip(names, needs, strict=True)}
        given = options.of(at, needs) if options is not None else {}
        steps[step] = flow.add(family.of(needs), name=step, **wires, **given)
    return flow


_PARAMS: tuple[tuple[str, ...], ...] = ((), ("x",), ("x", "y"))


class Options(NamedTuple):
    """Every option of a step: retry and timeout on all, limit with rate and condition on a tenth."""

    timeout: bool = True

    def of(self, at: int, needs: tuple[str, ...]) -> Mapping[str, Any]:
        """The options of step number `at`."""
        given: dict[str, Any] = {"retry": _RETRY}
        if self.timeout:
            given["timeout"] = 30.0
        if at % 10 == 5 and len(needs) in (1, 2):
            given["limits"] = [_LIMIT]
            given["when"] = _when
        return given


_RETRY = RetryPolicy(max_attempts=3)
_LIMIT = Limit("api", capacity=16, rate=Rate(1_000_000, per=1.0))


def _when(x: int) -> bool:
    return x >= 0


class Count:
    """An observer: counts what it is told."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, event: Any) -> None:
        self.events += 1


# --- maps -------------------------------------------------------------------------------------------------


def _rows(n: int) -> list[list[int]]:
    return [list(range(n)) for _ in range(n)]


def _row(x: list[int]) -> list[int]:
    return x


async def _a_rows(n: int) -> list[list[int]]:
    return _rows(n)


async def _a_row(x: list[int]) -> list[int]:
    return x


def _pick_row(at: int, rows: list[list[int]]) -> list[int]:
    return rows[at]


async def _a_pick_row(at: int, rows: list[list[int]]) -> list[int]:
    return rows[at]


def map_flow(items: int, family: Family) -> Flow:
    """The same as one mapped step."""
    many = family is COROUTINE
    flow = Flow("map")
    whole: Any = flow.add(numbers_later if many else numbers, name="list", n=items)
    item = flow.add(family.one, name="item", x=each(whole))
    flow.add(total_later if many else total, name="total", values=gather(item))
    return flow


def nested_dag(side: int, family: Family) -> Dag:
    """A list of lists, a step for each list, one for each of its elements, a sum of each list, and of all."""
    many = family is COROUTINE
    calls: dict[str, Any] = {"list": partial(_a_rows if many else _rows, side)}
    needs: dict[str, tuple[str, ...]] = {"list": ()}
    for row in range(side):
        calls[f"r{row}"] = partial(_a_pick_row if many else _pick_row, row)
        needs[f"r{row}"] = ("list",)
        for at in range(side):
            calls[f"i{row}_{at}"] = partial(pick_later if many else pick, at)
            needs[f"i{row}_{at}"] = (f"r{row}",)
        calls[f"t{row}"] = family.many_by_position
        needs[f"t{row}"] = tuple([f"i{row}_{at}" for at in range(side)])
    calls["total"] = family.many_by_position
    needs["total"] = tuple([f"t{row}" for row in range(side)])
    return Dag(calls, needs)


def nested_flow(side: int, family: Family) -> Flow:
    """The same as a map inside a map."""
    many = family is COROUTINE
    flow = Flow("nested")
    whole: Any = flow.add(_a_rows if many else _rows, name="list", n=side)
    row: Any = flow.add(_a_row if many else _row, name="row", x=each(whole))
    item = flow.add(family.one, name="item", x=each(row))
    part = flow.add(total_later if many else total, name="part", values=gather(item))
    flow.add(total_later if many else total, name="total", values=gather(part))
    return flow
