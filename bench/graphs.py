"""The graphs that others' engines run too, as data, and what their steps call; it needs only the stdlib."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple

from bench.floors import Dag


class Shape(NamedTuple):
    """A graph without functions.

    Attributes:
        name: For people.
        needs: By step, in the order of definition. A step has no, one, two or very many needs.
    """

    name: str
    needs: dict[str, tuple[str, ...]]


def chain(steps: int) -> Shape:
    """Each step needs the one before."""
    return Shape("chain", {f"s{at}": (f"s{at - 1}",) if at else () for at in range(steps)})


def wide(steps: int) -> Shape:
    """One step, very many that need it, and one that needs them all."""
    middle = [f"s{at}" for at in range(1, steps - 1)]
    return Shape("wide", {"s0": (), **dict.fromkeys(middle, ("s0",)), "end": tuple(middle)})


def layered(steps: int, width: int = 50) -> Shape:
    """Layers of 50; each step needs two of the layer before."""
    rows = max(2, steps // width)
    needs: dict[str, tuple[str, ...]] = {f"s0_{at}": () for at in range(width)}
    for row in range(1, rows):
        for at in range(width):
            needs[f"s{row}_{at}"] = (f"s{row - 1}_{at}", f"s{row - 1}_{(at + 1) % width}")
    return Shape("layered", needs)


def apart(steps: int) -> Shape:
    """Steps that need nothing."""
    return Shape("apart", {f"s{at}": () for at in range(steps)})


GRAPHS: dict[str, Callable[[int], Shape]] = {
    "chain": chain,
    "wide": wide,
    "layered": lambda steps: layered(steps, max(2, steps // 20)),
    "apart": apart,
    "sleeping": lambda steps: Shape("sleeping", irregular()[1]),
}
"""By the name that a script is told. The layered one has 20 layers."""


def sinks(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The steps that no other needs: what they give is what a graph is checked by."""
    needed = {need for mine in needs.values() for need in mine}
    return [step for step in needs if step not in needed]


# --- waiting ------------------------------------------------------------------------------------------

STEPS = 60


def irregular() -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """Seconds and needs of 60 steps, the same each time: mostly short ones, a few long ones anywhere."""
    dice = Random(20)
    durations: dict[str, float] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for at in range(STEPS):
        durations[f"s{at}"] = dice.choice((0.01, 0.02, 0.03, 0.05, 0.15))
        before = range(max(0, at - 16), max(0, at - 3))
        needs[f"s{at}"] = tuple(
            [f"s{one}" for one in dice.sample(before, min(len(before), dice.randint(1, 3)))]
        )
    return durations, needs


def critical_path(durations: dict[str, float], needs: dict[str, tuple[str, ...]]) -> float:
    """Seconds of the longest path; the steps are in a topological order."""
    end: dict[str, float] = {}
    for step, seconds in durations.items():
        end[step] = seconds + max((end[need] for need in needs[step]), default=0.0)
    return max(end.values(), default=0.0)


def level_barrier(durations: dict[str, float], needs: dict[str, tuple[str, ...]]) -> float:
    """Seconds with any number of workers, if each level waits for the whole level before."""
    level: dict[str, int] = {}
    longest: dict[int, float] = {}
    for step, seconds in durations.items():
        mine = level[step] = 1 + max((level[need] for need in needs[step]), default=-1)
        longest[mine] = max(longest.get(mine, 0.0), seconds)
    return sum(longest.values())


# --- what the steps call --------------------------------------------------------------------------------


class Family(NamedTuple):
    """Functions of one colour, by the number of needs: none, one, two, many (for a flow, and for a floor)."""

    name: str
    none: Callable[..., Any]
    one: Callable[..., Any]
    two: Callable[..., Any]
    many: Callable[..., Any]
    many_by_position: Callable[..., Any]

    def of(self, needs: tuple[str, ...]) -> Callable[..., Any]:
        """The function of a flow's step."""
        return (self.none, self.one, self.two, self.many)[min(len(needs), 3)]

    def by_position(self, needs: Sequence[str]) -> Callable[..., Any]:
        """The function of a step that takes what it needs by position."""
        return (self.none, self.one, self.two, self.many_by_position)[min(len(needs), 3)]


def _none() -> int:
    return 1


def _one(x: int) -> int:
    return x + 1


def _two(x: int, y: int) -> int:
    return (x + 2 * y + 1) & 0xFFFF


def _many(**values: int) -> int:
    return sum(values.values())


def _many_by_position(*values: int) -> int:
    return sum(values)


async def _a_none() -> int:
    return 1


async def _a_one(x: int) -> int:
    return x + 1


async def _a_two(x: int, y: int) -> int:
    return (x + 2 * y + 1) & 0xFFFF


async def _a_many(**values: int) -> int:
    return sum(values.values())


async def _a_many_by_position(*values: int) -> int:
    return sum(values)


SYNC = Family("sync", _none, _one, _two, _many, _many_by_position)
COROUTINE = Family("coroutine", _a_none, _a_one, _a_two, _a_many, _a_many_by_position)


def of_any(at: int) -> int:
    """A step that needs nothing, for those that can only call a function with something."""
    return 1


def block(seconds: float, *values: float) -> float:
    """A step that waits and keeps its thread."""
    time.sleep(seconds)
    return seconds


async def nap(seconds: float, *values: float) -> float:
    """A step that waits and lets the event loop go on."""
    await asyncio.sleep(seconds)
    return seconds


def dag(name: str, steps: int, family: Family = SYNC) -> Dag:
    """One of `GRAPHS` with its functions, or the map of so many items."""
    if name == "map":
        return map_dag(steps, family)
    needs = GRAPHS[name](steps).needs
    if name == "sleeping":
        wait = nap if family is COROUTINE else block
        return Dag({step: partial(wait, seconds) for step, seconds in irregular()[0].items()}, needs)
    return Dag({step: family.by_position(mine) for step, mine in needs.items()}, needs)


def outcome(needs: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> Any:
    """The sum of what the last steps gave, which is what a run is checked by."""
    return sum([values[step] for step in sinks(needs)])


# --- maps -----------------------------------------------------------------------------------------------


def numbers(n: int) -> list[int]:
    return list(range(n))


def total(values: list[int]) -> int:
    return sum(values)


async def numbers_later(n: int) -> list[int]:
    return numbers(n)


async def total_later(values: list[int]) -> int:
    return sum(values)


def pick(at: int, values: list[int]) -> int:
    return values[at] + 1


async def pick_later(at: int, values: list[int]) -> int:
    return values[at] + 1


def map_dag(items: int, family: Family) -> Dag:
    """A list, a step for each of its elements, and their sum. The floor knows beforehand how many."""
    many = family is COROUTINE
    names = tuple([f"i{at}" for at in range(items)])
    calls: dict[str, Any] = {"list": partial(numbers_later if many else numbers, items)}
    calls |= {name: partial(pick_later if many else pick, at) for at, name in enumerate(names)}
    calls["total"] = family.many_by_position
    return Dag(calls, {"list": (), **dict.fromkeys(names, ("list",)), "total": names})
