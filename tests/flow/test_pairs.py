"""Several `each` in one step: elements side by side, and each with each."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import itertools
import operator
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Need, NodeStatus, RunOptions, RunStatus
from penstock.flow import Context, Flow, each, fold, gather, param, use

A, B, C = [1, 2, 3], ["x", "y", "z"], [True, False, None]
VALUES: dict[str, list[Any]] = {"a": A, "b": B, "c": C}


def node(flow: Flow, id: str) -> Any:
    graph = flow.graph()
    return graph.nodes[graph.index[id]]


def depth(flow: Flow, id: str) -> int:
    graph = flow.graph()
    return graph.scopes[graph.scope_of[graph.index[id]]].depth


def two(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y


def three(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    return x, y, z


@pytest.fixture
def flow() -> Flow:
    flow = Flow("flow")
    for name, value in VALUES.items():
        flow.add(lambda value: value, name=name, value=value)
    return flow


def pair(flow: Flow, how: str, names: str = "ab", **options: Any) -> Any:
    sources = [each(flow.steps[name]) for name in names]
    function: Any = {2: two, 3: three}[len(sources)]
    params: Any = dict(zip("xyz", sources, strict=False))
    return flow.add(function, name="f", pair=how, **params, **options)


# --- the graph --------------------------------------------------------------------------------------------


def test_zipped_is_one_map_over_a_list_of_tuples(flow):
    pair(flow, "zipped")
    assert node(flow, "f.zipped").needs == (
        Need("a", "use", "x", Accepts.NOTHING, NOTHING),
        Need("b", "use", "y", Accepts.NOTHING, NOTHING),
    )
    assert node(flow, "f").needs == (
        Need("f.zipped", "each", "x", Accepts.NOTHING, NOTHING, part=0),
        Need("f.zipped", "each", "y", Accepts.NOTHING, NOTHING, part=1),
    )
    assert node(flow, "f.zipped").call(x=[1, 2], y=("a", "b")) == [(1, "a"), (2, "b")]
    assert depth(flow, "f.zipped") == 0
    assert depth(flow, "f") == 1


def test_product_is_a_map_in_a_map(flow):
    pair(flow, "product")
    assert node(flow, "f.product").needs == (
        Need("a", "each", "x", Accepts.NOTHING, NOTHING),
        Need("b", "use", "y", Accepts.NOTHING, NOTHING),
    )
    assert node(flow, "f").needs == (
        Need("f.product", "each", "x", Accepts.NOTHING, NOTHING, part=0),
        Need("f.product", "each", "y", Accepts.NOTHING, NOTHING, part=1),
    )
    assert node(flow, "f.product").call(x=1, y=["a", "b"]) == [(1, "a"), (1, "b")]
    assert depth(flow, "f.product") == 1
    assert depth(flow, "f") == 2


def test_f09_product_of_three(flow):
    pair(flow, "product", "abc")
    assert [depth(flow, id) for id in ("f.product1", "f.product2", "f")] == [1, 2, 3]
    assert [need.part for need in node(flow, "f").needs] == [0, 1, 2]
    assert node(flow, "f.product2").call(x=1, y="a", z=[7, 8]) == [(1, "a", 7), (1, "a", 8)]


def test_other_needs_stay_where_they_are(flow):
    flow.add(
        lambda p, x, q, y: 1,
        name="f",
        p=use(flow.steps["c"]),
        x=each(flow.steps["a"]),
        q=5,
        y=each(flow.steps["b"]),
        pair="zipped",
        after=[flow.steps["c"]],
        when=lambda x, p: True,
    )
    assert [(need.node, need.how, need.param) for need in node(flow, "f").needs] == [
        ("c", "use", "p"),
        ("f.zipped", "each", "x"),
        ("f.zipped", "each", "y"),
        ("c", "after", None),
    ]
    assert node(flow, "f").when.needs == (("x", 1), ("p", 0))


def test_what_pairs_an_optional_step_is_optional_too(flow):
    pair(flow, "zipped", optional=True)
    assert node(flow, "f.zipped").optional


def test_the_wiring_shows_the_parts(flow):
    pair(flow, "product")
    assert flow.explain_wiring().splitlines()[6:] == [
        "f.product  x          each(a)",
        "           y          use(b)",
        "f          x          each(f.product, 0)",
        "           y          each(f.product, 1)",
    ]


def test_types_are_those_of_the_elements(flow):
    @flow.step
    def numbers() -> list[int]: ...
    @flow.step
    def words() -> Iterator[str]: ...
    @flow.step(pair="zipped")
    def good(n: int = each(numbers), w: str = each(words)): ...

    flow.graph()

    @flow.step(pair="zipped")
    def bad(n: int = each(numbers), w: int = each(words)): ...

    with pytest.raises(
        GraphError, match="step 'bad': its parameter 'w' takes int, and each\\(words\\) gives str"
    ):
        flow.graph()


# --- misuse -----------------------------------------------------------------------------------------------


def wrong(flow: Flow) -> str:
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_pair_is_one_of_two_words(flow):
    with pytest.raises(GraphError) as caught:
        flow.add(two, name="f", pair="zip")
    assert str(caught.value) == "step 'f': pair is 'zipped' or 'product', not 'zip'; did you mean 'zipped'?"


def test_pair_wants_something_to_pair(flow):
    flow.add(lambda x: x, name="f", x=each(flow.steps["a"]), pair="zipped")
    assert wrong(flow) == (
        "step 'f': pair='zipped' is for a step with two or more each(), and 'x' is its only one;\n"
        "leave out pair="
    )


def test_pair_of_a_step_that_maps_over_nothing(flow):
    flow.add(lambda: 1, name="f", pair="product")
    assert wrong(flow) == (
        "step 'f': pair='product' is for a step with two or more each(), and it has none;\nleave out pair="
    )


@pytest.mark.parametrize("sources", ["ab", "aa"])
def test_without_pair_two_each_leave_it_open(flow, sources):
    x, y = (each(flow.steps[name]) for name in sources)
    flow.add(two, name="f", x=x, y=y)
    assert wrong(flow) == (
        "step 'f': its parameters 'x' and 'y' are both each(), which leaves open how items pair;\n"
        "say pair='zipped' or pair='product' on the step,\n"
        f"or map over one and give the other whole: y=use({sources[1]})"
    )


def test_other_triggers_cannot_do_without_the_pairs(flow):
    pair(flow, "zipped", trigger="all_done")
    assert wrong(flow) == (
        "step 'f': its parameter 'x' takes each(...), and with the trigger 'all_done' "
        "it may start without that;\n"
        "each in a step before it, and take that one with outcome(...) or optional(...)"
    )


def test_a_pair_has_one_key(flow):
    a, b = flow.steps["a"], flow.steps["b"]
    flow.add(two, name="f", pair="zipped", x=each(a, key=str), y=each(b, key=str))
    assert wrong(flow) == (
        "step 'f': its parameters 'x' and 'y' both give a key, and a pair is one item;\ngive key= once"
    )


def test_an_id_that_is_taken(flow):
    pair(flow, "zipped")
    flow.add(lambda: 1, name="f.zipped")
    assert wrong(flow) == (
        "step 'f' brings a node of its own called 'f.zipped', "
        "and there is a step of that name; rename that one"
    )


def test_maps_that_do_not_enclose_each_other(flow):
    flow.add(lambda x: [x], name="m", x=each(flow.steps["a"]))
    flow.add(lambda x: [x], name="n", x=each(flow.steps["b"]))
    pair(flow, "zipped", "mn")
    assert wrong(flow) == (
        "step 'f.zipped': 'm' and 'n' belong to different maps, "
        "so their items do not pair; gather() one of them"
    )


# --- runs -------------------------------------------------------------------------------------------------


def run(flow: Flow, **how: Any) -> Any:
    result = flow.run(**how)
    result.raise_for_failure()
    return result


@pytest.mark.parametrize("names", ["ab", "abc", "aa"])
def test_zipped(flow, names):
    pair(flow, "zipped", names)
    expected = list(zip(*(VALUES[name] for name in names), strict=True))
    assert run(flow).items("f") == expected


@pytest.mark.parametrize("names", ["ab", "ba", "abc", "aa"])
def test_product_has_the_last_fastest(flow, names):
    f = pair(flow, "product", names, keep=True)
    nested: Any = f
    for _ in names:
        nested = gather(nested)
    flow.add(lambda xs: xs, name="all", xs=nested)
    flow.add(lambda xs: len(xs), name="row", xs=gather(f), keep=True)
    result = run(flow)
    found = result["all"]
    for _ in names[1:]:
        assert all(len(part) == 3 for part in found)
        found = list(itertools.chain.from_iterable(found))
    assert found == list(itertools.product(*(VALUES[name] for name in names)))
    assert [one.path for one in result.nodes["row"].items][:2] == {
        2: ["row[0]", "row[1]"],
        3: ["row[0,0]", "row[0,1]"],
    }[len(names)]


def test_the_path_of_a_product_has_both_indices(flow):
    @flow.step(pair="product")
    def f(ctx: Context, x: int = each(flow.steps["a"]), y: str = each(flow.steps["b"])) -> str:
        return f"{ctx.path} {x}{y}"

    assert run(flow).items("f")[:4] == ["f[0,0] 1x", "f[0,1] 1y", "f[0,2] 1z", "f[1,0] 2x"]


def test_f02_empty_on_either_side(flow):
    flow.add(lambda: [], name="none")
    none, a = each(flow.steps["none"]), each(flow.steps["a"])
    f = flow.add(two, name="f", pair="product", x=a, y=none)
    g = flow.add(two, name="g", pair="product", x=none, y=a)
    h = flow.add(two, name="h", pair="zipped", x=none, y=none)
    flow.add(lambda f, g, h: (f, g, h), name="all", f=gather(gather(f)), g=gather(gather(g)), h=gather(h))
    assert run(flow)["all"] == ([[], [], []], [], [])


def test_f01_unequal_lengths_fail_and_are_told(flow):
    flow.add(lambda: (1, 2), name="short")
    flow.add(two, name="f", pair="zipped", x=each(flow.steps["a"]), y=each(flow.steps["short"]))
    result = flow.run()
    assert result.status is RunStatus.FAILED
    assert result.nodes["f.zipped"].failure.text == (
        "'f' takes one element of each at a time, but they differ: 'a' has 3, 'short' has 2"
    )
    assert result.nodes["f"].status is NodeStatus.SKIPPED


@pytest.mark.parametrize(("how", "at"), [("zipped", "f.zipped"), ("product", "f.product")])
def test_f01_what_is_no_list_is_refused(flow, how, at):
    flow.add(lambda: "text", name="text")
    pair(flow, how, "ab").bindings["y"] = each(flow.steps["text"])
    result = flow.run()
    failures = [one.failure.text for one in result.failed()]
    assert failures[0] == ("'f' maps over the value of text, which is of type str; return a list or a tuple")
    assert next(result.failed()).path.startswith(at)


def test_a_pair_inside_a_map(flow):
    @flow.step
    def counts() -> list[int]:
        return [2, 0, 1]

    @flow.step
    def left(n: int = each(counts)) -> list[int]:
        return list(range(n))

    @flow.step
    def right(n: int = use(counts, 0), left: list[int] = use(left)) -> list[str]:
        return ["x"] * len(left)

    zipped = flow.add(two, name="zipped", pair="zipped", x=each(left), y=each(right))
    mixed = flow.add(two, name="mixed", pair="product", x=each(left), y=each(flow.steps["b"]))
    flow.add(lambda xs: xs, name="all", xs=gather(gather(zipped)))
    flow.add(lambda xs: xs, name="mixes", xs=gather(gather(gather(mixed))))
    result = run(flow)
    assert result["all"] == [[(0, "x"), (1, "x")], [], [(0, "x")]]
    row = [(0, "x"), (0, "y"), (0, "z")]
    assert result["mixes"] == [[row, [(1, name) for _, name in row]], [], [row]]


def test_inputs_are_paired_too(flow):
    f = flow.add(two, name="f", pair="zipped", x=each(param("xs", list[int])), y=each(param("ys", list[str])))
    assert run(flow, xs=[1, 2], ys=iter("ab")).items(f) == [(1, "a"), (2, "b")]


def test_streams_are_paired(flow):
    @flow.step
    def numbers() -> Iterator[int]:
        yield from A

    zipped = flow.add(two, name="zipped", pair="zipped", x=each(numbers), y=each(flow.steps["b"]))
    product = flow.add(two, name="product", pair="product", x=each(numbers), y=each(flow.steps["b"]))
    result = run(flow)
    assert result.items(zipped) == list(zip(A, B, strict=True))
    assert result.items(product) == list(itertools.product(A, B))


def test_keys_of_pairs(flow):
    @flow.step(pair="zipped")
    def zipped(ctx: Context, x: int = each(flow.steps["a"]), y: str = each(flow.steps["b"], key=str.upper)):
        return str(ctx.path)

    @flow.step(pair="product")
    def product(
        ctx: Context,
        x: int = each(flow.steps["a"], key=lambda n: n * 10),
        y: str = each(flow.steps["b"], key=str.upper),
    ):
        return str(ctx.path)

    @flow.step(pair="product")
    def deep(
        ctx: Context,
        x: int = each(flow.steps["a"], key=lambda n: n * 10),
        y: str = each(flow.steps["b"], key=str.upper),
        z: Any = each(flow.steps["c"], key=str),
    ):
        return str(ctx.path)

    result = run(flow)
    assert result.items("zipped") == ["zipped[X]", "zipped[Y]", "zipped[Z]"]
    assert result.items("product")[:4] == [
        "product[10,X]", "product[10,Y]", "product[10,Z]", "product[20,X]",
    ]  # fmt: skip
    assert result.items("deep")[3] == "deep[10,Y,True]"


def test_a_condition_sees_its_own_parts(flow):
    f = pair(flow, "zipped", when=lambda x, y: x != 2 and y != "z")
    assert run(flow).items(f) == [(1, "x")]


def test_failures_of_pairs_are_let_pass_as_others(flow):
    def divide(x: int, y: int) -> float:
        return x / y

    flow.add(lambda: [1, 0, 4], name="ys")
    f = flow.add(divide, pair="product", x=each(flow.steps["a"]), y=each(flow.steps["ys"]))
    flow.add(lambda xs: xs, name="g", xs=gather(gather(f, failures="drop")))
    result = run(flow)
    assert result["g"] == [[1.0, 0.25], [2.0, 0.5], [3.0, 0.75]]
    assert sorted(result.tolerated) == ["divide[0,1]", "divide[1,1]", "divide[2,1]"]


def test_products_are_folded_row_by_row(flow):
    f = flow.add(
        lambda x, y: x * len(y), name="f", pair="product", x=each(flow.steps["a"]), y=each(flow.steps["b"])
    )
    rows = flow.add(lambda n: n, name="rows", n=fold(f, operator.add, 0))
    flow.add(lambda n: n, name="sum", n=fold(rows, operator.add, 0))
    assert run(flow)["sum"] == 18


@pytest.mark.parametrize("how", ["zipped", "product"])
def test_overrides_and_targets_of_what_is_paired(flow, how):
    f = pair(flow, how)
    result = run(flow, override={"a": [7, 8, 9]}, targets=[f])
    assert result.items(f)[-1] == (9, "z")


def test_an_override_of_the_pairs_themselves(flow):
    f = pair(flow, "zipped")
    assert run(flow, override={"f.zipped": [(5, "q")]}).items(f) == [(5, "q")]


@pytest.mark.parametrize("how", ["zipped", "product"])
def test_copied_values(flow, how):
    f = pair(flow, how)
    assert run(flow, options=RunOptions(values="copied")).items(f)[0] == (1, "x")
