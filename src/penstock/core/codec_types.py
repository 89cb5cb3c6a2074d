"""Which classes of the application a codec may make instances of, and how they are taken apart.

No class is ever looked for by a name found in data: it is one that the application has registered, or one
that a step's annotations lead to. Instances are taken apart and put together without calling code of theirs.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

from .errors import CannotDecode

C = TypeVar("C", bound=type)

_MAIN = ("__main__", "__mp_main__")
_BY_PATH = (
    "_target_"  # how the command line calls a module that it loads by a path, where the plain name is taken
)
_HEAP = 1 << 9  # of __flags__: a class made by a class statement
_DEEPEST = 64  # levels of an annotation


class NotPlain(Exception):
    """An instance cannot be taken apart without loss; the text says why."""


class Registered(NamedTuple):
    """A class that the application has made known itself.

    Attributes:
        cls: The class.
        name: What it is called in a store.
        encode: Makes data of an instance; None for a class that is taken apart.
        decode: Makes an instance of data.
    """

    cls: type
    name: str
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None


_by_name: dict[str, Registered] = {}
_by_class: dict[type, Registered] = {}
_reached: dict[str, type] = {}  # by name: what the registered classes lead to


def register(
    cls: C,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> C:
    """Makes a class known to every codec of this process, and with it the classes that its fields lead to.

    Dataclasses, enums, named tuples and pydantic models need nothing else; other classes need `encode` and
    `decode`. An instance must come back equal and of the same class: for a pair of functions that is the
    application's promise. Also a decorator.

    Args:
        cls: The class; subclasses do not count.
        name: What it is called in a store; otherwise ``module:qualname``. A class that was moved or renamed
            is given its old name here. The last name given is the one that is written; all are read.
        encode: Makes data of an instance, out of types that can be stored.
        decode: Makes an instance of what `encode` gave.

    Raises:
        TypeError: It is no class, or one that needs both functions.
        ValueError: Another class has this name.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register takes a class, not {cls!r}")
    if (encode is None) != (decode is None):
        raise TypeError(f"register({cls.__name__}): encode and decode come together")
    if encode is None and not is_plain_class(cls):
        raise TypeError(
            f"register({cls.__name__}): it is no dataclass, enum, named tuple or pydantic model, so it takes "
            "encode= and decode="
        )
    name = tag_of(cls) if name is None else name
    if not isinstance(name, str) or not name:
        raise TypeError(f"register({cls.__name__}): name is a text, not {name!r}")
    there = _by_name.get(name)
    if there is not None and there.cls is not cls and tag_of(there.cls) != tag_of(cls):
        raise ValueError(f"register({cls.__name__}): {tag_of(there.cls)} is registered as {name!r} already")
    _by_name[name] = _by_class[cls] = Registered(cls, name, encode, decode)
    _reached.clear()
    return cls


def registered(cls: type) -> Registered | None:
    """What is known of a class by registration, its own or that of a class that leads to it."""
    found = _by_class.get(cls)
    if found is None and _by_class and _roots().get(tag_of(cls)) is cls:
        found = Registered(cls, tag_of(cls))
    return found


def registered_as(name: str) -> Registered | None:
    """The registered class of this name."""
    found = _by_name.get(name)
    if found is None and _by_name:
        cls = _roots().get(name)
        found = None if cls is None else Registered(cls, name)
    return found


def _roots() -> Mapping[str, type]:
    if not _reached:
        for cls in list(_by_class):
            _reached.update((tag_of(one), one) for one in types_of(cls))
    return _reached


def tag_of(cls: type) -> str:
    """What a class is called in a store: ``module:qualname``. A script is called the same whether it is run
    or loaded by its path."""
    name = cls.__module__
    if name in _MAIN or name.startswith(_BY_PATH):
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        file = getattr(module, "__file__", None)
        if name in _MAIN and spec is not None:
            name = spec.name
        elif file:
            name = re.sub(r"\W", "_", PurePath(file).stem)
    return f"{name}:{cls.__qualname__}"


# ----------------------------------------------------------------------------------------------------------
# Kinds of classes
# ----------------------------------------------------------------------------------------------------------


def is_dataclass(cls: type) -> bool:
    return "__dataclass_fields__" in vars(cls)


def is_named_tuple(cls: type) -> bool:
    fields = getattr(cls, "_fields", None)
    return issubclass(cls, tuple) and type(fields) is tuple and all(type(name) is str for name in fields)


def is_model(cls: type) -> bool:
    """Whether it is a pydantic model; without importing pydantic, which is loaded if there is one."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and cls is not base and issubclass(cls, base)


def is_plain_class(cls: type) -> bool:
    """Whether its instances can be stored without functions of the application's own."""
    return issubclass(cls, enum.Enum) or is_dataclass(cls) or is_named_tuple(cls) or is_model(cls)


class DataPlan:
    """How instances of one dataclass are taken apart and put together.

    No code of the class runs: neither ``__init__`` nor ``__post_init__``, properties or ``__setattr__``. What
    the fields held is what they hold again, those of ``init=False`` included.

    Args:
        cls: The class.

    Raises:
        NotPlain: Its instances are more than their fields.
    """

    __slots__ = ("_dict", "_extra", "_fields", "_lazy", "_slots", "cls", "name")

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = cls.__qualname__
        self._fields = {field.name: field for field in dataclasses.fields(cls)}
        for base in cls.__mro__[:-1]:
            if not base.__flags__ & _HEAP:
                raise NotPlain(f"is a dataclass that is also {with_article(base.__name__)}")
        own_eq: Any = cls.__eq__
        if own_eq is object.__eq__:
            raise NotPlain("is a dataclass that is equal to itself only (eq=False), so no copy can be")
        slots = {name for base in cls.__mro__ for name in _slots(base)}
        self._dict = "__dict__" in slots or bool(cls.__dictoffset__)
        self._extra = [self._slot(name) for name in slots - self._fields.keys() - {"__dict__", "__weakref__"}]
        self._slots = {name: slot for name in self._fields if (slot := self._slot(name)) is not None}
        self._lazy = {
            name
            for base in cls.__mro__
            for name, value in vars(base).items()
            if isinstance(value, functools.cached_property)
        }

    def take(self, value: Any) -> dict[str, Any]:
        """The fields of an instance.

        Raises:
            NotPlain: One is missing, or there is more to it.
        """
        held: dict[str, Any] = object.__getattribute__(value, "__dict__") if self._dict else {}
        fields = {}
        for name in self._fields:
            slot = self._slots.get(name)
            if slot is None:
                value_of = held.get(name, self._fields[name].default)  # of init=False, the class has it
                if value_of is dataclasses.MISSING:
                    raise NotPlain(f"has no value for its field {name!r}")
                fields[name] = value_of
            else:
                try:
                    fields[name] = slot.__get__(value)
                except AttributeError:
                    raise NotPlain(f"has no value for its field {name!r}") from None
        if not held.keys() <= fields.keys():
            for name in held:
                if name not in fields and name not in self._lazy:
                    raise NotPlain(f"has an attribute {name!r} that is none of its fields")
        for slot in self._extra:
            if slot is not None and _is_set(slot, value):
                raise NotPlain(f"has an attribute {slot.__name__!r} that is none of its fields")
        return fields

    def make(self, fields: Mapping[str, Any]) -> Any:
        """An instance with these fields; those that the class has gained since have their defaults.

        Raises:
            CannotDecode: They are not the fields of the class.
        """
        if fields.keys() != self._fields.keys():
            defaults = self._defaults(fields)
            check_fields(self.name, fields, self._fields, defaults)
            fields = {name: fields[name] if name in fields else defaults[name] for name in self._fields}
        made: Any = object.__new__(self.cls)
        if not self._slots:
            object.__getattribute__(made, "__dict__").update(fields)
            return made
        for name, value in fields.items():
            slot = self._slots.get(name)
            if slot is None:
                object.__getattribute__(made, "__dict__")[name] = value
            else:
                slot.__set__(made, value)
        return made

    def _defaults(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        defaults = {}
        for name, field in self._fields.items():
            if name not in fields:
                if field.default is not dataclasses.MISSING:
                    defaults[name] = field.default
                elif field.default_factory is not dataclasses.MISSING:
                    defaults[name] = field.default_factory()
        return defaults

    def _slot(self, name: str) -> Any:
        """What keeps a field apart from the instance's dict, if anything does."""
        for base in self.cls.__mro__:
            found = vars(base).get(name)
            if found is not None:
                return found if type(found) is _SlotType else None
        return None


class _Slotted:
    __slots__ = ("x",)


_SlotType: Any = type(vars(_Slotted)["x"])


def _slots(cls: type) -> Iterable[str]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def _is_set(slot: Any, value: Any) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def with_article(name: str) -> str:
    """A name with its article."""
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def check_fields(
    name: str, stored: Mapping[str, Any], fields: Iterable[str], defaults: Iterable[str]
) -> None:
    """Whether stored fields are those of a class as it is now.

    Raises:
        CannotDecode: They are not; it names them.
    """
    lost = sorted(stored.keys() - set(fields))
    gained = [field for field in fields if field not in stored and field not in set(defaults)]
    said = []
    if lost:
        said.append(f"it has no {_quoted(lost)} any more")
    if gained:
        said.append(f"it has {_quoted(gained)} now, without a default")
    if said:
        raise CannotDecode(
            f"a stored {name} does not fit the class: {' and '.join(said)}; nothing is lost, give the class "
            "these fields again or a default"
        )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


# ----------------------------------------------------------------------------------------------------------
# Annotations
# ----------------------------------------------------------------------------------------------------------


def types_of(annotation: Any) -> set[type]:
    """The classes that values of an annotated step may need: dataclasses, enums, named tuples and pydantic
    models, through generics, unions and the fields of what was found. Never raises: what cannot be understood
    leads nowhere."""
    found: set[type] = set()
    seen: set[int] = set()
    held: list[Any] = []  # an id means something only while its object is there
    queue: list[tuple[Any, int]] = [(annotation, 0)]
    while queue:
        hint, depth = queue.pop()
        if id(hint) in seen or depth > _DEEPEST:
            continue
        seen.add(id(hint))
        held.append(hint)
        try:
            queue += [(inner, depth + 1) for inner in _inner(hint, found)]
        except Exception:  # of a class that answers oddly when it is asked about itself
            continue
    return found


def _inner(hint: Any, found: set[type]) -> Iterator[Any]:
    """What an annotation leads to; a class that can be stored is added to those found."""
    if isinstance(hint, (list, tuple)):  # the parameters of a Callable
        yield from hint
        return
    if isinstance(hint, TypeVar):
        yield from (hint.__bound__, *hint.__constraints__)
        return
    if isinstance(hint, type) and not hasattr(hint, "__origin__"):
        yield from _of_class(hint, found)
        return
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        found.update(type(value) for value in typing.get_args(hint) if isinstance(value, enum.Enum))
        return
    if origin is typing.Annotated:
        yield hint.__origin__
        return
    yield from typing.get_args(hint)
    for inner in (origin, getattr(hint, "__supertype__", None), getattr(hint, "__value__", None)):
        if inner is not None:
            yield inner


def _of_class(cls: type, found: set[type]) -> Iterator[Any]:
    if issubclass(cls, enum.Enum):
        if cls.__members__ or issubclass(cls, enum.Flag):
            found.add(cls)
    elif is_model(cls):
        found.add(cls)
        generic = getattr(cls, "__pydantic_generic_metadata__", None) or {}
        yield from (generic.get("origin"), *generic.get("args", ()))
        for field in getattr(cls, "__pydantic_fields__", {}).values():
            yield field.annotation
        yield from _hints(cls)
    elif is_dataclass(cls) or is_named_tuple(cls):
        found.add(cls)
        yield from _hints(cls)
    elif hasattr(cls, "__total__") and hasattr(cls, "__required_keys__"):  # a TypedDict
        yield from _hints(cls)


def _hints(cls: type) -> Iterator[Any]:
    try:
        yield from typing.get_type_hints(cls).values()
    except Exception:  # a name that is there for type checkers only: the others still count
        for base in cls.__mro__:
            for hint in vars(base).get("__annotations__", {}).values():
                yield _resolved(hint, base)


def _resolved(hint: Any, cls: type) -> Any:
    """One annotation by itself: evaluated as `get_type_hints` does, or nothing."""
    if not isinstance(hint, str):
        return hint
    holder = type("holder", (), {"__annotations__": {"x": hint}, "__module__": cls.__module__})
    try:
        return typing.get_type_hints(holder).get("x")
    except Exception:
        return None
