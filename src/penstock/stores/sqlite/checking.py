"""Looks at all that is in the tables, and says in lines for people what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.core.errors import StoreDamaged
from penstock.core.storage import RunEntry

from . import records, tables
from . import statements as sql
from .driver import Connection, Error

_ROWS = 1_000
_MOST = 50  # lines of one kind; more would say nothing more


def problems(connection: Connection, path: str) -> Iterator[str]:
    """All that is wrong with what is in the tables, and with the tables themselves."""
    try:
        for (line,) in connection.execute(sql.INTEGRITY_CHECK).fetchall():
            if line != "ok":
                yield f"the file itself: {line}"
        runs: dict[int, RunEntry] = {}
        for found in connection.execute(sql.ALL_RUNS):
            try:
                entry = records.run_entry(found, path)
                runs[entry.number] = entry
            except StoreDamaged:
                yield f"run {found[0]} in the catalog is not what was written"
        for entry in runs.values():
            yield from _rows(connection, path, entry)
        yield from _strays(connection, runs)
        yield from _tags(connection, runs)
        yield from _notes(connection, runs)
        yield from _others(connection, runs)
    except Error as error:
        yield f"the file cannot be read to its end: {error}"


def rows_of(connection: Connection, path: str, entry: RunEntry) -> Iterator[list[str]]:
    """The rows of a run, some at a time.

    Raises:
        StoreDamaged: One is missing, or is not what was written.
    """
    after = 0
    while rows := tables.read_rows(connection, path, entry.number, after, _ROWS):
        after += len(rows)
        yield rows
    if after < entry.rows:
        raise StoreDamaged(cut(entry, after))


def cut(entry: RunEntry, rows: int) -> str:
    missing = entry.rows - rows
    return f"{missing} rows of run {entry.run_id!r} are missing at its end: the file was cut"


def _rows(connection: Connection, path: str, entry: RunEntry) -> Iterator[str]:
    count = 0
    try:
        for rows in rows_of(connection, path, entry):
            count += len(rows)
    except StoreDamaged as error:
        yield f"run {entry.run_id!r}, behind row {count}: {error}"


def _strays(connection: Connection, runs: dict[int, RunEntry]) -> Iterator[str]:
    """Rows of the journal, and notes, that belong to no run."""
    known = runs.keys() | {number for number, _ in connection.execute(sql.GRAVES)}
    kinds = [("rows", sql.FIRST_AFTER)]
    if tables.has_notes(connection):
        kinds.append(("notes", sql.FIRST_NOTE_AFTER))
    for what, statement in kinds:
        at = found = 0
        while found < _MOST and (row := connection.execute(statement, (at,)).fetchone()):
            number = row[0] >> records.ROW_BITS
            if number not in known:
                found += 1
                yield f"there are {what} of run {number}, and it is not in the catalog"
            at = tables.span(number)[1]


def _notes(connection: Connection, runs: dict[int, RunEntry]) -> Iterator[str]:
    if not tables.has_notes(connection):
        return
    found = 0
    for columns in connection.execute(sql.ALL_NOTES):
        if not records.is_right(columns[:-1], columns[-1]):
            entry = runs.get(columns[0] >> records.ROW_BITS)
            of = "" if entry is None else f" of run {entry.run_id!r}"
            yield f"a note{of} is not what was written (row {columns[0]} of table 'notes')"
            found += 1
            if found == _MOST:
                return


def _tags(connection: Connection, runs: dict[int, RunEntry]) -> Iterator[str]:
    wanted = {row for entry in runs.values() for row in records.tag_columns(entry.tags, entry.number)}
    there = set(connection.execute(sql.ALL_TAGS).fetchall())
    if wanted != there:
        yield f"{len(wanted ^ there)} tags in the index of tags are not those of the runs"


def _others(connection: Connection, runs: dict[int, RunEntry]) -> Iterator[str]:
    def wrong(what: str, found: list[tuple[Any, ...]]) -> Iterator[str]:
        for columns in found[:_MOST]:
            yield f"{what} {columns[0]!r} is not what was written"

    letters = connection.execute(sql.ALL_LETTERS).fetchall()
    yield from wrong("letter", [row for row in letters if not records.is_right(row[:-1], row[-1])])
    uses = connection.execute(sql.ALL_USES).fetchall()
    yield from wrong("the use of a value by run", [row for row in uses if not is_use(row)])
    graves = connection.execute(sql.GRAVES).fetchall()
    yield from wrong("the grave of run", [row for row in graves if not records.is_right(row[:-1], row[-1])])
    lost = {row[1] for row in letters} | {row[0] for row in uses}
    for number in sorted(lost - runs.keys(), key=str)[:_MOST]:
        yield f"letters or values of run {number} are there, and it is not in the catalog"


def is_use(row: tuple[Any, ...]) -> bool:
    number, value, digest = row
    return isinstance(value, bytes) and records.is_right((number, value.hex()), digest)
