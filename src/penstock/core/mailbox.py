"""Where replies from anywhere wait for the engine's next turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .commands import Reply


class Mailbox:
    """A queue of replies and a bell.

    Any thread may post. The bell is rung only while the engine sleeps, so that a busy engine is not woken for
    every reply.

    Attributes:
        replies: What has come since the last turn.
        sleeping: The engine waits for the bell.
        bell: Wakes the engine; set by the shell that runs it.
        lost: Whether the engine can never be woken again, for its event loop was closed.
    """

    __slots__ = ("bell", "lost", "replies", "sleeping")

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.sleeping = False
        self.bell: Callable[[], None] = silent
        self.lost: Callable[[], bool] = bool

    def post(self, reply: Reply) -> None:
        """Leaves a reply, and wakes the engine if it sleeps."""
        self.replies.append(reply)
        self.ring()

    def ring(self) -> None:
        """Wakes the engine if it sleeps."""
        if self.sleeping:
            self.sleeping = False
            self.bell()


def silent() -> None:
    """The bell of a mailbox at which nobody waits."""
