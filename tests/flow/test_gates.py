"""Gates in runs: answered by hand, by letter, before they are open, by nobody; across a resume."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from penstock.core import leases
from penstock.core.errors import GraphError, InputError
from penstock.core.model import RunOptions, RunStatus
from penstock.flow import Flow, each, gather, param, use
from tests.resume.mortal import MortalStore
from tests.resume.tools import BAD, CALLS, called, cut, does, fix, go


@pytest.fixture
def store(monkeypatch):
    CALLS.clear()
    BAD.clear()
    monkeypatch.setattr(leases, "LOOK", 0.02)
    yield MortalStore(lasting=True)
    BAD.clear()


def approval(**options: Any) -> Flow:
    flow = Flow("approval")

    @flow.step
    def before() -> int:
        return does("before", 1)

    ok = flow.gate("ok", prompt="Really?", after=[before], **options)

    @flow.step
    def after(ok: bool = use(ok)) -> str:
        return does("after", "yes" if ok else "no")

    return flow


class TestWithoutAStore:
    def test_a_run_waits_for_the_answer(self):
        handle = approval().start()
        handle.answer("ok", True)
        assert handle.result(10)["after"] == "yes"

    def test_the_step_names_it_too(self):
        flow = Flow("typed")
        word = flow.gate("word", type=str)

        @flow.step
        def after(word: str = use(word)) -> str:
            return word.upper()

        handle = flow.start()
        handle.answer(word, "hello")
        assert handle.result(10)["after"] == "HELLO"

    def test_it_says_what_it_asks(self):
        handle = approval().start()
        seen: dict[str, Any] = {}
        for event in handle.events():
            if type(event).__name__ == "NodeWaiting":
                seen = event._asdict()
                handle.answer("ok", False)
        assert (str(seen["path"]), seen["prompt"], seen["takes"]) == ("ok", "Really?", "bool")
        assert handle.result(10)["after"] == "no"

    def test_the_first_answer_counts(self):
        handle = approval().start()
        handle.answer("ok", True)
        handle.answer("ok", False)
        assert handle.result(10)["after"] == "yes"

    @pytest.mark.parametrize("wrong", ["yes", 1, None])
    def test_a_wrong_answer_is_refused_where_it_is_given(self, wrong):
        handle = approval().start()
        with pytest.raises(InputError, match="an answer is bool"):
            handle.answer("ok", wrong)
        handle.answer("ok", True)
        assert handle.result(10)["after"] == "yes"

    def test_a_gate_that_is_not_there(self):
        handle = approval().start()
        with pytest.raises(InputError, match="did you mean 'ok'"):
            handle.answer("okk", True)
        handle.answer("ok", True)
        handle.result(10)

    def test_a_flow_without_gates(self):
        flow = Flow("none")

        @flow.step
        async def slow() -> int:
            await asyncio.sleep(0.01)
            return 1

        handle = flow.start()
        with pytest.raises(InputError, match="it has none"):
            handle.answer("ok", True)
        handle.result(10)

    def test_a_timeout(self):
        result = approval(timeout=0.02).run()
        failure = result.nodes["ok"].failure
        assert failure is not None
        assert failure.kind == "timeout"
        assert result.status is RunStatus.FAILED

    def test_a_default(self):
        assert approval(timeout=0.02, default=False).run()["after"] == "no"

    def test_cancelled(self):
        handle = approval().start()
        handle.cancel()
        result = handle.result(10)
        assert result.status is RunStatus.CANCELLED

    def test_one_of_several_words(self):
        flow = Flow("words")
        kind: Any = Literal["a", "b"]
        flow.gate("word", type=kind)
        handle = flow.start()
        with pytest.raises(InputError, match="word"):
            handle.answer("word", "c")
        handle.answer("word", "b")
        assert handle.result(10)["word"] == "b"

    def test_one_for_each_item(self):
        flow = Flow("items")

        @flow.step
        def items() -> list[int]:
            return [1, 2, 3]

        ok = flow.gate("ok", item=each(items))

        @flow.step
        def all_of(xs: list[bool] = gather(ok)) -> list[bool]:
            return xs

        handle = flow.start()
        for number, answer in enumerate([True, False, True]):
            handle.answer(f"ok[{number}]", answer)
        assert handle.result(10)["all_of"] == [True, False, True]

    def test_under_a_condition(self):
        flow = Flow("condition")
        wanted = param("wanted", bool)
        flow.gate("ok", when=lambda wanted: wanted, wanted=use(wanted))
        assert flow.run(wanted=False).nodes["ok"].status.value == "skipped"
        handle = flow.start(wanted=True)
        handle.answer("ok", True)
        assert handle.result(10)["ok"] is True

    def test_options_of_what_calls_something_are_refused(self):
        with pytest.raises(GraphError, match="'retry' is an option of steps that call something"):
            Flow("f").gate("ok", retry=3)

    def test_a_default_needs_a_timeout_and_the_right_type(self):
        with pytest.raises(GraphError, match="timeout"):
            Flow("f").gate("ok", default=True)
        with pytest.raises(GraphError, match="bool"):
            Flow("f").gate("ok", default="x", timeout=1)  # type: ignore[call-overload]


class TestParked:
    def test_a_run_is_put_down(self, store):
        result = go(approval(), store)
        assert result.status is RunStatus.WAITING
        entry = store.find("r")
        assert (entry.status, entry.owner) == ("waiting", None)
        assert called() == ["before"]
        assert not any('"end"' in row for row in store.rows("r"))

    def test_put_down_again_and_again_it_says_nothing_twice(self, store):
        for _ in range(3):
            assert go(approval(), store).status is RunStatus.WAITING
        assert called() == ["before"]
        assert sum(row.count('"wait"') for row in store.rows("r")) == 1, "nobody is asked twice"

    def test_answered_by_letter(self, store):
        go(approval(), store)
        store.post("r", "answer", "ok", "true")
        result = go(approval(), store)
        assert result["after"] == "yes"
        assert called() == ["after", "before"]
        assert store.letters("r") == [], "it went with the answer"

    def test_the_first_letter_counts(self, store):
        go(approval(), store)
        store.post("r", "answer", "ok", "false")
        store.post("r", "answer", "ok", "true")
        assert go(approval(), store)["after"] == "no"

    def test_a_letter_of_a_wrong_type_is_refused_and_the_gate_waits_on(self, store):
        go(approval(), store)
        store.post("r", "answer", "ok", '"maybe"')
        result = go(approval(), store)
        assert result.status is RunStatus.WAITING
        assert any("an answer was refused" in warning for warning in result.warnings)
        store.post("r", "answer", "ok", "true")
        assert go(approval(), store)["after"] == "yes"

    def test_a_letter_to_a_gate_that_is_not_there(self, store):
        go(approval(), store)
        store.post("r", "answer", "nowhere", "true")
        assert go(approval(), store).status is RunStatus.WAITING

    @pytest.mark.parametrize("body", ["", "{", '{"$class": ["os.system", []]}'])
    def test_a_letter_that_cannot_be_read(self, store, body):
        go(approval(), store)
        store.post("r", "answer", "ok", body)
        result = go(approval(), store)
        assert result.status is RunStatus.WAITING
        assert result.warnings

    def test_a_letter_that_came_before_the_gate_was_open(self, store):
        cut(approval(), store, '["start","before"')
        store.post("r", "answer", "ok", "true")
        assert go(approval(), store)["after"] == "yes"

    def test_a_letter_is_not_lost_when_the_process_dies(self, store):
        go(approval(), store)
        store.post("r", "answer", "ok", "true")
        cut(approval(), store, '["ok","ok"', after=False)
        assert len(store.letters("r")) == 1
        assert go(approval(), store)["after"] == "yes"

    def test_an_answer_that_was_written_down_is_not_asked_for_again(self, store):
        go(approval(), store)
        store.post("r", "answer", "ok", "true")
        cut(approval(), store, '["ok","ok"')
        assert go(approval(), store)["after"] == "yes"

    def test_cancelled_by_letter(self, store):
        go(approval(), store)
        store.post("r", "cancel", "", "enough")
        result = go(approval(), store)
        assert result.status is RunStatus.CANCELLED
        assert store.find("r").status == "cancelled"

    def test_a_cancelled_one_goes_on_and_asks_again(self, store):
        go(approval(), store)
        store.post("r", "cancel", "", "enough")
        go(approval(), store)
        store.post("r", "answer", "ok", "true")
        result = go(approval(), store)
        assert result["after"] == "yes"
        assert called() == ["after", "before"]

    def test_the_timeout_of_a_parked_gate_is_judged_at_the_next_resume(self, store):
        assert go(approval(timeout=0.05), store).status is RunStatus.WAITING
        _wait(lambda: time.time() > store.find("r").updated + 0.06)
        result = go(approval(timeout=0.05), store)
        assert result.status is RunStatus.FAILED
        failure = result.nodes["ok"].failure
        assert failure is not None
        assert failure.kind == "timeout"

    def test_and_an_answer_that_has_come_by_then_counts(self, store):
        assert go(approval(timeout=0.05), store).status is RunStatus.WAITING
        store.post("r", "answer", "ok", "true")
        _wait(lambda: time.time() > store.find("r").updated + 0.06)
        assert go(approval(timeout=0.05), store)["after"] == "yes"

    def test_a_default_of_a_parked_gate(self, store):
        go(approval(timeout=0.05, default=False), store)
        _wait(lambda: time.time() > store.find("r").updated + 0.06)
        assert go(approval(timeout=0.05, default=False), store)["after"] == "no"

    def test_one_that_timed_out_is_asked_again_when_the_run_goes_on(self, store):
        go(approval(timeout=0.03), store)
        _wait(lambda: time.time() > store.find("r").updated + 0.04)
        assert go(approval(timeout=0.03), store).status is RunStatus.FAILED
        assert go(approval(timeout=5.0), store).status is RunStatus.WAITING
        store.post("r", "answer", "ok", "true")
        assert go(approval(timeout=5.0), store)["after"] == "yes"

    def test_several_gates(self, store):
        flow = Flow("several")
        one, two = flow.gate("one"), flow.gate("two")

        @flow.step
        def both(one: bool = use(one), two: bool = use(two)) -> bool:
            return one and two

        assert go(flow, store).status is RunStatus.WAITING
        store.post("r", "answer", "two", "true")
        assert go(flow, store).status is RunStatus.WAITING
        store.post("r", "answer", "one", "true")
        assert go(flow, store)["both"] is True

    def test_items_by_letter(self, store):
        flow = Flow("items")

        @flow.step
        def items() -> list[str]:
            return ["ann", "bob"]

        ok = flow.gate("ok", item=each(items, key=str))

        @flow.step
        def all_of(xs: list[bool] = gather(ok)) -> list[bool]:
            return xs

        assert go(flow, store).status is RunStatus.WAITING
        store.post("r", "answer", "ok[bob]", "false")
        store.post("r", "answer", "ok[ann]", "true")
        assert go(flow, store)["all_of"] == [True, False]

    def test_what_else_can_run_runs_first(self, store):
        flow = approval()

        @flow.step
        def beside() -> int:
            return does("beside", 1)

        assert go(flow, store).status is RunStatus.WAITING
        assert called() == ["before", "beside"]

    def test_a_store_that_ends_with_its_process_parks_nothing(self):
        handle = approval().start(store=MortalStore(), run_id="r")
        handle.answer("ok", True)
        assert handle.result(10)["after"] == "yes"

    def test_a_handle_answers_before_it_is_put_down(self, store):
        flow, done = approval(), threading.Event()

        @flow.step
        async def beside() -> int:
            while not done.is_set():
                await asyncio.sleep(0.005)
            return 1

        handle = flow.start(store=store, run_id="r")
        handle.answer("ok", True)
        done.set()
        result = handle.result(10)
        assert result["after"] == "yes"

    def test_on_the_callers_loop(self, store):
        async def main() -> Any:
            first = await approval().arun(store=store, run_id="r")
            store.post("r", "answer", "ok", "true")
            return first, await approval().arun(store=store, run_id="r")

        first, second = asyncio.run(main())
        assert first.status is RunStatus.WAITING
        assert second["after"] == "yes"

    def test_a_letter_reaches_a_run_that_goes_on(self, store):
        """From another process, while something else still runs."""
        flow = approval()
        RELEASED.clear()

        @flow.step
        async def beside() -> int:
            while not RELEASED.is_set():
                await asyncio.sleep(0.005)
            return 1

        handle = flow.start(store=store, run_id="r")
        _wait(lambda: store.find("r") is not None)
        store.post("r", "answer", "ok", "true")
        _wait(lambda: "after" in CALLS)
        RELEASED.set()
        assert handle.result(10)["after"] == "yes"

    def test_a_cancel_reaches_a_run_that_goes_on(self, store):
        flow = Flow("long")

        @flow.step
        async def long() -> int:
            await asyncio.sleep(60)
            return 1

        handle = flow.start(store=store, run_id="r")
        _wait(lambda: store.find("r") is not None)
        store.post("r", "cancel", "", "from elsewhere")
        assert handle.result(10).status is RunStatus.CANCELLED

    def test_a_failure_elsewhere_ends_the_wait_and_resuming_asks_again(self, store):
        flow = approval()

        @flow.step
        def beside() -> int:
            return does("beside", 1)

        BAD.add("beside")
        assert go(flow, store).status is RunStatus.FAILED
        fix()
        assert go(flow, store).status is RunStatus.WAITING
        store.post("r", "answer", "ok", "true")
        assert go(flow, store)["after"] == "yes"

    def test_an_answered_gate_above_a_failure_is_not_asked_again(self, store):
        BAD.add("after")
        go(approval(), store)
        store.post("r", "answer", "ok", "true")
        assert go(approval(), store).status is RunStatus.FAILED
        fix()
        assert go(approval(), store)["after"] == "yes"

    def test_waiting_counts_for_no_deadline(self, store):
        options = RunOptions(deadline=0.5)
        assert go(approval(), store, options=options).status is RunStatus.WAITING
        _wait(lambda: time.time() > store.find("r").updated + 0.6)
        store.post("r", "answer", "ok", "true")
        assert go(approval(), store, options=options)["after"] == "yes"


RELEASED = threading.Event()


def _wait(until: Any) -> None:
    end = time.monotonic() + 10
    while not until():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_it_parks_in_a_file(tmp_path):
    CALLS.clear()
    where = tmp_path / "runs.db"
    assert go(approval(), where).status is RunStatus.WAITING
    from penstock.stores.sqlite import SqliteStore

    with SqliteStore(where) as other:
        entry = other.find("r")
        assert entry is not None
        assert entry.status == "waiting"
        other.post("r", "answer", "ok", "true")
    assert go(approval(), where)["after"] == "yes"
    with SqliteStore(where) as other:
        entry = other.find("r")
        assert entry is not None
        assert entry.status == "succeeded"
        assert other.letters("r") == []


class TestSleep:
    def test_for_a_time(self):
        flow = Flow("sleeps")
        night = flow.sleep_until("night", timedelta(milliseconds=20))

        @flow.step(after=[night])
        def after() -> float:
            return time.time()

        began = time.time()
        assert flow.run()["after"] >= began + 0.02

    def test_until_a_moment_that_an_input_says(self):
        flow = Flow("sleeps")
        flow.sleep_until("night", param("when", datetime))
        when = datetime.now(UTC) + timedelta(milliseconds=20)
        flow.run(when=when)
        assert datetime.now(UTC) >= when

    def test_until_a_moment_that_a_step_says(self):
        flow = Flow("sleeps")

        @flow.step
        def when() -> datetime:
            return datetime.now(UTC) + timedelta(milliseconds=20)

        night = flow.sleep_until("night", use(when))

        @flow.step(after=[night])
        def after(when: datetime) -> bool:
            return datetime.now(UTC) >= when

        assert flow.run()["after"] is True

    def test_it_takes_no_answer(self):
        flow = Flow("sleeps")
        flow.sleep_until("night", timedelta(milliseconds=30))
        handle = flow.start()
        with pytest.raises(InputError, match="takes no answer"):
            handle.answer("night", None)
        assert handle.result(10).status is RunStatus.SUCCEEDED

    def test_it_waits_in_the_process(self, store):
        """It wakes by itself, so the run is not put down."""
        flow = Flow("sleeps")
        flow.sleep_until("night", timedelta(milliseconds=30))
        assert go(flow, store).status is RunStatus.SUCCEEDED

    def test_its_due_time_survives_the_process(self, store):
        flow = Flow("sleeps")
        night = flow.sleep_until("night", timedelta(milliseconds=200))

        @flow.step(after=[night])
        def after() -> float:
            return does("after", time.time())

        cut(flow, store, '"wait"')
        began = time.time()
        _wait(lambda: time.time() > began + 0.15)
        woke = go(flow, store)["after"]
        assert woke < began + 0.34, "it slept for what was left, and not anew"

    def test_a_gate_beside_it_is_waited_for_in_the_process(self, store):
        flow = Flow("both")
        flow.sleep_until("night", timedelta(milliseconds=50))
        flow.gate("ok")
        result = go(flow, store)
        assert result.status is RunStatus.WAITING
        assert result.nodes["night"].status.value == "succeeded"

    def test_what_is_no_time_is_refused(self):
        with pytest.raises(GraphError, match="datetime"):
            Flow("f").sleep_until("night", "tomorrow")


@pytest.mark.parametrize("shown", ["a constant", "an input", "a step"])
def test_what_whoever_answers_is_shown_may_be_called_until(tmp_path, shown):
    """Only a sleep wakes by itself: a value of that name is no time."""
    flow = Flow("shown")
    at = flow.add(lambda: timedelta(0), name="at")
    night = param("until", timedelta)
    flow.gate("ok", until={"a constant": timedelta(0), "an input": use(night), "a step": use(at)}[shown])
    given: dict[str, Any] = {"until": timedelta(0)} if shown == "an input" else {}
    assert flow.run(store=tmp_path / "runs.db", **given).status is RunStatus.WAITING
