"""Pipelines: bad input. Arguments of the wrong type, and names: the clear error of the contract."""

from __future__ import annotations

import math
from typing import Any

import pytest

from penstock.core.errors import GraphError, InputError
from penstock.dialects import pipelines
from penstock.dialects.pipelines import (
    ConditionalStage,
    FunctionStage,
    ParallelStage,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    Stage,
)

from .parts_bound import bounded
from .parts_pipelines import RUNS, fn, of, one, run, statuses

untyped: Any = pipelines  # for what a type checker would refuse

# ----------------------------------------------------------------------------------------------------------
# Arguments of the wrong type: for each that a stage takes
# ----------------------------------------------------------------------------------------------------------

MAKERS: dict[str, Any] = {
    "function": lambda **kw: FunctionStage("x", one, **kw),
    "conditional": lambda **kw: ConditionalStage("x", one, fn("in"), **kw),
    "parallel": lambda **kw: ParallelStage("x", [fn("in")], **kw),
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("depends_on", value) for value in ("a", 3, {"a": 1}, 1.5, one)),
        pytest.param("depends_on", b"a"),
        pytest.param("depends_on", [["a"]]),
        *(("retry_count", value) for value in (-1, 1.5, "2", True, None, math.inf, [1])),
        *(("timeout_s", value) for value in (0, -1, "5", True, math.nan, [1], -0.0)),
        pytest.param("name", 3),
    ],
)
@pytest.mark.parametrize("make", MAKERS)
def test_bad_input_an_option_of_a_stage_is_refused_by_name(make: str, word: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"'x'.*{word}"):
        MAKERS[make](**{word: value})


@pytest.mark.parametrize("value", [("a",), {"a"}, iter(["a"]), {"a": 1}.keys(), [], (), None])
def test_an_iterable_of_ids_is_as_good_as_a_list(value: Any) -> None:
    assert statuses(run(fn("a"), FunctionStage("x", one, depends_on=value))) == {
        "a": "SUCCESS",
        "x": "SUCCESS",
    }


@pytest.mark.parametrize("value", [None, 3, "x", [one], fn("y"), ...])
def test_bad_input_func_and_condition_must_be_callable(value: Any) -> None:
    with pytest.raises(TypeError, match="FunctionStage 'x': func is a function of the context"):
        untyped.FunctionStage("x", value)
    with pytest.raises(TypeError, match="ConditionalStage 'x': condition is a function of the context"):
        untyped.ConditionalStage("x", value, fn("in"))
    with pytest.raises(TypeError, match="'x'"):
        untyped.PipelineBuilder("p").stage("x", value)


NO_STAGES = [None, 3, "x", one, FunctionStage, Pipeline("other"), [fn("a")], {"a": one}]


@pytest.mark.parametrize("value", NO_STAGES)
def test_bad_input_an_object_that_is_no_stage_is_refused_wherever_one_is_taken(value: Any) -> None:
    for make in (
        lambda: untyped.Pipeline("p").add_stage(value),
        lambda: untyped.ConditionalStage("x", one, value),
        lambda: untyped.ParallelStage("x", [value]),
        lambda: untyped.PipelineBuilder("p").parallel("x", [fn("ok"), value]),
    ):
        with pytest.raises(TypeError, match="takes a Stage, not"):
            make()


@pytest.mark.parametrize(
    "value", [None, 3, "abc", b"abc", one, {"a": fn("a")}, {fn("a")}, fn("a"), iter([fn("a")])]
)
def test_bad_input_a_non_list_into_a_fan_out(value: Any) -> None:
    with pytest.raises(TypeError, match="ParallelStage 'x': stages is a list of stages, not"):
        untyped.ParallelStage("x", value)
    with pytest.raises(TypeError, match="ParallelStage 'x': stages is a list of stages, not"):
        untyped.PipelineBuilder("p").parallel("x", value)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, None, math.inf])
def test_bad_input_max_workers_is_refused_by_name(value: Any) -> None:
    for make in (
        lambda: untyped.Pipeline("p", max_workers=value),
        lambda: untyped.ParallelStage("x", [], value),
        lambda: untyped.PipelineBuilder("p", max_workers=value),
        lambda: untyped.PipelineBuilder("p").parallel("x", [], max_workers=value),
    ):
        with pytest.raises(ValueError, match="max_workers counts stages"):
            make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: untyped.Pipeline("p", fail_fast="no"),
        lambda: untyped.Pipeline("p", fail_fast=None),
        lambda: untyped.Pipeline("p", jitter="no"),
        lambda: untyped.ParallelStage("x", [], allow_failures="no"),
        lambda: untyped.PipelineBuilder("p", fail_fast="no"),
    ],
)
def test_bad_input_a_text_is_no_bool(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: untyped.FunctionStage("x", one, depend_on=["a"]),
        lambda: untyped.Pipeline("p", fail_fst=True),
        lambda: untyped.PipelineBuilder("p", fail_fst=True),
        lambda: untyped.PipelineBuilder(),
        lambda: untyped.PipelineBuilder("p").stage("x", one, ["a"], 0, None, 5),
        lambda: untyped.Pipeline("p").run({}, "threads"),
        lambda: untyped.Stage("x"),
    ],
)
def test_bad_input_an_argument_that_nobody_takes_is_a_type_error(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("value", [1, "x", [("a", 1)], {1}, (), object()])
def test_bad_input_initial_context_is_refused_and_nothing_starts(how: str, value: Any) -> None:
    ran: list[int] = []
    pipeline = of(fn("a", lambda context: ran.append(1)))
    with pytest.raises(InputError, match="initial_context is a dict"):
        bounded(lambda: RUNS[how](pipeline, value))
    assert (ran, pipeline.status) == ([], PipelineStatus.CREATED)


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize(
    ("kw", "error", "text"),
    [
        ({"options": 3}, InputError, "options takes RunOptions"),
        ({"options": {"deadline": 1}}, InputError, "options takes RunOptions"),
        ({"runner": 3}, InputError, "runner takes the name of a runner"),
        ({"runner": "theads"}, InputError, "did you mean 'threads'"),
        ({"runer": "threads"}, TypeError, "did you mean 'runner'"),
        ({"store": 5}, InputError, "store takes a path"),
        ({"store": ""}, InputError, "store takes a path"),
        ({"run_id": "x"}, InputError, "run_id names a run of a store"),
        ({"store": "memory:", "run_id": " "}, InputError, "run_id is a text without blanks"),
    ],
)
def test_bad_input_how_to_run_is_refused_and_nothing_starts(how: str, kw: Any, error: Any, text: str) -> None:
    ran: list[int] = []
    pipeline = of(fn("a", lambda context: ran.append(1)))
    with pytest.raises(error, match=text):
        bounded(lambda: RUNS[how](pipeline, **kw))
    assert ran == []
    assert pipeline.run().status is PipelineStatus.SUCCESS


def test_bad_input_inline_with_a_timeout_is_refused_and_the_pipeline_still_usable() -> None:
    pipeline = of(fn("a", one, timeout_s=5))
    with pytest.raises(InputError, match="timeout"):
        pipeline.run(runner="inline")
    assert pipeline.run().status is PipelineStatus.SUCCESS


LATER: dict[str, Any] = {
    "func": lambda pipeline: setattr(pipeline.stages[0], "func", 3),
    "depends_on": lambda pipeline: setattr(pipeline.stages[0], "depends_on", 3),
    "retry_count": lambda pipeline: setattr(pipeline.stages[0], "retry_count", "2"),
    "timeout_s": lambda pipeline: setattr(pipeline.stages[0], "timeout_s", "5"),
    "stage_id": lambda pipeline: setattr(pipeline.stages[0], "stage_id", None),
    "max_workers": lambda pipeline: setattr(pipeline, "max_workers", 0),
    "context": lambda pipeline: setattr(pipeline, "context", 3),
}


@pytest.mark.parametrize(
    "word",
    [*LATER, pytest.param("appended")],
)
def test_bad_input_that_is_set_after_a_run_is_refused_at_the_next_and_can_be_set_right(word: str) -> None:
    pipeline = of(fn("a"))
    before = {word: getattr(pipeline.stages[0], word, None) for word in ("func", "depends_on", "stage_id")}
    assert pipeline.run().status is PipelineStatus.SUCCESS
    LATER.get(word, lambda pipeline: pipeline.stages.append(3))(pipeline)
    try:
        result = bounded(pipeline.run)
    except (TypeError, ValueError):
        pass
    else:
        assert result.status is PipelineStatus.FAILED
    for name, value in before.items():
        setattr(pipeline.stages[0], name, value)
    stage: Any = pipeline.stages[0]
    stage.retry_count, stage.timeout_s, pipeline.max_workers, pipeline.context = 0, None, 1, {}
    del pipeline.stages[1:]
    assert pipeline.run().status is PipelineStatus.SUCCESS


# ----------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------


class Nameless(Stage):
    def __init__(self) -> None:
        pass

    def execute(self, context: dict[str, Any]) -> None: ...


class OnlyNamed(Nameless):
    def __init__(self) -> None:
        self.stage_id = "x"


@pytest.mark.parametrize(
    "make",
    [
        Nameless,
        pytest.param(OnlyNamed),
        pytest.param(lambda: ConditionalStage("c", one, Nameless())),
        pytest.param(lambda: ConditionalStage("c", one, OnlyNamed())),
    ],
)
def test_bad_input_a_stage_whose_init_did_not_call_ours(make: Any) -> None:
    with pytest.raises(GraphError, match=r"super\(\).__init__"):
        of(make()).run()


@pytest.mark.parametrize(
    "id", [None, 3, b"x", ["x"], "", " ", " x", "x ", "a[0]", "tab\tx", "\0", "..", "x" * 201]
)
def test_bad_input_an_id_that_breaks_the_rules_of_names_is_refused_at_run_and_build(id: Any) -> None:
    with pytest.raises(GraphError, match="stage"):
        of(fn("ok"), fn(id)).run()
    with pytest.raises(GraphError, match="stage"):
        PipelineBuilder("p").stage("ok", one).stage(id, one).build()


@pytest.mark.parametrize("name", ["My pipeline", "ünï", "日本", "🎉", "x" * 200, "a/b", "a.b", "runner"])
def test_odd_names_of_pipelines_and_stages_run(name: str) -> None:
    pipeline = PipelineBuilder(name).stage(name, one).stage("z", one, [name]).build()
    assert [stage.stage_id for stage in pipeline.run().stages] == [name, "z"]
    assert pipeline.name == name


@pytest.mark.parametrize("name", [None, ""])
def test_a_pipeline_without_a_name_has_its_id_for_one(name: Any) -> None:
    pipeline = Pipeline(name, name)
    assert len(pipeline.pipeline_id) == 8
    assert pipeline.name == pipeline.pipeline_id
    assert Pipeline("p", name).name == "p"


def test_a_stage_may_be_called_anything_by_people() -> None:
    assert statuses(run(fn("a", one, name="Load [the] <data>!"))) == {"a": "SUCCESS"}


def test_bad_input_one_stage_object_twice_is_a_duplicate_but_two_pipelines_may_share_it() -> None:
    stage = fn("a")
    with pytest.raises(GraphError, match="two stages called 'a'"):
        of(stage, stage).run()
    assert statuses(run(stage, ParallelStage("p", [stage]))) == {"a": "SUCCESS", "p": "SUCCESS"}
