"""What a stored run tells of what its steps said and used; and how it travels."""

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import Flow, each
from penstock.core.entries import path_text
from penstock.core.errors import StoreError
from penstock.core.events import Logged, Measured, Progressed
from penstock.core.inside import Usage
from penstock.core.kept_notes import LogLine, told_by
from penstock.core.model import NodePath
from penstock.core.storage import Note
from penstock.stores.memory import MemoryStore


def work() -> Flow:
    flow = Flow("work")

    @flow.step
    def load() -> list[int]:
        return [1, 2]

    @flow.step
    def parse(row: int = each(load)) -> int:
        return row

    return flow


def note(kind: str, body: Any, path: NodePath | None = None, token: int = 0, at: float = 5.0) -> Note:
    path = path or NodePath("load")
    return Note(kind, path.node, path_text(path), token, at, json.dumps(body))


LOG = {"m": "hello", "l": "warning", "o": "app.db", "a": 2, "f": {"rows": 3}}


@pytest.fixture
def store() -> MemoryStore:
    """A store with a run, of which nothing is noted."""
    store = MemoryStore()
    work().run(store=store, run_id="r")
    assert store.notes("r", kind="usage") == []
    return store


@pytest.fixture
def run(store: MemoryStore) -> Any:
    return penstock.open(store).run("r")


# ----------------------------------------------------------------------------------------------------------
# Lines
# ----------------------------------------------------------------------------------------------------------


def test_a_line_is_told_whole(store, run):
    store.note("r", [note("log", LOG, NodePath("parse", (1, "é")), at=7.5), note("usage", {"c": 1.0})])
    (line,) = run.logs()
    assert line == LogLine(
        line.id, "parse[1,é]", "parse", 2, 0, 7.5, "warning", "app.db", "hello", {"rows": 3}
    )


def test_lines_of_a_step_of_an_item_and_from_one_on(store, run):
    paths = [NodePath("load"), NodePath("parse", (0,)), NodePath("parse", (1,)), NodePath("load")]
    store.note("r", [note("log", {"m": str(at)}, path) for at, path in enumerate(paths * 3)])
    every = run.logs()
    assert [line.message for line in every] == [str(at) for at in range(12)]
    assert [line.message for line in run.logs("load")] == ["0", "3", "4", "7", "8", "11"]
    assert [line.message for line in run.logs("parse[1]")] == ["2", "6", "10"]
    assert [line.message for line in run.logs("parse[1]", limit=2)] == ["2", "6"]
    assert [line.message for line in run.logs(after=every[9].id)] == ["10", "11"]
    assert [line.message for line in run.logs("load", after=every[4].id, limit=1)] == ["7"]
    assert run.logs(limit=0) == []


def test_many_lines_are_read_in_pages(store, run):
    store.note("r", [note("log", {"m": str(at)}, NodePath("parse", (at % 2,))) for at in range(5_000)])
    assert [line.message for line in run.logs()] == [str(at) for at in range(5_000)]
    assert len(run.logs(limit=4_001)) == 4_001
    assert [line.message for line in run.logs("parse[1]", limit=2_200)][-1] == "4399"


def test_a_step_that_is_not_there_is_no_silent_one(run):
    assert run.logs("parse") == run.logs("parse[0]") == []
    with pytest.raises(KeyError, match="there is no step 'prase' in run r; did you mean 'parse'"):
        run.logs("prase")
    with pytest.raises(KeyError):
        run.logs("parse[7]")


def test_usage_goes_with_attempts(store, run):
    store.note("r", [
        note("usage", {"u": [[["parse", 1], 1, 0.25, 1 << 30, True]]}),
        note("usage", {"u": [["load", 3, None, None, False]]}),
    ])  # fmt: skip
    assert run.usage() == {("parse[1]", 1): Usage(0.25, 1 << 30, True), ("load", 3): Usage(None, None, False)}
    assert (run.attempts("parse[1]")[0].path, run.attempts("parse[1]")[0].token) in run.usage()


def test_notes_are_events_again():
    path = NodePath("parse", (1, "x"))
    said = Logged(path, 2, "hello", {"rows": 3}, "warning", "app.db", 5.0)
    rows = [[["parse", 1, "x"], 4, 1.5, 7, False], ["load", 1, 0, None, True]]
    assert [*told_by(note("log", LOG, path))] == [said]
    assert [*told_by(note("progress", {"d": 3, "t": None, "x": "half"}, path))] == [
        Progressed(path, 3, None, "half")
    ]
    assert [*told_by(note("usage", {"u": rows}))] == [
        Measured(path, 4, 1.5, 7, False),
        Measured(NodePath("load"), 1, 0, None, True),
    ]
    assert [*told_by(note("of a later version", {}, path))] == []


# ----------------------------------------------------------------------------------------------------------
# What nobody has written
# ----------------------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, -1, 3, 10**30, 1.5, float("nan"), float("inf"), "", "x\0\x1b[2J\ud800", [], {}, [[]],
    {"m": {"m": 1}}, {"m": None, "l": "loud", "o": 3, "a": -1, "f": []}, {"d": "x"}, {"d": float("nan")},
    {"d": True, "t": "x", "x": 4}, {"u": 3}, {"u": [3, [], ["load"], ["load", 1]]},
    {"u": [["load", 1, "x", 1.5, 1], ["load", "1", 1, 1, True]]},
    {"u": [["load", 2, -1.0, -5, None], [["load", 1.5], 1, 1, 1, True], [[], 1, 1, 1, True], None]},
]  # fmt: skip


def test_what_makes_no_sense_in_a_note_hides_nothing(store, run):
    chance = random.Random(3)
    bodies = [json.dumps(one) for one in ODD] + ["", "{", "[" * 100_000, "nul\0", "9" * 10_000]
    paths = [*bodies, '"load"', '["load"]', '["load",1.5]', '["load",[]]', '["other",1]']
    for kind in ("log", "progress", "usage", "?"):
        for body in bodies:
            for path in chance.sample(paths, 5):
                try:
                    store.note("r", [Note(kind, "load", path, chance.randrange(3), 1.0, body)])
                except StoreError:
                    pytest.fail("a note that cannot be kept is no test of how it is read")
    kept = store.notes("r")
    told = [event for one in kept for event in told_by(one)]
    assert all(one.path.node == "load" for one in told)
    lines = run.logs()
    assert len(lines) == len([one for one in kept if one.kind == "log"])
    assert all(isinstance(line.message, str) and line.attempt >= 1 for line in lines)
    assert {line.level for line in lines} == {"info"}
    json.dumps([one._asdict() for one in run.usage().values()], allow_nan=False)
    assert "{" in [line.message for line in lines]


# ----------------------------------------------------------------------------------------------------------
# The graph
# ----------------------------------------------------------------------------------------------------------


def test_the_outline_is_that_of_the_graph(store, run):
    from penstock.core.outline import outline_of

    assert run.outline == outline_of(work().graph())


def test_the_outline_is_read_from_the_first_row_alone(store, run):
    rows = store._rows["r"]
    rows[1:] = ["no row"] * len(rows)
    assert [node.id for node in run.outline.nodes] == ["load", "parse"]


# ----------------------------------------------------------------------------------------------------------
# One file
# ----------------------------------------------------------------------------------------------------------


def exported(store: MemoryStore, to: Path) -> list[Any]:
    penstock.open(store).export("r", to)
    return [json.loads(line) for line in to.read_text().splitlines()[:-1]]


def forged(lines: list[Any]) -> bytes:
    text = b"".join(f"{json.dumps(line)}\n".encode() for line in lines)
    return text + f"{json.dumps(['end', len(lines), sha256(text).hexdigest()])}\n".encode()


def test_notes_travel_with_their_run(store, run, tmp_path):
    store.note("r", [note("log", {"m": f"\x1b{at}"}, at=at + 0.5) for at in range(2_100)])
    store.note("r", [note("progress", {"d": 1}), note("usage", {"u": [["load", 1, 1.0, None, True]]})])
    exported(store, tmp_path / "run")
    other = MemoryStore()
    there = penstock.open(other).import_(tmp_path / "run")
    assert [one[:-1] for one in other.notes("r")] == [one[:-1] for one in store.notes("r")]
    assert len(there.logs()) == len(run.logs())
    assert there.usage() == run.usage()


def test_a_file_of_the_time_before_notes_is_read(store, tmp_path):
    lines = exported(store, tmp_path / "run")
    lines = [line for line in lines if line[0] != "note"]
    lines[0][1] = 1
    (tmp_path / "run").write_bytes(forged(lines))
    other = MemoryStore()
    run = penstock.open(other).import_(tmp_path / "run")
    assert run.logs() == []
    assert dict(run.outputs) == {"load": [1, 2], "parse": [1, 2]}


@pytest.mark.parametrize(
    "bad",
    [
        ["log", "a", '"a"', 1, 5.0], ["log", "a", '"a"', 1, 5.0, "{}", 3],
        ["log", "a", '"a"', True, 5.0, "{}"], ["log", "a", '"a"', 1, 5.0, "\ud800"],
        ["log", "a", '"a"', -1, 5.0, "{}"], ["log", "a", '"a"', 1 << 63, 5.0, "{}"],
        ["log", "a", '"a"', 1, 5, "{}"], ["log", "a", '"a"', 1, float("nan"), "{}"],
        ["log", 3, '"a"', 1, 5.0, "{}"], ["log", "a", ["a"], 1, 5.0, "{}"], ["log", "a", '"a"', 1, 5.0, {}],
        [None, "a", '"a"', 1, 5.0, "{}"],
    ],
)  # fmt: skip
def test_a_note_that_none_can_write_is_refused_with_its_file(store, tmp_path, bad):
    lines = exported(store, tmp_path / "run")
    (tmp_path / "run").write_bytes(forged([*lines, ["note", *bad]]))
    other = MemoryStore()
    with pytest.raises(StoreError, match="is no run as `penstock export` writes it"):
        penstock.open(other).import_(tmp_path / "run")
    assert other.runs() == []
