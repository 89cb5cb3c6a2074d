"""A store whose calls fail by plan: for tests of what a run does when it cannot be written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from penstock.core.errors import StoreBusy, StoreError, StoreFull
from penstock.core.storage import Claim, Letter, Note, Owner, Page, RunEntry, Store

T = TypeVar("T")

_ASIDE = ("note", "notes")


def full() -> StoreError:
    """There is no space left."""
    return StoreFull("a planned fault: there is no space left")


def busy() -> StoreError:
    """Somebody else has it locked."""
    return StoreBusy("a planned fault: another process has it locked")


def unreadable() -> StoreError:
    """The disk does not answer this time; it may the next."""
    error = StoreError("a planned fault: the disk could not be read or written")
    error.transient = True
    return error


class FaultyStore:
    """Hands calls on to another store, but for those that are to fail.

        store = FaultyStore(MemoryStore(), at=7)
        with pytest.raises(StoreError):
            flow.run(store=store, run_id="r")
        store.mend()
        assert flow.run(store=store, run_id="r").ok

    Args:
        store: What does the work.
        at: Number of the first call that fails, from 1; 0 for none.
        times: How many calls fail from there on; None for all of them, until `mend`.
        error: Makes what they raise.
        late: They do their work, and the answer is lost.
        only: Names of the methods that are counted; by default all that a run calls at a moment that can be
            foretold: not those of notes, which are written now and then.

    Attributes:
        url, durable: Those of the other store.
        calls: Names of the methods that were called and counted, in order.
        failed: Those of them that have failed.
    """

    def __init__(
        self,
        store: Store,
        *,
        at: int = 0,
        times: int | None = 1,
        error: Callable[[], BaseException] = unreadable,
        late: bool = False,
        only: Sequence[str] = (),
    ) -> None:
        self._store = store
        self.url = store.url
        self.durable = store.durable
        self._at = at
        self._times = times
        self._error = error
        self._late = late
        self._only = frozenset(only)
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.failed: list[str] = []

    def __repr__(self) -> str:
        return f"<faulty store: call {self._at} of {len(self.calls)}, {len(self.failed)} failed>"

    def mend(self) -> None:
        """From now on nothing fails any more."""
        self._at = 0

    def _call(self, name: str, call: Callable[[], T]) -> T:
        if not self._strikes(name):
            return call()
        if self._late:
            call()
        raise self._error()

    def _strikes(self, name: str) -> bool:
        if name not in self._only if self._only else name in _ASIDE:
            return False
        with self._lock:
            self.calls.append(name)
            number = len(self.calls)
            strikes = 0 < self._at <= number and (self._times is None or number < self._at + self._times)
            if strikes:
                self.failed.append(name)
            return strikes

    def create(self, entry: RunEntry, owner: Owner, lasts: float, page: Page) -> Claim:
        return self._call("create", lambda: self._store.create(entry, owner, lasts, page))

    def find(self, run_id: str) -> RunEntry | None:
        return self._call("find", lambda: self._store.find(run_id))

    def runs(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        flow: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[RunEntry]:
        more: dict[str, Any] = {"tags": tags, "flow": flow, "status": status, "before": before}
        return self._call("runs", lambda: self._store.runs(**more, limit=limit))

    def forget(self, run_ids: Sequence[str]) -> int:
        return self._call("forget", lambda: self._store.forget(run_ids))

    def append(self, claim: Claim, page: Page) -> None:
        self._call("append", lambda: self._store.append(claim, page))

    def rows(self, run_id: str, after: int = 0) -> Iterator[str]:
        return self._call("rows", lambda: self._store.rows(run_id, after))

    def put(self, body: bytes) -> str:
        return self._call("put", lambda: self._store.put(body))

    def get(self, digest: str) -> bytes:
        return self._call("get", lambda: self._store.get(digest))

    def claim(self, run_id: str, owner: Owner, lasts: float) -> tuple[Claim, RunEntry]:
        return self._call("claim", lambda: self._store.claim(run_id, owner, lasts))

    def renew(self, claim: Claim, lasts: float) -> None:
        self._call("renew", lambda: self._store.renew(claim, lasts))

    def release(self, claim: Claim) -> None:
        self._call("release", lambda: self._store.release(claim))

    def post(self, run_id: str, kind: str, node: str = "", body: str = "") -> int:
        return self._call("post", lambda: self._store.post(run_id, kind, node, body))

    def letters(self, run_id: str, after: int = 0) -> list[Letter]:
        return self._call("letters", lambda: self._store.letters(run_id, after))

    def note(self, run_id: str, notes: Sequence[Note]) -> None:
        self._call("note", lambda: self._store.note(run_id, notes))

    def notes(
        self,
        run_id: str,
        after: int = 0,
        *,
        kind: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> list[Note]:
        more: dict[str, Any] = {"kind": kind, "node": node, "limit": limit}
        return self._call("notes", lambda: self._store.notes(run_id, after, **more))

    def check(self) -> list[str]:
        return self._store.check()

    def forked(self) -> None:
        self._store.forked()

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
