"""`switch`: one of several steps runs, the one that a value names."""

# mypy: ignore-errors

import enum
import re
from typing import Literal

import pytest

from penstock import RunOptions, Skip, SkipCause
from penstock.core.errors import GraphError
from penstock.flow import Flow, each, gather, optional, param, repeat, switch, use

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"


def gives(value):
    return lambda: value


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


def routed(route, keys=("a", "b"), **options) -> Flow:
    """A route, a branch for each key that returns "<key>!", and a step that takes the value."""
    flow = Flow("routed")
    flow.add(route, name="route")
    branches = {key: flow.add(gives(f"{key}!"), name=f"on {key}") for key in keys}
    if "default" in options:
        options["default"] = flow.add(lambda: "default!", name="otherwise")
    choice = switch(flow.steps["route"], branches, **options)
    flow.add(lambda value: f"<{value}>", name="end", value=use(choice))
    return flow


def statuses(result) -> dict[str, str]:
    return {id: node.status.value for id, node in result.nodes.items()}


def test_only_the_branch_runs_that_the_value_names():
    flow = routed(lambda x: x)
    for key, other in (("a", "b"), ("b", "a")):
        result = flow.run(x=key)
        assert result["end"] == f"<{key}!>"
        assert result.nodes[f"on {other}"].skip == Skip(SkipCause.CONDITION, f"on {other}")
    assert list(result.nodes) == ["route", "on a", "on b", "switch(route)", "end"]


def test_a_value_that_no_key_equals_fails_with_the_keys_named():
    result = routed(lambda x: x).run(x="c", options=RunOptions(on_failure="continue"))
    failure = result.nodes["switch(route)"].failure
    assert str(failure) == (
        "LookupError: switch(route): 'route' gave 'c', and its branches are for 'a', 'b'; "
        "add one, or say default=..."
    )
    assert statuses(result)["end"] == SKIPPED
    assert routed(lambda x: x).run(x=["a"]).status.value == FAILED


def test_the_default_is_for_all_other_values():
    flow = routed(lambda x: x, default=True)
    assert [flow.run(x=x)["end"] for x in ("a", "c", None)] == ["<a!>", "<default!>", "<default!>"]
    assert statuses(flow.run(x="a"))["otherwise"] == SKIPPED
    assert flow.run(x=["unhashable"])["end"] == "<default!>"


def test_a_switch_has_a_name_of_its_own_and_is_wired_by_it():
    flow = Flow("f")
    flow.add(lambda: "a", name="route")
    step = flow.add(lambda: 1, name="one")
    choice = switch(flow.steps["route"], {"a": step}, name="chosen")
    flow.add(lambda chosen: chosen + 1, name="end")
    result = flow.run(targets=[choice, "end"])
    assert (result[choice], result["chosen"], result["end"]) == (1, 1, 2)
    assert flow.run(override={choice: 5})["end"] == 6
    assert list(flow.steps) == ["route", "one", "end"]
    assert flow.parts["chosen"] is choice


def test_two_switches_on_one_route():
    flow = Flow("f")
    flow.add(lambda x: x, name="route")
    steps = [flow.add(gives(n), name=f"step {n}") for n in range(4)]
    route = flow.steps["route"]
    one = switch(route, {"a": steps[0], "b": steps[1]})
    two = switch(route, {"a": steps[2], "b": steps[3]})
    assert (one.id, two.id) == ("switch(route)", "switch(route) 2")
    result = flow.run(x="b")
    assert (result[one], result[two]) == (1, 3)


def test_a_step_may_be_the_branch_of_several_keys():
    flow = Flow("f")
    flow.add(lambda x: x, name="route")
    few, many = flow.add(lambda: "few", name="few"), flow.add(lambda: "many", name="many")
    choice = switch(flow.steps["route"], {0: few, 1: few}, default=many)
    assert [flow.run(x=x)[choice] for x in (0, 1, 2)] == ["few", "few", "many"]


def test_an_input_of_the_run_is_a_route():
    flow = Flow("f")
    fast, slow = flow.add(lambda: 1, name="fast"), flow.add(lambda: 2, name="slow")
    choice = switch(param("mode", Mode), {Mode.FAST: fast, Mode.SLOW: slow})
    flow.add(lambda value: value, name="end", value=use(choice))
    assert flow.run(mode=Mode.SLOW)["end"] == 2
    assert [one.name for one in flow.inputs()] == ["mode"]


def test_a_branch_keeps_its_own_condition_and_its_skip_is_that_of_the_switch():
    flow = Flow("f")
    flow.add(lambda x: x, name="route")
    asked: list[str] = []

    def willing(go: bool) -> bool:
        asked.append("willing")
        return go

    async def later(go: bool) -> bool:
        asked.append("later")
        return go

    one = flow.add(lambda: "one", name="one", when=willing)
    two = flow.add(lambda: "two", name="two", when=later)
    choice = switch(flow.steps["route"], {1: one, 2: two})
    flow.add(lambda value="nothing": value, name="end", value=use(choice))
    assert flow.run(x=1, go=True)["end"] == "one"
    assert asked == ["willing"]  # the route comes first
    assert flow.run(x=2, go=True)["end"] == "two"
    result = flow.run(x=2, go=False)
    assert result.nodes["switch(route)"].skip.cause is SkipCause.CONDITION
    assert result["end"] == "nothing"


def test_what_only_a_branch_needs_runs_all_the_same():
    flow = Flow("f")
    flow.add(lambda x: x, name="route")
    flow.add(lambda: 5, name="before")
    one, two = flow.add(lambda before: before, name="one"), flow.add(lambda: 0, name="two")
    switch(flow.steps["route"], {1: one, 2: two})
    assert statuses(flow.run(x=2))["before"] == SUCCEEDED


def test_a_failing_branch_skips_what_takes_the_value():
    def build(**how) -> Flow:
        flow = Flow("f")
        flow.add(lambda x: x, name="route")

        @flow.step
        def breaks() -> int:
            raise ValueError("no")

        other = flow.add(lambda: 1, name="other")
        choice = switch(flow.steps["route"], {1: breaks, 2: other})
        flow.add(lambda value: value, name="end", value=how["take"](choice))
        return flow

    result = build(take=use).run(x=1, options=RunOptions(on_failure="continue"))
    assert result.nodes["end"].skip == Skip(SkipCause.UPSTREAM, "breaks")
    flow = build(take=lambda choice: optional(choice, "none"))
    result = flow.run(x=1)
    assert (result["end"], result.status.value, result.tolerated) == ("none", SUCCEEDED, ("breaks",))
    assert flow.run(x=2)["end"] == 1


def test_items_of_a_map_go_their_own_ways():
    flow = Flow("f")

    item = flow.add(lambda x: x, name="item", x=each(param("xs", list[int])))
    kind = flow.add(lambda x: "odd" if x % 2 else "even", name="kind", x=use(item))
    odd = flow.add(lambda x: f"{x} odd", name="odd", x=use(item))
    even = flow.add(lambda: "even", name="even")
    choice = switch(kind, {"odd": odd, "even": even})
    flow.add(lambda all: all, name="end", all=gather(choice))
    result = flow.run(xs=[1, 2, 3])
    assert result["end"] == ["1 odd", "even", "3 odd"]
    assert [one.status.value for one in result.nodes["even"].items] == [SKIPPED, SUCCEEDED, SKIPPED]


def test_a_branch_may_be_a_loop_or_a_step_of_a_sub_flow():
    flow, inner = Flow("f"), Flow("inner")
    flow.add(lambda x: x, name="route")
    grow = repeat(flow.add(lambda n: n * 2, name="grow"), until=lambda n: n > 10, max=9)
    inner.add(lambda: "inner", name="leaf")
    sub = flow.add(inner, name="sub")
    choice = switch(flow.steps["route"], {1: grow, 2: sub["leaf"]})
    assert [flow.run(x=x, n=3)[choice] for x in (1, 2)] == [12, "inner"]
    assert statuses(flow.run(x=2, n=3))["grow/1"] == SKIPPED


def test_a_switch_inside_the_branch_of_another_is_made_with_a_step_between():
    flow = Flow("f")
    flow.add(lambda x: x, name="route")
    deep = {key: flow.add(gives(key), name=f"deep {key}") for key in ("p", "q")}
    inner = switch(param("y", str), deep, name="inner")
    one = flow.add(lambda inner: inner, name="one")
    two = flow.add(lambda: 2, name="two")
    assert flow.run(x=1, y="q", targets=[switch(flow.steps["route"], {1: one, 2: two})])
    with pytest.raises(GraphError) as caught:
        switch(flow.steps["route"], {1: inner})
    assert str(caught.value) == (
        "switch: branch 1 is a switch, and a branch is a step;\n"
        "let the branch be a step that takes the value: use(inner)"
    )


# ----------------------------------------------------------------------------------------------------------
# Keys
# ----------------------------------------------------------------------------------------------------------


def letters(x: str) -> Literal["a", "b"] | Literal["c"]: ...
def modes(x: str) -> Mode: ...
def truth(x: str) -> bool: ...
def maybe(x: str) -> Mode | None: ...
def text(x: str) -> str: ...
def anything(x: str): ...


def refusal(flow) -> str:
    with pytest.raises(GraphError) as caught:
        flow.graph()
    return str(caught.value)


@pytest.mark.parametrize(
    ("route", "keys", "text"),
    [
        (
            letters,
            ("a", "b"),
            "switch(route): 'route' returns 'a', 'b', 'c', and there is no branch for 'c';\n"
            "add one, or say default=... for the rest",
        ),
        (letters, ("a", 3), "its branch 3 is for a value that never comes; 'route' returns 'a', 'b', 'c'"),
        (
            letters,
            ("a", "b", "cc"),
            "its branch 'cc' is for a value that never comes; did you mean 'c'?",
        ),
        (modes, (Mode.FAST,), "'route' returns Mode.FAST, Mode.SLOW, and there is no branch for Mode.SLOW;"),
        (modes, (Mode.FAST, Mode.SLOW, "slow"), "its branch 'slow' is for a value that never comes"),
        (truth, (True,), "there is no branch for False;"),
        (maybe, (Mode.FAST, Mode.SLOW), "there is no branch for None;"),
        (text, (1, "a"), "its branch 1 is for a value that never comes; 'route' returns str"),
    ],
)
def test_branches_that_are_missing_or_of_no_use_are_named(route, keys, text):
    assert text in refusal(routed(route, keys))


@pytest.mark.parametrize(
    ("route", "keys"),
    [
        (letters, ("a", "b", "c")),
        (modes, tuple(Mode)),
        (truth, (False, True)),
        (maybe, (*Mode, None)),
        (text, ("a",)),
        (anything, (1, "a")),
    ],
)
def test_branches_that_fit(route, keys):
    assert len(routed(route, keys).graph().nodes) == len(keys) + 3
    assert routed(route, keys[:1], default=True).graph()


def test_the_types_of_the_branches_are_checked_against_what_takes_the_value():
    flow = Flow("f")

    @flow.step
    def one() -> int: ...
    @flow.step
    def two() -> str: ...
    @flow.step
    def end(value: int) -> int: ...

    choice = switch(param("x"), {1: one, 2: two}, name="value")
    text = refusal(flow)
    assert text.startswith("step 'end': its parameter 'value' takes int, and 'value' returns int | str;")
    flow.add(lambda x: x, name="more", x=use(choice))


# ----------------------------------------------------------------------------------------------------------
# What cannot be
# ----------------------------------------------------------------------------------------------------------


def a_function():
    return 1


def test_wrong_arguments():
    flow, other = Flow("f"), Flow("other")
    route = flow.add(lambda x: x, name="route")
    one, two = flow.add(lambda: 1, name="one"), flow.add(lambda: 2, name="two")
    strange = other.add(lambda: 3, name="strange")
    sub = flow.add(other, name="sub")
    switch(route, {"a": one}, name="first")
    for call, text in (
        (lambda: switch("route", {1: two}), "switch: route takes a step, not 'route'"),
        (
            lambda: switch(use(route), {1: two}),
            "switch: route takes the step itself; say route for use(route)",
        ),
        (lambda: switch(route, [two]), "switch: branches is a dict of steps by value, not [<step 'two' of"),
        (lambda: switch(route, {}), "switch: there is no branch; say {value: step, ...}"),
        (
            lambda: switch(route, {1: a_function}),
            "switch: branch 1: 'a_function' is not a step; put @flow.step",
        ),
        (
            lambda: switch(route, {1: use(two)}),
            "switch: branch 1 takes the step itself; say two for use(two)",
        ),
        (lambda: switch(route, {1: 3}), "switch: branch 1 takes a step, not 3"),
        (lambda: switch(route, {1: sub}), "switch: branch 1 takes a step, not <sub-flow 'sub' of flow 'f'"),
        (
            lambda: switch(route, {1: param("x")}),
            "switch: branch 1 is an input of the run, and a branch is a step",
        ),
        (lambda: switch(route, {1: two}, default=5), "switch: default takes a step, not 5"),
        (
            lambda: switch(route, {1: two, 2: strange}),
            "switch: step 'strange' belongs to flow 'other', and step 'two' to 'f'; a switch stays",
        ),
        (lambda: switch(strange, {1: two}), "switch: step 'strange' belongs to flow 'other'"),
        (
            lambda: switch(route, {1: route}),
            "switch(route): 'route' cannot be its route and a branch",
        ),
        (
            lambda: switch(route, {1: one}),
            "switch(route): step 'one' is a branch of 'first' already, and one value "
            "decides whether it runs;\nadd its function once more under another name",
        ),
        (
            lambda: switch(route, {1: two}, name="one"),
            "switch 'one': flow 'f' has something of that name already",
        ),
        (lambda: switch(route, {1: two}, name="[x]"), "switch '[x]': '[' is not allowed in a name"),
    ):
        with pytest.raises(GraphError, match=re.escape(text)):
            call()
    assert list(flow.parts) == ["route", "one", "two", "sub", "first"]


def test_a_trigger_on_a_branch():
    flow = Flow("f")
    route = flow.add(lambda x: x, name="route")
    switch(route, {1: flow.add(lambda: 1, name="one", trigger="all_done")})
    assert refusal(flow) == (
        "step 'one': a branch of switch(route) runs when its route says so, and takes no trigger;\n"
        "put it on a step before, or after the switch"
    )


def test_a_branch_that_is_mapped_where_the_route_is_not():
    flow = Flow("f")
    route = flow.add(lambda x: x, name="route")
    switch(route, {1: flow.add(lambda n: n, name="one", n=each(param("ns", list[int])))})
    assert refusal(flow) == (
        "switch(route): its branch 'one' is mapped, and the route is not;\n"
        "gather it in a step, and let that be the branch"
    )


def test_a_circle_through_a_switch():
    flow = Flow("f")
    one = flow.add(lambda x: x, name="one", x=use(param("x")))
    route = flow.add(lambda one: one, name="route")
    switch(route, {1: one})
    assert refusal(flow).startswith(
        "these steps wait for each other: one -> route -> one\n"
        "'route' asks 'one' (one); 'one' asks 'route' (a condition)"
    )
