"""From stages to a graph, and what says whether that is still the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from penstock.core.errors import GraphError, nearest
from penstock.core.graph import Graph
from penstock.core.kept import Kept
from penstock.core.model import Accepts, Condition, Need, Node, RetryPolicy, Timeout

from .attempts import StageCalls
from .context import output_key
from .gates import GateStage
from .stages import ConditionalStage, FunctionStage, Stage, awaits, id_of, is_plain

_FIRST_WAIT = 0.1
_NO_CAP = 1e9  # seconds: the waits of this vocabulary only grow


class Made(NamedTuple):
    """The graph of some stages; it knows of no run.

    Attributes:
        graph: It.
        ids: Of the stages, by the keys under which the context has their outputs.
        hooked: What is called of the stages that have hooks, by id.
        is_in_order: The stages were added in the order of their dependencies.
    """

    graph: Graph
    ids: Mapping[str, str]
    hooked: Mapping[str, StageCalls]
    is_in_order: bool


class StageGraph:
    """Makes the graph of some stages, and keeps it as long as they stay what they are."""

    def __init__(self) -> None:
        self._kept: Kept[Made] = Kept()

    def of(self, name: str, stages: Sequence[Stage], jitter: bool) -> Made:
        """The graph.

        Args:
            name: Of the pipeline.
            stages: Its stages.
            jitter: Spread the waits before retries.

        Raises:
            GraphError: The stages make none.
        """
        values: list[Any] = [name, jitter]
        objects: list[Any] = []
        for stage in stages:
            if type(stage) is FunctionStage:
                own = vars(stage)
                objects += (stage, own.get("func"))
                values += own.values()
                values += own.get("depends_on", ())  # a list, and may change
            else:
                for one in _chain(stage):
                    _look_at(one, values, objects)
        return self._kept.of(values, objects, partial(_made, name, stages, jitter))


def _look_at(stage: Stage, values: list[Any], objects: list[Any]) -> None:
    """Notes what the graph takes of a stage of somebody's own class, which may change as well."""
    objects.append(stage)
    if not isinstance(stage, Stage):
        return  # whoever makes the graph says what is wrong with it
    kind = type(stage)
    objects += (kind.execute, kind.on_success, kind.on_failure, *vars(stage).values())
    above, *read = [
        getattr(stage, word, None) for word in ("depends_on", "stage_id", "name", "retry_count", "timeout_s")
    ]
    values += (*(above or ()), *read)


def _made(name: str, stages: Sequence[Stage], jitter: bool) -> Made:
    calls = _calls(stages, jitter)
    graph = Graph(name, [_node(*one, jitter) for one in calls.values()])
    hooked = {id: call for id, (_, call) in calls.items() if call.hooked}
    in_order = [*graph.order] == [*range(len(stages))]
    return Made(graph, {output_key(id): id for id in calls}, hooked, in_order)


def has_gate(stage: Stage) -> bool:
    """Whether a stage, or what it stands around, waits for an answer."""
    return isinstance(_chain(stage)[-1], GateStage)


def _chain(stage: Stage) -> list[Stage]:
    """A stage; if it is conditional, followed by what it stands around."""
    chain = [stage]
    while is_plain(chain[-1], ConditionalStage):
        chain.append(cast(ConditionalStage, chain[-1]).stage)
    return chain


def _calls(stages: Sequence[Stage], jitter: bool) -> dict[str, tuple[list[Stage], StageCalls]]:
    """What the node of each stage calls, and the stage.

    Raises:
        GraphError: An id is wrong or there twice, or a dependency unknown.
    """
    ids = [id_of(stage) for stage in stages]
    chains = [_chain(stage) for stage in stages]
    for chain in chains:
        for inner in chain[1:]:
            id_of(inner)
    known = dict.fromkeys(ids)
    if len(known) < len(ids):
        double = next(id for at, id in enumerate(ids) if id in ids[:at])
        raise GraphError(f"there are two stages called {double!r}; give one another id")
    found = {}
    for id, chain in zip(ids, chains, strict=True):
        above = _above(chain)
        for one in above:
            if one not in known:
                raise GraphError(f"Stage {id!r} depends on unknown stage {one!r}{nearest(str(one), known)}")
        chain[-1]._check(jitter)
        found[id] = chain, StageCalls(chain)
    return found


def _above(chain: list[Stage]) -> list[str]:
    return list(dict.fromkeys([one for each in chain for one in each.depends_on]))


def _node(chain: list[Stage], calls: StageCalls, jitter: bool) -> Node:
    stage, above = chain[0], _above(chain)
    if isinstance(chain[-1], GateStage):
        return _gate(chain, calls, chain[-1])
    is_async = awaits(calls.execute)
    call: Any = calls.acall if is_async else calls.call
    if calls.hooked:
        call = calls.hooked_acall if is_async else calls.hooked_call
    retry = None
    if calls.retry_count:
        retry = RetryPolicy(calls.retry_count + 1, _FIRST_WAIT, _NO_CAP, jitter="none")
        retry = retry.spread() if jitter else retry
    return Node(
        stage.stage_id,
        call,
        _needs(above),
        is_async=is_async,
        retry=retry,
        timeout=None if calls.timeout_s is None else Timeout(attempt=calls.timeout_s),
        when=_condition(chain, calls, above),
        keep=True,
        doc="" if stage.name == stage.stage_id else stage.name,
        shared="context",
    )


def _gate(chain: list[Stage], calls: StageCalls, stage: GateStage) -> Node:
    """The node of a gate.

    Raises:
        GraphError: It has hooks, which nobody would call.
    """
    if calls.hooked:
        raise GraphError(
            f"Stage {calls.id!r}: a gate has no attempts, and hooks are called by attempts; leave them out"
        )
    above = _above(chain)
    node = stage.gate.node(calls.id, _needs(above), _condition(chain, calls, above))
    return node._replace(timeout=None if calls.timeout_s is None else Timeout(attempt=calls.timeout_s))


def _needs(above: list[str]) -> tuple[Need, ...]:
    return tuple([Need(one, "use", output_key(one), Accepts.CONDITION) for one in above])


def _condition(chain: list[Stage], calls: StageCalls, above: list[str]) -> Condition | None:
    """What is asked before a conditional stage."""
    if len(chain) == 1:
        return None
    asked = [cast(ConditionalStage, one).condition for one in chain[:-1]]
    later = any(map(awaits, asked))
    ask = partial(calls.aquestion if later else calls.question, asked)
    needs = tuple([(output_key(one), at) for at, one in enumerate(above)])
    return Condition(ask, needs, is_async=later, shared="context")
