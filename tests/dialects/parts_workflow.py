"""What the tests of the contract of workflows share: short words for tasks, runs and results."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.dialects.workflow import RetryPolicy, Task, TaskResult, Workflow

from .parts_bound import BOUND, bounded

QUICK = RetryPolicy(max_attempts=3, initial_delay=0.001)


class Seen(list[tuple[str, str, dict[str, Any]]]):
    """A progress callback that remembers."""

    def __call__(self, name: str, status: str, details: dict[str, Any]) -> None:
        self.append((name, status, details))

    def of(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        return [(status, details) for who, status, details in self if who == name]


async def forever() -> None:
    await asyncio.sleep(BOUND)


def nothing() -> int:
    return 1


def task(name: str, action: Any = nothing, *dependencies: str, **kw: Any) -> Task:
    return Task(name, action, dependencies=list(dependencies), **kw)


def flow_of(*tasks: Task, **kw: Any) -> Workflow:
    flow = Workflow("w", **kw)
    for each in tasks:
        flow.add(each)
    return flow


def results_of(*tasks: Task, **kw: Any) -> dict[str, TaskResult]:
    """Runs them; `runner` and `options` go to the run, all else to the workflow."""
    how: Any = {word: kw.pop(word) for word in ("runner", "options") if word in kw}
    flow = flow_of(*tasks, **kw)
    return bounded(lambda: flow.run(**how))


def states(flow: Workflow) -> dict[str, str]:
    return {name: each.status.name for name, each in flow.tasks.items()}
