"""A flow inside another: names, bindings, maps, conditions of the whole, and what cannot be."""

# mypy: ignore-errors

from random import Random
from typing import Any

import pytest

from penstock import Context, Failure, Limit, Ok, RunOptions, Skip, SkipCause
from penstock.core.errors import CycleError, GraphError, InputError
from penstock.core.model import TRIGGERS
from penstock.flow import Flow, Quorum, each, fold, gather, optional, outcome, param, repeat, switch, use

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"


def pricing() -> Flow:
    flow = Flow("pricing")

    @flow.step
    def parse(path: str) -> list[int]:
        return [int(part) for part in path.split(",")]

    @flow.step
    def scaled(n: int = each(parse), factor: int = 2) -> int:
        return n * factor

    @flow.step
    def total(ns: list[int] = gather(scaled)) -> int:
        return sum(ns)

    @flow.step
    def label(total: int, currency: str) -> str:
        return f"{total} {currency}"

    return flow


def statuses(result) -> dict[str, str]:
    return {id: node.status.value for id, node in result.nodes.items()}


# ----------------------------------------------------------------------------------------------------------
# Names and bindings
# ----------------------------------------------------------------------------------------------------------


def test_a_flow_is_inlined_under_its_name():
    flow, inner = Flow("shop"), pricing()

    @flow.step
    def load() -> str:
        return "1,2,3"

    sub = flow.add(inner, name="sub", path=use(load), currency="EUR")

    @flow.step
    def report(text: str = use(sub[inner.steps["label"]]), n: int = use(sub["total"])) -> str:
        return f"{text} ({n})"

    result = flow.run()
    assert result["report"] == "12 EUR (12)"
    assert list(result.nodes) == ["load", "sub/parse", "sub/scaled", "sub/total", "sub/label", "report"]
    assert flow.run(targets=[sub["scaled"]]).items(sub["scaled"]) == [2, 4, 6]
    assert flow.graph().inputs.keys() == {"factor"}


def test_the_name_of_the_flow_is_the_default_name():
    flow, inner = Flow("shop"), pricing()
    sub = flow.add(inner)
    assert sub.id == "pricing"
    assert flow.run(path="1", currency="EUR")["pricing/label"] == "2 EUR"


def test_inputs_that_are_not_bound_become_inputs_of_the_outer_flow_with_their_defaults():
    flow, inner = Flow("shop"), pricing()
    flow.add(inner, name="sub", currency="EUR")
    assert {one.name: one.default for one in flow.inputs()} == {
        "path": flow.graph().inputs["path"].default,
        "factor": 2,
    }
    assert flow.run(path="1", factor=10)["sub/label"] == "10 EUR"
    with pytest.raises(InputError, match=r"flow 'shop' needs the input 'path' \(step 'sub/parse', parameter"):
        flow.run()


def test_one_flow_is_added_several_times_under_different_names():
    flow, inner = Flow("shop"), pricing()
    subs = [flow.add(inner, name=name, path="1,1", currency=name) for name in ("EUR", "USD")]
    result = flow.run(factor=3)
    assert [result[sub["label"]] for sub in subs] == ["6 EUR", "6 USD"]


def test_steps_inside_see_the_names_of_their_own_flow_only():
    flow, inner = Flow("outer"), Flow("inner")

    @inner.step
    def base() -> int:
        return 1

    @inner.step
    def top(base: int, other: int) -> list[int]:
        return [base, other]

    flow.add(lambda: 10, name="base")
    sub = flow.add(inner, name="sub")
    assert flow.run(other=5)[sub[top]] == [1, 5]


def test_steps_that_are_added_later_are_seen_and_the_graph_is_made_anew():
    flow, inner = Flow("outer"), Flow("inner")
    middle = Flow("middle")
    inner.add(lambda: 1, name="a")
    middle.add(inner, name="in")
    flow.add(middle, name="mid")
    assert list(flow.run().nodes) == ["mid/in/a"]
    first = flow.graph()
    assert flow.graph() is first
    inner.add(lambda a: a + 1, name="b")
    assert flow.run()["mid/in/b"] == 2
    assert list(flow.steps) == ["mid/in/a", "mid/in/b"]
    repeat(inner.steps["b"], until=lambda a: a > 3, max=4)
    assert flow.run()["mid/in/b"] == 4


def test_nested_sub_flows_have_nested_ids():
    outer, middle, inner = Flow("outer"), Flow("middle"), Flow("inner")

    @inner.step
    def double(x: int) -> int:
        return 2 * x

    one = middle.add(inner, name="one")
    two = middle.add(inner, name="two", x=use(one[double]))

    @middle.step
    def both(a: int = use(one[double]), b: int = use(two[double])) -> int:
        return a + b

    sub = outer.add(middle, name="m", x=5)
    result = outer.run(targets=["m/both", "m/two/double"])
    assert result[sub[both]] == 30
    assert result[sub[two[double]]] == result["m/two/double"] == result[sub["two/double"]] == 20
    assert outer.inputs() == ()


def test_markers_of_all_kinds_bind_inputs():
    flow, inner = Flow("outer"), Flow("inner")

    @flow.step
    def pair() -> dict[str, int]:
        return {"a": 1, "b": 2}

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def risky(n: int = each(items)) -> int:
        if n == 2:
            raise ValueError("two")
        return n

    @flow.step
    def broken() -> int:
        raise ValueError("broken")

    @inner.step
    def all_of(part, many, folded, maybe, how, constant, given) -> list[Any]:
        return [part, many, folded, maybe, type(how).__name__, constant, given]

    sub = flow.add(
        inner,
        name="sub",
        part=use(pair, "b"),
        many=gather(risky, failures=Quorum(2)),
        folded=fold(risky, lambda so_far, n: so_far + n, 100, failures="drop"),
        maybe=optional(broken, "nothing"),
        how=outcome(broken),
        constant=[7],
        given=use(param("named")),
    )
    result = flow.run(named="by the run")
    assert result[sub[all_of]] == [2, [1, 3], 104, "nothing", "Failure", [7], "by the run"]
    assert [one.name for one in flow.inputs()] == ["named"]


def test_an_input_named_like_an_option_is_given_with_bind():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda when, limits: (when, limits), name="both")
    flow.add(inner, name="sub", bind={"when": "now", "limits": 3})
    assert flow.run()["sub/both"] == ("now", 3)


def test_inputs_that_are_mapped_over_or_taken_apart_inside():
    flow, inner = Flow("outer"), Flow("inner")

    @inner.step
    def one(
        n: int = each(param("numbers", list[int])), first: int = use(param("numbers", list[int]), 0)
    ) -> int:
        return n + first

    flow.add(inner, name="given", numbers=[1, 2])
    flow.add(lambda: [10, 20], name="made")
    flow.add(inner, name="taken", numbers=use(flow.steps["made"]))
    flow.add(inner, name="free")
    for numbers in ([100], iter([100])):
        result = flow.run(numbers=numbers)
        assert result.items("given/one") == [2, 3]
        assert result.items("taken/one") == [20, 30]
        assert result.items("free/one") == [200]


def test_the_context_and_keywords_and_partials_work_inside():
    from functools import partial

    flow, inner = Flow("outer"), Flow("inner")

    @inner.step
    def who(ctx: Context, n: int) -> str:
        return f"{ctx.path} {n}"

    inner.add(lambda **all: sorted(all.items()), name="open", x=use(who), y=use(param("n")))
    inner.add(partial(lambda a, b: (a, b), b=2), name="fixed", a=use(param("n")))
    flow.add(inner, name="sub", n=4)
    result = flow.run()
    assert result["sub/open"] == [("x", "sub/who 4"), ("y", 4)]
    assert result["sub/fixed"] == (4, 2)


def test_targets_overrides_and_results_take_steps_of_a_sub_flow():
    flow, inner = Flow("shop"), pricing()
    sub = flow.add(inner, name="sub", currency="EUR")
    result = flow.run(path="1,2", targets=[sub["total"]])
    assert (result[sub["total"]], "sub/label" in result.nodes) == (6, False)
    result = flow.run(override={sub["total"]: 99})
    assert (result["sub/label"], "sub/parse" in result.nodes) == ("99 EUR", False)
    with pytest.raises(InputError, match="override: step 'sub/total' returns int, not str"):
        flow.run(override={sub["total"]: "99"})
    with pytest.raises(KeyError, match="step 'sub/parse' was not part of this run"):
        result["sub/parse"]


def test_options_of_the_inner_steps_and_defaults_of_the_inner_flow_come_along():
    api = Limit("api", capacity=2)
    inner = Flow("inner", defaults={"timeout": 5, "max_concurrency": 3})
    outer = Flow("outer", defaults={"timeout": 1, "keep": True})
    inner.add(lambda: 1, name="a", limits=[api])
    inner.add(lambda: 1, name="b", after=[inner.steps["a"]], timeout=None)
    outer.add(inner, name="sub")
    a, b = outer.graph().nodes
    assert a.timeout.attempt == 5
    assert [use.limit.name for use in a.limits] == ["api", "max_concurrency of sub/a"]
    assert (b.timeout, a.keep) == (None, False)
    assert [(need.node, need.how) for need in b.needs] == [("sub/a", "after")]


def test_explain_wiring_shows_the_steps_inside():
    flow, inner = Flow("shop"), pricing()
    flow.add(inner, name="sub", path=each(param("paths", list[str])), currency="EUR")
    lines = [line.split() for line in flow.explain_wiring().splitlines()]
    assert ["sub", "path", "each(paths)"] in lines
    assert ["sub/parse", "path", "use(sub)"] in lines
    assert ["currency", "'EUR'", "(bound)"] in lines


def test_the_parts_of_a_flow():
    flow, inner = Flow("shop"), pricing()
    sub = flow.add(inner, name="sub")
    assert flow.parts == {"sub": sub}
    assert list(flow.steps) == ["sub/parse", "sub/scaled", "sub/total", "sub/label"]
    assert repr(sub) == "<sub-flow 'sub' of flow 'shop': flow 'pricing'>"
    assert repr(sub["total"]) == "<step 'sub/total' of flow 'shop'>"


# ----------------------------------------------------------------------------------------------------------
# Maps
# ----------------------------------------------------------------------------------------------------------


def mapped(inner: Flow, **bindings) -> Flow:
    flow = Flow("outer")

    @flow.step
    def paths() -> list[str]:
        return ["1,2", "3", ""]

    flow.add(inner, name="sub", path=each(paths), **bindings)
    return flow


def test_an_each_maps_the_whole_sub_flow():
    inner = pricing()
    inner.add(lambda: 0, name="alone")
    flow = mapped(inner, currency="EUR")
    graph = flow.graph()
    depth = {node.id: graph.scopes[graph.scope_of[at]].depth for at, node in enumerate(graph.nodes)}
    assert depth == {
        "paths": 0,
        "sub": 1,
        "sub/parse": 1,
        "sub/scaled": 2,
        "sub/total": 1,
        "sub/label": 1,
        "sub/alone": 1,
    }
    result = flow.run(options=RunOptions(on_failure="continue"))
    assert result.items("sub/label") == ["6 EUR", "6 EUR"]
    assert result.items("sub/alone") == [0, 0, 0]
    assert [node.path for node in result.failed()] == ["sub/parse[2]"]


def test_items_of_a_mapped_sub_flow_are_gathered_outside():
    flow, inner = Flow("outer"), pricing()
    flow.add(lambda: ["1,2", "3", "x"], name="paths")
    sub = flow.add(inner, name="sub", path=each(flow.steps["paths"]), currency="EUR")

    @flow.step
    def report(
        totals: list[int] = gather(sub["total"], failures="drop"),
        scaled: list[list[int]] = gather(gather(sub["scaled"], failures="drop")),
    ) -> Any:
        return totals, scaled

    result = flow.run(options=RunOptions(on_failure="continue"))
    assert result["report"][0] == [6, 6]
    assert result.status.value == SUCCEEDED


def test_an_each_inside_a_mapped_sub_flow_is_one_level_deeper():
    flow, inner = Flow("outer"), Flow("inner")

    @inner.step
    def one(x: int, n: int = each(param("numbers", list[int]))) -> int:
        return x * n

    @inner.step
    def sums(all: list[int] = gather(one)) -> int:
        return sum(all)

    flow.add(lambda: [1, 10], name="xs")
    flow.add(lambda: [1, 2, 3], name="ns")
    flow.add(inner, name="sub", x=each(flow.steps["xs"]), numbers=use(flow.steps["ns"]))
    flow.add(inner, name="free", x=each(flow.steps["xs"]))
    result = flow.run(numbers=[4])
    assert result.items("sub/sums") == [6, 60]
    assert result.items("free/sums") == [4, 40]


def test_use_of_a_mapped_step_maps_the_whole_sub_flow_too():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda: 5, name="alone")
    inner.add(lambda alone, x: alone * x, name="times")
    flow.add(lambda: [1, 2], name="xs")
    flow.add(lambda x: x + 1, name="more", x=each(flow.steps["xs"]))
    sub = flow.add(inner, name="sub", x=use(flow.steps["more"]))
    flow.add(inner, name="next", x=use(sub["times"]))
    result = flow.run(targets=["sub/alone", "sub/times", "next/times"])
    assert result.items("sub/alone") == [5, 5]
    assert result.items("sub/times") == [10, 15]
    assert result.items("next/times") == [50, 75]


def test_a_default_inside_stands_for_an_item_that_was_skipped():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda x=100: x, name="taken")
    item = flow.add(lambda n: n, name="item", n=each(param("ns", list[int])), when=lambda n: n > 0)
    sub = flow.add(inner, name="sub", x=use(item))
    assert flow.run(ns=[1, -1, 3]).items(sub["taken"]) == [1, 100, 3]


def test_a_fold_is_given_to_a_sub_flow_with_a_condition_and_to_a_mapped_one():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda total, x=0: total + x, name="taken")
    item = flow.add(lambda n: n, name="item", n=each(param("ns", list[int])))
    total = fold(item, lambda so_far, n: so_far + n, 0)
    one = flow.add(inner, name="one", total=total, x=1, when=lambda total: total > 3)
    many = flow.add(inner, name="many", total=total, x=each(param("ns", list[int])))
    result = flow.run(ns=[1, 2, 3])
    assert result[one["taken"]] == 7
    assert result.items(many["taken"]) == [7, 8, 9]
    assert statuses(flow.run(ns=[1]))["one/taken"] == SKIPPED


def test_a_sub_flow_inside_a_mapped_one_is_mapped_with_it():
    outer, middle, inner = Flow("outer"), Flow("middle"), Flow("inner")
    inner.add(lambda: 1, name="leaf")
    middle.add(inner, name="in")
    middle.add(lambda x: x, name="taken")
    outer.add(middle, name="m", x=each(param("xs", list[int])))
    result = outer.run(xs=[7, 8])
    assert result.items("m/in/leaf") == [1, 1]
    assert result.items("m/taken") == [7, 8]


def test_keys_of_an_each_are_those_of_the_items():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda name: name.upper(), name="up")
    flow.add(inner, name="sub", bind={"name": each(param("names", list[str]), key=lambda name: name)})
    result = flow.run(names=["ann", "bob"])
    assert [item.path for item in result.nodes["sub/up"].items] == ["sub/up[ann]", "sub/up[bob]"]


def test_a_failing_item_of_a_mapped_sub_flow_fails_the_run_as_any_item_does():
    flow = mapped(pricing(), currency="EUR")
    result = flow.run(factor=1)
    assert result.status.value == FAILED


# ----------------------------------------------------------------------------------------------------------
# Conditions of the whole
# ----------------------------------------------------------------------------------------------------------


def conditional(**options) -> tuple[Flow, Flow]:
    flow, inner = Flow("outer"), Flow("inner")

    @flow.step
    def ready() -> bool:
        return False

    @inner.step
    def root(x: int = 1) -> int:
        return x

    @inner.step
    def second(root: int) -> int:
        return root + 1

    @inner.step
    def lenient(root: int = 100) -> int:
        return root

    @inner.step(trigger="all_done")
    def cleanup(how=outcome(root)) -> str:
        return type(how).__name__

    @inner.step(trigger="all_failed")
    def handler(how=outcome(root)) -> str:
        return "handled"

    @inner.step(trigger="always")
    def always() -> str:
        return "always"

    @inner.step(trigger=lambda root: True, when=lambda x: x is not None)
    def own(how=outcome(root), x: int = 1) -> str:
        return "own"

    flow.add(inner, name="sub", **options)
    return flow, inner


def test_a_when_skips_the_whole_with_the_cause_named():
    flow, _ = conditional(when=lambda ready: ready)
    result = flow.run()
    inside = {id: node for id, node in result.nodes.items() if id.startswith("sub")}
    assert {node.status.value for node in inside.values()} == {SKIPPED}
    assert inside["sub"].skip == Skip(SkipCause.CONDITION, "sub")
    assert inside["sub/root"].skip == Skip(SkipCause.CONDITION, "sub")
    assert inside["sub/second"].skip == Skip(SkipCause.CONDITION, "sub")
    assert inside["sub/lenient"].skip == Skip(SkipCause.CONDITION, "sub")
    assert result.status.value == SUCCEEDED


def test_with_its_condition_true_a_sub_flow_goes_as_without():
    flow, inner = conditional(when=lambda ready: not ready)
    plain, again = inner.run(), flow.run()
    assert {f"sub/{id}": status for id, status in statuses(plain).items()} == {
        id: status for id, status in statuses(again).items() if id.startswith("sub/")
    }
    assert statuses(again)["sub/handler"] == SKIPPED
    assert again["sub/cleanup"] == "Ok"


def test_a_when_takes_the_bindings_by_name():
    flow, inner = Flow("outer"), pricing()
    flow.add(lambda: "1,2", name="load")
    flow.add(
        inner,
        name="sub",
        path=use(flow.steps["load"]),
        currency="EUR",
        when=lambda path, currency, limit=5: len(path) < limit and currency == "EUR",
    )
    assert flow.run()["sub/label"] == "6 EUR"
    assert statuses(flow.run(limit=2))["sub/label"] == SKIPPED


def test_a_when_of_a_mapped_sub_flow_is_asked_per_item():
    flow = mapped(pricing(), currency="EUR", when=lambda path: path != "")
    result = flow.run()
    assert result.items("sub/label") == ["6 EUR", "6 EUR"]
    assert [one.status.value for one in result.nodes["sub/label"].items] == [SUCCEEDED, SUCCEEDED, SKIPPED]


async def not_yet(ready: bool) -> bool:
    return ready


def test_an_async_when_of_the_whole():
    flow, _ = conditional(when=not_yet)
    assert statuses(flow.run())["sub/own"] == SKIPPED


def test_after_holds_for_the_whole():
    flow, inner = Flow("outer"), Flow("inner")
    seen: list[str] = []
    inner.add(lambda: seen.append("root"), name="root")
    flow.add(lambda: seen.append("first"), name="first")
    flow.add(inner, name="sub", after=[flow.steps["first"]])
    flow.run(options=RunOptions(max_concurrency=1))
    assert seen == ["first", "root"]
    assert ("sub", "after", "first") in [
        (node.id, need.how, need.node) for node in flow.graph().nodes for need in node.needs
    ]


def test_a_trigger_holds_for_the_whole():
    flow, inner = Flow("outer"), Flow("inner")

    @flow.step(optional=True)
    def breaks() -> int:
        raise ValueError("no")

    @inner.step
    def report(how) -> str:
        return how.type

    flow.add(inner, name="sub", how=outcome(breaks), trigger="all_failed")
    result = flow.run()
    assert result["sub/report"] == "ValueError"
    assert statuses(flow.run(override={breaks: 3}))["sub/report"] == SKIPPED


def test_a_trigger_of_ones_own_sees_the_outcome_of_a_binding():
    flow, inner = Flow("outer"), Flow("inner")
    flow.add(lambda: 1, name="a")
    inner.add(lambda x: x, name="taken")
    flow.add(inner, name="sub", x=optional(flow.steps["a"], 0), trigger=lambda a: isinstance(a, Failure))
    assert statuses(flow.run())["sub/taken"] == SKIPPED


def test_optional_makes_every_step_optional():
    outer, middle, inner = Flow("outer"), Flow("middle"), Flow("inner")

    @inner.step
    def breaks(x: int) -> int:
        raise ValueError("no")

    middle.add(inner, name="in")
    outer.add(middle, name="m", optional=True, x=each(param("xs", list[int])))
    assert all(node.optional for node in outer.graph().nodes if node.id.startswith("m"))
    result = outer.run(xs=[1])
    assert result.status.value == SUCCEEDED
    assert result.tolerated == ("m/in/breaks[0]",)


def test_a_failure_before_the_sub_flow_skips_it_with_the_cause():
    flow, inner = Flow("outer"), pricing()

    @flow.step
    def load() -> str:
        raise ValueError("no")

    flow.add(inner, name="sub", path=use(load), currency="EUR")
    result = flow.run(options=RunOptions(on_failure="continue"))
    assert result.nodes["sub/label"].skip == Skip(SkipCause.UPSTREAM, "load")


def test_no_slot_is_held_for_a_sub_flow():
    flow, inner = Flow("outer"), pricing()
    flow.add(inner, name="sub", path="1,2", currency="EUR", when=lambda: True)
    assert flow.run(options=RunOptions(max_concurrency=1))["sub/label"] == "6 EUR"


def test_loops_and_switches_inside_a_sub_flow():
    flow, inner = Flow("outer"), Flow("inner")

    @inner.step(keep=True)
    def grow(n: int, by: int = 2) -> int:
        return n * by

    repeat(grow, until=lambda grow, most: grow >= most, max=6)

    @inner.step
    def size(grow: int) -> bool:
        return grow > 50

    inner.add(lambda grow: f"large {grow}", name="large")
    inner.add(lambda grow: f"small {grow}", name="small")
    inner_steps = inner.steps
    kind = switch(size, {True: inner_steps["large"], False: inner_steps["small"]}, name="kind")

    @inner.step
    def told(kind: str) -> str:
        return kind + "!"

    sub = flow.add(inner, name="sub", n=each(param("ns", list[int])), most=40, when=lambda n: n > 0)
    flow.add(lambda kinds: kinds, name="all", kinds=gather(sub[kind]))
    result = flow.run(ns=[1, 0, 15])
    assert result.items(sub[told]) == ["large 64!", "large 60!"]
    assert result["all"] == ["large 64", "large 60"]
    assert result.items(sub[grow]) == [64, 60]
    assert [one.status.value for one in result.nodes["sub/grow/6"].items] == [SUCCEEDED, SKIPPED, SKIPPED]


def test_a_switch_on_an_input_follows_what_the_input_is_given():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda: "A", name="a")
    inner.add(lambda: "B", name="b")
    mode = switch(param("mode", str), {"a": inner.steps["a"], "b": inner.steps["b"]})
    flow.add(lambda: "b", name="chosen")
    given = flow.add(inner, name="given", mode="a")
    made = flow.add(inner, name="made", mode=use(flow.steps["chosen"]))
    free = flow.add(inner, name="free")
    result = flow.run(mode="b")
    assert [result[one[mode]] for one in (given, made, free)] == ["A", "B", "B"]
    assert statuses(result)["given/b"] == SKIPPED


def test_a_sub_flow_is_drawn_with_its_head():
    from penstock.wiring import drawing

    flow = mapped(pricing(), currency="EUR", when=lambda path: True)
    text = drawing(flow.graph())
    assert "sub ?" in text
    assert "sub/total" in drawing(flow.graph(), "dot")
    assert "sub#47;total" in drawing(flow.graph(), "mermaid") or "sub/total" in drawing(
        flow.graph(), "mermaid"
    )


# ----------------------------------------------------------------------------------------------------------
# What cannot be
# ----------------------------------------------------------------------------------------------------------


def refusal(flow) -> str:
    with pytest.raises(GraphError) as caught:
        flow.graph()
    text = str(caught.value)
    assert len(text.splitlines()) <= 3
    assert all(len(line) <= 200 for line in text.splitlines()), text
    return text


def test_other_options_are_refused_and_the_four_are_named():
    flow, inner = Flow("outer"), pricing()
    with pytest.raises(GraphError) as caught:
        flow.add(inner, name="sub", timeout=3)
    assert str(caught.value) == (
        "sub-flow 'sub': 'timeout' is an option of single steps, and a whole flow takes when, trigger, "
        "optional and after;\n"
        "give it to its steps, or to all with Flow('pricing', defaults={'timeout': ...});\n"
        "if an input of that name is meant, say bind={'timeout': ...}"
    )


def test_a_flow_inside_itself_is_refused_with_the_chain():
    a, b, c = Flow("a"), Flow("b"), Flow("c")
    a.add(b)
    b.add(c)
    for outer, inner, chain in ((c, a, "c → a → b → c"), (a, a, "a → a")):
        with pytest.raises(GraphError) as caught:
            outer.add(inner, name="again")
        assert str(caught.value) == (
            f"sub-flow 'again': flow {outer.name!r} would contain itself: {chain};\n"
            f"where the depth is known at run time only, run it in a step: {outer.name}.run(...)"
        )
    c.add(lambda: 1, name="x")
    assert a.run()["b/c/x"] == 1


def test_an_unknown_input_is_refused_with_the_near_miss():
    flow, inner = Flow("outer"), pricing()
    flow.add(inner, name="sub", pth="1")
    assert refusal(flow) == "sub-flow 'sub': flow 'pricing' has no input 'pth'; did you mean 'path'?"
    flow = Flow("outer")
    flow.add(inner, name="sub", zzzzzz="1")
    text = refusal(flow)
    assert text == "sub-flow 'sub': flow 'pricing' has no input 'zzzzzz'; it takes path, factor, currency"
    flow = Flow("outer")
    flow.add(inner, name="sub", total=3)
    assert refusal(flow) == (
        "sub-flow 'sub': flow 'pricing' has no input 'total': "
        "it is a step of 'pricing', and steps take their own values"
    )


def test_a_name_that_is_taken():
    flow, inner = Flow("outer"), pricing()
    flow.add(lambda: 1, name="x")
    with pytest.raises(
        GraphError, match="sub-flow 'x': flow 'outer' has something of that name already; give"
    ):
        flow.add(inner, name="x")
    flow.add(inner, name="sub")
    with pytest.raises(GraphError, match="there is a sub-flow 'sub' already; give the step another name"):
        flow.add(lambda: 1, name="sub")
    with pytest.raises(GraphError, match="has something of that name already"):
        flow.add(inner, name="sub")


def test_errors_inside_name_the_whole_path():
    flow, inner = Flow("outer"), Flow("inner")

    @inner.step
    def a() -> list[int]: ...
    @inner.step
    def b(x: str = each(a)) -> int: ...

    flow.add(inner, name="sub")
    assert refusal(flow).startswith("step 'sub/b': its parameter 'x' takes str, and each(sub/a) gives int;")


def test_the_type_of_a_binding_is_checked():
    flow, inner = Flow("outer"), pricing()

    @flow.step
    def load() -> list[int]: ...

    flow.add(inner, name="sub", path=use(load))
    assert refusal(flow).startswith(
        "step 'sub/parse': its parameter 'path' takes str, and 'load' returns list[int];"
    )
    flow = Flow("outer")
    flow.add(load.function, name="load")
    flow.add(inner, name="sub", path=each(flow.steps["load"]))
    assert refusal(flow).startswith(
        "step 'sub/parse': its parameter 'path' takes str, and each(load) gives int;"
    )
    flow = Flow("outer")
    flow.add(inner, name="sub", path=3)
    assert refusal(flow) == "step 'sub/parse': its parameter 'path' takes str, and 3 is int"


def test_a_parameter_named_like_a_sub_flow():
    flow, inner = Flow("outer"), pricing()
    flow.add(inner, name="sub", when=lambda: True, path="1", currency="EUR")
    flow.add(lambda sub: sub, name="x")
    text = (
        "step 'x': its parameter 'sub' is named like a sub-flow, which has no value;\n"
        "say sub=use(sub[step]) for the step of it that is meant"
    )
    assert refusal(flow) == text
    flow = Flow("outer")
    flow.add(inner, name="sub", path="1", currency="EUR")
    flow.add(lambda sub: sub, name="x")
    assert refusal(flow) == text
    outer = Flow("around")
    outer.add(flow, name="flow")
    assert refusal(outer) == text.replace("step 'x'", "step 'flow/x'")


def test_use_of_a_sub_flow_itself():
    flow, inner = Flow("outer"), pricing()
    sub = flow.add(inner, name="sub")
    with pytest.raises(GraphError) as caught:
        use(sub)
    assert str(caught.value) == "use(sub): 'sub' is a sub-flow, and has no value; say use(sub[step])"


def test_a_step_of_the_inner_flow_without_its_sub_flow():
    flow, inner = Flow("outer"), pricing()
    flow.add(inner, name="sub", path="1", currency="EUR")
    flow.add(lambda n: n, name="x", n=use(inner.steps["total"]))
    assert refusal(flow) == (
        "step 'x': its parameter 'n' takes step 'total' of another flow, 'pricing'; "
        "that is in the sub-flow 'sub', so say sub[total]"
    )


def test_no_such_step_in_a_sub_flow():
    flow, inner, other = Flow("outer"), pricing(), pricing()
    sub = flow.add(inner, name="sub")
    with pytest.raises(
        GraphError, match="sub-flow 'sub': flow 'pricing' has no step 'totl'; did you mean 'total'"
    ):
        sub["totl"]
    with pytest.raises(
        GraphError, match="sub-flow 'sub' has the steps of flow 'pricing', and 'total' is a step of 'pricing'"
    ):
        sub[other.steps["total"]]
    with pytest.raises(GraphError, match="and 'x' is an input of the run"):
        sub[param("x")]


def test_a_step_inside_that_takes_a_step_of_the_flow_around():
    flow, inner = Flow("outer"), Flow("inner")
    flow.add(lambda: 1, name="a")
    inner.add(lambda x: x, name="b", x=use(flow.steps["a"]))
    flow.add(inner, name="sub")
    assert refusal(flow) == (
        "step 'sub/b': its parameter 'x' takes step 'a' of another flow, 'outer';\n"
        "let flow 'inner' have an input for it, and give that where the flow is added"
    )


def test_an_open_input_named_like_a_step_around():
    flow, inner = Flow("outer"), pricing()
    flow.add(lambda: "1", name="path")
    flow.add(inner, name="sub", currency="EUR")
    assert refusal(flow) == (
        "sub-flow 'sub': its input 'path' is named like a step of flow 'outer', "
        "and inputs are not wired by name;\n"
        "say flow.add(..., path=use(path)), or give it a value"
    )


def test_two_each_of_one_sub_flow():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda x, y: (x, y), name="both")
    flow.add(inner, name="sub", x=each(param("xs")), y=each(param("ys")))
    assert "step 'sub': its parameters 'x' and 'y' are both each()" in refusal(flow)


def test_a_name_inside_that_means_a_mapped_step():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda x: x, name="item", x=each(param("xs", list[int])))
    inner.add(lambda item: item, name="all")
    flow.add(inner, name="sub", xs=[1], when=lambda: True)
    assert refusal(flow) == (
        "step 'sub/all': its parameter 'item' is named like a mapped step, and a name makes no calls;\n"
        "say item=gather(sub/item) for the list of all its items, or item=use(sub/item) for one call per item"
    )
    outer = Flow("around")
    outer.add(flow, name="f")
    assert "'f/sub/all'" in refusal(outer)


def test_a_gather_inside_may_not_end_the_map_of_the_sub_flow():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda x: x, name="a")
    inner.add(lambda xs: xs, name="b", xs=gather(inner.steps["a"]))
    flow.add(inner, name="sub", x=each(param("xs", list[int])))
    assert refusal(flow) == (
        "step 'sub/b': gather takes a mapped step, and 'sub/a' is not mapped inside 'sub'; "
        "take its value with use(sub/a)"
    )


def test_a_circle_through_a_sub_flow():
    flow, inner = Flow("outer"), Flow("inner")
    inner.add(lambda x: x, name="a")
    first = flow.add(inner, name="one", x=use(flow.add(lambda back: back, name="b")))
    flow.steps["b"].bindings = {"back": use(first["a"])}
    with pytest.raises(CycleError) as caught:
        flow.graph()
    assert "'one/a' asks 'b' (x)" in str(caught.value)


def test_after_of_a_step_inside_another_flow_is_refused():
    flow, inner = Flow("outer"), Flow("inner")
    flow.add(lambda: 1, name="a")
    inner.add(lambda: 1, name="b", after=[flow.steps["a"]])
    flow.add(inner, name="sub")
    assert refusal(flow).startswith("step 'sub/b': after takes step 'a' of another flow, 'outer';")


def test_the_values_are_those_that_the_steps_gave():
    flow, inner = Flow("outer"), Flow("inner")
    value = object()
    inner.add(lambda x: x, name="taken")
    sub = flow.add(inner, name="sub", x=value)
    result = flow.run()
    assert result[sub["taken"]] is value
    assert result.nodes["sub/taken"].outcome() == Ok(value)


# ----------------------------------------------------------------------------------------------------------
# A flow does inside what it does alone
# ----------------------------------------------------------------------------------------------------------


MARKERS = {"use": use, "outcome": outcome, "optional": lambda source: optional(source, 0)}


def random_flow(random: Random) -> Flow:
    """Steps that fail or not, with needs, triggers and conditions of all kinds; some are repeated."""
    flow = Flow("inner")
    before: list[Any] = []
    for number in range(random.randint(2, 7)):
        some = random.sample(before, random.randint(0, min(3, len(before))))
        words = [random.choice(["use", "use", "optional", "outcome"]) for _ in some]
        bindings = {f"a{at}": MARKERS[words[at]](source) for at, source in enumerate(some)}
        options: dict[str, Any] = {"optional": random.random() < 0.1}
        if some and "use" not in words and random.random() < 0.7:
            options["trigger"] = random.choice(TRIGGERS[1:])
        if options.get("trigger") not in ("any_succeeded", "all_failed"):  # they would count the element too
            if random.random() < 0.5:
                bindings["x"] = use(param("x", int))
            if random.random() < 0.25:
                options["when"] = random.choice([lambda x: x > 0, lambda x: x <= 0])
        step = flow.add(maker(number, random.random() < 0.25), name=f"s{number}", **options, **bindings)
        if "trigger" not in options and random.random() < 0.15:
            repeat(step, until=lambda value: value > 3, max=3, feed="again")
        before.append(step)
    return flow


def maker(number: int, fails: bool):
    def step(**given: Any) -> int:
        if fails:
            raise ValueError(f"step {number}")
        return number + sum(value for value in given.values() if isinstance(value, int))

    return step


def brief_of(node, prefix: str) -> Any:
    cause = node.skip and (node.skip.cause, (node.skip.because or "").removeprefix(prefix).partition("[")[0])
    return node.status.value, cause, node.attempts


@pytest.mark.parametrize("seed", range(120))
def test_a_flow_does_inside_what_it_does_alone(seed):
    random = Random(seed)
    inner = random_flow(random)
    options = RunOptions(on_failure="continue", max_concurrency=1)
    inputs = {"x": 1} if "x" in inner.graph().inputs else {}
    alone = inner.run(options=options, runner="inline", **inputs)
    expected = {id: brief_of(node, "") for id, node in alone.nodes.items()}
    takes = {"x": use(param("given", int))} if inputs else {}
    for how in ("plain", "conditional", "after", "mapped"):
        flow = Flow("outer")
        first = flow.add(lambda: [1], name="first")
        more: dict[str, Any] = {}
        if how == "conditional":
            more["when"] = lambda first: bool(first)
        elif how == "after":
            more["after"] = [first]
        elif how == "mapped" and takes:
            takes = {"x": each(first)}
        flow.add(inner, name="sub", **takes, **more)
        given = {"given": 1} if "given" in flow.graph().inputs else {}
        result = flow.run(options=options, runner="inline", **given)
        inside = {
            id.removeprefix("sub/"): brief_of(node.items[0] if node.items is not None else node, "sub/")
            for id, node in result.nodes.items()
            if id.startswith("sub/")
        }
        assert inside == expected, how
        if how != "mapped":
            assert result.status == alone.status
            assert {f"sub/{path}" for path in alone.tolerated} == set(result.tolerated)


@pytest.mark.parametrize("seed", range(120))
def test_a_flow_whose_condition_is_false_does_nothing_at_all(seed):
    inner = random_flow(Random(seed))
    flow = Flow("outer")
    flow.add(inner, name="sub", when=lambda: False)
    given = {"x": 1} if "x" in flow.graph().inputs else {}
    result = flow.run(runner="inline", options=RunOptions(on_failure="continue"), **given)
    assert {node.status.value for node in result.nodes.values()} == {SKIPPED}
    assert {node.skip.cause for node in result.nodes.values()} == {SkipCause.CONDITION}
