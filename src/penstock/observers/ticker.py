"""Calls something now and then in a thread of its own: what is shown never makes a run wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread


class Ticker:
    """At most ten calls a second, and fewer when a call is slow: at most a tenth of the time is spent on it.

    Args:
        tick: What is called; the first time something happens, or at the next beat.
        beat: Seconds after which it is called even if nothing happens; None for never.
        first: Seconds before the first call: what is over by then needs no picture.
    """

    def __init__(self, tick: Callable[[], None], *, beat: float | None = None, first: float = 0.0) -> None:
        self._tick = tick
        self._beat = beat
        self._first = first
        self._happened = Event()
        self._ending = Event()
        self._thread = Thread(target=self._go, name="penstock-progress", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Something has happened; from any thread."""
        if not self._happened.is_set():
            self._happened.set()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._ending.set()
        self._happened.set()
        self._thread.join()

    def _go(self) -> None:
        if self._ending.wait(self._first):
            return
        while not self._ending.is_set():
            self._happened.wait(self._beat)
            self._happened.clear()
            if self._ending.is_set():
                return
            began = time.perf_counter()
            try:
                self._tick()
            except Exception:  # what cannot be shown is not shown; the run goes on
                return
            self._ending.wait(max(0.1, 10 * (time.perf_counter() - began)))
