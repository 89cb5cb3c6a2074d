"""How things are measured: in pairs, one after the other, with the garbage collector the same for both."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any, Literal, NamedTuple

Call = Callable[[], Any]
Clock = Literal["cpu", "wall"]


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        name: For people.
        small, large: Steps of a graph.
        items: Items of a map.
        pairs, large_pairs, processes, rounds: How often: graphs, large graphs, processes, what takes seconds.
        kills: How many steps are killed.
        million: Items of the largest map.
    """

    name: str
    small: int
    large: int
    items: int
    pairs: int
    large_pairs: int
    processes: int
    rounds: int
    kills: int
    million: int


FULL = Scale("full", 1_000, 100_000, 10_000, 15, 3, 11, 3, 20, 1_000_000)
QUICK = Scale("quick", 1_000, 5_000, 2_500, 3, 1, 3, 1, 3, 50_000)


BETTER = 0.9999
"""A must of "less than 1"."""


class Spread(NamedTuple):
    """A median and its quartiles."""

    median: float
    low: float
    high: float


class Line(NamedTuple):
    """One row of the table.

    Attributes:
        section: Heading of its table.
        work: What was done.
        floor, own: What the floor and Penstock took, in words.
        figure: What is judged.
        unit: Of the figure, the must and the aim.
        must, aim: Not more than this; None for a row that only informs.
    """

    section: str
    work: str
    floor: str
    own: str
    figure: Spread
    unit: str = "×"
    must: float | None = None
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """``met aim``, ``met must``, ``missed``, or a dash for a row that only informs."""
        if self.must is None:
            return "–"
        if self.aim is not None and self.figure.median <= self.aim:
            return "met aim"
        return "met must" if self.figure.median <= self.must else "**missed**"


def spread(values: list[float]) -> Spread:
    """Median and quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def median(values: list[float]) -> float:
    return spread(values).median


def once(call: Call, repeat: int = 1) -> tuple[float, float]:
    """Seconds of the wall and of the processor that a call took, the freeing of its result included."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        call()
    return time.perf_counter() - wall, time.process_time() - cpu


class Pairs(NamedTuple):
    """Two things measured in turn; seconds per call, wall and processor."""

    first: list[tuple[float, float]]
    second: list[tuple[float, float]]

    def ratio(self, clock: Clock) -> Spread:
        """The second over the first, pair by pair."""
        at = 0 if clock == "wall" else 1
        return spread([b[at] / a[at] for a, b in zip(self.first, self.second, strict=True)])


def alternate(first: Call, second: Call, pairs: int, repeat: tuple[int, int] = (1, 1)) -> Pairs:
    """A B A B …, each of them `repeat` times at a stretch."""
    found = Pairs([], [])
    for _ in range(pairs):
        for call, times, into in ((first, repeat[0], found.first), (second, repeat[1], found.second)):
            wall, cpu = once(call, times)
            into.append((wall / times, cpu / times))
    return found


def compare(
    section: str,
    work: str,
    floor: Call,
    own: Call,
    *,
    steps: int,
    pairs: int,
    clock: Clock,
    must: float | None = None,
    aim: float | None = None,
    agree: Callable[[Any, Any], bool] | None = None,
) -> Line:
    """Measures Penstock against a floor.

    Args:
        section, work, must, aim: As of `Line`.
        floor, own: The same work, twice.
        steps: How many steps it has.
        pairs: How often it is measured.
        clock: Which one the ratio is made of.
        agree: Whether the results of both, `floor` first, are the same; `same_values` by default.
    """
    if not (agree or same_values)(floor(), own()):  # the warm-up too
        raise AssertionError(f"{section}, {work}: the floor and Penstock do not agree")
    repeat = max(1, min(10, 3_000 // steps))
    found = alternate(floor, own, pairs, (repeat, repeat))
    return Line(
        section,
        work,
        micros(found.first, steps, clock),
        micros(found.second, steps, clock),
        found.ratio(clock),
        must=must,
        aim=aim,
    )


def same_values(values: dict[str, Any], result: Any) -> bool:
    """Whether a floor's values agree with the outputs of a run."""
    outputs = result.outputs
    return bool(outputs) and all(values[step] == value for step, value in outputs.items())


def micros(times: list[tuple[float, float]], steps: int, clock: Clock) -> str:
    """``2.31 (2.40)``: microseconds a step by the clock that counts, and in brackets by the other one."""
    wall = median([wall for wall, _ in times]) / steps * 1e6
    cpu = median([cpu for _, cpu in times]) / steps * 1e6
    first, second = (cpu, wall) if clock == "cpu" else (wall, cpu)
    return f"{number(first)} ({number(second)}) µs"


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
