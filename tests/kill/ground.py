"""What the tests of failing stores share: a flow with all kinds of calls, and the ways to run it."""

from __future__ import annotations

import asyncio
import functools
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from penstock import Flow, RetryPolicy, RunOptions, each, gather, use
from penstock.core.context import Context
from penstock.core.errors import StoreError
from penstock.core.resume import story_of
from penstock.core.storage import Store

RUN = "run-1"
SAFETY = 20.0

LARGE = "x" * 1_100_000
"""A value that does not go into a row."""


class Counts:
    """How often each attempt has begun, by path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begun: list[str] = []

    def note(self, ctx: Context) -> None:
        with self._lock:
            self.begun.append(f"{ctx.path} {ctx.attempt}")

    def of(self, path: str) -> int:
        return sum(line.rpartition(" ")[0] == path for line in list(self.begun))


def small(counts: Counts, *, is_async: bool = False) -> Flow:
    """A chain, a map, a retry and a large value."""
    flow = Flow("small")

    def source(ctx: Context, n: int) -> list[int]:
        counts.note(ctx)
        return list(range(n))

    def item(ctx: Context, x: int) -> int:
        counts.note(ctx)
        return x + 1

    def shaky(ctx: Context, xs: list[int]) -> int:
        counts.note(ctx)
        if ctx.attempt == 1:
            raise ConnectionError("once")
        return sum(xs)

    def large(ctx: Context, x: int) -> str:
        counts.note(ctx)
        return LARGE

    def last(ctx: Context, text: str, x: int) -> dict[str, int]:
        counts.note(ctx)
        return {"length": len(text), "sum": x}

    def form(call: Callable[..., Any]) -> Callable[..., Any]:
        if not is_async:
            return call

        @functools.wraps(call)
        async def later(*args: Any, **more: Any) -> Any:
            await asyncio.sleep(0)
            return call(*args, **more)

        return later

    again = RetryPolicy(max_attempts=3, initial_delay=0.0, jitter="none")
    one: Any = flow.add(form(source), name="source")
    two: Any = flow.add(form(item), name="item", x=each(one))
    three: Any = flow.add(form(shaky), name="shaky", xs=gather(two), retry=again)
    four: Any = flow.add(form(large), name="large", x=use(three))
    flow.add(form(last), name="last", text=use(four), x=use(three))
    return flow


def _source(n: int) -> list[int]:
    return list(range(n))


def _item(x: int) -> int:
    return x + 1


def _large(xs: list[int]) -> str:
    return LARGE


def _last(text: str, xs: list[int]) -> dict[str, int]:
    return {"length": len(text), "sum": sum(xs)}


def far() -> Flow:
    """The same, but for what cannot travel to a process."""
    flow = Flow("far")
    source = flow.add(_source, name="source")
    item = flow.add(_item, name="item", x=each(source))
    large = flow.add(_large, name="large", xs=gather(item))
    flow.add(_last, name="last", text=use(large), xs=gather(item))
    return flow


EXPECTED = {"last": {"length": len(LARGE), "sum": 6}}
INPUTS: dict[str, Any] = {"n": 3}


def by_run(flow: Flow, store: Store, **more: Any) -> Any:
    return flow.run(store=store, run_id=RUN, **INPUTS, **more)


def by_arun(flow: Flow, store: Store, **more: Any) -> Any:
    async def main() -> Any:
        return await asyncio.wait_for(flow.arun(store=store, run_id=RUN, **INPUTS, **more), SAFETY)

    return asyncio.run(main())


def by_start(flow: Flow, store: Store, **more: Any) -> Any:
    return flow.start(store=store, run_id=RUN, **INPUTS, **more).result(timeout=SAFETY)


def by_arun_at_power(flow: Flow, store: Store, **more: Any) -> Any:
    return by_arun(flow, store, options=RunOptions(durability="power"), **more)


WAYS: dict[str, Callable[..., Any]] = {
    "run": by_run,
    "arun": by_arun,
    "arun-power": by_arun_at_power,  # commits are made in another thread
    "start": by_start,
}


def kinds() -> Iterator[tuple[str, Any]]:
    """Words of a fault, and what makes it of a store."""
    from penstock.testing.faults_store import busy, full, unreadable

    yield "full", {"error": full}
    yield "busy", {"error": busy}
    yield "io", {"error": unreadable}
    yield "lost", {"error": unreadable, "late": True}


KINDS = dict(kinds())


def succeeded(store: Store) -> set[str]:
    """The paths that the journal says have succeeded; none if there is no such run."""
    from penstock.core.entries import path_of

    entry = store.find(RUN)
    if entry is None:
        return set()
    return {str(path_of(one[1])) for one in story_of(store, entry).entries if one[0] == "ok"}


def starts(store: Store) -> dict[str, int]:
    """How many starts of each path are in the journal."""
    from penstock.core.entries import path_of

    entry, found = store.find(RUN), dict[str, int]()
    if entry is not None:
        for one in story_of(store, entry).entries:
            if one[0] == "start":
                path = str(path_of(one[1]))
                found[path] = found.get(path, 0) + 1
    return found


def check_note(error: BaseException) -> None:
    """Whether an error that has cut a run off says how it goes on."""
    if {"prepared", "begin"} & {entry.name for entry in traceback.extract_tb(error.__traceback__)}:
        return  # it had not begun: no step had run
    notes = "\n".join(getattr(error, "__notes__", ()))
    assert isinstance(error, StoreError), error
    assert f"penstock resume {RUN}" in notes, f"no line that resumes: {error!r} {notes!r}"
