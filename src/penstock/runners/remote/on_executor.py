"""Any `concurrent.futures.Executor` as an engine.

What its workers say before a bundle is done, and what they are ordered, goes over connections that they open
to this machine's loopback address: each side proves to the other that it knows a key. So the workers must be
processes of this machine.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from queue import SimpleQueue
from typing import Any, NamedTuple

from penstock.core.amounts import is_whole, shown
from penstock.core.commands import STREAM
from penstock.core.failures import said_by

from . import bundle as b
from . import cluster, site, travel

_LOOPBACK = "127.0.0.1"
_SLOTS = ("_max_workers", "max_workers", "num_workers")  # what executors call the number of their workers
_BACKLOG = 128
_HANDSHAKE = 10  # seconds that each word of a handshake may take
_WORD, _ANSWER = b"w", b"a"  # how a message of a worker begins
_GONE = "{}, a worker of the executor, is gone"
_PAUSE = 0.05  # seconds, after a connection that could not be taken
_REMEMBERED = 1_000  # orders to all, for workers that are still to come
_BROKEN = (
    "the executor is broken: {}; a worker was killed, or could not start "
    '(is what the program runs under `if __name__ == "__main__":`?)'
)


class Door(NamedTuple):
    """How a worker reaches the driver.

    Attributes:
        address: Where it listens.
        key: What both know.
        pid, thread: Who has asked the executor; a thread that must not be kept, or 0.
        slots: Of the executor.
    """

    address: tuple[str, int]
    key: bytes
    pid: int
    thread: int
    slots: int


class ExecutorCluster:
    """An executor that the caller lends, and closes.

    Args:
        executor: It.
        size: Calls that it makes at a time; None to ask it.

    Raises:
        ValueError: It is none, or does not say how many that are.
    """

    name = "executor"

    def __init__(self, executor: Executor, size: int | None = None) -> None:
        if not callable(getattr(executor, "submit", None)) or isinstance(executor, type):
            raise ValueError(f"executor takes a concurrent.futures.Executor, not {shown(executor)}")
        self.desk = os.urandom(16).hex()
        self.slots = _slots(executor) if size is None else _checked(size)
        self._executor = executor
        self._key = os.urandom(32)
        self._listening: socket.socket | None = None
        self._links: dict[str, _Link] = {}
        self._told: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._tickets: dict[int, Future[Any]] = {}
        self._withdrawn: set[int] = set()
        self._aside: dict[int, str] = {}  # bundles whose answer comes over a connection, and from where
        self._early: set[int] = set()  # those of them whose answer has come before that was known
        self._at_once = False  # it makes its calls before it comes back from `submit`
        _CLUSTERS.add(self)

    def open(self, listener: cluster.Listener) -> None:
        """See `Cluster`."""
        self._listener = listener
        self._listening = socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG)
        self._address = self._listening.getsockname()
        self._door = _thread("door", self._accept, self._listening)

    def sees(self, files: Mapping[str, str]) -> bool:
        """See `Cluster`. They are on this machine, and are not asked: all of them may be busy."""
        return travel.sees(files)

    def submit(self, ticket: int, data: bytes, loads: Sequence[Any], *, stays: bool) -> None:
        """See `Cluster`. Values never stay: an executor keeps none."""
        if self._at_once:
            _thread("call", self._call, ticket, data)
        else:
            self._submit(ticket, data, threading.get_ident())

    def order(self, orders: Sequence[tuple[Any, ...]], where: str | None) -> None:
        """See `Cluster`."""
        data = b.dump(orders)
        with self._lock:
            if where is None:
                self._told.append(data)
            links = [link for name, link in self._links.items() if where in (None, name)]
        for link in links:
            _send(link, data)

    def withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        """See `Cluster`."""
        future = self._tickets.get(ticket)
        if future is not None:
            self._withdrawn.add(ticket)
            future.cancel()

    def close(self) -> None:
        """See `Cluster`."""
        listening, self._listening = self._listening, None
        if listening is not None:
            try:
                socket.create_connection(self._address).close()  # `accept` looks up
            except OSError:
                pass
            self._door.join(_HANDSHAKE)
        with self._lock:
            links, self._links = list(self._links.values()), {}
        for link in links:
            link.hang_up()
        site.leave(self.desk)  # of an executor that makes its calls in this process

    def forked(self) -> None:
        """In a forked process: lets go of what belongs to the first one, or it would never be seen to end."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()
        for link in self._links.values():
            link.close()
        self._links = {}

    def _submit(self, ticket: int, data: bytes, thread: int) -> None:
        door = tuple(Door(self._address, self._key, os.getpid(), thread, self.slots))
        try:
            future = self._executor.submit(serve, self.desk, tuple(b.version()), ticket, data, door)
        except _AtOnce:
            self._call_from_now_on(ticket, data)
            return
        except BrokenExecutor as error:
            self._listener.lost(ticket, _BROKEN.format(said_by(error)), died=False)
            return
        self._tickets[ticket] = future
        future.add_done_callback(lambda done: self._done(ticket, data, done))

    def _call(self, ticket: int, data: bytes) -> None:
        """In a thread of its own, which the call keeps until it is over."""
        try:
            self._submit(ticket, data, 0)
        except Exception as error:
            self._listener.lost(ticket, f"executor takes no work: {said_by(error)}", died=False)

    def _call_from_now_on(self, ticket: int, data: bytes) -> None:
        self._at_once = True
        _thread("call", self._call, ticket, data)

    def _done(self, ticket: int, data: bytes, future: Future[Any]) -> None:
        self._tickets.pop(ticket, None)
        withdrawn = ticket in self._withdrawn
        self._withdrawn.discard(ticket)
        try:
            answer = future.result()
        except _AtOnce:
            self._call_from_now_on(ticket, data)
        except CancelledError:
            if withdrawn:
                self._listener.withdrawn(ticket)
            else:
                self._listener.lost(ticket, "the executor has cancelled its calls", died=False)
        except BrokenExecutor as error:
            self._listener.lost(ticket, _BROKEN.format(said_by(error)), died=False)
        except BaseException as error:
            self._listener.lost(ticket, said_by(error), died=False)
        else:
            if type(answer) is not str:
                self._listener.over(ticket, answer, None)
            elif not self._follows(ticket, answer):
                self._listener.lost(ticket, _GONE.format(answer), died=True)

    def _follows(self, ticket: int, where: str) -> bool:
        """Whether the answer that a worker has still to give will come, or has come already."""
        with self._lock:
            if ticket in self._early:
                self._early.discard(ticket)
                return True
            if where not in self._links:
                return False
            self._aside[ticket] = where
            return True

    def _accept(self, listening: socket.socket) -> None:
        with listening:
            while self._listening is not None:
                try:
                    end, _ = listening.accept()
                except OSError:  # of this one connection, or the process may open no more files
                    time.sleep(_PAUSE)
                    continue
                if self._listening is None:
                    end.close()
                    return
                _thread("line", self._hear, end)

    def _hear(self, end: socket.socket) -> None:
        """One worker, or a stranger: this thread waits for it, and nobody else does."""
        where, link = "", _Link(end)
        try:
            link.prove(self._key, first=True)
            where = link.receive().decode()
            with self._lock:
                if self._listening is None:
                    return
                self._links[where] = link
                told = list(self._told)
            for data in told:
                link.send(data)
            while True:
                self._take(link.receive())
        except Exception:  # it is gone, or does not know the key
            pass
        finally:
            lost = []
            with self._lock:
                if self._links.get(where) is link:
                    del self._links[where]
                    lost = [ticket for ticket, there in self._aside.items() if there == where]
                for ticket in lost:
                    del self._aside[ticket]
            link.close()
            for ticket in lost:
                self._listener.lost(ticket, _GONE.format(where), died=True)

    def _take(self, message: bytes) -> None:
        if message[:1] == _WORD:
            self._listener.hear(message[1:])
            return
        ticket, answer = b.load(message[1:])
        with self._lock:
            if self._aside.pop(ticket, None) is None:
                self._early.add(ticket)
        self._listener.over(ticket, answer, None)


def _slots(executor: Executor) -> int:
    for name in _SLOTS:
        found = getattr(executor, name, None)
        if isinstance(found, int) and found > 0:
            return found
    raise ValueError(
        f"how many calls {type(executor).__name__} makes at a time cannot be told; "
        "say penstock.executor(..., size=N)"
    )


def _checked(size: int) -> int:
    if not is_whole(size) or size < 1:
        raise ValueError(f"executor: size is an int of at least 1, not {shown(size)}")
    return size


class _Link:
    """One end of a connection: whole messages, from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._messages = Connection(os.dup(end.fileno()))
        self._lock = threading.Lock()

    def prove(self, key: bytes, *, first: bool) -> None:
        """Makes sure that both sides know the key.

        Raises:
            AuthenticationError: The other one does not.
            OSError: It is gone, or says nothing.
        """
        self._wait_at_most(_HANDSHAKE)
        for prove in (deliver_challenge, answer_challenge)[:: 1 if first else -1]:
            prove(self._messages, key)
        self._wait_at_most(0)

    def send(self, message: bytes) -> None:
        """Raises OSError if nobody is there any more."""
        with self._lock:
            self._messages.send_bytes(message)

    def receive(self) -> bytes:
        """Waits for a message; raises EOFError or OSError if none will come."""
        return self._messages.recv_bytes()

    def hang_up(self) -> None:
        """Ends it; whoever waits at it, here or there, is told so, and closes it."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was faster
            pass

    def close(self) -> None:
        """Gives back what it holds."""
        self._messages.close()
        self._end.close()

    def _wait_at_most(self, seconds: int) -> None:
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", seconds, 0))


def _send(link: _Link, message: bytes) -> None:
    try:
        link.send(message)
    except OSError:  # that worker is gone
        pass


def _thread(what: str, call: Any, *given: Any) -> threading.Thread:
    name = f"penstock-executor-{what}"
    thread = threading.Thread(target=call, args=given, name=name, daemon=True)
    thread.start()
    return thread


# --- in a worker ------------------------------------------------------------------------------------------


class _AtOnce(Exception):
    """The executor has made its call in the thread that has asked for it, and must not keep that."""


def serve(desk: str, version: tuple[str, ...], ticket: int, data: bytes, way: tuple[Any, ...]) -> bytes | str:
    """Carries out a bundle; see `Site.carry_out`.

    Returns:
        The answer. Or the name of this worker, if a stream of it sleeps, or is about to: then the answer
        comes over the connection, for the executor's worker is not to wait with it.

    Raises:
        _AtOnce: See there; nothing was begun.
    """
    door = Door(*way)
    here = door.pid == os.getpid()
    if here and door.thread == threading.get_ident():
        raise _AtOnce
    where = f"process {os.getpid()}"
    b.check_version(version, where)
    line = _line(desk, door, where)
    bundle, at = b.Bundle(*b.load(data)), site.site_of(desk, where)
    size = door.slots if here else 1
    if not any(call.flag & STREAM for call in bundle.calls):
        return at.carry_out(bundle, (), size, line.say)[0]
    turns: SimpleQueue[bytes | str | BaseException] = SimpleQueue()

    def carry_out() -> None:
        asleep = threading.Event()

        def aside() -> None:
            asleep.set()
            turns.put(where)

        try:
            answer = at.carry_out(bundle, (), size, line.say, aside)[0]
        except BaseException as error:
            turns.put(error)
            if asleep.is_set():
                line.link.hang_up()  # so that the driver knows
            return
        if asleep.is_set():
            line.answer(ticket, answer)
        else:
            turns.put(answer)

    _thread("stream", carry_out)
    found = turns.get()
    if isinstance(found, BaseException):
        raise found
    return found


class _Line:
    """This process's connection to a driver."""

    def __init__(self, desk: str, door: Door, where: str) -> None:
        self._desk = desk
        self.link = _Link(socket.create_connection(door.address))
        try:
            self.link.prove(door.key, first=False)
            self.link.send(where.encode())
        except BaseException:
            self.link.close()
            raise
        _thread("orders", self._listen)

    def say(self, word: bytes) -> None:
        """Sends a word."""
        self.link.send(_WORD + word)

    def answer(self, ticket: int, answer: bytes) -> None:
        """Sends the answer of a bundle that has let the executor's worker go on."""
        _send(self.link, _ANSWER + b.dump((ticket, answer)))

    def _listen(self) -> None:
        try:
            while True:
                site.obey(self._desk, self.link.receive())
        except (EOFError, OSError):  # the driver has closed the desk, or is gone
            with _lines_lock:
                _LINES.pop(self._desk, None)
            site.leave(self._desk)
            self.link.close()


_LINES: dict[str, _Line] = {}
_lines_lock = threading.Lock()


def _line(desk: str, door: Door, where: str) -> _Line:
    with _lines_lock:
        found = _LINES.get(desk)
        if found is None:
            found = _LINES[desk] = _Line(desk, door, where)
        return found


_CLUSTERS: weakref.WeakSet[ExecutorCluster] = weakref.WeakSet()


def _after_fork() -> None:
    global _lines_lock
    _lines_lock = threading.Lock()
    for line in _LINES.values():
        line.link.close()
    _LINES.clear()
    for one in list(_CLUSTERS):
        one.forked()


os.register_at_fork(after_in_child=_after_fork)
