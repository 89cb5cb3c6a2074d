"""What type checkers must accept: every line here is how the face is meant to be used. Nothing runs it."""

import asyncio
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, assert_type

from penstock.core.model import Limit, Ok, Outcome, Quorum, Rate, RetryPolicy, RunOptions, Timeout
from penstock.flow import (
    Context,
    Flow,
    FlowResult,
    Source,
    Step,
    SubFlow,
    each,
    fold,
    gather,
    optional,
    outcome,
    param,
    repeat,
    switch,
    use,
)

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


# resources
@flow.resource
def database(url: str) -> Iterator[Order]:
    yield Order()


@flow.resource(scope="worker")
def model() -> Generator[float, None, None]:
    yield 1.0


@flow.resource
async def client(database: Order) -> AsyncIterator[str]:
    yield "x"


@flow.resource(name="managed")
@contextmanager
def managed() -> Iterator[int]:
    yield 1


@flow.resource
@asynccontextmanager
async def amanaged() -> AsyncIterator[bytes]:
    yield b""


def agreed() -> AbstractContextManager[bool]:
    raise NotImplementedError


maker = flow.resource(agreed, scope="worker")
opened = flow.resource(open, name="file")


@flow.step
def takes(
    order: Order = use(database),
    number: float = use(model),
    whole: int = use(managed),
    yes: bool = use(maker),
) -> None: ...


@flow.step
async def atakes(text: str = use(client), raw: bytes = use(amanaged)) -> None: ...


assert_type(use(database), Order)
assert_type(database("x"), Iterator[Order])
assert_type(flow.resource(database.function, name="again", scope="worker").id, str)

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


# streams: a step that gives its elements one by one, whose value is the list of them
@flow.step
def lines(path: Path) -> Iterator[str]:
    yield ""


@flow.step(keep=True)
def chunks(path: Path) -> Generator[bytes, None, None]:
    yield b""


@flow.step
async def rows(path: Path) -> AsyncIterator[int]:
    yield 1


async def pages(path: Path) -> AsyncGenerator[float, None]:
    yield 1.0


pages_step = flow.add(pages)
lines_step: Step[[Path], Iterator[str], list[str]] = lines


@flow.step(pair="zipped")
def zipped(
    line: str = each(lines),
    chunk: bytes = each(chunks),
    row: int = each(rows, key=lambda row: row + 1),
    page: float = each(pages_step, key=str),
) -> str:
    return line


@flow.step(pair="product")
def crossed(line: str = each(lines, key=len), row: int = each(rows)) -> int:
    return row


def longest(so_far: str, item: str) -> str:
    return so_far or item


@flow.step
def folded(
    whole: list[str] = use(lines),
    enough: list[str] = gather(zipped, failures=Quorum(0.9)),
    several: list[list[int]] = gather(gather(crossed, failures=Quorum(3))),
    text: str = fold(zipped, longest, ""),
    count: int = fold(zipped, lambda so_far, item: so_far + len(item), 0),
    total: int = fold(crossed, operator.add, 0, failures="drop"),
    mean: tuple[int, float] = fold(crossed, lambda so_far, n: (so_far[0] + 1, so_far[1] + n), (0, 0.0)),
) -> None: ...


for line in lines(Path("x")):
    assert_type(line, str)
assert_type(result[lines], list[str])
assert_type(result[chunks], list[bytes])
assert_type(result[rows], list[int])
assert_type(result[pages_step], list[float])
assert_type(result.items(lines), list[list[str]])


# sub-flows
around = Flow("around", defaults={"timeout": 3, "retry": RetryPolicy(), "max_concurrency": 8})
sub = around.add(flow, name="sub", path=use(param("path", Path)), when=lambda path: True, after=[])
assert_type(sub, SubFlow)
assert_type(sub[total], Source[float])
assert_type(sub[extract], Source[list[Order]])
assert_type(sub["total"], Source[Any])


@around.step(timeout=None, retry=None, limits=None, max_concurrency=None, runner=None, volatile=True)
def bill(
    amount: float = use(sub[total]),
    prices: list[float] = gather(sub[enrich]),
    orders: list[Order] = use(sub[extract]),
    lines: list[str] = use(sub[lines]),
    anything: int = use(sub["total"]),
) -> float:
    return amount


@around.step
def order_of_a_sub_flow(order: Order = each(sub[extract])) -> None: ...


around_result = around.run(path=Path("x"), targets=[sub[total], bill], override={sub[extract]: []})
assert_type(around_result[sub[total]], float)
assert_type(around_result.items(sub[enrich]), list[float])


# loops
@around.step
def refine(text: str, words: int) -> str:
    return text


@around.step
async def refine_later(text: str) -> str:
    return text


async def good_enough(text: str) -> bool:
    return bool(text)


refined = repeat(refine, until=lambda text, words: len(text) > words, max=5, feed="text")
assert_type(refined("x", words=3), str)
assert_type(around_result[refined], str)
assert_type(around_result[repeat(refine_later, until=good_enough, max=3)], str)


# switches
@around.step
def kind(text: str) -> Literal["letter", "invoice"]:
    return "letter"


@around.step
def letter(text: str) -> str:
    return text


@around.step
async def letter_later(text: str) -> str:
    return text


@around.step
def invoice(text: str) -> int:
    return 1


@around.step
def invoice_of(words: int) -> int:
    return words


alike = switch(kind, {"letter": letter, "invoice": letter_later})
assert_type(alike, Source[str])
other: Source[str | int] = switch(kind, {"letter": letter}, default=invoice, name="other")
handled: Source[str | int] = switch(kind, {"letter": letter, "invoice": invoice})
unknown = switch(kind, {"invoice": invoice_of, "letter": invoice})  # mypy cannot join their parameters


@around.step
def told(
    text: str = use(alike),
    either: str | int = use(handled),
    same: int = use(unknown),
    inline: str = use(switch(param("mode", str), {"a": letter, "b": letter})),
    loop: str = use(repeat(refine, until=lambda text: True, max=2)),
) -> None: ...


@around.on_end
def notify(result: FlowResult) -> None:
    assert_type(result[told], None)


@around.on_end(timeout=3)
async def notify_later(result: FlowResult) -> int:
    return 1


assert_type(notify(around_result), None)
