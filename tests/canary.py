"""A secret that tests give to runs, and that must be found nowhere after them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

CANARY = "canary-" + "-".join(["of", "penstock", "9f3e", "71c0"])
"""Put together here, so that no source and no compiled file holds it as it is."""

_LARGEST = 1 << 31


def sightings(folder: Path) -> Iterator[Path]:
    """The files below a folder in which the canary is to be seen, as bytes of UTF-8 or of UTF-16."""
    words = [CANARY.encode(), CANARY.encode("utf-16-le"), CANARY.encode()[::-1]]
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(here, name))]
        for name in names:
            path = Path(here, name)
            try:
                if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size < _LARGEST:
                    continue
                with (
                    path.open("rb") as file,
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body,
                ):
                    if any(body.find(word) >= 0 for word in words):
                        yield path
            except (OSError, ValueError):
                continue


def processes() -> Iterator[str]:
    """Command lines and environments of this user's processes in which it is to be seen."""
    for number in filter(str.isdigit, os.listdir("/proc")) if os.path.isdir("/proc") else ():
        for name in ("cmdline", "environ"):
            try:
                body = Path("/proc", number, name).read_bytes()
            except OSError:
                continue
            if CANARY.encode() in body:
                yield f"process {number}: {name}"
