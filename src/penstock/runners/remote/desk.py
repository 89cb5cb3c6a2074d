"""The desk of a pool: attempts are put together to bundles and handed out, and their endings are taken.

Everything is decided under one lock, by whoever comes. Bundles are handed out and orders passed on by a
thread of the desk's own, for an engine may take its time over that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

from penstock.core.commands import RETURNED, STAYS, STREAM, TIMED
from penstock.core.context import Context
from penstock.core.failures import RetryOn, text_of
from penstock.core.ports import Work
from penstock.runners.pace import GOAL, Pace
from penstock.runners.processes import reference
from penstock.runners.processes.child import Task
from penstock.runners.processes.packing import Parts

from . import bundle as b
from .cluster import Cluster
from .held import Held, Packed

_HEAVY = 1 << 20  # bytes of arguments from which an attempt travels alone
_MOMENT = 1.0  # seconds of work of one worker that may wait here, whatever the capacity is by now
_CHANGE = 0.25  # of the capacity: a smaller change is not told
_KILLED = 10.0  # seconds after which an attempt that was to be killed is given up
_WORDS = 5.0  # seconds after which words that were said before an end are not waited for

_AGAIN = -1  # an element that was had before


class Owner(Protocol):
    """The runner of an attempt, as the desk sees it; see `RemoteRunner`."""

    def room(self, capacity: int) -> None: ...
    def began(self, sent: Sent, age: float) -> None: ...
    def gave(self, sent: Sent, element: b.Packed) -> None: ...
    def said(self, sent: Sent, method: str, given: tuple[Any, ...]) -> None: ...
    def answered(self, sent: Sent, ending: b.Ending, kept: Any) -> None: ...
    def died(self, sent: Sent, text: str, many: int) -> None: ...
    def fail(self, sent: Sent, text: str) -> None: ...
    def give_up(self, sent: Sent, text: str) -> None: ...
    def gone(self, sent: Sent) -> None: ...
    def is_alone(self, node: int) -> bool: ...
    def warned(self, text: str) -> None: ...
    def end(self, sent: Sent, result: int) -> None: ...


class Sent:
    """One attempt.

    Attributes:
        owner: Whose it is.
        key: Node and token.
        number: By which the workers know it; 0 until it is handed out.
        task, flag, packed: What is sent.
        names: Of its arguments, for error texts.
        retry_on: Judges what no worker can: the death of one.
        context: The step's own, which the child's stands for.
        ticket: Of its bundle; None while it waits.
        where: The worker that it runs at, as far as is known.
        errand: What carries it out, as far as is known: another one, if a worker has died.
        upto: How far a stream may go.
        heard: Words that the errand has said of it.
        gave: Elements of a stream that have come.
        skips: Elements that another worker gives once more.
        ending: How it has ended, while words of it are still to come; and what holds its value.
        asked: It was asked to end.
        kill: It is to be killed.
        due: When one waits no longer, for its end or for words; None if one does not wait.
        over: It is over, as far as its owner is concerned.
        began_at: When it has begun, on the run's clock; None until that is known.
    """

    __slots__ = (
        "asked",
        "began_at",
        "context",
        "due",
        "ending",
        "errand",
        "flag",
        "gave",
        "heard",
        "key",
        "kill",
        "names",
        "number",
        "over",
        "owner",
        "packed",
        "retry_on",
        "skips",
        "task",
        "ticket",
        "upto",
        "where",
    )

    def __init__(self, owner: Owner, work: Work, parts: Parts, task: Task, packed: Packed) -> None:
        self.owner = owner
        self.key = work[:2]
        self.number = 0
        self.task = task
        self.flag = parts.flag
        self.packed = packed
        self.names = tuple(parts.arguments)
        self.retry_on: RetryOn = work[4]
        self.context: Context | None = work[5]
        self.ticket: int | None = None
        self.where: str | None = None
        self.errand: str | None = None
        self.upto = 0
        self.heard = 0
        self.gave = 0
        self.skips = 0
        self.ending: tuple[b.Ending, Any] | None = None
        self.asked = False
        self.kill = False
        self.due: float | None = None
        self.over = False
        self.began_at: float | None = None

    @property
    def is_stream(self) -> bool:
        return bool(self.flag & STREAM)

    @property
    def is_timed(self) -> bool:
        return bool(self.flag & TIMED)


class Desk:
    """Hands attempts out to an engine.

    Args:
        cluster: The engine.
        kill_grace: See `RemotePool`.
    """

    def __init__(self, cluster: Cluster, kill_grace: float) -> None:
        self._cluster = cluster
        self._grace = kill_grace
        self._wake = threading.Condition()
        self._queue: deque[Sent] = deque()
        self._tickets: dict[int, list[Sent]] = {}
        self._by_number: dict[int, Sent] = {}
        self._awaited: dict[int, Sent] = {}  # somebody waits for what they say
        self._orders: dict[str | None, list[tuple[Any, ...]]] = {}
        self._withdraw: list[int] = []
        self._streams: set[Sent] = set()  # those that are handed out, each in a bundle of its own
        self._owners: dict[Owner, int] = {}  # and the capacity that each was told
        self._numbers = count(1)
        self._pace = Pace()
        self._small: set[int] = set()  # tasks whose values have been small: they come here at once
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def capacity(self) -> int:
        """Attempts that it takes at a time, now."""
        return self._pace.capacity(self._cluster.slots)

    def begin(self) -> None:
        """Opens the engine, once.

        Raises:
            RuntimeError: The pool was closed.
            Exception: The engine cannot be had.
        """
        reference.refuse_while_loading()
        with self._wake:
            if self._closing:
                raise RuntimeError(f"this pool of {self._cluster.name} was closed")
            if self._thread is not None:
                return
            self._cluster.open(self)
            name = f"penstock-{self._cluster.name}"
            self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """What still runs is lost."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            left = [*self._queue, *self._by_number.values()]
            self._queue.clear()
            self._by_number.clear()
            self._wake.notify()
            thread = self._thread
        for sent in left:
            self._lose(sent, f"the pool of {self._cluster.name} was closed")
        if thread is not None:
            thread.join()
            self._cluster.close()

    # For runners, in their threads

    def join(self, owner: Owner) -> None:
        """A runner that wants to know how many attempts are taken."""
        with self._wake:
            self._owners[owner] = self.capacity
        owner.room(self._owners[owner])

    def part(self, owner: Owner) -> None:
        """The same wants to know nothing any more."""
        with self._wake:
            self._owners.pop(owner, None)

    def submit(self, sent: Sent) -> None:
        """Takes an attempt, and returns at once."""
        with self._wake:
            if not self._closing:
                self._queue.append(sent)
                self._wake.notify()
                return
        self._lose(sent, f"the pool of {self._cluster.name} was closed")

    def stop(self, sent: Sent, *, kill: bool, wait: bool = True) -> None:
        """Gives an attempt back if it was not handed out yet; otherwise has it asked to end, or ended."""
        with self._wake:
            if sent.over:
                return
            sent.asked = True
            if sent.ticket is None:
                sent.over = True
            else:
                self._order(sent, b.STOP, kill, wait)
                if kill and not sent.kill:
                    sent.kill = True
                    self._wait_for(sent, self._grace + _KILLED)
                if sent.where is None and all(one.asked or one.over for one in self._tickets[sent.ticket]):
                    self._withdraw.append(sent.ticket)
                return
        sent.owner.end(sent, RETURNED)

    def go_on(self, sent: Sent, upto: int) -> None:
        """Lets a stream give elements up to a position."""
        with self._wake:
            sent.upto = max(sent.upto, upto)
            if sent.where is not None and not sent.over:
                self._order(sent, b.GO_ON, sent.upto)

    # For the cluster, in its threads

    def hear(self, word: bytes) -> None:
        """See `Listener`."""
        what, errand, number, *given = b.load(word)
        with self._wake:
            sent = self._by_number.get(number)
            if sent is None or sent.over:
                return
            self._follow(sent, errand)
            sent.heard += 1
            if what == b.BEGUN:
                sent.where = given[1]
                if sent.asked:
                    self._order(sent, b.STOP, sent.kill, True)
                if sent.upto:
                    self._order(sent, b.GO_ON, sent.upto)
            elif what == b.GAVE and sent.skips:
                sent.skips -= 1
                what = _AGAIN
            elif what == b.GAVE:
                sent.gave += 1
                if sent.gave >= sent.upto:
                    self._wake.notify()
        if what == b.BEGUN:
            sent.owner.began(sent, given[0])
        elif what == b.GAVE:
            sent.owner.gave(sent, given[0])
        elif what == b.SAID:
            sent.owner.said(sent, *given)
        if sent.ending is not None:
            self._end(sent)

    def over(self, ticket: int, answer: bytes, kept: Any) -> None:
        """See `Listener`."""
        errand, endings = b.load(answer)
        for given in endings:
            ending = b.Ending(*given)
            with self._wake:
                sent = self._by_number.get(ending.number)
                if sent is None:
                    continue
                if type(ending.payload) is b.Raw:
                    self._small.add(sent.task.number)
                elif type(ending.payload) is b.Stayed:
                    self._small.discard(sent.task.number)
                if ending.began is not None and ending.ended is not None:
                    self._pace.learn(sent.task.number, ending.began - ending.ended)
                self._follow(sent, errand)
                sent.ending = (ending, kept)
            self._end(sent)
        self._done(ticket)
        self._tell()

    def lost(self, ticket: int, text: str, *, died: int) -> None:
        """See `Listener`."""
        with self._wake:
            left = [sent for sent in self._tickets.get(ticket, ()) if self._take(sent)]
        if len(left) > 1:
            died = min(died, 1)  # at most one of them is to blame, and nobody knows which
        for sent in left:
            if sent.asked:
                sent.owner.end(sent, RETURNED)
            elif died:
                sent.owner.died(sent, text, died)
            else:
                sent.owner.fail(sent, text)
        self._done(ticket)

    def withdrawn(self, ticket: int) -> None:
        """See `Listener`."""
        with self._wake:
            left = [sent for sent in self._tickets.get(ticket, ()) if self._take(sent)]
        for sent in left:
            sent.owner.end(sent, RETURNED)
        self._done(ticket)

    def changed(self) -> None:
        """See `Listener`."""
        with self._wake:
            self._wake.notify()

    def has_stream(self, ticket: int) -> bool:
        """See `Listener`."""
        with self._wake:
            return any(sent.is_stream for sent in self._tickets.get(ticket, ()))
        self._tell()

    def warn(self, text: str) -> None:
        """See `Listener`."""
        with self._wake:
            owners = list(self._owners)
        for owner in owners:
            owner.warned(text)

    def _order(self, sent: Sent, what: int, *given: Any) -> None:
        self._orders.setdefault(sent.where, []).append((what, sent.number, *given))
        self._wake.notify()

    def _follow(self, sent: Sent, errand: str) -> None:
        """If another worker carries an attempt out, it begins anew: what it has given is given once more."""
        if errand != sent.errand:
            sent.errand, sent.heard, sent.skips = errand, 0, sent.gave

    def _wait_for(self, sent: Sent, seconds: float) -> None:
        sent.due = time.monotonic() + seconds
        self._awaited[sent.number] = sent
        self._wake.notify()

    def _end(self, sent: Sent) -> None:
        """An attempt is over once all that was said of it has come too."""
        with self._wake:
            if sent.ending is None or self._by_number.get(sent.number) is not sent:
                return
            (ending, kept), was_over = sent.ending, sent.over
            if sent.heard < ending.words and not was_over:
                self._wait_for(sent, _WORDS)
                return
            self._forget(sent)
            sent.over = True
        if was_over:
            sent.owner.gone(sent)
        else:
            sent.owner.answered(sent, ending, kept)

    def _take(self, sent: Sent) -> bool:
        """Whether it was still open; it is not any more."""
        if self._forget(sent) is None or sent.over:
            return False
        sent.over = True
        return True

    def _forget(self, sent: Sent) -> Sent | None:
        self._awaited.pop(sent.number, None)
        return self._by_number.pop(sent.number, None)

    def _done(self, ticket: int) -> None:
        with self._wake:
            self._streams.difference_update(self._tickets.pop(ticket, ()))
            self._wake.notify()

    def _lose(self, sent: Sent, text: str) -> None:
        if not sent.over:
            sent.over = True
            sent.owner.fail(sent, text)

    # In the thread

    def _serve(self) -> None:
        while True:
            with self._wake:
                while not (self._closing or self._orders or self._withdraw or self._may_send()):
                    patience = self._patience()
                    if patience == 0.0:
                        break
                    self._wake.wait(patience)
                if self._closing:
                    return
                orders, self._orders = self._orders, {}
                withdraw, self._withdraw = self._withdraw, []
                found = self._next() if self._may_send() else None
            for where, words in orders.items():
                self._cluster.order(words, where)
            for ticket in withdraw:
                self._cluster.withdraw(ticket, [sent.number for sent in self._tickets.get(ticket, ())])
            if found is not None:
                self._send(*found)
            self._see_to()

    def _patience(self) -> float | None:
        """Seconds until somebody has been waited for long enough."""
        times = [sent.due for sent in self._awaited.values() if sent.due is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _may_send(self) -> bool:
        while self._queue and self._queue[0].over:
            self._queue.popleft()
        asleep = sum(one.gave - one.skips >= one.upto for one in self._streams)
        return bool(self._queue) and len(self._tickets) - asleep < 2 * max(1, self._cluster.slots)

    def _next(self) -> tuple[int, list[Sent]]:
        """The next bundle: one attempt, or as many small ones as are worth the way."""
        queue, chosen, seconds = self._queue, list[Sent](), 0.0
        most = self._pace.most(len(queue), self._cluster.slots)
        while queue and len(chosen) < most:
            sent = queue[0]
            if sent.over:
                queue.popleft()
                continue
            seconds += self._pace.expected(sent.task.number)
            if chosen and (seconds > GOAL or self._is_alone(sent)):
                break
            chosen.append(queue.popleft())
            if self._is_alone(sent):
                break
        ticket = next(self._numbers)
        for sent in chosen:
            sent.ticket, sent.number = ticket, next(self._numbers)
            self._by_number[sent.number] = sent
        self._tickets[ticket] = chosen
        if chosen[0].is_stream:
            self._streams.add(chosen[0])
        return ticket, chosen

    def _is_alone(self, sent: Sent) -> bool:
        if sent.is_stream or sent.packed.held:
            return True
        parcel = sent.packed.parcel
        large = parcel.size + sum(raw.nbytes for raw in parcel.buffers) >= _HEAVY
        return large or sent.owner.is_alone(sent.key[0])

    def _send(self, ticket: int, chosen: Sequence[Sent]) -> None:
        tasks, calls, kept = dict[int, b.Packed](), list[b.Call](), list[Any]()
        for sent in chosen:
            number = sent.task.number
            if number not in tasks:
                tasks[number] = b.packed(sent.task.parcel)
            loads = tuple(self._loads(sent, kept))
            given = b.packed(sent.packed.parcel)
            flag = sent.flag & ~STAYS
            stays = bool(sent.flag & STAYS) and number not in self._small
            calls.append(b.Call(sent.number, flag, number, given, sent.upto, loads, stays))
        try:
            data = b.dump((reference.world(), self._grace, tasks, calls))
            self._cluster.submit(ticket, data, kept, stays=any(call.stays for call in calls))
        except Exception as error:
            self.lost(ticket, f"{self._cluster.name} takes no work: {text_of(error)}", died=0)

    def _loads(self, sent: Sent, kept: list[Any]) -> list[tuple[int, int, int, int]]:
        found = []
        for buffer, index, part in sent.packed.loads:
            held: Held = sent.packed.held[index]
            if held.kept not in kept:
                kept.append(held.kept)
            found.append((buffer, kept.index(held.kept), held.number, part))
        return found

    def _tell(self) -> None:
        """Tells the runners how many attempts are taken now, if that has changed much."""
        with self._wake:
            capacity = self.capacity
            news = [owner for owner, told in self._owners.items() if abs(capacity - told) > _CHANGE * told]
            for owner in news:
                self._owners[owner] = capacity
            back = self._too_much(capacity) if news else []
        for sent in back:
            sent.owner.end(sent, RETURNED)
        for owner in news:
            owner.room(capacity)

    def _too_much(self, capacity: int) -> list[Sent]:
        """What was taken while all seemed small, and would wait here for more than a moment."""
        queue, back = self._queue, list[Sent]()
        if len(queue) <= capacity:
            return back
        seconds = sum(self._pace.expected(sent.task.number) for sent in queue)
        longest = _MOMENT * max(1, self._cluster.slots)
        while len(queue) > capacity and seconds > longest:
            back.append(queue.pop())
            back[-1].over = True
            seconds -= self._pace.expected(back[-1].task.number)
        return back

    def _see_to(self) -> None:
        """Waits no longer for what was to be killed, nor for words that do not come."""
        if not self._awaited:
            return
        with self._wake:
            now = time.monotonic()
            late = [sent for sent in self._awaited.values() if sent.due is not None and now >= sent.due]
            for sent in late:
                del self._awaited[sent.number]
                if sent.ending is not None:
                    self._by_number.pop(sent.number, None)
            late = [sent for sent in late if not sent.over]
            for sent in late:
                sent.over = True
        for sent in late:
            if sent.ending is None:
                where = sent.where or "a worker that has not said where it is"
                sent.owner.give_up(sent, f"{self._cluster.name}: {where}")
            elif sent.is_stream:
                sent.owner.fail(sent, "elements of the stream have not come from its worker")
            else:
                sent.owner.answered(sent, *sent.ending)
