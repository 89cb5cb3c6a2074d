"""What is done and looked at when a store is opened, before anybody relies on it."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from penstock.core.errors import StoreError, StoreTooNew

from . import checking, migrations, places
from . import statements as sql
from .driver import Connection, Error, connect, damaged
from .lock import FileLock

_SMALL_PAGES = 512  # up to here all of a file is checked when it is opened
_SMALL_RUNS = 5_000  # up to here the catalog is

_OURS = {"runs", "journal", "letters"}


class State(NamedTuple):
    """What a file says of itself.

    Attributes:
        version: Of its tables.
        too_new: Why this library only reads it; empty if it does not.
        in_wal_mode: Whether commits are in a log beside it; when it was closed in order, they are not.
    """

    version: int
    too_new: str
    in_wal_mode: bool


def begin(path: str, busy: float, lock: FileLock) -> None:
    """Makes the file with its tables if there is none. The caller holds the lock.

    Raises:
        StoreDamaged: There was a store, and its file is gone or empty.
    """
    if os.path.exists(path) and _size(path + "-journal"):
        _roll_back(path, busy)
    if _size(path):
        return
    if _size(path + "-wal"):
        raise damaged(path, f"it is empty or gone, and its log {path}-wal is not")
    if os.path.exists(path) and lock.is_marked():
        raise damaged(path, "it is empty, and has been a store before; delete it if a new one may begin")
    places.make_file(path)
    connection = connect(path, busy=busy)
    try:
        connection.execute(sql.SMALL_PAGES)
        connection.execute(sql.SYNCHRONOUS["power"])
        migrations.migrate(connection, path, 0, migrations.scripts())
    finally:
        connection.close()
    places.sync_folder(os.path.dirname(path))
    lock.mark(path)


def reader(path: str, busy: float) -> Connection:
    """A connection that only reads."""
    connection = connect(path, busy=busy, how="ro")
    try:
        connection.execute(sql.USER_VERSION).fetchone()
        connection.execute(sql.TABLES).fetchall()
        return connection
    except Error:
        connection.close()
        if os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path + "-wal"):
            raise
    return connect(
        path, busy=busy, how="immutable"
    )  # nobody can make the log that a reader needs, or write one


def look(connection: Connection, path: str) -> State:
    """What a file is.

    Raises:
        StoreError: It is none of ours.
    """
    (application,) = connection.execute(sql.APPLICATION_ID).fetchone()
    (version,) = connection.execute(sql.USER_VERSION).fetchone()
    tables = {name for (name,) in connection.execute(sql.TABLES)}
    if application != migrations.APPLICATION:
        if tables >= _OURS:
            raise damaged(path, "its head is not what was written")
        raise StoreError(f"{path} is a database of another program; choose another place for the store")
    if version < 1 or not tables >= _OURS or (version >= migrations.WITH_NOTES and "notes" not in tables):
        raise damaged(path, "its tables are not what was written")
    too_new = ""
    if version > migrations.VERSION:
        too_new = (
            f"{path} was written by a later version of Penstock (its tables are of version {version}, and "
            f"this one knows up to {migrations.VERSION}): it is only read; update Penstock to write to it"
        )
    (mode,) = connection.execute(sql.JOURNAL_MODE).fetchone()
    return State(version, too_new, mode == "wal")


def check_small(connection: Connection, path: str) -> None:
    """Checks what can be checked quickly: all of a small file, or a catalog that is not large.

    Raises:
        StoreDamaged: Something is wrong.
    """
    (pages,) = connection.execute(sql.PAGES).fetchone()
    found = []
    if pages <= _SMALL_PAGES:
        found = connection.execute(sql.INTEGRITY_CHECK).fetchall()
    elif connection.execute(sql.COUNT_RUNS, (_SMALL_RUNS + 1,)).fetchone()[0] <= _SMALL_RUNS:
        for statement in sql.CHECK_CATALOG:
            found += connection.execute(statement).fetchall()
    for (line,) in found:
        if line != "ok":
            raise damaged(path, str(line))


def check_all(connection: Connection, path: str, missing: str) -> None:
    """Checks everything, after commits were found missing.

    Raises:
        StoreDamaged: What is left is not of one time.
    """
    for line in checking.problems(connection, path):
        raise damaged(path, f"{missing}; {line}")


def keep_log(path: str) -> str:
    """Copies a damaged log aside, before SQLite writes over what it does not know; gives the copy's path."""
    number = 1
    while os.path.exists(copy := f"{path}-wal.damaged-{number}"):
        number += 1
    places.make_file(copy)
    shutil.copyfile(path + "-wal", copy)
    return copy


def writer(path: str, busy: float, *, network: bool) -> tuple[Connection, str | None]:
    """A connection that writes, to tables of this version; the caller holds the lock.

    Returns:
        The connection, and where a copy of an older version is kept, if there was one.
    """
    connection = connect(path, busy=busy)
    try:
        if network:
            connection.execute(sql.EXCLUSIVE).fetchall()
        state = look(connection, path)
        if state.too_new:
            raise StoreTooNew(state.too_new)
        copy = migrations.migrate(connection, path, state.version, migrations.scripts())
        (mode,) = connection.execute(sql.NO_WAL if network else sql.WAL).fetchone()
        if mode != ("delete" if network else "wal"):
            raise StoreError(f"{path} cannot be put into the journal mode it needs; it is in mode {mode!r}")
        if not network:
            connection.execute(sql.BEGIN)
            connection.execute(sql.COMMIT)  # makes the log and its index
        return connection, copy
    except BaseException:
        connection.close()
        raise


def _roll_back(path: str, busy: float) -> None:
    """Lets SQLite undo a transaction that was cut off; one that only reads could not."""
    connection = connect(path, busy=busy)
    try:
        connection.execute(sql.TABLES).fetchall()
    finally:
        connection.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
