"""A worker process as its pool sees it, and the attempts that it is sent."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from penstock.core.commands import CANCELLED, FAILED, OK, STREAM
from penstock.core.context import Context
from penstock.core.failures import RetryOn, failure_of, text_of

from . import board, frames
from .frames import Frame, Inbox, Parcel
from .worker import TASKS

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_BUFFER = 1 << 20  # bytes on their way in one direction, as far as the system allows
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from penstock.runners.processes.worker import main; main(*map(int, sys.argv[2:]))"
)


class Owner(Protocol):
    """The runner of a job, as the pool sees it."""

    def reply(self, job: Job, result: int, payload: Any, began: float | None, ended: float | None) -> None:
        """The attempt is over; the times are of the monotonic clock, None where it made none."""

    def replies(self, endings: Sequence[Ended]) -> None:
        """The same of several attempts."""

    def began(self, job: Job, at: float) -> None:
        """It really runs."""

    def look(self) -> None:
        """Others wait for the workers that it has: it is to give them back if its run is lost."""

    def gave(self, job: Job, element: Any) -> None:
        """It is a stream, and has given an element."""


class Task:
    """What the attempts of one step have in common, and how it travels.

    Attributes:
        number: By which workers remember it.
        parcel: It.
        keep: What it was made of: kept, so that nothing else can be taken for it.
    """

    __slots__ = ("keep", "number", "parcel")

    def __init__(self, number: int, parcel: Parcel, keep: tuple[Any, ...]) -> None:
        self.number = number
        self.parcel = parcel
        self.keep = keep


class Job:
    """One attempt.

    Attributes:
        owner: Whose it is.
        key: Node and token.
        task, parcel, flag: What is sent.
        retry_on: Judges what no process can: the death of its worker.
        context: The step's own, which the worker's stands for.
        names: Of its arguments, for error texts.
        upto: How far a stream may go.
        child: The worker that has it; None while it waits for one.
        number: By which the worker knows it.
        asked: It was asked to end.
        is_stream: It keeps its worker while it waits, and is sent to one that has nothing else.
        over: It is over, or was taken back before it was sent.
        doomed: Its worker was killed for it.
        began_at: When it has begun, on the run's clock; None until that is known.
        size: Of its arguments, in bytes.
    """

    __slots__ = (
        "asked",
        "began_at",
        "child",
        "context",
        "doomed",
        "flag",
        "is_stream",
        "key",
        "names",
        "number",
        "over",
        "owner",
        "parcel",
        "retry_on",
        "size",
        "task",
        "upto",
    )

    def __init__(
        self,
        owner: Owner,
        key: tuple[int, int],
        task: Task,
        parcel: Parcel,
        flag: int,
        retry_on: RetryOn,
        context: Context | None,
        names: tuple[str, ...],
    ) -> None:
        self.owner = owner
        self.key = key
        self.task = task
        self.parcel = parcel
        self.flag = flag
        self.retry_on = retry_on
        self.context = context
        self.names = names
        self.upto = 0
        self.child: Child | None = None
        self.number = 0
        self.asked = False
        self.is_stream = bool(flag & STREAM)
        self.over = False
        self.doomed = False
        self.began_at: float | None = None
        self.size = parcel.size
        for raw in parcel.buffers:
            self.size += raw.nbytes

    def outcome(self, frame: Frame) -> tuple[int, Any]:
        """How the attempt has ended, and its value or failure."""
        return outcome(frame, self.names)

    def element(self, frame: Frame) -> Any:
        """What a stream has given."""
        return frame.load()


Ended = tuple[Job, int, Any, float | None, float | None]
"""What `Owner.reply` takes."""


def outcome(frame: Frame, names: Sequence[str]) -> tuple[int, Any]:
    """How an attempt has ended, and its value or failure.

    Args:
        frame: A DONE.
        names: Of its arguments.
    """
    if frame.flag == frames.STOPPED:
        return CANCELLED, None
    try:
        payload = frame.load()
    except BaseException as error:
        text = f"the result cannot be loaded from the process: {text_of(error)}"
        return FAILED, failure_of(error).but(text=text)
    if frame.flag == OK:
        return OK, payload
    if frame.flag & frames.UNLOADED:
        said = f"the arguments ({', '.join(names)}) cannot be loaded in the process: {payload}"
        payload = payload.but(text=said)
    return FAILED, payload


class Child:
    """One worker.

    Attributes:
        pid: Of the process, and of the group and session that it leads.
        pipe: Our end of the pipe to it.
        exit: A descriptor that is readable once it is dead; None where the system has none.
        words: The board.
        inbox: What it says.
        jobs: What was sent to it and has not ended, by number, in order.
        ready: It has said hello.
        ending: It is about to end: it gets nothing any more.
        killed_at: When it is killed, for the sake of `killed_for`; None otherwise.
        quick: Its last attempt was short.
        seconds: That it took.
        blocked: There is more to write than the pipe takes.
        leaving: What it says it is at, since it was told to leave; None before.
    """

    def __init__(self) -> None:
        with ExitStack() as its, ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.enter_context(ours)
            its.enter_context(theirs)
            life, self._life = os.pipe()  # closed by our end, however that comes
            undo.callback(os.close, self._life)
            its.callback(os.close, life)
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            page = board.make()
            its.callback(os.close, page)
            self._process = subprocess.Popen(  # arguments of our own, no shell
                [
                    *(sys.executable, *_flags(), "-P", "-c", _CODE),
                    *(_HOME, str(theirs.fileno()), str(page), str(life)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), page, life),
                start_new_session=True,
            )
            self.words = board.view(page)
            undo.pop_all()
        ours.setblocking(False)
        self._socket = ours
        self.pid = self._process.pid
        self.pipe = ours.fileno()
        self.exit = _exit_of(self.pid)
        self.inbox = Inbox(self.pipe)
        self.jobs: dict[int, Job] = {}
        self.ready = False
        self.ending = False
        self.killed_at: float | None = None
        self.killed_for: Job | None = None
        self.quick = False
        self.seconds = math.inf
        self.leaving: str | None = None
        self._cut_off = False
        self._last = 0
        self._known: dict[int, None] = {}  # the tasks that it remembers, in order
        self._unsent: list[Any] = []

    @property
    def blocked(self) -> bool:
        return bool(self._unsent)

    @property
    def room(self) -> int:
        """Attempts that can be sent, so that the board has a place for each that it has not come to yet."""
        return board.AHEAD - (self._last - self.words[board.STARTED])

    def send(self, jobs: list[Job]) -> None:
        """Sends attempts, in one write if the pipe takes it."""
        pieces: list[Any] = []
        for job in jobs:
            self._last += 1
            job.child, job.number = self, self._last
            self.jobs[self._last] = job
            if job.is_stream:
                self.words[board.upto(self._last)] = job.upto
            task = job.task
            if task.number not in self._known:
                if len(self._known) >= TASKS:
                    del self._known[next(iter(self._known))]
                self._known[task.number] = None
                pieces += frames.frame(frames.TASK, task.parcel, task=task.number)
            pieces += frames.frame(
                frames.CALL, job.parcel, flag=job.flag, task=task.number, number=self._last
            )
        self.write(pieces if len(pieces) == 1 else _together(pieces))

    def write(self, pieces: list[Any]) -> None:
        """Writes what the pipe takes, and keeps the rest for `write_on`."""
        if self._unsent:
            self._unsent += pieces
            return
        try:
            self._unsent = frames.write(self.pipe, pieces)
        except OSError:  # it is dead, which will be seen
            pass

    def write_on(self) -> None:
        """Writes more of what the pipe did not take."""
        pieces, self._unsent = self._unsent, []
        self.write(pieces)

    def begun(self, job: Job) -> bool:
        """Whether it is at this job, or past it. Anything else it will not begin once it is taken back."""
        return self.words[board.STARTED] >= job.number

    def began(self, job: Job) -> float | None:
        """When it has begun this job, which is the last that it has begun; None of any other."""
        if self.words[board.STARTED] != job.number:
            return None
        return self.words[board.BEGAN] / 1e9

    def take_back(self, job: Job) -> bool:
        """Takes back what was sent; False if it has begun, or is about to."""
        self.words[board.taken_back(job.number)] = job.number
        board.fence()
        if self.begun(job):
            return False
        del self.jobs[job.number]
        job.child = None
        return True

    def wake(self, job: Job) -> bool:
        """Has a stream look at the board, if it sleeps; whether it does."""
        board.fence()
        if self.words[board.WAITING] != job.number:
            return False
        self.write(frames.frame(frames.WAKE))
        return True

    def halt(self, job: Job) -> bool:
        """Keeps it from beginning anything after this job; False if it has, and is none the worse."""
        self.words[board.HALT] = 1
        board.fence()
        if self.words[board.STARTED] == job.number:
            return True
        self.words[board.HALT] = 0
        return False

    def leave(self) -> None:
        """Tells it to end, in order."""
        self.ending, self.leaving = True, self.leaving or ""
        self.write(frames.frame(frames.LEAVE))

    def cut_off(self) -> None:
        """Kills it because it has closed its pipe: without that it is of no use."""
        self.ending = self._cut_off = True
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it and to all that its steps have started."""
        if self._process.returncode is None:  # until it is waited for, its number is nobody else's
            try:
                os.killpg(self.pid, number)
            except (
                ProcessLookupError,
                PermissionError,
            ):  # the latter of a group of dead ones, on some systems
                pass

    def dead(self) -> bool:
        """Whether it has died; if so, with all that its steps had started."""
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
        except (AttributeError, ChildProcessError):  # not on this system, or somebody has waited for it
            if self._process.poll() is None:
                return False
            self._process.returncode, code = None, self._process.returncode
            self.signal(signal.SIGKILL)
            self._process.returncode = code
            return True
        self.signal(signal.SIGKILL)
        return self._process.poll() is not None

    def close(self) -> None:
        """Waits for a dead one, and gives back what it held here."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Closes what leads to it, in a process that is not its pool's any more too."""
        self._socket.close()
        os.close(self._life)
        if self.exit is not None:
            os.close(self.exit)
            self.exit = None

    def forget(self) -> None:
        """In a forked process: it is not a child of this one."""
        self._process.returncode = 0
        self.let_go()

    @property
    def how_it_ended(self) -> str:
        if self._cut_off:
            return "has closed its pipe to the pool, and was killed for that"
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exited with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
        return f"died with signal {-code} ({name}){hint}"


def _together(pieces: list[Any]) -> list[Any]:
    """Small messages in one piece: one write of one buffer is what a pipe does best."""
    if sum(map(len, pieces)) < 1 << 16:
        return [b"".join(pieces)]
    return pieces


def _flags() -> list[str]:
    """The options of this interpreter that its workers should have too."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def _exit_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
