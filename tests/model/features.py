"""What graphs may have beyond steps, maps, conditions, retries, limits and stops.

`dress` gives it to a graph that there is; `shapes` makes graphs in which it is likely to matter. Neither may
import anything of the package under test.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from random import Random

from tests.model.spec import (
    GraphSpec,
    How,
    Need,
    Path,
    Scope,
    Script,
    Step,
    scopes,
)

FEATURES = frozenset({
    "total", "idle", "deadline", "budget", "abandon", "quorum", "stream", "fold", "keys", "wide", "unroll",
})  # fmt: skip
"""What a graph may have beyond steps, maps, conditions, retries, limits and stops."""


HOWS: tuple[How, ...] = ("use", "use", "optional")


def instances(spec: GraphSpec, script: Script) -> int:
    """Count the instances of a run in which every map opens: no run has more."""
    steps = {step.id: step for step in spec.steps}

    def count(heads: Scope, path: Path) -> int:
        if not heads:
            return 1
        head = steps[heads[0]]
        size = range(script.size(head.source or "", path))
        keys = [script.key(head.id, path, index) if head.keyed else index for index in size]
        return sum(count(heads[1:], (*path, key)) for key in keys)

    return sum(count(scope, ()) for scope in scopes(spec).values())


def dress(rng: Random, spec: GraphSpec, features: Set[str]) -> GraphSpec:
    """Give some of these features to a graph."""
    chosen = {name for name in sorted(features) if rng.random() < 0.45}
    if "unroll" in chosen:
        spec = replace(spec, steps=(*spec.steps, *_unrolled(rng, spec)))
    steps = tuple(_dressed(rng, step, spec, chosen) for step in spec.steps)
    limits = tuple(replace(limit, wide="wide" in chosen and rng.random() < 0.6) for limit in spec.limits)
    spec = replace(spec, steps=steps, limits=limits)
    if "deadline" in chosen:
        spec = replace(spec, deadline=rng.randint(0, 8) + rng.choice((0.03125, 0.28125, 0.53125)))
    if "budget" in chosen:
        spec = replace(spec, retry_budget=rng.choice((0, 1, 2, 3, 5)))
    if "abandon" in chosen:
        spec = replace(spec, max_abandoned=rng.choice((0, 1, 2, 1000)), grace=rng.choice((2.0, 50.0)))
    return spec


def _dressed(rng: Random, step: Step, spec: GraphSpec, chosen: Set[str]) -> Step:
    needs = tuple(_dressed_need(rng, need, chosen) for need in step.needs)
    step = replace(step, needs=needs)
    plain = [need.how == "gather" and need.levels == 1 and need.policy in ("raise", "drop") for need in needs]
    mapped = step.id in spec.lists()  # the value of a fold is no list
    if "fold" in chosen and plain == [True] and not mapped and rng.random() < 0.6:
        return replace(step, fold=True, when=False)
    if "stream" in chosen and rng.random() < (0.7 if step.id in spec.lists() else 0.1):
        step = replace(step, stream=True)
    elif "abandon" in chosen and rng.random() < 0.5:
        step = replace(step, clings=True)
    if "total" in chosen and rng.random() < 0.5:
        step = replace(step, total=rng.choice((1.0625, 1.5625, 2.3125, 4.1875, 6.4375)))
    if "idle" in chosen and rng.random() < 0.5 and not step.stream:
        step = replace(step, idle=rng.choice((0.625, 1.375, 2.875)))
    return step


def _dressed_need(rng: Random, need: Need, chosen: Set[str]) -> Need:
    if need.how == "gather" and "quorum" in chosen and rng.random() < 0.7:
        return replace(need, policy=rng.choice((0, 1, 1, 2, 3, 0.0, 0.25, 0.5, 0.5, 0.75, 1.0)))
    if need.how == "each" and "keys" in chosen and rng.random() < 0.7:
        return replace(need, keyed=True)
    return need


def _unrolled(rng: Random, spec: GraphSpec) -> tuple[Step, ...]:
    """Make what a loop or a switch comes to: steps with conditions, and one that picks a value."""
    above = rng.choice([(), *[(step,) for step in spec.steps]])
    return loop(rng, above) if rng.random() < 0.5 else switch(rng, above)


def loop(rng: Random, above: Sequence[Step]) -> tuple[Step, ...]:
    """Make the rounds of a loop, each of which asks whether another is needed, and the pick of the last."""
    first = tuple(Need(step.id, rng.choice(HOWS)) for step in above)
    plain = Step("", max_attempts=rng.randint(1, 2), delay=1.0)
    rounds = [replace(plain, id="loop/1", needs=first)]
    for at in range(2, rng.randint(3, 6)):
        needs = (*first, Need(f"loop/{at - 1}", "use"))
        rounds.append(replace(plain, id=f"loop/{at}", needs=needs, when=True))
    return (*rounds, _pick("loop", rounds))


def switch(rng: Random, above: Sequence[Step]) -> tuple[Step, ...]:
    """Make a router, the branches of which one runs, and the pick of that one."""
    many = rng.randint(2, 3)
    route = Step("route", tuple(Need(step.id, rng.choice(HOWS)) for step in above))
    branch = Step("", (Need("route", "use"),), when=True, max_attempts=rng.randint(1, 2), delay=1.0)
    branches = [replace(branch, id=f"case/{at}", case=("route", at, many)) for at in range(many)]
    return (route, *branches, _pick("switch", branches))


def _pick(node: str, steps: Sequence[Step]) -> Step:
    """Make the step that takes the value of whichever has run."""
    return Step(node, tuple(Need(step.id, "use", default=True) for step in steps), trigger="any_succeeded")
