"""What a call hands back: a value, what it has written, or something that should have been awaited."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import warnings
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from penstock.core import returned
from penstock.core.returned import UNUSUAL, Written, refuse_awaitable, taken_apart

FORGOTTEN = r"the step returned a coroutine, not its result; did you forget await\?"


async def later() -> int:
    return 1


class TestTakenApart:
    def test_the_value_and_the_writes_as_they_are(self):
        value, writes = [1], {"a": [2]}
        found = taken_apart(Written(value, writes))
        assert found.value is value
        assert found.writes is writes

    @pytest.mark.parametrize("value", [None, 0, "", (), (1, {}), [later], {"a": 1}, Exception("x")])
    def test_any_value_will_do(self, value):
        assert taken_apart(Written(value, {})) == (value, {})

    @pytest.mark.parametrize(
        "writes",
        [
            MappingProxyType({"a": 1}),
            UserDict({"a": 1}),
            OrderedDict(a=1),
            ChainMap({"a": 1}, {"a": 2}),
        ],
        ids=lambda writes: type(writes).__name__,
    )
    def test_a_mapping_of_another_kind_becomes_a_dict(self, writes):
        """The machine folds it, and asks nothing of a class of the user's."""
        value, found = taken_apart(Written("v", writes))
        assert (value, found) == ("v", {"a": 1})
        assert type(found) is dict

    @pytest.mark.parametrize("writes", [None, 1, "ab", [("a", 1)], {"a"}, iter({"a": 1}.items()), dict])
    def test_writes_are_a_mapping(self, writes):
        with pytest.raises(TypeError, match=r"the writes of a step are a mapping, not (an? \w+|None)$"):
            taken_apart(Written("v", writes))

    def test_what_a_mapping_raises_is_raised_here(self):
        class Breaks(Mapping[str, int]):
            def __getitem__(self, key: str) -> int:
                raise LookupError("the text")

            def __iter__(self) -> Iterator[str]:
                return iter("a")

            def __len__(self) -> int:
                return 1

        with pytest.raises(LookupError, match="the text"):
            taken_apart(Written("v", Breaks()))

    def test_d16_a_coroutine_is_refused_and_closed(self):
        coroutine = later()
        with pytest.raises(TypeError, match=FORGOTTEN):
            taken_apart(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    def test_d16_one_beside_writes_too(self):
        coroutine = later()
        with pytest.raises(TypeError, match=FORGOTTEN):
            taken_apart(Written(coroutine, {"a": 1}))
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    def test_d16_python_has_nothing_to_add(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for value in (later(), Written(later(), {})):
                with pytest.raises(TypeError):
                    taken_apart(value)
            del value
            gc.collect()
        assert caught == []

    def test_a_written_inside_a_written_is_told_apart_from_a_forgotten_await(self):
        with pytest.raises(TypeError, match="a Written inside a Written") as caught:
            taken_apart(Written(Written(1, {"a": 1}), {"b": 2}))
        assert "await" not in str(caught.value)


class TestUnusual:
    def test_whoever_returns_something_usual_is_not_looked_at(self):
        usual: list[Any] = [None, 1, "a", (1, {}), [], {}, object(), later, Written]
        assert not {type(value) for value in usual} & UNUSUAL
        assert type(Written(1, {})) in UNUSUAL

    def test_d16_the_loops_own_types_are_added_by_what_runs_on_it(self, monkeypatch):
        monkeypatch.setattr(returned, "UNUSUAL", {*UNUSUAL, asyncio.Future})
        loop = asyncio.new_event_loop()
        try:
            future = loop.create_future()
            for value in (future, Written(future, {})):
                with pytest.raises(TypeError, match=r"returned a Future, .* forget await\?"):
                    taken_apart(value)
        finally:
            loop.close()

    def test_d16_what_has_no_close_is_refused_all_the_same(self):
        class Awaitable:
            pass

        with pytest.raises(TypeError, match="the step returned an Awaitable, not its result"):
            refuse_awaitable(Awaitable())


class TestWritten:
    def test_it_travels(self):
        assert pickle.loads(pickle.dumps(Written([1], {"a": 1}))) == Written([1], {"a": 1})
        assert type(pickle.loads(pickle.dumps(Written(1, {})))) is Written

    def test_a_plain_pair_is_a_value(self):
        assert type((1, {"a": 1})) not in UNUSUAL
