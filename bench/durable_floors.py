"""The floors of durable runs: raw SQLite, as an expert uses it by hand for one journal.

They have no leases, no digests, no catalog and no values to encode: the rows are there before they begin.
Files stand in a folder of the repository, so that both sides write to the same disk, and to a real one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import pysqlite3 as sqlite3  # as the store does
    except ImportError:
        import sqlite3

Level = Literal["process", "power"]

ROOM = Path(__file__).resolve().parents[1] / ".bench"
"""Where all files of the benchmarks are; git does not look at it."""

ROW = 150
"""Bytes of a row."""


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """An empty folder, which is gone afterwards."""
    ROOM.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=ROOM) as folder:
        yield Path(folder)


class Raw:
    """A database with one table of numbered rows, in WAL mode."""

    def __init__(self, path: Path, level: Level) -> None:
        self.db = sqlite3.connect(path)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {'FULL' if level == 'power' else 'NORMAL'}")
        self.db.execute("CREATE TABLE journal (number INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        self.db.commit()

    def close(self) -> None:
        self.db.close()


def bodies(count: int) -> list[str]:
    """That many rows: text that can be decoded."""
    events = [f'[{number},["n",["s{number}"],1,"succeeded"],"' for number in range(1, count + 1)]
    return [event + "x" * (ROW - len(event) - 2) + '"]' for event in events]


def commit_each(raw: Raw, rows: Sequence[str]) -> None:
    """A transaction a row."""
    db = raw.db
    for number, body in enumerate(rows, 1):
        db.execute("INSERT INTO journal VALUES (?, ?)", (number, body))
        db.commit()


def commit_all(raw: Raw, rows: Sequence[str]) -> None:
    """One transaction."""
    raw.db.executemany("INSERT INTO journal VALUES (?, ?)", enumerate(rows, 1))
    raw.db.commit()


def read_all(path: Path) -> int:
    """Reads all rows and decodes each, of this journal or of a store's; gives how many they are."""
    db = sqlite3.connect(path)
    decode = json.JSONDecoder().decode
    count = 0
    try:
        for (body,) in db.execute("SELECT body FROM journal ORDER BY rowid"):
            decode(body)
            count += 1
    finally:
        db.close()
    return count


def letters(path: Path) -> float:
    """How long the text of all rows is."""
    db = sqlite3.connect(path)
    try:
        return float(db.execute("SELECT sum(length(body)) FROM journal").fetchone()[0])
    finally:
        db.close()


def free() -> int:
    """Bytes that are free where the files go."""
    ROOM.mkdir(exist_ok=True)
    return shutil.disk_usage(ROOM).free
