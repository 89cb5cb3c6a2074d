"""Large values as files, each named by the SHA-256 of what is in it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256

from penstock.core.errors import StoreError, StoreFull, ValueLost

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DYING = ".dying"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20

KEPT = 3600.0  # seconds for which a value that no run speaks of stays: the page that will may be on its way


class ValueFiles:
    """A folder of values. A file in it is whole from the moment it has its name, and never changes.

    Args:
        folder: Where they lie; made with the first of them.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._seen: set[str] = set()  # that this process has written, or read and found right

    def put(self, body: bytes) -> str:
        """Stores a value, in a way that survives the loss of power, and gives its digest."""
        digest = sha256(body).hexdigest()
        path = self._path(digest)
        try:
            if not self._there(path, digest, body):
                self._write(path, body)
        except OSError as error:
            raise _store_error(error, path) from None
        if len(self._seen) < 100_000:
            self._seen.add(digest)
        return digest

    def get(self, digest: str) -> bytes:
        """A value as it was put.

        Raises:
            ValueLost: It is not there, or not what was put.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueLost(f"{digest!r} is no digest of a value")
        path = self._path(digest)
        body = None
        for name in (path, path + _DYING, path):  # whoever cleans up may be about to put it back
            try:
                body = _read(name)
                break
            except FileNotFoundError:
                pass
            except OSError as error:
                raise ValueLost(f"the value {path} cannot be read: {error.strerror}") from None
        if body is None:
            raise ValueLost(f"the value {path} is missing")
        if sha256(body).hexdigest() != digest:
            raise ValueLost(f"the value {path} is damaged: it is not what was put there")
        return body

    def sweep(self, now: float, unused: Callable[[list[str]], list[str]]) -> int:
        """Removes values that no run speaks of, and what dying processes have left; gives how many.

        Args:
            now: The time; what is younger than `KEPT` stays.
            unused: Of some digests those that no run speaks of.
        """
        gone = 0
        for folder, names in self._listed():
            old = [name for name in names if _older(os.path.join(folder, name), now - KEPT)]
            for name in unused([name for name in old if _DIGEST.fullmatch(name)]):
                gone += self._remove(os.path.join(folder, name), now - KEPT)
            for name in old:
                if not _DIGEST.fullmatch(name):  # unfinished, or dying when its remover died
                    _unlink(os.path.join(folder, name))
        return gone

    def digests(self) -> Iterator[str]:
        """Of all values that are there."""
        for _, names in self._listed():
            yield from (name for name in names if _DIGEST.fullmatch(name))

    def path_of(self, digest: str) -> str:
        return self._path(digest)

    def _path(self, digest: str) -> str:
        return os.path.join(self.folder, digest[:2], digest)

    def _there(self, path: str, digest: str, body: bytes) -> bool:
        """Whether the value is stored already, and is right; it counts as new from now on."""
        try:
            os.utime(path, follow_symlinks=False)
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode) or info.st_size != len(body):
                return False
            if digest in self._seen:
                return True
            return _read(path) == body
        except FileNotFoundError:
            return False

    def _write(self, path: str, body: bytes) -> None:
        folder = os.path.dirname(path)
        self._make(folder)
        unfinished = os.path.join(folder, f".{os.getpid()}-{os.urandom(6).hex()}")
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
        try:
            try:
                rest = memoryview(body)
                while rest:
                    rest = rest[os.write(fd, rest[: 64 * _CHUNK]) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(unfinished, path)
        except BaseException:
            _unlink(unfinished)
            raise
        _sync(folder)

    def _make(self, folder: str) -> None:
        for place in (self.folder, folder):
            try:
                os.mkdir(place, 0o700)
                _sync(os.path.dirname(place))
            except FileExistsError:
                pass

    def _remove(self, path: str, before: float) -> int:
        """Removes a value, unless somebody has just stored it again: that is seen after it was renamed."""
        dying = path + _DYING
        try:
            os.rename(path, dying)
            if not _older(dying, before):
                os.rename(dying, path)
                return 0
            os.unlink(dying)
        except OSError:
            return 0
        self._seen.discard(os.path.basename(path))
        return 1

    def _listed(self) -> Iterator[tuple[str, list[str]]]:
        try:
            folders = sorted(os.listdir(self.folder))
        except OSError:
            return
        for name in folders:
            folder = os.path.join(self.folder, name)
            if len(name) == 2 and not os.path.islink(folder) and os.path.isdir(folder):
                yield folder, sorted(os.listdir(folder))


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | _NOFOLLOW)
    with open(fd, "rb") as file:
        return file.read()


def _older(path: str, before: float) -> bool:
    try:
        return os.lstat(path).st_mtime < before
    except OSError:
        return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _sync(folder: str) -> None:
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _store_error(error: OSError, path: str) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"there is no space left for the value {path}; nothing was half written")
    wrong = StoreError(f"the value {path} cannot be written: {error.strerror}")
    wrong.transient = error.errno in (errno.EIO, errno.EAGAIN, errno.EINTR)
    return wrong
