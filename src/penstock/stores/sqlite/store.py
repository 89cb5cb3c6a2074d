"""The store in a SQLite file: what the engine holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from time import monotonic
from types import TracebackType
from typing import Self

from penstock.core.errors import ClaimLost, StoreDamaged, StoreError
from penstock.core.storage import Claim, Letter, Level, Owner, Page, RunEntry
from penstock.stores import rules
from penstock.stores.values import ValueFiles

from . import care, checking, records, tables
from . import statements as sql
from .database import Database, shared
from .driver import Error, IntegrityError
from .lock import GIVE, TAKE, flock
from .notes import NotesOfFile

_ADD, _BITS = sql.ADD_IF_CLAIMED, records.ROW_BITS
_CHUNK = 1_000  # rows that are read in one transaction
_DIG = 20_000  # rows that are deleted in one
_SWEEP = 600.0  # seconds between two looks at all large values


class SqliteStore(NotesOfFile):
    """Keeps runs in one SQLite file, and large values in files beside it.

    Stores of one file share their connections within a process. It may be used by any thread, and by many
    processes at a time, but not by one that was forked while it was open.

    Args:
        path: The file; made if it is not there, private to this user.
        busy: Seconds to wait for another process that writes, before `StoreBusy`.
        clock: What time it is, in seconds since 1970.
        read_only: Nothing is made or written.

    Raises:
        StoreError: It cannot be used there, and why.
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy: float = 5.0,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> None:
        self._path = os.path.realpath(path)
        self._busy = busy
        self._clock = clock
        self._read_only = read_only
        self._swept = 0.0
        self._values = ValueFiles(self._path + "-values")
        self._database: Database | None = None
        self._database = shared(self._path, busy, write=not read_only)
        self._cursor = None if self._database.writer is None else self._database.writer.cursor()

    @property
    def url(self) -> str:
        return f"sqlite:///{self._path}"

    @property
    def path(self) -> str:
        """The file."""
        return self._path

    @property
    def warnings(self) -> list[str]:
        """What should be known of it: commits that were lost, a place that is slow."""
        return list(self._opened().warnings)

    # Catalog

    def create(self, entry: RunEntry, owner: Owner, lasts: float, page: Page) -> Claim:
        rules.check_entry(entry)
        rules.check_page(page)
        database = self._writable()
        now = self._clock()
        with database.writing(self._busy, page.level) as writer:
            if tables.find(writer, self._path, entry.run_id) is not None:
                raise rules.exists(entry.run_id)
            entry = entry._replace(epoch=1, owner=owner, expires=now + lasts, recoveries=0, rows=0)
            entry = tables.add_run(writer, entry)
            claim = Claim(entry.run_id, entry.number, 1)
            if page.first != 1:
                raise rules.wrong_start(claim, page, 0)
            page = page._replace(status=page.status or entry.status)
            tables.write_page(writer, entry, page, entry.updated)
        database.next[claim.number] = 1, 1 + len(page.rows)
        return claim

    def find(self, run_id: str) -> RunEntry | None:
        if not rules.can_be_text(run_id):
            return None
        with self._opened().reading() as reader:
            return tables.find(reader, self._path, run_id)

    def runs(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        flow: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[RunEntry]:
        if not all(rules.can_be_text(word) for word in (flow, status) if word is not None):
            return []
        with self._opened().reading() as reader:
            return tables.listed(reader, self._path, tags, flow, status, before, limit)

    def forget(self, run_ids: Sequence[str]) -> int:
        gone = 0
        for run_id in dict.fromkeys(run_ids):
            gone += self._forget(run_id)
        self._dig()
        self._sweep()
        return gone

    def _forget(self, run_id: str) -> int:
        if not rules.can_be_text(run_id):
            return 0
        with self._writable().writing(self._busy) as writer:
            entry = tables.find(writer, self._path, run_id)
            if entry is None or not rules.free(entry, self._clock()):
                return 0
            tables.forget_run(writer, entry.number, _DIG)
            return 1

    def _dig(self) -> None:
        """Deletes what is left of runs that are forgotten, some rows at a time: others want to write too."""
        database = self._writable()
        while True:
            with database.reading() as reader:
                graves = reader.execute(sql.GRAVES).fetchall()
            if not graves:
                return
            for number, digest in graves:
                if not records.is_right((number,), digest):
                    raise StoreDamaged(f"row {number!r} of table 'graves' in {self._path} is damaged")
                with database.writing(self._busy) as writer:
                    tables.dig(writer, number, _DIG)

    def _sweep(self) -> None:
        if monotonic() < self._swept:
            return
        self._swept = monotonic() + _SWEEP

        def unused(digests: list[str]) -> list[str]:
            with self._opened().reading() as reader:
                return list(tables.unused(reader, digests))

        self._values.sweep(self._clock(), unused)

    # Journal

    def append(self, claim: Claim, page: Page) -> None:
        first, rows, level, status, blobs, read = page
        database = self._database
        if (
            (len(rows) == 1 and status is None and not blobs and not read)
            and (database is not None and database.next.get(claim.number) == (claim.epoch, first))
            and self._append_one(database, claim, first, rows[0], level)
        ):
            return
        self._append(claim, page)

    def _append_one(self, database: Database, claim: Claim, first: int, body: str, level: Level) -> bool:
        """Writes one row, as is done nearly always, in one statement: a transaction of its own, which looks
        at the claim too. False if that could not be, for whatever reason."""
        _, number, epoch = claim
        id = (number << _BITS) + first
        try:
            digest = sha256(f"{id}:{body}".encode()).digest()[:16]  # `records.row_digest`
        except UnicodeEncodeError:
            return False
        with database.mutex:
            lock, cursor = database.lock, self._cursor
            if lock is None or cursor is None or database.writer is None:
                return False
            try:
                flock(lock.fd, TAKE)
            except OSError:
                lock.take(self._busy)
            try:
                if monotonic() > database.look_at:
                    database.look()
                if database.level != level:
                    database.survive(level)
                added = cursor.execute(_ADD, (id, body, digest, number, epoch)).rowcount
                database.ticks -= 1
                if not database.ticks:
                    database.tick()
            except IntegrityError:
                return False
            except Error as error:
                database.undo(database.writer)
                raise database.error(error) from None
            finally:
                flock(lock.fd, GIVE)
            if not added:
                return False
            database.next[number] = epoch, first + 1
            return True

    def _append(self, claim: Claim, page: Page) -> None:
        """Writes any page, or finds out what is wrong with it."""
        rules.check_page(page)
        database = self._writable()
        with database.writing(self._busy, page.level) as writer:
            last = tables.add_page(writer, self._path, claim, page, self._clock())
        if rules.ends(page.status):
            database.next.pop(claim.number, None)
        else:
            database.next[claim.number] = claim.epoch, last + 1

    def rows(self, run_id: str, after: int = 0) -> Iterator[str]:
        entry = self.find(run_id)
        if entry is None:
            raise rules.not_found(run_id)
        return self._rows(entry, max(after, 0))

    def _rows(self, entry: RunEntry, after: int) -> Iterator[str]:
        database = self._opened()
        chunk = _CHUNK
        while True:
            with database.reading() as reader:
                rows = tables.read_rows(reader, self._path, entry.number, after, chunk)
            yield from rows
            after += len(rows)
            if len(rows) < chunk:
                break
        if after < entry.rows and (now := self.find(entry.run_id)) is not None:
            raise StoreDamaged(f"{self._path}: {checking.cut(now, after)}")

    # Values

    def put(self, body: bytes) -> str:
        self._writable().writable()
        return self._values.put(body)

    def get(self, digest: str) -> bytes:
        return self._values.get(digest)

    # Lease

    def claim(self, run_id: str, owner: Owner, lasts: float) -> tuple[Claim, RunEntry]:
        database = self._writable()
        if not rules.can_be_text(run_id):
            raise rules.not_found(run_id)
        with database.writing(self._busy) as writer:
            before = tables.find(writer, self._path, run_id)
            if before is None:
                raise rules.not_found(run_id)
            now = self._clock()
            if not rules.free(before, now):
                raise rules.busy(before)
            entry = rules.with_owner(before, owner, now + lasts, now)
            tables.change_run(writer, entry)
            last = tables.last_row(writer, entry.number)
        database.next[entry.number] = entry.epoch, last + 1
        return Claim(run_id, entry.number, entry.epoch), before

    def renew(self, claim: Claim, lasts: float) -> None:
        with self._writable().writing(self._busy) as writer:
            entry = tables.claimed(writer, self._path, claim)
            if entry.owner is None:
                raise rules.claim_lost(claim)
            rows = max(entry.rows, tables.last_row(writer, claim.number))
            tables.change_run(writer, entry._replace(expires=self._clock() + lasts, rows=rows))

    def release(self, claim: Claim) -> None:
        database = self._writable()
        with database.writing(self._busy) as writer:
            try:
                entry = tables.claimed(writer, self._path, claim)
            except ClaimLost:
                return
            if entry.owner is not None:
                rows = max(entry.rows, tables.last_row(writer, claim.number))
                tables.change_run(writer, entry._replace(owner=None, expires=None, rows=rows))
        database.next.pop(claim.number, None)

    # Inbox

    def post(self, run_id: str, kind: str, node: str = "", body: str = "") -> int:
        for text in (kind, node, body):
            rules.check_text(text)
        with self._writable().writing(self._busy) as writer:
            entry = tables.find(writer, self._path, run_id) if rules.can_be_text(run_id) else None
            if entry is None:
                raise rules.not_found(run_id)
            return tables.add_letter(writer, entry.number, Letter(0, kind, node, body, self._clock()))

    def letters(self, run_id: str, after: int = 0) -> list[Letter]:
        if not rules.can_be_text(run_id):
            return []
        with self._opened().reading() as reader:
            entry = tables.find(reader, self._path, run_id)
            return [] if entry is None else tables.letters(reader, self._path, entry.number, after)

    # The whole

    def check(self) -> list[str]:
        return care.check(self._opened(), self._values)

    def backup(self, to: str | os.PathLike[str]) -> None:
        """Copies all of it, as it is at one moment, into a new file with its values beside it.

        Raises:
            StoreError: There is something at `to` already, or it cannot be written.
        """
        care.backup(self._opened(), self._values, os.path.realpath(to))

    def forked(self) -> None:
        if self._database is not None:
            self._database.forked()

    def close(self) -> None:
        database, self._database = self._database, None
        self._cursor = None
        if database is not None:
            database.leave(self._busy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _opened(self) -> Database:
        if self._database is None:
            raise StoreError(f"the store {self._path} is closed")
        self._database.usable()
        return self._database

    def _writable(self) -> Database:
        database = self._opened()
        if self._read_only:
            raise StoreError(f"{self._path} was opened for reading only")
        return database
