"""What would have been if: a run that was measured, replayed on the machine with other numbers of workers.

It is the very machine that runs everything, fed with endings at the times that were measured instead of by
runners; so it starts what a run would start, in the order in which a run would start it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from .commands import ENDED, FAILED, OK, START, Reply
from .errors import GraphError
from .graph import Graph
from .machine import Machine
from .model import Failure, Need, Node, RetryPolicy, RunOptions, RunStarted
from .outline import Outline
from .plan import Plan

Place = tuple[str, tuple[int, ...]]
"""A node, or an item of it: its id, and at which place the item stands in each map around it."""


class Taken(NamedTuple):
    """What a node or an item has taken, in seconds.

    Attributes:
        runs: By attempt; all but the last have failed.
        pauses: Before each attempt but the first.
    """

    runs: tuple[float, ...] = ()
    pauses: tuple[float, ...] = ()


class CannotReplay(ValueError):
    """This run cannot be replayed, and the text says why."""


class Replay:
    """A measured run, to be replayed as often as one likes.

    All steps succeed in a replay: one that failed for good takes the time until then, one that was skipped
    takes none. Conditions and gates take no time, and the stores, the scheduling and the runners neither.

    Args:
        outline: The graph.
        durations: What each node and item has taken.
        sizes: How many items each map has, by its source.

    Raises:
        CannotReplay: It cannot be replayed.
    """

    def __init__(
        self, outline: Outline, durations: Mapping[Place, Taken], sizes: Mapping[Place, int]
    ) -> None:
        self._outline = outline
        self._durations = durations
        self._sizes = sizes
        self._sources = {scope.source for scope in outline.scopes[1:]}
        most: dict[str, int] = {}
        for (id, _), taken in durations.items():
            if len(taken.runs) > 1:
                most[id] = max(most.get(id, 0), len(taken.runs))
        try:
            self._plan = Plan(_graph(outline, most), runner="inline")
        except GraphError as error:
            raise CannotReplay(f"its graph cannot be made again: {error}") from None
        self._ids = [node.id for node in outline.nodes]

    def seconds(self, workers: int | None = None, scale: Mapping[str, float] | None = None) -> float:
        """Seconds that it takes.

        Args:
            workers: Attempts at a time; None for any number.
            scale: By id of a node, the share of its time that it takes now.

        Raises:
            CannotReplay: The replay comes to no end.
        """
        machine = Machine(self._plan, RunOptions(max_concurrency=workers))
        machine.begin(RunStarted("", self._outline.name, (), 0, {}, None, (), {}, {}, None, 0.0))
        reply = self._replies(machine, scale or {})
        coming: list[tuple[float, int, Reply]] = []
        now, count, due = 0.0, 0, list[Reply]()
        while True:
            for command in machine.step(due, now):
                if command[0] == START:
                    count += 1
                    answer = reply(command[1], command[2], now)
                    heappush(coming, (answer[-1], count, answer))
            machine.log.clear()
            if machine.state.finished is not None:
                return now
            alarm = machine.next_alarm()
            if not coming and alarm is None:
                raise CannotReplay("its replay comes to no end")
            now = coming[0][0] if alarm is None or (coming and coming[0][0] <= alarm) else alarm
            due = []
            while coming and coming[0][0] <= now:
                due.append(heappop(coming)[2])

    def _replies(self, machine: Machine, scale: Mapping[str, float]) -> Callable[[int, int, float], Reply]:
        """Makes the ending of an attempt from its number, its token, and when it began."""
        state, ids, tries = machine.state, self._ids, dict[int, int]()
        durations, sizes, sources, nothing = self._durations, self._sizes, self._sources, Taken((0.0,))

        def reply(i: int, token: int, now: float) -> Reply:
            node, items = state.path(i)
            id = ids[int(node)]
            place: Any = id, items
            taken = durations.get(place, nothing)
            attempt = tries.get(i, 0)
            took = taken.runs[attempt] * scale.get(id, 1.0) if attempt < len(taken.runs) else 0.0
            if attempt + 1 < len(taken.runs):
                tries[i] = attempt + 1
                pause = taken.pauses[attempt] if attempt < len(taken.pauses) else 0.0
                failure = Failure("error", "Failed", "", attempt=attempt + 1, retry_after=pause)
                return (ENDED, i, token, FAILED, failure, None, now, now + took)
            value = [None] * sizes.get(place, 0) if id in sources else None
            return (ENDED, i, token, OK, value, None, now, now + took)

        return reply


_AT_ONCE: Final = {"initial_delay": 0.0, "max_delay": 0.0, "jitter": "none"}


def _graph(outline: Outline, most: Mapping[str, int]) -> Graph:
    """A graph of the same shape whose steps do nothing. Its ids are numbers: those of a stored run may be
    anything.

    Raises:
        GraphError: There is none, or its maps are not those of the outline.
    """
    number = {node.id: str(at) for at, node in enumerate(outline.nodes)}
    depth = _depths(outline)
    scope_of = {node.id: node.scope for node in outline.nodes}
    nodes = []
    for node in outline.nodes:
        needs = []
        for at, (how, id) in enumerate(node.needs):
            levels = max(1, depth[scope_of[id]] - depth[node.scope]) if how == "gather" else 1
            param = None if how == "after" else f"n{at}"
            needs.append(Need(number[id], how, param, levels=levels))  # type: ignore[arg-type]
        attempts = most.get(node.id, 1)
        retry = RetryPolicy(attempts, **_AT_ONCE) if attempts > 1 else None  # type: ignore[arg-type]
        nodes.append(Node(number[node.id], _nothing, tuple(needs), retry=retry))
    graph = Graph("replay", nodes)
    for node, scope in zip(outline.nodes, graph.scope_of, strict=True):
        if graph.scopes[scope].depth != depth[node.scope]:
            raise GraphError(f"step {node.id!r} is not in the map that it was in")
    return graph


def _depths(outline: Outline) -> list[int]:
    """For each map, how many maps enclose its nodes."""
    found = [0]
    for scope in outline.scopes[1:]:
        found.append(found[scope.parent] + 1)
    return found


def _nothing(**_: Any) -> None:
    """What is never called."""
