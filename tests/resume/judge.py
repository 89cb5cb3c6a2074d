"""The reference model for runs that were cut off, or go on after an end: what each life may do with the last.

It must never import anything of the package under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tests.model.reference import _Judge
from tests.model.spec import Fact, GraphSpec, Instance, Script, Values
from tests.model.world import ENDED, World

CUT = ("running", "paused")


def verify_lives(
    spec: GraphSpec, script: Script, history: Sequence[Fact], values: Values, *, over: bool = False
) -> list[str]:
    """List the violations of a history of several lives; an empty list means that it is legal.

    Args:
        over: The run went on after an end, and some of what came before was left out: the rest tells only in
            part why it was so, and is believed, but for the values.
    """
    judge = _LivesJudge(spec, script, values, history, over=over)
    for index, fact in enumerate(history):
        judge.see(index, fact)
    unended = [] if judge.finished else ["the run: it never finished"]
    extra = [f"{one}: has a value without a success" for one in values if one not in judge.world.values]
    return judge.found + unended + extra


class _LivesWorld(World):
    def broke(self, one: Instance) -> bool:
        """Say whether a stream gave up after it had begun, in this life or another."""
        life = self.lives[one]
        gave_up = self.steps[one[0]].stream and life.status in ("failed", "cancelled")
        return gave_up and bool(life.token or life.given)


class _LivesJudge(_Judge):
    """Knows besides what a new life may do: only what ran is cut off, and that is charged to nobody."""

    def __init__(
        self, spec: GraphSpec, script: Script, values: Values, history: Sequence[Fact], *, over: bool
    ) -> None:
        super().__init__(spec, script, values)
        self.world = _LivesWorld(spec, script)
        self.cut: set[Instance] = set()
        self.folds = any(step.fold for step in spec.steps)
        agains = [index for index, fact in enumerate(history) if fact[0] == "over"]
        self.last_over = agains[-1] if over and agains else -1

    def see(self, index: int, fact: Fact) -> None:
        """Judge one fact; what stands before the last end of the run is believed where it tells in part."""
        if fact[0] in ("again", "over"):
            self._again(fact[1], fact[2], exact=index > self.last_over and not self.cancelled)
            if index == self.last_over:
                self._begin_anew()
            return
        one = (fact[1], fact[2]) if len(fact) > 2 and isinstance(fact[2], tuple) else None
        if fact[0] == "interrupted" and one in self.cut:
            self.cut.discard(one)
            life = self.world.lives[one]
            life.status = "given back"
            if not life.charged:
                life.first = None
            return
        if self.cut and fact[0] not in ("released", "folded", "abandoned"):
            self.found.append(f"{sorted(self.cut)}: ran when the run was cut off, and was not given back")
            self.cut.clear()
        if one is not None and fact[0] == "started":
            life = self.world.lives[one]
            if life.status == "given back" and life.first is None:
                life.first = fact[4]
        believed = len(self.found)
        super().see(index, fact)
        if self.folds:  # a journal does not say how far a fold has come
            self.found[believed:] = [one for one in self.found[believed:] if "or their fold" not in one]
        if index < self.last_over:
            self.found[believed:] = [one for one in self.found[believed:] if "its value is" in one]

    def _expanded(self, source: Instance, keys: Sequence[int | str] | None) -> None:
        """A map whose stream has come to its end may open again, as that of a list does."""
        here, life = (self.step.id, source[1]), self.world.lives[source]
        if keys is not None and self.world.steps[source[0]].stream and life.status == "succeeded":
            self.world.opened[here] = [self.world.element(*here, index) for index in range(life.given)]
            if list(keys) != self.world.opened[here]:
                self._wrong(f"map opened with {keys}, and its stream gave {life.given}")
            return
        super()._expanded(source, keys)

    def _begin_anew(self) -> None:
        """What had stopped the run, or failed it, counts no more."""
        self.failed = self.cancelled = self.expired = self.finished = False
        self.stoppers.clear()
        self.halted, self.halted_at = -1, inf
        self.deadline = inf
        self._judge_quorums()  # one may be missed whatever is done now

    def _again(self, at: float, away: float, *, exact: bool) -> None:
        gone = at - self.now  # where the run had ended, what was last heard of may not count any more
        if gone < 0 or not 0 <= away <= gone + 1e-9 or (exact and away < gone - 1e-9):
            self.found.append(f"the run: it goes on at {at} after {away} s away, last heard of at {self.now}")
        self.now = at
        self.deadline += away
        self.cut = {one for one, life in self.world.lives.items() if life.status in CUT}
        for one, life in self.world.lives.items():
            if life.status in ENDED:
                continue
            life.waited = life.left = False
            if life.first is not None:
                life.first += away
            if self.world.steps[one[0]].fold:
                life.folded = 0
