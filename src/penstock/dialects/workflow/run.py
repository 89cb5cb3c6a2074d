"""One run of a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock import wiring
from penstock.core.graph import Graph
from penstock.core.model import RunOptions
from penstock.core.ports import AtOnce, RunsOn

from .errors import WorkflowError
from .tasks import NEVER, Results, Task
from .view import Progress, ResultsSoFar, Teller, View

_GRACE = 0.25
"""Seconds for running tasks to end when the workflow's time is over, if no options say anything else."""


class How(NamedTuple):
    """How a workflow runs.

    Attributes:
        name, timeout, fail_fast, progress_callback, max_concurrent: As of `Workflow`.
        is_brief: Nobody has said what grace there is.
    """

    name: str
    timeout: float | None
    fail_fast: bool
    progress_callback: Progress | None
    max_concurrent: int | None
    is_brief: bool


class Run:
    """One run of a workflow.

    Args:
        graph: What runs.
        tasks: By name.
        how: How it runs.
        runner, options: As of `Flow.run`.
        kept: `targets`, `store`, `run_id` and `target`, as of `wiring.prepared`.

    Attributes:
        tasks: As given; the workflow may get more meanwhile.
        view: What becomes of them.
        results: Those that have ended; plain and complete once the run has.
        prepared: The engine's part of it.
    """

    def __init__(
        self, graph: Graph, tasks: Mapping[str, Task], how: How, runner: RunsOn,
        options: RunOptions | None, kept: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.tasks = dict(tasks)
        self.view = View(self.tasks, fail_fast=how.fail_fast)
        self.results: Results = ResultsSoFar(self.view)
        if options is None or isinstance(options, RunOptions):
            options = self._options(how, options)
        self.prepared = wiring.prepared(
            graph, {}, runner=runner, options=options, shared=self.results, **kept
        )
        self.view.nodes, self.view.ended = self.prepared.result().nodes, self.prepared.ended()
        self.view.is_late = self.prepared.is_late

    def _options(self, how: How, options: RunOptions | None) -> RunOptions:
        given = options or RunOptions()
        fields: dict[str, Any] = {name: getattr(given, name) for name in given.__match_args__}
        fields["on_failure"] = "drain" if how.fail_fast else "continue"
        self.view.deadline = fields["deadline"] = _smaller(given.deadline, how.timeout)
        if how.timeout is not None and how.is_brief:
            fields["grace"] = _GRACE
        fields["max_concurrency"] = _smaller(given.max_concurrency, how.max_concurrent)
        if how.progress_callback is not None:
            teller = Teller(how.name, self.tasks, self.view, how.progress_callback)
            fields["observers"] = (AtOnce(teller), *given.observers)
        return RunOptions(**fields)

    def ended(self) -> None:
        """Puts down what has become of the tasks."""
        of, nodes = self.view.of, self.view.nodes
        found: Results = {}
        if len(nodes) < len(self.tasks):  # a part of it was run
            for task in self.tasks.values():
                task._seen, task._live = NEVER, None
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


def _smaller(one: Any, other: Any) -> Any:
    return min((value for value in (one, other) if value is not None), default=None)
