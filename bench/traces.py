"""Real workflows on a virtual clock: how long they take under the order in which the machine starts things.

The real `Machine` chooses what starts; nothing runs and no time passes. Against it stand a lower bound, first
come first served, waves (a barrier after each level), and the best of several list orders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.measure import BETTER, Line, Scale, Spread, spread
from penstock.core import commands as c
from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.machine import Machine
from penstock.core.model import Need, Node, RunOptions
from penstock.core.plan import Plan

WORKERS = (4, 16, 64)
_KEY = tuple[float, ...]


class Trace(NamedTuple):
    """One workflow: seconds of its tasks, and which they need, both in a topological order."""

    name: str
    seconds: dict[str, float]
    needs: dict[str, tuple[str, ...]]


class Played(NamedTuple):
    """Makespans of one trace with so many workers, all as multiples of the lower bound."""

    trace: str
    tasks: int
    workers: int
    known: float
    unknown: float
    fifo: float
    waves: float
    orders: tuple[float, ...]  # of the list orders that know the durations

    @property
    def best(self) -> float:
        """The best of all list orders, another one for each trace perhaps."""
        return min(self.fifo, *self.orders)


# --- the traces -------------------------------------------------------------------------------------------


def load() -> tuple[list[Trace], str]:
    """The traces, and a sentence about where they come from."""
    shared = Path(os.environ.get("PENSTOCK_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    found = sorted((shared / "data" / "workflows").glob("*.json"))
    if found:
        return [_read(path) for path in found], (
            f"{len(found)} traces of real runs of Nextflow, Pegasus and Makeflow, from WfCommons WfInstances."
        )
    made = [montage(images, Random(images)) for images in (12, 40, 150, 400)]
    return made, (
        "The traces of real workflows were not found (PENSTOCK_SHARED names their directory), "
        f"so these are {len(made)} graphs made up in the likeness of Montage."
    )


def _read(path: Path) -> Trace:
    tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    by_id = {task["id"]: task for task in tasks}
    needs = {task["id"]: tuple(dict.fromkeys(task["parents"])) for task in tasks}
    order = _in_order(needs)
    seconds = {step: max(float(by_id[step]["runtime_s"]), 0.001) for step in order}
    return Trace(path.stem, seconds, {step: needs[step] for step in order})


def _in_order(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A topological order that keeps to the file's where it can."""
    waits = {step: len(mine) for step, mine in needs.items()}
    below = _below(needs)
    order = [step for step, count in waits.items() if not count]
    for step in order:
        for one in below[step]:
            waits[one] -= 1
            if not waits[one]:
                order.append(one)
    return order


def _below(needs: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {step: [] for step in needs}
    for step, mine in needs.items():
        for need in mine:
            below[need].append(step)
    return below


def montage(images: int, dice: Random) -> Trace:
    """Projections, differences of neighbours, a fit of each, a model, corrections, and a mosaic."""
    seconds: dict[str, float] = {}
    needs: dict[str, tuple[str, ...]] = {}

    def task(name: str, mean: float, *of: str) -> str:
        seconds[name] = mean * dice.lognormvariate(0.0, 0.4)
        needs[name] = of
        return name

    projected = [task(f"project{at}", 12.0) for at in range(images)]
    fits = []
    for at in range(images):
        for by in range(1, 4):
            pair = (projected[at], projected[(at + by) % images])
            fits.append(task(f"fit{at}_{by}", 0.5, task(f"diff{at}_{by}", 1.0, *pair)))
    model = task("model", 8.0 + images / 20, task("concat", 4.0 + images / 20, *fits))
    corrected = [task(f"correct{at}", 1.5, one, model) for at, one in enumerate(projected)]
    task("picture", 6.0, task("add", 10.0 + images / 10, task("table", 3.0, *corrected), *corrected))
    return Trace(f"made-up-montage-{images}", seconds, needs)


# --- the players ------------------------------------------------------------------------------------------


def lower_bound(trace: Trace, workers: int) -> float:
    """No schedule is shorter than its critical path, or than the work spread evenly."""
    end: dict[str, float] = {}
    for step, seconds in trace.seconds.items():
        end[step] = seconds + max((end[need] for need in trace.needs[step]), default=0.0)
    return max(max(end.values()), sum(trace.seconds.values()) / workers)


def by_machine(trace: Trace, workers: int, durations: Mapping[str, float] | None) -> float:
    """The machine's choice, knowing durations of an earlier run or nothing at all."""
    nodes = [
        Node(step, _never, tuple([Need(need, "after") for need in mine]))
        for step, mine in trace.needs.items()
    ]
    plan = Plan(Graph("trace", nodes), durations=durations)
    machine = Machine(plan, RunOptions(max_concurrency=workers))
    machine.begin(events.RunStarted("r", "trace", (), 0, {}, None, (), {}, {}, None, 0.0))
    now = 0.0
    due: list[tuple[float, int, int]] = []
    todo = machine.step((), now)
    while todo or due:
        for command in todo:
            assert command[0] == c.START
            i, token = command[1:3]
            heappush(due, (now + trace.seconds[plan.nodes[i].id], i, token))
        now = due[0][0]
        replies = []
        while due and due[0][0] == now:
            _, i, token = heappop(due)
            replies.append((c.ENDED, i, token, c.OK, None, None, now, now))
        todo = machine.step(replies, now)
        machine.log.clear()
    assert machine.state.finished == "succeeded"
    return now


def _never() -> None:
    raise AssertionError("nothing is called on a virtual clock")


def by_list(trace: Trace, workers: int, key: Callable[[str, int], _KEY]) -> float:
    """List scheduling: of the ready tasks the one with the least key starts first.

    Args:
        key: Of a task, and of how many became ready before it.
    """
    waits = {step: len(mine) for step, mine in trace.needs.items()}
    below = _below(trace.needs)
    ready: list[tuple[_KEY, int, str]] = []
    count = 0
    for step, left in waits.items():
        if not left:
            heappush(ready, (key(step, count), count, step))
            count += 1
    running: list[tuple[float, int, str]] = []
    now, started = 0.0, 0
    while ready or running:
        while ready and len(running) < workers:
            step = heappop(ready)[2]
            heappush(running, (now + trace.seconds[step], started, step))
            started += 1
        now = running[0][0]
        while running and running[0][0] == now:
            for one in below[heappop(running)[2]]:
                waits[one] -= 1
                if not waits[one]:
                    heappush(ready, (key(one, count), count, one))
                    count += 1
    return now


def by_waves(trace: Trace, workers: int) -> float:
    """Level by level, each one waiting for all of the level before; first come first served within."""
    level: dict[str, int] = {}
    rows: list[list[str]] = []
    for step, mine in trace.needs.items():
        row = level[step] = 1 + max((level[need] for need in mine), default=-1)
        while len(rows) <= row:
            rows.append([])
        rows[row].append(step)
    total = 0.0
    for steps in rows:
        free = [0.0] * workers
        for step in steps:
            heappush(free, heappop(free) + trace.seconds[step])
        total += max(free)
    return total


def _orders(trace: Trace) -> Iterator[Callable[[str, int], _KEY]]:
    """List orders: longest path, longest task, most work just below it, most tasks just below it."""
    seconds, below = trace.seconds, _below(trace.needs)
    path: dict[str, float] = {}
    reach: dict[str, float] = {}
    for step in reversed(list(trace.needs)):
        path[step] = seconds[step] + max((path[one] for one in below[step]), default=0.0)
        reach[step] = seconds[step] + sum(seconds[one] for one in below[step])
    yield lambda step, count: (-path[step], count)
    yield lambda step, count: (-seconds[step], count)
    yield lambda step, count: (-reach[step], count)
    yield lambda step, count: (-len(below[step]), count)


def first_come(step: str, count: int) -> _KEY:
    """First come, first served."""
    return (count,)


def play(traces: Sequence[Trace], workers: Sequence[int] = WORKERS) -> list[Played]:
    """All traces with all numbers of workers."""
    found = []
    for trace in traces:
        for many in workers:
            bound = lower_bound(trace, many)
            fifo = by_list(trace, many, first_come)
            orders = tuple([by_list(trace, many, order) / bound for order in _orders(trace)])
            known = by_machine(trace, many, trace.seconds)
            unknown = by_machine(trace, many, None)
            waves = by_waves(trace, many)
            times = (known / bound, unknown / bound, fifo / bound, waves / bound)
            found.append(Played(trace.name, len(trace.needs), many, *times, orders))
    return found


# --- the rows ---------------------------------------------------------------------------------------------

SECTION = "Makespan of workflows"


def rows(played: Sequence[Played]) -> Iterator[Line]:
    """What the design asks of the order, with durations of an earlier run and without."""
    mean = {name: _mean([getattr(one, name) for one in played]) for name in ("fifo", "waves")}
    best = min([_mean(times) for times in zip(*[one.orders for one in played], strict=True)])
    for how, what in (("known", "durations known"), ("unknown", "durations unknown")):
        own = [getattr(one, how) for one in played]
        judged = how == "known"
        words = f"{_mean(own):.3f} ×"
        for name, says in (("fifo", "first come first served"), ("waves", "waves")):
            ratio = spread([getattr(one, how) / getattr(one, name) for one in played])
            yield _row(
                f"average against {says}, {what}", mean[name], words, _mean(own) / mean[name], ratio, BETTER
            )
        worse = [getattr(one, how) / one.fifo for one in played]
        bad = 100 * sum(one > 1.02 for one in worse) / len(worse)
        yield Line(
            SECTION,
            f"share worse than first come by more than 2 %, {what}",
            "",
            "",
            Spread(bad, bad, bad),
            " %",
            5.0,
            0.0,
        )
        yield _row(
            f"worst against first come, {what}", 1.0, f"{max(worse):.3f} ×", max(worse), spread(worse), 1.05
        )
        ratio = spread([getattr(one, how) / min(one.orders) for one in played])
        yield _row(
            f"average against the best list order on average, {what}", best, words, _mean(own) / best, ratio,
            1.02 if judged else None, 1.0 if judged else None,
        )  # fmt: skip


def _row(
    work: str,
    floor: float,
    own: str,
    figure: float,
    around: Spread,
    must: float | None,
    aim: float | None = None,
) -> Line:
    return Line(SECTION, work, f"{floor:.3f} ×", own, Spread(figure, around.low, around.high), "×", must, aim)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def makespans(scale: Scale) -> Iterator[Line]:
    """The rows; the table by trace is made by `table`."""
    traces, _ = load()
    yield from rows(play(traces))


def table(played: Sequence[Played]) -> Iterator[str]:
    """Markdown: a line for each trace, its numbers of workers beside each other."""
    yield "| trace | tasks | workers | known | unknown | first come | waves | best list |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for one in played:
        figures = " | ".join(f"{x:.3f}" for x in (one.known, one.unknown, one.fifo, one.waves, one.best))
        yield f"| {one.trace} | {one.tasks:,} | {one.workers} | {figures} |"
    for many in sorted({one.workers for one in played}):
        some = [one for one in played if one.workers == many]
        yield _average(f"average of {many} workers", some)
    yield _average("average", played)


def _average(name: str, some: Sequence[Played]) -> str:
    names = ("known", "unknown", "fifo", "waves", "best")
    figures = " | ".join(f"**{_mean([getattr(one, name) for one in some]):.3f}**" for name in names)
    return f"| **{name}** | | | {figures} |"
