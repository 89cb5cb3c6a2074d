"""What the contract asks runners to call. At module level, so that they can be carried elsewhere by name."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from penstock.core.returned import Written

STANDS_FOR_USERS = True  # in tracebacks, from which frames of this package are left out otherwise

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("MARK", default="unset")


def add(x: int, y: int) -> int:
    return x + y


def same(value: Any) -> Any:
    return value


def nothing() -> None:
    return None


def write(value: Any, writes: Any) -> Written:
    return Written(value, writes)


def write_and_fail(writes: Any) -> NoReturn:
    """Has all that it would hand back, and does not come to that."""
    write("lost", writes)
    raise ValueError("the text")


def write_forgotten(writes: Any) -> Written:
    """Its value was never awaited."""
    return Written(_later(), writes)


async def _later() -> int:
    return 1


class Unreadable(Mapping[str, int]):
    """A mapping in name only."""

    def __getitem__(self, key: str) -> NoReturn:
        raise ValueError("the text")

    def __iter__(self) -> Iterator[str]:
        yield "a"

    def __len__(self) -> int:
        return 1


def write_unreadable() -> Written:
    return Written("v", Unreadable())


class Odd(Exception):
    """Cannot be made again from its args."""

    def __init__(self, one: int, *, two: str) -> None:
        super().__init__(f"{one} and {two}")
        self.two = two


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class Stuck(Exception):
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not to be carried")


class Base(BaseException):
    """Of a kind of its own, outside Exception."""


class Rude(Exception):
    """Its text ends the interpreter, if nobody minds."""

    def __str__(self) -> str:
        raise SystemExit("from __str__")


class Lying(Exception):
    """Its text is no text."""

    def __str__(self) -> Any:
        return 5  # noqa: PLE0307


def raise_odd() -> NoReturn:
    raise Odd(1, two="too")


def raise_mute() -> NoReturn:
    raise Mute


def raise_stuck() -> NoReturn:
    raise Stuck("stuck")


def raise_base() -> NoReturn:
    raise Base("base")


def raise_rude() -> NoReturn:
    raise Rude


def raise_lying() -> NoReturn:
    raise Lying


def raise_group() -> NoReturn:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def raise_huge() -> NoReturn:
    raise ValueError("x" * 1_000_000)


def raise_value() -> NoReturn:
    raise ValueError("the text")


def raise_type() -> NoReturn:
    raise TypeError("the text")


def raise_named(name: str) -> NoReturn:
    """Raises the built-in exception of this name."""
    import builtins

    kind = getattr(builtins, name)
    arguments: dict[str, tuple[Any, ...]] = {
        "UnicodeDecodeError": ("utf-8", b"x", 0, 1, "why"),
        "UnicodeEncodeError": ("utf-8", "x", 0, 1, "why"),
        "UnicodeTranslateError": ("x", 0, 1, "why"),
        "ExceptionGroup": ("several", [ValueError("one")]),
        "BaseExceptionGroup": ("several", [GeneratorExit("one")]),
    }
    raise kind(*arguments.get(name, ("why",)))


def exit_now() -> NoReturn:
    sys.exit(3)


def fall() -> int:
    return fall() + 1


def read_mark() -> str:
    return MARK.get()


def write_mark(text: str) -> str:
    MARK.set(text)
    return MARK.get()


def says_yes(_: BaseException) -> bool:
    return True


def says_truthy(_: BaseException) -> Any:
    return 1


def breaks(_: BaseException) -> bool:
    raise RuntimeError("the predicate broke")


def exits(_: BaseException) -> bool:
    raise SystemExit("from the predicate")
