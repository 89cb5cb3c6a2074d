"""Resources of a flow: what steps share and somebody must close, such as a connection or a model.

A step takes one by a parameter of its name, or by `use`. Loaded by flows that have some.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial, update_wrapper
from typing import Any, Generic, Literal, NoReturn, ParamSpec, Self, TypeVar, get_args, get_origin, overload

from penstock.core import model
from penstock.core.checks import APART
from penstock.core.errors import GraphError
from penstock.core.names import normal_id
from penstock.core.resources import check_processes

from .markers import Lent, Marker, Output, Param, Source, Use
from .signature import ABSENT, Facts, Parameter, hints_of, read
from .step import AnyStep, FlowLike, Step, Template
from .words import brief, call_name, slot

P = ParamSpec("P")
T = TypeVar("T")
CallReturn = TypeVar("CallReturn", covariant=True)
Scope = Literal["run", "worker"]

SCOPES = ("run", "worker")
_GIVES = (Iterator, AsyncIterator, AbstractContextManager, AbstractAsyncContextManager)
_ASYNC_GENERATOR = 0x200
_KNOWN = ("collections.abc", "contextlib", "typing")


class Resource(Source[Output], Generic[P, CallReturn, Output]):
    """Something that is opened once and shared by the steps that take it. Calling it calls the function.

    Type parameters: the parameters of the function, what a call of it returns, and what steps receive.

    Attributes:
        id: Its name in the flow.
        flow: The flow it belongs to.
        function: The function it was made of; also as ``__wrapped__``.
        scope: ``run`` or ``worker``.
        facts: What the function says about itself, as if what steps receive were what it returned.
    """

    lent = True
    __slots__ = ("__dict__", "__weakref__", "facts", "flow", "function", "id", "scope")

    def __init__(self, flow: FlowLike, id: str, function: Any, facts: Facts, scope: Scope) -> None:
        self.flow = flow
        self.id = id
        self.function = function
        self.scope = scope
        self.facts = _Yields(facts, function)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> CallReturn:
        """Calls the function with these arguments: it is then for the caller to close what it gives."""
        result: CallReturn = self.function(*args, **kwargs)
        return result

    def __penstock_code__(self) -> list[Any]:
        return [self.function]

    def __repr__(self) -> str:
        return f"<resource {self.id!r} of flow {self.flow.name!r}>"


AnyResource = Resource[..., Any, Any]


class Declare:
    """What `Flow.resource` is: makes a resource of a function, as a decorator or called."""

    __slots__ = ("_add", "_flow", "_name", "_scope")

    def __init__(
        self,
        flow: FlowLike,
        add: Callable[[AnyResource], None],
        name: str | None = None,
        scope: Scope = "run",
    ) -> None:
        self._flow = flow
        self._add = add
        self._name = name
        self._scope: Scope = scope

    @overload
    def __call__(
        self,
        function: Callable[P, AbstractContextManager[T, bool | None]],
        /,
        *,
        name: str | None = None,
        scope: Scope = "run",
    ) -> Resource[P, AbstractContextManager[T, bool | None], T]: ...
    @overload
    def __call__(
        self,
        function: Callable[P, AbstractAsyncContextManager[T, bool | None]],
        /,
        *,
        name: str | None = None,
        scope: Scope = "run",
    ) -> Resource[P, AbstractAsyncContextManager[T, bool | None], T]: ...
    @overload
    def __call__(
        self,
        function: Callable[P, AsyncIterator[T]],
        /,
        *,
        name: str | None = None,
        scope: Scope = "run",
    ) -> Resource[P, AsyncIterator[T], T]: ...
    @overload
    def __call__(
        self, function: Callable[P, Iterator[T]], /, *, name: str | None = None, scope: Scope = "run"
    ) -> Resource[P, Iterator[T], T]: ...
    @overload
    def __call__(self, /, *, name: str | None = None, scope: Scope = "run") -> Declare: ...
    def __call__(
        self, function: Any = None, /, *, name: str | None = None, scope: Scope | None = None
    ) -> Any:
        """Makes a resource: ``@flow.resource``, ``@flow.resource(scope="worker")``, or by a call.

        Args:
            function: A generator function, or an async one: it yields the value, once, and what follows
                closes it. Or a function that returns a context manager, or an async one. Its parameters are
                inputs of the run and other resources, by name or by their defaults.
            name: Its name in the flow; that of the function by default.
            scope: ``run``: one for the whole run. ``worker``: one for each thread, or process, that asks.

        Raises:
            GraphError: It cannot be a resource, or its name is taken.
        """
        name = self._name if name is None else name
        scope = self._scope if scope is None else scope
        if function is None:
            return Declare(self._flow, self._add, name, scope)
        made = declare(self._flow, function, name, scope)
        self._add(made)
        return made


def declare(flow: FlowLike, function: Any, name: str | None, scope: Any) -> AnyResource:
    """A resource of a flow, that is not in it yet.

    Raises:
        GraphError: It cannot be one, or its name is taken.
    """
    if isinstance(function, Resource):
        name, function = function.id if name is None else name, function.function
    label = f"resource {name if name is not None else getattr(function, '__name__', '?')!r}"
    if isinstance(function, str):
        raise GraphError(f"flow.resource takes a function, not {function!r}; say name={function!r}")
    if isinstance(function, (Step, Template)) or not callable(function):
        raise GraphError(f"{label}: flow.resource takes a function, not {function!r}")
    if scope not in SCOPES:
        raise GraphError(f"{label}: scope is 'run' or 'worker', not {scope!r}")
    facts = read(function, label)
    if facts.coroutine:
        raise GraphError(
            f"{label}: {call_name(function)!r} is async and returns its value, so nothing would close it;\n"
            "yield the value, once, and close it after that"
        )
    name = facts.name if name is None else name
    if name is None:
        raise GraphError(f"{call_name(function)} has no name of its own; say flow.resource(..., name='...')")
    name = normal_id(name, "resource")
    if name in flow.resources:
        raise GraphError(f"there are two resources called {name!r}; give one another name with name='...'")
    if name in flow.parts:
        raise taken(name)
    return Resource(flow, name, function, facts, scope)


def taken(name: str) -> GraphError:
    """The error for a step and a resource of one name."""
    return GraphError(
        f"there are a step and a resource called {name!r}; a parameter of that name could mean both, "
        "so give one of them another name"
    )


# --- what a function says about itself --------------------------------------------------------------------


class _Yields(Facts):
    """Facts that show what the function opens, in place of what it returns.

    Attributes:
        is_async: It is opened on the event loop. Known for certain after `resolve`.
    """

    __slots__ = ("_of",)

    def __init__(self, facts: Facts, function: Any) -> None:
        while hasattr(function, "__wrapped__"):  # of asynccontextmanager, which is not async itself
            function = function.__wrapped__
        code = getattr(function, "__code__", None)
        is_async = facts.is_async or bool(code is not None and code.co_flags & _ASYNC_GENERATOR)
        super().__init__(facts.name, list(facts.params), facts.owner, open=facts.open, is_async=is_async)
        self.doc, self.origin = facts.doc, facts.origin
        self._of = facts

    def resolve(self) -> None:
        """Evaluates the annotations; what cannot be evaluated counts as not said."""
        self._of.resolve()
        owner = self._of.owner
        hint = owner if isinstance(owner, type) else hints_of(owner).get("return")
        made = get_origin(hint) or hint
        self.is_async = self.is_async or self._of.is_async
        if isinstance(made, type) and hasattr(made, "__aenter__") and not hasattr(made, "__enter__"):
            self.is_async = True
        self.returns = _opened(hint, made)
        self.resolved = True


def _opened(hint: Any, made: Any) -> Any:
    """What is received of something annotated so; None while unknown."""
    if not isinstance(made, type):
        return None
    args = get_args(hint)
    if issubclass(made, _GIVES) and made.__module__ in _KNOWN:
        found = args[0] if args else None
    elif hasattr(made, "__enter__") or hasattr(made, "__aenter__"):
        enter: Any = getattr(made, "__enter__", None) or getattr(made, "__aenter__", None)
        found = hints_of(enter).get("return") if hasattr(enter, "__annotations__") else None
        found = made if found is Self else found
    else:
        return None
    return None if type(found) in (str, TypeVar) or found is Any else found


# --- builds -----------------------------------------------------------------------------------------------


class Lender:
    """The resources of one build.

    Args:
        wires: The build.

    Attributes:
        given: By step, pairs (parameter, `core.model.Resource`).
    """

    def __init__(self, wires: Any) -> None:
        self._wires = wires
        self._made: dict[tuple[str, int], model.Resource] = {}
        self._bound: dict[tuple[int, str], Any] = {}
        self.given: dict[str, list[tuple[str, model.Resource]]] = {}

    def of(self, step: AnyStep) -> tuple[tuple[str, model.Resource], ...]:
        """What a step takes, once all its parameters are wired."""
        return tuple(self.given.get(step.id, ()))

    def give(self, step: AnyStep, param: Parameter, marker: Marker, to: str | None) -> None:
        """Gives a parameter of a step what its marker, or its name, says.

        Raises:
            GraphError: It cannot be given that.
        """
        resource: AnyResource = marker.source
        name = resource.id
        if to is None:
            raise GraphError(
                f"step {step.id!r}: a condition takes the resource {name!r}, and conditions get none;\n"
                "ask a step before, and take its value"
            )
        if marker.word != "use" or marker.part is not None:
            raise GraphError(
                f"step {step.id!r}: {param.name}={marker!r}: {name!r} is a resource, which is taken whole; "
                f"say {param.name}=use({name})"
            )
        place = getattr(step, "place", None)
        self._check_home(step, resource, self._wires.flow if place is None else place.flow)
        self._wires.edges.check(step, param, marker, resource)
        made = self._core(step, resource, place, ())
        if made.is_async and not step.facts.is_async:
            raise GraphError(
                f"{slot(step, param.name)} takes the resource {name!r}, which is opened on the event loop, "
                f"and the step is not async;\nmake it one (async def {call_name(step.function)}), "
                f"or let {name!r} be opened without await"
            )
        mine = self.given.setdefault(step.id, [])
        mine.append((param.name, made))
        if step.options.get("runner") in APART:
            check_processes(model.Node(step.id, step.function, resources=tuple(mine)))

    def _check_home(self, step: AnyStep, resource: AnyResource, flow: Any) -> None:
        if resource.flow is not flow:
            raise GraphError(
                f"step {step.id!r}: {resource.id!r} is a resource of another flow, {resource.flow.name!r}; "
                f"give this one its own: flow.resource({resource.id})"
            )
        if resource.id in flow.parts:
            raise taken(resource.id)

    def _core(
        self, step: AnyStep, resource: AnyResource, place: Any, around: tuple[AnyResource, ...]
    ) -> model.Resource:
        """A resource as the core has it: one for all that ask for it at this place.

        Args:
            step: Who asks.
            resource: For what.
            place: Where the flow of both stands; None at the root.
            around: What is made of it, the outermost first.

        Raises:
            GraphError: It cannot be opened.
        """
        if resource in around:
            circle = [*(one.id for one in around[around.index(resource) :]), resource.id]
            raise GraphError(f"these resources are made of each other: {' -> '.join(reversed(circle))}")
        key = ("" if place is None else place.prefix, id(resource))
        made = self._made.get(key)
        if made is not None:
            return made
        facts = resource.facts
        facts.resolve()
        inputs: list[tuple[str, str]] = []
        parts: list[tuple[str, model.Resource]] = []
        bound: dict[str, Any] = {}
        for param in facts.params:
            value = param.default
            if param.context:
                _refuse(resource, f"takes {param.name!r}, the Context; it serves many attempts, and has none")
            if not isinstance(value, Marker):
                if param.fixed:
                    continue
                if isinstance(value, (Source, Template)):
                    _refuse(resource, f"{param.name}={brief(value)} does not say what to take of it")
                value = self._named(resource, param)
            if value.source.lent:
                self._check_home(step, value.source, resource.flow)
                self._wires.edges.check(_Label(resource), param, value, value.source)
                part = self._core(step, value.source, place, (*around, resource))
                _check_part(resource, part)
                parts.append((param.name, part))
            else:
                self._take_input(step, resource, param, value, place, inputs, bound)
        call = self._with(resource, bound)
        made = model.Resource(resource.id, call, tuple(inputs), tuple(parts), resource.scope, facts.is_async)
        self._made[key] = made
        return made

    def _named(self, resource: AnyResource, param: Parameter) -> Marker:
        """What a parameter means that nothing was said about: a resource of its name, or an input."""
        flow, name = resource.flow, param.name
        other = flow.resources.get(name)
        if other is not None:
            return Lent(other)
        if name in flow.parts:
            _refuse(resource, f"its parameter {name!r} is named like a step, {_ORDER}")
        default = model.NOTHING if param.default is ABSENT else param.default
        return Use(Param(name, param.type, default))

    def _take_input(
        self,
        step: AnyStep,
        resource: AnyResource,
        param: Parameter,
        marker: Marker,
        place: Any,
        inputs: list[tuple[str, str]],
        bound: dict[str, Any],
    ) -> None:
        """Notes an input of the run that a resource takes; in a sub-flow it may be a constant."""
        if not isinstance(marker.source, Param):
            _refuse(resource, f"{param.name}={marker!r} takes a step, {_ORDER}")
        if marker.word != "use" or marker.part is not None:
            _refuse(resource, f"{param.name}={marker!r}: an input is taken whole; say use({marker.source!r})")
        value: Any = marker if place is None else place.given(step, param, marker.source)
        if not isinstance(value, Marker):
            bound[param.name] = value
            return
        source = value.source
        if not isinstance(source, Param) or value.word != "use" or value.part is not None:
            _refuse(
                resource,
                f"takes the input {param.name!r} of sub-flow {place.prefix[:-1]!r}, "
                f"which is given {value!r}: the value of a step, {_ORDER}",
            )
        try:
            self._wires.edges.check(_Label(resource), param, value, source)
            self._wires.inputs.ask(source.id, step, param, source.type, source.default)
        except GraphError as error:
            raise GraphError(f"resource {resource.id!r} of step {step.id!r}: {error}") from None
        inputs.append((param.name, source.id))

    def _with(self, resource: AnyResource, bound: dict[str, Any]) -> Any:
        """The function with what is constant; the same one for the same constants, so that it opens once."""
        if not bound:
            return resource.function
        key = (id(resource), repr([(name, id(value)) for name, value in bound.items()]))
        return self._bound.setdefault(key, partial(resource.function, **bound))


_ORDER = "and a resource waits for none: it is opened by whichever step comes first"


class _Label:
    """What texts about the parameters of a resource call it, where they would name a step."""

    __slots__ = ("id",)

    def __init__(self, resource: AnyResource) -> None:
        self.id = f"{resource.id} (a resource)"


def _refuse(resource: AnyResource, why: str) -> NoReturn:
    raise GraphError(f"resource {resource.id!r}: {why}")


def _check_part(resource: AnyResource, part: model.Resource) -> None:
    if part.is_async and not resource.facts.is_async:
        _refuse(
            resource,
            f"is made of {part.id!r}, which is opened on the event loop; make it an async generator too",
        )
    if part.scope != resource.scope:
        ends = "with the run" if part.scope == "run" else "with its worker"
        _refuse(
            resource,
            f"has the scope {resource.scope!r} and is made of {part.id!r}, which ends {ends}; "
            "give both the same scope",
        )


def check_flow(flow: FlowLike, inputs: Iterable[model.Input]) -> None:
    """Whether neither a step nor an input of the run is named like a resource.

    Raises:
        GraphError: There is one.
    """
    for name in flow.resources:
        if name in flow.parts:
            raise taken(name)
    for asked in inputs:
        if asked.name in flow.resources:
            raise GraphError(
                f"step {asked.users[0]!r} takes an input {asked.name!r}, and a resource has that name; "
                "rename one\n(a condition gets no resource: ask a step before, and take its value)"
            )
