"""One source file becomes one small record. No tree leaves this module, and no code that is read is run."""

from __future__ import annotations

import ast
import warnings
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

#: Functions with fewer statements are alike too often to be worth telling.
ENOUGH_STATEMENTS = 6

#: The name every source is parsed under, so that one warning filter can mean them and nobody else.
LABEL = "<atlas>"

_RULE = Lock()  # around the look whether the filter is there, and its making
# CPython 3.11 counts the depth of the tree that it makes in one place for all threads (gh-106905), and fails
# if two are made at a time. Parsing holds the interpreter's lock anyway, so this one costs nothing.
_PARSER = Lock()

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be read: where it lies, and what it is called in the atlas."""

    file: str
    path: str

    @property
    def module(self) -> str:
        """The dotted name it is imported by, if its folder is on the path."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: `import a.b` has a module only, `from ..a import b` a level and a name too."""

    module: str
    name: str = ""
    level: int = 0
    #: it stands in a function, under TYPE_CHECKING or under __main__: importing the file does not run it
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    line: int
    lines: int
    complexity: int
    statements: int
    #: of parameters and body without the function's name, docstring and positions; "" if small or nested
    digest: str


@dataclass(frozen=True, slots=True)
class Metrics:
    path: str
    module: str
    lines: int
    code_lines: int
    classes: int
    functions: tuple[Function, ...]
    imports: tuple[Import, ...]

    @property
    def definitions(self) -> int:
        return self.classes + len(self.functions)

    @property
    def complexity(self) -> int:
        return sum(function.complexity for function in self.functions)


def measure(source: Source) -> Metrics:
    data = Path(source.file).read_bytes()
    census = Census(syntax_tree(data, source.path))
    lines = data.removeprefix(BOM_UTF8).splitlines()
    return Metrics(
        path=source.path,
        module=source.module,
        lines=len(lines),
        code_lines=code_lines(lines, census.docstrings),
        classes=census.classes,
        functions=tuple(sorted(census.functions, key=lambda function: function.line)),
        imports=tuple(census.imports),
    )


def syntax_tree(data: bytes, path: str) -> ast.Module:
    # Old sources make the parser warn. `catch_warnings` swaps the filters of the whole process, which is no
    # good in threads; a rule for our own label is put in place once and silences nobody else.
    with _RULE:
        if not any(getattr(rule[3], "pattern", None) == LABEL for rule in warnings.filters):
            warnings.filterwarnings("ignore", module=LABEL)
    try:
        with _PARSER:
            return ast.parse(data, filename=LABEL)
    except SyntaxError as error:
        # so that the reason names the file; a bad encoding is reported on "line 0"
        error.filename, error.lineno = path, error.lineno or None
        raise


def code_lines(lines: list[bytes], docstrings: list[ast.Constant]) -> int:
    """How many lines are neither blank, nor only a comment, nor part of a docstring."""
    idle = {
        number for number, line in enumerate(lines, 1) if not (text := line.strip()) or text.startswith(b"#")
    }
    for docstring in docstrings:
        first = lines[docstring.lineno - 1]
        shared = len(first) - len(first.lstrip()) != docstring.col_offset  # `def f(): "doc"`
        idle.update(range(docstring.lineno + shared, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines) - len(idle)


class Census:
    """Everything we want of a tree, in one walk that no depth of nesting can break.

    The walk writes the tree down as it goes: each node as its kind, its plain fields and the lengths of its
    lists. A function's digest is that of its stretch of the writing.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.classes = 0
        self.functions: list[Function] = []
        self.imports: list[Import] = []
        self.docstrings: list[ast.Constant] = []
        self._written: list[str] = []
        self._scopes: list[_Scope] = []  # the classes and functions around us, innermost last
        self._open: list[_Scope] = []  # only the functions among them
        self._deferred: set[ast.AST] = set()  # imports that importing the file does not run
        self._walk(tree)

    def _walk(self, tree: ast.Module) -> None:
        stack: list[Any] = [tree]
        write, pop, push = self._written.append, stack.pop, stack.append
        while stack:
            item = pop()
            kind = type(item)
            fields = _FIELDS.get(kind)
            if fields is None:
                if kind is _Scope:
                    self._leave(item)
                else:  # a plain thing that stood in a list
                    write(repr(item))
                continue
            write(kind.__name__)
            if kind in _STATEMENTS and self._open:
                self._open[-1].statements += 1
            if notice := _NOTICED.get(kind):
                notice(self, item, push)
            for field in fields:
                value = getattr(item, field)
                if type(value) is list:
                    write(str(len(value)))
                    stack += reversed(value)
                elif type(value) in _FIELDS:
                    push(value)
                else:
                    write(repr(value))

    def _decision(self, node: ast.AST, push: Callable[[object], None]) -> None:
        if not self._open:
            return
        match node:
            case ast.BoolOp(values=values):
                more = len(values) - 1
            case ast.comprehension(ifs=conditions):
                more = 1 + len(conditions)
            case ast.match_case(guard=guard):
                more = 1 + (guard is not None)
            case _:
                more = 1
        self._open[-1].complexity += more

    def _if(self, node: ast.If, push: Callable[[object], None]) -> None:
        self._decision(node, push)
        match node.test:
            case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
                pass
            case ast.Compare(left=ast.Name(id="__name__")):
                pass
            case _:
                return
        self._deferred.update(inner for statement in node.body for inner in ast.walk(statement))

    def _import(self, node: ast.Import | ast.ImportFrom, push: Callable[[object], None]) -> None:
        deferred = bool(self._open) or node in self._deferred
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                self.imports.append(Import(node.module or "", alias.name, node.level, deferred))
            else:
                self.imports.append(Import(alias.name, deferred=deferred))

    def _documented(self, node: _Documented, push: Callable[[object], None]) -> None:
        """Take the docstring out: it is no code, and no part of what makes two functions the same."""
        match node.body:
            case [ast.Expr(value=ast.Constant(value=str()) as text), *_]:
                self.docstrings.append(text)
                del node.body[0]

    def _enter(
        self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, push: Callable[[object], None]
    ) -> None:
        self._documented(node, push)
        self._written.append(node.name)
        name = f"{self._scopes[-1].name}.{node.name}" if self._scopes else node.name
        scope = _Scope(node, name, start=len(self._written), nested=bool(self._open))
        self._scopes.append(scope)
        if isinstance(node, ast.ClassDef):
            self.classes += 1
        else:
            self._open.append(scope)
        push(scope)  # under all that the node holds: it comes up when the walk is through with it

    def _leave(self, scope: _Scope) -> None:
        self._scopes.pop()
        node = scope.node
        if isinstance(node, ast.ClassDef):
            return
        self._open.pop()
        if self._open:
            self._open[-1].statements += scope.statements
        digest = ""
        if scope.statements >= ENOUGH_STATEMENTS and not scope.nested:
            stretch = "\n".join([type(node).__name__, *self._written[scope.start :]])
            digest = blake2b(stretch.encode(), digest_size=12).hexdigest()
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        self.functions.append(
            Function(scope.name, node.lineno, lines, scope.complexity, scope.statements, digest)
        )


@dataclass(slots=True)
class _Scope:
    """A class or function that the walk is inside of."""

    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    name: str
    start: int  # where its stretch of the writing begins, behind its name
    nested: bool  # in another function
    complexity: int = 1
    statements: int = 0


_KINDS = [kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST)]

#: What is written down of each kind of node, last field first, because the walk takes the last one pushed.
_FIELDS = {
    kind: tuple(
        field
        for field in reversed(kind._fields)
        if field not in ("ctx", "kind", "type_comment", "type_ignores")
        and not (field == "name" and kind in (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    )
    for kind in _KINDS
}

_STATEMENTS = frozenset(kind for kind in _KINDS if issubclass(kind, ast.stmt))

#: The kinds we do more with than write them down.
_NOTICED: dict[type[ast.AST], Callable[[Census, Any, Callable[[object], None]], None]] = {
    ast.Module: Census._documented,
    ast.ClassDef: Census._enter,
    ast.FunctionDef: Census._enter,
    ast.AsyncFunctionDef: Census._enter,
    ast.Import: Census._import,
    ast.ImportFrom: Census._import,
    ast.If: Census._if,
    **dict.fromkeys(
        (
            ast.IfExp,
            ast.For,
            ast.AsyncFor,
            ast.While,
            ast.ExceptHandler,
            ast.comprehension,
            ast.BoolOp,
            ast.match_case,
        ),
        Census._decision,
    ),
}
