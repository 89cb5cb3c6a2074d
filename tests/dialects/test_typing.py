"""What mypy says of the dialects: protocols, generics of results, decorators that keep a type."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

DEFINITIONS = """\
from typing import assert_type
from penstock.dialects.definitions import (
    PipelineContext, PipelineStage, StageDefinition, StageResult, resolve_typed_input,
)

class Good:
    @property
    def name(self) -> str:
        return "good"

    async def execute(self, input: str, context: PipelineContext) -> StageResult[int]:
        if not input:
            return StageResult.failure("no", stage_name=self.name)
        return StageResult.success(len(input), stage_name=self.name)

class Bad:
    def execute(self, input: str, context: PipelineContext) -> int:
        return 1

class Wrong:
    async def execute(self, input: str, context: PipelineContext) -> StageResult[str]:
        return StageResult.success(len(input))  # E: incompatible type "int"; expected "str"

stage: PipelineStage = Good()
StageDefinition("a", Good())
StageDefinition("a", Bad())  # E: incompatible type "Bad"; expected "PipelineStage"
StageDefinition("a", Good(), timeout_ms="5")  # E: incompatible type "str"
result = StageResult.success(3)
assert_type(result, StageResult[int])
assert_type(result.success, bool)
assert_type(result.output, int | None)
assert_type(StageResult.soft_fail("x", "why"), StageResult[str])
result.output = 4  # E: read-only
found, rest = resolve_typed_input({"a": 1}, int)
assert_type(found, int)
"""


STEPS = """\
from typing import assert_type
from penstock.dialects.steps import PipelineExecutor, StepResult, StepStatus

executor = PipelineExecutor()

@executor.step("load", retries=2, timeout=3.5)
async def load() -> list[int]:
    return [1]

@executor.step
def bare(load: list[int]) -> int:
    return sum(load)

@executor.step(depends_on=["load"])
def plain(load: list[int]) -> str:
    return str(load)

async def use() -> None:
    assert_type(await load(), list[int])
    results = await executor.run(["load"])
    assert_type(results["load"].status, StepStatus)
assert_type(bare([1]), int)
assert_type(plain([1]), str)
assert_type(executor.run_sync(), dict[str, StepResult])
bare("x")  # E: incompatible type "str"; expected "list[int]"
executor.add_step("x", plain, retrys=1)  # E: Unexpected keyword argument "retrys"
executor.step("x", timeout="3")  # E: No overload variant of "step"
executor.add_step("x", 3)  # E: incompatible type "int"
"""

WORKFLOW = """\
from penstock.dialects.workflow import RetryPolicy, Task, TaskResult, Workflow, chain

def action() -> int:
    return 1

def asked(results: dict[str, TaskResult]) -> bool:
    return results["a"].success

flow = Workflow("w").add_task("a", action).add_task("b", action, dependencies=["a"], condition=asked)
results: dict[str, TaskResult] = flow.run()
Task("c", action, retry_policy=RetryPolicy(max_attempts=2))
chain(action, Task("c", action)).run()
flow.add_task("d", action, timeuot=3)  # E: Unexpected keyword argument "timeuot"
flow.add_task("d", 3)  # E: incompatible type "int"
flow.add_task("d", action, condition=lambda results: "yes")  # E: Incompatible return value type (got "str"
Workflow("w", progress_callback=lambda name: None)  # E: Argument "progress_callback"
"""

PIPELINES = """\
from typing import Any
from penstock.dialects.pipelines import FunctionStage, Pipeline, PipelineBuilder, PipelineResult, Stage

class Good(Stage):
    def execute(self, context: dict[str, Any]) -> int:
        return 1

class Empty(Stage):
    pass

result: PipelineResult = PipelineBuilder("p").stage("a", lambda c: 1).context("x", 1).build().run({"y": 2})
Pipeline("p").add_stage(Good("a", depends_on=["b"], retry_count=1)).set_context("x", 1)
Empty("a")  # E: Cannot instantiate abstract class "Empty"
FunctionStage("a", 3)  # E: incompatible type "int"
FunctionStage("a", print, retries=1)  # E: Unexpected keyword argument "retries"
Pipeline("p").add_stage(print)  # E: incompatible type
Pipeline("p").run(runer="inline")  # E: Unexpected keyword argument "runer"
"""


@pytest.mark.parametrize("text", [DEFINITIONS, STEPS, WORKFLOW, PIPELINES])
def test_types(text: str, tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(text, "utf-8")
    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "stages.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = dict(re.findall(r"^stages\.py:(\d+): error: (.*)$", mypy.stdout, re.M))
    expected = {
        str(number): line.partition("# E: ")[2]
        for number, line in enumerate(text.splitlines(), 1)
        if "# E: " in line
    }
    assert said.keys() == expected.keys(), mypy.stdout + mypy.stderr
    for number, text in expected.items():
        assert text in said[number]
