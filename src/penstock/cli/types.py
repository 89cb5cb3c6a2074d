"""From JSON, or text, to the type of an input. A closed list of types; nothing is ever evaluated."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import json
import pathlib
import re
import types
import uuid
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from penstock.core.secrets import Secret


class Misfit(Exception):
    """A value that is not of the type; its text says which part of it."""


class NotWritable(Exception):
    """A type whose values cannot be written on a command line."""


TEXTS: dict[type, tuple[Any, str]] = {
    pathlib.Path: (pathlib.Path, "data/orders.csv"),
    pathlib.PurePath: (pathlib.PurePath, "data/orders.csv"),
    datetime.datetime: (datetime.datetime.fromisoformat, "2026-01-31T12:00:00"),
    datetime.date: (datetime.date.fromisoformat, "2026-01-31"),
    datetime.time: (datetime.time.fromisoformat, "12:30"),
    decimal.Decimal: (decimal.Decimal, "19.99"),
    uuid.UUID: (uuid.UUID, "6f1e0a52-7c7a-4c5e-9d0b-3a4f5c6d7e8f"),
}
"""Types that are written as text, with what reads them and an example."""

_LISTS: dict[Any, Any] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: frozenset,
}
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_UNIONS = (Union, types.UnionType)


def bare(type_: Any) -> Any:
    """A type without `Annotated` and `NewType`."""
    while True:
        if get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
        elif isinstance(type_, NewType):
            type_ = type_.__supertype__
        else:
            return type_


def members(type_: Any) -> tuple[Any, ...]:
    """The types of a union; of any other type itself."""
    type_ = bare(type_)
    if get_origin(type_) in _UNIONS:
        return tuple(one for member in get_args(type_) for one in members(member))
    return (type_,)


def secret(type_: Any) -> Any:
    """The type of what a `Secret` of that type holds; None if it is no `Secret`."""
    type_ = bare(type_)
    if (get_origin(type_) or type_) is not Secret:
        return None
    return (*get_args(type_), str)[0]


def is_text(type_: Any) -> bool:
    """Whether its values are written as they are, without quotes."""
    if get_origin(type_) is Literal:
        return all(isinstance(value, str) for value in get_args(type_))
    return type_ is str or type_ in TEXTS or (isinstance(type_, type) and issubclass(type_, enum.Enum))


def convert(value: Any, type_: Any) -> Any:
    """A value of JSON or TOML as a value of that type.

    Raises:
        Misfit: It is none.
        NotWritable: No value of the type can be written like that.
    """
    type_ = bare(type_)
    origin = get_origin(type_) or type_
    if type_ is Any or type_ is object:
        return value
    if origin is Secret:
        return Secret(convert(value, secret(type_)))
    if origin in _UNIONS:
        return _union(value, type_)
    if origin is Literal:
        return _literal(value, type_)
    if type_ is None or type_ is types.NoneType:
        return _exactly(value, types.NoneType, "null")
    if type_ in (str, int, bool):
        return _exactly(value, type_, type_.__name__)
    if type_ is float:
        return float(_exactly(value, (float, int), "float"))
    if origin in _LISTS:
        return _list(value, origin, get_args(type_))
    if origin in _DICTS:
        return _dict(value, get_args(type_))
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return _enum(value, type_)
    if type_ in TEXTS:
        return _text(value, type_)
    raise NotWritable(name_of(type_))


def _exactly(value: Any, types_: Any, word: str) -> Any:
    wanted = types_ if isinstance(types_, tuple) else (types_,)
    if type(value) not in wanted:
        raise Misfit(f"{shown(value)} is not {word}")
    return value


def _union(value: Any, type_: Any) -> Any:
    unwritable = 0
    options = members(type_)
    exact = sorted(options, key=lambda one: one is not type(value))
    for one in exact:
        try:
            return convert(value, one)
        except Misfit:
            continue
        except NotWritable:
            unwritable += 1
    if unwritable == len(options):
        raise NotWritable(name_of(type_))
    raise Misfit(f"{shown(value)} is none of {name_of(type_)}")


def _literal(value: Any, type_: Any) -> Any:
    for one in get_args(type_):
        if one == value and type(one) is type(value):
            return one
    raise Misfit(f"{shown(value)} is none of {', '.join(map(shown, get_args(type_)))}")


def _list(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, list):
        raise Misfit(f"{shown(value)} is not a list")
    if origin is tuple and arguments and arguments[-1] is not ...:
        if len(value) != len(arguments):
            raise Misfit(f"it has {len(value)} elements, not {len(arguments)}")
        each = arguments
    else:
        each = (arguments[0] if arguments else Any,) * len(value)
    found = []
    for number, (one, type_) in enumerate(zip(value, each, strict=True), 1):
        try:
            found.append(convert(one, type_))
        except Misfit as error:
            raise Misfit(f"element {number}: {error}") from None
    return _LISTS[origin](found)


def _dict(value: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise Misfit(f"{shown(value)} is not an object")
    if not arguments:
        return value
    keys, values = arguments
    if bare(keys) is not str:
        raise NotWritable(f"a dict with keys of type {name_of(keys)}")
    found = {}
    for key, one in value.items():
        try:
            found[key] = convert(one, values)
        except Misfit as error:
            raise Misfit(f"at {shown(key)}: {error}") from None
    return found


def _enum(value: Any, type_: type[enum.Enum]) -> enum.Enum:
    for one in type_:
        if one.value == value and type(one.value) is type(value):
            return one
    if isinstance(value, str) and value in type_.__members__:
        return type_[value]
    raise Misfit(f"{shown(value)} is none of {', '.join(type_.__members__)}")


def _text(value: Any, type_: Any) -> Any:
    if type(value) is type_:
        return value  # of a TOML file
    read, _ = TEXTS[type_]
    if type_ is decimal.Decimal and type(value) in (int, float):
        value = str(value)
    if not isinstance(value, str):
        raise Misfit(f"{shown(value)} is not the text of a {name_of(type_)}")
    try:
        return read(value)
    except (ValueError, ArithmeticError):
        raise Misfit(f"{shown(value)} is not a {name_of(type_)}") from None


def shown(value: Any) -> str:
    """A value as JSON writes it, cut short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else text[:59] + "…"


def name_of(type_: Any) -> str:
    """A type as people write it: ``list[Path]``, not ``list[pathlib.Path]``."""
    type_ = bare(type_)
    if type_ is None or type_ is types.NoneType:
        return "None"
    if isinstance(type_, type) and not get_args(type_):
        return type_.__name__
    return re.sub(r"\b[A-Za-z_][\w.]*\.(?=\w)", "", str(type_))


def example(type_: Any) -> Any:
    """A value of that type, as JSON has it."""
    type_ = bare(type_)
    origin, arguments = get_origin(type_) or type_, get_args(type_)
    if origin is Secret:
        return example(secret(type_))
    if origin in _UNIONS:
        return example(next(one for one in members(type_) if one is not types.NoneType))
    if origin is Literal:
        return arguments[0]
    if origin is tuple and arguments and arguments[-1] is not ...:
        return [example(one) for one in arguments]
    if origin in _LISTS:
        return [example(arguments[0] if arguments else int)]
    if origin in _DICTS:
        return {"key": example(arguments[1] if arguments else int)}
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return next(iter(type_.__members__), "")
    if type_ in TEXTS:
        return TEXTS[type_][1]
    plain: dict[Any, Any] = {str: "text", int: 3, float: 0.5, bool: True}
    return plain.get(type_)
