"""Steps, conditions and observers that raise: what the run keeps of it, and what goes on."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import weakref
from random import Random
from typing import Any

import pytest

from penstock import wiring
from penstock.core.engine import Engine
from penstock.core.errors import InternalError, RunFailed
from penstock.core.graph import Graph
from penstock.core.machine import Machine
from penstock.core.model import Condition, Need, Node, RunOptions, RunStatus, SkipCause
from penstock.flow import Context, Flow, each, outcome, use
from tests.engine.tools import GO_ON, SAFETY, met, run_nodes, statuses
from tests.runners.steps import Lying, Mute, Rude, Stuck

# A failure


def random_nodes(dice: Random) -> tuple[list[Node], set[str]]:
    """A graph of plain steps on all runners, and those of them that fail."""
    many = dice.randint(1, 12)
    bad = {f"s{i}" for i in range(many) if dice.random() < 0.25}
    made = []
    for i in range(many):
        above = dice.sample(range(i), min(i, dice.randint(0, 3)))

        def call(me: str = f"s{i}", **_: Any) -> str:
            if me in bad:
                raise LookupError(f"{me} is bad")
            return me

        async def later(call: Any = call, **arguments: Any) -> str:
            await asyncio.sleep(0)
            return str(call(**arguments))

        runner = dice.choice(("threads", "inline", "aio"))
        needs = tuple(Need(f"s{parent}", "use", f"n{parent}") for parent in above)
        made.append(
            Node(
                f"s{i}",
                later if runner == "aio" else call,
                needs,
                is_async=runner == "aio",
                runner=runner,
            )
        )
    return made, bad


@pytest.mark.parametrize("seed", range(60))
def test_s01_what_fails_skips_what_needs_it_and_nothing_else(seed):
    nodes, bad = random_nodes(Random(seed))
    lost: dict[str, set[str]] = {}  # the failed steps above each, as a plain look at the graph finds them
    for node in nodes:
        above = [lost[need.node] | ({need.node} & bad) for need in node.needs]
        lost[node.id] = set().union(*(roots & bad for roots in above))
    result = run_nodes(*nodes, options=GO_ON)
    for node in nodes:
        found = result.nodes[node.id]
        if lost[node.id]:
            assert found.status.value == "skipped"
            assert found.skip is not None
            assert (found.skip.cause, found.attempts) == (SkipCause.UPSTREAM, 0)
            assert found.skip.because in lost[node.id]
        elif node.id in bad:
            assert found.status.value == "failed"
            failure = found.failure
            assert failure is not None
            assert (failure.type, failure.attempt) == ("LookupError", 1)
            assert failure.text == f"{node.id} is bad"
            assert "raise LookupError" in failure.trace
            assert "penstock/core" not in failure.trace
        else:
            assert found.status.value == "succeeded"
    ran_badly = any(node.id in bad and not lost[node.id] for node in nodes)
    assert result.status.value == ("failed" if ran_badly else "succeeded")


@pytest.mark.parametrize("seed", range(60))
def test_s01_after_a_stop_nothing_below_the_failure_ran_and_nothing_new_starts(seed):
    nodes, bad = random_nodes(Random(seed))
    seen: list[Any] = []
    result = run_nodes(*nodes, options=RunOptions(observers=[seen.append]))
    found = statuses(result)
    needs = {node.id: [need.node for need in node.needs] for node in nodes}
    for id, status in found.items():
        if status in ("succeeded", "failed"):
            assert all(found[parent] == "succeeded" for parent in needs[id])
        assert (status == "failed") <= (id in bad)
    failed_at = [at for at, event in enumerate(seen) if type(event).__name__ == "NodeFailed"]
    if failed_at:
        assert not [event for event in seen[failed_at[0] :] if type(event).__name__ == "NodeStarted"]
        assert result.status is RunStatus.FAILED
    else:
        assert set(found.values()) == {"succeeded"}


def test_s28_two_failures_at_a_time_are_both_kept_and_the_first_recorded_is_the_cause():
    """Both raise behind one barrier; a third, still running, is cancelled because of whichever came first."""
    flow, seen = Flow("flow"), list[Any]()
    barrier = threading.Barrier(2, timeout=SAFETY)

    def bad():
        barrier.wait()
        raise LookupError("both")

    flow.add(bad, name="a", runner="threads")
    flow.add(bad, name="b", runner="threads")
    flow.add(lambda: 1, name="c", after=[flow.steps["a"], flow.steps["b"]])
    result = flow.run(options=RunOptions(observers=[seen.append]))
    first, second = [str(event.path) for event in seen if type(event).__name__ == "NodeFailed"]
    assert {first, second} == {"a", "b"}
    assert [str(one.failure) for one in result.failed()] == ["LookupError: both"] * 2
    skip = result.nodes["c"].skip
    assert skip is not None
    assert skip.because == "a", "of several needs the first in the order of definition is named"
    with pytest.raises(RunFailed, match=r"a: LookupError: both\n  b: LookupError: both"):
        result.raise_for_failure()


def builtin_errors() -> list[type[BaseException]]:
    found = [
        each
        for each in vars(sys.modules["builtins"]).values()
        if isinstance(each, type) and issubclass(each, BaseException)
    ]
    return sorted(set(found), key=lambda each: each.__name__)


def an(error: type[BaseException]) -> BaseException:
    """One of these: a few want more than nothing."""
    if issubclass(error, ExceptionGroup):
        return error("group", [ValueError("inner")])
    if issubclass(error, BaseExceptionGroup):
        return error("group", [KeyboardInterrupt()])
    if issubclass(error, UnicodeDecodeError):
        return error("utf-8", b"\xff", 0, 1, "why")
    if issubclass(error, UnicodeEncodeError):
        return error("utf-8", "x", 0, 1, "why")
    if issubclass(error, UnicodeTranslateError):
        return error("x", 0, 1, "why")
    return error("text")


@pytest.mark.parametrize("error", builtin_errors(), ids=lambda error: error.__name__)
@pytest.mark.parametrize("runner", ["aio", "aio later", "threads", "inline"])
def test_s06_s07_whatever_a_step_raises_ends_that_step_only(error, runner):
    raised = an(error)

    def plain():
        raise raised

    async def at_once():
        raise raised

    async def later():
        await asyncio.sleep(0)
        raise raised

    call: Any = {"aio": at_once, "aio later": later}.get(runner, plain)
    flow = Flow("flow")
    flow.add(call, name="bad", runner=runner.split()[0])
    flow.add(lambda: 1, name="good", runner="threads")
    result = flow.run(options=GO_ON)
    bad = result.nodes["bad"]
    if error is KeyboardInterrupt and runner == "inline":
        return  # in the caller's own thread that is a Ctrl-C, see below
    assert (result.status.value, bad.status.value, result["good"]) == ("failed", "failed", 1)
    failure = bad.failure
    assert failure is not None
    if error in (StopIteration, StopAsyncIteration) and runner.startswith("aio"):
        assert failure.type in ("RuntimeError", error.__name__), "a coroutine cannot raise it as it is"
    else:
        assert failure.type == error.__name__


def test_s09_an_interrupt_inside_an_inline_step_cancels_it_and_the_run():
    flow = Flow("flow")

    def interrupted():
        raise KeyboardInterrupt

    flow.add(interrupted, name="a", runner="inline")
    flow.add(lambda: 1, name="b", runner="inline")
    result = flow.run()
    assert (result.status.value, statuses(result)["a"]) == ("cancelled", "cancelled")


def test_s07_the_exit_code_stays_in_the_text():
    flow = Flow("flow")
    flow.add(lambda: sys.exit(3), name="a", runner="threads")
    assert str(flow.run().nodes["a"].failure) == "SystemExit: 3"


@pytest.mark.parametrize("error", [Mute, Stuck, Rude, Lying])
@pytest.mark.parametrize("runner", ["aio", "threads", "inline"])
def test_s29_an_error_that_cannot_be_shown_is_kept_by_its_type(error, runner):
    def plain():
        raise error

    async def later():
        await asyncio.sleep(0)
        raise error

    flow = Flow("flow")
    flow.add(later if runner == "aio" else plain, name="a", runner=runner)
    failure = flow.run().nodes["a"].failure
    assert failure is not None
    assert failure.type == error.__name__
    assert "raise error" in failure.trace
    assert isinstance(failure.text, str)


class Big:
    """Something a frame holds."""


@pytest.mark.parametrize("runner", ["aio", "threads", "inline"])
def test_s30_nothing_of_an_error_lives_on_but_text(runner):
    left: list[weakref.ref[Any]] = []

    class Odd(Exception):
        pass

    def fail():
        held, error = Big(), Odd("gone")
        left.append(weakref.ref(held))
        left.append(weakref.ref(error))
        raise error

    async def later():
        await asyncio.sleep(0)
        fail()

    flow = Flow("flow")
    for at in range(20):
        flow.add(later if runner == "aio" else fail, name=f"s{at}", runner=runner)
    flow.add(lambda: 1, name="good", runner="threads")
    result = flow.run(options=GO_ON)
    gc.collect()
    assert len(left) == 40
    assert [ref() for ref in left if ref() is not None] == []
    assert len(list(result.failed())) == 20


# Conditions


@pytest.mark.parametrize("what", ["when", "trigger"])
def test_s04_a_condition_that_raises_fails_its_step(what):
    flow = Flow("flow")
    flow.add(lambda: 1, name="a")

    def ask(a):
        raise LookupError("no such table")

    options: dict[str, Any] = {what: ask}
    flow.add(lambda a: a, name="b", a=outcome(flow.steps["a"]), **options)
    flow.add(lambda b: b, name="c")
    result = flow.run(options=GO_ON)
    failure = result.nodes["b"].failure
    assert failure is not None
    assert (failure.kind, failure.type, failure.text) == ("condition", "LookupError", "no such table")
    assert statuses(result) == {"a": "succeeded", "b": "failed", "c": "skipped"}
    assert result.nodes["b"].attempts == 0


async def _no() -> bool:
    return False


class Falsy:
    def __bool__(self) -> bool:
        return False


class NoBool:
    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array with more than one element is ambiguous")


@pytest.mark.parametrize("answer", [None, 0, 1, "", "yes", [], [1], Falsy(), NoBool(), bool, lambda: True])
@pytest.mark.parametrize("what", ["when", "trigger"])
@pytest.mark.parametrize("color", ["sync", "async"])
def test_s05_an_answer_that_is_no_bool_fails_the_step(answer, what, color):
    async def later():
        return answer

    flow = Flow("flow")
    options: dict[str, Any] = {what: later if color == "async" else lambda: answer}
    flow.add(lambda: 1, name="a", **options)
    failure = flow.run().nodes["a"].failure
    assert failure is not None
    expected = f"{what} of 'a' returned {type(answer).__name__}, not a bool"
    assert (failure.kind, failure.type, failure.text) == ("condition", "TypeError", expected)


@pytest.mark.parametrize("answer", [True, False])
def test_s05_an_async_condition_is_awaited(answer):
    async def ask():
        await asyncio.sleep(0)
        return answer

    flow = Flow("flow")
    flow.add(lambda: 1, name="a", when=ask)
    assert statuses(flow.run()) == {"a": "succeeded" if answer else "skipped"}


def test_s05_a_plain_condition_that_returns_a_coroutine_is_awaited_or_refused():
    """On a loop it is awaited; without one the step fails, and no coroutine is left behind unawaited."""
    on_loop = Node("a", _return_one, runner="aio", is_async=True, when=Condition(lambda: _no()))
    assert statuses(run_nodes(on_loop)) == {"a": "skipped"}
    alone = Node("a", lambda: 1, when=Condition(lambda: _no()))
    failure = run_nodes(alone).nodes["a"].failure
    assert failure is not None
    assert failure.text == "an async condition needs a run on an event loop; use arun()"


async def _return_one() -> int:
    return 1


# Observers


def a_flow_with_everything() -> Flow:
    flow = Flow("flow")
    flow.add(lambda: [1, 2, 3], name="source")

    def item(n: int, ctx: Context):
        ctx.progress(1, 1)
        if n == 2:
            raise ValueError("two")
        return n

    flow.add(item, name="item", n=each(flow.steps["source"]))
    flow.add(lambda: 1, name="no", when=lambda: False)
    flow.add(lambda item: item, name="below", item=use(flow.steps["item"]))
    return flow


@pytest.mark.parametrize("fails_at", range(0, 14))
@pytest.mark.parametrize("error", [ValueError("ouch"), KeyboardInterrupt(), SystemExit(1)])
def test_s02_an_observer_that_raises_changes_nothing(fails_at, error):
    told: list[Any] = []

    def good(event):
        told.append(type(event).__name__)

    def bad(event):
        calls.append(event)
        if len(calls) > fails_at:
            raise error

    def shape(result):
        return [
            (node.path, node.status, node.value, node.skip, str(node.failure))
            for of in result.nodes.values()
            for node in (of, *(of.items or ()))
        ]

    calls: list[Any] = []
    without = a_flow_with_everything().run(options=GO_ON)
    result = a_flow_with_everything().run(options=RunOptions(on_failure="continue", observers=[bad, good]))
    assert shape(result) == shape(without)
    assert (result.status, result.tolerated) == (without.status, without.tolerated)
    assert len(calls) == fails_at + 1, "it is told nothing more"
    assert told[-1] == "RunFinished"
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(f"observer {bad.__qualname__} raised {type(error).__name__}")


@pytest.mark.parametrize("error", [Mute(), Rude(), Lying()])
def test_s02_s29_an_observer_that_raises_what_cannot_be_shown(error):
    def bad(event):
        raise error

    flow = Flow("flow")
    flow.add(lambda: 1, name="a")
    result = flow.run(options=RunOptions(observers=[bad]))
    assert result["a"] == 1
    assert type(error).__name__ in result.warnings[0]


# Faults of our own


@pytest.mark.parametrize("turn", range(6))
@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_s31_a_fault_of_our_own_is_raised_and_nothing_hangs(turn, runner, monkeypatch):
    """The machine breaks in its n-th turn."""
    step, turns = Machine.step, [0]

    def broken(self, replies, now):
        turns[0] += 1
        if turns[0] > turn:
            raise InternalError("planted")
        return step(self, replies, now)

    monkeypatch.setattr(Machine, "step", broken)
    flow, last = Flow("flow"), None
    for at in range(12):
        last = flow.add(
            _return_one if runner == "aio" else lambda: 1,
            name=f"s{at}",
            after=[last] if last is not None else [],
            runner=runner,
        )
        flow.add(_return_one if runner == "aio" else lambda: 1, name=f"t{at}", after=[last], runner=runner)
    with pytest.raises(InternalError, match="planted"):
        flow.run()


def test_s31_a_run_that_would_wait_for_nothing_says_that_it_is_a_bug(monkeypatch):
    monkeypatch.setattr(Engine, "_carry_out", lambda self, todo: _forget(self))
    with pytest.raises(InternalError, match=r"^run \S+ has not ended, .* this is a bug in Penstock; 1 nodes"):
        run_nodes(Node("a", lambda: 1, runner="threads"), Node("b", lambda: 1, (Need("a", "after"),)))


def _forget(engine: Engine) -> None:
    """All commands are lost, and the state says that nothing runs."""
    state = engine.machine.state
    state.free_total, state.open = state.slots_total, 1


def test_s31_a_fault_while_a_thread_is_busy_does_not_wait_for_it(flags, monkeypatch):
    """The run is over, whatever a step does that cannot be stopped."""
    step = Machine.step

    def broken(self, replies, now):
        if flags.planted.is_set():
            raise InternalError("planted")
        return step(self, replies, now)

    monkeypatch.setattr(Machine, "step", broken)
    flow = Flow("flow")

    def busy():
        flags.busy.set()
        flags.end.wait(SAFETY)

    def other_step():
        met(flags.busy)
        flags.planted.set()

    flow.add(busy, name="busy", runner="threads")
    flow.add(other_step, name="other", runner="threads")
    found: list[Any] = []

    def go():
        try:
            flow.run()
        except InternalError as error:
            found.append("".join(traceback.format_exception(error)))

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(SAFETY / 4)
    assert not thread.is_alive(), "it waits for a step that may never end"
    assert "planted" in found[0]


def test_s31_the_graph_is_not_hurt(monkeypatch):
    graph = Graph("nodes", [Node("a", lambda: 1)])
    step = Machine.step
    monkeypatch.setattr(Machine, "step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        wiring.run(graph, {})
    monkeypatch.setattr(Machine, "step", step)
    assert wiring.run(graph, {}).outputs == {"a": 1}
