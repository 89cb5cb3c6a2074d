"""Random graphs that are killed at random commits, and go on; and that go on after a bad end, put right.

`PENSTOCK_LIVES` says how many graphs; `PENSTOCK_LIFE=<seed>` plays that one alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from penstock.core import events
from penstock.core.codec import Codec
from penstock.core.entries import event_of, path_of
from penstock.core.machine import Machine
from penstock.core.machine.judge import tolerated
from penstock.core.machine.state import CANCELLED, FAILED
from penstock.core.model import NodePath
from penstock.core.resume import Story, story_of
from tests.model.drive import Drive, committed
from tests.model.generate import random_spec
from tests.model.spec import Fact, GraphSpec, Instance, Script

from .judge import verify_lives
from .lives import RUN, Life, Mended
from .mortal import Killed, MortalStore

GRAPHS = int(os.environ.get("PENSTOCK_LIVES", "1000"))
ALONE = os.environ.get("PENSTOCK_LIFE")
CHUNKS = 8
MOST_LIVES = 60

SETTLED = frozenset({"quorum", "fold", "keys", "wide", "unroll", "stream"})
"""Features that leave a run one final state, whatever the schedule and the kills."""


class Tale:
    """All lives of one run.

    Attributes:
        crashes: Times that it was killed.
        resumed: Times that it went on after an end.
        problems: What no life may do.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.settled = self.rng.random() < 0.5
        self.spec = _settled(random_spec(self.rng, SETTLED)) if self.settled else random_spec(self.rng)
        self.script = Script.of(self.spec)
        if self.settled:
            self.script = Mended.after(self.script, frozenset())
        self.keep = self.rng.random() < 0.5
        self.store = MortalStore()
        self.now = 1000.0
        self.crashes = self.resumed = 0
        self.problems: list[str] = []
        self.events: list[Any] = []
        self.life: Life

    def tell(self) -> Tale:
        """Lives to the end; after a bad one mends what went wrong, most times, and goes on."""
        while not self.problems:
            self._to_its_end()
            state = self.life.machine.state
            if self.problems or state.finished == "succeeded" or self.rng.random() < 0.2:
                break
            if not self._mend(self.life.machine):
                break  # a quorum of nothing, say, is missed however often it is tried
            if self.resumed > 100:
                self.problems.append("it fails however often it is put right")
        return self

    def _to_its_end(self) -> None:
        for _ in range(MOST_LIVES):
            kills = self.rng.random() < 0.7
            if kills:
                at = int(12 * self.rng.random() ** 1.5)
                self.store.die(at, after=self.rng.random() < 0.5)
            else:
                self.store.die(None)
            rows = self.store.length(RUN)
            self.life = Life(self.spec, self.rng, self.store, self.script, self.now, keep=self.keep)
            try:
                self.life.live()
                self.problems += self.life.problems
                return
            except Killed:
                self.crashes += 1
            self.problems += self.life.problems
            self.store.bury()
            if self.store.length(RUN) > rows and self.story().ended:
                return  # it died after it had said its last
            self.now = self.life.now + self.rng.choice((0.0, 0.0, 0.25, 7.5, 4000.0))
        self.problems.append("it lives too often")

    def _mend(self, machine: Machine) -> bool:
        state = machine.state
        bad = [i for i, status in enumerate(state.status) if status in (FAILED, CANCELLED)]
        right = frozenset(_one(state.path(i)) for i in bad if not tolerated(state, i))
        if not right and state.finished != "cancelled":
            return False
        self.script = Mended.after(self.script, right)
        self.spec = replace(
            self.spec, cancel_after=None, deadline=None, retry_budget=None, max_abandoned=1000
        )
        self.resumed += 1
        self.now = self.life.now + self.rng.choice((0.0, 0.25, 4000.0))
        return True

    def story(self) -> Story:
        entry = self.store.find(RUN)
        assert entry is not None
        return story_of(self.store, entry)

    def values(self) -> dict[Instance, Any]:
        """The values of all successes, as they are written down."""
        found: dict[Instance, Any] = {}
        given: dict[Instance, dict[int, Any]] = {}
        streams = {step.id for step in self.spec.steps if step.stream}
        decode = Codec(self.store).decode
        for entry in self.story().entries:
            if entry[0] == "yield":
                given.setdefault(_one(path_of(entry[1])), {})[entry[3]] = decode(entry[4])
            elif entry[0] == "ok":
                one = _one(path_of(entry[1]))
                found[one] = list(given.get(one, {}).values()) if one[0] in streams else decode(entry[3])
        return found

    def history(self) -> list[Fact]:
        """What counts of the journal, in the model's words."""
        story, decode = self.story(), Codec(self.store).decode
        found: list[Any] = [event_of(["run", story.started], decode)]
        found += [event_of(entry[:3] if entry[0] == "end" else entry, decode) for entry in story.entries]
        return list(self._facts(found))

    def _facts(self, of: list[Any]) -> Iterator[Fact]:
        overs = self._overs()
        for event in of:
            if isinstance(event, events.RunResumed):
                yield (next(overs), event.at, event.away)
            else:
                yield from self.life.facts([event])

    def _overs(self) -> Iterator[str]:
        """Of each resumption whether the run had ended before."""
        ended = False
        for row in self.store.rows(RUN):
            for word, *_ in json.loads(row):
                if word == "again":
                    yield "over" if ended else "again"
                ended = word == "end"


def _one(path: NodePath) -> Instance:
    return path.node, tuple(path.items)


def _settled(spec: GraphSpec) -> GraphSpec:
    """The same without what depends on the schedule: what fails while the run stops is not tried again."""
    steps = [replace(step, timeout=None, total=None) for step in spec.steps]
    if spec.on_failure != "continue" or spec.cancel_after is not None:
        steps = [replace(step, max_attempts=1) for step in steps]
    return replace(spec, steps=tuple(steps))


def final(machine: Machine, values: Mapping[Instance, Any]) -> dict[str, Any]:
    """What each node and item has come to, by its path."""
    state = machine.state
    found: dict[str, Any] = {"run": state.finished}
    for i, status in enumerate(state.status):
        skip = state.skip(i)
        because = None if skip is None or skip[1] is None else str(state.path(skip[1]))
        found[str(state.path(i))] = (status, values.get(_one(state.path(i))), skip and skip[0], because)
    return found


def play(seed: int) -> Tale:
    """All lives of the graph of a seed, judged."""
    tale = Tale(seed).tell()
    problems = list(tale.problems)
    spec = tale.spec
    machine = tale.life.machine
    if not problems:
        problems += verify_lives(spec, tale.script, tale.history(), tale.values(), over=bool(tale.resumed))
    if not problems and tale.settled and machine.state.finished == "succeeded":
        twin = Drive(replace(spec, cancel_after=None), Random(seed))
        twin.script = tale.script
        one = final(machine, tale.values())
        other = final(twin.play().machine, committed(twin.machine))
        problems += [
            f"{path}: {one.get(path)}, and without kills {other.get(path)}"
            for path in sorted(one.keys() | other.keys())
            if one.get(path) != other.get(path)
        ]
    if problems:
        rows = list(tale.store.rows(RUN)) if tale.store.find(RUN) else []
        pytest.fail(
            "\n".join([
                f"{tale.crashes} crashes, {tale.resumed} ends: "
                f"PENSTOCK_LIFE={seed} .venv/bin/python -m pytest -n 0 tests/resume -k chunk",
                *problems[:10],
                repr(spec),
                *rows,
                *map(repr, tale.history() if rows else ()),
            ]),
            pytrace=False,
        )  # fmt: skip
    return tale


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_p4_chunk_of_graphs_killed_and_resumed(chunk):
    """Each ends as one that nobody disturbed, and the journal's fold is the live state at every turn."""
    if ALONE is not None:
        if not chunk:
            play(int(ALONE))
        return
    crashes = resumed = 0
    for seed in range(chunk, GRAPHS, CHUNKS):
        tale = play(seed)
        crashes += tale.crashes
        resumed += tale.resumed
    if GRAPHS >= 1000:
        assert crashes > GRAPHS // CHUNKS, "too few kills to prove anything"
        assert resumed > GRAPHS // CHUNKS // 8, "too few runs went on after an end"
