"""`repeat`: a step that is called again with its own value until that is good enough.

It unrolls to one node for each call, and one that hands on the value of the last: to the machine there is no
loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from penstock.core.amounts import is_whole
from penstock.core.errors import GraphError, nearest
from penstock.core.model import NOTHING, Accepts, Condition, Need, Node

from .conditions import bind_condition
from .markers import Marker, Source, Use
from .signature import ABSENT, Parameter, read
from .step import AnyStep, Step
from .wires import Wires
from .words import brief, call_name

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MOST = 1000
"""Calls of one loop: each is a node, made before the run begins."""


class Loop(NamedTuple):
    """What `repeat` was given; an option of its step."""

    until: Callable[..., bool | Awaitable[bool]]
    max: int
    feed: str | None


def repeat(
    step: Step[P, R, T],
    *,
    until: Callable[..., bool | Awaitable[bool]],
    max: int,
    feed: str | None = None,
) -> Step[P, R, T]:
    """Calls a step again and again: each call after the first receives the value of the one before.

    >>> @flow.step
    ... def refine(draft: Draft) -> Draft: ...
    >>> repeat(refine, until=lambda draft: draft.score > 0.9, max=5)

    The calls are the steps ``refine/1``, ``refine/2``, ... of a run; those that were not needed are skipped.
    ``refine`` itself stands for the value of the last call that ran. Retries, timeouts and limits of the step
    hold for every call; its ``when`` and ``after`` for the first.

    Args:
        step: A step; from here on it is a loop.
        until: Says whether a value is good enough. The parameter that is named like the fed parameter or like
            the step receives it, or else the first one; others are wired as those of ``when`` are. It returns
            a bool, or awaits to one.
        max: Calls in all. The value of the last one counts, good enough or not.
        feed: The parameter that receives the value; needed where it is not plain which.

    Returns:
        The step itself.

    Raises:
        GraphError: It is no step or is repeated already, or an argument is wrong.
    """
    if getattr(step, "inside", False):
        raise GraphError(f"repeat: step {step.id!r} is one of a sub-flow; repeat it in its own flow")
    if not isinstance(step, Step):
        if isinstance(step, (Source, Marker)):
            raise GraphError(f"repeat takes a step, not {step!r}")
        if callable(step):
            name = call_name(step)
            raise GraphError(f"repeat: {name!r} is not a step; put @flow.step on it, or flow.add it")
        raise GraphError(f"repeat takes a step, not {brief(step)}")
    label = f"repeat({step.id})"
    if "repeat" in step.options:
        raise GraphError(f"{label}: it is repeated already; to take its value say use({step.id})")
    if isinstance(until, (Source, Marker)) or not callable(until):
        raise GraphError(
            f"{label}: until takes a function of the value that returns a bool, not {brief(until)}"
        )
    if not is_whole(max) or max < 1:
        raise GraphError(f"{label}: max counts all calls, so it is an int of at least 1, not {max!r}")
    if max > MOST:
        raise GraphError(
            f"{label}: each call is a step of its own, so max is at most {MOST:,}, not {max:,};\n"
            "a longer loop belongs inside the step"
        )
    if feed is not None and feed not in step.facts.names and not step.facts.open:
        names = [param.name for param in step.facts.params if not param.context]
        takes = f"; it takes {', '.join(names)}" if names else "; it takes none"
        raise GraphError(
            f"{label}: feed={feed!r} is not a parameter of {call_name(step.function)}"
            f"{nearest(str(feed), names) or takes}"
        )
    step.flow._change(step, {**step.options, "repeat": Loop(until, max, feed)})
    return step


def unrolled(wires: Wires, step: AnyStep, node: Node) -> list[Node]:
    """The nodes of a repeated step: its calls, in order, and last the one that has its value.

    Args:
        wires: The build.
        step: The step.
        node: What the step would be without the loop.

    Raises:
        GraphError: It cannot be repeated as it is, or `until` cannot be bound.
    """
    loop: Loop = step.options["repeat"]
    if node.trigger != "all_succeeded":
        raise GraphError(
            f"step {node.id!r}: it is repeated, so it takes no trigger;\n"
            "put that on a step before it, and take its value"
        )
    fed = _fed(step, loop)
    wires.edges.check(step, fed, Use(step), step)
    nodes, needs = _elements(node, fed)
    first = node._replace(id=f"{node.id}/1", needs=needs)
    nodes.append(first)
    data = [need for need in needs if need.param not in (None, fed.name)]
    fed_by = len(data)
    later = first._replace(
        inputs=tuple([pair for pair in first.inputs if pair[0] != fed.name]),
        bound={name: value for name, value in (first.bound or {}).items() if name != fed.name} or None,
    )
    if loop.max > 1:
        asked = [*data, Need(first.id, "use", fed.name, Accepts.NOTHING, NOTHING)]
        when = _again(wires, step, loop, fed, asked, later)
        for call in range(2, loop.max + 1):
            asked[fed_by] = asked[fed_by]._replace(node=f"{node.id}/{call - 1}")
            nodes.append(later._replace(id=f"{node.id}/{call}", needs=tuple(asked), when=when))
    nodes.append(_last(node, loop.max))
    return nodes


def _fed(step: AnyStep, loop: Loop) -> Parameter:
    """The parameter that receives the value of the call before. What a sub-flow is given decides nothing."""
    step = getattr(step, "original", step)
    if loop.feed is not None:
        named = [param for param in step.facts.params if param.name == loop.feed]
        return named[0] if named else Parameter(loop.feed)
    params = [param for param in step.facts.params if not (param.context or param.fixed)]
    comes = {param: step.bindings.get(param.name, param.default) for param in params}
    varied = [one for one in params if one.name not in step.bindings or isinstance(comes[one], Marker)]
    plain = [one for one in varied if not isinstance(comes[one], Marker)]
    free = [one for one in plain if comes[one] is ABSENT]
    for some in (params, varied, plain, free):
        if len(some) == 1:
            return some[0]
    asks = f"repeat({step.id}): which parameter receives the value of the call before?"
    if not params:
        raise GraphError(f"{asks} {call_name(step.function)}() has none that is free")
    some = free or plain or varied or params
    names = " and ".join(repr(param.name) for param in some)
    raise GraphError(f"{asks} It could be {names}; say feed='{some[0].name}'")


def _elements(node: Node, fed: Parameter) -> tuple[list[Node], tuple[Need, ...]]:
    """What the calls take of a map: all of them the element of the first, through a node that holds it."""
    eaches = [need for need in node.needs if need.how == "each"]
    if all(need.param == fed.name for need in eaches):
        return [], node.needs
    params = [str(need.param) for need in eaches]
    head = Node(
        id=f"{node.id}/0",
        call=Elements(params),
        needs=tuple(eaches),
        optional=node.optional,
        runner="inline",
        doc=f"what {node.id} maps over",
        origin=node.origin,
    )
    needs = []
    for need in node.needs:
        if need.how == "each":
            part = params.index(str(need.param)) if len(params) > 1 else None
            need = Need(head.id, "use", need.param, Accepts.NOTHING, NOTHING, part)
        needs.append(need)
    return [head], tuple(needs)


class Elements:
    """What the node of a loop's elements calls: it hands on one element, or a tuple of several.

    Args:
        params: Its parameters.
    """

    __slots__ = ("params",)

    def __init__(self, params: list[str]) -> None:
        self.params = params

    def __call__(self, **given: Any) -> Any:
        values = tuple([given[param] for param in self.params])
        return values if len(values) > 1 else values[0]


def _again(
    wires: Wires, step: AnyStep, loop: Loop, fed: Parameter, needs: list[Need], node: Node
) -> Condition:
    """The condition of every call but the first. What it needs beside the step's needs is added to them."""
    read_for = f"step {step.id!r}: until"
    params = [param for param in read(loop.until, read_for).params if not param.fixed]
    alias = {}
    if params and fed.name not in {param.name for param in params}:
        names = [param.name for param in params if not isinstance(param.default, Marker)]
        if names:
            place = getattr(step, "place", None)
            own = step.id if place is None else step.id.removeprefix(place.prefix)
            alias[own if own in names else names[0]] = fed.name
    given = (node.inputs, node.bound, node.context)
    asked = bind_condition(wires, step, "until", loop.until, needs, given, alias)
    until = Until(step.id, asked.call)
    return asked._replace(call=until.later if asked.is_async else until)


class Until:
    """What a call of a loop asks before it starts: whether the value before was not good enough yet.

    Args:
        step: Id of the step.
        until: What the user gave.
    """

    __slots__ = ("step", "until")

    def __init__(self, step: str, until: Callable[..., Any]) -> None:
        self.step = step
        self.until = until

    def __penstock_code__(self) -> list[Any]:
        return [self.until]

    def __call__(self, **given: Any) -> Any:
        answer = self.until(**given)
        return self._wait(answer) if hasattr(answer, "__await__") else self._turned(answer)

    async def later(self, **given: Any) -> bool:
        """The same for a coroutine function."""
        return self._turned(await self.until(**given))

    async def _wait(self, answer: Any) -> bool:
        return self._turned(await answer)

    def _turned(self, answer: Any) -> bool:
        if answer is True or answer is False:
            return not answer
        raise TypeError(f"until of {self.step!r} returned {type(answer).__name__}, not a bool")


def _last(node: Node, calls: int) -> Node:
    """The node that has the value of the loop. Only a first call may not be missing."""
    needs = [
        Need(
            f"{node.id}/{call}",
            "use",
            str(call),
            Accepts.CONDITION if call > 1 else Accepts.NOTHING,
            NOTHING,
        )
        for call in range(1, calls + 1)
    ]
    return Node(
        id=node.id,
        call=last,
        needs=tuple(needs),
        optional=node.optional,
        runner="inline",
        keep=node.keep,
        volatile=node.volatile,
        doc=f"the value of the last call of {node.id}",
        origin=node.origin,
    )


def last(**values: Any) -> Any:
    """The value of the last call that ran."""
    return values[max(values, key=int)]
