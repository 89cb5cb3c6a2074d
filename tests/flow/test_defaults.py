"""Options of all steps of a flow, `max_concurrency`, `volatile`, `idle`, and what is called after a run."""

# mypy: ignore-errors

import asyncio
import threading
from functools import partial

import pytest

from penstock import Context, Limit, RetryPolicy, RunOptions, Timeout
from penstock.core.errors import GraphError, InputError
from penstock.flow import Flow, FlowResult, each, gather, param, repeat, switch, use

WAIT = 30.0
"""Seconds that a test waits at most for what must happen."""

RETRY = RetryPolicy(max_attempts=4, initial_delay=0, jitter="none")
API = Limit("api", capacity=3)


def node(flow, id="one"):
    return flow.graph().nodes[flow.graph().index[id]]


def returns_one():
    return 1


async def returns_one_later():
    return 1


def gives():
    yield 1


# ----------------------------------------------------------------------------------------------------------
# Defaults
# ----------------------------------------------------------------------------------------------------------


def test_steps_have_the_defaults_of_their_flow():
    flow = Flow(
        "f",
        defaults={
            "retry": RETRY,
            "timeout": 5,
            "limits": [API],
            "optional": True,
            "keep": True,
            "max_concurrency": 2,
            "volatile": True,
            "runner": "threads",
        },
    )

    flow.add(returns_one, name="one")

    @flow.step(name="two", optional=False)
    def other():
        return 2

    flow.add(returns_one, name="three", retry=RetryPolicy(max_attempts=2))
    one, two, three = flow.graph().nodes
    assert (one.retry, one.timeout, one.runner) == (RETRY, Timeout(5), "threads")
    assert (one.optional, one.keep, one.volatile) == (True, True, True)
    assert [use.limit.name for use in one.limits] == ["api", "max_concurrency of one"]
    assert (two.optional, two.keep, three.retry.max_attempts) == (False, True, 2)


def test_none_switches_a_default_off():
    flow = Flow("f", defaults={"retry": RETRY, "timeout": 5, "limits": [API], "max_concurrency": 1})
    flow.add(returns_one, name="one", retry=None, timeout=None, limits=None, max_concurrency=None)
    assert (node(flow).retry, node(flow).timeout, node(flow).limits) == (None, None, ())


def test_none_switches_off_what_a_step_brought_along():
    flow = Flow("f")
    first = flow.add(returns_one, name="one", timeout=5, keep=True)
    flow.add(first, name="two", timeout=None)
    flow.add(first.bind(), name="three")
    assert (node(flow, "two").timeout, node(flow, "two").keep) == (None, True)
    assert node(flow, "three").timeout == Timeout(5)


def test_nodes_that_nobody_wrote_have_no_defaults():
    flow = Flow("f", defaults={"timeout": 5, "retry": RETRY, "keep": True})
    step = flow.add(lambda n: n + 1, name="one", n=each(param("ns", list[int])))
    repeat(step, until=lambda n: True, max=2)
    nodes = {node.id: node for node in flow.graph().nodes}
    assert (nodes["ns"].timeout, nodes["one"].timeout, nodes["ns"].keep) == (None, None, False)
    assert nodes["one/2"].timeout == Timeout(5)
    assert flow.run(ns=[1]).items("one") == [2]


def test_a_default_runner_is_for_the_steps_that_it_can_call():
    flow = Flow("f", defaults={"runner": "threads"})
    flow.add(returns_one, name="one")
    flow.add(returns_one_later, name="two")
    flow.add(returns_one, name="three", runner="inline")
    assert [each.runner for each in flow.graph().nodes] == ["threads", None, "inline"]
    flow = Flow("f", defaults={"runner": "aio"})
    flow.add(returns_one, name="one")
    flow.add(returns_one_later, name="two")
    assert [each.runner for each in flow.graph().nodes] == [None, "aio"]


def test_defaults_that_are_given_later_change_nothing():
    defaults = {"timeout": 5}
    flow = Flow("f", defaults=defaults)
    defaults["timeout"] = 1
    flow.add(returns_one, name="one")
    assert node(flow).timeout == Timeout(5)


def test_a_retry_by_default():
    flow = Flow("f", defaults={"retry": RETRY})

    @flow.step
    def flaky(ctx: Context) -> int:
        if ctx.attempt < 4:
            raise ValueError("again")
        return ctx.attempt

    assert flow.run()[flaky] == 4


@pytest.mark.parametrize(
    ("defaults", "text"),
    [
        ({"name": "x"}, "flow 'f': defaults: 'name' is for one step; give it to each step that wants it"),
        ({"when": returns_one}, "flow 'f': defaults: 'when' is for one step;"),
        ({"pair": "zipped"}, "flow 'f': defaults: 'pair' is for one step;"),
        ({"tiemout": 3}, "flow 'f': defaults: there is no option 'tiemout'; did you mean 'timeout'?"),
        ({"timeout": "3"}, "flow 'f': defaults: timeout takes seconds or a Timeout, not '3'"),
        (
            {"timeout": 3, "runner": "inline"},
            "flow 'f': defaults: an inline step cannot be stopped, so it takes no",
        ),
        ({"max_concurrency": 0}, "max_concurrency counts attempts, so it is an int of at least 1, not 0"),
    ],
)
def test_wrong_defaults(defaults, text):
    with pytest.raises(GraphError) as caught:
        Flow("f", defaults=defaults)
    assert text in str(caught.value)


def test_a_default_timeout_and_an_inline_step():
    flow = Flow("f", defaults={"timeout": 5})
    with pytest.raises(GraphError) as caught:
        flow.add(returns_one, name="one", runner="inline")
    assert str(caught.value) == (
        "step 'one': an inline step cannot be stopped, and the flow has a timeout for all its steps;\n"
        "say timeout=None here, or leave out runner='inline'"
    )
    flow.add(returns_one, name="one", runner="inline", timeout=None)
    assert flow.run()["one"] == 1


# ----------------------------------------------------------------------------------------------------------
# max_concurrency, volatile, idle
# ----------------------------------------------------------------------------------------------------------


def test_max_concurrency_bounds_the_attempts_of_one_step_alone():
    flow = Flow("f")
    lock = threading.Lock()
    now, most, others = 0, 0, threading.Barrier(3, timeout=WAIT)

    def count(step: int):
        nonlocal now, most
        with lock:
            now += step
            most = max(most, now)

    @flow.step(max_concurrency=2)
    def bounded(n: int = each(param("ns", list[int]))) -> int:
        count(+1)
        count(-1)
        return n

    @flow.step
    def free(n: int = each(param("three", list[int]))) -> int:
        return others.wait()

    result = flow.run(ns=list(range(50)), three=[1, 2, 3])
    assert result.items(bounded) == list(range(50))
    assert most <= 2
    assert sorted(result.items(free)) == [0, 1, 2]


def test_max_concurrency_lets_as_many_run_as_it_says():
    flow = Flow("f")
    together = threading.Barrier(2, timeout=WAIT)
    flow.add(lambda n: together.wait(), name="one", n=each(param("ns")), max_concurrency=2)
    assert sorted(flow.run(ns=[1, 2]).items("one")) == [0, 1]


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "8"])
def test_wrong_max_concurrency(wrong):
    with pytest.raises(
        GraphError, match="step 'one': max_concurrency counts attempts, so it is an int of at"
    ):
        Flow("f").add(returns_one, name="one", max_concurrency=wrong)


def test_a_volatile_value_stays_in_this_process():
    flow = Flow("f")
    flow.add(returns_one, name="one", volatile=True)
    assert node(flow).volatile
    flow.add(lambda one: one, name="two", runner="threads")
    assert flow.run()["two"] == 1
    flow.add(lambda one: one, name="three", runner="processes")
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'three': it takes the value of 'one', which is volatile, so it cannot run in another process; "
        "give it runner='threads'"
    )
    flow = Flow("f")
    flow.add(returns_one, name="one", volatile=True, runner="processes")
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'one': its value is volatile, so it cannot be made in another process; "
        "give it runner='threads', or leave out volatile="
    )


def test_order_after_a_volatile_step_is_no_matter():
    flow = Flow("f")
    one = flow.add(returns_one, name="one", volatile=True)
    flow.add(returns_one, name="two", runner="processes", after=[one])
    assert len(flow.graph().nodes) == 2


def test_the_default_runner_of_a_run_is_checked_too():
    flow = Flow("f")
    flow.add(returns_one, name="one", volatile=True)
    with pytest.raises(InputError, match="with runner='processes': step 'one': its value is volatile"):
        flow.run(runner="processes")


def test_the_value_of_a_volatile_loop_or_switch_is_volatile():
    flow = Flow("f")
    repeat(flow.add(lambda n: n, name="loop", volatile=True), until=lambda n: True, max=2)
    flow.add(lambda loop: loop, name="end", runner="processes")
    with pytest.raises(GraphError, match="it takes the value of 'loop', which is volatile"):
        flow.graph()
    flow = Flow("f")
    choice = switch(param("x"), {1: flow.add(returns_one, name="one", volatile=True)})
    flow.add(lambda x: x, name="end", x=use(choice), runner="processes")
    with pytest.raises(GraphError, match=r"it takes the value of 'switch\(x\)', which is volatile"):
        flow.graph()


def test_items_of_a_volatile_list_are_volatile():
    flow, inner = Flow("f"), Flow("inner")
    flow.add(lambda: [1, 2], name="xs", volatile=True)
    inner.add(lambda x: x, name="taken", runner="processes")
    flow.add(inner, name="sub", x=each(flow.steps["xs"]))
    with pytest.raises(GraphError, match="step 'sub/taken': it takes the value of 'sub', which is volatile"):
        flow.graph()
    flow = Flow("f")
    xs = flow.add(lambda: [1, 2], name="xs", volatile=True)
    flow.add(lambda x, y: x, name="pairs", x=each(xs), y=each(xs), pair="zipped", runner="processes")
    with pytest.raises(
        GraphError, match=r"step 'pairs': it takes the value of 'pairs\.zipped', which is volatile"
    ):
        flow.graph()


def test_idle_is_for_steps_that_give_signs_of_life():
    flow = Flow("f")
    flow.add(gives, name="stream", timeout=Timeout(idle=3))

    @flow.step(timeout=Timeout(idle=3))
    def talks(ctx: Context) -> None: ...

    assert flow.graph()
    flow.add(returns_one, name="one", timeout=Timeout(idle=3))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'one': Timeout(idle=...) waits for signs of life, and it can give none;\n"
        "take a parameter annotated Context and call its heartbeat(), or give attempt= instead"
    )


def test_drawings_show_these_options():
    from penstock.wiring import drawing

    flow = Flow("f")
    flow.add(gives, name="one", timeout=Timeout(3, total=20, idle=1.5), volatile=True, max_concurrency=2)
    text = drawing(flow.graph())
    assert "timeout 3 s, timeout 20 s total, timeout 1.5 s idle" in text
    assert "limit max_concurrency of one" in text
    assert "volatile" in text


# ----------------------------------------------------------------------------------------------------------
# Hooks
# ----------------------------------------------------------------------------------------------------------


def hooked() -> tuple[Flow, list]:
    flow = Flow("f")
    seen: list = []

    @flow.step
    def one(fail: bool = False) -> int:
        if fail:
            raise ValueError("no")
        return 1

    @flow.on_end
    def first(result):
        seen.append(("first", result))

    @flow.on_end(timeout=5)
    async def second(result):
        await asyncio.sleep(0)
        seen.append(("second", result))

    return flow, seen


def check(seen: list) -> None:
    assert [name for name, _ in seen] == ["first", "second"]
    result = seen[0][1]
    assert isinstance(result, FlowResult)
    assert (result["one"], result.status.value) == (1, "succeeded")
    seen.clear()


def test_hooks_are_called_once_whichever_way_a_flow_is_run():
    flow, seen = hooked()
    for run in (
        flow.run,
        partial(flow.run, runner="inline"),
        lambda: flow.run_with({}),
        lambda: asyncio.run(flow.arun()),
        lambda: flow.start().result(timeout=WAIT),
    ):
        result = run()
        check(seen)
        assert result.warnings == ()

    async def inside_a_loop():
        flow.run()
        check(seen)

    asyncio.run(inside_a_loop())


def test_hooks_are_called_although_nobody_asks_a_handle_for_the_result():
    flow = Flow("f")
    called = threading.Event()
    flow.add(returns_one, name="one")
    flow.on_end(lambda result: called.set())
    flow.start()
    assert called.wait(WAIT)


def test_hooks_are_called_after_failures_too_and_change_nothing():
    flow, seen = hooked()

    @flow.on_end
    def breaks(result):
        raise KeyError("oops")

    result = flow.run(fail=True)
    assert [name for name, _ in seen] == ["first", "second"]
    assert result.status.value == "failed"
    assert len(result.warnings) == 1
    assert "breaks raised KeyError" in result.warnings[0]


def test_a_hook_that_takes_too_long_is_left_behind():
    flow = Flow("f")
    let_go = threading.Event()
    flow.add(returns_one, name="one")
    flow.on_end(lambda result: let_go.wait(WAIT), timeout=0.05)
    result = flow.run()
    let_go.set()
    assert "took more than 0.05 s" in result.warnings[0]


def test_a_cancelled_arun_calls_its_hooks():
    flow = Flow("f")
    seen: list[str] = []
    flow.on_end(lambda result: seen.append(result.status.value))

    async def main():
        started = asyncio.Event()

        async def waits():
            started.set()
            await asyncio.Event().wait()

        flow.add(waits, name="waits")
        run = asyncio.ensure_future(flow.arun())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_hooks_of_a_sub_flow_are_not_called():
    inner, seen = hooked()
    flow = Flow("outer")
    flow.add(inner, name="sub")
    assert flow.run()["sub/one"] == 1
    assert seen == []


def test_the_command_line_calls_hooks(tmp_path, monkeypatch):
    from penstock.cli.app import command

    file = tmp_path / "hooked.py"
    file.write_text(
        "from pathlib import Path\n"
        "from penstock import Flow\n"
        "flow = Flow('hooked')\n"
        "flow.add(lambda: 1, name='one')\n"
        "flow.on_end(lambda result: Path('seen').write_text(result.status.value))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert command(["run", "hooked.py"]) == 0
    assert (tmp_path / "seen").read_text() == "succeeded"


def test_wrong_hooks():
    flow = Flow("f")
    one = flow.add(returns_one, name="one")
    with pytest.raises(
        GraphError, match=r"flow\.on_end takes a function of the result, not <step 'one' of flow"
    ):
        flow.on_end(one)
    with pytest.raises(GraphError, match=r"flow\.on_end: timeout must be more than 0 s, not 0"):
        flow.on_end(returns_one, timeout=0)


def test_a_hook_stays_the_function_it_was():
    flow = Flow("f")
    assert flow.on_end(returns_one) is returns_one
    assert flow.on_end(timeout=3)(returns_one) is returns_one


def test_hooks_see_a_map_and_are_typed_by_the_steps():
    flow = Flow("f")
    item = flow.add(lambda x: x, name="item", x=each(param("xs")))
    total = flow.add(lambda xs: sum(xs), name="total", xs=gather(item))
    seen = []
    flow.on_end(lambda result: seen.append(result[total]))
    flow.run(xs=[1, 2], options=RunOptions(max_concurrency=1))
    assert seen == [3]
