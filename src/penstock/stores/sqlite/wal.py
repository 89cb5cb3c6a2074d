"""Reads what SQLite leaves beside a database after a crash, to tell whether commits were lost.

A log that was cut or damaged ends, for SQLite, where it stops being valid: the rest is dropped in silence.
Two witnesses remain: the index (``-shm``), which knows how many frames there were, and frames of the same
generation behind the valid ones. Formats are SQLite's own, as its documentation gives them.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import NamedTuple

_HEADER, _FRAME = 32, 24
_INDEX = struct.Struct("=IIIBBHII2I8s2I")  # one copy of the header of the index
_INDEX_SIZE = 136
_MAGIC = (0x377F0682, 0x377F0683)


class Index(NamedTuple):
    """What the index of a log says.

    Attributes:
        frames: That were committed.
        copied: Of them, those that a checkpoint had put into the database.
        salts: Tell the generation of the log from others.
    """

    frames: int
    copied: int
    salts: bytes


class Log(NamedTuple):
    """The head of a log.

    Attributes:
        size: Of the file.
        page: Bytes of a page; 0 if the head is not valid.
        salts: Its generation.
    """

    size: int
    page: int
    salts: bytes


def read_index(fd: int) -> Index | None:
    """The index in an open file; None if there is none that is whole.

    To open and close it while SQLite has it open in this process would drop SQLite's locks: whoever calls
    this sees to it.
    """
    os.lseek(fd, 0, os.SEEK_SET)  # the caller has it for itself
    data = os.read(fd, _INDEX_SIZE)
    if len(data) < _INDEX_SIZE or data[:48] != data[48:96]:
        return None
    version, _, _, started, _, _, frames, _, _, _, salts, sum1, sum2 = _INDEX.unpack(data[:48])
    if version != 3007000 or not started or (sum1, sum2) != _checksum(data[:40], "="):
        return None
    return Index(frames, int.from_bytes(data[96:100], sys.byteorder), salts)


def read_log(path: str) -> Log | None:
    """The head of the log of a database; None without one, or with an empty one."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    if not head:
        return None
    if len(head) < _HEADER:
        return Log(size, 0, b"")
    magic, _, page = struct.unpack(">III", head[:12])
    order = ">" if magic & 1 else "<"
    sums = struct.unpack(">II", head[24:32])
    right = magic in _MAGIC and sums == _checksum(head[:24], order)
    return Log(size, page if right else 0, head[16:24])


def lost(path: str, before: Index | None, now: Index | None) -> str:
    """What is missing from a log, in words; empty if all seems to be there.

    Args:
        path: Of the log.
        before: The index as the crash left it.
        now: The index as SQLite has made it from what was valid.
    """
    log = read_log(path)
    if log is None:
        if before is not None and before.frames > before.copied:
            return (
                f"the file {path} has gone or is empty, with {before.frames - before.copied} pages of commits"
            )
        return ""
    if not log.page:
        if before is not None and before.frames == before.copied:
            return ""  # all of it is in the database
        return f"the head of {path} is damaged or was cut: its commits are lost"
    valid = now.frames if now is not None and now.salts == log.salts else 0
    if before is not None and before.salts == log.salts and before.frames > max(valid, 0):
        if before.copied >= before.frames > 0 and valid == 0:
            return ""
        return f"{path} is damaged or was cut: {before.frames - valid} of {before.frames} pages are lost"
    behind, whole = _behind(path, log, valid)
    if behind:
        return f"{path} is damaged behind page {valid}: at least {behind} commits are lost"
    if before is None and not whole:
        return f"{path} ends within a transaction: if that had been committed, it is lost"
    return ""


def _behind(path: str, log: Log, valid: int) -> tuple[int, bool]:
    """How many commits of this generation lie behind the valid frames, and whether the file ends in order."""
    step = _FRAME + log.page
    commits, open_frames = 0, False
    with open(path, "rb", buffering=0) as file:
        for at in range(_HEADER + valid * step, log.size - step + 1, step):
            file.seek(at)
            head = file.read(_FRAME)
            if head[8:16] != log.salts:
                return commits, not open_frames  # of a generation before: SQLite has not come so far again
            if head[4:8] != b"\0\0\0\0":
                commits += 1
            else:
                open_frames = True
    return commits, not open_frames and (log.size - _HEADER) % step == 0


def _checksum(data: bytes, order: str) -> tuple[int, int]:
    first = second = 0
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, two in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
