"""Attempts that the workers of an engine make: the runner of a run, and the pool that it is lent by."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from penstock.core.amounts import check_seconds
from penstock.core.commands import BEGAN, CANCELLED, ENDED, FAILED, GONE, OK, RETURNED, ROOM, YIELDED
from penstock.core.errors import WorkerDied
from penstock.core.failures import failure_of, text_of
from penstock.core.mailbox import Mailbox
from penstock.core.model import RunOptions
from penstock.core.ports import Work
from penstock.core.returned import Written
from penstock.core.secrets import travelling
from penstock.runners.processes import reference
from penstock.runners.processes.child import outcome
from penstock.runners.processes.packing import Parts, Tasks, pack_arguments, parts_of, variables

from . import bundle as b
from . import held
from .cluster import Cluster
from .desk import Desk, Sent
from .held import Held
from .travel import ByValue, files

_PATIENCE = 10.0  # seconds that attempts get to end when their run is over
_LARGE = 1 << 16  # bytes from which a buffer travels beside the pickle
_DEATHS = 3  # workers that may die at an attempt, until it is held to be the reason


class RemotePool:
    """Workers of an engine, to be given as ``runner=`` to as many runs as one likes.

    Args:
        cluster: The engine.
        kill_grace: Seconds that a step whose time is over gets after SIGTERM; then, and by default at once,
            it is killed.

    Raises:
        ValueError: An argument makes no sense.
    """

    def __init__(self, cluster: Cluster, *, kill_grace: float = 0.0) -> None:
        check_seconds(cluster.name, "kill_grace", kill_grace)
        self.cluster = cluster
        self.desk = Desk(cluster, kill_grace)
        self.tasks = Tasks()
        self._lock = threading.Lock()
        self._looked = False

    def __enter__(self) -> RemotePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.cluster.name}: {self.cluster.slots} at a time>"

    def for_run(self, options: RunOptions) -> RemoteRunner:
        """See `Pool`."""
        return RemoteRunner(self, options)

    def close(self) -> None:
        """Ends what it has at the workers, and the engine if it was started by this pool."""
        self.desk.close()
        self.tasks.forget()

    def begin(self) -> Desk:
        """For runners: what takes their attempts.

        Raises:
            Exception: The engine cannot be had.
        """
        self.desk.begin()
        with self._lock:
            if not self._looked:
                self._looked = True
                self._look()
        return self.desk

    def _look(self) -> None:
        """Finds out whether functions can travel as names: whether the workers see this program's files."""
        if not self.cluster.sees(files()):
            self.tasks = Tasks(ByValue)


class RemoteRunner:
    """The runner of one run, at an engine.

    Args:
        pool: Whose workers it uses.
        options: Of the run.
        owns: The pool ends with it.
    """

    awaits = False
    holds = True

    def __init__(self, pool: RemotePool, options: RunOptions | None = None, *, owns: bool = False) -> None:
        self.name = pool.cluster.name
        self._pool = pool
        self._owns = owns
        self._names = tuple(options.context_vars) if options is not None else ()
        self._sent: dict[tuple[int, int], Sent] = {}
        self._deaths: dict[int, int] = {}  # by node: workers that have died at it
        self._quiet = threading.Event()
        self._closing = False
        self.warn: Callable[[str], None] | None = None

    @property
    def capacity(self) -> int:
        """Attempts that it takes at first; `ROOM` says when that changes."""
        return self._pool.desk.capacity

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._post = mailbox.post
        self._clock = clock
        self._variables = variables(self._names)
        self._desk = self._pool.begin()
        self._pickler = self._pool.tasks.pickler
        by_value = self._pickler is ByValue
        self._thorough = by_value or reference.main() is None or bool(reference.guarded())
        self._desk.join(self)

    def submit(self, work: Work) -> None:
        try:
            sent = self._pack(work)
        except BaseException as error:
            now = self._clock()
            self._post((ENDED, work[0], work[1], FAILED, failure_of(error).but(trace=""), None, now, now))
            return
        self._sent[sent.key] = sent
        self._desk.submit(sent)

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        sent = self._sent.get((node, token))
        if sent is not None:
            self._desk.stop(sent, kill=timeout)

    def abandon(self, node: int, token: int) -> None:
        sent = self._sent.get((node, token))
        if sent is not None:
            self._desk.stop(sent, kill=True, wait=False)

    def go_on(self, node: int, token: int, upto: int) -> None:
        sent = self._sent.get((node, token))
        if sent is not None:
            self._desk.go_on(sent, upto)

    def close(self) -> None:
        """Ends what still runs, which is only there after a fault of ours, and the pool if it is its own."""
        self._closing = True
        for sent in list(self._sent.values()):
            self._desk.stop(sent, kill=True)
        if self._sent:
            self._quiet.wait(_PATIENCE)
        self._desk.part(self)
        if self._owns:
            self._pool.close()

    # For the desk

    def room(self, capacity: int) -> None:
        """So many attempts are taken at a time from now on."""
        self._post((ROOM, self.name, capacity))

    def began(self, sent: Sent, age: float) -> None:
        """It really runs, since so many seconds."""
        sent.began_at = self._clock() - age
        if not sent.is_stream or sent.is_timed:
            self._post((BEGAN, *sent.key, sent.began_at))

    def gave(self, sent: Sent, element: b.Packed) -> None:
        """It is a stream, and has given an element."""
        try:
            value = pickle.loads(element[0], buffers=element[1])  # noqa: S301 - from a child of our own
        except BaseException as error:
            text = f"an element of the stream cannot be loaded from the process: {text_of(error)}"
            self._desk.stop(sent, kill=True)
            self.end(sent, FAILED, failure_of(error, traced=False).but(text=text))
            return
        self._post((YIELDED, *sent.key, value, None))

    def said(self, sent: Sent, method: str, given: tuple[Any, ...]) -> None:
        """Its step has called a method of its context."""
        context = sent.context
        if context is not None:
            try:
                getattr(context, method)(*given)
            except Exception:  # what cannot be said here is not missed
                pass

    def answered(self, sent: Sent, ending: b.Ending, kept: Any) -> None:
        """It is over, as the answer of its bundle says."""
        payload, result = ending.payload, ending.result
        if type(payload) is b.Raw:
            result, payload = outcome(payload.frame(), sent.names)
        elif type(payload) is b.Stayed:
            result, payload = OK, Held(kept, ending.number, payload)
        self.end(sent, result, payload, ending.began, ending.ended)

    def died(self, sent: Sent, text: str, many: int) -> None:
        """So many workers have died at it, and nobody is charged, unless that comes over and over again."""
        node = sent.key[0]
        self._deaths[node] = deaths = self._deaths.get(node, 0) + many
        if sent.gave or deaths >= _DEATHS:
            self.fail(sent, text if deaths == 1 else f"{text}; so did {deaths - 1} before it")
        else:
            self.end(sent, RETURNED)

    def fail(self, sent: Sent, text: str) -> None:
        """It is lost, for a reason that will not pass."""
        failure = failure_of(WorkerDied(text), sent.retry_on, traced=False).but(kind="lost_worker")
        self.end(sent, FAILED, failure)

    def give_up(self, sent: Sent, text: str) -> None:
        """It was to be killed, and nobody has said that it was: should it run on, its result is lost."""
        self.end(sent, CANCELLED, (text, ""))

    def gone(self, sent: Sent) -> None:
        """What was given up has ended."""
        self._post((GONE, *sent.key))

    def warned(self, text: str) -> None:
        """The engine has something to say to whoever waits."""
        if self.warn is not None:
            self.warn(text)

    def is_alone(self, node: int) -> bool:
        """Whether workers have died at it, so that it must travel alone."""
        return node in self._deaths

    def end(
        self,
        sent: Sent,
        result: int,
        payload: Any = None,
        began: float | None = None,
        ended: float | None = None,
    ) -> None:
        """An attempt is over; the times are ages, in seconds."""
        if self._sent.pop(sent.key, None) is None:
            return
        now = self._clock()
        writes = None
        if type(payload) is Written:
            payload, writes = payload
        end = now if ended is None else now - ended
        start = end if began is None else now - began
        if sent.began_at is not None:
            start = sent.began_at
        self._post((ENDED, *sent.key, result, payload, writes, start, max(start, end)))
        if self._closing and not self._sent:
            self._quiet.set()

    def _pack(self, work: Work) -> Sent:
        parts = parts_of(work)
        task = self._pool.tasks.task(work[2], work[4], parts.param, self._variables)
        return Sent(self, work, parts, task, self._packed(parts))

    def _packed(self, parts: Parts) -> held.Packed:
        both = (parts.arguments, parts.travelled)
        try:
            if self._thorough:
                return held.pack(both, self._pickler, _LARGE)
            try:
                with travelling():
                    body = pickle.dumps(both, 5)
                return held.plain(body)
            except BaseException:
                return held.pack(both, self._pickler, _LARGE)
        except BaseException:
            pack_arguments(*both, thorough=True, pickler=self._pickler)  # it says which argument it is
            raise
