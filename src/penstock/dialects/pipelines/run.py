"""One run of a pipeline, and what came of it in the words of this vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from penstock import wiring
from penstock.core.errors import PenstockError
from penstock.core.events import NodeCancelled, NodeFailed, NodeRetrying
from penstock.core.model import Failure, NodeStatus, RunOptions, RunStatus, SkipCause
from penstock.core.ports import AtOnce, Runner, RunsOn
from penstock.core.result import NodeResult, RunResult

from .context import Hooked, Shared
from .graph import Made
from .kept import Keeping, context_of, watcher
from .stages import Given, PipelineStatus, StageResult, StageStatus, moment


class Settings(NamedTuple):
    """How a run goes.

    Attributes:
        workers: How many stages run at the same time.
        fail_fast: Whether it stops at a failure.
        jitter: Whether waits are spread.
        runner, options: As of `Flow.run`.
        keeping: How it is kept; None where it is not.
    """

    workers: int
    fail_fast: bool
    jitter: bool = False
    runner: RunsOn = None
    options: RunOptions | None = None
    keeping: Keeping | None = None

    def for_children(self, workers: int, fail_fast: bool) -> Settings:
        """The same for a run inside a stage."""
        runner = None if isinstance(self.runner, Runner) else self.runner
        options = self.options and _but(self.options, observers=(), deadline=None, rerun=())
        return Settings(workers, fail_fast, self.jitter, runner, options)


class Run:
    """One run.

    Args:
        made: What runs.
        context: What its stages find in their context at the beginning.
        settings: How it goes.

    Attributes:
        graph: What runs.
        is_in_order: Its stages were added in the order of their dependencies.
        context: What its stages share.
    """

    def __init__(self, made: Made, context: Given, settings: Settings) -> None:
        self.graph = made.graph
        self.is_in_order = made.is_in_order
        self.context = Shared(context, made.ids, made.graph, settings)
        self.context.hooked = {id: Hooked() for id in made.hooked}
        self._settings = settings
        self._hooked = made.hooked
        self._prepared: wiring.Prepared | None = None
        self._text: Callable[[Any], str] = str

    def run(self, targets: Sequence[str] | None = None) -> RunResult:
        """Runs to the end."""
        return wiring.run_prepared(self._prepare(targets))

    async def arun(self) -> RunResult:
        """The same on the running loop."""
        return await self._prepare(None).arun()

    def answer(self, gate: str, value: Any) -> None:
        """Answers a gate.

        Raises:
            InputError: There is none of this id, or it takes another kind of answer.
        """
        if self._prepared is not None:
            self._prepared.engine.answer(gate, value)

    def _prepare(self, targets: Sequence[str] | None) -> wiring.Prepared:
        workers, fail_fast, _, runner, options, keeping = self._settings
        if runner is None or runner == "threads":
            runner = wiring.threads(workers) if workers > 1 else runner
        if options is None:
            options = RunOptions()
        if isinstance(options, RunOptions):  # anything else is refused by wiring
            observers = (AtOnce(self.observe), *options.observers) if self._hooked else options.observers
            at_once = min(workers, options.max_concurrency or workers)
            on_failure = "drain" if fail_fast else "continue"
            options = _but(options, on_failure=on_failure, observers=observers, max_concurrency=at_once)
        kept = {} if keeping is None else keeping.how()
        self._prepared = prepared = wiring.prepared(
            self.graph,
            {},
            targets=targets,
            runner=runner,
            options=options,
            shared=cast(Any, self.context),
            **kept,
        )
        self.context.outputs.follow(prepared)
        if prepared.engine.durable is not None:
            self._text = wiring.texts(self.graph)
            self.context.keep(context_of(prepared.inputs), watcher(self._text), self._parting)
        return prepared

    def _parting(self, id: str, failure: Failure) -> dict[str, Given]:
        """What a stage has written that is about to fail: its hook is called now, if that is not done."""
        if id not in self._hooked:
            return {}
        self._hooked[id].give_up(self.context, _text(failure))
        state = self.context.hooked[id]
        for key, value in list(state.last_words.items()):
            try:
                self._text(value)
            except PenstockError as error:
                del state.last_words[key]
                self.context.warnings[
                    f"what on_failure of {id!r} wrote into context[{key!r}] is lost: {error}"
                ] = None
        return {id: state.last_words} if state.last_words else {}

    def observe(self, event: Any) -> None:
        """Calls the hooks of a stage whose last attempt did not come back to call them itself."""
        if type(event) in (NodeFailed, NodeRetrying, NodeCancelled) and event.path.node in self._hooked:
            id = event.path.node
            self.context.hooked[id].over += 1
            if type(event) is NodeFailed:
                self._hooked[id].give_up(self.context, _text(event.failure))
                self.context.take(id, self.context.hooked[id].last_words)


def stage_results(nodes: Iterable[NodeResult]) -> list[StageResult]:
    """How stages ended."""
    found: list[StageResult] = []
    succeeded, good, at, tz = NodeStatus.SUCCEEDED, StageStatus.SUCCESS, datetime.fromtimestamp, UTC
    end, over = at(0, tz), None
    for node in nodes:
        id, status, _, value, _, _, _, _, _, _, _, began, ended = node
        if status is succeeded and began is not None and ended is not None:
            start = end if began == over else at(began, tz)  # many a stage follows another at once
            over, end = ended, at(ended, tz)
            found.append(StageResult(id, good, value, None, start, end))
        else:
            found.append(stage_result(node))
    return found


def stage_result(node: NodeResult) -> StageResult:
    """How a stage ended, in the words of this vocabulary."""
    id, status, _, value, failure, _, skip, _, _, _, reason, began, ended = node
    if status is NodeStatus.SUCCEEDED:
        return StageResult(id, StageStatus.SUCCESS, value, None, moment(began), moment(ended))
    error, shown_as = None, _STAGE[status]
    if skip is not None:
        if skip.cause is SkipCause.UPSTREAM:
            error = "Dependencies not satisfied"
        elif skip.cause is SkipCause.STOPPED:
            shown_as, error = StageStatus.CANCELLED, reason
    elif failure is not None:
        error = _text(failure)
    elif shown_as is StageStatus.CANCELLED:
        error = reason or "cancelled while it ran"
    return StageResult(id, shown_as, None, error, moment(began), moment(ended))


_STAGE = dict.fromkeys(NodeStatus, StageStatus.PENDING)  # READY and WAITING too
_STAGE |= {each: StageStatus[each.name] for each in NodeStatus if each.name in StageStatus.__members__}
_STAGE |= {NodeStatus.SUCCEEDED: StageStatus.SUCCESS, NodeStatus.RETRYING: StageStatus.RUNNING}


def _but(options: RunOptions, **changes: Any) -> RunOptions:
    return RunOptions(**{name: getattr(options, name) for name in RunOptions._fields} | changes)


def _text(failure: Failure) -> str:
    return failure.text or failure.type


def left_out(node: NodeResult) -> bool:
    """Whether a condition said no."""
    return node.skip is not None and node.skip.cause is SkipCause.CONDITION


_PIPELINE = {
    RunStatus.SUCCEEDED: PipelineStatus.SUCCESS,
    RunStatus.FAILED: PipelineStatus.FAILED,
    RunStatus.CANCELLED: PipelineStatus.CANCELLED,
}


def status_of(result: RunResult | None) -> PipelineStatus:
    return (
        PipelineStatus.CANCELLED if result is None else _PIPELINE.get(result.status, PipelineStatus.RUNNING)
    )
