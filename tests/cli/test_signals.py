"""Ctrl-C, SIGTERM and a terminal that goes away, sent to a real process that waits.

A step says over a named pipe that it runs, and then waits for nothing in the world.
"""

import os
import pty
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, steady

WAITING = """\
import asyncio, threading
from penstock import Flow, RunOptions

def ready() -> None:
    with open("pipe", "w") as pipe:
        pipe.write("ready")

awaits = Flow("awaits")

@awaits.step
async def coroutine() -> None:
    ready()
    await asyncio.Event().wait()

@awaits.step
def after(coroutine: None) -> None: ...

blocks = Flow("blocks")

@blocks.step
def inline() -> None:
    ready()
    threading.Event().wait()

stubborn = Flow("stubborn")

@stubborn.step
def thread() -> None:
    ready()
    threading.Event().wait()

@stubborn.step
def quick() -> None: ...
"""
IMPORTING = """\
import threading

with open("pipe", "w") as pipe:
    pipe.write("ready")
threading.Event().wait()
"""


@pytest.fixture
def waiting(files: Path) -> Path:
    (files / "waiting.py").write_text(WAITING)
    (files / "importing.py").write_text(IMPORTING)
    os.mkfifo(files / "pipe")
    return files


def begin(folder: Path, *words: str, wrap: tuple[str, ...] = (), **how: object) -> subprocess.Popen[bytes]:
    """Starts ``penstock run``, and returns when the step waits."""
    words = (*wrap, *PROGRAM, "run", *words)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    pipe = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    run: subprocess.Popen[bytes] = subprocess.Popen(words, cwd=folder, **options)  # type: ignore[call-overload]
    try:
        assert select.select([pipe], [], [], 60)[0], "the step was not reached"
    except BaseException:
        run.kill()
        run.communicate()
        raise
    finally:
        os.close(pipe)
    return run


def end(run: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    try:
        out, err = run.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        raise
    return run.returncode, steady(out.decode()), steady(err.decode())


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)], ids=str
)
@pytest.mark.parametrize("target", ["waiting.py:awaits", "waiting.py:blocks"])
def test_l01_l03_l04_a_signal_ends_the_run_in_order(waiting, target, number, expected):
    run = begin(waiting, target)
    run.send_signal(number)
    code, out, err = end(run)
    assert code == expected
    assert out.splitlines()[-1].startswith("■ cancelled in TOOK")
    assert "TIME  cancelling: waiting for what runs; once more ends it at once\n" in err
    assert err.endswith("TIME  run RUN cancelled in TOOK\npenstock: to go on: penstock resume RUN\n")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM)], ids=str
)
def test_l02_a_second_signal_ends_it_at_once(waiting, numbers):
    """A thread cannot be stopped: after the first signal it has its grace, after the second none."""
    run = begin(waiting, "waiting.py:stubborn")
    assert run.stderr is not None
    run.send_signal(numbers[0])
    while b"cancelling" not in (line := run.stderr.readline()):
        assert line
    run.send_signal(numbers[1])
    code, out, _ = end(run)
    assert code == (130 if numbers[0] is signal.SIGINT else 143)
    assert "(thread) could not be stopped and goes on by itself" in out


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_l01_l03_a_signal_while_the_target_is_imported(waiting, number, expected):
    run = begin(waiting, "importing.py")
    run.send_signal(number)
    word = "interrupted" if expected == 130 else "terminated"
    assert end(run) == (expected, "", f"penstock: {word}\n")


def test_l03_where_ctrl_c_is_ignored_sigterm_works_all_the_same(waiting):
    """A shell starts a job in the background with SIGINT ignored."""
    run = begin(waiting, "waiting.py:awaits", wrap=("sh", "-c", 'trap "" INT; exec "$@"', "sh"))
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    code, _, err = end(run)
    assert code == 143
    assert err.count("cancelling") == 1


def test_l04_what_nohup_ignores_stays_ignored(waiting):
    run = begin(waiting, "waiting.py:awaits", wrap=("sh", "-c", 'trap "" HUP; exec "$@"', "sh"))
    run.send_signal(signal.SIGHUP)
    run.send_signal(signal.SIGINT)
    assert end(run)[0] == 130


@pytest.mark.parametrize("target", ["waiting.py:awaits", "waiting.py:blocks"])
def test_l01_ctrl_c_typed_on_a_terminal(waiting, target):
    setsid = shutil.which("setsid")
    if setsid is None:
        pytest.skip("program missing: setsid")
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    run = begin(
        waiting,
        target,
        wrap=(setsid, "--ctty", "--wait"),  # in a session of its own, whose terminal this is
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        env=environment,
    )
    os.close(theirs)
    os.write(mine, b"\x03")
    shown = read_to_end(mine)
    assert run.wait(60) == 130
    assert "■ cancelled" in shown
    assert "Traceback" not in shown


def read_to_end(descriptor: int) -> str:
    """All that is written to a terminal until its last user has gone."""
    found = b""
    while select.select([descriptor], [], [], 60)[0]:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # what Linux says at the end
            break
        if not part:
            break
        found += part
    os.close(descriptor)
    return found.decode(errors="replace")
