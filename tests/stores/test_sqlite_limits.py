"""What a store meets while it is in use: full disks, locks, files that go away, long readers, many runs."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import ClaimLost, StoreBusy, StoreError, StoreFull
from penstock.core.owners import here
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore, database, statements
from penstock.stores.sqlite.lock import FileLock

from .children import begin, in_child, numbers, start, until_error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def writer(store: SqliteStore) -> Any:
    assert store._database is not None
    return store._database.writer


# No space (J07)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("level", ["process", "power"])
def test_j07_a_full_disk_is_said_and_the_store_goes_on_when_there_is_space(
    path: Path, rows: int, level: Any
) -> None:
    with SqliteStore(path) as store:
        claim = begin(store, rows=[])
        (pages,) = writer(store).execute("PRAGMA page_count").fetchone()
        writer(store).execute(f"PRAGMA max_page_count = {pages + 8}")
        body = ["x" * 1_000] * rows
        pages, error = until_error(
            lambda page: store.append(claim, Page((page - 1) * rows + 1, body, level=level))
        )
        assert isinstance(error, StoreFull)
        assert f"no space left for {path}: " in str(error)
        assert f" MB are free in {path.parent}" in str(error)
        first = pages * rows + 1
        assert list(store.rows("run")) == ["x" * 1_000] * (first - 1)
        assert store.check() == []
        with pytest.raises(StoreFull):
            store.append(claim, Page(first, ["x" * 1_000] * rows, level=level))
        with pytest.raises(StoreFull):
            begin(store, "other", rows=["x" * 100_000])
        assert [entry.run_id for entry in store.runs()] == ["run"]
        writer(store).execute("PRAGMA max_page_count = 100000")
        store.append(claim, Page(first, ["x" * 1_000] * rows, level=level))
        assert len(list(store.rows("run"))) == first - 1 + rows
        begin(store, "other")
    with SqliteStore(path) as store:
        assert store.check() == []


def test_j07_a_file_that_may_not_grow(path: Path) -> None:
    """The limit of a process for its files is an error of the disk to SQLite."""

    def use() -> None:
        with SqliteStore(path) as store:
            claim = begin(store, rows=[])
            size = os.stat(f"{path}-wal").st_size
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, most))
            written, error = until_error(lambda row: store.append(claim, Page(row, ["x" * 1_000])))
            first = written + 1
            assert str(path) in str(error)
            assert error.transient or isinstance(error, StoreFull)
            with pytest.raises(StoreError, match="cannot be written"):
                store.put(b"v" * 1_000_000)
            assert not [name for _, _, names in os.walk(f"{path}-values") for name in names]
            assert list(store.rows("run")) == ["x" * 1_000] * (first - 1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            store.append(claim, Page(first, ["end"], status="succeeded"))
            store.get(store.put(b"v" * 1_000_000))
            assert len(list(store.rows("run"))) == first
            assert store.check() == []

    assert in_child(use) == 0
    with SqliteStore(path) as store:
        assert store.warnings == store.check() == []


# Faults of calls (J08)


class Faulty:
    """A connection whose statements fail when they should."""

    def __init__(self, connection: Any, fault: Callable[[str], None], after: bool) -> None:
        self._connection, self._fault, self._after = connection, fault, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *bound: Any) -> Any:
        return self._made(self._connection.execute, statement, *bound)

    def executemany(self, statement: str, bound: Any) -> Any:
        return self._made(self._connection.executemany, statement, bound)

    def _made(self, call: Callable[..., Any], statement: str, *bound: Any) -> Any:
        if not self._after:
            self._fault(statement)
        result = call(statement, *bound)
        if self._after:
            self._fault(statement)
        return result


def failing(store: SqliteStore, after: bool, number: int, error: Exception) -> None:
    """Makes the statement of this number fail, before or after it was carried out; once."""
    opened = store._database
    assert opened is not None
    left = [number]

    def fault(statement: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    opened.writer = Faulty(opened.writer, fault, after)  # type: ignore[assignment]
    store._cursor = Faulty(store._cursor, fault, after)  # type: ignore[assignment]


def mended(store: SqliteStore) -> None:
    assert store._database is not None
    store._database.writer = store._database.writer._connection  # type: ignore[union-attr]
    store._cursor = store._cursor._connection  # type: ignore[union-attr]


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_j08_j31_a_page_that_failed_can_be_tried_again(path: Path, after: bool) -> None:
    """At every statement, before it is carried out and after it was: the answer is lost, not the row."""
    with SqliteStore(path) as store:
        claim = begin(store, rows=[])
        value = store.put(b"v")
        first, failed = 1, list[bool]()
        for number in range(1, 13):
            letter = store.post("run", "cancel")
            for page in (
                Page(first, ["one"]),
                Page(first + 1, ["two", "three"], blobs=[value], read=[letter]),
                Page(first + 3, ["four"], status="running", level="power"),
            ):
                failing(store, after, number, io_error())
                try:
                    store.append(claim, page)
                except StoreError as error:
                    failed.append(error.transient)
                mended(store)
                store.append(claim, page)
            first += 4
            assert list(store.rows("run")) == ["one", "two", "three", "four"] * number
            assert store.letters("run") == []
        assert all(failed)
        assert 15 < len(failed) < 3 * 12  # the last rounds have fewer statements than that
        assert store.check() == []


# Locks (J12)


def test_j12_whoever_keeps_the_lock_is_named(path: Path) -> None:
    SqliteStore(path).close()
    ready, done = os.pipe(), os.pipe()

    def hold() -> None:
        lock = FileLock(f"{path}.lock")
        lock.take(5.0)
        os.write(ready[1], b"x")
        os.read(done[0], 1)

    child = start(hold)
    os.read(ready[0], 1)
    with pytest.raises(
        StoreBusy, match=rf"process {child} has held .*journal\.db\.lock for more than 0\.05 s"
    ) as caught:
        SqliteStore(path, busy=0.05)
    assert caught.value.transient
    os.write(done[1], b"x")
    with SqliteStore(path) as store:
        begin(store)
    os.waitpid(child, 0)


def test_j12_another_program_that_keeps_it_locked(path: Path) -> None:
    with SqliteStore(path, busy=0.05) as store:
        claim = begin(store)
        ready, done = os.pipe(), os.pipe()

        def hold() -> None:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            os.write(ready[1], b"x")
            os.read(done[0], 1)

        child = start(hold)
        os.read(ready[0], 1)
        for page in (Page(2, ["2"]), Page(2, ["2", "3"])):
            with pytest.raises(StoreBusy, match="locked by another program"):
                store.append(claim, page)
        assert list(store.rows("run")) == ["1"]
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        store.append(claim, Page(2, ["2"]))


# The file goes away (J32, J33)


@pytest.mark.parametrize("how", ["deleted", "replaced", "log deleted"])
def test_j32_a_store_that_goes_away_is_noticed_and_no_new_one_made(path: Path, how: str) -> None:
    other = path.with_name("other.db")
    with SqliteStore(other) as store:
        begin(store, "precious")
    store = SqliteStore(path)
    claim = begin(store)
    match how:
        case "deleted":
            path.unlink()
        case "replaced":
            other.replace(path)
        case "log deleted":
            Path(f"{path}-wal").unlink()
    with pytest.raises(StoreError, match=r"deleted|replaced") as caught:
        store.append(claim, Page(2, ["2"], status="succeeded"))
    assert not caught.value.transient
    with pytest.raises(StoreError, match=r"deleted|replaced"):
        begin(store, "another")
    store._database.look_at = 0.0  # type: ignore[union-attr]
    with pytest.raises(StoreError, match=r"deleted|replaced"):
        store.append(claim, Page(2, ["2"]))
    before = path.read_bytes() if path.exists() else None
    store.close()
    assert (path.read_bytes() if path.exists() else None) == before
    if how == "replaced":
        Path(f"{path}-wal").unlink()
        with SqliteStore(path) as store:
            assert [entry.run_id for entry in store.runs()] == ["precious"]


def test_j33_a_copy_without_its_log_says_that_commits_may_be_missing(path: Path, tmp_path: Path) -> None:
    """Also one into a folder where there was a store before."""
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "journal.db"

    def copy_while_in_use() -> None:
        with SqliteStore(path) as store:
            claim = begin(store)
            store._database.mutex.acquire()  # type: ignore[union-attr]
            store._database.checkpoint(statements.CHECKPOINT)  # type: ignore[union-attr]
            store._database.mutex.release()  # type: ignore[union-attr]
            store.append(claim, Page(2, ["2"]))
            shutil.copyfile(path, copy)
            copy.chmod(0o600)

    assert in_child(copy_while_in_use) == 0
    with SqliteStore(copy) as store:
        (said,) = store.warnings
        assert "copied while it was in use" in said
        assert store.check() == [said]
        assert list(store.rows("run")) == ["1"]
    with SqliteStore(copy) as store:
        assert store.warnings == []


def test_a_backup_is_whole(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup" / "journal.db"
    with SqliteStore(path) as store:
        claim = begin(store)
        value = store.put(b"v" * 50_000)
        store.append(claim, Page(2, ["2"], blobs=[value]))
        store.backup(copy)
        store.append(claim, Page(3, ["3"]))
        with pytest.raises(StoreError, match="already"):
            store.backup(copy)
    with SqliteStore(copy) as store:
        assert store.warnings == store.check() == []
        assert list(store.rows("run")) == ["1", "2"]
        assert store.get(value) == b"v" * 50_000
        assert copy.stat().st_mode & 0o777 == 0o600


# The log (J20)


def log_size(path: Path) -> int:
    return os.stat(f"{path}-wal").st_size


def test_j20_the_log_is_put_into_the_database_when_it_is_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PAGES", 200)
    with SqliteStore(path) as store:
        claim = begin(store)
        for number in range(2, 3_000):
            store.append(claim, Page(number, ["x" * 100]))
        assert log_size(path) < 2 * 200 * 2_100
        assert store.check() == []
        entry = store.find("run")
        assert entry is not None
        assert 2_500 < entry.rows < 3_000  # what is in the database by now is counted in it


def test_j20_a_reader_that_stays_lets_the_log_grow_only_as_long_as_it_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PAGES", 200)
    monkeypatch.setattr(database, "_LARGE", 1_000_000)
    with SqliteStore(path) as store:
        claim = begin(store)
        ready, done = os.pipe(), os.pipe()

        def read() -> None:
            other = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM journal").fetchone()
            os.write(ready[1], b"x")
            os.read(done[0], 1)

        child = start(read)
        os.read(ready[0], 1)
        for number in range(2, 1_500):
            store.append(claim, Page(number, ["x" * 100]))
        assert log_size(path) > 1_500 * 2_048
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for number in range(1_500, 2_000):
            store.append(claim, Page(number, ["x" * 100]))
        assert log_size(path) < 1_500_000
        assert store.check() == []


def test_rows_that_have_gone_at_the_end_of_a_run_are_missed(path: Path) -> None:
    """Of one that was cut off too: what is in the database is counted there."""
    with SqliteStore(path) as store:
        begin(store, rows=numbers(50))
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM journal WHERE id > (1 << 32) + 40")
    connection.commit()
    connection.close()
    with SqliteStore(path) as store:
        with pytest.raises(StoreError, match="10 rows of run 'run' are missing at its end: the file was cut"):
            list(store.rows("run"))
        (said,) = store.check()
        assert "10 rows" in said


# Large values that nobody needs any more


def test_values_that_no_run_speaks_of_go_after_an_hour(path: Path) -> None:
    with SqliteStore(path) as store:
        kept, old, young, never = (store.put(word * 10_000) for word in (b"k", b"o", b"y", b"n"))
        for run_id, value in (("a", kept), ("b", old), ("c", young)):
            claim = begin(store, run_id)
            store.append(claim, Page(2, ["2"], blobs=[value], status="failed"))
        folder = Path(f"{path}-values")
        for value in (kept, old, never):
            os.utime(folder / value[:2] / value, (1.0, 1.0))
        left = folder / kept[:2] / ".1-unfinished"
        left.write_bytes(b"half")
        os.utime(left, (1.0, 1.0))
        (folder / kept[:2] / ".2-on-its-way").write_bytes(b"half")
        assert store.forget(["b", "c"]) == 2
        assert {file.name for file in folder.glob("*/*")} == {kept, young, ".2-on-its-way"}
        assert store.get(kept) == b"k" * 10_000


def test_a_value_that_is_stored_again_stays(path: Path) -> None:
    with SqliteStore(path) as store:
        value = store.put(b"v" * 10_000)
        file = Path(f"{path}-values") / value[:2] / value
        os.utime(file, (1.0, 1.0))
        store.put(b"v" * 10_000)
        store.forget([])
        assert file.exists()


# Lists (J30)


@pytest.mark.parametrize(
    ("tags", "flow", "status"),
    [
        (0, False, False),
        (0, True, False),
        (0, False, True),
        (0, True, True),
        (1, False, False),
        (2, True, True),
    ],
)
def test_j30_lists_read_no_more_than_they_show(path: Path, tags: int, flow: bool, status: bool) -> None:
    query = statements.listing(tags, flow, status)
    bound = ["x"] * (query.count("?") - 2) + [1 << 31, 50]
    with SqliteStore(path) as store:
        begin(store)
        plan = [row[3] for row in writer(store).execute(f"EXPLAIN QUERY PLAN {query}", bound)]
    assert plan
    for line in plan:
        assert not line.startswith("SCAN"), plan
        assert "TEMP B-TREE" not in line, plan


def test_a_run_is_found_by_an_index(path: Path) -> None:
    with SqliteStore(path) as store:
        for query in (statements.FIND, statements.LIVE, statements.IS_USED, statements.LETTERS):
            bound = ["x"] * query.count("?")
            plan = [row[3] for row in writer(store).execute(f"EXPLAIN QUERY PLAN {query}", bound)]
            assert all(line.startswith("SEARCH") for line in plan), plan


def test_a_stale_claim_of_another_handle_is_noticed_by_the_short_way_too(path: Path, tmp_path: Path) -> None:
    """The one statement that adds a row looks at the claim itself."""
    with SqliteStore(path) as store:
        claim = begin(store)
        store.append(claim, Page(2, ["2"]))
        store.release(claim)
        other, _ = store.claim("run", here(), 60.0)
        store._database.next[claim.number] = claim.epoch, 3  # type: ignore[union-attr]  # as if it knew nothing
        with pytest.raises(ClaimLost):
            store.append(claim, Page(3, ["stale"]))
        store.append(other, Page(3, ["3"]))
        assert list(store.rows("run")) == ["1", "2", "3"]
