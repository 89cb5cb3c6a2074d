"""How a picture looks: its colours, its style sheet, and the sign of each status."""

from __future__ import annotations

import re
from typing import Literal

Theme = Literal["auto", "light", "dark"]

LIGHT = {
    "canvas": "#ffffff",
    "ink": "#1b2330",
    "soft": "#5a6577",
    "line": "#8792a3",
    "edge": "#c3cad5",
    "box": "#f8fafc",
    "frame": "#f2f5f9",
    "succeeded": "#17804d",
    "failed": "#c8283a",
    "running": "#1668c7",
    "retrying": "#b25e00",
    "waiting": "#7a48c2",
    "cancelled": "#8a5a3c",
    "skipped": "#75808f",
    "pending": "#97a1b0",
}
DARK = {
    "canvas": "#0f141b",
    "ink": "#e7ecf3",
    "soft": "#9daaba",
    "line": "#748194",
    "edge": "#3a4555",
    "box": "#1a222d",
    "frame": "#141b24",
    "succeeded": "#2f9e68",
    "failed": "#e5484d",
    "running": "#3b8eea",
    "retrying": "#d98a1f",
    "waiting": "#9a6ee0",
    "cancelled": "#a9764f",
    "skipped": "#6b7686",
    "pending": "#5b6675",
}

STATUSES = ("succeeded", "failed", "running", "retrying", "waiting", "cancelled", "skipped", "pending")

SIGNS = {
    "succeeded": "M-3.4 .2L-1 2.6 3.5-2.4",
    "failed": "M-2.6-2.6L2.6 2.6M2.6-2.6L-2.6 2.6",
    "running": "M-1.5-2.6L2.6 0-1.5 2.6Z",
    "retrying": "M2.7-1.6A3.2 3.2 0 1 0 3.1 .8M3-3.6V-1.3H.7",
    "waiting": "M-1.4-2.6V2.6M1.4-2.6V2.6",
    "cancelled": "M-2.1-2.1H2.1V2.1H-2.1Z",
    "skipped": "M-3 0H3",
    "pending": "M-3.2 0h.01M0 0h.01M3.2 0h.01",
}
"""Lines within a circle of radius 8, drawn in white: readable without the colour."""

_SHEET = """\
.pk text{font-family:Helvetica,Arial,"Liberation Sans",sans-serif;fill:var(--pk-ink)}
.pk .pk-n{font-size:13px;font-weight:600}
.pk .pk-s{font-size:11px;fill:var(--pk-soft)}
.pk .pk-h{font-size:16px;font-weight:600}
.pk .pk-c{text-anchor:middle}
.pk .pk-bg{fill:var(--pk-canvas)}
.pk .pk-b{fill:var(--pk-box);stroke:var(--pk-edge);stroke-width:1.25}
.pk .pk-f{fill:var(--pk-frame);stroke:var(--pk-edge);stroke-width:1.25;stroke-dasharray:5 4}
.pk .pk-e{fill:none;stroke:var(--pk-line);stroke-width:1.4}
.pk .pk-a{fill:var(--pk-line);stroke:none}
.pk .pk-t{fill:none;stroke:var(--pk-line);stroke-width:2.2}
.pk .pk-d{stroke-dasharray:5 4}
.pk .pk-o{stroke-dasharray:1.5 3.5;stroke-linecap:round;stroke-width:2}
.pk .pk-g{fill:none;stroke:#fff;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.pk .pk-l:hover .pk-e,.pk .pk-l:hover .pk-t{stroke:var(--pk-running)}
.pk .pk-l:hover .pk-a{fill:var(--pk-running)}
"""


def style(theme: Theme = "auto") -> str:
    """The style sheet. All its names begin with ``pk``, so a page can hold pictures."""
    colors = DARK if theme == "dark" else LIGHT
    sheet = f".pk{{{_variables(colors)}}}\n"
    if theme == "auto":
        sheet += f"@media (prefers-color-scheme:dark){{.pk{{{_variables(DARK)}}}}}\n"
    rules = _SHEET + "".join(_STANDING.replace("STATUS", status) for status in STATUSES) + _OPEN
    return sheet + _VARIABLE.sub(lambda found: f"{found[1]}:{colors[found[2]]};{found[0]}", rules)


_VARIABLE = re.compile(r"(fill|stroke):var\(--pk-(\w+)\)")
"""Before each of these stands the plain colour, for programs that know no variables."""


_STANDING = """\
.pk .pk-STATUS>.pk-i{fill:var(--pk-STATUS)}
.pk .pk-x>.pk-i.pk-STATUS{fill:var(--pk-STATUS)}
.pk .pk-x.pk-STATUS>.pk-b{stroke:var(--pk-STATUS);fill:color-mix(in srgb,var(--pk-STATUS) 9%,var(--pk-box))}
"""
_OPEN = ".pk .pk-skipped>.pk-b,.pk .pk-pending>.pk-b{stroke-dasharray:4 3}\n"


def _variables(colors: dict[str, str]) -> str:
    return ";".join(f"--pk-{name}:{color}" for name, color in colors.items())
