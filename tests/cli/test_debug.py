"""`penstock debug`: a step of a run is called again as it was, under pdb, which is driven through a pipe."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM

SHOP = """\
from __future__ import annotations
from collections.abc import AsyncIterator, Iterator
from functools import wraps
from penstock import Context, Flow, RetryPolicy, Secret, each, fold, gather, use

shop = Flow("shop")
EFFECTS = "effects"

def loud(function):
    @wraps(function)
    def wrapped(*args, **named):
        loudness = 11
        return function(*args, **named)
    return wrapped

@shop.resource
def database(rows: int = 2) -> Iterator[dict[str, int]]:
    yield {"rows": rows}

@shop.step
def orders(count: int) -> list[int]:
    return list(range(count))

@shop.step
def price(order: int = each(orders), factor: int = 10) -> int:
    cents = order * factor
    if order == 3:
        raise ValueError("no price for 3")
    return cents

@shop.step
async def fetch(token: Secret[str], orders: list[int]) -> int:
    known = token.reveal()
    raise RuntimeError(f"refused {known}")

@shop.step
def tail(ctx: Context, orders: list[int]) -> Iterator[int]:
    ctx.log("begins", rows=len(orders))
    ctx.progress(1, 2, "half")
    yield orders[0]
    raise KeyError(ctx.path)

@shop.step
async def tails(orders: list[int]) -> AsyncIterator[int]:
    first = orders[0]
    yield first
    raise LookupError("no second")

@shop.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.0))
@loud
def flaky(ctx: Context) -> int:
    number = ctx.attempt
    if number == 1:
        raise ConnectionError("first")
    raise TimeoutError("second")

@shop.step
def query(orders: list[int], db: dict[str, int] = use(database)) -> int:
    rows = db["rows"]
    raise OSError(f"{rows} rows")

@shop.step
def total(prices: list[int] = gather(price)) -> int:
    return sum(prices)
"""

STAGES = """\
from penstock.dialects.pipelines import PipelineBuilder

def load(context):
    context["loaded"] = [1, 2, 3]
    return len(context["loaded"])

def check(context):
    rate = context["rate"]
    context["left"] = "behind"
    raise ValueError(f"{context['loaded']} at {rate}")

builder = PipelineBuilder("stages").context("rate", 7)
stages = builder.stage("load", load).stage("check", check, ["load"]).build()
"""


TASKS = """\
from penstock.dialects.workflow import Workflow

def read() -> list[int]:
    return [1, 2]

async def report(read, currency):
    raise ValueError(f"{read} {currency}")

tasks = Workflow(name="tasks")
tasks.add_task(name="read", action=read)
tasks.add_task(name="report", action=report, kwargs={"currency": "EUR"}, dependencies=["read"])
"""

DEFINED = """\
from penstock.dialects.definitions import PipelineDefinition, StageDefinition, StageResult

class Split:
    async def execute(self, input, context):
        return StageResult.success(input.split())

class Count:
    async def execute(self, input, context):
        number = len(input)
        raise ValueError(number)

stages = [StageDefinition("split", Split()), StageDefinition("count", Count(), inputs=["split"])]
words = PipelineDefinition(name="words", stages=stages)
"""

FOLDED = """\
from penstock import Flow, each, fold

flow = Flow("folded")

@flow.step
def numbers() -> list[int]:
    return [1, 2, 3]

@flow.step(runner="processes")
def double(number: int = each(numbers)) -> int:
    if number == 2:
        print("two")
    return 2 * number

def add(so_far: int, item: int) -> int:
    if item == 4:
        raise ValueError("four")
    return so_far + item

@flow.step
def total(found: int = fold(double, add, initial=0)) -> int:
    return found
"""


class Project:
    """A folder with a flow in it, and runs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".git").mkdir()
        (folder / "shop.py").write_text(SHOP)
        for name, text in (("stages", STAGES), ("tasks", TASKS), ("defined", DEFINED), ("folded", FOLDED)):
            (folder / f"{name}.py").write_text(text)

    def call(self, *words: str, type: str = "") -> subprocess.CompletedProcess[str]:
        """The program, with this typed at its keyboard."""
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
        return subprocess.run(
            [*PROGRAM, *words],
            cwd=self.folder,
            input=type,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )

    def journal(self) -> list[tuple[object, ...]]:
        """All that the store holds."""
        with sqlite3.connect(f"file:{self.folder}/.penstock/journal.db?mode=ro", uri=True) as connection:
            tables = [
                name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
            ]
            found = [(name, *row) for name in tables for row in connection.execute(f'select * from "{name}"')]
        connection.close()
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("debugged"))
    ran = made.call(
        *("run", "shop.py", "--run-id", "first", "--on-failure", "continue"),
        *("-i", "count=5", "-i", "token=swordfish"),
    )
    assert ran.returncode == 1, ran.stderr
    return made


def lines(text: str) -> list[str]:
    return text.replace("(pdb) ", "").splitlines()


def test_it_stops_at_the_first_line_with_the_arguments_of_the_attempt(project: Project) -> None:
    done = project.call("debug", "first", "price[3]", type="p order, factor\nn\np cents\nc\n")
    assert [re.sub(r"^> .*/", "> ", line) for line in lines(done.stdout)] == [
        "> shop.py(26)price()",
        "-> cents = order * factor",
        "(3, 10)",
        "> shop.py(27)price()",
        "-> if order == 3:",
        "30",
    ]
    assert done.stderr.splitlines()[:3] == [
        "penstock: run first, step price[3], attempt 1: failed with ValueError: no price for 3",
        "penstock:   order = 3",
        "penstock:   factor = 10",
    ]
    assert done.stderr.splitlines()[-4:] == [
        "Traceback (most recent call last):",
        f'  File "{project.folder.resolve()}/shop.py", line 28, in price',
        '    raise ValueError("no price for 3")',
        "ValueError: no price for 3",
    ]
    assert done.returncode == 1


def test_of_a_map_the_only_failed_item_is_meant(project: Project) -> None:
    done = project.call("debug", "last", "price", "--no-pdb")
    assert "step price[3], attempt 1" in done.stderr
    assert done.returncode == 1


def test_an_item_that_succeeded_can_be_called_again_too(project: Project) -> None:
    done = project.call("debug", "first", "price[1]", type="p order\nc\n")
    assert "it gave 10" in done.stdout
    assert done.stderr.splitlines()[-1] == "penstock: nothing of this was written to the run"
    assert done.returncode == 0


def test_who_leaves_the_debugger_leaves(project: Project) -> None:
    done = project.call("debug", "first", "price[3]", type="q\n")
    assert (done.returncode, "gave" in done.stdout, "Traceback" in done.stderr) == (0, False, False)


def test_an_async_step_is_awaited_and_its_secret_is_given_again(project: Project) -> None:
    refused = project.call("debug", "first", "fetch", type="c\n")
    assert refused.returncode == 2
    assert "the input 'token' was a Secret" in refused.stderr
    assert "--input token=" in refused.stderr
    done = project.call("debug", "first", "fetch", "-i", "token=swordfish", type="n\np known\nc\n")
    assert "'swordfish'" in done.stdout  # somebody has asked
    assert "swordfish" not in done.stderr
    assert "RuntimeError: refused ***" in done.stderr
    (project.folder / "inputs.json").write_text('{"token": "swordfish"}')
    done = project.call("debug", "first", "fetch", "--input-file", "inputs.json", type="q\n")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_a_stream_is_taken_to_its_end_and_says_what_it_says(project: Project) -> None:
    done = project.call("debug", "first", "tail", type="p orders\nc\n")
    assert "[0, 1, 2, 3, 4]" in done.stdout
    assert "penstock: log: begins rows=5" in done.stderr
    assert "penstock: progress: 1 of 2 half" in done.stderr
    assert done.stderr.splitlines()[-1] == "KeyError: 'tail'"
    done = project.call("debug", "first", "tails", type="n\np first\nc\n")
    assert lines(done.stdout)[-1] == "0"
    assert done.stderr.splitlines()[-1] == "LookupError: no second"


def test_which_attempt_can_be_said(project: Project) -> None:
    for words, number, error in (
        ((), 2, "TimeoutError: second"),
        (("--attempt", "1"), 1, "ConnectionError: first"),
    ):
        done = project.call("debug", "first", "flaky", *words, type="n\np number\nc\n")
        assert f"attempt {number}: failed with {error}" in done.stderr
        assert lines(done.stdout)[-1] == str(number)
        assert done.stderr.splitlines()[-1] == error
    done = project.call("debug", "first", "flaky", "--attempt", "3")
    assert (done.returncode, "has attempts 1 to 2, and no 3" in done.stderr) == (2, True)


def test_it_stops_in_the_step_and_not_in_what_is_wrapped_around_it(project: Project) -> None:
    done = project.call("debug", "first", "flaky", type="q\n")
    assert "-> number = ctx.attempt" in done.stdout
    done = project.call("debug", "first", "query", type="p db\nq\n")
    assert "-> rows = db[" in done.stdout  # and not in the resource that it opens
    assert "{'rows': 2}" in done.stdout


def test_post_mortem_opens_where_it_raised(project: Project) -> None:
    done = project.call("debug", "first", "query", "--post-mortem", type="p rows\nq\n")
    assert "-> raise OSError" in done.stdout
    assert "2" in lines(done.stdout)
    assert done.returncode == 1


def test_a_pipeline_finds_its_context_as_it_was(project: Project) -> None:
    ran = project.call("run", "stages.py", "--run-id", "staged")
    assert ran.returncode == 1
    done = project.call("debug", "staged", "check", type="p context['loaded'], 'left' in context\nc\n")
    assert lines(done.stdout)[2] == "([1, 2, 3], False)"
    assert done.stderr.splitlines()[-1] == "ValueError: [1, 2, 3] at 7"


@pytest.mark.parametrize(
    ("words", "step", "typed", "shown", "error"),
    [
        (("tasks.py",), "report", "p currency", "'EUR'", "ValueError: [1, 2] EUR"),
        (("defined.py", "-i", 'input="a b"'), "count", "p input", "['a', 'b']", "ValueError: 2"),
        (("folded.py",), "total.found", "p so_far, item", "(0, 2)", "ValueError: four"),
    ],
)
def test_steps_of_every_kind_find_what_they_had(
    project: Project, words: tuple[str, ...], step: str, typed: str, shown: str, error: str
) -> None:
    project.call("run", *words)
    done = project.call("debug", "last", step, type=f"{typed}\nc\nc\nc\n")
    assert lines(done.stdout)[2] == shown
    assert done.stderr.splitlines()[-1] == error
    assert "asyncio" not in done.stderr
    assert done.returncode == 1


def test_a_step_of_a_worker_process_is_called_in_this_one(project: Project) -> None:
    project.call("run", "folded.py", "--run-id", "apart")
    done = project.call("debug", "apart", "double[1]", type="p number\nc\n")
    assert lines(done.stdout)[-3:] == ["2", "two", "it gave 4"]


def test_nothing_is_written_to_the_store(project: Project) -> None:
    before = project.journal()
    for step in ("price[3]", "flaky", "query", "tail"):
        project.call("debug", "first", step, "--no-pdb")
    assert project.journal() == before
    again = project.call("resume", "first", "-i", "token=swordfish", "--on-change", "keep")
    assert "price[3]" in again.stderr + again.stdout  # it can still go on as if nothing had been


def test_after_a_resume_the_last_attempt_that_counts_is_meant(tmp_path: Path) -> None:
    project = Project(tmp_path)
    first = project.call(
        "run", "shop.py", "-i", "count=5", "-i", "token=swordfish", "--on-failure", "continue"
    )
    assert first.returncode == 1
    project.call("resume", "last", "-i", "token=swordfish")
    done = project.call("debug", "last", "price", type="p order\nq\n")
    assert lines(done.stdout)[-1] == "3", done.stderr


def test_code_that_has_changed_since_is_said(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.call("run", "shop.py", "-i", "count=5", "-i", "token=swordfish", "--on-failure", "continue")
    mended = SHOP.replace("if order == 3:", "if order == 33:").replace(
        "list(range(count))", "[*range(count)]"
    )
    (tmp_path / "shop.py").write_text(mended)
    done = project.call("debug", "last", "price", "--no-pdb")
    assert "the code of step 'price' has changed since the attempt" in done.stderr
    assert done.stdout == "it gave 30\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nope", "price[3]"), 2, "there is no run 'nope'"),
        (("first", "prise"), 2, "there is no step 'prise' in run first; did you mean 'price'?"),
        (("first", "price[9]"), 2, "there is no step 'price[9]'"),
        (("first", "total"), 2, "never started, it is skipped: price[3] failed"),
        (("first", "price[3]", "shop.py:shopp"), 2, "did you mean 'shop'?"),
    ],
)
def test_what_cannot_be_is_said_with_the_way_out(
    project: Project, words: tuple[str, ...], code: int, said: str
) -> None:
    done = project.call("debug", *words)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_a_value_that_was_not_stored_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "shop.py").write_text(
        "from penstock import Flow\n"
        "shop = Flow('shop')\n"
        "@shop.step(volatile=True)\n"
        "def handle() -> object: return object()\n"
        "@shop.step\n"
        "def read(handle: object) -> int: raise ValueError('no')\n"
    )
    project.call("run", "shop.py", "--run-id", "v")
    done = project.call("debug", "v", "read")
    assert "the value of 'handle' was not stored, or is lost" in done.stderr
    assert done.returncode == 2


def test_a_large_value_is_there_again(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "shop.py").write_text(
        "from penstock import Flow\n"
        "shop = Flow('shop')\n"
        "@shop.step\n"
        "def large() -> list[str]: return ['x' * 1000] * 2000\n"
        "@shop.step\n"
        "def read(large: list[str]) -> int: raise ValueError(len(large))\n"
    )
    project.call("run", "shop.py", "--run-id", "v")
    done = project.call("debug", "v", "read", "--no-pdb")
    assert done.stderr.splitlines()[-1] == "ValueError: 2000"


def test_of_two_lives_the_later_one_is_meant(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "shop.py").write_text(
        "from pathlib import Path\n"
        "from penstock import Flow\n"
        "shop = Flow('shop')\n"
        "@shop.step\n"
        "def load() -> str: return Path('number').read_text()\n"
        "@shop.step\n"
        "def check(load: str) -> int: raise ValueError(load)\n"
    )
    for words in (("run", "shop.py", "--run-id", "v"), ("resume", "v", "--rerun", "load")):
        (tmp_path / "number").write_text(words[0])
        assert project.call(*words).returncode == 1
    done = project.call("debug", "v", "check", "--no-pdb")
    assert done.stderr.splitlines()[-1] == "ValueError: resume"


def test_a_gate_calls_nothing(call, files):
    (files / "gated.py").write_text(
        "from penstock import Flow, use\n"
        "flow = Flow('gated')\n"
        "ok = flow.gate('ok', prompt='Go?')\n"
        "flow.add(lambda ok: ok, name='after', ok=use(ok))\n"
    )
    assert call("run", "gated.py", "--run-id", "r").code == 5
    for _ in range(2):  # while it waits, and when it has been answered
        told = call("debug", "r", "ok", "--no-pdb")
        assert told.code == 2
        assert "step 'ok' of run r is a gate, which calls nothing" in told.err
        call("approve", "r", "ok")
        call("resume", "r")
