"""Named limits as arithmetic over `now`: permits, and a sliding log of starts (semantics.md §4)."""

from __future__ import annotations

from collections import deque
from typing import Any

from .model import Limit


class Gauge:
    """How much of one limit is taken.

    A rate is exact only as a log of the last starts: a bucket of tokens lets nearly twice as many through
    in a window that begins between two refills.
    """

    __slots__ = ("capacity", "count", "free", "parked", "per", "stamps")

    def __init__(self, limit: Limit) -> None:
        self.capacity = limit.capacity  # permits in all; None for no bound
        self.free = limit.capacity or 0  # permits nobody holds
        self.count = limit.rate.starts if limit.rate else 0  # starts per window; 0 for no bound
        self.per = limit.rate.per if limit.rate else 0.0  # seconds of the window
        self.stamps: deque[float] = deque(maxlen=self.count)  # times of the last starts, oldest first
        self.parked: list[Any] = []  # heap of queue keys that wait for this limit

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
