"""Attempts in threads of our own: no futures, one queue, and threads that can be left behind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from itertools import count, islice
from queue import SimpleQueue
from time import monotonic
from typing import Any

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
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work
from penstock.core.returned import UNUSUAL, taken_apart
from penstock.core.stacks import stack_of_thread
from penstock.core.streaming import close, close_after_failure, iterator_of

_RESERVE = 16
_RESOURCES = "penstock.core.resources"


class ThreadRunner:
    """A pool that grows to `size` daemon threads.

    A thread cannot be stopped. One whose attempt is past its time is abandoned: it is named, its result is
    thrown away, another takes its place, and because it is a daemon it never keeps the interpreter alive.

    A stream keeps its thread while it waits for room, for what it iterates over may belong to that thread.
    So streams are not counted: the steps that make the room always have `size` threads.

    Args:
        size: Threads at most, those of streams not counted; by default 4 more than there are processors, at
            most 32.

    Attributes:
        is_usual: It stands for the usual one: a step that is alone may as well run in the engine's thread.
        warn: Told what went wrong at the end of a thread.
        patience: Seconds that `close` waits for threads that are at their end.
    """

    name = "threads"
    awaits = False
    is_usual = False
    patience = 10.0

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"ThreadRunner: size must be at least 1, not {size!r}")
        self.size = size or min(32, (os.cpu_count() or 1) + 4)
        self.capacity = self.size + _RESERVE
        self.warn: Callable[[str], None] | None = None
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: dict[tuple[int, int], Work] = {}  # submitted and not begun; popping an entry claims it
        self._running: dict[tuple[int, int], tuple[Work, threading.Thread, float]] = {}
        self._streams: dict[tuple[int, int], _Stream] = {}  # submitted and not ended
        self._threads: set[threading.Thread] = set()
        self._leaving: set[threading.Thread] = set()  # no longer of the pool, perhaps not yet at their end
        self._short = False  # the system has refused a thread
        self._lock = threading.Lock()
        self._numbers = count(1)  # an abandoned thread never shares its name

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
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
        for _ in threads:
            self._queue.put(None)
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
        name = f"penstock-{next(self._numbers)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            self._do_without(error)

    def _do_without(self, error: RuntimeError) -> None:
        """No thread can be had. Those that there are take what waits, unless all of them are at streams:
        these may wait for that very work."""
        if not self._short:
            self._short = True
            if self.warn is not None:
                self.warn(f"no more than {len(self._threads)} threads could be started: {error}")
        if len(self._threads) > sum(key in self._streams for key in [*self._running]):
            return
        text = f"{error}: the system allows no more of them (ulimit -u, or the pids of a container)"
        for key, work in [*self._waiting.items()]:
            if self._waiting.pop(key, None) is not None:
                self._streams.pop(key, None)
                now = self._clock()
                failure = failure_of(RuntimeError(text), work[4], traced=False)
                self._mailbox.post((ENDED, *key, FAILED, failure, None, now, now))

    def _leaves(self, thread: threading.Thread) -> bool:
        """Whether the pool has one thread too many now that a stream has ended: this one."""
        with self._lock:
            if len(self._threads) <= self.size + len(self._streams):
                return False
            self._threads.discard(thread)
            self._leaving = {one for one in self._leaving if one.is_alive()} | {thread}
            return True

    def _serve(self) -> None:
        queue, waiting, post, clock = self._queue, self._waiting, self._mailbox.post, self._clock
        variables = self._variables
        me = threading.current_thread()
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
