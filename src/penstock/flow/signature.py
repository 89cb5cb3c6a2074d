"""What a function says about itself: parameters, annotations, colour. Read once per function, never called.

Two steps: `read` takes what costs nothing (names and defaults, off the code object where there is one);
`Facts.resolve` evaluates the annotations, at the first build, when the names they use exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from functools import partial
from types import FunctionType, GenericAlias, MethodType, SimpleNamespace
from typing import IO, Any, get_args, get_origin, get_type_hints

from penstock.core.context import Context
from penstock.core.errors import GraphError
from penstock.core.model import Accepts

from .markers import Marker
from .words import call_name

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__slots__": ()})()
"""Stands where None could be meant: no default, no binding."""

_VARARGS, _KEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200


class Parameter:
    """One parameter of a function.

    Attributes:
        name: Its name.
        default: Its default, possibly a `Marker`; `ABSENT` without one.
        fixed: A `functools.partial` has given it already: it is not wired unless bound.
        accepts: What a need of it takes besides success.
        type: Its annotation, evaluated; None while unknown. Filled by `Facts.resolve`.
        context: It receives the attempt's `Context`. Filled by `Facts.resolve`.
    """

    __slots__ = ("accepts", "context", "default", "fixed", "name", "type")

    def __init__(self, name: str, default: Any = ABSENT, fixed: bool = False) -> None:
        self.name = name
        self.default = default
        self.fixed = fixed
        self.accepts = Accepts.NOTHING
        self.type: Any = None
        self.context = False
        if default is not ABSENT:
            self.give(default)

    def give(self, default: Any) -> None:
        """Sets the default. With one it can do without a value, so a skipped step is no reason to skip."""
        self.default = default
        if default is not ABSENT and not isinstance(default, Marker):
            self.accepts = Accepts.CONDITION


class Facts:
    """One function, as far as the graph is concerned.

    Attributes:
        name: Its name, or None where it has none of its own (a lambda, a callable object).
        params: Its parameters, in order.
        names: Their names.
        open: It has ``**keywords``, so it can be given any name.
        marked: Pairs (position, name) of the parameters whose default is a marker.
        coroutine: It is a coroutine function.
        is_async: A call of it must be awaited: it is one, or is annotated to return an awaitable; or it is an
            async generator.
        stream: A call of it gives elements one by one: it is a generator function, or is annotated to return
            an iterator. Known for certain after `resolve`.
        doc: First line of its docstring.
        origin: ``file:line``, or empty.
        returns: What it returns (awaited; of a stream the list of its elements), evaluated; None while
            unknown. Filled by `resolve`.
        resolved: Whether `resolve` has been here.
    """

    __slots__ = (
        "coroutine", "doc", "is_async", "marked", "name", "names", "open", "origin", "owner", "params",
        "resolved", "returns", "stream",
    )  # fmt: skip

    def __init__(
        self, name: str | None, params: list[Parameter], owner: Any, *, open: bool, is_async: bool
    ) -> None:
        self.name = name
        self.params = tuple(params)
        self.names = frozenset([param.name for param in params])
        self.open = open
        self.marked = tuple([(at, p.name) for at, p in enumerate(params) if isinstance(p.default, Marker)])
        self.is_async = self.coroutine = is_async
        self.stream = False
        self.owner = owner
        self.doc = ""
        self.origin = ""
        self.returns: Any = None
        self.resolved = False

    def resolve(self) -> None:
        """Evaluates the annotations; what cannot be evaluated counts as not said.

        Two threads may be here at once: each does all of it, to the same end, and `resolved` comes last.
        """
        hints = hints_of(self.owner)
        for param in self.params:
            hint = hints.get(param.name)
            if hint is not None:
                param.context = _is_context(hint)
                param.type = None if type(hint) is str or hint is Any else hint
        returns = self.owner if isinstance(self.owner, type) else hints.get("return")
        if not self.coroutine:
            returns = self._called(returns)
        self.returns = None if type(returns) is str or returns is Any else returns
        self.resolved = True

    def _called(self, returns: Any) -> Any:
        """What a call gives that returns `returns`: awaited, or all elements of a stream."""
        class_ = get_origin(returns) or returns
        if isinstance(class_, type):
            if class_ is not returns and issubclass(class_, Awaitable):
                self.is_async = True
                return (get_args(returns) or (None,))[-1]
            if issubclass(class_, (Iterator, AsyncIterator, IO)):
                self.stream = True
                self.is_async = issubclass(class_, AsyncIterator)
        if not self.stream:
            return returns
        args = get_args(returns) if getattr(class_, "__module__", "") == "collections.abc" else ()
        return GenericAlias(list, args[:1]) if args else list


def read(function: Any, label: str) -> Facts:
    """The facts of a function, method, class, `functools.partial` or callable object.

    Args:
        function: What a step would call.
        label: What error texts call it: ``step 'load'``.

    Raises:
        GraphError: It cannot be called with keywords alone, or has no signature.
    """
    if type(function) is FunctionType and not function.__dict__:
        facts = _read_code(function, label)
        facts.doc = _first_line(function.__doc__)
    else:
        facts = _read_signature(function, label)
        facts.doc = _first_line(None if isinstance(function, partial) else getattr(function, "__doc__", None))
    code = getattr(_plain(function), "__code__", None)
    if code is not None:
        facts.origin = f"{code.co_filename}:{code.co_firstlineno}"
    return facts


def _read_code(function: FunctionType, label: str) -> Facts:
    """The same as `_read_signature` for a plain function, ten times as fast."""
    code = function.__code__
    flags = code.co_flags
    if flags & _VARARGS or code.co_posonlyargcount:
        raise _not_by_keyword(
            label, function, code.co_varnames[0] if code.co_posonlyargcount else "*" + _star(code)
        )
    positional, total = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    params = [Parameter(name) for name in code.co_varnames[:total]]
    defaults = function.__defaults__
    if defaults:
        for param, default in zip(params[positional - len(defaults) : positional], defaults, strict=True):
            param.give(default)
    if function.__kwdefaults__:
        for param in params[positional:]:
            param.give(function.__kwdefaults__.get(param.name, ABSENT))
    name = None if code.co_name == "<lambda>" else function.__name__
    facts = Facts(name, params, function, open=bool(flags & _KEYWORDS), is_async=bool(flags & _COROUTINE))
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        facts.stream, facts.is_async = True, bool(flags & _ASYNC_GENERATOR)
    return facts


def _star(code: Any) -> str:
    name: str = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    return name


def _read_signature(function: Any, label: str) -> Facts:
    import inspect  # on use: it costs a start several milliseconds, and plain functions do without

    plain = _plain(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise GraphError(
            f"{label}: {call_name(function)} has no signature that Python can read;\n"
            f"wrap it in a function of your own: lambda x: {call_name(function)}(x)"
        ) from None
    given = function.keywords if isinstance(function, partial) else {}
    params, open_ = [], False
    for found in signature.parameters.values():
        if found.kind is found.VAR_KEYWORD:
            open_ = True
        elif found.kind in (found.VAR_POSITIONAL, found.POSITIONAL_ONLY):
            raise _not_by_keyword(
                label, function, ("*" if found.kind is found.VAR_POSITIONAL else "") + found.name
            )
        else:
            default = ABSENT if found.default is found.empty else found.default
            params.append(
                Parameter(found.name, default, found.name in given and not isinstance(default, Marker))
            )
    if isinstance(function, partial) and any(isinstance(value, Marker) for value in function.args):
        raise GraphError(f"{label}: a marker in a partial must be given by keyword")
    own = function.func if isinstance(function, partial) else function
    name = getattr(own, "__name__", None)
    name = None if name == "<lambda>" or not isinstance(name, str) else name
    facts = Facts(name, params, _owner(function), open=open_, is_async=inspect.iscoroutinefunction(plain))
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        facts.stream, facts.is_async = True, inspect.isasyncgenfunction(plain)
    return facts


def _plain(function: Any) -> Any:
    """The function behind a partial, a method or a callable object; a class stays itself."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__func__
    if isinstance(function, (FunctionType, type)) or not hasattr(type(function), "__call__"):  # noqa: B004
        return function
    call = type(function).__call__
    return call if isinstance(call, FunctionType) else function


def _owner(function: Any) -> Any:
    plain = _plain(function)
    return plain if hasattr(plain, "__annotations__") or isinstance(plain, type) else function


def _not_by_keyword(label: str, function: Any, name: str) -> GraphError:
    why = (
        f"{name!r} of {call_name(function)} can be given by position only, and the flow gives all by keyword"
    )
    if name.startswith("*"):
        why = f"the flow gives all by keyword, and cannot fill {name!r} of {call_name(function)}"
    wraps = ", or put functools.wraps on the decorator" if name.startswith("*") else ""
    return GraphError(f"{label}: {why};\nwrap it in a function that names its parameters{wraps}")


def _first_line(doc: Any) -> str:
    return doc.strip().partition("\n")[0].rstrip() if type(doc) is str else ""


def hints_of(owner: Any) -> dict[str, Any]:
    """Annotations by parameter, evaluated as far as they can be; what cannot stays a str."""
    if isinstance(owner, type):
        made_by: Any = owner
        owner = made_by.__init__ if made_by.__init__ is not object.__init__ else made_by.__new__
    try:
        raw: dict[str, Any] = owner.__annotations__
    except Exception:  # evaluating them, as Python 3.14 does here, runs the user's own expressions
        return {}
    if not any(type(hint) is str for hint in raw.values()):
        return {name: type(None) if hint is None else hint for name, hint in raw.items()}
    try:
        return get_type_hints(owner)
    except Exception:
        pass
    from inspect import unwrap

    names = getattr(unwrap(owner), "__globals__", {})
    found: dict[str, Any] = {}
    for name, hint in raw.items():
        try:
            found |= get_type_hints(SimpleNamespace(__annotations__={name: hint}), names)
        except Exception:
            found[name] = hint
    return found


def _is_context(hint: Any) -> bool:
    """Whether an annotation means the attempt's `Context`, or `Context | None`."""
    if type(hint) is str:  # it could not be evaluated: imported for type checkers only, most likely
        return hint.replace(" ", "").removesuffix("|None").rpartition(".")[2] == "Context"
    return hint is Context or Context in get_args(hint)
