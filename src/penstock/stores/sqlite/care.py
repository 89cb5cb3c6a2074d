"""Looking after a store: what `penstock doctor` says of it, and copies of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from penstock.core.errors import StoreError, ValueLost
from penstock.stores.values import ValueFiles

from . import checking, places
from . import statements as sql
from .database import Database
from .driver import FIXED, Error, connect, store_error, version, version_text

_LONG = 64 * 1024 * 1024


def check(database: Database, values: ValueFiles) -> list[str]:
    """What is wrong with a store, in lines for people."""
    path = database.path
    found = list(database.warnings)
    with database.reading() as reader:
        found += checking.problems(reader, path)
        used = {row[1].hex() for row in reader.execute(sql.ALL_USES) if checking.is_use(row)}
    for digest in sorted(used):
        try:
            values.get(digest)
        except ValueLost as error:
            found.append(str(error))
    found += _permissions(path, values.folder)
    log = path + "-wal"
    if os.path.exists(log) and os.stat(log).st_size > 2 * _LONG:
        found.append(f"{log} has {os.stat(log).st_size / 1e6:.0f} MB: somebody reads for a very long time")
    if os.stat(path).st_nlink > 1:
        found.append(f"{path} has several names (hard links): opened by another one it would be damaged")
    return found


def hazards() -> list[str]:
    """What should be known of the SQLite that is in use, though nothing is wrong."""
    if version() >= FIXED:
        return []
    fixed = ".".join(map(str, FIXED))
    return [
        f"SQLite {version_text()} may lose a commit when the log is reset at the same instant (mended in "
        f"{fixed}). Penstock keeps its own processes from that by a lock; other programs should not write to "
        "the store. `pip install penstock[sqlite]` brings a newer SQLite."
    ]


def backup(database: Database, values: ValueFiles, to: str) -> None:
    """Copies a store into a new file; its values go beside it."""
    if os.path.exists(to):
        raise StoreError(f"there is something at {to} already")
    places.prepare(to)
    unfinished = to + ".part"
    if os.path.exists(unfinished):
        os.unlink(unfinished)
    places.make_file(unfinished)
    target = connect(unfinished, busy=0.0)
    try:
        with database.reading() as reader:
            reader.backup(target)
            used = {row[1].hex() for row in reader.execute(sql.ALL_USES)}
        target.execute(sql.NO_WAL).fetchall()
    except Error as error:
        raise store_error(error, unfinished) from None
    finally:
        target.close()
    copies = ValueFiles(to + "-values")
    for digest in used:
        copies.put(values.get(digest))
    os.replace(unfinished, to)
    places.sync_folder(os.path.dirname(to))


def _permissions(path: str, values: str) -> Iterator[str]:
    if os.name != "posix":
        return
    for place in (path, path + "-wal", path + "-shm", path + ".lock", values):
        try:
            mode = stat.S_IMODE(os.stat(place).st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield f"{place} may be read by other users (its permissions are {mode:04o}): `chmod go= {place}`"
