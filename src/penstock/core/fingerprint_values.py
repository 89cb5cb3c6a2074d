"""Values, names and bytecode as text, the same in every process."""

from __future__ import annotations

import ast
import enum
import sys
from types import CodeType, FunctionType
from typing import Any

from .fingerprint_parts import MOST

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range)
MISSING = object()


def plain(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    kind = type(value)
    return f"int:{value:x}" if kind is int else f"{kind.__name__}:{value!r}"


def is_lasting(value: Any) -> bool:
    """Whether a value is plain data that nobody can change."""
    if isinstance(value, (tuple, frozenset)):
        return len(value) <= MOST and all(map(is_lasting, value))
    return type(value) in PLAIN or isinstance(value, enum.Enum)


def literal(node: ast.expr) -> Any:
    try:
        found = ast.literal_eval(node)
    except Exception:
        return MISSING
    return found if is_lasting(found) else MISSING


def is_single(node: Any) -> bool:
    """Whether a statement makes one variable and no more."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return len(targets) == 1 and isinstance(targets[0], ast.Name)


def defaults(given: FunctionType) -> list[tuple[str, Any]]:
    code, defaults = given.__code__, given.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    return [*zip(names, defaults, strict=True), *sorted((given.__kwdefaults__ or {}).items())]


def functions_of(kind: type) -> list[FunctionType]:
    """The functions in the body of a class, without what decorates them."""
    found = []
    for value in vars(kind).values():
        value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        while isinstance(value, FunctionType) and "__wrapped__" in value.__dict__:
            value = value.__dict__["__wrapped__"]
        if isinstance(value, FunctionType):
            found.append(value)
    return found


def names_of(module: Any) -> dict[str, Any]:
    """What a module has; its own `__getattr__` is not called, nor is it loaded if it is to load later."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def file_of(module: Any) -> str:
    """The file of a module; empty for one that has none."""
    found = names_of(module).get("__file__")
    return found if isinstance(found, str) else ""


def name_of(given: Any) -> str:
    name = (
        getattr(given, "__qualname__", None) or getattr(given, "__name__", None) or type(given).__qualname__
    )
    code = getattr(given, "__code__", None)
    return f"{module_of(getattr(given, '__module__', None), getattr(code, 'co_filename', ''))}:{name}"


def module_of(name: Any, path: str = "") -> str:
    """The name of a module; that of a script is the name of its file, as if it were imported."""
    if name != "__main__":
        return str(name)
    path = path or file_of(sys.modules["__main__"])
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(".py") or "__main__"


def all_names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for one in code.co_consts:
        if isinstance(one, CodeType):
            found |= all_names(one)
    return found


def bytecode(code: CodeType, doc: str | None = None) -> str:
    """What a code object does, without where it stands."""
    consts = code.co_consts
    if doc is not None and consts and consts[0] == doc:
        consts = consts[1:]
    table = getattr(code, "co_exceptiontable", b"")
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return f"{code.co_code.hex()} {table.hex()} {names} {counts} [{','.join(map(const_text, consts))}]"


def const_text(value: Any) -> str:
    if isinstance(value, CodeType):
        return bytecode(value)
    if isinstance(value, (tuple, frozenset)):
        parts = [*map(const_text, value)]
        return f"{type(value).__name__}({','.join(sorted(parts) if isinstance(value, frozenset) else parts)})"
    return f"{type(value).__name__}:{value!r}"
