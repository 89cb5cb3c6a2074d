"""What the thread of a pool listens to: its workers, and a bell that anybody may ring."""

from __future__ import annotations

import os
import selectors

from .child import Child

Heard = list[tuple[Child, bool]]
"""Workers that have said something, or have died; and whether they can be written to."""


class Ears:
    """A selector, and a pipe that wakes it."""

    def __init__(self) -> None:
        self._bell = os.pipe()
        os.set_blocking(self._bell[1], False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell[0], selectors.EVENT_READ)

    def ring(self) -> None:
        """Ends the wait."""
        try:
            os.write(self._bell[1], b"\0")
        except OSError:  # full, and heard anyway; or the thread is gone
            pass

    def wait(self, patience: float | None) -> Heard:
        """Waits for something to be heard, so many seconds at most."""
        heard: Heard = []
        for key, events in self._selector.select(patience):
            if key.data is None:
                os.read(self._bell[0], 1 << 12)
            else:
                heard.append((key.data, bool(events & selectors.EVENT_WRITE)))
        return heard

    def add(self, child: Child) -> None:
        """Listens to a worker."""
        self._selector.register(child.pipe, selectors.EVENT_READ, child)
        if child.exit is not None:
            self._selector.register(child.exit, selectors.EVENT_READ, child)

    def remove(self, child: Child) -> None:
        """Does so no more."""
        self._selector.unregister(child.pipe)
        if child.exit is not None:
            self._selector.unregister(child.exit)

    def follow(self, child: Child) -> None:
        """Waits until it can be written to as well, if there is something to write."""
        also = selectors.EVENT_WRITE if child.blocked else 0
        self._selector.modify(child.pipe, selectors.EVENT_READ | also, child)

    def close(self) -> None:
        """Gives back what it holds."""
        self._selector.close()
        bell, self._bell = self._bell, (-1, -1)
        for fd in bell:
            if fd >= 0:
                os.close(fd)
