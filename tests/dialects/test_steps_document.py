"""The document of dialect D: each of its Python blocks runs with nothing but its import line changed."""

import ast
import asyncio
import inspect
import re
import sys
import types
from dataclasses import fields, is_dataclass
from typing import Optional, get_type_hints

import pytest

from penstock.dialects import steps
from penstock.dialects.steps import PipelineExecutor, StepResult, StepStatus

SOURCE = r"library\.components\.orchestration\.pipeline_executor"


@pytest.fixture
def blocks(shared):
    (path,) = (shared / "seeds").glob("004_*")
    return re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def names():
    """What the document leaves undefined."""
    saved = []

    async def fetch_from_api():
        return [1, 2]

    async def save_to_database(rows):
        saved.append(rows)

    def later(value):
        async def get():
            return value

        return get

    return {
        "saved": saved,
        "fetch_from_api": fetch_from_api,
        "save_to_database": save_to_database,
        "process": lambda rows: [row * 10 for row in rows],
        "combine": lambda users, orders: [*users, *orders],
        "enhance": lambda rows: [*rows, "enhanced"],
        "api": types.SimpleNamespace(get_users=later(["u"]), get_orders=later(["o"])),
        "flaky_api": types.SimpleNamespace(call=later("called")),
        "executor": PipelineExecutor(),
    }


def play(block, names):
    """Runs a block, with top-level await, where only the import line is another one."""
    text, _ = re.subn(SOURCE, "penstock.dialects.steps", block)
    code = compile(text, "document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = types.FunctionType(code, names)()
    if inspect.iscoroutine(made):
        asyncio.run(made)
    return names


def find(blocks, word):
    (block,) = [block for block in blocks if word in block]
    return block


def test_all_blocks_are_known(blocks):
    assert len(blocks) == 8


def test_basic_pipeline(blocks, names, capsys):
    play(find(blocks, "fetch_from_api"), names)
    assert names["saved"] == [[10, 20]]
    assert [one.output for one in names["results"].values()] == [[1, 2], [10, 20], None]
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\d+\.\d+(e-\d+)?", "N", line) for line in lines] == [
        f"{name}: success (Nms)" for name in ("extract", "transform", "load")
    ]


def test_parallel_execution(blocks, names):
    play(find(blocks, "get_users"), names)
    results = names["executor"].run_sync()
    assert results["merge"].output == ["u", "o"]
    assert results["merge"].started_at >= max(
        results[name].finished_at for name in ("fetch_users", "fetch_orders")
    )


def test_retry_configuration(blocks, names):
    play(find(blocks, "flaky_api"), names)
    assert names["executor"].run_sync()["unreliable_api"].output == "called"
    (node,) = names["executor"].graph().nodes
    assert (node.retry.max_attempts, node.retry.get_delay(1), node.timeout.attempt) == (4, 2.0, 30.0)


@pytest.mark.parametrize("good", [True, False])
def test_error_handling(blocks, names, good):
    names["executor"].add_step("main_step", lambda: [1] if good else 1 / 0)
    play(find(blocks, "optional_step"), names)
    result = names["executor"].run_sync()["optional_step"]
    assert result.output == ([1, "enhanced"] if good else None)
    assert result.status is (StepStatus.SUCCESS if good else StepStatus.SKIPPED)
    assert result.error == (None if good else "Skipped due to failed dependency 'main_step'")


def test_programmatic_step_addition(blocks, names):
    names["executor"].add_step("source_step", lambda: [1])
    names["process"] = process = lambda rows: [row + 1 for row in rows]
    play(find(blocks, "add_step"), names)
    assert names["process"] is process
    assert names["executor"].run_sync()["dynamic_step"].output == [2]


def test_visualization_prints_exactly_the_output_shown(blocks, names, capsys):
    block = find(blocks, "visualize")
    shown = [line.removeprefix("# ").removeprefix("#") for line in block.splitlines() if line.startswith("#")]
    assert shown.pop(0) == "Output:"
    executor = names["executor"] = PipelineExecutor(steps.PipelineConfig(name="my-pipeline"))
    executor.add_step("extract", lambda: 1).add_step("fetch_config", lambda: 2)
    executor.add_step("transform", lambda extract, fetch_config: 3, ["extract", "fetch_config"])
    executor.add_step("load", lambda transform: 4, ["transform"])
    play(block, names)
    assert capsys.readouterr().out.splitlines() == shown


def test_configuration(blocks, names):
    play(find(blocks, "PipelineConfig("), names)
    config = names["executor"].config
    assert (config.name, config.max_concurrent, config.stop_on_first_failure) == ("etl-pipeline", 5, True)
    assert names["executor"].add_step("a", lambda: 1).run_sync()["a"].output == 1


def test_step_result_has_the_members_of_the_document(blocks):
    (stated,) = ast.parse(find(blocks, "class StepResult")).body
    members = [(one.target.id, ast.unparse(one.annotation)) for one in stated.body]
    assert [field.name for field in fields(StepResult)] == [name for name, _ in members]
    assert list(inspect.signature(StepResult).parameters) == [name for name, _ in members]
    assert is_dataclass(StepResult)
    assert [ast.unparse(one) for one in stated.decorator_list] == ["dataclass"]
    hints, words = (
        get_type_hints(StepResult),
        {**vars(sys.modules[StepResult.__module__]), "Optional": Optional},
    )
    assert {name: hints[name] for name in hints} == {name: eval(text, words) for name, text in members}
    (comment,) = re.findall(r"# (PENDING.*)", find(blocks, "class StepResult"))
    assert {*comment.split(", ")} <= {one.name for one in StepStatus}
