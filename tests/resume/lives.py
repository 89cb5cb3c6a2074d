"""A run that lives several times: the driver of the model, with a journal, kills and resumptions.

Each `Life` is one process: it drives the real machine, writes every turn down by the real recorder before
anything follows from it, and dies where the store says so. The next one knows nothing but the store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from penstock.core import commands as c
from penstock.core import events
from penstock.core.binding import Binder
from penstock.core.codec import Codec
from penstock.core.durable import Durable
from penstock.core.entries import Entry, event_of, fact_of, path_of
from penstock.core.folds import Folds
from penstock.core.graph import Graph
from penstock.core.invariants import check, differences
from penstock.core.machine.apply import apply
from penstock.core.machine.state import PENDING, READY, SUCCEEDED
from penstock.core.model import RunOptions
from penstock.core.owners import here
from penstock.core.plan import Plan
from penstock.core.resume import story_of
from penstock.core.takeup import replay, resumption
from tests.model import spec as given
from tests.model.drive import Drive
from tests.model.spec import GraphSpec, Instance, Script

from .mortal import MortalStore

RUN = "r"
_BEFORE = events.CancelAsked("in a life before", 0.0)

UNKEPT = ("folded", "value")
"""What a journal does not say of a fold, which starts over: how far it was, and what it needs no more."""


@dataclass(frozen=True)
class Mended(Script):
    """A script of which some instances have been put right: they succeed, and at once."""

    right: frozenset[Instance] = frozenset()

    @classmethod
    def after(cls, script: Script, right: frozenset[Instance]) -> Mended:
        """The same script with some instances more put right."""
        before: frozenset[Instance] = getattr(script, "right", frozenset())
        fields = (script.seed, script.can_hang, script.streams, script.many, script.slow)
        return cls(*fields, before | right)

    def _is_right(self, node: str, path: given.Path) -> bool:
        return any((node, path[:size]) in self.right for size in range(len(path) + 1))

    def outcome(self, node: str, path: given.Path, attempt: int) -> tuple[given.Kind, float]:
        return ("ok", 0.25) if self._is_right(node, path) else super().outcome(node, path, attempt)

    def _kind(self, node: str, path: given.Path, attempt: int) -> given.Kind:
        return "ok" if self._is_right(node, path) else super()._kind(node, path, attempt)

    def pace(self, node: str, path: given.Path) -> float:
        return 0.0 if self._is_right(node, path) else super().pace(node, path)

    def silent(self, node: str, path: given.Path, attempt: int) -> bool:
        return not self._is_right(node, path) and super().silent(node, path, attempt)

    def cleanup(self, node: str, path: given.Path, attempt: int) -> given.Cleanup:
        return "cancelled"  # a failure that a stop brings about is let pass, say, and stays

    def decide(self, node: str, path: given.Path, what: Any) -> given.Answer:
        said = super().decide(node, path, what)
        return True if said == "raise" and self._is_right(node, path) else said


class Life(Drive):
    """One process that drives the run, from its first turn, or from where the last one was cut off.

    Args:
        spec, dice: See `Drive`.
        store: Where the run is kept.
        script: How everything goes.
        now: What the run's clock says.
        keep: Whether values are kept that nobody needs any more.

    Attributes:
        resumed: What the run was when this life began; None for a new one.
        asked_before: Conditions that the journal holds an answer to; asking them again is a problem.
    """

    def __init__(
        self,
        spec: GraphSpec,
        dice: Random,
        store: MortalStore,
        script: Script,
        now: float,
        *,
        keep: bool = True,
    ) -> None:
        super().__init__(spec, dice)
        if not keep:
            self.graph = Graph("random", [node._replace(keep=False) for node in self.graph.nodes])
        ranks = Random(store.commits)
        durations = {node.id: ranks.random() for node in self.graph.nodes}
        self.plan = Plan(self.graph, keep_all=keep, durations=durations)
        """In another order than in the last life: other runs may have told meanwhile what takes long."""
        self.machine = self._machine()
        self._binder, self._folds = Binder(self.machine.state, {}), Folds(self.machine.state)
        self.store, self.script, self.now = store, script, now
        self.codec = Codec(store)
        self.prints = {node.id: "code" for node in self.graph.nodes}
        self.durable: Durable
        self.folded = self._machine()
        """Folded from the rows alone: what the next life would find."""
        self.rows = 0
        self.again: events.RunResumed | None = None
        self.asked_before: set[tuple[str, given.Path, str]] = set()

    def live(self) -> Life:
        """Begins the run, or goes on with it, and drives it to its end.

        Raises:
            Killed: The process has died.
        """
        entry = self.store.find(RUN)
        if entry is None:
            self._begin()
        else:
            self._take_up()
        self.go_on()
        return self

    def _options(self) -> RunOptions:
        spec = self.spec
        return RunOptions(
            on_failure=spec.on_failure,
            max_concurrency=spec.max_concurrency,
            deadline=spec.deadline,
            grace=spec.grace,
            retry_budget=spec.retry_budget,
            max_abandoned=spec.max_abandoned,
            max_recoveries=1_000_000,
        )

    def _begin(self) -> None:
        self.durable = Durable(self.store, self.codec, level="process", code=self.prints)
        started = events.RunStarted(
            RUN, "random", self.graph.shape(), self.spec.seed, {}, None, (), {}, {}, None, self.now
        )
        self.durable.create(self.machine.state, started, {})
        self.machine.begin(started)

    def _take_up(self) -> None:
        claim, entry = self.store.claim(RUN, here(), 30.0)
        story = story_of(self.store, entry)
        resumed = resumption(story, claim, self.plan, ({}, self._options()), self.codec, self.prints)
        self.durable = Durable(self.store, self.codec, level="process", code=self.prints, resumed=resumed)
        self._know(resumed.entries)
        replay(self.folded.state, resumed.started, resumed.entries, self.codec.decode)
        self.rows = story.rows
        self.again = resumed.event(self.now)
        self.durable.take_up(self.machine, self.now)

    def _know(self, entries: Sequence[Entry]) -> None:
        """What counts of the lives before: answers, and how much was recorded."""
        for word, *fields in entries:
            if word == "decide":
                self.asked_before.add((*path_of(fields[0]), fields[1]))
        self.events = [_BEFORE] * (1 + len(entries))

    def _play(self, most_turns: int) -> Life:
        state = self.machine.state
        asked = state.cancelled is not None or self.spec.cancel_after is None
        replies = self._keys()
        for _ in range(most_turns):
            if not asked and self._recorded >= (self.spec.cancel_after or 0):
                replies.append((c.ASKED, "test"))
                asked = True
            replies = self.durable.heard(replies, self._no_stop, None)
            todo = self._answered(self.machine.step(replies, self.now))
            self._commit()
            super()._carry_out(todo)
            if state.finished is not None:
                return self
            self._produce()
            replies = self._next()
            if not replies and asked and self.machine.next_alarm() is None and not self._due:
                break
        self.problems.append("the run got stuck")
        return self

    def _end(self, i: int, token: int, kind: given.Kind, began: float, ended: float) -> c.Reply:
        reply = super()._end(i, token, kind, began, ended)
        if kind != "ok" or i in self._producing:
            return reply
        path = str(self.machine.state.path(i))
        return (*reply[:5], {path: token, "last": path}, *reply[6:])

    def _keys(self) -> list[c.Reply]:
        """The keys of maps that are to open again."""
        state, plan, replies = self.machine.state, self.plan, list[c.Reply]()
        for scope, row in state.maps:
            opened = self.graph.scopes[scope]
            around = plan.levels[plan.levels[scope].parent]
            source = row + around.position[plan.index[self.graph.nodes[opened.source].id]]
            if scope in plan.keys and (scope, row) not in state.opened and state.status[source] == SUCCEEDED:
                head, path = self.graph.nodes[opened.head].id, state.path(source).items
                size = range(len(state.streams[source]))
                keys = [self.script.key(head, tuple(path), index) for index in size]
                replies.append((c.KEYED, source, scope, keys))
        return replies

    def _no_stop(self, i: int, token: int) -> None:
        self.problems.append(f"stream {self.machine.state.path(i)} was refused an element")

    def _answered(self, todo: list[c.Command]) -> list[c.Command]:
        """What else is wanted, once all questions are answered inside the turn."""
        done: list[c.Command] = []
        while todo:
            questions = [command for command in todo if command[0] == c.DECIDE]
            done += [command for command in todo if command[0] != c.DECIDE]
            for _, i, what in questions:
                node, path = self.machine.state.path(i)
                one = (node, path, "when" if what == c.WHEN else "trigger")
                if one in self.asked_before:
                    self.problems.append(f"{one} was asked again")
            answers = super()._carry_out(questions)
            todo = self.machine.step(answers, self.now) if answers else []
        return done

    def _commit(self) -> None:
        """Writes the turn down, and folds what the store has now into a machine of its own."""
        facts = self.machine.drain()
        self.events += [self.machine.event(fact) for fact in facts]
        self.turns.append(len(self.events))
        self.durable.record(facts, lambda: None)
        state = self.folded.state
        if state.begun is None:
            started = story_of(self.store, self.store.find(RUN) or _no_run()).started
            replay(state, event_of(["run", started], self.codec.decode), [], self.codec.decode)  # type: ignore[arg-type]
            self.rows = 1
        for row in self.store.rows(RUN, self.rows):
            self.rows += 1
            for entry in json.loads(row):
                apply(state, fact_of(state, entry[:3] if entry[0] == "end" else entry, self.codec.decode))
        if (
            len(self.turns) < 3 or self.machine.state.finished is not None
        ):  # all turns would take twice as long
            self.problems += check(self.machine.state)
        self._compare(state)

    def _compare(self, state: Any) -> None:
        found = differences(self.machine.state, state)
        if found and any(step.fold for step in self.spec.steps):
            found = [part for part in found if part not in UNKEPT]
            if "status" in found and self._same_but_folds(state):
                found.remove("status")
        self.problems += [f"the journal's fold differs in {part}" for part in found]

    def _same_but_folds(self, state: Any) -> bool:
        """A fold that may take one more item here may take its first one there."""
        mine = self.machine.state
        folds = {step.id for step in self.spec.steps if step.fold}
        pairs = enumerate(zip(mine.status, state.status, strict=True))
        return all(
            one == other or ({one, other} == {PENDING, READY} and mine.path(i).node in folds)
            for i, (one, other) in pairs
        )


def _no_run() -> Any:
    raise AssertionError("there is no run")
