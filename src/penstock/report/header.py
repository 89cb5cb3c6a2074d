"""The top of the page: what happened, what to do next, and the figures that everybody asks for first."""

from __future__ import annotations

from .data import Report
from .signs import badge, command, definitions, folded, legend, proportions, section, time_of
from .story import story
from .text import Html, cut, escape, escape_lines, many, percent, seconds

_INPUT = 4_000
_COMMANDS = 4


def header(report: Report) -> Html:
    """The head of the report."""
    parts = [
        '<p class="kicker">Run report</p>',
        f"<h1><span>{escape(cut(report.flow, 160))}</span> {badge(report.status)}</h1>",
        f'<p class="story">{escape(story(report))}</p>',
        _next(report),
        _tiles(report),
    ]
    if report.counts:
        parts.append(
            f'<div class="counts">{proportions(report.counts, "Steps")}{legend(report.counts)}</div>'
        )
    if report.warnings:
        listed = "".join(f"<li>{escape(cut(one, 400))}</li>" for one in report.warnings)
        parts.append(f'<ul class="warnings" aria-label="Warnings">{listed}</ul>')
    parts.append(definitions(_facts(report)))
    parts.append(_folds(report))
    return f'<header class="head">{"".join(parts)}</header>'


def _next(report: Report) -> Html:
    """Commands. Those that look into a failure stand with it, too; here, the first of each kind."""
    chosen, seen = [], set()
    for one in report.commands:
        verb = " ".join(one.line.split()[:2])
        if verb not in seen or verb == "penstock approve":
            seen.add(verb)
            chosen.append(one)
    if not chosen:
        return ""
    lines = "".join(command(one.line, one.what) for one in chosen[:_COMMANDS])
    return f'<div class="next" role="group" aria-label="What to do next">{lines}</div>'


def _tiles(report: Report) -> Html:
    tiles: list[tuple[str, Html]] = [("Wall time", seconds(report.wall))]
    found = report.efficiency
    if found is not None:
        tiles.append(("Work", seconds(found.work)))
        tiles.append(("Parallel efficiency", percent(found.share)))
        of = f"<small> of {found.workers:,}</small>" if found.known else ""
        tiles.append(("Peak concurrency", f"{found.peak:,}{of}"))
    steps = len(report.standings) or len(report.steps)
    items = sum(sum(step.counts.values()) for step in report.steps)
    tiles.append(("Steps", f"{steps:,}" + (f"<small> + {many(items, 'item')}</small>" if items else "")))
    tiles.append(("Attempts", f"{sum(step.tries for step in report.steps):,}"))
    return definitions(tiles, "tiles")


def _facts(report: Report) -> list[tuple[str, Html]]:
    facts: list[tuple[str, Html]] = [("Run", f"<code>{escape(cut(report.run_id, 120))}</code>")]
    facts.append(("Began", time_of(report.began)))
    facts.append(
        (
            "Ended" if report.status in ("succeeded", "failed", "cancelled") else "Last heard of",
            time_of(report.ended),
        )
    )
    if report.created and report.began - report.created > 1:
        facts.append(("Asked for", time_of(report.created)))
    for name, value in (("Code", report.target), ("Parent run", report.parent), ("Kept in", report.store)):
        if value:
            facts.append((name, f"<code>{escape(cut(value, 200))}</code>"))
    commit = report.about.get("commit", "")
    if commit:
        branch = report.about.get("branch", "")
        facts.append(
            (
                "Commit",
                f"<code>{escape(cut(commit, 12))}</code>{' on ' + escape(cut(branch, 60)) if branch else ''}",
            )
        )
    if report.reason:
        facts.append(("Reason", escape(cut(report.reason, 300))))
    if report.tags:
        tags = "".join(
            f'<span class="tag">{escape(cut(name, 60))}<b>{escape(cut(value, 120))}</b></span>'
            for name, value in report.tags.items()
        )
        facts.append(("Tags", tags))
    return facts


def _folds(report: Report) -> Html:
    parts = []
    if report.inputs:
        parts.append(folded("Inputs", _pairs([*report.inputs]), opened=False, count=len(report.inputs)))
    if report.options:
        parts.append(folded("Options", _pairs([*report.options]), count=len(report.options)))
    if report.about:
        parts.append(folded("Provenance", _pairs([*report.about.items()]), count=len(report.about)))
    return f'<div class="folds">{"".join(parts)}</div>' if parts else ""


def _pairs(pairs: list[tuple[str, str]]) -> Html:
    rows = "".join(
        f"<div><dt>{escape(cut(name, 120))}</dt>"
        f'<dd><pre tabindex="0">{escape_lines(cut(value, _INPUT))}</pre></dd></div>'
        for name, value in pairs
    )
    return f'<dl class="values">{rows}</dl>'


def gates(report: Report) -> Html:
    """The gates that were opened; empty if there were none."""
    if not report.gates:
        return ""
    rows = []
    for gate in report.gates:
        if gate.ended is not None:
            state = f'<span class="badge ok">{"answered" if gate.answer else "over"}</span>'
        else:
            state = (
                f'<span class="badge wait">{"answered, not yet taken" if gate.answered else "open"}</span>'
            )
        open_for = (report.ended if gate.ended is None else gate.ended) - gate.since
        facts: list[tuple[str, Html]] = [("Open for", seconds(open_for))]
        if gate.takes:
            facts.append(("Takes", f"<code>{escape(cut(gate.takes, 120))}</code>"))
        if gate.answer:
            facts.append(("Answer", f"<code>{escape(cut(gate.answer, 300))}</code>"))
        if gate.due is not None:
            facts.append(("Until", time_of(gate.due)))
        asked = f"<p>{escape_lines(cut(gate.prompt, 600))}</p>" if gate.prompt else ""
        rows.append(
            f"<article><header><h3>{escape(cut(gate.path, 200))}</h3>{state}</header>"
            f"{asked}{definitions(facts)}</article>"
        )
    return section(
        "gates",
        f'Gates <span class="n">{len(report.gates):,}</span>',
        "",
        f'<div class="gates">{"".join(rows)}</div>',
    )


def lives(report: Report) -> Html:
    """The times in which the run was driven, where there was more than one."""
    if len(report.lives) < 2:
        return ""
    rows = []
    for number, life in enumerate(report.lives, 1):
        notes = []
        if life.away:
            notes.append(f"after {seconds(life.away)} away")
        if life.undone:
            notes.append(f"{many(life.undone, 'attempt')} begun again or thrown away")
        if life.changed:
            names = ", ".join(life.changed[:5]) + (", …" if len(life.changed) > 5 else "")
            notes.append(f"changed code: {cut(names, 200)}")
        end = badge(life.end) if life.end else ""
        rows.append(
            f"<li><b>{number}</b><span>{time_of(life.began)} for {seconds(life.ended - life.began)} {end} "
            f"<small>{escape('; '.join(notes))}</small></span></li>"
        )
    return f'<h3>Lives</h3><ol class="lives">{"".join(rows)}</ol>'
