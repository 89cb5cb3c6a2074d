"""Every error Penstock raises on purpose. It names nothing above itself, so that a reader can start here.

PenstockError
├── GraphError (ValueError)      the graph, or what was asked of it, is wrong; nothing has started
│   └── CycleError               its needs run in a circle; `.cycle` holds the ids in order
├── InputError (ValueError)      the inputs, targets or overrides of one run do not fit the graph
├── RunFailed                    raised by `RunResult.raise_for_failure()`; `.result` holds the run
│   └── RunCancelled             the same, of a run that was cancelled
├── StoreError                   a run could not be written down or read; nothing was half recorded
│   ├── StoreFull                there is no space left
│   ├── StoreBusy                somebody else keeps it locked
│   ├── StoreDamaged             what it holds is not what was written
│   ├── StoreTooNew              a later version of this library has written it
│   ├── ValueLost                a large value is missing, or not what was stored
│   └── ClaimLost                another process has taken the run over
├── RunNotFound (LookupError)    there is no such run in the store
├── RunBusy                      another process drives the run
├── RunExists                    a run of this id was given other inputs
├── GraphChanged                 the code is not what a finished part of the run was made with
├── NotStorable (TypeError)      a value is of a type that no codec knows; `.path` says where
├── CannotDecode                 a stored value is of a type that is not known here
└── InternalError                a bug of ours: the state of the machine is not what the rules allow

RetryAfter is raised by a step, not by us: the step knows when it may be tried again. WorkerDied is raised by
nobody: it is what `retry_on` is asked about when the process of a step has died.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .amounts import check_seconds


class PenstockError(Exception):
    """Base of all errors of this library; never raised itself."""


class GraphError(PenstockError, ValueError):
    """The graph is not valid; nothing was started."""


class CycleError(GraphError):
    """The needs of some nodes run in a circle.

    Attributes:
        cycle: The ids along one shortest circle, first and last the same.
    """

    def __init__(self, cycle: Iterable[str]) -> None:
        self.cycle = tuple(cycle)
        super().__init__(f"these steps wait for each other: {' -> '.join(self.cycle)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cycle,)


class InputError(PenstockError, ValueError):
    """What was given to one run does not fit the graph; nothing was started."""


class RunFailed(PenstockError):
    """The run ended without success.

    Attributes:
        result: The whole `RunResult`: nothing is lost because something failed.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


class RunCancelled(RunFailed):
    """The run was cancelled before it could end."""


class InternalError(PenstockError):
    """The machine met a state that its rules exclude: this is a bug in Penstock, please report it."""


class StoreError(PenstockError):
    """A store could not do what was asked of it. The run that met it is cut off, and can be resumed.

    Attributes:
        transient: Whether the same call might succeed a moment later.
    """

    transient = False


class StoreFull(StoreError):
    """There is no space left where the store is."""


class StoreBusy(StoreError):
    """Another process has kept the store locked for too long; the text says who, where that is known."""

    transient = True


class StoreDamaged(StoreError):
    """What the store holds is not what was written. Nothing in it was changed."""


class StoreTooNew(StoreError):
    """A later version of this library has written the store: this one only reads it."""


class ValueLost(StoreError):
    """A large value is not where it was put, or is not what was put there."""


class ClaimLost(StoreError):
    """Another process has taken the run over; whatever this one still does is not recorded."""


class RunNotFound(PenstockError, LookupError):
    """There is no such run in the store."""


class RunBusy(PenstockError):
    """Another process drives the run.

    Attributes:
        owner: Which one, in words.
    """

    def __init__(self, message: str, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


class RunExists(PenstockError):
    """There is a run of this id, and it is not the same: other inputs, or another flow."""


class GraphChanged(PenstockError):
    """The code is not what a finished part of the run was made with.

    Attributes:
        changes: What has changed, a line each.
    """

    def __init__(self, message: str, changes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.changes = tuple(changes)


class NotStorable(PenstockError, TypeError):
    """A value has something in it that no codec knows.

    Attributes:
        path: Where in the value: ``$.rows[3].conn``.
    """

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class CannotDecode(PenstockError):
    """A stored value is of a type that is not known here; it is still stored.

    Attributes:
        tag: What the store calls the class that is missing; empty where it is none.
    """

    def __init__(self, message: str, tag: str = "") -> None:
        super().__init__(message)
        self.tag = tag


class RetryAfter(Exception):
    """Raised inside a step: "try me again, but not before `seconds` from now".

    It counts as a retryable failure whatever `retry_on` says, and raises the delay of the retry policy,
    beyond `max_delay` too: the other side knows better. Without a retry policy it fails the step.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        check_seconds("RetryAfter", "seconds", seconds)
        super().__init__(message or f"retry after {seconds} s")
        self.seconds = float(seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.seconds, str(self))


class WorkerDied(Exception):
    """The process that ran a step has died: it crashed, was killed, or left without a word.

    For ``retry_on``, which takes it or does not, like what a step raises.
    """


def nearest(word: str, words: Iterable[str]) -> str:
    """` did you mean 'transform'?` with a leading semicolon, or nothing when no word is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
