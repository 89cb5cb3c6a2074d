"""`failure_of`: whatever the exception does, and none of our frames."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from penstock.core.errors import RetryAfter
from penstock.core.failures import failure_of
from penstock.core.returned import refuse_awaitable
from penstock.flow import Flow
from tests.runners import steps


def caught(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize(
    "function",
    [steps.raise_odd, steps.raise_mute, steps.raise_stuck, steps.raise_base, steps.raise_rude,
     steps.raise_lying, steps.raise_group, steps.raise_huge],
)  # fmt: skip
def test_s29_it_never_raises(function):
    error = caught(function)
    failure = failure_of(error, (Exception,))
    assert failure.type == type(error).__qualname__
    assert function.__name__ in failure.trace
    assert len(failure.text) <= 20_001
    assert len(failure.trace) <= 20_001


class TwoFaced(Exception):
    """Says something else each time, and in the end nothing."""

    said = 0

    def __str__(self) -> str:
        self.said += 1
        if self.said > 1:
            raise SystemExit("enough")
        return "once"


def test_s29_a_text_that_is_there_once():
    failure = failure_of(TwoFaced())
    assert failure.text == "once"


class Chained(Exception):
    pass


def test_a_cause_is_shown_and_a_circle_of_causes_ends():
    one, two = Chained("one"), Chained("two")
    one.__cause__, two.__cause__ = two, one
    failure = failure_of(one)
    assert "two" in failure.trace
    assert "direct cause" in failure.trace


@pytest.mark.parametrize("runner", ["threads", "inline", "aio"])
def test_none_of_our_frames_is_in_the_trace(runner):
    def deep():
        raise LookupError("deep")

    async def later():
        deep()

    flow = Flow("flow")
    flow.add(later if runner == "aio" else lambda: deep(), name="a", runner=runner)
    failure = flow.run().nodes["a"].failure
    assert failure is not None
    files = [line for line in failure.trace.splitlines() if line.startswith("  File")]
    assert len(files) == 2
    assert all(__file__ in line for line in files)


@pytest.mark.parametrize(("seconds", "kept"), [(0, 0.0), (5, 5.0), (1e9, 1e9)])
def test_retry_after_is_kept_in_seconds(seconds, kept):
    failure = failure_of(RetryAfter(seconds), ())
    assert (failure.retry_after, failure.retryable) == (kept, True)


class Bare(RetryAfter):
    def __init__(self) -> None:
        Exception.__init__(self, "did not call ours")


class Wordy(RetryAfter):
    def __init__(self) -> None:
        Exception.__init__(self)
        self.seconds = "soon"  # type: ignore[assignment]


@pytest.mark.parametrize("error", [Bare, Wordy])
def test_retry_after_without_seconds_is_at_once(error):
    assert failure_of(error()).retry_after == 0.0


def test_d16_what_should_have_been_awaited_is_closed():
    async def later() -> None:
        raise AssertionError("never runs")

    coroutine = later()
    with pytest.raises(TypeError, match="did you forget await"):
        refuse_awaitable(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
