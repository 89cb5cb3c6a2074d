"""Runs of every kind through a real store: their page says what their journal says."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import penstock
from penstock import Context, Flow, RetryPolicy, RunOptions, each, gather, use
from penstock.core.history import StoredRun
from penstock.report.collect import collect
from penstock.report.page import page
from penstock.report.tracks import KINDS
from tests.resume.mortal import Killed, MortalStore

from .parsed import Page

AGAIN = RetryPolicy(max_attempts=2, initial_delay=0.01)
QUIET = ("wait", "queue", "pause")
LOOKS = {
    "succeeded": {"run", "gate"},
    "failed": {"failed", "gate"},
    "waiting": {"gate"},
    "running": {"running"},
}


def told(store: Any) -> tuple[StoredRun, Page]:
    """The newest run of a store, and its page, read."""
    with penstock.open(store) as history:
        run = history.runs()[0]
        read = Page(page(collect(run)))
        agrees(run, read)
    assert read.doubtful == []
    return run, read


def agrees(run: StoredRun, read: Page) -> None:
    """The page and the journal tell the same of every step, item and attempt."""
    rows = {row["Step"].removesuffix("◆"): (number, row) for number, row in enumerate(read.rows())}
    every = [(str(one.path), one) for node in run.nodes.values() for one in (node, *(node.items or ()))]
    assert list(rows) == [path for path, _ in every]
    bars = list(_bars(read.data()))
    began_at = collect(run).began
    for path, node in every:
        number, row = rows[path]
        assert row["Status"].startswith(node.status.value), path
        if node.counts is not None:
            for status, count in node.counts.items():
                assert f"{count:,} {status.value}" in row["Status"]
            continue
        made = run.attempts(path)
        mine = [(kind, at) for of, kind, at in bars if of == number and kind not in QUIET]
        for attempt in made:
            if attempt.ended is not None and attempt.ended - attempt.began > 0.002:
                kinds = LOOKS.get(attempt.outcome, {"stopped"})
                began = attempt.began - began_at
                assert any(kind in kinds and abs(at / 1000 - began) < 0.002 for kind, at in mine), (
                    path,
                    attempt,
                )
    failed = [path for path, node in every if node.status.value == "failed" and node.counts is None]
    cards = [read.one("h3", inside=card).text for card in read.all("article", "failure")]
    assert sorted(cards) == sorted(failed)
    for card in read.all("article", "failure"):
        path = read.one("h3", inside=card).text
        lists = read.all("ol", "tries", inside=card)
        chips = [one.text.split() for each in lists for one in read.all("li", inside=each)]
        chips = [words for words in chips if words[0].isdigit()]
        attempts = run.attempts(path)
        assert len(chips) in (0, len(attempts))
        assert [chip[1] for chip in chips] in ([], [one.outcome for one in attempts])
        failure = attempts[-1].failure
        assert failure is not None
        assert failure.type in card.text
        assert failure.text.split("\n")[0] in card.text
    badge = read.all("span", "badge")[0].text
    assert badge == ("cut off" if run.is_cut_off else run.status.value)


def _bars(data: Any) -> Any:
    for track in data["tracks"]:
        row = at = 0
        for i in range(0, len(track["b"]), 5):
            row, at = row + track["b"][i], at + track["b"][i + 3]
            yield row, KINDS[track["b"][i + 2] % len(KINDS)], at


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "runs.db")


def test_a_failed_run(store):
    flow = Flow("sales")

    @flow.step
    def load() -> list[int]:
        return [0, 1, 2]

    @flow.step(retry=AGAIN)
    def send(context: Context, number: int = each(load)) -> int:
        context.log("sending", number=number)
        if number == 1:
            raise ConnectionError("refused")
        return number

    @flow.step
    def total(numbers: list[int] = gather(send)) -> int:
        return sum(numbers)

    flow.run(store=store, options=RunOptions(max_concurrency=1))
    run, read = told(store)
    story = read.one("p", "story").text
    assert story.startswith("Failed after")
    assert "'send[1]' failed at its 2nd attempt with ConnectionError: refused" in story
    assert "1 step was skipped because of that" in story
    card = read.one("article", "failure")
    assert "sending number=1" in card.text
    assert f"penstock debug {run.run_id}" in card.text
    assert f"penstock resume {run.run_id}" in read.by_id("main").text


def test_a_retried_run(store):
    flow = Flow("sales")

    @flow.step(retry=AGAIN)
    def send(context: Context) -> int:
        if context.attempt == 1:
            raise TimeoutError("late")
        return 1

    flow.run(store=store)
    _, read = told(store)
    assert "1 step succeeded only after a retry" in read.one("p", "story").text
    history = read.by_id("retries").text
    assert "1 failed" in history
    assert "TimeoutError" in history
    assert "2 succeeded" in history


def test_a_run_that_was_cut_off_and_one_that_was_resumed():
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
    run, read = told(mortal)
    assert run.is_cut_off
    assert "Cut off after" in read.one("p", "story").text
    assert "penstock resume r" in read.by_id("main").text
    flow.run(store=mortal, run_id="r", runner="inline")
    _, read = told(mortal)
    assert "It was driven twice (cut off once)" in read.one("p", "story").text
    lives = read.all("li", inside=read.one("ol", "lives"))
    assert len(lives) == 2
    assert "cut off" in lives[0].text
    assert "succeeded" in lives[1].text


def test_a_cancelled_run(store):
    flow, runs = Flow("sales"), threading.Event()

    @flow.step
    async def wait() -> int:
        runs.set()
        await asyncio.sleep(60)
        return 1

    @flow.step
    def after(number: int = use(wait)) -> int:
        return number

    handle = flow.start(store=store)
    assert runs.wait(30)
    handle.cancel("wrong day")
    handle.result()
    _, read = told(store)
    assert read.one("p", "story").text.startswith("Cancelled after")
    assert "wrong day" in read.one("p", "story").text


def test_a_gated_run(store):
    flow = Flow("release")

    @flow.step
    def draft() -> str:
        return "text"

    ok = flow.gate("ok", prompt="Send it?", text=use(draft))

    @flow.step
    def send(ok: bool = use(ok)) -> str:
        return "sent"

    flow.run(store=store, run_id="r")
    _, read = told(store)
    assert "gate 'ok' (Send it?) is open" in read.one("p", "story").text
    assert "penstock approve r ok" in read.by_id("main").text
    with penstock.open(store) as history:
        history.run("r").answer("ok", True)
    flow.run(store=store, run_id="r")
    _, read = told(store)
    gate = read.by_id("gates").text
    assert "Send it?" in gate
    assert "AnswerTrue" in gate
