"""Whether a run fits its graph: inputs, places of steps, and the compiled plan."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from penstock.core.amounts import shown as shown_value
from penstock.core.checks import APART, check_volatile
from penstock.core.errors import GraphError, InputError, StoreError, nearest
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Node
from penstock.core.plan import Plan

if TYPE_CHECKING:
    from penstock.core.keeping import Kept


def complete(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with their defaults.

    Raises:
        InputError: One is missing or unknown.
    """
    for name in inputs:
        if name not in graph.inputs:
            raise InputError(
                f"{graph.name!r} takes no input {name!r}{nearest(name, graph.inputs)}"
                f" (it takes {', '.join(sorted(graph.inputs)) or 'none'})"
            )
    found = {name: each.default for name, each in graph.inputs.items() if each.default is not NOTHING}
    return {**found, **inputs}


def run_inputs(graph: Graph, part: Graph, given: Mapping[str, Any], kept: Kept | None) -> Mapping[str, Any]:
    """The inputs of a run: those given, those that it had before, and defaults.

    Args:
        graph: Whole.
        part: What of it is run.
        given: By name.
        kept: The run, if it is kept somewhere.

    Raises:
        InputError: One is missing or unknown.
    """
    if kept is not None:
        given = kept.inputs(graph, given)
    inputs = {name: value for name, value in complete(graph, given).items() if name in part.inputs}
    if kept is None:
        return inputs
    inputs = {**kept.own_inputs(graph), **inputs}
    for name, one in part.inputs.items():
        if name not in inputs:
            user = f" (step {one.users[0]!r})" if one.users else ""
            raise InputError(f"flow {graph.name!r} needs the input {name!r}{user}")
    return inputs


def not_options(given: object) -> str:
    said = f"options takes RunOptions, not {shown_value(given)}"
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        words = ", ".join(f"{name}={shown_value(value)}" for name, value in given.items())
        return f"{said}; say options=RunOptions({words})"
    return f"{said}; say options=RunOptions(...), or leave it out"


def _check_place(node: Node, runner: str) -> None:
    """Whether a step may run where the run would have it; what the graph alone could tell, it has told.

    Raises:
        GraphError: It may not, and has asked for it.
        InputError: It may not, and the run has asked for it.
    """
    wrong = InputError if node.runner is None else GraphError
    if runner == "inline" and node.timeout is not None and node.kind != "gate":
        raise wrong(
            f"step {node.id!r} has a timeout, and runner='inline' cannot stop a step; "
            f"leave out runner=, or give that step runner='threads'"
        )
    if runner in APART and node.kind == "step":
        from penstock.core.resources import check_processes
        from penstock.runners.processes import check_function

        try:
            check_function(node.call)
            check_processes(node)
        except (TypeError, ValueError) as error:
            raise wrong(f"step {node.id!r}: runner={runner!r}: {error}") from None


def check_processes(graph: Graph) -> None:
    """Whether the steps that ask for other processes may run there; for faces, when a graph is built.

    Raises:
        GraphError: One may not.
    """
    for node in graph.nodes:
        if node.runner in APART:
            _check_place(node, node.runner)


def _check_volatile(graph: Graph, plan: Plan) -> None:
    """Whether values that cannot leave this process stay in it, now that every step has its runner.

    Raises:
        InputError: One does not.
    """
    try:
        check_volatile(
            graph.nodes, graph.parents, lambda node: plan.runners[plan.runner[plan.index[node.id]]]
        )
    except GraphError as error:
        apart = ", ".join(repr(name) for name in plan.runners if name in APART)
        raise InputError(f"with runner={apart}: {error}") from None


def plan_of(
    graph: Graph,
    runner: str | None,
    awaiting: tuple[str, ...],
    targets: tuple[str, ...],
    durations: Mapping[str, float] | None = None,
) -> Plan:
    """The compiled graph, kept as long as the graph is; but a ranking by durations is made for one run."""
    key = (runner, awaiting, targets)
    plan = graph.compiled.get(key)
    if plan is None:
        plan = Plan(graph, runner=runner, awaiting=awaiting, targets=targets)
        if not {"inline", *APART}.isdisjoint(plan.runners):
            for node, code in zip(plan.nodes, plan.runner, strict=True):
                _check_place(node, plan.runners[code])
        if not set(APART).isdisjoint(plan.runners) and any(node.volatile for node in graph.nodes):
            _check_volatile(graph, plan)
        graph.compiled[key] = plan
    if durations:
        return Plan(graph, runner=runner, awaiting=awaiting, targets=targets, durations=durations)
    return plan


def earlier(graph: Graph, kept: Kept | None) -> Mapping[str, float]:
    """How long the steps of a graph took in earlier runs, where that is known and there is a choice of order.

    A run does not fail because nothing can be learned of others: whether the store can be used is found out
    when it begins.
    """
    if kept is None or kept.is_over or _is_chain(graph):
        return {}
    from penstock.core.expected import durations

    try:
        return durations(kept.store, graph.name, len(graph))
    except StoreError:
        return {}


def _is_chain(graph: Graph) -> bool:
    """Whether no two of its steps could ever be ready at the same time."""
    return all(before in graph.parents[after] for before, after in pairwise(graph.order))
