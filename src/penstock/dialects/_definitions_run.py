"""What the stages of one execution share: results so far, and what they have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.core.context import Context
from penstock.core.events import NodeSucceeded

from ._definitions_context import Overlay, PipelineContext, is_set
from ._definitions_stages import StageDefinition
from ._review import Misused, StageFailed, StageResult


class Done(NamedTuple):
    """The value of a node.

    Attributes:
        result: What the stage has given.
        writes: What it has written into the state and the metrics, where it has.
    """

    result: StageResult[Any]
    writes: tuple[Overlay | None, Overlay | None] | None = None


class Run:
    """What the stages of one execution share.

    Attributes:
        done: What has succeeded, by id.
        took: Seconds of the successful attempts of a node, by its id.
        ids: Of the nodes of each stage; the last one gives its value.
        failed: The latest failure that a stage has returned, by id.
        warnings: What changes nothing but should be known.
        cancel: Stops the run; does nothing before there is one.
    """

    def __init__(self, stages: Sequence[StageDefinition], context: PipelineContext) -> None:
        self.context = context
        self._kind = type(context)
        self._services = {
            name: one for name, one in vars(context).items() if name not in ("state", "metrics")
        }
        self._services["_base"] = context
        self.done: dict[str, Done] = {}
        self.took: dict[str, float] = {}
        self.ids: dict[str, tuple[str, ...]] = {}
        self.failed: dict[str, StageResult[Any]] = {}
        self.warnings: list[str] = []
        self.cancel: Callable[[str], None] = lambda reason: None
        self._stages = {stage.id: stage for stage in stages}
        self._above: dict[str, set[str]] = {}
        self._committed: set[str] = set()
        self._writers: dict[tuple[str, str], str] = {}

    def view(self, attempt: Context | None = None) -> PipelineContext:
        """The context as one attempt has it."""
        view = object.__new__(self._kind)
        own = view.__dict__
        own.update(self._services)
        if attempt is not None:
            own["_attempt"] = attempt
        return view

    def ended(self, stage: StageDefinition, result: Any, view: PipelineContext) -> Done:
        """The value of an attempt.

        Raises:
            StageFailed: The stage says that it failed.
            TypeError: It has given something else than a result, or an output of the wrong type.
        """
        if not isinstance(result, StageResult):
            if hasattr(result, "__await__"):
                getattr(result, "close", bool)()  # or Python warns, later and elsewhere, of no await
                raise Misused(f"stage '{stage.id}' returned an awaitable; write 'async def execute'")
            raise Misused(
                f"stage '{stage.id}' returned {type(result).__name__}, not a StageResult; "
                "return StageResult.success(...)"
            )
        if result.error is not None:
            self.failed[stage.id] = result
            raise StageFailed(result.error)
        if stage.output_type is not None and "skipped" not in result.metadata:
            check(stage, "gave", result.output, stage.output_type)
        own = view.__dict__
        if "state" in own or "metrics" in own:
            return Done(result, (own.get("state"), own.get("metrics")))
        return Done(result)

    def commit(self, id: str, done: Done) -> None:
        """Merges what a stage has written into the caller's context, once."""
        if done.writes is None or id in self._committed:
            return
        self._committed.add(id)
        for what, overlay in zip(("state", "metrics"), done.writes, strict=True):
            if overlay is None:
                continue
            overlay.apply(getattr(self.context, what))
            for key in overlay.own:
                before = self._writers.get((what, key), id)
                self._writers[what, key] = id
                if before != id and before not in self._ancestors(id):
                    self.warn_of_two(what, key, f"stages '{before}' and '{id}'")

    def restore(self, done: Mapping[str, Done], *, anew: bool) -> None:
        """Takes over what an earlier execution has kept, with what it has written if that is not there."""
        for id, one in done.items():
            if anew:
                self.commit(id, one)
            self._committed.add(id)

    def warn_of_two(self, what: str, key: str, who: str) -> None:
        self.warnings.append(
            f"{who} both set {what}[{key!r}], and neither comes after the other: the last wins"
        )

    def _ancestors(self, id: str) -> set[str]:
        if id not in self._above:
            todo = [id]
            found = self._above[id] = set()
            while todo:
                new = set(self._stages[todo.pop()].inputs) - found
                found |= new
                todo += new
        return self._above[id]

    def observe(self, event: Any) -> None:
        """Commits what has succeeded, before anything can start that follows it."""
        if type(event) is NodeSucceeded:
            path, _, value, _, _, began, ended = event
            self.took[path.node] = self.took.get(path.node, 0.0) + ended - began
            if path.node in self._stages:
                self.done[path.node] = value
                if value.writes is not None:
                    self.commit(path.node, value)
        if self.context.cancel_token is not None:
            self.look()

    def look(self) -> None:
        """Stops the run if the cancel token says so."""
        if is_set(self.context.cancel_token):
            self.cancel("the cancel token is set")


def check(stage: StageDefinition, verb: str, value: Any, wanted: Any) -> None:
    if not isinstance(value, wanted):
        name = getattr(wanted, "__name__", wanted)
        raise Misused(f"stage '{stage.id}' {verb} {type(value).__name__}, and its definition says {name}")
