"""What is left of a run: statuses, values and reasons, as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import RunCancelled, RunFailed
from .files import write_whole
from .model import Abandoned, Failure, NodeStatus, Ok, Outcome, RunStatus, Skip
from .visible import one_line, visible

if TYPE_CHECKING:
    from .history import StoredRun
    from .inside import Usage


class NodeResult(NamedTuple):
    """How one node, or one item of a map, ended.

    Attributes:
        path: The node's id; for an item with its indices: ``parse[3]``.
        status: Its status.
        source: How a success came about (``run``, ``override``, …), else None.
        value: Its value; None unless it succeeded and the value was kept.
        failure: Its failure, of the last attempt, else None.
        history: The failures of earlier attempts, in order.
        skip: Why it was never started, else None; of a mapped node of which every item was skipped, that of
            the first item that a failure kept from starting, or else of the first.
        attempts: How many attempts were handed out and not given back; of a mapped node, all its items'.
        duration: Seconds from the start of the first attempt to the end of the last; of a mapped node the
            sum over its items; None if none ran.
        reason: Why it did not succeed, in a few words; empty where there is nothing to say.
        began: When its first attempt began, in seconds of the epoch by the run's clock; None if none has.
        ended: When its last attempt ended; None as long as it has not.
        items: For a mapped node its items, in input order; else None.
    """

    path: str
    status: NodeStatus
    source: str | None = None
    value: Any = None
    failure: Failure | None = None
    history: tuple[Failure, ...] = ()
    skip: Skip | None = None
    attempts: int = 0
    duration: float | None = None
    items: Sequence[NodeResult] | None = None
    reason: str = ""
    began: float | None = None
    ended: float | None = None

    def __repr__(self) -> str:
        return one_line(f"<{self.path}: {self.status.value}{f' ({self.reason})' if self.reason else ''}>")

    def outcome(self) -> Outcome[Any]:
        """The same as one value: `Ok`, `Failure` or `Skip`."""
        if self.status is NodeStatus.SUCCEEDED:
            return Ok(self.value)
        return self.failure or self.skip or Failure("cancelled", "Cancelled", "the run was cancelled")


class RunResult:
    """One run, ended (or, for a run that waits, put down).

    Attributes:
        run_id: Its id.
        status: How it ended.
        nodes: `NodeResult` by id, in the order of definition.
        outputs: Values of the sinks, targets and kept steps that succeeded, by id; a mapped step's is the
            list of its successes.
        began: When it began, in seconds of the epoch by its clock.
        duration: Seconds from start to end.
        tolerated: Paths of the failures that were let pass.
        abandoned: What could not be stopped and outlives the run, with where it was.
        warnings: What observers raised, and other things that changed nothing but should be known.
        reason: Why it ended so, where no step's failure says it: what `cancel` was given, the deadline, too
            many attempts left behind, or a quorum out of reach. Otherwise empty.
        load: Reads what a node has come to, by its id, from the run's store; of a mapped one the list of its
            successes. None without a store.
        usage: What attempts have used, by path and token (see `NodeStarted`), if the run was to be profiled.
        stored: Opens the run as its store has it, in a ``with``. None without a store.
        page: Makes the run report, as HTML; None of a result that was put together by hand.
    """

    __slots__ = (
        "_outputs", "abandoned", "began", "duration", "load", "nodes", "page", "reason",
        "run_id", "status", "stored", "tolerated", "usage", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        status: RunStatus,
        nodes: Mapping[str, NodeResult],
        outputs: Callable[[], Mapping[str, Any]] | Mapping[str, Any],
        *,
        duration: float = 0.0,
        tolerated: tuple[str, ...] = (),
        abandoned: tuple[Abandoned, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.run_id = run_id
        self.status = status
        self.nodes = nodes
        self._outputs: Callable[[], Mapping[str, Any]] | Mapping[str, Any] = outputs
        self.load: Callable[[str], Any] | None = None
        self.began = 0.0
        self.duration = duration
        self.tolerated = tolerated
        self.abandoned = abandoned
        self.warnings = warnings
        self.reason = ""
        self.usage: Mapping[tuple[str, int], Usage] = {}
        self.stored: Callable[[], AbstractContextManager[StoredRun]] | None = None
        self.page: Callable[[RunResult], str] | None = None

    def __repr__(self) -> str:
        why = f"; {self.reason}" if self.reason else ""
        if self.status is RunStatus.FAILED:  # where an assertion shows it, it is this that people look for
            bad = islice((one for one in self.failed() if one.path not in self.tolerated), 3)
            why += "".join(f"; {one.path}: {_line_of(one.failure)}" for one in bad)
        return one_line(f"<run {self.run_id}: {self.status.value}, {len(self.nodes)} nodes{why}>")

    @property
    def outputs(self) -> Mapping[str, Any]:
        if callable(self._outputs):
            self._outputs = self._outputs()
        return self._outputs

    def failed(self) -> Iterator[NodeResult]:
        """The nodes and items that failed, tolerated ones included, in the order of definition."""
        for node in self.nodes.values():
            for one in node.items if node.items is not None else (node,):
                if one.status is NodeStatus.FAILED:
                    yield one

    def report(self, path: str | PathLike[str]) -> None:
        """Writes the run report: one HTML file that needs nothing else. A file that is there is replaced.

        Args:
            path: Of the file.

        Raises:
            OSError: It cannot be written.
            StoreError: The run's store cannot be read.
            TypeError: It is a result that was put together by hand: nobody knows of what.
        """
        if self.page is None:
            raise TypeError(f"the result of run {self.run_id} was put together by hand, and has no report")
        write_whole(path, self.page(self))

    def raise_for_failure(self) -> None:
        """Returns if the run succeeded.

        Raises:
            RunFailed: It failed; the text names the first failures and carries their tracebacks.
            RunCancelled: It was cancelled; the text has the reason that was given.
        """
        if self.status is RunStatus.SUCCEEDED:
            return
        bad = [one for one in self.failed() if one.path not in self.tolerated]
        lines = [f"run {self.run_id} {self.status.value}{f': {self.reason}' if self.reason else ''}"]
        lines += [f"  {one.path}: {one.failure}" for one in bad[:5]]
        if len(bad) > 5:
            lines.append(f"  and {len(bad) - 5} more")
        if bad and bad[0].failure is not None and bad[0].failure.trace:
            lines += ["", bad[0].failure.trace.rstrip()]
        kind = RunCancelled if self.status is RunStatus.CANCELLED else RunFailed
        raise kind(visible("\n".join(lines)), self)


def _line_of(failure: Failure | None) -> str:
    """The first line of a failure's text, cut where a repr would become too long."""
    line = str(failure).partition("\n")[0]
    return line if len(line) <= 100 else line[:99] + "…"
