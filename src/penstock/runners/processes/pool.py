"""Attempts in processes, which can be killed: what hangs, crashes or is too late harms itself only."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.commands import BEGAN, ENDED, FAILED, ROOM, YIELDED
from penstock.core.failures import failure_of
from penstock.core.mailbox import Mailbox
from penstock.core.model import RunOptions
from penstock.core.ports import Work
from penstock.core.returned import Written

from . import reference
from .board import AHEAD
from .child import Ended, Job
from .dispatch import Dispatcher
from .packing import Tasks, pack_arguments, parts_of, variables

_PATIENCE = 10.0  # seconds that attempts get to end when their run is over
_RESERVE = 16  # attempts sent ahead, over all workers
_AHEAD = 2  # the same for each worker, at least


class ProcessPool:
    """Worker processes that outlive a run: to be given as ``runner=`` to as many runs as one likes.

    Args:
        size: Workers at most; by default as many as there are processors. They start when they are needed,
            each as a fresh interpreter, and are never forked off this process.
        kill_grace: Seconds that a step whose time is over gets after SIGTERM, to clean up; then, and by
            default at once, it is killed with all that it has started.
        prefetch: Attempts sent to each worker ahead of time, as long as they are short: what a run calls
            started, beyond `size`. By default 16 for all workers, at least 2 for each, and as many as are
            50 ms of work where they are so short.

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
        adapts = prefetch is None
        if prefetch is None:
            prefetch = max(_AHEAD, _RESERVE // self.size)
        if not is_whole(prefetch) or not 0 <= prefetch < AHEAD:
            raise ValueError(f"processes: prefetch is an int from 0 to {AHEAD - 1}, not {shown(prefetch)}")
        self.capacity = self.size * (1 + prefetch)
        self._dispatcher = Dispatcher(self.size, prefetch, kill_grace, adapts=adapts)
        self.tasks = Tasks()
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
        self.tasks.forget()

    def begin(self) -> Dispatcher:
        """For runners: what takes their jobs.

        Raises:
            RuntimeError: The pool was closed, or cannot be used here.
        """
        self._dispatcher.begin()
        return self._dispatcher


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
        self._variables = variables(self._names)
        self._dispatcher = self._pool.begin()
        self._dispatcher.join(self)
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
        self._dispatcher.part(self)
        if self._owns:
            self._pool.close()
            while self.warn is not None and self._pool.warnings:
                self.warn(self._pool.warnings.pop())

    # For the dispatcher

    def room(self, capacity: int) -> None:
        """So many attempts are taken at a time from now on."""
        self._post((ROOM, self.name, capacity))

    def reply(self, job: Job, result: int, payload: Any, began: float | None, ended: float | None) -> None:
        """The attempt is over; the times are of the monotonic clock."""
        self.replies([(job, result, payload, began, ended)])

    def replies(self, endings: Sequence[Ended]) -> None:
        """The same of several attempts: the engine is woken once for all of them."""
        now = self._clock()
        offset = now - time.monotonic()
        put = self._mailbox.replies.append
        for job, result, payload, began, ended in endings:
            node, token = job.key
            del self._jobs[job.key]
            writes = None
            if type(payload) is Written:
                payload, writes = payload
            start = end = now
            if began is not None and ended is not None:
                start, end = began + offset, ended + offset
            if job.began_at is not None:
                start = job.began_at
            put((ENDED, node, token, result, payload, writes, start, max(start, end)))
        self._mailbox.ring()
        if self._closing and not self._jobs:
            self._quiet.set()

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
        node, token, call, _, retry_on, context, _ = work
        flag, arguments, param, travelled = parts_of(work)
        task = self._pool.tasks.task(call, retry_on, param, self._variables)
        parcel = pack_arguments(arguments, travelled, thorough=self._thorough)
        return Job(self, (node, token), task, parcel, flag, retry_on, context, tuple(arguments))


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
