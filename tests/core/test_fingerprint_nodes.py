"""Fingerprints of the nodes of every face: which of them an edit changes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.core.fingerprint import Fingerprints
from penstock.core.model import Condition, Need, Node, Resource, RetryPolicy

NATIVE = '''
from penstock import Context, Flow, RetryPolicy, each, fold, gather, outcome, param, repeat, switch, use
from penstock import Limit

LIMIT = Limit("api", capacity=2)
SCALE = 10
flow = Flow("shop", defaults={"keep": True})


def scaled(x):
    return x * SCALE


def transient(error):
    return "busy" in str(error)


@flow.resource
def link(url):
    yield opened(url)


def opened(url):
    return [url]


@flow.step(retry=RetryPolicy(3, retry_on=transient), timeout=3.0)
def load(link, url) -> list:
    return [scaled(x) for x in link]


@flow.step
def clean(load, context: Context):
    return load[1:]


@flow.step(when=lambda clean: allowed(clean))
def save(clean, item=each(load, key=lambda x: name(x))):
    return load(1, 2) and item


def name(x):
    return str(x)


def allowed(x):
    return bool(x)


def total(so_far, item):
    return so_far + item


report = flow.add(lambda x, y: plus(x, y), x=gather(save), y=1, name="report", limits=[LIMIT])
summed = flow.add(lambda x: x, x=fold(save, total, 0), name="summed")


def plus(x, y):
    return x, y


def draft(x: int = 0) -> int:
    return x + 1


again = repeat(flow.add(draft), until=lambda x: good(x), max=2)


def good(x):
    return x > 1


def uses_a_step(x):
    return clean(x, None)


flow.add(uses_a_step)


def uses_an_added_step(x):
    return report(x, 2), again(x)


flow.add(uses_an_added_step)


class Shop:
    def __init__(self, size):
        self.size = size

    def sell(self, x):
        return x * self.size

    def buy(self, x):
        return x


flow.add(Shop(2).sell, name="sell")
'''  # fmt: skip

BUILT = """
from penstock import Flow, RetryPolicy


def build(flow, size):
    @flow.step(retry=RetryPolicy(3), timeout=1.0)
    def load():
        return helper(size)

    return flow


def helper(x):
    return x


flow = build(Flow("shop"), 3)
"""

PIPELINES = """
from penstock.dialects.pipelines import ConditionalStage, FunctionStage, ParallelStage, Stage


def one(context):
    return helper(context)


def helper(context):
    return 1


def two(context):
    return 2


def asked(context):
    return True


class Own(Stage):
    def __init__(self, id, size, **kw):
        super().__init__(id, **kw)
        self.size = size

    def execute(self, context):
        return self.size

    def on_success(self, result, context):
        context["told"] = 1

    def unused(self):
        return 1


stages = [
    FunctionStage("one", one, retry_count=1),
    ConditionalStage("asked", asked, FunctionStage("in", two), depends_on=["one"]),
    ParallelStage("both", [FunctionStage("x", one), ConditionalStage("y", asked, Own("in", 1))]),
    Own("own", 3),
    FunctionStage("awaited", two),
]
"""

WORKFLOW = """
from penstock.dialects.workflow import Task


def load():
    return helper()


def helper():
    return 1


def asked(results):
    return True


def text(value):
    return str(value)


tasks = [
    Task("load", load, timeout=3),
    Task("asked", len, args=[[1]], condition=asked),
    Task("text", max, args=(1, 2), kwargs={"key": text}, transform_result=lambda value: text(value)),
]
"""

DEFINITIONS = """
from penstock.dialects.definitions import (
    ExecutionPattern, ReviewLoop, StageDefinition, StageResult, RetryConfig, Verdict
)


class Extract:
    def __init__(self, size):
        self.size = size

    async def execute(self, input, context):
        return StageResult.success(helper(input) * self.size)


def helper(x):
    return x


def asked(context):
    return True


async def draft(input, feedback, context):
    return input


def judge(draft, context):
    return Verdict(True)


stages = [
    StageDefinition("extract", Extract(1), retry_config=RetryConfig(2)),
    StageDefinition("asked", Extract(2), inputs=["extract"], condition=asked),
    StageDefinition("fan", Extract(3), inputs=["asked"], pattern=ExecutionPattern.FAN_OUT),
    StageDefinition("review", ReviewLoop(draft, judge, 3)),
]
"""

STEPS = """
from penstock.dialects.steps import StepConfig


def load():
    return helper()


def helper():
    return 1


def placed(x, /):
    return x


def told(error):
    return None


configs = [
    StepConfig("load", load, retries=1, on_failure=told),
    StepConfig("placed", placed, depends_on=["load"]),
]
"""


def native(module: Any) -> list[Node]:
    return [*module.flow.graph().nodes]


def pipelines(module: Any) -> list[Node]:
    from penstock.dialects.pipelines.graph import StageGraph

    return [*StageGraph().of("p", module.stages, False).graph.nodes]


def workflow(module: Any) -> list[Node]:
    from penstock.dialects.workflow.graph import TaskGraph

    return [*TaskGraph().of("w", {task.name: task for task in module.tasks}).nodes]


def definitions(module: Any) -> list[Node]:
    from penstock.dialects.definitions.graph import made_of

    return [*made_of("d", module.stages).graph.nodes]


def steps(module: Any) -> list[Node]:
    from penstock.dialects.steps.step import Step

    return [Step(config).node("none") for config in module.configs]


Prints = dict[str, str]


@pytest.fixture
def prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Prints]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    count = 0

    def of(text: str, nodes: Callable[[Any], list[Node]]) -> Prints:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "project.py").write_text(text)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            sys.modules.pop("project", None)
            module = importlib.import_module("project")
            made = Fingerprints()
            found = {node.id: made.of_node(node) for node in nodes(module)}
            assert found == {node.id: Fingerprints().of_node(node) for node in nodes(module)}
            sys.modules.pop("project", None)
        return found

    return of


EDITS: list[tuple[Callable[[Any], list[Node]], str, str, str, str]] = [
    (native, NATIVE, "x * SCALE", "x / SCALE", "load save"),
    (native, NATIVE, "SCALE = 10", "SCALE = 11", "load save"),
    (native, NATIVE, '"busy" in', '"busy" not in', "load"),
    (native, NATIVE, "return [url]", "return [url, url]", "load"),
    (native, NATIVE, "load[1:]", "load[2:]", "clean uses_a_step"),
    (native, NATIVE, "return bool(x)", "return not x", "save"),
    (native, NATIVE, "return str(x)", "return repr(x)", "save"),
    (native, NATIVE, "so_far + item", "so_far - item", "summed.x"),
    (native, NATIVE, "return x, y", "return y, x", "report uses_an_added_step"),
    (native, NATIVE, "y=1, name", "y=2, name", ""),
    (native, NATIVE, "return x + 1", "return x + 2", "draft/1 draft/2 uses_an_added_step"),
    (native, NATIVE, "x > 1", "x > 2", "draft/2"),
    (native, NATIVE, "max=2", "max=3", "draft/3"),
    (native, NATIVE, "x * self.size", "x + self.size", "sell"),
    (native, NATIVE, "Shop(2)", "Shop(3)", "sell"),
    (native, NATIVE, "    def buy(self, x):\n        return x\n", "", ""),
    (native, NATIVE, "timeout=3.0", "timeout=4.0, optional=True", ""),
    (native, NATIVE, "RetryPolicy(3, ", "RetryPolicy(4, ", ""),
    (native, NATIVE, '{"keep": True}', '{"keep": False}', ""),
    (native, NATIVE, "capacity=2", "capacity=3", ""),
    (native, NATIVE, ", limits=[LIMIT]", "", ""),
    (native, NATIVE, "each(load, key", "each(clean, key", ""),
    (native, NATIVE, "gather(save)", 'gather(save, failures="drop")', ""),
    (native, NATIVE, "context: Context", "context: Context, more=use(load)", "clean uses_a_step"),
    (native, NATIVE, "@flow.step\ndef clean", "@flow.step(name='cleaned')\ndef clean", "cleaned"),
    (native, NATIVE, "clean(load, context", "clean(load: list, context", ""),
    (native, NATIVE, '"shop"', '"another"', ""),
    (native, BUILT, "timeout=1.0", "timeout=2.0, optional=True", ""),
    (native, BUILT, "RetryPolicy(3)", "RetryPolicy(4)", ""),
    (native, BUILT, "return x", "return -x", "load"),
    (native, BUILT, '"shop"), 3', '"shop"), 4', "load"),
    (pipelines, PIPELINES, "return 1\n\n\ndef two", "return 3\n\n\ndef two", "one both"),
    (pipelines, PIPELINES, "return 2", "return 3", "asked awaited"),
    (pipelines, PIPELINES, "return True", "return False", "asked both"),
    (pipelines, PIPELINES, "return self.size", "return -self.size", "both own"),
    (pipelines, PIPELINES, 'Own("own", 3)', 'Own("own", 4)', "own"),
    (pipelines, PIPELINES, 'Own("in", 1)', 'Own("in", 2)', "both"),
    (pipelines, PIPELINES, '["told"] = 1', '["told"] = 2', "both own"),
    (pipelines, PIPELINES, "def unused(self):\n        return 1", "def unused(self):\n        return 2", ""),
    (pipelines, PIPELINES, "retry_count=1", "retry_count=2, timeout_s=3, name='more'", ""),
    (pipelines, PIPELINES, 'Own("own", 3)', 'Own("own", 3, retry_count=2, depends_on=["one"])', ""),
    (workflow, WORKFLOW, "return 1", "return 2", "load"),
    (workflow, WORKFLOW, "return True", "return False", "asked"),
    (workflow, WORKFLOW, "str(value)", "repr(value)", "text"),
    (workflow, WORKFLOW, "lambda value: text(value)", "text", "text"),
    (workflow, WORKFLOW, "timeout=3", "timeout=4", ""),
    (workflow, WORKFLOW, "args=[[1]]", "args=[[2]]", ""),
    (definitions, DEFINITIONS, "    return x\n", "    return -x\n", "extract asked fan/item"),
    (definitions, DEFINITIONS, "Extract(1)", "Extract(4)", "extract"),
    (definitions, DEFINITIONS, "return True", "return False", "asked"),
    (definitions, DEFINITIONS, "return input\n", "return -input\n", "review"),
    (definitions, DEFINITIONS, "Verdict(True)", "Verdict(False)", "review"),
    (definitions, DEFINITIONS, "RetryConfig(2)", "RetryConfig(3), timeout_ms=100", ""),
    (steps, STEPS, "return 1", "return 2", "load"),
    (steps, STEPS, "return x", "return -x", "placed"),
    (steps, STEPS, "return None", "return 1", ""),
    (steps, STEPS, "retries=1", "retries=2, timeout=3", ""),
]


@pytest.mark.parametrize(
    ("nodes", "text", "old", "new", "changed"),
    EDITS,
    ids=[f"{each[0].__name__}: {each[2].strip()[:20]}" for each in EDITS],
)
def test_j25_an_edit_changes_the_nodes_that_run_what_was_edited_and_no_others(
    prints: Any, nodes: Any, text: str, old: str, new: str, changed: str
) -> None:
    assert text.count(old) == 1
    before, after = prints(text, nodes), prints(text.replace(old, new), nodes)
    assert {id for id, digest in after.items() if before.get(id) != digest} == {*changed.split()}


def one(x: Any) -> Any:
    return x


def two(x: Any) -> Any:
    return -x


PLAIN = Node("a", one)
OTHERS = {
    "call": PLAIN._replace(call=two),
    "when": PLAIN._replace(when=Condition(one)),
    "other when": PLAIN._replace(when=Condition(two)),
    "trigger": PLAIN._replace(trigger=Condition(one)),
    "retry_on": PLAIN._replace(retry=RetryPolicy(retry_on=one)),
    "key": PLAIN._replace(needs=(Need("b", "each", "x", key=one),)),
    "other key": PLAIN._replace(needs=(Need("b", "each", "x", key=two),)),
    "resource": PLAIN._replace(resources=(("x", Resource("r", one)),)),
    "resource of a resource": PLAIN._replace(
        resources=(("x", Resource("r", one, resources=(("y", Resource("s", two)),))),)
    ),
    "function among constants": PLAIN._replace(bound={"x": one}),
    "other function among constants": PLAIN._replace(bound={"x": two}),
}
SAME = {
    "id": PLAIN._replace(id="b"),
    "options": PLAIN._replace(retry=RetryPolicy(2), optional=True, keep=True, doc="why", origin="here"),
    "exceptions to retry on": PLAIN._replace(retry=RetryPolicy(retry_on=(ValueError,))),
    "trigger": PLAIN._replace(trigger="always"),
    "needs": PLAIN._replace(needs=(Need("b", "use", "x"),)),
    "constants": PLAIN._replace(bound={"x": 1}),
}


def test_of_a_node_all_code_counts_and_each_piece_for_what_it_is() -> None:
    prints = Fingerprints()
    found = {name: prints.of_node(node) for name, node in OTHERS.items()}
    assert len({prints.of_node(PLAIN), *found.values()}) == len(OTHERS) + 1


@pytest.mark.parametrize("name", SAME)
def test_of_a_node_nothing_else_counts(name: str) -> None:
    prints = Fingerprints()
    bare = "bound" if SAME[name].bound else ""
    found = prints.of_node(SAME[name])
    assert (found == prints.of_node(PLAIN)) or bare
    assert prints.of_node(SAME[name]._replace(bound={"x": 2} if bare else None)) == found


def test_parts_say_which_function_has_changed(prints: Any) -> None:
    texts = NATIVE, NATIVE.replace("x * SCALE", "x / SCALE")
    found: list[dict[str, str]] = []

    def noted(module: Any) -> list[Node]:
        found.append(Fingerprints().parts(module.load))
        return native(module)

    for text in texts:
        prints(text, noted)
    before, after = found[0], found[2]
    assert {name for name in before if before[name] != after[name]} == {"project:scaled"}
    assert {"project:load", "project:scaled", "project:SCALE"} <= before.keys()
