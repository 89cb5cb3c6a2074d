"""What variables and attributes are made of, and what changes them, as far as syntax trees tell."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from .fingerprint_reading import FUNCTIONS, bound_in
from .fingerprint_values import MISSING, literal

_MUTATORS = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop"),
        *("popitem", "popleft", "put", "put_nowait", "remove", "reverse", "rotate", "set", "setdefault"),
        *("sort", "subtract", "update", "write"),
    }
)


def changed_in(node: ast.AST) -> tuple[set[str], set[str]]:
    """What code changes in place, or in the functions around it: names of variables, and of attributes."""
    names: set[str] = set()
    attributes: set[str] = set()
    for one in ast.walk(node):
        target: ast.AST | None = None
        if isinstance(one, (ast.Nonlocal, ast.Global)):
            names.update(one.names)
        elif isinstance(one, ast.AugAssign) or (
            isinstance(one, (ast.Attribute, ast.Subscript)) and not isinstance(one.ctx, ast.Load)
        ):
            target = one.target if isinstance(one, ast.AugAssign) else one
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _MUTATORS:
            target = one.func.value
        last = ""
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            last = target.attr if isinstance(target, ast.Attribute) else last
            target = target.value
        if isinstance(target, ast.Name):
            names.add(target.id)
        if last:
            attributes.add(last)
    return names, attributes


def attributes_in(node: ast.AST) -> set[str]:
    """All that stands behind a dot."""
    return {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}


def made_of(statements: Iterable[ast.stmt], name: str) -> Iterator[ast.expr]:
    """What a variable is made of; of None where it is no variable, or made in another way."""
    for one in statements:
        if isinstance(one, (*FUNCTIONS, ast.ClassDef)):
            if one.name == name:
                yield _NOTHING
        elif isinstance(one, (ast.Assign, ast.AnnAssign)):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            if one.value is not None and any(_stores(target, name) for target in targets):
                yield one.value
        elif _stores(one, name):
            yield _NOTHING


def fixed_by(methods: Iterable[Any]) -> set[str]:
    """Attributes that these methods make of something else than what they are given, and than a literal.

    Their values may be others in every process, such as the time, or an empty list that is filled.
    """
    made: dict[str, bool] = {}
    for one in methods:
        own = set(bound_in(one))
        stored = {
            node.attr
            for node in ast.walk(one)
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        }
        for name in stored:
            values = made_in(one, ast.Attribute, name)
            is_fixed = (
                bool(values) and not uses(values, own) and all(literal(each) is MISSING for each in values)
            )
            made[name] = made.get(name, True) and is_fixed
    return {name for name, is_fixed in made.items() if is_fixed}


def made_in(function: ast.AST, kind: type[ast.Name] | type[ast.Attribute], name: str) -> list[ast.expr]:
    """What a function makes a variable or an attribute of; nothing if it does so in an unusual way, too."""
    found: list[ast.expr] = []
    count = 0
    for one in ast.walk(function):
        count += _is(one, kind, name) and not isinstance(getattr(one, "ctx", None), ast.Load)
        if isinstance(one, ast.Assign):
            found += [one.value for target in one.targets if _is(target, kind, name)]
        elif isinstance(one, ast.AnnAssign) and one.value is not None and _is(one.target, kind, name):
            found.append(one.value)
    return found if len(found) == count else []


def _is(node: ast.AST, kind: type[ast.AST], name: str) -> bool:
    return isinstance(node, kind) and name == (getattr(node, "id", None) or getattr(node, "attr", None))


def uses(nodes: Iterable[ast.AST], names: Collection[str]) -> bool:
    """Whether some nodes have one of these names in them."""
    return any(isinstance(one, ast.Name) and one.id in names for node in nodes for one in ast.walk(node))


_NOTHING = ast.Constant(None)


def _stores(node: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load)
        for one in ast.walk(node)
    )
