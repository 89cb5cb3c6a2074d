"""Ctrl-C during `run()`: orderly the first time, at once the second (semantics.md §1)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .engine import Engine

_LOOK_AROUND = 0.5
"""Seconds: a signal that comes in the instant before a thread goes to sleep is noted, and not seen before it
wakes. So it does not sleep longer than this."""


@contextmanager
def interrupts(engine: Engine, busy: Callable[[], bool], blocked: Callable[[], bool]) -> Iterator[None]:
    """Handles SIGINT for the time of a run, if this is the main thread and nobody else handles it.

    The handler never raises into our own code: it posts to the mailbox. Only while user code runs in this
    very thread (`busy`) it raises KeyboardInterrupt there, which ends that attempt. A step that holds the
    event loop (`blocked`) is given until the second one.
    """
    import signal

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    seen = 0
    engine.longest_wait = _LOOK_AROUND

    def handle(number: int, frame: Any) -> None:
        nonlocal seen
        if engine.is_forked:  # a process that a step has forked gets the terminal's signals too
            raise KeyboardInterrupt
        seen += 1
        if seen > 1:
            engine.hurry()
        else:
            engine.cancel("interrupted")
        if busy() or (seen > 1 and blocked()):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
