"""Dialect B in use: what stages share, and how they are cancelled."""

import asyncio
import threading
from typing import Any

import pytest

from penstock.dialects.definitions import (
    ExecutionPattern,
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    RetryConfig,
    StageResult,
)

from .parts import BOUND, bounded
from .parts_definitions import (
    FAN_OUT,
    Raw,
    Stage,
    error_of,
    execute,
    same,
    stage,
)

BOTH = [ExecutionPattern.SEQUENTIAL, FAN_OUT]


# The context


def test_the_context_stands_alone():
    """Row: `get_state set_state add_metric increment_metric is_cancelled`."""
    context = PipelineContext("p", {"c": 1}, {"k": 1}, {"m": 1}, None, job_config="j")
    assert (context.provider, context.config, context.job_config) == ("p", {"c": 1}, "j")
    assert (context.get_state("k"), context.get_state("z"), context.get_state("z", 5)) == (1, None, 5)
    context.set_state("k", 2)
    context.add_metric("m", 3)
    context.increment_metric("m")
    context.increment_metric("m", 2.5)
    context.increment_metric("new")
    assert (context.state, context.metrics) == ({"k": 2}, {"m": 6.5, "new": 1})
    assert context.is_cancelled() is False
    assert PipelineContext().state == PipelineContext().metrics == {}
    assert PipelineContext().state is not PipelineContext().state


def test_services_and_the_attributes_of_a_session_reach_stages():
    """Row: services are attributes; `session=`, whose attributes are read through."""

    class Session:
        cache: Any = None

        def __init__(self):
            self.user = "u"

        @property
        def computed(self):
            return f"{self.user}!"

        def method(self, n):
            return n + 1

    session = Session()
    context = PipelineContext(session=session, job_config={"x": 1}, user="mine")

    def call(input, context):
        assert context.session is session
        return context.user, context.computed, context.method(1), context.cache, context.job_config["x"]

    assert execute(stage("a", call), context=context).outputs["a"] == ("mine", "u!", 2, None, 1)
    session.cache = "later"
    assert context.cache == "later"
    for stranger in (lambda i, c: c.job_confg, lambda i, c: c.nothing):
        error = error_of(execute(stage("a", stranger), context=context))
        assert error.startswith("AttributeError: the context has no")
    assert not hasattr(context, "nothing")


def test_a_context_of_a_class_of_ones_own_is_that_in_stages():
    """Row: `PipelineContext`, extended."""

    class Mine(PipelineContext):
        def both(self):
            return self.get_state("k"), self.provider

    context = Mine("p", state={"k": 1})
    result = execute(stage("a", lambda i, c: [c.set_state("k", 2), c.both()][1]), context=context)
    assert result.outputs["a"] == (2, "p")
    assert context.both() == (2, "p")


def test_what_a_stage_writes_is_seen_by_later_stages_and_not_by_those_beside_it():
    """Row: committed state and metrics are merged into the caller's context object."""
    state: dict[str, Any] = {"old": 1}
    context = PipelineContext(state=state)

    async def main():
        wrote, looked = asyncio.Event(), asyncio.Event()

        async def writes(input, context):
            context.set_state("new", 1)
            context.add_metric("ms", 5)
            assert (context.get_state("new"), context.metrics["ms"]) == (1, 5)
            wrote.set()
            await looked.wait()

        async def looks(input, context):
            await wrote.wait()
            seen = dict(context.state), dict(context.metrics)
            looked.set()
            return seen

        def after(input, context):
            return dict(context.state), dict(context.metrics)

        stages = [stage("a", writes), stage("b", looks), stage("c", after, "a", "b")]
        return await PipelineExecutor().execute(PipelineDefinition("p", stages), None, context)

    result = bounded(main())
    assert result.outputs["b"] == ({"old": 1}, {})
    assert result.outputs["c"] == ({"old": 1, "new": 1}, {"ms": 5})
    assert state is context.state
    assert (state, context.metrics) == ({"old": 1, "new": 1}, {"ms": 5})


@pytest.mark.parametrize(
    "ending", ["raises", "returns a failure", "times out", "is cancelled", "gives no result"]
)
def test_what_an_attempt_wrote_is_dropped_with_it(ending):
    """Row: committed only with the success, whatever else the end was; with retries too."""

    async def call(input, context):
        context.set_state("lost", 1)
        context.state["kept"] = "other"
        del context.state["also"]
        context.increment_metric("n")
        if ending == "returns a failure":
            return StageResult.failure("no")
        if ending == "gives no result":
            return 5
        if ending in ("times out", "is cancelled"):
            await asyncio.Event().wait()
        raise ValueError("no")

    def beside(input, context):
        if ending == "is cancelled":
            raise ValueError("stops the other one")

    context = PipelineContext(state={"kept": 1, "also": 2}, metrics={"n": 5})
    how: dict[str, Any] = {"timeout_ms": 20} if ending == "times out" else {}
    one = stage("a", Raw(call), retry_config=RetryConfig(2, 0), **how)
    assert not execute(one, stage("b", beside), context=context).success
    assert (context.state, context.metrics) == ({"kept": 1, "also": 2}, {"n": 5})


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("pattern", BOTH)
def test_increments_of_concurrent_stages_add_up(plain, pattern):
    """Row: increments of concurrent stages add up, in threads too."""
    gate = threading.Barrier(3)

    def count(input, context):
        for _ in range(100):
            context.increment_metric("n")
            context.increment_metric("half", 0.5)
        if plain and pattern is not FAN_OUT:
            gate.wait(BOUND)
        return StageResult.success(context.metrics["n"])

    context = PipelineContext(metrics={"n": 1000})
    stages = [stage(id, Raw(count) if plain else Stage(count), pattern=pattern) for id in "abc"]
    result = execute(*stages, input=[1, 2], context=context)
    times = 6 if pattern is FAN_OUT else 3
    assert result.success
    assert context.metrics == {"n": 1000 + 100 * times, "half": 50.0 * times}


def test_two_unordered_stages_that_write_one_key_are_a_warning():
    """Row: a key written by two unordered stages: a warning, for state and metrics; increments are none."""

    def writes(input, context):
        context.set_state("k", 1)
        context.add_metric("m", 1)
        context.increment_metric("n")

    def warnings(*stages):
        return execute(*stages, input=[1, 2]).metadata.get("warnings", [])

    found = warnings(stage("a", writes), stage("b", writes), stage("c", writes, "a", "b"))
    assert len(found) == 2
    assert all("'a' and 'b'" in one for one in found)
    assert [key in text for key, text in zip(("'k'", "'m'"), found, strict=True)] == [True, True]
    items = warnings(stage("a", writes, pattern=FAN_OUT))
    assert ["items of stage 'a'" in one for one in items] == [True, True]
    above = stage("a", writes), stage("b", same, "a"), stage("c", writes, "b")
    assert warnings(*above) == []
    fine = stage("x", lambda i, c: c.set_state("x", 1)), stage("y", lambda i, c: c.set_state("y", 1))
    assert warnings(*fine) == []


# Cancelling


class Attribute:
    is_cancelled = False

    def set(self):
        self.is_cancelled = True


class Method:
    def __init__(self):
        self.now = False

    def is_cancelled(self):
        return self.now

    def set(self):
        self.now = True


class Property(Method):
    @property
    def is_cancelled(self):
        return self.now


TOKENS = [threading.Event, asyncio.Event, Attribute, Method, Property]


@pytest.mark.parametrize("make", TOKENS)
@pytest.mark.parametrize("early", [True, False])
def test_every_kind_of_cancel_token_stops_the_pipeline(make, early):
    """Row: `cancel_token`; `is_cancelled` in a stage tells of it; nothing is raised."""
    told = []
    after = Stage(same)

    async def main():
        token = make()
        if early:
            token.set()

        async def waits(input, context):
            told.append(context.is_cancelled())
            token.set()
            told.append(context.is_cancelled())
            await asyncio.Event().wait()

        stages = [stage("a"), stage("b", waits, "a"), stage("c", after, "b")]
        context = PipelineContext(cancel_token=token)
        result = await PipelineExecutor().execute(PipelineDefinition("p", stages), 1, context)
        assert context.is_cancelled() is True
        return result

    result = bounded(main())
    assert (result.success, result.failed_stages, after.inputs) == (False, [], [])
    assert "cancel token" in result.metadata["reason"]
    assert (result.outputs, result.metadata["cancelled"]) == (({}, []) if early else ({"a": 1}, ["b"]))
    assert told == ([] if early else [False, True])


def test_a_token_set_from_outside_stops_a_pipeline_in_which_nothing_happens():
    """Row: `cancel_token`, of another thread, while a stage waits."""
    token, begun = threading.Event(), threading.Event()

    def sets():
        assert begun.wait(BOUND)
        token.set()

    async def waits(input, context):
        begun.set()
        await asyncio.Event().wait()

    thread = threading.Thread(target=sets)
    thread.start()
    result = execute(stage("a", waits), context=PipelineContext(cancel_token=token))
    thread.join(BOUND)
    assert result.metadata["cancelled"] == ["a"]


def test_a_plain_stage_is_told_that_it_should_end():
    """Row: `is_cancelled`, in a thread, when execute is cancelled by its caller."""
    begun, told = threading.Event(), threading.Event()

    def plain(input, context):
        begun.set()
        while not context.is_cancelled():
            told.wait(0.001)
        told.set()
        return StageResult.success(1)

    after = Stage(same)

    async def main():
        pipeline = PipelineDefinition("p", [stage("a", Raw(plain)), stage("b", after, "a")])
        running = asyncio.ensure_future(PipelineExecutor().execute(pipeline))
        assert await asyncio.to_thread(begun.wait, BOUND)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    bounded(main())
    assert told.wait(BOUND)
    assert after.inputs == []


def test_an_execute_that_is_cancelled_leaves_nothing_running():
    """B's execute cancelled by its caller: what runs is cancelled first, also with a cancel token watched."""
    ended = []

    async def main():
        begun = asyncio.Event()

        async def waits(input, context):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(input)

        token = threading.Event()
        pipeline = PipelineDefinition("p", [stage("a", waits, pattern=FAN_OUT)])
        executor, context = PipelineExecutor(), PipelineContext(cancel_token=token)
        running = asyncio.ensure_future(executor.execute(pipeline, [1, 2], context))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert sorted(ended) == [1, 2]
        for _ in range(10):  # what was cancelled may need a turn or two of the loop to be gone
            await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert {task.get_coro().__name__ for task in bounded(main())} <= {"main", "wait_for"}
