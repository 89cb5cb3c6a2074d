"""Many processes at one file, and processes that are forked from one that has it open (J12, S22)."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock.core.errors import StoreError
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore

from .children import begin, ended, in_child, numbers, start, until_error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_j12_two_processes_write_and_one_reads_and_none_is_locked_out(path: Path) -> None:
    def write(run_id: str) -> None:
        with SqliteStore(path) as store:
            claim = begin(store, run_id)
            for number in range(2, 2_000):
                store.append(claim, Page(number, [str(number)]))
            store.append(claim, Page(2_000, ["2000"], status="succeeded"))

    SqliteStore(path).close()
    writers = [start(lambda run_id=run_id: write(run_id)) for run_id in "ab"]  # type: ignore[misc]
    with SqliteStore(path, read_only=True) as store:
        seen = 0
        while len(store.runs(status="succeeded")) < 2 and seen < 100_000:
            for entry in store.runs():
                rows = list(store.rows(entry.run_id))
                assert rows == numbers(len(rows))
                seen += 1
    assert [ended(writer) for writer in writers] == [0, 0]
    with SqliteStore(path) as store:
        assert store.warnings == store.check() == []
        assert list(store.rows("a")) == list(store.rows("b")) == numbers(2_000)


def test_processes_put_the_log_away_while_others_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.stores.sqlite import database

    monkeypatch.setattr(database, "_PAGES", 20)
    monkeypatch.setattr(database, "_TICK", 3)

    def write(run_id: str) -> None:
        for part in range(5):  # and opens and closes it
            with SqliteStore(path) as store:
                claim = begin(store, f"{run_id}-{part}")
                for number in range(2, 100):
                    store.append(claim, Page(number, [str(number)]))

    writers = [start(lambda run_id=run_id: write(run_id)) for run_id in "abc"]  # type: ignore[misc]
    assert [ended(writer) for writer in writers] == [0] * 3
    with SqliteStore(path) as store:
        assert store.warnings == store.check() == []
        for entry in store.runs():
            assert list(store.rows(entry.run_id)) == numbers(99)
        assert len(store.runs()) == 15


def test_s22_a_forked_process_does_not_use_what_it_inherits(path: Path) -> None:
    with SqliteStore(path) as store:
        claim = begin(store)

        def use() -> None:
            for call in (
                store.runs,
                lambda: store.append(claim, Page(2, ["x"])),
                lambda: begin(store, "other"),
            ):
                with pytest.raises(StoreError, match="forked"):
                    call()
            store.close()
            for read_only in (False, True):  # SQLite would take no locks for it
                with pytest.raises(StoreError, match="forked"):
                    SqliteStore(path, read_only=read_only)
            with SqliteStore(path.with_name("other.db")) as other:
                begin(other)

        assert in_child(use) == 0
        store.append(claim, Page(2, ["2"], status="succeeded"))
        assert store.check() == []
    assert in_child(lambda: SqliteStore(path).close()) == 0  # it is closed here by now


def test_s22_a_fork_in_the_middle_of_a_commit(path: Path) -> None:
    """The forked process must neither keep the lock nor wait for a thread that is not there."""
    with SqliteStore(path) as store:
        claim = begin(store)
        database = store._database
        assert database is not None
        with database.writing(1.0):
            child = start(lambda: SqliteStore(path.with_name("other.db")).close())
            assert ended(child) == 0

            def use() -> None:
                with pytest.raises(StoreError, match="forked"):
                    store.append(claim, Page(2, ["2"]))

            assert in_child(use) == 0
        store.append(claim, Page(2, ["2"]))


def test_s22_a_lock_does_not_live_on_in_a_forked_process(path: Path) -> None:
    """Whoever holds it dies, and a process that was forked meanwhile lives on."""
    hold, told = os.pipe(), os.pipe()

    def die_in_a_commit() -> None:
        store = SqliteStore(path)
        begin(store)
        database = store._database
        assert database is not None
        with database.writing(1.0):
            start(lambda: (os.write(told[1], b"x"), os.read(hold[0], 1)))
            os.read(told[0], 1)
            os._exit(0)

    try:
        assert in_child(die_in_a_commit) == 0
        with SqliteStore(path, busy=1.0) as store:
            assert list(store.rows("run")) == ["1"]
    finally:
        os.write(hold[1], b"x")


FORKER = """
import os, sys
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore
from tests.stores.children import begin

store = SqliteStore(sys.argv[1])
claim = begin(store)
pid = os.fork()
if not pid:
    sys.exit(0)  # ends like any program, and closes what it has
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
store.append(claim, Page(2, ["2"]))
if sys.argv[2] == "closed":
    store.close()
"""


ORPHAN = """
import os, sys
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore
from tests.stores.children import begin

store = SqliteStore(sys.argv[1])
claim = begin(store)
alive, parent = os.pipe()
if os.fork():
    store.append(claim, Page(2, ["2"]))
    os._exit(0)
os.close(parent)
os.read(alive, 1)  # until the other process has ended
sys.exit(0)
"""


def test_s22_a_forked_process_that_outlives_the_other_leaves_the_log_alone(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # until both have ended, for both have its output
        [sys.executable, "-c", ORPHAN, str(path)], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Path(f"{path}-wal").stat().st_size > 0
    with SqliteStore(path) as store:
        assert store.warnings == []
        assert list(store.rows("run")) == ["1", "2"]


@pytest.mark.parametrize("how", ["closed", "not closed"])
def test_s22_a_forked_process_that_ends_in_order_closes_nothing(path: Path, how: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", FORKER, str(path), how], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(f"{path}-wal").exists()  # what is not closed is closed at the end of the process
    with SqliteStore(path) as store:
        assert store.warnings == store.check() == []
        assert list(store.rows("run")) == ["1", "2"]


def test_stores_of_one_file_share_their_connections(path: Path) -> None:
    first, second = SqliteStore(path), SqliteStore(path)
    assert first._database is second._database
    claim = begin(first)
    first.close()
    first.close()
    with pytest.raises(StoreError, match="is closed"):
        first.runs()
    second.append(claim, Page(2, ["2"]))
    second.close()
    with SqliteStore(path) as third:
        assert list(third.rows("run")) == ["1", "2"]


def test_it_may_be_closed_in_another_thread_while_it_is_used(path: Path) -> None:
    store = SqliteStore(path)
    claim = begin(store, rows=[])
    closer = threading.Thread(target=store.close)

    def append(row: int) -> None:
        store.append(claim, Page(row, [str(row)]))
        if row == 50:
            closer.start()

    written, error = until_error(append)
    assert "is closed" in str(error)
    closer.join(20)
    with SqliteStore(path) as again:
        assert list(again.rows("run")) == numbers(written)
