"""What the run made of its time, and how long it would have taken otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from .data import Forecast, Report, WhatIf
from .signs import definitions, section
from .text import Html, change, cut, escape, many, percent, seconds

_KINDS = {
    "run": ("running", "k-run"),
    "wait": ("waiting for a slot or limit", "k-wait"),
    "queue": ("in the runner's queue", "k-queue"),
    "pause": ("pauses before retries", "k-pause"),
    "gate": ("gates", "k-gate"),
    "engine": ("the run itself: scheduling, storing", "k-engine"),
}
_LEGS = 8
_LITTLE = 0.005
"""Share of the run below which a quicker step is not worth a line."""

_SHORT = 0.003
"""Share of the critical path below which a part of it is not named."""


def efficiency(report: Report, numbers: Mapping[str, int]) -> Html:
    """The section; empty where nothing ran."""
    parts = _figures(report) + _path(report, numbers) + _forecast(report)
    if not parts:
        return ""
    return section("efficiency", "Where the time went", "", f'<div class="cols">{parts}</div>')


def _figures(report: Report) -> Html:
    found = report.efficiency
    if found is None:
        return ""
    workers = f"{found.workers:,}{'' if found.known else ' <small>the most that ran at a time</small>'}"
    rows: list[tuple[str, Html]] = [
        ("Work", f"{seconds(found.work)} <small>all attempts together</small>"),
        ("Wall time", seconds(found.wall)),
        ("Workers", workers),
        ("Parallel efficiency", f"{percent(found.share)} <small>of what the workers could have done</small>"),
        ("Attempts at a time", f"{found.average:.3g} <small>on average, {found.peak:,} at the peak</small>"),
        (
            "Lower bound",
            f"{seconds(found.bound)} <small>with these workers; "
            f"{seconds(found.chain)} with any number</small>",
        ),
    ]
    if found.cpu is not None:
        share = percent(found.cpu / found.work) if found.work else "–"
        part = f", measured for {percent(found.measured)} of it" if found.measured < 0.995 else ""
        rows.append(("Processor time", f"{seconds(found.cpu)} <small>{share} of the work{part}</small>"))
    if found.queued:
        rows.append(("Waited", f"{seconds(found.queued)} <small>all attempts together</small>"))
    if found.wasted:
        rows.append(("Work in vain", f"{seconds(found.wasted)} <small>failed, cut off or done again</small>"))
    return f'<div class="col"><h3>Efficiency</h3>{definitions(rows, "kv")}</div>'


def _path(report: Report, numbers: Mapping[str, int]) -> Html:
    """The critical path: what it consists of, and its longest parts."""
    if not report.critical:
        return ""
    away = sum(leg.seconds for leg in report.critical if leg.kind == "away")
    total = sum(leg.seconds for leg in report.critical) - away or 1e-9
    kinds: defaultdict[str, float] = defaultdict(float)
    steps: defaultdict[tuple[str, str], float] = defaultdict(float)
    for leg in report.critical:
        if leg.kind != "away":
            kinds[leg.kind] += leg.seconds
        if leg.path and leg.kind != "engine":
            steps[leg.path, leg.kind] += leg.seconds
    parts = sorted(kinds.items(), key=lambda pair: -pair[1])
    words = {kind: _KINDS.get(kind, (kind, "k-engine")) for kind, _ in parts}
    bar = "".join(
        f'<i class="{words[kind][1]}" style="flex:{took / total:.4f} 0 2px"></i>' for kind, took in parts
    )
    legend = "".join(
        f'<li class="{words[kind][1]}"><b>{percent(took / total)}</b> {escape(words[kind][0])} '
        f"<small>{seconds(took)}</small></li>"
        for kind, took in parts
        if took / total >= 0.001 or kind == "run"
    )
    without = f", without the {seconds(away)} in which nobody drove it" if away else ""
    told = ", ".join(f"{words[kind][0]} {percent(took / total)}" for kind, took in parts)
    longest = sorted((pair for pair in steps.items() if pair[1] > total * _SHORT), key=lambda pair: -pair[1])
    legs = "".join(_leg(path, kind, took, total, numbers) for (path, kind), took in longest[:_LEGS])
    more = len(longest) - _LEGS
    rest = f'<p class="note">and {many(more, "shorter part")}</p>' if more > 0 else ""
    return (
        '<div class="col"><h3>Critical path</h3>'
        f'<p class="lead">The chain of waits and attempts that kept the run from ending earlier{without}.</p>'
        f'<div class="share" role="img" aria-label="Critical path: {escape(told)}">{bar}</div>'
        f'<ul class="legend marks">{legend}</ul><ol class="legs">{legs}</ol>{rest}</div>'
    )


def _leg(path: str, kind: str, took: float, total: float, numbers: Mapping[str, int]) -> Html:
    name = escape(cut(path, 60))
    number = numbers.get(path)
    called = (
        f'<a href="#r{number}" data-r="{number}">{name}</a>' if number is not None else f"<span>{name}</span>"
    )
    words = _KINDS.get(kind, (kind, "k-engine"))
    note = "" if kind == "run" else f" <small>{escape(words[0])}</small>"
    return (
        f'<li><span class="name">{called}{note}</span><span class="num">{seconds(took)}</span>'
        f"{_meter(took / total, words[1])}</li>"
    )


def _meter(share: float, kind: str = "") -> Html:
    named = f' class="{kind}"' if kind else ""
    return f'<span class="meter" aria-hidden="true"><i{named} style="width:{share * 100:.3g}%"></i></span>'


# --- what if ----------------------------------------------------------------------------------------------


def _forecast(report: Report) -> Html:
    found = report.forecast
    if found is None:
        return ""
    note = f'<p class="note">{escape(found.note)}</p>' if found.note else ""
    if not found.ifs:
        return f'<div class="col"><h3>What if</h3>{note}</div>' if note else ""
    most = max(*(one.seconds for one in found.ifs), found.replayed or 0.0, 1e-9)
    workers = sorted(
        (one for one in found.ifs if one.kind == "workers"),
        key=lambda one: float("inf") if one.workers is None else one.workers,
    )
    steps = [one for one in found.ifs if one.kind != "workers" and one.change < -_LITTLE]
    body = "".join(_bar(one, most, one.workers == found.workers) for one in workers)
    if not any(one.workers == found.workers for one in workers):
        body = _was(found, most) + body
    quicker = "".join(_bar(one, most, False) for one in steps)
    html = "".join(f'<ul class="ifs">{part}</ul>' for part in (body, quicker) if part)
    return f'<div class="col"><h3>What if</h3>{_caveat(found)}{html}{note}</div>'


def _was(found: Forecast, most: float) -> Html:
    if found.replayed is None:
        return ""
    workers = "any number of workers" if found.workers is None else many(found.workers, "worker")
    return _bar(WhatIf(f"{workers}, as it was", "workers", found.replayed, 0.0, found.workers), most, True)


def _bar(one: WhatIf, most: float, now: bool) -> Html:
    verdict = "now" if now else change(one.change)
    kind = "now" if now else "less" if one.change < -_LITTLE else "more" if one.change > _LITTLE else "same"
    return (
        f'<li class="{kind}"><span class="what">{escape(cut(one.what, 80))}</span>'
        f'<span class="num">{seconds(one.seconds)}</span><span class="num verdict">{verdict}</span>'
        f"{_meter(one.seconds / most)}</li>"
    )


def _caveat(found: Forecast) -> Html:
    told = "What the steps took, replayed by the same scheduler"
    if found.error is not None:
        told += (
            f"; the replay of the run as it was comes to {seconds(found.replayed)} against "
            f"{seconds(found.measured)} measured ({change(found.error)})"
        )
    told += ". Steps that hinder each other, and what starting takes, are not in it."
    return f'<p class="lead">{escape(told)}</p>'
