"""One pipeline in four vocabularies, and natively: the same graph, the same order, the same outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Flow, RetryPolicy
from penstock.core.graph import Graph
from penstock.dialects import pipelines, steps, workflow

EDGES = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
RETRY = RetryPolicy(max_attempts=2, initial_delay=0.001, jitter=None)


class Work:
    """What the four steps do, whoever calls them; the second fails once."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.failures = 1

    def did(self, name: str, value: int) -> int:
        if name == "b" and self.failures:
            self.failures -= 1
            raise ValueError("once")
        self.order.append(name)
        return value

    def a(self) -> int:
        return self.did("a", 1)

    def b(self, a: int) -> int:
        return self.did("b", a + 10)

    def c(self, a: int) -> int:
        return self.did("c", a + 100)

    def d(self, b: int, c: int) -> int:
        return self.did("d", b * c)


Done = tuple[dict[str, Any], Graph]


def natively(work: Work) -> Done:
    flow = Flow("diamond")
    flow.add(work.a, keep=True)
    flow.add(work.b, retry=RETRY, keep=True)
    flow.add(work.c, keep=True)
    flow.add(work.d)
    result = flow.run()
    return {name: result[name] for name in EDGES}, flow.graph()


def as_pipeline(work: Work) -> Done:
    builder = pipelines.PipelineBuilder("diamond")
    for name, needs in EDGES.items():

        def call(context: dict[str, Any], name: str = name, needs: tuple[str, ...] = needs) -> int:
            return getattr(work, name)(*[context[f"stage_{need}_output"] for need in needs])

        builder.stage(name, call, depends_on=list(needs), retry_count=int(name == "b"))
    pipeline = builder.build()
    result = pipeline.run()
    return {stage.stage_id: stage.output for stage in result.stages}, pipeline.graph()


def as_workflow(work: Work) -> Done:
    flow = workflow.Workflow("diamond")
    for name, needs in EDGES.items():
        flow.add_task(
            name=name,
            action=getattr(work, name),
            dependencies=list(needs),
            retry_policy=RETRY if name == "b" else None,
        )
    return {name: result.value for name, result in flow.run().items()}, flow.graph()


def as_steps(work: Work) -> Done:
    executor = steps.PipelineExecutor()
    for name, needs in EDGES.items():
        executor.add_step(
            name=name,
            func=getattr(work, name),
            depends_on=list(needs),
            retries=int(name == "b"),
            retry_delay=0.001,
        )
    results = asyncio.run(executor.run())
    return {name: result.output for name, result in results.items()}, executor.graph()


@pytest.mark.parametrize("face", [natively, as_pipeline, as_workflow, as_steps])
def test_a_diamond_with_a_retry(face: Callable[[Work], Done]) -> None:
    work = Work()
    outputs, graph = face(work)
    assert outputs == {"a": 1, "b": 11, "c": 101, "d": 1111}
    assert {node.id: {need.node for need in node.needs} for node in graph.nodes} == {
        name: set(needs) for name, needs in EDGES.items()
    }
    assert (work.order[0], work.order[-1], sorted(work.order)) == ("a", "d", ["a", "b", "c", "d"])
    assert work.failures == 0
