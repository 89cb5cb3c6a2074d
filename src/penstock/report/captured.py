"""Pictures of values, by their own hand: what notebooks ask objects for, pages of a report do too."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from .data import Figure

MOST: Final = 24
"""Figures of one report."""

LARGEST: Final = 1 << 20
"""Characters of one figure."""

_KINDS: Final = (
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("text/html", "_repr_html_"),
)  # the first that an object has; drawings stay sharp in print


def figures(names: Iterator[tuple[str, Any]]) -> tuple[tuple[Figure, ...], list[str]]:
    """Pictures of values that can be looked at, and what was left out, in words.

    Args:
        names: Pairs of a name and a value.
    """
    made: list[Figure] = []
    dropped: list[str] = []
    for name, value in names:
        found = _figure(name, value)
        if found is None:
            continue
        if len(found.data) > LARGEST:
            dropped.append(f"the picture of {name!r}: it has {len(found.data):,} characters")
        elif len(made) >= MOST:
            dropped.append(f"pictures beyond the first {MOST}")
            break
        else:
            made.append(found)
    return tuple(made), dropped


def _figure(name: str, value: Any) -> Figure | None:
    """A picture of a value; None if it has none, or fails to make it, which is no matter of the run's."""
    kind = type(value)
    try:
        if _is_of_matplotlib(value):
            file = io.BytesIO()
            value.savefig(file, format="png", bbox_inches="tight", dpi=110)
            return Figure(name, "image/png", base64.b64encode(file.getvalue()).decode())
        if callable(bundle := getattr(kind, "_repr_mimebundle_", None)):
            given = bundle(value, include=[mime for mime, _ in _KINDS], exclude=[])
            data = given[0] if isinstance(given, tuple) else given
            found = _of_bundle(name, data) if isinstance(data, Mapping) else None
            if found is not None:
                return found
        for mime, method in _KINDS:
            if callable(draw := getattr(kind, method, None)) and (text := _drawn(draw, value)):
                return Figure(name, mime, text)
    except Exception:
        pass
    return None


def _is_of_matplotlib(value: Any) -> bool:
    module: Any = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def _of_bundle(name: str, data: Mapping[str, Any]) -> Figure | None:
    for mime, _ in _KINDS:
        if (one := data.get(mime)) and (text := _text(one)):
            return Figure(name, mime, text)
    return None


def _drawn(draw: Callable[[Any], Any], value: Any) -> str:
    made = draw(value)
    if isinstance(made, tuple):  # (data, what is known of it)
        made = made[0] if made else None
    return _text(made)


def _text(made: Any) -> str:
    if isinstance(made, (bytes, bytearray)):
        return base64.b64encode(made).decode()
    return made if isinstance(made, str) else ""
