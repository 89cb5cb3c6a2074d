"""How functions travel to machines that do not see the driver's files: by value, with cloudpickle."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from penstock.runners.processes import reference

_OURS = __name__.partition(".")[0]


class ByValue(reference.Pickler):
    """Pickles by value what stands in the modules of the user's program.

    Everything else is found by its name, and must be installed at the workers.
    """

    def reducer_override(self, value: Any) -> Any:
        """See `pickle`."""
        if isinstance(value, (FunctionType, type)) and _is_of_program(value.__module__):
            _register()
            if isinstance(value, type):
                return _class_by_value(value)
            return reference.by_value(value, "the workers do not see the file that it stands in")
        return super().reducer_override(value)


def files() -> dict[str, str]:
    """The files of the user's program, that is of its modules that are not installed; with digests."""
    found = {}
    for module in list(sys.modules.values()):
        path = _file_of(module)
        if path and (digest := digest_of(path)):
            found[path] = digest
    return found


def sees(files: Mapping[str, str]) -> bool:
    """Whether this process finds these very files."""
    return all(digest_of.__wrapped__(path) == digest for path, digest in files.items())


@cache
def digest_of(path: str) -> str:
    """Of a file; empty if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=16).hexdigest()
    except OSError:
        return ""


def _is_of_program(name: str | None) -> bool:
    module = sys.modules.get(name or "")
    return module is not None and bool(_file_of(module))


def _class_by_value(value: type) -> tuple[Any, ...]:
    """A class travels with every value of it, so it is pickled once."""
    known = _classes.get(value)
    if known is None:
        why = "the workers do not see the file that it stands in"
        known = _classes[value] = reference.by_value(value, why)
    return known


_classes: WeakKeyDictionary[type, tuple[Any, ...]] = WeakKeyDictionary()


def _register() -> None:
    """Has cloudpickle do the same to whatever these functions and classes refer to."""
    try:
        register = import_module("cloudpickle").register_pickle_by_value
    except ImportError:  # said by whoever uses it
        return
    for module in list(sys.modules.values()):
        if module.__name__ not in _known and _file_of(module) and module is not sys.modules[reference.MAIN]:
            _known.add(module.__name__)
            register(module)


_known: set[str] = set()


def _file_of(module: ModuleType) -> str:
    """The file of a module of the program; empty if it is installed, or has none, or is this library's."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or _package(module) == _OURS:
        return ""
    path = os.path.abspath(file)
    return "" if path.startswith(_installed()) else path


def _package(module: ModuleType) -> str:
    return module.__name__.partition(".")[0]


@cache
def _installed() -> tuple[str, ...]:
    """The folders of the standard library, and of what is installed."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(os.path.join(os.path.abspath(path), "") for path in paths if path)
