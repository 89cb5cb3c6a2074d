"""A store for as long as its process lives: for tests, and for runs that need one and not for long."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from penstock.core.errors import StoreError, ValueLost
from penstock.core.storage import Claim, Letter, Note, Owner, Page, RunEntry

from . import rules


class MemoryStore:
    """Keeps runs in dictionaries. It judges as every store does, and nothing of it outlives the process.

    Args:
        clock: What time it is, in seconds since 1970.
    """

    url = "memory:"
    durable = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._runs: dict[str, RunEntry] = {}  # the oldest first
        self._rows: dict[str, list[str]] = {}
        self._letters: dict[str, list[Letter]] = {}
        self._notes: dict[str, dict[int, Note]] = {}  # by id, the oldest first
        self._progress: dict[str, dict[str, int]] = {}  # by run and path, the id of the latest
        self._used: dict[str, set[str]] = {}  # digests, by run
        self._values: dict[str, bytes] = {}
        self._numbers = self._letter_ids = self._note_ids = 0
        self._forked = False

    # Catalog

    def create(self, entry: RunEntry, owner: Owner, lasts: float, page: Page) -> Claim:
        rules.check_entry(entry)
        with self._held():
            if entry.run_id in self._runs:
                raise rules.exists(entry.run_id)
            claim = Claim(entry.run_id, self._numbers + 1, 1)
            self._check_page(claim, page, [])
            self._numbers += 1
            self._runs[entry.run_id] = entry._replace(
                number=claim.number, epoch=1, owner=owner, expires=self._clock() + lasts, recoveries=0,
                rows=0, tags=dict(entry.tags), about=dict(entry.about),
            )  # fmt: skip
            self._rows[entry.run_id], self._letters[entry.run_id] = [], []
            self._notes[entry.run_id], self._progress[entry.run_id] = {}, {}
            self._used[entry.run_id] = set()
            self._write(entry.run_id, page._replace(status=page.status or entry.status), entry.updated)
            return claim

    def find(self, run_id: str) -> RunEntry | None:
        with self._held():
            return self._runs.get(run_id)

    def runs(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        flow: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[RunEntry]:
        with self._held():
            found = [
                entry
                for entry in reversed(self._runs.values())
                if (tags is None or tags.items() <= entry.tags.items())
                and (flow is None or entry.flow == flow)
                and (status is None or entry.status == status)
                and (before is None or entry.number < before)
            ]
            return found if limit is None else found[: max(limit, 0)]

    def forget(self, run_ids: Sequence[str]) -> int:
        with self._held():
            gone = 0
            for run_id in dict.fromkeys(run_ids):
                entry = self._runs.get(run_id)
                if entry is not None and rules.free(entry, self._clock()):
                    for kept in (self._runs, self._rows, self._letters, self._used):
                        kept.pop(run_id)
                    del self._notes[run_id], self._progress[run_id]
                    gone += 1
            return gone

    # Journal

    def append(self, claim: Claim, page: Page) -> None:
        with self._held():
            entry = self._claimed(claim)
            rows = self._rows[claim.run_id]
            if self._check_page(claim, page, rows):
                return
            if entry.owner is None:
                if not page.rows and page.status == entry.status:
                    return
                raise rules.claim_lost(claim)
            self._write(claim.run_id, page, self._clock())

    def rows(self, run_id: str, after: int = 0) -> Iterator[str]:
        with self._held():
            if run_id not in self._runs:
                raise rules.not_found(run_id)
            return iter(self._rows[run_id][max(after, 0) :])

    def _check_page(self, claim: Claim, page: Page, rows: list[str]) -> bool:
        """Whether all of a page's rows are there already; raises if it does not go with those that are."""
        for row in page.rows:
            rules.check_text(row)
        there = rows[page.first - 1 : page.first - 1 + len(page.rows)] if page.first > 0 else []
        if page.first < 1 or page.first > len(rows) + 1:
            raise rules.wrong_start(claim, page, len(rows))
        if not there:
            return False
        rules.check_same(claim, page, there)
        return True

    def _write(self, run_id: str, page: Page, now: float) -> None:
        rows, entry = self._rows[run_id], self._runs[run_id]
        rows.extend(page.rows)
        self._used[run_id].update(page.blobs)
        self._letters[run_id] = [one for one in self._letters[run_id] if one.id not in page.read]
        if page.status is not None:
            self._runs[run_id] = rules.with_status(entry, page.status, len(rows), now)

    # Values

    def put(self, body: bytes) -> str:
        digest = hashlib.sha256(body).hexdigest()
        with self._held():
            self._values.setdefault(digest, bytes(body))
        return digest

    def get(self, digest: str) -> bytes:
        with self._held():
            body = self._values.get(digest)
        if body is None:
            raise ValueLost(f"there is no value {digest} in the store")
        return body

    # Lease

    def claim(self, run_id: str, owner: Owner, lasts: float) -> tuple[Claim, RunEntry]:
        with self._held():
            entry = self._runs.get(run_id)
            if entry is None:
                raise rules.not_found(run_id)
            now = self._clock()
            if not rules.free(entry, now):
                raise rules.busy(entry)
            self._runs[run_id] = rules.with_owner(entry, owner, now + lasts, now)
            return Claim(run_id, entry.number, entry.epoch + 1), entry

    def renew(self, claim: Claim, lasts: float) -> None:
        with self._held():
            entry = self._claimed(claim)
            if entry.owner is None:
                raise rules.claim_lost(claim)
            self._runs[claim.run_id] = entry._replace(expires=self._clock() + lasts)

    def release(self, claim: Claim) -> None:
        with self._held():
            entry = self._runs.get(claim.run_id)
            if entry is not None and (entry.number, entry.epoch) == (claim.number, claim.epoch):
                self._runs[claim.run_id] = entry._replace(owner=None, expires=None)

    def _claimed(self, claim: Claim) -> RunEntry:
        entry = self._runs.get(claim.run_id)
        if entry is None or (entry.number, entry.epoch) != (claim.number, claim.epoch):
            raise rules.claim_lost(claim)
        return entry

    # Inbox

    def post(self, run_id: str, kind: str, node: str = "", body: str = "") -> int:
        for text in (kind, node, body):
            rules.check_text(text)
        with self._held():
            if run_id not in self._runs:
                raise rules.not_found(run_id)
            self._letter_ids += 1
            self._letters[run_id].append(Letter(self._letter_ids, kind, node, body, self._clock()))
            return self._letter_ids

    def letters(self, run_id: str, after: int = 0) -> list[Letter]:
        with self._held():
            return [letter for letter in self._letters.get(run_id, ()) if letter.id > after]

    # Notes

    def note(self, run_id: str, notes: Sequence[Note]) -> None:
        for one in notes:
            rules.check_note(one)
        with self._held():
            if run_id not in self._runs:
                raise rules.not_found(run_id)
            kept, latest = self._notes[run_id], self._progress[run_id]
            for one in notes:
                self._note_ids += 1
                kept[self._note_ids] = one._replace(at=float(one.at), id=self._note_ids)
                if one.kind == rules.PROGRESS:
                    kept.pop(latest.get(one.path, 0), None)
                    latest[one.path] = self._note_ids

    def notes(
        self,
        run_id: str,
        after: int = 0,
        *,
        kind: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> list[Note]:
        with self._held():
            found = [
                one
                for one in self._notes.get(run_id, {}).values()
                if one.id > after and kind in (None, one.kind) and node in (None, one.node)
            ]
            return found if limit is None else found[: max(limit, 0)]

    # The whole

    def check(self) -> list[str]:
        return []

    def forked(self) -> None:
        self._forked = True

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _held(self) -> threading.RLock:
        if self._forked:  # the lock may be held by a thread that is not here
            raise StoreError("the store in memory belongs to the process that this one was forked from")
        return self._lock
