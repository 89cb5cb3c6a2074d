"""Other interpreters: Ctrl-C, and ends that nothing may hold up."""

from __future__ import annotations

import pytest

from tests.engine.tools import SAFETY, other

HEAD = """
import asyncio, sys, threading, time
from penstock.core.model import RunOptions
from penstock.flow import Context, Flow, outcome

never = threading.Event()
flow = Flow("flow")

def ready():
    # Once the main thread sleeps: a signal that comes just before that may be seen later only.
    main, still, before = threading.main_thread().ident, 0, None
    while still < 20 and threading.current_thread() is not threading.main_thread():
        frame = sys._current_frames()[main]
        at = (id(frame), frame.f_lasti)
        still, before = still + 1 if at == before else 0, at
        never.wait(0.001)
    print("ready", flush=True)

def told(event):
    if type(event).__name__ in ("CancelAsked", "NodeCancelled", "NodeSucceeded", "RunFinished"):
        print(type(event).__name__, getattr(event, "path", ""), flush=True)

def end(result):
    print("status", result.status.value, *sorted(f"{n.path}={n.status.value}" for n in result.nodes.values()))
    print("left", len(result.abandoned), flush=True)

options = RunOptions(grace=GRACE, observers=[told])
"""

LONE = """
@flow.step
def a():
    ready()
    while True:
        time.sleep(0.01)
"""

INLINE = """
@flow.step(runner="inline")
def a():
    ready()
    while True:
        time.sleep(0.01)

@flow.step(runner="inline", after=[a])
def b():
    print("b ran")

@flow.step(runner="inline")
def z():
    pass
"""

THREADS = """
@flow.step(runner="threads")
def a(ctx: Context):
    ready()
    while not ctx.cancelled:
        never.wait(0.01)

@flow.step(after=[a])
def b():
    print("b ran")

@flow.step(runner="threads")
def c():
    pass
"""

DEAF_THREADS = THREADS.replace("while not ctx.cancelled", "while True")

ASYNC = """
@flow.step
async def a():
    ready()
    try:
        await asyncio.sleep(1000)
    finally:
        print("cleaned", flush=True)
"""

DEAF_ASYNC = """
@flow.step
async def a():
    ready()
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            print("no", flush=True)
"""

WHEN = """
def ask():
    ready()
    while True:
        time.sleep(0.01)

@flow.step(when=ask)
def a():
    pass
"""

RUN = """
end(flow.run(options=options))
"""


def script(*parts: str, grace: float = SAFETY) -> str:
    return "\n".join((HEAD.replace("GRACE", repr(grace)), *parts))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (LONE, "status cancelled a=cancelled"),
        pytest.param(
            INLINE,
            "status cancelled a=cancelled b=skipped z=",
        ),
        (THREADS, "status cancelled a=succeeded b=skipped c=succeeded"),
        (ASYNC, "status cancelled a=cancelled"),
    ],
    ids=["lone", "inline", "threads", "async"],
)
def test_s09_ctrl_c_once_ends_the_run_in_order(steps, expected):
    with other(script(steps, RUN)) as python:
        python.until("ready")
        python.interrupt()
        code, said = python.end()
    assert code == 0, python.errors
    assert said[-1] == "left 0"
    assert said[-2].startswith(expected)
    assert "CancelAsked " in said
    assert "b ran" not in said
    assert python.errors == ""


@pytest.mark.parametrize(
    ("steps", "told"), [(DEAF_THREADS, "CancelAsked "), (DEAF_ASYNC, "no")], ids=["threads", "async"]
)
def test_s09_ctrl_c_twice_gives_up_what_does_not_end(steps, told):
    """The grace is long: only the second interrupt ends the run."""
    with other(script(steps, RUN, grace=3600.0)) as python:
        python.until("ready")
        python.interrupt()
        python.until(told)
        python.interrupt()
        code, said = python.end()
    assert code == 0, python.errors
    assert said[-2].startswith("status cancelled a=cancelled")
    # A coroutine that holds the loop in that very moment is ended by the interrupt itself.
    assert said[-1] == "left 1" or (steps is DEAF_ASYNC and said[-1] == "left 0")


def test_s13_an_abandoned_task_says_nothing_when_the_interpreter_ends():
    with other(script(DEAF_ASYNC, RUN, grace=0.02)) as python:
        python.until("ready")
        python.interrupt()
        code, _ = python.end()
    assert (code, python.errors) == (0, "")


@pytest.mark.parametrize("steps", [DEAF_THREADS, DEAF_ASYNC], ids=["threads", "async"])
def test_s09_after_the_grace_it_is_given_up_without_a_second_one(steps):
    with other(script(steps, RUN, grace=0.05)) as python:
        python.until("ready")
        python.interrupt()
        code, said = python.end()
    assert (code, said[-1]) == (0, "left 1"), python.errors


def test_s09_ctrl_c_ends_a_condition_in_the_callers_thread():
    with other(script(WHEN, RUN)) as python:
        python.until("ready")
        python.interrupt()
        code, said = python.end()
    assert code == 0, python.errors
    assert said[-2].startswith("status cancelled a=")


def test_s09_ctrl_c_before_and_after_a_run_is_pythons_own():
    after = "print('ready', flush=True)\nwhile True: time.sleep(0.01)\n"
    with other(script("@flow.step\ndef a(): pass\n", RUN, after)) as python:
        python.until("ready")
        python.interrupt()
        code, _ = python.end()
    assert code != 0
    assert "KeyboardInterrupt" in python.errors


@pytest.mark.parametrize("steps", [THREADS, ASYNC], ids=["threads", "async"])
def test_s09_ctrl_c_that_another_thread_receives(steps):
    """The main thread sleeps on: it sees what came only when it wakes."""
    elsewhere = """
import signal

@flow.step(runner="threads")
def d():
    ready()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
"""
    if steps is THREADS:
        steps = steps.replace("    ready()\n", "")
    with other(script(steps, elsewhere, RUN)) as python:
        code, said = python.end()
    assert code == 0, python.errors
    assert "status cancelled a=" in said[-2]


def test_s09_somebody_elses_handler_is_left_alone():
    own = """
import signal
signal.signal(signal.SIGINT, lambda *_: (print("mine", flush=True), never.set()))

@flow.step(runner="threads")
def a():
    ready()
    assert never.wait(60)

@flow.step(runner="threads")
def b(): pass
"""
    with other(script(own, RUN)) as python:
        python.until("ready")
        python.interrupt()
        code, said = python.end()
    assert code == 0, python.errors
    assert "mine" in said
    assert said[-2] == "status succeeded a=succeeded b=succeeded"


def test_s09_inside_a_running_loop_ctrl_c_cancels_the_run_too():
    code_text = """
async def main():
    end(flow.run(options=options))

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
    with other(script(THREADS, code_text)) as python:
        python.until("ready")
        python.interrupt()
        code, said = python.end()
    assert any(line.startswith("status cancelled") for line in said), (code, python.errors)


@pytest.mark.parametrize("call", ["flow.run(options=options)", "asyncio.run(flow.arun(options=options))"])
def test_s10_a_thread_that_never_returns_does_not_hold_up_the_interpreter(call):
    hangs = """
@flow.step(runner="threads", timeout=0.02)
def a():
    threading.Event().wait()
"""
    with other(script(hangs, f"end({call})\nprint('over', flush=True)\n")) as python:
        python.until("over")
        code, _ = python.end()
    assert code == 0, python.errors


def test_s10_nor_one_that_outlives_a_cancel():
    hangs = """
@flow.step(runner="threads")
def a():
    ready()
    threading.Event().wait()

handle = flow.start(options=options)
while handle.done is False and sys.stdin.readline():
    handle.cancel()
    break
end(handle.result(60))
"""
    with other(script(hangs, grace=0.02)) as python:
        python.until("ready")
        assert python._process.stdin is not None
        python._process.stdin.write("cancel\n")
        python._process.stdin.flush()
        code, said = python.end()
    assert (code, said[-1]) == (0, "left 1"), python.errors
