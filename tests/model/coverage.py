"""Counts in how many random runs each case of the semantics occurred, so that the dice can be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.model.generate import DEEPEST
from tests.model.more_coverage import MORE_CELLS, more_cells
from tests.model.spec import TRIGGERS, Fact, GraphSpec, Instance, Path, Script
from tests.model.world import ENDED

ENDS = ("succeeded", "failed", "skipped-condition", "skipped-upstream", "skipped-stopped", "cancelled")
LIMITS = ("none", "capacity", "rate", "both", "weight>1", "max_concurrency")
PHASES = (
    "nothing started",
    "something running",
    "something retrying",
    "after everything but clean-up",
    "none",
)
CELLS: tuple[str, ...] = (
    # Every trigger can end in every way. An `always` step is skipped as UPSTREAM or STOPPED only with its
    # whole map, when the source of the map did not succeed. An `all_done`, `all_failed` or callable one is
    # skipped as UPSTREAM so, or when the run is stopping and a need that it does not accept has failed.
    *(f"trigger {trigger} × {end}" for trigger in TRIGGERS for end in ENDS),
    *(f"on_failure {how} × {what}" for how in ("stop", "drain", "continue") for what in ("failure", "none")),
    *(f"limit {kind}" for kind in LIMITS),
    *(f"cancel {phase}" for phase in PHASES),
    # Depth 0 is a graph without maps: it is never empty.
    *(f"depth {depth} × {what}" for depth in range(DEEPEST + 1) for what in ("full", "failed item")),
    *(f"depth {depth} × empty" for depth in range(1, DEEPEST + 1)),
    *MORE_CELLS,
)


class Coverage:
    """Counts in how many runs each cell occurred: a run counts once for a cell, however often it met it."""

    def __init__(self) -> None:
        self.runs = 0
        self.counts: Counter[str] = Counter()

    def note(self, spec: GraphSpec, script: Script, history: Sequence[Fact]) -> None:
        """Count the cells that a run has met."""
        self.runs += 1
        met = {
            *_trigger_cells(spec, history),
            *_limit_cells(spec),
            *_depth_cells(spec, script, history),
            *_cancel_cells(spec, history),
            *more_cells(spec, history),
            f"on_failure {spec.on_failure} × {_failure(history)}",
        }
        self.counts.update(met)

    def table(self) -> str:
        """Write the counts for people, a cell a line."""
        wide = max(len(cell) for cell in CELLS)
        lines = [f"{cell:{wide}} {self.counts[cell]:7}" for cell in CELLS]
        return "\n".join([f"{'runs':{wide}} {self.runs:7}", *lines])

    def missing(self, minimum: int) -> list[str]:
        """List the cells that were met in fewer than `minimum` runs."""
        return [f"{cell}: {self.counts[cell]}" for cell in CELLS if self.counts[cell] < minimum]


def _failure(history: Iterable[Fact]) -> str:
    return "failure" if any(fact[0] == "failed" for fact in history) else "none"


def _trigger_cells(spec: GraphSpec, history: Sequence[Fact]) -> Iterator[str]:
    triggers = {step.id: step.trigger for step in spec.steps}
    for fact in history:
        end = f"skipped-{fact[3].lower()}" if fact[0] == "skipped" else fact[0]
        if end in ENDS:
            yield f"trigger {triggers[fact[1]]} × {end}"


def _limit_cells(spec: GraphSpec) -> Iterator[str]:
    limits = {limit.name: limit for limit in spec.limits}
    used = [(limits[name], weight) for step in spec.steps for name, weight in step.limits]
    if not used:
        yield "limit none"
    if spec.max_concurrency is not None:
        yield "limit max_concurrency"
    for limit, weight in used:
        if weight > 1:
            yield "limit weight>1"
        yield f"limit {'rate' if limit.capacity is None else 'capacity' if limit.rate is None else 'both'}"


def _depth_cells(spec: GraphSpec, script: Script, history: Sequence[Fact]) -> Iterator[str]:
    """Judge each map that opened by the items of its head; a graph without maps by all its steps."""
    heads = [step for step in spec.steps if step.source is not None]
    ended = {(fact[1], fact[2]): fact[0] for fact in history if fact[0] in ("succeeded", "failed")}
    if not heads and "failed" in ended.values():
        yield "depth 0 × failed item"
    elif not heads and len(ended) == list(ended.values()).count("succeeded") == len(spec.steps):
        yield "depth 0 × full"
    for head, path, keys in _maps(history):
        ends = [ended.get((head, (*path, key))) for key in keys]
        if not ends:
            yield f"depth {len(path) + 1} × empty"
        elif "failed" in ends:
            yield f"depth {len(path) + 1} × failed item"
        elif set(ends) == {"succeeded"}:
            yield f"depth {len(path) + 1} × full"


def _maps(history: Sequence[Fact]) -> Iterator[tuple[str, Path, Sequence[int | str]]]:
    """Give every map that opened, and what tells its items from one another; of a stream, those there are."""
    items = {(fact[1], fact[2]) for fact in history if fact[0] in ENDED}
    for fact in history:
        if fact[0] == "expanded":
            own = [path[-1] for node, path in items if node == fact[1] and path[:-1] == fact[2] and path]
            yield fact[1], fact[2], own if fact[3] is None else fact[3]


def _cancel_cells(spec: GraphSpec, history: Sequence[Fact]) -> Iterator[str]:
    asked = [index for index, fact in enumerate(history) if fact[0] == "cancel_asked"]
    if not asked:
        yield "cancel none"
        return
    always = {step.id for step in spec.steps if step.trigger == "always"}
    states: dict[Instance, str] = {
        (fact[1], fact[2]): fact[0] for fact in history[: asked[0]] if len(fact) > 3
    }
    later = {fact[1] for fact in history[asked[0] :] if len(fact) > 3}
    if not any(fact[0] == "started" for fact in history[: asked[0]]):
        yield "cancel nothing started"
    if "started" in states.values():
        yield "cancel something running"
    if "retrying" in states.values():
        yield "cancel something retrying"
    if later and later <= always:
        yield "cancel after everything but clean-up"
