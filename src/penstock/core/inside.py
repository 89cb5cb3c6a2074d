"""The attempt in whose step we are, as whatever runs in it can see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from .model import NodePath

Say = Callable[[Any], None]


class Inside:
    """The attempt in whose step we are.

    Attributes:
        run_id: Of the run.
        path: The step, or the item.
        attempt: Its number, from 1.
        token: Tells it from all other hand-outs of its node.
        say: Tells the run something, from any thread.
        lines: Ends of lines that were printed and are not complete, by stream; None before the first.
        carried: Texts that travel with it to another process, by name.
    """

    __slots__ = ("attempt", "carried", "lines", "path", "run_id", "say", "token")

    def __init__(
        self,
        run_id: str,
        path: NodePath,
        attempt: int,
        token: int,
        say: Say,
        carried: Mapping[str, str] | None = None,
    ) -> None:
        self.run_id = run_id
        self.path = path
        self.attempt = attempt
        self.token = token
        self.say = say
        self.lines: dict[str, str] | None = None
        self.carried: Mapping[str, str] = carried or {}

    def tell(self, event: Any) -> None:
        """Says something that can hurt nobody: in a forked process, for one, there is nobody to hear it."""
        try:
            self.say(event)
        except Exception:
            pass


INSIDE: ContextVar[Inside | None] = ContextVar("penstock_inside", default=None)
"""The attempt in whose step we are, in runs that attend to their attempts; otherwise None."""


class Usage(NamedTuple):
    """What an attempt has used; see `events.Measured`."""

    cpu: float | None
    memory: int | None = None
    exact: bool = True
