"""The run report of a pipeline of each vocabulary: its steps, its failure, and what there is before a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from penstock.dialects import definitions, pipelines, steps, workflow
from tests.report.parsed import Page


def broken(*_: Any) -> None:
    raise ValueError("no such column: price")


def told(path: Path) -> str:
    """The words of a report, which must be of a run that failed at ``load``."""
    text = " ".join(element.text for element in Page(path.read_text()).all("main"))
    assert "failed" in text
    assert "no such column: price" in text
    assert "load" in text
    assert "total" in text
    return text


def test_pipelines_writes_a_report(tmp_path: Path) -> None:
    pipeline = pipelines.Pipeline(name="sales")
    pipeline.add_stage(pipelines.FunctionStage("load", broken))
    pipeline.add_stage(pipelines.FunctionStage("total", broken, depends_on=["load"]))
    result = pipeline.run({})
    result.report(tmp_path / "run.html")
    told(tmp_path / "run.html")
    with pytest.raises(TypeError, match="has no account of the run"):
        pipelines.PipelineResult("p", result.status).report(tmp_path / "none.html")


class Load:
    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return broken()


def test_definitions_writes_a_report(tmp_path: Path) -> None:
    made = definitions.PipelineDefinition(
        "sales",
        [
            definitions.StageDefinition("load", Load()),
            definitions.StageDefinition("total", Load(), inputs=["load"]),
        ],
    )
    executor = definitions.PipelineExecutor()
    with pytest.raises(RuntimeError, match="no execution has ended"):
        executor.report(tmp_path / "run.html")
    asyncio.run(executor.execute(made))
    executor.report(tmp_path / "run.html")
    told(tmp_path / "run.html")


def test_workflow_writes_a_report(tmp_path: Path) -> None:
    flow = workflow.Workflow("sales")
    flow.add_task("load", broken)
    flow.add_task("total", broken, dependencies=["load"])
    with pytest.raises(workflow.WorkflowError, match="'sales' has not run"):
        flow.report(tmp_path / "run.html")
    flow.run()
    flow.report(tmp_path / "run.html")
    told(tmp_path / "run.html")


def test_steps_writes_a_report(tmp_path: Path) -> None:
    executor = steps.PipelineExecutor()
    executor.add_step("load", broken)
    executor.add_step("total", broken, depends_on=["load"])
    with pytest.raises(RuntimeError, match="no run has ended"):
        executor.report(tmp_path / "run.html")
    executor.run_sync()
    executor.report(tmp_path / "run.html")
    told(tmp_path / "run.html")
    executor.reset()
    with pytest.raises(RuntimeError, match="no run has ended"):
        executor.report(tmp_path / "run.html")
