"""`restrict`: what a run with targets or overrides leaves out."""

from __future__ import annotations

from random import Random

import pytest

from penstock.core.errors import InputError
from penstock.core.graph import Graph
from penstock.core.model import Input
from penstock.core.subgraph import restrict
from tests.core.play import each, gather, node
from tests.model.drive import graph_of
from tests.model.generate import random_spec


def ids(graph: Graph) -> list[str]:
    return [one.id for one in graph.nodes]


def above(graph: Graph, wanted: set[str], given: set[str]) -> set[str]:
    """These and all they need, but not what only an overridden one needs: by walking, naively."""
    found: set[str] = set()
    todo = sorted(wanted)
    while todo:
        id = todo.pop()
        if id in found:
            continue
        found.add(id)
        if id not in given:
            todo += [need.node for need in graph.nodes[graph.index[id]].needs]
    return found


@pytest.mark.parametrize("seed", range(100))
def test_targets_are_a_closure_of_whole_maps(seed):
    dice = Random(seed)
    graph = graph_of(random_spec(dice))
    targets = dice.sample(ids(graph), dice.randint(1, min(3, len(graph))))
    part = restrict(graph, targets, None)
    wanted = above(graph, set(targets), set())
    assert ids(part) == [id for id in ids(graph) if id in wanted]
    assert all(part.nodes[part.index[id]] == graph.nodes[graph.index[id]] for id in wanted)
    assert ids(restrict(part, targets, None)) == ids(part)


@pytest.mark.parametrize("seed", range(100))
def test_an_override_needs_nothing_any_more(seed):
    dice = Random(seed)
    graph = graph_of(random_spec(dice))
    id = dice.choice(ids(graph))
    try:
        part = restrict(graph, None, {id: []})
    except InputError as error:
        if repr(id) not in str(error):
            raise
        return
    sinks = {one.id for one, users in zip(graph.nodes, graph.dependents(), strict=True) if not users}
    assert set(ids(part)) == above(graph, sinks | {id}, {id})
    given = part.nodes[part.index[id]]
    assert (given.needs, given.when, given.trigger, given.limits) == ((), None, "all_succeeded", ())


def test_without_either_it_is_the_graph_itself():
    graph = Graph("graph", [node("a")])
    assert restrict(graph, None, None) is graph
    assert restrict(graph, None, {}) is graph


def test_only_the_inputs_that_are_used_remain():
    nodes = [node("a", inputs=(("x", "x"),)), node("b", inputs=(("y", "y"),)), node("c", "a", "b")]
    graph = Graph("graph", nodes, [Input("x"), Input("y")])
    assert list(restrict(graph, ["a"], None).inputs) == ["x"]
    assert list(restrict(graph, None, {"a": 1}).inputs) == ["y"]


def test_a_map_that_is_given_is_one_list():
    graph = Graph("graph", [node("s"), node("i", each("s")), node("j", "i"), node("g", gather("j"))])
    part = restrict(graph, None, {"i": [1]})
    assert ids(part) == ["i", "j", "g"]
    assert part.nodes[1].needs[0].how == "each"
    assert restrict(graph, None, {"j": [1]}).nodes[1].needs[0].how == "use"


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ({"s": 5}, "override of 's': the step is mapped over: give a list, not int"),
        ({"i": {1}}, "override of 'i': the step is mapped: give the list of its items, not set"),
        ({"q": 1}, "there is no step called 'q'"),
        (
            {"i": []},
            "override of 'i': 'g' takes single items, or outcomes, of it; override 'g' as well, or the step "
            "that 'i' maps over",
        ),
    ],
)
def test_what_does_not_fit_is_refused(override, text):
    graph = Graph("graph", [node("s"), node("i", each("s")), node("g", gather("i", "keep"))])
    with pytest.raises(InputError) as caught_error:
        restrict(graph, None, override)
    assert str(caught_error.value) == text
