"""Saves what is sound of a damaged store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import PenstockError, StoreDamaged, StoreError, ValueLost
from penstock.core.owners import here
from penstock.core.storage import Claim, Note, Page, RunEntry
from penstock.stores import rules
from penstock.stores.values import ValueFiles

from . import checking, records, tables
from . import statements as sql
from .driver import Connection, Error, connect
from .store import SqliteStore

_NOTES = 1_000  # that are copied in one transaction


def salvage(path: str | os.PathLike[str], to: str | os.PathLike[str]) -> list[str]:
    """Copies every run that can be read, and is as it was written, into a new store.

    The damaged one is only copied, never opened.

    Args:
        path: The damaged store's file. No process should have it open.
        to: Where the new one goes; there must be nothing.

    Returns:
        What was left out, in lines for people.

    Raises:
        StoreError: There is something at `to`, or nothing at all could be read.
    """
    source, target = os.path.realpath(path), os.path.realpath(to)
    if os.path.exists(target):
        raise StoreError(f"there is something at {target} already")
    if not os.path.exists(source):
        raise StoreError(f"there is no store at {source}")
    values = ValueFiles(source + "-values")
    left: list[str] = []
    with SqliteStore(target) as store, _copied(source, os.path.dirname(target)) as copy:
        try:
            connection = connect(copy, busy=1.0)
        except Error as error:
            raise StoreError(f"nothing can be read from {source}: {error}") from None
        try:
            for entry in _runs(connection, copy, left):
                _copy(connection, copy, entry, values, store, left)
        finally:
            connection.close()
    return left


@contextmanager
def _copied(path: str, folder: str) -> Iterator[str]:
    """A copy of a store's files, as they are, for as long as it is needed."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".salvage-") as place:
        copy = os.path.join(place, "copy.db")
        for ending in ("", "-wal", "-journal"):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        yield copy


def _runs(connection: Connection, path: str, left: list[str]) -> Iterator[RunEntry]:
    """The runs of the catalog, found by number one by one where they cannot be read in a row."""
    try:
        found = connection.execute(sql.ALL_RUNS).fetchall()
    except Error as error:
        left.append(
            f"the catalog cannot be read in one go ({error}); some runs may be missing without a word"
        )
        found = _one_by_one(connection)
    for columns in found:
        try:
            yield records.run_entry(columns, path)
        except StoreDamaged:
            left.append(f"run {columns[0]}: its entry in the catalog is not what was written")


def _one_by_one(connection: Connection) -> list[tuple[object, ...]]:
    found = []
    misses = number = 0
    while misses < 10_000:
        number += 1
        try:
            columns = connection.execute(sql.RUN_OF_NUMBER, (number,)).fetchone()
        except Error:
            columns = None
        misses = 0 if columns else misses + 1
        if columns:
            found.append(columns)
    return found


def _copy(
    connection: Connection,
    path: str,
    entry: RunEntry,
    values: ValueFiles,
    store: SqliteStore,
    left: list[str],
) -> None:
    """Copies one run, or says why not."""
    try:
        uses = [row[0].hex() for row in connection.execute(sql.USES_OF_RUN, (entry.number,))]
        for digest in uses:
            try:
                store.put(values.get(digest))
            except ValueLost as error:
                left.append(f"run {entry.run_id!r} is there, but {error}")
        for _ in checking.rows_of(connection, path, entry):  # all of it is read before any of it is written
            pass
        letters = tables.letters(connection, path, entry.number, 0)
        claim = _copy_rows(connection, path, entry, uses, store)
    except (*Error, PenstockError) as error:
        left.append(f"run {entry.run_id!r}: {error}")
        return
    for letter in letters:
        store.post(entry.run_id, letter.kind, letter.node, letter.body)
    lost = _copy_notes(connection, path, entry, store)
    if lost:
        left.append(f"run {entry.run_id!r} is there, but {lost}")
    if not rules.ends(entry.status):
        store.release(claim)


def _copy_notes(connection: Connection, path: str, entry: RunEntry, store: SqliteStore) -> str:
    """Copies the notes of a run that can be read; says what was left out. The run is whole without them."""
    first, end = tables.span(entry.number)
    sound: list[Note] = []
    wrong, cut = 0, ""
    try:
        if tables.has_notes(connection):
            for columns in connection.execute(sql.some_notes(node=False, kind=None), (first, end, -1)):
                try:
                    sound.append(records.note_of(columns, path))
                except StoreDamaged:
                    wrong += 1
                if len(sound) == _NOTES:
                    store.note(entry.run_id, sound)
                    sound.clear()
    except Error as error:
        cut = f"its notes (logs, progress) cannot be read to their end: {error}"
    store.note(entry.run_id, sound)
    return cut or (f"{wrong} of its notes (logs, progress) are not what was written" if wrong else "")


def _copy_rows(
    connection: Connection, path: str, entry: RunEntry, uses: list[str], store: SqliteStore
) -> Claim:
    claim = store.create(entry._replace(status="running"), here(), 3600.0, Page(1, (), blobs=uses))
    first = 1
    for rows in checking.rows_of(connection, path, entry):
        store.append(claim, Page(first, rows))
        first += len(rows)
    store.append(claim, Page(first, (), level="power", status=entry.status))
    return claim
