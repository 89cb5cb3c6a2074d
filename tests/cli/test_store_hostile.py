"""Stores that are none, words that fit nothing, and runs that somebody has made up."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.owners import here
from penstock.core.storage import Owner, Page, RunEntry
from penstock.stores.sqlite import SqliteStore
from tests.cli.conftest import PROGRAM

EVIL = """\
open("imported", "w").close()
from penstock import Flow
flow = Flow("made-up")
@flow.step
def one() -> int:
    open("run", "w").close()
    return 1
"""


def made_up(
    path: Path, run_id: str, *, target: str | None = None, flow: str = "made-up", **more: Any
) -> None:
    """A run in a store, as whoever can write there may write it."""
    path.parent.mkdir(exist_ok=True)
    started = {
        "run_id": run_id, "flow": flow, "shape": [["one", []]], "seed": 1, "targets": None, "override": [],
        "options": {}, "tags": {}, "parent": None, "at": 100.0, "code": {}, "inputs": {},
        **more.pop("started", {}),
    }  # fmt: skip
    rows = [json.dumps([["run", started]]), *map(json.dumps, more.pop("rows", ()))]
    entry = RunEntry(run_id, flow, "running", 100.0, 100.0, more.pop("tags", {}), None, target, **more)
    with SqliteStore(path) as store:
        store.release(store.create(entry, here(), 60.0, Page(1, rows)))


@pytest.fixture
def journal(files: Path) -> Path:
    (files / "pyproject.toml").write_text("")
    return files / ".penstock" / "journal.db"


# ----------------------------------------------------------------------------------------------------------
# Stores that are none
# ----------------------------------------------------------------------------------------------------------

COMMANDS = (
    "runs", "show x", "resume x", "cancel x", "approve x ok", "prune --keep 1", "export x out", "doctor",
    "run good.py",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["folder", "text", "other", "empty", "fifo"])
def test_a_store_that_is_something_else_is_code_4_and_stays_as_it_is(call, files, command, what):
    path = files / "store.db"
    if what == "folder":
        path.mkdir()
    elif what == "text":
        path.write_text("not a database\n" * 100)
    elif what == "other":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
    elif what == "empty":
        if command.startswith("run "):
            return  # a new one may begin there
        path.touch()
    else:
        path = Path("/dev/null")
    before = path.read_bytes() if path.is_file() else b""
    told = call(*command.split(), "--store", str(path))
    assert told.code == 4, told
    assert "Traceback" not in told.out + told.err
    assert str(path) in told.out + told.err
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert "succeeded" not in told.err


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.startswith("run ")])
def test_a_store_that_is_not_there_is_not_made(call, files, command):
    told = call(*command.split(), "--store", "none.db")
    assert told.code == 4
    assert "there is no store at" in told.out + told.err
    assert not list(files.glob("none*"))


@pytest.mark.parametrize("word", ["", "memory:", "redis://x", "sqlite://"])
def test_a_word_that_is_no_store_is_refused(call, word):
    told = call("runs", "--store", word)
    assert told.code in (2, 4)
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err


def test_j09_a_folder_that_cannot_be_written_stops_the_run_before_it_begins(call, files):
    (files / ".penstock").write_text("a file")
    told = call("run", "good.py")
    assert told.code == 4
    assert told.out == ""
    assert told.err.splitlines() == [
        f"penstock: runs cannot be kept in {files}/.penstock: it is not a folder "
        f"({files}/.penstock has the permissions 0644)",
        "  keep them elsewhere with --store FILE, or not at all with --no-store",
    ]
    assert call("run", "good.py", "--no-store").code == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="becomes another user")
def test_j09_another_user_may_not_write(files, tmp_path):
    """Root may write anywhere, so this is tried as nobody."""
    for folder in (files, *files.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", *PROGRAM, "run", "good.py"],
        cwd=files, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "ModuleNotFoundError" in done.stderr or "Permission denied" in done.stderr.partition("penstock:")[0]:
        pytest.skip("nobody may not even read the library")
    assert done.returncode == 4, done
    assert "runs cannot be kept in" in done.stderr
    assert "Permission denied" in done.stderr
    assert "--no-store" in done.stderr
    assert "started" not in done.stderr


def test_j24_a_store_of_a_later_version_is_shown_and_not_written(call, files, journal):
    made_up(journal, "one")
    with sqlite3.connect(journal) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert call("runs").code == 0
    assert call("show", "one").code == 0
    for words in (["run", "good.py"], ["cancel", "one"], ["prune", "--keep", "0"]):
        told = call(*words)
        assert told.code == 4
        assert "was written by a later version of Penstock" in told.err
    assert call("doctor").code == 4


# ----------------------------------------------------------------------------------------------------------
# Words that fit nothing
# ----------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_the_beginning_of_its_id(call, journal):
    for run_id in ("20260101-a", "20260101-b", "20260102-c", "last-week"):
        made_up(journal, run_id)
    assert "run 20260102-c" in call("show", "20260102").out
    assert "run 20260101-b" in call("show", "20260101-b").out
    assert "run last-week" in call("show", "last").out
    told = call("show", "2026")
    assert told.code == 2
    assert told.err == (
        "penstock: 3 runs begin with '2026': 20260102-c, 20260101-b, 20260101-a\n  say more of it\n"
    )
    for word in ("x", "", "20260103", "\ud800", "../x", "20260101-a\n", "%", "_"):
        told = call("show", word)
        assert told.code == 2
        assert told.err.startswith(f"penstock: there is no run {word!r} in ")


def test_a_run_that_is_called_last_is_that_one(call, journal):
    made_up(journal, "last")
    made_up(journal, "other")
    assert "run last" in call("show", "last").out


def test_words_with_escapes_move_no_cursor(call, journal):
    evil = "\x1b[2J\x1b]0;owned\x07\u202e\r\n--store x"
    made_up(
        journal,
        "evil" + evil.replace("\n", ""),
        flow=evil,
        tags={evil: evil},
        target=evil,
        about={evil: evil},
        started={"inputs": {evil: evil}, "shape": [[evil, []], ["gate", []]]},
        rows=[
            [
                ["start", evil, 1, 1.0],
                ["fail", evil, 1, {"kind": "error", "type": evil, "text": evil, "trace": evil}, 1.0, 2.0],
                ["wait", "gate", 1, 1.0, None, evil, evil],
            ]
        ],
    )
    for words in (
        ["runs"], ["show", "evil"], ["show", "evil", "--events"], ["show", "evil", "--step", evil],
        ["doctor"], ["resume", "evil"], ["approve", "evil", evil], ["approve", "evil", "--value", evil],
        ["prune", "--keep", "0"],
        ["show", evil], ["export", "evil", evil.replace("/", "")], ["cancel", "evil", "--reason", evil],
        ["runs", "--flow", evil], ["runs", "--tag", evil],
    ):  # fmt: skip
        told = call(*words)
        for sign in ("\x1b", "\x07", "\u202e", "\r"):
            assert sign not in told.out + told.err, words


ROWS: list[list[Any]] = [
    [["end"]], [["again"]], [["end", "succeeded", 1.0, 7]], [["start"]], [["ok", "one"]], [["odd", "one"]],
    [["fail", "one", 1, {"kind": [], "type": {}, "text": 3}, 1.0, 2.0]], [["fail", "one", 1, 3, 1.0, 2.0]],
    [["start", ["one", [1]], 1, 1.0]], [["start", "one", 1, float("nan")]], [["open", "one", 10**30, None]],
    [
        ["open", "one", 10**8, None],
        ["fail", ["one", 5], 1, {"kind": "error", "type": "x", "text": "y"}, 1.0, 2.0],
    ],
    [["rest", "one", ["one"], 0, 10**8, "stopped", None]], [["skip", "one", "because", None]], [[{}]],
    [["ok", "one", 1, {"$blob": "0" * 64, "size": 1}, 1.0, 2.0]], [["wait", "one", 1, 1.0, "soon", 3, []]],
    [["ok", "one", 1, {"$nonsense": []}, 1.0, 2.0]], [["yield", "one", 1, "first", 1, ["k"]]],
]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS, ids=range(len(ROWS)))
def test_a_journal_that_nobody_has_written_is_shown_or_refused(call, journal, rows):
    made_up(journal, "odd", rows=[rows])
    for words in (
        ["show", "odd"],
        ["show", "odd", "--events"],
        ["show", "odd", "--json"],
        ["show", "odd", "--step", "one"],
        ["export", "odd", "file"],
        ["approve", "odd", "one"],
        ["cancel", "odd"],
    ):
        told = call(*words)
        assert told.code in (0, 2, 4), words
        assert "Traceback" not in told.err


def test_a_json_object_of_such_words_is_ascii(call, journal):
    made_up(journal, "evil", flow="\x1b[2Jé", tags={"\u202e": "\x07"})
    for words in (["runs", "--json"], ["show", "evil", "--json"]):
        out = call(*words).out
        assert out.isascii()
        assert json.loads(out)["flow"] == "\x1b[2Jé"


# ----------------------------------------------------------------------------------------------------------
# Where the code of a run is said to be
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hint",
    [
        None, "", "evil.py", "evil.py:", ":flow", "../outside/evil.py:flow", "{outside}/evil.py:flow",
        "link.py:flow", "linked/evil.py:flow", "evil:flow", "linked.evil:flow", "os:system", "json:loads",
        "penstock.cli:main", "sys:exit", "evil.py:flow\0", "//evil.py:flow", "a b:flow", "..evil:flow",
        "none.py:flow",
    ],
)  # fmt: skip
def test_code_outside_the_project_is_not_imported_for_a_hint(call, files, journal, hint, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "evil.py").write_text(EVIL)
    (files / "link.py").symlink_to(outside / "evil.py")
    (files / "linked").symlink_to(outside)
    shutil.copytree(outside, files.parent / "outside", dirs_exist_ok=True)
    before = set(sys.modules)
    made_up(journal, "one", target=hint.format(outside=outside) if hint else hint)
    told = call("resume", "one")
    assert told.code == 2, told
    assert "say it" in told.err
    assert not (files / "imported").exists()
    assert {name for name in set(sys.modules) - before if "evil" in name} == set()


@pytest.mark.parametrize(
    "hint", ["inside.py:flow", "package/inside.py:flow", "package.inside:flow", "inside:flow"]
)
def test_code_in_the_project_is_imported_and_named(call, files, journal, hint, monkeypatch):
    (files / "package").mkdir()
    (files / "package" / "__init__.py").write_text("")
    for folder in (files, files / "package"):
        (folder / "inside.py").write_text(EVIL.replace('open("imported", "w").close()\n', ""))
    made_up(journal, "one", target=hint)
    (files / "deep").mkdir()
    monkeypatch.chdir(files / "deep")
    told = call("resume", "one")
    assert told.code == 0, told
    assert told.err.startswith(f"penstock: going on with {hint}\n")
    assert (files / "deep" / "run").exists()


def test_a_hint_is_not_used_where_there_is_no_folder_of_ours(call, files):
    (files / "inside.py").write_text(EVIL)
    made_up(files / "runs.db", "one", target="inside.py:flow")
    told = call("resume", "one", "--store", "runs.db")
    assert told.code == 2
    assert not (files / "imported").exists()
    assert call("resume", "one", "inside.py", "--store", "runs.db").code == 0


def test_code_of_another_flow_is_refused(call, files, journal):
    made_up(journal, "one", flow="another")
    told = call("resume", "one", "good.py")
    assert told.code == 2
    assert "run 'one' is one of flow 'another', not of 'sums'" in told.err


def test_the_folder_of_a_shared_one_is_not_ours(call, files, monkeypatch, tmp_path):
    """Whoever may write to /tmp could put a .penstock there, and own the runs of all below."""
    shared = tmp_path / "shared"
    mine = shared / "mine"
    mine.mkdir(parents=True)
    (shared / ".penstock").mkdir()
    shared.chmod(0o1777)
    monkeypatch.chdir(mine)
    assert call("run", str(files / "good.py")).code == 0
    assert (mine / ".penstock" / "journal.db").exists()
    assert list((shared / ".penstock").iterdir()) == []


def test_a_run_that_died_here_is_cut_off(call, journal):
    made_up(journal, "one")
    with SqliteStore(journal) as store:
        store.claim("one", Owner(here().host, here().boot, 2**22 + 1, "1"), 1e9)
    assert "cut off" in call("runs").out
    assert call("runs", "--status", "cut-off").out.splitlines()[1].startswith("one ")
    assert call("runs", "--status", "running").err == "penstock: no such run\n"
