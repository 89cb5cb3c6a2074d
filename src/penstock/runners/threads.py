"""Attempts in threads of our own: no futures, one queue, and threads that can be left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from queue import SimpleQueue

from penstock.core.commands import BEGAN, CANCELLED, ENDED, FAILED, GONE, OK, RETURNED, TIMED
from penstock.core.failures import AWAITABLES, check_awaited, failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.ports import Work

_RESERVE = 16


class ThreadRunner:
    """A pool that grows to `size` daemon threads.

    A thread cannot be stopped. One whose attempt is past its time is abandoned: it is named, its result is
    thrown away, another takes its place, and because it is a daemon it never keeps the interpreter alive.

    Args:
        size: Threads at most; by default 4 more than there are processors, at most 32.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"ThreadRunner: size must be at least 1, not {size!r}")
        self.size = size or min(32, (os.cpu_count() or 1) + 4)
        self.capacity = self.size + _RESERVE
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: dict[tuple[int, int], Work] = {}  # submitted and not begun; popping an entry claims it
        self._running: dict[tuple[int, int], tuple[Work, threading.Thread, float]] = {}
        self._threads: set[threading.Thread] = set()
        self._abandoned: set[tuple[int, int]] = set()

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._variables: Variables = copy_context()

    def submit(self, work: Work) -> None:
        self._waiting[work[:2]] = work
        self._queue.put(work)
        self._grow()

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        key = (node, token)
        if self._waiting.pop(key, None) is not None:
            now = self._clock()
            self._mailbox.post((ENDED, node, token, RETURNED, None, None, now, now))
            return
        running = self._running.get(key)
        if running is None:
            return
        context = running[0][5]
        if context is not None:
            context.ask_to_stop()
        if timeout:
            self.abandon(node, token)

    def abandon(self, node: int, token: int) -> None:
        key = (node, token)
        running = self._running.get(key)
        if running is None:
            return
        _, thread, began = running
        self._abandoned.add(key)
        if self._running.pop(key, None) is None:  # it ended this very moment, and has posted so
            self._abandoned.discard(key)
            return
        self._threads.discard(thread)
        now = self._clock()
        self._mailbox.post((ENDED, node, token, CANCELLED, thread.name, None, began, now))
        self._grow()

    def close(self) -> None:
        """Ends the threads and waits for them; what was abandoned is not waited for."""
        self._waiting.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
        busy = {thread for _, thread, _ in self._running.values()}  # only after a fault of ours
        threads = [thread for thread in self._threads if thread not in busy]
        for _ in self._threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()
        self._threads.clear()

    def _grow(self) -> None:
        """One more thread, if there is work that no thread is at or about to take."""
        if len(self._threads) >= min(self.size, len(self._waiting) + len(self._running)):
            return
        thread = threading.Thread(target=self._serve, name=f"penstock-{len(self._threads) + 1}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        queue, waiting, post, clock = self._queue, self._waiting, self._mailbox.post, self._clock
        variables = self._variables
        me = threading.current_thread()
        while True:
            work = queue.get()
            if work is None:
                return
            node, token, call, arguments, retry_on, _, kind = work
            key = (node, token)
            self._running[key] = (work, me, clock())
            if waiting.pop(key, None) is None:
                self._running.pop(key, None)
                continue  # given back meanwhile
            began = clock()
            if kind & TIMED:
                post((BEGAN, node, token, began))
            try:
                result, payload = OK, variables.copy().run(call, **arguments)
                if type(payload) in AWAITABLES:
                    check_awaited(payload)
            except BaseException as error:
                result, payload = FAILED, failure_of(error, retry_on)
            ended = clock()
            if self._running.pop(key, None) is None:
                self._abandoned.discard(key)
                post((GONE, node, token))
                return  # another thread has taken this one's place
            post((ENDED, node, token, result, payload, None, began, ended))
            del work, arguments, call, payload
