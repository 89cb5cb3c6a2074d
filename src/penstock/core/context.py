"""What a step is told about itself, and what it may say while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .events import Logged, NodePath, Progressed


class Context:
    """Handed to a step whose parameter is annotated ``Context``.

    Attributes:
        run_id: Id of the run.
        path: The step's id; for an item with its indices: ``parse[3]``.
        node: The step's id alone.
        key: Indices of the item, outermost first; empty outside maps.
        attempt: Number of this attempt, from 1.
    """

    __slots__ = ("_path", "_say", "_stop", "attempt", "run_id")

    def __init__(self, run_id: str, path: NodePath, attempt: int, say: Callable[[Any], None]) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self._path = path
        self._say = say
        self._stop = False

    def __repr__(self) -> str:
        return f"<Context {self.path}, attempt {self.attempt} of run {self.run_id}>"

    @property
    def path(self) -> str:
        return str(self._path)

    @property
    def node(self) -> str:
        return self._path.node

    @property
    def key(self) -> tuple[int, ...]:
        return self._path.items

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step in this run, and for nothing else: give it to services
        that do a thing once per key."""
        return f"{self.run_id}/{self._path}"

    @property
    def cancelled(self) -> bool:
        """Whether the step was asked to stop. A step in a thread cannot be stopped from outside: a long one
        looks here now and then and returns."""
        return self._stop

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Says how far the step is.

        Args:
            done: Units done so far.
            total: Units in all, if known.
            text: A word about what it is doing.
        """
        self._say(Progressed(self._path, done, total, text))

    def log(self, message: str, **fields: Any) -> None:
        """Says something to the run's observers."""
        self._say(Logged(self._path, self.attempt, message, fields))

    def ask_to_stop(self) -> None:
        """Sets `cancelled`; for runners."""
        self._stop = True
