"""What the measured scripts have in common. It knows no engine, and is imported in every environment."""

from __future__ import annotations

import gc
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

WARM_UP = 10
"""Steps of the run before the one that counts: it has everything imported, compiled and laid out on disk."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Asked(NamedTuple):
    """What a script is to do: its four arguments.

    Attributes:
        shape: ``chain``, ``wide``, or what the script knows besides.
        how: In the words of the script.
        steps: Of the run that counts.
        path: Of the database, which is not there yet.
    """

    shape: str
    how: str
    steps: int
    path: Path


def asked() -> Asked:
    """Reads the command line, and cuts the process off from every machine but this one."""
    shape, how, steps, path = sys.argv[1:]
    stay_here()
    return Asked(shape, how, int(steps), Path(path))


def stay_here() -> None:
    """Lets sockets connect to nothing but this machine, whatever an engine has in mind."""

    def guard(name: str) -> None:
        real = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
                raise ConnectionRefusedError(f"a peer wanted to talk to {address[0]}")
            return real(self, address)

        setattr(socket.socket, name, connect)

    guard("connect")
    guard("connect_ex")


def report(job: Asked, run: Callable[[], Any], distributions: tuple[str, ...]) -> None:
    """Times a run, and prints what came of it as one line of JSON; the driver compares the value.

    Args:
        job: What was asked for.
        run: The run that counts; it gives the value of its last step.
        distributions: Whose versions are told.
    """
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    value = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {
        "us": wall / job.steps * 1e6,
        "cpu": cpu / job.steps * 1e6,
        "value": value,
        "journal": _journal(job.path),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version(name) for name in distributions},
    }
    print(json.dumps(found), flush=True)


def _journal(path: Path) -> str:
    """The journal mode that the engine has chosen, or left."""
    db = sqlite3.connect(path)
    try:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        db.close()


def environment() -> dict[str, str]:
    """The environment for a peer: nothing of the user's that it could read, and all that it offers is off."""
    theirs = ("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "DBOS_", "OTEL_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    off = {
        "DO_NOT_TRACK": "1",
        "LANGCHAIN_TRACING_V2": "false",
        "LANGSMITH_TRACING": "false",
        "OTEL_SDK_DISABLED": "true",
    }
    return kept | off
