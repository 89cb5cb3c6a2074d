"""A worker's side: attempts are made in children of the worker's process, which can be killed.

A child is a worker of `runners.processes`, and this process only passes on what goes to it and comes from
it. It never loads what the users' steps are made of: so a step can neither hang nor break the engine's
worker, and what it has imported is gone with the run.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from penstock.core.commands import OK, RETURNED, STREAM, TIMED
from penstock.core.context import Context
from penstock.runners.processes import frames
from penstock.runners.processes.board import AHEAD
from penstock.runners.processes.child import Ended, Job, Task
from penstock.runners.processes.dispatch import Dispatcher
from penstock.runners.processes.frames import Frame, Parcel
from penstock.runners.processes.reference import World

from . import bundle as b

LARGE = 1 << 16
"""Bytes from which a value stays with the engine, if only others that it runs need it."""

_IDLE = 60.0  # seconds without any attempt after which the children end
_AGAIN = 1.0
_PREFETCH = AHEAD - 1
_REMEMBERED = 10_000
_SOON = 0.05  # seconds after which it is told that an attempt has begun which has others beside it
_LOOK = 1.0  # seconds between two looks whether a bundle is still wanted

Say = Callable[[bytes], None]
Aside = Callable[[], None]
Wanted = Callable[[], bool]


def _stay() -> None: ...


def _always() -> bool:
    return True


class Unwanted(RuntimeError):
    """Nobody waits for a bundle any more, and its attempts were ended."""


class Site:
    """Makes the attempts of one driver in this process's children.

    Args:
        where: What this worker is called; empty if that is not known yet.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._world: World | None = None
        self._jobs: dict[int, Job] = {}
        self._errands = 0
        self._revoked: dict[int, None] = {}  # in the order in which they were; the oldest are forgotten
        self._past: deque[int] = deque(maxlen=_REMEMBERED)  # numbers of attempts that are over
        self._watch: threading.Timer | None = None
        self._used = 0.0

    def carry_out(
        self,
        bundle: b.Bundle,
        loads: Sequence[b.Values],
        size: int,
        say: Say,
        aside: Aside = _stay,
        wanted: Wanted = _always,
    ) -> tuple[bytes, b.Values]:
        """Makes the attempts of a bundle, and returns when all of them are over.

        Args:
            bundle: What is to be done.
            loads: Values of other attempts that some of them take.
            size: Children at most, all bundles that are carried out at the same time together.
            say: Sends a word to the driver.
            aside: Lets the engine's worker begin something else: a stream sleeps until it may go on.
            wanted: Whether anybody still waits for them; asked now and then.

        Returns:
            How they ended, and the values that stay.

        Raises:
            Unwanted: Nobody has waited for them any more.
        """
        errand = _Errand(self.where, say, [call.number for call in bundle.calls])
        self._begin(bundle, size)
        try:
            for call in bundle.calls:
                self._submit(errand, bundle, call, loads)
            self._wait(errand, aside, wanted)
        finally:
            self._end(errand)
        return errand.answer({call.number for call in bundle.calls if call.stays})

    def obey(self, orders: Sequence[tuple[Any, ...]]) -> list[int]:
        """Carries out orders; gives the numbers of those attempts that have come here."""
        here = []
        for what, number, *given in orders:
            with self._lock:
                job, dispatcher = self._jobs.get(number), self._dispatcher
                if job is None or dispatcher is None:
                    if what == b.STOP and number not in self._past:
                        self._revoked[number] = None
                        if len(self._revoked) > _REMEMBERED:
                            del self._revoked[next(iter(self._revoked))]
                    continue
            here.append(number)
            if what == b.STOP:
                kill, wait = given
                dispatcher.stop(job, kill=kill, wait=wait)
            else:
                dispatcher.go_on(job, given[0])
        return here

    def knows(self, numbers: Sequence[int]) -> bool:
        """Whether any of these attempts has come here."""
        with self._lock:
            return any(number in self._jobs or number in self._past for number in numbers)

    def stop_all(self) -> None:
        """Ends all attempts that are here."""
        with self._lock:
            numbers = list(self._jobs)
        self.obey([(b.STOP, number, True, True) for number in numbers])

    def close(self) -> None:
        """Ends the children. An attempt that still runs is lost; a bundle that comes later starts anew."""
        with self._lock:
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()

    def _wait(self, errand: _Errand, aside: Aside, wanted: Wanted) -> None:
        unwanted, look_at = False, time.monotonic() + _LOOK
        while True:
            errand.announce()
            try:
                over = errand.turns.get(timeout=_LOOK if errand.is_alone else _SOON)
            except Empty:
                if time.monotonic() < look_at:
                    continue
                look_at = time.monotonic() + _LOOK
                if not unwanted and not wanted():
                    unwanted = True
                    self.obey([(b.STOP, number, True, True) for number in errand.numbers])
                continue
            if over:
                break
            aside()
        if unwanted:
            raise Unwanted

    def _begin(self, bundle: b.Bundle, size: int) -> None:
        with self._lock:
            self._errands += 1
            self._world = adapted(bundle.world)
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(size, _PREFETCH, bundle.kill_grace, self._told)
            self._dispatcher.begin()

    def _told(self) -> World:
        assert self._world is not None
        return self._world

    def _submit(self, errand: _Errand, bundle: b.Bundle, call: b.Call, loads: Sequence[b.Values]) -> None:
        task = Task(call.task, b.parcel(bundle.tasks[call.task]), ())
        context: Any = _Passer(errand, call.number) if call.flag & frames.CONTEXT else None
        flag = (
            call.flag | TIMED if call.flag & STREAM else call.flag
        )  # a driver must know where its streams are
        job = _Relayed(errand, (call.number, 0), task, _filled(call, loads), flag, None, context, ())
        job.upto = call.upto
        if call.flag & STREAM and not call.upto:
            errand.step_aside()
        with self._lock:
            dispatcher = self._dispatcher
            revoked = call.number in self._revoked
            self._revoked.pop(call.number, None)
            if not revoked:
                self._jobs[call.number] = job
        if revoked or dispatcher is None:
            errand.give_back(job)
        else:
            dispatcher.submit(job)

    def _end(self, errand: _Errand) -> None:
        with self._lock:
            for number in errand.numbers:
                self._jobs.pop(number, None)
                self._past.append(number)
            self._errands -= 1
            self._used = time.monotonic()
            if self._watch is None:
                self._watch_for(_IDLE)

    def _watch_for(self, seconds: float) -> None:
        self._watch = threading.Timer(seconds, self._look)
        self._watch.daemon = True
        self._watch.start()

    def _look(self) -> None:
        """Ends the children if there has been nothing to do for long enough; otherwise looks again."""
        with self._lock:
            left = self._used + _IDLE - time.monotonic()
            self._watch = None
            if self._dispatcher is None:
                return
            if self._errands or left > 0:
                self._watch_for(max(left, _AGAIN))
                return
        self.close()


class _Errand:
    """A bundle that is carried out: the owner of its jobs.

    Attributes:
        numbers: Of its attempts.
        turns: Says False when a stream sleeps, and True when all of them are over.
        is_alone: There is but one attempt. Where there are more, the clock of one whose beginning is told
            runs on until all of them are over: so it is told only of what is not over at once.
    """

    _names = count(1)

    def __init__(self, where: str, say: Say, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.turns: SimpleQueue[bool] = SimpleQueue()
        self._name = f"{where}/{os.getpid()}/{next(self._names)}"
        self._where = where
        self._say = say
        self._open = len(numbers)
        self._endings: list[tuple[Job, int, Any, float | None, float | None]] = []
        self._words: dict[int, int] = {}
        self.is_alone = len(numbers) == 1
        self._unsaid: dict[int, float] = {}  # when attempts have begun of which that is not told yet
        self._aside = False
        self._gave = 0
        self._lock = threading.Lock()
        if not numbers:
            self.turns.put(True)

    def answer(self, stay: set[int]) -> tuple[bytes, b.Values]:
        """How all ended, and the large values of those that may stay here."""
        now, values = time.monotonic(), b.Values()
        endings = []
        for job, result, payload, began, ended in self._endings:
            number = job.key[0]
            if number in stay and type(payload) is b.Raw and payload.flag == OK:
                body, buffers = payload.packed
                size = len(body) + sum(map(len, buffers))
                if size >= LARGE:
                    values[number] = (body, *buffers)
                    payload = b.Stayed(size, 1 + len(buffers))
            ages = (None if began is None else now - began, None if ended is None else now - ended)
            endings.append(tuple(b.Ending(number, result, payload, *ages, self._words.get(number, 0))))
        return b.dump((self._name, endings)), values

    def step_aside(self) -> None:
        """A stream sleeps, or is about to."""
        if not self._aside:
            self._aside = True
            self.turns.put(False)

    def give_back(self, job: Job) -> None:
        """It was revoked before it came here."""
        self.reply(job, RETURNED, None, None, None)

    # For the dispatcher

    def reply(self, job: Job, result: int, payload: Any, began: float | None, ended: float | None) -> None:
        """See `Owner`."""
        with self._lock:
            self._unsaid.pop(job.key[0], None)
            self._endings.append((job, result, payload, began, ended))
            self._open -= 1
            if not self._open:
                self.turns.put(True)

    def replies(self, endings: Sequence[Ended]) -> None:
        """See `Owner`."""
        for ending in endings:
            self.reply(*ending)

    def began(self, job: Job, at: float) -> None:
        """See `Owner`."""
        if not self.is_alone:
            self._unsaid[job.key[0]] = at
        else:
            self.say(b.BEGUN, job.key[0], time.monotonic() - at, self._where)

    def announce(self) -> None:
        """Tells what has begun some time ago, and is not over."""
        now = time.monotonic()
        for number, at in list(self._unsaid.items()):
            if now - at >= _SOON and self._unsaid.pop(number, None) is not None:
                self.say(b.BEGUN, number, now - at, self._where)

    def look(self) -> None:
        """See `Owner`; whether the driver still lives, its engine sees to."""

    def gave(self, job: Job, element: b.Packed) -> None:
        """See `Owner`."""
        self.say(b.GAVE, job.key[0], element)
        self._gave += 1  # a stream is alone in its bundle
        if self._gave >= job.upto:
            self.step_aside()

    def say(self, what: int, number: int, *given: Any) -> None:
        """Sends a word. One that cannot be sent is not missed: what counts comes with the answer."""
        try:
            self._say(b.dump((what, self._name, number, *given)))
        except Exception:
            return
        with self._lock:
            self._words[number] = self._words.get(number, 0) + 1


class _Relayed(Job):
    """An attempt whose value is not loaded here."""

    __slots__ = ()

    def outcome(self, frame: Frame) -> tuple[int, Any]:
        """See `Job`."""
        return OK, b.Raw(frame.flag, _copied(frame))

    def element(self, frame: Frame) -> Any:
        """See `Job`."""
        return _copied(frame)


class _Passer:
    """Stands for the context of a step: what the child says to it is passed on to the driver."""

    def __init__(self, errand: _Errand, number: int) -> None:
        self._errand = errand
        self._number = number

    def __getattr__(self, method: str) -> Callable[..., None]:
        if method not in SPOKEN:
            raise AttributeError(method)
        return lambda *given: self._errand.say(b.SAID, self._number, method, given)


SPOKEN = (Context.heartbeat.__name__, Context.progress.__name__, Context.pass_on.__name__)
"""What a child calls of its step's context."""


def _copied(frame: Frame) -> b.Packed:
    return bytes(frame.body), tuple(bytes(raw) for raw in frame.buffers)


def _filled(call: b.Call, loads: Sequence[b.Values]) -> Parcel:
    """The arguments, with the values that the engine has brought in their places."""
    made = b.parcel(call.packed)
    for buffer, source, number, part in call.loads:
        made.buffers[buffer] = memoryview(loads[source][number][part])
    return made


def adapted(world: World) -> World:
    """What a child on this machine can make of a driver's world: the folders that are here too come first,
    and then those of this worker."""
    own = [os.path.abspath(one) if one else os.getcwd() for one in sys.path if isinstance(one, str)]
    path = [one for one in world.path if os.path.exists(one)]
    main = world.main if world.main is not None and os.path.isfile(world.main.path) else None
    files = {name: file for name, file in world.files.items() if os.path.isfile(file)}
    return world._replace(path=path + [one for one in own if one not in path], main=main, files=files)


_SITES: dict[str, Site] = {}
_sites = threading.Lock()


def site_of(desk: str, where: str) -> Site:
    """The site of a driver's desk in this process; made if there is none yet."""
    with _sites:
        found = _SITES.setdefault(desk, Site(where))
        found.where = found.where or where  # orders may have come before the first bundle
        return found


def obey(desk: str, data: bytes) -> list[int]:
    """Orders for a desk's site, if it has one here or will have: see `Site.obey`."""
    return site_of(desk, "").obey(b.load(data))


def knows(desk: str, numbers: Sequence[int]) -> bool:
    """Whether a desk's site here has seen any of these attempts."""
    return site_of(desk, "").knows(numbers)


def leave(desk: str) -> None:
    """The desk is closed: its site ends."""
    with _sites:
        site = _SITES.pop(desk, None)
    if site is not None:
        site.close()


def _after_fork() -> None:
    """In a forked process: the sites are those of the first one, and a thread of it may hold the lock."""
    global _sites
    _sites = threading.Lock()
    _SITES.clear()


os.register_at_fork(after_in_child=_after_fork)
