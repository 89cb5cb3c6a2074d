"""The shape of the house: who may import whom, what is pure, how large a thing may grow.

Every rule is a checker, a function from a Tree to a list of complaints. Each is tested twice: on the sources,
where it must find nothing, and on small planted violations, where it must find exactly that. Imports for type
checkers only and imports inside functions count like any other. An exception has its reason in
docs/decisions/.
"""

import ast
import graphlib
import io
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"

# The floors. A new file or package at the top of the package must find its place here.
FACES = {"flow", "dialects", "cli", "ui"}
PARTS = {"runners", "stores", "codecs", "observers", "draw", "report"}
OTHERS = {"", "core", "wiring", "testing", "discovery", "config", "__main__"}
FLOORS = FACES | PARTS | OTHERS

SHELL = {"penstock.core.engine", "penstock.core.machine"}  # what no part may see

PURE = ("penstock.core.machine", "penstock.core.plan", "penstock.core.rules", "penstock.core.limits")
PURE_MAY_IMPORT = {
    *("__future__", "abc", "array", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib"),
    *("heapq", "itertools", "math", "operator", "types", "typing", "zlib"),
}
IMPURE = {"asyncio", "logging", "random", "sqlite3", "threading", "time"}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PUBLIC_METHODS = 20
MAX_PARAMETERS = 8
MAX_MACHINE_LINES = 2_100  # docs/decisions/0007

# Signatures with more parameters, by qualified name: those that the dialects' documents give, and the two
# whose options are one TypedDict.
ALLOWED = {"Flow.step", "Flow.add"}


# ----------------------------------------------------------------------------------------------------------
# The tree: modules, their imports, their lines
# ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    target: str  # a module: of ours where it can be told, otherwise as written
    names: tuple[str, ...]  # what `from target import ...` takes that is not a module itself
    line: int
    in_function: bool


Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = tuple[str, Function | ast.ClassDef, bool]


class Module:
    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.syntax = ast.parse(text, path)
        parts = path.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)

    @property
    def top(self) -> str:
        return place_of(self.name)

    def at(self, line: int) -> str:
        return f"src/{self.path}:{line}"

    @cached_property
    def code_lines(self) -> set[int]:
        """The numbers of the lines that hold code: no blank line, comment or docstring."""
        layout = {
            *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
            *(tokenize.ENCODING, tokenize.ENDMARKER),
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in layout:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.syntax):
            match node:
                case ast.Expr(value=ast.Constant(value=str())):
                    lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return lines

    def definitions(self) -> Iterator[Definition]:
        """Every function and class with its qualified name, and whether it stands directly in a class."""

        def walk(node: ast.AST, prefix: str, in_class: bool) -> Iterator[Definition]:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, Function | ast.ClassDef):
                    yield prefix + child.name, child, in_class
                    yield from walk(child, f"{prefix}{child.name}.", isinstance(child, ast.ClassDef))
                else:
                    yield from walk(child, prefix, in_class)

        yield from walk(self.syntax, "", False)


class Tree:
    """The package, from a mapping of path below src to text."""

    def __init__(self, files: dict[str, str]) -> None:
        modules = [Module(path, text) for path, text in sorted(files.items())]
        self.modules = {module.name: module for module in modules}
        self.imports = {module.name: list(self._imports(module)) for module in modules}

    def __iter__(self) -> Iterator[tuple[Module, Import]]:
        """Each import of each module."""
        for name, imports in self.imports.items():
            for imported in imports:
                yield self.modules[name], imported

    def _imports(self, module: Module) -> Iterator[Import]:
        def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
            match node:
                case ast.Import(names=aliases):
                    for alias in aliases:
                        yield Import(alias.name, (), node.lineno, in_function)
                case ast.ImportFrom():
                    yield from self._imports_from(module, node, in_function)
                case ast.Call(
                    func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                    args=[ast.Constant(value=str(target)), *_],
                ):
                    yield Import(target, (), node.lineno, in_function)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    in_function = True
            for child in ast.iter_child_nodes(node):
                yield from walk(child, in_function)

        return walk(module.syntax, False)

    def _imports_from(self, module: Module, node: ast.ImportFrom, in_function: bool) -> Iterator[Import]:
        base = node.module or ""
        if node.level:
            package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, base] if base else package)
        names = []
        for alias in node.names:
            if f"{base}.{alias.name}" in self.modules:
                yield Import(f"{base}.{alias.name}", (), node.lineno, in_function)
            else:
                names.append(alias.name)
        if names:
            yield Import(base, tuple(names), node.lineno, in_function)

    def reached(self, imported: Import) -> list[str]:
        """The modules of ours that an import reaches: its target, and where a package has its names from.

        `from penstock import __version__`, allowed to all but the core, reaches nothing."""
        if not within(imported.target, "penstock"):
            return []
        if imported.target == "penstock" and imported.names == ("__version__",):
            return []
        found = [imported.target]
        target = self.modules.get(imported.target)
        if target and target.is_package:
            for other in self.imports[target.name]:
                if set(other.names) & set(imported.names) and other.target != target.name:
                    found += self.reached(other)
        return found

    def offences(
        self, floors: Collection[str], bad: Callable[[Module, str], bool]
    ) -> Iterator[tuple[Module, Import, str]]:
        """Each import on some floors that reaches a module which it must not, with the first such module."""
        for module, imported in self:
            if module.top in floors:
                for home in self.reached(imported):
                    if bad(module, home):
                        yield module, imported, home
                        break


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def place_of(name: str) -> str:
    """Where a module stands below `penstock`: 'core', 'runners', ...; '' for the package's own file."""
    return name.partition(".")[2].partition(".")[0]


# ----------------------------------------------------------------------------------------------------------
# The rules
# ----------------------------------------------------------------------------------------------------------

Checker = Callable[[Tree], list[str]]


def strangers(tree: Tree) -> list[str]:
    return [
        f"src/{module.path}: {module.top!r} has no floor; place it in FACES, PARTS or OTHERS of this test"
        for module in tree.modules.values()
        if module.top not in FLOORS
    ]


def rule_1_core_looks_up_to_nobody(tree: Tree) -> list[str]:
    return [
        f"{module.at(i.line)}: core imports {i.target}; it may import the standard library and itself only"
        for module, i in tree
        if module.top == "core"
        and not within(i.target, "penstock.core")
        and i.target.partition(".")[0] not in sys.stdlib_module_names
    ]


def rule_2_parts_see_core_data_only(tree: Tree) -> list[str]:
    def bad(module: Module, home: str) -> bool:
        return place_of(home) not in ("core", module.top) or any(within(home, shell) for shell in SHELL)

    return [
        f"{module.at(i.line)}: {module.top} imports {home}; "
        "a part may import itself and penstock.core, there neither engine nor machine"
        for module, i, home in tree.offences(PARTS, bad)
    ]


def rule_3_faces_see_wiring_and_core_only(tree: Tree) -> list[str]:
    def bad(module: Module, home: str) -> bool:
        return place_of(home) not in ("core", "wiring", module.top)

    return [
        f"{module.at(i.line)}: {module.top} imports {home}; "
        "a face may import penstock.wiring, penstock.core and itself only"
        for module, i, home in tree.offences(FACES, bad)
    ]


def rule_3_dialects_do_not_know_each_other(tree: Tree) -> list[str]:
    """A module `dialects._x` is shared by all of them. The package itself hands on no dialect."""

    def bad(module: Module, home: str) -> bool:
        shared = home == "penstock.dialects" or home.startswith("penstock.dialects._")
        if place_of(home) != "dialects" or shared:
            return False
        own = ".".join(module.name.split(".")[:3])
        return module.name == "penstock.dialects" or not within(home, own)

    return [
        f"{module.at(i.line)}: {module.name} imports {home}; dialects never know each other"
        for module, i, home in tree.offences({"dialects"}, bad)
    ]


def rule_4_wiring_alone_names_parts(tree: Tree) -> list[str]:
    def bad(module: Module, home: str) -> bool:
        return place_of(home) in PARTS - {module.top}

    return [
        f"{module.at(i.line)}: {module.name} imports {home}; only functions of penstock.wiring import parts"
        for module, i, home in tree.offences(FLOORS, bad)
        if module.top != "wiring" or not i.in_function
    ]


def rule_4_the_test_kit_stands_on_wiring_and_core(tree: Tree) -> list[str]:
    def bad(module: Module, home: str) -> bool:
        if module.top == "testing":
            return place_of(home) not in ("core", "wiring", "testing")
        return place_of(home) == "testing"

    return [
        f"{module.at(i.line)}: {module.name} imports {home}; "
        "the test kit uses penstock.wiring and penstock.core only, and no source uses the test kit"
        for module, i, home in tree.offences(FLOORS, bad)
    ]


def rule_5_pure_modules_import_what_is_listed(tree: Tree) -> list[str]:
    return [
        f"{module.at(i.line)}: {module.name} is pure and imports {i.target}, which is not in PURE_MAY_IMPORT"
        for module, i in tree
        if any(within(module.name, pure) for pure in PURE)
        and not within(i.target, "penstock")
        and i.target.partition(".")[0] not in PURE_MAY_IMPORT
    ]


def rule_5_pure_modules_stand_on_pure_ground(tree: Tree) -> list[str]:
    """What a pure module reaches through others of ours has no clock, chance, thread or file either."""
    found = []
    reached_from = {name: name for name in tree.modules if any(within(name, pure) for pure in PURE)}
    queue = list(reached_from)
    for name in queue:
        for i in tree.imports.get(name, ()):
            for home in tree.reached(i):
                if home not in reached_from:
                    reached_from[home] = name
                    queue.append(home)
            if i.target.partition(".")[0] in IMPURE and not any(within(name, pure) for pure in PURE):
                at = tree.modules[name].at(i.line)
                found.append(f"{at}: {name} imports {i.target}, and pure {reached_from[name]} imports {name}")
    return found


def rule_6_no_circles(tree: Tree) -> list[str]:
    """Shows one circle at a time. To import a submodule does not count as importing the package around it."""
    graph = {name: set[str]() for name in tree.modules}
    for module, i in tree:
        graph[module.name] |= {i.target} & tree.modules.keys()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"import circle: {' <- '.join(error.args[1])}"]
    return []


def rule_6_files_are_short(tree: Tree) -> list[str]:
    return [
        f"src/{module.path}: {len(module.code_lines)} lines of code; {MAX_FILE_LINES} are allowed"
        for module in tree.modules.values()
        if len(module.code_lines) > MAX_FILE_LINES
    ]


def rule_6_functions_are_short(tree: Tree) -> list[str]:
    found = []
    for module in tree.modules.values():
        for name, node, _ in module.definitions():
            lines = len(module.code_lines.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
            if isinstance(node, Function) and lines > MAX_FUNCTION_LINES:
                found.append(
                    f"{module.at(node.lineno)}: {name} has {lines} lines of code; "
                    f"{MAX_FUNCTION_LINES} are allowed"
                )
    return found


def rule_6_classes_are_narrow(tree: Tree) -> list[str]:
    """Overloads and the setter of a property are one method with what they belong to; tests are none."""
    found = []
    for module in tree.modules.values():
        for name, node, _ in module.definitions():
            if isinstance(node, ast.ClassDef):
                public = {f.name for f in node.body if isinstance(f, Function)}
                public = {name for name in public if not name.startswith(("_", "test_"))}
                if len(public) > MAX_PUBLIC_METHODS:
                    found.append(
                        f"{module.at(node.lineno)}: {name} has {len(public)} public methods; "
                        f"{MAX_PUBLIC_METHODS} are allowed"
                    )
    return found


def rule_6_signatures_are_narrow(tree: Tree) -> list[str]:
    """`self` and `cls` do not count; `*args` and `**kwargs` count as one each."""
    found = []
    for module in tree.modules.values():
        for name, node, in_class in module.definitions():
            if isinstance(node, ast.ClassDef) or name in ALLOWED:
                continue
            given = node.args
            count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            count += (given.vararg is not None) + (given.kwarg is not None)
            static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
            if in_class and not static and (given.posonlyargs or given.args):
                count -= 1
            if count > MAX_PARAMETERS:
                found.append(
                    f"{module.at(node.lineno)}: {name} takes {count} parameters; more than "
                    f"{MAX_PARAMETERS} need a frozen options class, or a place in ALLOWED of this test"
                )
    return found


def rule_6_machine_is_small(tree: Tree) -> list[str]:
    machine = [module for module in tree.modules.values() if within(module.name, "penstock.core.machine")]
    lines = sum(len(module.code_lines) for module in machine)
    if lines <= MAX_MACHINE_LINES:
        return []
    return [f"src/penstock/core/machine: {lines} lines of code together; {MAX_MACHINE_LINES} are allowed"]


# ----------------------------------------------------------------------------------------------------------
# On the sources
# ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources() -> Tree:
    return Tree({p.relative_to(SRC).as_posix(): p.read_text("utf-8") for p in SRC.rglob("*.py")})


def hold(found: list[str]) -> None:
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_the_walk_sees_the_package(sources: Tree) -> None:
    assert {"penstock", "penstock.core", "penstock.core.model"} <= sources.modules.keys()
    assert any(i.target == "penstock.core.errors" for i in sources.imports["penstock"])


def test_every_module_has_a_floor(sources: Tree) -> None:
    hold(strangers(sources))


@pytest.mark.parametrize("name", sorted(SHELL.union(PURE)))
def test_what_the_rules_name_is_there(sources: Tree, name: str) -> None:
    hold([] if name in sources.modules else [f"{name} is gone; the rules that name it would hold nothing"])


def test_core_imports_core_and_the_standard_library_only(sources: Tree) -> None:
    hold(rule_1_core_looks_up_to_nobody(sources))


def test_parts_import_core_data_only(sources: Tree) -> None:
    hold(rule_2_parts_see_core_data_only(sources))


def test_faces_import_wiring_and_core_only(sources: Tree) -> None:
    hold(rule_3_faces_see_wiring_and_core_only(sources))


def test_dialects_do_not_import_each_other(sources: Tree) -> None:
    hold(rule_3_dialects_do_not_know_each_other(sources))


def test_only_wiring_imports_parts_and_only_on_use(sources: Tree) -> None:
    hold(rule_4_wiring_alone_names_parts(sources))


def test_the_test_kit_imports_wiring_and_core_only_and_no_source_imports_it(sources: Tree) -> None:
    hold(rule_4_the_test_kit_stands_on_wiring_and_core(sources))


def test_pure_modules_import_only_what_is_listed(sources: Tree) -> None:
    hold(rule_5_pure_modules_import_what_is_listed(sources))


def test_pure_modules_reach_nothing_impure(sources: Tree) -> None:
    hold(rule_5_pure_modules_stand_on_pure_ground(sources))


def test_no_import_circle(sources: Tree) -> None:
    hold(rule_6_no_circles(sources))


def test_no_file_is_too_long(sources: Tree) -> None:
    hold(rule_6_files_are_short(sources))


def test_no_function_is_too_long(sources: Tree) -> None:
    hold(rule_6_functions_are_short(sources))


def test_no_class_has_too_many_public_methods(sources: Tree) -> None:
    hold(rule_6_classes_are_narrow(sources))


def test_no_function_has_too_many_parameters(sources: Tree) -> None:
    hold(rule_6_signatures_are_narrow(sources))


def test_the_machine_stays_small(sources: Tree) -> None:
    hold(rule_6_machine_is_small(sources))


# ----------------------------------------------------------------------------------------------------------
# On planted sources
# ----------------------------------------------------------------------------------------------------------

HOUSE = {
    "penstock/__init__.py": "",
    "penstock/core/__init__.py": "from .engine import Engine\nfrom .model import Node",
    "penstock/core/model.py": "import enum\nclass Node: ...",
    "penstock/core/ports.py": "from __future__ import annotations\nfrom .model import Node",
    "penstock/core/plan.py": "from array import array\nfrom .model import Node",
    "penstock/core/machine/__init__.py": "from .state import State",
    "penstock/core/machine/state.py": "from ..plan import Plan\nimport collections.abc",
    "penstock/core/engine.py": "import time\nfrom .machine import State",
    "penstock/runners/__init__.py": "",
    "penstock/runners/threads.py": "import loky\nfrom penstock.core.ports import Node\nfrom . import pool",
    "penstock/runners/pool.py": "from penstock import __version__",
    "penstock/stores/sqlite.py": "from penstock.core import Node",
    "penstock/wiring.py": "from .core.engine import Engine\ndef runner():\n    from .runners import threads",
    "penstock/testing.py": "from penstock.core.machine import State",
    "penstock/flow/__init__.py": "from .steps import Flow",
    "penstock/flow/steps.py": "from penstock import wiring\nfrom penstock.core.model import Node",
    "penstock/dialects/__init__.py": "KNOWN = ()",
    "penstock/dialects/_names.py": "from penstock.core.model import Node",
    "penstock/dialects/steps.py": "from penstock.dialects._names import Node\nfrom ..wiring import runner",
    "penstock/dialects/workflow.py": "from . import KNOWN, _names",
    "penstock/cli/__init__.py": "from penstock import __version__, wiring",
}
"""A house in order. A planted violation replaces or adds one file."""

RULES = [value for name, value in sorted(globals().items()) if name.startswith("rule_")] + [strangers]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_house_in_order_passes(rule: Checker) -> None:
    assert rule(Tree(HOUSE)) == []


def lines(count: int, indent: str = "") -> str:
    return "".join(f"{indent}x = {n}\n" for n in range(count))


def methods(count: int) -> str:
    return "class Wide:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(count))


IN_FUNCTION = "def f():\n    "
FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "

PLANTED: dict[Checker, list[tuple[str, str, str]]] = {
    strangers: [
        ("utils.py", "", "'utils' has no floor"),
    ],
    rule_1_core_looks_up_to_nobody: [
        ("core/a.py", "import attrs", "core imports attrs"),
        ("core/a.py", "from penstock import flow", "imports penstock.flow"),
        ("core/a.py", "from .. import wiring", "imports penstock.wiring"),
        ("core/a.py", "from penstock import __version__", "imports penstock;"),
        ("core/a.py", FOR_TYPES + "import penstock.runners.pool", "a.py:3"),
        ("core/a.py", IN_FUNCTION + "from ..flow import Flow", "a.py:2"),
        ("core/a.py", "__import__('penstock.flow')", "imports penstock.flow"),
    ],
    rule_2_parts_see_core_data_only: [
        ("runners/a.py", "from penstock.core import engine", "core.engine"),
        ("runners/a.py", "from penstock.core import Engine", "core.engine"),
        ("runners/a.py", "import penstock.core.machine.state", "core.machine.state"),
        ("runners/a.py", FOR_TYPES + "from ..stores import sqlite", "stores.sqlite"),
        ("codecs/a.py", IN_FUNCTION + "import penstock.wiring", "penstock.wiring"),
        ("draw/a.py", "from penstock import Flow", "draw imports penstock;"),
    ],
    rule_3_faces_see_wiring_and_core_only: [
        ("cli/a.py", "from ..flow import Flow", "cli imports penstock.flow"),
        ("ui/a.py", IN_FUNCTION + "import penstock.draw.svg", "draw.svg"),
        ("flow/a.py", FOR_TYPES + "from ..cli import main", "penstock.cli"),
        ("dialects/a.py", "from penstock import Flow", "imports penstock;"),
    ],
    rule_3_dialects_do_not_know_each_other: [
        ("dialects/a.py", "from . import steps", "dialects.steps"),
        ("dialects/a.py", "from .steps import Node", "dialects.steps"),
        ("dialects/_a.py", "from .steps import Node", "dialects.steps"),
        ("dialects/__init__.py", "from .steps import Node", "dialects.steps"),
    ],
    rule_4_wiring_alone_names_parts: [
        ("wiring.py", "from .runners import threads", "only functions of"),
        ("wiring.py", FOR_TYPES + "from .runners import pool", "only functions of"),
        ("testing.py", IN_FUNCTION + "import penstock.stores.sqlite", "only functions of"),
        ("__init__.py", "import penstock.runners", "only functions of"),
    ],
    rule_4_the_test_kit_stands_on_wiring_and_core: [
        ("testing.py", "from penstock.flow import Flow", "imports penstock.flow"),
        ("flow/a.py", "from penstock.testing import Clock", "imports penstock.testing"),
    ],
    rule_5_pure_modules_import_what_is_listed: [
        ("core/rules.py", "import time", "imports time"),
        ("core/limits.py", IN_FUNCTION + "import random", "imports random"),
        ("core/machine/a.py", FOR_TYPES + "import logging", "a.py:3"),
    ],
    rule_5_pure_modules_stand_on_pure_ground: [
        ("core/model.py", IN_FUNCTION + "import sqlite3", "imports sqlite3"),
        ("core/rules.py", "from .engine import x", "imports time"),
    ],
    rule_6_no_circles: [
        ("core/model.py", "from .ports import x", "penstock.core.ports"),
        ("core/model.py", FOR_TYPES + "from .engine import Engine", "penstock.core.engine"),
        ("flow/steps.py", IN_FUNCTION + "from . import Flow", "penstock.flow.steps"),
    ],
    rule_6_files_are_short: [
        ("core/a.py", '"""Text."""\n' + lines(501), "501 lines"),
    ],
    rule_6_functions_are_short: [
        ("core/a.py", "def f():\n" + lines(60, "    "), "f has 61 lines"),
        ("core/a.py", "class A:\n  async def f(self):\n" + lines(60, "    "), "A.f has 61"),
    ],
    rule_6_classes_are_narrow: [
        ("core/a.py", methods(21), "Wide has 21 public methods"),
    ],
    rule_6_signatures_are_narrow: [
        ("core/a.py", "def f(a, b, c, d, /, e, *f, g, h, **i): ...", "9 parameters"),
        ("core/a.py", "class A:\n  @staticmethod\n  def f(a,b,c,d,e,f,g,h,i): ...", "A.f"),
    ],
    rule_6_machine_is_small: [
        ("core/machine/a.py", lines(2_100), "2103 lines"),
    ],
}
"""By rule: a file below penstock/, its text, and what the complaint says."""


@pytest.mark.parametrize(
    ("rule", "path", "text", "says"),
    [(rule, *planted) for rule, cases in PLANTED.items() for planted in cases],
)
def test_a_planted_violation_is_found(rule: Checker, path: str, text: str, says: str) -> None:
    found = rule(Tree({**HOUSE, f"penstock/{path}": text}))
    assert len(found) == 1
    assert says in found[0]


def test_every_rule_has_a_planted_violation() -> None:
    assert set(PLANTED) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rule_6_files_are_short, lines(500) + "\n\n# a comment\n" + '"""Text\n\nthat is not code."""\n'),
        (
            rule_6_functions_are_short,
            'def f():\n    """Doc\n\n    string."""\n    # why\n\n' + lines(59, "    "),
        ),
        (
            rule_6_classes_are_narrow,
            methods(20) + "    def _own(self): ...\n    @m1.setter\n    def m1(self, v): ...\n",
        ),
        (rule_6_signatures_are_narrow, "class A:\n  def f(self, a, b, c, d, e, f, g, h): ..."),
        (rule_6_signatures_are_narrow, "class Flow:\n  def step(self, a, b, c, d, e, f, g, h, i, j): ..."),
    ],
)
def test_the_largest_that_is_allowed_passes(rule: Checker, text: str) -> None:
    assert rule(Tree({**HOUSE, "penstock/core/a.py": text})) == []
