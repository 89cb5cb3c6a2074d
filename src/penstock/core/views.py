"""Folds of a run's state into what people read. They change nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, ValuesView
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any, Final

from .commands import WHEN
from .machine.facts import CAUSES
from .machine.judge import quorum_holds, tolerated
from .machine.state import CANCELLED, FAILED, SKIPPED, STATUSES, SUCCEEDED, State
from .model import NOTHING, Abandoned, NodeStatus, RunStatus, Skip
from .plan import GROUP
from .result import NodeResult, RunResult
from .returned import Away

_SHOWN = 20
"""Results that a repr shows."""

_QUORUMS = 3
"""Maps that the reason of a run names because their quorum is out of reach."""


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
    left = _too_many_left(state, abandoned)
    began = state.begun.at if state.begun is not None else now
    result = RunResult(
        run_id,
        RunStatus(state.finished) if state.finished else RunStatus.RUNNING,
        nodes,
        partial(_outputs, state),
        duration=now - began,
        tolerated=tuple(_tolerated(state)),
        abandoned=tuple(abandoned),
        warnings=(*warnings, left) if left else tuple(warnings),
    )
    result.began = began
    result.reason = _reason_of_run(state, left)
    return result


def _too_many_left(state: State, abandoned: Sequence[Abandoned]) -> str:
    """What to say of a run that has left behind more than it may, which has failed it; otherwise empty."""
    if state.abandoned <= state.max_abandoned or not state.failed:
        return ""
    paths = list(dict.fromkeys([left.path for left in abandoned]))
    names = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    return f"attempts left behind: {state.abandoned}, more than max_abandoned={state.max_abandoned}: {names}"


def _reason_of_run(state: State, left: str) -> str:
    """What ended a run, as far as no step's failure says it."""
    if state.finished == RunStatus.CANCELLED.value:
        return state.cancelled or ""
    missed = [_missed(state, group) for group in islice(sorted(state.broken), _QUORUMS)]
    if len(state.broken) > _QUORUMS:
        missed.append(f"and {len(state.broken) - _QUORUMS} more")
    return "; ".join(filter(None, ["its deadline passed" if state.expired else "", left, *missed]))


def _missed(state: State, group: int) -> str:
    """Which quorum of a map is out of reach, and why."""
    plan, site = state.plan, state.site[group]
    level = plan.levels[plan.inner[site]]
    asked = [one for one, _ in plan.quorums.get(level.base + level.position[plan.node[site]], ())]
    fan, name = state.fan_of_group(group), repr(str(state.path(group)))
    if fan is None or not asked:
        return f"a quorum of {name} cannot be reached: a map of it never opened"
    quorum = next((one for one in asked if not quorum_holds(state, group, fan, one)), asked[0])
    left_out, lost = state.left_out.get(group, 0), state.lost.get(group, 0)
    items = len(fan.rows) - left_out
    counted = f"{items} item{'' if items == 1 else 's'}"
    had = f"{lost} of its {counted} failed" if lost else f"it has {counted}"
    had += f", and {left_out} that its condition left out" if left_out else ""
    had += ", and the stream they come from failed" if fan.broken is not None else ""
    return f"Quorum({quorum.least!r}) of {name} cannot be reached: {had}"


def _stopper(state: State, number: int) -> str:
    """What to say of the node that something else goes back to; a map only fails for its quorum."""
    return _missed(state, number) if number in state.broken else f"{state.path(number)} failed"


def node_result(state: State, number: int) -> NodeResult:
    """How one node, item or group stands."""
    if state.plan.flags[state.site[number]] & GROUP:
        return _group_result(state, number)
    status = state.status[number]
    if (
        status == SUCCEEDED
        and not (state.failures or state.sources or state.returned)
        and number < state.total
    ):
        return _plain(state, number, state.plan.nodes[number].id)
    history = tuple(state.failures.get(number, ()))
    failed, value = status == FAILED, state.value[number]
    began, over = _times(state, number)
    return NodeResult(
        str(state.path(number)),
        STATUSES[status],
        source=state.sources.get(number, "run") if status == SUCCEEDED else None,
        value=None if status != SUCCEEDED or value is NOTHING or isinstance(value, Away) else value,
        failure=history[-1] if failed else None,
        history=history[:-1] if failed else history,
        skip=_skip(state, number) if status == SKIPPED else None,
        attempts=_attempts(state, number),
        reason=_reason(state, number),
        duration=None if over is None or began is None else over - began,
        began=began,
        ended=over,
    )


def _plain(state: State, number: int, id: str) -> NodeResult:
    """The result of a node that succeeded at its first attempt: of most, so it is to be had quickly."""
    value, began, ended = state.value[number], state.began[number], state.ended[number]
    if value is NOTHING or isinstance(value, Away):
        value = None
    took = ended - began
    fields = (id, _SUCCEEDED, "run", value, None, (), None, state.token[number], took, None, "", began, ended)
    made: NodeResult = _new(NodeResult, fields)
    return made


_SUCCEEDED: Final = NodeStatus.SUCCEEDED
_new: Any = tuple.__new__  # makes a named tuple without the cost of its own __new__


def _times(state: State, number: int) -> tuple[float | None, float | None]:
    """When the first attempt of a node began, and when its last one ended."""
    began, status = state.began[number], STATUSES[state.status[number]]
    if not state.token[number]:
        return None, None
    if status.ended and status is not NodeStatus.SKIPPED:  # what was given back may be skipped after all
        return began, state.ended[number]
    return state.first.get(number, began if status is NodeStatus.RUNNING else None), None


def _skip(state: State, number: int) -> Skip:
    cause, because = state.skip(number) or (0, None)
    return Skip(CAUSES[cause], None if because is None else str(state.path(because)))


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
            return f"the run stopped: {_stopper(state, because)}"
        return "the run's deadline passed" if state.expired else "the run was cancelled"
    if because is None:
        return ""
    if cause == 1:
        return _stopper(state, because)
    word = "condition" if state.answers.get((because, WHEN)) is False else "trigger"
    return f"its {word} said no" if because == number else f"the {word} of {state.path(because)} said no"


def _group_result(state: State, number: int) -> NodeResult:
    items = _Items(state, number)
    status = _group_status(state, number)
    skipped = number
    if status is NodeStatus.SKIPPED and state.status[number] != SKIPPED:
        skipped = _skip_that_counts(state, items.numbers)
    attempts = sum(_attempts(state, i) for i in items.numbers)
    times = [_times(state, i) for i in items.numbers] if attempts else []
    took = [ended - began for began, ended in times if began is not None and ended is not None]
    open = STATUSES[state.status[number]].ended is False
    return NodeResult(
        str(state.path(number)),
        status,
        source="run" if state.status[number] == SUCCEEDED else None,
        skip=_skip(state, skipped) if status is NodeStatus.SKIPPED else None,
        attempts=attempts,
        reason=_reason(state, skipped),
        duration=sum(took) if attempts else None,
        began=min((began for began, _ in times if began is not None), default=None),
        ended=None if open else max((ended for _, ended in times if ended is not None), default=None),
        items=items,
    )


def _skip_that_counts(state: State, items: Sequence[int]) -> int:
    """Of the items of a map that were all skipped, the one that says why: a failure wins, then the first."""
    return next((i for i in items if (state.skip(i) or (0,))[0] == 1), items[0])


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
    for number in list(state.failures):  # somebody may look on from another thread
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

    def __repr__(self) -> str:
        return f"[{_first(self)}]"


class _Nodes(Mapping[str, NodeResult]):
    """Results by id, made when they are looked at."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getitem__(self, id: str) -> NodeResult:
        return node_result(self._state, self._state.plan.index[id])

    def __iter__(self) -> Iterator[str]:
        return (node.id for node in self._state.plan.graph.nodes)

    def values(self) -> ValuesView[NodeResult]:
        return _Values(self, self._state)

    def __len__(self) -> int:
        return len(self._state.plan.nodes)

    def __repr__(self) -> str:
        return f"{{{_first(self.values())}}}"


class _Values(ValuesView[NodeResult]):
    """The results in the order of definition, quickly: faces read all of them after every run."""

    def __init__(self, nodes: _Nodes, state: State) -> None:
        super().__init__(nodes)
        self._nodes = nodes
        self._state = state

    def __iter__(self) -> Iterator[NodeResult]:
        state, plan = self._state, self._state.plan
        index, status = plan.index, state.status
        special = state.failures or state.sources or state.returned or len(plan.levels) > 1
        for id in self._nodes:
            i = index[id]
            yield node_result(state, i) if special or status[i] != SUCCEEDED else _plain(state, i, id)


class Ended:
    """The nodes of a run that have ended, told as they come: for faces that show results while a run goes on.

    Safe in any thread.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = Lock()
        self._open = list(range(state.total))

    @property
    def any(self) -> bool:
        """Whether any has."""
        return self._state.open < self._state.total

    def take(self, into: Callable[[NodeResult], None]) -> None:
        """Hands on those that have ended since the last time, each of them once."""
        with self._lock:
            state, still = self._state, []
            for number in self._open:
                if state.status[number] >= SUCCEEDED:
                    into(node_result(state, number))
                else:
                    still.append(number)
            self._open = still


def _first(results: Collection[NodeResult]) -> str:
    """The first of many, for a repr, and how many there are beyond."""
    shown = [repr(one) for one in islice(results, _SHOWN)]
    more = [f"and {len(results) - _SHOWN} more"] if len(results) > _SHOWN else []
    return ", ".join(shown + more)
