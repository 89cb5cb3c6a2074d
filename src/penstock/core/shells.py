"""The two loops around `Engine.turn`: one waits in the caller's thread, one on the caller's event loop."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from .commands import Reply
from .engine import LONGEST, Engine
from .errors import InternalError, StoreError
from .returned import UNUSUAL

Pump = Callable[[], list[Reply]]
"""Makes what is to be made in the engine's own thread, for a slice of time, and gives the endings."""


def run_here(engine: Engine, pump: Pump) -> None:
    """Runs to the end, waiting in this thread."""
    mailbox = engine.mailbox
    bell: SimpleQueue[None] = SimpleQueue()
    mailbox.bell = lambda: bell.put(None)
    engine.begin()
    try:
        batch: list[Reply] = []
        state = engine.machine.state
        while state.finished is None:
            try:
                engine.turn(batch)
                batch = pump()
            except Exception as error:
                _own_up(engine, error)
                raise
            if batch or mailbox.replies or state.finished is not None:
                continue
            mailbox.sleeping = True
            if not (mailbox.replies or engine.unsaid):
                if _parks(engine):
                    break
                wait = engine.next_alarm()
                if wait is None and engine.idle:
                    raise InternalError(_stuck(engine))
                if engine.skip is None or not engine.skip(wait):
                    pause = engine.longest_wait if wait is None else min(wait, engine.longest_wait)
                    try:
                        bell.get(timeout=pause)
                    except Empty:
                        pass
            mailbox.sleeping = False
    finally:
        engine.close()
        engine.close_resources()


async def run_on_loop(
    engine: Engine,
    pump: Pump | None = None,
    drive: Callable[[Callable[[list[Reply]], None]], None] | None = None,
    closed: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Runs to the end on the running event loop.

    Args:
        engine: The run.
        pump: See `Pump`; None if nothing runs in the engine's own thread.
        drive: Receives the turn, for a runner that lives on the loop and may take it itself.
        closed: Awaited at the end: such a runner's tasks have ended.

    Raises:
        CancelledError: The caller was cancelled. The run was then cancelled too, and has ended.
    """
    import asyncio

    shell = _LoopShell(engine, pump)
    if drive is not None:
        drive_later = drive
        engine.begin()
        drive_later(shell.turn)
    else:
        engine.begin()
    try:
        shell.turn()
        cancelled: asyncio.CancelledError | None = None
        while not shell.done.done():
            try:
                await asyncio.wait((shell.done,))
            except asyncio.CancelledError as error:
                engine.cancel("the call was cancelled") if cancelled is None else engine.hurry()
                cancelled = error
        if cancelled is not None:
            raise cancelled
        shell.done.result()
    finally:
        if shell.lost:
            shell.give_up()
        else:
            shell.close()
            engine.close()
            if closed is not None:
                await closed()
            await engine.aclose_resources()


class _LoopShell:
    """Turns as callbacks of an event loop: by the bell, by a timer, or by a runner of the loop."""

    def __init__(self, engine: Engine, pump: Pump | None) -> None:
        import asyncio

        self._engine = engine
        self._mailbox = engine.mailbox
        self._state = engine.machine.state
        self._pump = pump
        self._watches = engine.attended  # what knows of times beside the machine's alarms
        self._nudged = engine.longest_wait < LONGEST
        self._batch: list[Reply] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self._failed = False
        self._given_up = threading.Lock()  # taken once
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._commits: _Commits | None = None
        if engine.durable is not None and engine.durable.awaits_commits:
            self._commits = _Commits(self._loop, self._committed)
            engine.durable.elsewhere = self._commits.make
        UNUSUAL.update((asyncio.Future, asyncio.Task))  # a plain step that runs here can make them too
        # Threadsafe for this thread too: a signal handler runs in it while the loop sleeps.
        engine.mailbox.bell = self._ring
        engine.mailbox.lost = self._loop.is_closed
        engine.questions.later = self._ask

    def turn(self, batch: list[Reply] | None = None) -> None:
        mailbox, state = self._mailbox, self._state
        if self._commits is not None and self._commits.busy:
            self._batch += batch or ()
            return
        if state.finished is not None or self._failed:
            return
        try:
            now = None
            if self._batch:
                batch = self._batch + (batch or [])
            elif batch and not mailbox.replies:
                now = batch[-1][-1]  # from a runner that takes the turn itself: that step has just ended
            self._engine.turn(batch, now)
            if self._commits is not None and self._commits.busy:
                self._batch = []
                return
            if self._pump is not None:
                self._batch = [] if state.finished is not None else self._pump()
            if (
                state.alarms
                or self._watches
                or (self._nudged and self._timer is None)
                or state.free_total >= state.slots_total
            ):
                self._set_timer()
        except BaseException as error:
            _own_up(self._engine, error)
            self._fail(error)
            return
        if state.finished is not None:
            if not self.done.done():
                self.done.set_result(None)
        elif self._batch:
            mailbox.sleeping = False
            self._loop.call_soon(self.turn)
        else:
            mailbox.sleeping = True
            if mailbox.replies or self._engine.unsaid or (self._engine.skip is not None and self._skipped()):
                mailbox.ring()
            elif self._engine.durable is not None and not self.done.done():
                self._park()

    def _committed(self, then: Callable[[], None], error: BaseException | None) -> None:
        """A commit has been made, or could not be: the rest of its turn, and what has come meanwhile."""
        if self._failed:
            return
        try:
            if error is not None:
                raise error
            then()
        except BaseException as failed:
            _own_up(self._engine, failed)
            self._fail(failed)
            return
        if self._state.finished is not None:
            if not self.done.done():
                self.done.set_result(None)
            return
        self._mailbox.sleeping = False
        self.turn()

    def _park(self) -> None:
        try:
            if _parks(self._engine):
                self._failed = True  # no further turn
                self.done.set_result(None)
        except BaseException as error:
            self._fail(error)

    def _skipped(self) -> bool:
        try:
            return self._engine.skip is not None and self._engine.skip(self._engine.next_alarm())
        except BaseException as error:
            self._fail(error)
            return False

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> None:
        if self._commits is not None:
            self._commits.close()
        self._engine.mailbox.sleeping = False
        if self._timer is not None:
            self._timer.cancel()
        for task in self._questions:
            task.cancel()

    @property
    def lost(self) -> bool:
        """The loop was closed before the run had ended: there is nothing to be awaited on any more."""
        return self._loop.is_closed()

    def give_up(self) -> None:
        """Gives back what a lost run has.

        In a thread of its own: whoever finds out serves other runs too, and may hold locks that this takes.
        """
        if self._given_up.acquire(blocking=False):
            self._failed = True
            with suppress(RuntimeError):  # the interpreter ends, and gives back everything
                threading.Thread(target=self._close_lost, name="penstock-lost-run", daemon=True).start()

    def _close_lost(self) -> None:
        if self._commits is not None:
            self._commits.close()
        self._engine.mailbox.sleeping = False
        self._engine.close()
        self._engine.close_resources()

    def _ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.turn)
        except RuntimeError:
            if not self.lost:
                raise
            self.give_up()

    def _set_timer(self) -> None:
        wait = self._engine.next_alarm()
        if wait is None:
            if self._state.finished is None and self._engine.idle and not self._mailbox.replies:
                raise InternalError(_stuck(self._engine))
            if self._engine.longest_wait >= LONGEST:
                return
            wait = self._engine.longest_wait
        when = self._loop.time() + min(wait, self._engine.longest_wait)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """The time has come."""
        self._timer = None
        self.turn()

    def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(question)
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)


class _Commits:
    """Makes commits in a thread of its own, one at a time, for a loop that has better things to do than wait.

    Args:
        loop: The loop.
        told: Called on it with what comes then, and the error if there was one.
    """

    def __init__(self, loop: Any, told: Callable[[Callable[[], None], BaseException | None], None]) -> None:
        self._loop = loop
        self._told = told
        self._todo: SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.busy = False

    def make(self, commit: Callable[[], None], then: Callable[[], None]) -> None:
        """Makes a commit, and says so."""
        self.busy = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._go, name="penstock-commits", daemon=True)
            self._thread.start()
        self._todo.put((commit, then))

    def close(self) -> None:
        """Ends the thread, after the commit that it may be at."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()

    def _go(self) -> None:
        while (job := self._todo.get()) is not None:
            commit, then = job
            error: BaseException | None = None
            try:
                commit()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._done, then, error)

    def _done(self, then: Callable[[], None], error: BaseException | None) -> None:
        self.busy = False
        self._told(then, error)


def _parks(engine: Engine) -> bool:
    """See `Engine.parks`."""
    try:
        return engine.parks()
    except Exception as error:
        _own_up(engine, error)
        raise


def _own_up(engine: Engine, error: BaseException) -> None:
    """Says of an error where it comes from: whatever user code raises in a turn ends there."""
    if isinstance(error, StoreError):
        error.add_note(
            f"run {engine.run_id} was cut off: what it had done before is kept. It goes on with "
            f"run_id={engine.run_id!r}, or by: penstock resume {engine.run_id}"
        )
        return
    begun = engine.machine.state.begun
    error.add_note(
        f"run {engine.run_id} (seed {begun and begun.seed}) broke off here: this is a bug in Penstock, "
        "or in a runner or clock that it was given; please report it with this traceback"
    )


def _stuck(engine: Engine) -> str:
    return (
        f"run {engine.run_id} has not ended, and nothing runs or is due: this is a bug in Penstock; "
        f"{engine.machine.state.open} nodes are open"
    )
