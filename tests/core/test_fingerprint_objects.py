"""Fingerprints of what is no plain function of a file, of what a run changes, and of nodes of every face."""

from __future__ import annotations

import functools
import operator
import os
import sys
import textwrap
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import pytest

from penstock.core.fingerprint import Fingerprints, fingerprint
from penstock.core.fingerprint_files import is_project


def one(x: Any) -> Any:
    return x


def two(x: Any) -> Any:
    return [x]


def add(x: Any, y: Any = 0) -> Any:
    return x + y


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Tool:
    kind = "tool"

    def __init__(self, size: int, **more: Any) -> None:
        self.size = size
        self.calls: list[int] = []
        self.__dict__.update(more)

    def work(self, x: Any) -> Any:
        self.calls.append(x)
        return self.size * x

    def rest(self, x: Any) -> Any:
        return x

    @classmethod
    def of_class(cls, x: Any) -> Any:
        return cls(x).work(x)

    @staticmethod
    def of_none(x: Any) -> Any:
        return x

    @functools.cached_property
    def cached(self) -> int:
        return self.size


class Larger(Tool):
    def rest(self, x: Any) -> Any:
        return super().rest(x) * 2


class Called:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, x: Any) -> Any:
        return x * self.size


class Slotted:
    __slots__ = ("missing", "size")

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> int:
        return self.size


def holding(value: Any) -> Callable[[], Any]:
    return lambda: value


def nested(size: int, levels: int = 100) -> Any:
    """An object in an object in an object, and a number in the innermost."""
    found = Tool(size)
    for _ in range(levels):
        found = Tool(0, part=found)
    return found


def wrapping(function: Any) -> Any:
    def wrapper() -> None: ...

    wrapper.__wrapped__ = function  # type: ignore[attr-defined]
    return wrapper


def code(text: str, name: str = "f") -> Any:
    """A function that has no source."""
    found: dict[str, Any] = {"__name__": "nowhere"}
    exec(textwrap.dedent(text), found)
    return found[name]


# ----------------------------------------------------------------------------------------------------------
# What tells two objects apart
# ----------------------------------------------------------------------------------------------------------

PAIRS: dict[str, tuple[Any, Any]] = {
    "partial's function": (partial(one, 1), partial(two, 1)),
    "partial's argument": (partial(add, 1), partial(add, 2)),
    "partial's keyword": (partial(add, y=1), partial(add, y=2)),
    "partial in a partial": (partial(partial(add), 1), partial(partial(one), 1)),
    "method": (Tool(1).work, Tool(1).rest),
    "object of a method": (Tool(1).work, Tool(2).work),
    "object in an object": (Tool(1, part=Tool(2)).work, Tool(1, part=Tool(3)).work),
    "objects not too far inside": (nested(1, 3).work, nested(2, 3).work),
    "function in an object": (Tool(1, part=one).work, Tool(1, part=two).work),
    "class of a method": (Tool(1).rest, Larger(1).rest),
    "class method": (Tool.of_class, Tool.of_none),
    "object that can be called": (Called(1), Called(2)),
    "object with slots": (Slotted(1), Slotted(2)),
    "class": (Tool, Called),
    "builtin": (len, sum),
    "builtin type": (list, tuple),
    "builtin of a module": (operator.add, operator.sub),
    "getter": (operator.attrgetter("a"), operator.attrgetter("b")),
    "caller": (operator.methodcaller("a", x=1), operator.methodcaller("a", x=2)),
    "decorated by a library": (functools.lru_cache(one), functools.lru_cache(two)),
    "decorated or not": (functools.lru_cache(one), one),
    "what it says that it wraps": (wrapping(one), wrapping(two)),
    "value of a closure": (holding(1), holding(2)),
    "type of a value": (holding(1), holding(True)),
    "float and int": (holding(1), holding(1.0)),
    "zeros": (holding(0.0), holding(-0.0)),
    "list": (holding([1, 2]), holding([2, 1])),
    "list and tuple": (holding([1, 2]), holding((1, 2))),
    "dict": (holding({"a": {"b": 1}}), holding({"a": {"b": 2}})),
    "set": (holding({1, 2}), holding({1, 3})),
    "enum": (holding(Size.SMALL), holding(Size.LARGE)),
    "path": (holding(Path("a")), holding(Path("b"))),
    "bytes": (holding(b"a"), holding("a")),
    "function in a closure": (holding(one), holding(two)),
    "functions in a table": (holding({"a": one, "b": two}), holding({"a": two, "b": one})),
    "functions in a list": (holding([one, two]), holding([two, one])),
    "class in a closure": (holding(Tool), holding(Called)),
    "module in a closure": (holding(os), holding(sys)),
    "huge int": (holding(10**5000), holding(10**5000 + 1)),
    "no source": (code("def f(x):\n    return x + 1"), code("def f(x):\n    return x + 2")),
    "no source, name": (code("def f(x):\n    return x.a"), code("def f(x):\n    return x.b")),
    "no source, default": (code("def f(x=1): return x"), code("def f(x=2): return x")),
    "no source, helper": (
        code("def f(x): return g(x)\ndef g(x): return 1"),
        code("def f(x): return g(x)\ndef g(x): return 2"),
    ),
    "no source, constant": (code("def f(x): return g\ng = 1"), code("def f(x): return g\ng = 2")),
    "no source, inner function": (
        code("def f(x): return lambda: 1"),
        code("def f(x): return lambda: 2"),
    ),
    "no source, class": (
        code("class A:\n  def f(self): return 1\nf = A().f"),
        code("class A:\n  def f(self): return 2\nf = A().f"),
    ),
    "no source, exception": (
        code("def f(x):\n  try:\n    return g(x)\n  except ValueError:\n    return 1"),
        code("def f(x):\n  try:\n    return g(x)\n  except KeyError:\n    return 1"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_c02_what_differs_has_another_fingerprint(pair: tuple[Any, Any]) -> None:
    first, second = map(fingerprint, pair)
    assert first != second
    assert len(first) == 32
    assert int(first, 16) >= 0


SAME: dict[str, tuple[Any, Any]] = {
    "objects too far inside": (nested(1).work, nested(2).work),
    "closure": (holding([1, {"a": one}]), holding([1, {"a": one}])),
    "order of a dict": (holding({"a": 1, "b": 2}), holding({"b": 2, "a": 1})),
    "partial": (partial(add, y=1), partial(add, y=1)),
    "object": (Tool(1).work, Tool(1).work),
    "what a method does not use": (
        code("class A:\n  def f(self): return 1\nf = A().f"),
        code("\n\nclass A:\n  def f(self): return 1\nf = A().f"),
    ),
    "no source, place": (code("def f(x): return x"), code("# first\n\ndef f(x): return x")),
    "no source, docstring": (code("def f(x):\n  'a'\n  return x"), code("def f(x):\n  'b'\n  return x")),
    "no source, order of a set": (
        code("def f(x): return x in {'a', 'b', 'c'}"),
        code("def f(x): return x in {'c', 'b', 'a'}"),
    ),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_what_is_made_alike_has_the_same_fingerprint(pair: tuple[Any, Any]) -> None:
    assert fingerprint(pair[0]) == fingerprint(pair[1])
    prints = Fingerprints()
    assert prints.of(pair[0]) == prints.of(pair[1]) == fingerprint(pair[0])


def test_two_closures_that_hold_each_others_functions_are_told_apart() -> None:
    def pair(first: Any, second: Any) -> Callable[[], Any]:
        return lambda: first() - second()

    a, b = holding(one), holding(two)
    assert fingerprint(pair(a, b)) != fingerprint(pair(b, a))


# ----------------------------------------------------------------------------------------------------------
# What a run does to it
# ----------------------------------------------------------------------------------------------------------

SEEN: list[int] = []
COUNT = 0


def notes(x: int) -> int:
    global COUNT
    COUNT += 1
    SEEN.append(x)
    return x + COUNT


def test_what_a_step_notes_does_not_change_it() -> None:
    seen: list[int] = []
    counts = {"a": 0}
    total = 0

    def step(x: int) -> int:
        nonlocal total
        total += x
        seen.append(x)
        counts["a"] += 1
        return x

    def reader() -> int:
        return len(seen) + total

    tool = Tool(1)
    pair: list[Any] = [lambda x: SEEN.append(x), lambda x: SEEN.append(-x)]
    calls: tuple[Any, ...] = (notes, step, reader, tool.work, *pair)
    before = [fingerprint(call) for call in calls]
    notes(1)
    step(2)
    tool.work(3)
    _ = tool.cached
    assert [fingerprint(call) for call in calls] == before


def record(into: list[int], x: int) -> None:
    into.append(x)


def built(limit: int) -> tuple[Callable[[], Any], list[int]]:
    at = time.monotonic()
    seen: list[int] = []
    options = {"limit": limit}

    def step() -> Any:
        record(seen, 1)
        return at, seen, options

    return step, seen


class Timed:
    def __init__(self, size: int) -> None:
        self.at = time.monotonic()
        self.seen: list[int] = []
        self.size = size
        self.limit = 3

    def work(self) -> Any:
        record(self.seen, 1)
        return self.at, self.size, self.limit


def test_what_is_made_in_the_same_way_is_the_same_whatever_came_of_it() -> None:
    step, seen = built(1)
    before = fingerprint(step)
    step()
    assert seen
    assert fingerprint(step) == fingerprint(built(1)[0]) == before
    assert fingerprint(built(2)[0]) != before
    timed = Timed(1)
    before = fingerprint(timed.work)
    timed.work()
    assert fingerprint(timed.work) == fingerprint(Timed(1).work) == before
    assert fingerprint(Timed(2).work) != before
    timed.limit = 4
    assert fingerprint(timed.work) != before


def test_a_constant_that_somebody_has_set_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(limited)
    monkeypatch.setitem(globals(), "LIMIT", 4)
    assert fingerprint(limited) != before


LIMIT = 3


def limited(x: int) -> bool:
    return x > LIMIT


# ----------------------------------------------------------------------------------------------------------
# Nothing is too odd
# ----------------------------------------------------------------------------------------------------------


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __call__(self) -> None: ...

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Claims:
    """Says of itself whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any) -> Any:
        return self


def circular() -> Any:
    found: list[Any] = []
    found.append(found)
    return holding(found)


def unfilled(fills: bool = False) -> Any:
    def inner() -> Any:
        return later

    if fills:
        later = 1
    return inner


def deep(levels: int) -> Any:
    found: Any = None
    for _ in range(levels):
        found = [found]
    return found


ODD: dict[str, Any] = {
    "hostile": Hostile(),
    "hostile in a closure": holding(Hostile()),
    "hostile in a set": holding([Hostile()]),
    "claims": Claims(),
    "circle": circular(),
    "empty cell": unfilled(),
    "large": holding(list(range(100_000))),
    "large dict": holding(dict.fromkeys(range(100_000))),
    "deep": holding(deep(500)),
    "lone surrogate": holding("\ud800"),
    "file": holding(sys.stderr),
    "generator": holding(iter([1])),
    "bound to an object": MethodType(len, []),
    "bound to another class": MethodType(one, Tool(1)),
    "descriptor": str.join,
    "slot wrapper": object.__init__,
    "None": None,
    "number": 3,
    "lambda in a lambda": (lambda: lambda: 1)(),
    "long sum": code(f"def f():\n    return {'+'.join('x' * 1500)}"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_callables_have_one_and_raise_nothing(name: str) -> None:
    call = ODD[name]
    found = fingerprint(call)
    assert len(found) == 32
    assert fingerprint(call) == found


def test_a_source_that_is_too_deep_counts_too(tmp_path: Path) -> None:
    found = []
    for last in "xy":
        path = tmp_path / f"{last}.py"
        path.write_text(
            f"def f(x, y):\n    return g(x, y)\ndef g(x, y):\n    return {'+'.join('x' * 1500)} + {last}\n"
        )
        made: dict[str, Any] = {"__name__": "deep", "__file__": str(path)}
        exec(compile(path.read_text(), str(path), "exec"), made)
        found.append(fingerprint(made["f"]))
    assert found[0] != found[1]


def test_a_file_that_is_gone_or_no_python_counts_as_bytecode(tmp_path: Path) -> None:
    path = tmp_path / "steps.py"
    path.write_text("def f(x):\n    return x\n")
    made: dict[str, Any] = {"__name__": "steps"}
    exec(compile(path.read_text(), str(path), "exec"), made)
    path.write_text("def f(x:\n")
    broken = fingerprint(made["f"])
    path.unlink()
    assert fingerprint(made["f"]) == broken


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "steps.py"

    def made(text: str, time: int) -> Any:
        path.write_text(text)
        os.utime(path, (time, time))
        found: dict[str, Any] = {"__name__": "steps"}
        exec(compile(text, str(path), "exec"), found)
        return found["f"]

    first = fingerprint(made("def f(x):\n    return x+1\n", 1))
    second = fingerprint(made("def f(x):\n    return x+2\n", 2))
    assert first != second
    assert fingerprint(made("def f(x):\n    return x + 1\n", 3)) == first


@pytest.mark.parametrize(
    ("path", "is_theirs"),
    [
        ("/home/me/shop/steps.py", True),
        ("/home/me/.venv/lib/python3.11/site-packages/shop/steps.py", False),
        ("/usr/lib/python3/dist-packages/shop/steps.py", False),
        (os.__file__, False),
        (functools.__file__, False),
        ("<frozen importlib._bootstrap>", False),
        ("<stdin>", True),
        ("/tmp/ipykernel_1/2.py", True),
        (__file__, True),
        (sys.modules["penstock.core.fingerprint"].__file__, False),
        (str(Path(sys.modules["penstock"].__file__ or "").parents[1] / "penstock_shop.py"), True),
    ],
)
def test_what_belongs_to_the_project(path: str, is_theirs: bool) -> None:
    assert is_project(path) is is_theirs
