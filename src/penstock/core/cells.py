"""The entries of a run that count, sorted by the node or item that they speak of. Nothing is concluded."""

from __future__ import annotations

from collections.abc import Callable, Set
from math import isfinite
from typing import Any, Final, NamedTuple

from .entries import SHED, Entry, failure_from, path_of
from .errors import StoreDamaged
from .model import Failure, NodePath, NodeStatus, SkipCause
from .resume import Story
from .stored import Items, Outcome

MOST_ITEMS: Final = 100_000_000
"""Items that a map may be said to have; none of ours comes near."""

OPEN: Final = (NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.WAITING)

Skipped = tuple[SkipCause, NodePath | None]


class Cell:
    """A node outside maps, or one item."""

    __slots__ = ("asked", "attempts", "data", "ended", "failures", "skip", "source", "status")

    def __init__(self) -> None:
        self.status = NodeStatus.PENDING
        self.attempts: list[list[Any]] = []  # token, began, ended, outcome, failure
        self.data: Any = SHED
        self.source = ""
        self.failures: list[Failure] = []
        self.skip: Skipped | None = None
        self.asked: tuple[float, float | None, str, str] | None = None  # of a gate: since, due, prompt, takes
        self.ended: float | None = None

    def end(self, status: NodeStatus, token: int, began: float, ended: float, outcome: Outcome) -> list[Any]:
        """Notes the end of an attempt, if there was one."""
        self.status, self.ended = status, ended
        if not token:
            return []
        last = self.attempts[-1] if self.attempts and self.attempts[-1][0] == token else None
        if last is None:
            last = [token, began, ended, outcome, None]
            self.attempts.append(last)
        last[1:4] = began, ended, outcome
        return last


class Rest(NamedTuple):
    """Items that were skipped together: those of a map below `outer`, from a number on."""

    outer: Items
    first: int
    size: int
    skip: Skipped


class Cells:
    """What is known of each node and item of a run.

    Args:
        story: The run.

    Attributes:
        ids: Of its nodes, in the order of definition.
        reason: Why it was cancelled, or that its deadline passed; empty where neither is so.
        ended: When it ended, by the run's clock; None if it has not.

    Raises:
        StoreDamaged: The entries say what cannot be.
    """

    def __init__(self, story: Story) -> None:
        self.reason = ""
        self.ended: float | None = None
        self._over = story.ended
        self._needs: dict[str, tuple[str, ...]] = {}
        self._cells: dict[str, dict[Items, Cell]] = {}
        self._sizes: dict[str, dict[Items, int | None]] = {}  # by head of a map: how many items below each
        self._places: dict[str, dict[Items, dict[int | str, int]]] = {}  # the same: the places of its keys
        self._elements: dict[str, dict[Items, dict[int, Any]]] = {}
        self._names: dict[tuple[str, Items], dict[int | str, int]] = {}  # of streams: the keys they gave
        self._rests: dict[str, list[Rest]] = {}
        self._said_no: set[NodePath] = set()  # whose condition did
        self._blame: set[str] = set()  # ids of maps whose failures were not let pass
        self._cut_short = False  # it was ended from outside, and nothing was written of what was open then
        acts: dict[str, Callable[[Entry], None]] = {
            "start": self._start, "ok": self._ok, "retry": self._retry, "fail": self._fail,
            "skip": self._skip, "rest": self._rest, "cancelled": self._cancelled, "wait": self._wait,
            "cut": self._cut, "slice": self._cut, "open": self._open, "yield": self._yield,
            "decide": self._decide, "cancel": self._cancel, "deadline": self._deadline, "end": self._end,
        }  # fmt: skip
        at: Any = "shape"
        try:
            for id, needs in story.started["shape"]:
                self._needs[str(id)] = tuple(map(str, needs))
            for at in story.entries:
                act = acts.get(at[0])
                if act is not None:
                    act(at)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            what = at if isinstance(at, str) else at[0]
            raise StoreDamaged(
                f"run {story.entry.run_id}: its journal says what cannot be, in an entry {what!r} "
                f"({type(error).__name__}: {error})"
            ) from None
        self.ids: Set[str] = self._needs.keys()
        if self._over:
            self._settle()

    # --- entries ------------------------------------------------------------------------------------------

    def _cell(self, path: Any) -> Cell:
        id, items = _path(path)
        cells = self._cells.setdefault(id, {})
        cell = cells.get(items)
        if cell is None:
            cell = cells[items] = Cell()
        return cell

    def _start(self, entry: Entry) -> None:
        _, path, token, at = entry
        cell = self._cell(path)
        cell.status, cell.ended = NodeStatus.RUNNING, None
        cell.attempts.append([token, _time(at), None, "running", None])

    def _ok(self, entry: Entry) -> None:
        _, path, token, data, began, ended, *more = entry
        cell = self._cell(path)
        cell.end(NodeStatus.SUCCEEDED, token, _time(began), _time(ended), "succeeded")
        cell.data, cell.source = data, str(more[1]) if more else "run"

    def _retry(self, entry: Entry) -> None:
        _, path, token, failure, _, began, ended = entry
        self._failed(self._cell(path), NodeStatus.RETRYING, token, failure, began, ended)

    def _fail(self, entry: Entry) -> None:
        _, path, token, failure, began, ended = entry
        self._failed(self._cell(path), NodeStatus.FAILED, token, failure, began, ended)

    @staticmethod
    def _failed(cell: Cell, status: NodeStatus, token: int, entry: Any, began: float, ended: float) -> None:
        failure = checked(failure_from(entry))
        cell.failures.append(failure)
        attempt = cell.end(status, token, _time(began), _time(ended), "failed")
        if attempt:
            attempt[4] = failure

    def _skip(self, entry: Entry) -> None:
        _, path, cause, because = entry
        cell = self._cell(path)
        cell.status, cell.skip = NodeStatus.SKIPPED, self._blamed(_path(path).items, cause, because)

    def _blamed(self, items: Items, cause: str, because: Any) -> Skipped:
        path = None if because is None else _path(because)
        if path is not None and (cause == SkipCause.STOPPED.value or len(items) < len(path.items)):
            self._blame.add(path.node)  # it kept somebody outside its own item from starting
        return SkipCause(cause), path

    def _rest(self, entry: Entry) -> None:
        _, path, ids, first, size, cause, because = entry
        outer = _path(path).items
        rest = Rest(outer, _count(first), _count(size), self._blamed((*outer, 0), cause, because))
        for id in ids:
            self._rests.setdefault(id, []).append(rest)

    def _cancelled(self, entry: Entry) -> None:
        _, path, token, _, began, ended = entry
        self._cell(path).end(NodeStatus.CANCELLED, token, _time(began), _time(ended), "cancelled")

    def _wait(self, entry: Entry) -> None:
        _, path, token, at, due, prompt, takes = entry
        cell = self._cell(path)
        cell.status, cell.ended = NodeStatus.WAITING, None
        cell.asked = _time(at), None if due is None else _time(due), str(prompt), str(takes)
        cell.attempts.append([token, _time(at), None, "waiting", None])

    def _cut(self, entry: Entry) -> None:
        _, path, token = entry
        cell = self._cell(path)
        cell.status = NodeStatus.PENDING
        for attempt in cell.attempts:
            if attempt[0] == token:
                attempt[3] = "interrupted"

    def _open(self, entry: Entry) -> None:
        _, path, size, keys = entry
        id, outer = _path(path)
        self._sizes.setdefault(id, {})[outer] = None if size is None else _count(size)
        if keys is not None:
            self._places.setdefault(id, {})[outer] = {key: place for place, key in enumerate(keys)}

    def _yield(self, entry: Entry) -> None:
        _, path, _, position, data, keys = entry
        id, items = _path(path)
        self._elements.setdefault(id, {}).setdefault(items, {})[int(position)] = data
        for key in keys or ():
            if key is not None:
                self._names.setdefault((id, items), {})[key] = int(position)

    def _decide(self, entry: Entry) -> None:
        _, path, what, value = entry
        if what == "when" and not value:
            self._said_no.add(_path(path))

    def _cancel(self, entry: Entry) -> None:
        self.reason = str(entry[1])

    def _deadline(self, entry: Entry) -> None:
        self.reason = "its deadline passed"

    def _end(self, entry: Entry) -> None:
        self.ended = _time(entry[2])

    def _settle(self) -> None:
        """What the run's end means for what nothing more was written of: it was cancelled from outside."""
        for cells in self._cells.values():
            for cell in cells.values():
                if cell.status in OPEN:
                    self._cut_short = True
                    cell.status, cell.ended = NodeStatus.CANCELLED, self.ended
                    if cell.attempts and cell.attempts[-1][2] is None:
                        cell.attempts[-1][2:4] = self.ended, "cancelled"
                elif cell.status is NodeStatus.PENDING:
                    cell.status, cell.skip = NodeStatus.SKIPPED, (SkipCause.STOPPED, None)


def _path(entry: Any) -> NodePath:
    """The path that an entry names.

    Raises:
        ValueError: It is none.
    """
    path = path_of(entry)
    if type(path.node) is not str or not all(type(key) in (int, str) for key in path.items):
        raise ValueError(f"there is no path {entry!r:.80}")
    return path


def _count(number: Any) -> int:
    """A number of items, or a place among them.

    Raises:
        ValueError: There are none so many.
    """
    if type(number) is not int or not 0 <= number <= MOST_ITEMS:
        raise ValueError(f"no map has {number!r:.20} items")
    return number


def _time(at: Any) -> float:
    """A moment.

    Raises:
        ValueError: It is none.
    """
    if not isfinite(at):
        raise ValueError(f"there is no moment {at}")
    return float(at)


def checked(failure: Failure) -> Failure:
    """A failure that can be shown.

    Raises:
        ValueError: It is none that is written by us.
    """
    texts = failure.kind, failure.type, failure.text, failure.trace, failure.note
    if not all(type(text) is str for text in texts) or type(failure.attempt) is not int:
        raise ValueError("a failure is made of texts")
    return failure
