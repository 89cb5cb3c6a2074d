"""What the face already names but cannot do yet: the refusals, all in one place so that none is forgotten."""

from __future__ import annotations

from typing import Any, NoReturn

PARTS = {
    "store=": "the journal",
    "run_id=": "the journal",
    "codec=": "the journal",
    "cache=": "the cache",
    "flow.gate": "the journal",
    "Secret": "the journal",
}
"""What is refused, and the part of the library it comes with. `Limit` and `RunOptions` refuse themselves."""


def refuse(what: str, where: str = "") -> NoReturn:
    """Says that `what` is not there yet, and with which part it comes.

    Raises:
        NotImplementedError: Always.
    """
    raise NotImplementedError(f"{where}{': ' if where else ''}{what} comes with {PARTS[what]}")


def refuse_option(name: str, label: str) -> None:
    """Lets the name of an option pass that is not one of a later part.

    Raises:
        NotImplementedError: It is.
    """
    if f"{name}=" in PARTS:
        refuse(f"{name}=", label)


def refuse_storage(store: Any, run_id: Any) -> None:
    """Lets a run call pass that asks for neither a store nor an id.

    Raises:
        NotImplementedError: One of the two was given.
    """
    if store is not None:
        refuse("store=")
    if run_id is not None:
        refuse("run_id=")
