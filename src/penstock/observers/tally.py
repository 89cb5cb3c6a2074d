"""Counts per step, folded from the events of a run. Pure: no clock and no output.

The engine's thread folds while another thread may look: every count is one number or the length of one set,
so that a look sees numbers a moment old, never broken ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.model import Failure, NodeStatus, Quorum, RunStatus

KEPT_FAILURES = 5
"""Failures of one step that are kept whole; the others are counted."""

Items = tuple[int | str, ...]


class Fan:
    """How many items a map has, shared by all steps of it.

    Attributes:
        source: The step whose value is mapped over.
        size: Items so far, over all outer items.
        opened: Whether the number means anything yet.
    """

    __slots__ = ("opened", "size", "source")

    def __init__(self, source: Row) -> None:
        self.source = source
        self.size = 0
        self.opened = False


class Row:
    """One step.

    Attributes:
        id: Its id.
        depth: How many maps enclose it.
        fan: Its innermost map, or None.
        running, retrying, waiting: Indices of what is in that state now; a step outside maps is ``()``.
        succeeded, failed, skipped, cancelled: How many have ended like that.
        attempts: How many attempts were started.
        began, ended: When the first started and the last ended; None while nothing has.
        whole: The status of the step as a whole, where it ended without any item.
        failures: Pairs (path, failure), the first few.
        skip: Why it, or an item of it, was skipped last.
        progress: What it says of itself.
    """

    __slots__ = (
        "attempts", "began", "cancelled", "depth", "ended", "failed", "failures", "fan", "id", "progress",
        "retrying", "running", "skip", "skipped", "succeeded", "trouble", "waiting", "whole",
    )  # fmt: skip

    def __init__(self, id: str, depth: int) -> None:
        self.id = id
        self.depth = depth
        self.fan: Fan | None = None
        self.running: set[Items] = set()
        self.retrying: set[Items] = set()
        self.waiting: set[Items] = set()
        self.succeeded = self.failed = self.skipped = self.cancelled = self.attempts = 0
        self.began: float | None = None
        self.ended: float | None = None
        self.whole: NodeStatus | None = None
        self.failures: list[tuple[str, Failure]] = []
        self.skip: events.NodeSkipped | None = None
        self.trouble: Failure | None = None
        self.progress: events.Progressed | None = None

    @property
    def done(self) -> int:
        """Calls, or items, that have ended."""
        return self.succeeded + self.failed + self.skipped + self.cancelled

    @property
    def total(self) -> int | None:
        """Items in all, as far as known; None outside maps and before the map has opened."""
        return self.fan.size if self.fan is not None and self.fan.opened else None

    @property
    def finished(self) -> bool:
        """Whether nothing of it is still to come."""
        if self.whole is not None:
            return True
        if self.fan is None:
            return self.done > 0
        return self.fan.opened and self.done >= self.fan.size and self.fan.source.finished

    @property
    def status(self) -> NodeStatus:
        """Where it stands as a whole. A map with failures counts as failed: whether they are let pass is not
        for a tally to say."""
        if self.whole is not None:
            return self.whole
        if self.running:
            return NodeStatus.RUNNING
        if self.retrying:
            return NodeStatus.RETRYING
        if self.waiting:
            return NodeStatus.WAITING
        if not self.finished:
            return NodeStatus.RUNNING if self.done else NodeStatus.PENDING
        if self.failed:
            return NodeStatus.FAILED
        if self.cancelled:
            return NodeStatus.CANCELLED
        return NodeStatus.SKIPPED if self.skipped and not self.succeeded else NodeStatus.SUCCEEDED


class Tally:
    """An observer that counts.

    Args:
        graph: What runs; a run of a part of it shows that part only.

    Attributes:
        rows: By id, in the order of definition.
        flow, run_id, began, ended, status: Of the run.
        cancelling: Why it was asked to end; None if it was not.
        last_failed: Path and failure of the latest.
    """

    def __init__(self, graph: Graph) -> None:
        self.flow = graph.name
        self.run_id = ""
        self.status = RunStatus.PENDING
        self.began: float | None = None
        self.ended: float | None = None
        self.cancelling: str | None = None
        self.last_failed: tuple[str, Failure] | None = None
        rows = [
            Row(node.id, graph.scopes[scope].depth)
            for node, scope in zip(graph.nodes, graph.scope_of, strict=True)
        ]
        fans = [None, *(Fan(rows[scope.source]) for scope in graph.scopes[1:])]
        for row, scope in zip(rows, graph.scope_of, strict=True):
            row.fan = fans[scope]
        self.rows = {row.id: row for row in rows}
        self._streams: dict[str, list[Fan]] = {}
        for fan in fans[1:]:
            assert fan is not None
            self._streams.setdefault(fan.source.id, []).append(fan)
        self._quorums: dict[str, list[Quorum]] = {}
        for node in graph.nodes:
            for need in node.needs:
                if isinstance(need.failures, Quorum):
                    self._quorums.setdefault(need.node, []).append(need.failures)
        self._folds: dict[type[Any], Callable[[Any], None]] = {
            events.NodeStarted: self._started,
            events.NodeSucceeded: self._succeeded,
            events.NodeRetrying: self._retrying,
            events.NodeFailed: self._failed,
            events.NodeSkipped: self._skipped,
            events.NodeCancelled: self._cancelled,
            events.NodeExpanded: self._expanded,
            events.NodeYielded: self._yielded,
            events.NodeWaiting: self._waiting,
            events.NodeInterrupted: self._interrupted,
            events.NodeFolded: self._interrupted,
            events.RestSkipped: self._rest_skipped,
            events.Progressed: self._progressed,
            events.RunStarted: self._run_started,
            events.CancelAsked: self._cancel_asked,
            events.RunFinished: self._run_finished,
        }

    def __call__(self, event: Any) -> None:
        fold = self._folds.get(event.__class__)
        if fold is not None:
            fold(event)

    def counts(self) -> dict[NodeStatus, int]:
        """Steps by status."""
        found: dict[NodeStatus, int] = {}
        for row in self.rows.values():
            status = row.status
            found[status] = found.get(status, 0) + 1
        return found

    def missed(self, path: events.NodePath) -> str:
        """What to say of a map as a whole that something else goes back to: its quorum is out of reach, for
        else it would go back to an item. Empty for all else."""
        row = self.rows.get(path.node)
        if row is None or len(path.items) >= row.depth:
            return ""
        asked = self._quorums.get(row.id, [])
        which = f"Quorum({asked[0].least!r})" if len(asked) == 1 else "a quorum"
        items = row.total if row.depth == 1 else None
        had = "" if items is None else f": it has {items:,} item{'' if items == 1 else 's'}"
        return f"{which} of {str(path)!r} cannot be reached{had}"

    def active(self) -> Iterator[Row]:
        """The steps of which something runs, waits or is to be tried again."""
        return (row for row in self.rows.values() if row.running or row.retrying or row.waiting)

    def _started(self, event: events.NodeStarted) -> None:
        id, items = event.path
        row = self.rows[id]
        row.running.add(items)
        row.attempts += 1
        if row.retrying:
            row.retrying.discard(items)
        if row.began is None:
            row.began = event.at

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        id, items = event.path
        row = self.rows[id]
        row.running.discard(items)
        if row.waiting:
            row.waiting.discard(items)
        row.ended = event.ended
        if len(items) == row.depth:
            row.succeeded += 1
        elif not items:
            row.whole = NodeStatus.SUCCEEDED

    def _retrying(self, event: events.NodeRetrying) -> None:
        id, items = event.path
        row = self.rows[id]
        row.retrying.add(items)
        row.running.discard(items)
        row.trouble = event.failure

    def _failed(self, event: events.NodeFailed) -> None:
        id, items = event.path
        row = self.rows[id]
        self._leave(row, items)
        row.failed += 1
        row.ended = event.ended
        row.trouble = event.failure
        self.last_failed = (str(event.path), event.failure)
        if len(row.failures) < KEPT_FAILURES:
            row.failures.append(self.last_failed)

    def _skipped(self, event: events.NodeSkipped) -> None:
        id, items = event.path
        row = self.rows[id]
        row.skip = event
        if len(items) == row.depth:
            row.skipped += 1
        elif not items:
            row.whole = NodeStatus.SKIPPED
        elif row.fan is not None:
            row.fan.opened = True

    def _rest_skipped(self, event: events.RestSkipped) -> None:
        for id in event.nodes:
            row = self.rows[id]
            row.skipped += event.size
            row.skip = events.NodeSkipped(events.NodePath(id), event.cause, event.because)

    def _cancelled(self, event: events.NodeCancelled) -> None:
        id, items = event.path
        row = self.rows[id]
        self._leave(row, items)
        row.ended = event.ended
        if len(items) == row.depth:
            row.cancelled += 1
        elif not items:
            row.whole = NodeStatus.CANCELLED

    @staticmethod
    def _leave(row: Row, items: Items) -> None:
        row.running.discard(items)
        row.retrying.discard(items)
        row.waiting.discard(items)

    def _expanded(self, event: events.NodeExpanded) -> None:
        fan = self.rows[event.path.node].fan
        if fan is not None:
            fan.size += event.size or 0
            fan.opened = True

    def _yielded(self, event: events.NodeYielded) -> None:
        for fan in self._streams.get(event.path.node, ()):
            fan.size += 1

    def _waiting(self, event: events.NodeWaiting) -> None:
        id, items = event.path
        row = self.rows[id]
        row.waiting.add(items)
        if row.began is None:
            row.began = event.at

    def _interrupted(self, event: events.NodeInterrupted | events.NodeFolded) -> None:
        id, items = event.path
        row = self.rows[id]
        row.running.discard(items)
        row.attempts -= 1

    def _progressed(self, event: events.Progressed) -> None:
        self.rows[event.path.node].progress = event

    def _run_started(self, event: events.RunStarted) -> None:
        self.run_id, self.flow, self.began = event.run_id, event.flow, event.at
        self.status = RunStatus.RUNNING
        if len(event.shape) != len(self.rows):
            self.rows = {id: self.rows[id] for id, _ in event.shape}

    def _cancel_asked(self, event: events.CancelAsked) -> None:
        self.cancelling = event.reason

    def _run_finished(self, event: events.RunFinished) -> None:
        self.status, self.ended = event.status, event.at
