"""What the tests of the contract of pipelines share: short words for stages, runs and results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.dialects.pipelines import FunctionStage, Pipeline, PipelineResult, Stage, StageResult

from .parts_bound import BOUND, bounded

Context = dict[Any, Any]

RUNS: dict[str, Any] = {
    "run": lambda pipeline, *args, **kw: pipeline.run(*args, **kw),
    "arun": lambda pipeline, *args, **kw: asyncio.run(pipeline.arun(*args, **kw)),
}


def one(context: Context) -> int:
    return 1


def seen(context: Context) -> Context:
    return dict(context)


def fails(context: Context) -> None:
    context["left"] = "behind"
    raise ValueError("why")


async def later(context: Context) -> str:
    context["later"] = True
    return "later"


async def forever(context: Context) -> None:
    await asyncio.sleep(BOUND)


def some(**named: Any) -> Callable[[Context], Any]:
    """Writes these into the context."""
    return lambda context: context.update(named)


def fn(id: str, func: Any = one, *above: str, **kw: Any) -> FunctionStage:
    return FunctionStage(id, func, depends_on=list(above), **kw)


def of(*stages: Stage, **kw: Any) -> Pipeline:
    pipeline = Pipeline("p", **kw)
    for stage in stages:
        pipeline.add_stage(stage)
    return pipeline


def run(*stages: Stage, context: dict[str, Any] | None = None, **kw: Any) -> PipelineResult:
    """Runs them; `runner` and `options` go to the run, all else to the pipeline."""
    how: Any = {word: kw.pop(word) for word in ("runner", "options") if word in kw}
    pipeline = of(*stages, **kw)
    return bounded(lambda: pipeline.run(context, **how))


def by_id(result: PipelineResult) -> dict[str, Any]:
    return {stage.stage_id: stage for stage in result.stages}


def statuses(result: PipelineResult) -> dict[str, str]:
    return {stage.stage_id: stage.status.name for stage in result.stages}


class Told(FunctionStage):
    """Notes what its hooks are told, in `calls`; so it is not for processes."""

    def __init__(self, id: str, func: Any = one, **kw: Any) -> None:
        super().__init__(id, func, **kw)
        self.calls: list[tuple[str, Any]] = []

    def on_success(self, result: StageResult, context: Context) -> None:
        self.calls.append(("success", result))

    def on_failure(self, result: StageResult, context: Context) -> None:
        self.calls.append(("failure", result))

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.calls]
