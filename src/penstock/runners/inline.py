"""Attempts in the engine's own thread, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from penstock.core.commands import ASKED, CANCELLED, ENDED, FAILED, OK, RETURNED, Reply
from penstock.core.failures import AWAITABLES, RetryOn, check_awaited, failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work

_RESERVE = 256
_SLICE = 0.001


class InlineRunner:
    """Takes a small reserve of attempts and makes them when it is pumped.

    What the reserve holds when the run stops is given back as never begun. Nothing can stop an attempt that
    runs, so steps with a timeout are refused before they come here.

    Attributes:
        busy: User code is running in this very thread: an interrupt may be raised here.
    """

    __slots__ = ("_clock", "_given", "_mailbox", "_own", "_queue", "busy", "submit")

    capacity = _RESERVE

    def __init__(self) -> None:
        self._queue: deque[Work] = deque()
        self.submit = self._queue.append  # nothing else is to be done, and it is done for every step
        self.busy = False

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._given = copy_context()
        self._own = self._given.copy()

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        for work in self._queue:
            if work[:2] == (node, token):
                self._queue.remove(work)
                now = self._clock()
                self._mailbox.replies.append((ENDED, node, token, RETURNED, None, None, now, now))
                return

    def abandon(self, node: int, token: int) -> None:
        """Nothing is ever left to abandon: while an attempt runs, nobody else does."""

    def close(self) -> None:
        self._queue.clear()

    def pump(self) -> list[Reply]:
        """Makes attempts for about a millisecond and gives their endings, in order.

        A slice ends so that the engine can record what has happened: a thousand steps in one turn would all
        be lost together, and deaf to a cancel.
        """
        queue, clock = self._queue, self._clock
        done: list[Reply] = []
        if not queue:
            return done
        began = clock()
        until = began + _SLICE
        own, given = self._own, self._given
        run = own.run
        while queue:
            node, token, call, arguments, retry_on, _, _ = queue.popleft()
            try:
                self.busy = True
                value = run(call, **arguments)
                self.busy = False
                if own != given:
                    own = self._fresh()
                    run = own.run
                if type(value) in AWAITABLES:
                    check_awaited(value)
            except BaseException as error:
                self.busy = False
                if isinstance(error, KeyboardInterrupt):
                    done.append((ASKED, "interrupted"))  # the reason comes before what it brings about
                done.append(self._bad_end(node, token, retry_on, error, began))
                break
            ended = clock()
            done.append((ENDED, node, token, OK, value, None, began, ended))
            if ended > until:
                break
            began = ended
        return done

    def make(
        self,
        node: int,
        token: int,
        call: Callable[..., Any],
        arguments: dict[str, Any],
        retry_on: RetryOn,
        began: float,
    ) -> Reply:
        """Makes one attempt at once."""
        try:
            self.busy = True
            value = self._own.run(call, **arguments)
            self.busy = False
            if self._own != self._given:
                self._fresh()
            if type(value) in AWAITABLES:
                check_awaited(value)
        except BaseException as error:
            self.busy = False
            if isinstance(error, KeyboardInterrupt):
                self._mailbox.replies.append((ASKED, "interrupted"))
            return self._bad_end(node, token, retry_on, error, began)
        return (ENDED, node, token, OK, value, None, began, self._clock())

    def _fresh(self) -> Context:
        """A step has set a variable: the next one must not see it."""
        self._own = self._given.copy()
        return self._own

    def _bad_end(self, node: int, token: int, retry_on: RetryOn, error: BaseException, began: float) -> Reply:
        self.busy = False
        self._fresh()
        ended = self._clock()
        if isinstance(error, KeyboardInterrupt):
            return (ENDED, node, token, CANCELLED, None, None, began, ended)
        failure = failure_of(error, retry_on)
        return (ENDED, node, token, FAILED, failure, None, began, ended)
