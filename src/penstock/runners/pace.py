"""How many attempts travel together: what is tiny alone is about 50 ms of work in a chunk."""

from __future__ import annotations

from typing import Final

GOAL: Final = 0.05
"""Seconds of work of one chunk."""

MOST: Final = 512
"""Attempts of one chunk."""

_OWN = 50e-6  # seconds that the smallest attempt takes a worker
_STRANGE = 16  # attempts of steps of which nothing is known yet, in one chunk
_WEIGHT = 0.2  # of what is new, against what was known
_SHARE = 2  # of what waits, each worker gets one chunk of so many
_TASKS = 4_096  # that are remembered
_RARE = 16  # a chunk of so many may have one that takes as long as the longest of late
_FADES = 0.95  # how the longest of late is forgotten, from one to the next


class Pace:
    """Learns how long attempts take, and says how many of them make a chunk."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}  # by task: mean of an attempt
        self._longest: dict[int, float] = {}  # by task: the longest of late
        self._all: float | None = None

    def begin(self) -> None:
        """Something else begins: what is known of attempts of any kind is forgotten."""
        self._all = None

    def learn(self, task: int, seconds: float) -> None:
        """An attempt has taken so long, or several of them in the mean."""
        seconds = max(seconds, _OWN)
        known = self._seconds.get(task)
        if known is None and len(self._seconds) >= _TASKS:
            self._seconds.clear()
            self._longest.clear()
        self._longest[task] = max(seconds, _FADES * self._longest.get(task, 0.0))
        self._seconds[task] = seconds if known is None else known + _WEIGHT * (seconds - known)
        self._all = seconds if self._all is None else self._all + _WEIGHT * (seconds - self._all)

    def expected(self, task: int) -> float:
        """How long an attempt of a task will take. Where a few take much longer than others, these should not
        have to wait for them in one chunk."""
        known = self._seconds.get(task)
        if known is not None:
            return max(known, self._longest[task] / _RARE)
        return GOAL if self._all is None else max(self._all, GOAL / _STRANGE)

    @property
    def mean(self) -> float:
        """Seconds that an attempt has taken of late, whichever; 0 before the first."""
        return self._all or 0.0

    @property
    def each(self) -> int:
        """Attempts of a chunk, as attempts have been of late."""
        return 1 if self._all is None else max(1, min(MOST, int(GOAL / self._all)))

    def most(self, waiting: int, slots: int) -> int:
        """How many of those that wait one chunk may take, so that there is something for every worker."""
        return max(1, min(MOST, -(-waiting // (_SHARE * max(1, slots)))))

    def capacity(self, slots: int) -> int:
        """Attempts that are handed out at a time: one chunk for each worker to be at, and one to follow."""
        return 2 * max(1, slots) * self.each
