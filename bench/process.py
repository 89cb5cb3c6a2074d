"""Rows about whole processes: what an import adds, and a script of three steps from start to exit."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Line, Pairs, Scale, median, number, spread

HELLO = Path(__file__).resolve().parent / "hello"


def process(scale: Scale) -> Iterator[Line]:
    """Imports against a bare interpreter, and scripts against the floor's scripts."""
    for code in ("import penstock", "from penstock import Flow"):
        found = alternate_commands(["-c", "pass"], ["-c", code], scale.processes)
        added = spread([(b[1] - a[1]) * 1e3 for a, b in zip(found.first, found.second, strict=True)])
        yield Line(
            "Processes",
            f"`{code}`, above `pass`",
            _millis(found.first),
            _millis(found.second),
            added,
            " ms",
            60,
            30,
        )
    for how, must, aim in (("coroutine", 1.5, 1.1), ("threads", 1.5, 1.1), ("inline", None, None)):
        floor, own = HELLO / f"floor_{how}.py", HELLO / f"penstock_{how}.py"
        found = alternate_commands([str(floor)], [str(own)], scale.processes)
        yield Line(
            "Processes",
            f"a script of 3 steps, {how}",
            _millis(found.first),
            _millis(found.second),
            found.ratio("cpu"),
            must=must,
            aim=aim,
        )


def alternate_commands(first: list[str], second: list[str], pairs: int) -> Pairs:
    """Runs two commands in turn, both compiled."""
    if _output(first) != _output(second):
        raise AssertionError(f"{first[-1]} and {second[-1]} do not print the same")
    found = Pairs([], [])
    for _ in range(pairs):
        for command, into in ((first, found.first), (second, found.second)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            _output(command)
            wall = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            into.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return found


def _output(command: list[str]) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout


def _millis(times: list[tuple[float, float]]) -> str:
    wall = median([wall for wall, _ in times]) * 1e3
    cpu = median([cpu for _, cpu in times]) * 1e3
    return f"{number(cpu)} ({number(wall)}) ms"
