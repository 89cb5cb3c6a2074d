"""Dialect D and odd functions, hooks, names and values: results that say what is wrong, and never a hang."""

import asyncio
import math
import threading
from functools import partial, wraps
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.steps import StepStatus

from .parts import NoText, NoTruth, NotText
from .parts_steps import fails, forever, made, run, told, ways


def raises(error):
    def call(*_):
        raise error

    return call


async def gives_seven(*_):
    return 7


# Sync where async is usual, and the reverse


class Calls:
    def __call__(self):
        return 7


class CallsAsync:
    async def __call__(self):
        return 7


class Methods:
    async def bound(self):
        return 7

    @staticmethod
    async def static():
        return 7

    @classmethod
    async def of_class(cls):
        return 7


def wrapped(function):
    @wraps(function)
    async def call(*args):
        return await function(*args)

    return call


@ways
@pytest.mark.parametrize(
    "func",
    [
        lambda: 7,
        partial(lambda n: n, 7),
        gives_seven,
        partial(gives_seven),
        partial(partial(gives_seven, 1), 2),
        Calls(),
        CallsAsync(),
        Methods().bound,
        Methods.static,
        Methods.of_class,
        wrapped(gives_seven),
    ],
)
def test_every_kind_of_callable_is_a_step(way, func):
    """Bad input: sync where async is usual and the reverse; partials, objects with an async `__call__`."""
    executor = made().add_step("a", func).add_step("b", lambda a: a, ["a"])
    assert [one.output for one in run(executor, way).values()] == [7, 7]


@ways
@pytest.mark.parametrize("func", [lambda: gives_seven(), partial(CallsAsync())])
def test_an_awaitable_from_a_plain_function_is_awaited_or_refused_with_the_way_out(way, func):
    """Bad input: a forgotten await."""
    one = run(made().add_step("a", func), way)["a"]
    if one.output != 7:
        assert "did you forget await" in str(one.error)


# What raises


@ways
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoText(), "<its text cannot be had: RuntimeError>"),
        (NotText(), "<its text cannot be had: TypeError>"),
        (KeyError(), "KeyError"),
        (Exception(""), "Exception"),
        (SystemExit(3), "3"),
        (GeneratorExit(), "GeneratorExit"),
        (ExceptionGroup("both", [ValueError(1), KeyError(2)]), "both (2 sub-exceptions)"),
        (StepStatus, "exceptions must derive from BaseException"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_whatever_a_step_raises_is_in_the_result(way, error, says, plain):
    """Bad input: odd exceptions; head: a task failure never raises from run."""

    async def later():
        raise error

    executor = made().add_step("a", raises(error) if plain else later).add_step("b", lambda _: 1, ["a"])
    assert told(run(executor, way)) == {"a": ("failed", says), "b": ("failed", "Dependency 'a' failed")}


@ways
@pytest.mark.parametrize("plain", [True, False])
def test_a_step_that_raises_cancelled_error_has_failed(way, plain):
    """Bad input: a cancellation that is none of the run's."""

    async def later():
        raise asyncio.CancelledError

    step = raises(asyncio.CancelledError()) if plain else later
    executor = made().add_step("a", step).add_step("other", lambda: 1)
    results = run(executor, way)
    assert results["a"].status is StepStatus.FAILED
    assert "ancelled" in str(results["a"].error)
    assert results["other"].output == 1


HOOKS = {
    "raises": lambda error: 1 / 0,
    "takes nothing": lambda: 1,
    "gives what cannot be awaited": lambda error: 5,
    "no text": raises(NoText()),
}


@ways
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_raises_changes_nothing(way, hook):
    """Bad input: `on_failure` raises; other hooks are called, and retries are made."""
    heard: list[Any] = []
    executor = made()
    executor.add_step("a", fails, retries=2, retry_delay=0.0, on_failure=HOOKS[hook])
    executor.add_step("b", fails, ["first"], retries=1, retry_delay=0.0, on_failure=heard.append)
    executor.add_step("first", lambda: 1)
    results = run(executor, way)
    assert told(results) == {"a": ("failed", "boom"), "b": ("failed", "boom"), "first": ("success", None)}
    assert (results["a"].retries, results["b"].retries, len(heard)) == (2, 1, 2)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(SystemExit(3)),
        pytest.param(asyncio.CancelledError()),
    ],
)
def test_a_hook_that_raises_what_is_no_exception_changes_nothing(error):
    """Bad input: `on_failure` raises SystemExit or CancelledError: it is told of each failing attempt."""
    heard: list[Any] = []

    def hook(failure):
        heard.append(failure)
        raise error

    executor = made().add_step("a", fails, retries=2, retry_delay=0.0, on_failure=hook)
    executor.add_step("b", fails, on_failure=heard.append)
    assert told(run(executor)) == {"a": ("failed", "boom"), "b": ("failed", "boom")}
    assert len(heard) == 4


@ways
@pytest.mark.parametrize("kind", ["def", "partial", "object", "partial of an object"])
def test_an_async_hook_may_be_any_callable_and_is_waited_for(way, kind):
    """Bad input: an async `on_failure`; `run` waits for it."""
    heard: list[Any] = []

    async def hook(error):
        for _ in range(50):  # long enough to be cut off by whoever does not wait
            await asyncio.sleep(0)
        heard.append(str(error))

    class Hook:
        async def __call__(self, error):
            await hook(error)

    kinds: dict[str, Any] = {
        "def": hook,
        "partial": partial(hook),
        "object": Hook(),
        "partial of an object": partial(Hook()),
    }
    executor = made().add_step("a", fails, retries=1, retry_delay=0.0, on_failure=kinds[kind])
    assert run(executor, way)["a"].error == "boom"
    assert heard == ["boom", "boom"]


@ways
def test_an_observer_that_raises_hurts_nobody(way):
    """Bad input: an observer that raises."""
    heard: list[Any] = []

    def observer(event):
        heard.append(event)
        raise RuntimeError("observer")

    executor = made().add_step("a", lambda: 1).add_step("bad", fails, ["a"], on_failure=heard.append)
    results = run(executor, way, options=RunOptions(observers=[observer]))
    assert told(results) == {"a": ("success", None), "bad": ("failed", "boom")}
    assert len(heard) == 2


# Names, sizes, values


@pytest.mark.parametrize(
    "name",
    [
        "a b", "mère → ✓", "日本", "🙂", "x" * 200, "a/b", "a.b-c:d", "None", "class", "self", "pipeline",
        "store", "options", "runner", "steps", "name", "call", "outputs", "func", "positions", "error",
    ],
)  # fmt: skip
def test_a_step_may_be_called(name):
    """Adversarial: names with spaces, of any script, very long, and words of our own."""
    heard: list[Any] = []
    executor = made()
    executor.add_step(name, lambda: 1, retries=1, on_failure=heard.append)
    executor.add_step("in order", lambda given: given + 1, [name])
    executor.add_step("as words", lambda **given: given, [name])
    executor.add_step("as a tuple", lambda *given: given, [name], on_failure=heard.append)
    results = run(executor, "run", ["in order", "as words", "as a tuple"])
    assert [one.output for one in results.values()] == [1, 2, {name: 1}, (1,)]
    assert f"  - in order <- [{name}] [success]" in executor.visualize()


def test_names_are_one_however_they_are_spelled():
    """Adversarial: composed and decomposed letters."""
    executor = made().add_step("é", lambda: 1).add_step("b", lambda x: x, ["e\u0301"])
    assert list(run(executor, "run", ["b"])) == ["é", "b"]
    assert list(run(executor, "run", ["e\u0301"])) == ["é"]


@ways
def test_a_thousand_steps_one_after_the_other_and_beside_each_other(way):
    """Adversarial: a deep chain, a thousand steps beside each other, and all of them into one."""
    deep, wide = made(), made()
    for number in range(1000):
        needs = [f"s{number - 1}"] if number else []
        deep.add_step(f"s{number}", lambda before=0: before + 1, needs)
        wide.add_step(f"s{number}", lambda number=number: number)
    wide.add_step("all", lambda *given: sum(given), [f"s{number}" for number in range(1000)])
    assert run(deep, way)["s999"].output == 1000
    assert run(wide, way)["all"].output == sum(range(1000))
    assert len(deep.visualize().splitlines()) == 2 + 2 * 1000


@ways
def test_a_failure_at_the_head_of_a_thousand_steps(way):
    """Adversarial: a failure that cascades; the times are in order all the way."""
    executor = made().add_step("s0", fails)
    for number in range(1, 1000):
        executor.add_step(f"s{number}", lambda _: 1, [f"s{number - 1}"], skip_on_error=number == 500)
    results = run(executor, way)
    assert results["s499"].error == "Dependency 's498' failed"
    assert results["s500"].error == "Skipped due to failed dependency 's499'"
    assert results["s999"].error == "Skipped due to skipped dependency 's998'"
    ended = [one.finished_at for one in results.values()]
    assert ended == sorted(ended)


def test_a_circle_of_a_thousand_steps_is_written_out():
    """Adversarial: a cycle too long for recursion."""
    executor = made()
    for number in range(1000):
        executor.add_step(f"s{number}", lambda _: 1, [f"s{(number - 1) % 1000}"])
    with pytest.raises(ValueError, match="s998 -> s999"):
        run(executor)


@ways
def test_no_steps_at_all(way):
    """Adversarial: 0 steps."""
    assert run(made(), way) == {}
    assert made().get_results() == {}


@ways
@pytest.mark.parametrize(
    "value",
    [ValueError("value"), math.nan, ..., None, NotImplemented, NoTruth(), Exception, threading.Lock()],
)
def test_values_of_odd_kinds_are_passed_on_as_they_are(way, value):
    """Adversarial: exceptions and others as values."""
    executor = made().add_step("a", lambda: value).add_step("b", lambda a: a, ["a"], retries=1)
    executor.add_step("c", lambda x: [x], ["b"])
    results = run(executor, way)
    assert results["a"].output is value
    assert results["b"].output is value
    assert results["c"].output[0] is value
    assert {one.status for one in results.values()} == {StepStatus.SUCCESS}


def test_generators_as_values_are_passed_on_unread():
    """Adversarial: generators as values."""
    executor = made().add_step("a", lambda: (n for n in "ab")).add_step("b", lambda a: [*a], ["a"])
    assert run(executor)["b"].output == ["a", "b"]


def test_a_step_that_swallows_its_cancellation_has_timed_out_all_the_same():
    """Adversarial: an async step that goes on after its timeout; a late result is none."""

    async def deaf():
        try:
            await forever()
        except asyncio.CancelledError:
            return "late"

    one = run(made().add_step("a", deaf, timeout=0.02))["a"]
    assert (one.status, one.output, one.error) == (StepStatus.FAILED, None, "Step timed out after 0.02s")
