"""What is said when a run is over: a line per step, what failed and where, what came out, and the result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from reprlib import Repr
from typing import Any

from penstock.core.model import Failure, NodeStatus, RunStatus
from penstock.core.result import NodeResult, RunResult
from penstock.core.visible import one_line

from .marks import Signs
from .page import Line, Span, cut, cut_line, duration, fill, many, width
from .rows import Row
from .tally import Tally
from .words import first

NAMES = 40
MANY_STEPS = 50
SHOWN = 20
"""Of more than MANY_STEPS steps those that succeeded are one line, and of the others this many are shown."""

FAILURES = 8
OUTPUTS = 12

_VERDICTS = {
    RunStatus.SUCCEEDED: ("good", NodeStatus.SUCCEEDED),
    RunStatus.FAILED: ("bad", NodeStatus.FAILED),
    RunStatus.CANCELLED: ("warn", NodeStatus.CANCELLED),
    RunStatus.WAITING: ("warn", NodeStatus.WAITING),
}

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<name>.*))?$', re.MULTILINE)


def summary(tally: Tally, result: RunResult, wide: int, signs: Signs) -> list[Line]:
    """The lines of it.

    Args:
        tally: What was counted.
        result: What was given back.
        wide: Cells of a line.
        signs: What can be shown.
    """
    lines: list[Line] = [
        [("strong", tally.flow), ("dim", f"  run {result.run_id}")],
        [],
        *_steps(tally, result, signs),
    ]
    for part in (_failures(tally, result, signs), _notes(result), _outputs(result, signs)):
        if found := list(part):
            lines += [[], *found]
    lines += [[], _verdict(tally, result, signs)]
    return [cut_line(line, wide, signs.more) for line in lines]


def _steps(tally: Tally, result: RunResult, signs: Signs) -> Iterator[Line]:
    nodes = {id: node for id in tally.rows if (node := result.nodes.get(id)) is not None}
    left: dict[NodeStatus, int] = {}
    if len(nodes) > MANY_STEPS:
        shown: dict[str, NodeResult] = {}
        for id, node in nodes.items():
            quiet = node.status is NodeStatus.SUCCEEDED
            if not quiet and sum(one.status is node.status for one in shown.values()) < SHOWN:
                shown[id] = node
            else:
                left[node.status] = left.get(node.status, 0) + 1
        nodes = shown
    names = min(NAMES, max(map(width, nodes), default=0))
    times = [duration(_took(tally.rows[id], node)) for id, node in nodes.items()]
    column = max(map(width, times), default=0)
    for (id, node), took in zip(nodes.items(), times, strict=True):
        yield _step(tally.rows[id], node, names, fill(took, column, right=True), result, signs)
    for status, count in left.items():
        steps = many(count, "step" if status is NodeStatus.SUCCEEDED else "more step")
        yield [("", "  "), signs.mark(status), ("dim", f" {steps} {status.value}")]


def _took(row: Row, node: NodeResult) -> float | None:
    """Of a mapped step, from its first item's start to its last one's end."""
    if node.items is None:
        return node.duration
    return row.ended - row.began if row.began is not None and row.ended is not None else None


def _step(row: Row, node: NodeResult, names: int, took: str, result: RunResult, signs: Signs) -> Line:
    status = node.status
    quiet = "dim" if status in (NodeStatus.SKIPPED, NodeStatus.PENDING) else ""
    let_pass = row.id in result.tolerated or (status is NodeStatus.SUCCEEDED and row.failed > 0)
    style, sign = signs.mark(status)
    line: list[Span] = [
        ("", "  "),
        ("warn" if let_pass and status is NodeStatus.FAILED else style, sign),
        (quiet, " " + fill(cut(row.id, names, signs.more), names)),
        ("dim", f"  {took}"),
    ]
    if node.items is not None and row.whole is None:
        return [*line, *_counts(row, let_pass)]
    if node.failure is not None:
        line += [("warn" if let_pass else "bad", f"  {first(node.failure)}")]
        line += [("dim", " (tolerated)")] if let_pass else []
    elif node.reason:
        line += [("dim", f"  {node.reason}")]
    elif status in (NodeStatus.CANCELLED, NodeStatus.WAITING):
        line += [("warn", f"  {status.value}")]
    if node.attempts > 1:
        line += [("dim", f"  {many(node.attempts, 'attempt')}")]
    if node.source not in (None, "run"):
        line += [("dim", f"  {node.source}")]
    return line


def _counts(row: Row, let_pass: bool) -> Iterator[Span]:
    """``  1,204 ok, 5 failed (tolerated), 2 skipped``."""
    parts: list[Span] = [("", f"{row.succeeded:,} ok")] if row.succeeded or not row.done else []
    if row.failed:
        parts.append(
            ("warn" if let_pass else "bad", f"{row.failed:,} failed{' (tolerated)' if let_pass else ''}")
        )
    if row.skipped:
        parts.append(("dim", f"{row.skipped:,} skipped"))
    if row.cancelled:
        parts.append(("warn", f"{row.cancelled:,} cancelled"))
    again = row.attempts - row.succeeded - row.failed - row.cancelled
    if again > 0:
        parts.append(("dim", many(again, "retry", "retries")))
    for number, part in enumerate(parts):
        yield "", ", " if number else "  "
        yield part


def _failures(tally: Tally, result: RunResult, signs: Signs) -> Iterator[Line]:
    """What failed, with its text and the user's own line; those that were let pass come last."""
    rows = [row for row in tally.rows.values() if row.failures]
    rows.sort(key=lambda row: row.failures[0][0] in result.tolerated)
    told = 0
    for row in rows[:FAILURES]:
        for path, failure in row.failures[:3]:
            told += 1
            tail = "  tolerated" if path in result.tolerated else ""
            yield [("bad" if not tail else "warn", f"{path} failed"), ("dim", _where(failure) + tail)]
            for text in _text(failure, signs):
                yield [("", f"    {text}")]
    if (more := sum(row.failed for row in rows) - told) > 0:
        yield [("dim", f"and {many(more, 'more failure')}")]


def _where(failure: Failure) -> str:
    found = list(_FRAME.finditer(failure.trace))
    tries = f"  attempt {failure.attempt}" if failure.attempt > 1 else ""
    if not found:
        return tries
    last = found[-1]
    return f"  {last['file']}:{last['line']}{tries}"


def _text(failure: Failure, signs: Signs, most: int = 4) -> Iterator[str]:
    lines = [line for line in str(failure).splitlines() if line.strip()] or [failure.type]
    for line in lines[:most]:
        yield line.rstrip()
    if len(lines) > most:
        yield signs.more


def _notes(result: RunResult) -> Iterator[Line]:
    for left in result.abandoned:
        yield [("warn", f"abandoned: {left} could not be stopped and goes on by itself")]
    for warning in result.warnings:
        if warning not in result.reason:
            yield [("warn", f"warning: {warning}")]
    if result.status is RunStatus.FAILED and result.reason:
        yield [("bad", f"the run failed: {result.reason}")]


def _outputs(result: RunResult, signs: Signs) -> Iterator[Line]:
    outputs: Mapping[str, Any] = {
        id: value for id, value in result.outputs.items() if _says_something(result.nodes[id], value)
    }
    names = min(NAMES, max(map(width, outputs), default=0))
    for number, (id, value) in enumerate(outputs.items()):
        if number == OUTPUTS:
            yield [("dim", f"and {many(len(outputs) - OUTPUTS, 'more output')}")]
            return
        mapped = result.nodes[id].items is not None
        how_many = f"{many(len(value), 'item')}: " if mapped and isinstance(value, Sequence) else ""
        name = fill(cut(id, names, signs.more), names)
        yield [("dim", f"{name}  "), ("", how_many + brief(value))]


def _says_something(node: NodeResult, value: Any) -> bool:
    """Whether a value is worth a line: not None, nor the successes of a map that failed and has none."""
    if node.items is None:
        return value is not None
    return node.status is NodeStatus.SUCCEEDED or bool(value)


class _Brief(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 300
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6


def brief(value: Any) -> str:
    """The repr of a value on one line; a text as it is. Never raises."""
    try:
        text = (
            cut(value, 600) if type(value) is str and value.isprintable() and value else _Brief().repr(value)
        )
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return cut(one_line(text), 600)


def _verdict(tally: Tally, result: RunResult, signs: Signs) -> Line:
    style, mark = _VERDICTS.get(result.status, ("warn", NodeStatus.WAITING))
    counts: dict[NodeStatus, int] = {}
    for id in tally.rows:
        node = result.nodes.get(id)
        if node is not None:
            counts[node.status] = counts.get(node.status, 0) + 1
    parts = [
        f"{counts[status]:,} {status.value}"
        for status in NodeStatus
        if counts.get(status) and status is not NodeStatus.SUCCEEDED
    ]
    done = counts.get(NodeStatus.SUCCEEDED, 0)
    steps = many(len(tally.rows), "step") if not parts else f"{done:,} of {many(len(tally.rows), 'step')}"
    return [
        (style, f"{signs.mark(mark)[1]} {result.status.value}"),
        ("", f" in {duration(result.duration)}"),
        ("dim", f"  {', '.join([steps, *parts])}"),
    ]
