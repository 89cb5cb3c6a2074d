"""Which process drives a run, and whether it is still there."""

from __future__ import annotations

import os

from .storage import Owner

_GONE = ("Z", "X", "x")  # states of a process that does nothing any more: zombie, dead

_me: Owner | None = None


def here() -> Owner:
    """This process."""
    global _me
    pid = os.getpid()
    if _me is None or _me.pid != pid:  # a fork has another id
        state = _state_of(pid)
        _me = Owner(_host(), _boot(), pid, state[1] if state else "")
    return _me


def is_dead(owner: Owner) -> bool:
    """Whether a process has certainly come to its end. False where that cannot be known from here.

    A process on another machine may live, and so may one in another container of this machine, which cannot
    be seen from here. What ran before this machine was started again is dead.
    """
    if owner.host != _host():
        return False
    (boot, _, space), (then, _, its_space) = _boot().partition(" "), owner.boot.partition(" ")
    if boot != then:
        return bool(boot and then)
    if space != its_space:
        return False
    if os.path.exists("/proc/self/stat"):
        state = _state_of(owner.pid)
        if state is None:
            return not os.path.exists(f"/proc/{owner.pid}")  # not allowed to read it: it is there
        return state[0] in _GONE or (bool(owner.started) and state[1] != owner.started)
    return _no_such_process(owner.pid)


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "")


def _boot() -> str:
    """Tells starts of the machine apart, and behind a blank the processes of one container from others."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _state_of(pid: int) -> tuple[str, str] | None:
    """State and start of a process, as Linux tells them."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return None


def _no_such_process(pid: int) -> bool:
    if os.name != "posix" or pid <= 0:  # elsewhere signal 0 is one that ends the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
