"""What every store must do: `core.storage.Store`, written out as tests for pytest.

A store's own test class inherits `StoreContract` and makes stores:

    class TestMine(StoreContract):
        def make(self, clock: Callable[[], float]) -> Store:
            return MyStore(clock=clock)

A store that outlives its process also says how to open it a second time, with `again`.
"""

from __future__ import annotations

from .store_claims import ClaimsContract
from .store_notes import NotesContract
from .store_runs import RunsContract


class StoreContract(RunsContract, ClaimsContract, NotesContract):
    """All of it: runs and rows, claims, letters, values, notes, deleting, many threads."""
