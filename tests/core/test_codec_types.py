"""Classes of the application: which ones a codec knows, and what becomes of instances when they change."""

import abc
import dataclasses
import enum
import functools
import json
import sys
import types
import typing
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import pytest

from penstock.core import codec_types
from penstock.core.codec import Codec, register, types_of
from penstock.core.codec_types import tag_of
from penstock.core.errors import CannotDecode, NotStorable
from penstock.core.model import Failure, Ok

from .codec_kit import Color, Line, Order, Point, same, there_and_back


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    for name in ("_by_name", "_by_class", "_reached"):
        monkeypatch.setattr(codec_types, name, {})


T = TypeVar("T", bound=Line)


class Tree(NamedTuple):
    left: "Tree | None"
    item: Color


@dataclasses.dataclass
class Half:
    here: Line
    there: "Missing"  # type: ignore[name-defined]  # noqa: F821
    text: "Point | None"


class Entry(TypedDict):
    line: Line


@dataclasses.dataclass
class Box(Generic[T]):
    inner: T


class TestTypesOf:
    @pytest.mark.parametrize(
        ("annotation", "found"),
        [
            (Color, {Color}),
            (int, set()),
            (None, set()),
            (Any, set()),
            ("Line", set()),
            (list[Line], {Line}),
            (dict[str, list[tuple[Line, ...]]], {Line}),
            (Line | None, {Line}),
            (Optional[Line], {Line}),  # noqa: UP045
            (typing.Union[Line, Point], {Line, Point}),  # noqa: UP007
            (Annotated[Line, Color], {Line}),
            (Literal[Color.RED, "x"], {Color}),
            (Iterator[Line], {Line}),
            (AsyncIterator[Line], {Line}),
            (Callable[[Line], Color], {Line, Color}),
            (type[Line], {Line}),
            (NewType("N", Line), {Line}),
            (T, {Line}),
            (Ok[Line] | Failure, {Line}),
            (Box[Line], {Box, Line}),
            (Order, {Order, Line, Color, sys.modules[Color.__module__].May}),
            (Tree, {Tree, Color}),
            (Half, {Half, Line, Point}),
            (Entry, {Line}),
            (list, set()),
            (42, set()),
            (enum.Enum, set()),
        ],
        ids=lambda given: None if isinstance(given, set) else str(given),
    )
    def test_what_an_annotation_leads_to(self, annotation, found):
        assert types_of(annotation) == found

    def test_it_never_raises(self):
        class Odd(type):
            def __getattribute__(cls, name):
                raise OSError(name)

        class Strange(metaclass=Odd):
            pass

        deep: Any = Line
        for _ in range(1000):
            deep = list[deep]
        wide: list[Any] = [Line]
        wide.append(wide)
        for annotation in (
            Strange,
            deep,
            wide,
            object(),
            lambda: 1,
            typing.ForwardRef("nowhere.to.be.found"),
        ):
            assert types_of(annotation) <= {Line}


class TestKnown:
    def test_a_class_that_nobody_named_is_refused_and_so_is_its_text(self):
        text = Codec(types=[Line]).encode(Line(1))
        with pytest.raises(NotStorable, match=r"a class that this step does not name; annotate .* with Line"):
            Codec().encode(Line(1))
        with pytest.raises(
            CannotDecode, match=rf"is of the class '{tag_of(Line)}', which is not known here.*regist"
        ):
            Codec().decode(json.loads(text))

    def test_registered_classes_are_known_to_all_with_what_they_lead_to(self):
        assert register(Order) is Order
        assert there_and_back(Order((Line(1),), Color.RED), Codec()) == Order((Line(1),), Color.RED)

    def test_what_is_registered_later_leads_on_too(self):
        register(Line)
        with pytest.raises(NotStorable):
            Codec().encode(Point(1))
        register(Half)
        value = Half(Line(1), None, Point(1))
        assert there_and_back(value, Codec()) == value

    def test_a_codec_that_has_refused_a_class_takes_it_once_it_is_registered(self):
        one = Codec()
        with pytest.raises(NotStorable):
            one.encode(Line(1))
        register(Line)
        assert there_and_back(Line(1), one) == Line(1)

    def test_a_subclass_does_not_count(self):
        class More(Line):
            pass

        with pytest.raises(NotStorable):
            Codec(types=[Line]).encode(More(1))

    def test_two_classes_of_one_name(self):
        def make():
            @dataclasses.dataclass
            class Local:
                x: int = 1

            return Local

        first, second = make(), make()
        one = Codec(types=[first, second])
        with pytest.raises(NotStorable, match="there are two of this name"):
            one.encode(first())
        text = Codec(types=[first]).encode(first())
        with pytest.raises(CannotDecode, match="there are two classes"):
            one.decode(json.loads(text))
        assert type(Codec(types=[second]).decode(json.loads(text))) is second
        with pytest.raises(NotStorable, match="a class that this step does not name"):
            Codec(types=[first]).encode(second())

    def test_a_script_is_called_the_same_run_or_loaded(self, monkeypatch):
        class Made:
            pass

        for name, spec in (("__main__", None), ("__mp_main__", None), ("_target_my_flow", None)):
            module = types.ModuleType(name)
            module.__file__ = "/somewhere/my-flow.py"
            module.__spec__ = spec
            monkeypatch.setitem(sys.modules, name, module)
            Made.__module__ = name
            assert tag_of(Made).partition(":")[0] == "my_flow"

    def test_a_module_run_with_m_is_called_as_imported(self, monkeypatch):
        class Made:
            pass

        module = types.ModuleType("__main__")
        module.__spec__ = types.SimpleNamespace(name="shop.flows")  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, "__main__", module)
        Made.__module__ = "__main__"
        assert tag_of(Made).partition(":")[0] == "shop.flows"


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return type(other) is Money and other.cents == self.cents


class TestRegister:
    def test_functions_for_other_classes(self):
        register(
            Money, encode=lambda money: {"cents": (money.cents,)}, decode=lambda data: Money(*data["cents"])
        )
        assert there_and_back([Money(3)], Codec()) == [Money(3)]

    def test_a_class_may_have_a_name_of_its_own(self):
        register(Line, name="line")
        assert '"$data":"line"' in Codec(types=[Line]).encode(Line(1))
        assert there_and_back(Line(1), Codec()) == Line(1)

    def test_d15_a_class_that_was_moved_is_registered_under_its_old_name(self):
        text = Codec(types=[Line]).encode(Line(1)).replace(tag_of(Line), "old.place:Row")
        with pytest.raises(CannotDecode, match=r"penstock\.register\(\.\.\., name='old\.place:Row'\)"):
            Codec(types=[Line]).decode(json.loads(text))
        register(Line)
        register(Line, name="old.place:Row")
        for one in (Codec(), Codec(types=[Line])):
            assert one.decode(json.loads(text)) == Line(1)
            assert there_and_back(Line(1), one) == Line(1)

    @pytest.mark.parametrize(
        ("given", "options", "said"),
        [
            (Line(1), {}, "register takes a class"),
            (Money, {}, "takes encode= and decode="),
            (Money, {"encode": str}, "come together"),
            (Line, {"name": ""}, "name is a text"),
            (Line, {"name": 5}, "name is a text"),
        ],
    )
    def test_what_it_refuses(self, given, options, said):
        with pytest.raises(TypeError, match=said):
            register(given, **options)

    def test_a_name_belongs_to_one_class(self):
        register(Line, name="x")
        register(Line, name="x")
        with pytest.raises(ValueError, match="registered as 'x' already"):
            register(Order, name="x")

    def test_errors_of_its_functions_are_ours(self):
        def fails(given):
            raise OSError("no")

        register(Money, encode=fails, decode=fails)
        with pytest.raises(NotStorable, match=r"whose encode= raised OSError: no") as caught:
            Codec().encode({"a": Money(1)})
        assert caught.value.path == "$.a"
        register(Money, encode=lambda money: {1: print}, decode=fails)
        with pytest.raises(NotStorable) as caught:
            Codec().encode({"a": Money(1)})
        assert caught.value.path == "$.a[1]"
        register(Money, encode=lambda money: 1, decode=fails)
        with pytest.raises(CannotDecode, match="OSError: no"):
            there_and_back(Money(1), Codec())
        register(Money, encode=lambda money: 1, decode=str)
        with pytest.raises(CannotDecode, match="gave a str, not a Money"):
            there_and_back(Money(1), Codec())

    def test_it_is_a_decorator(self):
        @register
        @dataclasses.dataclass
        class Here:
            x: int

        assert there_and_back(Here(1), Codec()) == Here(1)


def changed(old, new):
    """What a codec that knows a class as it is now makes of an instance of what it was."""
    new.__module__, new.__qualname__ = old.__module__, old.__qualname__
    value = old(*range(1, 1 + len(getattr(old, "_fields", getattr(old, "__dataclass_fields__", ())))))
    return Codec(types=[new]).decode(json.loads(Codec(types=[old]).encode(value)))


class TestChanges:
    def test_d15_a_field_more_has_its_default(self):
        old = dataclasses.make_dataclass("D", ["a"])
        new = dataclasses.make_dataclass(
            "D", [("b", int, 5), ("a", int, 0), ("c", list, dataclasses.field(default_factory=list))]
        )
        assert changed(old, new) == new(a=1, b=5, c=[])

    def test_d15_a_field_more_without_default(self):
        with pytest.raises(CannotDecode, match="it has 'b' now, without a default"):
            changed(dataclasses.make_dataclass("D", ["a"]), dataclasses.make_dataclass("D", ["a", "b"]))

    def test_d15_a_field_less(self):
        with pytest.raises(CannotDecode, match="it has no 'b' any more"):
            changed(dataclasses.make_dataclass("D", ["a", "b"]), dataclasses.make_dataclass("D", ["a"]))

    def test_d15_a_field_renamed(self):
        with pytest.raises(CannotDecode, match="no 'a' any more and it has 'b' now"):
            changed(dataclasses.make_dataclass("D", ["a"]), dataclasses.make_dataclass("D", ["b"]))

    def test_d15_named_tuples_likewise(self):
        old, new = namedtuple("N", "a b"), namedtuple("N", "b a c", defaults=[7])
        assert changed(old, new) == (2, 1, 7)
        with pytest.raises(CannotDecode, match="it has 'c' now"):
            changed(old, namedtuple("N", "a b c"))

    def test_d15_slots_or_not(self):
        old = dataclasses.make_dataclass("D", ["a"])
        new = dataclasses.make_dataclass("D", ["a"], slots=True, frozen=True)
        assert changed(old, new) == new(1)
        assert changed(new, old) == old(1)

    def test_d15_an_enum_without_the_member(self):
        old: Any = enum.Enum("old", {"A": 1, "B": 2})
        new: Any = enum.Enum("new", {"B": 2, "C": 3})
        old.__qualname__ = new.__qualname__
        text = Codec(types=[old]).encode([old.B])
        assert Codec(types=[new]).decode(json.loads(text)) == [new.B]
        with pytest.raises(CannotDecode, match="has the name 'A', which is none of B, C"):
            Codec(types=[new]).decode(json.loads(Codec(types=[old]).encode(old.A)))

    def test_d15_a_class_of_another_kind(self):
        old, new = dataclasses.make_dataclass("D", ["a"]), namedtuple("D", "a")
        with pytest.raises(
            CannotDecode, match="is marked 'data', and the class of this name is written as 'named'"
        ):
            changed(old, new)
        plain = type("D", (), {})
        with pytest.raises(CannotDecode, match="was a dataclass, and is none any more"):
            changed(old, plain)


class TestDataclasses:
    def test_no_code_of_the_class_runs(self):
        ran = []

        @dataclasses.dataclass
        class Busy:
            x: int
            y: int = dataclasses.field(init=False)

            def __post_init__(self):
                ran.append("post_init")
                self.y = self.x * 2

            def __setattr__(self, name, value):
                ran.append("setattr")
                object.__setattr__(self, name, value)

            def __getattribute__(self, name):
                ran.append("getattribute")
                return object.__getattribute__(self, name)

        value = Busy(1)
        value.y = 7
        text = None
        one = Codec(types=[Busy])
        ran.clear()
        text = one.encode(value)
        back = one.decode(json.loads(text))
        assert ran == []
        assert (back.x, back.y) == (1, 7)

    @pytest.mark.parametrize(
        "options", [{}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}]
    )
    def test_all_makes(self, options):
        @dataclasses.dataclass(**options)
        class Base:
            a: int
            b: list[int] = dataclasses.field(default_factory=list, compare=False, repr=False)

        @dataclasses.dataclass(**options)
        class Made(Base):
            c: int = dataclasses.field(init=False, default=3)
            d: typing.ClassVar[int] = 4
            e: dataclasses.InitVar[int] = 5
            f: int = dataclasses.field(kw_only=True, default=6)

        one = Codec(types=[Made])
        assert same(there_and_back(Made(1, [2], f=9), one), Made(1, [2], f=9))

    def test_slots_below_a_dict(self):
        class Bare:
            __slots__ = ("hidden",)

        @dataclasses.dataclass
        class Made(Bare):
            a: int

        one, value = Codec(types=[Made]), Made(1)
        more: Any = value
        assert there_and_back(value, one) == value
        more.hidden = 1
        with pytest.raises(NotStorable, match="an attribute 'hidden' that is none of its fields"):
            one.encode(value)

    def test_what_is_only_remembered_may_be_there(self):
        @dataclasses.dataclass
        class Made:
            a: int

            @functools.cached_property
            def twice(self):
                return self.a * 2

        value = Made(2)
        assert value.twice == 4
        assert there_and_back(value, Codec(types=[Made])) == value

    def test_one_that_is_equal_to_itself_only_could_not_come_back(self):
        made = dataclasses.make_dataclass("Made", ["a"], eq=False)
        with pytest.raises(NotStorable, match="equal to itself only"):
            Codec(types=[made]).encode(made(1))

    def test_one_that_is_something_else_too(self):
        made = dataclasses.make_dataclass("Made", ["a"], bases=(dict,))
        with pytest.raises(NotStorable, match="a dataclass that is also a dict"):
            Codec(types=[made]).encode(made(1))

    def test_a_field_without_value(self):
        made = dataclasses.make_dataclass("Made", ["a", "b"])
        value = made(1, 2)
        del value.b
        with pytest.raises(NotStorable, match="has no value for its field 'b'"):
            Codec(types=[made]).encode(value)

    def test_abstract_and_generic_ones(self):
        @dataclasses.dataclass
        class Made(abc.ABC, Generic[T]):
            a: Any

        assert there_and_back(Made(1), Codec(types=types_of(Made[Line]))) == Made(1)

    def test_a_named_tuple_with_an_attribute_of_its_own(self):
        class Made(namedtuple("Made", "a")):
            pass

        value: Any = Made(1)
        assert there_and_back(value, Codec(types=[Made])) == value
        value.more = 1
        with pytest.raises(NotStorable, match="attribute 'more'"):
            Codec(types=[Made]).encode(value)
