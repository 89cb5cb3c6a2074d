"""What is told of a stored run: its nodes, attempts and gates, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .model import Failure, NodeStatus, Skip
from .visible import one_line

Items = tuple[int | str, ...]
Outcome = Literal["running", "waiting", "succeeded", "failed", "cancelled", "interrupted"]


class StoredAttempt(NamedTuple):
    """One attempt of a node, or the time that a gate was open.

    Attributes:
        path: Whose: a step's id, or an item's path.
        token: Counts the hand-outs of this node.
        began: When it began, in seconds since 1970.
        ended: When it ended; None while it has not, and of one that was cut off.
        outcome: ``running``, ``waiting``, ``succeeded``, ``failed`` or ``cancelled``; or ``interrupted``: it
            was cut off by a crash, or given back.
        failure: Why it failed, else None.
    """

    path: str
    token: int
    began: float
    ended: float | None
    outcome: Outcome
    failure: Failure | None = None


class StoredNode(NamedTuple):
    """How a node, or one item of a map, stands in a stored run. Its value is in `StoredRun.outputs`.

    Attributes:
        path: The node's id; for an item with its indices: ``parse[3]``.
        status: Its status. Of a run that was cut off, what ran then is still ``running``.
        source: How a success came about (``run``, ``override``, …), else None.
        failure: Its failure, of the last attempt, else None.
        history: The failures of earlier attempts, in order.
        skip: Why it was never started, else None.
        attempts: How many attempts were handed out and not given back; of a mapped node, all its items'.
        duration: Seconds from the start of the first attempt to the end of the last; of a mapped node the
            sum over its items; None if none has ended.
        began, ended: When the first attempt began and the last one ended; None where it has not.
        reason: Why it did not succeed, in a few words.
        counts: Of a mapped node how many items have each status, else None.
        items: Of a mapped node its items, in input order; else None. `items.failed()` are those that failed.
    """

    path: str
    status: NodeStatus
    source: str | None = None
    failure: Failure | None = None
    history: tuple[Failure, ...] = ()
    skip: Skip | None = None
    attempts: int = 0
    duration: float | None = None
    began: float | None = None
    ended: float | None = None
    reason: str = ""
    counts: Mapping[NodeStatus, int] | None = None
    items: StoredItems | None = None

    def __repr__(self) -> str:
        return one_line(f"<{self.path}: {self.status.value}{f' ({self.reason})' if self.reason else ''}>")


class OpenGate(NamedTuple):
    """A gate that waits for an answer.

    Attributes:
        path: What `StoredRun.answer` takes.
        prompt: What it asks.
        takes: The type of an answer, as text.
        since: Since when, in seconds since 1970.
        due: When it waits no longer; None if it waits for as long as it takes.
        answered: An answer has been left, which the run takes when it goes on.
    """

    path: str
    prompt: str
    takes: str
    since: float
    due: float | None = None
    answered: bool = False


class StoredItems(Sequence[StoredNode]):
    """The items of a mapped node, made when somebody looks: there may be a million.

    Args:
        make: Makes all of them, in order.
        failed: Makes those that failed.
    """

    def __init__(
        self, make: Callable[[], list[StoredNode]], failed: Callable[[], Iterator[StoredNode]]
    ) -> None:
        self._make = make
        self.failed = failed
        self._made: list[StoredNode] | None = None

    def _all(self) -> list[StoredNode]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __repr__(self) -> str:
        return "[...]" if self._made is None else repr(self._made)


def is_plain(data: Any) -> bool:
    """Whether the parsed text of a value is the value: there is no form in it."""
    todo = [data]
    while todo:
        one = todo.pop()
        if type(one) is dict:
            if next(iter(one), "")[:1] == "$":
                return False
            todo += one.values()
        elif type(one) is list:
            todo += one
    return True
