"""The report of a run that was kept in memory only: of each step it is known when it began and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from ..core.amounts import shown
from ..core.events import (
    Event,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
    RunStarted,
)  # fmt: skip
from ..core.inside import Usage
from ..core.model import NOTHING, Failure, NodePath, NodeStatus, SkipCause
from ..core.outline import Outline
from ..core.result import NodeResult, RunResult
from ..core.standings import standings
from .analysis import critical, efficiency, levels, shortened
from .collect import lives_of
from .data import Output, Report
from .forecast import forecast
from .steps import MOST_ROWS, Said, Steps, used_by
from .timing import Take, Timing, depths_of

_WIDE: Final = 300
_MOST_VALUES: Final = 100

EARLIER: Final = (
    "when earlier attempts ran: one bar stands for all of a step's; give the run a store to see every one"
)


def collect_result(
    result: RunResult,
    outline: Outline,
    *,
    workers: int | None = None,
    usage: Mapping[tuple[str, int], Usage] | None = None,
    most: int = MOST_ROWS,
) -> Report:
    """What is known of a run that was kept in memory.

    Args:
        result: Of the run.
        outline: Its graph.
        workers: `max_concurrency`, if it was given.
        usage: By path and token: what attempts have used.
        most: Steps and items that are shown.
    """
    timing = Timing(outline)
    timing.hear(events_of(result, outline))
    over = bool(timing.finished)
    timing.close(over=over, cut_off=False)
    status = result.status.value
    lives = lives_of(timing, status)
    used = used_by(timing, usage or {})
    busy = levels(timing.takes, timing.now)
    legs, on_path = critical(timing, timing.now)
    figures = efficiency(timing, result.duration, timing.now, busy, workers=workers, usage=used)
    guess = None if figures is None else forecast(timing, result.duration, figures.workers, on_path, busy)
    tried_again = _add_earlier(timing, result)
    steps = Steps(result.nodes, timing, used, on_path, most)
    if tried_again:
        steps.dropped.append(EARLIER)
    names = list(result.outputs)
    if len(names) > _MOST_VALUES:
        steps.dropped.append(f"{len(names) - _MOST_VALUES:,} of {len(names):,} values")
    return Report(
        run_id=result.run_id,
        flow=outline.name,
        status=status,
        reason=result.reason,
        made=time.time(),
        created=result.began,
        began=timing.began,
        ended=timing.now,
        wall=result.duration,
        outline=outline,
        standings=standings(result.nodes),
        counts=steps.counts,
        steps=steps.made(lambda take: Said()),
        lives=lives,
        efficiency=figures,
        critical=shortened(legs),
        levels=busy,
        forecast=guess,
        outputs=tuple(_output(name, result) for name in names[:_MOST_VALUES]),
        warnings=(
            *result.warnings,
            *(f"left behind: {one}" for one in result.abandoned),
            *(f"a failure that was let pass: {path}" for path in result.tolerated),
        ),
        dropped=tuple(steps.dropped),
    )


def _add_earlier(timing: Timing, result: RunResult) -> bool:
    """Adds the attempts that failed and were followed by others, of which no times are known; gives whether
    there were any."""
    earlier: list[Take] = []
    for id, whole in result.nodes.items():
        depth = timing.depths.get(id, 0)
        for one in whole.items if whole.items is not None else (whole,):
            path = _path(id, one.path, depth)
            mine = timing.of.get(path, [])
            for take in mine:
                take.number = max(one.attempts, 1)
            found = []
            for number, failure in enumerate(one.history, 1):
                take = Take(path, number, 0)
                take.number, take.outcome, take.failure = number, "failed", failure
                found.append(take)
            if found:
                timing.of[path] = found + mine
                earlier += found
    timing.takes[:0] = earlier
    return bool(earlier)


def _output(name: str, result: RunResult) -> Output:
    node = result.nodes.get(name)
    text = shown(result.outputs[name])
    return Output(name, text if len(text) <= _WIDE else text[: _WIDE - 1] + "…", _is_mapped(node))


def _is_mapped(node: NodeResult | None) -> bool:
    return node is not None and node.items is not None


def events_of(result: RunResult, outline: Outline) -> list[Event]:
    """What must have happened, as far as its result tells, in the order of time."""
    levels_of = depths_of(outline)
    heads: dict[str, int] = {}
    for node in outline.nodes:
        if node.scope and any(how == "each" for how, _ in node.needs):
            heads[node.id] = node.scope
    timed: list[tuple[float, int, Event]] = []
    untimed: list[Event] = []
    for id, whole in result.nodes.items():
        if whole.items is not None and id in heads:
            untimed += _opened(whole, levels_of[id])
        for one in whole.items if whole.items is not None else (whole,):
            path = _path(id, one.path, levels_of.get(id, 0))
            for event in _of_node(path, one):
                at = event.at if isinstance(event, NodeStarted) else getattr(event, "ended", None)
                if at is None:
                    untimed.append(event)
                else:
                    timed.append((at, 1 if isinstance(event, NodeStarted) else 0, event))
    timed.sort(key=lambda one: one[:2])
    began = result.began or min((at for at, _, _ in timed), default=0.0)
    events: list[Event] = [
        RunStarted(result.run_id, outline.name, (), 0, {}, None, (), {}, {}, None, began),
        *(event for _, _, event in timed),
        *untimed,
    ]
    if result.status.value not in ("waiting", "running", "pending"):
        events.append(RunFinished(result.status, began + result.duration))
    return events


def _opened(whole: NodeResult, depth: int) -> Iterator[Event]:
    """That the map headed by a node was opened, once for each item around it."""
    keys: dict[tuple[int | str, ...], list[int | str]] = {}
    for one in whole.items or ():
        path = _path(whole.path, one.path, depth)
        if path.items:
            keys.setdefault(path.items[:-1], []).append(path.items[-1])
    for outer, mine in keys.items():
        named = any(isinstance(key, str) for key in mine) or mine != list(range(len(mine)))
        yield NodeExpanded(NodePath(whole.path, outer), len(mine), tuple(mine) if named else None)


def _path(id: str, text: str, depth: int) -> NodePath:
    """The path that a text names; a key that holds a comma cannot be told from two, unless it is alone."""
    if not text.startswith(f"{id}[") or not text.endswith("]"):
        return NodePath(id)
    inside = text[len(id) + 1 : -1]
    keys = inside.split(",", depth - 1) if depth > 1 else [inside]
    return NodePath(id, tuple(int(key) if key.isdecimal() and key.isascii() else key for key in keys))


def _of_node(path: NodePath, one: NodeResult) -> Iterator[Event]:
    status = one.status
    if status is NodeStatus.SKIPPED:
        yield NodeSkipped(path, one.skip.cause if one.skip is not None else SkipCause.STOPPED, None)
        return
    began, ended, token = one.began, one.ended, max(one.attempts, 1)
    if began is not None and one.attempts:
        yield NodeStarted(path, token, began)
    if ended is None:
        return
    began = ended if began is None else began
    token = token if one.attempts else 0
    if status is NodeStatus.SUCCEEDED:
        yield NodeSucceeded(path, token, NOTHING, None, one.source or "run", began, ended)
    elif status is NodeStatus.FAILED:
        failure = one.failure or Failure("error", "Failed", "")
        yield NodeFailed(path, token, failure, began, ended)
    elif status is NodeStatus.CANCELLED:
        yield NodeCancelled(path, token, None, began, ended)
