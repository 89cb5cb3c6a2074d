"""Ctrl-C while user code runs that is no step: what closes resources, conditions, keys; and beside a loop."""

from __future__ import annotations

import pytest

from tests.engine.tools import SAFETY, Other, other

HEAD = """
import asyncio, atexit, os, signal, threading
from collections.abc import AsyncIterator, Iterator
from penstock.core.engine import Engine
from penstock.core.model import RunOptions
from penstock.flow import Context, Flow, each, outcome

never = threading.Event()
flow = Flow("flow")
options = RunOptions(grace=GRACE)

def say(text):  # a signal handler says something too, and print is not for that
    os.write(1, (text + "\\n").encode())

atexit.register(say, "over")

def hang():
    say("ready")
    while True:
        never.wait(0.01)

def cancel(engine, reason="", do=Engine.cancel):
    do(engine, reason)  # first: the next interrupt may come as soon as it is told
    say("cancel")

def hurry(engine, do=Engine.hurry):
    say("hurry")  # first: what it brings about may be said by another thread
    do(engine)

Engine.cancel, Engine.hurry = cancel, hurry

def end(result):
    say("status " + " ".join([result.status.value, *sorted(statuses(result))]))
    for warning in result.warnings:
        say("warning " + warning)
    return result

def statuses(result):
    return [f"{node.path}={node.status.value}" for node in result.nodes.values()]

async def main():
    asyncio.get_running_loop().slow_callback_duration = 1000.0  # in debug mode it would say that it waits
    end(flow.run(options=options))
    await asyncio.sleep(0)
    say("went on")
"""

DB = """
@flow.resource
def outer() -> Iterator[str]:
    yield "outer"
    say("outer closed")

@flow.resource
def db(outer: str) -> Iterator[str]:
    yield "db"
    hang()
"""

ASYNC_DB = """
@flow.resource
async def outer() -> AsyncIterator[str]:
    yield "outer"
    say("outer closed")

@flow.resource
async def db(outer: str) -> AsyncIterator[str]:
    yield "db"
    say("ready")
    await asyncio.sleep(1000)
"""

LONE = "@flow.step\ndef a(db: str): pass\n"
THREAD = "@flow.step(runner='threads')\ndef a(db: str): pass\n"
TASK = "@flow.step\nasync def a(db: str): pass\n"

RUN = "end(flow.run(options=options))\n"
ASYNCIO_RUN = "asyncio.run(main())\n"
NEW_LOOP = "loop = asyncio.new_event_loop()\nloop.run_until_complete(main())\nloop.close()\n"

LEFT = "warning resource 'db' was interrupted while it closed, and is left behind"


def script(*parts: str, grace: float = SAFETY) -> str:
    return "\n".join((HEAD.replace("GRACE", repr(grace)), *parts))


def interrupt(python: Other, times: int = 1) -> None:
    """Interrupts it when it is ready, each time after it has taken notice of the last one."""
    python.until("ready")
    for name in ["cancel", "hurry", "hurry"][:times]:
        python.interrupt()
        python.until(name)


def rest(python: Other) -> list[str]:
    """What it still says."""
    return list(iter(python.line, "over"))


def ended(code: str, times: int = 1) -> list[str]:
    """What a script says after it was interrupted that many times; it ends in order."""
    with other(code) as python:
        interrupt(python, times)
        said = rest(python)
        status, _ = python.end()
    assert (status, python.errors) == (0, "")
    return said


# --- resources --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [LONE, TASK], ids=["lone", "task"])
def test_s09_ctrl_c_breaks_off_what_closes_in_the_callers_thread(step):
    assert ended(script(DB, step, RUN)) == ["outer closed", "status succeeded a=succeeded", LEFT]


@pytest.mark.parametrize(
    ("db", "step", "run"),
    [(DB, THREAD, RUN), (ASYNC_DB, TASK, RUN), (DB, LONE, ASYNCIO_RUN), (ASYNC_DB, TASK, NEW_LOOP)],
    ids=["thread", "async", "beside a loop", "async, beside a loop"],
)
def test_s09_ctrl_c_twice_leaves_behind_what_closes_elsewhere(db, step, run):
    said = ended(script(db, step, run), times=2)
    assert said[:3] == ["outer closed", "status succeeded a=succeeded", LEFT]


def test_s09_of_two_that_hang_the_second_is_waited_for_a_moment_only():
    """It is closed after the run was hurried, and nobody interrupts again."""
    code = DB.replace('    say("outer closed")', '    say("outer closes")\n    never.wait(1000)')
    said = ended(script(code, THREAD, RUN), times=2)
    late = "warning resource 'outer' did not close within 1 s and is left behind"
    assert said == ["outer closes", "status succeeded a=succeeded", LEFT, late]


@pytest.mark.parametrize(
    ("step", "times"), [(LONE, 1), (THREAD, 2), (TASK, 2)], ids=["lone", "thread", "task"]
)
def test_s09_ctrl_c_ends_a_run_whose_resource_does_not_open(step, times):
    """Once where it is the caller's thread that opens it; elsewhere the grace is long."""
    hangs = "@flow.resource\ndef db() -> Iterator[str]:\n    hang()\n    yield 'db'\n"
    said = ended(script(hangs, step, RUN), times)
    assert said[0] == "status cancelled a=cancelled"


def test_s09_a_resource_that_does_not_open_ends_with_the_grace_and_with_the_deadline():
    hangs = "@flow.resource\ndef db() -> Iterator[str]:\n    hang()\n    yield 'db'\n"
    said = ended(script(hangs, THREAD, RUN, grace=0.02))
    assert said[0] == "status cancelled a=cancelled"
    assert "warning resource 'db' is still being opened, by an attempt that was abandoned" in said[1]
    late = "options = RunOptions(deadline=0.02, grace=0.02)\n"
    with other(script(hangs, THREAD, late, RUN)) as python:
        said = rest(python)
        status, _ = python.end()
    assert (status, python.errors, said[:2]) == (0, "", ["ready", "status failed a=failed"])


# --- conditions and keys ----------------------------------------------------------------------------------


KEY = """
def key(element):
    hang()

@flow.step
def source() -> RETURNS:
    BODY

@flow.step(after=[])
def item(n: int = each(source, key=key)): pass
"""

LIST = KEY.replace("RETURNS", "list[int]").replace("BODY", "return [1, 2]")
STREAM = KEY.replace("RETURNS", "Iterator[int]").replace("BODY", "yield from range(100)")
ASYNC_STREAM = STREAM.replace("Iterator", "AsyncIterator").replace("def source", "async def source")
ASYNC_STREAM = ASYNC_STREAM.replace("yield from range(100)", "for n in range(100): yield n")


@pytest.mark.parametrize("source", [LIST, STREAM, ASYNC_STREAM], ids=["list", "stream", "async stream"])
def test_s09_ctrl_c_ends_a_key_function(source):
    (said,) = ended(script(source, RUN))
    assert said.startswith("status cancelled ")
    assert "source=cancelled" in said


def test_s09_what_is_named_by_keys_in_a_process_beside_a_loop_is_interrupted_as_well():
    """The engine is in another thread: it is the third one that leaves the run behind."""
    with other(script(LIST, ASYNCIO_RUN)) as python:
        interrupt(python, 3)
        said = rest(python)
        status, _ = python.end()
    assert (status != 0, said) == (True, [])
    assert "KeyboardInterrupt" in python.errors


WHEN = """
def ask():
    hang()
    return True

@flow.step
def first(): pass

for n in range(5):
    flow.add(lambda: None, name=f"a{n}", when=ask, after=[first])
"""


def test_s09_of_many_conditions_one_is_interrupted_and_the_others_are_not_asked():
    (said,) = ended(script(WHEN, RUN))
    assert said == "status cancelled a0=skipped a1=skipped a2=skipped a3=skipped a4=skipped first=succeeded"


def test_s09_the_condition_of_a_clean_up_is_interrupted_and_the_run_ends():
    clean = "flow.add(lambda end: None, name='z', end=outcome(first), trigger='always', when=ask)\n"
    code = WHEN.replace("range(5)", "range(0)") + clean
    assert ended(script(code, RUN)) == ["status cancelled first=succeeded z=failed"]


def test_s09_a_clean_up_whose_condition_was_not_asked_yet_is_asked_after_the_interrupt():
    clean = """
def answer():
    say("asked")
    return True

flow.add(lambda end: None, name="z", end=outcome(first), trigger="always", when=answer)
"""
    said = ended(script(WHEN.replace("range(5)", "range(1)"), clean, RUN))
    assert said == ["asked", "status cancelled a0=skipped first=succeeded z=succeeded"]


# --- beside a running loop --------------------------------------------------------------------------------


STEP = """
@flow.step
def a(ctx: Context):
    say("ready")
    while not ctx.cancelled:
        never.wait(0.01)
"""

DEAF = STEP.replace("not ctx.cancelled", "True")


@pytest.mark.parametrize("run", [ASYNCIO_RUN, NEW_LOOP], ids=["asyncio.run", "new_event_loop"])
def test_s09_beside_a_loop_ctrl_c_cancels_the_run_in_order_and_the_caller_goes_on(run):
    assert ended(script(STEP, run)) == ["status cancelled a=succeeded", "went on"]


@pytest.mark.parametrize("run", [ASYNCIO_RUN, NEW_LOOP], ids=["asyncio.run", "new_event_loop"])
def test_s09_beside_a_loop_ctrl_c_twice_gives_up_what_does_not_end(run):
    assert ended(script(DEAF, run), times=2) == ["status cancelled a=cancelled", "went on"]


def test_s09_beside_a_loop_the_third_ctrl_c_leaves_the_run_behind():
    """An inline step holds up the engine's thread, and nothing can end it there."""
    inline = "@flow.step(runner='inline')\ndef a(): hang()\n"
    with other(script(inline, NEW_LOOP)) as python:
        interrupt(python, 3)
        said = rest(python)
        status, _ = python.end()
    assert (status != 0, said) == (True, [])
    assert "KeyboardInterrupt" in python.errors


def test_s09_beside_a_loop_the_handler_that_was_there_comes_back():
    code = """
@flow.step
def a(): pass

async def main():
    before = signal.getsignal(signal.SIGINT)
    flow.run()
    assert signal.getsignal(signal.SIGINT) is before is not signal.default_int_handler
    say("ready")
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        say("cancelled by asyncio")
        raise
"""
    with other(script(code, ASYNCIO_RUN)) as python:
        python.until("ready")
        python.interrupt()
        said = rest(python)
        status, _ = python.end()
    assert (status != 0, said) == (True, ["cancelled by asyncio"])
    assert "KeyboardInterrupt" in python.errors


def test_s09_beside_a_loop_somebody_elses_handler_is_left_alone():
    own = """
def mine(*_):
    say("mine")
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, mine)
"""
    with other(script(own, STEP, NEW_LOOP)) as python:
        python.until("ready")
        python.interrupt()
        said = rest(python)
        status, _ = python.end()
    assert (status, said) == (0, ["mine", "cancel", "status cancelled a=succeeded", "went on"])
