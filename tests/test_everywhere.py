"""One flow file, unchanged, by every runner and in every store: it comes to the same, in sound journals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import penstock
from penstock import FlowResult, InputError, RunOptions
from penstock.cli.target import load
from penstock.core import events
from penstock.stores.memory import MemoryStore
from tests.everywhere.account import Line, account, folded, journal_problems, statuses
from tests.everywhere.pools import APART, HERE, Pools
from tests.test_random_flows import evaluate, flow_of, programs

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "examples" / "scale.py"
GIVEN: dict[str, Any] = {"days": 4, "most": 3}
PATIENCE = 120.0  # seconds that a command may take on a busy machine


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    with ExitStack() as stack:
        yield Pools(stack)


class Went(NamedTuple):
    """How a run went.

    Attributes:
        result: Its result.
        told: What an observer was told.
        lines: Its account, where it was kept.
        problems: Of its journal, or else of what was told.
    """

    result: FlowResult
    told: list[Any]
    lines: frozenset[Line]
    problems: list[str]


def go(flow: Any, name: str, runner: Any, store: Any = None, **given: Any) -> Went:
    told: list[Any] = []
    result = flow.run(runner=runner, store=store, options=RunOptions(observers=[told.append]), **given)
    if store is None:
        return Went(result, told, frozenset(), folded(flow.graph(), told, name)[1])
    with penstock.open(store, types=classes(flow)) as history:
        run = history.run(result.run_id)
        problems = journal_problems(history, run, result, flow.graph(), told, name)
        return Went(result, told, account(run), problems)


def classes(flow: Any) -> list[type]:
    """Of the values of a flow, as its file has them."""
    names = vars(sys.modules[next(iter(flow.steps.values())).function.__module__])
    return [one for one in names.values() if isinstance(one, type) and issubclass(one, tuple)]


# ----------------------------------------------------------------------------------------------------------
# The example
# ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flow() -> Any:
    """As the command line finds it."""
    return load(str(FILE)).object


@pytest.fixture(scope="module")
def usual(flow: Any) -> Went:
    """By threads, in memory: what all others are compared with."""
    return go(flow, "threads", "threads", MemoryStore(), **GIVEN)


def test_what_is_compared_is_all_that_a_job_has(usual: Went) -> None:
    """Otherwise two empty accounts would be equal too."""
    assert usual.result.outputs["answer"].startswith("3 tills: ")
    assert usual.problems == []
    counts = {
        status: sum(line.status == status for line in usual.lines) for status in ("succeeded", "retrying")
    }
    assert counts == {"succeeded": 7 + 12 + 3 * (1 + 1 + 4 + 1), "retrying": 1}
    paths = {line.path for line in usual.lines}
    assert {"plans/simulate[2,3]", "plans/expect[1]", "parse[5]", "weather", "warn"} <= paths
    assert {line.status for line in usual.lines} >= {"skipped", "failed", "expanded", "element 12", "when"}


@pytest.mark.parametrize("name", [*HERE, *APART])
def test_one_flow_file_comes_to_the_same_everywhere(
    name: str, pools: Pools, flow: Any, usual: Went, tmp_path: Path
) -> None:
    runner = pools[name]
    alone = go(flow, name, runner, **GIVEN)
    in_memory = go(flow, name, runner, MemoryStore(), **GIVEN)
    in_file = go(flow, name, runner, tmp_path / "runs.db", **GIVEN)
    for went in (alone, in_memory, in_file):
        assert dict(went.result.outputs) == dict(usual.result.outputs)
        assert statuses(went.result) == statuses(usual.result)
        assert sorted(went.result.tolerated) == sorted(usual.result.tolerated)
        assert went.result.abandoned == ()
        assert went.problems == []
        assert said(went.told) == said(usual.told)
    assert in_memory.lines == usual.lines
    assert in_file.lines == usual.lines


def test_it_comes_to_the_same_where_the_workers_do_not_see_the_file(
    pools: Pools, flow: Any, usual: Went, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions and classes travel by value then; what comes back is of the classes that are here."""
    lent: Any = penstock.dask(pools.cluster)
    with lent as pool:
        monkeypatch.setattr(lent.cluster, "sees", lambda files: False)
        went = go(flow, "dask", pool, MemoryStore(), **GIVEN)
        chosen = flow.run(runner=pool, targets=["choose"], **GIVEN)["choose"]
    assert type(chosen) in classes(flow)
    assert dict(went.result.outputs) == dict(usual.result.outputs)
    assert statuses(went.result) == statuses(usual.result)
    assert said(went.told) == said(usual.told)
    assert went.problems == []


def said(told: list[Any]) -> set[tuple[Any, ...]]:
    """What its steps have said."""
    found: set[tuple[Any, ...]] = set()
    for one in told:
        if isinstance(one, events.Logged):
            found.add((str(one.path), one.message, tuple(sorted(one.fields.items()))))
        elif isinstance(one, events.Progressed):
            found.add((str(one.path), one.done, one.total))
    return found


@pytest.mark.parametrize("name", APART)
def test_random_flows_come_to_what_plain_python_does(name: str, pools: Pools) -> None:
    pytest.importorskip("cloudpickle", reason="program missing: cloudpickle")  # their steps are closures
    runner = pools[name]

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(programs(), st.integers(0, 1000))
    def check(program: Any, number: int) -> None:
        flow, last = flow_of(program)

        def answer(found: int) -> int:
            return found

        step = flow.add(answer, found=penstock.use(last))
        there = go(flow, name, runner, MemoryStore(), given=number)
        here = go(flow, "threads", "threads", MemoryStore(), given=number)
        assert there.result[step] == evaluate(program, number)
        assert there.lines == here.lines
        assert there.problems == here.problems == []

    check()


# ----------------------------------------------------------------------------------------------------------
# The command line
# ----------------------------------------------------------------------------------------------------------

WHERE = """\
import os
from pathlib import Path

from penstock import Flow

flow = Flow("where")
folder = Path(__file__).parent  # the current one of a worker of a cluster is another


def note(word: str) -> int:
    with open(folder / "effects", "a") as file:
        file.write(word + " ")
    return os.getppid()


@flow.step
def first() -> int:
    return note("first")


@flow.step
def second(first: int) -> int:
    if not (folder / "ready").exists():
        raise FileNotFoundError("ready")
    return note("second")


@flow.step
def both(first: int, second: int) -> list[int]:
    return [first, second, note("both")]
"""

Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The command line in a process of its own, in a folder with a flow that tells where its steps were."""
    (tmp_path / "where.py").write_text(WHERE)
    (tmp_path / "pyproject.toml").write_text("")

    def run(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "penstock.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            text=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def places(done: subprocess.CompletedProcess[str]) -> list[int]:
    """Whose child was the process of each step."""
    found = re.search(r"^both +\[(.*)\]$", done.stdout, re.M)
    assert found is not None, done.stdout
    return [int(one) for one in found[1].split(",")]


def workers(pools: Pools) -> set[int]:
    """Of the cluster."""
    return {worker.process.pid for worker in pools.cluster.workers.values()}


def test_the_command_line_runs_the_example_on_a_cluster(pools: Pools, program: Program, usual: Went) -> None:
    done = program("run", str(FILE), "--no-store", "--runner", pools.address, "-i", "days=4", "-i", "most=3")
    assert f"\nanswer  {usual.result.outputs['answer']}\n" in done.stdout
    assert "[2] a plan is done tills=3 days=4" in done.stderr
    assert "\n  ✓ growth " in done.stdout
    assert "  2 attempts\n" in done.stdout


def test_a_runner_of_the_configuration(pools: Pools, program: Program, tmp_path: Path) -> None:
    (tmp_path / "ready").touch()
    (tmp_path / "pyproject.toml").write_text(f'[tool.penstock]\nrunner = "{pools.address}"\n')
    assert set(places(program("run", "where.py"))) <= workers(pools)
    here = program("run", "where.py", PENSTOCK_RUNNER="threads")
    assert set(places(here)) == {os.getpid()}, "the environment wins, and threads are those of the command"


def test_x05_a_run_goes_on_by_another_runner_than_it_began_with(
    pools: Pools, program: Program, tmp_path: Path
) -> None:
    failed = program("run", "where.py", "--run-id", "r", "--runner", "threads", code=1)
    assert "FileNotFoundError: ready" in failed.stdout
    (tmp_path / "ready").touch()
    done = program("resume", "r", "--runner", pools.address)
    first, *others = places(done)
    assert first == os.getpid()
    assert set(others) <= workers(pools)
    assert (tmp_path / "effects").read_text() == "first second both ", "what was done is not done again"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_cluster_is_started_for_a_run_that_only_names_it(name: str, program: Program, usual: Went) -> None:
    pytest.importorskip({"dask": "distributed"}.get(name, name), reason=f"program missing: {name}")
    done = program("run", str(FILE), "--no-store", "--runner", name, "-i", "days=4", "-i", "most=3")
    assert f"\nanswer  {usual.result.outputs['answer']}\n" in done.stdout


@pytest.mark.slow
def test_x13_the_cluster_of_the_guide_is_for_this_machine_only(
    program: Program, usual: Went, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="program missing: distributed")
    guide = (ROOT / "docs" / "guides" / "scale.md").read_text("utf-8")
    scheduler, worker = re.findall(r"^\$ (dask (?:scheduler|worker) .*)$", guide, re.M)
    dask = str(Path(sys.executable).with_name("dask"))
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        first = started(
            stack, [dask, *scheduler.split()[1:], "--port", "0", "--scheduler-file", str(file)], tmp_path
        )
        until(file.exists)
        address = json.loads(file.read_text())["address"]
        words = [address if word.startswith("tcp:") else word for word in worker.split()[1:]]
        second = started(stack, [dask, *words], tmp_path)
        runner = address.replace("tcp:", "dask:")
        done = program("run", str(FILE), "--no-store", "--runner", runner, "-i", "days=4", "-i", "most=3")
        assert f"\nanswer  {usual.result.outputs['answer']}\n" in done.stdout
        heard = [one for top in (first, second) for pid in (top, *children(top)) for one in listening(pid)]
    assert len(heard) >= 4  # the scheduler and its page, the workers and theirs
    assert set(heard) == {"127.0.0.1"}


def started(stack: ExitStack, words: list[str], folder: Path) -> int:
    """A program that is ended with the stack; its process id."""
    words = ["127.0.0.1:0" if word == "127.0.0.1:8787" else word for word in words]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait, PATIENCE)
    stack.callback(process.terminate)
    return process.pid


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Of a process, down to the last."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(one) for one in (task / "children").read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def listening(pid: int) -> Iterator[str]:
    """The addresses at which a process listens."""
    inodes = {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = (line.split()[at] for at in (1, 3, 9))
            if state == "0A" and f"socket:[{inode}]" in inodes:
                raw = bytes.fromhex(local.partition(":")[0])
                yield str(ip_address(raw[::-1] if len(raw) == 4 else raw))


# ----------------------------------------------------------------------------------------------------------
# Without the extras
# ----------------------------------------------------------------------------------------------------------

EXTRAS = {"dask": "distributed", "ray": "ray"}


@pytest.mark.parametrize("name", EXTRAS)
@pytest.mark.parametrize("made", [False, True])
def test_without_the_extra_the_error_says_what_to_install(
    name: str, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXTRAS[name], None)
    monkeypatch.delitem(sys.modules, f"penstock.runners.remote.on_{name}", raising=False)
    flow = penstock.Flow("one")
    flow.add(lambda: 1, name="one")
    with pytest.raises(InputError, match=re.escape(f"pip install 'penstock[{name}]'")):
        getattr(penstock, name)() if made else flow.run(runner=name)


@pytest.mark.parametrize("name", EXTRAS)
def test_l07_without_the_extra_the_command_line_says_so_and_ends(
    name: str, program: Program, tmp_path: Path
) -> None:
    (tmp_path / f"{EXTRAS[name]}.py").write_text("raise ModuleNotFoundError('not here')")
    done = program("run", "where.py", "--runner", name, code=2, PYTHONPATH=str(tmp_path))
    assert f"pip install 'penstock[{name}]'" in done.stderr
    assert not (tmp_path / "effects").exists()


def test_the_guide_says_what_errors_say() -> None:
    guide = (ROOT / "docs" / "guides" / "scale.md").read_text("utf-8")
    quotes = re.findall(r"^\| `(.+?)` \|", guide[guide.index("| It says | Mend |") :], re.M)
    assert len(quotes) >= 10
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "penstock").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a text that goes on in the next line
    pattern = re.compile(
        r"\(…\): |…|'\w+'|\[\w+\]|\d+|tcp://[\d.:]+|\(of type \w+\)"
    )  # what differs from case to case
    for quote in quotes:
        for part in pattern.split(quote):
            assert part.strip() in source, quote


def test_nothing_of_engines_is_loaded_until_it_is_asked_for() -> None:
    code = """
import sys
import penstock
from penstock import dask, executor, ray
flow = penstock.Flow("f")
flow.add(lambda: 0, name="one")
assert flow.run().outputs == {"one": 0}
print(*{name.partition(".")[0] for name in sys.modules if not name.startswith("penstock")})
print(*(name for name in sys.modules if name.startswith(("concurrent.futures.", "penstock.runners.remote"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    tops, apart = done.stdout.split("\n")[:2]
    assert not {"dask", "distributed", "ray", "cloudpickle", "multiprocessing"} & set(tops.split())
    assert apart == ""
