"""Dask's distributed scheduler: `python -m bench.peers.distributed_run SHAPE HOW STEPS PATH`.

How is ``threads``, a cluster inside this process, or ``processes``, workers in processes of their own. Steps
are submitted one by one with their futures as arguments, and a map is `client.map`, as its documentation has
it. The same workers can be told other ways: ``submit`` submits a map's items one by one too, ``batches``
makes the independent calls of the shape ``apart`` by `client.map` in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster

from bench import graphs
from bench.peers.apart import SLEEPERS, WARM_UP, WORKERS, Asked, asked, report

BATCH = 500
"""Calls in a message of ``batches``."""


@contextmanager
def cluster(how: str, threads: int = 1) -> Iterator[Client]:
    """A cluster on this machine that nobody else can reach, and a client of it."""
    if how == "threads":
        given: dict[str, Any] = {"n_workers": 1, "processes": False}  # no sockets at all
    else:
        given = {"n_workers": WORKERS, "processes": True, "host": "127.0.0.1"}
    with (
        LocalCluster(threads_per_worker=threads, dashboard_address=None, **given) as made,
        Client(made) as client,
    ):
        yield client


def graph(client: Client, job: Asked, steps: int) -> Callable[[], Any]:
    """Each step submitted, one after another."""
    dag = graphs.dag(job.shape, steps)
    last = graphs.sinks(dag.needs)

    def run() -> Any:
        futures: dict[str, Any] = {}
        for step, needs in dag.needs.items():
            futures[step] = client.submit(dag.calls[step], *[futures[need] for need in needs], pure=False)
        return sum(client.gather([futures[step] for step in last]))

    return run


def mapped(client: Client, job: Asked, items: int) -> Callable[[], Any]:
    """A call for each item of a list that a call has given; summed here."""

    def run() -> Any:
        values = client.submit(graphs.numbers, items, pure=False).result()
        if job.how == "submit":
            futures = [client.submit(graphs.SYNC.one, value, pure=False) for value in values]
        else:
            futures = client.map(graphs.SYNC.one, values, pure=False)
        return sum(client.gather(futures))

    return run


def batched(client: Client, job: Asked, calls: int) -> Callable[[], Any]:
    """Independent calls with `client.map`, in batches."""

    def run() -> Any:
        return sum(client.gather(client.map(graphs.of_any, range(calls), pure=False, batch_size=BATCH)))

    return run


def main() -> None:
    job = asked()
    make = mapped if job.shape == "map" else batched if job.how == "batches" else graph
    inside, apart = (SLEEPERS, SLEEPERS // WORKERS) if job.shape == "sleeping" else (WORKERS, 1)
    with cluster(job.how, inside if job.how == "threads" else apart) as client:
        make(client, job, WARM_UP)()
        report(job, make(client, job, job.steps), ("dask", "distributed"))


if __name__ == "__main__":
    main()
