"""The attempt in whose step we are, as whatever runs in it can see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .model import NodePath

Say = Callable[[Any], None]

NOTHING_CARRIED: Final[Mapping[str, str]] = MappingProxyType({})


class Inside:
    """The attempt in whose step we are.

    Attributes:
        run_id: Of the run.
        attempt: Its number, from 1.
        token: Tells it from all other hand-outs of its node.
        say: Tells the run something, from any thread.
        lines: Ends of lines that were printed and are not complete, by stream; None before the first.
        carried: Texts that travel with it to another process, by name.
    """

    __slots__ = ("_path", "attempt", "carried", "lines", "run_id", "say", "token")

    def __init__(
        self,
        run_id: str,
        path: NodePath | None,
        attempt: int,
        token: int,
        say: Say,
        carried: Mapping[str, str] = NOTHING_CARRIED,
    ) -> None:
        self.run_id = run_id
        self._path = path
        self.attempt = attempt
        self.token = token
        self.say = say
        self.lines: dict[str, str] | None = None
        self.carried = carried

    @property
    def path(self) -> NodePath:
        """The step, or the item."""
        path = self._path
        if path is None:
            path = self._path = self._find()
        return path

    def _find(self) -> NodePath:
        raise NotImplementedError  # whoever does not know its path knows how to find it

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
