"""Where code is written: the files of the project, what their modules call by which name, and who made it.

Nothing is imported here and no code runs: files are read as text.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from .fingerprint_loaded import is_current, may_be_edited
from .fingerprint_reading import FUNCTIONS, Chain, Reading, bound_in, parameters_of, read, root_of
from .fingerprint_values import file_of, names_of
from .fingerprint_variables import changed_in, made_in, made_of, uses

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_US = __name__.partition(".")[0]
_DEPTH = 20
"""How often a name may lead to another name: imports that run in a circle end here."""


@lru_cache(maxsize=10_000)
def is_project(path: str) -> bool:
    """Whether a file belongs to the project: not to Python, nor to what was installed, nor to this library.

    What has no file, as code typed into a prompt, belongs to it.
    """
    if path.startswith("<"):
        return not path.startswith("<frozen")
    path = os.path.abspath(path)
    parts = path.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not path.startswith(_libraries())


@lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    found = [OURS, os.path.dirname(os.path.abspath(os.__file__))]
    for base in (sys.base_prefix, sys.base_exec_prefix):
        found += [os.path.join(base, lib, version) for lib in ("lib", "lib64")]
    return tuple([folder + os.sep for folder in found])


def is_us(module: Any) -> bool:
    """Whether a module of this name is one of ours."""
    return isinstance(module, str) and module.partition(".")[0] == _US


class Place(NamedTuple):
    """What a name leads to.

    Attributes:
        source: The file, if it is one of the project.
        name: What it is called there; empty for the whole file.
        foreign: The full name of what belongs to a library; of ours, nothing.
    """

    source: Source | None
    name: str = ""
    foreign: str = ""


class Source:
    """One file.

    Attributes:
        name: Of the module, as imports call it.
        path: Of the file.
        is_file: It can be found again; False of a cell of a notebook.
        tree: Its syntax.
        bindings: By name, what at the level of the module makes it or changes it.
        variables: Names that functions rebind.
    """

    def __init__(self, name: str, package: str, path: str, data: bytes | str, is_file: bool) -> None:
        self.name = name
        self.path = path
        self.is_file = is_file
        self.tree = ast.parse(data)
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.variables: set[str] = set()
        self._package = package
        self._imports: dict[str, list[tuple[str, Chain]]] = {}
        self._stars: list[str] = []
        self._functions: dict[int, list[Any]] = {}
        self._classes: dict[str, list[ast.ClassDef]] = {}
        self._readings: dict[tuple[int, ...], Reading] = {}
        self._around: dict[int, tuple[Any, ...]] = {}
        self._changed: dict[int, tuple[set[str], set[str]]] = {}
        self._bind(self.tree.body)
        for word in self._imports:  # `logging.basicConfig()` does not make `logging`
            kept = [one for one in self.bindings.pop(word, ()) if _makes(one, word)]
            if kept:
                self.bindings[word] = kept
        self._index()

    def reading(self, nodes: Iterable[ast.AST], files: Files, around: tuple[Any, ...] = ()) -> Reading:
        """What some nodes of it say, read as one; they stand in the functions `around` them."""
        nodes = [*nodes]
        key = tuple(map(id, nodes))
        found = self._readings.get(key)
        if found is None:
            found = read(nodes, lambda expression: files.is_ours(self, expression), around)
            self._readings[key] = found
        return found

    def function(self, code: CodeType) -> Any:
        """The node of a function, or None if it is not here."""
        found = [
            one
            for one in self._functions.get(code.co_firstlineno, ())
            if getattr(one, "name", "<lambda>") == code.co_name
        ]
        if len(found) > 1:
            span = _span(code)
            found = [one for one in found if isinstance(one, ast.Lambda) and _body_span(one) == span]
        return found[0] if len(found) == 1 else None

    def classes(self, qualname: str) -> list[ast.ClassDef]:
        """The nodes of a class: more than one where its definition depends on something."""
        return self._classes.get(qualname, [])

    def around(self, node: ast.AST) -> tuple[Any, ...]:
        """The functions that a node of a function or class stands in, outermost first."""
        return self._around.get(id(node), ())

    def changed_around(self, node: Any) -> tuple[set[str], set[str]]:
        """What is changed in place by the code that a function or class stands in: see `changed_in`."""
        outer = (*self.around(node), node)[0]
        found = self._changed.get(id(outer))
        if found is None:
            found = self._changed[id(outer)] = changed_in(outer)
        return found

    def made_inside(self, around: tuple[Any, ...], name: str) -> list[ast.expr]:
        """What a variable of the functions `around` is made of, if their own variables have no part in it."""
        own = [bound_in(function) for function in around]
        at = max((at for at, names in enumerate(own) if name in names), default=-1)
        if at < 0:
            return []
        made = made_in(around[at], ast.Name, name)
        theirs = {one for names in own[: at + 1] for one in names}
        return [] if name in parameters_of(around[at]) or uses(made, theirs) else made

    def absolute(self, level: int, module: str) -> str:
        """The full name of a module that an import names."""
        if not level:
            return module
        parts = self._package.split(".")
        parts = parts[: len(parts) - level + 1]
        return ".".join([*parts, module] if module else parts)

    def imported(self, name: str) -> Iterator[tuple[str, Chain]]:
        """Where a name comes from, if that is another module: the module, and the names in it."""
        yield from self._imports.get(name, ())
        if name not in self._imports:
            yield from ((module, (name,)) for module in self._stars)

    def _bind(self, statements: Iterable[ast.stmt]) -> None:
        for one in statements:
            if isinstance(one, (*FUNCTIONS, ast.ClassDef)):
                self.bindings.setdefault(one.name, []).append(one)
                for called in map(root_of, one.decorator_list):
                    if len(called) > 1:  # @table.register
                        self.bindings.setdefault(called[0], []).append(one)
            elif isinstance(one, ast.Import):
                for each in one.names:
                    first = each.name if each.asname else each.name.partition(".")[0]
                    self._imports.setdefault(each.asname or first, []).append((first, ()))
            elif isinstance(one, ast.ImportFrom):
                module = self.absolute(one.level, one.module or "")
                for each in one.names:
                    if each.name == "*":
                        self._stars.append(module)
                    else:
                        self._imports.setdefault(each.asname or each.name, []).append((module, (each.name,)))
            elif isinstance(one, (ast.If, ast.Try, ast.TryStar, ast.With)):
                for part in ast.iter_child_nodes(one):
                    if isinstance(part, ast.ExceptHandler):
                        self._bind(part.body)
                    elif isinstance(part, ast.stmt):
                        self._bind([part])
                    elif isinstance(part, ast.withitem):
                        self._note(part, one)
            else:
                self._note(one, one)

    def _note(self, node: ast.AST, statement: ast.stmt) -> None:
        """Notes all names that a node stores, or changes in place, as made by a statement."""
        names, _ = changed_in(node)
        names.update(
            one.id
            for one in ast.walk(node)
            if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
        )
        if isinstance(node, ast.Expr) and len(called := root_of(node.value)) > 1:
            names.add(called[0])
        for name in names:
            self.bindings.setdefault(name, []).append(statement)

    def _index(self) -> None:
        todo: list[tuple[ast.AST, str, tuple[Any, ...]]] = [(self.tree, "", ())]
        while todo:
            node, prefix, around = todo.pop()
            for one in ast.iter_child_nodes(node):
                here = prefix, around
                if isinstance(one, ast.ClassDef):
                    self._classes.setdefault(prefix + one.name, []).append(one)
                    here = f"{prefix}{one.name}.", around
                elif isinstance(one, (*FUNCTIONS, ast.Lambda)):
                    name, decorators = getattr(one, "name", "<lambda>"), getattr(one, "decorator_list", ())
                    line = decorators[0].lineno if decorators else one.lineno
                    self._functions.setdefault(line, []).append(one)
                    here = f"{prefix}{name}.<locals>.", (*around, one)
                elif isinstance(one, ast.Global):
                    self.variables.update(one.names)
                if around and isinstance(one, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
                    self._around[id(one)] = around
                todo.append((one, *here))


def _span(code: CodeType) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """From where to where a code object goes in its file."""
    starts, ends = [], []
    for line, end, column, end_column in code.co_positions():
        if None in (line, end, column, end_column) or (line, column) == (end, end_column):
            continue
        starts.append((line or 0, column or 0))
        ends.append((end or 0, end_column or 0))
    return (min(starts), max(ends)) if starts else None


def _body_span(node: ast.Lambda) -> tuple[tuple[int, int], tuple[int, int]]:
    body = node.body
    return (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)


_PARSED: dict[str, tuple[tuple[int, int], Source | None]] = {}
"""Files that this process has read, with the time and size that they had."""


class Files:
    """The files of the project, looked at once each. Safe in any thread."""

    def __init__(self) -> None:
        self._sources: dict[str, Source | None] = {}
        self._paths: dict[str, str | None] = {}

    def of_code(self, code: CodeType, names: dict[str, Any]) -> Source | None:
        """The file of a function.

        Args:
            code: Its code.
            names: What is global to it.
        """
        path = code.co_filename
        if not path.startswith("<") and not os.path.isabs(path):
            path = str(names.get("__file__") or path)
        return self._source(
            path, str(names.get("__name__") or ""), str(names.get("__package__") or ""), names
        )

    def of_module(self, name: str) -> Source | None:
        """The file of a module of the project, whether or not that is loaded."""
        path = self._path(name)
        if path is None or not is_project(path):
            return None
        package = name if os.path.basename(path).startswith("__init__.") else name.rpartition(".")[0]
        return self._source(path, name, package, None)

    def places(self, source: Source, chain: Chain, depth: int = _DEPTH) -> list[Place]:
        """Where a name leads that is used in a file; nothing if that does not say."""
        found: list[Place] = []
        if chain[0] in source.bindings:
            found.append(Place(source, chain[0]))
        for module, names in source.imported(chain[0]) if depth else ():
            found += self.places_in(module, (*names, *chain[1:]), depth - 1)
        return found

    def places_in(self, module: str, names: Chain, depth: int = _DEPTH) -> list[Place]:
        """Where names lead that are looked up in a module."""
        source = self.of_module(module)
        if source is None:
            if is_us(module):
                return [Place(None)]
            within = bool(names) and self._is_folder(module)
            if within and self._path(f"{module}.{names[0]}") is not None:
                return self.places_in(f"{module}.{names[0]}", names[1:], depth)
            path = self._path(module)
            if path is not None and is_project(path):
                return []  # it cannot be read: the objects are asked
            return [Place(None, foreign=".".join((module, *names[:1])))]
        if not names:
            return [Place(source)]
        found = self.places(source, names, depth)
        if not found and self._path(f"{module}.{names[0]}") is not None and depth:
            return self.places_in(f"{module}.{names[0]}", names[1:], depth - 1)
        if not found and "__getattr__" in source.bindings:
            return [Place(source, "__getattr__")]
        return found

    def is_ours(self, source: Source, expression: ast.expr, depth: int = 5) -> bool | None:
        """Whether this library makes an expression: `use(step)`, `flow.step`. None if nobody can tell."""
        chain = root_of(expression)
        if not chain:
            return False
        found = self.places(source, chain)
        if not found:
            return False if chain[0] in _BUILTINS else None
        for place in found:
            if place.source is None:
                if place.foreign:
                    return False
                continue
            made = [*made_of(place.source.bindings.get(place.name, ()), place.name)]
            if not made or not depth:
                return False
            if not all(self.is_ours(place.source, value, depth - 1) for value in made):
                return False
        return True

    def _source(self, path: str, name: str, package: str, names: dict[str, Any] | None) -> Source | None:
        if path in self._sources:
            return self._sources[path]
        try:
            about = os.stat(path)
            stamp = about.st_mtime_ns, about.st_size
        except (OSError, ValueError):
            stamp = 0, 0
        kept = _PARSED.get(path)
        if kept is None or kept[0] != stamp or stamp == (0, 0):
            try:
                made = _parsed(path, name, package, names, is_file=stamp != (0, 0))
            except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
                made = None
            kept = _PARSED[path] = stamp, made
        found = kept[1]
        if found is not None and found.is_file and not _is_current(found, stamp[0]):
            found = None
        self._sources[path] = found
        return found

    def _path(self, name: str) -> str | None:
        """The file of a module; None for one that has none of its own, or that is not found."""
        if name not in self._paths:
            self._paths[name] = self._look_for(name)
        return self._paths[name]

    def _look_for(self, name: str) -> str | None:
        above, _, last = name.rpartition(".")
        loaded = sys.modules.get(name)
        if loaded is not None:
            path = file_of(loaded)
            return path if path.endswith(".py") else None
        if not above and last in sys.stdlib_module_names:
            return None
        for folder in self._folders(above):
            for path in (os.path.join(folder, last, "__init__.py"), os.path.join(folder, f"{last}.py")):
                if os.path.isfile(path):
                    return path
        return None

    def _folders(self, package: str) -> list[str]:
        """Where the modules of a package are; for an empty name, where all others are."""
        if not package:
            return [path or os.getcwd() for path in sys.path if isinstance(path, str)]
        loaded = sys.modules.get(package)
        if loaded is not None:
            return [str(path) for path in names_of(loaded).get("__path__") or ()]
        path = self._path(package)
        if path is not None:
            return [os.path.dirname(path)] if os.path.basename(path) == "__init__.py" else []
        above, _, last = package.rpartition(".")
        folders = [os.path.join(folder, last) for folder in self._folders(above)]
        return [folder for folder in folders if os.path.isdir(folder)]

    def _is_folder(self, package: str) -> bool:
        """Whether a package has no file of its own, only a folder."""
        if package.partition(".")[0] in sys.stdlib_module_names or self._path(package) is not None:
            return False
        return any(is_project(folder) for folder in self._folders(package))


def _is_current(source: Source, changed: int) -> bool:
    module = sys.modules.get(source.name)
    if module is None or file_of(module) != source.path or not may_be_edited(changed / 1e9):
        return True
    try:
        return is_current(source.tree, source.path, module)
    except (RecursionError, MemoryError, SyntaxError, ValueError):
        return False


def _makes(statement: ast.stmt, name: str) -> bool:
    """Whether a statement makes something of this name, and does not only use it."""
    return getattr(statement, "name", name) == name and not isinstance(statement, ast.Expr)


def _parsed(
    path: str, name: str, package: str, names: dict[str, Any] | None, *, is_file: bool
) -> Source | None:
    if is_file and path.endswith(".py"):
        with open(path, "rb") as file:
            return Source(name, package, path, file.read(), True)
    import linecache

    lines = linecache.getlines(path, names)
    return Source(name, package, path, "".join(lines), is_file) if lines else None


_BUILTINS = frozenset(dir(__builtins__)) if not isinstance(__builtins__, dict) else frozenset(__builtins__)
