"""A pipeline, defined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock import wiring
from penstock.core.amounts import shown
from penstock.core.errors import CycleError, GraphError, InputError, nearest
from penstock.core.failures import said_by
from penstock.core.graph import Graph
from penstock.core.model import Input, Need, Node, RunOptions
from penstock.core.ports import RunsOn
from penstock.core.record import Record
from penstock.core.result import RunResult

from .context import PipelineContext
from .execution import Execution
from .graph import Made, made_of
from .stages import StageDefinition


class _Kept:
    """A place for the graph of a definition."""

    __slots__ = ("_made",)
    _made: Made


class PipelineDefinition(_Kept, Record):
    """A pipeline: a name and stages. It is only run by a `PipelineExecutor`.

    Attributes:
        name: What people call it.
        stages: In any order.
        description: One line for people.
        fail_fast: There is no other way; False is a message of `validate`.
    """

    name: str
    stages: Sequence[StageDefinition]
    description: str | None = None
    fail_fast: bool = True

    def __post_init__(self) -> None:
        given, label = self.stages, f"pipeline {self.name!r}"
        stages = () if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable) else tuple(given)
        if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
            raise TypeError(f"{label}: stages is a list of StageDefinition, not {shown(given)}")
        for one in stages:
            if not isinstance(one, StageDefinition):
                raise TypeError(f"{label}: stages is a list of StageDefinition, and {shown(one)} is none")
        self._settle("stages", stages)
        if self.description is not None and not isinstance(self.description, str):
            raise TypeError(f"{label}: description is a text, not {shown(self.description)}")

    def validate(self) -> list[str]:
        """What is wrong with it, a message each; empty if it can run."""
        if hasattr(self, "_made"):  # it has been looked at before, and cannot be changed
            return []
        found = self._wrong()
        known: dict[str, StageDefinition] = {}
        for stage in self.stages:
            known.setdefault(stage.id, stage)
        edges = {
            id: tuple([Need(one) for one in dict.fromkeys(stage.inputs) if one in known and one != id])
            for id, stage in known.items()
        }
        try:
            Graph(self.name, [Node(id, bool, needs) for id, needs in edges.items()])
        except CycleError as error:
            found.append(f"Circular dependency detected: {' -> '.join(error.cycle)}")
        except GraphError as error:
            found.append(str(error))
        if self.stages and all(stage.inputs for stage in self.stages):
            found.append("No entry point: every stage has inputs")
        return found

    def _wrong(self) -> list[str]:
        """What can be told of each stage by itself."""
        ids = [stage.id for stage in self.stages]
        known = set(ids)
        found = [] if ids else ["No entry point: there are no stages"]
        twice = [id for id in dict.fromkeys(ids) if ids.count(id) > 1] if len(known) < len(ids) else []
        found += [f"Duplicate stage id '{id}'" for id in twice]
        for stage in self.stages:
            for one in stage.inputs:
                if one not in known:
                    near = nearest(one, known)
                    found.append(f"Stage '{stage.id}' depends on unknown stage '{one}'{near}")
            if stage.id in stage.inputs:
                found.append(f"Circular dependency detected: {stage.id} -> {stage.id}")
            if len(set(stage.inputs)) < len(stage.inputs):
                found.append(f"Stage '{stage.id}' names one of its inputs twice")
            try:
                method = getattr(stage.stage, "execute", None)
            except Exception as error:
                found.append(f"Stage '{stage.id}': its execute cannot be had: {said_by(error)}")
                continue
            if not callable(method):
                found.append(f"Stage '{stage.id}' has no method execute(input, context): {stage.stage!r}")
        if self.fail_fast is not True:
            found.append(
                f"fail_fast={self.fail_fast!r}: a pipeline always stops at a failure, "
                "so that nothing is half done"
            )
        return found

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        return wiring.pictured(self, self.graph)

    def graph(self) -> Graph:
        """Its graph, to look at.

        Raises:
            GraphError: It is not valid.
        """
        wrong = self._wrong()
        if wrong:
            raise GraphError("\n".join(wrong))
        return self._graph().graph

    def _graph(self) -> Made:
        """Its graph, made once.

        Raises:
            GraphError: It has none.
        """
        if not hasattr(self, "_made"):
            self._settle("_made", made_of(self.name, self.stages))
        return self._made

    def to_mermaid(self) -> str:
        """Its graph as Mermaid source.

        Raises:
            GraphError: It is not valid.
        """
        return wiring.drawing(self.graph(), "mermaid")

    def inputs(self) -> Sequence[Input]:
        """The inputs of a run by the command line: ``input``, and ``context``, a `PipelineContext`."""
        return [Input("input", default=None), Input("context", PipelineContext, None)]

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **kept: Any,
    ) -> RunResult:
        """Runs it for the command line.

        Raises:
            InputError: There is no such input, or it is of the wrong type.
        """
        for name in inputs:
            if name not in ("input", "context"):
                raise InputError(f"pipeline {self.name!r} takes no input {name!r}; it takes input, context")
        context = inputs.get("context")
        if context is not None and not isinstance(context, PipelineContext):
            raise InputError(f"context is a PipelineContext, not {type(context).__name__}")
        self.graph()
        execution = Execution(self.stages, self._graph(), inputs.get("input"), context or PipelineContext())
        execution.prepare({}, runner, options, targets=targets, **kept)
        return execution.run()
