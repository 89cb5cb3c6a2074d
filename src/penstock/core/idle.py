"""Attempts that must show signs of life: who has been silent for too long (`Timeout.idle`)."""

from __future__ import annotations

from collections.abc import Container, Sequence

from .commands import BEGAN, ENDED, IDLED, YIELDED, Reply


class IdleWatch:
    """The attempts of one run that are watched. An attempt begins to count when it really begins.

    `beat` may be called from any thread; all else belongs to the engine's.
    """

    __slots__ = ("_last", "_watched")

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, float]] = {}  # by number: token, seconds
        self._last: dict[int, float] = {}  # by number: the last sign

    def __bool__(self) -> bool:
        return bool(self._watched)

    def watch(self, i: int, token: int, seconds: float) -> None:
        """An attempt is handed out."""
        self._watched[i] = (token, seconds)
        self._last.pop(i, None)

    def beat(self, i: int, now: float) -> None:
        """An attempt is alive."""
        self._last[i] = now

    def hear(self, replies: Sequence[Reply], now: float) -> None:
        """Takes the signs that replies are."""
        for reply in replies:
            if reply[0] in (BEGAN, YIELDED, ENDED) and self._watched.get(reply[1], (0,))[0] == reply[2]:
                if reply[0] == ENDED:
                    del self._watched[reply[1]]
                else:
                    self._last[reply[1]] = now

    def overdue(self, now: float, paused: Container[int]) -> list[Reply]:
        """Says once of each attempt that it has been silent for too long. A stream that waits for its
        consumers is not to blame."""
        found: list[Reply] = []
        for i, (token, seconds) in list(self._watched.items()):
            if i in paused and i in self._last:
                self._last[i] = now
            elif i in self._last and now >= self._last[i] + seconds:
                del self._watched[i]
                found.append((IDLED, i, token))
        return found

    def next_time(self) -> float | None:
        """When the next attempt will have been silent for too long, if it stays so."""
        return min(
            (self._last[i] + seconds for i, (_, seconds) in self._watched.items() if i in self._last),
            default=None,
        )
