"""Measures a row: the floor, Penstock and the peer in turn, each in a fresh process with a fresh database."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bench import durable_floors, floors, graphs
from bench.measure import Spread, median, spread
from bench.peers.environments import ROOT, Environment, Failed, call
from bench.peers.rows import Row, Start

Found = dict[str, Any]

HELLO = ROOT / "bench" / "peers" / "hello"
OURS = ROOT / "src"
SAID = "12"
"""What every script of three steps prints."""


class Measured(NamedTuple):
    """A row and what was found, one figure a round.

    Attributes:
        row: What was measured.
        peer, own, floor: What the scripts told. A row of the section ``remote`` has no floor: it is the peer.
    """

    row: Row
    peer: list[Found]
    own: list[Found]
    floor: list[Found]

    @property
    def ratio(self) -> Spread:
        """The peer over Penstock, round by round."""
        return spread([a["us"] / b["us"] for a, b in zip(self.peer, self.own, strict=True)])


class Started(NamedTuple):
    """A script of three steps, and the seconds of each round.

    Attributes:
        start: What was measured.
        peer, own, floor: Of whole scripts.
        imported: Of a process that imports the peer and does nothing else.
    """

    start: Start
    peer: list[float]
    own: list[float]
    floor: list[float]
    imported: list[float]

    @property
    def ratio(self) -> Spread:
        """The peer over Penstock, round by round."""
        return spread([a / b for a, b in zip(self.peer, self.own, strict=True)])


def here() -> Environment:
    """Where the floors and Penstock run."""
    home = durable_floors.ROOM / "peers" / "home"
    home.mkdir(parents=True, exist_ok=True)
    return Environment(Path(sys.executable), home)


def measure(row: Row, theirs: Environment) -> Measured:
    """A row, in its rounds."""
    found = Measured(row, [], [], [])
    durable, away = row.section == "durable", row.section == "remote"
    shape = "chain" if row.shape == "loop" else row.shape
    for _ in range(row.rounds):
        if durable:
            found.floor.append(script(here(), "floor", "rows", row.own.split()[-1], row.steps))
        elif not away:
            found.floor.append(script(here(), "floor", shape, row.own, row.steps))
        found.own.append(script(theirs if away else here(), "penstock", shape, row.own, row.steps))
        found.peer.append(script(theirs, row.script, row.shape, row.how, row.steps))
    return found


def script(where: Environment, name: str, shape: str, how: str, steps: int) -> Found:
    """What one script told, in a process and with a database of its own."""
    with durable_floors.fresh_folder() as folder:
        command = [str(where.python), "-m", f"bench.peers.{name}_run", shape, how, str(steps)]
        paths = (OURS,) if name == "penstock" else ()
        told = call([*command, str(folder / "runs.db")], home=where.home, folder=folder, paths=paths)
        held = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    found: Found = {**_last(name, told), "bytes": held / steps}
    value = None if shape == "rows" else expected(shape, steps)
    if found["value"] != value:
        raise Failed(f"{name} gave {found['value']!r}, not {value!r}")
    return found


def _last(name: str, told: str) -> Found:
    """The report among what a script printed."""
    for line in reversed(told.splitlines()):
        if line.startswith('{"us"'):
            return dict(json.loads(line))
    raise Failed(f"{name} reported nothing")


@cache
def expected(shape: str, steps: int) -> Any:
    """What a run of this shape is to give; nobody sleeps for it."""
    if shape == "sleeping":
        seconds, needs = graphs.irregular()
        return graphs.outcome(needs, seconds)
    dag = graphs.dag("chain" if shape == "loop" else shape, steps)
    return graphs.outcome(dag.needs, floors.loop(dag))


def start(one: Start, theirs: Environment) -> Started:
    """A script of three steps; a first round does not count: it leaves files compiled and homes set up."""
    found = Started(one, [], [], [], [])
    scripts: tuple[tuple[list[float], Callable[[], float]], ...] = (
        (found.floor, lambda: whole(here(), ROOT / "bench" / "hello" / "floor_threads.py")),
        (found.own, lambda: whole(here(), ROOT / "bench" / "hello" / "penstock_threads.py")),
        (found.imported, lambda: imported(theirs, one.module)),
        (found.peer, lambda: whole(theirs, HELLO / f"{one.script}_hello.py")),
    )
    for at in range(one.rounds + 1):
        for into, seconds in scripts:
            took = seconds()
            if at:
                into.append(took)
    return found


def whole(where: Environment, path: Path) -> float:
    """Seconds of a script's process."""
    with durable_floors.fresh_folder() as folder:
        began = time.perf_counter()
        told = call([str(where.python), str(path)], home=where.home, folder=folder, paths=(OURS,))
        took = time.perf_counter() - began
    if told.split()[-1:] != [SAID]:
        raise Failed(f"{path.name} printed {told.strip()[-100:]!r}, not {SAID!r}")
    return took


def imported(where: Environment, module: str) -> float:
    """Seconds of a process that imports a module."""
    with durable_floors.fresh_folder() as folder:
        began = time.perf_counter()
        call([str(where.python), "-c", f"import {module}"], home=where.home, folder=folder)
        return time.perf_counter() - began


def mid(found: list[Found], key: str = "us") -> float:
    """The median of a figure."""
    return median([float(one[key]) for one in found])
