"""Folds: a function makes one value of the items of a map, as they come."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import functools
import operator
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Need, Node, NodeStatus, Quorum, RunOptions, RunStatus
from penstock.flow import Flow, each, fold, gather, param, use


def add(so_far: int, item: int) -> int:
    return so_far + item


def note(so_far: list[Any], item: Any) -> list[Any]:
    so_far.append(item)
    return so_far


async def later(so_far: int, item: int) -> int:
    return so_far


def bit_by_bit(so_far: int, item: int) -> Iterator[int]:
    yield so_far


def node(flow: Flow, id: str) -> Node:
    graph = flow.graph()
    return graph.nodes[graph.index[id]]


@pytest.fixture
def flow() -> Flow:
    flow = Flow("flow")

    @flow.step
    def numbers() -> list[int]:
        return [1, 2, 3, 4]

    @flow.step
    def square(n: int = each(numbers)) -> int:
        return n * n

    return flow


def folding(flow: Flow, function: Any = add, initial: Any = 0, **how: Any) -> Any:
    return flow.add(lambda x: x, name="f", x=fold(flow.steps["square"], function, initial, **how))


# --- building ---------------------------------------------------------------------------------------------


def test_a_fold_is_a_node_of_its_own(flow):
    folding(flow, failures="drop")
    made = node(flow, "f.x")
    assert (made.kind, made.call, made.bound, made.runner) == ("gather", add, {"initial": 0}, None)
    assert made.needs == (Need("square", "gather", "item", Accepts.NOTHING, NOTHING, failures="drop"),)
    assert node(flow, "f").needs == (Need("f.x", "use", "x", Accepts.NOTHING, NOTHING),)


def test_steps_that_fold_the_same_have_each_their_own(flow):
    for name in ("f", "g"):
        flow.add(lambda x, y: x, name=name, **{at: fold(flow.steps["square"], add, 0) for at in "xy"})
    assert [node(flow, id).kind for id in ("f.x", "f.y", "g.x", "g.y")] == ["gather"] * 4


def test_a_default_of_the_parameter_accepts_that_all_was_skipped(flow):
    flow.add(lambda x=7: x, name="f", x=fold(flow.steps["square"], add, 0))
    assert node(flow, "f").needs[0].accepts is Accepts.CONDITION


def test_it_is_shown(flow):
    square = flow.steps["square"]
    assert repr(fold(square, add, 0)) == "fold(square, add, 0)"
    assert (
        repr(fold(square, functools.partial(add), 0, failures="drop"))
        == "fold(square, add, 0, failures='drop')"
    )
    assert repr(fold(square, operator.add, 0)) == "fold(square, add, 0)"
    folding(flow, failures="drop")
    assert flow.explain_wiring().splitlines()[-2:] == [
        "f.x      (fold)     fold(square, add, 0, failures='drop')",
        "f        x          use(f.x)",
    ]


def test_a_step_that_folds_is_called_with_the_value(flow):
    f = folding(flow)
    assert f(x=3) == 3

    @flow.step
    def g(x: int = fold(flow.steps["square"], add, 0)): ...

    with pytest.raises(TypeError, match=r"nothing fills 'x' from fold\(square, add, 0\)"):
        g()


# --- misuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (later, 0),
            "fold(square, ...): 'later' is async, and a fold calls a plain function;\n"
            "do that part in a step of the map, with use(square), and fold what it returns",
        ),
        (
            (bit_by_bit, 0),
            "fold(square, ...): 'bit_by_bit' is a generator function, and a fold calls a plain function;\n"
            "do that part in a step of the map, with use(square), and fold what it returns",
        ),
        (
            (0, add),
            "fold(square, ...): fold takes a function of what there is so far and the next item, not 0",
        ),
        (
            (add, 0, "keep"),
            "fold(square, ...): failures is 'raise' or 'drop', not 'keep';\n"
            "for any other policy take the whole list: gather(square, failures=...)",
        ),
        (
            (add, 0, Quorum(2)),
            "fold(square, ...): failures is 'raise' or 'drop', not Quorum(least=2);\n"
            "for any other policy take the whole list: gather(square, failures=...)",
        ),
    ],
)
def test_misuse_of_the_marker(flow, arguments, text):
    function, initial, *policy = arguments
    with pytest.raises(GraphError) as caught:
        fold(flow.steps["square"], function, initial, **({"failures": policy[0]} if policy else {}))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (add, "fold(add): 'add' is not a step; put @flow.step on it, or flow.add it"),
        ("square", "fold('square'): fold takes a step, not its name; give the step itself, "
         "or param('square') for an input of the run"),
    ],
)  # fmt: skip
def test_what_is_no_step(source, text):
    with pytest.raises(GraphError) as caught:
        fold(source, add, 0)
    assert str(caught.value) == text


def test_a_gather_is_not_folded(flow):
    with pytest.raises(GraphError, match="fold takes a step, not another marker; say fold\\(square\\)"):
        fold(gather(flow.steps["square"]), add, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["numbers", "xs"])
def test_what_is_not_mapped_is_not_folded(flow, source):
    flow.add(lambda x: x, name="f", x=fold(flow.steps.get(source, param(source)), note, []))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        f"step 'f.x': fold takes a mapped step, and {source!r} is not mapped; "
        f"take its value with use({source})"
    )


def test_an_id_that_is_taken(flow):
    folding(flow)
    flow.add(lambda: 1, name="f.x")
    with pytest.raises(
        GraphError, match=r"'f' brings a node of its own called 'f\.x', and there is a step of that"
    ):
        flow.graph()


def test_other_triggers_cannot_do_without_a_fold(flow):
    flow.add(lambda x: x, name="f", x=fold(flow.steps["square"], add, 0), trigger="all_done")
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'f': its parameter 'x' takes fold(...), and with the trigger 'all_done' "
        "it may start without that;\n"
        "fold in a step before it, and take that one with outcome(...) or optional(...)"
    )


def text_first(so_far: str, item: int) -> str: ...
def takes_text(so_far: int, item: str) -> int: ...
def gives_text(so_far: int, item: int) -> str: ...
def takes_three(so_far, item, more): ...
def takes_one(so_far): ...
def takes_named(so_far, item, *, more): ...


@pytest.mark.parametrize(
    ("function", "initial", "text"),
    [
        (
            takes_text,
            0,
            "takes fold(square, takes_text, 0), and 'takes_text' takes str as the next item, "
            "where 'square' returns int;\nchange one of the two annotations, or fold another step",
        ),
        (
            gives_text,
            0,
            "takes fold(square, gives_text, 0), and 'gives_text' takes int as what there is so far, "
            "but returns str;\nlet it return what it takes",
        ),
        (
            text_first,
            0,
            "takes fold(square, text_first, 0), and what it begins with, 0, is int, "
            "where 'text_first' takes str;\nbegin with another value, or change the annotation",
        ),
        (
            lambda so_far, item: so_far,
            "",
            "takes fold(square, <lambda>, ''), and what it begins with, '', is str, "
            "where 'x' takes int;\nbegin with another value, or change the annotation",
        ),
        (
            takes_three,
            0,
            "takes fold(square, takes_three, 0), which calls takes_three(so_far, item), "
            "and takes_three(so_far, item, more) cannot be called so;\n"
            "give fold a function of two parameters",
        ),
        (
            takes_one,
            0,
            "takes fold(square, takes_one, 0), which calls takes_one(so_far, item), "
            "and takes_one(so_far) cannot be called so;\ngive fold a function of two parameters",
        ),
        (
            takes_named,
            0,
            "takes fold(square, takes_named, 0), which calls takes_named(so_far, item), "
            "and takes_named(so_far, item) cannot be called so;\ngive fold a function of two parameters",
        ),
    ],
)
def test_types_that_do_not_fit(flow, function, initial, text):
    def f(x: int): ...

    flow.add(f, x=fold(flow.steps["square"], function, initial))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == f"step 'f': its parameter 'x' {text}"


def test_what_a_fold_gives_must_fit_its_parameter(flow):
    def f(x: str | int): ...
    def to_object(so_far: Any, item: Any) -> list[int]: ...

    flow.add(f, x=fold(flow.steps["square"], to_object, 0))  # type: ignore[arg-type]
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'f': its parameter 'x' takes str | int, and fold(square, to_object, 0) gives list[int];\n"
        "change one of the two annotations, or the marker of 'x'"
    )


def with_default(so_far, item, more=1): ...
def any_number(*values): ...


@pytest.mark.parametrize(
    "function", [add, operator.add, max, with_default, any_number, lambda a, b: a, functools.partial(add)]
)
def test_functions_that_fit(flow, function):
    def f(x: int): ...

    flow.add(f, x=fold(flow.steps["square"], function, 0))
    flow.graph()


# --- runs -------------------------------------------------------------------------------------------------


def run(flow: Flow, **how: Any) -> Any:
    result = flow.run(**how)
    result.raise_for_failure()
    return result


@pytest.mark.parametrize("runner", ["threads", "inline"])
@pytest.mark.parametrize("function", [add, operator.add, lambda so_far, item: so_far + item])
def test_the_items_are_folded(flow, runner, function):
    folding(flow, function, 100)
    assert run(flow, runner=runner)["f"] == 130


def test_f07_items_are_taken_in_input_order_whenever_they_end(flow):
    second = threading.Event()

    def item(n):
        if n == 1:
            assert second.wait(20)
        if n == 2:
            second.set()
        return n

    items = flow.add(item, n=each(flow.steps["numbers"]))
    flow.add(lambda x: x, name="f", x=fold(items, note, []))
    assert run(flow)["f"] == [1, 2, 3, 4]


def test_items_are_folded_while_others_still_run(flow):
    begun = threading.Event()

    def watch(so_far, item):
        begun.set()
        return [*so_far, item]

    def item(n):
        if n == 4:
            assert begun.wait(20)
        return n

    items = flow.add(item, n=each(flow.steps["numbers"]))
    flow.add(lambda x: x, name="f", x=fold(items, watch, []))
    assert run(flow)["f"] == [1, 2, 3, 4]


def test_f02_an_empty_map_gives_what_it_began_with():
    flow = Flow("flow")
    items = flow.add(lambda x: x, name="m", x=each(flow.add(lambda: [], name="none")))
    flow.add(lambda x: x, name="f", x=fold(items, add, 7))
    assert run(flow)["f"] == 7


def test_d04_what_it_begins_with_is_copied_for_each_run(flow):
    initial: list[int] = []
    flow.add(lambda x: x, name="f", x=fold(flow.steps["square"], note, initial))
    flow.add(lambda x: x, name="g", x=fold(flow.steps["square"], note, initial))
    for _ in range(2):
        result = run(flow)
        assert result["f"] == result["g"] == [1, 4, 9, 16]
    assert initial == []


def broken(so_far: int, item: int) -> int:
    raise ZeroDivisionError("no")


def test_a_function_that_raises_fails_its_own_node(flow):
    folding(flow, broken)
    result = flow.run()
    assert result.status is RunStatus.FAILED
    assert result.nodes["f.x"].failure.type == "ZeroDivisionError"
    assert result.nodes["f"].status is NodeStatus.SKIPPED


def inverse(n: int) -> float:
    return 1 / n


def of_numbers(values: list[int]) -> tuple[Flow, Any]:
    flow = Flow("flow")
    return flow, flow.add(inverse, n=each(flow.add(lambda: values, name="values")))


def test_f04_failed_items_are_dropped(flow):
    flow, items = of_numbers([1, 0, 4])
    flow.add(lambda x: x, name="f", x=fold(items, note, [], failures="drop"))
    result = run(flow)
    assert result["f"] == [1.0, 0.25]
    assert result.tolerated == ("inverse[1]",)


@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_f04_a_failed_item_fails_the_run(on_failure):
    flow, items = of_numbers([1, 0, 4])
    flow.add(lambda x: x, name="f", x=fold(items, note, []))
    result = flow.run(options=RunOptions(on_failure=on_failure))
    assert result.status is RunStatus.FAILED
    assert result.nodes["f"].status is result.nodes["f.x"].status is NodeStatus.SKIPPED


def test_items_that_a_condition_left_out_are_left_out(flow):
    odd = flow.add(lambda n: n, name="odd", n=each(flow.steps["numbers"]), when=lambda n: n % 2 == 1)
    flow.add(lambda x: x, name="f", x=fold(odd, note, []))
    assert run(flow)["f"] == [1, 3]


def test_f09_a_fold_inside_a_map(flow):
    @flow.step
    def rows() -> list[list[int]]:
        return [[1, 2], [], [3]]

    @flow.step
    def row(row: list[int] = each(rows)) -> list[int]:
        return row

    @flow.step
    def cell(n: int = each(row)) -> int:
        return n

    @flow.step
    def sum_of_row(x: int = fold(cell, add, 0)) -> int:
        return x

    @flow.step
    def sums(all: list[int] = gather(sum_of_row), total: int = fold(sum_of_row, add, 0)) -> Any:
        return all, total

    assert run(flow)["sums"] == ([3, 0, 3], 6)


def test_a_fold_beside_a_gather_and_two_folds(flow):
    square = flow.steps["square"]
    flow.add(
        lambda a, b, c: (a, b, c),
        name="f",
        a=fold(square, add, 0),
        b=fold(square, note, []),
        c=gather(square),
    )
    assert run(flow)["f"] == (30, [1, 4, 9, 16], [1, 4, 9, 16])


def test_a_fold_of_a_stream():
    flow = Flow("flow")

    @flow.step
    def numbers() -> Iterator[int]:
        yield from range(5000)

    @flow.step
    def item(n: int = each(numbers)) -> int:
        return n

    @flow.step
    def total(x: int = fold(item, add, 0)) -> int:
        return x

    assert run(flow)["total"] == sum(range(5000))


def test_a_fold_of_an_override(flow):
    folding(flow, note, [])
    for _ in range(2):
        assert run(flow, override={"square": [5, 6]})["f"] == [5, 6]
    assert run(flow, override={"f.x": "given"})["f"] == "given"


def test_what_folds_for_an_optional_step_is_optional_too(flow):
    flow.add(lambda x: x, name="f", x=fold(flow.steps["square"], broken, 0), optional=True)
    result = run(flow)
    assert result.tolerated == ("f.x",)
    assert result.nodes["f"].status is NodeStatus.SKIPPED


def test_a_condition_may_fold(flow):
    def enough(total: int = fold(flow.steps["square"], add, 0)) -> bool:
        return total == 30

    flow.add(lambda: "yes", name="f", when=enough)
    assert run(flow)["f"] == "yes"


def test_a_use_of_a_folding_step(flow):
    f = folding(flow)
    flow.add(lambda x: x + 1, name="g", x=use(f))
    assert run(flow)["g"] == 31
