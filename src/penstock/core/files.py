"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file in UTF-8. If that fails, on a full disk for one, what was there before stays.

    Args:
        path: Of the file; what is no plain file, such as a pipe, is written to as it is.
        text: All of it. What no text can hold is written as a question mark.

    Raises:
        OSError: It cannot be written.
    """
    body = text.encode("utf-8", "replace")
    place = os.fspath(path)
    if _is_other(place):
        with open(place, "wb") as file:
            file.write(body)
        return
    folder, name = os.path.split(os.path.realpath(place))
    unfinished = os.path.join(folder, f".{name[:100]}.{os.urandom(4).hex()}.part")
    try:
        with open(unfinished, "xb") as file:
            file.write(body)
        with suppress(OSError):
            os.chmod(unfinished, stat.S_IMODE(os.stat(place).st_mode))  # of the one that it replaces
        os.replace(unfinished, os.path.join(folder, name))
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _is_other(path: str) -> bool:
    """Whether there is something that is no plain file."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
