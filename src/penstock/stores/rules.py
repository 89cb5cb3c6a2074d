"""What all stores judge in the same way: who may take a run, what ends a claim, which text can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

from penstock.core.errors import ClaimLost, RunBusy, RunExists, RunNotFound, StoreError
from penstock.core.owners import is_dead
from penstock.core.storage import Claim, Note, Owner, Page, RunEntry

DRIVEN = ("running", "pending")

PROGRESS = "progress"
"""The kind of notes of which each path has but one."""

_LARGEST = 1 << 63


def ends(status: str | None) -> bool:
    """Whether a page of this status ends the claim."""
    return status is not None and status not in DRIVEN


def free(entry: RunEntry, now: float) -> bool:
    """Whether nobody drives a run any more."""
    if entry.owner is None:
        return True
    return (entry.expires is not None and entry.expires <= now) or is_dead(entry.owner)


def busy(entry: RunEntry) -> RunBusy:
    since = datetime.fromtimestamp(entry.updated, UTC).isoformat(sep=" ", timespec="seconds")
    return RunBusy(f"{entry.owner} drives run {entry.run_id!r}, since {since}", str(entry.owner))


def claim_lost(claim: Claim) -> ClaimLost:
    return ClaimLost(
        f"run {claim.run_id!r} is no longer this process's (claim {claim.epoch} is over): "
        "another process has taken it, or it has ended or was deleted; nothing was written"
    )


def not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run {run_id!r} in the store")


def exists(run_id: str) -> RunExists:
    return RunExists(f"there is a run {run_id!r} in the store already")


def wrong_start(claim: Claim, page: Page, last: int) -> StoreError:
    return StoreError(
        f"a page of run {claim.run_id!r} begins with row {page.first}, and row {last} is its last; "
        "nothing was written"
    )


def other_rows(claim: Claim, row: int) -> ClaimLost:
    return ClaimLost(
        f"row {row} of run {claim.run_id!r} is there already, and is not the one to be written: "
        "somebody else has gone on with the run; nothing was written"
    )


def check_text(text: str) -> None:
    """Refuses what has no form in UTF-8.

    Raises:
        StoreError: It holds half of a surrogate pair.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise StoreError(
                f"a text with half of a surrogate pair (U+{ord(text[error.start]):04X}) cannot be stored"
            ) from None


def check_entry(entry: RunEntry) -> None:
    for text in (entry.run_id, entry.flow, entry.status):
        check_text(text)


def check_same(claim: Claim, page: Page, there: Sequence[str]) -> None:
    """Judges a page whose first row is there already: all of it must be, or it is somebody else's.

    Args:
        there: The rows that are there, from the page's first on; as many as the page has at most.

    Raises:
        ClaimLost: They are others.
    """
    for number, (old, new) in enumerate(zip(there, page.rows, strict=False), page.first):
        if old != new:
            raise other_rows(claim, number)
    if len(there) < len(page.rows):
        raise other_rows(claim, page.first + len(there))


def with_status(entry: RunEntry, status: str, rows: int, now: float) -> RunEntry:
    """A run whose status is another from now on."""
    entry = entry._replace(status=status, updated=now, rows=rows)
    return entry._replace(owner=None, expires=None, recoveries=0) if ends(status) else entry


def with_owner(entry: RunEntry, owner: Owner, expires: float, now: float) -> RunEntry:
    """A run that somebody has taken."""
    recoveries = entry.recoveries + (entry.owner is not None)
    return entry._replace(
        epoch=entry.epoch + 1, owner=owner, expires=expires, updated=now, recoveries=recoveries
    )


def check_page(page: Page) -> None:
    for row in page.rows:
        check_text(row)


def check_note(note: Note) -> None:
    """Refuses a note that not every store could keep.

    Raises:
        StoreError: It has a text with half of a surrogate pair, or no time, or a token that cannot be.
    """
    for text in (note.kind, note.node, note.path, note.body):
        check_text(text)
    if not (isfinite(note.at) and 0 <= note.token < _LARGEST):
        raise StoreError(f"a note of {note.path} says what cannot be: token {note.token}, at {note.at}")


def can_be_text(text: str) -> bool:
    """Whether a text could have been stored: what has no form in UTF-8 was not."""
    try:
        check_text(text)
    except StoreError:
        return False
    return True
