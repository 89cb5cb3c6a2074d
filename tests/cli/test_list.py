"""`penstock list`: what is found by reading, what is left out, and that nothing is ever imported."""

import os
import runpy
from importlib import import_module
from pathlib import Path

import pytest

from penstock.cli.target import runnables
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
pipeline   1 step  deep/er/dialects.py:14  executor
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


@pytest.mark.parametrize("nested", ["(" * 10_000 + ")" * 10_000, "f" + ".add_task('a', len)" * 10_000])
def test_a_file_nested_too_deep_is_reported(folder, nested):
    deep = folder / "nested.py"
    deep.write_text(f"from penstock.dialects.workflow import Workflow\nf = Workflow('x')\nx = {nested}\n")
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
        "import penstock\na, b = penstock.Flow('x').graph(), penstock.Flow",
        "import penstock\n*a, b = penstock.Flow('x'), penstock.Flow('y'), 1",
        "from penstock import Flow\nf = Flow('x').run()",
        "from penstock import Flow\nf = Flow('x')\nf = 1",
        "from penstock import Flow\nf = Flow('x')\nf, g = make()",
        "from penstock import Flow\nf = Flow('x')\ndel f",
        "from penstock import Flow\nf = Flow('x')\ndef f(): ...",
        "from penstock import Flow\nfrom other import Flow\nf = Flow('x')",
        "from penstock import Flow\ndef Flow(name): ...\nf = Flow('x')",
        "from penstock.dialects.definitions import PipelineExecutor\nf = PipelineExecutor()",
        "from penstock.dialects.pipelines import PipelineBuilder\nf = PipelineBuilder('x').stage('a', len)",
        "from penstock.dialects.steps import PipelineConfig\nf = PipelineConfig('x')",
        "from penstock.dialects.workflow import Task\nf = Task('x', len)",
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


# ----------------------------------------------------------------------------------------------------------
# What is listed is what can be run
# ----------------------------------------------------------------------------------------------------------


def alike(file: Path, source: str) -> list[tuple[str, str, int | None]]:
    """Variable, name and steps of all that is found by reading, which is what importing the file gives."""
    file.write_text(source)
    rows = [one for one in read(file) if isinstance(one, Found)]
    real = {}
    for variable, thing in runnables(runpy.run_path(str(file))).items():
        steps = len(getattr(thing, "stages", thing.graph().nodes))  # some stages are more than one node
        real[variable] = (thing.graph().name, type(thing).__name__, steps)
    assert [one.variable for one in rows] == [*real]
    for one in rows:
        name, kind, steps = real[one.variable]
        assert one.name in (name, one.variable)
        assert one.kind == kind
        assert one.steps in (None, steps)
    return [(one.variable, one.name, one.steps) for one in rows]


STAGE = "stage = type('Stage', (), {'execute': print})()\n"
TOPS = {
    "penstock": ("Flow", "'x'"),
    "penstock.flow": ("Flow", "'x'"),
    "penstock.dialects.pipelines": ("Pipeline", "name='x'"),
    "penstock.dialects.definitions": ("PipelineDefinition", "'x', [_.StageDefinition('a', stage)]"),
    "penstock.dialects.workflow": ("Workflow", "'x'"),
    "penstock.dialects.steps": ("PipelineExecutor", "_.PipelineConfig('x')"),
}


@pytest.mark.parametrize("module", TOPS)
@pytest.mark.parametrize(
    "way",
    [
        "from {module} import {name}\nf = {name}({args})",
        "from {module} import {name} as N\nf = N({args})",
        "from {module} import *\nf = {name}({args})",
        "from {home} import {name}\nf = {name}({args})",
        "import {module}\nf = {module}.{name}({args})",
        "import {module} as m\nf = m.{name}({args})",
        "from {above} import {leaf} as m\nf = m.{name}({args})",
        "import {module}\nfrom penstock import dialects\nf = {under}.{name}({args})",
        "from typing import TYPE_CHECKING\nif 1:\n    from {module} import {name}\nf = {name}({args})",
        "with open(__file__):\n    from {module} import {name}\n    f: object = {name}({args})",
    ],
)
def test_each_class_is_found_whichever_way_it_is_imported(tmp_path, module, way):
    pytest.importorskip("pydantic")
    name, args = TOPS[module]
    above, _, leaf = module.rpartition(".")
    if not above and "{above}" in way:
        pytest.skip("nothing is above it")
    under = module.removeprefix("penstock.") if module.startswith("penstock.dialects.") else module
    home = getattr(import_module(module), name).__module__
    words = {"module": module, "name": name, "args": args, "above": above, "leaf": leaf, "under": under}
    source = way.format(**words, home=home)
    found = alike(tmp_path / "x.py", f"import {module} as _\n{STAGE}{source}\n")
    assert found == [("f", "x", 1 if name == "PipelineDefinition" else 0)]


ALIKE: dict[str, tuple[str, list[tuple[str, str, int | None]]]] = {
    "one class name in two modules": (
        """\
from penstock.dialects.definitions import *
theirs = PipelineExecutor()
from penstock.dialects.steps import *
mine = PipelineExecutor()
from penstock.dialects.definitions import PipelineExecutor
theirs_again = PipelineExecutor()
""",
        [("mine", "pipeline", 0)],
    ),
    "names": (
        """\
from penstock.dialects.pipelines import Pipeline
from penstock.dialects.steps import PipelineConfig, PipelineExecutor
from penstock.dialects.workflow import Workflow
NAME = "etl"
config = PipelineConfig(name="configured", max_concurrent=2)
a = Workflow(NAME)
b = Workflow(name=str(3))
c = PipelineExecutor(config)
d = PipelineExecutor(config=PipelineConfig(NAME))
e = PipelineExecutor(None)
f = Pipeline("p-1")
g = Pipeline("p-1", "by place")
h = Pipeline(name="by name", pipeline_id="p-1")
i = Pipeline()
""",
        [
            ("a", "etl", 0), ("b", "b", 0), ("c", "configured", 0), ("d", "etl", 0), ("e", "pipeline", 0),
            ("f", "p-1", 0), ("g", "by place", 0), ("h", "by name", 0), ("i", "i", 0),
        ],
    ),
    "pipelines": (
        """\
from penstock.dialects.pipelines import FunctionStage, Pipeline, PipelineBuilder
inner = [FunctionStage("x", len), FunctionStage("y", len)]
at_once = PipelineBuilder("at once").context("a", 1).stage("a", len).parallel("b", inner).build()
builder = PipelineBuilder("in parts").stage("a", len)
builder.stage("b", len).conditional("c", bool, len)
in_parts = builder.build()
builder.stage("d", len)
longer = builder.context("k", 1).stage("e", len).build().add_stage(FunctionStage("f", len))
other = PipelineBuilder("other")
other = other.stage("a", len)
other_too = other.stage("b", len)
one = other.build()
added = Pipeline(name="added").set_context("a", 1).add_stage(FunctionStage("a", len))
added.add_stage(FunctionStage("b", len))
added = added.add_stage(FunctionStage("c", len))
""",
        [
            ("at_once", "at once", 2), ("in_parts", "in parts", 3), ("longer", "in parts", 6),
            ("one", "other", 2), ("added", "added", 3),
        ],
    ),
    "definitions": (
        """\
from penstock.dialects.definitions import ExecutionPattern, PipelineDefinition, PipelineExecutor
from penstock.dialects.definitions import StageDefinition as S
class Stage:
    async def execute(self, input, context): ...
stages = [S("a", Stage()), S("b", Stage(), pattern=ExecutionPattern.FAN_OUT, inputs=["a"])]
more = [S("a", Stage())]
more.append(S("b", Stage()))
executor = PipelineExecutor()
listed = PipelineDefinition("listed", [S("a", Stage()), S("b", Stage())], "for people")
named = PipelineDefinition(name="named", stages=stages)
grown = PipelineDefinition("grown", more)
starred = PipelineDefinition("starred", [*more])
""",
        [
            ("listed", "listed", 2), ("named", "named", 2), ("grown", "grown", None),
            ("starred", "starred", None),
        ],
    ),
    "workflow": (
        """\
from penstock.dialects.workflow import Task, Workflow, chain, fan_out_fan_in, parallel
def one(): ...
def two(x): ...
functions = [one, one]
a = chain(one, two)
b = parallel(one, one, one, name="b's")
c = fan_out_fan_in([one, one], two)
d = fan_out_fan_in(functions, two, "d's")
e = chain(*functions).add_task("more", one)
f = Workflow("f").add_task("a", one)
f.add(Task("b", one)).add_task("c", one, dependencies=["a"])
g = f
g.add_task("d", one)
with open(__file__):
    f.add_task("e", one)
try:
    f.add_task("f", one)
finally:
    pass
""",
        [
            ("a", "chain", 2), ("b", "b's", 3), ("c", "fan_out_fan_in", 3), ("d", "d's", None),
            ("e", "chain", None), ("f", "f", 6),
        ],
    ),
    "steps": (
        """\
from penstock.dialects.steps import PipelineExecutor
executor = PipelineExecutor()
@executor.step("a", retries=2)
async def a(): ...
@executor.step
def b(): ...
@executor.step(name="c", depends_on=["a"])
@executor.step("d")
def c(): ...
executor.add_step("e", c).add_step("f", c)
executor.step("g")(c)
if __name__ == "__main__":
    executor.add_step("never", c)
""",
        [("executor", "pipeline", 7)],
    ),
    "made by a function": (
        """\
from penstock.dialects.pipelines import Pipeline, PipelineBuilder
from penstock.dialects.workflow import Workflow
def make(name) -> Workflow:
    return Workflow(name).add_task("a", len)
def base() -> PipelineBuilder:
    return PipelineBuilder("based")
def number() -> int:
    return 3
a = make("a")
b = base().stage("a", len).build()
c = number()
""",
        [("a", "a", None), ("b", "b", None)],
    ),
    "several at once": (
        """\
from penstock import Flow
from penstock.dialects.workflow import Workflow
a, (b, c) = Flow("one"), (Workflow("two"), 3)
d = e = Workflow("three")
e.add_task("a", len)
f = Workflow("old")
f.add_task("a", len)
f = Workflow("new")
f.add_task("b", len)
""",
        [("a", "one", 0), ("b", "two", 0), ("d", "three", 1), ("f", "new", 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_what_is_listed_is_what_can_be_run(tmp_path, case):
    pytest.importorskip("pydantic")
    source, expected = ALIKE[case]
    assert alike(tmp_path / "x.py", source) == expected


@pytest.mark.parametrize(
    "more",
    [
        "for name in 'ab':\n    f.add_task(name, len)",
        "if f:\n    f.add_task('a', len)",
        "[f.add_task(name, len) for name in 'ab']",
        "def grow():\n    f.add_task('a', len)\ngrow()",
        "def grow(it):\n    it.add_task('a', len)\ngrow(f)",
        "def grow(it):\n    return it.add_task\ngrow(it=f)('a', len)",
        "add = f.add_task\nadd('a', len)",
        "list(map(f.add_task, 'ab', [len, len]))",
        "class More:\n    f.add_task('a', len)",
        "def task(it):\n    return lambda call: it.add_task('a', call)\n@task(f)\ndef more(): ...",
    ],
)
def test_steps_that_reading_cannot_count_are_not_counted(tmp_path, more):
    source = f"from penstock.dialects.workflow import Workflow\nf = Workflow('x')\n{more}\n"
    assert alike(tmp_path / "x.py", source) == [("f", "x", None)]


def test_what_only_looks_at_it_leaves_the_count_alone(tmp_path):
    source = """\
from penstock.dialects.workflow import Workflow
f = Workflow('x').add_task('a', len)
print(f, len(f.tasks))
def show(it=None):
    print(it or f)
    help(f)
"""
    assert alike(tmp_path / "x.py", source) == [("f", "x", 1)]
