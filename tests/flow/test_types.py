"""Types along the edges: what fits, what surely does not, and how types are said."""

# mypy: ignore-errors
# ruff: noqa: UP007, UP045

import collections.abc as abc
import enum
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import GraphError
from penstock.core.model import Failure, Ok, Outcome, Skip
from penstock.flow import Flow, each, gather, optional, outcome, param, use
from penstock.flow.assign import assignable, fits
from penstock.flow.words import short

T = TypeVar("T")
UserId = NewType("UserId", int)
OrderId = NewType("OrderId", int)
Deep: Any = int
for _ in range(30):
    Deep = list[Deep]


class Animal: ...


class Cat(Animal): ...


class Named(Protocol):
    name: str


class Box(Generic[T]): ...


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    total: int


class Colour(enum.Enum):
    RED = 1


FIT = [
    (int, int),
    (Cat, Animal),
    (bool, int),
    (int, float),
    (int, complex),
    (float, complex),
    (bytearray, bytes),
    (None, None),
    (type(None), None),
    (int, object),
    (object, int),
    (Any, int),
    (int, Any),
    (T, int),
    (int, T),
    (int, int | None),
    (None, Optional[int]),
    (int | None, Optional[int]),
    (Union[int, str], str | int | None),
    (bool | int, float),
    (list[int], list),
    (list, list[int]),
    (list[int], list[float]),
    (list[int], abc.Sequence[int]),
    (list[int], abc.Iterable[float]),
    (list[Any], list[int]),
    (list[T], list[int]),
    (dict[str, int], abc.Mapping[str, float]),
    (dict[str, int], abc.Iterable[str]),
    (dict[str, list[int]], dict[str, abc.Sequence[int]]),
    (tuple[int, str], tuple[int, str]),
    (tuple[int, str], tuple[float, object]),
    (tuple[int, int], tuple[int, ...]),
    (tuple[int, ...], tuple[int, int]),
    (tuple[int, str], abc.Sequence[int | str]),
    (tuple[int, str], abc.Sized),
    (Point, tuple[int, int]),
    (set[int], abc.Set[int]),
    (str, abc.Sequence[str]),
    (str, abc.Iterable[int]),  # its elements are not looked at
    (Annotated[int, "seconds"], int),
    (int, Annotated[float, "seconds"]),
    (UserId, int),
    (UserId, UserId),
    (UserId, UserId | None),
    (UserId, float),
    (int, UserId),
    (Literal["a"], str),
    (Literal["a"], Literal["a", "b"]),
    (str, Literal["a", "b"]),
    (Literal[1, 2], int | str),
    (Cat, Named),
    (Cat, abc.Callable[[int], str]),
    (type(len), abc.Callable[..., int]),
    (abc.Callable[[int], str], abc.Callable[[str], int]),
    (Box[int], Box[int]),
    (Box[int], Box),
    (Row, dict[str, Any]),
    (dict[str, int], Row),
    (Row, abc.Mapping[str, object]),
    (type[int], type),
    (Colour, enum.Enum),
    ("Nowhere", int),
    (int, "Nowhere"),
    (Deep, list[Any]),
    (Deep, Deep),
    (list[Deep], Deep),  # differs below the depth that is looked at
    (Ok[int] | Failure | Skip, Outcome[int]),
    (Ok[int] | Failure | Skip, Outcome),
    (Ok[int], Outcome[int]),
]

FAIL = [
    (str, int),
    (float, int),
    (int, bool),
    (Animal, Cat),
    (int, None),
    (None, int),
    (int | None, int),
    (int | str, int | None),
    (list[int], int),
    (int, list[int]),
    (list[str], list[int]),
    (list[list[str]], list[list[int]]),
    (list[int], tuple[int, ...]),
    (list[int], set[int]),
    (dict[str, int], dict[str, str]),
    (dict[str, int], dict[int, int]),
    (dict[str, int], abc.Iterable[int]),
    (tuple[int, str], tuple[int, int]),
    (tuple[int, str], tuple[int]),
    (tuple[str, ...], tuple[int, ...]),
    (tuple[int, str], abc.Sequence[int]),
    (abc.Iterable[int], list[int]),
    (UserId, OrderId),
    (UserId, str),
    (str, UserId),
    (Literal["a"], Literal["b"]),
    (Literal["a"], int),
    (Literal[True], Literal[1]),
    (int, Literal["a"]),
    (Box[int], Box[str]),
    (int, Row),
    (Row, int),
    (Annotated[str, "x"], int),
    (Outcome[int], int),
    (Outcome[int], Outcome[str]),
    (bytes, str),
]


@pytest.mark.parametrize(("given", "wanted"), FIT, ids=repr)
def test_fit(given, wanted):
    assert assignable(given, wanted)


@pytest.mark.parametrize(("given", "wanted"), FAIL, ids=repr)
def test_do_not_fit(given, wanted):
    assert not assignable(given, wanted)


TYPES = st.recursive(
    st.sampled_from([int, str, float, None, Any, Cat, Animal, UserId, Literal["a"], T, Row]),
    lambda inner: st.one_of(
        inner.map(lambda one: list[one]),
        inner.map(lambda one: tuple[one, ...]),
        st.tuples(inner, inner).map(lambda two: Union[two]),
        st.tuples(inner, inner).map(lambda two: dict[two]),
    ),
    max_leaves=6,
)


@given(TYPES, TYPES)
def test_every_type_fits_itself_and_any_union_with_itself(one, other):
    assert assignable(one, one)
    assert assignable(one, Union[one, other])
    assert assignable(list[one], list[Union[other, one]])
    assert len(short(Union[one, other])) <= 60


VALUES = [
    (1, int, True),
    (1, float, True),
    (1.0, int, False),
    (True, int, True),
    ("a", str, True),
    ("a", Path, False),
    (Path("a"), str | Path, True),
    (None, int | None, True),
    (None, int, False),
    ([1], list[str], True),  # elements are not looked at
    ("ab", list[str], False),
    ("ab", abc.Sequence[str], True),
    ("a", Literal["a"], True),
    ("c", Literal["a"], False),
    (3, UserId, True),
    ("3", UserId, False),
    ({}, Row, True),
    ([], Row, False),
    (3, Named, True),
    (3, T, True),
    (3, Any, True),
    (3, "Nowhere", True),
    (int, type[int], True),
    (len, abc.Callable[[int], int], True),
    (3, abc.Callable[[int], int], False),
    (Decimal(1), Annotated[Decimal, "eur"], True),
]


@pytest.mark.parametrize(("value", "wanted", "answer"), VALUES)
def test_values(value, wanted, answer):
    assert fits(value, wanted) is answer


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (int, "int"),
        (None, "None"),
        (int | None, "int | None"),
        (Optional[Cat], "Cat | None"),
        (list[Cat], "list[Cat]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (abc.Callable[[int], str], "Callable[[int], str]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (UserId, "UserId"),
        (Outcome[Cat], "Outcome[Cat]"),
        (Any, "Any"),
        (T, "~T"),
        (list["Cat"], "list['Cat']"),
        (list[list[list[list[list[list[int]]]]]], "list[list[list[list[list[…]]]]]"),
    ],
)
def test_types_in_words(type_, text):
    assert short(type_) == text


def _check(producer: Any, wanted: Any, mark: Any) -> None:
    flow = Flow("flow")

    def make(): ...
    def take(x): ...

    make.__annotations__ = {"return": producer}
    take.__annotations__ = {"x": wanted}
    flow.add(take, x=mark(flow.add(make)))
    flow.graph()


@pytest.mark.parametrize(
    ("producer", "wanted", "mark"),
    [
        (list[int], int, each),
        (tuple[int, ...], int, each),
        (tuple[int, str], int | str, each),
        (list, int, each),
        (list[int] | tuple[int, ...], int, each),
        (abc.Iterator[int], int, each),
        (Any, int, each),
        (object, int, each),
        (dict[str, int], int, lambda step: use(step, "a")),
        (Row, int, lambda step: use(step, "total")),
        (list[int], int, lambda step: use(step, -1)),
        (tuple[int, ...], int, lambda step: use(step, 5)),
        (tuple[int, str], str, lambda step: use(step, -1)),
        (Cat, int, lambda step: use(step, "whatever")),
        (int, int | None, lambda step: optional(step, None)),
        (int, int, lambda step: optional(step, 3)),
        (int, Outcome[int], outcome),
        (int, Outcome, outcome),
    ],
)
def test_edges_that_fit(producer, wanted, mark):
    _check(producer, wanted, mark)


@pytest.mark.parametrize(
    ("producer", "wanted", "mark", "text"),
    [
        (list[str], int, each, r"each\(make\) gives str"),
        (tuple[int, str], int, each, r"gives int \| str"),
        (str, str, each, "'make' returns str"),
        (bytes, int, each, "'make' returns bytes"),
        (list[int] | None, int, each, "needs a list or tuple, and 'make' returns None"),
        (abc.Iterable[int], int, each, r"annotate it as list\[int\], and return one"),
        (list[str], int, lambda step: use(step, 0), r"use\(make, 0\) gives str"),
        (tuple[int, str], int, lambda step: use(step, 1), "gives str"),
        (int, int, outcome, r"outcome\(make\) gives Outcome\[int\]"),
        (int, int, lambda step: optional(step, "none"), "the default of"),
        (str, int, lambda step: optional(step, 3), "'make' returns str"),
    ],
)
def test_edges_that_do_not(producer, wanted, mark, text):
    with pytest.raises(GraphError, match=text):
        _check(producer, wanted, mark)


def test_gathers_nest_and_keep():
    flow = Flow("flow")
    b = flow.add(lambda x: [x], name="b", x=each(flow.add(lambda: [1], name="a")))

    def c(x: int) -> str: ...
    def fine(one: list[str], two: list[list[str]], kept: list[list[Outcome[str]]]): ...
    def wrong(two: list[list[int]]): ...

    step = flow.add(c, x=each(b))
    flow.add(fine, one=gather(step), two=[], kept=[])
    flow.add(
        fine, name="outside", one=[], two=gather(gather(step)), kept=gather(gather(step, failures="keep"))
    )
    flow.graph()
    flow.add(wrong, two=gather(gather(step)))
    with pytest.raises(GraphError, match=r"gather\(gather\(c\)\) gives list\[list\[str\]\]"):
        flow.graph()


def test_annotations_that_cannot_be_evaluated_pass_and_the_others_count():
    flow = Flow("flow")

    def make() -> "int": ...
    def take(x: "str", y: "Nowhere" = None): ...  # type: ignore[name-defined]  # noqa: F821

    flow.add(take, x=use(flow.add(make)))
    with pytest.raises(GraphError, match="takes str, and 'make' returns int"):
        flow.graph()


def test_an_input_used_whole_is_checked_too():
    flow = Flow("flow")

    def take(x: int): ...

    flow.add(take, x=use(param("path", str)))
    with pytest.raises(GraphError, match="takes int, and 'path' is str"):
        flow.graph()


def test_the_default_of_an_input_is_checked_against_what_others_say():
    flow = Flow("flow")

    def one(n: int): ...

    flow.add(one)
    flow.add(lambda n="3": n, name="two")
    flow.graph()  # required by `one`, so the default never counts
    other = Flow("other")
    other.add(lambda x: x, name="two", x=use(param("n", default="3")))
    other.add(lambda x: x, name="one", x=use(param("n", int, default="3")))
    with pytest.raises(GraphError, match="its default '3' in step 'two' is not int, as step 'one' takes it"):
        other.graph()
