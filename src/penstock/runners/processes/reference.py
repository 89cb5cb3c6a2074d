"""How functions travel: as the name of a module and of what stands in it, never as code.

The main module travels by its path, and is loaded under another name: a guard `if __name__ == "__main__":`
holds there. What no name leads to, a lambda or a function made by another one, needs cloudpickle.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

MAIN = "__main__"
MAIN_THERE = "__mp_main__"  # the name that multiprocessing gives it too: so both mean one module

_WRAPPED = 16  # how many layers around a function are looked through


_CACHED = type(cache(len))
_GUARD = 'it stands under `if __name__ == "__main__":`, which holds in this process only'
_GUARDS = ("__name__ == '__main__'", "'__main__' == __name__")


class CannotTravel(ValueError):
    """A function that no other process can find."""


class Main(NamedTuple):
    """Where the main module is.

    Attributes:
        path: Of its file.
        package: The package for its relative imports; empty without one.
    """

    path: str
    package: str


class World(NamedTuple):
    """What a process must know to find what this one can find.

    Attributes:
        path: As `sys.path`.
        argv: As `sys.argv`.
        main: None if it has no file.
        files: Modules that were loaded from a file which their name does not lead to, and that file.
    """

    path: list[str]
    argv: list[str]
    main: Main | None
    files: dict[str, str]


_given_main: Main | None = None  # in a worker: what it was told
_loading = False


def check_function(call: Callable[..., Any]) -> None:
    """Whether a function can travel to a process; nothing is sent, and nothing is loaded.

    Raises:
        ValueError: It cannot; the text says why and what to do.
    """
    pack_function(call)


def pack_function(call: Any) -> bytes:
    """A function as bytes, for `pickle.loads` in a worker.

    Raises:
        CannotTravel: It cannot be found from another process, or what is bound to it cannot be pickled.
    """
    from io import BytesIO

    out = BytesIO()
    try:
        Pickler(out, 5).dump(call)
    except CannotTravel:
        raise
    except Exception as error:
        raise CannotTravel(f"{name_of(call)} cannot travel to a process: {error}") from None
    return out.getvalue()


class Pickler(pickle.Pickler):
    """Pickles functions by reference, also where their name has become the name of a step."""

    def reducer_override(self, value: Any) -> Any:
        """See `pickle`."""
        if isinstance(value, FunctionType):
            return NotImplemented if value is find else _reduce(value)
        if isinstance(value, type):
            if value.__module__ != MAIN:
                return by_value(value) if _came_by_value(value) else NotImplemented
            if _is_guarded(value):
                return by_value(value, _GUARD)
            return by_value(value) if main() is None else NotImplemented
        if isinstance(value, _CACHED):
            return _reduce(value)
        lent = is_lent(value)
        if lent is not None:  # its keeper is the run's, and stays
            return lent, (value.call, value.resources, value.inputs, value.run, None, value.stream)
        return NotImplemented


def is_lent(value: Any) -> Any:
    """The class of calls that open resources first, if this is one; what nobody has loaded, nobody uses."""
    resources: Any = sys.modules.get("penstock.core.resources")
    return resources.LentCall if resources is not None and type(value) is resources.LentCall else None


def main() -> Main | None:
    """Where the main module of this program is; None if it was typed in, or stands in a notebook."""
    if _given_main is not None:
        return _given_main
    module = sys.modules.get(MAIN)
    spec = getattr(module, "__spec__", None)
    path = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    if not path or not os.path.isfile(path):
        return None
    return Main(os.path.abspath(path), getattr(spec, "parent", None) or "")


def guarded() -> frozenset[str]:
    """The functions and classes that the main module has only where it is run, and not where it is loaded."""
    here = main()
    return frozenset() if here is None else _guarded(here.path)


@cache
def _guarded(path: str) -> frozenset[str]:
    import ast

    try:
        with open(path, "rb") as file:
            text = file.read()
        body = ast.parse(text).body if b"__main__" in text else []
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    names: tuple[set[str], set[str]] = (set(), set())
    todo: list[tuple[Any, bool]] = [(one, False) for one in body]
    while todo:
        one, inside = todo.pop()
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[inside].add(one.name)
            continue
        is_guard = isinstance(one, ast.If) and ast.unparse(one.test) in _GUARDS
        for field in ("body", "handlers", "orelse", "finalbody"):
            below = inside or (is_guard and field == "body")
            todo += [(inner, below) for inner in getattr(one, field, ()) if isinstance(inner, ast.AST)]
    return frozenset(names[True] - names[False])


def _came_by_value(value: type) -> bool:
    """Whether a class has no module here, or one with another class of its name: so it goes back."""
    found: Any = sys.modules.get(value.__module__)
    if found is None:
        return True
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return isinstance(found, type) and found is not value


def _is_guarded(value: Any) -> bool:
    return value.__qualname__.partition(".")[0] in guarded()


def world() -> World:
    """What a worker is told about this process."""
    sys.modules.setdefault(MAIN_THERE, sys.modules[MAIN])  # what comes back names it so
    path = [os.path.abspath(one) if one else os.getcwd() for one in sys.path if isinstance(one, str)]
    return World(path, list(sys.argv), main(), _files())


def settle(given: World) -> None:
    """Makes this process find what the other one can find."""
    global _given_main
    _given_main = given.main
    sys.path[:] = given.path
    sys.argv[:] = given.argv
    if given.files:
        sys.meta_path.append(_Files(given.files))
    if given.main is not None:
        sys.modules[MAIN] = _Later(MAIN)


def refuse_while_loading() -> None:
    """Ends what would be an endless chain of processes.

    Raises:
        RuntimeError: The main module is being loaded for a worker, and starts processes as it is.
    """
    if _loading:
        raise RuntimeError(
            "the main module starts processes while it is imported, and every process imports it; "
            'put what it runs under: if __name__ == "__main__":'
        )


def find(module: str, file: str | None, path: str, layers: int) -> Any:
    """The function that a reference means.

    Args:
        module: Its name.
        file: Where it was loaded from, if the name alone does not lead there.
        path: Of the function in the module, with dots.
        layers: How many times what stands there must be unwrapped.
    """
    found: Any = _load(module, file)
    for name in path.split("."):
        found = getattr(found, name)
    for _ in range(layers):
        found = found.__wrapped__
    return found


def name_of(call: Any) -> str:
    """What error texts call a function."""
    name = getattr(call, "__qualname__", None) or getattr(getattr(call, "func", None), "__qualname__", None)
    return repr(name) if isinstance(name, str) else f"a {type(call).__name__}"


def by_value(value: Any, why: str = "") -> tuple[Any, ...]:
    """How to pickle what no name leads to.

    Raises:
        CannotTravel: It takes cloudpickle, which is not installed.
    """
    try:
        cloudpickle = import_module("cloudpickle")
    except ImportError:
        why = why or "it stands in an interactive session"
        raise CannotTravel(
            f"{name_of(value)} cannot travel to a process: {why}, and a process finds things by their module "
            f"and name; put it {'above that' if why is _GUARD else 'at the top of a module'}, "
            "or install penstock[cloudpickle]"
        ) from None
    return cloudpickle.loads, (cloudpickle.dumps(value),)


def _reduce(function: Any) -> Any:
    name, path = function.__module__, function.__qualname__
    module = sys.modules.get(name) if isinstance(name, str) else None
    if "<lambda>" in path:
        return by_value(function, "it is a lambda")
    if "<locals>" in path:
        return by_value(function, "it is defined inside another function")
    if module is None or not _has_home(module):
        return by_value(function)
    if name == MAIN and _is_guarded(function):
        return by_value(function, _GUARD)
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    for layers in range(_WRAPPED):
        if found is function:
            return find, (name, _file_of(module), path, layers)
        found = getattr(found, "__wrapped__", None)
        if found is None:
            break
    return by_value(function, f"in module {name!r} its name means something else")


def _has_home(module: ModuleType) -> bool:
    """Whether another process can load it."""
    if module.__name__ in (MAIN, MAIN_THERE) or module is sys.modules.get(MAIN):
        return main() is not None
    return getattr(module, "__spec__", None) is not None


def _file_of(module: ModuleType) -> str | None:
    if module.__name__ in (MAIN, MAIN_THERE):
        return None
    file = getattr(module, "__file__", None)
    return os.path.abspath(file) if file and file.endswith(".py") else None


def _files() -> dict[str, str]:
    """The modules whose names do not lead to their files: loaded by path, like a target of the command line.

    Only those at the top are looked at; others are found through their packages.
    """
    folders = {os.path.abspath(path) for path in sys.path if isinstance(path, str)}
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name in (MAIN, MAIN_THERE) or not isinstance(file, str) or not file.endswith(".py"):
            continue
        folder, base = os.path.split(os.path.abspath(file))
        if base == "__init__.py":
            folder, base = os.path.split(folder)
        if base.removesuffix(".py") != name or folder not in folders:
            found[name] = file
    return found


def _load(name: str, file: str | None) -> ModuleType:
    if name in (MAIN, MAIN_THERE):
        return main_there()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if file is None or not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise
    return _from_file(name, file)


def main_there() -> ModuleType:
    """The main module, in a worker: loaded at first use, under the name `__mp_main__`."""
    global _loading
    here = sys.modules.get(MAIN)
    if not isinstance(here, _Later):
        assert here is not None
        return here
    assert _given_main is not None
    _loading = True
    try:
        module = _from_file(MAIN_THERE, _given_main.path, _given_main.package)
    finally:
        _loading = False
    sys.modules[MAIN] = module
    return module


def _from_file(name: str, file: str, package: str = "") -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module", name=name, path=file)
    module = module_from_spec(spec)
    if package:  # of a module run with -m: its relative imports are those of the name it had there
        module.__package__, module.__spec__ = package, None
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)  # it may have been asked for once more meanwhile, and be gone already
        raise
    return module


class _Later(ModuleType):
    """The main module before somebody needs it: most workers never do, and to load it runs its code."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(main_there(), name)


class _Files:
    """Finds modules of `World.files`, for what is unpickled by the names of its classes."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """See `importlib.abc.MetaPathFinder`."""
        from importlib.util import spec_from_file_location

        file = self._files.get(name)
        return spec_from_file_location(name, file) if file is not None else None
