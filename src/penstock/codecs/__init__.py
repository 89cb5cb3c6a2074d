"""Sockets of the codec for the types of other libraries: each is loaded when a value or a stored form asks.

None of these libraries is needed by Penstock; who has a value of theirs has the library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from penstock.core.codec import Socket
from penstock.core.errors import CannotDecode

_HOME = {
    "numpy": "numpy",
    "pyarrow": "arrow",
    "pandas": "pandas",
    "polars": "polars",
    "pydantic": "pydantic",
}
"""By the name of a library: the module here that knows it. The forms of a library begin with its name."""


def find(word: str) -> Socket | None:
    """The socket of a library, if there is one.

    Args:
        word: Its name, as the first part of a module's or of a form's.

    Raises:
        CannotDecode: It is not installed.
    """
    home = _HOME.get(word)
    if home is None:
        return None
    if find_spec(word) is None:
        raise CannotDecode(f"a stored value is one of {word}, which is not here; pip install {word}")
    try:
        module: Any = import_module(f"{__name__}.{home}")
    except (
        ImportError,
        AttributeError,
    ) as error:  # too old, or something else of its name
        raise CannotDecode(f"a stored value is one of {word}, which does not work here: {error}") from error
    socket: Socket = module.socket
    return socket
