"""Where runs are kept: from words to stores, and what reads values of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.core.amounts import shown as shown_value
from penstock.core.errors import InputError
from penstock.core.graph import Graph
from penstock.core.storage import Store, StoreWord

if TYPE_CHECKING:
    from penstock.core.codec import Codec
    from penstock.core.history import History, StoredRun


def open_store(where: StoreWord, *, read_only: bool = False) -> tuple[Store, bool]:
    """A store, and whether it was opened by this call, and so must be closed by the caller.

    Args:
        where: A store; ``"sqlite:///runs.db"``, or the path alone, for a file of SQLite; ``"memory:"``.
        read_only: Nothing is made or written; one that is handed in is as it is.

    Raises:
        InputError: It is none of these.
        StoreError: It cannot be opened.
    """
    if isinstance(where, os.PathLike) or (isinstance(where, str) and where):
        word = os.fspath(where)
        if word == "memory:":
            from penstock.stores.memory import MemoryStore

            return MemoryStore(), True
        if word.endswith(":memory:"):  # SQLite's own word: as a path it would be a file of that name
            raise InputError(f"there is no store {word!r}: say 'memory:' for one that ends with the process")
        scheme, colon, path = word.partition("://")
        if not colon or scheme == "sqlite":
            from penstock.stores.sqlite import SqliteStore

            return SqliteStore(path.removeprefix("/") if colon else word, read_only=read_only), True
        raise InputError(f"there is no store {word!r}: say 'sqlite:///runs.db', a path, or 'memory:'")
    if isinstance(where, type) or not isinstance(where, Store):
        raise InputError(
            f"store takes a path, a word such as 'sqlite:///runs.db', or a store, not {shown_value(where)}"
        )
    return where, False


def value_in(where: str | Store, run_id: str, graph: Graph, id: str) -> Any:
    """What a node has come to, from where the run is kept: the way to a value that is not in memory any more.

    Raises:
        StoreError: It cannot be read.
        KeyError: There is none.
    """
    from penstock.core.resume import value_of

    store, ours = open_store(where)
    try:
        return value_of(store, run_id, graph, id, codec_for(store, graph).decode)
    finally:
        if ours:
            store.close()


@contextmanager
def stored_run(where: str | Store, run_id: str) -> Iterator[StoredRun]:
    """A run as its store has it.

    Raises:
        StoreError: It cannot be read.
    """
    with open(where) as history:
        yield history.run(run_id)


def texts(graph: Graph) -> Callable[[Any], str]:
    """What makes the text of a value as a store of this graph's runs would have it; nothing is stored, and
    any thread may call it."""
    return codec_for(None, graph).encode


def open(store: StoreWord, *, types: Iterable[type] = ()) -> History:
    """The runs of a store, to be looked at, answered, cancelled and tidied up; to be used in a ``with``.

    Args:
        store: What `open_store` takes. A file must be there; it is opened for writing when something is asked
            of a run, and not before.
        types: Classes of stored values that are not registered: then outputs can be decoded.

    Raises:
        InputError: It is no store, or `types` are no classes.
        StoreError: It cannot be opened.
    """
    from penstock.codecs import find
    from penstock.core.codec import Codec, types_of
    from penstock.core.history import History

    classes = [types] if isinstance(types, type) else list(types)
    for one in classes:
        if not isinstance(one, type):
            raise InputError(f"types is a list of classes, not of {shown_value(one)}")
    known = {found for one in classes for found in types_of(one)}
    opened, ours = open_store(store, read_only=True)
    return History(
        opened,
        Codec(opened, known, sockets=find),
        types=known,
        writable=(lambda: open_store(store)[0]) if ours else None,
        owned=ours,
    )


def codec_for(store: Store | None, graph: Graph) -> Codec:
    from penstock.codecs import find
    from penstock.core.codec import Codec
    from penstock.core.keeping import types_in
    from penstock.core.recorder import PatientValues

    return Codec(None if store is None else PatientValues(store), types_in(graph), sockets=find)


def diagnosis(path: str) -> tuple[list[str], list[str]]:
    """What is wrong with a store in a file, and what else should be known of it, in lines for people.

    Raises:
        StoreError: It cannot be opened.
    """
    from penstock.stores.sqlite import SqliteStore
    from penstock.stores.sqlite.care import hazards

    with SqliteStore(path, read_only=True) as store:
        return store.check(), hazards()


def salvage(path: str, to: str) -> list[str]:
    """Copies what is sound of a store in a file into a new one; gives what was left out.

    Raises:
        StoreError: There is something at `to`, or nothing could be read.
    """
    from penstock.stores.sqlite import salvage

    return salvage(path, to)


def store_path(word: str) -> str | None:
    """The file that a word for a store stands for; None if it is in memory.

    Raises:
        InputError: It is no such word.
    """
    if word == "memory:":
        return None
    scheme, colon, path = word.partition("://")
    if colon and scheme != "sqlite":
        raise InputError(f"there is no store {word!r}: say 'sqlite:///runs.db', or a path")
    return path.removeprefix("/") if colon else word
