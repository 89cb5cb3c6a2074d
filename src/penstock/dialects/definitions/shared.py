"""What the stages of one execution share: the caller's context, and what they have written into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from penstock.core.context import Context
from penstock.core.returned import Written
from penstock.core.watch import Known, Watch

from .context import Overlay, PipelineContext, Writes, is_set, merge
from .results import Misused, StageFailed, StageResult, unbound
from .stages import StageDefinition

Done = tuple[StageResult[Any], Writes | None]
"""One item of a fan-out: what the stage has given for it, and what it has written, which counts when all of
them have succeeded."""

_ADDED = "_added"
"""Where a context notes what was added to its metrics, by run and stage: a run that goes on adds it once."""

_NO_SERVICES = ("state", "metrics", _ADDED)


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
        run_id: Of the run, where it is kept; None where it is not.
    """

    def __init__(self, stages: Sequence[StageDefinition], context: PipelineContext) -> None:
        self.context = context
        self._kind = type(context)
        self._services = {name: one for name, one in vars(context).items() if name not in _NO_SERVICES}
        self._services["_base"] = context
        self.failed: dict[str, StageResult[Any]] = {}
        self.writes: dict[str, Writes] = {}
        self.warnings: list[str] = []
        self.cancel: Callable[[str], None] = lambda reason: None
        self._stages = stages
        self._above: dict[str, set[str]] = {}
        self._writers: dict[tuple[str, str], str] = {}
        self.run_id: str | None = None
        self._text: Callable[[Any], str] | None = None
        self._known: tuple[Known, Known] = ({}, {})

    def keep(self, run_id: str | None, text: Callable[[Any], str]) -> None:
        """The run is kept in a store: what its attempts read is watched.

        Args:
            run_id: Of the run; None if it is not known yet.
            text: The text of a value, as the store would have it.
        """
        self.run_id, self._text = run_id, text

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process goes what a stage can see, and of that nothing comes back.
        seen = {name: one for name, one in vars(self.context).items() if name != _ADDED}
        return _elsewhere, (self._kind, {**seen, "cancel_token": None})

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self  # a context is services, and a copy of a service is another one

    def view(self, attempt: Context | None = None) -> PipelineContext:
        """The context as one attempt has it."""
        view = object.__new__(self._kind)
        own = view.__dict__
        own.update(self._services)
        if attempt is not None:
            own["_attempt"] = attempt
        if self._text is not None:
            state, metrics = self._known
            own["_watches"] = {"state": Watch(self._text, state), "metrics": Watch(self._text, metrics)}
        return view

    def update(self, writes: Mapping[str, Writes]) -> None:
        """Merges what a stage has written into the caller's context, now that it has succeeded."""
        self.writes.update(writes)
        for id, mine in writes.items():
            new = mine if self.run_id is None else self._not_added_yet(id, mine)
            for what, key, why in merge(new, self.context.state, self.context.metrics):
                self.warnings.append(f"what stage '{id}' wrote into {what}[{key!r}] is lost: {why}")
            for what in ("state", "metrics"):
                for key in mine.get(what, ()):
                    before = self._writers.get((what, key), id)
                    self._writers[what, key] = id
                    if before != id and before not in self._ancestors(id):
                        self.warn_of_two(what, key, f"stages '{before}' and '{id}'")

    def _not_added_yet(self, id: str, writes: Writes) -> Writes:
        """What was written, without what the context has had added already: by this stage, when the run was
        driven before."""
        noted = vars(self.context).setdefault(_ADDED, {})
        before = noted.get((self.run_id, id), {})
        noted[self.run_id, id] = added = writes.get("added", {})
        if not before:
            return writes
        left = {**added}
        for key in before.keys() & added.keys():
            with suppress(Exception):  # amounts may be somebody's own
                left[key] = added[key] - before[key]
        return {**writes, "added": left}

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


def written(state: Any, metrics: Any) -> Writes | None:
    """What was written into state and metrics, if they were touched at all."""
    found: Writes = {}
    if isinstance(state, Overlay) and (own := state.written()):
        found["state"] = own
    if isinstance(metrics, Overlay):
        if own := metrics.written():
            found["metrics"] = own
        if metrics.added:
            found["added"] = metrics.added
    return found or None


def _written(view: PipelineContext) -> Writes | None:
    """What an attempt has written into its view."""
    own = view.__dict__
    if "state" in own or "metrics" in own:
        return written(own.get("state"), own.get("metrics"))
    return None


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
    good = _good(stage, run, result)
    writes = _written(view)
    return good if writes is None else Written(good, {stage.id: writes})


def item_ended(stage: StageDefinition, run: Run, result: Any, view: PipelineContext) -> Done:
    """The same of one item of a fan-out."""
    return _good(stage, run, result), _written(view)


def _good(stage: StageDefinition, run: Run, result: Any) -> StageResult[Any]:
    good = checked(stage, run, result)
    return good if run.run_id is None else unbound(good)


def joined(stage: StageDefinition, run: Run, results: Sequence[Done]) -> Any:
    """The same of a fan-out, of which all items have succeeded. What they wrote counts in their order."""
    state, metrics = Overlay(run.context.state), Overlay(run.context.metrics)
    for _, mine in results:
        for what, overlay in (("state", state), ("metrics", metrics)):
            for key in overlay.own.keys() & (mine or {}).get(what, {}).keys():
                run.warn_of_two(what, key, f"items of stage '{stage.id}'")
        merge(mine or {}, state, metrics)
    metadata: dict[str, Any] = {"items": len(results)}
    said = [(at, result.metadata.get("soft_fail")) for at, (result, _) in enumerate(results)]
    if any(reason is not None for _, reason in said):
        metadata["soft_fail"] = "; ".join(f"[{at}] {why}" for at, why in said if why is not None)
    outputs = [result.output for result, _ in results]
    made: StageResult[Any] = StageResult(output=outputs, metadata=metadata)
    writes = written(state, metrics)
    return made if writes is None else Written(made, {stage.id: writes})


def check(stage: StageDefinition, verb: str, value: Any, wanted: Any) -> None:
    if not isinstance(value, wanted):
        name = getattr(wanted, "__name__", wanted)
        raise Misused(f"stage '{stage.id}' {verb} {type(value).__name__}, and its definition says {name}")
