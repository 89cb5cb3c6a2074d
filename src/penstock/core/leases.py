"""What a run that is written down needs beside its turns: its claim renewed, and its letters read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from .errors import ClaimLost, PenstockError, StoreError
from .storage import Claim, Letter, Store

LASTS = 30.0
"""Seconds that a claim holds without being renewed."""

LOOK = 1.0
"""Seconds between two looks at the letters."""

WRITES = 4
"""Times in between that what can wait is written."""


_left: dict[tuple[str, str], Claim] = {}  # by store and run: what this process could not give back


def give_back(store: Store, claim: Claim) -> StoreError | None:
    """Gives a run back. If that cannot be, the reason is returned, and it is done before this process claims
    the run again: it lives on, and so would its claim."""
    try:
        store.release(claim)
        return None
    except StoreError as error:
        if store.durable:
            _left[store.url, claim.run_id] = claim
        return error


def give_back_left(store: Store, run_id: str) -> None:
    """Gives back what could not be given back before.

    Raises:
        StoreError: It still cannot.
    """
    claim = _left.get((store.url, run_id))
    if claim is not None:
        store.release(claim)
        _left.pop((store.url, run_id), None)


class Helper:
    """A thread beside a run that renews its claim, looks for letters, and writes what can wait.

    Args:
        store: Where the run is.
        claim: The right to write to it.
        deliver: Receives letters that have come; called in this thread.
        lose: Receives the error when the claim is lost; called in this thread, and nothing after it.
        write: Called now and then in this thread: it has something to write that can wait a moment.
        lasts: Seconds that the claim holds; `LASTS` by default.
        look: Seconds between two looks; `LOOK` by default.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        deliver: Callable[[list[Letter]], None],
        lose: Callable[[StoreError], None],
        write: Callable[[], object] = bool,
        *,
        lasts: float | None = None,
        look: float | None = None,
    ) -> None:
        self._store = store
        self._claim = claim
        self._deliver = deliver
        self._lose = lose
        self._write = write
        self._lasts = LASTS if lasts is None else lasts
        self._look = LOOK if look is None else look
        self._after = 0
        self._reading = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name=f"penstock-lease-{claim.run_id}", daemon=True)

    def start(self) -> None:
        """Begins its work."""
        self._thread.start()

    def read(self) -> bool:
        """Looks for letters now; says whether there were any. From any thread.

        Raises:
            StoreError: It cannot be told.
        """
        with self._reading:
            letters = self._store.letters(self._claim.run_id, self._after)
            if letters:
                self._after = letters[-1].id
                self._deliver(letters)
            return bool(letters)

    def stop(self) -> None:
        """Ends it, and waits until it has."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _go(self) -> None:
        looks = beats = 0
        while not self._over.wait(self._look / WRITES):
            beats += 1
            self._write()
            if beats % WRITES:
                continue
            looks += 1
            with suppress(PenstockError):  # the store may be busy: the next look may go better
                self.read()
            if looks * self._look * 3 < self._lasts:
                continue
            looks = 0
            try:
                self._store.renew(self._claim, self._lasts)
            except ClaimLost as error:
                self._lose(error)
                return
            except StoreError:
                pass  # it still holds for a while, and the run's own commits will say what is wrong
