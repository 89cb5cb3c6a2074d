"""Cells of the coverage table for time, streams, quorums, folds, keys, and what is made of plain steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.model.spec import Fact, GraphSpec, Instance, Need, Step, scopes
from tests.model.world import ENDED

STREAM_ENDS = ("succeeded", "broken", "cancelled", "retried after elements", "cancelled while paused")
MORE_CELLS: tuple[str, ...] = (
    *(f"timeout {kind} × {end}" for kind in ("attempt", "idle") for end in ("retrying", "failed")),
    "timeout total × failed",
    "timeout total × no time for a retry",
    *(f"deadline × {what}" for what in ("attempt ended", "value in spite", "retry cancelled", "skip")),
    *(f"deadline × {what}" for what in ("no time for a retry", "clean-up after", "during a drain")),
    *(f"retry budget × {what}" for what in ("spent", "left", "none")),
    *(f"abandoned × {what}" for what in ("timeout", "stop", "ended at last", "one too many")),
    "abandoned × holds what others wait for",
    *(f"quorum {kind} × {what}" for kind in ("count", "share") for what in ("held in spite", "missed")),
    *(f"quorum × {what}" for what in ("without a failure", "over levels", "over a broken stream")),
    *(f"stream × {what}" for what in (*STREAM_ENDS, "empty", "paused", "resumed", "timeout while paused")),
    *(f"stream × {what}" for what in ("two maps", "in a map", "its items cancelled")),
    *(f"stream broken × {policy}" for policy in ("raise", "drop", "keep")),
    *(f"fold × {what}" for what in ("at once", "in slices", "raise broken", "drop thinned", "retrying")),
    *(f"fold × {what}" for what in ("of a stream", "in a map", "cancelled in a slice", "cancelled between")),
    *(f"keys × {what}" for what in ("list", "stream", "keys in keys")),
    *(f"process limit × {what}" for what in ("started", "retried", "stream")),
    *(f"loop × {what}" for what in ("ended early", "to its end", "in a map", "failed")),
    *(f"switch × {what}" for what in ("picked", "in a map")),
)


class _Seen:
    """A run, by instance: the facts about each, in order."""

    def __init__(self, spec: GraphSpec, history: Sequence[Fact]) -> None:
        self.spec, self.history = spec, history
        self.steps = {step.id: step for step in spec.steps}
        self.scope = scopes(spec)
        self.facts: defaultdict[Instance, list[Fact]] = defaultdict(list)
        for fact in history:
            if len(fact) > 2:
                self.facts[fact[1], fact[2]].append(fact)

    def of(self, node: str) -> list[list[Fact]]:
        return [facts for (one, _), facts in self.facts.items() if one == node]

    def ends(self, node: str) -> set[str]:
        return {facts[-1][0] for facts in self.of(node) if facts[-1][0] in ENDED}

    def broken(self, node: str) -> bool:
        """Whether a stream gave up after it had begun."""
        return any(facts[-1][0] == "failed" and facts[-1][3] for facts in self.of(node))


def more_cells(spec: GraphSpec, history: Sequence[Fact]) -> Iterator[str]:
    """Give the cells that a run has met."""
    seen = _Seen(spec, history)
    yield from _time(seen)
    yield from _deadline(seen)
    yield from _bounds(seen)
    for step in spec.steps:
        if step.stream:
            yield from _stream(seen, step)
        if step.fold:
            yield from _fold(seen, step)
        for need in step.needs:
            if need.quorum is not None:
                yield from _quorum(seen, step, need)
    yield from _keys(seen)
    yield from _unrolled(seen)


def _time(seen: _Seen) -> Iterator[str]:
    expired = False
    started: dict[Instance, float] = {}
    for fact in seen.history:
        expired = expired or fact[0] == "deadline"
        if fact[0] == "started":
            started[fact[1], fact[2]] = fact[4]
        elif fact[0] == "failed" and fact[4] == "retry_past_deadline" and seen.steps[fact[1]].total:
            yield "timeout total × no time for a retry"
        elif fact[0] in ("retrying", "failed") and (fact[1], fact[2]) in started and not expired:
            step = seen.steps[fact[1]]
            took = (fact[4] if fact[0] == "retrying" else fact[5]) - started[fact[1], fact[2]]
            if took == step.timeout:
                yield f"timeout attempt × {fact[0]}"
            elif took == step.idle:
                yield f"timeout idle × {fact[0]}"
            elif fact[0] == "failed" and fact[4] == "timeout":
                yield "timeout total × failed"


def _deadline(seen: _Seen) -> Iterator[str]:
    kinds = [fact[0] for fact in seen.history]
    if seen.spec.deadline is not None and any(fact[4:5] == ("retry_past_deadline",) for fact in seen.history):
        yield "deadline × no time for a retry"
    if "deadline" not in kinds:
        return
    at = kinds.index("deadline")
    before = {(fact[1], fact[2]): fact[0] for fact in seen.history[:at] if len(fact) > 2}
    if seen.spec.on_failure == "drain" and "failed" in kinds[:at]:
        yield "deadline × during a drain"
    for fact in seen.history[at:]:
        last = before.get((fact[1], fact[2])) if len(fact) > 2 else None
        if last == "started" and fact[0] == "failed" and fact[4] == "timeout":
            yield "deadline × attempt ended"
        elif last == "started" and fact[0] == "succeeded" and seen.steps[fact[1]].trigger != "always":
            yield "deadline × value in spite"
        elif last == "retrying" and fact[0] == "cancelled":
            yield "deadline × retry cancelled"
        elif fact[0] == "skipped":
            yield "deadline × skip"
        elif fact[0] == "started":
            yield "deadline × clean-up after"


def _bounds(seen: _Seen) -> Iterator[str]:
    spec, kinds = seen.spec, [fact[0] for fact in seen.history]
    retries = kinds.count("retrying")
    if spec.retry_budget is not None:
        what = "none" if not spec.retry_budget else "left" if retries < spec.retry_budget else "spent"
        yield f"retry budget × {what}"
    for at, kind in enumerate(kinds):
        if kind == "abandoned":
            yield f"abandoned × {'stop' if kinds[at + 1] == 'cancelled' else 'timeout'}"
        elif kind == "released":
            yield "abandoned × ended at last"
        elif kind == "failed" and seen.history[at][3:5] == (0, "error"):
            yield "abandoned × holds what others wait for"
    if kinds.count("abandoned") > spec.max_abandoned:
        yield "abandoned × one too many"
    wide = {limit.name for limit in spec.limits if limit.wide}
    for step in spec.steps:
        if wide & dict(step.limits).keys():
            starts = [fact for facts in seen.of(step.id) for fact in facts if fact[0] == "started"]
            if starts:
                yield "process limit × started"
            if any(fact[3] > 1 for fact in starts):
                yield "process limit × retried"
            if starts and step.stream:
                yield "process limit × stream"


def _stream(seen: _Seen, step: Step) -> Iterator[str]:
    heads = [one.id for one in seen.spec.steps if one.source == step.id]
    for facts in seen.of(step.id):
        kinds = [fact[0] for fact in facts]
        given = kinds.count("yielded")
        yield from {
            f"stream × {kind}" for kind in kinds if kind in ("paused", "resumed", "succeeded", "cancelled")
        }
        if kinds[-1] == "succeeded" and not given:
            yield "stream × empty"
        if kinds[-2:] == ["paused", "cancelled"]:
            yield "stream × cancelled while paused"
        if kinds[-2:] in (["paused", "failed"], ["paused", "retrying"]):
            yield "stream × timeout while paused"
        if "retrying" in kinds and "yielded" in kinds[: kinds.index("retrying")]:
            yield "stream × retried after elements"
        if given and len(heads) > 1:
            yield "stream × two maps"
        if given and seen.scope[step.id]:
            yield "stream × in a map"
        if given and "cancelled" in {end for head in heads for end in seen.ends(head)}:
            yield "stream × its items cancelled"
    if seen.broken(step.id):
        yield "stream × broken"
        for one in seen.spec.steps:
            for need in one.needs:
                if need.how == "gather" and seen.scope[need.parent][-1] in heads:
                    yield (
                        "quorum × over a broken stream"
                        if need.quorum is not None
                        else f"stream broken × {need.policy}"
                    )


def _fold(seen: _Seen, step: Step) -> Iterator[str]:
    need = step.needs[0]
    failed = "failed" in seen.ends(need.parent)
    source = seen.steps[seen.scope[need.parent][-1]].source or ""
    for facts in seen.of(step.id):
        kinds = [fact[0] for fact in facts]
        if kinds[-1] == "succeeded":
            yield "fold × in slices" if "folded" in kinds else "fold × at once"
            if failed and need.policy == "drop":
                yield "fold × drop thinned"
            if seen.steps[source].stream:
                yield "fold × of a stream"
            if seen.scope[step.id]:
                yield "fold × in a map"
        if kinds[-1] == "skipped" and failed and need.policy == "raise":
            yield "fold × raise broken"
        if "retrying" in kinds:
            yield "fold × retrying"
        if kinds[-2:] == ["started", "cancelled"]:
            yield "fold × cancelled in a slice"
        if kinds[-2:] in (["folded", "cancelled"], ["folded", "skipped"]):
            yield "fold × cancelled between"


def _quorum(seen: _Seen, step: Step, need: Need) -> Iterator[str]:
    kind = "count" if isinstance(need.quorum, int) else "share"
    failed = "failed" in seen.ends(need.parent)
    for facts in seen.of(step.id):
        if failed and any(fact[0] == "started" for fact in facts):
            yield f"quorum {kind} × held in spite"
        last = facts[-1]
        if last[0] == "skipped" and last[3] == "UPSTREAM" and last[4][0] == need.parent:
            yield f"quorum {kind} × missed"
            if last[4][1] == () and seen.scope[need.parent]:
                yield "quorum × without a failure"
    if need.levels > 1 and any(fact[0] == "started" for facts in seen.of(step.id) for fact in facts):
        yield "quorum × over levels"


def _keys(seen: _Seen) -> Iterator[str]:
    for step in seen.spec.steps:
        if step.keyed and any(len(facts[0][2]) == len(seen.scope[step.id]) for facts in seen.of(step.id)):
            yield "keys × stream" if seen.steps[step.source or ""].stream else "keys × list"
            if any(seen.steps[head].keyed for head in seen.scope[step.id][:-1]):
                yield "keys × keys in keys"


def _unrolled(seen: _Seen) -> Iterator[str]:
    for step in seen.spec.steps:
        word = step.id.rpartition(".")[2]
        if word in ("loop", "switch") and "succeeded" in seen.ends(step.id):
            if seen.scope[step.id]:
                yield f"{word} × in a map"
            if word == "switch":
                yield "switch × picked"
        if word == "loop":
            rounds = [need.parent for need in step.needs]
            if "succeeded" in seen.ends(rounds[-1]):
                yield "loop × to its end"
            last = [fact for facts in seen.of(rounds[-1]) for fact in facts]
            if any(fact[0] == "skipped" and fact[3] == "CONDITION" for fact in last):
                yield "loop × ended early"
            if any("failed" in seen.ends(one) for one in rounds):
                yield "loop × failed"
