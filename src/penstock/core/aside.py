"""Observers stand aside: they are called in a thread of their own, so that none of them can hold up a run.

For the engine this is one observer that takes an event, and is done. The thread takes what has come and tells
it to the observers, in order and one call at a time. One that raises is told nothing more, and so is one that
is too far behind: its thread is left to it, and another one goes on with the others. At its end a run waits
until everything has been heard, but not for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import Any

from . import forks
from .backlog import Backlog
from .failures import said_by
from .ports import Observer

MOST = 100_000
"""How many events an observer may be behind; `Progressed` are dropped long before."""

_NAP = 0.002
"""Seconds for which the thread lets events gather, so that not each of them has to wake it."""

_LONGEST = 1e6
"""Seconds; a grace may be infinite, a lock's may not."""


class Aside:
    """The observers of one run.

    Its thread begins with the first event. They are called in a copy of the context in which this is made.

    Args:
        observers: What is told.
        run_id: Of the run.

    Attributes:
        hear: The observer that the engine has for all of them.
        warnings: What is to be said about them.
    """

    def __init__(self, observers: Sequence[Observer], run_id: str) -> None:
        self._observers = tuple(observers)
        self._run_id = run_id
        self.warnings: list[str] = []
        self._variables = copy_context()
        self._backlog = Backlog(replays=False)
        self._cursor = self._backlog.cursor(self._backlog.first_page())
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._event: Any = None
        self._batch: Iterator[Any] = iter(())  # taken, and not told yet
        self._calling: list[Observer] = []  # who is being called; what is taken out of it is left behind
        self._most = MOST
        self._left = False
        self._forked = False
        self._ended: Callable[[], object] = bool
        self._backlog.on_page = self._look
        self._cursor.wake = self._start
        self._cursor.sleep()
        self.hear = self._backlog.hear

    def finish(self, grace: float) -> None:
        """The run is over: waits until all has been heard, or left behind. Ctrl-C leaves it behind, too.

        Args:
            grace: Seconds to wait at most.
        """
        self._end()
        when = f"{grace:g} s after the end of the run"
        try:
            if self._thread is not None:
                self._thread.join(min(grace, _LONGEST))
        except KeyboardInterrupt:
            when = "when the wait for it was interrupted"
        self._leave_behind(when)

    async def afinish(self, grace: float) -> None:
        """The same on the running loop, which goes on meanwhile."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
        except RuntimeError:  # the loop was closed, and the run given up
            self._end()
            return
        self._ended = partial(_tell, loop, ended)
        self._end()
        when = "when the wait for it was cancelled"
        try:
            if self._thread is not None and self._thread.is_alive():
                await asyncio.wait((ended,), timeout=min(grace, _LONGEST))
                if ended.done():
                    self._thread.join()  # it is at its last line
            when = f"{grace:g} s after the end of the run"
        finally:
            self._leave_behind(when)

    def forked(self) -> None:
        """In a forked process, where there is no run."""
        self._forked = True

    def _start(self) -> None:
        self._cursor.wake = partial(self._bell.put, None)
        forks.watch(self)
        self._go_on(())

    def _go_on(self, rest: Sequence[Observer]) -> None:
        """Begins a thread, which first tells these what it is at."""
        self._calling = []
        thread = threading.Thread(
            target=self._variables.copy().run,
            args=(self._serve, self._calling, rest),
            name=f"penstock-observers-{self._run_id}",
            daemon=True,
        )
        thread.start()
        self._thread = thread

    def _serve(self, calling: list[Observer], rest: Sequence[Observer]) -> None:
        event, observers = self._event, rest
        while True:
            for observer in observers:
                error = None
                calling.append(observer)
                try:
                    observer(event)
                except BaseException as raised:
                    error = raised
                if self._forked:
                    forks.leave(self._run_id)
                try:
                    calling.pop()
                except IndexError:  # it was left behind, with this thread
                    return
                if error is not None:
                    self._drop(observer, f"raised {said_by(error)}; it is told nothing more")
            observers, event = self._observers, next(self._batch, None)
            if event is None and observers and self._fill():
                event = next(self._batch, None)
            if event is None:
                break
            self._event = event
        self._end_observers(calling)
        self._cursor.close()
        self._ended()

    def _end_observers(self, calling: list[Observer]) -> None:
        """A tracer, say, ends what a run that was put down leaves open."""
        for observer in () if self._left else self._observers:
            calling.append(observer)
            try:
                getattr(observer, "end_of_run", bool)()
            except BaseException as error:
                self._drop(observer, f"raised {said_by(error)} at the end of the run")
            try:
                calling.pop()
            except IndexError:  # it was left behind, with this thread
                return

    def _fill(self) -> bool:
        """Waits for events; whether there are any."""
        cursor = self._cursor
        while not (some := cursor.take_some()):
            if cursor.is_over:
                return False
            try:
                self._bell.get(timeout=_NAP)
            except Empty:
                if not cursor.behind:
                    cursor.sleep()
                    self._bell.get()
        self._batch = iter(some)
        return not self._left

    @property
    def _behind(self) -> int:
        """How many events have not been told to all."""
        return self._cursor.behind + length_hint(self._batch)

    def _end(self) -> None:
        self._backlog.on_page = None
        self._cursor.wake = partial(self._bell.put, None)  # a thread that has not begun need not
        self._backlog.end()
        self._bell.put(None)

    def _drop(self, observer: Observer, why: str) -> None:
        """It is named, and told nothing more."""
        self._observers = tuple(each for each in self._observers if each is not observer)
        self.warnings.append(f"observer {_name_of(observer)} {why}")

    def _look(self) -> None:
        """Whether the one that is being called is too far behind; called by the engine now and then."""
        if self._behind <= self._most:
            return
        try:
            late = self._calling.pop()
        except IndexError:  # it has just come back: this is asked again soon
            return
        rest = self._after(late)
        self._drop(late, f"was more than {MOST:,} events behind; it is told nothing more")
        if self._observers:
            self._most = self._behind + MOST  # the others are not to blame
            self._go_on(rest)
        else:
            self._cursor.close()
            self._backlog.on_page = self._thread = None

    def _after(self, observer: Observer) -> tuple[Observer, ...]:
        """Those that are told after it."""
        at = next(number for number, one in enumerate(self._observers) if one is observer)
        return self._observers[at + 1 :]

    def _leave_behind(self, when: str) -> None:
        """Names those that have not heard everything, and ends the thread as soon as it comes back."""
        forks.forget(self)
        if self._thread is None or not self._thread.is_alive():
            return
        behind = self._behind
        self._left, self._batch = True, iter(())
        try:
            late = self._calling.pop()
        except IndexError:  # none is stuck, but they are too slow
            late = None
        waiting = () if late is None else (late, *self._after(late))
        for observer in self._observers:
            missed = behind + any(one is observer for one in waiting)
            if missed:
                held = "" if late in (None, observer) else f", held up by {_name_of(late)}"
                events = "one event" if missed == 1 else f"{missed:,} events"
                self.warnings.append(
                    f"observer {_name_of(observer)} had not taken {events} {when}{held}; it was left behind"
                )
        self._cursor.close()


def _name_of(observer: Any) -> str:
    name = getattr(observer, "__qualname__", None)
    return name if isinstance(name, str) else type(observer).__qualname__


def _tell(loop: Any, ended: Any) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(None))
