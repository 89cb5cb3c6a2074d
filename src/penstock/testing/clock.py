"""The clock that a test holds."""

from __future__ import annotations

import math
import threading

from penstock.core.amounts import check_seconds, is_number, shown

from .timeline import FLIGHT, Flight, RunOver, Timeline


class FakeClock:
    """A clock that jumps.

    A run on it waits for nothing: as soon as all that is left of it is to wait (for a retry, a timeout, a
    rate, a deadline, a step that sleeps on this clock), the clock moves there at once. What really runs is
    waited for, as long as the wait would really take, and `patience` at least.

    Args:
        start: What it shows at first, in seconds.
        patience: Real seconds that a step which really runs gets at least, before time goes on without it.
    """

    def __init__(self, start: float = 0.0, *, patience: float = 1.0) -> None:
        if not is_number(start) or not math.isfinite(start):
            raise ValueError(f"FakeClock: start is a time in seconds, not {shown(start)}")
        check_seconds("FakeClock", "patience", patience)
        self.timeline = Timeline(float(start), patience)

    def __call__(self) -> float:
        return self.timeline.now

    def __repr__(self) -> str:
        return f"<fake clock at {self.timeline.now:g} s>"

    def advance(self, seconds: float) -> None:
        """Moves it by hand, from any thread; who sleeps until then is woken.

        Raises:
            ValueError: Time never runs backwards.
        """
        check_advance(seconds)
        self.timeline.advance_to(self.timeline.now + seconds)

    def sleep(self, seconds: float) -> None:
        """What a step calls in place of `time.sleep`. Where no run is on, it only moves the clock."""
        if seconds <= 0:
            return
        flight = self._flight()
        if flight is not None and flight.pace.thread == threading.get_ident():
            self.timeline.advance_here(seconds, flight)
            return
        awake = threading.Event()
        if flight is not None:
            flight.woken = True
        sleeper = self.timeline.sleep(seconds, flight, awake.set)
        if sleeper is None:
            return
        awake.wait()
        if sleeper.over:
            raise RunOver

    async def asleep(self, seconds: float) -> None:
        """What an async step awaits in place of `asyncio.sleep`."""
        import asyncio

        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        flight = self._flight()

        def done() -> None:
            if not future.done():
                future.set_result(None)
            if flight is not None:
                flight.stir(loop)

        def wake() -> None:
            if flight is not None:
                flight.stirring = True
            if not loop.is_closed():
                loop.call_soon_threadsafe(done)

        sleeper = self.timeline.sleep(seconds, flight, wake)
        if sleeper is None:
            await asyncio.sleep(0)
            return
        try:
            await future
        finally:
            self.timeline.forget(sleeper)
        if sleeper.over:
            raise RunOver

    def _flight(self) -> Flight | None:
        flight = FLIGHT.get()
        return flight if flight is not None and flight.pace.timeline is self.timeline else None


def check_advance(seconds: object) -> None:
    """Whether a clock can be advanced by this.

    Raises:
        ValueError: It is no finite number of seconds, or negative: time never runs backwards.
    """
    if not is_number(seconds) or not 0 <= seconds < math.inf:  # type: ignore[operator]
        raise ValueError(f"a clock is advanced by 0 s or more, not {shown(seconds)}")
