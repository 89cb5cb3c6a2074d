"""The user's small functions, conditions and keys, as they are called in the engine's own thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from .context import CURRENT, RunLink


class UserCode:
    """Calls them for one run, each in a copy of the context in which the run was called, as a step is.

    Args:
        link: Tells the run that they find themselves in.

    Attributes:
        busy: One of them runs: an interrupt may be raised in it.
    """

    __slots__ = ("_given", "_link", "busy")

    def __init__(self, link: RunLink) -> None:
        self.busy = False
        self._link = link
        self._given: Context | None = None

    def context(self) -> Context:
        """A context for one of them."""
        if self._given is None:
            self._given = copy_context()
            self._given.run(CURRENT.set, self._link)
        return self._given.copy()

    def run(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls one. It may raise KeyboardInterrupt, which then is a request to cancel the run."""
        context = self.context()
        try:
            self.busy = True
            return context.run(call, *args, **kwargs)
        finally:
            self.busy = False
