"""The words between steps: where the value of a parameter comes from.

A marker stands as the default of a parameter, or as a keyword of `Flow.add`. For type checkers it is the
value that the step will receive; at run time it is a small `Marker`, read when the graph is built. Nothing
here ever looks into a flow: whether a marker fits is found out by `binding.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast, overload

from penstock.core.errors import GraphError, nearest
from penstock.core.model import NOTHING, Accepts, Failures, How, Outcome, Quorum

from .words import brief, call_name

Output = TypeVar("Output", covariant=True)
T = TypeVar("T")
D = TypeVar("D")
A = TypeVar("A")

_GENERATOR, _ASYNC = 0x20, 0x80 | 0x200  # flags of code: of generators, coroutines and async generators


class Source(Generic[Output]):
    """Where a value comes from: a step, or an input of the run.

    Attributes:
        id: The step's id, or the input's name.
        flow: The step's flow; None for an input.
        lent: It is a resource, which nobody waits for.
    """

    __slots__ = ()
    lent: ClassVar[bool] = False

    if TYPE_CHECKING:  # annotations would be seen on the instances, and a step shows those of its function
        id: str
        flow: Any


class Param(Source[Output]):
    """An input of the run, as a source for `use` and `each`; made by `param`.

    Attributes:
        type: What it should be, or None where nothing was said.
        default: Its value when not given; `NOTHING` where it must be given.
    """

    __slots__ = ("default", "id", "type")
    flow = None

    def __init__(self, name: str, type: Any, default: Any) -> None:
        self.id = name
        self.type = type
        self.default = default

    def __repr__(self) -> str:
        return f"param({self.id!r})"


class Marker:
    """What `use`, `each`, `gather`, `fold`, `optional` and `outcome` return at run time.

    The class attributes are the values of those that do not carry their own; see `core.model.Need`.
    """

    __slots__ = ("source",)
    word: ClassVar[str] = "use"
    how: ClassVar[How] = "use"
    accepts: ClassVar[Accepts] = Accepts.NOTHING
    default: Any = NOTHING
    part: str | int | None = None
    failures: Failures | Quorum = "raise"
    levels: int = 1
    key: Callable[[Any], str | int] | None = None

    def __init__(self, source: Any) -> None:
        self.source = source

    def __repr__(self) -> str:
        return f"{self.word}({_shown(self.source)})"


class Use(Marker):
    """The value of a source."""

    __slots__ = ()


class Lent(Marker):
    """A resource."""

    __slots__ = ()


class Part(Marker):
    """One element of the value of a source."""

    __slots__ = ("part",)

    def __init__(self, source: Any, part: str | int) -> None:
        self.source = source
        self.part = part

    def __repr__(self) -> str:
        return f"use({_shown(self.source)}, {self.part!r})"


class Each(Marker):
    """One call per element."""

    __slots__ = ("key",)
    word = "each"
    how = "each"

    def __init__(self, source: Any, key: Callable[[Any], str | int] | None = None) -> None:
        self.source = source
        self.key = key

    def __repr__(self) -> str:
        key = "" if self.key is None else f", key={call_name(self.key)}"
        return f"each({_shown(self.source)}{key})"


class Gather(Marker):
    """The values of all items of a map, `levels` deep."""

    __slots__ = ("failures", "levels")
    word = "gather"
    how = "gather"

    def __init__(self, source: Any, failures: Failures | Quorum, levels: int) -> None:
        self.source = source
        self.failures = failures
        self.levels = levels

    def __repr__(self) -> str:
        return "gather(" * self.levels + _shown(self.source) + policy(self.failures) + ")" * self.levels


class Fold(Marker):
    """What a function makes of the items of a map, one after the other."""

    __slots__ = ("failures", "function", "initial")
    word = "fold"
    how = "gather"

    def __init__(self, source: Any, function: Any, initial: Any, failures: Failures) -> None:
        self.source = source
        self.function = function
        self.initial = initial
        self.failures = failures

    def __repr__(self) -> str:
        with_ = f"{call_name(self.function)}, {brief(self.initial)}{policy(self.failures)}"
        return f"fold({_shown(self.source)}, {with_})"


class Optional(Marker):
    """The value of a source, or a default in place of whatever is not a success."""

    __slots__ = ("default",)
    word = "optional"
    accepts = Accepts.ANYTHING

    def __init__(self, source: Any, default: Any) -> None:
        self.source = source
        self.default = default

    def __repr__(self) -> str:
        return f"optional({_shown(self.source)}, {self.default!r})"


class OutcomeOf(Marker):
    """The `Outcome` of a source, whatever it is."""

    __slots__ = ()
    word = "outcome"
    how = "outcome"
    accepts = Accepts.ANYTHING


def policy(failures: Failures | Quorum) -> str:
    """The last argument of `gather` and `fold`, where it is not what it is by default."""
    if isinstance(failures, Quorum):
        return f", failures=Quorum({failures.least!r})"
    return "" if failures == "raise" else f", failures={failures!r}"


def _shown(source: Any) -> str:
    return repr(source) if isinstance(source, Param) else str(source.id)


def _not_a_source(word: str, given: Any) -> GraphError:
    """The error for a marker around something that is no step, with the way out where one is known."""
    if isinstance(given, Marker):
        return GraphError(
            f"{word}({given!r}): {word} takes a step, not another marker; say {word}({_shown(given.source)})"
        )
    if isinstance(given, str):
        return GraphError(
            f"{word}({given!r}): {word} takes a step, not its name; "
            f"give the step itself, or param({given!r}) for an input of the run"
        )
    if hasattr(given, "inner"):
        return GraphError(
            f"{word}({given.id}): {given.id!r} is a sub-flow, and has no value; say {word}({given.id}[step])"
        )
    if callable(given):
        name = call_name(given)
        return GraphError(f"{word}({name}): {name!r} is not a step; put @flow.step on it, or flow.add it")
    return GraphError(f"{word}({given!r}): {word} takes a step, not a value of type {type(given).__name__}")


@overload
def use(source: Source[T]) -> T: ...
@overload
def use(source: Source[Any], part: str | int) -> Any: ...
def use(source: Source[Any], part: str | int | None = None) -> Any:
    """The value of a step or input.

    Args:
        source: A step, or `param(...)`. Of a mapped step it is this call's own item: the step that uses it
            then belongs to that map too.
        part: Key or index of one element of the value; typed `Any`, for a type checker cannot look inside.

    Raises:
        GraphError: `source` is neither a step nor an input, or `part` neither a str nor an int.
    """
    if not isinstance(source, Source):
        raise _not_a_source("use", source)
    if part is None:
        return Lent(source) if source.lent else Use(source)
    if type(part) is not str and type(part) is not int:
        raise GraphError(
            f"use({_shown(source)}, {part!r}): a part is a key (str) or an index (int), "
            f"not {type(part).__name__}"
        )
    return Part(source, part)


class AnnotateList:
    """What type checkers see of `each` over a step that is annotated with neither list, tuple nor Iterator.

    A `Sequence` or an `Iterable` may be a str, or a set without order: annotate `list`. mypy shows it too
    where a parameter takes the whole list that is mapped over. Never made.
    """


@overload
def each(  # type: ignore[overload-overlap]  # the second is only there to word the error
    source: Source[list[T] | tuple[T, ...]], *, key: Callable[[T], str | int] | None = None
) -> T: ...
@overload
def each(source: Source[Iterable[Any]], *, key: None = None) -> AnnotateList: ...
def each(source: Source[Any], *, key: Any = None) -> Any:
    """One call per element of a step's or input's value.

    Args:
        source: A step that returns a list or a tuple, or is a generator: its elements are passed on as they
            come. If it is itself mapped, the map goes one level deeper.
        key: Tells elements apart, instead of their place: a function of the element that returns a str or an
            int. No two elements may have the same.

    Raises:
        GraphError: `source` is neither a step nor an input, or `key` is no plain function.
    """
    if not isinstance(source, Source):
        raise _not_a_source("each", source)
    if key is not None:
        _check_key(source, key)
    return Each(source, key)


def _check_key(source: Source[Any], key: Any) -> None:
    says = (
        f"each({_shown(source)}, key=...): key takes a function of the element that returns a str or an int"
    )
    if isinstance(key, (str, int)):
        raise GraphError(f"{says};\nsay key=lambda element: element[{key!r}]")
    if isinstance(key, (Source, Marker)) or not callable(key):
        raise GraphError(f"{says}, not {brief(key)}")
    colour = _colour(key)
    if colour:
        raise GraphError(
            f"{says}, and {call_name(key)!r} is {colour};\n"
            f"let {source.id!r} return its elements with their keys, and look there"
        )


@overload
def gather(source: Source[T], *, failures: Literal["raise", "drop"] | Quorum = "raise") -> list[T]: ...
@overload
def gather(source: Source[T], *, failures: Literal["keep"]) -> list[Outcome[T]]: ...
@overload
def gather(source: list[T]) -> list[list[T]]: ...
def gather(source: Any, *, failures: Any = "raise") -> Any:
    """The values of all items of a mapped step, in input order: it ends the innermost map.

    Args:
        source: A mapped step; or another `gather`, which ends one level more. The policy then stands on the
            inner one.
        failures: What becomes of items that failed. ``raise``: the consumer is not started; ``drop``: they
            are left out; ``keep``: the list holds an `Outcome` for every item; a `Quorum`: as ``drop`` if
            enough items succeeded, otherwise as ``raise``.

    Raises:
        GraphError: `source` is neither a step nor a gather, or there is no such policy.
    """
    if failures not in ("raise", "drop", "keep") and not isinstance(failures, Quorum):
        raise _no_policy(failures)
    if isinstance(source, Gather):
        if failures != "raise":
            said = f"gather(gather({_shown(source.source)}{policy(failures)}))"
            raise GraphError(f"gather(gather(...)): the policy stands on the inner one; say {said}")
        return Gather(source.source, source.failures, source.levels + 1)
    if not isinstance(source, Source):
        raise _not_a_source("gather", source)
    return Gather(source, failures, 1)


def _no_policy(failures: Any) -> GraphError:
    says = f"gather: failures is 'raise', 'drop', 'keep' or a Quorum, not {brief(failures)}"
    if isinstance(failures, str):
        says += nearest(failures, ("raise", "drop", "keep"))
    if failures is Quorum:
        says += "; say Quorum(0.9) for nine items out of ten, Quorum(3) for three"
    elif type(failures) in (int, float):
        try:
            Quorum(failures)
        except ValueError as error:
            says += f";\n{error}"
        else:
            says += f"; say failures=Quorum({failures!r})"
    return GraphError(says)


def fold(
    source: Source[T],
    function: Callable[[A, T], A],
    initial: A,
    *,
    failures: Literal["raise", "drop"] = "raise",
) -> A:
    """What a function makes of the items of a mapped step, one after the other: it ends the innermost map.

    ``fold(parse, add, 0)`` is ``add(add(add(0, first), second), third)``. The function is called in input
    order while items still come, and no list of them is ever held.

    Args:
        source: A mapped step.
        function: Takes what there is so far, and the value of the next item; returns what there is then. A
            plain function; it may change what it is given and return that.
        initial: What there is before the first item, and all there is of an empty map. Each run takes a copy.
        failures: What becomes of items that failed. ``raise``: the consumer is not started; ``drop``: they
            are left out.

    Raises:
        GraphError: `source` is not a step, `function` is no plain function, or there is no such policy.
    """
    if not isinstance(source, Source):
        raise _not_a_source("fold", source)
    says = f"fold({_shown(source)}, ...)"
    if isinstance(function, (Source, Marker)) or not callable(function):
        raise GraphError(
            f"{says}: fold takes a function of what there is so far and the next item, not {brief(function)}"
        )
    colour = _colour(function)
    if colour:
        raise GraphError(
            f"{says}: {call_name(function)!r} is {colour}, and a fold calls a plain function;\n"
            f"do that part in a step of the map, with use({source.id}), and fold what it returns"
        )
    if failures not in ("raise", "drop"):
        raise GraphError(
            f"{says}: failures is 'raise' or 'drop', not {brief(failures)};\n"
            f"for any other policy take the whole list: gather({_shown(source)}, failures=...)"
        )
    return cast(A, Fold(source, function, initial, failures))


def _colour(function: Any) -> str:
    """What keeps a function from being a plain one, as far as its code tells; empty if it is."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(
        getattr(type(function), "__call__", None),  # noqa: B004
        "__code__",
        None,
    )
    if code is None or not code.co_flags & (_ASYNC | _GENERATOR):
        return ""
    return "async" if code.co_flags & _ASYNC else "a generator function"


def optional(source: Source[T], default: D) -> T | D:
    """The value of a step, or `default` where the step failed or was skipped: its failure is let pass.

    Raises:
        GraphError: `source` is not a step.
    """
    if not isinstance(source, Source):
        raise _not_a_source("optional", source)
    return cast(T, Optional(source, default))


def outcome(source: Source[T]) -> Outcome[T]:
    """How a step ended, as a value: `Ok`, `Failure` or `Skip`. Its failure is let pass.

    Raises:
        GraphError: `source` is not a step.
    """
    if not isinstance(source, Source):
        raise _not_a_source("outcome", source)
    return cast("Outcome[T]", OutcomeOf(source))


@overload
def param(name: str, type: type[T], *, default: T = ...) -> Source[T]: ...
@overload
def param(name: str, type: Any = None, *, default: Any = ...) -> Source[Any]: ...
def param(name: str, type: Any = None, *, default: Any = NOTHING) -> Source[Any]:
    """An input of the run, as a source for `use` and `each`.

    Args:
        name: The keyword of the run call that gives it.
        type: What it should be, e.g. ``list[Path]``; None leaves it open.
        default: Its value when not given; without one it must be given.

    Raises:
        GraphError: `name` could not be a keyword of the run call.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise GraphError(
            f"param({name!r}): an input is given as a keyword, so its name must be an identifier"
        )
    return Param(name, type, default)
