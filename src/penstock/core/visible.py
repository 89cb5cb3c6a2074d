"""Data in texts for people. A key, a failure's text or a name may hold what moves a terminal's cursor."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """One line that cannot move the cursor, ring the bell or turn the reading direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def visible(text: str) -> str:
    """The same of several lines."""
    return "\n".join(map(one_line, text.split("\n")))


def a_kind(value: object) -> str:
    """What a value is, with its article: ``an int``, ``a list``, ``None``."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIO' else 'a'} {name}"


def _shown(character: str) -> str:
    if character == "\t":
        return "    "
    if character == "\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return character.encode("unicode_escape").decode("ascii")
