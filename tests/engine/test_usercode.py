"""Conditions and keys: each is called in a copy of the caller's context, in which it is in its run."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.context import CURRENT
from penstock.flow import Flow, each, outcome

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.mark.parametrize("kind", ["when", "async when", "trigger", "key", "key of a stream"])
@pytest.mark.parametrize("runner", ["threads", "aio"])
def test_s24_what_a_condition_or_a_key_sets_is_seen_by_nobody_else(kind, runner):
    seen: list[Any] = []

    def look() -> None:
        link = CURRENT.get()
        seen.append((VARIABLE.get(), link is not None and link.run_id))
        VARIABLE.set("set")

    def ask() -> bool:
        look()
        return True

    async def ask_later() -> bool:
        return ask()

    def judge(a: Any) -> bool:
        return ask()

    def key(element: int) -> int:
        look()
        return element

    def stream() -> Iterator[int]:
        yield 1
        yield 2

    async def nothing() -> None:
        pass

    flow = Flow("flow")
    step: Any = nothing if runner == "aio" else lambda: None
    if kind.startswith("key"):
        flow.add((lambda: [1]) if kind == "key" else stream, name="a")
        flow.add(lambda n: None, name="b", n=each(flow.steps["a"], key=key))
        flow.add(lambda n: None, name="c", n=each(flow.steps["a"], key=key))
        if runner == "aio":
            flow.add(nothing, name="d")
    elif kind == "trigger":
        flow.add(step, name="a")
        for name in "bc":
            flow.add(lambda a: None, name=name, a=outcome(flow.steps["a"]), trigger=judge)
    else:
        for name in "bc":
            flow.add(step, name=name, when=ask_later if kind == "async when" else ask)
    token = VARIABLE.set("the caller's")
    try:
        result = flow.run()
        assert VARIABLE.get() == "the caller's"
    finally:
        VARIABLE.reset(token)
    assert result.status.value == "succeeded"
    assert len(seen) >= 2
    assert set(seen) == {("the caller's", result.run_id)}
