"""What the tests of the Dask runner call: at module level, so that workers find it by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from penstock import Context
from tests.runners import process_steps as own
from tests.runners.contract import PATIENCE


class Meeting:
    """A step that the test can wait for, and let go on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.inside, self.release = str(folder / "inside"), str(folder / "release")
        os.mkfifo(self.inside)
        os.mkfifo(self.release)

    @property
    def given(self) -> dict[str, str]:
        """What `hold` takes."""
        return {"inside": self.inside, "release": self.release}

    def wait(self) -> int:
        """Until the step runs; the process that it runs in."""
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.append(Path(self.inside).read_text()), daemon=True)
        reader.start()
        reader.join(PATIENCE)
        assert found, "the step has not begun"
        return int(found[0])

    def go(self, text: str = "go") -> None:
        writer = threading.Thread(target=lambda: Path(self.release).write_text(text), daemon=True)
        writer.start()
        writer.join(PATIENCE)
        assert not writer.is_alive(), "nobody waits to go on"


def parent(pid: int) -> int:
    """Of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def descendants(pid: int) -> set[int]:
    """Of a process, all that live."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


def until(done: Callable[[], Any], what: str) -> None:
    """Waits for what others bring about, where they say nothing when they have."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.01)


# Steps


def held(inside: str, release: str) -> int:
    own.arrive(inside)
    own.wait_for(release)
    return os.getpid()


def worker() -> int:
    """The process of Dask's worker."""
    return os.getppid()


def kill_self() -> NoReturn:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def one(x: int) -> int:
    return x + 1


def first_fails(x: int, ctx: Context) -> int:
    if ctx.attempt == 1 and x % 7 == 0:
        raise ConnectionError(f"item {x}")
    return x


def large(size: int) -> bytes:
    return b"x" * size


def size_of(value: bytes) -> int:
    return len(value)


def numbers(many: int) -> Iterator[int]:
    yield from range(many)


def when(x: int) -> tuple[float, float]:
    """From when to when it ran: long enough to meet others, if others run."""
    began = time.monotonic()
    time.sleep(0.06)
    return began, time.monotonic()


def numbers_at_once(many: int) -> list[int]:
    return list(range(many))


def total(xs: list[int]) -> int:
    return sum(xs)


def again(value: bytes) -> bytes:
    return value


def talk(ctx: Context) -> str:
    ctx.log("logged")
    ctx.progress(1, 2)
    print("printed")
    return "says"


def hang() -> NoReturn:
    while True:
        signal.pause()


def hang_silently(ctx: Context) -> NoReturn:
    ctx.heartbeat()
    hang()


def some_hang(x: int) -> int:
    if x in (100, 200):
        hang()
    return x


def fail() -> NoReturn:
    raise KeyError("no such thing")
