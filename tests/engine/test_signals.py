"""Ctrl-C at any moment of a run of everything: always orderly, and nothing left behind."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.tools import ROOT, SAFETY

STORM = Path(__file__).with_name("storm.py")
LONGEST = 0.4
"""Seconds after the start of a run at which it is interrupted at the latest."""


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def storm(how: str, moments: list[float]) -> tuple[list[dict[str, Any]], subprocess.Popen[str]]:
    """Runs the storm on a terminal of its own and interrupts each run after so many seconds."""
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, str(STORM), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    found = []
    try:
        for moment in moments:
            child.stdin.write("next\n")
            child.stdin.flush()
            assert child.stdout.readline() == "go\n"
            time.sleep(moment)  # not to wait for something: the moment is what is tried
            os.kill(child.pid, signal.SIGINT)
            found.append(json.loads(child.stdout.readline()))
        child.stdin.close()
        assert child.wait(SAFETY) == 0
        assert termios.tcgetattr(follower) == before
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdin.close()
        child.stdout.close()
        os.close(leader)
        os.close(follower)
    return found, child


def check(how: str, moments: list[float]) -> None:
    found, child = storm(how, moments)
    for moment, one in zip(moments, found, strict=True):
        # Before the run has begun, and after it has ended, an interrupt is the caller's own.
        assert one["status"] in ("cancelled", "raised"), (moment, one)
        assert one["threads"] == [], (moment, one)
        assert one["strangers"] == [], (moment, one)
        assert one.get("abandoned", []) == [], (moment, one)
        assert one.get("running", []) == [], (moment, one)
    cancelled = sum(one["status"] == "cancelled" for one in found)
    if how == "run":
        assert cancelled >= 0.9 * len(found)
    workers = {pid for one in found for pid in one["workers"]}
    assert len(workers) >= 2
    assert [pid for pid in (child.pid, *workers) if alive(pid)] == []


def moments(many: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.random() ** 2 * LONGEST for _ in range(many)]


def test_s09_l01_an_interrupt_at_any_moment_ends_a_run_in_order():
    check("run", moments(12, seed=1))


def test_s09_l01_an_interrupt_at_any_moment_of_a_loop_ends_a_run_in_order():
    check("arun", moments(6, seed=2))


@pytest.mark.slow
def test_s09_l01_an_interrupt_at_two_hundred_moments():
    check("run", moments(200, seed=3))
