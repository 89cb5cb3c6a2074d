"""What is configured: where it is read, what wins, what is refused, and that no run reads it by itself."""

import asyncio
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import Flow, InputError, RunOptions, config, each
from penstock.config import OF_THE_TESTS, OPTIONS, Config, load
from penstock.core.ports import RUNNERS
from penstock.dialects.pipelines import FunctionStage, Pipeline
from penstock.dialects.steps import PipelineExecutor
from penstock.dialects.workflow import Workflow

ROOT = Path(__file__).resolve().parents[1]

# By option: what the file says and its value, then what the environment says and its value.
BOTH: dict[str, tuple[str, Any, str, Any]] = {
    "runner": ('"inline"', "inline", "processes", "processes"),
    "on_failure": ('"drain"', "drain", "continue", "continue"),
    "max_concurrency": ("4", 4, "8", 8),
    "deadline": ("60", 60, "1.5", 1.5),
    "grace": ("0", 0, "2", 2),
    "retry_budget": ("0", 0, "7", 7),
    "max_abandoned": ("1", 1, "0", 0),
    "values": ('"copied"', "copied", "shared", "shared"),
    "seed": ("-1", -1, "42", 42),
    "workdir": ('"/var/work"', "/var/work", "elsewhere", "elsewhere"),
    "durability": ('"power"', "power", "process", "process"),
    "max_recoveries": ("3", 3, "0", 0),
    "capture": ("false", False, "true", True),
    "profile": ("true", True, "0", False),
}


@pytest.fixture
def folder(tmp_path):
    """A folder in which, and below which, a file of ours is the nearest."""
    say(tmp_path, "")
    return tmp_path


def say(folder: Path, table: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(f"[tool.penstock]\n{table}\n", "utf-8")
    return file


def key(name: str) -> str:
    return name.replace("_", "-")


def variable(name: str) -> str:
    return f"PENSTOCK_{name.upper()}"


def refused(folder: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, environ or {})
    return str(caught.value)


def shown(name: str, got: Config) -> object:
    return type(getattr(got, name)), getattr(got, name)


# ----------------------------------------------------------------------------------------------------------
# Where it is read
# ----------------------------------------------------------------------------------------------------------


def test_every_option_is_in_the_table_above():
    assert tuple(BOTH) == OPTIONS


OF_ONE_RUN = {"tags", "observers", "context_vars", "on_change", "rerun"}


def test_every_option_but_the_runner_is_an_option_of_runs():
    assert set(OPTIONS) - {"runner"} == set(RunOptions._fields) - OF_ONE_RUN


@pytest.mark.parametrize("name", BOTH)
def test_each_option_can_stand_in_the_file(folder, name):
    text, value, _, _ = BOTH[name]
    say(folder, f"{key(name)} = {text}")
    assert load(folder, {}) == Config(**{name: value})
    assert shown(name, load(folder, {})) == (type(value), value)


@pytest.mark.parametrize("name", BOTH)
def test_each_option_can_stand_in_the_environment(folder, name):
    _, _, text, value = BOTH[name]
    assert load(folder, {variable(name): text}) == Config(**{name: value})
    assert shown(name, load(folder, {variable(name): text})) == (type(value), value)


@pytest.mark.parametrize("name", BOTH)
def test_the_environment_wins_over_the_file_and_the_call_over_both(folder, name):
    in_file, first, in_environment, second = BOTH[name]
    say(folder, f"{key(name)} = {in_file}")
    found = load(folder, {variable(name): in_environment})
    assert getattr(found, name) == second != first
    if name == "runner":
        assert (found.how()["runner"], found.how(runner="aio")["runner"]) == (second, "aio")
    else:
        assert getattr(found.options(), name) == getattr(found.how()["options"], name) == second
        assert getattr(found.options(**{name: first}), name) == first
        assert getattr(found.how(**{name: first})["options"], name) == first


def test_the_environment_takes_the_place_of_its_own_options_only(folder):
    say(folder, "max-concurrency = 4\ngrace = 1")
    assert load(folder, {"PENSTOCK_GRACE": "2"}) == Config(max_concurrency=4, grace=2)


def test_without_words_it_reads_the_working_directory_and_the_environment(folder, monkeypatch):
    say(folder, "seed = 1")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PENSTOCK_GRACE", "3")
    assert load() == Config(seed=1, grace=3)
    assert load(environ={}) == Config(seed=1)


def test_the_nearest_file_counts_and_no_other(folder):
    say(folder, "seed = 1\ngrace = 1")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    assert load(below, {}).seed == 1
    say(folder / "a", "seed = 2")
    assert load(below, {}) == Config(seed=2)
    (below / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    assert load(below, {}) == Config()


def test_a_folder_is_meant_as_it_lies_on_the_disk(folder, monkeypatch):
    say(folder, "seed = 1")
    (folder / "a" / "b").mkdir(parents=True)
    say(folder / "a", "seed = 2")
    (folder / "link").symlink_to(folder / "a" / "b")
    monkeypatch.chdir(folder / "a")
    assert load("..", {}).seed == load(str(folder / "a" / ".."), {}).seed == 1
    assert load(folder / "link", {}).seed == 2


@pytest.mark.parametrize(
    "text", ["", "[tool.penstock]", "[project]\nname = 'x'", "[tool.black]\nx = 1", "[tool]"]
)
def test_a_file_that_says_nothing(folder, text):
    (folder / "pyproject.toml").write_text(text)
    assert load(folder, {}) == Config()


def test_a_file_as_some_editors_write_it(folder):
    (folder / "pyproject.toml").write_bytes(b"\xef\xbb\xbf[tool.penstock]\r\nseed = 3\r\n")
    assert load(folder, {}).seed == 3


def test_no_file_at_all(monkeypatch):
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert load(environ={}) == Config()


def test_a_working_directory_that_is_gone_has_no_file(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(environ={"PENSTOCK_SEED": "1"}) == Config(seed=1)


def test_a_variable_that_is_set_to_nothing_is_not_set(folder):
    say(folder, "grace = 1")
    assert load(folder, dict.fromkeys(map(variable, OPTIONS), "")) == Config(grace=1)


def test_a_workdir_begins_at_the_folder_of_its_file(folder, monkeypatch):
    say(folder, 'workdir = "build/work"')
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert load(environ={}).workdir == str(folder / "build" / "work")
    assert load(environ={"PENSTOCK_WORKDIR": "build"}).workdir == "build"


# ----------------------------------------------------------------------------------------------------------
# What becomes of it
# ----------------------------------------------------------------------------------------------------------


def test_what_is_not_configured_stays_unsaid():
    assert Config().how() == {"runner": None, "options": None}
    assert Config(runner="inline").how() == {"runner": "inline", "options": None}
    assert Config().options() == RunOptions()
    assert Config(grace=1).how()["options"] == RunOptions(grace=1)


def test_what_is_said_wins_even_if_it_is_none():
    found = Config(runner="inline", deadline=5, max_concurrency=2)
    assert found.how(runner=None, deadline=None) == {"runner": None, "options": RunOptions(max_concurrency=2)}
    assert found.options(deadline=None) == RunOptions(max_concurrency=2)


def test_options_that_cannot_be_configured_can_be_said(folder):
    options = Config(grace=1).how(tags={"night": "7"})["options"]
    assert (options.grace, options.tags) == (1, {"night": "7"})


def test_a_word_that_is_no_option_is_refused_as_ever():
    with pytest.raises(TypeError, match="graze does not fit"):
        Config().options(graze=1)
    with pytest.raises(TypeError, match="graze does not fit"):
        Config().how(graze=1)
    with pytest.raises(ValueError, match="max_concurrency must be an int"):
        Config().how(max_concurrency=0)


def test_a_config_is_a_value():
    found = Config(seed=1)
    assert pickle.loads(pickle.dumps(found)) == found == Config(seed=1) != Config(seed=2)
    with pytest.raises(AttributeError, match="cannot be changed"):
        found.seed = 2  # type: ignore[misc]
    with pytest.raises(InputError, match="Config: grace must be 0 s or more, not -1"):
        Config(grace=-1)
    with pytest.raises(
        InputError, match="Config: runner: there is no runner 'thread'; did you mean 'threads'"
    ):
        Config(runner="thread")


def counting() -> tuple[Flow, list[str]]:
    """A flow with a map of four items, and when each of them begins and ends."""
    flow, seen = Flow("counting"), []

    @flow.step
    def numbers() -> list[int]:
        return list(range(4))

    @flow.step
    async def work(number: int = each(numbers)) -> int:
        seen.append("begin")
        for _ in range(100):
            await asyncio.sleep(0)
        seen.append("end")
        return number

    return flow, seen


def test_a_flow_runs_as_configured():
    flow, seen = counting()
    flow.run(**Config().how())
    assert seen != ["begin", "end"] * 4
    seen.clear()
    flow.run(**Config(max_concurrency=1).how())
    assert seen == ["begin", "end"] * 4


def test_the_vocabularies_run_as_configured():
    how = Config(max_concurrency=1, runner="inline", deadline=60).how()
    pipeline = Pipeline().add_stage(FunctionStage("one", lambda context: "pipelines"))
    assert pipeline.run({}, **how).stages[0].output == "pipelines"
    workflow = Workflow("w").add_task("one", lambda: "workflow")
    assert workflow.run(**how)["one"].value == "workflow"
    executor = PipelineExecutor()
    executor.add_step("one", lambda: "steps")
    assert asyncio.run(executor.run(**how))["one"].output == "steps"


def test_definitions_run_as_configured():
    pytest.importorskip("pydantic")
    from penstock.dialects.definitions import PipelineContext, PipelineDefinition, StageDefinition
    from penstock.dialects.definitions import PipelineExecutor as Executor

    class Say:
        async def execute(self, input, context):
            from penstock.dialects.definitions import StageResult

            return StageResult.success("definitions", stage_name="one")

    definition = PipelineDefinition(name="d", stages=[StageDefinition(id="one", stage=Say())])
    how = Config(max_concurrency=1).how()
    result = asyncio.run(Executor().execute(definition, None, PipelineContext(), **how))
    assert result.outputs == {"one": "definitions"}


# ----------------------------------------------------------------------------------------------------------
# Mistakes
# ----------------------------------------------------------------------------------------------------------

# What a number or word may not be, and how that is told after the option's name in its place.
BAD = {
    "runner": ("'thread'", ": there is no runner 'thread'; did you mean 'threads'? (one of aio, dask,"),
    "on_failure": ("'stopp'", " is 'stop', 'drain' or 'continue', not 'stopp'"),
    "max_concurrency": ("0", " must be an int of at least 1, not 0"),
    "deadline": ("0", " must be more than 0 s, not 0"),
    "grace": ("-1", " must be 0 s or more, not -1"),
    "retry_budget": ("-1", " must be an int of at least 0, not -1"),
    "max_abandoned": ("1.5", " must be an int of at least 0, not 1.5"),
    "values": ("'moved'", " is 'shared' or 'copied', not 'moved'"),
    "seed": ("1.5", " must be an int, not 1.5"),
    "workdir": ("'a\\u0000b'", " is a path, and no path has a NUL character: 'a\\x00b'"),
    "durability": ("'memory'", " is 'process' or 'power', not 'memory'"),
    "max_recoveries": ("-1", " must be an int of at least 0, not -1"),
    "capture": ("2", " is True or False, not "),
    "profile": ("'yes'", " is True or False, not 'yes'"),
}


def test_every_option_has_a_bad_value():
    assert tuple(BAD) == OPTIONS


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_in_the_file(folder, name):
    text, told = BAD[name]
    file = say(folder, f"{key(name)} = {text.replace(chr(39), chr(34))}")
    assert refused(folder).startswith(f"{file}: [tool.penstock] {key(name)}{told}")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_in_the_environment(folder, name):
    text, told = BAD[name]
    text = text.strip("'").replace("\\u0000", "\0")
    assert refused(folder, {variable(name): text}).startswith(f"environment: {variable(name)}{told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max-concurrency = true", "max-concurrency must be an int of at least 1, not True"),
        ("max-concurrency = 4.0", "max-concurrency must be an int of at least 1, not 4.0"),
        ('max-concurrency = "4"', "max-concurrency must be an int of at least 1, not '4'"),
        ('deadline = "30"', "deadline must be more than 0 s, not '30'; say deadline=30"),
        ("deadline = nan", "deadline must be more than 0 s, not nan"),
        ("deadline = 2026-01-01", "deadline must be more than 0 s, not datetime.date(2026, 1, 1)"),
        ("on-failure = true", "on-failure is 'stop', 'drain' or 'continue', not True"),
        ("on-failure = []", "on-failure is 'stop', 'drain' or 'continue', not []"),
        ("runner = 3", f"runner is the name of a runner (one of {', '.join(RUNNERS)}), not 3"),
        ("runner = []", f"runner is the name of a runner (one of {', '.join(RUNNERS)}), not []"),
        ('runner = ""', "runner: there is no runner ''"),
        ("workdir = 3", "workdir is a path, not 3"),
        ('workdir = ""', "workdir is a path, not ''"),
        (f"grace = {10**400}", "grace is too large, no clock counts so far"),
    ],
)
def test_a_value_of_a_wrong_kind_in_the_file(folder, text, told):
    file = say(folder, text)
    assert refused(folder).startswith(f"{file}: [tool.penstock] {told}")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("deadline", "soon", "must be more than 0 s, not 'soon'"),
        ("deadline", "nan", "must be more than 0 s, not nan"),
        ("max_concurrency", "many", "must be an int of at least 1, not 'many'"),
        ("max_concurrency", "2.5", "must be an int of at least 1, not 2.5"),
        ("seed", "true", "must be an int, not 'true'"),
        ("values", "Copied", "is 'shared' or 'copied', not 'Copied'"),
    ],
)
def test_a_value_of_a_wrong_kind_in_the_environment(folder, name, text, told):
    assert refused(folder, {variable(name): text}) == f"environment: {variable(name)} {told}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max-concurency", "there is no option 'max-concurency'; did you mean 'max-concurrency'?"),
        ("max_concurrency", "there is no option 'max_concurrency'; did you mean 'max-concurrency'?"),
        ("Grace", "there is no option 'Grace'; did you mean 'grace'?"),
        ("store", f"there is no option 'store' (one of {', '.join(map(key, OPTIONS))})"),
        (
            "context-vars",
            "'context-vars' cannot be configured; say it in Python: config.load().how(context_vars=...)",
        ),
    ],
)
def test_a_key_of_the_file_that_does_not_exist(folder, name, told):
    file = say(folder, f"grace = 1\n{name} = 1")
    assert refused(folder) == f"{file}: [tool.penstock]: {told}"


def test_a_table_within_the_table(folder):
    (folder / "pyproject.toml").write_text("[tool.penstock.tasks]\ngrace = 1\n")
    assert "there is no option 'tasks' (one of" in refused(folder)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MAX_CONCURENCY", "; did you mean 'PENSTOCK_MAX_CONCURRENCY'?"),
        ("MAX-CONCURRENCY", "; did you mean 'PENSTOCK_MAX_CONCURRENCY'?"),
        ("deadline", "; did you mean 'PENSTOCK_DEADLINE'?"),
        ("HOME", f" (one of {', '.join(map(variable, OPTIONS))})"),
        ("", f" (one of {', '.join(map(variable, OPTIONS))})"),
    ],
)
def test_a_variable_that_does_not_exist(folder, name, told):
    where = f"environment: there is no option 'PENSTOCK_{name}'"
    assert refused(folder, {"PENSTOCK_GRACE": "1", f"PENSTOCK_{name}": "2"}) == where + told
    assert refused(folder, {f"PENSTOCK_{name}": ""}) == where + told


def test_a_variable_for_what_is_said_in_python_only(folder):
    told = "environment: 'PENSTOCK_TAGS' cannot be configured; say it in Python: config.load().how(tags=...)"
    assert refused(folder, {"PENSTOCK_TAGS": "a=b"}) == told


def test_variables_of_others_are_none_of_ours(folder):
    assert load(folder, {"PENSTOCKS": "1", "penstock_grace": "1", "MY_PENSTOCK_GRACE": "1"}) == Config()


def test_the_file_is_named_as_it_is_found(folder, monkeypatch):
    monkeypatch.chdir(folder)
    say(folder, "graze = 1")
    assert refused(None).startswith("pyproject.toml: [tool.penstock]: there is no option 'graze'")
    (folder / "below").mkdir()
    say(folder / "below", "graze = 1")
    assert refused(folder / "below").startswith(f"{Path('below', 'pyproject.toml')}: [tool")
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert refused(None).startswith(f"{folder / 'pyproject.toml'}: [tool")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            b"[tool.penstock\n",
            "it is not TOML: Expected ']' at the end of a table declaration (at line 1, column 15)",
        ),
        (
            b"[tool.penstock]\nseed = 1\nseed = 2\n",
            "it is not TOML: Cannot overwrite a value (at line 3, column 9)",
        ),
        (b"x = " + b"[" * 9_999, "it is not TOML: "),
        (b"x = " + b"1" * 9_999, "it is not TOML: "),
        (b"[tool.penstock]\nrunner = '\xff'\n", "it is not UTF-8"),
        (b"[tool]\npenstock = 3\n", "tool.penstock must be a table, not 3; write [tool.penstock]"),
        (
            b"[[tool.penstock]]\nseed = 1\n",
            "tool.penstock must be a table, not [{'seed': 1}]; write [tool.penstock]",
        ),
        (b"tool = 'x'\n", "tool must be a table, not 'x'"),
    ],
)
def test_a_file_that_is_broken(folder, text, told):
    file = folder / "pyproject.toml"
    file.write_bytes(text)
    assert refused(folder).startswith(f"{file}: {told}")


def test_a_file_that_is_none(folder):
    file = folder / "pyproject.toml"
    file.unlink()
    file.symlink_to(folder / "nowhere")
    assert refused(folder) == f"{file}: it is not a file"
    file.unlink()
    file.mkdir()
    assert refused(folder) == f"{file}: it is not a file"


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def forbidden(self, *args):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", forbidden)
    assert refused(folder) == f"{folder / 'pyproject.toml'}: it cannot be read: Permission denied"


def test_a_folder_that_is_not_there(folder):
    assert refused(folder / "nowhere") == f"there is no folder {str(folder / 'nowhere')!r}"
    assert refused(folder / "pyproject.toml") == f"there is no folder {str(folder / 'pyproject.toml')!r}"


# ----------------------------------------------------------------------------------------------------------
# The variables of these tests
# ----------------------------------------------------------------------------------------------------------


def read_by_the_tests() -> set[str]:
    """Every variable of ours that tests, scripts and benchmarks read or set."""
    files = [ROOT / "Makefile", ROOT / ".ci" / "run"]
    for name in ("tests", "scripts", "bench"):
        files += (ROOT / name).rglob("*.py")
    about_config = {Path(__file__), ROOT / "tests" / "cli" / "test_configured.py"}
    texts = [file.read_text("utf-8") for file in files if file.exists() and file not in about_config]
    return {found for text in texts for found in re.findall(r"\bPENSTOCK_[A-Z_]+\b", text)}


def test_exactly_the_variables_of_the_tests_are_let_pass(folder):
    assert read_by_the_tests() - set(map(variable, OPTIONS)) == OF_THE_TESTS
    assert not OF_THE_TESTS & set(map(variable, OPTIONS))
    assert load(folder, dict.fromkeys(OF_THE_TESTS, "1")) == Config()


# ----------------------------------------------------------------------------------------------------------
# Nothing is read unless it is asked for
# ----------------------------------------------------------------------------------------------------------


def test_a_run_reads_neither_the_file_nor_the_environment(folder, monkeypatch):
    (folder / "pyproject.toml").write_text("[tool.penstock\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PENSTOCK_RUNNER", "no such runner")
    monkeypatch.setenv("PENSTOCK_WHATEVER", "1")
    flow, _ = counting()
    flow.run().raise_for_failure()
    assert Workflow("w").add_task("one", lambda: 1).run()["one"].value == 1
    with pytest.raises(InputError):
        load()


def loaded_by(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_it_is_loaded_when_it_is_asked_for():
    ran = "flow = penstock.Flow('f')\nflow.add(lambda: 1, name='one')\nflow.run()"
    loaded = loaded_by(f"import penstock\n{ran}")
    assert "penstock.flow" in loaded
    assert not {"penstock.config", "tomllib"} & loaded
    assert "penstock.config" in loaded_by("import penstock\npenstock.config.load")


def test_it_stands_under_its_name():
    import penstock

    assert penstock.config is config is sys.modules["penstock.config"]
