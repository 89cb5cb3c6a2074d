"""What an attempt has read of the state that its run shares, and whether it has changed that in place.

For runs that are kept: who reads a list out of the state and appends to it has written nothing, and everybody
sees it; so that a resumed run sees it too, it must count as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

_FIXED: Final = frozenset((str, int, float, bool, type(None), bytes, complex))
"""Values of these types cannot be changed."""

Known = dict[Any, tuple[Any, str]]
"""By key: a value, and what it was when somebody last looked."""


class Watch:
    """The eyes of one attempt.

    Args:
        text: The text of a value, as a store would have it; from any thread.
        known: What those before it have found, and it finds: equal for all attempts of a run.
    """

    __slots__ = ("_known", "_seen", "_text")

    def __init__(self, text: Callable[[Any], str], known: Known) -> None:
        self._text = text
        self._known = known
        self._seen: Known = {}

    def see(self, key: Any, value: Any) -> None:
        """Notes that a value was read."""
        if type(value) in _FIXED or key in self._seen:
            return
        known = self._known.get(key)
        if known is None or known[0] is not value:
            # What an attempt does that fails is never recorded: it is set down to the next one that reads it.
            known = self._known[key] = value, self._digest(value)
        self._seen[key] = known

    def changed(self) -> Iterator[tuple[Any, Any]]:
        """What was read and is not any more what it was."""
        for key, (value, was) in self._seen.items():
            now = self._digest(value)
            self._known[key] = value, now
            if now != was:
                yield key, value

    def _digest(self, value: Any) -> str:
        try:
            return sha256(self._text(value).encode("ascii")).hexdigest()
        except Exception:  # it cannot be stored: whoever writes it is told so
            return ""
