"""What type checkers must refuse: a line marked E is an error that says so, and no other line is."""

# mypy: ignore-errors
# (taken out by the test, which checks a copy; so that `mypy` over the whole repository passes)

from collections.abc import Iterable, Iterator, Sequence

from penstock.core.model import Outcome, RetryPolicy
from penstock.flow import Flow, each, fold, gather, optional, outcome, param, repeat, switch, use

flow = Flow("orders")


@flow.step
def extract(path: str) -> list[int]:
    return []


@flow.step
async def enrich(order: int = each(extract)) -> float:
    return order * 2.0


@flow.step
def some(path: str) -> Sequence[int]:
    return []


@flow.step
def any_of(path: str) -> Iterable[int]:
    return []


def elements(
    number: str = each(extract),  # E: default has type "int", parameter has type "str"
    whole: list[int] = each(extract),  # E: default has type "AnnotateList"
    of_a_number: float = each(enrich),  # E: Argument 1 to "each" has incompatible type
    of_a_sequence: int = each(some),  # E: default has type "AnnotateList"
    of_an_iterable: int = each(any_of),  # E: default has type "AnnotateList"
    of_a_text: str = each(param("text", str)),  # E: default has type "AnnotateList"
    of_an_input: str = each(param("numbers", list[int])),  # E: default has type "int"
    of_a_function: str = each(len),  # E: No overload variant of "each"
) -> None: ...


def values(
    element: int = use(extract),  # E: default has type "list[int]"
    awaited: str = use(enrich),  # E: default has type "float"
    name: int = use("extract"),  # E: No overload variant of "use"
    part: int = use(extract, 1.5),  # E: No overload variant of "use"
) -> None: ...


def gathered(
    one: float = gather(enrich),  # E: default has type "list[float]"
    strings: list[str] = gather(enrich),  # E: "gather" has incompatible type
    kept: list[float] = gather(enrich, failures="keep"),  # E: default has type "list[Ok[float]
    dropped: list[Outcome[float]] = gather(enrich, failures="drop"),  # E: "gather"
    policy: list[float] = gather(enrich, failures="ignore"),  # E: No overload variant of "gather"
    two: list[float] = gather(gather(enrich)),  # E: default has type "list[list[float]]"
) -> None: ...


def ends(
    never_none: float = optional(enrich, None),  # E: default has type "float | None"
    other: float = optional(enrich, "none"),  # E: default has type "float | str"
    value: float = outcome(enrich),  # E: default has type "Ok[float] | Failure | Skip"
) -> None: ...


@flow.step(retries=3)  # E: Unexpected keyword argument "retries"
def misspelt(path: str) -> None: ...


@flow.step(retry=3)  # E: No overload variant of "step"
def number(path: str) -> None: ...


@flow.step(retry=RetryPolicy(), trigger="all_dne")  # E: No overload variant of "step"
def no_such_trigger(path: str) -> None: ...


@flow.step(timeout="3")  # E: No overload variant of "step"
def text(path: str) -> None: ...


@flow.step(limits=["api"])  # E: expected "Limit | LimitUse"
def limited(path: str) -> None: ...


@flow.step(after=["extract"])  # E: expected "Source[Any]"
def later(path: str) -> None: ...


@flow.step(when=lambda path: "yes")  # E: expected "bool | Awaitable[bool]"
def maybe(path: str) -> None: ...


@flow.resource
def database(url: str) -> Iterator[str]:
    yield url


@flow.resource  # E: expected "Callable[[str], AbstractContextManager[Never, bool | None]]"
def no_way_to_close(url: str) -> str:
    return url


@flow.resource(scope="flow")  # E: No overload variant of "__call__" of "Declare" matches argument type "str"
def no_such_scope() -> Iterator[str]:
    yield "x"


def takes_resources(
    text: int = use(database),  # E: default has type "str"
) -> None: ...


database(3)  # E: Argument 1 to "__call__" of "Resource" has incompatible type "int"
extract(3)  # E: Argument 1 to "__call__" of "Step" has incompatible type "int"
flow.step(extract).bnd()  # E: has no attribute "bnd"
extract(pth="x")  # E: Unexpected keyword argument "pth"

result = flow.run(path="x", options=3)  # E: Argument "options" to "run" of "Flow" has incompatible type "int"
total: str = result[extract]  # E: has type "list[int]"
awaited: int = result[enrich]  # E: has type "float"
items: list[str] = result.items(enrich)  # E: has incompatible type
item: float = result.items(enrich)  # E: has type "list[float]"
result[3]  # E: No overload variant of "__getitem__" of "FlowResult" matches argument type "int"
flow.start(path="x").result()[extract].append("x")  # E: has incompatible type "str"; expected "int"


@flow.step
def stream(path: str) -> Iterator[int]:
    yield 1


@flow.step
async def later_stream(path: str) -> Iterator[int]:
    return iter([1])


def longest(so_far: str, item: str) -> str:
    return so_far


async def awaited_sum(so_far: float, item: float) -> float:
    return so_far


def streams(
    element: str = each(stream),  # E: default has type "int", parameter has type "str"
    whole: int = use(stream),  # E: default has type "list[int]"
    iterator: Iterator[str] = use(stream),  # E: "use" has incompatible type
    of_a_coroutine: int = each(later_stream),  # E: default has type "AnnotateList"
    key: int = each(stream, key="id"),  # E: No overload variant of "each"
    key_of_another: int = each(stream, key=len),  # E: Argument "key" to "each"
    key_that_is_no_name: int = each(stream, key=lambda n: [n]),  # E: expected "str | int"
    quorum: list[float] = gather(enrich, failures=0.8),  # E: No overload variant of "gather"
) -> None: ...


def folds(
    text: str = fold(enrich, longest, ""),  # E: Argument 2 to "fold" has incompatible type
    result: str = fold(enrich, lambda so_far, item: so_far + item, 0.0),  # E: parameter has type "str"
    begin: float = fold(enrich, lambda so_far, item: so_far + item, ""),  # E: parameter has type "float"
    awaited: float = fold(enrich, awaited_sum, 0.0),  # E: Argument 2 to "fold" has incompatible type
    policy: float = fold(enrich, max, 0.0, failures="keep"),  # E: Argument "failures" to "fold"
    list_: float = fold(gather(enrich), max, 0.0),  # E: Argument 1 to "fold" has incompatible type
) -> None: ...


@flow.step(pair="zip")  # E: No overload variant of "step"
def paired(x: int = each(extract), y: int = each(stream)) -> None: ...


around = Flow("around", defaults={"timeout": "3"})  # E: expected "StepOptions | None"
wrong = Flow("wrong", defaults={"retries": 3})  # E: expected "StepOptions | None"
sub = around.add(flow, name="sub")
sub(3)  # E: "SubFlow" not callable
sub[3]  # E: No overload variant of "__getitem__" of "SubFlow" matches argument type "int"


@around.step
def parts(
    text: str = use(sub[extract]),  # E: default has type "list[int]"
    number: str = each(sub[extract]),  # E: default has type "int"
    whole: int = use(sub),  # E: No overload variant of "use"
    items: list[str] = gather(sub[enrich]),  # E: Invalid index type
) -> int:
    return 1


@around.step
def more(n: int) -> int:
    return n


repeat(more, until=lambda n: n > 3)  # E: Missing named argument "max"
repeat(more, until=3, max=3)  # E: Argument "until" to "repeat" has incompatible type "int"
repeat(more, until=lambda n: "yes", max=3)  # E: expected "bool | Awaitable[bool]"
repeat(len, until=lambda n: True, max=3)  # E: Argument 1 to "repeat" has incompatible type
switch(more, {"a": len})  # E: Dict entry 0 has incompatible type
switch(more, [more])  # E: No overload variant of "switch"
switch("more", {1: more})  # E: No overload variant of "switch"


def taken(
    loop: str = use(repeat(more, until=lambda n: True, max=3)),  # E: default has type "int"
    chosen: str = use(switch(more, {1: more, 2: more})),  # E: default has type "int"
) -> None: ...


@around.on_end  # E: Value of type variable "H" of "on_end"
def notify(result: int) -> None: ...
