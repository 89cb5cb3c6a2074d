"""What the face already names but cannot do yet: the refusals, all in one place so that none is forgotten."""

from __future__ import annotations

from typing import Any, NoReturn

PARTS = {
    "store=": "the journal",
    "run_id=": "the journal",
    "pair=": "streams",
    "each(key=)": "streams",
    "Quorum": "streams",
    "a generator as a step": "streams",
    "flow.add(other_flow)": "sub-flows",
}
"""What is refused, and the part of the library it comes with."""

STEP_OPTIONS = frozenset({"pair"})
"""Step options that are known by name and refused."""


def refuse(what: str, where: str = "") -> NoReturn:
    """Says that `what` is not there yet, and with which part it comes.

    Raises:
        NotImplementedError: Always.
    """
    raise NotImplementedError(f"{where}{': ' if where else ''}{what} comes with {PARTS[what]}")


class Quorum:
    """How many items of a map must succeed: a policy of `gather` that is not there yet."""

    def __init__(self, share: float) -> None:
        refuse("Quorum")


def refuse_storage(store: Any, run_id: Any) -> None:
    """Lets a run call pass that asks for neither a store nor an id.

    Raises:
        NotImplementedError: One of the two was given.
    """
    if store is not None:
        refuse("store=")
    if run_id is not None:
        refuse("run_id=")
