"""Penstock: `python -m bench.peers.penstock_run chain|wide "functions|coroutines LEVEL" STEPS PATH`.

The store is named as a user names it, so that opening and closing it are timed as well.
"""

from __future__ import annotations

from bench import shapes
from bench.durable_rows import stored
from bench.peers.apart import WARM_UP, asked, report


def main() -> None:
    job = asked()
    what, _, level = job.how.partition(" ")
    family = {"functions": shapes.SYNC, "coroutines": shapes.COROUTINE}[what]
    make = {"chain": shapes.chain, "wide": shapes.wide}[job.shape]
    shape = make(job.steps)
    flow = shapes.flow_of(shape, family)
    flow.graph()
    last = [*shape.needs][-1]

    def run() -> int:
        result = stored(flow, f"sqlite:///{job.path}", run_id="counts", level=level)
        return int(result.outputs[last])

    stored(shapes.flow_of(make(WARM_UP), family), f"sqlite:///{job.path}", run_id="warm-up", level=level)
    report(job, run, ("penstock",))


if __name__ == "__main__":
    main()
