"""The pools of this process that were begun: what a fork and the end of the interpreter do to them."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Lives(Protocol):
    """What has workers, and a thread."""

    def forked(self) -> None:
        """In a forked process: gives back what belongs to the first one (S22)."""

    def drop(self) -> None:
        """Has them end, and does not wait."""

    def wait(self) -> None:
        """After `drop`: until nothing of it remains."""


LIVING: weakref.WeakSet[Lives] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(LIVING):
        one.forked()


def _at_exit() -> None:
    """Ends the workers of pools that nobody has closed, before the interpreter ends."""
    left = list(LIVING)
    for one in left:
        one.drop()
    for one in left:
        one.wait()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
