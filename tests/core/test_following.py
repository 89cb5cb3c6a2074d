"""A run is followed in the store while somebody else drives it: in the pauses of the follower, the test."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

import penstock
from penstock import Flow, RunOptions, each
from penstock.core import following
from penstock.core.entries import path_text
from penstock.core.errors import InputError, PenstockError, RunNotFound, StoreError
from penstock.core.events import (
    Logged,
    NodeStarted,
    NodeSucceeded,
    Progressed,
    RunFinished,
    RunResumed,
    RunStarted,
)
from penstock.core.following import LONGEST, SOONEST, SoFar, follow, follow_logs
from penstock.core.model import NodePath
from penstock.core.owners import here
from penstock.core.storage import Claim, Note, Owner, Page, RunEntry, Store
from penstock.core.stream import Update, ValueOf
from penstock.stores.memory import MemoryStore
from penstock.testing.faults_store import FaultyStore, busy

ELSEWHERE = Owner("another-machine", "boot", 1, "1")
LASTS = 3_600.0


def work() -> Flow:
    flow = Flow("work")

    @flow.step
    def load() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def parse(row: int = each(load)) -> int:
        return row

    return flow


@pytest.fixture(scope="module")
def rows() -> list[str]:
    """The journal of a run."""
    store = MemoryStore()
    work().run(store=store, run_id="r", options=RunOptions(capture=False))
    return list(store.rows("r"))


def begun(store: Store, rows: list[str], **fields: Any) -> Claim:
    entry = RunEntry("r", "work", "running", 1.0, 1.0, {})
    return store.create(entry, fields.get("owner") or here(), LASTS, Page(1, rows))


def log(text: str, at: float, node: str = "load") -> Note:
    return Note("log", node, path_text(NodePath(node)), 0, at, f'{{"m":"{text}"}}')


def read(store: Store) -> Callable[[int, str], Iterator[Any]]:
    run = penstock.open(store).run("r")
    return lambda number, text: run._events_in(False, number, text)


class Pauses:
    """What happens while the follower waits: an act in each pause.

    Attributes:
        lasted: How long each was to be.
    """

    def __init__(self, *acts: Callable[[], object]) -> None:
        self._acts = list(acts)
        self.lasted: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.lasted.append(seconds)
        assert len(self.lasted) < 200, "it waits for ever"
        if self._acts:
            self._acts.pop(0)()


def at_of(event: Any) -> float:
    return float(getattr(event, "ended", None) or event.at)


# ----------------------------------------------------------------------------------------------------------
# What comes, and when it is over
# ----------------------------------------------------------------------------------------------------------


def test_events_are_told_as_they_come(rows):
    store = MemoryStore()
    claim = begun(store, rows[:1])
    told: list[Any] = []
    seen: list[int] = []

    def add(number: int) -> None:
        seen.append(len(told))
        store.append(claim, Page(number + 1, [rows[number]], status=None if number < last else "succeeded"))

    last = len(rows) - 1
    pauses = Pauses(*[lambda number=number: add(number) for number in range(1, len(rows))])
    for event in follow(store, "r", read(store), pause=pauses):
        told.append(event)
    store = MemoryStore()
    begun(store, rows)
    assert told == list(follow(store, "r", read(store), on=False))
    assert type(told[0]) is RunStarted
    assert type(told[-1]) is RunFinished
    assert seen[0] == 1
    assert all(one < other for one, other in pairwise(seen))


def test_it_looks_more_seldom_the_longer_nothing_comes_and_soon_again_when_something_does(rows):
    store = MemoryStore()
    claim = begun(store, rows[:1])
    quiet: list[Callable[[], object]] = [lambda: None] * 20
    pauses = Pauses(
        *quiet, lambda: store.append(claim, Page(2, [rows[1]])), *quiet[:3], lambda: store.release(claim)
    )
    list(follow(store, "r", read(store), pause=pauses))
    first, then = pauses.lasted[:21], pauses.lasted[21:]
    assert first[0] == then[0] == SOONEST
    assert first == sorted(first)
    assert first[-1] == LONGEST
    assert sum(first[:6]) < 1.1  # so that a line is seen within a second, whenever it comes
    assert then[1] > then[0]


@pytest.mark.parametrize("status", ["waiting", "failed", "cancelled"])
def test_it_ends_when_nobody_drives_the_run(rows, status):
    store = MemoryStore()
    claim = begun(store, rows[:2])
    pauses = Pauses(lambda: None, lambda: store.append(claim, Page(3, [], status=status)))
    assert len(list(follow(store, "r", read(store), pause=pauses))) >= 2
    assert len(pauses.lasted) <= 6


def test_it_ends_when_the_process_has_died(rows, monkeypatch):
    store = MemoryStore()
    begun(store, rows[:2])
    dead: list[Owner] = []
    monkeypatch.setattr("penstock.core.listed.is_dead", lambda owner: owner in dead)
    pauses = Pauses(lambda: None, lambda: dead.append(here()))
    told = list(follow(store, "r", read(store), pause=pauses))
    assert not any(type(event) is RunFinished for event in told)
    assert len(pauses.lasted) <= 6


def test_a_run_that_is_taken_up_again_at_once_is_followed_on(rows):
    store = MemoryStore()
    claim = begun(store, rows[:2])

    def taken() -> None:
        store.claim("r", here(), LASTS)

    def ends() -> None:
        fresh = Claim("r", claim.number, 2)
        store.append(fresh, Page(3, rows[2:], status="succeeded"))

    quiet: list[Callable[[], object]] = [lambda: None] * 8
    pauses = Pauses(lambda: store.release(claim), taken, *quiet, ends)
    told = list(follow(store, "r", read(store), pause=pauses))
    assert type(told[-1]) is RunFinished


def test_a_run_that_goes_on_after_its_end_has_both_ends(rows):
    store = MemoryStore()
    claim = begun(store, rows)
    store.append(claim, Page(len(rows) + 1, [], status="succeeded"))
    again = '[["again",9e9,1.0,[],[],{},false]]'

    def goes_on() -> None:
        fresh, _ = store.claim("r", here(), LASTS)
        store.append(fresh, Page(len(rows) + 1, [again, rows[-1]], status="succeeded"))

    told = list(follow(store, "r", read(store), pause=Pauses(goes_on)))
    kinds = [type(event) for event in told]
    assert kinds.count(RunFinished) == 2
    assert kinds.index(RunFinished) < kinds.index(RunResumed) < len(kinds) - 1
    assert kinds[-1] is RunFinished


def test_a_run_that_is_deleted_meanwhile(rows):
    store = MemoryStore()
    claim = begun(store, rows[:1])

    def delete() -> None:
        store.release(claim)
        store.forget(["r"])

    with pytest.raises(RunNotFound, match="it was deleted"):
        list(follow(store, "r", read(store), pause=Pauses(delete)))


def test_a_store_that_cannot_be_read_for_a_moment_is_asked_again(rows):
    memory = MemoryStore()
    begun(memory, rows)
    whole = list(follow(memory, "r", read(memory), on=False))
    for name in ("find", "rows", "notes"):
        faulty = FaultyStore(memory, at=1, times=2, error=busy, only=[name])
        assert list(follow(faulty, "r", read(memory), on=False)) == whole
        assert faulty.failed == [name, name]
    broken = FaultyStore(memory, at=1, times=None, error=lambda: StoreError("gone"), only=["rows"])
    with pytest.raises(StoreError, match="gone"):
        list(follow(broken, "r", read(memory), on=False))


def test_whoever_stops_listening_leaves_nothing_behind(rows):
    store = MemoryStore()
    begun(store, rows[:1])
    told = follow(store, "r", read(store), pause=Pauses())
    assert type(next(told)) is RunStarted
    told.close()  # type: ignore[attr-defined]
    assert list(told) == []


# ----------------------------------------------------------------------------------------------------------
# What steps say, in between
# ----------------------------------------------------------------------------------------------------------


def test_what_steps_say_stands_where_it_was_said(rows):
    store = MemoryStore()
    begun(store, rows)
    plain = list(follow(store, "r", read(store), on=False))
    (started,) = (event for event in plain if type(event) is NodeStarted and event.path.node == "load")
    (ended,) = (event for event in plain if type(event) is NodeSucceeded and event.path.node == "load")
    store.note("r", [log("in between", (started.at + ended.ended) / 2), log("at the end", 9e9)])
    told = list(follow(store, "r", read(store), on=False))
    texts = [event.message if type(event) is Logged else type(event) for event in told]
    assert told.index(started) < texts.index("in between") < told.index(ended)
    assert texts[-2:] == ["at the end", RunFinished]
    assert [event for event in told if type(event) is not Logged] == plain


def test_the_end_of_the_run_comes_last_though_notes_come_later(rows):
    store = MemoryStore()
    claim = begun(store, rows)
    store.append(claim, Page(len(rows) + 1, [], status="succeeded"))
    pauses = Pauses(lambda: store.note("r", [log("late", 1.0)]))
    told = list(follow(store, "r", read(store), pause=pauses))
    assert [type(event) for event in told[-2:]] == [Logged, RunFinished]


def test_progress_that_replaces_another_is_told(rows):
    store = MemoryStore()
    claim = begun(store, rows[:1])

    def say(done: int) -> None:
        store.note("r", [Note("progress", "load", '"load"', 0, 1.0, f'{{"d":{done},"t":3,"x":""}}')])

    pauses = Pauses(lambda: say(1), lambda: say(2), lambda: store.release(claim))
    told = list(follow(store, "r", read(store), pause=pauses))
    assert [event.done for event in told if type(event) is Progressed] == [1, 2]


@pytest.mark.parametrize("seed", range(30))
def test_in_pages_or_at_once_the_order_is_the_same(rows, seed, monkeypatch):
    chance = random.Random(seed)
    store = MemoryStore()
    begun(store, rows)
    plain = list(follow(store, "r", read(store), on=False))
    times = [at_of(event) for event in plain if hasattr(event, "at") or hasattr(event, "ended")]
    moments = sorted(chance.uniform(min(times) - 0.001, max(times) + 0.001) for _ in range(40))
    store.note("r", [log(str(number), at) for number, at in enumerate(moments)])
    at_once = list(follow(store, "r", read(store), on=False))
    monkeypatch.setattr(following, "_PAGE", chance.randrange(1, 6))
    assert list(follow(store, "r", read(store), on=False)) == at_once
    so_far = list(SoFar(store, penstock.open(store).run("r").story))
    assert [event for event in so_far if type(event) is not RunFinished] == at_once[:-1]
    said = [event for event in at_once if type(event) is Logged]
    assert [event.message for event in said] == [str(number) for number in range(40)]


def test_what_is_known_is_not_told_again(rows):
    store = MemoryStore()
    claim = begun(store, rows[:2])
    store.note("r", [log("old", 1.0)])
    so_far = SoFar(store, penstock.open(store).run("r").story)
    old = list(so_far)
    assert any(type(event) is Logged for event in old)
    store.append(claim, Page(3, rows[2:]))
    store.note("r", [log("new", 1.0)])
    new = list(follow(store, "r", read(store), so_far.position, on=False))
    assert [event.message for event in new if type(event) is Logged] == ["new"]
    assert len(old) + len(new) == len(list(follow(store, "r", read(store), on=False)))


ODD: list[Any] = [
    None, -1, 10**5, "two", "", [], {}, ["one", 0], [["one"]], 1.5, True, float("nan"), float("inf"), 10**400,
    {"kind": ["x"], "type": 3, "text": None}, {"kind": "error", "type": "x", "text": "x", "abandoned": 3},
    {"$blob": "0" * 64}, {"$volatile": True},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_an_unlikely_journal_is_told_or_refused(rows, seed):
    """Rows of a real run, changed at random: events or a typed error, never another error."""
    chance = random.Random(seed)
    told = refused = 0
    for _ in range(150):
        entries = [json.loads(row) for row in rows]
        for _ in range(chance.randrange(1, 4)):
            entry = chance.choice(chance.choice(entries))
            if isinstance(entry[-1], dict) and chance.random() < 0.5:
                entry[-1][chance.choice([*entry[-1], "outline"])] = chance.choice(ODD)
            else:
                entry[chance.randrange(len(entry))] = chance.choice(ODD)
        store = MemoryStore()
        begun(store, [json.dumps(row) for row in entries])
        run = penstock.open(store).run("r")
        try:
            for view in ("all", "updates", "progress", "values"):
                list(run.watch(view, follow=False, decode=False))
            list(SoFar(store, run.story))
            told += 1
        except PenstockError:
            refused += 1
    assert told
    assert refused


# ----------------------------------------------------------------------------------------------------------
# Lines
# ----------------------------------------------------------------------------------------------------------


def test_lines_are_followed_until_nobody_drives_the_run(rows, monkeypatch):
    monkeypatch.setattr(following, "_PAGE", 2)
    store = MemoryStore()
    claim = begun(store, rows[:1])
    store.note("r", [log(str(number), 1.0, "parse") for number in range(5)])
    pauses = Pauses(
        lambda: store.note("r", [log("5", 1.0, "parse"), log("other", 1.0)]),
        lambda: store.append(claim, Page(2, [], status="failed")),
        lambda: store.note("r", [log("6", 1.0, "parse")]),
    )
    found = [line.message for line in follow_logs(store, "r", "parse", pause=pauses)]
    assert found == [str(number) for number in range(7)]


# ----------------------------------------------------------------------------------------------------------
# The face
# ----------------------------------------------------------------------------------------------------------


def test_a_run_that_is_over_is_watched_from_its_start_to_its_end():
    store = MemoryStore()
    work().run(store=store, run_id="r")
    run = penstock.open(store).run("r")
    assert list(run.watch()) == list(run.events())
    assert [item.value for item in run.watch("values") if type(item) is ValueOf] == [[1, 2, 3], 1, 2, 3]
    updates = list(run.watch("updates", follow=False))
    assert isinstance(updates[-1], Update)
    assert (updates[-1].path, updates[-1].status.value) == (None, "succeeded")
    assert [(item.done, item.total) for item in run.watch("progress")][-1] == (4, 4)


def test_there_is_no_such_view():
    store = MemoryStore()
    work().run(store=store, run_id="r")
    with pytest.raises(InputError, match="there is no view 'value'; did you mean 'values'"):
        penstock.open(store).run("r").watch("value")


def test_a_resumed_run_so_far_is_what_counts():
    """What was done before and counts, how it went on, and what came then; each step's success but once."""
    store = MemoryStore()
    broken = [True]
    flow = Flow("mended")

    @flow.step
    def first() -> int:
        return 1

    @flow.step
    def second(first: int) -> int:
        if broken:
            raise ValueError("broken")
        return first + 1

    flow.run(store=store, run_id="r")
    broken.clear()
    flow.run(store=store, run_id="r")
    told = list(SoFar(store, penstock.open(store).run("r").story))
    kinds = [type(event).__name__ for event in told]
    assert kinds.count("RunResumed") == kinds.count("RunFinished") == 1
    assert "NodeFailed" not in kinds
    ended = [event.path.node for event in told if type(event) is NodeSucceeded]
    assert ended == ["first", "second"]
    assert len(list(penstock.open(store).run("r").watch())) > len(told)
