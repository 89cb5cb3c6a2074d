"""The table, for a terminal and as `docs/performance.md`. The page is written here and measured elsewhere."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Iterator, Sequence

import penstock
from bench.measure import BETTER, Line

TITLE = """\
# Performance

What Penstock costs, measured against what an expert would write by hand for the same graph: a loop over
`graphlib`, a task for each ready step, a pool of threads. These *floors* keep order and pass values along
edges, and do nothing else: they do not retry, time out, limit, observe, record or explain. They are short,
and stand in `bench/floors.py`.

A ratio below 1 means that Penstock is cheaper than the floor. That happens where the floor pays for something
that Penstock avoids: a task for each step, a hop to another thread for a step that is alone, a sorter that
hashes names where the compiled plan counts down integers.

This page is written by `make bench`; nothing on it is edited by hand. Machines differ, and so do hours on one
machine: look at the ratios, which compare two things measured within the same second, and not at the times.
"""

METHOD = """\
## Method

* **Pairs.** The floor and Penstock run in turn, A B A B, in one process, each after a `gc.collect()` and with
  the garbage collector on. The ratio is taken pair by pair; shown are its median and its quartiles.
* **Clocks.** Where one thread does all the work the ratio is of processor time, because that is what other
  programs on the machine disturb least. Where threads or timers are waited for it is of the wall's time. A
  time is shown by the clock that counts, and then in brackets by the other one.
* **What is timed** of a run is the run call, `flow.run()` or `await flow.arun()`, and the freeing of all it
  made, on a flow that has run once before. Defining a flow, and compiling it (which its first run does), have
  rows of their own. The floors make a `TopologicalSorter` in each run, for it cannot be used twice.
* **Steps** add two small numbers, so that nothing but the scheduling is seen. Before anything is timed, the
  values of both sides are compared.
* *Defaults* means that every capability is there and no step asks for one. *Every option* means: a retry
  policy, a timeout, and an observer that counts, on all steps; a limit with capacity and rate, and a
  condition, on a tenth. Steps inline have no timeout, for their runner refuses it: nothing could enforce it.
* **Must** is the bar for calling a part done, **aim** is where we are going. A row without them informs.
* **Memory** is counted by `tracemalloc` in a process of its own, for steps that all give `None`, after the
  run. The flow's definitions count only where that is said, the names of the steps never. The resident set
  is the most that a process without `tracemalloc` came to, less what it had before it defined anything.
* **Durable runs** stand beside raw SQLite: one table of numbered rows of 150 bytes, which are there before
  the clock starts, inserted and committed one by one, in WAL mode, with `synchronous=NORMAL` for level
  `process` and `FULL` for level `power`. Each repetition has a database of its own in the repository's
  folder, open before the clock starts. These floors are in `bench/durable_floors.py`.
* **Makespan of workflows** is played on a virtual clock through the real state machine. All its figures are
  multiples of a lower bound: the critical path, or all work spread evenly over the workers, whichever is
  longer. The quartiles of an average are those of the traces' own ratios.
* **Workflows really slept** are the same traces, scaled to a lower bound of some seconds, as functions that
  sleep in 16 threads, kept in a store; beside them the same functions in a cluster of Dask, of one worker
  with 16 threads in the same process, which is given the graph whole. What sleeps for less than 1 ms sleeps
  as long as the system's timer makes it, on both sides.
"""


TRACES = """\
*Known* and *unknown* are Penstock, with the durations of an earlier run and without. *Best list* is the best
of five orders, chosen anew for each line: longest path, longest task, most work or most tasks just below, and
first come first served.
"""

BESIDE = "## Beside others"
BEGIN, END = "<!-- the tables of bench.peers -->", "<!-- the end of them -->"
"""Between these lines `docs/performance-peers.md` has what this page shows of it."""


def beside_others(peers: str) -> list[str]:
    """The section with the tables of the page of the peers; nothing if that page has none."""
    found = re.search(f"{BEGIN}\n(.*?){END}", peers, re.DOTALL)
    if not found:
        return []
    tables = re.sub("^## ", "### ", found[1].strip(), flags=re.MULTILINE)
    how = "How this was measured, and what is not like for like: [Performance beside others]"
    return [BESIDE, "", f"{how}(performance-peers.md).", "", tables, ""]


def with_peers(page: str, peers: str) -> str:
    """A page as it is, but for its last section, which is that of the peers."""
    return "\n".join([page.split(BESIDE)[0].rstrip("\n"), "", *beside_others(peers)])


def machine() -> Iterator[str]:
    """The versions and the machine, as far as they matter and say nothing about whose it is."""
    memory = ""
    try:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB of memory"
    except (AttributeError, ValueError, OSError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"* Date: {datetime.date.today().isoformat()}"
    yield f"* Penstock {penstock.__version__}, {platform.python_implementation()} {platform.python_version()}"
    yield f"* {platform.system()} on {platform.machine()}, {cores} cores{memory}"


def page(lines: Sequence[Line], traces: Sequence[str] = (), about: str = "", scale: str = "full") -> str:
    """The whole page, in Markdown."""
    parts = [TITLE, "\n".join(machine()), ""]
    if scale != "full":
        parts += [f"**This is a {scale} run: smaller graphs, fewer pairs.**", ""]
    parts += [f"{summary(lines)}", "", METHOD, "## Results", ""]
    for section in dict.fromkeys(line.section for line in lines):
        parts += [f"### {section}", "", *_table([line for line in lines if line.section == section]), ""]
    if traces:
        parts += [
            "### Makespan by workflow",
            "",
            about,
            "*Known* and *unknown* are Penstock, with the durations of an",
        ]
        parts[-1] += (
            " earlier run and without; *best list* is the best of five orders, chosen for each line"
            " (longest path, longest task, most work or most tasks just below, first come)."
        )
        parts += ["", *traces, ""]
    return "\n".join(parts)


def summary(lines: Sequence[Line]) -> str:
    """How many rows are where."""
    verdicts = [line.verdict for line in lines]
    counts = {word: sum(word in verdict for verdict in verdicts) for word in ("aim", "must", "missed")}
    text = (
        f"Of {sum(counts.values())} judged rows {counts['aim']} meet their aim, {counts['must']} more "
        f"their must, and {counts['missed']} miss it."
    )
    missed = [f"{line.section}: {line.work}" for line in lines if "missed" in line.verdict]
    return text if not missed else f"{text} Missed:\n\n" + "\n".join(f"* {one}" for one in missed)


def _table(lines: Sequence[Line]) -> Iterator[str]:
    yield "| work | floor | Penstock | ratio | must | aim | verdict |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    for line in lines:
        cells = (
            line.work, line.floor or "–", line.own or "–", figure_of(line), _bar(line, line.must),
            _bar(line, line.aim), line.verdict,
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def figure_of(line: Line) -> str:
    """``0.31 × (0.30–0.33)``"""
    median, low, high = [_digits(value, line.unit) for value in line.figure]
    return f"{median}{_unit(line)}" if low == high == median else f"{median}{_unit(line)} ({low}–{high})"


def _digits(value: float, unit: str) -> str:
    return (
        f"{value:.1f}" if unit in (" ms", " %") else f"{value:.3f}" if 0.95 < value < 1.1 else f"{value:.2f}"
    )


def _unit(line: Line) -> str:
    return " ×" if line.unit == "×" else line.unit


def _bar(line: Line, value: float | None) -> str:
    if value is None:
        return "–"
    return "< 1 ×" if value == BETTER else f"≤ {value:g}{_unit(line)}"


def terminal(line: Line) -> str:
    """One row, as it is measured."""
    verdict = line.verdict.strip("*")
    bars = f"{_bar(line, line.must)}, {_bar(line, line.aim)}" if line.must is not None else ""
    sides = f"{line.floor:>20} {line.own:>22}"
    return f"  {line.work:<58} {sides} {figure_of(line):>22}  {bars:<18} {verdict}"
