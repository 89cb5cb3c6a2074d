"""A run of everything at once, again and again, for `test_signals` to interrupt: not a test itself.

For each run it prints ``go``, and then the status, what it left behind, and what was still running when the
run had returned. It reads a line before each run, so that no signal comes between two.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock import Context, Flow, Limit, RetryPolicy, RunOptions, each, fold, gather, processes, use

PATIENCE = 20.0  # seconds until what should go in a moment counts as left behind

flow = Flow("storm")
two = Limit("two", capacity=2)


@flow.step
def numbers() -> Iterator[int]:
    yield from range(100_000)


@flow.step(limits=[two])
async def wait(number: int = each(numbers)) -> int:
    await asyncio.sleep(0.002)
    return number


@flow.step(runner="processes")
def crunch(number: int = each(numbers)) -> int:
    return sum(range(number % 1000))


@flow.step(retry=RetryPolicy(max_attempts=1_000_000, initial_delay=0.001, max_delay=0.002))
def flaky() -> None:
    raise ConnectionError("again")


@flow.step
def patient(ctx: Context) -> None:
    while not ctx.cancelled:
        time.sleep(0.001)


@flow.step(runner="processes")
def far(ctx: Context) -> None:
    while not ctx.cancelled:
        time.sleep(0.001)


@flow.step(runner="inline")
def here(number: int = use(wait)) -> int:
    return number


def add(total: int, number: int) -> int:
    return total + number


@flow.step
def total(crunched: int = fold(crunch, add, 0), seen: list[int] = gather(here)) -> int:
    return crunched + len(seen)


def children() -> set[int]:
    """Processes whose parent is this one, and that are no zombies."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(entry.name))
    return found


def strangers(pool: Any, known: set[int]) -> list[int]:
    """Processes of ours that are no workers of the pool. It does not know at once of one that takes the place
    of another."""
    until = time.monotonic() + PATIENCE
    while (found := children() - known - set(pool.pids)) and time.monotonic() < until:
        time.sleep(0.001)
    return sorted(found)


def main(how: str) -> None:
    options = RunOptions(grace=5.0)
    pool: Any
    with processes(2) as pool:
        flow.run(options=RunOptions(deadline=0.5), runner=pool)  # the workers are there from now on
        known = children() - set(pool.pids)
        for line in sys.stdin:
            if not line.strip():
                break
            print("go", flush=True)
            try:
                if how == "arun":
                    result = asyncio.run(flow.arun(options=options, runner=pool))
                else:
                    result = flow.run(options=options, runner=pool)
            except KeyboardInterrupt:
                found: dict[str, Any] = {"status": "raised"}
            else:
                found = {"status": result.status.value, "abandoned": [str(one) for one in result.abandoned]}
                found["running"] = [one.path for one in result.nodes.values() if not one.status.ended]
            threads = [one.name for one in threading.enumerate() if one.name.startswith("penstock-")]
            found["threads"] = [name for name in threads if name[len("penstock-") :].isdigit()]
            found["strangers"] = strangers(pool, known)
            found["workers"] = pool.pids
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
