"""How much is sent ahead to the workers of a pool: while attempts are tiny, about 50 ms of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.runners.pace import GOAL, Pace

from . import board
from .child import Child, Job
from .frames import Frame

QUICK = 0.01  # seconds; after a longer attempt few others are sent ahead: another worker may be free sooner
_SHORT = 0.1  # seconds; after a longer one not even these:
_FEW = 1
_CHANGE = 0.25  # of the capacity: a smaller change is not told
_BURST = 16  # attempts that a worker has at least, when the pool lets endings come together
_LIGHT = 1 << 10  # bytes of arguments and results that do not fill a pipe in that time
_GATHER = 0.002  # seconds that it lets them come at most
_BYTES = 1 << 22  # of arguments, sent ahead to one worker
_PER_BYTE = GOAL / _BYTES
_LIGHTER = 0.98
LONG = 1.0  # seconds of work that may wait for the workers, once more was taken than they can do


class Asks(Protocol):
    """A runner that wants to know how many attempts are taken."""

    def room(self, capacity: int) -> None:
        """So many at a time, from now on."""


class Ahead:
    """What the endings of attempts say about how many others may wait in a worker's pipe.

    Args:
        size: Workers at most.
        prefetch: Attempts sent to a worker beyond the one that it is at.
        adapts: While attempts are short, more than that, and whoever has joined is told so.
    """

    def __init__(self, size: int, prefetch: int, *, adapts: bool) -> None:
        self._size = size
        self._least = self._room = 1 + prefetch
        self._adapts = adapts
        self._pace = Pace()
        self._heavy = 1.0  # bytes of the arguments or the result of an attempt, if they are large of late
        self._told: dict[Asks, int] = {}  # the capacity that each was told

    def join(self, runner: Asks) -> None:
        """It is told from now on how many attempts are taken, if that changes."""
        if not self._adapts:
            return
        if not self._told:  # what the last run has shown may not hold for this one
            self._pace.begin()
            self._room = self._least
        self._told[runner] = self._size * self._least
        self._tell()

    def part(self, runner: Asks) -> None:
        """It wants to know nothing any more."""
        self._told.pop(runner, None)

    def of(self, child: Child) -> int:
        """Attempts that a worker may have besides the one that it is at."""
        if child.quick:
            return self._room - 1
        return min(_FEW, self._room - 1) if child.seconds < _SHORT else 0

    def is_enough(self, child: Child) -> bool:
        """Whether a worker that has something to do needs nothing more for now."""
        return len(child.jobs) > (self.of(child) + 1) // 2

    def next(self, queue: deque[Job], child: Child, workers: int) -> list[Job]:
        """What a worker takes from the queue, of which each of the others is to have its share."""
        have, jobs, most, left = len(child.jobs), list[Job](), 1, GOAL
        if ahead := self.of(child):
            most = min(1 + ahead - have, child.room, -(-len(queue) // workers))
        while queue and len(jobs) < most:
            job = queue[0]
            if job.is_stream and not job.over:
                if not have and not jobs:
                    return [queue.popleft()]
                break
            left -= self._pace.expected(job.task.number) + job.size * _PER_BYTE
            if self._adapts and jobs and left < 0:
                break
            queue.popleft()
            if not job.over:
                jobs.append(job)
        return jobs

    def note(self, child: Child, job: Job, done: Frame, took: dict[int, list[float]]) -> None:
        """An attempt has ended. Its seconds are put to those of its task in `took`."""
        child.seconds = done.ended - done.began
        child.quick = child.seconds < QUICK
        if done.number > 1:  # the first one has also waited for what the worker had to import
            took.setdefault(job.task.number, []).append(child.seconds)
        self._heavy = max(job.size, done.size, self._heavy * _LIGHTER)

    def learn(self, took: Mapping[int, Sequence[float]]) -> int | None:
        """How long attempts have taken, by task.

        Returns:
            How many may wait in the queue, if that has become less than it was; None if nothing has changed.
        """
        for task, seconds in took.items():
            self._pace.learn(task, sum(seconds) / len(seconds))
        if not self._adapts:
            return None
        self._room = max(self._least, min(self._pace.each, int(_BYTES / self._heavy), board.AHEAD))
        if not self._tell() or self._pace.mean < QUICK:
            return None
        return max(self._size * self._room, int(LONG * self._size / self._pace.mean))

    def gathering(self, children: Sequence[Child]) -> float:
        """Seconds in which every worker that has something to do will not run out of it: what ends meanwhile
        is heard together, and whoever waits for it is woken once."""
        least = 0
        if self._heavy > _LIGHT:  # the pipe may be full before
            return 0.0
        for child in children:
            have = len(child.jobs)
            if have:
                if have < _BURST or not child.quick:
                    return 0.0
                least = min(least or have, have)
        return min(_GATHER, least * self._pace.mean / 4)

    def _tell(self) -> bool:
        """Tells the runners how many attempts are taken now, if that has changed much."""
        capacity = self._size * self._room
        news = [runner for runner, told in self._told.items() if abs(capacity - told) > _CHANGE * told]
        for runner in news:
            self._told[runner] = capacity
            runner.room(capacity)
        return bool(news)


def steal(children: Sequence[Child], thief: Child) -> list[Job]:
    """What was sent ahead to a worker that is busy: half of what the one with the most has."""
    victim = max((child for child in children if child is not thief), key=_load, default=thief)
    many = len(victim.jobs) // 2 if thief.quick else min(1, len(victim.jobs) // 2)
    jobs = deque[Job]()
    for job in reversed([*victim.jobs.values()]):
        if len(jobs) == min(many, thief.room) or not victim.take_back(job):
            break
        jobs.appendleft(job)
    return list(jobs)


def _load(child: Child) -> int:
    return len(child.jobs)
