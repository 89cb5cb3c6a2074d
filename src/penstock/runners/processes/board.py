"""A page of memory that a pool shares with one of its workers.

A worker at a step reads nothing, and may hold the interpreter's lock in C code. What must be known at once
goes through these words: which attempt it has begun, and which it must not begin. Each side writes its own
word first and reads the other's after, with a fence between the two; so of a worker that begins an attempt
and a pool that takes it back at least one sees the other.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from typing import Final

# The words. An attempt is named by its number in the order in which the pool has sent them, from 1.
STARTED: Final = 0  # the worker's: the attempt that it has begun last
WAITING: Final = 1  # the worker's: the stream that sleeps until it may go on; 0 if none does
HALT: Final = 2  # the pool's: begin nothing, the end is near
STOPPED: Final = 3  # the pool's: the attempt that is asked to end
BEGAN: Final = 4  # the worker's: when it has begun that attempt, in ns of the monotonic clock
_FIRST: Final = 5  # of two words for each attempt on its way: its number if it is taken back, and `upto`
_ATTEMPTS: Final = 512
_SIZE: Final = 8 * (_FIRST + 2 * _ATTEMPTS)

AHEAD: Final = _ATTEMPTS - 2
"""How many attempts may be sent to a worker before it has begun the first of them."""


def taken_back(number: int) -> int:
    """Where it stands that an attempt was taken back."""
    return _FIRST + 2 * (number % _ATTEMPTS)


def upto(number: int) -> int:
    """Where it stands how far a stream may go."""
    return taken_back(number) + 1


def make() -> int:
    """A file descriptor of a fresh board."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("penstock-board")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, _SIZE)
    return fd


def view(fd: int) -> memoryview:
    """The words of a board; the descriptor may be closed then."""
    return memoryview(mmap.mmap(fd, _SIZE)).cast("Q")


def fence() -> None:
    """What was written before it is seen by all before anything is read after it."""
    _acquire()
    _release()


_LOCK = threading.Lock()
_acquire: Callable[[], bool] = _LOCK.acquire
_release: Callable[[], None] = _LOCK.release
