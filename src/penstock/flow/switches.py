"""`switch`: one of several steps runs, the one that a value names.

It is made of what is there anyway: each branch has a condition on the value, and a hidden step hands on what
the branch gave that ran.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, overload

from penstock.core.errors import GraphError, nearest
from penstock.core.model import Accepts, Condition, Node

from .assign import fits
from .conditions import guarded
from .markers import Marker, Output, Param, Source, Use
from .signature import Facts, Parameter
from .wires import Wires
from .words import brief, call_name, short

T = TypeVar("T")
K = TypeVar("K")

ROUTE = "route"
"""The parameter of a switch's step that has the value; no branch has one of this name."""


@overload
def switch(
    route: Source[K],
    branches: Mapping[K, Source[T]],
    *,
    default: Source[T] | None = None,
    name: str | None = None,
) -> Source[T]: ...
@overload
def switch(
    route: Source[K],
    branches: Mapping[K, Source[Any]],
    *,
    default: Source[Any] | None = None,
    name: str | None = None,
) -> Source[Any]: ...
def switch(route: Any, branches: Any, *, default: Any = None, name: str | None = None) -> Any:
    """The value of one of several steps: of the branch that a value names. Only that branch runs.

    >>> handled = switch(kind, {"invoice": read_invoice, "letter": read_letter})
    >>> flow.add(archive, document=use(handled))

    Each branch gets a condition, beside its own ``when``; the other branches are skipped. What a branch needs
    runs as ever: give it a ``when`` of its own where it should not.

    Args:
        route: A step, or `param(...)`, whose value is one of the keys.
        branches: Steps by key. Where the route is annotated to return a `Literal`, an enum or a bool, there
            must be one for each of its values, and none for any other.
        default: The branch for all other values. Without it a value that no key equals is a failure.
        name: Id of the step that has the value; ``switch(route)`` by default.

    Returns:
        A source for `use`, `targets` and results.

    Raises:
        GraphError: These are not steps of one flow, there is no branch, or one is in another switch already.
    """
    label = "switch" if name is None else f"switch {name!r}"
    _check_source(f"{label}: route", route)
    if not isinstance(branches, Mapping):
        raise GraphError(f"{label}: branches is a dict of steps by value, not {brief(branches)}")
    if not branches:
        raise GraphError(f"{label}: there is no branch; say {{value: step, ...}}")
    for key, branch in branches.items():
        _check_branch(f"{label}: branch {_shown(key)}", branch)
    if default is not None:
        _check_branch(f"{label}: default", default)
    steps = [*branches.values(), *([] if default is None else [default])]
    flow = steps[0].flow
    for step in (route, *steps):
        if step.flow is not flow and (step is not route or step.flow is not None):
            raise GraphError(
                f"{label}: step {step.id!r} belongs to flow {step.flow.name!r}, "
                f"and step {steps[0].id!r} to {flow.name!r}; a switch stays within one flow"
            )
    id = name if name is not None else _free(f"switch({route.id.replace('/', '.')})", flow.parts)
    choice: Choice[Any] = Choice(flow, id, route, tuple(branches.items()), default)
    _check_alone(choice)
    flow._put(id, choice)
    return choice


def _check_source(label: str, given: Any) -> None:
    if isinstance(given, Source):
        return
    if isinstance(given, Marker):
        raise GraphError(f"{label} takes the step itself; say {given.source.id} for {given!r}")
    if callable(given):
        raise GraphError(f"{label}: {call_name(given)!r} is not a step; put @flow.step on it, or flow.add it")
    raise GraphError(f"{label} takes a step, not {brief(given)}")


def _check_branch(label: str, given: Any) -> None:
    _check_source(label, given)
    if isinstance(given, Param):
        raise GraphError(f"{label} is an input of the run, and a branch is a step")
    if isinstance(given, Choice):
        raise GraphError(
            f"{label} is a switch, and a branch is a step;\n"
            f"let the branch be a step that takes the value: use({given.id})"
        )


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} {number}"
    return found


def _check_alone(choice: Choice[Any]) -> None:
    mine = {step.id for step in choice.steps()}
    if choice.route.flow is not None and choice.route.id in mine:
        raise GraphError(f"{choice.label()}: {choice.route.id!r} cannot be its route and a branch as well")
    for part in choice.flow.parts.values():
        for step in part.steps() if isinstance(part, Choice) else ():
            if step.id in mine:
                raise GraphError(
                    f"{choice.label()}: step {step.id!r} is a branch of {part.id!r} already, and one value "
                    "decides whether it runs;\nadd its function once more under another name"
                )


class Choice(Source[Output]):
    """A switch; made by `switch`. To what wires steps it is one: it takes the route and all branches.

    Attributes:
        id, flow: As of a step.
        route: Where the value comes from.
        cases: Pairs (key, step).
        default: The step for all other values, or None.
        function, facts, bindings, options, place: As of a step.
    """

    __slots__ = (
        "bindings", "cases", "default", "facts", "flow", "function", "id", "options", "place", "route",
    )  # fmt: skip

    def __init__(
        self, flow: Any, id: str, route: Any, cases: tuple[tuple[Any, Any], ...], default: Any
    ) -> None:
        self.flow = flow
        self.id = id
        self.route = route
        self.cases = cases
        self.default = default
        self.place: Any = None
        self.options: dict[str, Any] = {"runner": "inline"}
        self.function = Pick(id, route.id, [key for key, _ in cases], default is not None)
        self.facts = _Facts(self)
        self.bindings: dict[str, Any] = {}
        self._bind(Use(route))

    def __repr__(self) -> str:
        return f"<switch {self.id!r} of flow {self.flow.name!r}>"

    def label(self) -> str:
        """What error texts call it."""
        return self.id if "switch(" in self.id else f"switch {self.id!r}"

    def steps(self) -> list[Any]:
        """Its branches, the default included."""
        return [step for _, step in self.cases] + ([] if self.default is None else [self.default])

    def moved(self, place: Any, id: str) -> Choice[Any]:
        """The same switch in a copy of its flow, still without its sources: `follow` finds those."""
        new = Choice[Any](place.root, id, self.route, self.cases, self.default)
        new.place = place
        if place.optional:
            new.options["optional"] = True
        return new

    def follow(self, place: Any) -> None:
        """Takes the steps of the copy in place of those of the flow itself."""
        self.cases = tuple([(key, place.source(self, "a branch", step)) for key, step in self.cases])
        if self.default is not None:
            self.default = place.source(self, "its default", self.default)
        self._bind(place.translated(self, self.facts.params[0], Use(self.route)))

    def _bind(self, route: Any) -> None:
        params = iter(self.facts.params)
        self.bindings = {next(params).name: route}
        self.bindings |= {next(params).name: Use(step) for step in self.steps()}


class _Facts(Facts):
    """What a switch says about itself: it returns what its branches return."""

    __slots__ = ("choice",)

    def __init__(self, choice: Choice[Any]) -> None:
        params = [Parameter(name) for name in (ROUTE, *choice.function.params)]
        for param in params[1:]:
            param.accepts = Accepts.CONDITION
        super().__init__(None, params, None, open=False, is_async=False)
        self.doc = f"the value of the branch that {choice.route.id} names"
        self.choice = choice

    def resolve(self) -> None:
        found: list[Any] = []
        for step in self.choice.steps():
            if not step.facts.resolved:
                step.facts.resolve()
            found.append(step.facts.returns)
        self.returns = None if None in found else Union[tuple(found)]  # noqa: UP007
        self.resolved = True


class Pick:
    """What the step of a switch calls: it hands on the value of the branch that ran.

    Args:
        name: Of the switch.
        route: Id of its route.
        keys: Those of its branches, in their order.
        default: Whether there is a branch for all other values.
    """

    __slots__ = ("default", "keys", "name", "params", "route")

    def __init__(self, name: str, route: str, keys: Sequence[Any], default: bool) -> None:
        self.name = name
        self.route = route
        self.keys = {key: at for at, key in enumerate(keys)}
        self.default = default
        # Two keys may look the same, and each branch needs a parameter of its own.
        self.params = [f"case {_shown(key)}" for key in keys]
        for at, param in enumerate(self.params):
            if param in self.params[:at]:
                self.params[at] = f"{param} {at}"
        if default:
            self.params.append("default")

    def __call__(self, **given: Any) -> Any:
        """The value.

        Raises:
            LookupError: No key equals the route's value, and there is no default.
        """
        at = self.branch(given[ROUTE])
        if at is not None:
            return given[self.params[at]]
        keys = ", ".join(map(_shown, self.keys))
        raise LookupError(
            f"{self.name}: {self.route!r} gave {brief(given[ROUTE])}, and its branches are for {keys}; "
            "add one, or say default=..."
        )

    def branch(self, value: Any) -> int | None:
        """The number of the branch that a value names, the default being the last; None for none."""
        try:
            at = self.keys.get(value)
        except TypeError:  # what cannot be hashed equals no key
            at = None
        return len(self.params) - 1 if at is None and self.default else at

    def ready(self, **given: Any) -> bool:
        """Whether to go on: with the value of a branch, or to say that there is none for this value. If not,
        the branch was skipped by a condition of its own."""
        at = self.branch(given[ROUTE])
        return at is None or self.params[at] in given


def check_keys(choice: Choice[Any]) -> None:
    """Whether the branches are for the values that the route can have, as far as its annotation tells.

    Raises:
        GraphError: One is missing, or is for a value that cannot be.
    """
    route = choice.route
    if isinstance(route, Param):
        wanted, says = route.type, f"the input {route.id!r} is"
    else:
        if not route.facts.resolved:
            route.facts.resolve()
        wanted, says = route.facts.returns, f"{route.id!r} returns"
    if wanted is None:
        return
    keys = choice.function.keys
    values = _values(wanted)
    if values is None:
        wrong = [key for key in keys if not fits(key, wanted)]
        near = f"; {says} {short(wanted)}"
    else:
        wrong = [key for key in keys if key not in values]
        texts = [value for value in values if isinstance(value, str)]
        near = nearest(wrong[0], texts) if wrong and isinstance(wrong[0], str) else ""
        near = near or f"; {says} {', '.join(map(_shown, values))}"
    if wrong:
        raise GraphError(
            f"{choice.label()}: its branch {_shown(wrong[0])} is for a value that never comes{near}"
        )
    missing = [value for value in values or () if value not in keys]
    if missing and choice.default is None:
        raise GraphError(
            f"{choice.label()}: {says} {', '.join(map(_shown, values or ()))}, "
            f"and there is no branch for {', '.join(map(_shown, missing))};\n"
            "add one, or say default=... for the rest"
        )


def _values(type_: Any) -> list[Any] | None:
    """All values of a type, where they can be counted."""
    if type_ is None or type_ is types.NoneType:
        return [None]
    if type_ is bool:
        return [True, False]
    origin = get_origin(type_)
    if origin is Literal:
        return list(get_args(type_))
    if isinstance(type_, type) and issubclass(type_, enum.Enum) and not issubclass(type_, enum.Flag):
        return list(type_)
    if origin in (Union, types.UnionType):
        parts = [_values(one) for one in get_args(type_)]
        return None if None in parts else [value for part in parts for value in part or ()]
    return None


def _shown(key: Any) -> str:
    return str(key) if isinstance(key, enum.Enum) else brief(key)


def chosen(wires: Wires, choice: Choice[Any], node: Node) -> Node:
    """A branch, with the condition that the route's value is one of its keys.

    Args:
        wires: The build.
        choice: The switch.
        node: The branch, as it would run without it.

    Raises:
        GraphError: It has a trigger of its own.
    """
    if node.trigger != "all_succeeded":
        raise GraphError(
            f"step {node.id!r}: a branch of {choice.label()} runs when its route says so, "
            "and takes no trigger;\nput it on a step before, or after the switch"
        )
    mine = frozenset(at for at, step in enumerate(choice.steps()) if step.id == node.id)
    pick = choice.function

    def is_named(value: Any) -> bool:
        return pick.branch(value) in mine

    param = choice.facts.params[0]
    route = choice.bindings[ROUTE]
    needs, inputs = list(node.needs), list[tuple[str, str]]()
    if not isinstance(route, Marker):
        return node._replace(when=guarded(node.when, "route?", lambda _: is_named(route)))
    wires.take(choice, param, route, needs, inputs, to=None)  # type: ignore[arg-type]  # it is as good as one
    if inputs:
        return node._replace(when=guarded(node.when, "route?", is_named, input=inputs[0][1]))
    when = guarded(node.when, "route?", is_named, need=len(needs) - 1)
    return node._replace(needs=tuple(needs), when=when)


def picked(node: Node, pick: Pick) -> Node:
    """The node of a switch, with the condition that the branch was not skipped by one of its own."""
    call = partial(pick.ready, **node.bound) if node.bound else pick.ready
    takes = tuple([(need.param, at) for at, need in enumerate(node.needs) if need.param is not None])
    return node._replace(when=Condition(call, takes, node.inputs))
