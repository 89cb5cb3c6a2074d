"""Attempts in the engine's own thread, one after another; streams in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from itertools import islice
from typing import Any

from penstock.core.commands import (
    ASKED,
    BEGAN,
    CANCELLED,
    ENDED,
    FAILED,
    OK,
    RETURNED,
    STREAM,
    TIMED,
    YIELDED,
    Reply,
)
from penstock.core.failures import RetryOn, failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work
from penstock.core.returned import UNUSUAL, taken_apart
from penstock.core.streaming import close, close_after_failure, iterator_of

_RESERVE = 256
_SLICE = 0.001


class InlineRunner:
    """Takes a small reserve of attempts and makes them when it is pumped.

    What the reserve holds when the run stops is given back as never begun. Nothing can stop an attempt that
    runs, so steps with a timeout are refused before they come here.

    A stream is set aside when it has no room, or when its slice of time is over, and another pump goes on
    with it.

    Attributes:
        busy: User code is running in this very thread: an interrupt may be raised here.
    """

    __slots__ = (
        "_clock", "_given", "_going", "_mailbox", "_own", "_queue", "_room", "_streams", "busy", "submit",
    )  # fmt: skip

    name = "inline"
    awaits = False
    capacity = _RESERVE

    def __init__(self) -> None:
        self._queue: deque[Work] = deque()
        self.submit = self._queue.append  # nothing else is to be done, and it is done for every step
        self.busy = False
        self._room: dict[tuple[int, int], int] = {}  # of streams that have not begun
        self._streams: dict[tuple[int, int], _Stream] = {}  # begun and not ended
        self._going: deque[_Stream] = deque()  # of these the ones with something to do

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._given = copy_context()
        self._own = self._given.copy()

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        stream = self._streams.get((node, token))
        if stream is not None:
            stream.stopped = True
            self._wake(stream)
            return
        for work in self._queue:
            if work[:2] == (node, token):
                self._queue.remove(work)
                self._room.pop((node, token), None)
                now = self._clock()
                self._mailbox.replies.append((ENDED, node, token, RETURNED, None, None, now, now))
                return

    def abandon(self, node: int, token: int) -> None:
        """Nothing is ever left to abandon: while an attempt runs, nobody else does. A stream that was set
        aside is closed now."""
        stream = self._streams.get((node, token))
        if stream is not None:
            stream.stopped = True
            if stream.in_line:
                self._going.remove(stream)
            self._go_on_with(stream, self._mailbox.replies, 0.0)

    def go_on(self, node: int, token: int, upto: int) -> None:
        key = (node, token)
        stream = self._streams.get(key)
        if stream is not None:
            stream.upto = max(stream.upto, upto)
            self._wake(stream)
        elif any(work[:2] == key for work in self._queue):
            self._room[key] = max(self._room.get(key, 0), upto)

    def close(self) -> None:
        self._queue.clear()
        for stream in self._streams.values():  # only after a fault of ours
            stream.context.run(close_after_failure, stream.elements)
        self._streams.clear()
        self._going.clear()

    def forked(self) -> None:
        """In a forked process: nothing is begun any more."""
        self._queue.clear()
        self._going.clear()

    def pump(self) -> list[Reply]:
        """Makes attempts for about a millisecond and gives their endings, in order.

        A slice ends so that the engine can record what has happened: a thousand steps in one turn would all
        be lost together, and deaf to a cancel.
        """
        queue, clock = self._queue, self._clock
        done: list[Reply] = []
        if not queue and not self._going:
            return done
        began = clock()
        until = began + _SLICE
        own, given = self._own, self._given
        run = own.run
        while queue:
            node, token, call, arguments, retry_on, _, kind = work = queue.popleft()
            if kind & STREAM:
                self._begin(work, done, began)
                began = clock()
                continue
            try:
                self.busy = True
                value = run(call, **arguments)
                self.busy = False
                if own != given:
                    own = self._fresh()
                    run = own.run
                writes = None
                if type(value) in UNUSUAL:
                    value, writes = taken_apart(value)
            except BaseException as error:
                self._interrupted_by(error, done)
                done.append(self._bad_end(node, token, retry_on, error, began))
                break
            ended = clock()
            done.append((ENDED, node, token, OK, value, writes, began, ended))
            if ended > until:
                break
            began = ended
        if self._going:
            self._go_on_with(self._going.popleft(), done, clock() + _SLICE)
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
            writes = None
            if type(value) in UNUSUAL:
                value, writes = taken_apart(value)
        except BaseException as error:
            self._interrupted_by(error, self._mailbox.replies)
            return self._bad_end(node, token, retry_on, error, began)
        return (ENDED, node, token, OK, value, writes, began, self._clock())

    def _begin(self, work: Work, done: deque[Reply] | list[Reply], began: float) -> None:
        """Makes the iterator of a stream, and none of its elements yet."""
        node, token, call, arguments, retry_on, _, kind = work
        if kind & TIMED:
            done.append((BEGAN, node, token, began))
        context = self._given.copy()
        try:
            self.busy = True
            elements = context.run(lambda: iterator_of(call(**arguments)))
            self.busy = False
        except BaseException as error:
            self._interrupted_by(error, done)
            done.append(self._bad_end(node, token, retry_on, error, began))
            return
        stream = _Stream(node, token, elements, context, retry_on, began)
        self._streams[node, token] = stream
        stream.upto = self._room.pop((node, token), 0)
        self._wake(stream)

    def _wake(self, stream: _Stream) -> None:
        """Puts a stream in line, if it may do something."""
        if not stream.in_line and (stream.stopped or stream.upto > stream.position):
            stream.in_line = True
            self._going.append(stream)

    def _go_on_with(self, stream: _Stream, done: deque[Reply] | list[Reply], until: float) -> None:
        """Lets a stream make elements until it has no room, or the time is over; or ends it."""
        stream.in_line = False
        try:
            self.busy = True
            over = stream.context.run(stream.produce, done, self._clock, until)
            self.busy = False
        except BaseException as error:
            self._interrupted_by(error, done)
            stream.context.run(close_after_failure, stream.elements)
            reply = self._bad_end(stream.node, stream.token, stream.retry_on, error, stream.began)
        else:
            if not over:
                self._wake(stream)
                return
            result = CANCELLED if stream.stopped else OK
            reply = (ENDED, stream.node, stream.token, result, None, None, stream.began, self._clock())
        self._streams.pop((stream.node, stream.token), None)
        done.append(reply)

    def _interrupted_by(self, error: BaseException, done: deque[Reply] | list[Reply]) -> None:
        """The reason of a cancellation comes before what it brings about."""
        self.busy = False
        if isinstance(error, KeyboardInterrupt):
            done.append((ASKED, "interrupted"))

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


class _Stream:
    """A stream that has begun: its iterator, and how far it is.

    Attributes:
        upto: Elements may be made before this position.
        position: Of the next element.
        stopped: It is to be closed.
        in_line: It is among those that the next pumps go on with.
    """

    __slots__ = (
        "began", "context", "elements", "in_line", "node", "position", "retry_on", "stopped", "token", "upto"
    )  # fmt: skip

    def __init__(
        self,
        node: int,
        token: int,
        elements: Iterator[Any],
        context: Context,
        retry_on: RetryOn,
        began: float,
    ) -> None:
        self.node = node
        self.token = token
        self.elements = elements
        self.context = context
        self.retry_on = retry_on
        self.began = began
        self.upto = 0
        self.position = 0
        self.stopped = False
        self.in_line = False

    def produce(self, done: deque[Reply] | list[Reply], clock: Callable[[], float], until: float) -> bool:
        """Makes elements while there is room and time; whether the stream is over, and closed."""
        node, token = self.node, self.token
        if not self.stopped:
            for element in islice(self.elements, self.upto - self.position):
                done.append((YIELDED, node, token, element, None))
                self.position += 1
                if clock() > until:
                    return False
            if self.position >= self.upto:
                return False
        close(self.elements)
        return True
