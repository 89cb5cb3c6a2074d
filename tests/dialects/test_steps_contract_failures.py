"""Dialect D, row by row: graph errors, failures, and what is shown of a run."""

import asyncio
import re
import threading
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.steps import PipelineConfig, StepConfig, StepStatus

from .parts import BOUND, bounded
from .parts_steps import fails, forever, made, run, told, ways

# Graphs


@ways
def test_graph_errors_are_value_errors_and_nothing_starts(way):
    """Row: graph errors: ValueError `Step 'a' depends on unknown step 'z'`; a cycle is written out."""
    ran: list[Any] = []
    executor = made().add_step("first", lambda: ran.append(1)).add_step("a", lambda z: z, ["z"])
    with pytest.raises(ValueError, match=r"^Step 'a' depends on unknown step 'z'"):
        run(executor, way)
    with pytest.raises(ValueError, match="unknown step 'z'"):
        run(executor, way, ["first"])
    executor = made().add_step("first", lambda: ran.append(1))
    executor.add_step("a", lambda x: x, ["c"]).add_step("b", lambda x: x, ["a"])
    executor.add_step("c", lambda x: x, ["b"])
    with pytest.raises(ValueError, match=r"a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c"):
        run(executor, way)
    itself = made().add_step("a", lambda a: a, ["a"])
    with pytest.raises(ValueError, match=r"'a'.* itself|a -> a"):
        run(itself, way)
    assert ran == []
    assert executor.get_results() == {}


# Failures


@ways
def test_what_becomes_of_dependants(way):
    """Row: failed dependency: FAILED, cascading; with `skip_on_error` SKIPPED; below SKIPPED: SKIPPED."""
    executor, ran = made(), []

    def never(*_):
        ran.append(1)

    executor.add_step("ok", lambda: 1).add_step("bad", fails).add_step("bad too", fails)
    executor.add_step("first named", never, ["ok", "bad too", "bad"])
    executor.add_step("flag", never, ["ok", "bad"], skip_on_error=True)
    executor.add_step("below flag", never, ["ok", "flag"])
    executor.add_step("below flag by flag", never, ["flag"], skip_on_error=True)
    executor.add_step("below below", never, ["below flag"])
    executor.add_step("failed and skipped", never, ["flag", "bad"])
    executor.add_step("deep", never, ["first named"])
    executor.add_step("deep by flag", never, ["deep"], skip_on_error=True)
    results = run(executor, way)
    assert told(results) == {
        "ok": ("success", None),
        "bad": ("failed", "boom"),
        "bad too": ("failed", "boom"),
        "first named": ("failed", "Dependency 'bad too' failed"),
        "flag": ("skipped", "Skipped due to failed dependency 'bad'"),
        "below flag": ("skipped", "Skipped due to skipped dependency 'flag'"),
        "below flag by flag": ("skipped", "Skipped due to skipped dependency 'flag'"),
        "below below": ("skipped", "Skipped due to skipped dependency 'below flag'"),
        "failed and skipped": ("failed", "Dependency 'bad' failed"),
        "deep": ("failed", "Dependency 'first named' failed"),
        "deep by flag": ("skipped", "Skipped due to failed dependency 'deep'"),
    }
    assert ran == []
    assert {one.retries for one in results.values()} == {0}
    assert {one.output for name, one in results.items() if name != "ok"} == {None}


@ways
@pytest.mark.parametrize("plain", [True, False])
def test_on_failure_is_given_the_exception_itself(way, plain):
    """Row: `on_failure(exc)` (sync or async) after each failing attempt, before the next one."""
    executor = made()
    order: list[Any] = []

    def attempt():
        order.append(ValueError(len(order)))
        raise order[-1]

    async def attempt_async():
        attempt()

    async def hook_async(error):
        order.append(error)

    hook: Any = order.append if plain else hook_async
    executor.add_step("a", attempt if plain else attempt_async, retries=2, retry_delay=0.0, on_failure=hook)
    assert run(executor, way)["a"].error == "4"
    assert len(order) == 6
    assert all(order[at] is order[at + 1] for at in (0, 2, 4))


def test_on_failure_is_not_called_for_steps_that_never_ran_or_were_cancelled():
    """Row: `on_failure(exc)` after each failing attempt; a dependency that failed is none of theirs."""
    executor = made(stop_on_first_failure=True)
    heard: list[Any] = []
    begun = threading.Event()

    async def busy():
        begun.set()
        await forever()

    def bad():
        assert begun.wait(BOUND)
        fails()

    executor.add_step("busy", busy, on_failure=heard.append)
    executor.add_step("bad", bad)
    executor.add_step("below", lambda bad: 1, ["bad"], on_failure=heard.append)
    executor.add_step("good", lambda: 1, on_failure=heard.append)
    run(executor)
    assert heard == []


@ways
def test_a_step_that_never_ran_has_the_time_at_which_that_was_decided(way):
    """Row: the times are always set for an ended step; what goes on elsewhere does not move them."""
    executor = made()

    @executor.step
    async def slow():
        while executor.get_results()["below"].status is not StepStatus.FAILED:
            await asyncio.sleep(0)
        return "slow"

    executor.add_step("bad", fails)
    executor.add_step("below", lambda bad: 1, ["bad"])
    executor.add_step("flagged", lambda bad: 1, ["bad"], skip_on_error=True)
    results = run(executor, way)
    assert results["slow"].output == "slow"
    for name in ("below", "flagged"):
        assert results["bad"].finished_at <= results[name].started_at <= results[name].finished_at
        assert results[name].finished_at <= results["slow"].finished_at


# What is shown


def test_visualize_shows_every_end_and_what_did_not_run():
    """Row: `visualize()`; after a run each line ends in ` [status]`; `reset()` takes that away."""
    executor = made(name="p")
    executor.add_step("a", lambda: 1).add_step("bad", fails)
    executor.add_step("b", lambda a, bad: 1, ["a", "bad"])
    executor.add_step("c", lambda a: 1, ["bad"], skip_on_error=True)
    executor.add_step("left", lambda: 1)
    plain = executor.visualize()
    run(executor, "run", ["b", "c"])
    assert executor.visualize() == (
        "Pipeline: p\n========================================\n"
        "Level 0:\n  - a [success]\n  - bad [failed]\n  - left [pending]\n"
        "Level 1:\n  - b <- [a, bad] [failed]\n  - c <- [bad] [skipped]"
    )
    executor.reset()
    assert executor.visualize() == plain
    assert re.findall(r"\[\w+\]$", plain, re.M) == ["[bad]"]


def test_results_are_the_callers_own_and_of_the_last_run():
    """Row: `get_results()`, `reset()`; the steps stay."""
    executor, number = made(), iter(range(10))
    executor.add_step("a", lambda: next(number))
    first = run(executor)
    assert executor.get_results() == first
    assert executor.get_results() is not first
    second = executor.run_sync()
    assert (first["a"].output, second["a"].output) == (0, 1)
    assert executor.get_results()["a"].output == 1
    executor.reset()
    executor.reset()
    assert executor.get_results() == {}
    assert run(executor)["a"].output == 2


def test_a_configuration_takes_its_fields_in_this_order():
    """Row: `PipelineConfig(name="pipeline", max_concurrent=5, stop_on_first_failure=False)`."""
    assert PipelineConfig("p", 3, True) == PipelineConfig(
        name="p", max_concurrent=3, stop_on_first_failure=True
    )
    assert PipelineConfig() == PipelineConfig("pipeline", 5, False)
    with pytest.raises(AttributeError):
        PipelineConfig().name = "q"  # type: ignore[misc]
    step = StepConfig("a", fails, ("b",), 1, 2.0, 3.0, True, print)
    assert (step.name, step.func, step.depends_on, step.retries, step.retry_delay) == (
        "a", fails, ("b",), 1, 2.0,
    )  # fmt: skip
    assert (step.timeout, step.skip_on_error, step.on_failure) == (3.0, True, print)


@pytest.mark.parametrize("bound", [1, 3, 5])
def test_max_concurrent_is_kept_and_used(bound):
    """Row: `max_concurrent`: no more and no fewer steps at a time; options may say otherwise."""

    async def main(executor, size, **how):
        here, now, most = asyncio.Event(), [], [0]

        async def one():
            now.append(1)
            most[0] = max(most[0], len(now))
            if len(now) == size:
                here.set()
            await here.wait()
            now.pop()

        for number in range(3 * size):
            executor.add_step(f"s{number}", one)
        await executor.run(**how)
        return most[0]

    assert bounded(main(made(max_concurrent=bound), bound)) == bound
    assert bounded(main(made(max_concurrent=bound), 2, options=RunOptions(max_concurrency=2))) == 2
    assert bounded(main(made(max_concurrent=None), 50)) >= 50
