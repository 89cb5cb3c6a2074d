"""What follows from the times of a run: how busy it was, what kept it from ending earlier, what it wasted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from ..core.inside import Usage
from ..core.model import NodePath
from .data import Efficiency, Leg, Level
from .timing import Take, Timing

MOST_LEVELS: Final = 2_000
MOST_LEGS: Final = 500

_SLIGHT: Final = 0.0005
"""Seconds that a run needs itself to hand something on; less is no wait."""


def levels(takes: Sequence[Take], until: float, most: int = MOST_LEVELS) -> tuple[Level, ...]:
    """How many attempts ran, and waited to run, over time.

    Args:
        takes: The attempts.
        until: When those that go on are taken to end.
        most: Points at most. If there are more, the time is cut into slices, and each shows the most there
            was in it.
    """
    changes: dict[float, list[int]] = {}

    def change(at: float, which: int, by: int) -> None:
        changes.setdefault(at, [0, 0])[which] += by

    for take in takes:
        if take.gate:
            continue
        ended = until if take.ended is None else take.ended
        began = take.began
        if took := _begun(take, ended):
            began = took[0]
            change(took[0], 0, 1)
            change(took[1], 0, -1)
        ready, to = take.ready, ended if began is None else began
        if ready is not None and to - ready > _SLIGHT:
            change(ready, 1, 1)
            change(to, 1, -1)
    if not changes:
        return ()
    at = sorted(changes)
    running = list(accumulate(changes[one][0] for one in at))
    queued = list(accumulate(changes[one][1] for one in at))
    points = [Level(*point) for point in zip(at, running, queued, strict=True)]
    return tuple(points if len(points) <= most else _thinned(points, most))


def _thinned(points: Sequence[Level], most: int) -> Iterator[Level]:
    """The most that there was in each slice of the time."""
    first, slices = points[0].at, most - 1
    width = (points[-1].at - first) / slices
    highest = [[0, 0] for _ in range(slices)]
    before, slot = points[0], 0
    for point in points:
        here = min(int((point.at - first) / width), slices - 1)
        for one in range(slot, here + 1):  # what was before has lasted until now
            highest[one] = [max(highest[one][0], before.running), max(highest[one][1], before.queued)]
        highest[here] = [max(highest[here][0], point.running), max(highest[here][1], point.queued)]
        before, slot = point, here
    for one, (running, queued) in enumerate(highest):
        yield Level(first + one * width, running, queued)
    yield points[-1]


def efficiency(
    timing: Timing,
    wall: float,
    until: float,
    busy: Sequence[Level],
    *,
    workers: int | None = None,
    usage: Mapping[Take, Usage] | None = None,
) -> Efficiency | None:
    """What a run has made of its time; None if nothing ran.

    Args:
        timing: Of the run.
        wall: Seconds in which it was driven.
        until: When what goes on is taken to end.
        busy: Its `levels`.
        workers: How many attempts it was allowed at a time, if that was said.
        usage: What attempts have used, of those that were measured.
    """
    takes = [take for take in timing.takes if not take.gate and _begun(take, until) is not None]
    if not takes:
        return None
    spans = [(take, _begun(take, until)) for take in takes]
    seconds = {take: span[1] - span[0] for take, span in spans if span is not None}
    work = sum(seconds.values())
    peak = max((level.running for level in busy), default=0) or 1
    many = workers if workers is not None else peak
    measured = {
        take: one.cpu for take, one in (usage or {}).items() if one.cpu is not None and take in seconds
    }
    over = sum(seconds[take] for take in measured)
    wasted = sum(
        took for take, took in seconds.items() if not take.counts or take.outcome in ("failed", "interrupted")
    )
    longest = chain(timing)
    due = sum(took for take, took in seconds.items() if _is_due(take))
    return Efficiency(
        wall=wall,
        work=work,
        cpu=sum(measured.values()) if measured else None,
        measured=over / work if work > 0 else 0.0,
        workers=many,
        known=workers is not None,
        peak=peak,
        average=work / wall if wall > 0 else 0.0,
        share=min(1.0, work / (wall * many)) if wall > 0 else 0.0,
        chain=longest,
        bound=max(longest, due / many),
        queued=sum(take.queued for take in takes),
        wasted=wasted,
    )


def _begun(take: Take, until: float) -> tuple[float, float] | None:
    """From when to when an attempt ran; of one that has not told when it began, from its hand-out."""
    if take.outcome == "returned":
        return None
    began = take.start
    if began is None:
        return None
    return began, max(began, until if take.ended is None else take.ended)


def _is_due(take: Take) -> bool:
    """Whether an attempt would have to be made in any case."""
    return take.counts and not take.gate and take.outcome not in ("interrupted", "returned")


def chain(timing: Timing) -> float:
    """Seconds of the longest chain of attempts, and of pauses between them, that need each other."""
    longest: dict[NodePath, float] = {}
    most = 0.0
    for path in timing.order:
        took = sum(take.seconds + take.paused for take in timing.of.get(path, ()) if _is_due(take))
        before = 0.0
        for _, need, depth in timing.needs.get(path.node, ()):
            around = NodePath(need, path.items[:depth])
            if around not in longest and len(timing.outline.scopes) == 1:
                around = NodePath(need, path.items)
            before = max(before, longest.get(around, 0.0))
        mine = before + took
        most = max(most, mine)
        for depth in range(len(path.items) + 1):
            around = NodePath(path.node, path.items[:depth])
            if mine > longest.get(around, -1.0):
                longest[around] = mine
    return most


class _Slots:
    """Who has made room for whom: attempts that ended while nearly as many ran as ever did, or that held a
    limit which the other one takes too."""

    def __init__(self, takes: Iterable[Take], limits: Mapping[str, frozenset[str]]) -> None:
        self._limits = limits
        spans = [
            (began, take.ended, take)
            for take in takes
            if not take.gate and take.ended is not None and (began := take.start) is not None
        ]
        spans.sort(key=lambda span: span[1])
        moments = sorted([(began, 1) for began, _, _ in spans] + [(ended, -1) for _, ended, _ in spans])
        at, count = [moment for moment, _ in moments], list(accumulate(by for _, by in moments))
        enough = max(1, max(count, default=0) * 9 // 10)  # one begins only a little after another has ended
        full = [span for span in spans if count[bisect_left(at, span[1]) - 1] >= enough]
        self._lines = {"": ([ended for _, ended, _ in full], [take for _, _, take in full])}
        for limit in {one for some in limits.values() for one in some}:
            mine = [span for span in spans if limit in limits.get(span[2].path.node, ())]
            self._lines[limit] = [ended for _, ended, _ in mine], [take for _, _, take in mine]

    def freed_by(self, take: Take) -> Take | None:
        """Whose end gave this attempt its place, if it had to wait for one."""
        ready, began = take.ready, take.start
        if take.gate or ready is None or began is None or began - ready <= _SLIGHT:
            return None
        for limit in ("", *sorted(self._limits.get(take.path.node, ()))):
            ends, takes = self._lines[limit]
            at = bisect_right(ends, began) - 1
            while at >= 0 and takes[at] is take:
                at -= 1
            if at >= 0 and ends[at] > ready and began - ends[at] < max(_SLIGHT * 20, (began - ready) / 2):
                return takes[at]
        return None


def critical(timing: Timing, until: float) -> tuple[list[Leg], set[Take]]:
    """The critical path: from the last ending back to the beginning, what each attempt had waited for.

    Args:
        timing: Of the run.
        until: When the path ends.

    Returns:
        The path without gaps, in the order of time, and the attempts on it.
    """
    legs: list[Leg] = []
    taken: set[Take] = set()
    last_of = _last_of_lives(timing, until)
    life = len(timing.lives) - 1
    take = last_of[life]
    slots = _Slots(timing.takes, _limits(timing))
    at = until
    while True:
        if take is None or take in taken:
            born = timing.lives[life].began
            at = _leg(legs, "engine", None, born, at)
            if life == 0:
                break
            at = _leg(legs, "away", None, timing.lives[life - 1].ended, at, "start")
            life -= 1
            take = last_of[life]
            continue
        taken.add(take)
        life = min(life, take.life)
        at, take = _back(legs, take, at, slots)
    if legs and at > timing.began:
        _leg(legs, "engine", None, timing.began, at)
    legs.reverse()
    return legs, taken


def _back(legs: list[Leg], take: Take, at: float, slots: _Slots) -> tuple[float, Take | None]:
    """The legs of one attempt, the last first; gives when it became ready, and what it had waited for."""
    at = _leg(legs, "engine", None, at if take.ended is None else take.ended, at)
    freed = slots.freed_by(take)
    before, why = (freed, "slot") if freed is not None else (take.after, take.why)
    at = _leg(legs, "gate" if take.gate else "run", take, take.start, at, why)
    since = take.ready if freed is None else freed.ended
    if since is not None and take.handed is not None:
        at = _leg(legs, "queue", take, max(take.handed, since), at)
    short = since is not None and at - since <= _SLIGHT * 20
    at = _leg(legs, "engine" if short else "wait", take, since, at)
    if before is not None and why == "retry":
        at = _leg(legs, "pause", before, before.ended, at)
    return at, before


def _leg(
    legs: list[Leg], kind: str, take: Take | None, began: float | None, at: float, why: str = ""
) -> float:
    """Adds what lies between two moments, if anything does; gives the earlier one."""
    if began is None or began >= at:
        return at
    path = "" if take is None else str(take.path)
    legs.append(Leg(kind, path, 0 if take is None else take.number, began, at, why))
    return began


def _last_of_lives(timing: Timing, until: float) -> list[Take | None]:
    """For each life the attempt that was the last to end in it."""
    found: list[Take | None] = [None] * len(timing.lives)
    ends = [life.ended for life in timing.lives]
    ends[-1] = max(ends[-1], until)
    latest = [-1.0] * len(ends)
    for take in timing.takes:
        if take.outcome == "returned":
            continue
        ended = until if take.ended is None else take.ended
        life = take.life
        while life < len(ends) - 1 and ended > ends[life]:  # a gate is open from one life to another
            life += 1
        if ended >= latest[life]:
            latest[life], found[life] = ended, take
    return found


def _limits(timing: Timing) -> dict[str, frozenset[str]]:
    """The named limits that nodes take, by id, as their outline tells."""
    found = {}
    for node in timing.outline.nodes:
        names = [trait for trait in node.traits if trait.startswith("limit ")]
        if names:
            found[node.id] = frozenset(name.partition(" × ")[0] for name in names)
    return found


def shortened(legs: Sequence[Leg], most: int = MOST_LEGS) -> tuple[Leg, ...]:
    """A critical path of so many legs at most: neighbours that are short are put together."""
    legs = list(legs)
    if len(legs) <= most:
        return tuple(legs)
    least = sorted((leg.seconds for leg in legs), reverse=True)[most // 2 - 1]
    out: list[Leg] = []
    for leg in legs:
        if leg.seconds >= least and len(out) < most - 2:
            out.append(leg)
        elif out and out[-1].kind == "several":
            out[-1] = out[-1]._replace(ended=leg.ended)
        else:
            out.append(Leg("several", "", 0, leg.began, leg.ended))
    return tuple(out)
