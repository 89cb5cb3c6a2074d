"""One file, opened once in a process however many stores use it: its connections, lock and checkpoints.

To open and close the file anywhere else in the process would drop the locks that SQLite holds on it. So this
module alone opens it, and never but by SQLite; a store that is opened twice shares what is here.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import StoreDamaged, StoreError, StoreTooNew
from penstock.core.storage import Level

from . import opening, places, tables, wal
from . import statements as sql
from .driver import Connection, Error, damaged, store_error
from .lock import FileLock, marks

_LOOK = 0.05  # seconds between two looks at whether the file is still the one that was opened
_TICK = 64  # commits between two looks at the size of the log
_FORKED = (
    "the store {} was open when this process was forked, and SQLite allows only one of the two to use it; "
    "fork first and open then, or start the process afresh (spawn)"
)
_PAGES = 4_000  # in the log, when it is put into the database: one part of its index
_SMALLEST = 512  # bytes of a file with anything in it
_LARGE = 64 * 1024 * 1024  # bytes of the log, when it is cut

_open: dict[str, Database] = {}
_inherited: set[tuple[int, int]] = set()  # files that were open when this process was forked
_opening = threading.RLock()
_never_closed: list[object] = []  # connections that this process must not close


def shared(path: str, busy: float, *, write: bool) -> Database:
    """The database of a path, for one more user; `Database.leave` gives it back."""
    with _opening:
        database = _open.get(path)
        if database is None:
            _refuse_inherited(path)
            database = Database(path)
            try:
                database.open_for_reading(busy, write=write)
                if write:
                    database.open_for_writing(busy)
            except BaseException:
                database.close(busy)
                raise
            _open[path] = database
        elif write:
            database.open_for_writing(busy)
        database.users += 1
        return database


class Database:
    """Two connections to one file: one that writes, under two locks, and one that reads.

    Attributes:
        mutex: Held by the thread that writes.
        writer: The connection that writes; None until somebody wants to.
        lock: Between processes; None until somebody wants to write.
        warnings: What those who use the store should know of it.
        next: By number of run, the epoch of its claim in this process and the row to come.
        look_at: When to look again whether the file is still there.
        ticks: Commits until the log is looked at.
        level: What commits survive, as last set.
        users: How many stores share it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.mutex = threading.Lock()
        self.writer: Connection | None = None
        self.lock: FileLock | None = None
        self.warnings: list[str] = []
        self.next: dict[int, tuple[int, int]] = {}
        self.look_at = 0.0
        self.ticks = _TICK
        self.level: Level | None = None
        self.users = 0
        self._reader: Connection | None = None
        self._reading = threading.Lock()
        self._closed = ""  # why it cannot be used any more
        self._too_new = ""
        self._identity: tuple[int, int] | None = None
        self._index: int | None = None  # the index of the log, open as long as SQLite has it open
        self._old_indexes: list[int] = []
        self._busy = 0.0  # seconds that SQLite waits for other programs
        self._network = places.network_file_system(path)

    # Opening

    def open_for_reading(self, busy: float, *, write: bool) -> None:
        """Looks at the file, and opens it for reading. Nothing is changed, and it is made only to `write`."""
        try:
            if write:
                lock = self._get_lock()
                with self._locked(busy):
                    opening.begin(self.path, busy, lock)
                    self._open_reader(busy)
            elif os.path.exists(self.path):
                with self._nobody_writing(busy) as quiet:
                    self._open_reader(busy, quiet=quiet)
            else:
                raise StoreError(f"there is no store at {self.path}")
        except Error as error:
            raise store_error(error, self.path) from None

    @contextmanager
    def _nobody_writing(self, busy: float) -> Iterator[bool]:
        """Keeps others from writing, without writing oneself; False if that cannot be."""
        if not os.path.exists(self.path + ".lock"):
            yield True  # a copy, perhaps
            return
        try:
            lock = FileLock(self.path + ".lock", make=False)
        except StoreError:
            yield False
            return
        try:
            yield lock.took_within(busy)
        finally:
            lock.close()  # which gives it back too

    def _open_reader(self, busy: float, *, quiet: bool = True) -> None:
        """Opens it for reading.

        Args:
            quiet: Nobody writes meanwhile: what the log and its index say goes together.
        """
        if os.path.getsize(self.path) < _SMALLEST:  # SQLite would take it for a new one, and delete the log
            raise damaged(self.path, "it was cut, and nothing is left of it")
        crashed = os.path.exists(self.path + "-wal")
        self._watch_index()
        before = wal.read_index(self._index) if self._index is not None else None
        self._reader = opening.reader(self.path, busy)
        state = opening.look(self._reader, self.path)
        self._watch_index()
        missing = self._missing(before, crashed) if state.in_wal_mode and quiet else ""
        if missing:
            self._report(missing, crashed)
        elif not state.too_new:
            opening.check_small(self._reader, self.path)
        self._too_new = state.too_new
        if self._too_new:
            self.warnings.append(self._too_new)
        self._remember()

    def _missing(self, before: wal.Index | None, crashed: bool) -> str:
        """What has gone of a file that was not closed in order; empty if all is there."""
        if crashed or before is not None:
            now = wal.read_index(self._index) if self._index is not None else None
            return wal.lost(self.path + "-wal", before, now)
        if marks(self.path + ".lock", self.path):
            return ""  # it was being opened or closed when its process died
        return (
            f"{self.path} was copied while it was in use, and without its log: the last commits may be lost; "
            "`penstock doctor` makes copies that are whole"
        )

    def _report(self, missing: str, crashed: bool) -> None:
        """Says that commits are missing, after a look at all that is there: it may be a mixture of times."""
        assert self._reader is not None
        opening.check_all(self._reader, self.path, missing)
        note = f"{missing}; what is left is sound"
        if crashed and self.lock is not None:
            note += f"; the log as it was is kept in {opening.keep_log(self.path)}"
        self.warnings.append(note)

    def open_for_writing(self, busy: float) -> None:
        """Opens it for writing too, if it is not, and brings it to the version of this library."""
        self.usable()
        if self.writer is not None or self._too_new:
            return
        try:
            lock = self._get_lock()
            assert self._reader is not None
            with self._locked(busy):
                if self._network:
                    self._reader.close()  # or it could not be locked for good
                    self._reader = None
                    self.warnings.append(
                        f"{self.path} lies on a network file system ({self._network}): it is locked for this "
                        "process alone, and slow; a local disk is the better place"
                    )
                self._busy = busy
                self.writer, copy = opening.writer(self.path, busy, network=bool(self._network))
                if copy:
                    self.warnings.append(
                        f"{self.path} is of a newer version now; the older is kept in {copy}"
                    )
                lock.mark(self.path)
                self._watch_index()
                self._remember()
        except Error as error:
            raise store_error(error, self.path) from None

    def _get_lock(self) -> FileLock:
        if self.lock is None:
            places.prepare(self.path)
            places.judge_files(self.path)
            self.lock = FileLock(self.path + ".lock")
        return self.lock

    @contextmanager
    def _locked(self, busy: float) -> Iterator[None]:
        assert self.lock is not None
        self.lock.take(busy)
        try:
            yield
        finally:
            self.lock.give()

    # Use

    def usable(self) -> None:
        if self._closed:
            raise StoreError(self._closed)

    def writable(self) -> Connection:
        """The connection that writes, to whoever holds `mutex`.

        Raises:
            StoreError: It is closed, or was inherited in a fork, or is for reading only.
        """
        if self.writer is None:
            self.usable()
            if self._too_new:
                raise StoreTooNew(self._too_new)
            raise StoreError(f"{self.path} was opened for reading only")
        return self.writer

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One short transaction that reads."""
        if self._network and self.writer is not None:
            with self.mutex:
                yield from self._transaction(self.writable(), sql.BEGIN_READING)
        else:
            with self._reading:
                self.usable()
                assert self._reader is not None
                yield from self._transaction(self._reader, sql.BEGIN_READING)

    @contextmanager
    def writing(self, busy: float, level: Level = "process") -> Iterator[Connection]:
        """One transaction that writes: committed at the end, or undone."""
        with self.mutex:
            writer = self.writable()
            assert self.lock is not None
            self.lock.take(busy)
            try:
                self.look()
                self.survive(level)
                yield from self._transaction(writer, sql.BEGIN)
                self.tick()
            finally:
                self.lock.give()

    def _transaction(self, connection: Connection, begin: str) -> Iterator[Connection]:
        try:
            connection.execute(begin)
            yield connection
            connection.execute(sql.COMMIT)
        except BaseException as error:
            self.undo(connection)
            if isinstance(error, Error):
                raise self.error(error) from None
            raise

    def undo(self, connection: Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute(sql.ROLLBACK)
            except Error:
                pass  # SQLite has undone it itself

    def error(self, error: BaseException) -> StoreError:
        """What an error is to those who use the store."""
        found = store_error(error, self.path)
        if self._too_new and isinstance(found, StoreDamaged):
            return StoreTooNew(f"{self._too_new}; this part of it cannot be read ({error})")
        return found

    def survive(self, level: Level) -> None:
        """What the commits to come survive."""
        if self.level != level:
            try:
                self.writable().execute(sql.SYNCHRONOUS[level])
            except Error as error:
                raise self.error(error) from None
            self.level = level

    # The file

    def _remember(self) -> None:
        info = os.stat(self.path)
        self._identity = (info.st_dev, info.st_ino)

    def look(self) -> None:
        """Whether the file is still the one that was opened.

        Raises:
            StoreError: It was deleted, or another one is in its place.
        """
        self.look_at = time.monotonic() + _LOOK
        try:
            info = os.stat(self.path)
            there = (info.st_dev, info.st_ino) == self._identity
            if self._index is not None:
                os.stat(self.path + "-wal")
        except FileNotFoundError:
            raise StoreError(
                f"{self.path} or its log was deleted while it was in use; "
                "nothing is written any more, and no new file was made"
            ) from None
        if not there:
            raise StoreError(
                f"{self.path} was replaced by another file while it was in use; nothing is written any more"
            )

    def _watch_index(self) -> None:
        """Opens the index of the log. It stays open: to close it would drop SQLite's locks on it."""
        try:
            found = os.stat(self.path + "-shm")
            if self._index is not None:
                if os.fstat(self._index).st_ino == found.st_ino:
                    return
                self._old_indexes.append(self._index)
                self._index = None
            self._index = os.open(self.path + "-shm", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            pass

    def tick(self) -> None:
        """After a commit, now and then: puts the log into the database when it is long. The caller has the
        locks. What goes wrong here is tried again later; the commit is safe."""
        self.ticks = _TICK
        if self._index is None or self.writer is None:
            return
        index = wal.read_index(self._index)
        if index is None or index.frames - index.copied < _PAGES:
            return
        try:
            self.count_rows()
            self.checkpoint(sql.CHECKPOINT)
            if os.stat(self.path + "-wal").st_size > _LARGE:
                self.writer.execute(sql.DO_NOT_WAIT)
                self.checkpoint(sql.TRUNCATE)
                self.writer.execute(sql.wait(self._busy))
        except (*Error, OSError) as error:
            note = f"the log of {self.path} could not be put into it ({error}); it grows until that succeeds"
            if note not in self.warnings:
                self.warnings.append(note)

    def checkpoint(self, statement: str) -> None:
        assert self.writer is not None
        self.writer.execute(statement).fetchall()

    def count_rows(self) -> None:
        """Notes how many rows the runs that are driven have. What is in the database then is counted there,
        and what is not is in the log, which SQLite checks: no row can be lost without being missed."""
        assert self.writer is not None
        self.writer.execute(sql.BEGIN)
        try:
            tables.count_rows(self.writer, self.path)
            self.writer.execute(sql.COMMIT)
        except BaseException:
            self.undo(self.writer)
            raise

    # The end

    def leave(self, busy: float) -> None:
        """One user less; the last one closes it."""
        with _opening:
            self.users -= 1
            if self.users <= 0 and _open.get(self.path) is self:
                del _open[self.path]
                self.close(busy)

    def close(self, busy: float) -> None:
        """Closes it in order: after this the file is whole without its log, unless others have it open."""
        with self.mutex, self._reading:
            if self._closed:
                return
            self._closed = f"the store {self.path} is closed"
            reader, writer = self._reader, self.writer
            self._reader = self.writer = None
            try:
                if writer is not None and self.lock is not None:
                    self._close_writer(reader, writer, busy)
                elif reader is not None:
                    reader.close()
            finally:
                self._close_files()

    def _close_writer(self, reader: Connection | None, writer: Connection, busy: float) -> None:
        assert self.lock is not None
        try:
            self.lock.take(busy)
            self.look()
        except StoreError:  # to close it now would be unsafe, or delete the log of another file
            _keep_open(reader, writer)
            return
        try:
            if reader is not None:
                reader.close()
            self.writer = writer
            self.survive("power")
            self.count_rows()
            writer.execute(sql.DO_NOT_WAIT)
            writer.execute(sql.NO_WAL).fetchall()
        except (*Error, StoreError):
            pass  # others have it open: what was committed is in the log
        finally:
            self.writer = None
            writer.close()
            self.lock.give()

    def _close_files(self) -> None:
        for fd in (self._index, *self._old_indexes):
            if fd is not None:
                os.close(fd)
        self._index, self._old_indexes = None, []
        if self.lock is not None:
            self.lock.close()

    def forked(self) -> None:
        """In a forked process: lets go of all, and closes only copies of what is no lock of SQLite's."""
        if not self._closed:
            _keep_open(self._reader, self.writer)
            self._reader = self.writer = None
            self._closed = _FORKED.format(self.path)
            if self._identity is not None:
                _inherited.add(self._identity)
            self.mutex, self._reading = threading.Lock(), threading.Lock()  # their holders are not here
            self._close_files()


def _close_all() -> None:
    for database in list(_open.values()):
        database.close(1.0)
    _open.clear()


def _after_fork() -> None:
    global _opening
    _opening = threading.RLock()
    for database in list(_open.values()):
        database.forked()
    _open.clear()


def _refuse_inherited(path: str) -> None:
    """SQLite believes that it holds locks on what was open when the process was forked, and it has none."""
    if _inherited and os.path.exists(path):
        info = os.stat(path)
        if (info.st_dev, info.st_ino) in _inherited:
            raise StoreError(_FORKED.format(path))


def _keep_open(*connections: object) -> None:
    if not _never_closed:
        atexit.register(_leak)
    _never_closed.extend(connections)


def _leak() -> None:
    """At the end of the process: keeps the interpreter from closing what it drops."""
    import ctypes

    for thing in _never_closed:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
