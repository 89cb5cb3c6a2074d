"""The streams that the contract asks runners to make. At module level, so that they can be carried by name.

What a stream has done is written to a file for the same reason.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

from .contract_steps import MARK

STANDS_FOR_USERS = True  # in tracebacks, see `contract_steps`


def count_to(many: int, seen: str = "") -> Iterator[int]:
    """0, 1, …; notes its begin, each element before it is given, and its end."""
    note(seen, "begin")
    try:
        for number in range(many):
            note(seen, str(number))
            yield number
    finally:
        note(seen, "end")


def fail_at(position: int) -> Iterator[int]:
    yield from range(position)
    raise ValueError("the text")


def fail_when_closed() -> Iterator[int]:
    try:
        yield from range(100)
    finally:
        raise KeyError("closing")


def refuse_to_close() -> Iterator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


def exit_within() -> Iterator[int]:
    yield 0
    raise SystemExit(3)


def with_a_result() -> Generator[str, None, str]:
    yield "element"
    return "result"


def keep_mark(text: str) -> Iterator[str]:
    """Reads a context variable, sets it, and looks whether it stays so."""
    yield MARK.get()
    MARK.set(text)
    for _ in range(20):
        yield MARK.get()


class Countdown:
    """An iterator that is no generator and cannot be closed."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __iter__(self) -> Countdown:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


class Breaks(Countdown):
    """One that breaks, and can be closed."""

    def __init__(self, left: int, seen: str) -> None:
        super().__init__(left)
        self.seen = seen

    def __next__(self) -> int:
        if not self.left:
            raise ValueError("it broke")
        return super().__next__()

    def close(self) -> None:
        note(self.seen, "closed")
        raise KeyError("closing")


def give_list() -> list[int]:
    return [1, 2]


def give_none() -> None:
    return None


def raise_at_once() -> NoReturn:
    raise ValueError("no iterator")


def note(seen: str, word: str) -> None:
    if seen:
        with Path(seen).open("a") as file:
            file.write(f"{word}\n")


def noted(seen: str) -> list[str]:
    path = Path(seen)
    return path.read_text().split() if path.exists() else []
