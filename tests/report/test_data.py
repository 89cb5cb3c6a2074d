"""Reports of runs through a real store, compared with their journals by a reading of the test's own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import Context, Flow, RetryPolicy, RunOptions, each, fold, gather, use
from penstock.core import events
from penstock.core.errors import StoreDamaged
from penstock.core.events import Event
from penstock.core.history import History, StoredRun
from penstock.core.model import NodePath
from penstock.core.outline import outline_of
from penstock.report.collect import collect
from penstock.report.data import Attempt, Report, Step, rows, segments
from penstock.report.live import collect_result
from tests.resume.mortal import Killed, MortalStore

ONCE = RetryPolicy(2, 0.01, jitter="none")


def the_report(kept_in: Any, **how: Any) -> Report:
    with penstock.open(kept_in) as history:
        run = history.run("r")
        report = collect(run, **how)
        agrees(report, run)
        return report


# --- a small reading of a journal, that shares nothing with the report's -----------------------------------


def endings(run: StoredRun) -> dict[tuple[NodePath, int, int], tuple[str, float, float]]:
    """By path, token and life of an attempt how it ended, and from when to when it ran."""
    found, life = {}, 0
    for event in run.events(decode=False):
        match event:
            case events.RunResumed():
                life += 1
            case events.NodeSucceeded(path=path, token=token, began=began, ended=ended) if token:
                found[path, token, life] = "succeeded", began, ended
            case events.NodeRetrying(path=path, token=token, began=began, ended=ended):
                found[path, token, life] = "failed", began, ended
            case events.NodeFailed(path=path, token=token, began=began, ended=ended) if token:
                found[path, token, life] = "failed", began, ended
            case events.NodeCancelled(path=path, token=token, began=began, ended=ended):
                if found.get((path, token, life), ("",))[0] != "failed":  # it waited to be retried
                    found[path, token, life] = "cancelled", began, ended
    return found


def handed_out(run: StoredRun) -> Counter[str]:
    """How often each path was handed out, or opened."""
    kinds = (events.NodeStarted, events.NodeWaiting)
    return Counter(str(event.path) for event in run.events(decode=False) if isinstance(event, kinds))


def agrees(report: Report, run: StoredRun) -> None:
    """What the report says is what the journal says."""
    shown = {step.path: step for step in rows(report)}
    assert [step.path for step in report.steps] == list(run.nodes)
    for id, node in run.nodes.items():
        step = shown[id]
        assert (step.status, step.reason, step.tries) == (node.status.value, node.reason, node.attempts)
        assert report.standings[id].status == node.status.value
        if node.items is not None:
            assert step.mapped
            assert [item.path for item in step.items] == [item.path for item in node.items]
            assert {word: count for word, count in step.counts.items() if count} == {
                status.value: count for status, count in (node.counts or {}).items()
            }
    told = endings(run)
    for path, count in handed_out(run).items():
        assert len(shown[path].attempts) == count
        for attempt in shown[path].attempts:
            of_it = [key for key in told if (str(key[0]), key[1]) == (path, attempt.token)]
            key = next((key for key in of_it if key[2] == attempt.life or attempt.gate), None)
            if key is None:
                assert attempt.outcome in (
                    "running",
                    "waiting",
                    "interrupted",
                    "returned",
                    "part",
                    "cancelled",
                )
                continue
            assert (attempt.outcome, attempt.began, attempt.ended) == told[key]
            hangs_together(attempt, report)
    assert report.counts == dict(Counter(node.status.value for node in run.nodes.values()))
    on_time(report)


def hangs_together(attempt: Attempt, report: Report) -> None:
    """The segments of an attempt follow each other, in one of the lives."""
    pieces = segments(attempt, report.ended)
    assert all(one.ended == other.began for one, other in pairwise(pieces))
    assert all(piece.began < piece.ended for piece in pieces)
    assert attempt.handed is not None
    assert report.lives[attempt.life].began <= attempt.handed


def on_time(report: Report) -> None:
    """The lives, the levels and the critical path lie between beginning and end."""
    assert report.lives[0].began == report.began
    assert report.lives[-1].ended == report.ended
    assert report.wall == pytest.approx(sum(life.ended - life.began for life in report.lives))
    assert all(one.ended <= other.began for one, other in pairwise(report.lives))
    assert all(one.ended == other.began for one, other in pairwise(report.critical))
    if report.critical:
        assert (report.critical[0].began, report.critical[-1].ended) == (report.began, report.ended)
    assert all(report.began <= level.at <= report.ended for level in report.levels)
    assert all(level.running >= 0 <= level.queued for level in report.levels)
    if report.levels:
        assert report.levels[-1].queued == 0


def step(report: Report, path: str) -> Step:
    return next(one for one in rows(report) if one.path == path)


def outcomes(report: Report, path: str) -> list[tuple[int, str, bool, int]]:
    return [(one.number, one.outcome, one.counts, one.life) for one in step(report, path).attempts]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


# --- runs of every kind ------------------------------------------------------------------------------------


def test_a_run_that_succeeds_is_told_with_its_values(store: str) -> None:
    flow = Flow("plain")

    @flow.step
    def load(count: int) -> list[int]:
        return list(range(count))

    @flow.step(keep=True)
    def total(load: list[int]) -> int:
        return sum(load)

    flow.run(store=store, run_id="r", count=4, options=RunOptions(tags={"team": "pumps"}, max_concurrency=2))
    report = the_report(store, store="runs.db")
    assert (report.flow, report.status, report.reason, report.store) == ("plain", "succeeded", "", "runs.db")
    assert report.inputs == (("count", "4"),)
    assert [(one.name, one.preview, one.mapped) for one in report.outputs] == [
        ("load", "[0, 1, 2, 3]", False), ("total", "6", False),
    ]  # fmt: skip
    assert (dict(report.tags), report.options) == ({"team": "pumps"}, (("max_concurrency", "2"),))
    assert [leg.path for leg in report.critical if leg.kind == "run"] == ["load", "total"]
    assert (report.commands, report.dropped, report.failures) == ((), (), ())
    assert report.efficiency is not None
    assert (report.efficiency.workers, report.efficiency.known) == (2, True)


def test_a_failed_run_names_failures_attempts_lines_and_what_can_be_done(store: str) -> None:
    flow = Flow("bad")

    @flow.step
    def load() -> int:
        return 1

    @flow.step(retry=ONCE)
    def send(load: int, context: Context) -> int:
        context.log("sending", port=25)
        raise ConnectionError("no line")

    @flow.step
    def after(send: int) -> int:
        return send

    flow.run(store=store, run_id="r")
    report = the_report(store, option=" --store x.db")
    assert report.status == "failed"
    assert outcomes(report, "send") == [(1, "failed", True, 0), (2, "failed", True, 0)]
    bad = step(report, "send")
    assert bad.trouble is not None
    assert (bad.trouble.type, bad.trouble.text) == ("ConnectionError", "no line")
    assert "raise ConnectionError" in bad.trouble.trace
    assert bad.paused == pytest.approx(0.01, abs=0.005)
    assert [[(line.level, line.message, line.fields) for line in one.lines] for one in bad.attempts] == [
        [("info", "sending", (("port", "25"),))]
    ] * 2
    assert report.failures == (bad,)
    assert (step(report, "after").status, step(report, "after").reason) == ("skipped", "send failed")
    assert [command.line for command in report.commands] == [
        "penstock resume r --store x.db", "penstock debug r send --store x.db",
    ]  # fmt: skip
    assert report.efficiency is not None
    assert report.efficiency.wasted == pytest.approx(bad.run)


def test_a_run_that_goes_on_after_a_failure_keeps_what_does_not_count_any_more(store: str) -> None:
    flow, bad = Flow("again"), [True]

    @flow.step
    def load() -> int:
        return 1

    @flow.step(retry=ONCE)
    def send(load: int, context: Context) -> int:
        context.log("bad" if bad else "good")
        if bad:
            raise ValueError("not yet")
        return 2

    flow.run(store=store, run_id="r")
    bad.clear()
    flow.run(store=store, run_id="r")
    report = the_report(store)
    assert report.status == "succeeded"
    assert outcomes(report, "send") == [
        (1, "failed", False, 0), (2, "failed", False, 0), (1, "succeeded", True, 1),
    ]  # fmt: skip
    assert [(life.end, life.crashed, life.undone) for life in report.lives] == [
        ("failed", False, 0), ("succeeded", False, 2),
    ]  # fmt: skip
    assert "away" in [leg.kind for leg in report.critical]
    lines = [[line.message for line in one.lines] for one in step(report, "send").attempts]
    assert lines == [["bad"], ["bad"], []]  # and not also what the first one of the other life has said


def test_a_run_that_died_is_cut_off_and_then_has_two_lives() -> None:
    flow, mortal = Flow("mortal"), MortalStore()

    @flow.step
    def load() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def work(number: int = each(load)) -> int:
        return number

    @flow.step
    def total(numbers: list[int] = gather(work)) -> int:
        return sum(numbers)

    mortal.die_when('"ok",["work",1]')
    with pytest.raises(Killed):
        flow.run(store=mortal, run_id="r", runner="inline")
    mortal.bury()
    cut = the_report(mortal)
    assert (cut.status, cut.lives[-1].end) == ("cut off", "cut off")
    assert [command.line for command in cut.commands] == ["penstock resume r"]
    flow.run(store=mortal, run_id="r", runner="inline")
    report = the_report(mortal)
    assert report.status == "succeeded"
    first, second = report.lives
    assert (first.end, second.crashed, second.end) == ("cut off", True, "succeeded")
    assert second.away == pytest.approx(second.began - first.ended)
    died = [one for row in rows(report) for one in row.attempts if one.outcome == "interrupted"]
    assert [one.life for one in died] == [0] * second.undone
    assert all(one.ended == first.ended for one in died)


def test_a_cancelled_run_says_why(store: str) -> None:
    flow, runs = Flow("stop"), threading.Event()

    @flow.step(retry=RetryPolicy(2, 60.0, jitter="none"))
    def flaky() -> int:
        raise ValueError("later")

    @flow.step
    async def wait() -> int:
        runs.set()
        await asyncio.sleep(60)
        return 1

    @flow.step
    def after(wait: int) -> int:
        return wait

    handle = flow.start(store=store, run_id="r")
    assert runs.wait(30)
    with penstock.open(store) as history:
        until(lambda: any(isinstance(one, events.NodeRetrying) for one in stored(history)))
    handle.cancel("enough")
    handle.result()
    report = the_report(store)
    assert (report.status, report.reason) == ("cancelled", "enough")
    assert outcomes(report, "wait") == [(1, "cancelled", True, 0)]
    assert outcomes(report, "flaky") == [(1, "failed", True, 0)]
    assert step(report, "flaky").status == "cancelled"
    assert step(report, "after").status == "skipped"


def stored(history: History) -> Iterator[Event]:
    yield from history.run("r").events(decode=False)


def until(holds: Any) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_gate_is_told_with_its_question_and_its_answer(store: str) -> None:
    flow = Flow("gated")

    @flow.step
    def draft() -> str:
        return "text"

    ok = flow.gate("ok", prompt="Send it?", text=use(draft))

    @flow.step
    def send(ok: bool = use(ok)) -> str:
        return "sent"

    flow.run(store=store, run_id="r")
    report = the_report(store)
    assert (report.status, report.lives[-1].end) == ("waiting", "waiting")
    (gate,) = report.gates
    assert (gate.path, gate.prompt, gate.takes, gate.ended, gate.answered) == (
        "ok",
        "Send it?",
        "bool",
        None,
        False,
    )
    assert [command.line for command in report.commands] == ["penstock approve r ok", "penstock resume r"]
    assert step(report, "ok").attempts[0].gate
    with penstock.open(store) as history:
        history.run("r").answer("ok", True)
    assert the_report(store).gates[0].answered
    flow.run(store=store, run_id="r")
    report = the_report(store)
    assert [(gate.answer, gate.ended is not None) for gate in report.gates] == [("True", True)]
    (piece,) = segments(step(report, "ok").attempts[0], report.ended)
    assert (piece.doing, [leg.path for leg in report.critical if leg.kind == "gate"]) == ("gate", ["ok"])
    assert report.efficiency is not None
    assert report.efficiency.work < report.wall


def everything() -> Flow:
    """A flow with a map inside a map over a stream, a fold, a sub-flow and a condition."""
    inner = Flow("inner")

    @inner.step
    def double(number: int) -> int:
        return 2 * number

    flow = Flow("everything")

    @flow.step
    def numbers() -> Iterator[int]:
        yield from range(4)

    @flow.step
    def cells_of(number: int = each(numbers)) -> list[int]:
        return list(range(number))

    @flow.step
    def cell(value: int = each(cells_of)) -> int:
        if value == 2:
            raise ValueError("two")
        return value

    @flow.step
    def row(cells: list[int] = gather(cell, failures="drop")) -> int:
        return sum(cells)

    @flow.step
    def summed(rows: int = fold(row, lambda so_far, one: so_far + one, 0)) -> int:
        return rows

    flow.add(inner, name="part", number=use(summed))

    @flow.step
    def given() -> int:
        return 1

    @flow.step(when=lambda given: given > 10)
    def never(given: int) -> int:
        return given

    return flow


def test_maps_inside_maps_streams_folds_subflows_overrides_and_conditions(store: str) -> None:
    everything().run(
        store=store, run_id="r", override={"given": 5}, options=RunOptions(on_failure="continue")
    )
    report = the_report(store)
    assert (step(report, "given").source, step(report, "given").attempts) == ("override", ())
    assert (step(report, "never").status, step(report, "never").reason) == (
        "skipped",
        "its condition said no",
    )
    assert step(report, "cell").counts == {"succeeded": 5, "failed": 1}
    assert [one.path for one in report.failures] == ["cell[3,2]"]
    assert step(report, "part/double").status == "succeeded"
    assert report.forecast is not None
    assert "stream" in report.forecast.note


def test_a_run_without_a_store_is_told_as_far_as_it_is_known() -> None:
    flow, bad = Flow("memory"), [True]

    @flow.step
    def load() -> list[int]:
        return [1, 2, 3]

    @flow.step(retry=ONCE)
    def work(number: int = each(load)) -> int:
        if number == 2 and bad:
            bad.clear()
            raise ValueError("once")
        return number

    @flow.step
    def total(numbers: list[int] = gather(work)) -> int:
        return sum(numbers)

    result = flow.run(options=RunOptions(max_concurrency=2))
    report = collect_result(result, outline_of(flow.graph()), workers=2)
    assert (report.status, report.flow, report.commands) == ("succeeded", "memory", ())
    assert [(one.path, one.status, one.tries) for one in rows(report)] == [
        ("load", "succeeded", 1), ("work", "succeeded", 4), ("work[0]", "succeeded", 1),
        ("work[1]", "succeeded", 2), ("work[2]", "succeeded", 1), ("total", "succeeded", 1),
    ]  # fmt: skip
    first, second = step(report, "work[1]").attempts
    assert (first.number, first.outcome, first.began, first.trouble and first.trouble.text) == (
        1, "failed", None, "once",
    )  # fmt: skip
    node = result.nodes["work"].items[1]  # type: ignore[index]
    assert (second.number, second.outcome, second.began, second.ended) == (
        2,
        "succeeded",
        node.began,
        node.ended,
    )
    assert any("give the run a store" in one for one in report.dropped)
    assert [(one.name, one.preview) for one in report.outputs] == [("total", "6")]
    assert [leg.path for leg in report.critical if leg.kind == "run"][-1] == "total"
    on_time(report)


def test_a_run_in_memory_and_the_same_in_a_store_tell_the_same_story(store: str) -> None:
    flow = everything()
    how: dict[str, Any] = {"override": {"given": 5}, "options": RunOptions(on_failure="continue")}
    there = collect_result(flow.run(**how), outline_of(flow.graph()))
    flow.run(store=store, run_id="r", **how)
    here = the_report(store)

    def story(report: Report) -> list[Any]:
        return [(one.path, one.status, one.source, one.reason, one.counts) for one in rows(report)]

    assert story(there) == story(here)
    assert there.outline == here.outline
    assert there.counts == here.counts


def test_what_attempts_used_is_told_of_each_and_of_the_step(store: str) -> None:
    flow = Flow("used")

    @flow.step
    def load() -> list[int]:
        return [1, 2]

    @flow.step
    def work(number: int = each(load)) -> int:
        return number

    flow.run(store=store, run_id="r", options=RunOptions(profile=True))
    report = the_report(store)
    items = step(report, "work").items
    measured = [one.attempts[0].cpu for one in items]
    assert all(cpu is not None and cpu >= 0 for cpu in measured)
    assert step(report, "work").cpu == pytest.approx(sum(cpu or 0.0 for cpu in measured))
    assert step(report, "work").memory is None
    assert report.efficiency is not None
    assert report.efficiency.measured > 0


# --- bounds and strangers ----------------------------------------------------------------------------------


def test_a_large_map_is_cut_to_what_matters_and_says_so(store: str) -> None:
    flow = Flow("large")

    @flow.step
    def load() -> list[int]:
        return list(range(300))

    @flow.step
    def work(number: int = each(load)) -> int:
        if number % 100 == 50:
            raise ValueError("fifty")
        return number

    @flow.step
    def quick(number: int = use(work)) -> int:
        return number

    flow.run(store=store, run_id="r", runner="inline", options=RunOptions(on_failure="continue"))
    with penstock.open(store) as history:
        report = collect(history.run("r"), most=60)
    assert sum(1 for _ in rows(report)) <= 60
    work_ = step(report, "work")
    assert work_.counts == {"succeeded": 297, "failed": 3}
    assert {one.path for one in work_.items} >= {"work[50]", "work[150]", "work[250]"}
    assert len(work_.items) + work_.more_items == 300
    assert len(step(report, "quick").items) >= 10
    assert work_.run == pytest.approx(
        sum(
            ended - began
            for (path, *_), (_, began, ended) in the_endings(store).items()
            if path.node == "work"
        )
    )
    assert any("543 of 600 items" in one for one in report.dropped)
    assert [command.path for command in report.commands] == ["", "work[50]", "work[150]", "work[250]"]


def the_endings(store: str) -> dict[tuple[NodePath, int, int], tuple[str, float, float]]:
    with penstock.open(store) as history:
        return endings(history.run("r"))


def test_many_steps_are_cut_to_what_matters_and_all_are_counted(store: str) -> None:
    flow = Flow("many")

    def work(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return number

    for number in range(50):
        flow.add(work, name=f"s{number}", number=number)
    flow.run(store=store, run_id="r", runner="inline", options=RunOptions(on_failure="continue"))
    with penstock.open(store) as history:
        report = collect(history.run("r"), most=10)
    assert len(report.steps) == 10
    assert "s7" in [one.path for one in report.steps]
    assert [one.path for one in report.steps] == sorted(
        (one.path for one in report.steps), key=lambda s: int(s[1:])
    )
    assert report.counts == {"succeeded": 49, "failed": 1}
    assert len(report.standings) == 50
    assert any("40 of 50 steps" in one for one in report.dropped)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a b; rm -rf ~", "$(reboot)", "-x", "l\u202egnp.exe", "\x1b[2J"]
)
def test_u06_a_name_cannot_add_words_to_a_command(store: str, name: str) -> None:
    import shlex

    flow = Flow("names")

    def bad() -> int:
        raise ValueError(name)

    flow.add(bad, name="bad")
    flow.run(store=store, run_id="r", options=RunOptions(tags={name: name}))
    with penstock.open(store) as history:
        report = collect(history.run("r"), target=name)
    assert report.tags == {name: name}
    assert [shlex.split(one.line) for one in report.commands] == [
        ["penstock", "resume", "r", name], ["penstock", "debug", "r", "bad", name],
    ]  # fmt: skip


@pytest.mark.parametrize("due", [float("nan"), float("inf"), None, "soon", []])
def test_a_journal_with_a_moment_that_is_none_is_damaged(due: Any) -> None:
    flow, kept = Flow("damaged"), MortalStore()

    @flow.step(retry=ONCE)
    def bad() -> int:
        raise ValueError("bad")

    flow.run(store=kept, run_id="r")
    rows_of = kept._rows["r"]
    found = 0
    for at, text in enumerate(rows_of):
        entries = json.loads(text)
        for entry in entries:
            if entry[0] == "retry":
                entry[4], found = due, found + 1
        rows_of[at] = json.dumps(entries)
    assert found == 1
    with penstock.open(kept) as history, pytest.raises(StoreDamaged, match="says what cannot be"):
        collect(history.run("r"))
