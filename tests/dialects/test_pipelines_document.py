"""Every Python block of the two documents of this vocabulary, with nothing but the import line changed."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.dialects import pipelines

NAMES = ("000_5bc9ead0d3430508.txt", "001_5c7b27d17e5c8bab.txt")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def blocks(shared: Path, name: str) -> list[str]:
    return BLOCK.findall((shared / "seeds" / name).read_text("utf-8"))


@pytest.fixture
def document(shared: Path) -> dict[str, Any]:
    """What the one block of the documents defines, run with its import line changed."""
    (text,) = blocks(shared, NAMES[0])
    text, changed = re.subn(r"^from \S+ import", "from penstock.dialects.pipelines import", text, flags=re.M)
    assert changed == 1
    head = "from __future__ import annotations\nfrom abc import ABC\nfrom typing import Any, Callable\n"
    names: dict[str, Any] = {}
    code = compile(head + text, "document", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    imported = ast.parse(text).body[0]
    assert isinstance(imported, ast.ImportFrom)
    exec(code, names)
    names["imported"] = [alias.name for alias in imported.names]
    return names


def test_the_second_document_has_no_code(shared: Path) -> None:
    assert blocks(shared, NAMES[1]) == []


def test_the_documents_name_what_is_exported(shared: Path, document: dict[str, Any]) -> None:
    assert sorted(document["imported"]) == sorted(pipelines.__all__)
    listed = re.findall(r"^- \*\*`(\w+)`\*\*", (shared / "seeds" / NAMES[1]).read_text("utf-8"), re.M)
    assert sorted(listed) == sorted(pipelines.__all__)


def test_the_states_that_the_documents_list_are_those_of_the_enums(shared: Path) -> None:
    for name in NAMES:
        text = (shared / "seeds" / name).read_text("utf-8")
        for kind in (pipelines.StageStatus, pipelines.PipelineStatus):
            found = re.search(rf"{kind.__name__}.*?: ([A-Z]+(?:, [A-Z]+)+)", text)
            assert found is not None
            assert found[1].split(", ") == [each.name for each in kind]


MEMBERS = {
    "Stage": ["__init__", "execute", "on_success", "on_failure"],
    "Pipeline": ["__init__", "add_stage", "set_context", "run"],
    "PipelineBuilder": ["__init__", "stage", "parallel", "context", "build"],
}


@pytest.mark.parametrize("owner", MEMBERS)
def test_signatures_are_those_of_the_document_member_by_member(document: dict[str, Any], owner: str) -> None:
    stated, real = document[owner], getattr(pipelines, owner)
    members = [name for name, value in vars(stated).items() if inspect.isfunction(value)]
    assert members == MEMBERS[owner]
    for name in members:
        theirs = list(inspect.signature(getattr(stated, name)).parameters.values())
        ours = list(inspect.signature(getattr(real, name)).parameters.values())
        for want, have in zip(theirs, ours, strict=False):
            assert (have.name, have.kind, have.default) == (want.name, want.kind, want.default), name
        assert len(ours) >= len(theirs)
        for more in ours[len(theirs) :]:  # whatever is ours alone may be left out
            assert more.default is not more.empty or more.kind is more.VAR_KEYWORD, (name, more)


@pytest.mark.parametrize("owner", MEMBERS)
def test_annotations_are_those_of_the_document(document: dict[str, Any], owner: str) -> None:
    alike = {"Function": "Callable"}
    for name in MEMBERS[owner]:
        theirs = getattr(document[owner], name).__annotations__
        ours = getattr(getattr(pipelines, owner), name).__annotations__
        for param, text in theirs.items():
            if not (param == "return" and name == "__init__"):
                assert alike.get(ours[param], ours[param]) == text, (name, param)


def test_the_design_decisions_of_the_document_hold(document: dict[str, Any]) -> None:
    assert inspect.isabstract(pipelines.Stage)
    assert issubclass(pipelines.Stage, document["ABC"])
    nodes = pipelines.PipelineBuilder("p").stage("a", print, retry_count=3).build().graph().nodes
    assert nodes[0].retry is not None
    assert [nodes[0].retry.get_delay(n + 1) for n in range(4)] == [0.1 * 2**n for n in range(4)]
    for kind in (pipelines.FunctionStage, pipelines.ConditionalStage, pipelines.ParallelStage):
        assert issubclass(kind, pipelines.Stage)
