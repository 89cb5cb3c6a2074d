"""Where a process can die while it writes a run down, and the means to let it die at the k-th such place.

The places, by kind:

``before``, ``after``: a call that commits: `create`, `append`, `claim`, `release`, `post`, `put`.
``statement``: before and after each statement, and between the rows of one that writes several: so also
    between the first write of a transaction and its COMMIT.
``engine``: within a statement, every `STRIDE` instructions of SQLite's machine.
``bytes``: within a write to the log of the database, which is cut off at this byte of the file.
``time``: so many microseconds after it has begun, wherever that is.
``step``: in a step, after it has said that it starts or ends; in a condition, when it has been asked.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from penstock.stores.sqlite import SqliteStore, opening
from tests.kill.effects import LOG

COMMITS = ("create", "append", "claim", "release", "post", "put")
KINDS = ("before", "after", "statement", "engine", "bytes", "step", "time")
STRIDE = 4


class Deaths:
    """Counts the places of each kind, and dies at one of them.

    Args:
        kind: Of the place; empty to live on.
        at: Which one of its kind, from 1; of ``bytes`` the byte.
    """

    def __init__(self, kind: str = "", at: int = 0) -> None:
        self.kind = kind
        self.at = at
        self.seen: Counter[str] = Counter()
        self._log = ""
        self._began = 0.0

    def place(self, kind: str) -> None:
        self.seen[kind] += 1
        if kind == self.kind and self.seen[kind] == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """From now on all stores of this process are watched."""
        for name in COMMITS:
            setattr(SqliteStore, name, self._watched(getattr(SqliteStore, name)))
        usual = opening.writer

        def writer(path: str, busy: float, *, network: bool) -> tuple[Any, str | None]:
            connection, copy = usual(path, busy, network=network)
            self._log = path + "-wal"
            self._began = time.monotonic()
            return _Connection(self, connection), copy

        opening.writer = writer
        LOG.noted = lambda: self.place("step")

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **more: Any) -> Any:
            self.place("before")
            done = call(*args, **more)
            self.place("after")
            self.seen["bytes"] = max(self.seen["bytes"], os.path.getsize(self._log))
            self.seen["time"] = int((time.monotonic() - self._began) * 1e6)
            return done

        return watched

    def watch(self, connection: Any) -> None:
        """Sees to what SQLite itself must do: it looks around in long statements, and writes only so far."""
        if self.kind in ("", "engine"):

            def look() -> int:
                self.place("engine")
                return 0

            connection.set_progress_handler(look, STRIDE)
        if self.kind == "time":
            signal.setitimer(signal.ITIMER_REAL, self.at / 1e6)  # nothing handles what it sends
        if self.kind == "bytes":
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # whoever writes behind the limit dies of this
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.at, self.at))


class _Cursor:
    """What executes statements, with places to die at around them."""

    def __init__(self, deaths: Deaths, inner: Any) -> None:
        self._deaths = deaths
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, *args: Any) -> Any:
        self._deaths.place("statement")
        done = self._inner.execute(*args)
        self._deaths.place("statement")
        return done

    def executemany(self, statement: str, rows: Iterable[Any]) -> Any:
        for row in rows:
            self._deaths.place("statement")
            self._inner.execute(statement, row)
        self._deaths.place("statement")


class _Connection(_Cursor):
    def __init__(self, deaths: Deaths, inner: Any) -> None:
        super().__init__(deaths, inner)
        deaths.watch(inner)

    def cursor(self) -> _Cursor:
        return _Cursor(self._deaths, self._inner.cursor())
