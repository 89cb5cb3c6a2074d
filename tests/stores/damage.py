"""A store with something of everything in it, the questions one asks of a store, and ways to damage it."""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from penstock.core.errors import StoreDamaged, StoreError, ValueLost
from penstock.core.owners import here
from penstock.core.storage import Note, Page, RunEntry
from penstock.stores.sqlite import SqliteStore

RUNS = [f"run-{number}" for number in range(12)]
CUT_OFF = "run-11"

BUILD = """
import os, sys
from tests.stores.damage import fill
fill(sys.argv[1], sys.argv[2] == "crashed")
"""


def values() -> list[bytes]:
    return [bytes([number]) * (40_000 + number) for number in range(4)]


def row_of(run_id: str, number: int) -> str:
    return f'["{run_id}",{number},"{"x" * (number * 37 % 400)}"]'


def notes_of(run_id: str) -> list[Note]:
    kinds = ("log", "progress", "usage", "log")
    return [
        Note(kind, "parse", f'["parse",{at}]', at, 10.0 + at, f"a note of {run_id}, {kind}")
        for at, kind in enumerate(kinds)
    ]


def fill(path: str, crashed: bool) -> None:
    """Makes the store; ends the process without closing it if it is to be `crashed`."""
    store = SqliteStore(path)
    digests = [store.put(value) for value in values()]
    for place, run_id in enumerate(RUNS):
        entry = RunEntry(
            run_id, f"flow-{place % 3}", "running", 10.0 + place, 20.0 + place,
            {"day": str(place % 4), "n": "é"}, target="a/b.py:flow", about={"python": "3.11"},
        )  # fmt: skip
        claim = store.create(entry, here(), 60.0, Page(1, [row_of(run_id, 1)]))
        store.append(claim, Page(2, [row_of(run_id, number) for number in range(2, 30)]))
        for number in range(30, 60):
            store.append(claim, Page(number, [row_of(run_id, number)]))
        store.post(run_id, "cancel", "gate", f"letter to {run_id}")
        store.note(run_id, notes_of(run_id))
        status = None if run_id == CUT_OFF else ("succeeded", "failed", "waiting")[place % 3]
        store.append(claim, Page(60, [row_of(run_id, 60)], status=status, blobs=[digests[place % 4]]))
        if place == 6:
            with store._database.mutex:  # type: ignore[union-attr]
                store._database.lock.take(5.0)  # type: ignore[union-attr]
                store._database.count_rows()  # type: ignore[union-attr]
                store._database.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]
                store._database.lock.give()  # type: ignore[union-attr]
    if crashed:
        os._exit(0)
    store.close()


def build(folder: Path, how: str) -> Path:
    """The files of a store that was closed in order, or of one whose process has died."""
    path = folder / how / "journal.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", BUILD, str(path), how], check=True, env=environment)
    return path


def copied(path: Path, folder: Path) -> Path:
    """The same files at another place."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(path.parent, folder)
    folder.chmod(0o700)
    return folder / path.name


Question = tuple[str, Callable[[SqliteStore], Any]]


def questions() -> Iterator[Question]:
    yield "list", lambda store: store.runs()
    for flow in ("flow-0", "flow-1", "flow-2"):
        yield f"list {flow}", lambda store, flow=flow: store.runs(flow=flow)  # type: ignore[misc]
    for status in ("running", "succeeded", "failed", "waiting"):
        yield f"list {status}", lambda store, status=status: store.runs(status=status)  # type: ignore[misc]
    for day in "0123":
        yield f"list day {day}", lambda store, day=day: store.runs(tags={"day": day})  # type: ignore[misc]
    yield "list tag", lambda store: store.runs(tags={"n": "é"}, limit=5)
    for run_id in RUNS:
        yield f"find {run_id}", lambda store, run_id=run_id: store.find(run_id)  # type: ignore[misc]
        yield f"rows {run_id}", lambda store, run_id=run_id: list(store.rows(run_id))  # type: ignore[misc]
        yield f"letters {run_id}", lambda store, run_id=run_id: store.letters(run_id)  # type: ignore[misc]
        yield f"notes {run_id}", lambda store, run_id=run_id: store.notes(run_id)  # type: ignore[misc]
        yield (
            f"notes of kind usage {run_id}",
            lambda store, run_id=run_id: store.notes(run_id, kind="usage"),  # type: ignore[misc]
        )
        yield (
            f"notes of node parse {run_id}",
            lambda store, run_id=run_id: store.notes(run_id, node="parse"),  # type: ignore[misc]
        )
    for place in range(4):
        yield f"value {place}", lambda store, place=place: _value(store, place)  # type: ignore[misc]


def _value(store: SqliteStore, place: int) -> bytes:
    from hashlib import sha256

    return store.get(sha256(values()[place]).hexdigest())


def ask(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a store answers; an error is an answer too. And what it says of itself."""
    try:
        store = SqliteStore(path)
    except StoreError as error:
        return {name: error for name, _ in questions()}, [f"not opened: {error}"]
    with store:
        return answers_of(store), store.warnings


def answers_of(store: SqliteStore) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name, question in questions():
        try:
            answers[name] = question(store)
        except Exception as error:
            answers[name] = error
    return answers


def wrong(truth: dict[str, Any], answers: dict[str, Any], said: list[str]) -> list[str]:
    """Answers that are neither right nor a typed error. If the store says that it has lost commits, it may
    answer as it would have done at an earlier time."""
    found = []
    lost = any("lost" in line or "cut" in line or "log" in line for line in said)
    for name, answer in answers.items():
        if answer == truth[name] or isinstance(answer, StoreDamaged | ValueLost):
            continue
        if isinstance(answer, StoreError) and said and said[0].startswith("not opened"):
            continue
        if lost and _earlier(name, truth[name], answer):
            continue
        found.append(f"{name}: {answer!r}"[:300])
    return found


def _earlier(name: str, now: Any, answer: Any) -> bool:
    if name.startswith("rows"):
        return not isinstance(answer, list) or answer == now[: len(answer)]
    return not name.startswith("value")


def flipped(path: Path, random: random.Random) -> str:
    """Turns one bit of one of the files over."""
    file = _some_file(path, random)
    data = bytearray(file.read_bytes())
    place = random.randrange(len(data))
    if random.random() < 0.5 and (
        marks := _marks(bytes(data))
    ):  # the small tables are hit as often as the large one
        place = min(max(random.choice(marks) + random.randrange(-150, 150), 0), len(data) - 1)
    data[place] ^= 1 << random.randrange(8)
    file.write_bytes(data)
    return f"byte {place} of {file.relative_to(path.parent)}"


def _marks(data: bytes) -> list[int]:
    """Where rows of the catalog, tags, letters and the tables themselves are."""
    words = rb"a/b\.py:flow|letter to|a note of|\"day\"|CREATE |flow-\d"
    return [found.start() for found in re.finditer(words, data)]


def truncated(path: Path, random: random.Random) -> str:
    """Cuts one of the files."""
    file = _some_file(path, random)
    size = file.stat().st_size
    end = random.choice([0, 1, size - 1, random.randrange(size), random.randrange(size) // 2048 * 2048])
    os.truncate(file, end)
    return f"{file.relative_to(path.parent)} cut at {end} of {size}"


def _some_file(path: Path, random: random.Random) -> Path:
    files = [path, *path.parent.glob("*-wal")] * 4 + sorted((path.parent / f"{path.name}-values").glob("*/*"))
    return random.choice([file for file in files if file.stat().st_size])


def contents(path: Path) -> dict[str, bytes]:
    """The database and its log, byte by byte."""
    return {
        file.name: file.read_bytes()
        for file in path.parent.iterdir()
        if file.name in (path.name, f"{path.name}-wal")
    }
