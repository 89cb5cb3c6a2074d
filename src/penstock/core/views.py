"""Folds of a run's state into what people read. They change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .commands import WHEN
from .machine.facts import CAUSES
from .machine.judge import tolerated
from .machine.state import CANCELLED, FAILED, SKIPPED, STATUSES, SUCCEEDED, State
from .model import NOTHING, Abandoned, NodeStatus, RunStatus, Skip
from .plan import GROUP
from .result import NodeResult, RunResult


def result_of(
    state: State,
    run_id: str,
    *,
    abandoned: Sequence[Abandoned] = (),
    warnings: Sequence[str] = (),
    now: float,
) -> RunResult:
    """The result of a run as it stands."""
    nodes = _Nodes(state)
    began = state.begun.at if state.begun is not None else now
    return RunResult(
        run_id,
        RunStatus(state.finished) if state.finished else RunStatus.RUNNING,
        nodes,
        partial(_outputs, state),
        duration=now - began,
        tolerated=tuple(_tolerated(state)),
        abandoned=tuple(abandoned),
        warnings=tuple(warnings),
    )


def node_result(state: State, number: int) -> NodeResult:
    """How one node, item or group stands."""
    if state.plan.flags[state.site[number]] & GROUP:
        return _group_result(state, number)
    status = state.status[number]
    history = tuple(state.failures.get(number, ()))
    failed = status == FAILED
    skip = None
    if status == SKIPPED:
        cause, because = state.skip(number) or (0, None)
        skip = Skip(CAUSES[cause], None if because is None else str(state.path(because)))
    ran = state.token[number] > 0
    return NodeResult(
        str(state.path(number)),
        STATUSES[status],
        source=state.sources.get(number, "run") if status == SUCCEEDED else None,
        value=state.value[number] if status == SUCCEEDED and state.value[number] is not NOTHING else None,
        failure=history[-1] if failed else None,
        history=history[:-1] if failed else history,
        skip=skip,
        attempts=_attempts(state, number),
        reason=_reason(state, number),
        duration=state.took[number] if ran and STATUSES[status].ended else None,
    )


def _attempts(state: State, number: int) -> int:
    return state.token[number] - state.returned.get(number, 0)


def _reason(state: State, number: int) -> str:
    """Why a node did not succeed, in a few words; empty where there is nothing to say."""
    status = state.status[number]
    if status == FAILED:
        return str(state.failures[number][-1])
    if status != SKIPPED:
        return ""
    cause, because = state.skip(number) or (0, None)
    if cause == 2:
        if because is not None:
            return f"the run stopped: {state.path(because)} failed"
        return "the run's deadline passed" if state.expired else "the run was cancelled"
    if because is None:
        return ""
    if cause == 1:
        return f"{state.path(because)} failed"
    word = "condition" if state.answers.get((because, WHEN)) is False else "trigger"
    return f"its {word} said no" if because == number else f"the {word} of {state.path(because)} said no"


def _group_result(state: State, number: int) -> NodeResult:
    skip = None
    if state.status[number] == SKIPPED:
        cause, because = state.skip(number) or (0, None)
        skip = Skip(CAUSES[cause], None if because is None else str(state.path(because)))
    items = _Items(state, number)
    return NodeResult(
        str(state.path(number)),
        _group_status(state, number),
        source="run" if state.status[number] == SUCCEEDED else None,
        skip=skip,
        attempts=sum(_attempts(state, i) for i in items.numbers),
        reason=_reason(state, number),
        duration=sum(state.took[i] for i in items.numbers),
        items=items,
    )


def _group_status(state: State, number: int) -> NodeStatus:
    """A map succeeds when every failure in it was let pass; it is skipped when nothing of it was started."""
    if state.status[number] != SUCCEEDED:
        return STATUSES[state.status[number]]
    if not state.hold[number]:
        return NodeStatus.SUCCEEDED
    seen = {state.status[i] for i in state.items(number)}
    if FAILED in seen and not all(
        tolerated(state, i) for i in state.items(number) if state.status[i] == FAILED
    ):
        return NodeStatus.FAILED
    stopped = any(state.status[i] == SKIPPED and (state.skip(i) or (0,))[0] == 2 for i in state.items(number))
    if CANCELLED in seen or (stopped and seen != {SKIPPED}):
        return NodeStatus.CANCELLED  # some of its items were never made
    return NodeStatus.SKIPPED if seen == {SKIPPED} else NodeStatus.SUCCEEDED


def _outputs(state: State) -> dict[str, Any]:
    """Values that were kept, in the order of definition; of a mapped node the list of its successes."""
    plan = state.plan
    outputs: dict[str, Any] = {}
    for number in plan.outputs:
        if state.status[number] != SUCCEEDED:
            continue
        id = plan.nodes[number].id
        if plan.flags[number] & GROUP:
            outputs[id] = [state.value[i] for i in state.items(number) if state.status[i] == SUCCEEDED]
        else:
            outputs[id] = state.value[number]
    return outputs


def _tolerated(state: State) -> Iterator[str]:
    for number in state.failures:
        if state.status[number] == FAILED and tolerated(state, number):
            yield str(state.path(number))


class _Items(Sequence[NodeResult]):
    """The items of a mapped node, made when they are looked at: there may be a million."""

    def __init__(self, state: State, group: int) -> None:
        self._state = state
        self.numbers = list(state.items(group))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [node_result(self._state, i) for i in self.numbers[index]]
        return node_result(self._state, self.numbers[index])


class _Nodes(Mapping[str, NodeResult]):
    """Results by id, made when they are looked at."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getitem__(self, id: str) -> NodeResult:
        return node_result(self._state, self._state.plan.index[id])

    def __iter__(self) -> Iterator[str]:
        return (node.id for node in self._state.plan.graph.nodes)

    def __len__(self) -> int:
        return len(self._state.plan.nodes)

    def __repr__(self) -> str:
        shown = [repr(self[id]) for id, _ in zip(self, range(20), strict=False)]
        more = [f"and {len(self) - 20} more"] if len(self) > 20 else []
        return f"{{{', '.join(shown + more)}}}"
