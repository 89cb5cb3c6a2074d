"""When each attempt of a run was ready, handed out, begun and ended: one pass over the run's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from ..core import events
from ..core.events import Event
from ..core.model import Failure, NodePath
from ..core.outline import Outline
from .data import Outcome

Items = tuple[int | str, ...]


class Take:
    """One attempt, as it becomes known; the time that a gate is open is one too.

    Attributes:
        ready, handed, began, ended, due, counts, outcome, token, number: As in `Attempt`.
        failure: Why it failed.
        life: Number of the life in which it was handed out.
        gate: It is the time that a gate was open.
        after: The attempt that it followed from, by `why`: ``need`` or ``retry``; else None.
    """

    __slots__ = (
        "after", "began", "counts", "due", "ended", "failure", "gate", "handed", "life", "number", "outcome",
        "path", "ready", "token", "why",
    )  # fmt: skip

    def __init__(self, path: NodePath, token: int, life: int) -> None:
        self.path = path
        self.token = token
        self.life = life
        self.number = 1
        self.ready: float | None = None
        self.handed: float | None = None
        self.began: float | None = None
        self.ended: float | None = None
        self.due: float | None = None
        self.outcome: Outcome = "running"
        self.failure: Failure | None = None
        self.counts = True
        self.gate = False
        self.after: Take | None = None
        self.why = "start"

    @property
    def seconds(self) -> float:
        """How long it ran, as far as it has ended."""
        start = self.start
        return 0.0 if start is None or self.ended is None else max(0.0, self.ended - start)

    @property
    def start(self) -> float | None:
        """When it began to run; one that has not told, when it was handed out."""
        if self.began is None and self.outcome in ("running", "interrupted", "cancelled"):
            return self.handed
        return self.began

    @property
    def queued(self) -> float:
        """How long it could have run, and waited."""
        to = self.start if self.start is not None else self.ended
        return 0.0 if self.ready is None or to is None else max(0.0, to - self.ready)

    @property
    def paused(self) -> float:
        """How long the pause after it was meant to be."""
        return 0.0 if self.due is None or self.ended is None else max(0.0, self.due - self.ended)


class Lived:
    """One life of a run, as it becomes known.

    Attributes:
        awake: When the first step in it was handed out, or the first gate opened.
        began, ended, away, crashed, end, undone, changed: As in `data.Life`.
    """

    __slots__ = ("awake", "away", "began", "changed", "crashed", "end", "ended", "undone")

    def __init__(self, began: float, away: float = 0.0, crashed: bool = False) -> None:
        self.began = self.ended = began
        self.awake: float | None = None
        self.away = away
        self.crashed = crashed
        self.end = ""
        self.undone = 0
        self.changed: tuple[str, ...] = ()


class Asked:
    """A gate that was opened; attributes as in `data.Gate`."""

    __slots__ = ("due", "prompt", "take", "takes", "value")

    def __init__(self, take: Take, event: events.NodeWaiting) -> None:
        self.take = take
        self.due = None if event.due is None else moment(event.due)
        self.prompt, self.takes = str(event.prompt), str(event.takes)
        self.value: Any = None


class Timing:
    """What the events of a run say of time.

    Args:
        outline: Its graph.

    Attributes:
        began: When it began.
        now: The last moment that was heard of.
        takes: All attempts, in the order of their hand-out.
        of: The same by path.
        order: Paths of all that has ended, in the order of their (last) endings.
        lives: At least one.
        gates: In the order of their opening.
        sizes: By the index of a map and the items around it: how many items it has.
        places: The same: where the keys of its items stand, if they are not their numbers.
        finished: Word of the run's status, if it has ended.
        needs: By id of a node, as of `needs_of`.
        depths: By id of a node, how many maps are around it.
    """

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self.began = self.now = 0.0
        self.takes: list[Take] = []
        self.of: dict[NodePath, list[Take]] = {}
        self.order: dict[NodePath, None] = {}
        self.lives: list[Lived] = [Lived(0.0)]
        self.gates: list[Asked] = []
        self.sizes: dict[tuple[int, Items], int] = {}
        self.places: dict[tuple[int, Items], dict[int | str, int]] = {}
        self.finished = ""
        self.needs = needs_of(outline)
        self.depths = depths_of(outline)
        self._scope = {node.id: node.scope for node in outline.nodes}
        self._opens: dict[str, list[int]] = {}
        for number, scope in enumerate(outline.scopes[1:], 1):
            self._opens.setdefault(scope.source, []).append(number)
        self._open: dict[NodePath, Take] = {}
        self._asked: dict[NodePath, Asked] = {}
        self._latest: dict[NodePath, tuple[float, Take | None]] = {}  # by path, and by the paths around it
        self._poured: dict[NodePath, dict[int | str, float]] = {}
        self._acts: dict[type[Any], Callable[[Any], None]] = {
            events.RunStarted: self._started, events.NodeStarted: self._handed,
            events.NodeSucceeded: self._succeeded, events.NodeRetrying: self._failed,
            events.NodeFailed: self._failed, events.NodeCancelled: self._cancelled,
            events.NodeSkipped: self._skipped, events.NodeInterrupted: self._interrupted,
            events.NodeFolded: self._folded, events.NodeWaiting: self._waiting,
            events.NodeExpanded: self._expanded, events.NodeYielded: self._yielded,
            events.RunResumed: self._resumed, events.RunFinished: self._finished,
        }  # fmt: skip

    def hear(self, told: Iterable[Event]) -> None:
        """Takes in events, in their order."""
        acts = self._acts
        for event in told:
            act = acts.get(type(event))
            if act is not None:
                act(event)

    def close(self, *, over: bool, cut_off: bool, now: float | None = None) -> None:
        """Says how what is still open stands.

        Args:
            over: The run has ended.
            cut_off: Its process has died.
            now: The present, if it goes on; None if the last that was heard of it is the last there is.
        """
        if now is not None and not over and not cut_off:
            self._see(now)
        life = self.lives[-1]
        life.ended = max(life.began, self.now)
        for take in list(self._open.values()):
            if over:
                take.outcome, take.ended = "cancelled", self.now
            elif cut_off and not take.gate:
                take.outcome, take.ended = "interrupted", self.now
        if not over and not cut_off and now is None and not life.end:
            life.end = "waiting"

    # --- events -------------------------------------------------------------------------------------------

    def _see(self, at: float) -> None:
        if moment(at) > self.now:
            self.now = at

    def _started(self, event: events.RunStarted) -> None:
        self.began = self.now = moment(event.at)
        self.lives = [Lived(event.at)]

    def _take(self, path: NodePath, token: int, at: float) -> Take:
        """A new attempt, and what it follows from."""
        take = Take(path, token, len(self.lives) - 1)
        take.handed = at
        mine = self.of.setdefault(path, [])
        before = mine[-1] if mine and mine[-1].counts else None
        take.number = 1 + sum(
            one.outcome not in ("interrupted", "returned", "part") for one in mine if one.counts
        )
        life = self.lives[-1]
        if life.awake is None:
            life.awake = at
        began = life.awake
        if before is not None and before.due is not None and before.due >= began:
            take.ready, take.after, take.why = before.due, before, "retry"
        elif before is not None and before.outcome in ("returned", "part") and before.ended is not None:
            take.ready, take.after, take.why = before.ended, before, "need"
        else:
            ready, after = self._ready(path)
            answered = ready == life.began and after is not None and after.gate
            if ready is not None and (ready > life.began or answered):
                take.ready, take.after, take.why = ready, after, "need"
            else:
                take.ready = began
        take.ready = min(take.ready, at)
        mine.append(take)
        self.takes.append(take)
        self._open[path] = take
        self._see(at)
        return take

    def _ready(self, path: NodePath) -> tuple[float | None, Take | None]:
        """When the last of a node's needs ended, and which attempt that was."""
        best: tuple[float | None, Take | None] = None, None
        for how, need, depth in self.needs.get(path.node, ()):
            items = path.items if len(path.items) < depth else path.items[:depth]
            found = self._pour_of(path, need, items) if how == "each" else None
            if found is None:
                found = self._latest.get(NodePath(need, items))
            if found is None and len(self.outline.scopes) == 1:  # a journal that does not tell of maps
                found = self._latest.get(NodePath(need, path.items))
            if found is None:
                found = self._source_of(need, items)
            if found is not None and (best[0] is None or found[0] > best[0]):
                best = found
        return best

    def _source_of(self, need: str, items: Items) -> tuple[float, Take | None] | None:
        """When a map that had no items had come to that."""
        scope = self._scope[need]
        while scope:
            source = self.outline.scopes[scope].source
            found = self._latest.get(NodePath(source, items[: self.depths[source]]))
            if found is not None:
                return found
            scope = self._scope[source]
        return None

    def _pour_of(self, path: NodePath, need: str, items: Items) -> tuple[float, Take | None] | None:
        """When the element of a stream came that an item is made for."""
        source = NodePath(need, items)
        poured = self._poured.get(source)
        if poured is None or len(path.items) <= len(items):
            return None
        at = poured.get(path.items[len(items)])
        takes = self.of.get(source)
        return None if at is None else (at, takes[-1] if takes else None)

    def _handed(self, event: events.NodeStarted) -> None:
        self._take(event.path, event.token, event.at)

    def _waiting(self, event: events.NodeWaiting) -> None:
        take = self._take(event.path, event.token, event.at)
        take.gate, take.outcome, take.began = True, "waiting", event.at
        asked = self._asked[event.path] = Asked(take, event)
        self.gates.append(asked)

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        take = self._end(event.path, event.token, event.began, event.ended, "succeeded")
        if take is not None and take.gate:
            self._asked[event.path].value = event.value

    def _failed(self, event: events.NodeFailed | events.NodeRetrying) -> None:
        final = type(event) is events.NodeFailed
        take = self._end(event.path, event.token, event.began, event.ended, "failed", final=final)
        if take is not None:
            take.failure = event.failure
            if isinstance(event, events.NodeRetrying):
                take.due = moment(event.due)

    def _cancelled(self, event: events.NodeCancelled) -> None:
        self._end(event.path, event.token, event.began, event.ended, "cancelled")

    def _end(
        self, path: NodePath, token: int, began: float, ended: float, outcome: Outcome, *, final: bool = True
    ) -> Take | None:
        """Notes an ending; gives the attempt, if there was one."""
        take = self._open.pop(path, None)
        if take is None and token:
            mine = self.of.get(path, ())
            take = next((one for one in reversed(mine) if one.token == token), None)
            if take is not None and take.outcome == "failed":  # it was stopped while it waited to be retried
                take = None
        if take is not None and take.outcome == "interrupted":  # it died, and that was once too often
            take.outcome = outcome
        elif take is not None:
            take.outcome = outcome
            if not take.gate:
                take.began = moment(began)
            take.ended = max(moment(ended), began)
        self._see(ended)
        if final:
            self._over(path, ended, take)
        return take

    def _over(self, path: NodePath, ended: float, take: Take | None) -> None:
        """A node or item has ended: it is what those that need it wait for."""
        self.order.pop(path, None)
        self.order[path] = None
        latest = self._latest
        for depth in range(len(path.items), -1, -1):
            around = path if depth == len(path.items) else NodePath(path.node, path.items[:depth])
            known = latest.get(around)
            if known is None or ended >= known[0]:
                latest[around] = ended, take

    def _skipped(self, event: events.NodeSkipped) -> None:
        at, take = self._ready(event.path)
        if at is not None:  # what needs it has waited for what it had needed
            self._over(event.path, at, take)

    def _interrupted(self, event: events.NodeInterrupted) -> None:
        take = self._open.get(event.path)
        if take is not None and take.token == event.token:
            del self._open[event.path]
            take.outcome, take.ended = "returned", self.now

    def _folded(self, event: events.NodeFolded) -> None:
        take = self._open.pop(event.path, None)
        if take is not None:
            take.outcome, take.began, take.ended = "part", take.handed, self.now

    def _expanded(self, event: events.NodeExpanded) -> None:
        scope = self._scope.get(event.path.node, 0)
        if scope and event.size is not None:
            self.sizes[scope, event.path.items] = event.size
            if event.keys is not None:
                self.places[scope, event.path.items] = {key: at for at, key in enumerate(event.keys)}

    def _yielded(self, event: events.NodeYielded) -> None:
        poured = self._poured.setdefault(event.path, {})
        poured.setdefault(event.position, self.now)
        scopes = self._opens.get(event.path.node, ())
        for scope in scopes:
            self.sizes[scope, event.path.items] = event.position + 1
        for scope, key in zip(scopes, event.keys or (), strict=False):
            if key is not None:
                poured.setdefault(key, self.now)
                self.places.setdefault((scope, event.path.items), {})[key] = event.position

    def _resumed(self, event: events.RunResumed) -> None:
        life = self.lives[-1]
        life.ended = min(max(life.began, moment(event.at) - moment(event.away)), event.at)
        life.end = "cut off" if event.crashed else self.finished or life.end or "waiting"
        self.finished = ""
        fresh = Lived(event.at, max(0.0, event.at - life.ended), event.crashed)
        fresh.changed = tuple(map(str, event.code))
        undone = 0
        for path, take in list(self._open.items()):
            if not take.gate:
                del self._open[path]
                take.outcome, take.ended = "interrupted", max(life.ended, take.handed or life.ended)
                undone += 1
        fresh.undone = undone + self._undo(event.drop, event.restart)
        self.lives.append(fresh)
        self._see(event.at)

    def _undo(self, drop: Iterable[NodePath], restart: Iterable[NodePath]) -> int:
        """What does not count any more; gives how many attempts that are."""
        whole: dict[str, set[Items]] = {}
        for path in drop:
            whole.setdefault(path.node, set()).add(path.items)
        exact = set(restart)
        ids = whole.keys() | {path.node for path in exact}
        undone = 0
        for take in self.takes if ids else ():
            path = take.path
            if not take.counts or path.node not in ids:
                continue
            tops = whole.get(path.node, ())
            if path in exact or any(path.items[:size] in tops for size in range(len(path.items) + 1)):
                take.counts = False
                undone += take.outcome != "interrupted"  # those are counted already
                self.order.pop(path, None)
                self._open.pop(path, None)
                if take.gate and take.outcome == "waiting":
                    take.outcome, take.ended = "interrupted", self.lives[-1].ended
        return undone

    def _finished(self, event: events.RunFinished) -> None:
        self.finished = event.status.value
        self.lives[-1].end = self.finished
        self._see(event.at)


def depths_of(outline: Outline) -> dict[str, int]:
    """For each node, by id, how many maps are around it."""
    depth = [0]
    for scope in outline.scopes[1:]:
        depth.append(depth[scope.parent] + 1)
    return {node.id: depth[node.scope] for node in outline.nodes}


def moment(at: float) -> float:
    """A moment, or a number of seconds.

    Raises:
        ValueError: It is none.
    """
    if not isfinite(at):
        raise ValueError(f"there is no moment {at!r:.20}")
    return at


def needs_of(outline: Outline) -> dict[str, list[tuple[str, str, int]]]:
    """For each node its needs: how, whose, and how many of its own items say which item of it that is."""
    scopes, scope_of = outline.scopes, {node.id: node.scope for node in outline.nodes}
    chains: list[list[int]] = []
    for number in range(len(scopes)):
        chain, at = [], number
        while at > 0:
            chain.append(at)
            at = scopes[at].parent
        chains.append(chain[::-1])
    found = {}
    for node in outline.nodes:
        mine = chains[node.scope]
        edges = []
        for how, need in node.needs:
            theirs = chains[scope_of[need]]
            depth = 0
            while depth < min(len(mine), len(theirs)) and mine[depth] == theirs[depth]:
                depth += 1
            if how == "gather" and depth == len(theirs) > 0:
                depth -= 1
            edges.append((how, need, depth))
        found[node.id] = edges
    return found
