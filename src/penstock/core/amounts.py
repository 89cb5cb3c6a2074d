"""Numbers that people give: what counts as seconds, and what counts things. It knows nothing of ours."""

from __future__ import annotations

import sys


def is_number(value: object) -> bool:
    """Whether a value counts as a number of seconds: True and False do not, nor does an int beyond floats."""
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)


def is_whole(value: object) -> bool:
    """Whether a value counts things: True and False do not."""
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A wrong value, for an error text: its repr, cut short; never raises."""
    try:
        text = repr(value)
    except Exception:  # of an int with thousands of digits, too
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:59] + "…"


def check_seconds(where: str, name: str, value: object, *, above: bool = False) -> None:
    """Whether a value is a length of time.

    Args:
        where: What takes it, for the text.
        name: Which of its arguments.
        value: What was given.
        above: It must be more than 0 s, where otherwise 0 s will do.

    Raises:
        ValueError: It is none.
    """
    if is_number(value) and (value > 0 if above else value >= 0):  # type: ignore[operator]
        return
    if is_whole(value) and not is_number(value):
        raise ValueError(f"{where}: {name} is too large, no clock counts so far")
    least = "more than 0 s" if above else "0 s or more"
    hint = f"; say {name}={value}" if isinstance(value, str) and value.replace(".", "", 1).isdecimal() else ""
    raise ValueError(f"{where}: {name} must be {least}, not {shown(value)}{hint}")
