"""Outputs that are closed, full, or cannot show a character: the run goes on.

Its exit code is its own, but no success where what it wrote is lost.
"""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import PROGRAM

LOUD = """\
import subprocess, sys
from penstock import Flow

flow = Flow("loud")

@flow.step
def shout() -> str:
    for number in range(20_000):
        print("line é ✓", number)
    print("a complaint", file=sys.stderr)
    return "é ✓"

@flow.step
def child(shout: str) -> int:
    return subprocess.run(["echo", "child"], check=True).returncode

@flow.step(optional=True)
def fail(shout: str) -> None:
    raise ValueError("é ✓")
"""


@pytest.fixture
def loud(files):
    (files / "loud.py").write_text(LOUD)
    return "loud.py"


def test_l05_the_reader_goes_away(files, loud):
    run = subprocess.Popen([*PROGRAM, "run", loud], cwd=files, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stderr is not None
    assert run.stdout.readline() == "line é ✓ 0\n".encode()
    run.stdout.close()
    errors = run.stderr.read()
    run.stderr.close()
    assert run.wait(60) == 0
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors
    assert b"succeeded" in errors


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("words", [("run", "loud.py"), ("run", "loud.py", "--json"), ("graph", "loud.py")])
def test_l06_closed_from_the_start(files, loud, closed, words):
    shell = " ".join(f"{number}>&-" for number in closed).replace("0>&-", "0<&-")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *PROGRAM, *words], cwd=files, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert (done.stdout == b"") == (1 in closed)


SAID = b"penstock: standard output cannot be written any more: No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "loud.py"),
        ("run", "loud.py", "--json"),
        ("run", "good.py"),
        ("run", "good.py", "--json"),
        ("graph", "good.py"),
        ("list",),
        ("--help",),
        ("--version",),
    ],
)
def test_l06_full(files, loud, words):
    if not os.path.exists("/dev/full"):
        pytest.skip("program missing: /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PROGRAM, *words], cwd=files, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count(SAID) == 1
    assert b"Traceback" not in done.stderr


def test_l06_full_where_only_the_file_prints_and_python_has_not_written_it_yet(files):
    if not os.path.exists("/dev/full"):
        pytest.skip("program missing: /dev/full")
    (files / "prints.py").write_text("print('a word')\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, "run", "prints.py"], cwd=files, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 2  # of there being no flow: no failure hides another
    assert done.stderr.count(SAID) == 1


def test_l06_a_failed_run_keeps_its_code_when_the_output_is_full(files):
    if not os.path.exists("/dev/full"):
        pytest.skip("program missing: /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, "run", "twice.py"], cwd=files, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 3
    assert SAID not in done.stderr


@pytest.mark.parametrize("words", [("run", "good.py", "--json"), ("graph", "good.py")])
def test_l05_a_reader_that_is_gone_before_anything_is_written(files, words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*PROGRAM, *words], cwd=files, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert done.returncode == 0
    assert b"cannot be written" not in done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_l06_ascii_only(program, loud, env):
    done = program("run", loud, env=env)
    assert done.returncode == 0
    assert done.stdout.isascii()
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert ["line", "\\xe9", "\\u2713", "0"] in lines
    assert ["ValueError:", "\\xe9", "\\u2713"] in lines
    assert lines[-1][:2] == ["+", "succeeded"]
    assert program("graph", loud, env=env).stdout.isascii()


def test_l06_help_goes_nowhere_quietly(files):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "run", "--help"],
        cwd=files,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_l07_the_program_ends_with_the_code_of_the_command(program):
    assert program("run", "bad.py").returncode == 1
    assert program("run", "none.py").returncode == 2
    assert program("run", "twice.py").returncode == 3
    assert sys.executable == PROGRAM[0]
