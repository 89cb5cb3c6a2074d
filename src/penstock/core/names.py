"""Which ids a node may have. Stated here once, so that no sink has to guess what a name may hold."""

from __future__ import annotations

import re
import unicodedata

from .errors import GraphError

MAX_LENGTH = 200
RESERVED = frozenset({"store", "run_id", "targets", "override", "runner", "options"})
"""Names of the run call's own parameters: no input may have them (semantics.md §1)."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+@#,()=\- /]{0,198}[A-Za-z0-9_)]|[A-Za-z0-9_]", re.ASCII)
_SIGNS = frozenset("_-.:+@#,()='→& /")
_LETTERS = ("L", "M", "N", "So")


def normal_id(name: object, what: str = "step") -> str:
    """The id in its one spelling (NFC).

    Letters, marks, digits and pictures of any script, spaces, and the signs ``_ - . : + @ # , ( ) = ' & →``;
    ``/`` joins the parts of a sub-flow's ids and none of the parts may be empty or only dots. Square brackets
    are kept for the items of a map. At most 200 characters in each part, no space at either end.

    Raises:
        GraphError: The name breaks one of these rules; the message says which.
    """
    if not isinstance(name, str):
        raise GraphError(f"the name of a {what} must be a str, not {type(name).__name__}")
    if _PLAIN.fullmatch(name) and "/" not in name and ".." not in name:
        return name
    shown = ascii(name[:40])
    if len(name) > 40:
        shown = f"{shown[:-1]}…{shown[-1]}"
    if not name or name.isspace():
        raise GraphError(f"the name of a {what} is empty")
    longest = max(map(len, name.split("/")))
    if longest > MAX_LENGTH:
        raise GraphError(f"{what} {shown}: a name has at most {MAX_LENGTH} characters, this one {longest}")
    if name != name.strip():
        raise GraphError(f"{what} {shown}: a name has no space at its ends")
    name = unicodedata.normalize("NFC", name)
    for character in name:
        if character not in _SIGNS and not unicodedata.category(character).startswith(_LETTERS):
            raise GraphError(
                f"{what} {shown}: {character!a} is not allowed in a name; "
                "use letters, digits, spaces and _ - . : + @ # , ( ) = ' &"
            )
    for part in name.split("/"):
        if not part.strip(". "):
            raise GraphError(f"{what} {shown}: a part of the name is empty or only dots")
    return name
