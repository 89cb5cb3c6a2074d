"""The table against the field, as `docs/performance-peers.md`. It is written here and measured elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.graphs import STEPS, critical_path, irregular, level_barrier
from bench.measure import Spread, median, number, spread
from bench.page import BEGIN, END, machine
from bench.peers.measuring import Found, Measured, Started
from bench.peers.rows import SHAPES, Section

RUNNERS = {
    "inline": "functions in the caller's thread",
    "threads": "functions in threads",
    "coroutines": "coroutines",
    "processes": "functions in 2 processes",
}
"""What Penstock and the floors are told, in words."""


class Results(NamedTuple):
    """What was measured, and what could not be.

    Attributes:
        rows, starts: What was found.
        failures: Why the others are not there, a sentence each.
    """

    rows: Sequence[Measured]
    starts: Sequence[Started]
    failures: Sequence[str] = ()

    def of(self, section: Section) -> list[Measured]:
        """The rows of one table."""
        return [one for one in self.rows if one.row.section == section]


def page(results: Results) -> str:
    """The whole page, in Markdown."""
    return "\n".join([TITLE, BEGIN, *tables(results), END, "", METHOD])


def tables(results: Results) -> Iterator[str]:
    """What the page shares with `docs/performance.md`."""
    yield from machine()
    yield from _versions(results.rows)
    yield "* Measured and written by `make bench-peers`"
    yield ""
    if results.failures:
        yield "Not measured:"
        yield ""
        yield from (f"* {failure}" for failure in results.failures)
        yield ""
    parts = (memory(results.of("memory")), durable(results.of("durable")), sleeping(results.of("sleeping")))
    for part in (*parts, remote(results.of("remote")), starts(results.starts)):
        lines = list(part)
        yield from [*lines, ""] if lines else []
    yield from quicker(results)


def _versions(rows: Sequence[Measured]) -> Iterator[str]:
    told: dict[str, str] = {}
    for row in rows:
        for found in row.peer[:1]:
            told |= found["versions"]
    yield f"* {', '.join(f'{name} {told[name]}' for name in sorted(told))}"
    for row in rows[:1]:
        yield f"* SQLite {row.own[0]['sqlite']}"


# --- the tables -------------------------------------------------------------------------------------------


def memory(rows: Sequence[Measured]) -> Iterator[str]:
    """A line for each engine and setting, with a cell for each shape."""
    if not rows:
        return
    yield "## In memory: a step's share of a run, and how many times Penstock's it is"
    yield ""
    yield f"| engine | steps | rounds | beside | {' | '.join(SHAPES)} |"
    yield f"|---|--:|--:|---|{'--:|' * len(SHAPES)}"
    for own, words in RUNNERS.items():
        largest = [_largest(rows, own, shape) for shape in SHAPES]
        if any(largest):
            floors = [[told for one in some for told in one.floor] for some in largest]
            ours = [[told for one in some for told in one.own] for some in largest]
            for name, sides in (("floor", floors), ("**Penstock**", ours)):
                cells = [a_step(found) if found else "–" for found in sides]
                yield f"| {name}, {words} | – | – | – | {' | '.join(cells)} |"
    for title in dict.fromkeys(one.row.title for one in rows):
        mine = [one for one in rows if one.row.title == title]
        told_of = {one.row.shape: f"{a_step(one.peer)}, {times(one.ratio)}" for one in mine}
        cells = [told_of.get(shape, "–") for shape in SHAPES]
        first = mine[0].row
        yield f"| {title} | {_steps(mine)} | {first.rounds} | {first.own} | {' | '.join(cells)} |"


def _largest(rows: Sequence[Measured], own: str, shape: str) -> list[Measured]:
    """What was measured beside this runner with most steps, so that one line tells of one size."""
    mine = [one for one in rows if (one.row.own, one.row.shape) == (own, shape)]
    most = max((one.row.steps for one in mine), default=0)
    return [one for one in mine if one.row.steps == most]


def _steps(rows: Sequence[Measured]) -> str:
    """``1,000``, or ``1,000 (chain 200)``."""
    counts = {one.row.shape: one.row.steps for one in rows}
    most = max(counts.values())
    others = [f"{shape} {count:,}" for shape, count in counts.items() if count != most]
    return f"{most:,} ({', '.join(others)})" if others else f"{most:,}"


def durable(rows: Sequence[Measured]) -> Iterator[str]:
    """A line for each engine, setting and shape."""
    if not rows:
        return
    yield "## Durable: a step's share of a run that is on disk"
    yield ""
    heads = (
        "shape",
        "steps",
        "rounds",
        "beside",
        "floor",
        "Penstock",
        "the other",
        "ratio",
        "on disk, a step",
    )
    yield f"| engine | {' | '.join(heads)} |"
    yield "|---|---|--:|--:|---|--:|--:|--:|--:|--:|"
    for one in rows:
        row = one.row
        held = f"{size(one.own)}, {size(one.peer)}" if row.peer != "prefect" else f"{size(one.own)}, –"
        colour, level = row.own.split()
        cells = [row.title, row.shape, f"{row.steps:,}", str(row.rounds), f"{colour}, `{level}`"]
        cells += [a_step(found) for found in (one.floor, one.own, one.peer)]
        yield f"| {' | '.join((*cells, times(one.ratio), held))} |"


def sleeping(rows: Sequence[Measured]) -> Iterator[str]:
    """Wall time over the critical path."""
    if not rows:
        return
    durations, needs = irregular()
    critical = critical_path(durations, needs)
    yield "## 60 sleeping steps: how many times the critical path they take"
    yield ""
    barrier, serial = level_barrier(durations, needs) / critical, sum(durations.values()) / critical
    yield f"The critical path is {critical:.2f} s. Who waits for whole levels takes {barrier:.2f} times that,"
    yield f"and who runs one step at a time {serial:.2f} times."
    yield ""
    yield "| engine | rounds | beside | floor | Penstock | the other |"
    yield "|---|--:|---|--:|--:|--:|"

    def multiple(found: Sequence[Found]) -> str:
        return f"{median([one['us'] * STEPS / 1e6 / critical for one in found]):.2f} ×"

    for one in rows:
        told = [multiple(found) for found in (one.floor, one.own, one.peer)]
        yield f"| {one.row.title} | {one.row.rounds} | {one.row.own} | {' | '.join(told)} |"


def remote(rows: Sequence[Measured]) -> Iterator[str]:
    """An engine by itself, and Penstock on it."""
    if not rows:
        return
    yield "## Tiny calls in 2 worker processes: an engine's own client, and Penstock on the same engine"
    yield ""
    yield "| client | work | rounds | the client, a call | Penstock on it, a call | Penstock's throughput |"
    yield "|---|---|--:|--:|--:|--:|"
    for one in rows:
        work = f"{one.row.steps:,} {'calls' if one.row.shape == 'apart' else 'items of a map'}"
        cells = (
            one.row.title,
            work,
            str(one.row.rounds),
            a_step(one.peer),
            a_step(one.own),
            times(one.ratio),
        )
        yield f"| {' | '.join(cells)} |"


def starts(found: Sequence[Started]) -> Iterator[str]:
    """Whole processes."""
    if not found:
        return
    yield "## Cold start: a script of three steps, from the start of its process to its end"
    yield ""
    yield "| engine | rounds | only the import | the script | ratio |"
    yield "|---|--:|--:|--:|--:|"
    sides = {"floor": [one.floor for one in found], "**Penstock**": [one.own for one in found]}
    for name, rounds in sides.items():
        took = a_process([one for each in rounds for one in each])
        yield f"| {name}, functions in threads | – | – | {took} | – |"
    for one in found:
        cells = (str(one.start.rounds), a_process(one.imported), a_process(one.peer), times(one.ratio))
        yield f"| {one.start.title} | {' | '.join(cells)} |"


def quicker(results: Results) -> Iterator[str]:
    """Where another engine took less than Penstock."""
    found = [one.row.work for one in results.rows if one.row.section != "remote" and one.ratio.median < 1]
    found += [f"{one.start.title}: cold start" for one in results.starts if one.ratio.median < 1]
    found += [
        f"{one.row.work}, against Penstock on the same engine"
        for one in results.of("remote")
        if one.ratio.median < 1
    ]
    if found:
        yield "Quicker than Penstock in these runs:"
        yield ""
        yield from (f"* {one}" for one in found)
    else:
        yield "No engine was quicker than Penstock at any of this work in these runs."
    yield ""


# --- figures ----------------------------------------------------------------------------------------------


def a_step(found: Sequence[Found]) -> str:
    """The median of a step, in µs or ms."""
    us = median([float(one["us"]) for one in found])
    return f"{number(us)} µs" if us < 1_000 else f"{number(us / 1_000)} ms"


def a_process(found: Sequence[float]) -> str:
    """The median of a process, in ms or s."""
    took = median(list(found))
    return f"{took * 1_000:.0f} ms" if took < 1 else f"{took:.2f} s"


def times(ratio: Spread) -> str:
    """``3.40 × (3.21–3.52)``, or ``3.40 ×``."""
    median, low, high = [number(value) for value in ratio]
    return f"{median} ×" if low == median == high else f"{median} × ({low}–{high})"


def size(found: Sequence[Found]) -> str:
    """Bytes, for people."""
    count = spread([float(one["bytes"]) for one in found]).median
    return f"{count:,.0f} B" if count < 10_000 else f"{count / 1_000:,.0f} KB"


# --- words ------------------------------------------------------------------------------------------------

TITLE = """\
# Performance beside others

Eight other engines do the same work as Penstock on the same machine, each in an environment of its own and by
the settings that its documentation recommends; by several where they differ. The steps add small numbers, so
that what is seen is what an engine costs, and not what it is for: some of these engines schedule whole
clusters, keep a catalogue of assets or serve a web page of all runs, and who wants that has good reason to
pay for it. All is measured by `make bench-peers`, which writes this page; nothing on it is edited by hand,
and no figure of anybody else stands on it.
"""

METHOD = """\
## How

* **Fresh processes.** Each figure is of a fresh process with a fresh database in the repository's folder,
  after a run of ten steps that has everything imported, laid out and connected. Nothing but the run is
  timed: not defining and compiling the graph, nor starting a server, a pool or a cluster; of Penstock,
  opening and closing its store too. The value at the end is compared with what the graph must give.
* **In turn.** The floor, Penstock and the other run one after another, so many rounds. A ratio is the other
  over Penstock, round by round; shown are the median and the quartiles. Penstock runs the same shape with
  steps of the same kind, which the column *beside* names: plain functions inline, in threads or in
  processes, or coroutines.
* **Shapes.** A chain; a wide graph, which is one step, many that need it and one that needs them all; 20
  layers, each step of which needs two of the layer before; a map, which is a list, a step for each item and
  their sum.
* **The floors** are written by hand for one graph and do nothing but that: `bench/floors.py`. Of durable
  runs the floor is a row of 150 bytes inserted and committed for each step into raw SQLite, in WAL mode.
  Beside engines whose commits survive the loss of power Penstock runs at level `power` and the floor with
  `synchronous=FULL`; beside files that nobody waits for, at level `process` and with `NORMAL`.
* **Penstock's throughput** on Dask and Ray is the client's time over Penstock's, for the same calls on the
  same engine with the same workers: above 1 Penstock is the quicker way to have them made. It owes that to
  bundles: it sends many tiny calls at once, each of which keeps its own record, retries and time limit.
* **Versions** are pinned with all that they need in `bench/peers/requirements-*.txt`. Telemetry and
  dashboards are off, logs are of errors only, and servers listen to this machine only.
* `python -m bench.peers --only PEER` measures one of them; with `--quick` it is small graphs, once.

## What is not like for like

* **Promises.** DBOS commits twice a step in SQLite's rollback journal and always records, so it stands in
  the durable table only. LangGraph's saver is in WAL mode with `synchronous=FULL`; with `durability="async"`
  it begins the next superstep before the last one is on disk, and a checkpoint of its loop is small because
  there is one node. Luigi writes a file a step and does not wait for the disk. Nor do Hamilton, Prefect and
  Dagster with values, but they keep a record of each step in SQLite besides.
* **Graphs.** LangGraph has no values along edges: its steps share a state, and it runs in supersteps, each of
  which waits for all of the one before. DBOS has no graph: a workflow calls steps. Luigi's tasks exchange
  values through targets. Dask in threads has no map at run time: its graph has all items beforehand.
* **One at a time.** Hamilton's driver, Luigi with one worker and Dagster in one process run one step at a
  time, so they stand beside Penstock inline. Dagster can start a process for each step instead, which with
  steps as small as these would tell nothing but what a process costs.
* **Hamilton** looks, after each step, at the others that share its needs, to let go of values: in a wide
  graph that grows with the square of the steps. It calls its dynamic execution experimental.
* **Prefect and Ray** take seconds to start, so they have fewer rounds. Prefect's server keeps one database
  through all rounds, so what a step takes on disk is not told.
* **Dask distributed and Ray** are made for many machines. Here they have two worker processes on one, beside
  Penstock's two; *inside the process* Dask's worker is a pool of threads. Ray's documentation advises to give
  one task a slice of many tiny calls, by hand; the row of 500 shows what that brings, without a record, a
  retry or a time limit for each call.
"""
