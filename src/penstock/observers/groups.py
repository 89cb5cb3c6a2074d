"""Steps put together by what their names have in common, for a run of more steps than a screen has lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .rows import Group, Row

_DIGITS = re.compile(r"\d+")
_LAST = re.compile(r"[^/.:_\- ]+$")
_FIRST = re.compile(r"(?<=[^/.:_\- ])[/.:_\- ].*$", re.S)

STAR = "*"


def grouped(rows: Iterable[Row], most: int) -> list[Group]:
    """The groups of all rows, in the order in which their first ones come.

    Names are compared by their digits, then by all but their last word, then by their first word alone, until
    there are no more than `most`; if there still are, the rest is one more group.
    """
    all_rows = list(rows)
    found: dict[str, list[Row]] = {}
    for key in _KEYS:
        found = {}
        for row in all_rows:
            found.setdefault(key(row.id), []).append(row)
        if len(found) <= most:
            return [Group(name, part) for name, part in found.items()]
    by_size = sorted(found, key=lambda name: -len(found[name]))
    large = set(by_size[: max(most - 1, 0)])
    rest = [row for name, part in found.items() if name not in large for row in part]
    return [
        *(Group(name, part) for name, part in found.items() if name in large),
        *([Group("all others" if large else "all", rest)] if rest else []),
    ]


def _by_digits(id: str) -> str:
    return _DIGITS.sub(STAR, id)


def _by_last(id: str) -> str:
    return _DIGITS.sub(STAR, _LAST.sub(STAR, id))


def _by_first(id: str) -> str:
    return _DIGITS.sub(STAR, _FIRST.sub(lambda found: found[0][0] + STAR, id))


_KEYS: tuple[Callable[[str], str], ...] = (_by_digits, _by_last, _by_first)
