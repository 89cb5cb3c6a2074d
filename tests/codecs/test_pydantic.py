"""Models of pydantic: field by field, without their validators, equal and of the same type."""

import functools
import json
from typing import Any, Generic, TypeVar

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel

from penstock.codecs import find
from penstock.core.codec import Codec, Signer, types_of
from penstock.core.errors import CannotDecode, NotStorable
from penstock.dialects.definitions.results import StageResult

T = TypeVar("T")
ran: list[str] = []


class Line(BaseModel):
    sku: str
    amount: int = 1


class Order(BaseModel):
    model_config = ConfigDict(frozen=True)
    lines: tuple[Line, ...]
    by: dict[int, set[str]] = Field(default_factory=dict)
    note: str | None = Field(default=None, alias="remark")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int
    _hidden: list[int] = PrivateAttr(default_factory=list)

    @functools.cached_property
    def twice(self) -> int:
        return self.a * 2


class Busy(BaseModel):
    x: int

    def __init__(self, **given: Any) -> None:
        ran.append("init")
        super().__init__(**given)

    def model_post_init(self, context: Any) -> None:
        ran.append("post_init")

    @pydantic.field_validator("x")
    @classmethod
    def _validated(cls, x: int) -> int:
        ran.append("validator")
        return x + 1

    @pydantic.field_serializer("x")
    def _written(self, x: int) -> str:
        ran.append("serializer")
        return "five"


class Numbers(RootModel[list[int]]):
    pass


class Box(BaseModel, Generic[T]):
    inner: T


def there_and_back(value, *known):
    one = Codec(types=known or types_of(type(value)), sockets=find)
    back = one.decode(json.loads(one.encode(value)))
    assert type(back) is type(value)
    assert back == value
    return back


def test_d06_models_in_models():
    order = Order(lines=(Line(sku="a"), Line(sku="b", amount=2)), by={1: {"x"}}, remark="now")
    back = there_and_back(order)
    assert type(back.lines) is tuple
    assert type(back.lines[0]) is Line
    assert back.lines[0].model_fields_set == {"sku"}
    assert back.model_dump(exclude_unset=True) == order.model_dump(exclude_unset=True)
    with pytest.raises(pydantic.ValidationError):
        back.note = "changed"


def test_d06_a_field_that_is_not_what_it_was_declared_as_stays_so():
    line = Line.model_construct(sku=(1, b"2"), amount=1.5)
    assert there_and_back(line).sku == (1, b"2")


def test_no_code_of_the_model_runs():
    value = Busy(x=1)
    ran.clear()
    assert there_and_back(value).x == 2
    assert ran == []


def test_extra_and_private_attributes():
    value = Open(a=1, more=(1, 2))  # type: ignore[call-arg]
    value._hidden.append(7)
    assert value.twice == 2
    back = there_and_back(value)
    assert back.more == (1, 2)
    assert back._hidden == [7]


def test_root_and_generic_models():
    there_and_back(Numbers([1, 2]))
    there_and_back(Box[Line](inner=Line(sku="a")))
    there_and_back(Box(inner=(1, 2)))
    assert types_of(Box[Line]) == {Box, Box[Line], Line}


def test_the_results_of_stages():
    there_and_back(StageResult.success((1, 2), "a"), *types_of(StageResult[tuple[int, int]]))
    there_and_back(StageResult.failure("no", metadata={"by": {1}}), StageResult)


def test_d01_what_does_not_fit_says_where():
    one = Codec(types=types_of(Box), sockets=find)
    with pytest.raises(NotStorable, match="which this step does not name; annotate") as caught:
        one.encode([Box(inner=[Line(sku="a")])])
    assert caught.value.path == "$[0].inner[0]"
    with pytest.raises(NotStorable, match="is a function") as caught:
        one.encode(Box(inner={"f": print}))
    assert caught.value.path == "$.inner.f"
    broken: Any = Box.model_construct()
    with pytest.raises(NotStorable, match="has no value for its field 'inner'"):
        one.encode(broken)


def test_a_model_needs_to_be_known_and_its_library_asked_for():
    with pytest.raises(NotStorable, match="annotate"):
        Codec(sockets=find).encode(Line(sku="a"))
    text = Codec(types=[Line], sockets=find).encode(Line(sku="a"))
    with pytest.raises(CannotDecode, match="is not known here"):
        Codec(sockets=find).decode(json.loads(text))


def test_a_known_model_is_never_pickled_instead():
    with pytest.warns(UserWarning, match="pickled"):
        one = Codec(types=[Line], pickle=Signer(b"k" * 32))
    with pytest.raises(NotStorable):
        one.encode(Line(sku="a"))


def test_pydantic_dataclasses_are_dataclasses():
    @pydantic.dataclasses.dataclass
    class Made:
        x: int

    there_and_back(Made(1))


class TestChanges:
    @staticmethod
    def changed(value, new):
        new.__module__, new.__qualname__ = type(value).__module__, type(value).__qualname__
        text = Codec(types=[type(value)], sockets=find).encode(value)
        return Codec(types=[new], sockets=find).decode(json.loads(text))

    def test_d15_a_field_more(self):
        new = pydantic.create_model(
            "Line", sku=(str, ...), amount=(int, 5), tags=(list, Field(default_factory=list))
        )
        assert self.changed(Line(sku="a"), new).model_dump() == {"sku": "a", "amount": 1, "tags": []}
        new = pydantic.create_model("Line", sku=(str, ...), amount=(int, 5), more=(int, ...))
        with pytest.raises(CannotDecode, match="it has 'more' now, without a default"):
            self.changed(Line(sku="a"), new)

    def test_d15_a_field_less(self):
        with pytest.raises(CannotDecode, match="it has no 'amount' any more"):
            self.changed(Line(sku="a"), pydantic.create_model("Line", sku=(str, ...)))

    def test_d15_no_model_any_more(self):
        new = type("Line", (), {})
        with pytest.raises(CannotDecode, match="is no model of pydantic"):
            self.changed(Line(sku="a"), new)


@pytest.mark.parametrize(
    "data",
    [
        {"$pydantic": "builtins:object"},
        {"$pydantic": 5, "fields": {}},
        {"$pydantic": f"{__name__}:Line"},
        {"$pydantic": f"{__name__}:Line", "fields": []},
        {"$pydantic": f"{__name__}:Line", "fields": {"sku": "a", "amount": 1}, "extra": 5},
        {"$pydantic": f"{__name__}:Line", "fields": {"sku": "a", "amount": 1}, "set": 5},
    ],
    ids=str,
)
def test_forms_that_make_no_sense(data):
    with pytest.raises(CannotDecode):
        Codec(types=[Line], sockets=find).decode(data)
