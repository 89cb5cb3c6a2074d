"""Attempts in processes, which can be killed: what hangs, crashes or is too late harms itself only."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from itertools import count
from types import FunctionType, TracebackType
from typing import Any

from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.commands import BEGAN, ENDED, FAILED, YIELDED
from penstock.core.context import CURRENT, Context
from penstock.core.errors import InputError
from penstock.core.failures import RetryOn, failure_of, text_of
from penstock.core.mailbox import Mailbox
from penstock.core.model import RunOptions
from penstock.core.ports import Work
from penstock.core.returned import Written

from . import frames, reference
from .board import AHEAD
from .child import Job, Task
from .dispatch import Dispatcher
from .frames import Parcel

_PATIENCE = 10.0  # seconds that attempts get to end when their run is over
_RESERVE = 16  # attempts sent ahead, over all workers
_AHEAD = 2  # the same for each worker, at least
_TASKS = 1_000  # that a pool remembers how to send


class ProcessPool:
    """Worker processes that outlive a run: to be given as ``runner=`` to as many runs as one likes.

    Args:
        size: Workers at most; by default as many as there are processors. They start when they are needed,
            each as a fresh interpreter, and are never forked off this process.
        kill_grace: Seconds that a step whose time is over gets after SIGTERM, to clean up; then, and by
            default at once, it is killed with all that it has started.
        prefetch: Attempts sent to each worker ahead of time, as long as they are short: what a run calls
            started, beyond `size`. By default 16 for all workers, at least 2 for each.

    Raises:
        ValueError: An argument makes no sense.
        NotImplementedError: This system has no process groups.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        kill_grace: float = 0.0,
        prefetch: int | None = None,
    ) -> None:
        if os.name != "posix":
            raise NotImplementedError("runner='processes' needs a POSIX system; use runner='threads'")
        if size is not None and (not is_whole(size) or size < 1):
            raise ValueError(f"processes: size is an int of at least 1, not {shown(size)}")
        check_seconds("processes", "kill_grace", kill_grace)
        self.size = size or _processors()
        if prefetch is None:
            prefetch = max(_AHEAD, _RESERVE // self.size)
        if not is_whole(prefetch) or not 0 <= prefetch < AHEAD:
            raise ValueError(f"processes: prefetch is an int from 0 to {AHEAD - 1}, not {shown(prefetch)}")
        self.capacity = self.size * (1 + prefetch)
        self._dispatcher = Dispatcher(self.size, prefetch, kill_grace)
        self._tasks: dict[tuple[int, ...], Task] = {}
        self._numbers = count(1)
        self._end = weakref.finalize(self, self._dispatcher.drop)
        self._end.atexit = False  # the dispatcher sees to that

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"processes({self.size})"

    @property
    def warnings(self) -> list[str]:
        """What went wrong when workers ended; whoever tells somebody takes it out."""
        return self._dispatcher.warnings

    @property
    def pids(self) -> list[int]:
        """Of the workers that there are now; each leads a process group."""
        return self._dispatcher.pids

    def for_run(self, options: RunOptions) -> ProcessRunner:
        """See `Pool`."""
        return ProcessRunner(self, options)

    def close(self) -> None:
        """Ends the workers, and waits until they are gone. Attempts that still run are lost."""
        self._dispatcher.close()
        self._tasks.clear()

    def begin(self) -> Dispatcher:
        """For runners: what takes their jobs.

        Raises:
            RuntimeError: The pool was closed, or cannot be used here.
        """
        self._dispatcher.begin()
        return self._dispatcher

    def task(self, call: Any, retry_on: RetryOn, context: str | None, variables: Variables) -> Task:
        """For runners: how a step travels.

        Raises:
            ValueError: It cannot; the text says why.
        """
        key = (id(call), id(retry_on), hash(context), id(variables))
        known = self._tasks.get(key)
        if known is not None and (type(call) is FunctionType or reference.is_lent(call)):
            return known
        parcel = _pack_task(call, retry_on, context, variables)
        if known is not None and known.parcel == parcel:  # what is bound to it has not changed since
            return known
        if len(self._tasks) >= _TASKS:
            self._tasks.clear()
        task = self._tasks[key] = Task(next(self._numbers), parcel, (call, retry_on, variables))
        return task


Variables = tuple[tuple[str, str, Any], ...]
CURRENT_AT = Context.__module__


def processes(
    size: int | None = None,
    *,
    kill_grace: float = 0.0,
    prefetch: int | None = None,
) -> ProcessPool:
    """A pool of worker processes: ``with processes(4) as pool: flow.run(runner=pool)``.

    The arguments are those of `ProcessPool`.
    """
    return ProcessPool(size, kill_grace=kill_grace, prefetch=prefetch)


def own_runner(options: RunOptions) -> ProcessRunner:
    """A runner for one run, with a pool that ends with it."""
    return ProcessRunner(ProcessPool(), options, owns=True)


class ProcessRunner:
    """The runner of one run, on a pool.

    Args:
        pool: Whose workers it uses.
        options: Of the run.
        owns: The pool ends with it.
    """

    name = "processes"
    awaits = False

    def __init__(self, pool: ProcessPool, options: RunOptions | None = None, *, owns: bool = False) -> None:
        self.capacity = pool.capacity
        self._pool = pool
        self._owns = owns
        self._names = tuple(options.context_vars) if options is not None else ()
        self._jobs: dict[tuple[int, int], Job] = {}
        self._quiet = threading.Event()  # set at the last reply, once somebody waits for that
        self._closing = False
        self.warn: Callable[[str], None] | None = None

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._post = mailbox.post
        self._clock = clock
        here = CURRENT.get()
        self._variables = _read(self._names)
        if here is not None:
            self._variables += ((CURRENT_AT, "CURRENT", here),)
        self._dispatcher = self._pool.begin()
        self._thorough = reference.main() is None or bool(reference.guarded())

    def submit(self, work: Work) -> None:
        try:
            job = self._job(work)
        except BaseException as error:
            now = self._clock()
            self._post((ENDED, work[0], work[1], FAILED, failure_of(error).but(trace=""), None, now, now))
            return
        self._jobs[job.key] = job
        self._dispatcher.submit(job)

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        job = self._jobs.get((node, token))
        if job is not None:
            self._dispatcher.stop(job, kill=timeout)

    def abandon(self, node: int, token: int) -> None:
        job = self._jobs.get((node, token))
        if job is not None:
            self._dispatcher.stop(job, kill=True, wait=False)

    def go_on(self, node: int, token: int, upto: int) -> None:
        job = self._jobs.get((node, token))
        if job is not None:
            self._dispatcher.go_on(job, upto)

    def close(self) -> None:
        """Ends what still runs, which is only there after a fault of ours, and the pool if it is its own."""
        self._closing = True
        for job in list(self._jobs.values()):
            self._dispatcher.stop(job, kill=True)
        if self._jobs:
            self._quiet.wait(_PATIENCE)
        if self._owns:
            self._pool.close()
            while self.warn is not None and self._pool.warnings:
                self.warn(self._pool.warnings.pop())

    # For the dispatcher

    def reply(self, job: Job, result: int, payload: Any, began: float | None, ended: float | None) -> None:
        """The attempt is over; the times are of the monotonic clock."""
        del self._jobs[job.key]
        if self._closing and not self._jobs:
            self._quiet.set()
        now = self._clock()
        node, token = job.key
        writes = None
        if type(payload) is Written:
            payload, writes = payload
        if began is None or ended is None:
            start = now if job.began_at is None else job.began_at
            self._post((ENDED, node, token, result, payload, writes, start, now))
            return
        late = time.monotonic() - ended
        end = now - late
        start = end - (ended - began) if job.began_at is None else job.began_at
        self._post((ENDED, node, token, result, payload, writes, start, max(start, end)))

    def began(self, job: Job, at: float) -> None:
        """It really runs."""
        job.began_at = self._clock() - (time.monotonic() - at)
        self._post((BEGAN, *job.key, job.began_at))

    def look(self) -> None:
        """Others wait for its workers: has its run given up if it is lost."""
        if self._mailbox.lost():
            self._mailbox.bell()

    def gave(self, job: Job, element: Any) -> None:
        """It is a stream, and has given an element."""
        self._post((YIELDED, *job.key, element, None))

    def _job(self, work: Work) -> Job:
        node, token, call, arguments, retry_on, context, flag = work
        param = travelled = None
        if context is not None:
            flag |= frames.CONTEXT
            travelled = context.travel()
            for name, value in arguments.items():
                if value is context:
                    param = name
            if param is not None:
                arguments = {name: value for name, value in arguments.items() if name != param}
        task = self._pool.task(call, retry_on, param, self._variables)
        parcel = self._pack(arguments, travelled)
        return Job(self, (node, token), task, parcel, flag, retry_on, context, tuple(arguments))

    def _pack(self, arguments: dict[str, Any], travelled: Any) -> Parcel:
        if not self._thorough:
            try:
                return frames.pack((arguments, travelled))
            except BaseException:
                pass
        try:
            return frames.pack((arguments, travelled), reference.Pickler)
        except BaseException as error:
            raise _named(arguments, error) from None


def _named(arguments: dict[str, Any], error: BaseException) -> Exception:
    """An error that says which argument cannot be pickled."""
    for name, value in arguments.items():
        try:
            frames.pack(value, reference.Pickler)
        except BaseException as own:
            kind = type(value).__name__
            return TypeError(f"argument {name!r} (of type {kind}) cannot travel to a process: {text_of(own)}")
    return TypeError(f"the arguments cannot travel to a process: {text_of(error)}")


def _pack_task(call: Any, retry_on: RetryOn, context: str | None, variables: Variables) -> Parcel:
    try:
        return frames.pack((call, retry_on, context, variables), reference.Pickler)
    except BaseException as error:
        reference.check_function(call)
        raise ValueError(f"retry_on cannot travel to a process: {text_of(error)}") from None


def _read(names: tuple[str, ...]) -> Variables:
    """The context variables of these names that are set here, with their values.

    Raises:
        InputError: There is no such variable, or its value cannot be pickled.
    """
    found = []
    for both in names:
        module, _, name = both.partition(":")
        try:
            variable = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"context_vars: {both!r} cannot be found: {error}") from None
        if not isinstance(variable, ContextVar):
            raise InputError(f"context_vars: {both!r} is a {type(variable).__name__}, not a ContextVar")
        try:
            value = variable.get()
            frames.pack(value, reference.Pickler)
        except LookupError:
            continue
        except Exception as error:
            raise InputError(f"context_vars: the value of {both!r} cannot be pickled: {error}") from None
        found.append((module, name, value))
    return tuple(found)


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
