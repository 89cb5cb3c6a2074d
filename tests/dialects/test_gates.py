"""Gates in all four vocabularies: the same kind of node, in words of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

import penstock
from penstock import GraphError, InputError, wiring
from penstock.core.gate import Gate as CoreGate
from penstock.core.graph import Graph
from penstock.dialects import definitions, pipelines, steps, workflow
from penstock.dialects.definitions.gates import Gate
from penstock.dialects.pipelines.gates import GateStage
from penstock.stores.memory import MemoryStore

from .parts_kept import BOUND, Process

Act = Callable[[], Any]
Seen = dict[str, tuple[str, Any]]
"""By id: the status in lower case, and the output."""


class Pipelines:
    """``load``, then the gate ``ok``, then ``end``, which takes both."""

    def __init__(self, load: Act, **gate: Any) -> None:
        self.made = pipelines.Pipeline(name="p", fail_fast=False)
        self.made.add_stage(pipelines.FunctionStage("load", lambda c: load()))
        if "timeout" in gate:
            gate["timeout_s"] = gate.pop("timeout")
        self.made.add_stage(GateStage("ok", depends_on=["load"], **gate))
        self.made.add_stage(pipelines.FunctionStage("end", self.end, depends_on=["ok", "load"]))

    def end(self, context: dict[str, Any]) -> Any:
        return [context["stage_ok_output"], context["stage_load_output"]]

    def run(self, **how: Any) -> Seen:
        result = self.made.run(**how)
        return {one.stage_id: (one.status.value, one.output) for one in result.stages}

    def answer(self, gate: str, value: Any) -> None:
        self.made.answer(gate, value)

    def graph(self) -> Graph:
        return self.made.graph()


class Definitions(Pipelines):
    def __init__(self, load: Act, **gate: Any) -> None:
        class Load:
            async def execute(self, input: Any, context: Any) -> Any:
                return definitions.StageResult.success(await asyncio.to_thread(load))

        class End:
            async def execute(self, input: Any, context: Any) -> Any:
                return definitions.StageResult.success([input["ok"], input["load"]])

        timeout = gate.pop("timeout", None)
        self.executor = definitions.PipelineExecutor()
        self.definition = definitions.PipelineDefinition(
            "p",
            [
                definitions.StageDefinition("load", Load()),
                definitions.StageDefinition(
                    "ok",
                    Gate(**gate),
                    inputs=["load"],
                    timeout_ms=None if timeout is None else timeout * 1000,
                ),
                definitions.StageDefinition("end", End(), inputs=["ok", "load"]),
            ],
        )

    def run(self, **how: Any) -> Seen:
        result = asyncio.run(self.executor.execute(self.definition, **how))
        seen = {id: ("success", output) for id, output in result.outputs.items()}
        for id in result.metadata.get("waiting", ()):
            seen[id] = ("pending", None)
        for id in result.failed_stages:
            seen[id] = ("failed", None)
        return {"end": ("skipped" if result.failed_stages else "pending", None), **seen}

    def answer(self, gate: str, value: Any) -> None:
        self.executor.answer(gate, value)

    def graph(self) -> Graph:
        return self.definition.graph()


class Workflows(Pipelines):
    def __init__(self, load: Act, **gate: Any) -> None:
        self.flow = workflow.Workflow("w", fail_fast=False).add_task("load", load)
        self.flow.add_gate("ok", dependencies=["load"], **gate)
        self.flow.add_task("end", lambda ok, load: [ok, load], dependencies=["ok", "load"])

    def run(self, **how: Any) -> Seen:
        results = self.flow.run(**how)
        words = {"completed": "success"}
        statuses = {name: task.status.value for name, task in self.flow.tasks.items()}
        return {name: (words.get(one, one), results[name].value) for name, one in statuses.items()}

    def answer(self, gate: str, value: Any) -> None:
        self.flow.answer(gate, value)

    def graph(self) -> Graph:
        return self.flow.graph()


class Steps(Pipelines):
    def __init__(self, load: Act, **gate: Any) -> None:
        self.executor = steps.PipelineExecutor().add_step("load", load)
        self.executor.add_gate("ok", depends_on=["load"], **gate)
        self.executor.add_step("end", lambda ok, load: [ok, load], ["ok", "load"], skip_on_error=True)

    def run(self, **how: Any) -> Seen:
        results = self.executor.run_sync(**how)
        return {name: (str(one.status), one.output) for name, one in results.items()}

    def answer(self, gate: str, value: Any) -> None:
        self.executor.answer(gate, value)

    def graph(self) -> Graph:
        return self.executor.graph()


FACES: Any = [Pipelines, Definitions, Workflows, Steps]
every = pytest.mark.parametrize("face", FACES)


def going(face: Any, load: Act, **gate: Any) -> tuple[Any, threading.Thread, list[Seen]]:
    """One that runs in another thread, has loaded, and has come to its gate or will."""
    loaded, found = threading.Event(), list[Seen]()

    def loads() -> Any:
        loaded.set()
        return load()

    one = face(loads, **gate)
    thread = threading.Thread(target=lambda: found.append(one.run()), daemon=True)
    thread.start()
    assert loaded.wait(BOUND)
    return one, thread, found


# ----------------------------------------------------------------------------------------------------------
# In memory
# ----------------------------------------------------------------------------------------------------------


@every
def test_a_gate_waits_for_its_answer_and_gives_it(face: Any) -> None:
    one, thread, found = going(face, lambda: [1], prompt="Really?")
    one.answer("ok", False)
    thread.join(BOUND)
    assert found == [{"load": ("success", [1]), "ok": ("success", False), "end": ("success", [False, [1]])}]


@every
def test_an_answer_of_another_type_or_to_what_is_no_gate_is_refused(face: Any) -> None:
    go = threading.Event()
    one, thread, found = going(face, lambda: go.wait(BOUND), type=Literal["yes", "no"])
    for gate, value in (("ok", True), ("ok", "maybe"), ("load", "yes"), ("okay", "yes")):
        with pytest.raises(InputError, match=r"okay|is no gate|there is no gate|an answer is Literal"):
            one.answer(gate, value)
    one.answer("ok", "yes")
    one.answer("ok", "no")  # the first one counts, and it may come before anybody has asked
    go.set()
    thread.join(BOUND)
    assert found[0]["ok"] == ("success", "yes")
    with pytest.raises(InputError, match=r"does not run|is under way"):
        one.answer("ok", "yes")


@every
def test_a_gate_that_has_waited_long_enough_fails_or_gives_its_default(face: Any) -> None:
    seen = face(int, timeout=0.01).run()
    assert seen["ok"] == ("failed", None)
    assert seen["end"][0] == "skipped"
    assert face(int, timeout=0.01, type=str, default="none").run()["end"] == ("success", ["none", 0])


@every
def test_what_is_wrong_with_a_gate_is_said_at_once(face: Any) -> None:
    for gate, text in (
        ({"prompt": 5}, "prompt is a text"),
        ({"type": 5}, "type is a class"),
        ({"timeout": -1}, "timeout"),
        ({"default": "x", "timeout": 1}, "an answer is bool, and its default is 'x'"),
        ({"default": True}, "give a timeout too"),
    ):
        with pytest.raises((GraphError, TypeError, ValueError), match=text):
            face(int, **gate).graph()


@every
def test_a_gate_is_one_node_of_its_kind_with_its_prompt(face: Any) -> None:
    graph = face(int, prompt="Really?", type=str).graph()
    node = graph.nodes[graph.index["ok"]]
    assert (node.kind, node.doc, node.call.takes) == ("gate", "Really?", "str")
    assert "waits for an answer" in wiring.drawing(graph)


# ----------------------------------------------------------------------------------------------------------
# In a store
# ----------------------------------------------------------------------------------------------------------


@every
def test_a_run_that_waits_is_put_down_and_goes_on_when_it_is_answered(face: Any, tmp_path: Path) -> None:
    """It shows as pending meanwhile, nothing is done twice, and nobody is asked again."""
    place, calls = tmp_path / "runs.db", list[int]()
    kept = {"store": place, "run_id": "r"}

    def load() -> list[int]:
        calls.append(1)
        return [len(calls)]

    for _ in range(2):
        assert face(load).run(**kept) == {
            "load": ("success", [1]), "ok": ("pending", None), "end": ("pending", None),
        }  # fmt: skip
    with penstock.open(place) as history:
        run = history.run("r")
        assert [(gate.path, gate.takes) for gate in run.waiting] == [("ok", "bool")]
        run.answer("ok", True)
    wanted = {"load": ("success", [1]), "ok": ("success", True), "end": ("success", [True, [1]])}
    for _ in range(2):
        assert face(load).run(**kept) == wanted
    assert calls == [1]


@every
def test_a_store_in_memory_waits_in_its_process(face: Any) -> None:
    begun = threading.Event()
    one, store, found = face(begun.set), MemoryStore(), list[Seen]()
    go = threading.Thread(target=lambda: found.append(one.run(store=store, run_id="r")), daemon=True)
    go.start()
    assert begun.wait(BOUND)
    one.answer("ok", True)
    go.join(BOUND)
    assert found[0]["end"] == ("success", [True, None])
    assert face(begun.set).run(store=store, run_id="r") == found[0]


PROJECT = """
    import asyncio
    from penstock.dialects.definitions import PipelineDefinition, StageDefinition, StageResult
    from penstock.dialects.definitions.gates import Gate
    from penstock.dialects.pipelines import PipelineBuilder
    from penstock.dialects.steps import PipelineConfig, PipelineExecutor
    from penstock.dialects.workflow import Workflow

    def load(context=None):
        say("load")
        return [1, 2]

    class Load:
        async def execute(self, input, context):
            say("load")
            context.set_state("input", input)
            return StageResult.success([1, 2])

    class End:
        async def execute(self, input, context):
            return StageResult.success([input["ok"], input["load"], context.get_state("input")])

    pipeline = (
        PipelineBuilder("pipeline")
        .context("input", 0)
        .stage("load", load)
        .gate("ok", "Really?", ["load"], type=int)
        .stage("end", lambda c: [c["stage_ok_output"], c["stage_load_output"], c["input"]], ["ok"])
        .build()
    )
    definition = PipelineDefinition("definition", [
        StageDefinition("load", Load()),
        StageDefinition("ok", Gate("Really?", type=int), inputs=["load"]),
        StageDefinition("end", End(), inputs=["ok", "load"]),
    ])
    workflow = Workflow("workflow").add_task("load", load)
    workflow.add_gate("ok", "Really?", ["load"], type=int)
    workflow.add_task("end", lambda ok, load: [ok, load, 5], dependencies=["ok", "load"])
    executor = PipelineExecutor(PipelineConfig("executor")).add_step("load", load, [])
    executor.add_gate("ok", "Really?", ["load"], type=int)
    executor.add_step("end", lambda ok, load: [ok, load, 5], ["ok", "load"])
"""


@pytest.mark.parametrize("name", ["pipeline", "definition", "workflow", "executor"])
def test_the_command_line_runs_answers_and_resumes(name: str, tmp_path: Path) -> None:
    """`penstock run`, `approve --resume`, and the inputs of the first command in the second process."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
    project = Process(tmp_path, PROJECT)
    inputs = ["--input", "input=5"] if name in ("pipeline", "definition") else []
    waits = project.command("run", f"script.py:{name}", *inputs, code=5)
    assert "gate ok asks: Really?" in waits
    assert "waiting" in project.command("runs")
    assert "takes int" in project.command("show", "last")
    done = project.command("approve", "last", "ok", "--value", "7", "--resume")
    assert "end   [7, [1, 2], 5]" in done
    assert project.said == ["load"]
    assert "nothing left to do" in project.command("resume", "last")


# ----------------------------------------------------------------------------------------------------------
# What each vocabulary has of its own
# ----------------------------------------------------------------------------------------------------------


def test_pipelines_that_wait_say_that_they_run(tmp_path: Path) -> None:
    pipeline = pipelines.Pipeline().add_stage(GateStage("ok"))
    result = pipeline.run(store=tmp_path / "runs.db", run_id="r")
    assert (result.status, pipeline.status) == (pipelines.PipelineStatus.RUNNING,) * 2
    assert (result.stages[0].status, result.end_time, result.duration_ms) == (
        pipelines.StageStatus.PENDING, None, 0.0,
    )  # fmt: skip
    assert result.run is not None
    assert result.run.status is penstock.RunStatus.WAITING


def test_pipelines_conditions_and_gates() -> None:
    """A gate behind a condition is asked only if that holds; what is skipped gives None."""

    def pipeline(asked: bool) -> pipelines.Pipeline:
        gate = GateStage("ok", timeout_s=0.01, default=True)
        return (
            pipelines.Pipeline()
            .add_stage(pipelines.ConditionalStage("ok", lambda c: asked, gate))
            .add_stage(pipelines.FunctionStage("end", lambda c: c["stage_ok_output"], depends_on=["ok"]))
        )

    assert [pipeline(asked).run().stages[-1].output for asked in (True, False)] == [True, None]


def test_pipelines_gates_stand_in_the_pipeline_itself() -> None:
    for inner in (GateStage("ok"), pipelines.ConditionalStage("c", bool, GateStage("ok"))):
        with pytest.raises(TypeError, match="a gate stands in the pipeline itself"):
            pipelines.ParallelStage("both", [inner])

    class Hooked(GateStage):
        def on_success(self, result: Any, context: Any) -> None: ...

    with pytest.raises(GraphError, match="a gate has no attempts, and hooks are called by attempts"):
        pipelines.Pipeline().add_stage(Hooked("ok")).graph()
    with pytest.raises(RuntimeError, match="only a run can do"):
        GateStage("ok").execute({})
    built = pipelines.PipelineBuilder("p").gate("ok", "Really?", timeout_s=0.01, default=False).build()
    assert built.run().stages[0].output is False


def test_definitions_gates_take_nothing_that_is_for_calls() -> None:
    for more in (
        {"pattern": definitions.ExecutionPattern.FAN_OUT},
        {"retry_config": definitions.RetryConfig(2)},
        {"limits": [penstock.Limit("x", 1)]},
        {"output_type": bool},
    ):
        with pytest.raises(ValueError, match="a Gate calls nothing"):
            definitions.StageDefinition("ok", Gate(), **more)
    with pytest.raises(RuntimeError, match="only a run can do"):
        asyncio.run(Gate().execute(None, None))
    assert isinstance(Gate(), definitions.PipelineStage)


def test_definitions_that_wait_have_no_failure_and_are_executed_again(tmp_path: Path) -> None:
    """By an executor with a store, which finds the run; conditions and several inputs count for gates too."""

    class Same:
        async def execute(self, input: Any, context: Any) -> Any:
            return definitions.StageResult.success(input)

    definition = definitions.PipelineDefinition(
        "p",
        [
            definitions.StageDefinition("ok", Gate()),
            definitions.StageDefinition("no", Gate(), inputs=["ok"], condition=lambda context: False),
            definitions.StageDefinition("one", Same(), inputs=["ok"]),
            definitions.StageDefinition("both", Same(), inputs=["ok", "no"]),
            definitions.StageDefinition(
                "each", Same(), definitions.ExecutionPattern.FAN_OUT, inputs=["list"]
            ),
            definitions.StageDefinition("list", Gate(type=list), inputs=["ok"]),
        ],
    )

    def execute() -> definitions.PipelineResult:
        executor = definitions.PipelineExecutor(tmp_path / "runs.db")
        return asyncio.run(executor.execute(definition, 1))

    result = execute()
    assert (result.success, result.failed_stages, result.outputs) == (False, [], {})
    assert result.metadata["waiting"] == ["ok"]
    for gate, value in (("ok", True), ("list", [1, 2])):
        with penstock.open(tmp_path / "runs.db") as history:
            history.run(result.metadata["run_id"]).answer(gate, value)
        result = execute()
    outputs = {"ok": True, "no": None, "one": True, "both": {"ok": True, "no": None}, "each": [1, 2]}
    assert dict(result.outputs) == {**outputs, "list": [1, 2]}
    assert result.stage_results["ok"] == definitions.StageResult.success(True, "ok")
    assert result.stage_results["no"].metadata["skipped"] is True


def test_definitions_answers_are_kept_by_an_executor_after_a_failure() -> None:
    up: list[int] = []

    class Last:
        async def execute(self, input: Any, context: Any) -> Any:
            return definitions.StageResult.success(input) if up else definitions.StageResult.failure("down")

    stages = [
        definitions.StageDefinition("ok", Gate(default=True), timeout_ms=5),
        definitions.StageDefinition("last", Last(), inputs=["ok"]),
    ]
    definition, executor = definitions.PipelineDefinition("p", stages), definitions.PipelineExecutor()
    assert asyncio.run(executor.execute(definition)).failed_stages == ["last"]
    up.append(1)
    assert asyncio.run(executor.execute(definition)).outputs == {"ok": True, "last": True}


def test_workflow_gates_are_tasks_with_conditions_and_words_of_their_own(tmp_path: Path) -> None:
    flow = workflow.Workflow("w")
    flow.add_gate("a", condition=lambda results: False, tags=["t"]).add_gate("b", timeout=0.01)
    results = flow.run()
    assert (flow.tasks["a"].status, results["a"].error) == (workflow.TaskStatus.SKIPPED, "condition_false")
    assert results["b"].error == "Task 'b' timed out after 0.01s"
    assert flow.tasks["a"].tags == ["t"]
    with pytest.raises(TypeError, match="a gate has no option 'retry_policy'"):
        flow.add_gate("c", retry_policy=None)  # type: ignore[call-arg]
    with pytest.raises(workflow.WorkflowError, match="already exists"):
        flow.add_gate("a")
    waits = workflow.Workflow("v").add_gate("ok")
    waits.run(store=tmp_path / "runs.db")
    assert waits.get_summary()["pending"] == 1
    assert not waits.get_summary()["success"]


def test_steps_gates_are_drawn_and_show_as_pending(tmp_path: Path) -> None:
    executor = steps.PipelineExecutor().add_gate("ok").add_step("end", print, ["ok"])
    executor.run_sync(store=tmp_path / "runs.db")
    assert "  - ok [pending]" in executor.visualize()
    with pytest.raises(ValueError, match="Step 'ok' already exists"):
        executor.add_gate("ok")


def test_a_dependency_called_until_does_not_let_a_gate_sleep(tmp_path: Path) -> None:
    """The engine's own word for what a gate sleeps until."""
    flow = workflow.Workflow("w").add_task("until", lambda: timedelta(0))
    flow.add_gate("ok", dependencies=["until"]).run(store=tmp_path / "runs.db")
    assert flow.tasks["ok"].status is workflow.TaskStatus.PENDING


@pytest.mark.parametrize(
    ("wanted", "good", "bad"),
    [
        (bool, [True], [1, "yes", None]),
        (int, [1], [True, 1.0, "1"]),
        (float, [1, 1.5], [True, "1"]),
        (str, ["x"], [b"x", None]),
        (int | None, [1, None], ["x", False]),
        (None, [None], [0]),
        (Literal[1, "a"], [1, "a"], [True, 1.0, "b"]),
        (list[int], [[1]], [(1,)]),
        (object, [1, True], []),
    ],
)
def test_what_a_gate_takes(wanted: Any, good: list[Any], bad: list[Any]) -> None:
    gate = CoreGate("gate", type_=wanted)
    assert [gate(value) for value in good] == good
    for value in bad:
        with pytest.raises(TypeError, match="an answer is"):
            gate(value)
