"""What travels between a driver and the workers of an engine: bundles of attempts, and how they ended.

All of it is made of plain tuples in one pickle, in which the pickles of the users' values lie as bytes: no
worker of an engine ever loads them, but the child that makes the attempt, and the driver.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final, NamedTuple

from penstock.core.secrets import travelling
from penstock.runners.processes.frames import DONE, Frame, Parcel

# What a worker says before the end of a bundle: (what, errand, number, ...).
BEGUN: Final = 0  # (age, where): the attempt really runs, since so many seconds, on that worker
GAVE: Final = 1  # (packed): a stream has given an element
SAID: Final = 2  # (method, given): a method of the step's context was called

# What a driver orders: (what, number, ...).
STOP: Final = 0  # (kill, wait): see `Dispatcher.stop`; what has not come yet is not to begin
GO_ON: Final = 1  # (upto): a stream may give elements up to there

Packed = tuple[bytes, tuple[bytes, ...]]
"""A pickle, and the large buffers that lie beside it."""


class Version(NamedTuple):
    """What a driver and its workers must have in common.

    Attributes:
        penstock: Of this library.
        python: Implementation and version, without the last number: pickles and code go from one to the
            other.
    """

    penstock: str
    python: str


def version() -> Version:
    """Of this process."""
    python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
    return Version(sys.modules["penstock"].__version__, python)


class Skewed(RuntimeError):
    """A worker has other versions than the driver, and nothing was begun there."""


def check_version(driver: tuple[str, ...], where: str) -> None:
    """Compares the versions of the driver with those of this process.

    Raises:
        Skewed: They differ in what matters.
    """
    here = version()
    if tuple(driver) != tuple(here):
        told = Version(*driver)
        raise Skewed(
            f"the worker at {where} has Penstock {here.penstock} on {here.python}, and the driver has "
            f"Penstock {told.penstock} on {told.python}: install the same of both on all of them"
        )


class Call(NamedTuple):
    """One attempt on its way.

    Attributes:
        number: By which both sides know it.
        flag: How it is to be called.
        task: Number of the task, among those of the bundle.
        packed: Its arguments, and what makes its context.
        upto: How far a stream may go at first.
        loads: Which of its buffers are to be taken from values that the engine brings: each as (buffer, load,
            number of the attempt that made the value, part of it).
        stays: A large value may stay with the engine.
    """

    number: int
    flag: int
    task: int
    packed: Packed
    upto: int = 0
    loads: tuple[tuple[int, int, int, int], ...] = ()
    stays: bool = False


class Bundle(NamedTuple):
    """Attempts that travel together.

    Attributes:
        world: What a child is told of the driver's process.
        kill_grace: Seconds between SIGTERM and SIGKILL.
        tasks: What is called, by number.
        calls: The attempts.
    """

    world: Any
    kill_grace: float
    tasks: dict[int, Packed]
    calls: list[Call]


def opened(data: bytes, driver: tuple[str, ...], where: str) -> Bundle:
    """A bundle that has come to a worker.

    Args:
        data: As the driver has sent it.
        driver: Its versions.
        where: What this worker is called.

    Raises:
        Skewed: This worker has other versions.
    """
    check_version(driver, where)
    return Bundle(*load(data))


class Stayed(NamedTuple):
    """A value that has stayed with the engine.

    Attributes:
        size: In bytes.
        parts: The pickle and the buffers beside it.
    """

    size: int
    parts: int


class Raw(NamedTuple):
    """A value or a failure as a child has packed it.

    Attributes:
        flag: Of the frame.
        packed: The pickle and what lies beside it.
    """

    flag: int
    packed: Packed

    def frame(self) -> Frame:
        """As the child has sent it."""
        body, buffers = self.packed
        return Frame(DONE, self.flag, 0, 0, 0.0, 0.0, body, [bytearray(one) for one in buffers])


class Ending(NamedTuple):
    """How an attempt has ended.

    Attributes:
        number: Which.
        result: One of OK, FAILED, CANCELLED and RETURNED; what counts of a Raw is its flag.
        payload: Raw; Stayed; a failure; or None.
        began, ended: How long ago, in seconds before the answer was sent; None if it was not begun.
        words: That were said of it before.
    """

    number: int
    result: int
    payload: Any
    began: float | None
    ended: float | None
    words: int


Values = dict[int, tuple[bytes, ...]]
"""Values that stay with the engine, in parts, by the number of the attempt that has made them."""


def packed(parcel: Parcel) -> Packed:
    """A parcel in as few pieces as can be."""
    return b"".join(parcel.chunks), tuple(bytes(raw) for raw in parcel.buffers)


def parcel(given: Packed) -> Parcel:
    """The same, to be sent to a child."""
    body, buffers = given
    return Parcel([body], len(body), [memoryview(raw) for raw in buffers])


def dump(value: Any) -> bytes:
    """A bundle, an answer, a word or orders, as bytes."""
    with travelling():
        return pickle.dumps(value, 5)


def load(data: bytes) -> Any:
    """The same, from a driver or worker of our own."""
    return pickle.loads(data)  # noqa: S301 - engines execute code by design; see docs/guides/scale.md
