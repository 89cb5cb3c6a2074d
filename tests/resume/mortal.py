"""A store in memory whose writer can be killed at any commit, and be found dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.storage import Claim, Owner, Page, RunEntry
from penstock.stores.memory import MemoryStore

_DEAD = Owner("elsewhere", "", 1, "")


class Killed(BaseException):
    """What a commit raises at which the process is taken to die: nobody may catch it for an error."""


class MortalStore(MemoryStore):
    """A store whose run dies at a commit, as by SIGKILL: from then on nothing of it is recorded.

    Args:
        lasting: What it says of itself: whether it outlives its process.

    Attributes:
        commits: Pages added so far, the first of a run among them.
        dead: The process has died; `bury` lets the next one come.
    """

    def __init__(self, *, lasting: bool = False) -> None:
        super().__init__()
        self.commits = 0
        self.dead = False
        self.durable = lasting
        self._dies_at: int | None = None
        self._dies_when = ""
        self._after = False

    def die(self, at: int | None, *, after: bool = False) -> None:
        """Dies at the so-many-th commit from now on (0 is the next), before or after it is made."""
        self._dies_at = None if at is None else self.commits + at
        self._after = after

    def die_when(self, text: str, *, after: bool = True) -> None:
        """Dies at the first commit whose rows hold this text, after or before it is made."""
        self._dies_when, self._after = text, after

    def bury(self) -> None:
        """The process is gone, and its claims with it."""
        self.dead = False
        self.die(None)
        self._dies_when = ""
        for run_id, entry in self._runs.items():
            if entry.owner is not None:
                self._runs[run_id] = entry._replace(owner=_DEAD, expires=0.0)

    def length(self, run_id: str) -> int:
        """Rows that a run has."""
        return len(self._rows.get(run_id, ()))

    @contextmanager
    def _commit(self, page: Page) -> Iterator[None]:
        if self.dead:
            raise Killed
        found = bool(self._dies_when) and any(self._dies_when in row for row in page.rows)
        dies = found or self._dies_at == self.commits
        self.commits += 1
        if dies and not self._after:
            self.dead = True
            raise Killed
        yield
        if dies:
            self.dead = True
            raise Killed

    def create(self, entry: RunEntry, owner: Owner, lasts: float, page: Page) -> Claim:
        with self._commit(page):
            return super().create(entry, owner, lasts, page)

    def append(self, claim: Claim, page: Page) -> None:
        with self._commit(page):
            super().append(claim, page)

    def release(self, claim: Claim) -> None:
        if not self.dead:
            super().release(claim)

    def renew(self, claim: Claim, lasts: float) -> None:
        if not self.dead:
            super().renew(claim, lasts)
