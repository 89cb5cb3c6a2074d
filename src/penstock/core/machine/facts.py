"""Facts: events as the machine keeps them, plain tuples of numbers.

A fact is made twice per node, so it must cost as little as a tuple; an event is what leaves the machine, and
speaks of paths. Replaying events gives the same facts, whatever numbers the nodes get this time.
"""

from __future__ import annotations

from typing import Any, Final

from ..commands import ENDED, START
from ..model import SkipCause

Fact = tuple[Any, ...]

STARTED: Final = START  # (node, token, now): a command to start is its own fact
SUCCEEDED: Final = ENDED  # (node, token, source, value, writes, began, ended): a good reply is its own fact
RETRYING: Final = 2  # (node, token, failure, due, began, ended)
FAILED: Final = 3  # (node, token, failure, began, ended)
SKIPPED: Final = 4  # (node, cause, because)
CANCELLED: Final = 5  # (node, token, abandoned, began, ended)
EXPANDED: Final = 6  # (group of the head, count or None, keys or None)
YIELDED: Final = 7  # (node, token, index, element, keys or None)
DECIDED: Final = 8  # (node, what, value)
WAITING: Final = 9  # (node, token, now, due or None)
INTERRUPTED: Final = 10  # (node, token)
PAUSED: Final = 11  # (node, token)
RESUMED: Final = 12  # (node, token, now)
RELEASED: Final = 13  # (node, token)
CANCEL: Final = 14  # (reason, now)
BEGUN: Final = 15  # (the RunStarted event,)
FINISHED: Final = 16  # (status, now)
EXPIRED: Final = 17  # (now,)
FOLDED: Final = 18  # (node, token, upto)
REST_SKIPPED: Final = 19  # (group of the head, first, cause, because)
AGAIN: Final = 20  # (the RunResumed event,)

CAUSES: Final = (SkipCause.CONDITION, SkipCause.UPSTREAM, SkipCause.STOPPED)
SOURCES: Final = ("run", "reused", "cache", "override")
