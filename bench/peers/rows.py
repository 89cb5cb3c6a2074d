"""What is measured of each peer, by which of its settings, and what of Penstock it stands beside."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

Section = Literal["memory", "durable", "sleeping", "remote"]


class Row(NamedTuple):
    """One thing to measure.

    Attributes:
        section: Which table it stands in.
        peer: Whose environment it runs in.
        script: Of the peer, without `_run`.
        title: The peer and its setting, for people.
        shape, how, steps: What the script is told.
        own: What Penstock's script is told instead of `how`: steps of the same colour, on its own runners;
            ``dask`` and ``ray`` run in the peer's environment.
        rounds: How often it is measured, in turn with Penstock and the floor.
    """

    section: Section
    peer: str
    script: str
    title: str
    shape: str
    how: str
    steps: int
    own: str
    rounds: int

    @property
    def work(self) -> str:
        """For people, in a list of all rows."""
        return f"{self.title}: {self.shape}, {self.steps:,}"


SHAPES = ("chain", "wide", "layered", "map")


def in_memory(
    script: str, how: str, title: str, own: str, steps: dict[str, int], rounds: int = 5
) -> Iterator[Row]:
    """A line of the first table, a cell for each shape."""
    for shape, count in steps.items():
        yield Row("memory", peer_of(script), script, title, shape, how, count, own, rounds)


def durable(
    script: str, how: str, title: str, shape: str = "chain", steps: int = 300, rounds: int = 5
) -> Row:
    """Beside Penstock at level ``power``, if what the engine keeps survives the loss of power too."""
    colour = "coroutines" if how == "coroutines" else "functions"
    level = "process" if how in UNSYNCED else "power"
    return Row("durable", script, script, title, shape, how, steps, f"{colour} {level}", rounds)


def sleeping(script: str, how: str, title: str, own: str = "threads", rounds: int = 2) -> Row:
    """Steps that wait, beside Penstock's in as many threads or in the event loop."""
    return Row("sleeping", peer_of(script), script, title, "sleeping", how, 60, own, rounds)


def remote(script: str, how: str, title: str, shape: str, steps: int, rounds: int = 2) -> Row:
    """The client of an engine, beside Penstock on the same engine."""
    peer = peer_of(script)
    return Row("remote", peer, script, title, shape, how, steps, peer, rounds)


def peer_of(script: str) -> str:
    """Whose environment a script runs in."""
    return "dask" if script == "distributed" else script


UNSYNCED = ("file",)
"""What keeps values in files, and nothing else, and does not wait until they are on disk."""


def of_all(steps: int, **others: int) -> dict[str, int]:
    """So many steps of each shape, but for those that are named."""
    return dict.fromkeys(SHAPES, steps) | others


KNOWN = {"chain": 1_000, "wide": 1_000, "layered": 1_000}
"""The shapes of an engine that has another way for maps."""

FEW_TURNS = of_all(1_000, chain=200)
"""The shapes of an engine that is slow at taking turns."""

PARALLEL = {"wide": 200, "layered": 200, "map": 200}
"""The shapes for which an engine needs threads at all."""

SYNC, ASYNC = 'durability="sync"', 'durability="async", its default'

ROWS: tuple[Row, ...] = (
    *in_memory("dask", "get", "Dask, `dask.threaded.get`", "threads", of_all(1_000)),
    *in_memory("dask", "delayed", "Dask, `dask.delayed` in threads", "threads", of_all(1_000)),
    *in_memory("hamilton", "driver", "Hamilton, driver", "inline", KNOWN),
    *in_memory("hamilton", "threads", "Hamilton, driver with `FutureAdapter`", "threads", KNOWN),
    *in_memory("hamilton", "async", "Hamilton, async driver", "coroutines", KNOWN),
    *in_memory("hamilton", "driver", "Hamilton, dynamic execution in threads", "threads", {"map": 1_000}),
    *in_memory("langgraph", "invoke", "LangGraph, `invoke`", "threads", of_all(1_000)),
    *in_memory("langgraph", "ainvoke", "LangGraph, `ainvoke`", "coroutines", of_all(1_000)),
    *in_memory("luigi", "mock", "Luigi, local scheduler, targets in memory", "inline", of_all(500), 3),
    *in_memory("dagster", "ephemeral", "Dagster, in one process", "inline", of_all(200), 3),
    *in_memory("prefect", "default", "Prefect, with its temporary server", "threads", of_all(200), 2),
    *in_memory("prefect", "pool", "Prefect, the same with 4 threads", "threads", PARALLEL, 2),
    *in_memory("distributed", "threads", "Dask distributed, inside the process", "threads", FEW_TURNS, 3),
    *in_memory("distributed", "processes", "Dask distributed, 2 processes", "processes", FEW_TURNS, 3),
    *in_memory("ray", "tasks", "Ray, tasks on 2 workers", "processes", of_all(1_000, chain=300), 2),
    durable("dbos", "functions", "DBOS on SQLite, functions"),
    durable("dbos", "coroutines", "DBOS on SQLite, coroutines"),
    durable("dbos", "coroutines", "DBOS on SQLite, all in one `gather`", "wide"),
    durable("langgraph", "sync", f"LangGraph, SqliteSaver, {SYNC}"),
    durable("langgraph", "async", f"LangGraph, SqliteSaver, {ASYNC}"),
    durable("langgraph", "sync", f"LangGraph, one node as a loop, {SYNC}", "loop"),
    durable("langgraph", "sync", f"LangGraph, SqliteSaver, {SYNC}", "wide"),
    durable("langgraph", "async", f"LangGraph, SqliteSaver, {ASYNC}", "wide"),
    durable("hamilton", "cache", "Hamilton, driver with its cache"),
    durable("luigi", "file", "Luigi, targets in files"),
    durable("dagster", "sqlite", "Dagster, records in SQLite, values in files", "chain", 200, 3),
    durable("prefect", "persist", "Prefect, its server, results in files", "chain", 200, 2),
    sleeping("dask", "get", "Dask, `dask.threaded.get`"),
    sleeping("dask", "delayed", "Dask, `dask.delayed` in threads"),
    sleeping("hamilton", "driver", "Hamilton, driver"),
    sleeping("hamilton", "threads", "Hamilton, driver with `FutureAdapter`"),
    sleeping("hamilton", "async", "Hamilton, async driver", "coroutines"),
    sleeping("langgraph", "invoke", "LangGraph, `invoke`"),
    sleeping("langgraph", "ainvoke", "LangGraph, `ainvoke`", "coroutines"),
    sleeping("dbos", "coroutines", "DBOS on SQLite, all in one `gather`", "coroutines"),
    sleeping("luigi", "file", "Luigi, 16 worker processes, targets in files"),
    sleeping("dagster", "ephemeral", "Dagster, in one process"),
    sleeping("prefect", "default", "Prefect, with its temporary server"),
    sleeping("distributed", "threads", "Dask distributed, inside the process"),
    sleeping("distributed", "processes", "Dask distributed, 2 processes"),
    sleeping("ray", "tasks", "Ray, tasks on 16 workers"),
    remote("distributed", "processes", "Dask, `submit` for each", "apart", 2_000),
    remote("distributed", "batches", "Dask, `map` in batches", "apart", 2_000),
    remote("distributed", "submit", "Dask, `submit` for each", "map", 20_000),
    remote("distributed", "processes", "Dask, `map`", "map", 20_000),
    remote("ray", "tasks", "Ray, a task for each", "apart", 2_000),
    remote("ray", "tasks", "Ray, a task for each", "map", 20_000),
    remote("ray", "batches", "Ray, a task for each 500", "map", 20_000),
)

PEERS = tuple(sorted({row.peer for row in ROWS}))


class Start(NamedTuple):
    """A script of three steps, from the start of its process to its end.

    Attributes:
        peer: Whose environment it runs in.
        script: Which one.
        title: For people.
        module: What is imported for the other figure.
        rounds: How often.
    """

    peer: str
    script: str
    title: str
    module: str
    rounds: int = 5


STARTS = (
    Start("dask", "dask", "Dask, `dask.threaded.get`", "dask.threaded"),
    Start("luigi", "luigi", "Luigi, local scheduler", "luigi"),
    Start("hamilton", "hamilton", "Hamilton, driver", "hamilton.driver"),
    Start("langgraph", "langgraph", "LangGraph, `invoke`", "langgraph.graph"),
    Start("dask", "distributed", "Dask distributed, inside the process", "distributed"),
    Start("dbos", "dbos", "DBOS on SQLite", "dbos"),
    Start("dagster", "dagster", "Dagster, in one process", "dagster"),
    Start("ray", "ray", "Ray", "ray", 3),
    Start("prefect", "prefect", "Prefect, with its temporary server", "prefect", 3),
)


def chosen(peers: Collection[str], quick: bool) -> tuple[list[Row], list[Start]]:
    """The rows of these peers; `quick`: small ones, once."""
    rows = [row for row in ROWS if row.peer in peers]
    starts = [start for start in STARTS if start.peer in peers]
    if quick:
        rows = [row._replace(steps=min(row.steps, _few(row)), rounds=1) for row in rows]
        starts = [start._replace(rounds=1) for start in starts]
    return rows, starts


def _few(row: Row) -> int:
    return 1_000 if row.section == "remote" else 100
