"""Where a store may lie, what its files are like, what is refused before anything runs (J09, J22, J24)."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.core.errors import StoreDamaged, StoreError, StoreTooNew
from penstock.core.owners import here
from penstock.core.storage import Page
from penstock.stores.sqlite import SqliteStore, migrations, places
from penstock.stores.sqlite.driver import FIXED, version

from .children import begin, ended, in_child, numbers, start, trace

NOBODY = 65534


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def bare() -> Iterator[None]:
    """No mask that would make files private by itself."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_its_files_are_for_this_user_alone(tmp_path: Path, bare: None) -> None:
    path = tmp_path / "new" / "deep" / "journal.db"
    with SqliteStore(path) as store:
        digest = store.put(b"v" * 50_000)
        begin(store)
        values = Path(f"{path}-values")
        for folder in (tmp_path / "new", tmp_path / "new" / "deep", values, values / digest[:2]):
            assert mode_of(folder) == 0o700
        for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock", values / digest[:2] / digest):
            assert mode_of(name) == 0o600
        assert store.check() == []


def test_files_that_others_may_read_are_told_of(path: Path) -> None:
    with SqliteStore(path) as store:
        path.chmod(0o644)
        said = store.check()
        assert [line for line in said if "0644" in line and f"`chmod go= {path}`" in line]


def test_after_closing_one_file_holds_all(path: Path) -> None:
    with SqliteStore(path) as store:
        begin(store)
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal.db", "journal.db.lock"]
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    with SqliteStore(copy) as store:
        assert store.warnings == []
        assert list(store.rows("run")) == ["1"]


def test_a_folder_in_which_all_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StoreError, match=f"chmod o-w {folder}"):
        SqliteStore(folder / "journal.db")
    assert list(folder.iterdir()) == []
    folder.chmod(0o1777)  # as /tmp: nobody can replace files of others
    SqliteStore(folder / "journal.db").close()


@pytest.mark.parametrize("ending", ["", ".lock", "-wal"])
def test_a_link_in_a_folder_for_all_is_taken_for_a_trap(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    aim = tmp_path / "aim"
    (folder / f"journal.db{ending}").symlink_to(aim)
    if ending:
        with pytest.raises(StoreError, match="trap"):
            SqliteStore(folder / "journal.db")
        assert not aim.exists()
    else:  # a link to the whole store is where the store is
        SqliteStore(folder / "journal.db").close()
        assert aim.exists()


def test_two_names_of_a_file_are_one_store(path: Path) -> None:
    link = path.with_name("link.db")
    with SqliteStore(path) as store:
        link.symlink_to(path)
        with SqliteStore(link) as other:
            assert other.path == store.path
            claim = begin(store)
            other.append(claim, Page(2, ["2"]))
            assert other._database is store._database
        store.append(claim, Page(3, ["3"]))
        assert list(store.rows("run")) == ["1", "2", "3"]


@pytest.mark.parametrize("what", ["text", "other database", "folder"])
def test_what_is_no_store_is_refused_and_left_alone(path: Path, what: str) -> None:
    match what:
        case "text":
            path.write_text("a,b\n" * 1_000)
        case "other database":
            connection = sqlite3.connect(path)
            connection.execute("CREATE TABLE precious (x)")
            connection.close()
        case "folder":
            path.mkdir()
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=str(path)):
        SqliteStore(path)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_store_that_was_emptied_is_not_begun_anew(path: Path) -> None:
    with SqliteStore(path) as store:
        begin(store)
    os.truncate(path, 0)
    with pytest.raises(StoreDamaged, match="it is empty"):
        SqliteStore(path)
    assert path.stat().st_size == 0
    path.unlink()  # deleted on purpose
    with SqliteStore(path) as store:
        assert store.runs() == []


# Reading only


def test_reading_only_makes_and_changes_nothing(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        SqliteStore(path, read_only=True)
    assert list(path.parent.iterdir()) == []
    with SqliteStore(path) as store:
        claim = begin(store)
    before = path.read_bytes()
    with SqliteStore(path, read_only=True) as store:
        assert list(store.rows("run")) == ["1"]
        assert len(store.runs()) == 1
        for call in (
            lambda: begin(store, "other"), lambda: store.append(claim, Page(2, ["2"])),
            lambda: store.claim("run", here(), 1.0), lambda: store.forget(["run"]), lambda: store.put(b"v"),
            lambda: store.post("run", "cancel"), lambda: store.renew(claim, 1.0),
            lambda: store.release(claim),
        ):  # fmt: skip
            with pytest.raises(StoreError, match="reading only"):
                call()
    assert path.read_bytes() == before
    assert not path.with_name("journal.db-values").exists()


def test_one_store_reads_while_another_of_the_process_writes(path: Path) -> None:
    SqliteStore(path).close()
    with SqliteStore(path, read_only=True) as reader:
        with SqliteStore(path) as writer:
            claim = begin(writer)
            assert list(reader.rows("run")) == ["1"]
            writer.append(claim, Page(2, ["2"]))
            with pytest.raises(StoreError, match="reading only"):
                reader.append(claim, Page(3, ["3"]))
        assert list(reader.rows("run")) == ["1", "2"]


def as_nobody(call: Callable[[], None]) -> None:
    """Makes a call with the rights of a user who has none."""

    def drop_and_call() -> None:
        if os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        call()

    assert in_child(drop_and_call) == 0


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that a user without rights can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_j09_a_folder_that_may_not_be_written_is_refused_before_anything_runs(common: Path) -> None:
    (common / "state").mkdir()
    (common / "state").chmod(0o555)

    def use() -> None:
        with pytest.raises(StoreError, match=r"/state may not be written .*0555"):
            SqliteStore(common / "state" / "journal.db")
        with pytest.raises(StoreError, match=r"/state/deep cannot be made"):
            SqliteStore(common / "state" / "deep" / "journal.db")

    as_nobody(use)


def test_j09_a_file_that_may_not_be_written_can_be_read(common: Path) -> None:
    path = common / "journal.db"
    with SqliteStore(path) as store:
        begin(store)
    path.chmod(0o444)
    common.chmod(0o755)

    def use() -> None:
        with pytest.raises(StoreError, match="may not be written"):
            SqliteStore(path)
        with SqliteStore(path, read_only=True) as store:
            assert list(store.rows("run")) == ["1"]

    as_nobody(use)


# Versions


def later(path: Path) -> None:
    """What a later version of this library would leave behind."""
    with SqliteStore(path) as store:
        begin(store, rows=numbers(5))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {migrations.VERSION + 1}")
    connection.execute("CREATE TABLE unheard_of (x)")
    connection.commit()
    connection.close()


def test_j24_a_later_version_is_read_and_not_written(path: Path) -> None:
    later(path)
    before = path.read_bytes()
    versions = f"version {migrations.VERSION + 1}.*up to {migrations.VERSION}"
    with SqliteStore(path) as store:
        (said,) = store.warnings
        assert "later version" in said
        assert list(store.rows("run")) == numbers(5)
        (entry,) = store.runs()
        with pytest.raises(StoreTooNew, match=versions):
            store.claim(entry.run_id, here(), 60.0)
        with pytest.raises(StoreTooNew, match=versions):
            begin(store, "other")
        with pytest.raises(StoreTooNew, match=versions):
            store.put(b"v")
    assert path.read_bytes() == before


def test_j21_every_connection_is_set_up(path: Path) -> None:
    with SqliteStore(path) as store:
        assert store.runs() == []
        database = store._database
        assert database is not None
        for connection in (database.writer, database._reader):
            assert connection is not None
            for name, value in {
                "wal_autocheckpoint": 0, "trusted_schema": 0, "cell_size_check": 1, "mmap_size": 0,
                "foreign_keys": 0, "journal_mode": "wal",
            }.items():  # fmt: skip
                found = connection.execute(f"PRAGMA {name}").fetchone()
                assert found in ((value,), None if name == "mmap_size" else (value,))
            with pytest.raises(sqlite3.Error):
                connection.execute("SELECT load_extension('x')")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database._reader.execute("DELETE FROM runs")  # type: ignore[union-attr]


def test_j21_an_old_sqlite_is_told_of() -> None:
    from penstock.stores.sqlite.care import hazards

    assert bool(hazards()) == (version() < FIXED)


def test_the_level_is_set_before_the_commit_and_kept(path: Path) -> None:
    statements: list[str] = []
    with SqliteStore(path) as store:
        trace(store, statements.append)
        claim = begin(store)
        for number, level in enumerate(["process", "power", "power", "process"], 2):
            store.append(claim, Page(number, [str(number)], level=level))  # type: ignore[arg-type]
        trace(store, None)  # type: ignore[arg-type]
    said = [line.rpartition(" ")[2] for line in statements if "synchronous" in line]
    assert said == ["NORMAL", "FULL", "NORMAL"]


# Network file systems

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/local xfs rw 0 0
//server/share /mnt/with\\040blank cifs rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
host /mnt/nine 9p rw 0 0
/dev/vdc /mnt/nine ext4 rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/journal.db", None),
        ("/tmp/journal.db", None),
        ("/home/me/journal.db", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/journal.db", None),
        ("/home/local/journal.db", None),
        ("/mnt/with blank/journal.db", "cifs"),
        ("/mnt/ssh/a/b", "fuse.sshfs"),
        ("/mnt/nine/journal.db", None),  # something local lies on top
    ],
)
def test_j22_network_file_systems_are_known(path: str, expected: str | None) -> None:
    assert places.network_file_system(path, MOUNTS) == expected


def test_j22_there_the_log_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "network_file_system", lambda path: "nfs4")
    opened = os.pipe()

    def use() -> None:
        os.read(opened[0], 1)
        with pytest.raises(StoreError, match="locked"):
            SqliteStore(path, busy=0.05)

    other = start(use)
    with SqliteStore(path) as store:
        (said,) = store.warnings
        assert "nfs4" in said
        claim = begin(store)
        for number in range(2, 20):
            store.append(claim, Page(number, [str(number)]))
        assert list(store.rows("run")) == numbers(19)
        assert not Path(f"{path}-wal").exists()
        os.write(opened[1], b"x")
        assert ended(other) == 0
        store.append(claim, Page(20, ["20"], status="succeeded"))
    with SqliteStore(path) as store:
        assert list(store.rows("run")) == numbers(20)
        assert store.check() == store.warnings
