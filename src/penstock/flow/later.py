"""What the face already names but cannot do yet: the refusals, all in one place so that none is forgotten."""

from __future__ import annotations

PARTS = {"cache": "the cache"}
"""Options that are refused, and the part of the library they come with. `Limit` refuses its own."""


def refuse_option(name: str, label: str) -> None:
    """Lets the name of an option pass that is not one of a later part.

    Raises:
        NotImplementedError: It is.
    """
    if name in PARTS:
        raise NotImplementedError(f"{label}: {name}= comes with {PARTS[name]}")
