"""`when`, `until` and triggers of the user's own: bound by the names of their parameters, as a step is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Condition, Need

from .markers import Marker, OutcomeOf, Param, Use
from .signature import Facts, Parameter, read
from .step import AnyStep
from .wires import Wires

Given = tuple[tuple[tuple[str, str], ...], Mapping[str, Any] | None, str | None]
"""What the step itself takes beside its needs: inputs, constants, and the parameter of the `Context`."""


def bind_condition(
    wires: Wires,
    step: AnyStep,
    word: str,
    function: Any,
    needs: list[Need],
    given: Given,
    alias: Mapping[str, str] | None = None,
) -> Condition:
    """The question that a function puts.

    A parameter of its own takes, in this order: what the step's parameter of that name takes; the value (for
    a trigger, the `Outcome`) of the step of that name; an input of the run.

    Args:
        wires: The build.
        step: The step that asks.
        word: ``when``, ``until`` or ``trigger``.
        function: What the user gave.
        needs: The step's needs; steps that only the condition asks for are added.
        given: What else the step takes.
        alias: Parameters of the function that mean one of the step's, by another name.

    Raises:
        GraphError: It cannot be bound, or does not return a bool.
    """
    label = f"step {step.id!r}: {word}"
    facts = _read(label, function)
    inputs, bound, context = given
    question = _Question(wires, step, word, needs)
    own_needs = {need.param: index for index, need in enumerate(needs) if need.param is not None}
    own_inputs = dict(inputs)
    place = getattr(step, "place", None)  # of a copy in another flow: where that stands
    for param in facts.params:
        name = param.name
        own = alias.get(name, name) if alias else name
        if isinstance(param.default, Marker):
            marker = param.default
            _check_marker(step, word, param)
            question.take(param, marker if place is None else place.translated(step, param, marker))
        elif own in own_needs:
            question.takes.append((name, own_needs[own]))
        elif own in own_inputs:
            question.asks.append((name, own_inputs[own]))
        elif bound is not None and own in bound:
            question.constants[name] = bound[own]
        elif name == context or param.context:
            raise GraphError(
                f"{label} takes {name!r}, the Context; a condition is no attempt, so it has none"
            )
        elif place is not None:
            if not param.fixed:
                question.take(param, place.value(step, param))
        elif name in wires.steps:
            question.takes.append((name, _named(wires, step, word, param, needs)))
        elif not param.fixed:
            wires.inputs.ask(name, step, param, param.type, param.default)
            question.asks.append((name, name))
    call = partial(function, **question.constants) if question.constants else function
    return Condition(call, tuple(question.takes), tuple(question.asks), facts.is_async)


class _Question:
    """What one condition takes, so far.

    Attributes:
        takes: Pairs (parameter, index of the need).
        asks: Pairs (parameter, input).
        constants: By parameter.
    """

    __slots__ = ("asks", "constants", "needs", "step", "takes", "wires", "word")

    def __init__(self, wires: Wires, step: AnyStep, word: str, needs: list[Need]) -> None:
        self.wires = wires
        self.step = step
        self.word = word
        self.needs = needs
        self.takes: list[tuple[str, int]] = []
        self.asks: list[tuple[str, str]] = []
        self.constants: dict[str, Any] = {}

    def take(self, param: Parameter, value: Any) -> None:
        """Notes what a parameter takes: a marker, or a constant."""
        if not isinstance(value, Marker):
            self.constants[param.name] = value
            return
        if self.word == "trigger" and type(value) is Use and not isinstance(value.source, Param):
            value = OutcomeOf(value.source)
        inputs: list[tuple[str, str]] = []
        self.wires.take(self.step, param, value, self.needs, inputs, to=None)
        self.asks += inputs
        if not inputs:
            self.takes.append((param.name, len(self.needs) - 1))


def guarded(
    asked: Condition | None,
    name: str,
    allows: Callable[[Any], bool],
    *,
    need: int | None = None,
    input: str | None = None,
) -> Condition:
    """A condition with another in front of it: only if that says yes is it asked.

    Args:
        asked: The condition; None for none.
        name: What the value in front is called; no parameter of the condition has that name.
        allows: Says so of that value, and of `NOTHING` where there is none.
        need: Index of the need that brings the value.
        input: Name of the input that does.
    """
    guard = _Guard(name, allows, None if asked is None else asked.call)
    is_async = asked is not None and asked.is_async
    return Condition(
        guard.later if is_async else guard,
        (() if asked is None else asked.needs) + (((name, need),) if need is not None else ()),
        (() if asked is None else asked.inputs) + (((name, input),) if input is not None else ()),
        is_async,
    )


class _Guard:
    """What a guarded condition calls.

    Args:
        name, allows: As of `guarded`.
        then: What is asked if that allows it; None for nothing.
    """

    __slots__ = ("allows", "name", "then")

    def __init__(self, name: str, allows: Callable[[Any], bool], then: Callable[..., Any] | None) -> None:
        self.name = name
        self.allows = allows
        self.then = then

    def __penstock_code__(self) -> list[Any]:
        return [] if self.then is None else [self.then]

    def __call__(self, **given: Any) -> Any:
        if not self.allows(given.pop(self.name, NOTHING)):
            return False
        return True if self.then is None else self.then(**given)

    async def later(self, **given: Any) -> Any:
        """The same where the condition is a coroutine function."""
        if not self.allows(given.pop(self.name, NOTHING)):
            return False
        return True if self.then is None else await self.then(**given)


def _read(label: str, function: Any) -> Facts:
    facts = read(function, label)
    facts.resolve()
    if facts.stream:
        raise GraphError(f"{label} is a generator function; it must return a bool")
    returns = facts.returns
    if (
        isinstance(returns, type)
        and returns not in (bool, object)
        and not getattr(returns, "_is_protocol", False)
    ):
        raise GraphError(
            f"{label} must return a bool, and {facts.name!r} is annotated to return {returns.__name__}"
        )
    return facts


def _check_marker(step: AnyStep, word: str, param: Parameter) -> None:
    """Refuses, in a condition's own signature, the markers that make no sense there."""
    marker: Marker = param.default
    if marker.how == "each":
        raise GraphError(
            f"step {step.id!r}: {word} takes {param.name!r} from {marker!r}, and it makes no calls;\n"
            "let the step itself map, and name its parameter"
        )
    if word == "trigger" and marker.how == "use" and marker.source.flow is not None:
        raise GraphError(
            f"step {step.id!r}: trigger takes {param.name!r} from {marker!r}, and it sees outcomes; "
            f"say outcome({marker.source.id})"
        )


def _named(wires: Wires, step: AnyStep, word: str, param: Parameter, needs: list[Need]) -> int:
    """The need that the name of a condition's parameter makes."""
    source = wires.steps[param.name]
    if word != "trigger":
        needs.append(wires.need_by_name(step, param, source, word))
    else:
        wires.by_name.append((step, param.name, source.id, word))
        needs.append(Need(source.id, "outcome", None, Accepts.ANYTHING))
    return len(needs) - 1
