"""Luigi with its local scheduler: `python -m bench.peers.luigi_run SHAPE mock|file STEPS PATH`.

A target is a `MockTarget` in memory or a file; a task writes its value there, and those that need it read
it. A map is a task that asks for its dependencies while it runs. All is serial unless there are several
workers, which are processes and cannot share targets in memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import luigi
from luigi.mock import MockTarget

from bench import graphs
from bench.peers.apart import SLEEPERS, WARM_UP, Asked, asked, report

JOB = asked()
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {}
CALLS: dict[str, dict[str, Any]] = {}


class Kept(luigi.Task):  # type: ignore[misc]
    """A task of one run, whose value stands in a target."""

    run_name = luigi.Parameter()
    step = luigi.Parameter()

    def output(self) -> Any:
        name = f"{self.run_name}-{self.step}"
        return MockTarget(name) if JOB.how == "mock" else luigi.LocalTarget(str(JOB.path.parent / name))

    def write(self, value: Any) -> None:
        with self.output().open("w") as file:
            file.write(json.dumps(value))

    def read(self) -> Any:
        with self.output().open("r") as file:
            return json.loads(file.read())


class Step(Kept):
    """A step of a graph."""

    def requires(self) -> list[Kept]:
        return [Step(self.run_name, need) for need in NEEDS[self.run_name][self.step]]

    def run(self) -> None:
        self.write(CALLS[self.run_name][self.step](*[task.read() for task in self.requires()]))


class Whole(Kept):
    """All steps of a graph; what it gives is what the run is checked by."""

    def requires(self) -> list[Kept]:
        return [Step(self.run_name, step) for step in graphs.sinks(NEEDS[self.run_name])]

    def run(self) -> None:
        self.write(sum(task.read() for task in self.requires()))


class Numbers(Kept):
    """The list that is mapped; its step is its length."""

    def run(self) -> None:
        self.write(graphs.numbers(int(self.step)))


class Item(Kept):
    """An item of a map; its step is the number."""

    def run(self) -> None:
        self.write(graphs.SYNC.one(int(self.step)))


class Map(Kept):
    """A map and the sum of its items."""

    def requires(self) -> Kept:
        return Numbers(f"{self.run_name}-list", self.step)

    def run(self) -> Iterator[list[Kept]]:
        items = [Item(f"{self.run_name}-item", str(value)) for value in self.requires().read()]
        yield items
        self.write(sum(item.read() for item in items))


def made(job: Asked, name: str, steps: int) -> Kept:
    if job.shape == "map":
        return Map(name, str(steps))
    CALLS[name], NEEDS[name] = graphs.dag(job.shape, steps)
    return Whole(name, "outcome")


def run(task: Kept) -> Any:
    workers = SLEEPERS if JOB.shape == "sleeping" and JOB.how == "file" else 1
    if not luigi.build([task], local_scheduler=True, workers=workers, log_level="ERROR"):
        raise SystemExit("luigi says that the run has failed")
    return task.read()


def main() -> None:
    sys.setrecursionlimit(20_000)
    run(made(JOB, "warm-up", WARM_UP))
    task = made(JOB, "counts", JOB.steps)
    report(JOB, lambda: run(task), ("luigi",))


if __name__ == "__main__":
    main()
