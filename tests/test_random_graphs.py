"""Random graphs: through the machine alone against the reference model, and through the real engine.

`PENSTOCK_GRAPHS` says how many go through the machine. `PENSTOCK_GRAPH=<seed>` plays that one alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import wiring
from penstock.core.graph import Graph
from penstock.core.machine import Machine
from penstock.core.model import Need, Node, Quorum, RunOptions
from tests.model.coverage import CELLS, Coverage
from tests.model.drive import Drive, committed
from tests.model.generate import random_spec
from tests.model.reference import verify

GRAPHS = int(os.environ.get("PENSTOCK_GRAPHS", "1000"))
ALONE = os.environ.get("PENSTOCK_GRAPH")
CHUNKS = 8
LEAST = 200 * GRAPHS // (10_000 if GRAPHS >= 10_000 else 20_000) if GRAPHS >= 1_000 else 0
"""Runs that each cell of the coverage table must have been met in: 200 of 10,000. The rarest are met not much
more often, so fewer graphs are asked for half of it, and a few hundred for nothing."""


def play(seed: int, coverage: Coverage | None = None) -> None:
    """Drives the graph of a seed to its end and judges its history."""
    rng = Random(seed)
    spec = random_spec(rng)
    drive = Drive(spec, rng, shadow=True).play()
    history = drive.history()
    found = drive.problems + verify(spec, drive.script, history, committed(drive.machine))
    if found:
        pytest.fail(
            "\n".join([
                f"PENSTOCK_GRAPH={seed} .venv/bin/python -m pytest -n 0 tests/test_random_graphs.py -k chunk",
                *found[:10],
                repr(spec),
                *map(repr, history),
            ]),
            pytrace=False,
        )  # fmt: skip
    if coverage is not None:
        coverage.note(spec, drive.script, history)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_chunk_of_graphs(chunk, tmp_path_factory, capsys):
    """Every history is legal, every state is sound, and a replay of the events gives the same state."""
    if ALONE is not None:
        if not chunk:
            play(int(ALONE))
        return
    coverage = Coverage()
    for seed in range(chunk, GRAPHS, CHUNKS):
        play(seed, coverage)
    found = gathered(tmp_path_factory, chunk, coverage)
    if found is not None:
        with capsys.disabled():
            print(f"\n{found.table()}", file=sys.stderr)
        assert not found.missing(LEAST), found.missing(LEAST)


def gathered(factory: pytest.TempPathFactory, chunk: int, coverage: Coverage) -> Coverage | None:
    """The counts of all chunks, for the last of them; the workers of pytest-xdist share a directory."""
    base = factory.getbasetemp()
    shared: Path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "coverage-of-graphs"
    shared.mkdir(exist_ok=True)
    new = shared / f"{chunk}.new"
    new.write_text(json.dumps([coverage.runs, coverage.counts]))
    new.rename(shared / f"{chunk}.json")
    files = sorted(shared.glob("*.json"))
    if len(files) < CHUNKS:
        return None
    total = Coverage()
    for file in files:
        runs, counts = json.loads(file.read_text())
        total.runs += runs
        total.counts += Counter(counts)
    return total


def test_the_coverage_table_names_its_cells_once():
    assert len(set(CELLS)) == len(CELLS)


SETTLED = frozenset({"quorum", "fold", "keys", "wide", "unroll", "idle"})
"""What leaves a run one final state: how much time is left, and who gets what is scarce, depends on the
schedule."""


@pytest.mark.parametrize("seed", range(40))
def test_the_schedule_changes_no_outcome(seed):
    """Without a stop, a run has one final state, whatever ends first."""
    spec = random_spec(Random(seed), SETTLED)
    if spec.on_failure != "continue" or spec.cancel_after is not None:
        pytest.skip("only a run that nothing stops has one final state")
    ends = [_end(Drive(spec, Random(dice)).play().machine) for dice in range(4)]
    assert all(end == ends[0] for end in ends[1:])


def _end(machine: Machine) -> dict[str, Any]:
    state = machine.state
    found: dict[str, Any] = {"run": state.finished}
    for i, status in enumerate(state.status):
        skip = state.skip(i)
        because = None if skip is None or skip[1] is None else str(state.path(skip[1]))
        found[str(state.path(i))] = (status, repr(state.value[i]), skip and skip[0], because)
    return found


# The real engine against a plain evaluation of the same graph


class Piece(NamedTuple):
    """One step: what it needs (positions), what it makes of it, and on which runner."""

    kind: str  # value, list and stream (their values have `size` elements), each, item, gather, fold
    needs: tuple[int, ...]
    size: int
    fails: str  # never, always, some: it depends on what it is called with
    runner: str
    policy: str | int | float  # of a gather or a fold; a number is a quorum


LISTS = ("list", "stream", "gather")
MAPPED = ("each", "item")


@st.composite
def pieces(draw: st.DrawFn) -> list[Piece]:
    """A graph of up to 9 steps with maps one level deep."""
    found: list[Piece] = []
    for _ in range(draw(st.integers(1, 9))):
        plain = [at for at, piece in enumerate(found) if piece.kind not in MAPPED]
        lists = [at for at, piece in enumerate(found) if piece.kind in LISTS]
        mapped = [at for at, piece in enumerate(found) if piece.kind in MAPPED]
        kinds = ["value", "list", "stream", *["each"] * 2 * bool(lists)]
        kind = draw(st.sampled_from([*kinds, *["item", "gather", "fold"] * bool(mapped)]))
        first: tuple[int, ...] = ()
        if kind == "each":
            first = (draw(st.sampled_from(lists)),)
        elif kind in ("item", "gather", "fold"):
            first = (draw(st.sampled_from(mapped)),)
        others = []
        if plain and kind != "fold":
            others = draw(st.lists(st.sampled_from(plain), unique=True, max_size=2))
        needs = (*first, *[other for other in others if other not in first])
        fails = draw(st.sampled_from(("never", "never", "never", "some", "always")))
        runner = "inline" if kind == "fold" else draw(st.sampled_from(("threads", "inline", "aio")))
        some: tuple[str | int | float, ...] = ("raise", "raise", "drop", 1, 2, 0.5, 1.0)
        policies = some[1:3] if kind == "fold" else some
        policy = draw(st.sampled_from(policies))
        found.append(Piece(kind, needs, draw(st.integers(0, 5)), fails, runner, policy))
    return found


LOST = object()
"""Stands for the value of what failed or was skipped."""


def evaluate(graph: list[Piece]) -> dict[int, Any]:
    """The values of all steps, one after another; of mapped ones the list of their items' values."""
    values: dict[int, Any] = {}
    given: dict[
        int, Any
    ] = {}  # of the maps: the elements of a stream that broke are worked upon all the same
    broken: dict[int, bool] = {}  # of what is mapped: whether the stream that it comes from broke
    for position, piece in enumerate(graph):
        first: Any = values[piece.needs[0]] if piece.needs else ()
        rest = [values[need] for need in piece.needs[1:]]
        if piece.kind in MAPPED:
            items = given.get(piece.needs[0], first) if piece.kind == "each" else first
            broken[position] = first is LOST if piece.kind == "each" else broken[piece.needs[0]]
            calls = [] if items is LOST else [_call(piece, position, [item, *rest]) for item in items]
            values[position] = LOST if items is LOST else calls
        elif piece.kind in ("gather", "fold"):
            taken = _taken(piece, first, broken[piece.needs[0]])
            values[position] = _call(piece, position, [taken, *rest])
        else:
            arguments = [values[need] for need in piece.needs]
            values[position] = _call(piece, position, arguments)
            if piece.kind == "stream" and not any(one is LOST for one in arguments):
                given[position] = _elements(piece, position, arguments)
    return values


def _taken(piece: Piece, items: Any, broken: bool) -> Any:
    """What a gather gives of a map's items."""
    if items is LOST:
        return LOST
    good = [item for item in items if item is not LOST]
    lost = len(items) - len(good) + broken
    if piece.policy == "drop" or (piece.policy == "raise" and not lost):
        return good
    if piece.policy == "raise":
        return LOST
    asked: Any = piece.policy
    least = asked if isinstance(asked, int) else ceil(asked * (len(good) + lost))
    return good if len(good) >= least else LOST


def _call(piece: Piece, position: int, arguments: list[Any]) -> Any:
    if any(argument is LOST for argument in arguments):
        return LOST
    if piece.kind == "fold":
        value = 0
        for item in arguments[0]:
            value = _folded(value, item)
        return value
    return LOST if _fails(piece, position, arguments) else _result(piece, position, arguments)


def _fails(piece: Piece, position: int, arguments: list[Any]) -> bool:
    if piece.fails == "some":
        return hash(("fails", position, repr(arguments))) % 3 == 0
    return piece.fails == "always"


def _result(piece: Piece, position: int, arguments: list[Any]) -> Any:
    seen = hash((position, repr(arguments))) % 1_000_003
    return [seen + i for i in range(piece.size)] if piece.kind in LISTS else seen


def _elements(piece: Piece, position: int, arguments: list[Any]) -> list[Any]:
    """What a stream gives, if only up to its failure."""
    whole: list[Any] = _result(piece, position, arguments)
    return whole[: piece.size // 2] if _fails(piece, position, arguments) else whole


def _folded(so_far: int, item: Any) -> int:
    return hash((so_far, repr(item))) % 1_000_003


def function(piece: Piece, position: int) -> Callable[..., Any]:
    def listed(arguments: Mapping[str, Any]) -> list[Any]:
        return [arguments[f"n{at}"] for at in range(len(piece.needs))]

    def call(**arguments: Any) -> Any:
        if _fails(piece, position, listed(arguments)):
            raise ValueError("as the graph says")
        return _result(piece, position, listed(arguments))

    async def later(**arguments: Any) -> Any:
        import asyncio

        await asyncio.sleep(0)
        return call(**arguments)

    def stream(**arguments: Any) -> Iterator[Any]:
        yield from _elements(piece, position, listed(arguments))
        call(**arguments)

    async def stream_later(**arguments: Any) -> AsyncIterator[Any]:
        import asyncio

        for element in stream(**arguments):
            await asyncio.sleep(0)
            yield element

    if piece.kind == "fold":
        return _folded
    if piece.kind == "stream":
        return stream_later if piece.runner == "aio" else stream
    return later if piece.runner == "aio" else call


def graph_of(graph: list[Piece]) -> Graph:
    how: Mapping[str, Any] = {"each": "each", "gather": "gather", "fold": "gather"}
    nodes = []
    for position, piece in enumerate(graph):
        policy: Any = piece.policy if isinstance(piece.policy, str) else Quorum(piece.policy)
        needs = tuple(
            Need(f"s{need}", "use", f"n{at}")
            if at or piece.kind not in how
            else Need(f"s{need}", how[piece.kind], f"n{at}", failures=policy)
            for at, need in enumerate(piece.needs)
        )
        node = Node(
            f"s{position}",
            function(piece, position),
            needs,
            is_async=piece.runner == "aio",
            stream=piece.kind == "stream",
            runner=piece.runner,
            keep=True,
        )
        if piece.kind == "fold":
            node = node._replace(kind="gather", bound={"initial": 0})
        nodes.append(node)
    return Graph("pieces", nodes)


@settings(max_examples=int(max(60, GRAPHS / 10)))
@given(pieces(), st.sampled_from((None, 1, 2)))
def test_the_engine_computes_what_a_plain_evaluation_does(graph, most):
    try:
        built = graph_of(graph)
    except ValueError:
        return  # two maps whose items do not pair
    result = wiring.run(built, {}, options=RunOptions("continue", most))
    for position, value in evaluate(graph).items():
        node = result.nodes[f"s{position}"]
        if value is LOST:
            assert f"s{position}" not in result.outputs
        elif graph[position].kind in MAPPED:
            assert node.items is not None
            assert [LOST if item.value is None else item.value for item in node.items] == value
        else:
            assert result.outputs[f"s{position}"] == value
    if all(piece.policy == "raise" for piece in graph):
        failed = any(node.status.value == "failed" for node in result.nodes.values())
        assert (result.status.value == "failed") == failed
