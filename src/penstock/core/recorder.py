"""Writes down what has happened to a run, before anything follows from it.

One transaction a turn: the turn's facts as rows of the run's journal. What a step brings is encoded as soon
as it is heard of: a value that cannot be stored fails the step, and what is stored is what it was then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from .answers import Answer
from .codec import Codec
from .commands import ENDED, FAILED, OK, YIELDED, Reply
from .entries import Scribe
from .errors import StoreError
from .leases import give_back
from .machine.facts import AGAIN, FINISHED, SUCCEEDED, Fact
from .machine.state import RUNNING, State
from .model import Failure
from .storage import Claim, Level, Page, Store, Values

T = TypeVar("T")

_ROW: Final = 256 * 1024
"""Characters of a row, about: a turn that has more to say takes several."""

_new: Any = tuple.__new__  # makes a named tuple without the cost of its own __new__; one is made per turn

PATIENCE: Final = (0.01, 0.05, 0.25, 1.0)
"""Seconds between two tries of a commit that might succeed a moment later."""


class Recorder:
    """The pen of one run.

    Args:
        store: Where its journal is.
        claim: The right to write to it.
        codec: Makes texts of values.
        state: The run's state; read only.
        level: What a commit must survive.
        row: Number of the next row.
        pause: Waits so many seconds between two tries; replaced in tests.

    Attributes:
        claim: As given.
        lost: Why nothing may be written any more: somebody else has the run.
        over: It is written down that the run has ended, or was put down: so the claim is over.
        warnings: What should be known of it.
        read: Ids of letters that have been acted upon, and go with the next page.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        codec: Codec,
        state: State,
        *,
        level: Level,
        row: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.claim = claim
        self.lost: StoreError | None = None
        self.over = False
        self.warnings: list[str] = []
        self._codec = codec
        self._state = state
        self._level = level
        self._row = row
        self._pause = pause
        volatile = frozenset(node.id for node in state.plan.graph.nodes if node.volatile)
        self._volatile = volatile
        self._scribe = Scribe(state, codec.encode, volatile)
        self.read: list[int] = []
        self._letters: dict[int, int] = {}  # by number of a gate: the letter that answers it
        self._given: dict[int, list[str]] = {}  # by stream: texts of the elements that it has given, in order
        self._seen: dict[int, tuple[int, int]] = {}  # by stream: token, elements in this attempt
        self._over: dict[int, int] = {}  # streams that did not give again what they had given

    def know(self, stream: int, texts: list[str]) -> None:
        """What a stream gave before: if it starts over, it must give the same."""
        self._given[stream] = texts

    def heard(self, batch: Iterable[Reply], stop: Callable[[int, int], None]) -> list[Reply]:
        """The replies, with the values in them encoded, and failures in place of those that cannot be.

        Args:
            batch: What has come.
            stop: Ends a stream (node, token).
        """
        scribe, encode = self._scribe, self._codec.encode
        out: list[Reply] = []
        for reply in batch:
            kind = reply[0]
            if kind == ENDED and reply[3] == OK:
                i = reply[1]
                if self._state.token[i] == reply[2] and self._state.status[i] == RUNNING:
                    try:
                        if not (self._volatile and self._is_volatile(i)):
                            scribe.values[i] = encode(reply[4])
                        if reply[5]:
                            scribe.writes[i] = encode(dict(reply[5]))
                    except StoreError:
                        raise  # a large value could not be put there: that is no fault of the step's
                    except Exception as error:
                        of = "" if scribe.values.pop(i, None) is None else "what it wrote: "
                        reply = (*reply[:3], FAILED, self._not_storable(i, error, of), None, *reply[6:])
                    if i in self._given and (failure := self._cut_short(i, reply[2])) is not None:
                        reply = (*reply[:3], FAILED, failure, None, *reply[6:])
            elif kind == YIELDED:
                taken = self._element(reply, stop)
                if taken is None:
                    continue
                reply = taken
            out.append(reply)
        return out

    def _is_volatile(self, i: int) -> bool:
        return self._state.path(i).node in self._volatile

    def _not_storable(self, i: int, error: Exception, of: str = "") -> Failure:
        attempt = len(self._state.failures.get(i, ())) + 1
        kind = type(error).__name__
        return Failure("not_storable", kind, f"{of}{error}", retryable=False, attempt=attempt)

    def _cut_short(self, i: int, token: int) -> Failure | None:
        """The failure of a stream that has come to its end before it gave all that it had given before."""
        of, seen = self._seen.get(i, (token, 0))
        seen, had = seen if of == token else 0, len(self._given[i])
        if seen >= had:
            return None
        said = (
            f"{self._state.path(i)} gave {seen} elements, and {had} before: a stream that starts over must "
            "give the same elements, for what was made of them is kept"
        )
        return Failure("error", "StreamChanged", said, retryable=False)

    def _element(self, reply: Reply, stop: Callable[[int, int], None]) -> Reply | None:
        """An element as it is to be heard of; nothing if its stream has failed already."""
        _, i, token, element, _ = reply
        state = self._state
        if state.token[i] != token or state.status[i] != RUNNING or self._over.get(i) == token:
            return None
        of, seen = self._seen.get(i, (token, 0))
        seen = seen if of == token else 0
        self._seen[i] = (token, seen + 1)
        given = self._given.setdefault(i, [])
        try:
            text = self._codec.encode(element)
        except StoreError:
            raise
        except Exception as error:
            failure = self._not_storable(i, error)
        else:
            if seen >= len(given):
                given.append(text)
                self._scribe.elements.setdefault(i, []).append(text)
                return reply
            if given[seen] == text:
                return reply
            said = (
                f"element {seen} of {state.path(i)} is not what it was before: a stream that starts over "
                "must give the same elements, for what was made of them is kept"
            )
            failure = Failure("error", "StreamChanged", said, retryable=False)
        self._over[i] = token
        stop(i, token)
        now = state.began[i]
        return (ENDED, i, token, FAILED, failure, None, now, now)

    def answered(self, i: int, answer: Answer) -> None:
        """A gate is about to be answered: if it was by letter, that is read when the answer is recorded.

        Raises:
            NotStorable: The answer cannot be recorded.
        """
        self._scribe.values[i] = self._codec.encode(answer.value)
        if answer.letter:
            self._letters[i] = answer.letter

    def page(self, facts: Sequence[Fact]) -> Page | None:
        """What a turn adds to the journal; None if that is nothing.

        Raises:
            StoreError: Nothing may be added any more.
        """
        if self.lost is not None:
            raise self.lost
        entries = self._scribe.entries(facts)
        if not entries:
            return None
        last, rows = facts[-1], _rows(entries)
        if last[0] != FINISHED and facts[0][0] != AGAIN and not (self.read or self._letters):
            return self._made(rows, None)
        status = None
        if facts[0][0] == AGAIN:
            status = "running"  # whatever it was before
        if last[0] == FINISHED:
            status = last[1]
            count = self._row + len(rows) - 1
            rows[-1] = f"{rows[-1][:-2]},{count}]]"  # the last entry, which says how the run ended
        read, self.read = self.read, []
        if self._letters:
            ended = [fact[1] for fact in facts if fact[0] == SUCCEEDED]
            read += [self._letters.pop(i) for i in ended if i in self._letters]
        return self._made(rows, status, read)

    def _made(self, rows: Sequence[str], status: str | None, read: Sequence[int] = ()) -> Page:
        blobs: tuple[str, ...] = ()
        if self._codec.blobs:
            blobs = tuple(self._codec.blobs)
            self._codec.blobs.clear()
        first = self._row
        self._row = first + len(rows)
        level: Level = self._level if status is None or status == "running" else "power"
        page: Page = _new(Page, (first, rows, level, status, blobs, read))
        return page

    def commit(self, page: Page) -> None:
        """Adds a page in one transaction, trying again if that might help. It is a part of the run when this
        returns.

        Raises:
            StoreError: It is not; nothing may follow from it.
        """
        try:
            self.store.append(self.claim, page)
        except StoreError as error:
            if not error.transient:
                raise
            self._pause(PATIENCE[0])
            patiently(lambda: self.store.append(self.claim, page), self._pause)
        if page.status is not None:
            self.over = page.status != "running"

    def park(self) -> None:
        """Puts the run down: it waits for an answer, and nobody drives it."""
        self.commit(self._made((), "waiting"))

    def release(self) -> None:
        """Gives the run back after it was cut off, as far as that is possible."""
        error = give_back(self.store, self.claim)
        if error is not None:
            self.warnings.append(f"the run could not be given back: {error}")


def patiently(call: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """Calls a store, and again where that might help.

    Raises:
        StoreError: It did not help.
    """
    for delay in PATIENCE:
        try:
            return call()
        except StoreError as error:
            if not error.transient:
                raise
        pause(delay)
    return call()


class PatientValues:
    """Large values in a store that is called again where that might help."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def put(self, body: bytes) -> str:
        """Stores a value and gives its digest."""
        return patiently(partial(self._values.put, body))

    def get(self, digest: str) -> bytes:
        """A value as it was put."""
        return patiently(partial(self._values.get, digest))


def _rows(entries: Sequence[str]) -> list[str]:
    """Entries packed into rows."""
    whole = f"[{','.join(entries)}]"
    if len(whole) <= _ROW:
        return [whole]
    rows: list[str] = []
    row: list[str] = []
    size = 0
    for entry in entries:
        row.append(entry)
        size += len(entry)
        if size > _ROW:
            rows.append(f"[{','.join(row)}]")
            row, size = [], 0
    return [*rows, f"[{','.join(row)}]"] if row else rows
