"""What one run is asked for, checked against the graph before anything starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.core.amounts import shown
from penstock.core.errors import InputError, nearest
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Condition

from .assign import fits, misfit, odd_one
from .markers import Source
from .step import FlowLike
from .subflow import HandsOn
from .wires import identity
from .words import short

Targets = str | Source[Any] | Sequence[str | Source[Any]] | None
Override = Mapping[Any, Any] | None
"""Values by step or id. (Mappings are invariant in their keys, so the precise type would refuse most.)"""


class Request(NamedTuple):
    """What `wiring` is called with.

    Attributes:
        what: The graph and the inputs, defaults filled in.
        how: `targets` and `override`, by id.
    """

    what: tuple[Graph, dict[str, Any]]
    how: dict[str, Any]


def of(
    flow: FlowLike,
    inputs: Mapping[str, Any],
    targets: Targets,
    override: Override,
    *,
    goes_on: bool = False,
) -> Request:
    """The request, or the reason why it cannot be.

    Args:
        flow: What runs.
        inputs, targets, override: As of `Flow.run`.
        goes_on: The run may be known already: then inputs that are not given are what they were.

    Raises:
        GraphError: The graph is not valid.
        InputError: An input is unknown, missing or of the wrong type; a target or override is no step.
    """
    graph = flow.graph()
    ids = None if targets is None else _targets(flow, graph, targets)
    values = None if override is None else _override(flow, graph, override)
    known = graph.inputs
    for name in inputs:
        if name not in known:
            raise InputError(_unknown(flow.name, graph, name))
    needed = known.keys() if ids is None and not values else _needed(graph, ids, values or {})
    missing = [
        name for name in known if name in needed and name not in inputs and known[name].default is NOTHING
    ]
    if missing and not goes_on:
        raise InputError(_missing(flow, graph, missing))
    given: dict[str, Any] = {}
    for name, one in known.items():
        if name in inputs:
            given[name] = _whole(flow, graph, name, inputs[name])
            if one.type is not None and given[name] is not one.default:
                _check_input(flow, graph, name, given[name])
        elif one.default is not NOTHING and not goes_on:
            given[name] = one.default
    return Request((graph, given), {"targets": ids, "override": values})


def _whole(flow: FlowLike, graph: Graph, name: str, value: Any) -> Any:
    """The value of an input; of one that is mapped over a list, where an iterator was given.

    Raises:
        InputError: It would have to be awaited.
    """
    if not isinstance(value, (Iterator, AsyncIterator)):
        return value
    ids = [id for id in (name, *graph.inputs[name].users) if id in graph.index]
    takers = [graph.nodes[graph.index[id]].call for id in ids]
    if not any(call is identity or isinstance(call, HandsOn) for call in takers):
        return value
    if isinstance(value, AsyncIterator):
        raise InputError(
            f"flow {flow.name!r}: the input {name!r} is an async iterator, and a run takes lists "
            f"({_asker(graph, name)});\nread it before, or in a step: an async generator"
        )
    return list(value)


def _id(flow: FlowLike, graph: Graph, key: Any, what: str) -> str:
    if isinstance(key, Source):
        if key.flow is not flow and key.flow is not None:
            raise InputError(
                f"{what}: step {key.id!r} belongs to flow {key.flow.name!r}, not to {flow.name!r}"
            )
        key = key.id
    if not isinstance(key, str):
        raise InputError(f"{what} takes steps or their ids, not {key!r}")
    if key not in graph.index:
        raise InputError(f"{what}: there is no step {key!r}{nearest(key, graph.index)}")
    return key


def _targets(flow: FlowLike, graph: Graph, targets: Targets) -> list[str]:
    some: Any = [targets] if isinstance(targets, (str, Source)) else targets
    if isinstance(some, Mapping) or not isinstance(some, Iterable):
        raise InputError(f"targets takes a list of steps, not {shown(some)}; say targets=[step]")
    ids = list(dict.fromkeys([_id(flow, graph, target, "targets") for target in some]))
    if not ids:
        raise InputError("targets: the list is empty, so there is nothing to run; leave it out to run all")
    return ids


def _override(flow: FlowLike, graph: Graph, override: Mapping[Any, Any]) -> dict[str, Any]:
    if not isinstance(override, Mapping):
        raise InputError(
            f"override takes a dict of values by step, not {shown(override)}; say override={{step: value}}"
        )
    values: dict[str, Any] = {}
    for key, value in override.items():
        id = _id(flow, graph, key, "override")
        values[id] = value
        step = flow.steps.get(id)
        wanted = step.facts.returns if step is not None else None
        scope = graph.scope_of[graph.index[id]]
        if scope:
            if not isinstance(value, (list, tuple)):
                raise InputError(
                    f"override: step {id!r} is mapped, so its value is the list of all its items, "
                    f"not {short(type(value))}"
                )
            if wanted is not None:
                _check_items(id, wanted, value, graph.scopes[scope].depth)
        elif wanted is not None:
            if not fits(value, wanted):
                raise InputError(f"override: step {id!r} returns {short(wanted)}, not {short(type(value))}")
            odd = misfit(value, wanted)
            if odd is not None:
                raise InputError(
                    f"override: step {id!r} returns {short(wanted)}, and {odd[0]} is {short(type(odd[1]))}"
                )
    return values


def _check_items(id: str, wanted: Any, items: Sequence[Any], depth: int, place: str = "") -> None:
    """Whether each item of a mapped step may be what the step returns.

    Raises:
        InputError: One is something else.
    """
    if depth > 1:
        for at, inner in enumerate(items):
            if isinstance(inner, (list, tuple)):
                _check_items(id, wanted, inner, depth - 1, f"{place}{at},")
        return
    odd = odd_one(items, wanted)
    if odd is not None:
        kind = short(type(items[odd]))
        raise InputError(f"override: step {id!r} returns {short(wanted)}, and item [{place}{odd}] is {kind}")


def _needed(graph: Graph, targets: Sequence[str] | None, override: Mapping[str, Any]) -> set[str]:
    """Names of the inputs that some node asks for which will really run."""
    if targets is None:
        todo = [position for position, users in enumerate(graph.dependents()) if not users]
    else:
        todo = [graph.index[id] for id in targets]
    seen = set(todo)
    needed: set[str] = set()
    while todo:
        position = todo.pop()
        node = graph.nodes[position]
        if node.id in override:
            continue
        needed.update(name for _, name in node.inputs)
        if node.resources:
            from penstock.core.bags import inputs_of

            needed |= inputs_of(node.resources)
        for asked in (node.when, node.trigger):
            if isinstance(asked, Condition):
                needed.update(name for _, name in asked.inputs)
        for parent in graph.parents[position]:
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return needed


def _unknown(flow: str, graph: Graph, name: str) -> str:
    near = nearest(name, graph.inputs)
    if not near:
        takes = list(graph.inputs)
        more = f" and {len(takes) - 8} more" if len(takes) > 8 else ""
        near = f"; it takes {', '.join(takes[:8])}{more}" if takes else "; it takes none"
    if name in graph.index:
        near = f": it is a step; to give its value say override={{{name!r}: ...}}"
    return f"flow {flow!r} has no input {name!r}{near}"


def _asker(graph: Graph, name: str) -> str:
    """``step 'load', parameter 'path'``: the first that asks for an input."""
    user = graph.inputs[name].users[0]
    node = graph.nodes[graph.index[user]]
    for param, input in node.inputs:
        if input == name:
            return f"step {user!r}, parameter {param!r}"
    for need in node.needs:
        if need.node == name:
            return f"step {user!r}, parameter {need.param!r}"
    for word, asked in (("when", node.when), ("trigger", node.trigger)):
        if isinstance(asked, Condition) and any(input == name for _, input in asked.inputs):
            return f"step {user!r}, its {word}"
    return f"step {user!r}"


def _missing(flow: FlowLike, graph: Graph, missing: list[str]) -> str:
    words = [name for name in {**graph.index, **graph.inputs} if name not in missing]
    lines = []
    for name in missing[:3]:
        type_ = graph.inputs[name].type
        says = f", {short(type_)}" if type_ is not None else ""
        lines.append(
            f"flow {flow.name!r} needs the input {name!r} ({_asker(graph, name)}{says}){nearest(name, words)}"
        )
    if len(missing) > 3:
        lines[-1] += (
            f" (and {len(missing) - 3} more: {', '.join(missing[3:8])}{', …' if len(missing) > 8 else ''})"
        )
    return "\n".join(lines)


def _check_input(flow: FlowLike, graph: Graph, name: str, value: Any) -> None:
    """Whether an input may be what its annotation says.

    Raises:
        InputError: It is something else, or has an element that is.
    """
    place, wanted = f"the input {name!r}", graph.inputs[name].type
    if fits(value, wanted):
        odd = misfit(value, wanted)
        if odd is None:
            return
        place, value, wanted = f"{odd[0]} of {place}", *odd[1:]
    raise InputError(
        f"flow {flow.name!r}: {place} is {short(type(value))}, and must be {short(wanted)} "
        f"({_asker(graph, name)})"
    )
