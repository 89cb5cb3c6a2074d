"""How long a run may still take: by how long its steps took before, or else by how many ended so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

from .pace import Pace
from .rows import Row
from .tally import Tally

Expected = Mapping[str, float]
"""Seconds that each step took in earlier runs, by id; of the empty id those of a whole run."""

KNOWN = 0.7
"""Share of the steps that are left of which it must be known how long they took."""

FEW = 20
"""Steps that a run must have for the pace of their ends to say when it is over."""


class Forecast:
    """Of one run.

    Args:
        tally: What is known of it.
        expected: How long its steps took before, or what finds that out: it is called by whoever looks first.
        clock: What a look costs is measured with it.
    """

    def __init__(
        self,
        tally: Tally,
        expected: Expected | Callable[[], Expected] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tally = tally
        self._given = expected
        self._expected: Expected | None = None
        self._clock = clock
        self._order: list[str] | None = None
        self._pace: Pace | None = None
        self._next = float("-inf")
        self._end: float | None = None
        self._by_time = False
        self._before: float | None = None
        self._peak = 0

    @property
    def expected(self) -> Expected:
        """How long the steps took before; empty where nobody knows."""
        if self._expected is None:
            given = self._given
            try:
                self._expected = dict(given() if callable(given) else given or {})
            except Exception:  # a store that cannot be read must not stop the show
                self._expected = {}
        return self._expected

    def left(self, now: float, left_of: Callable[[Row], float | None]) -> float | None:
        """Seconds; None where nobody can know.

        Args:
            now: The run's clock.
            left_of: Seconds that a step which runs will still take, if that can be told.
        """
        tally = self._tally
        self._peak = max(self._peak, sum(len(row.running) for row in list(tally.busy.values())))
        if tally.is_over or tally.began is None:
            return None
        done = self._done()
        if self._pace is None:
            self._pace = Pace(tally.began)
        self._pace.look(now, done)
        if now >= self._next:
            began = self._clock()
            self._end = self._reckoned(now, done, left_of)
            self._next = now + max(1.0, 20 * (self._clock() - began))
        if self._end is None:
            return None
        return self._pace.calm(now, max(0.0, self._end - now))

    def share(self, now: float) -> float:
        """How much of the run is done, from 0 to 1: of its time where that is known, else of its steps."""
        tally = self._tally
        if self._by_time and self._end is not None and tally.began is not None and not tally.is_over:
            gone, left = now - tally.began, max(0.0, self._end - now)
            return gone / (gone + left) if gone + left > 0 else 0.0
        steps = len(tally.rows)
        return min(1.0, self._done() / steps) if steps else 1.0

    def _done(self) -> float:
        """Steps that are done, with parts of those that are half done."""
        tally = self._tally
        ended = sum(count for status, count in tally.counts().items() if status.ended)
        return ended + sum(row.share for row in list(tally.busy.values()))

    def _reckoned(self, now: float, done: float, left_of: Callable[[Row], float | None]) -> float | None:
        left = self._by_steps(now, left_of)
        self._by_time = left is not None
        if left is None:
            left = self._by_pace(now, done)
        return None if left is None else now + left

    def _by_pace(self, now: float, done: float) -> float | None:
        rows = len(self._tally.rows)
        if rows < FEW or self._pace is None or done < max(3.0, rows / 20):
            return None
        rate = self._pace.rate(now, done)
        return None if rate is None else (rows - done) / rate

    def _by_steps(self, now: float, left_of: Callable[[Row], float | None]) -> float | None:
        """The longest way through what is left, or all of it divided by how much runs at the same time."""
        expected, rows = self.expected, self._tally.rows
        if not expected:
            return None
        usual = median(expected[id] for id in expected if id) if any(expected) else 0.0
        ends: dict[str, float] = {}
        unknown = todo = 0
        work = 0.0
        needs = dict(self._tally.needs)
        for id in self._ordered(needs):
            row = rows[id]
            if row.over or row.known.ended:
                continue
            start = max((ends[need] for need in needs[id] if need in ends), default=0.0)
            todo += 1
            took = expected.get(id)
            rest = left_of(row) if row.began is not None else None
            if rest is None and took is not None:
                rest = took if row.began is None else max(took - (now - row.began), took * 0.05)
            if rest is None:
                unknown += 1
                rest = usual
            ends[id] = start + rest
            work += rest
        if not todo or unknown > (1 - KNOWN) * todo:
            return None
        return max(max(ends.values()), work / self._width(needs))

    def _width(self, needs: Mapping[str, tuple[str, ...]]) -> float:
        """How much runs at the same time: now, or in the runs before. If these took no longer than their
        longest way, nothing had to wait for anything else."""
        most = self._tally.most or float("inf")
        if self._before is None:
            expected, ends = self.expected, {"": 0.0}
            for id in self._ordered(needs):
                start = max((ends[need] for need in needs[id] if need in ends), default=0.0)
                ends[id] = start + expected.get(id, 0.0)
            whole = expected.get("", 0.0)
            work = sum(took for id, took in expected.items() if id)
            free = 0.0 < whole <= 1.1 * max(ends.values())
            self._before = float("inf") if free else work / whole if whole else 1.0
        return max(1.0, min(max(self._before, self._peak), most))

    def _ordered(self, needs: Mapping[str, tuple[str, ...]]) -> list[str]:
        if self._order is None:
            waits = {id: sum(need in needs for need in mine) for id, mine in needs.items()}
            above: dict[str, list[str]] = {}
            for id, mine in needs.items():
                for need in mine:
                    above.setdefault(need, []).append(id)
            order = [id for id, count in waits.items() if not count]
            for id in order:  # grows while it is read
                for dependent in above.get(id, ()):
                    waits[dependent] -= 1
                    if not waits[dependent]:
                        order.append(dependent)
            self._order = [id for id in order if id in self._tally.rows]
        return self._order
