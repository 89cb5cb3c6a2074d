"""The traces as steps that really sleep, 16 at a time, beside Dask's own scheduler.

Each trace is scaled so that its lower bound is some seconds. Sleeping takes no processor, so both sides have
room for 16, and what differs is in which order they start things, and how soon.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from bench.durable_floors import fresh_folder
from bench.measure import Line, Scale, Spread, spread
from bench.traces import Trace, by_list, first_come, load, lower_bound
from penstock import Flow, RunOptions
from penstock.runners.threads import ThreadRunner

WORKERS = 16
SECTION = "Makespan of workflows, really slept"
TIMER = 0.001
"""Seconds below which a sleep lasts as long as the system's timer and a change of threads make it."""

FEW = 300
"""Tasks of a trace that is slept within a second: with more, it would be the calls that take the time."""


class Slept(NamedTuple):
    """Makespans of one trace, as multiples of its lower bound.

    Attributes:
        trace, tasks: Its name, and how many tasks it has.
        tiny: Share of the tasks that sleep for less than `TIMER`.
        known: Kept in a store that has an earlier run.
        unknown: Kept in a store that has none.
        dask: Dask's.
        fifo: First come first served, on a virtual clock: nothing is lost but by the order.
    """

    trace: str
    tasks: int
    tiny: float
    known: float
    unknown: float
    dask: float
    fifo: float


def makespans(scale: Scale) -> Iterator[Line]:
    """All traces in full, and some small ones in quick; nothing where there is no Dask."""
    full = scale.large >= 100_000
    found, _ = load()
    try:
        version = import_module("distributed").__version__
    except ModuleNotFoundError:
        print("  not measured: sleeping workflows, for Dask is not installed: pip install 'penstock[dask]'")
        return
    small = [one for one in found if len(one.needs) <= FEW]
    seconds, some = (5.0, found) if full else (1.0, small[::4])
    yield from rows(list(sleep_all(some, seconds)), f"Dask {version}")


def sleep_all(traces: Sequence[Trace], seconds: float) -> Iterator[Slept]:
    """Each trace, scaled to a lower bound of so many seconds, by Penstock and by Dask in turn."""
    with fresh_folder() as folder, dask_client() as client:
        for number, trace in enumerate(scaled(one, seconds) for one in traces):
            yield _sleep(trace, seconds, folder / f"{number}.db", client)


@contextmanager
def dask_client() -> Iterator[Any]:
    """A client of a cluster in this process: one worker with all threads, and no way through the network."""
    distributed: Any = import_module("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=WORKERS, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def scaled(trace: Trace, seconds: float) -> Trace:
    """The trace with a lower bound of so many seconds."""
    factor = seconds / lower_bound(trace, WORKERS)
    return trace._replace(seconds={step: took * factor for step, took in trace.seconds.items()})


def _sleep(trace: Trace, bound: float, store: Path, client: Any) -> Slept:
    flow = flow_of(trace)
    unknown, dask, known = (
        _timed(call) / bound
        for call in (
            lambda: by_penstock(flow, store),
            lambda: by_dask(trace, client),
            lambda: by_penstock(flow, store),
        )
    )
    tiny = sum(took < TIMER for took in trace.seconds.values()) / len(trace.seconds)
    fifo = by_list(trace, WORKERS, first_come) / bound
    return Slept(trace.name, len(trace.needs), tiny, known, unknown, dask, fifo)


def flow_of(trace: Trace) -> Flow:
    """A flow of threads that sleep."""
    flow = Flow(trace.name)
    steps: dict[str, Any] = {}
    for step, mine in trace.needs.items():
        after = [steps[need] for need in mine]
        steps[step] = flow.add(nap, name=step, after=after, seconds=trace.seconds[step])
    return flow


def nap(seconds: float) -> None:
    """A step, and a task: waits."""
    time.sleep(seconds)


def by_penstock(flow: Flow, store: Path | None) -> None:
    """One run."""
    options = RunOptions(max_concurrency=WORKERS)
    flow.run(runner=ThreadRunner(WORKERS), store=store, options=options).raise_for_failure()


def by_dask(trace: Trace, client: Any) -> None:
    """One graph, submitted whole; what nobody needs is asked for."""
    needed = {need for mine in trace.needs.values() for need in mine}
    graph = {step: (_nap_after, trace.seconds[step], list(mine)) for step, mine in trace.needs.items()}
    client.get(graph, [step for step in trace.needs if step not in needed])


def _nap_after(seconds: float, needs: list[None]) -> None:
    time.sleep(seconds)


def _timed(call: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rows(slept: Sequence[Slept], dask: str) -> Iterator[Line]:
    """The averages, which are judged, and each trace."""
    for how, words in (("known", "an earlier run in the store"), ("unknown", "the first run in a store")):
        ratios = spread([getattr(one, how) / one.dask for one in slept])
        own, theirs = _mean([getattr(one, how) for one in slept]), _mean([one.dask for one in slept])
        yield Line(
            SECTION,
            f"average of {len(slept)} workflows, {WORKERS} threads, {words}, beside {dask}",
            f"{theirs:.3f} ×",
            f"{own:.3f} ×",
            Spread(own / theirs, ratios.low, ratios.high),
            must=1.0 if how == "known" else None,
        )
    for one in slept:
        tiny = f", {one.tiny:.0%} below 1 ms" if one.tiny else ""
        ratio = one.known / one.dask
        yield Line(
            SECTION,
            f"{one.trace}, {one.tasks:,} tasks{tiny}; first come {one.fifo:.3f} × on a virtual clock",
            f"{one.dask:.3f} ×",
            f"{one.known:.3f} ×",
            Spread(ratio, ratio, ratio),
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
