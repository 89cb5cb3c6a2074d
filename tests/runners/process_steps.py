"""What the tests of the processes runner call: at module level, so that workers find it by name.

A step and its test meet through named pipes: opening one waits for the other side, so nobody sleeps.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from penstock import Context, Flow, each, param, use
from penstock.core.model import RunOptions

SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN")
UNPICKLABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("UNPICKLABLE")
NOT_A_VARIABLE = 5
changed: list[str] = []


# Meeting the test


def arrive(inside: str) -> None:
    """Says that the step runs: waits until the test reads."""
    with Path(inside).open("w") as file:
        file.write(str(os.getpid()))


def wait_for(release: str) -> str:
    """Waits until the test writes, and what it has written."""
    with Path(release).open() as file:
        return file.read()


def hold(inside: str, release: str, result: Any = None) -> Any:
    arrive(inside)
    wait_for(release)
    return result


# Values


def pid() -> int:
    return os.getpid()


def what_changed() -> list[str]:
    return changed


def length(value: Any) -> int:
    return len(value)


def zeros(size: int) -> bytes:
    return bytes(size)


def give_lock() -> Any:
    return threading.Lock()


def give_poison() -> Any:
    return BreaksWhenLoaded()


def give_local() -> Any:
    class Local:
        pass

    return Local()


class BreaksWhenPickled:
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not to be pickled")


class ExitsWhenPickled:
    def __reduce__(self) -> NoReturn:
        raise SystemExit("from __reduce__")


class BreaksWhenLoaded:
    def __reduce__(self) -> Any:
        return _break, ()


def _break() -> NoReturn:
    raise RuntimeError("not to be loaded")


class Array:
    """Bytes that travel beside the pickle, like those of a numpy array."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        import pickle

        return Array, (pickle.PickleBuffer(self.data),)


def twice(array: Array) -> Array:
    return Array(bytearray(array.data) * 2)


# Functions


class Counter:
    """Callables that are not functions."""

    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, x: int) -> int:
        return self.start + x

    def __call__(self, x: int) -> int:
        return self.start + x

    @staticmethod
    def double(x: int) -> int:
        return 2 * x

    @classmethod
    def make(cls, x: int) -> int:
        return cls(x).start


def add(x: int, y: int) -> int:
    return x + y


def shout(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def louder(*args: Any, **kwargs: Any) -> Any:
        return f"{function(*args, **kwargs)}!"

    return louder


def same(value: Any, **others: Any) -> Any:
    return value


@shout
def greet(name: str) -> str:
    return f"hello {name}"


@functools.cache
def cached(x: int) -> int:
    return x + 1


def renamed(x: int) -> int:
    return x


first_of_two = renamed


def renamed(x: int) -> int:  # type: ignore[no-redef]
    return -x


flow = Flow("by name")


@flow.step
def stepped(x: int) -> int:
    return x + 10


@flow.step
@functools.cache
def stepped_and_cached(x: int) -> int:
    return x + 100


def made_inside() -> Callable[[int], int]:
    base = 5

    def inner(x: int) -> int:
        return base + x

    return inner


nameless = lambda x: x  # noqa: E731


# Ends


def exit_hard(status: int) -> NoReturn:
    os._exit(status)


def crash() -> None:
    ctypes.string_at(0)


def kill_self() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hang_in_c(inside: str) -> None:
    """In C code that lets go of nothing: no other thread of the process runs."""
    arrive(inside)
    ctypes.PyDLL(None).pause()


def hang_in_finally(inside: str) -> None:
    try:
        raise ValueError("in the way")
    finally:
        arrive(inside)
        while True:
            signal.pause()


def swallow(inside: str) -> None:
    """Survives all that can be survived."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            arrive(inside)
            while True:
                signal.pause()
        except BaseException:
            pass


def clean_up(inside: str, done: str) -> None:
    try:
        arrive(inside)
        signal.pause()
    finally:
        Path(done).write_text("cleaned")


def with_children(inside: str) -> None:
    """Starts a program, which starts another."""
    program = subprocess.Popen(["sh", "-c", "sleep 1000 & echo; sleep 1000"], stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    arrive(inside)
    signal.pause()


def leave_child() -> int:
    return subprocess.Popen(["sleep", "1000"]).pid


def crash_with_children() -> NoReturn:
    """Dies, and leaves a copy of itself that holds all that it had open."""
    if os.fork() == 0:
        signal.pause()
    os._exit(7)


def come_back_twice() -> int:
    """A forked copy that takes itself for the worker."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return 5


def close_all() -> int:
    os.closerange(3, 256)
    return 1


def close_all_and_stay(inside: str) -> None:
    arrive(inside)
    os.closerange(3, 256)
    signal.pause()


def stay() -> None:
    print("here", flush=True)
    signal.pause()


def leave_thread(name: str) -> None:
    """Leaves a thread behind for which the interpreter waits at its end."""
    threading.Thread(target=threading.Event().wait, name=name).start()


def wait_and_say(flag: str) -> str:
    """A neighbour: goes on once the test writes."""
    return wait_for(flag)


# Context


def say_much(context: Context) -> str:
    context.progress(1, 2, "half")
    context.log("a word", number=7)
    context.log("odd", lock=threading.Lock())
    context.heartbeat()
    return f"{context.path} {context.attempt} {context.run_id} {context.key} {context.idempotency_key}"


def work_until_cancelled(context: Context, inside: str) -> str:
    arrive(inside)
    while not context.cancelled:
        time.sleep(0.001)
    return "told"


def write_in_workdir(context: Context) -> str:
    (context.workdir / "file").write_text("contents")
    return str(context.published / "file")


def what_is_there() -> tuple[int, int, list[str]]:
    """Of this process: its number, its descriptors and its threads."""
    gc.collect()
    return os.getpid(), len(os.listdir("/proc/self/fd")), [thread.name for thread in threading.enumerate()]


def numbers(many: int) -> list[int]:
    return list(range(many))


LENT: list[Any] = []


def kill_workers_of(number: int) -> None:
    """Kills the workers of the executors that a test has left here, when the fourth number comes."""
    if number == 3:
        for executor in LENT:
            for pid in list(executor._processes):
                os.kill(pid, signal.SIGKILL)


def beat_for(context: Context, beats: int) -> int:
    for _ in range(beats):
        context.heartbeat()
        time.sleep(0.2)
    return beats


def be_silent(context: Context, inside: str) -> None:
    arrive(inside)
    signal.pause()


def read_seen() -> str:
    return SEEN.get("nothing")


def write_seen(text: str) -> str:
    SEEN.set(text)
    return SEEN.get()


def swap_seen(text: str) -> str:
    before = SEEN.get("nothing")
    SEEN.set(text)
    return before


def say(text: str) -> None:
    print(text, end="")


def read_stdin() -> str:
    return sys.stdin.read()


def retryable_here(error: BaseException) -> bool:
    return type(error).__name__ == "WorkerDied"


# Streams


def stream_and_hang(inside: str) -> Iterator[int]:
    yield 0
    arrive(inside)
    signal.pause()
    yield 1


def stream_locks() -> Iterator[Any]:
    yield 1
    yield threading.Lock()


def stream_poison() -> Iterator[Any]:
    yield 1
    yield BreaksWhenLoaded()
    yield 2


def stream_and_die() -> Iterator[int]:
    yield 0
    os._exit(3)


def stream_and_hang_when_closed(inside: str) -> Iterator[int]:
    try:
        while True:
            yield 0
    finally:
        arrive(inside)
        signal.pause()


# Runs within runs


inner = Flow("inner")


@inner.step(runner="processes")
def inside_inner(x: int) -> int:
    return x + 1


def run_inner(x: int) -> int:
    return int(inner.run(x=x, options=RunOptions())["inside_inner"])


def open_socket() -> socket.socket:
    return socket.socket()


# Chunks


def note(log: str, item: int) -> int:
    """Leaves a line in a file, in one write, for each time that it is called."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{item}\n".encode())
    os.close(file)
    return item


def note_and_crash(log: str, item: int) -> NoReturn:
    note(log, item)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def nap(seconds: float) -> None:
    time.sleep(seconds)


def an_item(item: int, log: str) -> int:
    """Of those of a map: 50 fails the first time, 77 never ends, 99 kills its process, once."""
    first = item not in (50, 99) or str(item) not in Path(log).read_text().split("\n")
    note(log, item)
    if item == 50 and first:
        raise ValueError("not yet")
    if item == 77:
        signal.pause()
    if item == 99 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


# Resources

lending = Flow("lending")


@lending.resource(scope="worker")
def desk(log: str) -> Iterator[int]:
    with Path(log).open("a") as file:
        file.write("open ")
    yield os.getpid()
    with Path(log).open("a") as file:
        file.write("close ")
    raise ValueError("the desk is stuck")


hanging = Flow("hanging")


@hanging.resource(scope="worker")
def door() -> Iterator[int]:
    yield 1
    signal.pause()


@hanging.step(runner="processes")
def shut(door: int = use(door)) -> int:
    return door


leaving = Flow("leaving")


@leaving.step(runner="processes")
def leave(name: str) -> None:
    leave_thread(name)


@lending.step(runner="processes")
def sit(n: int = each(param("numbers", list[int])), desk: int = use(desk)) -> bool:
    return desk == os.getpid()
