"""A run and its store before it begins: what is claimed is given back, whatever goes wrong."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest

from penstock.core.errors import GraphChanged, InputError, RunExists, StoreDamaged, StoreFull
from penstock.core.keeping import check_run_id, types_in
from penstock.core.model import RunOptions
from penstock.flow import Flow, use
from tests.resume.mortal import MortalStore
from tests.resume.tools import BAD, CALLS, called, cut, does, fix, go


@pytest.fixture
def store():
    CALLS.clear()
    BAD.clear()
    yield MortalStore()
    BAD.clear()


def flow() -> Flow:
    made = Flow("flow")

    @made.step
    def a(n: int = 1) -> int:
        return does("a", n)

    @made.step
    def b(a: int) -> int:
        return does("b", a)

    return made


@pytest.mark.parametrize("good", ["r", "2026-01-01 run", "a/b:c", "é", "x" * 200])
def test_ids(good):
    assert check_run_id(good) == good


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"n": 2}, RunExists),
        ({"nn": 2}, InputError),
        ({"targets": ["a"]}, InputError),
        ({"override": {"a": 5}}, InputError),
        ({"options": RunOptions(rerun=["nothing"])}, InputError),
        ({"options": "fast"}, InputError),
        ({"runner": "nowhere"}, InputError),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_a_resume_that_is_refused_leaves_the_run_as_it_was(store, wrong, error):
    cut(flow(), store, '["start","b"')
    rows, before = list(store.rows("r")), store.find("r").owner
    with pytest.raises(error):
        go(flow(), store, **wrong)
    assert list(store.rows("r")) == rows
    assert store.find("r").owner in (None, before), "given back, or never taken"
    assert go(flow(), store)["b"] == 1


def test_one_that_the_code_does_not_allow_does_too(store):
    cut(flow(), store, '["start","b"')
    other = Flow("flow")

    @other.step
    def a(n: int = 1) -> int:
        return does("a", n + 5)

    @other.step
    def b(a: int) -> int:
        return does("b", a)

    with pytest.raises(GraphChanged):
        go(other, store)
    assert store.find("r").owner is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows.__setitem__(0, "[]"),
        lambda rows: rows.__setitem__(0, '[["ok","a",1]]'),
        lambda rows: rows.__setitem__(1, "{"),
        lambda rows: rows.__setitem__(1, '{"a":1}'),
        lambda rows: rows.__setitem__(1, "[" * 100_000),
        lambda rows: rows.__setitem__(1, '[["nonsense","a"]]'),
        lambda rows: rows.__setitem__(1, '[["start","a"]]'),
        lambda rows: rows.__setitem__(1, '[["start"]]'),
        lambda rows: rows.__setitem__(1, '[["ok",3,1,1,1.0,1.0]]'),
        lambda rows: rows.__setitem__(1, '[["skip","a","nonsense",null]]'),
        lambda rows: rows.__setitem__(1, '[["again",1.0]]'),
    ],
)
def test_a_journal_that_is_not_what_was_written_is_a_typed_error(store, damage):
    cut(flow(), store, '["start","b"')
    damage(store._rows["r"])
    with pytest.raises((StoreDamaged, GraphChanged)):
        go(flow(), store)
    assert store.find("r").owner is None
    assert called() == ["a"]


def test_an_end_that_is_missing_is_noticed(store):
    BAD.add("b")
    go(flow(), store)
    fix()
    store._rows["r"].pop()
    with pytest.raises(StoreDamaged, match="its end is missing"):
        go(flow(), store)


def test_an_end_that_does_not_count_right_is_noticed(store):
    BAD.add("b")
    go(flow(), store)
    del store._rows["r"][2]
    with pytest.raises(StoreDamaged, match="it ends in row"):
        go(flow(), store)


def test_a_store_that_fails_cuts_the_run_off_with_the_line_that_resumes_it(store):
    append = store.append

    def full(claim: Any, page: Any) -> None:
        if '["ok","a"' in page.rows[0]:
            raise StoreFull("no space left")
        append(claim, page)

    store.append = full
    with pytest.raises(StoreFull) as caught:
        go(flow(), store)
    assert any("penstock resume r" in note for note in caught.value.__notes__)
    assert store.find("r").owner is None, "and whoever wants may go on with it"
    store.append = append
    assert go(flow(), store)["b"] == 1


def test_a_store_that_fails_at_the_very_first_call_leaves_nothing(store):
    def full(*_: Any) -> Any:
        raise StoreFull("no space left")

    store.create = full
    with pytest.raises(StoreFull):
        go(flow(), store)
    assert store.runs() == []
    assert called() == []


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Line:
    points: list[Point]


def test_the_classes_that_annotations_lead_to_are_known():
    made = Flow("classes")

    @made.step
    def a(start: Point) -> Line:
        return Line([start])

    made.add(partial(_late), name="c", line=use(a))
    assert {Point, Line} <= types_in(made.graph())


def _late(line: Line | None) -> None:
    return None


def test_they_come_back_as_they_were(store):
    made = Flow("classes")

    @made.step
    def a() -> Line:
        return does("a", Line([Point(1)]))

    @made.step
    def b(a: Line) -> str:
        return does("b", repr(a))

    cut(made, store, '["start","b"')
    assert go(made, store)["b"] == "Line(points=[Point(x=1)])"
