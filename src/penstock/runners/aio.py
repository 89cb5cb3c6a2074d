"""Attempts as coroutines of the caller's event loop.

A task per step is what costs most in asyncio. Here a few worker tasks take one step after another. A step
runs inside the worker's task, so `asyncio.current_task` and `asyncio.timeout` mean what they say, and in a
copy of the context, so that nothing it sets is seen by the next. Another worker is woken only when a step
really suspends.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from contextvars import Context as Variables
from contextvars import copy_context
from math import inf
from time import monotonic
from types import coroutine
from typing import Any

from penstock.core.commands import (
    ASKED,
    BEGAN,
    CANCELLED,
    ENDED,
    FAILED,
    GONE,
    HURRIED,
    OK,
    PURE,
    RETURNED,
    STREAM,
    TIMED,
    YIELDED,
    Reply,
)
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work
from penstock.core.returned import UNUSUAL, taken_apart
from penstock.core.stacks import name_of, stack_of_awaitable
from penstock.core.streaming import async_iterator_of

_CAPACITY = 1_000
_IDLE = 32  # workers kept; ending a thousand idle tasks costs more than running them
_SLICE = 0.001  # seconds that steps which never suspend may keep the loop
_INSIST = 0.1  # seconds until a cancelled step is looked after, then twice as many, and so on
_KEPT: set[asyncio.Task[None]] = set()  # abandoned ones: the loop holds tasks weakly, and they go on


class AioRunner:
    """Takes coroutine functions.

    Args:
        capacity: Attempts at a time.

    Attributes:
        busy: A step runs in this very moment: an interrupt may be raised in it.
        slow: Told of a step (node, token, seconds) that kept the loop for `blocked_after` seconds or more.
        patience: Seconds that `closed` waits for steps that were cancelled.
    """

    name = "aio"
    awaits = True
    blocked_after = 1.0
    patience = 10.0

    def __init__(self, capacity: int = _CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"AioRunner: capacity must be at least 1, not {capacity!r}")
        self.capacity = capacity
        self._queue: deque[Work] = deque()
        self.busy = False
        self.slow: Callable[[int, int, float], None] | None = None
        self._suspended: dict[tuple[int, int], tuple[asyncio.Task[None], float, Work, Any]] = {}
        self._streams: dict[tuple[int, int], _Stream] = {}  # not ended, and begun or told to go on
        self._stopping: dict[tuple[int, int], _Stopping] = {}  # cancelled, and still suspended
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._coming = 0  # workers woken that have not begun yet
        self._wave = 1  # how many to wake next
        self._working = False  # a worker is at the queue now

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._variables: Variables = copy_context()
        self._turn: Callable[[list[Reply]], None] = self._post
        self._closing = False
        UNUSUAL.update((asyncio.Future, asyncio.Task))

    def drive(self, turn: Callable[[list[Reply]], None]) -> None:
        """Gives the workers the engine's turn, to take it themselves when their queue is empty: a chain of
        steps that never suspend then costs no iteration of the loop."""
        self._turn = turn

    def submit(self, work: Work) -> None:
        self._queue.append(work)
        if not self._working and not self._coming:
            self._wake(1)

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        key = (node, token)
        if key in self._suspended:
            if key in self._streams:
                self._streams[key].stopped = True
            if key not in self._stopping:
                self._suspended[key][0].cancel()
                self._stopping[key] = _Stopping(self._loop.call_later(_INSIST, self._insist, key, _INSIST))
            return
        work = self._queued(key)
        if work is not None:
            self._queue.remove(work)
            self._streams.pop(key, None)
            now = self._clock()
            self._mailbox.post((ENDED, node, token, RETURNED, None, None, now, now))

    def abandon(self, node: int, token: int) -> None:
        key = (node, token)
        if key not in self._suspended:
            return
        _, began, work, step = self._suspended[key]
        stream = self._streams.get(key)
        stack = stack_of_awaitable(step if stream is None or stream.elements is None else stream.elements)
        self._leave_behind(key)
        gone = (f"task {name_of(work[2])}", stack)
        self._mailbox.post((ENDED, node, token, CANCELLED, gone, None, began, self._clock()))

    def go_on(self, node: int, token: int, upto: int) -> None:
        key = (node, token)
        stream = self._streams.get(key)
        if stream is None:
            if self._queued(key) is None:
                return
            stream = self._streams[key] = _Stream()
        stream.go_on(upto)

    def close(self) -> None:
        """Cancels what is left: workers, and after a fault of ours steps too."""
        self._closing = True
        self._turn = _nothing
        self._queue.clear()
        if self._loop.is_closed():  # nothing here goes on, or can be told to end
            return
        steps = {found[0] for found in self._suspended.values()}
        for key in self._suspended:
            self.stop(*key, timeout=False)
        for task in self._tasks - steps:
            if not task.done():
                task.cancel()
        self._idle.clear()

    def forked(self) -> None:
        """In a forked process: nothing is begun any more, and whatever was suspended is gone."""
        self._queue.clear()
        self._suspended.clear()

    async def closed(self) -> None:
        """Waits until the workers have ended, but not long for a step that refuses to; what was abandoned is
        not waited for."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.patience)
            for key in list(self._suspended):
                self._leave_behind(key)

    def _queued(self, key: tuple[int, int]) -> Work | None:
        """What was submitted and has not begun."""
        for work in self._queue:
            if work[:2] == key:
                return work
        return None

    def _leave_behind(self, key: tuple[int, int]) -> None:
        """Lets a task go on by itself: whatever comes of it counts for nothing."""
        task = self._suspended.pop(key)[0]
        self._forget(key)
        stream = self._streams.get(key)
        if stream is not None:
            stream.stopped = True
            if stream.elements is not None:  # or the loop's own shutdown complains that it runs
                getattr(self._loop, "_asyncgens", set()).discard(stream.elements)
        self._tasks.discard(task)
        _KEPT.add(task)
        task.add_done_callback(_KEPT.discard)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is reported as abandoned

    def _forget(self, key: tuple[int, int]) -> None:
        stopping = self._stopping.pop(key, None)
        if stopping is not None:
            stopping.timer.cancel()

    def _insist(self, key: tuple[int, int], pause: float) -> None:
        """Cancels a step again if it has swallowed its cancellation.

        It has, if nobody but us holds the exception any more: as long as the step handles it, in an
        ``except`` or a ``finally``, its frames do. Another one would only break off that cleaning up.
        """
        stopping = self._stopping[key]
        if stopping.thrown is not None and sys.getrefcount(stopping.thrown) <= 2:
            stopping.thrown = None
            self._suspended[key][0].cancel()
        stopping.timer = self._loop.call_later(2 * pause, self._insist, key, 2 * pause)

    def _wake(self, many: int) -> None:
        for _ in range(many):
            self._coming += 1
            while self._idle:
                future = self._idle.pop()
                if not future.done():
                    future.set_result(None)
                    break
            else:
                task = self._loop.create_task(
                    self._serve(), name="penstock-worker", context=self._variables.copy()
                )
                self._tasks.add(task)

    def _spread(self, batch: list[Reply]) -> None:
        """A step has suspended, and its worker with it: others must see to the queue and the replies."""
        mailbox = self._mailbox
        self._working = False
        if batch:
            mailbox.replies.extend(batch)
        if mailbox.sleeping and mailbox.replies:
            self._ring()
        waiting = len(self._queue)
        if not waiting:
            self._wave = 1
        elif not self._coming:
            self._wake(min(waiting, self._wave))
            self._wave *= 2

    def _pass_on(self, batch: list[Reply]) -> None:
        """The worker lets the loop do other things before it takes more."""
        self._working = False
        self._mailbox.replies.extend(batch)
        if self._mailbox.replies:
            self._ring()

    def _post(self, batch: list[Reply]) -> None:
        """In place of a turn, where nobody has given one."""
        self._mailbox.replies.extend(batch)
        self._mailbox.bell()

    def _raised(self, error: BaseException) -> BaseException:
        """What a step has raised: Ctrl-C is a cancel, if the request for one is in the mailbox already."""
        self.busy = False
        if isinstance(error, KeyboardInterrupt) and self._interrupted():
            return asyncio.CancelledError()
        return error

    def _interrupted(self) -> bool:
        """Whether somebody has just asked for an end, or for a quicker one."""
        return any(reply[0] in (ASKED, HURRIED) for reply in self._mailbox.replies)

    def _ring(self) -> None:
        """Asks for a turn from within the loop: one for all that end in one iteration."""
        if self._mailbox.sleeping:
            self._mailbox.sleeping = False
            self._loop.call_soon(self._turn, [])

    async def _serve(self) -> None:
        queue, clock, given, me = self._queue, self._clock, self._variables, _me()
        own = given.copy()
        batch: list[Reply] = []
        self._coming -= 1
        while True:
            self._working = True
            began = clock()
            slice_end = began + _SLICE
            while queue:
                work = queue.popleft()
                node, token, call, arguments, _, _, kind = work
                direct = True
                try:
                    step: Any = call(**arguments) if kind & PURE else self._step(own, work)
                    self.busy = True
                    waits_for = own.run(step.send, None)
                    self.busy = False
                except StopIteration as stop:
                    self.busy = False
                    value, ended = stop.value, clock()
                    plain = type(value) not in UNUSUAL
                    good = (ENDED, node, token, OK, value, None, began, ended)
                    batch.append(good if plain else _good_end(work, value, began, ended))
                except BaseException as error:
                    error, ended = self._raised(error), clock()
                    self._mailbox.replies.append(_bad_end(work, error, began, ended))
                else:
                    if kind & TIMED:  # what ends at once needs no alarm
                        batch.append((BEGAN, node, token, began))
                    self._spread(batch)
                    finished = await self._finish(me, work, step, own, waits_for, began)
                    if finished is None:
                        return
                    batch, self._working = [], True
                    began = ended = finished
                    direct = not self._suspended
                resumed = ended
                if own != given:
                    own = given.copy()
                if me.cancelling():
                    await _absorb_cancel(me)
                if not direct:
                    self._ring()
                elif not queue:
                    self._turn(batch)
                    batch = []
                    resumed = clock()
                if ended > slice_end:
                    self._watch(work, ended - began)
                    self._pass_on(batch)
                    await _absorb_cancel(me)
                    batch, self._working = [], True
                    resumed = clock()
                    slice_end = resumed + _SLICE
                began = resumed
            self._working, self._wave = False, 1
            if self._closing or len(self._idle) >= _IDLE or not await self._rest(me):
                self._tasks.discard(me)
                return

    async def _rest(self, me: asyncio.Task[None]) -> bool:
        """Waits until there is work again; no if the worker should end."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if self._closing:
                return False
            me.uncancel()
            if future in self._idle:
                self._idle.remove(future)
                return True
        self._coming -= 1
        return True

    @coroutine
    def _finish(
        self,
        task: asyncio.Task[None],
        work: Work,
        step: Any,
        variables: Variables,
        waits_for: Any,
        began: float,
    ) -> Generator[Any, Any, float | None]:
        """Awaits the rest of a step that has suspended on `waits_for`, inside its own context.

        Gives the time at which it ended; None if the worker may not go on, for the attempt was abandoned.
        """
        key = work[:2]
        self._suspended[key] = (task, began, work, step)
        run, send, throw = variables.run, step.send, step.throw
        blocked, resumed = self.blocked_after, inf
        if self._clock() - began >= blocked:
            self._watch(work, self._clock() - began)
        reply: Reply
        try:
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:  # the loop is gone, and with it whoever could be told
                    self._suspended.pop(key, None)
                    with suppress(BaseException):
                        step.close()
                    raise
                except BaseException as raised:
                    if key in self._stopping and isinstance(raised, asyncio.CancelledError):
                        self._stopping[key].thrown = raised
                    resumed = monotonic()
                    self.busy = True
                    waits_for = run(throw, raised)
                else:
                    resumed = monotonic()
                    self.busy = True
                    waits_for = run(send, sent)
                self.busy = False
                if monotonic() - resumed >= blocked:
                    self._watch(work, monotonic() - resumed)
        except StopIteration as stop:
            self.busy = False
            reply = _good_end(work, stop.value, began, self._clock())
        except BaseException as error:
            error = self._raised(error)
            if key not in self._suspended and isinstance(error, GeneratorExit):
                raise
            reply = _bad_end(work, error, began, self._clock())
        ended: float = reply[7]
        if ended - began >= blocked:
            self._watch(work, monotonic() - resumed)
        while task.cancelling():
            task.uncancel()
        if self._stopping:
            self._forget(key)
        if self._suspended.pop(key, None) is None:
            self._mailbox.post((GONE, *key))
            return None
        self._mailbox.replies.append(reply)
        return ended

    def _watch(self, work: Work, seconds: float) -> None:
        """Tells of a step that has kept the loop for so many seconds, if they are too many."""
        if seconds >= self.blocked_after and self.slow is not None:
            self.slow(work[0], work[1], seconds)

    def _step(self, own: Variables, work: Work) -> Any:
        """The coroutine of a call that may do anything before it gives one, or that gives a stream."""
        if work[6] & STREAM:
            return self._produce(work, self._streams.setdefault(work[:2], _Stream()))
        step = own.run(work[2], **work[3])
        return step if hasattr(step, "send") else _await(step)

    async def _produce(self, work: Work, stream: _Stream) -> None:
        """Makes the elements of a stream, as a step like any other."""
        node, token, call, arguments = work[:4]
        mailbox, clock, position, element = self._mailbox, self._clock, 0, None
        try:
            await asyncio.sleep(0)  # what has suspended has its BEGAN and its ENDED told around its elements
            elements = stream.elements = async_iterator_of(call(**arguments))
            try:
                await stream.room(0)
                slice_end = clock() + _SLICE
                async for element in elements:
                    if stream.stopped:
                        break
                    mailbox.replies.append((YIELDED, node, token, element, None))
                    position += 1
                    self._ring()
                    if position >= stream.upto:
                        element = None
                        await stream.room(position)
                        slice_end = clock() + _SLICE
                    elif clock() > slice_end:
                        await asyncio.sleep(0)
                        slice_end = clock() + _SLICE
            except BaseException as error:
                await _closed_after(elements, error)
                raise
            await _closed(elements)
            if stream.stopped:  # and the step has swallowed the cancellation
                raise asyncio.CancelledError
        finally:
            self._streams.pop((node, token), None)


class _Stream:
    """What a stream and the engine tell each other, both on the loop.

    Attributes:
        elements: The iterator, as soon as there is one.
        upto: Elements may be made before this position.
        stopped: It is to end at its next element, if its cancellation has not ended it.
    """

    __slots__ = ("_waiter", "elements", "stopped", "upto")

    def __init__(self) -> None:
        self.elements: AsyncIterator[Any] | None = None
        self.upto = 0
        self.stopped = False
        self._waiter: asyncio.Future[None] | None = None

    async def room(self, position: int) -> None:
        """Waits until the element at `position` may be made."""
        while self.upto <= position:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def go_on(self, upto: int) -> None:
        self.upto = max(self.upto, upto)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Stopping:
    """A step that was cancelled and has not ended.

    Attributes:
        timer: Looks after it.
        thrown: The cancellation, once the step has received it.
    """

    __slots__ = ("thrown", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.thrown: BaseException | None = None


def _good_end(work: Work, value: Any, began: float, ended: float) -> Reply:
    writes = None
    if type(value) in UNUSUAL:
        try:
            value, writes = taken_apart(value)
        except Exception as error:
            return _bad_end(work, error, began, ended)
    return (ENDED, work[0], work[1], OK, value, writes, began, ended)


def _bad_end(work: Work, error: BaseException, began: float, ended: float) -> Reply:
    if isinstance(error, asyncio.CancelledError):
        return (ENDED, work[0], work[1], CANCELLED, None, None, began, ended)
    failure = failure_of(error, work[4])
    return (ENDED, work[0], work[1], FAILED, failure, None, began, ended)


async def _absorb_cancel(task: asyncio.Task[None]) -> None:
    """Lets the loop turn once, and takes a cancel that a step has asked of its own task after it ended."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        pass
    while task.cancelling():
        task.uncancel()


async def _closed(elements: AsyncIterator[Any]) -> None:
    """Ends an async iterator for good, if it can be ended: the ``finally`` of a generator runs now."""
    ending = getattr(elements, "aclose", None)
    if ending is not None:
        await ending()


async def _closed_after(elements: AsyncIterator[Any], error: BaseException) -> None:
    """The same after an error; what is raised now counts only if that was a cancellation."""
    try:
        await _closed(elements)
    except BaseException:
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            raise


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _nothing(batch: list[Reply]) -> None:
    """The turn of a runner that is closed."""


def _me() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None  # only ever called inside a worker
    return task
