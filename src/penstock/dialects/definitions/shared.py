"""What the stages of one execution share: the caller's context, and what they have written into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.core.context import Context
from penstock.core.returned import Written

from .context import Overlay, PipelineContext, is_set
from .results import Misused, StageFailed, StageResult
from .stages import StageDefinition

Overlays = tuple[Overlay | None, Overlay | None]
"""What was written into the state, and into the metrics."""


class Done(NamedTuple):
    """One item of a fan-out.

    Attributes:
        result: What the stage has given for it.
        writes: What it has written; it counts when all items have succeeded.
    """

    result: StageResult[Any]
    writes: Overlays | None


class Run:
    """What the stages of one execution share.

    Args:
        stages: Of the pipeline.
        context: The caller's.

    Attributes:
        context: As given.
        failed: The latest failure that a stage has returned, by id.
        writes: What each stage has written, by id, in the order in which it came to count.
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
        self.failed: dict[str, StageResult[Any]] = {}
        self.writes: dict[str, Overlays] = {}
        self.warnings: list[str] = []
        self.cancel: Callable[[str], None] = lambda reason: None
        self._stages = stages
        self._above: dict[str, set[str]] = {}
        self._writers: dict[tuple[str, str], str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process goes what a stage can see, and of that nothing comes back.
        return _elsewhere, (self._kind, {**vars(self.context), "cancel_token": None})

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self  # a context is services, and a copy of a service is another one

    def view(self, attempt: Context | None = None) -> PipelineContext:
        """The context as one attempt has it."""
        view = object.__new__(self._kind)
        own = view.__dict__
        own.update(self._services)
        if attempt is not None:
            own["_attempt"] = attempt
        return view

    def update(self, writes: Mapping[str, Overlays]) -> None:
        """Merges what a stage has written into the caller's context, now that it has succeeded."""
        self.writes.update(writes)
        for id, overlays in writes.items():
            for what, overlay in zip(("state", "metrics"), overlays, strict=True):
                if overlay is None:
                    continue
                target = getattr(self.context, what)
                for key, why in overlay.apply(target).items():
                    self.warnings.append(f"what stage '{id}' wrote into {what}[{key!r}] is lost: {why}")
                for key in overlay.own:
                    before = self._writers.get((what, key), id)
                    self._writers[what, key] = id
                    if before != id and before not in self._ancestors(id):
                        self.warn_of_two(what, key, f"stages '{before}' and '{id}'")

    def take_over(self, earlier: Run) -> None:
        """What an earlier execution has written counts here too; it is there already in the same context."""
        if earlier.context is self.context:
            self.writes.update(earlier.writes)
        else:
            self.update(earlier.writes)

    def warn_of_two(self, what: str, key: str, who: str) -> None:
        self.warnings.append(
            f"{who} both set {what}[{key!r}], and neither comes after the other: the last wins"
        )

    def _ancestors(self, id: str) -> set[str]:
        if id not in self._above:
            inputs = {stage.id: stage.inputs for stage in self._stages}
            todo = [id]
            found = self._above[id] = set()
            while todo:
                new = set(inputs[todo.pop()]) - found
                found |= new
                todo += new
        return self._above[id]

    def look(self, _: object = None) -> None:
        """Stops the run if the cancel token says so."""
        if is_set(self.context.cancel_token):
            self.cancel("the cancel token is set")


def _elsewhere(kind: type[PipelineContext], services: dict[str, Any]) -> Run:
    context = object.__new__(kind)
    context.__dict__.update(services)
    return Run((), context)


def written(view: PipelineContext) -> Overlays | None:
    """What an attempt has written into its view, if it has touched that at all."""
    own = view.__dict__
    return (own.get("state"), own.get("metrics")) if "state" in own or "metrics" in own else None


def checked(stage: StageDefinition, run: Run, result: Any) -> StageResult[Any]:
    """The result of an attempt, if it is a good one.

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
        run.failed[stage.id] = result
        raise StageFailed(result.error)
    if stage.output_type is not None and "skipped" not in result.metadata:
        check(stage, "gave", result.output, stage.output_type)
    return result


def ended(stage: StageDefinition, run: Run, result: Any, view: PipelineContext) -> Any:
    """What the node of a stage hands back after an attempt."""
    good = checked(stage, run, result)
    writes = written(view)
    return good if writes is None else Written(good, {stage.id: writes})


def item_ended(stage: StageDefinition, run: Run, result: Any, view: PipelineContext) -> Done:
    """The same of one item of a fan-out."""
    return Done(checked(stage, run, result), written(view))


def joined(stage: StageDefinition, run: Run, results: Sequence[Done]) -> Any:
    """The same of a fan-out, of which all items have succeeded. What they wrote counts in their order."""
    whole = Overlay(run.context.state), Overlay(run.context.metrics)
    for done in results:
        for what, overlay, mine in zip(("state", "metrics"), whole, done.writes or (None, None), strict=True):
            if mine is not None:
                for key in overlay.own.keys() & mine.own.keys():
                    run.warn_of_two(what, key, f"items of stage '{stage.id}'")
                mine.apply(overlay)
    metadata: dict[str, Any] = {"items": len(results)}
    said = [(at, done.result.metadata.get("soft_fail")) for at, done in enumerate(results)]
    if any(reason is not None for _, reason in said):
        metadata["soft_fail"] = "; ".join(f"[{at}] {why}" for at, why in said if why is not None)
    outputs = [done.result.output for done in results]
    made: StageResult[Any] = StageResult(output=outputs, metadata=metadata)
    return Written(made, {stage.id: whole}) if any(done.writes for done in results) else made


def check(stage: StageDefinition, verb: str, value: Any, wanted: Any) -> None:
    if not isinstance(value, wanted):
        name = getattr(wanted, "__name__", wanted)
        raise Misused(f"stage '{stage.id}' {verb} {type(value).__name__}, and its definition says {name}")
