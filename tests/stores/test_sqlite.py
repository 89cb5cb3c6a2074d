"""The store in SQLite keeps the contract of all stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.core.storage import Store
from penstock.stores.sqlite import SqliteStore
from penstock.testing.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "state" / "journal.db"

    def make(self, clock: Callable[[], float]) -> Store:
        return SqliteStore(self.path, clock=clock)

    def again(self, store: Store, clock: Callable[[], float]) -> Store:
        return SqliteStore(self.path, clock=clock)
