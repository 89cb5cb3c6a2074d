"""Random graphs, small and odd.

The generator builds valid graphs only and knows nothing of how a run goes; `coverage` says whether its dice
are loaded well enough. It must never import anything of the package under test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from random import Random

from tests.model.features import FEATURES, dress, instances
from tests.model.shapes import showcase
from tests.model.spec import (
    GraphSpec,
    LimitSpec,
    Need,
    OnFailure,
    Scope,
    Script,
    Step,
    Trigger,
    problems,
    seen_at,
)

MOST_INSTANCES = 300
MOST_STEPS = 14
DEEPEST = 3


def generate(seed: int, features: Set[str] = FEATURES) -> GraphSpec:
    """Make the graph of a seed, with these features and no others."""
    return random_spec(Random(seed), features)


def random_spec(rng: Random, features: Set[str] = FEATURES) -> GraphSpec:
    """Make a valid graph of 1 to 14 steps or a few more; one state of `rng` gives one graph."""
    unknown = set(features) - FEATURES
    if unknown:
        raise ValueError(f"no such features: {sorted(unknown)}; there are {sorted(FEATURES)}")
    while True:
        dice = rng.random()
        if dice < 0.25:
            spec = _finale(rng)
        elif dice < 0.262:
            spec = _clean_up(rng)
        elif dice < 0.277:
            spec = _plain_chain(rng)
        elif dice < 0.355 or not features:
            spec = _any_graph(rng)
            if rng.random() < 0.6:
                spec = dress(rng, spec, features)
        else:
            spec = showcase(rng, features)
        assert not problems(spec), (problems(spec), spec)
        if instances(spec, Script.of(spec)) <= MOST_INSTANCES:
            return spec


def _any_graph(rng: Random) -> GraphSpec:
    depth = rng.choices(range(DEEPEST + 1), (2, 2, 2, 12))[0]
    limits = _limits(rng)
    steps: list[Step] = []
    scope: dict[str, Scope] = {}
    for index in range(rng.choice((rng.randint(1, 6), rng.randint(6, MOST_STEPS)))):
        needs, under = _spine(rng, scope, depth) or _needs(rng, scope, depth)
        step = _step(rng, f"s{index}", needs, limits)
        steps.append(step)
        scope[step.id] = (*under, step.id) if step.source is not None else under
    if rng.random() < 0.3:
        rng.shuffle(steps)  # the order of definition need not follow the needs
    return GraphSpec(
        steps=tuple(steps),
        limits=limits,
        on_failure=_on_failure(rng),
        max_concurrency=rng.choice((None, None, None, 1, 2, 4)),
        capacities=(rng.choice((1, 2, 4, 1000, 1000)), rng.choice((1, 3, 1000))),
        cancel_after=_cancel_after(rng, len(steps)),
        seed=rng.getrandbits(32),
    )


def _spine(rng: Random, scope: Mapping[str, Scope], depth: int) -> tuple[tuple[Need, ...], Scope] | None:
    """Let the first steps open maps in one another at once: left to chance, few graphs get deep."""
    deepest = max(scope, key=lambda node: len(scope[node]), default=None)
    if deepest is None or len(scope[deepest]) != len(scope) - 1 or len(scope) > depth or rng.random() < 0.1:
        return None
    return (Need(deepest, "each"),), scope[deepest]


def _finale(rng: Random) -> GraphSpec:
    """Make a short run that ends with handlers, cancelled near its end: chance alone rarely does that."""
    first = [
        Step(f"s{index}", max_attempts=rng.choice((1, 1, 2)), delay=1.0) for index in range(rng.randint(1, 3))
    ]
    needs = tuple(Need(step.id, rng.choice(("outcome", "optional"))) for step in first)
    if rng.random() < 0.2:
        needs = (Need(first[0].id, "after"), *needs)
    triggers: tuple[Trigger, ...] = ("always",)
    if rng.random() < 0.8:
        triggers = ("all_failed",) * 5 + ("none_failed", "any_succeeded", "all_done", "callable") * 2
    last = [
        Step(
            id=f"end{index}",
            needs=rng.choice((needs, needs[-1:], needs[-1:])),
            trigger=rng.choice(triggers),
            max_attempts=rng.randint(1, 3),
            delay=2.0,
            when=rng.random() < 0.3,
        )
        for index in range(rng.randint(4, 12))
    ]
    spec = GraphSpec(
        steps=(*first, *last),
        on_failure=rng.choice((_on_failure(rng), "continue")),
        max_concurrency=rng.choice((None, None, None, 2)),
        cancel_after=2 * len(first) + rng.randint(1, 4) if rng.random() < 0.85 else None,
    )
    return replace(spec, seed=_unlucky_seed(rng, first[-1].id, [step.id for step in last]))


def _clean_up(rng: Random) -> GraphSpec:
    """Make a run of clean-up steps that mostly fail and wait for a retry when the cancel comes."""
    steps = tuple(
        Step(id=f"end{index}", trigger="always", max_attempts=3, delay=rng.choice((2.0, 4.0)))
        for index in range(rng.randint(2, 5))
    )
    seeds = [rng.getrandbits(32) for _ in range(12)]

    def retries(seed: int) -> int:
        return sum(Script(seed).outcome(step.id, (), 1)[0] == "error" for step in steps)

    cancel_after = len(steps) + rng.randint(1, len(steps))
    return GraphSpec(
        steps=steps, on_failure=_on_failure(rng), cancel_after=cancel_after, seed=max(seeds, key=retries)
    )


def _plain_chain(rng: Random) -> GraphSpec:
    """Make a few steps in a row, of which nearly all succeed."""
    steps = [Step("s0")]
    for at in range(1, rng.randint(2, 5)):
        steps.append(Step(f"s{at}", (Need(f"s{at - 1}", "use"),)))
    seeds = [rng.getrandbits(32) for _ in range(3)]

    def failures(seed: int) -> int:
        return sum(Script(seed).outcome(step.id, (), 1)[0] != "ok" for step in steps)

    return GraphSpec(tuple(steps), on_failure=_on_failure(rng), seed=min(seeds, key=failures))


def _unlucky_seed(rng: Random, first: str, last: Sequence[str]) -> int:
    """Choose a seed by which, mostly, the first of these fails for good and then some of the last do."""
    seeds = [rng.getrandbits(32) for _ in range(20)]

    def failures(seed: int) -> int:
        script = Script(seed)
        fails = sum(script.outcome(node, (), 1)[0] != "ok" for node in last)
        return fails + 10 * (script.outcome(first, (), 1)[0] == "fatal")

    return max(seeds[: rng.choice((1, 1, 20, 20))], key=failures)


def _on_failure(rng: Random) -> OnFailure:
    choices: tuple[OnFailure, ...] = ("stop", "stop", "drain", "continue", "continue")
    return rng.choice(choices)


def _cancel_after(rng: Random, steps: int) -> int | None:
    if rng.random() < 0.65:
        return None
    return 0 if rng.random() < 0.15 else rng.randint(1, 1 + 3 * steps)


def _limits(rng: Random) -> tuple[LimitSpec, ...]:
    found = []
    for name in rng.sample(("api", "disk", "gpu"), rng.choice((0, 1, 1, 2))):
        shape = rng.choice(("capacity", "rate", "rate", "both", "both"))
        capacity = None if shape == "rate" else rng.randint(1, 3)
        rate = None if shape == "capacity" else (rng.randint(1, 4), rng.choice((0.5, 1.0, 2.0)))
        found.append(LimitSpec(name, capacity, rate))
    return tuple(found)


def _step(rng: Random, node: str, needs: tuple[Need, ...], limits: Sequence[LimitSpec]) -> Step:
    runner = rng.randint(0, 1)
    return Step(
        id=node,
        needs=needs,
        trigger=_trigger(rng, needs),
        when=rng.random() < 0.2,
        optional=rng.random() < 0.12,
        max_attempts=rng.choice((1, 2, 2, 3)),
        delay=rng.choice((0.0, 0.25, 1.0, 2.0, 4.0)),
        timeout=rng.choice((None, None, None, 1.125, 2.125, 3.625)),
        limits=tuple((limit.name, _weight(rng, limit)) for limit in limits if rng.random() < 0.4),
        runner=0 if runner == 0 else 1,
    )


def _weight(rng: Random, limit: LimitSpec) -> int:
    most = min(limit.capacity or 9, limit.rate[0] if limit.rate is not None else 9)
    return rng.choice((1, rng.randint(1, most)))


def _trigger(rng: Random, needs: Sequence[Need]) -> Trigger:
    """Choose among the triggers that these needs allow."""
    if not all(need.accepts("C") for need in needs if need.is_data):
        return "all_succeeded"
    free: tuple[Trigger, ...] = ("all_done", "none_failed", "always", "always", "callable")
    allowed = (*free, "any_succeeded", "all_failed") if needs else free
    return "all_succeeded" if rng.random() < (0.05 if needs else 0.7) else rng.choice(allowed)


def _needs(rng: Random, scope: Mapping[str, Scope], depth: int) -> tuple[tuple[Need, ...], Scope]:
    """Choose the needs of a step and the scope they put it in (without the map that it may open itself)."""
    known = list(scope)
    if not known or rng.random() < 0.1:
        return (), ()
    lenient = rng.random() < 0.5  # then any trigger is possible
    parent = rng.choice(known)
    if rng.random() < 0.5:
        parent = max(known, key=lambda node: (len(scope[node]), rng.random()))
    if not lenient and len(scope[parent]) < depth and rng.random() < 0.55:
        needs = [Need(parent, "each")]
    elif not lenient and scope[parent] and rng.random() < 0.6:
        needs = [_gather(rng, parent, scope[parent])]
    else:
        needs = [_plain(rng, parent, lenient, after=not scope[parent])]
    under = seen_at(needs[0], scope[parent])
    for other in rng.sample(known, min(len(known), rng.choice((0, 0, 1, 2, 3)))):
        if scope[other] == under[: len(scope[other])]:
            needs.append(_plain(rng, other, lenient, after=True))
        elif not lenient:
            gather = _gather(rng, other, scope[other])
            if seen_at(gather, scope[other]) == under[: len(scope[other]) - gather.levels]:
                needs.append(gather)
    once = {(need.parent, need.how): need for need in reversed(needs)}  # the first one made the scope
    return tuple(rng.sample(list(once.values()), len(once))), under


def _gather(rng: Random, parent: str, scope: Scope) -> Need:
    levels = rng.randint(1, len(scope)) if rng.random() < 0.5 else 1
    return Need(parent, "gather", policy=rng.choice(("raise", "drop", "keep")), levels=levels)


def _plain(rng: Random, parent: str, lenient: bool, after: bool) -> Need:
    """Choose a need that does not change the scope; `after` is never what lifts a step into a map."""
    how = rng.choice(("outcome", "optional", "default") if lenient else ("use", "use", "outcome", "optional"))
    if after and rng.random() < 0.2:
        return Need(parent, "after")
    if how in ("outcome", "optional"):
        return Need(parent, "outcome" if how == "outcome" else "optional")
    return Need(parent, "use", default=how == "default")
