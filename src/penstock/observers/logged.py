"""Lines of a log as a terminal or a file may have them.

Each begins with the time at its very start. What is behind a line break is indented, and what would do more
than show is escaped: no step can forge a line of another one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TextIO

from penstock.core.kept_notes import LogLine
from penstock.core.visible import one_line

from .marks import Signs
from .page import Line, Span, coloured, cut_line, fill, plain, width
from .streams import has_colours

NAMES = 32
_LEVELS = {"debug": "dim", "info": "dim", "warning": "warn", "error": "bad", "critical": "bad"}
_ANY = 1 << 60  # cells: a line of a log is never cut


class LogText:
    """Makes text of log lines.

    Args:
        stream: What will show it.
        names: Names that may stand in front of lines, to be aligned with.
        now: The time that it is now, in seconds since 1970: lines of today need no date.
    """

    def __init__(self, stream: TextIO, names: Iterable[str] = (), now: float | None = None) -> None:
        self._show = coloured if has_colours(stream) else plain
        self._bar = "│" if Signs(stream.encoding).fine else "|"
        self._today = time.localtime(now)[:3]
        self._names = max(map(width, names), default=0)

    def __call__(self, line: LogLine) -> str:
        """The text of a line, with its end."""
        return "".join(self._show(cut_line(one, _ANY)) + "\n" for one in self._lines(line))

    def _lines(self, line: LogLine) -> list[Line]:
        first, *more = line.message.split("\n") if line.message else [""]
        name = one_line(line.path)
        self._names = min(NAMES, max(self._names, width(name)))
        when = self._when(line.at)
        head: list[Span] = [
            ("dim", f"{when}  "),
            ("strong", fill(name, self._names)),
            (_LEVELS.get(line.level, ""), f"  {fill(line.level, 7)}  "),
            ("dim", f"attempt {line.attempt}  " if line.attempt > 1 else ""),
            ("dim", f"{line.origin}: " if line.origin else ""),
        ]
        fields = "".join(f" {name}={value!r}" for name, value in line.fields.items())
        loud = _LEVELS.get(line.level, "") if line.level in ("error", "critical") else ""
        indent = " " * (len(when) + 2 + self._names + 2)
        return [
            [*head, (loud, first), ("dim", fields)],
            *([("dim", f"{indent}{self._bar} "), (loud, text)] for text in more),
        ]

    def _when(self, at: float) -> str:
        try:
            there = time.localtime(at)
        except (OverflowError, ValueError, OSError):  # no date that people have
            return f"{at:g}"
        form = "%H:%M:%S" if there[:3] == self._today else "%Y-%m-%d %H:%M:%S"
        return f"{time.strftime(form, there)}.{int(at * 1000) % 1000:03}"
