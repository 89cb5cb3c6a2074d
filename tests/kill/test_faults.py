"""A store that fails at the N-th call, for all N: once, or from then on."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Flow, use, wiring
from penstock.core import recorder
from penstock.core.context import Context
from penstock.core.errors import RunBusy, RunExists, StoreBusy, StoreError, StoreFull
from penstock.core.model import RunStatus
from penstock.core.ports import Pool
from penstock.core.storage import Store
from penstock.stores.memory import MemoryStore
from penstock.stores.sqlite import SqliteStore
from penstock.testing.faults_store import FaultyStore, full
from penstock.testing.leaks import Leaks
from tests.kill.ground import (
    EXPECTED,
    KINDS,
    RUN,
    SAFETY,
    WAYS,
    Counts,
    check_note,
    far,
    small,
    starts,
    succeeded,
)

RUNNERS = ("inline", "threads", "aio")
MOST = 300
"""More calls than a run makes."""


class Lasting(MemoryStore):
    """In memory, and says that it is not."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.url = f"memory:{id(self)}-{os.urandom(4).hex()}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(recorder, "PATIENCE", (0.0, 0.0, 0.0, 0.0))


def begin(way: str, runner: Any, store: Store, counts: Counts, **more: Any) -> Any:
    if isinstance(runner, Pool):
        return WAYS[way](far(), store, runner=runner, **more)
    flow = small(counts, is_async=runner == "aio")
    return WAYS[way](flow, store, runner=None if runner == "aio" else runner, **more)


def tried(call: Callable[[], Any]) -> tuple[Any, StoreError | None]:
    """What a call has given, or how the store has failed."""
    try:
        return call(), None
    except StoreError as error:
        return None, error


def check_whole(inner: MemoryStore, counts: Counts, done: set[str], before: list[str]) -> None:
    """What must hold of a run that has gone on after a fault."""
    for path, times in starts(inner).items():
        assert times == 1 or path not in done or path == "shaky", f"{path} had succeeded, and began again"
    for path in done:
        again = [line for line in counts.begun[len(before) :] if line.rpartition(" ")[0] == path]
        assert not again, f"{path} had succeeded, and began again"
    entry = inner.find(RUN)
    assert entry is not None
    assert (entry.status, entry.owner) == ("succeeded", None)
    assert entry.rows == len(list(inner.rows(RUN)))


def mend(store: FaultyStore, inner: MemoryStore) -> None:
    """The store works again. A claim of which nobody has ever heard is over when its time is."""
    store.mend()
    entry = inner.find(RUN)
    if entry is not None and store.failed[0] in ("create", "claim"):
        inner._runs[RUN] = entry._replace(expires=0.0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("kind", ["busy", "io", "lost"])
def test_j08_j31_what_passes_is_tried_again(kind, runner, way):
    whole = MemoryStore()
    begin(way, runner, FaultyStore(whole), Counts())
    for at in range(1, MOST):
        inner, counts, leaks = Lasting(), Counts(), Leaks()
        store = FaultyStore(inner, at=at, **KINDS[kind])
        result = begin(way, runner, store, counts)
        if not store.failed:
            break
        assert result.outputs == EXPECTED, (at, store.failed, result)
        assert len(counts.begun) == len(set(counts.begun)), (at, store.failed)
        check_whole(inner, counts, set(), [])
        assert succeeded(inner) == succeeded(whole), (at, store.failed)
        assert leaks.found() == [], (at, store.failed)
    else:
        raise AssertionError("a run makes more calls than that")
    assert at > 8


def stay(way: str, runner: Any, kind: str, step: int = 1, times: int | None = None) -> int:
    """Lets a store fail for good from each of its calls on, and then lets the run go on; gives how often."""
    for at in range(1, MOST, step):
        inner, counts, leaks = Lasting(), Counts(), Leaks()
        store = FaultyStore(inner, at=at, times=times, **KINDS[kind])
        result, error = tried(lambda: begin(way, runner, store, counts))  # noqa: B023
        if error is None:  # it was over: only that could not be done which is not missed
            assert set(store.failed) <= {"release", "letters"}, (at, store.failed, result)
            return at // step
        wanted: dict[str, type[StoreError]] = {"full": StoreFull, "busy": StoreBusy}
        assert isinstance(error, wanted.get(kind, StoreError)), (at, store.failed[0], error)
        check_note(error)
        assert isinstance(runner, Pool) or leaks.found() == [], (at, store.failed)
        done, before = succeeded(inner), list(counts.begun)
        mend(store, inner)
        result = begin(way, runner, store, counts)
        assert result.outputs == EXPECTED, (at, store.failed[0], result)
        check_whole(inner, counts, done, before)
        assert isinstance(runner, Pool) or leaks.found() == [], (at, store.failed)
    raise AssertionError("a run makes more calls than that")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("kind", KINDS)
def test_j07_j08_what_stays_ends_the_run_and_it_goes_on_later(kind, runner, way):
    assert stay(way, runner, kind) > 8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("runner", RUNNERS)
def test_j07_what_is_full_once_ends_the_run_too(runner, way):
    """It is not tried again; and no step is to blame for it."""
    assert stay(way, runner, "full", times=1) > 8


@pytest.mark.parametrize("way", ["run", "arun-power"])
def test_j07_the_same_with_steps_in_processes(way):
    leaks = Leaks()
    with wiring.processes(2) as pool:
        assert stay(way, pool, "full", step=2) > 3
    assert leaks.found() == []


class FullWithLarge(FaultyStore):
    """Takes nothing any more once the step of that name has succeeded, in however few commits that was."""

    def _strikes(self, name: str) -> bool:
        return name == "append" and "large" in succeeded(self._store)


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_j07_j31_a_store_that_fails_while_a_run_goes_on(kind, times):
    """The same of a run that goes on: it is found, claimed and read, large values and all."""
    for at in range(1, MOST):
        inner, counts = Lasting(), Counts()
        first = FullWithLarge(inner, error=full)
        with pytest.raises(StoreFull):
            begin("run", "inline", first, counts)
        done, before = succeeded(inner), list(counts.begun)
        assert "large" in done
        store = FaultyStore(inner, at=at, times=times, **KINDS[kind])
        result, error = tried(lambda: begin("run", "inline", store, counts))  # noqa: B023
        if error is not None:
            check_note(error)
            assert times is None or kind == "full", (at, store.failed, error)
            mend(store, inner)
            result = begin("run", "inline", store, counts)
        assert result.outputs == EXPECTED
        check_whole(inner, counts, done, before)
        if not store.failed:
            break
    else:
        raise AssertionError("a run makes more calls than that")
    assert at > 6
    assert "get" in store.calls


def gated() -> Flow:
    flow = Flow("gated")

    @flow.step
    def before() -> int:
        return 1

    ok = flow.gate("ok", prompt="Well?", x=use(before))

    @flow.step
    def after(ok: bool = use(ok), x: int = use(before)) -> list[object]:
        return [ok, x]

    return flow


def by_gates(way: str, store: Store, inner: Store) -> Any:
    """Lets a run wait, answers, and lets it go on."""
    call: Callable[..., Any] = functools.partial(WAYS[way], gated())
    result = call(store)
    if result.status is RunStatus.WAITING:
        if not any(letter.node == "ok" for letter in inner.letters(RUN)):
            inner.post(RUN, "answer", "ok", "true")
        result = call(store)
    return result


@pytest.fixture
def without_inputs(monkeypatch):
    monkeypatch.setattr("tests.kill.ground.INPUTS", {})


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("way", ["run", "arun", "start"])
@pytest.mark.parametrize("kind", KINDS)
def test_j07_j08_j31_a_store_that_fails_around_a_gate(kind, way, times, without_inputs):
    for at in range(1, MOST):
        inner, leaks = Lasting(), Leaks()
        only = ("create", "append", "find", "claim", "rows", "letters")
        store = FaultyStore(inner, at=at, times=times, only=only, **KINDS[kind])
        result, error = tried(lambda: by_gates(way, store, inner))  # noqa: B023
        if error is not None:
            assert times is None or kind == "full", (at, store.failed, error)
            check_note(error)
            assert leaks.found() == [], (at, store.failed)
            mend(store, inner)
            result = by_gates(way, store, inner)
        assert result.outputs == {"after": [True, 1]}, (at, store.failed, result)
        entry = inner.find(RUN)
        assert entry is not None
        assert entry.status == "succeeded"
        if not store.failed:
            break
    else:
        raise AssertionError("a run makes more calls than that")
    assert at > 8


@pytest.mark.parametrize("way", ["run", "arun", "start"])
def test_an_answer_that_comes_while_a_run_goes_on_is_not_put_down_with_it(way, without_inputs):
    store, flow = Lasting(), Flow("quick")

    @flow.step
    def before() -> int:
        return store.post(RUN, "answer", "ok", "true")

    ok = flow.gate("ok", x=use(before))

    @flow.step
    def after(ok: bool = use(ok)) -> bool:
        return ok

    assert WAYS[way](flow, store).outputs == {"after": True}
    assert store.letters(RUN) == []


def test_j31_a_lost_answer_is_no_reason_to_take_the_run_of_another():
    inner = MemoryStore()
    flow = small(Counts())
    flow.run(store=inner, run_id=RUN, n=3)
    entry = inner.find(RUN)
    assert entry is not None
    inner._runs[RUN] = entry._replace(status="running", owner=entry.owner or _other(), expires=1e12)
    for only in ("find", "claim"):
        store = FaultyStore(inner, at=1, only=(only,))
        with pytest.raises(RunBusy):
            flow.run(store=store, run_id=RUN, n=3)


def test_j31_a_run_that_is_there_already_is_not_ours(monkeypatch):
    """Between our look and our writing somebody has made a run of this id; and our first try was lost."""
    inner = MemoryStore()
    flow = small(Counts())
    store = FaultyStore(inner, at=1, only=("create",))
    find = store.find

    def blind(run_id: str) -> Any:
        monkeypatch.setattr(store, "find", find)
        flow.run(store=inner, run_id=RUN, n=2)
        return None

    monkeypatch.setattr(store, "find", blind)
    with pytest.raises(RunExists):
        flow.run(store=store, run_id=RUN, n=3)


def _other() -> Any:
    from penstock.core.owners import here

    return here()._replace(host="elsewhere")


@pytest.mark.parametrize("runner", ["threads", "aio"])
def test_j07_what_runs_is_told_to_stop_when_nothing_can_be_recorded(runner):
    """One step ends, and that cannot be recorded; another one runs until it is told to stop."""
    stopped, begun = threading.Event(), threading.Event()
    flow = Flow("two")

    def one(ctx: Context) -> int:
        assert begun.wait(SAFETY)
        return 1

    def long(ctx: Context) -> int:
        begun.set()
        pause = threading.Event()
        for _ in range(int(SAFETY * 100)):
            if ctx.cancelled:
                stopped.set()
                break
            pause.wait(0.01)
        return 2

    async def one_async(ctx: Context) -> int:
        while not begun.is_set():
            await asyncio.sleep(0.001)
        return 1

    async def long_async(ctx: Context) -> int:
        begun.set()
        try:
            await asyncio.sleep(SAFETY)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return 2

    flow.add(one if runner == "threads" else one_async, name="one")
    flow.add(long if runner == "threads" else long_async, name="long")
    leaks = Leaks()
    # the first page says that they start
    store = FaultyStore(MemoryStore(), at=2, times=None, error=full, only=("append",))
    with pytest.raises(StoreFull):
        flow.run(store=store, run_id=RUN, runner=runner if runner == "threads" else None)
    assert stopped.wait(SAFETY)
    assert leaks.found() == []


def real(store: SqliteStore) -> Any:
    """What writes to the file of a store."""
    database: Any = store._database
    return database.writer


@pytest.mark.parametrize("runner", RUNNERS)
def test_j07_a_full_disk_at_growing_sizes(tmp_path, runner):
    met = 0
    for more in range(MOST):
        path, counts = tmp_path / str(more) / "runs.db", Counts()
        with SqliteStore(path) as store:
            (pages,) = real(store).execute("PRAGMA page_count").fetchone()
            real(store).execute(f"PRAGMA max_page_count = {pages + more}")
            result, error = tried(lambda: begin("run", runner, store, counts))  # noqa: B023
            if error is None:
                assert result.outputs == EXPECTED
                break
            assert isinstance(error, StoreFull)
            assert "MB are free in" in str(error)
            check_note(error)
            met += 1
            assert real(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)
            done, before = succeeded(store), list(counts.begun)
            real(store).execute("PRAGMA max_page_count = 1000000")
            result = begin("run", runner, store, counts)
            assert result.outputs == EXPECTED
            for line in counts.begun[len(before) :]:
                assert line.rpartition(" ")[0] not in done, f"{line} again, with {more} pages"
            assert store.check() == []
    assert met >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
@pytest.mark.parametrize("name", ["chain", "retries", "nested", "conditions", "gates"])
def test_j07_j08_a_file_that_may_not_grow(zygote, name):
    """The system refuses to write behind a place of the log: what was written of a commit is undone."""
    whole = zygote.whole(name)
    met = 0
    for at in range(1, whole.answer["seen"]["bytes"], 3 * 1024 + 17):
        folder = zygote.folder()
        job = {"pipeline": name, "folder": folder, "call": "tests.kill.lives:live_within", "at": at}
        (answer,) = zygote.ask([job])
        assert answer["code"] == 0, (at, answer.get("text", answer))
        assert answer["outputs"] == whole.answer["outputs"], at
        assert answer["problems"] == [], at
        assert answer["again"] == [], (at, answer)
        met += answer["met"] is not None
        assert answer["met"] in ("StoreError", "StoreFull", None), (at, answer["text"])
    assert met >= 5
