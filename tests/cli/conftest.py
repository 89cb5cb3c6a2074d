"""What the tests share: files to run, a call of the command line in this process, and one in its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.cli.app import command

FLOWS = {
    "good.py": '''\
"""Sums up."""
from penstock import Flow

flow = Flow("sums")

@flow.step
def numbers(count: int = 3) -> list[int]:
    return list(range(count))

@flow.step
def total(numbers: list[int]) -> int:
    return sum(numbers)
''',
    "bad.py": """\
from penstock import Flow

flow = Flow("bad")

@flow.step
def load() -> int:
    return 1

@flow.step
def parse(load: int) -> int:
    raise ValueError("row 7 is broken\\nsecond line")

@flow.step
def save(parse: int) -> None: ...
""",
    "three.py": """\
from penstock import Flow

one, two, three = Flow("one"), Flow("two"), Flow("three")
again = two

@two.step
def hello() -> str:
    return "hello"
""",
    "raises.py": """\
def divide(number):
    return number / 0

divide(1)
""",
    "broken.py": "flow = (\n",
    "empty.py": "x = 1\n",
    "leaves.py": "import sys\nsys.exit('no licence')\n",
    "twice.py": """\
from penstock import Flow

flow = Flow("twice")

def work() -> int: ...

flow.add(work)
flow.add(work)
""",
    "unbuildable.py": """\
from penstock import Flow, use

flow = Flow("unbuildable")
other = Flow("other")

@other.step
def far() -> int: ...

@flow.step
def near(far: int = use(far)) -> int: ...
""",
}


class Told(NamedTuple):
    """How a command went. Run ids, times of day and durations are replaced by words."""

    code: int
    out: str
    err: str


Call = Callable[..., Told]


def steady(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{8}", "RUN", text)
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", text)
    return re.sub(r" *(< 1 ms|\b\d+ ms|\b\d+\.\d s)\b", " TOOK", text)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of FLOWS."""
    for name, text in FLOWS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def call(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Calls the command line in this process, in the folder of the files."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    before = set(sys.modules)

    def told(*words: str) -> Told:
        code = command(words)
        out, err = capsys.readouterr()
        return Told(code, steady(out), steady(err))

    yield told
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(files)):
            del sys.modules[name]


PROGRAM = (sys.executable, "-m", "penstock.cli")


@pytest.fixture
def program(files: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs the program in a process of its own, in the folder of the files."""

    def run(*words: str, **how: object) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **how.pop("env", {})}  # type: ignore[dict-item]
        options = {"capture_output": True, **how}
        return subprocess.run(  # type: ignore[call-overload]
            [*PROGRAM, *words], cwd=files, env=environment, timeout=60, check=False, **options
        )

    return run
