"""Notes in the file of SQLite: found quickly, still there after a crash, checked, and saved from damage."""

import sqlite3
import time
from pathlib import Path

import pytest

from penstock.core.errors import StoreBusy, StoreDamaged
from penstock.core.storage import Note, Page
from penstock.stores.sqlite import SqliteStore, migrations, salvage
from penstock.stores.sqlite import statements as sql
from penstock.testing.store_notes import said, texts

from .children import begin, numbers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def older(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the time before there were notes."""
    with monkeypatch.context() as patch:
        steps = migrations.scripts()[: migrations.WITH_NOTES - 1]
        patch.setattr(migrations, "VERSION", len(steps))
        patch.setattr(migrations, "scripts", lambda: steps)
        with SqliteStore(path) as store:
            claim = begin(store)
            store.append(claim, Page(2, numbers(3, 2), status="failed"))
    return path


def test_an_older_store_has_no_notes_as_long_as_it_is_only_read(older: Path) -> None:
    with SqliteStore(older, read_only=True) as store:
        assert store.notes("run") == []
        assert list(store.rows("run")) == numbers(4)
        assert store.check() == []
        with SqliteStore(older) as writing:
            writing.note("run", [said("now")])
        assert texts(store.notes("run")) == ["now"]


def test_an_older_store_is_salvaged(older: Path, tmp_path: Path) -> None:
    assert salvage(older, tmp_path / "saved.db") == []
    with SqliteStore(tmp_path / "saved.db") as store:
        assert list(store.rows("run")) == numbers(4)
        assert store.notes("run") == []


def plan(store: SqliteStore, query: str, count: int) -> str:
    with store._database.reading() as reader:  # type: ignore[union-attr]
        return " ".join(str(row) for row in reader.execute(f"EXPLAIN QUERY PLAN {query}", ["1"] * count))


def test_no_question_about_notes_looks_at_those_of_other_runs_or_steps(path: Path) -> None:
    with SqliteStore(path) as store:
        by_node = plan(store, sql.some_notes(node=True, kind=None), 4)
        by_both = plan(store, sql.some_notes(node=True, kind="log"), 5)
        by_kind = plan(store, sql.some_notes(node=False, kind="usage"), 4)
        by_run = plan(store, sql.some_notes(node=False, kind="log"), 4)
        replace = plan(store, sql.DELETE_PROGRESS, 3)
    for found in (by_node, by_both):
        assert "INDEX notes_by_node (node=? AND rowid>? AND rowid<?)" in found
    assert "INDEX notes_by_kind (kind=? AND rowid>? AND rowid<?)" in by_kind
    assert "PRIMARY KEY (rowid>? AND rowid<?)" in by_run
    assert "INDEX notes_of_progress (path=? AND rowid>? AND rowid<?)" in replace
    assert "TEMP" not in by_node + by_both + by_kind + by_run


def test_whoever_writes_notes_waits_no_longer_than_asked_and_may_try_again(path: Path) -> None:
    with SqliteStore(path, busy=0.05) as store:
        begin(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as caught:
            store.note("run", [said("x")])
        assert caught.value.transient
        other.execute("ROLLBACK")
        other.close()
        store.note("run", [said("x")])
        assert texts(store.notes("run")) == ["x"]


def damaged(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "change", ["body = 'forged'", "node = 'other'", "kind = 'usage'", "at = 0.5", "digest = x'00'"]
)
def test_a_note_that_is_not_what_was_written_is_not_handed_out(path: Path, change: str) -> None:
    with SqliteStore(path) as store:
        begin(store)
        store.note("run", [said(str(number)) for number in range(3)])
        ids = [note.id for note in store.notes("run")]
    damaged(path, f"UPDATE notes SET {change} WHERE id = {ids[1]}")
    with SqliteStore(path) as store:
        with pytest.raises(StoreDamaged, match="penstock doctor"):
            store.notes("run")
        assert texts(store.notes("run", ids[1])) == ["2"]
        assert list(store.rows("run")) == numbers(1)
        (line,) = store.check()
        assert line.startswith("a note of run 'run' is not what was written")


def test_notes_of_a_run_that_is_not_there_are_noticed(path: Path) -> None:
    with SqliteStore(path) as store:
        begin(store)
        store.note("run", [said("x")])
    damaged(path, f"UPDATE notes SET id = id + {5 << 32}")
    with SqliteStore(path) as store:
        assert any("there are notes of run 6, and it is not in the catalog" in line for line in store.check())


def test_salvage_takes_the_notes_that_are_sound(path: Path, tmp_path: Path) -> None:
    with SqliteStore(path) as store:
        claim = begin(store)
        store.note("run", [said(str(number)) for number in range(2_500)])
        store.append(claim, Page(2, ["2"], status="failed"))
        begin(store, "other")
        store.note("other", [said("progress", kind="progress")])
        ids = [note.id for note in store.notes("run")]
    damaged(path, f"UPDATE notes SET body = 'forged' WHERE id = {ids[7]}")
    (left,) = salvage(path, tmp_path / "saved.db")
    assert left == "run 'run' is there, but 1 of its notes (logs, progress) are not what was written"
    with SqliteStore(tmp_path / "saved.db") as store:
        assert texts(store.notes("run")) == [str(number) for number in range(2_500) if number != 7]
        assert texts(store.notes("other")) == ["progress"]
        assert store.check() == []


def test_notes_survive_a_process_that_dies(path: Path) -> None:
    from .children import ended, start

    def use() -> None:
        import os

        store = SqliteStore(path)
        begin(store)
        store.note("run", [said("kept")])
        os._exit(9)

    assert ended(start(use)) == 9  # of its own accord, without closing anything
    with SqliteStore(path) as store:
        assert texts(store.notes("run")) == ["kept"]
        assert store.warnings == []


def test_a_copy_has_the_notes_too(path: Path, tmp_path: Path) -> None:
    with SqliteStore(path) as store:
        begin(store)
        store.note("run", [said("x")])
        store.backup(tmp_path / "copy.db")
    with SqliteStore(tmp_path / "copy.db") as store:
        assert texts(store.notes("run")) == ["x"]


def test_a_step_of_few_words_is_found_among_a_hundred_thousand(path: Path) -> None:
    """By what SQLite does, not by the clock: the rows that it steps over are counted."""
    with SqliteStore(path) as store:
        begin(store)
        many = [Note("log", "loud", '"loud"', 0, time.time(), '{"m":"x"}')] * 5_000
        for _ in range(20):
            store.note("run", many)
        store.note("run", [said("rare", "quiet")])
        database = store._database
        assert database is not None
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with database.reading() as reader:
            reader.set_progress_handler(count, 100)
        assert texts(store.notes("run", node="quiet")) == ["rare"]
        assert store.notes("run", kind="usage") == []
        with database.reading() as reader:
            reader.set_progress_handler(None, 0)
    assert steps < 20  # of a hundred instructions each
