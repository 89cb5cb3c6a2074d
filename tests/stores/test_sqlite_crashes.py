"""Processes that are killed at every statement: what was acknowledged is there, and the rest whole or not at
all (J14, J23, J29)."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.core.errors import ClaimLost, RunBusy
from penstock.core.owners import here
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore, migrations

from .children import KILLED, begin, dying_at, in_child, numbers


def killed_at_each_statement(
    call: Callable[[], object], after: Callable[[int], object], most: int = 200
) -> None:
    """Makes a call in one process after another, each killed one statement later, until it is made whole."""
    for number in range(1, most):

        def die(number: int = number) -> None:
            with dying_at(number):
                call()

        code = in_child(die)
        after(number)
        if code != KILLED:
            assert code == 0
            assert number > 5, "the connection is not watched"
            return
    pytest.fail(f"still killed at statement {most}")


def test_a_page_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "journal.db", tmp_path / "acknowledged"
    pages = [numbers(1), numbers(1, 2), numbers(3, 3), numbers(1, 6), numbers(2, 7)]

    def write() -> None:
        path.unlink(missing_ok=True)
        (tmp_path / "journal.db.lock").unlink(missing_ok=True)
        for ending in ("-wal", "-shm", "-journal"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
        acknowledged.write_text("0")
        store = SqliteStore(path)
        claim = begin(store, rows=pages[0])
        acknowledged.write_text("1")
        row = 1
        for page in pages[1:]:
            status = "succeeded" if page is pages[-1] else None
            store.append(claim, Page(row + 1, page, status=status))
            row += len(page)
            acknowledged.write_text(str(row))
        store.close()

    def look(number: int) -> None:
        with SqliteStore(path) as store:
            assert store.warnings == []
            assert store.check() == []
            entry = store.find("run")
            rows = [] if entry is None else list(store.rows("run"))
            said = int(acknowledged.read_text())
            assert rows in (numbers(size) for size in (0, 1, 2, 5, 6, 8))
            assert len(rows) >= said
            if entry is not None:
                assert entry.status == ("succeeded" if len(rows) == 8 else "running")
            if entry is not None and entry.status == "running":  # its owner is dead, so it is taken at once
                claim, _ = store.claim("run", here(), 60.0)
                store.append(claim, Page(len(rows) + 1, ["more"]))
                assert list(store.rows("run")) == [*rows, "more"]

    killed_at_each_statement(write, look)


def test_j29_a_run_is_deleted_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.stores.sqlite import store as module

    monkeypatch.setattr(module, "_DIG", 10)
    path = tmp_path / "journal.db"
    with SqliteStore(path) as store:
        value = store.put(b"v" * 50_000)
        for run_id in ("a", "kept", "b"):
            claim = begin(store, run_id, tags={"x": run_id})
            store.post(run_id, "cancel")
            store.append(claim, Page(2, numbers(35, 2), blobs=[value], status="failed"))

    def forget() -> None:
        with SqliteStore(path) as store:
            store.forget(["a", "b"])

    def look(number: int) -> None:
        with SqliteStore(path) as store:
            assert store.check() == []
            there = {entry.run_id for entry in store.runs()}
            assert "kept" in there
            for run_id in ("a", "b"):
                assert (store.find(run_id) is not None) == (run_id in there)
                assert (store.runs(tags={"x": run_id}) != []) == (run_id in there)
                assert (store.letters(run_id) != []) == (run_id in there)
            for run_id in there:
                assert list(store.rows(run_id)) == numbers(36)
            assert store.get(value) == b"v" * 50_000
        states.append(there)

    states: list[set[str]] = []
    killed_at_each_statement(forget, look)
    assert {frozenset(state) for state in states} >= {frozenset({"a", "kept", "b"}), frozenset({"kept"})}
    with SqliteStore(path) as store:
        assert store.check() == []
        (rows,) = store._database.writer.execute("SELECT count(*) FROM journal").fetchone()  # type: ignore[union-attr]
        assert rows == 36


# Migrations

NEXT = """
-- What a later version might do.
ALTER TABLE letters ADD COLUMN seen INTEGER;
CREATE TABLE more (number INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;
UPDATE letters SET seen = 0;
"""


@pytest.fixture(params=[1, migrations.VERSION])
def old(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of version 1, or of this one, with a run in it."""
    path = tmp_path / "journal.db"
    with monkeypatch.context() as patch:
        steps = migrations.scripts()[: request.param]
        patch.setattr(migrations, "VERSION", request.param)
        patch.setattr(migrations, "scripts", lambda: steps)
        _fill(path)
    return path


def _fill(path: Path) -> None:
    with SqliteStore(path) as store:
        claim = begin(store)
        store.append(claim, Page(2, numbers(20, 2)))
        store.post("run", "cancel")
        store.append(claim, Page(22, [], status="failed"))


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """This library, one version on."""
    until_now = migrations.scripts()
    monkeypatch.setattr(migrations, "VERSION", len(until_now) + 1)
    monkeypatch.setattr(migrations, "scripts", lambda: [*until_now, NEXT])


def version_of(path: Path) -> int:
    with SqliteStore(path, read_only=True) as store, store._database.reading() as reader:  # type: ignore[union-attr]
        (version,) = reader.execute("PRAGMA user_version").fetchone()
        return int(version)


def test_j23_an_older_store_is_brought_up_and_a_copy_is_kept(old: Path, newer: None) -> None:
    was = version_of(old)
    with SqliteStore(old) as store:
        (said,) = store.warnings
        assert f"{old}.version-{was}" in said
        assert list(store.rows("run")) == numbers(21)
        assert store._database.writer.execute("SELECT seen FROM letters").fetchall() == [(0,)]  # type: ignore[union-attr]
    assert version_of(old) == migrations.VERSION
    copy = Path(f"{old}.version-{was}")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert version_of(copy) == was
    with SqliteStore(old) as store:
        assert store.warnings == []


def test_j23_a_migration_is_done_whole_or_not_at_all(old: Path, newer: None) -> None:
    seen: set[int] = set()
    was = version_of(old)

    def look(number: int) -> None:
        if not Path(f"{old}-journal").exists():
            seen.add(version_of(old))

    killed_at_each_statement(lambda: SqliteStore(old).close(), look)
    assert seen == set(range(was, migrations.VERSION + 1))
    with SqliteStore(old) as store:
        assert list(store.rows("run")) == numbers(21)
        assert len(store.letters("run")) == 1
        assert store._database.writer.execute("SELECT seen FROM letters").fetchall() == [(0,)]  # type: ignore[union-attr]


def test_j23_a_migration_that_fails_leaves_the_older_version(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_now = migrations.scripts()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "VERSION", len(until_now) + 1)
        patch.setattr(migrations, "scripts", lambda: [*until_now, NEXT + "INSERT INTO nowhere VALUES (1);"])
        with pytest.raises(Exception, match="nowhere"):
            SqliteStore(old)
    assert version_of(old) == len(until_now)
    with SqliteStore(old) as store:
        assert list(store.rows("run")) == numbers(21)


def test_j23_many_processes_bring_it_up_at_once(old: Path, newer: None) -> None:
    from .children import ended, start

    def use(name: str) -> None:
        with SqliteStore(old) as store:
            begin(store, name)

    children = [start(lambda name=name: use(name)) for name in "abcd"]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0] * 4
    with SqliteStore(old) as store:
        assert sorted(entry.run_id for entry in store.runs()) == ["a", "b", "c", "d", "run"]
        assert store.check() == []


def test_many_processes_make_the_store_at_once(tmp_path: Path) -> None:
    from .children import ended, start

    path = tmp_path / "state" / "journal.db"

    def use(name: str) -> None:
        with SqliteStore(path) as store:
            begin(store, name)

    children = [start(lambda name=name: use(name)) for name in "abcd"]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0] * 4
    with SqliteStore(path) as store:
        assert sorted(entry.run_id for entry in store.runs()) == ["a", "b", "c", "d"]


def test_j14_an_owner_that_died_right_after_its_claim_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    def claim_and_die() -> None:
        store = SqliteStore(path)
        begin(store)
        os._exit(0)

    assert in_child(claim_and_die) == 0
    with SqliteStore(path) as store:
        _, before = store.claim("run", here(), 60.0)
        assert before.owner is not None
        with pytest.raises(RunBusy):
            store.claim("run", here(), 60.0)


def test_j13_one_of_many_processes_gets_a_run_of_a_dead_one(tmp_path: Path) -> None:
    from .children import ended, start

    path = tmp_path / "journal.db"
    in_child(lambda: [begin(SqliteStore(path)), os._exit(0)])

    def race(name: str) -> None:
        with SqliteStore(path) as store:
            for place in range(20):
                try:
                    claim, _ = store.claim("run", here(), 60.0)
                except RunBusy:
                    continue
                rows = len(list(store.rows("run")))
                store.append(claim, Page(rows + 1, [f"{name}:{place}"]))
                store.release(claim)
                with pytest.raises(ClaimLost):
                    store.append(claim, Page(rows + 2, ["stale"]))

    children = [start(lambda name=name: race(name)) for name in "abcd"]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0] * 4
    with SqliteStore(path) as store:
        rows = list(store.rows("run"))
        entry = store.find("run")
        assert entry is not None
        assert entry.epoch == len(rows)  # one claim a row, and the first
        assert "stale" not in rows
