"""`Graph`: every refusal with its whole text, shortest circles, names, and map levels."""

from __future__ import annotations

import itertools
import unicodedata
from collections import deque
from random import Random
from typing import Any

import pytest

from penstock.core.errors import CycleError, GraphError
from penstock.core.graph import Graph
from penstock.core.model import Accepts, Input, Limit, LimitUse, Need, Node, Rate, Timeout
from penstock.core.names import MAX_LENGTH, RESERVED, normal_id
from tests.core.play import after, each, gather, never, node, optional


def refused(*nodes: Node, inputs: Any = ()) -> str:
    with pytest.raises(GraphError) as caught:
        Graph("graph", nodes, inputs)
    return str(caught.value)


# Circles


def shortest(edges: dict[int, list[int]]) -> int:
    """The length of the shortest circle, by a search from every node; edges point to what is needed."""
    best = len(edges) + 1
    for start in edges:
        distance, queue = {start: 0}, deque([start])
        while queue:
            at = queue.popleft()
            for above in edges[at]:
                if above == start:
                    best = min(best, distance[at] + 1)
                elif above not in distance:
                    distance[above] = distance[at] + 1
                    queue.append(above)
    return best


@pytest.mark.parametrize("seed", range(150))
def test_g01_the_circle_that_is_shown_is_one_and_the_shortest(seed):
    dice = Random(seed)
    many = dice.randint(2, 30)
    edges: dict[int, list[int]] = {
        at: dice.sample(
            [other for other in range(many) if other != at], min(many - 1, dice.choice((0, 1, 1, 2)))
        )
        for at in range(many)
    }
    nodes = [node(f"s{at}", *[f"s{above}" for above in edges[at]]) for at in range(many)]
    length = shortest(edges)
    if length > many:
        assert len(Graph("graph", nodes)) == many
        return
    with pytest.raises(CycleError) as caught:
        Graph("graph", nodes)
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert len(cycle) - 1 == length == len(set(cycle))
    for above, below in itertools.pairwise(cycle):
        assert int(above[1:]) in edges[int(below[1:])], "in the direction of the data"
    assert str(caught.value) == f"these steps wait for each other: {' -> '.join(cycle)}"


def test_g01_a_circle_of_100_000_steps():
    many = 100_000
    nodes = [node(f"s{at}", f"s{(at + 1) % many}") for at in range(many)]
    with pytest.raises(CycleError) as caught:
        Graph("graph", nodes)
    assert len(caught.value.cycle) == many + 1


def test_g02_a_step_that_needs_itself():
    assert refused(node("a", "a")) == "step 'a' needs itself"


# Names and needs


def test_g03_two_steps_of_one_name():
    text = "there are two steps called 'a'; give one another name"
    assert refused(node("a"), node("b"), node("a")) == text


def test_g03_names_are_compared_in_one_spelling():
    assert normal_id("e\u0301") == "\u00e9" == normal_id("\u00e9")
    assert refused(node("\u00e9"), node("e\u0301")) == (
        "step 'e\\u0301': the name is not in its normal form (NFC)"
    )
    assert len(Graph("graph", [node("a"), node("A")])) == 2, "compared exactly"


def test_g04_all_unknown_needs_are_named_at_once():
    assert refused(node("alpha"), node("b", "alpah"), node("c", "zzz", "alhpa")) == (
        "'b' needs 'alpah', which no step is called; did you mean 'alpha'?\n"
        "'c' needs 'zzz', which no step is called\n"
        "'c' needs 'alhpa', which no step is called; did you mean 'alpha'?"
    )
    many = refused(node("x"), *[node(f"n{at}", f"?{at}") for at in range(9)])
    assert many.endswith(" (and 6 more)")
    assert many.count("\n") == 2


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_no_input_is_called_like_a_parameter_of_the_run(word):
    inputs = [Input(word, users=("a",))]
    text = f"step 'a': no input can be called {word!r}, a parameter of the run call; rename it"
    assert refused(node("a"), inputs=inputs) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "the name of a step is empty"),
        ("  ", "the name of a step is empty"),
        (5, "the name of a step must be a str, not int"),
        (None, "the name of a step must be a str, not NoneType"),
        (" a", "step ' a': a name has no space at its ends"),
        ("a//b", "step 'a//b': a part of the name is empty or only dots"),
        ("../b", "step '../b': a part of the name is empty or only dots"),
        ("x" * 201, f"step '{'x' * 40}…': a name has at most 200 characters, this one 201"),
        ("a/" + "x" * 201, f"step 'a/{'x' * 38}…': a name has at most 200 characters, this one 201"),
        ("it's " + "x" * 201, f'step "it\'s {"x" * 35}…": a name has at most 200 characters, this one 206'),
        (
            "a[0]",
            "step 'a[0]': '[' is not allowed in a name; "
            "use letters, digits, spaces and _ - . : + @ # , ( ) = ' &",
        ),
    ],
)
def test_g07_names_that_are_refused(name, text):
    with pytest.raises(GraphError) as caught:
        normal_id(name)
    assert str(caught.value) == text


def test_g07_a_normal_name_is_its_own_normal_form():
    """Every single character: taken as it is in NFC, or refused."""
    for code in (*range(0x3000), *range(0xA000, 0xA100), *range(0xD700, 0xE100), *range(0x1F300, 0x1F700)):
        try:
            name = normal_id(f"a{chr(code)}b")
        except GraphError:
            continue
        assert name == unicodedata.normalize("NFC", name) == normal_id(name)
        assert name.isprintable()


def test_the_longest_name():
    assert normal_id("x" * MAX_LENGTH)
    assert normal_id("é" * MAX_LENGTH)
    deep = "/".join(["x" * MAX_LENGTH] * 50)
    assert normal_id(deep) == deep


# Options that do not fit


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (
            [node("a", trigger="all_don")],
            "step 'a': there is no trigger 'all_don'; did you mean 'all_done'?\n(one of all_succeeded, "
            "all_done, none_failed, any_succeeded, all_failed, always, or a function)",
        ),
        (
            [node("a", trigger="any_succeeded")],
            "step 'a': trigger 'any_succeeded' never holds for a step that needs nothing",
        ),
        (
            [node("a"), node("b", "a", trigger="all_done")],
            "step 'b': with the trigger 'all_done' it may start when 'a' has no value;\ngive 'n0' a default, "
            "or take it with outcome(a) or optional(a, default)",
        ),
        (
            [node("a", kind="gate", trigger="always")],
            "step 'a': a gate cannot be clean-up; a stopped run waits for nobody",
        ),
        (
            [node("a", limits=[Limit("x", 1)]), node("b", limits=[Limit("x", 2)])],
            "step 'b': two limits called 'x' differ: Limit(name='x', capacity=1, rate=None, scope='run') and "
            "Limit(name='x', capacity=2, rate=None, scope='run')",
        ),
        (
            [node("a", limits=[Limit("x", 2), Limit("x", 2)])],
            "step 'a': limit 'x' stands twice; use take(2)",
        ),
        (
            [node("a", limits=[Limit("x", 9, Rate(2)).take(3)])],
            "step 'a': takes 3 of limit 'x', which has only 2",
        ),
        (
            [node("a", limits=[LimitUse(Limit("x", 9), 0)])],
            "step 'a': it takes an int of at least 1 of limit 'x', not 0",
        ),
        (
            [Node("a", never, is_async=True, runner="threads")],
            "step 'a': runner='threads' calls plain functions, and this one is async; leave runner= out, or "
            "give 'aio'",
        ),
        (
            [Node("a", never, runner="aio")],
            "step 'a': runner='aio' awaits async functions, and this one is not async; leave runner= out, or "
            "write 'async def'",
        ),
        (
            [Node("a", never, runner="inline", timeout=Timeout(1))],
            "step 'a': an inline step cannot be stopped, so it takes no timeout; leave out "
            "runner='inline' or the timeout",
        ),
        # Map levels
        (
            [node("a"), node("b", gather("a"))],
            "step 'b': gather takes a mapped step, and 'a' is not mapped; take its value with use(a)",
        ),
        (
            [node("a"), node("b", each("a")), node("c", gather("b", levels=2))],
            "step 'c': gather takes a mapped step, and 'b' is mapped 1 deep only; take its value with use(b)",
        ),
        (
            [node("a"), node("b", each("a"), each("a"))],
            "step 'b': it has two each(); map over one and use() the other",
        ),
        (
            [node("a"), node("c"), node("b", each("a")._replace(part=0), each("c")._replace(part=1))],
            "step 'b': it has two each(); map over one and use() the other",
        ),
        (
            [node("a"), node("b", each("a")), node("c", each("a")), node("d", "b", "c")],
            "step 'd': 'b' and 'c' belong to different maps, so their items do not pair; "
            "gather() one of them",
        ),
        (
            [node("a"), node("b", each("a")), node("c", each("a"), "b")],
            "step 'c': it maps over 'a' and also uses 'b' of another map; gather() that one",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(nodes, text):
    assert refused(*nodes) == text


def test_levels_of_maps():
    graph = Graph(
        "graph",
        [
            node("a"),
            node("b", each("a")),
            node("c", each("b")),
            node("d", "c", "a"),
            node("e", gather("d")),
            node("f", gather("d", levels=2)),
            node("g", after("d")),
            node("h", "b", after("d")),
        ],
    )
    depth = {one.id: graph.scopes[graph.scope_of[graph.index[one.id]]].depth for one in graph.nodes}
    assert depth == {"a": 0, "b": 1, "c": 2, "d": 2, "e": 1, "f": 0, "g": 0, "h": 1}


def test_parts_of_one_element_make_one_map():
    parts = [each("a")._replace(param=f"p{part}", part=part) for part in range(3)]
    graph = Graph("graph", [node("a"), node("b", *parts)])
    assert [scope.depth for scope in graph.scopes] == [0, 1]
    assert graph.scope_of == [0, 1]


def test_levels_ancestors_and_order():
    graph = Graph("graph", [node("d", "b", "c"), node("b", "a"), node("c", "a"), node("a"), node("x")])
    assert graph.levels() == [["a", "x"], ["b", "c"], ["d"]]
    assert {graph.nodes[at].id for at in graph.ancestors(["b"])} == {"a", "b"}
    with pytest.raises(GraphError, match=r"^there is no step called 'q'$"):
        graph.ancestors(["q"])
    place = {at: position for position, at in enumerate(graph.order)}
    assert all(place[above] < place[at] for at, mine in enumerate(graph.parents) for above in mine)


def test_an_accepting_need_goes_with_any_trigger():
    assert optional("a").accepts is Accepts.ANYTHING
    assert Graph("graph", [node("a"), node("b", optional("a"), trigger="all_done")])
    assert Graph("graph", [node("a"), node("b", Need("a", "after"), trigger="all_failed")])
