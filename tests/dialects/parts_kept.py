"""What the tests of runs that are kept share: lives that end at any commit, and processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from penstock import StoreError
from penstock.core.storage import Store
from penstock.stores.memory import MemoryStore
from penstock.testing.faults_store import FaultyStore, full

BOUND = 60
"""Seconds after which something hangs."""

MOST = 80
"""Commits of a run, at most."""


def finished(store: Store, run_id: str) -> set[str]:
    """Ids of the nodes whose success is recorded."""
    found = set()
    for row in store.rows(run_id):
        for entry in json.loads(row):
            if entry[0] == "ok" and isinstance(entry[1], str):
                found.add(entry[1])
    return found


def cut_off(run: Callable[[Store], Any]) -> Iterator[tuple[MemoryStore, int]]:
    """For every commit of a run, the store of a run that was cut off there.

    Args:
        run: Runs it, as ``r``, with a store; everything that it makes, it makes anew.
    """
    for commit in range(1, MOST):
        inner = MemoryStore()
        faulty = FaultyStore(inner, at=commit, times=None, error=full, only=["append"])
        try:
            run(faulty)
        except StoreError:
            yield inner, commit
        else:
            assert not faulty.failed
            return
    raise AssertionError(f"it has more than {MOST} commits")


def is_cut_off(run: Callable[[], Any]) -> None:
    """Runs what ends with an error of its store."""
    with pytest.raises(StoreError, match="planned fault"):
        run()


class Process:
    """A script that is run in processes of its own.

    Args:
        folder: Where it and what it makes are.
        text: Its text. ``say(x)`` notes x in a file, ``die()`` kills it, once in all its lives.
    """

    HEAD = """
    import os, signal, sys

    def say(text):
        with open("said.txt", "a") as file:
            file.write(f"{text}\\n")

    def die():
        if not os.path.exists("died"):
            open("died", "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
    """

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        (folder / "script.py").write_text(dedent(self.HEAD) + dedent(text), "utf-8")

    def edit(self, old: str, new: str) -> None:
        """Changes the script."""
        path = self.folder / "script.py"
        text = path.read_text("utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), "utf-8")

    def live(self, *words: str, killed: bool = False) -> str:
        """One life, and what it has printed."""
        done = subprocess.run(
            [sys.executable, "script.py", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=BOUND, check=False,
        )  # fmt: skip
        assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
        return done.stdout

    def command(self, *words: str, code: int = 0) -> str:
        """What the command line says to this."""
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=BOUND, check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def said(self) -> list[str]:
        """What was noted in all lives so far."""
        path = self.folder / "said.txt"
        return path.read_text("utf-8").split() if path.exists() else []
