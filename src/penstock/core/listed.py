"""A run as the catalog of a store has it: what is known without reading its journal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .model import RunStatus
from .owners import is_dead
from .resume import ENDED
from .storage import RunEntry


def is_driven(entry: RunEntry) -> bool:
    """Whether a process drives a run, as far as can be told from here."""
    owner, expires = entry.owner, entry.expires
    if owner is None or (expires is not None and expires <= time.time()):
        return False
    return not is_dead(owner)


class ListedRun:
    """What a list of runs tells of one.

    Args:
        entry: The run in the catalog.

    Attributes:
        entry: As given.
        run_id: Its id.
        flow: Name of its flow.
        created: When it was first asked for, in seconds since 1970.
        tags: Words of the caller's own.
        about: Where it came from: commit, versions, and the like.
        parent: Id of the run whose step started it, else None.
        target: What the command line was given to find its code, else None. Whoever can write to the store
            can write anything there.
    """

    def __init__(self, entry: RunEntry) -> None:
        self.entry = entry
        self.run_id = entry.run_id
        self.flow = entry.flow
        self.created = entry.created
        self.tags: Mapping[str, str] = dict(entry.tags)
        self.about: Mapping[str, str] = dict(entry.about)
        self.parent = entry.parent
        self.target = entry.target

    def __repr__(self) -> str:
        status = "cut off" if self.is_cut_off else self.status.value
        return f"<run {self.run_id} of flow {self.flow!r}: {status}>"

    @property
    def status(self) -> RunStatus:
        """Where it stands; ``running`` also if it was cut off."""
        if self.entry.owner is not None:
            return RunStatus.RUNNING
        return RunStatus(self.entry.status)

    @property
    def is_driven(self) -> bool:
        """Whether a process drives it, as far as can be told from here."""
        return is_driven(self.entry)

    @property
    def is_cut_off(self) -> bool:
        """Whether it has neither ended nor waits, and nobody drives it: it can be resumed."""
        return self.status in (RunStatus.RUNNING, RunStatus.PENDING) and not self.is_driven

    @property
    def owner(self) -> str:
        """Which process drives it, or has driven it until it died, in words; empty if none."""
        return "" if self.entry.owner is None else str(self.entry.owner)

    @property
    def ended(self) -> float | None:
        """When it ended, in seconds since 1970; None if it has not."""
        return self.entry.updated if self.status.value in ENDED else None

    @property
    def duration(self) -> float | None:
        """Seconds from its creation to its end; None if it has not ended."""
        ended = self.ended
        return None if ended is None else max(0.0, ended - self.created)
