"""The pages of the four vocabularies: the same headings, every name, every limit that a document names."""

from __future__ import annotations

import ast
import builtins
import enum
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIALECTS = ("pipelines", "definitions", "workflow", "steps")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
NAMES = "Every name"
LIMITS = "Limitations and future additions"


def read(dialect: str) -> str:
    """A page without its blocks."""
    return FENCE.sub("", (ROOT / "docs" / "dialects" / f"{dialect}.md").read_text("utf-8"))


HEADINGS = [
    "What it is for",
    "Examples",
    NAMES,
    "From the command line",
    "Differences from the source system",
    LIMITS,
    "How to move to the native API",
]


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert found is not None
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    lines = re.findall(r"^\|(.+)\|$", text.partition("|\n\n")[0] + "|", re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def said(text: str, word: str) -> bool:
    """Whether a word stands somewhere in code."""
    return re.search(rf"`[^`\n]*(?<!\w){re.escape(word)}(?!\w)[^`\n]*`", text) is not None


# ----------------------------------------------------------------------------------------------------------
# Headings and tables
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_pages_have_the_same_headings_in_the_same_order(dialect: str) -> None:
    assert re.findall(r"^## (.+)$", read(dialect), re.M) == HEADINGS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_the_examples_have_headings_of_their_own(dialect: str) -> None:
    page = read(dialect)
    assert re.findall(r"^###+ .+$", page, re.M) == re.findall(r"^### .+$", section(page, "Examples"), re.M)
    assert page.startswith("# ")
    assert page.count("\n# ") == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_table_is_broken(dialect: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", read(dialect), re.M):
        rows = block.splitlines()
        assert set(rows[1]) == {"|", "-"}
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(widths) == 1, rows[0]
        assert all(row.startswith("| ") and row.endswith(" |") for row in rows if row != rows[1])


# ----------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------


OF_NO_USER = {"args", "model_config", "inputs", "run_with"}
"""Of exceptions, of pydantic, and what only the command line asks of whatever can be run."""


def facts(thing: Any) -> set[str]:
    """Whatever a user can write of a name: members, attributes and parameters."""
    if not isinstance(thing, type):
        return {*inspect.signature(thing).parameters}
    if issubclass(thing, enum.Enum):
        return {*thing.__members__}
    found = {*getattr(thing, "_fields", ()), *getattr(thing, "model_fields", ())}
    for base in thing.__mro__:
        if base.__module__.startswith("penstock.dialects"):
            found |= {*vars(base), *inspect.get_annotations(base)}
    if not getattr(thing, "_is_protocol", False) and not issubclass(thing, Exception):
        found |= {*inspect.signature(thing).parameters}
    return {name for name in found if not name.startswith("_")} - OF_NO_USER


def missing(dialect: ModuleType, page: str) -> list[str]:
    """Names without a row, and what a row does not say of its names."""
    rows = table(section(page, NAMES))
    lost = []
    for name in dialect.__all__:
        mine = [row for row in rows if re.search(rf"`{name}[`(]", row[0])]
        lost += [name] if not mine else []
        text = " ".join(cell for row in mine for cell in row)
        thing = getattr(dialect, name)
        above = [base for base in getattr(thing, "__mro__", ())[1:] if base.__name__ in dialect.__all__]
        more = facts(thing).difference(
            *map(dir, above)
        )  # what it only overrides stands in the row of its base
        lost += [f"{name}.{fact}" for fact in sorted(more) if not said(text, fact)]
    return lost


def wrong_signatures(dialect: ModuleType, page: str) -> list[str]:
    """Those in the table whose parameters, or the defaults that are given, are not those of the code."""
    wrong = []
    for name, written in re.findall(
        r"`(\w+)\(([^`]*)\)`", " ".join(row[0] for row in table(section(page, NAMES)))
    ):
        shown = ast.parse(f"def f({written}): ...").body[0]
        assert isinstance(shown, ast.FunctionDef)
        made: dict[str, Any] = {}
        exec(ast.unparse(shown), vars(builtins).copy(), made)
        real = inspect.signature(getattr(dialect, name)).parameters
        given = inspect.signature(made["f"]).parameters
        defaults = {key: one.default for key, one in given.items() if one.default is not one.empty}
        if [*given] != [*real] or any(real[key].default != value for key, value in defaults.items()):
            wrong.append(f"{name}{inspect.signature(getattr(dialect, name))}")
    return wrong


def load(name: str) -> ModuleType:
    return importlib.import_module(f"penstock.dialects.{name}")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_name_stands_in_its_table_with_all_it_has(dialect: str) -> None:
    assert missing(load(dialect), read(dialect)) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_signatures_in_the_table_are_those_of_the_code(dialect: str) -> None:
    assert wrong_signatures(load(dialect), read(dialect)) == []


@pytest.mark.parametrize(
    ("dialect", "old", "new"),
    [
        ("pipelines", "max_workers=4", "max_workers=5"),
        ("definitions", "(name, stages,", "(stages, name,"),
        ("workflow", "max_delay=60.0, ", ""),
        ("steps", "max_concurrent=5", "max_concurrent=None"),
    ],
)
def test_a_wrong_signature_is_noticed(dialect: str, old: str, new: str) -> None:
    page = read(dialect)
    names = section(page, NAMES)
    assert old in names
    assert len(wrong_signatures(load(dialect), page.replace(names, names.replace(old, new)))) == 1


@pytest.mark.parametrize(
    ("dialect", "old", "lost"),
    [
        ("pipelines", "`StageStatus`", "StageStatus"),
        ("pipelines", "`CANCELLED`; the", "StageStatus.CANCELLED"),
        ("definitions", "`forget()`", "PipelineExecutor.forget"),
        ("definitions", "token_budget=None", "ReviewLoop.token_budget"),
        ("workflow", "transform_result", "Task.transform_result"),
        ("steps", "`visualize()`", "PipelineExecutor.visualize"),
        ("steps", "duration_ms", "StepResult.duration_ms"),
    ],
)
def test_a_name_that_is_missing_is_noticed(dialect: str, old: str, lost: str) -> None:
    page = read(dialect)
    names = section(page, NAMES)
    assert old in names
    assert lost in missing(load(dialect), page.replace(names, names.replace(old, "`planted`")))


# ----------------------------------------------------------------------------------------------------------
# Limitations
# ----------------------------------------------------------------------------------------------------------

TESTS = {
    name
    for file in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", file.read_text("utf-8"), re.M)
}

PARTS = (
    "the live page", "the run report", "the remote runners", "the logs and traces",
)  # fmt: skip


def unproved(page: str) -> list[str]:
    """Lines that neither name a test nor the part that brings what they ask for."""
    rows = table(section(page, LIMITS))
    brings = re.compile(rf"comes with {'|comes with '.join(PARTS)}")
    return [
        line for line, stands in rows if not re.search(r"`test_\w+`", stands) and not brings.search(stands)
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_limitation_is_built_and_tested_or_has_its_part(dialect: str) -> None:
    page = read(dialect)
    assert len(table(section(page, LIMITS))) > 9
    assert unproved(page) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_test_that_a_page_names_exists(dialect: str) -> None:
    named = set(re.findall(r"\btest_\w+", read(dialect)))
    assert named - TESTS == set()
    assert named


def test_a_line_without_a_test_or_a_part_is_noticed() -> None:
    page = read("steps")
    assert unproved(page.replace("built: `test_a_timeout_is_per_attempt_and_retried`", "built")) == [
        "timeouts"
    ]


NAMED_LIMITS = ("Limitations", "Future Considerations", "Future Enhancements")

WORDS = {
    "000_*": (
        "pipelines", "async", "timeout_s", "resume", "deadline of futures", "coroutines", "long pipelines",
    ),
    "002_*": (
        "definitions",
        "Mermaid and Graphviz", "Profiling", "Streaming", "Checkpointing", "Rate Limiting",
        "DAG Validation UI", "conditional paths", "human in the loop", "visualization", "hours of work",
        "on others", "visualization", "human in the loop", "scheduling", "UI",
    ),
}  # fmt: skip
"""By document: its page, and for each line that speaks of a limit a word of the row that answers it."""


def lines_of(document: str) -> list[str]:
    """Lists of limits, things that it is not good for, and rows of tables that say no."""
    sections = [
        text
        for title, text in re.findall(r"^##+ (?:[\d.]+ )?(.+?)\n(.*?)(?=^##+ |\Z)", document, re.M | re.S)
        if title in NAMED_LIMITS
    ]
    unfit = re.findall(r"Not a good fit:\*\*\n(.*?)\n\n", document, re.S)
    bullets = [line for text in (*sections, *unfit) for line in re.findall(r"^- (.+)$", text, re.M)]
    return [*bullets, *re.findall(r"^\| (.+?) \| No \|", document, re.M)]


@pytest.mark.parametrize("document", WORDS)
def test_every_limit_of_a_document_stands_in_the_table_of_its_page(shared: Path, document: str) -> None:
    (path,) = (shared / "seeds").glob(document)
    dialect, *words = WORDS[document]
    found = lines_of(path.read_text("utf-8"))
    assert len(found) == len(words), found
    rows = " ".join(line for line, _ in table(section(read(dialect), LIMITS)))
    assert [word for word in words if word not in rows] == []


@pytest.mark.parametrize("document", ["001_*", "003_*", "004_*"])
def test_the_other_documents_name_no_limits(shared: Path, document: str) -> None:
    (path,) = (shared / "seeds").glob(document)
    text = path.read_text("utf-8")
    assert lines_of(text) == []
    assert re.findall(r"(?i)\b(?:limitation|future|planned|not (?:yet|supported|implemented))\w*", text) == []
