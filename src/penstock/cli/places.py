"""Where runs are kept when nothing else is said: ``.penstock/journal.db`` at the project's root."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penstock import wiring

from .exits import STORE, Misuse, of_error

if TYPE_CHECKING:
    from penstock.core.history import History, StoredRun

FOLDER = ".penstock"
FILE = "journal.db"
ROOTS = (FOLDER, "pyproject.toml", ".git")
"""What a project's root is known by."""

RECENT = 10_000
"""Runs among which the beginning of an id is looked for."""


class Place(NamedTuple):
    """Where runs are kept.

    Attributes:
        word: What opens the store.
        said: What ``--store`` was given; None for the usual place.
        root: The project's root.
    """

    word: str
    said: str | None
    root: Path

    @property
    def option(self) -> str:
        """The option that names it in another command, with a blank in front; empty for the usual place."""
        return "" if self.said is None else f" --store {shlex.quote(self.said)}"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--store``."""
    parser.add_argument(
        "--store",
        metavar="WORD",
        help=f"where runs are kept: FILE or sqlite:///FILE; default {FOLDER}/{FILE} at the project's root",
    )


def place(said: str | None) -> Place:
    """The store that was named, or the usual one.

    Raises:
        Misuse: It is none that lasts.
    """
    root = project_root()
    if said is None:
        return Place(str(root / FOLDER / FILE), None, root)
    with refusing():
        if not said or wiring.store_path(said) is None:
            raise Misuse(
                f"--store takes a file, or sqlite:///FILE, not {said!r}; to keep nothing say --no-store"
            )
    return Place(said, said, root)


def project_root() -> Path:
    """The nearest folder above the current one that looks like a project's root, or the current one.

    A folder above that all users may write to is none of ours, whatever somebody has put there.

    Raises:
        Misuse: There is no current folder.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise Misuse("the current folder is not there any more") from None
    for folder in (here, *here.parents):
        if folder != here and _is_shared(folder):
            break
        if any(os.path.lexists(folder / name) for name in ROOTS):
            return folder
    return here


def _is_shared(folder: Path) -> bool:
    try:
        return os.name == "posix" and bool(folder.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return True


def prepare(place: Place) -> None:
    """Makes the folder of the usual place, where nobody else may look, and which no repository takes.

    Raises:
        Misuse: It cannot be written.
    """
    if place.said is not None:
        return
    folder = place.root / FOLDER
    try:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise NotADirectoryError(0, "it is not a folder") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "it may not be written")
        ignore = folder / ".gitignore"
        if not os.path.lexists(ignore):
            number = os.open(ignore, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.write("*\n")
    except OSError as error:
        whose = folder if folder.exists() else place.root
        try:
            mode = f" ({whose} has the permissions {stat.S_IMODE(whose.stat().st_mode):04o})"
        except OSError:
            mode = ""
        raise Misuse(
            f"runs cannot be kept in {folder}: {error.strerror}{mode}\n"
            "keep them elsewhere with --store FILE, or not at all with --no-store",
            STORE,
        ) from None


@contextmanager
def refusing(*more: str) -> Iterator[None]:
    """Makes one clear text of what the store, or what was asked of it, has against it.

    Args:
        more: Lines to add where it is the store.
    """
    from penstock.core.errors import PenstockError

    try:
        yield
    except PenstockError as error:
        code = of_error(error)
        lines = [str(error), *(more if code == STORE else ())]
        raise Misuse("\n".join(lines), code) from None


@contextmanager
def history(place: Place) -> Iterator[History]:
    """The runs of a place.

    Raises:
        Misuse: There is no store, it cannot be opened, or what is asked of it cannot be.
    """
    with refusing(), wiring.open(place.word) as found:
        yield found


def find(history: History, word: str) -> StoredRun:
    """The run of an id, or of the beginning of one, or the ``last``.

    Raises:
        Misuse: There is none, or more than one.
    """
    from penstock.core.errors import RunNotFound

    try:
        return history.run(word)
    except RunNotFound as error:
        if word == "last":
            for run in history.runs(limit=1):
                return run
            raise Misuse(f"there is no run in {history.where} yet") from None
        found = [run for run in history.runs(limit=RECENT) if word and run.run_id.startswith(word)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise Misuse(f"{error}\nto see what there is: penstock runs") from None
    names = ", ".join(run.run_id for run in found[:4]) + (", …" if len(found) > 4 else "")
    raise Misuse(f"{len(found)} runs begin with {word!r}: {names}\nsay more of it")


def resume_line(place: Place, run_id: str, target: str | None = None) -> str:
    """The command that lets a run go on.

    Args:
        place: Where it is kept.
        run_id: Of the run.
        target: Where its code is; None if the run itself says so.
    """
    words = ["penstock", "resume", run_id, *([] if target is None else [target])]
    return " ".join(map(shlex.quote, words)) + place.option


def approve_line(place: Place, run_id: str, gate: str, takes: str) -> str:
    """The command that answers a gate."""
    value = "" if takes in ("bool", "") else " --value VALUE"
    return " ".join(map(shlex.quote, ("penstock", "approve", run_id, gate))) + value + place.option
