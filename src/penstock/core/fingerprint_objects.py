"""What live objects are made of, as far as that is code: functions, classes, and what they hold on to.

Each object becomes a `Part`: a text of its own, and the parts that it leads to.
"""

from __future__ import annotations

import ast
import enum
import sys
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from .fingerprint_files import Files, Place, Source, is_project, is_us
from .fingerprint_parts import MOST, Part
from .fingerprint_reading import FUNCTIONS, Chain
from .fingerprint_values import (
    MISSING,
    PLAIN,
    all_names,
    bytecode,
    defaults,
    file_of,
    functions_of,
    is_lasting,
    is_single,
    literal,
    module_of,
    name_of,
    names_of,
    plain,
)
from .fingerprint_variables import attributes_in, changed_in, fixed_by, made_of

_SAID = ("datetime", "decimal", "fractions", "ipaddress", "pathlib", "re", "uuid", "zoneinfo")
"""Modules of the standard library whose values say all that they are in their repr."""

_FIRST = ("__init__", "__new__", "__post_init__", "__setstate__")
_CODE = (FunctionType, MethodType, partial, ModuleType, BuiltinFunctionType)
_LEVELS = 3
"""How many objects deep the attributes of an object count."""


class Objects:
    """The parts of live objects, one for each."""

    def __init__(self) -> None:
        self._files = Files()
        self._parts: dict[Any, tuple[Any, Part]] = {}  # with the objects, so that no id is used twice

    def part(self, given: Any, level: int = 0) -> Part:
        """The part of something that can be called, of a class, a module or an object."""
        try:
            return self._part(given, level)
        except Exception as error:  # of somebody's own class, which may do anything
            return self._kept((id(given), 0), given, "", partial(_unreadable, error))

    def _part(self, given: Any, level: int) -> Part:
        kind = type(given)  # what it says of itself may be anything
        if issubclass(kind, type):
            return self._class(given)
        look: Callable[[Part], None]
        reached = getattr(kind, "__penstock_code__", None)
        if reached is not None:
            look = partial(self._all, reached, given)
        elif kind is FunctionType:
            look = partial(self._function, given)
        elif kind is MethodType:
            owner = given.__self__
            if hasattr(type(owner), "__penstock_code__") and is_us(
                getattr(given.__func__, "__module__", None)
            ):
                return self.part(owner)
            look = partial(self._method, given)
        elif issubclass(kind, partial):
            look = partial(self._partial, given)
        elif issubclass(kind, ModuleType):
            look = partial(self._module, given)
        else:
            return self._kept((id(given), level), given, name_of(kind), partial(self._object, given), level)
        name = name_of(given if kind in (FunctionType, MethodType) else kind)
        return self._kept((id(given), 0), given, name, look)

    def _kept(self, key: Any, given: Any, name: str, look: Callable[[Part], None], level: int = 0) -> Part:
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = given, Part(name, look, level)
        return found[1]

    def _all(self, reached: Any, given: Any, part: Part) -> None:
        for one in reached(given):
            part.lead(self.part(one))

    # --- what is written in files -------------------------------------------------------------------------

    def _place(self, place: Place) -> Part:
        source = place.source
        assert source is not None
        name = f"{module_of(source.name, source.path)}:{place.name}"
        return self._kept((source.path, place.name), source, name, partial(self._written, source, place.name))

    def _written(self, source: Source, name: str, part: Part) -> None:
        if not name:
            part.say(source.reading(source.tree.body, self._files).text)
            return
        module = sys.modules.get(source.name)
        own = names_of(module) if file_of(module) == source.path else {}
        statements = source.bindings.get(name, [])
        made = [*made_of(statements, name)]
        if made and all(self._files.is_ours(source, value) for value in made):
            for value in made:
                self._ours(part, source, value, own)
            return
        given = literal(made[0]) if len(statements) == 1 and len(made) == 1 else MISSING
        if given is MISSING or name in source.variables or not is_single(statements[0]):
            for one in statements:
                self._read(part, source, [one], own)
            return
        live = own.get(name, given)  # somebody may have set it
        self._value(part, live if is_lasting(live) else given)

    def _ours(self, part: Part, source: Source, value: ast.expr, own: dict[str, Any]) -> None:
        """Says what this library is given to work with, as in ``load = flow.add(function, ...)``."""
        part.say("ours")
        for arg in value.args if isinstance(value, ast.Call) else ():
            if isinstance(arg, ast.Call) and self._files.is_ours(source, arg):
                self._ours(part, source, arg, own)
            elif not isinstance(arg, ast.Constant):
                self._read(part, source, [arg], own)

    def _read(
        self,
        part: Part,
        source: Source,
        nodes: list[Any],
        own: dict[str, Any],
        around: tuple[Any, ...] = (),
        changed: Iterable[str] = (),
    ) -> None:
        """Says some nodes of a file, and leads to what they take from elsewhere.

        Args:
            part: Where it is said.
            source: The file.
            nodes: The nodes.
            own: What is global to them.
            around: The functions that they stand in.
            changed: Names of what changes while it is used.
        """
        reading = source.reading(nodes, self._files, around)
        part.say(reading.text)
        for chain in reading.names:
            self._name(part, source, chain, own, chain[0] in changed)
        for level, module, names in reading.imports:
            module = source.absolute(level, module)
            places = self._files.places_in(module, names)
            self._places(part, names, places)
            if not places and module in sys.modules:
                self._live(part, sys.modules[module], names)

    def _name(
        self, part: Part, source: Source, chain: Chain, own: dict[str, Any], changes: bool = False
    ) -> None:
        """Says where a name leads; a file that cannot be found again is asked last."""
        places = self._files.places(source, chain) if source.is_file else []
        if places:
            self._places(part, chain, places)
        elif chain[0] in own:
            part.say(".".join(chain))
            self._live(part, own[chain[0]], chain[1:], changes)

    def _places(self, part: Part, chain: Chain, places: list[Place]) -> None:
        for place in places:
            part.say(f"{'.'.join(chain)}={place.foreign}")
            if place.source is not None:
                part.lead(self._place(place))

    def _live(self, part: Part, value: Any, names: Iterable[str], changes: bool = False) -> None:
        """Says a value that is global, or what is taken of it if it is a module."""
        for name in names:
            if not isinstance(value, ModuleType):
                break
            if not is_project(file_of(value) or "<frozen>"):
                part.say(f"{value.__name__}.{name}")
                return
            value = names_of(value).get(name)
        self._value(part, value, changes)

    # --- functions ----------------------------------------------------------------------------------------

    def _function(self, given: FunctionType, part: Part) -> None:
        code, own = given.__code__, given.__globals__
        ours = is_us(own.get("__name__"))
        is_theirs = not ours and is_project(code.co_filename)
        source = self._files.of_code(code, own) if is_theirs else None
        node = None if source is None else source.function(code)
        if source is not None and node is not None:
            self._read(part, source, [node], own, source.around(node), source.changed_around(node)[0])
        elif is_theirs:
            self._unwritten(part, code, given.__doc__, own)
        elif not ours:
            part.say(name_of(given))
        self._cells(part, given, source, node, is_theirs)
        for name, value in defaults(given):
            if is_lasting(value) or callable(value):
                part.say(name)
                self._value(part, value)
        wrapped = given.__dict__.get("__wrapped__")
        if wrapped is not None:
            part.lead(self.part(wrapped))

    def _cells(
        self, part: Part, given: FunctionType, source: Source | None, node: Any, is_theirs: bool
    ) -> None:
        """Says what a function holds of the functions around it.

        Args:
            part: Where it is said.
            given: The function.
            source: Its file, if it is one of the project.
            node: Of the function, or of its class; None if it is not there.
            is_theirs: It belongs to the project.
        """
        for name, cell in zip(given.__code__.co_freevars, given.__closure__ or (), strict=False):
            try:
                value = cell.cell_contents
            except ValueError:  # it is not there yet
                continue
            is_code = type(value) in _CODE or isinstance(value, type)
            if name == "__class__" or not (is_theirs or is_lasting(value) or callable(value)):
                continue
            part.say(name)
            if source is None or node is None or is_code:
                self._value(part, value)
            elif made := source.made_inside(source.around(node), name):
                # Its value may be another one in every process: the time, or an empty list, filled since.
                self._read(part, source, made, given.__globals__, source.around(node))
            else:
                self._value(part, value, name in source.changed_around(node)[0])

    def _unwritten(self, part: Part, code: CodeType, doc: str | None, own: dict[str, Any]) -> None:
        """Says a function whose source is not there."""
        part.say(bytecode(code, doc))
        names = all_names(code)
        for name in sorted(names & own.keys()):
            value = own[name]
            part.say(name)
            if isinstance(value, ModuleType) and is_project(file_of(value) or "<frozen>"):
                for one in sorted(names & names_of(value).keys()):
                    part.say(one)
                    self._value(part, names_of(value)[one])
            else:
                self._value(part, value)

    def _method(self, given: MethodType, part: Part) -> None:
        owner, function = given.__self__, given.__func__
        code = getattr(function, "__code__", None)
        if code is None:
            part.lead(self.part(function))
            return
        if is_us(function.__module__):
            return
        if not is_project(code.co_filename):
            part.say(name_of(function))
            return
        kind = owner if isinstance(owner, type) else type(owner)
        if getattr(getattr(kind, function.__name__, None), "__func__", None) is function or (
            getattr(kind, function.__name__, None) is function
        ):
            part.say(function.__name__)
            part.lead(self._class(kind, function.__name__))
        else:
            part.lead(self.part(function))
            part.lead(self._class(kind))
        if owner is not kind:
            self._state(part, owner)

    def _partial(self, given: partial[Any], part: Part) -> None:
        part.lead(self.part(given.func))
        self._value(part, given.args)
        self._value(part, given.keywords)

    # --- classes and objects ------------------------------------------------------------------------------

    def _class(self, kind: type, method: str = "") -> Part:
        """The part of a class; with a method, of that and of what it uses of its class."""
        return self._kept(
            (id(kind), "class", method), kind, name_of(kind), partial(self._classes, kind, method)
        )

    def _classes(self, kind: type, method: str, part: Part) -> None:
        found: list[tuple[type, Source, ast.ClassDef]] = []
        for one in kind.__mro__:
            if is_us(one.__module__) or one is object:
                continue
            source = self._source_of(one)
            written = [] if source is None else source.classes(one.__qualname__)
            if source is not None and written:
                found += [(one, source, node) for node in written]
            elif source is not None or _is_from_project(one):
                self._unwritten_class(part, one)
            else:
                part.say(name_of(one))
        wanted = _used([node for _, _, node in found], method) if method else None
        for one, source, node in found:
            own = names_of(sys.modules.get(one.__module__))
            if wanted is None:
                self._read(part, source, [node], own, source.around(node))
            else:
                outside = [each for each in node.decorator_list if self._files.is_ours(source, each) is False]
                inside = [each for each in node.body if getattr(each, "name", None) in (None, *wanted)]
                nodes: list[Any] = [*outside, *node.bases, *node.keywords, *inside]
                self._read(part, source, nodes, own, source.around(node))
            for function in functions_of(one):
                if function.__closure__ and (wanted is None or function.__name__ in wanted):
                    self._cells(part, function, source, node, is_theirs=True)

    def _source_of(self, kind: type) -> Source | None:
        for function in functions_of(kind):
            if is_us(function.__module__) or function.__module__ != kind.__module__:
                continue
            if not function.__code__.co_filename.startswith("<") and is_project(
                function.__code__.co_filename
            ):
                return self._files.of_code(function.__code__, function.__globals__)
        return self._files.of_module(kind.__module__)

    def _unwritten_class(self, part: Part, kind: type) -> None:
        for name, value in sorted(vars(kind).items()):
            function = getattr(value, "__func__", value)
            if isinstance(function, FunctionType):
                part.say(name)
                part.lead(self.part(function))
            elif is_lasting(value) and name not in (
                "__doc__",
                "__module__",
                "__qualname__",
                "__firstlineno__",
            ):
                part.say(name)
                self._value(part, value)

    def _object(self, given: Any, part: Part) -> None:
        """An object: what is called of it, or else its class, and its attributes."""
        kind = type(given)
        wrapped = getattr(given, "__dict__", {}).get("__wrapped__")
        if wrapped is not None:
            part.say(name_of(kind))
            part.lead(self.part(wrapped))
        elif isinstance(given, (BuiltinFunctionType, staticmethod, classmethod)) or not _is_from_project(
            kind
        ):
            function = getattr(given, "__func__", None)
            if function is not None:
                part.lead(self.part(function))
            elif not is_us(kind.__module__):
                named = isinstance(getattr(given, "__name__", None), str)
                part.say(name_of(given if named else kind))
                if kind.__module__ == "operator":
                    self._value(part, given.__reduce__())  # attrgetter("name")
        else:
            part.lead(self._class(kind, "__call__" if callable(given) else ""))
            self._state(part, given)

    def _state(self, part: Part, given: Any) -> None:
        """Says the attributes of an object that stay what they are."""
        kind = type(given)
        values = dict(getattr(given, "__dict__", {}))
        skip = set(getattr(kind, "__penstock_options__", ()))
        for one in kind.__mro__:
            for name, value in vars(one).items():
                if isinstance(value, cached_property):
                    skip.add(name)
                elif name not in values and type(value).__name__ == "member_descriptor":
                    found = getattr(given, name, MISSING)
                    values.update({} if found is MISSING else {name: found})
            if is_us(one.__module__) or one is object:
                continue
            source = self._source_of(one)
            for node in () if source is None else source.classes(one.__qualname__):
                methods = [member for member in node.body if isinstance(member, FUNCTIONS)]
                first = [member for member in methods if member.name in _FIRST]
                skip.update(fixed_by(first), *(changed_in(one)[1] for one in methods if one not in first))
        for name in sorted(values.keys() - skip, key=str):
            part.say(str(name))
            self._value(part, values[name], level=part.level + 1)

    def _module(self, given: ModuleType, part: Part) -> None:
        source = self._files.of_module(given.__name__)
        if source is None:
            part.say(given.__name__)
        else:
            part.lead(self._place(Place(source)))

    # --- values -------------------------------------------------------------------------------------------

    def _value(self, part: Part, value: Any, changes: bool = False, level: int = 0, depth: int = 0) -> None:
        """Says a value, or leads to it. Of what changes while it is used only the type counts."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, enum.Enum):
            text = plain(value)
            part.say(kind.__name__ if changes else text)
        elif part.full() or depth > 20:
            part.say("more")
        elif isinstance(value, (*_CODE, type)):
            part.lead(self.part(value))
        elif changes:
            part.say(name_of(kind))
        elif isinstance(value, (tuple, list)):
            part.say(f"{kind.__name__}[{len(value)}]")
            for one in value[:MOST]:
                self._value(part, one, level=level, depth=depth + 1)
        elif isinstance(value, (dict, set, frozenset)):
            self._unordered(part, value, level, depth)
        elif kind.__module__.partition(".")[0] in _SAID or kind is bytearray:
            part.say(f"{kind.__name__}:{value!r}")
        elif is_us(kind.__module__) and not hasattr(kind, "__penstock_code__"):
            part.say("ours")
        elif level > _LEVELS:
            part.say(name_of(kind))
        else:
            part.lead(self.part(value, level))

    def _unordered(self, part: Part, value: Any, level: int, depth: int) -> None:
        part.say(f"{type(value).__name__}[{len(value)}]")
        if len(value) > MOST:
            return
        keys = []
        for one in value:
            key = Part("", lambda _: None)
            self._value(key, one, level=level, depth=depth + 1)
            keys.append(("".join([*key._text, *(each.name for each in key.to)]), one))
        for _, one in sorted(keys, key=lambda pair: pair[0]):
            self._value(part, one, level=level, depth=depth + 1)
            if isinstance(value, dict):
                self._value(part, value[one], level=level, depth=depth + 1)


def _unreadable(error: Exception, part: Part) -> None:
    part.say(f"unreadable: {type(error).__name__}")


def _used(nodes: list[ast.ClassDef], method: str) -> set[str]:
    """The members of a class, its bases included, that a method may use."""
    members: dict[str, list[Any]] = {}
    for node in nodes:
        for one in node.body:
            if isinstance(one, (*FUNCTIONS, ast.ClassDef)):
                members.setdefault(one.name, []).append(one)
    wanted = {method, *(name for name in members if name.startswith("__"))}
    todo = list(wanted)
    while todo:
        for one in members.get(todo.pop(), ()):
            names = attributes_in(one)
            if any(isinstance(each, ast.Name) and each.id in ("getattr", "vars") for each in ast.walk(one)):
                names = set(members)
            todo += (names & members.keys()) - wanted
            wanted |= names & members.keys()
    return wanted


def _is_from_project(kind: type) -> bool:
    if is_us(kind.__module__):
        return False
    path = file_of(sys.modules.get(kind.__module__))
    if path:
        return is_project(path)
    return any(is_project(function.__code__.co_filename) for function in functions_of(kind))
