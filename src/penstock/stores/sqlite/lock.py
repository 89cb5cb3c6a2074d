"""The lock between processes that write to one file: held during a transaction, a checkpoint, and closing.

SQLite has one of its own, but before version 3.51.3 a checkpoint beside a commit could lose the commit.
"""

from __future__ import annotations

import os
import random
import time

from penstock.core.errors import StoreBusy, StoreError

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

    TAKE, GIVE = LOCK_EX | LOCK_NB, LOCK_UN
except ImportError:  # on Windows
    import msvcrt

    TAKE, GIVE = msvcrt.LK_NBLCK, msvcrt.LK_UNLCK  # type: ignore[attr-defined]
    _FAR = 0x4000_0000  # behind the end of the file: what is locked there cannot be read

    def flock(fd: int, how: int, /) -> None:  # type: ignore[misc]
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, how, 1)  # type: ignore[attr-defined]
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None


__all__ = ["GIVE", "TAKE", "FileLock", "flock", "marks"]

_FIRST, _LONGEST = 0.0002, 0.01  # seconds between two tries


class FileLock:
    """A lock on a file beside the database; it goes with the process that holds it.

    It is no lock between threads: whoever takes it holds the database's own already.
    """

    def __init__(self, path: str, *, make: bool = True) -> None:
        self.path = path
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= os.O_RDWR | os.O_CREAT if make else os.O_RDONLY
        try:
            self.fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from None

    def take(self, busy: float) -> None:
        """Waits for the lock.

        Raises:
            StoreBusy: Somebody has held it for `busy` seconds.
        """
        if self.took():
            return
        until, pause = time.monotonic() + busy, _FIRST
        while not self.took():
            if time.monotonic() >= until:
                raise StoreBusy(
                    f"{_holder(self.path)} has held {self.path} for more than {busy:g} s; "
                    "try again when it is done"
                )
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST)

    def took_within(self, busy: float) -> bool:
        try:
            self.take(busy)
        except StoreBusy:
            return False
        return True

    def took(self) -> bool:
        """Takes it if it is free."""
        try:
            flock(self.fd, TAKE)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreError(f"{self.path} cannot be locked: {error.strerror}") from None
        return True

    def give(self) -> None:
        flock(self.fd, GIVE)

    def mark(self, database: str) -> None:
        """Writes down which file it belongs to, unless that is said already."""
        if not marks(self.path, database):
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)
            os.write(self.fd, _mark(database))

    def is_marked(self) -> bool:
        """Whether it has belonged to a store before."""
        return os.fstat(self.fd).st_size > 0

    def close(self) -> None:
        """In a forked process too: the lock stays with the other one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def marks(path: str, database: str) -> bool:
    """Whether the lock at `path` says that it belongs to this very file, and not to one that this was copied
    from."""
    try:
        with open(path, "rb") as file:
            return file.read(1_000) == _mark(database)
    except OSError:
        return False


def _mark(database: str) -> bytes:
    return (
        f"Whoever writes to the Penstock store beside this file locks it; it goes with that store, "
        f"file {os.stat(database).st_ino}.\n"
    ).encode()


def _holder(path: str) -> str:
    """Who holds the lock, as Linux tells it: the holder itself would have to write it down each time."""
    try:
        file = os.stat(path)
        place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                fields = line.split()
                if fields[1] == "FLOCK" and fields[5] == place:
                    return f"process {fields[4]}"
    except (OSError, IndexError):
        pass
    return "another process"
