"""How wide a text is, where there is no browser to ask: by the widths of Helvetica, and rather too wide."""

from __future__ import annotations

import unicodedata

# Hundredths of an em, of bold letters from the blank to the tilde.
_BOLD = (
    *(28, 33, 47, 56, 56, 89, 72, 24, 33, 33, 39, 58, 28, 33, 28, 28, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56),
    *(33, 33, 58, 58, 58, 61, 98, 72, 72, 72, 72, 67, 61, 78, 72, 28, 56, 72, 61, 83, 72, 78, 67, 78, 72, 67),
    *(61, 72, 67, 94, 67, 67, 61, 33, 28, 33, 58, 56, 33, 56, 61, 56, 61, 56, 33, 61, 61, 28, 28, 56, 28, 89),
    *(61, 61, 61, 61, 39, 56, 33, 61, 56, 78, 56, 56, 50, 39, 28, 39, 58),
)
_WIDTHS = {chr(number): width for number, width in enumerate(_BOLD, 32)}
_OTHER = 85
_WIDE = 112


def width(text: str, size: int) -> int:
    """Width of a text in pixels, if its letters are `size` high."""
    known = _WIDTHS
    total = 0
    for one in text:
        total += known[one] if one in known else _measured(one)
    return (total * size * 106 + 9_999) // 10_000


def _measured(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        found = 0
    elif unicodedata.east_asian_width(character) in "WF":
        found = _WIDE
    else:
        found = 100 if unicodedata.category(character)[0] in "SP" else _OTHER
    return found


def cut(text: str, size: int, most: int) -> str:
    """The text, with a gap in its middle if it is wider than `most` pixels."""
    if len(text) <= 300 and width(text, size) <= most:
        return text
    low, high = 0, min(len(text) // 2, 300)
    while low < high:
        kept = (low + high + 1) // 2
        if width(f"{text[:kept]}…{text[-kept:]}", size) <= most:
            low = kept
        else:
            high = kept - 1
    head, tail = _whole(text[:low]), text[len(text) - low :]
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{head}…{tail}"


def cut_short(text: str, size: int, most: int) -> str:
    """The beginning of a text, as much as is no wider than `most` pixels."""
    if len(text) <= 300 and width(text, size) <= most:
        return text
    low, high = 0, min(len(text), 300)
    while low < high:
        kept = (low + high + 1) // 2
        if width(text[:kept] + "…", size) <= most:
            low = kept
        else:
            high = kept - 1
    return _whole(text[:low].rstrip()) + "…"


def _whole(text: str) -> str:
    """Without a joiner at its end, which would draw the gap into the letter before."""
    return text.rstrip("\u200d")
