"""Workflows of tasks that name what they depend on, each with a retry policy, a condition and a timeout.

A task's dependencies become needs of its node, and what observers see of the run becomes its status again.
`docs/dialects/workflow.md` has every name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import is_
from threading import Lock
from typing import Any, Literal, Unpack

from penstock import wiring
from penstock.core import errors
from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.errors import GraphError, InputError, PenstockError, nearest
from penstock.core.graph import Graph
from penstock.core.model import (
    Condition,
    Input,
    Need,
    Node,
    RetryPolicy,
    RunOptions,
    Timeout,
)
from penstock.core.names import normal_id
from penstock.core.ports import Pool, Runner
from penstock.core.result import RunResult

from ._actions import Action, AsyncCall, Call, innermost, is_async_function, read
from ._tasks import _NEVER, Results, Task, TaskOptions, TaskResult, TaskStatus
from ._watch import FAILED_ABOVE, Progress, ResultsSoFar, Teller, View

__all__ = [
    "CycleError",
    "RetryPolicy",
    "Task",
    "TaskFailedError",
    "TaskResult",
    "TaskStatus",
    "Workflow",
    "WorkflowError",
    "chain",
    "fan_out_fan_in",
    "parallel",
]


class WorkflowError(PenstockError):
    """Base of all that goes wrong with a workflow as a whole."""


class CycleError(WorkflowError, errors.CycleError):
    """The dependencies of some tasks run in a circle; `cycle` holds the names in order."""

    def __init__(self, cycle: Iterable[str]) -> None:
        super().__init__(cycle)
        self.args = (f"Circular dependency detected: {' -> '.join(self.cycle)}",)


class TaskFailedError(WorkflowError):
    """A task failed; raised by `Workflow.raise_for_failure` only.

    Attributes:
        task_name: Its name.
        result: Its `TaskResult`.
    """

    def __init__(self, task_name: str, result: TaskResult) -> None:
        super().__init__(f"Task {task_name!r} failed: {result.error}")
        self.task_name = task_name
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task_name, self.result)


class _Invalid(WorkflowError, GraphError):
    """The tasks do not fit together; nothing was started."""


class Workflow:
    """Tasks and their dependencies.

    Args:
        name: What people call it.
        timeout: Seconds for a whole run; then it is interrupted, and `WorkflowError` is raised.
        fail_fast: Nothing new starts after a failure, and what runs may finish. Otherwise all goes on that
            does not depend on it.
        progress_callback: Called with (task name, status, details) the moment something happens; for the
            workflow itself the name is ``workflow``. What it raises is logged and changes nothing.
        max_concurrent: Tasks that run at the same time; None for no bound.

    Attributes:
        tasks: By name, in the order in which they were added.
        task_results: By name; those of the last run, as they come.

    Raises:
        TypeError: `progress_callback` cannot be called so.
        ValueError: A name or number cannot be used.
    """

    def __init__(
        self,
        name: str,
        timeout: float | None = None,
        fail_fast: bool = True,
        progress_callback: Progress | None = None,
        max_concurrent: int | None = None,
    ) -> None:
        self.name = normal_id(name, "workflow")
        where = f"Workflow {name!r}"
        if timeout is not None:
            check_seconds(where, "timeout", timeout, above=True)
        if max_concurrent is not None and (not is_whole(max_concurrent) or max_concurrent < 1):
            raise ValueError(f"{where}: max_concurrent must be an int of at least 1, not {max_concurrent!r}")
        if progress_callback is not None and not callable(progress_callback):
            raise TypeError(f"{where}: progress_callback must be callable, not {shown(progress_callback)}")
        if progress_callback is not None and is_async_function(progress_callback):
            raise TypeError(f"{where}: progress_callback is called, and never awaited; give a plain function")
        self.timeout = timeout
        self.fail_fast = fail_fast
        self.progress_callback = progress_callback
        self.max_concurrent = max_concurrent
        self.tasks: dict[str, Task] = {}
        self.task_results: Results = {}
        self._elapsed = 0.0
        self._graph: Graph | None = None
        self._known: list[Any] = []  # what the graph was made of
        self._current: _Run | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}: {len(self.tasks)} tasks>"

    def add_task(
        self,
        name: str,
        action: Action,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        dependencies: Collection[str] = (),
        **options: Unpack[TaskOptions],
    ) -> Workflow:
        """Adds a task; see `Task` for what it takes.

        Returns:
            The workflow itself.

        Raises:
            WorkflowError: There is a task of this name.
            TypeError: An option is unknown, or a value of the wrong type.
        """
        known = TaskOptions.__optional_keys__
        for word in options:
            if word not in known:
                words = [*known, "args", "kwargs", "dependencies"]
                raise TypeError(f"Task {name!r}: there is no option {word!r}{nearest(word, words)}")
        return self.add(Task(name, action, args, kwargs, dependencies, **options))

    def add(self, task: Task) -> Workflow:
        """Adds a task that was made before.

        Raises:
            WorkflowError: There is a task of this name.
            TypeError: It is no `Task`.
        """
        if not isinstance(task, Task):
            raise TypeError(f"Workflow {self.name!r}: add takes a Task, not {shown(task)}")
        if task.name in self.tasks:
            raise _Invalid(f"Task {task.name!r} already exists in workflow.")
        self.tasks[task.name] = task
        return self

    def validate(self) -> None:
        """Whether the tasks fit together.

        Raises:
            WorkflowError: One depends on a task that is not there.
            CycleError: Their dependencies run in a circle.
        """
        self.graph()

    def graph(self) -> Graph:
        """The graph as it would run now; raises as `validate` does."""
        known = _facts(self.tasks.values())
        if self._graph is None or len(known) != len(self._known) or not all(map(is_, known, self._known)):
            self._graph, self._known = self._made(), known
        return self._graph

    def _made(self) -> Graph:
        for task in self.tasks.values():
            for name in task.dependencies:
                if name == task.name:
                    raise CycleError((name, name))
                if name not in self.tasks:
                    near = nearest(name, self.tasks)
                    raise _Invalid(f"Task {task.name!r} depends on unknown task {name!r}{near}")
        try:
            return Graph(self.name, map(_node, self.tasks.values()))
        except errors.CycleError as error:
            raise CycleError(error.cycle) from None

    def run(
        self,
        *,
        store: Any = None,
        run_id: str | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
    ) -> Results:
        """Runs all tasks and waits for their end, inside a running event loop too.

        Args:
            store: Reserved.
            run_id: Reserved.
            runner: Where tasks run: ``threads``, ``processes``, …, a runner or a pool.
            options: How the run goes beyond that. `fail_fast` decides what follows a failure; of two bounds
                in time or number the smaller one holds.

        Returns:
            The result of every task, also of those that were never started.

        Raises:
            WorkflowError: The tasks do not fit together, the workflow runs already, or its time was over.
        """
        _refuse(store=store, run_id=run_id)
        run = self._begin(runner, options)
        try:
            wiring.run_prepared(run.prepared)
        finally:
            self._end(run)
        return run.returned()

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """Runs it for the command line. A workflow takes no inputs; what a run that is late has come to is
        in the result, and not raised.

        Raises:
            InputError: An input was given, or there is no such target.
        """
        if inputs:
            raise InputError(f"workflow {self.name!r} takes no input {next(iter(inputs))!r}; it takes none")
        run = self._begin(runner, options, targets)
        try:
            return wiring.run_prepared(run.prepared)
        finally:
            self._end(run)

    def inputs(self) -> Sequence[Input]:
        """The inputs of a run: none."""
        return ()

    async def arun(
        self,
        *,
        store: Any = None,
        run_id: str | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
    ) -> Results:
        """The same as `run` on the running event loop. A cancelled caller cancels the run."""
        _refuse(store=store, run_id=run_id)
        run = self._begin(runner, options)
        try:
            await run.prepared.arun()
        finally:
            self._end(run)
        return run.returned()

    def cancel(self, reason: str = "") -> None:
        """Cancels the run that is under way, if there is one; from any thread, or from a task."""
        run = self._current
        if run is not None:
            run.prepared.engine.cancel(reason)

    def get_task_result(self, name: str) -> TaskResult | None:
        """The result of a task; None as long as it has none.

        Raises:
            WorkflowError: There is no such task.
        """
        if name not in self.tasks:
            raise WorkflowError(f"there is no task {name!r} in workflow{nearest(name, self.tasks)}")
        return self.task_results.get(name)

    def get_summary(self) -> dict[str, Any]:
        """Counts of the tasks by status, the seconds of the last run, and a line of facts for each task."""
        counts = {status.value: 0 for status in TaskStatus}
        for task in self.tasks.values():
            counts[task.status.value] += 1
        facts = ("attempts", "execution_time", "error")
        return {
            "name": self.name,
            "total_tasks": len(self.tasks),
            **counts,
            "success": counts["completed"] + counts["skipped"] == len(self.tasks)
            and not any(task.error == FAILED_ABOVE for task in self.tasks.values()),
            "elapsed": self._elapsed,
            "tasks": {
                name: {"status": task.status.value, **{fact: getattr(task, fact) for fact in facts}}
                for name, task in self.tasks.items()
            },
        }

    def raise_for_failure(self) -> None:
        """Returns if no task of the last run failed.

        Raises:
            TaskFailedError: One did: the first, in the order in which they were added.
        """
        for name, task in self.tasks.items():
            if task.status is TaskStatus.FAILED:
                raise TaskFailedError(name, task.get_result())

    def _begin(
        self, runner: str | Runner | Pool | None, options: RunOptions | None, targets: Any = None
    ) -> _Run:
        run = _Run(self, runner, options, targets)
        with self._lock:
            if self._current is not None:
                raise WorkflowError(f"Workflow {self.name!r} is already running")
            self._current = run
        for task in run.tasks.values():
            task._live = run.view.task
        self.task_results = run.results
        return run

    def _end(self, run: _Run) -> None:
        run.ended()
        self.task_results = run.results
        self._elapsed = run.prepared.result().duration
        self._current = None


def chain(*actions: Action | Task, name: str = "chain") -> Workflow:
    """A workflow in which each action waits for the one before.

    Args:
        actions: Functions, or tasks, of which copies are taken. A function that requires one argument more
            than its dependency's name can fill is given the value of the one before.
        name: Of the workflow.
    """
    workflow = Workflow(name)
    before: tuple[str, ...] = ()
    for task in _tasks("chain", actions):
        workflow.add(_after(task, before, "one"))
        before = (task.name,)
    return workflow


def parallel(*actions: Action | Task, name: str = "parallel") -> Workflow:
    """A workflow of actions that do not wait for each other; see `chain`."""
    workflow = Workflow(name)
    for task in _tasks("parallel", actions):
        workflow.add(task)
    return workflow


def fan_out_fan_in(
    actions: Sequence[Action | Task], collect: Action | Task, name: str = "fan_out_fan_in"
) -> Workflow:
    """A workflow of actions that do not wait for each other, and one that waits for all of them.

    Args:
        actions: Functions or tasks, as for `chain`.
        collect: The last one. A function that requires one argument more than names can fill is given the
            list of all values, in the order of `actions`.
        name: Of the workflow.
    """
    if isinstance(actions, (str, Mapping)) or not isinstance(actions, Iterable):
        raise TypeError(f"fan_out_fan_in takes a list of actions, not {shown(actions)}")
    *wide, last = _tasks("fan_out_fan_in", (*actions, collect))
    workflow = Workflow(name)
    for task in wide:
        workflow.add(task)
    return workflow.add(_after(last, tuple(task.name for task in wide), "list"))


def _tasks(helper: str, actions: Sequence[Any]) -> list[Task]:
    """A task for each action, with a name of its own."""
    taken = {action.name for action in actions if isinstance(action, Task)}
    tasks = []
    for at, action in enumerate(actions, 1):
        if isinstance(action, Task):
            copy = replace(action)
            copy._feed = action._feed
            tasks.append(copy)
            continue
        if not callable(action):
            raise TypeError(f"{helper} takes functions and Tasks, not {shown(action)}")
        own = getattr(innermost(action), "__name__", "<lambda>")
        base = own if own != "<lambda>" else f"task_{at}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        task = Task(name, action)
        task._feed = "one"
        tasks.append(task)
    return tasks


def _after(task: Task, before: tuple[str, ...], feed: Literal["one", "list"]) -> Task:
    task.dependencies = [*task.dependencies, *before]
    task._feed = feed if task._feed is not None and before else None
    return task


# --- one run ----------------------------------------------------------------------------------------------

_GRACE = 0.25
"""Seconds for running tasks to end when the workflow's time is over, if no options say anything else."""


class _Run:
    """One run of a workflow.

    Attributes:
        tasks: Those that there were at its start.
        view: What becomes of them.
        results: Those that have ended; plain and complete once the run has.
        prepared: The engine's part of it.
    """

    def __init__(
        self, workflow: Workflow, runner: str | Runner | Pool | None, options: RunOptions | None, targets: Any
    ) -> None:
        self.tasks = dict(workflow.tasks)
        self.view = View(self.tasks, fail_fast=workflow.fail_fast)
        self.results: Results = ResultsSoFar(self.view)
        graph = workflow.graph()
        if options is None or isinstance(options, RunOptions):
            given = options or RunOptions()
            fields = {name: getattr(given, name) for name in given.__match_args__}
            fields["on_failure"] = "drain" if workflow.fail_fast else "continue"
            self.view.deadline = fields["deadline"] = _smaller(given.deadline, workflow.timeout)
            if workflow.timeout is not None and options is None:
                fields["grace"] = _GRACE
            fields["max_concurrency"] = _smaller(given.max_concurrency, workflow.max_concurrent)
            if workflow.progress_callback is not None:
                teller = Teller(workflow.name, self.tasks, self.view, workflow.progress_callback)
                fields["observers"] = (teller, *given.observers)
            options = RunOptions(**fields)
        self.prepared = wiring.Prepared(
            graph, {}, targets=targets, runner=runner, options=options, shared=self.results
        )
        self.view.nodes = self.prepared.result().nodes
        self.view.is_late = self.prepared.is_late

    def ended(self) -> None:
        """Puts down what has become of the tasks."""
        of, nodes = self.view.of, self.view.nodes
        found: Results = {}
        if len(nodes) < len(self.tasks):  # a part of it was run
            for task in self.tasks.values():
                task._seen, task._live = _NEVER, None
                found[task.name] = task.get_result()
        for node in nodes.values():
            name = node.path
            task = self.tasks[name]
            task._seen = seen = of(node)
            task._live = None
            found[name] = seen[1]
        self.results = found

    def returned(self) -> Results:
        """What the run call gives."""
        if self.prepared.is_late():
            raise WorkflowError(self.view.too_late())
        return self.results


def _facts(tasks: Iterable[Task]) -> list[Any]:
    """All that the graph of some tasks is made of: as long as these are the same objects, so is the graph."""
    found: list[Any] = []
    for task in tasks:
        found += (
            task.name, task.action, task.timeout, task.retry_policy, task.condition, task.transform_result,
            task._feed,
        )  # fmt: skip
        if task.args or task.kwargs:
            kwargs = task.kwargs or {}
            found += (*task.args, _END, *kwargs, *kwargs.values())
        found += task.dependencies
        found.append(_END)
    return found


_END = object()


def _node(task: Task) -> Node:
    action, dependencies = task.action, tuple(dict.fromkeys(task.dependencies))
    reading = read(action)
    bound = dict(task.kwargs or ())
    free = reading.names[max(0, len(task.args) - reading.hidden) :] if task.args else reading.names
    wants_results = "_task_results" in free and "_task_results" not in bound
    needs = [
        Need(name, "use", name) if name in free and name not in bound else Need(name, "after")
        for name in dependencies
    ]
    call: Action = action
    fed: tuple[str, ...] = ()
    hungry = task._feed is not None and not any(need.param for need in needs)
    given = {*bound, "_task_results"} if wants_results else {*bound}
    if hungry and reading.wants(len(task.args), given):
        fed = tuple([f"_fed_{at}" for at in range(len(needs))])
        needs = [Need(need.node, "use", key) for need, key in zip(needs, fed, strict=True)]
    if task.args or fed or task.transform_result is not None:
        kind = AsyncCall if reading.is_async else Call
        call = kind(action, tuple(task.args), fed, task._feed == "list", task.transform_result)
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


def _smaller(one: Any, other: Any) -> Any:
    return min((value for value in (one, other) if value is not None), default=None)


def _refuse(**words: Any) -> None:
    for word, value in words.items():
        if value is not None:
            raise NotImplementedError(f"{word}= comes with the journal")
