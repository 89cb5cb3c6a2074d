"""Where something that cannot be stopped is now, as text: from the user's first frame to the innermost one.

The text is made without parsing source: see `failures` about CPython 3.11.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import dropwhile
from types import FrameType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
_MAX_TEXT = 20_000
_MAX_FRAMES = 2_000
_SUSPENDED = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))


def stack_of_thread(ident: int | None) -> str:
    """Where the thread with this `ident` is; empty if it is in no code of the user."""
    frame = None if ident is None else sys._current_frames().get(ident)
    frames: list[FrameType] = []
    while frame is not None and len(frames) < _MAX_FRAMES:
        frames.append(frame)
        frame = frame.f_back
    # Outermost are those of the interpreter that start a thread, then ours, then the user's.
    started = dropwhile(lambda frame: not _ours(frame), reversed(frames))
    return _text(dropwhile(_ours, started))


def stack_of_awaitable(awaitable: Any) -> str:
    """Where a suspended coroutine, or async generator, and what it awaits, have stopped."""
    frames: list[FrameType] = []
    while awaitable is not None and len(frames) < _MAX_FRAMES:
        inner = None
        for frame, awaits in _SUSPENDED:
            found = getattr(awaitable, frame, None)
            if found is not None:
                frames.append(found)
                inner = getattr(awaitable, awaits, None)
                break
        awaitable = inner
    return _text(dropwhile(_ours, frames))


def name_of(call: Any) -> str:
    """What a function is called, through any ``partial`` around it."""
    while hasattr(call, "func"):
        call = call.func
    return str(getattr(call, "__name__", type(call).__name__))


def _ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] == _PACKAGE


def _text(frames: Iterable[FrameType]) -> str:
    import linecache
    import traceback

    try:
        rows = []
        for frame in frames:
            code, number = frame.f_code, frame.f_lineno or 0
            line = linecache.getline(code.co_filename, number, frame.f_globals).strip()
            rows.append((code.co_filename, number, code.co_name, line))
        text = "".join(traceback.StackSummary.from_list(rows).format())
    except Exception:  # a loader may raise anything when it is asked for a line
        return ""
    return text if len(text) <= _MAX_TEXT else "…" + text[-_MAX_TEXT:]
