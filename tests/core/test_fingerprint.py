"""Fingerprints change with what a step does, and with nothing else."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from penstock.core.fingerprint import Fingerprints, fingerprint


class Project:
    """Writes modules into a fresh folder, imports one of them, and forgets them again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def load(self, files: dict[str, str], name: str = "steps") -> Any:
        self.count += 1
        folder = self.folder / f"copy {self.count}"
        for path, text in files.items():
            file = folder / f"{path}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        before = set(sys.modules)
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(folder))
            self.new = set(sys.modules) - before
            self.path = str(folder)

    def print(self, files: dict[str, str], name: str = "f", module: str = "steps") -> str:
        made = self.load(files, module)
        sys.path.insert(0, self.path)
        try:
            found: Any = made
            for word in name.split("."):
                found = getattr(found, word)
            return fingerprint(found)
        finally:
            sys.path.remove(self.path)
            for one in self.new:
                sys.modules.pop(one, None)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Project(tmp_path)


BEFORE = {
    "steps": '''
import json
import helpers
from other import third
from pack import inside
from pack.low import deep as low

LIMIT = 3
TABLE = {"a": 1, "b": (2, 3)}
NAMES = ["x", "y"]
unused = 1


def plain(x):
    return x + 1


def twice(x):
    return plain(plain(x))


def unrelated(x):
    return x


def marked(function):
    def wrapper(*args):
        return function(*args)

    return wrapper


class Tool:
    size = 3

    def __init__(self):
        self.kept = 5

    def work(self, x):
        return self.part(x) + self.size

    def part(self, x):
        return x * 2

    def other(self, x):
        return x


def f(x, y=1, *, z=2):
    """Says what it does."""
    total = twice(x) + helpers.first(y) + third(z)  # and why
    if total > LIMIT:
        return inside(low(json.dumps(TABLE[NAMES[0]])))
    return Tool().work(total)


@marked
def decorated(x):
    return x


async def awaited(x):
    return plain(x)


def generated(x):
    yield plain(x)


def make(n):
    def inner(x):
        return plain(x) + n

    return inner


def tell(x):
    return ask(x) if x else 0


def ask(x):
    return answer(x - 1)


def answer(x):
    return tell(x) + plain(x)


closure = make(1)
square = lambda x: plain(x) * x
pair = [lambda x: x + 1, lambda x: x + 2]
first, second = pair
method = Tool().work
''',
    "helpers": """
from more import second as two

def first(x):
    return two(x)

def alone(x):
    return x
""",
    "more": "def second(x):\n    return x + base()\n\ndef base():\n    return 2\n",
    "other": "from more import *\n\ndef third(x):\n    return second(x) * RATE\n\nRATE = 0.5\n",
    "pack/__init__": "from .low import inside\n",
    "pack/low": "BASE = 4\n\ndef inside(x):\n    return x * BASE\n\ndef deep(x):\n    return x\n",
}  # fmt: skip


def edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in BEFORE[file], old
    return {**BEFORE, file: BEFORE[file].replace(old, new, 1)}


CHANGES = {
    "body": ("f", "steps", "total > LIMIT", "total >= LIMIT"),
    "default": ("f", "steps", "y=1", "y=2"),
    "keyword default": ("f", "steps", "z=2", "z=3"),
    "parameter": ("f", "steps", "*, z=2", "z=2"),
    "helper": ("f", "steps", "plain(plain(x))", "plain(x)"),
    "helper's helper": ("f", "steps", "return x + 1", "return x + 2"),
    "helper in another module": ("f", "helpers", "return two(x)", "return two(x) + 1"),
    "helper imported under another name": ("f", "more", "x + base()", "x - base()"),
    "helper's helper elsewhere": ("f", "more", "return 2", "return 3"),
    "helper by a star": ("f", "other", "second(x) *", "second(x) /"),
    "helper's helper by a star": ("third", "more", "return 2", "return 3"),
    "helper of a package": ("f", "pack/low", "x * BASE", "x / BASE"),
    "helper of a package's module": ("f", "pack/low", "deep(x):\n    return x", "deep(x):\n    return -x"),
    "where a package has it from": ("f", "pack/__init__", "import inside", "import deep as inside"),
    "constant": ("f", "steps", "LIMIT = 3", "LIMIT = 4"),
    "table": ("f", "steps", "(2, 3)", "(2, 4)"),
    "list": ("f", "steps", '"x", "y"', '"y", "x"'),
    "constant elsewhere": ("f", "other", "RATE = 0.5", "RATE = 0.6"),
    "another library": ("f", "steps", "import json", "import marshal as json"),
    "class": ("f", "steps", "x * 2", "x * 3"),
    "class attribute": ("f", "steps", "size = 3", "size = 4"),
    "renamed variable": ("square", "steps", "x: plain(x) * x", "v: plain(v) * v"),
    "decorator": ("decorated", "steps", "@marked\n", ""),
    "decorator's code": ("decorated", "steps", "return function(*args)", "return -function(*args)"),
    "decorated": ("decorated", "steps", "decorated(x):\n    return x", "decorated(x):\n    return -x"),
    "coroutine": ("awaited", "steps", "return x + 1", "return x + 2"),
    "coroutine itself": ("awaited", "steps", "async def", "def"),
    "generator": ("generated", "steps", "yield plain(x)", "yield plain(plain(x))"),
    "closure value": ("closure", "steps", "make(1)", "make(2)"),
    "closure's code": ("closure", "steps", "plain(x) + n", "plain(x) - n"),
    "closure's helper": ("closure", "steps", "return x + 1", "return x + 2"),
    "lambda": ("square", "steps", "plain(x) * x", "plain(x) ** x"),
    "first lambda of a line": ("first", "steps", "x: x + 1", "x: x + 3"),
    "second lambda of a line": ("second", "steps", "x: x + 2", "x: x + 3"),
    "method": ("method", "steps", "+ self.size", "- self.size"),
    "method of the method": ("method", "steps", "x * 2", "x * 3"),
    "attribute of the object": ("method", "steps", "self.kept = 5", "self.kept = 6"),
    "attribute of the method's class": ("method", "steps", "size = 3", "size = 4"),
    "base class": ("method", "steps", "class Tool:", "class Tool(dict):"),
    "circle": ("tell", "steps", "ask(x) if", "-ask(x) if"),
    "circle's other end": ("tell", "steps", "tell(x) +", "tell(x) -"),
    "what a circle reaches": ("tell", "steps", "return x + 1", "return x + 2"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "file", "old", "new"), CHANGES.values(), ids=CHANGES)
def test_j25_c02_an_edit_of_what_a_step_does_changes_its_fingerprint(
    project: Project, name: str, file: str, old: str, new: str
) -> None:
    assert project.print(BEFORE, name) != project.print(edited(file, old, new), name)


SAME = {
    "nothing": ("f", "steps", "x", "x"),
    "comment": ("f", "steps", "# and why", "# and where"),
    "docstring": ("f", "steps", "Says what it does.", "Says more."),
    "no docstring": ("f", "steps", '    """Says what it does."""\n', ""),
    "layout": ("f", "steps", "(x, y=1, *, z=2)", "(\n    x,\n    y = 1, *, z = 2,\n)"),
    "quotes": ("f", "steps", '"a": 1', "'a': 1"),
    "annotations": ("f", "steps", "(x, y=1, *, z=2)", "(x: int, y: 'int' = 1, *, z=2) -> float"),
    "annotation of a variable": ("f", "steps", "total = ", "total: int = "),
    "annotation of a constant": ("f", "steps", "LIMIT = 3", "LIMIT: int = 3"),
    "moved lines": ("f", "steps", "\nunused = 1", "\n\n\n# more\n\n\nunused = 1"),
    "another function of the file": ("f", "steps", "related(x):\n    return x", "related(x):\n    return -x"),
    "another constant of the file": ("f", "steps", "unused = 1", "unused = 2"),
    "another import of the file": ("f", "steps", "import json", "import json\nimport heapq"),
    "another function elsewhere": ("f", "helpers", "alone(x):\n    return x", "alone(x):\n    return -x"),
    "the other lambda of a line": ("first", "steps", "x: x + 2", "x: x + 3"),
    "another method of the class": (
        "method", "steps", "other(self, x):\n        return x", "other(self, x):\n        return -x",
    ),
    "moved to another module": ("f", "more", "def base():\n    return 2\n", "from most import base\n"),
    "order of the file": (
        "twice", "steps", "def plain(x):\n    return x + 1\n\n\ndef twice(x):\n    return plain(plain(x))",
        "def twice(x):\n    return plain(plain(x))\n\n\ndef plain(x):\n    return x + 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "file", "old", "new"), SAME.values(), ids=SAME)
def test_j25_c02_any_other_edit_leaves_it_as_it_is(
    project: Project, name: str, file: str, old: str, new: str
) -> None:
    most = {"most": "def base():\n    return 2\n"}
    assert project.print(BEFORE, name) == project.print({**edited(file, old, new), **most}, name)


UNUSUAL = {
    "steps": '''
import logging
from dataclasses import dataclass
from functools import singledispatch
import lazy

logging.basicConfig(level=1)

try:
    from absent import fast
except ImportError:
    from slow import fast

if logging:
    def chosen(x):
        return 1
else:
    def chosen(x):
        return 2

TABLE = {}
TABLE["a"] = 1
NAMES = []
NAMES.append("x")
for each in (1, 2):
    TABLE[each] = each
OTHERS, MORE = 1, 2


class Registry:
    def __init__(self):
        self.known = {}

    def register(self, name):
        def note(function):
            self.known[name] = function
            return function

        return note

    def fill(self, **named):
        self.known.update(named)


registry = Registry()
registry.fill(a=1)


@registry.register("b")
def registered(x):
    return x


@singledispatch
def shown(x):
    return str(x)


@shown.register(int)
def shown_int(x):
    return hex(x)


@dataclass
class Row:
    first: int
    second: str = "a"


class Dynamic:
    def work(self, x):
        return getattr(self, "hidden")(x)

    def hidden(self, x):
        return x


def f(x):
    logging.info(x)
    Row(x)
    return fast(x), chosen(x), TABLE, NAMES, MORE, registry.known, shown(x), lazy.late(x)


dynamic = Dynamic().work
''',
    "slow": "def fast(x):\n    return x\n",
    "lazy": "def __getattr__(name):\n    return print\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "same"),
    [
        ("f", "slow", "return x", "return -x", False),
        ("f", "steps", "absent import fast", "absent import slow as fast", False),
        ("f", "steps", "return 1", "return 3", False),
        ("f", "steps", "return 2", "return 3", False),
        ("f", "steps", '["a"] = 1', '["a"] = 2', False),
        ("f", "steps", 'append("x")', 'append("y")', False),
        ("f", "steps", "(1, 2):", "(1, 3):", False),
        ("f", "steps", "OTHERS, MORE = 1, 2", "OTHERS, MORE = 1, 3", False),
        ("f", "steps", "fill(a=1)", "fill(a=2)", False),
        ("f", "steps", "registered(x):\n    return x", "registered(x):\n    return -x", False),
        ("f", "steps", "hex(x)", "oct(x)", False),
        ("f", "steps", "first: int", "first: float", False),
        ("f", "steps", "second: str", "third: str", False),
        ("f", "steps", "level=1", "level=2", True),
        ("f", "lazy", "return print", "return len", False),
        ("dynamic", "steps", "n(self, x):\n        return x", "n(self, x):\n        return -x", False),
    ],
)  # fmt: skip
def test_j25_what_is_made_in_an_unusual_way_counts(
    project: Project, name: str, file: str, old: str, new: str, same: bool
) -> None:
    assert UNUSUAL[file].count(old) == 1
    after = {**UNUSUAL, file: UNUSUAL[file].replace(old, new)}
    assert (project.print(UNUSUAL, name) == project.print(after, name)) is same


def test_functions_that_call_each_other_have_the_same_from_wherever_one_comes(project: Project) -> None:
    loaded = project.load(BEFORE)
    calls = [loaded.tell, loaded.ask, loaded.answer]
    try:
        alone = [fingerprint(call) for call in calls]
        for order in permutations(range(3)):
            prints = Fingerprints()
            found = {at: prints.of(calls[at]) for at in order}
            assert [found[at] for at in range(3)] == alone
    finally:
        for one in project.new:
            sys.modules.pop(one, None)
    assert len({*alone}) == 3


# ----------------------------------------------------------------------------------------------------------
# Imports inside functions
# ----------------------------------------------------------------------------------------------------------

INSIDE = {
    "steps": '''
def f(x):
    import json
    import pack.low as low
    import pack.high
    from helpers import first as second
    from pack import inside
    from absent import nothing
    return second(x) + low.deep(x) + pack.high.up(x) + inside(x)
''',
    "helpers": "from more import *\ndef first(x):\n    return two(x)\ndef alone(x):\n    return 1\n",
    "more": "def two(x):\n    return 2\n",
    "pack/__init__": "from .low import inside\n",
    "pack/low": "def inside(x):\n    return 1\ndef deep(x):\n    return 2\n",
    "pack/high": "from .low import deep\ndef up(x):\n    return 3\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("helpers", "return two(x)", "return -two(x)", False),
        ("helpers", "return 1", "return 2", True),
        ("more", "return 2", "return 3", False),
        ("pack/low", "return 1", "return 3", False),
        ("pack/low", "return 2", "return 3", False),
        ("pack/high", "return 3", "return 4", False),
        ("steps", "helpers import first", "helpers import alone", False),
        ("steps", "import json", "import heapq", False),
    ],
)
def test_j25_modules_that_a_function_imports_count_whether_or_not_they_are_loaded(
    project: Project, file: str, old: str, new: str, same: bool
) -> None:
    before = project.print(INSIDE)
    loaded = {**INSIDE, "steps": "import helpers, pack.high, pack.low, more\n" + INSIDE["steps"]}
    assert project.print(loaded) == before
    assert old in INSIDE[file]
    assert (project.print({**INSIDE, file: INSIDE[file].replace(old, new)}) == before) is same


# ----------------------------------------------------------------------------------------------------------
# The same in every process
# ----------------------------------------------------------------------------------------------------------

MAIN = """
from penstock.core.fingerprint import Fingerprints, fingerprint
from helpers import first
LIMIT = frozenset({"a", "b", "c"})

class Tool:
    def work(self, x):
        return first(x) in LIMIT

def f(x):
    return Tool().work(x) or x in {"d", "e", "f"}

def make(n):
    return lambda x: (x, n)

def show():
    calls = f, Tool().work, make({"d", "e"}), lambda x: {"a", "b"} - x
    print(*map(fingerprint, calls), *Fingerprints().parts(f))
"""
HELPERS = "def first(x):\n    return x\n"


def shown(folder: Path, *args: str, seed: str = "0", given: str | None = None) -> list[str]:
    """What a fresh process prints."""
    import penstock

    paths = f"{folder}{os.pathsep}{Path(penstock.__file__).parents[1]}"
    done = subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_j25_it_is_the_same_in_every_process_and_wherever_the_project_is(tmp_path: Path) -> None:
    found = []
    for at, seed in enumerate("0123"):
        folder = tmp_path / f"machine {at}"
        folder.mkdir()
        (folder / "steps.py").write_text(MAIN + "if __name__ == '__main__':\n    show()\n")
        (folder / "helpers.py").write_text(HELPERS)
        how = [
            ["-c", "import steps; steps.show()"],
            ["steps.py"],
            ["-m", "steps"],
            [str(folder / "steps.py")],
        ]
        found.append(shown(folder, *how[at], seed=seed))
    assert len(set(found[0][:4])) == 4
    assert found[0][4:] == ["helpers:first", "steps:LIMIT", "steps:Tool", "steps:f"]
    assert found == [found[0]] * 4


def test_code_from_a_prompt_has_one(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(HELPERS)
    typed = MAIN + "\nshow()\n"
    first, again, other, helper = (
        shown(tmp_path, "-", given=text, seed=seed)
        for text, seed in (
            (typed, "1"),
            ("# more\n" + typed, "2"),
            (typed.replace("first(x) in", "first(x) not in"), "1"),
            (typed, "1"),
        )
    )
    assert first == again == helper
    assert (other[0] == first[0], other[1] == first[1]) == (False, False)
    (tmp_path / "helpers.py").write_text(HELPERS.replace("return x", "return -x"))
    assert shown(tmp_path, "-", given=typed)[0] != first[0]


# ----------------------------------------------------------------------------------------------------------
# Files that were edited after they were loaded
# ----------------------------------------------------------------------------------------------------------

EDITED = {
    "steps": "import helpers\nLIMIT = 3\n\ndef f(x):\n    return helpers.first(x) + LIMIT\n",
    "helpers": "def first(x):\n    return second(x)\n\ndef second(x):\n    return x\n",
}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("steps", "+ LIMIT", "- LIMIT"),
        ("helpers", "second(x)\n\n", "-second(x)\n\n"),
        ("helpers", "return x", "return -x"),
    ],
)
def test_j25_code_that_was_edited_after_it_was_loaded_does_not_count_as_what_it_is_now(
    project: Project, file: str, old: str, new: str
) -> None:
    now = {**EDITED, file: EDITED[file].replace(old, new)}
    loaded = project.load(EDITED)
    try:
        before = fingerprint(loaded.f)
        Path(project.path, f"{file}.py").write_text(now[file])
        stale = fingerprint(loaded.f)
    finally:
        for one in project.new:
            sys.modules.pop(one, None)
    assert before == project.print(EDITED)
    assert stale not in (before, project.print(now))


def test_a_comment_that_was_edited_after_the_file_was_loaded_changes_nothing(project: Project) -> None:
    loaded = project.load(EDITED)
    try:
        before = fingerprint(loaded.f)
        Path(project.path, "steps.py").write_text(EDITED["steps"] + "# more\n")
        assert fingerprint(loaded.f) == before
    finally:
        for one in project.new:
            sys.modules.pop(one, None)
