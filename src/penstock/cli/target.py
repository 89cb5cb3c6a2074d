"""From ``file.py:name`` to an object that can be run. Only the named file is imported."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from penstock.core.errors import GraphError, PenstockError, nearest
from penstock.core.graph import Graph
from penstock.core.model import Input
from penstock.core.ports import Runnable

from .exits import FAILED, GRAPH, Misuse

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DIALECTS = os.path.join(_OURS, "dialects") + os.sep


HELP = "file.py, file.py:name, package.module or package.module:name"


class Target(NamedTuple):
    """What to run, found.

    Attributes:
        object: It.
        name: Of the variable that holds it.
        where: File or module, as given.
    """

    object: Runnable
    name: str
    where: str


def load(words: str) -> Target:
    """Imports the file or module of a target and finds the object in it.

    Raises:
        Misuse: There is no such file, module or object, or more than one object, or the import raises.
    """
    where, name = split(words)
    module = _load_file(Path(where)) if is_file(where) else _load_module(where)
    if name is not None:
        return Target(_named(module, where, name), name, where)
    found = whole(runnables(vars(module)))
    if len(found) == 1:
        ((name, thing),) = found.items()
        return Target(thing, name, where)
    if not found:
        builder = next((name for name, value in vars(module).items() if _builds(value)), None)
        mend = f"\n{builder} is a builder; {_say_build(builder)}" if builder is not None else ""
        raise Misuse(f"{where}: there is no flow in it, nor anything else that can be run{mend}")
    names = list(found)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    raise Misuse(
        f"{where}: there are {len(names)} flows in it: {', '.join(names[:8])}{more}\n"
        f"say which: {where}:{names[0]}"
    )


def shape(target: Target) -> tuple[Graph, list[Input]]:
    """The graph and the inputs of a target.

    Raises:
        Misuse: It has none that is valid.
    """
    try:
        return target.object.graph(), list(target.object.inputs())
    except Exception as error:
        where, says_what = f"{target.where}:{target.name}", (NotImplementedError, TypeError, ValueError)
        if isinstance(error, PenstockError) or (isinstance(error, says_what) and not _place(error)):
            raise Misuse(f"{where}: {error}", GRAPH) from None
        raise Misuse(f"{where} raised", trace=users_trace(error)) from None


def runnables(names: Mapping[str, Any]) -> dict[str, Runnable]:
    """What can be run among the values of a module, each once, by its first name."""
    found: dict[str, Runnable] = {}
    seen: set[int] = set()
    for name, value in list(names.items()):
        if not name.startswith("__") and id(value) not in seen and can_run(value):
            seen.add(id(value))
            found[name] = value
    return found


def whole(found: Mapping[str, Runnable]) -> dict[str, Runnable]:
    """The same without those that are but parts of others among them."""
    parts = [getattr(value, "parts", None) for value in found.values()]
    inner = {
        id(getattr(part, "inner", None))
        for some in parts
        if isinstance(some, Mapping)
        for part in some.values()
    }
    return {name: value for name, value in found.items() if id(value) not in inner}


def can_run(value: object) -> bool:
    """Whether it satisfies the port: an object with its methods, not a class that has them."""
    if isinstance(value, (type, ModuleType)):
        return False
    try:
        return isinstance(value, Runnable)
    except Exception:  # an object whose attributes raise is none of ours
        return False


def split(words: str) -> tuple[str, str | None]:
    if os.path.exists(words):
        return words, None
    where, colon, name = words.rpartition(":")
    if colon and where and _NAME.fullmatch(name):
        return where, name
    return words, None


def is_file(where: str) -> bool:
    if where.endswith(".py") or os.sep in where or "/" in where or os.path.isfile(where):
        return True
    return os.path.exists(where) and not _NAME.fullmatch(where)


def _named(module: ModuleType, where: str, name: str) -> Runnable:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            found = runnables(vars(module))
            near = nearest(name, found) or _choice("it has", found)
            raise Misuse(f"{where}: there is no {name!r} in it{near}") from None
    if not can_run(value):
        what = "a class" if isinstance(value, type) else f"of type {type(value).__name__}"
        mend = _choice("it has", runnables(vars(module)))
        if _builds(value):
            mend = f"; {_say_build(name)}"
        raise Misuse(f"{where}: {name!r} cannot be run, it is {what}{mend}")
    found_value: Runnable = value
    return found_value


def _builds(value: object) -> bool:
    """Whether it is something of ours that makes what can be run."""
    kind = type(value)
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0] and hasattr(kind, "build")


def _say_build(name: str) -> str:
    return f"say for example pipeline = {name}.build()"


def value_of(words: str) -> Any:
    """What a name stands for in a file or module, which is imported unless it has been.

    Raises:
        Misuse: There is no such file, module or name, or the import raises.
    """
    where, name = split(words)
    if name is None:
        raise Misuse(f"{words!r} is neither file.py:name nor package.module:name")
    file = is_file(where)
    module = _loaded(Path(where)) or _load_file(Path(where)) if file else _load_module(where)
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            names = [one for one in vars(module) if not one.startswith("_")]
            raise Misuse(f"{where}: there is no {name!r} in it{nearest(name, names)}") from None
    return value


def _loaded(path: Path) -> ModuleType | None:
    """The module of that file, if there is one: its classes and globals must not be there twice."""
    file = path.resolve()
    for module in reversed(list(sys.modules.values())):
        its = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(its, str) and os.path.basename(its) == file.name and Path(its).resolve() == file:
            return module
    return None


def _choice(words: str, names: Iterable[str]) -> str:
    some = list(names)
    return f"; {words} {', '.join(some[:8])}{' …' if len(some) > 8 else ''}" if some else ""


def _load_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise Misuse(f"{path} is a folder; to see what can be run in it: penstock list {path}")
    if not path.is_file():
        raise Misuse(f"there is no file {str(path)!r}{_near_file(path)}")
    if path.suffix != ".py":
        raise Misuse(f"{path} is not a Python file")
    file = path.resolve()
    sys.path.insert(0, str(file.parent))
    name = file.stem
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "_target_" + re.sub(r"\W", "_", name)
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _raised(str(path), error) from None
    return module


def _near_file(path: Path) -> str:
    try:
        names = [one.name for one in path.parent.iterdir() if one.suffix == ".py"]
    except OSError:
        return f"; there is no folder {str(path.parent)!r} either"
    return nearest(path.name, names)


def _load_module(name: str) -> ModuleType:
    if not _NAME.fullmatch(name):
        raise Misuse(f"{name!r} is neither a Python file nor a module")
    sys.path.insert(0, os.getcwd())
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _raised(name, error) from None
        raise Misuse(f"there is no module {name!r}{_near_module(name)}") from None
    except (Exception, SystemExit) as error:
        raise _raised(name, error) from None


def _near_module(name: str) -> str:
    *package, _ = name.split(".")
    try:
        stems = [one.stem for one in Path(*package).iterdir() if one.suffix == ".py" or one.is_dir()]
    except OSError:
        return ""
    return nearest(name, [".".join([*package, stem]) for stem in stems if stem.isidentifier()])


def _raised(where: str, error: BaseException) -> Misuse:
    """What a target raised while it was imported: the user's own frames; of a bad graph the place."""
    if isinstance(error, GraphError):
        return Misuse(f"{_place(error) or where}: {error}", GRAPH)
    return Misuse(f"{where} cannot be imported", trace=users_trace(error))


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return f"{_relative(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def of_theirs(target: Target, error: Exception) -> Misuse | None:
    """What to say of an error that is none of ours, and left a run; None if it is a bug of ours.

    It is the user's code that raised it, or a dialect that would not have what it was given.
    """
    file = traceback.extract_tb(error.__traceback__)[-1].filename
    if not _is_ours(file):
        return Misuse(f"{target.where}:{target.name} raised", FAILED, trace=users_trace(error))
    if file.startswith(_DIALECTS):
        return Misuse(f"{target.where}:{target.name}: {error}")
    return None


def users_trace(error: BaseException) -> str:
    """The traceback of an error, without frames of ours and of the import system."""
    told = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    todo: list[traceback.TracebackException | None] = [told]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        kept = [frame for frame in one.stack if not _is_ours(frame.filename)]
        one.stack = traceback.StackSummary.from_list(kept)
        todo += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return "".join(told.format())


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen ")) or f"{os.sep}importlib{os.sep}" in file


def _relative(file: str) -> str:
    try:
        path = os.path.relpath(file)
    except ValueError:
        return file
    return file if path.startswith("..") else path
