"""Whether a value of one type may stand where another is expected: lenient, and quick to say yes.

Only what is surely wrong is refused. What type checkers alone can judge (protocols, callables, type
variables, variance) passes. Types nest, so this recurses, to a depth of its own choosing.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, is_typeddict

_DEEP = 8
"""Levels of nesting looked at; deeper ones pass."""

_UNIONS = (Union, types.UnionType)
_WIDER: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float), bytes: (bytearray, memoryview)}
"""Classes that type checkers let stand for another without inheriting from it."""

_ABC_SEQUENCES = (
    collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.Container,
    collections.abc.Reversible, collections.abc.MutableSequence,
)  # fmt: skip


def assignable(given: Any, wanted: Any, deep: int = _DEEP) -> bool:
    """Whether `given` may stand where `wanted` is expected; yes where that cannot be told."""
    if given is wanted or wanted is object or wanted is Any or given is Any or not deep:
        return True
    given, wanted = _bare(given), _bare(wanted)
    if given is wanted:
        return True
    if isinstance(given, NewType):
        return _new_type(given, wanted, deep)
    if isinstance(wanted, NewType):
        return assignable(given, wanted.__supertype__, deep - 1)
    origin = get_origin(given)
    if origin in _UNIONS:
        return all(assignable(one, wanted, deep - 1) for one in get_args(given))
    if get_origin(wanted) in _UNIONS:
        return any(assignable(given, one, deep - 1) for one in get_args(wanted))
    if origin is Literal:
        return all(_literal(value, wanted, deep) for value in get_args(given))
    if get_origin(wanted) is Literal:
        return any(assignable(given, type(value), deep - 1) for value in get_args(wanted))
    return _classes(given, wanted, deep)


def _bare(type_: Any) -> Any:
    """Without `Annotated`, `None` as its class, an alias as what it stands for."""
    if type_ is None:
        return types.NoneType
    if get_origin(type_) is Annotated:
        return get_args(type_)[0]
    value = getattr(type_, "__value__", None)  # of `type X = ...`
    return type_ if value is None or isinstance(type_, type) else value


def _new_type(given: Any, wanted: Any, deep: int) -> bool:
    if isinstance(wanted, NewType):
        while isinstance(given, NewType):
            if given is wanted:
                return True
            given = given.__supertype__
        return False
    if get_origin(wanted) in _UNIONS and given in get_args(wanted):
        return True
    return assignable(given.__supertype__, wanted, deep - 1)


def _literal(value: Any, wanted: Any, deep: int) -> bool:
    if get_origin(wanted) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(wanted))
    return assignable(type(value), wanted, deep - 1)


def _classes(given: Any, wanted: Any, deep: int) -> bool:
    """Two types neither of which is a union or literal."""
    below, above = get_origin(given) or given, get_origin(wanted) or wanted
    if not isinstance(below, type) or not isinstance(above, type) or above is object or below is object:
        return True  # a type variable, Never, a forward reference, ...
    if above.__name__ == "Callable" or getattr(above, "_is_protocol", False):
        return True
    if is_typeddict(above):
        return is_typeddict(below) or issubclass(below, Mapping)
    if is_typeddict(below):
        below = dict
    try:
        if not issubclass(below, above):
            return above in _WIDER and issubclass(below, _WIDER[above])
    except TypeError:
        return True
    return _arguments(given, below, wanted, above, deep - 1)


def _arguments(given: Any, below: type, wanted: Any, above: type, deep: int) -> bool:
    """The parameters of two generic classes, of which one is known to be the other's subclass."""
    mine, theirs = get_args(given), get_args(wanted)
    if not mine or not theirs:
        return True
    if below is tuple:
        return _tuple(mine, theirs, above, deep)
    if below is above:
        return len(mine) != len(theirs) or _all(mine, theirs, deep)
    if (
        below.__module__ in ("builtins", "collections", "collections.abc")
        and above.__module__ == "collections.abc"
    ):
        return _all(mine, theirs, deep)  # a dict as an Iterable compares its keys
    return True


def _tuple(mine: tuple[Any, ...], theirs: tuple[Any, ...], above: type, deep: int) -> bool:
    if above is not tuple:
        return above not in _ABC_SEQUENCES or all(
            assignable(one, theirs[0], deep) for one in mine if one is not ...
        )
    if mine[-1] is ... or theirs[-1] is ...:
        mine, theirs = [one for one in mine if one is not ...], [one for one in theirs if one is not ...]  # type: ignore[assignment]
        return all(assignable(one, other, deep) for one in mine for other in theirs[:1])
    return len(mine) == len(theirs) and _all(mine, theirs, deep)


def _all(mine: tuple[Any, ...], theirs: tuple[Any, ...], deep: int) -> bool:
    return all(
        isinstance(one, (list, tuple)) or isinstance(other, (list, tuple)) or assignable(one, other, deep)
        for one, other in zip(mine, theirs, strict=False)
    )


def fits(value: Any, wanted: Any, deep: int = _DEEP) -> bool:
    """Whether a value may be given where `wanted` is annotated: its class is looked at, not its elements."""
    wanted = _bare(wanted) if wanted is not None else Any
    if wanted is Any or wanted is object or not deep:
        return True
    if isinstance(wanted, NewType):
        return fits(value, wanted.__supertype__, deep - 1)
    origin = get_origin(wanted)
    if origin in _UNIONS:
        return any(fits(value, types.NoneType if one is None else one, deep - 1) for one in get_args(wanted))
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(wanted))
    class_ = origin or wanted
    if not isinstance(class_, type) or class_ is type or getattr(class_, "_is_protocol", False):
        return True
    if is_typeddict(class_):
        class_ = dict
    try:
        return isinstance(value, (class_, *_WIDER.get(class_, ())))
    except TypeError:
        return True


def misfit(value: Any, wanted: Any) -> tuple[str, Any, Any] | None:
    """The first element of a list, tuple or dict that surely does not fit: where, what, and its type.

    Elements are looked at where `wanted` is a list, tuple or dict itself; what is in them is not.
    """
    wanted = _bare(wanted)
    if get_origin(wanted) in _UNIONS:
        some = [one for one in get_args(wanted) if fits(value, one)]
        wanted = _bare(some[0]) if len(some) == 1 else Any
    kind, args = get_origin(wanted), get_args(wanted)
    if type(value) is not kind:
        return None
    if kind is dict:
        at = odd_one(value, args[0])
        if at is not None:
            key = [*value][at]
            return f"the key {key!r}", key, args[0]
        at = odd_one(value.values(), args[1])
        if at is None:
            return None
        key = [*value][at]
        return f"the element {key!r}", value[key], args[1]
    if kind is list or (kind is tuple and len(args) == 2 and args[1] is ...):
        at = odd_one(value, args[0])
        return None if at is None else (f"element {at}", value[at], args[0])
    if kind is tuple and len(args) == len(value):
        for at, (one, type_) in enumerate(zip(value, args, strict=True)):
            if not fits(one, type_):
                return f"element {at}", one, type_
    return None


def odd_one(elements: Collection[Any], wanted: Any) -> int | None:
    """Where the first element is that surely does not fit.

    There may be a million, so of each class one is looked at, and all only to find the first that is wrong.
    """
    of_class = dict(zip(map(type, elements), elements, strict=True))
    by_value = get_origin(_bare(wanted)) is Literal
    wrong = {class_ for class_, one in of_class.items() if by_value or not fits(one, wanted)}
    if not wrong:
        return None
    odd = (at for at, one in enumerate(elements) if type(one) in wrong and not fits(one, wanted))
    return next(odd, None)
