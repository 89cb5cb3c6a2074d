"""Flows that really run: what the face promises of results, handles, inputs and direct calls."""

# mypy: disable-error-code="no-untyped-call"

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.core.errors import InputError, RunCancelled, RunFailed
from penstock.core.model import Failure, NodeStatus, Ok, RetryPolicy, RunOptions, RunStatus, Skip, SkipCause
from penstock.flow import Context, Flow, FlowHandle, FlowResult, each, gather, optional, outcome, param, use


@pytest.fixture
def orders() -> Flow:
    flow = Flow("orders")

    @flow.step
    def extract(path: str) -> list[int]:
        return [len(path), 2, 3]

    @flow.step(retry=RetryPolicy(max_attempts=3))
    async def enrich(order: int = each(extract)) -> float:
        await asyncio.sleep(0)
        return order * 2.0

    @flow.step
    def total(prices: list[float] = gather(enrich)) -> float:
        return sum(prices)

    @flow.step(when=lambda total: total > 0)
    def publish(total: float, ctx: Context) -> str:
        return f"{ctx.path}: {total}"

    return flow


def test_run(orders):
    result = orders.run(path="x")
    assert isinstance(result, FlowResult)
    assert result.status is RunStatus.SUCCEEDED
    assert result["publish"] == result[orders.steps["publish"]] == "publish: 12.0"
    result.raise_for_failure()


def test_arun(orders):
    assert asyncio.run(orders.arun(path="xx"))["publish"] == "publish: 14.0"


def test_run_inside_a_running_loop(orders):
    async def main():
        return orders.run(path="x")

    assert asyncio.run(main())["publish"] == "publish: 12.0"


def test_start(orders):
    handle = orders.start(path="x")
    assert isinstance(handle, FlowHandle)
    names = [type(event).__name__ for event in handle.events()]
    assert (names[0], names[-1]) == ("RunStarted", "RunFinished")
    result = handle.result(timeout=10)
    assert (result["publish"], result.run_id) == ("publish: 12.0", handle.run_id)
    assert handle.done
    assert handle.run_id in repr(handle)


@pytest.fixture
def gate() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Two flags: the step has begun, the step may end; the second is set in the end, come what may."""
    begun, go_on = threading.Event(), threading.Event()
    yield begun, go_on
    go_on.set()


def test_start_and_cancel(gate):
    begun, go_on = gate
    flow = Flow("flow")

    @flow.step(runner="threads")
    def wait():
        begun.set()
        assert go_on.wait(10)

    flow.add(lambda: 1, name="beside", runner="threads")
    flow.add(lambda: 1, name="never", after=[wait])
    handle = flow.start(options=RunOptions(grace=0.05))
    assert begun.wait(10)
    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)
    handle.cancel("enough")
    result = handle.result(timeout=10)
    assert result.status is RunStatus.CANCELLED
    assert len(result.abandoned) == 1
    with pytest.raises(RunCancelled, match=r"^run \S+ cancelled: enough$"):
        result.raise_for_failure()
    assert result.reason == "enough"


def test_start_and_cancel_of_a_lone_step(gate):
    begun, go_on = gate
    flow = Flow("flow")

    @flow.step(runner="threads")
    def wait():
        begun.set()
        assert go_on.wait(10)

    handle = flow.start(options=RunOptions(grace=0.05))
    assert begun.wait(10)
    handle.cancel("enough")
    assert handle.result(timeout=1).status is RunStatus.CANCELLED


def test_run_with(orders):
    result = orders.run_with({"path": "x"}, targets=["total"])
    assert list(result.nodes) == ["extract", "enrich", "total"]
    assert result.outputs == {"total": 12.0}


def test_targets_and_overrides(orders):
    total = orders.steps["total"]
    assert orders.run(path="x", targets=[total])[total] == 12.0
    result = orders.run(override={"extract": [5]})
    assert result["publish"] == "publish: 10.0"


def test_override_of_a_mapped_step(orders):
    assert orders.run(override={orders.steps["enrich"]: [1.0]})["publish"] == "publish: 1.0"


def test_the_runner_of_the_run():
    flow = Flow("flow")
    flow.add(lambda: threading.current_thread().name, name="a")
    assert flow.run(runner="inline")["a"] == threading.current_thread().name


def test_results_that_are_not_there(orders):
    result = orders.run(path="x", targets=["total", "enrich"])
    assert result.items("enrich") == result.items(orders.steps["enrich"]) == [2.0, 4.0, 6.0]
    with pytest.raises(
        TypeError, match=r"^step 'enrich' is mapped, so it has many values; say result.items\(enrich\)$"
    ):
        result["enrich"]
    with pytest.raises(
        TypeError, match=r"^step 'total' is not mapped, so it has one value; say result\['total'\]$"
    ):
        result.items("total")
    with pytest.raises(KeyError) as caught:
        result["extract"]
    assert str(caught.value) == (
        "the value of step 'extract' was not kept, for its consumers have had it; "
        "define the step with keep=True, name it in targets, or give the run a store"
    )
    with pytest.raises(KeyError) as caught:
        result["publish"]
    assert str(caught.value) == (
        "step 'publish' was not part of this run; its targets or overrides left it out"
    )
    with pytest.raises(KeyError) as caught:
        result["totl"]
    assert str(caught.value) == "there is no step 'totl'; did you mean 'total'?"
    with pytest.raises(KeyError, match="belongs to flow 'other'"):
        result[Flow("other").add(lambda: 1, name="total")]
    with pytest.raises(KeyError, match="a result is asked for steps or their ids, not for 3"):
        result[3]


def test_keep_keeps():
    flow = Flow("flow")
    a = flow.add(lambda: 1, name="a", keep=True)
    flow.add(lambda x: x, name="b", x=use(a))
    assert flow.run()[a] == 1


def test_s14_a_run_that_has_left_too_much_behind_says_so(gate):
    _, go_on = gate
    flow = Flow("flow")
    for name in ("a", "b"):
        flow.add(lambda: go_on.wait(30), name=name, runner="threads", timeout=0.01, optional=True)
    result = flow.run(options=RunOptions(max_abandoned=1, on_failure="continue"))
    assert (result.status, result.tolerated) == (RunStatus.FAILED, ("a", "b"))
    text = "attempts left behind: 2, more than max_abandoned=1: "
    assert result.reason in (text + "a, b", text + "b, a")
    assert result.warnings == (result.reason,)
    assert result.reason in repr(result)
    with pytest.raises(RunFailed) as caught:
        result.raise_for_failure()
    assert str(caught.value) == f"run {result.run_id} failed: {result.reason}"
    result = flow.run(options=RunOptions(max_abandoned=2, on_failure="continue"))
    assert (result.status, result.warnings, result.reason) == (RunStatus.SUCCEEDED, (), "")


def test_a_run_whose_deadline_has_passed_says_so(gate):
    _, go_on = gate
    flow = Flow("flow")
    flow.add(lambda: go_on.wait(30), name="slow", runner="threads", optional=True)
    result = flow.run(options=RunOptions(deadline=0.05, grace=0.01))
    assert (result.status, result.reason, result.warnings) == (RunStatus.FAILED, "its deadline passed", ())
    with pytest.raises(RunFailed, match=r"failed: its deadline passed$"):
        result.raise_for_failure()


def test_results_of_what_did_not_succeed():
    flow = Flow("flow")

    @flow.step
    def bad():
        raise ValueError("no")

    flow.add(lambda bad: 1, name="after")
    flow.add(lambda: 1, name="unwanted", when=lambda: False)
    result = flow.run(options=RunOptions(on_failure="continue"))
    with pytest.raises(RunFailed, match="bad: ValueError: no"):
        result.raise_for_failure()
    for step, text in {
        "bad": "step 'bad' has no value, it is failed: ValueError: no",
        "after": "step 'after' has no value, it is skipped: bad failed",
        "unwanted": "step 'unwanted' has no value, it is skipped: its condition said no",
    }.items():
        with pytest.raises(KeyError) as caught:
            result[step]
        assert str(caught.value) == text


def odd(x: int) -> int:
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


def test_gathers_raise_drop_and_keep():
    flow = Flow("flow")
    numbers = flow.add(lambda: [1, 2, 3], name="numbers")
    item = flow.add(odd, x=each(numbers))
    flow.add(lambda xs: xs, name="kept", xs=gather(item, failures="keep"))
    flow.add(lambda xs: xs, name="dropped", xs=gather(item, failures="drop"))
    result = flow.run()
    assert result.status is RunStatus.SUCCEEDED
    assert result["dropped"] == [1, 3]
    first, second, third = result["kept"]
    assert (first, third) == (Ok(1), Ok(3))
    assert isinstance(second, Failure)
    assert second.text == "2 is even"
    assert result.tolerated == ("odd[1]",)
    flow.add(lambda xs: xs, name="strict", xs=gather(item))
    assert flow.run().status is RunStatus.FAILED


def split(x: int) -> list[int]:
    if x == 2:
        raise ValueError("2 breaks")
    return [x, 20]


@pytest.mark.parametrize("streams", [False, True])
def test_what_a_gather_of_two_levels_keeps_is_lists_throughout(streams):
    def rows():
        yield from (1, 2, 3)
        if streams:
            raise ValueError("the stream broke")

    flow = Flow("flow")
    outer = flow.add(rows if streams else lambda: [1, 2, 3], name="rows")
    inner = flow.add(split, x=each(outer))
    item = flow.add(lambda x: x, name="item", x=each(inner))
    flow.add(lambda xs: xs, name="kept", xs=gather(gather(item, failures="keep")))
    result = flow.run(options=RunOptions(on_failure="continue"))
    lost = [[result.nodes["rows"].failure]] if streams else []
    assert result["kept"] == [
        [Ok(1), Ok(20)],
        [Skip(SkipCause.UPSTREAM, "split[1]")],
        [Ok(3), Ok(20)],
        *lost,
    ]


def test_what_a_gather_of_three_levels_keeps_is_lists_of_lists():
    flow = Flow("flow")
    outer = flow.add(lambda: [1, 2], name="rows")
    inner = flow.add(lambda x: [split(x)], name="inner", x=each(outer))
    innermost = flow.add(lambda x: x, name="innermost", x=each(inner))
    item = flow.add(lambda x: x, name="item", x=each(innermost))
    flow.add(lambda xs: xs, name="kept", xs=gather(gather(gather(item, failures="keep"))))
    result = flow.run()
    assert result["kept"] == [[[Ok(1), Ok(20)]], [[Skip(SkipCause.UPSTREAM, "inner[1]")]]]


def test_the_good_items_of_a_failed_map_are_there():
    flow = Flow("flow")
    flow.add(odd, x=each(param("numbers", list[int])))
    result = flow.run(numbers=[1, 2, 3], options=RunOptions(on_failure="continue"))
    assert result.status is RunStatus.FAILED
    assert result.items("odd") == [1, 3]


def test_maps_of_maps_and_lifted_steps():
    flow = Flow("flow")
    rows = flow.add(lambda: [[1, 2], [], [3]], name="rows")
    row = flow.add(lambda x: x, name="row", x=each(rows))
    cell = flow.add(lambda x: x * 10, name="cell", x=each(row))
    shown = flow.add(lambda x, of: (x, len(of)), name="shown", x=use(cell), of=use(row))
    flow.add(lambda xs: xs, name="inner", xs=gather(shown))
    flow.add(lambda xs: xs, name="outer", xs=gather(gather(cell)))
    flow.add(lambda xs: xs, name="rows_again", xs=gather(flow.steps["inner"]))
    result = flow.run()
    assert result["outer"] == [[10, 20], [], [30]]
    assert result["rows_again"] == [[(10, 2), (20, 2)], [], [(30, 1)]]


def test_a_map_of_which_every_item_was_skipped_says_why():
    flow = Flow("flow")
    item = flow.add(lambda x: x, name="item", x=each(param("xs", list[int])), when=lambda: False)
    flow.add(lambda x: x, name="below", x=use(item))
    result = flow.run(xs=[1, 2])
    node, below = result.nodes["item"], result.nodes["below"]
    assert (node.status, node.skip) == (NodeStatus.SKIPPED, Skip(SkipCause.CONDITION, "item[0]"))
    assert node.reason == "its condition said no"
    assert (below.skip, below.reason) == (node.skip, "the condition of item[0] said no")
    assert (node.attempts, node.duration) == (0, None)


def test_a_map_of_which_every_item_was_skipped_names_a_failure_first():
    flow = Flow("flow")
    numbers = param("xs", list[int])
    top = flow.add(odd, name="top", x=each(numbers), when=lambda x: x < 8)
    flow.add(lambda x: x, name="below", x=use(top))
    result = flow.run(xs=[9, 2], options=RunOptions(on_failure="continue"))
    below = result.nodes["below"]
    assert below.skip == Skip(SkipCause.UPSTREAM, "top[1]")
    assert below.reason == "top[1] failed"


def test_a_map_of_which_every_item_was_stopped_says_by_what():
    flow = Flow("flow")
    numbers = flow.add(lambda: [1, 2], name="numbers", runner="inline")
    bad = flow.add(odd, name="bad", x=2, after=[numbers], runner="inline")
    flow.add(lambda x: x, name="below", x=each(numbers), after=[bad], runner="inline")
    flow.add(lambda x: x, name="late", x=each(numbers), runner="inline")
    nodes = flow.run().nodes
    assert [len(nodes[id].items or ()) for id in ("below", "late")] == [2, 2]
    assert nodes["below"].skip == Skip(SkipCause.UPSTREAM, "bad")
    assert (nodes["late"].status, nodes["late"].skip) == (NodeStatus.SKIPPED, Skip(SkipCause.STOPPED, "bad"))
    assert nodes["late"].reason == "the run stopped: bad failed"


def test_defaults_optionals_and_outcomes_take_the_place_of_values():
    flow = Flow("flow")
    skipped = flow.add(lambda: 1, name="skipped", when=lambda: False)
    bad = flow.add(odd, name="bad", x=2)
    flow.add(lambda skipped=5: skipped, name="default")
    flow.add(lambda x: x, name="optional", x=optional(bad, "none"))
    flow.add(lambda x, y: (x, y), name="outcomes", x=outcome(bad), y=outcome(skipped))
    flow.add(lambda skipped: 1, name="below")
    result = flow.run()
    assert result.status is RunStatus.SUCCEEDED
    assert (result["default"], result["optional"]) == (5, "none")
    failure, skip = result["outcomes"]
    assert isinstance(failure, Failure)
    assert skip == Skip(SkipCause.CONDITION, "skipped")
    assert result.nodes["below"].skip == Skip(SkipCause.CONDITION, "skipped")


def test_parts_constants_inputs_and_star_star():
    flow = Flow("flow")
    row = flow.add(lambda n: {"total": n, "pair": (1, 2)}, name="row")
    flow.add(lambda **kw: kw, name="all", a=use(row, "total"), b=use(param("n", int)), c=3, d=use(row))
    flow.add(lambda x: x, name="pair", x=use(flow.add(lambda: (1, 2), name="two"), 1))
    result = flow.run(n=7)
    assert result["all"] == {"a": 7, "b": 7, "c": 3, "d": {"total": 7, "pair": (1, 2)}}
    assert result["pair"] == 2


def test_async_conditions_and_triggers():
    flow = Flow("flow")
    a = flow.add(lambda: 1, name="a")

    async def positive(a: int, least: int = 0) -> bool:
        await asyncio.sleep(0)
        return a > least

    def any_ok(a, bad) -> bool:
        return isinstance(a, Ok) and isinstance(bad, Failure)

    flow.add(lambda x: x, name="b", x=use(a), when=positive)
    flow.add(lambda: 1 / 0, name="bad", optional=True)
    flow.add(lambda a=None: "c", name="c", trigger=any_ok)
    assert flow.run()["b"] == 1
    result = flow.run(least=5)
    assert result["c"] == "c"
    assert result.nodes["b"].skip == Skip(SkipCause.CONDITION, "b")


def test_one_flow_runs_many_times_at_once():
    flow = Flow("flow")
    both = threading.Barrier(2)

    @flow.step(runner="threads")
    def meet(n: int) -> int:
        both.wait(10)
        return n

    handles = [flow.start(n=n) for n in (1, 2)]
    assert [handle.result(10)["meet"] for handle in handles] == [1, 2]


def test_inputs_are_checked_before_anything_starts(orders):
    for inputs in ({}, {"path": 3}, {"path": "x", "pth": "y"}):
        with pytest.raises(InputError):
            orders.run(**inputs)


@pytest.mark.parametrize(
    ("name", "value"),
    [("durability", "memory"), ("max_recoveries", -1), ("on_change", "ignore"), ("rerun", "a")],
)
def test_options_of_durable_runs_are_checked(name, value):
    options: Any = RunOptions
    with pytest.raises(ValueError, match=f"^RunOptions: {name} "):
        options(**{name: value})


def test_a_parameter_may_be_called_as_a_later_option_is():
    flow = Flow("flow")
    flow.add(lambda codec, **more: (codec, more), name="a", codec="json", cache=1)
    assert flow.run()["a"] == ("json", {"cache": 1})


def test_an_input_may_be_called_self():
    flow = Flow("flow")
    flow.add(lambda self: self, name="a")
    assert flow.run(self=3)["a"] == 3
    assert asyncio.run(flow.arun(self=3))["a"] == 3


def test_templates_and_partials_run():
    flow = Flow("flow")

    @flow.step
    def scale(x: int, by: int = 2) -> int:
        return x * by

    for by in (3, 4):
        flow.add(scale.bind(by=by), name=f"by {by}")
    result = flow.run(x=5, by=2)
    assert [result[name] for name in ("scale", "by 3", "by 4")] == [10, 15, 20]


def test_a_result_shows_only_so_much_and_says_that_there_is_more():
    flow = Flow("flow")

    def fail():
        raise ValueError("word " * 40)

    flow.add(fail)
    shown = repr(flow.run())
    assert shown.endswith("…>")
    assert len(shown) < 200
    numbers = flow.add(lambda: list(range(25)), name="numbers")
    flow.add(lambda n: n, name="item", n=each(numbers))
    items = flow.run(targets=["item"]).nodes["item"].items
    assert items is not None
    assert repr(items).startswith("[<item[0]: succeeded>, <item[1]: succeeded>, ")
    assert repr(items).endswith("<item[19]: succeeded>, and 5 more]")
    assert repr(flow.run(targets=["item"]).nodes) == "{<numbers: succeeded>, <item: succeeded>}"


def test_an_observer_that_raises_without_a_word_is_named_without_a_colon():
    def clumsy(event):
        raise LookupError

    result = flow_of_one().run(options=RunOptions(observers=[clumsy]))
    assert result.warnings[0].endswith("clumsy raised LookupError; it is told nothing more")


def flow_of_one():
    flow = Flow("one")
    flow.add(lambda: 1, name="a")
    return flow
