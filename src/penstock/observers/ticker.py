"""Calls something now and then in a thread of its own: what is shown never makes a run wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Event, Thread, current_thread

BRIEFLY = 2.0
"""Seconds that a run waits at its end for what shows it: a screen that takes nothing must not hold it up."""


class Ticker:
    """At most ten calls a second, and fewer when a call is slow: at most a tenth of the time is spent on it.

    Args:
        tick: What is called; the first time something happens, or at the next beat.
        beat: Seconds after which it is called even if nothing happens; None for never.
        first: Seconds before the first call: what is over by then needs no picture.
        pause: Seconds between two calls, at least.
        last: What is called at the end; in the same thread, for it may be held up like any other call.
    """

    def __init__(
        self,
        tick: Callable[[], None],
        *,
        beat: float | None = None,
        first: float = 0.0,
        pause: float = 0.1,
        last: Callable[[], None] | None = None,
    ) -> None:
        self._tick = tick
        self._beat = beat
        self._first = first
        self._pause = pause
        self._last = last
        self._happened = Event()
        self._ending = Event()
        context = copy_context()  # a notebook tells its cells apart by it
        self._thread = Thread(target=context.run, args=(self._go,), name="penstock-progress", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Something has happened; from any thread."""
        if not self._happened.is_set():
            self._happened.set()

    def stop(self, patience: float | None = None) -> bool:
        """Ends the thread and waits for it, no longer than that.

        Returns:
            Whether it has ended.
        """
        self._ending.set()
        self._happened.set()
        if self._thread is not current_thread():
            self._thread.join(patience)
            return not self._thread.is_alive()
        return True

    def _go(self) -> None:
        self._tick_on()
        if self._last is not None:
            with suppress(Exception):  # nobody is there any more to see it
                self._last()

    def _tick_on(self) -> None:
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
            self._ending.wait(max(self._pause, 10 * (time.perf_counter() - began)))
