"""What can be shown on a stream."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TextIO


def is_live(stream: TextIO) -> bool:
    """Whether a table can be drawn in place there."""
    return is_terminal(stream) and os.environ.get("TERM") != "dumb" and find_spec("rich") is not None


def has_colours(stream: TextIO) -> bool:
    """Whether colours are wanted there: https://no-color.org."""
    return is_terminal(stream) and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody sits there, as far as the stream knows."""
    try:
        return stream.isatty()
    except (ValueError, OSError):
        return False


def wide_of(stream: TextIO) -> int:
    """Cells of a line: those of the terminal, and no end where there is none."""
    if not is_terminal(stream):
        return 100_000
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (ValueError, OSError):
        return 80
