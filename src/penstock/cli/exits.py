"""Exit codes, and the errors that stand for them. The numbers are a promise: scripts ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # nothing is loaded for --help
    from penstock.core.errors import PenstockError
    from penstock.core.model import RunStatus

SUCCEEDED = 0
FAILED = 1
USAGE = 2
GRAPH = 3
STORE = 4
WAITING = 5
INTERRUPTED = 130
TERMINATED = 143


class Misuse(Exception):
    """What was asked for cannot be done: its text is all that is shown, and nothing has started.

    Attributes:
        code: The exit code.
        trace: The user's own traceback, where it was their code that raised.
    """

    def __init__(self, message: str, code: int = USAGE, *, trace: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.trace = trace


def of_status(status: RunStatus, *, terminated: bool = False) -> int:
    """The exit code of a run.

    Args:
        status: How it ended.
        terminated: What cancelled it was SIGTERM, not Ctrl-C.
    """
    codes = {
        "succeeded": SUCCEEDED,
        "failed": FAILED,
        "waiting": WAITING,
        "cancelled": TERMINATED if terminated else INTERRUPTED,
    }
    return codes.get(status.value, FAILED)


def of_error(error: PenstockError) -> int:
    """The exit code of an error that kept a run from starting, from going on, or from being recorded."""
    from penstock.core.errors import CannotDecode, GraphError, RunBusy, RunCancelled, RunFailed

    if isinstance(error, GraphError):
        return GRAPH
    if isinstance(error, RunFailed):
        return INTERRUPTED if isinstance(error, RunCancelled) else FAILED
    if isinstance(error, (RunBusy, CannotDecode)):
        return STORE
    if any(cls.__name__ == "StoreError" for cls in type(error).__mro__):
        return STORE
    return USAGE
