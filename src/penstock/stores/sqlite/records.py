"""How records lie in the tables: columns in order, and the digest that tells whether they are as written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from penstock.core.errors import StoreDamaged
from penstock.core.storage import Letter, Note, Owner, RunEntry

from .driver import damaged

ROW_BITS = 32
MOST_RUNS = 1 << 31

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def row_digest(id: int, body: str) -> bytes:
    """Of a row of the journal; its id holds the numbers of run and row."""
    return sha256(f"{id}:{body}".encode()).digest()[:16]


def digest_of(*columns: Any) -> bytes:
    """Of a row of another table."""
    return sha256(_dumps(columns).encode()).digest()[:16]


def run_columns(entry: RunEntry) -> tuple[Any, ...]:
    """A run as `statements.COLUMNS` has it, and the digest."""
    owner = entry.owner or (None, None, None, None)
    columns = (
        *(entry.number, entry.epoch, *owner),
        None if entry.expires is None else float(entry.expires),
        *(entry.status, float(entry.updated), entry.recoveries, entry.rows),
        *(entry.run_id, entry.flow, float(entry.created)),
        None if entry.parent is None else _dumps(entry.parent),
        None if entry.target is None else _dumps(entry.target),
        *(_dumps(dict(entry.tags)), _dumps(dict(entry.about))),
    )
    return (*columns, digest_of(*columns))


def changed_columns(entry: RunEntry) -> tuple[Any, ...]:
    """A run as `statements.CHANGE_RUN` takes it."""
    columns = run_columns(entry)
    return (*columns[1:11], columns[-1], entry.number)


def run_entry(columns: tuple[Any, ...], path: str) -> RunEntry:
    """The run in a row of `statements.COLUMNS` and the digest.

    Raises:
        StoreDamaged: It is not what was written.
    """
    try:
        if digest_of(*columns[:-1]) != columns[-1]:
            raise _wrong(path, "runs", columns[0])
        number, epoch, host, boot, pid, started, expires, status, updated, recoveries, rows = columns[:11]
        run_id, flow, created, parent, target, tags, about = columns[11:-1]
        return RunEntry(
            run_id, flow, status, created, updated,
            json.loads(tags),
            parent if parent is None else json.loads(parent),
            target if target is None else json.loads(target),
            json.loads(about),
            recoveries, epoch,
            None if host is None else Owner(host, boot, pid, started),
            expires, rows, number,
        )  # fmt: skip
    except (TypeError, ValueError):
        raise _wrong(path, "runs", columns[0]) from None


def tag_columns(tags: Mapping[str, str], number: int) -> list[tuple[Any, ...]]:
    """Rows of `tags`: JSON, which has a form for every text."""
    pairs = [(_dumps(name), _dumps(value)) for name, value in tags.items()]
    return [(name, value, number, digest_of(name, value, number)) for name, value in pairs]


def tag_text(text: str) -> str:
    """A tag as the table holds it."""
    return _dumps(text)


def use_columns(number: int, value: str) -> tuple[Any, ...]:
    return (number, bytes.fromhex(value), digest_of(number, value))


def letter_columns(id: int, number: int, letter: Letter) -> tuple[Any, ...]:
    columns = (id, number, letter.kind, letter.node, letter.body, float(letter.at))
    return (*columns, digest_of(*columns))


def letter_of(columns: tuple[Any, ...], path: str) -> Letter:
    """The letter in a row of `letters`.

    Raises:
        StoreDamaged: It is not what was written.
    """
    if not is_right(columns[:-1], columns[-1]):
        raise _wrong(path, "letters", columns[0])
    return Letter(columns[0], *columns[2:-1])


def note_columns(id: int, note: Note) -> tuple[Any, ...]:
    columns = (id, note.kind, note.node, note.path, note.token, float(note.at), note.body)
    return (*columns, digest_of(*columns))


def note_of(columns: tuple[Any, ...], path: str) -> Note:
    """The note in a row of `notes`.

    Raises:
        StoreDamaged: It is not what was written.
    """
    if not is_right(columns[:-1], columns[-1]):
        raise _wrong(path, "notes", columns[0])
    id, kind, node, where, token, at, body, _ = columns
    return Note(kind, node, where, token, at, body, id)


def is_right(columns: tuple[Any, ...], digest: object) -> bool:
    """Whether a row is what was written; what lies there may be of any type by now."""
    try:
        return digest_of(*columns) == digest
    except (TypeError, ValueError):
        return False


def _wrong(path: str, table: str, key: object) -> StoreDamaged:
    return damaged(path, f"row {key!r} of table {table!r} is not what was written")
