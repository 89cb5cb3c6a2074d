"""Where a run comes from: the commit of the project, Python, and the versions of what it has imported.

Nothing is run for it, git neither: two or three small files are read. Whether anything has changed since the
commit is therefore not known.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from .fingerprint_values import file_of, names_of

_MOST = 50
"""Packages whose version is noted: the first that were imported."""

_INSTALLED = ("site-packages", "dist-packages")
_HEX = frozenset("0123456789abcdef")
_LAYERS = 20
_SMALL = 1 << 12
_LARGE = 1 << 24

_VERSIONS: dict[str, str] = {}
"""Versions of packages that this process has looked for, by module; empty for one that has none."""


def about(origin: Callable[..., Any] | str | None = None, version: str = "") -> dict[str, str]:
    """What there is to say of the code of a run; what cannot be found out is not there.

    Args:
        origin: A function of the project, or a file or folder of it; by default the folder where we are.
        version: Of this library.

    Returns:
        ``python`` and ``platform``; ``penstock``, if given; ``commit`` and ``branch`` of the project's git
        repository; and ``package NAME`` for what has been imported.
    """
    found = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": _platform(),
    }
    if version:
        found["penstock"] = version
    try:
        found.update(_commit(_folder_of(origin)))
    except (OSError, ValueError):
        pass
    found.update({f"package {name}": said for name, said in _packages() if said})
    return found


@lru_cache(maxsize=1)
def _platform() -> str:
    uname = getattr(os, "uname", None)
    return f"{sys.platform} {uname().machine}" if uname is not None else sys.platform


def _folder_of(origin: Callable[..., Any] | str | None) -> str:
    """The folder of a function or a file; where we are, if that belongs to a library or is nowhere."""
    path = origin if isinstance(origin, str) else ""
    if origin is not None and not isinstance(origin, str):
        one: Any = origin
        for _ in range(_LAYERS):
            one = names_of(one).get("__wrapped__", one)
        path = getattr(getattr(one, "__code__", None), "co_filename", "")
    if path and not path.startswith("<") and not set(_INSTALLED) & set(path.split(os.sep)):
        path = os.path.abspath(path)
        if os.path.exists(path):
            return path if os.path.isdir(path) else os.path.dirname(path)
    return os.getcwd()


def _commit(folder: str) -> dict[str, str]:
    """The commit and the branch of the repository that a folder is in."""
    git = _git_folder(folder)
    head = _read(os.path.join(git, "HEAD")) if git else ""
    if not head.startswith("ref: "):
        return {"commit": head} if _is_commit(head) else {}
    ref = head.removeprefix("ref: ").strip()
    shared = _read(os.path.join(git, "commondir"))  # of a work tree beside the main one
    folders = [git, os.path.join(git, shared)] if shared else [git]
    if ".." in ref.split("/") or not ref.startswith("refs/"):
        return {}
    for one in folders:
        commit = _read(os.path.join(one, ref)) or _packed(os.path.join(one, "packed-refs"), ref)
        if _is_commit(commit):
            return {"commit": commit, "branch": ref.removeprefix("refs/heads/")}
    return {}


def _git_folder(folder: str) -> str:
    """The folder in which git keeps what it knows of a folder; empty if there is none."""
    while True:
        path = os.path.join(folder, ".git")
        if os.path.isdir(path):
            return path
        said = _read(path)  # of a submodule, or of a work tree beside the main one
        if said.startswith("gitdir: "):
            return os.path.join(folder, said.removeprefix("gitdir: ").strip())
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above


def _packed(path: str, ref: str) -> str:
    for line in _read(path, _LARGE).splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return ""


def _read(path: str, most: int = _SMALL) -> str:
    """The text of a small file; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(most).strip()
    except OSError:
        return ""


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and set(text) <= _HEX


def _packages() -> Iterator[tuple[str, str]]:
    """The packages that have been imported from where packages are installed, and their versions."""
    count = 0
    for name, module in [*sys.modules.items()]:
        if "." in name or name.startswith("_") or count >= _MOST:
            continue
        if name not in _VERSIONS:
            path = file_of(module)
            if not set(_INSTALLED) & set(path.split(os.sep)):
                continue
            _VERSIONS[name] = _version(name, module)
        count += 1
        yield name, _VERSIONS[name]


def _version(name: str, module: Any) -> str:
    said = names_of(module).get("__version__")
    if isinstance(said, str):
        return said
    from importlib import metadata  # it is dear to import

    try:
        return metadata.version(name)
    except Exception:  # there is none of this name, or its files are damaged
        return ""
