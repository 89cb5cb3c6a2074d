"""Values of steps: as short texts, and as pictures where they can be looked at.

A picture comes from a stranger. Pixels are shown as such; what is markup stands in a frame of its own that
may run no script, load nothing and reach nothing of this page.
"""

from __future__ import annotations

import base64
import binascii
import re
from html import escape as _escape

from .data import Figure, Report
from .signs import section
from .text import Html, cut, escape, escape_lines, many

_PIXELS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_LONGEST = 4_000
_SHOWN = 200


def outputs(report: Report) -> Html:
    """The section of outputs; empty if there are none."""
    if not report.outputs and not report.figures:
        return ""
    values = "".join(
        f"<div><dt>{escape(cut(one.name, 120))}{'<small>each item</small>' if one.mapped else ''}</dt>"
        f'<dd><pre tabindex="0">{escape_lines(cut(one.preview, _LONGEST))}</pre></dd></div>'
        for one in report.outputs[:_SHOWN]
    )
    more = len(report.outputs) - _SHOWN
    body = f'<dl class="values">{values}</dl>' if values else ""
    if more > 0:
        body += f'<p class="note">{many(more, "more value")} not shown.</p>'
    drawn = "".join(filter(None, map(_figure, report.figures)))
    if drawn:
        body += f'<div class="figures">{drawn}</div>'
    return section("outputs", "Outputs", "", body)


def _figure(figure: Figure) -> Html:
    name = escape(cut(figure.name, 120))
    mime = figure.mime.partition(";")[0].strip().lower()
    if mime in _PIXELS:
        data = re.sub(r"\s+", "", figure.data)
        try:
            base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return ""
        shown = f'<img src="data:{mime};base64,{data}" alt="{name}" loading="lazy" decoding="async">'
    elif mime in ("text/html", "image/svg+xml"):
        shown = (
            f'<iframe sandbox="" srcdoc="{_escape(_framed(figure.data))}" title="{name}" loading="lazy" '
            'referrerpolicy="no-referrer"></iframe>'
        )
    else:
        return ""
    return f"<figure>{shown}<figcaption>{name}</figcaption></figure>"


def _framed(markup: str) -> str:
    """A document for a frame without rights. Its policy comes before anything of the stranger's."""
    markup = markup.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        "<style>body{margin:12px;font:13px/1.5 system-ui,sans-serif;background:#fff;color:#15211f}"
        "svg,img{max-width:100%;height:auto}table{border-collapse:collapse}"
        "td,th{padding:3px 8px;text-align:right;border-bottom:1px solid #ddd}</style>" + markup
    )
