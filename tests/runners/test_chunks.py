"""Tiny attempts travel in chunks, and each stays one of its own: what a chunk may never do to them."""

from __future__ import annotations

import functools
import math
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from penstock import Flow, RetryPolicy, RunOptions, each, param
from penstock.core import commands as c
from penstock.core.errors import WorkerDied
from penstock.core.model import NodeStatus
from penstock.runners.pace import GOAL, MOST, Pace
from penstock.runners.processes import processes
from penstock.runners.processes.board import AHEAD
from penstock.stores.memory import MemoryStore
from tests.runners import process_steps as own
from tests.runners import steps
from tests.runners.contract import PATIENCE
from tests.runners.test_processes import Meeting, ProcessRig, meet

__all__ = ["meet"]

Meet = Callable[[], Meeting]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the last attempt took, others are sent ahead."""
    monkeypatch.setattr("penstock.runners.processes.ahead.QUICK", math.inf)


def made(log: Path) -> Counter[int]:
    """How often each attempt was made."""
    return Counter(map(int, log.read_text().split()))


def held(rig: ProcessRig, meet: Meet) -> Meeting:
    """The rig's worker is at a step that waits: what is submitted now is sent in chunks."""
    meeting = meet()
    rig.submit(own.hold, inside=meeting.inside, release=meeting.release)
    meeting.wait()
    return meeting


@pytest.mark.parametrize("at", [0, 100, 199])
def test_s08_a_worker_that_dies_in_a_chunk_takes_one_attempt_with_it(ahead, meet, tmp_path, at):
    """What had ended stays, what had not begun is made by another, and only the culprit is charged."""
    log = tmp_path / "log"
    with processes(1, prefetch=AHEAD - 1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        meeting = held(rig, meet)
        nodes = [
            rig.submit(own.note_and_crash if i == at else own.note, log=str(log), item=i) for i in range(200)
        ]
        meeting.go()
        ends = [rig.end(node)[3:5] for node in nodes]
        rig.close()
    result, failure = ends[at]
    assert (result, failure.kind) == (c.FAILED, "lost_worker")
    ends[at] = (c.OK, at)
    assert ends == [(c.OK, i) for i in range(200)]
    assert made(log) == Counter(range(200))
    assert len([reply for reply in rig.replies if reply[0] == c.ENDED]) == 201


def test_s08_workers_killed_from_outside_amid_chunks_lose_and_double_nothing(tmp_path):
    log, kills, many = tmp_path / "log", 8, 4_000
    with processes(2) as pool:
        rig = ProcessRig(pool)
        rig.open()
        nodes = [rig.submit(own.note, log=str(log), item=i) for i in range(many)]
        for kill in range(1, kills + 1):
            rig.until(functools.partial(_have_ended, rig, kill * many // (kills + 2)))
            for pid in pool.pids[:1]:
                os.kill(pid, signal.SIGKILL)
        ends = [rig.end(node)[3:5] for node in nodes]
        rig.close()
    lost = {i for i, (result, _) in enumerate(ends) if result == c.FAILED}
    assert len(lost) <= kills
    assert {ends[i][1].kind for i in lost} <= {"lost_worker"}
    assert [end for i, end in enumerate(ends) if i not in lost] == [
        (c.OK, i) for i in range(many) if i not in lost
    ]
    counts = made(log)
    assert set(counts) | lost == set(range(many))
    assert max(counts.values()) == 1
    assert _ended(rig) == many


def _have_ended(rig: ProcessRig, many: int) -> bool:
    return _ended(rig) >= many


def _ended(rig: ProcessRig) -> int:
    rig.take()
    return sum(reply[0] == c.ENDED for reply in rig.replies)


def test_items_of_a_chunk_have_retries_timeouts_and_rows_of_their_own(tmp_path):
    log, store, seen = tmp_path / "log", MemoryStore(), list[Any]()
    log.touch()
    flow = Flow("map")
    step: Any = flow.add(
        cast(Any, own.an_item),
        name="item",
        item=each(param("items", list[int])),
        retry=RetryPolicy(2, initial_delay=0, retry_on=(ValueError, WorkerDied)),
        timeout=2.0,
    )
    options = RunOptions(observers=[seen.append], on_failure="continue")
    with processes(2) as pool:
        result = flow.run(runner=pool, items=list(range(300)), log=str(log), store=store, options=options)
    items = result.nodes[step.id].items
    assert items is not None
    assert {i for i, node in enumerate(items) if node.status is not NodeStatus.SUCCEEDED} == {77}
    assert items[77].failure is not None
    assert items[77].failure.kind == "timeout"
    assert {i: node.attempts for i, node in enumerate(items) if node.attempts != 1} == {50: 2, 99: 2}
    succeeded = [event for event in seen if type(event).__name__ == "NodeSucceeded"]
    assert Counter(one.path.items for one in succeeded if one.path.items) == Counter(
        {(i,): 1 for i in range(300) if i != 77}
    )
    assert made(log) == Counter(range(300)) + Counter([50, 99])


def test_what_was_taken_back_is_never_begun_however_much_is_sent_after_it(ahead, meet, tmp_path):
    """The board has a place for so many attempts, and one that is to be skipped keeps its own until then."""
    log = tmp_path / "log"
    with processes(1, prefetch=AHEAD - 1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, second = held(rig, meet), meet()
        rig.submit(own.hold, inside=second.inside, release=second.release)
        back: list[int] = []
        more = [rig.submit(own.note, log=str(log), item=0) for _ in range(400)]
        first.go()
        second.wait()
        for _ in range(4):
            nodes, more = more, [rig.submit(own.note, log=str(log), item=0) for _ in range(400)]
            for node in nodes:  # what is taken back makes room for others
                rig.stop(node)
            back += nodes
        for node in more:
            rig.stop(node)
        kept = [rig.submit(own.note, log=str(log), item=i) for i in range(1, 800)]
        second.go()
        assert {rig.end(node)[3] for node in back + more} == {c.RETURNED}
        assert [rig.end(node)[3:5] for node in kept] == [(c.OK, i) for i in range(1, 800)]
        rig.close()
    assert made(log) == Counter(range(1, 800))


def test_a_long_item_keeps_nothing_of_its_chunk_from_an_idle_worker(ahead, meet):
    with processes(2, prefetch=AHEAD - 1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, second, third = held(rig, meet), held(rig, meet), meet()
        long = rig.submit(own.hold, inside=third.inside, release=third.release)
        quick = [rig.submit(steps.add, x=i, y=1) for i in range(700)]
        first.go()
        third.wait()
        second.go()
        assert [rig.end(one)[4] for one in quick] == [i + 1 for i in range(700)]
        assert rig.of(long, c.ENDED) == []
        third.go()
        assert rig.end(long)[3] == c.OK
        rig.close()


def test_an_ending_does_not_wait_for_the_next_attempt_of_its_chunk(ahead, meet):
    with processes(1, prefetch=AHEAD - 1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, last = held(rig, meet), meet()
        quick = [rig.submit(steps.add, x=i, y=1) for i in range(100)]
        long = rig.submit(own.hold, inside=last.inside, release=last.release)
        behind = rig.submit(steps.add, x=1, y=1)
        first.go()
        last.wait()
        assert [rig.end(one)[4] for one in quick] == [i + 1 for i in range(100)]
        assert rig.of(behind, c.ENDED) == []
        last.go()
        assert rig.end(long)[3] == rig.end(behind)[3] == c.OK
        rig.close()


# How many


def rooms(rig: ProcessRig) -> list[int]:
    """What the runner has said that it takes."""
    rig.take()
    return [reply[2] for reply in rig.replies if reply[0] == c.ROOM]


def until_told(rig: ProcessRig) -> None:
    """Makes tiny attempts until the runner says that it takes more of them."""
    for _ in range(2_000):
        if rooms(rig):
            return
        rig.run(steps.nothing)
    pytest.fail("it never says so")


def test_more_is_taken_while_attempts_are_tiny_and_a_run_begins_with_little():
    with processes(1) as pool:
        for _ in range(2):
            rig = ProcessRig(pool)
            assert rig.runner.capacity == pool.capacity == 17
            rig.open()
            assert rooms(rig) == []
            until_told(rig)
            assert rooms(rig)[0] > 17
            rig.close()


def test_what_somebody_sends_ahead_is_no_more_than_they_have_said():
    with processes(1, prefetch=4) as pool:
        rig = ProcessRig(pool)
        rig.open()
        for node in [rig.submit(steps.nothing) for _ in range(500)]:
            rig.end(node)
        assert rooms(rig) == []
        rig.close()


def test_large_arguments_are_not_sent_ahead_by_the_hundred():
    with processes(1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        value = b"x" * 200_000
        for node in [rig.submit(own.length, value=value) for _ in range(60)]:
            assert rig.end(node)[4] == len(value)
        assert all(room <= 25 for room in rooms(rig)[-1:])
        rig.close()


def test_what_was_taken_while_all_was_tiny_is_given_back_when_it_is_not(monkeypatch):
    """Nobody else would come to it for a long time, though it may be urgent."""
    monkeypatch.setattr("penstock.runners.processes.ahead.LONG", 0.0)
    with processes(1) as pool:
        rig = ProcessRig(pool)
        rig.open()
        until_told(rig)
        late = [rig.submit(own.nap, seconds=0.06) for _ in range(rooms(rig)[-1])]
        rig.until(lambda: rooms(rig)[-1] == 17)
        rig.until(lambda: bool(rig.of(late[-1], c.ENDED)))
        assert rig.end(late[-1])[3] == c.RETURNED
        for node in late:
            rig.stop(node)
        assert {rig.end(node)[3] for node in late} == {c.OK, c.RETURNED}
        rig.close()


def test_two_runs_of_a_pool_are_told_both():
    with processes(2) as pool:
        rigs = [ProcessRig(pool), ProcessRig(pool)]
        for rig in rigs:
            rig.open()
        rig = rigs[0]
        until_told(rig)
        assert rooms(rigs[1]) == rooms(rigs[0])
        for rig in rigs:
            rig.close()


def test_threads_may_submit_while_workers_become_free():
    """Without a lock: whoever submits and whoever becomes free see each other."""
    with processes(2) as pool:
        rigs = [ProcessRig(pool) for _ in range(3)]

        def work(rig: ProcessRig) -> None:
            rig.open()
            for i in range(400):
                many = [rig.submit(steps.add, x=i, y=j) for j in range(1 + i % 3)]
                sums.extend(rig.end(node)[4] - i == j for j, node in enumerate(many))
            rig.close()

        sums: list[bool] = []
        threads = [threading.Thread(target=work, args=(rig,)) for rig in rigs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
            assert not thread.is_alive()
        assert sums == [True] * len(sums)
        assert len(sums) == 3 * sum(1 + i % 3 for i in range(400))


# The pace


def test_a_chunk_is_about_so_much_work():
    pace = Pace()
    assert pace.each == 1
    assert pace.mean == 0
    pace.learn(1, 0.001)
    assert pace.each == round(GOAL / 0.001)
    pace.learn(1, 1.0)
    assert pace.each == 1
    pace.begin()
    pace.learn(2, 0.0)
    assert pace.each == MOST


def test_what_is_known_of_one_step_is_not_that_of_another():
    pace = Pace()
    assert pace.expected(1) == GOAL
    pace.learn(1, 0.0001)
    assert pace.expected(1) == 0.0001
    assert pace.expected(2) == GOAL / 16
    pace.learn(3, 2.0)
    assert pace.expected(3) == 2.0
    assert pace.expected(1) == 0.0001


def test_steps_without_number_are_not_remembered_for_ever():
    pace = Pace()
    for task in range(10_000):
        pace.learn(task, 0.001)
    assert len(pace._seconds) < 5_000
