"""Which files hold a flow, found by reading them. It must never import, or run, what it reads."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOPS = frozenset(
    {"Flow", "Pipeline", "PipelineBuilder", "PipelineDefinition", "Workflow", "PipelineExecutor"}
)
"""Classes whose objects can be run, by the name under which the faces offer them."""

ADDERS = frozenset({"step", "add", "stage", "parallel", "conditional", "add_stage", "add_task", "add_step"})
"""Methods that add one step each."""

LEFT_OUT = frozenset({"node_modules", "site-packages", "dist-packages", "__pycache__", "venv", "env"})
LARGEST = 2_000_000
"""Bytes; a file above that is data."""


class Found(NamedTuple):
    """One object that can be run.

    Attributes:
        file, line: Where it is assigned.
        variable: To what.
        name: What it calls itself; the variable where that is not a plain text.
        kind: Its class.
        steps: How many, where that can be counted by reading.
        doc: One line for people.
    """

    file: Path
    line: int
    variable: str
    name: str
    kind: str
    steps: int | None
    doc: str


class Unread(NamedTuple):
    """A file that could not be read, and why."""

    file: Path
    reason: str


def discover(path: Path) -> Iterator[Found | Unread]:
    """All that can be run in a file, or in the Python files below a folder: its own files first.

    Hidden folders, virtual environments and installed packages are left out. A file in which the word
    ``penstock`` does not occur is not parsed: nothing of ours can be in it.
    """
    for file in [path] if not path.is_dir() else _files(path):
        yield from read(file)


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_left_out(here, name))
        yield from (Path(here, name) for name in sorted(names) if name.endswith(".py"))


def _is_left_out(here: str, name: str) -> bool:
    return name.startswith(".") or name in LEFT_OUT or os.path.exists(os.path.join(here, name, "pyvenv.cfg"))


def read(file: Path) -> list[Found | Unread]:
    """All that can be run in one file."""
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            return [Unread(file, "it is not a file")]
        if state.st_size > LARGEST:
            return [Unread(file, f"it has {state.st_size:,} bytes; more than {LARGEST:,} are not read")]
        source = file.read_bytes()
        if b"penstock" not in source:
            return []
        tree = ast.parse(source, str(file))
    except OSError as error:
        return [Unread(file, error.strerror or type(error).__name__)]
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return [Unread(file, f"{where}{error.msg}")]
    except (ValueError, RecursionError, MemoryError) as error:
        return [Unread(file, str(error) or type(error).__name__)]
    return list(_Reader(file, tree).found())


class _Reader:
    """One parsed file."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        self._file = file
        self._tree = tree
        self._doc = _first_line(ast.get_docstring(tree) or "")
        self._modules: set[str] = set()  # names that stand for a module of ours
        self._classes: dict[str, str] = {}  # names that stand for a class of ours
        for node in tree.body:
            self._imported(node)

    def _imported(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "penstock":
                    self._modules.add(alias.asname or "penstock")
        elif isinstance(node, ast.ImportFrom) and _is_of_ours(node):
            for alias in node.names:
                if alias.name == "*":
                    self._classes.update({top: top for top in TOPS})
                elif alias.name in TOPS:
                    self._classes[alias.asname or alias.name] = alias.name
                else:
                    self._modules.add(alias.asname or alias.name)
        elif isinstance(node, (ast.If, ast.Try)):
            for inner in node.body:
                self._imported(inner)

    def found(self) -> Iterator[Found]:
        last: dict[str, Found] = {}
        for node in self._tree.body:
            if isinstance(node, ast.Assign):
                names, value = node.targets, node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                names, value = [node.target], node.value
            else:
                continue
            made = self._made(value)
            for target in names:
                if made is not None and isinstance(target, ast.Name):
                    last[target.id] = self._describe(target.id, node.lineno, *made)
        yield from sorted(last.values(), key=lambda one: one.line)

    def _made(self, value: ast.expr) -> tuple[str, ast.Call, int] | None:
        """The class, the call of it, and the steps added by calls chained to it."""
        chained = 0
        while isinstance(value, ast.Call):
            kind = self._class(value.func)
            if kind is not None:
                return kind, value, chained
            if not isinstance(value.func, ast.Attribute):
                return None
            chained += value.func.attr in ADDERS
            value = value.func.value
        return None

    def _class(self, func: ast.expr) -> str | None:
        if isinstance(func, ast.Name):
            return self._classes.get(func.id)
        if isinstance(func, ast.Attribute) and func.attr in TOPS:
            root: ast.expr = func
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in self._modules:
                return func.attr
        return None

    def _describe(self, variable: str, line: int, kind: str, call: ast.Call, chained: int) -> Found:
        words = {word.arg: word.value for word in call.keywords if word.arg}
        name = _text(words.get("name")) or (_text(call.args[0]) if call.args else "")
        doc = _text(words.get("doc")) or _text(words.get("description")) or self._doc
        steps: int | None = chained
        if kind == "PipelineDefinition":
            stages = words.get("stages") or (call.args[1] if len(call.args) > 1 else None)
            listed = isinstance(stages, (ast.List, ast.Tuple))
            plain = listed and not any(isinstance(one, ast.Starred) for one in stages.elts)  # type: ignore[union-attr]
            steps = len(stages.elts) if plain else None  # type: ignore[union-attr]
        else:
            more = _Counter(variable).count(self._tree)
            steps = None if more is None else chained + more
        return Found(self._file, line, variable, name or variable, kind, steps, _first_line(doc))


class _Counter:
    """Counts what is added to one variable; None once that depends on what happens when the file runs."""

    def __init__(self, variable: str) -> None:
        self._variable = variable
        self._sure = True
        self._steps = 0

    def count(self, tree: ast.Module) -> int | None:
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                for decorator in node.decorator_list:
                    self._walk(decorator.func if isinstance(decorator, ast.Call) else decorator, True)
                for inner in node.body:
                    self._walk(inner, False)
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.Expr)):
                self._walk(node, True)
            elif not (isinstance(node, ast.If) and _is_main(node.test)):
                self._walk(node, False)
        return self._steps if self._sure else None

    def _walk(self, node: ast.AST, sure: bool) -> None:
        repeats = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda, ast.IfExp)
        if isinstance(node, ast.Attribute) and node.attr in ADDERS and self._is_ours(node.value):
            self._steps += 1
            self._sure = self._sure and sure
        for child in ast.iter_child_nodes(node):
            self._walk(child, sure and not isinstance(node, repeats))

    def _is_ours(self, value: ast.expr) -> bool:
        """The variable itself, or a chain of calls on it."""
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func.value
        return isinstance(value, ast.Name) and value.id == self._variable


def _is_of_ours(node: ast.ImportFrom) -> bool:
    return not node.level and (node.module or "").split(".")[0] == "penstock"


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _text(value: ast.expr | None) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
