"""One pipeline in every vocabulary, and natively: the same graph, order, calls and outputs after renaming.

`contracted` and `broken` are the whole comparison: what a graph demands, once the nodes that make one stage
count as one; and whether what was really done kept to it.
"""

from __future__ import annotations

import asyncio
import os
import runpy
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock import Flow, RetryPolicy, each, gather, processes
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, NodeStatus
from penstock.core.ports import Pool
from penstock.dialects import definitions, pipelines, steps, workflow
from penstock.testing import stand_ins

Order = set[tuple[str, str]]

ONE_RETRY = RetryPolicy(max_attempts=2, initial_delay=0.1, jitter="none")
"""What A and D count as one extra call, B, C and the native API as two calls in all."""

# ----------------------------------------------------------------------------------------------------------
# The comparison
# ----------------------------------------------------------------------------------------------------------


def contracted(graph: Graph, stage_of: Callable[[str], str]) -> tuple[set[str], Order]:
    """The stages of a graph, and all pairs of which the first must have ended before the second begins.

    Args:
        graph: Nodes, of which several may make one stage.
        stage_of: The name of the stage to which the node of an id belongs.

    Raises:
        AssertionError: A path leaves a stage and comes back, so that its nodes are no single stage.
    """
    edges = {(stage_of(need), stage_of(node.id)) for node in graph.nodes for need in parents(node)}
    order = {(first, second) for first, second in edges if first != second}
    size = 0
    while size < len(order):
        size = len(order)
        order |= {(first, last) for first, middle in order for also, last in order if middle == also}
    assert not [stage for stage, other in order if stage == other], "a path leaves a stage and comes back"
    return {stage_of(node.id) for node in graph.nodes}, order


def parents(node: Node) -> set[str]:
    return {need.node for need in node.needs}


def broken(done: Iterable[tuple[str, str]], order: Order) -> Order:
    """The pairs of which the second began before the first had ended."""
    began: dict[str, int] = {}
    ended: dict[str, int] = {}
    for at, (word, name) in enumerate(done):
        stage = name.partition("[")[0]
        if word == "began":
            began.setdefault(stage, at)
        else:
            ended[stage] = at
    return {(a, b) for a, b in order if b in began and ended.get(a, began[b]) >= began[b]}


def graph_of(edges: dict[str, str]) -> Graph:
    return Graph("g", [Node(id, print, tuple(map(Need, needs))) for id, needs in edges.items()])


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"a": "", "b": "a", "c": "a", "d": "b"}, "an edge is missing"),
        ({"a": "", "b": "a", "c": "ab", "d": "bc"}, "an edge too much"),
        ({"a": "", "b": "a", "c": "a", "d": "bc", "e": ""}, "a node too much"),
    ],
)
def test_another_graph_is_noticed(other: dict[str, str], why: str) -> None:
    diamond = contracted(graph_of({"a": "", "b": "a", "c": "a", "d": "bc"}), str)
    assert contracted(graph_of(other), str) != diamond, why


def test_an_edge_that_only_says_again_what_follows_changes_nothing() -> None:
    again = contracted(graph_of({"a": "", "b": "a", "c": "a", "d": "bca"}), str)
    assert again == contracted(graph_of({"a": "", "b": "a", "c": "a", "d": "bc"}), str)


def test_nodes_between_which_another_stage_lies_are_not_one_stage() -> None:
    line = graph_of({"a": "", "b": "a", "c": "b"})
    assert contracted(line, {"a": "x", "b": "x", "c": "c"}.__getitem__) == ({"x", "c"}, {("x", "c")})
    with pytest.raises(AssertionError, match="comes back"):
        contracted(line, {"a": "x", "b": "b", "c": "x"}.__getitem__)


@pytest.mark.parametrize("at", [1, 3])
def test_an_order_that_is_not_kept_is_noticed(at: int) -> None:
    done = [("began", "a"), ("ended", "a"), ("began", "b[0]"), ("ended", "b[0]"), ("began", "c")]
    order = {("a", "b"), ("b", "c")}
    assert broken(done, order) == set()
    done[at], done[at + 1] = done[at + 1], done[at]
    assert broken(done, order) == {("a", "b") if at == 1 else ("b", "c")}


# ----------------------------------------------------------------------------------------------------------
# The work, and what is seen of it
# ----------------------------------------------------------------------------------------------------------


class Work:
    """What the stages do, whoever calls them.

    Args:
        failures: How many calls of the stage that is tried again fail.

    Attributes:
        done: ``("began" or "ended", stage)`` of every call, in the order in which it happened.
        asked: How often the condition was asked.
    """

    def __init__(self, failures: int = 1) -> None:
        self.failures = failures
        self.done: list[tuple[str, str]] = []
        self.asked = 0

    def did(self, name: str, value: Any, *, fails: bool = False) -> Any:
        self.done.append(("began", name))
        try:
            if fails and self.failures:
                self.failures -= 1
                raise ConnectionError("not yet")
            return value
        finally:
            self.done.append(("ended", name))

    @property
    def calls(self) -> Counter[str]:
        return Counter(name for word, name in self.done if word == "began")

    def holds(self, a: int) -> bool:
        self.asked += 1
        return a == 1


class Diamond(Work):
    """Two stages between two others; ``b`` is tried again, and ``c`` may have a condition."""

    def a(self) -> int:
        return self.did("a", 1)

    def b(self, a: int) -> int:
        return self.did("b", a + 10, fails=True)

    def c(self, a: int) -> int:
        return self.did("c", a + 100)

    def d(self, b: int, c: int) -> int:
        return self.did("d", b * c)


EDGES = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
ORDER = {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")}


class Seen(NamedTuple):
    """What came of a run: its outputs, the stages that failed, its graph, and how its nodes are renamed."""

    outputs: dict[str, Any]
    failed: list[str]
    graph: Graph
    stage_of: Callable[[str], str] = str


def natively(work: Diamond, asked: bool) -> Seen:
    flow = Flow("diamond")
    flow.add(work.a, keep=True)
    flow.add(work.b, retry=ONE_RETRY, keep=True)
    flow.add(work.c, keep=True, when=work.holds if asked else None)
    flow.add(work.d)
    result = flow.run()
    nodes = result.nodes.items()
    outputs = {name: node.value for name, node in nodes if node.status is NodeStatus.SUCCEEDED}
    return Seen(outputs, [name for name, node in nodes if node.status is NodeStatus.FAILED], flow.graph())


def as_pipeline(work: Diamond, asked: bool) -> Seen:
    builder = pipelines.PipelineBuilder("diamond")
    for name, needs in EDGES.items():

        def call(context: dict[str, Any], name: str = name, needs: tuple[str, ...] = needs) -> int:
            return getattr(work, name)(*[context[f"stage_{need}_output"] for need in needs])

        if asked and name == "c":
            builder.conditional(name, lambda context: work.holds(context["stage_a_output"]), call, ["a"])
        else:
            builder.stage(name, call, depends_on=list(needs), retry_count=int(name == "b"))
    pipeline = builder.build()
    result = pipeline.run()
    outputs = {stage.stage_id: stage.output for stage in result.stages if stage.is_success}
    failed = [one.stage_id for one in result.stages if one.status is pipelines.StageStatus.FAILED]
    return Seen(outputs, failed, pipeline.graph())


class Calls:
    """A stage of a definition that calls a function with its inputs, and notes its output for conditions."""

    def __init__(self, function: Callable[..., Any], needs: tuple[str, ...] = ("item",)) -> None:
        self.function = function
        self.needs = needs

    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        given = [input[need] for need in self.needs] if len(self.needs) > 1 else [input] * len(self.needs)
        output = self.function(*given)
        context.set_state(self.function.__name__, output)
        return definitions.StageResult.success(output)


def executed(*stages: definitions.StageDefinition) -> Seen:
    pipeline = definitions.PipelineDefinition("alike", stages)
    result = asyncio.run(definitions.PipelineExecutor().execute(pipeline))
    # A fan-out may be several nodes, `fan/items` and the like: what stands before the slash is the stage.
    return Seen(dict(result.outputs), result.failed_stages, pipeline.graph(), lambda id: id.partition("/")[0])


def as_definition(work: Diamond, asked: bool) -> Seen:
    retry = definitions.RetryConfig(max_attempts=2, initial_delay_ms=100)
    return executed(
        definitions.StageDefinition("a", Calls(work.a, ())),
        definitions.StageDefinition("b", Calls(work.b, ("a",)), inputs=["a"], retry_config=retry),
        definitions.StageDefinition(
            "c",
            Calls(work.c, ("a",)),
            definitions.ExecutionPattern.CONDITIONAL if asked else definitions.ExecutionPattern.SEQUENTIAL,
            inputs=["a"],
            condition=(lambda context: work.holds(context.get_state("a"))) if asked else None,
        ),
        definitions.StageDefinition("d", Calls(work.d, ("b", "c")), inputs=["b", "c"]),
    )


def as_workflow(work: Diamond, asked: bool) -> Seen:
    flow = workflow.Workflow("diamond")
    for name, needs in EDGES.items():
        flow.add_task(
            name=name,
            action=getattr(work, name),
            dependencies=needs,
            retry_policy=ONE_RETRY if name == "b" else None,
            condition=(lambda results: work.holds(results["a"].value)) if asked and name == "c" else None,
        )
    outputs = {name: result.value for name, result in flow.run().items() if result.success}
    failed = [name for name, task in flow.tasks.items() if task.status is workflow.TaskStatus.FAILED]
    return Seen(outputs, failed, flow.graph())


def as_steps(work: Diamond, asked: bool) -> Seen:
    assert not asked, "this vocabulary has no conditions"
    executor = steps.PipelineExecutor(steps.PipelineConfig(stop_on_first_failure=True))
    for name, needs in EDGES.items():
        retries = int(name == "b")
        executor.add_step(name, getattr(work, name), needs, retries=retries, retry_delay=0.1)
    results = asyncio.run(executor.run())
    succeeded, failed = steps.StepStatus.SUCCESS, steps.StepStatus.FAILED
    outputs = {name: result.output for name, result in results.items() if result.status is succeeded}
    return Seen(outputs, [name for name, one in results.items() if one.status is failed], executor.graph())


Face = Callable[[Diamond, bool], Seen]
WITH_CONDITIONS: list[Face] = [natively, as_pipeline, as_definition, as_workflow]
ALL_FACES: list[Face] = [*WITH_CONDITIONS, as_steps]


# ----------------------------------------------------------------------------------------------------------
# The three graphs
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", ALL_FACES)
def test_a_diamond_with_a_retry_is_the_same_in_all_vocabularies(face: Face) -> None:
    work = Diamond()
    with stand_ins():
        seen = face(work, False)
    assert (seen.outputs, seen.failed) == ({"a": 1, "b": 11, "c": 101, "d": 1111}, [])
    assert contracted(seen.graph, seen.stage_of) == ({*"abcd"}, ORDER)
    assert broken(work.done, ORDER) == set()
    assert work.calls == {"a": 1, "b": 2, "c": 1, "d": 1}


@pytest.mark.parametrize("face", WITH_CONDITIONS)
def test_a_diamond_with_a_retry_and_a_true_condition_is_the_same(face: Face) -> None:
    work = Diamond()
    with stand_ins():
        seen = face(work, True)
    assert (seen.outputs, seen.failed) == ({"a": 1, "b": 11, "c": 101, "d": 1111}, [])
    assert contracted(seen.graph, seen.stage_of) == ({*"abcd"}, ORDER)
    assert broken(work.done, ORDER) == set()
    assert work.calls == {"a": 1, "b": 2, "c": 1, "d": 1}
    assert work.asked == 1


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2), (2, 2), (9, 2)])
@pytest.mark.parametrize("face", ALL_FACES)
def test_one_retry_is_one_more_call_of_what_failed(face: Face, failures: int, calls: int) -> None:
    work = Diamond(failures)
    with stand_ins():
        seen = face(work, False)
    good = failures < 2
    assert (work.calls["a"], work.calls["b"], work.calls["d"]) == (1, calls, int(good))
    assert ("b" in seen.outputs, "d" in seen.outputs) == (good, good)
    assert "b" in seen.failed or good


class Fan(Work):
    """A list that is known before the run, a call for each of its items, and one that takes all of them."""

    def a(self) -> list[int]:
        return self.did("a", [10, 20, 30])

    def fan(self, item: int) -> int:
        return self.did(f"fan[{item}]", item + 1, fails=item == 20)

    def d(self, items: list[int]) -> int:
        return self.did("d", sum(items))


def fan_natively(work: Fan) -> Seen:
    flow = Flow("fan")
    a = flow.add(work.a, keep=True)
    fan = flow.add(work.fan, item=each(a), retry=ONE_RETRY, keep=True)
    flow.add(work.d, items=gather(fan))
    result = flow.run()
    return Seen({"a": result["a"], "fan": result.items(fan), "d": result["d"]}, [], flow.graph())


def fan_as_parallel_stage(work: Fan) -> Seen:
    """The stage is one node of the pipeline; its children are a run inside it."""

    def child(at: int) -> pipelines.Stage:
        def call(context: dict[str, Any]) -> int:
            return work.fan(context["stage_a_output"][at])

        return pipelines.FunctionStage(f"fan_{at}", call, retry_count=1)

    builder = pipelines.PipelineBuilder("fan").stage("a", lambda context: work.a())
    builder.parallel("fan", [child(at) for at in range(3)], depends_on=["a"])
    builder.stage("d", lambda context: work.d([*context["stage_fan_output"].values()]), ["fan"])
    pipeline = builder.build()
    outputs = {stage.stage_id: stage.output for stage in pipeline.run().stages}
    outputs["fan"] = [*outputs["fan"].values()]  # it is by child, and the others give a list
    return Seen(outputs, [], pipeline.graph(), lambda id: id.partition("/")[0])


def fan_as_fan_out(work: Fan) -> Seen:
    return executed(
        definitions.StageDefinition("a", Calls(work.a, ())),
        definitions.StageDefinition(
            "fan",
            Calls(work.fan),
            definitions.ExecutionPattern.FAN_OUT,
            inputs=["a"],
            retry_config=definitions.RetryConfig(max_attempts=2, initial_delay_ms=100),
        ),
        definitions.StageDefinition("d", Calls(work.d), inputs=["fan"]),
    )


def fan_as_fan_out_fan_in(work: Fan) -> Seen:
    """Every action is a task here, a node by itself. Those that fan out are the one stage, `fan`: they take
    the same and are taken by the same, and none of them knows another. What collects is no part of it: the
    other vocabularies have a stage after the fan-out for that, which they can do without."""

    def call(at: int, a: list[int]) -> int:
        return work.fan(a[at])

    wide = [
        workflow.Task(f"fan_{at}", partial(call, at), dependencies=["a"], retry_policy=ONE_RETRY)
        for at in range(3)
    ]
    flow = workflow.fan_out_fan_in(wide, work.d, name="fan").add_task("a", work.a)
    values = {name: result.value for name, result in flow.run().items()}
    outputs = {"a": values["a"], "fan": [values[task.name] for task in wide], "d": values["d"]}
    graph = flow.graph()
    takers = {task.name: [one.id for one in graph.nodes if task.name in parents(one)] for task in wide}
    ends = [(parents(node), takers[node.id]) for node in graph.nodes if node.id in takers]
    assert ends == [({"a"}, ["d"])] * 3
    return Seen(outputs, [], graph, lambda id: id.partition("_")[0])


@pytest.mark.parametrize("face", [fan_natively, fan_as_parallel_stage, fan_as_fan_out, fan_as_fan_out_fan_in])
def test_a_static_fan_out_is_the_same(face: Callable[[Fan], Seen]) -> None:
    work = Fan()
    with stand_ins():
        seen = face(work)
    order = {("a", "fan"), ("a", "d"), ("fan", "d")}
    assert seen.outputs == {"a": [10, 20, 30], "fan": [11, 21, 31], "d": 63}
    assert contracted(seen.graph, seen.stage_of) == ({"a", "fan", "d"}, order)
    assert broken(work.done, order) == set()
    assert work.calls == {"a": 1, "fan[10]": 1, "fan[20]": 2, "fan[30]": 1, "d": 1}


# ----------------------------------------------------------------------------------------------------------
# Other ways to run
# ----------------------------------------------------------------------------------------------------------


def where(_: Any = None) -> int:
    return os.getpid()


def where_a_stage_is(pool: Pool) -> Any:
    pipeline = pipelines.PipelineBuilder("p").stage("where", where).build()
    return pipeline.run(runner=pool).stages[0].output


class Where:
    """A plain stage: one that is async stays on the loop."""

    def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return definitions.StageResult.success(where())


def where_a_defined_stage_is(pool: Pool) -> Any:
    stage: Any = Where()
    pipeline = definitions.PipelineDefinition("p", [definitions.StageDefinition("where", stage)])
    executed = definitions.PipelineExecutor().execute(pipeline, runner=pool)
    return asyncio.run(executed).get_output("where")


def where_a_task_is(pool: Pool) -> Any:
    return workflow.Workflow("w").add_task("where", where).run(runner=pool)["where"].value


def where_a_step_is(pool: Pool) -> Any:
    return steps.PipelineExecutor().add_step("where", where).run_sync(runner=pool)["where"].output


def test_plain_functions_of_all_vocabularies_run_in_processes() -> None:
    with processes(1) as pool:
        for place in (where_a_stage_is, where_a_defined_stage_is, where_a_task_is, where_a_step_is):
            assert place(pool) not in (None, os.getpid()), place


# ----------------------------------------------------------------------------------------------------------
# The example
# ----------------------------------------------------------------------------------------------------------


def test_the_example_does_one_job_five_times(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / "one_job.py"
    names = runpy.run_path(str(path), run_name="__main__")
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    faces = ["natively", "as_pipeline", "as_definition", "as_workflow", "as_steps"]
    assert lines == [[face, "12 pieces at 1.25 make 15.00"] for face in faces]
    made = [names[name] for name in ("flow", "pipeline", "definition", "workflow", "executor")]
    one, *others = [contracted(each.graph(), str) for each in made]
    assert one[1] > {("orders", "rate"), ("orders", "count"), ("rate", "invoice"), ("count", "invoice")}
    assert others == [one] * 4
