"""What the measured scripts have in common. It knows no engine, and is imported in every environment."""

from __future__ import annotations

import gc
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

WARM_UP = 10
"""Steps of the run before the one that counts: it has everything imported, compiled and laid out on disk."""

WORKERS = 2
"""Processes of an engine that runs steps in processes of its own."""

SLEEPERS = 16
"""Threads, or what an engine has instead, for steps that sleep: the graph has never more than 9 at once."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Asked(NamedTuple):
    """What a script is to do: its four arguments.

    Attributes:
        shape: One of `bench.graphs.GRAPHS`, ``map``, or what the script knows besides.
        how: In the words of the script.
        steps: Of the run that counts.
        path: Of the database, which is not there yet; other files may stand beside it.
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
        run: The run that counts; it gives what `bench.graphs.outcome` makes of its values.
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


def _journal(path: Path) -> str | None:
    """The journal mode that the engine has chosen, or left; None if it has made no database there."""
    if not path.exists():
        return None
    db = sqlite3.connect(path)
    try:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        db.close()


def environment(home: Path, paths: tuple[Path, ...] = ()) -> dict[str, str]:
    """The environment of a script.

    Nothing of the user's that an engine could read is in it, all that engines offer is off, and what they
    keep they keep in the folder.

    Args:
        home: What an engine takes for the user's home.
        paths: Where Python looks for modules, besides the repository's root.
    """
    theirs = (
        *("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "DBOS_", "OTEL_", "PYTHON", "PREFECT_", "DAGSTER_"),
        *("LUIGI_", "HAMILTON_", "DASK_", "RAY_", "PENSTOCK_", "XDG_"),
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    searched = os.pathsep.join(map(str, (ROOT, *paths)))
    return {**kept, **OFF, "HOME": str(home), "PREFECT_HOME": str(home), "PYTHONPATH": searched}


OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What calls home, off; and Prefect's log, which it would send to its server, is of errors only."""
