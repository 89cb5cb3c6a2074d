"""Ctrl-C in a run of each vocabulary: nothing new starts, and what the run call gives says so."""

import subprocess
import sys

import pytest

COMMON = """\
import asyncio, os, signal, threading
begun = []
def first(*_, **__):
    begun.append("a")
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(0.01)  # in the main thread it is raised here at the latest
def second(*_, **__):
    begun.append("b")
async def first_later(*_, **__):
    first()
    await asyncio.Event().wait()
"""

PIPELINES = """
from penstock.dialects.pipelines import *
pipeline = PipelineBuilder("p", max_workers=2).stage("a", first).stage("b", second, ["a"]).build()
result = pipeline.run()
print(result.status.value, result.stages[1].status.value, begun)
"""

DEFINITIONS = """
from penstock.dialects.definitions import *
class One:
    async def execute(self, input, context):
        await first_later()
class Two:
    async def execute(self, input, context):
        second()
pipeline = PipelineDefinition("p", [StageDefinition("a", One()), StageDefinition("b", Two(), inputs=["a"])])
try:
    asyncio.run(PipelineExecutor().execute(pipeline))
except KeyboardInterrupt:
    print("interrupted", begun)
"""

WORKFLOW = """
from penstock.dialects.workflow import *
flow = Workflow("w").add_task("a", first).add_task("b", second, dependencies=["a"])
results = flow.run()
print(results["b"].success, flow.tasks["b"].status.value, begun)
"""

STEPS = """
from penstock.dialects.steps import *
executor = PipelineExecutor()
executor.add_step("a", first_later).add_step("b", second, ["a"])
results = executor.run_sync()
print(results["a"].status, results["b"].status, begun)
"""

TELLING = STEPS.replace('"a", first_later', '"a", first_later, on_failure=print')


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (PIPELINES, "cancelled cancelled ['a']"),
        (DEFINITIONS, "interrupted ['a']"),
        (WORKFLOW, "False pending ['a']"),
        (STEPS, "failed skipped ['a']"),
        (TELLING, "failed skipped ['a']"),
    ],
    ids=["pipelines", "definitions", "workflow", "steps", "steps that tell"],
)
def test_s09_ctrl_c_cancels_the_run_in_order(script: str, said: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", COMMON + script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout.strip(), run.returncode) == (said, 0), run.stderr
