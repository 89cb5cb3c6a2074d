"""Hooks at a run's end: called in order with the result; whatever they do is a warning at most."""

# mypy: disable-error-code="no-untyped-call"

import _thread
import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from penstock.core.hooks import TIMEOUT, Hook, arun_hooks, run_hooks

VARIABLE = ContextVar("VARIABLE", default="unset")


def on_loop(hooks, result):
    return asyncio.run(arun_hooks(hooks, result))


def join(name):
    """Waits for the threads of hooks that were left behind."""
    for thread in threading.enumerate():
        if thread.name.startswith("penstock-hook") and name in thread.name:
            thread.join(30)


@pytest.fixture(params=[run_hooks, on_loop], ids=["run", "arun"])
def call(request):
    return request.param


def test_they_are_called_in_order_with_the_result(call):
    seen = []

    async def coroutine(result):
        await asyncio.sleep(0)
        seen.append(("async", result))

    hooks = [Hook(lambda result: seen.append(("first", result))), Hook(coroutine), Hook(seen.append)]
    assert call(hooks, "result") == []
    assert seen == [("first", "result"), ("async", "result"), "result"]
    assert call([], "result") == []


def test_each_has_a_daemon_thread_of_its_own_and_a_copy_of_the_context(call):
    seen = []

    def hook(result):
        seen.append((threading.current_thread(), VARIABLE.get()))
        VARIABLE.set("changed")

    token = VARIABLE.set("mine")
    assert call([Hook(hook), Hook(hook)], None) == []
    assert VARIABLE.get() == "mine"
    VARIABLE.reset(token)
    (one, first), (other, second) = seen
    assert one is not other
    assert one.daemon
    assert (first, second) == ("mine", "mine")
    assert one.name.startswith("penstock-hook-test_each")


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_s02_one_that_raises_is_a_warning_and_the_others_are_called(call, error):
    seen: list[Any] = []

    def raises(result):
        raise error

    class Callable:
        def __call__(self, result):
            raise error

    async def araises(result):
        raise error

    said = call([Hook(raises), Hook(Callable()), Hook(araises), Hook(seen.append)], 1)
    name = type(error).__name__
    assert [line.partition("<locals>.")[2] for line in said] == [
        f"{what} raised {f'{name}: {error}'.removesuffix(': ')}" for what in ("raises", "Callable", "araises")
    ]
    assert said[0].startswith("hook test_s02_")
    assert seen == [1]


def test_s29_one_that_raises_an_evil_exception_is_a_warning(call):
    class Evil(Exception):
        def __str__(self):
            raise ValueError

    def raises(result):
        raise Evil

    (said,) = call([Hook(raises)], None)
    assert said.endswith("raised Evil: <its text cannot be had: ValueError>")


def test_s03_one_that_blocks_is_left_behind_and_named(call):
    end = threading.Event()
    seen: list[Any] = []

    def blocks(result):
        assert end.wait(30)
        seen.append("late")

    assert Hook(blocks).timeout == TIMEOUT == 30.0
    said = call([Hook(blocks, 0.01), Hook(seen.append, float("inf"))], 1)
    (line,) = said
    assert line.partition("<locals>.")[2] == "blocks took more than 0.01 s and is left behind"
    assert seen == [1]
    end.set()
    join("blocks")
    assert seen == [1, "late"]


def test_a_loop_goes_on_while_a_hook_runs():
    async def main():
        go = threading.Event()
        hooks = asyncio.create_task(arun_hooks([Hook(lambda result: go.wait(30))], None))
        await asyncio.sleep(0)
        go.set()
        return await hooks

    assert asyncio.run(main()) == []


def test_a_hook_that_outlives_the_loop_harms_nobody():
    end = threading.Event()

    def blocks(result):
        assert end.wait(30)

    async def main():
        return await arun_hooks([Hook(blocks, 0.01)], None)

    (said,) = asyncio.run(main())
    assert "is left behind" in said
    end.set()
    join("blocks")


def test_l01_an_interrupt_leaves_the_hook_behind_and_calls_the_others():
    end = threading.Event()
    seen: list[Any] = []

    def blocks(result):
        _thread.interrupt_main()
        assert end.wait(30)

    said = run_hooks([Hook(blocks), Hook(seen.append)], 1)
    assert [line.partition("<locals>.")[2] for line in said] == ["blocks was interrupted and is left behind"]
    assert seen == [1]
    end.set()
    join("blocks")
