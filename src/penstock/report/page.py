"""The report as one HTML file that loads nothing: it can be mailed, kept for years, and printed.

Everything essential is in the markup; the script adds sorting, filters, details and zoom. Texts of the run
reach the page through `text.escape` or as JSON that the script writes as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from functools import cache
from typing import Any

from .data import Report
from .efficiency import efficiency
from .failures import failures, retries
from .figures import outputs
from .header import gates, header, lives
from .shapes import patterns
from .signs import section
from .table import details, numbers, table
from .text import Html, cut, escape, moment
from .timeline import timeline

_SECTIONS = (
    ("failures", "Failures"), ("gates", "Gates"), ("retries", "Retries"), ("graph", "Graph"),
    ("time", "Timeline"), ("efficiency", "Efficiency"), ("steps", "Steps"), ("outputs", "Outputs"),
)  # fmt: skip


def page(report: Report, graph_svg: str = "", *, version: str = "") -> Html:
    """The whole page.

    Args:
        report: What there is to tell.
        graph_svg: The picture of its graph, markup that can be trusted; empty for none.
        version: Of this library, for the last line.
    """
    rows = numbers(report)
    drawn = timeline(report)
    parts = [
        header(report),
        failures(report, rows),
        gates(report),
        _graph(graph_svg),
        section("time", "Timeline", "", drawn.html + lives(report)) if drawn.data["tracks"] else "",
        efficiency(report, rows),
        retries(report, rows),
        table(report),
        outputs(report),
    ]
    body = "".join(parts)
    script = _asset("report.js")
    nodes = [rows.get(node.id, -1) for node in report.outline.nodes]
    data = {**drawn.data, "details": details(report), "nodes": nodes}
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        f"<title>{escape(cut(f'{report.flow}: {report.status}', 120))}</title>"
        f'<link rel="icon" href="data:,"><style>{_asset("report.css")}</style></head>\n<body>'
        f'<a class="skip" href="#main">Skip to the report</a>{_bar(body, report)}'
        f'<main id="main" tabindex="-1">{body}</main>{_foot(report, version)}{patterns()}'
        f'<script type="application/json" id="data">{as_json(data)}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def as_json(data: Any) -> Html:
    """Data as JSON that neither ends the element that it stands in nor begins another one."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(script: str) -> str:
    """No address is allowed at all, and of scripts only ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    """A file of this package, also from an archive."""
    read = __spec__.loader.get_data  # type: ignore[union-attr]
    return str(read(os.path.join(os.path.dirname(__file__), "assets", name)).decode()).strip()


def _bar(body: Html, report: Report) -> Html:
    links = "".join(
        f'<a href="#{id}">{title}</a>' for id, title in _SECTIONS if f'<section id="{id}"' in body
    )
    return (
        f'<div class="bar"><a class="brand" href="#main">{escape(cut(report.flow, 40))}</a>'
        f'<nav aria-label="Parts of the report">{links}</nav>'
        '<button type="button" id="theme" hidden aria-label="Colours">Auto</button></div>'
    )


def _graph(svg: str) -> Html:
    if not svg:
        return ""
    tools = (
        '<div class="tools zoom" hidden role="group" aria-label="Zoom of the graph">'
        '<button type="button" data-zoom="out" aria-label="Zoom out">−</button>'
        '<button type="button" data-zoom="fit">Fit</button>'
        '<button type="button" data-zoom="in" aria-label="Zoom in">+</button></div>'
    )
    found = re.search(r'<svg[^>]*?\swidth="(\d{1,6})"', svg)
    wide = f' style="--w:{found[1]}px"' if found else ""
    box = f'<div class="scroll graph" tabindex="0" role="region" aria-labelledby="graph-h"{wide}>{svg}</div>'
    return section("graph", "Graph", "", tools + box)


def _foot(report: Report, version: str) -> Html:
    left = "".join(f"<li>{escape(cut(one, 400))}</li>" for one in report.dropped)
    dropped = f"<p>Left out of this report:</p><ul>{left}</ul>" if left else ""
    by = f"Penstock {escape(version)}" if version else "Penstock"
    made = f"Made by {by} on {moment(report.made)}. Times are those of where it was made."
    return f"<footer>{dropped}<p>{made}</p></footer>"
