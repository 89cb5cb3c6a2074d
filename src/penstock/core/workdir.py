"""Folders for attempts: one each, published whole when the attempt succeeds, removed otherwise.

    <base>/<run>/<node>/<items…>                       where it is found after its success
    <base>/<run>/<node>/<items…>.attempt-<n>.part      where the attempt works, beside it

Names of nodes and keys of items may be any text, and a folder is made of no part of them that a file system
could understand (see `file_name`). All folders are their owner's alone.
"""

from __future__ import annotations

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

from .model import NodePath

DEFAULT = os.path.join(".penstock", "work")
"""Where the folders are if nothing else is said, below the current one."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_USUAL = re.compile(r"[a-z_][a-z0-9_-]{0,198}", re.ASCII)
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)
_LONGEST = 200
"""Bytes of one name: file systems take 255, and ``.attempt-<n>.part`` comes after it."""


def file_name(part: str | int) -> str:
    """The name of a folder for the id of a node, or the index or key of an item; another one for each.

    What is neither a letter, a digit nor one of ``. _ -`` is percent-encoded. A name that some file system
    would take for another or for a device, that could be mistaken for an index or for the folder of an
    attempt, or that is too long, ends in ``~`` and digits of its hash.
    """
    if isinstance(part, int):
        return str(int(part))
    if _USUAL.fullmatch(part) and part not in _DEVICES:
        return part
    name = "".join(
        [
            sign
            if sign in _PLAIN
            else "".join(f"%{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))
            for sign in part
        ]
    )
    if (
        not name
        or name != name.lower()
        or name.lstrip("-").isdecimal()
        or name[0] == "."
        or name[-1] == "."
        or name.endswith(".part")
        or name.partition(".")[0] in _DEVICES
        or len(name) > _LONGEST
    ):
        digest = sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        if name[:1] == ".":
            name = f"%2e{name[1:]}"
        name = f"{name[: _LONGEST - 13]}~{digest}"
    return name


class Workdirs:
    """The folders of one run.

    Args:
        base: Where runs have their folders; None for `DEFAULT`.
        run_id: Of the run.

    Attributes:
        base: Where runs have their folders; all of it.
        root: Where this one has.
    """

    def __init__(self, base: str | os.PathLike[str] | None, run_id: str) -> None:
        self.base = os.path.abspath(DEFAULT if base is None else base)
        self.root = os.path.join(self.base, file_name(run_id))
        self._open: set[Workdir] = set()
        self._parents: set[str] = set()

    def folder(self, path: NodePath, attempt: int) -> Workdir:
        """The folder of one attempt; nothing is made before it is asked for.

        Args:
            path: Whose attempt it is.
            attempt: Its number. No two attempts of a node may share one.
        """
        return Workdir(self, path, attempt)

    def close(self) -> list[str]:
        """Removes what attempts have left behind, and folders that are empty; at the run's end.

        Returns:
            What went wrong, a line each.
        """
        warnings = []
        for workdir in [*self._open]:
            warnings += workdir.discard()
        for parent in sorted(self._parents, key=len, reverse=True):
            try:
                os.rmdir(parent)
            except OSError:  # most have something in them; the rest harms nobody
                pass
        return warnings

    def begun(self, workdir: Workdir, parents: list[str]) -> None:
        """Notes a folder that is there, or may be."""
        self._open.add(workdir)
        self._parents.update(parents)

    def ended(self, workdir: Workdir) -> None:
        """Notes that it is published or removed."""
        self._open.discard(workdir)


class Workdir:
    """The folder of one attempt.

    The side that makes the attempt uses `path` and `published`. The engine's side calls `publish` when the
    attempt's success counts, and `discard` in all other cases: also of an attempt that was abandoned, which
    can publish nothing from then on, and once more when it has ended at last.
    """

    __slots__ = ("_attempt", "_found", "_home", "_keeper", "_made", "_of", "_over", "_parents")

    def __init__(self, keeper: Workdirs, path: NodePath, attempt: int) -> None:
        self._keeper: Workdirs | None = keeper
        self._of = path
        self._attempt = attempt
        self._made = False  # there is a folder, or may be one
        self._over = False  # it was published or given up
        self._home = ""  # its name, and the next two, are not worked out before somebody looks
        self._found = ""
        self._parents: list[str] = []

    def __repr__(self) -> str:
        return f"<Workdir of {self._of}, attempt {self._attempt}>"

    @property
    def path(self) -> Path:
        """The folder; made when it is first asked for.

        Raises:
            RuntimeError: The attempt was given up.
            PermissionError: The folder would lie where others could change it.
            OSError: It cannot be made.
        """
        if self._over:
            raise RuntimeError("this attempt was given up: its folder is gone, or belongs to its result")
        if not self._made:
            self._place()
            if self._keeper is not None:
                self._keeper.begun(self, self._parents)
            self._make()
            self._made = True
            if self._over:  # given up in this very moment
                self.discard()
                return self.path
        return Path(self._home)

    @property
    def published(self) -> Path:
        """Where the folder is found after the attempt has succeeded."""
        self._place()
        return Path(self._found)

    def publish(self) -> bool:
        """Gives the folder its final name, in one move.

        Returns:
            Whether there was one.

        Raises:
            OSError: It cannot be moved, or there is something of that name.
        """
        if not self._made or self._over:
            return False
        self._over = True
        try:
            os.rename(self._home, self._found)
            return True
        except FileNotFoundError:  # lent to a process that has not asked for it, or the step has removed it
            return False
        except OSError:
            self.discard()
            raise
        finally:
            if self._keeper is not None:
                self._keeper.ended(self)

    def discard(self) -> list[str]:
        """Removes the folder, if there is one; gives what went wrong, a line each."""
        self._over = True
        if not self._made:
            return []
        if self._keeper is not None:
            self._keeper.ended(self)
        try:
            _remove(self._home)
        except FileNotFoundError:
            pass
        except OSError as error:
            return [f"the folder {self._home} of a failed attempt could not be removed: {error}"]
        return []

    def travel(self) -> tuple[NodePath, int, str, str, list[str]]:
        """What `arrived` makes the same folder of in another process, which may create it: from now on it
        counts as created."""
        self._place()
        if self._keeper is not None:
            self._keeper.begun(self, self._parents)
        self._made = True
        return self._of, self._attempt, self._home, self._found, self._parents

    @classmethod
    def arrived(cls, state: tuple[NodePath, int, str, str, list[str]]) -> Workdir:
        """The same folder in another process: for `path` and `published` only."""
        workdir = cls.__new__(cls)
        workdir._of, workdir._attempt, workdir._home, workdir._found, workdir._parents = state
        workdir._keeper, workdir._made, workdir._over = None, False, False
        return workdir

    def _place(self) -> None:
        """Works out where it is."""
        if self._home or self._keeper is None:
            return
        names = [file_name(self._of.node), *map(file_name, self._of.items)]
        parents = [self._keeper.root]
        for name in names[:-1]:
            parents.append(os.path.join(parents[-1], name))
        self._parents = parents
        self._found = os.path.join(parents[-1], names[-1])
        self._home = f"{self._found}.attempt-{self._attempt}.part"

    def _make(self) -> None:
        if not os.path.isdir(self._parents[0]):
            _make_base(os.path.dirname(self._parents[0]))
        for tries in range(3):
            try:
                for parent in self._parents:
                    _make_own(parent)
                os.mkdir(self._home, 0o700)
                return
            except FileNotFoundError:  # somebody has just removed a parent that was empty
                if tries == 2:
                    raise
            except FileExistsError:  # of the same attempt, when this run was cut off
                _remove(self._home)


def _remove(folder: str) -> None:
    from shutil import rmtree

    try:
        rmtree(folder)
    except FileNotFoundError:
        raise
    except OSError:
        rmtree(folder, ignore_errors=True)  # all that can be
        if os.path.lexists(folder):
            raise


def _make_base(base: str) -> None:
    """Makes the folder of all runs, and looks at who else may change what is in it.

    It may be a link: it is the user's own word where it leads. But a folder that anybody can change could be
    replaced between two looks at it.
    """
    _make_missing(base)
    mode = os.stat(base).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PermissionError(
            f"workdir {base} can be changed by everybody (mode {stat.S_IMODE(mode):04o}); "
            "take another with RunOptions(workdir=...), or forbid it: chmod o-w"
        )


def _make_missing(folder: str) -> None:
    if os.path.isdir(folder):
        return
    _make_missing(os.path.dirname(folder))
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def _make_own(folder: str) -> None:
    """Makes a folder that is the owner's alone, or sees that it is one.

    Raises:
        PermissionError: It is a link, no folder, or belongs to somebody else.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        found = os.lstat(folder)
        owner = getattr(os, "geteuid", lambda: found.st_uid)()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise PermissionError(
                f"{folder} should be a folder of this run, and is a link, a file or somebody else's"
            ) from None
