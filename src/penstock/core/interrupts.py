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
def interrupts(engine: Engine, raises: Callable[[int], bool]) -> Iterator[bool]:
    """Handles SIGINT for the time of a run, if this is the main thread and nobody else handles it.

    `asyncio.run` is nobody else: its handler would cancel a task of a loop that is held up by this very call.

    The handler never raises into our own code: it posts to the mailbox.

    Args:
        engine: The run.
        raises: Whether KeyboardInterrupt may be raised here at this moment, for the so-many-th interrupt:
            because user code runs in this very thread, which it ends.

    Yields:
        Whether SIGINT is handled here.
    """
    import signal

    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before: Any = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler and not _is_asyncios(before):
        yield False
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
        if raises(seen):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield True
    finally:
        signal.signal(signal.SIGINT, before)


def _is_asyncios(handler: Any) -> bool:
    """Whether this is what `asyncio.run` handles SIGINT with: a bound method, and its task."""
    return getattr(getattr(handler, "func", None), "__module__", None) == "asyncio.runners"
