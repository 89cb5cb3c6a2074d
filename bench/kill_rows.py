"""Rows about time limits: how long what hangs outlives its limit."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.measure import Line, Scale, median, number, spread
from bench.process import HELLO, alternate_commands
from penstock import Flow, RunOptions, Timeout
from penstock.runners.processes import ProcessPool, processes

LIMIT = 0.2
SECTION = "Time limits"


def kill(scale: Scale) -> Iterator[Line]:
    """A process that hangs in C code, and a thread that hangs for an hour."""
    yield deaths(scale)
    yield exits(scale)


def deaths(scale: Scale) -> Line:
    """From the limit of a step to the moment at which the system says that its process is gone."""
    where, hanging = Flow("where"), Flow("hanging")
    where.add(number_of_process, name="pid")
    hanging.add(hung, name="hung", timeout=Timeout(attempt=LIMIT))
    with processes(1) as pool:
        late = [_late(where, hanging, pool) * 1e3 for _ in range(scale.kills)]
    found = spread(late)
    return Line(
        SECTION,
        f"a process hangs in C code: from its limit of {LIMIT:g} s to its death, {scale.kills} times",
        "–",
        f"{number(min(late))} to {number(max(late))} ms",
        found,
        " ms",
        must=50,
        aim=10,
    )


def exits(scale: Scale) -> Line:
    """A script whose only step sleeps for an hour in a thread, against a script with a daemon thread."""
    found = alternate_commands(
        [str(HELLO / "floor_hung.py")], [str(HELLO / "penstock_hung.py")], scale.rounds
    )
    seconds = spread([wall for wall, _ in found.second])
    return Line(
        SECTION,
        f"a thread hangs for an hour: a whole script, its limit of {LIMIT:g} s included",
        f"{number(median([wall for wall, _ in found.first]))} s",
        f"{number(seconds.median)} s",
        seconds,
        " s",
        must=1.0,
        aim=0.5,
    )


def number_of_process() -> int:
    return os.getpid()


def hung() -> None:
    """In C code that never lets go of the interpreter."""
    ctypes.PyDLL(None).pause()


def _late(where: Flow, hanging: Flow, pool: ProcessPool) -> float:
    """Seconds by which the pool's one worker outlives the limit of the step that hangs in it."""
    death = _Death(where.run(runner=pool).outputs["pid"])
    began: list[float] = []

    def note(event: Any) -> None:
        if type(event).__name__ == "NodeFailed":
            began.append(event.began)

    hanging.run(runner=pool, options=RunOptions(observers=(note,)))
    return death.when() - began[0] - LIMIT


class _Death:
    """Waits for the end of a process that need not be a child of ours."""

    def __init__(self, pid: int) -> None:
        self._file = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._when = 0.0
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self) -> None:
        if self._file is not None:
            select.select([self._file], [], [])
            self._when = time.time()

    def when(self) -> float:
        """The wall's time at which it ended; where the system does not tell, of this call."""
        self._thread.join()
        if self._file is None:
            return time.time()
        os.close(self._file)
        return self._when
