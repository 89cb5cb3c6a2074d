"""Graphs in which what `features` names is likely to matter.

They must never import anything of the package under test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from random import Random

from tests.model import spec as given
from tests.model.features import loop, switch
from tests.model.spec import (
    TRIGGERS,
    GraphSpec,
    Kind,
    LimitSpec,
    Need,
    OnFailure,
    Path,
    Policy,
    Script,
    Step,
    Trigger,
)

Part = tuple[GraphSpec, Callable[[Script], float]]
"""A graph, and how much a script promises of what it was made for."""
TAGS = ("a.", "b.", "c.", "d.")


def showcase(rng: Random, features: Set[str]) -> GraphSpec:
    """Make a graph of one to four small parts, each about one of these features with some of the others."""
    shapes: dict[str, Callable[[Random, Set[str]], Part]] = {
        "stream": _stream_shape,
        "fold": _gather_shape,
        "quorum": _gather_shape,
        "abandon": _clinging_shape,
        "unroll": _unrolled_shape,
        "deadline": _timed_shape,
        "total": _timed_shape,
        "idle": _timed_shape,
        "budget": _timed_shape,
        "keys": _gather_shape,
        "wide": _clinging_shape,
    }
    weights = {
        "stream": 15, "fold": 23, "quorum": 24, "abandon": 20, "unroll": 7, "budget": 2, "deadline": 18,
        "idle": 11, "total": 9, "keys": 2, "wide": 7,
    }  # fmt: skip
    if "fold" in features and rng.random() < 0.11:
        return _stopped_fold(rng)
    if "deadline" in features and rng.random() < 0.04:
        return _stopped_retries(rng)
    names = sorted(features)
    about = rng.choices(names, [weights[name] for name in names], k=4)
    likely = {
        "quorum": 0.4,
        "fold": 0.4,
        "deadline": 0.12,
        "stream": 0.6 if "fold" in about else 0.2,
        "wide": 0.3,
    }
    others = {name for name in names if name in about or rng.random() < likely.get(name, 0.2)}
    parts = [shapes[name](rng, {name} | others - set(about)) for name in about]
    spec = _joined([_tagged(part[0], TAGS[at]) for at, part in enumerate(parts)])
    if spec.cancel_after:
        spec = replace(spec, cancel_after=rng.randint(1 + 3 * len(parts), 22 * len(parts)))
    if "deadline" not in about and rng.random() < 0.4:
        spec = replace(spec, on_failure="continue")
    if "deadline" in others and spec.deadline is None:
        spec = replace(spec, deadline=rng.randint(1, 9) + 0.03125)

    def wanted(seed: int) -> float:
        script = Script.of(replace(spec, seed=seed))
        return sum(part[1](_Tagged(**vars(script), tag=TAGS[at])) for at, part in enumerate(parts))

    seeds = [rng.getrandbits(32) for _ in range(rng.choice((1, 8, 16)))]
    return replace(spec, seed=max(seeds, key=wanted))


@dataclass(frozen=True)
class _Tagged(Script):
    """What a script says of the steps of one part, asked by the names that they have there."""

    tag: str = ""

    def outcome(self, node: str, path: Path, attempt: int) -> tuple[Kind, float]:
        return super().outcome(self.tag + node.removeprefix(self.tag), path, attempt)

    def _draw(self, *key: object) -> float:
        named = [self.tag + str(one).removeprefix(self.tag) for one in key[1:2]]
        return super()._draw(*key[:1], *named, *key[2:])


def _tagged(spec: GraphSpec, tag: str) -> GraphSpec:
    """Give the steps and limits of a part names of their own."""
    steps = tuple(
        replace(
            step,
            id=tag + step.id,
            needs=tuple(replace(need, parent=tag + need.parent) for need in step.needs),
            limits=tuple((tag + name, weight) for name, weight in step.limits),
            case=None if step.case is None else (tag + step.case[0], *step.case[1:]),
        )
        for step in spec.steps
    )
    return replace(
        spec, steps=steps, limits=tuple(replace(limit, name=tag + limit.name) for limit in spec.limits)
    )


def _joined(parts: Sequence[GraphSpec]) -> GraphSpec:
    """Put parts side by side into one run, with the options of the first and the bounds of any."""
    return replace(
        parts[0],
        steps=tuple(step for part in parts for step in part.steps),
        limits=tuple(limit for part in parts for limit in part.limits),
        deadline=next((part.deadline for part in parts if part.deadline is not None), None),
        retry_budget=next((part.retry_budget for part in parts if part.retry_budget is not None), None),
        max_abandoned=min(part.max_abandoned for part in parts),
        grace=min(part.grace for part in parts),
        capacities=(min(part.capacities[0] for part in parts), min(part.capacities[1] for part in parts)),
    )


def _policy(rng: Random, features: Set[str]) -> Policy:
    plain: tuple[Policy, ...] = ("raise", "drop", "keep")
    counts: tuple[Policy, ...] = (1, 1, 2, 2, 3, 6, 8, 8, 0.25, 0.25, 0.5, 0.5, 0.75, 1.0)
    return rng.choice(counts if "quorum" in features and rng.random() < 0.9 else plain)


def _gatherer(rng: Random, node: str, over: str, features: Set[str], levels: int = 1) -> Step:
    """Make a step that takes all items of another."""
    if "fold" in features and levels == 1 and rng.random() < 0.7:
        need = Need(over, "gather", policy=rng.choice(("raise", "drop")))
        attempts = rng.choice((2, 3))
        return Step(node, (need,), fold=True, slow=rng.random() < 0.4, max_attempts=attempts, delay=0.25)
    return Step(node, (Need(over, "gather", policy=_policy(rng, features), levels=levels),))


def _run(rng: Random, steps: Sequence[Step], **more: object) -> GraphSpec:
    policies: tuple[OnFailure, ...] = ("continue", "continue", "stop", "drain")
    plain = GraphSpec(
        steps=tuple(steps),
        on_failure=rng.choice(policies),
        max_concurrency=rng.choice((None, None, 1, 2, 3)),
        capacities=(rng.choice((1, 2, 1000)), rng.choice((1, 2, 1000))),
        cancel_after=rng.choice((0, 0, 0, 0, *range(1, 25))) if rng.random() < 0.25 else None,
        seed=rng.getrandbits(32),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def _handlers(rng: Random, of: str) -> list[Step]:
    """Make steps that are called whatever came of an item."""
    how = rng.choice(("outcome", "optional"))
    triggers: tuple[Trigger, ...] = (*TRIGGERS[1:], "callable", "always", "always", "all_done")
    return [
        Step(
            f"{of}{at}",
            (Need(of, "outcome" if how == "outcome" else "optional"),),
            trigger=rng.choice(triggers),
            when=rng.random() < 0.5,
            max_attempts=rng.choice((1, 2)),
            delay=1.0,
        )
        for at in range(rng.choice((0, 0, 2, 4)))
    ]


def _stream_shape(rng: Random, features: Set[str]) -> Part:
    """Make a stream, one or two maps of it, maybe inside a map or with another stream in it, and gathers."""
    keyed = "keys" in features
    timeout = rng.choice((None, None, 1.125, 2.125, 3.625))
    source = Step("s", stream=True, max_attempts=rng.choice((1, 2, 3)), delay=0.25, timeout=timeout)
    steps = [source]
    if rng.random() < 0.35:
        steps = [Step("list"), replace(source, needs=(Need("list", "each", keyed=keyed),))]
    head = Step("m", (Need("s", "each", keyed=keyed),), max_attempts=rng.choice((1, 2)), runner=1)
    steps.append(head)
    levels, last = 1, "m"
    if rng.random() < 0.4:
        steps[-1] = replace(head, stream=True)
        steps.append(Step("n", (Need("m", "each"),), runner=rng.choice((0, 1))))
        levels, last = rng.choice((1, 2)), "n"
    elif rng.random() < 0.5:
        steps.append(Step("n", (Need("m", "use"),), when=rng.random() < 0.3))
        last = "n"
    steps.append(_gatherer(rng, "g", last, features, levels))
    if rng.random() < 0.4:
        steps.append(Step("o", (Need("s", "each", keyed=keyed and rng.random() < 0.5),)))
        steps.append(_gatherer(rng, "h", "o", features))
    steps += _handlers(rng, last)
    if rng.random() < 0.3:
        steps.append(Step("u", (Need("s", rng.choice(("use", "outcome", "optional"))),)))
    wide = "wide" in features
    limits = (LimitSpec("gpu", 1, wide=wide),) if rng.random() < (0.9 if wide else 0.3) else ()
    if limits:
        steps = [replace(step, limits=(("gpu", 1),)) if step.id in ("s", "m") else step for step in steps]
    spec = _run(rng, steps, limits=limits)
    path = (0,) if steps[0].id == "list" else ()

    def wanted(script: Script) -> float:
        kinds = [script.outcome("s", path, attempt)[0] for attempt in (1, 2)]
        broken = 4 * (kinds[0] != "ok") + (kinds[0] == "fatal") + 2 * (kinds[1] != "ok")
        return script.yields("s", path, 1) + broken

    return spec, wanted


def _gather_shape(rng: Random, features: Set[str]) -> Part:
    """Make a list, a map of it, maybe another in it, and several gathers of the items."""
    keyed = "keys" in features
    first = Step("list", stream="stream" in features, many=rng.random() < 0.7)
    steps = [first, Step("m", (Need("list", "each", keyed=keyed),))]
    levels, last = 1, "m"
    if rng.random() < (0.5 if "quorum" in features else 0.35):
        steps.append(Step("n", (Need("m", "each", keyed=keyed and rng.random() < 0.6),)))
        levels, last = 2, "n"
        if rng.random() < 0.6:
            steps.append(Step("o", (Need("n", "each"),)))
            levels, last = 3, "o"
    steps += _handlers(rng, "m")
    attempts = rng.choice((1, 1, 2))
    item = next(step for step in steps if step.id == last)
    good = replace(item, max_attempts=attempts, when=rng.random() < 0.2, runner=1)
    steps[steps.index(item)] = good
    for at in range(rng.randint(1, 4)):
        steps.append(_gatherer(rng, f"g{at}", last, features, rng.randint(1, levels)))
    slots = {"max_concurrency": rng.choice((None, 2, 3)), "capacities": (1000, rng.choice((1, 2)))}
    spec = _run(rng, steps, **(slots if "fold" in features else {}))
    if rng.random() < 0.5:
        spec = replace(spec, on_failure="continue")
    if "fold" in features and rng.random() < 0.4:
        spec = replace(spec, cancel_after=rng.randint(9, 40))
    sound = rng.random() < 0.5

    def wanted(script: Script) -> float:
        ends = [script.outcome("m", (at,), attempts)[0] != "ok" for at in range(script.size("list", ()))]
        broken = [script.outcome(step.id, (), 1)[0] == "error" for step in steps if step.fold]
        good = -2 * sum(ends) if sound else 3 * bool(0 < sum(ends) < len(ends))
        return len(ends) + good + 2 * sum(broken)

    return spec, wanted


def _stopped_fold(rng: Random) -> GraphSpec:
    """Make a fold that is at it, or between two slices, when the run is cancelled."""
    steps = (
        Step("list", many=True),
        Step("m", (Need("list", "each"),), runner=1),
        Step("f", (Need("m", "gather", policy=rng.choice(("raise", "drop"))),), fold=True, slow=True),
    )
    seeds = [rng.getrandbits(32) for _ in range(6)]

    def failures(seed: int) -> int:
        script = Script(seed)
        items = sum(script.outcome("m", (at,), 1)[0] != "ok" for at in range(4))
        return items + (script.outcome("f", (), 1)[0] != "ok")

    return GraphSpec(
        steps,
        on_failure="continue",
        capacities=(1, 1),
        cancel_after=rng.randint(5, 14),
        seed=min(seeds, key=failures),
    )


def _stopped_retries(rng: Random) -> GraphSpec:
    """Make steps that wait for one another's slot with their retries when the deadline comes."""
    steps = [
        Step(f"s{at}", max_attempts=1 if at == 1 else 3, delay=rng.choice((0.0, 0.25)))
        for at in range(rng.randint(4, 7))
    ]
    seeds = [rng.getrandbits(32) for _ in range(10)]

    def retries(seed: int) -> int:
        return sum(Script(seed).outcome(step.id, (), 1)[0] == "error" for step in steps)

    return GraphSpec(
        tuple(steps),
        on_failure=rng.choice(("drain", "drain", "drain", "continue")),
        max_concurrency=2,
        deadline=rng.randint(1, 5) + 0.28125,
        seed=max(seeds, key=retries),
    )


def _clinging_shape(rng: Random, features: Set[str]) -> Part:
    """Make steps that share a limit and that nothing can end, some of them with little time."""
    wide = "wide" in features
    steps = [
        Step(
            f"s{at}",
            max_attempts=rng.choice((1, 2, 3)),
            delay=rng.choice((0.0, 1.0)),
            timeout=rng.choice((None, 1.125, 1.125, 2.125)),
            limits=(("gpu", 1),) if rng.random() < 0.85 else (),
            clings="abandon" in features and rng.random() < 0.8,
            optional=rng.random() < 0.4,
            trigger="always" if rng.random() < 0.15 else "all_succeeded",
        )
        for at in range(rng.randint(3, 8))
    ]
    limits = (LimitSpec("gpu", rng.choice((1, 1, 2)), wide=wide),)
    most = rng.choice((0, 1, 1, 2, 1000)) if "abandon" in features else 1000
    spec = _run(rng, steps, limits=limits, max_abandoned=most, grace=rng.choice((0.5, 0.5, 2.0, 50.0)))
    spec = replace(spec, capacities=(rng.choice((2, 3, 1000)), 1000))
    if rng.random() < 0.4:
        spec = replace(spec, on_failure="continue")

    def wanted(script: Script) -> float:
        ends = [script.outcome(step.id, (), 1) for step in steps]
        return sum(kind == "hang" or took > 1.125 for kind, took in ends) + (("fatal", 0.25) in ends)

    return spec, wanted


def _timed_shape(rng: Random, features: Set[str]) -> Part:
    """Make steps with several attempts and all sorts of limits to their time, and a clean-up after them."""
    steps = []
    for at in range(rng.randint(3, 7)):
        step = Step(f"s{at}", max_attempts=rng.choice((1, 2, 3)), delay=rng.choice((0.0, 0.25, 1.0, 4.0)))
        if "deadline" in features and rng.random() < 0.5:
            step = replace(step, max_attempts=3, delay=0.25)
        if "total" in features:
            step = replace(step, total=rng.choice((None, 1.5625, 2.3125, 4.1875)))
        if "idle" in features:
            step = replace(step, idle=rng.choice((None, 0.625, 0.625, 1.375)))
        step = replace(step, timeout=rng.choice((None, 1.125, 2.125)), optional=rng.random() < 0.3)
        needs = (Need(f"s{at - 1}", rng.choice(("use", "optional"))),) if at and rng.random() < 0.3 else ()
        steps.append(replace(step, needs=needs))
    end = tuple(Need(step.id, "outcome") for step in steps)
    steps.append(Step("end", end, trigger="always", max_attempts=2, delay=rng.choice((0.25, 4.0))))
    more: dict[str, object] = {"capacities": (rng.choice((1, 1, 1, 2, 1000)), 1000)}
    if "deadline" in features:
        more["deadline"] = rng.randint(0, 5) + rng.choice((0.03125, 0.53125))
        more["on_failure"] = rng.choice(("drain", "drain", "continue", "stop"))
    if "budget" in features:
        more["retry_budget"] = rng.choice((0, 1, 2, 3, 6))
    spec = _run(rng, steps, **more)

    def wanted(script: Script) -> float:
        failures = sum(script.outcome(step.id, (), 1)[0] in ("error", "hang") for step in steps)
        return failures + 2 * sum(bool(step.idle) and script.silent(step.id, (), 1) for step in steps)

    return spec, wanted


def _unrolled_shape(rng: Random, features: Set[str]) -> Part:
    """Make a loop or a switch, half of the time inside a map."""
    inside = rng.random() < 0.6
    first = (Step("list"), Step("m", (Need("list", "each"),))) if inside else ()
    steps = (*first, *loop(rng, first[1:]), *switch(rng, first[1:]))
    spec = replace(_run(rng, steps), on_failure="continue")

    def wanted(script: Script) -> float:
        paths: list[Path] = [(at,) for at in range(script.size("list", ()))] if inside else [()]
        said = [given.answer(step, script, path, "when") for step in steps if step.when for path in paths]
        good = [script.outcome(step.id, path, 1)[0] == "ok" for step in steps for path in paths]
        return said.count(True) + sum(good) / 2

    return spec, wanted
