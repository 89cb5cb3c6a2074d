"""`when` and triggers of the user's own: bound by the names of their parameters, as a step is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from penstock.core.errors import GraphError
from penstock.core.model import Accepts, Condition, Need

from .markers import Marker
from .signature import Facts, Parameter, read
from .step import AnyStep
from .wires import Wires

Given = tuple[tuple[tuple[str, str], ...], Mapping[str, Any] | None, str | None]
"""What the step itself takes beside its needs: inputs, constants, and the parameter of the `Context`."""


def bind_condition(
    wires: Wires, step: AnyStep, word: str, function: Any, needs: list[Need], given: Given
) -> Condition:
    """The question that a function puts.

    A parameter of its own takes, in this order: what the step's parameter of that name takes; the value (for
    a trigger, the `Outcome`) of the step of that name; an input of the run.

    Args:
        wires: The build.
        step: The step that asks.
        word: ``when`` or ``trigger``.
        function: What the user gave.
        needs: The step's needs; steps that only the condition asks for are added.
        given: What else the step takes.

    Raises:
        GraphError: It cannot be bound, or does not return a bool.
    """
    label = f"step {step.id!r}: {word}"
    facts = _read(label, function)
    inputs, bound, context = given
    own_needs = {need.param: index for index, need in enumerate(needs) if need.param is not None}
    own_inputs = dict(inputs)
    takes: list[tuple[str, int]] = []
    asks: list[tuple[str, str]] = []
    constants: dict[str, Any] = {}
    for param in facts.params:
        name = param.name
        if isinstance(param.default, Marker):
            _check_marker(step, word, param)
            found: list[tuple[str, str]] = []
            wires.take(step, param, param.default, needs, found, to=None)
            asks += found
            if not found:
                takes.append((name, len(needs) - 1))
        elif name in own_needs:
            takes.append((name, own_needs[name]))
        elif name in own_inputs:
            asks.append((name, own_inputs[name]))
        elif bound is not None and name in bound:
            constants[name] = bound[name]
        elif name == context or param.context:
            raise GraphError(
                f"{label} takes {name!r}, the Context; a condition is no attempt, so it has none"
            )
        elif name in wires.steps:
            takes.append((name, _named(wires, step, word, param, needs)))
        elif not param.fixed:
            wires.inputs.ask(name, step, param, param.type, param.default)
            asks.append((name, name))
    call = partial(function, **constants) if constants else function
    return Condition(call, tuple(takes), tuple(asks), facts.is_async)


def _read(label: str, function: Any) -> Facts:
    try:
        facts = read(function, label)
    except NotImplementedError:
        raise GraphError(f"{label} is a generator function; it must return a bool") from None
    facts.resolve()
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
    if word == "when":
        needs.append(wires.need_by_name(step, param, source, word))
    else:
        wires.by_name.append((step, param.name, source.id, word))
        needs.append(Need(source.id, "outcome", None, Accepts.ANYTHING))
    return len(needs) - 1
