"""The part of the store that keeps notes: what stands beside the journals of runs."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.core.storage import Note
from penstock.stores import rules

from . import tables
from .database import Database

_CHUNK = 5_000  # notes that are read in one transaction


class NotesOfFile:
    """Adds notes, each call in one short transaction, and finds them."""

    _path: str
    _busy: float

    def note(self, run_id: str, notes: Sequence[Note]) -> None:
        for one in notes:
            rules.check_note(one)
        database = self._writable()
        if not rules.can_be_text(run_id):
            raise rules.not_found(run_id)
        with database.writing(self._busy) as writer:
            entry = tables.find(writer, self._path, run_id)
            if entry is None:
                raise rules.not_found(run_id)
            tables.add_notes(writer, entry.number, notes)

    def notes(
        self,
        run_id: str,
        after: int = 0,
        *,
        kind: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> list[Note]:
        if not all(rules.can_be_text(text) for text in (run_id, kind, node) if text is not None):
            return []
        database = self._opened()
        with database.reading() as reader:
            entry = tables.find(reader, self._path, run_id)
        found: list[Note] = []
        wanted = _CHUNK
        while entry is not None and wanted == _CHUNK:
            if limit is not None:
                wanted = min(_CHUNK, max(limit, 0) - len(found))
            with database.reading() as reader:
                chunk = tables.notes(reader, self._path, entry.number, after, kind, node, wanted)
            found += chunk
            if len(chunk) < wanted or not chunk:
                break
            after = chunk[-1].id
        return found

    def _opened(self) -> Database:
        raise NotImplementedError

    def _writable(self) -> Database:
        raise NotImplementedError
