"""Dialect D and bad input: a clear error or a result that says what is wrong, and never a hang."""

import math
from functools import partial
from typing import Any

import pytest

from penstock import RunOptions
from penstock.dialects.steps import PipelineConfig, PipelineExecutor, StepStatus

from .parts import NoTruth
from .parts_steps import fails, made, run, ways

LOOSE_CONFIG: Any = PipelineConfig  # given on purpose what type checkers refuse
LOOSE_EXECUTOR: Any = PipelineExecutor


# Arguments of a wrong type


@pytest.mark.parametrize("decorated", [True, False])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", 5),
        ("name", b"a"),
        ("name", True),
        ("name", ""),
        ("name", "  "),
        ("name", " a"),
        ("name", "a[0]"),
        ("name", "a\nb"),
        ("name", "x" * 201),
        ("depends_on", "load"),
        ("depends_on", ""),
        ("depends_on", b"load"),
        ("depends_on", {"load": 1}),
        ("depends_on", 5),
        ("depends_on", [5]),
        ("depends_on", [None]),
        ("retries", -1),
        ("retries", True),
        ("retries", 1.5),
        ("retries", "3"),
        ("retries", None),
        ("retry_delay", -1),
        ("retry_delay", "1"),
        ("retry_delay", None),
        ("retry_delay", True),
        ("retry_delay", math.nan),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", True),
        ("timeout", "30"),
        ("timeout", math.nan),
        ("skip_on_error", 1),
        ("skip_on_error", "yes"),
        ("skip_on_error", None),
        ("on_failure", 3),
        ("on_failure", "print"),
        ("retrys", 3),
    ],
)
def test_a_step_refuses_a_wrong_type_at_once(option, value, decorated):
    """Bad input: each argument of `step` and `add_step`; the error names it, and no step is added."""
    executor: Any = made()
    given = {"name": "a", option: value}

    def add():
        if decorated:
            executor.step(**given)(lambda *_: 1)
        else:
            executor.add_step(func=lambda *_: 1, **given)

    with pytest.raises((TypeError, ValueError), match="step" if option == "name" else option):
        add()
    assert run(executor) == {}


@pytest.mark.parametrize("func", [None, 5, "load", [], NoTruth()])
def test_what_is_no_function_is_no_step(func):
    """Bad input: `func`."""
    executor: Any = made()
    with pytest.raises(TypeError, match="function"):
        executor.add_step("a", func)


def yields():
    yield 1


async def yields_later():
    yield 1


@pytest.mark.parametrize("func", [yields, yields_later, partial(yields)])
def test_a_generator_function_is_no_step(func):
    """Bad input: `func`."""
    with pytest.raises(TypeError, match="this function yields; return a list"):
        made().add_step("a", func)


def test_a_step_without_a_name_is_refused_where_its_function_has_none_to_give():
    """Bad input: a stage without a name."""
    with pytest.raises(TypeError, match="takes a name and a function"):
        made().add_step(func=partial(fails))
    with pytest.raises(ValueError, match="<lambda>"):
        made().add_step(func=lambda: 1)
    with pytest.raises(ValueError, match="<lambda>"):
        made().step(lambda: 1)


@pytest.mark.parametrize(
    ("func", "needs"),
    [
        (lambda x: 1, []),
        (lambda a, x: 1, ["a"]),
        (lambda *, x: 1, ["a"]),
        (lambda x, y, /: 1, ["a"]),
        (partial(lambda x, y, z: 1, 1), ["a"]),
    ],
)
def test_a_parameter_that_nothing_fills_is_refused_at_once(func, needs):
    """Bad input: parameters and dependencies that do not fit."""
    with pytest.raises(ValueError, match=r"Step 's' takes '[xyz]', and none of its dependencies is left"):
        made().add_step("s", func, needs)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5),
        ("name", None),
        ("name", ""),
        ("max_concurrent", 0),
        ("max_concurrent", -1),
        ("max_concurrent", True),
        ("max_concurrent", 1.5),
        ("max_concurrent", "5"),
        ("max_concurrent", math.inf),
        ("stop_on_first_failure", 1),
        ("stop_on_first_failure", "yes"),
        ("stop_on_first_failure", None),
        ("jitter", "some"),
        ("jitter", True),
        ("retries", 3),
    ],
)
def test_a_configuration_refuses_a_wrong_type(field, value):
    """Bad input: each argument of `PipelineConfig`."""
    with pytest.raises((TypeError, ValueError), match=field):
        LOOSE_CONFIG(**{field: value})


@pytest.mark.parametrize("config", [5, "etl", {"name": "etl"}, PipelineConfig])
def test_an_executor_refuses_what_is_no_configuration(config):
    """Bad input: `PipelineExecutor(config)`."""
    with pytest.raises(TypeError, match="takes a PipelineConfig"):
        LOOSE_EXECUTOR(config)


@ways
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"steps": "a"}, r"say steps=\['a'\]"),
        ({"steps": b"a"}, "steps is a list of step names"),
        ({"steps": 5}, "steps is a list of step names"),
        ({"steps": {"a": 1}}, "steps is a list of step names"),
        ({"steps": [5]}, "steps is a list of step names"),
        ({"steps": [None]}, "steps is a list of step names"),
        ({"steps": ["b"]}, "has no step 'b'"),
        ({"steps": [""]}, "is empty"),
        ({"runner": 5}, "not 5"),
        ({"runner": "thread"}, "there is no runner 'thread'"),
        ({"options": {}}, "options takes RunOptions"),
        ({"options": 5}, "options takes RunOptions"),
        ({"options": RunOptions}, "options takes RunOptions"),
        ({"workers": 5}, "workers"),
    ],
)
def test_a_run_refuses_wrong_arguments_and_starts_nothing(way, how, says):
    """Bad input: each argument of `run` and `run_sync`; the next run is as ever."""
    ran: list[Any] = []
    executor = made().add_step("a", lambda: ran.append(1))
    with pytest.raises((TypeError, ValueError), match=says):
        run(executor, way, **how)
    assert ran == []
    assert run(executor, way)["a"].status is StepStatus.SUCCESS


def test_a_near_miss_is_named():
    """Bad input: unknown names of dependencies, steps and options."""
    executor = made().add_step("extract", lambda: 1)
    with pytest.raises(ValueError, match="'extract'"):
        run(executor, "run", ["extrat"])
    with pytest.raises(ValueError, match="'extract'"):
        run(made().add_step("extract", lambda: 1).add_step("b", lambda x: x, ["extrat"]))
    with pytest.raises(TypeError, match="'timeout'"):
        executor.add_step("b", lambda: 1, timout=3)


def test_a_duplicate_is_refused_however_it_is_spelled():
    """Bad input: same name twice; with the decorator, after a run, and in another spelling."""
    executor = made().add_step("é", lambda: 1)
    run(executor)
    for name in ("é", "e\u0301"):
        with pytest.raises(ValueError, match="already exists"):
            executor.add_step(name, lambda: 2)
        with pytest.raises(ValueError, match="already exists"):
            executor.step(name)(lambda: 2)
    assert [one.output for one in run(executor).values()] == [1]
