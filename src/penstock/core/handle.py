"""A run that goes on in the background, as its owner holds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event as Flag
from typing import Any

from . import forks
from .engine import Engine
from .result import RunResult

_END = object()
_PIECE = 0.5  # seconds


class Handle:
    """A started run.

    Attributes:
        run_id: Its id.
    """

    def __init__(self, engine: Engine) -> None:
        self.run_id = engine.run_id
        self._engine = engine
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._done = Flag()
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        engine.add_observer(self._events.put)

    def __repr__(self) -> str:
        return f"<run {self.run_id}: {'ended' if self._done.is_set() else 'running'}>"

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._done.is_set()

    def events(self) -> Iterator[Any]:
        """The run's events from its start, as they come; ends with the run. For one reader."""
        while (event := self._next_event()) is not _END:
            yield event
        self._events.put(_END)  # so that a second look ends too

    def cancel(self, reason: str = "") -> None:
        """Asks for the run to be cancelled; `result` then waits for its orderly end."""
        self._refuse_after_fork()
        self._engine.cancel(reason)

    def answer(self, gate: str, value: Any) -> None:
        """Answers a gate, which may not be open yet. The first answer counts.

        Raises:
            InputError: There is no such gate, or it takes another kind of answer.
        """
        self._refuse_after_fork()
        self._engine.answer(gate, value)

    def result(self, timeout: float | None = None) -> RunResult:
        """Waits for the end of the run.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutError: It has not ended by then; it goes on.
            RuntimeError: It goes on in another process, which has forked this one.
        """
        if not self._wait(timeout):
            raise TimeoutError(f"run {self.run_id} has not ended after {timeout:g} s; it goes on")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _next_event(self) -> Any:
        self._refuse_after_fork()
        return self._events.get()

    def _refuse_after_fork(self) -> None:
        if self._engine.is_forked and not self._done.is_set():
            raise RuntimeError(forks.refusal(self.run_id))

    def _wait(self, timeout: float | None) -> bool:
        """Waits in short pieces: a signal for this thread is only seen between two of them."""
        self._refuse_after_fork()
        until = None if timeout is None else time.monotonic() + timeout
        while not self._done.is_set():
            piece = _PIECE if until is None else min(_PIECE, until - time.monotonic())
            if piece <= 0:
                return False
            self._done.wait(piece)
        return True

    def finish(self, result: RunResult | None, error: BaseException | None) -> None:
        """Called by whoever ran the engine."""
        self._result, self._error = result, error
        self._done.set()
        self._events.put(_END)
