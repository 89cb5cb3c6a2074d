"""Types along the edges: what a marker makes of a step's value, against what the parameter takes."""

from __future__ import annotations

import collections.abc
import types
from types import FunctionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from penstock.core.errors import GraphError, nearest
from penstock.core.model import Failure, Ok, Skip

from .assign import assignable, fits
from .markers import Fold, Marker, Optional, Param, Source, Use
from .signature import Parameter, hints_of
from .step import AnyStep
from .words import brief, call_name, short, slot

UNKNOWN: Any = None
"""No annotation, or one that cannot be evaluated: everything fits."""

_MAPPED = (list, tuple)
_ITERATORS = (collections.abc.Iterator, collections.abc.AsyncIterator)
_REFUSED = (str, bytes, bytearray, dict, set, frozenset, collections.abc.Mapping, collections.abc.Set)
_VARARGS = 0x04
_VAGUE = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_WHOLE = (int, float, complex, bool, types.NoneType, set, frozenset)


class Edges:
    """The type checks of one build; each pair of functions is looked at once, however often it comes."""

    __slots__ = ("_fine",)

    def __init__(self) -> None:
        self._fine: set[Any] = set()

    def check_by_name(self, step: AnyStep, param: Parameter, source: AnyStep) -> None:
        """The same as `check` for a parameter that is wired by its name.

        Raises:
            GraphError: The types do not fit.
        """
        if param.type is not UNKNOWN:
            self.check(step, param, Use(source), source)

    def check(self, step: AnyStep, param: Parameter, marker: Marker, source: Source[Any]) -> None:
        """Whether the parameter takes what the marker makes of its source.

        Raises:
            GraphError: It does not, or the marker cannot make anything of it.
        """
        wanted = param.type
        facts = getattr(source, "facts", source)
        if type(marker) is Use:
            if wanted is UNKNOWN:
                return
            key: Any = (facts, param)
        else:
            key = (facts, param, marker.word, marker.part, marker.failures, marker.levels)
        if isinstance(marker, Optional) and not fits(marker.default, wanted):
            raise GraphError(
                f"{slot(step, param.name)} takes {short(wanted)}, and {brief(marker.default)}, "
                f"the default of {marker!r}, is {short(type(marker.default))};\n"
                f"annotate {param.name!r} for both, or give another default"
            )
        if key in self._fine:
            return
        whole = _type_of(source)
        given = self._made(step, param, marker, whole) if whole is not UNKNOWN else UNKNOWN
        if wanted is not UNKNOWN and given is not UNKNOWN and not assignable(given, wanted):
            raise _mismatch(step, param, marker, source, whole, given)
        self._fine.add(key)

    def check_fold(self, step: AnyStep, param: Parameter, marker: Fold, source: Source[Any]) -> None:
        """The same as `check` for a fold: its function too must take what it is given.

        Raises:
            GraphError: Something does not fit.
        """
        says = f"{slot(step, param.name)} takes {marker!r}"
        name, whole = call_name(marker.function), _type_of(source)
        so_far, item, made = _folding(says, name, marker.function)
        if whole is not UNKNOWN and item is not UNKNOWN and not assignable(whole, item):
            raise GraphError(
                f"{says}, and {name!r} takes {short(item)} as the next item, where {source.id!r} returns "
                f"{short(whole)};\nchange one of the two annotations, or fold another step"
            )
        if so_far is not UNKNOWN and made is not UNKNOWN and not assignable(made, so_far):
            raise GraphError(
                f"{says}, and {name!r} takes {short(so_far)} as what there is so far, but returns "
                f"{short(made)};\nlet it return what it takes"
            )
        for wanted, taker in ((so_far, repr(name)), (param.type, repr(param.name))):
            if not fits(marker.initial, wanted):
                raise GraphError(
                    f"{says}, and what it begins with, {brief(marker.initial)}, is "
                    f"{short(type(marker.initial))}, where {taker} takes {short(wanted)};\n"
                    "begin with another value, or change the annotation"
                )
        if made is not UNKNOWN and param.type is not UNKNOWN and not assignable(made, param.type):
            raise GraphError(
                f"{slot(step, param.name)} takes {short(param.type)}, and {marker!r} gives {short(made)};\n"
                f"change one of the two annotations, or the marker of {param.name!r}"
            )

    def constant(self, step: AnyStep, param: Parameter, value: Any) -> None:
        """Whether the parameter takes a constant.

        Raises:
            GraphError: It does not.
        """
        wanted = param.type
        if wanted is UNKNOWN or type(value) is wanted or fits(value, wanted):
            return
        raise GraphError(
            f"{slot(step, param.name)} takes {short(wanted)}, and {brief(value)} is {short(type(value))}"
        )

    def _made(self, step: AnyStep, param: Parameter, marker: Marker, whole: Any) -> Any:
        """The type of what a marker makes of a value of type `whole`."""
        match marker.word:
            case "each":
                return _element(step, param, marker, whole)
            case "gather":
                made = _outcome(whole) if marker.failures == "keep" else whole
                for _ in range(min(marker.levels, 8)):
                    made = list[made]  # type: ignore[valid-type]
                return made
            case "outcome":
                return _outcome(whole)
            case _:
                return whole if marker.part is None else _part(step, param, marker, whole)


def _type_of(source: Any) -> Any:
    if isinstance(source, Param):
        return source.type
    facts = source.facts
    if not facts.resolved:
        facts.resolve()
    return facts.returns


def _streams(source: Source[Any]) -> bool:
    return not isinstance(source, Param) and source.facts.stream  # type: ignore[attr-defined]


def _folding(says: str, name: str, function: Any) -> tuple[Any, Any, Any]:
    """The types that a fold's function takes and returns, as far as they can be seen.

    Raises:
        GraphError: It surely does not take two values.
    """
    if not isinstance(function, FunctionType):
        return UNKNOWN, UNKNOWN, UNKNOWN
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    must = len(names) - len(function.__defaults__ or ())
    if must > 2 or (len(names) < 2 and not code.co_flags & _VARARGS) or _must_be_named(function):
        raise GraphError(
            f"{says}, which calls {name}(so_far, item), and {name}({', '.join(names)}) cannot be called so;\n"
            "give fold a function of two parameters"
        )
    hints = hints_of(function)
    if len(names) < 2:
        return UNKNOWN, UNKNOWN, UNKNOWN
    found = [hints.get(one, UNKNOWN) for one in (*names[:2], "return")]
    so_far, item, made = [UNKNOWN if type(one) is str or one is Any else one for one in found]
    return so_far, item, made


def _must_be_named(function: FunctionType) -> bool:
    code = function.__code__
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return len(named) > len(function.__kwdefaults__ or ())


def _outcome(type_: Any) -> Any:
    return Union[Ok[type_], Failure, Skip]  # noqa: UP007


def _element(step: AnyStep, param: Parameter, marker: Marker, whole: Any) -> Any:
    """What `each` gives of a value, by its type.

    Raises:
        GraphError: No map can be made over it.
    """
    origin = get_origin(whole)
    if origin in (Union, types.UnionType):
        made = [_element(step, param, marker, one) for one in get_args(whole)]
        return UNKNOWN if UNKNOWN in made else Union[tuple(made)]  # noqa: UP007
    class_ = origin or whole
    if (
        not isinstance(class_, type)
        or class_ is object
        or (getattr(class_, "_is_protocol", False) and not origin)
    ):
        return UNKNOWN
    args = [arg for arg in get_args(whole) if arg is not ...]
    if class_ is tuple:
        return Union[tuple(args)] if args else UNKNOWN  # noqa: UP007
    if issubclass(class_, _MAPPED) and not issubclass(class_, _REFUSED):
        return args[0] if args and class_ in (list, *_MAPPED) else UNKNOWN
    source = marker.source.id
    says = f"step {step.id!r}: {param.name}={marker!r} needs a list or tuple, and {source!r} "
    if isinstance(marker.source, Param):
        raise GraphError(f"{says}is {short(whole)};\nsay param({source!r}, list[...]), or use() it whole")
    says += f"returns {short(whole)}"
    if issubclass(class_, _ITERATORS):
        raise GraphError(
            f"{says}, from a coroutine;\nlet it yield its elements (an async generator), or return a list"
        )
    if class_ in _VAGUE:
        raise GraphError(
            f"{says};\nannotate it as list{f'[{short(args[0])}]' if args else ''}, and return one"
        )
    if issubclass(class_, (dict, collections.abc.Mapping)):
        raise GraphError(
            f"{says};\nreturn list(...) of its keys, values or items, or take it whole with use({source})"
        )
    if issubclass(class_, (set, frozenset, collections.abc.Set)):
        raise GraphError(
            f"{says}, which has no order;\nreturn sorted(...), or take it whole with use({source})"
        )
    raise GraphError(f"{says};\nreturn a list, or take it whole with use({source})")


def _part(step: AnyStep, param: Parameter, marker: Marker, whole: Any) -> Any:
    """What `use(source, part)` gives of a value, by its type; unknown for most.

    Raises:
        GraphError: It surely has no such part.
    """
    part, source = marker.part, marker.source.id
    class_, args = get_origin(whole) or whole, get_args(whole)
    says = f"step {step.id!r}: {param.name}={marker!r}"
    if is_typeddict(class_):
        hints = get_type_hints(class_)
        if isinstance(part, str) and part not in hints:
            raise GraphError(
                f"{says}: {source!r} returns {short(class_)}, without a key {part!r}{nearest(part, hints)}"
            )
        return hints.get(str(part), UNKNOWN)
    if class_ is tuple and args and isinstance(part, int):
        if args[-1] is ...:
            return args[0]
        if not -len(args) <= part < len(args):
            raise GraphError(
                f"{says}: {source!r} returns {short(whole)}, which has {len(args)} elements, from 0"
            )
        return args[part]
    if class_ is list and args and isinstance(part, int):
        return args[0]
    if class_ is dict and len(args) == 2:
        return args[1]
    if class_ in _WHOLE:
        raise GraphError(f"{says}: {source!r} returns {short(whole)}, which has no parts; say use({source})")
    return UNKNOWN


def _mismatch(
    step: AnyStep, param: Parameter, marker: Marker, source: Source[Any], whole: Any, given: Any
) -> GraphError:
    takes, name, wanted = short(param.type), source.id, param.type
    returns = "is" if isinstance(source, Param) else "returns"
    gives = f"{name!r} {returns} {short(whole)}"
    if marker.word == "use" and marker.part is None and _streams(source):
        gives = f"the value of {name!r}, a stream, is {short(whole)}"
    elif given != whole:
        gives = f"{marker!r} gives {short(given)}"
    return GraphError(
        f"{slot(step, param.name)} takes {takes}, and {gives};\n"
        f"{_mend(marker, param.name, name, whole, given, wanted)}"
    )


def _mend(marker: Marker, param: str, source: str, whole: Any, given: Any, wanted: Any) -> str:
    """The likeliest way out of a mismatch."""
    if marker.word != "use" and assignable(whole, wanted):
        return f"did you mean {param}=use({source})?"
    if marker.word in ("use", "outcome") and get_origin(whole) in (list, tuple):
        elements = [arg for arg in get_args(whole) if arg is not ...]
        if marker.part is None and elements and all(assignable(one, wanted) for one in elements):
            return f"did you mean {param}=each({source})?"
    if marker.word == "use" and marker.part is None and assignable(list[whole], wanted):
        return f"did you mean {param}=gather({source})?"
    if marker.failures == "keep" and assignable(list[whole], wanted):
        return f"annotate {param!r} as {short(given)}, or leave out failures='keep'"
    if get_origin(given) in (Union, types.UnionType) and marker.word == "use":
        rest = [one for one in get_args(given) if not assignable(one, wanted)]
        if len(rest) < len(get_args(given)):
            names = " | ".join(short(one) for one in rest)
            return f"annotate {param!r} for {names} too, or let {source!r} never return it"
    return f"change one of the two annotations, or the marker of {param!r}"
