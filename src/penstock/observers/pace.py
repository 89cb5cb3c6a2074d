"""How fast something goes on, and how long it will take from there. Pure: whoever looks brings the time.

A rate over the last moment jumps, one over all the time is slow to see that things have changed. So it is
over the last few seconds, or over as many more as it takes for a few to have ended: of a map whose items take
a minute each, that is minutes.
"""

from __future__ import annotations

from collections import deque

SPAN = 5.0
"""Seconds that a rate is over, at least."""

ENOUGH = 8
"""How many must have ended for a rate to say anything about the next ones."""

_LOOKS = 64
_EVERY = 0.25


class Pace:
    """Of one thing that goes on.

    Args:
        began: When, by the clock of those who look.
        done: How much was done by then.
    """

    __slots__ = ("_end", "_every", "_looks", "_seen")

    def __init__(self, began: float, done: float = 0.0) -> None:
        self._looks: deque[tuple[float, float]] = deque([(began, done)])
        self._every = _EVERY
        self._end: float | None = None
        self._seen = began

    def look(self, now: float, done: float) -> None:
        """Notes how much is done by now."""
        looks = self._looks
        if now - looks[-1][0] < self._every:
            return
        looks.append((now, done))
        if len(looks) > _LOOKS:  # the older half becomes coarser: a long time stays in view
            half = _LOOKS // 2
            kept = [look for number, look in enumerate(looks) if number > half or number % 2 == 0]
            self._looks = deque(kept)

    def rate(self, now: float, done: float, enough: float = ENOUGH) -> float | None:
        """So many a second; None while that cannot be told.

        Args:
            now: The time.
            done: How much is done.
            enough: How much must have been done for that.
        """
        for at, had in reversed(self._looks):
            if now - at >= SPAN and done - had >= enough:
                break
        else:
            at, had = self._looks[0]
        took, came = now - at, done - had
        if took <= 0 or came <= 0 or (took < 1.0 and came < enough):
            return None
        return came / took

    def left(self, now: float, done: float, total: float, enough: float = ENOUGH) -> float | None:
        """Seconds until all is done, if it goes on like this. It changes little from one look to the next."""
        rate = self.rate(now, done, enough)
        if rate is None or total <= done:
            return None
        return self.calm(now, (total - done) / rate)

    def calm(self, now: float, left: float) -> float:
        """What to say of so many seconds that are left, given what was said before."""
        end = now + left
        if self._end is None or abs(end - self._end) > max(left, self._end - now, 4.0):
            self._end = end
        else:
            weight = min(1.0, max(0.0, now - self._seen) / 2.0)
            self._end += weight * (end - self._end)
        self._seen = now
        return max(0.0, self._end - now)


def per(rate: float) -> str:
    """A rate in words: ``1,204/s``, ``3.2/s``, ``14/min``, ``3/h``."""
    if rate >= 9.95:
        return f"{round(rate):,}/s"
    if rate >= 0.995:
        return f"{rate:.1f}/s"
    if rate >= 0.995 / 60:
        return f"{rate * 60:.0f}/min"
    return f"{max(1, round(rate * 3600))}/h"


def about(seconds: float) -> str:
    """How long it may take, as exactly as anybody knows: ``3 s``, ``40 s``, ``2 min``, ``1 h 10 min``."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 570:
        minutes = round(seconds / 60 * 2) / 2
        return f"{minutes:g} min"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    if seconds < 86400:
        tens = round(seconds / 600)
        hours, minutes = divmod(tens * 10, 60)
        return f"{hours} h {minutes:02} min" if minutes else f"{hours} h"
    return f"{seconds / 86400:.1f} days"
