"""Attempts in the engine's own thread, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.core.commands import ASKED, CANCELLED, ENDED, FAILED, OK, RETURNED
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work

_RESERVE = 64
_SLICE = 0.001


class InlineRunner:
    """Takes a small reserve of attempts and makes them when it is pumped.

    What the reserve holds when the run stops is given back as never begun. Nothing can stop an attempt that
    runs, so steps with a timeout are refused before they come here.

    Attributes:
        busy: User code is running in this very thread: an interrupt may be raised here.
    """

    __slots__ = ("_clock", "_mailbox", "_queue", "busy")

    capacity = _RESERVE

    def __init__(self) -> None:
        self._queue: deque[Work] = deque()
        self.busy = False

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock

    def submit(self, work: Work, *, timed: bool = False) -> None:
        self._queue.append(work)

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        for work in self._queue:
            if work.node == node and work.token == token:
                self._queue.remove(work)
                now = self._clock()
                self._mailbox.replies.append((ENDED, node, token, RETURNED, None, None, now, now))
                return

    def abandon(self, node: int, token: int) -> None:
        """Nothing is ever left to abandon: while an attempt runs, nobody else does."""

    def close(self) -> None:
        self._queue.clear()

    def pump(self) -> bool:
        """Makes attempts for about a millisecond; says whether there were any.

        A slice ends so that the engine can record what has happened: a thousand steps in one turn would all
        be lost together, and deaf to a cancel.
        """
        queue, clock = self._queue, self._clock
        if not queue:
            return False
        post = self._mailbox.replies.append
        began = clock()
        until = began + _SLICE
        while queue:
            node, token, call, arguments, retry_on, _context, _path = queue.popleft()
            try:
                self.busy = True
                value = call(**arguments)
                self.busy = False
            except KeyboardInterrupt:
                self.busy = False
                ended = clock()
                post((ASKED, "interrupted"))
                post((ENDED, node, token, CANCELLED, None, None, began, ended))
                return True
            except BaseException as error:
                self.busy = False
                ended = clock()
                post((ENDED, node, token, FAILED, failure_of(error, retry_on), None, began, ended))
                return True
            ended = clock()
            post((ENDED, node, token, OK, value, None, began, ended))
            if ended > until:
                return True
            began = ended
        return True


