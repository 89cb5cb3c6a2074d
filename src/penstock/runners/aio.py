"""Attempts as coroutines of the caller's event loop.

A task per step is what costs most in asyncio. Here a few worker tasks take one step after another. A step
runs inside the worker's task, so `asyncio.current_task` and `asyncio.timeout` mean what they say, and in a
copy of the context, so that nothing it sets is seen by the next. Another worker is woken only when a step
really suspends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context as Variables
from contextvars import copy_context
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
    TIMED,
    Reply,
)
from penstock.core.failures import AWAITABLES, check_awaited, failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work

_CAPACITY = 1_000
_IDLE = 32  # workers kept; ending a thousand idle tasks costs more than running them
_SLICE = 0.001  # seconds that steps which never suspend may keep the loop
_KEPT: set[asyncio.Task[None]] = set()  # abandoned ones: the loop holds tasks weakly, and they go on


class AioRunner:
    """Takes coroutine functions.

    Args:
        capacity: Attempts at a time.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"AioRunner: capacity must be at least 1, not {capacity!r}")
        self.capacity = capacity
        self._queue: deque[Work] = deque()
        self._suspended: dict[tuple[int, int], tuple[asyncio.Task[None], float]] = {}
        self.busy = False  # a step runs in this very moment: an interrupt may be raised in it
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
        AWAITABLES.update((asyncio.Future, asyncio.Task))

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
            self._suspended[key][0].cancel()
            return
        for work in self._queue:
            if work[:2] == (node, token):
                self._queue.remove(work)
                now = self._clock()
                self._mailbox.post((ENDED, node, token, RETURNED, None, None, now, now))
                return

    def abandon(self, node: int, token: int) -> None:
        found = self._suspended.pop((node, token), None)
        if found is None:
            return
        task, began = found
        self._tasks.discard(task)
        _KEPT.add(task)
        task.add_done_callback(_KEPT.discard)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is reported as abandoned
        now = self._clock()
        self._mailbox.post((ENDED, node, token, CANCELLED, "task", None, began, now))

    def close(self) -> None:
        self._closing = True
        for task in self._tasks:
            if not task.done():
                task.cancel()
        self._idle.clear()

    async def closed(self) -> None:
        """Waits until the workers have ended; what was abandoned is not waited for."""
        if self._tasks:
            await asyncio.wait(self._tasks)

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
        self._pass_on(batch)
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
                    step: Any = call(**arguments) if kind & PURE else _step(own, call, arguments)
                    self.busy = True
                    waits_for = own.run(step.send, None)
                    self.busy = False
                except StopIteration as stop:
                    self.busy = False
                    value, ended = stop.value, clock()
                    if type(value) in AWAITABLES:
                        batch.append(_good_end(work, value, began, ended))
                    else:
                        batch.append((ENDED, node, token, OK, value, None, began, ended))
                except BaseException as error:
                    error, ended = self._raised(error), clock()
                    self._mailbox.replies.append(_bad_end(work, error, began, ended))
                else:
                    if kind & TIMED:  # what ends at once needs no alarm
                        batch.append((BEGAN, node, token, began))
                    self._spread(batch)
                    if not await self._finish(me, work, step, own, waits_for, began):
                        return
                    batch, self._working = [], True
                    ended = clock()
                    direct = not self._suspended
                if own != given:
                    own = given.copy()
                if me.cancelling():
                    await _absorb_cancel(me)
                if not direct:
                    self._ring()
                elif not queue:
                    self._turn(batch)
                    batch = []
                if ended > slice_end:
                    self._pass_on(batch)
                    await _absorb_cancel(me)
                    batch, self._working = [], True
                    ended = clock()
                    slice_end = ended + _SLICE
                began = ended
            self._working = False
            self._wave = 1
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
    ) -> Generator[Any, Any, bool]:
        """Awaits the rest of a step that has suspended on `waits_for`, inside its own context.

        Says whether the worker may go on: not if the attempt was abandoned meanwhile.
        """
        key = work[:2]
        self._suspended[key] = (task, began)
        run, send, throw = variables.run, step.send, step.throw
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
                    self.busy = True
                    waits_for = run(throw, raised)
                else:
                    self.busy = True
                    waits_for = run(send, sent)
                self.busy = False
        except StopIteration as stop:
            self.busy = False
            reply = _good_end(work, stop.value, began, self._clock())
        except BaseException as error:
            error = self._raised(error)
            if key not in self._suspended and isinstance(error, GeneratorExit):
                raise
            reply = _bad_end(work, error, began, self._clock())
        while task.cancelling():
            task.uncancel()
        if self._suspended.pop(key, None) is None:
            self._mailbox.post((GONE, *key))
            return False
        self._mailbox.replies.append(reply)
        return True


def _good_end(work: Work, value: Any, began: float, ended: float) -> Reply:
    if type(value) in AWAITABLES:
        try:
            check_awaited(value)
        except TypeError as error:
            return _bad_end(work, error, began, ended)
    return (ENDED, work[0], work[1], OK, value, None, began, ended)


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


def _step(own: Variables, call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The coroutine of a call that may do anything before it gives one."""
    step = own.run(call, **arguments)
    return step if hasattr(step, "send") else _await(step)


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _me() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None  # only ever called inside a worker
    return task
