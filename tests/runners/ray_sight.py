"""What tests see of Ray's processes: who they are, whose children, and where they listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path


def parent(pid: int) -> int:
    """Of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command(pid: int) -> bytes:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ray_processes() -> list[int]:
    """All that run below this process."""
    return descendants(os.getpid())


def descendants(pid: int) -> list[int]:
    """All that run below a process."""
    return list(_below(pid))


def _below(pid: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _below(int(child))
    except OSError:
        return


def listening(pids: list[int]) -> set[tuple[str, int]]:
    """Addresses and ports at which one of these processes takes connections."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.add((_shown(address), int(port, 16)))
    return found


def _sockets(pid: int) -> Iterator[str]:
    try:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(fd)
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def _shown(address: str) -> str:
    """An address as the kernel writes it: 32-bit words in the order of this machine's bytes."""
    words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
    raw = b"".join(words)
    if len(raw) == 16 and raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
