"""A step: a function that has a place in a flow, and stays the plain callable it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

from penstock.core.errors import GraphError, nearest
from penstock.core.graph import Graph

from .later import refuse_option
from .markers import Marker, Output, Source
from .signature import Facts
from .words import call_name

P = ParamSpec("P")
CallReturn = TypeVar("CallReturn", covariant=True)

NONE: Mapping[str, Any] = {}
"""No bindings, no options: shared by all steps that have none."""


class FlowLike(Protocol):
    """A flow, as far as the modules below it need one."""

    name: str

    @property
    def steps(self) -> Mapping[str, AnyStep]:
        """Its steps by id, those of its sub-flows included."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """Its own steps, sub-flows and switches by id, in the order of definition."""

    @property
    def resources(self) -> Mapping[str, Any]:
        """Its resources by name."""

    def _put(self, id: str, part: Any) -> None:
        """Adds a switch."""

    def _change(self, step: AnyStep, options: Mapping[str, Any]) -> None:
        """Gives a step other options."""

    def _stamp(self) -> Any:
        """Equal as long as nothing is added to it, nor to a flow inside it."""

    def graph(self) -> Graph:
        """Its graph."""


_OF_THE_FUNCTION = frozenset(
    {
        "__annotations__",
        "__code__",
        "__defaults__",
        "__globals__",
        "__kwdefaults__",
        "__name__",
        "__qualname__",
    }
)


class Step(Source[Output], Generic[P, CallReturn, Output]):
    """One step of a flow. Calling it calls the function, as if there were no flow.

    Type parameters: the parameters of the function, what a call of it returns, and what the step gives: for a
    coroutine function what awaiting it brings, otherwise the same.

    Attributes:
        id: Its name in the flow.
        flow: The flow it belongs to.
        function: The function it was made of; also as ``__wrapped__``.
        facts: What the function says about itself.
        bindings: Parameters that were given to `Flow.add`: markers, and constant values.
        options: Its options, checked.
    """

    __slots__ = ("__dict__", "bindings", "facts", "flow", "function", "id", "options")

    def __init__(
        self,
        flow: FlowLike,
        id: str,
        function: Any,
        facts: Facts,
        bindings: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        self.flow = flow
        self.id = id
        self.function = function
        self.facts = facts
        self.bindings = bindings
        self.options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> CallReturn:
        """Calls the function with these arguments, and the constants that `Flow.add` was given.

        Raises:
            TypeError: A parameter that a run would fill was not passed.
        """
        result: CallReturn = call(self, args, kwargs)
        return result

    def __penstock_code__(self) -> list[Any]:
        return [self.function]

    def __repr__(self) -> str:
        return f"<step {self.id!r} of flow {self.flow.name!r}>"

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str
        __wrapped__: Callable[P, CallReturn]

    else:  # hidden from type checkers, for which a class with it has every attribute, misspelt ones too

        def __getattr__(self, name):
            # Not set on every step, which would cost more than all the rest of it. On the class it would
            # mislead `inspect.signature(Step)`.
            if name in ("function", "id"):  # of a copy that is still empty
                raise AttributeError(name)
            if name == "__wrapped__":
                return self.function
            if name in _OF_THE_FUNCTION:
                return getattr(self.function, name)
            raise AttributeError(f"step {self.id!r} has no attribute {name!r}", name=name, obj=self)

    def bind(self, /, **bindings: Any) -> Template[CallReturn, Output]:
        """The function of this step with some parameters given, and its options: to be added again.

        >>> for region in ("eu", "us"):
        ...     flow.add(load.bind(region=region), name=f"load {region}")

        Raises:
            GraphError: The function has no such parameter.
        """
        check_names(f"step {self.id!r}", self.facts, bindings, call_name(self.function))
        return Template(self.function, self.facts, {**self.bindings, **bindings}, self.options)


AnyStep = Step[..., Any, Any]


class Template(Generic[CallReturn, Output]):
    """A function with some parameters given, made by `Step.bind`: a callable for `Flow.add`, no step itself.

    Attributes:
        function, facts, bindings, options: As of `Step`.
    """

    __slots__ = ("bindings", "facts", "function", "options")

    def __init__(
        self, function: Any, facts: Facts, bindings: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self.function = function
        self.facts = facts
        self.bindings = bindings
        self.options = options

    def __call__(self, *args: Any, **kwargs: Any) -> CallReturn:
        """Calls the function with these arguments and the constants that are bound.

        Raises:
            TypeError: A parameter that a run would fill was not passed.
        """
        result: CallReturn = call(self, args, kwargs)
        return result

    def __penstock_code__(self) -> list[Any]:
        return [self.function]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.bindings.items())
        return f"<template {call_name(self.function)}({given})>"

    def bind(self, /, **bindings: Any) -> Template[CallReturn, Output]:
        """This template with more parameters given.

        Raises:
            GraphError: The function has no such parameter.
        """
        check_names("template", self.facts, bindings, call_name(self.function))
        return Template(self.function, self.facts, {**self.bindings, **bindings}, self.options)


def call(step: AnyStep | Template[Any, Any], args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """Calls the function behind a step, with the constants bound to it."""
    facts, bindings = step.facts, step.bindings
    if bindings:
        for at, param in enumerate(facts.params):
            if at < len(args) or param.name in given or param.name not in bindings:
                continue
            if not isinstance(bindings[param.name], Marker):
                given[param.name] = bindings[param.name]
    for at, name in facts.marked:
        if at >= len(args) and name not in given:
            called = call_name(step.function)
            comes = bindings.get(name, facts.params[at].default)
            raise TypeError(
                f"{called}() is called outside a run, where nothing fills {name!r} from {comes!r}; "
                f"pass it: {called}({name}=...)"
            )
    return step.function(*args, **given)


def check_names(
    label: str, facts: Facts, bindings: Mapping[str, Any], called: str, options: Any = ()
) -> None:
    """Whether the function has a parameter for each of these bindings.

    Args:
        label: What the error calls the step.
        facts: Those of the function.
        bindings: By parameter.
        called: What the error calls the function.
        options: Names of options, which the error may think of too.

    Raises:
        GraphError: It has not.
    """
    if facts.open or bindings.keys() <= facts.names:
        return
    name = next(name for name in bindings if name not in facts.names)
    if options:
        refuse_option(name, label)
    what = "neither an option nor a parameter" if options else "not a parameter"
    near = nearest(name, [*(param.name for param in facts.params), *sorted(options)])
    raise GraphError(
        f"{label}: {name!r} is {what} of {called}({', '.join(param.name for param in facts.params)}){near}"
    )
