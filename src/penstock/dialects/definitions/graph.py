"""From a definition to a graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from penstock.core.context import Context
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Condition, Input, Limit, LimitUse, Need, Node

from .context import PipelineContext
from .gates import Gate
from .results import Misused, StageResult
from .shared import Run, check, ended, item_ended, joined
from .stages import ExecutionPattern, StageDefinition

_Read = Callable[[Mapping[str, Any]], Any]
"""Makes the input of a stage of what its node is given."""


class Made(NamedTuple):
    """The graph of a definition.

    Attributes:
        graph: It.
        ids: Of the nodes of each stage; the last one gives its value.
    """

    graph: Graph
    ids: dict[str, tuple[str, ...]]


def made_of(name: str, stages: Sequence[StageDefinition]) -> Made:
    """The graph of a definition that is valid.

    Raises:
        GraphError: It has none.
    """
    taken = {stage.id for stage in stages}
    may_skip = {stage.id for stage in stages if stage.condition is not None}
    nodes: list[Node] = []
    ids: dict[str, tuple[str, ...]] = {}
    gates = frozenset([stage.id for stage in stages if isinstance(stage.stage, Gate)])
    for stage in stages:
        needs = [
            Need(id, "use", f"value{at}", Accepts.CONDITION if id in may_skip else Accepts.NOTHING)
            for at, id in enumerate(stage.inputs)
        ]
        head = _Head(tuple(needs), () if needs else (("value", "input"),), _condition(stage))
        read = _reader(stage, gates)
        if stage.pattern is ExecutionPattern.FAN_OUT:
            made = _fan_out(stage, head, taken, read)
            ids[stage.id] = tuple([node.id for node in made])
            nodes += made
        else:
            ids[stage.id] = (stage.id,)
            nodes.append(_work(stage, stage.id, head, read))
    return Made(Graph(name, nodes, [Input("input", users=tuple(taken))]), ids)


def _reader(stage: StageDefinition, gates: frozenset[str]) -> _Read:
    inputs = stage.inputs
    if not inputs:
        return _given
    if not gates.isdisjoint(inputs):
        return partial(_some, inputs)
    return _only if len(inputs) == 1 else partial(_all, inputs)


def _given(given: Mapping[str, Any]) -> Any:
    return given["value"]


def _only(given: Mapping[str, Any]) -> Any:
    result = given["value0"]
    return None if result is None else result.output


def _all(inputs: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    found = [(id, given[f"value{at}"]) for at, id in enumerate(inputs)]
    return {id: None if result is None else result.output for id, result in found}


def _some(inputs: Sequence[str], given: Mapping[str, Any]) -> Any:
    """The same, where the value of a gate is among them: its answer."""
    found = {id: given[f"value{at}"] for at, id in enumerate(inputs)}
    outputs = {id: one.output if isinstance(one, StageResult) else one for id, one in found.items()}
    return outputs if len(inputs) > 1 else outputs[inputs[0]]


class _Head(NamedTuple):
    """What a node takes, and whether it is asked first; fields of `Node`."""

    needs: tuple[Need, ...]
    inputs: tuple[tuple[str, str], ...] = ()
    when: Condition | None = None


def _condition(stage: StageDefinition) -> Condition | None:
    asked = stage.condition
    if asked is None:
        return None
    return Condition(partial(_ask, asked), is_async=inspect.iscoroutinefunction(asked), shared="run")


def _ask(asked: Callable[[PipelineContext], Any], run: Run) -> Any:
    answer = asked(run.view())
    return _truth(answer) if hasattr(answer, "__await__") else bool(answer)


async def _truth(answer: Any) -> bool:
    return bool(await answer)


def _work(stage: StageDefinition, id: str, head: _Head, read: _Read) -> Node:
    """A node that calls the stage itself, or waits for its answer."""
    if isinstance(stage.stage, Gate):
        timeout = stage.timeout()
        asked = stage.stage.asked(f"stage {id!r}", None if timeout is None else timeout.attempt)
        return asked.node(id, head.needs, head.when)
    execute: Any = stage.stage.execute
    is_async, retry = _is_async(execute), stage.retry_config
    if stage.input_type is not None:
        read = partial(_checked, stage, read)
    fans = stage.pattern is ExecutionPattern.FAN_OUT
    own = (LimitUse(Limit(f"fan-out of {stage.id}", stage.max_concurrent_fan_out)),) if fans else ()
    attempt = _Attempt(stage, read, item_ended if fans else ended)
    return Node(
        id,
        attempt.later if is_async else attempt.at_once,
        head.needs,
        inputs=head.inputs,
        context=None if is_async else "attempt",
        is_async=is_async,
        retry=None if retry is None else retry.policy(),
        timeout=stage.timeout(),
        when=head.when,
        limits=(*own, *cast("Sequence[LimitUse]", stage.limits)),
        keep=True,
        doc=stage.description or "",
        shared="run",
    )


def _is_async(execute: Any) -> bool:
    return inspect.iscoroutinefunction(execute) or inspect.iscoroutinefunction(inspect.unwrap(execute))


def _checked(stage: StageDefinition, read: _Read, given: Mapping[str, Any]) -> Any:
    value = read(given)
    if value is not None:
        check(stage, "was given", value, stage.input_type)
    return value


class _Attempt(NamedTuple):
    """What the node of a stage calls.

    Attributes:
        stage: The stage.
        read: Makes its input.
        ended: Makes what the node hands back of what the method returned.
    """

    stage: StageDefinition
    read: _Read
    ended: Callable[[StageDefinition, Run, Any, PipelineContext], Any]

    def __penstock_code__(self) -> list[Any]:
        return [self.stage.stage.execute]

    async def later(self, run: Run, **given: Any) -> Any:
        """One attempt of a stage as it should be."""
        context = run.view()
        returned: Any = self.stage.stage.execute(self.read(given), context)
        if hasattr(returned, "__await__"):
            returned = await returned
        return self.ended(self.stage, run, returned, context)

    def at_once(self, run: Run, attempt: Context, **given: Any) -> Any:
        """One attempt of a stage whose method is a plain one."""
        context = run.view(attempt)
        return self.ended(self.stage, run, self.stage.stage.execute(self.read(given), context), context)


def _fan_out(stage: StageDefinition, head: _Head, taken: set[str], read: _Read) -> list[Node]:
    """Three nodes: one takes the list apart, one works on each item, one puts the results together."""
    mark = ""
    while {f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"} & taken:
        mark += "'"
    items, item = f"{stage.id}/items{mark}", f"{stage.id}/item{mark}"
    split, join = partial(_split, stage, read), partial(joined, stage)
    return [
        Node(items, split, head.needs, inputs=head.inputs, when=head.when, runner="inline", keep=True),
        _work(stage, item, _Head((Need(items, "each", "value"),)), _given),
        Node(stage.id, join, (Need(item, "gather", "results"),), runner="inline", keep=True, shared="run"),
    ]


def _split(stage: StageDefinition, read: _Read, **given: Any) -> list[Any] | tuple[Any, ...]:
    value = read(given)
    if not isinstance(value, (list, tuple)):
        raise Misused(f"FAN_OUT stage '{stage.id}' needs a list or tuple, not {type(value).__name__}")
    return value
