"""Values that must not be written down: what is wrapped in a `Secret` reaches steps, and nothing else.

It knows nothing of stores; the codec refuses what is in here, and whoever makes texts asks `masked`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, final
from weakref import WeakSet

from . import failures
from .errors import CannotDecode

T_co = TypeVar("T_co", covariant=True)

MASK: Final = "***"
_SHORTEST = 6  # characters: a shorter text would be found where nobody has put it

_lock = threading.Lock()
_alive: WeakSet[Secret[Any]] = WeakSet()
_here = threading.local()


@final
class Secret(Generic[T_co]):
    """A password, a token, a key: given to a run like any other input, and never stored, shown or logged.

    A step calls `reveal`. Texts, `repr` and formatting show a mask. It is equal to itself only, so that
    nothing can be learnt of it by comparing.

    Args:
        value: What is to be kept secret.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T_co) -> None:
        if isinstance(value, Secret):
            raise TypeError("Secret: this is a secret already")
        self._value = value
        with _lock:
            _alive.add(self)
        failures.hide = masked

    def reveal(self) -> T_co:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: Any) -> Secret[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if not getattr(_here, "travels", 0):
            raise TypeError("a Secret is not pickled: what is pickled may be kept, and read by others")
        return Secret, (self._value,)


@contextmanager
def travelling() -> Iterator[None]:
    """Lets this thread pickle secrets, for the way to a process of our own and nowhere else."""
    _here.travels = getattr(_here, "travels", 0) + 1
    try:
        yield
    finally:
        _here.travels -= 1


@final
class MissingSecret:
    """Stands where a stored run had a `Secret`: it must be given again."""

    __slots__ = ()

    def reveal(self) -> Any:
        """Never gives anything.

        Raises:
            CannotDecode: Always.
        """
        raise CannotDecode("a Secret is never stored, so it must be given again when the run is resumed")

    def __repr__(self) -> str:
        return "MISSING_SECRET"

    def __reduce__(self) -> str:
        return "MISSING_SECRET"


MISSING_SECRET: Final = MissingSecret()


def masked(text: str) -> str:
    """A text with a mask in place of every secret that this process knows and that is long enough to tell."""
    if not _alive:
        return text
    with _lock:
        values = [secret.reveal() for secret in _alive]
    words = {word for value in values for word in _words(value)}
    for word in sorted(words, key=len, reverse=True):
        if word in text:
            text = text.replace(word, MASK)
    return text


def masked_in(value: Any) -> Any:
    """The value, with every text in it masked that stands in a list, a tuple, a set or a dict of the usual
    kind; what else it is of is left as it is."""
    kind = type(value)
    if not _alive or kind not in _HOLDERS:
        return masked(value) if kind is str else value
    if kind is dict:
        return {masked_in(key): masked_in(one) for key, one in value.items()}
    return kind(map(masked_in, value))


_HOLDERS: Final = frozenset((dict, list, tuple, set, frozenset))


def _words(value: Any) -> Iterator[str]:
    """How a secret may look in a text: as it is, and as `repr` shows it."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str) and len(value) >= _SHORTEST:
        yield value
        yield repr(value)[1:-1]
