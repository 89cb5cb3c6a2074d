"""What happens to a run that another process drives, told as it comes.

The store is looked at again and again: soon after something was new, and more seldom the longer nothing is.
What steps say is told between the events among which it was said, as far as both are known by then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from .cells import checked
from .entries import event_of, started_of
from .errors import RunNotFound, StoreDamaged
from .events import RunFinished, RunStarted
from .kept_notes import LogLine, log_lines, told_by
from .listed import is_driven
from .model import Failure
from .recorder import patiently
from .resume import Story
from .storage import Note, RunEntry, Store

T = TypeVar("T")

SOONEST: Final = 0.05
LONGEST: Final = 0.5
"""Seconds between two looks, at least and at most."""

_SLOWER: Final = 1.5
_PAGE: Final = 1_000  # rows, and notes, of one look
_LAST_LOOKS: Final = (
    2  # that find nothing, when nobody drives the run: its last notes come after its last row
)

Read = Callable[[int, str], Iterable[Any]]
"""Makes events of a row, given its number and its text."""


class Position(NamedTuple):
    """How much of a run is known.

    Attributes:
        rows: Rows of its journal.
        note: Id of the last note.
    """

    rows: int = 0
    note: int = 0


START: Final = Position()
"""Nothing is known."""


def follow(
    store: Store,
    run_id: str,
    read: Read,
    since: Position = START,
    *,
    on: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Any]:
    """The events of a run, and what its steps say; ends when nobody drives it any more.

    Args:
        store: Where it is.
        run_id: Its id.
        read: Makes events of rows.
        since: What is known of it.
        on: Wait for more, as long as somebody drives it.
        pause: Waits so many seconds; replaced in tests.

    Raises:
        RunNotFound: There is no such run, or it was deleted meanwhile.
    """
    coming = _Coming(store, run_id, read, since)
    yield from _until_left(store, run_id, coming.news, lambda: coming.unread, on, pause)
    yield from coming.held


def follow_logs(
    store: Store,
    run_id: str,
    step: str | None = None,
    after: int = 0,
    *,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[LogLine]:
    """What the steps of a run say, as they say it; ends when nobody drives it any more.

    Args:
        store: Where it is.
        run_id: Its id.
        step: Of this step only, or of this item.
        after: The id of the last line that is known.
        pause: Waits so many seconds; replaced in tests.

    Raises:
        RunNotFound: There is no such run, or it was deleted meanwhile.
    """

    def look() -> list[LogLine]:
        return list(log_lines(store, run_id, step, after=after, limit=_PAGE))

    def news() -> Iterator[LogLine]:
        nonlocal after
        for line in patiently(look):
            after = line.id
            yield line

    yield from _until_left(store, run_id, news, bool, True, pause)


def _until_left(
    store: Store,
    run_id: str,
    news: Callable[[], Iterator[T]],
    unread: Callable[[], bool],
    on: bool,
    pause: Callable[[float], object],
) -> Iterator[T]:
    """What is new, at each look, until nobody drives the run any more.

    Args:
        store: Where it is.
        run_id: Its id.
        news: Looks for what is new.
        unread: Whether there is more of it at once.
        on: Wait for more; otherwise it ends with what there is.
        pause: Waits so many seconds.
    """
    delay, idle = SOONEST, 0
    while True:
        entry = patiently(partial(_entry, store, run_id))  # before the look: what it says is there by then
        some = False
        for one in news():
            some = True
            yield one
        if some or unread():
            delay, idle = SOONEST, 0
            continue
        idle = 0 if is_driven(entry) else idle + 1
        if not on or idle > _LAST_LOOKS:
            return
        pause(delay)
        delay = min(delay * _SLOWER, LONGEST)


def _entry(store: Store, run_id: str) -> RunEntry:
    entry = store.find(run_id)
    if entry is None:
        raise RunNotFound(f"run {run_id!r} is not in the store any more: it was deleted")
    return entry


class SoFar:
    """What has happened to a run as far as it counts, and what its steps have said, in order of time. It is
    read as it is iterated over, which can be done once.

    Args:
        store: Where the run is.
        story: Its journal.

    Attributes:
        position: From where on `follow` goes on with it.

    Raises:
        StoreDamaged: While it is read: the journal says what cannot be.
    """

    def __init__(self, store: Store, story: Story) -> None:
        self._store = store
        self._story = story
        self.position = Position(story.rows, 0)

    def __iter__(self) -> Iterator[Any]:
        return (event for _, event in merge(self._events(), self._notes(), key=itemgetter(0)))

    def _events(self) -> Iterator[tuple[float, Any]]:
        now = 0.0
        try:
            yield now, started_of(self._story.started, _as_it_is)
            for entry in self._story.entries:
                event = event_of(entry, _as_it_is)
                if isinstance(getattr(event, "failure", None), Failure):
                    checked(event.failure)  # type: ignore[union-attr]
                now = max(now, _time_of(event))
                yield now, event
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            run_id = self._story.entry.run_id
            raise StoreDamaged(f"run {run_id}: its journal says what cannot be ({error})") from None

    def _notes(self) -> Iterator[tuple[float, Any]]:
        run_id = self._story.entry.run_id
        now = 0.0
        while page := self._store.notes(run_id, self.position.note, limit=_PAGE):
            for note in page:
                self.position = self.position._replace(note=note.id)
                now = max(now, note.at)
                for told in told_by(note):
                    yield now, told


def _as_it_is(data: Any) -> Any:
    return data


class _Coming:
    """What is still to be told of a run.

    Attributes:
        held: The end of the run, which is told last.
    """

    def __init__(self, store: Store, run_id: str, read: Read, since: Position) -> None:
        self._store = store
        self._run_id = run_id
        self._read = read
        self._rows, self._note = since
        self._events: deque[tuple[float, Any]] = deque()
        self._notes: deque[Note] = deque()
        self._more_events = self._more_notes = False
        self._now = 0.0
        self.held: list[Any] = []

    @property
    def unread(self) -> bool:
        """Whether there is more than was read in one look."""
        return self._more_events or self._more_notes

    def news(self) -> Iterator[Any]:
        """What has come since the last look, in order of time."""
        patiently(self._look)
        events, notes = self._events, self._notes
        while events or notes:
            if not events and self._more_events:
                return  # what comes next may be earlier than the notes
            if not notes and self._more_notes:
                return
            if not events or (notes and notes[0].at < events[0][0]):
                yield from told_by(notes.popleft())
                continue
            event = events.popleft()[1]
            ends, self.held = self.held, []
            yield from ends  # and then it went on
            if isinstance(event, RunFinished):
                self.held = [event]
            else:
                yield event

    def _look(self) -> None:
        """Reads what there is, notes first: so the beginning of an attempt is known before what it says."""
        if not self._notes:
            page = self._store.notes(self._run_id, self._note, limit=_PAGE)
            self._more_notes = len(page) == _PAGE
            self._notes.extend(page)
            if page:
                self._note = page[-1].id
        if not self._events:
            rows = list(islice(self._store.rows(self._run_id, self._rows), _PAGE))
            self._more_events = len(rows) == _PAGE
            for number, text in enumerate(rows, self._rows + 1):
                for event in self._read(number, text):
                    self._now = max(self._now, _time_of(event))
                    self._events.append((self._now, event))
            self._rows += len(rows)


def _time_of(event: Any) -> float:
    if isinstance(event, RunStarted):
        return 0.0  # it is the first, whatever clocks say
    found = getattr(event, "ended", None) or getattr(event, "at", None)
    return found if isinstance(found, float) else 0.0
