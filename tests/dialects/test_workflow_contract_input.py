"""Workflows: bad input. Arguments of the wrong type, and names: the clear error of the contract."""

from __future__ import annotations

import asyncio
import math
from types import MappingProxyType
from typing import Any

import pytest

from penstock.core.errors import GraphError, InputError
from penstock.dialects import workflow as dialect
from penstock.dialects.workflow import (
    RetryPolicy,
    Task,
    TaskResult,
    Workflow,
    WorkflowError,
)

from .parts_bound import bounded
from .parts_workflow import flow_of, nothing, states, task

untyped: Any = dialect  # for what a type checker would refuse

# ----------------------------------------------------------------------------------------------------------
# Arguments of the wrong type: for each that a task or a workflow takes, by both ways to add a task
# ----------------------------------------------------------------------------------------------------------

LISTS = ("args", "dependencies", "tags")


def each(word: str, *values: Any) -> list[tuple[str, Any]]:
    return [(word, value) for value in values]


WRONG: list[Any] = [
    *each("action", None, 3, "x", [nothing]),
    *(case for word in LISTS for case in each(word, 3, "ab", b"ab", {"a": 1}, 1.5, nothing)),
    *(case for word in ("kwargs", "metadata") for case in each(word, 3, "ab", [("a", 1)], {1}, nothing)),
    *each("timeout", 0, -1, "3", True, math.nan, [1]),
    *each("retry_policy", 3, "x", {"max_attempts": 3}, RetryPolicy),
    *each("condition", True, False, "x", 3, []),
    *each("transform_result", 3, "x", []),
]


@pytest.mark.parametrize(("word", "value"), WRONG)
def test_bad_input_an_option_of_a_task_is_refused_by_name(word: str, value: Any) -> None:
    given = {"name": "a", "action": nothing, word: value}
    flow = Workflow("w")
    for make in (lambda: untyped.Task(**given), lambda: flow.add_task(**given)):
        with pytest.raises((TypeError, ValueError), match=f"Task 'a': {word}"):
            make()
    assert flow.tasks == {}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, value) for word in LISTS for value in (None, ("b",), iter(["b"]), ["b"])),
        *(
            (word, value)
            for word in ("kwargs", "metadata")
            for value in (None, {"a": 1}, MappingProxyType({"a": 1}))
        ),
        *((word, None) for word in ("timeout", "retry_policy", "condition", "transform_result")),
        *(("timeout", value) for value in (1, 2.5, math.inf)),
        ("dependencies", {"b"}),
        ("tags", {"a"}),
    ],
)
def test_what_an_option_of_a_task_may_be(word: str, value: Any) -> None:
    made = untyped.Task("a", nothing, **{word: value})
    assert made.name == "a"


@pytest.mark.parametrize("value", [[1], [None], [["b"]], [b"b"], [""]])
def test_bad_input_a_dependency_that_is_no_name(value: Any) -> None:
    with pytest.raises(ValueError, match="name of a task"):
        untyped.Task("a", nothing, dependencies=value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *each("timeout", 0, -1, "3", True, math.nan),
        *each("max_concurrent", 0, -1, "2", 1.5, True, math.inf),
        *each("progress_callback", 3, "x", []),
        *(pytest.param(*case) for case in each("fail_fast", "no", None, 3)),
    ],
)
def test_bad_input_an_option_of_a_workflow_is_refused_by_name(word: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"Workflow 'w': {word}"):
        untyped.Workflow("w", **{word: value})


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("max_attempts", value) for value in (0, -1, "3", 1.0, True, None)),
        *(("initial_delay", value) for value in (-1, "1", math.nan)),
        *(("max_delay", value) for value in (-1, "1", math.nan)),
        *(("exponential_base", value) for value in (0, 0.5, "2", math.nan)),
        *(("retry_on", value) for value in (3, ("x",), [ValueError], (ValueError, 3))),
        ("jitter", "some"),
    ],
)
def test_bad_input_a_retry_policy_is_refused_by_name(word: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"RetryPolicy: {word}"):
        untyped.RetryPolicy(**{word: value})


@pytest.mark.parametrize("value", [None, 3, "a", nothing, Task, Workflow("x"), TaskResult(True), [task("a")]])
def test_bad_input_an_object_that_is_no_task(value: Any) -> None:
    with pytest.raises(TypeError, match="add takes a Task, not"):
        untyped.Workflow("w").add(value)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda flow: flow.add_task("a", nothing, depends_on=["b"]), "did you mean 'dependencies'"),
        (lambda flow: flow.add_task("a", nothing, retry=3), "retry"),
        (lambda flow: flow.add_task("a", nothing, status=1), "status"),
        (lambda flow: flow.add_task("a"), "action"),
        (lambda flow: flow.run("threads"), "positional"),
        (lambda flow: flow.run(optoins=1), "optoins"),
    ],
)
def test_bad_input_an_argument_that_nobody_takes_is_a_type_error(call: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        call(untyped.Workflow("w"))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("kw", "error", "text"),
    [
        ({"options": 3}, InputError, "options takes RunOptions"),
        ({"options": {"deadline": 1}}, InputError, "options takes RunOptions"),
        ({"runner": 3}, InputError, "runner takes the name of a runner"),
        ({"runner": "theads"}, InputError, "did you mean 'threads'"),
        ({"store": 5}, InputError, "store takes a path"),
        ({"store": ""}, InputError, "store takes a path"),
        ({"run_id": "x"}, InputError, "run_id names a run of a store"),
        ({"store": "memory:", "run_id": " "}, InputError, "run_id is a text without blanks"),
    ],
)
def test_bad_input_how_to_run_is_refused_and_nothing_starts(
    is_async: bool, kw: Any, error: Any, text: str
) -> None:
    ran: list[int] = []
    flow = flow_of(task("a", lambda: ran.append(1)))
    with pytest.raises(error, match=text):
        bounded(lambda: asyncio.run(flow.arun(**kw)) if is_async else flow.run(**kw))
    assert (ran, states(flow)) == ([], {"a": "PENDING"})
    assert flow.run()["a"].success  # it is not held for running


def test_bad_input_inline_with_a_timeout_is_refused_and_the_workflow_still_usable() -> None:
    flow = flow_of(task("a", timeout=5))
    with pytest.raises(InputError, match="timeout"):
        flow.run(runner="inline")
    assert flow.run()["a"].success


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("action", 3), ("args", 3), ("kwargs", 3), ("dependencies", 3), ("timeout", "x"), ("name", None)),
        *(("condition", 3), ("transform_result", 3)),
        pytest.param("retry_policy", 3),
    ],
)
def test_bad_input_that_is_set_after_a_run_is_refused_at_the_next_and_can_be_set_right(
    word: str, value: Any
) -> None:
    flow = flow_of(task("a"))
    before = getattr(flow.tasks["a"], word)
    assert flow.run()["a"].success
    setattr(flow.tasks["a"], word, value)
    try:
        results = bounded(flow.run)
    except (TypeError, ValueError, WorkflowError):
        pass
    else:
        assert not results["a"].success
        assert results["a"].error
    setattr(flow.tasks["a"], word, before)
    assert flow.run()["a"].success


@pytest.mark.parametrize(
    ("word", "value"), [("timeout", "x"), ("max_concurrent", 0), ("progress_callback", 3)]
)
def test_bad_input_that_is_set_on_the_workflow_after_a_run_never_hangs(word: str, value: Any) -> None:
    flow: Any = flow_of(task("a"))
    assert flow.run()["a"].success
    setattr(flow, word, value)
    try:
        bounded(flow.run)
    except (TypeError, ValueError):
        pass
    setattr(flow, word, None)
    assert flow.run()["a"].success


# ----------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [None, 3, b"x", ["x"], "", " ", " x", "x ", "a[0]", "tab\tx", "\0", "..", "x" * 201]
)
def test_bad_input_a_name_that_breaks_the_rules_of_names(name: Any) -> None:
    makers = (
        lambda: untyped.Task(name, nothing),
        lambda: untyped.Workflow("w").add_task(name, nothing),
        lambda: untyped.Workflow(name),
        lambda: untyped.chain(nothing, name=name),
    )
    for make in makers:
        with pytest.raises(GraphError):
            make()


@pytest.mark.parametrize(
    "name", ["with space", "ünï", "日本", "🎉", "x" * 200, "a/b", "a.b", "runner", "workflow"]
)
def test_odd_names_of_workflows_and_tasks_run(name: str) -> None:
    flow = Workflow(name).add_task(name, nothing)
    flow.add_task("z", lambda _task_results: _task_results[name].value, dependencies=[name])
    results = flow.run()
    assert (list(results), results["z"].value, flow.get_task_result(name)) == ([name, "z"], 1, results[name])


def test_a_name_has_one_spelling_whichever_way_its_letters_are_put_together() -> None:
    flow = Workflow("w").add_task("e\u0301", nothing)
    with pytest.raises(WorkflowError, match="already exists"):
        flow.add_task("\u00e9", nothing)
    flow.add_task("z", nothing, dependencies=["\u00e9"]).add_task("y", nothing, dependencies=["e\u0301"])
    assert [result.success for result in flow.run().values()] == [True] * 3


@pytest.mark.parametrize("name", ["b", "", 3, None])
def test_bad_input_the_result_of_a_task_that_is_not_there(name: Any) -> None:
    flow: Any = flow_of(task("a"))
    with pytest.raises((WorkflowError, TypeError)):
        flow.get_task_result(name)
