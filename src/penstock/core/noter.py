"""What steps say and use, on its way into the store: gathered as it comes, written by a thread beside them.

It is bounded everywhere. What is left out is counted, and the count is a note too. A store that cannot take
notes harms nothing but them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from .entries import path_entry, path_text, text_of
from .errors import StoreError
from .events import Logged, Measured, Progressed
from .model import NodePath
from .storage import Note, Store

LINES: Final = 2_000
"""Lines of one attempt that are kept."""

ALL_LINES: Final = 200_000
"""Lines of one run that are kept, in one life."""

_BATCH: Final = 250  # notes of one transaction: others write to the store too
_USED: Final = 250  # attempts whose usage one note tells
_BEHIND: Final = 50_000  # notes that wait to be written, at most
_TRIES: Final = 3  # times that the store may refuse, in a row


class Noter:
    """Takes down what the steps of one run say.

    Args:
        store: Where the run is kept.
        run_id: Of the run.

    Attributes:
        warnings: What went wrong.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.warnings: list[str] = []
        self._store = store
        self._run_id = run_id
        self._waiting: deque[Note] = deque()
        self._used: deque[list[Any]] = deque()
        self._progress: dict[NodePath, tuple[Progressed, float]] = {}
        self._lines: dict[tuple[NodePath, int], int] = {}
        self._all_lines = 0
        self._left_out: dict[tuple[NodePath, int], int] = {}
        self._writing = threading.Lock()
        self._refused = 0

    def __call__(self, event: Any) -> None:
        """Takes something down; from any thread."""
        kind = type(event)
        if kind is Logged:
            self._line(event)
        elif kind is Measured:
            if len(self._used) < _BEHIND:
                path, token, cpu, memory, exact = event
                self._used.append([path_entry(path), token, cpu, memory, exact])
        elif kind is Progressed:
            self._progress[event.path] = event, time.time()

    def _line(self, event: Logged) -> None:
        key = event.path, event.attempt
        count = self._lines.get(key, 0)
        if count >= LINES or self._all_lines >= ALL_LINES or len(self._waiting) >= _BEHIND:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        self._lines[key] = count + 1
        self._all_lines += 1
        fields = {str(name): _plain(value) for name, value in event.fields.items()}
        self._add("log", event.path, 0, _said(event, fields), event.at)

    def _add(
        self, kind: str, path: NodePath, token: int, body: Mapping[str, Any], at: float | None = None
    ) -> None:
        note = Note(kind, path.node, path_text(path), token, at or time.time(), text_of(body))
        self._waiting.append(note)

    def write(self) -> None:
        """Writes what has come; one thread at a time does, and any may."""
        with self._writing:
            if self._refused >= _TRIES:
                self._waiting.clear()
                return
            for path, (said, at) in list(self._progress.items()):
                del self._progress[path]
                self._add("progress", path, 0, {"d": said.done, "t": said.total, "x": said.text}, at)
            while self._used:  # a row for each would cost more than what they tell of
                rows = [self._used.popleft() for _ in range(min(_USED, len(self._used)))]
                self._waiting.append(Note("usage", "", '""', 0, time.time(), text_of({"u": rows})))
            while self._waiting:
                batch = [self._waiting[number] for number in range(min(_BATCH, len(self._waiting)))]
                try:
                    self._store.note(self._run_id, batch)
                except StoreError as error:
                    self._refused += 1
                    if self._refused >= _TRIES:
                        self.warnings.append(f"what steps said is not kept from here on: {error}")
                    return
                self._refused = 0
                for _ in batch:
                    self._waiting.popleft()

    def close(self) -> None:
        """Writes the rest, and how much was left out."""
        now = time.time()
        for (path, attempt), count in self._left_out.items():
            said = f"lines of this attempt that were not kept: {count:,}"
            self._add("log", path, 0, _said(Logged(path, attempt, said, {}, "warning", "penstock"), {}), now)
        self._left_out.clear()
        self.write()


def _said(event: Logged, fields: Mapping[str, Any]) -> dict[str, Any]:
    said = {"m": event.message, "l": event.level, "o": event.origin, "a": event.attempt}
    return {**said, "f": fields} if fields else said


def _plain(value: Any) -> Any:
    """A field as JSON has it; a text of it where JSON has no word for it."""
    from .capture import line

    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    try:
        return line(value if isinstance(value, str) else repr(value))
    except Exception:
        return f"<{type(value).__name__}>"
