"""Attempts in threads of our own: no futures, one queue, and threads that can be left behind."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from itertools import count, islice
from queue import SimpleQueue
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from penstock.core.commands import (
    BEGAN,
    CANCELLED,
    ENDED,
    FAILED,
    GONE,
    OK,
    RETURNED,
    STREAM,
    TIMED,
    YIELDED,
)
from penstock.core.errors import InputError
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work
from penstock.core.returned import UNUSUAL, taken_apart
from penstock.core.stacks import stack_of_thread
from penstock.core.streaming import close, close_after_failure, iterator_of

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from penstock.core.model import RunOptions

_RESERVE = 16
_RESOURCES = "penstock.core.resources"
_NO_MORE = "the system allows no more of them (ulimit -u, or the pids of a container)"


class ThreadRunner:
    """A pool that grows to `size` daemon threads.

    A thread cannot be stopped. One whose attempt is past its time is abandoned: it is named, its result is
    thrown away, another takes its place, and because it is a daemon it never keeps the interpreter alive.

    A stream keeps its thread while it waits for room, for what it iterates over may belong to that thread.
    So streams are not counted: the steps that make the room always have `size` threads.

    Args:
        size: Threads at most, those of streams not counted; by default 4 more than there are processors, at
            most 32.
        lender: Lends the first `size` threads, and gets them back at the end, but for abandoned ones.

    Attributes:
        is_usual: It stands for the usual one: a step that is alone may as well run in the engine's thread.
        warn: Told what went wrong at the end of a thread.
        patience: Seconds that `close` waits for threads that are at their end.
    """

    name = "threads"
    awaits = False
    is_usual = False
    patience = 10.0

    def __init__(self, size: int | None = None, lender: ThreadPoolExecutor | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"ThreadRunner: size must be at least 1, not {size!r}")
        self.size = size or min(32, (os.cpu_count() or 1) + 4)
        self.capacity = self.size + _RESERVE
        self.warn: Callable[[str], None] | None = None
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: dict[tuple[int, int], Work] = {}  # submitted and not begun; popping an entry claims it
        self._running: dict[tuple[int, int], tuple[Work, _AnyThread, float]] = {}
        self._streams: dict[tuple[int, int], _Stream] = {}  # submitted and not ended
        self._threads: set[_AnyThread] = set()
        self._leaving: set[_AnyThread] = set()  # no longer of the pool, perhaps not yet at their end
        self._short = False  # the system has refused a thread
        self._lock = threading.Lock()
        self._numbers = count(1)  # an abandoned thread never shares its name
        self._lender = lender
        self._lendable = 0 if lender is None else self.size
        self._closing = False

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        """See `Runner`.

        Raises:
            InputError: It would wait for a thread that waits for it.
        """
        if self._lender is not None and _is_of(threading.current_thread(), self._lender):
            raise InputError(
                "this run goes on in a thread of the very executor that it is lent, and if all of its "
                "threads did that, each would wait for the others: lend it another one, or say "
                "runner='threads'"
            )
        self._mailbox = mailbox
        self._clock = clock
        self._variables: Variables = copy_context()

    def submit(self, work: Work) -> None:
        if work[6] & STREAM:
            self._streams[work[:2]] = _Stream()
        self._waiting[work[:2]] = work
        self._queue.put(work)
        self._grow()

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        key = (node, token)
        if self._waiting.pop(key, None) is not None:
            self._streams.pop(key, None)
            now = self._clock()
            self._mailbox.post((ENDED, node, token, RETURNED, None, None, now, now))
            return
        running = self._running.get(key)
        if running is None:
            return
        context = running[0][5]
        if context is not None:
            context.ask_to_stop()
        stream = self._streams.get(key)
        if stream is not None and stream.stop():
            return  # it waits, and ends of itself
        if timeout:
            self.abandon(node, token)

    def abandon(self, node: int, token: int) -> None:
        key = (node, token)
        running = self._running.get(key)
        if running is None:
            return
        _, thread, began = running
        stack = stack_of_thread(thread.ident)
        if self._running.pop(key, None) is None:  # it ended this very moment, and has posted so
            return
        stream = self._streams.pop(key, None)
        if stream is not None:
            stream.stop()
        self._threads.discard(thread)
        now = self._clock()
        self._mailbox.post((ENDED, node, token, CANCELLED, (thread.name, stack), None, began, now))
        self._grow()

    def go_on(self, node: int, token: int, upto: int) -> None:
        stream = self._streams.get((node, token))
        if stream is not None:
            stream.go_on(upto)

    def close(self) -> None:
        """Ends the threads and waits for them; what was abandoned is not waited for.

        After a fault of ours attempts may still run. They are asked to end, and not waited for either.
        """
        self._closing = True
        self._waiting.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
        busy = set()
        for key, (work, thread, _) in list(self._running.items()):
            stream = self._streams.get(key)
            if work[5] is not None:
                work[5].ask_to_stop()
            if stream is None or not stream.stop():
                busy.add(thread)
        with self._lock:
            threads = self._threads | self._leaving
        for thread in threads:
            self._queue.put(None)
            if isinstance(thread, _LentThread):
                thread.call_off()
        end = monotonic() + self.patience
        for thread in threads - busy:
            thread.join(max(0.0, end - monotonic()))
            if thread.is_alive() and self.warn is not None:
                self.warn(f"thread {thread.name} has not ended in {self.patience:g} s and is left behind")
        self._threads.clear()

    def _grow(self) -> None:
        """One more thread, if there is work that no thread is at or about to take."""
        many = len(self._threads)
        if many >= self.size + len(self._streams) or many >= len(self._waiting) + len(self._running):
            return
        thread: _AnyThread
        if self._lender is not None and self._lendable:
            self._lendable -= 1
            thread = _LentThread(self._lender, self._serve, self._not_lent)
        else:
            name = f"penstock-{next(self._numbers)}"
            thread = threading.Thread(target=lambda: self._serve(thread), name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            if isinstance(thread, _LentThread):
                self._lendable += 1  # none of ours takes the place of one that the caller refuses
                self._do_without(error, "the executor lends none")
            else:
                self._do_without(error, _NO_MORE)

    def _not_lent(self, thread: _LentThread) -> None:
        """It was promised, and will not come. The executor may be locked by whoever says so."""
        self._threads.discard(thread)
        if not self._closing:
            error = RuntimeError("the executor that lends the threads has dropped what it had not begun")
            self._do_without(error, "it was shut down, or is broken")

    def _do_without(self, error: RuntimeError, why: str) -> None:
        """No thread can be had. Those that there are take what waits, unless all of them are at streams:
        these may wait for that very work."""
        if not self._short:
            self._short = True
            if self.warn is not None:
                self.warn(f"no more than {len(self._threads)} threads could be started: {error}")
        if len(self._threads) > sum(key in self._streams for key in [*self._running]):
            return
        text = f"{error}: {why}"
        for key, work in [*self._waiting.items()]:
            if self._waiting.pop(key, None) is not None:
                self._streams.pop(key, None)
                now = self._clock()
                failure = failure_of(RuntimeError(text), work[4], traced=False)
                self._mailbox.post((ENDED, *key, FAILED, failure, None, now, now))

    def _leaves(self, thread: _AnyThread) -> bool:
        """Whether the pool has one thread too many now that a stream has ended: this one."""
        with self._lock:
            if len(self._threads) <= self.size + len(self._streams):
                return False
            self._threads.discard(thread)
            self._leaving = {one for one in self._leaving if one.is_alive()} | {thread}
            return True

    def _serve(self, me: _AnyThread) -> None:
        queue, waiting, post, clock = self._queue, self._waiting, self._mailbox.post, self._clock
        variables = self._variables
        leaves = False
        while not leaves:
            work = queue.get()
            if work is None:
                break
            node, token, call, arguments, retry_on, _, kind = work
            key = (node, token)
            self._running[key] = (work, me, clock())
            if waiting.pop(key, None) is None:
                self._running.pop(key, None)
                continue  # given back meanwhile
            began = clock()
            streams, writes = kind & STREAM, None
            if streams and self._short:
                self._grow()  # this one may wait for what waits for a thread
            if kind & TIMED:
                post((BEGAN, node, token, began))
            try:
                if streams:
                    result, payload = variables.copy().run(self._produce, work), None
                else:
                    result, payload = OK, variables.copy().run(call, **arguments)
                    if type(payload) in UNUSUAL:
                        payload, writes = taken_apart(payload)
            except BaseException as error:
                result, payload = FAILED, failure_of(error, retry_on)
            ended = clock()
            if self._running.pop(key, None) is None:
                post((GONE, node, token))
                break  # another thread has taken this one's place
            if streams:
                self._streams.pop(key, None)
                leaves = self._leaves(me)
            post((ENDED, node, token, result, payload, writes, began, ended))
            del work, arguments, call, payload, writes
        self._close_resources()

    def _close_resources(self) -> None:
        """Closes what the steps have opened for this thread. Where none has, the module is not loaded."""
        resources: Any = sys.modules.get(_RESOURCES)
        for warning in () if resources is None else resources.close_worker():
            if self.warn is not None:
                self.warn(warning)

    def _produce(self, work: Work) -> int:
        """Makes the elements of a stream; how it ended, if it did not raise."""
        node, token, call, arguments = work[:4]
        stream = self._streams.get((node, token))
        if stream is None:
            return CANCELLED  # abandoned before it really began
        elements = iterator_of(call(**arguments))
        mailbox, position, element = self._mailbox, 0, None
        put = mailbox.replies.append
        try:
            while (upto := stream.room(position)) > position:
                for element in islice(elements, upto - position):
                    if stream.stopped:
                        break
                    # Told one by one: it may be hours to the next, and nobody else could tell this one then.
                    put((YIELDED, node, token, element, None))
                    position += 1
                    if mailbox.sleeping:
                        mailbox.ring()
                element = None
                if position < upto:
                    break
        except BaseException:
            close_after_failure(elements)
            raise
        close(elements)
        return CANCELLED if stream.stopped else OK


class LentThreads:
    """A thread pool of the caller's as a pool for runs: each borrows its threads, and gives them back.

    Args:
        lender: It.
        size: Threads that a run borrows at most; by default as many as there are.
    """

    def __init__(self, lender: ThreadPoolExecutor, size: int | None = None) -> None:
        self._lender = lender
        most = lender._max_workers
        self.size = most if size is None else min(size, most)

    def __enter__(self) -> LentThreads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<executor: {self.size} threads>"

    def for_run(self, options: RunOptions) -> ThreadRunner:
        """See `Pool`."""
        return ThreadRunner(self.size, self._lender)

    def close(self) -> None:
        """Nothing: the threads are the caller's."""


class _LentThread:
    """A thread of an executor, for as long as it serves here: as much of a `threading.Thread` as is needed.

    Attributes:
        name, ident: Of the thread; known once it has begun.
    """

    name = "a thread that an executor has not lent yet"
    ident: int | None = None

    def __init__(
        self,
        lender: ThreadPoolExecutor,
        serve: Callable[[_LentThread], None],
        refused: Callable[[_LentThread], None],
    ) -> None:
        self._lender = lender
        self._serve = serve
        self._refused = refused
        self._over = threading.Event()
        self._future: Future[None] | None = None

    def start(self) -> None:
        """Asks for it.

        Raises:
            RuntimeError: The executor was shut down.
        """
        self._future = self._lender.submit(self._run)
        self._future.add_done_callback(self._done)

    def call_off(self) -> None:
        """It is not needed any more, if it has not come yet."""
        if self._future is not None:
            self._future.cancel()

    def is_alive(self) -> bool:
        return not self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def _done(self, future: Future[None]) -> None:
        if not self._over.is_set():  # it has never begun
            self._over.set()
            self._refused(self)

    def _run(self) -> None:
        thread = threading.current_thread()
        self.name, self.ident = thread.name, thread.ident
        try:
            self._serve(self)
        finally:
            self._over.set()


def _is_of(thread: threading.Thread, lender: ThreadPoolExecutor) -> bool:
    """Whether it is one of an executor's. That knows a new thread only a moment after it has begun, and the
    thread knows the executor from its start; neither says so to everybody."""
    if thread in getattr(lender, "_threads", ()):
        return True
    given = getattr(thread, "_args", None) or (None,)
    return isinstance(given[0], weakref.ref) and given[0]() is lender


_AnyThread = threading.Thread | _LentThread


class _Stream:
    """What a stream's thread and the engine's thread tell each other.

    There is no lock. Each side first writes its own word and then reads that of the other, so one of them
    sees both.

    Attributes:
        upto: Elements may be made before this position.
        stopped: It is to end, at the next moment it can.
        waiting: It waits for room, or is about to, or has just done so.
    """

    __slots__ = ("_gate", "stopped", "upto", "waiting")

    def __init__(self) -> None:
        self.upto = 0
        self.stopped = False
        self.waiting = False
        self._gate: SimpleQueue[None] = SimpleQueue()  # an entry says: look again

    def room(self, position: int) -> int:
        """Waits until the element at `position` may be made. Gives the first that may not; if the stream is
        stopped, `position`."""
        if self.upto <= position:
            self.waiting = True
            while self.upto <= position and not self.stopped:
                self._gate.get()
            self.waiting = False
        return position if self.stopped else self.upto

    def go_on(self, upto: int) -> None:
        if upto > self.upto:
            self.upto = upto
            if self.waiting:
                self._gate.put(None)

    def stop(self) -> bool:
        """Asks for the end; whether it comes of itself, because no code of the user runs."""
        self.stopped = True
        if not self.waiting:
            return False
        self._gate.put(None)
        return True
