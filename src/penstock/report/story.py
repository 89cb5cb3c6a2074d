"""What happened, in one or two sentences."""

from __future__ import annotations

from collections import Counter

from .data import Report, Trouble
from .signs import in_order
from .text import cut, listed, many, seconds

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}
_SAID = 160
"""Characters of an error that the first sentence has room for."""


def story(report: Report) -> str:
    """How the run went and why, for somebody who reads nothing else."""
    match report.status:
        case "succeeded":
            told = f"Succeeded in {seconds(report.wall)}: {_sizes(report)}."
        case "failed":
            told = f"Failed after {seconds(report.wall)}: {_failed(report)}"
        case "cancelled":
            told = f"Cancelled after {seconds(report.wall)}{_because(report)}."
        case "waiting":
            told = f"Waiting, after {seconds(report.wall)} of work: {_gates(report)}."
        case "cut off":
            told = (
                f"Cut off after {seconds(report.wall)}: its process died{_while(report)}. It can be resumed."
            )
        case "running":
            told = f"Running for {seconds(report.wall)} when this was written: {_progress(report)}."
        case _:
            told = f"{report.status.capitalize()}: {_progress(report)}."
    return " ".join(filter(None, (told, _bearable(report), _retried(report), _lives(report))))


def cause(trouble: Trouble, most: int = _SAID) -> str:
    """An error as Python shows it, in one line."""
    if not trouble.text:
        return trouble.type or trouble.kind
    line = trouble.text.strip().split("\n", 1)[0]
    return cut(f"{trouble.type}: {line}" if trouble.type else line, most)


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    return f"{number}{'th' if number % 100 in (11, 12, 13) else _ORDINALS.get(number % 10, 'th')}"


def _sizes(report: Report) -> str:
    items = sum(sum(step.counts.values()) for step in report.steps)
    parts = [many(len(report.standings) or len(report.steps), "step")]
    if items:
        parts.append(many(items, "item"))
    skipped = report.counts.get("skipped", 0)
    return listed(parts) + (f", {skipped:,} of the steps skipped" if skipped else "")


def _failed(report: Report) -> str:
    failures = sorted(report.failures, key=lambda step: step.ended or 0.0)
    heads = [step for step in report.steps if step.mapped and step.status == "failed"]
    if not failures and not heads:
        return f"{report.reason or 'no step says why'}."
    if not failures:
        return f"{listed([repr(step.path) for step in heads[:3]])} failed."
    first = failures[0]
    told = f"'{first.path}' failed"
    if first.tries > 1:
        told += f" at its {ordinal(first.tries)} attempt"
    if first.trouble is not None:
        told += f" with {cause(first.trouble)}"
    others = len(failures) - 1
    if others:
        told += f"; {others:,} more failed"
    skipped = report.counts.get("skipped", 0)
    if skipped:
        told += f"; {many(skipped, 'step')} {'was' if skipped == 1 else 'were'} skipped"
        told += "" if _own_skips(report) else " because of that"
    cancelled = report.counts.get("cancelled", 0)
    if cancelled:
        told += f"; {cancelled:,} cancelled"
    return told.rstrip(".") + "."


def _own_skips(report: Report) -> bool:
    """Whether some steps were skipped for other reasons than a failure."""
    return any(step.status == "skipped" and "fail" not in step.reason for step in report.steps)


def _because(report: Report) -> str:
    told = f": {report.reason.rstrip('.')}" if report.reason else ""
    left = [f"{count:,} {status}" for status, count in in_order(report.counts) if status != "pending"]
    return told + (f". Of {many(len(report.standings) or len(report.steps), 'step')}, {listed(left)}")


def _gates(report: Report) -> str:
    waiting = [gate for gate in report.gates if gate.ended is None]
    if not waiting:
        return "it was put down and waits to go on"
    first = waiting[0]
    asks = f" ({cut(first.prompt, 80)})" if first.prompt else ""
    more = f" and {many(len(waiting) - 1, 'more gate')}" if len(waiting) > 1 else ""
    return f"gate '{first.path}'{asks}{more} {'are' if more else 'is'} open"


def _while(report: Report) -> str:
    cut_off = [
        step.path
        for head in report.steps
        for step in (head, *head.items)
        if any(one.outcome in ("running", "interrupted") and one.counts for one in step.attempts[-1:])
    ]
    if not cut_off:
        return ""
    if len(cut_off) > 3:
        return f" while {len(cut_off):,} attempts ran"
    return f" while {listed([repr(path) for path in cut_off])} ran"


def _progress(report: Report) -> str:
    over = sum(report.counts.get(status, 0) for status in ("succeeded", "failed", "skipped", "cancelled"))
    return f"{over:,} of {many(len(report.standings) or len(report.steps), 'step')} have ended"


def _bearable(report: Report) -> str:
    if report.status != "succeeded":
        return ""
    steps = Counter(step.node for step in report.failures)
    if not steps:
        return ""
    some = listed(
        [f"'{node}'" + (f" ({count:,} items)" if count > 1 else "") for node, count in steps.items()][:3]
    )
    return f"Failures that it could bear: {some}."


def _retried(report: Report) -> str:
    again = sum(
        1
        for head in report.steps
        for step in (head, *head.items)
        if step.status == "succeeded" and any(one.outcome == "failed" for one in step.attempts)
    )
    return f"{many(again, 'step')} succeeded only after a retry." if again else ""


def _lives(report: Report) -> str:
    if len(report.lives) < 2:
        return ""
    crashed = sum(life.crashed for life in report.lives)
    times = {2: "twice", 3: "three times"}.get(len(report.lives), f"{len(report.lives):,} times")
    told = f"It was driven {times}"
    if crashed:
        told += f" (cut off {'once' if crashed == 1 else f'{crashed:,} times'})"
    away = sum(life.away for life in report.lives)
    return f"{told}; nobody drove it for {seconds(away)} in between."
