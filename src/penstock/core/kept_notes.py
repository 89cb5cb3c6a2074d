"""What is kept with a run beside its journal, read: what steps said, how far they are, and what they used.

Whoever can write to a store can write anything into a note. What makes no sense in one is left out, or shown
as the text that it is; nothing here raises for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final, NamedTuple

from .events import LEVELS, Logged, Measured, Progressed
from .inside import Usage
from .model import NodePath
from .storage import Note, Notes

_PAGE: Final = 2_000
"""Notes that are read at a time."""

Told = Logged | Progressed | Measured


class LogLine(NamedTuple):
    """Something that a step has said.

    Attributes:
        id: Grows with every line of the run.
        path: Who says it: a step's id, or an item's path.
        node: Id of the step.
        attempt: Number of the attempt, from 1.
        token: Of the attempt, as `StoredAttempt.token`; 0 where it is not known.
        at: When, in seconds since 1970.
        level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
        origin: The logger's name; ``stdout`` or ``stderr`` of what was printed; empty for `Context.log`.
        message: What it says, as it came: show it with care, it may hold anything.
        fields: What `Context.log` was given besides.
    """

    id: int
    path: str
    node: str
    attempt: int
    token: int
    at: float
    level: str
    origin: str
    message: str
    fields: Mapping[str, Any]


def log_lines(
    reader: Notes, run_id: str, step: str | None = None, *, after: int = 0, limit: int | None = None
) -> Iterator[LogLine]:
    """What the steps of a run have said, in order, read as it is asked for.

    Args:
        reader: Where it is kept.
        run_id: Of the run.
        step: Of this step only, or of this item.
        after: The id of the last line that is known.
        limit: As many at most.
    """
    node, item = _whose(step)
    left = limit
    while left is None or left > 0:
        most = _PAGE if left is None or item else min(_PAGE, left)
        page = reader.notes(run_id, after, kind="log", node=node, limit=most)
        for note in page:
            after = note.id
            line = _line(note)
            if item is not None and line.path != item:
                continue
            yield line
            if left is not None:
                left -= 1
                if not left:
                    return
        if len(page) < most:
            return


def usage_in(reader: Notes, run_id: str) -> dict[tuple[str, int], Usage]:
    """What the attempts of a run have used, by path and token."""
    found = {}
    for note in reader.notes(run_id, kind="usage"):
        for used in _used(_body(note)):
            found[str(used.path), used.token] = Usage(used.cpu, used.memory, used.exact)
    return found


def told_by(note: Note) -> Iterator[Told]:
    """The events that a note was made of; none where it makes no sense, or is of a kind that is not known."""
    body = _body(note)
    if note.kind == "log":
        line, path = _line(note), _path(note)
        yield Logged(path, line.attempt, line.message, line.fields, line.level, line.origin, line.at)
    elif note.kind == "progress" and body is not None:
        done, total = _number(body.get("d")), _number(body.get("t"))
        if done is not None:
            yield Progressed(_path(note), done, total, _text(body.get("x")))
    elif note.kind == "usage":
        yield from _used(body)


def _used(body: Mapping[str, Any] | None) -> Iterator[Measured]:
    """What attempts have used: rows of a path, a token, seconds, bytes, and whether that is exact."""
    rows = {} if body is None else body.get("u")
    for row in rows if isinstance(rows, list) else ():
        match row:
            case [str(node), int(token), cpu, memory, exact]:
                path = NodePath(node)
            case [[str(node), *items], int(token), cpu, memory, exact] if _are_keys(items):
                path = NodePath(node, tuple(items))
            case _:
                continue
        whole = memory if type(memory) is int and memory >= 0 else None
        yield Measured(path, token, _number(cpu), whole, exact is True)


def _are_keys(items: list[Any]) -> bool:
    return all(type(one) in (int, str) for one in items)


def _line(note: Note) -> LogLine:
    body = _body(note)
    path = str(_path(note))
    if body is None:  # its text is all that can be told
        return LogLine(note.id, path, note.node, 1, note.token, note.at, "info", "", note.body, {})
    attempt, level, fields = body.get("a"), body.get("l"), body.get("f")
    return LogLine(
        note.id,
        path,
        note.node,
        attempt if type(attempt) is int and attempt > 0 else 1,
        note.token,
        note.at,
        level if level in LEVELS else "info",
        _text(body.get("o")),
        _text(body.get("m")),
        fields if isinstance(fields, dict) else {},
    )


def _body(note: Note) -> dict[str, Any] | None:
    try:
        body = json.loads(note.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _path(note: Note) -> NodePath:
    """Whose a note is; of the step as a whole, if it names no item of it."""
    try:
        found = json.loads(note.path)
    except (ValueError, RecursionError):
        found = None
    match found:
        case [str(node), *items] if node == note.node and _are_keys(items):
            return NodePath(node, tuple(items))
        case _:
            return NodePath(note.node)


def _whose(step: str | None) -> tuple[str | None, str | None]:
    """The id of a step, and the path of the item if it is one of an item."""
    if step is not None and step.endswith("]") and "[" in step:
        return step[: step.index("[")], step
    return step, None


def _text(found: object) -> str:
    return found if isinstance(found, str) else "" if found is None else str(found)


def _number(found: object) -> float | None:
    if type(found) not in (int, float) or not isfinite(found):  # type: ignore[arg-type]
        return None
    return found  # type: ignore[return-value]
