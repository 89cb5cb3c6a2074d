"""Steps and flows for tests of the runner at Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from penstock import Flow, RetryPolicy, each, use
from tests.runners.process_steps import arrive

mixed = Flow("mixed")


@mixed.step
def numbers(many: int) -> list[int]:
    return list(range(many))


@mixed.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.0), optional=True)
def sometimes(log: str, x: int = each(numbers)) -> int:
    with open(log, "a") as file:
        file.write(f"{x}\n")
    if x % 50 == 7:
        raise ValueError("never")
    return x


large = Flow("large")


@large.step
def fill(size: int) -> bytes:
    return bytes(size)


@large.step
def measure(data: bytes = use(fill)) -> int:
    return len(data)


def hold_once(inside: str, mark: str) -> str:
    """Stays for ever the first time."""
    if Path(mark).exists():
        return "again"
    Path(mark).touch()
    arrive(inside)
    signal.pause()
    return "never"


def kill_worker() -> None:
    """Ends the worker of the engine whose child this is."""
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
