"""How long a run would have taken otherwise: what replays of it say, and how far they can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..core.whatif import CannotReplay, Place, Replay, Taken
from .data import Forecast, Level, WhatIf
from .timing import Items, Take, Timing

MOST_REPLAYED: Final = 20_000
"""Nodes and items of which a run is replayed in every way; of a larger one only in two."""

TOO_MANY: Final = 200_000
"""Nodes and items of which a run is not replayed at all."""

_WORKERS: Final = (1, 2, 4, 8, 16, None)
_STEPS: Final = 3  # steps of which it is asked what they matter
_HOLDS: Final = 0.15  # a replay that misses what was measured by more says nothing
_TWICE: Final = 0.02  # share of the work that may have been done for nothing
_NOISE: Final = 0.05  # seconds by which it may miss it in any case


def forecast(
    timing: Timing, wall: float, workers: int, on_path: Iterable[Take], busy: Sequence[Level]
) -> Forecast | None:
    """What would have been if; None where nothing ran.

    Args:
        timing: Of the run.
        wall: Seconds in which it was driven.
        workers: Attempts at a time that it had.
        on_path: The attempts on its critical path.
        busy: Its levels.
    """
    if not any(not take.gate and take.began is not None for take in timing.takes):
        return None
    waking = sum(life.awake - life.began for life in timing.lives if life.awake is not None)
    measured = max(0.0, wall - waking - _idle(timing, busy))
    unfit = _unfit(timing)
    if unfit:
        return Forecast(measured, note=unfit)
    try:
        replay, left_out = _replay_of(timing)
        replayed = replay.seconds(workers)
    except CannotReplay as error:
        return Forecast(measured, note=f"not replayed: {error}")
    found = Forecast(measured, replayed, workers)
    if abs(replayed - measured) > max(_HOLDS * measured, _NOISE):
        off = f"{abs(replayed / measured - 1):.0%} {'more' if replayed > measured else 'less'}"
        why = "what the run and its runners cost is not in it, and small delays change the order"
        return found._replace(note=f"the replay does not hold: it takes {off} than the run did ({why})")
    few = len(timing.of) > MOST_REPLAYED
    heavy = _heaviest(on_path)
    try:
        ifs = list(_ifs(replay, replayed, workers, heavy, few=few))
    except CannotReplay as error:  # pragma: no cover - it went once
        return found._replace(note=f"not replayed further: {error}")
    notes = [left_out] if left_out else []
    if few:
        notes.append(f"with {len(timing.of):,} nodes and items it was replayed in two ways only")
    return found._replace(ifs=tuple(ifs), note="; ".join(notes))


def _ifs(
    replay: Replay, replayed: float, workers: int, heavy: Sequence[str], *, few: bool
) -> Iterable[WhatIf]:
    def change(seconds: float) -> float:
        return seconds / replayed - 1.0 if replayed > 0 else 0.0

    for many in (2 * workers, None) if few else _WORKERS:
        seconds = replayed if many == workers else replay.seconds(many)
        word = "any number of workers" if many is None else f"{many} worker{'' if many == 1 else 's'}"
        yield WhatIf(word, "workers", seconds, change(seconds), many)
    for id in () if few else heavy[:_STEPS]:
        seconds = replay.seconds(workers, {id: 0.5})
        yield WhatIf(f"{id} twice as quick", "twice", seconds, change(seconds), workers, id)
        seconds = replay.seconds(workers, {id: 0.0})
        yield WhatIf(f"{id} takes no time", "free", seconds, change(seconds), workers, id)


def _heaviest(on_path: Iterable[Take]) -> list[str]:
    """Ids of the steps that take most of the critical path, the first of them first."""
    took: dict[str, float] = {}
    for take in on_path:
        if not take.gate:
            took[take.path.node] = took.get(take.path.node, 0.0) + take.seconds
    return sorted((id for id in took if took[id] > 0), key=lambda id: (-took[id], id))


def _idle(timing: Timing, busy: Sequence[Level]) -> float:
    """Seconds of the run's lives in which a gate was open and nothing else went on."""
    opened = [
        (max(asked.take.began, life.awake or life.began), min(asked.take.ended or life.ended, life.ended))
        for asked in timing.gates
        for life in timing.lives
        if asked.take.began is not None
    ]
    idle = [
        (level.at, after.at)
        for level, after in zip(busy, [*busy[1:], Level(timing.now, 0, 0)], strict=False)
        if not level.running and not level.queued
    ]
    return _common(_merged(opened), idle) if opened else 0.0


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for began, ended in sorted(span for span in spans if span[1] > span[0]):
        if out and began <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], ended)
        else:
            out.append((began, ended))
    return out


def _common(one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> float:
    """Seconds that lie in a span of both; each has its spans in order, and apart."""
    seconds, at, beside = 0.0, 0, 0
    while at < len(one) and beside < len(other):
        began, ended = max(one[at][0], other[beside][0]), min(one[at][1], other[beside][1])
        seconds += max(0.0, ended - began)
        if one[at][1] < other[beside][1]:
            at += 1
        else:
            beside += 1
    return seconds


def _unfit(timing: Timing) -> str:
    """Why a run cannot be replayed; empty if it can."""
    if len(timing.of) > TOO_MANY:
        return f"not replayed: it has {len(timing.of):,} nodes and items"
    if len(timing.outline.scopes) == 1 and any(path.items for path in timing.of):
        return "not replayed: its journal does not tell which steps are mapped"
    ran = {path.node for path in timing.of}
    limited = [
        node.id
        for node in timing.outline.nodes
        if node.id in ran and any(trait.startswith("limit ") for trait in node.traits)
    ]
    if limited:
        some = ", ".join(limited[:3]) + (", …" if len(limited) > 3 else "")
        return f"n/a: steps take limits that a replay does not know ({some})"
    if any(take.outcome == "running" for take in timing.takes):
        return "n/a: the run goes on"
    streams = [node.id for node in timing.outline.nodes if node.id in ran and "stream" in node.traits]
    if streams:
        return f"n/a: {streams[0]} is a stream, and a replay does not know when its elements came"
    work = sum(take.seconds for take in timing.takes if not take.gate)
    twice = [take for take in timing.takes if not take.counts or take.outcome == "interrupted"]
    if sum(take.seconds for take in twice if not take.gate) > _TWICE * work:
        return "n/a: a part of the run was cut off, or done more than once"
    return ""


def _replay_of(timing: Timing) -> tuple[Replay, str]:
    """The replay of a run, and what it leaves out, in words.

    Raises:
        CannotReplay: There is none.
    """
    chains = _chains(timing)
    durations: dict[Place, Taken] = {}
    left_out = 0
    for path, takes in timing.of.items():
        counted = [take for take in takes if take.counts and not take.gate]
        left_out += any(not take.counts or take.outcome == "interrupted" for take in takes)
        if counted and path.node in chains:  # the flow may have changed since
            durations[path.node, _places(timing, chains[path.node], path.items)] = _taken(counted)
    sizes = {}
    for (scope, outer), size in timing.sizes.items():
        source = timing.outline.scopes[scope].source
        sizes[source, _places(timing, chains[source], outer)] = size
    notes = []
    if timing.gates:
        notes.append("gates take no time in it")
    if left_out:
        notes.append("attempts that were cut off, or done again, are not in it")
    bad = sum(takes[-1].outcome in ("failed", "cancelled") for takes in timing.of.values())
    if bad:
        notes.append("what failed, and all that was skipped for it, ends there in it too")
    return Replay(timing.outline, durations, sizes), "; ".join(notes)


def _taken(takes: Sequence[Take]) -> Taken:
    """What a node or item took: the parts of a fold are one."""
    runs: list[float] = []
    pauses: list[float] = []
    part = 0.0
    for take in takes:
        if take.outcome in ("part", "interrupted", "returned"):
            part += take.seconds if take.outcome == "part" else 0.0
            continue
        runs.append(part + take.seconds)
        pauses.append(take.paused)
        part = 0.0
    if part:
        runs.append(part)
    return Taken(tuple(runs), tuple(pauses))


def _chains(timing: Timing) -> dict[str, list[int]]:
    """For each node the maps around it, the outermost first."""
    found = {}
    for node in timing.outline.nodes:
        chain, at = [], node.scope
        while at > 0:
            chain.append(at)
            at = timing.outline.scopes[at].parent
        found[node.id] = chain[::-1]
    return found


def _places(timing: Timing, chain: Sequence[int], items: Items) -> tuple[int, ...]:
    """At which place an item stands in each map around it."""
    found = []
    for level, key in enumerate(items):
        known = timing.places.get((chain[level], items[:level])) if level < len(chain) else None
        place = known.get(key, 0) if known is not None else key
        found.append(place if isinstance(place, int) else 0)
    return tuple(found)
