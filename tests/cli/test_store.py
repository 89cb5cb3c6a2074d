"""Runs that are kept: run, resume, runs, show, approve, cancel and the rest, with their whole texts."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

import penstock
from penstock.core.model import NodeStatus
from penstock.core.stored import StoredNode
from penstock.observers import stored
from penstock.observers.marks import Signs
from penstock.observers.page import plain
from tests.cli.conftest import PROGRAM
from tests.cli.test_run import words_of
from tests.cli.test_signals import begin, end

ORDERS = """\
import os
from penstock import Flow, each, gather

flow = Flow("orders")

def note(text):
    with open("effects", "a") as file:
        file.write(text + "\\n")

@flow.step
def load(count: int = 3) -> list[int]:
    note("load")
    return list(range(count))

@flow.step
def price(order: int = each(load)) -> int:
    note(f"price {order}")
    if str(order) == os.environ.get("BROKEN"):
        raise ValueError(f"no price for {order}")
    if str(order) == os.environ.get("DEADLY"):
        os.kill(os.getpid(), 9)
    return order * 2

@flow.step
def total(prices: list[int] = gather(price)) -> int:
    note("total")
    return sum(prices)
"""

GATED = """\
from penstock import Flow, use

flow = Flow("gated")

@flow.step
def cost() -> int:
    with open("effects", "a") as file:
        file.write("cost\\n")
    return 5

ok = flow.gate("ok", prompt="Spend it?", cost=use(cost))

@flow.step
def spend(ok: bool, cost: int) -> str:
    return f"spent {cost}" if ok else "kept"
"""


@pytest.fixture
def orders(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with flows to keep runs of."""
    (files / "pyproject.toml").write_text("")
    (files / "orders.py").write_text(ORDERS)
    (files / "gated.py").write_text(GATED)
    return files


def effects(folder: Path) -> list[str]:
    return (folder / "effects").read_text().splitlines()


def id_of(folder: Path, number: int = -1) -> str:
    with penstock.open(folder / ".penstock" / "journal.db") as history:
        return history.runs()[number].run_id


# ----------------------------------------------------------------------------------------------------------
# run and resume
# ----------------------------------------------------------------------------------------------------------


def test_a_run_is_kept_where_nobody_else_looks(call, orders):
    assert call("run", "orders.py").code == 0
    folder = orders / ".penstock"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE((folder / "journal.db").stat().st_mode) == 0o600


def test_a_run_is_kept_at_the_root_of_its_project(call, orders, monkeypatch):
    deep = orders / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert call("run", "../../orders.py").code == 0
    assert not (deep / ".penstock").exists()
    assert (orders / ".penstock" / "journal.db").exists()
    assert call("runs").out.count("succeeded") == 1


def test_without_a_store_nothing_is_kept(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    told = call("run", "orders.py", "--no-store")
    assert told.code == 1
    assert "resume" not in told.err
    assert not (orders / ".penstock").exists()
    told = call("run", "orders.py", "--no-store", "--run-id", "x")
    assert told == (2, "", "penstock: --run-id and --no-store do not go together\n")


def test_a_run_that_failed_goes_on_where_it_failed(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    told = call("run", "orders.py", "--on-failure", "continue", "-i", "count=4")
    assert told.code == 1
    assert told.err.splitlines()[-1] == "penstock: to go on: penstock resume RUN"
    monkeypatch.delenv("BROKEN")
    told = call("resume", "last")
    assert told.code == 0
    done = effects(orders)
    assert (done[0], sorted(done[1:5]), done[5:]) == (
        "load",
        [f"price {n}" for n in range(4)],
        ["price 1", "total"],
    )
    assert words_of(told.out) == [
        "orders run RUN",
        "",
        "✓ load TOOK",
        "✓ price TOOK 4 ok",
        "✓ total TOOK",
        "",
        "total 12",
        "",
        "✓ succeeded in TOOK 3 steps",
    ]
    assert words_of(told.err) == [
        "penstock: going on with orders.py:flow",
        "TIME run RUN of orders: 3 steps",
        "TIME goes on: 1 step done before",
        "TIME price ended in TOOK: 4 items",
        "TIME total started",
        "TIME total succeeded in TOOK",
        "TIME run RUN succeeded in TOOK",
    ]
    told = call("resume", "last")
    assert told == (0, "", "penstock: run RUN has succeeded: there is nothing left to do\n")


def test_j01_a_run_that_was_killed_goes_on(orders, program):
    """SIGKILL while a step runs: what was committed is not done again, what ran is."""
    killed = program("run", "orders.py", "--max-concurrency", "1", env={"DEADLY": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert effects(orders) == ["load", "price 0", "price 1"]
    assert b"cut off" in program("runs").stdout
    assert b"cut off" in program("show", "last").stdout
    done = program("resume", "last", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["outputs"] == {"total": 6}
    assert effects(orders) == ["load", "price 0", "price 1", "price 1", "price 2", "total"]
    assert b"taken over from a process that died" in done.stderr


def test_l01_a_run_that_was_interrupted_says_how_it_goes_on(orders):
    (orders / "waits.py").write_text(
        "import asyncio, os\nfrom penstock import Flow\nflow = Flow('waits')\n"
        "@flow.step\ndef first() -> int:\n"
        "    with open('effects', 'a') as file:\n        file.write('first\\n')\n    return 1\n"
        "@flow.step\nasync def second(first: int) -> int:\n"
        "    if os.path.exists('go'):\n        return 2\n"
        "    with open('pipe', 'w') as pipe:\n        pipe.write('x')\n"
        "    await asyncio.Event().wait()\n    return 0\n"
    )
    os.mkfifo(orders / "pipe")
    run = begin(orders, "waits.py")
    run.send_signal(signal.SIGINT)
    code, _, err = end(run)
    assert code == 130
    assert err.splitlines()[-1] == "penstock: to go on: penstock resume RUN"
    (orders / "go").touch()
    done = subprocess.run(
        [*PROGRAM, "resume", id_of(orders)], cwd=orders, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert b"second  2" in done.stdout
    assert effects(orders) == ["first"]


def test_a_store_that_is_named_is_named_again_in_the_line_that_goes_on(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    for word in ("my runs.db", "sqlite:///my runs.db"):
        told = call("run", "orders.py", "--store", word)
        line = told.err.splitlines()[-1]
        assert line == f"penstock: to go on: penstock resume RUN orders.py --store '{word}'"
    assert not (orders / ".penstock").exists()
    assert call("runs", "--store", "my runs.db").out.count("failed") == 2
    told = call("resume", "last", "--store", "my runs.db")
    assert told.code == 2
    assert told.err == (
        "penstock: run RUN was made with 'orders.py:flow', which is not in this project\n"
        "  if you know what it is, say it yourself: penstock resume RUN --store 'my runs.db' TARGET\n"
    ).replace("RUN --store 'my runs.db' TARGET", "RUN --store 'my runs.db' TARGET")
    monkeypatch.delenv("BROKEN")
    assert call("resume", "last", "orders.py", "--store", "my runs.db").code == 0


def test_a_run_with_an_id_of_ones_own(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    told = call("run", "orders.py", "--run-id", "monday", "--tag", "env=prod", "--tag", "by=me")
    assert told.err.endswith("penstock: to go on: penstock resume monday\n")
    monkeypatch.delenv("BROKEN")
    assert call("run", "orders.py", "--run-id", "monday", "-i", "count=3").code == 0
    assert call("run", "orders.py", "--run-id", "monday", "-i", "count=3").code == 0
    told = call("run", "orders.py", "--run-id", "monday", "-i", "count=4")
    assert told.code == 2
    assert "was given other inputs: count is 4, and was 3" in told.err
    assert json.loads(call("show", "monday", "--json").out)["tags"] == {"env": "prod", "by": "me"}
    for words, text in {
        "--run-id=": "run_id is a text without blanks around it, not ''",
        "--tag=x": "--tag takes NAME=VALUE, not 'x'",
        "--tag==x": "--tag takes NAME=VALUE, not '=x'",
    }.items():
        told = call("run", "orders.py", words)
        assert told.code == 2
        assert text in told.err
    assert (
        call("run", "orders.py", "--tag", "a=1", "--tag", "a=2").err
        == "penstock: the tag 'a' is given twice\n"
    )


def test_j25_code_that_has_changed_is_said_and_decided(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    call("run", "orders.py", "--on-failure", "continue")
    monkeypatch.delenv("BROKEN")
    (orders / "orders.py").write_text(ORDERS.replace("list(range(count))", "list(range(count + 0))"))
    told = call("resume", "last")
    assert told.code == 2
    assert "step 'load' has other code" in told.err
    assert "here: --on-change keep, --on-change rerun, or --rerun STEP for single ones" in told.err
    before = effects(orders)
    assert call("resume", "last", "--on-change", "keep").code == 0
    assert effects(orders) == [*before, "price 1", "total"]


def test_steps_are_run_again_where_that_is_said(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    call("run", "orders.py", "--on-failure", "continue")
    monkeypatch.delenv("BROKEN")
    told = call("resume", "last", "--rerun", "laod")
    assert told.code == 2
    assert "there is no step 'laod'; did you mean 'load'?" in told.err
    assert call("resume", "last", "--rerun", "load").code == 0
    assert effects(orders).count("load") == 2
    told = call("resume", "last", "--rerun", "load")
    assert (told.code, told.out) == (2, "")
    assert "has succeeded, and is not changed any more; start a new one" in told.err


def test_what_cannot_be_stored_is_said_with_the_way_out(call, orders):
    (orders / "odd.py").write_text(
        "from penstock import Flow\nflow = Flow('odd')\n"
        "@flow.step\ndef thing() -> object:\n    return object()\n"
        "@flow.step\ndef after(thing: object) -> int:\n    return 1\n"
    )
    told = call("run", "odd.py")
    assert told.code == 1
    assert "cannot be stored" in told.out
    assert (
        "penstock: what cannot be stored can still be handed on, in a run that is not kept: --no-store"
        in told.err
    )
    assert call("run", "odd.py", "--no-store").code == 0


# ----------------------------------------------------------------------------------------------------------
# Gates
# ----------------------------------------------------------------------------------------------------------


def test_a_run_that_waits_ends_with_its_own_code_and_is_approved(call, orders):
    told = call("run", "gated.py")
    assert told.code == 5
    assert words_of(told.err)[-3:] == [
        "penstock: gate ok asks: Spend it?",
        "penstock: to answer: penstock approve RUN ok --resume",
        "penstock: to go on: penstock resume RUN",
    ]
    assert words_of(told.out)[-1] == "◔ waiting in TOOK 1 of 3 steps, 1 pending, 1 waiting"
    told = call("approve", "last", "ok", "--resume")
    assert told.code == 0
    assert "gate ok of run RUN is answered\n" in told.out
    assert "spend  spent 5\n" in told.out
    assert effects(orders) == ["cost"]


def test_a_gate_is_answered_first_and_the_run_goes_on_later(call, orders):
    call("run", "gated.py")
    told = call("approve", "last", "--no")
    assert told == (0, "gate ok of run RUN is answered\nto go on: penstock resume RUN\n", "")
    assert "an answer was given, which it takes when it goes on" in call("show", "last").out
    told = call("approve", "last")
    assert told.err == "penstock: gate ok had been given an answer before; the first one that fits counts\n"
    assert "spend  kept\n" in call("resume", "last").out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("okk", "there is no gate 'okk' in run RUN; did you mean 'ok'? (open gates: ok)"),
        ("cost", "step 'cost' of run RUN is no gate, and takes no answer"),
        ("ok --value maybe", "gate 'ok' takes bool, not 'maybe'"),
        ("ok --value 1", "gate 'ok' takes bool, not '1'"),
        (
            "ok --value true --no",
            "argument --no: not allowed with argument --value\n  see: penstock approve --help",
        ),
    ],
)
def test_an_answer_that_cannot_be_is_refused(call, orders, words, text):
    call("run", "gated.py")
    assert call("approve", "last", *words.split()) == (2, "", f"penstock: {text}\n")
    assert call("resume", "last").code == 5


def test_gates_of_other_types(call, orders):
    (orders / "gates.py").write_text(
        "from typing import Literal\nfrom penstock import Flow\nflow = Flow('gates')\n"
        "many = flow.gate('many', prompt='How many?', type=int)\n"
        "how = flow.gate('how', prompt='How?', type=Literal['fast', 'slow'])\n"
        "name = flow.gate('name', prompt='Who?', type=str)\n"
        "@flow.step\ndef done(many: int, how: str, name: str) -> str:\n    return f'{many} {how} {name}'\n"
    )
    told = call("run", "gates.py")
    assert "penstock: to answer: penstock approve RUN many --value VALUE --resume\n" in told.err
    told = call("approve", "last")
    assert told.err == "penstock: 3 gates of run RUN are open, say which: many, how, name\n"
    assert (
        call("approve", "last", "many").err
        == "penstock: gate 'many' takes int: give the answer with --value\n"
    )
    assert call("approve", "last", "many", "--value", "7").code == 0
    assert (
        "gate 'how' takes Literal['fast', 'slow'], not 'fats'"
        in call("approve", "last", "how", "--value", "fats").err
    )
    assert call("approve", "last", "how", "--value", "fast").code == 0
    assert call("approve", "last", "name", "--value", "3", "--resume").code == 0
    assert "done  7 fast 3\n" in call("show", "last").out.replace("'", "")


def test_an_answer_without_an_open_gate(call, orders):
    call("run", "orders.py")
    told = call("approve", "last")
    assert told.err == "penstock: run RUN has no open gate; to answer one before it opens, name it\n"
    assert (
        call("approve", "last", "load").err == "penstock: run RUN has succeeded: its gates take no answers\n"
    )


def test_a_run_that_waits_is_cancelled(call, orders):
    call("run", "gated.py")
    assert call("cancel", "last", "--reason", "not today").out == "run RUN is cancelled\n"
    told = call("show", "last")
    assert words_of(told.out)[-3:] == [
        "■ cancelled in TOOK: not today 1 of 3 steps, 1 skipped, 1 cancelled",
        "",
        "to go on: penstock resume RUN",
    ]
    assert call("cancel", "last").err == "penstock: run RUN has cancelled already\n"
    assert call("resume", "last").code == 5


def test_a_run_that_is_driven_is_cancelled_from_another_process(orders):
    (orders / "waits.py").write_text(
        "import asyncio\nfrom penstock import Flow\nflow = Flow('waits')\n"
        "@flow.step\nasync def second() -> None:\n"
        "    with open('pipe', 'w') as pipe:\n        pipe.write('x')\n"
        "    await asyncio.Event().wait()\n"
    )
    os.mkfifo(orders / "pipe")
    run = begin(orders, "waits.py")

    def tell(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words], cwd=orders, capture_output=True, text=True, check=False, timeout=60
        )

    assert tell("resume", "last").returncode == 4
    assert tell("prune", "--keep", "0").stdout == "0 runs deleted\n"
    assert "driven by" in tell("show", "last").stdout
    done = tell("cancel", "last", "--reason", "enough")
    assert done.stdout.startswith(f"process {run.pid} on ")
    code, out, err = end(run)
    assert code == 130
    assert "cancelling (enough)" in err
    assert out.splitlines()[-1].startswith("■ cancelled")


# ----------------------------------------------------------------------------------------------------------
# Looking
# ----------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_listed_and_shown(call, orders, monkeypatch):
    assert call("runs") == (
        0,
        "",
        f"penstock: no run is kept here yet; there is no {orders}/.penstock/journal.db\n",
    )
    call("run", "orders.py", "--run-id", "one", "--tag", "env=prod")
    monkeypatch.setenv("BROKEN", "2")
    call("run", "orders.py", "--run-id", "two", "--on-failure", "continue")
    call("run", "gated.py", "--run-id", "three")
    (orders / "orders.py").unlink()  # nothing of it is imported
    told = call("runs")
    assert words_of(re.sub(r"today \d\d:\d\d", "WHEN", told.out)) == [
        "RUN FLOW STATUS WHEN TOOK TAGS",
        "three gated ◔ waiting WHEN",
        "two orders ✗ failed WHEN TOOK",
        "one orders ✓ succeeded WHEN TOOK env=prod",
    ]
    assert [
        line.split()[0] for line in call("runs", "--flow", "orders", "--limit", "1").out.splitlines()[1:]
    ] == ["two"]
    assert call("runs", "--tag", "env=prod").out.splitlines()[1].startswith("one ")
    assert call("runs", "--status", "waiting").out.splitlines()[1].startswith("three ")
    assert call("runs", "--status", "cut-off").err == "penstock: no such run\n"
    rows = [json.loads(line) for line in call("runs", "--json").out.splitlines()]
    assert [(row["run_id"], row["status"], row["cut_off"]) for row in rows] == [
        ("three", "waiting", False), ("two", "failed", False), ("one", "succeeded", False),
    ]  # fmt: skip
    told = call("show", "two")
    lines = words_of(re.sub(r"\d{4}-\d\d-\d\d TIME", "WHEN", told.out.replace(f"{orders}/", "")))
    made_with = next(line for line in lines if line.startswith("made with"))
    assert [line for line in lines if line != made_with] == [
        "orders run two",
        "",
        "created WHEN",
        "target orders.py:flow",
        "inputs count=3",
        "",
        "✓ load TOOK",
        "✗ price TOOK 2 ok, 1 failed",
        "– total price[2] failed",
        "",
        "price[2] failed orders.py:19",
        "ValueError: no price for 2",
        "",
        "✗ failed in TOOK 1 of 3 steps, 1 failed, 1 skipped",
        "",
        "to go on: penstock resume two",
    ]
    assert "python 3." in made_with


def test_a_step_and_its_events(call, orders, monkeypatch):
    monkeypatch.setenv("BROKEN", "2")
    call("run", "orders.py", "--run-id", "two", "--on-failure", "continue")
    out = call("show", "two", "--step", "price[2]").out
    assert "attempt 1" in out
    assert "failed after" in out
    assert "Traceback (most recent call last):" in out
    assert "price[0]  attempt 1" in call("show", "two", "--step", "price").out
    assert call("show", "two", "--step", "prcie").err == (
        "penstock: there is no step 'prcie' in run two; did you mean 'price'?\n"
    )
    events = call("show", "two", "--events").out.splitlines()
    assert [line.split()[1] for line in events if line.split()[0] != "NodeExpanded"][:2] == [
        "RunStarted",
        "NodeStarted",
    ]
    assert events[-1].endswith("RunFinished  status failed")
    found = json.loads(call("show", "two", "--json").out)
    assert found["outputs"] == {"load": [0, 1, 2], "price": [0, 2]}
    assert found["nodes"]["price"]["items"] == {"total": 3, "succeeded": 2, "failed": 1}
    assert found["nodes"]["price"]["failures"] == {"price[2]": "ValueError: no price for 2"}
    step = json.loads(call("show", "two", "--json", "--step", "price[2]").out)
    assert [(one["token"], one["outcome"]) for one in step["tries"]] == [(1, "failed")]


def test_a_value_of_a_class_is_shown_without_it(call, orders):
    (orders / "shop.py").write_text(
        "from dataclasses import dataclass\nfrom penstock import Flow\nflow = Flow('shop')\n"
        "@dataclass\nclass Order:\n    number: int\n    price: float\n"
        "@flow.step\ndef order() -> Order:\n    return Order(7, 2.5)\n"
    )
    assert call("run", "shop.py").code == 0
    (orders / "shop.py").write_text("raise SystemExit('imported')")
    assert "order  Order(number=7, price=2.5)\n" in call("show", "last").out
    assert json.loads(call("show", "last", "--json").out)["outputs_left_out"] == ["order"]


# ----------------------------------------------------------------------------------------------------------
# Looking after
# ----------------------------------------------------------------------------------------------------------


def test_old_runs_are_deleted(call, orders):
    for number in range(4):
        call("run", "orders.py", "--run-id", f"r{number}")
    assert (
        call("prune", "--keep", "2", "--dry-run").out == "r1  orders\nr0  orders\n2 runs would be deleted\n"
    )
    assert call("prune", "--keep", "3").out == "1 run deleted\n"
    assert call("prune", "--keep", "30d").out == "0 runs deleted\n"
    told = call("prune", "--keep", "soon")
    assert told == (
        2,
        "",
        "penstock: keep is an age such as '30d' or '12h', or a number of runs, not 'soon'\n",
    )
    assert call("prune").code == 2


def test_a_run_travels(call, orders, tmp_path):
    call("run", "orders.py", "--run-id", "one")
    assert call("export", "one", "run.file").out == "run one is in run.file\n"
    told = call("export", "one", "run.file")
    assert told == (4, "", "penstock: there is a file 'run.file' already, and none is overwritten\n")
    told = call("import", "run.file")
    assert told == (2, "", "penstock: there is a run 'one' in the store already, and it stays as it is\n")
    assert call("import", "run.file", "--store", "other.db").out == "run one of orders is there now\n"
    assert call("show", "one", "--store", "other.db").out.count("✓") == 4
    Path("run.file").write_bytes(b"x" + Path("run.file").read_bytes())
    told = call("import", "run.file", "--store", "third.db")
    assert told.code == 4
    assert told.err.startswith(
        "penstock: 'run.file' is no run as `penstock export` writes it, or was changed"
    )
    assert (
        call("import", "none.file").err == "penstock: 'none.file' cannot be read: No such file or directory\n"
    )


def test_the_doctor_says_whether_all_is_well(call, orders):
    call("run", "orders.py", "--run-id", "one")
    told = call("doctor")
    assert told.code == 0
    assert told.out.endswith("the store is well\n")
    assert "Penstock " in told.out
    path = orders / ".penstock" / "journal.db"
    path.chmod(0o644)
    told = call("doctor")
    assert told.code == 4
    assert "WRONG" in told.out
    assert "may be read by other users" in told.out
    path.chmod(0o600)


def test_j10_the_doctor_finds_damage_and_saves_what_is_sound(call, orders):
    for name in ("one", "two"):
        call("run", "orders.py", "--run-id", name)
    path = orders / ".penstock" / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE journal SET body = replace(body, 'price', 'prize') WHERE id < (2 << 32)")
    connection.close()
    told = call("doctor")
    assert told.code == 4
    assert "WRONG  run 'one'" in told.out
    for words in (("show", "one"), ("resume", "one"), ("export", "one", "file")):
        told = call(*words)
        assert told.code == 4 or words[0] == "resume"
        assert "Traceback" not in told.err
    assert call("show", "two").code == 0
    told = call("doctor", "--salvage", "sound.db")
    assert told.code == 4
    assert "lost   run 'one'" in told.out
    assert call("runs", "--store", "sound.db").out.count("succeeded") == 1


def test_all_commands_have_help(call):
    from penstock.cli.app import COMMANDS

    for command in COMMANDS:
        told = call(command, "--help")
        assert told.code == 0
        assert told.out.startswith(f"usage: penstock {command}")
        assert max(map(len, told.out.splitlines())) <= 100


def test_a_narrow_terminal_gets_short_lines(call, orders, monkeypatch):
    call("run", "orders.py", "--run-id", "one", "--tag", "env=" + "prod" * 20)
    monkeypatch.setattr("penstock.observers.stored.wide_of", lambda stream: 40)
    for words in (["runs"], ["show", "one"], ["show", "one", "--events"]):
        lines = call(*words).out.splitlines()
        assert max(map(len, lines)) == 40
        assert any(line.endswith("…") for line in lines)


def test_a_map_is_shown_to_take_as_long_as_it_took():
    """Not as long as its items together."""
    counts = {NodeStatus.SUCCEEDED: 8}
    node = StoredNode("one", NodeStatus.SUCCEEDED, duration=16.0, began=100.0, ended=102.5, counts=counts)
    line = plain(next(iter(stored._steps({"one": node}, Signs("utf-8")))))
    assert "2.5 s" in line
    assert "16" not in line
