"""What goes through the pipe between a pool and a worker: a head of fixed size, a pickle, and large buffers.

Large bytes are never copied into a larger whole: the pickler hands them over as they are, and the pipe takes
them from where they lie.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple

from penstock.core.secrets import travelling

# From the pool.
GREET: Final = 0  # what a worker must know first
TASK: Final = 1  # a function and what belongs to it, under the number `task`
CALL: Final = 2  # an attempt of it
WAKE: Final = 3  # the board has changed
LEAVE: Final = 4  # the end

# From the worker.
HELLO: Final = 5  # it is there
BEGUN: Final = 6
GAVE: Final = 7  # an element of a stream
DONE: Final = 8  # an attempt has ended; `flag` says how
BACK: Final = 9  # it was taken back and not begun
SAID: Final = 10  # a method of the step's context, with its arguments
SLEEPS: Final = 11  # a stream waits until it may go on
WARNING: Final = 12  # what went wrong at the end
LEAVING: Final = 13  # what it is at before it ends

# Flags of a CALL, besides those of `commands`.
CONTEXT: Final = 128  # the step's context travels too

# Flags of a DONE beyond OK and FAILED of `commands`.
STOPPED: Final = 2  # a stream that was asked to end, and closed
UNLOADED: Final = 4  # the arguments cannot be loaded: the pool knows their names

Buffer = bytes | bytearray | memoryview

_HEAD = Struct("<BBHIQQdd")  # op, flag, buffers, task, number, size of the pickle, began, ended
_SIZE = Struct("<Q")
_APART = 1 << 16  # bytes from which a buffer travels beside the pickle
_READ = 1 << 16
_MANY = 512  # buffers of one write; the system's own bound is twice that
_MOST = 1 << 15  # buffers of one frame


class Frame(NamedTuple):
    """A message that has come.

    Attributes:
        op: What it says.
        flag: Bits that belong to it.
        task: Number of a task.
        number: Of the attempt.
        began, ended: Times of the monotonic clock, which all processes share.
        body: The pickle.
        buffers: What belongs to the pickle and lies beside it.
    """

    op: int
    flag: int
    task: int
    number: int
    began: float
    ended: float
    body: Buffer
    buffers: list[bytearray]

    @property
    def size(self) -> int:
        """Of the value, in bytes."""
        return len(self.body) + sum(map(len, self.buffers))

    def load(self) -> Any:
        """The value that it carries. A large pickle is gone then: the value has all that was in it."""
        value = pickle.loads(self.body, buffers=self.buffers)  # noqa: S301 - from a process of our own
        if type(self.body) is bytearray:
            self.body.clear()
        return value


class Parcel(NamedTuple):
    """A pickled value, ready to be sent any number of times.

    Attributes:
        chunks: The pickle, in pieces.
        size: Of all of them.
        buffers: What lies beside it.
    """

    chunks: list[Any]
    size: int
    buffers: list[memoryview]


NONE: Final = Parcel([], 0, [])


_PLAIN: Final = frozenset({int, float, bool, type(None)})
_TEXT: Final = frozenset({str, bytes})
_SMALL = 1 << 10  # characters or bytes of a text that is quickly copied


def is_small(value: Any) -> bool:
    """Whether it is one of those values that are pickled without a second thought: no code of anybody runs,
    there is no secret in it, and nothing of it is worth to be kept from being copied."""
    kind = type(value)
    return kind in _PLAIN or (kind in _TEXT and len(value) <= _SMALL)


def pack_small(value: Any) -> Parcel:
    """Pickles a value that is made of small ones."""
    body = pickle.dumps(value, 5)
    return Parcel([body], len(body), [])


class _Sink(list[Any]):
    """A file for the pickler: it hands over large bytes as they are."""

    __slots__ = ()
    write = list.append


def pack(value: Any, pickler: Callable[..., pickle.Pickler] = pickle.Pickler) -> Parcel:
    """Pickles a value; raises whatever pickling it raises."""
    buffers: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        """Whether it stays in the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        if raw.nbytes < _APART or len(buffers) >= _MOST:
            return True
        buffers.append(raw)
        return False

    sink = _Sink()
    with travelling():
        pickler(sink, 5, buffer_callback=beside).dump(value)
    return Parcel(sink, len(sink[0]) if len(sink) == 1 else sum(map(len, sink)), buffers)


def frame(
    op: int,
    parcel: Parcel = NONE,
    *,
    flag: int = 0,
    task: int = 0,
    number: int = 0,
    began: float = 0.0,
    ended: float = 0.0,
) -> list[Any]:
    """A message, as pieces to be written one after the other."""
    chunks, size, buffers = parcel
    head = _HEAD.pack(op, flag, len(buffers), task, number, size, began, ended)
    if not buffers:
        if size < _APART:
            return [b"".join((head, *chunks))]
        return [head, *chunks]
    return [head, *(_SIZE.pack(raw.nbytes) for raw in buffers), *chunks, *buffers]


def write(fd: int, pieces: list[Any]) -> list[Any]:
    """Writes what the pipe takes now; gives back the rest. Raises OSError if nobody reads it any more."""
    while pieces:
        try:
            sent = os.write(fd, pieces[0]) if len(pieces) == 1 else os.writev(fd, pieces[:_MANY])
        except BlockingIOError:
            return pieces
        done = 0
        for piece in pieces:
            if sent < len(piece):
                break
            sent -= len(piece)
            done += 1
        pieces = pieces[done:]
        if sent:
            pieces[0] = memoryview(pieces[0])[sent:]
    return pieces


class Inbox:
    """Puts the messages from a pipe together, however they are cut."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._large: tuple[tuple[Any, ...], list[bytearray]] | None = None
        self._missing: list[memoryview] = []  # parts of the large message that are still to come

    def read(self) -> list[Frame] | None:
        """What one read brings, maybe nothing yet; None at the end.

        Raises:
            BlockingIOError: There is nothing now, and the pipe is one that does not wait.
        """
        if self._large is not None:
            return self._read_large()
        data = os.read(self._fd, _READ)
        if not data:
            return None
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, end = 0, len(data)
        while end - at >= _HEAD.size:
            head = _HEAD.unpack_from(data, at)
            op, flag, count, task, number, size, began, ended = head
            after = at + _HEAD.size + count * _SIZE.size
            if end < after:
                break
            if count or end - after < size:
                sizes = [size]
                sizes += [_SIZE.unpack_from(data, at + _HEAD.size + i * _SIZE.size)[0] for i in range(count)]
                if sum(sizes) > end - after:
                    if sum(sizes) < _READ:
                        break
                    self._begin_large(head, sizes, memoryview(data)[after:])
                    at = end
                    break
                parts = []
                at = after
                for length in sizes:
                    parts.append(bytearray(data[at : at + length]))
                    at += length
                frames.append(Frame(op, flag, task, number, began, ended, parts[0], parts[1:]))
                continue
            at = after + size
            frames.append(Frame(op, flag, task, number, began, ended, data[after:at], []))
        self._rest = data[at:]
        return frames

    def _begin_large(self, head: tuple[Any, ...], sizes: list[int], data: memoryview) -> None:
        parts = [bytearray(size) for size in sizes]
        self._missing = []
        for part in parts:
            have = min(len(part), len(data))
            part[:have] = data[:have]
            data = data[have:]
            if have < len(part):
                self._missing.append(memoryview(part)[have:])
        self._large = head, parts

    def _read_large(self) -> list[Frame] | None:
        assert self._large is not None
        got = os.readv(self._fd, self._missing[:_MANY])
        if not got:
            return None
        while got:
            part = self._missing[0]
            if got < len(part):
                self._missing[0] = part[got:]
                break
            got -= len(part)
            del self._missing[0]
        if self._missing:
            return []
        op, flag, _, task, number, _, began, ended = self._large[0]
        parts = self._large[1]
        self._large = None
        return [Frame(op, flag, task, number, began, ended, parts[0], parts[1:])]
