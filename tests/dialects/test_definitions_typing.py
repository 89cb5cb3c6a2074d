"""What mypy says of the dialect of definitions: the protocol of stages, and the generics of results."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TEXT = """\
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


def test_types(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(TEXT, "utf-8")
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
        for number, line in enumerate(TEXT.splitlines(), 1)
        if "# E: " in line
    }
    assert said.keys() == expected.keys(), mypy.stdout + mypy.stderr
    for number, text in expected.items():
        assert text in said[number]
