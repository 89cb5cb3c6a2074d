"""Pickle, for applications that ask for it: every pickle is signed, and none is read before that is checked.

A pickle can run any code when it is read. The signature tells that this very application has written it: its
key must not lie where the pickles lie.
"""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path
from typing import Any

from .errors import CannotDecode, StoreError

_LEAST = 16  # bytes of a key
_ABOUT = b"penstock pickle 1\0"  # what is signed with the key elsewhere does not count as a pickle
_NEW = 32


class Signer:
    """Signs pickles with HMAC-SHA256.

    Args:
        key: 16 bytes or more, kept apart from the store.

    Raises:
        ValueError: The key is too short.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) < _LEAST:
            raise ValueError(f"Signer: the key is at least {_LEAST} bytes, such as secrets.token_bytes(32)")
        self._key = key

    @classmethod
    def from_user_config(cls) -> Signer:
        """A signer with the key of this user: `$XDG_CONFIG_HOME/penstock/pickle.key`, or the same below
        `~/.config`. It is made when it is first asked for; nobody else may read it.

        Raises:
            StoreError: The file belongs to somebody else, can be read by others, or holds no key.
        """
        base = os.environ.get("XDG_CONFIG_HOME", "")
        folder = (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "penstock"
        path = folder / "pickle.key"
        try:
            return cls(_read(path))
        except FileNotFoundError:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
            return cls(_read(path))

    def sign(self, body: bytes) -> str:
        """The signature of a pickle, in hexadecimal digits."""
        return hmac.new(self._key, _ABOUT + body, "sha256").hexdigest()

    def load(self, body: bytes, mac: Any) -> Any:
        """Reads a pickle, if it is one of our own.

        Raises:
            CannotDecode: The signature is not of this key, and not one byte was read.
        """
        given = mac.encode("ascii", "replace") if type(mac) is str else b""
        if not hmac.compare_digest(self.sign(body).encode(), given):
            raise CannotDecode("a pickle is not signed with this key, so it was not read")
        import pickle

        return pickle.loads(body)  # noqa: S301 - its signature says that this application has written it

    def __repr__(self) -> str:
        return "Signer(***)"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Signer is not pickled: its key must not lie beside what it signs")


def _read(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        about = os.fstat(file)
        own = not hasattr(os, "getuid") or about.st_uid == os.getuid()
        alone = os.name != "posix" or not stat.S_IMODE(about.st_mode) & 0o077
        if not stat.S_ISREG(about.st_mode) or not own or not alone:
            raise StoreError(
                f"{path} holds the key for pickles and must be a file of yours that nobody else can read: "
                f"chmod 600 {path}"
            )
        key = os.read(file, 4096)
    finally:
        os.close(file)
    if len(key) < _LEAST:
        raise StoreError(f"{path} holds no key; if no pickle was signed with it yet, delete it")
    return key


def _create(path: Path) -> None:
    """Makes a key file that is there whole or not at all, also when two processes begin at the same time."""
    made = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(os.urandom(_NEW))
        os.link(made, path)
    except FileExistsError:  # somebody else was quicker: theirs is the key
        pass
    finally:
        os.unlink(made)
