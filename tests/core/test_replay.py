"""A replay of the events is the run: at every cut, legal in between, and good to go on from."""

from __future__ import annotations

from collections.abc import Set
from random import Random

import pytest

from penstock.core import commands as c
from penstock.core import events
from penstock.core.binding import Binder
from penstock.core.invariants import check, differences
from penstock.core.machine import Machine
from tests.model.drive import Drive, committed
from tests.model.features import FEATURES
from tests.model.generate import random_spec
from tests.model.reference import _Judge
from tests.model.spec import GraphSpec

GRAPHS = 120
SMALL = 12  # steps of the graphs that are cut at every turn
LASTING = FEATURES - {"deadline", "total", "abandon"}
"""What a run has that goes on 1,000 seconds later, in another process, as if nothing had been."""


def small_specs(first: int, many: int, features: Set[str] = FEATURES) -> list[tuple[int, GraphSpec]]:
    found = []
    for seed in range(first, first + many):
        spec = random_spec(Random(seed), features)
        if len(spec.steps) <= SMALL:
            found.append((seed, spec))
    return found


def replayed(drive: Drive, upto: int) -> Machine:
    machine = drive._machine()
    for event in drive.events[:upto]:
        machine.apply(event)
    return machine


@pytest.mark.parametrize("first", range(0, GRAPHS, 30))
def test_every_prefix_of_turns_gives_the_live_state(first):
    """The second machine starts anew at every turn: it has never seen anything but events."""
    for seed, spec in small_specs(first, 30):
        different: list[str] = []

        def watch(live: Machine) -> None:
            different.extend(differences(live.state, replayed(drive, len(drive.events)).state))  # noqa: B023

        drive = Drive(spec, Random(seed), watch=watch)
        drive.play()
        assert different == [], f"seed {seed}"


@pytest.mark.parametrize("first", range(0, GRAPHS, 30))
def test_every_prefix_of_events_is_sound(first):
    """In the middle of a turn, too, all but one of the invariants hold: something may be ready and idle
    there, for its start is the next event."""
    for seed, spec in small_specs(first, 30):
        drive = Drive(spec, Random(seed)).play()
        machine = drive._machine()
        for at, event in enumerate(drive.events):
            machine.apply(event)
            found = [text for text in check(machine.state) if not text.endswith("is idle")]
            assert found == [], f"seed {seed}, event {at}: {event}"


class Resumed(Drive):
    """A run that goes on from the first events of another one."""

    def __init__(self, drive: Drive, turn: int, dice: Random, later: float) -> None:
        super().__init__(drive.spec, dice)
        upto = drive.turns[turn]
        self.events = list(drive.events[:upto])
        for event in self.events:
            self.machine.apply(event)
        self._binder = Binder(self.machine.state, {})
        self.now = max([drive.now * 0, *map(_time, self.events)]) + later
        self.machine.recover(self.now)
        self.cut = [self.machine.event(fact) for fact in self.machine.log]

    def _carry_out(self, todo: list[c.Command]) -> list[c.Reply]:
        if len(set(todo)) < len(todo):
            self.problems.append(f"said twice: {todo}")
        return super()._carry_out(todo)


def _time(event: events.Event) -> float:
    return max((getattr(event, name, 0.0) for name in ("at", "ended")), default=0.0)


class CutJudge(_Judge):
    """Besides what is legal anyway, an attempt may be cut off where the run was."""

    def __init__(self, resumed: Resumed, upto: int) -> None:
        super().__init__(resumed.spec, resumed.script, committed(resumed.machine))
        self.cut = range(upto, upto + len(resumed.facts(resumed.cut)))

    def _endings(self) -> list[tuple[str, str]]:
        legal = super()._endings()
        return [*legal, ("given back", "")] if self.index in self.cut else legal

    def _folded(self, token: int, upto: int) -> None:
        if self.index not in self.cut or upto:
            super()._folded(token, upto)
        # else a fold starts over: what it had so far was in memory only


def judged(resumed: Resumed, upto: int) -> list[str]:
    """What is wrong with the history before and after the cut, taken as one."""
    judge = CutJudge(resumed, len(resumed.facts(resumed.events[:upto])))
    for index, fact in enumerate(resumed.history()):
        judge.see(index, fact)
    return resumed.problems + judge.found


@pytest.mark.parametrize("later", [0.0, 1000.0])
@pytest.mark.parametrize("first", range(0, GRAPHS, 30))
def test_a_run_goes_on_from_every_cut(first, later):
    for seed, spec in small_specs(first, 30, LASTING):
        drive = Drive(spec, Random(seed)).play()
        for turn in range(0, len(drive.turns), 1 + len(drive.turns) // 25):
            resumed = Resumed(drive, turn, Random(turn), later)
            resumed.go_on()
            upto = drive.turns[turn]
            assert judged(resumed, upto) == [], f"seed {seed}, cut after turn {turn}"
            done = {event.path for event in resumed.events[:upto] if isinstance(event, events.NodeSucceeded)}
            again = [
                event
                for event in resumed.events[upto:]
                if isinstance(event, events.NodeStarted | events.NodeDecided) and event.path in done
            ]
            assert again == [], f"seed {seed}, cut after turn {turn}: P1"
