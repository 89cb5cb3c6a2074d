"""A call in a daemon thread of its own: whoever waits for it can leave it behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any


class Apart:
    """One call of user code, apart from the thread that asks for it.

    Args:
        call: What is called, without arguments.
        name: Of the thread.

    Attributes:
        value: What it returned.
        error: What it raised; None if it has not, or not yet.
    """

    __slots__ = ("_call", "_name", "error", "value")

    def __init__(self, call: Callable[[], Any], name: str) -> None:
        self._call = call
        self._name = name
        self.value: Any = None
        self.error: BaseException | None = None

    def start(self, ended: Callable[[], object]) -> None:
        """Begins it in a copy of the caller's context; `ended` is called in its thread at its end."""
        variables = copy_context()

        def serve() -> None:
            try:
                self.value = variables.run(self._call)
            except BaseException as error:
                self.error = error
            finally:
                ended()

        threading.Thread(target=serve, name=self._name, daemon=True).start()
