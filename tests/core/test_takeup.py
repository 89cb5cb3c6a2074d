"""Taking a run up again: its id, what it was given then and now, and values that cannot be had."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from penstock import Secret
from penstock.core.errors import CannotDecode, InputError, RunBusy, RunExists
from penstock.core.model import RetryPolicy, RunOptions, RunStatus
from penstock.flow import Flow, use
from tests.resume.mortal import MortalStore
from tests.resume.tools import BAD, CALLS, called, cut, does, go


@pytest.fixture
def store():
    CALLS.clear()
    BAD.clear()
    yield MortalStore()
    BAD.clear()


def flow(name: str = "flow") -> Flow:
    made = Flow(name)

    @made.step
    def a(n: int) -> int:
        return does("a", n)

    @made.step
    def b(a: int, word: str = "x") -> str:
        return does("b", word * a)

    return made


class TestIds:
    def test_no_id_is_a_new_run_every_time(self, store):
        ids = {flow().run(store=store, n=1).run_id for _ in range(3)}
        assert len(ids) == 3
        assert {entry.run_id for entry in store.runs()} == ids

    def test_a_new_id_is_a_new_run_of_that_id(self, store):
        assert go(flow(), store, n=1).run_id == "r"
        assert store.find("r").status == "succeeded"

    def test_a_run_that_has_succeeded_gives_what_was_recorded(self, store):
        first = go(flow(), store, n=2)
        called()
        again = go(flow(), store, n=2)
        assert called() == []
        assert again.status is RunStatus.SUCCEEDED
        assert again["b"] == first["b"] == "xx"
        assert again.nodes["a"].duration == first.nodes["a"].duration
        assert store.find("r").rows == store.length("r"), "nothing was added"

    @pytest.mark.parametrize("bad", ["", " ", "\t", " r", "r ", "a\nb", "x" * 300])
    def test_j27_blank_ids_are_refused(self, store, bad):
        with pytest.raises(InputError, match="run_id"):
            flow().run(store=store, run_id=bad, n=1)
        assert store.runs() == []

    @pytest.mark.parametrize("bad", [1, b"r", ["r"]])
    def test_j27_ids_that_are_no_text_are_refused(self, store, bad):
        with pytest.raises(InputError, match="run_id is a text"):
            flow().run(store=store, run_id=bad, n=1)

    def test_an_id_without_a_store(self):
        with pytest.raises(InputError, match="store="):
            flow().run(run_id="r", n=1)

    def test_j28_other_inputs(self, store):
        go(flow(), store, n=1)
        with pytest.raises(RunExists, match=r"n is 2, and was 1"):
            go(flow(), store, n=2)

    def test_j28_of_a_run_that_was_cut_off(self, store):
        cut(flow(), store, '["start","b"', n=1)
        with pytest.raises(RunExists, match="n is 2"):
            go(flow(), store, n=2)
        assert store.find("r").owner is None
        assert go(flow(), store, n=1)["b"] == "x"

    def test_j28_another_flow(self, store):
        go(flow(), store, n=1)
        with pytest.raises(RunExists, match="flow 'flow', not of 'other'"):
            go(flow("other"), store, n=1)

    def test_other_targets_or_overrides(self, store):
        cut(flow(), store, '["start","b"', n=1, override={"a": 3})
        with pytest.raises(InputError, match="targets"):
            go(flow(), store, n=1, targets=["a"])
        with pytest.raises(InputError, match="override"):
            go(flow(), store, n=1, override={"a": 4})
        with pytest.raises(InputError, match="override"):
            go(flow(), store, n=1, override={})
        assert go(flow(), store, n=1, override={"a": 3})["b"] == "xxx"

    def test_a_run_that_goes_on_elsewhere(self, store):
        made, entered, leave = Flow("busy"), ENTERED, LEAVE
        entered.clear()
        leave.clear()

        @made.step
        def a() -> int:
            ENTERED.set()
            LEAVE.wait(10)
            return 1

        handle = made.start(store=store, run_id="r")
        try:
            assert ENTERED.wait(10)
            with pytest.raises(RunBusy, match="drives run 'r'"):
                go(made, store)
        finally:
            LEAVE.set()
        assert handle.result(10).status is RunStatus.SUCCEEDED


ENTERED, LEAVE = threading.Event(), threading.Event()


class TestInputs:
    def test_what_is_not_given_again_is_what_was_given(self, store):
        cut(flow(), store, '["start","b"', n=2, word="y")
        assert go(flow(), store)["b"] == "yy"

    def test_a_default_that_changed_does_not_change_a_run(self, store):
        def made(word: str) -> Flow:
            new = Flow("defaults")

            @new.step
            def a() -> int:
                return does("a", 2)

            def b(a: int, word: str = word) -> str:
                return does("b", word * a)

            new.add(b, name="b", a=use(a))
            return new

        cut(made("old"), store, '["start","b"')
        assert go(made("new"), store)["b"] == "oldold"

    def test_one_that_is_not_an_input_any_more_is_no_matter(self, store):
        cut(flow(), store, '["start","b"', n=2, word="y")
        made = Flow("flow")

        @made.step
        def a(n: int) -> int:
            return does("a", n)

        made.add(_b, name="b", a=use(a))
        assert go(made, store)["b"] == "zz"

    def test_what_cannot_be_stored(self, store):
        made = Flow("inputs")

        @made.step
        def a(thing: Any) -> int:
            return does("a", 1)

        with pytest.raises(InputError, match="the input 'thing' cannot be stored"):
            go(made, store, thing=object())
        assert store.find("r") is None
        assert called() == []

    def test_secrets_are_not_stored_and_are_named(self, store):
        made = Flow("secret")

        @made.step
        def a(key: Secret[str]) -> int:
            return does("a", len(key.reveal()))

        @made.step
        def b(a: int, key: Secret[str]) -> str:
            return does("b", key.reveal() * a)

        cut(made, store, '["start","b"', key=Secret("ab"))
        assert not any('"ab"' in row for row in store.rows("r"))
        with pytest.raises(InputError, match="key"):
            go(made, store)
        assert store.find("r").owner is None
        assert go(made, store, key=Secret("ab"))["b"] == "abab"


def _b(a: int) -> str:
    return does("b", "z" * a)


@dataclasses.dataclass
class Point:
    x: int


class TestValues:
    def test_d15_a_class_that_is_not_known_any_more(self, store):
        def made(annotated: bool) -> Flow:
            new = Flow("classes")
            new.add(_point if annotated else _other, name="a")
            new.add(_x if annotated else _other_x, name="b", a=use(new.steps["a"]))
            return new

        cut(made(True), store, '["start","b"')
        rows = list(store.rows("r"))
        with pytest.raises(CannotDecode, match="Point"):
            go(made(False), store, options=RunOptions(on_change="keep"))
        assert list(store.rows("r")) == rows, "the data is kept"
        assert store.find("r").owner is None
        assert go(made(True), store)["b"] == 3

    def test_what_cannot_be_stored_fails_the_step_and_is_not_tried_again(self, store):
        made = Flow("values")

        @made.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.001))
        def a() -> Any:
            return does("a", {"rows": [1, {"conn": object()}]})

        result = go(made, store)
        failure = result.nodes["a"].failure
        assert failure is not None
        assert failure.kind == "not_storable"
        assert "$.rows[1].conn" in failure.text
        assert called() == ["a"]

    def test_nor_an_element_of_a_stream(self, store):
        from collections.abc import Iterator

        from penstock.flow import each

        made = Flow("elements")

        @made.step(runner="inline")
        def a() -> Iterator[Any]:
            yield 1
            yield object()

        @made.step
        def b(x: Any = each(a)) -> Any:
            return does("b", x)

        result = go(made, store, options=RunOptions("continue"))
        failure = result.nodes["a"].failure
        assert failure is not None
        assert failure.kind == "not_storable"

    def test_d05_what_is_changed_later_is_stored_as_it_was(self, store):
        made = Flow("later")

        @made.step
        def a() -> list[int]:
            return does("a", KEPT)

        @made.step
        def b(a: list[int]) -> int:
            KEPT.append(99)
            return does("b", 1)

        KEPT[:] = [1]
        go(made, store)
        assert any('["ok","a",1,[1],' in row for row in store.rows("r"))

    def test_d06_a_resumed_run_sees_equal_values_of_the_same_types(self, store):
        import datetime as dt
        import decimal

        value = ((1, 2), {1: "a", "1": "b"}, dt.datetime(2026, 1, 2, tzinfo=dt.UTC), decimal.Decimal("1.10"))
        made = Flow("types")
        made.add(_values, name="a")

        @made.step
        def b(a: Any = use(made.steps["a"])) -> str:
            return does("b", repr(a))

        cut(made, store, '["start","b"')
        assert go(made, store)["b"] == repr(value)


KEPT: list[int] = [1]


def _values() -> Any:
    import datetime as dt
    import decimal

    return ((1, 2), {1: "a", "1": "b"}, dt.datetime(2026, 1, 2, tzinfo=dt.UTC), decimal.Decimal("1.10"))


def _point() -> Point:
    return does("a", Point(3))


def _other() -> Any:
    return does("a", 3)


def _x(a: Point) -> int:
    return does("b", a.x)


def _other_x(a: Any) -> int:
    return does("b", a)


class TestOptions:
    def test_they_are_those_of_the_run_unless_others_are_given(self, store):
        made = flow()
        cut(made, store, '["start","b"', n=1, options=RunOptions(on_failure="continue", tags={"who": "me"}))
        go(made, store, n=1)
        assert store.find("r").tags == {"who": "me"}

    def test_rerun_of_a_new_run_is_refused(self, store):
        with pytest.raises(InputError, match="rerun"):
            go(flow(), store, n=1, options=RunOptions(rerun=["a"]))

    def test_durability_is_the_level_of_each_commit(self, store):
        levels: list[str] = []
        append = store.append

        def noting(claim: Any, page: Any) -> None:
            levels.append(page.level)
            append(claim, page)

        store.append = noting
        go(flow(), store, n=1, options=RunOptions(durability="power"))
        assert set(levels) == {"power"}
        levels.clear()
        flow().run(store=store, run_id="s", n=1)
        assert set(levels[:-1]) == {"process"}
        assert levels[-1] == "power", "the end of a run always survives"
