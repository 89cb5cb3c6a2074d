"""`python -m bench.peers`: makes the environments, measures, prints, and writes the page.

Every figure is of a fresh process with a fresh database. The peers and Penstock's own run of the same shape
take turns, so that a ratio compares two things measured within the same minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import durable_floors
from bench.measure import Spread, median, number, spread
from bench.page import machine
from bench.peers import apart

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "performance-peers.md"
STEPS = 1_000
PATIENCE = 300.0

Found = dict[str, Any]


class Row(NamedTuple):
    """One thing to measure.

    Attributes:
        peer: Whose environment and script.
        shape, how: What the script is told.
        work: For people.
        own: What Penstock is told: the same shape, with steps of the same colour.
    """

    peer: str
    shape: str
    how: str
    work: str
    own: tuple[str, str]


CHAIN, WIDE = ("chain", "functions"), ("wide", "functions")

ROWS = (
    Row("dbos", "chain", "functions", "DBOS, chain: a workflow that calls one step after another", CHAIN),
    Row("dbos", "wide", "coroutines", "DBOS, wide: all steps in one `gather`", ("wide", "coroutines")),
    Row("langgraph", "chain", "sync", 'LangGraph, chain, durability="sync"', CHAIN),
    Row("langgraph", "chain", "async", 'LangGraph, chain, durability="async" (its default)', CHAIN),
    Row("langgraph", "loop", "sync", 'LangGraph, chain as a loop of one node, durability="sync"', CHAIN),
    Row("langgraph", "wide", "sync", 'LangGraph, wide, durability="sync"', WIDE),
    Row("langgraph", "wide", "async", 'LangGraph, wide, durability="async" (its default)', WIDE),
)

PEERS = tuple(dict.fromkeys(row.peer for row in ROWS))


class Failed(Exception):
    """An environment could not be made, or a script did not do what it was to do; why, in words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what can be measured; 1 if something could not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 steps, once; writes no page")
    parser.add_argument("--only", action="append", metavar="PEER", choices=PEERS, help=", ".join(PEERS))
    asked = parser.parse_args(arguments)
    steps, rounds = (100, 1) if asked.quick else (STEPS, 5)
    pythons, failures = environments(asked.only or PEERS)
    lines = []
    for row in ROWS:
        if row.peer not in pythons:
            continue
        try:
            line = measure(row, pythons[row.peer], steps, rounds)
        except Failed as failed:
            failures.append(f"{row.work}: {failed}")
            continue
        print(f"  {' | '.join(line.cells())}", flush=True)
        lines.append(line)
    for failure in failures:
        print(f"not measured: {failure}")
    if lines and not failures and not asked.quick and not asked.only:
        PAGE.write_text(page(lines, steps, rounds), encoding="utf-8")
        print(f"written: {PAGE.name}")
    return 1 if failures else 0


# --- environments -----------------------------------------------------------------------------------------


def environments(peers: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The interpreters of these peers, and what went wrong with the others."""
    pythons: dict[str, Path] = {}
    failures: list[str] = []
    for peer in peers:
        try:
            pythons[peer] = environment(peer)
        except Failed as failed:
            failures.append(f"{peer}: could not be installed: {failed}")
    return pythons, failures


def environment(peer: str) -> Path:
    """The interpreter of a peer's own environment, which is made if its pins are not those that it has."""
    pins = (HERE / f"requirements-{peer}.txt").read_text("utf-8")
    folder = durable_floors.ROOM / "peers" / peer
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text("utf-8") == pins:
        return python
    print(f"{peer}: making its environment in {folder.relative_to(ROOT)}", flush=True)
    call([sys.executable, "-m", "venv", "--clear", str(folder)])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]
    call([str(python), *install, str(HERE / f"requirements-{peer}.txt")], seconds=900.0)
    stamp.write_text(pins, encoding="utf-8")
    return python


def call(command: list[str], *, alone: bool = False, seconds: float = PATIENCE) -> str:
    """What a command prints; `alone`: with nothing of the user's in its environment."""
    given = apart.environment() if alone else None
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {seconds:.0f} s") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Failed(said[-1] if said else f"exit code {done.returncode}")
    return done.stdout


# --- measuring --------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """A row and what was found, one figure a round.

    Attributes:
        row: What was measured.
        peer, own, floor: What the scripts told: the peer's, Penstock's at level ``power``, and the floor's.
    """

    row: Row
    peer: list[Found]
    own: list[Found]
    floor: list[Found]

    @property
    def ratio(self) -> Spread:
        """The peer over Penstock, round by round."""
        return spread([a["us"] / b["us"] for a, b in zip(self.peer, self.own, strict=True)])

    def cells(self) -> tuple[str, ...]:
        """What stands in the table."""
        low, high = number(self.ratio.low), number(self.ratio.high)
        return (
            self.row.work,
            f"{number(mid(self.floor, 'us'))} µs",
            f"{number(mid(self.own, 'us'))} µs",
            f"{number(mid(self.peer, 'us'))} µs",
            f"{number(self.ratio.median)} × ({low}–{high})",
            f"{size(mid(self.own, 'bytes'))}, {size(mid(self.peer, 'bytes'))}",
        )


def measure(row: Row, python: Path, steps: int, rounds: int) -> Measured:
    """The floor, Penstock and the peer in turn."""
    found = Measured(row, [], [], [])
    shape, kind = row.own
    value = steps if shape == "chain" else 2 * (steps - 2)
    for _ in range(rounds):
        found.floor.append(script(Path(sys.executable), "raw", "rows", "FULL", steps, None))
        found.own.append(script(Path(sys.executable), "penstock", shape, f"{kind} power", steps, value))
        found.peer.append(script(python, row.peer, row.shape, row.how, steps, value))
    return found


def script(python: Path, name: str, shape: str, how: str, steps: int, value: int | None) -> Found:
    """What one script told, in a process and with a database of its own."""
    with durable_floors.fresh_folder() as folder:
        told = call(
            [str(python), "-m", f"bench.peers.{name}_run", shape, how, str(steps), str(folder / "runs.db")],
            alone=True,
        )
        held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    found: Found = {**json.loads(told.splitlines()[-1]), "bytes": held / steps}
    if found["value"] != value:
        raise Failed(f"{name} gave {found['value']!r}, not {value!r}")
    return found


def mid(found: list[Found], key: str) -> float:
    return median([float(one[key]) for one in found])


def size(count: float) -> str:
    """Bytes, for people."""
    return f"{count:,.0f} B" if count < 10_000 else f"{count / 1000:,.0f} KB"


# --- the page ---------------------------------------------------------------------------------------------

TITLE = """\
# Performance beside others

Two durable engines that need no server, on the same work and the same disk as Penstock: a chain of {steps:,}
steps and a wide graph of as many (one step, {middle:,} that need it, one that needs them all). The steps add
small numbers, so that what is seen is what an engine costs. All is measured by `make bench-peers`, which
writes this page; nothing on it is edited by hand, and no figure of anybody else stands on it.
"""

METHOD = """\
## How

* Each engine has an environment of its own, with the versions in `bench/peers/requirements-*.txt`. Each
  figure is of a fresh process with a fresh database in the repository's folder, after a run of ten steps
  that has everything imported and laid out. Nothing but the run is timed, not defining and compiling the
  graph; of Penstock, opening and closing its store too.
* **The floor** is a row of 150 bytes inserted and committed for each step into raw SQLite, in WAL mode with
  `synchronous=FULL`, with nothing else around it.
* **Penstock** runs the same shape with steps of the same kind, plain functions or coroutines, at level
  `power`: a commit survives the loss of power, as those of the others do. Its own rows, and those of its
  default level, are in [Performance](performance.md).
* **Ratio**: the other engine over Penstock, in microseconds of the wall a step, round by round: the floor,
  Penstock and the other in turn, {rounds} times. Shown are the median and the quartiles.
* **On disk**: what the database takes when all is closed, divided by the steps; Penstock's, then the other's.
* The engines promise different things. Each uses SQLite as it does when left alone, with `synchronous=FULL`;
  DBOS in journal mode `{dbos}`, LangGraph in `{langgraph}`. With `durability="async"` LangGraph begins the
  next superstep before the last one is on disk. Its wide graph has three supersteps.
"""


def page(lines: Sequence[Measured], steps: int, rounds: int) -> str:
    """The whole page, in Markdown."""
    journals = {line.row.peer: line.peer[0]["journal"] for line in lines}
    parts = [TITLE.format(steps=steps, middle=steps - 2), "\n".join(_about(lines)), ""]
    parts += ["\n".join(table(lines)), "", METHOD.format(rounds=rounds, **journals)]
    return "\n".join(parts)


def _about(lines: Sequence[Measured]) -> Iterator[str]:
    yield from machine()
    for peer in dict.fromkeys(line.row.peer for line in lines):
        told = next(line.peer[0] for line in lines if line.row.peer == peer)
        versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
        yield f"* {versions}"
    yield f"* SQLite {lines[0].own[0]['sqlite']}"


def table(lines: Sequence[Measured]) -> Iterator[str]:
    """The figures."""
    yield "| work | floor, a step | Penstock, a step | the other, a step | ratio | on disk, a step |"
    yield "|---|--:|--:|--:|--:|--:|"
    for line in lines:
        yield f"| {' | '.join(line.cells())} |"


if __name__ == "__main__":
    sys.exit(main())
