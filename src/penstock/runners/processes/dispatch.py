"""Who gets what: the queue of a pool, its workers, and the thread that listens to them.

Everything is decided under one lock, by whoever comes: a runner's thread that submits or stops, or the pool's
own, in which all replies arrive. Values are pickled and unpickled outside the lock, for that runs code of the
user.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from penstock.core.commands import CANCELLED, FAILED, RETURNED
from penstock.core.errors import WorkerDied
from penstock.core.failures import failure_of

from . import board, frames, reference
from .ahead import Ahead, Asks, steal
from .child import Child, Ended, Job, Owner
from .ears import Ears
from .frames import Frame
from .living import LIVING

_LEAVE = 3.0  # seconds that a worker gets to leave
_AGAIN = 1.0  # seconds until another worker is tried, where there were as many as the system allows
_LOOK = 1.0  # seconds between two looks for lost runs, while others wait
_DYING = 0.5  # seconds that a worker without a pipe gets to end by itself
_CHECK = 0.2  # seconds between two looks for dead workers, where the system does not tell
_MOMENT = 0.1  # seconds that a stream gets to see that it is to stop, should it be about to wait
_CLOSE = 5.0  # seconds that a stream gets to close which was stopped while it waited
_CLOSED = "the pool of processes was closed"
_STARTS = 3  # workers in a row that die before they say hello, until it is given up


class Dispatcher:
    """The inside of a pool.

    Args:
        size: Workers at most.
        prefetch: Attempts sent to a worker beyond the one that it is at.
        kill_grace: Seconds between SIGTERM and SIGKILL; 0 for SIGKILL at once.
        world: Gives what a worker is told of the process whose steps it makes; by default, this one.
        adapts: While attempts are short, as many are sent ahead as are worth it, and whoever has joined is
            told how many are taken.
    """

    def __init__(
        self,
        size: int,
        prefetch: int,
        kill_grace: float,
        world: Callable[[], reference.World] = reference.world,
        *,
        adapts: bool = False,
    ) -> None:
        self._size = size
        self._ahead = Ahead(size, prefetch, adapts=adapts)
        self._grace = kill_grace
        self._world = world
        self._lock = threading.Lock()
        self._queue: deque[Job] = deque()
        self._children: list[Child] = []
        self._idle: list[Child] = []
        self._wanted = 0  # workers to be started by the thread
        self._grow_at = 0.0  # until then no more workers are to be had than there are
        self._look_at = 0.0  # then it is looked for lost runs, if anybody waits
        self._rests = False  # the thread waits for no time, only for something to be heard
        self._sleeping: set[Child] = set()  # at a stream that waits; they do not count
        self.warnings: list[str] = []
        self._stillborn = 0
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closing = False
        self._dropped = False  # nobody holds the pool any more: no farewell
        self._leave_by = 0.0
        LIVING.add(self)

    @property
    def pids(self) -> list[int]:
        """Of the workers."""
        with self._lock:
            return [child.pid for child in self._children]

    def begin(self) -> None:
        """Makes the thread and what it needs, once.

        Raises:
            RuntimeError: The pool was closed, or is another process's.
        """
        reference.refuse_while_loading()
        if self._process != os.getpid():
            raise RuntimeError("this pool of processes belongs to the process that has forked this one")
        if self._closing:
            raise RuntimeError("this pool of processes was closed")
        with self._lock:
            if self._thread is None:
                self._ears = Ears()
                thread = threading.Thread(target=self._serve, name="penstock-processes", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self._ears.close()
                    raise
                self._thread = thread

    # For runners, in their threads

    def join(self, runner: Asks) -> None:
        """It is told from now on how many attempts are taken, if that changes."""
        with self._lock:
            self._ahead.join(runner)

    def part(self, runner: Asks) -> None:
        """It wants to know nothing any more."""
        with self._lock:
            self._ahead.part(runner)

    def submit(self, job: Job) -> None:
        """Takes a job, and returns at once.

        Without the lock, if nothing but the queue is concerned. Whoever makes a worker free, or a place for
        another one, looks at the queue after that; so one of the two sees what the other one has done.
        """
        self._queue.append(job)
        if (
            self._idle
            or self._closing
            or self._rests
            or len(self._children) + self._wanted < self._size + len(self._sleeping)
        ):
            with self._lock:
                if self._closing:
                    self._lose_queue(_CLOSED)
                    return
                self._hand_out()
                if self._rests and self._queue:
                    self._ears.ring()

    def stop(self, job: Job, *, kill: bool, wait: bool = True) -> None:
        """Gives a job back if it has not begun; otherwise asks it to end, or ends it.

        Args:
            job: Which.
            kill: End it.
            wait: Let a stream that sleeps end by itself even so: it only has to close.
        """
        with self._lock:
            child = job.child
            if job.over or job.doomed:
                return
            job.asked = True
            if child is None or child.take_back(job):
                self._end(job, RETURNED)
                if child is not None:
                    self._feed(child)
                return
            child.words[board.STOPPED] = job.number
            waits = self._wake(child, job)
            if kill and wait and job.is_stream:
                self._kill_later(child, job, _CLOSE if waits else _MOMENT)
            elif kill:
                self._doom(child, job)

    def go_on(self, job: Job, upto: int) -> None:
        """Lets a stream give elements up to a position."""
        with self._lock:
            child = job.child
            if upto <= job.upto:
                return
            job.upto = upto
            if child is not None and not job.over:
                child.words[board.upto(job.number)] = job.upto
                self._wake(child, job)

    def close(self) -> None:
        """Ends the workers and waits for them: those that are at a step at once, others may say farewell."""
        with self._lock:
            thread = self._thread
            if thread is None or self._process != os.getpid():
                self._closing = True
                return
            if not self._closing:
                self._closing = True
                self._leave_by = time.monotonic() + _LEAVE
                self._lose_queue(_CLOSED)
                self._idle.clear()
                for child in self._children:
                    child.ending = True
                    for job in child.jobs.values():
                        self._lose(job, _CLOSED)
                    if child.jobs or not child.ready:
                        child.signal(signal.SIGKILL)
                    else:
                        child.leave()
        self._ears.ring()
        if thread is not threading.current_thread():
            thread.join()

    def drop(self) -> None:
        """As `close`, at once and without waiting; for finalizers, which run in any thread at any time."""
        self._closing = self._dropped = True
        if self._thread is not None and self._process == os.getpid():
            self._ears.ring()

    def wait(self) -> None:
        """After `drop`: until nothing of the pool remains."""
        if self._thread is not None and self._process == os.getpid():
            self._thread.join(_LEAVE)

    def forked(self) -> None:
        """In a forked process: gives back what belongs to the first one (S22)."""
        self._closing = True
        self._lock = threading.Lock()
        if self._thread is None:
            return
        self._thread = None
        for child in self._children:
            child.forget()
        self._children, self._idle = [], []
        self._ears.close()

    def _grow(self) -> None:
        """Asks for another worker, if there is work that none is free for or about to be."""
        if len(self._children) > len(self._sleeping) and time.monotonic() < self._grow_at:
            return
        if len(self._children) + self._wanted < self._size + len(self._sleeping):
            coming = self._wanted + sum(not child.ready for child in self._children)
            if len(self._queue) > coming:
                self._wanted += 1
                self._ears.ring()

    def _doom(self, child: Child, job: Job) -> None:
        """Kills a worker for the sake of one job. What it has not begun goes to others."""
        if child.ending or not child.halt(job):
            return
        job.doomed = child.ending = True
        for other in reversed([other for other in child.jobs.values() if other is not job]):
            del child.jobs[other.number]
            other.child = None
            self._queue.appendleft(other)
        if self._grace > 0:
            child.signal(signal.SIGTERM)
            self._kill_later(child, job, self._grace)
        else:
            child.signal(signal.SIGKILL)
        self._hand_out()

    def _wake(self, child: Child, job: Job) -> bool:
        """Has a stream look whether it may go on; whether it slept."""
        slept = child.wake(job)
        if slept:
            self._sleeping.discard(child)
        return slept

    def _kill_later(self, child: Child, job: Job, seconds: float) -> None:
        child.killed_at = time.monotonic() + seconds
        child.killed_for = job
        self._ears.ring()

    # Under the lock

    def _hand_out(self) -> None:
        """Gives what is queued to the workers that are free."""
        while self._idle and self._queue:
            job = self._queue.popleft()
            if not job.over:
                self._send(self._idle.pop(), [job])
        self._grow()

    def _feed(self, child: Child) -> None:
        """Sees to it that a worker has something to do."""
        if child.ending or not child.ready:
            return
        have = len(child.jobs)
        if not have:
            self._sleeping.discard(child)
        if have and (child.blocked or self._ahead.is_enough(child)):
            return
        if child.room < 1:  # much was taken back that it has not skipped yet
            return
        jobs = self._ahead.next(self._queue, child, len(self._children))
        if jobs := jobs or ([] if have else steal(self._children, child)):
            self._send(child, jobs)
        elif have or child in self._idle:
            return
        elif len(self._children) > self._size + len(self._sleeping):  # one of those that streams had
            child.leave()
        else:
            self._idle.append(child)
            if self._queue:  # it has come this very moment
                self._hand_out()

    def _send(self, child: Child, jobs: list[Job]) -> None:
        child.send(jobs)
        if child.blocked:
            self._ears.ring()  # the thread sends the rest

    def _end(self, job: Job, result: int, payload: Any = None) -> None:
        job.over = True
        began = None if job.child is None or result == RETURNED else job.child.began(job)
        job.owner.reply(job, result, payload, began, None if began is None else time.monotonic())

    def _lose(self, job: Job, text: str, *, died: bool = False) -> None:
        if job.over:  # taken back, and only still in the queue
            return
        # No traceback, not even an empty one: what makes it loads modules that forget a Ctrl-C which has just
        # ended the main thread, and the interpreter would not end by SIGINT (CPython 3.11).
        failure = failure_of(WorkerDied(text), job.retry_on if died else None, traced=False)
        self._end(job, FAILED, failure.but(kind="lost_worker"))

    # In the thread

    def _serve(self) -> None:
        try:
            while self._children or not self._closing:
                for child, writable in self._ears.wait(self._patience()):
                    if child in self._children:
                        if writable:
                            self._write_on(child)
                        self._hear(child)
                self._see_to()
                if not self._closing and (seconds := self._ahead.gathering(list(self._children))) > 0:
                    time.sleep(seconds)
        finally:
            self._finish()

    def _patience(self) -> float | None:
        """Seconds to wait for something to be heard."""
        if self._dropped:
            return 0.01
        times = [
            child.killed_at - time.monotonic() for child in self._children if child.killed_at is not None
        ]
        if any(child.exit is None for child in self._children):
            times.append(_CHECK)
        if self._closing:
            times.append(self._leave_by - time.monotonic())
        self._rests = not times
        if not self._closing and (self._queue or time.monotonic() < self._look_at):
            times.append(self._look_at - time.monotonic())
            self._rests = False
        return max(0.0, min(times)) if times else None

    def _see_to(self) -> None:
        """What is due: to start workers, to kill some, to bury the dead."""
        while self._wanted and not self._closing:
            self._start()
        now = time.monotonic()
        late = self._dropped or (self._closing and now >= self._leave_by)
        if self._closing:
            self._wanted = 0
        elif self._queue and now >= self._look_at:
            self._look_at = now + _LOOK
            for owner in {job.owner for child in self._children for job in [*child.jobs.values()]}:
                owner.look()
        for child in list(self._children):
            if late or (child.killed_at is not None and now >= child.killed_at):
                child.killed_at = None
                self._kill_now(child)
            if child.exit is None and child in self._children:
                self._bury_if_dead(child)
            if child.blocked and child in self._children:
                self._ears.follow(child)

    def _kill_now(self, child: Child) -> None:
        with self._lock:
            job, child.killed_for = child.killed_for, None
            if job is not None:
                if job.over:
                    return  # it has ended in time
                job.doomed = True
            if child.leaving is not None and not self._dropped:
                self.warnings.append(
                    f"worker process {child.pid} was killed: told to end, it had not after {_LEAVE:g} s; "
                    f"what it was at: {child.leaving or 'it did not say'}"
                )
                child.leaving = None
            child.ending = True
            child.signal(signal.SIGKILL)

    def _start(self) -> None:
        try:
            child = Child()
        except OSError as error:
            with self._lock:
                self._wanted -= 1
                if len(self._children) > len(self._sleeping):  # they are what there is
                    if not self._grow_at:
                        many = len(self._children)
                        self.warnings.append(f"only {many} of {self._size} workers could be started: {error}")
                    self._grow_at = time.monotonic() + _AGAIN
                else:
                    self._give_up(f"no worker process can be started: {error}")
            return
        self._ears.add(child)
        greeting = frames.frame(frames.GREET, frames.pack(self._world()))
        with self._lock:
            self._wanted -= 1
            self._children.append(child)
            child.write(greeting)
            if self._closing:
                child.ending = True
                child.signal(signal.SIGKILL)

    def _write_on(self, child: Child) -> None:
        with self._lock:
            child.write_on()
            if not child.blocked:
                self._ears.follow(child)

    def _hear(self, child: Child) -> None:
        """Takes what a worker has said, and looks whether it still lives."""
        try:
            found = child.inbox.read()
        except BlockingIOError:
            self._bury_if_dead(child)  # it was its exit that was heard
            return
        except OSError:
            found = None
        if found is None:
            if not self._is_dying(child):
                with self._lock:
                    child.cut_off()
            self._bury(child)
            return
        self._take_all(child, found)

    def _take_all(self, child: Child, found: Sequence[Frame]) -> None:
        """Takes messages in their order; endings that follow one another are taken together."""
        done: list[Frame] = []
        for frame in found:
            if frame.op == frames.DONE:
                done.append(frame)
            else:
                if done:
                    self._end_all(child, done)
                    done = []
                self._take(child, frame)
        if done:
            self._end_all(child, done)

    def _end_all(self, child: Child, done: Sequence[Frame]) -> None:
        sent = [
            (frame, child.jobs.get(frame.number)) for frame in done
        ]  # else taken back, and elsewhere by now
        found = [(frame, job, *job.outcome(frame)) for frame, job in sent if job is not None]
        told: dict[Owner, list[Ended]] = {}
        took: dict[int, list[float]] = {}
        with self._lock:
            for frame, job, result, payload in found:
                if child.jobs.pop(frame.number, None) is None:
                    continue
                self._ahead.note(child, job, frame, took)
                if not job.over:
                    job.over = True
                    ending = (job, result, payload, frame.began, frame.ended)
                    told.setdefault(job.owner, []).append(ending)
            most = self._ahead.learn(took)
            if most is not None:
                self._give_back(most)
            self._feed(child)
        for owner, endings in told.items():
            owner.replies(endings)

    def _give_back(self, most: int) -> None:
        """What was taken while all was short is too much now: something else may be more urgent."""
        while len(self._queue) > most:
            job = self._queue.pop()
            if not job.over:
                self._end(job, RETURNED)

    def _take(self, child: Child, frame: Frame) -> None:
        op = frame.op
        if op == frames.WARNING:
            self.warnings.append(frame.load())
            return
        if op == frames.LEAVING:
            child.leaving = frame.load()
            return
        if op == frames.HELLO:
            with self._lock:
                child.ready = True
                self._stillborn = 0
                self._feed(child)
            return
        job = child.jobs.get(frame.number)
        if job is None:
            return  # taken back, and elsewhere by now
        if op == frames.SLEEPS:
            with self._lock:
                if child.words[board.WAITING] == frame.number:
                    self._sleeping.add(child)
                    self._grow()  # for those that it would keep waiting
        elif op == frames.BEGUN:
            job.owner.began(job, frame.began)
        elif op == frames.BACK:
            with self._lock:
                if child.jobs.pop(frame.number, None) is None:
                    return
                if job.asked:
                    self._end(job, RETURNED)
                else:  # for another worker, which was too late to get it
                    job.child = None
                    self._queue.appendleft(job)
                self._feed(child)
        elif op == frames.GAVE:
            self._pass_on(child, job, frame)
        elif op == frames.SAID and job.context is not None:
            try:
                method, given = frame.load()
                getattr(job.context, method)(*given)
            except Exception:  # what cannot be loaded here cannot be said
                pass

    def _pass_on(self, child: Child, job: Job, frame: Frame) -> None:
        """An element of a stream; one that cannot be loaded ends it."""
        if job.over:
            return
        try:
            element = job.element(frame)
        except BaseException as error:
            text = f"an element of the stream cannot be loaded from the process: {error}"
            with self._lock:
                if job.over:
                    return
                self._end(job, FAILED, failure_of(error, traced=False).but(text=text))
                child.words[board.STOPPED] = job.number
                self._wake(child, job)
            return
        job.owner.gave(job, element)

    def _is_dying(self, child: Child) -> bool:
        """Whether a worker whose pipe has ended is about to end by itself."""
        end = time.monotonic() + _DYING
        while time.monotonic() < end:
            with self._lock:
                if child.dead():
                    return True
            time.sleep(0.001)
        return False

    def _bury_if_dead(self, child: Child) -> None:
        with self._lock:
            dead = child.dead()
        if dead:
            self._bury(child)

    def _bury(self, child: Child) -> None:
        """A worker has died: what it has said counts, what it was at is lost, all else goes to others."""
        with self._lock:
            child.ending = True
        self._ears.remove(child)
        try:
            while (found := child.inbox.read()) is not None:
                self._take_all(child, found)
        except OSError:
            pass
        with self._lock:
            child.close()
            self._children.remove(child)
            self._sleeping.discard(child)
            if child in self._idle:
                self._idle.remove(child)
            text = f"the worker process {child.how_it_ended}"
            for job in reversed(child.jobs.values()):
                if job.over:
                    continue
                if job.doomed:
                    self._end(job, CANCELLED)
                elif child.begun(job):
                    self._lose(job, text, died=True)
                else:
                    job.child = None
                    self._queue.appendleft(job)
            child.jobs.clear()
            if not child.ready and not self._closing:
                self._stillborn += 1
                if self._stillborn >= _STARTS:
                    self._give_up(f"no worker process can be started: the last one {child.how_it_ended}")
            self._hand_out()

    def _give_up(self, text: str) -> None:
        """No worker can be had: fails what waits for one."""
        self._stillborn = 0
        if any(child.ready and child not in self._sleeping for child in self._children):
            return
        self._lose_queue(text, died=True)

    def _lose_queue(self, text: str, *, died: bool = False) -> None:
        while self._queue:
            self._lose(self._queue.popleft(), text, died=died)

    def _finish(self) -> None:
        """The thread ends: nothing of the pool remains."""
        with self._lock:
            self._closing = True
            for child in self._children:
                child.close()
                for job in child.jobs.values():
                    self._lose(job, _CLOSED)
            self._children.clear()
            self._idle.clear()
            self._lose_queue(_CLOSED)
            self._ears.close()
