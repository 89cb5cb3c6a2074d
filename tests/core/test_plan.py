"""`Plan`: its order, its differences of position, and whose failure is let pass."""

from __future__ import annotations

from random import Random

import pytest

from penstock.core.graph import Graph
from penstock.core.plan import Plan
from tests.core.play import after, each, gather, node
from tests.model.drive import graph_of
from tests.model.generate import random_spec
from tests.model.outlook import tolerated


def ranks(graph: Graph) -> dict[str, int]:
    """The longest way from each node to the end, by definition."""
    below = graph.dependents()
    found: dict[int, int] = {}
    for at in reversed(graph.order):
        found[at] = 1 + max((found[other] for other in below[at]), default=0)
    return {graph.nodes[at].id: rank for at, rank in found.items()}


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_facts_of_random_plans(first):
    for seed in range(first, first + 50):
        spec = random_spec(Random(seed))
        graph = graph_of(spec)
        plan = Plan(graph)
        rank = ranks(graph)
        order = [(-rank[one.id], graph.index[one.id]) for one in plan.nodes]
        assert order == sorted(order), "by rank, then by definition"
        for number, one in enumerate(plan.nodes):
            assert all(plan.index[need.node] < number for need in one.needs), "topological"
            assert bool(plan.judges[number]) == tolerated(spec, one.id), f"seed {seed}, {one.id}"
        for site, steps in enumerate(plan.down):
            for step in steps:
                assert plan.level[site] == plan.level[site + step], "an edge stays in its row"
        for site, steps in enumerate(plan.reads):
            for step in steps:
                assert plan.uses[site + step] > 0


def test_a_long_chain_keeps_one_tuple():
    plan = Plan(Graph("chain", [node("s0"), *[node(f"s{at}", f"s{at - 1}") for at in range(1, 1000)]]))
    assert len({id(steps) for steps in plan.down}) == 2
    assert plan.down[0] == (1,)


def test_earlier_durations_decide_the_order():
    graph = Graph("two", [node("short"), node("long"), node("below", "short")])
    assert [one.id for one in Plan(graph).nodes] == ["short", "long", "below"]
    plan = Plan(graph, durations={"short": 1.0, "below": 1.0, "long": 60.0})
    assert [one.id for one in plan.nodes] == ["long", "short", "below"]


def test_a_step_without_a_duration_is_taken_to_last_as_long_as_the_others():
    graph = Graph("three", [node("new"), node("short"), node("long"), node("usual")])
    plan = Plan(graph, durations={"short": 1.0, "usual": 5.0, "long": 9.0})
    assert [one.id for one in plan.nodes] == ["long", "new", "usual", "short"]


def test_the_maps_of_a_source_are_in_one_order_whatever_takes_long():
    """A journal holds the keys of an element in this order."""
    graph = Graph("maps", [node("s"), node("a", each("s")), node("b", each("s"))])
    for durations in ({"a": 1.0, "b": 9.0}, {"a": 9.0, "b": 1.0}):
        plan = Plan(graph, durations=durations)
        (scopes,) = plan.opens.values()
        heads = [plan.nodes[plan.node[plan.levels[one].base + plan.levels[one].head]].id for one in scopes]
        assert heads == ["a", "b"]


def test_what_is_kept():
    graph = Graph("kept", [node("a"), node("b", "a", keep=True), node("c", "b"), node("d", after("c"))])
    assert _kept(Plan(graph)) == ["b", "c", "d"], "the value of `a` goes with its last consumer"
    assert _kept(Plan(graph, targets=["a"])) == ["a", "b", "c", "d"]
    assert _kept(Plan(graph, keep_all=True)) == ["a", "b", "c", "d"]


def _kept(plan: Plan) -> list[str]:
    return [plan.nodes[number].id for number in plan.outputs]


def test_rows_of_maps():
    graph = Graph("maps", [node("s"), node("a", each("s")), node("b", "a"), node("g", gather("b"))])
    plan = Plan(graph)
    level = plan.levels[1]
    assert (level.parent, level.width, level.flat) == (0, 2, True)
    row = [plan.nodes[plan.node[level.base + at]].id for at in range(level.width)]
    assert row == ["b", "a"], "deepest step first"
