"""What a piece of source says, without how it is written, and the names that it takes from outside.

It reads syntax trees; it knows neither files nor objects.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Chain = tuple[str, ...]
"""A name with what follows its dots: ``helpers.limits.most``."""

Local = tuple[int, str, Chain]
"""What an import inside a function brings: its dots, its module, and the names of what is used of it."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef)
_WITHOUT_EFFECT = frozenset({"ctx", "kind", "type_comment"})
_DEPTH = 200


class Reading(NamedTuple):
    """A piece of source.

    Attributes:
        text: What it says; of equal text where only layout, comments, docstrings or annotations differ.
        names: Free in it, in order.
        imports: What imports inside its functions bring, in order.
    """

    text: str
    names: tuple[Chain, ...] = ()
    imports: tuple[Local, ...] = ()


def read(
    nodes: Iterable[ast.AST], is_ours: Callable[[ast.expr], bool | None], around: Iterable[ast.AST] = ()
) -> Reading:
    """Reads some nodes as one.

    Left out are docstrings and whatever else has no effect, and the annotations of functions and variables:
    to add types is the commonest edit that changes nothing. Those of a class body are its fields, and count.

    Args:
        nodes: Statements or expressions.
        is_ours: Whether an expression is made by this library: what is said to it wires steps and gives
            options, and is no code of theirs. None where that cannot be told.
        around: The functions that they stand in.
    """
    reader = _Reader(is_ours)
    known: _Known = {}
    for function in around:
        known.update(bound_in(function))
    nodes = [*nodes]
    try:
        for node in nodes:
            reader.visit(node, known)
    except RecursionError:
        return _read_flat(nodes)
    return Reading("".join(reader.tokens), tuple(sorted(reader.names)), tuple(sorted(reader.imports)))


def _read_flat(nodes: Iterable[ast.AST]) -> Reading:
    """The same of what is too deep, such as a sum of a thousand: whatever is written counts."""
    said: list[str] = []
    names: set[Chain] = set()
    for node in nodes:
        for one in ast.walk(node):
            plain = {
                name: value for name, value in ast.iter_fields(one) if not isinstance(value, (ast.AST, list))
            }
            said.append(f"{type(one).__name__}{plain}")
            if isinstance(one, (ast.Name, ast.Attribute)) and chain_of(one):
                names.add(chain_of(one))
    return Reading("".join(said), tuple(sorted(names)))


def chain_of(node: ast.AST) -> Chain:
    """The name and what follows its dots; empty for any other expression."""
    found = []
    while isinstance(node, ast.Attribute):
        found.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ()
    found.append(node.id)
    return tuple(reversed(found))


class _Reader:
    """Reads nodes, one after the other.

    Attributes:
        tokens: The text so far.
        names, imports: As of `Reading`.
    """

    def __init__(self, is_ours: Callable[[ast.expr], bool | None]) -> None:
        self.tokens: list[str] = []
        self.names: set[Chain] = set()
        self.imports: set[Local] = set()
        self._is_ours = is_ours
        self._depth = 0

    def visit(self, node: Any, known: _Known) -> None:
        """Reads one node.

        Args:
            node: It.
            known: The names of the functions around it, and what an import there makes of them.
        """
        self._depth += 1
        if self._depth > _DEPTH:  # always at the same one, however deep the caller is
            raise RecursionError
        _METHODS.get(type(node), _Reader._any)(self, node, known)
        self._depth -= 1

    def _any(self, node: ast.AST, known: _Known) -> None:
        tokens = self.tokens
        tokens.append(f"{type(node).__name__}(")
        for name in _fields(type(node)):
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            tokens.append(f"{name}=")
            if isinstance(value, list):
                self._list(value, known)
            elif isinstance(value, ast.AST):
                self.visit(value, known)
            else:
                tokens.append(f"{value!r},")
        tokens.append(")")

    def _list(self, values: Iterable[Any], known: _Known) -> None:
        self.tokens.append("[")
        for value in values:
            if isinstance(value, ast.AST):
                self.visit(value, known)
            else:
                self.tokens.append(f"{value!r},")
        self.tokens.append("]")

    def _name(self, node: ast.Name | ast.Attribute, known: _Known) -> None:
        chain = chain_of(node)
        if not chain:
            assert isinstance(node, ast.Attribute)
            self.tokens.append(f".{node.attr}(")
            self.visit(node.value, known)
            self.tokens.append(")")
            return
        self.tokens.append(f"{'.'.join(chain)},")
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            return
        if chain[0] not in known:
            self.names.add(chain)
        elif (brought := known[chain[0]]) is not None:
            level, module, names = brought
            self.imports.add((level, module, (*names, *chain[1:])))

    def _constant(self, node: ast.Constant, known: _Known) -> None:
        self.tokens.append(f"{node.value!r},")

    def _expression(self, node: ast.Expr, known: _Known) -> None:
        if not isinstance(node.value, ast.Constant):
            self.tokens.append("Expr(")
            self.visit(node.value, known)
            self.tokens.append(")")

    def _nothing(self, node: ast.Pass, known: _Known) -> None:
        """What does nothing says nothing."""

    def _annotated(self, node: ast.AnnAssign, known: _Known) -> None:
        if node.value is not None:
            self.tokens.append("Assign(targets=[")
            self.visit(node.target, known)
            self.tokens.append("]value=")
            self.visit(node.value, known)
            self.tokens.append(")")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, known: _Known) -> None:
        self._decorators(node.decorator_list, known)
        self.tokens.append(f"{type(node).__name__}({node.name!r},")
        self._arguments(node.args, known)
        inner = {**known, **bound_in(node)}
        self._list(node.body, inner)
        self.tokens.append(")")

    def _lambda(self, node: ast.Lambda, known: _Known) -> None:
        self.tokens.append("Lambda(")
        self._arguments(node.args, known)
        self.visit(node.body, {**known, **bound_in(node)})
        self.tokens.append(")")

    def _class(self, node: ast.ClassDef, known: _Known) -> None:
        self._decorators(node.decorator_list, known)
        self.tokens.append(f"ClassDef({node.name!r},")
        self._list(node.bases, known)
        self._list(node.keywords, known)
        for one in node.body:
            self.visit(one, known)
            if isinstance(one, ast.AnnAssign):  # a field, perhaps
                self.visit(one.target, known)
                self.visit(one.annotation, known)
        self.tokens.append(")")

    def _comprehension(self, node: Any, known: _Known) -> None:
        inner: _Known = dict(known)
        for part in node.generators:
            inner.update(dict.fromkeys(_stored(part.target)))
        self.tokens.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name)
            if isinstance(value, list):
                self._list(value, inner)
            else:
                self.visit(value, inner)
        self.tokens.append(")")

    def _decorators(self, nodes: list[ast.expr], known: _Known) -> None:
        for node in nodes:
            ours = self._is_ours(node)
            if ours is None or chain_of(_root(node))[:1] in {(name,) for name in known}:
                # Made by code around it: what came of it is seen at the function itself.
                self.tokens.append(f"@{'.'.join(chain_of(_root(node)))},")
            elif not ours:
                self.tokens.append("@")
                self.visit(node, known)

    def _arguments(self, node: ast.arguments, known: _Known) -> None:
        names = [
            *(f"{one.arg}/" for one in node.posonlyargs), *(one.arg for one in node.args),
            *(f"*{node.vararg.arg}" for _ in (1,) if node.vararg),
            *(f"{one.arg}=" for one in node.kwonlyargs), *(f"**{node.kwarg.arg}" for _ in (1,) if node.kwarg),
        ]  # fmt: skip
        self.tokens.append(f"({','.join(names)})")
        for default in (*node.defaults, *node.kw_defaults):
            if default is None:
                self.tokens.append("-")
            elif isinstance(default, ast.Call) and self._is_ours(default):
                self.tokens.append("ours")  # a marker: where the value comes from
            else:
                self.visit(default, known)


_Known = dict[str, Local | None]

_METHODS: dict[type, Any] = {
    ast.Name: _Reader._name,
    ast.Attribute: _Reader._name,
    ast.Constant: _Reader._constant,
    ast.Expr: _Reader._expression,
    ast.Pass: _Reader._nothing,
    ast.AnnAssign: _Reader._annotated,
    ast.FunctionDef: _Reader._function,
    ast.AsyncFunctionDef: _Reader._function,
    ast.Lambda: _Reader._lambda,
    ast.ClassDef: _Reader._class,
    ast.arguments: _Reader._arguments,
    **dict.fromkeys(_COMPREHENSIONS, _Reader._comprehension),
}

_FIELDS: dict[type, tuple[str, ...]] = {}


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = tuple([name for name in kind._fields if name not in _WITHOUT_EFFECT])
    return found


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Call):
        node = node.func
    return node


def root_of(node: ast.expr) -> Chain:
    """The name that is called, or whose result is, as often as it is."""
    return chain_of(_root(node))


def parameters_of(node: Any) -> list[str]:
    args = node.args
    several = [one for one in (args.vararg, args.kwarg) if one is not None]
    return [one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs, *several)]


def bound_in(node: Any) -> _Known:
    """The names of a function's own: its parameters, and what its body stores."""
    found: _Known = dict.fromkeys(parameters_of(node))
    outside: set[str] = set()
    todo: list[Any] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
    while todo:
        one = todo.pop()
        if isinstance(one, _SCOPES):
            if not isinstance(one, ast.Lambda):
                found[one.name] = None
            continue  # its decorators and defaults store nothing, or only with a walrus
        if isinstance(one, ast.comprehension):
            todo += (one.iter, *one.ifs)  # its targets are its own
            continue
        if isinstance(one, ast.Global):
            outside.update(one.names)
        found.update(_stores(one))
        todo += ast.iter_child_nodes(one)
    for name in outside:
        found.pop(name, None)
    return found


def _stores(node: ast.AST) -> _Known:
    """What one node itself makes a name of."""
    if isinstance(node, ast.Name):
        return {} if isinstance(node.ctx, ast.Load) else {node.id: None}
    if isinstance(node, ast.Import):
        return {
            one.asname or one.name.partition(".")[0]: (
                0, one.name if one.asname else one.name.partition(".")[0], (),
            )
            for one in node.names
        }  # fmt: skip
    if isinstance(node, ast.ImportFrom):
        return {one.asname or one.name: (node.level, node.module or "", (one.name,)) for one in node.names}
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return {node.name: None} if node.name else {}
    if isinstance(node, ast.MatchMapping):
        return {node.rest: None} if node.rest else {}
    return {}


def _stored(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]
