"""The package's face: which names it has, and what loading it costs."""

import ast
import builtins
import compileall
import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import penstock

PACKAGE = Path(penstock.__file__).parent

NEVER_LOADED = {
    *("asyncio", "sqlite3", "multiprocessing", "concurrent.futures", "importlib.metadata"),
    *("logging", "inspect", "dataclasses", "json", "pickle", "subprocess", "unittest"),
}
"""By `import penstock` alone, besides everything third-party."""

GATE_MS = 60


# ----------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------


def imported_for_types() -> dict[str, str]:
    """The names that the package's file imports for type checkers, and from where."""
    (block,) = (
        node
        for node in ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.asname or alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_all_is_sorted_and_says_nothing_twice() -> None:
    assert penstock.__all__ == sorted(set(penstock.__all__))


def test_all_is_what_is_exported_lazily_and_the_version() -> None:
    assert set(penstock.__all__) == {*penstock._HOME, "__version__"} - vars(builtins).keys()


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    assert imported_for_types() == penstock._HOME


@pytest.mark.parametrize("name", penstock.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(penstock, name) is not None


def test_dir_shows_every_public_name() -> None:
    assert set(penstock.__all__) <= set(dir(penstock))


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="module 'penstock' has no attribute 'Flwo'") as caught:
        penstock.Flwo  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("Flwo", penstock)  # what "Did you mean" is made from


# ----------------------------------------------------------------------------------------------------------
# What loading it loads
# ----------------------------------------------------------------------------------------------------------


def run(code: str) -> str:
    """What a fresh interpreter prints, without this process's PYTHON* variables and coverage."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    done = subprocess.run([sys.executable, "-I", "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str, directory: Path) -> set[str]:
    """The modules that a statement loads in a fresh interpreter that finds the package in this directory."""
    before = f"import sys; sys.path.insert(0, {str(directory)!r}); before = set(sys.modules)"
    return set(run(f"{before}\n{statement}\nprint(*set(sys.modules) - before)").split())


def third_party(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] not in {*sys.stdlib_module_names, "penstock"}}


def test_import_penstock_loads_nothing_large() -> None:
    loaded = loaded_by("import penstock", PACKAGE.parent)
    assert "penstock" in loaded
    assert third_party(loaded) == set()
    assert loaded & NEVER_LOADED == set()
    assert {name for name in loaded if name.startswith("penstock.")} == set()


def test_the_native_face_loads_no_third_party_module_and_neither_asyncio_nor_sqlite3() -> None:
    loaded = loaded_by("from penstock import Flow", PACKAGE.parent)
    assert "penstock.flow" in loaded
    assert third_party(loaded) == set()
    assert loaded & {"asyncio", "sqlite3"} == set()


def test_what_a_package_loads_is_seen(tmp_path: Path) -> None:
    (tmp_path / "penstock.py").write_text("import sqlite3, other")
    (tmp_path / "other.py").write_text("def f(): ...")
    loaded = loaded_by("import penstock", tmp_path)
    assert "sqlite3" in loaded & NEVER_LOADED
    assert third_party(loaded) == {"other"}


# ----------------------------------------------------------------------------------------------------------
# What loading it costs: the one gate on time in these tests
# ----------------------------------------------------------------------------------------------------------


def cpu_ms(code: str) -> float:
    """The processor time of a fresh interpreter. Elapsed time would count what else the machine is doing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1_000


def cost_ms(statement: str, directory: Path, rounds: int) -> float:
    """The median over alternated rounds of what a statement costs more than a bare interpreter."""
    start = f"import sys; sys.path.insert(0, {str(directory)!r})"
    return statistics.median(cpu_ms(f"{start}; {statement}") - cpu_ms(start) for _ in range(rounds))


@pytest.mark.parametrize("statement", ["import penstock", "from penstock import Flow"])
def test_loading_stays_within_its_budget(statement: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(tmp_path / "penstock", quiet=1)
    cost_ms(statement, tmp_path, rounds=1)
    assert cost_ms(statement, tmp_path, rounds=11) <= GATE_MS


def test_a_slow_package_exceeds_the_budget(tmp_path: Path) -> None:
    end = f"time.process_time() + {GATE_MS * 1.5 / 1_000}"
    (tmp_path / "penstock.py").write_text(f"import time\nend = {end}\nwhile time.process_time() < end: ...")
    assert cost_ms("import penstock", tmp_path, rounds=3) > GATE_MS
