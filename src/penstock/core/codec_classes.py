"""How instances of the application's own classes are written and read, and what is said of what is not.

The classes are known beforehand, see `codec_types`; no text leads to one that is not.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from .codec_read import Reader
from .codec_types import (
    DataPlan,
    NotPlain,
    Registered,
    check_fields,
    is_dataclass,
    is_model,
    is_named_tuple,
    with_article,
)
from .codec_write import Form, Handler, Refused, Writer
from .errors import CannotDecode


def handler_of(known: Registered) -> Handler:
    """What writes the instances of a known class."""
    if known.encode is not None:
        return _custom(known)
    if issubclass(known.cls, enum.Enum):
        return _enum(known)
    return _named(known) if is_named_tuple(known.cls) else _data(known)


def _custom(known: Registered) -> Handler:
    encode, name = known.encode, known.name
    assert encode is not None

    def write(writer: Writer, value: Any, depth: int) -> Form:
        try:
            data = encode(value)
        except Exception as error:
            said = f"is {with_article(name)}, whose encode= raised {type(error).__name__}: {error}"
            raise Refused(said) from error
        writer.enter(depth)
        return {"$custom": name, "data": writer.write(data, depth + 1)}

    return write


def _enum(known: Registered) -> Handler:
    def write(writer: Writer, value: Any, depth: int) -> Form:
        name = value._name_
        if type(value).__members__.get(name) is value:
            return {"$enum": known.name, "name": name}
        if isinstance(value, enum.Flag) and type(value._value_) is int:
            return {"$enum": known.name, "value": writer.write(value._value_, depth)}
        raise Refused(f"is {value!r}, which is no member of its enum")

    return write


def _named(known: Registered) -> Handler:
    names: tuple[str, ...] = known.cls._fields  # type: ignore[attr-defined]

    def write(writer: Writer, value: Any, depth: int) -> Form:
        if getattr(value, "__dict__", None):
            raise Refused(f"has an attribute {next(iter(value.__dict__))!r} that is none of its fields")
        fields = dict(zip(names, tuple.__iter__(value), strict=True))
        return {"$named": known.name, "fields": writer.fields(value, fields, depth)}

    return write


def _data(known: Registered) -> Handler:
    try:
        plan = DataPlan(known.cls)
    except NotPlain as why:
        raise Refused(
            str(why), f"penstock.register({known.cls.__name__}, encode=..., decode=...) says how to"
        ) from None

    def write(writer: Writer, value: Any, depth: int) -> Form:
        try:
            fields = plan.take(value)
        except NotPlain as why:
            raise Refused(f"is {with_article(plan.name)}, which {why}") from None
        return {"$data": known.name, "fields": writer.fields(value, fields, depth)}

    return write


class Maker(NamedTuple):
    """What reads the instances of one class.

    Attributes:
        word: Of the forms that it reads.
        read: Makes an instance.
    """

    word: str
    read: Callable[[Reader, dict[str, Any], int], Any]


CLASS_WORDS = ("$data", "$named", "$enum", "$custom")


def maker_of(known: Registered) -> Maker:
    """What reads the instances of a known class, as it is now."""
    cls: Any = known.cls
    if known.decode is not None:
        return Maker("$custom", partial(_read_custom, known, known.decode))
    if issubclass(cls, enum.Enum):
        return Maker("$enum", partial(_read_enum, cls))
    if is_named_tuple(cls):
        return Maker("$named", partial(_read_named, cls, getattr(cls, "_field_defaults", {})))
    try:
        return Maker("$data", partial(_read_data, DataPlan(cls) if is_dataclass(cls) else None, known.name))
    except NotPlain as why:
        raise CannotDecode(f"a stored {known.name} cannot be made again: the class {why}") from None


def _read_data(plan: DataPlan | None, name: str, reader: Reader, data: dict[str, Any], depth: int) -> Any:
    if plan is None:
        raise CannotDecode(f"a stored {name} was a dataclass, and is none any more")
    return plan.make(reader.fields(data["fields"], depth))


def _read_named(cls: Any, defaults: dict[str, Any], reader: Reader, data: dict[str, Any], depth: int) -> Any:
    fields = reader.fields(data["fields"], depth)
    if fields.keys() != set(cls._fields):
        check_fields(cls.__qualname__, fields, cls._fields, defaults)
        fields = {**defaults, **fields}
    return tuple.__new__(cls, [fields[name] for name in cls._fields])


def _read_enum(cls: Any, reader: Reader, data: dict[str, Any], depth: int) -> Any:
    if "name" in data:
        member = cls.__members__.get(data["name"])
        if member is None:
            raise CannotDecode(
                f"a stored {cls.__qualname__} has the name {data['name']!r}, which is none of "
                f"{', '.join(cls.__members__)}; it is still stored, give the enum this member again"
            )
        return member
    value = reader.read(data["value"])
    if not issubclass(cls, enum.Flag) or type(value) is not int:
        raise ValueError("neither name nor flags")
    return cls(value)


def _read_custom(
    known: Registered, decode: Callable[[Any], Any], reader: Reader, data: dict[str, Any], depth: int
) -> Any:
    value = decode(reader.read(data["data"], depth + 1))
    if type(value) is not known.cls:
        raise CannotDecode(
            f"decode= of {known.name} gave a {type(value).__qualname__}, not a {known.cls.__qualname__}"
        )
    return value


# ----------------------------------------------------------------------------------------------------------
# What is not written
# ----------------------------------------------------------------------------------------------------------

_VOLATILE = "or mark the step volatile=True, and what it returns is handed on in memory"
_AWAIT = "did you forget to await it?"


def why_not(value: Any) -> Refused:
    """What to say of a value that no codec knows."""
    cls = type(value)
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    short = cls.__qualname__.rpartition(".")[2]
    for module, kind, said, way_out in _ELSEWHERE:
        found = getattr(sys.modules.get(module), kind, None)
        if isinstance(found, type) and isinstance(value, found):
            return Refused(said.format(with_article(name)), way_out)
    for kinds, said, way_out in _KINDS:
        if isinstance(value, kinds):
            return Refused(said.format(with_article(name)), way_out)
    if is_dataclass(cls) or is_named_tuple(cls) or is_model(cls) or isinstance(value, enum.Enum):
        return Refused(
            f"is {with_article(name)}, a class that this step does not name",
            f"annotate what the step returns with {short}, or register it: penstock.register({short})",
        )
    for base in _BASES:
        if isinstance(value, base):
            plain = f"{base.__name__}(...)"
            return Refused(
                f"is {with_article(name)}, which would come back as {with_article(base.__name__)}",
                f"return {plain}, or register it: penstock.register({short}, encode=..., decode=...)",
            )
    return Refused(
        f"is {with_article(name)}, which no codec knows",
        f"return plain data or a dataclass, penstock.register({short}, encode=..., decode=...), {_VOLATILE}",
    )


_BASES = (dict, list, str, int, float, tuple, set, frozenset, bytes)

_KINDS: tuple[tuple[Any, str, str], ...] = (
    ((types.CoroutineType,), "is a coroutine that nobody awaited", _AWAIT),
    ((types.GeneratorType, types.AsyncGeneratorType), "is a generator", "return list(...) of it"),
    (
        (types.FunctionType, types.BuiltinFunctionType, types.MethodType),
        "is a function, and code is never stored",
        f"return its name or its result, {_VOLATILE}",
    ),
    ((type, types.ModuleType), "is a class or module, and code is never stored", "return its name"),
    ((BaseException,), "is an exception, {}", "raise it, or return str(...) of it"),
    ((type(Ellipsis), type(NotImplemented)), "stands for no value", "return None"),
    ((memoryview,), "is a memoryview", "return bytes(...) of it"),
    ((Iterator,), "is {}, which gives its elements only once", "return list(...) of it"),
    ((type({}.keys()), type({}.values()), type({}.items())), "is {}", "return list(...) of it"),
    ((types.MappingProxyType,), "is {}", "return dict(...) of it"),
)

_LIVE = "open it as a resource, or give on what it is opened with, " + _VOLATILE
_ELSEWHERE: tuple[tuple[str, str, str, str], ...] = (
    ("asyncio", "Future", "is {} that nobody awaited", _AWAIT),
    ("concurrent.futures", "Future", "is {} that nobody waited for", "return its .result()"),
    ("socket", "socket", "is an open socket", _LIVE),
    ("io", "IOBase", "is an open file", "return its path, " + _VOLATILE),
    ("_thread", "LockType", "is a lock", _LIVE),
    ("_thread", "RLock", "is a lock", _LIVE),
    ("threading", "Thread", "is a thread", _LIVE),
    ("sqlite3", "Connection", "is an open database", _LIVE),
    ("subprocess", "Popen", "is a process", _LIVE),
)
"""Types of modules that may not be loaded: then no value is of them."""
