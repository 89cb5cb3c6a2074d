"""The document that the dialect of definitions speaks: each of its Python blocks runs, its imports changed.

The document is no part of the repository: its folder comes from the fixture `shared`.
"""

import ast
import asyncio
import inspect
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.dialects import definitions
from penstock.dialects.definitions import (
    PipelineContext,
    PipelineDefinition,
    PipelineExecutor,
    StageDefinition,
    StageResult,
)

TITLES = [
    "Basic Sequential Pipeline",
    "Parallel Stages",
    "Fan-Out Pattern",
    "Conditional Execution",
    "Retry Configuration",
    "Context State Management",
    "Creating Custom Stages",
]
"""The headings above its Python blocks."""


@pytest.fixture
def blocks(shared: Path) -> dict[str, str]:
    (path,) = (shared / "seeds").glob("002_*")
    found = re.finditer(r"^(##+) (.+?)\n(.*?)(?=^##+ [A-Z]|\Z)", path.read_text("utf-8"), re.M | re.S)
    made = {}
    for one in found:
        for code in re.findall(r"^```python\n(.*?)^```", one[3], re.M | re.S):
            assert one[2] not in made
            made[one[2]] = re.sub(
                r"^from [\w.]*pipeline[\w.]* import",
                "from penstock.dialects.definitions import",
                code,
                flags=re.M,
            )
    assert list(made) == TITLES
    return made


class Gives:
    """A stage of the document that it does not show: gives what its class says, and what it was given."""

    name = ""

    async def execute(self, input: Any, context: PipelineContext) -> StageResult[Any]:
        return StageResult.success((type(self).__name__, input))


def names() -> dict[str, Any]:
    """All that the blocks use and do not define."""
    stages = "AudioAnalysisStage AudioProfileStage LyricsStage MacroPlannerStage GroupPlannerStage"
    given: dict[str, Any] = {name: type(name, (Gives,), {}) for name in stages.split()}
    given.update({name: getattr(definitions, name) for name in definitions.__all__})

    async def analyze(input: Any) -> Any:
        return SimpleNamespace(lyrics=input, timing=SimpleNamespace(duration_ms=1500))

    async def my_logic(input: Any, provider: Any) -> Any:
        return provider(input)

    given.update(
        audio_path="song.mp3",
        context=PipelineContext(),
        analyze=analyze,
        my_logic=my_logic,
        MyInputType=str,
        MyOutputType=str,
        logger=logging.getLogger("document"),
    )
    return given


def play(code: str) -> dict[str, Any]:
    """Runs a block; ``_`` is the value of its last line, if that is an expression."""
    tree = ast.parse(code)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_", ast.Store())], last.value), last)
        ast.fix_missing_locations(tree)
    scope = names()

    async def main() -> None:
        made = eval(compile(tree, "document", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
        if inspect.iscoroutine(made):
            await made

    asyncio.run(main())
    return scope


def execute(*stages: StageDefinition, input: Any = None, context: PipelineContext | None = None) -> Any:
    return asyncio.run(PipelineExecutor().execute(PipelineDefinition("p", stages), input, context))


def test_basic_sequential_pipeline(blocks: dict[str, str]) -> None:
    scope = play(blocks["Basic Sequential Pipeline"])
    assert scope["result"].success
    assert scope["profile"] == ("AudioProfileStage", ("AudioAnalysisStage", "song.mp3"))


def test_parallel_stages(blocks: dict[str, str]) -> None:
    pipeline = play(blocks["Parallel Stages"])["_"]
    assert pipeline.validate() == []
    result = asyncio.run(PipelineExecutor().execute(pipeline, "s"))
    audio = ("AudioAnalysisStage", "s")
    both = {"profile": ("AudioProfileStage", audio), "lyrics": ("LyricsStage", audio)}
    assert result.outputs["macro"] == ("MacroPlannerStage", both)
    assert pipeline.graph().levels() == [["audio"], ["profile", "lyrics"], ["macro"]]


def test_fan_out_pattern(blocks: dict[str, str]) -> None:
    groups = play(blocks["Fan-Out Pattern"])["_"]

    class Lists:
        async def execute(self, input: Any, context: Any) -> Any:
            return StageResult.success([1, 2])

    result = execute(StageDefinition("group_contexts", Lists()), groups)
    assert result.outputs["groups"] == [("GroupPlannerStage", 1), ("GroupPlannerStage", 2)]


@pytest.mark.parametrize("has", [True, False])
def test_conditional_execution(blocks: dict[str, str], has: bool) -> None:
    lyrics = play(blocks["Conditional Execution"])["_"]
    context = PipelineContext(state={"has_lyrics": has})
    result = execute(StageDefinition("audio", Gives()), lyrics, input="s", context=context)
    assert result.success
    assert result.outputs["lyrics"] == (("LyricsStage", ("Gives", "s")) if has else None)
    assert result.metadata["skipped_critical"] == []


def test_retry_configuration(blocks: dict[str, str]) -> None:
    macro = play(blocks["Retry Configuration"])["_"]
    policy = macro.retry_config.policy()
    assert [policy.get_delay(n) for n in (1, 2, 10)] == [1.0, 2.0, 60.0]
    assert policy.retries(TimeoutError())
    assert policy.retries(RuntimeError("Rate limit reached"))
    assert not policy.retries(ValueError("no"))
    assert execute(macro, input=1).outputs == {"macro": ("MacroPlannerStage", 1)}


def test_context_state_management(blocks: dict[str, str]) -> None:
    scope = play(blocks["Context State Management"])
    stages = (
        StageDefinition("audio", scope["AudioAnalysisStage"]()),
        StageDefinition("lyrics", scope["LyricsStage"](), inputs=["audio"]),
    )
    context = PipelineContext()
    without = execute(*stages, input=None, context=context)
    assert without.stage_results["lyrics"].error == "No lyrics available"
    assert (context.state, context.metrics) == ({"has_lyrics": False}, {"duration_ms": 1500})
    found = execute(*stages, input="la la")  # the document breaks its stage off there: it returns nothing
    assert "returned NoneType, not a StageResult" in found.stage_results["lyrics"].error


def test_creating_custom_stages(blocks: dict[str, str]) -> None:
    stage = play(blocks["Creating Custom Stages"])["MyCustomStage"]()
    assert isinstance(stage, definitions.PipelineStage)
    context = PipelineContext(provider=str.upper, job_config={})
    result = execute(StageDefinition("a", stage), input="x", context=context)
    assert (result.outputs, context.metrics) == ({"a": "X"}, {"my_metric": 123})
    assert result.stage_results["a"].stage_name == "my_stage"
    failed = execute(StageDefinition("a", stage), input="x", context=PipelineContext(job_config={}))
    assert (failed.success, failed.stage_results["a"].stage_name) == (False, "my_stage")
