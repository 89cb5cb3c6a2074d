"""The steps of a report: which of them are shown where there are too many, and what is told of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from typing import Any, Final, NamedTuple, Protocol

from ..core.inside import Usage
from ..core.model import Failure, NodeStatus
from .data import Attempt, Line, Step, Trouble
from .timing import Take, Timing

MOST_ROWS: Final = 1_000
"""Steps and items that a report shows."""

MOST_ATTEMPTS: Final = 100
"""Attempts of one step that a report shows: the last ones."""

_OF_EACH: Final = 10  # items of each map that are shown in any case
_LONG: Final = 20_000  # characters of one text


class Stood(Protocol):
    """How a node or an item stands: what `StoredNode` and `NodeResult` have in common."""

    @property
    def path(self) -> str: ...
    @property
    def status(self) -> NodeStatus: ...
    @property
    def source(self) -> str | None: ...
    @property
    def failure(self) -> Failure | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def began(self) -> float | None: ...
    @property
    def ended(self) -> float | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def items(self) -> Sequence[Any] | None: ...


class Said(NamedTuple):
    """The last lines of an attempt, and how many there are before them."""

    lines: tuple[Line, ...] = ()
    more: int = 0


class Steps:
    """The steps of one run, as a report tells of them.

    Args:
        nodes: By id, how each one stands.
        timing: Of the run.
        usage: What attempts have used.
        on_path: The attempts on the critical path.
        most: Rows at most.

    Attributes:
        counts: How many nodes have each status.
        dropped: What is left out, in words.
    """

    def __init__(
        self,
        nodes: Mapping[str, Stood],
        timing: Timing,
        usage: Mapping[Take, Usage],
        on_path: set[Take],
        most: int = MOST_ROWS,
    ) -> None:
        self._nodes = {id: nodes[id] for id in nodes}
        self._usage = usage
        self._critical = {str(take.path) for take in on_path}
        self._by_path = {str(path): takes for path, takes in timing.of.items()}
        self._by_node: dict[str, list[Take]] = {}
        for take in timing.takes:
            self._by_node.setdefault(take.path.node, []).append(take)
        self.counts = dict(Counter(node.status.value for node in self._nodes.values()))
        self.dropped: list[str] = []
        self._shown = self._chosen(most)

    @property
    def paths(self) -> list[str]:
        """The paths of all that is shown, in order."""
        return [path for id, items in self._shown.items() for path in (id, *(one.path for one in items))]

    @property
    def failed(self) -> list[str]:
        """The paths of what is shown and has failed, in order."""
        found = []
        for id, items in self._shown.items():
            node = self._nodes[id]
            found += [one.path for one in items if one.status is NodeStatus.FAILED]
            if node.items is None and node.status is NodeStatus.FAILED:
                found.append(node.path)
        return found

    def made(self, said: Callable[[Take], Said]) -> tuple[Step, ...]:
        """The steps.

        Args:
            said: What an attempt has said; asked of those only that went badly.
        """
        return tuple(self._step(self._nodes[id], items, said) for id, items in self._shown.items())

    # --- which ones ---------------------------------------------------------------------------------------

    def _chosen(self, most: int) -> dict[str, list[Stood]]:
        """What is shown: nodes in the order of definition, and of each the items."""
        ids = list(self._nodes)
        if len(ids) > most:
            kept = set(nsmallest(most, ids, key=lambda id: _matters(self._nodes[id])))
            self.dropped.append(
                f"{len(ids) - most:,} of {len(ids):,} steps: those that failed, were retried or took longest "
                "are shown"
            )
            ids = [id for id in ids if id in kept]
        shown: dict[str, list[Stood]] = {id: [] for id in ids}
        room = most - len(ids)
        everything = {id: list(self._nodes[id].items or ()) for id in ids}
        total = sum(map(len, everything.values()))
        if total <= room:
            return everything
        chosen: set[str] = set()
        for items in everything.values():
            chosen.update(one.path for one in nsmallest(min(_OF_EACH, room), items, key=_matters))
        rest = [one for items in everything.values() for one in items if one.path not in chosen]
        chosen.update(one.path for one in nsmallest(max(0, room - len(chosen)), rest, key=_matters))
        for id, items in everything.items():
            shown[id] = [one for one in items if one.path in chosen]
        self.dropped.append(
            f"{total - sum(map(len, shown.values())):,} of {total:,} items: those that failed, were retried "
            "or took longest are shown"
        )
        return shown

    # --- what is told -------------------------------------------------------------------------------------

    def _step(self, node: Stood, items: Sequence[Stood], said: Callable[[Take], Said]) -> Step:
        whole = self._row(node, self._by_path.get(node.path, ()), said)
        if node.items is None:
            return whole
        takes = self._by_node.get(node.path, ())
        of_status = Counter(one.status.value for one in node.items)
        return whole._replace(
            **self._sums(takes),
            attempts=(),
            counts=_counted(node, of_status),
            critical=any(str(take.path) in self._critical for take in takes),
            items=tuple(
                self._row(one, self._by_path.get(one.path, ()), said)._replace(node=node.path, item=True)
                for one in items
            ),
            more_items=len(node.items) - len(items),
        )

    def _row(self, node: Stood, takes: Sequence[Take], said: Callable[[Take], Said]) -> Step:
        return Step(
            path=node.path,
            node=node.path,
            status=node.status.value,
            source=node.source or "",
            reason=_cut(node.reason),
            tries=node.attempts,
            attempts=tuple(self._attempt(take, said) for take in takes[-MOST_ATTEMPTS:]),
            trouble=None if node.failure is None else trouble_of(node.failure),
            began=node.began,
            ended=node.ended,
            duration=node.duration,
            critical=node.path in self._critical,
            **self._sums(takes),
        )

    def _sums(self, takes: Sequence[Take]) -> dict[str, Any]:
        """What the attempts of a step, or of all its items, come to."""
        used = [one for take in takes if (one := self._usage.get(take)) is not None]
        cpu = [one.cpu for one in used if one.cpu is not None]
        memory = max(
            ((one.memory, one.exact) for one in used if one.memory is not None), default=(None, True)
        )
        return {
            "run": sum(take.seconds for take in takes if not take.gate),
            "queued": sum(take.queued for take in takes if not take.gate),
            "paused": sum(take.paused for take in takes),
            "cpu": sum(cpu) if cpu else None,
            "memory": memory[0],
            "exact": memory[1],
        }

    def _attempt(self, take: Take, said: Callable[[Take], Said]) -> Attempt:
        used = self._usage.get(take)
        bad = take.failure is not None or take.outcome in ("interrupted", "cancelled")
        heard = said(take) if bad else Said()
        return Attempt(
            number=take.number,
            token=take.token,
            outcome=take.outcome,
            ready=take.ready,
            handed=take.handed,
            began=take.began,
            ended=take.ended,
            due=take.due,
            trouble=None if take.failure is None else trouble_of(take.failure),
            cpu=None if used is None else used.cpu,
            memory=None if used is None else used.memory,
            exact=used is None or used.exact,
            life=take.life,
            counts=take.counts,
            gate=take.gate,
            lines=heard.lines,
            more_lines=heard.more,
        )


def used_by(timing: Timing, usage: Mapping[tuple[str, int], Usage]) -> dict[Take, Usage]:
    """What attempts have used, told by path and token. A token may come again when an attempt counts no more:
    what is told is told of the last one."""
    if not usage:
        return {}
    last = {(str(take.path), take.token): take for take in timing.takes if not take.gate}
    return {last[key]: one for key, one in usage.items() if key in last}


def trouble_of(failure: Failure) -> Trouble:
    """A failure, as a report tells of it."""
    return Trouble(
        failure.kind, _cut(failure.type), _cut(failure.text), _cut(failure.trace), _cut(failure.note)
    )


def _cut(text: str) -> str:
    """A text that is not endless; of a traceback the end says most."""
    if len(text) <= _LONG:
        return text
    half = _LONG // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"


_URGENT: Final = {
    NodeStatus.FAILED: 0, NodeStatus.CANCELLED: 1, NodeStatus.RETRYING: 1, NodeStatus.RUNNING: 1,
    NodeStatus.WAITING: 1,
}  # fmt: skip


def _matters(node: Stood) -> tuple[int, float]:
    """Sorts what a reader wants to see first to the front."""
    urgent = _URGENT.get(node.status, 2 if node.attempts > 1 and node.items is None else 3)
    return urgent, -(node.duration or 0.0)


def _counted(node: Stood, seen: Mapping[str, int]) -> dict[str, int]:
    """How many items have each status; a map without items has none of any."""
    counts: Mapping[NodeStatus, int] | None = getattr(node, "counts", None)
    found = {status.value: count for status, count in counts.items()} if counts is not None else dict(seen)
    return found or {"succeeded": 0}
