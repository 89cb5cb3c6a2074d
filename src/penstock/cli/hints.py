"""Where the code of a stored run is: a hint, for whoever can write to the store can write it.

It is used only when it stands for a file inside the folder that holds ``.penstock/``, and is shown before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .places import FOLDER, Place
from .target import Target, is_file, split


def hint_of(words: str, target: Target, place: Place) -> str:
    """What is stored with a run.

    Args:
        words: What the command line was given.
        target: What it stands for.
        place: Where the run is kept.
    """
    where, _ = split(words)
    if is_file(where):
        path = Path(where).resolve()
        where = str(path.relative_to(place.root)) if path.is_relative_to(place.root) else str(path)
    return f"{where}:{target.name}"


def usable(hint: str | None, place: Place) -> str | None:
    """The target that a hint stands for, if it may be used; its folder is then where modules are found.

    Args:
        hint: As it was stored.
        place: Where it was stored.
    """
    folder = place.root / FOLDER
    if hint is None or "\0" in hint or not folder.is_dir() or folder.is_symlink():
        return None
    where, colon, name = hint.rpartition(":")
    if not colon:
        return None
    inside = Path(os.path.realpath(place.root))
    if where.endswith(".py"):
        path = Path(os.path.realpath(inside / where))
        return f"{path}:{name}" if path.is_file() and path.is_relative_to(inside) else None
    parts = where.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] in sys.modules:
        return None
    for file in (inside.joinpath(*parts).with_suffix(".py"), inside.joinpath(*parts, "__init__.py")):
        path = Path(os.path.realpath(file))
        if path.is_file() and path.is_relative_to(inside):
            sys.path.insert(0, str(inside))
            return hint
    return None
