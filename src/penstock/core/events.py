"""Events: what has happened to a run, in the past tense.

Whoever folds them in order knows where the run stands. They name nodes by path, never by a number of the
machine: numbers follow the order of events and would shift under a replay that leaves some out. `Progressed`,
`Logged` and `Measured` bypass the machine and the journal. Times are seconds of the run's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from .model import Abandoned, Failure, RunStatus, SkipCause
from .model import NodePath as NodePath
from .model import RunStarted as RunStarted


class NodeExpanded(NamedTuple):
    """The map headed by this node opened with `size` items; a stream's map opens with None and grows. `keys`
    names the items, where they are not known by their index."""

    path: NodePath
    size: int | None
    keys: tuple[int | str, ...] | None = None


class NodeStarted(NamedTuple):
    """An attempt was handed to its runner. `token` counts the hand-outs of this node, not its retries."""

    path: NodePath
    token: int
    at: float


class NodeYielded(NamedTuple):
    """A stream gave its element number `position`; `keys` are its names in the maps that it feeds, where they
    have names."""

    path: NodePath
    token: int
    position: int
    element: Any
    keys: tuple[int | str | None, ...] | None = None


class NodeDecided(NamedTuple):
    """A condition of the user's own was answered; it is never asked again in this run."""

    path: NodePath
    what: Literal["trigger", "when"]
    value: bool


class NodeSucceeded(NamedTuple):
    """An attempt brought a value, and with it what it wrote into shared state."""

    path: NodePath
    token: int
    value: Any
    writes: Mapping[Any, Any] | None
    source: str
    began: float
    ended: float


class NodeRetrying(NamedTuple):
    """An attempt failed and another one is due at `due`."""

    path: NodePath
    token: int
    failure: Failure
    due: float
    began: float
    ended: float


class NodeFailed(NamedTuple):
    """The last attempt failed, or a condition raised (then `token` is 0: nothing was started)."""

    path: NodePath
    token: int
    failure: Failure
    began: float
    ended: float


class NodeSkipped(NamedTuple):
    """The node will never start. `because` is None when the run was cancelled from outside."""

    path: NodePath
    cause: SkipCause
    because: NodePath | None


class RestSkipped(NamedTuple):
    """The items of a map from number `first` on will never start: one event for all of them.

    `path` is that of the step that heads the map, and `nodes` are the ids of all steps in it; of each of them
    `size` items are skipped.
    """

    path: NodePath
    nodes: tuple[str, ...]
    first: int
    size: int
    cause: SkipCause
    because: NodePath | None


class NodeCancelled(NamedTuple):
    """The node was running, retrying or waiting when the run was stopped."""

    path: NodePath
    token: int
    abandoned: Abandoned | None
    began: float
    ended: float


class NodeWaiting(NamedTuple):
    """A gate is open and waits for an answer under this token; at `due`, if it says so, it waits no longer.
    `prompt` is what it asks, and `takes` the type of an answer; both are empty for one that only sleeps."""

    path: NodePath
    token: int
    at: float
    due: float | None = None
    prompt: str = ""
    takes: str = ""


class NodeInterrupted(NamedTuple):
    """An attempt was cut off by a crash, or given back before it began; it is not charged to the node."""

    path: NodePath
    token: int


class NodePaused(NamedTuple):
    """A stream waits for its consumers and has given back its slot and its limits."""

    path: NodePath
    token: int


class NodeResumed(NamedTuple):
    """A paused stream has its slot and limits again."""

    path: NodePath
    token: int
    at: float


class NodeFolded(NamedTuple):
    """A fold has taken all items before number `upto`, and has given back its slot until more have ended. It
    need not be kept: a fold starts over from the items."""

    path: NodePath
    token: int
    upto: int


class AttemptReleased(NamedTuple):
    """An abandoned attempt ended at last by itself: the limits it held are free."""

    path: NodePath
    token: int


class RunResumed(NamedTuple):
    """The run goes on after it was cut off, has waited, or had ended without success.

    Attributes:
        at: When.
        away: Seconds since the last that was heard of it: they count for no deadline and no total time.
        drop: Nodes and items of which nothing counts any more that was recorded before.
        restart: Nodes and items that begin again; what their conditions said, and elements that they gave,
            counts.
        code: By id, fingerprints that have changed since; behind one, as JSON, what its node needs, where
            that has changed.
        crashed: Whether its owner had died.
    """

    at: float
    away: float
    drop: tuple[NodePath, ...] = ()
    restart: tuple[NodePath, ...] = ()
    code: Mapping[str, str] = {}
    crashed: bool = False


class CancelAsked(NamedTuple):
    """Somebody asked for the run to be cancelled."""

    reason: str
    at: float


class DeadlineReached(NamedTuple):
    """The run's time is over: it stops, and has failed."""

    at: float


class RunFinished(NamedTuple):
    """The last event of every run that ends."""

    status: RunStatus
    at: float


class Progressed(NamedTuple):
    """A step says how far it is. Bypasses the machine."""

    path: NodePath
    done: float
    total: float | None
    text: str


class Logged(NamedTuple):
    """A step says something. Bypasses the machine.

    Attributes:
        path: The step, or the item.
        attempt: Number of the attempt, from 1.
        message: What it says; known secrets are masked, control characters are as they came.
        fields: What `Context.log` was given besides.
        level: One of LEVELS.
        origin: The logger's name; ``stdout`` or ``stderr`` of what was printed; empty for `Context.log`.
        at: When, in seconds since 1970.
    """

    path: NodePath
    attempt: int
    message: str
    fields: Mapping[str, Any]
    level: str = "info"
    origin: str = ""
    at: float = 0.0


LEVELS = ("debug", "info", "warning", "error", "critical")
"""How much what is `Logged` matters."""


class Measured(NamedTuple):
    """What an attempt has used, told when it ends. Bypasses the machine.

    Attributes:
        path: The step, or the item.
        token: Of the attempt.
        cpu: Seconds of processor time; None where it cannot be told.
        memory: Bytes, at most at a time, of the process that the attempt had to itself; None elsewhere.
        exact: Whether `memory` is the attempt's own; otherwise it used no more than that.
    """

    path: NodePath
    token: int
    cpu: float | None
    memory: int | None = None
    exact: bool = True


NodeEvent = (
    NodeExpanded | NodeStarted | NodeYielded | NodeDecided | NodeSucceeded | NodeRetrying | NodeFailed
    | NodeSkipped | NodeCancelled | NodeWaiting | NodeInterrupted | NodePaused | NodeResumed | NodeFolded
    | RestSkipped | AttemptReleased
)  # fmt: skip
Event = RunStarted | NodeEvent | RunResumed | CancelAsked | DeadlineReached | RunFinished
"""What the machine folds; observers see `Progressed`, `Logged` and `Measured` besides."""
