"""The table of all steps. It is the only place of the page that names each of them: the rest points to it.

Rows and cells are not closed, which HTML allows: in a report of a thousand steps that is a good part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from .data import Report, Step, rows
from .failures import spent
from .signs import in_order, look, section
from .story import cause
from .text import Html, cut, escape, many, seconds, size

_NAME = 90
_REASON = 160
_NOTHING = "–"


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        title: Its heading.
        kind: How it is sorted: ``text``, ``number`` (of amounts with units), or ``status``.
        show: What it says of a step.
        why: What its heading says when asked.
    """

    title: str
    kind: str
    show: Callable[[Step], str]
    why: str = ""


_COLUMNS: Final = (
    Column(
        "Duration",
        "number",
        lambda step: seconds(step.duration),
        "From its first attempt to its last; of a map, the sum of its items",
    ),
    Column(
        "Queued",
        "number",
        lambda step: seconds(step.queued or None),
        "Time in which its attempts waited for a slot, a limit, or in their runner",
    ),
    Column("CPU", "number", lambda step: seconds(step.cpu), "Processor time of all its attempts"),
    Column(
        "Peak memory",
        "number",
        lambda step: size(step.memory, step.exact),
        "Of the attempt that used most; ≤ where only a bound is known",
    ),
    Column("Attempts", "number", lambda step: f"{step.tries:,}" if step.tries else _NOTHING),
    Column("Source", "text", lambda step: cut(step.source, 30) or _NOTHING, "How its value came about"),
    Column("Reason", "text", lambda step: cut(step.reason, _REASON) or _NOTHING),
)
"""What is shown of each step, as far as there is anything to show; the numbers come first."""


def numbers(report: Report) -> dict[str, int]:
    """For each path the row that tells of it."""
    found: dict[str, int] = {}
    for number, step in enumerate(rows(report)):
        found.setdefault(step.path, number)
    return found


def table(report: Report) -> Html:
    """The section with the table."""
    every = list(rows(report))
    shown = [column for column in _COLUMNS if any(column.show(step) != _NOTHING for step in every)]
    if all(step.source in ("", "run") for step in every):
        shown = [column for column in shown if column.title != "Source"]
    body: list[Html] = []
    number = 0
    for step in report.steps:
        for one in (step, *step.items):
            body.append(_row(one, number, shown))
            number += 1
        if step.more_items:
            body.append(
                f'<tr class="i more"><td colspan={len(shown) + 2}>{many(step.more_items, "more item")}'
            )
    items = number - len(report.steps)
    caption = many(len(report.steps), "step") + (f" and {many(items, 'item')}" if items else "")
    measured = any(step.cpu is not None or step.memory is not None for step in every)
    missing = "" if measured else " CPU and memory were not measured in this run (profile=True)."
    why = ' class="why"' if shown and shown[-1].title == "Reason" else ""
    numeric = 2 + sum(column.kind == "number" for column in shown)
    html = (
        f"<style>#t :is(th,td):nth-child(n+3):nth-child(-n+{numeric})"
        "{text-align:right;white-space:nowrap}</style>"
        f'{_filter(every)}<div class="scroll table" tabindex="0" role="region" aria-labelledby="steps-h">'
        f'<table id="t"{why}><caption class="vh">{caption}; the headings sort</caption>'
        f"<thead><tr>{_heads(shown)}</thead><tbody>{''.join(body)}</tbody></table></div>"
    )
    title = f'Steps <span class="n">{len(report.steps):,}</span>'
    return section("steps", title, f"{caption}, in the order of definition.{missing}", html)


def _heads(shown: list[Column]) -> Html:
    columns = [
        Column("Step", "text", str),
        Column("Status", "status", str),
        *shown,
    ]
    return "".join(
        f'<th scope="col" aria-sort="none" data-k="{column.kind}"'
        + (f' title="{escape(column.why)}"' if column.why else "")
        + f">{column.title}"
        for column in columns
    )


def _filter(every: list[Step]) -> Html:
    counts = Counter(step.status for step in every)
    chips = "".join(
        f'<button type="button" class="{look(status)}" data-status="{escape(status)}" aria-pressed="false">'
        f"{escape(status)} <b>{count:,}</b></button>"
        for status, count in in_order(counts)
    )
    return (
        '<form class="filter" hidden role="search" aria-label="Steps">'
        '<label><span class="vh">Filter by name or reason</span>'
        '<input type="search" placeholder="Filter steps…" autocomplete="off" spellcheck="false"></label>'
        f'<div class="chips" role="group" aria-label="Only with status">{chips}</div>'
        '<output class="found" aria-live="polite"></output></form>'
    )


def _row(step: Step, number: int, columns: list[Column]) -> Html:
    status = f"<td class={look(step.status)}>{escape(step.status)}"
    if step.mapped:
        status += f"<small>{escape(_items(step.counts))}</small>"
    said = (column.show(step) for column in columns)
    cells = "".join("<td>" if text == _NOTHING else f"<td>{escape(text)}" for text in said)
    kind = " class=i" if step.item else " class=m" if step.items else ""
    critical = '<abbr class=cp title="on the critical path">◆</abbr>' if step.critical else ""
    return f"<tr{kind} id=r{number}><th>{escape(cut(step.path, _NAME))}{critical}{status}{cells}\n"


def _items(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in in_order(counts))


def details(report: Report) -> dict[str, Any]:
    """What the page's script tells of a step besides its row: of those with more to say than that.

    Returns:
        By row, lists of pairs: attempts as (what, words).
    """
    found: dict[str, Any] = {}
    for number, step in enumerate(rows(report)):
        plain = len(step.attempts) == 1 and step.attempts[0].outcome == "succeeded"
        if step.attempts and not plain:
            found[str(number)] = [
                [
                    one.number,
                    one.outcome,
                    " · ".join(filter(None, (cause(one.trouble) if one.trouble else "", spent(one)))),
                ]
                for one in step.attempts[-10:]
            ]
    return found
