"""What type checkers must accept: every line here is how the face is meant to be used. Nothing runs it."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterator
from pathlib import Path
from typing import Any, assert_type

from penstock.core.model import Limit, Ok, Outcome, Rate, RetryPolicy, RunOptions, Timeout
from penstock.flow import Context, Flow, Step, each, gather, optional, outcome, param, use

flow = Flow("orders", doc="Orders of a day.")
api = Limit("api", capacity=4, rate=Rate(10))


class Order:
    price: float


@flow.step
def extract(path: Path, ctx: Context) -> list[Order]:
    ctx.log("reading", path=path)
    return []


@flow.step(
    retry=RetryPolicy(max_attempts=3),
    timeout=30,
    limits=[api, api.take(2)],
    after=[extract],
    name="enrich it",
)
async def enrich(order: Order = each(extract), currency: str = "EUR") -> float:
    return order.price


@flow.step(timeout=Timeout(3.0), trigger="all_done", optional=True, keep=True, runner="threads")
def total(
    prices: list[float] = gather(enrich),
    kept: list[Outcome[float]] = gather(enrich, failures="keep"),
    dropped: list[float] = gather(enrich, failures="drop"),
) -> float:
    return sum(prices) + sum(one.value for one in kept if isinstance(one, Ok))


@flow.step(when=lambda total: total > 0)
def publish(
    total: float,
    maybe: float | None = optional(total, None),
    how: Outcome[float] = outcome(total),
    orders: list[Order] = use(extract),
) -> None: ...


@flow.step(trigger=lambda total: isinstance(total, Ok))
def pair(
    path: Path = each(param("paths", list[Path])), name: str = use(param("name", str))
) -> tuple[int, int]:
    return 1, 2


async def ready(limit: int) -> bool:
    return limit > 0


@flow.step(when=ready)
def numbers(
    n: int = each(pair), first: int = use(pair, 0), row: dict[str, int] = use(pair, "any")
) -> Iterator[int]:
    return iter([n])


@flow.step
def deep(number: int = each(numbers)) -> str:
    return ""


@flow.step
def flat(
    all: list[list[str]] = gather(gather(deep)),
    kept: list[list[Outcome[str]]] = gather(gather(deep, failures="keep")),
) -> int:
    return len(all)


@flow.step
def awaited(x: int) -> Awaitable[str]:
    raise NotImplementedError


@flow.step
def waits(text: str = use(awaited)) -> None: ...


# steps stay the functions they were
step: Step[..., list[Order], list[Order]] = extract
assert_type(extract.__name__, str)
assert_type(total([1.0], [], []), float)
assert_type(publish(1.0), None)


async def call_directly() -> None:
    assert_type(await enrich(Order(), currency="USD"), float)
    asyncio.run(enrich(Order()))


# add and bind
async def later(x: int) -> float:
    return x


later_step: Step[[int], Coroutine[Any, Any, float], float] = flow.add(later)
added = flow.add(len, name="length", obj=use(extract), keep=True)
assert_type(added([]), int)
again = flow.add(total, name="again", bind={"name": 3}, prices=gather(enrich))
assert_type(again([1.0]), float)
made = flow.add(Order, name="order")
assert_type(made(), Order)
template = total.bind(dropped=[])
assert_type(template(), float)
none_dropped = flow.add(template, name="none dropped")
usd = flow.add(
    enrich.bind(currency="USD"), name="usd"
)  # Any for mypy, as whatever holds an Any is to its overloads
lambda_step = flow.add(lambda x: x, name="lambda", x=use(extract))

# runs
result = flow.run(path=Path("x"), options=RunOptions(on_failure="continue"), targets=[total, "publish"])
assert_type(result[total], float)
assert_type(result[extract], list[Order])
assert_type(result[publish], None)
assert_type(result[added], int)
assert_type(result[waits], None)
assert_type(result[awaited], str)
assert_type(result[made], Order)
assert_type(result[again], float)
assert_type(result[none_dropped], float)
assert_type(result["total"], Any)
assert_type(result.items(enrich), list[float])
assert_type(result.items(deep), list[str])
assert_type(result.items("deep"), list[Any])
flow.run(override={extract: [], "total": 3.0}, targets=total, runner="inline")


async def runs() -> float:
    handle = flow.start(path=Path("x"))
    assert_type(handle.result(timeout=3)[total], float)
    return (await flow.arun(path=Path("x")))[total]
