"""The tables of the store, as numbered steps from one version to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from . import places
from . import statements as sql
from .driver import Connection, complete_statement

APPLICATION = 0x50454E53  # "PENS", in the head of the file
VERSION = 2
WITH_NOTES = 2  # the first version that has them


def scripts() -> list[str]:
    """What leads to version 1, from there to version 2, and so on."""
    folder = os.path.join(os.path.dirname(__file__), "schema")
    read = __spec__.loader.get_data  # type: ignore[union-attr]  # also from an archive
    return [read(os.path.join(folder, f"{number:03}.sql")).decode() for number in range(1, VERSION + 1)]


def migrate(connection: Connection, path: str, at: int, steps: Sequence[str]) -> str | None:
    """Brings the tables from version `at` to that of the last step: a new file in one transaction, so that
    there never is one of an older version, and others in a transaction for each step.

    The caller holds the lock between processes. A file that has something in it is copied first.

    Returns:
        Where the copy is.
    """
    copy = _kept_copy(connection, path, at) if 0 < at < len(steps) else None
    todo = list(enumerate(steps[at:], at + 1)) if at else [(len(steps), "".join(steps))]
    for number, script in todo:
        connection.execute(sql.BEGIN)
        try:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(sql.set_application(APPLICATION))
            connection.execute(sql.set_version(number))
            connection.execute(sql.COMMIT)
        except BaseException:
            if connection.in_transaction:
                connection.execute(sql.ROLLBACK)
            raise
    return copy


def _kept_copy(connection: Connection, path: str, version: int) -> str:
    copy = f"{path}.version-{version}"
    unfinished = copy + ".part"
    if os.path.exists(unfinished):
        os.unlink(unfinished)  # of a process that died
    places.make_file(unfinished)
    connection.execute(sql.VACUUM_INTO, (unfinished,))
    os.replace(unfinished, copy)
    return copy


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit what has begun."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if complete_statement(statement):
            yield statement
            statement = ""
