"""Gathers that hold if enough items succeeded."""

# mypy: disable-error-code="empty-body, no-untyped-call"

from collections.abc import Iterator
from typing import Any

import pytest

import penstock
from penstock.core.errors import GraphError
from penstock.core.model import NodeStatus, Outcome, Quorum, RunOptions, RunStatus
from penstock.flow import Flow, each, gather, use


def flow_of(values: list[int], quorum: Any, **options: Any) -> Flow:
    flow = Flow("flow")

    def inverse(n: int) -> float:
        return 1 / n

    source = flow.add(lambda: values, name="values")
    items = flow.add(inverse, n=each(source), **options)
    flow.add(lambda xs: xs, name="all", xs=gather(items, failures=quorum))
    return flow


# --- building ---------------------------------------------------------------------------------------------


def test_a_quorum_goes_into_the_need():
    graph = flow_of([], Quorum(0.8)).graph()
    (need,) = graph.nodes[graph.index["all"]].needs
    assert need.failures == Quorum(0.8)


def test_it_is_public_and_shown():
    assert penstock.Quorum is Quorum
    flow = flow_of([], Quorum(3))
    assert "gather(inverse, failures=Quorum(3))" in flow.explain_wiring()
    nested = gather(gather(flow.steps["inverse"], failures=Quorum(0.5)))
    assert repr(nested) == "gather(gather(inverse, failures=Quorum(0.5)))"


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (2, "not 2; say failures=Quorum(2)"),
        (0.8, "not 0.8; say failures=Quorum(0.8)"),
        (
            80.0,
            "not 80.0;\n"
            "Quorum: give a number of items (int, 0 or more) or a share (float, 0.0 to 1.0), not 80.0",
        ),
        (Quorum, f"not {str(Quorum)[:39]}; say Quorum(0.9) for nine items out of ten, Quorum(3) for three"),
        ("dropp", "not 'dropp'; did you mean 'drop'?"),
        (True, "not True"),
        (None, "not None"),
    ],
)
def test_other_policies_are_refused(policy, text):
    flow = Flow("flow")
    with pytest.raises(GraphError) as caught:
        gather(flow.add(lambda: 1, name="a"), failures=policy)
    expected = f"gather: failures is 'raise', 'drop', 'keep' or a Quorum, {text}"
    assert str(caught.value).replace("…", "") == expected.replace("…", "")


def test_the_policy_stands_on_the_inner_one():
    flow = Flow("flow")
    a = flow.add(lambda: 1, name="a")
    with pytest.raises(GraphError) as caught:
        gather(gather(a), failures=Quorum(2))  # type: ignore[call-overload]
    assert str(caught.value) == (
        "gather(gather(...)): the policy stands on the inner one; say gather(gather(a, failures=Quorum(2)))"
    )


def test_it_gives_values_and_no_outcomes():
    flow = Flow("flow")

    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: int = each(a)) -> int: ...
    @flow.step
    def c(xs: list[int] = gather(b, failures=Quorum(1))): ...

    flow.graph()

    @flow.step
    def d(xs: list[Outcome[int]] = gather(b, failures=Quorum(1))): ...  # type: ignore[arg-type]

    with pytest.raises(GraphError, match="takes list\\[Outcome\\[int\\]\\], and gather"):
        flow.graph()


# --- runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "quorum", "holds"),
    [
        ([1, 0, 4], Quorum(2), True),
        ([1, 0, 4], Quorum(3), False),
        ([1, 0, 4], Quorum(0), True),
        ([0, 0], Quorum(0), True),
        ([1, 0, 4], Quorum(0.66), True),
        ([1, 0, 4], Quorum(0.67), False),
        ([1] * 7 + [0] * 3, Quorum(0.7), True),
        ([1] * 6 + [0] * 4, Quorum(0.7), False),
        ([1, 2], Quorum(1.0), True),
        ([1, 0], Quorum(1.0), False),
        ([], Quorum(0.9), True),
        ([], Quorum(1), False),
        ([1, 2], Quorum(3), False),
    ],
)
@pytest.mark.parametrize("on_failure", ["stop", "continue"])
def test_f04_a_quorum_holds_if_enough_items_succeeded(values, quorum, holds, on_failure):
    result = flow_of(values, quorum).run(options=RunOptions(on_failure=on_failure))
    if holds:
        assert result.status is RunStatus.SUCCEEDED
        assert result["all"] == [1 / n for n in values if n]
        assert len(result.tolerated) == values.count(0)
    else:
        assert result.status is RunStatus.FAILED
        assert result.nodes["all"].status is NodeStatus.SKIPPED


def test_items_that_a_condition_left_out_count_on_neither_side():
    flow = flow_of([1, 0, 4, -1, -2, -3], Quorum(0.6), when=lambda n: n >= 0)
    assert flow.run()["all"] == [1.0, 0.25]
    assert flow_of([1, 0, -1], Quorum(0.6), when=lambda n: n >= 0).run().status is RunStatus.FAILED


def test_quorums_inside_a_map():
    flow = Flow("flow")

    @flow.step
    def rows() -> list[list[int]]:
        return [[1, 0], [2, 4], []]

    @flow.step
    def row(row: list[int] = each(rows)) -> list[int]:
        return row

    @flow.step
    def inverse(n: int = each(row)) -> float:
        return 1 / n

    @flow.step
    def enough(xs: list[float] = gather(inverse, failures=Quorum(0.5))) -> list[float]:
        return xs

    @flow.step
    def every(rows: list[list[float]] = gather(enough)) -> list[list[float]]:
        return rows

    assert flow.run()["every"] == [[1.0], [0.5, 0.25], []]


def test_two_gathers_judge_for_themselves():
    flow = flow_of([1, 0], Quorum(1))
    flow.add(lambda xs: xs, name="strict", xs=gather(flow.steps["inverse"]))
    result = flow.run()
    assert result.status is RunStatus.FAILED
    assert result.nodes["strict"].status is NodeStatus.SKIPPED


def test_a_quorum_of_a_stream_that_fails():
    flow = Flow("flow")

    @flow.step
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no more")

    @flow.step
    def item(n: int = each(numbers)) -> int:
        return n

    @flow.step
    def later(n: int = use(item)) -> int:
        return n

    @flow.step
    def enough(xs: list[int] = gather(later, failures=Quorum(0.6))) -> list[int]:
        return xs

    assert flow.run()["enough"] == [1, 2]

    @flow.step
    def too_many(xs: list[int] = gather(later, failures=Quorum(3))) -> list[int]:
        return xs

    assert flow.run().nodes["too_many"].status is NodeStatus.SKIPPED


# --- what is said of one out of reach -----------------------------------------------------------------------


def told(flow: Flow, **how: Any) -> tuple[Any, str]:
    result = flow.run(**how)
    with pytest.raises(penstock.RunFailed) as failed:
        result.raise_for_failure()
    return result, str(failed.value)


def test_too_few_items_are_the_reason_though_nothing_failed():
    flow = flow_of([1, 2, 3], Quorum(5))
    flow.add(lambda: None, name="then", after=[flow.steps["all"]])
    result, text = told(flow)
    why = "Quorum(5) of 'inverse' cannot be reached: it has 3 items"
    assert result.reason == why
    assert text == f"run {result.run_id} failed: {why}"
    assert why in repr(result)
    assert result.nodes["all"].reason == result.nodes["then"].reason == why
    assert result.nodes["inverse"].reason == f"the run stopped: {why}"
    assert result.nodes["inverse"].items[1].reason == f"the run stopped: {why}"


@pytest.mark.parametrize(
    ("values", "quorum", "options", "why"),
    [
        ([1, 0, 0], Quorum(2), {}, "Quorum(2) of 'inverse' cannot be reached: 2 of its 3 items failed"),
        ([1], Quorum(2), {}, "Quorum(2) of 'inverse' cannot be reached: it has 1 item"),
        ([], Quorum(1), {}, "Quorum(1) of 'inverse' cannot be reached: it has 0 items"),
        (
            [1, 2, 7, 8],
            Quorum(3),
            {"when": lambda n: n < 5},
            "Quorum(3) of 'inverse' cannot be reached: it has 2 items, and 2 that its condition left out",
        ),
    ],
)
def test_the_items_are_counted(values, quorum, options, why):
    result, text = told(flow_of(values, quorum, **options), options=RunOptions(on_failure="drain"))
    assert result.reason == why
    assert why in text


def test_a_stream_that_broke_counts():
    flow = Flow("flow")

    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("broke")

    items = flow.add(lambda n: n, name="items", n=each(flow.add(numbers)))
    flow.add(lambda xs: xs, name="all", xs=gather(items, failures=Quorum(2)))
    result, text = told(flow, options=RunOptions(on_failure="continue"))
    assert result.reason.startswith("Quorum(2) of 'items' cannot be reached: ")
    assert result.reason.endswith("and the stream they come from failed")
    assert "ValueError: broke" in text


def test_a_map_in_a_map_is_named_by_its_place():
    flow = Flow("flow")
    outer = flow.add(lambda: [[1, 2], [3]], name="outer")
    lists = flow.add(lambda one: one, name="lists", one=each(outer))

    def listed(one: Any) -> list[int]:
        return list(one)

    inner = flow.add(listed, name="inner", one=use(lists))
    items = flow.add(lambda n: n, name="items", n=each(inner))
    flow.add(lambda xs: xs, name="all", xs=gather(items, failures=Quorum(2)))
    result, _ = told(flow)
    assert result.reason == "Quorum(2) of 'items[1]' cannot be reached: it has 1 item"


def test_many_maps_are_not_all_named():
    flow = Flow("flow")

    def listed(one: int) -> list[int]:
        return [one]

    inner = flow.add(listed, name="inner", one=each(flow.add(lambda: list(range(9)), name="outer")))
    items = flow.add(lambda n: n, name="items", n=each(inner))
    flow.add(lambda xs: xs, name="all", xs=gather(items, failures=Quorum(2)))
    result, _ = told(flow, options=RunOptions(on_failure="continue"))
    assert result.reason.count("cannot be reached") == 3
    assert result.reason.endswith("; and 6 more")


def test_a_quorum_that_holds_is_no_reason():
    result = flow_of([1, 0, 2], Quorum(2)).run()
    assert (result.status, result.reason) == (RunStatus.SUCCEEDED, "")
