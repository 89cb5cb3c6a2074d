"""What a store knows of runs, told without their code: the same as the run itself told."""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pytest

import penstock
from penstock import Flow, NodeStatus, RetryPolicy, RunOptions, RunStatus, each, fold, gather, optional, use
from penstock.core.errors import (
    CannotDecode,
    InputError,
    PenstockError,
    RunBusy,
    RunExists,
    RunNotFound,
    StoreDamaged,
    StoreError,
)
from penstock.core.history import History
from penstock.core.owners import here
from penstock.core.result import NodeResult, RunResult
from penstock.core.standing import Fold
from penstock.core.storage import Owner, Page, RunEntry, Store
from penstock.core.stored import StoredNode
from penstock.core.takes import answer_of, fits
from penstock.observers.marks import Signs
from penstock.observers.stored import page, step
from penstock.stores.memory import MemoryStore
from penstock.stores.sqlite import SqliteStore

DEAD = Owner(here().host, here().boot, 2**22 + 1, "1")  # a pid that no Linux gives


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "runs.db")
    with made:
        yield made


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@dataclass
class Order:
    number: int
    price: float


# ----------------------------------------------------------------------------------------------------------
# Flows of every kind
# ----------------------------------------------------------------------------------------------------------


def nested() -> Flow:
    flow = Flow("nested")

    @flow.step
    def source() -> list[int]:
        return [2, 0, 1]

    @flow.step
    def words(size: int = each(source)) -> list[str]:
        return ["b", "a"][:size]

    @flow.step
    def word(text: str = each(words, key=str.upper)) -> str:
        return text * 2

    @flow.step
    def lifted(text: str = use(word)) -> str:
        return text + "!"

    @flow.step
    def whole(found: list[list[str]] = gather(gather(lifted))) -> int:
        return len(found)

    return flow


def empty() -> Flow:
    flow = Flow("empty")

    @flow.step
    def source() -> list[int]:
        return []

    @flow.step
    def head(n: int = each(source)) -> int:
        return n

    @flow.step
    def lifted(n: int = use(head)) -> int:
        return n

    @flow.step
    def total(found: list[int] = gather(lifted)) -> int:
        return sum(found)

    return flow


def streamed() -> Flow:
    flow = Flow("streamed")

    @flow.step
    def lines() -> Iterator[str]:
        yield "zeta"
        yield "alpha"
        yield "mu"

    @flow.step
    def line(text: str = each(lines, key=str.upper)) -> str:
        if text == "alpha":
            raise ValueError("no")
        return text

    @flow.step
    def joined(texts: list[str] = gather(line, failures="drop")) -> str:
        return " ".join(texts)

    return flow


def stopped() -> Flow:
    flow = Flow("stopped")

    @flow.step
    def source() -> list[int]:
        return list(range(40))

    @flow.step
    def head(n: int = each(source)) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    @flow.step
    def lifted(n: int = use(head)) -> int:
        return n

    @flow.step
    def total(found: list[int] = gather(lifted)) -> int:
        return sum(found)

    return flow


def conditional() -> Flow:
    flow = Flow("conditional")

    @flow.step
    def one() -> int:
        return 1

    @flow.step(when=lambda one: one > 1)
    def never(one: int) -> int:
        return one

    @flow.step
    def after(never: int) -> int:
        return never

    @flow.step(optional=True, retry=RetryPolicy(max_attempts=3, initial_delay=0.0))
    def fails(one: int) -> int:
        raise LookupError("row 7\nsecond line")

    @flow.step
    def bears(n: int = optional(fails, 5)) -> int:
        return n

    return flow


def unlucky() -> Flow:
    flow = Flow("unlucky")

    @flow.step
    def load() -> int:
        return 1

    @flow.step
    def parse(load: int) -> int:
        raise ValueError("broken")

    @flow.step
    def save(parse: int) -> None: ...

    @flow.step(trigger="always")
    def tidy(load: int = 0) -> str:
        return "tidy"

    return flow


def same(live: NodeResult, stored: StoredNode) -> None:
    """Whether a node is told of in the same way by the run and by the store."""
    for name in ("path", "status", "attempts", "reason", "skip"):
        assert getattr(live, name) == getattr(stored, name), (name, live, stored)
    assert stored.source == (live.source if live.status is NodeStatus.SUCCEEDED else None)
    assert [str(one) for one in live.history] == [str(one) for one in stored.history]
    assert str(live.failure) == str(stored.failure)
    assert live.began == stored.began
    if live.items is None or live.status.ended:
        assert live.ended == stored.ended
    assert live.duration == pytest.approx(stored.duration)
    assert (live.items is None) == (stored.items is None)
    if live.items is not None and stored.items is not None:
        assert len(live.items) == len(stored.items)
        assert sum((stored.counts or {}).values()) == len(live.items)
        for one, other in zip(live.items, stored.items, strict=True):
            assert (stored.counts or {})[one.status]
            same(one, other)


def run(flow: Flow, store: Store, **how: Any) -> RunResult:
    return flow.run(store=store, run_id=flow.name, **how)


def folded() -> Flow:
    flow = Flow("folded")

    @flow.step
    def source() -> list[int]:
        return list(range(20))

    @flow.step
    async def slow(n: int = each(source)) -> int:
        import asyncio

        await asyncio.sleep(0.002 * (n % 3))
        return n

    @flow.step
    def total(sum: int = fold(slow, add, 0)) -> int:
        return sum

    return flow


def add(one: int, other: int) -> int:
    return one + other


def skipped() -> Flow:
    flow = Flow("skipped")

    @flow.step
    def source() -> list[int]:
        return [0, 1, 2]

    @flow.step(when=lambda n: n != 0)
    def chosen(n: int = each(source)) -> int:
        if n == 1:
            raise ValueError("one")
        return n

    @flow.step(when=lambda n: n > 5)
    def lifted(n: int = use(chosen)) -> int:
        return n

    return flow


FLOWS = [nested, empty, streamed, stopped, conditional, unlucky, folded, skipped]


@pytest.mark.parametrize("make", FLOWS)
@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_a_stored_run_says_what_the_run_said(store, make, on_failure):
    result = run(make(), store, options=RunOptions(on_failure=on_failure, max_concurrency=2))
    with penstock.open(store) as history:
        stored = history.run(make().name)
        assert stored.status is result.status
        assert list(stored.nodes) == list(result.nodes)
        for id, node in result.nodes.items():
            same(node, stored.nodes[id])
        for id, value in result.outputs.items():
            if result.nodes[id].status is NodeStatus.SUCCEEDED:
                assert stored.outputs[id] == value


def test_outputs_are_those_of_all_steps(store):
    run(nested(), store)
    with penstock.open(store) as history:
        stored = history.run("nested")
        assert dict(stored.outputs) == {
            "source": [2, 0, 1],
            "words": [["b", "a"], [], ["b"]],
            "word": ["bb", "aa", "bb"],
            "lifted": ["bb!", "aa!", "bb!"],
            "whole": 3,
        }
        assert stored.preview("lifted") == "3 items: ['bb!', 'aa!', 'bb!']"
        assert [one.path for one in stored.nodes["word"].items or ()] == [
            "word[0,B]",
            "word[0,A]",
            "word[2,B]",
        ]
        assert stored.node("word[0,A]").status is NodeStatus.SUCCEEDED
        assert [one.path for one in stored.attempts("word")] == ["word[0,B]", "word[0,A]", "word[2,B]"]


def test_the_elements_of_a_stream_are_its_value(store):
    run(streamed(), store)
    with penstock.open(store) as history:
        stored = history.run("streamed")
        assert dict(stored.outputs) == {
            "lines": ["zeta", "alpha", "mu"],
            "line": ["zeta", "mu"],
            "joined": "zeta mu",
        }
        assert [one.path for one in stored.nodes["line"].items or ()] == [
            "line[ZETA]",
            "line[ALPHA]",
            "line[MU]",
        ]


def test_what_has_no_value_says_why(memory):
    run(unlucky(), memory)
    stored = penstock.open(memory).run("unlucky")
    assert set(stored.outputs) == {"load", "tidy"}
    for id, text in {
        "parse": "step 'parse' has no value, it is failed: ValueError: broken",
        "save": "step 'save' has no value, it is skipped: parse failed",
        "tody": "there is no step 'tody' in run unlucky; did you mean 'tidy'?",
    }.items():
        with pytest.raises(KeyError) as caught:
            stored.outputs[id]
        assert str(caught.value) == text
        assert stored.outputs.get(id, "nothing") == "nothing"


def test_a_volatile_value_was_not_stored(memory):
    flow = Flow("volatile")

    @flow.step(volatile=True)
    def connection() -> object:
        return object()

    @flow.step
    def number(connection: object) -> int:
        return 1

    run(flow, memory)
    stored = penstock.open(memory).run("volatile")
    assert list(stored.outputs) == ["number"]
    with pytest.raises(KeyError, match="step 'connection' was not stored: it is volatile"):
        stored.outputs["connection"]


def test_d15_a_class_that_is_not_known_is_named_with_what_mends_it(store):
    flow = Flow("orders")

    @flow.step
    def order(number: int) -> Order:
        return Order(number, 2.5)

    @flow.step
    def price(order: Order) -> float:
        return order.price

    run(flow, store, number=7)
    with penstock.open(store) as history:
        stored = history.run("orders")
        assert stored.outputs["price"] == 2.5
        assert dict(stored.inputs) == {"number": 7}
        assert stored.preview("order") == "Order(number=7, price=2.5)"
        with pytest.raises(CannotDecode, match=r"say penstock.open\(store, types=\[Order\]\)") as caught:
            stored.outputs["order"]
        assert str(caught.value).startswith(
            "step 'order': it is of the class 'tests.core.test_history:Order'"
        )
        with pytest.raises(CannotDecode, match="row"):
            list(stored.events())
        assert len(list(stored.events(decode=False))) > 5
    with penstock.open(store, types=[Order]) as history:
        assert history.run("orders").outputs["order"] == Order(7, 2.5)
        assert len(list(history.run("orders").events())) > 5
    with pytest.raises(InputError, match="types is a list of classes"):
        penstock.open(store, types=["Order"])  # type: ignore[list-item]


def test_a_large_value_is_read_when_it_is_asked_for(store):
    flow = Flow("large")

    @flow.step
    def text() -> str:
        return "x" * 100_000

    run(flow, store)
    with penstock.open(store) as history:
        stored = history.run("large")
        assert stored.preview("text") == "<blob, 100,002 bytes>"
        assert stored.outputs["text"] == "x" * 100_000


# ----------------------------------------------------------------------------------------------------------
# A run that went on
# ----------------------------------------------------------------------------------------------------------


def flaky() -> Flow:
    flow = Flow("flaky")

    @flow.step
    def source() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def item(n: int = each(source)) -> int:
        if str(n) == os.environ.get("BROKEN"):
            raise ValueError(f"{n} is broken")
        return n

    @flow.step
    def total(found: list[int] = gather(item)) -> int:
        return sum(found)

    return flow


def test_a_run_that_went_on_shows_what_counts_and_tells_all(store, monkeypatch):
    options = RunOptions(on_failure="continue")
    monkeypatch.setenv("BROKEN", "2")
    run(flaky(), store, options=options)
    monkeypatch.delenv("BROKEN")
    with penstock.open(store) as history:
        before, unread = history.run("flaky"), history.run("flaky")
        assert before.reason == ""
        result = run(flaky(), store, options=options)
        after = history.run("flaky")
        assert (before.status, after.status) == (RunStatus.FAILED, RunStatus.SUCCEEDED)
        assert [one.path for one in before.nodes["item"].items or () if one.failure] == ["item[1]"]
        for id, node in result.nodes.items():
            same(node, after.nodes[id])
        told = [type(event).__name__ for event in after.events()]
        assert told.count("NodeFailed") == 1
        assert told.count("RunFinished") == 2
        assert told.count("RunResumed") == 1
        assert after.attempts("item[1]")[0].outcome == "succeeded"
        assert before.attempts("item[1]")[0].outcome == "failed"
        assert unread.attempts("item[1]")[0].outcome == "succeeded"
        assert unread.status is RunStatus.SUCCEEDED


def create(
    store: Store, run_id: str, *rows: Any, owner: Owner = DEAD, lasts: float = 60.0, **more: Any
) -> Any:
    """A run as somebody has left it: two steps, of which the second one needs the first."""
    shape = [["one", []], ["two", ["one"]]]
    started = {
        "run_id": run_id, "flow": "left", "shape": shape, "seed": 1, "targets": None, "override": [],
        "options": {}, "tags": {}, "parent": None, "at": 100.0, "code": {}, "inputs": {},
    }  # fmt: skip
    texts = [json.dumps([["run", started]]), *map(json.dumps, rows)]
    fields = {"created": 100.0, "updated": 100.0, "tags": {}, **more}
    entry = RunEntry(run_id, "left", "running", **fields)
    return store.create(entry, owner, lasts, Page(1, texts))


def test_a_run_whose_owner_died_is_cut_off(store):
    create(store, "dead", [["start", "one", 1, 101.0]])
    create(store, "late", owner=here(), lasts=-1.0)
    create(store, "alive", owner=here())
    with penstock.open(store) as history:
        assert {run.run_id: (run.status, run.is_cut_off, run.is_driven) for run in history.runs()} == {
            "alive": (RunStatus.RUNNING, False, True),
            "late": (RunStatus.RUNNING, True, False),
            "dead": (RunStatus.RUNNING, True, False),
        }
        dead = history.run("dead")
        assert repr(dead) == "<run dead of flow 'left': cut off>"
        assert (dead.ended, dead.duration) == (None, None)
        assert dead.nodes["one"].status is NodeStatus.RUNNING
        assert dead.nodes["two"].status is NodeStatus.PENDING
        assert [(one.token, one.outcome, one.ended) for one in dead.attempts("one")] == [(1, "running", None)]


def test_an_attempt_that_was_cut_off_is_told_and_not_counted(memory):
    create(
        memory,
        "cut",
        [["start", "one", 1, 101.0]],
        [["again", 200.0, 99.0, [], [], {}, True], ["cut", "one", 1], ["start", "one", 2, 200.0]],
        [["ok", "one", 2, 5, 200.0, 201.5]],
    )
    stored = penstock.open(memory).run("cut")
    assert [(one.token, one.outcome) for one in stored.attempts("one")] == [
        (1, "interrupted"),
        (2, "succeeded"),
    ]
    assert stored.nodes["one"].attempts == 1


# ----------------------------------------------------------------------------------------------------------
# The catalog
# ----------------------------------------------------------------------------------------------------------


def test_runs_are_found_by_what_is_known_of_them(store):
    for number in range(6):
        flow = nested() if number % 2 else unlucky()
        tags = {"env": "prod" if number < 3 else "test", "n": str(number)}
        flow.run(store=store, run_id=f"r{number}", options=RunOptions(tags=tags))
    with penstock.open(store) as history:

        def ids(**how: Any) -> list[str]:
            return [run.run_id for run in history.runs(**how)]

        assert ids() == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert ids(limit=2) == ["r5", "r4"]
        assert ids(limit=2, before="r4") == ["r3", "r2"]
        assert ids(limit=2, before=history.run("r4")) == ["r3", "r2"]
        assert ids(tag="env=prod") == ["r2", "r1", "r0"]
        assert ids(tag={"env": "prod", "n": "1"}) == ["r1"]
        assert ids(tag="env=") == []
        assert ids(flow="nested", status="succeeded", limit=None) == ["r5", "r3", "r1"]
        assert ids(status=RunStatus.FAILED) == ["r4", "r2", "r0"]
        one = history.run("r1")
        assert (one.flow, dict(one.tags)) == ("nested", {"env": "prod", "n": "1"})
        assert one.about["python"]
        assert one.duration is not None
        assert 0 <= one.duration < 60
        assert abs(one.created - time.time()) < 120


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"status": "succeded"}, "there is no status 'succeded'; did you mean 'succeeded'?"),
        ({"status": 3}, "there is no status 3"),
        ({"tag": "env"}, "tag is 'name=value', or a mapping, not 'env'"),
        ({"tag": "=x"}, "tag is 'name=value'"),
        ({"tag": 3}, "tag is 'name=value', or a mapping, not 3"),
        ({"limit": -1}, "limit is a number of runs"),
        ({"limit": True}, "limit is a number of runs"),
    ],
)
def test_a_question_that_is_none_is_refused(memory, how, text):
    with pytest.raises(InputError) as caught:
        penstock.open(memory).runs(**how)
    assert text in str(caught.value)


def test_a_run_that_is_not_there_is_named_with_the_one_that_was_meant(store):
    nested().run(store=store, run_id="monday")
    with penstock.open(store) as history:
        with pytest.raises(RunNotFound, match=r"there is no run 'munday' in .*; did you mean 'monday'"):
            history.run("munday")
        with pytest.raises(RunNotFound):
            history.run("\ud800")
        with pytest.raises(RunNotFound):
            history.run(None)  # type: ignore[arg-type]
        with pytest.raises(RunNotFound):
            history.runs(before="munday")


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at .*none\.db"):
        penstock.open(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_looking_writes_nothing(tmp_path):
    run(unlucky(), SqliteStore(tmp_path / "runs.db"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with penstock.open(tmp_path / "runs.db") as history:
        for one in history.runs():
            assert one.nodes["parse"].failure is not None
            assert dict(one.outputs) == {"load": 1, "tidy": "tidy"}
            assert one.waiting == []
        with pytest.raises(StoreError):
            history.reader.forget(["unlucky"])
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert before["runs.db"] == after["runs.db"]


# ----------------------------------------------------------------------------------------------------------
# Gates
# ----------------------------------------------------------------------------------------------------------


def gated() -> Flow:
    flow = Flow("gated")

    @flow.step
    def text() -> dict[str, str]:
        size = int(os.environ.get("LARGE", "0"))
        return {"a": "x" * size, "b": "é" * size}

    @flow.step
    def cost() -> int:
        return 5

    ok = flow.gate("ok", prompt="Really?", cost=use(cost))
    flow.gate("how", prompt="How?", type=Literal["fast", "slow"], ok=use(ok))

    @flow.step
    def done(ok: bool, how: str) -> str:
        return f"{ok} {how}"

    return flow


def park(flow: Flow, path: Path) -> RunResult:
    return flow.run(store=path, run_id=flow.name)


def test_an_open_gate_is_shown_and_answered_from_outside(tmp_path):
    path = tmp_path / "runs.db"
    assert park(gated(), path).status is RunStatus.WAITING
    with penstock.open(path) as history:
        stored = history.run("gated")
        assert stored.status is RunStatus.WAITING
        assert not stored.is_cut_off
        (gate,) = stored.waiting
        assert gate[:3] == ("ok", "Really?", "bool")
        assert not gate.answered
        stored.answer("ok", True)
        stored.answer("how", "slow")  # it is not open yet
        assert stored.waiting[0].answered
    result = park(gated(), path)
    assert result.outputs["done"] == "True slow"
    with penstock.open(path) as history:
        assert history.run("gated").outputs["how"] == "slow"


def test_an_answer_that_cannot_be_is_refused(tmp_path):
    path = tmp_path / "runs.db"
    park(gated(), path)
    with penstock.open(path) as history:
        stored = history.run("gated")
        for gate, value, text in (
            ("okk", True, "there is no gate 'okk' in run gated; did you mean 'ok'? (open gates: ok)"),
            ("cost", True, "step 'cost' of run gated is no gate, and takes no answer"),
            ("ok", 1, "gate 'ok' takes bool, not 1"),
            ("ok", "yes", "gate 'ok' takes bool, not 'yes'"),
            ("how", object(), "the answer to 'how' cannot be stored"),
        ):
            with pytest.raises(InputError) as caught:
                stored.answer(gate, value)
            assert str(caught.value).startswith(text)
        assert history.reader.letters("gated") == []
        stored.answer("ok", True)
    park(gated(), path)
    with penstock.open(path) as history:
        stored = history.run("gated")
        with pytest.raises(InputError, match="gate 'ok' of run gated is not open any more: succeeded"):
            stored.answer("ok", False)
        with pytest.raises(InputError, match="gate 'how' takes Literal"):
            stored.answer("how", "fats")
        stored.cancel()
        with pytest.raises(InputError, match="run gated has cancelled"):
            history.run("gated").answer("how", "fast")


@pytest.mark.parametrize(
    ("takes", "good", "bad"),
    [
        ("bool", [True, False], [1, "true", None]),
        ("int", [1, -3], [True, 1.0, "1"]),
        ("float", [1.5, 2], [True, "2"]),
        ("str", ["", "x"], [1, None]),
        ("int | None", [1, None], ["1"]),
        ("Literal['a', 'b c', 3]", ["a", "b c", 3], ["b", "3", None, "a'"]),
        ("Literal['a | b']", ["a | b"], ["a", "b"]),
        ("list[int]", [[1], []], [{}, 1]),
        ("Order", [1, "x"], []),
        ("", [1, None, "x"], []),
    ],
)
def test_what_the_text_of_a_type_tells(takes, good, bad):
    assert [fits(value, takes) for value in good] == [True] * len(good)
    assert [fits(value, takes) for value in bad] == [False] * len(bad)


@pytest.mark.parametrize(
    ("text", "takes", "value"),
    [
        ("true", "bool", True),
        ("No", "bool", False),
        ("3", "int", 3),
        ("3", "str", "3"),
        ("3", "int | str", 3),
        ("x", "int | str", "x"),
        ("fast", "Literal['fast', 'slow']", "fast"),
        ('"fast"', "Literal['fast', 'slow']", "fast"),
        ("3", "Literal[3]", 3),
        ('{"a": 1}', "dict[str, int]", {"a": 1}),
        ("plain", "", "plain"),
        ("null", "int | None", None),
    ],
)
def test_an_answer_that_is_typed(text, takes, value):
    found = answer_of(text, takes)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "takes"), [("maybe", "bool"), ("x", "int"), ("fats", "Literal['fast']"), ("1.5", "int")]
)
def test_an_answer_that_is_typed_wrong(text, takes):
    with pytest.raises(ValueError, match=text):
        answer_of(text, takes)


# ----------------------------------------------------------------------------------------------------------
# Cancelling
# ----------------------------------------------------------------------------------------------------------


def test_a_run_that_nobody_drives_is_cancelled_at_once_and_may_go_on(tmp_path):
    path = tmp_path / "runs.db"
    park(gated(), path)
    with penstock.open(path) as history:
        assert history.run("gated").cancel("not today") is True
        stored = history.run("gated")
        assert (stored.status, stored.reason) == (RunStatus.CANCELLED, "not today")
        assert {id: node.status.value for id, node in stored.nodes.items()} == {
            "text": "succeeded", "cost": "succeeded", "ok": "cancelled", "how": "skipped", "done": "skipped",
        }  # fmt: skip
        assert stored.waiting == []
        with pytest.raises(InputError, match="run gated has cancelled already"):
            stored.cancel()
        assert history.reader.check() == []
    assert park(gated(), path).status is RunStatus.WAITING
    with penstock.open(path) as history:
        history.run("gated").answer("ok", False)
        history.run("gated").answer("how", "fast")
    assert park(gated(), path).outputs["done"] == "False fast"


def test_a_run_that_is_driven_is_asked_to_end(tmp_path):
    path = tmp_path / "runs.db"
    flow = Flow("driven")

    @flow.step
    async def waits() -> None:
        import asyncio

        await asyncio.Event().wait()

    handle = flow.start(store=path, run_id="driven")
    next(iter(handle.events()))
    with penstock.open(path) as history:
        assert history.run("driven").is_driven
        with pytest.raises(RunBusy, match="export it when it is over"):
            history.export("driven", tmp_path / "file")
        assert history.prune(0) == []
        assert history.run("driven").cancel("enough") is False
        result = handle.result(timeout=60)
        assert result.status is RunStatus.CANCELLED
        assert result.reason == "enough"
        assert history.run("driven").reason == "enough"


# ----------------------------------------------------------------------------------------------------------
# Tidying up
# ----------------------------------------------------------------------------------------------------------


def aged(store: Store) -> None:
    """Runs that ended so many days ago, one that waits, one that was cut off, and one that is driven."""
    now = time.time()
    for days in (40, 20, 10, 1):
        at = now - days * 86_400
        entry = RunEntry(f"d{days}", "left", "succeeded", at, at, {})
        row = json.dumps([["run", {"shape": []}], ["end", "succeeded", at, 1]])
        store.create(entry, DEAD, 1.0, Page(1, [row]))
    at = now - 50 * 86_400
    store.create(RunEntry("waits", "left", "waiting", at, at, {}), DEAD, 1.0, Page(1, ["[]"]))
    create(store, "cut", updated=at)
    create(store, "driven", owner=here(), updated=at)


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        ("30d", ["cut", "d40"]),
        ("2w", ["cut", "d20", "d40"]),
        ("12h", ["cut", "d1", "d10", "d20", "d40"]),
        (timedelta(days=15), ["cut", "d20", "d40"]),
        (0, ["cut", "d1", "d10", "d20", "d40"]),
        ("4", ["d10", "d20", "d40"]),
        (4, ["d10", "d20", "d40"]),
        (100, []),
        ("9999999w", []),
    ],
)
def test_old_runs_are_deleted_and_others_stay(store, keep, gone):
    aged(store)
    with penstock.open(store) as history:
        assert [run.run_id for run in history.prune(keep, dry_run=True)] == gone
        assert len(history.runs()) == 7
        assert [run.run_id for run in history.prune(keep)] == gone
        assert {run.run_id for run in history.runs()} == {
            "driven", "cut", "waits", "d1", "d10", "d20", "d40",
        } - set(gone)  # fmt: skip


def test_runs_that_wait_are_deleted_where_that_is_said(store):
    aged(store)
    with penstock.open(store) as history:
        assert "waits" in [run.run_id for run in history.prune("1m", waiting=True)]
        assert [run.run_id for run in history.runs()] == ["driven"]


@pytest.mark.parametrize(
    "keep",
    ["", "30x", "-3d", "d", "１d", -1, True, None, timedelta(-1)],
)
def test_what_is_no_age_is_refused(memory, keep):
    aged(memory)
    with pytest.raises(InputError, match="keep is an age such as '30d' or '12h', or a number of runs"):
        penstock.open(memory).prune(keep)
    assert len(penstock.open(memory).runs()) == 7


# ----------------------------------------------------------------------------------------------------------
# One file
# ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a run that waits, has large values and an unread answer."""
    monkeypatch.setenv("LARGE", "50000")
    path = tmp_path / "from.db"
    gated().run(store=path, run_id="gated", options=RunOptions(tags={"env": "prod"}))
    with penstock.open(path) as history:
        history.run("gated").answer("ok", True)
        history.export("gated", tmp_path / "run.penstock")
    return tmp_path / "run.penstock"


def test_a_run_travels_in_one_file(file, tmp_path, memory):
    assert file.stat().st_mode & 0o777 == 0o600
    with penstock.open(tmp_path / "from.db") as history:
        there = history.run("gated")
        here_too = penstock.open(memory).import_(file)
        for name in ("flow", "status", "created", "ended", "duration", "tags", "about", "parent", "waiting"):
            assert getattr(there, name) == getattr(here_too, name), name
        assert dict(there.outputs) == dict(here_too.outputs)
        assert list(history.reader.rows("gated")) == list(memory.rows("gated"))
        assert here_too.waiting[0].answered
        assert here_too.target is None
    with SqliteStore(tmp_path / "to.db") as store:
        penstock.open(store).import_(file)
        assert store.check() == []
        assert gated().run(store=store, run_id="gated").nodes["ok"].value is True


def test_nothing_is_overwritten(file, tmp_path):
    before = file.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with penstock.open(tmp_path / "from.db") as history:
        for path in (file, link, tmp_path, tmp_path / "no" / "folder", "nul\0"):
            with pytest.raises(StoreError):
                history.export("gated", path)
        with pytest.raises(RunExists, match="there is a run 'gated' in the store already"):
            history.import_(file)
        with pytest.raises(RunNotFound):
            history.export("gatedd", tmp_path / "other")
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "db" not in path.name) == [
        "link",
        "run.penstock",
    ]


def test_a_file_that_was_changed_is_refused_and_nothing_of_it_is_stored(file, memory):
    whole = file.read_bytes()
    chance = random.Random(5)
    for number in range(400):
        at = chance.randrange(len(whole))
        bad = bytearray(whole)
        if number % 4 == 0:
            del bad[at:]
        elif number % 4 == 1:
            del bad[at : at + chance.randrange(1, 50)]
        else:
            bad[at] ^= 1 << chance.randrange(8)
        file.write_bytes(bad)
        with pytest.raises(StoreError, match="is no run as `penstock export` writes it, or was changed"):
            penstock.open(memory).import_(file)
    assert memory.runs() == []


def forged(lines: list[Any]) -> bytes:
    """A file that somebody has put together, its end included."""
    from hashlib import sha256

    text = b"".join(f"{json.dumps(line)}\n".encode() for line in lines)
    return text + f"{json.dumps(['end', len(lines), sha256(text).hexdigest()])}\n".encode()


def forgeries(lines: list[list[Any]]) -> Iterator[list[Any]]:
    head, *rest = lines
    yield []
    yield [head]
    yield rest
    yield [*lines, head]
    yield [["penstock-run", 99, *head[2:]], *rest]
    yield [["penstock-run", "1", *head[2:]], *rest]
    for run_id in ("", " ", "x\n", "other", None, 3, "x" * 201, "\x1b[2J"):
        yield [[*head[:2], run_id, head[3]], *rest]
    for name, value in {
        "status": "succeded", "created": "now", "tags": [1], "flow": None, "target": 3, "about": {"x": 1},
    }.items():  # fmt: skip
        yield [[*head[:3], {**head[3], name: value}], *rest]
    yield [[*head[:3], {**head[3], "status": "succeeded"}], *rest]
    yield [head, *[line for line in rest if line[0] != "value"]]
    yield [head, *([line[0], "0" * 64, line[2]] if line[0] == "value" else line for line in rest)]
    yield [head, *([*line[:2], "eCB5"] if line[0] == "value" else line for line in rest)]
    yield [*lines, ["letter", "sudo", "x", "y"]]
    yield [*lines, ["letter", "answer", 3, "y"]]
    yield [*lines, ["row", 3]]
    yield [*lines, ["row", "[["]]
    yield [*lines, ["row", '[["start",["one",[1]],1,1.0]]']]
    yield [*lines, ["row", '[["ok"]]']]
    yield [*lines, ["row", "[" * 100_000]]
    yield [*lines, ["import", "os"]]
    yield [head, ["row", '[["run",[]]]']]
    yield [head, ["row", '[["run",{}]]']]


def test_a_file_that_somebody_has_forged_is_refused(file, memory):
    lines = [json.loads(line) for line in file.read_text().splitlines()[:-1]]
    loaded = set(sys.modules)
    for bad in forgeries(lines):
        file.write_bytes(forged(bad))
        with pytest.raises((StoreError, PenstockError)):
            penstock.open(memory).import_(file)
    assert memory.runs() == []
    assert set(sys.modules) == loaded
    file.write_bytes(forged(lines))
    assert penstock.open(memory).import_(file).run_id == "gated"


# ----------------------------------------------------------------------------------------------------------
# Journals that nobody has written
# ----------------------------------------------------------------------------------------------------------


ODD: list[Any] = [
    None, -1, 10**5, "two", "", [], {}, ["one", 0], [["one"]], 1.5, True, "x" * 50, float("nan"),
    float("inf"), 10**400, {"kind": ["x"], "type": 3, "text": None},
    {"kind": "error", "type": [], "text": "x"}, {"kind": "error", "type": "x", "text": "x", "abandoned": 3},
    {"$blob": "0" * 64}, {"$volatile": True},
]  # fmt: skip


def test_an_unlikely_journal_is_shown_or_refused(memory):
    """Entries of a real run, changed at random: a typed error or an answer, never another error."""
    for make in FLOWS:
        run(make(), memory)
    history = penstock.open(memory)
    chance = random.Random(7)
    shown = refused = 0
    for _ in range(1_500):
        stored = history.run(chance.choice(FLOWS)().name)
        entries = json.loads(json.dumps(stored.story.entries))
        for _ in range(chance.randrange(1, 4)):
            entry = chance.choice(entries)
            if chance.random() < 0.2 and isinstance(entry[-1], dict):
                entry = entry[-1]
                entry[chance.choice([*entry, "note"])] = chance.choice(ODD)
            else:
                entry[chance.randrange(len(entry))] = chance.choice(ODD)
        if chance.random() < 0.3:
            chance.shuffle(entries)
        story = stored.story._replace(entries=entries)
        try:
            stored._read = story, Fold(story)
            page(stored, Signs())
            for id, node in stored.nodes.items():
                step(stored, id, Signs())
                assert repr(node)
                if node.items is not None:
                    assert all(map(repr, islice(node.items.failed(), 50)))
                    assert len(node.items) < 2_000_000
            json.dumps([one._asdict() for one in stored.waiting], allow_nan=False)
            shown += 1
        except StoreDamaged:
            refused += 1
    assert shown > 100
    assert refused > 100


def test_history_is_a_context_manager_that_may_be_closed_twice(tmp_path):
    run(unlucky(), SqliteStore(tmp_path / "runs.db"))
    history = penstock.open(tmp_path / "runs.db")
    assert isinstance(history, History)
    assert repr(history) == f"<history of sqlite:///{os.path.realpath(tmp_path / 'runs.db')}>"
    history.close()
    history.close()
    with pytest.raises(StoreError, match="closed"):
        history.runs()
