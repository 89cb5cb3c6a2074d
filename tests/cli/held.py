"""A project whose run, in a process of its own, waits until it is told to go on; and others that look on."""

import os
import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import PROGRAM
from tests.cli.test_signals import end

FLOW = """\
import logging, os, sys
from penstock import Context, Flow, each, use

flow = Flow("held")

@flow.step
def load() -> list[int]:
    print("loading")
    return [1, 2]

@flow.step
def parse(ctx: Context, row: int = each(load)) -> int:
    ctx.log("parsed", row=row)
    return row * 10

@flow.step
def hold(ctx: Context, load: list[int]) -> str:
    ctx.progress(1, 2, "half")
    logging.getLogger("app").warning("forged\\n12:00:00.000  hold  error  all is lost\\x1b[2J")
    with open("pipe", "w") as pipe:
        pipe.write("ready")
    word = "more"
    while word == "more":
        with open("go") as file:
            word = file.read()
        print("told", word)
    if word == "die":
        os.kill(os.getpid(), 9)
    if word == "fail":
        raise ValueError("told to fail")
    print("let go", file=sys.stderr)
    return word

gated = Flow("gated")

@gated.step
def before() -> int:
    with open("pipe", "w") as pipe:
        pipe.write("ready")
    with open("go") as file:
        return len(file.read())

ok = gated.gate("ok", prompt="Go on?", before=use(before))
"""


def prepare(folder: Path) -> Path:
    """Puts the flows into a folder, which is the root of a project then."""
    (folder / "pyproject.toml").write_text("")
    (folder / "held.py").write_text(FLOW)
    for name in ("pipe", "go"):
        os.mkfifo(folder / name)
    return folder


@contextmanager
def held(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, which waits within a step until `let_go`.

    Args:
        folder: Where.
        words: The command; by default a run of the flow.
    """
    pipe = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [*PROGRAM, *(words or ("run", "held.py:flow"))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert select.select([pipe], [], [], 60)[0], "the step was not reached"
        yield process
    finally:
        os.close(pipe)
        process.kill()
        process.communicate()


def tell(folder: Path, word: str) -> None:
    """Says something to the run; after ``more`` it waits again."""
    with open(folder / "go", "w") as file:
        file.write(word)


def let_go(folder: Path, process: subprocess.Popen[bytes], word: str = "on") -> tuple[int, str, str]:
    """Tells the run what to do, and waits for its end."""
    tell(folder, word)
    return end(process)


class Other:
    """Another command, while the run goes on.

    Attributes:
        lines: What it has said by now.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []

    def until(self, text: str) -> str:
        """Reads up to the first line with this text; gives it."""
        assert self.process.stdout is not None
        with self._bounded():
            for line in self.process.stdout:
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"it ended without {text!r}: {self.lines}")

    def end(self) -> tuple[int, str, str]:
        """Waits for its end; gives the exit code, all that it has said, and its complaints."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self._bounded(), self.process.stderr as err:
            out = self.process.stdout
            said = "" if out.closed else "".join(self.lines) + out.read()
            out.close()
            return self.process.wait(), said, err.read()

    def stop_reading(self) -> None:
        """As `head` does when it has seen enough."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        late = threading.Timer(60, self.process.kill)
        late.start()
        try:
            yield
        finally:
            late.cancel()
