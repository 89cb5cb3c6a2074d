"""What a test graph is, and the script that says how each of its attempts goes.

Plain data shared by the generator, the reference model and the driver of the real machine. It must never
import anything of the package under test: a mistake made there would be made here as well, and not be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, inf
from typing import Any, Literal

Path = tuple[int | str, ...]  # an index for each level, or the key where the map has keys
Instance = tuple[str, Path]
Fact = tuple[Any, ...]
Scope = tuple[str, ...]
Values = Mapping[Instance, object]

How = Literal["use", "each", "gather", "after", "outcome", "optional"]
Policy = Literal["raise", "drop", "keep"] | int | float  # a number is a quorum: of items, or a share of them
Trigger = Literal[
    "all_succeeded", "all_done", "none_failed", "any_succeeded", "all_failed", "always", "callable"
]
OnFailure = Literal["stop", "drain", "continue"]
Kind = Literal["ok", "error", "fatal", "hang"]
Answer = bool | Literal["raise"]
Cleanup = Literal["cancelled", "ok", "error"]

TRIGGERS: tuple[Trigger, ...] = (
    "all_succeeded",
    "all_done",
    "none_failed",
    "any_succeeded",
    "all_failed",
    "always",
    "callable",
)


@dataclass(frozen=True)
class Need:
    """One edge, seen from the step that needs."""

    parent: str
    how: How
    policy: Policy = "raise"  # gather only
    levels: int = 1  # gather only: gather(gather(s)) is 2
    default: bool = False  # use only: the parameter has a default, so a CONDITION skip is accepted
    keyed: bool = False  # each only: the elements are told apart by keys and not by where they stand

    @property
    def quorum(self) -> int | float | None:
        """What the gather asks of its items, where that is a quorum."""
        return None if isinstance(self.policy, str) else self.policy

    @property
    def is_data(self) -> bool:
        """An `after` orders and brings nothing, so it neither tolerates a failure nor gives an argument."""
        return self.how != "after"

    def accepts(self, verdict: str) -> bool:
        """Say whether this need is content with an end of class S, F, C or X."""
        if verdict == "C":
            return self.how in ("outcome", "optional") or (self.how == "use" and self.default)
        return verdict == "S" or (verdict == "F" and self.how in ("outcome", "optional"))


@dataclass(frozen=True)
class Step:
    """One step; mapped or not follows from its needs, see `scopes`."""

    id: str
    needs: tuple[Need, ...] = ()
    trigger: Trigger = "all_succeeded"
    when: bool = False
    optional: bool = False
    max_attempts: int = 1
    delay: float = 0.0
    timeout: float | None = None  # of an attempt
    total: float | None = None  # of all attempts and the waits between them
    idle: float | None = None
    limits: tuple[tuple[str, int], ...] = ()  # (name, weight)
    runner: Literal[0, 1] = 0
    slow: bool = False  # its attempts take longer than others
    many: bool = False  # its list is longer than others
    stream: bool = False
    fold: bool = False  # its one need is a gather; it takes the items one by one
    clings: bool = False  # nothing ends its attempts before they end by themselves: they are abandoned
    case: tuple[str, int, int] | None = None  # (router, which, of how many): `when` asks for this branch

    @property
    def source(self) -> str | None:
        """The parent whose elements this step maps over, for the head of a map."""
        return next((need.parent for need in self.needs if need.how == "each"), None)

    @property
    def keyed(self) -> bool:
        """Whether the map that it heads has keys."""
        return any(need.keyed for need in self.needs)


@dataclass(frozen=True)
class LimitSpec:
    """A named limit: `capacity` permits at a time, `rate[0]` starts in any `rate[1]` seconds."""

    name: str
    capacity: int | None = None
    rate: tuple[int, float] | None = None
    wide: bool = False  # shared with other runs: to be asked for, and granted, before each attempt


@dataclass(frozen=True)
class GraphSpec:
    """A graph and the options of its run."""

    steps: tuple[Step, ...]
    limits: tuple[LimitSpec, ...] = ()
    on_failure: OnFailure = "stop"
    max_concurrency: int | None = None
    capacities: tuple[int, int] = (1000, 1000)
    cancel_after: int | None = None  # cancel is asked once this many facts have been recorded
    deadline: float | None = None
    retry_budget: int | None = None
    max_abandoned: int = 1000
    grace: float = 50.0
    seed: int = 0

    def lists(self) -> frozenset[str]:
        """Give the streams and the steps that somebody maps over: their value is a list."""
        mapped = {step.source for step in self.steps if step.source is not None}
        return frozenset(mapped | {step.id for step in self.steps if step.stream})


@dataclass(frozen=True)
class Script:
    """How every attempt, decision and clean-up goes: a hash of who asks, so that nothing is stored.

    `attempt` counts charged attempts: 1 + the number of retries recorded before. An attempt that was given
    back ("interrupted") does not advance it, so the script does not depend on the schedule.
    """

    seed: int
    can_hang: frozenset[str] = frozenset()  # steps with a timeout: nothing else would end a hanging attempt
    streams: frozenset[str] = frozenset()
    many: frozenset[str] = frozenset()
    slow: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: GraphSpec) -> Script:
        """Make the script that belongs to a spec."""
        timed = {step.id for step in spec.steps if (step.timeout, step.total) != (None, None)}
        streams = frozenset(step.id for step in spec.steps if step.stream)
        many = frozenset(step.id for step in spec.steps if step.many)
        slow = frozenset(step.id for step in spec.steps if step.slow)
        return cls(spec.seed, frozenset(timed), streams, many, slow)

    def outcome(self, node: str, path: Path, attempt: int) -> tuple[Kind, float]:
        """Say how an attempt ends that nobody disturbs, and after how long.

        Durations are multiples of 1/4, exact as floats: ties are frequent, rounding never matters.
        """
        duration = 0.25 * (1 + int(16 * self._draw("duration", node, path, attempt) ** 3))
        duration *= 1 + 3 * (node in self.slow)
        kind = self._kind(node, path, attempt)
        if kind != "hang" and node in self.streams:
            duration += self.pace(node, path) * self.yields(node, path, attempt)
        return kind, duration

    def _kind(self, node: str, path: Path, attempt: int) -> Kind:
        rate = self._pick("failures", (0.0, 0.06, 0.12, 0.25, 0.45))
        if self._draw("outcome", node, path, attempt) >= rate:
            return "ok"
        how = self._draw("failure", node, path, attempt)
        if how < 0.2 and node in self.can_hang:
            return "hang"
        return "fatal" if how > 0.75 else "error"

    def yields(self, node: str, path: Path, attempt: int) -> int:
        """Say how many elements an attempt of a stream gives that nobody disturbs."""
        size = self.size(node, path)
        if self._kind(node, path, attempt) == "ok":
            return size
        return int((size + 1) * self._draw("yields", node, path, attempt))

    def pace(self, node: str, path: Path) -> float:
        """Say how long a stream takes for each element."""
        return (0.0, 0.25, 0.25, 0.5)[int(4 * self._draw("pace", node, path))]

    def silent(self, node: str, path: Path, attempt: int) -> bool:
        """Say whether an attempt gives no sign of life, so that a limit to that ends it."""
        return self._draw("silent", node, path, attempt) < 0.2

    def decide(self, node: str, path: Path, what: Literal["when", "trigger"]) -> Answer:
        """Say what the condition or the callable trigger of an instance returns."""
        draw = self._draw(what, node, path)
        raises = self._pick("raises", (0.0, 0.05, 0.1))
        if draw < raises:
            return "raise"
        return draw >= raises + self._pick("refusals", (0.1, 0.2, 0.35))

    def branch(self, router: str, path: Path, branches: int) -> int:
        """Say which branch a router asks for."""
        return int(branches * self._draw("branch", router, path))

    def size(self, node: str, path: Path) -> int:
        """Say how many elements the list has that a source returns."""
        sizes = (0, 0, 1, 1, 2, 2, 2, 3, 3, 4)
        if node in self.many:
            sizes = (2, 3, 3, 4, 4, 4, 5, 5, 6, 7)
        elif node in self.streams:
            sizes = (0, 0, 1, 2, 3, 3, 4, 5, 6, 8)
        return sizes[int(10 * self._draw("size", node, path))]

    def key(self, head: str, outer: Path, index: int) -> int | str:
        """Say by what a map with keys knows an element: not by an order that would sort as it stands."""
        draw = int(1000 * self._draw("key", head, outer, index))
        return 1000 * draw + index if draw % 4 == 0 else f"k{draw}.{index}"

    def cleanup(self, node: str, path: Path, attempt: int) -> Cleanup:
        """Say how a running attempt ends that is told to stop; a stream that is closed has not succeeded."""
        draw = self._draw("cleanup", node, path, attempt)
        if node in self.streams and draw < 0.9:
            return "cancelled"
        return "cancelled" if draw < 0.75 else "ok" if draw < 0.9 else "error"

    def lingers(self, node: str, path: Path, attempt: int) -> float | None:
        """Say how long an abandoned attempt goes on; None for one that never ends."""
        draw = self._draw("lingers", node, path, attempt)
        return None if draw < 0.5 else 0.25 * int(1 + 8 * draw)

    def _pick(self, what: str, rates: tuple[float, ...]) -> float:
        return rates[int(len(rates) * self._draw(what))]

    def _draw(self, *key: object) -> float:
        return _digest(self.seed, *key) / 2.0**40


def answer(step: Step, script: Script, path: Path, what: Literal["when", "trigger"]) -> Answer:
    """Say what the condition or the callable trigger of an instance returns."""
    if what == "when" and step.case is not None:
        router, which, branches = step.case
        return script.branch(router, path, branches) == which
    return script.decide(step.id, path, what)


def patience(step: Step, script: Script, path: Path, attempt: int) -> float:
    """Say for how long an attempt may go on, whatever was before it.

    Durations are multiples of 1/4. The limits of an attempt are odd multiples of 1/8, those of all attempts
    of 1/16, and that of the run of 1/32: two of different kinds rarely fall together.
    """
    idle = step.idle if script.silent(step.id, path, attempt) else None
    return min(step.timeout or inf, idle or inf)


def least(quorum: int | float, items: int) -> int:
    """Give how many of so many items a quorum asks for."""
    return quorum if isinstance(quorum, int) else ceil(quorum * items)


def expected_value(node_id: str, path: Path, args: Mapping[str, object], size: int | None = None) -> object:
    """Give the value of a success: small, and different as soon as any input differs.

    `args` is keyed by "n0", "n1", ... = the index of the data need in `Step.needs`. `size` is given for a
    step of `GraphSpec.lists`: its value is a list of so many elements.
    """
    seen = _digest(node_id, path, tuple(sorted(args.items())))
    return seen if size is None else [_digest(seen, index) for index in range(size)]


def folded(node_id: str, path: Path, so_far: object, item: object) -> object:
    """Give what a fold has after one item more; it begins with None."""
    return _digest("fold", node_id, path, so_far, item)


def scopes(spec: GraphSpec) -> dict[str, Scope]:
    """Give for each step the chain of map heads it lives under, outermost first; () is unmapped.

    Raises ValueError where the needs of a step do not lie on one chain of nested maps.
    """
    steps = {step.id: step for step in spec.steps}
    known: dict[str, Scope] = {}

    def scope(node: str) -> Scope:
        if node not in known:
            step = steps[node]
            reached = [seen_at(need, scope(need.parent)) for need in step.needs]
            deepest = max(reached, key=len, default=())
            if any(deepest[: len(one)] != one for one in reached):
                raise ValueError(f"{node!r} needs steps of maps that do not enclose each other")
            if step.source is not None and deepest != scope(step.source):
                raise ValueError(f"{node!r} maps over {step.source!r} and needs a step of a deeper map")
            known[node] = deepest + ((node,) if step.source is not None else ())
        return known[node]

    for one in spec.steps:
        scope(one.id)
    return known


def seen_at(need: Need, parent: Scope) -> Scope:
    """Give the scope at which a consumer sees its need: a gather takes the innermost levels away."""
    if need.how != "gather":
        return parent
    if not 1 <= need.levels <= len(parent):
        raise ValueError(f"gather of {need.levels} levels over {need.parent!r}, which has {len(parent)}")
    return parent[: -need.levels]


def problems(spec: GraphSpec) -> list[str]:
    """List what makes a spec no valid graph, for the generator and for hand-written specs."""
    ids = [step.id for step in spec.steps]
    if len(set(ids)) < len(ids):
        return ["two steps with one id"]
    try:
        scopes(spec)
    except (ValueError, KeyError, RecursionError) as wrong:
        return [repr(wrong)]
    found = []
    limits = {limit.name: limit for limit in spec.limits}
    for step in spec.steps:
        found += [f"{step.id!r}: {text}" for text in _step_problems(step, limits)]
        if step.fold and step.id in spec.lists():
            found.append(f"{step.id!r}: a fold gives no list to map over")
    return found


def _step_problems(step: Step, limits: Mapping[str, LimitSpec]) -> list[str]:
    found = []
    if sum(need.how == "each" for need in step.needs) > 1:
        found.append("two each")
    if step.trigger != "all_succeeded":
        if any(need.is_data and not need.accepts("C") for need in step.needs):
            found.append(f"trigger {step.trigger} with a need that has nothing to give")
        if step.trigger in ("any_succeeded", "all_failed") and not step.needs:
            found.append(f"trigger {step.trigger} without a need")
    for name, weight in step.limits:
        limit = limits[name]
        if weight > (limit.capacity or weight) or weight > (limit.rate or (weight, 0.0))[0]:
            found.append(f"takes {weight} of limit {name!r}, which never has so many")
    if step.max_attempts < 1:
        found.append("no attempts")
    if step.fold:
        needs = [(need.how, need.levels, need.policy in ("raise", "drop")) for need in step.needs]
        if needs != [("gather", 1, True)] or step.stream or step.when:
            found.append("a fold has one need, a gather of one level, and does nothing else")
    if step.stream and step.clings:
        found.append("a stream can always be closed")
    return found


def _digest(*key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=5).digest(), "big")
