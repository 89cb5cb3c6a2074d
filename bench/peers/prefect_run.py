"""Prefect with the server that it starts by itself: `python -m bench.peers.prefect_run SHAPE HOW STEPS PATH`.

How is ``default``, ``pool``, whose task runner has four threads instead of one for each task, or ``persist``,
which keeps the results of tasks in files. A chain calls its tasks; where tasks may run side by side they are
submitted to the task runner, and a map is its `map`.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from bench import graphs
from bench.peers.apart import WARM_UP, asked, report

JOB = asked()
KEPT = True if JOB.how == "persist" else None
RUNNER = ThreadPoolTaskRunner(4 if JOB.how == "pool" else None)


@task(persist_result=KEPT)
def none() -> int:
    return 1


@task(persist_result=KEPT)
def one(x: int) -> int:
    return x + 1


@task(persist_result=KEPT)
def two(x: int, y: int) -> int:
    return (x + 2 * y + 1) & 0xFFFF


@task(persist_result=KEPT)
def many(values: list[int]) -> int:
    return sum(values)


@task(persist_result=KEPT)
def wait(seconds: float, values: list[float]) -> float:
    return graphs.block(seconds)


@task(persist_result=KEPT)
def numbers(n: int) -> list[int]:
    return graphs.numbers(n)


@flow(task_runner=RUNNER)
def chain(steps: int) -> int:
    value = none()
    for _ in range(steps - 1):
        value = one(value)
    return value


@flow(task_runner=RUNNER)
def graph(steps: int) -> Any:
    """Every step submitted, with the futures of what it needs."""
    needs = graphs.GRAPHS[JOB.shape](steps).needs
    seconds = graphs.irregular()[0] if JOB.shape == "sleeping" else {}
    futures: dict[str, Any] = {}
    for step, mine in needs.items():
        given = [futures[need] for need in mine]
        if seconds:
            futures[step] = wait.submit(seconds[step], given)
        elif len(given) > 2:
            futures[step] = many.submit(given)
        else:
            futures[step] = (none, one, two)[len(given)].submit(*given)
    return graphs.outcome(needs, {step: futures[step].result() for step in graphs.sinks(needs)})


@flow(task_runner=RUNNER)
def mapped(items: int) -> int:
    return many(one.map(numbers(items)))


def main() -> None:
    run = {"chain": chain, "map": mapped}.get(JOB.shape, graph)
    run(WARM_UP)
    report(JOB, lambda: run(JOB.steps), ("prefect",))


if __name__ == "__main__":
    main()
