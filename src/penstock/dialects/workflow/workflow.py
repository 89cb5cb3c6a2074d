"""Workflows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from threading import Lock
from typing import Any, Unpack

from penstock import wiring
from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.errors import InputError, nearest
from penstock.core.gate import Gate
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Input, RunOptions
from penstock.core.names import normal_id
from penstock.core.ports import RunsOn
from penstock.core.result import RunResult
from penstock.core.storage import StoreWord

from .actions import Action, is_async_function
from .errors import InvalidWorkflow, TaskFailedError, WorkflowError
from .graph import TaskGraph
from .run import How, Run
from .tasks import GateOptions, Results, Task, TaskOptions, TaskResult, TaskStatus
from .view import FAILED_ABOVE, Progress


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
        if not isinstance(fail_fast, bool):
            raise TypeError(f"{where}: fail_fast is True or False, not {shown(fail_fast)}")
        self.timeout = timeout
        self.fail_fast = fail_fast
        self.progress_callback = progress_callback
        self.max_concurrent = max_concurrent
        self.tasks: dict[str, Task] = {}
        self.task_results: Results = {}
        self._elapsed = 0.0
        self._last: RunResult | None = None
        self._graph = TaskGraph()
        self._current: Run | None = None
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
            raise InvalidWorkflow(f"Task {task.name!r} already exists in workflow.")
        self.tasks[task.name] = task
        return self

    def add_gate(
        self, name: str, prompt: str = "", dependencies: Collection[str] = (), *, type: Any = bool,
        timeout: float | None = None, default: Any = NOTHING, **options: Unpack[GateOptions],
    ) -> Workflow:  # fmt: skip
        """Adds a task that calls nothing, and waits until somebody has answered; its value is the answer.

        It is answered by `answer`, by ``penstock approve``, or through `penstock.open`. With a store, a run
        that waits for nothing else is put down, its task stays PENDING, and it goes on when it is resumed.

        Args:
            name: Of the task.
            prompt: What is asked.
            dependencies: Names of the tasks that must complete first.
            type: What an answer must be: a class such as bool or str, or a `Literal`.
            timeout: Seconds that it waits; then it fails, or gives `default`. None for as long as it takes.
            default: The answer when its time is over.
            options: `condition`, `tags` and `metadata`, as of `Task`.

        Returns:
            The workflow itself.

        Raises:
            WorkflowError: There is a task of this name.
            TypeError: A value is of the wrong type.
            ValueError: The timeout is out of range, or the default no answer.
        """
        for word in options:
            if word not in GateOptions.__optional_keys__:
                raise TypeError(f"Task {name!r}: a gate has no option {word!r}")
        gate = Gate(f"Task {name!r}", prompt, type, timeout, default)
        return self.add(Task(name, gate, dependencies=dependencies, timeout=timeout, **options))

    def validate(self) -> None:
        """Whether the tasks fit together.

        Raises:
            WorkflowError: One depends on a task that is not there.
            CycleError: Their dependencies run in a circle.
        """
        self.graph()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        return wiring.pictured(self, self.graph)

    def graph(self) -> Graph:
        """The graph as it would run now; raises as `validate` does."""
        return self._graph.of(self.name, self.tasks)

    def run(
        self,
        *,
        store: StoreWord = None,
        run_id: str | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
    ) -> Results:
        """Runs all tasks and waits for their end, inside a running event loop too.

        Args:
            store: Where the run is kept, as of `Flow.run`.
            run_id: Its id: a run that the store knows goes on from where it was.
            runner: Where tasks run: ``threads``, ``processes``, …, a runner or a pool.
            options: How the run goes beyond that. `fail_fast` decides what follows a failure; of two bounds
                in time or number the smaller one holds.

        Returns:
            The result of every task, also of those that were never started.

        Raises:
            WorkflowError: The tasks do not fit together, the workflow runs already, or its time was over.
            StoreError: The store cannot be used; the run was cut off, and can be resumed.
        """
        run = self._begin(runner, options, {"store": store, "run_id": run_id})
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
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **kept: Any,
    ) -> RunResult:
        """Runs it for the command line. A workflow takes no inputs; what a run that is late has come to is
        in the result, and not raised.

        Raises:
            InputError: An input was given, or there is no such target.
        """
        if inputs:
            raise InputError(f"workflow {self.name!r} takes no input {next(iter(inputs))!r}; it takes none")
        run = self._begin(runner, options, {"targets": targets, **kept}, from_outside=True)
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
        store: StoreWord = None,
        run_id: str | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
    ) -> Results:
        """The same as `run` on the running event loop. A cancelled caller cancels the run."""
        run = self._begin(runner, options, {"store": store, "run_id": run_id})
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

    def answer(self, name: str, value: Any) -> None:
        """Answers a gate of the run that is under way; from any thread. It may not be open yet.

        Raises:
            InputError: No run is under way, there is no such gate, or it takes another kind of answer.
        """
        run = self._current
        if run is None:
            raise InputError(
                f"workflow {self.name!r} does not run; penstock approve answers one that is put down"
            )
        run.prepared.engine.answer(name, value)

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

    def report(self, path: str | PathLike[str]) -> None:
        """Writes the run report of the last run: one HTML file that needs nothing else.

        Raises:
            OSError: It cannot be written.
            StoreError: The run's store cannot be read.
            WorkflowError: There was no run yet.
        """
        if self._last is None:
            raise WorkflowError(f"there is nothing to report yet: workflow {self.name!r} has not run")
        self._last.report(path)

    def raise_for_failure(self) -> None:
        """Returns if no task of the last run failed.

        Raises:
            TaskFailedError: One did: the first, in the order in which they were added.
        """
        for name, task in self.tasks.items():
            if task.status is TaskStatus.FAILED:
                raise TaskFailedError(name, task.get_result())

    def _begin(
        self,
        runner: RunsOn,
        options: RunOptions | None,
        kept: Mapping[str, Any],
        *,
        from_outside: bool = False,
    ) -> Run:
        # From outside, by the command line, options come always, and nobody can give a grace there.
        brief = options is None or (from_outside and options.grace == RunOptions().grace)
        how = How(self.name, self.timeout, self.fail_fast, self.progress_callback, self.max_concurrent, brief)
        graph = self.graph()
        with self._lock:
            if self._current is not None:
                raise WorkflowError(f"Workflow {self.name!r} is already running")
            run = self._current = Run(graph, self.tasks, how, runner, options, kept)
        live = run.view.task
        for task in run.tasks.values():
            task._live = live
        self.task_results = run.results
        return run

    def _end(self, run: Run) -> None:
        run.ended()
        self.task_results = run.results
        self._last = run.prepared.result()
        self._elapsed = self._last.duration
        self._current = None
