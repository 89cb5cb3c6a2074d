"""The bench: its floors do the same work as Penstock, and every row can be measured. No time is asserted."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from random import Random
from time import perf_counter
from types import SimpleNamespace

import pytest

from bench import __main__ as bench
from bench import (
    cost_rows,
    durable_floors,
    durable_rows,
    floors,
    graphs,
    makespan_rows,
    memory,
    page,
    process,
    run_rows,
    shapes,
    sleeping,
    traces,
)
from bench.measure import Line, Scale, Spread, same_values, spread
from penstock import RunOptions

ROOT = Path(__file__).resolve().parents[1]
TINY = Scale("tiny", 20, 60, 25, 2, 1, 1, 1, 1, 2_000)
SIZES = (2, 3, 20, 137)
MAKERS = [*shapes.SHAPES, lambda steps: shapes.layered(steps, 5)]


def all_shapes():
    return [make(steps) for make in MAKERS for steps in SIZES]


# --- the floors give what Penstock gives --------------------------------------------------------------------


@pytest.mark.parametrize("shape", all_shapes(), ids=lambda shape: f"{shape.name}-{len(shape.needs)}")
@pytest.mark.parametrize("options", [None, shapes.Options(timeout=False)], ids=["defaults", "options"])
def test_plain_floors_agree(shape, options):
    dag, flow = shapes.dag_of(shape, shapes.SYNC), shapes.flow_of(shape, shapes.SYNC, options)
    assert floors.loop(dag) == floors.threads(dag)
    assert same_values(floors.loop(dag), flow.run(runner="inline"))
    assert same_values(floors.loop(dag), flow.run())


@pytest.mark.parametrize("shape", all_shapes(), ids=lambda shape: f"{shape.name}-{len(shape.needs)}")
@pytest.mark.parametrize("family", [shapes.COROUTINE, shapes.NAPPING, shapes.WAITING], ids=lambda f: f.name)
def test_coroutine_floors_agree(shape, family):
    dag, flow = shapes.dag_of(shape, family), shapes.flow_of(shape, family)
    values = asyncio.run(floors.tasks(dag))
    assert values == asyncio.run(floors.capped_tasks(dag, 3))
    assert set(values) == set(shape.needs)
    assert same_values(values, flow.run())
    assert same_values(values, flow.run(options=RunOptions(max_concurrency=3)))


@pytest.mark.parametrize("family", [shapes.SYNC, shapes.COROUTINE], ids=lambda family: family.name)
def test_maps_agree(family):
    pairs = [
        (shapes.map_dag(25, family), shapes.map_flow(25, family)),
        (shapes.nested_dag(5, family), shapes.nested_flow(5, family)),
    ]
    for dag, flow in pairs:
        plain = family is shapes.SYNC
        values = floors.loop(dag) if plain else asyncio.run(floors.tasks(dag))
        result = flow.run(runner="inline") if plain else flow.run()
        assert same_values(values, result)


def test_values_that_differ_are_noticed():
    shape = shapes.chain(3)
    result = shapes.flow_of(shape, shapes.SYNC).run()
    assert not same_values({**floors.loop(shapes.dag_of(shape, shapes.SYNC)), "s2": 0}, result)


@pytest.mark.parametrize("at", range(3), ids=["chain", "wide", "layered"])
def test_loops_that_define_make_the_same_graphs(at):
    shape, flow = shapes.SHAPES[at](150), cost_rows.DEFINERS[at](150)
    found = {node.id: tuple(need.node for need in node.needs) for node in flow.graph().nodes}
    assert found == shape.needs


def test_the_sleeping_graph_keeps_order_on_both_sides():
    durations, needs = graphs.irregular()
    order = list(needs)
    assert all(order.index(need) < order.index(step) for step, mine in needs.items() for need in mine)
    assert graphs.critical_path(durations, needs) < graphs.level_barrier(durations, needs) / 2


# --- the traces ---------------------------------------------------------------------------------------------


def test_players_agree_on_what_leaves_no_choice():
    trace = traces.Trace("chain", {"a": 1.0, "b": 2.0, "c": 4.0}, {"a": (), "b": ("a",), "c": ("b",)})
    times = [
        traces.lower_bound(trace, 2),
        traces.by_machine(trace, 2, None),
        traces.by_machine(trace, 2, trace.seconds),
        traces.by_list(trace, 2, traces.first_come),
        traces.by_waves(trace, 2),
    ]
    assert times == [7.0] * 5


def test_nothing_beats_the_lower_bound():
    for one in traces.play([traces.montage(12, Random(1))], (1, 3, 50)):
        for time in (one.known, one.unknown, one.fifo, one.waves, one.best):
            assert time >= 1 - 1e-9


def test_made_up_traces_stand_in_for_missing_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_SHARED", str(tmp_path))
    found, about = traces.load()
    assert len(found) == 4
    assert "made up" in about


def test_workflows_are_slept_in_order_beside_dask(monkeypatch):
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("program missing: distributed; pip install 'penstock[dask]'")
    naps: list[float] = []
    trace = traces.Trace("two", {"a": 1.0, "b": 3.0, "c": 4.0}, {"a": (), "b": ("a",), "c": ()})
    monkeypatch.setattr(makespan_rows, "load", lambda: ([trace], ""))
    stub = SimpleNamespace(sleep=naps.append, perf_counter=perf_counter)
    monkeypatch.setattr(makespan_rows, "time", stub)
    lines = list(makespan_rows.makespans(TINY))
    assert [line.must for line in lines] == [1.0, None, None]
    assert "beside Dask 2" in lines[0].work
    assert sorted(naps) == [0.25] * 3 + [0.75] * 3 + [1.0] * 3, "twice by Penstock, once by Dask"
    assert [nap for nap in naps if nap < 1.0] == [0.25, 0.75] * 3


def test_without_dask_nothing_is_slept_and_it_is_said_why(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert list(makespan_rows.makespans(TINY)) == []
    assert "penstock[dask]" in capsys.readouterr().out


# --- rows and page ------------------------------------------------------------------------------------------

IN_PROCESS = (
    run_rows.coroutines,
    run_rows.coroutines_options,
    run_rows.suspending,
    run_rows.inline,
    run_rows.inline_options,
    run_rows.threads,
    run_rows.maps,
    cost_rows.define,
    cost_rows.growth,
)


def test_every_row_has_a_name():
    named = set(bench.ROWS.values())
    durable = {durable_rows.chains, durable_rows.wide, durable_rows.maps, durable_rows.resume}
    assert {*durable, durable_rows.sizes, durable_rows.listing} < named
    assert {*IN_PROCESS, run_rows.values, memory.memory, process.process, sleeping.sleeping} < named


@pytest.mark.parametrize("rows", IN_PROCESS, ids=lambda rows: rows.__name__)
def test_rows_are_measured(rows):
    lines = list(rows(TINY))
    assert lines
    for line in lines:
        assert line.figure.low <= line.figure.median <= line.figure.high
        assert line.work in page.terminal(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [run_rows.values, memory.memory, process.process, sleeping.sleeping],
    ids=lambda rows: rows.__name__,
)
def test_slow_rows_are_measured(rows):
    assert list(rows(TINY))


def test_the_page_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK", TINY)
    monkeypatch.setenv("PENSTOCK_SHARED", str(tmp_path))
    monkeypatch.setattr(traces, "montage", lambda _images, dice, real=traces.montage: real(4, dice))
    out = tmp_path / "page.md"
    assert bench.main(["--quick", "--only", "inline", "--only", "traces", "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "### Plain steps inline, defaults" in text
    assert "| chain, 20 |" in text
    assert "### Makespan by workflow" in text
    assert "tiny run" in text
    assert str(tmp_path) not in text
    assert "chain, 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figure", "verdict"), [(0.2, "met aim"), (0.3, "met aim"), (0.4, "met must"), (0.6, "**missed**")]
)
def test_verdicts(figure, verdict):
    line = Line("s", "w", "f", "o", Spread(figure, figure, figure), must=0.5, aim=0.3)
    assert line.verdict == verdict
    assert line._replace(must=None).verdict == "–"


def test_spread_of_one_and_of_many():
    assert spread([2.0]) == (2.0, 2.0, 2.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


# --- durable runs, and others' engines ----------------------------------------------------------------------


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_floors, "ROOM", tmp_path / "room")
    return tmp_path


@pytest.mark.parametrize("level", ["process", "power"])
def test_the_floor_of_durable_runs_keeps_all_its_rows(room, level):
    rows = durable_floors.bodies(40)
    assert {len(row) for row in rows} == {durable_floors.ROW}
    with durable_floors.fresh_folder() as folder:
        raw = durable_floors.Raw(folder / "raw.db", level)
        durable_floors.commit_each(raw, rows)
        raw.close()
        assert durable_floors.read_all(folder / "raw.db") == 40
        assert durable_floors.letters(folder / "raw.db") == 40 * durable_floors.ROW
    assert not folder.exists()


@pytest.mark.parametrize(
    "rows",
    [
        durable_rows.maps,
        durable_rows.sizes,
        pytest.param(durable_rows.chains, marks=pytest.mark.slow),
        pytest.param(durable_rows.wide, marks=pytest.mark.slow),
        pytest.param(durable_rows.resume, marks=pytest.mark.slow),
    ],
    ids=lambda rows: rows.__name__,
)
def test_durable_rows_are_measured(room, rows):
    lines = list(rows(TINY))
    assert lines
    for line in lines:
        assert 0 < line.figure.low <= line.figure.median <= line.figure.high
        assert line.work in page.terminal(line)
    assert list((room / "room").iterdir()) == []


@pytest.mark.slow
def test_listing_is_measured_and_its_large_journal_deleted(room, monkeypatch):
    monkeypatch.setattr(durable_rows, "MB", 1_000)
    lines = list(durable_rows.listing(TINY))
    assert len(lines) == 2
    assert list((room / "room").iterdir()) == []


def test_listing_is_left_out_where_there_is_no_room(room, monkeypatch, capsys):
    monkeypatch.setattr(durable_floors, "free", lambda: 10_000_000)
    assert list(durable_rows.listing(TINY)) == []
    assert "no room for a journal of 20 MB" in capsys.readouterr().out


def test_a_recorded_run_that_gives_something_else_is_noticed(room, monkeypatch):
    shape = shapes.chain(5)
    other = shapes.flow_of(shapes.chain(5), shapes.COROUTINE).run(override={"s2": 7})
    monkeypatch.setattr(durable_rows, "stored", lambda flow, store, **how: other)
    with pytest.raises(AssertionError, match="chain: a recorded run gives 9, then 9"):
        durable_rows.checked(shapes.flow_of(shape, shapes.COROUTINE), shape)
