"""The examples of the document that the dialect comes from run as they are, but for their import lines."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.dialects import workflow as dialect
from penstock.testing import stand_ins

FOREIGN = re.compile(r"^from \w+(?:\.\w+)* import (?=.*(?:Workflow|Task|RetryPolicy))", re.M)


@pytest.fixture
def document(shared: Path) -> str:
    (path,) = (shared / "seeds").glob("003_*")
    return path.read_text("utf-8")


class Names:
    """What the examples use and do not define."""

    def __init__(self) -> None:
        self.failures = 2
        self.calls = 0

    def fetch_data_function(self) -> list[int]:
        return [3, 1, 2]

    def process_function(self, fetch_data: list[int]) -> list[int]:
        return sorted(fetch_data)

    async def save_function(self, process: list[int]) -> str:
        return f"saved {process}"

    def call_external_api(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("not yet")
        return "answered"


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document, re.M | re.S)


def played(block: str) -> dict[str, Any]:
    """Runs a block; only its import lines are changed."""
    text, count = FOREIGN.subn(f"from {dialect.__name__} import ", block)
    assert count == block.count("import ")
    made = Names()
    names: dict[str, Any] = {name: getattr(made, name) for name in dir(made) if not name.startswith("_")}
    names["names"] = made
    code = compile(text, "the document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    done = eval(code, names)
    if inspect.iscoroutine(done):
        asyncio.run(done)
    return names


def test_the_document_has_the_blocks_that_are_tested_here(document: str) -> None:
    found = blocks(document)
    assert len(found) == 3
    assert "results = workflow.run()" in found[0]
    assert "RetryPolicy(" in found[1]
    assert "progress_callback=on_progress" in found[2]


def test_the_basic_workflow(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = played(blocks(document)[0])
    assert capsys.readouterr().out == "saved [1, 2, 3]\n"
    assert {name: one.success for name, one in names["results"].items()} == dict.fromkeys(
        ["fetch_data", "process", "save_results"], True
    )
    assert names["workflow"].tasks["fetch_data"].timeout == 30


def test_the_retries(document: str) -> None:
    names = played(blocks(document)[1])
    with stand_ins() as clock:
        begun = clock()
        results = names["workflow"].run()
        assert clock() - begun == pytest.approx(1.0 + 2.0, abs=0.5)
    assert (results["api_call"].value, results["api_call"].attempts) == ("answered", 3)


def test_the_progress(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    third = blocks(document)[2]
    assert "import" not in third
    names = played("from x.y import Workflow, Task\n" + third)
    workflow = names["workflow"]
    workflow.add_task(name="fetch_data", action=Names().fetch_data_function)
    workflow.run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[workflow] started: {'total_tasks': 1}"
    assert lines[1] == "[fetch_data] running: {}"
    assert lines[2].startswith("[fetch_data] completed: {'execution_time': ")
    assert lines[3].startswith("[workflow] completed: {'completed': 1, 'failed': 0, 'skipped': 0, 'elapsed'")


def test_the_classes_of_the_document_are_there(document: str) -> None:
    table = re.findall(r"^\| `(\w+)` \|", document, re.M)
    assert len(table) == 6
    for name in table:
        assert name in dialect.__all__
        assert inspect.isclass(getattr(dialect, name))


def test_the_states_of_the_document_are_those_of_tasks(document: str) -> None:
    diagram = document[document.index("stateDiagram") :]
    states = set(re.findall(r"\b[A-Z]{6,}\b", diagram[: diagram.index("```")]))
    assert states == {status.name for status in dialect.TaskStatus}
