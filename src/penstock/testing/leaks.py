"""What a test leaves behind: threads of Penstock, and child processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 5.0  # seconds that what is about to end gets
_PAUSE = 0.01
_STAYS = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")  # Python's own, one for all


class Leaks:
    """Looks at what is there when it is made, and later at what has come and not gone."""

    def __init__(self) -> None:
        self._threads = set(_threads())
        self._children = set(_descendants(os.getpid()))

    def found(self, patience: float | None = None) -> list[str]:
        """What is there that was not there before, in words.

        Args:
            patience: Seconds that it gets to end; `PATIENCE` by default.
        """
        until = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            threads = [thread for thread in _threads() if thread not in self._threads]
            children = [pid for pid in _descendants(os.getpid()) if pid not in self._children]
            children = [pid for pid in children if not any(word in _command(pid) for word in _STAYS)]
            if (not threads and not children) or time.monotonic() > until:
                break
            time.sleep(_PAUSE)
        return [
            *(f"thread {thread.name!r}" for thread in threads),
            *(f"process {pid} ({_command(pid) or 'ended, and not waited for'})" for pid in children),
        ]


def _threads() -> Iterator[threading.Thread]:
    for thread in threading.enumerate():
        if thread.name.startswith("penstock-"):
            yield thread


def _descendants(pid: int) -> Iterator[int]:
    """The processes below one; where the system does not tell, those that multiprocessing knows of."""
    if not Path("/proc/self/task").is_dir():
        from multiprocessing import active_children

        yield from (child.pid for child in active_children() if child.pid is not None)
        return
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            children = (task / "children").read_text("ascii").split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _command(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        )
    except OSError:
        return ""
