"""Named limits as arithmetic over `now`: permits, and a sliding log of starts (semantics.md §4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Any

from .model import Limit

Uses = tuple[tuple[str, int], ...]
"""Limits by name, and how many permits are taken of each, all or none."""


class Gauge:
    """How much of one limit is taken.

    A rate is exact only as a log of the last starts: a bucket of tokens lets nearly twice as many through
    in a window that begins between two refills.
    """

    __slots__ = ("capacity", "count", "free", "least", "parked", "passed", "per", "stamps", "waiting")

    def __init__(self, limit: Limit) -> None:
        self.capacity = limit.capacity  # permits in all; None for no bound
        self.free = limit.capacity or 0  # permits nobody holds
        self.count = limit.rate.starts if limit.rate else 0  # starts per window; 0 for no bound
        self.per = limit.rate.per if limit.rate else 0.0  # seconds of the window
        self.stamps: deque[float] = deque(maxlen=self.count)  # times of the last starts, oldest first
        self.parked: list[Any] = []  # heap of queue keys that wait for this limit
        self.least = 0  # permits that everybody takes at least
        self.waiting: dict[int, Uses] = {}  # all that they take who take more here, as they came
        self.passed = 0  # permits taken past the first of them by those who take less

    def fits(self, weight: int, now: float) -> bool:
        """Whether `weight` permits and starts are to be had now."""
        if self.capacity is not None and self.free < weight:
            return False
        if not self.count:
            return True
        over = len(self.stamps) + weight - self.count
        return over <= 0 or now >= self.stamps[over - 1] + self.per

    def room(self, now: float) -> int:
        """How much weight is to be had now."""
        room = self.free if self.capacity is not None else self.count
        if not self.count:
            return room
        over = len(self.stamps) + room - self.count  # so many of the oldest starts must have left the window
        left = 0
        for stamp in self.stamps:
            if left >= over or now < stamp + self.per:
                break
            left += 1
        return room - max(0, over - left)

    def next_time(self, weight: int) -> float | None:
        """When the rate allows `weight` starts; None if it does so already or the permits are what lacks."""
        over = len(self.stamps) + weight - self.count if self.count else 0
        if over <= 0 or (self.capacity is not None and self.free < weight):
            return None
        return self.stamps[over - 1] + self.per

    def take(self, weight: int, now: float) -> None:
        """Takes permits and starts; whether they fit was asked before."""
        if self.capacity is not None:
            self.free -= weight
        if self.count:
            self.stamps.extend((now,) * weight)

    def give_back(self, weight: int) -> None:
        """Returns permits. Starts are never returned: they have happened."""
        if self.capacity is not None:
            self.free += weight


class Gauges(dict[str, Gauge]):
    """The limits of one run, and whose turn it must be.

    Whoever ranks higher goes first, and might so keep a limit too full for ever for one that takes much. When
    as much was taken past it, by those who take less, as there is in all, it is *owed* its turn: whatever it
    takes is kept for it from then on. One is, at a time.

    Args:
        limits: All of them.
        uses: What the nodes take.
    """

    def __init__(self, limits: Iterable[Limit], uses: Iterable[Uses]) -> None:
        super().__init__((limit.name, Gauge(limit)) for limit in limits)
        for name, weight in chain.from_iterable(uses):
            self[name].least = min(weight, self[name].least or weight)
        self.owed: int | None = None
        self._kept: Uses = ()

    def wait(self, who: int, name: str, uses: Uses) -> None:
        """Somebody has to wait at a limit for all that it takes; of what time gives, nothing can be kept."""
        if dict(uses)[name] > self[name].least and not any(self[one].count for one, _ in uses):
            self[name].waiting.setdefault(who, uses)

    def pass_by(self, who: int, uses: Uses) -> None:
        """Somebody is about to take what it does, whether it has waited or not."""
        for name, weight in uses:
            gauge = self[name]
            if not gauge.waiting or gauge.waiting.pop(who, None) is not None:
                continue
            first = next((one for one, its in gauge.waiting.items() if dict(its)[name] > weight), None)
            if first is None:
                continue
            gauge.passed += weight
            if self.owed is None and gauge.capacity is not None and gauge.passed >= gauge.capacity:
                self.owed, self._kept = first, gauge.waiting[first]

    def keeps(self, name: str) -> bool:
        """Whether a limit is kept for the one that is owed its turn."""
        return self.owed is not None and any(name == one for one, _ in self._kept)

    def enough(self, now: float) -> bool:
        """Whether what is kept for it is to be had now."""
        return all(self[name].fits(weight, now) for name, weight in self._kept)

    def settle(self) -> list[str]:
        """It has had its turn, or needs none any more: gives the names of what was kept for it."""
        names = [name for name, _ in self._kept]
        for name in names:
            if self.owed is not None:
                self[name].waiting.pop(self.owed, None)
            self[name].passed = 0
        self.owed, self._kept = None, ()
        return names
