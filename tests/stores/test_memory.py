"""The store in memory keeps the contract of all stores."""

from collections.abc import Callable

import pytest

from penstock.core.errors import StoreError
from penstock.core.storage import Store
from penstock.stores.memory import MemoryStore
from penstock.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    def make(self, clock: Callable[[], float]) -> Store:
        return MemoryStore(clock=clock)


def test_it_does_not_outlive_its_process() -> None:
    store = MemoryStore()
    assert (store.url, store.durable) == ("memory:", False)


def test_a_forked_process_does_not_use_it() -> None:
    store = MemoryStore()
    store.forked()
    with pytest.raises(StoreError, match="forked"):
        store.runs()
