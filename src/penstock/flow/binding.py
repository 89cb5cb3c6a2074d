"""Steps to nodes, nodes to a graph.

Beside that it words what the graph alone could not: names of mapped steps, and the parameters that make a
circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from penstock.core.errors import CycleError, GraphError
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Condition, Limit, LimitUse, Need, Node

from .conditions import bind_condition
from .gates import Gate, GateFacts, Sleep
from .loops import Elements, unrolled
from .pairs import Crossed, Zipped
from .relays import let_pass, stay
from .step import AnyStep, FlowLike
from .subflow import Copy, Forced, HandsOn, Layout, Place, named_like_one
from .switches import Choice, Pick, check_keys, chosen, picked
from .ties import base, check_gathers, depths, lifted, tie
from .wires import Wires, fast
from .words import slot

_HAND_ON = (HandsOn, Pick, Elements, Zipped, Crossed)
"""What nodes call that make no value of their own."""


def build(name: str, flow: FlowLike, steps: Sequence[AnyStep] | None) -> Graph:
    """The graph of a flow.

    Args:
        name: Of the graph.
        flow: The flow; a marker of another one is an error.
        steps: Its steps in the order of definition, where steps are all that it has; None if not.

    Raises:
        GraphError: They do not fit together.
    """
    if steps is not None:
        return _Build(name, flow, steps).finished()
    forced: Forced = frozenset()
    while True:  # each round finds at least one more binding that maps its sub-flow
        layout = Layout(flow, forced)
        layout.bind()
        built = _Build(name, flow, layout.entries, layout)
        more = lifted(layout.places, depths(built.wires.nodes)) if built.wires.mapped else forced
        if more <= forced:
            return built.finished()
        forced |= more


class _Build:
    """One build of a graph.

    Args:
        name: Of the graph.
        flow: The flow.
        entries: What makes nodes, in the order of definition.
        layout: Where they come from, if there is more than steps.

    Attributes:
        wires: What is known of the nodes so far.
        home: By node of a sub-flow, where it stands.
    """

    def __init__(
        self, name: str, flow: FlowLike, entries: Sequence[Any], layout: Layout | None = None
    ) -> None:
        self.name = name
        self.layout = layout
        self.home: dict[str, Place] = {}
        self._relays: dict[str, Collection[str]] = {}
        self._seen = 0
        self._volatile = False
        self._choices = [entry for entry in entries if isinstance(entry, Choice)] if layout else []
        self._branches = {step.id: choice for choice in self._choices for step in choice.steps()}
        self.wires = wires = Wires(name, flow, entries)
        nodes = wires.nodes
        for step in entries:  # may grow while it is read: see Layout
            needs, inputs, bound, context = wires.of(step)
            if step.options or layout is not None or isinstance(step.facts, GateFacts):
                self._add(step, needs, inputs, bound, context)
                continue
            facts = step.facts
            fields = (  # in the order that `_node` spells out by name
                step.id, step.function, tuple(needs), "step", inputs, bound, context, facts.is_async,
                facts.stream, None, None, "all_succeeded", None, False, None, (), False, False,
                () if wires.lender is None else wires.lender.of(step),
                facts.doc, facts.origin, None,
            )  # fmt: skip
            nodes.append(fast(Node, fields))
        if layout is not None:
            wires.by_name += [(step, param, source, "") for step, param, source in layout.by_name]
        if self._relays:
            let_pass(nodes, self._relays)
        if self._volatile:
            stay(nodes, {node.id for node in nodes if isinstance(node.call, _HAND_ON)})
        if self.home:
            tie(nodes, self.home)

    def _add(
        self,
        step: Any,
        needs: list[Need],
        inputs: tuple[tuple[str, str], ...],
        bound: Mapping[str, Any] | None,
        context: str | None,
    ) -> None:
        """Adds the nodes of whatever is more than a plain step."""
        wires = self.wires
        if isinstance(step, Copy):
            for param, marker in step.checks:
                wires.edges.check(step, param, marker, marker.source)
        node = _node(wires, step, needs, inputs, bound, context)
        self._volatile |= node.volatile
        if isinstance(step.function, (Gate, Sleep)):
            node = step.function.gated(node)
        if step.id in self._branches:
            node = chosen(wires, self._branches[step.id], node)
        if isinstance(step, Choice):
            check_keys(step)
            node = picked(node, step.function)
            self._relays[step.id] = {branch.id for branch in step.steps()}
        if "repeat" in step.options:
            *calls, last = unrolled(wires, step, node)
            wires.nodes += [*calls, last]
            self._relays[step.id] = {call.id for call in calls}
            for one, other in pairwise(calls):
                self._relays[other.id] = (one.id,)
        else:
            wires.nodes.append(node)
        place = getattr(step, "place", None)
        if place is not None and place.sub is not None:
            for mine in wires.nodes[self._seen :]:
                self.home[mine.id] = place
        self._seen = len(wires.nodes)

    def finished(self) -> Graph:
        """The graph.

        Raises:
            GraphError: It is not valid.
        """
        wires = self.wires
        depth = depths(wires.nodes) if wires.mapped else {}
        if wires.mapped:
            _check_names(wires, depth)
        inputs = wires.inputs.finished()
        if wires.flow.resources:
            from .resources import check_flow

            check_flow(wires.flow, inputs)
        if self.layout is not None:
            self._check_parts(self.layout, depth, {one.name: one.users for one in inputs})
        try:
            return Graph(self.name, wires.nodes, inputs)
        except CycleError as error:
            error.args = (_explain_cycle(error, wires),)
            raise

    def _check_parts(
        self, layout: Layout, depth: Mapping[str, int], inputs: Mapping[str, Sequence[str]]
    ) -> None:
        for error in layout.unused():
            raise error
        subs = {place.prefix[:-1] for place in layout.places}
        takers = [(step.id, source) for step, _, source, _ in self.wires.by_name]
        takers += [(users[0], name) for name, users in inputs.items()]
        for step, name in takers:
            if name in subs:
                raise named_like_one(step, name)
        check_gathers(self.wires.nodes, self.home, depth)
        for choice in self._choices:
            route = choice.route.id if choice.route.flow is not None else ""
            most = max(depth.get(route, 0), base(choice.place, depth))
            for branch in choice.steps():
                if depth.get(branch.id, 0) > most:
                    raise GraphError(
                        f"{choice.label()}: its branch {branch.id!r} is mapped, and the route is not;\n"
                        f"gather it in a step, and let that be the branch"
                    )


def _node(
    wires: Wires,
    step: AnyStep,
    needs: list[Need],
    inputs: tuple[tuple[str, str], ...],
    bound: Mapping[str, Any] | None,
    context: str | None,
) -> Node:
    """The node of a step, with all its options but those that make several of it."""
    options, facts = step.options, step.facts
    asked: dict[str, Condition] = {}
    for word in ("when", "trigger"):
        if callable(options.get(word)):
            asked[word] = bind_condition(wires, step, word, options[word], needs, (inputs, bound, context))
    for source in options.get("after", ()):
        if source.flow is not wires.flow:
            raise wires.foreign(step, "after", source)
        needs.append(Need(source.id, "after", None, Accepts.NOTHING))
    timeout = options.get("timeout")
    if timeout is not None and timeout.idle is not None and context is None and not facts.stream:
        raise GraphError(
            f"step {step.id!r}: Timeout(idle=...) waits for signs of life, and it can give none;\n"
            "take a parameter annotated Context and call its heartbeat(), or give attempt= instead"
        )
    limits = options.get("limits", ())
    if "max_concurrency" in options:
        own = Limit(f"max_concurrency of {step.id}", capacity=options["max_concurrency"])
        limits = (*limits, LimitUse(own))
    return Node(
        id=step.id,
        call=step.function,
        needs=tuple(needs),
        kind="step",
        inputs=inputs,
        bound=bound,
        context=context,
        is_async=facts.is_async,
        stream=facts.stream,
        retry=options.get("retry"),
        timeout=timeout,
        trigger=asked.get("trigger") or options.get("trigger", "all_succeeded"),
        when=asked.get("when"),
        optional=options.get("optional", False),
        runner=options.get("runner"),
        limits=limits,
        keep=options.get("keep", False),
        volatile=options.get("volatile", False),
        resources=() if wires.lender is None else wires.lender.of(step),
        doc=facts.doc,
        origin=facts.origin,
    )


def _check_names(wires: Wires, depth: Mapping[str, int]) -> None:
    """Refuses parameters that are named like a mapped step: a name never changes the number of calls.

    Raises:
        GraphError: There is one.
    """
    for step, param, source, word in wires.by_name:
        if depth.get(source, 0) > base(getattr(step, "place", None), depth):
            raise GraphError(
                f"{slot(step, param, word)} is named like a mapped step, and a name makes no calls;\n"
                f"say {param}=gather({source}) for the list of all its items, "
                f"or {param}=use({source}) for one call per item"
            )


def _explain_cycle(error: CycleError, wires: Wires) -> str:
    """The circle, and the parameter that makes each of its edges, for as many as fit a line."""
    nodes = {node.id: node for node in wires.nodes}
    named = {(step.id, param) for step, param, *_ in wires.by_name}
    parts, mend = [], ""
    for source, taker in zip(error.cycle, error.cycle[1:], strict=False):
        need = next(need for need in nodes[taker].needs if need.node == source)
        asks = "after" if need.how == "after" else need.param or "a condition"
        parts.append(f"{taker!r} asks {source!r} ({asks})")
        if (taker, need.param) in named and not mend:
            mend = f"\n{need.param!r} of {taker!r} is wired by its name alone; rename it if an input is meant"
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"{error.args[0]}\n{'; '.join(parts[:3])}{more}{mend}"
