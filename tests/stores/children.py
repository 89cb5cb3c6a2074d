"""Processes of tests: forked ones that live, die or are killed at a chosen statement."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from penstock.core.errors import StoreError
from penstock.core.owners import here
from penstock.core.storage import Claim, Page, RunEntry, Store
from penstock.stores.sqlite import SqliteStore, driver, opening

KILLED = -signal.SIGKILL


def start(call: Callable[[], object]) -> int:
    """Makes a call in a forked process; gives its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Waits for a process: 0 if its call returned, 1 if it raised, `KILLED` if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(call: Callable[[], object]) -> int:
    return ended(start(call))


class DieAt:
    """Counts statements, and kills the process before one of them."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, statement: str) -> None:
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def dying_at(number: int) -> Any:
    """Within it connections are opened that kill the process; for a process that is forked for that."""
    die = DieAt(number)
    connect = driver.connect

    def connected(*args: Any, **named: Any) -> Any:
        connection = connect(*args, **named)
        if named.get("how", "rw") == "rw":
            connection.set_trace_callback(die)
        return connection

    opening.connect = connected  # type: ignore[attr-defined]
    try:
        yield
    finally:
        opening.connect = connect  # type: ignore[attr-defined]


def trace(store: SqliteStore, callback: Callable[[str], object]) -> None:
    """Calls back before each statement that a store writes with."""
    assert store._database is not None
    assert store._database.writer is not None
    store._database.writer.set_trace_callback(callback)


def until_error(append: Callable[[int], None], most: int = 100_000) -> tuple[int, StoreError]:
    """Calls with 1, 2, 3 and so on; gives the last number that went well, and the error of the next."""
    for number in range(1, most):
        try:
            append(number)
        except StoreError as error:
            return number - 1, error
    raise AssertionError("there was no error")


def begin(store: Store, run_id: str = "run", rows: Any = ("1",), **fields: Any) -> Claim:
    known: dict[str, Any] = {"flow": "flow", "status": "running", "created": 1.0, "updated": 2.0, "tags": {}}
    owner = fields.pop("owner", None) or here()
    return store.create(RunEntry(run_id, **(known | fields)), owner, 60.0, Page(1, rows))


def numbers(count: int, first: int = 1) -> list[str]:
    return [str(number) for number in range(first, first + count)]
