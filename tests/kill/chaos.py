"""Workers of an engine are killed, one every second, while runs of 20 steps go on: nothing may come of it.

    python -m tests.kill.chaos dask [--runs 100] [--seconds 600]

Every step writes a line to a file when it starts. In the end all outputs are exact and no run is stranded; no
step was started once its success was in the journal; none was charged with an attempt; and there were at most
as many starts as there are steps, and attempts under way when a worker was killed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from penstock import RunOptions
from penstock.core.events import NodeSucceeded
from penstock.core.model import NodeStatus, RunStatus
from penstock.core.resume import story_of
from penstock.runners.remote import RemotePool
from penstock.stores.sqlite import SqliteStore
from tests.kill.chaos_flows import SHAPES, STEPS, Start, starts

AT_ONCE = 4
"""Runs that share the workers."""

QUICK = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"}
"""Has new workers begin at once: here they die more often than they are started elsewhere."""

BETWEEN = 1.0
"""Seconds between two kills."""


class Ground(Protocol):
    """An engine of which workers can be killed. `chaos_dask` and `chaos_ray` each have a `ground()` for one.

    Attributes:
        pool: What makes the attempts.
    """

    pool: RemotePool

    def kill(self, dice: random.Random) -> bool:
        """Kills a worker, which will come again; False if there is none now that may be killed."""


class Report(NamedTuple):
    """What has come of it.

    Attributes:
        runs: Runs that were made.
        kills: Workers that were killed.
        steps: Steps of all runs.
        starts: How often one was started.
        flying: Attempts that were under way at a kill, all kills together.
        again: Interrupted attempts in the journals: the engine has not made them again by itself.
        problems: What may not be.
        seconds: It has taken.
    """

    runs: int
    kills: int
    steps: int
    starts: int
    flying: int
    again: int
    problems: list[str]
    seconds: float

    def __str__(self) -> str:
        verdict = "all exact, none stranded, nothing repeated" if not self.problems else "PROBLEMS"
        return (
            f"{self.runs} runs of {STEPS} steps in {self.seconds:.0f} s, {self.kills} workers killed: "
            f"{verdict}; {self.starts} starts of {self.steps} steps "
            f"({self.flying} attempts were under way at the kills, {self.again} were given back)"
        )


class Chaos:
    """All runs, and what kills their workers meanwhile.

    Args:
        ground: Whose workers.
        folder: For journals and the file that steps write to.
        seed: Of the dice that choose them.
    """

    def __init__(self, ground: Ground, folder: Path, seed: int) -> None:
        self._ground = ground
        self._store = folder / "runs.db"
        self._log = folder / "starts"
        self._dice = random.Random(seed)
        self._over = threading.Event()
        self._kept: dict[tuple[str, str], int] = {}  # by run and path: when its success was recorded
        self._kills = self._flying = self._runs = 0
        self._problems: list[str] = []

    def go(self, runs: int, seconds: float) -> Report:
        """Makes so many runs, or as many as there is time for."""
        began = time.monotonic()
        killer = threading.Thread(target=self._kill, name="killer")
        killer.start()
        try:
            with ThreadPoolExecutor(AT_ONCE) as crew:
                list(crew.map(self._run, self._numbers(runs, began + seconds)))
        finally:
            self._over.set()
            killer.join()
        again = self._look_back()
        made = starts(self._log)
        self._check_starts(made)
        return Report(
            self._runs,
            self._kills,
            self._runs * STEPS,
            len(made),
            self._flying,
            again,
            self._problems,
            time.monotonic() - began,
        )

    def _numbers(self, runs: int, until: float) -> Iterator[int]:
        places = threading.Semaphore(AT_ONCE)
        self._places = places
        for number in range(runs):
            places.acquire()
            if time.monotonic() >= until:
                return
            yield number

    def _run(self, number: int) -> None:
        shape = SHAPES[number % len(SHAPES)]
        run_id = f"{shape.name}-{number}"
        try:
            options = RunOptions(observers=[self._noting(run_id)])
            result = shape.flow().run(
                runner=self._ground.pool,
                store=f"sqlite:///{self._store}",
                run_id=run_id,
                options=options,
                log=str(self._log),
            )
            self._runs += 1
            if result.status is not RunStatus.SUCCEEDED or dict(result.outputs) != shape.outputs:
                failures = [str(node.failure) for node in result.nodes.values() if node.failure is not None]
                self._problems.append(f"{run_id}: {result.status.value}, {dict(result.outputs)}, {failures}")
            for node in result.nodes.values():
                if node.status is NodeStatus.SUCCEEDED and node.attempts > max(1, len(node.items or ())):
                    self._problems.append(f"{run_id}: {node.path} was charged with {node.attempts} attempts")
        except BaseException as error:
            self._problems.append(f"{run_id}: {error!r}")
        finally:
            self._places.release()

    def _noting(self, run_id: str) -> Callable[[Any], None]:
        def note(event: Any) -> None:  # it is called after the commit
            if type(event) is NodeSucceeded:
                self._kept[run_id, str(event.path)] = time.monotonic_ns()

        return note

    def _kill(self) -> None:
        while not self._over.wait(BETWEEN):
            flying = len(self._ground.pool.desk._by_number)
            if self._ground.kill(self._dice):
                self._kills += 1
                self._flying += flying

    def _look_back(self) -> int:
        """What the journals say; gives how many attempts were interrupted."""
        found = 0
        with SqliteStore(str(self._store)) as store:
            self._problems += store.check()
            entries = store.runs()
            for entry in entries:
                if entry.status != "succeeded" or entry.owner is not None:
                    self._problems.append(f"{entry.run_id} is {entry.status} in the store")
                found += sum(fact[0] == "cut" for fact in story_of(store, entry).entries)
        if len(entries) != self._runs:
            self._problems.append(f"{len(entries)} runs in the store, of {self._runs}")
        return found

    def _check_starts(self, made: list[Start]) -> None:
        for one in made:
            kept = self._kept.get((one.run, one.path))
            if kept is not None and one.at > kept:
                late = (one.at - kept) / 1e9
                self._problems.append(
                    f"{one.run}: {one.path} was started {late:.3f} s after its success was kept"
                )
        steps = self._runs * STEPS
        if not steps <= len(made) <= steps + self._flying:
            self._problems.append(
                f"{len(made)} starts of {steps} steps, with {self._flying} under way at kills"
            )


def chaos(engine: str, runs: int, seconds: float, seed: int = 1) -> Report:
    """Makes runs while workers of an engine are killed.

    Args:
        engine: ``dask`` or ``ray``.
        runs: How many.
        seconds: After which none is begun any more.
        seed: Of what is left to chance.
    """
    os.environ.update(QUICK)
    ground: Callable[[], AbstractContextManager[Ground]] = import_module(f"tests.kill.chaos_{engine}").ground
    with tempfile.TemporaryDirectory(prefix="penstock-chaos-") as folder, ground() as made:
        return Chaos(made, Path(folder), seed).go(runs, seconds)


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.kill.chaos")
    asked.add_argument("engine", choices=("dask", "ray"))
    asked.add_argument("--runs", type=int, default=100)
    asked.add_argument("--seconds", type=float, default=3600.0)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    report = chaos(given.engine, given.runs, given.seconds, given.seed)
    print(f"{given.engine}: {report}")
    for problem in report.problems:
        print(f"  {problem}")
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
