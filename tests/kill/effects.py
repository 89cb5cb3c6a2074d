"""What steps do to the world outside: lines of a file to which is only ever added, whoever dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """One effect: ``start parse[3] 1``.

    Attributes:
        word: ``start``, ``end``, ``fail``, ``ask`` or ``yield``.
        path: Of the step or item.
        attempt: Its number, from 1.
    """

    word: str
    path: str
    attempt: int


class Log:
    """Where the steps of this process write to; each line in one call of the system, at the end of the file.

    Attributes:
        noted: Called after each line; a test may end the process there.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._path = ""
        self.noted: Callable[[], object] = bool

    def open(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, word: str, path: str, attempt: int = 1) -> None:
        if self._fd >= 0:
            os.write(self._fd, f"{word} {path} {attempt}\n".encode())
            self.noted()

    def asked(self) -> int:
        """How often something was asked, in all processes."""
        return sum(line.word == "ask" for line in lines(self._path))


LOG = Log()


def lines(path: Path | str) -> list[Line]:
    """All effects so far."""
    if not os.path.exists(path):
        return []
    found = []
    for text in Path(path).read_text().splitlines():
        word, where, attempt = text.split(" ")
        found.append(Line(word, where, int(attempt)))
    return found
