"""Values: shared, released, overridden, missing; and steps that return the wrong thing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from penstock.core.errors import InputError
from penstock.core.model import Failure, Ok, RunOptions, Skip, SkipCause
from penstock.flow import Flow, each, fold, gather, optional, outcome, param, use
from tests.engine.tools import GO_ON, statuses


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_d04_values_are_handed_on_by_reference(runner):
    """Documented: whoever changes what it was given changes it for all."""
    made: list[list[int]] = []

    def source():
        made.append([1])
        return made[0]

    def append(x):
        x.append(2)
        return x

    async def later(x):
        return append(x)

    flow = Flow("flow")
    flow.add(source, name="source")
    change: Any = later if runner == "aio" else append
    flow.add(change, name="change", x=use(flow.steps["source"]), runner=runner)
    flow.add(lambda x: x, name="look", x=use(flow.steps["source"]), after=[flow.steps["change"]])
    result = flow.run()
    assert result["look"] is result["change"] is made[0]
    assert result["look"] == [1, 2]


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_d04_with_copies_each_consumer_has_its_own(runner):
    seen: list[Any] = []

    def change(x):
        seen.append(x)
        x[0].append(len(seen))
        return x

    async def later(x):
        return change(x)

    flow = Flow("flow")
    flow.add(lambda: [[0], {"deep": [1]}], name="source", keep=True)
    for name in "abc":
        flow.add(later if runner == "aio" else change, name=name, x=use(flow.steps["source"]), runner=runner)
    result = flow.run(options=RunOptions(values="copied"))
    assert result["source"] == [[0], {"deep": [1]}]
    assert sorted(value[0][1] for value in seen) == [1, 2, 3]
    assert all(len(value[0]) == 2 for value in seen)
    assert len({id(value) for value in seen}) == 3


COPIED = RunOptions(values="copied")


def push(x: list[int]) -> list[int]:
    x.append(2)
    return x


@pytest.mark.parametrize("runner", ["threads", "inline"])
@pytest.mark.parametrize("wired", ["by name", "use", "bind", "each"])
def test_d04_with_copies_inputs_and_constants_are_each_steps_own(runner, wired):
    flow, given = Flow("flow"), [1]
    taken: Any = {"use": use(param("x")), "each": each(param("xs")), "bind": given}
    for name in "bc":
        named = {} if wired == "by name" else {"x": taken[wired]}
        flow.add(push, name=name, runner=runner, **named)
    inputs: Any = {"by name": {"x": given}, "use": {"x": given}, "each": {"xs": [given]}, "bind": {}}
    for _ in range(2):
        result = flow.run(options=COPIED, **inputs[wired])
        values = [result.items(name)[0] if wired == "each" else result[name] for name in "bc"]
        assert values == [[1, 2], [1, 2]]
        assert values[0] is not values[1]
        assert given == [1]


def test_d04_with_copies_a_condition_has_its_own_too():
    flow, given, seen = Flow("flow"), [1], list[Any]()

    def when(x: list[int], of: list[int]) -> bool:
        seen.append((x, of))
        return len(push(x)) == len(push(of)) == 2

    def trigger(source: Any) -> bool:
        return len(push(source.value)) == 2

    source = flow.add(lambda: [1], name="source")
    flow.add(lambda of: of, name="one", of=use(source), when=when)
    flow.add(lambda source: source.value, name="two", source=outcome(source), trigger=trigger)
    result = flow.run(x=given, options=COPIED)
    assert (given, result["one"], result["two"]) == ([1], [1], [1])
    assert seen == [([1, 2], [1, 2])]


def test_d04_a_condition_that_cannot_have_copies_fails_its_step():
    flow = Flow("flow")
    flow.add(lambda: 1, name="a", when=lambda lock: True)
    failure = flow.run(lock=threading.Lock(), options=COPIED).nodes["a"].failure
    assert failure is not None
    assert (failure.kind, failure.type) == ("condition", "TypeError")
    assert "the value for 'lock' cannot be copied" in failure.text


def test_with_copies_a_volatile_value_is_handed_on_as_it_is():
    flow = Flow("flow")
    made = threading.Lock()
    lock = flow.add(lambda: made, name="lock", volatile=True)
    many = flow.add(lambda n: made, name="many", n=each(param("ns")), volatile=True)
    flow.add(lambda x: x, name="use", x=use(lock), when=lambda x: x is made)
    flow.add(lambda x: x, name="all", x=gather(many))
    flow.add(lambda x: x, name="fold", x=fold(many, lambda so_far, one: so_far + (one is made), 0))
    result = flow.run(ns=[1, 2], options=COPIED)
    result.raise_for_failure()
    assert result["use"] is made
    assert result["all"] == [made, made]
    assert result["fold"] == 2


def test_d04_what_cannot_be_copied_fails_its_consumer_and_says_so():
    flow = Flow("flow")
    flow.add(lambda: threading.Lock(), name="lock")
    flow.add(lambda x: 1, name="taker", x=use(flow.steps["lock"]))
    failure = flow.run(options=RunOptions(values="copied")).nodes["taker"].failure
    assert failure is not None
    assert failure.type == "TypeError"
    assert failure.text.startswith("values='copied', and the value for 'x' cannot be copied: ")


def test_d05_what_the_producer_changes_later_is_seen_by_later_consumers():
    """By reference, too: there is one object."""
    kept: list[int] = []
    flow = Flow("flow")
    flow.add(lambda: kept, name="source")
    flow.add(lambda x: kept.append(len(x)), name="first", x=use(flow.steps["source"]))
    flow.add(lambda x: list(x), name="last", x=use(flow.steps["source"]), after=[flow.steps["first"]])
    assert flow.run()["last"] == [0]


def test_d14_none_a_skip_and_a_failure_are_three_things():
    flow = Flow("flow")
    none = flow.add(lambda: None, name="none")
    no = flow.add(lambda: 1, name="no", when=lambda: False)
    bad = flow.add(lambda: 1 / 0, name="bad", optional=True)
    for step in (none, no, bad):
        flow.add(lambda x: x, name=f"{step.id}-outcome", x=outcome(step))
        flow.add(lambda x: x, name=f"{step.id}-optional", x=optional(step, "default"))
        flow.add(lambda x="own default": x, name=f"{step.id}-default", x=use(step))
        flow.add(lambda x: x, name=f"{step.id}-plain", x=use(step))
    result = flow.run(options=GO_ON)
    assert result["none-outcome"] == Ok(None)
    assert result["no-outcome"] == Skip(SkipCause.CONDITION, "no")
    assert isinstance(result["bad-outcome"], Failure)
    shown = {id: result.outputs.get(id, "nothing") for id in result.nodes if "-o" not in id or "opt" in id}
    assert [shown[f"{id}-optional"] for id in ("none", "no", "bad")] == [None, "default", "default"]
    assert [shown[f"{id}-plain"] for id in ("none", "no", "bad")] == [None, "nothing", "nothing"]
    assert (result["none"] if "none" in result.outputs else None) is None
    for id, cause in (("no", SkipCause.CONDITION), ("bad", SkipCause.UPSTREAM)):
        assert result.nodes[f"{id}-plain"].skip == Skip(cause, id)


async def _later() -> int:
    return 1


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_d16_a_step_that_forgot_await_is_told_so(runner):
    flow = Flow("flow")
    flow.add(lambda: _later(), name="a", runner=runner)
    failure = flow.run().nodes["a"].failure
    assert failure is not None
    text = "the step returned a coroutine, not its result; did you forget await?"
    assert (failure.type, failure.text) == ("TypeError", text)


@pytest.mark.parametrize("make", ["task", "future", "coroutine"])
@pytest.mark.parametrize("suspends", [False, True])
def test_d16_an_async_step_too(make, suspends):
    async def step():
        if suspends:
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        if make == "future":
            return loop.create_future()
        return asyncio.create_task(_later()) if make == "task" else _later()

    flow = Flow("flow")
    flow.add(step, name="a")
    failure = flow.run().nodes["a"].failure
    assert failure is not None
    assert (failure.type, failure.text.endswith("did you forget await?")) == ("TypeError", True)


# Which values stay


@pytest.mark.parametrize("mapped", [False, True])
def test_a_value_that_was_used_is_released_and_the_error_says_how_to_keep_it(mapped):
    flow = Flow("flow")
    flow.add(lambda: [1], name="source")
    flow.add(lambda n: n, name="a", n=each(flow.steps["source"]) if mapped else use(flow.steps["source"]))
    flow.add(lambda x: x, name="b", x=gather(flow.steps["a"]) if mapped else use(flow.steps["a"]))
    result = flow.run()
    for id in ("source", "a"):
        with pytest.raises(KeyError, match=f"step '{id}' was not kept.*keep=True, name it in targets, or"):
            result.items(id) if id == "a" and mapped else result[id]
    assert result["b"] == [1]
    assert flow.run(targets=["source", "b"])["source"] == [1]


def test_a_value_is_released_as_soon_as_its_last_consumer_has_had_it():
    class Value:
        pass

    import gc
    import weakref

    alive: list[bool] = []
    refs: list[Any] = []

    def make():
        value = Value()
        refs.append(weakref.ref(value))
        return value

    flow = Flow("flow")
    flow.add(make, name="a")
    flow.add(lambda a: None, name="b")
    flow.add(lambda a: None, name="c", after=[flow.steps["b"]])

    def look():
        gc.collect()
        alive.append(refs[0]() is not None)

    flow.add(look, name="between", after=[flow.steps["b"]], runner="threads")
    flow.add(look, name="end", after=[flow.steps["c"], flow.steps["between"]])
    flow.run(runner="inline")
    assert alive[-1] is False


# Targets and overrides


@pytest.fixture
def diamond() -> tuple[Flow, list[str]]:
    ran: list[str] = []
    flow = Flow("diamond")

    def step(id: str, value: Any) -> Any:
        ran.append(id)
        return value

    flow.add(lambda: step("source", [1, 2]), name="source")
    flow.add(lambda n: step("item", n * 10), name="item", n=each(flow.steps["source"]))
    flow.add(lambda n: step("deeper", n + 1), name="deeper", n=use(flow.steps["item"]))
    flow.add(lambda x: step("total", sum(x)), name="total", x=gather(flow.steps["deeper"]))
    flow.add(lambda: step("side", 0), name="side")
    return flow, ran


def test_targets_run_what_they_need_and_nothing_else(diamond):
    flow, ran = diamond
    result = flow.run(targets=["item"])
    assert (sorted(set(ran)), list(result.nodes)) == (["item", "source"], ["source", "item"])
    assert result.items("item") == [10, 20]


@pytest.mark.parametrize(
    ("override", "ran_then", "total"),
    [
        ({"source": [5]}, ["deeper", "item", "side", "total"], 51),
        ({"item": [7, 8]}, ["deeper", "side", "total"], 17),
        ({"deeper": [1, 2, 3]}, ["side", "total"], 6),
        ({"total": None}, ["side"], None),
        ({"source": []}, ["side", "total"], 0),
        ({"item": ()}, ["side", "total"], 0),
    ],
)
def test_overrides_stand_for_what_then_need_not_run(diamond, override, ran_then, total):
    flow, ran = diamond
    result = flow.run(override=override)
    assert (sorted(set(ran)), result["total"]) == (ran_then, total)
    (id,) = override
    assert result.nodes[id].source == "override"
    assert set(statuses(result).values()) == {"succeeded"}


@pytest.mark.parametrize("id", ["source", "item", "deeper"])
@pytest.mark.parametrize("value", [None, "ab", {1: 2}, 5])
def test_the_override_of_a_map_is_its_list(diamond, id, value):
    flow, ran = diamond
    with pytest.raises(InputError, match=f"'{id}'"):
        flow.run(override={id: value})
    assert ran == []


def test_unknown_targets_and_overrides_are_refused_before_anything_runs(diamond):
    flow, ran = diamond
    for how in ({"targets": ["totl"]}, {"override": {"totl": 1}}):
        with pytest.raises(InputError, match=r"'totl'.*did you mean 'total'"):
            flow.run(**how)
    assert ran == []
