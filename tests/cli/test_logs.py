"""What the steps of a run have said, read and followed from another process; see `held` for one of them."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from penstock.core.storage import Note
from penstock.stores.sqlite import SqliteStore
from tests.cli import held
from tests.cli.conftest import Call, steady
from tests.cli.held import Other

TALKS = """\
import logging
from penstock import Context, Flow, RetryPolicy, each

flow = Flow("talks")
logger = logging.getLogger("app.db")

@flow.step
def load() -> list[int]:
    print("loading")
    logger.error("one\\ntwo")
    return [1, 2]

@flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.001))
def parse(ctx: Context, row: int = each(load)) -> int:
    if row == 2 and ctx.attempt == 1:
        logger.warning("row %s is odd", row)
        raise ValueError("odd")
    ctx.log("parsed", row=row)
    return row
"""


@pytest.fixture
def talks(files: Path, call: Call) -> Call:
    """A run that is over."""
    (files / "pyproject.toml").write_text("")
    (files / "talks.py").write_text(TALKS)
    assert call("run", "talks.py").code == 0
    return call


def store_of(folder: Path) -> SqliteStore:
    return SqliteStore(folder / ".penstock" / "journal.db")


def bare(out: str) -> list[str]:
    """Lines without times, and with single blanks."""
    return [re.sub(r" +", " ", re.sub(r"^TIME\.\d{3} ", "", line)) for line in out.splitlines()]


def test_what_was_said_in_order(talks):
    told = talks("logs", "last")
    assert told.code == 0
    lines = bare(told.out)
    assert lines[:3] == [" load info stdout: loading", " load error app.db: one", " │ two"]
    assert sorted(lines[3:]) == [
        " parse[0] info parsed row=1",
        " parse[1] info attempt 2 parsed row=2",
        " parse[1] warning app.db: row 2 is odd",
    ]
    assert told.err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["load"], 3),
        (["parse"], 3),
        (["parse[1]"], 2),
        (["--level", "warning"], 3),
        (["--level", "error"], 2),
        (["--attempt", "2"], 1),
        (["parse[1]", "--attempt", "1"], 1),
        (["--tail", "2"], 2),
        (["--level", "error", "--tail", "5"], 2),
        (["parse", "--level", "critical"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_only_what_is_asked_for(talks, words, expected):
    told = talks("logs", "last", *words)
    assert (told.code, len(told.out.splitlines())) == (0, expected)
    assert told.err == ("" if expected else "penstock: of run RUN no such lines are kept\n")


def test_as_json(talks):
    told = [json.loads(line) for line in talks("logs", "last", "--json").out.splitlines()]
    assert told[0] == {
        "id": told[0]["id"], "path": "load", "node": "load", "attempt": 1, "token": told[0]["token"],
        "at": told[0]["at"], "level": "info", "origin": "stdout", "message": "loading", "fields": {},
    }  # fmt: skip
    assert told[1]["message"] == "one\ntwo"
    assert {"row": 2} in [one["fields"] for one in told]
    assert [one["id"] for one in told] == sorted(one["id"] for one in told)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["last", "lod"], "there is no step 'lod' in run RUN; did you mean 'load'?"),
        (["last", "parse[7]"], "there is no step 'parse[7]' in run RUN"),
        (["never"], "there is no run 'never'"),
        (["last", "--level", "loud"], "invalid choice: 'loud'"),
        (["last", "--tail", "0"], "takes a number of 1 or more, not '0'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there(talks, words, text):
    told = talks("logs", *words)
    assert (told.code, told.out) == (2, "")
    assert text in told.err


def test_follow_of_a_run_that_is_over_ends_at_once(talks):
    assert talks("logs", "last", "--follow").out == talks("logs", "last").out


# ----------------------------------------------------------------------------------------------------------
# While it goes on
# ----------------------------------------------------------------------------------------------------------


def test_lines_are_seen_while_the_step_still_runs(files):
    project = held.prepare(files)
    with held.held(project) as run:
        other = Other(project, "logs", "last", "hold", "--follow")
        other.until("forged")  # it waits to be told to go on
        assert held.let_go(project, run)[0] == 0
        code, out, err = other.end()
    assert (code, err) == (0, "")
    assert bare(steady(out)) == [
        " hold warning app: forged",
        " │ TIME.000 hold error all is lost\\x1b[2J",
        " hold info stdout: told on",
        " hold info stderr: let go",
    ]


def test_following_ends_when_the_process_of_the_run_dies(files):
    project = held.prepare(files)
    with held.held(project) as run:
        other = Other(project, "logs", "last", "-f", "--json")
        other.until("forged")
        assert held.let_go(project, run, "die")[0] == -signal.SIGKILL
        assert other.end()[0] == 0


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_l01_ctrl_c_ends_the_following_and_not_the_run(files, number, expected):
    project = held.prepare(files)
    with held.held(project) as run:
        other = Other(project, "logs", "last", "--follow")
        other.until("forged")
        other.process.send_signal(number)
        assert other.end()[0] == expected
        assert held.let_go(project, run)[0] == 0


def test_l05_when_nobody_reads_any_more_it_ends(files):
    project = held.prepare(files)
    with held.held(project) as run:
        other = Other(project, "logs", "last", "--follow")
        other.until("forged")
        other.stop_reading()
        held.tell(project, "more")  # which it cannot show to anybody
        assert other.end() == (0, "", "")
        assert held.let_go(project, run)[0] == 0


# ----------------------------------------------------------------------------------------------------------
# What a line may hold
# ----------------------------------------------------------------------------------------------------------

FORGED = {
    "newline": "x\n12:00:00.000  load  error  all is lost",
    "return": "x\r12:00:00.000  load  error  all is lost",
    "ansi": "\x1b[2J\x1b[1;1H\x1b]0;title\x07",
    "c1": "\x9b2J\x85next\u2028line\u2029paragraph",
    "bidi": "\u202eevil\u2066\u200f",
    "nul": "a\0b",
    "lone": "\ud800",
    "vertical": "a\vb\fc\x1cd",
}


def forged(text: str, where: str) -> Note:
    """A note with this text in one of its parts."""
    body: dict[str, Any] = {"m": "message", "o": "origin", "f": {"name": "value"}, "l": "info", "a": 1}
    path: Any = ["load", text] if where == "path" else "load"
    if where in ("m", "o"):
        body[where] = text
    elif where != "path":
        body["f"] = {"name": text} if where == "value" else {text: "value"}
    return Note("log", "load", json.dumps(path), 0, 1e9, json.dumps(body))


@pytest.mark.parametrize("where", ["m", "o", "key", "value", "path"])
def test_u06_no_step_can_forge_a_line_or_move_the_cursor(talks, files, where):
    with store_of(files) as store:
        (entry,) = store.runs()
    for name, text in FORGED.items():
        with store_of(files) as store:
            store.note(entry.run_id, [forged(text, where)])
        told = talks("logs", "last", "--tail", "1").out
        first, *more = told.split("\n")[:-1]
        assert all(one.isprintable() for one in told if one != "\n"), name
        assert first.startswith("2001-09-09 ")
        assert len(more) == (where == "m" and "\n" in text)
        assert all(line.startswith(" " * 30) for line in more)  # none begins where a time would stand
        told_whole = json.loads(talks("logs", "last", "--tail", "1", "--json").out)
        texts = [told_whole["message"], told_whole["origin"], told_whole["path"][len("load[") : -1]]
        assert steady(text) in [*texts, *told_whole["fields"], *told_whole["fields"].values()]


def test_a_malformed_note_is_shown_as_the_text_that_it_is(talks, files):
    with store_of(files) as store:
        (entry,) = store.runs()
        store.note(entry.run_id, [Note("log", "load", "?", 0, 1e18, "{no json\x1b[2J")])
    told = talks("logs", "last", "--tail", "1")
    assert told.code == 0
    assert told.out == "1e+18  load      info     {no json\\x1b[2J\n"
    assert json.loads(talks("logs", "last", "--tail", "1", "--json").out)["message"] == "{no json\x1b[2J"


def test_a_very_long_line_stays_one(talks, files):
    with store_of(files) as store:
        (entry,) = store.runs()
        store.note(entry.run_id, [Note("log", "load", '"load"', 0, 1.0, json.dumps({"m": "x" * 500_000}))])
    assert len(talks("logs", "last", "--tail", "1").out.splitlines()) == 1


# ----------------------------------------------------------------------------------------------------------
# Elsewhere
# ----------------------------------------------------------------------------------------------------------


def test_logs_travel_and_go_with_their_run(talks, files):
    with store_of(files) as store:
        (entry,) = store.runs()
    before = talks("logs", "last", "--json").out
    assert talks("export", "last", "run.penstock").code == 0
    assert talks("prune", "--keep", "0").code == 0
    assert talks("logs", entry.run_id).code == 2
    assert talks("import", "run.penstock").code == 0
    after = talks("logs", "last", "--json").out
    drop = re.compile(r'"id": \d+, ')
    assert drop.sub("", after) == drop.sub("", before)


def test_logs_need_no_code_of_the_run(talks, files):
    (files / "talks.py").unlink()
    assert len(talks("logs", "last").out.splitlines()) == 6
