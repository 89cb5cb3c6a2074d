"""What is read from and written to the tables, within a transaction that somebody else has begun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from penstock.core.storage import Claim, Letter, Note, Page, RunEntry
from penstock.stores import rules

from . import migrations, records
from . import statements as sql
from .driver import Connection, damaged

_LAST = 1 << 63

# Runs


def find(connection: Connection, path: str, run_id: str) -> RunEntry | None:
    found = connection.execute(sql.FIND, (run_id,)).fetchone()
    return None if found is None else records.run_entry(found, path)


def listed(
    connection: Connection,
    path: str,
    tags: Mapping[str, str] | None,
    flow: str | None,
    status: str | None,
    before: int | None,
    limit: int | None,
) -> list[RunEntry]:
    bound: list[Any] = []
    for name, value in (tags or {}).items():
        bound += [records.tag_text(name), records.tag_text(value)]
    bound += [word for word in (flow, status) if word is not None]
    bound += [records.MOST_RUNS if before is None else before, -1 if limit is None else max(limit, 0)]
    query = sql.listing(len(tags or {}), flow is not None, status is not None)
    return [records.run_entry(columns, path) for columns in connection.execute(query, bound).fetchall()]


def add_run(connection: Connection, entry: RunEntry) -> RunEntry:
    """Adds a run and its tags; gives it with its number."""
    (number,) = connection.execute(sql.NEXT_NUMBER).fetchone()
    entry = entry._replace(number=number)
    connection.execute(sql.ADD_RUN, records.run_columns(entry))
    connection.executemany(sql.ADD_TAG, records.tag_columns(entry.tags, number))
    return entry


def change_run(connection: Connection, entry: RunEntry) -> None:
    connection.execute(sql.CHANGE_RUN, records.changed_columns(entry))


def claimed(connection: Connection, path: str, claim: Claim) -> RunEntry:
    """The run of a claim.

    Raises:
        ClaimLost: It is another's, or is no more.
    """
    found = connection.execute(sql.RUN_OF_NUMBER, (claim.number,)).fetchone()
    if found is not None:
        entry = records.run_entry(found, path)
        if (entry.epoch, entry.run_id) == (claim.epoch, claim.run_id):
            return entry
    raise rules.claim_lost(claim)


# Rows of the journal


def span(number: int) -> tuple[int, int]:
    """The ids between which, both excluded, the rows of a run lie."""
    return number << records.ROW_BITS, (number + 1) << records.ROW_BITS


def last_row(connection: Connection, number: int) -> int:
    """The number of a run's last row; 0 if it has none."""
    first, end = span(number)
    found = connection.execute(sql.LAST_ROW, (first, end)).fetchone()
    return 0 if found is None else int(found[0]) - first


def read_rows(connection: Connection, path: str, number: int, after: int, limit: int) -> list[str]:
    """Up to `limit` rows of a run, from number `after` + 1 on.

    Raises:
        StoreDamaged: One is missing in between, or is not what was written.
    """
    first, end = span(number)
    texts: list[str] = []
    expected = first + after
    digest_of = records.row_digest
    for id, body, digest in connection.execute(sql.ROWS, (expected, end, limit)).fetchall():
        expected += 1
        if id != expected:
            raise damaged(path, f"row {expected - first} of run {number} is missing in table 'journal'")
        if type(body) is not str or digest_of(id, body) != digest:
            what = f"row {expected - first} of run {number} in table 'journal' is not what was written"
            raise damaged(path, what)
        texts.append(body)
    return texts


def add_page(connection: Connection, path: str, claim: Claim, page: Page, now: float) -> int:
    """Writes a page: all that it says, or nothing if it is there already. Gives the number of the last row.

    Raises:
        ClaimLost: The run is another's.
        StoreError: The page does not go with the rows that are there.
    """
    entry = claimed(connection, path, claim)
    last = last_row(connection, claim.number)
    if page.first < 1 or page.first > last + 1:
        raise rules.wrong_start(claim, page, last)
    if page.rows and page.first <= last:
        there = read_rows(connection, path, claim.number, page.first - 1, len(page.rows))
        rules.check_same(claim, page, there)
        return last
    if entry.owner is None:
        if not page.rows and page.status == entry.status:
            return last
        raise rules.claim_lost(claim)
    write_page(connection, entry, page, now)
    return last + len(page.rows)


def write_page(connection: Connection, entry: RunEntry, page: Page, now: float) -> None:
    """Writes all that a page says."""
    number = entry.number
    connection.executemany(sql.ADD_ROW, _row_columns(number, page))
    connection.executemany(sql.ADD_USE, [records.use_columns(number, value) for value in page.blobs])
    connection.executemany(sql.DELETE_LETTER, [(letter, number) for letter in page.read])
    if page.status is not None:
        rows = page.first - 1 + len(page.rows)
        change_run(connection, rules.with_status(entry, page.status, rows, now))


def _row_columns(number: int, page: Page) -> Iterator[tuple[int, str, bytes]]:
    id = span(number)[0] + page.first - 1
    for body in page.rows:
        id += 1
        yield id, body, records.row_digest(id, body)


def count_rows(connection: Connection, path: str) -> None:
    """Notes of each run that is driven how many rows it has."""
    for (number,) in connection.execute(sql.LIVE).fetchall():
        entry = records.run_entry(connection.execute(sql.RUN_OF_NUMBER, (number,)).fetchone(), path)
        rows = last_row(connection, number)
        if rows > entry.rows:
            change_run(connection, entry._replace(rows=rows))


# Letters


def add_letter(connection: Connection, number: int, letter: Letter) -> int:
    (id,) = connection.execute(sql.NEXT_LETTER).fetchone()
    connection.execute(sql.ADD_LETTER, records.letter_columns(id, number, letter))
    return int(id)


def letters(connection: Connection, path: str, number: int, after: int) -> list[Letter]:
    found = connection.execute(sql.LETTERS, (number, after)).fetchall()
    return [records.letter_of(columns, path) for columns in found]


# Notes


def has_notes(connection: Connection) -> bool:
    """Whether there is a table of them: a file of an older version, opened only to be read, has none."""
    return bool(connection.execute(sql.USER_VERSION).fetchone()[0] >= migrations.WITH_NOTES)


def add_notes(connection: Connection, number: int, notes: Sequence[Note]) -> None:
    """Adds notes of a run. Of each path only the last progress stays."""
    first, end = span(number)
    found = connection.execute(sql.LAST_NOTE, (first, end)).fetchone()
    last = first if found is None else found[0]  # looked up before any goes: an id is never given twice
    latest = {note.path: place for place, note in enumerate(notes) if note.kind == rules.PROGRESS}
    stay = [
        note for place, note in enumerate(notes) if note.kind != rules.PROGRESS or latest[note.path] == place
    ]
    connection.executemany(sql.DELETE_PROGRESS, [(path, first, end) for path in latest])
    rows = [records.note_columns(id, note) for id, note in enumerate(stay, last + 1)]
    connection.executemany(sql.ADD_NOTE, rows)


def notes(
    connection: Connection,
    path: str,
    number: int,
    after: int,
    kind: str | None,
    node: str | None,
    limit: int,
) -> list[Note]:
    """Up to `limit` notes of a run with an id above `after`, the oldest first.

    Raises:
        StoreDamaged: One is not what was written.
    """
    if not has_notes(connection):
        return []
    first, end = span(number)
    bound = [max(first, min(after, end)), end, *[one for one in (node, kind) if one is not None], limit]
    query = sql.some_notes(node=node is not None, kind=kind)
    return [records.note_of(columns, path) for columns in connection.execute(query, bound).fetchall()]


# Deleting


def forget_run(connection: Connection, number: int, most: int) -> bool:
    """Deletes all of a run but for rows and notes beyond `most`; whether there may be such.

    From the end of the transaction on nothing leads to the run; its grave remembers the rows that are left.
    """
    for statement in (sql.DELETE_TAGS, sql.DELETE_USES, sql.DELETE_LETTERS, sql.DELETE_RUN):
        connection.execute(statement, (number,))
    connection.execute(sql.ADD_GRAVE, (number, records.digest_of(number)))
    return dig(connection, number, most)


def dig(connection: Connection, number: int, most: int) -> bool:
    """Deletes up to `most` rows and notes of a run that is forgotten; whether there may be more."""
    for statement in (sql.DELETE_ROWS, sql.DELETE_NOTES):
        most -= connection.execute(statement, (*span(number), most)).rowcount
        if most <= 0:
            return True
    connection.execute(sql.DELETE_GRAVE, (number,))
    return False


def unused(connection: Connection, values: Iterable[str]) -> Sequence[str]:
    """Of some digests those of which no run speaks."""
    return [
        value
        for value in values
        if connection.execute(sql.IS_USED, (bytes.fromhex(value),)).fetchone() is None
    ]
