"""L: the program, its signals, its terminal and what it imports."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

PROGRAM = (sys.executable, "-m", "penstock")

BUSY = """\
import time
from penstock import Context, Flow, each

busy = Flow("busy")

@busy.step
def numbers() -> list[int]:
    return list(range(20_000))

@busy.step(runner="threads")
def quick(ctx: Context, number: int = each(numbers)) -> int:
    if number % 50 == 0:
        print("at", number, flush=True)
    return number

@busy.step
def deaf() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)
"""


class Terminal:
    """The program in a session of its own, on a terminal of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        setsid = shutil.which("setsid")
        if setsid is None:
            pytest.skip("program missing: setsid")
        self.mine, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self.run = subprocess.Popen(
            [setsid, "--ctty", "--wait", *PROGRAM, *words],
            cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
        )  # fmt: skip
        self.shown = b""

    def read(self) -> bool:
        """Reads what there is; whether more may come."""
        if not select.select([self.mine], [], [], 60)[0]:
            return False
        try:
            part = os.read(self.mine, 65536)
        except OSError:
            return False
        self.shown += part
        return bool(part)

    def read_until(self, wanted: bytes, many: int = 1) -> None:
        while self.shown.count(wanted) < many:
            assert self.read(), f"{wanted!r} was not said: {self.shown[-1000:]!r}"

    def type(self, key: bytes) -> None:
        os.write(self.mine, key)

    def end(self) -> int:
        """Its exit code; what it still says is read meanwhile."""
        os.set_blocking(self.mine, False)
        until = time.monotonic() + 60
        while self.run.poll() is None:
            assert time.monotonic() < until, f"it does not end: {self.shown[-1000:]!r}"
            if select.select([self.mine], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self.mine, 65536)
                except OSError:
                    continue
        return self.run.returncode

    def close(self) -> None:
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()
        for descriptor in (self.mine, self.theirs):
            os.close(descriptor)


def ctrl_c_twice(folder: Path, dice: Random) -> None:
    """The first one after so many lines, the second after a moment of at most a tenth of a second."""
    terminal = Terminal(folder, "run", "busy.py")
    try:
        terminal.read_until(b"at ", dice.randint(1, 40))
        terminal.type(b"\x03")
        if dice.random() < 0.5:
            terminal.read_until(b"cancelling")
        time.sleep(dice.random() * 0.1)  # the moment is what is tried
        terminal.type(b"\x03")
        code = terminal.end()
        assert code == 130, terminal.shown[-2000:]
        assert b"Traceback" not in terminal.shown
        assert b"cancelled" in terminal.shown
        assert termios.tcgetattr(terminal.theirs) == terminal.before
    finally:
        terminal.close()


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    (tmp_path / "busy.py").write_text(BUSY)
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
def test_l02_ctrl_c_twice_on_a_terminal(busy, seed):
    """A step that hears nothing has ten seconds of grace; the second Ctrl-C takes them away."""
    ctrl_c_twice(busy, Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_l02_ctrl_c_twice_at_a_hundred_moments(busy, seed):
    ctrl_c_twice(busy, Random(seed))


CHILDREN = """\
import os, subprocess
from penstock import Flow

children = Flow("children")

@children.step(runner="processes")
def starts_a_program() -> None:
    program = subprocess.Popen(["sleep", "1000"])
    with open("pids", "w") as pids:
        print(os.getpid(), program.pid, file=pids)
    with open("pipe", "w") as pipe:
        pipe.write("ready")
    program.wait()
"""


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within a bound that is generous."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=str)
def test_l03_what_a_step_in_a_process_has_started_ends_with_the_program(tmp_path, number, expected):
    (tmp_path / "children.py").write_text(CHILDREN)
    os.mkfifo(tmp_path / "pipe")
    run = subprocess.Popen(
        [*PROGRAM, "run", "children.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with open(tmp_path / "pipe") as pipe:
            assert pipe.read() == "ready"
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        run.send_signal(number)
        assert run.stderr is not None
        while b"cancelling" not in (line := run.stderr.readline()):
            assert line
        run.send_signal(number)  # the step hears nothing, and has ten seconds of grace otherwise
        _, errors = run.communicate(timeout=60)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == expected, errors
    assert b"Traceback" not in errors
    assert all(gone(pid) for pid in pids)


def test_l05_piped_to_head(tmp_path):
    """As somebody types it: the run goes on to its end, and says nothing of the pipe."""
    (tmp_path / "busy.py").write_text(BUSY.replace("+ 60", "+ 0"))
    command = 'set -o pipefail; "$@" run busy.py | head -n 1; echo "${PIPESTATUS[0]}"'
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("program missing: bash")
    done = subprocess.run(
        [bash, "-c", command, "bash", *PROGRAM], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.stdout.decode().splitlines()[-1] == "0", done
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_l08_reading_and_drawing_import_nothing_but_what_is_named(tmp_path):
    """An audit hook notes every file that Python opens to import or compile it."""
    (tmp_path / "named.py").write_text("from penstock import Flow\nflow = Flow('named')\n")
    (tmp_path / "beside.py").write_text("raise SystemExit('beside was imported')\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('conftest was imported')\n")
    (tmp_path / "setup.py").write_text("raise SystemExit('setup was imported')\n")
    hook = (
        "import sys\n"
        "found = set()\n"
        f"here = {str(tmp_path)!r}\n"
        "def note(event, arguments):\n"
        "    if event == 'exec' and arguments[0].co_filename.startswith(here):\n"
        "        found.add(arguments[0].co_filename.rpartition('/')[2])\n"
        "sys.addaudithook(note)\n"
        "from penstock.cli import main\n"
        "code = main()\n"
        "print('imported', sorted(found), code)\n"
    )
    for words, expected in (
        (["graph", "named.py"], "imported ['named.py']"),
        (["run", "named.py"], "imported ['named.py']"),
        (["list", "."], "imported []"),
    ):
        done: Any = subprocess.run(
            [sys.executable, "-c", hook, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert expected in done.stdout, done
