"""Dialect D, row by row: each test says which row of its contract it holds to."""

import asyncio
import threading
from datetime import UTC

import pytest

from penstock import GraphError, RunOptions
from penstock.dialects.steps import PipelineConfig, PipelineExecutor, StepConfig, StepStatus


def made(**config):
    return PipelineExecutor(PipelineConfig(**config))


def fails(*_):
    raise ValueError("boom")


async def forever():
    await asyncio.Event().wait()


def told(results):
    return {name: (str(one.status), one.error) for name, one in results.items()}


both = pytest.mark.parametrize("way", ["run", "run_sync", "run_sync in a loop"])


def run(executor, way, *args, **how):
    if way == "run":
        return asyncio.run(executor.run(*args, **how))
    if way == "run_sync":
        return executor.run_sync(*args, **how)

    async def inside():
        return executor.run_sync(*args, **how)

    return asyncio.run(inside())


# Results


@both
def test_a_result_has_the_times_and_the_output_of_its_step(way):
    """Row: `StepResult`; the times are timezone-aware and always set for an ended step."""
    executor = made()
    executor.add_step("a", lambda: 1)
    executor.add_step("b", fails, ["a"])
    executor.add_step("c", lambda b: 1, ["b"])
    results = run(executor, way)
    assert [one.output for one in results.values()] == [1, None, None]
    assert told(results) == {
        "a": ("success", None),
        "b": ("failed", "boom"),
        "c": ("failed", "Dependency 'b' failed"),
    }
    for name, one in results.items():
        assert one.step_name == name
        assert one.started_at.tzinfo is UTC
        assert one.started_at <= one.finished_at
        assert one.duration_ms == pytest.approx(
            (one.finished_at - one.started_at).total_seconds() * 1e3, abs=0.1
        )
    assert results["a"].finished_at <= results["b"].started_at <= results["c"].started_at
    assert "None" not in f"{results['c'].status} ({results['c'].duration_ms}ms)"


def test_the_statuses_are_those_of_the_document():
    """Row: `StepStatus`."""
    assert [one.name for one in StepStatus] == [
        "PENDING",
        "RUNNING",
        "SUCCESS",
        "FAILED",
        "SKIPPED",
        "RETRYING",
    ]
    assert f"{StepStatus.SUCCESS}" == "success"


def test_an_error_without_a_text_is_told_by_its_name():
    executor = made()

    @executor.step
    def a():
        raise KeyError

    assert executor.run_sync()["a"].error == "KeyError"


def test_results_of_a_run_that_goes_on_show_where_its_steps_stand():
    """Row: `StepStatus` PENDING RUNNING SUCCESS RETRYING; `get_results()`."""
    executor = made()
    seen = {}
    tries = []

    async def main():
        begun, go = asyncio.Event(), asyncio.Event()

        @executor.step
        async def a():
            return 1

        @executor.step(depends_on=["a"])
        async def b(a):
            begun.set()
            await go.wait()

        @executor.step(depends_on=["b"])
        async def c(b): ...

        @executor.step(retries=1, retry_delay=3600)
        async def d():
            tries.append(1)
            fails()

        running = asyncio.create_task(executor.run())
        await begun.wait()
        seen.update(executor.get_results())
        drawn = executor.visualize()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return drawn

    drawn = asyncio.run(main())
    assert {name: str(one.status) for name, one in seen.items()} == {
        "a": "success",
        "b": "running",
        "c": "pending",
        "d": "retrying",
    }
    assert all(one.started_at.tzinfo is UTC for one in seen.values())
    assert "  - b <- [a] [running]" in drawn
    after = told(executor.get_results())
    assert after["b"] == after["d"] == ("failed", "Step cancelled")
    assert after["c"] == ("skipped", "Skipped because the run was cancelled")


# Configuration


def test_the_defaults_are_those_of_the_contract():
    """Row: `PipelineConfig(name="pipeline", max_concurrent=5, stop_on_first_failure=False)`."""
    config = PipelineExecutor().config
    assert (config.name, config.max_concurrent, config.stop_on_first_failure, config.jitter) == (
        "pipeline", 5, False, "none",
    )  # fmt: skip
    step = StepConfig("a", forever)
    assert (step.depends_on, step.retries, step.retry_delay, step.timeout) == ((), 0, 1.0, None)
    assert (step.skip_on_error, step.on_failure) == (False, None)


@pytest.mark.parametrize(("bound", "options", "most"), [(2, None, 2), (5, RunOptions(max_concurrency=1), 1)])
def test_no_more_steps_run_at_a_time_than_max_concurrent(bound, options, most):
    """Row: `max_concurrent`; a run may have a bound of its own."""
    executor = made(max_concurrent=bound)
    now: list[int] = []
    seen: list[int] = []

    async def one():
        now.append(1)
        seen.append(len(now))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now.pop()

    for number in range(6):
        executor.add_step(f"s{number}", one)
    asyncio.run(executor.run(options=options))
    assert max(seen) == most


def test_observers_of_the_caller_are_told_too():
    """Row (head): each run call takes `options=`."""
    seen: list[object] = []
    executor = made().add_step("a", fails, on_failure=seen.append)
    executor.run_sync(options=RunOptions(observers=[seen.append]))
    assert {"ValueError", "NodeStarted", "NodeFailed"} <= {type(one).__name__ for one in seen}


def test_a_run_may_be_given_its_runner():
    """Row (head): each run call takes `runner=`."""
    executor = made().add_step("a", threading.current_thread)
    result = executor.run_sync(runner="inline")["a"]
    assert result.output is threading.current_thread()
    assert result.started_at <= result.finished_at


# Definition


def test_a_step_is_named_and_its_function_stays_what_it_is():
    """Row: `@executor.step` returns the function unchanged; `name` may be omitted."""
    executor = made()

    def one(): ...
    def two(): ...
    def three(): ...

    assert executor.step("first")(one) is one
    assert executor.step(two) is two
    assert executor.step(depends_on=["two"])(three) is three
    assert executor.add_step(func=one, depends_on=["three"]) is executor
    assert list(executor.run_sync()) == ["first", "two", "three", "one"]


def test_outputs_arrive_by_name_or_in_order():
    """Row: outputs arrive as parameters named like the steps, the rest in order."""
    executor = made()
    for name in "abc":
        executor.add_step(name, lambda name=name: name)
    deps = ["a", "b", "c"]
    executor.add_step("names", lambda c, a: a + c, deps)
    executor.add_step("order", lambda x, b, y: x + b + y, deps)
    executor.add_step("previous", lambda data: data, ["b"])
    executor.add_step("default", lambda a, more="-": a + more, ["a"])
    executor.add_step("rest", lambda b, *rest: [b, *rest], deps)
    executor.add_step("words", lambda b, **rest: [b, rest], deps)
    executor.add_step("only", lambda a, /, *, c: a + c, ["a", "c"])
    executor.add_step("self", lambda **call: call, ["a"])
    executor.add_step("none", lambda: 0, deps)
    executor.add_step("built in", max, deps)
    found = {name: one.output for name, one in executor.run_sync().items()}
    assert {name: found[name] for name in list(found)[3:]} == {
        "names": "ac",
        "order": "abc",
        "previous": "b",
        "default": "a-",
        "rest": ["b", "a", "c"],
        "words": ["b", {"a": "a", "c": "c"}],
        "only": "ac",
        "self": {"a": "a"},
        "none": 0,
        "built in": "c",
    }


def test_async_and_sync_functions_stand_side_by_side():
    """Row: sync functions are accepted and run in threads; sync where async is usual and the reverse."""
    executor = made()

    class Called:
        async def __call__(self, a):
            return a + 1

    executor.add_step("thread", threading.current_thread)
    executor.add_step("a", lambda: 1)
    executor.add_step("b", Called(), ["a"])
    results = asyncio.run(executor.run())
    assert results["thread"].output is not threading.current_thread()
    assert results["b"].output == 2


def test_a_function_that_returns_a_coroutine_fails_clearly():
    executor = made().add_step("a", lambda: forever())
    assert "did you forget await" in asyncio.run(executor.run())["a"].error


# Runs


def test_run_adds_the_dependencies_of_the_named_steps():
    """Row: `run(steps=None)` adds dependencies; an unknown name is a ValueError."""
    executor = made()
    executor.add_step("a", lambda: 1).add_step("b", lambda a: a, ["a"]).add_step("c", lambda: 3)
    assert list(executor.run_sync(["b"])) == ["a", "b"]
    assert executor.visualize().splitlines()[3:5] == ["  - a [success]", "  - c [pending]"]
    assert executor.run_sync([]) == {}
    with pytest.raises(ValueError, match="Pipeline 'pipeline' has no step 'z'"):
        executor.run_sync(["z"])
    with pytest.raises(TypeError, match=r"say steps=\['b'\]"):
        executor.run_sync("b")


@both
def test_a_pipeline_runs_again(way):
    executor = made().add_step("a", lambda: object())
    first, second = run(executor, way)["a"], run(executor, way)["a"]
    assert first.output is not second.output
    assert first.started_at < second.started_at


def test_a_second_run_at_the_same_time_is_refused():
    """Row: a second concurrent `run()`: RuntimeError."""
    executor = made()

    @executor.step
    async def a():
        for call in (executor.run_sync, executor.reset):
            with pytest.raises(RuntimeError, match="Pipeline is already running"):
                call()
        with pytest.raises(RuntimeError, match="Pipeline is already running"):
            await executor.run()
        return "refused"

    assert executor.run_sync()["a"].output == "refused"
    assert executor.run_sync()["a"].output == "refused"


def test_an_empty_pipeline_runs():
    assert made().run_sync() == {}
    assert made(name="p").visualize() == "Pipeline: p\n" + "=" * 40


def test_results_are_kept_until_reset():
    """Row: `get_results()`, `reset()`."""
    executor = made().add_step("a", lambda: 1)
    assert executor.get_results() == {}
    results = executor.run_sync()
    assert executor.get_results() == results
    executor.get_results().clear()
    assert executor.get_results() == results
    executor.reset()
    assert executor.get_results() == {}
    assert executor.visualize().endswith("  - a")


def test_visualize_has_the_form_of_the_document():
    """Row: `visualize()` exactly; after a run each line ends in its status."""
    executor = made(name="my-pipeline")
    for name, needs in {
        "extract": [],
        "config": [],
        "transform": ["extract", "config"],
        "load": ["transform"],
    }.items():
        executor.add_step(name, lambda *given: len(given), needs)
    plain = (
        "Pipeline: my-pipeline\n========================================\n"
        "Level 0:\n  - extract\n  - config\n"
        "Level 1:\n  - transform <- [extract, config]\n"
        "Level 2:\n  - load <- [transform]"
    )
    assert executor.visualize() == plain
    executor.run_sync()
    assert executor.visualize() == "\n".join(
        f"{line} [success]" if line.startswith("  -") else line for line in plain.splitlines()
    )


# Failures


@both
def test_failures_cascade_and_flags_skip(way):
    """Row: a failed dependency: FAILED, by flag SKIPPED, below SKIPPED always SKIPPED; the rest goes on."""
    executor = made()
    executor.add_step("a", fails)
    executor.add_step("b", lambda a: 1, ["a"])
    executor.add_step("c", lambda b: 1, ["b"])
    executor.add_step("d", lambda a: 1, ["a"], skip_on_error=True)
    executor.add_step("e", lambda d: 1, ["d"])
    executor.add_step("f", lambda d, a: 1, ["d", "a"])
    executor.add_step("other", lambda: 1)
    assert told(run(executor, way)) == {
        "a": ("failed", "boom"),
        "b": ("failed", "Dependency 'a' failed"),
        "c": ("failed", "Dependency 'b' failed"),
        "d": ("skipped", "Skipped due to failed dependency 'a'"),
        "e": ("skipped", "Skipped due to skipped dependency 'd'"),
        "f": ("failed", "Dependency 'a' failed"),
        "other": ("success", None),
    }


@both
def test_a_timeout_is_per_attempt_and_retried(way):
    """Row: timeout text, retries used."""
    executor = made()
    executor.add_step("a", forever, timeout=0.02, retries=1, retry_delay=0.0)
    result = run(executor, way)["a"]
    assert (str(result.status), result.error, result.retries) == ("failed", "Step timed out after 0.02s", 1)
    assert result.duration_ms >= 40


@both
@pytest.mark.parametrize("plain", [True, False])
def test_retries_are_extra_calls(way, plain):
    """Row: `retries` of the result is the number of retries used."""
    executor = made()
    calls = []

    def flaky():
        calls.append(1)
        if len(calls) < 3:
            fails()
        return len(calls)

    async def flaky_async():
        return flaky()

    executor.add_step("a", flaky if plain else flaky_async, retries=5, retry_delay=0.0)
    result = run(executor, way)["a"]
    assert (result.output, result.retries, len(calls)) == (3, 2, 3)
    calls.clear()
    executor = made().add_step("a", fails, retries=2, retry_delay=0.0, on_failure=calls.append)
    assert run(executor, way)["a"].retries == 2
    assert len(calls) == 3


def test_waits_double_without_a_cap_and_without_jitter():
    """Row (head): waits of `retry_delay` · 2ⁿ, exactly."""
    policy = made().add_step("a", fails, retries=20, retry_delay=2.0).graph().nodes[0].retry
    assert [policy.get_delay(n) for n in (1, 2, 3, 20)] == [2.0, 4.0, 8.0, 2.0 * 2**19]
    assert (policy.max_attempts, policy.jitter) == (21, "none")
    assert made(jitter="full").add_step("a", fails, retries=1).graph().nodes[0].retry.jitter == "full"


@both
@pytest.mark.parametrize("later", [False, True])
def test_on_failure_is_told_of_each_failing_attempt(way, later):
    """Row: `on_failure(exc)`, sync or async, after each failing attempt; timeouts too."""
    heard = []

    def plain(error):
        heard.append(error)

    async def slow(error):
        await asyncio.sleep(0)
        heard.append(error)

    executor = made()
    hook = slow if later else plain
    executor.add_step("a", fails, retries=1, retry_delay=0.0, on_failure=hook)
    executor.add_step("b", forever, timeout=0.02, on_failure=hook)
    executor.add_step("c", lambda a: 1, ["a"], on_failure=hook)
    results = run(executor, way)
    assert sorted(map(repr, heard)) == [
        "TimeoutError('Step timed out after 0.02s')",
        "ValueError('boom')",
        "ValueError('boom')",
    ]
    assert results["a"].retries == 1


def test_the_next_attempt_waits_for_an_async_on_failure():
    order = []

    async def mend(error):
        await asyncio.sleep(0.01)
        order.append("mended")

    async def broken():
        order.append("called")
        fails()

    made().add_step("a", broken, retries=1, retry_delay=0.0, on_failure=mend).run_sync()
    assert order == ["called", "mended", "called", "mended"]


@pytest.mark.parametrize("later", [False, True])
def test_an_on_failure_that_raises_changes_nothing(caplog, later):
    """Bad input: a hook that raises is logged."""

    def plain(error):
        raise RuntimeError("hook")

    async def slow(error):
        raise RuntimeError("hook")

    executor = made().add_step("a", fails, retries=1, retry_delay=0.0, on_failure=slow if later else plain)
    assert told(executor.run_sync()) == {"a": ("failed", "boom")}
    assert [record.message for record in caplog.records] == ["on_failure of step 'a' raised"] * 2


@both
def test_the_first_failure_stops_the_run_if_asked(way):
    """Row: `stop_on_first_failure`: running siblings are cancelled, the others SKIPPED with the reason."""
    executor = made(stop_on_first_failure=True)
    begun = threading.Event()

    @executor.step
    async def busy():
        begun.set()
        await forever()

    @executor.step
    def bad():
        assert begun.wait(30)
        fails()

    executor.add_step("below", lambda bad: 1, ["bad"])
    executor.add_step("flagged", lambda bad: 1, ["bad"], skip_on_error=True)
    executor.add_step("next", lambda busy: 1, ["busy"])
    assert told(run(executor, way, options=RunOptions(deadline=30))) == {
        "busy": ("failed", "Step cancelled"),
        "bad": ("failed", "boom"),
        "below": ("failed", "Dependency 'bad' failed"),
        "flagged": ("skipped", "Skipped due to failed dependency 'bad'"),
        "next": ("skipped", "Skipped because the run stopped: bad failed"),
    }


# Bad input


def test_an_unknown_dependency_is_named_and_nothing_starts():
    """Row: graph errors are ValueErrors."""
    ran = []
    executor = made().add_step("load", lambda: ran.append(1)).add_step("a", lambda x: 1, ["laod"])
    for call in (executor.run_sync, executor.visualize, executor.graph):
        with pytest.raises(ValueError, match=r"^Step 'a' depends on unknown step 'laod'.*'load'"):
            call()
    with pytest.raises(ValueError, match="unknown step"):
        asyncio.run(executor.run())
    executor.add_step("laod", lambda: 1)
    assert executor.run_sync()["a"].output == 1
    assert ran == [1]


def test_a_cycle_is_written_out():
    executor = made().add_step("a", lambda b: 1, ["b"]).add_step("b", lambda a: 1, ["a"])
    with pytest.raises(GraphError, match=r"a -> b -> a|b -> a -> b"):
        executor.run_sync()


def test_the_same_name_twice_is_refused():
    """Row: same name twice: ValueError."""
    executor = made().add_step("a", lambda: 1)
    with pytest.raises(ValueError, match="Step 'a' already exists"):
        executor.add_step("a", lambda: 2)
    assert executor.run_sync()["a"].output == 1


def yields():
    yield 1


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"func": 3}, "func is a function, not 3"),
        ({"func": yields}, "this function yields"),
        ({"depends_on": "load"}, r"say depends_on=\['load'\]"),
        ({"depends_on": 3}, "list of step names, not 3"),
        ({"depends_on": [yields]}, "is none"),
        ({"retries": -1}, "retries counts the extra calls"),
        ({"retries": 1.5}, "retries counts the extra calls"),
        ({"retry_delay": -1}, "retry_delay must be"),
        ({"timeout": 0}, "timeout must be more than 0 s"),
        ({"timeout": "30"}, "timeout must be"),
        ({"skip_on_error": "yes"}, "skip_on_error is True or False"),
        ({"on_failure": 3}, "on_failure takes a function"),
        ({"retrys": 3}, "no option 'retrys'.*'retries'"),
        ({"name": ""}, "name of a step is empty"),
        ({"name": 3}, "name of a step must be a str"),
        ({"func": lambda x: x}, "takes 'x', and none of its dependencies is left"),
    ],
)
def test_a_bad_step_is_refused_at_once(bad, text):
    """Bad input: wrong types of arguments, a step without a name."""
    with pytest.raises((TypeError, ValueError), match=text):
        made().add_step(**{"name": "a", "func": lambda: 1, **bad})


def test_a_step_without_a_name_or_function_is_refused():
    from functools import partial

    with pytest.raises(TypeError, match="takes a name and a function"):
        made().add_step(func=partial(fails))
    with pytest.raises(TypeError, match="takes a name and a function"):
        made().add_step("a")
    given = forever()
    with pytest.raises(TypeError, match="func is a function, not <coroutine"):
        made().add_step("a", given)
    given.close()


@pytest.mark.parametrize(
    "bad", [{"max_concurrent": 0}, {"stop_on_first_failure": 1}, {"jitter": "some"}, {"name": ""}]
)
def test_a_bad_configuration_is_refused(bad):
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        PipelineConfig(**bad)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="takes a PipelineConfig"):
        PipelineExecutor("etl")  # type: ignore[arg-type]
    executor = made().add_step("a", lambda: 1)
    with pytest.raises(ValueError, match="options takes RunOptions"):
        executor.run_sync(options={})
    with pytest.raises(ValueError, match="there is no runner"):
        executor.run_sync(runner="thread")
    assert executor.run_sync()["a"].output == 1
