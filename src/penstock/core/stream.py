"""One stream of events, and the views of it: of a run that goes on, and of one that a store tells of.

A view is a pure fold: it takes events in their order and gives what they mean to somebody who wants less than
all of it. Nothing here waits, buffers or knows of threads; see `backlog` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, overload

from . import events as of
from .errors import InputError, nearest
from .events import NodePath
from .model import NodeStatus, RunStatus, SkipCause
from .outline import Outline

View = Literal["all", "values", "updates", "progress"]
VIEWS: tuple[View, ...] = ("all", "values", "updates", "progress")

Told: TypeAlias = of.Event | of.Progressed | of.Logged | of.Measured
"""What an observer is told."""


class ValueOf(NamedTuple):
    """A step, or an item of one, has brought a value.

    Attributes:
        path: The step, or the item.
        value: What it returned.
    """

    path: NodePath
    value: Any


class Update(NamedTuple):
    """A step, an item of one, or the run stands differently. A map has no updates but those of its items.

    Attributes:
        path: The step or the item; None of the run.
        status: Where it stands now.
        reason: Why, in a few words, where there is something to say.
        at: When, in seconds since 1970.
    """

    path: NodePath | None
    status: NodeStatus | RunStatus
    reason: str = ""
    at: float = 0.0


class Progress(NamedTuple):
    """How far a step says it is, or how far the run is.

    Attributes:
        path: The step or the item that says so; None of the run, where steps are counted, and items of maps.
        done: How much is done: of the run, what has ended, however it did.
        total: Out of how much; of the run, as far as is known by now. None where it cannot be told.
        failed: Of the run, how many of those have failed.
        text: A word of the step about what it is doing.
    """

    path: NodePath | None
    done: float
    total: float | None
    failed: int = 0
    text: str = ""


Item = Told | ValueOf | Update | Progress
Lens = Callable[[Any], Iterable[Any]]
"""Gives for each event, in their order, what a view has of it."""


@overload
def viewed(events: Iterable[Any], view: Literal["all"], outline: Outline | None = None) -> Iterator[Told]: ...
@overload
def viewed(
    events: Iterable[Any], view: Literal["values"], outline: Outline | None = None
) -> Iterator[ValueOf]: ...
@overload
def viewed(
    events: Iterable[Any], view: Literal["updates"], outline: Outline | None = None
) -> Iterator[Update]: ...
@overload
def viewed(
    events: Iterable[Any], view: Literal["progress"], outline: Outline | None = None
) -> Iterator[Progress]: ...
@overload
def viewed(events: Iterable[Any], view: str, outline: Outline | None = None) -> Iterator[Item]: ...
def viewed(events: Iterable[Any], view: str = "all", outline: Outline | None = None) -> Iterator[Any]:
    """A view of events, one by one as they come.

    Args:
        events: Of one run, from its start.
        view: ``all`` of them; ``values`` as steps succeed (`ValueOf`); ``updates`` of what stands differently
            (`Update`); ``progress`` of steps and of the run as a whole (`Progress`).
        outline: Of the run's graph: it tells which steps are in which map, without which the run's total is
            not known.

    Raises:
        InputError: There is no such view.
    """
    lens = lens_of(view, outline)
    return (item for event in events for item in lens(event))


def lens_of(view: str, outline: Outline | None = None) -> Lens:
    """What makes a view; one for each stream, for it remembers.

    Raises:
        InputError: There is no such view.
    """
    if view == "all":
        return _all
    if view == "values":
        return _values
    if view == "updates":
        return _Updates(outline)
    if view == "progress":
        return _Counts(outline)
    raise InputError(
        f"there is no view {view!r}{nearest(view, VIEWS) if isinstance(view, str) else ''} "
        f"(one of {', '.join(VIEWS)})"
    )


def _all(event: Any) -> Iterable[Any]:
    return (event,)


def _values(event: Any) -> Iterable[ValueOf]:
    return (ValueOf(event.path, event.value),) if isinstance(event, of.NodeSucceeded) else ()


class _Updates:
    """The view ``updates``."""

    def __init__(self, outline: Outline | None) -> None:
        self._depths = {} if outline is None else _depths(outline)
        self._at = 0.0
        self._why = ""
        self._late = False
        self._refused: set[NodePath] = set()  # conditions of a step's own that said no
        self._keys: dict[NodePath, tuple[int | str, ...]] = {}

    def __call__(self, event: Any) -> Iterable[Update]:
        self._at = _time_of(event) or self._at
        kind = type(event)
        if kind is of.NodeSucceeded:
            return (Update(event.path, NodeStatus.SUCCEEDED, "", event.ended),)
        if kind is of.NodeStarted:
            return (Update(event.path, NodeStatus.RUNNING, "", event.at),)
        if kind in _TROUBLE:
            return (Update(event.path, _TROUBLE[kind], str(event.failure), event.ended),)
        if kind is of.NodeSkipped:
            return (Update(event.path, NodeStatus.SKIPPED, self._reason(event, event.path), self._at),)
        if kind is of.RestSkipped:
            return self._rest(event)
        if kind is of.NodeCancelled:
            return (Update(event.path, NodeStatus.CANCELLED, "", self._at),)
        if kind is of.NodeWaiting:
            return (Update(event.path, NodeStatus.WAITING, event.prompt, event.at),)
        if kind in (of.NodeInterrupted, of.NodeFolded):
            return (Update(event.path, NodeStatus.READY, "", self._at),)
        return self._of_run(event)

    def _of_run(self, event: Any) -> Iterable[Update]:
        kind = type(event)
        if kind in (of.RunStarted, of.RunResumed):
            self._why, self._late = "", False
            return (Update(None, RunStatus.RUNNING, "", event.at),)
        if kind is of.RunFinished:
            why = self._why if event.status is not RunStatus.SUCCEEDED else ""
            return (Update(None, event.status, why, event.at),)
        if kind is of.NodeDecided:
            if event.what == "when" and not event.value:
                self._refused.add(event.path)
        elif kind is of.NodeExpanded:
            if event.keys is not None:
                self._keys[event.path] = event.keys
        elif kind is of.CancelAsked:
            self._why = event.reason
        elif kind is of.DeadlineReached:
            self._why, self._late = "its deadline passed", True
        return ()

    def _rest(self, event: of.RestSkipped) -> Iterator[Update]:
        keys = self._keys.get(event.path, ())
        reason, at = self._reason(event, None), self._at
        for number in range(event.first, event.first + event.size):
            name = keys[number] if number < len(keys) else number
            for id in event.nodes:
                yield Update(NodePath(id, (*event.path.items, name)), NodeStatus.SKIPPED, reason, at)

    def _reason(self, event: of.NodeSkipped | of.RestSkipped, path: NodePath | None) -> str:
        because = event.because
        if event.cause is SkipCause.STOPPED:
            if because is not None:
                return f"the run stopped: {self._trouble(because)}"
            return "the run's deadline passed" if self._late else "the run was cancelled"
        if because is None:
            return ""
        if event.cause is SkipCause.UPSTREAM:
            return self._trouble(because)
        word = "condition" if because in self._refused else "trigger"
        return f"its {word} said no" if because == path else f"the {word} of {because} said no"

    def _trouble(self, because: NodePath) -> str:
        if len(because.items) < self._depths.get(because.node, 0):
            return f"a quorum of {str(because)!r} cannot be reached"
        return f"{because} failed"


_TROUBLE = {of.NodeFailed: NodeStatus.FAILED, of.NodeRetrying: NodeStatus.RETRYING}
_TIMED = (of.NodeSucceeded, of.NodeFailed, of.NodeRetrying, of.NodeCancelled)


def _time_of(event: Any) -> float:
    """When it happened; 0 if it does not say."""
    at: float = event.ended if isinstance(event, _TIMED) else getattr(event, "at", 0.0)
    return at


def _depths(outline: Outline) -> dict[str, int]:
    """How many maps enclose each step."""
    of_scope: list[int] = []
    for scope in outline.scopes:
        of_scope.append(0 if scope.parent < 0 else of_scope[scope.parent] + 1)
    return {node.id: of_scope[node.scope] for node in outline.nodes}


class _Counts:
    """The view ``progress``.

    A step counts one, and one in a map as many as there are items, over all outer items; one whose map has
    not opened yet counts one, for it is not known better.
    """

    def __init__(self, outline: Outline | None) -> None:
        self._outline = outline
        self._depths = {} if outline is None else _depths(outline)
        self._scope = {} if outline is None else {node.id: node.scope for node in outline.nodes}
        self._nodes: dict[int, list[str]] = {}
        self._streams: dict[str, list[int]] = {}
        self._unopened: set[str] = set()
        self._total: int | None = None
        self._over: dict[NodePath, bool] = {}  # whether it has failed
        self._rests: list[tuple[str, NodePath, int]] = []
        self._done = 0
        self._failed = 0

    def __call__(self, event: Any) -> Iterable[Progress]:
        kind = type(event)
        if kind is of.Progressed:
            return (Progress(event.path, event.done, event.total, 0, event.text),)
        before = (self._done, self._total, self._failed)
        fold = _FOLDS.get(kind)
        if fold is None:
            return ()
        fold(self, event)
        after = (self._done, self._total, self._failed)
        if after == before and kind is not of.RunResumed:
            return ()
        return (Progress(None, self._done, self._total, self._failed),)

    def started(self, event: of.RunStarted) -> None:
        if self._outline is None:
            return
        self._total = len(event.shape)
        self._nodes, self._streams = {}, {}
        for id, _ in event.shape:
            scope = self._scope.get(id, 0)
            if scope:
                self._nodes.setdefault(scope, []).append(id)
                self._unopened.add(id)
        for number in self._nodes:
            self._streams.setdefault(self._outline.scopes[number].source, []).append(number)

    def expanded(self, event: of.NodeExpanded) -> None:
        self._grow(self._scope.get(event.path.node, 0), event.size or 0)

    def yielded(self, event: of.NodeYielded) -> None:
        for scope in self._streams.get(event.path.node, ()):
            self._grow(scope, 1)

    def ended(self, event: of.NodeSucceeded | of.NodeSkipped | of.NodeCancelled | of.NodeFailed) -> None:
        path = event.path
        if path in self._over:
            return
        failed = type(event) is of.NodeFailed
        self._over[path] = failed
        self._done += 1
        self._failed += failed
        if len(path.items) < self._depths.get(path.node, 0):
            self._count_whole(path.node, 1)

    def rest_skipped(self, event: of.RestSkipped) -> None:
        deep = len(event.path.items) + 1
        for id in event.nodes:
            self._rests.append((id, event.path, event.size))
            self._done += event.size
            if deep < self._depths.get(id, 0):
                self._count_whole(id, event.size)

    def resumed(self, event: of.RunResumed) -> None:
        """Nothing counts any more of what has been dropped: it will be told again."""
        again = {(path.node, path.items) for path in (*event.drop, *event.restart)}
        gone = [path for path in self._over if _within(path, again)]
        for path in gone:
            self._failed -= self._over.pop(path)
        self._done -= len(gone)
        rests = [one for one in self._rests if _within(NodePath(one[0], one[1].items), again)]
        self._rests = [one for one in self._rests if one not in rests]
        self._done -= sum(size for _, _, size in rests)

    def _grow(self, scope: int, items: int) -> None:
        if self._total is None:
            return
        for id in self._nodes.get(scope, ()):
            self._open(id)
            self._total += items

    def _count_whole(self, id: str, times: int) -> None:
        """What ended without an item counts as one, each time."""
        if self._total is not None:
            self._open(id)
            self._total += times

    def _open(self, id: str) -> None:
        if id in self._unopened and self._total is not None:
            self._unopened.remove(id)
            self._total -= 1


def _within(path: NodePath, among: set[tuple[str, tuple[int | str, ...]]]) -> bool:
    """Whether it, or what it is an item of, is among these."""
    return any((path.node, path.items[:length]) in among for length in range(len(path.items) + 1))


_FOLDS: dict[type, Callable[[_Counts, Any], None]] = {
    of.RunStarted: _Counts.started,
    of.RunResumed: _Counts.resumed,
    of.NodeExpanded: _Counts.expanded,
    of.NodeYielded: _Counts.yielded,
    of.NodeSucceeded: _Counts.ended,
    of.NodeFailed: _Counts.ended,
    of.NodeSkipped: _Counts.ended,
    of.NodeCancelled: _Counts.ended,
    of.RestSkipped: _Counts.rest_skipped,
}
