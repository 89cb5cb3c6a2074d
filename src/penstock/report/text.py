"""Texts, times and sizes for the page. Whatever a run says of itself goes through `escape`, once."""

from __future__ import annotations

import time

from penstock.core.visible import one_line, visible

Html = str
"""Text that is markup already; everything else is a plain text that may say anything."""


_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
"""What could end a text, or an attribute: all of ours stand in double quotes."""


def escape(text: str) -> Html:
    """One line, of which nothing is markup, a control character or a turn of the reading direction."""
    return one_line(text).translate(_MARKUP)


def escape_lines(text: str) -> Html:
    """The same of several lines."""
    return visible(text).translate(_MARKUP)


def cut(text: str, most: int) -> str:
    """The text, or its beginning with a sign that there was more."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def seconds(value: float | None) -> str:
    """``< 1 ms``, ``34 ms``, ``3.21 s``, ``2 min 05 s``, ``1 h 02 min``, ``3 d 04 h``; a dash for None."""
    if value is None:
        return "–"
    if value < 0:
        return "−" + seconds(-value)
    if value == 0:
        return "0 s"
    if value < 0.001:
        return "< 1 ms"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400:,} d {whole % 86_400 // 3600:02} h"


def size(value: int | None, exact: bool = True) -> str:
    """Bytes as ``820 kB``, ``12.5 MB``; with ``≤`` in front where it is only an upper bound."""
    if value is None:
        return "–"
    bound = "" if exact else "≤ "
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            digits = 0 if unit == "B" or amount >= 99.95 else 1
            return f"{bound}{amount:.{digits}f} {unit}"
        amount /= 1000
    return f"{bound}{amount:,.1f} TB"


def percent(share: float) -> str:
    """``81 %``; below one per cent ``< 1 %``, so that nothing that is there is called nothing."""
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{share * 100:.0f} %"


def change(share: float) -> str:
    """``−23 %``, ``+5 %``, ``±0 %``; ``× 3.5`` where it is a multiple."""
    if share >= 2:
        return f"× {share + 1:.2g}" if share < 9 else f"× {share + 1:,.0f}"
    whole = round(share * 100)
    if not whole:
        return "±0 %"
    return f"{'+' if whole > 0 else '−'}{abs(whole)} %"


def many(count: int, one: str, more: str | None = None) -> str:
    """``1 step``, ``1,204 steps``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def moment(at: float | None) -> str:
    """A time for people, where the report is made: ``2026-03-01 14:05:09``."""
    if at is None:
        return "–"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (ValueError, OverflowError, OSError):
        return "–"


def machine_moment(at: float) -> str:
    """The same for programs: ISO 8601 in UTC."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return ""


def listed(words: list[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
