"""How a status is told: one class of the style sheet and one word each. Its sign is in the style sheet."""

from __future__ import annotations

from collections.abc import Mapping

from . import text
from .text import Html, escape

KNOWN = (
    "failed", "running", "retrying", "waiting", "cancelled", "succeeded", "skipped", "ready", "pending",
)  # fmt: skip
"""Statuses of steps, what needs a look first."""

_CLASSES = {
    "succeeded": "ok", "failed": "bad", "cancelled": "warn", "cut off": "warn", "retrying": "warn",
    "interrupted": "warn", "running": "busy", "waiting": "wait", "skipped": "dim", "pending": "dim",
    "ready": "dim", "returned": "dim",
}  # fmt: skip


def look(status: str) -> str:
    """The class of a status; a plain one for a status of a later version."""
    return _CLASSES.get(status, "dim")


def badge(status: str) -> Html:
    """A status as a word on its colour."""
    return f'<span class="badge {look(status)}">{escape(status)}</span>'


def in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Statuses and their counts, what needs a look first, without zeros."""
    order = [*KNOWN, *(status for status in counts if status not in KNOWN)]
    return [(status, counts[status]) for status in order if counts.get(status)]


def proportions(counts: Mapping[str, int], what: str, most: int = 0) -> Html:
    """A bar in which each status has its share, and at least a visible sliver of it.

    Args:
        counts: How many have each status.
        what: What is counted, in the plural; for those who hear the page.
        most: The length of a full bar; by default, the sum.
    """
    found = in_order(counts)
    told = ", ".join(f"{count:,} {status}" for status, count in found)
    parts = "".join(f'<i class="{look(status)}" style="flex:{count} 0 3px"></i>' for status, count in found)
    return f'<div class="share" role="img" aria-label="{escape(f"{what}: {told}")}">{parts}</div>'


def legend(counts: Mapping[str, int]) -> Html:
    """The same in words."""
    words = "".join(
        f'<li class="{look(status)}"><b>{count:,}</b> {escape(status)}</li>'
        for status, count in in_order(counts)
    )
    return f'<ul class="legend">{words}</ul>'


def command(line: str, what: str = "") -> Html:
    """A line for a shell, with a button that copies it."""
    told = f'<span class="what">{escape(what)}</span>' if what else ""
    return (
        f'<div class="cmd">{told}<code tabindex="0">{escape(line)}</code>'
        f'<button type="button" class="copy" hidden>Copy</button></div>'
    )


def definitions(pairs: list[tuple[str, Html]], kind: str = "facts") -> Html:
    """Names and what they are, as a list of definitions; the second of each pair is markup."""
    if not pairs:
        return ""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="{kind}">{rows}</dl>'


def folded(title: str, body: Html, *, opened: bool = False, count: int | None = None) -> Html:
    """Something that is opened by a click on its title."""
    number = "" if count is None else f' <span class="n">{count:,}</span>'
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}{number}</summary>"
        f'<div class="in">{body}</div></details>'
    )


def section(id: str, title: str, lead: str, body: Html) -> Html:
    """A part of the page that has a heading of its own.

    Args:
        id: Where links lead to.
        title: Its heading.
        lead: One or two sentences under it; may be empty.
        body: What it holds.
    """
    told = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f'<section id="{id}" aria-labelledby="{id}-h"><h2 id="{id}-h">{title}</h2>{told}{body}</section>'


def time_of(at: float) -> Html:
    """A moment that programs can read too."""
    return f'<time datetime="{text.machine_moment(at)}">{text.moment(at)}</time>'
