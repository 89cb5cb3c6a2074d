"""Ray: `python -m bench.peers.ray_run SHAPE tasks|batches STEPS PATH`.

Each step is a task that takes the object references of what it needs. ``batches`` is what its documentation
advises for very many tiny calls: each task works off a slice of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from bench import graphs
from bench.peers.apart import SLEEPERS, WARM_UP, WORKERS, Asked, asked, report

BATCH = 500
"""Calls in a task of ``batches``."""


@contextmanager
def cluster(workers: int = WORKERS) -> Iterator[None]:
    """Ray on this machine, which nobody else can reach, with its workers already there."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as room:
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=200_000_000,
            _node_ip_address="127.0.0.1",
            _temp_dir=room,
        )
        try:
            waits = ray.remote(graphs.block)
            ray.get([waits.remote(1.0) for _ in range(workers)])
            yield
        finally:
            ray.shutdown()


def graph(job: Asked, steps: int) -> Callable[[], Any]:
    """A task for each step."""
    dag = graphs.dag(job.shape, steps)
    last = graphs.sinks(dag.needs)
    calls = {step: call if isinstance(call, partial) else partial(call) for step, call in dag.calls.items()}
    remote = {function: ray.remote(function) for function in {call.func for call in calls.values()}}

    def run() -> Any:
        refs: dict[str, Any] = {}
        for step, needs in dag.needs.items():
            call = calls[step]
            refs[step] = remote[call.func].remote(*call.args, *[refs[need] for need in needs])
        return sum(ray.get([refs[step] for step in last]))

    return run


def mapped(job: Asked, items: int) -> Callable[[], Any]:
    """A task for each item of a list that a task has given, or for each slice of it; summed here."""
    numbers, one, many = (ray.remote(call) for call in (graphs.numbers, graphs.SYNC.one, _each))

    def run() -> Any:
        values = ray.get(numbers.remote(items))
        if job.how == "tasks":
            return sum(ray.get([one.remote(value) for value in values]))
        slices = [values[at : at + BATCH] for at in range(0, items, BATCH)]
        return sum(map(sum, ray.get([many.remote(part) for part in slices])))

    return run


def _each(values: list[int]) -> list[int]:
    return [graphs.SYNC.one(value) for value in values]


def main() -> None:
    job = asked()
    make = mapped if job.shape == "map" else graph
    with cluster(SLEEPERS if job.shape == "sleeping" else WORKERS):
        make(job, WARM_UP)()
        report(job, make(job, job.steps), ("ray",))


if __name__ == "__main__":
    main()
