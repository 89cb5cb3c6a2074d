"""What failed, with every attempt, its traceback and what it said; and what succeeded only after a retry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .data import Attempt, Line, Report, Step, Trouble, rows
from .signs import badge, command, folded, look, section
from .story import cause, ordinal
from .text import Html, cut, escape, escape_lines, many, moment, seconds, size

SHOWN = 25
"""Failures that are shown in full; the table has all of them."""

_ROOM = 60_000
"""Characters after which failures are told without their tracebacks and output."""

_RETRIED = 50
_DEBUG = "penstock debug "
_TRACE = 8_000
_MESSAGE = 2_000
_FRAME = re.compile(r'  File "(.+)", line (\d+), in (.+)')
_FOREIGN = re.compile(r"[\\/](?:site-packages|dist-packages|lib[\\/]python\d[\d.]*)[\\/]|<frozen ")


def failures(report: Report, numbers: Mapping[str, int]) -> Html:
    """The section of failures; empty if there are none.

    Args:
        report: The run.
        numbers: For each path the row of the table that tells of it.
    """
    found = sorted(report.failures, key=lambda step: (step.ended is None, step.ended or 0.0))
    if not found:
        return ""
    cards = ""
    room, told = _ROOM, dict[Trouble, str]()
    for step in found[:SHOWN]:
        card = _card(report, step, numbers, told)
        if len(card) > room and cards:
            card = _card(report, step, numbers, told, brief=True)
        room -= len(card)
        cards += card
        if step.trouble is not None:
            told.setdefault(step.trouble, step.path)
    more = len(found) - SHOWN
    if more > 0:
        cards += (
            f'<p class="note">{many(more, "more failure")} in the <a href="#steps">table of steps</a>.</p>'
        )
    lead = "The first one to fail comes first." if len(found) > 1 else ""
    return section("failures", f'Failures <span class="n">{len(found):,}</span>', lead, cards)


def retries(report: Report, numbers: Mapping[str, int]) -> Html:
    """What succeeded, but not at once; empty if there is nothing."""
    found = [
        step
        for step in rows(report)
        if not step.mapped
        and step.status != "failed"
        and any(one.outcome in ("failed", "interrupted") for one in step.attempts)
    ]
    if not found:
        return ""
    listed = "".join(
        f'<li><a href="#r{numbers[step.path]}" data-r="{numbers[step.path]}">{escape(step.path)}</a> '
        f"{_history(step, report)}</li>"
        for step in found[:_RETRIED]
    )
    more = len(found) - _RETRIED
    if more > 0:
        listed += f'<li class="note">and {many(more, "more step")}</li>'
    return section(
        "retries",
        f'Tried again <span class="n">{len(found):,}</span>',
        "Steps with an attempt that failed or was cut off, and that did not fail in the end.",
        f'<ul class="retries">{listed}</ul>',
    )


def _card(
    report: Report,
    step: Step,
    numbers: Mapping[str, int],
    told: Mapping[Trouble, str],
    *,
    brief: bool = False,
) -> Html:
    """One failure. What has failed in the very same way before is not told twice."""
    number, trouble = numbers[step.path], step.trouble
    body = ""
    if trouble is not None:
        body += _error(trouble)
    elif step.reason:
        body += f'<p class="error">{escape(cut(step.reason, _MESSAGE))}</p>'
    if len(step.attempts) > 1:
        body += _history(step, report)
    same = None if trouble is None else told.get(trouble)
    if same is not None:
        other = f'<a href="#f{numbers[same]}">{escape(cut(same, 90))}</a>'
        body += f'<p class="note">The same traceback as that of {other}.</p>'
    elif trouble is not None and trouble.trace and not brief:
        body += _traceback(trouble.trace)
    if not brief:
        body += "".join(_lines(one, report) for one in step.attempts[-1:])
        body += "".join(_earlier(one, report, trouble) for one in reversed(step.attempts[:-1]))
    debug = _debug(report, step.path)
    if debug:
        body += command(debug, "Look into it")
    return (
        f'<article class="failure" id="f{number}"><header><h3><a href="#r{number}" data-r="{number}">'
        f"{escape(cut(step.path, 200))}</a></h3>{badge(step.status)}"
        f'<span class="meta">{_when(report, step)}</span></header>{body}</article>'
    )


def _when(report: Report, step: Step) -> Html:
    parts = []
    if step.ended is not None:
        parts.append(f"{seconds(max(step.ended - report.began, 0.0))} into the run")
    if step.tries > 1:
        parts.append(f"at its {ordinal(step.tries)} attempt")
    if step.run:
        parts.append(f"ran {seconds(step.run)}")
    return escape(" · ".join(parts))


def _error(trouble: Trouble) -> Html:
    kind = (
        f'<span class="kind">{escape(trouble.kind.replace("_", " "))}</span>'
        if trouble.kind != "error"
        else ""
    )
    text = escape_lines(cut(trouble.text, _MESSAGE))
    name = f"<b>{escape(cut(trouble.type, 120))}</b>" if trouble.type else ""
    note = f'<p class="note">{escape(cut(trouble.note, 400))}</p>' if trouble.note else ""
    between = ": " if name and text else ""
    return f'<p class="error">{kind}{name}{between}{text}</p>{note}'


def _history(step: Step, report: Report) -> Html:
    """The attempts as a row of chips, with the pauses between them."""
    chips = []
    for attempt in step.attempts[-20:]:
        spell = _took(attempt, report)
        took = "" if spell is None else seconds(spell)
        said = f" {cut(attempt.trouble.type or attempt.trouble.kind, 60)}" if attempt.trouble else ""
        kind = look(attempt.outcome)
        chips.append(
            f'<li class="{kind}"><b>{attempt.number}</b> {escape(attempt.outcome)} '
            f"<small>{took}{escape(said)}</small></li>"
        )
        if attempt.due is not None and attempt.ended is not None and attempt.due > attempt.ended:
            chips.append(f'<li class="gap">pause {seconds(attempt.due - attempt.ended)}</li>')
    dropped = len(step.attempts) - 20
    if dropped > 0:
        chips.insert(0, f'<li class="gap">{many(dropped, "earlier attempt")}</li>')
    return f'<ol class="tries" aria-label="Attempts">{"".join(chips)}</ol>'


def _took(attempt: Attempt, report: Report) -> float | None:
    if attempt.began is None:
        return None
    return (report.ended if attempt.ended is None else attempt.ended) - attempt.began


def _earlier(attempt: Attempt, report: Report, last: Trouble | None) -> Html:
    """An attempt before the last one: as far as it tells something else."""
    trouble = attempt.trouble
    if trouble is None and not attempt.lines:
        return ""
    same = trouble is not None and last is not None and trouble[:4] == last[:4]
    told = _lines(attempt, report)
    if same:
        told = '<p class="note">It failed in the same way.</p>' + told
    elif trouble is not None:
        told = _error(trouble) + (_traceback(trouble.trace) if trouble.trace else "") + told
    said = f": {cause(trouble, 80)}" if trouble is not None else ""
    return folded(f"Attempt {attempt.number}{said}", told)


# --- tracebacks -------------------------------------------------------------------------------------------


def _traceback(trace: str) -> Html:
    """A traceback in which the user's own frames stand out; where it happened comes first."""
    kept = trace if len(trace) <= _TRACE else "…\n" + trace[-_TRACE:].partition("\n")[2]
    where = _where(kept)
    first = f'<p class="where">{where}</p>' if where else ""
    marked = "\n".join(_marked(kept))
    return first + folded("Traceback", f'<pre class="trace" tabindex="0">{marked}</pre>', opened=True)


def _where(trace: str) -> Html:
    """The innermost frame of the user's own, and its line of code."""
    lines = trace.split("\n")
    found: tuple[str, str, str, str] | None = None
    for number, line in enumerate(lines):
        frame = _FRAME.match(line)
        if frame is not None and not _FOREIGN.search(frame[1]):
            code = lines[number + 1].strip() if number + 1 < len(lines) else ""
            found = frame[1], frame[2], frame[3], "" if _FRAME.match("  " + code) else code
    if found is None:
        return ""
    path, line, name, code = found
    place = f"{escape(cut(_tail(path), 120))}:{line}"
    shown = f"<code>{escape(cut(code, 160))}</code>" if code else ""
    return f"<b>{place}</b> in {escape(cut(name, 80))} {shown}"


def _tail(path: str) -> str:
    """The last two parts of a path."""
    return "/".join(re.split(r"[\\/]", path)[-2:])


def _marked(trace: str) -> Iterator[Html]:
    """The lines, those of frames of other people's code in a quieter colour."""
    foreign = False
    for line in trace.split("\n"):
        frame = _FRAME.match(line)
        if frame is not None:
            foreign = bool(_FOREIGN.search(frame[1]))
        elif line and not line.startswith(" "):
            foreign = False
        shown = escape_lines(cut(line, 400))
        if foreign:
            yield f"<i>{shown}</i>"
        elif frame is not None:
            yield f"<b>{shown}</b>"
        else:
            yield shown


# --- what they said ---------------------------------------------------------------------------------------


def _lines(attempt: Attempt, report: Report) -> Html:
    if not attempt.lines:
        return ""
    shown = "".join(_line(line, report) for line in attempt.lines)
    if attempt.more_lines:
        shown = f'<li class="note">{many(attempt.more_lines, "earlier line")}</li>{shown}'
    return folded(
        "Output", f'<ol class="log" tabindex="0">{shown}</ol>', opened=True, count=len(attempt.lines)
    )


_LEVELS = {"debug": "dim", "info": "busy", "warning": "warn", "error": "bad", "critical": "bad"}


def _line(line: Line, report: Report) -> Html:
    fields = "".join(
        f" <span>{escape(cut(name, 60))}=<b>{escape(cut(value, 200))}</b></span>"
        for name, value in line.fields
    )
    origin = line.origin if line.origin in ("stdout", "stderr") else line.level
    kind = "dim" if line.origin == "stdout" else _LEVELS.get(line.level, "dim")
    logger = (
        f'<span class="from">{escape(cut(line.origin, 60))}</span> '
        if line.origin and origin != line.origin
        else ""
    )
    at = f'<span class="at" title="{moment(line.at)}">{seconds(max(line.at - report.began, 0.0))}</span>'
    return (
        f'<li>{at}<span class="level {kind}">{escape(origin)}</span>'
        f"<span>{logger}{escape_lines(cut(line.message, _MESSAGE))}{fields}</span></li>"
    )


def _debug(report: Report, path: str) -> str:
    """The command that opens this failure under a debugger, if the report has one."""
    found = (one.line for one in report.commands if one.path == path and one.line.startswith(_DEBUG))
    return next(found, "")


def spent(attempt: Attempt) -> str:
    """What an attempt used, in words; empty if that was not measured."""
    parts = []
    if attempt.cpu is not None:
        parts.append(f"CPU {seconds(attempt.cpu)}")
    if attempt.memory is not None:
        parts.append(f"memory {size(attempt.memory, attempt.exact)}")
    return ", ".join(parts)
