"""Penstock: `python -m bench.peers.penstock_run SHAPE HOW STEPS PATH`.

How is a runner, with the colour of the steps that it runs: ``inline``, ``threads`` (what plain functions get
when nobody says anything), ``coroutines``, ``processes``, ``dask`` or ``ray``; or the colour and the level of
a durable run, such as ``functions power``. A store is named as a user names it, so that opening and closing
it are timed as well. The graph is compiled, and pools and clusters are there and warm, before the clock
starts, as it is with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench import graphs, shapes
from bench.graphs import COROUTINE, SYNC, outcome
from bench.peers.apart import SLEEPERS, WARM_UP, WORKERS, Asked, asked, report
from bench.sleeping import sleepers
from penstock import Flow, RunOptions
from penstock.wiring.fitting import plan_of


def flow_of(job: Asked, steps: int) -> tuple[Flow, Callable[[Any], Any]]:
    """The flow, and what makes of its outputs the value that the run is checked by."""
    later = job.how.startswith("coroutines")
    family = COROUTINE if later else SYNC
    if job.shape == "map":
        return shapes.map_flow(steps, family), lambda outputs: outputs["total"]
    if job.shape == "sleeping":
        dag, flow = sleepers("coroutines" if later else "threads")
        return flow, lambda outputs: outcome(dag.needs, outputs)
    shape = graphs.GRAPHS[job.shape](steps)
    return shapes.flow_of(shape, family), lambda outputs: outcome(shape.needs, outputs)


@contextmanager
def runner_of(job: Asked) -> Iterator[Any]:
    """What the run is told: the name of a runner, or workers that are there already."""
    match job.how:
        case "threads" if job.shape == "sleeping":
            from penstock.runners.threads import ThreadRunner

            yield ThreadRunner(SLEEPERS)
        case "processes":
            from penstock import processes

            with processes(WORKERS) as pool:
                yield pool
        case "dask":
            from bench.peers.distributed_run import cluster
            from penstock import dask

            with cluster("processes") as client, dask(client) as pool:
                yield pool
        case "ray":
            from bench.peers.ray_run import cluster as local_ray
            from penstock import ray

            with local_ray(), ray() as pool:
                yield pool
        case "inline":
            yield "inline"
        case _:
            yield None


def compiled(flow: Flow) -> list[Any]:
    """For which runners a flow has been compiled."""
    return [key for key in flow.graph().compiled if isinstance(key, tuple)]


def main() -> None:
    job = asked()
    level = job.how.partition(" ")[2]
    store = f"sqlite:///{job.path}" if level else None
    options = RunOptions(durability="power" if level == "power" else "process") if level else None
    with runner_of(job) as runner:

        def run(flow: Flow, name: str) -> Any:
            run_id = name if store else None
            return flow.run(runner=runner, store=store, run_id=run_id, options=options).outputs

        warm, _ = flow_of(job, WARM_UP)
        run(warm, "warm-up")
        flow, value = flow_of(job, job.steps)
        for key in compiled(warm):
            plan_of(flow.graph(), *key)
        report(job, lambda: value(run(flow, "counts")), ())
        if compiled(flow) != compiled(warm):
            raise SystemExit("the run has compiled its graph once more")


if __name__ == "__main__":
    main()
