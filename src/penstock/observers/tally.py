"""Counts per step, folded from the events of a run. Pure: no clock and no output.

The engine's thread folds while another thread may look: every count is one number or the length of one dict,
so that a look sees numbers a moment old, never broken ones. A look costs what has changed since the last one,
not what the run is made of: a row that an event touches is put into a queue, and whoever looks empties it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.model import Failure, NodeStatus, Quorum, RunStatus
from penstock.core.outline import Outline

from .rows import KEPT_FAILURES, Fan, Row

BUSY = (NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.WAITING)

_GOING = (RunStatus.PENDING, RunStatus.RUNNING)


class Tally:
    """An observer that counts.

    Args:
        graph: What runs, or its outline; a run of a part of it shows that part only.

    Attributes:
        rows: By id, in the order of definition.
        flow, run_id, began, ended, status: Of the run.
        cancelling: Why it was asked to end; None if it was not.
        last_failed: Path and failure of the latest.
        most: Attempts that may run at the same time; None for no bound.
        needs: By id, those of each step, as the run says them.
        busy: Steps of which something runs, waits or is to be tried again, as of the last look.
        broken: Steps that have failed, as of the last look.
        moved: Told of each step whose status has changed since the last look, and the status it had.
    """

    def __init__(self, graph: Graph | Outline) -> None:
        self.flow = graph.name
        self.run_id = ""
        self.status = RunStatus.PENDING
        self.began: float | None = None
        self.ended: float | None = None
        self.cancelling: str | None = None
        self.last_failed: tuple[str, Failure] | None = None
        self.most: int | None = None
        self.needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self._fans: dict[str, list[Fan]] = {}
        self.rows = {row.id: row for row in self._made(graph)}
        self._quorums = _quorums(graph) if isinstance(graph, Graph) else {}
        self._touched: deque[Row] = deque()
        self.busy: dict[str, Row] = {}
        self.broken: dict[str, Row] = {}
        self.moved: Callable[[Row, NodeStatus], None] | None = None
        self._counts = {NodeStatus.PENDING: len(self.rows)}
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
            events.Logged: self._logged,
            events.RunStarted: self._run_started,
            events.CancelAsked: self._cancel_asked,
            events.RunFinished: self._run_finished,
        }

    def _made(self, graph: Graph | Outline) -> Iterator[Row]:
        if isinstance(graph, Graph):
            ids = [node.id for node in graph.nodes]
            scope_of = graph.scope_of
            scopes = [(scope.parent, ids[scope.source]) for scope in graph.scopes[1:]]
        else:
            ids = [node.id for node in graph.nodes]
            scope_of = [node.scope for node in graph.nodes]
            scopes = [(scope.parent, scope.source) for scope in graph.scopes[1:]]
        depths = [0]
        for parent, _ in scopes:
            depths.append(depths[parent] + 1)
        rows = {id: Row(id, depths[scope]) for id, scope in zip(ids, scope_of, strict=True)}
        fans: list[Fan | None] = [None]
        for _, source in scopes:
            fan = Fan(rows[source])
            fans.append(fan)
            self._fans.setdefault(source, []).append(fan)
        for row, scope in zip(rows.values(), scope_of, strict=True):
            row.fan = within = fans[scope]
            if within is not None:
                within.rows.append(row)
        return iter(rows.values())

    def __call__(self, event: Any) -> None:
        fold = self._folds.get(event.__class__)
        if fold is not None:
            fold(event)

    def recall(self, before: Iterable[Any]) -> None:
        """Counts what was before the run was resumed; what is not in it any more is left out."""
        for event in before:
            try:
                self(event)
            except KeyError:
                continue

    # --- a look -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Brings `counts`, `busy` and `broken` up to date. One thread at a time."""
        touched = self._touched
        while touched:
            row = touched.popleft()
            row.touched = False  # before it is read: what is folded from now on touches it again
            status, was = row.status, row.known
            if row.finished and not row.over:
                row.over = True
                for fan in self._fans.get(row.id, ()):
                    self._touch(fan.rows)
            if status is was:
                continue
            row.known = status
            self._counts[was] -= 1
            self._counts[status] = self._counts.get(status, 0) + 1
            if status in BUSY:
                self.busy[row.id] = row
            elif was in BUSY:
                del self.busy[row.id]
            if status is NodeStatus.FAILED:
                self.broken[row.id] = row
            elif was is NodeStatus.FAILED:
                del self.broken[row.id]
            if self.moved is not None:
                self.moved(row, was)

    def counts(self) -> dict[NodeStatus, int]:
        """Steps by status."""
        self.look()
        return {status: count for status, count in self._counts.items() if count}

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

    # --- folds --------------------------------------------------------------------------------------------

    def _touch(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if not row.touched:
                row.touched = True
                self._touched.append(row)

    def _started(self, event: events.NodeStarted) -> None:
        (id, items), _, at = event
        row = self.rows[id]
        row.running[items] = at
        row.attempts += 1
        if row.retrying:
            row.retrying.pop(items, None)
        if row.began is None:
            row.began = at
        if not row.touched:
            row.touched = True
            self._touched.append(row)

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        id, items = event.path
        row = self.rows[id]
        if row.quiet:
            row.running.pop(items, None)
        else:
            row.leave(items)
        row.ended = event.ended
        if len(items) == row.depth:
            row.succeeded += 1
        elif not items:
            row.whole = NodeStatus.SUCCEEDED
        if not row.touched:
            row.touched = True
            self._touched.append(row)

    def _retrying(self, event: events.NodeRetrying) -> None:
        id, items = event.path
        row = self.rows[id]
        row.leave(items)
        row.retrying[items] = event
        row.quiet = False
        row.trouble = event.failure
        self._touch((row,))

    def _failed(self, event: events.NodeFailed) -> None:
        id, items = event.path
        row = self.rows[id]
        row.leave(items)
        row.failed += 1
        row.ended = event.ended
        row.trouble = event.failure
        self.last_failed = (str(event.path), event.failure)
        row.last_failed = (items, event.failure)
        if len(row.failures) < KEPT_FAILURES:
            row.failures.append(self.last_failed)
        self._touch((row,))

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
            self._touch(row.fan.rows)
        self._touch((row,))

    def _rest_skipped(self, event: events.RestSkipped) -> None:
        for id in event.nodes:
            row = self.rows[id]
            row.skipped += event.size
            row.skip = events.NodeSkipped(events.NodePath(id), event.cause, event.because)
            self._touch((row,))

    def _cancelled(self, event: events.NodeCancelled) -> None:
        id, items = event.path
        row = self.rows[id]
        row.leave(items)
        row.ended = event.ended
        if len(items) == row.depth:
            row.cancelled += 1
        elif not items:
            row.whole = NodeStatus.CANCELLED
        self._touch((row,))

    def _expanded(self, event: events.NodeExpanded) -> None:
        fan = self.rows[event.path.node].fan
        if fan is not None:
            fan.size += event.size or 0
            fan.opened = True
            fan.grows = fan.grows or event.size is None
            self._touch(fan.rows)

    def _yielded(self, event: events.NodeYielded) -> None:
        for fan in self._fans.get(event.path.node, ()):
            fan.size += 1

    def _waiting(self, event: events.NodeWaiting) -> None:
        id, items = event.path
        row = self.rows[id]
        row.waiting[items] = event
        row.quiet = False
        if row.began is None:
            row.began = event.at
        self._touch((row,))

    def _interrupted(self, event: events.NodeInterrupted | events.NodeFolded) -> None:
        id, items = event.path
        row = self.rows[id]
        row.running.pop(items, None)
        row.attempts -= 1
        self._touch((row,))

    def _progressed(self, event: events.Progressed) -> None:
        id, items = event.path
        row = self.rows[id]
        if items in row.running:  # what arrives after its end would stay for ever
            row.told[items] = event
            row.quiet = False

    def _logged(self, event: events.Logged) -> None:
        id, items = event.path
        row = self.rows[id]
        if items in row.running:
            row.said[items] = event
            row.quiet = False

    def _run_started(self, event: events.RunStarted) -> None:
        self.run_id, self.flow, self.began = event.run_id, event.flow, event.at
        self.most = event.options.get("max_concurrency")
        self.needs = event.shape
        self.status = RunStatus.RUNNING
        if len(event.shape) != len(self.rows):
            self.rows = {id: self.rows[id] for id, _ in event.shape}
            self._counts = {}
            for row in self.rows.values():
                self._counts[row.known] = self._counts.get(row.known, 0) + 1

    def _cancel_asked(self, event: events.CancelAsked) -> None:
        self.cancelling = event.reason

    def _run_finished(self, event: events.RunFinished) -> None:
        self.status, self.ended = event.status, event.at

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status not in _GOING


def _quorums(graph: Graph) -> dict[str, list[Quorum]]:
    found: dict[str, list[Quorum]] = {}
    for node in graph.nodes:
        for need in node.needs:
            if isinstance(need.failures, Quorum):
                found.setdefault(need.node, []).append(need.failures)
    return found
