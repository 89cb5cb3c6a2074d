"""From tasks to a graph, and what says whether that is still the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

from penstock.core import errors
from penstock.core.errors import nearest
from penstock.core.graph import Graph
from penstock.core.model import Condition, Need, Node, Timeout

from .actions import Action, AsyncCall, Call, Feed, is_async_function, read
from .errors import CycleError, InvalidWorkflow
from .tasks import Results, Task


class TaskGraph:
    """Makes the graph of some tasks, and keeps it as long as they stay what they are."""

    def __init__(self) -> None:
        self._kept: tuple[list[Any], Graph] | None = None  # one value: two threads may ask at a time

    def of(self, name: str, tasks: Mapping[str, Task]) -> Graph:
        """The graph.

        Args:
            name: Of the workflow.
            tasks: By name.

        Raises:
            WorkflowError: A dependency is unknown.
            CycleError: They run in a circle.
        """
        facts, kept = _facts(tasks.values()), self._kept
        if kept is not None and _same(facts, kept[0]):
            return kept[1]
        for name_in, task in tasks.items():
            task._check()
            if task.name != name_in:
                raise InvalidWorkflow(
                    f"Task {task.name!r} is in the workflow as {name_in!r}; a name is given once"
                )
            for above in task.dependencies:
                if above == task.name:
                    raise CycleError((above, above))
                if above not in tasks:
                    near = nearest(above, tasks)
                    raise InvalidWorkflow(f"Task {task.name!r} depends on unknown task {above!r}{near}")
        try:
            graph = Graph(name, map(_node, tasks.values()))
        except errors.CycleError as error:
            raise CycleError(error.cycle) from None
        self._kept = facts, graph
        return graph


def _same(facts: list[Any], others: list[Any]) -> bool:
    try:
        return facts == others
    except Exception:  # somebody's own objects, which cannot be compared
        return False


def _facts(tasks: Iterable[Task]) -> list[Any]:
    """All that the graph of some tasks is made of: as long as that is the same, so is the graph.

    Of arguments the ids are taken, for 1 equals True; the graph keeps them alive.
    """
    found: list[Any] = []
    for task in tasks:
        found += (
            task.name, task.action, task.timeout, task.retry_policy, task.condition, task.transform_result,
            task._feed,
        )  # fmt: skip
        if task.args or task.kwargs:
            kwargs = task.kwargs or {}
            found += (*map(id, task.args), _END, *kwargs, *map(id, kwargs.values()))
        found += task.dependencies
        found.append(_END)
    return found


_END = object()


def _node(task: Task) -> Node:
    action, dependencies = task.action, tuple(dict.fromkeys(task.dependencies))
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
    when = None
    if task.condition is not None:
        awaited = is_async_function(task.condition)
        ask = partial(_answer_later if awaited else _answer, task.condition)
        when = Condition(ask, is_async=awaited, shared="results")
    return Node(
        task.name,
        call,
        tuple(needs),
        bound=bound or None,
        is_async=reading.is_async,
        retry=task.retry_policy,
        timeout=None if task.timeout is None else Timeout(attempt=task.timeout),
        when=when,
        keep=True,
        shared="_task_results" if wants_results else None,
    )


def _answer(condition: Callable[[Results], Any], results: Results) -> Any:
    answer = condition(results)
    return answer if hasattr(answer, "__await__") else bool(answer)


async def _answer_later(condition: Callable[[Results], Any], results: Results) -> bool:
    return bool(await condition(results))
