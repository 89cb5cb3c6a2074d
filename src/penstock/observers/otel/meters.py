"""What is counted and measured of attempts, over all runs of a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from threading import Lock
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from .spans import SCOPE

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0)
"""Where the histograms are divided: attempts take from a millisecond to hours."""


class Live(Protocol):
    """A run that is on its way."""

    @property
    def flow(self) -> str: ...
    @property
    def in_flight(self) -> int: ...


class Meters:
    """The instruments of one provider.

    Counts are kept here and asked for when they are exported: to tell an instrument of one more takes some
    15 µs. What is spread over a histogram has to be told one by one.

    Args:
        provider: Of meters.
        version: Of this library.

    Attributes:
        live: Runs on their way.
    """

    def __init__(self, provider: MeterProvider, version: str) -> None:
        meter = provider.get_meter(SCOPE, version)
        self.live: WeakSet[Live] = WeakSet()
        self._attempts: Counter[tuple[str, str, str]] = Counter()
        self._retries: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()
        self._duration = meter.create_histogram(
            "penstock.attempt.duration",
            unit="s",
            description="How long attempts ran",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._queue = meter.create_histogram(
            "penstock.attempt.queue",
            unit="s",
            description="How long attempts waited for a slot, a limit or a worker",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        meter.create_observable_counter(
            "penstock.attempts",
            [self._count_attempts],
            unit="{attempt}",
            description="Attempts that have ended",
        )
        meter.create_observable_counter(
            "penstock.retries", [self._count_retries], unit="{retry}", description="Attempts to be made again"
        )
        meter.create_observable_up_down_counter(
            "penstock.attempts.in_flight",
            [self._count_live],
            unit="{attempt}",
            description="Attempts that are handed out",
        )

    def ended(self, flow: str, step: str, outcome: str, took: float, queued: float) -> None:
        """An attempt has ended."""
        with self._lock:
            self._attempts[flow, step, outcome] += 1
        attributes = {"penstock.flow": flow, "penstock.step": step}
        self._queue.record(queued, attributes)
        self._duration.record(took, {**attributes, "penstock.outcome": outcome})

    def retrying(self, flow: str, step: str) -> None:
        """Another attempt is going to be made."""
        with self._lock:
            self._retries[flow, step] += 1

    def _count_attempts(self, options: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            counts = list(self._attempts.items())
        for (flow, step, outcome), count in counts:
            said = {"penstock.flow": flow, "penstock.step": step, "penstock.outcome": outcome}
            yield Observation(count, said)

    def _count_retries(self, options: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            counts = list(self._retries.items())
        for (flow, step), count in counts:
            yield Observation(count, {"penstock.flow": flow, "penstock.step": step})

    def _count_live(self, options: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            runs = list(self.live)
            flows = dict.fromkeys((flow for flow, *_ in self._attempts), 0)
        for run in runs:
            flows[run.flow] = flows.get(run.flow, 0) + run.in_flight
        for flow, count in flows.items():
            yield Observation(count, {"penstock.flow": flow})

    def began(self, run: Live) -> None:
        """A run is on its way."""
        with self._lock:
            self.live.add(run)

    def over(self, run: Live) -> None:
        """It is not any more."""
        with self._lock:
            self.live.discard(run)


_known: WeakKeyDictionary[Any, Meters] = WeakKeyDictionary()
_lock = Lock()


def meters_of(provider: MeterProvider, version: str) -> Meters:
    """The instruments of a provider, which has each of them once, however many runs there are."""
    with _lock:
        found = _known.get(provider)
        if found is None:
            found = _known[provider] = Meters(provider, version)
        return found
