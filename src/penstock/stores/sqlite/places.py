"""Where a store may lie: folders, permissions, and file systems on which SQLite's log does not work."""

from __future__ import annotations

import os
import stat

from penstock.core.errors import StoreError

NETWORK = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "ncpfs",
        "ncp",
        "coda",
        "gpfs",
        "pvfs2",
        "orangefs",
        "beegfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.gcsfuse",
        "fuse.davfs",
        "davfs",
        "fuse.smbnetfs",
        "fuse.juicefs",
        "fuse.mfs",
        "virtiofs",
        "vboxsf",
        "drvfs",
        "prl_fs",
    ]
)


def prepare(path: str) -> None:
    """Makes the folder of a store if need be, private to this user, and judges one that is there.

    Raises:
        StoreError: It cannot be written, or somebody else could replace the files in it.
    """
    folder = os.path.dirname(path)
    try:
        _make(folder)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror}") from None
    judge_folder(folder)
    for place in (folder, path):
        if os.path.exists(place) and not os.access(place, os.W_OK | os.R_OK):
            mode = stat.S_IMODE(os.stat(place).st_mode)
            raise StoreError(
                f"{place} may not be written by this user (its permissions are {mode:04o}), so nothing could "
                "be recorded; choose another place for the store, or go without one"
            )


def judge_folder(folder: str) -> None:
    """Refuses a folder in which other users may replace files."""
    if os.name != "posix":
        return
    info = os.stat(folder)
    if not stat.S_ISDIR(info.st_mode):
        raise StoreError(f"{folder} is not a folder")
    if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
        raise StoreError(
            f"every user may replace files in {folder}: a store does not go there; "
            f"`chmod o-w {folder}`, or choose another place"
        )


def judge_files(path: str) -> None:
    """Refuses files that another user has put where those of the store belong, in a folder shared by all."""
    if os.name != "posix" or not os.stat(os.path.dirname(path)).st_mode & stat.S_IWOTH:
        return
    for name in (path, path + "-wal", path + "-shm", path + "-journal", path + ".lock"):
        try:
            info = os.lstat(name)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(info.st_mode) or info.st_uid != os.geteuid():
            raise StoreError(
                f"{name} is a link or belongs to another user; it may be a trap: choose another place"
            )


def make_file(path: str) -> None:
    """An empty file that nobody else may read, unless there is one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}") from None


def sync_folder(folder: str) -> None:
    """Makes new names in a folder survive the loss of power."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def network_file_system(path: str, mounts: str | None = None) -> str | None:
    """The kind of file system below `path` if it is one that lies on another machine, as far as can be told.

    Args:
        path: Absolute, without links.
        mounts: What ``/proc/mounts`` says; read if None.
    """
    if mounts is None:
        try:
            with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
                mounts = file.read()
        except OSError:
            return None
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        if len(point) >= len(best) and _below(path, point):  # the last of equals lies on top
            best, kind = point, fields[2]
    return kind if kind in NETWORK else None


def _make(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        _make(parent)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass


def _below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text
