"""Where a run stands by what its history has told, and what the semantics make of that.

`reference` believes each fact into a `World` and asks it what the next one may be: how a need has ended, what
becomes of an instance once all its needs have, which value a success has. All of it is worked out anew each
time, naively. It must never import anything of the package under test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model import spec as given
from tests.model.spec import GraphSpec, Instance, Need, Path, Script, Step

Fate = tuple[str, Instance | None]  # start, fail, or the cause of a skip; with the causing instance
START: Fate = ("start", None)
FAIL: Fate = ("fail", None)
ENDED = ("succeeded", "failed", "skipped", "cancelled")


@dataclass
class Life:
    """What the history has told of one instance; a group that never came to be has one, at its outer path."""

    status: str = "pending"  # pending, running, paused, sliced, retrying, given back, or one of ENDED
    token: int = 0
    charged: int = 0  # attempts that ended in a retry
    first: float | None = None  # when the first attempt started
    started: float = 0.0  # when the last one did
    begun: int = -1  # its place in the history
    due: float = 0.0
    why: str = ""  # the kind of a failure, the cause of a skip
    because: Instance | None = None
    given: int = 0  # elements of a stream, over all its attempts
    folded: int = 0  # items that a fold has taken
    waited: bool = False  # a stream was paused in this attempt: it takes longer than it would
    left: bool = False  # the attempt was abandoned
    decided: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How a need has ended: class S, F, C or X, the root cause, the first cause that is no cancellation."""

    verdict: str
    because: Instance | None = None
    failure: Instance | None = None

    @property
    def cut_off(self) -> bool:
        """Whether nothing but the stop of the run has kept it from a success."""
        return self.verdict in "FX" and self.failure is None


class World:
    """What the facts so far amount to, and what follows from it.

    Attributes:
        lives: Of every instance that the history has named.
        values: Of every success: recomputed, never taken from the run.
        opened: By (head, outer path): what tells the elements of that map from one another, in their order.
    """

    def __init__(self, spec: GraphSpec, script: Script) -> None:
        self.spec, self.script = spec, script
        self.steps = {step.id: step for step in spec.steps}
        self.scope = given.scopes(spec)
        self.lists = spec.lists()
        self.lives: defaultdict[Instance, Life] = defaultdict(Life)
        self.values: dict[Instance, object] = {}
        self.opened: dict[Instance, list[int | str]] = {}

    # Places

    def source(self, head: str) -> str:
        """Give the step whose elements a map is made of."""
        return self.steps[head].source or ""

    def heads(self, source: str) -> list[str]:
        """Give the heads of the maps that are made of the elements of a step."""
        return [step.id for step in self.spec.steps if step.source == source]

    def element(self, head: str, outer: Path, index: int) -> int | str:
        """Give what tells an element of a map from the others."""
        return self.script.key(head, outer, index) if self.steps[head].keyed else index

    def exists(self, node: str, path: Path) -> bool:
        """Say whether a step has such an instance by now."""
        heads = self.scope.get(node, ())
        if len(path) != len(heads):
            return False
        return all(path[at] in self.opened.get((head, path[:at]), ()) for at, head in enumerate(heads))

    def paths(self, node: str, outer: Path) -> Iterator[Path]:
        """Give where a node lives under `outer`: its items, or the outer path of a map that is not open."""
        heads = self.scope[node]
        if len(outer) == len(heads) or (heads[len(outer)], outer) not in self.opened:
            yield outer
        else:
            for key in self.opened[heads[len(outer)], outer]:
                yield from self.paths(node, (*outer, key))

    def outer(self, need: Need, path: Path) -> Path:
        """Give where a need of an instance at `path` is looked for."""
        return path[: len(given.seen_at(need, self.scope[need.parent]))]

    def feeders(self, node: str, outer: Path) -> Iterator[Instance]:
        """Give the streams that the open maps between `outer` and the items of a step are made of."""
        heads = self.scope[node]
        if len(outer) < len(heads) and (heads[len(outer)], outer) in self.opened:
            source = self.source(heads[len(outer)])
            if self.steps[source].stream:
                yield source, outer
            for key in self.opened[heads[len(outer)], outer]:
                yield from self.feeders(node, (*outer, key))

    def needs_ended(self, step: Step, path: Path) -> bool:
        """Say whether all that an instance needs has ended; a stream that it maps over may go on."""
        for need in step.needs:
            if need.how == "each" and self.steps[need.parent].stream:
                continue
            outer = self.outer(need, path)
            below = [(need.parent, one) for one in self.paths(need.parent, outer)]
            if any(
                self.lives[one].status not in ENDED for one in (*below, *self.feeders(need.parent, outer))
            ):
                return False
        return True

    # How needs have ended

    def end_of(self, one: Instance) -> End:
        """Say how an instance has ended."""
        life = self.lives[one]
        if life.status in ("failed", "cancelled"):
            return End("F", one, one if life.status == "failed" else None)
        if life.status == "skipped":
            verdict = {"UPSTREAM": "F", "CONDITION": "C"}.get(life.why, "X")
            return End(verdict, life.because, life.because if verdict == "F" else None)
        return End("S")

    def end(self, need: Need, path: Path) -> End:
        """Say how a need of an instance at `path` has ended."""
        outer = self.outer(need, path)
        if need.how == "each" and self.steps[need.parent].stream:
            return End("S")  # its element is there
        if need.how != "gather" or self.lives[need.parent, outer].status == "skipped":
            return self.end_of((need.parent, outer))
        ends = self.items(need.parent, outer)
        if need.quorum is not None:
            groups = self.groups(need.parent, outer)
            return self._of_quorum(need, [group for group in groups if not holds(need.quorum, group[1])])
        if need.policy != "raise" or all(end.verdict in "SC" for end in ends):
            return End("S")
        because = [end.because for end in ends if end.verdict == "F"]
        failure = [end.failure for end in ends if end.failure is not None]
        return End("F" if because else "X", (*because, None)[0], (*failure, None)[0])

    def _of_quorum(self, need: Need, lost: list[tuple[Path, list[End]]]) -> End:
        """Say how a need has ended of which these maps miss the quorum.

        Those do so by the stop of the run alone that could have had it. Of the others, what failed in them is
        to blame, and where nothing did, the first of them itself.
        """
        short, failed = list[Path](), list[End]()
        for group, ends in lost:
            source = self.source(self.scope[need.parent][len(group)])
            at_best = [End("S") if end.cut_off else end for end in ends]
            if not self.end_of((source, group)).cut_off and not holds(need.quorum or 0, at_best):
                short.append(group)
                failed += [end for end in at_best if end.verdict == "F"]
        if not short:
            return End("X" if lost else "S")
        return failed[0] if failed else End("F", (need.parent, short[0]), (need.parent, short[0]))

    def blamable(self, step: Step, path: Path) -> set[Instance | None]:
        """Give what a skip for a missed quorum may be put down to: any failed item, or else the map."""
        found = set[Instance | None]()
        for need in step.needs:
            if need.quorum is None or self.lives[need.parent, self.outer(need, path)].status == "skipped":
                continue
            for group, ends in self.groups(need.parent, self.outer(need, path)):
                if not holds(need.quorum, ends):
                    failed = {end.because for end in ends if end.verdict == "F" and not end.cut_off}
                    found |= failed or {(need.parent, group)}
        return found

    def items(self, node: str, outer: Path) -> list[End]:
        """Say how the items of a step under `outer` have ended, in input order.

        A stream that broke is one item more, at the end of what it gave.
        """
        heads = self.scope[node]
        if len(outer) == len(heads) or (heads[len(outer)], outer) not in self.opened:
            return [self.end_of((node, outer))]
        found = [
            end for key in self.opened[heads[len(outer)], outer] for end in self.items(node, (*outer, key))
        ]
        source = (self.source(heads[len(outer)]), outer)
        return [*found, self.end_of(source)] if self.broke(source) else found

    def groups(self, node: str, outer: Path) -> Iterator[tuple[Path, list[End]]]:
        """Give the innermost maps of a step under `outer`, and how their items have ended.

        A map that a failure kept from opening is one of a single failed item, like what a stream that broke
        would have brought; one that a condition kept from opening is none.
        """
        heads = self.scope[node]
        if (heads[len(outer)], outer) not in self.opened:
            if self.lives[node, outer].why != "CONDITION":
                yield outer, [self.end_of((node, outer))]
        elif len(outer) == len(heads) - 1:
            yield outer, self.items(node, outer)
        else:
            for key in self.opened[heads[len(outer)], outer]:
                yield from self.groups(node, (*outer, key))
            if self.broke((self.source(heads[len(outer)]), outer)):
                yield outer, [self.end_of((self.source(heads[len(outer)]), outer))]

    def broke(self, one: Instance) -> bool:
        """Say whether a stream gave up after it had begun."""
        life = self.lives[one]
        return self.steps[one[0]].stream and life.status in ("failed", "cancelled") and life.token > 0

    def unfolded(self, stream: Instance) -> int:
        """Count the items of a stream that a fold could have taken and has not, for its slowest fold."""
        behind = [0]
        for fold in self.spec.steps:
            heads = self.scope[fold.needs[0].parent] if fold.fold else ()
            life = self.lives[fold.id, stream[1]]
            if (
                len(heads) != len(stream[1]) + 1
                or self.source(heads[-1]) != stream[0]
                or life.status in ENDED
            ):
                continue
            need = fold.needs[0]
            ripe = 0
            for key in self.opened.get((heads[-1], stream[1]), ()):
                item = (need.parent, (*stream[1], key))
                over = self.lives[item].status in ENDED
                if not over or (self.end_of(item).verdict not in "SC" and need.policy != "drop"):
                    break
                ripe += 1
            behind.append(ripe - life.folded)
        return max(behind)

    # What becomes of an instance when its needs have ended and the run is not stopping

    def fate(self, step: Step, path: Path) -> Fate:
        """Say what becomes of it, its conditions included."""
        fate = self.trigger(step, path)
        return self.answer(step, path, "when") if fate == START and step.when else fate

    def answer(self, step: Step, path: Path, what: str) -> Fate:
        """Say what the answer to one of its conditions leads to."""
        said = given.answer(step, self.script, path, "when" if what == "when" else "trigger")
        return FAIL if said == "raise" else START if said else ("CONDITION", (step.id, path))

    def trigger(self, step: Step, path: Path) -> Fate:
        """Say what its trigger makes of it."""
        ends = [self.end(need, path) for need in step.needs]
        failed = [("UPSTREAM", end.because) for end in ends if end.verdict == "F"]
        blank = [("CONDITION", end.because) for end in ends if end.verdict == "C"]
        match step.trigger:
            case "callable":
                return self.answer(step, path, "trigger")
            case "none_failed":
                return (*failed, START)[0]
            case "any_succeeded":
                return START if "S" in [end.verdict for end in ends] else (*failed, *blank, START)[0]
            case "all_failed":
                return START if len(failed) == len(ends) else ("CONDITION", (step.id, path))
            case "all_succeeded":
                failed = [("UPSTREAM", end.because) for end in self.not_accepted(step, path, "F")]
                blank = [("CONDITION", end.because) for end in self.not_accepted(step, path, "C")]
                return (*failed, *blank, START)[0]
        return START

    def not_accepted(self, step: Step, path: Path, verdict: str) -> list[End]:
        """Give the needs that have ended so, where the step does not take that."""
        ends = [self.end(need, path) for need in step.needs if not need.accepts(verdict)]
        return [end for end in ends if end.verdict == verdict]

    # Values

    def value(self, step: Step, path: Path) -> object:
        """Give the value of a success."""
        if step.fold:
            value: object = None
            for item in self._gathered(step.needs[0], self.outer(step.needs[0], path)):
                value = given.folded(step.id, path, value, item)
            return value
        args = {f"n{at}": self._arg(step, need, path) for at, need in enumerate(step.needs) if need.is_data}
        size = self.script.size(step.id, path) if step.id in self.lists else None
        return given.expected_value(step.id, path, args, size)

    def _arg(self, step: Step, need: Need, path: Path) -> object:
        one = (need.parent, self.outer(need, path))
        if need.how == "gather":
            return self._gathered(need, one[1])
        if need.how != "each":
            return self._outcome(one) if need.how == "outcome" else self.values.get(one, "default")
        outer = path[:-1]
        # The list of a stream is whole at its end only, and an item may have begun before.
        whole = self.values.get((need.parent, outer)) or self.value(self.steps[need.parent], outer)
        assert isinstance(whole, list)
        return whole[self.opened[step.id, outer].index(path[-1])]

    def _gathered(self, need: Need, outer: Path) -> list[object]:
        heads, found = self.scope[need.parent], list[object]()
        head = heads[len(outer)]
        for key in self.opened.get((head, outer), ()):
            path = (*outer, key)
            if len(path) < len(heads) and (heads[len(path)], path) in self.opened:
                found.append(self._gathered(need, path))
            elif need.policy == "keep" or (need.parent, path) in self.values:
                outcome = self._outcome((need.parent, path))
                found.append(
                    _within(outcome, len(heads) - len(path)) if need.policy == "keep" else outcome[1]
                )
        stream = (self.source(head), outer)
        if need.policy == "keep" and self.steps[stream[0]].stream and self.broke(stream):
            found.append(_within(self._outcome(stream), len(heads) - len(outer) - 1))
        return found

    def _outcome(self, one: Instance) -> tuple[str, object]:
        life = self.lives[one]
        if life.status == "succeeded":
            return "ok", self.values.get(one)
        return ("skipped" if life.status == "skipped" else "failed"), life.why or life.status


def _within(outcome: object, levels: int) -> object:
    """Put an outcome where a list stands that never came to be: in so many lists of one."""
    for _ in range(levels):
        outcome = [outcome]
    return outcome


def holds(quorum: int | float, items: list[End]) -> bool:
    """Say whether a quorum holds among items that have all ended."""
    counted = [end.verdict for end in items if end.verdict != "C"]
    return counted.count("S") >= given.least(quorum, len(counted))
