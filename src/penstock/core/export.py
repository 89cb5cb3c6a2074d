"""A run as one file, and back: lines of JSON in ASCII, each an array of a word and what it is about.

The first line says what the file is, the last one how many there are and the SHA-256 of all before it. A file
is checked whole before anything of it is stored; what is in it is data, and none of it is run or looked up.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BufferedIOBase
from math import isfinite
from typing import Any, Final, NamedTuple

from .entries import text_of
from .errors import RunExists, StoreError, ValueLost
from .leases import LASTS
from .model import RunStatus
from .owners import here
from .resume import ENDED, story_of
from .standing import Fold
from .storage import LETTERS, Note, Page, RunEntry, Store

FORMAT: Final = "penstock-run"
VERSION: Final = 2
"""From 2 on there are notes; a file of version 1 is one without."""

_BLOB: Final = re.compile(r'"\$blob":"([0-9a-f]{64})"')
_LINE: Final = 2 << 30  # bytes of a line: values of up to a billion, and what stands around them
_NOTES: Final = 1_000  # that are read, or stored, at a time
_KEPT: Final = ("flow", "status", "created", "updated", "tags", "parent", "target", "about")


def write(store: Store, entry: RunEntry, path: str | os.PathLike[str]) -> None:
    """Writes a run into a new file, which only its owner may read.

    Args:
        store: Where it is.
        entry: The run; nobody drives it.
        path: Of the file.

    Raises:
        StoreError: There is a file already, or it cannot be written; or the run cannot be read whole.
    """
    name = os.fspath(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(name, flags, 0o600)
    except FileExistsError:
        raise StoreError(f"there is a file {name!r} already, and none is overwritten") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{name!r} cannot be written: {_said(error)}") from None
    try:
        with os.fdopen(number, "wb") as file:
            digest, count = sha256(), 0
            for line in _lines(store, entry):
                text = f"{text_of(line)}\n".encode("ascii")
                digest.update(text)
                count += 1
                file.write(text)
            file.write(f"{text_of(['end', count, digest.hexdigest()])}\n".encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)  # it is ours: nobody else could make it
        if isinstance(error, OSError):
            raise StoreError(f"{name!r} cannot be written: {_said(error)}") from None
        raise


def _lines(store: Store, entry: RunEntry) -> Iterator[list[Any]]:
    yield [FORMAT, VERSION, entry.run_id, {name: getattr(entry, name) for name in _KEPT}]
    todo: list[str] = []
    seen: set[str] = set()
    rows = 0
    for text in store.rows(entry.run_id):
        rows += 1
        todo += _BLOB.findall(text)
        yield ["row", text]
    if not rows:
        raise StoreError(f"run {entry.run_id} has no journal")
    for letter in store.letters(entry.run_id):
        yield ["letter", letter.kind, letter.node, letter.body]
    after = 0
    while notes := store.notes(entry.run_id, after, limit=_NOTES):
        for note in notes:
            yield ["note", *note[:-1]]
        after = notes[-1].id
    while todo:
        digest = todo.pop()
        if digest in seen:
            continue
        seen.add(digest)
        body = store.get(digest)
        todo += _BLOB.findall(body.decode("ascii", "replace"))  # a large value may have large parts
        yield ["value", digest, b64encode(body).decode("ascii")]


class _Run(NamedTuple):
    """What a file says in its first line, and the rows in it."""

    run_id: str
    about: Mapping[str, Any]
    rows: list[str]


def read(store: Store, path: str | os.PathLike[str]) -> str:
    """Stores the run of a file, and gives its id.

    Args:
        store: Where it goes.
        path: Of the file.

    Raises:
        RunExists: There is a run of its id.
        StoreError: It is no such file, is not as it was written, or cannot be stored.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            run, digests = _check(file, name)
            if store.find(run.run_id) is not None:
                raise RunExists(f"there is a run {run.run_id!r} in the store already, and it stays as it is")
            file.seek(0)
            _store(store, run, digests, file, name)
    except (OSError, ValueError) as error:
        raise StoreError(f"{name!r} cannot be read: {_said(error)}") from None
    return run.run_id


def _check(file: BufferedIOBase, name: str) -> tuple[_Run, list[str]]:
    """Reads all of a file; gives the run, and the digests of its large values."""
    run: _Run | None = None
    known: set[str] = set()
    wanted: set[str] = set()
    rows: list[str] = []
    for word, *fields in _read(file, name):
        try:
            if run is None:
                run = _head(word, fields, name)
                rows = run.rows
            elif word == "row":
                (text,) = fields
                rows.append(text + "")
                wanted.update(_BLOB.findall(text))
            elif word == "value":
                digest, body = fields[0], b64decode(fields[1], validate=True)
                if len(fields) != 2 or sha256(body).hexdigest() != digest:
                    raise ValueError(f"value {digest!r} is another one")
                known.add(digest)
                wanted.update(_BLOB.findall(body.decode("ascii", "replace")))
            elif word == "letter":
                kind, node, letter = fields
                if kind not in LETTERS or type(node) is not str or type(letter) is not str:
                    raise ValueError("it has a letter that none can write")
            elif word == "note":
                _note(fields)
            else:
                raise ValueError(f"it has a line {word!r}")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _broken(name, str(error)) from None
    if run is None or not rows:
        raise _broken(name, "it holds no run")
    if wanted - known:
        raise ValueLost(f"{name!r}: {len(wanted - known)} of its large values are missing")
    _check_rows(run, name)
    return run, sorted(known)


def _note(fields: list[Any]) -> Note:
    kind, node, path, token, at, body = fields
    fits = all(type(text) is str for text in (kind, node, path, body))
    if not (fits and type(token) is int and 0 <= token < 1 << 63 and type(at) is float and isfinite(at)):
        raise ValueError("it has a note that none can write")
    for text in (kind, node, path, body):
        text.encode()  # or no store could keep it
    return Note(kind, node, path, token, at, body)


def _head(word: str, fields: list[Any], name: str) -> _Run:
    if word != FORMAT:
        raise ValueError("it does not begin as one")
    version, run_id, about = fields
    if type(version) is not int or version > VERSION:
        raise StoreError(f"{name!r} was written by a later version of Penstock; update it to read the file")
    texts = (run_id, about["flow"], *_texts(about["tags"]), *_texts(about["about"]))
    texts += tuple(about[one] for one in ("parent", "target") if about[one] is not None)
    if not all(type(text) is str for text in texts) or not run_id.strip() or len(run_id) > 200:
        raise ValueError("its first line says what cannot be")
    if not run_id.isprintable():
        raise ValueError("the run's id is not printable")
    RunStatus(about["status"])
    times = {name: float(about[name]) for name in ("created", "updated")}
    if not all(map(isfinite, times.values())):
        raise ValueError("its first line says what cannot be")
    return _Run(run_id, {**about, **times}, [])


def _texts(mapping: Mapping[str, str]) -> Iterator[Any]:
    for item in mapping.items():
        yield from item


def _check_rows(run: _Run, name: str) -> None:
    """Whether the rows are the journal of that run."""
    store: Any = _Rows(run.rows)
    entry = RunEntry(run.run_id, run.about["flow"], run.about["status"], 0.0, 0.0, {})
    try:
        story = story_of(store, entry)
    except (LookupError, TypeError, AttributeError) as error:
        raise _broken(name, f"its journal says what cannot be ({error})") from None
    try:
        said = story.started["run_id"], story.started["flow"], dict(story.started["inputs"])
    except (LookupError, TypeError, ValueError):
        raise _broken(name, "its first row does not say how the run began") from None
    if said[:2] != (run.run_id, run.about["flow"]):
        raise _broken(name, "its journal is that of another run")
    Fold(story)


class _Rows:
    """As much of a store as reading a journal takes."""

    def __init__(self, rows: list[str]) -> None:
        self._rows = rows

    def rows(self, run_id: str) -> Iterator[str]:
        return iter(self._rows)


def _store(store: Store, run: _Run, digests: list[str], file: BufferedIOBase, name: str) -> None:
    """Stores what was checked: its large values first, and then all else in one transaction."""
    letters, notes = [], list[Note]()
    for word, *fields in _read(file, name):
        if word == "value":
            store.put(b64decode(fields[1]))
        elif word == "letter":
            letters.append(fields)
    known = {**run.about, "target": None}  # where its code was elsewhere is no hint here
    status = known["status"]
    entry = RunEntry(run.run_id, **{key: known[key] for key in _KEPT})
    page = Page(1, run.rows, "power", status, digests)
    claim = store.create(entry, here(), LASTS, page)
    if status not in ENDED and status != RunStatus.WAITING.value:
        store.release(claim)
    for kind, node, body in letters:
        store.post(run.run_id, kind, node, body)
    file.seek(0)
    for word, *fields in _read(file, name):
        if word == "note":
            notes.append(_note(fields))
        if len(notes) == _NOTES:
            store.note(run.run_id, notes)
            notes.clear()
    store.note(run.run_id, notes)


def _read(file: BufferedIOBase, name: str) -> Iterator[list[Any]]:
    """The lines of a file but for the last one, after which their digest is known to be right."""
    digest, count = sha256(), 0
    while True:
        text = file.readline(_LINE)
        if not text.endswith(b"\n"):
            raise _broken(name, "its end is missing" if count else "it does not begin as one")
        try:
            line = json.loads(text.decode("ascii"))
        except (ValueError, RecursionError):
            raise _broken(name, f"line {count + 1} is no JSON") from None
        if not isinstance(line, list) or not line or type(line[0]) is not str:
            raise _broken(name, f"line {count + 1} is none of ours")
        if line[0] == "end":
            if line[1:] != [count, digest.hexdigest()] or file.read(1):
                raise _broken(name, "its end does not go with the rest")
            return
        digest.update(text)
        count += 1
        yield line


def _broken(name: str, what: str) -> StoreError:
    return StoreError(f"{name!r} is no run as `penstock export` writes it, or was changed: {what}")


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
