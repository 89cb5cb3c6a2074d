"""Which files hold something to run, found by reading them. It must never import, or run, what it reads."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A class of objects, as files are written with it.

    Attributes:
        name: Of the class.
        adders: Its methods that add one step each.
        fluent: Its methods that give the object itself.
    """

    name: str
    adders: frozenset[str] = frozenset()
    fluent: frozenset[str] = frozenset()


_STAGES = frozenset({"stage", "parallel", "conditional"})
_TASKS = frozenset({"add", "add_task"})
_FLOW = Kind("Flow", frozenset({"step", "add"}))
_PIPELINE = Kind("Pipeline", frozenset({"add_stage"}), frozenset({"add_stage", "set_context"}))
_BUILDER = Kind("PipelineBuilder", _STAGES, _STAGES | {"context"})
_DEFINITION = Kind("PipelineDefinition")
_WORKFLOW = Kind("Workflow", _TASKS, _TASKS)
_EXECUTOR = Kind("PipelineExecutor", frozenset({"step", "add_step"}), frozenset({"add_step"}))

FACES: dict[str, dict[str, Kind | None]] = {
    "penstock": {"Flow": _FLOW},
    "penstock.flow": {"Flow": _FLOW},
    "penstock.dialects.pipelines": {"Pipeline": _PIPELINE, "PipelineBuilder": _BUILDER},
    "penstock.dialects.definitions": {"PipelineDefinition": _DEFINITION, "PipelineExecutor": None},
    "penstock.dialects.workflow": dict.fromkeys(
        ("Workflow", "chain", "parallel", "fan_out_fan_in"), _WORKFLOW
    ),
    "penstock.dialects.steps": {"PipelineExecutor": _EXECUTOR, "PipelineConfig": None},
}
"""What is called to make something of a kind, by the module that offers it. What is None makes nothing that
can be run: it shares its name with what does, or says how that is called."""

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
        return list(_Reader(file, ast.parse(source, str(file))).found())
    except OSError as error:
        return [Unread(file, error.strerror or type(error).__name__)]
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return [Unread(file, f"{where}{error.msg}")]
    except (ValueError, RecursionError, MemoryError) as error:
        return [Unread(file, str(error) or type(error).__name__)]


_Span = tuple[frozenset[str], int, int]
"""Variables that hold one thing, from a line to a line."""

_END = 1 << 60


class _Made(NamedTuple):
    """Something of ours that a file makes.

    Attributes:
        kind: Of what.
        name: What it calls itself; empty where that is not a plain text.
        doc: What it says of itself.
        steps: As made; None where that cannot be told.
        builder: The variables of the builder that it comes from, if it had any.
    """

    kind: Kind
    name: str = ""
    doc: str = ""
    steps: int | None = None
    builder: _Span | None = None


class _Reader:
    """One parsed file, read from top to bottom as Python would."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        self._file = file
        self._tree = tree
        self._doc = _first_line(ast.get_docstring(tree) or "")
        self._meanings: dict[str, str] = {}  # by imported name: what it stands for, with dots
        self._factories: dict[str, Kind] = {}  # by function of the file: what it says that it returns
        self._values: dict[str, ast.expr] = {}  # by variable: what was assigned to it last
        self._made: dict[str, tuple[int, _Made]] = {}  # the same where it is ours, and on which line

    def found(self) -> Iterator[Found]:
        """All that can be run, in the order of the lines, each once."""
        self._read(self._tree.body)
        seen: list[_Made] = []
        for variable, (line, made) in sorted(self._made.items(), key=lambda one: one[1][0]):
            if made.kind is _BUILDER or any(made is one for one in seen):
                continue
            seen.append(made)
            doc = _first_line(made.doc or self._doc)
            steps = self._steps(made)
            yield Found(self._file, line, variable, made.name or variable, made.kind.name, steps, doc)

    def _steps(self, made: _Made) -> int | None:
        counts = [made.steps, _Counter(made.kind, self._span(made)).count(self._tree)]
        if made.builder is not None:
            counts.append(_Counter(_BUILDER, made.builder).count(self._tree))
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _span(self, made: _Made, last: int = _END) -> _Span:
        lines = {name: line for name, (line, one) in self._made.items() if one is made}
        return frozenset(lines), min(lines.values()), last

    def _read(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._imported(node)
            elif isinstance(node, ast.Try):
                self._read([*node.body, *node.orelse, *node.finalbody])
            elif isinstance(node, ast.With):
                self._read(node.body)
            elif isinstance(node, ast.If):
                self._read(one for one in node.body if isinstance(one, (ast.Import, ast.ImportFrom)))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._forget(node.name)
                if isinstance(node, ast.FunctionDef) and node.returns is not None:
                    kind = self._kind(node.returns)
                    if kind is not None:
                        self._factories[node.name] = kind
            elif isinstance(node, ast.Assign):
                self._assigned(node.targets, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assigned([node.target], node.value)
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    self._forget(_name(target))

    def _imported(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self._bind(alias.asname or top, alias.name if alias.asname else top)
            return
        module = "" if node.level else node.module or ""
        for alias in node.names:
            for name in _offered(module) if alias.name == "*" else [alias.name]:
                self._bind(alias.asname or name, f"{module}.{name}")

    def _bind(self, name: str, meaning: str) -> None:
        self._forget(name)
        if meaning.partition(".")[0] == "penstock":
            self._meanings[name] = meaning

    def _forget(self, name: str) -> None:
        tables: list[dict[str, Any]] = [self._meanings, self._factories, self._values, self._made]
        for table in tables:
            table.pop(name, None)

    def _assigned(self, targets: Iterable[ast.expr], value: ast.expr) -> None:
        made = self._what(value)
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)):
                values = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
                if len(values) != len(target.elts):
                    values = [ast.Constant(None)] * len(target.elts)  # unknown, and so nothing of ours
                for one, its in zip(target.elts, values, strict=True):
                    self._assigned([one], its)
            elif name := _name(target):
                if made is not None and self._made.get(name, (0, None))[1] is made:
                    continue  # what it was before
                self._forget(name)
                self._values[name] = value
                if made is not None:
                    self._made[name] = target.lineno, made

    def _what(self, value: ast.expr) -> _Made | None:
        """What an expression makes; where it is what a variable holds, that very object."""
        if isinstance(value, ast.Name) and value.id in self._made:
            return self._made[value.id][1]
        if not isinstance(value, ast.Call):
            return None
        func = value.func
        if _name(func) in self._factories:
            return _Made(self._factories[_name(func)])
        kind = self._kind(func)
        if kind is not None:
            return self._called(kind, value)
        before = self._what(func.value) if isinstance(func, ast.Attribute) else None
        if before is None or not isinstance(func, ast.Attribute):
            return None
        held = any(one is before for _, one in self._made.values())
        if before.kind is _BUILDER and func.attr == "build":
            span = self._span(before, value.end_lineno or _END) if held else None
            return before._replace(kind=_PIPELINE, builder=span)
        if func.attr not in before.kind.fluent:
            return None
        if held or before.steps is None or func.attr not in before.kind.adders:
            return before
        return before._replace(steps=before.steps + 1)

    def _kind(self, value: ast.expr) -> Kind | None:
        module, _, name = self._meaning(value).rpartition(".")
        return _offered(module).get(name)

    def _meaning(self, value: ast.expr) -> str:
        """What a name with dots stands for; empty where that is nothing of ours."""
        if isinstance(value, ast.Attribute):
            before = self._meaning(value.value)
            return f"{before}.{value.attr}" if before else ""
        return self._meanings.get(_name(value), "")

    def _called(self, kind: Kind, call: ast.Call) -> _Made:
        """What a call makes."""
        maker = self._meaning(call.func).rpartition(".")[2]
        words = {word.arg: word.value for word in call.keywords if word.arg}
        args = [*call.args, None, None, None]
        name: ast.expr | str | None = words.get("name")
        steps: int | None = 0
        if maker in ("chain", "parallel"):
            name, steps = name or maker, _length(call)
        elif maker == "fan_out_fan_in":
            name = name or args[2] or maker
            wide = self._length(words.get("actions") or args[0])
            steps = None if wide is None else wide + 1
        elif maker == "Pipeline":
            name = name or args[1] or words.get("pipeline_id") or args[0]
        elif kind is _EXECUTOR:
            name = self._configured(words.get("config") or args[0])
        else:
            name = name or args[0]
        if kind is _DEFINITION:
            steps = self._length(words.get("stages") or args[1])
        doc = words.get("doc") or words.get("description") or (args[2] if kind is _DEFINITION else None)
        return _Made(kind, name if isinstance(name, str) else self._text(name), self._text(doc), steps)

    def _configured(self, config: ast.expr | None) -> ast.expr | str | None:
        """The name in the configuration of an executor."""
        config = self._values.get(_name(config), config)
        if config is None or (isinstance(config, ast.Constant) and config.value is None):
            return "pipeline"
        if not isinstance(config, ast.Call) or not self._meaning(config.func).endswith(".PipelineConfig"):
            return None
        words = {word.arg: word.value for word in config.keywords}
        return words.get("name") or (config.args[0] if config.args else None if None in words else "pipeline")

    def _length(self, value: ast.expr | None) -> int | None:
        """How long a list is; None where that is only known when the file runs."""
        name = _name(value)
        if name in self._values:
            value = self._values[name]
            used = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(self._tree))
            if used > 2:  # besides where it is assigned and here
                return None
        return _length(value) if isinstance(value, (ast.List, ast.Tuple)) else None

    def _text(self, value: ast.expr | None) -> str:
        value = self._values.get(_name(value), value)
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


class _Counter:
    """Counts what is added to one thing; None once that depends on what happens when the file runs."""

    def __init__(self, kind: Kind, span: _Span) -> None:
        self._adders = kind.adders
        self._names, self._first, self._last = span
        self._sure = True
        self._steps = 0

    def count(self, tree: ast.Module) -> int | None:
        self._count(tree.body)
        return self._steps if self._sure else None

    def _count(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.With):
                self._count(node.body)
            elif isinstance(node, ast.Try):
                self._count([*node.body, *node.orelse, *node.finalbody])
            elif isinstance(node, _PLAIN):
                self._walk(node, True)
            elif not (isinstance(node, ast.If) and _is_main(node.test)):
                self._walk(node, False)

    def _walk(self, node: ast.AST, sure: bool, *, inside: bool = False) -> None:
        """Looks at a statement or expression.

        Args:
            node: It.
            sure: It runs exactly once.
            inside: It is in a function, which others may call, or nobody.
        """
        if isinstance(node, _DEFINITIONS):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
                self._walk(call, sure, inside=inside)
            for one in node.body:
                self._walk(one, False, inside=True)
            return
        sure = sure and not isinstance(node, _REPEATS)
        children = [*ast.iter_child_nodes(node)]
        if isinstance(node, ast.Call):
            handed = [*node.args, *(word.value for word in node.keywords)]
            if not inside and _name(node.func) not in _HARMLESS and any(map(self._is_one, handed)):
                self._sure = False  # whoever is given it may add to it
            if self._adds(node.func):
                self._steps += 1
                self._sure = self._sure and sure
                children += ast.iter_child_nodes(children.pop(0))
        elif self._adds(node):  # the method goes somewhere else
            self._sure = False
        for child in children:
            self._walk(child, sure, inside=inside)

    def _adds(self, node: ast.AST) -> bool:
        """Whether it is a method that adds a step, of a variable or at the end of a chain of calls."""
        if not isinstance(node, ast.Attribute) or node.attr not in self._adders:
            return False
        value = node.value
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func.value
        return self._is_one(value)

    def _is_one(self, value: ast.expr) -> bool:
        return _name(value) in self._names and self._first <= value.lineno <= self._last


_PLAIN = (ast.Assign, ast.AnnAssign, ast.Expr, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_REPEATS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda, ast.IfExp)
_HARMLESS = frozenset({"print", "len", "repr", "str", "type", "isinstance"})


def _offered(module: str) -> dict[str, Kind | None]:
    """What a module of ours offers, or one inside it."""
    while module not in FACES and module.count(".") > 1:
        module = module.rpartition(".")[0]
    return FACES.get(module, {})


def _length(values: ast.List | ast.Tuple | ast.Call) -> int | None:
    """How many elements, or arguments, stand there."""
    each = values.args if isinstance(values, ast.Call) else values.elts
    return None if any(isinstance(one, ast.Starred) for one in each) else len(each)


def _name(value: ast.expr | None) -> str:
    return value.id if isinstance(value, ast.Name) else ""


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and _name(test.left) == "__name__"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
