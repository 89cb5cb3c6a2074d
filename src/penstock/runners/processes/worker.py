"""The main loop of a worker: one attempt after the other, in the main thread, until the pipe ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context as Variables
from contextvars import copy_context
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from penstock.core.amounts import shown
from penstock.core.commands import FAILED, OK, STREAM, TIMED
from penstock.core.context import Context
from penstock.core.events import Logged, Measured, Progressed
from penstock.core.failures import RetryOn, failure_of
from penstock.core.returned import UNUSUAL, Written, taken_apart
from penstock.core.streaming import close, close_after_failure, iterator_of

from . import board, frames, reference
from .frames import Frame, Inbox, Parcel

TASKS = 1_000
"""Tasks that a worker remembers; the pool counts them in the same way."""

_BEAT = 0.05  # seconds between two signs of life that are passed on
_PAUSE = 0.001
_TERMINATED = 128 + signal.SIGTERM


class Task(NamedTuple):
    """What attempts of one step have in common.

    Attributes:
        call: What is called.
        retry_on: Judges its errors.
        context: The parameter that takes the step's context.
        variables: Context variables, each as (module, name, value).
    """

    call: Callable[..., Any]
    retry_on: RetryOn
    context: str | None
    variables: tuple[tuple[str, str, Any], ...]


def main(pipe: int, words: int, life: int) -> None:
    """Serves until the pool says that it is over, or is gone."""
    _end_with_the_pool(life)
    signal.signal(signal.SIGINT, _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    worker = Worker(pipe, board.view(words))
    os.close(words)
    signal.signal(signal.SIGTERM, worker.terminate)
    os.register_at_fork(after_in_child=worker.forked)
    try:
        worker.serve()
    except (BrokenPipeError, ConnectionResetError):  # the pool is gone; so are the reasons to go on
        sys.exit(1)


class Worker:
    """What runs in a worker process."""

    def __init__(self, pipe: int, words: memoryview) -> None:
        self._pipe = pipe
        self._words = words
        self._inbox = Inbox(pipe)
        self._frames: deque[Frame] = deque()
        self._packed: dict[int, Frame] = {}
        self._tasks: dict[int, tuple[Task, Variables]] = {}
        self._sending = threading.Lock()  # a step may speak from a thread of its own
        self._terminated = False
        self._forked = False

    def serve(self) -> None:
        """Takes one message after the other."""
        while True:
            frame = self._next()
            op = frame.op
            if op == frames.CALL:
                self._attempt(frame)
            elif op == frames.TASK:
                self._remember(frame)
            elif op == frames.GREET:
                reference.settle(frame.load())
                self._send(frames.frame(frames.HELLO))
            elif op == frames.LEAVE:
                self._leave()
                return
            del frame

    def _leave(self) -> None:
        """Ends, and says what keeps it from that."""
        resources: Any = sys.modules.get("penstock.core.resources")
        if resources is not None and (names := resources.open_in_worker()):
            self._tell(frames.LEAVING, f"the closing of {', '.join(map(repr, names))}")
            for warning in resources.close_worker():
                self._tell(frames.WARNING, warning)
        threads = [thread for thread in threading.enumerate() if not thread.daemon]
        if len(threads) > 1:
            names = ", ".join(
                repr(thread.name) for thread in threads if thread is not threading.main_thread()
            )
            self._tell(frames.LEAVING, f"threads that its steps have left, which are no daemons: {names}")

    def _tell(self, op: int, text: str) -> None:
        self._send(frames.frame(op, frames.pack(text)))

    def terminate(self, number: int, where: Any) -> NoReturn:
        """SIGTERM: the step may clean up; then the process ends."""
        self._terminated = True
        sys.exit(_TERMINATED)

    def forked(self) -> None:
        """In a process that a step has forked: the pipe is not its own."""
        os.close(self._pipe)
        self._forked = True

    def _next(self) -> Frame:
        while not self._frames:
            self._receive()
        return self._frames.popleft()

    def _receive(self) -> None:
        found = self._inbox.read()
        if found is None:
            sys.exit(1)
        self._frames.extend(found)

    def _send(self, pieces: list[Any]) -> None:
        with self._sending:
            frames.write(self._pipe, pieces)

    def _remember(self, frame: Frame) -> None:
        if len(self._packed) >= TASKS:
            oldest = next(iter(self._packed))
            del self._packed[oldest]
            self._tasks.pop(oldest, None)
        self._packed[frame.task] = frame

    def _task(self, number: int) -> tuple[Task, Variables]:
        known = self._tasks.get(number)
        if known is None:
            task = Task(*self._packed[number].load())
            inside = copy_context()
            for module, name, value in task.variables:
                inside.run(getattr(import_module(module), name).set, value)
            known = self._tasks[number] = task, inside
        return known

    def _attempt(self, frame: Frame) -> None:
        number, words = frame.number, self._words
        words[board.BEGAN] = time.monotonic_ns()
        words[board.STARTED] = number
        board.fence()
        while words[board.HALT]:  # the pool is about to kill this process, or changes its mind
            time.sleep(_PAUSE)
        if words[board.taken_back(number)] == number:
            self._send(frames.frame(frames.BACK, number=number))
            return
        began = time.monotonic()
        if frame.flag & TIMED:
            self._send(frames.frame(frames.BEGUN, number=number, began=began))
        flag, parcel = self._outcome(frame)
        if self._forked:
            os._exit(0)
        ended = time.monotonic()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # what the step has printed is out before it counts as done
            except Exception:
                pass
        if self._terminated:
            sys.exit(_TERMINATED)
        self._send(frames.frame(frames.DONE, parcel, flag=flag, number=number, began=began, ended=ended))

    def _outcome(self, frame: Frame) -> tuple[int, Parcel]:
        """Makes the attempt: how it ended, and its value or what is kept of its error."""
        retry_on: RetryOn = None
        try:
            try:
                task, variables = self._task(frame.task)
            except BaseException as error:
                text = f"the function cannot be loaded in the process: {error}"
                return FAILED, frames.pack(failure_of(error).but(text=text))
            try:
                arguments, travelled = frame.load()
            except BaseException as error:
                return FAILED | frames.UNLOADED, frames.pack(failure_of(error))
            retry_on = task.retry_on
            call, is_stream = task.call, bool(frame.flag & STREAM)
            if frame.flag & frames.CONTEXT:
                context = _Told.at(travelled, self, frame.number)
                if task.context is not None:
                    arguments[task.context] = context
                call = context.attend(call, stream=is_stream)
            inside = variables.copy()
            if is_stream:
                return self._stream(frame.number, call, arguments, inside)
            value = inside.run(call, **arguments)
            if type(value) in UNUSUAL:
                value = taken_apart(value)
        except BaseException as error:
            return FAILED, frames.pack(failure_of(error, retry_on))
        return _pack_value(value, "the result")

    def _stream(
        self, number: int, call: Callable[..., Any], arguments: dict[str, Any], inside: Variables
    ) -> tuple[int, Parcel]:
        elements = inside.run(lambda: iterator_of(call(**arguments)))
        position, end = 0, object()
        try:
            while self._may_go_on(number, position):
                element = inside.run(next, elements, end)
                if element is end:
                    inside.run(close, elements)
                    return OK, frames.pack(None)
                flag, parcel = _pack_value(element, f"element {position} of the stream")
                if flag != OK:
                    inside.run(close_after_failure, elements)
                    return flag, parcel
                self._send(frames.frame(frames.GAVE, parcel, number=number))
                position += 1
        except BaseException:
            inside.run(close_after_failure, elements)
            raise
        inside.run(close, elements)
        return frames.STOPPED, frames.NONE

    def _may_go_on(self, number: int, position: int) -> bool:
        """Waits until a stream may give the element at this position; False if it was asked to end."""
        words, upto = self._words, board.upto(number)
        while True:
            if words[board.STOPPED] == number:
                return False
            if position < words[upto]:
                return True
            words[board.WAITING] = number
            board.fence()
            if position >= words[upto] and words[board.STOPPED] != number:
                self._send(frames.frame(frames.SLEEPS, number=number))  # again, if it was woken for nothing
                self._receive()
            words[board.WAITING] = 0

    def asked_to_stop(self, number: int) -> bool:
        """Whether an attempt was asked to end."""
        return self._words[board.STOPPED] == number

    def say(self, number: int, method: str, *given: Any) -> None:
        """Has a method of the step's context called in the pool's process."""
        parcel = frames.pack((method, given))
        self._send(frames.frame(frames.SAID, parcel, number=number))


class _Told(Context):
    """The context of a step in a worker: what it says travels over the pipe."""

    __slots__ = ("_number", "_worker")
    _number: int
    _worker: Worker

    @classmethod
    def at(cls, travelled: tuple[Any, ...], worker: Worker, number: int) -> _Told:
        """The context of one attempt."""
        beaten = 0.0

        def say(event: Any) -> None:
            if isinstance(event, Progressed):
                worker.say(number, "progress", event.done, event.total, event.text)
            elif isinstance(event, Logged):
                if not _is_plain(event):
                    event = event._replace(fields=_words(event.fields))
                worker.say(number, "pass_on", event)
            elif isinstance(event, Measured):
                worker.say(number, "pass_on", event)

        def beat() -> None:
            nonlocal beaten
            now = time.monotonic()
            if now - beaten >= _BEAT:
                beaten = now
                worker.say(number, "heartbeat")

        made = cls.arrived(travelled, say, beat)
        assert isinstance(made, cls)
        made._worker, made._number = worker, number
        return made

    @property
    def cancelled(self) -> bool:
        """See `Context`."""
        return self._worker.asked_to_stop(self._number)


def _pack_value(value: Any, what: str) -> tuple[int, Parcel]:
    """A value, or the failure to pickle it."""
    if frames.is_small(value):
        return OK, frames.pack_small(value)
    try:
        return OK, frames.pack(value)
    except BaseException:
        pass
    try:
        return OK, frames.pack(value, reference.Pickler)
    except BaseException as error:
        if type(value) is Written:
            what, value = _stubborn_part(value)
        text = f"{what} (of type {type(value).__name__}) cannot travel back from the process: {error}"
        return FAILED, frames.pack(failure_of(error).but(text=text))


def _stubborn_part(returned: Written) -> tuple[str, Any]:
    """What of it cannot be pickled, and what to call it."""
    for key, value in returned.writes.items():
        try:
            frames.pack(value, reference.Pickler)
        except BaseException:
            return f"what the step wrote for {shown(key)}", value
    return "the result", returned.value


def _words(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of something that was said, as they can travel."""
    return {name: value if _is_plain(value) else repr(value) for name, value in fields.items()}


def _is_plain(value: Any) -> bool:
    try:
        frames.pack(value)
    except Exception:
        return False
    return True


def _end_with_the_pool(life: int) -> None:
    """Dies with the process that holds the other end of this pipe, and what the steps have started too.

    On Linux by the system's hand, which reaches a process that hangs in C code. Whom it reaches is noted on
    the pipe itself, so each worker has one of its own.
    """
    try:
        import fcntl

        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):
        threading.Thread(target=_watch, args=(life,), name="penstock-life", daemon=True).start()


def _watch(life: int) -> None:
    os.read(life, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _ignore(number: int, where: Any) -> None:
    """Not SIG_IGN, which the programs that a step starts would inherit."""
