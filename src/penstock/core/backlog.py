"""What a run has told, kept for whoever reads it at their own pace: one writer, and readers that are cursors.

Facts stand in pages, each of which leads to the next. A page is kept by those who have not read it yet, and
by nobody else: so what all readers are through with is gone, without any book being kept about it.
`Progressed` stand beside them, in a list for each reader, because they alone may be dropped.

The writer takes no lock for a fact: appending to a list is one step, and readers look at its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import ref

from .events import Progressed

PAGE = 256
"""Facts on a page."""
BEHIND = 1000
"""How many events a reader may have before it until of each path only the newest `Progressed` is kept."""

_FEW = 64

Page = list[Any]
"""First the next page, or None before there is one; then events."""


class Backlog:
    """What has been told.

    Args:
        replays: Readers may come at any time, and read from the start.

    Attributes:
        ended: Nothing more will come.
        lock: Of all that is about `Progressed`.
        on_page: Called by the writer at the end of each page; for who must know how far behind readers are.
    """

    def __init__(self, *, replays: bool = True) -> None:
        self.ended = False
        self.lock = Lock()
        self.on_page: Callable[[], None] | None = None
        self._page: Page = [None]
        self._before = -1  # facts on the pages before it, but for what stands first on this one
        self._said = Said() if replays else None
        self._readers: tuple[ref[Cursor], ...] = ()
        self._sleepers: set[Cursor] = set()

    @property
    def facts(self) -> int:
        """How many there are by now, without `Progressed`."""
        return self._before + len(self._page)

    def hear(self, event: Any) -> None:
        """Takes an event: the observer. In one thread at a time only."""
        if type(event) is Progressed:
            self._hear_progress(event)
        else:
            page = self._page
            page.append(event)
            if len(page) > PAGE:
                self._turn(page)
        if self._sleepers:
            self._wake()

    def end(self) -> None:
        """Says that nothing more will come."""
        self.ended = True
        self._wake()

    def first_page(self) -> Page:
        """Where readers begin. To be asked for before anything is told, and held for as long as there may be
        another reader: it holds all the others."""
        return self._page

    def cursor(self, start: Page) -> Cursor:
        """A reader that begins on this page."""
        with self.lock:
            made = Cursor(self, start, Said() if self._said is None else Said(self._said.waiting))
            self._readers = (*(one for one in self._readers if one() is not None), ref(made))
        return made

    def sleep(self, cursor: Cursor) -> None:
        """Has a reader woken, once, when there is something to take, or the end."""
        self._sleepers.add(cursor)
        if self.ended or cursor.behind:  # it came in between
            self._sleepers.discard(cursor)
            cursor.wake()

    def stay_awake(self, cursor: Cursor) -> None:
        """A reader does not want to be woken any more."""
        self._sleepers.discard(cursor)

    def forget(self, cursor: Cursor) -> None:
        """A reader takes nothing more."""
        with self.lock:
            self._readers = tuple(one for one in self._readers if one() not in (None, cursor))
        self._sleepers.discard(cursor)

    def _turn(self, page: Page) -> None:
        following: Page = [None]
        self._before += PAGE
        self._page = page[0] = following
        if self.on_page is not None:
            self.on_page()

    def _hear_progress(self, event: Progressed) -> None:
        facts = self._before + len(self._page)
        with self.lock:
            if self._said is not None:
                self._said.add(facts, event, facts)
            for one in self._readers:
                reader = one()
                if reader is not None:
                    reader.said.add(facts, event, facts - reader.at)

    def _wake(self) -> None:
        sleepers = self._sleepers
        while sleepers:
            try:
                sleeper = sleepers.pop()
            except KeyError:  # it has left by itself
                return
            sleeper.wake()


class Said:
    """`Progressed` that somebody has not read yet, each with the number of facts that came before it.

    Attributes:
        waiting: Those.
    """

    __slots__ = ("_enough", "waiting")

    def __init__(self, waiting: deque[tuple[int, Progressed]] | None = None) -> None:
        self.waiting = deque() if waiting is None else waiting.copy()
        self._enough = _FEW

    def add(self, before: int, event: Progressed, facts: int) -> None:
        """One more.

        Args:
            before: How many facts came before it.
            event: It.
            facts: How many of them have not been read.
        """
        self.waiting.append((before, event))
        count = len(self.waiting)
        if count > self._enough and count + facts > BEHIND:
            self._coalesce()

    def _coalesce(self) -> None:
        """Keeps the newest of each path, and lets as many come again before the next time: so each of them
        costs no more than a few looks, however many there are."""
        seen: set[Any] = set()
        kept: deque[tuple[int, Progressed]] = deque()
        for one in reversed(self.waiting):
            path = one[1].path
            if path not in seen:
                seen.add(path)
                kept.appendleft(one)
        self.waiting = kept
        self._enough = 2 * len(kept) + _FEW


class Cursor:
    """One reader; in one thread at a time.

    Attributes:
        at: How many facts it has read.
        said: What it has not read of `Progressed`.
        wake: What `Backlog.sleep` has called.
    """

    __slots__ = ("__weakref__", "_backlog", "_closed", "_number", "_page", "at", "said", "wake")

    def __init__(self, backlog: Backlog, page: Page, said: Said) -> None:
        self.at = 0
        self.said = said
        self.wake: Callable[[], Any] = bool
        self._backlog = backlog
        self._page = page
        self._number = 1
        self._closed = False

    @property
    def behind(self) -> int:
        """How many events it has not taken."""
        return self._backlog.facts - self.at + len(self.said.waiting)

    @property
    def is_over(self) -> bool:
        """Whether it has taken all there will ever be."""
        return self._closed or (self._backlog.ended and not self.behind)

    def take(self) -> Any:
        """The next event, or None: there is none by now."""
        found = self.take_some(1)
        return found[0] if found else None

    def take_some(self, most: int = PAGE) -> list[Any]:
        """The next events, as many as are at hand; none if there are none by now."""
        page, number = self._page, self._number
        if number > PAGE and page[0] is not None:
            self._page = page = page[0]
            self._number = number = 1
        upto = min(len(page), number + most)
        # Looked at after the facts: what is not there yet was said after them.
        if self.said.waiting and (said := self._take_said()) is not None:
            return [said]
        if self.said.waiting:
            upto = min(upto, number + 1)
        found = page[number:upto]
        self._number = upto
        self.at += len(found)
        return found

    def sleep(self) -> None:
        """Asks to be woken when there is something."""
        self._backlog.sleep(self)

    def stay_awake(self) -> None:
        """Does not want to be woken any more."""
        self._backlog.stay_awake(self)

    def close(self) -> None:
        """Takes nothing more, and keeps nothing from being let go."""
        self._closed = True
        self._backlog.forget(self)
        self._page, self._number, self.said = [None], 1, Said()

    def _take_said(self) -> Progressed | None:
        """The next that came before the next fact."""
        with self._backlog.lock:
            waiting = self.said.waiting
            if waiting and waiting[0][0] <= self.at:
                return waiting.popleft()[1]
        return None
