"""Which process is meant, and whether it is dead."""

import os
import subprocess
import sys
from typing import Any

import pytest

from penstock.core import owners
from penstock.core.owners import here, is_dead
from penstock.testing.store_rig import process

from .children import in_child


def test_this_process_lives() -> None:
    assert not is_dead(here())
    assert here().pid == os.getpid()
    assert str(here()) == f"process {os.getpid()} on {here().host}"


def test_a_forked_process_is_another_one() -> None:
    parent = here()

    def look() -> None:
        assert here().pid == os.getpid() != parent.pid
        assert here().started != "" or not os.path.exists("/proc/self/stat")
        assert not is_dead(parent)

    assert in_child(look) == 0


def test_a_process_that_was_killed_is_dead_even_before_somebody_has_waited_for_it() -> None:
    with process() as (owner, child):
        assert not is_dead(owner)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
        assert is_dead(owner)
        child.wait(20)
        assert is_dead(owner)


def test_a_number_that_has_come_again_is_another_process() -> None:
    assert is_dead(here()._replace(started="1"))
    assert not is_dead(here()._replace(started=""))  # it is not known


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "boot": "other", "pid": 0}, False),
        ({"boot": "another-start pid:[4026531836]"}, True),
        ({"boot": ""}, False),
        ({"pid": 2**22 + 1}, True),
        ({"pid": 1, "started": ""}, False),
    ],
    ids=str,
)
def test_who_is_dead(changes: dict[str, Any], expected: bool) -> None:
    assert is_dead(here()._replace(**changes)) == expected


def test_a_process_of_another_container_cannot_be_seen() -> None:
    boot = here().boot.split(" ")[0]
    assert not is_dead(here()._replace(boot=f"{boot} pid:[1]", pid=2**22 + 1))


def test_without_proc_a_signal_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_state_of", lambda pid: None)
    monkeypatch.setattr(owners, "_boot", lambda: "")
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: not str(path).startswith("/proc") and exists(path))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = here()._replace(boot="", pid=child.pid, started="")
    assert not is_dead(owner)
    child.communicate()
    assert is_dead(owner)
    assert not is_dead(owner._replace(pid=1))
    assert not is_dead(owner._replace(pid=0))
