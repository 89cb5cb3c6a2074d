"""`penstock run`, `graph` and `list` with objects of every dialect: what people see, and what scripts get."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from penstock import wiring
from penstock.core.events import RunStarted
from penstock.core.model import RunOptions
from penstock.dialects.workflow import Workflow
from penstock.discovery import Found, discover
from tests.cli.test_signals import begin, end

pytest.importorskip("pydantic")

DIALECTS = {
    "orders.py": '''\
"""Orders, in stages."""
from penstock.dialects.pipelines import FunctionStage, PipelineBuilder

def load(context):
    return list(range(context["count"]))

def total(context):
    return sum(context["stage_load_output"]) * context.get("rate", 1)

def net(context):
    return context["stage_total_output"] - 1

def tax(context):
    return 1

def is_big(context):
    return context["stage_total_output"] > 100

pipeline = (
    PipelineBuilder("orders")
    .context("count", 3)
    .stage("load", load)
    .stage("total", total, depends_on=["load"])
    .parallel("split", [FunctionStage("net", net), FunctionStage("tax", tax)], depends_on=["total"])
    .conditional("big", is_big, lambda context: "big", depends_on=["total"])
    .build()
)
''',
    "weather.py": '''\
"""Weather."""
from penstock.dialects.definitions import (
    ExecutionPattern, PipelineContext, PipelineDefinition, PipelineExecutor, StageDefinition, StageResult,
)

class Stations:
    async def execute(self, input, context):
        return StageResult.success(list(input or {"Hill": 1, "Lake": 2}))

class Measure:
    async def execute(self, input, context):
        return StageResult.success(context.get_state("prefix", "") + input.upper())

class Bulletin:
    async def execute(self, input, context):
        return StageResult.success(" ".join(input))

weather = PipelineDefinition(
    "weather",
    [
        StageDefinition("stations", Stations()),
        StageDefinition("measure", Measure(), ExecutionPattern.FAN_OUT, inputs=["stations"]),
        StageDefinition("bulletin", Bulletin(), inputs=["measure"]),
    ],
    description="The weather of some stations",
)
executor = PipelineExecutor()

def services():
    print("connecting")
    return PipelineContext(state={"prefix": "*"})

context = PipelineContext(state={"prefix": "+"})
''',
    "sales.py": '''\
"""Sales."""
from penstock.dialects.workflow import RetryPolicy, Workflow

def fetch():
    return [1, 2, 3]

async def double(fetch):
    return [2 * each for each in fetch]

workflow = Workflow("sales")
workflow.add_task("fetch", fetch)
workflow.add_task("double", double, dependencies=["fetch"], retry_policy=RetryPolicy(max_attempts=2))
workflow.add_task("never", fetch, dependencies=["double"], condition=lambda results: False)
''',
    "etl.py": '''\
"""Steps."""
from penstock.dialects.steps import PipelineConfig, PipelineExecutor

executor = PipelineExecutor(PipelineConfig(name="etl"))
failures = [ValueError("not yet"), ValueError("nor now")]

@executor.step("load", retries=2, retry_delay=0.001)
async def load():
    if failures:
        raise failures.pop(0)
    return [1, 2]

@executor.step("total", depends_on=["load"])
def total(load):
    return sum(load)

@executor.step("show", depends_on=["total"])
def show(total):
    print("the total is", total)
''',
}


@pytest.fixture
def folder(files: Path) -> Path:
    for name, text in DIALECTS.items():
        (files / name).write_text(text)
    return files


# ----------------------------------------------------------------------------------------------------------
# Run
# ----------------------------------------------------------------------------------------------------------

SUMMARIES = {
    "orders.py": """\
orders  run RUN

  ✓ load TOOK
  ✓ total TOOK
  ✓ split TOOK
  – big            its condition said no

load   [0, 1, 2]
total  3
split  {'net': 2, 'tax': 1}

✓ succeeded in TOOK  3 of 4 steps, 1 skipped
""",
    "weather.py": """\
weather  run RUN

  ✓ stations TOOK
  ✓ measure/items TOOK
  ✓ measure/item TOOK  2 ok
  ✓ measure TOOK
  ✓ bulletin TOOK

stations  ['Hill', 'Lake']
measure   ['HILL', 'LAKE']
bulletin  HILL LAKE

✓ succeeded in TOOK  5 steps
""",
    "sales.py": """\
sales  run RUN

  ✓ fetch TOOK
  ✓ double TOOK
  – never           its condition said no

fetch   [1, 2, 3]
double  [2, 4, 6]

✓ succeeded in TOOK  2 of 3 steps, 1 skipped
""",
    "etl.py": """\
the total is 3
etl  run RUN

  ✓ load TOOK  3 attempts
  ✓ total TOOK
  ✓ show TOOK

load   [1, 2]
total  3

✓ succeeded in TOOK  3 steps
""",
}


@pytest.mark.parametrize("file", DIALECTS)
def test_each_dialect_is_run_and_summed_up(call, folder, file):
    told = call("run", file)
    assert told.code == 0
    narrow = [re.sub(r"(?<=\S) +", " ", text) for text in (told.out, SUMMARIES[file])]
    assert narrow[0] == narrow[1]  # the column of times is as wide as the longest one
    assert told.err.endswith("TIME  run RUN succeeded in TOOK\n")


OUTPUTS = {
    "orders.py": {"load": [0, 1, 2], "total": 3, "split": {"net": 2, "tax": 1}},
    "weather.py": {"stations": ["Hill", "Lake"], "measure": ["HILL", "LAKE"], "bulletin": "HILL LAKE"},
    "sales.py": {"fetch": [1, 2, 3], "double": [2, 4, 6]},
    "etl.py": {"load": [1, 2], "total": 3, "show": None},
}


@pytest.mark.parametrize("file", DIALECTS)
def test_json_has_the_values_of_a_dialect_and_nothing_of_its_insides(call, folder, file):
    told = call("run", file, "--json")
    whole = json.loads(told.out)
    assert (told.code, whole["status"]) == (0, "succeeded")
    assert whole["outputs"] == OUTPUTS[file]
    assert (whole["outputs_left_out"], whole["warnings"]) == ([], [])


def test_a_part_of_a_dialects_graph(call, folder):
    assert json.loads(call("run", "orders.py", "-t", "load", "--json").out)["outputs"] == {"load": [0, 1, 2]}
    assert "measure   ['HILL', 'LAKE']" in call("run", "weather.py", "-t", "measure").out
    assert [*json.loads(call("run", "sales.py", "-t", "fetch", "--json").out)["nodes"]] == ["fetch"]
    for file, near in (("orders", "load"), ("weather", "stations"), ("sales", "fetch"), ("etl", "load")):
        told = call("run", f"{file}.py", "-t", near[:-1])
        assert told.code == 2
        assert told.err.startswith("penstock: ")
        assert f"did you mean {near!r}?" in told.err


@pytest.mark.parametrize("runner", ["threads", "aio", "inline"])
@pytest.mark.parametrize("file", DIALECTS)
def test_runners_change_nothing_for_a_dialect(call, folder, file, runner):
    told = call("run", file, "--runner", runner, "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["outputs"] == OUTPUTS[file]


@pytest.mark.parametrize("file", ["orders.py", "weather.py", "sales.py"])
def test_processes_change_nothing_for_a_dialect(program, folder, file):
    done = program("run", file, "--runner", "processes", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["outputs"] == OUTPUTS[file]


# ----------------------------------------------------------------------------------------------------------
# Inputs of any name
# ----------------------------------------------------------------------------------------------------------

SEEN = """\
from penstock.dialects.pipelines import PipelineBuilder
seen = PipelineBuilder("seen").context("rate", 2).stage("all", lambda context: {**context}).build()
def entries():
    return {"rate": 5, "session": print.__name__, 3: 4}
def number():
    return 3
"""


def seen(told) -> dict:
    assert told.code == 0, told.err
    found: dict = json.loads(told.out)["outputs"]["all"]
    return found


def test_an_entry_of_a_context_may_have_any_name(call, folder):
    (folder / "seen.py").write_text(SEEN)
    (folder / "in.json").write_text('{"rate": 3, "who": {"is": [1]}, "text": "a"}')
    (folder / "in.toml").write_text('day = "monday"\n[nested]\nx = 1\n')
    given = ["-i", "rate=4", "-i", "text=two words", "-i", "list=[1, null]", "-i", "odd-name=1"]
    assert seen(call("run", "seen.py", "--json")) == {"rate": 2}
    assert seen(call("run", "seen.py", "--json", *given)) == {
        "rate": 4, "text": "two words", "list": [1, None], "odd-name": 1,
    }  # fmt: skip
    assert seen(call("run", "seen.py", "--json", "--input-file", "in.json", "-i", "rate=4")) == {
        "rate": 4, "who": {"is": [1]}, "text": "a",
    }  # fmt: skip
    assert seen(call("run", "seen.py", "--json", "--input-file", "in.toml"))["nested"] == {"x": 1}


@pytest.mark.parametrize("file", ["weather.py", "sales.py", "etl.py", "good.py"])
def test_l07_elsewhere_an_unknown_name_is_misuse_and_the_stars_are_none(call, folder, file):
    takes = {"weather.py": "input, context", "good.py": "count"}.get(file, "none")
    for name in ("zzz", "**"):
        told = call("run", file, "-i", f"{name}=3")
        assert told == (2, "", f"penstock: there is no input {name!r}; it takes {takes}\n")


def test_the_input_of_a_definition_is_json_or_text(call, folder):
    assert "stations  ['Sea']" in call("run", "weather.py", "-i", 'input={"Sea": 3}').out
    assert "stations  ['a', 'b']" in call("run", "weather.py", "-i", "input=ab").out


# ----------------------------------------------------------------------------------------------------------
# --context
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "bulletin"),
    [
        ("weather:services", "*HILL *LAKE"),
        ("weather.py:services", "*HILL *LAKE"),
        ("./weather.py:services", "*HILL *LAKE"),
        ("weather.py:context", "+HILL +LAKE"),
        ("app.services:Services.make", "/HILL /LAKE"),
        ("app.services:Services", "-HILL -LAKE"),
        ("app/services.py:Services", "-HILL -LAKE"),
    ],
)
def test_context_is_what_a_factory_gives(call, folder, words, bulletin):
    (folder / "app").mkdir()
    (folder / "app" / "__init__.py").write_text("")
    (folder / "app" / "services.py").write_text(
        "from penstock.dialects.definitions import PipelineContext\n"
        "class Services(PipelineContext):\n"
        "    def __init__(self, prefix='-'):\n        super().__init__(state={'prefix': prefix})\n"
        "    @classmethod\n    def make(cls):\n        return cls('/')\n"
    )
    told = call("run", "weather.py:weather", "--context", words, "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["outputs"]["bulletin"] == bulletin


def test_a_file_is_imported_once_for_a_target_and_its_context(call, folder):
    (folder / "once.py").write_text("print('imported')\n" + DIALECTS["weather.py"])
    (folder / "other.py").write_text((folder / "once.py").read_text())
    (folder / "both.py").write_text("from other import *\n")
    told = call("run", "once.py", "--context", "./once.py:services")
    assert told.out.count("imported\n") == 1
    told = call("run", "both.py", "--context", "other.py:services")
    assert told.out.count("imported\n") == 1


CONTEXTS = """\
import asyncio
from penstock.dialects.definitions import PipelineContext

async def later():
    return PipelineContext()

def also_later():
    return later()

def asks(config, *, debug): ...

def forgets():
    PipelineContext()

def other():
    return {"state": {}}

def leaves():
    raise SystemExit("no licence")

number = 3
"""

REFUSED = {
    "contexts": "'contexts' is neither file.py:name nor package.module:name",
    "contexts.py": "'contexts.py' is neither file.py:name nor package.module:name",
    "contexst:other": "there is no module 'contexst'; did you mean 'contexts'?",
    "contexst.py:other": "there is no file 'contexst.py'; did you mean 'contexts.py'?",
    "contexts:othr": "contexts: there is no 'othr' in it; did you mean 'other'?",
    "contexts.py:number.of": "contexts.py: there is no 'number.of' in it; did you mean 'number'?",
    "contexts:later": "contexts:later is async, and no event loop runs yet; give a plain function",
    "contexts:also_later": "contexts:also_later is async, and no event loop runs yet; give a plain function",
    "contexts:asks": "contexts:asks is called without arguments: missing a required argument: 'config'",
    "contexts:forgets": "contexts:forgets gave None, not PipelineContext",
    "contexts:other": "contexts:other gave dict, not PipelineContext",
    "contexts:number": "contexts:number is of type int, neither a function nor PipelineContext",
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("words", REFUSED)
def test_l07_a_context_that_cannot_be_had_is_misuse(call, folder, words):
    (folder / "contexts.py").write_text(CONTEXTS)
    assert call("run", "weather.py", "--context", words) == (2, "", f"penstock: {REFUSED[words]}\n")


def test_l07_a_factory_that_raises_shows_the_users_frames_only(call, folder):
    (folder / "raises_later.py").write_text(
        "def divide(number):\n    return number / 0\n\ndef make():\n    return divide(1)\n"
    )
    (folder / "contexts.py").write_text(CONTEXTS)
    told = call("run", "weather.py", "--context", "raises_later.py:make")
    assert (told.code, told.out) == (2, "")
    assert (
        told.err.replace(f"{folder}/", "")
        == """\
penstock: raises_later.py:make raised
Traceback (most recent call last):
  File "raises_later.py", line 5, in make
    return divide(1)
           ^^^^^^^^^
  File "raises_later.py", line 2, in divide
    return number / 0
           ~~~~~~~^~~
ZeroDivisionError: division by zero
"""
    )
    assert call("run", "weather.py", "--context", "raises.py:x").err.startswith(
        "penstock: raises.py cannot be imported\n"
    )
    assert call("run", "weather.py", "--context", "contexts.py:leaves").err.endswith(
        "SystemExit: no licence\n"
    )


def test_l07_what_takes_no_context_says_what_it_takes(call, folder):
    for file, name, takes in (("good.py", "flow", "count"), ("sales.py", "workflow", "none")):
        told = call("run", file, "--context", "weather:services")
        text = f"penstock: --context: {file}:{name} takes no input 'context'; it takes {takes}\n"
        assert told == (2, "", text)


def test_the_context_of_a_pipeline_is_a_dict_of_entries(call, folder):
    (folder / "seen.py").write_text(SEEN.replace(", 3: 4", ""))
    entries = {"rate": 5, "session": "print"}
    assert seen(call("run", "seen.py", "--json", "--context", "seen:entries")) == entries
    told = call("run", "seen.py", "--json", "--context", "seen:entries", "-i", "rate=6", "-i", "more=1")
    assert seen(told) == {"rate": 6, "session": "print", "more": 1}
    assert call("run", "seen.py", "--context", "seen:number").err == (
        "penstock: seen:number gave int, not dict\n"
    )


def test_a_flow_that_takes_a_context_gets_it_too(call, folder):
    (folder / "asks.py").write_text(
        "from penstock import Flow\nfrom penstock.dialects.definitions import PipelineContext\n"
        "flow = Flow('asks')\n"
        "@flow.step\ndef work(context: PipelineContext) -> str:\n    return context.get_state('prefix')\n"
        "loose = Flow('loose')\n"
        "@loose.step\ndef also(context):\n    return context\n"
    )
    assert "work  *\n" in call("run", "asks.py:flow", "--no-store", "--context", "weather:services").out
    assert call("run", "asks.py:flow").err.endswith("  give it with: --context MODULE:FACTORY\n")
    assert call("run", "asks.py:flow", "-i", "context=3").err == (
        "penstock: input 'context' takes PipelineContext, which cannot be written here; "
        "give it with: --context MODULE:FACTORY\n"
    )
    assert "also  etl\n" in call("run", "asks.py:loose", "--context", "etl:executor.config.name").out
    told = call("run", "asks.py:loose", "--context", "etl:executor.config.name", "-i", "context=3")
    assert told == (2, "", "penstock: the input 'context' is given twice\n")


def test_what_a_factory_prints_is_not_in_the_json(program, folder):
    done = program("run", "weather.py", "--context", "weather:services", "--json")
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert b"connecting\n" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_l01_l03_a_signal_while_the_factory_runs(folder, number, code):
    (folder / "waits.py").write_text(
        "import threading\ndef make():\n"
        "    with open('pipe', 'w') as pipe:\n        pipe.write('ready')\n    threading.Event().wait()\n"
    )
    run = begin_in(folder, "weather.py", "--context", "waits:make")
    run.send_signal(number)
    word = "interrupted" if code == 130 else "terminated"
    assert end(run) == (code, "", f"penstock: {word}\n")


# ----------------------------------------------------------------------------------------------------------
# Failures
# ----------------------------------------------------------------------------------------------------------

FAILING = {
    "stages.py": """\
from penstock.dialects.pipelines import FunctionStage, ParallelStage, PipelineBuilder

def good(context):
    return 1

def bad(context):
    raise ValueError("row 7")

def pipeline(fail_fast):
    builder = PipelineBuilder("stages", fail_fast=fail_fast).stage("bad", bad, retry_count=0)
    return builder.stage("after", good, depends_on=["bad"]).stage("other", good).build()

stops = pipeline(True)
goes_on = pipeline(False)
children = [FunctionStage("one", good), ParallelStage("inner", [FunctionStage("deep", bad)])]
parallel = PipelineBuilder("parallel").parallel("both", children).build()
""",
    "defined.py": """\
import asyncio
from penstock.dialects.definitions import (
    ExecutionPattern, PipelineDefinition, RetryConfig, StageDefinition, StageResult,
)

class Gives:
    def __init__(self, result):
        self.result = result
    async def execute(self, input, context):
        return self.result

class Fails:
    async def execute(self, input, context):
        raise ValueError(f"row {input}")

class Odd:
    async def execute(self, input, context):
        if input % 2:
            raise ValueError(f"{input} is odd")
        return StageResult.success(input)

class Hangs:
    async def execute(self, input, context):
        await asyncio.Event().wait()

numbers = StageDefinition("numbers", Gives(StageResult.success([1, 2, 4])))
again = RetryConfig(max_attempts=2, initial_delay_ms=0.1)

raises = PipelineDefinition("raises", [
    numbers, StageDefinition("bad", Fails(), inputs=["numbers"], retry_config=again),
    StageDefinition("after", Gives(None), inputs=["bad"]),
])
says = PipelineDefinition("says", [StageDefinition("bad", Gives(StageResult.failure("no data")))])
items = PipelineDefinition("items", [
    numbers, StageDefinition("odd", Odd(), ExecutionPattern.FAN_OUT, inputs=["numbers"]),
])
softly = PipelineDefinition("softly", [
    StageDefinition("draft", Gives(StageResult.soft_fail("a draft", "the judge is never content"))),
    StageDefinition("extra", Gives(StageResult.skipped("nothing to do"))),
])
late = PipelineDefinition("late", [StageDefinition("hangs", Hangs(), timeout_ms=20)])
""",
    "tasks.py": """\
import asyncio
from penstock.dialects.workflow import RetryPolicy, Workflow

def good():
    return 1

def bad():
    raise ValueError("row 7")

async def hangs():
    await asyncio.Event().wait()

late = Workflow("late", timeout=0.25)
late.add_task("first", good).add_task("hangs", hangs, dependencies=["first"])
late.add_task("never", good, dependencies=["hangs"])

goes_on = Workflow("goes on", fail_fast=False)
goes_on.add_task("bad", bad, retry_policy=RetryPolicy(max_attempts=2, initial_delay=0.001))
goes_on.add_task("after", good, dependencies=["bad"]).add_task("other", good)
""",
    "each.py": """\
from penstock.dialects.steps import PipelineConfig, PipelineExecutor

executor = PipelineExecutor()
told = PipelineExecutor()

@told.step("bad", on_failure=lambda error: print("told of", error))
@executor.step("bad", retries=2, retry_delay=0.001)
def bad():
    raise ValueError("row 7")

@executor.step("after", depends_on=["bad"])
@executor.step("skips", depends_on=["bad"], skip_on_error=True)
def after(bad): ...

@executor.step("late", timeout=0.02)
async def late():
    import asyncio
    await asyncio.Event().wait()

@told.step("other")
@executor.step("other")
def other():
    return 1
""",
}


@pytest.fixture
def failing(files: Path) -> Path:
    for name, text in FAILING.items():
        (files / name).write_text(text)
    return files


def told_of(call, target, *words) -> tuple[dict, dict]:
    """Of a run that failed: status and reason of each step, and the whole object."""
    told = call("run", target, "--json", *words)
    assert told.code == 1, told.err
    whole = json.loads(told.out)
    assert whole["status"] == "failed"
    assert "Traceback" not in told.err
    return {id: (node["status"], node["reason"]) for id, node in whole["nodes"].items()}, whole


def test_s01_a_failing_stage_of_a_pipeline_stops_it_or_not(call, failing):
    nodes, _ = told_of(call, "stages.py:stops")
    bad = {"bad": ("failed", "ValueError: row 7"), "after": ("skipped", "bad failed")}
    assert nodes == {**bad, "other": ("skipped", "the run stopped: bad failed")}
    nodes, whole = told_of(call, "stages.py:goes_on")
    assert nodes == {**bad, "other": ("succeeded", None)}
    assert whole["outputs"] == {"other": 1}


def test_s01_a_failure_inside_a_parallel_stage_names_the_child_and_the_users_line(call, failing):
    told = call("run", "stages.py:parallel")
    assert told.code == 1
    text = (
        "RuntimeError: parallel stage 'both': stage 'inner' failed: "
        "RuntimeError: parallel stage 'inner': stage 'deep' failed: ValueError: row 7"
    )
    assert f"both failed  {failing}/stages.py:7\n    {text}\n" in told.out
    nodes, _ = told_of(call, "stages.py:parallel")
    assert nodes == {"both": ("failed", text)}


def test_s01_a_failing_stage_of_a_definition(call, failing):
    nodes, whole = told_of(call, "defined.py:raises")
    assert nodes["bad"] == ("failed", "ValueError: row [1, 2, 4]")
    assert nodes["after"] == ("skipped", "bad failed")
    assert whole["nodes"]["bad"]["attempts"] == 2
    assert whole["outputs"] == {"numbers": [1, 2, 4]}
    assert "bad failed  " in (out := call("run", "defined.py:raises").out)
    assert f"{failing}/defined.py:14  attempt 2\n" in out
    nodes, _ = told_of(call, "defined.py:says")
    assert nodes == {"bad": ("failed", "StageFailed: no data")}
    nodes, _ = told_of(call, "defined.py:late")
    assert nodes == {"hangs": ("failed", "TimeoutError: no result after 0.02 s")}


def test_f04_failing_items_of_a_definition_are_named(call, failing):
    _, whole = told_of(call, "defined.py:items")
    assert whole["nodes"]["odd/item"]["failures"]["odd/item[0]"] == "ValueError: 1 is odd"
    assert whole["nodes"]["odd"]["status"] == "skipped"
    assert whole["outputs"] == {"numbers": [1, 2, 4]}
    out = call("run", "defined.py:items").out
    assert re.search(r"^  ✗ odd/item .* 1 failed", out, re.M)  # others succeed or are cancelled
    assert f"odd/item[0] failed  {failing}/defined.py:19\n    ValueError: 1 is odd\n" in out


def test_what_a_definition_lets_pass_is_a_warning(call, failing):
    told = call("run", "defined.py:softly")
    assert told.code == 0
    assert (
        """
warning: stage 'draft' failed softly: the judge is never content
warning: stage 'extra' was skipped: nothing to do

draft  a draft

✓ succeeded"""
        in told.out
    )


def test_a_workflow_whose_own_time_is_over(call, failing):
    nodes, whole = told_of(call, "tasks.py:late")
    assert nodes["first"] == ("succeeded", None)
    assert nodes["hangs"] == ("failed", "TimeoutError: the run's deadline of 0.25 s passed")
    assert nodes["never"][0] == "skipped"
    assert (whole["reason"], whole["outputs"]) == ("its deadline passed", {"first": 1})
    assert "\nthe run failed: its deadline passed\n" in call("run", "tasks.py:late").out


def test_a_late_workflow_waits_here_no_longer_than_when_python_runs_it():
    graces = []
    workflow = Workflow("late", timeout=60).add_task("one", len, ["text"])
    observers: Any = [lambda e: graces.append(e.options["grace"]) if isinstance(e, RunStarted) else 0]
    workflow.run(options=RunOptions(observers=observers, grace=7))
    workflow.run_with({}, options=RunOptions(observers=observers))
    assert graces == [7, 0.25]


def test_s01_a_failing_task_of_a_workflow_that_goes_on(call, failing):
    nodes, whole = told_of(call, "tasks.py:goes_on")
    assert nodes == {
        "bad": ("failed", "ValueError: row 7"),
        "after": ("skipped", "bad failed"),
        "other": ("succeeded", None),
    }
    assert whole["nodes"]["bad"]["attempts"] == 2


def test_s01_failing_steps_with_retries_and_a_timeout(call, failing):
    nodes, whole = told_of(call, "each.py:executor")
    assert nodes == {
        "bad": ("failed", "ValueError: row 7"),
        "after": ("skipped", "bad failed"),
        "skips": ("skipped", "bad failed"),
        "late": ("failed", "TimeoutError: no result after 0.02 s"),
        "other": ("succeeded", None),
    }
    assert whole["nodes"]["bad"]["attempts"] == 3
    out = call("run", "each.py:executor").out
    assert "  ✗ bad TOOK  ValueError: row 7  3 attempts\n" in out
    assert f"bad failed  {failing}/each.py:9  attempt 3\n" in out


def test_steps_that_tell_somebody_of_failures_are_summed_up_too(call, failing):
    told = call("run", "each.py:told")
    assert told.code == 1
    assert told.out.startswith("told of row 7\npipeline  run RUN\n")
    assert told.out.endswith("✗ failed in TOOK  1 of 2 steps, 1 failed\n")


# ----------------------------------------------------------------------------------------------------------
# What the command line cannot have its way with
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "word", "heard"),
    [
        ("stages.py:stops", "continue", False),
        ("stages.py:stops", "drain", True),
        ("stages.py:goes_on", "stop", False),
        ("stages.py:goes_on", "continue", True),
        ("tasks.py:goes_on", "stop", False),
        ("each.py:executor", "stop", False),
        ("defined.py:says", "stop", True),
        ("bad.py", "continue", True),
    ],
)
def test_an_on_failure_that_has_no_effect_is_a_warning(call, failing, target, word, heard):
    _, whole = told_of(call, target, "--on-failure", word)
    name = target.partition(":")[2]
    text = f"--on-failure {word} has no effect: {name} says itself what follows"
    assert whole["warnings"] == ([] if heard else [text])
    if not heard:
        assert f"\nwarning: {text}\n" in call("run", target, "--on-failure", word).out


def test_an_on_failure_that_cannot_be_is_misuse(call, failing, monkeypatch):
    text = "penstock: on_failure='continue': a pipeline of this kind stops at a failure, always\n"
    assert call("run", "defined.py:says", "--on-failure", "continue") == (2, "", text)
    monkeypatch.setenv("PENSTOCK_ON_FAILURE", "continue")
    mend = "  that on_failure is configured; --on-failure wins over it\n"
    assert call("run", "defined.py:says") == (2, "", text + mend)
    assert call("run", "defined.py:says", "--on-failure", "stop").code == 1
    assert told_of(call, "stages.py:stops")[1]["warnings"] == []


# ----------------------------------------------------------------------------------------------------------
# Graphs that are not valid, and errors that are not ours
# ----------------------------------------------------------------------------------------------------------

INVALID = """\
from penstock.dialects.definitions import PipelineDefinition, StageDefinition
from penstock.dialects.pipelines import FunctionStage, Pipeline, Stage
from penstock.dialects.steps import PipelineExecutor
from penstock.dialects.workflow import Workflow

class Nothing:
    async def execute(self, input, context): ...

a = Pipeline(name="a").add_stage(FunctionStage("one", len, depends_on=["two"]))
b = PipelineDefinition("b", [StageDefinition("one", Nothing(), inputs=["two", "one"])])
c = Workflow("c").add_task("one", len, dependencies=["two"]).add_task("two", len, dependencies=["one"])
d = PipelineExecutor().add_step("one", lambda: 1, ["two"])
changed = Pipeline(name="changed").add_stage(FunctionStage("one", len))
changed.stages[0].timeout_s = -1

class Odd(Stage):
    def execute(self, context): ...
    @property
    def depends_on(self):
        raise self.error
    @depends_on.setter
    def depends_on(self, value): ...

class Picky(Odd):
    error = ValueError("mine too")

Odd.error = KeyError("mine")
odd = Pipeline(name="odd").add_stage(Odd("one"))
picky = Pipeline(name="picky").add_stage(Picky("one"))
"""

WRONG = {
    "a": "Stage 'one' depends on unknown stage 'two'",
    "b": "Stage 'one' depends on unknown stage 'two'\n  Circular dependency detected: one -> one",
    "c": "Circular dependency detected: one -> two -> one",
    "d": "Step 'one' depends on unknown step 'two'",
    "changed": "Timeout: attempt must be more than 0 s, not -1",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["run", "graph"])
def test_g01_g02_g04_a_graph_of_a_dialect_that_is_not_valid(call, files, name, command):
    (files / "invalid.py").write_text(INVALID)
    assert call(command, f"invalid.py:{name}") == (3, "", f"penstock: invalid.py:{name}: {WRONG[name]}\n")


@pytest.mark.parametrize(("name", "error"), [("odd", "KeyError: 'mine'"), ("picky", "ValueError: mine too")])
def test_a_stage_of_the_users_that_raises_shows_their_line(call, files, name, error):
    (files / "invalid.py").write_text(INVALID)
    told = call("graph", f"invalid.py:{name}")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"penstock: invalid.py:{name} raised\nTraceback (most recent call last):\n")
    assert told.err.count("  File ") == 1
    assert told.err.endswith(f"{error}\n")


THEIRS = """\
import sys
from penstock import Flow
from penstock.core.errors import RunCancelled, RunFailed
from penstock.dialects.definitions import PipelineContext, PipelineDefinition, StageDefinition

class Token:
    def is_set(self):
        raise OSError("the broker is gone")

class Stage:
    async def execute(self, input, context): ...

definition = PipelineDefinition("x", [StageDefinition("a", Stage())])
context = PipelineContext(cancel_token=Token())

class Mine:
    def __init__(self, error):
        self.error = error
    def graph(self):
        return Flow("x").graph()
    def inputs(self):
        return ()
    def run_with(self, inputs, *, targets=None, runner=None, options=None):
        raise self.error

value = Mine(ValueError("mine"))
cancelled = Mine(RunCancelled("it was cancelled", None))
failed = Mine(RunFailed("it failed", None))
"""


def test_what_the_users_code_raises_around_a_run_is_theirs(call, files):
    (files / "theirs.py").write_text(THEIRS)
    told = call("run", "theirs.py:definition", "--context", "theirs:context")
    assert (told.code, told.out) == (1, "")
    assert (
        told.err.replace(f"{files}/", "")
        == """\
penstock: theirs.py:definition raised
Traceback (most recent call last):
  File "theirs.py", line 8, in is_set
    raise OSError("the broker is gone")
OSError: the broker is gone
"""
    )
    told = call("run", "theirs.py:value")
    assert told.code == 1
    assert told.err.startswith("penstock: theirs.py:value raised\n")
    assert call("run", "theirs.py:cancelled") == (130, "", "penstock: interrupted\n")
    assert call("run", "theirs.py:failed") == (1, "", "penstock: it failed\n")


BUSY = """\
import threading
from penstock.dialects.steps import PipelineExecutor

executor = PipelineExecutor()
begun, over = threading.Event(), threading.Event()

@executor.step
def work():
    begun.set()
    over.wait()

thread = threading.Thread(target=executor.run_sync)
thread.start()
begun.wait()
"""


def test_what_a_dialect_will_not_do_is_said_in_one_line(call, files):
    (files / "busy.py").write_text(BUSY)
    try:
        told = call("run", "busy.py")
    finally:
        busy = sys.modules["busy"]
        busy.over.set()
        busy.thread.join()
    assert told == (2, "", "penstock: busy.py:executor: Pipeline is already running\n")


def test_a_bug_of_ours_keeps_its_traceback(call, folder, monkeypatch):
    monkeypatch.setattr(wiring, "run_prepared", lambda prepared: wiring.drawing(cast(Any, None)))
    with pytest.raises(AttributeError):
        call("run", "sales.py")


def test_a_builder_is_not_run_and_its_build_is_named(call, files):
    (files / "built.py").write_text(
        "from penstock.dialects.pipelines import PipelineBuilder\n"
        "builder = PipelineBuilder('x').stage('a', len)\n"
    )
    say = "say for example pipeline = builder.build()"
    assert call("run", "built.py") == (
        2,
        "",
        "penstock: built.py: there is no flow in it, nor anything else that can be run\n"
        f"  builder is a builder; {say}\n",
    )
    assert call("graph", "built.py:builder").err == (
        f"penstock: built.py: 'builder' cannot be run, it is of type PipelineBuilder; {say}\n"
    )


def test_the_executor_of_definitions_is_not_run_and_the_definition_is_named(call, folder):
    assert call("run", "weather.py:executor").err == (
        "penstock: weather.py: 'executor' cannot be run, it is of type PipelineExecutor; it has weather\n"
    )


# ----------------------------------------------------------------------------------------------------------
# Graph and list
# ----------------------------------------------------------------------------------------------------------

DRAWN = {
    "orders.py": """\
orders · 4 steps · 3 levels

●    load
●    total    use load
├─●  split    use total
●    big ?    use total

● step   ? has a condition
""",
    "weather.py": """\
weather · 5 steps · 5 levels

inputs
  input

steps
●  stations         input input
●  measure/items    use stations  [runner inline]
◆  measure/item     each measure/items  [limit fan-out of measure]
●  measure          gather measure/item  [runner inline]
●  bulletin         use measure

● step   ◆ once per item
""",
    "sales.py": """\
sales · 3 steps · 3 levels

●  fetch
●  double    use fetch  [2 attempts]
●  never ?   after double

● step   ? has a condition
""",
    "etl.py": """\
etl · 3 steps · 3 levels

●  load     [3 attempts]
●  total    use load
●  show     use total
""",
}


@pytest.mark.parametrize("file", DIALECTS)
def test_each_dialect_is_drawn(call, folder, file):
    assert call("graph", file) == (0, DRAWN[file], "")


@pytest.mark.parametrize("file", DIALECTS)
def test_each_dialect_is_drawn_for_other_programs(call, folder, file):
    steps = int(DRAWN[file].split()[2])
    mermaid = call("graph", file, "--format", "mermaid")
    assert (mermaid.code, mermaid.err) == (0, "")
    assert mermaid.out.startswith("flowchart TD\n")
    assert all(f"n{number}" in mermaid.out for number in range(steps))
    assert mermaid.out.count("-->") + mermaid.out.count("==>") + mermaid.out.count("-.->") == steps - 1
    dot = call("graph", file, "-f", "dot")
    assert dot.code == 0
    assert dot.out.startswith(f'digraph "{DRAWN[file].split()[0]}" {{\n')
    assert dot.out.count(" -> ") == steps - 1


def test_each_dialect_is_listed(call, folder):
    for name in [*folder.glob("*.py")]:
        if name.name not in DIALECTS:
            name.unlink()
    assert (
        call("list").out
        == """\
etl      3 steps  etl.py:4       executor  Steps.
orders   4 steps  orders.py:19   pipeline  Orders, in stages.
sales    3 steps  sales.py:10    workflow  Sales.
weather  3 steps  weather.py:18  weather   The weather of some stations
"""
    )


def test_whatever_is_listed_is_drawn_and_run(call, folder):
    """Every row, given to the other commands as it stands there; and none that they find is missing."""
    for found in [one for file in DIALECTS for one in discover(Path(file)) if isinstance(one, Found)]:
        target = f"{found.file}:{found.variable}"
        assert call("graph", target).code == 0
        assert call("run", target).code == 0
        assert call("run", str(found.file)).code == 0  # it is the only one


# ----------------------------------------------------------------------------------------------------------
# Signals
# ----------------------------------------------------------------------------------------------------------

WAITING = """\
import asyncio, threading
from penstock.dialects.definitions import PipelineDefinition, StageDefinition
from penstock.dialects.pipelines import FunctionStage, PipelineBuilder
from penstock.dialects.steps import PipelineExecutor
from penstock.dialects.workflow import Workflow

def ready():
    with open("pipe", "w") as pipe:
        pipe.write("ready")

async def waits(*given):
    ready()
    await asyncio.Event().wait()

class Waits:
    async def execute(self, input, context):
        await waits()

pipeline = PipelineBuilder("pipeline").stage("waits", waits).stage("after", len).build()
nested = PipelineBuilder("nested").parallel("both", [FunctionStage("waits", waits)]).build()
definition = PipelineDefinition("definition", [StageDefinition("waits", Waits())])
workflow = Workflow("workflow").add_task("waits", waits).add_task("after", len, dependencies=["waits"])
steps = PipelineExecutor().add_step("waits", waits)
told = PipelineExecutor().add_step("waits", waits, on_failure=print)

def blocks():
    ready()
    threading.Event().wait()

stubborn = PipelineExecutor().add_step("blocks", blocks, on_failure=print)
"""


def begin_in(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    os.mkfifo(folder / "pipe")
    return begin(folder, *words)


@pytest.mark.parametrize("target", ["pipeline", "nested", "definition", "workflow", "steps", "told"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_l01_l03_a_signal_ends_the_run_of_a_dialect_in_order(folder, target, number, code):
    (folder / "waiting.py").write_text(WAITING)
    run = begin_in(folder, f"waiting.py:{target}")
    run.send_signal(number)
    ended, out, err = end(run)
    assert ended == code
    assert out.splitlines()[-1].startswith("■ cancelled in TOOK")
    assert "run RUN cancelled in TOOK\n" in err
    assert "Traceback" not in out + err


def test_l02_a_second_ctrl_c_leaves_what_cannot_be_stopped(folder):
    (folder / "waiting.py").write_text(WAITING)
    run = begin_in(folder, "waiting.py:stubborn")
    assert run.stderr is not None
    run.send_signal(signal.SIGINT)
    while b"cancelling" not in (line := run.stderr.readline()):
        assert line
    run.send_signal(signal.SIGINT)
    code, _, err = end(run)
    assert code == 130
    assert "Traceback" not in err
