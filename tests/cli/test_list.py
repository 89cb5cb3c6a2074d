"""`penstock list`: what is found by reading, what is left out, and that nothing is ever imported."""

import os
from pathlib import Path

import pytest

from penstock.discovery import LARGEST, Found, Unread, discover, read

FILES: dict[str, str | bytes] = {
    "flows.py": '''\
"""Orders, in and out.

More words.
"""
import penstock as p
from penstock import Flow, each as e

first = Flow("first", doc="The first")
second: Flow = Flow(name="second")
third = p.Flow("third")
computed = Flow(f"x{1}")

def make() -> Flow:
    hidden = Flow("hidden")
    return hidden

@first.step
def one(): ...

@first.step(optional=True)
async def two(one): ...

second.add(one)
again = second.add(two, name="again")
for number in range(3):
    third.add(one, name=f"n{number}")

if __name__ == "__main__":
    first.add(one, name="never")
''',
    "deep/er/dialects.py": """\
from penstock.dialects.pipelines import Pipeline, PipelineBuilder
from penstock.dialects.definitions import PipelineDefinition, StageDefinition
from penstock.dialects.workflow import Workflow as W
from penstock.dialects import steps

built = PipelineBuilder("built").stage("a", len).stage("b", len).parallel("c", []).build()
added = Pipeline("p-1", name="added")
added.add_stage(1).add_stage(2)
added.add_stage(3)
defined = PipelineDefinition("defined", [1, 2], description="Defined")
starred = PipelineDefinition("starred", [*range(3)])
flow = W("flow")
flow.add_task("a", len)
executor = steps.PipelineExecutor()

@executor.step("a")
def a(): ...
""",
    "other.py": """\
from sklearn.pipeline import Pipeline
import penstock
theirs = Pipeline("penstock")
""",
    "no_flow.py": "import penstock\nraise SystemExit('imported')\n",
    "broken.py": "import penstock\nflow = (\n",
    "null.py": "import penstock\0\n",
    "latin.py": b"import penstock\nname = '\xe9'\n",
    "unknown.py": "# -*- coding: no-such -*-\nimport penstock\n",
    "declared.py": b"# -*- coding: latin-1 -*-\nfrom penstock import Flow\nf = Flow('caf\xe9')\n",
    "unrelated_and_broken.py": "def (:\n",
    "notes.txt": "from penstock import Flow\nflow = Flow('text')\n",
    ".hidden/flows.py": "from penstock import Flow\nflow = Flow('hidden')\n",
    "node_modules/flows.py": "from penstock import Flow\nflow = Flow('node')\n",
    "lib/site-packages/flows.py": "from penstock import Flow\nflow = Flow('site')\n",
    "myenv/pyvenv.cfg": "",
    "myenv/flows.py": "from penstock import Flow\nflow = Flow('env')\n",
}


LISTED = """\
café      0 steps  declared.py:3           f
first     2 steps  flows.py:8              first     The first
second    2 steps  flows.py:9              second    Orders, in and out.
third     ? steps  flows.py:10             third     Orders, in and out.
computed  0 steps  flows.py:11             computed  Orders, in and out.
built     3 steps  deep/er/dialects.py:6   built
added     3 steps  deep/er/dialects.py:7   added
defined   2 steps  deep/er/dialects.py:10  defined   Defined
starred   ? steps  deep/er/dialects.py:11  starred
flow       1 step  deep/er/dialects.py:12  flow
executor   1 step  deep/er/dialects.py:14  executor
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / "project"


def test_everything_that_can_be_run_is_listed(call, folder, monkeypatch):
    monkeypatch.chdir(folder)
    told = call("list")
    assert told.code == 0
    assert told.out == LISTED
    assert (
        told.err
        == """\
penstock: broken.py: not read: line 2: '(' was never closed
penstock: latin.py: not read: line 2: (unicode error) 'utf-8' codec can't decode byte 0xe9 in position 0: \
unexpected end of data
penstock: null.py: not read: source code string cannot contain null bytes
penstock: unknown.py: not read: unknown encoding: no-such
"""
    )


def test_one_file(call, folder):
    assert call("list", str(folder / "other.py")) == (0, "", f"penstock: no flow in {folder}/other.py\n")
    assert "caf\u00e9" in call("list", str(folder / "declared.py")).out
    assert call("list", str(folder / "none.py")).code == 2


def test_l08_nothing_is_imported(call, folder):
    assert call("list", str(folder)).code == 0  # no_flow.py would leave


def test_huge_files_and_what_is_no_file_are_not_read(folder):
    huge = folder / "huge.py"
    huge.write_bytes(b"# penstock\n" * (LARGEST // 11 + 1))
    os.mkfifo(folder / "pipe.py")
    os.symlink(folder / "nowhere", folder / "dangling.py")
    found = {one.file.name: one.reason for one in discover(folder) if isinstance(one, Unread)}
    assert found["huge.py"] == f"it has {huge.stat().st_size:,} bytes; more than {LARGEST:,} are not read"
    assert found["pipe.py"] == "it is not a file"
    assert found["dangling.py"] == "No such file or directory"


def test_a_file_nested_too_deep_is_reported(folder):
    deep = folder / "nested.py"
    deep.write_text("import penstock\nx = " + "(" * 10_000 + ")" * 10_000 + "\n")
    (one,) = read(deep)
    assert isinstance(one, Unread)
    assert one.reason


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        ("from penstock import *\nf = Flow('x')", 0),
        ("import penstock.flow\nf = penstock.flow.Flow('x')", 0),
        ("try:\n    from penstock import Flow\nexcept ImportError:\n    raise\nf = Flow('x')", 0),
        (
            "from penstock import Flow\nf = Flow('x')\nsteps = [f.add(len, name=str(i)) for i in range(3)]",
            None,
        ),
        ("from penstock import Flow\nf = Flow('x')\nif True:\n    f.add(len)", None),
        ("from penstock import Flow\nf = Flow('x')\ndef more():\n    f.add(len)", None),
        ("from penstock import Flow\nf = g = Flow('x')\nf.add(len)", 1),
        ("from penstock import Flow\nf = 1\nf = Flow('x')", 0),
    ],
)
def test_steps_are_counted_where_they_can_be(tmp_path, source, steps):
    file = tmp_path / "x.py"
    file.write_text(source + "\n")
    first = read(file)[0]
    assert isinstance(first, Found)
    assert (first.name, first.variable, first.steps) == ("x", "f", steps)


@pytest.mark.parametrize(
    "source",
    [
        "from .penstock import Flow\nf = Flow('penstock')",
        "from penstocks import Flow\nf = Flow('x')",
        "import penstock\nf = penstock.RunOptions()",
        "import penstock\nclass A:\n    f = penstock.Flow('x')",
        "import penstock\na, b = penstock.Flow('x'), penstock.Flow('y')",
        "import penstock\nf = make()()",
    ],
)
def test_what_only_looks_like_a_flow_is_none(tmp_path, source):
    file = tmp_path / "x.py"
    file.write_text(source + "\n")
    assert read(file) == []


def test_g07_what_a_file_says_cannot_move_the_cursor(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "red.py").write_text('from penstock import Flow\nq = Flow("a", doc="\\x1b[31mred\\nmore")\n')
    told = call("list", "red.py")
    assert told.code == 0
    assert "\x1b" not in told.out
    assert "\\x1b[31mred" in told.out
    assert told.out.count("\n") == 1
