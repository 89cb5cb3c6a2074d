"""`repeat`: a step that is called again with its own value."""

# mypy: ignore-errors

import asyncio
from functools import partial
from typing import Any

import pytest

from penstock import Context, Failure, Limit, RetryPolicy, RunOptions, Skip, SkipCause
from penstock.core.errors import GraphError, InputError
from penstock.flow import Flow, each, gather, optional, outcome, param, repeat, use

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"


def growing(until, max=5, **options) -> Flow:
    flow = Flow("growing")

    @flow.step
    def start() -> int:
        return 1

    @flow.step(**options)
    def grow(start: int) -> int:
        return start * 3

    repeat(grow, until=until, max=max)

    @flow.step
    def end(grow: int) -> str:
        return f"end {grow}"

    return flow


def statuses(result, prefix: str) -> list[str]:
    return [node.status.value for id, node in result.nodes.items() if id.startswith(prefix)]


def test_it_calls_again_until_the_value_is_good_enough():
    result = growing(lambda start: start > 20).run()
    assert result["end"] == "end 27"
    assert list(result.nodes) == ["start", *[f"grow/{call}" for call in range(1, 6)], "grow", "end"]
    assert statuses(result, "grow/") == [SUCCEEDED] * 3 + [SKIPPED] * 2
    assert result.nodes["grow/4"].skip == Skip(SkipCause.CONDITION, "grow/4")
    assert result.nodes["grow/5"].skip == Skip(SkipCause.CONDITION, "grow/4")


def test_a_first_value_that_is_good_enough_is_the_last():
    result = growing(lambda start: True).run()
    assert (result["end"], statuses(result, "grow/")) == ("end 3", [SUCCEEDED] + [SKIPPED] * 4)


def test_at_max_the_last_value_counts_good_enough_or_not():
    result = growing(lambda start: False, max=4).run()
    assert result["end"] == "end 81"
    assert result.nodes["grow/4"].status.value == SUCCEEDED
    assert growing(lambda start: False, max=1).run()["end"] == "end 3"


def test_until_is_asked_once_for_each_call_but_the_last():
    seen = []

    def until(start: int) -> bool:
        seen.append(start)
        return False

    growing(until, max=3).run()
    assert seen == [3, 9]


@pytest.mark.parametrize(
    "until", [lambda x: x > 20, lambda grow: grow > 20, lambda limit=20, start=None: start > limit]
)
def test_the_value_goes_to_the_parameter_of_its_name_or_to_the_first(until):
    assert growing(until).run()["end"] == "end 27"


def test_until_takes_steps_and_inputs_by_name_and_markers_as_when_does():
    flow = growing(lambda value, limit, start_=use(param("other", int, default=0)): value > limit + start_)
    flow.add(lambda: 10, name="limit")
    assert flow.run()["end"] == "end 27"
    assert flow.run(other=50)["end"] == "end 81"


async def over_twenty(value: int) -> bool:
    await asyncio.sleep(0)
    return value > 20


def test_an_async_until_and_an_async_step():
    assert growing(over_twenty).run()["end"] == "end 27"

    class Judge:
        async def __call__(self, value: int) -> bool:
            return value > 20

    assert growing(Judge()).run()["end"] == "end 27"
    flow = Flow("async")

    @flow.step
    async def more(n: int) -> int:
        return n + 1

    more = repeat(more, until=lambda n: n == 3, max=5)
    assert asyncio.run(flow.arun(n=0))[more] == 3


def test_repeat_returns_the_step_itself_and_the_step_stays_the_function_it_was():
    flow = Flow("f")

    @flow.step
    def double(n: int) -> int:
        return 2 * n

    assert repeat(double, until=lambda n: n > 10, max=9) is double
    assert double(4) == 8
    assert flow.run(n=1)[double] == 16


def test_other_parameters_are_the_same_in_every_call():
    flow = Flow("f")
    flow.add(lambda: 10, name="ten")

    @flow.step
    def add(n: int, ten: int, ctx: Context, seen: list[str], by: int = 1) -> int:
        seen.append(ctx.path)
        return n + ten + by

    repeat(add, until=lambda n: n > 30, max=5, feed="n")
    seen: list[str] = []
    assert flow.run(n=0, seen=seen, by=2)[add] == 36
    assert seen == ["add/1", "add/2", "add/3"]


def test_a_marker_a_constant_and_a_default_are_fed_over():
    flow = Flow("f")
    flow.add(lambda: {"n": 1}, name="start")

    def more(n: int, by: int = 10) -> int:
        return n + by

    one = repeat(
        flow.add(more, name="marked", n=use(flow.steps["start"], "n"), by=1), until=lambda n: False, max=3
    )
    two = repeat(flow.add(more, name="bound", n=5, by=2), until=lambda n: False, max=3, feed="n")
    three = repeat(flow.add(more, name="default", n=7), until=lambda n: False, max=3, feed="by")
    result = flow.run()
    assert [result[step] for step in (one, two, three)] == [4, 11, 31]


def test_a_loop_is_added_again_with_its_options():
    flow = growing(lambda start: start > 20)
    again = flow.add(flow.steps["grow"].bind(start=100), name="again")
    once = flow.add(flow.steps["grow"].function, name="once", start=100)
    result = flow.run()
    assert (result[again], result[once]) == (300, 300)
    assert "again/5" in result.nodes


def test_retries_timeouts_and_limits_hold_for_every_call():
    seen: list[str] = []
    flow = Flow("f", defaults={"timeout": 30})

    @flow.step(
        retry=RetryPolicy(max_attempts=2, initial_delay=0),
        limits=[Limit("api", capacity=1)],
        max_concurrency=1,
    )
    def flaky(n: int, ctx: Context) -> int:
        seen.append(f"{ctx.path} {ctx.attempt}")
        if ctx.attempt == 1:
            raise ValueError("again")
        return n + 1

    repeat(flaky, until=lambda n: n >= 2, max=3)
    assert flow.run(n=0)[flaky] == 2
    assert seen == ["flaky/1 1", "flaky/1 2", "flaky/2 1", "flaky/2 2"]
    nodes = {node.id: node for node in flow.graph().nodes}
    assert [use.limit.name for use in nodes["flaky/3"].limits] == ["api", "max_concurrency of flaky"]
    assert (nodes["flaky/3"].timeout.attempt, nodes["flaky"].timeout, nodes["flaky"].limits) == (30, None, ())


def test_when_and_after_are_those_of_the_first_call():
    flow = growing(lambda start: start > 20, when=lambda start, go: go)
    assert flow.run(go=True)["end"] == "end 27"
    result = flow.run(go=False)
    assert statuses(result, "grow") == [SKIPPED] * 6
    assert result.nodes["grow"].skip == Skip(SkipCause.CONDITION, "grow/1")
    flow = Flow("f")
    first = flow.add(lambda: 1, name="first")
    repeat(flow.add(lambda n: n + 1, name="more", after=[first]), until=lambda n: False, max=2)
    needs = {node.id: [(need.node, need.how) for need in node.needs] for node in flow.graph().nodes}
    assert needs["more/1"] == [("first", "after")]
    assert needs["more/2"] == [("more/1", "use")]


def test_a_default_of_the_fed_parameter_does_not_start_the_loop_in_the_middle():
    flow = Flow("f")

    @flow.step(when=lambda go: go)
    def more(n: int = 100) -> int:
        return n + 1

    repeat(more, until=lambda n: False, max=3)
    assert statuses(flow.run(go=False), "more") == [SKIPPED] * 4


# ----------------------------------------------------------------------------------------------------------
# Failures
# ----------------------------------------------------------------------------------------------------------


def breaking(**options) -> Flow:
    flow = Flow("breaking")

    @flow.step(**options)
    def count(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        return n + 1

    repeat(count, until=lambda n: n > 10, max=5)
    return flow


def test_a_failure_ends_the_loop_and_is_the_reason_of_what_follows():
    flow = breaking()
    flow.add(lambda count: count, name="end")
    result = flow.run(n=0, options=RunOptions(on_failure="continue"))
    assert statuses(result, "count/") == [SUCCEEDED, SUCCEEDED, FAILED, SKIPPED, SKIPPED]
    assert result.nodes["count"].skip == Skip(SkipCause.UPSTREAM, "count/3")
    assert result.nodes["end"].skip == Skip(SkipCause.UPSTREAM, "count/3")
    assert result.status.value == FAILED


def test_a_failure_is_let_pass_where_whoever_takes_the_value_lets_it():
    flow = breaking()
    count = flow.steps["count"]
    flow.add(lambda n, how: (n, how), name="end", n=optional(count, -1), how=outcome(count))
    result = flow.run(n=0)
    assert result.status.value == SUCCEEDED
    assert result.tolerated == ("count/3",)
    assert result["end"] == (-1, Skip(SkipCause.UPSTREAM, "count/3"))
    flow.add(lambda count: count, name="other")
    assert flow.run(n=0).status.value == FAILED


def test_the_failure_of_an_optional_loop_is_tolerated():
    result = breaking(optional=True).run(n=0)
    assert (result.status.value, result.tolerated) == (SUCCEEDED, ("count/3",))


def test_an_until_that_raises_or_returns_no_bool_is_a_failed_condition():
    def raises(n: int) -> bool:
        raise KeyError("oops")

    async def async_none(n: int) -> bool:
        return None

    for until, text in (
        (raises, "KeyError"),
        (lambda n: n, "until of 'more' returned int, not a bool"),
        (async_none, "until of 'more' returned NoneType, not a bool"),
    ):
        flow = Flow("f")
        repeat(flow.add(lambda n: n + 1, name="more"), until=until, max=3)
        result = flow.run(n=0)
        failure = result.nodes["more/2"].failure
        assert isinstance(failure, Failure)
        assert failure.kind == "condition"
        assert text in str(failure)


# ----------------------------------------------------------------------------------------------------------
# Maps, targets, drawings
# ----------------------------------------------------------------------------------------------------------


def test_each_item_of_a_map_has_a_loop_of_its_own():
    flow = Flow("f")

    @flow.step
    def grow(n: int = each(param("ns", list[int])), by: int = 2) -> int:
        return n * by

    repeat(grow, until=lambda n: n >= 10, max=5, feed="n")
    flow.add(lambda all: all, name="end", all=gather(grow))
    result = flow.run(ns=[1, 3, 20])
    assert result["end"] == [16, 12, 40]
    assert [one.status.value for one in result.nodes["grow/3"].items] == [SUCCEEDED, SKIPPED, SKIPPED]


def test_every_call_has_the_element_that_is_not_fed():
    flow = Flow("f")

    @flow.step
    def add(n: int = 0, by: int = each(param("steps", list[int]))) -> int:
        return n + by

    repeat(add, until=lambda n: n >= 10, max=20)
    flow.add(lambda all: all, name="end", all=gather(add))
    result = flow.run(steps=[1, 4, 30])
    assert result["end"] == [10, 12, 30]
    assert "add/0" in result.nodes


def test_pairs_of_elements_are_the_same_in_every_call():
    for pair, expected in (("zipped", [12, 14]), ("product", [[12, 14], [12, 14]])):
        flow = Flow("f")

        @flow.step(pair=pair)
        def add(a: int = each(param("xs", list[int])), b: int = each(param("ys", list[int]))) -> int:
            return a + b

        repeat(add, until=lambda a: a >= 10, max=20, feed="a")
        levels = gather(gather(add)) if pair == "product" else gather(add)
        flow.add(lambda all: all, name="end", all=levels)
        assert flow.run(xs=[0, 0], ys=[3, 7])["end"] == expected


def test_failed_items_of_a_repeated_map_are_judged_by_the_gather():
    flow = breaking()
    flow.steps["count"].bindings = {"n": each(param("ns", list[int]))}
    flow.add(lambda all: all, name="end", all=gather(flow.steps["count"], failures="drop"))
    result = flow.run(ns=[0, 3])
    assert (result["end"], result.status.value) == ([8], SUCCEEDED)
    assert result.tolerated == ("count/3[0]",)


def test_targets_and_overrides_take_a_loop_as_a_step_and_its_calls_by_id():
    flow = growing(lambda start: start > 20)
    grow = flow.steps["grow"]
    assert flow.run(override={grow: 7})["end"] == "end 7"
    assert flow.run(targets=[grow])[grow] == 27
    assert flow.run(targets=["grow/2"])["grow/2"] == 9
    with pytest.raises(InputError, match="override: step 'grow' returns int, not str"):
        flow.run(override={grow: "x"})


def test_keep_keeps_every_value():
    flow = growing(lambda start: start > 20, keep=True)
    result = flow.run()
    assert [result[f"grow/{call}"] for call in (1, 2, 3)] == [3, 9, 27]


def test_a_loop_is_drawn_call_by_call():
    from penstock.wiring import drawing

    text = drawing(growing(lambda start: start > 20, max=3).graph())
    assert any(line.endswith("grow/2 ?  use grow/1") for line in text.splitlines()), text
    assert "(until)    start of use(grow/1)" in growing(lambda start: True, max=2).explain_wiring()


# ----------------------------------------------------------------------------------------------------------
# What cannot be
# ----------------------------------------------------------------------------------------------------------


def steps() -> tuple[Flow, Any]:
    flow = Flow("f")
    return flow, flow.add(lambda a, b: a, name="two")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"until": True}, "repeat(two): until takes a function of the value that returns a bool, not True"),
        ({"max": 0}, "repeat(two): max counts all calls, so it is an int of at least 1, not 0"),
        ({"max": True}, "repeat(two): max counts all calls, so it is an int of at least 1, not True"),
        (
            {"max": 10**6},
            "repeat(two): each call is a step of its own, so max is at most 1,000, not 1,000,000;\n"
            "a longer loop belongs inside the step",
        ),
        ({"feed": "c"}, "repeat(two): feed='c' is not a parameter of <lambda>; it takes a, b"),
    ],
)
def test_wrong_arguments(given, text):
    _, two = steps()
    with pytest.raises(GraphError) as caught:
        repeat(two, **{"until": lambda x: True, "max": 3, **given})
    assert str(caught.value) == text


def a_function(x):
    return x


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (a_function, "repeat: 'a_function' is not a step; put @flow.step on it, or flow.add it"),
        (param("x"), "repeat takes a step, not param('x')"),
        ("two", "repeat takes a step, not 'two'"),
        (use(param("x")), "repeat takes a step, not use(param('x'))"),
    ],
)
def test_what_is_no_step(given, text):
    with pytest.raises(GraphError) as caught:
        repeat(given, until=lambda x: True, max=3)
    assert str(caught.value) == text


def test_a_step_is_repeated_once():
    flow = growing(lambda start: True)
    with pytest.raises(GraphError) as caught:
        repeat(flow.steps["grow"], until=lambda x: True, max=3)
    assert str(caught.value) == "repeat(grow): it is repeated already; to take its value say use(grow)"


def test_a_step_of_a_sub_flow_is_repeated_in_its_own_flow():
    outer = Flow("outer")
    sub = outer.add(growing(lambda start: True), name="sub")
    for step in (sub["end"], outer.steps["sub/end"]):
        with pytest.raises(GraphError) as caught:
            repeat(step, until=lambda x: True, max=3)
        assert str(caught.value) == "repeat: step 'sub/end' is one of a sub-flow; repeat it in its own flow"


def refusal(flow) -> str:
    with pytest.raises(GraphError) as caught:
        flow.graph()
    return str(caught.value)


def test_where_it_is_not_plain_which_parameter_is_fed():
    flow, two = steps()
    repeat(two, until=lambda x: True, max=3)
    asks = "repeat(two): which parameter receives the value of the call before?"
    assert refusal(flow) == f"{asks} It could be 'a' and 'b'; say feed='a'"
    flow = Flow("f")
    repeat(flow.add(lambda a, b: a, name="two", a=3, b=4), until=lambda x: True, max=3)
    assert refusal(flow) == f"{asks} It could be 'a' and 'b'; say feed='a'"
    flow = Flow("f")
    repeat(flow.add(partial(a_function, x=3), name="two"), until=lambda x: True, max=3)
    assert refusal(flow) == f"{asks} a_function() has none that is free"


def test_the_value_must_fit_the_parameter():
    flow = Flow("f")

    @flow.step
    def more(n: int) -> str:
        return str(n)

    repeat(more, until=lambda n: True, max=3)
    assert refusal(flow).startswith("step 'more': its parameter 'n' takes int, and 'more' returns str;")


def test_a_trigger_and_a_loop():
    flow = growing(lambda start: True, trigger="always")
    assert refusal(flow) == (
        "step 'grow': it is repeated, so it takes no trigger;\n"
        "put that on a step before it, and take its value"
    )


def test_repeat_is_not_an_option():
    flow = Flow("f")
    with pytest.raises(GraphError, match=r"a loop is made of the finished step: repeat\(step, until="):
        flow.step(repeat=3)(a_function)


def test_a_mapped_step_of_the_name_of_a_parameter_of_until():
    flow = growing(lambda start, mapped: True)
    flow.add(lambda x: x, name="mapped", x=each(param("xs", list[int])))
    assert "parameter 'mapped' of its until" in refusal(flow)
    assert "is named like a mapped step" in refusal(flow)
