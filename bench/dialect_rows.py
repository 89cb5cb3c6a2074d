"""Rows about the dialects: the same steps in their vocabularies, held against the native API and the floor.

Where a vocabulary asks a step for more than a value, the native steps do that too: what is compared is the
running, not the steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, cast

from bench import floors, shapes
from bench.measure import Line, Scale, compare
from bench.shapes import COROUTINE, SYNC, Family, Shape
from penstock.dialects import definitions, pipelines, steps, workflow


class Face(NamedTuple):
    """A shape, as one vocabulary says it.

    Attributes:
        run: Runs it; to be awaited if its steps are coroutines.
        value: Takes the value of a step from what that gives.
        family: Of the native steps it is held against.
        seed: What the system took that the dialect comes from, as a multiple of the floor of coroutines,
            where it makes tasks or threads: measured on another machine, and more than once.
    """

    run: Callable[[], Any]
    value: Callable[[Any, str], Any]
    family: Family
    seed: float | None = None


def dialects(scale: Scale) -> Iterator[Line]:
    """Each dialect's chain and wide graph."""
    for make in (shapes.chain, shapes.wide):
        shape = make(scale.small)
        for name, face in _faces(shape).items():
            native = shapes.flow_of(shape, face.family)
            work = f"{name}, {shape.name}, {len(shape.needs):,}"
            awaited = face.family is not SYNC
            start = native.arun if awaited else native.run
            yield _line(
                "Dialects, against the native API", work, start, face, shape, scale, must=2.0, aim=1.5
            )
            if face.seed is not None:
                dag = shapes.dag_of(shape, COROUTINE)

                async def floor(dag: floors.Dag = dag) -> Any:
                    return await floors.tasks(dag)

                section = "Dialects, against the floor of coroutines"
                yield _line(section, work, floor, face, shape, scale, must=face.seed / 2)


def _line(
    section: str, work: str, other: Callable[[], Any], face: Face, shape: Shape, scale: Scale, **bars: float
) -> Line:
    last = [*shape.needs][-1]
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def on_loop(call: Callable[[], Any]) -> Callable[[], Any]:
            def run() -> Any:
                made = call()
                return loop.run_until_complete(made) if isinstance(made, Awaitable) else made

            return run

        def agree(one: Any, mine: Any) -> bool:
            values = one if isinstance(one, dict) else one.outputs
            return bool(_plain(values[last]) == face.value(mine, last))

        return compare(
            section,
            work,
            on_loop(other),
            on_loop(face.run),
            steps=len(shape.needs),
            pairs=scale.pairs,
            clock="wall" if face.family is SYNC else "cpu",
            agree=agree,
            **bars,
        )


def _faces(shape: Shape) -> dict[str, Face]:
    wide = shape.name == "wide"
    return {
        "pipelines, functions": _pipeline(shape, SYNC),
        "pipelines, coroutines": _pipeline(shape, COROUTINE),
        "definitions": _definition(shape)._replace(seed=20.3 if wide else 503.0),
        "workflow, functions": _workflow(shape, SYNC),
        "workflow, coroutines": _workflow(shape, COROUTINE)._replace(seed=6.8 if wide else 26.1),
        "steps, functions": _steps(shape, SYNC),
        "steps, coroutines": _steps(shape, COROUTINE)._replace(seed=1.4 if wide else 2.3),
    }


# --- the vocabularies -------------------------------------------------------------------------------------


def _pipeline(shape: Shape, family: Family) -> Face:
    awaited = family is COROUTINE
    pipeline = pipelines.Pipeline(name=shape.name, max_workers=len(shape.needs) if awaited else 1)
    for step, needs in shape.needs.items():
        keys = [f"stage_{need}_output" for need in needs]
        pipeline.add_stage(pipelines.FunctionStage(step, _stage(keys, awaited), depends_on=[*needs]))

    def value(result: pipelines.PipelineResult, step: str) -> Any:
        return next(stage.output for stage in result.stages if stage.stage_id == step)

    return Face(pipeline.arun if awaited else pipeline.run, value, family)


def _stage(keys: list[str], awaited: bool) -> Callable[[dict[str, Any]], Any]:
    def one(context: dict[str, Any]) -> int:
        return int(context[keys[0]]) + 1

    def many(context: dict[str, Any]) -> int:
        return sum([context[key] for key in keys])

    async def one_later(context: dict[str, Any]) -> int:
        return int(context[keys[0]]) + 1

    async def many_later(context: dict[str, Any]) -> int:
        return sum([context[key] for key in keys])

    if not keys:
        return _first_later if awaited else _first
    if len(keys) == 1:
        return one_later if awaited else one
    return many_later if awaited else many


def _first(context: dict[str, Any]) -> int:
    return 1


async def _first_later(context: dict[str, Any]) -> int:
    return 1


class _Stage:
    def __init__(self, needs: int) -> None:
        self._needs = needs

    async def execute(self, input: Any, context: definitions.PipelineContext) -> definitions.StageResult[int]:
        if not self._needs:
            return definitions.StageResult.success(1)
        return definitions.StageResult.success(input + 1 if self._needs == 1 else sum(input.values()))


async def _r_none() -> Any:
    return definitions.StageResult.success(1)


async def _r_one(x: Any) -> Any:
    return definitions.StageResult.success(x.output + 1)


async def _r_two(x: Any, y: Any) -> Any:
    return definitions.StageResult.success(x.output + y.output)


async def _r_many(**values: Any) -> Any:
    return definitions.StageResult.success(sum([value.output for value in values.values()]))


RESULTS = Family("results", _r_none, _r_one, _r_two, _r_many, _r_many)
"""Native steps that give what the stages of a definition give."""


def _plain(value: Any) -> Any:
    return value.output if isinstance(value, definitions.StageResult) else value


def _definition(shape: Shape) -> Face:
    stages = [
        definitions.StageDefinition(step, _Stage(len(needs)), inputs=needs)
        for step, needs in shape.needs.items()
    ]
    pipeline = definitions.PipelineDefinition(shape.name, stages)
    executor = definitions.PipelineExecutor()

    def value(result: definitions.PipelineResult, step: str) -> Any:
        return result.outputs[step]

    return Face(lambda: executor.execute(pipeline, 0), value, RESULTS)


def _workflow(shape: Shape, family: Family) -> Face:
    made = workflow.Workflow(shape.name)
    for step, needs in shape.needs.items():
        action = _collected(needs, family) if len(needs) > 2 else _taking(needs, family)
        made.add_task(step, action, dependencies=needs)
    return Face(
        made.arun if family is COROUTINE else made.run, lambda results, step: results[step].value, family
    )


def _taking(needs: tuple[str, ...], family: Family) -> Callable[..., Any]:
    """A function whose parameter is named like what it takes, as a user writes it."""
    if not needs:
        return family.none
    (need,) = needs
    names: dict[str, Any] = {}
    kind = "async def" if family is COROUTINE else "def"
    exec(f"{kind} step({need}): return {need} + 1", names)  # noqa: S102
    return cast("Callable[..., Any]", names["step"])


def _collected(needs: tuple[str, ...], family: Family) -> Callable[..., Any]:
    def plain(_task_results: dict[str, workflow.TaskResult]) -> int:
        return sum([_task_results[need].value for need in needs])

    async def later(_task_results: dict[str, workflow.TaskResult]) -> int:
        return plain(_task_results)

    return later if family is COROUTINE else plain


def _steps(shape: Shape, family: Family) -> Face:
    executor = steps.PipelineExecutor(steps.PipelineConfig(max_concurrent=None))
    for step, needs in shape.needs.items():
        executor.add_step(step, family.of(needs), depends_on=needs)
    return Face(
        executor.run if family is COROUTINE else executor.run_sync,
        lambda results, step: results[step].output,
        family,
    )
