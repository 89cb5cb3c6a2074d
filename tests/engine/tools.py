"""What the engine's tests share: flags that never wait for ever, other interpreters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock import wiring
from penstock.core.graph import Graph
from penstock.core.model import Node, RunOptions
from penstock.core.result import RunResult

ROOT = Path(__file__).resolve().parents[2]
SAFETY = 30.0
"""Seconds after which a test fails instead of hanging; nothing is ever measured by it."""

GO_ON = RunOptions(on_failure="continue")


def met(flag: threading.Event) -> None:
    """Waits for a flag that somebody must set."""
    assert flag.wait(SAFETY), "nobody set the flag"


class Flags:
    """Events by name, made when they are first asked for; all are set in the end, so that no thread stays."""

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> threading.Event:
        with self._lock:
            return self._flags.setdefault(name, threading.Event())

    def set_all(self) -> None:
        for flag in list(self._flags.values()):
            flag.set()


def statuses(result: RunResult) -> dict[str, str]:
    return {id: node.status.value for id, node in result.nodes.items()}


def run_nodes(*nodes: Node, **how: Any) -> RunResult:
    """Runs nodes of the core, without the native API."""
    return wiring.run(Graph("nodes", nodes), {}, **how)


def names(events: list[Any]) -> list[str]:
    """Events as ``Name path``."""
    return [
        f"{type(event).__name__} {event.path}" if hasattr(event, "path") else type(event).__name__
        for event in events
    ]


class Other:
    """Another interpreter. It says what it has come to on its stdout, a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise AssertionError(f"it said nothing more; its last words: {self.errors}")
        return line.rstrip("\n")

    def until(self, wanted: str) -> None:
        while self.line() != wanted:
            pass

    def interrupt(self) -> None:
        os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> tuple[int, list[str]]:
        """Its exit code and what it said besides; `errors` holds what it complained about."""
        said, self.errors = self._process.communicate(timeout=SAFETY)
        return self._process.returncode, said.splitlines()


@contextmanager
def other(code: str) -> Iterator[Other]:
    """Runs code in an interpreter of its own, which is killed if it does not end within `SAFETY`."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-X", "dev", "-W", "error", "-c", code],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
    )  # fmt: skip
    watch = threading.Timer(SAFETY, process.kill)
    watch.start()
    try:
        yield Other(process)
    finally:
        watch.cancel()
        process.kill()
        process.communicate()
