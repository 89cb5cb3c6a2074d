"""Stored runs as people read them: a table of many, a page of one, one of its steps, its events."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TextIO

from penstock.core.history import StoredRun
from penstock.core.model import Failure, NodeStatus, RunStatus
from penstock.core.stored import StoredNode

from .marks import Signs
from .page import Line, Span, coloured, cut, cut_line, duration, fill, many, plain, width
from .streams import has_colours, wide_of
from .words import first

NAMES = 40
MANY = 100
"""Steps that are shown one by one; of more, those that succeeded are one line."""

SHOWN = 40
FAILURES = 8
OUTPUTS = 24
ATTEMPTS = 200

_MARKS = {
    RunStatus.PENDING: NodeStatus.PENDING,
    RunStatus.RUNNING: NodeStatus.RUNNING,
    RunStatus.WAITING: NodeStatus.WAITING,
    RunStatus.SUCCEEDED: NodeStatus.SUCCEEDED,
    RunStatus.FAILED: NodeStatus.FAILED,
    RunStatus.CANCELLED: NodeStatus.CANCELLED,
}
_OUTCOMES = {
    "running": NodeStatus.RUNNING,
    "waiting": NodeStatus.WAITING,
    "succeeded": NodeStatus.SUCCEEDED,
    "failed": NodeStatus.FAILED,
    "cancelled": NodeStatus.CANCELLED,
    "interrupted": NodeStatus.RETRYING,
}
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+)', re.MULTILINE)


def text(lines: Sequence[Line], stream: TextIO) -> str:
    """Lines as a stream can show them."""
    wide, more = wide_of(stream), Signs(stream.encoding).more
    show = coloured if has_colours(stream) else plain
    return "".join(show(cut_line(line, wide, more)) + "\n" for line in lines)


# --- many -------------------------------------------------------------------------------------------------


def table(runs: Sequence[StoredRun], signs: Signs, now: float) -> list[Line]:
    """A line for each run, below a line of titles."""
    titles = ("RUN", "FLOW", "STATUS", "WHEN", "TOOK", "TAGS")
    rows = [
        (
            run.run_id,
            cut(run.flow, NAMES, signs.more),
            word_of(run),
            when(run.created, now),
            duration(run.duration),
            _tags(run.tags),
        )
        for run in runs
    ]
    widths = [max(map(width, column)) for column in zip(titles, *rows, strict=True)]
    widths[2] += 2  # for the sign
    lines: list[Line] = [[("dim", "  ".join(map(fill, titles, widths)))]]
    for run, row in zip(runs, rows, strict=True):
        style, sign = _mark(run, signs)
        id, flow, _, at, took, tags = map(fill, row, widths)
        lines.append([
            ("", f"{id}  {flow}  "),
            (style, fill(f"{sign} {row[2]}", widths[2])),
            ("dim", f"  {at}  "),
            ("", took),
            ("dim", f"  {tags}"),
        ])  # fmt: skip
    return lines


def word_of(run: StoredRun) -> str:
    """The status of a run, or that it was cut off."""
    return "cut off" if run.is_cut_off else run.status.value


def _mark(run: StoredRun, signs: Signs) -> Span:
    if run.is_cut_off:
        return "bad", signs.mark(NodeStatus.RETRYING)[1]
    return signs.mark(_MARKS[run.status])


def _tags(tags: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(tags.items()))


def when(at: float, now: float | None = None) -> str:
    """A moment on this machine's clock: ``today 11:38``, or with its date."""
    try:
        there = time.localtime(at)
        today = now is not None and time.localtime(now)[:3] == there[:3]
        form = "today %H:%M" if today else "%Y-%m-%d %H:%M" if now is not None else "%Y-%m-%d %H:%M:%S"
        return time.strftime(form, there)
    except (OverflowError, ValueError, OSError):  # no date that people have
        return f"{at:g}"


# --- one --------------------------------------------------------------------------------------------------


def page(run: StoredRun, signs: Signs) -> list[Line]:
    """All that matters of one run."""
    nodes = dict(run.nodes)
    lines: list[Line] = [[("strong", run.flow), ("dim", f"  run {run.run_id}")], [], *_head(run)]
    for part in (_steps(nodes, signs), _failures(nodes, signs), _outputs(run), _gates(run, signs)):
        if found := list(part):
            lines += [[], *found]
    return [*lines, [], _verdict(run, nodes, signs)]


def _head(run: StoredRun) -> Iterator[Line]:
    facts = {"created": when(run.created), "tags": _tags(run.tags), "target": run.target or ""}
    facts["inputs"] = ", ".join(f"{name}={run.preview(name, 60)}" for name in run.inputs)
    if run.targets is not None:
        facts["only"] = ", ".join(run.targets)
    facts["parent"] = f"run {run.parent}" if run.parent else ""
    facts["made with"] = _provenance(run.about)
    if run.owner:
        facts["driven by" if run.is_driven else "was driven by"] = run.owner
    names = max(map(len, facts))
    for name, value in facts.items():
        if value:
            yield [("dim", f"  {name:{names}}  "), ("", value)]


def _provenance(about: Mapping[str, str]) -> str:
    """Where a run came from; of commits as much as people read, and how many packages there were."""
    known = {name: value for name, value in about.items() if value and not name.startswith("package ")}
    parts = [f"{name} {value[:12] if name == 'commit' else value}" for name, value in known.items()]
    packages = sum(name.startswith("package ") for name in about)
    return ", ".join([*parts, *([many(packages, "package")] if packages else [])])


def _steps(nodes: Mapping[str, StoredNode], signs: Signs) -> Iterator[Line]:
    left: dict[NodeStatus, int] = {}
    shown = nodes
    if len(nodes) > MANY:
        shown = {}
        for id, node in nodes.items():
            if node.status is not NodeStatus.SUCCEEDED and len(shown) < SHOWN:
                shown[id] = node
            else:
                left[node.status] = left.get(node.status, 0) + 1
    names = min(NAMES, max(map(width, shown), default=0))
    column = max((width(duration(_took(node))) for node in shown.values()), default=0)
    for id, node in shown.items():
        yield _step(node, fill(cut(id, names, signs.more), names), column, signs)
    for status, count in left.items():
        yield [("", "  "), signs.mark(status), ("dim", f" {many(count, 'step')} {status.value}")]


def _took(node: StoredNode) -> float | None:
    """Seconds from its beginning to its end, as whoever watched the run saw them: of a map not the sum."""
    return None if node.began is None or node.ended is None else node.ended - node.began


def _step(node: StoredNode, name: str, column: int, signs: Signs) -> Line:
    status = node.status
    line: list[Span] = [
        ("", "  "),
        signs.mark(status),
        ("dim" if status in (NodeStatus.SKIPPED, NodeStatus.PENDING) else "", f" {name}"),
        ("dim", f"  {fill(duration(_took(node)), column, right=True)}"),
    ]
    if node.counts is not None and node.counts:
        line.append(("bad" if node.counts.get(NodeStatus.FAILED) else "", f"  {_counted(node.counts)}"))
    elif node.failure is not None:
        line.append(("bad", f"  {first(node.failure)}"))
    elif node.reason:
        line.append(("dim", f"  {node.reason}"))
    elif not status.ended or status is NodeStatus.CANCELLED:
        line.append(("warn", f"  {status.value}"))
    if node.attempts > 1 and node.counts is None:
        line.append(("dim", f"  {many(node.attempts, 'attempt')}"))
    if node.source not in (None, "run"):
        line.append(("dim", f"  {node.source}"))
    return line


def _counted(counts: Mapping[NodeStatus, int]) -> str:
    """``1,204 ok, 5 failed``."""
    ok = [f"{counts[NodeStatus.SUCCEEDED]:,} ok"] if NodeStatus.SUCCEEDED in counts else []
    return ", ".join(ok + _others(counts))


def _others(counts: Mapping[NodeStatus, int]) -> list[str]:
    found = [one for one in NodeStatus if one in counts and one is not NodeStatus.SUCCEEDED]
    return [f"{counts[one]:,} {one.value}" for one in found]


def _failures(nodes: Mapping[str, StoredNode], signs: Signs) -> Iterator[Line]:
    told = 0
    for node in nodes.values():
        bad = list(islice(node.items.failed(), 3)) if node.items is not None else [node]
        for one in bad:
            if one.failure is None:
                continue
            told += 1
            if told > FAILURES:
                return
            yield from _failure(one, signs)


def _failure(node: StoredNode, signs: Signs) -> Iterator[Line]:
    assert node.failure is not None
    yield [("bad", f"{node.path} failed"), ("dim", place_of(node.failure))]
    lines = [line for line in str(node.failure).splitlines() if line.strip()] or [node.failure.type]
    for line in [*lines[:4], *([signs.more] if len(lines) > 4 else [])]:
        yield [("", f"    {line.rstrip()}")]


def place_of(failure: Failure) -> str:
    """Where in the user's code a failure came from, and in which attempt, where that matters."""
    tries = f"  attempt {failure.attempt}" if failure.attempt > 1 else ""
    found = list(_FRAME.finditer(failure.trace))
    return f"  {found[-1]['file']}:{found[-1]['line']}{tries}" if found else tries


def _outputs(run: StoredRun) -> Iterator[Line]:
    used = {need for _, needs in run.story.started["shape"] for need in needs}
    ids = [id for id in run.outputs if id not in used]
    shown = {id: run.preview(id, 300) for id in ids[:OUTPUTS]}
    names = min(NAMES, max((width(id) for id, said in shown.items() if said != "None"), default=0))
    for id, said in shown.items():
        if said != "None":
            yield [("dim", f"{fill(cut(id, names), names)}  "), ("", said)]
    if len(ids) > OUTPUTS:
        yield [("dim", f"and {many(len(ids) - OUTPUTS, 'more output')}")]


def _gates(run: StoredRun, signs: Signs) -> Iterator[Line]:
    for gate in run.waiting:
        yield [("warn", f"{signs.mark(NodeStatus.WAITING)[1]} {gate.path}"), ("", f"  {gate.prompt}")]
        says = f"takes {gate.takes}, " if gate.takes else ""
        until = "" if gate.due is None else f", until {when(gate.due)}"
        answered = "; an answer was given, which it takes when it goes on" if gate.answered else ""
        yield [("dim", f"    {says}since {when(gate.since)}{until}{answered}")]


def _verdict(run: StoredRun, nodes: Mapping[str, StoredNode], signs: Signs) -> Line:
    style, sign = _mark(run, signs)
    counts: dict[NodeStatus, int] = {}
    for node in nodes.values():
        counts[node.status] = counts.get(node.status, 0) + 1
    parts = _others(counts)
    done = f"{counts.get(NodeStatus.SUCCEEDED, 0):,} of " if parts else ""
    took = f" in {duration(run.duration)}" if run.duration is not None else ""
    reason = f": {run.reason}" if run.reason else ""
    return [
        (style, f"{sign} {word_of(run)}"),
        ("", f"{took}{reason}"),
        ("dim", f"  {', '.join([done + many(len(nodes), 'step'), *parts])}"),
    ]


# --- a step of it -----------------------------------------------------------------------------------------


def step(run: StoredRun, path: str, signs: Signs) -> list[Line]:
    """One step, or one item of it: its attempts, its items, what failed, and what came out.

    Raises:
        KeyError: There is none.
    """
    node = run.node(path)
    lines: list[Line] = [[("strong", run.flow), ("dim", f"  run {run.run_id}")], []]
    lines.append(_step(node, node.path, 0, signs))
    tries = run.attempts(path)
    if tries:
        lines.append([])
    names = max((width(one.path) for one in tries[:ATTEMPTS]), default=0)
    for one in tries[:ATTEMPTS]:
        took = duration(None if one.ended is None else one.ended - one.began)
        failure = f"  {first(one.failure)}" if one.failure is not None else ""
        lines.append([
            ("", f"  {fill(one.path, names)}  attempt {one.token}  "),
            ("dim", f"{when(one.began)}  "),
            (signs.mark(_OUTCOMES[one.outcome])[0], f"{one.outcome}{f' after {took}' if took else ''}"),
            ("bad", failure),
        ])  # fmt: skip
    if len(tries) > ATTEMPTS:
        lines.append([("dim", f"  and {many(len(tries) - ATTEMPTS, 'more attempt')}")])
    if node.failure is not None:
        trace = node.failure.trace.rstrip() or str(node.failure)
        lines += [[], *([("", f"  {line}")] for line in trace.splitlines())]
    output = run.preview(path, 2_000) if path in run.outputs else ""
    return [*lines, [], [("", f"  {output}")]] if output else lines


# --- its events -------------------------------------------------------------------------------------------


def events(run: StoredRun) -> Iterator[Line]:
    """A line for each event of a run, in order, also those that do not count any more."""
    for event in run.events(decode=False):
        fields: dict[str, Any] = event._asdict()
        at = next((fields.pop(name) for name in ("at", "ended") if fields.get(name)), None)
        path = fields.pop("path", None)
        line: list[Span] = [("dim", f"{_clock(at)}  "), ("", type(event).__name__)]
        if path is not None:
            line.append(("strong", f" {path}"))
        yield [*line, ("dim", "".join(f"  {name} {value}" for name, value in _said(fields)))]


def _clock(at: float | None) -> str:
    if at is None:
        return " " * 12
    try:
        return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at * 1000) % 1000:03}"
    except (OverflowError, ValueError, OSError):
        return f"{at:g}"


_QUIET = ("began", "shape", "options", "seed", "code", "token", "writes", "inputs", "run_id", "flow")


def _said(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from penstock.core.codec import preview

    for name, value in fields.items():
        if name in _QUIET or value is None or value in ("", (), {}) or (name == "source" and value == "run"):
            continue
        if name in ("value", "element"):
            yield name, preview(value, 80)
        elif name == "failure":
            yield name, first(value)
        elif name in ("drop", "restart", "nodes", "keys", "targets", "override"):
            yield name, ", ".join(map(str, value[:10])) + (" …" if len(value) > 10 else "")
        else:
            yield name, str(getattr(value, "value", value))
