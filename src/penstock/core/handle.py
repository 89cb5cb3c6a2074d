"""A run that goes on in the background, as its owner holds it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from . import forks
from .backlog import Backlog, Cursor
from .engine import Engine
from .outline import outline_of
from .result import RunResult
from .stream import Item, Lens, Progress, Told, Update, ValueOf, lens_of

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T", covariant=True)
_PIECE = 0.5  # seconds
_AT_A_TIME = 64  # items that an event loop is kept for


class Handle:
    """A started run.

    Attributes:
        run_id: Its id.
    """

    def __init__(self, engine: Engine) -> None:
        self.run_id = engine.run_id
        self._engine = engine
        self._backlog = Backlog()
        self._start = self._backlog.first_page()
        self._done = Flag()
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        engine.add_observer(self._backlog.hear)

    def __repr__(self) -> str:
        return f"<run {self.run_id}: {'ended' if self._done.is_set() else 'running'}>"

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._done.is_set()

    @overload
    def events(self, view: Literal["all"] = ...) -> Reader[Told]: ...
    @overload
    def events(self, view: Literal["values"]) -> Reader[ValueOf]: ...
    @overload
    def events(self, view: Literal["updates"]) -> Reader[Update]: ...
    @overload
    def events(self, view: Literal["progress"]) -> Reader[Progress]: ...
    @overload
    def events(self, view: str) -> Reader[Item]: ...
    def events(self, view: str = "all") -> Reader[Any]:
        """A view of the run's events from its start, as they come; ends with the run.

        Args:
            view: See `viewed`.

        Raises:
            InputError: There is no such view.
        """
        return Reader(self._cursor(), self._lens(view), self._refuse_after_fork)

    @overload
    def stream(self, view: Literal["all"] = ...) -> AsyncReader[Told]: ...
    @overload
    def stream(self, view: Literal["values"]) -> AsyncReader[ValueOf]: ...
    @overload
    def stream(self, view: Literal["updates"]) -> AsyncReader[Update]: ...
    @overload
    def stream(self, view: Literal["progress"]) -> AsyncReader[Progress]: ...
    @overload
    def stream(self, view: str) -> AsyncReader[Item]: ...
    def stream(self, view: str = "all") -> AsyncReader[Any]:
        """The same for an ``async for``, on whatever event loop runs there. Whoever is cancelled in it only
        ends their reading."""
        return AsyncReader(self._cursor(), self._lens(view), self._refuse_after_fork)

    def __aiter__(self) -> AsyncReader[Told]:
        return self.stream()

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

    def _cursor(self) -> Cursor:
        self._refuse_after_fork()
        return self._backlog.cursor(self._start)

    def _lens(self, view: str) -> Lens:
        return lens_of(view, outline_of(self._engine.plan.graph) if view in ("progress", "updates") else None)

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
        self._backlog.end()


class _Reading(Generic[T]):
    """What both kinds of readers do: they take events, and give what their view has of them."""

    def __init__(self, cursor: Cursor, lens: Lens, check: Callable[[], None]) -> None:
        self._cursor = cursor
        self._lens = lens
        self._check = check
        self._items: Iterator[Any] = iter(())

    def _take(self) -> Any:
        """The next item; `_NONE` if there is none by now, and `_END` if there will be none."""
        self._check()
        while (item := next(self._items, _NONE)) is _NONE:
            event = self._cursor.take()
            if event is None:
                return _END if self._cursor.is_over else _NONE
            found: Iterable[Any] = self._lens(event)
            self._items = iter(found)
        return item

    def _close(self) -> None:
        self._items = iter(())
        self._cursor.close()


_NONE, _END = object(), object()


class Reader(_Reading[T], Iterator[T]):
    """One who reads a run's events in a ``for``, from the start; in one thread at a time."""

    def __init__(self, cursor: Cursor, lens: Lens, check: Callable[[], None]) -> None:
        super().__init__(cursor, lens, check)
        self._bell: SimpleQueue[None] = SimpleQueue()
        cursor.wake = partial(self._bell.put, None)

    def __next__(self) -> T:
        while (item := self._take()) is _NONE:
            self._cursor.sleep()
            self._bell.get()
        if item is _END:
            raise StopIteration
        made: T = item
        return made

    def close(self) -> None:
        """Ends the reading, also for one who waits in another thread. The run goes on."""
        self._close()
        self._bell.put(None)


class AsyncReader(_Reading[T], AsyncIterator[T]):
    """One who reads a run's events in an ``async for``, from the start; on one event loop at a time."""

    _given = 0

    async def __anext__(self) -> T:
        self._given += 1
        if self._given % _AT_A_TIME == 0:
            import asyncio

            await asyncio.sleep(0)
        while (item := self._take()) is _NONE:
            await self._something()
        if item is _END:
            raise StopAsyncIteration
        made: T = item
        return made

    async def aclose(self) -> None:
        """Ends the reading. The run goes on."""
        self._close()

    async def _something(self) -> None:
        """Waits until there is something to take, or the end."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._cursor.wake = partial(_wake, loop, woken)
        self._cursor.sleep()
        try:
            await woken
        finally:
            self._cursor.stay_awake()


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if woken.done() else woken.set_result(None))
