"""The module that talks to SQLite, and what its errors mean to those who do not."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from penstock.core.errors import StoreBusy, StoreDamaged, StoreError, StoreFull

from . import statements as sql

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import pysqlite3 as sqlite3  # a newer SQLite than the system's, where somebody has installed it
    except ImportError:
        import sqlite3

Connection = sqlite3.Connection
Cursor = sqlite3.Cursor
Error = (sqlite3.Error, UnicodeDecodeError)  # the latter where a damaged name is put into a message
IntegrityError = sqlite3.IntegrityError
complete_statement = sqlite3.complete_statement

FIXED = (3, 51, 3)  # from here on WAL files may be reset and checkpointed at the same instant

WAY_OUT = "`penstock doctor` says more and copies what is sound into a new store; nothing was changed"

_BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT = 5, 6, 7, 8, 10, 11
_FULL, _CANTOPEN, _AUTH, _NOTADB = 13, 14, 23, 26

_BY_TEXT = {  # for drivers that give no codes
    "locked": _BUSY,
    "malformed": _CORRUPT,
    "not a database": _NOTADB,
    "Could not decode": _CORRUPT,  # from the module itself, which gives no code
    "no such": _CORRUPT,  # all statements are ours, so a table has gone
    "full": _FULL,
    "readonly": _READONLY,
    "unable to open": _CANTOPEN,
    "I/O": _IOERR,
}


def version() -> tuple[int, ...]:
    return sqlite3.sqlite_version_info


def version_text() -> str:
    return sqlite3.sqlite_version


def connect(path: str, *, busy: float, how: str = "rw") -> Connection:
    """A connection with nothing but what is set here.

    Args:
        path: The file, which must be there.
        busy: Seconds that SQLite itself waits for a lock of other programs.
        how: ``rw``, ``ro``, or ``immutable``: nobody writes to it, for nobody can.
    """
    from urllib.parse import quote

    mode = "mode=ro&immutable=1" if how == "immutable" else f"mode={how}"
    connection = sqlite3.connect(
        f"file:{quote(path)}?{mode}",
        uri=True,
        timeout=busy,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        for statement in sql.FOR_ALL:
            connection.execute(statement)
        _be_defensive(connection)
        if how != "rw":
            connection.execute(sql.FOR_READERS)
    except BaseException:
        connection.close()
        raise
    return connection


def _be_defensive(connection: Any) -> None:
    """No statement may write into the file past SQLite's own rules; there from Python 3.12 on."""
    defensive = getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE", None)
    if defensive is not None and hasattr(connection, "setconfig"):
        connection.setconfig(defensive, True)


def code_of(error: BaseException) -> int:
    """SQLite's primary code of an error; 0 if it has none."""
    if isinstance(error, UnicodeDecodeError):
        return _CORRUPT
    code = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    if code is not None and not (code == 1 and "no such" in text):
        return int(code) & 0xFF
    return next((known for words, known in _BY_TEXT.items() if words in text), 0)


def store_error(error: BaseException, path: str) -> StoreError:
    """What an error of SQLite is to those who use the store."""
    code = code_of(error)
    if code in (_BUSY, _LOCKED):
        return StoreBusy(f"{path} is locked by another program; try again when it is done")
    if code == _FULL:
        return StoreFull(f"there is no space left for {path}: {free_space(path)}; nothing was half written")
    if code in (_CORRUPT, _NOTADB):
        return StoreDamaged(f"{path} is damaged, or not a store ({error}); {WAY_OUT}")
    if code in (_READONLY, _CANTOPEN, _AUTH):
        return StoreError(f"{path} cannot be opened or written ({error}); {_permissions(path)}")
    wrong = StoreError(f"{path}: {error}")
    if code in (_IOERR, _NOMEM):
        wrong = StoreError(f"{path} could not be read or written ({error}; {free_space(path)})")
        wrong.transient = True
    return wrong


def damaged(path: str, what: str) -> StoreDamaged:
    return StoreDamaged(f"{path} is damaged: {what}; {WAY_OUT}")


def free_space(path: str) -> str:
    folder = os.path.dirname(path) or "."
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return f"how much is free in {folder} is not known"
    return f"{free / 1e6:,.1f} MB are free in {folder}"


def _permissions(path: str) -> str:
    folder = os.path.dirname(path) or "."
    for place in (folder, path):
        try:
            mode = os.stat(place).st_mode & 0o777
        except OSError as error:
            return f"{place}: {error.strerror}"
        if not os.access(place, os.W_OK):
            return f"{place} has the permissions {mode:04o} and may not be written by this user"
    return f"{folder} and the file may be written by this user; is the disk mounted read-only?"
