"""The sockets of a store: what keeps runs must be, and the records that travel between it and the engine.

A store never sees an object of the user's: rows, values and letters reach it as text or bytes, and it gives
them back as they were or says that it cannot. All of its methods may be called from any thread, and block.
Whatever goes wrong is one of the `StoreError`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

Level = Literal["process", "power"]
"""What a commit survives: the death of the process, or the loss of power as well."""

LETTERS = ("answer", "cancel")
"""What may be asked of a run from outside: kinds of `Letter`."""


class Owner(NamedTuple):
    """The process that drives a run; see `owners`.

    Attributes:
        host: Name of its machine.
        boot: What tells this start of the machine from others; empty where that cannot be known.
        pid: Of the process.
        started: When the process started, in the system's own units: pids come again.
    """

    host: str
    boot: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claim(NamedTuple):
    """The right to write to a run.

    Attributes:
        run_id: Of the run.
        number: What the store calls it.
        epoch: Grows with every claim; a writer with an older one is refused.
    """

    run_id: str
    number: int
    epoch: int


class RunEntry(NamedTuple):
    """A run in the catalog: what is known of it without reading its journal.

    Attributes:
        run_id: Its id.
        flow: Name of its graph.
        status: One of `RunStatus`; of a run that was cut off it is still ``running``.
        created: When it was first asked for, in seconds since 1970.
        updated: When its status last changed, or it was last claimed.
        tags: Words of the caller's own.
        parent: Id of the run whose step started it.
        target: What the command line was given to find its code; a hint, and untrusted.
        about: Where it came from: commit, versions, and the like.
        recoveries: Times that it was taken over after its owner had died, since it last went on in order.
        epoch: Of its latest claim.
        owner: Who drives it; None if nobody does.
        expires: When the claim is over unless it is renewed; by the store's clock.
        rows: Rows that its journal has at least: as many as it had when its status last changed.
        number: What the store calls it; set by the store.
    """

    run_id: str
    flow: str
    status: str
    created: float
    updated: float
    tags: Mapping[str, str]
    parent: str | None = None
    target: str | None = None
    about: Mapping[str, str] = {}
    recoveries: int = 0
    epoch: int = 0
    owner: Owner | None = None
    expires: float | None = None
    rows: int = 0
    number: int = 0


class Letter(NamedTuple):
    """A word from outside to whoever drives a run: it waits in the store, outside the journal.

    Attributes:
        id: Grows with every letter of the store.
        kind: One of `LETTERS`.
        node: Path of the gate it answers, as text; empty otherwise.
        body: The answer, encoded; or the reason.
        at: When it was posted, in seconds since 1970.
    """

    id: int
    kind: str
    node: str
    body: str
    at: float


class Note(NamedTuple):
    """Something that is kept with a run beside its journal: what steps say, and what they use. Nothing
    follows from it, and a run whose notes are lost is the same run.

    Attributes:
        kind: ``log``, ``progress`` or ``usage``.
        node: Id of the step.
        path: Path of the step, or of the item, as the journal has it (`entries.path_text`).
        token: Of the attempt; 0 where it is not known.
        at: When, in seconds since 1970.
        body: JSON in ASCII; what is in it depends on the kind, and `notes` knows it.
        id: Grows with every note of the store; set by the store.
    """

    kind: str
    node: str
    path: str
    token: int
    at: float
    body: str
    id: int = 0


class Page(NamedTuple):
    """One transaction of a run's journal.

    Attributes:
        first: Number of the first of its rows; rows are numbered from 1, without gaps.
        rows: One text each.
        level: What it must survive.
        status: The run's status from now on; None if it stays. One that is neither ``running`` nor
            ``pending`` ends the claim.
        blobs: Digests of the values that its rows speak of, which `put` has stored.
        read: Ids of letters that have been acted upon, and go with it.
    """

    first: int
    rows: Sequence[str]
    level: Level = "process"
    status: str | None = None
    blobs: Sequence[str] = ()
    read: Sequence[int] = ()


class Catalog(Protocol):
    """Which runs there are."""

    def create(self, entry: RunEntry, owner: Owner, lasts: float, page: Page) -> Claim:
        """Records a new run with its first page, and claims it, in one transaction.

        Args:
            entry: What is to be known of it; the fields that a claim sets are ignored.
            owner: Who is going to drive it.
            lasts: Seconds that the claim holds without being renewed.
            page: Its first rows.

        Raises:
            RunExists: There is a run of this id.
        """

    def find(self, run_id: str) -> RunEntry | None:
        """The run of this id, if there is one."""

    def runs(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        flow: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[RunEntry]:
        """Runs, the newest first, without touching their journals.

        Args:
            tags: With all of these.
            flow: Of this name.
            status: Of this status.
            before: Only those with a smaller `number`: the next page of a long list.
            limit: As many at most.
        """

    def forget(self, run_ids: Sequence[str]) -> int:
        """Deletes runs that nobody drives, each whole or not at all; gives how many there were. Values that
        no run speaks of any more go too, some time after."""


class Journal(Protocol):
    """What has happened in each run: rows that are only ever added."""

    def append(self, claim: Claim, page: Page) -> None:
        """Adds rows, all or none. The same page twice is the same as once: a writer that was not told of its
        commit may try again.

        Raises:
            ClaimLost: Somebody else has claimed the run meanwhile; nothing was written.
        """

    def rows(self, run_id: str, after: int = 0) -> Iterator[str]:
        """The rows of a run, from number `after` + 1 on, in order, each checked.

        Raises:
            RunNotFound: There is no such run.
            StoreDamaged: One is missing, or is not what was written.
        """


class Values(Protocol):
    """Values that are too large for a row, by what is in them."""

    def put(self, body: bytes) -> str:
        """Stores a value and gives its digest: the SHA-256 of its bytes, in hexadecimal digits."""

    def get(self, digest: str) -> bytes:
        """A value as it was put.

        Raises:
            ValueLost: It is not there, or not what was put.
        """


class Lease(Protocol):
    """Who may write to which run."""

    def claim(self, run_id: str, owner: Owner, lasts: float) -> tuple[Claim, RunEntry]:
        """Takes a run that nobody drives: one without owner, whose owner's claim is over, or whose owner was
        on this machine and is dead.

        Returns:
            The claim, and the run as it was before. If it had an owner, `recoveries` has grown by one.

        Raises:
            RunNotFound: There is no such run.
            RunBusy: Somebody drives it.
        """

    def renew(self, claim: Claim, lasts: float) -> None:
        """Makes a claim hold from now on for so many seconds.

        Raises:
            ClaimLost: Somebody else has the run.
        """

    def release(self, claim: Claim) -> None:
        """Gives a run back that has not ended: nobody drives it, and it can be claimed at once. A claim that
        is lost already is no matter."""


class Inbox(Protocol):
    """Words from outside, until whoever drives a run acts upon them."""

    def post(self, run_id: str, kind: str, node: str = "", body: str = "") -> int:
        """Leaves a letter and gives its id.

        Raises:
            RunNotFound: There is no such run.
        """

    def letters(self, run_id: str, after: int = 0) -> list[Letter]:
        """The letters of a run with an id above `after`, the oldest first."""


class Notes(Protocol):
    """What is kept with runs beside their journals."""

    def note(self, run_id: str, notes: Sequence[Note]) -> None:
        """Adds notes, all or none. One of the kind ``progress`` takes the place of that of the same path.

        Raises:
            RunNotFound: There is no such run.
        """

    def notes(
        self,
        run_id: str,
        after: int = 0,
        *,
        kind: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> list[Note]:
        """The notes of a run with an id above `after`, the oldest first.

        Args:
            run_id: Of the run.
            after: The id of the last one that is known.
            kind: Of this kind only.
            node: Of the step of this id only.
            limit: As many at most.
        """


@runtime_checkable
class Store(Catalog, Journal, Values, Lease, Inbox, Notes, Protocol):
    """All six, in one place."""

    @property
    def url(self) -> str:
        """What opens it again: ``sqlite:///…``, or ``memory:``."""

    @property
    def durable(self) -> bool:
        """Whether it outlives its process."""

    def check(self) -> list[str]:
        """What is wrong with it, in lines for people; empty if all that can be checked is in order."""

    def forked(self) -> None:
        """In a forked process: lets go of everything without touching it, for it belongs to the other."""

    def close(self) -> None:
        """Gives back what it holds; what was stored stays. It may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Closes it."""


StoreWord = str | PathLike[str] | Store | None
"""What names a store where a run is asked for: a path, a word such as ``sqlite:///runs.db``, or the store."""
