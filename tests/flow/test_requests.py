"""What a run is asked for, checked before anything starts: inputs, targets, overrides. Whole texts."""

# mypy: disable-error-code="empty-body, no-untyped-call"

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, SupportsInt

import pytest

from penstock.core.errors import InputError
from penstock.flow import Flow, each, param, use
from penstock.flow.request import of


@pytest.fixture
def flow() -> Flow:
    flow = Flow("orders")

    @flow.step
    def extract(path: Path, limit: int = 10, ratio: float = 0.5) -> list[int]: ...
    @flow.step
    def enrich(order: int = each(extract)) -> int: ...
    @flow.step(when=lambda go: go)
    def publish(extract: list[int], region: str) -> str: ...

    return flow


def asked(flow, inputs=None, targets=None, override=None):
    return of(
        flow, {"path": Path("x"), "region": "eu", "go": True} if inputs is None else inputs, targets, override
    )


def text(flow, **what):
    with pytest.raises(InputError) as caught:
        asked(flow, **what)
    return str(caught.value)


def test_defaults_are_filled_in(flow):
    graph, inputs = asked(flow).what
    assert graph is flow.graph()
    assert inputs == {"path": Path("x"), "region": "eu", "go": True, "limit": 10, "ratio": 0.5}
    assert asked(flow).how == {"targets": None, "override": None}


def test_missing_inputs_are_all_named_with_who_asks(flow):
    assert text(flow, inputs={}) == (
        "flow 'orders' needs the input 'path' (step 'extract', parameter 'path', Path)\n"
        "flow 'orders' needs the input 'region' (step 'publish', parameter 'region', str)\n"
        "flow 'orders' needs the input 'go' (step 'publish', its when)"
    )
    flow.add(lambda extarct, more, most: 1, name="typo")
    assert text(flow, inputs={}).splitlines()[2] == (
        "flow 'orders' needs the input 'go' (step 'publish', its when) (and 3 more: extarct, more, most)"
    )
    assert text(flow, inputs={"path": Path("x"), "region": "eu", "go": True, "more": 1, "most": 2}) == (
        "flow 'orders' needs the input 'extarct' (step 'typo', parameter 'extarct'); did you mean 'extract'?"
    )


def test_unknown_inputs(flow):
    assert text(flow, inputs={"pth": "x"}) == "flow 'orders' has no input 'pth'; did you mean 'path'?"
    assert text(flow, inputs={"zzz": "x"}) == (
        "flow 'orders' has no input 'zzz'; it takes path, limit, ratio, region, go"
    )
    assert text(flow, inputs={"extract": [1]}) == (
        "flow 'orders' has no input 'extract': it is a step; to give its value say override={'extract': ...}"
    )
    none = Flow("none")
    assert text(none, inputs={"a": 1}) == "flow 'none' has no input 'a'; it takes none"


def test_inputs_of_the_wrong_type(flow):
    assert text(flow, inputs={"path": "x", "region": "eu", "go": 1}) == (
        "flow 'orders': the input 'path' is str, and must be Path (step 'extract', parameter 'path')"
    )
    given = {"path": Path("x"), "region": "eu", "go": 1, "ratio": 1}
    assert asked(flow, inputs=given).what[1]["ratio"] == 1
    assert "the input 'limit' is float" in text(flow, inputs=given | {"limit": 1.0})


def test_a_text_where_a_list_is_mapped_over():
    flow = Flow("flow")
    flow.add(lambda x: x, name="a", x=each(param("paths", list[str])))
    assert text(flow, inputs={"paths": "x"}) == (
        "flow 'flow': the input 'paths' is str, and must be list[str] (step 'a', parameter 'x')"
    )


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        (list[int], [1, 2, "a", None], "element 2 of the input 'x' is str, and must be int"),
        (list[int] | None, ["a"], "element 0 of the input 'x' is str, and must be int"),
        (tuple[Path, ...], (Path(), "x"), "element 1 of the input 'x' is str, and must be Path"),
        (tuple[int, str], (1, 2), "element 1 of the input 'x' is int, and must be str"),
        (dict[str, float], {"a": 1, "b": "c"}, "the element 'b' of the input 'x' is str, and must be float"),
        (dict[str, int], {"a": 1, 2: 2}, "the key 2 of the input 'x' is int, and must be str"),
        (list[list[int]], [[1], 2], "element 1 of the input 'x' is int, and must be list[int]"),
        (list[Literal["a", "b"]], ["a", "c", "b"], "element 1 of the input 'x' is str, and must be Lit"),
    ],
)
def test_elements_of_the_wrong_type_are_named(type_, value, says):
    flow = Flow("flow")
    flow.add(lambda x: x, name="a", x=use(param("x", type_)))
    assert text(flow, inputs={"x": value}).startswith(f"flow 'flow': {says}")


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (list[float], [1, 2.0, True]),
        (list[Any], [1, "x"]),
        (list[int] | list[str], [1, "x"]),
        (list[int | None], [1, None]),
        (list["Flow"], [1]),
        (Sequence[int], ["x"]),
        (tuple[int, str], (1, "x")),
        (dict[str, Any], {"a": object()}),
        (list[SupportsInt], ["x"]),
        (list[int], []),
    ],
)
def test_elements_that_may_be_right_pass(type_, value):
    flow = Flow("flow")
    flow.add(lambda x: x, name="a", x=use(param("x", type_)))
    assert of(flow, {"x": value}, None, None).what[1] == {"x": value}


def test_a_default_may_be_given_though_it_is_of_another_type():
    flow = Flow("flow")

    def a(x: int = None): ...  # type: ignore[assignment]  # noqa: RUF013

    flow.add(a)
    assert of(flow, {"x": None}, None, None).what[1] == {"x": None}
    assert of(flow, {}, None, None).what[1] == {"x": None}


def test_targets_and_overrides_need_only_their_own_inputs(flow):
    assert asked(flow, inputs={"path": Path("x")}, targets=["enrich"]).how["targets"] == ["enrich"]
    assert asked(flow, inputs={"path": Path("x")}, targets=flow.steps["enrich"]).how["targets"] == ["enrich"]
    given = asked(flow, inputs={"region": "eu", "go": True}, override={flow.steps["extract"]: [1]})
    assert given.how["override"] == {"extract": [1]}
    assert asked(flow, inputs={}, targets="enrich", override={"extract": [1]}).what[1] == {
        "limit": 10,
        "ratio": 0.5,
    }
    assert asked(flow, inputs={}, targets=["enrich", "enrich"], override={"enrich": [1]}).how["targets"] == [
        "enrich"
    ]


def test_wrong_targets(flow):
    assert text(flow, targets=["enrch"]) == "targets: there is no step 'enrch'; did you mean 'enrich'?"
    assert text(flow, targets=[3]) == "targets takes steps or their ids, not 3"
    assert (
        text(flow, targets=[])
        == "targets: the list is empty, so there is nothing to run; leave it out to run all"
    )
    other = Flow("other").add(lambda: 1, name="enrich")
    assert text(flow, targets=[other]) == "targets: step 'enrich' belongs to flow 'other', not to 'orders'"


def test_wrong_overrides(flow):
    assert text(flow, override={"enrch": 1}) == "override: there is no step 'enrch'; did you mean 'enrich'?"
    assert text(flow, override={"extract": "x"}) == "override: step 'extract' returns list[int], not str"
    assert text(flow, override={"enrich": 1}) == (
        "override: step 'enrich' is mapped, so its value is the list of all its items, not int"
    )
    assert text(flow, override={"enrich": [1, "x"]}) == (
        "override: step 'enrich' returns int, and item [1] is str"
    )
    assert text(flow, override={"extract": ["x"]}) == (
        "override: step 'extract' returns list[int], and element 0 is str"
    )
    asked(flow, override={"enrich": [1], "publish": "x"})
    asked(flow, override={"enrich": (1, True)})


def test_an_override_of_a_map_in_a_map_is_looked_at_item_by_item():
    flow = Flow("flow")

    @flow.step
    def row(of: int = each(param("rows", list[int]))) -> list[str]: ...
    @flow.step
    def cell(of: str = each(row)) -> str: ...

    assert asked(flow, inputs={}, override={"cell": [["a"], []]}, targets=["cell"])
    assert text(flow, inputs={}, override={"cell": [[], ["a", 1]]}) == (
        "override: step 'cell' returns str, and item [1,1] is int"
    )
    assert text(flow, inputs={}, override={"row": [["a"], "b"]}) == (
        "override: step 'row' returns list[str], and item [1] is str"
    )


def test_an_input_asked_for_by_a_part_counts():
    flow = Flow("flow")
    flow.add(lambda x: x, name="a", x=use(param("row"), "total"))
    assert text(flow, inputs={}) == "flow 'flow' needs the input 'row' (step 'a', parameter 'x')"
