"""What an attempt uses, measured over the stretches in which it runs."""

from __future__ import annotations

import os
import time
from typing import Protocol

from .inside import Usage


class Meter(Protocol):
    """Measures what an attempt uses: begun and halted around every stretch of it."""

    def begin(self) -> None: ...
    def halt(self) -> None: ...
    def used(self) -> Usage: ...


class ThreadMeter:
    """Processor time of the stretches that an attempt has run in this thread."""

    __slots__ = ("_cpu", "_since")

    def __init__(self) -> None:
        self._cpu = self._since = 0.0

    def begin(self) -> None:
        self._since = time.thread_time()

    def halt(self) -> None:
        self._cpu += time.thread_time() - self._since

    def used(self) -> Usage:
        return Usage(self._cpu)


class ProcessMeter:
    """Processor time of this process and of the programs that it has waited for, and the most memory that it
    has had at a time.

    Linux can be asked to begin anew with the highest mark; elsewhere it is that of the whole life of the
    process, and so only a bound.
    """

    __slots__ = ("_cpu", "_exact", "_since")

    def __init__(self) -> None:
        self._cpu = self._since = 0.0
        self._exact = _forget_peak()

    def begin(self) -> None:
        """A stretch of the attempt begins."""
        self._since = _cpu()

    def halt(self) -> None:
        """It is over."""
        self._cpu += _cpu() - self._since

    def used(self) -> Usage:
        """What all stretches have used."""
        peak = _peak()
        return Usage(self._cpu, peak, self._exact and peak is not None)


def _cpu() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _forget_peak() -> bool:
    """Sets the highest mark back to what is used now; says whether that could be done."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        return True
    except OSError:
        return False


def _peak() -> int | None:
    """The highest mark in bytes; None where it cannot be told."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
        import sys

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    except (ImportError, OSError):
        return None
