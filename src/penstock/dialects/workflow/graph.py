"""From tasks to a graph, and what says whether that is still the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

from penstock.core import errors
from penstock.core.errors import nearest
from penstock.core.gate import Gate
from penstock.core.graph import Graph
from penstock.core.kept import Kept
from penstock.core.model import Condition, Need, Node, Timeout

from .actions import Action, AsyncCall, Call, Feed, is_async_function, read
from .errors import CycleError, InvalidWorkflow
from .tasks import Results, Task


class TaskGraph:
    """Makes the graph of some tasks, and keeps it as long as they stay what they are."""

    def __init__(self) -> None:
        self._kept: Kept[Graph] = Kept()

    def of(self, name: str, tasks: Mapping[str, Task]) -> Graph:
        """The graph.

        Args:
            name: Of the workflow.
            tasks: By name.

        Raises:
            WorkflowError: A dependency is unknown.
            CycleError: They run in a circle.
        """
        values: list[Any] = []
        objects: list[Any] = []
        for key, task in tasks.items():
            values += (key, task.name, task.timeout, task._feed, len(task.args), *(task.kwargs or ()), None)
            values += task.dependencies
            objects += (task.action, task.condition, task.transform_result, task.retry_policy)
            if task.args or task.kwargs:
                objects += (*task.args, *(task.kwargs or {}).values())
        return self._kept.of(values, objects, partial(_made, name, tasks))


def _made(name: str, tasks: Mapping[str, Task]) -> Graph:
    for key, task in tasks.items():
        task._check()
        if task.name != key:
            raise InvalidWorkflow(f"Task {task.name!r} is in the workflow as {key!r}; a name is given once")
        for above in task.dependencies:
            if above == task.name:
                raise CycleError((above, above))
            if above not in tasks:
                near = nearest(above, tasks)
                raise InvalidWorkflow(f"Task {task.name!r} depends on unknown task {above!r}{near}")
    try:
        return Graph(name, map(_node, tasks.values()))
    except errors.CycleError as error:
        raise CycleError(error.cycle) from None


def _node(task: Task) -> Node:
    action, dependencies = task.action, tuple(dict.fromkeys(task.dependencies))
    if isinstance(action, Gate):
        needs = [Need(name, "use", name) for name in dependencies]
        return action.node(task.name, needs, _condition(task))._replace(timeout=_timeout(task))
    reading = read(action)
    bound = dict(task.kwargs or ())
    beyond = max(0, len(task.args) - len(reading.hidden))
    free = reading.names[beyond:]
    wants_results = "_task_results" in free and "_task_results" not in bound
    needs = [
        Need(name, "use", name) if name in free and name not in bound else Need(name, "after")
        for name in dependencies
    ]
    call: Action = action
    fed: tuple[str, ...] | None = None
    hungry = task._feed is not None and not any(need.param for need in needs)
    given = {*bound, "_task_results"} if wants_results else {*bound}
    if hungry and reading.wants(len(task.args), given):
        fed = tuple([f"_fed_{at}" for at in range(len(needs))])
        needs = [Need(need.node, "use", key) for need, key in zip(needs, fed, strict=True)]
    feed: Feed = task._feed or "one"
    placed = [*takewhile(dependencies.__contains__, reading.hidden[len(task.args) :])]
    if placed and fed is None:
        fed, feed = tuple([f"_fed_{at}" for at in range(len(placed))]), "all"
        names = dict(zip(placed, fed, strict=True))
        needs = [Need(need.node, "use", names[need.node]) if need.node in names else need for need in needs]
    if task.args or fed is not None or task.transform_result is not None:
        kind = AsyncCall if reading.is_async else Call
        call = kind(action, tuple(task.args), fed, feed, task.transform_result)
    return Node(
        task.name,
        call,
        tuple(needs),
        bound=bound or None,
        is_async=reading.is_async,
        retry=task.retry_policy,
        timeout=_timeout(task),
        when=_condition(task),
        keep=True,
        shared="_task_results" if wants_results else None,
    )


def _timeout(task: Task) -> Timeout | None:
    return None if task.timeout is None else Timeout(attempt=task.timeout)


def _condition(task: Task) -> Condition | None:
    if task.condition is None:
        return None
    awaited = is_async_function(task.condition)
    ask = partial(_answer_later if awaited else _answer, task.condition)
    return Condition(ask, is_async=awaited, shared="results")


def _answer(condition: Callable[[Results], Any], results: Results) -> Any:
    answer = condition(results)
    return answer if hasattr(answer, "__await__") else bool(answer)


async def _answer_later(condition: Callable[[Results], Any], results: Results) -> bool:
    return bool(await condition(results))
