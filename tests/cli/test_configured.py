"""What `penstock run` takes from the configuration, and that its own options win."""

import os

import pytest

from penstock import RunOptions
from penstock.core.ports import RUNNERS
from tests.test_config import BOTH, key, say, variable

HALF = """\
from penstock import Flow

flow = Flow("half")

@flow.step
def first() -> str:
    raise OSError("no such book")

@flow.step
def second() -> str:
    return "two"
"""

TOLD = """\
class Told:
    '''Runs nothing: it tells what it was given.'''

    def graph(self):
        from penstock.core.graph import Graph

        return Graph("told", ())

    def inputs(self):
        return ()

    def run_with(self, inputs, *, targets=None, runner=None, options=None):
        import sys

        from penstock import InputError

        words = {name: getattr(options, name) for name in options.__match_args__}
        usual = type(options)()
        words = {name: value for name, value in words.items() if value != getattr(usual, name)}
        words.pop("observers")
        raise InputError(f"{runner} {words}")

told = Told()
"""


@pytest.fixture
def told(call, files):
    """What a run by the command line is given: the name of the runner, and the options that are not the usual
    ones."""
    say(files, "")
    (files / "told.py").write_text(TOLD)

    def ask(*words: str) -> str:
        result = call("run", "told.py", *words)
        assert (result.code, result.out) == (2, "")
        return result.err.removeprefix("penstock: ").strip()

    return ask


@pytest.mark.parametrize("name", BOTH)
def test_the_command_line_takes_what_is_configured(told, files, monkeypatch, name):
    in_file, first, in_environment, second = BOTH[name]
    say(files, f"{key(name)} = {in_file}")
    for value in (first, second):
        usual = name != "runner" and value == getattr(RunOptions(), name)
        expected = f"{value} {{}}" if name == "runner" else f"None { ({} if usual else {name: value}) }"
        assert told() == expected
        monkeypatch.setenv(variable(name), in_environment)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("runner", "threads", "threads {}"),
        ("on_failure", "stop", "None {}"),
        ("on_failure", "drain", "None {'on_failure': 'drain'}"),
        ("max_concurrency", "3", "None {'max_concurrency': 3}"),
    ],
)
def test_the_options_of_the_command_line_win(told, files, monkeypatch, name, given, expected):
    say(files, f"{key(name)} = {BOTH[name][0]}")
    monkeypatch.setenv(variable(name), BOTH[name][2])
    assert told(f"--{key(name)}", given) == expected
    say(files, "")
    monkeypatch.delenv(variable(name))
    assert told(f"--{key(name)}", given) == expected


def test_nothing_configured_is_nothing_said(told):
    assert told() == "None {}"


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_can_be_chosen(told, runner):
    assert told("--runner", runner) == f"{runner} {{}}"


def test_a_configured_policy_takes_effect(call, files):
    (files / "half.py").write_text(HALF)
    words = ("run", "half.py", "--max-concurrency", "1")
    say(files, 'on-failure = "continue"')
    assert "✓ second" in call(*words).out
    assert "✓ second" not in call(*words, "--on-failure", "stop").out


def test_a_configured_bound_takes_effect(call, files):
    (files / "bound.py").write_text(BOUND)
    assert "most  2" in call("run", "bound.py").out
    say(files, "max-concurrency = 1")
    assert "most  1" in call("run", "bound.py").out
    assert "most  2" in call("run", "bound.py", "--max-concurrency", "2").out


BOUND = """\
import asyncio
from penstock import Flow, each, gather

flow = Flow("bound")
here = [0, 0]

@flow.step
def numbers() -> list[int]:
    return [1, 2]

@flow.step
async def work(number: int = each(numbers)) -> int:
    here[0] += 1
    here[1] = max(here)
    for _ in range(100):
        await asyncio.sleep(0)
    here[0] -= 1
    return here[1]

@flow.step
def most(work: list[int] = gather(work)) -> int:
    return max(work)
"""

WHERE = """\
import os, threading
from penstock import Flow

flow = Flow("where")

@flow.step
def here() -> list[object]:
    return [os.getpid(), threading.current_thread() is threading.main_thread()]

@flow.step
def too() -> int:
    return 1
"""


def test_a_configured_runner_takes_effect(call, files):
    (files / "where.py").write_text(WHERE)
    say(files, 'runner = "inline"')
    assert f"[{os.getpid()}, True]" in call("run", "where.py").out
    assert f"[{os.getpid()}, False]" in call("run", "where.py", "--runner", "threads").out


TIMED = """\
from penstock import Flow

flow = Flow("timed")

@flow.step(timeout=5)
def work() -> int:
    return 1
"""


def test_a_configured_runner_that_a_step_cannot_have_is_told_of(call, files):
    (files / "timed.py").write_text(TIMED)
    say(files, 'runner = "inline"')
    told = call("run", "timed.py")
    assert told.code == 2
    assert told.err.endswith("\n  that runner is configured; --runner wins over it\n")
    assert call("run", "timed.py", "--runner", "threads").code == 0
    said = call("run", "timed.py", "--runner", "inline")
    assert (said.code, "configured" in said.err) == (2, False)


@pytest.mark.parametrize(
    ("table", "environ", "told"),
    [
        (
            "max-concurency = 1",
            {},
            "pyproject.toml: [tool.penstock]: there is no option 'max-concurency'; did you",
        ),
        ("grace = -1", {}, "pyproject.toml: [tool.penstock] grace must be 0 s or more, not -1"),
        ("]", {}, "pyproject.toml: it is not TOML: "),
        (
            "",
            {"PENSTOCK_DEADLINE": "soon"},
            "environment: PENSTOCK_DEADLINE must be more than 0 s, not 'soon'",
        ),
        ("", {"PENSTOCK_GRAZE": "1"}, "environment: there is no option 'PENSTOCK_GRAZE'; did you mean"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_nothing_is_imported(call, files, monkeypatch, table, environ, told):
    say(files, table)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (files / "loud.py").write_text("print('imported')\n" + HALF)
    result = call("run", "loud.py")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"penstock: {told}")
    assert len(result.err.splitlines()) == 1


def test_what_is_no_runner_or_policy_is_refused_on_the_command_line(call):
    for option, said in {
        "--runner": "there is no runner 'nonsense' (one of aio, dask,",
        "--on-failure": "invalid choice: 'nonsense'",
    }.items():
        told = call("run", "good.py", option, "nonsense")
        assert told.code == 2
        assert f"argument {option}: {said}" in told.err


def test_the_address_of_an_engine_is_dask_or_ray(call):
    told = call("run", "good.py", "--runner", "spark://127.0.0.1:1")
    assert told.code == 2
    assert "'spark://127.0.0.1:1': an address is dask://host:port or ray://host:port" in told.err


def test_the_other_commands_need_no_configuration(call, files):
    say(files, "]")
    assert call("graph", "good.py").code == 0
    assert call("list", "good.py").code == 0
