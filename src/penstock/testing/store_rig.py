"""What the tests of a store stand on: stores, a clock that they set, processes that live and die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from penstock.core.owners import here
from penstock.core.storage import Claim, Owner, Page, RunEntry, Store

LASTS = 60.0

ELSEWHERE = Owner("another-machine", "boot", 1, "1")

_CHILD = "from penstock.core.owners import here; print(*here(), sep='\\n', flush=True); input()"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def process() -> Iterator[tuple[Owner, subprocess.Popen[str]]]:
    """A living process that could own a run."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            host, boot, pid, started = (child.stdout.readline().rstrip("\n") for _ in range(4))
            yield Owner(host, boot, int(pid), started), child
        finally:
            child.kill()


class StoreRig:
    """Makes stores, and runs in them."""

    # What a store brings

    def make(self, clock: Callable[[], float]) -> Store:
        """A new and empty store, whose claims end by `clock`."""
        raise NotImplementedError

    def again(self, store: Store, clock: Callable[[], float]) -> Store:
        """The same store, opened once more; skips what only a durable store can show."""
        pytest.skip("this store cannot be opened again")

    # What the tests use

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, clock: Clock) -> Iterator[Store]:
        with self.make(clock) as store:
            yield store

    def begin(self, store: Store, run_id: str = "run", rows: Sequence[str] = ("1",), **fields: Any) -> Claim:
        """A run that this process drives."""
        known: dict[str, Any] = {
            "flow": "flow",
            "status": "running",
            "created": 10.0,
            "updated": 10.0,
            "tags": {},
        }
        owner = fields.pop("owner", None) or here()
        entry = RunEntry(run_id, **(known | fields))
        return store.create(entry, owner, LASTS, Page(1, rows))

    def ended(self, store: Store, run_id: str = "run", status: str = "succeeded", **fields: Any) -> Claim:
        claim = self.begin(store, run_id, **fields)
        store.append(claim, Page(2, ["2"], status=status))
        return claim

    def entry(self, store: Store, run_id: str = "run") -> RunEntry:
        found = store.find(run_id)
        assert found is not None
        return found
