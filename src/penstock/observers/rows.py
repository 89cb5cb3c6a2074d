"""What is counted of one step, of one map, and of steps that are shown together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

from penstock.core import events
from penstock.core.model import Failure, NodeStatus

KEPT_FAILURES = 5
"""Failures of one step that are kept whole; the others are counted."""

Items = tuple[int | str, ...]

T = TypeVar("T")


class Fan:
    """How many items a map has, shared by all steps of it.

    Attributes:
        source: The step whose value is mapped over.
        rows: The steps of the map.
        size: Items so far, over all outer items.
        opened: Whether the number means anything yet.
        grows: Whether the items come one by one, from a stream.
    """

    __slots__ = ("grows", "opened", "rows", "size", "source")

    def __init__(self, source: Row) -> None:
        self.source = source
        self.rows: list[Row] = []
        self.size = 0
        self.opened = self.grows = False


class Row:
    """One step.

    Attributes:
        id: Its id.
        depth: How many maps enclose it.
        fan: Its innermost map, or None.
        running: When what runs now has started, by index, the oldest first; the index of a step outside maps
            is ``()``.
        retrying, waiting: What is to be tried again, and what is asked for, by index.
        succeeded, failed, skipped, cancelled: How many have ended like that.
        attempts: How many attempts were started.
        began, ended: When the first started and the last ended; None while nothing has.
        whole: The status of the step as a whole, where it ended without any item.
        failures: Pairs (path, failure), the first few.
        last_failed: Index and failure of the latest.
        skip: Why it, or an item of it, was skipped last.
        trouble: What went wrong last, whether or not it is tried again.
        told, said: How far what runs says it is, and what it logged last, by index.
        quiet: Whether nothing waits, is to be tried again, or has said anything: most rows at most times.
        touched: Whether it is in the queue of its tally.
        known, over: Its status, and whether it was finished, when last looked at.
        group: Those that it is shown with where there is no room for each.
    """

    __slots__ = (
        "attempts", "began", "cancelled", "depth", "ended", "failed", "failures", "fan", "group", "id",
        "known", "last_failed", "over", "quiet", "retrying", "running", "said", "skip", "skipped",
        "succeeded", "told", "touched", "trouble", "waiting", "whole",
    )  # fmt: skip

    def __init__(self, id: str, depth: int) -> None:
        self.id = id
        self.depth = depth
        self.fan: Fan | None = None
        self.running: dict[Items, float] = {}
        self.retrying: dict[Items, events.NodeRetrying] = {}
        self.waiting: dict[Items, events.NodeWaiting] = {}
        self.told: dict[Items, events.Progressed] = {}
        self.said: dict[Items, events.Logged] = {}
        self.succeeded = self.failed = self.skipped = self.cancelled = self.attempts = 0
        self.began: float | None = None
        self.ended: float | None = None
        self.whole: NodeStatus | None = None
        self.failures: list[tuple[str, Failure]] = []
        self.last_failed: tuple[Items, Failure] | None = None
        self.skip: events.NodeSkipped | None = None
        self.trouble: Failure | None = None
        self.quiet, self.touched, self.over = True, False, False
        self.known = NodeStatus.PENDING
        self.group: Group | None = None

    def leave(self, items: Items) -> None:
        """It, or an item of it, is not any more in whatever state it was."""
        self.running.pop(items, None)
        self.retrying.pop(items, None)
        self.waiting.pop(items, None)
        self.told.pop(items, None)
        self.said.pop(items, None)
        self.quiet = not (self.retrying or self.waiting or self.told or self.said)

    @property
    def done(self) -> int:
        """Calls, or items, that have ended."""
        return self.succeeded + self.failed + self.skipped + self.cancelled

    @property
    def total(self) -> int | None:
        """Items in all, as far as known; None outside maps and before the map has opened."""
        return self.fan.size if self.fan is not None and self.fan.opened else None

    @property
    def is_growing(self) -> bool:
        """Whether more items may come, so that nobody can say how many are left."""
        return self.fan is not None and (
            not self.fan.opened or ((self.fan.grows or self.depth > 1) and not self.fan.source.finished)
        )

    @property
    def is_map(self) -> bool:
        """Whether it is shown by its items: it is in a map, and did not end as a whole."""
        return self.fan is not None and self.whole is None

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

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1, as far as it says."""
        if self.known.ended:
            return 1.0
        if self.fan is not None:
            return min(1.0, self.done / self.fan.size) if self.fan.opened and self.fan.size else 0.0
        told = self.told.get(())
        return min(1.0, max(0.0, told.done / told.total)) if told is not None and told.total else 0.0


class Group:
    """Some steps.

    Attributes:
        name: The pattern of their names, or the name of the only one.
        size: How many.
        only: The only one, if there is but one.
        counts: How many by status.
    """

    __slots__ = ("counts", "name", "only", "size")

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.only = rows[0] if len(rows) == 1 else None
        self.name = name if self.only is None else rows[0].id
        self.size = len(rows)
        self.counts: dict[NodeStatus, int] = {}
        for row in rows:
            row.group = self
            self.counts[row.known] = self.counts.get(row.known, 0) + 1

    def move(self, was: NodeStatus, status: NodeStatus) -> None:
        """One of them has another status now."""
        self.counts[was] -= 1
        self.counts[status] = self.counts.get(status, 0) + 1

    def count(self, *statuses: NodeStatus) -> int:
        """How many are of one of these."""
        return sum(self.counts.get(status, 0) for status in statuses)

    @property
    def done(self) -> int:
        """How many have ended."""
        return sum(count for status, count in self.counts.items() if status.ended)

    @property
    def status(self) -> NodeStatus:
        """Where they stand together."""
        counts = self.counts
        for status in (NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.WAITING):
            if counts.get(status):
                return status
        if self.done < self.size:
            return NodeStatus.PENDING
        for status in (NodeStatus.FAILED, NodeStatus.CANCELLED):
            if counts.get(status):
                return status
        return NodeStatus.SUCCEEDED if counts.get(NodeStatus.SUCCEEDED) else NodeStatus.SKIPPED


def oldest(found: dict[Items, T], most: int) -> list[tuple[Items, T]]:
    """The first few that are in a state, while another thread may add to them and take away."""
    for _ in range(3):
        try:
            return list(islice(found.items(), most))
        except RuntimeError:  # it was changed in this moment
            continue
    return []
