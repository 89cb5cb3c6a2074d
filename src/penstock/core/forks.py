"""Runs and forks: a run goes on where it began, and in no process that is forked off meanwhile.

A step may fork. What it forks has a copy of the whole run, of what waits in its queues too, and shares the
event loop's file descriptors with it. So it must never come back into the engine: it would make steps a
second time, or wait for threads that it does not have. Where it does come back, it ends.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn, Protocol
from weakref import WeakSet

EXIT_CODE = 70
"""Of a forked process that comes back into the engine; EX_SOFTWARE of sysexits.h."""


class Forked(Protocol):
    """What is told of a fork: a run's engine."""

    def forked(self) -> None:
        """Called in the child."""


_LIVING: WeakSet[Forked] = WeakSet()


def watch(engine: Forked) -> None:
    """Has an engine told, in the child, when this process forks."""
    _LIVING.add(engine)


def forget(engine: Forked) -> None:
    """The run is over: there is nothing left to protect."""
    _LIVING.discard(engine)


def refusal(run_id: str) -> str:
    """What is said to whoever uses a run in a forked process."""
    return (
        f"run {run_id} goes on in the process that has forked this one: the engine is not usable after fork; "
        "end a forked process with os._exit(), or begin a run of its own in it"
    )


def leave(run_id: str, *_: Any) -> NoReturn:
    """Ends this process at once. What is in the buffers of its files is the parent's to write, and its
    `finally` clauses are the parent's to run."""
    try:
        os.write(2, f"penstock: {refusal(run_id)}\n".encode())
    except OSError:  # nobody is there to read it
        pass
    os._exit(EXIT_CODE)


def _after_fork() -> None:
    for engine in list(_LIVING):
        engine.forked()
    _LIVING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
