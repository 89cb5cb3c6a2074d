"""What type checkers must refuse: a line marked E is an error that says so, and no other line is."""

# mypy: ignore-errors
# (taken out by the test, which checks a copy; so that `mypy` over the whole repository passes)

from collections.abc import Iterable, Sequence

from penstock.core.model import Outcome, RetryPolicy
from penstock.flow import Flow, each, gather, optional, outcome, param, use

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
